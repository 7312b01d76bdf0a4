/* Sending of webhooks: one event on its way to one webhook is a delivery. Owner of tables
 * webhook_delivery, webhook_attempt, webhook_lane and webhook_fan.
 *
 * New events are given to the webhooks that want them (the fan), one node at a time; what is due is
 * claimed under a lease, webhook by webhook in turn, sent by egress without a thread waiting, and
 * what came of it is written in batches together with the next claims. */
#ifndef TESSERA_CONNECT_WEBHOOK_WEBHOOK_SEND_H
#define TESSERA_CONNECT_WEBHOOK_WEBHOOK_SEND_H

#include "webhook.h"

#define WEBHOOK_ANSWER_MAX 20000 /* bytes of an answer that are kept */

/* What is sent: the JSON text, the same at every attempt. payload: "full" or "thin". Lives in cx. */
struct str webhook_body(struct ctx *cx, const struct event *ev, struct str payload);

struct delivery_new {
    const struct event *ev;
    const struct webhook *webhook;
    bool is_replay; /* else a second delivery of the event to this webhook is not added */
};
/* In a unit in the scope of the team or the system; wakes the engine once it is committed. With
 * id == NULL nothing is waited for; else *id is the new row's, STR_NONE when it was there. */
enum err_code delivery_add(struct ctx *cx, struct db *db, const struct delivery_new *in,
                           struct str *id);

/* Looks at the webhook at once: what waits for one that is disabled or deleted fails with a reason,
 * what waits for one that is enabled again goes on. In the unit of that change. */
enum err_code deliveries_look(struct ctx *cx, struct db *db, struct str team_id,
                              struct str webhook_id);

#endif
