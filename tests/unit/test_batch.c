/* Batches of the writer on SQLite: what a failing unit takes with it, faults, hooks, a full queue,
 * a full disk.
 *
 * Batches are made by hand: a first unit holds the writer until the others are queued, so they run
 * as one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <semaphore.h>
#include <stdlib.h>

#include "base/fault.h"
#include "sqlite_store.h"

#define UNITS_MAX 64

/* --- Batches --- */

struct one {
    struct unit u;
    struct ctx cx;
    int64_t id;
    bool fails_early, fails_late;
    int runs;
    enum err_code err;
    struct batch *batch;
};

struct batch {
    sem_t hold, answered;
    struct one v[UNITS_MAX];
    int n;
};

static enum err_code hold_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct batch *b = arg;

    (void)cx;
    (void)db;
    sem_wait(&b->hold);
    return ERR_NONE;
}

static enum err_code one_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct one *one = arg;
    enum err_code e;

    one->runs++;
    if (one->fails_early)
        return fail(cx, NOT_FOUND, "early");
    e = insert(cx, db, one->id);
    if (!e && one->fails_late)
        return fail(cx, CONFLICT, "late");
    return e;
}

static void one_done(struct unit *u, enum err_code e)
{
    struct one *one = u->arg;

    one->err = e;
    sem_post(&one->batch->answered);
}

static void hold_done(struct unit *u, enum err_code e)
{
    (void)e;
    sem_post(&((struct batch *)u->arg)->answered);
}

static struct batch *batch_new(int n)
{
    struct batch *b = calloc(1, sizeof *b);

    assert_non_null(b);
    sem_init(&b->hold, 0, 0);
    sem_init(&b->answered, 0, 0);
    b->n = n;
    for (int i = 0; i < n; i++) {
        struct one *one = &b->v[i];

        ctx_init(&one->cx, CTX_CAP_DEFAULT);
        one->id = 100 + i;
        one->batch = b;
        one->u = (struct unit){ .fn = one_fn, .done = one_done, .cx = &one->cx, .arg = one };
    }
    return b;
}

/* Run the units as one batch behind a unit that holds the writer; wait for all answers. */
static void batch_go(struct fix *f, struct batch *b)
{
    struct ctx cx;
    struct unit hold = {
        .fn = hold_fn, .done = hold_done, .cx = &cx, .arg = b, .flags = UNIT_ALONE
    };

    ctx_init(&cx, CTX_CAP_DEFAULT);
    store_submit(f->s, &hold, 0);
    for (int i = 0; i < b->n; i++)
        store_submit(f->s, &b->v[i].u, 0);
    sem_post(&b->hold);
    for (int i = 0; i < b->n + 1; i++)
        sem_wait(&b->answered);
    ctx_done(&cx);
}

static void batch_free(struct batch *b)
{
    for (int i = 0; i < b->n; i++)
        ctx_done(&b->v[i].cx);
    sem_destroy(&b->hold);
    sem_destroy(&b->answered);
    free(b);
}

static struct store_stats stats_of(struct fix *f)
{
    struct store_stats st;

    store_stats(f->s, &st);
    return st;
}

static void test_a_batch_commits_once(void **state)
{
    struct fix *f = *state;
    struct batch *b = batch_new(20);
    struct store_stats before = stats_of(f), after;

    batch_go(f, b);

    after = stats_of(f);
    assert_int_equal(after.batches - before.batches, 2); /* the holder and the twenty */
    assert_int_equal(after.units - before.units, 21);
    assert_int_equal(after.reruns, 0);
    assert_int_equal(after.queued, 0);
    assert_int_equal(items(f), 20);
    for (int i = 0; i < b->n; i++)
        assert_int_equal(b->v[i].err, ERR_NONE);
    batch_free(b);
}

static void test_failing_before_writing_costs_no_rerun(void **state)
{
    struct fix *f = *state;
    struct batch *b = batch_new(10);

    b->v[3].fails_early = true;
    b->v[5].id = b->v[4].id; /* a refused statement leaves nothing behind either */
    batch_go(f, b);

    assert_int_equal(stats_of(f).reruns, 0);
    assert_int_equal(b->v[3].err, ERR_NOT_FOUND);
    assert_int_equal(b->v[5].err, ERR_UNIQUE);
    assert_int_equal(b->v[9].err, ERR_NONE);
    assert_int_equal(b->v[9].runs, 1);
    assert_int_equal(items(f), 8);
    batch_free(b);
}

