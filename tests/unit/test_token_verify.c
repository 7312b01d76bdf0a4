/* Facts about the directory's answers on somebody else's key, and about its named limits while the
 * clock moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "core_store.h"

#include "base/clock.h"
#include "core/token_dir.h"

#define OTHER_TEAM "01900000-0000-7000-8000-0000000000ff"

static struct token_dir *dir;
static struct verify_answer said;

static int setup(void **state)
{
    int64_t now;
    core_setup(state);
    struct fix *f = *state;
    clock_shift_ms(0);
    now = clock_ms();
    clock_shift_ms(now / DAY_MS * DAY_MS + DAY_MS + HOUR_MS / 2 - now); /* half past midnight */
    assert_int_equal(token_dir_open(&f->cx, f->s, 3, &dir), ERR_NONE);
    return 0;
}

static int teardown(void **state)
{
    clock_shift_ms(0);
    token_dir_close(dir);
    return store_teardown(state);
}

struct change {
    struct token_new in;
    struct token out;
};

static enum err_code create_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct change *c = arg;
    return token_create(cx, db, STR(TEAM), &c->in, &c->out);
}

static struct token made(struct fix *f, struct token_new in)
{
    struct change c = { .in = in };
    c.in.name = STR("k");
    c.in.bits.has = in.expires_ms ? UINT64_C(1) << (offsetof(struct token_new, expires_ms) / 8) : 0;
    assert_int_equal(store_tx(&f->cx, f->s, create_unit, &c), ERR_NONE);
    assert_int_equal(token_dir_refresh(&f->cx, dir), ERR_NONE);
    return c.out;
}

static enum token_verdict verdict(struct fix *f, struct verify_query q)
{
    q.team_id = q.team_id.p ? q.team_id : STR(TEAM);
    q.asker = q.asker.p ? q.asker : STR("gateway");
    assert_int_equal(token_dir_verify(&f->cx, dir, &q, &said), ERR_NONE);
    return said.verdict;
}

static void test_the_first_thing_that_is_wrong_is_told(void **state)
{
    struct fix *f = *state;
    struct token t = made(f, (struct token_new){ .scopes = STR("[\"tickets:read\"]"),
                                                 .allowed_ips = STR("[\"192.0.2.0/24\"]") });
    struct verify_query q = { .secret = t.token, .need = SCOPE(TICKETS_WRITE) };

    assert_int_equal(verdict(f, q), VERDICT_ADDRESS);
    q.has_ip = ip_parse(STR("192.0.2.1"), &q.ip);
    assert_int_equal(verdict(f, q), VERDICT_SCOPE);
    q.need = SCOPE(TICKETS_READ);
    assert_int_equal(verdict(f, q), VERDICT_VALID);
    assert_true(str_eq(said.token_id, t.id));
    assert_int_equal(said.expires_ms, INT64_MAX);
}

static void test_a_key_of_another_team_is_as_unknown_as_no_key(void **state)
{
    struct fix *f = *state;
    struct token t = made(f, (struct token_new){ .scopes = STR_NONE });

    assert_int_equal(
        verdict(f, (struct verify_query){ .secret = t.token, .team_id = STR(OTHER_TEAM) }),
        VERDICT_UNKNOWN);
    assert_null(said.token_id.p);
    assert_int_equal(said.limit.limit, 0);
    assert_int_equal(verdict(f, (struct verify_query){ .secret = STR("x") }), VERDICT_UNKNOWN);
}

static void test_unknown_keys_are_limited_by_who_asks(void **state)
{
    struct fix *f = *state;
    struct token t = made(f, (struct token_new){ .scopes = STR_NONE });
    struct verify_query bad = { .team_id = STR(TEAM), .asker = STR("a"), .secret = STR("x") };
    for (int i = 0; i < 3; i++)
        assert_int_equal(token_dir_verify(&f->cx, dir, &bad, &said), ERR_NONE);

    assert_int_equal(token_dir_verify(&f->cx, dir, &bad, &said), ERR_RATE_LIMITED);
    assert_in_range(f->cx.retry_after_s, 1, 60);
    ctx_clear(&f->cx);

    bad.asker = STR("b");
    assert_int_equal(token_dir_verify(&f->cx, dir, &bad, &said), ERR_NONE);
    assert_int_equal(verdict(f, (struct verify_query){ .secret = t.token, .asker = STR("a") }),
                     VERDICT_VALID);
}

