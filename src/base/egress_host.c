/* Hosts: see egress_host.h. */
#include "egress_host.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "crypt.h"
#include "egress_inner.h"
#include "log.h"

#define US_PER_S INT64_C(1000000)
#define HOST_RUNNING_DEFAULT 16
#define REST_DEFAULT_MS 10000
#define FNV_BASE UINT64_C(14695981039346656037) /* FNV-1a: keys are short and checked in full */
#define FNV_PRIME UINT64_C(1099511628211)

void hosts_init(struct hosts *t, size_t max, const struct egress_conf *conf)
{
    size_t n = 1;
    while (n < max)
        n *= 2;
    *t = (struct hosts){ .max = max, .mask = n - 1 };
    t->v = calloc(max, sizeof *t->v);
    t->buckets = calloc(n, sizeof(struct host *));
    BUG_IF(!t->v || !t->buckets);
    t->ready_end = &t->ready;
    t->places_max = conf->host_running_max ? conf->host_running_max : HOST_RUNNING_DEFAULT;
    t->rate = conf->host_rate;
    t->rest_us = (conf->rest_ms ? conf->rest_ms : REST_DEFAULT_MS) * 1000;
}

void hosts_done(struct hosts *t)
{
    free(t->v);
    free(t->buckets);
}

/* ---- the table ---- */

static struct host **bucket_of(struct hosts *t, struct str key)
{
    uint64_t hash = FNV_BASE;
    for (size_t i = 0; i < key.n; i++)
        hash = (hash ^ (unsigned char)key.p[i]) * FNV_PRIME;
    return &t->buckets[(hash ^ hash >> 32) & t->mask];
}

static void age_unlink(struct hosts *t, struct host *h)
{
    if (h->newer)
        h->newer->older = h->older;
    else
        t->newest = h->older;
    if (h->older)
        h->older->newer = h->newer;
    else
        t->oldest = h->newer;
}

static void age_newest(struct hosts *t, struct host *h)
{
    h->newer = NULL;
    h->older = t->newest;
    if (t->newest)
        t->newest->newer = h;
    else
        t->oldest = h;
    t->newest = h;
}

static void state_set(struct hosts *t, struct host *h, enum host_state to)
{
    static const char *const words[] = { "good", "resting", "trying" };
    if (h->state == to)
        return;
    t->n_resting += (to == HOST_RESTING) - (h->state == HOST_RESTING);
    h->state = to;
    log_info(NULL, "egress.host", KVC("host", h->key), KVC("state", words[to]),
             KVI("failures", h->failures),
             KVI("rest_ms", to == HOST_RESTING ? (h->rest_until_us - clock_mono_us()) / 1000 : 0));
}

/* A place in the table: an unused one, or that of the host that nobody used for longest. */
static struct host *place(struct hosts *t)
{
    struct host *h;
    if (t->n < t->max)
        return &t->v[t->n++];
    for (h = t->oldest; h && (h->n_calls || h->is_resolving); h = h->newer)
        continue;
    BUG_IF(!h); /* there are more places than calls */
    t->n_resting -= h->state == HOST_RESTING;
    age_unlink(t, h);
    for (struct host **at = bucket_of(t, str_of(h->key));; at = &(*at)->same_hash)
        if (*at == h) {
            *at = h->same_hash;
            return h;
        }
}

struct host *host_get(struct hosts *t, const struct egress_url *url)
{
    struct host **bucket = bucket_of(t, url->key), *h = *bucket;
    while (h && !str_eq(str_of(h->key), url->key))
        h = h->same_hash;
    if (h) {
        age_unlink(t, h);
    } else {
        h = place(t);
        *h = (struct host){ .places = t->places_max < EGRESS_PLACES_FIRST ? t->places_max
                                                                          : EGRESS_PLACES_FIRST };
        memcpy(h->key, url->key.p, url->key.n);
        h->name = (struct str){ h->key, url->host.n };
        h->same_hash = *bucket;
        *bucket = h;
    }
    age_newest(t, h);
    return h;
}

/* ---- places and the line ---- */

int64_t host_rest_us(const struct host *h, int64_t now_us)
{
    return h->state == HOST_RESTING && h->rest_until_us > now_us ? h->rest_until_us - now_us : 0;
}

