/* Secrets at rest: what is sealed opens in its own place, under its own keys, and nowhere else;
 * what the vault refuses at its start; the keys of hashes. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "core/vault/vault_key.h"
#include "vault_store.h"

/* Made by the program as it was before the vault, under MASTER_A. */
#define V1_PLACE ((struct vault_place){ "app_user", "totp_secret", STR_NONE, STR("row-1") })
#define V1_TEXT STR("v1.c8141b36.BwcHBwcHBwcHBwcHSOpYtMVJ9I78_15EZa_LsQEiJBHVtZQacqsV862Qhw")
#define V1_PLAIN STR("a secret of old")
#define OLD_RECOVERY_OF_X "8fdc9109381e4a7668dd65e6eebd4de5b711a5718c906c759af04201aa3dd523"
#define OLD_AUDIT_KEY "f0a91a1421c2ed314388afb71d7153febe469e3f709109c19f75950c1fc3c61e"

static bool says(const struct ctx *cx, const char *word)
{
    return memmem(cx->err_text.p, cx->err_text.n, word, strlen(word)) != NULL;
}

/* ---- sealing ---- */

UNIT_TEST(test_what_was_sealed_opens_again)
{
    char bytes[300];
    for (size_t n = 0; n <= sizeof bytes; n += 25) {
        memset(bytes, (int)n, sizeof bytes);
        struct str plain = { bytes, n };
        opens(cx, db, user_place("u1"), sealed(cx, db, user_place("u1"), plain), plain);
        opens(cx, db, team_place(TEAM, "s1"), sealed(cx, db, team_place(TEAM, "s1"), plain), plain);
    }
    char *large = arena_zalloc(&cx->arena, VAULT_PLAIN_MAX);
    struct str most = { large, VAULT_PLAIN_MAX };
    opens(cx, db, user_place("u1"), sealed(cx, db, user_place("u1"), most), most);
}

UNIT_TEST(test_the_text_names_version_and_key)
{
    struct vault_text t;
    unsigned char raw[64];
    size_t n = 0;
    struct rec_text key;

    assert_true(vault_text_parse(sealed(cx, db, user_place("u"), STR("secret")), &t));
    assert_int_equal(t.format, VAULT_V2);
    assert_ok(db_one(cx, db, &rec_text,
                     "SELECT id AS s FROM vault_key WHERE team_id = '' AND purpose = 'data'",
                     NO_ARGS, &key));
    assert_true(str_eq(t.key_id, key.s));
    assert_true(base64url_parse(t.body, raw, sizeof raw, &n));
    assert_int_equal(n, 12 + strlen("secret") + 16);
}

UNIT_TEST(test_the_same_text_is_never_sealed_the_same)
{
    assert_false(str_eq(sealed(cx, db, user_place("u"), STR("x")),
                        sealed(cx, db, user_place("u"), STR("x"))));
}

UNIT_TEST(test_another_place_does_not_open_it)
{
    struct str text = sealed(cx, db, user_place("row-1"), STR("secret"));
    struct str of_team = sealed(cx, db, team_place(TEAM, "row-1"), STR("secret"));

    sealed(cx, db, team_place(OTHER_TEAM, "row-1"), STR("makes its key"));
    refuses(cx, db, user_place("row-2"), text, ERR_INTERNAL);
    refuses(cx, db, V1_PLACE, text, ERR_INTERNAL);
    refuses(cx, db, team_place(TEAM, "row-1"), text, ERR_INTERNAL);
    refuses(cx, db, user_place("row-1"), of_team, ERR_INTERNAL);
    refuses(cx, db, team_place(TEAM, "row-2"), of_team, ERR_INTERNAL);
    refuses(cx, db, team_place(OTHER_TEAM, "row-1"), of_team, ERR_INTERNAL);
    refuses(cx, db, note_place(TEAM, "row-1"), of_team, ERR_INTERNAL);
}

