/* Signing in: from an e-mail address and a password to a session.
 *
 * Blocks (Argon2) and runs units of its own, so it is for a slow thread and not inside a unit.
 * Whether the address is unknown, the account is disabled or the password is wrong, the answer and
 * the work are the same. Failures are counted by throttle.h. */
#ifndef TESSERA_CORE_PEOPLE_SIGN_IN_H
#define TESSERA_CORE_PEOPLE_SIGN_IN_H

#include "session.h"
#include "throttle.h"
#include "user.h"

struct sign_in {
    struct str email, password, totp_code, recovery_code; /* codes: STR_NONE = not given */
    struct str device;                                    /* device cookie or STR_NONE */
    int64_t max_ms;                                       /* of the session */
    const struct caller *who;                             /* ip and agent */
};
struct signed_in {
    struct user user;
    struct session session;
    struct list teams;  /* struct team */
    struct str secret;  /* for the cookie; sole copy */
    struct str account; /* the address as it is kept */
};
/* RATE_LIMITED, INVALID_CREDENTIALS; TOTP_REQUIRED after the right password when the user has a
 * second factor and no code came. */
enum err_code sign_in(struct ctx *cx, struct store *s, struct throttle *t, const struct sign_in *in,
                      struct signed_in *out);

/* The password of the signed-in user, once more. Wrong: INVALID_FIELD naming `field`, counted as a
 * failed sign-in. *hash is the user's. */
struct password_ask {
    const struct caller *who;
    struct str password;
    const char *field;
};
enum err_code password_again(struct ctx *cx, struct store *s, struct throttle *t,
                             const struct password_ask *ask, struct str *hash);

#endif
