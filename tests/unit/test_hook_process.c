/* What handlers of webhooks may do to their events: refuse for now, for good, too often; and that each
 * gets the bytes as they came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "connect/in/process.h"
#include "core_store.h"

#define INTEGRATION "01890000-0000-7000-8000-000000000001"
#define ID "01890000-0000-7000-8000-00000000000%d"

struct seen { /* what the handler has seen, and what it shall answer */
    int n;
    char bodies[256];
    int64_t attempts;
    enum err_code answer;
};

static enum err_code handle(struct ctx *cx, struct store *store, const struct hook_event *e,
                            void *arg)
{
    struct seen *s = arg;
    size_t at = strlen(s->bodies);
    assert_non_null(store);
    assert_true(str_eq(e->integration_id, STR(INTEGRATION)) && str_eq(e->kind, STR("github")));
    snprintf(s->bodies + at, sizeof s->bodies - at, "%.*s;", (int)e->body.n, e->body.p);
    s->attempts = e->attempt;
    s->n++;
    if (s->answer == ERR_CONFLICT)
        return fail(cx, CONFLICT, "the other side %s", "says no");
    return s->answer ? ctx_fail_plain(cx, s->answer) : ERR_NONE;
}

static void add_event(struct fix *f, int n, const char *body, const char *form)
{
    char sql[700];
    snprintf(sql, sizeof sql,
             "INSERT INTO webhook_log (team_id, id, integration_id, event_type, state, attempts, "
             "due_ms, received_ms, replays, size_bytes, stored_bytes) VALUES ('" TEAM "', '" ID
             "', '" INTEGRATION "', 'issues', 'received', 0, 0, 1, 0, 1, 1)",
             n);
    assert_int_equal(exec(f, sql), ERR_NONE);
    snprintf(sql, sizeof sql,
             "INSERT INTO webhook_payload (team_id, id, headers, body_form, body) VALUES ('" TEAM
             "', '" ID "', '{}', '%s', '%s')",
             n, form, body);
    assert_int_equal(exec(f, sql), ERR_NONE);
}

static void add_integration(struct fix *f)
{
    assert_int_equal(
        exec(f,
             "INSERT INTO integration (team_id, id, kind, name, event_types, is_enabled, version, "
             "created_ms, updated_ms) VALUES ('" TEAM "', '" INTEGRATION
             "', 'github', 'x', '[]', 1, 1, 1, 1)"),
        ERR_NONE);
}

/* One run of the job. */
static enum err_code work(struct fix *f, struct seen *s)
{
    const struct hook_handler handlers[] = { { "jira", NULL, NULL },
                                             { "github", handle, s },
                                             { NULL, NULL, NULL } };
    struct hook_work w = { .handlers = handlers, .quota_bytes = 1 << 20 };
    const struct job job = { .team_id = STR(TEAM), .key = STR(INTEGRATION) };
    struct job_run r = { .job = &job, .store = f->s, .arg = &w };
    ctx_clear(&f->cx);
    enum err_code e = hook_process.run(&f->cx, &r);
    ctx_clear(&f->cx);
    return e;
}

#define IN_STATE(word) "SELECT COUNT(*) AS n FROM webhook_log WHERE state = '" word "'"

static void test_a_handler_gets_the_bytes_in_the_order_they_came(void **state)
{
    struct fix *f = *state;
    struct seen s = { .answer = ERR_NONE };
    add_integration(f);
    add_event(f, 2, "c2Vjb25k", "base64");
    add_event(f, 1, "first", "text");

    assert_int_equal(work(f, &s), ERR_NONE);

    assert_string_equal(s.bodies, "first;second;");
    assert_int_equal(number(f, IN_STATE("processed")), 2);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM webhook_log WHERE processed_ms > 0"), 2);
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(s.n, 2);
}

