/* Usage on PostgreSQL: rows in day partitions, rollups by two writers, what a crash leaves,
 * security of partitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "pg_server.h"
#include "usage_store.h"

#define ROWS "SELECT COUNT(*) AS n FROM integration_token_usage"
#define PARTS                                                                                      \
    "SELECT COUNT(*) AS n FROM pg_inherits WHERE inhparent = 'integration_token_usage'::regclass"

static int setup(void **state)
{
    static char url[600];
    const char *query = strchr(pg_conninfo, '?');

    pg_direct("DROP DATABASE IF EXISTS tessera_usage");
    pg_direct("CREATE DATABASE tessera_usage");
    snprintf(url, sizeof url, "postgresql:///tessera_usage%s", query ? query : "");
    struct ufix *f = ufix_new(str_of(url));
    ufix_open(f, 4096);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fault_setup(NULL);
    ufix_free(*state);
    return 0;
}

static void test_rows_land_in_partitions_and_rollups_agree(void **state)
{
    struct ufix *f = *state;
    struct usage_event odd = event(TOKEN, 500, clock_ms());

    odd.agent = STR("a \"quoted\" \\ {x,NULL} \xFF");
    odd.payload = STR("{\"title\":\"\xC3\xA4 \\\"q\\\"\"}");
    write_many(f, TOKEN, 3, clock_ms()); /* nobody has made the partitions yet */
    assert_int_equal(usage_recover(&f->cx, f->u), ERR_NONE);
    assert_int_equal(ask(f, PARTS), 5);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM integration_token_usage_rest"), 0);

    assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
    write_many(f, TOKEN, 1500, clock_ms() - 2000);
    for (int i = 0; i < 3000; i++)
        usage_note(f->u, &odd);
    ufix_stop(f);
    ufix_open(f, 0);

    assert_int_equal(ask(f, ROWS), 4503);
    assert_agreement(f);
    assert_int_equal(ask(f, "SELECT use_count AS n FROM integration_tokens"), 4503);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM usage_stream"), 0);
    assert_int_equal(ask(f, ROWS " WHERE user_agent = 'a \"quoted\" \\ {x,NULL} ?' "
                                 "AND request_payload = '{\"title\":\"\xC3\xA4 \\\"q\\\"\"}'"),
                     3000);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM integration_token_usage_rest"), 0);
    assert_int_equal(
        ask(f, "SELECT COUNT(*) AS n FROM pg_class WHERE relispartition AND relkind = 'r' "
               "AND NOT (relrowsecurity AND relforcerowsecurity)"),
        0);
}

static void test_abandoned_streams_are_folded_in(void **state)
{
    struct ufix *f = *state;

    write_many(f, TOKEN, 6000, clock_ms());
    ufix_crash(f);
    ufix_open(f, 0);

    fault_arm(FAULT_COMMIT, 2);
    assert_int_not_equal(usage_recover(&f->cx, f->u), ERR_NONE);
    ctx_clear(&f->cx);
    assert_int_equal(usage_recover(&f->cx, f->u), ERR_NONE);

    assert_agreement(f);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM usage_stream"), 0);
}

static void test_a_stream_that_was_taken_for_dead_is_not_counted_twice(void **state)
{
    struct ufix *f = *state;

    write_many(f, TOKEN, 50, clock_ms());
    struct ufix *other = calloc(1, sizeof *other);
    ctx_init(&other->cx, CTX_CAP_DEFAULT);
    other->database = f->database;
    ufix_open(other, 0);
    assert_int_equal(usage_recover(&other->cx, other->u), ERR_NONE);
    assert_int_equal(ask(other, "SELECT COUNT(*) AS n FROM usage_stream"),
                     1); /* its session lives */
    ask(other,
        "SELECT COUNT(pg_terminate_backend(pid)) AS n FROM pg_locks WHERE locktype = 'advisory' "
        "AND classid = 29797 AND database = (SELECT oid FROM pg_database WHERE datname = "
        "current_database())");
    while (ask(other,
               "SELECT COUNT(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND classid = 29797 "
               "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"))
        ;
    assert_int_equal(usage_recover(&other->cx, other->u), ERR_NONE);
    ufix_stop(f); /* it comes back and flushes */
    ufix_free(other);
    ufix_open(f, 0);

    assert_int_equal(ask(f, ROWS), 50);
    assert_agreement(f);
}

static void test_recent_rows_page_newest_first(void **state)
{
    struct ufix *f = *state;
    int64_t below = INT64_MAX, n = 0, last_ms = INT64_MAX;
    struct list got;

    assert_int_equal(usage_recover(&f->cx, f->u), ERR_NONE);
    write_many(f, TOKEN, 130, clock_ms() - 1000);
    write_many(f, OTHER, 10, clock_ms());
    do {
        got = recent(f, TOKEN, last_ms, below, 50);
        for (size_t i = 0; i < got.n; i++) {
            const struct usage_row *r = (struct usage_row *)got.v + i;

            assert_true(r->created_ms <= last_ms);
            last_ms = r->created_ms;
            below = r->id;
        }
        n += (int64_t)got.n;
    } while (got.n == 50);
    assert_int_equal(n, 130);
    struct row_ask ask = { STR("another team"), &(struct usage_filter){ .limit = 0 }, INT64_MAX,
                           INT64_MAX, 50 };
    assert_int_equal(usage_rows(&f->cx, f->u, &ask, &got), ERR_NONE);
    assert_int_equal(got.n, 0);
}

static enum err_code mark_forgotten(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    return usage_forget_mark(cx, db, TEAM, TOKEN);
}

static void test_housekeeping_drops_partitions_and_forgets(void **state)
{
    struct ufix *f = *state;

    assert_int_equal(usage_recover(&f->cx, f->u), ERR_NONE);
    write_many(f, TOKEN, 1200, clock_ms());
    write_many(f, OTHER, 7, clock_ms());
    ufix_stop(f);
    ufix_open(f, 0);
    assert_int_equal(usage_tx(&f->cx, f->u, mark_forgotten, NULL), ERR_NONE);
    keep_pass(f->u, clock_ms() + 60000);
    assert_int_equal(ask(f, ROWS), 7);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM usage_rollup WHERE token_id LIKE '%a'"), 0);

    keep_pass(f->u, clock_ms() + 40 * DAY_MS);
    assert_int_equal(ask(f, ROWS), 0);
    assert_int_equal(ask(f, PARTS), 5);
}

static enum err_code read_dashboard(struct ctx *cx, struct db *db, void *arg)
{
    return usage_dashboard(cx, db, TEAM, clock_ms(), arg);
}

static void test_the_dashboard_adds_up(void **state)
{
    struct ufix *f = *state;
    struct usage_stats s;

    write_many(f, TOKEN, 12, clock_ms());
    ufix_stop(f);
    ufix_open(f, 0);

    assert_int_equal(store_read(&f->cx, f->s, read_dashboard, &s), ERR_NONE);
    assert_int_equal(s.active_tokens, 1);
    assert_int_equal(s.requests_total, 12);
    assert_int_equal(s.average_us, 1500);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_rows_land_in_partitions_and_rollups_agree),
        T(test_abandoned_streams_are_folded_in),
        T(test_a_stream_that_was_taken_for_dead_is_not_counted_twice),
        T(test_recent_rows_page_newest_first),
        T(test_housekeeping_drops_partitions_and_forgets),
        T(test_the_dashboard_adds_up),
    };
    return cmocka_run_group_tests(tests, pg_server_up, pg_server_down);
}
