/* What clients ask of exports: start, fetch, delete; see export.h. */
#include <fcntl.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "export_inner.h"
#include "report.h"

/* A place in the queue before the row is written; given back when that fails. */
static bool reserve(struct exports *x)
{
    pthread_mutex_lock(&x->lock);
    bool has_room = x->n_waiting < EXPORTS_WAITING_MAX && !atomic_load(&x->stop);
    x->n_waiting += has_room;
    pthread_mutex_unlock(&x->lock);
    return has_room;
}

static void queue(struct exports *x, struct export_job *job)
{
    pthread_mutex_lock(&x->lock);
    if (x->last)
        x->last->next = job;
    else
        x->first = job;
    x->last = job;
    pthread_cond_signal(&x->more);
    pthread_mutex_unlock(&x->lock);
}

static void unreserve(struct exports *x)
{
    pthread_mutex_lock(&x->lock);
    x->n_waiting--;
    pthread_mutex_unlock(&x->lock);
}

struct adding {
    struct exports *x;
    const struct export_job *job;
    struct export *out;
};

static enum err_code add_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct adding *a = arg;
    caller_scope(db, &a->job->who);
    return export_insert(cx, db, a->job, a->x->home, a->out);
}

static void copy(struct arena *a, struct str *s)
{
    *s = str_dup(a, *s);
}

/* The job and its texts in an arena that outlives the request. */
static struct export_job *job_keep(const struct export_job *from)
{
    struct arena a;
    arena_init(&a, 4 * CTX_CAP_DEFAULT);
    struct export_job *job = ARENA_NEW(&a, struct export_job);
    *job = *from;
    struct caller *who = &job->who;
    struct str *const texts[] = {
        &job->id,         &job->kind,       &job->report_id, &job->name,
        &job->format,     &job->definition, &job->filters,   &who->team_id,
        &who->token_id,   &who->token_name, &who->user_id,   &who->user_name,
        &who->user_email, &who->session_id, &who->ip,        &who->agent,
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        copy(&a, texts[i]);
    job->arena = a;
    return job;
}

static enum err_code add(struct ctx *cx, struct exports *x, struct export_job *job,
                         struct export *out)
{
    struct adding a = { x, job, out };
    job->id = uuid7(&cx->arena);
    job->asked_ms = clock_ms();
    enum err_code e = export_check(cx, job);
    if (e)
        return e;
    if (!reserve(x))
        return fail(cx, UNAVAILABLE, "Too many exports are waiting; try again later");
    e = store_tx(cx, x->store, add_unit, &a);
    if (e)
        unreserve(x);
    else
        queue(x, job_keep(job));
    return e;
}

static enum err_code read_range(struct ctx *cx, struct str from, struct str to,
                                struct export_job *job)
{
    report_when_parse(cx, from, STR("from"), &job->from);
    report_when_parse(cx, to, STR("to"), &job->to);
    return cx->err;
}

enum err_code exports_add(struct ctx *cx, struct exports *x, const struct caller *who,
                          const struct export_new *in, struct export *out)
{
    struct export_job job = { .who = *who,
                              .kind = in->source,
                              .name = in->source,
                              .format = in->format,
                              .filters = REC_HAS(in, filters) ? in->filters : STR("[]") };
    enum err_code e = read_range(cx, in->from, in->to, &job);
    return e ? e : add(cx, x, &job, out);
}

struct reading {
    const struct caller *who;
    struct str id;
    struct report report;
    struct export export;
};

static enum err_code report_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct reading *r = arg;
    caller_scope(db, r->who);
    return report_get(cx, db, r->who, r->id, &r->report);
}

enum err_code exports_add_report(struct ctx *cx, struct exports *x, const struct caller *who,
                                 struct str report_id, const struct export_report_new *in,
                                 struct export *out)
{
    struct reading r = { .who = who, .id = report_id };
    struct export_job job = { .who = *who, .kind = STR("report"), .format = in->format };
    enum err_code e = store_read(cx, x->store, report_unit, &r);
    if (!e)
        e = read_range(cx, in->from, in->to, &job);
    if (e)
        return e;
    job.report_id = r.report.id;
    job.name = r.report.name;
    job.definition = r.report.definition;
    return add(cx, x, &job, out);
}

static enum err_code export_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct reading *r = arg;
    caller_scope(db, r->who);
    return export_get(cx, db, r->who, r->id, &r->export);
}

enum err_code exports_file(struct ctx *cx, struct exports *x, const struct caller *who,
                           struct str id, struct export *out, struct spool **file)
{
    struct reading r = { .who = who, .id = id };
    enum err_code e = store_read(cx, x->store, export_unit, &r);
    if (e)
        return e;
    if (!str_eq(r.export.state, STR("done")))
        return fail(cx, CONFLICT, "The export is " STR_FMT ", not done", STR_ARG(r.export.state));
    int fd = open(export_path(cx, x, r.export.id, "").p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail(cx, NOT_FOUND, "The file of the export is gone");
    *out = r.export;
    return spool_adopt(cx, fd, file);
}

static enum err_code delete_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct reading *r = arg;
    caller_scope(db, r->who);
    return export_remove(cx, db, r->who, r->id, &r->export);
}

enum err_code exports_delete(struct ctx *cx, struct exports *x, const struct caller *who,
                             struct str id)
{
    struct reading r = { .who = who, .id = id };
    enum err_code e = store_tx(cx, x->store, delete_unit, &r);
    if (!e)
        unlink(export_path(cx, x, r.export.id, "").p);
    return e;
}
