/* Facts about counts that come from the usage log into the token directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/crypt.h"
#include "token_dir_store.h"

static void settle(struct str id, int64_t window_ms, int64_t index, int64_t running, int64_t before)
{
    token_dir_settle(dir, id, &(struct token_counts){ window_ms, index, running, before });
}

static void test_settling_lifts_the_running_hour_only(void **state)
{
    struct token t = made((struct token_new){ .rate_limit = 10 });
    int64_t hour = clock_ms() / HOUR_MS;
    (void)state;
    assert_int_equal(ask(t.token), ERR_NONE);

    settle(t.id, HOUR_MS, hour, 6, 0);
    settle(t.id, HOUR_MS, hour, 5, 9); /* counts are lifted, never lowered */
    settle(t.id, HOUR_MS, hour - 1, 9, 9);
    settle(STR("nobody"), HOUR_MS, hour, 9, 0);

    assert_int_equal(ask(t.token), ERR_NONE);
    assert_int_equal(limit.remaining, 3);
    settle(t.id, HOUR_MS, hour, INT64_MAX, 0);
    assert_int_equal(ask(t.token), ERR_RATE_LIMITED);
    assert_int_equal(limit.remaining, 0);
}

static void test_settling_lifts_the_named_windows_of_that_length(void **state)
{
    struct token t = made((struct token_new){
        .limits = STR("[{\"name\":\"day\",\"requests\":10,\"window\":86400000},"
                      "{\"name\":\"burst\",\"requests\":10,\"window\":10000}]") });
    struct window_lengths lengths;
    (void)state;
    assert_true(token_dir_has_new_windows(dir));
    token_dir_windows(dir, &lengths);
    assert_false(token_dir_has_new_windows(dir));
    assert_int_equal(lengths.n, 2); /* ten seconds are each process's own */
    assert_int_equal(lengths.ms[0], HOUR_MS);
    assert_int_equal(lengths.ms[1], DAY_MS);

    settle(t.id, DAY_MS, clock_ms() / DAY_MS, 6, 0);

    assert_int_equal(ask(t.token), ERR_NONE);
    assert_int_equal(limit.named[0].remaining, 3);
    assert_int_equal(limit.named[1].remaining, 9);
}

static void test_a_window_keeps_the_higher_count_of_its_cell(void **state)
{
    struct window w = { .index = 7, .running = 5, .before = 3 };
    (void)state;

    window_settle(&w, 7, 4, 4);
    assert_int_equal(w.running, 5);
    assert_int_equal(w.before, 4);
    window_settle(&w, 6, 9, 9); /* a pass that began before the cell did */
    assert_int_equal(w.running, 5);
    assert_int_equal(w.before, 9);
    window_settle(&w, 5, 99, 99);
    assert_int_equal(w.before, 9);
    window_settle(&w, 8, 2, 6); /* nobody has asked in this cell yet */
    assert_int_equal(w.index, 8);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.before, 6);
    window_settle(&w, 11, 1, 0);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.before, 0);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        TEST(test_settling_lifts_the_running_hour_only),
        TEST(test_settling_lifts_the_named_windows_of_that_length),
        cmocka_unit_test(test_a_window_keeps_the_higher_count_of_its_cell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
