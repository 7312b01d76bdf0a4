/* How long webhooks stay: see retention.h.
 *
 * Ids of events begin with the time they came, so that "older than" is a range of the primary key
 * and needs no index of its own. Steps are small, each in a unit of its own. */
#include "retention.h"

#include "../../base/clock.h"
#include "../integration_secret.h"
#include "process.h"

#define STEP 500
#define STEPS_MAX 2000 /* of one run for one team; the next run goes on */
#define TEAMS_STEP 100

/* ---- payloads ---- */

struct gone {
    struct rec_bits bits;
    struct str id;
    int64_t bytes;
};
static const struct field gone_fields[] = {
    { "id", F_STR, offsetof(struct gone, id), 0, 0, 0, NULL, NULL, NULL },
    { "bytes", F_INT, offsetof(struct gone, bytes), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_gone = REC("HookGone", struct gone, gone_fields, "A removed event.");

/* What belonged to the rows that are gone. */
static enum err_code remove_payloads(struct ctx *cx, struct db *db, struct str team_id,
                                     const struct list *gone)
{
    int64_t bytes = 0;
    enum err_code e = ERR_NONE;
    for (size_t i = 0; i < gone->n && !e; i++) {
        const struct gone *g = (const struct gone *)gone->v + i;
        bytes += g->bytes;
        e = db_run(cx, db, "DELETE FROM webhook_payload WHERE team_id = $1 AND id = $2",
                   ARGS(VT(team_id), VT(g->id)));
    }
    if (e || !bytes)
        return e;
    return db_run(cx, db, "UPDATE hook_stored SET bytes = bytes - $2 WHERE team_id = $1",
                  ARGS(VT(team_id), VI(bytes)));
}

enum err_code hook_log_evict(struct ctx *cx, struct db *db, struct str team_id, int64_t n)
{
    struct list gone;
    enum err_code e =
        db_list(cx, db, &rec_gone,
                "DELETE FROM webhook_log WHERE team_id = $1 AND id IN (SELECT id FROM "
                "webhook_log WHERE team_id = $1 AND state <> 'received' ORDER BY id "
                "LIMIT $2) RETURNING id, stored_bytes AS bytes",
                ARGS(VT(team_id), VI(n)), &gone);
    return e ? e : remove_payloads(cx, db, team_id, &gone);
}

struct old {
    struct str team_id, before_id;
    int64_t gone; /* out */
};

static enum err_code old_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct old *o = arg;
    struct list gone;
    db_scope_system(db);
    enum err_code e =
        db_list(cx, db, &rec_gone,
                "DELETE FROM webhook_log WHERE team_id = $1 AND id IN (SELECT id FROM webhook_log "
                "WHERE team_id = $1 AND id < $2 ORDER BY id LIMIT $3) RETURNING id, "
                "stored_bytes AS bytes",
                ARGS(VT(o->team_id), VT(o->before_id), VI(STEP)), &gone);
    o->gone = e ? 0 : (int64_t)gone.n;
    return e ? e : remove_payloads(cx, db, o->team_id, &gone);
}

struct str hook_id_of_time(struct arena *a, int64_t ms)
{
    return str_printf(a, "%08llx-%04llx-0000-0000-000000000000", (unsigned long long)ms >> 16,
                      (unsigned long long)ms & 0xFFFF);
}

static enum err_code sweep_team(struct ctx *cx, struct store *store, struct str team_id,
                                int64_t before_ms)
{
    struct ctx own;
    struct old o = { .team_id = team_id };
    enum err_code e = ERR_NONE;
    ctx_init(&own, CTX_CAP_DEFAULT);
    for (int i = 0; i < STEPS_MAX && !e && (i == 0 || o.gone == STEP) && ctx_ok(cx); i++) {
        ctx_retry(&own);
        o.before_id = hook_id_of_time(&own.arena, before_ms);
        e = store_tx(&own, store, old_unit, &o);
    }
    if (e)
        ctx_fail_plain(cx, e);
    ctx_done(&own);
    return e;
}

struct teams {
    struct str after;
    struct list list; /* out */
};

static enum err_code teams_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct teams *t = arg;
    db_scope_system(db);
    return db_list(cx, db, &rec_text,
                   "SELECT DISTINCT team_id AS s FROM integration WHERE team_id > $1 ORDER BY "
                   "team_id LIMIT $2",
                   ARGS(VT(t->after), VI(TEAMS_STEP)), &t->list);
}

static enum err_code sweep_payloads(struct ctx *cx, struct store *store, int64_t before_ms)
{
    struct teams t = { .after = STR("") };
    enum err_code e;
    do {
        e = store_read(cx, store, teams_unit, &t);
        for (size_t i = 0; i < t.list.n && !e; i++) {
            t.after = ((const struct rec_text *)t.list.v)[i].s;
            e = sweep_team(cx, store, t.after, before_ms);
        }
    } while (!e && t.list.n == TEAMS_STEP && ctx_ok(cx));
    return e ? e : cx->err;
}

/* ---- what was seen, secrets that have ended ---- */

struct seen {
    int64_t before_ms;
    int64_t gone; /* out */
};

static enum err_code seen_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct seen *s = arg;
    struct list list;
    db_scope_system(db);
    enum err_code e = db_list(cx, db, &rec_num,
                              "DELETE FROM hook_seen WHERE (team_id, integration_id, event_key) IN "
                              "(SELECT team_id, integration_id, event_key FROM hook_seen WHERE "
                              "seen_ms < $1 ORDER BY seen_ms LIMIT $2) RETURNING 1 AS n",
                              ARGS(VI(s->before_ms), VI(STEP)), &list);
    s->gone = e ? 0 : (int64_t)list.n;
    return e;
}

static enum err_code secrets_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct seen *s = arg;
    db_scope_system(db);
    return secret_purge(cx, db, s->before_ms, &s->gone);
}

static enum err_code sweep_steps(struct ctx *cx, struct store *store,
                                 enum err_code (*fn)(struct ctx *, struct db *, void *),
                                 int64_t before_ms)
{
    struct seen s = { .before_ms = before_ms };
    struct ctx own;
    enum err_code e = ERR_NONE;
    ctx_init(&own, CTX_CAP_DEFAULT);
    for (int i = 0; i < STEPS_MAX && !e && (i == 0 || s.gone == STEP) && ctx_ok(cx); i++) {
        ctx_retry(&own);
        e = store_tx(&own, store, fn, &s);
    }
    if (e)
        ctx_fail_plain(cx, e);
    ctx_done(&own);
    return e;
}

static enum err_code sweep(struct ctx *cx, struct job_run *r)
{
    const struct hook_work *w = r->arg;
    int64_t now = clock_ms();
    enum err_code e = sweep_payloads(cx, r->store, now - w->payload_days * DAY_MS);
    if (!e)
        e = sweep_steps(cx, r->store, seen_unit, now - w->seen_days * DAY_MS);
    return e ? e : sweep_steps(cx, r->store, secrets_unit, now);
}

static const int64_t sweep_waits[] = { 5000, 30000, 0 };
const struct job_kind hooks_sweep = { .name = "hooks.sweep",
                                      .run = sweep,
                                      .timeout_ms = 30 * 60 * 1000,
                                      .attempts = 3,
                                      .backoff_ms = sweep_waits,
                                      .jitter = 20,
                                      .concurrency = 1,
                                      .priority = 5,
                                      .period_ms = 60 * 60 * 1000,
                                      .is_single = true,
                                      .doc = "Removes received webhooks that are old, and ended "
                                             "secrets" };
