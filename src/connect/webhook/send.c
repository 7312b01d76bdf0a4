/* The engine's thread, its start and stop: see webhook_engine.h and send_engine.h.
 *
 * The thread goes round: results that egress has brought are written; then, when it is woken or
 * something is due, one turn (send_turn) in one unit; then what the turn has claimed is sent. It
 * sleeps when there is nothing of that. When the database does not do as asked, results are kept and
 * tried again; what cannot be stored before its lease ends is sent again. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../base/log.h"
#include "send_engine.h"

#define TURN_CAP ((size_t)160 << 20) /* memory of a turn: at most GATE_BYTES_MAX of events, twice */
#define LOOK_US ((int64_t)1000 * 1000)
#define AGAIN_US ((int64_t)250 * 1000) /* the database failed */
#define HELD_MS 20                     /* another node holds what is due */
#define HOT_US ((int64_t)1000 * 1000)
#define GRACE_US ((int64_t)2000 * 1000) /* at the stop: for calls to end by themselves */
#define AGAIN_MAX 64                    /* full lanes that are looked at in one turn */
#define COUNT_EVERY 10                  /* looks */
#define FLUSH_TRIES 8                   /* units at the stop: WEBHOOK_CALLS_MAX, and failures */
#define LEASE_REST_MS 500               /* to store how an attempt ended */
#define WRITE_MAX 256                   /* results in one unit */

/* ---- waking ---- */

