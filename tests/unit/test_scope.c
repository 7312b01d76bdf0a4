/* Scopes: words, wildcards, the stored form, what grants what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/ctx.h"
#include "core/caller.h"

static void test_each_word_is_its_own_bit(void **state)
{
    uint64_t all = 0;

    (void)state;
    for (int i = 0; scope_words[i]; i++) {
        uint64_t bit = scope_parse(str_of(scope_words[i]));

        assert_int_equal(bit, UINT64_C(1) << i);
        all |= bit;
    }
    assert_int_equal(all, (UINT64_C(1) << SCOPE_BITS) - 1);
}

static void test_a_wildcard_is_one_noun_without_admin(void **state)
{
    uint64_t tickets = SCOPE(TICKETS_READ) | SCOPE(TICKETS_WRITE) | SCOPE(TICKETS_COMMENT) |
                       SCOPE(TICKETS_RESOLVE);

    (void)state;
    assert_int_equal(scope_parse(STR("tickets:*")), tickets);
    assert_int_equal(scope_parse(STR("webhooks:*")), SCOPE(WEBHOOKS_MANAGE));
    assert_int_equal(scope_parse(STR("admin:*")), 0);
}

static void test_other_words_are_unknown(void **state)
{
    static const char *const bad[] = { "",
                                       "*",
                                       ":*",
                                       "tickets",
                                       "tickets:",
                                       "ticket:*",
                                       "tickets:r",
                                       "TICKETS:READ",
                                       " tickets:read",
                                       "tickets:read ",
                                       "tickets:*:*",
                                       "t*" };

    (void)state;
    assert_int_equal(scope_parse(STR_NONE), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(scope_parse(str_of(bad[i])), 0);
}

static void test_every_mask_survives_its_stored_form(void **state)
{
    struct arena a;

    (void)state;
    for (uint64_t mask = 0; mask < UINT64_C(1) << SCOPE_BITS; mask += 37) {
        arena_init(&a, 65536);
        assert_int_equal(scopes_of_json(scopes_json(&a, mask)), mask);
        arena_done(&a);
    }
    arena_init(&a, 65536);
    assert_true(str_eq(scopes_json(&a, 0), STR("[]")));
    assert_true(str_eq(scopes_json(&a, SCOPE(TICKETS_READ) | SCOPE(AGENTS_READ)),
                       STR("[\"tickets:read\",\"agents:read\"]")));
    assert_int_equal(scopes_of_json(scopes_json(&a, (UINT64_C(1) << SCOPE_BITS) - 1)),
                     (UINT64_C(1) << SCOPE_BITS) - 1);
    arena_done(&a);
}

static void test_unknown_stored_words_are_skipped(void **state)
{
    (void)state;
    assert_int_equal(scopes_of_json(STR("[\"gone:read\",\"tickets:read\"]")), SCOPE(TICKETS_READ));
    assert_int_equal(scopes_of_json(STR("[\"tickets:read")), SCOPE(TICKETS_READ));
    assert_int_equal(scopes_of_json(STR("[]")), 0);
    assert_int_equal(scopes_of_json(STR_NONE), 0);
}

static void test_all_needed_scopes_or_admin(void **state)
{
    uint64_t both = SCOPE(TICKETS_READ) | SCOPE(TICKETS_WRITE);

    (void)state;
    assert_true(scope_granted(SCOPES_DEFAULT, both));
    assert_true(scope_granted(0, 0));
    assert_false(scope_granted(SCOPE(TICKETS_READ), both));
    assert_false(scope_granted(0, SCOPE(TICKETS_READ)));
    assert_true(scope_granted(SCOPE(ADMIN_FULL), both));
    assert_false(scope_granted(SCOPES_DEFAULT, SCOPE(ADMIN_FULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_word_is_its_own_bit),
        cmocka_unit_test(test_a_wildcard_is_one_noun_without_admin),
        cmocka_unit_test(test_other_words_are_unknown),
        cmocka_unit_test(test_every_mask_survives_its_stored_form),
        cmocka_unit_test(test_unknown_stored_words_are_skipped),
        cmocka_unit_test(test_all_needed_scopes_or_admin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
