/* Facts about the PostgreSQL backend, against a real server: rows and types, the pipeline, what a
 * failure takes with it and what it leaves alone. test_postgres_lost.c has what goes on over
 * several connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/log.h"
#include "pg_server.h"

static sem_t gate_entered, gate_open;

/* Keeps its writer busy until the gate opens, so that what is queued meanwhile becomes one
 * batch. */
static enum err_code gate(struct ctx *cx, struct db *db, void *arg)
{
    (void)cx;
    (void)db;
    (void)arg;
    sem_post(&gate_entered);
    assert_true(wait_for(&gate_open));
    return ERR_NONE;
}

/* Units of add_item with these ids in one batch; their outcomes into err. */
static void add_in_one_batch(struct store *s, const int64_t *ids, enum err_code *err, size_t n)
{
    static struct work first, works[16];

    assert_true(n <= 16);
    sem_init(&gate_entered, 0, 0);
    sem_init(&gate_open, 0, 0);
    work_start(s, &first, gate, 0, 0);
    assert_true(wait_for(&gate_entered));
    for (size_t i = 0; i < n; i++)
        work_start(s, &works[i], add_item, ids[i], 0);
    sem_post(&gate_open);
    assert_int_equal(work_end(&first), ERR_NONE);
    for (size_t i = 0; i < n; i++)
        err[i] = work_end(&works[i]);
}

/* --- Rows and types --- */

struct item {
    struct rec_bits bits;
    int64_t id, ok, small, total;
    struct str name;
};
static const struct field item_fields[] = {
    { .name = "id", .type = F_INT, .offset = offsetof(struct item, id) },
    { .name = "ok", .type = F_BOOL, .offset = offsetof(struct item, ok) },
    { .name = "small", .type = F_INT, .offset = offsetof(struct item, small) },
    { .name = "total", .type = F_INT, .offset = offsetof(struct item, total) },
    { .name = "name", .type = F_STR, .offset = offsetof(struct item, name) },
};
static const struct rec rec_item = REC("Item", struct item, item_fields, "A row of the test.");

static enum err_code types_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct item *got = arg;
    enum err_code e = db_run(
        cx, db,
        "INSERT INTO item (id, name, ok, small) VALUES ($1, $2, $3 = 1, $4), (2, $5, false, NULL)",
        ARGS(VI(INT64_MIN), VT(STR("Zürich 🎫 'quoted' \\")), VI(1), VI(-7), VNULL));

    if (e)
        return e;
    e = db_one(cx, db, &rec_item,
               "SELECT id, name, ok, small, (SELECT SUM(id) FROM item WHERE id > 0) AS total FROM "
               "item WHERE id = $1",
               ARGS(VI(INT64_MIN)), &got[0]);
    if (!e)
        e = db_one(cx, db, &rec_item, "SELECT id, name, ok, small FROM item WHERE id = $1",
                   ARGS(VI(2)), &got[1]);
    if (!e)
        assert_true(str_eq(got[0].name, STR("Zürich 🎫 'quoted' \\")));
    return e;
}

static void test_values_come_back_as_they_went_in(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    struct item got[2];

    (void)state;
    assert_int_equal(pg_tx(s, types_unit, got), ERR_NONE);

    assert_int_equal(got[0].id, INT64_MIN);
    assert_int_equal(got[0].ok, 1);
    assert_int_equal(got[0].small, -7);
    assert_int_equal(got[0].total, 2);
    assert_int_equal(got[1].ok, 0);
    assert_false(REC_HAS(&got[1], small));
    assert_false(REC_HAS(&got[1], name));
    assert_null(got[1].name.p);
    store_close(s);
}

struct counted {
    int64_t n, sum, stop_at;
    enum err_code after;
    struct list list;
};

static enum err_code count_row(struct ctx *cx, void *row, void *arg)
{
    struct counted *c = arg;

    (void)cx;
    c->sum += ((struct rec_num *)row)->n;
    return ++c->n == c->stop_at ? ERR_CONFLICT : ERR_NONE;
}

