/* Counts in memory: a map of fixed size from (grain, bucket, team, token, route, class) to counts
 * and a histogram.
 *
 * Open addressing over indexes into an array of entries, so that clearing and walking are cheap.
 * Ids are copied; routes are kept as views, because they are static text. One thread at a time. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../base/clock.h"
#include "usage_inner.h"

#define MINUTE_MS INT64_C(60000)

struct key {
    char grain;
    int class;
    int64_t bucket_ms;
    struct str team, token, method, endpoint;
};

void counts_init(struct counts *c, struct arena *a, size_t cap)
{
    *c = (struct counts){ .cap = cap, .n_slots = 16 };
    while (c->n_slots < 2 * cap)
        c->n_slots *= 2;
    c->v = arena_alloc(a, cap * sizeof *c->v);
    c->slots = ARENA_ARRAY(a, uint32_t, c->n_slots);
}

void counts_clear(struct counts *c)
{
    if (c->n)
        memset(c->slots, 0, c->n_slots * sizeof *c->slots);
    c->n = 0;
}

static uint64_t key_hash(const struct key *k)
{
    uint64_t h = (uint64_t)k->bucket_ms * 31 + (uint64_t)k->class * 7 + (unsigned char)k->grain;

    h = XXH3_64bits_withSeed(k->token.p, k->token.n, h);
    h = XXH3_64bits_withSeed(k->endpoint.p, k->endpoint.n, h);
    h = XXH3_64bits_withSeed(k->method.p, k->method.n, h);
    return XXH3_64bits_withSeed(k->team.p, k->team.n, h);
}

static bool key_is(const struct count *e, const struct key *k)
{
    return e->grain == k->grain && e->class == k->class && e->bucket_ms == k->bucket_ms &&
           str_eq((struct str){ e->token, e->token_n }, k->token) &&
           str_eq((struct str){ e->team, e->team_n }, k->team) &&
           str_eq(e->endpoint, k->endpoint) && str_eq(e->method, k->method);
}

static struct count *count_new(struct counts *c, const struct key *k, uint64_t hash)
{
    struct count *e = &c->v[c->n++];

    memset(e, 0, sizeof *e);
    e->hash = hash;
    e->grain = k->grain;
    e->class = k->class;
    e->bucket_ms = k->bucket_ms;
    e->method = k->method;
    e->endpoint = k->endpoint;
    e->team_n = (unsigned char)k->team.n;
    e->token_n = (unsigned char)k->token.n;
    if (k->team.n)
        memcpy(e->team, k->team.p, k->team.n);
    if (k->token.n)
        memcpy(e->token, k->token.p, k->token.n);
    return e;
}

/* The entry of a key, made when it is new; NULL when there is no room. */
static struct count *counts_get(struct counts *c, const struct key *k)
{
    uint64_t hash = key_hash(k);
    size_t at = hash & (c->n_slots - 1);

    BUG_IF(k->team.n >= USAGE_ID_MAX || k->token.n >= USAGE_ID_MAX);
    for (; c->slots[at]; at = (at + 1) & (c->n_slots - 1)) {
        struct count *e = &c->v[c->slots[at] - 1];

        if (e->hash == hash && key_is(e, k))
            return e;
    }
    if (c->n == c->cap)
        return NULL;
    c->slots[at] = (uint32_t)c->n + 1;
    return count_new(c, k, hash);
}

bool counts_event(struct counts *c, const struct usage_event *e)
{
    struct key k = { .grain = 'm',
                     .class = e->status == 429 ? 429 : e->status / 100,
                     .bucket_ms = e->at_ms - e->at_ms % MINUTE_MS,
                     .team = e->team_id,
                     .token = e->token_id,
                     .method = str_of(e->method),
                     .endpoint = str_of(e->endpoint) };
    struct count *to = counts_get(c, &k);

    if (!to)
        return false;
    to->n++;
    to->errors += e->status >= 400;
    to->sum_us += e->took_us;
    to->b[hist_bucket(e->took_us)]++;
    if (to->last_ms < e->at_ms)
        to->last_ms = e->at_ms;
    return true;
}

bool counts_place(struct counts *c, const struct usage_event *e)
{
    struct key k = { .grain = 'h',
                     .bucket_ms = e->at_ms - e->at_ms % HOUR_MS,
                     .team = e->team_id,
                     .token = str_of(e->country) };
    struct count *to;

    if (!e->team_id.n)
        return true;
    to = counts_get(c, &k);
    if (!to)
        return false;
    to->n++;
    to->errors += e->status >= 400;
    return true;
}

static void count_add(struct counts *c, const struct key *k, const struct count *from)
{
    struct count *to = counts_get(c, k);

    BUG_IF(!to);
    to->n += from->n;
    to->errors += from->errors;
    to->sum_us += from->sum_us;
    for (int i = 0; i < HIST_BUCKETS; i++)
        to->b[i] += from->b[i];
    if (to->last_ms < from->last_ms)
        to->last_ms = from->last_ms;
}

static struct key key_of(const struct count *e)
{
    return (struct key){ .grain = e->grain,
                         .class = e->class,
                         .bucket_ms = e->bucket_ms,
                         .team = { e->team, e->team_n },
                         .token = { e->token, e->token_n },
                         .method = e->method,
                         .endpoint = e->endpoint };
}

void counts_merge(struct counts *c, const struct counts *from)
{
    for (size_t i = 0; i < from->n; i++) {
        struct key k = key_of(&from->v[i]);

        count_add(c, &k, &from->v[i]);
    }
}

void counts_nowhere(struct counts *c, const struct counts *from)
{
    for (size_t i = 0; i < from->n; i++) {
        const struct count *e = &from->v[i];
        struct key k = { .grain = 'h',
                         .bucket_ms = e->bucket_ms - e->bucket_ms % HOUR_MS,
                         .team = { e->team, e->team_n } };

        if (e->team_n)
            count_add(c, &k, e);
    }
}

static int64_t bucket_of(char grain, int64_t ms)
{
    switch (grain) {
    case 'm': return ms;
    case 'h': return ms - ms % HOUR_MS;
    case 'd': return ms - ms % DAY_MS;
    default: return 0; /* t */
    }
}

void counts_widen(struct counts *c, const struct count *from, char grain, bool is_team)
{
    struct key k = key_of(from);

    k.grain = grain;
    k.bucket_ms = bucket_of(grain, from->bucket_ms);
    if (is_team)
        k.token = USAGE_TEAM_TOKEN;
    if (is_team || grain == 't') {
        k.method = STR_NONE;
        k.endpoint = USAGE_TEAM_TOKEN;
    }
    count_add(c, &k, from);
}

static int text_compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;

    return order ? order : (a.n > b.n) - (a.n < b.n);
}

int count_compare(const struct count *a, const struct count *b)
{
    struct key x = key_of(a), y = key_of(b);
    int order = text_compare(x.team, y.team);

    if (!order)
        order = x.grain - y.grain;
    if (!order)
        order = (x.bucket_ms > y.bucket_ms) - (x.bucket_ms < y.bucket_ms);
    if (!order)
        order = text_compare(x.token, y.token);
    if (!order)
        order = text_compare(x.endpoint, y.endpoint);
    if (!order)
        order = text_compare(x.method, y.method);
    return order ? order : x.class - y.class;
}
