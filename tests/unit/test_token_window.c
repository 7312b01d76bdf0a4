/* Facts about named limits: which lists are good, and what a sliding window of two cells grants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "core/token_window.h"

#define W 10000 /* ms */

/* Take one as the directory does. */
static bool take(struct window *w, int64_t requests, int64_t now_ms)
{
    window_move(w, W, now_ms);
    if (window_used(w, W, now_ms) >= requests)
        return false;
    w->running++;
    return true;
}

static int taken(struct window *w, int64_t requests, int64_t now_ms, int tries)
{
    int n = 0;
    for (int i = 0; i < tries; i++)
        n += take(w, requests, now_ms);
    return n;
}

static void test_a_fresh_window_grants_exactly_its_requests(void **state)
{
    struct window w = { 0 };
    (void)state;
    assert_int_equal(taken(&w, 5, 7 * W + 100, 20), 5);
    assert_int_equal(taken(&w, 5, 8 * W - 1, 20), 0);
}

static void test_what_was_used_before_fades_with_the_window(void **state)
{
    struct window w = { 0 };
    (void)state;
    assert_int_equal(taken(&w, 10, 7 * W, 10), 10);
    assert_int_equal(taken(&w, 10, 8 * W, 10), 0);
    assert_int_equal(taken(&w, 10, 8 * W + W / 2, 10), 5);
    assert_int_equal(taken(&w, 10, 9 * W - 1, 10), 4);
}

static void test_a_window_left_alone_for_two_cells_is_empty(void **state)
{
    struct window w = { 0 };
    (void)state;
    assert_int_equal(taken(&w, 10, 7 * W, 10), 10);
    assert_int_equal(taken(&w, 10, 9 * W, 20), 10);
}

static void test_the_wait_that_is_told_is_just_long_enough(void **state)
{
    (void)state;
    for (int64_t requests = 1; requests <= 7; requests++)
        for (int64_t at = 0; at < 2 * W; at += 701) {
            struct window w = { 0 };
            taken(&w, requests, 5 * W, (int)requests - 1);
            int64_t now = 5 * W + at;
            while (take(&w, requests, now))
                ;
            int64_t wait = window_wait_ms(&w, W, requests, now);
            struct window early = w, late = w;
            assert_true(wait > 0 && wait <= 2 * W);
            assert_false(take(&early, requests, now + wait - 1));
            assert_true(take(&late, requests, now + wait));
        }
}

static void test_no_wait_while_something_is_left(void **state)
{
    struct window w = { 0 };
    (void)state;
    taken(&w, 3, 5 * W, 2);
    assert_int_equal(window_wait_ms(&w, W, 3, 5 * W + 10), 0);
    assert_int_equal(window_left_ms(&w, W, 5 * W + 10), W - 10);
}

static void test_a_limit_that_was_lowered_waits_for_what_was_used(void **state)
{
    struct window w = { 0 };
    (void)state;
    taken(&w, 100, 5 * W, 100);

    int64_t wait = window_wait_ms(&w, W, 10, 5 * W + 1);

    assert_false(take(&w, 10, 5 * W + 1 + wait - 1));
    assert_true(take(&w, 10, 5 * W + 1 + wait));
}

static void test_a_straggler_of_the_last_cell_counts_in_the_new_one(void **state)
{
    struct window w = { 0 };
    (void)state;
    assert_true(take(&w, 2, 5 * W));
    assert_true(take(&w, 2, 5 * W - 1));
    assert_false(take(&w, 2, 5 * W));
    assert_true(take(&w, 2, 3 * W)); /* a clock that was set back for good */
}

static void test_the_largest_numbers_do_not_overflow(void **state)
{
    int64_t month = WINDOW_MS_MAX;
    struct window w = { .index = 600, .running = 0, .before = WINDOW_REQUESTS_MAX };
    (void)state;
    assert_int_equal(window_used(&w, month, 600 * month), WINDOW_REQUESTS_MAX);
    assert_int_equal(window_used(&w, month, 601 * month - 1), 1);
    assert_true(window_wait_ms(&w, month, WINDOW_REQUESTS_MAX, 600 * month) > 0);
}

