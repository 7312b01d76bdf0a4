/* Agents: see agent.h. A change is one UPDATE … RETURNING guarded by the version that was read. */
#include "agent.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../audit.h"
#include "../ticket.h"
#include "contact_text.h"
#include "metadata.h"
#include "side.h"
#include "tag.h"

#define COLUMNS                                                                                    \
    "id, kind, user_id, name, email, teams, skills, availability, status, max_open, metadata, "    \
    "version, created_ms AS created_at, updated_ms AS updated_at"

static const struct side side_team = SIDE("agent_team", "team", "agent_id");
static const struct side side_skill = SIDE("agent_skill", "skill", "agent_id");

struct agent_keys {
    struct keys teams, skills;
};

/* ---- checks ---- */

/* The rules of tags; a problem is told of the field. */
static enum err_code clean_words(struct ctx *cx, const char *field, struct str *json,
                                 struct keys *out)
{
    struct tags t;
    if (tags_clean(cx, *json, &t)) {
        if (cx->err != ERR_INVALID_FIELD)
            return cx->err;
        ctx_clear(cx);
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field),
                              "%s must have 1 to %d characters each, no control characters", field,
                              TAG_MAX);
    }
    *json = t.json;
    out->n = 0;
    for (size_t i = 0; i < t.n; i++)
        keys_add(out, t.folded[i]);
    return ERR_NONE;
}

static enum err_code clean(struct ctx *cx, struct agent *a, struct agent_keys *out)
{
    enum err_code e = clean_words(cx, "teams", &a->teams, &out->teams);
    if (!e)
        e = clean_words(cx, "skills", &a->skills, &out->skills);
    if (!e && a->email.p && !email_is_fine(a->email))
        e = ctx_fail_field(cx, ERR_INVALID_FIELD, STR("email"), "email must be an e-mail address");
    return e;
}

static enum err_code check_user(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct agent_new *in)
{
    struct rec_num n;
    bool is_user = str_eq(in->kind, STR("user"));
    if (is_user && !in->user_id.p)
        return ctx_fail_field(cx, ERR_MISSING_FIELD, STR("user_id"),
                              "user_id is required when kind is user");
    if (!is_user && in->user_id.p)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("user_id"), "a bot has no user_id");
    if (!is_user)
        return ERR_NONE;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT 1 AS n FROM team_member WHERE team_id = $1 AND user_id = $2",
                             ARGS(VT(who->team_id), VT(in->user_id)), &n);
    return e == ERR_NOT_FOUND ? ctx_fail_field(cx, ERR_INVALID_FIELD, STR("user_id"),
                                               "user_id must be a user of this team")
                              : e;
}

static enum err_code check_version(struct ctx *cx, const struct agent *a,
                                   const struct versions *allowed)
{
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == a->version;
    return is_fine ? ERR_NONE
                   : fail(cx, PRECONDITION_FAILED, "The agent is at version %lld now",
                          (long long)a->version);
}

/* ---- storing ---- */

static enum err_code sides(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                           const struct agent_keys *old, const struct agent_keys *now)
{
    const struct side_change changes[] = {
        { &side_team, who->team_id, id, old ? &old->teams : NULL, now ? &now->teams : NULL },
        { &side_skill, who->team_id, id, old ? &old->skills : NULL, now ? &now->skills : NULL },
    };
    enum err_code e = side_apply(cx, db, &changes[0]);
    return e ? e : side_apply(cx, db, &changes[1]);
}

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, const struct agent *before,
                           const struct agent *after)
{
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "agent", before ? before->id : after->id,
                                              audit_json(cx, &rec_agent, before),
                                              audit_json(cx, &rec_agent, after) });
}

static struct str or_text(struct str s, struct str def)
{
    return s.p ? s : def;
}

static enum err_code insert(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct agent *a, bool has_max, struct agent *out)
{
    enum err_code e = db_one(
        cx, db, &rec_agent,
        "INSERT INTO agent (team_id, id, kind, user_id, name, email, teams, skills, availability, "
        "status, max_open, metadata, version, created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, "
        "$6, $7, $8, $9, $10, $11, $12, 1, $13, $13) RETURNING " COLUMNS,
        ARGS(VT(who->team_id), VT(a->id), VT(a->kind), VT(a->user_id), VT(a->name), VT(a->email),
             VT(a->teams), VT(a->skills), VT(a->availability), VT(a->status),
             VI_OR_NULL(has_max, a->max_open), VT(a->metadata), VI(clock_ms())),
        out);
    if (e == ERR_UNIQUE) {
        ctx_clear(cx);
        return fail(cx, UNIQUE, "The user is an agent already");
    }
    return e;
}

