/* What is done with the webhooks that were taken: the kinds of jobs behind them.
 *
 * hook.process drains one integration: it looks at the events that wait, in the order they came (those
 * that are tried again after the others), a few hundred at a time, marks those that the integration does not want as ignored, hands the others
 * to the handler of its kind and marks them. A handler may see an event twice (a node that is killed
 * between its run and the mark) and must bear that; an event that it refuses is tried again later,
 * and is failed for good after PROCESS_ATTEMPTS.
 *
 * An event joins the job of its integration that waits already. On PostgreSQL that one may be claimed
 * before the event is committed, and would not see it: so a transaction that stores events shares a
 * lock of the integration until it ends, and a job ends only when nobody held it before its last look. */
#ifndef TESSERA_CONNECT_IN_PROCESS_H
#define TESSERA_CONNECT_IN_PROCESS_H

#include "../../core/job/job.h"

#define PROCESS_ATTEMPTS 8
/* PostgreSQL: the two keys of an integration's advisory lock; $1 is its id. */
#define HOOK_LOCK_KEYS "7355610, hashtext($1)"

struct hook_event { /* what a handler sees; lives in the ctx it is given */
    struct str team_id, integration_id, kind, id, event_type, event_key;
    struct str body; /* the bytes as they came; of Microsoft Graph without clientState */
    int64_t received_ms;
    int64_t attempt; /* from 1 */
};

/* A row of the table that `tessera serve` hands down; a kind without a row needs no handling. */
struct hook_handler {
    const char *kind; /* "github"; NULL ends the table */
    /* On a thread of the pool, outside any transaction. A failure that is RETRY_NEVER fails the
     * event for good. The sentence of the failure is shown in the log of webhooks. */
    enum err_code (*run)(struct ctx *cx, struct store *store, const struct hook_event *event,
                         void *arg);
    void *arg;
};

struct hook_work { /* what the kinds get; lives as long as the server */
    const struct hook_handler *handlers;
    int64_t quota_bytes;             /* of stored payloads of a team */
    int64_t payload_days, seen_days; /* seen_days > payload_days */
};

extern const struct job_kind hook_process; /* key: the integration; arg: struct hook_work */
extern const struct job_kind hooks_due;    /* periodic: what waits and has no job; no arg */

#endif
