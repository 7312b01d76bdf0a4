/* Users who administer: rows with an e-mail, a role and an Argon2id password hash. Owner of table
 * user_account. */
#ifndef TESSERA_CORE_USER_H
#define TESSERA_CORE_USER_H

#include "../store/store.h"

#define USER_PASSWORD_MIN 12 /* characters */

struct user {
    struct rec_bits bits;
    struct str id, team_id, email, name, role;
    struct str password_hash; /* secret */
    int64_t created_ms;
};
extern const struct rec rec_user;

struct user_new {
    struct str email, name, role, password; /* role: owner, admin, agent, viewer */
};
/* INVALID_FIELD names what is wrong; UNIQUE when the e-mail is taken. In a unit of work. */
enum err_code user_create(struct ctx *cx, struct db *db, struct str team_id,
                          const struct user_new *in, struct user *out);
enum err_code user_count(struct ctx *cx, struct db *db, int64_t *out);

#endif
