/* The worker of exports, its start and stop, housekeeping; see export.h. */
#define _GNU_SOURCE /* pthread_timedjoin_np */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/log.h"
#include "export_inner.h"
#include "report_run.h"

#define STOP_WAIT_S 5 /* for a workbook that is being packed; then it is left to itself */
#define STALE_MS ((int64_t)10 * 60 * 1000)
#define TELL_US ((int64_t)1000 * 1000)
#define SWEEP_MAX 500
#define INTERRUPTED "interrupted by a restart"

/* ---- opening ---- */

/* A folder of ours that others cannot have put there. */
static bool folder_is_ours(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) && errno != EEXIST)
        return false;
    return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           !access(path, W_OK | X_OK);
}

enum err_code exports_open(struct ctx *cx, const struct exports_conf *conf, struct exports **out)
{
    char host[256] = "";
    if (!folder_is_ours(str_cstr(&cx->arena, conf->dir)))
        return fail(cx, USAGE, "exports: cannot use the folder " STR_FMT, STR_ARG(conf->dir));
    struct arena a;
    arena_init(&a, CTX_CAP_DEFAULT);
    struct exports *x = ARENA_NEW(&a, struct exports);
    x->arena = a;
    x->store = conf->store;
    x->usage = conf->usage;
    x->usage_days = conf->usage_days;
    gethostname(host, sizeof host - 1);
    x->dir = (struct str){ str_cstr(&x->arena, conf->dir), conf->dir.n };
    x->home = str_printf(&x->arena, "%s:" STR_FMT, host, STR_ARG(conf->dir));
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->more, NULL);
    *out = x;
    return ERR_NONE;
}

/* ---- one job ---- */

struct str export_path(struct ctx *cx, const struct exports *x, struct str id, const char *end)
{
    struct str path =
        str_printf(&cx->arena, STR_FMT "/" STR_FMT "%s", STR_ARG(x->dir), STR_ARG(id), end);
    return (struct str){ str_cstr(&cx->arena, path), path.n };
}

void export_job_free(struct export_job *job)
{
    struct arena a = job->arena; /* the job lives in it */
    arena_done(&a);
}

static enum err_code move_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct export_end *to = arg;
    caller_scope(db, &to->job->who);
    return export_move(cx, db, to);
}

/* In a ctx of its own, so that the worker's stop does not keep the row from being written. */
static enum err_code move(struct exports *x, struct export_end *to)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    enum err_code e = store_tx(&cx, x->store, move_unit, to);
    ctx_done(&cx);
    return e;
}

static enum err_code tell(struct ctx *cx, struct export_progress *p)
{
    int64_t share = p->total > 0 ? p->rows * 95 / p->total : 0;
    struct export_end to = {
        .job = p->job, .state = STR("running"), .rows = p->rows, .progress = share > 95 ? 95 : share
    };
    p->told_us = clock_mono_us();
    enum err_code e = move(p->x, &to);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "The export was deleted");
    return ERR_NONE; /* a busy database is no reason to give up */
}

enum err_code export_step(struct ctx *cx, struct export_progress *p)
{
    p->rows++;
    if (p->rows % 64)
        return ERR_NONE;
    if (atomic_load_explicit(&p->x->stop, memory_order_relaxed))
        return fail(cx, UNAVAILABLE, INTERRUPTED);
    return clock_mono_us() - p->told_us >= TELL_US ? tell(cx, p) : ERR_NONE;
}

void export_packing(struct export_progress *p, bool is_packing)
{
    atomic_store(&p->x->is_packing, is_packing);
}

/* The finished file gets its name. */
static enum err_code put_file(struct ctx *cx, struct str part, struct str path, int64_t *size)
{
    struct stat st;
    int fd = open(part.p, O_RDONLY | O_CLOEXEC);
    bool is_fine = fd >= 0 && !fstat(fd, &st) && !fsync(fd) && !rename(part.p, path.p);
    if (fd >= 0)
        close(fd);
    if (!is_fine) {
        log_error(NULL, "export.file_failed", KVC("why", strerror(errno)));
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    }
    *size = st.st_size;
    return ERR_NONE;
}

