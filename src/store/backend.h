/* What a database must offer to the store: the inner interface of sqlite.c and postgres.c. Private
 * to store/.
 *
 * A connection is a struct that begins with struct db. The writer thread (writer.c) owns one write
 * connection per writer and calls: begin, the units, flush, before_commit hook, flush, commit. A
 * pipelining backend sends statements of db_run without waiting; `flush` waits for all of them and
 * records the failure of each unit (see unit_mark). */
#ifndef TESSERA_STORE_BACKEND_H
#define TESSERA_STORE_BACKEND_H

#include "store.h"

struct db_ops {
    enum err_code (*run)(struct ctx *, struct db *, const char *sql, struct args);
    /* Rows to `each`; db_one and db_list are built on it. `max_rows` 0 = all. The text of a row
     * need only live during the call of `each`: db_one and db_list copy what they keep
     * (row_keep). */
    enum err_code (*query)(struct ctx *, struct db *, const struct rec *, const char *sql,
                           struct args, enum err_code (*each)(struct ctx *, void *row, void *arg),
                           void *arg, int64_t max_rows);
    enum err_code (*exec_script)(struct ctx *, struct db *,
                                 const char *sql); /* migrations: many statements */
    enum err_code (*begin)(struct ctx *, struct db *,
                           bool is_write); /* connects again when the connection was lost */
    enum err_code (*commit)(struct ctx *, struct db *);
    void (*rollback)(
        struct db *); /* also right after a failed begin or commit: then maybe nothing to do */
    enum err_code (*savepoint)(struct ctx *,
                               struct db *); /* one level deeper each time, at most 4 */
    enum err_code (*release)(struct ctx *, struct db *);
    enum err_code (*rollback_to)(struct ctx *, struct db *); /* back to the newest and drop it */
    /* Pipelining: from here on statements belong to unit `index` of the batch (-1 = to none). */
    void (*unit_mark)(struct db *, int index);
    /* Wait for everything sent. *failed = index of the first unit one of whose statements failed,
     * or -1; the return code is that failure (NONE when all went well), or UNAVAILABLE when the
     * connection is gone. */
    enum err_code (*flush)(struct ctx *, struct db *, int *failed);
    void (*close)(struct db *);
};

struct db {
    const struct db_ops *ops;
    struct store *store;
    bool is_postgres;
    bool is_refused;  /* the server refused a statement of this transaction and certainly kept
                         nothing of it: it may run again */
    bool has_written; /* since the last unit_mark: a statement that may write was run */
    /* The scope that the unit asked for; postgres.c applies it before the next statement when it
     * differs. */
    char scope_team[64], scope_token[64];
    bool scope_system;
    bool scope_dirty;
    int savepoints; /* db.c: those that the running unit has open */
};

struct backend {
    enum err_code (*open)(struct ctx *, struct store *, bool is_writer, struct db **out);
    const char *claim; /* what {claim} becomes */
    int (*writers)(const struct store_conf *);
    bool reads_inline;
    /* Optional (NULL = nothing). `start`: the process is about to serve with this write connection.
     * `rest`: the writer, between two batches, outside any transaction. */
    enum err_code (*start)(struct ctx *, struct db *);
    void (*rest)(struct db *);
};
extern const struct backend backend_sqlite;
extern const struct backend backend_postgres;

/* True when the text begins with SELECT or WITH … SELECT (no write). Shared by both. */
bool sql_is_read(const char *sql);
/* The text with {claim} replaced, in a (lives as long as the statement). */
struct str sql_for_backend(struct arena *a, const struct backend *b, const char *sql);
/* Copy a row's columns into obj: shared helpers live in row.c. `names` are found once per prepared
 * statement. */
const struct field *row_field(const struct rec *r, const char *column); /* BUG when unknown */

/* Copy the row's texts into cx. TOO_LARGE (recorded) when they do not fit into cx's memory. */
enum err_code row_keep(struct ctx *cx, const struct rec *r, void *row);
/* The settings that the store was opened with; they live as long as it. */
const struct store_conf *store_settings(const struct store *s);

struct migration {
    const char *name; /* "0001_init" */
    const char *sql;
};
extern const struct migration
    migrations[]; /* generated from migrations/NNNN_name.sql; NULL name ends it */

#endif
