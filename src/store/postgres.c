/* PostgreSQL behind store/backend.h: connections, transactions, savepoints, and what the server's errors mean.
 *
 * begin and commit bracket a batch of units whose statements travel without waiting (postgres_pipe.c). After the first
 * failure the whole segment is lost: flush names the unit, the writer rolls back and runs the units again, each inside
 * a savepoint; savepoint, release and rollback_to wait for the server. A statement outside a transaction is a segment
 * of its own.
 *
 * A lost connection fails what is under way with UNAVAILABLE and is opened again by the next begin or single
 * statement, with growing pauses between attempts; nobody waits for the pause, so callers fail fast meanwhile. A
 * COMMIT whose answer is lost may have happened; it too is UNAVAILABLE.
 *
 * Session settings: UTC, UTF-8, synchronous_commit on whatever the server's default says, limits for statements, locks
 * and idle transactions. Left out: cancelling a statement (the server's own limit ends it).
 *
 * Threads: a connection belongs to one thread at a time. Owner: store (store.c lends connections out). */
#include "postgres.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/log.h"

/* Limits in ms; PG_WAIT_US must be longer than the statement's. */
static const char SQL_SETUP[] =
    "SELECT set_config('TimeZone', 'UTC', false), set_config('synchronous_commit', 'on', false), "
    "set_config('default_transaction_isolation', 'read committed', false), "
    "set_config('statement_timeout', '30000', false), set_config('lock_timeout', '10000', false), "
    "set_config('idle_in_transaction_session_timeout', '60000', false), "
    "set_config('tessera.team', '', false), set_config('tessera.token', '', false), "
    "set_config('tessera.system', '', false)";

/* What a SQLSTATE (or its beginning) means; the first match counts, the rest is INTERNAL. */
static const struct {
    const char *state;
    enum err_code code;
} STATES[] = {
    { "23505", ERR_UNIQUE },      { "23503", ERR_CONFLICT },
    { "40", ERR_UNAVAILABLE },    /* serialization failure, deadlock: run again */
    { "53", ERR_UNAVAILABLE },    /* disk full, out of memory, too many connections */
    { "57", ERR_UNAVAILABLE },    /* shut down, crashed, cancelled by a limit */
    { "58", ERR_UNAVAILABLE },    /* I/O error */
    { "08", ERR_UNAVAILABLE },    /* connection */
    { "25006", ERR_UNAVAILABLE }, /* read-only: a standby or a full disk */
    { "25P03", ERR_UNAVAILABLE }, /* idle in transaction for too long */
    { "55P03", ERR_UNAVAILABLE }, /* lock not available */
    { "26000", ERR_UNAVAILABLE }, /* the prepared statement is gone */
    { "0A000", ERR_UNAVAILABLE }, /* its result type changed: it is prepared anew */
};

static const char *const SAVEPOINT[PG_LEVELS_MAX] = { "SAVEPOINT s1", "SAVEPOINT s2",
                                                      "SAVEPOINT s3", "SAVEPOINT s4" };
static const char *const RELEASE[PG_LEVELS_MAX] = { "RELEASE s1", "RELEASE s2", "RELEASE s3",
                                                    "RELEASE s4" };
static const char *const ROLLBACK_TO[PG_LEVELS_MAX] = { "ROLLBACK TO s1", "ROLLBACK TO s2",
                                                        "ROLLBACK TO s3", "ROLLBACK TO s4" };

/* ---- failures */

enum err_code pg_fail(struct ctx *cx, enum err_code code)
{
    if (code == ERR_UNAVAILABLE && cx->err == ERR_NONE)
        cx->retry_after_s = 1;
    return ctx_fail_plain(cx, code);
}

enum err_code pg_fail_known(struct ctx *cx, const struct pg *pg)
{
    return pg_fail(cx, pg->fail_unit == pg->unit ? pg->fail : ERR_UNAVAILABLE);
}

enum err_code pg_error_code(struct pg *pg, const PGresult *res, const char *sql)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *words = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (!state)
        state = "08000"; /* libpq's own words: the connection */
    enum err_code code = ERR_INTERNAL;
    for (size_t i = 0; i < sizeof STATES / sizeof *STATES; i++) {
        if (strncmp(state, STATES[i].state, strlen(STATES[i].state)) == 0) {
            code = STATES[i].code;
            break;
        }
    }
    if (strcmp(state, "26000") == 0 || strcmp(state, "0A000") == 0)
        pg->stmts_stale = true;
    enum log_level level = code == ERR_INTERNAL      ? LOG_ERROR
                           : code == ERR_UNAVAILABLE ? LOG_WARN
                                                     : LOG_DEBUG;
    log_line(NULL, level, "db.error",
             LOG_KVS(KVC("sqlstate", state),
                     KVC("message", words ? words : PQresultErrorMessage(res)),
                     KVC("sql", sql ? sql : "")));
    return code;
}

