/* /v1/webhook-logs: what came in, and its replay. */
#include "../connect/in/webhook_log.h"
#include "page.h"
#include "routes.h"

#define TAG "Webhooks in"
#define ONE "/v1/webhook-logs/{webhook_log_id}"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = webhook_log_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_webhook_log, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct webhook_log found;
    enum err_code e = webhook_log_get(cx, db, &rq->caller, rq->params[0], &found);
    if (!e)
        rec_encode(&rp->body, &rec_webhook_log_full, &found);
    return e;
}

/* The bytes live in cx, which outlives the sending. Nobody knows what they are: no browser may
 * guess. */
static enum err_code payload(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct str bytes;
    enum err_code e = webhook_log_payload(cx, db, &rq->caller, rq->params[0], &bytes);
    if (e)
        return e;
    rp->content_type = "application/octet-stream";
    rp->file = bytes.n ? bytes : STR("");
    reply_header(rp, "Content-Disposition", STR("attachment; filename=\"payload\""));
    return ERR_NONE;
}

static enum err_code replay(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct job job;
    enum err_code e = webhook_log_replay(cx, db, &rq->caller, rq->params[0], &job);
    if (!e)
        page_put_job(cx, rp, &job);
    return e;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/webhook-logs",
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_webhook_log_query,
      .reply = &rec_webhook_log,
      .handler = list,
      .id = "listWebhookLogs",
      .tag = TAG,
      .summary = "List webhooks that came in",
      .doc = "Newest first, without their bodies." },
    { .method = "GET",
      .path = ONE,
      .scope = SCOPE(INTEGRATIONS_READ),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_webhook_log_full,
      .handler = get,
      .id = "getWebhookLog",
      .tag = TAG,
      .summary = "Get a webhook that came in",
      .doc = "With its headers and its body; a body of more than 1 MiB is left out: see "
             "/payload." },
    { .method = "GET",
      .path = ONE "/payload",
      .scope = SCOPE(INTEGRATIONS_READ),
      .run = RUN_READ,
      .status = 200,
      .media = "application/octet-stream",
      .handler = payload,
      .id = "getWebhookPayload",
      .tag = TAG,
      .summary = "Download the body of a webhook",
      .doc = "The bytes as they came; those of Microsoft Graph with clientState masked." },
    { .method = "POST",
      .path = ONE "/replay",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 202,
      .reply = &rec_job,
      .wrap = "job",
      .handler = replay,
      .id = "replayReceivedWebhook",
      .tag = TAG,
      .summary = "Process a webhook again",
      .doc = "Whatever became of it: it keeps its id. 409 while it waits to be processed, and when "
             "its integration was deleted." },
};
const struct route_table routes_webhook_logs = { routes, sizeof routes / sizeof *routes };
