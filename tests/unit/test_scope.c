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

/* ---- roles ---- */

static void test_roles_and_their_words(void **state)
{
    static const enum role roles[] = { ROLE_VIEWER, ROLE_AGENT, ROLE_ADMIN, ROLE_OWNER };

    (void)state;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        assert_true(str_eq(role_word(roles[i]), str_of(role_words[i])));
        assert_int_equal(role_of(role_word(roles[i])), roles[i]);
    }
    assert_null(role_words[4]);
    assert_int_equal(role_of(STR("")), ROLE_NONE);
    assert_int_equal(role_of(STR_NONE), ROLE_NONE);
    assert_int_equal(role_of(STR("Owner")), ROLE_NONE);
    assert_int_equal(role_of(STR("owner ")), ROLE_NONE);
    assert_true(str_eq(role_word(ROLE_NONE), STR("")));
}

static void test_each_role_may_what_the_lower_one_may_and_more(void **state)
{
    (void)state;
    assert_int_equal(role_actions(ROLE_NONE), 0);
    for (enum role r = ROLE_VIEWER; r < ROLE_OWNER; r++) {
        uint64_t lower = role_actions(r), higher = role_actions(r + 1);

        assert_true(lower != 0);
        assert_int_equal(lower & higher, lower);
        assert_int_not_equal(lower, higher);
    }
    assert_int_equal(role_actions(ROLE_OWNER), (UINT64_C(1) << ACTION_BITS) - 1);
}

static void test_only_owners_have_admin_full(void **state)
{
    (void)state;
    assert_false(role_actions(ROLE_ADMIN) & SCOPE(ADMIN_FULL));
    assert_true(role_actions(ROLE_OWNER) & SCOPE(ADMIN_FULL));
    assert_false(scope_granted(role_actions(ROLE_ADMIN), SCOPE(AUDIT_READ)));
    assert_false(scope_granted(role_actions(ROLE_ADMIN), SCOPE(TEAM_OWN)));
    assert_true(scope_granted(role_actions(ROLE_OWNER), SCOPE(AUDIT_READ)));
}

static void test_keys_and_tokens_are_for_admins_only(void **state)
{
    (void)state;
    assert_int_equal(role_least(SCOPE(KEYS_MANAGE)), ROLE_ADMIN);
    assert_int_equal(role_least(SCOPE(USERS_MANAGE)), ROLE_ADMIN);
    assert_false(scope_granted(role_actions(ROLE_AGENT), SCOPE(KEYS_MANAGE)));
}

static void test_the_least_role_is_the_one_that_may(void **state)
{
    (void)state;
    assert_int_equal(role_least(0), ROLE_VIEWER);
    assert_int_equal(role_least(SCOPE(TICKETS_READ) | SCOPE(TICKETS_WRITE)), ROLE_AGENT);
    assert_int_equal(role_least(SCOPE(TICKETS_READ) | SCOPE(AUDIT_READ)), ROLE_OWNER);
    for (int i = 0; i < ACTION_BITS; i++) {
        uint64_t need = UINT64_C(1) << i;
        enum role least = role_least(need);

        assert_int_equal(least, action_rows[i].least);
        assert_true(scope_granted(role_actions(least), need));
        if (least > ROLE_VIEWER)
            assert_false(scope_granted(role_actions(least - 1), need));
    }
}

static void test_no_key_carries_administration_by_name(void **state)
{
    struct arena a;

    (void)state;
    for (int i = SCOPE_BITS; i < ACTION_BITS; i++)
        assert_int_equal(scope_parse(str_of(action_rows[i].wire)), 0);
    assert_int_equal(scope_parse(STR("keys:*")), 0);
    arena_init(&a, 65536);
    assert_true(str_eq(scopes_json(&a, SCOPE(AUDIT_READ)), STR("[\"audit:read\"]")));
    assert_int_equal(scopes_of_json(scopes_json(&a, SCOPE(AUDIT_READ))), 0);
    arena_done(&a);
}

/* ---- callers ---- */

static void test_what_a_caller_sees_and_is_called(void **state)
{
    struct caller key = { .token_id = STR("k"),
                          .token_name = STR("Key"),
                          .scopes = SCOPES_DEFAULT };
    struct caller admin = { .token_id = STR("k"), .scopes = SCOPE(ADMIN_FULL) };
    struct caller user = { .user_id = STR("u"), .user_name = STR("Ann") };
    struct caller cli = { .team_id = STR("t") };

    (void)state;
    assert_true(str_eq(caller_sees(&key), STR("k")));
    assert_true(str_eq(caller_sees(&admin), STR("")));
    admin.is_own_only = true; /* the document's API */
    assert_true(str_eq(caller_sees(&admin), STR("k")));
    assert_true(str_eq(caller_sees(&user), STR("")));
    assert_true(str_eq(caller_sees(&cli), STR("")));
    assert_non_null(caller_sees(&cli).p);

    assert_string_equal(caller_kind(&key), "key");
    assert_string_equal(caller_kind(&user), "user");
    assert_string_equal(caller_kind(&cli), "cli");
    assert_true(str_eq(caller_subject(&key), STR("k")));
    assert_true(str_eq(caller_subject(&user), STR("u")));
    assert_true(str_eq(caller_subject(&cli), STR("")));
    assert_true(str_eq(caller_name(&key), STR("Key")));
    assert_true(str_eq(caller_name(&user), STR("Ann")));
    assert_non_null(caller_name(&admin).p);
    assert_non_null(caller_name(&cli).p);
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
        cmocka_unit_test(test_roles_and_their_words),
        cmocka_unit_test(test_each_role_may_what_the_lower_one_may_and_more),
        cmocka_unit_test(test_only_owners_have_admin_full),
        cmocka_unit_test(test_keys_and_tokens_are_for_admins_only),
        cmocka_unit_test(test_the_least_role_is_the_one_that_may),
        cmocka_unit_test(test_no_key_carries_administration_by_name),
        cmocka_unit_test(test_what_a_caller_sees_and_is_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
