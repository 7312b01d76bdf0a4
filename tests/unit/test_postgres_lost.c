/* Facts about the PostgreSQL backend, against a real server: lost connections, row-level security,
 * deadlocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pg_server.h"

/* A read of one number, as a sign of life. */
static enum err_code life_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num n;

    (void)arg;
    return db_one(cx, db, &rec_num, "SELECT count(*) AS n FROM item", NO_ARGS, &n);
}

/* --- Lost connections --- */

static const char KILL_OTHERS[] =
    "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
    "WHERE application_name = 'tessera'";

static void test_a_backend_killed_while_idle_is_not_noticed(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);

    (void)state;
    assert_int_equal(pg_tx(s, add_item, &(struct work){ .id = 1 }), ERR_NONE);
    assert_int_equal(pg_read(s, life_unit, NULL), ERR_NONE);
    assert_true(pg_direct(KILL_OTHERS) >= 2);

    assert_int_equal(pg_tx(s, add_item, &(struct work){ .id = 2 }), ERR_NONE);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pg_read(s, life_unit, NULL), ERR_NONE);
    assert_int_equal(pg_direct("SELECT count(*) FROM item"), 2);
    store_close(s);
}

static enum err_code killed_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num n;
    enum err_code e = add_item(cx, db, arg);

    if (!e)
        e = db_one(cx, db, &rec_num, "SELECT count(*) AS n FROM item", NO_ARGS,
                   &n); /* the server has it all */
    if (e)
        return e;
    pg_direct(KILL_OTHERS);
    return db_run(cx, db, "INSERT INTO item (id) VALUES (1000)", NO_ARGS);
}

static void test_a_backend_killed_in_a_transaction_fails_it_and_the_next_works(void **state)
{
    struct store *s = pg_store(pg_conninfo, 1);

    (void)state;
    assert_int_equal(pg_tx(s, killed_unit, &(struct work){ .id = 1 }), ERR_UNAVAILABLE);
    assert_int_equal(pg_direct("SELECT count(*) FROM item"), 0);

    assert_int_equal(pg_tx(s, add_item, &(struct work){ .id = 2 }), ERR_NONE);
    assert_int_equal(pg_direct("SELECT sum(id) FROM item"), 2);
    store_close(s);
}

static void test_a_stopped_server_gives_unavailable_at_once_and_recovers(void **state)
{
    struct store *s;
    enum err_code e = ERR_UNAVAILABLE;
    struct ctx cx;

    (void)state;
    if (pg_own_folder[0] == '\0')
        skip();
    s = pg_store(pg_conninfo, 1);
    assert_int_equal(pg_tx(s, add_item, &(struct work){ .id = 1 }), ERR_NONE);
    assert_true(pg_script("stop", pg_own_folder, NULL, 0));

    int64_t start_us = clock_mono_us();
    for (int i = 0; i < 200; i++) {
        ctx_init(&cx, CTX_CAP_DEFAULT);
        assert_int_equal(store_tx(&cx, s, add_item, &(struct work){ .id = 2 }), ERR_UNAVAILABLE);
        assert_int_equal(cx.retry_after_s, 1);
        ctx_done(&cx);
    }
    assert_true(clock_mono_us() - start_us < 5000000);

    assert_true(pg_script("start", pg_own_folder, NULL, 0));
    int64_t until_us = clock_mono_us() + (int64_t)WAIT_S * 1000000;
    while (e == ERR_UNAVAILABLE && clock_mono_us() < until_us)
        e = pg_tx(s, add_item, &(struct work){ .id = 3 });
    assert_int_equal(e, ERR_NONE);
    assert_int_equal(pg_direct("SELECT sum(id) FROM item"), 4);
    store_close(s);
}

/* --- Row-level security --- */

static enum err_code see_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num n;
    const char *who = arg; /* "team/token", "*" = system, "" = nobody */
    struct str token = str_of(who), team = str_cut(&token, '/');
    enum err_code e;

    if (who[0] == '*')
        db_scope_system(db);
    else if (who[0])
        db_scope(db, team, token);
    e = db_one(cx, db, &rec_num, "SELECT COALESCE(SUM(bit), 0) AS n FROM owned", NO_ARGS, &n);
    cx->retry_after_s = n.n; /* the test's way out */
    return e;
}

static long seen(struct store *s, bool in_tx, const char *who)
{
    struct ctx cx;
    char text[32];

    snprintf(text, sizeof text, "%s", who);
    ctx_init(&cx, CTX_CAP_DEFAULT);
    assert_int_equal(in_tx ? store_tx(&cx, s, see_unit, text) : store_read(&cx, s, see_unit, text),
                     ERR_NONE);
    long n = (long)cx.retry_after_s;
    ctx_done(&cx);
    return n;
}

static enum err_code foreign_unit(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    db_scope(db, STR("a"), STR("t1"));
    return db_run(cx, db, "INSERT INTO owned VALUES ('b', 't3', 8)", NO_ARGS);
}

/* After a rollback the session has its old scope again: the unit must be given its own all the
 * same. */