void pg_lose(struct pg *pg, const char *why)
{
    if (!pg->conn)
        return;
    log_warn(NULL, "db.lost", KVS("why", str_trim(str_of(why))));
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->db.is_refused = false; /* what became of the transaction is the server's secret */
    pg->expect_n = 0;
    pg->unpushed = 0;
    pg->have_known = false;
    pg_stmts_forget(pg);
}

/* ---- connecting */

static void on_notice(void *arg, const PGresult *res)
{
    (void)arg;
    const char *words = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    log_debug(NULL, "db.notice", KVC("message", words ? words : ""));
}

/* End the segment and wait for all of it. False when the connection is gone. */
static bool end_segment(struct pg *pg)
{
    return pg_sync(pg) && pg_drain(pg, 0);
}

static PGconn *dial(const char *conninfo)
{
    /* What stands before dbname may be overruled by the conninfo, what stands behind it may not. */
    const char *const keys[] = { "connect_timeout",  "keepalives",
                                 "keepalives_idle",  "keepalives_interval",
                                 "keepalives_count", "tcp_user_timeout",
                                 "application_name", "dbname",
                                 "client_encoding",  NULL };
    const char *const values[] = { "5",     "1",       "30",     "10",   "3",
                                   "35000", "tessera", conninfo, "UTF8", NULL };
    return PQconnectdbParams(keys, values, 1);
}

/* The new connection into pipeline mode, with its settings. */
static bool set_up(struct pg *pg)
{
    PQsetNoticeReceiver(pg->conn, on_notice, NULL);
    if (PQsetnonblocking(pg->conn, 1) != 0 || !PQenterPipelineMode(pg->conn)) {
        pg_lose(pg, PQerrorMessage(pg->conn));
        return false;
    }
    pg->fail = ERR_NONE;
    if (!pg_send_control(pg, SQL_SETUP) || !end_segment(pg))
        return false;
    if (pg->fail) {
        pg_lose(pg, "the session's settings were refused");
        return false;
    }
    pg->have_team[0] = pg->have_token[0] = '\0';
    pg->have_system = false;
    pg->have_known = true;
    return true;
}

static enum err_code connect_again(struct ctx *cx, struct pg *pg)
{
    int64_t now_us = clock_mono_us();
    if (now_us < pg->retry_at_us)
        return pg_fail(cx, ERR_UNAVAILABLE);
    pg->conn = dial(pg->conninfo);
    BUG_IF(!pg->conn); /* out of memory */
    bool ok = PQstatus(pg->conn) == CONNECTION_OK;
    if (!ok)
        pg_lose(pg, PQerrorMessage(pg->conn));
    else
        ok = set_up(pg);
    if (ok) {
        pg->backoff_us = 0;
        return ERR_NONE;
    }
    pg->backoff_us = pg->backoff_us == 0 ? PG_BACKOFF_MIN_US : pg->backoff_us * 2;
    if (pg->backoff_us > PG_BACKOFF_MAX_US)
        pg->backoff_us = PG_BACKOFF_MAX_US;
    pg->retry_at_us = clock_mono_us() + pg->backoff_us;
    return pg_fail(cx, ERR_UNAVAILABLE);
}

/* Something to read on an idle connection: a notice, or the server's farewell. */
static bool is_alive(struct pg *pg)
{
    for (int i = 0; i < 8; i++) {
        struct pollfd fd = { .fd = PQsocket(pg->conn), .events = POLLIN };
        if (poll(&fd, 1, 0) <= 0)
            return true;
        if (!PQconsumeInput(pg->conn))
            return false;
        (void)PQisBusy(pg->conn); /* reads the messages */
    }
    return PQstatus(pg->conn) == CONNECTION_OK;
}

enum err_code pg_ready(struct ctx *cx, struct pg *pg)
{
    BUG_IF(pg->in_tx || pg->in_rows);
    if (pg->expect_n > 0) /* the end of a reading transaction */
        (void)pg_drain(pg, 0);
    if (pg->conn && !is_alive(pg))
        pg_lose(pg, PQerrorMessage(pg->conn));
    if (!pg->conn)
        return connect_again(cx, pg);
    if (pg->stmts_stale) {
        pg->fail = ERR_NONE;
        if (!pg_send_control(pg, "DEALLOCATE ALL") || !end_segment(pg))
            return pg_fail(cx, ERR_UNAVAILABLE);
        pg_stmts_forget(pg);
    }
    return ERR_NONE;
}

