/* The ticket API of the document, byte for byte: /functions/v1/integration-tickets.
 *
 * Thin handlers over core/ticket and core/comment; the forms differ from /v1 in the envelope, the
 * times (whole seconds) and the errors ({"error","message","details"}, 401 for a ticket of another
 * token of the team). */
#include "route.h"

#include "../core/comment.h"

#define FLAGS (ROUTE_V0)
#define TAG "Integration tickets"

static void put_wrapped(struct reply *rp, const char *wrap, const struct rec *r, const void *obj)
{
    buf_printf(&rp->body, "{\"%s\":", wrap);
    rec_encode(&rp->body, r, obj);
    buf_char(&rp->body, '}');
}

static enum err_code health(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)cx, (void)rq, (void)db;
    buf_lit(&rp->body, "{\"status\":\"ok\",\"endpoints\":[\"POST /tickets\",\"GET /tickets/:id\","
                       "\"POST /tickets/:id/comments\",\"PATCH /tickets/:id/status\"]}");
    return ERR_NONE;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct ticket t;
    enum err_code e = ticket_create(cx, db, &rq->caller, rq->body, &t);
    if (!e)
        put_wrapped(rp, "ticket", &rec_ticket_v0_new, &t);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct ticket t;
    enum err_code e = ticket_get(cx, db, &rq->caller, rq->params[0], &t);
    if (!e)
        put_wrapped(rp, "ticket", &rec_ticket_v0, &t);
    return e;
}

static enum err_code comment(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct comment c;
    enum err_code e = comment_create(cx, db, &rq->caller, rq->params[0], rq->body, &c);
    if (!e)
        buf_printf(&rp->body, "{\"comment_id\":\"" STR_FMT "\"}", STR_ARG(c.id));
    return e;
}

static enum err_code set_status(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct ticket t;
    enum err_code e = ticket_update(cx, db, &rq->caller, rq->params[0], rq->body, NULL, &t);
    if (e)
        return e;
    buf_lit(&rp->body, "{\"success\":true,\"ticket\":");
    rec_encode(&rp->body, &rec_ticket_v0_status, &t);
    buf_char(&rp->body, '}');
    return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = V0_MOUNT,
      .flags = FLAGS,
      .run = RUN_NOW,
      .status = 200,
      .reply_schema = "{\"type\":\"object\",\"required\":[\"status\",\"endpoints\"],"
                      "\"additionalProperties\":false,\"properties\":{"
                      "\"status\":{\"const\":\"ok\"},\"endpoints\":{\"type\":\"array\",\"items\":{"
                      "\"type\":\"string\"}}}}",
      .handler = health,
      .id = "v0Health",
      .tag = TAG,
      .summary = "Health check",
      .doc = "Check API availability and discover the available endpoints." },
    { .method = "POST",
      .path = V0_MOUNT "/tickets",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = FLAGS,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_ticket_v0_in,
      .reply = &rec_ticket_v0_new,
      .wrap = "ticket",
      .handler = create,
      .id = "v0CreateTicket",
      .tag = TAG,
      .summary = "Create a ticket",
      .doc = "Create a new support ticket. It belongs to the token that made it." },
    { .method = "GET",
      .path = V0_MOUNT "/tickets/{ticket_id}",
      .scope = SCOPE(TICKETS_READ),
      .flags = FLAGS,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_ticket_v0,
      .wrap = "ticket",
      .handler = get,
      .id = "v0GetTicket",
      .tag = TAG,
      .summary = "Get a ticket",
      .doc = "Retrieve a ticket that this token created; any other is 404." },
    { .method = "POST",
      .path = V0_MOUNT "/tickets/{ticket_id}/comments",
      .scope = SCOPE(TICKETS_COMMENT),
      .flags = FLAGS | ROUTE_NOT_OWNER,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_comment_v0_new,
      .reply_schema =
          "{\"type\":\"object\",\"required\":[\"comment_id\"],\"additionalProperties\":false,"
          "\"properties\":{\"comment_id\":{\"type\":\"string\",\"format\":\"uuid\"}}}",
      .handler = comment,
      .id = "v0AddComment",
      .tag = TAG,
      .summary = "Add a comment",
      .doc = "Add a comment to a ticket of this token." },
    { .method = "PATCH",
      .path = V0_MOUNT "/tickets/{ticket_id}/status",
      .scope = SCOPE(TICKETS_WRITE),
      .flags = FLAGS | ROUTE_NOT_OWNER,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_ticket_status,
      .reply_schema = "{\"type\":\"object\",\"required\":[\"success\",\"ticket\"],"
                      "\"additionalProperties\":false,\"properties\":{"
                      "\"success\":{\"const\":true},\"ticket\":{\"$ref\":\"#/components/schemas/"
                      "IntegrationTicketStatus\"}}}",
      .reply = &rec_ticket_v0_status,
      .handler = set_status,
      .id = "v0SetStatus",
      .tag = TAG,
      .summary = "Set the status",
      .doc = "Update the status of a ticket of this token. To or from resolved and closed needs "
             "the scope tickets:resolve." },
};
const struct route_table routes_tickets_v0 = { routes, sizeof routes / sizeof *routes };
