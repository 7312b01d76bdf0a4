/* The pool: workers that run jobs, their start and stop. The keeper (job_keeper.c) gives them what it
 * has claimed. See job.h and job_pool.h. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "../../base/log.h"
#include "job_pool.h"

#define FINISH_TRY_US ((int64_t)250 * 1000)
#define FINISH_US ((int64_t)60 * 1000 * 1000) /* how long the end of a run is tried to be stored */
#define FINISH_STOP_US ((int64_t)3 * 1000 * 1000)

/* ---- waiting ---- */

static void cond_init_mono(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

void jobs_wait(struct jobs *j, pthread_cond_t *c, int64_t us)
{
    struct timespec at = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
    pthread_cond_timedwait(c, &j->lock, &at);
}

/* Under the lock. */
void jobs_claim_by(struct jobs *j, int64_t ms)
{
    if (ms < j->soon_ms)
        j->soon_ms = ms;
}

void jobs_committed(struct jobs *j, bool is_committed)
{
    int64_t due = job_noted_due();
    if (due < 0 || !is_committed || !j)
        return;
    pthread_mutex_lock(&j->lock);
    jobs_claim_by(j, due);
    j->is_signalled = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
}

/* ---- one run ---- */

void job_progress(struct job_run *r, int64_t percent, struct str note)
{
    struct job_slot *s = r->slot;
    struct str cut = job_cut(note, sizeof s->note);
    pthread_mutex_lock(&s->j->lock);
    s->progress = percent < 0 ? 0 : percent > 100 ? 100 : percent;
    s->note_n = cut.n;
    if (cut.n)
        memcpy(s->note, cut.p, cut.n);
    s->is_told = true;
    pthread_mutex_unlock(&s->j->lock);
}

static enum err_code finish_unit(struct ctx *cx, struct db *db, void *arg)
{
    db_scope_system(db);
    return job_finish(cx, db, arg);
}

/* False: it has to be tried again. */
static bool finish_once(struct job_slot *s, struct job_end *end)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    end->now_ms = clock_ms();
    enum err_code e = store_tx(&cx, s->j->conf.store, finish_unit, end);
    ctx_done(&cx);
    if (e == ERR_NOT_FOUND)
        log_warn(NULL, "job.late", KVS("job", s->job.id), KVS("kind", s->job.kind));
    return !e || e == ERR_NOT_FOUND;
}

/* What cannot be stored runs again when its lease is over. */
static void finish(struct job_slot *s, struct job_end *end)
{
    struct jobs *j = s->j;
    int64_t start = clock_mono_us();
    while (!finish_once(s, end)) {
        int64_t now = clock_mono_us();
        if (now - start > (atomic_load(&j->is_stopping) ? FINISH_STOP_US : FINISH_US)) {
            log_error(NULL, "job.not_finished", KVS("job", s->job.id), KVS("kind", s->job.kind));
            return;
        }
        pthread_mutex_lock(&j->lock);
        jobs_wait(j, &s->given, now + FINISH_TRY_US);
        pthread_mutex_unlock(&j->lock);
    }
}

static struct str why_failed(struct job_slot *s, enum err_code e)
{
    struct ctx *cx = &s->cx;
    if (!e)
        return STR_NONE;
    if (cx->deadline_us && clock_mono_us() >= cx->deadline_us)
        return str_printf(&cx->arena, "took longer than %lld ms",
                          (long long)s->use->kind->timeout_ms);
    return cx->err_text.p ? cx->err_text : str_of(err_info(e)->text);
}

static void run(struct job_slot *s)
{
    struct jobs *j = s->j;
    const struct job_kind *k = s->use->kind;
    s->cx.stop = &s->stop;
    s->cx.request_id = s->job.id;
    s->cx.deadline_us = clock_mono_us() + k->timeout_ms * 1000;
    s->run =
        (struct job_run){ .job = &s->job, .store = j->conf.store, .arg = s->use->arg, .slot = s };
    enum err_code e = atomic_load(&s->stop) ? ERR_UNAVAILABLE : k->run(&s->cx, &s->run);
    struct job_end end = { .job = &s->job,
                           .kind = k,
                           .err = e,
                           .why = why_failed(s, e),
                           .retry_after_ms = s->run.retry_after_ms,
                           .is_drained = atomic_load(&j->is_stopping) };
    pthread_mutex_lock(&j->lock);
    end.is_cancelled = s->is_cancelled;
    pthread_mutex_unlock(&j->lock);
    finish(s, &end);
}

