/* From proof to caller: a session cookie or verified JWT claims, and the team that the request
 * names, become a struct caller.
 *
 * Runs at the headers of every request of a user, in a read unit, before the body is read. */
#ifndef TESSERA_CORE_PEOPLE_IDENTITY_H
#define TESSERA_CORE_PEOPLE_IDENTITY_H

#include "../../store/store.h"
#include "../caller.h"
#include "jwt.h"

struct identity_ask {
    struct str session;              /* secret of the cookie; or STR_NONE */
    const struct jwt_claims *claims; /* verified; or NULL */
    struct str team;                 /* Tessera-Team: id or slug; or STR_NONE */
    bool
        is_teamless; /* the route acts on the user: no team is needed (one that is named is used) */
    struct str jwt_role; /* setting: role of users that are added on first sight, or STR_NONE */
    int64_t idle_ms;     /* session_idle_minutes */
    bool may_write;      /* this is a write unit: unknown users may be added, identities linked */
    bool wants_write;    /* out: nothing was decided, run again in a write unit */
};

/* Fills user_*, session_id, team_id, role and scopes of *who (ip and agent are the caller's).
 * INVALID_TOKEN: no such session, expired, user disabled or unknown. NOT_FOUND: the team is not one
 * of the user's. TEAM_REQUIRED: several teams and none named. A user without any team gets
 * NOT_FOUND unless is_teamless. Sets the unit's scope as it needs and leaves it to the caller to
 * set again. */
enum err_code identity_resolve(struct ctx *cx, struct db *db, struct identity_ask *ask,
                               struct caller *who);
/* The CSRF token that belongs to a session secret (base64url, lives in a), and its check in
 * constant time. */
struct str identity_csrf(struct arena *a, struct str session);
bool identity_csrf_is(struct str session, struct str token);
/* The session secret in a Cookie header, STR_NONE when there is none. */
#define SESSION_COOKIE "tessera_session"
struct str identity_cookie(struct str header, struct str name);
/* A request of this session was seen: remembered in memory and written to its row within about a
 * minute by identity_flush, so that idle expiry costs no write a request. Any thread. */
void identity_seen(struct str session_id, int64_t now_ms);
enum err_code identity_flush(struct ctx *cx, struct store *s);
/* As this process knows it; 0 = not seen here. */
int64_t identity_seen_at(struct str session_id);

#endif