/* Those who leave a resting host at once need no place. */
static bool has_place(const struct host *h)
{
    if (h->state == HOST_TRYING)
        return h->n_running == 0;
    return h->state == HOST_RESTING || h->n_running < h->places;
}

static void ready_check(struct hosts *t, struct host *h)
{
    if (h->is_ready || !h->first || !has_place(h))
        return;
    h->is_ready = true;
    h->next_ready = NULL;
    *t->ready_end = h;
    t->ready_end = &h->next_ready;
}

static struct host *ready_take(struct hosts *t)
{
    struct host *h = t->ready;
    if (!h)
        return NULL;
    t->ready = h->next_ready;
    if (!t->ready)
        t->ready_end = &t->ready;
    h->is_ready = false;
    return h;
}

void host_enqueue(struct hosts *t, struct host *h, struct call *c)
{
    c->next_in_line = NULL;
    if (h->last)
        h->last->next_in_line = c;
    else
        h->first = c;
    h->last = c;
    h->n_calls++;
    ready_check(t, h);
}

void host_unqueue(struct hosts *t, struct host *h, struct call *c)
{
    struct call *before = NULL;
    (void)t;
    for (struct call *i = h->first; i != c; i = i->next_in_line)
        before = i;
    if (before)
        before->next_in_line = c->next_in_line;
    else
        h->first = c->next_in_line;
    if (h->last == c)
        h->last = before;
    h->n_calls--;
}

/* May a call start now by the rate? Takes its share. */
static bool rate_take(const struct hosts *t, struct host *h, int64_t now_us)
{
    if (!t->rate)
        return true;
    if (h->next_start_us > now_us + US_PER_S - US_PER_S / t->rate) /* a second's worth at once */
        return false;
    h->next_start_us = (h->next_start_us > now_us ? h->next_start_us : now_us) + US_PER_S / t->rate;
    return true;
}

/* The hosts take turns. One that its rate holds back stays in the list. */
struct call *hosts_next(struct hosts *t, int64_t now_us)
{
    struct host *first_held = NULL;
    while (t->ready && t->ready != first_held) {
        struct host *h = ready_take(t);
        struct call *c = h->first;
        if (h->state == HOST_RESTING && !host_rest_us(h, now_us))
            state_set(t, h, HOST_TRYING);
        if (!c || !has_place(h))
            continue;
        if (!host_rest_us(h, now_us) && !rate_take(t, h, now_us)) {
            first_held = first_held ? first_held : h;
            ready_check(t, h);
            continue;
        }
        h->first = c->next_in_line;
        if (!h->first)
            h->last = NULL;
        h->n_running++;
        ready_check(t, h);
        return c;
    }
    return NULL;
}

/* ---- outcomes ---- */

static void rest(struct hosts *t, struct host *h, int64_t now_us)
{
    int shift = h->rests < 20 ? h->rests : 20;
    int64_t us = t->rest_us << shift;
    uint16_t dice;
    crypt_random(&dice, sizeof dice);
    if (us > EGRESS_REST_MAX_MS * INT64_C(1000))
        us = EGRESS_REST_MAX_MS * INT64_C(1000);
    us += us / 5 * (dice - 32768) / 32768; /* ± 20 % */
    h->rests++;
    h->rest_until_us = now_us + us;
    state_set(t, h, HOST_RESTING);
}

static void failed(struct hosts *t, struct host *h, int64_t now_us)
{
    h->failures++;
    h->places = h->places >= 4 ? h->places / 2 : h->places;
    h->ips_until_us = 0;
    if (h->state == HOST_TRYING || (h->state == HOST_GOOD && h->failures >= EGRESS_FAILURES_MAX))
        rest(t, h, now_us);
}

static void succeeded(struct hosts *t, struct host *h)
{
    h->failures = 0;
    h->rests = 0;
    if (h->places < t->places_max)
        h->places++;
    state_set(t, h, HOST_GOOD);
}

void host_leave(struct hosts *t, struct host *h, enum egress_class class, int64_t now_us)
{
    bool has_answered = class == EGRESS_OK || class == EGRESS_TOO_LARGE || class == EGRESS_REDIRECT;
    h->n_running--;
    h->n_calls--;
    if (has_answered)
        succeeded(t, h);
    else if (egress_class_is_fault(class))
        failed(t, h, now_us);
    ready_check(t, h);
}
