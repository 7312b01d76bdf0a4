/* Users: see user.h. E-mails are compared in lower case. */
#include "user.h"

#include "../base/clock.h"
#include "../base/crypt.h"

#define U(member) offsetof(struct user, member)
static const char *const roles[] = { "owner", "admin", "agent", "viewer", NULL };
static const struct field user_fields[] = {
    { "id", F_UUID, U(id), 0, 0, 0, NULL, "User identifier", NULL },
    { "email", F_STR, U(email), 0, 0, 0, NULL, "E-mail address", NULL },
    { "name", F_STR, U(name), 0, 0, 0, NULL, "Shown name", NULL },
    { "role", F_ENUM, U(role), 0, 0, 0, roles, "Role in the team", NULL },
    { "password_hash", F_STR, U(password_hash), F_SECRET, 0, 0, NULL, "Argon2id hash", NULL },
    { "created_at", F_TIME, U(created_ms), 0, 0, 0, NULL, "When the user was made", NULL },
};
const struct rec rec_user = REC("User", struct user, user_fields, "A user.");

static bool email_is_plausible(struct str s)
{
    struct str rest = s;
    struct str local = str_cut(&rest, '@');
    if (!local.n || !rest.n || s.n > 254)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    struct str more = rest;
    str_cut(&more, '@');
    return !more.p;
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = str_cstr(a, s);
    for (size_t i = 0; i < s.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + 32);
    return (struct str){ p, s.n };
}

static enum err_code user_check(struct ctx *cx, const struct user_new *in)
{
    bool is_role = false;
    for (int i = 0; roles[i]; i++)
        is_role |= str_eq(in->role, str_of(roles[i]));
    if (!str_is_utf8(in->email) || !email_is_plausible(in->email))
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("email"), "email must be an e-mail address");
    if (!str_is_utf8(in->name) || str_chars(in->name) > 200)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("name"), "name must be at most 200 characters");
    if (!is_role)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("role"),
                       "role must be one of owner, admin, agent, viewer");
    if (!str_is_utf8(in->password) || str_chars(in->password) < USER_PASSWORD_MIN ||
        in->password.n > 1000)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("password"),
                       "password must be %d to 1000 characters", USER_PASSWORD_MIN);
    return cx->err;
}

enum err_code user_create(struct ctx *cx, struct db *db, struct str team_id,
                          const struct user_new *in, struct user *out)
{
    struct rec_text made;
    enum err_code e = user_check(cx, in);
    if (e)
        return e;
    struct user u = {
        .bits.has = ~UINT64_C(0),
        .id = uuid7(&cx->arena),
        .team_id = team_id,
        .email = lower(&cx->arena, in->email),
        .name = in->name.n ? in->name : in->email,
        .role = in->role,
        .password_hash = password_hash(&cx->arena, in->password),
        .created_ms = clock_ms(),
    };
    db_scope(db, team_id, STR(""));
    e = db_one(
        cx, db, &rec_text,
        "INSERT INTO user_account (team_id, id, email, name, role, password_hash, created_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id AS s",
        ARGS(VT(team_id), VT(u.id), VT(u.email), VT(u.name), VT(u.role), VT(u.password_hash),
             VI(u.created_ms)),
        &made);
    if (e == ERR_UNIQUE) {
        ctx_clear(cx);
        return fail(cx, UNIQUE, "a user with the e-mail " STR_FMT " exists already",
                    STR_ARG(u.email));
    }
    if (!e)
        *out = u;
    return e;
}

enum err_code user_count(struct ctx *cx, struct db *db, int64_t *out)
{
    struct rec_num n;
    db_scope_system(db);
    enum err_code e =
        db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM user_account", NO_ARGS, &n);
    if (!e)
        *out = n.n;
    return e;
}
