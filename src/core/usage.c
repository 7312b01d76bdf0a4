/* Usage: opening, starting and stopping its threads, transactions of its own. The rest: see
 * usage_inner.h. */
#include "usage.h"

#include <string.h>
#include <time.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "usage_inner.h"

#define DETAIL_DAYS_DEFAULT 30
#define BUFFER_EVENTS_DEFAULT 65536
#define MEMORY ((size_t)1 << 30) /* far more than the bounds of the buffer and the streams need */

static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

void usage_wait(struct usage *u, pthread_cond_t *wake, int64_t us)
{
    int64_t end_us = clock_mono_us() + us;
    struct timespec end = { .tv_sec = end_us / 1000000, .tv_nsec = end_us % 1000000 * 1000 };

    pthread_cond_timedwait(wake, &u->lock, &end);
}

enum err_code usage_open(struct ctx *cx, struct store *s, const struct usage_conf *conf,
                         struct usage **out)
{
    struct arena a;
    struct usage *u;

    (void)cx;
    arena_init(&a, MEMORY);
    u = ARENA_NEW(&a, struct usage);
    u->arena = a;
    u->store = s;
    u->conf = *conf;
    if (u->conf.detail_days <= 0)
        u->conf.detail_days = DETAIL_DAYS_DEFAULT;
    if (u->conf.buffer_events <= 0)
        u->conf.buffer_events = BUFFER_EVENTS_DEFAULT;
    u->hooks = (struct store_hooks){ .arg = u,
                                     .before_commit = usage_before_commit,
                                     .after_commit = usage_after_commit };
    u->days.newest = u->days.open_day = -1;
    pthread_mutex_init(&u->days.lock, NULL);
    pthread_mutex_init(&u->lock, NULL);
    cond_init(&u->wake_flusher);
    cond_init(&u->wake_keeper);
    rollup_init(u);
    streams_init(u);
    notes_init(u);
    *out = u;
    return ERR_NONE;
}

enum err_code usage_recover(struct ctx *cx, struct usage *u)
{
    enum err_code e = rollup_recover(cx, u);

    if (!e && store_is_postgres(u->store))
        e = part_keep(cx, u, clock_ms());
    return e;
}

const struct store_hooks *usage_hooks(struct usage *u)
{
    return &u->hooks;
}

enum err_code usage_start(struct ctx *cx, struct usage *u)
{
    u->has_flusher = pthread_create(&u->flusher, NULL, flusher_main, u) == 0;
    if (u->has_flusher)
        u->has_keeper = pthread_create(&u->keeper, NULL, keeper_main, u) == 0;
    if (u->has_keeper)
        return ERR_NONE;
    note(cx, "a thread of usage cannot be started");
    return ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

bool usage_is_stopping(struct usage *u)
{
    bool is;

    pthread_mutex_lock(&u->lock);
    is = u->is_stopping;
    pthread_mutex_unlock(&u->lock);
    return is;
}

void usage_stop(struct usage *u)
{
    pthread_mutex_lock(&u->lock);
    u->is_stopping = true;
    pthread_cond_signal(&u->wake_keeper);
    pthread_mutex_unlock(&u->lock);
    if (u->has_keeper)
        pthread_join(u->keeper, NULL);
    u->has_keeper = false;
    pthread_mutex_lock(&u->lock);
    u->is_draining = true;
    pthread_cond_signal(&u->wake_flusher);
    pthread_mutex_unlock(&u->lock);
    if (u->has_flusher)
        pthread_join(u->flusher, NULL);
    u->has_flusher = false;
}

void usage_close(struct usage *u)
{
    struct arena a;

    if (!u)
        return;
    day_rest(u);
    notes_done(u);
    streams_done(u);
    pthread_cond_destroy(&u->wake_keeper);
    pthread_cond_destroy(&u->wake_flusher);
    pthread_mutex_destroy(&u->lock);
    pthread_mutex_destroy(&u->days.lock);
    a = u->arena; /* u lives in it */
    arena_done(&a);
}

/* ---- a transaction of our own */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_done; /* lock */
    enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg);
    void *arg;
};

static enum err_code wait_run(struct ctx *cx, struct db *db, void *arg)
{
    struct wait *w = arg;

    return w->fn(cx, db, w->arg);
}

static void wait_done(struct unit *unit, enum err_code e)
{
    struct wait *w = unit->arg;

    (void)e;
    pthread_mutex_lock(&w->lock);
    w->is_done = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

enum err_code usage_tx(struct ctx *cx, struct usage *u,
                       enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg), void *arg)
{
    struct wait w = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .fn = fn, .arg = arg
    };
    struct unit unit = {
        .fn = wait_run, .done = wait_done, .cx = cx, .arg = &w, .flags = UNIT_ALONE
    };

    store_submit(u->store, &unit, 0);
    pthread_mutex_lock(&w.lock);
    while (!w.is_done) /* bounded: the writer answers every unit that it took */
        pthread_cond_wait(&w.wake, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return unit.err;
}
