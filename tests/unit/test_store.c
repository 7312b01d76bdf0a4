/* The store on SQLite: opening, values and rows, constraints, the statement cache, savepoints,
 * reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>
#include <sys/stat.h>

#include "sqlite_store.h"

/* --- Opening --- */

static void test_a_file_is_made_for_us_alone(void **state)
{
    struct fix *f = *state;
    struct stat st;

    assert_int_equal(stat(str_cstr(&f->cx.arena, store_path(f->s)), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(store_reads_inline(f->s));
    assert_false(store_is_postgres(f->s));
    assert_int_equal(store_writers(f->s), 1);
}

static void test_other_schemes_are_refused(void **state)
{
    static const char *const bad[] = { "", "sqlite:", "mysql://x", "/tmp/x.db" };
    struct fix *f = *state;
    struct store *s = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_conf conf = { .database = str_of(bad[i]) };

        assert_int_equal(store_open(&f->cx, &conf, &s), ERR_USAGE);
        ctx_clear(&f->cx);
    }
    assert_null(s);
}

struct item {
    struct rec_bits bits;
    int64_t id;
    struct str s;
    int64_t n;
};
static const struct field item_fields[] = {
    { .name = "id", .type = F_INT, .offset = offsetof(struct item, id) },
    { .name = "s", .type = F_STR, .offset = offsetof(struct item, s) },
    { .name = "n", .type = F_INT, .offset = offsetof(struct item, n) },
};
static const struct rec rec_item = REC("Item", struct item, item_fields, "A row.");

/* --- Statements --- */

static enum err_code statements_fn(struct ctx *cx, struct db *db, void *arg)
{
    char *text = arena_alloc(&cx->arena, 100000);
    struct item it, *v;
    struct list l = { 0 };

    (void)arg;
    memset(text, 'y', 100000);
    /* Numbers decide, not the order of appearance; one may be used twice. */
    assert_int_equal(db_run(cx, db, "INSERT INTO item (s, id, n) VALUES ($2, $1, $1)",
                            ARGS(VI(7), VT(((struct str){ text, 100000 })))),
                     ERR_NONE);
    assert_int_equal(db_run(cx, db, "INSERT INTO item (id, s, n) VALUES ($1, $2, $3)",
                            ARGS(VI(INT64_MAX), VT(STR_NONE), VNULL)),
                     ERR_NONE);
    assert_int_equal(
        db_one(cx, db, &rec_item, "SELECT id, s, n FROM item WHERE id = $1", ARGS(VI(7)), &it),
        ERR_NONE);
    memset(text, 'z', 100000);
    assert_int_equal(it.n, 7);
    assert_int_equal(it.s.n, 100000);
    assert_int_equal(it.s.p[99999], 'y'); /* a copy */
    assert_int_equal(
        db_list(cx, db, &rec_item, "SELECT id, s, n FROM item ORDER BY id", NO_ARGS, &l), ERR_NONE);
    v = l.v;
    assert_int_equal(l.n, 2);
    assert_true(v[1].id == INT64_MAX);
    assert_false(REC_HAS(&v[1], s));
    assert_false(REC_HAS(&v[1], n));
    assert_int_equal(
        db_one(cx, db, &rec_item, "SELECT id FROM item WHERE id = 1 {claim}", NO_ARGS, &it),
        ERR_NOT_FOUND);
    assert_int_equal(cx->err, ERR_NONE); /* told, not recorded */
    assert_int_equal(db_list(cx, db, &rec_item, "SELECT id FROM item WHERE id = 1", NO_ARGS, &l),
                     ERR_NONE);
    assert_int_equal(l.n, 0);
    return ERR_NONE;
}

static void test_values_and_rows(void **state)
{
    struct fix *f = *state;

    assert_int_equal(store_tx(&f->cx, f->s, statements_fn, NULL), ERR_NONE);
}

static void test_constraints_have_their_codes(void **state)
{
    struct fix *f = *state;

    assert_int_equal(exec(f, "INSERT INTO item (id) VALUES (1)"), ERR_NONE);
    assert_int_equal(exec(f, "INSERT INTO item (id) VALUES (1)"), ERR_UNIQUE);
    assert_int_equal(exec(f, "INSERT INTO part (item_id) VALUES (2)"), ERR_CONFLICT);
    assert_int_equal(exec(f, "INSERT INTO nowhere VALUES (2)"), ERR_INTERNAL);
}

static enum err_code add_up(struct ctx *cx, void *row, void *arg)
{
    const struct rec_num *num = row;
    int64_t *sum = arg;

    *sum += num->n;
    return *sum > 1000 ? fail(cx, TOO_LARGE, "enough") : ERR_NONE;
}

static enum err_code many_texts_fn(struct ctx *cx, struct db *db, void *arg)
{
    int64_t sum = 0;

    (void)arg;
    for (int turn = 0; turn < 2; turn++) /* more texts than are kept, twice */
        for (int i = 0; i < DB_STMTS_MAX + 20; i++) {
            enum err_code e =
                db_each(cx, db, &rec_num, str_printf(&cx->arena, "SELECT %d AS n", i % 2).p,
                        NO_ARGS, add_up, &sum);

            if (!e)
                e = db_each(cx, db, &rec_num, str_printf(&cx->arena, "SELECT 1 AS n, %d AS n", i).p,
                            NO_ARGS, add_up, &sum);
            if (e)
                return e;
        }
    return ERR_NONE;
}

static void test_more_texts_than_are_kept(void **state)
{
    struct fix *f = *state;

    /* Stops with the callback's own code once the sum passes 1000, which needs both turns. */
    assert_int_equal(store_tx(&f->cx, f->s, many_texts_fn, NULL), ERR_TOO_LARGE);
}

static const char SQL_COUNTING[] = "SELECT id AS n FROM item ORDER BY id";

static enum err_code inner_count(struct ctx *cx, void *row, void *arg)
{
    (void)cx;
    (void)row;
    ++*(int *)arg;
    return ERR_NONE;
}

struct nest {
    struct db *db;
    int n;
};

static enum err_code outer_count(struct ctx *cx, void *row, void *arg)
{
    struct nest *nest = arg;

    (void)row;
    return db_each(cx, nest->db, &rec_num, SQL_COUNTING, NO_ARGS, inner_count, &nest->n);
}

static enum err_code nest_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct nest *nest = arg;

    nest->db = db;
    return db_each(cx, db, &rec_num, SQL_COUNTING, NO_ARGS, outer_count, nest);
}

