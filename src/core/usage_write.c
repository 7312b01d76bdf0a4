/* The writers' side: usage rows ride in the transaction of what they tell about.
 *
 * Each writer owns a stream: a number that no other writer of any run or node has, taken from the database with the first
 * row. before_commit inserts the rows of the batch (events in unit->tag, and those of a flight of the buffer) under the
 * next sequence numbers; after_commit adds them to the pending counts, or forgets them. Once a second the flusher
 * thread submits a unit that writes the pending counts and the stream's mark in one transaction.
 *
 * A sequence number is never used twice, also when its transaction failed. Threads: the writer's own, except
 * streams_init and streams_done. */
#include <sched.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "geo.h"
#include "usage_inner.h"

#define LEISURE_ROWS 8 /* about 80 us of work between two offers of the core */
#define EVENTS_MAX (STORE_BATCH_MAX + USAGE_FLIGHT_EVENTS)

#define SQL_NEXT_STREAM                                                                            \
    "INSERT INTO meta (name, value) VALUES ('usage_stream', '1') ON CONFLICT (name) "              \
    "DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT) RETURNING CAST(value AS BIGINT) AS n"
#define SQL_ADD_STREAM "INSERT INTO usage_stream (stream, mark, seen_ms) VALUES ($1, 0, $2)"
#define SQL_MARK                                                                                   \
    "UPDATE usage_stream SET mark = $2, seen_ms = $3 WHERE stream = $1 RETURNING stream AS n"
/* Held by the writer's session; taken again with every flush, since the session may be a new one (repeated locks of one
 * session only count up). */
#define SQL_HOLD "SELECT pg_try_advisory_lock(" USAGE_LOCK_CLASS ", CAST($1 AS INTEGER))"
#define SQL_DROP_STREAM "DELETE FROM usage_stream WHERE stream = $1"

static const struct bulk_col row_columns[] = {
    { "id", false },
    { "team_id", true },
    { "token_id", true },
    { "endpoint", true },
    { "method", true },
    { "status_code", false },
    { "response_time_us", false },
    { "ip_address", true },
    { "user_agent", true },
    { "request_payload", true },
    { "error_message", true },
    { "created_ms", false },
    { "country", true },
};

void streams_init(struct usage *u)
{
    BUG_IF(USAGE_PENDING_MAX < EVENTS_MAX + USAGE_DROPS_MAX);
    bulk_init(&u->rows, &u->arena, "integration_token_usage", row_columns,
              sizeof row_columns / sizeof *row_columns, "");
    u->n_streams = store_writers(u->store);
    u->streams = ARENA_ARRAY(&u->arena, struct stream, (size_t)u->n_streams);
    for (int i = 0; i < u->n_streams; i++) {
        struct stream *s = &u->streams[i];

        s->u = u;
        s->writer = i;
        counts_init(&s->pending, &u->arena, USAGE_PENDING_MAX);
        counts_init(&s->places, &u->arena, USAGE_PENDING_MAX);
        s->events = ARENA_ARRAY(&u->arena, struct usage_event *, EVENTS_MAX);
        ctx_init(&s->flush_cx, CTX_CAP_DEFAULT);
    }
}

void streams_done(struct usage *u)
{
    for (int i = 0; i < u->n_streams; i++)
        ctx_done(&u->streams[i].flush_cx);
}

static void usage_locate(struct usage *u, struct usage_event *e)
{
    if (u->conf.geo && !e->country[0])
        geo_country(u->conf.geo, e->ip, e->country);
}

void flight_locate(struct usage *u, struct flight *f)
{
    for (size_t i = 0; i < f->n_chunks; i++) {
        struct usage_event *e = (void *)f->chunks[i]->data;

        for (size_t k = 0; k < f->chunks[i]->n; k++)
            usage_locate(u, &e[k]);
    }
}

struct str usage_cut(struct str s, size_t max)
{
    size_t n = max;