/* ---- transactions */

static void pg_unit_mark(struct db *db, int index)
{
    struct pg *pg = (struct pg *)db;
    pg->unit = index;
    db->has_written = false;
}

/* The server keeps the plan of a prepared statement that it made when the tables were empty, where
 * one index seemed as good as another, until its autovacuum looks at them, a minute later or more.
 * So plans are forgotten while tables may grow fast: at the 16th transaction, the 32nd, 64th … */
static bool plans_are_old(const struct pg *pg)
{
    return pg->n_begins >= 16 && !(pg->n_begins & (pg->n_begins - 1));
}

static enum err_code pg_begin(struct ctx *cx, struct db *db, bool is_write)
{
    struct pg *pg = (struct pg *)db;
    enum err_code e = pg_ready(cx, pg);
    if (e)
        return e;
    pg_unit_mark(db, -1);
    pg->fail = ERR_NONE;
    pg->levels = 0;
    /* A reader sees one state of the database throughout. */
    const char *sql = is_write ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    pg->n_begins++;
    if (!pg_send_control(pg, sql) || (plans_are_old(pg) && !pg_send_control(pg, "DISCARD PLANS")))
        return pg_fail(cx, ERR_UNAVAILABLE);
    db->is_refused = false;
    pg->in_tx = true;
    pg->is_read = !is_write;
    return ERR_NONE;
}

/* The end of a reading transaction that went well: nobody waits for it, the next use of the connection reads the
 * answer. COMMIT keeps the session's scope, so that the same caller's next read need not set it. */
static void end_reading(struct pg *pg)
{
    pg->in_tx = false;
    (void)(pg_send_control(pg, "COMMIT") && pg_sync(pg));
}