static void test_failing_after_writing_takes_back_only_itself(void **state)
{
    struct fix *f = *state;
    struct batch *b = batch_new(10);

    b->v[2].fails_late = true;
    b->v[7].fails_late = true;
    b->v[8].fails_early = true;
    batch_go(f, b);

    assert_int_equal(stats_of(f).reruns, 1);
    for (int i = 0; i < b->n; i++) {
        enum err_code want = i == 2 || i == 7 ? ERR_CONFLICT : i == 8 ? ERR_NOT_FOUND : ERR_NONE;

        assert_int_equal(b->v[i].err, want);
        assert_int_equal(b->v[i].cx.err, want);
    }
    assert_int_equal(b->v[0].runs, 2);
    assert_int_equal(items(f), 7);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM item WHERE id IN (102, 107, 108)"), 0);
    batch_free(b);
}

static void test_alone_means_alone(void **state)
{
    struct fix *f = *state;
    struct batch *b = batch_new(6);
    struct store_stats before = stats_of(f);

    b->v[3].u.flags = UNIT_ALONE;
    batch_go(f, b);

    /* holder, 0–2, 3, 4–5 */
    assert_int_equal(stats_of(f).batches - before.batches, 4);
    assert_int_equal(items(f), 6);
    batch_free(b);
}

static void test_a_failed_commit_answers_all_unavailable(void **state)
{
    struct fix *f = *state;
    struct batch *b = batch_new(5);

    b->v[1].fails_early = true;
    fault_arm(FAULT_COMMIT, 2); /* the holder's is the first */
    batch_go(f, b);

    assert_true(fault_fired());
    for (int i = 0; i < b->n; i++) {
        assert_int_equal(b->v[i].err, ERR_UNAVAILABLE);
        assert_int_equal(b->v[i].cx.err, ERR_UNAVAILABLE);
        assert_int_equal(b->v[i].cx.retry_after_s, 1);
    }
    assert_int_equal(items(f), 0);
    assert_int_equal(stats_of(f).commit_failures, 1);
    assert_int_equal(tx_insert(f, 1), ERR_NONE); /* and the next one works */
    assert_int_equal(items(f), 1);
    batch_free(b);
}

static void test_an_answer_lost_after_commit_is_stored(void **state)
{
    struct fix *f = *state;

    fault_arm(FAULT_COMMITTED, 1);

    assert_int_equal(tx_insert(f, 1), ERR_UNAVAILABLE);
    assert_int_equal(items(f), 1);
}

static void test_every_refused_statement_keeps_the_batch_whole(void **state)
{
    struct fix *f = *state;
    long n = 0;
    bool has_fired;

    do {
        struct batch *b = batch_new(4);
        int stored = 0;

        assert_int_equal(exec(f, "DELETE FROM item"), ERR_NONE);
        b->v[1].fails_late = true;
        fault_arm(FAULT_DB, ++n);
        batch_go(f, b);
        has_fired = fault_fired();
        fault_setup(NULL);

        for (int i = 0; i < b->n; i++) {
            stored += b->v[i].err == ERR_NONE;
            assert_true(i == 1 ? b->v[i].err != ERR_NONE
                               : b->v[i].err == ERR_NONE || b->v[i].err == ERR_UNAVAILABLE);
        }
        assert_int_equal(items(f), stored);
        assert_true(stored >= 2);
        batch_free(b);
        assert_true(n < 100);
    } while (has_fired);
    assert_true(n > 4);
}

/* --- Hooks --- */

struct hooked {
    bool fails;
    int before, committed, failed;
};

static enum err_code hook_before(struct ctx *cx, struct db *db, void *arg, int writer,
                                 struct unit *const *units, size_t n)
{
    struct hooked *h = arg;

    assert_int_equal(writer, 0);
    h->before++;
    if (h->fails)
        return fail(cx, INTERNAL, "hook");
    for (size_t i = 0; i < n; i++) {
        enum err_code e = db_run(cx, db, "INSERT INTO item (s, n) VALUES ('hook', $1)",
                                 ARGS(VI((int64_t)units[i]->err)));

        if (e)
            return e;
    }
    return ERR_NONE;
}

