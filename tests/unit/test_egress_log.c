/* The log of requests: every call of a team becomes a row, on both databases; a full ring drops and
 * counts; old rows go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "base/fault.h"
#include "core/egress_log.h"
#include "pg_server.h"

#define TEAM STR("00000000-0000-7000-8000-000000000001")
#define OTHER STR("00000000-0000-7000-8000-000000000002")
#define USER STR("01900000-0000-7000-8000-00000000000c")
#define ROWS "SELECT COUNT(*) AS n FROM integration_request_log"

struct fix {
    struct ctx cx;
    struct store *s;
    struct egress_log *log;
    char dir[64];
};

static struct fix *opened(const char *url)
{
    struct fix *f = calloc(1, sizeof *f);
    struct store_conf conf = { .database = str_of(url), .pg_writers = 1, .pg_readers = 2 };
    int applied;
    crypt_init();
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    conf.queue_max = 1000;
    assert_int_equal(store_open(&f->cx, &conf, &f->s), ERR_NONE);
    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);
    assert_int_equal(store_start(&f->cx, f->s, NULL), ERR_NONE);
    return f;
}

static int setup_sqlite(void **state)
{
    char dir[] = "/tmp/tessera-egress-XXXXXX", url[128];
    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof url, "sqlite:%s/t.db", dir);
    struct fix *f = opened(url);
    snprintf(f->dir, sizeof f->dir, "%s", dir);
    *state = f;
    return 0;
}

static int setup_postgres(void **state)
{
    char url[600];
    const char *query = strchr(pg_conninfo, '?');
    pg_direct("DROP DATABASE IF EXISTS tessera_egress");
    pg_direct("CREATE DATABASE tessera_egress");
    snprintf(url, sizeof url, "postgresql:///tessera_egress%s", query ? query : "");
    *state = opened(url);
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    char command[80];
    fault_setup(NULL);
    egress_log_stop(f->log);
    store_close(f->s);
    ctx_done(&f->cx);
    for (int i = 0; f->dir[0] && i < 3; i++) {
        static const char *const ends[] = { "", "-wal", "-shm" };
        snprintf(command, sizeof command, "%s/t.db%s", f->dir, ends[i]);
        remove(command);
    }
    if (f->dir[0])
        remove(f->dir);
    free(f);
    return 0;
}

static void start(struct fix *f, int64_t rows_max)
{
    struct egress_log_conf conf = { f->s, rows_max };
    assert_int_equal(egress_log_start(&f->cx, &conf, &f->log), ERR_NONE);
}

static void stop(struct fix *f)
{
    egress_log_stop(f->log);
    f->log = NULL;
}

static void note_of(struct fix *f, struct str team, enum egress_class class, int64_t at_ms)
{
    const struct str labels[EGRESS_LABELS] = { team, STR_NONE, USER };
    struct egress_record r = { .method = "POST",
                               .endpoint = STR("https://h.example/x?k=***"),
                               .class = class,
                               .status = class == EGRESS_OK ? 201 : 0,
                               .is_success = class == EGRESS_OK,
                               .error = class ? str_of(egress_class_text(class)) : STR_NONE,
                               .at_ms = at_ms,
                               .duration_ms = 12,
                               .sent_bytes = 3,
                               .got_bytes = 4,
                               .redirects = 1,
                               .labels = labels };
    egress_log_record(f->log, &r);
}

struct question {
    const char *sql;
    int64_t n;
};

static enum err_code question_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct question *q = arg;
    struct rec_num n = { .n = -1 };
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_num, q->sql, NO_ARGS, &n);
    q->n = n.n;
    return e;
}

static int64_t number(struct fix *f, const char *sql)
{
    struct question q = { .sql = sql };
    assert_int_equal(store_read(&f->cx, f->s, question_unit, &q), ERR_NONE);
    return q.n;
}

struct reading {
    struct request_log_query in;
    struct caller who;
    struct page page;
};

static enum err_code reading_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct reading *r = arg;
    caller_scope(db, &r->who);
    return request_log_list(cx, db, &r->who, &r->in, (struct cursor_key){ { 1 } }, &r->page);
}

static size_t listed(struct fix *f, struct reading *r)
{
    assert_int_equal(store_read(&f->cx, f->s, reading_unit, r), ERR_NONE);
    return r->page.rows.n;
}

/* ---- tests ---- */

