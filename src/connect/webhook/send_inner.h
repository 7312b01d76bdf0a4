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

#endif
