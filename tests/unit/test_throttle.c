/* Failed sign-ins: what is counted together, for how long, and who is not locked out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/clock.h"
#include "base/crypt.h"
#include "core/people/throttle.h"

#define LIMIT 3

static struct throttle *t;
static struct ctx cx;

static int setup(void **state)
{
    (void)state;
    clock_shift_ms(0);
    t = throttle_open(STR("00112233"), LIMIT);
    ctx_init(&cx, CTX_CAP_DEFAULT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_shift_ms(0);
    throttle_close(t);
    ctx_done(&cx);
    return 0;
}

static bool enter(const char *account, const char *ip, struct str device)
{
    struct attempt a = { str_of(account), str_of(ip), device };
    enum err_code e = throttle_enter(&cx, t, &a);
    if (e) {
        assert_int_equal(e, ERR_RATE_LIMITED);
        assert_true(cx.retry_after_s > 0 && cx.retry_after_s <= 900);
    }
    ctx_clear(&cx);
    return !e;
}

static void test_the_limit_holds_for_account_and_address(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_true(enter("a@b", "192.0.2.1", STR_NONE));
    assert_false(enter("a@b", "192.0.2.1", STR_NONE));
    assert_true(enter("c@d", "192.0.2.1", STR_NONE));
    assert_true(enter("a@b", "192.0.2.2", STR_NONE));
}

static void test_a_window_ends(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_true(enter("a@b", "192.0.2.1", STR_NONE));
    clock_shift_ms(THROTTLE_WINDOW_MS - 5000);
    assert_false(enter("a@b", "192.0.2.1", STR_NONE));
    assert_true(cx.retry_after_s <= 6);
    clock_shift_ms(THROTTLE_WINDOW_MS + 1000);
    assert_true(enter("a@b", "192.0.2.1", STR_NONE));
}

static void test_success_forgets_and_undo_takes_one_back(void **state)
{
    struct attempt a = { STR("a@b"), STR("192.0.2.1"), STR_NONE };
    (void)state;
    for (int i = 0; i < 10 * LIMIT * THROTTLE_WIDE; i++) {
        assert_true(enter("a@b", "192.0.2.1", STR_NONE));
        throttle_undo(t, &a);
    }
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < LIMIT; i++)
            assert_true(enter("a@b", "192.0.2.1", STR_NONE));
        throttle_pass(t, &a);
    }
}

static void test_a_refused_attempt_counts_nowhere(void **state)
{
    char account[] = "0@b";
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_true(enter("a@b", "192.0.2.1", STR_NONE));
    for (int i = 0; i < 1000; i++)
        assert_false(enter("a@b", "192.0.2.1", STR_NONE));
    for (int i = 0; i < LIMIT * (THROTTLE_WIDE - 1); i++) { /* the address has room left */
        account[0] = (char)('A' + i);
        assert_true(enter(account, "192.0.2.1", STR_NONE));
    }
    assert_false(enter("z@b", "192.0.2.1", STR_NONE));
}

static void test_an_account_is_bounded_over_all_addresses_but_not_for_its_browser(void **state)
{
    char ip[] = "192.0.2.100";
    (void)state;
    struct str device = throttle_device(t, &cx.arena, STR("a@b"));
    for (int i = 0; i < LIMIT * THROTTLE_WIDE; i++) {
        ip[9] = (char)('0' + i / 10);
        ip[10] = (char)('0' + i % 10);
        assert_true(enter("a@b", ip, STR_NONE));
    }
    assert_false(enter("a@b", "198.51.100.1", STR_NONE));
    assert_false(enter("a@b", "198.51.100.1", throttle_device(t, &cx.arena, STR("c@d"))));
    assert_true(enter("a@b", "198.51.100.1", device));
    assert_true(enter("c@d", "198.51.100.1", STR_NONE));
}

static void test_a_stolen_device_cookie_has_a_limit_of_its_own(void **state)
{
    char ip[] = "192.0.2.10";
    (void)state;
    struct str device = throttle_device(t, &cx.arena, STR("a@b"));
    for (int i = 0; i < LIMIT; i++) {
        ip[9] = (char)('0' + i);
        assert_true(enter("a@b", ip, device));
    }
    assert_false(enter("a@b", "198.51.100.1", device));
    assert_true(enter("a@b", "198.51.100.1", throttle_device(t, &cx.arena, STR("a@b"))));
}

static void test_a_device_cookie_ends_after_a_year(void **state)
{
    char ip[] = "192.0.2.100";
    (void)state;
    struct str device = throttle_device(t, &cx.arena, STR("a@b"));
    clock_shift_ms((DEVICE_DAYS + 1) * DAY_MS);
    for (int i = 0; i < LIMIT * THROTTLE_WIDE; i++) {
        ip[9] = (char)('0' + i / 10);
        ip[10] = (char)('0' + i % 10);
        assert_true(enter("a@b", ip, STR_NONE));
    }
    assert_false(enter("a@b", "198.51.100.1", device));
}

static void test_texts_do_not_run_into_each_other(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_true(enter("a@b1", "", STR_NONE));
    assert_true(enter("a@b", "1", STR_NONE));
    assert_true(throttle_text(t, "x", STR("y"), 1));
    assert_false(throttle_text(t, "x", STR("y"), 1));
    assert_true(throttle_text(t, "xy", STR(""), 1));
}

static void test_many_names_do_not_free_the_one_that_is_full(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_true(enter("a@b", "192.0.2.1", STR_NONE));
    for (int i = 0; i < 60000; i++) /* more than the table holds */
        throttle_text(t, "other", str_printf(&cx.arena, "%d", i), 1000);
    assert_false(enter("a@b", "192.0.2.1", STR_NONE));
}

#define TT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        TT(test_the_limit_holds_for_account_and_address),
        TT(test_a_window_ends),
        TT(test_success_forgets_and_undo_takes_one_back),
        TT(test_a_refused_attempt_counts_nowhere),
        TT(test_an_account_is_bounded_over_all_addresses_but_not_for_its_browser),
        TT(test_a_stolen_device_cookie_has_a_limit_of_its_own),
        TT(test_a_device_cookie_ends_after_a_year),
        TT(test_texts_do_not_run_into_each_other),
        TT(test_many_names_do_not_free_the_one_that_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
