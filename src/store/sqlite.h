/* What the files of the SQLite backend share: sqlite.c (connection, transactions, errors),
 * sqlite_stmt.c (prepared statements, parameters, rows), sqlite_wal.c (checkpoints). Private to
 * them and to backup.c.
 *
 * Threads: a connection belongs to one thread at a time; struct sq_wal says what its lock
 * covers. */
#ifndef TESSERA_STORE_SQLITE_H
#define TESSERA_STORE_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "inner.h"

#define SQ_HEADS 256          /* chains of the statement cache; a power of two */
#define SQ_LEVELS_MAX 4       /* savepoints inside one another */
#define SQ_BUSY_OPEN_MS 5000  /* command line: another process holds the write lock */
#define SQ_BUSY_SERVE_MS 2000 /* a serving writer: clients wait meanwhile */
#define SQ_WAL_CHECKPOINT_PAGES 1000
#define SQ_WAL_MAX_PAGES 16384 /* 64 MiB of 4 KiB pages */

struct sq_stmt {
    sqlite3_stmt *st;
    char *sql; /* our copy of the caller's text; NULL = not kept in the cache */
    size_t len;
    uint64_t hash;
    struct sq_stmt *next;
    uint64_t used; /* turn of the last use */
    bool is_busy;  /* between get and put */
    bool is_read;
    int n_binds, n_cols;
    unsigned short *arg_of;      /* bind index - 1 → index into args */
    const struct rec *rec;       /* whose fields `fields` are; NULL = none yet */
    const struct field **fields; /* n_cols */
};

struct sq_wal;

struct sq {
    struct db db; /* first: a struct db * is a struct sq * */
    sqlite3 *conn;
    bool in_tx; /* we believe so; SQLite itself may have rolled back after a full disk */
    int levels;
    struct sq_stmt *heads[SQ_HEADS];
    int n_stmts;
    uint64_t turn;
    int64_t warned_us;  /* last warning: at most one a second */
    struct sq_wal *wal; /* the writer of a serving process; else NULL */
};

/* ---- sqlite.c */
/* Record the failure of `rc` on this connection and return its code; INTERNAL is logged with
 * SQLite's words. */
enum err_code sq_fail(struct ctx *cx, struct sq *sq, int rc, const char *sql);
/* A plain connection to the store's file: extended codes, busy timeout, nothing else set. NULL on
 * failure, which is recorded. */
sqlite3 *sq_connect(struct ctx *cx, const char *path);
/* The transaction that we believe to be in is gone. */
bool sq_is_lost(const struct sq *sq);

/* ---- sqlite_stmt.c */
enum err_code sq_run(struct ctx *cx, struct db *db, const char *sql, struct args args);
enum err_code sq_query(struct ctx *cx, struct db *db, const struct rec *rec, const char *sql,
                       struct args args, enum err_code (*each)(struct ctx *, void *row, void *arg),
                       void *arg, int64_t max_rows);
/* Run a fixed text of our own (BEGIN, SAVEPOINT …). Returns SQLite's code. */
int sq_control(struct sq *sq, const char *sql);
void sq_forget_stmts(struct sq *sq);

/* ---- sqlite_wal.c */
enum err_code sq_wal_start(struct ctx *cx, struct db *db);
void sq_wal_rest(struct db *db); /* between batches: keep the log under its cap */
void sq_wal_stop(struct sq *sq);

#endif
