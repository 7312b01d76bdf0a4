/* Syncs: see sync.h. A change is one UPDATE … RETURNING guarded by the last change that was read. */
#include "sync.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../core/audit.h"
#include "../core/event.h"
#include "../core/ticket.h"
#include "integration.h"

#define COLUMNS                                                                                    \
    "team_id, id, integration_id, name, is_enabled AS enabled, direction, interval_ms, "           \
    "field_mappings, conflict_resolution, last_run_ms AS last_run_at, last_status, version, "      \
    "config_version, created_ms AS created_at, updated_ms AS updated_at"

/* Beside each change: the audit row, and the event for those outside. */
static enum err_code tell(struct ctx *cx, struct db *db, const struct caller *who,
                          const char *action, const struct sync *before, const struct sync *after)
{
    const struct sync *any = after ? after : before;
    BUG_IF(!any);
    const struct event_new event = {
        .type = !before  ? EVENT_SYNC_CREATED
                : !after ? EVENT_SYNC_DELETED
                         : EVENT_SYNC_UPDATED,
        .subject_id = any->id,
        .rec = &rec_sync,
        .obj = any,
        .previous = before && after ? event_previous(cx, &rec_sync, before, after) : STR_NONE,
    };
    enum err_code e = audit_write(cx, db, who,
                                  &(struct audit_entry){ action, "sync", any->id,
                                                         audit_json(cx, &rec_sync, before),
                                                         audit_json(cx, &rec_sync, after) });
    return e ? e : event_emit(cx, db, who, &event);
}

/* ---- making ---- */

static enum err_code must_have_room(struct ctx *cx, struct db *db, const struct caller *who,
                                    struct str integration_id)
{
    struct rec_num all, of;
    enum err_code e =
        db_one(cx, db, &rec_num,
               "SELECT COUNT(*) AS n FROM sync WHERE team_id = $1 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id)), &all);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "SELECT COUNT(*) AS n FROM sync WHERE team_id = $1 AND integration_id = $2 AND "
                   "deleted_ms IS NULL",
                   ARGS(VT(who->team_id), VT(integration_id)), &of);
    if (e)
        return e;
    if (of.n >= SYNCS_OF_MAX)
        return fail(cx, CONFLICT, "The integration has %d syncs already", SYNCS_OF_MAX);
    if (all.n >= SYNCS_MAX)
        return fail(cx, CONFLICT, "The team has %d syncs already", SYNCS_MAX);
    return ERR_NONE;
}

static enum err_code check_integration(struct ctx *cx, struct db *db, const struct caller *who,
                                       struct str id)
{
    enum err_code e = integration_hold(cx, db, who, id);
    if (e != ERR_NOT_FOUND)
        return e;
    ctx_clear(cx);
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("integration_id"),
                          "integration_id is no integration of the team");
}

enum err_code sync_create(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct sync_new *in, struct sync *out)
{
    struct str mappings;
    int64_t now = clock_ms();
    enum err_code e = sync_mappings_check(
        cx, in->direction, REC_HAS(in, field_mappings) ? in->field_mappings : STR("[]"), &mappings);
    if (!e)
        e = check_integration(cx, db, who, in->integration_id);
    if (!e)
        e = must_have_room(cx, db, who, in->integration_id);
    if (!e)
        e = db_one(
            cx, db, &rec_sync_row,
            "INSERT INTO sync (team_id, id, integration_id, name, is_enabled, direction, "
            "interval_ms, field_mappings, conflict_resolution, version, config_version, "
            "created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 1, $10, "
            "$10) RETURNING " COLUMNS,
            ARGS(VT(who->team_id), VT(uuid7(&cx->arena)), VT(in->integration_id), VT(in->name),
                 VI(REC_HAS(in, is_enabled) ? in->is_enabled : 1), VT(in->direction),
                 VI_OR_NULL(REC_HAS(in, interval_ms), in->interval_ms), VT(mappings),
                 VT(in->conflict_resolution.p ? in->conflict_resolution : STR("manual")), VI(now)),
            out);
    return e ? e : tell(cx, db, who, "sync.create", NULL, out);
}

enum err_code sync_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                       struct sync *out)
{
    enum err_code e = path_id(cx, "sync_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_sync_row,
               "SELECT " COLUMNS " FROM sync WHERE team_id = $1 AND id = $2 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Sync not found") : e;
}

/* ---- changing ---- */

static enum err_code get_at(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed, struct sync *out)
{
    enum err_code e = sync_get(cx, db, who, id, out);
    bool is_fine = allowed->is_any;
    for (int i = 0; !e && !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] >= out->config_version && allowed->v[i] <= out->version;
    if (e || is_fine)
        return e;
    return fail(cx, PRECONDITION_FAILED, "The sync was changed at version %lld; it is at %lld now",
                (long long)out->config_version, (long long)out->version);
}

static enum err_code changed_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The sync was changed by another request; read it again");
}

