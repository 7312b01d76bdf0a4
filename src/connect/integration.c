/* Integrations: see integration.h. Changes are one UPDATE … RETURNING guarded by the version that
 * was read. */
#include "integration.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/json.h"
#include "../core/audit.h"
#include "../core/event.h"
#include "../core/ticket.h"
#include "hook_config.h"
#include "integration_secret.h"
#include "sync.h"

#define LIVE_SECRET                                                                                \
    "EXISTS (SELECT 1 FROM integration_secret s WHERE s.team_id = integration.team_id AND "        \
    "s.integration_id = integration.id AND s.purpose = 'hook')"
#define COLUMNS                                                                                        \
    "id, kind, name, event_types, scheme, callback_url, is_enabled AS enabled, CASE WHEN " LIVE_SECRET \
    " THEN 1 ELSE 0 END AS has_secret, await_until_ms AS await_until, "                                \
    "handshake_ms AS handshake_at, version, created_ms AS created_at, updated_ms AS updated_at"

/* ---- what is checked ---- */

static enum err_code bad(struct ctx *cx, const char *field, const char *why)
{
    return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s %s", field, why);
}

static enum err_code check_scheme(struct ctx *cx, struct str kind, struct str scheme)
{
    struct hook_config config;
    struct hook_scheme made;
    if (!scheme.p)
        return ERR_NONE;
    if (!str_eq(kind, STR("hmac")))
        return bad(cx, "scheme", "is for the kind hmac alone");
    json_t *obj = json_read(cx, scheme);
    if (!obj)
        return cx->err;
    enum err_code e =
        rec_decode(cx, &rec_hook_config, obj, REC_REFUSE_UNKNOWN, STR("scheme"), &config);
    return e ? e : hook_config_scheme(cx, &config, STR("scheme"), &made);
}

static enum err_code check_url(struct ctx *cx, struct str url)
{
    bool is_fine = str_starts(url, STR("https://")) || str_starts(url, STR("http://"));
    for (size_t i = 0; is_fine && i < url.n; i++)
        is_fine = url.p[i] > ' ' && url.p[i] < 0x7F;
    return !url.p || is_fine ? ERR_NONE : bad(cx, "callback_url", "must be an http or https URL");
}

static enum err_code check_types(struct ctx *cx, struct str patterns)
{
    json_t *list = json_read(cx, patterns), *one;
    size_t i;
    if (!list)
        return cx->err;
    json_array_foreach(list, i, one) {
        struct str s = { json_string_value(one), json_string_length(one) };
        struct str rest = s;
        struct str head = str_cut(&rest, '*');
        bool is_fine = s.n >= 1 && s.n <= 100 && str_is_single_line(s) &&
                       (!rest.p || (rest.n == 0 && (head.n == 0 || head.p[head.n - 1] == '.')));
        if (!is_fine)
            return bad(
                cx, "event_types",
                "must hold types of 1 to 100 characters, or their beginnings with .* behind");
    }
    return ERR_NONE;
}

static enum err_code check(struct ctx *cx, const struct integration *i)
{
    enum err_code e = check_types(cx, i->event_types);
    enum err_code url = check_url(cx, i->callback_url);
    enum err_code scheme = check_scheme(cx, i->kind, i->scheme);
    return e ? e : url ? url : scheme;
}

bool event_type_wanted(struct ctx *cx, struct str patterns, struct str type)
{
    json_t *list = json_read(cx, patterns), *one;
    size_t i;
    if (json_array_size(list) == 0)
        return true;
    json_array_foreach(list, i, one) {
        struct str s = { json_string_value(one), json_string_length(one) };
        bool is_open = s.n && s.p[s.n - 1] == '*';
        if (is_open ? str_eq(s, STR("*")) || (type.p && str_starts(type, str_sub(s, 0, s.n - 1)))
                    : type.p && str_eq(s, type))
            return true;
    }
    return false;
}

/* ---- rows ---- */

/* Beside each change: the audit row, and the event for those outside. */
static enum err_code tell(struct ctx *cx, struct db *db, const struct caller *who,
                          const char *action, const struct integration *before,
                          const struct integration *after)
{
    const struct integration *any = after ? after : before;
    const struct event_new event = {
        .type = !before  ? EVENT_INTEGRATION_CREATED
                : !after ? EVENT_INTEGRATION_DELETED
                         : EVENT_INTEGRATION_UPDATED,
        .subject_id = any->id,
        .rec = &rec_integration,
        .obj = any,
        .previous =
            before && after ? event_previous(cx, &rec_integration, before, after) : STR_NONE,
    };
    enum err_code e = audit_write(cx, db, who,
                                  &(struct audit_entry){ action, "integration", any->id,
                                                         audit_json(cx, &rec_integration, before),
                                                         audit_json(cx, &rec_integration, after) });
    return e ? e : event_emit(cx, db, who, &event);
}

