/* A webhook that comes in: see receive.h.
 *
 * The id in the address is all that the sender says of whom it belongs to, so the look-up runs in
 * the system's scope; everything after it names the team that was found. */
#include "receive.h"

#include <string.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/log.h"
#include "../../core/job/job.h"
#include "../../core/vault/vault.h"
#include "../hook_config.h"
#include "../integration_secret.h"
#include "payload.h"
#include "process.h"

#define FULL_RETRY_S 300
#define GATHER_MS 50 /* events that come so soon behind one share its job */

/* ---- whose it is ---- */

struct target { /* the integration, once for each of its secrets */
    struct rec_bits bits;
    struct str team_id, kind, scheme, callback_url, secret_id, secret;
    int64_t await_until_ms, is_unconfirmed, stored;
};
#define AT(member) offsetof(struct target, member)
#define COLUMN(name, type, member)                                                                 \
    {                                                                                              \
        name, type, AT(member), 0, 0, 0, NULL, NULL, NULL                                          \
    }
static const struct field target_fields[] = {
    COLUMN("team_id", F_STR, team_id),
    COLUMN("kind", F_STR, kind),
    COLUMN("scheme", F_STR, scheme),
    COLUMN("callback_url", F_STR, callback_url),
    COLUMN("secret_id", F_STR, secret_id),
    COLUMN("secret", F_STR, secret),
    COLUMN("await_until", F_INT, await_until_ms),
    COLUMN("unconfirmed", F_INT, is_unconfirmed),
    COLUMN("stored", F_INT, stored),
};
static const struct rec rec_target = REC("HookTarget", struct target, target_fields, "A target.");

#define OF_INTEGRATION                                                                             \
    "FROM integration i JOIN team t ON t.id = i.team_id AND t.deleted_ms IS NULL "
#define WHERE_TAKEN " WHERE i.id = $1 AND i.deleted_ms IS NULL AND i.is_enabled = 1"
/* One secret more than are live at the same time would be refused by hook_verify. */
static const char SQL_TARGET[] =
    "SELECT i.team_id AS team_id, i.kind AS kind, i.scheme AS scheme, i.callback_url AS "
    "callback_url, i.await_until_ms AS await_until, s.id AS secret_id, s.secret AS secret, "
    "s.is_unconfirmed AS unconfirmed, b.bytes AS stored " OF_INTEGRATION
    "LEFT JOIN hook_stored b ON b.team_id = i.team_id LEFT JOIN integration_secret s ON "
    "s.team_id = i.team_id AND s.integration_id = i.id AND s.purpose = 'hook' AND "
    "(s.expires_ms IS NULL OR s.expires_ms > $2)" WHERE_TAKEN " ORDER BY s.id DESC LIMIT 8";
_Static_assert(HOOK_SECRETS_MAX == 8, "the LIMIT of SQL_TARGET");

static enum err_code nothing_here(struct ctx *cx)
{
    return fail(cx, NOT_FOUND, "No webhook is taken at this address");
}

static enum err_code find_target(struct ctx *cx, struct db *db, struct hook_in *in,
                                 struct list *out)
{
    if (path_id(cx, "integration_id", &in->id)) {
        ctx_clear(cx);
        return nothing_here(cx);
    }
    db_scope_system(db);
    enum err_code e =
        db_list(cx, db, &rec_target, SQL_TARGET, ARGS(VT(in->id), VI(in->ask.now_ms)), out);
    return !e && !out->n ? nothing_here(cx) : e;
}

enum err_code hook_exists(struct ctx *cx, struct db *db, struct str id)
{
    struct rec_num n;
    if (!uuid_is_valid(id))
        return nothing_here(cx);
    enum err_code e = path_id(cx, "integration_id", &id);
    db_scope_system(db);
    if (!e)
        e = db_one(cx, db, &rec_num, "SELECT 1 AS n " OF_INTEGRATION WHERE_TAKEN, ARGS(VT(id)), &n);
    return e == ERR_NOT_FOUND ? nothing_here(cx) : e;
}

/* ---- whether it holds ---- */

struct keys {
    struct str text[HOOK_SECRETS_MAX], id[HOOK_SECRETS_MAX];
    bool is_unconfirmed[HOOK_SECRETS_MAX];
    size_t n;
};

/* One that is damaged is passed over: the others may hold. The log has told. */
static enum err_code open_secrets(struct ctx *cx, struct db *db, const struct list *rows,
                                  struct keys *k)
{
    const struct target *t = rows->v;
    k->n = 0;
    for (size_t i = 0; i < rows->n && t[i].secret.p; i++) {
        struct vault_place at = { "integration_secret", "secret", t[i].team_id, t[i].secret_id };
        enum err_code e = vault_open(cx, db, &at, t[i].secret, &k->text[k->n]);
        if (e) {
            ctx_clear(cx);
            if (e != ERR_INTERNAL)
                return ctx_fail_plain(cx, ERR_UNAVAILABLE);
            continue;
        }
        k->id[k->n] = t[i].secret_id;
        k->is_unconfirmed[k->n++] = t[i].is_unconfirmed;
    }
    return ERR_NONE;
}

