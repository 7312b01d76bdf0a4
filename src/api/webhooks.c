/* /v1/webhooks: where a team's events are sent, their secrets, tests.
 *
 * What names an address runs on the slow pool: a name server is asked whether it may be called,
 * with the same answer at save, at test and when something is sent. */
#include "routes.h"

#include "../base/egress.h"
#include "../connect/webhook/event_example.h"
#include "../connect/webhook/webhook_admin.h"
#include "../connect/webhook/webhook_log.h"
#include "../core/event_read.h"
#include "etag.h"
#include "page.h"

#define TAG "Webhooks"

static enum err_code put_webhook(struct ctx *cx, struct reply *rp, enum err_code e,
                                 const struct webhook *w)
{
    if (e)
        return e;
    etag_put(cx, rp, w->version);
    rec_encode(&rp->body, &rec_webhook, w);
    return ERR_NONE;
}

/* ---- addresses ---- */

/* The sentence is the field's: an address that is refused or a name that is not known. */
static enum err_code judge_url(struct ctx *cx, const struct req *rq, struct str url)
{
    enum err_code e = egress_check_url(cx, rq->app->egress, url);
    bool is_unknown =
        e == ERR_UNAVAILABLE && str_eq(cx->err_text, str_of(egress_class_text(EGRESS_DNS)));
    if (e != ERR_INVALID_FIELD && !is_unknown)
        return e;
    struct str why = str_dup(&cx->arena, cx->err_text);
    ctx_clear(cx);
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("url"), "url: " STR_FMT, STR_ARG(why));
}

/* ---- reading ---- */

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = webhook_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_webhook, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct webhook w;
    enum err_code e = webhook_get(cx, db, &rq->caller, rq->params[0], &w);
    if (!e && etag_unchanged(cx, rq, rp, w.version))
        return ERR_NONE;
    return put_webhook(cx, rp, e, &w);
}

/* ---- changing ---- */

struct change { /* one unit of work of a handler on the slow pool */
    const struct req *rq;
    struct versions allowed;
    struct webhook out;
    struct delivery delivery;
    struct str event_type;
};

static enum err_code create_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct change *c = arg;
    caller_scope(db, &c->rq->caller);
    return webhook_create(cx, db, &c->rq->caller, c->rq->body, &c->out);
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct webhook_new *in = rq->body;
    struct change c = { .rq = rq };
    (void)db;
    enum err_code e = webhook_check(cx, in);
    if (!e)
        e = judge_url(cx, rq, in->url);
    if (!e)
        e = store_tx(cx, rq->app->store, create_unit, &c);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena, "/v1/webhooks/" STR_FMT, STR_ARG(c.out.id)));
    etag_put(cx, rp, c.out.version);
    rec_encode(&rp->body, &rec_webhook_made, &c.out);
    return ERR_NONE;
}

static enum err_code update_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct change *c = arg;
    caller_scope(db, &c->rq->caller);
    return webhook_update(cx, db, &c->rq->caller, c->rq->params[0], c->rq->body, &c->allowed,
                          &c->out);
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct webhook_new *in = rq->body;
    struct change c = { .rq = rq };
    (void)db;
    etag_if_match(rq, &c.allowed);
    enum err_code e = webhook_check(cx, in);
    if (!e && REC_HAS(in, url))
        e = judge_url(cx, rq, in->url);
    if (!e)
        e = store_tx(cx, rq->app->store, update_unit, &c);
    return put_webhook(cx, rp, e, &c.out);
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return webhook_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static enum err_code enable(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct webhook w;
    return put_webhook(cx, rp, webhook_set_enabled(cx, db, &rq->caller, rq->params[0], true, &w),
                       &w);
}

static enum err_code disable(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct webhook w;
    return put_webhook(cx, rp, webhook_set_enabled(cx, db, &rq->caller, rq->params[0], false, &w),
                       &w);
}

/* ---- tests ---- */

struct test_body {
    struct rec_bits bits;
    struct str event_type;
};
static const struct field test_fields[] = {
    { "event_type", F_ENUM, offsetof(struct test_body, event_type), 0, 0, 0, event_words,
      "An example of such an event is sent (default webhook.test)", "\"ticket.created\"" },
};
static const struct rec rec_test =
    REC("WebhookTest", struct test_body, test_fields, "What to send.");

static enum err_code get_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct change *c = arg;
    caller_scope(db, &c->rq->caller);
    return webhook_get(cx, db, &c->rq->caller, c->rq->params[0], &c->out);
}

static enum err_code test_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct change *c = arg;
    caller_scope(db, &c->rq->caller);
    return webhook_test(cx, db, &c->rq->caller, c->rq->params[0], c->event_type, &c->delivery);
}

