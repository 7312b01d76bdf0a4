/* What the files of sending share and nobody else sees.
 *
 *   delivery.c      rows of webhook_delivery and webhook_lane: adding, lanes, leases
 *   send_body.c     what is sent
 *   send_verdict.c  what follows from an answer: pure
 *   send_fan.c      new events to the webhooks that want them
 *   send_claim.c    what is due, lane by lane
 *   send_result.c   what came of attempts
 *   send_health.c   webhooks at which nothing arrives
 *   send_gate.c     how many deliveries of each webhook are under way on this node
 *   send_call.c     one call
 *   send.c          the engine: thread, start, stop
 *   send_sweep.c    what is old goes */
#ifndef TESSERA_CONNECT_WEBHOOK_SEND_INNER_H
#define TESSERA_CONNECT_WEBHOOK_SEND_INNER_H

#include "../../base/clock.h"
#include "../../base/egress.h"
#include "webhook_send.h"

/* Behind an open delivery of its entity: due when that one is over. */
#define DUE_BEHIND INT64_MAX
#define SQL_BEHIND "9223372036854775807"

/* ---- delivery.c ---- */

/* The lane's webhook is looked at by wake_ms, or earlier; its row is locked from then on, so that
 * what is added behind a delivery and the end of that delivery do not miss each other. */
enum err_code lane_wake(struct ctx *cx, struct db *db, struct str team_id, struct str webhook_id,
                        int64_t wake_ms);
/* delivery_add without the lane, for who wakes it once for many. */
enum err_code delivery_insert(struct ctx *cx, struct db *db, const struct delivery_new *in,
                              int64_t now_ms, struct str *id);
/* delivery_add was called in this thread's batch; asking forgets it. */
bool delivery_noted(void);

/* ---- send_verdict.c ---- */

#define SEND_ATTEMPTS_MAX 10
#define SEND_FAILING_MS (5 * DAY_MS)       /* after so long without success a webhook is disabled */
#define SEND_POSTPONED_MAX_MS (5 * DAY_MS) /* a delivery that cannot even be tried is given up */

struct send_end { /* of one attempt */
    enum egress_class class;
    int status;             /* with OK */
    int64_t retry_after_ms; /* the answer's wish; 0 = none */
    int64_t try_again_ms;   /* RESTING: egress's word */
    int64_t attempt;        /* number of this attempt, from 1 */
    int64_t age_ms;         /* of the delivery */
    uint16_t dice;          /* of crypt_random: the jitter */
    int percent;            /* of the waits of the schedule; 100, less in tests */
};
enum send_move {
    SEND_DELIVERED,
    SEND_AGAIN,     /* a failed attempt; the next one follows after wait_ms */
    SEND_FAILED,    /* the last failed attempt */
    SEND_GONE,      /* 410: the delivery failed and the webhook is to be disabled */
    SEND_POSTPONED, /* nothing was sent: no attempt */
    SEND_EXPIRED,   /* nothing could be sent for too long */
};
struct send_verdict {
    enum send_move move;
    int64_t wait_ms; /* AGAIN, POSTPONED */
};
/* Pure. */
struct send_verdict send_verdict(const struct send_end *end);
/* Wait after the nth failed attempt without jitter; 0 after the last. */
int64_t send_wait_ms(int64_t attempt);

#endif
