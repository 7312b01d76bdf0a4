/* Lifting the counts of limits to what the usage log says: see token_settle.h. */
#include "token_settle.h"

#include <pthread.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "../base/log.h"

#define PASS_DEADLINE_US ((int64_t)20 * 1000 * 1000)
#define PASS_CAP ((size_t)16 << 20)

struct token_settle {
    struct token_dir *dir;
    struct usage *usage;
    bool has_nodes, is_started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_stopping; /* lock */
};

/* ---- a pass ---- */

struct one {
    struct token_dir *dir;
    int64_t window_ms, index;
};

static void put_counts(void *arg, struct str token_id, int64_t running, int64_t before)
{
    const struct one *w = arg;
    struct token_counts c = { w->window_ms, w->index, running, before };
    token_dir_settle(w->dir, token_id, &c);
}

static enum err_code pass(struct ctx *cx, struct token_settle *s)
{
    struct window_lengths all;
    enum err_code e = ERR_NONE;
    token_dir_windows(s->dir, &all);
    for (size_t i = 0; !e && i < all.n; i++) {
        struct one w = { s->dir, all.ms[i], clock_ms() / all.ms[i] };
        struct usage_cells span = { w.index * w.window_ms, w.window_ms };
        e = usage_window_counts(cx, s->usage, &span, put_counts, &w);
    }
    return e;
}

/* ---- the thread ---- */

/* Sleep; false when it is time to stop. */
static bool rest(struct token_settle *s, int64_t us)
{
    int64_t until = clock_mono_us() + us;
    struct timespec at = { until / 1000000, until % 1000000 * 1000 };
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->is_stopping && rc == 0)
        rc = pthread_cond_timedwait(&s->wake, &s->lock, &at);
    bool goes_on = !s->is_stopping;
    pthread_mutex_unlock(&s->lock);
    return goes_on;
}

static void *settle_main(void *arg)
{
    struct token_settle *s = arg;
    int64_t rest_us = (int64_t)SETTLE_MS * 1000;
    bool has_failed = false;
    while (rest(s, rest_us)) {
        struct ctx cx;
        int64_t begin_us = clock_mono_us();
        if (!s->has_nodes && !has_failed && !token_dir_has_new_windows(s->dir))
            continue;
        ctx_init(&cx, PASS_CAP);
        cx.deadline_us = begin_us + PASS_DEADLINE_US;
        enum err_code e = pass(&cx, s);
        if (e && !has_failed)
            log_warn(&cx, "token_settle.failed", KVC("error", err_info(e)->name));
        has_failed = e != ERR_NONE;
        ctx_done(&cx);
        rest_us = (clock_mono_us() - begin_us) * SETTLE_REST;
        if (rest_us < (int64_t)SETTLE_MS * 1000)
            rest_us = (int64_t)SETTLE_MS * 1000;
    }
    return NULL;
}

/* ---- begin and end ---- */

enum err_code token_settle_open(struct ctx *cx, struct token_dir *d, struct usage *u,
                                bool has_nodes, struct token_settle **out)
{
    struct token_settle *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;
    BUG_IF(!s);
    *s = (struct token_settle){ .dir = d, .usage = u, .has_nodes = has_nodes };
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    enum err_code e = pass(cx, s);
    if (e)
        token_settle_close(s);
    else
        *out = s;
    return e;
}

enum err_code token_settle_start(struct ctx *cx, struct token_settle *s)
{
    if (pthread_create(&s->thread, NULL, settle_main, s) != 0) {
        note(cx, "the thread that settles limits cannot be started");
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    }
    s->is_started = true;
    return ERR_NONE;
}

void token_settle_close(struct token_settle *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_stopping = true;
    pthread_mutex_unlock(&s->lock);
    pthread_cond_signal(&s->wake);
    if (s->is_started)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