static void apply(const struct sync_new *patch, struct sync *s)
{
    if (REC_HAS(patch, name))
        s->name = patch->name;
    if (REC_HAS(patch, is_enabled))
        s->is_enabled = patch->is_enabled;
    if (REC_HAS(patch, direction))
        s->direction = patch->direction;
    if (REC_HAS(patch, interval_ms)) {
        s->interval_ms = patch->interval_ms;
        REC_SET(s, interval_ms);
    }
    if (REC_IS_NULL(patch, interval_ms))
        s->bits.has &= ~(UINT64_C(1) << (offsetof(struct sync, interval_ms) / 8));
    if (REC_HAS(patch, field_mappings))
        s->field_mappings = patch->field_mappings;
    if (REC_HAS(patch, conflict_resolution))
        s->conflict_resolution = patch->conflict_resolution;
}

enum err_code sync_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct sync_new *patch, const struct versions *allowed,
                          struct sync *out)
{
    struct sync was, s;
    enum err_code e = get_at(cx, db, who, id, allowed, &was);
    if (e)
        return e;
    s = was;
    apply(patch, &s);
    e = sync_mappings_check(cx, s.direction, s.field_mappings, &s.field_mappings);
    if (e)
        return e;
    int64_t now = clock_ms();
    e = db_one(cx, db, &rec_sync_row,
               "UPDATE sync SET name = $3, is_enabled = $4, direction = $5, interval_ms = $6, "
               "field_mappings = $7, conflict_resolution = $8, version = version + 1, "
               "config_version = version + 1, updated_ms = $9 WHERE team_id = $1 AND id = $2 AND "
               "config_version = $10 AND deleted_ms IS NULL RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(was.id), VT(s.name), VI(s.is_enabled), VT(s.direction),
                    VI_OR_NULL(REC_HAS(&s, interval_ms), s.interval_ms), VT(s.field_mappings),
                    VT(s.conflict_resolution), VI(now > was.updated_ms ? now : was.updated_ms),
                    VI(was.config_version)),
               out);
    if (e)
        return e == ERR_NOT_FOUND ? changed_meanwhile(cx) : e;
    return tell(cx, db, who, "sync.update", &was, out);
}

/* NOT_FOUND (not recorded) when another request was first. */
static enum err_code remove_row(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct sync *was)
{
    struct rec_num gone;
    enum err_code e =
        db_one(cx, db, &rec_num,
               "UPDATE sync SET deleted_ms = $3, updated_ms = $3, version = version + 1, "
               "config_version = version + 1 WHERE team_id = $1 AND id = $2 AND "
               "config_version = $4 AND deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(was->id), VI(clock_ms()), VI(was->config_version)), &gone);
    return e ? e : tell(cx, db, who, "sync.delete", was, NULL);
}

enum err_code sync_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct versions *allowed)
{
    struct sync was;
    enum err_code e = get_at(cx, db, who, id, allowed, &was);
    if (e)
        return e;
    e = remove_row(cx, db, who, &was);
    return e == ERR_NOT_FOUND ? changed_meanwhile(cx) : e;
}

enum err_code sync_delete_all(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str integration_id)
{
    struct list all;
    enum err_code e =
        db_list(cx, db, &rec_sync_row,
                "SELECT " COLUMNS " FROM sync WHERE team_id = $1 AND integration_id = $2 AND "
                "deleted_ms IS NULL ORDER BY id",
                ARGS(VT(who->team_id), VT(integration_id)), &all);
    for (size_t i = 0; !e && i < all.n; i++)
        e = remove_row(cx, db, who, (const struct sync *)all.v + i);
    return e == ERR_NOT_FOUND ? changed_meanwhile(cx) : e;
}

enum err_code sync_ran(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                       struct str status, int64_t at_ms, struct sync *out)
{
    enum err_code e = path_id(cx, "sync_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_sync_row,
               "UPDATE sync SET last_run_ms = $3, last_status = $4, version = version + 1 WHERE "
               "team_id = $1 AND id = $2 AND deleted_ms IS NULL RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(id), VI(at_ms), VT(status)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Sync not found") : e;
}

enum err_code sync_purge(struct ctx *cx, struct db *db, int64_t before_ms, int64_t n, int64_t *gone)
{
    struct list list;
    enum err_code e = db_list(cx, db, &rec_num,
                              "DELETE FROM sync WHERE (team_id, id) IN (SELECT team_id, id FROM "
                              "sync WHERE deleted_ms < $1 ORDER BY deleted_ms LIMIT $2) "
                              "RETURNING 1 AS n",
                              ARGS(VI(before_ms), VI(n)), &list);
    *gone = e ? 0 : (int64_t)list.n;
    return e;
}

/* ---- listing ---- */

enum err_code sync_list(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct sync_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_sync_row,
                                              .kind = "syncs:id",
                                              .columns = COLUMNS,
                                              .table = "sync",
                                              .id = "id",
                                              .id_at = offsetof(struct sync, id) };
    const struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE deleted_ms IS NULL AND team_id = ", VT(who->team_id));
    if (REC_HAS(in, integration_id))
        listing_and(&l, " AND integration_id = ", VT(in->integration_id), "");
    if (REC_HAS(in, is_enabled))
        listing_and(&l, " AND is_enabled = ", VI(in->is_enabled), "");
    if (REC_HAS(in, last_status))
        listing_words(&l, "last_status", in->last_status);
    return listing_page(&l, db, &from, &ask, out);
}
