/* One transaction for many units of work: the optimistic batch.
 *
 * First every unit runs without savepoints, then the hook writes what rides along, then COMMIT; a pipelining database is
 * waited for only there, once for the whole batch. A unit that fails before it has written just keeps its error: it left
 * nothing behind. A unit that fails after writing, or a statement that the database refuses, spoils the transaction: it is
 * rolled back and all units run again, each in its own savepoint with a flush behind it, so that a failing unit takes back
 * only itself. When the transaction itself is lost (disk full, connection gone, COMMIT refused) all get UNAVAILABLE and
 * nothing is stored; it is never run again when it might have been committed.
 *
 * after_commit follows every before_commit, and is called at least once per batch. Threads: the writer's. */
#include "../base/clock.h"
#include "../base/fault.h"
#include "../base/log.h"
#include "inner.h"

#define RETRIES_POSTGRES 3 /* of one unit after a deadlock */

enum outcome { BATCH_RAN, BATCH_AGAIN, BATCH_LOST };

/* A lost connection is opened again by the backend's begin. */
static bool batch_begin(struct writer *w)
{
    ctx_clear(&w->cx);
    return w->db->ops->begin(&w->cx, w->db, true) == ERR_NONE;
}

static enum err_code unit_call(struct writer *w, struct unit *u, int index)
{
    enum err_code e;

    db_unit_begin(w->db, index);
    e = u->fn(u->cx, w->db, u->arg);
    db_unit_end(u->cx, w->db, e);
    return e;
}

static void unit_ran(struct unit *u, enum err_code e)
{
    u->err = e;
    if (u->ran)
        u->ran(u, e);
}

static enum outcome run_fast(struct writer *w, struct unit **units, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum err_code e = unit_call(w, units[i], (int)i);

        if (e && (w->db->has_written || w->db->is_refused))
            return BATCH_AGAIN;
        unit_ran(units[i], e);
    }
    return BATCH_RAN;
}

/* False: the transaction is lost. */
static bool run_in_savepoint(struct writer *w, struct unit *u, int index)
{
    const struct db_ops *ops = w->db->ops;
    int tries = w->db->is_postgres ? RETRIES_POSTGRES : 1;
    int failed = -1;
    enum err_code e, flushed;

    do {
        ctx_clear(u->cx);
        if (ops->savepoint(&w->cx, w->db))
            return false;
        e = unit_call(w, u, index);
        flushed = ops->flush(u->cx, w->db, &failed);
        if (!e)
            e = flushed;
        if (e ? ops->rollback_to(&w->cx, w->db) : ops->release(&w->cx, w->db))
            return false;
    } while (e == ERR_UNAVAILABLE && --tries > 0);
    unit_ran(u, e);
    return true;
}

static enum outcome run_isolated(struct writer *w, struct unit **units, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!run_in_savepoint(w, units[i], (int)i))
            return BATCH_LOST;
    return BATCH_RAN;
}

/* The hook, what is still on its way, COMMIT. */
static bool batch_commit(struct writer *w, struct unit *const *units, size_t n)
{
    const struct store_hooks *h = &w->s->hooks;
    struct db *db = w->db;
    int64_t start;
    bool is_done;

    db_unit_begin(db, -1);
    if (h->before_commit && h->before_commit(&w->cx, db, h->arg, w->index, units, n))
        return false;
    if (fault_hit(FAULT_COMMIT))
        return false;
    start = clock_mono_us();
    is_done = db->ops->commit(&w->cx, db) == ERR_NONE;
    atomic_fetch_add(&w->s->commit_us_sum, clock_mono_us() - start);
    return is_done;
}

static void tell_hook(struct writer *w, bool is_committed)
{
    if (w->s->hooks.after_commit)
        w->s->hooks.after_commit(w->s->hooks.arg, w->index, is_committed);
}

/* One attempt; true when it is committed. *again: nothing was kept and the units are to run apart. */
static bool attempt_fast(struct writer *w, struct unit **units, size_t n, bool *again)
{
    enum outcome outcome = batch_begin(w) ? run_fast(w, units, n) : BATCH_LOST;
    bool is_committed = outcome == BATCH_RAN && batch_commit(w, units, n);

    *again = outcome == BATCH_AGAIN || (!is_committed && w->db->is_refused);
    if (*again && outcome == BATCH_RAN)
        tell_hook(w, false);
    return is_committed;
}

static bool attempt_isolated(struct writer *w, struct unit **units, size_t n)
{
    return batch_begin(w) && run_isolated(w, units, n) == BATCH_RAN && batch_commit(w, units, n);
}

static void batch_answer(struct unit **units, size_t n, bool is_stored)
{
    for (size_t i = 0; i < n; i++) {
        struct unit *u = units[i];

        if (!is_stored) {
            ctx_clear(u->cx);
            u->err = store_unavailable(u->cx);
        }
        u->done(u, u->err);
    }
}

void batch_run(struct writer *w, struct unit **units, size_t n)
{
    struct store *s = w->s;
    bool again, is_told, is_committed = attempt_fast(w, units, n, &again);

    if (again) {
        atomic_fetch_add(&s->reruns, 1);
        w->db->ops->rollback(w->db);
        is_committed = attempt_isolated(w, units, n);
    }
    /* A fault here is an answer lost after COMMIT: stored, yet the callers are told to try again. */
    is_told = is_committed && !fault_hit(FAULT_COMMITTED);
    if (!is_committed) {
        w->db->ops->rollback(w->db);
        atomic_fetch_add(&s->commit_failures, 1);
        log_warn(&w->cx, "store.batch_failed", KVI("units", (int64_t)n),
                 KVC("error", err_info(w->cx.err)->name));
    }
    atomic_fetch_add(&s->batches, 1);
    atomic_fetch_add(&s->units, (long long)n);
    tell_hook(w, is_committed);
    batch_answer(units, n, is_told);
    ctx_retry(&w->cx);
    if (s->backend->rest)
        s->backend->rest(w->db);
}