static void test_every_call_of_a_team_is_a_row(void **state)
{
    struct fix *f = *state;
    struct egress_log_counts c;
    int64_t now = clock_ms();
    start(f, 0);
    for (int i = 0; i < 700; i++)
        note_of(f, i % 7 ? TEAM : OTHER, i % 10 ? EGRESS_OK : EGRESS_TIMEOUT, now);
    note_of(f, STR_NONE, EGRESS_OK, now); /* the operator's own */
    egress_log_counts(f->log, &c);
    assert_int_equal(c.noted, 700);
    stop(f);

    assert_int_equal(number(f, ROWS), 700);
    assert_int_equal(number(f, ROWS " WHERE status IS NULL AND success = 0 AND outcome = 'timeout' "
                                    "AND error IS NOT NULL AND integration_id IS NULL"),
                     70);
    assert_int_equal(number(f, ROWS " WHERE status = 201 AND success = 1 AND outcome = 'ok' AND "
                                    "error IS NULL AND method = 'POST' AND duration_ms = 12 AND "
                                    "sent_bytes = 3 AND got_bytes = 4 AND redirects = 1 AND "
                                    "user_id = '01900000-0000-7000-8000-00000000000c'"),
                     630);
    struct reading r = { .who = { .team_id = OTHER }, .in = { .limit = 200 } };
    assert_int_equal(listed(f, &r), 100);
    r.in.outcome = STR("timeout,dns");
    REC_SET(&r.in, outcome);
    assert_int_equal(listed(f, &r), 10);
    const struct request_log *first = r.page.rows.v;
    assert_true(str_eq(first->endpoint, STR("https://h.example/x?k=***")));
    assert_int_equal(first->at_ms, now);
}

static void test_a_full_ring_drops_and_counts(void **state)
{
    struct fix *f = *state;
    struct egress_log_counts c = { 0 };
    start(f, 8);
    for (int i = 0; i < 2000; i++)
        note_of(f, TEAM, EGRESS_OK, clock_ms());
    for (int i = 0; i < 600; i++) { /* what was taken is stored; 30 s at most */
        egress_log_counts(f->log, &c);
        if (c.stored + c.dropped == 2000)
            break;
        poll(NULL, 0, 50);
    }
    assert_true(c.dropped > 0 && c.stored > 0);
    assert_int_equal(c.stored + c.dropped, 2000);
    assert_int_equal(number(f, ROWS), c.stored);
}

static void test_rows_survive_a_transaction_that_fails(void **state)
{
    struct fix *f = *state;
    start(f, 0);
    fault_arm(FAULT_COMMIT, 1);
    for (int i = 0; i < 20; i++)
        note_of(f, TEAM, EGRESS_OK, clock_ms());
    stop(f);
    assert_true(fault_fired());
    assert_int_equal(number(f, ROWS), 20);
}

static void test_old_rows_go(void **state)
{
    struct fix *f = *state;
    int64_t now = clock_ms();
    start(f, 0);
    for (int i = 0; i < 600; i++)
        note_of(f, TEAM, EGRESS_OK, now - 8 * DAY_MS);
    note_of(f, TEAM, EGRESS_OK, now - 6 * DAY_MS);
    stop(f);
    assert_int_equal(number(f, ROWS), 601);
    assert_int_equal(egress_log_sweep(&f->cx, f->s, 9), ERR_NONE);
    assert_int_equal(number(f, ROWS), 601);
    assert_int_equal(egress_log_sweep(&f->cx, f->s, 7), ERR_NONE);
    assert_int_equal(number(f, ROWS), 1);
}

#define S(name) cmocka_unit_test_setup_teardown(name, setup_sqlite, teardown)
#define P(name)                                                                                    \
    {                                                                                              \
#name " (PostgreSQL)", name, setup_postgres, teardown, NULL                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        S(test_every_call_of_a_team_is_a_row),
        P(test_every_call_of_a_team_is_a_row),
        S(test_a_full_ring_drops_and_counts),
        S(test_rows_survive_a_transaction_that_fails),
        P(test_rows_survive_a_transaction_that_fails),
        S(test_old_rows_go),
        P(test_old_rows_go),
    };
    return cmocka_run_group_tests(tests, pg_server_up, pg_server_down);
}
