/* The buffer between requests and the store: bounded, cheap to fill, emptied by a flusher thread.
 *
 * A thread that notes copies the event into the chunk of its shard under that shard's lock, which
 * it shares with few others and the flusher. Chunks come from a pool made at start; when it is
 * empty the detail is dropped and only counted, by key, so that the rollups (and the limits that
 * start from them) stay right. Every TICK the flusher takes what has gathered and submits one unit,
 * a flight; its rows are inserted by the writer's hook together with the rows of the writes of that
 * batch. One flight is out at a time. A flight whose transaction failed goes again, alone in its
 * transaction, so that it cannot hurt the writes of others.
 *
 * The flusher also submits the writers' flushes of pending counts. It sleeps long when nothing
 * happens; the first event after that wakes it. Locks: shard, then notes, then usage; none is held
 * while a unit is submitted. */
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "usage_inner.h"

#define TICK_US 20000
#define IDLE_US 250000
#define FLUSH_US 1000000
#define HEARTBEAT_US 15000000 /* PostgreSQL: other nodes see that the stream is alive */
#define RETRY_MIN_US 50000
#define RETRY_MAX_US 1000000
#define DRAIN_US 5000000 /* at stop: longest effort to store what is left */
#define CHUNKS_MIN 16
#define TRIES_MAX 20

/* ---- the buffer */

void notes_init(struct usage *u)
{
    struct notes *b = &u->notes;
    size_t n = (size_t)u->conf.buffer_events / USAGE_CHUNK_EVENTS;

    pthread_mutex_init(&b->lock, NULL);
    b->full_end = &b->full;
    for (int i = 0; i < USAGE_SHARDS; i++)
        pthread_mutex_init(&b->shards[i].lock, NULL);
    counts_init(&b->drops, &u->arena, USAGE_DROPS_MAX);
    counts_init(&u->flight.drops, &u->arena, USAGE_DROPS_MAX);
    u->flight.u = u;
    ctx_init(&u->flight.cx, CTX_CAP_DEFAULT);
    for (size_t i = 0; i < (n < CHUNKS_MIN ? CHUNKS_MIN : n); i++) {
        struct chunk *c = arena_alloc(&u->arena, sizeof *c);

        c->next = b->free;
        b->free = c;
    }
}

void notes_done(struct usage *u)
{
    for (int i = 0; i < USAGE_SHARDS; i++)
        pthread_mutex_destroy(&u->notes.shards[i].lock);
    pthread_mutex_destroy(&u->notes.lock);
    ctx_done(&u->flight.cx);
}

static struct shard *my_shard(struct usage *u)
{
    static atomic_uint threads;
    static _Thread_local unsigned mine; /* number of this thread, from 1 */

    if (!mine)
        mine = atomic_fetch_add(&threads, 1) + 1;
    return &u->notes.shards[mine % USAGE_SHARDS];
}

static size_t texts_size(const struct usage_event *e)
{
    return e->team_id.n + e->token_id.n + e->ip.n + e->agent.n + e->error.n + e->payload.n;
}

static bool chunk_has_room(const struct chunk *c, const struct usage_event *e)
{
    return c && c->n < USAGE_CHUNK_EVENTS &&
           (c->n + 1) * sizeof *e + texts_size(e) <= c->strings_at;
}

static struct str chunk_text(struct chunk *c, struct str s)
{
    if (!s.n)
        return s.p ? STR("") : STR_NONE;
    c->strings_at -= s.n;
    memcpy(c->data + c->strings_at, s.p, s.n);
    return (struct str){ c->data + c->strings_at, s.n };
}

static void chunk_add(struct chunk *c, const struct usage_event *e)
{
    struct usage_event *to = (struct usage_event *)(void *)c->data + c->n++;

    *to = *e;
    to->team_id = chunk_text(c, e->team_id);
    to->token_id = chunk_text(c, e->token_id);
    to->ip = chunk_text(c, e->ip);
    to->agent = chunk_text(c, e->agent);
    to->error = chunk_text(c, e->error);
    to->payload = chunk_text(c, e->payload);
}

static void chunk_full(struct notes *b, struct chunk *c)
{
    c->next = NULL;
    *b->full_end = c;
    b->full_end = &c->next;
}

