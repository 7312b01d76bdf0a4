/* One SQL text over SQLite and PostgreSQL: statements inside a unit of work.
 *
 * A struct db is a connection lent to one unit of work; it is used by one thread and never kept.
 * SQL uses $1… placeholders and only what both databases share (ARCHITECTURE.md, "One SQL text");
 * the token {claim} becomes FOR UPDATE SKIP LOCKED on PostgreSQL and nothing on SQLite. Static SQL
 * strings are prepared once per connection, found by their text; at most DB_STMTS_MAX are kept,
 * oldest dropped first.
 *
 * Columns find their field by name (`AS name`) in the rec; unknown columns are a bug. Text lives in
 * cx. Each function records its failure in cx: NOT_FOUND, UNIQUE (unique constraint), UNAVAILABLE
 * (disk full, read-only, busy, connection lost, deadlock after retries), INTERNAL (anything else;
 * the log has the database's words).
 *
 * Owner: store. Threads: the one that runs the unit. */
#ifndef TESSERA_STORE_DB_H
#define TESSERA_STORE_DB_H

#include "../base/rec.h"

#define DB_STMTS_MAX 256
#define DB_ROWS_MAX 100000

struct db;

struct val {
    enum { VAL_NULL, VAL_INT, VAL_TEXT } kind;
    int64_t i;
    struct str s; /* p == NULL binds NULL */
};
struct args {
    const struct val *v;
    size_t n;
};
#define VI(num) ((struct val){ .kind = VAL_INT, .i = (num) })
#define VT(str_view) ((struct val){ .kind = VAL_TEXT, .s = (str_view) })
#define VNULL ((struct val){ .kind = VAL_NULL })
#define VI_OR_NULL(has, num) ((has) ? VI(num) : VNULL)
#define ARGS(...)                                                                                  \
    ((struct args){ (const struct val[]){ __VA_ARGS__ },                                           \
                    sizeof((const struct val[]){ __VA_ARGS__ }) / sizeof(struct val) })
#define NO_ARGS ((struct args){ NULL, 0 })

struct list {
    void *v; /* array of the rec's struct */
    size_t n;
};

/* Run a statement whose rows nobody reads. PostgreSQL, in a writer: sent without waiting; its
 * failure becomes the unit's failure later, so never branch on it; ask for RETURNING with db_one
 * when the outcome matters. */
enum err_code db_run(struct ctx *cx, struct db *db, const char *sql, struct args args);
/* The first row into *out (of r->size bytes; zeroed first). NOT_FOUND when there is none: that one
 * code is returned but NOT recorded in cx, so that callers may branch on it. */
enum err_code db_one(struct ctx *cx, struct db *db, const struct rec *r, const char *sql,
                     struct args args, void *out);
/* All rows (at most DB_ROWS_MAX, else INTERNAL). No rows is an empty list. */
enum err_code db_list(struct ctx *cx, struct db *db, const struct rec *r, const char *sql,
                      struct args args, struct list *out);
/* Row by row, constant memory where the backend can: `row` is valid during the call; a non-zero
 * return stops. */
enum err_code db_each(struct ctx *cx, struct db *db, const struct rec *r, const char *sql,
                      struct args args, enum err_code (*each)(struct ctx *cx, void *row, void *arg),
                      void *arg);

/* Part of a unit that may fail alone: begin; on failure rollback gives back the state at begin;
 * else release. */
enum err_code db_savepoint(struct ctx *cx, struct db *db);
enum err_code db_release(struct ctx *cx, struct db *db);
enum err_code db_rollback_to(struct ctx *cx, struct db *db);

/* Who the following statements act for (PostgreSQL row-level security; nothing on SQLite). Empty
 * token = every token of the team; the views are copied. db_scope_system lets maintenance see all
 * teams. A unit starts with no scope: on PostgreSQL it then sees nothing in tenant tables. */
void db_scope(struct db *db, struct str team_id, struct str token_id);
void db_scope_system(struct db *db);

bool db_is_postgres(const struct db *db); /* for the few texts that differ; say why at each use */

/* Handy single-value record: SELECT … AS n. */
struct rec_num {
    struct rec_bits bits;
    int64_t n;
};
extern const struct rec rec_num;
struct rec_text { /* SELECT … AS s */
    struct rec_bits bits;
    struct str s;
};
extern const struct rec rec_text;

#endif
