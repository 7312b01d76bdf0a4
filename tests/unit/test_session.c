/* Sessions and who they prove: secrets, both expiries, teams, the cookie, the CSRF token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/clock.h"
#include "base/crypt.h"
#include "core/people/identity.h"
#include "core/people/session.h"
#include "core/people/totp.h"
#include "core/people/user.h"
#include "core_store.h"

#define IDLE_MS ((int64_t)600000)
#define MAX_MS (24 * HOUR_MS)

static const struct caller cli = { .team_id = { TEAM, 36 } };

/* A user of the default team and a session of theirs. */
static struct str signed_in(struct ctx *cx, struct db *db, struct user *u)
{
    struct str secret = STR_NONE;
    struct session s;
    assert_ok(user_add(cx, db, STR("ann@example.org"), STR("Ann"), STR_NONE, u));
    assert_ok(db_run(cx, db,
                     "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                     "VALUES ($1, $2, 'agent', 0)",
                     ARGS(VT(cli.team_id), VT(u->id))));
    assert_ok(session_open(cx, db, &cli, u->id, MAX_MS, &secret, &s));
    return secret;
}

static enum err_code resolve(struct ctx *cx, struct db *db, struct str secret, struct str team,
                             struct caller *who)
{
    struct identity_ask ask = { .session = secret, .team = team, .idle_ms = IDLE_MS };
    return identity_resolve(cx, db, &ask, who);
}

UNIT_TEST(test_a_secret_proves_its_user)
{
    struct caller who = { .ip = STR("192.0.2.1") };
    struct user u;
    struct str secret = signed_in(cx, db, &u);

    assert_ok(resolve(cx, db, secret, STR_NONE, &who));
    assert_true(str_eq(who.user_id, u.id));
    assert_str(who.user_email, "ann@example.org");
    assert_true(str_eq(who.team_id, cli.team_id));
    assert_int_equal(who.role, ROLE_AGENT);
    assert_true(who.scopes == role_actions(ROLE_AGENT));
    assert_str(who.ip, "192.0.2.1");
    assert_fails(resolve(cx, db, str_sub(secret, 0, secret.n - 1), STR_NONE, &who),
                 ERR_INVALID_TOKEN);
    assert_fails(resolve(cx, db, STR(""), STR_NONE, &who), ERR_INVALID_TOKEN);
}

UNIT_TEST(test_a_quiet_session_ends_and_a_used_one_does_not)
{
    struct caller who = { .ip = STR("") };
    struct user u;
    struct str secret = signed_in(cx, db, &u);

    clock_shift_ms(IDLE_MS - 1000);
    assert_ok(resolve(cx, db, secret, STR_NONE, &who));
    identity_seen(who.session_id, clock_ms());
    clock_shift_ms(2 * IDLE_MS - 3000);
    assert_ok(resolve(cx, db, secret, STR_NONE, &who)); /* known before it is in the row */
    clock_shift_ms(2 * IDLE_MS + 1000);
    assert_fails(resolve(cx, db, secret, STR_NONE, &who), ERR_INVALID_TOKEN);
    clock_shift_ms(0);
}

UNIT_TEST(test_a_session_ends_in_the_end_whatever_is_done_with_it)
{
    struct caller who = { .ip = STR("") };
    struct user u;
    struct str secret = signed_in(cx, db, &u);

    assert_ok(resolve(cx, db, secret, STR_NONE, &who));
    identity_seen(who.session_id, clock_ms() + MAX_MS + 1000);
    clock_shift_ms(MAX_MS - 1000);
    assert_ok(resolve(cx, db, secret, STR_NONE, &who));
    clock_shift_ms(MAX_MS + 1000);
    assert_fails(resolve(cx, db, secret, STR_NONE, &who), ERR_INVALID_TOKEN);
    clock_shift_ms(0);
}

UNIT_TEST(test_the_only_team_needs_no_name)
{
    struct caller who = { .ip = STR("") };
    struct user u;
    struct str secret = signed_in(cx, db, &u);

    assert_ok(db_run(cx, db,
                     "INSERT INTO team (id, slug, name, created_ms) VALUES "
                     "('other-id', 'other', 'Other', 0)",
                     NO_ARGS));
    assert_fails(resolve(cx, db, secret, STR("other"), &who), ERR_NOT_FOUND);
    assert_ok(db_run(cx, db,
                     "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                     "VALUES ('other-id', $1, 'owner', 0)",
                     ARGS(VT(u.id))));
    assert_fails(resolve(cx, db, secret, STR_NONE, &who), ERR_TEAM_REQUIRED);
    assert_ok(resolve(cx, db, secret, STR("other"), &who));
    assert_int_equal(who.role, ROLE_OWNER);
    assert_ok(resolve(cx, db, secret, STR("default"), &who));
    assert_int_equal(who.role, ROLE_AGENT);
    assert_ok(db_run(cx, db, "DELETE FROM team_member", NO_ARGS));
    assert_fails(resolve(cx, db, secret, STR_NONE, &who), ERR_NOT_FOUND);
}

UNIT_TEST(test_without_a_team_a_user_acts_on_himself)
{
    struct caller who = { .ip = STR("") };
    struct user u;
    struct identity_ask ask = { .session = signed_in(cx, db, &u),
                                .is_teamless = true,
                                .idle_ms = IDLE_MS };

    assert_ok(db_run(cx, db, "DELETE FROM team_member", NO_ARGS));
    assert_ok(identity_resolve(cx, db, &ask, &who));
    assert_true(str_eq(who.user_id, u.id));
    assert_null(who.team_id.p);
    assert_true(who.scopes == 0);
}