/* The same key, moved to the other team's row, unwraps there no more than it decrypts. */
UNIT_TEST(test_a_wrapped_key_opens_in_its_own_row_only)
{
    struct str text = sealed(cx, db, team_place(TEAM, "row-1"), STR("secret"));

    sealed(cx, db, team_place(OTHER_TEAM, "row-1"), STR("makes its key"));
    assert_ok(db_run(cx, db,
                     "UPDATE vault_key SET (id, wrapped) = (SELECT id, wrapped FROM vault_key "
                     "WHERE team_id = $1) WHERE team_id = $2",
                     ARGS(VT(STR(TEAM)), VT(STR(OTHER_TEAM)))));
    refuses(cx, db, team_place(OTHER_TEAM, "row-1"), text, ERR_INTERNAL);
}

UNIT_TEST(test_every_changed_character_is_noticed)
{
    struct vault_place at = user_place("u");
    struct str text = sealed(cx, db, at, STR("secret"));
    char *copy = str_cstr(&cx->arena, text);

    for (size_t i = 0; i < text.n; i++) {
        char was = copy[i];
        copy[i] = was == 'A' ? 'B' : 'A';
        refuses(cx, db, at, (struct str){ copy, text.n }, ERR_INTERNAL);
        copy[i] = was;
    }
    for (size_t n = 0; n < text.n; n++)
        refuses(cx, db, at, str_sub(text, 0, n), ERR_INTERNAL);
    refuses(cx, db, at, str_printf(&cx->arena, STR_FMT "=", STR_ARG(text)), ERR_INTERNAL);
    refuses(cx, db, at, STR("plain text"), ERR_INTERNAL);
    opens(cx, db, at, (struct str){ copy, text.n }, STR("secret"));
}

/* ---- keys ---- */

static int64_t ask(struct ctx *cx, struct db *db, const char *sql)
{
    struct rec_num n;
    assert_ok(db_one(cx, db, &rec_num, sql, NO_ARGS, &n));
    return n.n;
}

UNIT_TEST(test_each_team_has_a_key_of_its_own_and_each_use_is_counted)
{
    for (int i = 0; i < 5; i++)
        sealed(cx, db, team_place(TEAM, "a"), STR("x"));
    sealed(cx, db, team_place(OTHER_TEAM, "a"), STR("x"));
    sealed(cx, db, user_place("a"), STR("x"));

    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM vault_key WHERE purpose = 'data'"), 3);
    assert_int_equal(ask(cx, db, "SELECT uses AS n FROM vault_key WHERE team_id = '" TEAM "'"), 5);
    assert_int_equal(ask(cx, db, "SELECT COUNT(DISTINCT wrapped) AS n FROM vault_key"), 3 + 3);
}

UNIT_TEST(test_a_key_is_followed_by_the_next_version_before_its_uses_end)
{
    struct vault_place at = team_place(TEAM, "a");
    struct str before = sealed(cx, db, at, STR("before"));
    assert_ok(db_run(cx, db, "UPDATE vault_key SET uses = $1 WHERE team_id = $2",
                     ARGS(VI(VAULT_USES_MAX - 1), VT(STR(TEAM)))));

    struct str last = sealed(cx, db, at, STR("last"));
    struct str after = sealed(cx, db, at, STR("after"));

    assert_true(str_eq(str_sub(before, 0, 19), str_sub(last, 0, 19)));
    assert_false(str_eq(str_sub(last, 0, 19), str_sub(after, 0, 19)));
    opens(cx, db, at, before, STR("before"));
    opens(cx, db, at, last, STR("last"));
    opens(cx, db, at, after, STR("after"));
    assert_int_equal(ask(cx, db,
                         "SELECT version AS n FROM vault_key WHERE state = 'active' AND "
                         "team_id = '" TEAM "'"),
                     2);
    assert_int_equal(ask(cx, db,
                         "SELECT uses AS n FROM vault_key WHERE state = 'active' AND "
                         "team_id = '" TEAM "'"),
                     1);
}

static enum err_code seal_and_fail(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    sealed(cx, db, team_place(TEAM, "a"), STR("x"));
    return fail(cx, CONFLICT, "changed its mind");
}

