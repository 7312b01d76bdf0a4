/* The SQLite backend: connections, transactions, error codes.
 *
 * Settings: WAL with synchronous=FULL (a commit survives power loss), foreign keys at once, small
 * caches so that an idle process stays small. Library mutexes are off per connection: each belongs
 * to one thread at a time.
 *
 * SQLite rolls a transaction back by itself after some failures (disk full, I/O error). Running on
 * would then store each statement alone; so every step asks sq_is_lost first, and the batch ends as
 * UNAVAILABLE. The connection stays open: the next batch works again as soon as the disk does. */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/log.h"

#define WARN_GAP_US 1000000

/* --- Errors --- */

static const struct {
    int rc; /* extended code, or primary code */
    enum err_code err;
} codes[] = {
    { SQLITE_CONSTRAINT_UNIQUE, ERR_UNIQUE }, { SQLITE_CONSTRAINT_PRIMARYKEY, ERR_UNIQUE },
    { SQLITE_CONSTRAINT_ROWID, ERR_UNIQUE },  { SQLITE_CONSTRAINT_FOREIGNKEY, ERR_CONFLICT },
    { SQLITE_FULL, ERR_UNAVAILABLE },         { SQLITE_READONLY, ERR_UNAVAILABLE },
    { SQLITE_IOERR, ERR_UNAVAILABLE },        { SQLITE_BUSY, ERR_UNAVAILABLE },
    { SQLITE_LOCKED, ERR_UNAVAILABLE },       { SQLITE_CANTOPEN, ERR_UNAVAILABLE },
};

static enum err_code code_of(int rc)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].rc == rc || codes[i].rc == (rc & 0xff))
            return codes[i].err;
    return ERR_INTERNAL;
}

enum err_code sq_fail(struct ctx *cx, struct sq *sq, int rc, const char *sql)
{
    enum err_code e = code_of(rc);
    const char *words = sqlite3_errmsg(sq->conn);
    int64_t now = clock_mono_us();

    if (e == ERR_INTERNAL) {
        log_error(cx, "db.failed", KVI("sqlite", rc), KVC("text", words), KVC("sql", sql));
    } else if (e == ERR_UNAVAILABLE && now - sq->warned_us >= WARN_GAP_US) {
        sq->warned_us = now;
        log_warn(cx, "db.unavailable", KVI("sqlite", rc), KVC("text", words));
    }
    return e == ERR_UNAVAILABLE ? store_unavailable(cx) : ctx_fail_plain(cx, e);
}

/* --- Open and close --- */

static void library_setup(void)
{
    sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

sqlite3 *sq_connect(struct ctx *cx, const char *path)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sqlite3 *conn = NULL;
    int rc;

    pthread_once(&once, library_setup);
    rc = sqlite3_open_v2(path, &conn, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(conn, 1);
        sqlite3_busy_timeout(conn, SQ_BUSY_OPEN_MS);
        return conn;
    }
    log_error(cx, "db.open_failed", KVC("path", path), KVC("text", sqlite3_errstr(rc)));
    sqlite3_close(conn);
    store_unavailable(cx);
    return NULL;
}

/* Only we may read it: SQLite gives its side files the same mode. */
static enum err_code create_file(struct ctx *cx, const char *path)
{
    const char *slash = strrchr(path, '/');
    int fd;

    if (slash && slash != path)
        (void)mkdir(str_cstr(&cx->arena, (struct str){ path, (size_t)(slash - path) }), 0700);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        log_error(cx, "db.open_failed", KVC("path", path), KVI("errno", errno));
        return store_unavailable(cx);
    }
    close(fd);
    return ERR_NONE;
}

#define PRAGMAS_BOTH                                                                               \
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"              \
    "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
#define PRAGMAS_WRITER                                                                             \
    PRAGMAS_BOTH "PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 67108864;"
#define PRAGMAS_READER PRAGMAS_BOTH "PRAGMA cache_size = -1024; PRAGMA query_only = ON;"

static const struct db_ops sq_ops;

static enum err_code sq_open(struct ctx *cx, struct store *s, bool is_writer, struct db **out)
{
    const char *path = str_cstr(&cx->arena, store_path(s));
    struct sq *sq;
    enum err_code e = is_writer ? create_file(cx, path) : ERR_NONE;
    sqlite3 *conn;
    int rc;

    if (e)
        return e;
    conn = sq_connect(cx, path);
    if (!conn)
        return cx->err;
    sq = calloc(1, sizeof *sq);
    BUG_IF(sq == NULL);
    sq->db.ops = &sq_ops;
    sq->db.store = s;
    sq->conn = conn;
    sq->warned_us = -WARN_GAP_US;
    rc = sqlite3_exec(conn, is_writer ? PRAGMAS_WRITER : PRAGMAS_READER, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        e = sq_fail(cx, sq, rc, "settings");
        sqlite3_close(conn);
        free(sq);
        return e;
    }
    *out = &sq->db;
    return ERR_NONE;
}

