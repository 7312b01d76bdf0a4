/* What egress knows about a host ("name:port", and who keeps apart there): its line, its places, its rests, its addresses.
 *
 * Places. A host that nobody knows gets PLACES_FIRST; each success adds one up to the setting, each
 * failure halves, down to two. Rest. After FAILURES_MAX failures in a row (no connection, no answer, a broken
 * one; never a status) calls end at once with RESTING for rest_ms, then one call tries: success
 * ends the rests, failure doubles them up to REST_MAX_MS, with jitter. Table. Bounded; the host
 * that was not used for longest gives way. Egress thread only. */
#ifndef TESSERA_BASE_EGRESS_HOST_H
#define TESSERA_BASE_EGRESS_HOST_H

#include "egress.h"

#define EGRESS_PLACES_FIRST 4
#define EGRESS_FAILURES_MAX 5
#define EGRESS_REST_MAX_MS 300000

struct call;
enum host_state { HOST_GOOD, HOST_RESTING, HOST_TRYING };

struct host {
    char key[EGRESS_KEY_MAX + EGRESS_APART_MAX + 2]; /* "name:port" or "name:port/apart" */
    struct str name;                                 /* within key, without the port */
    struct host *same_hash;
    struct host *newer, *older; /* by last use */
    struct host *next_ready;    /* hosts that may start a call */
    bool is_ready;              /* in that list */
    struct call *first, *last;  /* line */
    struct call *asked;         /* wait for the addresses */
    int64_t n_calls;            /* in line or running: it stays in the table */
    int64_t n_running, places;
    enum host_state state;
    int failures, rests;
    int64_t rest_until_us;
    int64_t next_start_us; /* rate */
    struct egress_ips ips;
    int64_t ips_until_us;
    bool is_resolving;
};

struct hosts {
    struct host *v, **buckets;
    size_t max, n, mask;
    struct host *newest, *oldest;
    struct host *ready, **ready_end;
    int64_t places_max, rate, rest_us;
    int64_t n_resting;
};

/* Room for `max` hosts; more calls than that at once must not be taken. */
void hosts_init(struct hosts *t, size_t max, const struct egress_conf *conf);
void hosts_done(struct hosts *t);
/* The host of the key, made when it is new, and now the newest. */
struct host *host_get(struct hosts *t, const struct egress_url *url);
/* RESTING: microseconds that it rests yet; else 0. */
int64_t host_rest_us(const struct host *h, int64_t now_us);
/* Put in line / take the first that may run (NULL: none may now). */
void host_enqueue(struct hosts *t, struct host *h, struct call *c);
struct call *hosts_next(struct hosts *t, int64_t now_us);
/* A call that waited leaves the line without having run. */
void host_unqueue(struct hosts *t, struct host *h, struct call *c);
/* A call that ran has ended, as class says. */
void host_leave(struct hosts *t, struct host *h, enum egress_class class, int64_t now_us);

#endif
