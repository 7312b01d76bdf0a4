/* /v1/tickets/{ticket_id}/comments: list, create, get, delete. */
#include "../core/comment.h"
#include "page.h"
#include "route.h"

#define TAG "Comments"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e =
        comment_list(cx, db, &rq->caller, rq->params[0], rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_comment, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct comment c;
    enum err_code e = comment_create(cx, db, &rq->caller, rq->params[0], rq->body, &c);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena, "/v1/tickets/" STR_FMT "/comments/" STR_FMT,
                            STR_ARG(c.ticket_id), STR_ARG(c.id)));
    rec_encode(&rp->body, &rec_comment, &c);
    return ERR_NONE;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct comment c;
    enum err_code e = comment_get(cx, db, &rq->caller, rq->params[0], rq->params[1], &c);
    if (!e)
        rec_encode(&rp->body, &rec_comment, &c);
    return e;
}

static enum err_code remove_one(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    return comment_delete(cx, db, &rq->caller, rq->params[0], rq->params[1]);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/tickets/{ticket_id}/comments",
      .scope = SCOPE(TICKETS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_comment_query,
      .reply = &rec_comment,
      .handler = list,
      .id = "listComments",
      .tag = TAG,
      .summary = "List the comments of a ticket",
      .doc = "Oldest first, page by page. An API key without admin:full does not see internal "
             "comments of others." },
    { .method = "POST",
      .path = "/v1/tickets/{ticket_id}/comments",
      .scope = SCOPE(TICKETS_COMMENT),
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_comment_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_comment,
      .handler = create,
      .id = "createComment",
      .tag = TAG,
      .summary = "Comment on a ticket",
      .doc = "The ticket must be one that the caller sees." },
    { .method = "GET",
      .path = "/v1/tickets/{ticket_id}/comments/{comment_id}",
      .scope = SCOPE(TICKETS_READ),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_comment,
      .handler = get,
      .id = "getComment",
      .tag = TAG,
      .summary = "Get a comment",
      .doc = "An API key without admin:full does not see internal comments of others." },
    { .method = "DELETE",
      .path = "/v1/tickets/{ticket_id}/comments/{comment_id}",
      .scope = SCOPE(TICKETS_COMMENT),
      .run = RUN_WRITE,
      .status = 204,
      .handler = remove_one,
      .id = "deleteComment",
      .tag = TAG,
      .summary = "Delete a comment",
      .doc = "For good, by its author or an admin. Its attachments go with it." },
};
const struct route_table routes_comments = { routes, sizeof routes / sizeof *routes };
