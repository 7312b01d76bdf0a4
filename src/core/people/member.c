/* Memberships: see member.h. */
#include "member.h"

#include "../../base/clock.h"
#include "../audit.h"
#include "reset.h"
#include "team.h"

#define COLUMNS                                                                                    \
    "u.id AS id, u.email AS email, u.name AS name, m.role AS role, u.status AS status, CASE WHEN " \
    "COALESCE(u.totp_secret, '') = '' THEN 0 ELSE 1 END AS totp_enabled, m.created_ms AS "         \
    "created_at, u.last_sign_in_ms AS last_sign_in_at"
#define TABLES "team_member m JOIN app_user u ON u.id = m.user_id"
#define LISTED_MAX 10000

#define Q(member) offsetof(struct member_query, member)
static const struct field query_fields[] = {
    { "q", F_STR, Q(q), 0, 1, 200, NULL, "Part of the name or the e-mail address", NULL },
    { "role", F_ENUM, Q(role), 0, 0, 0, role_words, "Only this role", NULL },
    LISTING_QUERY_ROWS(struct member_query),
};
const struct rec rec_member_query =
    REC("MemberQuery", struct member_query, query_fields, "Filters of the list of users.");

#define IN(member) offsetof(struct member_new, member)
static const struct field new_fields[] = {
    { "email", F_STR, IN(email), F_REQUIRED | F_SINGLE_LINE, 3, USER_EMAIL_MAX, NULL,
      "E-mail address", "\"ann@example.com\"" },
    { "name", F_STR, IN(name), F_SINGLE_LINE, 1, USER_NAME_MAX, NULL,
      "Shown name of a new user (default: the address)", "\"Ann\"" },
    { "role", F_ENUM, IN(role), F_REQUIRED, 0, 0, role_words, "Role in the team", "\"agent\"" },
};
const struct rec rec_member_body =
    REC("MemberAdd", struct member_new, new_fields, "A user to add to the team.");
static const struct field patch_fields[] = {
    { "role", F_ENUM, offsetof(struct member_patch, role), F_REQUIRED, 0, 0, role_words,
      "Role in the team", "\"admin\"" },
};
const struct rec rec_member_patch =
    REC("MemberPatch", struct member_patch, patch_fields, "Changes to a user in the team.");

/* ---- reading ---- */

static enum err_code find(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct user *out)
{
    enum err_code e =
        db_one(cx, db, &rec_user_row,
               "SELECT " COLUMNS " FROM " TABLES " WHERE m.team_id = $1 AND m.user_id = $2",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "User not found in this team") : e;
}

enum err_code member_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct user *out)
{
    enum err_code e = path_id(cx, "user_id", &id);
    return e ? e : find(cx, db, who, id, out);
}

enum err_code member_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct member_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_user_row,
                                              .kind = "users",
                                              .columns = COLUMNS,
                                              .table = TABLES,
                                              .id = "m.user_id",
                                              .id_at = offsetof(struct user, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE m.team_id = ", VT(who->team_id));
    if (REC_HAS(in, role))
        listing_and(&l, " AND m.role = ", VT(in->role), "");
    if (REC_HAS(in, q)) {
        int n = listing_bind(&l, VT(listing_like(cx, user_email_key(&cx->arena, in->q))));
        buf_printf(&l.sql,
                   " AND (lower(u.name) LIKE $%d ESCAPE '\\' OR u.email LIKE $%d ESCAPE '\\')", n,
                   n);
    }
    return listing_page(&l, db, &from, &ask, out);
}

enum err_code member_team(struct ctx *cx, struct db *db, struct str slug, struct str *team_id)
{
    struct rec_text found;
    db_scope_system(db);
    enum err_code e =
        db_one(cx, db, &rec_text,
               "SELECT id AS s FROM team WHERE (slug = $1 OR id = $1) AND deleted_ms IS NULL",
               ARGS(VT(slug)), &found);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "there is no team " STR_FMT, STR_ARG(slug));
    if (!e)
        *team_id = found.s;
    return e;
}

enum err_code member_list_all(struct ctx *cx, struct db *db, struct list *out)
{
    db_scope_system(db);
    return db_list(cx, db, &rec_user_row,
                   "SELECT " USER_COLUMNS " FROM app_user ORDER BY id LIMIT $1",
                   ARGS(VI(LISTED_MAX)), out);
}

/* ---- rules ---- */

/* Takes the turn among the changes of this team's members, then says what the caller may do now. */
static enum err_code begin(struct ctx *cx, struct db *db, const struct caller *who, enum role *rank)
{
    struct rec_num one;
    struct rec_text role;
    enum err_code e = db_one(cx, db, &rec_num,
                             "UPDATE team SET updated_ms = updated_ms WHERE id = $1 AND deleted_ms "
                             "IS NULL RETURNING 1 AS n",
                             ARGS(VT(who->team_id)), &one);
    if (e)
        return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "The team does not exist any more") : e;
    *rank =
        who->token_id.p && !scope_granted(who->scopes, SCOPE(ADMIN_FULL)) ? ROLE_ADMIN : ROLE_OWNER;
    if (who->token_id.p || !who->user_id.p)
        return ERR_NONE;
    e = db_one(cx, db, &rec_text,
               "SELECT role AS s FROM team_member WHERE team_id = $1 AND user_id = $2",
               ARGS(VT(who->team_id), VT(who->user_id)), &role);
    if (e && e != ERR_NOT_FOUND)
        return e;
    *rank = e ? ROLE_NONE : role_of(role.s);
    if (*rank < role_least(SCOPE(USERS_MANAGE)))
        return ctx_fail_plain(cx, ERR_INSUFFICIENT_ROLE);
    return ERR_NONE;
}

