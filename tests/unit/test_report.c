/* Facts about the reading and running of reports that no client can show: ranges of usage, merging,
 * deadlines, keymaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/report/keymap.h"
#include "core/report/report_run.h"
#include "core_store.h"

#define NOW INT64_C(1774656000000) /* 2026-03-28 */

static const struct caller cli = { .team_id = { TEAM, 36 } };

static struct report_def def_of(struct ctx *cx, const char *json)
{
    struct report_def d;
    enum err_code e = report_def_parse(cx, str_of(json), "definition", NOW, &d);

    if (e)
        print_error("%s: " STR_FMT "\n", json, STR_ARG(cx->err_text));
    assert_int_equal(e, ERR_NONE);
    return d;
}

#define ONE "\"measures\":[{\"name\":\"n\",\"op\":\"count\"}]"

UNIT_TEST(test_the_stored_text_reads_as_the_same)
{
    (void)db;
    struct report_def a = def_of(
        cx, "{\"source\":\"tickets\",\"filters\":[{\"field\":\"created_at\",\"op\":\"gte\","
            "\"value\":\"-7d\"}],\"group_by\":[\"status\"],\"bucket\":{\"field\":\"created_at\","
            "\"unit\":\"month\"}," ONE ",\"sort\":[{\"by\":\"n\"}],\"from\":\"-30d\"}");
    struct report_def b = def_of(cx, str_cstr(&cx->arena, a.text));

    assert_true(str_eq(a.text, b.text));
    assert_int_equal(a.filters[0].values[0].i, NOW - 7 * DAY_MS);
    assert_int_equal(report_when_ms(&a.from, NOW), NOW - 30 * DAY_MS);
    assert_int_equal(a.limit, REPORT_LIMIT_DEFAULT);
}

UNIT_TEST(test_all_problems_are_named_at_once)
{
    struct report_def d;
    (void)db;

    assert_int_equal(
        report_def_parse(cx,
                         STR("{\"source\":\"tickets\",\"group_by\":[\"x\"],\"measures\":[{\"name\":"
                             "\"n\",\"op\":\"sum\"}],\"from\":\"y\",\"sort\":[{\"by\":\"z\"}]}"),
                         "definition", NOW, &d),
        ERR_INVALID_FIELD);
    static const char *const expected[] = { "definition.group_by[0]",
                                            "definition.measures[0].field", "definition.sort[0].by",
                                            "definition.from" };
    assert_int_equal(cx->n_fields, 4);
    for (int i = 0; i < 4; i++)
        assert_true(str_eq(cx->fields[i].field, str_of(expected[i])));
}

UNIT_TEST(test_values_are_arguments_never_text)
{
    struct report_plan p;
    struct report_def d =
        def_of(cx, "{\"source\":\"tickets\",\"filters\":[{\"field\":\"category\",\"op\":\"in\","
                   "\"value\":[\"'; DROP\",\"$1\"]},{\"field\":\"title\",\"op\":\"contains\","
                   "\"value\":\"' OR\"}]," ONE "}");
    struct report_ask ask = { .def = &d, .who = &cli, .now_ms = NOW };
    (void)db;

    assert_ok(report_plan_make(cx, &ask, &p));
    assert_null(strstr(p.sql.p, "DROP"));
    assert_null(strstr(p.sql.p, "OR'"));
    assert_int_equal(p.n_args, 4);
    assert_true(str_eq(p.args[1].s, STR("'; DROP")));
    assert_true(str_eq(p.args[3].s, STR("%' OR%")));
}

/* The grain of the rollups that the range is read from, and the range that it becomes. */
static void assert_grain(struct ctx *cx, const char *from, char grain, int64_t from_ms)
{
    struct report_plan p;
    char text[256], expected[32];
    snprintf(text, sizeof text, "{\"source\":\"usage\"," ONE ",\"from\":\"%s\"}", from);
    struct report_def d = def_of(cx, text);
    struct report_ask ask = { .def = &d, .who = &cli, .now_ms = NOW + 90 * 1000 };

    assert_ok(report_plan_make(cx, &ask, &p));
    snprintf(expected, sizeof expected, "u.grain = '%c'", grain);
    assert_non_null(strstr(p.sql.p, expected));
    assert_int_equal(p.from_ms, from_ms);
}

UNIT_TEST(test_usage_is_read_from_the_grain_that_is_still_kept)
{
    (void)db;
    assert_grain(cx, "-1h", 'm', NOW - HOUR_MS + 60 * 1000);
    assert_grain(cx, "-6d", 'm', NOW - 6 * DAY_MS + 60 * 1000);
    assert_grain(cx, "-7d", 'h', NOW - 7 * DAY_MS);
    assert_grain(cx, "-89d", 'h', NOW - 89 * DAY_MS);
    assert_grain(cx, "-300d", 'd', NOW - 300 * DAY_MS);
}

