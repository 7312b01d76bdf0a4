/* /v1/tickets/{ticket_id}/…: assignment, watchers, activity. */
#include "../core/crm/activity.h"
#include "../core/crm/watcher.h"
#include "../core/ticket.h"
#include "etag.h"
#include "page.h"
#include "route.h"
#include "routes.h"

#define TAG "Ticket people"

static enum err_code assign(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct ticket_new *in = rq->body;
    struct versions allowed;
    struct ticket t;
    if (!REC_HAS(in, assignee_id) && !REC_IS_NULL(in, assignee_id))
        return ctx_fail_field(cx, ERR_MISSING_FIELD, STR("assignee_id"),
                              "assignee_id is required (null: nobody)");
    etag_if_match(rq, &allowed);
    enum err_code e = ticket_update(cx, db, &rq->caller, rq->params[0], in, &allowed, &t);
    if (e)
        return e;
    etag_put(cx, rp, t.version);
    rec_encode(&rp->body, &rec_ticket, &t);
    return ERR_NONE;
}

static struct page_ask ask_of(const struct req *rq)
{
    const struct list_query *q = rq->query;
    return (struct page_ask){ .cursor = q->cursor, .limit = q->limit, .key = &rq->app->cursor_key };
}

static enum err_code watchers(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    struct page_ask ask = ask_of(rq);
    enum err_code e = watcher_list(cx, db, &rq->caller, rq->params[0], &ask, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_watcher, &page);
    return e;
}

static enum err_code watch(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct watcher w;
    enum err_code e = watcher_add(cx, db, &rq->caller, rq->params[0], rq->body, &w);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena, STR_FMT "/" STR_FMT, STR_ARG(rq->path), STR_ARG(w.id)));
    rec_encode(&rp->body, &rec_watcher, &w);
    return ERR_NONE;
}

static enum err_code unwatch(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    return watcher_remove(cx, db, &rq->caller, rq->params[0], rq->params[1]);
}

static enum err_code history(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    struct page_ask ask = ask_of(rq);
    enum err_code e = activity_list(cx, db, &rq->caller, rq->params[0], &ask, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_activity, &page);
    return e;
}

static const struct route routes[] = {
    { .method = "POST",
      .path = "/v1/tickets/{ticket_id}/assign",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_ticket_assign,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_ticket,
      .handler = assign,
      .id = "assignTicket",
      .tag = TAG,
      .summary = "Assign a ticket",
      .doc =
          "assignee_id names an agent of the team; null takes the ticket from its agent. The same "
          "as PATCH with assignee_id alone." },
    { .method = "GET",
      .path = "/v1/tickets/{ticket_id}/watchers",
      .scope = SCOPE(TICKETS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_watcher,
      .handler = watchers,
      .id = "listWatchers",
      .tag = TAG,
      .summary = "List the watchers of a ticket",
      .doc = "Users, agents and contacts that watch it, by id." },
    { .method = "POST",
      .path = "/v1/tickets/{ticket_id}/watchers",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_watcher_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_watcher,
      .handler = watch,
      .id = "addWatcher",
      .tag = TAG,
      .summary = "Add a watcher",
      .doc = "{} as a signed-in user watches the ticket oneself. Twice is 409." },
    { .method = "DELETE",
      .path = "/v1/tickets/{ticket_id}/watchers/{watcher_id}",
      .scope = SCOPE(TICKETS_WRITE),
      .run = RUN_WRITE,
      .status = 204,
      .handler = unwatch,
      .id = "removeWatcher",
      .tag = TAG,
      .summary = "Remove a watcher",
      .doc = "watcher_id is the id of the user, agent or contact." },
    { .method = "GET",
      .path = "/v1/tickets/{ticket_id}/activity",
      .scope = SCOPE(TICKETS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_activity,
      .handler = history,
      .id = "listActivity",
      .tag = TAG,
      .summary = "List what happened to a ticket",
      .doc =
          "Who changed what from what to what, newest first. Values longer than 500 characters "
          "are shown as the string of their beginning. The creation is not in it: see the ticket." },
};
const struct route_table routes_ticket_people = { routes, sizeof routes / sizeof *routes };