static void conclude(struct ctx *cx, struct exports *x, const struct export_job *job,
                     struct export_end *to, enum err_code e)
{
    if (e == ERR_NOT_FOUND || atomic_load(&x->stop))
        return; /* deleted; or stopping: the next start marks it */
    to->state = e ? STR("failed") : STR("done");
    to->progress = e ? 0 : 100;
    to->is_over = true;
    if (e)
        to->error = cx->err_text.p ? cx->err_text : str_of(err_info(e)->text);
    if (move(x, to) == ERR_NOT_FOUND)
        unlink(export_path(cx, x, job->id, "").p);
    log_info(NULL, "export.finished", KVS("export", job->id), KVS("state", to->state),
             KVI("rows", to->rows), KVI("size", to->size));
}

static void run(struct exports *x, struct export_job *job)
{
    struct ctx cx;
    struct export_progress p = { .x = x, .job = job };
    ctx_init(&cx, REPORT_MEMORY);
    cx.stop = &x->stop;
    struct str part = export_path(&cx, x, job->id, ".part");
    struct export_place at = { part, x->dir, x->store, x->usage, x->usage_days };
    struct export_end to = { .job = job };
    enum err_code e = tell(&cx, &p);
    if (!e)
        e = export_write(&cx, &at, job, &p);
    if (!e && !atomic_load(&x->stop))
        e = put_file(&cx, part, export_path(&cx, x, job->id, ""), &to.size);
    if (e)
        unlink(part.p);
    to.rows = p.rows;
    conclude(&cx, x, job, &to, e);
    ctx_done(&cx);
}

/* ---- one at once ---- */

struct making {
    struct exports *x;
    struct export_end to;
    struct export *out;
};

static enum err_code made_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct making *m = arg;
    caller_scope(db, &m->to.job->who);
    return export_insert_done(cx, db, &m->to, m->x->home, m->out);
}

enum err_code exports_make(struct ctx *cx, struct exports *x, const struct export_job *job,
                           struct export *out)
{
    struct ctx work; /* a report needs more memory than a unit of work has */
    struct export_job now = *job;
    struct export_progress p = { .x = x, .job = &now };
    struct making m = { x, { .job = &now }, out };
    now.id = uuid7(&cx->arena);
    now.asked_ms = clock_ms();
    ctx_init(&work, REPORT_MEMORY);
    work.stop = cx->stop;
    work.deadline_us = cx->deadline_us;
    work.request_id = cx->request_id;
    struct str part = export_path(cx, x, now.id, ".part"), path = export_path(cx, x, now.id, "");
    struct export_place at = { part, x->dir, x->store, x->usage, x->usage_days };
    enum err_code e = export_write(&work, &at, &now, &p);
    m.to.rows = p.rows;
    if (!e)
        e = put_file(&work, part, path, &m.to.size);
    if (e)
        unlink(part.p);
    if (e && !cx->err)
        ctx_fail(cx, e, STR_FMT,
                 STR_ARG(work.err_text.p ? work.err_text : str_of(err_info(e)->text)));
    ctx_done(&work);
    if (e)
        return e;
    e = store_tx(cx, x->store, made_unit, &m);
    if (e)
        unlink(path.p);
    return e;
}

/* ---- the worker ---- */

static struct export_job *take(struct exports *x)
{
    struct export_job *job = NULL;
    pthread_mutex_lock(&x->lock);
    while (!x->first && !atomic_load(&x->stop))
        pthread_cond_wait(&x->more, &x->lock);
    if (!atomic_load(&x->stop)) {
        job = x->first;
        x->first = job->next;
        x->last = x->first ? x->last : NULL;
        x->n_waiting--;
    }
    pthread_mutex_unlock(&x->lock);
    return job;
}

static void *worker(void *arg)
{
    struct exports *x = arg;
    for (struct export_job *job; (job = take(x));) {
        run(x, job);
        export_job_free(job);
    }
    return NULL;
}

/* ---- start and stop ---- */

struct sweep {
    const struct exports *x;
    int64_t now_ms;
    struct list gone;
};

static enum err_code interrupted_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct sweep *s = arg;
    db_scope_system(db);
    return db_run(cx, db,
                  "UPDATE report_export SET state = 'failed', error = '" INTERRUPTED
                  "', finished_ms = $2 WHERE finished_ms IS NULL AND home = $1",
                  ARGS(VT(s->x->home), VI(s->now_ms)));
}