static enum err_code seal_and_open(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    vault_cache_clear();
    struct str text = sealed(cx, db, team_place(TEAM, "a"), STR("y"));
    vault_cache_clear();
    opens(cx, db, team_place(TEAM, "a"), text, STR("y"));
    return ERR_NONE;
}

/* Its key came to nothing with it; the next one must not be mistaken for it. */
static void test_a_key_of_a_unit_that_failed_is_never_used(void **state)
{
    struct fix *f = *state;

    assert_int_equal(store_tx(&f->cx, f->s, seal_and_fail, NULL), ERR_CONFLICT);
    ctx_clear(&f->cx);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_key WHERE purpose = 'data'"), 0);
    assert_int_equal(store_tx(&f->cx, f->s, seal_and_open, NULL), ERR_NONE);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_key WHERE purpose = 'data'"), 1);
}

/* ---- start ---- */

static void test_without_a_master_key_nothing_is_sealed_and_it_says_why(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    unsigned char mac[SHA256_LEN];
    struct vault_place at = user_place("u");
    struct str text;

    vault_again(f, STR_NONE, STR_NONE);

    assert_false(vault_is_ready());
    assert_int_equal(vault_seal(cx, NULL, &at, STR("x"), &text), ERR_NOT_CONFIGURED);
    assert_true(says(cx, "master_key"));
    ctx_clear(cx);
    assert_fails(vault_open(cx, NULL, &at, STR("v2.x"), &text), ERR_NOT_CONFIGURED);
    assert_fails(vault_mac(cx, VAULT_RECOVERY, STR("x"), mac), ERR_NOT_CONFIGURED);
    assert_null(vault_mac_key(VAULT_AUDIT).p);
    assert_fails(vault_start(cx, f->s, STR_NONE, MASTER_A), ERR_USAGE);
}

static void test_another_master_key_is_refused_at_the_start_by_its_id(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str id = str_dup(&cx->arena, str_of(vault_masters.now.id));

    assert_int_equal(vault_start(cx, f->s, MASTER_B, STR_NONE), ERR_NOT_CONFIGURED);
    assert_true(says(cx, str_cstr(&cx->arena, id)));
    assert_false(vault_is_ready());
    ctx_clear(cx);
    vault_again(f, MASTER_B, MASTER_A);
    assert_true(vault_is_ready());
}

static void test_a_damaged_key_of_hashes_is_told_at_the_start(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;

    exec(f, "UPDATE vault_key SET wrapped = 'AAAA' WHERE purpose = 'audit'");
    assert_int_equal(vault_start(cx, f->s, MASTER_A, STR_NONE), ERR_NOT_CONFIGURED);
    assert_true(says(cx, "\"audit\""));
    ctx_clear(cx);
}

/* ---- what was there before the vault ---- */

UNIT_TEST(test_a_text_from_before_the_vault_opens)
{
    opens(cx, db, V1_PLACE, V1_TEXT, V1_PLAIN);
    refuses(cx, db, user_place("row-1"), V1_TEXT, ERR_INTERNAL);
}

static enum err_code v1_unit(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    opens(cx, db, V1_PLACE, V1_TEXT, V1_PLAIN);
    return ERR_NONE;
}

static enum err_code v1_refused_unit(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    refuses(cx, db, V1_PLACE, V1_TEXT, ERR_NOT_CONFIGURED);
    return ERR_NONE;
}

static void test_a_text_from_before_the_vault_needs_its_master_key(void **state)
{
    struct fix *f = *state;

    exec(f, "DELETE FROM vault_key");
    vault_again(f, MASTER_B, STR_NONE);
    assert_int_equal(store_read(&f->cx, f->s, v1_refused_unit, NULL), ERR_NONE);
    vault_again(f, MASTER_B, MASTER_A);
    assert_int_equal(store_read(&f->cx, f->s, v1_unit, NULL), ERR_NONE);
}

static void assert_key(enum vault_mac which, const char *hex, bool is_it)
{
    unsigned char want[SHA256_LEN];
    assert_true(hex_parse(str_of(hex), want, sizeof want));
    assert_int_equal(memcmp(vault_mac_key(which).p, want, sizeof want) == 0, is_it);
}

