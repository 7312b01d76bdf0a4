/* The pipeline of a PostgreSQL connection: sending without waiting, and reading results in the order of sending.
 *
 * libpq is in non-blocking mode. A socket that takes no more is waited for together with reading, because a server
 * that cannot send its answers stops reading and both would wait for ever. Every wait ends after PG_WAIT_US; a
 * connection that misses it counts as lost.
 *
 * The ring `expect` says which unit each result belongs to. The first failure of a segment is kept in pg->fail; what
 * follows it is answered as aborted and only taken from the ring. The owner of the connection is the only thread here. */
#include "postgres.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "../base/clock.h"

#define PG_ROOM 8 /* results that one statement may add: drop, scope, preparation, itself, Sync */
#define PG_TLS_SLICE_MS 20 /* TLS may hold bytes that poll does not see: look again this often */

/* Wait until the socket can be read (or written, when we have something left to send), then read what is there. */
static bool wait_io(struct pg *pg, bool want_write, int64_t deadline_us)
{
    int64_t left_ms = (deadline_us - clock_mono_us()) / 1000 + 1;
    if (left_ms <= 0) {
        pg_lose(pg, "no answer in time");
        return false;
    }
    if (PQsslInUse(pg->conn) && left_ms > PG_TLS_SLICE_MS)
        left_ms = PG_TLS_SLICE_MS;
    struct pollfd fd = { .fd = PQsocket(pg->conn), .events = POLLIN };
    if (want_write)
        fd.events |= POLLOUT;
    if (poll(&fd, 1, (int)left_ms) < 0 && errno != EINTR) {
        pg_lose(pg, "poll failed");
        return false;
    }
    if (!PQconsumeInput(pg->conn)) {
        pg_lose(pg, PQerrorMessage(pg->conn));
        return false;
    }
    return true;
}

static bool push(struct pg *pg)
{
    int64_t deadline_us = clock_mono_us() + PG_WAIT_US;
    int left;
    while ((left = PQflush(pg->conn)) > 0) {
        if (!wait_io(pg, true, deadline_us))
            return false;
    }
    if (left < 0) {
        pg_lose(pg, PQerrorMessage(pg->conn));
        return false;
    }
    pg->unpushed = 0;
    return true;
}

bool pg_sent(struct pg *pg, int ok, enum pg_kind kind, unsigned id, size_t bytes)
{
    if (!ok) {
        pg_lose(pg, PQerrorMessage(pg->conn));
        return false;
    }
    BUG_IF(pg->expect_n == PG_EXPECT_MAX);
    pg->expect[(pg->expect_at + pg->expect_n++) % PG_EXPECT_MAX] =
        (struct pg_expect){ .kind = kind, .unit = pg->unit, .id = id };
    pg->unpushed += bytes;
    return pg->unpushed < PG_PUSH_BYTES || push(pg);
}

bool pg_room(struct pg *pg)
{
    if (!pg->conn)
        return false;
    if (pg->expect_n + PG_ROOM <= PG_EXPECT_MAX)
        return true;
    return pg_ask(pg) && pg_drain(pg, 0);
}

bool pg_send_control(struct pg *pg, const char *sql)
{
    if (!pg_room(pg))
        return false;
    enum pg_kind kind = strcmp(sql, "COMMIT") == 0 ? PG_EXPECT_COMMIT : PG_EXPECT_STMT;
    int ok = PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, 0);
    return pg_sent(pg, ok, kind, 0, strlen(sql));
}

bool pg_sync(struct pg *pg)
{
    if (!pg_room(pg))
        return false;
    return pg_sent(pg, PQpipelineSync(pg->conn), PG_EXPECT_SYNC, 0, 0);
}

bool pg_ask(struct pg *pg)
{
    if (!pg->conn)
        return false;
    if (pg->expect_n == 0)
        return true;
    if (!PQsendFlushRequest(pg->conn)) {
        pg_lose(pg, PQerrorMessage(pg->conn));
        return false;
    }
    return push(pg);
}