/* Hand in the shard's full chunk and take an empty one; when there is none, count the event and
 * drop it. */
static struct chunk *chunk_swap(struct notes *b, struct chunk *old, const struct usage_event *e)
{
    struct chunk *c;

    pthread_mutex_lock(&b->lock);
    if (old)
        chunk_full(b, old);
    c = b->free;
    if (c) {
        b->free = c->next;
        c->n = 0;
        c->strings_at = USAGE_CHUNK_BYTES;
    } else {
        b->dropped++;
        counts_event(&b->drops, e);
    }
    pthread_mutex_unlock(&b->lock);
    return c;
}

void usage_note(struct usage *u, const struct usage_event *e)
{
    struct shard *sh = my_shard(u);
    struct usage_event own = *e;

    if (!e->status)
        return;
    own.agent = usage_cut(e->agent, USAGE_AGENT_MAX);
    own.payload = usage_cut(e->payload, USAGE_PAYLOAD_MAX);
    pthread_mutex_lock(&sh->lock);
    sh->noted++;
    if (!chunk_has_room(sh->chunk, &own))
        sh->chunk = chunk_swap(&u->notes, sh->chunk, &own);
    if (sh->chunk)
        chunk_add(sh->chunk, &own);
    pthread_mutex_unlock(&sh->lock);
    if (atomic_load_explicit(&u->notes.is_idle, memory_order_relaxed) &&
        atomic_exchange(&u->notes.is_idle, false)) {
        pthread_mutex_lock(&u->lock);
        pthread_cond_signal(&u->wake_flusher);
        pthread_mutex_unlock(&u->lock);
    }
}

void usage_counters(struct usage *u, struct usage_counters *out)
{
    *out = (struct usage_counters){ .stored = atomic_load(&u->stored),
                                    .flush_failures = atomic_load(&u->flush_failures) };
    for (int i = 0; i < USAGE_SHARDS; i++) {
        pthread_mutex_lock(&u->notes.shards[i].lock);
        out->noted += u->notes.shards[i].noted;
        pthread_mutex_unlock(&u->notes.shards[i].lock);
    }
    pthread_mutex_lock(&u->notes.lock);
    out->dropped = u->notes.dropped;
    pthread_mutex_unlock(&u->notes.lock);
}

/* ---- the flight */

enum err_code flight_run(struct ctx *cx, struct db *db, void *arg)
{
    (void)cx, (void)db, (void)arg; /* its rows are the hook's work */
    return ERR_NONE;
}

static void flight_done(struct unit *unit, enum err_code e)
{
    struct flight *f = unit->arg;
    struct usage *u = f->u;

    (void)e; /* what counts is whether the hook saw a commit */
    pthread_mutex_lock(&u->lock);
    f->is_out = false;
    pthread_cond_signal(&u->wake_flusher);
    pthread_mutex_unlock(&u->lock);
}

/* Make what the shards are filling available to the flight. */
static void shards_hand_in(struct notes *b)
{
    for (int i = 0; i < USAGE_SHARDS; i++) {
        struct shard *sh = &b->shards[i];
        struct chunk *c;

        pthread_mutex_lock(&sh->lock);
        c = sh->chunk;
        sh->chunk = NULL;
        if (c) {
            pthread_mutex_lock(&b->lock);
            chunk_full(b, c);
            pthread_mutex_unlock(&b->lock);
        }
        pthread_mutex_unlock(&sh->lock);
    }
}

static void flight_load(struct notes *b, struct flight *f)
{
    size_t n_events = 0;

    pthread_mutex_lock(&b->lock);
    while (b->full && f->n_chunks < USAGE_FLIGHT_CHUNKS &&
           n_events + b->full->n <= USAGE_FLIGHT_EVENTS) {
        struct chunk *c = b->full;

        b->full = c->next;
        if (!b->full)
            b->full_end = &b->full;
        n_events += c->n;
        f->chunks[f->n_chunks++] = c;
    }
    if (b->drops.n) {
        struct counts swap = f->drops;

        f->drops = b->drops;
        b->drops = swap;
    }
    pthread_mutex_unlock(&b->lock);
}