void webhooks_committed(struct webhooks *w, bool is_committed)
{
    bool has_events = event_noted(), has_deliveries = delivery_noted();
    if (!w || !is_committed || (!has_deliveries && !(has_events && atomic_load(&w->has_webhooks))))
        return;
    pthread_mutex_lock(&w->lock);
    w->is_woken = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void tell_failure(struct webhooks *w, const char *what, struct ctx *cx, enum err_code e)
{
    if (!e)
        return;
    w->again_us = clock_mono_us() + AGAIN_US;
    log_warn(NULL, "webhook.engine_failed", KVC("at", what), KVC("error", err_info(e)->name),
             KVS("why", cx->err_text.p ? cx->err_text : STR("")));
}

/* ---- results ---- */

static enum err_code results_unit(struct ctx *cx, struct db *db, void *arg)
{
    return send_results(cx, db, arg);
}

static void take_ended(struct webhooks *w)
{
    pthread_mutex_lock(&w->lock);
    struct flight *first = w->ended, **end = w->ended_end;
    w->ended = NULL;
    w->ended_end = &w->ended;
    pthread_mutex_unlock(&w->lock);
    if (!first)
        return;
    for (struct flight *f = first; f; f = f->next)
        gate_leave(w->gates, gate_find(w->gates, str_of(f->webhook)), f->bytes, f->class,
                   f->try_again_ms);
    *w->unwritten_end = first;
    w->unwritten_end = end;
}

/* The first n of what is unwritten is stored, or was given up. */
static void forget(struct webhooks *w, size_t n, int64_t now_ms)
{
    for (; n; n--) {
        struct flight *f = w->unwritten;
        int64_t due_ms = now_ms + f->verdict.wait_ms;
        /* An ordered one lets the next of its entity go; a retry may be due before all else. */
        if ((f->is_ordered || f->verdict.wait_ms) && (w->next_ms < 0 || due_ms < w->next_ms))
            w->next_ms = due_ms;
        w->unwritten = f->next;
        flight_free(f);
    }
    if (!w->unwritten)
        w->unwritten_end = &w->unwritten;
}

/* The first n of what is unwritten, in one unit. */
static enum err_code write_some(struct webhooks *w, size_t n)
{
    struct ctx cx;
    struct send_results r = { .first = w->unwritten, .n = n, .now_ms = clock_ms() };
    ctx_init(&cx, CTX_CAP_DEFAULT);
    enum err_code e = store_tx(&cx, w->conf.store, results_unit, &r);
    tell_failure(w, "results", &cx, e);
    log_debug(NULL, "webhook.results", KVI("n", (int64_t)n),
              KVI("us", (clock_ms() - r.now_ms) * 1000));
    if (!e) {
        const struct flight *f = w->unwritten;
        for (size_t i = 0; i < r.n_notices; i++)
            send_tell(w, &r.notices[i]);
        for (size_t i = 0; i < n; i++, f = f->next)
            send_count(w, f);
        forget(w, n, r.now_ms);
    }
    ctx_done(&cx);
    return e;
}

/* What the database refuses, though it can be reached, is tried one by one; one that it refuses
 * alone is given up: its lease will end. */
static void write_results(struct webhooks *w)
{
    size_t n = 0;
    for (const struct flight *f = w->unwritten; f && n < WRITE_MAX; f = f->next)
        n++;
    enum err_code e = write_some(w, n);
    for (; e && e != ERR_UNAVAILABLE && n; n--) {
        enum err_code one = write_some(w, 1);
        if (one == ERR_UNAVAILABLE)
            return;
        if (one) {
            log_error(NULL, "webhook.result_refused", KVC("delivery", w->unwritten->id));
            forget(w, 1, clock_ms());
        }
    }
}

/* ---- turns ---- */

static enum err_code turn_unit(struct ctx *cx, struct db *db, void *arg)
{
    return send_turn(cx, db, arg);
}

/* Full lanes that have room again. */
static size_t find_again(struct webhooks *w, struct lane *out)
{
    size_t n = 0;
    int64_t now_ms = clock_ms();
    w->has_full = false;
    for (int i = 0; i < w->gates->n_gates && n < AGAIN_MAX; i++) {
        struct gate *g = &w->gates->v[i];
        if (g->is_full && gate_room(w->gates, g, 0, now_ms))
            out[n++] = (struct lane){ .team_id = str_of(g->team), .webhook_id = str_of(g->id) };
        w->has_full |= g->is_full;
    }
    return n;
}

static bool has_again(struct webhooks *w)
{
    struct lane again[AGAIN_MAX];
    return w->has_full && find_again(w, again);
}

/* What the turn has done, remembered and sent. */
static void follow_up(struct webhooks *w, struct ctx *cx, const struct send_turn *t)
{
    for (size_t i = 0; i < t->n_again; i++)
        gate_find(w->gates, t->again[i].webhook_id)->is_full = false;
    for (size_t i = 0; i < t->n; i++)
        gate_enter(w->gates,
                   gate_get(w->gates, t->claims[i].d->team_id, t->claims[i].d->webhook_id),
                   t->claims[i].bytes);
    for (size_t i = 0; i < t->n_full; i++)
        gate_get(w->gates, t->full[i].team_id, t->full[i].webhook_id)->is_full = true;
    w->has_full |= t->n_full > 0;
    for (size_t i = 0; i < t->n; i++)
        send_start(w, cx, &t->claims[i], t->lease_token);
    for (size_t i = 0; i < t->n; i++)
        send_target_wipe(t->claims[i].to);
    atomic_fetch_add(&w->counts.events, (long long)t->n_events);
    if (t->n_events)
        w->hot_us = clock_mono_us() + HOT_US;
}

static void turn(struct webhooks *w)
{
    struct ctx cx;
    struct lane again[AGAIN_MAX];
    struct send_turn t = { .gates = w->gates,
                           .now_ms = clock_ms(),
                           .lease_ms = w->conf.lease_ms,
                           .has_events = w->may_have_events,
                           .again = again };
    bool is_alone = !store_is_postgres(w->conf.store);
    if (w->is_fresh && is_alone)
        t.expire_ms = INT64_MAX;
    else if (w->has_expired)
        t.expire_ms = t.now_ms;
    t.n_again = find_again(w, again);
    ctx_init(&cx, TURN_CAP);
    int64_t from_us = clock_mono_us();
    enum err_code e = store_tx(&cx, w->conf.store, turn_unit, &t);
    tell_failure(w, "turn", &cx, e);
    log_debug(NULL, "webhook.turn", KVI("events", (int64_t)t.n_events), KVI("claims", (int64_t)t.n),
              KVI("under_way", w->gates->n), KVI("us", clock_mono_us() - from_us));
    if (!e) {
        bool is_held = !t.n && !t.n_events && !t.n_full && !t.n_again && t.next_ms >= 0 &&
                       t.next_ms <= t.now_ms;
        w->is_fresh &= t.has_more;
        w->has_expired &= t.has_more;
        w->may_have_events = t.has_more || t.is_elsewhere;
        w->is_due = t.has_more;
        w->next_ms = is_held ? t.now_ms + HELD_MS : t.next_ms;
        if (t.is_elsewhere && (w->next_ms < 0 || w->next_ms > t.now_ms + HELD_MS))
            w->next_ms = t.now_ms + HELD_MS;
        atomic_store(&w->due_ms, t.next_ms);
        follow_up(w, &cx, &t);
    }
    ctx_done(&cx);
}

static enum err_code look_unit(struct ctx *cx, struct db *db, void *arg)
{
    return send_look(cx, db, arg);
}

static void look(struct webhooks *w)
{
    struct ctx cx;
    struct send_look l = { .now_ms = clock_ms(), .counts_waiting = w->looks++ % COUNT_EVERY == 0 };
    if (w->is_fresh && !store_is_postgres(w->conf.store))
        l.now_ms = INT64_MAX;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    enum err_code e = store_read(&cx, w->conf.store, look_unit, &l);
    tell_failure(w, "look", &cx, e);
    if (!e) {
        atomic_store(&w->has_webhooks, l.has_webhooks);
        atomic_store(&w->due_ms, l.next_ms);
        if (l.counts_waiting)
            atomic_store(&w->waiting, l.waiting);
        w->may_have_events = l.has_events;
        w->has_expired = l.has_expired;
        w->is_fresh &= l.has_expired;
        w->next_ms = l.next_ms;
        w->is_due |= l.has_events || l.has_expired;
    }
    w->look_us = clock_mono_us() + LOOK_US;
    ctx_done(&cx);
}

/* ---- the thread ---- */

static bool is_stopping(struct webhooks *w, bool *is_woken)
{
    pthread_mutex_lock(&w->lock);
    bool is_over = w->is_stopping;
    *is_woken = w->is_woken;
    w->is_woken = false;
    pthread_mutex_unlock(&w->lock);
    return is_over;
}

/* Sleeps until a signal, or the first of what is known to come. */
static void rest(struct webhooks *w, bool is_over)
{
    int64_t until = is_over ? clock_mono_us() + AGAIN_US : w->look_us;
    int64_t now_ms = clock_ms();
    bool is_soon = !is_over && w->next_ms >= 0 && w->next_ms < now_ms + LOOK_US / 1000;
    int64_t due_us = is_soon ? clock_mono_us() + (w->next_ms - now_ms) * 1000 : until;
    until = due_us < until ? due_us : until;
    if (w->again_us > clock_mono_us())
        until = w->again_us;
    struct timespec at = { .tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000 };
    pthread_mutex_lock(&w->lock);
    if (!w->is_woken && !w->ended && w->is_stopping == is_over)
        pthread_cond_timedwait(&w->wake, &w->lock, &at);
    pthread_mutex_unlock(&w->lock);
}

/* One thing to do; false: nothing for now. */
static bool step(struct webhooks *w, bool is_woken)
{
    int64_t now_us = clock_mono_us();
    if (is_woken && now_us < w->hot_us)
        w->may_have_events = w->is_due = true;
    else if (is_woken)
        w->look_us = now_us;
    if (now_us < w->again_us)
        return false;
    if (w->is_due || (w->next_ms >= 0 && w->next_ms <= clock_ms())) {
        turn(w);
        return true;
    }
    if (now_us < w->look_us)
        return false;
    look(w);
    return true;
}

static void *engine(void *arg)
{
    struct webhooks *w = arg;
    int64_t patience_us = 0;
    for (;;) {
        bool is_woken, is_over = is_stopping(w, &is_woken), is_busy = false;
        take_ended(w);
        if (w->unwritten && clock_mono_us() >= w->again_us) {
            write_results(w);
            w->is_due |= has_again(w);
            is_busy = true;
        }
        if (is_over && !patience_us)
            patience_us = clock_mono_us() + GRACE_US;
        if (is_over &&
            (clock_mono_us() > patience_us || (!w->unwritten && !atomic_load(&w->n_flying))))
            return NULL;
        if (!is_over && !w->unwritten)
            is_busy |= step(w, is_woken);
        else if (is_woken)
            w->look_us = 0;
        if (!is_busy)
            rest(w, is_over);
    }
}

/* ---- start and stop ---- */

struct webhooks *webhooks_open(const struct webhooks_conf *conf)
{
    struct webhooks *w = calloc(1, sizeof *w);
    pthread_condattr_t attr;
    BUG_IF(!w || conf->calls < 0 || conf->calls > WEBHOOK_CALLS_MAX);
    w->conf = *conf;
    if (w->conf.timeout_ms > conf->lease_ms - LEASE_REST_MS)
        w->conf.timeout_ms = conf->lease_ms - LEASE_REST_MS;
    w->ended_end = &w->ended;
    w->unwritten_end = &w->unwritten;
    w->is_fresh = true;
    w->next_ms = -1;
    atomic_init(&w->due_ms, -1);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    return w;
}

enum err_code webhooks_start(struct ctx *cx, struct webhooks *w, struct egress *egress)
{
    if (!w->conf.calls)
        return ERR_NONE;
    w->egress = egress;
    w->gates = calloc(1, sizeof *w->gates);
    BUG_IF(!w->gates);
    w->gates->total = (int)w->conf.calls;
    w->has_thread = !pthread_create(&w->thread, NULL, engine, w);
    return w->has_thread ? ERR_NONE : fail(cx, UNAVAILABLE, "webhooks: cannot start a thread");
}

void webhooks_stop(struct webhooks *w)
{
    if (!w || !w->has_thread)
        return;
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->has_thread = false;
}

void webhooks_flush(struct webhooks *w)
{
    if (!w || !w->gates)
        return;
    w->conf.mailer = NULL;
    take_ended(w);
    for (int tries = 0; w->unwritten && tries < FLUSH_TRIES; tries++)
        write_results(w);
    while (w->unwritten) /* not stored: sent again when the leases are over */
        forget(w, 1, 0);
}

void webhooks_close(struct webhooks *w)
{
    if (!w)
        return;
    free(w->gates);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
