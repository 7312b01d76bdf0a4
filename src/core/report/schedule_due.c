/* What is due, and what is over for long: see schedule_run.h. */
#include "../../base/clock.h"
#include "run_inner.h"

#define DUE_MAX 50    /* schedules a unit */
#define SWEEP_MAX 200 /* runs a unit */
#define NEVER_MS ((int64_t)1 << 53)

struct step {
    int64_t now_ms;
    size_t n; /* what the unit found */
};

/* Repeats the unit, each time in a ctx of its own, until it finds less than `full`. */
static enum err_code repeat(struct ctx *cx, struct store *store,
                            enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg),
                            struct step *s, size_t full)
{
    enum err_code e;
    do {
        struct ctx step;
        ctx_init(&step, CTX_CAP_DEFAULT);
        e = store_tx(&step, store, fn, s);
        if (e)
            ctx_fail(cx, e, STR_FMT, STR_ARG(step.err_text));
        ctx_done(&step);
    } while (!e && s->n >= full && ctx_ok(cx));
    return e ? e : cx->err;
}

/* ---- due ---- */

/* The row moves on first: who has moved it adds the run. */
static enum err_code one_due(struct ctx *cx, struct db *db, const struct schedule *s,
                             int64_t now_ms)
{
    struct rec_num moved;
    struct run run;
    bool is_waiting = false;
    int64_t next = schedule_next_ms(cx, s, now_ms);
    enum err_code e = db_one(cx, db, &rec_num,
                             "UPDATE report_schedule SET next_ms = $4 WHERE team_id = $1 AND "
                             "report_id = $2 AND id = $3 AND next_ms = $5 AND is_enabled = 1 "
                             "RETURNING 1 AS n",
                             ARGS(VT(s->team_id), VT(s->report_id), VT(s->id),
                                  VI(next ? next : NEVER_MS), VI(s->next_ms)),
                             &moved);
    if (e || !s->next_ms) /* 0: nobody knew when it is due */
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = run_waits(cx, db, s, &is_waiting);
    if (e || is_waiting)
        return e;
    return run_add(cx, db, s, &(struct run_new){ "schedule", s->next_ms, NULL }, &run);
}

static enum err_code due_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct step *s = arg;
    struct list due;
    db_scope_system(db);
    enum err_code e = db_list(
        cx, db, &rec_schedule_row,
        "SELECT team_id, report_id, id, kind, at_time AS at, weekdays, day_of_month, cron, "
        "time_zone, format, COALESCE(runs_as, created_by) AS runs_as, next_ms FROM "
        "report_schedule WHERE is_enabled = 1 AND next_ms <= $1 ORDER BY next_ms LIMIT $2 {claim}",
        ARGS(VI(s->now_ms), VI(DUE_MAX)), &due);
    for (size_t i = 0; !e && i < due.n; i++)
        e = one_due(cx, db, (const struct schedule *)due.v + i, s->now_ms);
    s->n = due.n;
    return e;
}

static enum err_code orphans_unit(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    db_scope_system(db);
    return runs_end_orphans(cx, db);
}

enum err_code runs_due(struct ctx *cx, struct store *store)
{
    struct step s = { .now_ms = clock_ms() };
    enum err_code e = repeat(cx, store, due_unit, &s, DUE_MAX);
    s.n = 0;
    return e ? e : repeat(cx, store, orphans_unit, &s, DUE_MAX);
}

/* ---- over for long ---- */

#define SQL_OLD                                                                                    \
    "(SELECT team_id, id FROM report_run WHERE finished_ms < $1 ORDER BY finished_ms, id LIMIT $2)"

static enum err_code sweep_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct step *s = arg;
    struct list gone;
    struct args args = ARGS(VI(s->now_ms - RUN_KEPT_DAYS * DAY_MS), VI(SWEEP_MAX));
    db_scope_system(db);
    enum err_code e =
        db_run(cx, db, "DELETE FROM report_delivery WHERE (team_id, run_id) IN " SQL_OLD, args);
    if (!e)
        e = db_list(cx, db, &rec_num,
                    "DELETE FROM report_run WHERE (team_id, id) IN " SQL_OLD " RETURNING 1 AS n",
                    args, &gone);
    s->n = e ? 0 : gone.n;
    return e;
}

enum err_code runs_sweep(struct ctx *cx, struct store *store)
{
    struct step s = { .now_ms = clock_ms() };
    return repeat(cx, store, sweep_unit, &s, SWEEP_MAX);
}
