/* Usage on SQLite: rows, rollups, what a crash leaves, the buffer, what is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/fault.h"
#include "base/json.h"
#include "usage_store.h"

#define ROWS "SELECT COUNT(*) AS n FROM integration_token_usage"
#define STREAMS "SELECT COUNT(*) AS n FROM usage_stream"
#define USES "SELECT use_count AS n FROM integration_tokens"

/* --- Rows and rollups --- */

static void test_the_row_of_a_write_is_there_when_it_is_answered(void **state)
{
    struct ufix *f = *state;
    struct usage_event e = event(TOKEN, 201, clock_ms());

    assert_int_equal(write_event(f, &e), ERR_NONE);

    assert_int_equal(ask(f, ROWS " WHERE status_code = 201 AND ip_address = '127.0.0.1' "
                                 "AND endpoint = '/v1/tickets' AND response_time_us = 1500"),
                     1);
}

static void test_a_unit_without_status_has_no_row(void **state)
{
    struct ufix *f = *state;
    struct usage_event e = event(TOKEN, 0, clock_ms());

    assert_int_equal(write_event(f, &e), ERR_NONE);

    assert_int_equal(ask(f, ROWS), 0);
}

static void test_a_noted_event_is_stored_soon(void **state)
{
    struct ufix *f = *state;
    struct usage_event e = event(STR_NONE, 401, clock_ms());
    char agent[300];

    memset(agent, 'a', sizeof agent);
    memcpy(agent + 255, "\xC3\xA4", 2); /* the cap would cut it in two */
    agent[3] = (char)0xFF;
    e.agent = (struct str){ agent, sizeof agent };
    e.error = STR("invalid_token");
    assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
    usage_note(f->u, &e);
    memset(agent, 'x', sizeof agent); /* it was copied */

    assert_true(becomes(f, ROWS " WHERE token_id IS NULL AND error_message = 'invalid_token'", 1));
    assert_int_equal(ask(f, "SELECT LENGTH(user_agent) AS n FROM integration_token_usage"), 255);
    assert_int_equal(ask(f, ROWS " WHERE user_agent LIKE 'aaa?aaaa%'"), 1);
    ufix_stop(f);
}

static void test_rollups_follow_within_seconds(void **state)
{
    struct ufix *f = *state;

    assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
    write_many(f, TOKEN, 30, clock_ms());

    assert_true(becomes(f, USES, 30));
    assert_agreement(f);
    ufix_stop(f);
}

static void test_a_clean_stop_leaves_nothing_pending(void **state)
{
    struct ufix *f = *state;
    int64_t noon = start_of_today() - DAY_MS / 2;

    assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
    write_many(f, TOKEN, 700, noon - 350);
    for (int i = 0; i < 3000; i++) {
        struct usage_event e = event(i % 3 ? TOKEN : STR_NONE, i % 5 ? 200 : 429, noon + i * 100);

        usage_note(f->u, &e);
    }
    ufix_stop(f);

    ufix_open(f, 0);
    assert_int_equal(ask(f, ROWS), 3700);
    assert_agreement(f);
    assert_int_equal(ask(f, STREAMS), 0);
    assert_int_equal(ask(f, USES), 2700);
    assert_int_equal(ask(f, "SELECT last_used_ms AS n FROM integration_tokens"), noon + 299900);
}

static void test_ids_are_never_given_twice(void **state)
{
    struct ufix *f = *state;

    for (int i = 0; i < 3; i++) {
        write_many(f, TOKEN, 5, clock_ms());
        ufix_stop(f);
        ufix_open(f, 0);
    }

    assert_int_equal(ask(f, ROWS), 15);
    assert_int_equal(ask(f, "SELECT MAX(id) / 1099511627776 AS n FROM integration_token_usage"), 3);
}

static void test_a_failed_commit_is_not_counted(void **state)
{
    struct ufix *f = *state;
    struct usage_event e = event(TOKEN, 201, clock_ms());

    fault_arm(FAULT_COMMIT, 1);
    assert_int_equal(write_event(f, &e), ERR_UNAVAILABLE);
    assert_int_equal(ask(f, ROWS), 0);
    assert_int_equal(write_event(f, &e), ERR_NONE);
    ufix_stop(f);

    ufix_open(f, 0);
    assert_int_equal(ask(f, ROWS), 1);
    assert_agreement(f);
}

/* Fail each step of storing and flushing in turn; whatever fails, rows and counts agree in the
 * end. */