static void test_a_refusal_for_now_is_tried_again_later_and_holds_nobody_up(void **state)
{
    struct fix *f = *state;
    struct seen s = { .answer = ERR_UNAVAILABLE };
    int64_t now = clock_ms();
    add_integration(f);
    add_event(f, 1, "a", "text");

    assert_int_equal(work(f, &s), ERR_NONE);

    assert_int_equal(number(f, IN_STATE("received")), 1);
    assert_in_range(number(f, "SELECT due_ms AS n FROM webhook_log"), now + 60000, now + 70000);
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(s.n, 1); /* not before its time */

    s.answer = ERR_NONE;
    add_event(f, 2, "b", "text");
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(number(f, IN_STATE("processed")), 1);
    assert_int_equal(exec(f, "UPDATE webhook_log SET due_ms = 0"), ERR_NONE);
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(s.attempts, 2);
    assert_int_equal(number(f, IN_STATE("processed")), 2);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM webhook_log WHERE error IS NULL"), 2);
}

static void test_the_waits_double_up_to_an_hour_and_then_it_has_failed(void **state)
{
    static const int64_t minutes[] = { 1, 2, 4, 8, 16, 32, 60 };
    struct fix *f = *state;
    struct seen s = { .answer = ERR_UNAVAILABLE };
    add_integration(f);
    add_event(f, 1, "a", "text");
    for (int i = 0; i < PROCESS_ATTEMPTS - 1; i++) {
        int64_t now = clock_ms();
        assert_int_equal(work(f, &s), ERR_NONE);
        assert_in_range(number(f, "SELECT due_ms AS n FROM webhook_log"), now + minutes[i] * 60000,
                        now + minutes[i] * 60000 + 10000);
        assert_int_equal(exec(f, "UPDATE webhook_log SET due_ms = 0"), ERR_NONE);
    }
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(s.n, PROCESS_ATTEMPTS);
    assert_int_equal(number(f, IN_STATE("failed")), 1);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM webhook_log WHERE processed_ms IS NULL "
                               "AND error <> ''"),
                     1);
}

static void test_a_refusal_for_good_fails_at_once_with_its_sentence(void **state)
{
    struct fix *f = *state;
    struct seen s = { .answer = ERR_NOT_FOUND };
    add_integration(f);
    add_event(f, 1, "a", "text");
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(number(f, IN_STATE("failed")), 1);

    s.answer = ERR_CONFLICT; /* may go well later: the state there can change */
    add_event(f, 2, "b", "text");
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM webhook_log WHERE state = 'received' AND "
                               "error = 'the other side says no'"),
                     1);
}

static void test_a_damaged_body_is_this_events_alone(void **state)
{
    struct fix *f = *state;
    struct seen s = { .answer = ERR_NONE };
    add_integration(f);
    add_event(f, 1, "%%%", "base64");
    add_event(f, 2, "b", "text");
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_string_equal(s.bodies, "b;");
    assert_int_equal(number(f, IN_STATE("processed")), 1);
    assert_int_equal(number(f, IN_STATE("received")), 1);
}

static void test_the_job_of_an_integration_that_is_gone_ends(void **state)
{
    struct fix *f = *state;
    struct seen s = { .answer = ERR_NONE };
    assert_int_equal(work(f, &s), ERR_NOT_FOUND);
    assert_int_equal(err_info(ERR_NOT_FOUND)->retry, RETRY_NEVER);
}

static void test_events_of_a_deleted_integration_are_ignored(void **state)
{
    struct fix *f = *state;
    struct seen s = { .answer = ERR_NONE };
    add_integration(f);
    add_event(f, 1, "a", "text");
    assert_int_equal(exec(f, "UPDATE integration SET deleted_ms = 1"), ERR_NONE);
    assert_int_equal(work(f, &s), ERR_NONE);
    assert_int_equal(s.n, 0);
    assert_int_equal(number(f, IN_STATE("ignored")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_a_handler_gets_the_bytes_in_the_order_they_came),
        TC(test_a_refusal_for_now_is_tried_again_later_and_holds_nobody_up),
        TC(test_the_waits_double_up_to_an_hour_and_then_it_has_failed),
        TC(test_a_refusal_for_good_fails_at_once_with_its_sentence),
        TC(test_a_damaged_body_is_this_events_alone),
        TC(test_the_job_of_an_integration_that_is_gone_ends),
        TC(test_events_of_a_deleted_integration_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
