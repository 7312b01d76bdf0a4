/* Tickets: see ticket.h. Every statement names team_id first; with a token also token_id.
 *
 * Changes are one UPDATE … RETURNING guarded by the version that was read, so two writers cannot
 * lose each other's change even where a database runs them side by side. */
#include "ticket.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/json.h"

/* $3 is caller_sees(): one token's tickets, or all of the team. */
#define SEEN "(CAST($3 AS TEXT) = '' OR token_id = $3)"
#define COLUMNS                                                                                    \
    "id, title, description, status, priority, category, metadata, token_id, integration_source, " \
    "version, created_ms AS created_at, updated_ms AS updated_at"

static bool needs_resolve(struct str status)
{
    return str_eq(status, STR("resolved")) || str_eq(status, STR("closed"));
}

static enum err_code may_resolve(struct ctx *cx, const struct caller *who, struct str from,
                                 struct str to)
{
    if (str_eq(from, to) || !(needs_resolve(from) || needs_resolve(to)) ||
        scope_granted(who->scopes, SCOPE(TICKETS_RESOLVE)))
        return ERR_NONE;
    return fail(cx, INSUFFICIENT_SCOPE, "The token lacks the scope tickets:resolve");
}

static struct str or_default(bool has, struct str s, struct str def)
{
    return has && s.p ? s : def;
}

enum err_code ticket_create(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct ticket_new *in, struct ticket *out)
{
    enum err_code e;
    struct ticket t = {
        .id = uuid7(&cx->arena),
        .title = in->title,
        .description = in->description,
        .status = or_default(REC_HAS(in, status), in->status, STR("open")),
        .priority = or_default(REC_HAS(in, priority), in->priority, STR("medium")),
        .category = in->category,
        .metadata = or_default(REC_HAS(in, metadata), in->metadata, STR("{}")),
        .token_id = who->token_id.p ? who->token_id : STR(""),
        .integration_source = caller_name(who),
        .version = 1,
        .created_ms = clock_ms(),
    };
    t.updated_ms = t.created_ms;
    t.bits.has = ~UINT64_C(0);
    if (!t.description.p)
        t.bits.has &= ~(UINT64_C(1) << (offsetof(struct ticket, description) / 8));
    if (!t.category.p)
        t.bits.has &= ~(UINT64_C(1) << (offsetof(struct ticket, category) / 8));
    e = may_resolve(cx, who, STR("open"), t.status);
    if (!e)
        e = db_run(cx, db,
                   "INSERT INTO tickets (team_id, id, token_id, integration_source, title, "
                   "description, status, priority, "
                   "category, metadata, version, created_ms, updated_ms) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $12)",
                   ARGS(VT(who->team_id), VT(t.id), VT(t.token_id), VT(t.integration_source),
                        VT(t.title), VT(t.description), VT(t.status), VT(t.priority),
                        VT(t.category), VT(t.metadata), VI(t.created_ms), VI(t.updated_ms)));
    if (!e)
        *out = t;
    return e;
}

enum err_code ticket_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct ticket *out)
{
    enum err_code e = path_id(cx, "ticket_id", &id);
    if (e)
        return e;
    e = db_one(
        cx, db, &rec_ticket,
        "SELECT " COLUMNS
        " FROM tickets WHERE team_id = $1 AND id = $2 AND " SEEN " AND deleted_ms IS NULL",
        ARGS(VT(who->team_id), VT(id), VT(caller_sees(who))), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Ticket not found") : e;
}

enum err_code ticket_get_own(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             struct ticket *out)
{
    struct rec_num found;
    enum err_code e = path_id(cx, "ticket_id", &id);
    if (!e)
        e = ticket_get(cx, db, who, id, out);
    if (e != ERR_NOT_FOUND)
        return e;
    ctx_clear(cx);
    db_scope(
        db, who->team_id,
        STR("")); /* one look at the whole team: the document tells "not yours" from "not there" */
    e = db_one(cx, db, &rec_num,
               "SELECT 1 AS n FROM tickets WHERE team_id = $1 AND id = $2 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), &found);
    caller_scope(db, who);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Ticket not found");
    return e ? e : fail(cx, NOT_OWNER, "Token is not authorized for this ticket");
}

static enum err_code check_version(struct ctx *cx, const struct ticket *t,
                                   const struct versions *allowed)
{
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == t->version;
    if (!is_fine)
        return fail(cx, PRECONDITION_FAILED, "The ticket is at version %lld now",
                    (long long)t->version);
    return ERR_NONE;
}

static enum err_code merge_metadata(struct ctx *cx, const struct ticket_new *patch,
                                    struct str *metadata)
{
    if (REC_IS_NULL(patch, metadata))
        *metadata = STR("{}");
    if (!REC_HAS(patch, metadata))
        return ERR_NONE;
    json_t *target = json_read(cx, *metadata), *changes = json_read(cx, patch->metadata);
    if (!target || !changes)
        return cx->err;
    json_merge(target, changes);
    struct str text = json_text(cx, target);
    if (text.n > TICKET_METADATA_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("metadata"),
                              "metadata must be at most %d bytes", TICKET_METADATA_MAX);
    *metadata = text;
    return ERR_NONE;
}

enum err_code ticket_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct ticket_new *patch, const struct versions *allowed,
                            struct ticket *out)
{
    struct ticket t;
    enum err_code e = ticket_get_own(cx, db, who, id, &t);
    if (!e)
        e = check_version(cx, &t, allowed);
    if (!e && REC_HAS(patch, status))
        e = may_resolve(cx, who, t.status, patch->status);
    if (e)
        return e;
    if (REC_HAS(patch, title))
        t.title = patch->title;
    if (REC_HAS(patch, status))
        t.status = patch->status;
    if (REC_HAS(patch, priority))
        t.priority = patch->priority;
    if (REC_HAS(patch, description) || REC_IS_NULL(patch, description))
        t.description = patch->description;
    if (REC_HAS(patch, category) || REC_IS_NULL(patch, category))
        t.category = patch->category;
    e = merge_metadata(cx, patch, &t.metadata);
    if (e)
        return e;
    int64_t now = clock_ms();
    e = db_one(cx, db, &rec_ticket,
               "UPDATE tickets SET title = $4, description = $5, status = $6, priority = $7, "
               "category = $8, metadata = $9, "
               "version = version + 1, updated_ms = $10 WHERE team_id = $1 AND id = $2 AND " SEEN
               " AND version = $11 "
               "AND deleted_ms IS NULL RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(t.id), VT(caller_sees(who)), VT(t.title), VT(t.description),
                    VT(t.status), VT(t.priority), VT(t.category), VT(t.metadata),
                    VI(now > t.updated_ms ? now : t.updated_ms), VI(t.version)),
               out);
    return e == ERR_NOT_FOUND
               ? fail(cx, CONFLICT, "The ticket was changed by another request; read it again")
               : e;
}

enum err_code ticket_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed)
{
    struct ticket t;
    struct rec_num gone;
    enum err_code e = ticket_get_own(cx, db, who, id, &t);
    if (!e)
        e = check_version(cx, &t, allowed);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "UPDATE tickets SET deleted_ms = $4, updated_ms = $4, version = version + 1 WHERE "
               "team_id = $1 AND id = $2 "
               "AND " SEEN " AND version = $5 AND deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(t.id), VT(caller_sees(who)), VI(clock_ms()), VI(t.version)),
               &gone);
    return e == ERR_NOT_FOUND
               ? fail(cx, CONFLICT, "The ticket was changed by another request; read it again")
               : e;
}
