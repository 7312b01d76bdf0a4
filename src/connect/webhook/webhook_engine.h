/* The engine that sends webhooks: one thread a node that gives new events to the webhooks, claims
 * what is due, hands it to egress and writes what came of it. See webhook_send.h.
 *
 * It is woken when a batch with events or deliveries is committed on this node, when something is
 * due, and when an attempt has ended; otherwise it looks once a second for what other nodes and the
 * command line have added, which only reads. Nothing of it is kept in memory but what is under way:
 * a node that is killed loses its leases, and another one (or the next start) sends again. */
#ifndef TESSERA_CONNECT_WEBHOOK_WEBHOOK_ENGINE_H
#define TESSERA_CONNECT_WEBHOOK_WEBHOOK_ENGINE_H

#include "../../base/egress.h"
#include "../../store/store.h"

#define WEBHOOK_CALLS_MAX 512

struct mailer;
struct webhooks;
struct webhooks_conf {
    struct store *store;
    struct mailer *mailer; /* NULL: nobody is mailed to */
    struct str public_url; /* for mails; outlives the mailer; may be STR_NONE */
    int64_t calls;         /* deliveries under way at once, 0 to WEBHOOK_CALLS_MAX; 0: sends none */
    int64_t timeout_ms;    /* of an attempt, >= 1000 */
    int64_t lease_ms;      /* >= 2000; an attempt ends half a second before it at the latest */
    int64_t wait_percent;  /* of the waits between attempts: 100, less in tests */
};
/* Any thread; starts none. */
struct webhooks *webhooks_open(const struct webhooks_conf *conf);
/* After store_start; egress outlives the thread. UNAVAILABLE without a thread. Nothing happens with
 * calls 0. */
enum err_code webhooks_start(struct ctx *cx, struct webhooks *w, struct egress *egress);
/* The store has ended a batch on this (its writer's) thread. w may be NULL. */
void webhooks_committed(struct webhooks *w, bool is_committed);
/* Claims no more, gives what is under way up to two seconds to end, ends the thread; nobody is
 * mailed to afterwards. Before mailer_close and egress_close. NULL is fine. */
void webhooks_stop(struct webhooks *w);
/* Writes what egress_close has ended: those deliveries are due again at once. After egress_close,
 * before store_close. NULL is fine. */
void webhooks_flush(struct webhooks *w);
/* Frees w. After store_close, whose writers call webhooks_committed. NULL is fine. */
void webhooks_close(struct webhooks *w);
/* Its part of /metrics. w may be NULL. Any thread. */
void webhooks_metrics(struct buf *out, struct webhooks *w);
/* Removes events, deliveries and attempts that are older than so many days, and what deleted
 * webhooks have left. In units of its own, outside any other. */
enum err_code webhooks_sweep(struct ctx *cx, struct store *store, int64_t days);

#endif