/* A failure without an SQLSTATE is libpq's own: it could not store an answer for want of memory, and
 * results may be missing from then on. */
static bool is_libpqs(const PGresult *res)
{
    return res && PQresultStatus(res) == PGRES_FATAL_ERROR &&
           !PQresultErrorField(res, PG_DIAG_SQLSTATE);
}

/* Without memory for the result of a Sync, libpq (15: pqParseInput3, 'Z') notes an error and goes on waiting for
 * what has come already: a new error text while it is busy is an answer that is lost. */
bool pg_result(struct pg *pg, PGresult **res)
{
    int64_t deadline_us = clock_mono_us() + PG_WAIT_US;
    size_t told = strlen(PQerrorMessage(pg->conn));
    while (PQisBusy(pg->conn)) {
        int left = PQflush(pg->conn);
        if (left < 0 || strlen(PQerrorMessage(pg->conn)) != told) {
            pg_lose(pg, PQerrorMessage(pg->conn));
            return false;
        }
        if (!wait_io(pg, left > 0, deadline_us))
            return false;
    }
    *res = PQgetResult(pg->conn);
    if (PQstatus(pg->conn) == CONNECTION_OK && !is_libpqs(*res))
        return true;
    PQclear(*res);
    *res = NULL;
    pg_lose(pg, PQerrorMessage(pg->conn));
    return false;
}

void pg_note(struct pg *pg, const PGresult *res)
{
    const struct pg_expect *want = &pg->expect[pg->expect_at];
    ExecStatusType status = PQresultStatus(res);
    bool is_fine =
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE;
    enum err_code code = ERR_NONE;

    if (!is_fine) {
        struct pg_stmt *stmt = pg_stmt_by_id(pg, want->id);
        code = status == PGRES_FATAL_ERROR ? pg_error_code(pg, res, stmt ? stmt->sql : NULL)
                                           : ERR_UNAVAILABLE; /* aborted: an earlier one failed */
        if (want->kind == PG_EXPECT_PREPARE)
            pg_stmt_forget(stmt);
        if (want->kind == PG_EXPECT_DROP)
            pg->stmts_stale = true;
    } else if (want->kind == PG_EXPECT_COMMIT &&
               strcmp(PQcmdStatus((PGresult *)res), "COMMIT") != 0) {
        code = ERR_UNAVAILABLE;
    }
    if (!code)
        return;
    pg->have_known = false; /* the failed transaction takes the scope back to what it was before */
    if (!pg->fail) {
        pg->fail = code;
        pg->db.is_refused = true;
        pg->fail_unit = want->unit;
    }
}

void pg_taken(struct pg *pg)
{
    pg->expect_at = (pg->expect_at + 1) % PG_EXPECT_MAX;
    pg->expect_n--;
}

/* Read the results of the oldest expected statement to their end. */
static bool read_oldest(struct pg *pg)
{
    bool wants_sync = pg->expect[pg->expect_at].kind == PG_EXPECT_SYNC;
    for (;;) {
        PGresult *res;
        if (!pg_result(pg, &res))
            return false;
        if (!res && !wants_sync)
            break;
        bool is_sync = res && PQresultStatus(res) == PGRES_PIPELINE_SYNC;
        if (is_sync != wants_sync) {
            PQclear(res);
            pg_lose(pg, "results out of step");
            return false;
        }
        if (!is_sync)
            pg_note(pg, res);
        PQclear(res);
        if (is_sync)
            break; /* a Sync has no NULL behind it */
    }
    pg_taken(pg);
    return true;
}

bool pg_drain(struct pg *pg, size_t leave)
{
    BUG_IF(pg->in_rows); /* the oldest result belongs to the query whose rows are being read */
    if (!pg->conn)
        return false;
    while (pg->expect_n > leave) {
        if (!read_oldest(pg))
            return false;
    }
    return true;
}
