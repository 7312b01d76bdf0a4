/* /v1/reports/{report_id}/schedules: when reports are sent to whom, and what became of it. */
#include "routes.h"

#include "../core/report/schedule_run.h"
#include "etag.h"
#include "page.h"

#define TAG "Reports"

/* ---- schedules ---- */

static void put_schedule(struct ctx *cx, struct reply *rp, const struct schedule *s)
{
    etag_put(cx, rp, s->version);
    rec_encode(&rp->body, &rec_schedule, s);
}

static enum err_code schedules(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = schedule_list(cx, db, &rq->caller, rq->params[0], &page);
    if (!e)
        page_put(cx, rq, rp, &rec_schedule, &page);
    return e;
}

static enum err_code schedule_new(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct schedule s;
    enum err_code e = schedule_create(cx, db, &rq->caller, rq->params[0], rq->body, &s);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena, "/v1/reports/" STR_FMT "/schedules/" STR_FMT,
                            STR_ARG(s.report_id), STR_ARG(s.id)));
    put_schedule(cx, rp, &s);
    return ERR_NONE;
}

static enum err_code schedule_show(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct schedule s;
    enum err_code e = schedule_get(cx, db, &rq->caller, rq->params[0], rq->params[1], &s);
    if (!e)
        put_schedule(cx, rp, &s);
    return e;
}

static enum err_code schedule_patch(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct schedule s;
    struct versions allowed;
    etag_if_match(rq, &allowed);
    enum err_code e =
        schedule_update(cx, db, &rq->caller, rq->params[0], rq->params[1], rq->body, &allowed, &s);
    if (!e)
        put_schedule(cx, rp, &s);
    return e;
}

static enum err_code schedule_drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct versions allowed;
    (void)rp;
    etag_if_match(rq, &allowed);
    return schedule_delete(cx, db, &rq->caller, rq->params[0], rq->params[1], &allowed);
}

/* ---- runs ---- */

static enum err_code runs(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct schedule s;
    struct page page;
    enum err_code e = schedule_get(cx, db, &rq->caller, rq->params[0], rq->params[1], &s);
    if (!e)
        e = run_list(cx, db, &rq->caller, &s, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_run, &page);
    return e;
}

static enum err_code run_show(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct schedule s;
    struct run r;
    enum err_code e = schedule_get(cx, db, &rq->caller, rq->params[0], rq->params[1], &s);
    if (!e)
        e = run_get(cx, db, &rq->caller, &s, rq->params[2], &r);
    if (!e)
        rec_encode(&rp->body, &rec_run_full, &r);
    return e;
}

static enum err_code run_start(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct schedule s;
    struct run r;
    enum err_code e = schedule_get(cx, db, &rq->caller, rq->params[0], rq->params[1], &s);
    if (!e)
        e = run_now(cx, db, &rq->caller, &s, &r);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena,
                            "/v1/reports/" STR_FMT "/schedules/" STR_FMT "/runs/" STR_FMT,
                            STR_ARG(s.report_id), STR_ARG(s.id), STR_ARG(r.id)));
    rec_encode(&rp->body, &rec_run_full, &r);
    return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/reports/{report_id}/schedules",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_schedule,
      .handler = schedules,
      .id = "listReportSchedules",
      .tag = TAG,
      .summary = "List the schedules of a report",
      .doc = "All of them, at most 20, each with the next five times it is due." },
    { .method = "POST",
      .path = "/v1/reports/{report_id}/schedules",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 201,
      .body = &rec_schedule_new,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_schedule,
      .handler = schedule_new,
      .id = "createReportSchedule",
      .tag = TAG,
      .summary = "Schedule a report",
      .doc = "daily: at; weekly: at, weekdays; monthly: at, day_of_month; cron: cron. On the clock "
             "of time_zone: a time that does not exist is the next that does, one that occurs "
             "twice runs once." },
    { .method = "GET",
      .path = "/v1/reports/{report_id}/schedules/{schedule_id}",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_schedule,
      .handler = schedule_show,
      .id = "getReportSchedule",
      .tag = TAG,
      .summary = "Get a schedule",
      .doc = "next_runs are worked out now." },
    { .method = "PATCH",
      .path = "/v1/reports/{report_id}/schedules/{schedule_id}",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .flags = ROUTE_ETAG | ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_schedule_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_schedule,
      .handler = schedule_patch,
      .id = "updateReportSchedule",
      .tag = TAG,
      .summary = "Change a schedule",
      .doc = "JSON merge patch (RFC 7396). A new kind drops the fields of the old one." },
    { .method = "DELETE",
      .path = "/v1/reports/{report_id}/schedules/{schedule_id}",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .flags = ROUTE_IF_MATCH,
      .run = RUN_WRITE,
      .status = 204,
      .handler = schedule_drop,
      .id = "deleteReportSchedule",
      .tag = TAG,
      .summary = "Delete a schedule",
      .doc = "Nothing is sent any more." },
    { .method = "GET",
      .path = "/v1/reports/{report_id}/schedules/{schedule_id}/runs",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_run,
      .handler = runs,
      .id = "listReportRuns",
      .tag = TAG,
      .summary = "List the runs of a schedule",
      .doc = "Newest first; kept for 90 days." },
    { .method = "GET",
      .path = "/v1/reports/{report_id}/schedules/{schedule_id}/runs/{run_id}",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_run_full,
      .handler = run_show,
      .id = "getReportRun",
      .tag = TAG,
      .summary = "Get a run of a schedule",
      .doc = "With every delivery: whether it was sent, how often it was tried, why it failed." },
    { .method = "POST",
      .path = "/v1/reports/{report_id}/schedules/{schedule_id}/run-now",
      .scope = SCOPE(REPORTS_SCHEDULE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 202,
      .reply = &rec_run_full,
      .handler = run_start,
      .id = "runReportSchedule",
      .tag = TAG,
      .summary = "Run a schedule now",
      .doc = "Besides the plan, also when it is not enabled, with the rights of the schedule "
             "(runs_as) and to its deliveries. 409 while a run of it waits in the queue." },
};
const struct route_table routes_schedules = { routes, sizeof routes / sizeof *routes };