static enum err_code series_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct counted *c = arg;
    enum err_code e =
        db_each(cx, db, &rec_num, "SELECT n FROM generate_series(1, $1::bigint) AS g (n)",
                ARGS(VI(20000)), count_row, c);
    struct rec_num one;

    c->after = db_one(cx, db, &rec_num, "SELECT 41 + 1 AS n", NO_ARGS, &one);
    if (!c->after)
        c->after = db_list(cx, db, &rec_num, "SELECT n FROM generate_series(1, 100) AS g (n)",
                           NO_ARGS, &c->list);
    assert_int_equal(one.n, 42);
    assert_int_equal(db_one(cx, db, &rec_num, "SELECT 1 AS n WHERE false", NO_ARGS, &one),
                     ERR_NOT_FOUND);
    return e;
}

static void test_rows_stream_and_a_stop_leaves_the_connection_usable(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    struct counted all = { 0 }, some = { .stop_at = 10 };

    (void)state;
    assert_int_equal(pg_read(s, series_unit, &all), ERR_NONE);
    assert_int_equal(pg_read(s, series_unit, &some), ERR_CONFLICT);

    assert_int_equal(all.n, 20000);
    assert_int_equal(all.sum, 200010000);
    assert_int_equal(some.n, 10);
    assert_int_equal(some.after, ERR_NONE);
    assert_int_equal(some.list.n, 100);
    store_close(s);
}

/* --- The pipeline --- */

/* More than the ring holds, and more bytes both ways than socket buffers take. */
#define MANY 5000

static enum err_code many_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct str big = *(struct str *)arg;

    for (int i = 0; i < MANY; i++) {
        enum err_code e = db_run(
            cx, db, "INSERT INTO item (id, name) VALUES ($1, $2) RETURNING name, name AS again",
            ARGS(VI(i), VT(big)));
        if (e)
            return e;
    }
    return ERR_NONE;
}

static void test_many_statements_with_large_answers_do_not_block(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    char *text = arena_alloc(&pg_texts, 4000);
    struct str big = { text, 4000 };

    (void)state;
    memset(text, 'x', 4000);
    assert_int_equal(pg_tx(s, many_unit, &big), ERR_NONE);

    assert_int_equal(pg_direct("SELECT count(*) FROM item WHERE length(name) = 4000"), MANY);
    store_close(s);
}

static enum err_code distinct_unit(struct ctx *cx, struct db *db, void *arg)
{
    int64_t *kept = arg;
    struct rec_num n = { 0 };
    enum err_code e = ERR_NONE;

    for (int i = 0; i < 3 * DB_STMTS_MAX && !e; i++) {
        e = db_one(cx, db, &rec_num, str_printf(&cx->arena, "SELECT %d AS n", i).p, NO_ARGS, &n);
        assert_int_equal(n.n, i);
    }
    if (!e)
        e = db_one(cx, db, &rec_num, "SELECT count(*) AS n FROM pg_prepared_statements", NO_ARGS,
                   &n);
    *kept = n.n;
    return e;
}

static void test_prepared_statements_have_a_maximum(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    int64_t kept = 0;

    (void)state;
    assert_int_equal(pg_tx(s, distinct_unit, &kept), ERR_NONE);

    assert_in_range(kept, 2, DB_STMTS_MAX);
    store_close(s);
}

/* --- Failures --- */

static void test_unique_violation_hits_only_its_own_unit(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    const int64_t ids[] = { 1, 2, 1, 3, 2, 4 };
    struct store_stats before, stats;
    enum err_code err[6];

    (void)state;
    store_stats(s, &before);
    add_in_one_batch(s, ids, err, 6);
    store_stats(s, &stats);

    const enum err_code want[] = { ERR_NONE, ERR_NONE, ERR_UNIQUE, ERR_NONE, ERR_UNIQUE, ERR_NONE };
    for (int i = 0; i < 6; i++)
        assert_int_equal(err[i], want[i]);
    assert_int_equal(stats.batches - before.batches, 2); /* the gate's and ours */
    assert_int_equal(stats.reruns - before.reruns, 1);
    assert_int_equal(pg_direct("SELECT count(*) FROM item"), 4);
    store_close(s);
}

struct bad {
    const char *sql;
    enum err_code want;
};

static enum err_code bad_unit(struct ctx *cx, struct db *db, void *arg)
{
    enum err_code e = db_run(cx, db, "INSERT INTO item (id) VALUES (77)", NO_ARGS);

    return e ? e : db_run(cx, db, ((struct bad *)arg)->sql, NO_ARGS);
}

