/* /v1/tickets: list, create, bulk create, get, update, delete. */
#include "route.h"

#include "bulk.h"
#include "etag.h"
#include "../base/json.h"
#include "../core/ticket.h"
#include "page.h"

#define TAG "Tickets"

static void put_ticket(struct ctx *cx, struct reply *rp, const struct ticket *t)
{
    etag_put(cx, rp, t->version);
    rec_encode(&rp->body, &rec_ticket, t);
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = ticket_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_ticket, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct ticket t;
    enum err_code e = ticket_create(cx, db, &rq->caller, rq->body, &t);
    if (e)
        return e;
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/tickets/" STR_FMT, STR_ARG(t.id)));
    put_ticket(cx, rp, &t);
    return ERR_NONE;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct ticket t;
    enum err_code e = ticket_get(cx, db, &rq->caller, rq->params[0], &t);
    if (e)
        return e;
    if (!etag_unchanged(cx, rq, rp, t.version))
        put_ticket(cx, rp, &t);
    return ERR_NONE;
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct ticket t;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e = ticket_update(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &t);
    if (!e)
        put_ticket(cx, rp, &t);
    return e;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    return ticket_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

/* ---- bulk ---- */

static enum err_code create_item(struct ctx *cx, struct db *db, const struct caller *who,
                                 const void *in, void *out)
{
    return ticket_create(cx, db, who, in, out);
}

static enum err_code bulk(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    static const struct bulk tickets = { .things = "tickets",
                                         .thing = "ticket",
                                         .in = &rec_ticket_new,
                                         .out = &rec_ticket,
                                         .id_at = offsetof(struct ticket, id),
                                         .create = create_item };
    return bulk_run(cx, rq, db, rp, &tickets);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/tickets",
      .scope = SCOPE(TICKETS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_ticket_query,
      .reply = &rec_ticket,
      .handler = list,
      .id = "listTickets",
      .tag = TAG,
      .summary = "List tickets",
      .doc = "An API key sees the tickets that it created, users and keys with admin:full those of "
             "their team. Page by page: follow next_cursor until it is null." },
    { .method = "POST",
      .path = "/v1/tickets",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_ticket_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_ticket,
      .handler = create,
      .id = "createTicket",
      .tag = TAG,
      .summary = "Create a ticket",
      .doc = "The answer is sent after the ticket is durable." },
    { .method = "POST",
      .path = "/v1/tickets/bulk",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = ROUTE_ARRAY_BODY,
      .run = RUN_WRITE,
      .status = 200,
      .body_schema = BULK_BODY_SCHEMA("tickets", "TicketNew"),
      .reply = &rec_ticket,
      .reply_schema = BULK_REPLY_SCHEMA("ticket", "Ticket"),
      .handler = bulk,
      .id = "bulkCreateTickets",
      .tag = TAG,
      .summary = "Create up to 1,000 tickets",
      .doc = "Body: {\"tickets\":[…]}. The results come in the order of the items, each with its "
             "own status; the good ones are created "
             "even when others are refused, all in one transaction." },
    { .method = "GET",
      .path = "/v1/tickets/{ticket_id}",
      .scope = SCOPE(TICKETS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_ticket,
      .handler = get,
      .id = "getTicket",
      .tag = TAG,
      .summary = "Get a ticket",
      .doc = "With If-None-Match and an unchanged ticket: 304." },
    { .method = "PATCH",
      .path = "/v1/tickets/{ticket_id}",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_ticket_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_ticket,
      .handler = update,
      .id = "updateTicket",
      .tag = TAG,
      .summary = "Change a ticket",
      .doc = "JSON merge patch (RFC 7396): given fields change, null clears what may be null. "
             "metadata is merged at every depth, tags are replaced. A status to or from resolved "
             "and closed needs the scope tickets:resolve." },
    { .method = "DELETE",
      .path = "/v1/tickets/{ticket_id}",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteTicket",
      .tag = TAG,
      .summary = "Delete a ticket",
      .doc = "A soft delete: the ticket is no longer found, its row is kept." },
};
const struct route_table routes_tickets = { routes, sizeof routes / sizeof *routes };
