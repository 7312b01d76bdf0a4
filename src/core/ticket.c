/* Tickets: making, reading, deleting; see ticket.h. Every statement names team_id first; with a
 * token also token_id. Changing is in ticket_change.c, lists are in ticket_list.c. */
#include "ticket.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "crm/activity.h"
#include "crm/tag.h"
#include "event.h"
#include "ticket_ref.h"

/* $3 is caller_sees(): one token's tickets, or all of the team. */
#define SEEN "(CAST($3 AS TEXT) = '' OR token_id = $3)"

bool ticket_is_done(struct str status)
{
    return str_eq(status, STR("resolved")) || str_eq(status, STR("closed"));
}

enum err_code ticket_may_resolve(struct ctx *cx, const struct caller *who, struct str from,
                                 struct str to)
{
    if (str_eq(from, to) || !(ticket_is_done(from) || ticket_is_done(to)) ||
        scope_granted(who->scopes, SCOPE(TICKETS_RESOLVE)))
        return ERR_NONE;
    return fail(cx, INSUFFICIENT_SCOPE, "The token lacks the scope tickets:resolve");
}

static struct str or_default(bool has, struct str s, struct str def)
{
    return has && s.p ? s : def;
}

static void clear_bit(struct ticket *t, size_t offset)
{
    t->bits.has &= ~(UINT64_C(1) << (offset / 8));
}

/* Every member is set; those without a value are null in the reply. */
static void mark_nulls(struct ticket *t)
{
    static const size_t optional[] = {
        offsetof(struct ticket, description),     offsetof(struct ticket, category),
        offsetof(struct ticket, project_id),      offsetof(struct ticket, assignee_id),
        offsetof(struct ticket, contact_id),      offsetof(struct ticket, token_id),
        offsetof(struct ticket, created_by_user),
    };
    t->bits.has = ~UINT64_C(0);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (!((const struct str *)(const void *)((const char *)t + optional[i]))->p)
            clear_bit(t, optional[i]);
    if (!ticket_is_done(t->status))
        clear_bit(t, offsetof(struct ticket, resolved_ms));
}

static enum err_code insert(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct ticket *t, const struct tags *tags)
{
    enum err_code e = db_run(
        cx, db,
        "INSERT INTO tickets (team_id, id, token_id, integration_source, title, description, "
        "status, priority, category, metadata, version, created_ms, updated_ms, tags, project_id, "
        "assignee_id, contact_id, resolved_ms, created_by_user) VALUES ($1, $2, $3, $4, $5, $6, "
        "$7, $8, $9, $10, 1, $11, $11, $12, $13, $14, $15, $16, $17)",
        ARGS(VT(who->team_id), VT(t->id), VT(t->token_id.p ? t->token_id : STR("")),
             VT(t->integration_source), VT(t->title), VT(t->description), VT(t->status),
             VT(t->priority), VT(t->category), VT(t->metadata), VI(t->created_ms),
             VT(tags->n ? tags->json : STR_NONE), VT(t->project_id), VT(t->assignee_id),
             VT(t->contact_id), VI_OR_NULL(ticket_is_done(t->status), t->created_ms),
             VT(t->created_by_user)));
    return e || !tags->n ? e : tags_put(cx, db, who, t->id, tags);
}

enum err_code ticket_create(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct ticket_new *in, struct ticket *out)
{
    struct tags tags = { .json = STR("[]") };
    struct ticket t = {
        .id = uuid7(&cx->arena),
        .title = in->title,
        .description = in->description,
        .status = or_default(REC_HAS(in, status), in->status, STR("open")),
        .priority = or_default(REC_HAS(in, priority), in->priority, STR("medium")),
        .category = in->category,
        .metadata = or_default(REC_HAS(in, metadata), in->metadata, STR("{}")),
        .project_id = in->project_id,
        .assignee_id = in->assignee_id,
        .contact_id = in->contact_id,
        .token_id = who->token_id,
        .created_by_user = who->user_id,
        .integration_source = caller_name(who),
        .version = 1,
        .created_ms = clock_ms(),
    };
    enum err_code e = ticket_may_resolve(cx, who, STR("open"), t.status);
    if (!e)
        e = ticket_refs_check(cx, db, who, in, NULL);
    if (!e && REC_HAS(in, tags))
        e = tags_clean(cx, in->tags, &tags);
    if (e)
        return e;
    t.updated_ms = t.resolved_ms = t.created_ms;
    t.tags = tags.json;
    mark_nulls(&t);
    e = insert(cx, db, who, &t, &tags);
    if (!e)
        e = event_emit(
            cx, db, who,
            &(struct event_new){ EVENT_TICKET_CREATED, t.id, .rec = &rec_ticket, .obj = &t });
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
    e = db_one(cx, db, &rec_ticket,
               "SELECT " TICKET_COLUMNS " FROM tickets WHERE team_id = $1 AND id = $2 AND " SEEN
               " AND deleted_ms IS NULL",
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
    /* One look at the whole team: the document tells "not yours" from "not there". */
    db_scope(db, who->team_id, STR(""));
    e = db_one(cx, db, &rec_num,
               "SELECT 1 AS n FROM tickets WHERE team_id = $1 AND id = $2 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), &found);
    caller_scope(db, who);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Ticket not found");
    return e ? e : fail(cx, NOT_OWNER, "Token is not authorized for this ticket");
}

enum err_code ticket_check_version(struct ctx *cx, const struct ticket *t,
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

enum err_code ticket_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed)
{
    struct ticket t;
    struct rec_num gone;
    enum err_code e = ticket_get_own(cx, db, who, id, &t);
    if (!e)
        e = ticket_check_version(cx, &t, allowed);
    if (e)
        return e;
    e = db_one(
        cx, db, &rec_num,
        "UPDATE tickets SET deleted_ms = $4, updated_ms = $4, version = version + 1 WHERE "
        "team_id = $1 AND id = $2 "
        "AND " SEEN " AND version = $5 AND deleted_ms IS NULL RETURNING 1 AS n",
        ARGS(VT(who->team_id), VT(t.id), VT(caller_sees(who)), VI(clock_ms()), VI(t.version)),
        &gone);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The ticket was changed by another request; read it again");
    if (!e)
        e = activity_write(cx, db, who, t.id, "deleted", NULL, 0);
    return e ? e
             : event_emit(cx, db, who,
                          &(struct event_new){ EVENT_TICKET_DELETED, t.id, .rec = &rec_ticket,
                                               .obj = &t });
}
