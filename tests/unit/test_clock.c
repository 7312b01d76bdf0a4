/* Facts about clock.c: text forms there and back, what is refused, the seam. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"

static char room[64];

static const char *printed(void (*print)(struct buf *, int64_t), int64_t ms)
{
    struct buf b = { .p = room, .cap = sizeof(room) - 1, .max = sizeof(room) - 1 };

    print(&b, ms);
    room[b.n] = '\0';
    return room;
}

static void test_known_instants_print(void **state)
{
    (void)state;
    assert_string_equal(printed(time_print_ms, 0), "1970-01-01T00:00:00.000Z");
    assert_string_equal(printed(time_print_ms, 1705314600123), "2024-01-15T10:30:00.123Z");
    assert_string_equal(printed(time_print_s, 1705314600999), "2024-01-15T10:30:00Z");
    assert_string_equal(printed(time_print_ms, -1), "1969-12-31T23:59:59.999Z");
    assert_string_equal(printed(time_print_s, 951782400000), "2000-02-29T00:00:00Z");
    assert_string_equal(printed(time_print_http, 784111777000), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_string_equal(printed(time_print_http, 0), "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void test_years_outside_four_digits_are_clamped(void **state)
{
    (void)state;
    assert_string_equal(printed(time_print_ms, INT64_MIN), "0000-01-01T00:00:00.000Z");
    assert_string_equal(printed(time_print_ms, INT64_MAX), "9999-12-31T23:59:59.999Z");
}

/* Every day of 10,000 years, against the C library and against the parser. */
static void test_every_day_agrees_with_the_c_library(void **state)
{
    int64_t from = -719528, to = 2932896; /* 0000-01-01 and 9999-12-31 */

    (void)state;
    for (int64_t day = from; day <= to; day++) {
        int64_t ms = day * DAY_MS + (day & 0xFFFF) * 1000, back = 1;
        time_t t = (time_t)(ms / 1000);
        struct tm tm;
        char want[64];

        if (day % 5 && day % 365 > 3) /* all ends of years, a fifth of the rest */
            continue;
        assert_non_null(gmtime_r(&t, &tm));
        strftime(want, sizeof(want), "%a, %d %b ", &tm);
        if (strncmp(printed(time_print_http, ms), want, strlen(want)) != 0)
            assert_string_equal(room, want);
        printed(time_print_s, ms);
        assert_true(time_parse(str_of(room), &back));
        assert_true(back == ms);
        strftime(want, sizeof(want), "-%m-%dT%H:%M:%SZ", &tm);
        if (strcmp(room + 4, want) != 0)
            assert_string_equal(room, want);
    }
}

static void test_offsets_fractions_and_dates_parse(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        { "2024-01-15T10:30:00Z", 1705314600000 },
        { "2024-01-15t10:30:00z", 1705314600000 },
        { "2024-01-15T10:30:00.1Z", 1705314600100 },
        { "2024-01-15T10:30:00.123456789Z", 1705314600123 },
        { "2024-01-15T12:30:00+02:00", 1705314600000 },
        { "2024-01-15T05:00:00.5-05:30", 1705314600500 },
        { "2024-01-15", 1705276800000 },
        { "2016-12-31T23:59:60Z", 1483228799000 },
        { "0000-01-01T00:00:00Z", -62167219200000 },
        { "9999-12-31T23:59:59.999Z", 253402300799999 },
        { "2024-02-29", 1709164800000 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int64_t ms = 1;

        if (!time_parse(str_of(rows[i].text), &ms) || ms != rows[i].ms)
            fail_msg("%s gives %" PRId64, rows[i].text, ms);
    }
}

static void test_what_is_no_time_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "2024",
        "2024-1-15",
        "2024-13-01",
        "2024-00-01",
        "2024-01-32",
        "2024-01-00",
        "2023-02-29",
        "1900-02-29",
        "2024-01-15T",
        "2024-01-15T10:30Z",
        "2024-01-15T10:30:00",
        "2024-01-15 10:30:00Z",
        "2024-01-15T24:00:00Z",
        "2024-01-15T10:60:00Z",
        "2024-01-15T10:30:61Z",
        "2024-01-15T10:30:00.Z",
        "2024-01-15T10:30:00.1234567890Z",
        "2024-01-15T10:30:00+2:00",
        "2024-01-15T10:30:00+0200",
        "2024-01-15T10:30:00+24:00",
        "2024-01-15T10:30:00+02:60",
        "2024-01-15T10:30:00Zx",
        "2024-01-15Z",
        "+024-01-15",
        "0000-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int64_t ms = 77;

        if (time_parse(str_of(rows[i]), &ms) || ms != 77)
            fail_msg("%s was taken", rows[i]);
    }
    assert_false(time_parse(STR_NONE, &(int64_t){ 0 }));
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = { { "90d", 90 * DAY_MS }, { "12h", 12 * HOUR_MS },
                 { "30m", 1800000 },     { "45s", 45000 },
                 { "250ms", 250 },       { "2w", 14 * DAY_MS },
                 { "60", 60000 },        { "9223372036854775807ms", INT64_MAX } };
    static const char *const bad[] = { "",
                                       "0",
                                       "0d",
                                       "-1d",
                                       "d",
                                       "1.5h",
                                       "1y",
                                       "1 d",
                                       " 1d",
                                       "1D",
                                       "1msx",
                                       "+1",
                                       "9223372036854775807w",
                                       "99999999999999999999" };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        int64_t ms = 0;

        assert_true(duration_parse(str_of(good[i].text), &ms));
        assert_true(ms == good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        int64_t ms = 77;

        assert_false(duration_parse(str_of(bad[i]), &ms));
        assert_true(ms == 77);
    }
}

static void test_the_wall_clock_can_be_moved(void **state)
{
    int64_t before = clock_ms();
    int64_t mono = clock_mono_us();
    int64_t moved;

    (void)state;
    clock_shift_ms(10 * DAY_MS);
    moved = clock_ms();
    assert_true(moved >= before + 10 * DAY_MS && moved < before + 11 * DAY_MS);
    assert_true(clock_mono_us() - mono < INT64_C(3600000000));
    clock_shift_ms(0);
    assert_true(clock_ms() < before + DAY_MS);
}

static void test_months_begin_where_the_calendar_says(void **state)
{
    static const struct {
        const char *at, *begin, *next;
    } rows[] = {
        { "2024-02-29T23:59:59.999Z", "2024-02-01", "2024-03-01" },
        { "2023-12-31T12:00:00Z", "2023-12-01", "2024-01-01" },
        { "2024-03-01T00:00:00Z", "2024-03-01", "2024-04-01" },
        { "1969-12-31T23:59:59Z", "1969-12-01", "1970-01-01" },
        { "0001-01-01T00:00:00Z", "0001-01-01", "0001-02-01" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t at, begin, next;

        assert_true(time_parse(str_of(rows[i].at), &at));
        assert_true(time_parse(str_of(rows[i].begin), &begin));
        assert_true(time_parse(str_of(rows[i].next), &next));
        assert_int_equal(time_month(at, 0), begin);
        assert_int_equal(time_month(at, 1), next);
        assert_int_equal(time_month(at, 12), time_month(time_month(at, 6), 6));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_instants_print),
        cmocka_unit_test(test_years_outside_four_digits_are_clamped),
        cmocka_unit_test(test_every_day_agrees_with_the_c_library),
        cmocka_unit_test(test_offsets_fractions_and_dates_parse),
        cmocka_unit_test(test_what_is_no_time_is_refused),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_months_begin_where_the_calendar_says),
        cmocka_unit_test(test_the_wall_clock_can_be_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
