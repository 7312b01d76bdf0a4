/* Users: see user.h. */
#include "user.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../audit.h"
#include "../crm/contact_text.h"

#define U(member) offsetof(struct user, member)
/* clang-format off */
#define FIELD_ID     { "id", F_UUID, U(id), 0, 0, 0, NULL, "User identifier", NULL }
#define FIELD_EMAIL  { "email", F_STR, U(email), 0, 0, 0, NULL, "E-mail address, lower case",      \
                       "\"ann@example.com\"" }
#define FIELD_NAME   { "name", F_STR, U(name), 0, 0, 0, NULL, "Shown name", "\"Ann\"" }
#define FIELD_ROLE   { "role", F_ENUM, U(role), 0, 0, 0, role_words, "Role in the team", NULL }
#define FIELD_STATUS { "status", F_ENUM, U(status), 0, 0, 0, statuses,                             \
                       "A disabled user cannot sign in anywhere", NULL }
#define FIELD_TOTP   { "totp_enabled", F_BOOL, U(totp_enabled), 0, 0, 0, NULL,                     \
                       "A second factor is needed to sign in", NULL }
#define FIELD_MADE   { "created_at", F_TIME, U(created_ms), 0, 0, 0, NULL,                         \
                       "When the user was made", NULL }
#define FIELD_ADDED  { "created_at", F_TIME, U(created_ms), 0, 0, 0, NULL,                         \
                       "When the user was added to the team", NULL }
#define FIELD_SIGNED { "last_sign_in_at", F_TIME, U(last_sign_in_ms), F_NULLABLE, 0, 0, NULL,      \
                       "When the user last signed in with the password", NULL }
/* clang-format on */

static const char *const statuses[] = { "active", "disabled", NULL };
static const struct field user_fields[] = { FIELD_ID,   FIELD_EMAIL, FIELD_NAME,  FIELD_STATUS,
                                            FIELD_TOTP, FIELD_MADE,  FIELD_SIGNED };
const struct rec rec_user = REC("User", struct user, user_fields, "A user.");
static const struct field member_fields[] = {
    FIELD_ID,     FIELD_EMAIL, FIELD_NAME,  FIELD_ROLE,
    FIELD_STATUS, FIELD_TOTP,  FIELD_ADDED, FIELD_SIGNED,
};
const struct rec rec_member = REC("Member", struct user, member_fields, "A user in a team.");
static const struct field member_new_fields[] = {
    FIELD_ID,
    FIELD_EMAIL,
    FIELD_NAME,
    FIELD_ROLE,
    FIELD_STATUS,
    FIELD_TOTP,
    FIELD_ADDED,
    FIELD_SIGNED,
    { "invite_url", F_STR, U(invite_url), F_NULLABLE, 0, 0, NULL,
      "Where the new user sets a password, once and within 7 days; shown only now. null when the "
      "user was known already",
      NULL },
};
const struct rec rec_member_new =
    REC("MemberNew", struct user, member_new_fields, "A user who was added to the team.");
static const struct field row_fields[] = {
    FIELD_ID,
    FIELD_EMAIL,
    FIELD_NAME,
    FIELD_ROLE,
    FIELD_STATUS,
    FIELD_TOTP,
    FIELD_MADE,
    FIELD_SIGNED,
    { .name = "password_hash", .type = F_STR, .offset = U(password_hash), .flags = F_SECRET },
};
const struct rec rec_user_row = REC("UserRow", struct user, row_fields, "A user as it is read.");

/* ---- checks ---- */

struct str user_email_key(struct arena *a, struct str email)
{
    char *p = str_cstr(a, email);
    for (size_t i = 0; i < email.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + 32);
    return (struct str){ p, email.n };
}

enum err_code user_check_email(struct ctx *cx, struct str email)
{
    if (str_is_utf8(email) && email.n <= USER_EMAIL_MAX && email_is_fine(email))
        return ERR_NONE;
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("email"), "email must be an e-mail address");
}

enum err_code user_check_name(struct ctx *cx, struct str name)
{
    bool is_fine = str_is_utf8(name) && str_chars(name) <= USER_NAME_MAX;
    for (size_t i = 0; i < name.n && is_fine; i++)
        is_fine = (unsigned char)name.p[i] >= ' ' && name.p[i] != 0x7f;
    if (is_fine)
        return ERR_NONE;
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("name"),
                          "name must be at most %d characters in one line", USER_NAME_MAX);
}

enum err_code user_check_password(struct ctx *cx, const char *field, struct str password)
{
    if (str_is_utf8(password) && str_chars(password) >= USER_PASSWORD_MIN &&
        str_chars(password) <= USER_PASSWORD_MAX)
        return ERR_NONE;
    return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s must be %d to %d characters",
                          field, USER_PASSWORD_MIN, USER_PASSWORD_MAX);
}

static enum err_code user_check(struct ctx *cx, const struct user_new *in)
{
    user_check_email(cx, in->email);
    user_check_name(cx, in->name);
    if (role_of(in->role) == ROLE_NONE)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("role"),
                       "role must be one of owner, admin, agent, viewer");
    user_check_password(cx, "password", in->password);
    return cx->err;
}

/* ---- making and finding ---- */

enum err_code user_add(struct ctx *cx, struct db *db, struct str email, struct str name,
                       struct str password_hash, struct user *out)
{
    struct str key = user_email_key(&cx->arena, email);
    db_scope_system(db);
    enum err_code e = db_one(
        cx, db, &rec_user_row,
        "INSERT INTO app_user (id, email, name, password_hash, status, created_ms, "
        "updated_ms) VALUES ($1, $2, $3, $4, 'active', $5, $5) ON CONFLICT (email) DO NOTHING "
        "RETURNING " USER_COLUMNS,
        ARGS(VT(uuid7(&cx->arena)), VT(key), VT(name.n ? name : key), VT(password_hash),
             VI(clock_ms())),
        out);
    if (e == ERR_NOT_FOUND)
        return fail(cx, UNIQUE, "a user with the e-mail " STR_FMT " exists already", STR_ARG(key));
    return e;
}