/* What no column holds. */
static void complete(struct ctx *cx, struct str base, struct integration *i)
{
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    i->hook_url = i->callback_url.p ? i->callback_url
                                    : str_printf(&cx->arena, STR_FMT "/hooks/" STR_FMT,
                                                 STR_ARG(base), STR_ARG(i->id));
    REC_SET(i, hook_url);
    if (i->await_until_ms <= clock_ms())
        i->bits.has &= ~(UINT64_C(1) << (offsetof(struct integration, await_until_ms) / 8));
}

static bool brings_secret(struct str kind)
{
    const struct hook_scheme *s = hook_scheme_find(kind);
    return s && s->shake.name && s->shake.trust == HOOK_SHAKE_FIRST;
}

static enum err_code must_have_room(struct ctx *cx, struct db *db, const struct caller *who)
{
    struct rec_num n;
    enum err_code e =
        db_one(cx, db, &rec_num,
               "SELECT COUNT(*) AS n FROM integration WHERE team_id = $1 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id)), &n);
    if (e || n.n < INTEGRATION_MAX)
        return e;
    return fail(cx, CONFLICT, "The team has %d integrations already", INTEGRATION_MAX);
}

enum err_code integration_create(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str base, const struct integration_new *in,
                                 struct integration *out)
{
    int64_t now = clock_ms();
    struct integration i = { .id = uuid7(&cx->arena),
                             .kind = in->kind,
                             .name = in->name,
                             .event_types = in->event_types.p ? in->event_types : STR("[]"),
                             .scheme = in->scheme,
                             .callback_url = in->callback_url,
                             .is_enabled = REC_HAS(in, is_enabled) ? in->is_enabled : 1 };
    enum err_code e = check(cx, &i);
    if (!e)
        e = must_have_room(cx, db, who);
    if (e)
        return e;
    e = db_one(cx, db, &rec_integration,
               "INSERT INTO integration (team_id, id, kind, name, event_types, scheme, "
               "callback_url, is_enabled, await_until_ms, version, created_ms, updated_ms) VALUES "
               "($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $10) RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(i.id), VT(i.kind), VT(i.name), VT(i.event_types),
                    VT(i.scheme), VT(i.callback_url), VI(i.is_enabled),
                    VI_OR_NULL(brings_secret(i.kind), now + AWAIT_S_DEFAULT * INT64_C(1000)),
                    VI(now)),
               out);
    if (e)
        return e;
    complete(cx, base, out);
    return tell(cx, db, who, "integration.create", NULL, out);
}

static enum err_code read_one(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str base, struct str id, struct integration *out)
{
    enum err_code e = path_id(cx, "integration_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_integration,
               "SELECT " COLUMNS
               " FROM integration WHERE team_id = $1 AND id = $2 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), out);
    if (e)
        return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Integration not found") : e;
    complete(cx, base, out);
    return ERR_NONE;
}

enum err_code integration_get(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str base, struct str id, struct integration *out)
{
    enum err_code e = read_one(cx, db, who, base, id, out);
    if (e || !scope_granted(who->scopes, SCOPE(INTEGRATIONS_WRITE)))
        return e;
    e = secret_unconfirmed(cx, db, who->team_id, out->id, &out->verification_token);
    if (!e && out->verification_token.p)
        REC_SET(out, verification_token);
    return e;
}

/* ---- changing ---- */

static enum err_code check_version(struct ctx *cx, const struct integration *i,
                                   const struct versions *allowed)
{
    bool is_fine = !allowed || allowed->is_any;
    for (int k = 0; !is_fine && k < allowed->n; k++)
        is_fine = allowed->v[k] == i->version;
    return is_fine ? ERR_NONE
                   : fail(cx, PRECONDITION_FAILED, "The integration is at version %lld now",
                          (long long)i->version);
}

static enum err_code changed_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The integration was changed by another request; read it again");
}

/* Stores `now` over `was`. */
static enum err_code put(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct integration *was, const struct integration *now,
                         struct integration *out)
{
    int64_t ms = clock_ms();
    enum err_code e = db_one(
        cx, db, &rec_integration,
        "UPDATE integration SET name = $3, event_types = $4, scheme = $5, callback_url = $6, "
        "is_enabled = $7, await_until_ms = $8, version = version + 1, updated_ms = $9 WHERE "
        "team_id = $1 AND id = $2 AND version = $10 AND deleted_ms IS NULL RETURNING " COLUMNS,
        ARGS(VT(who->team_id), VT(was->id), VT(now->name), VT(now->event_types), VT(now->scheme),
             VT(now->callback_url), VI(now->is_enabled),
             VI_OR_NULL(REC_HAS(now, await_until_ms), now->await_until_ms),
             VI(ms > was->updated_ms ? ms : was->updated_ms), VI(was->version)),
        out);
    return e == ERR_NOT_FOUND ? changed_meanwhile(cx) : e;
}