/* The flight has landed: its chunks are free again. */
static void flight_clear(struct notes *b, struct flight *f)
{
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < f->n_chunks; i++) {
        f->chunks[i]->next = b->free;
        b->free = f->chunks[i];
    }
    pthread_mutex_unlock(&b->lock);
    f->n_chunks = 0;
    f->tries = 0;
    f->is_committed = false;
    counts_clear(&f->drops);
}

static bool flight_is_empty(const struct flight *f)
{
    return !f->n_chunks && !f->drops.n;
}

static bool flight_is_out(struct usage *u)
{
    bool is_out;

    pthread_mutex_lock(&u->lock);
    is_out = u->flight.is_out;
    pthread_mutex_unlock(&u->lock);
    return is_out;
}

static void flight_start(struct usage *u, int64_t now_us)
{
    struct flight *f = &u->flight;
    int64_t wait_us = (int64_t)RETRY_MIN_US << (f->tries < 5 ? f->tries : 5);

    ctx_retry(&f->cx);
    f->unit = (struct unit){ .fn = flight_run,
                             .done = flight_done,
                             .cx = &f->cx,
                             .arg = f,
                             .flags = f->tries ? UNIT_ALONE : 0 };
    if (!f->tries)
        f->stored_before = atomic_load(&u->stored);
    f->started_us = now_us;
    f->retry_at_us = now_us + (wait_us < RETRY_MAX_US ? wait_us : RETRY_MAX_US);
    f->tries++;
    f->is_out = true; /* nobody else looks at it before the submit */
    store_submit(u->store, &f->unit, f->turn++);
}

/* Again and again refused while other rows were stored: keep the counts, give up the rows. */
static void flight_give_up(struct usage *u)
{
    struct flight *f = &u->flight;
    int64_t n = 0;

    for (size_t i = 0; i < f->n_chunks; i++) {
        const struct usage_event *e = (const void *)f->chunks[i]->data;

        for (size_t k = 0; k < f->chunks[i]->n; k++, n++)
            counts_event(&f->drops, &e[k]);
    }
    pthread_mutex_lock(&u->notes.lock);
    for (size_t i = 0; i < f->n_chunks; i++) {
        f->chunks[i]->next = u->notes.free;
        u->notes.free = f->chunks[i];
    }
    u->notes.dropped += n;
    pthread_mutex_unlock(&u->notes.lock);
    f->n_chunks = 0;
    f->tries = 0;
    log_error(NULL, "usage.rows_refused", KVI("rows", n));
}

/* Few events wait for the next tick, so that flights do not chase each other; a full chunk does
 * not. */
static bool must_wait(struct usage *u, int64_t now_us)
{
    bool has_full;

    pthread_mutex_lock(&u->notes.lock);
    has_full = u->notes.full != NULL;
    pthread_mutex_unlock(&u->notes.lock);
    return !has_full && now_us < u->flight.started_us + TICK_US;
}

/* Land, load, start. False when nothing is left to do. */
static bool flight_step(struct usage *u, int64_t now_us)
{
    struct flight *f = &u->flight;

    if (flight_is_out(u))
        return true;
    if (f->is_committed)
        flight_clear(&u->notes, f);
    else if (f->n_chunks && f->tries >= TRIES_MAX && atomic_load(&u->stored) != f->stored_before)
        flight_give_up(u);
    if (flight_is_empty(f)) {
        if (must_wait(u, now_us))
            return true;
        shards_hand_in(&u->notes);
        flight_load(&u->notes, f);
        flight_locate(u, f);
        f->retry_at_us = now_us;
    }
    if (flight_is_empty(f))
        return false;
    if (now_us >= f->retry_at_us)
        flight_start(u, now_us);
    return true;
}

/* ---- the flushes of the writers */

static void flush_done(struct unit *unit, enum err_code e)
{
    struct stream *s = unit->arg;

    pthread_mutex_lock(&s->u->lock);
    s->is_flushing = false;
    if (e)
        atomic_store(&s->has_pending, true); /* a refused one comes again */
    pthread_cond_signal(&s->u->wake_flusher);
    pthread_mutex_unlock(&s->u->lock);
}

static bool stream_is_due(const struct stream *s, int64_t now_us)
{
    int64_t age = now_us - s->flushed_us;

    if (atomic_load(&s->has_pending))
        return age >= FLUSH_US;
    return age >= HEARTBEAT_US && atomic_load(&s->number) && store_is_postgres(s->u->store);
}

