/* /v1/integrations: list, create, get, update, delete, switch, await a handshake, secrets. */
#include "../connect/integration.h"
#include "../connect/integration_secret.h"
#include "../connect/in/webhook_log.h"
#include "etag.h"
#include "page.h"
#include "routes.h"
#include "settings.h"

#define TAG "Integrations"
#define ONE "/v1/integrations/{integration_id}"

static struct str base_of(const struct req *rq)
{
    return rq->app->conf->public_url;
}

static enum err_code answer(struct ctx *cx, struct reply *rp, enum err_code e,
                            const struct integration *i)
{
    if (e)
        return e;
    etag_put(cx, rp, i->version);
    rec_encode(&rp->body, &rec_integration, i);
    return ERR_NONE;
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e =
        integration_list(cx, db, &rq->caller, base_of(rq), rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_integration, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct integration i;
    enum err_code e = integration_create(cx, db, &rq->caller, base_of(rq), rq->body, &i);
    if (!e)
        reply_header(rp, "Location",
                     str_printf(&cx->arena, "/v1/integrations/" STR_FMT, STR_ARG(i.id)));
    return answer(cx, rp, e, &i);
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct integration i;
    enum err_code e = integration_get(cx, db, &rq->caller, base_of(rq), rq->params[0], &i);
    if (e || etag_unchanged(cx, rq, rp, i.version))
        return e;
    return answer(cx, rp, e, &i);
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct integration i;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    return answer(
        cx, rp,
        integration_update(cx, db, &rq->caller, base_of(rq), rq->params[0], rq->body, &allowed, &i),
        &i);
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return integration_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static enum err_code enable(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct integration i;
    return answer(
        cx, rp, integration_enable(cx, db, &rq->caller, base_of(rq), rq->params[0], true, &i), &i);
}

static enum err_code disable(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct integration i;
    return answer(
        cx, rp, integration_enable(cx, db, &rq->caller, base_of(rq), rq->params[0], false, &i), &i);
}

static enum err_code await(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct integration_await *in = rq->body;
    struct integration i;
    int64_t seconds = REC_HAS(in, seconds) ? in->seconds : AWAIT_S_DEFAULT;
    return answer(cx, rp,
                  integration_await(cx, db, &rq->caller, base_of(rq), rq->params[0], seconds, &i),
                  &i);
}

static enum err_code list_secrets(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page = { .total = -1 };
    enum err_code e = secret_list(cx, db, &rq->caller, rq->params[0], &page.rows);
    if (!e)
        page_put(cx, rq, rp, &rec_integration_secret, &page);
    return e;
}

static enum err_code add_secret(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct integration_secret s;
    enum err_code e = secret_add(cx, db, &rq->caller, rq->params[0], rq->body, &s);
    if (!e)
        rec_encode(&rp->body, &rec_integration_secret_new, &s);
    return e;
}

static enum err_code drop_secret(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    return secret_remove(cx, db, &rq->caller, rq->params[0], rq->params[1]);
}

static enum err_code replay(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct job job;
    enum err_code e = webhook_log_replay_many(cx, db, &rq->caller, rq->params[0], rq->body, &job);
    if (!e)
        page_put_job(cx, rp, &job);
    return e;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/integrations",
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_integration_query,
      .reply = &rec_integration,
      .handler = list,
      .id = "listIntegrations",
      .tag = TAG,
      .summary = "List integrations",
      .doc = "In the order they were made." },
    { .method = "POST",
      .path = "/v1/integrations",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_integration_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_integration,
      .handler = create,
      .id = "createIntegration",
      .tag = TAG,
      .summary = "Create an integration",
      .doc = "Register its hook_url with the sender and add the secret. For asana and notion the "
             "handshake brings the secret, when it comes within ten minutes. 409 at 1,000 "
             "integrations." },
    { .method = "GET",
      .path = ONE,
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_integration,
      .handler = get,
      .id = "getIntegration",
      .tag = TAG,
      .summary = "Get an integration",
      .doc = "With If-None-Match and an unchanged integration: 304." },
    { .method = "PATCH",
      .path = ONE,
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_integration_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_integration,
      .handler = update,
      .id = "updateIntegration",
      .tag = TAG,
      .summary = "Change an integration",
      .doc = "JSON merge patch (RFC 7396): given fields change, null clears what may be null; "
             "scheme is replaced as a whole." },
    { .method = "DELETE",
      .path = ONE,
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteIntegration",
      .tag = TAG,
      .summary = "Delete an integration",
      .doc =
          "Its address answers 404 from now on; its secrets and its syncs are gone. What came in "
          "stays in the log until it is old." },
    { .method = "POST",
      .path = ONE "/enable",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_integration,
      .handler = enable,
      .id = "enableIntegration",
      .tag = TAG,
      .summary = "Take webhooks again",
      .doc = "One that is enabled stays so." },
    { .method = "POST",
      .path = ONE "/disable",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_integration,
      .handler = disable,
      .id = "disableIntegration",
      .tag = TAG,
      .summary = "Take no webhooks",
      .doc = "Its address answers 404 until it is enabled again. One that is disabled stays "
             "so." },
    { .method = "POST",
      .path = ONE "/await-handshake",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_integration_await,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_integration,
      .handler = await,
      .id = "awaitHandshake",
      .tag = TAG,
      .summary = "Let a handshake bring a secret",
      .doc = "For asana and notion (409 for others): the next handshake within so many seconds is "
             "taken, and its secret is added to those there are. At other times none is, since "
             "anybody could send one." },
    { .method = "GET",
      .path = ONE "/secrets",
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_integration_secret,
      .handler = list_secrets,
      .id = "listIntegrationSecrets",
      .tag = TAG,
      .summary = "List the secrets of an integration",
      .doc = "Those that are live, at most 8, all on one page, without their texts." },
    { .method = "POST",
      .path = ONE "/secrets",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_NO_IDEM | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_integration_secret_in,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_integration_secret_new,
      .handler = add_secret,
      .id = "addIntegrationSecret",
      .tag = TAG,
      .summary = "Add a secret to an integration",
      .doc = "Any live secret may hold, so one is rotated by adding the next, telling the sender, "
             "and removing the old one (or giving others_expire_at). Without a text one is made "
             "and shown this once; of slack, trello, asana, linear and notion the sender makes it. "
             "409 at 8 secrets, and without the setting master_key." },
    { .method = "DELETE",
      .path = ONE "/secrets/{integration_secret_id}",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop_secret,
      .id = "removeIntegrationSecret",
      .tag = TAG,
      .summary = "Remove a secret of an integration",
      .doc = "What is signed with it is refused from now on." },
    { .method = "POST",
      .path = ONE "/replay",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 202,
      .body = &rec_replay_in,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_job,
      .wrap = "job",
      .handler = replay,
      .id = "replayIntegration",
      .tag = TAG,
      .summary = "Process webhooks of an integration again",
      .doc = "By a job: those of the log that fit, the oldest first. 409 while another replay of "
             "it waits to begin." },
};
const struct route_table routes_integrations = { routes, sizeof routes / sizeof *routes };
