/* Watchers: see watcher.h. */
#include "watcher.h"

#include "../../base/clock.h"
#include "../ticket.h"
#include "activity.h"
#include "agent.h"
#include "contact.h"

static const char *const kinds[] = { "user", "agent", "contact", NULL };

#define AT(member) offsetof(struct watcher, member)
static const struct field fields[] = {
    { "kind", F_ENUM, AT(kind), 0, 0, 0, kinds, "Who that is", NULL },
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Id of the user, agent or contact", NULL },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "Since when", NULL },
};
const struct rec rec_watcher = REC("Watcher", struct watcher, fields, "Who watches a ticket.");

static const struct field new_fields[] = {
    { "kind", F_ENUM, AT(kind), 0, 0, 0, kinds, "Who that is (default user)", NULL },
    { "id", F_UUID, AT(id), 0, 0, 0, NULL,
      "Id of the user, agent or contact; a signed-in user may leave it out: itself", NULL },
};
const struct rec rec_watcher_new =
    REC("WatcherNew", struct watcher, new_fields, "Who is to watch the ticket.");

static enum err_code must_exist(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct watcher *w)
{
    struct rec_num n;
    if (str_eq(w->kind, STR("agent")))
        return agent_must_exist(cx, db, who->team_id, w->id, "id");
    if (str_eq(w->kind, STR("contact")))
        return contact_must_exist(cx, db, who->team_id, w->id, "id");
    if (who->user_id.p && str_eq(w->id, who->user_id))
        return ERR_NONE;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT 1 AS n FROM team_member WHERE team_id = $1 AND user_id = $2",
                             ARGS(VT(who->team_id), VT(w->id)), &n);
    return e == ERR_NOT_FOUND
               ? ctx_fail_field(cx, ERR_INVALID_FIELD, STR("id"), "id names no user of this team")
               : e;
}

static enum err_code complete(struct ctx *cx, const struct caller *who, const struct watcher *in,
                              struct watcher *out)
{
    *out = (struct watcher){ .bits.has = ~UINT64_C(0), .id = in->id, .kind = in->kind };
    if (!REC_HAS(in, kind))
        out->kind = STR("user");
    if (!REC_HAS(in, id) && str_eq(out->kind, STR("user")))
        out->id = who->user_id;
    if (!out->id.p)
        return ctx_fail_field(cx, ERR_MISSING_FIELD, STR("id"), "id is required");
    out->created_ms = clock_ms();
    return ERR_NONE;
}

static enum err_code check_room(struct ctx *cx, struct db *db, const struct caller *who,
                                struct str ticket_id, struct str id)
{
    struct rec_num all, same;
    enum err_code e =
        db_one(cx, db, &rec_num,
               "SELECT COUNT(*) AS n FROM ticket_watcher WHERE team_id = $1 AND ticket_id = $2",
               ARGS(VT(who->team_id), VT(ticket_id)), &all);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "SELECT COUNT(*) AS n FROM ticket_watcher WHERE team_id = $1 AND ticket_id = $2 "
                   "AND id = $3",
                   ARGS(VT(who->team_id), VT(ticket_id), VT(id)), &same);
    if (e)
        return e;
    if (same.n)
        return fail(cx, UNIQUE, "It watches this ticket already");
    if (all.n >= WATCHERS_MAX)
        return fail(cx, CONFLICT, "A ticket has at most %d watchers", WATCHERS_MAX);
    return ERR_NONE;
}

static enum err_code note(struct ctx *cx, struct db *db, const struct caller *who,
                          struct str ticket_id, const struct watcher *w, bool is_new)
{
    struct buf b;
    buf_init(&b, &cx->arena, 256);
    buf_printf(&b, "{\"kind\":\"" STR_FMT "\",\"id\":\"" STR_FMT "\"}", STR_ARG(w->kind),
               STR_ARG(w->id));
    struct str text = buf_view(&b);
    return activity_note(
        cx, db, who, ticket_id, is_new ? "watcher_added" : "watcher_removed",
        (struct activity_change){ "watcher", is_new ? STR_NONE : text, is_new ? text : STR_NONE });
}

enum err_code watcher_add(struct ctx *cx, struct db *db, const struct caller *who,
                          struct str ticket_id, const struct watcher *in, struct watcher *out)
{
    struct ticket t;
    struct watcher w;
    struct rec_num made;
    enum err_code e = ticket_get(cx, db, who, ticket_id, &t);
    if (!e)
        e = complete(cx, who, in, &w);
    if (!e)
        e = must_exist(cx, db, who, &w);
    if (!e)
        e = check_room(cx, db, who, t.id, w.id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "INSERT INTO ticket_watcher (team_id, ticket_id, id, kind, created_ms) "
               "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (team_id, ticket_id, id) DO NOTHING "
               "RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(t.id), VT(w.id), VT(w.kind), VI(w.created_ms)), &made);
    if (e == ERR_NOT_FOUND)
        return fail(cx, UNIQUE, "It watches this ticket already");
    if (!e)
        e = note(cx, db, who, t.id, &w, true);
    if (!e)
        *out = w;
    return e;
}

enum err_code watcher_remove(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, struct str id)
{
    struct ticket t;
    struct watcher w;
    enum err_code e = path_id(cx, "watcher_id", &id);
    if (!e)
        e = ticket_get(cx, db, who, ticket_id, &t);
    if (e)
        return e;
    e = db_one(cx, db, &rec_watcher,
               "DELETE FROM ticket_watcher WHERE team_id = $1 AND ticket_id = $2 AND id = $3 "
               "RETURNING id, kind, created_ms AS created_at",
               ARGS(VT(who->team_id), VT(t.id), VT(id)), &w);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "That does not watch this ticket");
    return e ? e : note(cx, db, who, t.id, &w, false);
}

enum err_code watcher_list(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str ticket_id, const struct page_ask *ask, struct page *out)
{
    struct ticket t;
    struct listing l;
    enum err_code e = ticket_get(cx, db, who, ticket_id, &t);
    if (e)
        return e;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    listing_and(&l, " AND ticket_id = ", VT(t.id), "");
    struct listing_from from = {
        .r = &rec_watcher,
        .kind = "watchers",
        .columns = "id, kind, created_ms AS created_at",
        .table = "ticket_watcher",
        .id = "id",
        .id_at = AT(id),
    };
    return listing_page(&l, db, &from, ask, out);
}
