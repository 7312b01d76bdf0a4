/* The vault on PostgreSQL, as a role that row-level security binds: units of several writers seal
 * under a team's scope while its key is turned again and again; no text comes to be under a version
 * that was retired. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "pg_server.h"
#include "vault_store.h"

#define THREADS 4
#define ROTATIONS 15
#define TURNS_MAX 2000 /* of a thread; ends it when the test is stuck */

static struct store *store;
static struct ctx cx;
static atomic_bool stop;

static int setup(void **state)
{
    static char url[600];
    int applied;
    (void)state;
    pg_direct("DROP DATABASE IF EXISTS tessera_vault");
    pg_direct("DROP ROLE IF EXISTS vault_app");
    pg_direct("CREATE ROLE vault_app LOGIN");
    pg_direct("CREATE DATABASE tessera_vault OWNER vault_app");
    if (pg_own_folder[0])
        snprintf(url, sizeof url, "postgresql:///tessera_vault?host=%s&user=vault_app",
                 pg_own_folder);
    else
        snprintf(url, sizeof url, "postgresql:///tessera_vault%s",
                 strchr(pg_conninfo, '?') ? strchr(pg_conninfo, '?') : "");
    crypt_init();
    ctx_init(&cx, CTX_CAP_DEFAULT);
    store = pg_store(url, THREADS);
    assert_int_equal(store_migrate(&cx, store, &applied), ERR_NONE);
    vault_columns_source(test_columns);
    assert_int_equal(vault_start(&cx, store, MASTER_A, STR_NONE), ERR_NONE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    vault_stop();
    vault_columns_source(NULL);
    ctx_done(&cx);
    pg_direct("DROP DATABASE tessera_vault");
    return 0;
}

static enum err_code tables_unit(struct ctx *c, struct db *db, void *arg)
{
    (void)arg;
    enum err_code e = db_run(c, db,
                             "CREATE TABLE team_secret (team_id TEXT NOT NULL, id TEXT NOT NULL, "
                             "secret TEXT, PRIMARY KEY (team_id, id))",
                             NO_ARGS);
    return e ? e
             : db_run(c, db,
                      "CREATE TABLE team_note (team_id TEXT NOT NULL, kind TEXT NOT NULL, "
                      "id TEXT NOT NULL, body TEXT, PRIMARY KEY (team_id, kind, id))",
                      NO_ARGS);
}

static enum err_code add_unit(struct ctx *c, struct db *db, void *arg)
{
    const struct str *id = arg;
    struct vault_place at = { "team_secret", "secret", STR(TEAM), *id };
    struct str text;
    db_scope(db, STR(TEAM), STR(""));
    enum err_code e = vault_seal(c, db, &at, *id, &text);
    return e ? e
             : db_run(c, db, "INSERT INTO team_secret (team_id, id, secret) VALUES ($1, $2, $3)",
                      ARGS(VT(STR(TEAM)), VT(*id), VT(text)));
}

struct worker {
    pthread_t thread;
    int number, added, failed;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < TURNS_MAX && !atomic_load(&stop); i++) {
        char name[32];
        snprintf(name, sizeof name, "%d-%06d", w->number, i);
        struct str id = str_of(name);
        if (pg_tx(store, add_unit, &id))
            w->failed++;
        else
            w->added++;
    }
    return NULL;
}

struct ask {
    const char *sql;
    int64_t n;
};

static enum err_code ask_unit(struct ctx *c, struct db *db, void *arg)
{
    struct ask *a = arg;
    struct rec_num n;
    db_scope_system(db);
    enum err_code e = db_one(c, db, &rec_num, a->sql, NO_ARGS, &n);
    a->n = n.n;
    return e;
}

static int64_t ask(const char *sql)
{
    struct ask a = { sql, -1 };
    assert_int_equal(pg_read(store, ask_unit, &a), ERR_NONE);
    return a.n;
}

#define TEXTS_BY(state)                                                                            \
    "SELECT COUNT(*) AS n FROM team_secret t JOIN vault_key k ON k.team_id = t.team_id AND "       \
    "k.id = substr(t.secret, 4, 16) WHERE k.state = '" state "'"

static struct vault_rotated rotated(void)
{
    struct vault_ask how = { .team_id = STR(TEAM), .batch = 100 };
    struct vault_rotated r;
    assert_int_equal(vault_rotate(&cx, store, &how, &r), ERR_NONE);
    assert_int_equal(r.quarantined + r.kept, 0);
    return r;
}

static enum err_code open_all_unit(struct ctx *c, struct db *db, void *arg)
{
    struct list rows;
    struct str plain;
    int64_t *opened = arg;
    db_scope(db, STR(TEAM), STR(""));
    enum err_code e = db_list(
        c, db, &rec_text, "SELECT id AS s FROM team_secret ORDER BY id LIMIT 200", NO_ARGS, &rows);
    const struct rec_text *v = rows.v;
    for (size_t i = 0; !e && i < rows.n; i++) {
        struct vault_place at = { "team_secret", "secret", STR(TEAM), v[i].s };
        struct rec_text text;
        e = db_one(c, db, &rec_text, "SELECT secret AS s FROM team_secret WHERE id = $1",
                   ARGS(VT(v[i].s)), &text);
        if (!e)
            e = vault_open(c, db, &at, text.s, &plain);
        *opened += !e && str_eq(plain, v[i].s);
    }
    return e;
}

static void test_no_text_comes_under_a_version_that_was_retired(void **state)
{
    struct worker workers[THREADS] = { { .number = 0 } };
    int64_t opened = 0, added = 0;
    (void)state;

    assert_int_equal(pg_tx(store, tables_unit, NULL), ERR_NONE);
    atomic_store(&stop, false);
    struct str first = STR("first");
    assert_int_equal(pg_tx(store, add_unit, &first), ERR_NONE);
    for (int i = 0; i < THREADS; i++) {
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < ROTATIONS; i++) {
        assert_int_equal(rotated().retired, 1);
        assert_int_equal(ask(TEXTS_BY("retired")), 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failed, 0);
        added += workers[i].added;
    }

    assert_true(added > ROTATIONS);
    assert_int_equal(ask(TEXTS_BY("active")), added + 1);
    assert_int_equal(rotated().resealed, added + 1);
    assert_int_equal(ask(TEXTS_BY("active")), added + 1);
    assert_int_equal(pg_read(store, open_all_unit, &opened), ERR_NONE);
    assert_true(opened > ROTATIONS);
}

static enum err_code foreign_unit(struct ctx *c, struct db *db, void *arg)
{
    struct vault_place at = { "team_secret", "secret", STR(OTHER_TEAM), STR("x") };
    struct str text;
    (void)arg;
    db_scope(db, STR(TEAM), STR(""));
    return vault_seal(c, db, &at, STR("x"), &text);
}

static void test_a_unit_of_one_team_makes_no_key_for_another(void **state)
{
    (void)state;
    assert_int_not_equal(pg_tx(store, foreign_unit, NULL), ERR_NONE);
    assert_int_equal(ask("SELECT COUNT(*) AS n FROM vault_key WHERE purpose = 'data'"), 0);
}

int main(void)
{
#define TPG(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TPG(test_no_text_comes_under_a_version_that_was_retired),
        TPG(test_a_unit_of_one_team_makes_no_key_for_another),
    };
    return cmocka_run_group_tests(tests, pg_server_up, pg_server_down);
}