/* Ends the transaction whatever its state is; nothing to do when there is none. */
static void pg_rollback(struct db *db)
{
    struct pg *pg = (struct pg *)db;
    if (!pg->in_tx)
        return;
    if (pg->is_read && !pg->fail && pg->expect_n == 0) {
        end_reading(pg);
        return;
    }
    if (pg_sync(pg) && pg_send_control(pg, "ROLLBACK") && end_segment(pg) &&
        PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
        pg_lose(pg, "the transaction does not end");
    pg->in_tx = false;
    pg->fail = ERR_NONE;
    pg->levels = 0;
    pg->have_known = false; /* set_config went back with the transaction */
}

/* After a failure the transaction is over: rolled back, or (connection lost) the server's secret. */
static enum err_code pg_commit(struct ctx *cx, struct db *db)
{
    struct pg *pg = (struct pg *)db;
    BUG_IF(!pg->in_tx);
    enum err_code code = pg->fail;
    if (!code && !(pg_send_control(pg, "COMMIT") && end_segment(pg)))
        code = ERR_UNAVAILABLE;
    if (!code)
        code = pg->fail;
    if (code || PQtransactionStatus(pg->conn) != PQTRANS_IDLE) {
        pg_rollback(db);
        return pg_fail(cx, code ? code : ERR_UNAVAILABLE);
    }
    pg->in_tx = false;
    return ERR_NONE;
}

/* Wait for what was sent. NONE, the failure of the segment, or UNAVAILABLE; all recorded. */
static enum err_code settle(struct ctx *cx, struct pg *pg)
{
    if (!pg_ask(pg) || !pg_drain(pg, 0))
        return pg_fail(cx, ERR_UNAVAILABLE);
    return pg->fail ? pg_fail_known(cx, pg) : ERR_NONE;
}

static enum err_code pg_flush(struct ctx *cx, struct db *db, int *failed)
{
    struct pg *pg = (struct pg *)db;
    *failed = -1;
    if (!pg_ask(pg) || !pg_drain(pg, 0))
        return pg_fail(cx, ERR_UNAVAILABLE);
    if (!pg->fail)
        return ERR_NONE;
    *failed = pg->fail_unit;
    return pg_fail(cx, pg->fail);
}

/* Waits, so that a failure of what came before is known to lie before the savepoint. */
static enum err_code pg_savepoint(struct ctx *cx, struct db *db)
{
    struct pg *pg = (struct pg *)db;
    BUG_IF(!pg->in_tx || pg->levels == PG_LEVELS_MAX);
    if (pg->fail)
        return pg_fail_known(cx, pg);
    if (!pg_send_control(pg, SAVEPOINT[pg->levels]))
        return pg_fail(cx, ERR_UNAVAILABLE);
    enum err_code e = settle(cx, pg);
    if (!e)
        pg->levels++;
    return e;
}

static enum err_code pg_release(struct ctx *cx, struct db *db)
{
    struct pg *pg = (struct pg *)db;
    BUG_IF(pg->levels == 0);
    if (!pg->fail && !pg_send_control(pg, RELEASE[pg->levels - 1]))
        return pg_fail(cx, ERR_UNAVAILABLE);
    enum err_code e = settle(cx, pg);
    if (!e)
        pg->levels--;
    return e;
}

static enum err_code pg_rollback_to(struct ctx *cx, struct db *db)
{
    struct pg *pg = (struct pg *)db;
    BUG_IF(pg->levels == 0);
    int level = --pg->levels;
    if (!end_segment(pg)) /* the failure that brought us here ends with it */
        return pg_fail(cx, ERR_UNAVAILABLE);
    pg->fail = ERR_NONE;
    pg->have_known = false;
    if (!pg_send_control(pg, ROLLBACK_TO[level]) || !pg_send_control(pg, RELEASE[level]))
        return pg_fail(cx, ERR_UNAVAILABLE);
    return settle(cx, pg);
}

/* ---- scripts, opening, closing */

/* Wait for a result outside pipeline mode without a limit: a migration may take long. */
static enum err_code exec_blocking(struct pg *pg, const char *sql)
{
    PGresult *res = PQexec(pg->conn, sql);
    ExecStatusType status = PQresultStatus(res);
    enum err_code code = ERR_NONE;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
        code = pg_error_code(pg, res, NULL);
    PQclear(res);
    return code;
}

static enum err_code pg_exec_script(struct ctx *cx, struct db *db, const char *sql)
{
    struct pg *pg = (struct pg *)db;
    if (!pg->in_tx) {
        enum err_code e = pg_ready(cx, pg);
        if (e)
            return e;
        pg->fail = ERR_NONE;
    }
    if (!end_segment(pg))
        return pg_fail(cx, ERR_UNAVAILABLE);
    if (pg->fail)
        return pg_fail_known(cx, pg);
    if (!PQexitPipelineMode(pg->conn))
        return pg_fail(cx, ERR_UNAVAILABLE);
    PQsetnonblocking(pg->conn, 0);
    enum err_code code = exec_blocking(pg, "SET statement_timeout = 0");
    if (!code)
        code = exec_blocking(pg, sql);
    if (!code)
        code = exec_blocking(pg, "SET statement_timeout = 30000");
    if (PQstatus(pg->conn) != CONNECTION_OK || PQsetnonblocking(pg->conn, 1) != 0 ||
        !PQenterPipelineMode(pg->conn))
        pg_lose(pg, PQerrorMessage(pg->conn));
    else if (code && !pg->in_tx)
        pg_lose(pg, "a script failed half way"); /* a new session has known settings */
    pg->stmts_stale = true;                      /* types may have changed under them */
    pg->have_known = false;
    if (code && pg->in_tx) {
        pg->fail = code;
        pg->fail_unit = pg->unit;
    }
    return code ? pg_fail(cx, code) : ERR_NONE;
}

static void pg_close(struct db *db)
{
    struct pg *pg = (struct pg *)db;
    if (pg->conn)
        PQfinish(pg->conn);
    pg_stmts_forget(pg);
    arena_done(&pg->scratch);
    free(pg->conninfo);
    free(pg);
}

static const struct db_ops OPS = {
    .run = pg_run,
    .query = pg_query,
    .exec_script = pg_exec_script,
    .begin = pg_begin,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .savepoint = pg_savepoint,
    .release = pg_release,
    .rollback_to = pg_rollback_to,
    .unit_mark = pg_unit_mark,
    .flush = pg_flush,
    .close = pg_close,
};

/* Readers and writers differ only in what is sent. */
static enum err_code pg_open(struct ctx *cx, struct store *store, bool is_writer, struct db **out)
{
    (void)is_writer;
    struct pg *pg = calloc(1, sizeof *pg);
    BUG_IF(!pg);
    pg->db = (struct db){ .ops = &OPS, .store = store, .is_postgres = true, .scope_dirty = true };
    pg->unit = -1;
    arena_init(&pg->scratch, CTX_CAP_DEFAULT);
    pg->conninfo = strdup(str_cstr(&cx->arena, store_settings(store)->database));
    BUG_IF(!pg->conninfo);
    enum err_code e = connect_again(cx, pg);
    if (e)
        pg_close(&pg->db);
    else
        *out = &pg->db;
    return e;
}

static int pg_writers(const struct store_conf *conf)
{
    return (int)conf->pg_writers;
}

const struct backend backend_postgres = {
    .open = pg_open,
    .claim = "FOR UPDATE SKIP LOCKED",
    .writers = pg_writers,
    .reads_inline = false,
};
