/* /v1/api-keys: list, create, get, change, delete, enable, disable, regenerate.
 *
 * Changes run on the slow pool: the unit commits, then the directory reads it, then the answer
 * goes out, so a key that is told to be disabled is refused from that moment on by this process
 * (other nodes follow within their poll). */
#include "../base/log.h"
#include "../core/token_admin.h"
#include "etag.h"
#include "page.h"
#include "routes.h"

#define TAG "API keys"

static void put_key(struct ctx *cx, struct reply *rp, const struct rec *r, const struct token *t)
{
    etag_put(cx, rp, t->rev);
    rec_encode(&rp->body, r, t);
}

/* ---- reading ---- */

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = key_list(cx, db, &rq->caller, rq->query, &rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_api_key, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct token t;
    enum err_code e = key_get(cx, db, &rq->caller, rq->params[0], &t);
    if (!e)
        put_key(cx, rp, &rec_api_key, &t);
    return e;
}

/* ---- changing ---- */

struct change { /* one unit of work */
    enum err_code (*run)(struct ctx *cx, struct db *db, struct change *c);
    const struct caller *who;
    struct str id;
    struct token_new in;
    struct versions allowed;
    int64_t grace_ms;
    struct token out;
};

static enum err_code change_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct change *c = arg;
    caller_scope(db, c->who);
    return c->run(cx, db, c);
}

static enum err_code do_create(struct ctx *cx, struct db *db, struct change *c)
{
    return key_create(cx, db, c->who, &c->in, &c->out);
}

static enum err_code do_update(struct ctx *cx, struct db *db, struct change *c)
{
    return key_update(cx, db, c->who, c->id, &c->in, &c->allowed, &c->out);
}

static enum err_code do_enable(struct ctx *cx, struct db *db, struct change *c)
{
    return key_set_enabled(cx, db, c->who, c->id, true, &c->out);
}

static enum err_code do_disable(struct ctx *cx, struct db *db, struct change *c)
{
    return key_set_enabled(cx, db, c->who, c->id, false, &c->out);
}

static enum err_code do_regenerate(struct ctx *cx, struct db *db, struct change *c)
{
    return key_regenerate(cx, db, c->who, c->id, c->grace_ms, &c->out);
}

static enum err_code do_delete(struct ctx *cx, struct db *db, struct change *c)
{
    return key_delete(cx, db, c->who, c->id, &c->allowed);
}

/* The change is committed when the directory is read: a failure there is not the client's, and the
 * poll tries again at once. */
static enum err_code change_run(struct ctx *cx, struct req *rq, struct change *c)
{
    c->who = &rq->caller;
    c->id = rq->params[0];
    etag_if_match(rq, &c->allowed);
    enum err_code e = store_tx(cx, rq->app->store, change_unit, c);
    if (e)
        return e;
    enum err_code late = token_dir_refresh(cx, rq->app->tokens);
    if (late) {
        log_warn(cx, "api_key.refresh_failed", KVC("error", err_info(late)->name));
        ctx_clear(cx);
    }
    return ERR_NONE;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct change c = { .run = do_create, .in = *(const struct token_new *)rq->body };
    (void)db;
    enum err_code e = token_read_expiry(cx, &c.in, clock_ms());
    if (!e)
        e = change_run(cx, rq, &c);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena, "/v1/api-keys/" STR_FMT, STR_ARG(c.out.id)));
    put_key(cx, rp, &rec_api_key_secret, &c.out);
    return ERR_NONE;
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct change c = { .run = do_update, .in = *(const struct token_new *)rq->body };
    (void)db;
    enum err_code e = token_read_expiry(cx, &c.in, clock_ms());
    if (!e)
        e = change_run(cx, rq, &c);
    if (!e)
        put_key(cx, rp, &rec_api_key, &c.out);
    return e;
}

static enum err_code enable(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct change c = { .run = do_enable };
    (void)db;
    enum err_code e = change_run(cx, rq, &c);
    if (!e)
        put_key(cx, rp, &rec_api_key, &c.out);
    return e;
}

static enum err_code disable(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct change c = { .run = do_disable };
    (void)db;
    enum err_code e = change_run(cx, rq, &c);
    if (!e)
        put_key(cx, rp, &rec_api_key, &c.out);
    return e;
}

