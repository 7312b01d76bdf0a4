/* Teams: see team.h. */
#include "team.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../audit.h"
#include "../ticket.h"
#include "../token.h"
#include "user.h"

#define COLUMNS "id, slug, name, version, created_ms AS created_at, updated_ms AS updated_at"
#define COLUMNS_OF_MEMBER                                                                          \
    "t.id AS id, t.slug AS slug, t.name AS name, m.role AS role, t.version AS version, "           \
    "t.created_ms AS created_at, t.updated_ms AS updated_at"
#define SLUG_TRIES 4

#define AT(member) offsetof(struct team, member)
static const struct field team_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Team identifier", NULL },
    { "slug", F_STR, AT(slug), 0, 0, 0, NULL, "Short name; Tessera-Team takes it too",
      "\"support\"" },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name", "\"Support\"" },
    { "role", F_ENUM, AT(role), F_NULLABLE, 0, 0, role_words,
      "Your role in it; null for an API key", NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was made", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
};
const struct rec rec_team =
    REC("Team", struct team, team_fields, "People and what they work on, apart from other teams.");

#define IN(member) offsetof(struct team_new, member)
static const struct field new_fields[] = {
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, TEAM_NAME_MAX, NULL, "Name",
      "\"Support\"" },
    { "slug", F_STR, IN(slug), F_SINGLE_LINE, TEAM_SLUG_MIN, TEAM_SLUG_MAX, NULL,
      "Short name, unique on the server: a–z, 0–9 and hyphens inside (default: from the name)",
      "\"support\"" },
};
const struct rec rec_team_new = REC("TeamNew", struct team_new, new_fields, "A team to create.");
const struct rec rec_team_patch =
    REC("TeamPatch", struct team_new, new_fields, "Changes to a team (JSON merge patch).");

/* ---- slugs ---- */

static bool is_slug_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static enum err_code check_slug(struct ctx *cx, struct str s)
{
    bool is_fine = s.n >= TEAM_SLUG_MIN && s.n <= TEAM_SLUG_MAX && is_slug_char(s.p[0]) &&
                   is_slug_char(s.p[s.n - 1]) && !uuid_is_valid(s);
    for (size_t i = 0; i < s.n && is_fine; i++)
        is_fine = is_slug_char(s.p[i]) || s.p[i] == '-';
    return is_fine ? ERR_NONE
                   : ctx_fail_field(cx, ERR_INVALID_FIELD, STR("slug"),
                                    "slug must be %d to %d of a–z, 0–9 and hyphens inside",
                                    TEAM_SLUG_MIN, TEAM_SLUG_MAX);
}

static enum err_code slug_is_taken(struct ctx *cx, struct str slug)
{
    ctx_clear(cx);
    return fail(cx, UNIQUE, "There is a team with the slug " STR_FMT " already", STR_ARG(slug));
}

/* "Customer Care (EU)" → "customer-care-eu"; room is left for a suffix. */
static struct str slug_of(struct ctx *cx, struct str name, bool has_suffix)
{
    struct buf b;
    unsigned char raw[3];
    buf_init(&b, &cx->arena, TEAM_SLUG_MAX);
    for (size_t i = 0; i < name.n && b.n < TEAM_SLUG_MAX - 7; i++) {
        char c = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
        if (is_slug_char(c))
            buf_char(&b, c);
        else if (b.n && b.p[b.n - 1] != '-')
            buf_char(&b, '-');
    }
    while (b.n && b.p[b.n - 1] == '-')
        b.n--;
    if (b.n < TEAM_SLUG_MIN) {
        buf_reset(&b);
        buf_lit(&b, "team");
        has_suffix = true;
    }
    crypt_random(raw, sizeof raw);
    if (has_suffix)
        buf_printf(&b, "-%02x%02x%02x", raw[0], raw[1], raw[2]);
    return str_dup(&cx->arena, buf_view(&b));
}

/* ---- creating ---- */

static enum err_code insert(struct ctx *cx, struct db *db, struct str name, struct str slug,
                            struct team *out)
{
    return db_one(cx, db, &rec_team,
                  "INSERT INTO team (id, slug, name, created_ms, updated_ms) "
                  "VALUES ($1, $2, $3, $4, $4) ON CONFLICT (slug) DO NOTHING RETURNING " COLUMNS,
                  ARGS(VT(uuid7(&cx->arena)), VT(slug), VT(name), VI(clock_ms())), out);
}

