/* New data keys for stored secrets: everything opens before, between and after; a step that fails
 * anywhere is gone on from; what does not open is left as it is and reported. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/fault.h"
#include "vault_planted.h"

static int64_t keys(struct fix *f, const char *team, const char *state)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) AS n FROM vault_key WHERE purpose = 'data' AND team_id = '%s' AND "
             "state = '%s'",
             team, state);
    return number(f, sql);
}

/* ---- data keys ---- */

static void test_a_rotation_seals_all_of_its_team_anew_and_nothing_else(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);

    assert_int_equal(r.version, 2);
    assert_int_equal(r.resealed, 2 * SECRETS);
    assert_int_equal(r.retired, 1);
    assert_int_equal(r.quarantined + r.kept + r.is_resumed, 0);
    assert_int_equal(keys(f, TEAM, "active"), 1);
    assert_int_equal(keys(f, TEAM, "retired"), 1);
    assert_int_equal(keys(f, OTHER_TEAM, "retired") + keys(f, "", "retired"), 0);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM team_secret t JOIN vault_key k ON "
                               "k.team_id = t.team_id AND k.id = substr(t.secret, 4, 16) "
                               "WHERE k.version = 2"),
                     SECRETS);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_rotation"), 0);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'vault.rotate' "
                               "AND team_id = '" TEAM "'"),
                     1);
    all_open(f);
}

static void test_what_belongs_to_no_team_is_rotated_by_itself(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    assert_int_equal(rotate(f, "", &r), ERR_NONE);
    assert_int_equal(r.resealed, SECRETS);
    assert_int_equal(keys(f, TEAM, "retired"), 0);
    all_open(f);
}

static void test_a_team_without_secrets_gets_no_key(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    assert_int_equal(rotate(f, "00000000-0000-7000-8000-000000000009", &r), ERR_NONE);
    assert_int_equal(r.version, 0);
    assert_int_equal(keys(f, "00000000-0000-7000-8000-000000000009", "active"), 0);
}

static void test_a_retired_key_still_opens_what_a_backup_puts_back(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    exec(f, "CREATE TABLE backup AS SELECT * FROM team_secret");
    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);
    exec(f, "UPDATE team_secret SET secret = (SELECT b.secret FROM backup b WHERE b.team_id = "
            "team_secret.team_id AND b.id = team_secret.id)");
    all_open(f);
    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);
    assert_int_equal(r.resealed, 2 * SECRETS);
    all_open(f);
}

static void test_a_dry_run_counts_and_changes_nothing(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;
    struct vault_ask ask = { .team_id = STR(TEAM), .batch = 3, .is_dry = true };

    exec(f, "UPDATE team_secret SET secret = 'v2.0123456789abcdef.' || substr(secret, 21) "
            "WHERE id = 'r2' AND team_id = '" TEAM "'");
    exec(f, "CREATE TABLE before AS SELECT * FROM team_secret");
    assert_int_equal(vault_rotate(&f->cx, f->s, &ask, &r), ERR_NONE);

    assert_int_equal(r.version, 2);
    assert_int_equal(r.resealed, 2 * SECRETS - 1);
    assert_int_equal(r.quarantined, 1);
    assert_int_equal(r.is_dry, 1);
    assert_int_equal(keys(f, TEAM, "active"), 1);
    assert_int_equal(keys(f, TEAM, "old"), 0);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_quarantine"), 0);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM before b JOIN team_secret t ON "
                               "t.team_id = b.team_id AND t.id = b.id AND t.secret = b.secret"),
                     SECRETS + 1);
}

/* Every statement, every COMMIT and every answer after one fails once at every place. */
static void rotate_through_faults(struct fix *f, enum fault_kind kind)
{
    struct vault_rotated r;
    int64_t version = 1;
    int n = 0;
    bool is_over = false;

    while (!is_over) {
        assert_true(++n < STEPS_MAX);
        fault_arm(kind, n);
        enum err_code e = rotate(f, TEAM, &r);
        is_over = !fault_fired();
        fault_setup(NULL);
        assert_true(e == ERR_NONE || !is_over);
        all_open(f);
        assert_int_equal(keys(f, TEAM, "active"), 1);
        if (e) {
            assert_int_equal(e, ERR_UNAVAILABLE);
            assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);
            all_open(f);
        }
        assert_true(r.version == version || r.version == version + 1 || r.version == version + 2);
        version = r.version;
        assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_rotation"), 0);
        assert_int_equal(keys(f, TEAM, "old"), 0);
    }
    assert_true(n > 10);
}

static void test_a_statement_that_fails_anywhere_is_gone_on_from(void **state)
{
    rotate_through_faults(*state, FAULT_DB);
}

static void test_a_commit_that_fails_anywhere_is_gone_on_from(void **state)
{
    rotate_through_faults(*state, FAULT_COMMIT);
}

static void test_an_answer_lost_after_any_commit_is_gone_on_from(void **state)
{
    rotate_through_faults(*state, FAULT_COMMITTED);
}

