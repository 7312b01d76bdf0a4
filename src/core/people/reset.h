/* Links that set a password, once: reset (1 hour) and invitation (7 days). Owner of table
 * password_reset.
 *
 * The token is 256 random bits; its SHA-256 is kept. Setting a password ends every link of the
 * user. Every function in a unit sets its scope to the system's; the caller sets its own again. */
#ifndef TESSERA_CORE_PEOPLE_RESET_H
#define TESSERA_CORE_PEOPLE_RESET_H

#include "../../store/store.h"
#include "../caller.h"

enum reset_kind { RESET_PASSWORD, RESET_INVITE };

/* *token is the sole copy and lives in cx. */
enum err_code reset_issue(struct ctx *cx, struct db *db, struct str user_id, enum reset_kind kind,
                          struct str *token);
/* Where it is used: <public_url>/reset-password?token=…; without a public_url the path alone. */
struct str reset_url(struct arena *a, struct str public_url, struct str token);
/* INVALID_FIELD naming token: unknown, used, over, or its user is disabled. Reads only. */
enum err_code reset_check(struct ctx *cx, struct db *db, struct str token);
/* Sets the password and ends the user's sessions. Errors as above. */
enum err_code reset_use(struct ctx *cx, struct db *db, const struct caller *who, struct str token,
                        struct str hash);

#endif
