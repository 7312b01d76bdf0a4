/* What the three files of the PostgreSQL backend share: postgres.c (connection, transactions,
 * errors), postgres_pipe.c (the pipeline and its expected results), postgres_stmt.c (prepared
 * statements, parameters, rows). Private to them.
 *
 * The pipeline. Every connection stays in libpq's pipeline mode. What is sent is noted in a ring of
 * expected results; results come back in the same order. Inside a transaction nothing is waited for
 * until a query needs its rows, the ring is full, or the caller flushes; a flush request makes the
 * server answer without ending the segment. After an error the server skips everything to the next
 * Sync, so the segment is lost as a whole: the first failure is kept in `fail` until rollback or
 * rollback_to sends the Sync. Outside a transaction every statement ends with a Sync.
 *
 * Threads: a connection belongs to one thread at a time. Owner: store. */
#ifndef TESSERA_STORE_POSTGRES_H
#define TESSERA_STORE_POSTGRES_H

#include <libpq-fe.h>

#include "backend.h"

#define PG_EXPECT_MAX 2048 /* results on their way; a full ring is waited for */
#define PG_PARAMS_MAX 256  /* placeholders of one statement */
#define PG_COLUMNS_MAX 64  /* columns of one result */
#define PG_LEVELS_MAX 4    /* savepoints inside one another */
#define PG_PUSH_BYTES 8192 /* sent to the socket when this much has gathered */
#define PG_WAIT_US                                                                                 \
    35000000 /* longest wait for an answer: beyond the server's own statement_timeout */
#define PG_BACKOFF_MIN_US 100000  /* between attempts to connect again: doubles from here … */
#define PG_BACKOFF_MAX_US 1600000 /* … to here */

struct pg_stmt {
    char *sql;             /* as the caller wrote it, our copy; NULL = free */
    uint64_t hash;         /* of sql */
    unsigned id;           /* the name on the server is "t<id>"; never used twice on a connection */
    const struct rec *rec; /* whose members `fields` are; NULL = no rows read so far */
    const struct field **fields; /* one per column; ours */
    int n_fields;
};

enum pg_kind {
    PG_EXPECT_STMT,    /* a statement of a unit, or our own BEGIN, SAVEPOINT … */
    PG_EXPECT_PREPARE, /* its preparation: on failure the statement is forgotten */
    PG_EXPECT_DROP,    /* DEALLOCATE of an old one */
    PG_EXPECT_COMMIT,  /* must answer COMMIT; a COMMIT in a failed transaction answers ROLLBACK */
    PG_EXPECT_SYNC,
};

struct pg_expect {
    enum pg_kind kind;
    int unit;    /* that a failure belongs to */
    unsigned id; /* of the prepared statement; 0 = none */
};

struct pg {
    struct db db; /* first: a struct db * is a struct pg * */
    char *conninfo;
    PGconn *conn; /* NULL = connect again at the next begin or single statement */
    bool in_tx;   /* between begin and commit or rollback */
    bool is_read; /* that transaction only reads */
    bool in_rows; /* a callback is running on rows that are still arriving */
    int levels;   /* savepoints open */

    struct pg_expect expect[PG_EXPECT_MAX]; /* ring */
    size_t expect_at, expect_n;
    size_t unpushed; /* bytes handed to libpq since the last push */

    int unit;           /* that statements belong to now */
    enum err_code fail; /* the first failure of this segment; NONE = none known */
    int fail_unit;

    struct pg_stmt stmts[DB_STMTS_MAX];
    unsigned n_sent_stmts; /* the last id; slot = id % DB_STMTS_MAX, so the oldest goes first */
    bool stmts_stale;      /* forget all prepared statements before the next transaction */
    uint64_t n_begins;     /* transactions of this connection */
    struct arena scratch;  /* parameter texts while one statement is sent */

    char have_team[64], have_token[64]; /* the scope of the server's session */
    bool have_system, have_known;

    int64_t retry_at_us, backoff_us; /* no attempt to connect before */
};

/* ---- postgres.c */
/* Make the connection usable outside a transaction, connecting again when it is lost (also when the
 * server closed it while idle). UNAVAILABLE, recorded, while it is not; never waits for the next
 * attempt. */
enum err_code pg_ready(struct ctx *cx, struct pg *pg);
/* The connection is gone: drop it and all that was expected. Logs why. */
void pg_lose(struct pg *pg, const char *why);
/* The code of a failed result by its SQLSTATE; logs the server's words. sql may be NULL. */
enum err_code pg_error_code(struct pg *pg, const PGresult *res, const char *sql);
/* Record `code` in cx (UNAVAILABLE with retry_after_s 1) and return it. */
enum err_code pg_fail(struct ctx *cx, enum err_code code);
/* The same for the failure that this segment has; one of another unit counts as UNAVAILABLE. */
enum err_code pg_fail_known(struct ctx *cx, const struct pg *pg);

/* ---- postgres_pipe.c; all return false when the connection is gone */
/* Make room for a few more results, reading what is expected so far when the ring is full. */
bool pg_room(struct pg *pg);
/* Note that the result of what was just sent is expected. `ok` is libpq's answer, `bytes` its rough
 * size. */
bool pg_sent(struct pg *pg, int ok, enum pg_kind kind, unsigned id, size_t bytes);
/* Send a fixed text of our own (BEGIN, SAVEPOINT …), unprepared. */
bool pg_send_control(struct pg *pg, const char *sql);
/* End the segment: after an error the server listens again from here. */
bool pg_sync(struct pg *pg);
/* Ask for the answers without ending the segment. */
bool pg_ask(struct pg *pg);
/* Read all expected results but the newest `leave`; failures land in pg->fail. */
bool pg_drain(struct pg *pg, size_t leave);
/* The next result of the oldest expected statement, NULL at its end (the caller then says
 * pg_taken). The caller clears it, after pg_note. */
bool pg_result(struct pg *pg, PGresult **res);
void pg_note(struct pg *pg, const PGresult *res); /* keep what a result says about failure */
void pg_taken(struct pg *pg);

/* ---- postgres_stmt.c */
enum err_code pg_run(struct ctx *cx, struct db *db, const char *sql, struct args args);
enum err_code pg_query(struct ctx *cx, struct db *db, const struct rec *rec, const char *sql,
                       struct args args, enum err_code (*each)(struct ctx *, void *row, void *arg),
                       void *arg, int64_t max_rows);
struct pg_stmt *pg_stmt_by_id(struct pg *pg, unsigned id); /* NULL when forgotten */
void pg_stmt_forget(struct pg_stmt *s); /* without telling the server; NULL is fine */
void pg_stmts_forget(struct pg *pg);

#endif
