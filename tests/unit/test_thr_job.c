/* The pool under threads: each job runs once, limits hold, a stop gives back what runs, a cancel stops
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "base/log.h"
#include "core/job/job.h"
#include "core_store.h"

enum { ADDERS = 4, EACH = 60, WAIT_MS = 30000 };

static atomic_int runs[ADDERS * EACH];
static atomic_int running, most_running, begun, stopped;

/* Polls a fact; false when it does not come true in time. */
#define WAIT_FOR(fact)                                                                             \
    __extension__({                                                                                \
        int64_t until = clock_mono_us() + WAIT_MS * (int64_t)1000;                                 \
        while (!(fact) && clock_mono_us() < until)                                                 \
            poll(NULL, 0, 2);                                                                      \
        (fact);                                                                                    \
    })

static enum err_code count_run(struct ctx *cx, struct job_run *r)
{
    int64_t i;
    int now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&most_running);
    (void)cx;
    while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now))
        ;
    if (str_to_i64(r->job->key, &i))
        atomic_fetch_add(&runs[i], 1);
    poll(NULL, 0, 1);
    atomic_fetch_sub(&running, 1);
    return ERR_NONE;
}

/* Runs until it is told to stop. */
static enum err_code run_on(struct ctx *cx, struct job_run *r)
{
    atomic_fetch_add(&begun, 1);
    job_progress(r, 30, STR("under way"));
    while (ctx_ok(cx))
        poll(NULL, 0, 1);
    atomic_fetch_add(&stopped, 1);
    return cx->err;
}

/* Fails once. */
static enum err_code fail_once(struct ctx *cx, struct job_run *r)
{
    if (r->job->attempt > 1)
        return ERR_NONE;
    r->retry_after_ms = 20;
    return fail(cx, UNAVAILABLE, "not now");
}

static const int64_t waits[] = { 3600000, 0 };
#define KIND .timeout_ms = 60000, .attempts = 3, .backoff_ms = waits, .doc = "x"
static const struct job_kind counted = {
    .name = "test.counted", .run = count_run, KIND, .concurrency = 3
};
static const struct job_kind endless = { .name = "test.endless", .run = run_on, KIND };
static const struct job_kind failing = { .name = "test.failing", .run = fail_once, KIND };
static const struct job_use rows[] = { { &counted, NULL }, { &endless, NULL }, { &failing, NULL } };

static struct jobs *pool;

static void committed(void *arg, int writer, bool is_committed)
{
    (void)arg;
    (void)writer;
    jobs_committed(pool, is_committed);
}

static void start(struct fix *f)
{
    const struct jobs_conf conf = { f->s, { rows, 3 }, 6, 2000, 5000 };
    pool = jobs_open(&conf);
    assert_int_equal(jobs_start(&f->cx, pool), ERR_NONE);
}

static int setup(void **state)
{
    static const struct store_hooks hooks = { .after_commit = committed };
    log_setup(LOG_ERROR, false);
    core_setup(state);
    struct fix *f = *state;
    assert_int_equal(store_start(&f->cx, f->s, &hooks), ERR_NONE);
    start(f);
    return 0;
}

static int teardown(void **state)
{
    jobs_close(pool);
    pool = NULL;
    return store_teardown(state);
}

struct added {
    const char *team;
    const struct job_kind *kind;
    int number;
};

static enum err_code add_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct added *a = arg;
    db_scope_system(db);
    return job_add(
        cx, db, str_of(a->team),
        &(struct job_new){ .kind = a->kind, .key = str_printf(&cx->arena, "%d", a->number) }, NULL);
}

static void add(struct store *s, struct added a)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    assert_int_equal(store_tx(&cx, s, add_unit, &a), ERR_NONE);
    ctx_done(&cx);
}

struct adder {
    struct store *s;
    int first;
};

static void *adder(void *arg)
{
    static const char *const teams[] = { "t1", "t2", "t3" };
    const struct adder *a = arg;
    for (int i = a->first; i < a->first + EACH; i++)
        add(a->s, (struct added){ teams[i % 3], &counted, i });
    return NULL;
}

static int64_t in_state(struct fix *f, const char *state)
{
    struct str sql =
        str_printf(&f->cx.arena, "SELECT COUNT(*) AS n FROM job WHERE state = '%s'", state);
    return number(f, str_cstr(&f->cx.arena, sql));
}