static enum err_code scheme_of(struct ctx *cx, const struct target *t,
                               const struct hook_scheme **out)
{
    struct hook_scheme *own;
    *out = hook_scheme_find(t->kind);
    if (!*out)
        return ctx_fail_plain(cx, ERR_INTERNAL);
    if (!t->scheme.p)
        return ERR_NONE;
    own = ARENA_NEW(&cx->arena, struct hook_scheme);
    *out = own;
    return hook_config_parse(cx, t->scheme, own);
}

static enum err_code fill_ask(struct ctx *cx, struct db *db, const struct hook_desk *desk,
                              const struct list *rows, struct hook_in *in, struct keys *k)
{
    const struct target *t = rows->v;
    struct hook_ask *ask = &in->ask;
    enum err_code e = scheme_of(cx, t, &ask->scheme);
    if (!e)
        e = open_secrets(cx, db, rows, k);
    ask->secrets = k->text;
    ask->n_secrets = k->n;
    ask->is_awaiting = t->await_until_ms > ask->now_ms;
    ask->url = t->callback_url;
    if (!ask->url.p && desk->base.n)
        ask->url =
            str_printf(&cx->arena, STR_FMT "/hooks/" STR_FMT, STR_ARG(desk->base), STR_ARG(in->id));
    return e;
}

static enum err_code refuse(struct ctx *cx, const struct hook_desk *desk, const struct hook_in *in,
                            const struct hook_verdict *v)
{
    bool is_news = !desk->brake || brake_note(desk->brake, in->ip, in->id, in->ask.now_ms);
    if (is_news)
        log_info(cx, "hook.refused", KVS("integration", in->id), KVS("ip", in->ip),
                 KVS("reason", v->reason));
    return v->fault == HOOK_TOO_LARGE ? fail(cx, TOO_LARGE, STR_FMT, STR_ARG(v->reason))
                                      : fail(cx, BAD_SIGNATURE, STR_FMT, STR_ARG(v->reason));
}

/* ---- meeting ---- */

static void fill_event(struct ctx *cx, const struct hook_in *in, struct hook_met *m)
{
    m->event_id = uuid7(&cx->arena);
    m->headers = payload_headers(cx, &in->ask);
    m->body = payload_body(cx, &in->ask, &m->body_form);
    m->size_bytes = (int64_t)in->ask.body.n;
}

static enum err_code too_full(struct ctx *cx)
{
    cx->retry_after_s = FULL_RETRY_S;
    return fail(cx, UNAVAILABLE, "The team has no room for further webhooks; try again later");
}

enum err_code hook_meet(struct ctx *cx, struct db *db, const struct hook_desk *desk,
                        struct hook_in *in, struct hook_met *out)
{
    struct list rows = { NULL, 0 };
    struct keys k = { .n = 0 };
    in->ask.now_ms = clock_ms();
    if (desk->brake && !brake_is_open(desk->brake, in->ip, in->id, in->ask.now_ms)) {
        cx->retry_after_s = 60;
        return fail(cx, RATE_LIMITED, "Too many webhooks from this address did not hold");
    }
    enum err_code e = find_target(cx, db, in, &rows);
    if (e == ERR_NOT_FOUND && desk->brake)
        brake_note(desk->brake, in->ip, in->id, in->ask.now_ms);
    if (!e)
        e = fill_ask(cx, db, desk, &rows, in, &k);
    if (e)
        return e;
    const struct target *t = rows.v;
    *out = (struct hook_met){ .team_id = t->team_id,
                              .integration_id = in->id,
                              .verdict = hook_verify(cx, &in->ask),
                              .ip = in->ip,
                              .now_ms = in->ask.now_ms };
    const struct hook_verdict *v = &out->verdict;
    if (!v->is_valid)
        return refuse(cx, desk, in, v);
    out->has_writing = !v->handshake || v->new_secret.p;
    if (v->handshake)
        return ERR_NONE;
    if (t->stored > HOOK_FULL * desk->quota_bytes)
        return too_full(cx);
    if (k.is_unconfirmed[v->which])
        out->confirmed_id = k.id[v->which];
    fill_event(cx, in, out);
    return ERR_NONE;
}

/* ---- keeping ---- */

/* The sender shows it to a person, who pastes it back: Notion. With Asana the echo is enough. */
static bool is_pasted_back(const struct hook_verdict *v)
{
    return v->new_secret.p && !v->reply.header_name;
}

static enum err_code keep_secret(struct ctx *cx, struct db *db, const struct hook_met *m)
{
    const struct shaken s = { .team_id = m->team_id,
                              .integration_id = m->integration_id,
                              .secret = m->verdict.new_secret,
                              .ip = m->ip,
                              .must_be_shown = is_pasted_back(&m->verdict),
                              .now_ms = m->now_ms };
    enum err_code e = secret_shaken(cx, db, &s);
    return e == ERR_NOT_FOUND ? fail(cx, BAD_SIGNATURE, "No handshake is awaited") : e;
}