static void sq_close(struct db *db)
{
    struct sq *sq = (struct sq *)db;

    sq_wal_stop(sq);
    sq_forget_stmts(sq);
    BUG_IF(sqlite3_close(sq->conn) != SQLITE_OK); /* a statement was left open */
    free(sq);
}

/* --- Transactions --- */

bool sq_is_lost(const struct sq *sq)
{
    return sq->in_tx && sqlite3_get_autocommit(sq->conn);
}

static enum err_code control(struct ctx *cx, struct sq *sq, const char *sql)
{
    int rc;

    if (sq_is_lost(sq))
        return store_unavailable(cx);
    rc = sq_control(sq, sql);
    return rc == SQLITE_OK ? ERR_NONE : sq_fail(cx, sq, rc, sql);
}

static enum err_code sq_begin(struct ctx *cx, struct db *db, bool is_write)
{
    struct sq *sq = (struct sq *)db;
    enum err_code e;

    BUG_IF(sq->in_tx);
    sq->levels = 0;
    e = control(cx, sq, is_write ? "BEGIN IMMEDIATE" : "BEGIN");
    sq->in_tx = e == ERR_NONE;
    return e;
}

static enum err_code sq_commit(struct ctx *cx, struct db *db)
{
    struct sq *sq = (struct sq *)db;
    enum err_code e = control(cx, sq, "COMMIT");

    if (!e)
        sq->in_tx = false;
    return e;
}

static void sq_rollback(struct db *db)
{
    struct sq *sq = (struct sq *)db;

    sq->in_tx = false;
    if (!sqlite3_get_autocommit(sq->conn) && sq_control(sq, "ROLLBACK") != SQLITE_OK)
        log_warn(NULL, "db.rollback_failed", KVC("text", sqlite3_errmsg(sq->conn)));
}

static const char *const savepoint_sql[SQ_LEVELS_MAX][3] = {
    { "SAVEPOINT s1", "RELEASE s1", "ROLLBACK TO s1" },
    { "SAVEPOINT s2", "RELEASE s2", "ROLLBACK TO s2" },
    { "SAVEPOINT s3", "RELEASE s3", "ROLLBACK TO s3" },
    { "SAVEPOINT s4", "RELEASE s4", "ROLLBACK TO s4" },
};

static enum err_code sq_savepoint(struct ctx *cx, struct db *db)
{
    struct sq *sq = (struct sq *)db;
    enum err_code e;

    BUG_IF(sq->levels == SQ_LEVELS_MAX || !sq->in_tx);
    e = control(cx, sq, savepoint_sql[sq->levels][0]);
    if (!e)
        sq->levels++;
    return e;
}

static enum err_code sq_release(struct ctx *cx, struct db *db)
{
    struct sq *sq = (struct sq *)db;

    BUG_IF(sq->levels == 0);
    sq->levels--;
    return control(cx, sq, savepoint_sql[sq->levels][1]);
}

static enum err_code sq_rollback_to(struct ctx *cx, struct db *db)
{
    struct sq *sq = (struct sq *)db;
    enum err_code e;

    BUG_IF(sq->levels == 0);
    sq->levels--;
    e = control(cx, sq, savepoint_sql[sq->levels][2]);
    return e ? e : control(cx, sq, savepoint_sql[sq->levels][1]);
}

static enum err_code sq_exec_script(struct ctx *cx, struct db *db, const char *sql)
{
    struct sq *sq = (struct sq *)db;
    int rc;

    if (sq_is_lost(sq))
        return store_unavailable(cx);
    db->has_written = true;
    rc = sqlite3_exec(sq->conn, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_NONE : sq_fail(cx, sq, rc, "script");
}

/* Statements run at once: nothing is ever on its way. */
static void sq_unit_mark(struct db *db, int index)
{
    (void)db;
    (void)index;
}

static enum err_code sq_flush(struct ctx *cx, struct db *db, int *failed)
{
    *failed = -1;
    return sq_is_lost((struct sq *)db) ? store_unavailable(cx) : ERR_NONE;
}

static int sq_writers(const struct store_conf *conf)
{
    (void)conf;
    return 1;
}

static const struct db_ops sq_ops = {
    .run = sq_run,
    .query = sq_query,
    .exec_script = sq_exec_script,
    .begin = sq_begin,
    .commit = sq_commit,
    .rollback = sq_rollback,
    .savepoint = sq_savepoint,
    .release = sq_release,
    .rollback_to = sq_rollback_to,
    .unit_mark = sq_unit_mark,
    .flush = sq_flush,
    .close = sq_close,
};

const struct backend backend_sqlite = {
    .open = sq_open,
    .claim = "",
    .writers = sq_writers,
    .reads_inline = true,
    .start = sq_wal_start,
    .rest = sq_wal_rest,
};