enum err_code user_create(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct user_new *in, struct user *out)
{
    struct user u;
    enum err_code e = user_check(cx, in);
    if (!e)
        e = user_add(cx, db, in->email, in->name, password_hash(&cx->arena, in->password), &u);
    if (!e)
        e = db_run(cx, db,
                   "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                   "VALUES ($1, $2, $3, $4)",
                   ARGS(VT(who->team_id), VT(u.id), VT(in->role), VI(u.created_ms)));
    if (e)
        return e;
    u.role = in->role;
    REC_SET(&u, role);
    caller_scope(db, who);
    e = audit_write(cx, db, who,
                    &(struct audit_entry){ "user.create", "user", u.id, STR_NONE,
                                           audit_json(cx, &rec_member, &u) });
    if (!e)
        *out = u;
    return e;
}

enum err_code user_count(struct ctx *cx, struct db *db, int64_t *out)
{
    struct rec_num n;
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM app_user", NO_ARGS, &n);
    if (!e)
        *out = n.n;
    return e;
}

enum err_code user_by_email(struct ctx *cx, struct db *db, struct str email, struct user *out)
{
    db_scope_system(db);
    return db_one(cx, db, &rec_user_row, "SELECT " USER_COLUMNS " FROM app_user WHERE email = $1",
                  ARGS(VT(user_email_key(&cx->arena, email))), out);
}

enum err_code user_by_id(struct ctx *cx, struct db *db, struct str id, struct user *out)
{
    db_scope_system(db);
    return db_one(cx, db, &rec_user_row, "SELECT " USER_COLUMNS " FROM app_user WHERE id = $1",
                  ARGS(VT(id)), out);
}

/* ---- changing ---- */

enum err_code user_audit(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct user_event *event)
{
    struct list teams;
    db_scope_system(db);
    enum err_code e = db_list(cx, db, &rec_text,
                              "SELECT team_id AS s FROM team_member WHERE user_id = $1 "
                              "ORDER BY team_id",
                              ARGS(VT(event->user_id)), &teams);
    const struct rec_text *v = teams.v;
    for (size_t i = 0; !e && i < teams.n; i++) {
        struct caller there = *who;
        there.team_id = v[i].s;
        caller_scope(db, &there);
        e = audit_write(cx, db, &there,
                        &(struct audit_entry){ event->action, "user", event->user_id,
                                               audit_json(cx, &rec_user, event->before),
                                               audit_json(cx, &rec_user, event->after) });
    }
    db_scope_system(db);
    return e;
}

enum err_code user_rename(struct ctx *cx, struct db *db, const struct caller *who, struct str name,
                          struct user *out)
{
    struct user was;
    enum err_code e = user_by_id(cx, db, who->user_id, &was);
    if (!e)
        e = db_one(cx, db, &rec_user_row,
                   "UPDATE app_user SET name = $2, updated_ms = $3 WHERE id = $1 "
                   "RETURNING " USER_COLUMNS,
                   ARGS(VT(was.id), VT(name), VI(clock_ms())), out);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "The user does not exist any more");
    return e ? e
             : user_audit(cx, db, who, &(struct user_event){ "user.update", was.id, &was, out });
}

static enum err_code end_access(struct ctx *cx, struct db *db, struct str user_id, struct str keep)
{
    enum err_code e = db_run(cx, db, "DELETE FROM user_session WHERE user_id = $1 AND id <> $2",
                             ARGS(VT(user_id), VT(keep.p ? keep : STR(""))));
    return e ? e
             : db_run(cx, db, "DELETE FROM password_reset WHERE user_id = $1", ARGS(VT(user_id)));
}

enum err_code user_set_password(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct user_password *in)
{
    struct rec_num done;
    db_scope_system(db);
    enum err_code e =
        db_one(cx, db, &rec_num,
               "UPDATE app_user SET password_hash = $2, updated_ms = $3 WHERE id = $1 AND status = "
               "'active' AND (CAST($4 AS TEXT) IS NULL OR password_hash = $4) RETURNING 1 AS n",
               ARGS(VT(in->user_id), VT(in->hash), VI(clock_ms()), VT(in->old_hash)), &done);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The password was changed meanwhile");
    if (!e)
        e = end_access(cx, db, in->user_id, in->keep);
    return e ? e
             : user_audit(cx, db, who, &(struct user_event){ in->action, in->user_id, NULL, NULL });
}

enum err_code user_set_enabled(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str email, bool is_enabled, struct user *out)
{
    struct user was;
    enum err_code e = user_by_email(cx, db, email, &was);
    if (!e)
        e = db_one(
            cx, db, &rec_user_row,
            "UPDATE app_user SET status = $2, updated_ms = $3 WHERE id = $1 "
            "RETURNING " USER_COLUMNS,
            ARGS(VT(was.id), VT(is_enabled ? STR("active") : STR("disabled")), VI(clock_ms())),
            out);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "there is no user " STR_FMT, STR_ARG(email));
    if (!e && !is_enabled)
        e = end_access(cx, db, was.id, STR_NONE);
    return e ? e
             : user_audit(cx, db, who,
                          &(struct user_event){ is_enabled ? "user.enable" : "user.disable", was.id,
                                                &was, out });
}
