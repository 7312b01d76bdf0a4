/* The keeper of the pool: claims, renews and tidies. See job.h and job_pool.h.
 *
 * It claims for all free workers in one unit, as soon as a batch with new jobs is committed on this
 * node, when the next known job is due, and when a worker is free; otherwise it looks once a second,
 * for what other nodes and the command line have added. It also renews the leases of what runs here
 * and stores how far it is. A run that outlasts its time by RUN_OVER_US is renewed no more and so
 * loses its lease: another node may begin anew, and the late end counts for nothing. */
#include <string.h>

#include "../../base/clock.h"
#include "../../base/log.h"
#include "job_pool.h"

#define LOOK_US ((int64_t)1000 * 1000)
#define AGAIN_MS 100 /* another node may have held what there was */
#define RUN_OVER_US ((int64_t)10 * 1000 * 1000)

/* ---- claiming ---- */

static enum err_code claim_unit(struct ctx *cx, struct db *db, void *arg)
{
    return job_claim(cx, db, arg);
}

/* Free slots; the teams of the others into teams. Under the lock. */
static int count_free(struct jobs *j, struct ctx *cx, struct str *teams, int *n_teams)
{
    int n = 0;
    *n_teams = 0;
    for (int i = 0; i < j->n_workers; i++) {
        if (!j->slots[i].is_busy)
            n++;
        else if (teams)
            teams[(*n_teams)++] = str_dup(&cx->arena, j->slots[i].job.team_id);
    }
    return n;
}

/* The job and its texts become the slot's. Under the lock. */
static void give(struct jobs *j, struct job_slot *s, const struct job *job)
{
    ctx_init(&s->cx, CTX_CAP_DEFAULT);
    s->job = *job;
    for (size_t i = 0; i < rec_job_row.n; i++) {
        const struct field *f = &rec_job_row.fields[i];
        struct str *text = (struct str *)(void *)((char *)&s->job + f->offset);
        if (!field_is_int(f) && text->p)
            *text = str_dup(&s->cx.arena, *text);
    }
    s->use = job_use_of(&j->conf.uses, s->job.kind);
    s->is_cancelled = s->is_told = false;
    s->progress = 0;
    s->note_n = 0;
    s->renew_us = clock_mono_us() + j->conf.lease_ms * 1000 / 3;
    s->over_us = clock_mono_us() + s->use->kind->timeout_ms * 1000 + RUN_OVER_US;
    atomic_store(&s->stop, atomic_load(&j->is_stopping));
    s->is_busy = true;
    pthread_cond_signal(&s->given);
}

static void give_all(struct jobs *j, const struct job_claim *c)
{
    int next = 0;
    for (int i = 0; i < j->n_workers && next < c->n; i++)
        if (!j->slots[i].is_busy)
            give(j, &j->slots[i], &c->jobs[next++]);
    BUG_IF(next < c->n); /* only workers free slots, and only the keeper fills them */
}

static void remember_team(struct jobs *j, const struct job_claim *c)
{
    j->has_last = c->last_team.p && c->last_team.n < sizeof j->last_team;
    if (j->has_last) {
        memcpy(j->last_team, c->last_team.p, c->last_team.n);
        j->last_team[c->last_team.n] = '\0';
    }
}

/* The database does not do as asked; the next look tries again. */
static void tell_failure(const char *what, struct ctx *cx, enum err_code e)
{
    if (e)
        log_warn(NULL, "job.keeper_failed", KVC("at", what), KVC("error", err_info(e)->name),
                 KVS("why", cx->err_text.p ? cx->err_text : STR("")));
}

static void claim(struct jobs *j)
{
    struct ctx cx;
    struct str teams[WORKERS_MAX];
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct job_claim c = { .uses = &j->conf.uses,
                           .now_ms = clock_ms(),
                           .lease_ms = j->conf.lease_ms,
                           .node = j->node,
                           .from_team = j->has_last ? str_of(j->last_team) : STR_NONE,
                           .running = teams,
                           .team_max = j->team_max };
    pthread_mutex_lock(&j->lock);
    c.want = count_free(j, &cx, teams, &c.n_running);
    j->soon_ms = NEVER;
    bool was_signalled = j->is_signalled;
    j->is_signalled = false;
    pthread_mutex_unlock(&j->lock);
    enum err_code e = store_tx(&cx, j->conf.store, claim_unit, &c);
    tell_failure("claim", &cx, e);
    pthread_mutex_lock(&j->lock);
    if (!e) {
        remember_team(j, &c);
        give_all(j, &c);
    }
    if (!e && c.n == c.want)
        jobs_claim_by(j, 0);
    else if (!e && !c.n && was_signalled)
        jobs_claim_by(j, clock_ms() + AGAIN_MS);
    pthread_mutex_unlock(&j->lock);
    ctx_done(&cx);
}

/* ---- once a second ---- */

struct keeps {
    struct job_keep v[WORKERS_MAX];
    struct job jobs[WORKERS_MAX]; /* ids and lease of the jobs */
    bool is_lost[WORKERS_MAX];
    int slot[WORKERS_MAX];
    int n;
};

static enum err_code keep_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct keeps *k = arg;
    enum err_code e = ERR_NONE;
    for (int i = 0; i < k->n && !e; i++) {
        e = job_keep(cx, db, &k->v[i]);
        k->is_lost[i] = e == ERR_NOT_FOUND;
        if (k->is_lost[i])
            e = ERR_NONE;
    }
    return e;
}