enum err_code agent_create(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct agent_new *in, struct agent *out)
{
    struct agent_keys keys;
    struct agent a = {
        .id = uuid7(&cx->arena),
        .kind = in->kind,
        .user_id = in->user_id,
        .name = in->name,
        .email = in->email,
        .teams = or_text(in->teams, STR("[]")),
        .skills = or_text(in->skills, STR("[]")),
        .availability = or_text(in->availability, STR("offline")),
        .status = or_text(in->status, STR("active")),
        .metadata = or_text(in->metadata, STR("{}")),
        .max_open = in->max_open,
    };
    enum err_code e = clean(cx, &a, &keys);
    if (!e)
        e = check_user(cx, db, who, in);
    if (!e)
        e = insert(cx, db, who, &a, REC_HAS(in, max_open), out);
    if (!e)
        e = sides(cx, db, who, a.id, NULL, &keys);
    return e ? e : audit(cx, db, who, "agent.create", NULL, out);
}

enum err_code agent_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                        struct agent *out)
{
    enum err_code e = path_id(cx, "agent_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_agent,
               "SELECT " COLUMNS
               " FROM agent WHERE team_id = $1 AND id = $2 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Agent not found") : e;
}

/* ---- changing ---- */

struct member {
    unsigned at, in_at; /* in struct agent, in struct agent_new */
    const char *null;   /* what null makes of it; NULL = no value */
};
#define MEMBER(name, null)                                                                         \
    {                                                                                              \
        offsetof(struct agent, name), offsetof(struct agent_new, name), null                       \
    }
static const struct member members[] = {
    MEMBER(name, NULL),   MEMBER(email, NULL),        MEMBER(teams, "[]"),
    MEMBER(skills, "[]"), MEMBER(availability, NULL), MEMBER(status, NULL),
};

static struct str *text_at(const void *obj, unsigned at)
{
    return (struct str *)(void *)((char *)(uintptr_t)obj + at);
}

static enum err_code apply(struct ctx *cx, const struct agent_new *patch, struct agent *a)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const struct member *m = &members[i];
        if (rec_bit(&patch->bits.has, m->in_at))
            *text_at(a, m->at) = *text_at(patch, m->in_at);
        else if (rec_bit(&patch->bits.nul, m->in_at))
            *text_at(a, m->at) = str_of(m->null);
    }
    if (REC_HAS(patch, max_open)) {
        a->max_open = patch->max_open;
        REC_SET(a, max_open);
    } else if (REC_IS_NULL(patch, max_open)) {
        a->bits.has &= ~(UINT64_C(1) << (offsetof(struct agent, max_open) / 8));
    }
    return metadata_merge(cx, REC_HAS(patch, metadata) ? patch->metadata : STR_NONE,
                          REC_IS_NULL(patch, metadata), &a->metadata);
}

static enum err_code change(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct agent *old, const struct agent_new *patch,
                            struct agent *out)
{
    struct agent_keys old_keys, keys;
    struct agent before = *old, a = *old;
    int64_t now = clock_ms();
    enum err_code e = clean(cx, &before, &old_keys);
    if (!e)
        e = apply(cx, patch, &a);
    if (!e)
        e = clean(cx, &a, &keys);
    if (e)
        return e;
    e = db_one(cx, db, &rec_agent,
               "UPDATE agent SET name = $3, email = $4, teams = $5, skills = $6, "
               "availability = $7, status = $8, max_open = $9, metadata = $10, "
               "version = version + 1, updated_ms = $11 WHERE team_id = $1 AND id = $2 AND "
               "version = $12 AND deleted_ms IS NULL RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(a.id), VT(a.name), VT(a.email), VT(a.teams), VT(a.skills),
                    VT(a.availability), VT(a.status), VI_OR_NULL(REC_HAS(&a, max_open), a.max_open),
                    VT(a.metadata), VI(now > a.updated_ms ? now : a.updated_ms), VI(a.version)),
               out);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The agent was changed by another request; read it again");
    if (!e)
        e = sides(cx, db, who, a.id, &old_keys, &keys);
    return e ? e : audit(cx, db, who, "agent.update", old, out);
}

enum err_code agent_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                           const struct agent_new *patch, const struct versions *allowed,
                           struct agent *out)
{
    struct agent old;
    enum err_code e = agent_get(cx, db, who, id, &old);
    if (!e)
        e = check_version(cx, &old, allowed);
    return e ? e : change(cx, db, who, &old, patch, out);
}

