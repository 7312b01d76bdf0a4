/* /v1/agents: list, create, get, update, delete, availability. */
#include "routes.h"

#include "../core/crm/agent.h"
#include "etag.h"
#include "page.h"

#define TAG "Agents"

static void put_agent(struct ctx *cx, struct reply *rp, const struct agent *a)
{
    etag_put(cx, rp, a->version);
    rec_encode(&rp->body, &rec_agent, a);
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = agent_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_agent, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct agent a;
    enum err_code e = agent_create(cx, db, &rq->caller, rq->body, &a);
    if (e)
        return e;
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/agents/" STR_FMT, STR_ARG(a.id)));
    put_agent(cx, rp, &a);
    return ERR_NONE;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct agent a;
    enum err_code e = agent_get(cx, db, &rq->caller, rq->params[0], &a);
    if (e)
        return e;
    if (!etag_unchanged(cx, rq, rp, a.version))
        put_agent(cx, rp, &a);
    return ERR_NONE;
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct agent a;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e = agent_update(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &a);
    if (!e)
        put_agent(cx, rp, &a);
    return e;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return agent_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static enum err_code availability(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct agent a;
    enum err_code e = agent_set_availability(cx, db, &rq->caller, rq->params[0], rq->body, &a);
    if (!e)
        put_agent(cx, rp, &a);
    return e;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/agents",
      .scope = SCOPE(AGENTS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_agent_query,
      .reply = &rec_agent,
      .handler = list,
      .id = "listAgents",
      .tag = TAG,
      .summary = "List agents",
      .doc = "The agents of the team in the order they were made." },
    { .method = "POST",
      .path = "/v1/agents",
      .scope = SCOPE(AGENTS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_agent_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_agent,
      .handler = create,
      .id = "createAgent",
      .tag = TAG,
      .summary = "Create an agent",
      .doc =
          "Of kind user: a member of the team, each at most once (409). Of kind bot: nobody's." },
    { .method = "GET",
      .path = "/v1/agents/{agent_id}",
      .scope = SCOPE(AGENTS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_agent,
      .handler = get,
      .id = "getAgent",
      .tag = TAG,
      .summary = "Get an agent",
      .doc = "With If-None-Match and an unchanged agent: 304." },
    { .method = "PATCH",
      .path = "/v1/agents/{agent_id}",
      .scope = SCOPE(AGENTS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_agent_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_agent,
      .handler = update,
      .id = "updateAgent",
      .tag = TAG,
      .summary = "Change an agent",
      .doc = "JSON merge patch (RFC 7396): given fields change, null clears what may be null. "
             "metadata is merged at every depth, lists are replaced." },
    { .method = "DELETE",
      .path = "/v1/agents/{agent_id}",
      .scope = SCOPE(AGENTS_WRITE),
      .flags = ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteAgent",
      .tag = TAG,
      .summary = "Delete an agent",
      .doc = "409 while it has open tickets: assign them to others first. Resolved and closed "
             "tickets keep its id." },
    { .method = "POST",
      .path = "/v1/agents/{agent_id}/availability",
      .scope = SCOPE(AGENTS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_agent_availability,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_agent,
      .handler = availability,
      .id = "setAgentAvailability",
      .tag = TAG,
      .summary = "Say whether an agent is available",
      .doc = "A signed-in user may do this for its own agent; for others agents:write is "
             "needed." },
};
const struct route_table routes_agents = { routes, sizeof routes / sizeof *routes };
