/* /hooks/{integration_id}: where other systems send their webhooks.
 *
 * No key: the signature proves the sender. The look-up and the proof are a read (hook_meet), so that
 * what does not hold costs the writer nothing; what holds is written and acknowledged after its
 * commit. */
#include "../connect/in/receive.h"
#include "routes.h"

#define TAG "Webhooks in"
#define TEXT "text/plain; charset=utf-8"

static void answer(const struct hook_verdict *v, struct reply *rp)
{
    rp->status = v->reply.status;
    rp->content_type = v->reply.content_type ? v->reply.content_type : TEXT;
    buf_str(&rp->body, v->reply.body);
    if (v->reply.header_name)
        reply_header(rp, v->reply.header_name, v->reply.header_value);
}

static enum err_code meet(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct hook_met *met = ARENA_NEW(&cx->arena, struct hook_met);
    struct hook_in in = { .id = rq->params[0],
                          .ip = rq->caller.ip,
                          .ask = { .headers = rq->headers,
                                   .n_headers = rq->n_headers,
                                   .method = rq->method,
                                   .query = rq->query_text,
                                   .body = rq->raw } };
    enum err_code e = hook_meet(cx, db, rq->app->hook_desk, &in, met);
    if (e)
        return e;
    rq->found = met;
    rq->caller.team_id = met->team_id;
    rq->is_answered = !met->has_writing;
    if (rq->is_answered)
        answer(&met->verdict, rp);
    return ERR_NONE;
}

static enum err_code keep(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct hook_met *met = rq->found;
    enum err_code e = hook_keep(cx, db, met);
    if (!e)
        answer(&met->verdict, rp);
    return e;
}

/* Trello asks by HEAD before it believes an address. */
static enum err_code look(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    rp->content_type = TEXT;
    return hook_exists(cx, db, rq->params[0]);
}

static const int other_acks[] = { 201, 202, 203, 204, 0 };

static const struct route routes[] = {
    { .method = "POST",
      .path = "/hooks/{integration_id}",
      .flags = ROUTE_PUBLIC | ROUTE_RAW | ROUTE_THROTTLED,
      .run = RUN_WRITE,
      .status = 200,
      .also = other_acks,
      .media = "text/plain",
      .before = meet,
      .handler = keep,
      .id = "receiveWebhook",
      .tag = TAG,
      .summary = "Take a webhook",
      .doc =
          "Called by the other system, not by you. The raw body is checked with the secrets of "
          "the integration as its kind demands; it is acknowledged once it is stored, and again, "
          "without being stored again, when it is delivered again. Handshakes are answered." },
    { .method = "GET",
      .path = "/hooks/{integration_id}",
      .flags = ROUTE_PUBLIC,
      .run = RUN_READ,
      .status = 200,
      .media = "text/plain",
      .handler = look,
      .id = "lookAtHook",
      .tag = TAG,
      .summary = "Whether webhooks are taken here",
      .doc = "For senders that ask by HEAD or GET before they believe an address. The answer is "
             "empty." },
};
const struct route_table routes_hooks = { routes, sizeof routes / sizeof *routes };