static enum err_code scope_after_rollback_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num n;
    int64_t *seen_after = arg;

    assert_int_equal(db_savepoint(cx, db), ERR_NONE);
    db_scope(db, STR("a"), STR("t1"));
    assert_int_equal(db_one(cx, db, &rec_num, "SELECT 1 / 0 AS n", NO_ARGS, &n), ERR_INTERNAL);
    ctx_clear(cx);
    assert_int_equal(db_rollback_to(cx, db), ERR_NONE);
    assert_int_equal(
        db_one(cx, db, &rec_num, "SELECT COALESCE(SUM(bit), 0) AS n FROM owned", NO_ARGS, &n),
        ERR_NONE);
    *seen_after = n.n;
    return ERR_NONE;
}

/* The pg_conninfo of a user that row-level security binds. */
static const char *as_plain_user(void)
{
    pg_direct("DROP TABLE IF EXISTS owned");
    pg_direct("CREATE TABLE owned (team_id TEXT, token_id TEXT, bit BIGINT)");
    pg_direct("INSERT INTO owned VALUES ('a', 't1', 1), ('a', 't2', 2), ('b', 't3', 4)");
    pg_direct("ALTER TABLE owned ENABLE ROW LEVEL SECURITY");
    pg_direct(
        "CREATE POLICY tenant ON owned USING ((team_id = current_setting('tessera.team', true) AND "
        "(current_setting('tessera.token', true) = '' OR token_id = current_setting('tessera.token', true))) "
        "OR current_setting('tessera.system', true) = 'on')");
    pg_direct("DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tessera_plain') "
              "THEN CREATE ROLE tessera_plain LOGIN PASSWORD 'plain'; END IF; END$$");
    pg_direct("GRANT ALL ON owned, item TO tessera_plain");
    return str_printf(&pg_texts, "%s%cuser=tessera_plain&password=plain", pg_conninfo,
                      strchr(pg_conninfo, '?') ? '&' : '?')
        .p;
}

static void test_row_level_security_follows_the_unit(void **state)
{
    struct store *s = pg_store(as_plain_user(), 1);
    int64_t after = 0;

    (void)state;
    for (int in_tx = 0; in_tx < 2; in_tx++) {
        assert_int_equal(seen(s, in_tx, ""), 0);
        assert_int_equal(seen(s, in_tx, "a/t1"), 1);
        assert_int_equal(seen(s, in_tx, "a/t2"), 2);
        assert_int_equal(seen(s, in_tx, "a/"), 3);
        assert_int_equal(seen(s, in_tx, "b/t1"), 0);
        assert_int_equal(seen(s, in_tx, "*"), 7);
        assert_int_equal(seen(s, in_tx, "b/t3"), 4);
        assert_int_equal(seen(s, in_tx, ""), 0);
    }
    log_set_level(LOG_ERROR + 1);
    assert_int_equal(pg_tx(s, foreign_unit, NULL), ERR_INTERNAL); /* refused by the policy */
    assert_int_equal(pg_tx(s, scope_after_rollback_unit, &after), ERR_NONE);
    log_set_level(LOG_ERROR);
    assert_int_equal(after, 1);
    assert_int_equal(seen(s, true, ""), 0);
    assert_int_equal(pg_direct("SELECT count(*) FROM owned"), 3);
    store_close(s);
}

/* --- Deadlocks --- */

static sem_t met[2]; /* each unit posts its own and waits for the other's, once */

static enum err_code cross_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct work *w = arg; /* id 1 or 2: the row to lock first */
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "UPDATE item SET small = small + 1 WHERE id = $1 RETURNING id AS n",
                             ARGS(VI(w->id)), &n);
    if (e)
        return e;
    if (w->u.tag == w && w->err == ERR_NONE) { /* the first run only */
        w->err = ERR_CONFLICT;
        sem_post(&met[w->id - 1]);
        assert_true(wait_for(&met[2 - w->id]));
    }
    return db_one(cx, db, &rec_num,
                  "UPDATE item SET small = small + 10 WHERE id = $1 RETURNING id AS n",
                  ARGS(VI(3 - w->id)), &n);
}

static void test_a_deadlock_is_run_again(void **state)
{
    struct store *s = pg_store(pg_conninfo, 2);
    struct store_stats stats;
    struct work a, b;

    (void)state;
    pg_direct("INSERT INTO item (id, small) VALUES (1, 0), (2, 0)");
    sem_init(&met[0], 0, 0);
    sem_init(&met[1], 0, 0);
    work_start(s, &a, cross_unit, 1, 0);
    work_start(s, &b, cross_unit, 2, 1);

    assert_int_equal(work_end(&a), ERR_NONE);
    assert_int_equal(work_end(&b), ERR_NONE);
    assert_int_equal(pg_direct("SELECT sum(small) FROM item"), 22); /* each unit exactly once */
    store_stats(s, &stats);
    assert_in_range(stats.reruns, 1, 2);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_backend_killed_while_idle_is_not_noticed, pg_test_begin),
        cmocka_unit_test_setup(test_a_backend_killed_in_a_transaction_fails_it_and_the_next_works,
                               pg_test_begin),
        cmocka_unit_test_setup(test_a_stopped_server_gives_unavailable_at_once_and_recovers,
                               pg_test_begin),
        cmocka_unit_test_setup(test_row_level_security_follows_the_unit, pg_test_begin),
        cmocka_unit_test_setup(test_a_deadlock_is_run_again, pg_test_begin),
    };

    return cmocka_run_group_tests(tests, pg_server_up, pg_server_down);
}
