/* The log of webhooks that came in, and their replay. Owner of table webhook_log, with receive.c
 * (which adds), process.c (which moves on) and retention.c (which removes).
 *
 * All functions run inside a unit of work in the caller's scope. */
#ifndef TESSERA_CONNECT_IN_WEBHOOK_LOG_H
#define TESSERA_CONNECT_IN_WEBHOOK_LOG_H

#include "../../core/job/job.h"
#include "../../core/listing.h"

#define LOG_SHOWN_MAX ((size_t)1 << 20) /* bytes of a payload inside the JSON of its event */

struct webhook_log {
    struct rec_bits bits;
    struct str id, integration_id, event_type, event_key, state, error, headers, payload,
        payload_base64, body_form;
    int64_t is_processed, processed_ms, attempts, received_ms, replays, duplicates, size_bytes;
};
extern const struct rec rec_webhook_log;      /* in lists */
extern const struct rec rec_webhook_log_full; /* with headers and payload */

struct webhook_log_query {
    struct rec_bits bits;
    struct str integration_id, event_type, state, cursor;
    int64_t is_processed, from, to, limit;
};
extern const struct rec rec_webhook_log_query;

struct replay_in {
    struct rec_bits bits;
    int64_t from, to;
    struct str event_types, states;
};
extern const struct rec rec_replay_in;

/* Newest first. */
enum err_code webhook_log_list(struct ctx *cx, struct db *db, const struct caller *who,
                               const struct webhook_log_query *in, struct cursor_key key,
                               struct page *out);
/* NOT_FOUND, also for another team's. A payload of more than LOG_SHOWN_MAX is left out. */
enum err_code webhook_log_get(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, struct webhook_log *out);
/* The bytes as they came. */
enum err_code webhook_log_payload(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str id, struct str *out);
/* The event waits again, whatever became of it; *job: what will process it. CONFLICT when it waits
 * already or its integration was deleted. */
enum err_code webhook_log_replay(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str id, struct job *out);
/* A job that makes all that fit wait again. CONFLICT while one of the integration waits. */
enum err_code webhook_log_replay_many(struct ctx *cx, struct db *db, const struct caller *who,
                                      struct str integration_id, const struct replay_in *in,
                                      struct job *out);

extern const struct job_kind hook_replay; /* key: the integration; no arg */

#endif