static void apply(const struct integration_new *patch, struct integration *i)
{
    if (REC_HAS(patch, name))
        i->name = patch->name;
    if (REC_HAS(patch, is_enabled))
        i->is_enabled = patch->is_enabled;
    if (REC_HAS(patch, event_types) || REC_IS_NULL(patch, event_types))
        i->event_types = patch->event_types.p ? patch->event_types : STR("[]");
    if (REC_HAS(patch, scheme) || REC_IS_NULL(patch, scheme))
        i->scheme = patch->scheme;
    if (REC_HAS(patch, callback_url) || REC_IS_NULL(patch, callback_url))
        i->callback_url = patch->callback_url;
}

enum err_code integration_update(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str base, struct str id,
                                 const struct integration_new *patch,
                                 const struct versions *allowed, struct integration *out)
{
    struct integration was, now;
    enum err_code e = read_one(cx, db, who, base, id, &was);
    if (!e)
        e = check_version(cx, &was, allowed);
    if (e)
        return e;
    now = was;
    apply(patch, &now);
    e = check(cx, &now);
    if (!e)
        e = put(cx, db, who, &was, &now, out);
    if (e)
        return e;
    complete(cx, base, out);
    return tell(cx, db, who, "integration.update", &was, out);
}

enum err_code integration_enable(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str base, struct str id, bool is_enabled,
                                 struct integration *out)
{
    struct integration was, now;
    enum err_code e = read_one(cx, db, who, base, id, &was);
    if (e)
        return e;
    now = was;
    now.is_enabled = is_enabled;
    e = put(cx, db, who, &was, &now, out);
    if (e)
        return e;
    complete(cx, base, out);
    return tell(cx, db, who, is_enabled ? "integration.enable" : "integration.disable", &was, out);
}

enum err_code integration_await(struct ctx *cx, struct db *db, const struct caller *who,
                                struct str base, struct str id, int64_t seconds,
                                struct integration *out)
{
    struct integration was, now;
    enum err_code e = read_one(cx, db, who, base, id, &was);
    if (e)
        return e;
    if (!brings_secret(was.kind))
        return fail(cx, CONFLICT, "No handshake of this kind brings a secret: add it instead");
    now = was;
    now.await_until_ms = clock_ms() + seconds * 1000;
    REC_SET(&now, await_until_ms);
    e = put(cx, db, who, &was, &now, out);
    if (e)
        return e;
    complete(cx, base, out);
    return tell(cx, db, who, "integration.await_handshake", &was, out);
}

enum err_code integration_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str id, const struct versions *allowed)
{
    struct integration was;
    struct rec_num gone;
    enum err_code e = read_one(cx, db, who, STR(""), id, &was);
    if (!e)
        e = check_version(cx, &was, allowed);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "UPDATE integration SET deleted_ms = $3, updated_ms = $3, await_until_ms = NULL, "
               "is_enabled = 0, version = version + 1 WHERE team_id = $1 AND id = $2 AND "
               "version = $4 AND deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(was.id), VI(clock_ms()), VI(was.version)), &gone);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    if (!e)
        e = db_run(cx, db,
                   "DELETE FROM integration_secret WHERE team_id = $1 AND integration_id = $2",
                   ARGS(VT(who->team_id), VT(was.id)));
    if (!e)
        e = sync_delete_all(cx, db, who, was.id);
    return e ? e : tell(cx, db, who, "integration.delete", &was, NULL);
}

/* The row's lock is what holds on PostgreSQL; on SQLite units follow one another. */
enum err_code integration_hold(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str id)
{
    struct integration i;
    struct rec_num held;
    enum err_code e = read_one(cx, db, who, STR(""), id, &i);
    if (e)
        return e;
    return db_one(cx, db, &rec_num,
                  "UPDATE integration SET updated_ms = updated_ms WHERE team_id = $1 AND id = $2 "
                  "AND deleted_ms IS NULL RETURNING 1 AS n",
                  ARGS(VT(who->team_id), VT(i.id)), &held);
}

/* ---- listing ---- */

enum err_code integration_list(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str base, const struct integration_query *in,
                               struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_integration,
                                              .kind = "integrations:id",
                                              .columns = COLUMNS,
                                              .table = "integration",
                                              .id = "id",
                                              .id_at = offsetof(struct integration, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE deleted_ms IS NULL AND team_id = ", VT(who->team_id));
    if (REC_HAS(in, kind))
        listing_words(&l, "kind", in->kind);
    if (REC_HAS(in, is_enabled))
        listing_and(&l, " AND is_enabled = ", VI(in->is_enabled), "");
    if (REC_HAS(in, q))
        listing_and(&l, " AND lower(name) LIKE lower(CAST(", VT(listing_like(cx, in->q)),
                    " AS TEXT)) ESCAPE '\\'");
    enum err_code e = listing_page(&l, db, &from, &ask, out);
    for (size_t i = 0; !e && i < out->rows.n; i++)
        complete(cx, base, (struct integration *)out->rows.v + i);
    return e;
}