static void test_any_failing_step_loses_and_doubles_nothing(void **state)
{
    struct ufix *f = *state;
    int64_t n = 0, noted = 0;
    bool has_fired;

    do {
        struct usage_event e = event(TOKEN, 200, clock_ms());

        assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
        fault_arm(FAULT_DB, ++n);
        usage_note(f->u, &e);
        noted++;
        ufix_stop(f);
        has_fired = fault_fired();
        fault_setup(NULL);
        ufix_open(f, 0);
        assert_int_equal(ask(f, ROWS), noted);
        assert_agreement(f);
    } while (has_fired);
    assert_true(n > 5);
}

/* --- After a crash --- */

static void test_rows_that_a_crash_left_out_are_folded_in(void **state)
{
    struct ufix *f = *state;

    write_many(f, TOKEN, 9000, clock_ms());
    ufix_crash(f);
    ufix_open(f, 0);
    assert_int_equal(ask(f, "SELECT COUNT(*) AS n FROM usage_rollup"), 0);

    assert_int_equal(usage_recover(&f->cx, f->u), ERR_NONE);

    assert_agreement(f);
    assert_int_equal(ask(f, STREAMS), 0);
    assert_int_equal(ask(f, USES), 9000);
}

static void test_folding_that_is_killed_counts_nothing_twice(void **state)
{
    struct ufix *f = *state;
    int64_t n = 0;

    write_many(f, TOKEN, 9000, clock_ms());
    ufix_crash(f);
    do {
        ufix_open(f, 0);
        fault_arm(FAULT_COMMIT, 2); /* one step is committed, the next is not */
        (void)usage_recover(&f->cx, f->u);
        ctx_clear(&f->cx);
        n++;
        ufix_crash(f);
    } while (fault_fired());
    ufix_open(f, 0);

    assert_true(n > 2);
    assert_agreement(f);
    assert_int_equal(ask(f, STREAMS), 0);
}

static void test_a_crash_after_a_flush_counts_only_the_rest(void **state)
{
    struct ufix *f = *state;

    assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
    write_many(f, TOKEN, 40, clock_ms());
    assert_true(becomes(f, USES, 40));
    usage_stop(f->u);
    write_many(f, TOKEN, 7, clock_ms());
    ufix_crash(f);

    ufix_open(f, 0);
    assert_int_equal(usage_recover(&f->cx, f->u), ERR_NONE);
    assert_agreement(f);
    assert_int_equal(ask(f, USES), 47);
}

/* --- The buffer --- */

static void test_a_full_buffer_drops_detail_but_not_counts(void **state)
{
    struct ufix *f = *state;
    struct usage_counters c;

    for (int i = 0; i < 20000; i++) { /* nobody empties it yet */
        struct usage_event e = event(i % 2 ? TOKEN : OTHER, 200, clock_ms());

        usage_note(f->u, &e);
    }
    usage_counters(f->u, &c);
    assert_int_equal(c.noted, 20000);
    assert_in_range(c.dropped, 10000, 17000);
    ufix_stop(f);

    ufix_open(f, 0);
    assert_int_equal(ask(f, ROWS), 20000 - c.dropped);
    assert_int_equal(
        ask(f, "SELECT SUM(n) AS n FROM usage_rollup WHERE grain = 'h' AND token_id <> '*'"),
        20000);
    assert_int_equal(ask(f, USES), 10000);
}

static void test_more_keys_than_fit_are_flushed_early(void **state)
{
    struct ufix *f = *state;

    for (int i = 0; i < 3; i++) /* every event a minute, hence a key, of its own */
        for (int k = 0; k < 2000; k++) {
            struct usage_event e = event(TOKEN, 200, (int64_t)(i * 2000 + k) * 60000);

            usage_note(f->u, &e);
            if (k % 2000 == 1999 && i == 0)
                assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
            if (k == 1999)
                assert_true(becomes(f, ROWS, (i + 1) * 2000));
        }
    ufix_stop(f);

    ufix_open(f, 0);
    assert_agreement(f);
}

/* --- What is asked --- */

static enum err_code read_dashboard(struct ctx *cx, struct db *db, void *arg)
{
    return usage_dashboard(cx, db, TEAM, clock_ms(), arg);
}

static enum err_code read_token(struct ctx *cx, struct db *db, void *arg)
{
    return usage_token_stats(cx, db, TEAM, TOKEN, clock_ms(), arg);
}

