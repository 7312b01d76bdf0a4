/* What is over and old goes: done and cancelled jobs after some days, dead ones later. See job.h. */
#include "../../base/clock.h"
#include "job_inner.h"

#define SWEEP_MAX 500 /* rows a unit */

struct sweep {
    int64_t done_before_ms, dead_before_ms, server_before_ms;
    struct list gone;
};

static enum err_code sweep_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    db_scope_system(db);
    return db_list(
        cx, db, &rec_num,
        "DELETE FROM job WHERE (team_id, id) IN (SELECT team_id, id FROM job WHERE "
        "finished_ms < $1 AND (state <> 'dead' OR finished_ms < $2) AND "
        "(finished_ms < $3 OR (team_id = '' AND state <> 'dead')) LIMIT $4) "
        "RETURNING 1 AS n",
        ARGS(VI(s->server_before_ms), VI(s->dead_before_ms), VI(s->done_before_ms), VI(SWEEP_MAX)),
        &s->gone);
}

enum err_code job_sweep(struct ctx *cx, struct store *store, int64_t done_days, int64_t dead_days)
{
    int64_t now = clock_ms();
    struct sweep s = { .done_before_ms = now - done_days * DAY_MS,
                       .dead_before_ms = now - dead_days * DAY_MS,
                       .server_before_ms = now - DAY_MS };
    enum err_code e;
    do
        e = store_tx(cx, store, sweep_unit, &s);
    while (!e && s.gone.n == SWEEP_MAX && ctx_ok(cx));
    return e ? e : cx->err;
}