static void test_a_text_may_run_inside_itself(void **state)
{
    struct fix *f = *state;
    struct nest nest = { 0 };

    for (int64_t id = 1; id <= 3; id++)
        assert_int_equal(tx_insert(f, id), ERR_NONE);

    assert_int_equal(store_read(&f->cx, f->s, nest_fn, &nest), ERR_NONE);
    assert_int_equal(nest.n, 9);
}

static enum err_code savepoint_fn(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    assert_int_equal(insert(cx, db, 1), ERR_NONE);
    assert_int_equal(db_savepoint(cx, db), ERR_NONE);
    assert_int_equal(insert(cx, db, 2), ERR_NONE);
    assert_int_equal(db_savepoint(cx, db), ERR_NONE);
    assert_int_equal(insert(cx, db, 3), ERR_NONE);
    assert_int_equal(db_rollback_to(cx, db), ERR_NONE);
    assert_int_equal(db_release(cx, db), ERR_NONE);
    assert_int_equal(db_savepoint(cx, db), ERR_NONE);
    assert_int_equal(insert(cx, db, 4), ERR_NONE);
    return db_rollback_to(cx, db);
}

static void test_savepoints_take_back_only_their_part(void **state)
{
    struct fix *f = *state;

    assert_int_equal(store_tx(&f->cx, f->s, savepoint_fn, NULL), ERR_NONE);

    assert_int_equal(items(f), 2);
    assert_int_equal(number(f, "SELECT MAX(id) AS n FROM item"), 2);
}

static enum err_code read_writes_fn(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    return insert(cx, db, 1);
}

static void test_readers_cannot_write(void **state)
{
    struct fix *f = *state;

    assert_int_not_equal(store_read(&f->cx, f->s, read_writes_fn, NULL), ERR_NONE);
    assert_int_equal(items(f), 0);
}

static enum err_code list_huge_fn(struct ctx *cx, struct db *db, void *arg)
{
    return db_list(cx, db, &rec_text,
                   "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)"
                   " SELECT hex(zeroblob(50000)) AS s FROM c",
                   NO_ARGS, arg);
}

static void test_a_result_past_the_memory_cap_is_refused(void **state)
{
    struct fix *f = *state;
    struct list l = { 0 };

    assert_int_equal(store_read(&f->cx, f->s, list_huge_fn, &l), ERR_TOO_LARGE);
}

/* --- Texts --- */

static void test_reads_are_told_from_writes(void **state)
{
    (void)state;
    assert_true(sql_is_read("SELECT 1"));
    assert_true(sql_is_read("  (select 1)"));
    assert_true(sql_is_read("WITH x AS (SELECT 1) SELECT * FROM x"));
    assert_false(sql_is_read("WITH x AS (SELECT 1) UPDATE t SET a = 1"));
    assert_false(sql_is_read("with x as (delete from t returning id) select * from x"));
    assert_true(sql_is_read("WITH x AS (SELECT updated_ms FROM t) SELECT * FROM x"));
    assert_false(sql_is_read("INSERT INTO t SELECT 1"));
    assert_false(sql_is_read(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_file_is_made_for_us_alone),
        T(test_other_schemes_are_refused),
        T(test_values_and_rows),
        T(test_constraints_have_their_codes),
        T(test_more_texts_than_are_kept),
        T(test_a_text_may_run_inside_itself),
        T(test_savepoints_take_back_only_their_part),
        T(test_readers_cannot_write),
        T(test_a_result_past_the_memory_cap_is_refused),
        cmocka_unit_test(test_reads_are_told_from_writes),
    };

    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
