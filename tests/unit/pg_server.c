/* A PostgreSQL server for the unit tests, and units of work on it. See pg_server.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "pg_server.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define SCRIPT "tests/unit/with_postgres.sh"

char pg_conninfo[512];
char pg_own_folder[256];
struct arena pg_texts;

/* --- The server --- */

bool pg_script(const char *verb, const char *arg, char *out, size_t cap)
{
    int ends[2], status;
    size_t n = 0;
    pid_t child;

    if (pipe(ends) != 0 || (child = fork()) < 0)
        return false;
    if (child == 0) {
        close(ends[0]);
        if (out)
            dup2(ends[1], STDOUT_FILENO);
        close(ends[1]);
        execl("/bin/sh", "sh", SCRIPT, verb, arg, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    while (out && n + 1 < cap && read(ends[0], out + n, 1) == 1 && out[n] != '\n')
        n++;
    if (out)
        out[n] = '\0';
    waitpid(child, &status, 0);
    close(ends[0]);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

long pg_direct(const char *sql)
{
    PGconn *c = PQconnectdb(pg_conninfo);
    PGresult *res;
    long n = 0;

    assert_int_equal(PQstatus(c), CONNECTION_OK);
    PQclear(PQexec(c, "SET client_min_messages = error"));
    res = PQexec(c, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK) {
        print_error("%s: %s", sql, PQerrorMessage(c));
        assert_true(false);
    }
    if (PQntuples(res) > 0 && PQnfields(res) > 0)
        n = strtol(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    PQfinish(c);
    return n;
}

int pg_server_up(void **state)
{
    const char *given = getenv("TESSERA_TEST_PG");

    (void)state;
    log_setup(LOG_ERROR, false);
    arena_init(&pg_texts, (size_t)1 << 20);
    if (given) {
        snprintf(pg_conninfo, sizeof pg_conninfo, "%s", given);
    } else {
        char pid[24];

        snprintf(pid, sizeof pid, "%ld", (long)getpid());
        if (!pg_script("init", pid, pg_own_folder, sizeof pg_own_folder))
            return -1;
        snprintf(pg_conninfo, sizeof pg_conninfo, "postgresql:///postgres?host=%s&user=tessera",
                 pg_own_folder);
    }
    pg_direct("DROP TABLE IF EXISTS item_part, item, owned");
    pg_direct(
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT, ok BOOLEAN NOT NULL DEFAULT true, small INTEGER)");
    pg_direct(
        "CREATE TABLE item_part (item_id BIGINT NOT NULL REFERENCES item (id), n BIGINT NOT NULL)");
    return 0;
}

int pg_server_down(void **state)
{
    (void)state;
    arena_done(&pg_texts);
    return pg_own_folder[0] == '\0' || pg_script("drop", pg_own_folder, NULL, 0) ? 0 : -1;
}

int pg_test_begin(void **state)
{
    (void)state;
    arena_reset(&pg_texts);
    pg_direct("TRUNCATE item, item_part");
    return 0;
}

/* --- Stores and units --- */

struct store *pg_store(const char *database, int writers)
{
    struct store_conf conf = { .database = str_of(database),
                               .pg_writers = writers,
                               .pg_readers = 2 };
    struct store *s;
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    assert_int_equal(store_open(&cx, &conf, &s), ERR_NONE);
    assert_int_equal(store_start(&cx, s, NULL), ERR_NONE);
    ctx_done(&cx);
    return s;
}

enum err_code pg_tx(struct store *s, unit_fn *fn, void *arg)
{
    struct ctx cx;
    enum err_code e;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    e = store_tx(&cx, s, fn, arg);
    ctx_done(&cx);
    return e;
}

enum err_code pg_read(struct store *s, unit_fn *fn, void *arg)
{
    struct ctx cx;
    enum err_code e;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    e = store_read(&cx, s, fn, arg);
    ctx_done(&cx);
    return e;
}

static void work_done(struct unit *u, enum err_code e)
{
    struct work *w = u->tag;

    w->err = e;
    sem_post(&w->done);
}

void work_start(struct store *s, struct work *w, unit_fn *fn, int64_t id, uint64_t key)
{
    *w = (struct work){ .id = id };
    sem_init(&w->done, 0, 0);
    ctx_init(&w->cx, CTX_CAP_DEFAULT);
    w->u = (struct unit){ .fn = fn, .done = work_done, .cx = &w->cx, .arg = w, .tag = w };
    store_submit(s, &w->u, key);
}

bool wait_for(sem_t *sem)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    return sem_timedwait(sem, &until) == 0;
}

enum err_code work_end(struct work *w)
{
    assert_true(wait_for(&w->done));
    sem_destroy(&w->done);
    ctx_done(&w->cx);
    return w->err;
}

enum err_code add_item(struct ctx *cx, struct db *db, void *arg)
{
    const struct work *w = arg;

    return db_run(cx, db, "INSERT INTO item (id, name) VALUES ($1, $2)",
                  ARGS(VI(w->id), VT(STR("added"))));
}
