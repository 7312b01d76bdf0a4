/* The request log on SQLite: filters, order and completeness over the main file and the day files,
 * archives of before there were countries, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/spool.h"
#include "usage_store.h"

#define DAYS_OF_LOG 3

struct seen {
    int64_t n, last_ms, last_id;
    int64_t stop_at;
    size_t most_bytes;
    struct ctx *cx;
};

static enum err_code see(struct ctx *cx, void *row, void *arg)
{
    const struct usage_row *r = row;
    struct seen *s = arg;

    assert_true(s->n == 0 || r->created_ms < s->last_ms ||
                (r->created_ms == s->last_ms && r->id < s->last_id));
    assert_true(r->id_text.n > 0);
    s->last_ms = r->created_ms;
    s->last_id = r->id;
    if (s->most_bytes < cx->arena.used)
        s->most_bytes = cx->arena.used;
    return ++s->n == s->stop_at ? ERR_TOO_LARGE : ERR_NONE;
}

static int64_t count(struct ufix *f, const struct usage_filter *filter)
{
    struct seen s = { .n = 0 };

    assert_int_equal(usage_each(&f->cx, f->u, TEAM, filter, see, &s), ERR_NONE);
    return s.n;
}

/* 40 rows of each of the last days, those of yesterday and before in day files, and on each
 * midnight a slow request that is stored among the first of the next day. */
static void put_days(struct ufix *f)
{
    for (int d = DAYS_OF_LOG; d >= 0; d--) {
        int64_t day_ms = start_of_today() - d * DAY_MS;
        struct usage_event late = event(TOKEN, 504, day_ms - 5);

        write_many(f, TOKEN, 20, day_ms + 10);
        assert_int_equal(write_event(f, &late), ERR_NONE);
        write_many(f, OTHER, 20, day_ms + HOUR_MS);
    }
    ufix_stop(f);
    ufix_open(f, 0);
    keep_pass(f->u, clock_ms());
}
#define ALL_ROWS ((DAYS_OF_LOG + 1) * 41)

static void test_every_row_is_met_once_in_order_of_time(void **state)
{
    struct ufix *f = *state;
    struct list days;

    put_days(f);

    assert_int_equal(day_list(&f->cx, f->u, &days), ERR_NONE);
    assert_int_equal(days.n, DAYS_OF_LOG);
    assert_int_equal(count(f, &(struct usage_filter){ .limit = 0 }), ALL_ROWS);
}

static void test_pages_of_any_size_join(void **state)
{
    struct ufix *f = *state;

    put_days(f);
    for (int64_t limit = 1; limit <= 50; limit += 7) {
        int64_t n = 0, ms = INT64_MAX, id = INT64_MAX;
        struct list got;

        do {
            got = recent(f, TOKEN, ms, id, limit);
            for (size_t i = 0; i < got.n; i++) {
                const struct usage_row *r = (struct usage_row *)got.v + i;

                assert_true(r->created_ms < ms || (r->created_ms == ms && r->id < id));
                ms = r->created_ms;
                id = r->id;
            }
            n += (int64_t)got.n;
        } while ((int64_t)got.n == limit);
        assert_int_equal(n, (DAYS_OF_LOG + 1) * 21);
    }
}

static void test_a_late_row_is_found_by_its_own_time(void **state)
{
    struct ufix *f = *state;
    struct usage_filter filter = { .from = start_of_today() - DAY_MS - 10,
                                   .to = start_of_today() - DAY_MS };

    put_days(f);
    REC_SET(&filter, from);
    REC_SET(&filter, to);

    assert_int_equal(count(f, &filter), 1);
}