static void test_errors_map_to_codes_and_leave_nothing_behind(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    struct bad bads[] = {
        { "INSERT INTO item (id) VALUES (77)", ERR_UNIQUE },
        { "INSERT INTO item_part VALUES (404, 1)", ERR_CONFLICT },
        { "SELECT no_such_column", ERR_INTERNAL },
        { "SELEKT 1", ERR_INTERNAL },
        { "SELECT 1 / (SELECT count(*) FROM item_part)", ERR_INTERNAL },
        { "DO $$BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END$$", ERR_UNAVAILABLE },
        { "DO $$BEGIN RAISE EXCEPTION 'ro' USING ERRCODE = '25006'; END$$", ERR_UNAVAILABLE },
        { "DO $$BEGIN RAISE EXCEPTION 'io' USING ERRCODE = '58030'; END$$", ERR_UNAVAILABLE },
    };

    (void)state;
    log_set_level(LOG_ERROR + 1); /* the server's words are expected here */
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++)
        assert_int_equal(pg_tx(s, bad_unit, &bads[i]), bads[i].want);
    log_set_level(LOG_ERROR);

    assert_int_equal(pg_direct("SELECT count(*) FROM item"), 0);
    assert_int_equal(pg_tx(s, add_item, &(struct work){ .id = 1 }), ERR_NONE);
    store_close(s);
}

static enum err_code levels_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num n;

    (void)arg;
    assert_int_equal(add_item(cx, db, &(struct work){ .id = 1 }), ERR_NONE);
    assert_int_equal(db_savepoint(cx, db), ERR_NONE);
    assert_int_equal(add_item(cx, db, &(struct work){ .id = 2 }), ERR_NONE);
    assert_int_equal(db_savepoint(cx, db), ERR_NONE);
    assert_int_equal(
        db_one(cx, db, &rec_num, "INSERT INTO item (id) VALUES (1) RETURNING id AS n", NO_ARGS, &n),
        ERR_UNIQUE);
    ctx_clear(cx);
    assert_int_equal(db_rollback_to(cx, db), ERR_NONE);
    assert_int_equal(add_item(cx, db, &(struct work){ .id = 3 }), ERR_NONE);
    assert_int_equal(db_release(cx, db), ERR_NONE);
    assert_int_equal(db_savepoint(cx, db), ERR_NONE);
    assert_int_equal(add_item(cx, db, &(struct work){ .id = 4 }), ERR_NONE);
    assert_int_equal(db_rollback_to(cx, db), ERR_NONE);
    return ERR_NONE;
}

static void test_savepoints_take_back_only_what_is_inside(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);

    (void)state;
    assert_int_equal(pg_tx(s, levels_unit, NULL), ERR_NONE);

    assert_int_equal(pg_direct("SELECT string_agg(id::text, '' ORDER BY id)::int FROM item"), 123);
    store_close(s);
}

static enum err_code star_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct list l;

    (void)arg;
    return db_list(cx, db, &rec_item, "SELECT * FROM item", NO_ARGS, &l);
}

static void test_a_changed_table_is_met_by_preparing_anew(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    enum err_code e = ERR_UNAVAILABLE;

    (void)state;
    assert_int_equal(pg_tx(s, star_unit, NULL), ERR_NONE);
    pg_direct("ALTER TABLE item ADD COLUMN total BIGINT");
    for (int i = 0; i < 2 && e == ERR_UNAVAILABLE; i++)
        e = pg_tx(s, star_unit, NULL);
    pg_direct("ALTER TABLE item DROP COLUMN total");

    assert_int_equal(e, ERR_NONE);
    store_close(s);
}

/* --- The backend without the store's batches --- */

static struct db *open_db(struct ctx *cx, struct store *s)
{
    struct db *db;

    assert_int_equal(backend_postgres.open(cx, s, true, &db), ERR_NONE);
    return db;
}