UNIT_TEST(test_begun_enrolments_are_purged_when_they_are_over)
{
    int64_t gone = 0, now = clock_ms();
    struct rec_num n;
    db_scope_system(db);
    for (int i = 0; i < 2; i++)
        assert_ok(db_run(
            cx, db, "INSERT INTO totp_pending (user_id, secret, created_ms) VALUES ($1, 'x', $2)",
            ARGS(VT(str_of(i ? "late" : "young")), VI(now - i * TOTP_PENDING_MS))));

    assert_ok(session_purge(cx, db, IDLE_MS, &gone));

    assert_int_equal(gone, 1);
    assert_ok(db_one(cx, db, &rec_num,
                     "SELECT COUNT(*) AS n FROM totp_pending WHERE user_id = 'young'", NO_ARGS,
                     &n));
    assert_int_equal(n.n, 1);
}

UNIT_TEST(test_ended_sessions_are_purged)
{
    struct user u;
    struct rec_num n;
    int64_t gone = -1;

    signed_in(cx, db, &u);
    assert_ok(session_purge(cx, db, IDLE_MS, &gone));
    assert_int_equal(gone, 0);
    clock_shift_ms(IDLE_MS + 1000);
    assert_ok(session_purge(cx, db, IDLE_MS, &gone));
    clock_shift_ms(0);
    assert_int_equal(gone, 1);
    assert_ok(db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM user_session", NO_ARGS, &n));
    assert_int_equal(n.n, 0);
}

UNIT_TEST(test_only_the_newest_sessions_of_a_user_stay)
{
    struct str first, secret = STR_NONE;
    struct caller who = { .ip = STR("") };
    struct session s;
    struct rec_num n;
    struct user u;

    first = signed_in(cx, db, &u);
    for (int i = 0; i < SESSIONS_MAX; i++)
        assert_ok(session_open(cx, db, &cli, u.id, MAX_MS, &secret, &s));
    assert_ok(db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM user_session", NO_ARGS, &n));
    assert_int_equal(n.n, SESSIONS_MAX);
    assert_fails(resolve(cx, db, first, STR_NONE, &who), ERR_INVALID_TOKEN);
    assert_ok(resolve(cx, db, secret, STR_NONE, &who));
}

static void test_what_was_seen_reaches_the_row(void **state)
{
    struct fix *f = *state;
    struct str id = STR("01900000-0000-7000-8000-0000000000aa");

    exec(f,
         "INSERT INTO user_session (id, user_id, secret_hash, created_ms, seen_ms, expires_ms, "
         "ip, agent) VALUES ('01900000-0000-7000-8000-0000000000aa', 'u', 'h', 1, 5, 9, '', '')");
    identity_seen(id, 7);
    identity_seen(id, 6);
    assert_int_equal(identity_seen_at(id), 7);
    assert_int_equal(identity_flush(&f->cx, f->s), ERR_NONE);
    assert_int_equal(number(f, "SELECT seen_ms AS n FROM user_session"), 7);
    exec(f, "UPDATE user_session SET seen_ms = 8");
    assert_int_equal(identity_flush(&f->cx, f->s), ERR_NONE); /* nothing new: nothing written */
    assert_int_equal(number(f, "SELECT seen_ms AS n FROM user_session"), 8);
    assert_int_equal(identity_seen_at(STR("short")), 0);
}

/* ---- no store ---- */

static void test_the_cookie_is_found_among_others(void **state)
{
    static const struct {
        const char *header, *value; /* NULL = none */
    } rows[] = {
        { "tessera_session=abc", "abc" },
        { "a=b; tessera_session=abc; c=d", "abc" },
        { " tessera_session = abc ;x", "abc" },
        { "tessera_session=a=b", "a=b" },
        { "tessera_session=first; tessera_session=second", "first" },
        { "tessera_session=", NULL },
        { "tessera_session", NULL },
        { "xtessera_session=abc", NULL },
        { "tessera_sessionx=abc", NULL },
        { "", NULL },
        { ";;==;", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got = identity_cookie(str_of(rows[i].header), STR(SESSION_COOKIE));
        if (rows[i].value)
            assert_true(str_eq(got, str_of(rows[i].value)));
        else
            assert_null(got.p);
    }
    assert_null(identity_cookie(STR_NONE, STR(SESSION_COOKIE)).p);
}

static void test_a_csrf_token_belongs_to_one_session(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 65536);
    struct str token = identity_csrf(&a, STR("secret"));

    assert_int_equal(token.n, 43);
    assert_true(identity_csrf_is(STR("secret"), token));
    assert_false(identity_csrf_is(STR("secres"), token));
    assert_false(identity_csrf_is(STR("secret"), str_sub(token, 0, 42)));
    assert_false(identity_csrf_is(STR("secret"), STR("")));
    assert_false(identity_csrf_is(STR("secret"), STR_NONE));
    arena_done(&a);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        TC(test_a_secret_proves_its_user),
        TC(test_a_quiet_session_ends_and_a_used_one_does_not),
        TC(test_a_session_ends_in_the_end_whatever_is_done_with_it),
        TC(test_the_only_team_needs_no_name),
        TC(test_without_a_team_a_user_acts_on_himself),
        TC(test_ended_sessions_are_purged),
        TC(test_begun_enrolments_are_purged_when_they_are_over),
        TC(test_only_the_newest_sessions_of_a_user_stay),
        TC(test_what_was_seen_reaches_the_row),
        cmocka_unit_test(test_the_cookie_is_found_among_others),
        cmocka_unit_test(test_a_csrf_token_belongs_to_one_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