    if (s.n <= max)
        return s;
    while (n > 0 && (s.p[n] & 0xC0) == 0x80)
        n--;
    return (struct str){ s.p, n };
}

/* ---- rows */

/* What a client sent: cut, and bytes that are not UTF-8 (PostgreSQL refuses them) or NUL shown as '?'. */
static struct str clean(struct arena *a, struct str s, size_t max)
{
    char *p;

    s = usage_cut(s, max);
    if (!s.p || (str_is_utf8(s) && !memchr(s.p, '\0', s.n)))
        return s;
    p = str_cstr(a, s);
    for (size_t i = 0; i < s.n; i++)
        if ((p[i] & 0x80) || !p[i])
            p[i] = '?';
    return (struct str){ p, s.n };
}

static void event_row(struct arena *a, const void *arg, size_t i, struct val *v)
{
    const struct stream *s = arg;
    const struct usage_event *e = s->events[i];
    int64_t seq = s->seq - (int64_t)s->n_events + 1 + (int64_t)i;

    if (s->is_leisurely && i % LEISURE_ROWS == 0)
        sched_yield();
    v[0] = VI((int64_t)atomic_load(&s->number) << USAGE_STREAM_SHIFT | seq);
    v[1] = VT(e->team_id.p ? e->team_id : STR(""));
    v[2] = VT(e->token_id);
    v[3] = VT(str_of(e->endpoint));
    v[4] = VT(str_of(e->method));
    v[5] = VI(e->status);
    v[6] = VI(e->took_us);
    v[7] = VT(e->ip);
    v[8] = VT(clean(a, e->agent, USAGE_AGENT_MAX));
    v[9] = VT(clean(a, e->payload, USAGE_PAYLOAD_MAX));
    v[10] = VT(e->error);
    v[11] = VI(e->at_ms);
    v[12] = VT(e->country[0] ? str_of(e->country) : STR_NONE);
}

/* The events of the batch: of its units, and of the flight when it is part of it. Only a unit with `ran` can know its
 * status, so others carry no event; one that failed with UNAVAILABLE is noted by who answers it. */
static void gather(struct stream *s, struct unit *const *units, size_t n)
{
    s->n_events = 0;
    s->flight = NULL;
    for (size_t i = 0; i < n; i++) {
        struct usage_event *e = units[i]->tag;

        if (units[i]->fn == flight_run)
            s->flight = units[i]->arg;
        else if (units[i]->ran && e && e->status && units[i]->err != ERR_UNAVAILABLE) {
            usage_locate(s->u, e);
            s->events[s->n_events++] = e;
        }
    }
    for (size_t i = 0; s->flight && i < s->flight->n_chunks; i++) {
        struct chunk *c = s->flight->chunks[i];
        struct usage_event *e = (void *)c->data;

        for (size_t k = 0; k < c->n; k++)
            s->events[s->n_events++] = &e[k];
    }
    /* Nobody waits for a flight that flies alone, while requests may wait for its core. */
    s->is_leisurely = s->flight && n == 1;
    BUG_IF(s->n_events > EVENTS_MAX);
}

static enum err_code take_stream(struct ctx *cx, struct db *db, struct stream *s)
{
    struct rec_num next;
    enum err_code e = db_one(cx, db, &rec_num, SQL_NEXT_STREAM, NO_ARGS, &next);

    if (!e)
        e = db_run(cx, db, SQL_ADD_STREAM, ARGS(VI(next.n), VI(clock_ms())));
    if (!e && db_is_postgres(db))
        e = db_run(cx, db, SQL_HOLD, ARGS(VI(next.n)));
    if (e)
        return e;
    atomic_store(&s->number, next.n);
    s->seq = s->seq_done = 0;
    s->has_taken = true;
    return ERR_NONE;
}

/* The pending counts and the mark up to which they cover the rows. */
static enum err_code stream_write(struct ctx *cx, struct db *db, struct stream *s, bool is_last)
{
    int64_t number = atomic_load(&s->number);
    struct rec_num got;
    enum err_code e = ERR_NONE;