/* ---- rules ---- */

static bool parse(const char *json, struct window_rules *rules, struct window_bad *bad)
{
    static struct ctx cx;
    static bool is_ready;
    if (!is_ready)
        ctx_init(&cx, CTX_CAP_DEFAULT);
    is_ready = true;
    bool ok = window_rules_parse(&cx, str_of(json), rules, bad);
    assert_int_equal(cx.err, ERR_NONE);
    return ok;
}

static void test_rules_keep_their_order_and_names(void **state)
{
    struct window_rules rules;
    struct window_bad bad;
    (void)state;
    assert_true(parse("[{\"name\":\"burst\",\"requests\":5,\"window\":10000},"
                      "{\"name\":\"month\",\"requests\":1000000000,\"window\":2592000000}]",
                      &rules, &bad));
    assert_int_equal(rules.n, 2);
    assert_true(str_eq(rules.v[0].name, STR("burst")));
    assert_int_equal(rules.v[0].window_ms, 10000);
    assert_int_equal(rules.v[1].requests, WINDOW_REQUESTS_MAX);
    assert_true(parse("[]", &rules, &bad));
    assert_int_equal(rules.n, 0);
    assert_true(parse(NULL, &rules, &bad));
}

static void test_what_is_wrong_with_a_list_is_named(void **state)
{
    static const struct {
        const char *json, *member;
        size_t index;
    } wrong[] = {
        { "{}", NULL, 0 },
        { "[", NULL, 0 },
        { "[1]", "name", 0 },
        { "[{\"name\":\"\",\"requests\":1,\"window\":1000}]", "name", 0 },
        { "[{\"name\":\"Burst\",\"requests\":1,\"window\":1000}]", "name", 0 },
        { "[{\"name\":\"hour\",\"requests\":1,\"window\":1000}]", "name", 0 },
        { "[{\"name\":\"a\",\"requests\":1,\"window\":1000},"
          "{\"name\":\"a\",\"requests\":1,\"window\":1000}]",
          "name", 1 },
        { "[{\"name\":\"a\",\"requests\":0,\"window\":1000}]", "requests", 0 },
        { "[{\"name\":\"a\",\"requests\":1.5,\"window\":1000}]", "requests", 0 },
        { "[{\"name\":\"a\",\"requests\":1}]", "window", 0 },
        { "[{\"name\":\"a\",\"requests\":1,\"window\":2592000001}]", "window", 0 },
        { "[{\"name\":\"a\",\"requests\":1,\"window\":999}]", "window", 0 },
        { "[{\"name\":\"a\",\"requests\":1,\"window_s\":1000}]", "window", 0 },
        { "[{\"name\":\"a\",\"requests\":1,\"window\":1000,\"x\":1}]", NULL, 0 },
        { "[1,1,1,1,1,1,1,1,1]", NULL, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct window_rules rules;
        struct window_bad bad;
        assert_false(parse(wrong[i].json, &rules, &bad));
        assert_non_null(bad.why);
        assert_int_equal(bad.index, wrong[i].index);
        assert_int_equal(bad.member != NULL, wrong[i].member != NULL);
        if (bad.member)
            assert_string_equal(bad.member, wrong[i].member);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fresh_window_grants_exactly_its_requests),
        cmocka_unit_test(test_what_was_used_before_fades_with_the_window),
        cmocka_unit_test(test_a_window_left_alone_for_two_cells_is_empty),
        cmocka_unit_test(test_the_wait_that_is_told_is_just_long_enough),
        cmocka_unit_test(test_no_wait_while_something_is_left),
        cmocka_unit_test(test_a_limit_that_was_lowered_waits_for_what_was_used),
        cmocka_unit_test(test_a_straggler_of_the_last_cell_counts_in_the_new_one),
        cmocka_unit_test(test_the_largest_numbers_do_not_overflow),
        cmocka_unit_test(test_rules_keep_their_order_and_names),
        cmocka_unit_test(test_what_is_wrong_with_a_list_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