static enum err_code insert_with_slug(struct ctx *cx, struct db *db, const struct team_new *in,
                                      struct team *out)
{
    enum err_code e = ERR_NOT_FOUND; /* the slug was taken */
    if (in->slug.p) {
        e = insert(cx, db, in->name, in->slug, out);
        return e == ERR_NOT_FOUND ? slug_is_taken(cx, in->slug) : e;
    }
    for (int i = 0; i < SLUG_TRIES && e == ERR_NOT_FOUND; i++)
        e = insert(cx, db, in->name, slug_of(cx, in->name, i > 0), out);
    return e == ERR_NOT_FOUND ? fail(cx, UNAVAILABLE, "No slug was free; name one") : e;
}

static enum err_code add_owner(struct ctx *cx, struct db *db, struct str team_id,
                               struct str owner_id)
{
    struct rec_num n;
    enum err_code e =
        db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM team_member WHERE user_id = $1",
               ARGS(VT(owner_id)), &n);
    if (!e && n.n >= TEAMS_OF_USER_MAX)
        return fail(cx, CONFLICT, "A user can be in %d teams at most", TEAMS_OF_USER_MAX);
    return e ? e
             : db_run(cx, db,
                      "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                      "VALUES ($1, $2, 'owner', $3)",
                      ARGS(VT(team_id), VT(owner_id), VI(clock_ms())));
}

enum err_code team_create(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct team_new *in, struct str owner_id, struct team *out)
{
    struct caller there = *who;
    enum err_code e = in->slug.p ? check_slug(cx, in->slug) : ERR_NONE;
    if (e)
        return e;
    db_scope_system(db);
    e = insert_with_slug(cx, db, in, out);
    if (!e && owner_id.p)
        e = add_owner(cx, db, out->id, owner_id);
    if (e)
        return e;
    if (owner_id.p) {
        out->role = STR("owner");
        REC_SET(out, role);
    }
    there.team_id = out->id;
    caller_scope(db, &there);
    return audit_write(cx, db, &there,
                       &(struct audit_entry){ "team.create", "team", out->id, STR_NONE,
                                              audit_json(cx, &rec_team, out) });
}

enum err_code team_user_by_email(struct ctx *cx, struct db *db, struct str email, struct str *id)
{
    struct user u;
    enum err_code e = user_by_email(cx, db, user_email_key(&cx->arena, email), &u);
    if (e == ERR_NOT_FOUND || (!e && !str_eq(u.status, STR("active"))))
        return fail(cx, NOT_FOUND, "there is no active user " STR_FMT, STR_ARG(email));
    if (!e)
        *id = u.id;
    return e;
}

/* ---- reading ---- */

enum err_code team_list_all(struct ctx *cx, struct db *db, struct list *out)
{
    db_scope_system(db);
    return db_list(cx, db, &rec_team,
                   "SELECT " COLUMNS " FROM team WHERE deleted_ms IS NULL ORDER BY id", NO_ARGS,
                   out);
}

enum err_code team_list(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct list_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from of_user = {
        .r = &rec_team,
        .kind = "teams:user",
        .columns = COLUMNS_OF_MEMBER,
        .table = "team_member m JOIN team t ON t.id = m.team_id",
        .id = "t.id",
        .id_at = offsetof(struct team, id)
    };
    static const struct listing_from of_key = { .r = &rec_team,
                                                .kind = "teams:key",
                                                .columns = COLUMNS,
                                                .table = "team",
                                                .id = "id",
                                                .id_at = offsetof(struct team, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    bool is_user = who->user_id.p;
    db_scope_system(db); /* a user's teams, not only the one that the request names */
    if (is_user)
        listing_init(&l, cx, " WHERE t.deleted_ms IS NULL AND m.user_id = ", VT(who->user_id));
    else
        listing_init(&l, cx, " WHERE deleted_ms IS NULL AND id = ", VT(who->team_id));
    return listing_page(&l, db, is_user ? &of_user : &of_key, &ask, out);
}

static void put_role(const struct caller *who, struct team *t)
{
    if (!who->user_id.p || who->role == ROLE_NONE)
        return;
    t->role = role_word(who->role);
    REC_SET(t, role);
}

enum err_code team_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                       struct team *out)
{
    enum err_code e = path_id(cx, "team_id", &id);
    if (e)
        return e;
    e = !str_eq(id, who->team_id)
            ? ERR_NOT_FOUND
            : db_one(cx, db, &rec_team,
                     "SELECT " COLUMNS " FROM team WHERE id = $1 AND deleted_ms IS NULL",
                     ARGS(VT(id)), out);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Team not found; it is not the one this request acts in");
    if (!e)
        put_role(who, out);
    return e;
}

/* ---- changing ---- */

static enum err_code check_version(struct ctx *cx, const struct team *t,
                                   const struct versions *allowed)
{
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == t->version;
    return is_fine ? ERR_NONE
                   : fail(cx, PRECONDITION_FAILED, "The team is at version %lld now",
                          (long long)t->version);
}

static enum err_code changed_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The team was changed by another request; read it again");
}

