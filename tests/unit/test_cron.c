/* Facts about cron.c: what a field may say, and the runs over changes of clocks and odd months. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/clock.h"
#include "core/report/cron.h"

static struct ctx cx;

static int setup(void **state)
{
    (void)state;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ctx_done(&cx);
    return 0;
}

static struct cron cron_of(const char *text)
{
    struct cron c;
    struct str why = STR_NONE;
    if (!cron_parse(&cx.arena, str_of(text), &c, &why))
        print_error("%s: " STR_FMT "\n", text, STR_ARG(why));
    assert_false(why.p);
    return c;
}

static int64_t ms_of(const char *text)
{
    int64_t ms = 0;
    assert_true(time_parse(str_of(text), &ms));
    return ms;
}

/* The runs after an instant, as "2026-03-28T01:30:00Z …". */
static void assert_runs(const struct cron *c, const char *zone, const char *after,
                        const char *expected)
{
    struct zone *z = zone_open(&cx, str_of(zone));
    struct buf b;
    int64_t at = ms_of(after);
    size_t n = (strlen(expected) + 1) / 21;

    assert_non_null(z);
    buf_init(&b, &cx.arena, 1024);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_char(&b, ' ');
        at = cron_next(c, z, at);
        time_print_s(&b, at);
    }
    assert_string_equal(str_cstr(&cx.arena, buf_view(&b)), expected);
}

static void runs(const char *text, const char *zone, const char *after, const char *expected)
{
    struct cron c = cron_of(text);
    assert_runs(&c, zone, after, expected);
}

static void test_fields_take_values_ranges_steps_lists_and_names(void **state)
{
    struct cron c = cron_of("5,10-12,40/10 */6 1-3,31 JAN,jun-Aug mon-fri");
    (void)state;

    assert_true(c.minutes ==
                (UINT64_C(1) << 5 | UINT64_C(7) << 10 | UINT64_C(1) << 40 | UINT64_C(1) << 50));
    assert_int_equal(c.hours, 1 | 1 << 6 | 1 << 12 | 1 << 18);
    assert_int_equal(c.days, 1 << 1 | 1 << 2 | 1 << 3 | 1u << 31);
    assert_int_equal(c.months, 1 << 1 | 1 << 6 | 1 << 7 | 1 << 8);
    assert_int_equal(c.weekdays, 0x3E);
    assert_true(c.by_either_day);
    assert_int_equal(cron_of("0 0 * * 7").weekdays, 1);
    assert_int_equal(cron_of("0 0 * * 5-7").weekdays, 0x61);
    assert_int_equal(cron_of("0 0 * * *").weekdays, 0x7F);
    assert_false(cron_of("0 0 */2 * 1").by_either_day);
    assert_int_equal(cron_of("  0\t0  * * *  ").hours, 1);
}