static enum err_code known_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num n;
    db_scope_system(db);
    return db_one(cx, db, &rec_num,
                  "SELECT 1 AS n FROM report_export WHERE id = $1 AND (state = 'done' OR "
                  "finished_ms IS NULL)",
                  ARGS(VT(*(const struct str *)arg)), &n);
}

/* Files that no row speaks of as done, or as running elsewhere. */
static void sweep_folder(struct ctx *cx, const struct exports *x)
{
    DIR *dir = opendir(x->dir.p);
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        struct str name = str_of(d->d_name), id = str_sub(name, 0, UUID_TEXT);
        struct str end = str_sub(name, UUID_TEXT, name.n);
        if (!uuid_is_valid(id) || !(end.n == 0 || str_eq(end, STR(".part"))))
            continue;
        if (store_read(cx, x->store, known_unit, &id) == ERR_NOT_FOUND)
            unlinkat(dirfd(dir), d->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

enum err_code exports_start(struct ctx *cx, struct exports *x)
{
    struct sweep s = { .x = x, .now_ms = clock_ms() };
    enum err_code e = store_tx(cx, x->store, interrupted_unit, &s);
    if (e)
        return e;
    sweep_folder(cx, x);
    x->is_started = !pthread_create(&x->thread, NULL, worker, x);
    return x->is_started ? ERR_NONE : fail(cx, UNAVAILABLE, "exports: cannot start a thread");
}

void exports_close(struct exports *x)
{
    struct timespec until = { .tv_sec = clock_ms() / 1000 + STOP_WAIT_S };
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    atomic_store(&x->stop, 1);
    pthread_cond_broadcast(&x->more);
    pthread_mutex_unlock(&x->lock);
    bool is_over = !x->is_started || !pthread_timedjoin_np(x->thread, NULL, &until);
    if (!is_over && atomic_load(&x->is_packing)) {
        /* It packs a workbook and looks at `stop` before it touches the store again; the process
         * ends meanwhile, and the next start removes the part. */
        log_warn(NULL, "export.left_behind", KVI("waited_s", STOP_WAIT_S));
        return;
    }
    if (!is_over)
        pthread_join(x->thread, NULL);
    for (struct export_job *job = x->first, *next; job; job = next) {
        next = job->next;
        export_job_free(job);
    }
    struct arena a = x->arena;
    arena_done(&a);
}

/* ---- housekeeping ---- */

static enum err_code any_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct sweep *s = arg;
    struct rec_num n;
    db_scope_system(db);
    return db_one(cx, db, &rec_num,
                  "SELECT 1 AS n FROM report_export WHERE finished_ms IS NULL OR expires_ms < $1 "
                  "LIMIT 1",
                  ARGS(VI(s->now_ms)), &n);
}

/* Ours are alive; those of a server that is not heard of any more have failed. */
static enum err_code sweep_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    db_scope_system(db);
    enum err_code e = db_run(
        cx, db, "UPDATE report_export SET seen_ms = $2 WHERE finished_ms IS NULL AND home = $1",
        ARGS(VT(s->x->home), VI(s->now_ms)));
    if (!e)
        e = db_run(cx, db,
                   "UPDATE report_export SET state = 'failed', error = '" INTERRUPTED
                   "', finished_ms = $2 WHERE finished_ms IS NULL AND seen_ms < $1",
                   ARGS(VI(s->now_ms - STALE_MS), VI(s->now_ms)));
    if (!e)
        e = db_list(
            cx, db, &rec_text,
            "DELETE FROM report_export WHERE (team_id, id) IN (SELECT team_id, id FROM "
            "report_export WHERE expires_ms < $1 AND finished_ms IS NOT NULL AND "
            "(home = $2 OR expires_ms < $3) LIMIT $4) RETURNING id AS s",
            ARGS(VI(s->now_ms), VT(s->x->home), VI(s->now_ms - EXPORT_KEPT_MS), VI(SWEEP_MAX)),
            &s->gone);
    return e;
}

enum err_code exports_sweep(struct ctx *cx, struct exports *x)
{
    struct sweep s = { .x = x, .now_ms = clock_ms() };
    enum err_code e = store_read(cx, x->store, any_unit, &s);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = store_tx(cx, x->store, sweep_unit, &s);
    for (size_t i = 0; !e && i < s.gone.n; i++)
        unlink(export_path(cx, x, ((const struct rec_text *)s.gone.v)[i].s, "").p);
    return e;
}
