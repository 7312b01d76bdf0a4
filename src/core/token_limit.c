/* What bounds the use of a token: see token_limit.h.
 *
 * Hours: one atomic word per token, changed by compare-and-swap, so a denied request costs the
 * window nothing. Two threads may see different hours for a moment around the top of the hour; the
 * newer one wins, so that the new window is not lost.
 *
 * Wrong tokens: WRONG_SHARDS x WRONG_SLOTS slots, a lock per shard; an address may sit in any of
 * the WRONG_WAYS slots that its (secretly seeded) hash names. Leaves out: who the token is
 * (token_dir.c). */
#include "token_limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../base/crypt.h"
#include "../base/json.h"
#include "token.h"

/* ---- lists ---- */

/* The array in `json` when it has 1 to max items, all strings; else NULL. It lives in cx. */
static json_t *strings_of(struct ctx *cx, struct str json, size_t max)
{
    json_t *list = json_read(cx, json), *item;
    size_t i;

    ctx_clear(cx);
    if (!list || !json_is_array(list) || json_array_size(list) < 1 || json_array_size(list) > max)
        return NULL;
    json_array_foreach(list, i, item)
        if (!json_is_string(item))
            return NULL;
    return list;
}

static struct str text_of(const json_t *list, size_t i)
{
    const json_t *v = json_array_get(list, i);
    return (struct str){ json_string_value(v), json_string_length(v) };
}

bool allowed_ips_parse(struct ctx *cx, struct arena *a, struct str json, struct cidrs *out,
                       struct str *bad)
{
    json_t *list = strings_of(cx, json, TOKEN_IPS_MAX);
    *bad = STR_NONE;
    if (!list)
        return false;
    size_t n = json_array_size(list);
    struct cidr *v = ARENA_ARRAY(a, struct cidr, n);
    for (size_t i = 0; i < n; i++)
        if (!cidr_parse(text_of(list, i), &v[i])) {
            *bad = text_of(list, i);
            return false;
        }
    *out = (struct cidrs){ v, n };
    return true;
}

static bool method_is_known(struct str s)
{
    static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (str_eq(s, str_of(methods[i])))
            return true;
    return false;
}

/* "/path", "/path/…*", each also with "METHOD " before it. Views of `text`. */
static bool endpoint_parse(struct str text, struct endpoint *out)
{
    struct endpoint p = { .path = text };
    if (text.n > ENDPOINT_TEXT_MAX)
        return false;
    if (text.n && text.p[0] != '/') {
        p.method = str_cut(&p.path, ' ');
        if (!method_is_known(p.method))
            return false;
    }
    if (!p.path.n || p.path.p[0] != '/')
        return false;
    p.is_prefix = p.path.p[p.path.n - 1] == '*';
    p.path.n -= p.is_prefix;
    for (size_t i = 0; i < p.path.n; i++)
        if (p.path.p[i] <= ' ' || p.path.p[i] >= 0x7f || p.path.p[i] == '*')
            return false;
    *out = p;
    return true;
}

bool allowed_endpoints_parse(struct ctx *cx, struct arena *a, struct str json,
                             struct endpoints *out, struct str *bad)
{
    json_t *list = strings_of(cx, json, TOKEN_ENDPOINTS_MAX);
    *bad = STR_NONE;
    if (!list)
        return false;
    size_t n = json_array_size(list);
    struct endpoint *v = ARENA_ARRAY(a, struct endpoint, n);
    for (size_t i = 0; i < n; i++) {
        if (!endpoint_parse(text_of(list, i), &v[i])) {
            *bad = text_of(list, i);
            return false;
        }
        v[i].path = str_dup(a, v[i].path);
        v[i].method = v[i].method.p ? str_dup(a, v[i].method) : STR_NONE;
    }
    *out = (struct endpoints){ v, n };
    return true;
}

static bool path_fits(const struct endpoint *p, struct str path)
{
    return p->is_prefix ? str_starts(path, p->path) : str_eq(path, p->path);
}

bool allowed_endpoints_match(struct endpoints list, struct str method, struct str route,
                             struct str path)
{
    for (size_t i = 0; i < list.n; i++) {
        const struct endpoint *p = &list.v[i];
        if ((!p->method.p || str_eq(p->method, method)) &&
            (path_fits(p, route) || path_fits(p, path)))
            return true;
    }
    return false;
}

/* ---- requests an hour ---- */

/* The hour to count in: the clock's, or the stored one when another thread is just ahead of us. */
static uint64_t hour_of(uint64_t word, int64_t now_ms)
{
    uint64_t hour = (uint64_t)(now_ms / HOUR_MS) & UINT32_MAX;
    return word >> 32 == hour + 1 ? hour + 1 : hour;
}

static uint64_t count_in(uint64_t word, uint64_t hour)
{
    return word >> 32 == hour ? word & UINT32_MAX : 0;
}

