/* Users: who they are, over all teams. Owner of tables app_user and team_member (what happens to
 * memberships is in member.h).
 *
 * E-mail addresses are kept in lower case and name one user on the whole server. All run inside a
 * unit of work. Those that say so leave the unit's scope at the system's, because a user is not one
 * team's; the caller sets its own again. */
#ifndef TESSERA_CORE_PEOPLE_USER_H
#define TESSERA_CORE_PEOPLE_USER_H

#include "../../store/store.h"
#include "../caller.h"

#define USER_PASSWORD_MIN 12 /* characters */
#define USER_PASSWORD_MAX 1000
#define USER_NAME_MAX 200
#define USER_EMAIL_MAX 254

struct user {
    struct rec_bits bits;
    struct str id, email, name, status;
    struct str role;          /* in the team that is spoken of; only rec_member shows it */
    struct str password_hash; /* secret; STR_NONE: none yet */
    struct str invite_url;    /* only rec_member_new shows it */
    int64_t totp_enabled, created_ms, last_sign_in_ms;
};
extern const struct rec rec_user;       /* the user */
extern const struct rec rec_member;     /* with the role in a team */
extern const struct rec rec_member_new; /* with the link of the invitation */
extern const struct rec rec_user_row;   /* what is read: USER_COLUMNS */
/* What a struct user is read from. (Not totp_secret IS NULL: SQLite 3.40 gets that wrong in the
 * RETURNING of an INSERT.) */
#define USER_COLUMNS                                                                               \
    "id, email, name, status, password_hash, CASE WHEN COALESCE(totp_secret, '') = '' THEN 0 "     \
    "ELSE 1 END AS totp_enabled, created_ms AS created_at, last_sign_in_ms AS last_sign_in_at"

struct user_new {
    struct str email, name, role, password; /* role: owner, admin, agent, viewer */
};
/* A user with a password, in the team of *who. INVALID_FIELD names what is wrong; UNIQUE when the
 * e-mail is taken. */
enum err_code user_create(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct user_new *in, struct user *out);
/* A user without a password yet; name may be STR_NONE. Address and name were checked. UNIQUE as
 * above. System scope. */
enum err_code user_add(struct ctx *cx, struct db *db, struct str email, struct str name,
                       struct str password_hash, struct user *out);
enum err_code user_count(struct ctx *cx, struct db *db, int64_t *out);
/* NOT_FOUND is not recorded. System scope. */
enum err_code user_by_email(struct ctx *cx, struct db *db, struct str email, struct user *out);
enum err_code user_by_id(struct ctx *cx, struct db *db, struct str id, struct user *out);
/* INVALID_FIELD (all problems are recorded). */
enum err_code user_check_email(struct ctx *cx, struct str email);
enum err_code user_check_name(struct ctx *cx, struct str name);
enum err_code user_check_password(struct ctx *cx, const char *field, struct str password);
struct str user_email_key(struct arena *a, struct str email); /* as it is kept */

/* Own name. */
enum err_code user_rename(struct ctx *cx, struct db *db, const struct caller *who, struct str name,
                          struct user *out);
/* Sets the hash, ends all sessions but `keep` (may be STR_NONE) and every reset link. `action` goes
 * to the audit log. CONFLICT when the hash is not old_hash any more (STR_NONE: whatever it was).
 * System scope. */
struct user_password {
    struct str user_id, hash, old_hash, keep;
    const char *action; /* "user.password_change" */
};
enum err_code user_set_password(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct user_password *in);
/* Disabling ends sessions and reset links. NOT_FOUND. System scope. */
enum err_code user_set_enabled(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str email, bool is_enabled, struct user *out);
/* The same row in the audit log of each team of the user; before and after may be NULL. System
 * scope. */
struct user_event {
    const char *action;
    struct str user_id;
    const struct user *before, *after;
};
enum err_code user_audit(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct user_event *event);

#endif
