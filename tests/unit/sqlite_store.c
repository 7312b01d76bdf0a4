/* See sqlite_store.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "sqlite_store.h"

static struct fix *fix_of(void **state)
{
    return *state;
}

static enum err_code exec_fn(struct ctx *cx, struct db *db, void *arg)
{
    return db_run(cx, db, arg, NO_ARGS);
}

enum err_code exec(struct fix *f, const char *sql)
{
    enum err_code e = store_tx(&f->cx, f->s, exec_fn, (void *)(uintptr_t)sql);

    ctx_clear(&f->cx);
    return e;
}

int store_setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct store_conf conf = { .queue_max = 1000 };

    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/tessera-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    conf.database = str_printf(&f->cx.arena, "sqlite:%s/data/t.db", f->dir);
    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    assert_int_equal(exec(f, "CREATE TABLE item (id INTEGER PRIMARY KEY, s TEXT, n BIGINT)"),
                     ERR_NONE);
    assert_int_equal(
        exec(f, "CREATE TABLE part (item_id INTEGER NOT NULL REFERENCES item (id), s TEXT)"),
        ERR_NONE);
    *state = f;
    return 0;
}

int store_setup_serving(void **state)
{
    store_setup(state);
    assert_int_equal(store_start(&fix_of(state)->cx, fix_of(state)->s, NULL), ERR_NONE);
    return 0;
}

static void remove_tree(const char *dir)
{
    static const char *const names[] = { "data/t.db",
                                         "data/t.db.usage/2024-01-15.db",
                                         "data/t.db.usage/notes.txt",
                                         "data/t.db.usage",
                                         "copy.db",
                                         "copy.db.usage/2024-01-15.db",
                                         "copy.db.usage",
                                         "data" };
    char path[256];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)remove(path);
    }
    assert_int_equal(rmdir(dir), 0); /* nothing else was left behind: no log, no half copy */
}

int store_teardown(void **state)
{
    struct fix *f = *state;

    fault_setup(NULL);
    if (f->is_in_unit) /* a failed assertion has jumped out of it: closing would wait for its end */
        return 0;
    store_close(f->s);
    remove_tree(f->dir);
    ctx_done(&f->cx);
    free(f);
    return 0;
}

enum err_code insert(struct ctx *cx, struct db *db, int64_t id)
{
    return db_run(cx, db, "INSERT INTO item (id, s) VALUES ($1, 'x')", ARGS(VI(id)));
}

static enum err_code insert_fn(struct ctx *cx, struct db *db, void *arg)
{
    return insert(cx, db, *(const int64_t *)arg);
}

enum err_code tx_insert(struct fix *f, int64_t id)
{
    return store_tx(&f->cx, f->s, insert_fn, &id);
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

int64_t number(struct fix *f, const char *sql)
{
    struct ask ask = { sql, -1 };

    assert_int_equal(store_read(&f->cx, f->s, ask_fn, &ask), ERR_NONE);
    return ask.n;
}

int64_t items(struct fix *f)
{
    return number(f, "SELECT COUNT(*) AS n FROM item");
}