bool hour_take(struct hour_count *h, int64_t now_ms, int64_t limit, int64_t *used)
{
    unsigned long long word = atomic_load_explicit(&h->word, memory_order_relaxed);
    uint64_t hour, count;
    do {
        hour = hour_of(word, now_ms);
        count = count_in(word, hour);
        *used = (int64_t)count;
        if ((int64_t)count >= limit || count == UINT32_MAX)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&h->word, &word, hour << 32 | (count + 1),
                                                    memory_order_relaxed, memory_order_relaxed));
    *used = (int64_t)count + 1;
    return true;
}

int64_t hour_used(struct hour_count *h, int64_t now_ms)
{
    uint64_t word = atomic_load_explicit(&h->word, memory_order_relaxed);
    return (int64_t)count_in(word, hour_of(word, now_ms));
}

void hour_settle(struct hour_count *h, int64_t hour_ms, int64_t count)
{
    unsigned long long word = atomic_load_explicit(&h->word, memory_order_relaxed);
    uint64_t hour = (uint64_t)(hour_ms / HOUR_MS) & UINT32_MAX;
    uint64_t n = (uint64_t)(count > UINT32_MAX ? UINT32_MAX : count);
    do {
        if (count <= 0 || word >> 32 > hour || count_in(word, hour) >= n)
            return; /* nothing new, or that hour is over */
    } while (!atomic_compare_exchange_weak_explicit(&h->word, &word, hour << 32 | n,
                                                    memory_order_relaxed, memory_order_relaxed));
}

int64_t seconds_left(int64_t now_ms, int64_t window_ms)
{
    return (window_ms - now_ms % window_ms + 999) / 1000;
}

/* ---- wrong tokens ---- */

#define WRONG_SHARDS 16
#define WRONG_SLOTS 256 /* a shard */
#define WRONG_WAYS 8

struct wrong_slot {
    struct ip ip;
    int64_t minute;
    int64_t count;
};
struct wrong_shard {
    pthread_mutex_t lock;
    struct wrong_slot slots[WRONG_SLOTS]; /* lock */
};
struct wrong_tokens {
    uint64_t seed;
    struct wrong_shard shards[WRONG_SHARDS];
};

struct wrong_tokens *wrong_open(void)
{
    struct wrong_tokens *w = calloc(1, sizeof *w);
    BUG_IF(!w);
    crypt_random(&w->seed, sizeof w->seed);
    for (int i = 0; i < WRONG_SHARDS; i++)
        pthread_mutex_init(&w->shards[i].lock, NULL);
    return w;
}

void wrong_close(struct wrong_tokens *w)
{
    if (!w)
        return;
    for (int i = 0; i < WRONG_SHARDS; i++)
        pthread_mutex_destroy(&w->shards[i].lock);
    free(w);
}

/* One customer has a whole /64 to choose from; IPv4 is kept as it is. */
static struct ip network_of(const struct ip *ip)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct ip net = *ip;
    if (memcmp(ip->b, mapped, sizeof mapped) != 0)
        memset(net.b + 8, 0, 8);
    return net;
}

/* The slot of this address, or the one to give it: an old one, else the one with the lowest
 * count. */
static struct wrong_slot *wrong_find(struct wrong_shard *s, uint64_t hash, const struct ip *net,
                                     int64_t minute)
{
    struct wrong_slot *best = NULL;
    for (uint64_t i = 0; i < WRONG_WAYS; i++) {
        struct wrong_slot *slot = &s->slots[(hash + i) % WRONG_SLOTS];
        bool is_old = slot->minute != minute;
        if (!is_old && memcmp(slot->ip.b, net->b, sizeof net->b) == 0)
            return slot;
        if (is_old)
            slot->count = 0;
        if (!best || slot->count < best->count)
            best = slot;
    }
    *best = (struct wrong_slot){ .ip = *net, .minute = minute };
    return best;
}

bool wrong_note(struct wrong_tokens *w, const struct ip *ip, int64_t now_ms, int64_t per_minute)
{
    struct ip net = network_of(ip);
    uint64_t hash = XXH3_64bits_withSeed(net.b, sizeof net.b, w->seed);
    struct wrong_shard *s = &w->shards[hash >> 32 & (WRONG_SHARDS - 1)];

    pthread_mutex_lock(&s->lock);
    bool is_over = ++wrong_find(s, hash, &net, now_ms / MINUTE_MS)->count > per_minute;
    pthread_mutex_unlock(&s->lock);
    return is_over;
}

/* As an address whose network is the id's hash. */
bool wrong_note_id(struct wrong_tokens *w, struct str id, int64_t now_ms, int64_t per_minute)
{
    struct ip as_ip = { 0 };
    uint64_t hash = XXH3_64bits_withSeed(id.p, id.n, w->seed);
    memcpy(as_ip.b, &hash, sizeof hash);
    return wrong_note(w, &as_ip, now_ms, per_minute);
}