static void test_what_is_wrong_is_named_by_its_field(void **state)
{
    static const char *const bad[][2] = {
        { "60 0 * * *", "field 1 (minute): \"60\" is not between 0 and 59" },
        { "0 24 * * *", "field 2 (hour): \"24\" is not between 0 and 23" },
        { "0 0 0 * *", "field 3 (day of month): \"0\" is not between 1 and 31" },
        { "0 0 * 13 *", "field 4 (month): \"13\" is not between 1 and 12" },
        { "0 0 * * 8", "field 5 (day of week): \"8\" is not between 0 and 7" },
        { "0 0 * foo *", "field 4 (month): \"foo\" is not a value" },
        { "0 mon * * *", "field 2 (hour): \"mon\" is not a value" },
        { "10-5 0 * * *", "field 1 (minute): \"10-5\" is a range that ends before it begins" },
        { "*/0 0 * * *", "field 1 (minute): \"*/0\" has a step" },
        { "*/60 0 * * *", "has a step" },
        { "*/ 0 * * *", "has a step" },
        { "1,,2 0 * * *", "field 1 (minute): \"1,,2\" has an empty part" },
        { "0 0 L * *", "field 3 (day of month): \"L\" is not a value" },
        { "-1 0 * * *", "field 1 (minute)" },
        { "1-2-3 0 * * *", "field 1 (minute)" },
        { "0 0 * *", "has 4 fields" },
        { "0 0 * * * *", "has 6 fields" },
        { "", "has 0 fields" },
        { "@daily", "has 1 fields" },
        { "0 0 * * \xC3\xA4", "plain characters" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cron c;
        struct str why = STR_NONE;
        assert_false(cron_parse(&cx.arena, str_of(bad[i][0]), &c, &why));
        if (!strstr(str_cstr(&cx.arena, why), bad[i][1]))
            print_error("\"%s\" says: " STR_FMT "\n", bad[i][0], STR_ARG(why));
        assert_non_null(strstr(str_cstr(&cx.arena, why), bad[i][1]));
    }
}

static void test_a_run_is_after_the_instant_not_at_it(void **state)
{
    (void)state;
    runs("0 12 * * *", "UTC", "2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z 2026-01-03T12:00:00Z");
    runs("*/20 9-10 * * *", "UTC", "2026-01-01T09:39:59.999Z",
         "2026-01-01T09:40:00Z 2026-01-01T10:00:00Z 2026-01-01T10:20:00Z 2026-01-01T10:40:00Z "
         "2026-01-02T09:00:00Z");
}

static void test_a_missing_time_runs_once_when_clocks_are_put_forward(void **state)
{
    (void)state;
    runs("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z",
         "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z");
    runs("*/15 2 * * *", "America/New_York", "2026-03-07T12:00:00Z",
         "2026-03-08T07:00:00Z 2026-03-09T06:00:00Z 2026-03-09T06:15:00Z");
}

static void test_a_repeated_time_runs_once_when_clocks_are_put_back(void **state)
{
    (void)state;
    runs("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
         "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z");
    runs("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z",
         "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z");
    /* Asked between the two 02:30. */
    runs("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-26T01:30:00Z");
}

static void test_wall_times_keep_their_name_over_a_change(void **state)
{
    (void)state;
    runs("0 9 * * mon", "America/New_York", "2026-03-01T00:00:00Z",
         "2026-03-02T14:00:00Z 2026-03-09T13:00:00Z");
}

static void test_february_29_is_found_years_ahead(void **state)
{
    (void)state;
    runs("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z");
    runs("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z");
}

static void test_a_day_that_never_comes_has_no_run(void **state)
{
    struct cron c = cron_of("0 0 31 2,4,6 *");
    (void)state;

    assert_int_equal(cron_next(&c, zone_open(&cx, STR("UTC")), ms_of("2026-01-01")), 0);
}

static void test_restricted_days_of_both_kinds_match_by_either(void **state)
{
    (void)state;
    runs("0 0 13 * fri", "UTC", "2026-11-01T00:00:00Z",
         "2026-11-06T00:00:00Z 2026-11-13T00:00:00Z 2026-11-20T00:00:00Z 2026-11-27T00:00:00Z "
         "2026-12-04T00:00:00Z 2026-12-11T00:00:00Z 2026-12-13T00:00:00Z");
    runs("0 0 */2 * sun", "UTC", "2026-11-01T12:00:00Z",
         "2026-11-15T00:00:00Z 2026-11-29T00:00:00Z");
}

static void test_day_31_is_the_last_day_when_clamped(void **state)
{
    struct cron c = cron_of("0 8 31 * *");
    (void)state;

    runs("0 8 31 * *", "UTC", "2026-01-31T12:00:00Z", "2026-03-31T08:00:00Z 2026-05-31T08:00:00Z");
    c.is_clamped = true;
    assert_runs(&c, "UTC", "2028-01-30T12:00:00Z",
                "2028-01-31T08:00:00Z 2028-02-29T08:00:00Z 2028-03-31T08:00:00Z "
                "2028-04-30T08:00:00Z");
    c = cron_of("0 8 30 * *");
    c.is_clamped = true;
    assert_runs(&c, "UTC", "2026-01-30T12:00:00Z",
                "2026-02-28T08:00:00Z 2026-03-30T08:00:00Z 2026-04-30T08:00:00Z");
}

static void test_the_least_time_between_two_runs_is_known(void **state)
{
    static const struct {
        const char *text;
        int minutes;
    } rows[] = {
        { "* * * * *", 1 },       { "*/15 * * * *", 15 },   { "0 9 * * *", 60 },
        { "0,20 9 * * *", 20 },   { "0,50 8,9 * * *", 10 }, { "0,50 8,10 * * *", 50 },
        { "55,0 23,0 * * *", 5 }, { "7 * * * *", 60 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cron c = cron_of(rows[i].text);
        assert_int_equal(cron_gap_minutes(&c), rows[i].minutes);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_fields_take_values_ranges_steps_lists_and_names),
        T(test_what_is_wrong_is_named_by_its_field),
        T(test_the_least_time_between_two_runs_is_known),
        T(test_a_run_is_after_the_instant_not_at_it),
        T(test_a_missing_time_runs_once_when_clocks_are_put_forward),
        T(test_a_repeated_time_runs_once_when_clocks_are_put_back),
        T(test_wall_times_keep_their_name_over_a_change),
        T(test_february_29_is_found_years_ahead),
        T(test_a_day_that_never_comes_has_no_run),
        T(test_restricted_days_of_both_kinds_match_by_either),
        T(test_day_31_is_the_last_day_when_clamped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
