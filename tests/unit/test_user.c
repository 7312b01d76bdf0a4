/* Users: what is accepted, what is told, one e-mail once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <string.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "core/people/reset.h"
#include "core/people/session.h"
#include "core/people/user.h"
#include "core_store.h"

static const struct caller cli = { .team_id = { TEAM, 36 } };

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
    assert_ok(user_create(cx, db, &cli, &in, &u));
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
    assert_ok(user_create(cx, db, &cli, &in, &u));
    assert_str(u.name, "a@b");
    buf_init(&b, &cx->arena, 4096);
    rec_encode(&b, &rec_member_new, &u);
    rec_encode(&b, &rec_user_row, &u);
    buf_char(&b, 0);
    assert_null(strstr(b.p, "argon2"));
    assert_null(strstr(b.p, "password"));
}

UNIT_TEST(test_an_e_mail_is_taken_in_any_case)
{
    struct user_new in = one("ann@example.org"), again = one("ANN@EXAMPLE.ORG");
    struct user u;

    assert_ok(user_create(cx, db, &cli, &in, &u));
    assert_int_equal(user_create(cx, db, &cli, &again, &u), ERR_UNIQUE);
    assert_str(cx->err_text, "a user with the e-mail ann@example.org exists already");
}

UNIT_TEST(test_plausible_e_mails)
{
    static const char *const good[] = { "a@b", "a.b+c@d.example",
                                        "j\xC3\xB6rg@m\xC3\xBCller.example" };
    static const char *const bad[] = { "a@b,c@d", "<a@b>", "",      "a",     "@",      "a@",
                                       "@b",      "a@b@c", "a b@c", "a@b\n", "a@\x7f", "\xFF@b" };
    struct user u;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct user_new in = one(good[i]);

        assert_ok(user_create(cx, db, &cli, &in, &u));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct user_new in = one(bad[i]);

        assert_fails(user_create(cx, db, &cli, &in, &u), ERR_INVALID_FIELD);
    }
}

UNIT_TEST(test_all_problems_are_told_at_once)
{
    struct user_new in = { .email = STR("x"), .role = STR("king"), .password = STR("short") };
    struct user u;

    assert_int_equal(user_create(cx, db, &cli, &in, &u), ERR_INVALID_FIELD);
    assert_int_equal(cx->n_fields, 3);
    ctx_clear(cx);
    in = (struct user_new){ .email = STR_NONE };
    assert_int_equal(user_create(cx, db, &cli, &in, &u), ERR_INVALID_FIELD);
    assert_int_equal(cx->n_fields, 3);
}

UNIT_TEST(test_password_length_counts_characters)
{
    struct user_new in = one("a@b");
    struct user u;

    in.password = STR(
        "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"); /* 11 in 22 bytes */
    assert_fails(user_create(cx, db, &cli, &in, &u), ERR_INVALID_FIELD);
    in.password = STR("twelve chars");
    assert_ok(user_create(cx, db, &cli, &in, &u));
}

UNIT_TEST(test_a_new_hash_ends_sessions_and_links)
{
    struct user_new in = one("a@b");
    struct user_password now = { .hash = STR("new"), .action = "user.password_change" };
    struct caller ann = cli;
    struct session kept, other;
    struct str secret, token;
    struct rec_num n;
    struct user u;

    assert_ok(user_create(cx, db, &cli, &in, &u));
    ann.user_id = now.user_id = u.id;
    assert_ok(session_open(cx, db, &ann, u.id, HOUR_MS, &secret, &kept));
    assert_ok(session_open(cx, db, &ann, u.id, HOUR_MS, &secret, &other));
    assert_ok(reset_issue(cx, db, u.id, RESET_PASSWORD, &token));
    now.keep = kept.id;
    now.old_hash = STR("another");
    assert_fails(user_set_password(cx, db, &ann, &now), ERR_CONFLICT);
    now.old_hash = u.password_hash;
    assert_ok(user_set_password(cx, db, &ann, &now));
    assert_ok(db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM user_session", NO_ARGS, &n));
    assert_int_equal(n.n, 1);
    assert_fails(reset_check(cx, db, token), ERR_INVALID_FIELD);
    assert_ok(user_by_id(cx, db, u.id, &u));
    assert_str(u.password_hash, "new");
}

UNIT_TEST(test_what_happens_to_a_user_is_told_in_every_team)
{
    struct user_new in = one("a@b");
    struct rec_num n;
    struct user u;

    assert_ok(user_create(cx, db, &cli, &in, &u));
    assert_ok(db_run(cx, db,
                     "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                     "VALUES ('other', $1, 'viewer', 0)",
                     ARGS(VT(u.id))));
    assert_ok(user_set_enabled(cx, db, &cli, STR("A@B"), false, &u));
    assert_str(u.status, "disabled");
    assert_ok(db_one(cx, db, &rec_num,
                     "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'user.disable'", NO_ARGS,
                     &n));
    assert_int_equal(n.n, 2);
    assert_fails(user_set_enabled(cx, db, &cli, STR("b@b"), false, &u), ERR_NOT_FOUND);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        TC(test_a_user_is_kept_with_a_hash_only),
        TC(test_a_reply_never_shows_the_hash),
        TC(test_an_e_mail_is_taken_in_any_case),
        TC(test_plausible_e_mails),
        TC(test_all_problems_are_told_at_once),
        TC(test_password_length_counts_characters),
        TC(test_a_new_hash_ends_sessions_and_links),
        TC(test_what_happens_to_a_user_is_told_in_every_team),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