/* The first delivery puts its event into the row; a later one counts. */
static enum err_code keep_seen(struct ctx *cx, struct db *db, const struct hook_met *m)
{
    return db_run(
        cx, db,
        "INSERT INTO hook_seen (team_id, integration_id, event_key, event_id, duplicates, "
        "seen_ms) VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (team_id, integration_id, "
        "event_key) DO UPDATE SET duplicates = hook_seen.duplicates + 1",
        ARGS(VT(m->team_id), VT(m->integration_id), VT(m->verdict.event_key), VT(m->event_id),
             VI(m->now_ms)));
}

/* Nothing is waited for: whether this delivery is the first is seen by the statements themselves. */
#define LOG_COLUMNS                                                                                \
    "INSERT INTO webhook_log (team_id, id, integration_id, event_type, event_key, state, "         \
    "attempts, due_ms, received_ms, replays, size_bytes, stored_bytes) "
static const char SQL_LOG_FIRST[] = LOG_COLUMNS
    "SELECT $1, $2, $3, $4, $5, 'received', 0, 0, CAST($6 AS BIGINT), 0, CAST($7 AS BIGINT), "
    "CAST($8 AS BIGINT) WHERE EXISTS (SELECT 1 FROM hook_seen WHERE team_id = $1 AND "
    "integration_id = $3 AND event_key = $5 AND event_id = $2)";
static const char SQL_LOG[] =
    LOG_COLUMNS "VALUES ($1, $2, $3, $4, $5, 'received', 0, 0, $6, 0, $7, $8)";
#define IS_NEW " WHERE EXISTS (SELECT 1 FROM webhook_log WHERE team_id = $1 AND id = $2)"

static enum err_code keep_log(struct ctx *cx, struct db *db, const struct hook_met *m,
                              int64_t stored)
{
    const struct hook_verdict *v = &m->verdict;
    enum err_code e =
        db_run(cx, db, v->event_key.p ? SQL_LOG_FIRST : SQL_LOG,
               ARGS(VT(m->team_id), VT(m->event_id), VT(m->integration_id), VT(v->event_type),
                    VT(v->event_key), VI(m->now_ms), VI(m->size_bytes), VI(stored)));
    if (e)
        return e;
    return db_run(cx, db,
                  "INSERT INTO webhook_payload (team_id, id, headers, body_form, body) SELECT $1, "
                  "$2, $3, $4, $5" IS_NEW,
                  ARGS(VT(m->team_id), VT(m->event_id), VT(m->headers), VT(str_of(m->body_form)),
                       VT(m->body)));
}

static enum err_code keep_stored(struct ctx *cx, struct db *db, const struct hook_met *m,
                                 int64_t stored)
{
    return db_run(cx, db,
                  "INSERT INTO hook_stored (team_id, bytes) SELECT $1, CAST($3 AS BIGINT)" IS_NEW
                  " ON CONFLICT (team_id) DO UPDATE SET bytes = hook_stored.bytes + excluded.bytes",
                  ARGS(VT(m->team_id), VT(m->event_id), VI(stored)));
}

/* Where asking is cheap it is asked first: nearly always the job of the event before still waits. On
 * PostgreSQL the answer would be a round trip, and is not needed; there the job is told that somebody
 * may be joining it (process.h). */
static enum err_code keep_job(struct ctx *cx, struct db *db, const struct hook_met *m)
{
    const struct job_new job = { .kind = &hook_process,
                                 .key = m->integration_id,
                                 .delay_ms = GATHER_MS };
    struct rec_num n;
    enum err_code e = ERR_NOT_FOUND;
    if (!db_is_postgres(db))
        e = db_one(cx, db, &rec_num,
                   "SELECT 1 AS n FROM job WHERE team_id = $1 AND kind = $2 AND key = $3 AND "
                   "state = 'ready' AND is_single = 1",
                   ARGS(VT(m->team_id), VT(str_of(hook_process.name)), VT(m->integration_id)), &n);
    else if (db_run(cx, db, "SELECT pg_advisory_xact_lock_shared(" HOOK_LOCK_KEYS ")",
                    ARGS(VT(m->integration_id))))
        return cx->err;
    return e == ERR_NOT_FOUND ? job_add(cx, db, m->team_id, &job, NULL) : e;
}

enum err_code hook_keep(struct ctx *cx, struct db *db, const struct hook_met *m)
{
    int64_t stored = (int64_t)(m->body.n + m->headers.n);
    enum err_code e = ERR_NONE;
    if (m->verdict.new_secret.p)
        return keep_secret(cx, db, m);
    if (m->confirmed_id.p)
        e = secret_confirm(cx, db, m->team_id, m->integration_id, m->confirmed_id);
    if (!e && m->verdict.event_key.p)
        e = keep_seen(cx, db, m);
    if (!e)
        e = keep_log(cx, db, m, stored);
    if (!e)
        e = keep_stored(cx, db, m, stored);
    return e ? e : keep_job(cx, db, m);
}
