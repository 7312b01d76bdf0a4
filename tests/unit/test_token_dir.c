/* Facts about the token directory, on SQLite: who gets in, what is counted, how changes are
 * followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/crypt.h"
#include "token_dir_store.h"

#define WRONG "stk_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
#define WAIT_MS 5000

static enum err_code ask_from(struct str secret, const char *ip)
{
    struct auth_query q = query(secret);
    assert_true(ip_parse(str_of(ip), &q.ip));
    return asked(q);
}

static enum err_code ask_for(struct str secret, const char *method, const char *route,
                             const char *path)
{
    struct auth_query q = query(secret);
    q.method = method;
    q.route_path = route;
    q.path = str_of(path);
    return asked(q);
}

/* ---- who gets in ---- */

static void test_a_token_is_known_with_everything_about_it(void **state)
{
    (void)state;
    struct token t = made((struct token_new){ .name = STR("CRM") });

    assert_int_equal(ask(t.token), ERR_NONE);

    assert_true(str_eq(who.team_id, STR(TEAM_DEFAULT)));
    assert_true(str_eq(who.token_id, t.id));
    assert_true(str_eq(who.token_name, STR("CRM")));
    assert_int_equal(who.scopes, SCOPES_DEFAULT);
    assert_int_equal(limit.limit, 1000);
    assert_int_equal(limit.remaining, 999);
    assert_in_range(limit.reset_s, HOUR_MS / 2000 - 60, HOUR_MS / 2000);
}

static void test_malformed_and_unknown_secrets_are_invalid_and_nobody(void **state)
{
    struct token t = made((struct token_new){ 0 });
    const struct str secrets[] = {
        STR(""),
        STR_NONE,
        STR("stk_"),
        STR(WRONG),
        str_sub(t.token, 0, 45),
        str_printf(&cx.arena, STR_FMT "A", STR_ARG(t.token)),
        str_printf(&cx.arena, "STK_" STR_FMT, STR_ARG(str_sub(t.token, 4, 42))),
        str_printf(&cx.arena, "stk_!" STR_FMT, STR_ARG(str_sub(t.token, 5, 41))),
    };
    (void)state;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        assert_int_equal(ask(secrets[i]), ERR_INVALID_TOKEN);
        assert_null(who.team_id.p);
        assert_int_equal(limit.limit, 0);
    }
}

static void test_disabled_expired_and_deleted_tokens_are_invalid(void **state)
{
    struct token off = made((struct token_new){ 0 }), old, gone = made((struct token_new){ 0 });
    (void)state;
    old = made((struct token_new){ .expires_ms = clock_ms() + 20000 });
    assert_int_equal(ask(old.token), ERR_NONE);
    changed((struct change){ .verb = DISABLE, .id = off.id });
    changed((struct change){ .verb = DELETE, .id = gone.id });
    refresh();
    clock_to(HOUR_MS / 2 + 30000);

    assert_int_equal(ask(off.token), ERR_INVALID_TOKEN);
    assert_true(str_eq(who.token_id, off.id)); /* recognised: usage can name it */
    assert_int_equal(limit.limit, 0);
    assert_int_equal(ask(old.token), ERR_INVALID_TOKEN);
    assert_int_equal(ask(gone.token), ERR_INVALID_TOKEN);
    assert_null(who.team_id.p);
    changed((struct change){ .verb = ENABLE, .id = off.id });
    refresh();
    assert_int_equal(ask(off.token), ERR_NONE);
    assert_int_equal(token_dir_count(dir), 2);
}

static void test_a_new_secret_replaces_the_old_one_at_once(void **state)
{
    struct token t = made((struct token_new){ 0 });
    (void)state;
    assert_int_equal(ask(t.token), ERR_NONE);

    struct token fresh = changed((struct change){ .verb = REGENERATE, .id = t.id });
    refresh();

    assert_int_equal(ask(t.token), ERR_INVALID_TOKEN);
    assert_int_equal(ask(fresh.token), ERR_NONE);
    assert_int_equal(limit.remaining, 998); /* the same token, the same budget */
}