static void test_filters_reach_into_the_archive(void **state)
{
    struct ufix *f = *state;
    struct usage_filter by_status = { .status = 504 }, by_class = { .status_class = STR("2xx") };
    struct usage_filter by_route = { .route = STR("POST /v1/tickets") };
    struct usage_filter by_other = { .route = STR("GET /v1/tickets") };
    struct usage_filter by_ip = { .ip = STR("192.0.2.1") };

    put_days(f);
    REC_SET(&by_status, status);
    REC_SET(&by_class, status_class);
    REC_SET(&by_route, route);
    REC_SET(&by_other, route);
    REC_SET(&by_ip, ip);

    assert_int_equal(count(f, &by_status), DAYS_OF_LOG + 1);
    assert_int_equal(count(f, &by_class), ALL_ROWS - DAYS_OF_LOG - 1);
    assert_int_equal(count(f, &by_route), ALL_ROWS);
    assert_int_equal(count(f, &by_other), 0);
    assert_int_equal(count(f, &by_ip), 0);
}

static void test_another_team_sees_nothing(void **state)
{
    struct ufix *f = *state;
    struct seen s = { .n = 0 };

    put_days(f);
    assert_int_equal(usage_each(&f->cx, f->u, STR("another team"),
                                &(struct usage_filter){ .limit = 0 }, see, &s),
                     ERR_NONE);
    assert_int_equal(s.n, 0);
}

static void test_a_failing_reader_stops_the_walk(void **state)
{
    struct ufix *f = *state;
    struct seen s = { .stop_at = 7 };

    put_days(f);
    assert_int_equal(usage_each(&f->cx, f->u, TEAM, &(struct usage_filter){ .limit = 0 }, see, &s),
                     ERR_TOO_LARGE);
    assert_int_equal(s.n, 7);
    assert_int_equal(f->cx.err, ERR_TOO_LARGE);
    ctx_clear(&f->cx);
}

static void test_walking_many_rows_takes_the_memory_of_few(void **state)
{
    struct ufix *f = *state;
    struct seen few = { .n = 0 }, many = { .n = 0 };
    size_t before;

    write_many(f, TOKEN, 1000, clock_ms());
    assert_int_equal(
        usage_each(&f->cx, f->u, TEAM, &(struct usage_filter){ .limit = 0 }, see, &few), ERR_NONE);
    write_many(f, TOKEN, 9000, clock_ms());
    before = f->cx.arena.used;
    assert_int_equal(
        usage_each(&f->cx, f->u, TEAM, &(struct usage_filter){ .limit = 0 }, see, &many), ERR_NONE);

    assert_int_equal(many.n, 10000);
    assert_true(many.most_bytes <= few.most_bytes + few.most_bytes / 8);
    assert_true(f->cx.arena.used - before < 4096);
}

