/* Gates: see send_inner.h. Engine's thread only; the writer's reads them while that one waits. */
#include <string.h>

#include "send_inner.h"

#define WINDOW_FIRST 4
#define SHARE 4 /* of what is free: a quarter may be held by one webhook */
#define RESERVE                                                                                    \
    4 /* of all: a quarter is given only to webhooks that hold nothing, one place each */
#define FNV_BASE UINT64_C(14695981039346656037) /* FNV-1a: ids are short and compared in full */
#define FNV_PRIME UINT64_C(1099511628211)

static size_t bucket_of(struct str id)
{
    uint64_t hash = FNV_BASE;
    for (size_t i = 0; i < id.n; i++)
        hash = (hash ^ (unsigned char)id.p[i]) * FNV_PRIME;
    return (hash ^ hash >> 32) % GATES_MAX;
}

struct gate *gate_find(const struct gates *g, struct str id)
{
    struct gate *gate = g->buckets[bucket_of(id)];
    while (gate && !str_eq(str_of(gate->id), id))
        gate = gate->same;
    return gate;
}

static void copy(char out[ID_TEXT_MAX], struct str id)
{
    BUG_IF(id.n >= ID_TEXT_MAX);
    memcpy(out, id.p, id.n);
    out[id.n] = '\0';
}

/* An unused place, or that of the idle gate that was not used for longest. */
static struct gate *place(struct gates *g)
{
    struct gate *oldest = NULL;
    if (g->n_gates < GATES_MAX)
        return &g->v[g->n_gates++];
    for (int i = 0; i < GATES_MAX; i++)
        if (!g->v[i].n && (!oldest || g->v[i].used_us < oldest->used_us))
            oldest = &g->v[i];
    BUG_IF(!oldest); /* there are more gates than deliveries under way */
    struct gate **at = &g->buckets[bucket_of(str_of(oldest->id))];
    while (*at != oldest)
        at = &(*at)->same;
    *at = oldest->same;
    return oldest;
}

struct gate *gate_get(struct gates *g, struct str team_id, struct str id)
{
    struct gate *gate = gate_find(g, id);
    if (!gate) {
        size_t bucket = bucket_of(id);
        gate = place(g);
        *gate = (struct gate){ .window = WINDOW_FIRST, .same = g->buckets[bucket] };
        copy(gate->team, team_id);
        copy(gate->id, id);
        g->buckets[bucket] = gate;
    }
    gate->used_us = clock_mono_us();
    return gate;
}

int gate_room(const struct gates *g, const struct gate *gate, int taken, int64_t now_ms)
{
    int left = g->total - g->n - taken, mine = gate ? gate->n : 0;
    int window = gate ? gate->window : WINDOW_FIRST;
    int spare = left - g->total / RESERVE;
    int share = spare / SHARE > 1 ? spare / SHARE : 1;
    int most = window < share ? window : share;
    if (left <= 0 || most <= mine || (gate && gate->rest_ms > now_ms))
        return 0;
    return most - mine < left ? most - mine : left;
}

bool gate_has_bytes(const struct gates *g, const struct gate *gate, size_t size, size_t taken,
                    size_t mine)
{
    size_t used = g->bytes + taken;
    size_t left = used < GATE_BYTES_MAX ? GATE_BYTES_MAX - used : 0;
    mine += gate ? gate->bytes : 0;
    return size <= left && (!mine || mine + size <= left / SHARE);
}

void gate_enter(struct gates *g, struct gate *gate, size_t bytes)
{
    gate->n++;
    gate->bytes += bytes;
    g->n++;
    g->bytes += bytes;
}

void gate_leave(struct gates *g, struct gate *gate, size_t bytes, enum egress_class class,
                int64_t try_again_ms)
{
    bool is_answered = class == EGRESS_OK || class == EGRESS_TOO_LARGE || class == EGRESS_REDIRECT;
    gate->n--;
    gate->bytes -= bytes;
    g->n--;
    g->bytes -= bytes;
    if (is_answered)
        gate->window += gate->window < GATE_WINDOW_MAX;
    else if (class != EGRESS_STOPPED && gate->window > 1)
        gate->window /= 2;
    if (class == EGRESS_RESTING)
        gate->rest_ms = clock_ms() + try_again_ms;
}
