/* Facts about zone.c: clocks that are put forward and back, calendar units, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/clock.h"
#include "base/zone.h"

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

static int64_t ms_of(const char *text)
{
    int64_t ms = 0;
    assert_true(time_parse(str_of(text), &ms));
    return ms;
}

static void assert_is(int64_t got, const char *expected)
{
    struct buf b;
    buf_init(&b, &cx.arena, 64);
    time_print_s(&b, got);
    assert_string_equal(str_cstr(&cx.arena, buf_view(&b)), expected);
}

static struct zone *zone_of(const char *name)
{
    struct zone *z = zone_open(&cx, str_of(name));
    assert_non_null(z);
    return z;
}

static void test_only_names_of_the_database_open(void **state)
{
    static const char *const bad[] = {
        "",       "Mars/Olympus",   "Etc/Unknown",   "GMT+3:17",
        "+02:00", "Europe/Berlin ", "europe berlin", "Europe/\xC3\x84",
        "local"
    };
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(zone_open(&cx, str_of(bad[i])));
    zone_of("UTC");
    zone_of("Etc/UTC");
    zone_of("America/Argentina/ComodRivadavia");
    zone_of("Asia/Kathmandu");
}

static void test_a_time_that_does_not_exist_is_the_next_that_does(void **state)
{
    (void)state;
    /* 2026-03-29: 02:00 becomes 03:00 in Berlin; 2026-03-08: the same in New York. */
    assert_is(zone_at(zone_of("Europe/Berlin"), &(struct zone_time){ 2026, 3, 29, 2, 30, 0, 0, 0 }),
              "2026-03-29T01:00:00Z");
    assert_is(
        zone_at(zone_of("America/New_York"), &(struct zone_time){ 2026, 3, 8, 2, 0, 0, 0, 0 }),
        "2026-03-08T07:00:00Z");
    /* A whole day that Samoa left out. */
    assert_is(zone_at(zone_of("Pacific/Apia"), &(struct zone_time){ 2011, 12, 30, 9, 0, 0, 0, 0 }),
              "2011-12-30T10:00:00Z");
}

static void test_a_time_that_occurs_twice_is_the_first(void **state)
{
    (void)state;
    assert_is(
        zone_at(zone_of("Europe/Berlin"), &(struct zone_time){ 2026, 10, 25, 2, 30, 0, 0, 0 }),
        "2026-10-25T00:30:00Z");
    assert_is(
        zone_at(zone_of("America/New_York"), &(struct zone_time){ 2026, 11, 1, 1, 59, 0, 0, 0 }),
        "2026-11-01T05:59:00Z");
}

static void test_days_have_23_and_25_hours(void **state)
{
    struct zone *z = zone_of("Europe/Berlin");
    (void)state;

    assert_is(zone_floor(z, ms_of("2026-03-29T21:59:59Z"), ZONE_DAY), "2026-03-28T23:00:00Z");
    assert_is(zone_floor(z, ms_of("2026-03-29T22:00:00Z"), ZONE_DAY), "2026-03-29T22:00:00Z");
    assert_is(zone_floor(z, ms_of("2026-10-25T22:59:59Z"), ZONE_DAY), "2026-10-24T22:00:00Z");
    assert_is(zone_floor(z, ms_of("2026-10-25T23:00:00Z"), ZONE_DAY), "2026-10-25T23:00:00Z");
}

static void test_the_hours_of_the_same_name_stay_two(void **state)
{
    struct zone *z = zone_of("Europe/Berlin");
    (void)state;

    assert_is(zone_floor(z, ms_of("2026-10-25T00:45:00Z"), ZONE_HOUR), "2026-10-25T00:00:00Z");
    assert_is(zone_floor(z, ms_of("2026-10-25T01:45:00Z"), ZONE_HOUR), "2026-10-25T01:00:00Z");
    /* Hours of a zone that is 5:45 ahead begin at a quarter past in UTC. */
    assert_is(zone_floor(zone_of("Asia/Kathmandu"), ms_of("2026-01-01T00:14:00Z"), ZONE_HOUR),
              "2025-12-31T23:15:00Z");
    assert_is(zone_floor(zone_of("UTC"), ms_of("1969-12-31T23:59:00Z"), ZONE_HOUR),
              "1969-12-31T23:00:00Z");
}

static void test_longer_units_begin_where_the_calendar_says(void **state)
{
    struct zone *z = zone_of("America/New_York");
    int64_t ms = ms_of("2026-03-01T04:59:59Z"); /* Saturday, February 28, 23:59:59 */
    (void)state;

    assert_is(zone_floor(z, ms, ZONE_WEEK), "2026-02-23T05:00:00Z");
    assert_is(zone_floor(z, ms, ZONE_MONTH), "2026-02-01T05:00:00Z");
    assert_is(zone_floor(z, ms, ZONE_QUARTER), "2026-01-01T05:00:00Z");
    assert_is(zone_floor(z, ms, ZONE_YEAR), "2026-01-01T05:00:00Z");
    /* A week over the end of a year, and one with a change of clocks in it. */
    assert_is(zone_floor(z, ms_of("2027-01-01T12:00:00Z"), ZONE_WEEK), "2026-12-28T05:00:00Z");
    assert_is(zone_floor(z, ms_of("2026-03-08T12:00:00Z"), ZONE_WEEK), "2026-03-02T05:00:00Z");
    assert_is(zone_floor(z, ms_of("2026-12-31T12:00:00Z"), ZONE_QUARTER), "2026-10-01T04:00:00Z");
}

static void test_every_floor_is_its_own_floor_and_not_later(void **state)
{
    static const char *const names[] = { "Europe/Berlin", "America/New_York", "Asia/Beirut",
                                         "Australia/Lord_Howe", "America/Sao_Paulo" };
    (void)state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct zone *z = zone_of(names[i]);
        for (int unit = ZONE_HOUR; unit <= ZONE_YEAR; unit++)
            for (int64_t ms = ms_of("2017-10-01"); ms < ms_of("2018-11-20");
                 ms += 7 * HOUR_MS + 900000) {
                int64_t low = zone_floor(z, ms, (enum zone_unit)unit);
                assert_true(low <= ms);
                assert_int_equal(zone_floor(z, low, (enum zone_unit)unit), low);
            }
    }
}

static void test_printing_shows_the_offset(void **state)
{
    struct buf b;
    (void)state;

    buf_init(&b, &cx.arena, 256);
    zone_print(&b, zone_of("Europe/Berlin"), ms_of("2026-03-28T23:00:00Z"));
    buf_char(&b, ' ');
    zone_print(&b, zone_of("America/St_Johns"), ms_of("2026-01-01T03:30:00Z"));
    assert_string_equal(str_cstr(&cx.arena, buf_view(&b)),
                        "2026-03-29T00:00:00+01:00 2026-01-01T00:00:00-03:30");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_only_names_of_the_database_open),
        T(test_a_time_that_does_not_exist_is_the_next_that_does),
        T(test_a_time_that_occurs_twice_is_the_first),
        T(test_days_have_23_and_25_hours),
        T(test_the_hours_of_the_same_name_stay_two),
        T(test_longer_units_begin_where_the_calendar_says),
        T(test_every_floor_is_its_own_floor_and_not_later),
        T(test_printing_shows_the_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