/* Which leases are due, which progress is news. Under the lock. */
static void collect_keeps(struct jobs *j, struct ctx *cx, struct keeps *k)
{
    int64_t now_us = clock_mono_us();
    for (int i = 0; i < j->n_workers; i++) {
        struct job_slot *s = &j->slots[i];
        if (!s->is_busy || now_us > s->over_us || (!s->is_told && now_us < s->renew_us))
            continue;
        struct job *job = &k->jobs[k->n];
        job->team_id = str_dup(&cx->arena, s->job.team_id);
        job->id = str_dup(&cx->arena, s->job.id);
        job->lease_token = str_dup(&cx->arena, s->job.lease_token);
        k->v[k->n] = (struct job_keep){ .job = job,
                                        .lease_ms = clock_ms() + j->conf.lease_ms,
                                        .progress = s->progress };
        if (s->note_n)
            k->v[k->n].note = str_dup(&cx->arena, (struct str){ s->note, s->note_n });
        k->slot[k->n++] = i;
        s->is_told = false;
    }
}

/* The slot still runs this job. Under the lock. */
static bool is_same(const struct job_slot *s, const struct job *job)
{
    return s->is_busy && str_eq(s->job.id, job->id) && str_eq(s->job.lease_token, job->lease_token);
}

static void keep_leases(struct jobs *j, struct ctx *cx)
{
    struct keeps *k = ARENA_NEW(&cx->arena, struct keeps);
    pthread_mutex_lock(&j->lock);
    collect_keeps(j, cx, k);
    pthread_mutex_unlock(&j->lock);
    if (!k->n)
        return;
    enum err_code e = store_tx(cx, j->conf.store, keep_unit, k);
    pthread_mutex_lock(&j->lock);
    for (int i = 0; i < k->n; i++) {
        struct job_slot *s = &j->slots[k->slot[i]];
        if (!is_same(s, &k->jobs[i]))
            continue;
        if (e)
            s->is_told = true; /* again at the next look */
        else
            s->renew_us = clock_mono_us() + j->conf.lease_ms * 1000 / 3;
        s->is_cancelled |= !e && k->v[i].is_cancelled;
        if (!e && (k->is_lost[i] || k->v[i].is_cancelled))
            atomic_store(&s->stop, 1);
    }
    pthread_mutex_unlock(&j->lock);
}

static enum err_code look_unit(struct ctx *cx, struct db *db, void *arg)
{
    return job_look(cx, db, arg);
}

static enum err_code tidy_unit(struct ctx *cx, struct db *db, void *arg)
{
    return job_tidy(cx, db, arg);
}

/* Under the lock. */
static void stop_cancelled(struct jobs *j, const struct list *ids)
{
    for (size_t k = 0; k < ids->n; k++)
        for (int i = 0; i < j->n_workers; i++) {
            struct job_slot *s = &j->slots[i];
            if (!s->is_busy || !str_eq(s->job.id, ((const struct rec_text *)ids->v)[k].s))
                continue;
            s->is_cancelled = true;
            atomic_store(&s->stop, 1);
        }
}

static void look(struct jobs *j)
{
    struct ctx cx;
    struct job_look l = { .now_ms = clock_ms() };
    struct job_tidy t = { &j->conf.uses, l.now_ms };
    ctx_init(&cx, CTX_CAP_DEFAULT);
    enum err_code e = store_read(&cx, j->conf.store, look_unit, &l);
    tell_failure("look", &cx, e);
    if (!e) {
        pthread_mutex_lock(&j->lock);
        if (l.wake_ms >= 0)
            jobs_claim_by(j, l.wake_ms);
        stop_cancelled(j, &l.cancelled);
        pthread_mutex_unlock(&j->lock);
    }
    if (!e && l.is_untidy && !atomic_load(&j->is_stopping))
        tell_failure("tidy", &cx, store_tx(&cx, j->conf.store, tidy_unit, &t));
    ctx_retry(&cx);
    keep_leases(j, &cx);
    ctx_done(&cx);
}

static void complain(struct jobs *j)
{
    j->complain_us = NEVER;
    for (int i = 0; i < j->n_workers; i++)
        if (j->slots[i].is_busy)
            log_error(NULL, "job.slow_to_stop", KVS("job", j->slots[i].job.id),
                      KVS("kind", j->slots[i].job.kind));
}

void *jobs_keeper(void *arg)
{
    struct jobs *j = arg;
    int64_t look_us = 0;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        int n_busy, n_free = count_free(j, NULL, NULL, &n_busy);
        bool is_stopping = atomic_load(&j->is_stopping);
        int64_t now_us = clock_mono_us(), wait_ms = j->soon_ms - clock_ms();
        if (is_stopping && n_free == j->n_workers)
            break;
        if (is_stopping && now_us > j->complain_us)
            complain(j);
        bool may_claim = n_free && !is_stopping;
        if (now_us >= look_us || (may_claim && wait_ms <= 0)) {
            pthread_mutex_unlock(&j->lock);
            if (now_us >= look_us) {
                look(j);
                look_us = clock_mono_us() + LOOK_US;
            } else {
                claim(j);
            }
            pthread_mutex_lock(&j->lock);
            continue;
        }
        int64_t until = look_us;
        if (may_claim && wait_ms < LOOK_US / 1000 && now_us + wait_ms * 1000 < until)
            until = now_us + wait_ms * 1000;
        jobs_wait(j, &j->wake, until);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}
