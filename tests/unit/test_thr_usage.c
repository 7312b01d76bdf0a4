/* Usage under threads: noting, writing, reading statistics and stopping at once; counts agree with
 * rows afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "usage_store.h"

#define NOTERS 3
#define NOTES 4000
#define WRITES 300

static void *note_many(void *arg)
{
    struct ufix *f = arg;

    for (int i = 0; i < NOTES; i++) {
        struct usage_event e = event(i % 3 ? TOKEN : STR_NONE, i % 7 ? 200 : 404, clock_ms());

        e.payload = i % 50 ? STR_NONE : STR("{\"title\":\"x\"}");
        usage_note(f->u, &e);
    }
    return NULL;
}

static void *write_some(void *arg)
{
    for (int i = 0; i < WRITES / 100; i++)
        write_many(arg, TOKEN, 100, clock_ms());
    return NULL;
}

static enum err_code read_stats(struct ctx *cx, struct db *db, void *arg)
{
    return usage_dashboard(cx, db, TEAM, clock_ms(), arg);
}

static void *read_some(void *arg)
{
    struct ufix *f = arg;
    struct usage_counters c;
    struct usage_stats s;
    struct ctx cx;

    for (int i = 0; i < 50; i++) {
        struct row_ask ask = { TEAM, &(struct usage_filter){ .limit = 0 }, INT64_MAX, INT64_MAX,
                               20 };
        struct list rows;

        ctx_init(&cx, CTX_CAP_DEFAULT);
        usage_counters(f->u, &c);
        assert_int_equal(store_read(&cx, f->s, read_stats, &s), ERR_NONE);
        assert_int_equal(usage_rows(&cx, f->u, &ask, &rows), ERR_NONE);
        ctx_done(&cx);
    }
    return NULL;
}

static void test_many_threads_lose_no_count(void **state)
{
    struct ufix *f = ufix_new(STR_NONE);
    pthread_t threads[NOTERS + 2];
    struct usage_counters c;

    (void)state;
    ufix_open(f, 65536);
    assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
    for (int i = 0; i < NOTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, note_many, f), 0);
    assert_int_equal(pthread_create(&threads[NOTERS], NULL, write_some, f), 0);
    assert_int_equal(pthread_create(&threads[NOTERS + 1], NULL, read_some, f), 0);
    for (int i = 0; i < NOTERS + 2; i++)
        pthread_join(threads[i], NULL);
    usage_counters(f->u, &c);
    ufix_stop(f);

    ufix_open(f, 0);
    assert_int_equal(c.noted, NOTERS * NOTES);
    assert_int_equal(c.dropped, 0);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM integration_token_usage"),
                     NOTERS * NOTES + WRITES);
    assert_agreement(f);
    ufix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_many_threads_lose_no_count) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
