/* /v1/syncs: list, create, get, update, delete, and the runs that are reported of them. */
#include "../connect/sync_run.h"
#include "etag.h"
#include "page.h"
#include "routes.h"

#define TAG "Syncs"
#define ONE "/v1/syncs/{sync_id}"

static enum err_code answer(struct ctx *cx, struct reply *rp, enum err_code e, const struct sync *s)
{
    if (e)
        return e;
    etag_put(cx, rp, s->version);
    rec_encode(&rp->body, &rec_sync, s);
    return ERR_NONE;
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = sync_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_sync, &page);
    return e;
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct sync s;
    enum err_code e = sync_create(cx, db, &rq->caller, rq->body, &s);
    if (!e)
        reply_header(rp, "Location", str_printf(&cx->arena, "/v1/syncs/" STR_FMT, STR_ARG(s.id)));
    return answer(cx, rp, e, &s);
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct sync s;
    enum err_code e = sync_get(cx, db, &rq->caller, rq->params[0], &s);
    if (e || etag_unchanged(cx, rq, rp, s.version))
        return e;
    return answer(cx, rp, e, &s);
}

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct sync s;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    return answer(cx, rp, sync_update(cx, db, &rq->caller, rq->params[0], rq->body, &allowed, &s),
                  &s);
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return sync_delete(cx, db, &rq->caller, rq->params[0], &allowed);
}

static enum err_code list_runs(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e =
        sync_run_list(cx, db, &rq->caller, rq->params[0], rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_sync_run, &page);
    return e;
}

static enum err_code add_run(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct sync_run r;
    enum err_code e = sync_run_add(cx, db, &rq->caller, rq->params[0], rq->body, &r);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena, "/v1/syncs/" STR_FMT "/runs/" STR_FMT, STR_ARG(r.sync_id),
                            STR_ARG(r.id)));
    rec_encode(&rp->body, &rec_sync_run_full, &r);
    return ERR_NONE;
}

static enum err_code get_run(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct sync_run r;
    enum err_code e = sync_run_get(cx, db, &rq->caller, rq->params[0], rq->params[1], &r);
    if (!e)
        rec_encode(&rp->body, &rec_sync_run_full, &r);
    return e;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/syncs",
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_sync_query,
      .reply = &rec_sync,
      .handler = list,
      .id = "listSyncs",
      .tag = TAG,
      .summary = "List syncs",
      .doc = "In the order they were made." },
    { .method = "POST",
      .path = "/v1/syncs",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_sync_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_sync,
      .handler = create,
      .id = "createSync",
      .tag = TAG,
      .summary = "Create a sync",
      .doc = "What is to be the same here and behind an integration. The server moves no data yet: "
             "a worker of yours reads this, does it, and reports each run. 409 at 1,000 syncs of "
             "the team or 100 of the integration." },
    { .method = "GET",
      .path = ONE,
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_ETAG,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_sync,
      .handler = get,
      .id = "getSync",
      .tag = TAG,
      .summary = "Get a sync",
      .doc = "With If-None-Match, and neither a change nor a run since: 304." },
    { .method = "PATCH",
      .path = ONE,
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_sync_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_sync,
      .handler = update,
      .id = "updateSync",
      .tag = TAG,
      .summary = "Change a sync",
      .doc = "JSON merge patch (RFC 7396): given fields change, null clears what may be null; "
             "field_mappings is replaced as a whole, integration_id stays. If-Match lets pass the "
             "ETags since the last change: a run that was reported meanwhile is no conflict." },
    { .method = "DELETE",
      .path = ONE,
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .flags = ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "deleteSync",
      .tag = TAG,
      .summary = "Delete a sync",
      .doc = "With its runs. To keep them, disable it." },
    { .method = "GET",
      .path = ONE "/runs",
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_sync_run_query,
      .reply = &rec_sync_run,
      .handler = list_runs,
      .id = "listSyncRuns",
      .tag = TAG,
      .summary = "List the runs of a sync",
      .doc = "The one reported last first, without their errors; they are kept for "
             "sync_run_days." },
    { .method = "POST",
      .path = ONE "/runs",
      .scope = SCOPE(INTEGRATIONS_WRITE),
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_sync_run_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_sync_run_full,
      .handler = add_run,
      .id = "addSyncRun",
      .tag = TAG,
      .summary = "Report a run of a sync",
      .doc = "By who moved the data, when the run is over. last_run_at and last_status of the sync "
             "follow, and the event sync.finished, or sync.failed when status is error. With "
             "Idempotency-Key a report may be repeated." },
    { .method = "GET",
      .path = ONE "/runs/{sync_run_id}",
      .scope = SCOPE(INTEGRATIONS_READ),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_sync_run_full,
      .handler = get_run,
      .id = "getSyncRun",
      .tag = TAG,
      .summary = "Get a run of a sync",
      .doc = "With its errors." },
};
const struct route_table routes_syncs = { routes, sizeof routes / sizeof *routes };