enum err_code team_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct team_new *patch, const struct versions *allowed,
                          struct team *out)
{
    struct team was;
    enum err_code e = team_get(cx, db, who, id, &was);
    if (!e)
        e = check_version(cx, &was, allowed);
    if (!e && REC_HAS(patch, slug))
        e = check_slug(cx, patch->slug);
    if (e)
        return e;
    struct str name = REC_HAS(patch, name) ? patch->name : was.name;
    struct str slug = REC_HAS(patch, slug) ? patch->slug : was.slug;
    int64_t ms = clock_ms();
    e = db_one(cx, db, &rec_team,
               "UPDATE team SET name = $2, slug = $3, version = version + 1, updated_ms = $4 "
               "WHERE id = $1 AND version = $5 AND deleted_ms IS NULL RETURNING " COLUMNS,
               ARGS(VT(was.id), VT(name), VT(slug), VI(ms > was.updated_ms ? ms : was.updated_ms),
                    VI(was.version)),
               out);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    if (e == ERR_UNIQUE)
        return slug_is_taken(cx, slug);
    if (e)
        return e;
    put_role(who, out);
    return audit_write(cx, db, who,
                       &(struct audit_entry){ "team.update", "team", out->id,
                                              audit_json(cx, &rec_team, &was),
                                              audit_json(cx, &rec_team, out) });
}

struct content { /* what keeps a team from being deleted */
    const char *noun;
    const char *sql; /* $1 = the team */
};
static const struct content contents[] = {
    { "tickets", "SELECT 1 AS n FROM tickets WHERE team_id = $1 AND deleted_ms IS NULL LIMIT 1" },
    { "API keys",
      "SELECT 1 AS n FROM integration_tokens WHERE team_id = $1 AND status <> 'deleted' LIMIT 1" },
    { "contacts", "SELECT 1 AS n FROM contact WHERE team_id = $1 AND deleted_ms IS NULL LIMIT 1" },
    { "agents", "SELECT 1 AS n FROM agent WHERE team_id = $1 AND deleted_ms IS NULL LIMIT 1" },
};

static enum err_code must_be_empty(struct ctx *cx, struct db *db, struct str id)
{
    struct rec_num one;
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        enum err_code e = db_one(cx, db, &rec_num, contents[i].sql, ARGS(VT(id)), &one);
        if (!e)
            return fail(cx, CONFLICT, "The team has %s; delete them first", contents[i].noun);
        if (e != ERR_NOT_FOUND)
            return e;
    }
    return ERR_NONE;
}

enum err_code team_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct versions *allowed)
{
    struct team was;
    struct rec_num gone;
    enum err_code e = team_get(cx, db, who, id, &was);
    if (!e)
        e = check_version(cx, &was, allowed);
    if (!e && str_eq(was.id, STR(TEAM_DEFAULT)))
        e = fail(cx, CONFLICT, "The default team cannot be deleted");
    if (!e)
        e = must_be_empty(cx, db, was.id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "UPDATE team SET deleted_ms = $2, updated_ms = $2, slug = $3, version = version + 1 "
               "WHERE id = $1 AND version = $4 AND deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(was.id), VI(clock_ms()),
                    VT(str_printf(&cx->arena, "!" STR_FMT, STR_ARG(was.id))), VI(was.version)),
               &gone);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    if (!e)
        e = db_run(cx, db, "DELETE FROM team_member WHERE team_id = $1", ARGS(VT(was.id)));
    return e ? e
             : audit_write(cx, db, who,
                           &(struct audit_entry){ "team.delete", "team", was.id,
                                                  audit_json(cx, &rec_team, &was), STR_NONE });
}