enum err_code agent_set_availability(struct ctx *cx, struct db *db, const struct caller *who,
                                     struct str id, const struct agent_new *in, struct agent *out)
{
    struct agent old;
    enum err_code e = agent_get(cx, db, who, id, &old);
    if (e)
        return e;
    bool is_own = who->user_id.n && str_eq(who->user_id, old.user_id);
    if (!is_own && !scope_granted(who->scopes, SCOPE(AGENTS_WRITE)))
        return who->user_id.n
                   ? fail(cx, INSUFFICIENT_ROLE, "Only an admin may set the availability of others")
                   : fail(cx, INSUFFICIENT_SCOPE, "The token lacks the scope agents:write");
    return change(cx, db, who, &old, in, out);
}

/* The tickets are the team's, whichever key made them. */
static enum err_code count_open(struct ctx *cx, struct db *db, const struct caller *who,
                                struct str id, struct rec_num *n)
{
    db_scope(db, who->team_id, STR(""));
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COUNT(*) AS n FROM tickets WHERE team_id = $1 AND "
                             "assignee_id = $2 AND status NOT IN ('resolved', 'closed') AND "
                             "deleted_ms IS NULL",
                             ARGS(VT(who->team_id), VT(id)), n);
    caller_scope(db, who);
    return e;
}

enum err_code agent_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                           const struct versions *allowed)
{
    struct agent_keys keys;
    struct agent old, a;
    struct rec_num n;
    enum err_code e = agent_get(cx, db, who, id, &old);
    if (!e)
        e = check_version(cx, &old, allowed);
    if (!e)
        e = count_open(cx, db, who, old.id, &n);
    if (e)
        return e;
    if (n.n)
        return fail(cx, CONFLICT, "The agent has %lld open tickets; assign them to others first",
                    (long long)n.n);
    a = old;
    e = clean(cx, &a, &keys);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "UPDATE agent SET deleted_ms = $3, updated_ms = $3, version = version + 1 WHERE "
               "team_id = $1 AND id = $2 AND version = $4 AND deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(old.id), VI(clock_ms()), VI(old.version)), &n);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The agent was changed by another request; read it again");
    if (!e)
        e = sides(cx, db, who, old.id, &keys, NULL);
    return e ? e : audit(cx, db, who, "agent.delete", &old, NULL);
}

/* ---- lists ---- */

static void filters(struct listing *l, struct ctx *cx, const struct agent_query *in)
{
    buf_lit(&l->sql, " AND deleted_ms IS NULL");
    if (REC_HAS(in, kind))
        listing_words(l, "kind", in->kind);
    if (REC_HAS(in, availability))
        listing_words(l, "availability", in->availability);
    if (REC_HAS(in, status))
        listing_words(l, "status", in->status);
    if (REC_HAS(in, team))
        listing_and(l, " AND id IN (SELECT agent_id FROM agent_team WHERE team_id = $1 AND team = ",
                    VT(tag_fold(cx, str_trim(in->team))), ")");
    if (REC_HAS(in, skill))
        listing_and(l,
                    " AND id IN (SELECT agent_id FROM agent_skill WHERE team_id = $1 AND skill = ",
                    VT(tag_fold(cx, str_trim(in->skill))), ")");
    if (REC_HAS(in, q)) {
        int n = listing_bind(l, VT(listing_like(cx, in->q)));
        buf_printf(&l->sql,
                   " AND (lower(name) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\' OR "
                   "lower(email) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\')",
                   n, n);
    }
}

enum err_code agent_list(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct agent_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_agent,
                                              .kind = "agents:id",
                                              .columns = COLUMNS,
                                              .table = "agent",
                                              .id = "id",
                                              .id_at = offsetof(struct agent, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    filters(&l, cx, in);
    return listing_page(&l, db, &from, &ask, out);
}

enum err_code agent_must_exist(struct ctx *cx, struct db *db, struct str team_id,
                               struct str agent_id, const char *field)
{
    struct rec_text status;
    enum err_code e = db_one(cx, db, &rec_text,
                             "SELECT status AS s FROM agent WHERE team_id = $1 AND id = $2 AND "
                             "deleted_ms IS NULL",
                             ARGS(VT(team_id), VT(agent_id)), &status);
    if (e && e != ERR_NOT_FOUND)
        return e;
    return !e && str_eq(status.s, STR("active"))
               ? ERR_NONE
               : ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field),
                                "%s must be an active agent of this team", field);
}
