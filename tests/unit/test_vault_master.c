/* A new master key: all keys are wrapped anew, no secret is touched, hashes stay what they were;
 * what it had sealed itself before there was a vault comes along. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/fault.h"
#include "vault_planted.h"

/* ---- the master key ---- */

static enum err_code rewrap(struct fix *f, bool is_dry, struct vault_rewrapped *out)
{
    struct vault_ask ask = { .batch = 2, .is_dry = is_dry };
    enum err_code e = vault_rewrap(&f->cx, f->s, &ask, out);
    ctx_clear(&f->cx);
    return e;
}

static void test_a_new_master_key_wraps_all_keys_and_touches_no_secret(void **state)
{
    struct fix *f = *state;
    struct vault_rewrapped r;
    unsigned char before[SHA256_LEN], after[SHA256_LEN];

    assert_int_equal(vault_mac(&f->cx, VAULT_RECOVERY, STR("x"), before), ERR_NONE);
    exec(f, "CREATE TABLE before AS SELECT * FROM team_secret");
    vault_again(f, MASTER_B, MASTER_A);
    all_open(f);
    assert_int_equal(rewrap(f, true, &r), ERR_NONE);
    assert_int_equal(r.rewrapped, 6);
    assert_int_equal(number(f, "SELECT COUNT(DISTINCT kek_id) AS n FROM vault_key"), 1);

    assert_int_equal(rewrap(f, false, &r), ERR_NONE);

    assert_int_equal(r.rewrapped, 6);
    assert_int_equal(r.damaged + r.resealed + r.quarantined, 0);
    vault_again(f, MASTER_B, STR_NONE); /* the old one is needed no more */
    all_open(f);
    assert_int_equal(vault_mac(&f->cx, VAULT_RECOVERY, STR("x"), after), ERR_NONE);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM before b JOIN team_secret t ON "
                               "t.team_id = b.team_id AND t.id = b.id AND t.secret = b.secret"),
                     SECRETS + 1);
    assert_int_equal(vault_start(&f->cx, f->s, MASTER_A, STR_NONE), ERR_NOT_CONFIGURED);
    ctx_clear(&f->cx);
}

static void rewrap_through_faults(struct fix *f, enum fault_kind kind)
{
    struct str now = MASTER_A, next = MASTER_B;
    struct vault_rewrapped r;
    bool is_over = false;
    int n = 0;

    while (!is_over) {
        assert_true(++n < STEPS_MAX);
        vault_again(f, next, now);
        fault_arm(kind, n);
        enum err_code e = rewrap(f, false, &r);
        is_over = !fault_fired();
        fault_setup(NULL);
        vault_again(f, next, now);
        all_open(f);
        if (e)
            assert_int_equal(rewrap(f, false, &r), ERR_NONE);
        vault_again(f, next, STR_NONE);
        all_open(f);
        struct str was = now;
        now = next;
        next = was;
    }
    assert_true(n > 3);
}

static void test_a_change_of_the_master_key_survives_faults_everywhere(void **state)
{
    for (int kind = FAULT_DB; kind <= FAULT_COMMITTED; kind++)
        rewrap_through_faults(*state, (enum fault_kind)kind);
}

static void test_a_damaged_key_is_reported_and_the_others_are_wrapped(void **state)
{
    struct fix *f = *state;
    struct vault_rewrapped r;

    exec(f, "UPDATE vault_key SET wrapped = 'AAAA' WHERE team_id = '" OTHER_TEAM "'");
    vault_again(f, MASTER_B, MASTER_A);
    assert_int_equal(rewrap(f, false, &r), ERR_NONE);

    assert_int_equal(r.rewrapped, 5);
    assert_int_equal(r.damaged, 1);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_key WHERE wrapped = 'AAAA'"), 1);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_quarantine WHERE table_name = "
                               "'vault_key' AND reason = 'key_damaged'"),
                     1);

    struct vault_rotated done;
    vault_again(f, MASTER_B, STR_NONE); /* it does not keep the server down */
    assert_int_equal(rotate(f, OTHER_TEAM, &done), ERR_NONE);
    assert_int_equal(done.version, 2);
    assert_int_equal(done.quarantined, 1);
    assert_int_equal(done.kept, 1);
}

/* ---- texts from before the vault ---- */

static enum err_code old_opens_unit(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    db_scope_system(db);
    struct str text =
        text_of(cx, db, "SELECT totp_secret AS s FROM app_user WHERE id = $1", "row-1");
    assert_true(str_starts(text, STR("v2.")));
    opens(cx, db, (struct vault_place){ "app_user", "totp_secret", STR_NONE, STR("row-1") }, text,
          STR("a secret of old"));
    return ERR_NONE;
}

static void test_texts_from_before_the_vault_come_under_a_data_key(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    add_old(f);
    assert_int_equal(rotate(f, "", &r), ERR_NONE);
    assert_int_equal(r.resealed, SECRETS + 1);
    assert_int_equal(store_read(&f->cx, f->s, old_opens_unit, NULL), ERR_NONE);
}

static void test_a_new_master_key_takes_the_texts_from_before_the_vault_along(void **state)
{
    struct fix *f = *state;
    struct vault_rewrapped r;

    add_old(f);
    vault_again(f, MASTER_B, MASTER_A);
    assert_int_equal(rewrap(f, false, &r), ERR_NONE);
    assert_int_equal(r.resealed, 1);
    vault_again(f, MASTER_B, STR_NONE);
    assert_int_equal(store_read(&f->cx, f->s, old_opens_unit, NULL), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TP(test_a_new_master_key_wraps_all_keys_and_touches_no_secret),
        TP(test_a_change_of_the_master_key_survives_faults_everywhere),
        TP(test_a_damaged_key_is_reported_and_the_others_are_wrapped),
        TP(test_texts_from_before_the_vault_come_under_a_data_key),
        TP(test_a_new_master_key_takes_the_texts_from_before_the_vault_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
