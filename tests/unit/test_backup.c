/* What happens beside the writer on SQLite: another process's lock, the log's cap, backup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "sqlite_store.h"

static int64_t wal_bytes(struct fix *f)
{
    struct store_stats st;

    store_stats(f->s, &st);
    return st.wal_bytes;
}

/* --- Beside the writer --- */

static void test_a_writer_elsewhere_is_waited_for_then_refused(void **state)
{
    struct fix *f = *state;
    sqlite3 *other = NULL;
    int64_t start;

    assert_int_equal(sqlite3_open(str_cstr(&f->cx.arena, store_path(f->s)), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    start = clock_mono_us();
    assert_int_equal(tx_insert(f, 1), ERR_UNAVAILABLE);
    assert_in_range((clock_mono_us() - start) / 1000, 1500, 10000);
    ctx_clear(&f->cx);

    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(tx_insert(f, 1), ERR_NONE);
    sqlite3_close(other);
}

static enum err_code big_fn(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    return db_run(cx, db, "INSERT INTO item (s) VALUES (hex(zeroblob(1000000)))", NO_ARGS);
}

static void test_the_log_stays_under_its_cap(void **state)
{
    struct fix *f = *state;

    for (int i = 0; i < 70; i++) /* 140 MB */
        assert_int_equal(store_tx(&f->cx, f->s, big_fn, NULL), ERR_NONE);

    assert_in_range(wal_bytes(f), 1, 70 << 20);
    assert_int_equal(items(f), 70);
}

/* --- Backup --- */

static void make_day(struct fix *f, const char *name)
{
    sqlite3 *day = NULL;

    (void)mkdir(str_printf(&f->cx.arena, "%s/data/t.db.usage", f->dir).p, 0700);
    assert_int_equal(
        sqlite3_open(str_printf(&f->cx.arena, "%s/data/t.db.usage/%s", f->dir, name).p, &day),
        SQLITE_OK);
    assert_int_equal(sqlite3_exec(day, "CREATE TABLE u (id INTEGER); INSERT INTO u VALUES (5)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(day);
}

static int64_t file_number(struct fix *f, const char *name, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int64_t n;

    assert_int_equal(sqlite3_open_v2(str_printf(&f->cx.arena, "%s/%s", f->dir, name).p, &db,
                                     SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void test_backup_copies_database_and_archive(void **state)
{
    struct fix *f = *state;
    const char *path = str_printf(&f->cx.arena, "%s/copy.db", f->dir).p;
    struct stat st;

    for (int64_t id = 1; id <= 50; id++)
        assert_int_equal(tx_insert(f, id), ERR_NONE);
    make_day(f, "2024-01-15.db");
    fclose(fopen(str_printf(&f->cx.arena, "%s/data/t.db.usage/notes.txt", f->dir).p, "w"));

    assert_int_equal(store_backup(&f->cx, f->s, path), ERR_NONE);

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(file_number(f, "copy.db", "SELECT COUNT(*) FROM item"), 50);
    assert_int_equal(file_number(f, "copy.db.usage/2024-01-15.db", "SELECT id FROM u"), 5);

    assert_int_equal(store_backup(&f->cx, f->s, path), ERR_USAGE); /* never overwrites */
    assert_int_equal(file_number(f, "copy.db", "SELECT COUNT(*) FROM item"), 50);
}

static void test_backup_to_nowhere_leaves_nothing(void **state)
{
    struct fix *f = *state;

    assert_int_equal(
        store_backup(&f->cx, f->s, str_printf(&f->cx.arena, "%s/none/copy.db", f->dir).p),
        ERR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_SERVING(test_a_writer_elsewhere_is_waited_for_then_refused),
        T_SERVING(test_the_log_stays_under_its_cap),
        T_SERVING(test_backup_copies_database_and_archive),
        T(test_backup_to_nowhere_leaves_nothing),
    };

    return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}
