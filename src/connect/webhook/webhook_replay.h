/* Sending again what happened in a range of time: a job that walks the team's events in pages.
 *
 * replay: what the webhook wants now, whether it was sent or not; recover: of that, what has not
 * arrived and is not on its way. Each event gets a new delivery, marked as a replay. A page and the
 * place where the next one begins are one unit, so a run that is cut off goes on without sending
 * anything twice. */
#ifndef TESSERA_CONNECT_WEBHOOK_WEBHOOK_REPLAY_H
#define TESSERA_CONNECT_WEBHOOK_WEBHOOK_REPLAY_H

#include "../../core/job/job.h"
#include "webhook_log.h"

#define REPLAY_SPAN_MAX_MS (14 * DAY_MS)
#define REPLAY_PAGE 200 /* events a unit */

struct replay_new {
    struct rec_bits bits;
    struct str event_types, state;
    int64_t from, to;
};
extern const struct rec rec_replay_new;  /* POST …/replay */
extern const struct rec rec_recover_new; /* POST …/recover */

extern const struct job_kind webhook_replay_kind;

struct replay_ask {
    struct str webhook_id;
    const struct replay_new *in;
    bool is_recover;
};
/* In a unit in the scope of who->team_id. INVALID_FIELD names from or to; CONFLICT when the webhook
 * is disabled. */
enum err_code replay_start(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct replay_ask *ask, struct job *out);

#endif