static enum err_code test(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct change c = { .rq = rq, .event_type = ((const struct test_body *)rq->body)->event_type };
    (void)db;
    enum err_code e = store_read(cx, rq->app->store, get_unit, &c);
    if (!e)
        e = judge_url(cx, rq, c.out.url);
    if (!e)
        e = store_tx(cx, rq->app->store, test_unit, &c);
    if (!e)
        rec_encode(&rp->body, &rec_delivery, &c.delivery);
    return e;
}

/* ---- secrets ---- */

static enum err_code list_secrets(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = webhook_secret_list(cx, db, &rq->caller, rq->params[0], &page);
    if (!e)
        page_put(cx, rq, rp, &rec_webhook_secret, &page);
    return e;
}

static enum err_code add_secret(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct webhook_secret s;
    enum err_code e = webhook_secret_add(cx, db, &rq->caller, rq->params[0], rq->body, &s);
    if (!e)
        rec_encode(&rp->body, &rec_webhook_secret_made, &s);
    return e;
}

static enum err_code drop_secret(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    return webhook_secret_delete(cx, db, &rq->caller, rq->params[0], rq->params[1]);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/webhooks",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_webhook_query,
      .reply = &rec_webhook,
      .handler = list,
      .id = "listWebhooks",
      .tag = TAG,
      .summary = "List webhooks",
      .doc = "Newest first." },
    { .method = "POST",
      .path = "/v1/webhooks",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT | ROUTE_NO_IDEM,
      .run = RUN_SLOW,
      .status = 201,
      .body = &rec_webhook_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_webhook_made,
      .handler = create,
      .id = "createWebhook",
      .tag = TAG,
      .summary = "Create a webhook",
      .doc = "Events are sent from then on, signed by Standard Webhooks. The secret is in secret, "
             "this once. The address must be one that this server may call. At most 100 a team." },
    { .method = "GET",
      .path = "/v1/webhooks/{webhook_id}",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_webhook,
      .handler = get,
      .id = "getWebhook",
      .tag = TAG,
      .summary = "Get a webhook",
      .doc = "With If-None-Match and an unchanged webhook: 304. What arrives or fails changes "
             "failing_since and last_success_at without a new version." },
    { .method = "PATCH",
      .path = "/v1/webhooks/{webhook_id}",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 200,
      .body = &rec_webhook_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_webhook,
      .handler = update,
      .id = "updateWebhook",
      .tag = TAG,
      .summary = "Change a webhook",
      .doc = "JSON merge patch (RFC 7396). Deliveries that wait go to the new address; what they "
             "hold and whether they are ordered was settled when they were begun." },
    { .method = "DELETE",
      .path = "/v1/webhooks/{webhook_id}",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteWebhook",
      .tag = TAG,
      .summary = "Delete a webhook",
      .doc = "Nothing is sent there any more, also of what waits; its secrets are forgotten." },
    { .method = "POST",
      .path = "/v1/webhooks/{webhook_id}/disable",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_webhook,
      .handler = disable,
      .id = "disableWebhook",
      .tag = TAG,
      .summary = "Disable a webhook",
      .doc = "Nothing is sent until it is enabled again; deliveries that wait fail." },
    { .method = "POST",
      .path = "/v1/webhooks/{webhook_id}/enable",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_webhook,
      .handler = enable,
      .id = "enableWebhook",
      .tag = TAG,
      .summary = "Enable a webhook",
      .doc = "Events are sent from now on; POST …/recover fetches what was missed." },
    { .method = "POST",
      .path = "/v1/webhooks/{webhook_id}/test",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 202,
      .body = &rec_test,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_delivery,
      .handler = test,
      .id = "testWebhook",
      .tag = TAG,
      .summary = "Send a test event",
      .doc = "An example of an event goes to this webhook alone, whatever it subscribes to. The "
             "answer is its delivery; GET …/deliveries/{delivery_id} shows what came of it. 409 "
             "when the webhook is disabled." },
    { .method = "GET",
      .path = "/v1/webhooks/{webhook_id}/secrets",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_webhook_secret,
      .handler = list_secrets,
      .id = "listWebhookSecrets",
      .tag = TAG,
      .summary = "List the secrets of a webhook",
      .doc = "Those that sign, newest first; all on one page." },
    { .method = "POST",
      .path = "/v1/webhooks/{webhook_id}/secrets",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_CONFLICT | ROUTE_NO_IDEM,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_webhook_secret_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_webhook_secret_made,
      .handler = add_secret,
      .id = "addWebhookSecret",
      .tag = TAG,
      .summary = "Add a secret, replacing the others",
      .doc = "It signs from now on; those before it sign too for grace_s, so receivers may change "
             "over in that time. At most 8 at once (409)." },
    { .method = "DELETE",
      .path = "/v1/webhooks/{webhook_id}/secrets/{secret_id}",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop_secret,
      .id = "deleteWebhookSecret",
      .tag = TAG,
      .summary = "Delete a secret of a webhook",
      .doc = "It does not sign any more. The newest one cannot be deleted (409), only replaced." },
};
const struct route_table routes_webhooks = { routes, sizeof routes / sizeof *routes };
