/* The writer under many threads: every unit is answered once, failures stay alone, stopping loses
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#undef fail /* ours */
#include "store/store.h"

#define THREADS 4
#define TURNS 150

struct fix {
    char dir[64];
    struct ctx cx;
    struct store *s;
    atomic_int stored, refused, unavailable, hooks;
};

static enum err_code exec_fn(struct ctx *cx, struct db *db, void *arg)
{
    return db_run(cx, db, arg, NO_ARGS);
}

static void count_commit(void *arg, int writer, bool is_committed)
{
    struct fix *f = arg;

    assert_int_equal(writer, 0);
    if (is_committed)
        atomic_fetch_add(&f->hooks, 1);
}

static int setup(void **state)
{
    static const char create[] = "CREATE TABLE item (id INTEGER PRIMARY KEY, note TEXT NOT NULL)";
    struct fix *f = calloc(1, sizeof *f);
    struct store_conf conf = { .queue_max = 1000 };
    struct store_hooks hooks = { .arg = f, .after_commit = count_commit };

    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/tessera-writer-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    conf.database = str_printf(&f->cx.arena, "sqlite:%s/t.db", f->dir);
    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    assert_int_equal(store_tx(&f->cx, f->s, exec_fn, (void *)(uintptr_t)create), ERR_NONE);
    assert_int_equal(store_start(&f->cx, f->s, &hooks), ERR_NONE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    store_close(f->s);
    unlink(str_printf(&f->cx.arena, "%s/t.db", f->dir).p);
    assert_int_equal(rmdir(f->dir), 0);
    ctx_done(&f->cx);
    free(f);
    return 0;
}

static enum err_code insert_fn(struct ctx *cx, struct db *db, void *arg)
{
    const int64_t *id = arg;
    enum err_code e =
        db_run(cx, db, "INSERT INTO item (id, note) VALUES ($1, 'kept')", ARGS(VI(*id)));

    if (!e && *id % 10 == 0) /* after writing: takes its row back and makes the batch run again */
        return fail(cx, CONFLICT, "refused");
    return e;
}

static enum err_code count_fn(struct ctx *cx, struct db *db, void *arg)
{
    return db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM item", NO_ARGS, arg);
}

static int64_t count_rows(struct ctx *cx, struct store *s)
{
    struct rec_num num = { .n = -1 };

    assert_int_equal(store_read(cx, s, count_fn, &num), ERR_NONE);
    return num.n;
}

struct job {
    struct fix *f;
    int64_t base;
    pthread_t thread;
};

static void *insert_main(void *arg)
{
    struct job *job = arg;
    int64_t seen = 0;
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    for (int64_t i = 1; i <= TURNS; i++) {
        int64_t id = job->base + i, now;
        enum err_code e = store_tx(&cx, job->f->s, insert_fn, &id);

        assert_int_equal(e, id % 10 == 0 ? ERR_CONFLICT : ERR_NONE);
        atomic_fetch_add(e ? &job->f->refused : &job->f->stored, 1);
        ctx_retry(&cx);
        now = count_rows(&cx, job->f->s);
        assert_true(now >= seen); /* what was answered is seen by the next read */
        seen = now;
    }
    ctx_done(&cx);
    return NULL;
}

static void test_concurrent_units_fail_alone(void **state)
{
    struct fix *f = *state;
    struct job jobs[THREADS];
    struct store_stats stats;

    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){ .f = f, .base = i * 1000 };
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, insert_main, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(jobs[i].thread, NULL);

    assert_int_equal(atomic_load(&f->stored), THREADS * TURNS * 9 / 10);
    assert_int_equal(atomic_load(&f->refused), THREADS * TURNS / 10);
    assert_int_equal(count_rows(&f->cx, f->s), atomic_load(&f->stored));
    store_stats(f->s, &stats);
    assert_int_equal(stats.units, THREADS * TURNS + 1);
    assert_int_equal(stats.queued, 0);
    assert_true(stats.reruns >= 1);
    assert_int_equal(stats.commit_failures, 0);
    assert_int_equal(atomic_load(&f->hooks),
                     stats.batches - 1); /* the table was made before the hooks */
}

/* --- Stopping --- */

struct sent {
    struct unit u;
    struct ctx cx;
    int64_t id;
    atomic_int answers;
    struct fix *f;
};

static void sent_done(struct unit *u, enum err_code e)
{
    struct sent *sent = u->arg;

    atomic_fetch_add(&sent->answers, 1);
    atomic_fetch_add(e ? &sent->f->unavailable : &sent->f->stored, 1);
}

static enum err_code sent_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct sent *sent = arg;

    return db_run(cx, db, "INSERT INTO item (id, note) VALUES ($1, 'sent')", ARGS(VI(sent->id)));
}

static void *reader_main(void *arg)
{
    struct fix *f = arg;
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    for (int i = 0; i < 20; i++) {
        count_rows(&cx, f->s);
        ctx_retry(&cx);
    }
    ctx_done(&cx);
    return NULL;
}

static void test_close_answers_all_that_was_queued(void **state)
{
    struct fix *f = *state;
    struct sent *sent = calloc(2000, sizeof *sent);
    struct store_conf conf = { .database = str_printf(&f->cx.arena, "sqlite:%s/t.db", f->dir) };
    pthread_t thread;

    assert_non_null(sent);
    assert_int_equal(pthread_create(&thread, NULL, reader_main, f), 0);
    for (int i = 0; i < 2000; i++) {
        ctx_init(&sent[i].cx, CTX_CAP_DEFAULT);
        sent[i].id = i;
        sent[i].f = f;
        sent[i].u =
            (struct unit){ .fn = sent_fn, .done = sent_done, .cx = &sent[i].cx, .arg = &sent[i] };
        store_submit(f->s, &sent[i].u, 0);
    }
    pthread_join(thread, NULL);
    store_close(f->s);

    for (int i = 0; i < 2000; i++) {
        assert_int_equal(atomic_load(&sent[i].answers), 1);
        ctx_done(&sent[i].cx);
    }
    assert_int_equal(atomic_load(&f->stored) + atomic_load(&f->unavailable), 2000);
    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    assert_int_equal(count_rows(&f->cx, f->s), atomic_load(&f->stored));
    free(sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_concurrent_units_fail_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_answers_all_that_was_queued, setup, teardown),
    };

    return cmocka_run_group_tests_name("thr_writer", tests, NULL, NULL);
}
