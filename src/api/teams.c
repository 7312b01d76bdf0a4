/* /v1/teams: the user's teams, create; the team acted in: get, change, delete. */
#include "routes.h"

#include "../core/people/team.h"
#include "etag.h"
#include "page.h"

#define TAG "Teams"

static void put_team(struct ctx *cx, struct reply *rp, const struct team *t)
{
    etag_put(cx, rp, t->version);
    rec_encode(&rp->body, &rec_team, t);
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = team_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_team, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct team t;
    enum err_code e = team_create(cx, db, &rq->caller, rq->body, rq->caller.user_id, &t);
    caller_scope(db, &rq->caller);
    if (e)
        return e;
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/teams/" STR_FMT, STR_ARG(t.id)));
    put_team(cx, rp, &t);
    return ERR_NONE;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct team t;
    enum err_code e = team_get(cx, db, &rq->caller, rq->params[0], &t);
    if (e)
        return e;
    if (!etag_unchanged(cx, rq, rp, t.version))
        put_team(cx, rp, &t);
    return ERR_NONE;
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct team t;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e = team_update(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &t);
    if (!e)
        put_team(cx, rp, &t);
    return e;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return team_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/teams",
      .flags = ROUTE_LIST | ROUTE_TEAMLESS,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_team,
      .handler = list,
      .id = "listTeams",
      .tag = TAG,
      .summary = "List your teams",
      .doc = "The teams of the signed-in user with the role in each; an API key sees its own." },
    { .method = "POST",
      .path = "/v1/teams",
      .flags = ROUTE_USER | ROUTE_TEAMLESS | ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_team_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_team,
      .handler = create,
      .id = "createTeam",
      .tag = TAG,
      .summary = "Create a team",
      .doc = "Who creates it becomes its owner. A slug that is taken is 409." },
    { .method = "GET",
      .path = "/v1/teams/{team_id}",
      .scope = SCOPE(TEAM_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_team,
      .handler = get,
      .id = "getTeam",
      .tag = TAG,
      .summary = "Get the team",
      .doc = "The team that the request acts in; any other id is 404. With If-None-Match and an "
             "unchanged team: 304." },
    { .method = "PATCH",
      .path = "/v1/teams/{team_id}",
      .scope = SCOPE(TEAM_MANAGE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_team_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_team,
      .handler = update,
      .id = "updateTeam",
      .tag = TAG,
      .summary = "Change the team",
      .doc = "Name and slug, as JSON merge patch (RFC 7396)." },
    { .method = "DELETE",
      .path = "/v1/teams/{team_id}",
      .scope = SCOPE(TEAM_OWN),
      .flags = ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteTeam",
      .tag = TAG,
      .summary = "Delete the team",
      .doc = "Only a team without tickets, keys, contacts and agents, and never the default team: "
             "otherwise 409. Its members lose it; its audit log is kept." },
};
const struct route_table routes_teams = { routes, sizeof routes / sizeof *routes };