static void stream_flush(struct stream *s, int64_t now_us)
{
    ctx_retry(&s->flush_cx);
    s->flushed_us = now_us;
    s->flush = (struct unit){ .fn = stream_flush_run,
                              .ran = stream_flush_ran,
                              .done = flush_done,
                              .cx = &s->flush_cx,
                              .arg = s,
                              .flags = UNIT_ALONE };
    pthread_mutex_lock(&s->u->lock);
    s->is_flushing = true;
    pthread_mutex_unlock(&s->u->lock);
    store_submit(s->u->store, &s->flush,
                 (uint64_t)s->writer); /* the key modulo the writers is the writer */
}

static bool stream_is_flushing(struct stream *s)
{
    bool is_flushing;

    pthread_mutex_lock(&s->u->lock);
    is_flushing = s->is_flushing;
    pthread_mutex_unlock(&s->u->lock);
    return is_flushing;
}

static void streams_step(struct usage *u, int64_t now_us)
{
    for (int i = 0; i < u->n_streams; i++)
        if (stream_is_due(&u->streams[i], now_us) && !stream_is_flushing(&u->streams[i]))
            stream_flush(&u->streams[i], now_us);
}

/* At stop: flush and give back every stream. False when all is done. */
static bool streams_end(struct usage *u, int64_t now_us)
{
    bool is_busy = false;

    for (int i = 0; i < u->n_streams; i++) {
        struct stream *s = &u->streams[i];

        if (stream_is_flushing(s)) {
            is_busy = true;
        } else if (atomic_load(&s->number) || atomic_load(&s->has_pending)) {
            is_busy = true;
            if (!atomic_exchange(&s->is_last, true) || now_us - s->flushed_us >= RETRY_MIN_US)
                stream_flush(s, now_us);
        }
    }
    return is_busy;
}

/* ---- the thread */

static bool notes_are_empty(struct usage *u)
{
    bool is_empty = true;

    for (int i = 0; i < USAGE_SHARDS && is_empty; i++) {
        pthread_mutex_lock(&u->notes.shards[i].lock);
        is_empty = !u->notes.shards[i].chunk;
        pthread_mutex_unlock(&u->notes.shards[i].lock);
    }
    return is_empty;
}

/* Sleep until the next tick; when nothing is to be done, until something is noted. */
static void nap(struct usage *u, bool has_work)
{
    int64_t us = TICK_US;

    if (!has_work) {
        us = IDLE_US;
        atomic_store(&u->notes.is_idle, true);
        if (!notes_are_empty(
                u)) /* after is_idle is set: an event is seen either here or by its noter */
            atomic_store(&u->notes.is_idle, false);
    }
    pthread_mutex_lock(&u->lock);
    if (!u->is_draining && (has_work || atomic_load(&u->notes.is_idle)))
        usage_wait(u, &u->wake_flusher, us);
    pthread_mutex_unlock(&u->lock);
    atomic_store(&u->notes.is_idle, false);
}

static bool is_draining(struct usage *u)
{
    bool is;

    pthread_mutex_lock(&u->lock);
    is = u->is_draining;
    pthread_mutex_unlock(&u->lock);
    return is;
}

static void drain(struct usage *u)
{
    int64_t end_us = clock_mono_us() + DRAIN_US;
    bool has_work = true;

    while (has_work && (clock_mono_us() < end_us || flight_is_out(u))) {
        has_work = flight_step(u, clock_mono_us());
        if (!has_work)
            has_work = streams_end(u, clock_mono_us());
        pthread_mutex_lock(&u->lock);
        if (has_work)
            usage_wait(u, &u->wake_flusher, TICK_US);
        pthread_mutex_unlock(&u->lock);
    }
    if (has_work)
        log_warn(NULL, "usage.not_stored", KVI("chunks", (int64_t)u->flight.n_chunks));
}

void *flusher_main(void *arg)
{
    struct usage *u = arg;

    while (!is_draining(u)) {
        int64_t now_us = clock_mono_us();
        bool has_work = flight_step(u, now_us);

        streams_step(u, now_us);
        nap(u, has_work);
    }
    drain(u);
    return NULL;
}
