/* The object behind struct webhooks, for the engine's files: send.c (thread, start, stop),
 * send_call.c (one call), send_metrics.c, send_mail.c.
 *
 * The lock guards what its field's comment says; no store call is made under it. */
#ifndef TESSERA_CONNECT_WEBHOOK_SEND_ENGINE_H
#define TESSERA_CONNECT_WEBHOOK_SEND_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "send_inner.h"
#include "webhook_engine.h"

#define SEND_BOUNDS 12

struct send_counts { /* since start; any thread adds */
    atomic_llong delivered, failed, retried, postponed;
    atomic_llong attempts[EGRESS_CLASSES];
    atomic_llong le[SEND_BOUNDS + 1]; /* first attempts by their delay, the last slot is +Inf */
    atomic_llong delay_ms;            /* sum of those delays */
    atomic_llong events;
};

struct webhooks {
    struct webhooks_conf conf;
    struct egress *egress;
    struct gates *gates; /* the thread's */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct flight *ended, **ended_end; /* lock: what egress has ended */
    bool is_woken;                     /* lock: a batch with events or deliveries was committed */
    bool is_stopping;                  /* lock */
    atomic_bool has_webhooks;          /* at the last look: else events wake nobody */
    atomic_llong n_flying;             /* calls that egress has not ended yet */

    /* the thread's own */
    struct flight *unwritten, **unwritten_end; /* ended, not stored yet */
    bool is_fresh;        /* no turn yet: on SQLite what is being sent was sent by a dead process */
    bool may_have_events; /* by a wake or a look */
    bool has_expired;     /* leases that are over */
    bool is_due;          /* a turn is worth it at once */
    bool has_full;        /* gates with something due that had no room */
    int64_t next_ms;      /* a lane is due then; -1 = none */
    int64_t hot_us;       /* events came lately: until then a wake needs no look */
    int64_t look_us;      /* the next look */
    int64_t again_us;     /* the database failed: nothing before this moment */
    int looks;

    struct send_counts counts;
    atomic_llong waiting; /* seen at a look, at most SEND_WAITING_SEEN */
    atomic_llong due_ms;  /* next_ms at the last look or turn */
};

/* Sends what was claimed: signs, hands it to egress. The engine's thread. */
void send_start(struct webhooks *w, struct ctx *cx, const struct send_claim *c, struct str lease);
void flight_free(struct flight *f);
/* Counts what a flight that was stored has come to. */
void send_count(struct webhooks *w, const struct flight *f);
/* Logs, and mails to those who are to be told. */
void send_tell(struct webhooks *w, const struct send_notice *n);

#endif
