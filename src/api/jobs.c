/* /v1/jobs and /v1/job-kinds: work in the background, looked at and steered. */
#include "routes.h"

#include "../core/job/job.h"
#include "page.h"

#define TAG "Jobs"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = job_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_job, &page);
    return e;
}

static enum err_code answer(struct reply *rp, enum err_code e, const struct job *job)
{
    if (!e)
        rec_encode(&rp->body, &rec_job, job);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct job job;
    return answer(rp, job_get(cx, db, &rq->caller, rq->params[0], &job), &job);
}

static enum err_code retry(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct job job;
    return answer(rp, job_retry(cx, db, &rq->caller, rq->params[0], &job), &job);
}

static enum err_code cancel(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct job job;
    return answer(rp, job_cancel(cx, db, &rq->caller, rq->params[0], &job), &job);
}

static enum err_code kinds(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page = { .total = -1 };
    enum err_code e = job_kind_list(cx, db, &rq->caller, jobs_uses(rq->app->jobs), &page.rows);
    if (!e)
        page_put(cx, rq, rp, &rec_job_kind, &page);
    return e;
}

static enum err_code set_paused(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp,
                                bool is_paused)
{
    const struct job_use *use = job_use_of(jobs_uses(rq->app->jobs), rq->params[0]);
    struct job_kind_row row;
    if (!use)
        return fail(cx, NOT_FOUND, "There is no such kind of job");
    enum err_code e = job_kind_pause(cx, db, &rq->caller, use->kind, is_paused, &row);
    if (!e)
        rec_encode(&rp->body, &rec_job_kind, &row);
    return e;
}

static enum err_code pause_kind(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    return set_paused(cx, rq, db, rp, true);
}

static enum err_code resume_kind(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    return set_paused(cx, rq, db, rp, false);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/jobs",
      .scope = SCOPE(JOBS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_job_query,
      .reply = &rec_job,
      .handler = list,
      .id = "listJobs",
      .tag = TAG,
      .summary = "List jobs",
      .doc =
          "Newest first: those that the caller has asked for; with jobs:manage those of the whole "
          "team. Dead ones are kept with their error: state=dead." },
    { .method = "GET",
      .path = "/v1/jobs/{job_id}",
      .scope = SCOPE(JOBS_READ),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_job,
      .handler = get,
      .id = "getJob",
      .tag = TAG,
      .summary = "Get a job",
      .doc = "progress and note move about once a second while it runs." },
    { .method = "POST",
      .path = "/v1/jobs/{job_id}/retry",
      .scope = SCOPE(JOBS_READ),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_job,
      .handler = retry,
      .id = "retryJob",
      .tag = TAG,
      .summary = "Try a job again",
      .doc =
          "A dead or cancelled job becomes ready with all its attempts; others are 409. Only jobs "
          "that the caller sees." },
    { .method = "POST",
      .path = "/v1/jobs/{job_id}/cancel",
      .scope = SCOPE(JOBS_READ),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_job,
      .handler = cancel,
      .id = "cancelJob",
      .tag = TAG,
      .summary = "Cancel a job",
      .doc = "A ready job is cancelled at once. One that runs is asked to stop (cancel_requested) "
             "and is cancelled when it has; one that is over is 409." },
    { .method = "GET",
      .path = "/v1/job-kinds",
      .scope = SCOPE(JOBS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_job_kind,
      .handler = kinds,
      .id = "listJobKinds",
      .tag = TAG,
      .summary = "List the kinds of jobs",
      .doc = "What the server can do in the background, with its limits; all on one page." },
    { .method = "POST",
      .path = "/v1/job-kinds/{kind}/pause",
      .scope = SCOPE(JOBS_MANAGE),
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_job_kind,
      .handler = pause_kind,
      .id = "pauseJobKind",
      .tag = TAG,
      .summary = "Pause a kind of job for the team",
      .doc = "Jobs of the kind wait until it is resumed; those that run go on. Other teams notice "
             "nothing." },
    { .method = "POST",
      .path = "/v1/job-kinds/{kind}/resume",
      .scope = SCOPE(JOBS_MANAGE),
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_job_kind,
      .handler = resume_kind,
      .id = "resumeJobKind",
      .tag = TAG,
      .summary = "Resume a kind of job for the team",
      .doc = "One that is not paused stays so. A pause that the operator has made stays too." },
};
const struct route_table routes_jobs = { routes, sizeof routes / sizeof *routes };
