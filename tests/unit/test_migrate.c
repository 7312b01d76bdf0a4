/* Migrations on SQLite: sections, order, one transaction each, and the two refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crypt.h"
#include "store/backend.h"

/* The program's own table is replaced by this one. The third needs a table that a test makes
 * first. */
const struct migration migrations[] = {
    { "0001_a",
      "-- first\nCREATE TABLE a (id TEXT PRIMARY KEY);\nINSERT INTO a VALUES ('both');\n" },
    { "0002_b",
      "-- {sqlite}\nINSERT INTO a VALUES ('sqlite');\n-- {postgres}\nINSERT INTO a VALUES ('postgres');\n"
      "-- {both}\nINSERT INTO a VALUES ('after');" },
    { "0003_c", "CREATE TABLE c (id TEXT);\nINSERT INTO made_by_test VALUES ('x');\n" },
    { NULL, NULL },
};

struct fix {
    char dir[64];
    struct ctx cx;
    struct store *s;
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct store_conf conf = { 0 };

    assert_non_null(f);
    crypt_init();
    snprintf(f->dir, sizeof f->dir, "/tmp/tessera-migrate-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    conf.database = str_printf(&f->cx.arena, "sqlite:%s/t.db", f->dir);
    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    store_close(f->s);
    unlink(str_printf(&f->cx.arena, "%s/t.db", f->dir).p);
    assert_int_equal(rmdir(f->dir), 0);
    ctx_done(&f->cx);
    free(f);
    return 0;
}

static enum err_code script_fn(struct ctx *cx, struct db *db, void *arg)
{
    return db_run(cx, db, arg, NO_ARGS);
}

static void run(struct fix *f, const char *sql)
{
    assert_int_equal(store_tx(&f->cx, f->s, script_fn, (void *)(uintptr_t)sql), ERR_NONE);
}

struct ask {
    const char *sql;
    int64_t n;
};

static enum err_code ask_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct ask *ask = arg;
    struct rec_num num;
    enum err_code e = db_one(cx, db, &rec_num, ask->sql, NO_ARGS, &num);

    ask->n = num.n;
    return e;
}

static int64_t number(struct fix *f, const char *sql)
{
    struct ask ask = { sql, -1 };

    assert_int_equal(store_read(&f->cx, f->s, ask_fn, &ask), ERR_NONE);
    return ask.n;
}

static void migrate_all(struct fix *f)
{
    int applied = 0;

    run(f, "CREATE TABLE made_by_test (id TEXT)");
    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);
    assert_int_equal(applied, 3);
}

static void test_all_are_applied_once(void **state)
{
    struct fix *f = *state;
    int applied = -1;

    migrate_all(f);
    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);

    assert_int_equal(applied, 0);
    assert_int_equal(
        number(f, "SELECT COUNT(*) AS n FROM schema_migration WHERE length(checksum) = 64"), 3);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM made_by_test"), 1);
}

static void test_sections_pick_the_database(void **state)
{
    struct fix *f = *state;

    migrate_all(f);

    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM a"), 3);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM a WHERE id = 'postgres'"), 0);
    assert_int_equal(
        number(f, "SELECT COUNT(*) AS n FROM a WHERE id IN ('both', 'sqlite', 'after')"), 3);
}

static void test_a_failing_one_leaves_nothing_and_can_be_repeated(void **state)
{
    struct fix *f = *state;
    int applied = -1;

    assert_int_not_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);
    ctx_clear(&f->cx);

    assert_int_equal(applied, 2);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM sqlite_schema WHERE name = 'c'"), 0);
    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM schema_migration"), 2);

    run(f, "CREATE TABLE made_by_test (id TEXT)");
    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);
    assert_int_equal(applied, 1);
}

static void test_an_edited_one_refuses(void **state)
{
    struct fix *f = *state;
    int applied;

    migrate_all(f);
    run(f, "UPDATE schema_migration SET checksum = 'other' WHERE name = '0002_b'");

    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_CONFLICT);
    assert_non_null(strstr(f->cx.err_text.p, "0002_b was edited"));
}

static void test_a_newer_database_refuses(void **state)
{
    struct fix *f = *state;
    int applied;

    migrate_all(f);
    run(f, "INSERT INTO schema_migration VALUES ('0099_z', 'x', 1)");

    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_CONFLICT);
    assert_non_null(strstr(f->cx.err_text.p, "newer than this program"));
    assert_non_null(strstr(f->cx.err_text.p, "0099_z"));
}

static void test_ready_only_when_all_are_applied(void **state)
{
    struct fix *f = *state;
    int applied;

    assert_int_not_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);
    ctx_clear(&f->cx);
    assert_int_equal(store_ready(&f->cx, f->s), ERR_UNAVAILABLE);
    ctx_clear(&f->cx);

    run(f, "CREATE TABLE made_by_test (id TEXT)");
    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);

    assert_int_equal(store_ready(&f->cx, f->s), ERR_NONE);
}

static void test_works_while_serving(void **state)
{
    struct fix *f = *state;

    assert_int_equal(store_start(&f->cx, f->s, NULL), ERR_NONE);

    migrate_all(f);

    assert_int_equal(store_ready(&f->cx, f->s), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_are_applied_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sections_pick_the_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failing_one_leaves_nothing_and_can_be_repeated,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_edited_one_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_newer_database_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ready_only_when_all_are_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_works_while_serving, setup, teardown),
    };

    return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