static void assert_recovery(struct fix *f, bool is_old)
{
    unsigned char want[SHA256_LEN], mac[SHA256_LEN];
    assert_true(hex_parse(STR(OLD_RECOVERY_OF_X), want, sizeof want));
    assert_int_equal(vault_mac(&f->cx, VAULT_RECOVERY, STR("x"), mac), ERR_NONE);
    assert_int_equal(memcmp(mac, want, sizeof want) == 0, is_old);
}

/* A database from before, with a keyed log and recovery codes: its hashes go on. */
static void test_keys_of_hashes_go_on_where_there_are_hashes(void **state)
{
    struct fix *f = *state;

    assert_key(VAULT_AUDIT, OLD_AUDIT_KEY, false); /* a new database has random ones */
    assert_recovery(f, false);
    exec(f, "DELETE FROM vault_key");
    exec(f, "INSERT INTO audit_head (team_id, seq, hash) VALUES ('t', 1, '1.0a1b2c3d.00')");

    vault_again(f, MASTER_A, STR_NONE);
    assert_key(VAULT_AUDIT, OLD_AUDIT_KEY, true);
    assert_recovery(f, true);

    exec(f, "DELETE FROM vault_key");
    exec(f, "DELETE FROM audit_head");
    exec(f, "INSERT INTO recovery_code (user_id, code_hash, created_ms) VALUES ('u', 'h', 1)");
    vault_again(f, MASTER_B, MASTER_A); /* the master key changes in the same step */
    assert_key(VAULT_AUDIT, OLD_AUDIT_KEY, true);
    assert_recovery(f, true);
    vault_again(f, MASTER_B, MASTER_A);
    assert_recovery(f, true);
}

static void test_a_log_without_a_key_gets_a_random_one(void **state)
{
    struct fix *f = *state;

    exec(f, "DELETE FROM vault_key");
    exec(f, "INSERT INTO audit_head (team_id, seq, hash) VALUES ('t', 1, '1.-.00')");
    vault_again(f, MASTER_A, STR_NONE);
    assert_key(VAULT_AUDIT, OLD_AUDIT_KEY, false);
}

static void test_a_mac_depends_on_its_key_and_text(void **state)
{
    struct fix *f = *state;
    unsigned char a[SHA256_LEN], b[SHA256_LEN];

    assert_int_equal(vault_mac(&f->cx, VAULT_RECOVERY, STR("x"), a), ERR_NONE);
    assert_int_equal(vault_mac(&f->cx, VAULT_RECOVERY, STR("x"), b), ERR_NONE);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(vault_mac(&f->cx, VAULT_WEB, STR("x"), b), ERR_NONE);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(vault_mac(&f->cx, VAULT_RECOVERY, STR("y"), b), ERR_NONE);
    assert_memory_not_equal(a, b, sizeof a);
    vault_again(f, MASTER_A, STR_NONE);
    assert_int_equal(vault_mac(&f->cx, VAULT_RECOVERY, STR("x"), b), ERR_NONE);
    assert_memory_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TV(test_what_was_sealed_opens_again),
        TV(test_the_text_names_version_and_key),
        TV(test_the_same_text_is_never_sealed_the_same),
        TV(test_another_place_does_not_open_it),
        TV(test_a_wrapped_key_opens_in_its_own_row_only),
        TV(test_every_changed_character_is_noticed),
        TV(test_each_team_has_a_key_of_its_own_and_each_use_is_counted),
        TV(test_a_key_is_followed_by_the_next_version_before_its_uses_end),
        TV(test_a_key_of_a_unit_that_failed_is_never_used),
        TV(test_without_a_master_key_nothing_is_sealed_and_it_says_why),
        TV(test_another_master_key_is_refused_at_the_start_by_its_id),
        TV(test_a_damaged_key_of_hashes_is_told_at_the_start),
        TV(test_a_text_from_before_the_vault_opens),
        TV(test_a_text_from_before_the_vault_needs_its_master_key),
        TV(test_keys_of_hashes_go_on_where_there_are_hashes),
        TV(test_a_log_without_a_key_gets_a_random_one),
        TV(test_a_mac_depends_on_its_key_and_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