UNIT_TEST(test_percentiles_leave_room_for_four_numbers)
{
    struct report_plan p;
    (void)db;
#define P95 "{\"name\":\"p\",\"op\":\"p95\",\"field\":\"response_time_us\"}"
#define AVG(name) "{\"name\":\"" name "\",\"op\":\"avg\",\"field\":\"response_time_us\"}"
    struct report_def fits =
        def_of(cx, "{\"source\":\"usage\",\"measures\":[" P95 "," AVG("a") "," AVG("b") "]}");
    struct report_def not = def_of(cx, "{\"source\":\"usage\",\"measures\":[" P95
                                       "," AVG("a") "," AVG("b") "," AVG("c") "]}");
    struct report_ask ask = { .def = &fits, .who = &cli, .now_ms = NOW };

    assert_ok(report_plan_make(cx, &ask, &p));
    ask.def = &not ;
    assert_fails(report_plan_make(cx, &ask, &p), ERR_INVALID_FIELD);
}

/* A plan whose statement the test writes. */
static void put_sql(struct report_plan *p, const struct report_def *d, const char *sql)
{
    *p = (struct report_plan){ .def = d, .sql = str_of(sql), .n_numbers = 1, .hist_at = -1 };
}

UNIT_TEST(test_quarters_of_a_day_are_added_up)
{
    struct report_plan p;
    struct report_table t;
    struct report_def d =
        def_of(cx, "{\"source\":\"tickets\",\"group_by\":[\"status\"],\"bucket\":{\"field\":"
                   "\"created_at\",\"unit\":\"day\",\"time_zone\":\"Asia/Kathmandu\"}," ONE "}");

    /* 2026-03-28 begins at 18:15 UTC of the day before: quarter 1971815 - 5:45 h. */
    put_sql(&p, &d,
            "SELECT 'a' AS g0, 1971817 AS q, 1 AS m0 UNION ALL SELECT 'a', 1971816, 10 UNION ALL "
            "SELECT NULL, 1971817, 100 UNION ALL SELECT '', 1971817, 1000 UNION ALL "
            "SELECT 'a', 1971818, 10000");
    assert_ok(report_merge(cx, db, &p, &t));

    assert_int_equal(t.n_columns, 3);
    int64_t total = 0;
    for (size_t i = 0; i < t.n_rows; i++)
        total += t.cells[i * 3 + 2].i;
    assert_int_equal(total, 11111);
    assert_int_equal(t.cells[(t.n_rows - 1) * 3 + 1].kind, CELL_NULL);
    for (size_t i = 0; i < t.n_rows; i++)
        assert_int_equal(t.cells[i * 3].r, 20700); /* 5:45 h */
}

UNIT_TEST(test_more_groups_than_may_be_read_are_refused)
{
    struct report_plan p;
    struct report_table t;
    struct report_def d = def_of(cx, "{\"source\":\"tickets\",\"group_by\":[\"status\"]," ONE "}");
    struct ctx big;

    put_sql(&p, &d,
            "WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 100001) "
            "SELECT 'g' || i AS g0, i AS m0 FROM s");
    ctx_init(&big, REPORT_MEMORY);
    assert_int_equal(report_merge(&big, db, &p, &t), ERR_INVALID_FIELD);
    assert_true(str_eq(big.fields[0].field, STR("definition")));
    ctx_done(&big);
    ctx_init(&big, (size_t)1 << 20); /* and when the memory ends before */
    assert_int_equal(report_merge(&big, db, &p, &t), ERR_INVALID_FIELD);
    ctx_done(&big);
}

UNIT_TEST(test_a_statement_ends_at_the_deadline_before_its_first_row)
{
    struct rec_num n;
    int64_t began_us = clock_mono_us();

    cx->deadline_us = began_us + 50 * 1000;
    enum err_code e = db_one(cx, db, &rec_num,
                             "WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s) "
                             "SELECT COUNT(*) AS n FROM s",
                             NO_ARGS, &n);
    cx->deadline_us = 0;

    assert_int_equal(e, ERR_UNAVAILABLE);
    assert_true(clock_mono_us() - began_us < 5 * 1000 * 1000);
    ctx_clear(cx);
    assert_ok(db_one(cx, db, &rec_num, "SELECT 1 AS n", NO_ARGS, &n));
}

static void test_a_keymap_numbers_keys_in_their_order(void **state)
{
    struct arena a;
    struct keymap m = { .arena = &a };
    char text[16];
    bool is_new;
    (void)state;

    arena_init(&a, (size_t)16 << 20);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 20000; i++) {
            snprintf(text, sizeof text, "k%zu", i);
            assert_int_equal(keymap_put(&m, str_of(text), &is_new), i);
            assert_int_equal(is_new, round == 0);
        }
    assert_int_equal(keymap_put(&m, STR(""), &is_new), 20000);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_the_stored_text_reads_as_the_same),
        TC(test_all_problems_are_named_at_once),
        TC(test_values_are_arguments_never_text),
        TC(test_usage_is_read_from_the_grain_that_is_still_kept),
        TC(test_percentiles_leave_room_for_four_numbers),
        TC(test_quarters_of_a_day_are_added_up),
        TC(test_more_groups_than_may_be_read_are_refused),
        TC(test_a_statement_ends_at_the_deadline_before_its_first_row),
        cmocka_unit_test(test_a_keymap_numbers_keys_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
