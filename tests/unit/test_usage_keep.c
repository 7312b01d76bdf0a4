/* Housekeeping of usage on SQLite: day files, retention, forgetting a token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/fault.h"
#include "core/usage_series.h"
#include "usage_store.h"

#define ROWS "SELECT COUNT(*) AS n FROM integration_token_usage"

/* --- Day files --- */

static void put_old_rows(struct ufix *f)
{
    write_many(f, TOKEN, 700, start_of_today() - 3 * DAY_MS + 1000);
    write_many(f, OTHER, 10, start_of_today() - 2 * DAY_MS + 1000);
    write_many(f, TOKEN, 5, clock_ms());
    ufix_stop(f);
    ufix_open(f, 0);
}

static void check_recent(struct ufix *f, int64_t want)
{
    int64_t n = 0, last_ms = INT64_MAX, last = INT64_MAX;
    struct list got;

    do {
        got = recent(f, TOKEN, last_ms, last, 100);
        for (size_t i = 0; i < got.n; i++) {
            const struct usage_row *r = (struct usage_row *)got.v + i;

            assert_true(r->created_ms < last_ms || (r->created_ms == last_ms && r->id < last));
            assert_true(str_eq(r->token_id, TOKEN));
            last_ms = r->created_ms;
            last = r->id;
        }
        n += (int64_t)got.n;
    } while (got.n == 100);
    assert_int_equal(n, want);
}

static void test_old_rows_move_to_day_files_and_are_still_found(void **state)
{
    struct ufix *f = *state;
    struct list days;

    put_old_rows(f);
    keep_pass(f->u, clock_ms());

    assert_int_equal(ask(f, ROWS), 5);
    assert_int_equal(day_list(&f->cx, f->u, &days), ERR_NONE);
    assert_int_equal(days.n, 2);
    check_recent(f, 705);
}

static void test_a_move_that_is_killed_loses_and_doubles_nothing(void **state)
{
    struct ufix *f = *state;
    int64_t n = 0;

    put_old_rows(f);
    do {
        fault_arm(FAULT_COMMIT, ++n);
        keep_pass(f->u, clock_ms());
        check_recent(f, 705);
    } while (fault_fired());

    assert_true(n > 4);
    assert_int_equal(ask(f, ROWS), 5);
}

static void test_rows_that_no_rollup_has_stay(void **state)
{
    struct ufix *f = *state;

    write_many(f, TOKEN, 20, start_of_today() - 3 * DAY_MS);
    keep_pass(f->u, clock_ms());

    assert_int_equal(ask(f, ROWS), 20);
}

static void test_old_day_files_are_unlinked(void **state)
{
    struct ufix *f = *state;

    put_old_rows(f);
    keep_pass(f->u, clock_ms());
    keep_pass(f->u,
              clock_ms() + 28 * DAY_MS); /* the first file is 31 days old now, the second 30 */

    check_recent(f, 5);
    keep_pass(f->u, clock_ms() + 32 * DAY_MS);
    check_recent(f, 0); /* the rest moved, was of today, and its file is too old already */
}

static void test_rollups_end_with_their_time(void **state)
{
    struct ufix *f = *state;

    write_many(f, TOKEN, 3, clock_ms() - 8 * DAY_MS);
    write_many(f, STR_NONE, 3, clock_ms() - 91 * DAY_MS);
    write_many(f, TOKEN, 3, clock_ms() - 401 * DAY_MS);
    ufix_stop(f);
    ufix_open(f, 0);
    keep_pass(f->u, clock_ms());

#define COUNTRY "SELECT COALESCE(SUM(n), 0) AS n FROM usage_country WHERE grain = "
    assert_int_equal(ask(f, COUNTRY "'h'"), 3); /* those of 91 days ago had no team */
    assert_int_equal(ask(f, COUNTRY "'d'"), 3);
#define GRAIN "SELECT COALESCE(SUM(n), 0) AS n FROM usage_rollup WHERE token_id <> '*' AND grain = "
    assert_int_equal(ask(f, GRAIN "'m'"), 0);
    assert_int_equal(ask(f, GRAIN "'h'"), 3);
    assert_int_equal(ask(f, GRAIN "'d'"), 6);
    assert_int_equal(ask(f, GRAIN "'M'"), 3);
    assert_int_equal(ask(f, GRAIN "'t'"), 9);
}