    db_scope_system(db);
    s->is_lost = s->is_given_back = false;
    if (number)
        e = db_one(cx, db, &rec_num, SQL_MARK, ARGS(VI(number), VI(s->seq_done), VI(clock_ms())),
                   &got);
    if (e == ERR_NOT_FOUND) {
        /* Our session ended and its lock with it: another node has folded our rows, so ours are to be forgotten. */
        s->is_lost = true;
        return ERR_NONE;
    }
    if (!e && number && db_is_postgres(db))
        e = db_run(cx, db, SQL_HOLD, ARGS(VI(number)));
    if (!e)
        e = rollup_write(cx, db, s->u, &s->pending, &s->places);
    if (!e && is_last && number) {
        s->is_given_back = true;
        e = db_run(cx, db, SQL_DROP_STREAM, ARGS(VI(number)));
    }
    return e;
}

enum err_code stream_flush_run(struct ctx *cx, struct db *db, void *arg)
{
    struct stream *s = arg;

    return stream_write(cx, db, s, atomic_load(&s->is_last));
}

void stream_flush_ran(struct unit *unit, enum err_code e)
{
    struct stream *s = unit->arg;

    s->has_flushed = e == ERR_NONE;
}

static bool has_room(const struct stream *s, size_t n)
{
    return s->pending.cap - s->pending.n >= n && s->places.cap - s->places.n >= n;
}

enum err_code usage_before_commit(struct ctx *cx, struct db *db, void *arg, int writer,
                                  struct unit *const *units, size_t n)
{
    struct usage *u = arg;
    struct stream *s = &u->streams[writer];
    size_t drops;
    enum err_code e = ERR_NONE;

    gather(s, units, n);
    drops = s->flight ? s->flight->drops.n : 0;
    if (!s->n_events && !drops)
        return ERR_NONE;
    db_scope_system(db);
    if (!atomic_load(&s->number))
        e = take_stream(cx, db, s);
    if (!e && !has_room(s, s->n_events + drops)) { /* make room before it is needed */
        e = stream_write(cx, db, s, false);
        s->has_flushed = e == ERR_NONE;
    }
    if (e)
        return e;
    s->seq += (int64_t)s->n_events;
    return bulk_put(cx, db, &u->rows, s->n_events, event_row, s);
}

/* ---- pending counts */

static void flushed(struct stream *s)
{
    counts_clear(&s->pending);
    counts_clear(&s->places);
    if (s->is_lost || s->is_given_back)
        atomic_store(&s->number, 0);
    if (s->is_lost)
        log_warn(NULL, "usage.stream_lost", KVI("writer", s->writer));
}

static void count_batch(struct stream *s)
{
    for (size_t i = 0; i < s->n_events; i++)
        BUG_IF(!counts_event(&s->pending, s->events[i]) || /* before_commit made room */
               !counts_place(&s->places, s->events[i]));
    s->seq_done = s->seq;
    if (s->flight) {
        counts_merge(&s->pending, &s->flight->drops);
        counts_nowhere(&s->places, &s->flight->drops);
        s->flight->is_committed = true;
    }
    atomic_fetch_add(&s->u->stored, (long long)s->n_events);
}

void usage_after_commit(void *arg, int writer, bool is_committed)
{
    struct usage *u = arg;
    struct stream *s = &u->streams[writer];

    if (is_committed) {
        if (s->has_flushed)
            flushed(s);
        count_batch(s);
    } else {
        if (s->has_taken)
            atomic_store(&s->number, 0);
        if (s->n_events || s->flight || s->has_flushed)
            atomic_fetch_add(&u->flush_failures, 1);
    }
    s->has_taken = s->has_flushed = s->is_lost = false;
    s->n_events = 0;
    s->flight = NULL;
    atomic_store(&s->has_pending, s->pending.n > 0);
}
