/* How long webhooks stay: payloads for payload_days or until the team's place is full, what was seen
 * for seen_days. Owner of table hook_stored. */
#ifndef TESSERA_CONNECT_IN_RETENTION_H
#define TESSERA_CONNECT_IN_RETENTION_H

#include "../../core/job/job.h"

/* In a write unit that sees the team: the oldest events that do not wait leave the log, at most n. */
enum err_code hook_log_evict(struct ctx *cx, struct db *db, struct str team_id, int64_t n);

/* The least id of that time or later: ids of events begin with the time they came (RFC 9562 §5.7: 48
 * bits of milliseconds). Lives in a. */
struct str hook_id_of_time(struct arena *a, int64_t ms);

extern const struct job_kind hooks_sweep; /* periodic; arg: struct hook_work */

#endif
