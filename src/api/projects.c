/* /v1/projects: list, create, get, update, delete. */
#include "routes.h"

#include "../core/people/project.h"
#include "etag.h"
#include "page.h"

#define TAG "Projects"

static void put_project(struct ctx *cx, struct reply *rp, const struct project *p)
{
    etag_put(cx, rp, p->version);
    rec_encode(&rp->body, &rec_project, p);
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = project_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_project, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct project p;
    enum err_code e = project_create(cx, db, &rq->caller, rq->body, &p);
    if (e)
        return e;
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/projects/" STR_FMT, STR_ARG(p.id)));
    put_project(cx, rp, &p);
    return ERR_NONE;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct project p;
    enum err_code e = project_get(cx, db, &rq->caller, rq->params[0], &p);
    if (e)
        return e;
    if (!etag_unchanged(cx, rq, rp, p.version))
        put_project(cx, rp, &p);
    return ERR_NONE;
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct project p;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e = project_update(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &p);
    if (!e)
        put_project(cx, rp, &p);
    return e;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return project_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/projects",
      .scope = SCOPE(PROJECTS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_project_query,
      .reply = &rec_project,
      .handler = list,
      .id = "listProjects",
      .tag = TAG,
      .summary = "List projects",
      .doc = "The projects of the team in the order they were made." },
    { .method = "POST",
      .path = "/v1/projects",
      .scope = SCOPE(PROJECTS_MANAGE),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_project_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_project,
      .handler = create,
      .id = "createProject",
      .tag = TAG,
      .summary = "Create a project",
      .doc = "A key that the team uses already is 409." },
    { .method = "GET",
      .path = "/v1/projects/{project_id}",
      .scope = SCOPE(PROJECTS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_project,
      .handler = get,
      .id = "getProject",
      .tag = TAG,
      .summary = "Get a project",
      .doc = "With If-None-Match and an unchanged project: 304." },
    { .method = "PATCH",
      .path = "/v1/projects/{project_id}",
      .scope = SCOPE(PROJECTS_MANAGE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_project_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_project,
      .handler = update,
      .id = "updateProject",
      .tag = TAG,
      .summary = "Change a project",
      .doc = "JSON merge patch (RFC 7396): given fields change, null clears the description. An "
             "archived project keeps its tickets and takes no new ones." },
    { .method = "DELETE",
      .path = "/v1/projects/{project_id}",
      .scope = SCOPE(PROJECTS_MANAGE),
      .flags = ROUTE_IF_MATCH | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteProject",
      .tag = TAG,
      .summary = "Delete a project",
      .doc = "Only a project without tickets: otherwise 409; archive it instead." },
};
const struct route_table routes_projects = { routes, sizeof routes / sizeof *routes };
