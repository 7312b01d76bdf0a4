/* Users of an outside issuer: from verified JWT claims to a user here. Owner of table
 * user_identity.
 *
 * (issuer, subject) is the link. A token without one is linked to the active user whose e-mail
 * address it names as verified, or, where the setting jwt_role allows it, becomes a new user in the
 * default team. Nothing else creates a link, so a changed address at the issuer moves no account. */
#ifndef TESSERA_CORE_PEOPLE_OUTSIDE_H
#define TESSERA_CORE_PEOPLE_OUTSIDE_H

#include "../../store/store.h"
#include "jwt.h"

struct outside_ask {
    const struct jwt_claims *claims; /* verified by jwt_verify */
    struct str jwt_role;             /* "viewer", "agent" or STR_NONE: role of users added */
    struct str ip, agent;            /* of the client, for the audit log; or STR_NONE */
    bool may_write;                  /* this is a write unit */
    bool wants_write;                /* out: nothing was decided, call again in a write unit */
};

/* INVALID_TOKEN: unknown, not to be added, or disabled. Without may_write a link that would have to
 * be made sets ask->wants_write, leaves *user_id alone and returns NONE. Sets the unit's scope to
 * the system's; the caller sets its own again. */
enum err_code outside_user(struct ctx *cx, struct db *db, struct outside_ask *ask,
                           struct str *user_id);

#endif
