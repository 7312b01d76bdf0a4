/* Idempotency-Key: the first answer is given again; the table of running requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/idem.h"
#include "core_store.h"

static const struct idem request = { { "POST /v1/tickets", 16 }, { "key-1", 5 }, { 1, 2, 3 } };
static const struct idem_answer created = { .headers = { "{\"ETag\":\"\\\"v1\\\"\"}", 18 },
                                            .body = { "{\"id\":1}", 8 },
                                            .status = 201 };

static bool is_known(struct ctx *cx, struct db *db, const struct caller *who, const struct idem *i,
                     struct idem_answer *a)
{
    bool found = true;

    caller_scope(db, who);
    assert_ok(idem_find(cx, db, who, i, &found, a));
    return found;
}

UNIT_TEST(test_the_first_answer_is_given_again)
{
    struct idem_answer a;

    assert_false(is_known(cx, db, &alice, &request, &a));
    assert_ok(idem_keep(cx, db, &alice, &request, &created));
    assert_true(is_known(cx, db, &alice, &request, &a));
    assert_int_equal(a.status, 201);
    assert_true(str_eq(a.body, created.body));
    assert_true(str_eq(a.headers, created.headers));
}

UNIT_TEST(test_another_body_is_refused)
{
    struct idem other = request;
    struct idem_answer a;
    bool found = true;

    other.fingerprint[31] = 1;
    caller_scope(db, &alice);
    assert_ok(idem_keep(cx, db, &alice, &request, &created));
    assert_fails(idem_find(cx, db, &alice, &other, &found, &a), ERR_IDEMPOTENCY_REUSED);
    assert_false(found);
}

UNIT_TEST(test_token_route_and_key_each_make_it_another_request)
{
    struct idem route = request, word = request;
    struct idem_answer a;

    route.route = STR("POST /v1/tickets/bulk");
    word.key = STR("key-2");
    caller_scope(db, &alice);
    assert_ok(idem_keep(cx, db, &alice, &request, &created));
    assert_false(is_known(cx, db, &alice, &route, &a));
    assert_false(is_known(cx, db, &alice, &word, &a));
    assert_false(is_known(cx, db, &bob, &request, &a));
    assert_ok(idem_keep(cx, db, &bob, &request, &created));
}

UNIT_TEST(test_a_second_keeper_is_told_to_wait)
{
    caller_scope(db, &alice);
    assert_ok(idem_keep(cx, db, &alice, &request, &created));
    assert_int_equal(idem_keep(cx, db, &alice, &request, &created), ERR_IDEMPOTENCY_RUNNING);
    assert_true(cx->retry_after_s > 0);
}

UNIT_TEST(test_answers_live_for_a_day)
{
    struct idem_answer a, second = created;
    int64_t gone = -1;

    caller_scope(db, &alice);
    assert_ok(idem_keep(cx, db, &alice, &request, &created));
    clock_shift_ms(IDEM_TTL_MS - 60000);
    assert_true(is_known(cx, db, &alice, &request, &a));
    clock_shift_ms(IDEM_TTL_MS + 60000);
    assert_false(is_known(cx, db, &alice, &request, &a));
    second.status = 200;
    assert_ok(
        idem_keep(cx, db, &alice, &request, &second)); /* takes the place of the expired one */
    assert_true(is_known(cx, db, &alice, &request, &a));
    assert_int_equal(a.status, 200);
    assert_ok(idem_purge(cx, db, clock_ms(), &gone));
    assert_int_equal(gone, 0);
    assert_ok(idem_purge(cx, db, clock_ms() + IDEM_TTL_MS, &gone));
    clock_shift_ms(0);
    assert_int_equal(gone, 1);
    assert_false(is_known(cx, db, &alice, &request, &a));
}

UNIT_TEST(test_the_purge_goes_in_steps)
{
    struct idem i = request;
    int64_t gone = 0;

    caller_scope(db, &alice);
    for (int k = 0; k < 501; k++) {
        i.key = str_printf(&cx->arena, "k%d", k);
        assert_ok(idem_keep(cx, db, &alice, &i, &created));
    }
    db_scope_system(db);
    assert_ok(idem_purge(cx, db, clock_ms() + IDEM_TTL_MS + 1, &gone));
    assert_int_equal(gone, 500);
    assert_ok(idem_purge(cx, db, clock_ms() + IDEM_TTL_MS + 1, &gone));
    assert_int_equal(gone, 1);
}

/* ---- running requests ---- */

static void test_a_running_request_is_found_until_it_leaves(void **state)
{
    uint64_t first, second, of_bob;

    (void)state;
    assert_true(idem_enter(&alice, &request, &first));
    assert_false(idem_enter(&alice, &request, &second));
    assert_true(idem_enter(&bob, &request, &of_bob));
    idem_leave(first);
    assert_true(idem_enter(&alice, &request, &second));
    idem_leave(second);
    idem_leave(of_bob);
}

/* More than the table holds: the rest is refused, none is lost, and leaving in any order keeps all
 * others findable. */
static void test_a_full_table_refuses_and_recovers(void **state)
{
    enum { MANY = 9000 };
    struct arena a;
    static uint64_t claims[MANY];
    static struct idem keys[MANY];
    int entered = 0;

    (void)state;
    arena_init(&a, 4 << 20);
    for (int i = 0; i < MANY; i++) {
        keys[i] = request;
        keys[i].key = str_printf(&a, "k%d", i);
        if (idem_enter(&alice, &keys[i], &claims[i]))
            entered++;
        else
            claims[i] = 0;
    }
    assert_true(entered > 8000 && entered < MANY);
    for (int round = 0; round < 7; round++)
        for (int i = round; i < MANY; i += 7) {
            uint64_t again;

            if (!claims[i])
                continue;
            assert_false(idem_enter(&alice, &keys[i], &again));
            idem_leave(claims[i]);
            claims[i] = 0;
        }
    for (int i = 0; i < 8000; i++)
        assert_true(idem_enter(&alice, &keys[i], &claims[i]));
    for (int i = 7999; i >= 0; i--)
        idem_leave(claims[i]);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_the_first_answer_is_given_again),
        TC(test_another_body_is_refused),
        TC(test_token_route_and_key_each_make_it_another_request),
        TC(test_a_second_keeper_is_told_to_wait),
        TC(test_answers_live_for_a_day),
        TC(test_the_purge_goes_in_steps),
        cmocka_unit_test(test_a_running_request_is_found_until_it_leaves),
        cmocka_unit_test(test_a_full_table_refuses_and_recovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