/* A day file as the first release made it. */
static void put_old_file(struct ufix *f, int64_t day)
{
    char folder[128], path[160];
    sqlite3 *db;
    struct buf b;

    snprintf(folder, sizeof folder, "%s/t.db.usage", f->dir);
    mkdir(folder, 0700);
    buf_init(&b, &f->cx.arena, 64);
    time_print_s(&b, day * DAY_MS);
    snprintf(path, sizeof path, "%s/%.10s.db", folder, b.p);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(
            db,
            "PRAGMA journal_mode = WAL; CREATE TABLE integration_token_usage (id INTEGER PRIMARY "
            "KEY, team_id TEXT NOT NULL, token_id TEXT, endpoint TEXT NOT NULL, method TEXT NOT "
            "NULL, status_code INTEGER NOT NULL, response_time_us BIGINT NOT NULL, ip_address "
            "TEXT, user_agent TEXT, request_payload TEXT, error_message TEXT, created_ms BIGINT "
            "NOT NULL); CREATE INDEX integration_token_usage_token ON integration_token_usage "
            "(token_id, id)",
            NULL, NULL, NULL),
        SQLITE_OK);
    char *insert = sqlite3_mprintf("INSERT INTO integration_token_usage VALUES (1, '%s', '%s', "
                                   "'/v1/tickets', 'GET', 200, 5, NULL, NULL, NULL, NULL, %lld)",
                                   TEAM.p, TOKEN.p, (long long)day * DAY_MS + 1);
    assert_int_equal(sqlite3_exec(db, insert, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_free(insert);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_an_archive_of_before_there_were_countries_is_read(void **state)
{
    struct ufix *f = *state;
    int64_t day = start_of_today() / DAY_MS - 2;

    put_old_file(f, day);

    assert_int_equal(recent(f, TOKEN, INT64_MAX, INT64_MAX, 10).n, 1);
    assert_int_equal(count(f, &(struct usage_filter){ .limit = 0 }), 1);
    write_many(f, TOKEN, 5, day * DAY_MS + HOUR_MS); /* and written to */
    ufix_stop(f);
    ufix_open(f, 0);
    keep_pass(f->u, clock_ms());
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM integration_token_usage"), 0);
    assert_int_equal(count(f, &(struct usage_filter){ .limit = 0 }), 6);
}

/* ---- plans: no page of the log and no figure walks a whole table */

static void assert_plan(struct ufix *f, const char *sql, const char *want)
{
    char path[128], found[2048] = "";
    sqlite3 *db;
    sqlite3_stmt *st;

    snprintf(path, sizeof path, "%s/t.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s\n",
                 (const char *)sqlite3_column_text(st, 3));
    sqlite3_finalize(st);
    sqlite3_close(db);
    if (!strstr(found, want) || strstr(found, "SCAN") || strstr(found, "TEMP B-TREE FOR ORDER")) {
        print_error("%s\n%s", sql, found);
        assert_true(false);
    }
}

#define PAGE(where)                                                                                \
    "EXPLAIN QUERY PLAN SELECT id, country, user_agent FROM integration_token_usage WHERE " where  \
    " ORDER BY created_ms DESC, id DESC LIMIT 101"
#define BEHIND " AND created_ms <= 5 AND (created_ms < 5 OR id < 5)"
#define SERIES(where)                                                                              \
    "EXPLAIN QUERY PLAN SELECT bucket_ms, SUM(n) FROM usage_rollup WHERE team_id = 'a' AND "       \
    "grain = 'm' AND bucket_ms >= 1 AND bucket_ms < 5" where                                       \
    " GROUP BY bucket_ms ORDER BY bucket_ms"

static void test_pages_and_figures_go_by_index(void **state)
{
    struct ufix *f = *state;

    assert_plan(f, PAGE("team_id = 'a'"), "integration_token_usage_team (team_id=?)");
    assert_plan(f, PAGE("team_id = 'a'" BEHIND),
                "integration_token_usage_team (team_id=? AND created_ms<?)");
    assert_plan(f, PAGE("team_id = 'a' AND created_ms >= 1 AND created_ms < 9" BEHIND),
                "integration_token_usage_team (team_id=? AND created_ms>? AND created_ms<?)");
    assert_plan(f, PAGE("team_id || '' = 'a' AND token_id = 'b'" BEHIND),
                "integration_token_usage_key (token_id=? AND created_ms<?)");
    assert_plan(f, SERIES(" AND token_id = '*'"),
                "usage_rollup_key (team_id=? AND token_id=? AND grain=? AND bucket_ms>? AND "
                "bucket_ms<?)");
    assert_plan(f, SERIES(" AND token_id = 'b' AND route IN ('GET /x', 'PUT /x')"),
                "usage_rollup_key (team_id=? AND token_id=? AND grain=? AND bucket_ms>?");
    assert_plan(f, SERIES(" AND route = 'GET /x'"),
                "(team_id=? AND grain=? AND bucket_ms>? AND bucket_ms<?)");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, ufix_setup, ufix_teardown)
    const struct CMUnitTest tests[] = {
        T(test_every_row_is_met_once_in_order_of_time),
        T(test_pages_of_any_size_join),
        T(test_a_late_row_is_found_by_its_own_time),
        T(test_filters_reach_into_the_archive),
        T(test_another_team_sees_nothing),
        T(test_a_failing_reader_stops_the_walk),
        T(test_walking_many_rows_takes_the_memory_of_few),
        T(test_an_archive_of_before_there_were_countries_is_read),
        T(test_pages_and_figures_go_by_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