static void test_a_rotation_that_was_cut_off_goes_on_to_the_same_version(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    fault_arm(FAULT_COMMIT, 4); /* begin, two batches, then this one */
    assert_int_equal(rotate(f, TEAM, &r), ERR_UNAVAILABLE);
    fault_setup(NULL);
    assert_int_equal(number(f, "SELECT resealed AS n FROM vault_rotation"), 4);
    assert_int_equal(keys(f, TEAM, "old"), 1);
    all_open(f);

    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);
    assert_int_equal(r.is_resumed, 1);
    assert_int_equal(r.version, 2);
    assert_int_equal(r.resealed, 2 * SECRETS);
    all_open(f);
}

/* ---- quarantine ---- */

static void test_rows_that_do_not_open_are_left_as_they_are_and_reported(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    exec(f, "UPDATE team_secret SET secret = 'not sealed at all' WHERE id = 'r1'");
    exec(f, "UPDATE team_secret SET secret = 'v2.0123456789abcdef.' || substr(secret, 21) "
            "WHERE id = 'r2'");
    exec(f, "UPDATE team_secret SET secret = (SELECT s.secret FROM team_secret s WHERE s.id = 'r4')"
            " WHERE id = 'r3'"); /* a text that was moved */
    exec(f, "CREATE TABLE before AS SELECT * FROM team_secret WHERE id IN ('r1', 'r2', 'r3')");

    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);

    assert_int_equal(r.quarantined, 3);
    assert_int_equal(r.resealed, 2 * SECRETS - 3);
    assert_int_equal(r.kept, 1); /* r3 still names the first version */
    assert_int_equal(keys(f, TEAM, "old"), 1);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM before b JOIN team_secret t ON "
                               "t.team_id = b.team_id AND t.id = b.id AND t.secret = b.secret"),
                     3);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_quarantine WHERE "
                               "(row_id = 'r1' AND reason = 'malformed') OR "
                               "(row_id = 'r2' AND reason = 'no_key') OR "
                               "(row_id = 'r3' AND reason = 'damaged')"),
                     3);
}

static void test_the_quarantine_empties_when_rows_are_replaced_or_gone(void **state)
{
    struct fix *f = *state;
    struct vault_rotated r;

    exec(f, "UPDATE team_secret SET secret = (SELECT s.secret FROM team_secret s WHERE s.id = 'r4')"
            " WHERE id IN ('r2', 'r3')");
    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);
    assert_int_equal(r.quarantined, 2);
    exec(f, "UPDATE team_secret SET secret = NULL WHERE id = 'r2'");
    exec(f, "DELETE FROM team_secret WHERE id = 'r3'");

    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);

    assert_int_equal(r.quarantined + r.kept, 0);
    assert_int_equal(r.retired, 2);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM vault_quarantine"), 0);
}

/* ---- status ---- */

static enum err_code status_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct vault_status *s = arg;
    return vault_status(cx, db, s);
}

static bool holds(struct str s, const char *word)
{
    return memmem(s.p, s.n, word, strlen(word)) != NULL;
}

static void test_the_status_counts_texts_by_the_state_of_their_key(void **state)
{
    struct fix *f = *state;
    struct vault_status s;
    struct vault_rotated r;

    add_old(f);
    exec(f, "UPDATE team_secret SET secret = (SELECT s.secret FROM team_secret s WHERE s.id = 'r4')"
            " WHERE id = 'r3'");
    assert_int_equal(rotate(f, TEAM, &r), ERR_NONE);
    assert_int_equal(store_read(&f->cx, f->s, status_unit, &s), ERR_NONE);

    assert_int_equal(s.quarantine_total, 1);
    assert_int_equal(s.keys_total, 3 + 4);
    assert_true(holds(s.columns, "\"totp_secret\",\"texts\":1,\"active\":0,\"old\":0,\"retired\":0,"
                                 "\"v1\":1,\"unknown\":0"));
    assert_true(holds(s.columns, "\"team_secret\",\"column_name\":\"secret\",\"texts\":8,"
                                 "\"active\":7,\"old\":1,\"retired\":0,\"v1\":0,\"unknown\":0"));
    assert_true(holds(s.quarantine, "\"row_id\":\"r3\",\"reason\":\"damaged\""));
    assert_false(holds(s.keys, "wrapped"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TP(test_a_rotation_seals_all_of_its_team_anew_and_nothing_else),
        TP(test_what_belongs_to_no_team_is_rotated_by_itself),
        TP(test_a_team_without_secrets_gets_no_key),
        TP(test_a_retired_key_still_opens_what_a_backup_puts_back),
        TP(test_a_dry_run_counts_and_changes_nothing),
        TP(test_a_statement_that_fails_anywhere_is_gone_on_from),
        TP(test_a_commit_that_fails_anywhere_is_gone_on_from),
        TP(test_an_answer_lost_after_any_commit_is_gone_on_from),
        TP(test_a_rotation_that_was_cut_off_goes_on_to_the_same_version),
        TP(test_rows_that_do_not_open_are_left_as_they_are_and_reported),
        TP(test_the_quarantine_empties_when_rows_are_replaced_or_gone),
        TP(test_the_status_counts_texts_by_the_state_of_their_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