static void test_grace_keeps_both_secrets_until_it_ends(void **state)
{
    struct token t = made((struct token_new){ 0 });
    (void)state;
    struct token fresh =
        changed((struct change){ .verb = REGENERATE, .id = t.id, .grace_ms = 20000 });
    refresh();

    assert_int_equal(ask(t.token), ERR_NONE);
    assert_int_equal(ask(fresh.token), ERR_NONE);
    clock_to(HOUR_MS / 2 + 30000);
    assert_int_equal(ask(t.token), ERR_INVALID_TOKEN);
    assert_int_equal(ask(fresh.token), ERR_NONE);
}

static void test_addresses_bound_where_a_token_works(void **state)
{
    struct token t = made((struct token_new){
        .allowed_ips = STR("[\"10.0.0.0/8\",\"2001:db8::/32\"]"), .rate_limit = 5 });
    (void)state;
    assert_int_equal(ask_from(t.token, "10.1.2.3"), ERR_NONE);
    assert_int_equal(ask_from(t.token, "2001:db8::9"), ERR_NONE);
    assert_int_equal(ask_from(t.token, "11.1.2.3"), ERR_FORBIDDEN_ADDRESS);
    assert_int_equal(ask_from(t.token, "::1"), ERR_FORBIDDEN_ADDRESS);
    assert_true(str_eq(who.token_id, t.id));
    assert_int_equal(limit.remaining, 3); /* a stranger cannot use up the budget */
}

static void test_endpoints_bound_what_a_token_calls(void **state)
{
    struct token t = made((struct token_new){
        .allowed_endpoints =
            STR("[\"POST /v1/tickets\",\"/v1/tickets/{id}\",\"GET /v0/*\",\"/v1/exact/7\"]"),
        .rate_limit = 50 });
    (void)state;
    assert_int_equal(ask_for(t.token, "POST", "/v1/tickets", "/v1/tickets"), ERR_NONE);
    assert_int_equal(ask_for(t.token, "GET", "/v1/tickets", "/v1/tickets"), ERR_FORBIDDEN_ENDPOINT);
    assert_int_equal(ask_for(t.token, "PATCH", "/v1/tickets/{id}", "/v1/tickets/1"), ERR_NONE);
    assert_int_equal(ask_for(t.token, "GET", "/v1/tickets/{id}/comments", "/v1/tickets/1/comments"),
                     ERR_FORBIDDEN_ENDPOINT);
    assert_int_equal(ask_for(t.token, "GET", "/v0/{x}", "/v0/1"), ERR_NONE);
    assert_int_equal(ask_for(t.token, "POST", "/v0/{x}", "/v0/1"), ERR_FORBIDDEN_ENDPOINT);
    assert_int_equal(ask_for(t.token, "GET", "/v1/exact/{n}", "/v1/exact/7"), ERR_NONE);
    assert_int_equal(ask_for(t.token, "GET", "/v1/exact/{n}", "/v1/exact/71"),
                     ERR_FORBIDDEN_ENDPOINT);
    assert_int_equal(ask_for(t.token, "", "", "/nowhere"), ERR_FORBIDDEN_ENDPOINT);
    assert_int_equal(limit.remaining, 50 - 9); /* refused calls are counted too */
}

static void test_a_missing_scope_is_named(void **state)
{
    struct token t = made((struct token_new){ .scopes = STR("[\"tickets:read\"]") });
    struct token admin = made((struct token_new){ .scopes = STR("[\"admin:full\"]") });
    struct auth_query q = query(t.token);
    (void)state;
    q.need = SCOPE(TICKETS_WRITE);
    assert_int_equal(asked(q), ERR_INSUFFICIENT_SCOPE);
    assert_true(str_eq(cx.err_text, STR("The token lacks the scope tickets:write")));
    q.need = SCOPE(TICKETS_READ) | SCOPE(TICKETS_WRITE) | SCOPE(TICKETS_COMMENT);
    assert_int_equal(asked(q), ERR_INSUFFICIENT_SCOPE);
    assert_true(
        str_eq(cx.err_text, STR("The token lacks the scopes tickets:write, tickets:comment")));
    assert_int_equal(limit.remaining, 998);
    q.secret = admin.token;
    assert_int_equal(asked(q), ERR_NONE);
}

