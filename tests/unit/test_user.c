/* Users: what is accepted, what is told, one e-mail once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <string.h>

#include "base/crypt.h"
#include "core/user.h"
#include "core_store.h"

static const struct str team = { TEAM, 36 };

static struct user_new one(const char *email)
{
    return (struct user_new){ .email = str_of(email),
                              .name = STR("Ann"),
                              .role = STR("admin"),
                              .password = STR("correct horse battery") };
}

UNIT_TEST(test_a_user_is_kept_with_a_hash_only)
{
    struct user_new in = one("Ann@Example.org");
    struct user u;
    int64_t n = -1;

    assert_ok(user_count(cx, db, &n));
    assert_int_equal(n, 0);
    assert_ok(user_create(cx, db, team, &in, &u));
    assert_str(u.email, "ann@example.org");
    assert_true(password_verify(u.password_hash, in.password));
    assert_false(password_verify(u.password_hash, STR("correct horse batterz")));
    assert_ok(user_count(cx, db, &n));
    assert_int_equal(n, 1);
}

UNIT_TEST(test_a_reply_never_shows_the_hash)
{
    struct user_new in = one("a@b");
    struct user u;
    struct buf b;

    in.name = STR_NONE;
    assert_ok(user_create(cx, db, team, &in, &u));
    assert_str(u.name, "a@b");
    buf_init(&b, &cx->arena, 4096);
    rec_encode(&b, &rec_user, &u);
    buf_char(&b, 0);
    assert_null(strstr(b.p, "argon2"));
    assert_null(strstr(b.p, "password"));
}

UNIT_TEST(test_an_e_mail_is_taken_in_any_case)
{
    struct user_new in = one("ann@example.org"), again = one("ANN@EXAMPLE.ORG");
    struct user u;

    assert_ok(user_create(cx, db, team, &in, &u));
    assert_int_equal(user_create(cx, db, team, &again, &u), ERR_UNIQUE);
    assert_str(cx->err_text, "a user with the e-mail ann@example.org exists already");
}

UNIT_TEST(test_plausible_e_mails)
{
    static const char *const good[] = { "a@b", "a.b+c@d.example",
                                        "j\xC3\xB6rg@m\xC3\xBCller.example" };
    static const char *const bad[] = { "",      "a",     "@",     "a@",     "@b",
                                       "a@b@c", "a b@c", "a@b\n", "a@\x7f", "\xFF@b" };
    struct user u;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct user_new in = one(good[i]);

        assert_ok(user_create(cx, db, team, &in, &u));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct user_new in = one(bad[i]);

        assert_fails(user_create(cx, db, team, &in, &u), ERR_INVALID_FIELD);
    }
}

UNIT_TEST(test_all_problems_are_told_at_once)
{
    struct user_new in = { .email = STR("x"), .role = STR("king"), .password = STR("short") };
    struct user u;

    assert_int_equal(user_create(cx, db, team, &in, &u), ERR_INVALID_FIELD);
    assert_int_equal(cx->n_fields, 3);
    ctx_clear(cx);
    in = (struct user_new){ .email = STR_NONE };
    assert_int_equal(user_create(cx, db, team, &in, &u), ERR_INVALID_FIELD);
    assert_int_equal(cx->n_fields, 3);
}

UNIT_TEST(test_password_length_counts_characters)
{
    struct user_new in = one("a@b");
    struct user u;

    in.password = STR(
        "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"); /* 11 in 22 bytes */
    assert_fails(user_create(cx, db, team, &in, &u), ERR_INVALID_FIELD);
    in.password = STR("twelve chars");
    assert_ok(user_create(cx, db, team, &in, &u));
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        TC(test_a_user_is_kept_with_a_hash_only), TC(test_a_reply_never_shows_the_hash),
        TC(test_an_e_mail_is_taken_in_any_case),  TC(test_plausible_e_mails),
        TC(test_all_problems_are_told_at_once),   TC(test_password_length_counts_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