static void *worker(void *arg)
{
    struct job_slot *s = arg;
    struct jobs *j = s->j;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        while (!s->is_busy && !j->is_over)
            pthread_cond_wait(&s->given, &j->lock);
        if (!s->is_busy)
            break;
        pthread_mutex_unlock(&j->lock);
        run(s);
        pthread_mutex_lock(&j->lock);
        ctx_done(&s->cx);
        s->is_busy = false;
        jobs_claim_by(j, 0);
        pthread_cond_signal(&j->wake);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* ---- start and stop ---- */

static void check_kind(const struct job_kind *k)
{
    BUG_IF(!k->name || !k->run || !k->doc || k->timeout_ms <= 0 || k->attempts < 1);
    BUG_IF(!k->backoff_ms || k->backoff_ms[0] <= 0 || k->jitter < 0 || k->jitter > 50);
    BUG_IF(k->concurrency < 0 || k->per_key < 0 || k->priority < 0 || k->priority > 9);
    BUG_IF(k->period_ms < 0 || (k->period_ms && !k->is_single));
}

struct jobs *jobs_open(const struct jobs_conf *conf)
{
    char host[256] = "";
    struct arena a;
    BUG_IF(conf->workers < 0 || conf->workers > WORKERS_MAX || conf->lease_ms < 1000);
    BUG_IF(conf->uses.n > JOB_KINDS_MAX);
    for (size_t i = 0; i < conf->uses.n; i++)
        check_kind(conf->uses.v[i].kind);
    gethostname(host, sizeof host - 1);
    arena_init(&a, CTX_CAP_DEFAULT);
    struct jobs *j = ARENA_NEW(&a, struct jobs);
    j->arena = a;
    j->conf = *conf;
    j->soon_ms = NEVER; /* the first look says */
    j->node = str_printf(&j->arena, "%s:%ld", host, (long)getpid());
    /* A quarter of the places, at least one, is kept from a team that has the others. */
    j->team_max = (int)(conf->workers < 3   ? conf->workers
                        : conf->workers < 8 ? conf->workers - 1
                                            : conf->workers - conf->workers / 4);
    pthread_mutex_init(&j->lock, NULL);
    cond_init_mono(&j->wake);
    for (int i = 0; i < WORKERS_MAX; i++) {
        j->slots[i].j = j;
        cond_init_mono(&j->slots[i].given);
    }
    return j;
}

const struct job_uses *jobs_uses(const struct jobs *j)
{
    static const struct job_uses none = { .n = 0 };
    return j ? &j->conf.uses : &none;
}

static enum err_code kinds_unit(struct ctx *cx, struct db *db, void *arg)
{
    return job_kinds_open(cx, db, arg);
}

enum err_code jobs_start(struct ctx *cx, struct jobs *j)
{
    if (!j->conf.workers)
        return ERR_NONE;
    enum err_code e = store_tx(cx, j->conf.store, kinds_unit, &j->conf.uses);
    if (e)
        return e;
    for (; j->n_workers < j->conf.workers; j->n_workers++) {
        struct job_slot *s = &j->slots[j->n_workers];
        if (pthread_create(&s->thread, NULL, worker, s))
            return fail(cx, UNAVAILABLE, "jobs: cannot start a thread");
    }
    j->has_keeper = !pthread_create(&j->keeper, NULL, jobs_keeper, j);
    return j->has_keeper ? ERR_NONE : fail(cx, UNAVAILABLE, "jobs: cannot start a thread");
}

void jobs_close(struct jobs *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    atomic_store(&j->is_stopping, true);
    j->complain_us = clock_mono_us() + j->conf.drain_ms * 1000;
    for (int i = 0; i < j->n_workers; i++)
        if (j->slots[i].is_busy)
            atomic_store(&j->slots[i].stop, 1);
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    if (j->has_keeper)
        pthread_join(j->keeper, NULL); /* when the last run has ended: they all look at stop */
    pthread_mutex_lock(&j->lock);
    j->is_over = true;
    for (int i = 0; i < j->n_workers; i++)
        pthread_cond_signal(&j->slots[i].given);
    pthread_mutex_unlock(&j->lock);
    for (int i = 0; i < j->n_workers; i++)
        pthread_join(j->slots[i].thread, NULL);
    struct arena a = j->arena;
    arena_done(&a);
}
