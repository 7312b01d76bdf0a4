/* Facts about what bounds a token: hours, wrong tokens by address, endpoint patterns. No
 * database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/crypt.h"
#include "core/token_limit.h"

static void test_the_last_millisecond_still_says_one_second(void **state)
{
    (void)state;
    assert_int_equal(seconds_left(HOUR_MS - 1, HOUR_MS), 1);
    assert_int_equal(seconds_left(0, HOUR_MS), 3600);
    assert_int_equal(seconds_left(1, HOUR_MS), 3600);
    assert_int_equal(seconds_left(HOUR_MS - 1001, HOUR_MS), 2);
}

static void test_a_straggler_of_the_last_hour_does_not_reset_the_new_one(void **state)
{
    struct hour_count h = { 0 };
    int64_t used;
    (void)state;
    assert_true(hour_take(&h, 10 * HOUR_MS, 2, &used));
    assert_true(hour_take(&h, 10 * HOUR_MS - 1, 2, &used));
    assert_int_equal(used, 2);
    assert_false(hour_take(&h, 10 * HOUR_MS, 2, &used));
    assert_true(hour_take(&h, 8 * HOUR_MS, 2, &used)); /* a clock that was set back for good */
    assert_int_equal(used, 1);
}

static void test_many_addresses_do_not_forget_the_worst_one(void **state)
{
    struct wrong_tokens *w = wrong_open();
    struct ip worst, other;
    int64_t now = 100 * MINUTE_MS;
    bool is_over = false;
    (void)state;
    assert_true(ip_parse(STR("192.0.2.1"), &worst));
    assert_true(ip_parse(STR("198.18.0.0"), &other));
    for (int i = 0; i < 10; i++)
        is_over = wrong_note(w, &worst, now, 10);
    assert_false(is_over);
    for (unsigned i = 0; i < 50000; i++) {
        other.b[14] = (unsigned char)(i >> 8);
        other.b[15] = (unsigned char)i;
        wrong_note(w, &other, now, 10);
    }

    assert_true(wrong_note(w, &worst, now, 10));
    assert_false(wrong_note(w, &worst, now + MINUTE_MS, 10));
    wrong_close(w);
}

static bool covers(const char *list, const char *method, const char *route, const char *path)
{
    struct endpoints parsed;
    struct str bad;
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    assert_true(allowed_endpoints_parse(&cx, &cx.arena, str_of(list), &parsed, &bad));
    bool is_covered = allowed_endpoints_match(parsed, str_of(method), str_of(route), str_of(path));
    ctx_done(&cx);
    return is_covered;
}

static void test_a_pattern_covers_the_route_or_the_sent_path(void **state)
{
    (void)state;
    assert_true(covers("[\"/*\"]", "GET", "/v1/tickets", "/v1/tickets"));
    assert_true(covers("[\"/v1/tickets*\"]", "GET", "/v1/tickets", "/v1/tickets"));
    assert_false(covers("[\"/v1/tickets/*\"]", "GET", "/v1/tickets", "/v1/tickets"));
    assert_true(covers("[\"/v2\",\"/v1/tickets/7\"]", "GET", "/v1/tickets/{id}", "/v1/tickets/7"));
    assert_false(covers("[\"GET /v1/tickets\"]", "POST", "/v1/tickets", "/v1/tickets"));
}

static void test_a_bad_item_is_named_and_a_bad_list_is_not(void **state)
{
    struct endpoints parsed;
    struct cidrs ips;
    struct str bad;
    struct ctx cx;
    (void)state;
    ctx_init(&cx, CTX_CAP_DEFAULT);

    assert_false(allowed_endpoints_parse(&cx, &cx.arena, STR("[\"/ok\",\"no\"]"), &parsed, &bad));
    assert_true(str_eq(bad, STR("no")));
    assert_false(
        allowed_ips_parse(&cx, &cx.arena, STR("[\"10.0.0.1\",\"10.0.0.1/8\"]"), &ips, &bad));
    assert_true(str_eq(bad, STR("10.0.0.1/8")));
    assert_false(allowed_ips_parse(&cx, &cx.arena, STR("[7]"), &ips, &bad));
    assert_null(bad.p);
    assert_false(allowed_ips_parse(&cx, &cx.arena, STR("[\"10.0"), &ips, &bad));
    assert_null(bad.p);
    assert_int_equal(cx.err, ERR_NONE);
    ctx_done(&cx);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_millisecond_still_says_one_second),
        cmocka_unit_test(test_a_straggler_of_the_last_hour_does_not_reset_the_new_one),
        cmocka_unit_test(test_many_addresses_do_not_forget_the_worst_one),
        cmocka_unit_test(test_a_pattern_covers_the_route_or_the_sent_path),
        cmocka_unit_test(test_a_bad_item_is_named_and_a_bad_list_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
