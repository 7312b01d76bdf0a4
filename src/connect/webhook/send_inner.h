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
enum err_code lane_put(struct ctx *cx, struct db *db, struct str team_id, struct str webhook_id,
                       int64_t wake_ms);
/* lane_put, and the engine of this node is woken once it is committed. */
enum err_code lane_wake(struct ctx *cx, struct db *db, struct str team_id, struct str webhook_id,
                        int64_t wake_ms);
/* delivery_add without the lane, for who wakes it once for many. */
enum err_code delivery_insert(struct ctx *cx, struct db *db, const struct delivery_new *in,
                              int64_t now_ms, struct str *id);
/* The ordered delivery `id` is over: the next one of its entity becomes due, unless there is one open
 * before it. The lane must be locked (lane_put, or {claim}). */
enum err_code delivery_next(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                            int64_t now_ms);
/* lane_wake was called in this thread's batch; asking forgets it. */
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

/* ---- send_gate.c: how much of each webhook is under way on this node ----
 *
 * Two bounds together let one that hangs or is slow delay nobody else. A webhook's window begins
 * small, grows with each answer and halves with each call that gets none. And nobody holds more than
 * a quarter of what is free: the more others hold, the less one may add, so that something is always
 * left for who comes next (a dynamic threshold, as switches bound the queues of their ports); the
 * last quarter of the places is only for webhooks that hold none. */

#define GATES_MAX 1024
#define GATE_WINDOW_MAX 64
#define GATE_BYTES_MAX ((size_t)64 << 20) /* of bodies */
#define ID_TEXT_MAX 64

struct gate {
    char team[ID_TEXT_MAX], id[ID_TEXT_MAX];
    struct gate *same; /* of one bucket */
    int window, n;     /* n: deliveries under way */
    size_t bytes;
    int64_t rest_ms; /* its host rests until then (wall clock) */
    bool is_full;    /* something due was left for want of room */
    int64_t used_us;
};
struct gates {
    struct gate v[GATES_MAX];
    struct gate *buckets[GATES_MAX];
    int n_gates;
    int total; /* deliveries under way at most, less than GATES_MAX */
    int n;     /* under way */
    size_t bytes;
};

struct gate *gate_find(const struct gates *g, struct str id); /* NULL: nothing is known of it */
struct gate *gate_get(struct gates *g, struct str team_id, struct str id); /* made when new */
/* How many more of a webhook may start, when `taken` others are about to. gate may be NULL. */
int gate_room(const struct gates *g, const struct gate *gate, int taken, int64_t now_ms);
/* Whether a body of so many bytes may be added, when `taken` bytes of others, `mine` of them of this
 * webhook, are about to. */
bool gate_has_bytes(const struct gates *g, const struct gate *gate, size_t size, size_t taken,
                    size_t mine);
void gate_enter(struct gates *g, struct gate *gate, size_t bytes);
/* A delivery has ended as `class` says; try_again_ms as struct egress_answer. */
void gate_leave(struct gates *g, struct gate *gate, size_t bytes, enum egress_class class,
                int64_t try_again_ms);

/* ---- what is to be sent; send_claim.c and send_fan.c, units of the system's scope ---- */

#define SEND_FAN_MAX 200    /* events a turn */
#define SEND_CLAIMS_MAX 256 /* deliveries a turn */
#define SEND_LANES_MAX 64   /* looked at a turn */

struct sending {
    struct rec_bits bits;
    struct str team_id, webhook_id, id, event_id, payload;
    int64_t is_ordered, is_replay, attempt, created_ms, due_ms;
};
extern const struct rec rec_sending;
struct lane {
    struct rec_bits bits;
    struct str team_id, webhook_id;
};
extern const struct rec rec_lane;

struct send_target { /* a webhook, opened; the texts are secrets, wiped by send_target_wipe */
    struct webhook w;
    struct str secrets[HOOK_SECRETS_MAX];
    size_t n_secrets;
    struct hook_header headers[WEBHOOK_HEADERS_MAX];
    size_t n_headers;
};
void send_target_wipe(struct send_target *t);

struct send_claim { /* one delivery that is ours now */
    const struct sending *d;
    const struct event *ev;
    struct send_target *to;
    size_t bytes;
};

struct send_turn {             /* one unit: new events out, what is due in */
    const struct gates *gates; /* not changed meanwhile */
    int64_t now_ms, lease_ms;  /* lease_ms: how long */
    int64_t expire_ms;        /* leases that ended before this moment are over; 0: not looked for */
    bool has_events;          /* there may be new ones */
    bool is_closed;           /* nothing is claimed */
    const struct lane *again; /* lanes that have room again, n_again of them */
    size_t n_again;

    /* out; the texts live in the ctx */
    struct str lease_token;
    struct send_claim *claims; /* SEND_CLAIMS_MAX */
    size_t n;
    size_t bytes;
    struct lane *full; /* lanes left with something due, n_full of them */
    size_t n_full;
    size_t n_events;   /* that were given out */
    bool has_more;     /* another turn would find something at once */
    bool is_elsewhere; /* another node gives events out at this moment */
    int64_t next_ms;   /* when a lane is to be looked at; -1 = there is none */
};
enum err_code send_turn(struct ctx *cx, struct db *db, struct send_turn *t);
/* Part of it: events to webhooks. */
enum err_code send_fan(struct ctx *cx, struct db *db, struct send_turn *t);

struct send_look { /* cheap questions before a turn; reads only */
    int64_t now_ms;
    bool has_webhooks, has_events, has_expired; /* out */
    int64_t next_ms, waiting;                   /* out; waiting: at most SEND_WAITING_SEEN */
    bool counts_waiting;
};
#define SEND_WAITING_SEEN 10000
enum err_code send_look(struct ctx *cx, struct db *db, struct send_look *l);

/* ---- what came of it; send_result.c and send_health.c ---- */

struct webhooks;
struct flight { /* a delivery on its way: made by the engine's thread, ended by egress */
    struct flight *next;
    struct webhooks *w;
    char team[ID_TEXT_MAX], webhook[ID_TEXT_MAX], id[ID_TEXT_MAX], lease[ID_TEXT_MAX];
    int64_t attempt; /* number of this one */
    int64_t created_ms, at_ms, retry_after_ms, try_again_ms, duration_ms;
    bool is_ordered;
    size_t bytes;
    enum egress_class class;
    int status;
    char error[200];
    char *body; /* malloc, NULL: none */
    size_t body_n;
    struct send_verdict verdict;
};

struct send_notice { /* people are to be told; texts live in the ctx */
    struct str team_id, webhook_id, url;
    int64_t percent; /* 50, 70, 90, 100: disabled */
    bool is_gone;    /* disabled by its own word */
    struct list to;  /* struct rec_text: addresses */
};
struct send_results {
    const struct flight *first; /* n of the list */
    size_t n;
    int64_t now_ms;
    struct send_notice *notices; /* out */
    size_t n_notices;
};
/* Unit of the system's scope: attempts, states of deliveries, lanes, health. */
enum err_code send_results(struct ctx *cx, struct db *db, struct send_results *r);

struct send_health { /* of one webhook, by the attempts of one unit */
    struct str team_id, webhook_id;
    int64_t now_ms, failed_ms; /* failed_ms: of the earliest that failed */
    bool has_success, has_failure, is_gone;
};
/* Notes successes and failures on the webhook, on change only; disables it when its time is over.
 * *out->percent is 0 when nobody has to be told. */
enum err_code send_health(struct ctx *cx, struct db *db, const struct send_health *h,
                          struct send_notice *out);

#endif