/* ---- limits ---- */

static void test_the_hour_is_spent_and_comes_back(void **state)
{
    struct token t = made((struct token_new){ .rate_limit = 3 });
    (void)state;
    for (int i = 2; i >= 0; i--) {
        assert_int_equal(ask(t.token), ERR_NONE);
        assert_int_equal(limit.remaining, i);
    }
    assert_int_equal(ask(t.token), ERR_RATE_LIMITED);
    assert_int_equal(ask(t.token), ERR_RATE_LIMITED);

    assert_int_equal(limit.remaining, 0);
    assert_int_equal(limit.limit, 3);
    assert_int_equal(cx.retry_after_s, limit.reset_s);
    assert_null(cx.err_text.p); /* the table's sentence */
    assert_true(str_eq(who.token_id, t.id));
    clock_to(HOUR_MS + 10000);
    assert_int_equal(ask(t.token), ERR_NONE);
    assert_int_equal(limit.remaining, 2);
    assert_in_range(limit.reset_s, 3530, 3590);
}

static void test_a_look_does_not_take(void **state)
{
    struct token t = made((struct token_new){ .rate_limit = 2 });
    struct auth_query q = query(t.token);
    (void)state;
    q.is_counted = false;
    for (int i = 0; i < 5; i++)
        assert_int_equal(asked(q), ERR_NONE);
    assert_int_equal(limit.remaining, 2);
    assert_int_equal(ask(t.token), ERR_NONE);
    assert_int_equal(limit.remaining, 1);
}

static void test_wrong_tokens_are_limited_by_address_and_right_ones_go_on(void **state)
{
    struct token t = made((struct token_new){ 0 });
    (void)state;
    token_dir_close(dir);
    assert_int_equal(token_dir_open(&cx, store, 3, &dir), ERR_NONE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(i == 1 ? STR("nonsense") : STR(WRONG)), ERR_INVALID_TOKEN);

    assert_int_equal(ask(STR(WRONG)), ERR_RATE_LIMITED);
    assert_in_range(cx.retry_after_s, 1, 60);
    assert_int_equal(limit.limit, 0);
    assert_int_equal(ask(t.token), ERR_NONE);
    assert_int_equal(ask_from(STR(WRONG), "192.0.2.8"), ERR_INVALID_TOKEN);
    clock_to(HOUR_MS / 2 + 70000);
    assert_int_equal(ask(STR(WRONG)), ERR_INVALID_TOKEN);
}

static void test_wrong_tokens_count_a_v6_network_as_one(void **state)
{
    (void)state;
    token_dir_close(dir);
    assert_int_equal(token_dir_open(&cx, store, 2, &dir), ERR_NONE);

    assert_int_equal(ask_from(STR(WRONG), "2001:db8:1:1::1"), ERR_INVALID_TOKEN);
    assert_int_equal(ask_from(STR(WRONG), "2001:db8:1:1::2"), ERR_INVALID_TOKEN);
    assert_int_equal(ask_from(STR(WRONG), "2001:db8:1:1:9::3"), ERR_RATE_LIMITED);
    assert_int_equal(ask_from(STR(WRONG), "2001:db8:1:2::1"), ERR_INVALID_TOKEN);
}

/* ---- following changes ---- */

static void test_hundreds_of_tokens_survive_growth_and_a_fresh_start(void **state)
{
    struct str secrets[2500];
    (void)state;
    for (int i = 0; i < 2500; i++)
        secrets[i] = changed((struct change){ .verb = CREATE,
                                              .in = &(struct token_new){ .name = STR("n") } })
                         .token;
    for (int turn = 0; turn < 2; turn++) {
        refresh();
        assert_int_equal(token_dir_count(dir), 2500);
        for (int i = 0; i < 2500; i++)
            assert_int_equal(ask(secrets[i]), ERR_NONE);
        token_dir_close(dir);
        assert_int_equal(token_dir_open(&cx, store, 0, &dir), ERR_NONE);
    }
}

