/* From a stored id to a caller: see subject.h. Ids are UUIDs, so one names a key or a user, never
 * both. */
#include "subject.h"

#include "../base/clock.h"
#include "people/user.h"

struct found {
    struct rec_bits bits;
    struct str name, email, scopes, role;
};
#define AT(member) offsetof(struct found, member)
static const struct field found_fields[] = {
    { .name = "name", .type = F_STR, .offset = AT(name) },
    { .name = "email", .type = F_STR, .offset = AT(email) },
    { .name = "scopes", .type = F_STR, .offset = AT(scopes) },
    { .name = "role", .type = F_STR, .offset = AT(role) },
};
static const struct rec rec_found = REC("Subject", struct found, found_fields, "A key or a user.");

#define SQL_KEY                                                                                    \
    "SELECT k.name AS name, k.scopes AS scopes FROM integration_tokens k JOIN team t ON "          \
    "t.id = k.team_id WHERE k.team_id = $1 AND k.id = $2 AND k.status = 'active' AND "             \
    "(k.expires_ms IS NULL OR k.expires_ms > $3) AND t.deleted_ms IS NULL"
#define SQL_USER                                                                                   \
    "SELECT u.name AS name, u.email AS email, m.role AS role FROM team_member m JOIN app_user u "  \
    "ON u.id = m.user_id JOIN team t ON t.id = m.team_id WHERE m.team_id = $1 AND "                \
    "m.user_id = $2 AND u.status = 'active' AND t.deleted_ms IS NULL"

enum err_code subject_load(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                           struct caller *out)
{
    struct found f;
    struct caller who = { .team_id = team_id, .ip = STR(""), .agent = STR("") };
    enum err_code e = db_one(cx, db, &rec_found, SQL_KEY,
                             ARGS(VT(team_id), VT(id.p ? id : STR("")), VI(clock_ms())), &f);
    if (!e) {
        who.token_id = id;
        who.token_name = f.name;
        who.scopes = scopes_of_json(f.scopes);
        *out = who;
    }
    if (e != ERR_NOT_FOUND)
        return e;
    e = db_one(cx, db, &rec_found, SQL_USER, ARGS(VT(team_id), VT(id.p ? id : STR(""))), &f);
    if (e)
        return e;
    who.user_id = id;
    who.user_name = f.name;
    who.user_email = f.email;
    who.role = role_of(f.role);
    who.scopes = role_actions(who.role);
    *out = who;
    return ERR_NONE;
}

enum err_code subject_is_member(struct ctx *cx, struct db *db, struct str team_id, struct str email,
                                bool *out)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT 1 AS n FROM team_member m JOIN app_user u ON u.id = m.user_id "
                             "WHERE m.team_id = $1 AND u.email = $2 AND u.status = 'active'",
                             ARGS(VT(team_id), VT(user_email_key(&cx->arena, email))), &n);
    *out = !e;
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}