static void test_each_job_runs_once_and_the_limit_of_its_kind_holds(void **state)
{
    struct fix *f = *state;
    pthread_t threads[ADDERS];
    struct adder adders[ADDERS];

    for (int i = 0; i < ADDERS; i++) {
        adders[i] = (struct adder){ f->s, i * EACH };
        assert_int_equal(pthread_create(&threads[i], NULL, adder, &adders[i]), 0);
    }
    for (int i = 0; i < ADDERS; i++)
        pthread_join(threads[i], NULL);

    assert_true(WAIT_FOR(in_state(f, "done") == ADDERS * EACH));
    for (int i = 0; i < ADDERS * EACH; i++)
        assert_int_equal(runs[i], 1);
    assert_in_range(most_running, 1, 3);
}

static void test_a_failed_job_comes_back_after_retry_after(void **state)
{
    struct fix *f = *state;
    add(f->s, (struct added){ "t1", &failing, 1 });

    assert_true(WAIT_FOR(in_state(f, "done") == 1)); /* its schedule says an hour */
    assert_int_equal(number(f, "SELECT attempt AS n FROM job"), 2);
}

static void test_a_stop_gives_a_running_job_back_without_costing_an_attempt(void **state)
{
    struct fix *f = *state;
    atomic_store(&begun, 0);
    add(f->s, (struct added){ "t1", &endless, 1 });
    assert_true(WAIT_FOR(atomic_load(&begun) == 1));

    jobs_close(pool);
    pool = NULL;

    assert_int_equal(in_state(f, "ready"), 1);
    assert_int_equal(number(f, "SELECT attempt AS n FROM job"), 0);
    start(f);
    assert_true(WAIT_FOR(atomic_load(&begun) == 2)); /* and it goes on */
}

static enum err_code cancel_unit(struct ctx *cx, struct db *db, void *arg)
{
    static const struct caller cli = { .team_id = { TEAM, 36 } };
    struct rec_text id;
    struct job out;
    (void)arg;
    caller_scope(db, &cli);
    enum err_code e = db_one(cx, db, &rec_text, "SELECT id AS s FROM job", NO_ARGS, &id);
    return e ? e : job_cancel(cx, db, &cli, id.s, &out);
}

static void test_a_running_job_tells_its_progress_and_a_cancel_stops_it(void **state)
{
    struct fix *f = *state;
    atomic_store(&begun, 0);
    atomic_store(&stopped, 0);
    add(f->s, (struct added){ TEAM, &endless, 1 });
    assert_true(WAIT_FOR(number(f, "SELECT progress AS n FROM job") == 30));
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM job WHERE note = 'under way'"), 1);

    assert_int_equal(store_tx(&f->cx, f->s, cancel_unit, NULL), ERR_NONE);

    assert_true(WAIT_FOR(in_state(f, "cancelled") == 1));
    assert_int_equal(stopped, 1);
}

static void test_a_long_run_keeps_its_lease(void **state)
{
    struct fix *f = *state;
    atomic_store(&begun, 0);
    add(f->s, (struct added){ "t1", &endless, 1 });
    assert_true(WAIT_FOR(atomic_load(&begun) == 1));
    int64_t first = number(f, "SELECT lease_ms AS n FROM job");

    assert_true(WAIT_FOR(number(f, "SELECT lease_ms AS n FROM job") > first));
    assert_true(WAIT_FOR(clock_ms() > first + 500)); /* the first lease is over */

    assert_int_equal(begun, 1);
    assert_int_equal(in_state(f, "running"), 1);
}

static void test_one_teams_backlog_does_not_delay_anothers_job(void **state)
{
    struct fix *f = *state;
    jobs_close(pool);
    pool = NULL; /* so that all wait before the first is taken */
    for (int i = 0; i < 300; i++)
        add(f->s, (struct added){ "t1", &counted, 0 });
    add(f->s, (struct added){ "t2", &counted, 0 });

    start(f);

    assert_true(WAIT_FOR(in_state(f, "done") == 301));
    /* No more began before it than there are places. */
    assert_in_range(number(f, "SELECT COUNT(*) AS n FROM job a, job b WHERE a.team_id = 't1' AND "
                              "b.team_id = 't2' AND a.started_ms < b.started_ms"),
                    0, 6);
}

#define TP(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TP(test_each_job_runs_once_and_the_limit_of_its_kind_holds),
        TP(test_a_failed_job_comes_back_after_retry_after),
        TP(test_a_stop_gives_a_running_job_back_without_costing_an_attempt),
        TP(test_a_running_job_tells_its_progress_and_a_cancel_stops_it),
        TP(test_a_long_run_keeps_its_lease),
        TP(test_one_teams_backlog_does_not_delay_anothers_job),
    };
    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
