/* What was sent to a webhook and what came of it, as administrators look at it; asking for a test
 * and for a delivery anew. All inside a unit in the scope of who->team_id. */
#ifndef TESSERA_CONNECT_WEBHOOK_WEBHOOK_LOG_H
#define TESSERA_CONNECT_WEBHOOK_WEBHOOK_LOG_H

#include "webhook_send.h"

extern const char *const delivery_words[]; /* of states, NULL-terminated */

struct delivery {
    struct rec_bits bits;
    struct str team_id, id, webhook_id, event_id, event_type, entity, payload, state, error;
    struct str attempts, body; /* of one delivery alone */
    int64_t seq, is_replay, attempt, due_ms, status, created_ms, finished_ms;
};
extern const struct rec rec_delivery;       /* in a list */
extern const struct rec rec_delivery_whole; /* with its attempts and its body */

struct delivery_query {
    struct rec_bits bits;
    struct str state, event_type, event_id, cursor;
    int64_t from, to, limit;
};
extern const struct rec rec_delivery_query;

/* Newest first. NOT_FOUND without such a webhook. */
enum err_code delivery_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str webhook_id, const struct delivery_query *in,
                            struct cursor_key key, struct page *out);
/* With its attempts, and its body as long as the event is kept. */
enum err_code delivery_get(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str webhook_id, struct str id, struct delivery *out);

/* An example of an event of this type (STR_NONE: webhook.test) on its way to this webhook alone,
 * whatever it wants. INVALID_FIELD names event_type; CONFLICT when it is disabled. */
enum err_code webhook_test(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str webhook_id, struct str event_type, struct delivery *out);
/* The event of a delivery once more, with the payload that the webhook asks for now. CONFLICT when
 * the webhook is disabled or the event is no longer kept. */
enum err_code delivery_replay(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str webhook_id, struct str id, struct delivery *out);
/* CONFLICT when it is disabled. */
enum err_code webhook_must_send(struct ctx *cx, const struct webhook *w);

#endif