static enum err_code may_touch(struct ctx *cx, enum role rank, struct str role)
{
    if (role_of(role) <= rank)
        return ERR_NONE;
    return fail(cx, INSUFFICIENT_ROLE,
                "Your role is " STR_FMT "; the role " STR_FMT " is not yours to give or take",
                STR_ARG(role_word(rank)), STR_ARG(role));
}

/* The team must have an active owner without this one. */
static enum err_code must_have_other_owner(struct ctx *cx, struct db *db, const struct caller *who,
                                           const struct user *u)
{
    struct rec_num n;
    if (role_of(u->role) != ROLE_OWNER)
        return ERR_NONE;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COUNT(*) AS n FROM " TABLES " WHERE m.team_id = $1 AND "
                             "m.user_id <> $2 AND m.role = 'owner' AND u.status = 'active'",
                             ARGS(VT(who->team_id), VT(u->id)), &n);
    if (!e && !n.n)
        return fail(cx, CONFLICT, "The last owner of a team can be neither removed nor demoted");
    return e;
}

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, const struct user *before, const struct user *after)
{
    caller_scope(db, who);
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "user", before ? before->id : after->id,
                                              audit_json(cx, &rec_member, before),
                                              audit_json(cx, &rec_member, after) });
}

/* ---- changing ---- */

static enum err_code join_team(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str role, struct user *u)
{
    struct rec_num n;
    int64_t now = clock_ms();
    enum err_code e =
        db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM team_member WHERE user_id = $1",
               ARGS(VT(u->id)), &n);
    if (!e && n.n >= TEAMS_OF_USER_MAX)
        return fail(cx, CONFLICT, "A user can be in %d teams at most", TEAMS_OF_USER_MAX);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "INSERT INTO team_member (team_id, user_id, role, created_ms) VALUES ($1, $2, "
                   "$3, $4) ON CONFLICT (team_id, user_id) DO NOTHING RETURNING 1 AS n",
                   ARGS(VT(who->team_id), VT(u->id), VT(role), VI(now)), &n);
    if (e == ERR_NOT_FOUND)
        return fail(cx, UNIQUE, "The user is in this team already");
    u->role = role;
    u->created_ms = now;
    REC_SET(u, role);
    return e;
}

enum err_code member_add(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct member_new *in, struct user *out, struct str *token)
{
    enum role rank;
    struct user u;
    struct str made = STR_NONE;
    enum err_code e = user_check_email(cx, in->email);
    if (!e)
        e = begin(cx, db, who, &rank);
    if (!e)
        e = may_touch(cx, rank, in->role);
    if (e)
        return e;
    e = user_by_email(cx, db, in->email, &u);
    bool is_new = e == ERR_NOT_FOUND;
    if (is_new)
        e = user_add(cx, db, in->email, in->name, STR_NONE, &u);
    if (!e)
        e = join_team(cx, db, who, in->role, &u);
    if (!e && is_new)
        e = reset_issue(cx, db, u.id, RESET_INVITE, &made);
    if (!e)
        e = audit(cx, db, who, is_new ? "user.invite" : "user.add", NULL, &u);
    caller_scope(db, who);
    if (e)
        return e;
    *out = u;
    *token = made;
    return ERR_NONE;
}

enum err_code member_set_role(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, struct str role, struct user *out)
{
    enum role rank;
    struct user was, now;
    struct rec_num done;
    enum err_code e = path_id(cx, "user_id", &id);
    if (!e)
        e = begin(cx, db, who, &rank);
    if (!e)
        e = find(cx, db, who, id, &was);
    if (!e)
        e = may_touch(cx, rank, was.role);
    if (!e)
        e = may_touch(cx, rank, role);
    if (!e && role_of(role) != ROLE_OWNER)
        e = must_have_other_owner(cx, db, who, &was);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "UPDATE team_member SET role = $3 WHERE team_id = $1 AND user_id = $2 "
                   "RETURNING 1 AS n",
                   ARGS(VT(who->team_id), VT(was.id), VT(role)), &done);
    if (e)
        return e;
    now = was;
    now.role = role;
    *out = now;
    return str_eq(was.role, role) ? ERR_NONE : audit(cx, db, who, "user.role", &was, &now);
}

enum err_code member_remove(struct ctx *cx, struct db *db, const struct caller *who, struct str id)
{
    enum role rank;
    struct user was;
    enum err_code e = path_id(cx, "user_id", &id);
    if (!e)
        e = begin(cx, db, who, &rank);
    if (!e)
        e = find(cx, db, who, id, &was);
    if (!e)
        e = may_touch(cx, rank, was.role);
    if (!e)
        e = must_have_other_owner(cx, db, who, &was);
    if (!e)
        e = db_run(cx, db, "DELETE FROM team_member WHERE team_id = $1 AND user_id = $2",
                   ARGS(VT(who->team_id), VT(was.id)));
    return e ? e : audit(cx, db, who, "user.remove", &was, NULL);
}
