/* See usage_store.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <dirent.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "usage_store.h"

#define SQL_ADD_TOKEN                                                                              \
    "INSERT INTO integration_tokens (team_id, id, name, token_hash, token_prefix, status, "        \
    "rate_limit, scopes, metadata, use_count, created_ms, updated_ms, rev) "                       \
    "VALUES ($1, $2, 'probe', $2, 'stk_1234', 'active', 100, '[]', '{}', 0, 0, 0, 1) "             \
    "ON CONFLICT DO NOTHING"

static enum err_code add_token(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    db_scope_system(db);
    return db_run(cx, db, SQL_ADD_TOKEN, ARGS(VT(TEAM), VT(TOKEN)));
}

struct ufix *ufix_new(struct str database)
{
    struct ufix *f = calloc(1, sizeof *f);
    int applied;

    assert_non_null(f);
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    f->database = database;
    if (!database.p) {
        snprintf(f->dir, sizeof f->dir, "/tmp/tessera-usage-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        f->database = str_printf(&f->cx.arena, "sqlite:%s/t.db", f->dir);
    }
    struct store_conf conf = { .database = f->database, .pg_writers = 1, .pg_readers = 2 };
    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);
    assert_int_equal(store_tx(&f->cx, f->s, add_token, NULL), ERR_NONE);
    store_close(f->s);
    f->s = NULL;
    return f;
}

void ufix_open(struct ufix *f, int64_t buffer_events)
{
    struct store_conf conf = { .database = f->database, .pg_writers = 2, .pg_readers = 2 };
    struct usage_conf uconf = { .detail_days = 30, .buffer_events = buffer_events };

    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    assert_int_equal(usage_open(&f->cx, f->s, &uconf, &f->u), ERR_NONE);
    assert_int_equal(store_start(&f->cx, f->s, usage_hooks(f->u)), ERR_NONE);
}

void ufix_crash(struct ufix *f)
{
    store_close(f->s);
    usage_close(f->u);
    f->s = NULL;
    f->u = NULL;
}

void ufix_stop(struct ufix *f)
{
    if (!f->u->has_flusher)
        assert_int_equal(usage_start(&f->cx, f->u), ERR_NONE);
    usage_stop(f->u);
    ufix_crash(f);
}

static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    char name[512];

    while (d && (e = readdir(d)) != NULL) {
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && remove(name) != 0)
            remove_folder(name);
    }
    if (d)
        closedir(d);
    (void)remove(path);
}

void ufix_free(struct ufix *f)
{
    if (f->u)
        ufix_crash(f);
    if (f->dir[0])
        remove_folder(f->dir);
    clock_shift_ms(0);
    ctx_done(&f->cx);
    free(f);
}

int64_t start_of_today(void)
{
    int64_t now = clock_ms();

    return now - now % DAY_MS;
}

int ufix_setup(void **state)
{
    struct ufix *f = ufix_new(STR_NONE);

    clock_shift_ms(start_of_today() + 12 * HOUR_MS + HOUR_MS / 2 - clock_ms());
    ufix_open(f, 4096);
    *state = f;
    return 0;
}

int ufix_teardown(void **state)
{
    fault_setup(NULL);
    ufix_free(*state);
    return 0;
}

struct usage_event event(struct str token, int status, int64_t at_ms)
{
    return (struct usage_event){ .at_ms = at_ms,
                                 .took_us = 1500,
                                 .status = status,
                                 .method = "POST",
                                 .endpoint = "/v1/tickets",
                                 .team_id = token.p ? TEAM : STR_NONE,
                                 .token_id = token,
                                 .ip = STR("127.0.0.1"),
                                 .agent = STR("probe/1.0") };
}

struct job {
    struct unit unit;
    struct ctx cx;
    struct usage_event e;
    sem_t done;
};

static enum err_code nothing(struct ctx *cx, struct db *db, void *arg)
{
    (void)cx, (void)db, (void)arg;
    return ERR_NONE;
}

static void job_ran(struct unit *unit, enum err_code e)
{
    (void)unit, (void)e; /* the status is known already */
}

static void job_done(struct unit *unit, enum err_code e)
{
    (void)e;
    sem_post(&((struct job *)unit->arg)->done);
}

static void job_start(struct ufix *f, struct job *j, const struct usage_event *e)
{
    ctx_init(&j->cx, CTX_CAP_DEFAULT);
    sem_init(&j->done, 0, 0);
    j->e = *e;
    j->unit = (struct unit){
        .fn = nothing, .ran = job_ran, .done = job_done, .cx = &j->cx, .arg = j, .tag = &j->e
    };
    store_submit(f->s, &j->unit, 0);
}

static enum err_code job_end(struct job *j)
{
    enum err_code e;

    sem_wait(&j->done);
    e = j->unit.err;
    sem_destroy(&j->done);
    ctx_done(&j->cx);
    return e;
}

enum err_code write_event(struct ufix *f, const struct usage_event *e)
{
    struct job j;

    job_start(f, &j, e);
    return job_end(&j);
}