static void hook_after(void *arg, int writer, bool is_committed)
{
    struct hooked *h = arg;

    assert_int_equal(writer, 0);
    if (is_committed)
        h->committed++;
    else
        h->failed++;
}

static void test_hooks_ride_in_the_transaction(void **state)
{
    struct fix *f = *state;
    struct hooked h = { 0 };
    struct store_hooks hooks = { &h, hook_before, hook_after };
    struct batch *b = batch_new(4);

    assert_int_equal(store_start(&f->cx, f->s, &hooks), ERR_NONE);
    b->v[0].fails_late = true;
    batch_go(f, b);
    batch_free(b);

    assert_int_equal(h.before, 2); /* not for the attempt that was run again */
    assert_int_equal(h.committed, 2);
    assert_int_equal(h.failed, 0);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM item WHERE s = 'hook'"), 5);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM item WHERE s = 'hook' AND n <> 0"), 1);

    h.fails = true;
    assert_int_equal(tx_insert(f, 1000), ERR_UNAVAILABLE);
    ctx_clear(&f->cx);
    assert_int_equal(h.failed, 1);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM item WHERE id = 1000"), 0);

    h.fails = false;
    fault_arm(FAULT_COMMIT, 1);
    assert_int_equal(tx_insert(f, 1000), ERR_UNAVAILABLE);
    assert_int_equal(h.failed, 2);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM item WHERE s = 'hook'"), 5);
}

/* --- Limits --- */

static void test_a_full_queue_refuses_at_once(void **state)
{
    struct fix *f = *state;
    struct store_conf conf = { .database = str_printf(&f->cx.arena, "sqlite:%s/data/t.db", f->dir),
                               .queue_max = 3 };
    struct batch *b = batch_new(10);
    int refused = 0;

    store_close(f->s);
    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    assert_int_equal(store_start(&f->cx, f->s, NULL), ERR_NONE);
    batch_go(f, b);

    for (int i = 0; i < b->n; i++)
        if (b->v[i].err == ERR_UNAVAILABLE) {
            assert_int_equal(b->v[i].runs, 0);
            assert_int_equal(b->v[i].cx.retry_after_s, 1);
            refused++;
        }
    assert_in_range(refused, 7, 8); /* the holder may still have been queued */
    assert_int_equal(items(f), 10 - refused);
    batch_free(b);
}

static enum err_code fill_fn(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    return db_run(cx, db, "INSERT INTO item (s) VALUES (hex(zeroblob(500000)))", NO_ARGS);
}

static void test_a_full_disk_passes(void **state)
{
    struct fix *f = *state;
    struct batch *b = batch_new(3);

    assert_int_equal(exec(f, "PRAGMA max_page_count = 20"), ERR_NONE);
    b->v[1].u.fn = fill_fn;
    batch_go(f, b);

    assert_int_equal(b->v[1].err, ERR_UNAVAILABLE);
    assert_int_equal(b->v[1].cx.retry_after_s, 1);
    assert_int_equal(items(f), (b->v[0].err == ERR_NONE) + (b->v[2].err == ERR_NONE));
    assert_int_equal(tx_insert(f, 1), ERR_NONE); /* small ones still fit */

    assert_int_equal(exec(f, "PRAGMA max_page_count = 100000"), ERR_NONE);
    assert_int_equal(store_tx(&f->cx, f->s, fill_fn, NULL), ERR_NONE);
    batch_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_SERVING(test_a_batch_commits_once),
        T_SERVING(test_failing_before_writing_costs_no_rerun),
        T_SERVING(test_failing_after_writing_takes_back_only_itself),
        T_SERVING(test_alone_means_alone),
        T_SERVING(test_a_failed_commit_answers_all_unavailable),
        T_SERVING(test_an_answer_lost_after_commit_is_stored),
        T_SERVING(test_every_refused_statement_keeps_the_batch_whole),
        T(test_hooks_ride_in_the_transaction),
        T(test_a_full_queue_refuses_at_once),
        T_SERVING(test_a_full_disk_passes),
    };

    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