static enum err_code break_lists(struct ctx *c, struct db *db, void *arg)
{
    const struct token *t = arg;
    enum err_code e =
        db_run(c, db, "UPDATE change_feed SET value = value + 1 WHERE name = 'token'", NO_ARGS);
    if (!e)
        e = db_run(c, db,
                   "UPDATE integration_tokens SET allowed_ips = '[\"what\"]', "
                   "rev = (SELECT value FROM change_feed WHERE name = 'token') WHERE id = $1",
                   ARGS(VT(t->id)));
    return e;
}

static void test_a_list_that_cannot_be_read_lets_nobody_in(void **state)
{
    struct token t = made((struct token_new){ 0 });
    (void)state;
    assert_int_equal(ask(t.token), ERR_NONE);
    assert_int_equal(store_tx(&cx, store, break_lists, &t), ERR_NONE);
    refresh();

    assert_int_equal(ask(t.token), ERR_FORBIDDEN_ADDRESS);
}

static void test_a_failing_read_keeps_the_old_state(void **state)
{
    struct token t = made((struct token_new){ 0 });
    int failures = 0;
    (void)state;
    changed((struct change){ .verb = DISABLE, .id = t.id });
    for (long n = 1; n < 20; n++) {
        ctx_clear(&cx);
        fault_setup("db:1000000");
        fault_arm(FAULT_DB, n);
        enum err_code e = token_dir_refresh(&cx, dir);
        if (!fault_fired()) {
            assert_int_equal(e, ERR_NONE);
            break;
        }
        assert_int_equal(e, ERR_UNAVAILABLE);
        assert_int_equal(ask(t.token), ERR_NONE);
        failures++;
    }
    assert_in_range(failures, 1, 18);
    assert_int_equal(ask(t.token), ERR_INVALID_TOKEN);
}

static bool becomes(struct str secret, enum err_code want)
{
    int64_t end = clock_mono_us() + WAIT_MS * 1000;
    while (ask(secret) != want) {
        if (clock_mono_us() > end)
            return false;
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
    return true;
}

static void test_the_poll_follows_changes_made_elsewhere(void **state)
{
    struct token t = made((struct token_new){ .rate_limit = 1000000 });
    (void)state;
    assert_int_equal(token_dir_start(&cx, dir), ERR_NONE);

    changed((struct change){ .verb = DISABLE, .id = t.id });
    assert_true(becomes(t.token, ERR_INVALID_TOKEN));
    changed((struct change){ .verb = ENABLE, .id = t.id });
    assert_true(becomes(t.token, ERR_NONE));
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        TEST(test_a_token_is_known_with_everything_about_it),
        TEST(test_malformed_and_unknown_secrets_are_invalid_and_nobody),
        TEST(test_disabled_expired_and_deleted_tokens_are_invalid),
        TEST(test_a_new_secret_replaces_the_old_one_at_once),
        TEST(test_grace_keeps_both_secrets_until_it_ends),
        TEST(test_addresses_bound_where_a_token_works),
        TEST(test_endpoints_bound_what_a_token_calls),
        TEST(test_a_missing_scope_is_named),
        TEST(test_the_hour_is_spent_and_comes_back),
        TEST(test_a_look_does_not_take),
        TEST(test_wrong_tokens_are_limited_by_address_and_right_ones_go_on),
        TEST(test_wrong_tokens_count_a_v6_network_as_one),
        TEST(test_hundreds_of_tokens_survive_growth_and_a_fresh_start),
        TEST(test_a_list_that_cannot_be_read_lets_nobody_in),
        TEST(test_a_failing_read_keeps_the_old_state),
        TEST(test_the_poll_follows_changes_made_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