void write_many(struct ufix *f, struct str token, int n, int64_t at_ms)
{
    enum { AT_ONCE = 500 };
    struct job *j = calloc(AT_ONCE, sizeof *j);

    assert_non_null(j);
    for (int at = 0; at < n; at += AT_ONCE) {
        int some = n - at < AT_ONCE ? n - at : AT_ONCE;

        for (int i = 0; i < some; i++) {
            struct usage_event e = event(token, 201, at_ms + at + i);

            job_start(f, &j[i], &e);
        }
        for (int i = 0; i < some; i++)
            assert_int_equal(job_end(&j[i]), ERR_NONE);
    }
    free(j);
}

struct question {
    const char *sql;
    struct rec_num num;
};

static enum err_code ask_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct question *q = arg;

    db_scope_system(db);
    return db_one(cx, db, &rec_num, q->sql, NO_ARGS, &q->num);
}

int64_t ask(struct ufix *f, const char *sql)
{
    struct question q = { .sql = sql };
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    assert_int_equal(store_read(&cx, f->s, ask_fn, &q), ERR_NONE);
    ctx_done(&cx);
    return q.num.n;
}

bool becomes(struct ufix *f, const char *sql, int64_t want)
{
    int64_t end_us = clock_mono_us() + WAIT_US;

    while (clock_mono_us() < end_us) {
        if (ask(f, sql) == want)
            return true;
        usleep(2000);
    }
    return false;
}

static enum err_code run_fn(struct ctx *cx, struct db *db, void *arg)
{
    db_scope_system(db);
    return db_run(cx, db, arg, NO_ARGS);
}

enum err_code run(struct ufix *f, const char *sql)
{
    enum err_code e = usage_tx(&f->cx, f->u, run_fn, (void *)(uintptr_t)sql);

    ctx_clear(&f->cx);
    return e;
}

struct list recent(struct ufix *f, struct str token, int64_t before_ms, int64_t before_id,
                   int64_t limit)
{
    struct usage_filter filter = { .key_id = token };
    struct row_ask ask = { TEAM, &filter, before_ms, before_id, limit };
    struct list got;

    REC_SET(&filter, key_id);
    assert_int_equal(usage_rows(&f->cx, f->u, &ask, &got), ERR_NONE);
    return got;
}

/* Keys on which the rows and the rollups of grain m differ. */
#define SQL_FROM_ROWS                                                                              \
    "SELECT team_id, COALESCE(token_id, '') AS token_id, method || ' ' || endpoint AS route, "     \
    "CASE WHEN status_code = 429 THEN 429 ELSE status_code / 100 END AS class, "                   \
    "created_ms / 60000 AS minute, COUNT(*) AS n, SUM(response_time_us) AS us "                    \
    "FROM integration_token_usage GROUP BY 1, 2, 3, 4, 5"
#define SQL_FROM_ROLLUPS                                                                           \
    "SELECT team_id, token_id, route, class, bucket_ms / 60000 AS minute, n, sum_us AS us "        \
    "FROM usage_rollup WHERE grain = 'm' AND token_id <> '*'"

void assert_agreement(struct ufix *f)
{
    int64_t rows = ask(f, "SELECT COUNT(*) AS n FROM integration_token_usage");
    int64_t teams = ask(f, "SELECT COUNT(*) AS n FROM integration_token_usage WHERE team_id <> ''");

    assert_int_equal(
        ask(f, "SELECT COUNT(*) AS n FROM (" SQL_FROM_ROWS " EXCEPT " SQL_FROM_ROLLUPS ") x"), 0);
    assert_int_equal(
        ask(f, "SELECT COUNT(*) AS n FROM (" SQL_FROM_ROLLUPS " EXCEPT " SQL_FROM_ROWS ") x"), 0);
#define GRAIN_IS(grain)                                                                            \
    assert_int_equal(ask(f,                                                                        \
                         "SELECT COALESCE(SUM(n), 0) AS n FROM usage_rollup WHERE grain = '" grain \
                         "' AND token_id <> '*'"),                                                 \
                     rows);                                                                        \
    assert_int_equal(ask(f,                                                                        \
                         "SELECT COALESCE(SUM(n), 0) AS n FROM usage_rollup WHERE grain = '" grain \
                         "' AND token_id = '*'"),                                                  \
                     teams)
    GRAIN_IS("m");
    GRAIN_IS("h");
    GRAIN_IS("d");
    GRAIN_IS("t");
#define COUNTRIES_ARE(column, grain, want)                                                         \
    assert_int_equal(ask(f, "SELECT COALESCE(SUM(" column                                          \
                            "), 0) AS n FROM usage_country WHERE grain = '" grain "'"),            \
                     want)
    int64_t errors = ask(f, "SELECT COUNT(*) AS n FROM integration_token_usage WHERE team_id <> '' "
                            "AND status_code >= 400");
    COUNTRIES_ARE("n", "h", teams);
    COUNTRIES_ARE("n", "d", teams);
    COUNTRIES_ARE("errors", "h", errors);
    COUNTRIES_ARE("errors", "d", errors);
}