/* --- Days become months --- */

static enum err_code read_months(struct ctx *cx, struct db *db, void *arg)
{
    struct usage_span span = { .from = clock_ms() - 900 * DAY_MS, .bucket = STR("month") };

    REC_SET(&span, from);
    REC_SET(&span, bucket);
    return usage_timeseries(cx, db, TEAM, &span, arg);
}

static struct str months(struct ufix *f)
{
    struct usage_series out;

    assert_int_equal(store_read(&f->cx, f->s, read_months, &out), ERR_NONE);
    return out.data;
}

/* Two keys, several days and classes of three months, one of which is old by half. */
static void put_old_months(struct ufix *f)
{
    struct usage_event failed = event(TOKEN, 503, clock_ms() - 420 * DAY_MS);

    for (int day = 380; day < 460; day += 6) {
        write_many(f, TOKEN, day % 7 + 1, clock_ms() - day * DAY_MS);
        write_many(f, OTHER, 1, clock_ms() - day * DAY_MS);
    }
    assert_int_equal(write_event(f, &failed), ERR_NONE);
    ufix_stop(f);
    ufix_open(f, 0);
}

static void test_figures_by_month_stay_the_same_when_days_become_months(void **state)
{
    struct ufix *f = *state;

    put_old_months(f);
    struct str before = months(f);
    assert_non_null(strstr(before.p, "\"requests\":"));
    keep_pass(f->u, clock_ms());

    assert_true(str_eq(months(f), before));
    assert_true(ask(f, GRAIN "'M'") > 0);
    assert_true(ask(f, GRAIN "'d'") > 0);
    assert_int_equal(ask(f, GRAIN "'M'") + ask(f, GRAIN "'d'"), ask(f, GRAIN "'t'"));
    keep_pass(f->u, clock_ms() + 100 * DAY_MS);
    assert_int_equal(ask(f, GRAIN "'d'"), 0);
    assert_true(str_eq(months(f), before));
}

static void test_a_fold_that_is_killed_loses_and_doubles_nothing(void **state)
{
    struct ufix *f = *state;
    int64_t n = 0;

    put_old_months(f);
    struct str before = months(f);
    do {
        fault_arm(FAULT_COMMIT, ++n);
        keep_pass(f->u, clock_ms());
        assert_true(str_eq(months(f), before));
    } while (fault_fired());

    assert_true(n > 4);
    assert_int_equal(ask(f, GRAIN "'M'") + ask(f, GRAIN "'d'"), ask(f, GRAIN "'t'"));
}

static enum err_code mark_forgotten(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    return usage_forget_mark(cx, db, TEAM, TOKEN);
}

static void test_a_forgotten_token_leaves_no_row_anywhere(void **state)
{
    struct ufix *f = *state;

    put_old_rows(f);
    keep_pass(f->u, clock_ms());
    assert_int_equal(usage_tx(&f->cx, f->u, mark_forgotten, NULL), ERR_NONE);
    ufix_crash(f); /* the wish survives */
    ufix_open(f, 0);
    keep_pass(f->u, clock_ms() + 60000);
    keep_pass(f->u, clock_ms() + 60000);

    check_recent(f, 0);
    assert_int_equal(
        ask(f,
            "SELECT COUNT(*) AS n FROM usage_rollup WHERE token_id = '00000000-0000-7000-8000-00000000000a'"),
        0);
    assert_int_equal(
        ask(f,
            "SELECT COALESCE(SUM(n), 0) AS n FROM usage_rollup WHERE token_id <> '*' AND grain = 't'"),
        10);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM meta WHERE name LIKE 'forget%'"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, ufix_setup, ufix_teardown)
    const struct CMUnitTest tests[] = {
        T(test_old_rows_move_to_day_files_and_are_still_found),
        T(test_a_move_that_is_killed_loses_and_doubles_nothing),
        T(test_rows_that_no_rollup_has_stay),
        T(test_old_day_files_are_unlinked),
        T(test_rollups_end_with_their_time),
        T(test_figures_by_month_stay_the_same_when_days_become_months),
        T(test_a_fold_that_is_killed_loses_and_doubles_nothing),
        T(test_a_forgotten_token_leaves_no_row_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
