/* Brakes on guessing: see throttle.h. SHARDS x SLOTS counts, a lock per shard; a name may sit in
 * any of WAYS slots behind its keyed hash. */
#include "throttle.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/net.h"

#define SHARDS 16
#define SLOTS 1024 /* a shard */
#define WAYS 8
#define NAME_LEN 16
#define NAMES_MAX 3     /* counts of one attempt */
#define DEVICE_NONCE 12 /* bytes: with the time it names the browser */

struct slot {
    unsigned char name[NAME_LEN];
    int64_t since_ms, count;
};
struct shard {
    pthread_mutex_t lock;
    struct slot slots[SLOTS]; /* lock */
};
struct throttle {
    unsigned char name_key[SHA256_LEN], device_key[SHA256_LEN];
    int64_t limit;
    struct shard shards[SHARDS];
};

struct name {
    unsigned char b[NAME_LEN];
    int64_t limit;
};

struct throttle *throttle_open(struct str key, int64_t limit)
{
    struct throttle *t = calloc(1, sizeof *t);
    BUG_IF(!t);
    t->limit = limit;
    crypt_random(t->name_key, sizeof t->name_key);
    if (key.n)
        crypt_derive(key, "tessera device cookies", t->device_key);
    else
        crypt_random(t->device_key, sizeof t->device_key);
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&t->shards[i].lock, NULL);
    return t;
}

void throttle_close(struct throttle *t)
{
    if (!t)
        return;
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&t->shards[i].lock);
    free(t);
}

static struct str key_view(const unsigned char key[SHA256_LEN])
{
    return (struct str){ (const char *)key, SHA256_LEN };
}

/* ---- counts ---- */

static struct name name_of(const struct throttle *t, const char *what, struct str a, struct str b)
{
    unsigned char parts[2 * SHA256_LEN], mac[SHA256_LEN];
    struct name n = { .limit = t->limit };
    /* Hashed apart, so that no two pairs of texts look the same together. */
    crypt_hmac256(key_view(t->name_key), a, parts);
    crypt_hmac256(key_view(t->name_key), b, parts + SHA256_LEN);
    crypt_hmac256((struct str){ (const char *)parts, sizeof parts }, str_of(what), mac);
    memcpy(n.b, mac, NAME_LEN);
    return n;
}

static struct shard *shard_of(struct throttle *t, const struct name *n)
{
    return &t->shards[n->b[0] & (SHARDS - 1)];
}

/* The slot of this name, or the one to give it: an old one, else the one with the lowest count. */
static struct slot *slot_of(struct shard *s, const struct name *n, int64_t now)
{
    size_t at = (size_t)n->b[1] << 8 | n->b[2];
    struct slot *best = NULL;
    for (size_t i = 0; i < WAYS; i++) {
        struct slot *slot = &s->slots[(at + i) % SLOTS];
        if (now - slot->since_ms >= THROTTLE_WINDOW_MS || now < slot->since_ms)
            slot->count = 0;
        if (slot->count && memcmp(slot->name, n->b, NAME_LEN) == 0)
            return slot;
        if (!best || slot->count < best->count)
            best = slot;
    }
    *best = (struct slot){ .since_ms = now };
    memcpy(best->name, n->b, NAME_LEN);
    return best;
}

/* Adds `by`; 0 when it was counted, else the seconds until it can be. */
static int64_t count(struct throttle *t, const struct name *n, int by)
{
    int64_t now = clock_ms(), wait_s = 0;
    struct shard *s = shard_of(t, n);
    pthread_mutex_lock(&s->lock);
    struct slot *slot = slot_of(s, n, now);
    if (by > 0 && slot->count >= n->limit)
        wait_s = (slot->since_ms + THROTTLE_WINDOW_MS - now + 999) / 1000;
    else if (slot->count + by >= 0)
        slot->count += by;
    pthread_mutex_unlock(&s->lock);
    return wait_s;
}

static void forget(struct throttle *t, const struct name *n)
{
    struct shard *s = shard_of(t, n);
    pthread_mutex_lock(&s->lock);
    slot_of(s, n, clock_ms())->count = 0;
    pthread_mutex_unlock(&s->lock);
}

/* One customer has a whole /64 to choose from; IPv4 is kept as it is. */
static struct str network_of(struct str ip, struct ip *net)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    memset(net, 0, sizeof *net);
    if (!ip.n || !ip_parse(ip, net))
        return STR("");
    if (memcmp(net->b, mapped, sizeof mapped) != 0)
        memset(net->b + 8, 0, 8);
    return (struct str){ (const char *)net->b, sizeof net->b };
}

