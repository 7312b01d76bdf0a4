/* Sessions: what a sign-in leaves behind. Owner of table user_session.
 *
 * The secret is in the browser's cookie alone, its SHA-256 in the row. A session ends by itself
 * when no request came for a while (idle) and some time after the sign-in whatever happens
 * (expires_ms); a request's time reaches the row within about a minute (identity_flush). Every
 * function here sets the unit's scope to the system's; the caller sets its own again. */
#ifndef TESSERA_CORE_PEOPLE_SESSION_H
#define TESSERA_CORE_PEOPLE_SESSION_H

#include "../../store/store.h"
#include "../caller.h"
#include "../listing.h"

#define SESSIONS_MAX 100      /* of one user; a further sign-in ends the oldest */
#define SESSION_AGENT_MAX 300 /* bytes of User-Agent that are kept */

struct session {
    struct rec_bits bits;
    struct str id, ip, agent;
    int64_t created_ms, seen_ms, expires_ms, is_current;
};
extern const struct rec rec_session;

/* The hash under which a secret is kept. */
struct str session_hash(struct arena *a, struct str secret);
/* A session of the user, from who->ip and who->agent, for at most max_ms. *secret is the sole copy
 * and lives in cx. */
enum err_code session_open(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str user_id, int64_t max_ms, struct str *secret,
                           struct session *out);
/* The running sessions of the signed-in user, oldest first; the one of this request is marked. */
enum err_code session_list(struct ctx *cx, struct db *db, const struct caller *who, int64_t idle_ms,
                           const struct list_query *in, struct cursor_key key, struct page *out);
/* One of the user's own; NOT_FOUND. */
enum err_code session_end(struct ctx *cx, struct db *db, const struct caller *who, struct str id);
/* Drops a few rows of ended sessions, reset links and enrolments of a second factor; *gone says how
 * many. */
#define SESSION_PURGE_MAX 500
enum err_code session_purge(struct ctx *cx, struct db *db, int64_t idle_ms, int64_t *gone);
/* Housekeeping, in units of its own: session_purge while much is left. */
enum err_code session_sweep(struct ctx *cx, struct store *s, int64_t idle_ms);

#endif
