/* /v1/events and /v1/event-types: what happened in the team, and what can. */
#include "routes.h"

#include "../connect/webhook/event_example.h"
#include "../core/event_read.h"
#include "page.h"

#define TAG "Webhooks"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = event_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_event, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct event_shown ev;
    enum err_code e = event_get(cx, db, &rq->caller, rq->params[0], &ev);
    if (!e)
        rec_encode(&rp->body, &rec_event, &ev);
    return e;
}

static enum err_code types(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page = { .total = -1 };
    (void)db;
    event_types_show(cx, rq->caller.team_id, &page.rows);
    page_put(cx, rq, rp, &rec_event_type, &page);
    return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/events",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_event_query,
      .reply = &rec_event,
      .handler = list,
      .id = "listEvents",
      .tag = TAG,
      .summary = "List events",
      .doc = "Newest first, each as a webhook with a full payload gets it. Events are written "
             "while the team has a webhook." },
    { .method = "GET",
      .path = "/v1/events/{event_id}",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_event,
      .handler = get,
      .id = "getEvent",
      .tag = TAG,
      .summary = "Get an event",
      .doc = "For receivers of thin payloads, and for those who want to look again." },
    { .method = "GET",
      .path = "/v1/event-types",
      .scope = SCOPE(WEBHOOKS_MANAGE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_event_type,
      .handler = types,
      .id = "listEventTypes",
      .tag = TAG,
      .summary = "List the types of events",
      .doc = "With an example of each; all on one page." },
};
const struct route_table routes_events = { routes, sizeof routes / sizeof *routes };