/* ---- device cookies: milliseconds.nonce.mac over the account and both ---- */

static struct str device_mac(const struct throttle *t, struct arena *a, struct str account,
                             struct str body)
{
    unsigned char mac[SHA256_LEN];
    struct str text =
        str_printf(a, STR_FMT "\n" STR_FMT, STR_ARG(body), STR_ARG(account)); /* body: no newline */
    crypt_hmac256(key_view(t->device_key), text, mac);
    return base64url_of(a, mac, sizeof mac);
}

struct str throttle_device(struct throttle *t, struct arena *a, struct str account)
{
    unsigned char nonce[DEVICE_NONCE];
    crypt_random(nonce, sizeof nonce);
    struct str body = str_printf(a, "%lld." STR_FMT, (long long)clock_ms(),
                                 STR_ARG(base64url_of(a, nonce, sizeof nonce)));
    return str_printf(a, STR_FMT "." STR_FMT, STR_ARG(body),
                      STR_ARG(device_mac(t, a, account, body)));
}

/* Ours, for this account, not too old. */
static bool device_is_known(const struct throttle *t, struct arena *a, const struct attempt *at)
{
    struct str rest = at->device;
    int64_t made;
    if (!rest.p || rest.n > 200)
        return false;
    struct str ms = str_cut(&rest, '.');
    struct str nonce = str_cut(&rest, '.');
    if (!rest.p || !str_to_i64(ms, &made) || clock_ms() - made > DEVICE_DAYS * DAY_MS)
        return false;
    struct str want =
        device_mac(t, a, at->account, (struct str){ at->device.p, ms.n + 1 + nonce.n });
    return rest.n == want.n && crypt_equal(rest.p, want.p, want.n);
}

/* ---- attempts ---- */

/* What an attempt counts for: a browser that has signed in to this account before for itself alone,
 * whoever else fails, and from wherever; a stranger for the pair, the address and the account.
 * Returns how many. */
static int names_of(const struct throttle *t, const struct attempt *a, struct name out[NAMES_MAX])
{
    struct arena arena;
    struct ip net;
    struct str ip = network_of(a->ip, &net);
    arena_init(&arena, 16384);
    bool is_known = device_is_known(t, &arena, a);
    arena_done(&arena);
    if (is_known) {
        out[0] = name_of(t, "device", a->account, a->device);
        return 1;
    }
    out[0] = name_of(t, "account and address", a->account, ip);
    out[1] = name_of(t, "address", ip, STR(""));
    out[2] = name_of(t, "account", a->account, STR(""));
    out[1].limit = out[2].limit = t->limit * THROTTLE_WIDE;
    return NAMES_MAX;
}

enum err_code throttle_enter(struct ctx *cx, struct throttle *t, const struct attempt *a)
{
    struct name names[NAMES_MAX];
    int n = names_of(t, a, names);
    for (int i = 0; i < n; i++) {
        int64_t wait_s = count(t, &names[i], 1);
        if (!wait_s)
            continue;
        while (i-- > 0)
            count(t, &names[i], -1);
        cx->retry_after_s = wait_s;
        return fail(cx, RATE_LIMITED, "Too many failed attempts; try again in %lld seconds",
                    (long long)wait_s);
    }
    return ERR_NONE;
}

void throttle_pass(struct throttle *t, const struct attempt *a)
{
    struct name names[NAMES_MAX];
    int n = names_of(t, a, names);
    forget(t, &names[0]);
    for (int i = 1; i < n; i++)
        count(t, &names[i], -1);
}

void throttle_undo(struct throttle *t, const struct attempt *a)
{
    struct name names[NAMES_MAX];
    int n = names_of(t, a, names);
    for (int i = 0; i < n; i++)
        count(t, &names[i], -1);
}

enum err_code throttle_address(struct ctx *cx, struct throttle *t, const char *what, struct str ip,
                               int64_t limit)
{
    struct ip net;
    struct name n = name_of(t, what, network_of(ip, &net), STR(""));
    n.limit = limit;
    int64_t wait_s = count(t, &n, 1);
    if (!wait_s)
        return ERR_NONE;
    cx->retry_after_s = wait_s;
    return fail(cx, RATE_LIMITED, "Too many requests; try again in %lld seconds",
                (long long)wait_s);
}

bool throttle_text(struct throttle *t, const char *what, struct str text, int64_t limit)
{
    struct name n = name_of(t, what, text, STR(""));
    n.limit = limit;
    return count(t, &n, 1) == 0;
}