static void put_answers(struct ufix *f)
{
    static const int status[] = { 200, 201, 404, 429, 500, 200, 200, 200, 200, 200 };

    for (int i = 0; i < 10; i++) {
        struct usage_event e = event(TOKEN, status[i], clock_ms());

        e.took_us = (i + 1) * 1000;
        assert_int_equal(write_event(f, &e), ERR_NONE);
    }
    write_many(f, OTHER, 4, clock_ms() - DAY_MS);
    ufix_stop(f);
    ufix_open(f, 0);
}

static void test_the_dashboard_adds_up(void **state)
{
    struct ufix *f = *state;
    struct usage_stats s;

    put_answers(f);
    assert_int_equal(store_read(&f->cx, f->s, read_dashboard, &s), ERR_NONE);

    assert_int_equal(s.active_tokens, 1);
    assert_int_equal(s.requests_total, 14);
    assert_int_equal(s.requests_today, 10);
    assert_int_equal(s.requests_this_hour, 9);
    assert_int_equal(s.errors_today, 3);
    assert_int_equal(s.rate_limited_today, 1);
    assert_int_equal(s.average_us, 5500);
    assert_in_range(s.p50_us, 4000, 6500);
    assert_true(s.p50_us < s.p95_us && s.p95_us <= s.p99_us && s.p99_us < 12000);
}

static void test_token_statistics_tell_what_is_left(void **state)
{
    struct ufix *f = *state;
    struct usage_stats s;
    struct buf b;

    put_answers(f);
    assert_int_equal(store_read(&f->cx, f->s, read_token, &s), ERR_NONE);

    assert_int_equal(s.requests_total, 10);
    assert_int_equal(s.rate_limit, 100);
    assert_int_equal(s.remaining_this_hour, 91);
    buf_init(&b, &f->cx.arena, 4096);
    rec_encode(&b, &rec_usage_token, &s);
    buf_char(&b, '\0');
    assert_non_null(strstr(b.p, "\"last_used_at\":\"20"));
    assert_non_null(strstr(b.p, "\"errors_today\":3"));
}

static void add_counts(void *arg, struct str token_id, int64_t running, int64_t before)
{
    int64_t *sums = arg;
    if (!str_eq(token_id, TOKEN))
        return;
    sums[0] += running;
    sums[1] += before;
}

static void test_limits_start_from_what_the_hour_has_seen(void **state)
{
    struct ufix *f = *state;
    static const int64_t windows[] = { 60000, 90 * 60000, HOUR_MS, DAY_MS, 30 * DAY_MS };

    put_answers(f);
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        int64_t n[2] = { 0, 0 }, now = clock_ms();
        struct usage_cells span = { now - now % windows[i], windows[i] };
        assert_int_equal(usage_window_counts(&f->cx, f->u, &span, add_counts, n), ERR_NONE);

        assert_int_equal(n[0] + n[1], 9); /* without the 429; a minute may have begun meanwhile */
        span.start_ms += windows[i];
        n[0] = n[1] = 0;
        assert_int_equal(usage_window_counts(&f->cx, f->u, &span, add_counts, n), ERR_NONE);
        assert_int_equal(n[0], 0);
        span.start_ms -= 3 * windows[i];
        n[0] = n[1] = 0;
        assert_int_equal(usage_window_counts(&f->cx, f->u, &span, add_counts, n), ERR_NONE);
        assert_int_equal(n[0] + n[1], 0);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, ufix_setup, ufix_teardown)
    const struct CMUnitTest tests[] = {
        T(test_the_row_of_a_write_is_there_when_it_is_answered),
        T(test_a_unit_without_status_has_no_row),
        T(test_a_noted_event_is_stored_soon),
        T(test_rollups_follow_within_seconds),
        T(test_a_clean_stop_leaves_nothing_pending),
        T(test_ids_are_never_given_twice),
        T(test_a_failed_commit_is_not_counted),
        T(test_any_failing_step_loses_and_doubles_nothing),
        T(test_rows_that_a_crash_left_out_are_folded_in),
        T(test_folding_that_is_killed_counts_nothing_twice),
        T(test_a_crash_after_a_flush_counts_only_the_rest),
        T(test_a_full_buffer_drops_detail_but_not_counts),
        T(test_more_keys_than_fit_are_flushed_early),
        T(test_the_dashboard_adds_up),
        T(test_token_statistics_tell_what_is_left),
        T(test_limits_start_from_what_the_hour_has_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
