/* /v1/webhooks/{webhook_id}/deliveries: what was sent and what came of it; sending it again. */
#include "routes.h"

#include "../connect/webhook/webhook_replay.h"
#include "page.h"

#define TAG "Webhooks"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e =
        delivery_list(cx, db, &rq->caller, rq->params[0], rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_delivery, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct delivery d;
    enum err_code e = delivery_get(cx, db, &rq->caller, rq->params[0], rq->params[1], &d);
    if (!e)
        rec_encode(&rp->body, &rec_delivery_whole, &d);
    return e;
}

static enum err_code again(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct delivery d;
    enum err_code e = delivery_replay(cx, db, &rq->caller, rq->params[0], rq->params[1], &d);
    if (!e)
        rec_encode(&rp->body, &rec_delivery, &d);
    return e;
}

static enum err_code start(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp,
                           bool is_recover)
{
    const struct replay_ask ask = { rq->params[0], rq->body, is_recover };
    struct job job;
    enum err_code e = replay_start(cx, db, &rq->caller, &ask, &job);
    if (!e)
        page_put_job(cx, rp, &job);
    return e;
}

static enum err_code replay(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    return start(cx, rq, db, rp, false);
}

static enum err_code recover(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    return start(cx, rq, db, rp, true);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/webhooks/{webhook_id}/deliveries",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_delivery_query,
      .reply = &rec_delivery,
      .handler = list,
      .id = "listWebhookDeliveries",
      .tag = TAG,
      .summary = "List the deliveries of a webhook",
      .doc = "Newest first." },
    { .method = "GET",
      .path = "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_delivery_whole,
      .handler = get,
      .id = "getWebhookDelivery",
      .tag = TAG,
      .summary = "Get a delivery with its attempts",
      .doc = "What is sent, and of each attempt when it was, how long it took and what was "
             "answered." },
    { .method = "POST",
      .path = "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 202,
      .reply = &rec_delivery,
      .handler = again,
      .id = "replayWebhookDelivery",
      .tag = TAG,
      .summary = "Send the event of a delivery again",
      .doc = "As a new delivery of the same event, marked as a replay. 409 when the webhook is "
             "disabled or the event is no longer kept." },
    { .method = "POST",
      .path = "/v1/webhooks/{webhook_id}/replay",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 202,
      .body = &rec_replay_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_job,
      .wrap = "job",
      .handler = replay,
      .id = "replayWebhookEvents",
      .tag = TAG,
      .summary = "Send events of a range of time again",
      .doc = "Of what happened between from and to, what the webhook subscribes to now, also what "
             "was never sent to it; narrowed by event_types and by the state of its deliveries. A "
             "job does it; new deliveries are marked as replays." },
    { .method = "POST",
      .path = "/v1/webhooks/{webhook_id}/recover",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 202,
      .body = &rec_recover_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_job,
      .wrap = "job",
      .handler = recover,
      .id = "recoverWebhookEvents",
      .tag = TAG,
      .summary = "Send what was missed",
      .doc = "Of what happened between from and to, what the webhook subscribes to now and what "
             "has not arrived: it failed, was cancelled, or was not sent since the webhook was "
             "disabled. A job does it." },
};
const struct route_table routes_webhook_deliveries = { routes, sizeof routes / sizeof *routes };
