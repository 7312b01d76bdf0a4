/* What is old goes: see webhooks_sweep. In steps, so that nobody waits for long.
 *
 * Deliveries go when they are over and older than the setting, with their attempts; what still waits
 * stays, its retries end within days. Then the events. Of deleted webhooks everything that is over
 * goes, and at last the row. */
#include "send_inner.h"
#include "webhook_engine.h"

#define SWEEP_MAX 500 /* rows a unit */

struct sweep {
    const char *sql;
    int64_t before_ms;
    int64_t n; /* out: rows that went */
};

/* In their order: a delivery goes after its attempts. Each takes $1 = before, $2 = SWEEP_MAX. */
static const char *const steps[] = {
    "DELETE FROM webhook_attempt WHERE (team_id, delivery_id, n) IN (SELECT a.team_id, "
    "a.delivery_id, a.n FROM (SELECT team_id, id FROM webhook_delivery WHERE finished_ms < $1 "
    "ORDER BY finished_ms LIMIT $2) AS d JOIN webhook_attempt a ON a.team_id = d.team_id AND "
    "a.delivery_id = d.id) RETURNING 1 AS n",
    "DELETE FROM webhook_delivery WHERE (team_id, id) IN (SELECT team_id, id FROM "
    "webhook_delivery WHERE finished_ms < $1 ORDER BY finished_ms LIMIT $2) RETURNING 1 AS n",
};

static enum err_code old_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    struct list gone = { .n = 0 };
    enum err_code e = ERR_NONE;
    db_scope_system(db);
    for (size_t i = 0; !e && i < sizeof steps / sizeof *steps; i++)
        e = db_list(cx, db, &rec_num, steps[i], ARGS(VI(s->before_ms), VI(SWEEP_MAX)), &gone);
    s->n = (int64_t)gone.n;
    return e;
}

/* seq and at_ms rise together, but for clocks: the oldest by seq are looked at. */
static enum err_code events_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    struct list gone;
    db_scope_system(db);
    enum err_code e = db_list(cx, db, &rec_num,
                              "DELETE FROM event WHERE seq IN (SELECT seq FROM (SELECT seq, at_ms, "
                              "is_new FROM event ORDER BY seq LIMIT $2) AS o WHERE at_ms < $1 AND "
                              "is_new = 0) RETURNING 1 AS n",
                              ARGS(VI(s->before_ms), VI(SWEEP_MAX)), &gone);
    s->n = (int64_t)gone.n;
    return e;
}

/* A deleted webhook: what is over goes with its attempts, some at a time; then its row. */
static enum err_code deleted_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    struct webhook w;
    struct list over;
    db_scope_system(db);
    s->n = 0;
    enum err_code e = db_one(cx, db, &rec_webhook_row,
                             "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE deleted_ms IS NOT NULL "
                             "AND deleted_ms < $1 LIMIT 1",
                             ARGS(VI(clock_ms())), &w);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = db_list(cx, db, &rec_sending,
                "SELECT id FROM webhook_delivery WHERE team_id = $1 AND webhook_id = $2 "
                "ORDER BY id LIMIT $3",
                ARGS(VT(w.team_id), VT(w.id), VI(SWEEP_MAX)), &over);
    s->n = SWEEP_MAX;
    for (size_t i = 0; !e && i < over.n; i++) {
        struct args of = ARGS(VT(w.team_id), VT(((const struct sending *)over.v)[i].id));
        e = db_run(cx, db, "DELETE FROM webhook_attempt WHERE team_id = $1 AND delivery_id = $2",
                   of);
        if (!e)
            e = db_run(cx, db, "DELETE FROM webhook_delivery WHERE team_id = $1 AND id = $2", of);
    }
    if (!e && over.n < SWEEP_MAX)
        e = db_run(cx, db, "DELETE FROM webhook WHERE team_id = $1 AND id = $2",
                   ARGS(VT(w.team_id), VT(w.id)));
    return e;
}

enum err_code webhooks_sweep(struct ctx *cx, struct store *store, int64_t days)
{
    static enum err_code (*const units[])(struct ctx *, struct db *,
                                          void *) = { old_unit, events_unit, deleted_unit };
    struct sweep s = { .before_ms = clock_ms() - days * DAY_MS };
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < sizeof units / sizeof *units; i++) {
        struct ctx step;
        do {
            ctx_init(&step, CTX_CAP_DEFAULT);
            e = store_tx(&step, store, units[i], &s);
            ctx_done(&step);
        } while (!e && s.n == SWEEP_MAX && ctx_ok(cx));
    }
    return e ? fail(cx, UNAVAILABLE, "webhooks cannot be swept now") : cx->err;
}
