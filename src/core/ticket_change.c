/* Changing tickets: the merge patch, what it needs, and the activity that tells of it.
 *
 * A change is one UPDATE … RETURNING guarded by the version that was read, so two writers cannot
 * lose each other's change even where a database runs them side by side. One table says which
 * members a patch may carry and as what their change is told. */
#include "ticket.h"

#include <string.h>

#include "../base/clock.h"
#include "../base/json.h"
#include "crm/activity.h"
#include "crm/tag.h"
#include "event.h"
#include "ticket_ref.h"

#define SEEN "(CAST($3 AS TEXT) = '' OR token_id = $3)" /* $3 is caller_sees() */

struct member {
    const char *name;
    unsigned at, in_at; /* in struct ticket, in struct ticket_new */
    bool is_json;
    const char *action; /* rows of one action are neighbours here and one activity row */
};
#define MEMBER(name, is_json, action)                                                              \
    {                                                                                              \
#name, offsetof(struct ticket, name), offsetof(struct ticket_new, name), is_json, action   \
    }
static const struct member members[] = {
    MEMBER(title, false, "updated"),        MEMBER(description, false, "updated"),
    MEMBER(priority, false, "updated"),     MEMBER(category, false, "updated"),
    MEMBER(metadata, true, "updated"),      MEMBER(project_id, false, "updated"),
    MEMBER(contact_id, false, "updated"),   MEMBER(status, false, "status_changed"),
    MEMBER(assignee_id, false, "assigned"), MEMBER(tags, true, "tags_changed"),
};
#define N_MEMBERS (sizeof members / sizeof *members)

static struct str *text_at(const void *obj, unsigned at)
{
    return (struct str *)(void *)((char *)(uintptr_t)obj + at);
}

/* ---- the new values ---- */

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

/* What is copied; metadata and tags are worked out by their own rules. */
static void copy_members(const struct ticket_new *patch, struct ticket *t)
{
    for (size_t i = 0; i < N_MEMBERS; i++) {
        const struct member *m = &members[i];
        if (!m->is_json &&
            (rec_bit(&patch->bits.has, m->in_at) || rec_bit(&patch->bits.nul, m->in_at)))
            *text_at(t, m->at) = *text_at(patch, m->in_at);
    }
}

static void set_resolved(const struct ticket *old, struct ticket *t, int64_t now)
{
    if (!ticket_is_done(t->status))
        t->bits.has &= ~(UINT64_C(1) << (offsetof(struct ticket, resolved_ms) / 8));
    else if (!ticket_is_done(old->status)) {
        t->resolved_ms = now;
        REC_SET(t, resolved_ms);
    }
}

static enum err_code apply(struct ctx *cx, const struct ticket_new *patch, struct ticket *t,
                           struct tags *tags)
{
    enum err_code e = ERR_NONE;
    *tags = (struct tags){ .json = t->tags };
    copy_members(patch, t);
    if (REC_HAS(patch, tags))
        e = tags_clean(cx, patch->tags, tags);
    else if (REC_IS_NULL(patch, tags))
        tags->json = STR("[]");
    if (!e)
        e = merge_metadata(cx, patch, &t->metadata);
    t->tags = tags->json;
    return e;
}

/* ---- what is told ---- */

static bool is_same(struct str a, struct str b)
{
    return !a.p == !b.p && str_eq(a, b);
}

static enum err_code tell(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct ticket *old, const struct ticket *t)
{
    struct activity_change changes[N_MEMBERS];
    enum err_code e = ERR_NONE;
    for (size_t i = 0, n = 0; !e && i < N_MEMBERS; i++) {
        const struct member *m = &members[i];
        struct str from = *text_at(old, m->at), to = *text_at(t, m->at);
        if (!is_same(from, to))
            changes[n++] = (struct activity_change){
                m->name, m->is_json ? activity_json(cx, from) : activity_text(cx, from),
                m->is_json ? activity_json(cx, to) : activity_text(cx, to)
            };
        if (n && (i + 1 == N_MEMBERS || strcmp(members[i + 1].action, m->action) != 0)) {
            e = activity_write(cx, db, who, t->id, m->action, changes, n);
            n = 0;
        }
    }
    return e;
}

static enum err_code emit(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct ticket *old, const struct ticket *now)
{
    struct event_new ev = { EVENT_TICKET_UPDATED, now->id, .rec = &rec_ticket, .obj = now };
    enum err_code e = ERR_NONE;
    ev.previous = event_previous(cx, &rec_ticket, old, now);
    if (ev.previous.p)
        e = event_emit(cx, db, who, &ev);
    if (!e && !is_same(old->status, now->status)) {
        ev.type = EVENT_TICKET_STATUS_CHANGED;
        e = event_emit(cx, db, who, &ev);
    }
    if (!e && !is_same(old->assignee_id, now->assignee_id)) {
        ev.type = EVENT_TICKET_ASSIGNED;
        e = event_emit(cx, db, who, &ev);
    }
    return e;
}

/* ---- storing ---- */

static enum err_code store_change(struct ctx *cx, struct db *db, const struct caller *who,
                                  const struct ticket *t, struct ticket *out)
{
    enum err_code e = db_one(
        cx, db, &rec_ticket,
        "UPDATE tickets SET title = $4, description = $5, status = $6, priority = $7, "
        "category = $8, metadata = $9, tags = $10, project_id = $11, assignee_id = $12, "
        "contact_id = $13, resolved_ms = $14, updated_ms = $15, version = version + 1 "
        "WHERE team_id = $1 AND id = $2 AND " SEEN " AND version = $16 AND deleted_ms IS NULL "
        "RETURNING " TICKET_COLUMNS,
        ARGS(VT(who->team_id), VT(t->id), VT(caller_sees(who)), VT(t->title), VT(t->description),
             VT(t->status), VT(t->priority), VT(t->category), VT(t->metadata),
             VT(str_eq(t->tags, STR("[]")) ? STR_NONE : t->tags), VT(t->project_id),
             VT(t->assignee_id), VT(t->contact_id),
             VI_OR_NULL(REC_HAS(t, resolved_ms), t->resolved_ms), VI(t->updated_ms),
             VI(t->version)),
        out);
    return e == ERR_NOT_FOUND
               ? fail(cx, CONFLICT, "The ticket was changed by another request; read it again")
               : e;
}

enum err_code ticket_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct ticket_new *patch, const struct versions *allowed,
                            struct ticket *out)
{
    struct ticket old, t;
    struct tags tags;
    int64_t now = clock_ms();
    enum err_code e = ticket_get_own(cx, db, who, id, &old);
    if (!e)
        e = ticket_check_version(cx, &old, allowed);
    if (!e && REC_HAS(patch, status))
        e = ticket_may_resolve(cx, who, old.status, patch->status);
    if (!e)
        e = ticket_refs_check(cx, db, who, patch, &old);
    if (e)
        return e;
    t = old;
    e = apply(cx, patch, &t, &tags);
    if (e)
        return e;
    set_resolved(&old, &t, now);
    t.updated_ms = now > old.updated_ms ? now : old.updated_ms;
    e = store_change(cx, db, who, &t, out);
    if (!e && !str_eq(old.tags, t.tags))
        e = tags_put(cx, db, who, t.id, &tags);
    if (!e)
        e = tell(cx, db, who, &old, &t);
    return e ? e : emit(cx, db, who, &old, out);
}
