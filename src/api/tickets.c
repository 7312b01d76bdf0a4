/* /v1/tickets: list, create, bulk create, get, update, delete. */
#include "route.h"

#include "etag.h"
#include "../base/json.h"
#include "../core/ticket.h"
#include "page.h"

#define TAG "Tickets"
#define BULK_MAX 1000
#define NAME_SHOWN_MAX 100

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
    if (etag_matches(rq, t.version)) {
        rp->status = 304;
        etag_put(cx, rp, t.version);
        return ERR_NONE;
    }
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

static enum err_code delete (struct ctx *cx, struct req *rq, struct db *db, struct reply *rp) {
    (void)rp; struct versions allowed; etag_if_match(rq, &allowed);
    return ticket_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

/* ---- bulk ---- */

static void put_item_error(struct ctx *cx, struct reply *rp)
{
    const struct err_info *info = err_info(cx->err);
    buf_printf(&rp->body, "{\"status\":%d,\"error\":{\"code\":\"%s\",\"message\":", info->status,
               info->code);
    json_write_str(&rp->body, cx->err_text.p ? cx->err_text : str_of(info->text));
    buf_lit(&rp->body, ",\"errors\":[");
    for (size_t i = 0; i < cx->n_fields; i++) {
        buf_lit(&rp->body, i ? ",{\"field\":" : "{\"field\":");
        json_write_str(&rp->body, cx->fields[i].field);
        buf_printf(&rp->body, ",\"code\":\"%s\",\"message\":", err_info(cx->fields[i].code)->code);
        json_write_str(&rp->body, cx->fields[i].text);
        buf_char(&rp->body, '}');
    }
    buf_lit(&rp->body, "]}}");
}

static void put_item_ticket(struct reply *rp, const struct ticket *t)
{
    buf_printf(&rp->body, "{\"status\":201,\"id\":\"" STR_FMT "\",\"ticket\":", STR_ARG(t->id));
    rec_encode(&rp->body, &rec_ticket, t);
    buf_char(&rp->body, '}');
}

/* One item: its own problems are its own result; a failure of the store ends the whole request. */
static enum err_code bulk_item(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp,
                               json_t *item)
{
    struct ticket_new in;
    struct ticket t;
    enum err_code e = json_is_object(item)
                          ? rec_decode(cx, &rec_ticket_new, item, REC_REFUSE_UNKNOWN, STR_NONE, &in)
                          : fail(cx, INVALID_FIELD, "A ticket must be a JSON object");
    if (!e)
        e = ticket_create(cx, db, &rq->caller, &in, &t);
    if (e && err_info(e)->status >= 500)
        return e;
    if (e)
        put_item_error(cx, rp);
    else
        put_item_ticket(rp, &t);
    ctx_clear(cx);
    return ERR_NONE;
}

static enum err_code bulk_items(struct ctx *cx, const struct req *rq, json_t **items)
{
    const char *name;
    json_t *value;
    *items = json_object_get(rq->json, "tickets");
    if (!json_is_object(rq->json))
        return fail(cx, INVALID_FIELD, "The body must be a JSON object");
    json_object_foreach(rq->json, name, value)
        if (value != *items)
            ctx_fail_field(cx, ERR_INVALID_FIELD, str_sub(str_of(name), 0, NAME_SHOWN_MAX),
                           "unknown field \"%.*s\"", NAME_SHOWN_MAX, name);
    if (!*items)
        ctx_fail_field(cx, ERR_MISSING_FIELD, STR("tickets"), "tickets is required");
    else if (!json_is_array(*items) || !json_array_size(*items) ||
             json_array_size(*items) > BULK_MAX)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("tickets"),
                       "tickets must be an array of 1 to %d tickets", BULK_MAX);
    return cx->err;
}

static enum err_code bulk(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    json_t *items, *item;
    size_t i;
    enum err_code e = bulk_items(cx, rq, &items);
    if (e)
        return e;
    buf_lit(&rp->body, "{\"data\":[");
    json_array_foreach(items, i, item) {
        if (!ctx_ok(cx)) /* a thousand items with a hundred problems each do not fit */
            return cx->err;
        if (i)
            buf_char(&rp->body, ',');
        e = bulk_item(cx, rq, db, rp, item);
        if (e)
            return e;
    }
    buf_lit(&rp->body, "]}");
    return ERR_NONE;
}

#define BULK_BODY                                                                                  \
    "{\"type\":\"object\",\"required\":[\"tickets\"],\"additionalProperties\":false,"              \
    "\"properties\":{\"tickets\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":1000,"              \
    "\"items\":{\"$ref\":\"#/components/schemas/TicketNew\"}}}}"
#define BULK_SCHEMA                                                                                \
    "{\"type\":\"object\",\"required\":[\"data\"],\"additionalProperties\":false,\"properties\":{" \
    "\"data\":{\"type\":\"array\","                                                                \
    "\"items\":{\"oneOf\":[{\"type\":\"object\",\"required\":[\"status\",\"id\",\"ticket\"],"      \
    "\"additionalProperties\":false,"                                                              \
    "\"properties\":{\"status\":{\"const\":201},\"id\":{\"type\":\"string\",\"format\":\"uuid\"}," \
    "\"ticket\":{\"$ref\":\"#/components/schemas/Ticket\"}}},"                                     \
    "{\"type\":\"object\",\"required\":[\"status\",\"error\"],\"additionalProperties\":false,"     \
    "\"properties\":{"                                                                             \
    "\"status\":{\"type\":\"integer\",\"minimum\":400},\"error\":{\"$ref\":\"#/components/"        \
    "schemas/ItemError\"}}}]}}}}"

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
      .body_schema = BULK_BODY,
      .reply = &rec_ticket,
      .reply_schema = BULK_SCHEMA,
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
      .handler = delete,
      .id = "deleteTicket",
      .tag = TAG,
      .summary = "Delete a ticket",
      .doc = "A soft delete: the ticket is no longer found, its row is kept." },
};
const struct route_table routes_tickets = { routes, sizeof routes / sizeof *routes };