static void test_a_refused_key_loses_nothing(void **state)
{
    struct fix *f = *state;
    struct token t =
        made(f, (struct token_new){ .limits =
                                        STR("[{\"name\":\"a\",\"requests\":2,\"window\":60000},"
                                            "{\"name\":\"b\",\"requests\":9,\"window\":60000}]") });
    struct verify_query q = { .secret = t.token, .is_counted = true };
    assert_int_equal(verdict(f, q), VERDICT_VALID);
    assert_int_equal(verdict(f, q), VERDICT_VALID);
    for (int i = 0; i < 5; i++)
        assert_int_equal(verdict(f, q), VERDICT_LIMITED);
    assert_int_equal(said.limit.remaining, TOKEN_RATE_DEFAULT - 2);
    assert_int_equal(said.limit.named[1].remaining, 7);
    assert_int_equal(said.limit.violated, LIMIT_NAMED(0));
    q.need = SCOPE(ADMIN_FULL);
    q.secret = made(f, (struct token_new){ .scopes = STR_NONE }).token;
    assert_int_equal(verdict(f, q), VERDICT_SCOPE);
    assert_int_equal(said.limit.remaining, TOKEN_RATE_DEFAULT);
}

static void test_retry_after_is_enough_and_not_a_second_too_long(void **state)
{
    struct fix *f = *state;
    struct token t =
        made(f, (struct token_new){
                    .limits = STR("[{\"name\":\"a\",\"requests\":4,\"window\":3000000}]") });
    struct auth_query q = { .secret = t.token,
                            .method = "GET",
                            .route_path = "/x",
                            .path = STR("/x"),
                            .is_counted = true };
    struct caller who;
    struct limit_state l;
    int64_t shift = clock_ms();
    clock_shift_ms(0);
    shift -= clock_ms();
    clock_shift_ms(shift);
    for (int i = 0; i < 4; i++)
        assert_int_equal(token_dir_auth(&f->cx, dir, &q, &who, &l), ERR_NONE);

    assert_int_equal(token_dir_auth(&f->cx, dir, &q, &who, &l), ERR_RATE_LIMITED);
    int64_t wait = f->cx.retry_after_s;
    assert_int_equal(wait, l.named[0].reset_s);
    ctx_clear(&f->cx);

    clock_shift_ms(shift + (wait - 2) * 1000);
    assert_int_equal(token_dir_auth(&f->cx, dir, &q, &who, &l), ERR_RATE_LIMITED);
    ctx_clear(&f->cx);
    clock_shift_ms(shift + wait * 1000);
    assert_int_equal(token_dir_auth(&f->cx, dir, &q, &who, &l), ERR_NONE);
}

static void test_a_key_that_will_end_is_counted_until_it_has(void **state)
{
    struct fix *f = *state;
    int64_t now = clock_ms();
    made(f, (struct token_new){ .expires_ms = now + 3 * DAY_MS });
    made(f, (struct token_new){ .expires_ms = now + 30 * DAY_MS });
    made(f, (struct token_new){ .scopes = STR_NONE });
    struct token_dir *fresh;
    assert_int_equal(token_dir_open(&f->cx, f->s, 3, &fresh), ERR_NONE);

    assert_int_equal(token_dir_expiring(fresh), 1);
    token_dir_close(fresh);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        TEST(test_the_first_thing_that_is_wrong_is_told),
        TEST(test_a_key_of_another_team_is_as_unknown_as_no_key),
        TEST(test_unknown_keys_are_limited_by_who_asks),
        TEST(test_a_refused_key_loses_nothing),
        TEST(test_retry_after_is_enough_and_not_a_second_too_long),
        TEST(test_a_key_that_will_end_is_counted_until_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