struct regenerate_body {
    struct rec_bits bits;
    int64_t grace_seconds;
};
static const struct field regenerate_fields[] = {
    { "grace_seconds", F_INT, offsetof(struct regenerate_body, grace_seconds), 0, 0,
      TOKEN_GRACE_S_MAX, NULL,
      "How long the old secret goes on working, never beyond the key's expiry (default 0)",
      "3600" },
};
static const struct rec rec_regenerate =
    REC("ApiKeyRegenerate", struct regenerate_body, regenerate_fields, "How to change a secret.");

static enum err_code regenerate(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct regenerate_body *in = rq->body;
    struct change c = { .run = do_regenerate, .grace_ms = in->grace_seconds * 1000 };
    (void)db;
    enum err_code e = change_run(cx, rq, &c);
    if (!e)
        put_key(cx, rp, &rec_api_key_secret, &c.out);
    return e;
}

static enum err_code remove_key(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct change c = { .run = do_delete };
    (void)db, (void)rp;
    return change_run(cx, rq, &c);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/api-keys",
      .scope = SCOPE(KEYS_MANAGE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_key_query,
      .reply = &rec_api_key,
      .handler = list,
      .id = "listApiKeys",
      .tag = TAG,
      .summary = "List API keys",
      .doc = "Newest first. Deleted keys are not listed." },
    { .method = "POST",
      .path = "/v1/api-keys",
      .scope = SCOPE(KEYS_MANAGE),
      .flags = ROUTE_NO_IDEM,
      .run = RUN_SLOW,
      .status = 201,
      .body = &rec_token_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_api_key_secret,
      .handler = create,
      .id = "createApiKey",
      .tag = TAG,
      .summary = "Create an API key",
      .doc = "The secret is in token, this once. The caller may give only scopes that it holds. "
             "Without expires_in_days and expires_at the key never expires." },
    { .method = "GET",
      .path = "/v1/api-keys/{api_key_id}",
      .scope = SCOPE(KEYS_MANAGE),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_api_key,
      .handler = get,
      .id = "getApiKey",
      .tag = TAG,
      .summary = "Get an API key",
      .doc = "The ETag names the settings of the key for If-Match; use changes last_used_at and "
             "use_count without it." },
    { .method = "PATCH",
      .path = "/v1/api-keys/{api_key_id}",
      .scope = SCOPE(KEYS_MANAGE),
      .flags = ROUTE_IF_MATCH,
      .run = RUN_SLOW,
      .status = 200,
      .body = &rec_token_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_api_key,
      .handler = update,
      .id = "updateApiKey",
      .tag = TAG,
      .summary = "Change an API key",
      .doc = "JSON merge patch (RFC 7396): given fields change, null clears what may be null; "
             "metadata is merged, lists are replaced. What a limit has counted stays with its "
             "name and window. The change holds when the answer is sent." },
    { .method = "DELETE",
      .path = "/v1/api-keys/{api_key_id}",
      .scope = SCOPE(KEYS_MANAGE),
      .flags = ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 204,
      .handler = remove_key,
      .id = "deleteApiKey",
      .tag = TAG,
      .summary = "Delete an API key",
      .doc = "It stops at once and for ever; what it did stays in the usage log. A key cannot "
             "delete itself (409)." },
    { .method = "POST",
      .path = "/v1/api-keys/{api_key_id}/enable",
      .scope = SCOPE(KEYS_MANAGE),
      .run = RUN_SLOW,
      .status = 200,
      .reply = &rec_api_key,
      .handler = enable,
      .id = "enableApiKey",
      .tag = TAG,
      .summary = "Enable an API key" },
    { .method = "POST",
      .path = "/v1/api-keys/{api_key_id}/disable",
      .scope = SCOPE(KEYS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 200,
      .reply = &rec_api_key,
      .handler = disable,
      .id = "disableApiKey",
      .tag = TAG,
      .summary = "Disable an API key",
      .doc = "It is refused from the moment of the answer on. A key cannot disable itself (409)." },
    { .method = "POST",
      .path = "/v1/api-keys/{api_key_id}/regenerate",
      .scope = SCOPE(KEYS_MANAGE),
      .flags = ROUTE_NO_IDEM,
      .run = RUN_SLOW,
      .status = 200,
      .body = &rec_regenerate,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_api_key_secret,
      .handler = regenerate,
      .id = "regenerateApiKey",
      .tag = TAG,
      .summary = "Give an API key a new secret",
      .doc = "The new secret is in token, this once; id, settings and expiry stay. The old one "
             "works for grace_seconds more, {} stops it at once." },
};
const struct route_table routes_keys = { routes, sizeof routes / sizeof *routes };