static void test_flush_names_the_first_unit_that_failed(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    struct ctx cx;
    int failed;

    (void)state;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct db *db = open_db(&cx, s);
    assert_int_equal(db->ops->begin(&cx, db, true), ERR_NONE);
    for (int i = 0; i < 6; i++) {
        db->ops->unit_mark(db, i);
        assert_int_equal(add_item(&cx, db, &(struct work){ .id = i % 3 }),
                         ERR_NONE); /* sent, not known yet */
        assert_true(db->has_written);
    }
    assert_int_equal(db->ops->flush(&cx, db, &failed), ERR_UNIQUE);
    assert_int_equal(failed, 3);
    ctx_clear(&cx);
    assert_int_equal(db->ops->commit(&cx, db), ERR_UNIQUE); /* must not pretend */
    db->ops->rollback(db);
    ctx_clear(&cx);
    assert_int_equal(db->ops->begin(&cx, db, true), ERR_NONE);
    assert_int_equal(add_item(&cx, db, &(struct work){ .id = 9 }), ERR_NONE);
    assert_int_equal(db->ops->commit(&cx, db), ERR_NONE);
    assert_int_equal(pg_direct("SELECT sum(id) FROM item"), 9);
    db->ops->close(db);
    ctx_done(&cx);
    store_close(s);
}

static enum err_code claim(struct ctx *cx, struct db *db)
{
    struct rec_num n;

    return db_one(cx, db, &rec_num, "SELECT id AS n FROM item WHERE id = $1 {claim}", ARGS(VI(1)),
                  &n);
}

static void test_a_claimed_row_is_skipped_by_others(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    struct ctx cx;

    (void)state;
    pg_direct("INSERT INTO item (id) VALUES (1)");
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct db *one = open_db(&cx, s), *two = open_db(&cx, s);
    assert_int_equal(one->ops->begin(&cx, one, true), ERR_NONE);
    assert_int_equal(two->ops->begin(&cx, two, true), ERR_NONE);
    assert_int_equal(claim(&cx, one), ERR_NONE);
    assert_int_equal(claim(&cx, two), ERR_NOT_FOUND);
    one->ops->rollback(one);
    assert_int_equal(claim(&cx, two), ERR_NONE);

    one->ops->close(one);
    two->ops->close(two);
    ctx_done(&cx);
    store_close(s);
}

static void test_scripts_run_whole_or_not_at_all(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);
    struct ctx cx;

    (void)state;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    log_set_level(LOG_ERROR + 1);
    struct db *db = open_db(&cx, s);
    assert_int_equal(db->ops->begin(&cx, db, true), ERR_NONE);
    assert_int_equal(add_item(&cx, db, &(struct work){ .id = 5 }), ERR_NONE);
    assert_int_equal(db->ops->exec_script(&cx, db, "INSERT INTO item (id) VALUES (6); SELEKT"),
                     ERR_INTERNAL);
    db->ops->rollback(db);
    ctx_clear(&cx);
    assert_int_equal(pg_direct("SELECT count(*) FROM item"), 0);
    assert_int_equal(db->ops->begin(&cx, db, true), ERR_NONE);
    assert_int_equal(
        db->ops->exec_script(&cx, db,
                             "INSERT INTO item (id) VALUES (6); INSERT INTO item (id) VALUES (7);"),
        ERR_NONE);
    assert_int_equal(add_item(&cx, db, &(struct work){ .id = 5 }), ERR_NONE);
    assert_int_equal(db->ops->commit(&cx, db), ERR_NONE);
    assert_int_equal(pg_direct("SELECT sum(id) FROM item"), 18);
    log_set_level(LOG_ERROR);
    db->ops->close(db);
    ctx_done(&cx);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_values_come_back_as_they_went_in, pg_test_begin),
        cmocka_unit_test_setup(test_rows_stream_and_a_stop_leaves_the_connection_usable,
                               pg_test_begin),
        cmocka_unit_test_setup(test_many_statements_with_large_answers_do_not_block, pg_test_begin),
        cmocka_unit_test_setup(test_prepared_statements_have_a_maximum, pg_test_begin),
        cmocka_unit_test_setup(test_unique_violation_hits_only_its_own_unit, pg_test_begin),
        cmocka_unit_test_setup(test_errors_map_to_codes_and_leave_nothing_behind, pg_test_begin),
        cmocka_unit_test_setup(test_savepoints_take_back_only_what_is_inside, pg_test_begin),
        cmocka_unit_test_setup(test_a_changed_table_is_met_by_preparing_anew, pg_test_begin),
        cmocka_unit_test_setup(test_flush_names_the_first_unit_that_failed, pg_test_begin),
        cmocka_unit_test_setup(test_a_claimed_row_is_skipped_by_others, pg_test_begin),
        cmocka_unit_test_setup(test_scripts_run_whole_or_not_at_all, pg_test_begin),
    };

    return cmocka_run_group_tests(tests, pg_server_up, pg_server_down);
}
