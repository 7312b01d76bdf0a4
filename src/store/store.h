/* The database as a whole: opening, the group-commit writers, readers, migrations, backup.
 *
 * Writing. A unit of work is queued; a writer thread drains its queue (at most STORE_BATCH_MAX),
 * runs each unit in one transaction, commits once and then reports to all. A batch runs first
 * without savepoints (fast); when a unit fails after it has written, or the database refuses a
 * statement, the batch is rolled back and run again with each unit in its own savepoint, so a unit
 * that fails takes back only itself. Hence a unit's function may run twice: it must depend only on
 * its input. A COMMIT that fails gives every unit UNAVAILABLE. SQLite has one writer, PostgreSQL
 * `pg_writers` (each one connection in pipeline mode). Deadlock and serialization failures are
 * retried alone.
 *
 * Reading. SQLite: on the calling thread with its own reader connection. PostgreSQL: a pool of
 * connections, each with a thread for queued reads.
 *
 * Threads: everything here may be called from any thread unless it says otherwise. */
#ifndef TESSERA_STORE_STORE_H
#define TESSERA_STORE_STORE_H

#include "db.h"

#define STORE_BATCH_MAX 512

struct store;

struct store_conf {
    struct str database; /* "sqlite:PATH" or "postgresql://…" */
    int64_t pg_writers;  /* 1–16 */
    int64_t pg_readers;  /* 1–64 */
    int64_t queue_max;   /* units waiting over all writers; more are refused with UNAVAILABLE */
};

enum unit_flag {
    UNIT_ALONE = 1, /* a transaction of its own (long locks, maintenance) */
};

struct unit {
    enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg);
    /* Writer thread, after fn and before COMMIT, possibly again when the batch runs again; may be
     * NULL. */
    void (*ran)(struct unit *u, enum err_code e);
    /* Writer (or reader) thread, once, after COMMIT: e = NONE means durable. Last touch of u by the
     * store. */
    void (*done)(struct unit *u, enum err_code e);
    struct ctx *cx;
    void *arg;
    void *tag; /* for the hooks: the usage event of the request, or NULL */
    unsigned flags;
    enum err_code err; /* the store's */
    struct unit *next; /* the store's */
};

/* Called by each writer around its commits; handed down from above (core/usage). NULL members are
 * skipped. */
struct store_hooks {
    void *arg;
    /* Same transaction, after all units ran (their err is final). A failure rolls the whole batch
     * back. */
    enum err_code (*before_commit)(struct ctx *cx, struct db *db, void *arg, int writer,
                                   struct unit *const *units, size_t n);
    void (*after_commit)(void *arg, int writer, bool is_committed);
};

/* Open (SQLite: creates the file and its folder's last part); starts no threads. */
enum err_code store_open(struct ctx *cx, const struct store_conf *conf, struct store **out);
/* Start the writer and reader threads. Without it store_tx runs the unit on the calling thread
 * (CLI). */
enum err_code store_start(struct ctx *cx, struct store *s, const struct store_hooks *hooks);
/* Let the queued units finish, stop the threads, checkpoint, close. NULL is fine. */
void store_close(struct store *s);
bool store_is_postgres(const struct store *s);
int store_writers(const struct store *s);     /* 1 for SQLite */
struct str store_path(const struct store *s); /* SQLite: the file; else STR_NONE */

/* Queue a write. `key` chooses the writer (hash of the ticket or token) so that units of one entity
 * keep order. Never blocks. When the queue is full or stopping, done is called at once with
 * UNAVAILABLE. */
void store_submit(struct store *s, struct unit *u, uint64_t key);
/* Write and wait for the commit. */
enum err_code store_tx(struct ctx *cx, struct store *s,
                       enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg), void *arg);
/* True when reads may run on the calling thread without waiting for a network (SQLite). */
bool store_reads_inline(const struct store *s);
/* Read on the calling thread (SQLite: its own connection; PostgreSQL: a pooled one, waits for
 * it). */
enum err_code store_read(struct ctx *cx, struct store *s,
                         enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg), void *arg);
/* Queue a read; u->done is called on a reader thread (SQLite: at once on this one). */
void store_submit_read(struct store *s, struct unit *u);

/* Apply what is missing, under a lock, each in its own transaction. *applied counts. An applied
 * migration whose text has changed, or a database newer than the program, refuses. */
enum err_code store_migrate(struct ctx *cx, struct store *s, int *applied);
/* NOT_FOUND-free check for /readyz: all migrations are applied and the database answers. */
enum err_code store_ready(struct ctx *cx, struct store *s);
/* Consistent copy while running: SQLite file (plus its usage archive folder) or a pg_dump
 * custom-format file. */
enum err_code store_backup(struct ctx *cx, struct store *s, const char *path);

struct store_stats {
    int64_t batches, units, reruns, commit_failures;
    int64_t commit_us_sum; /* time in COMMIT */
    int64_t queued;        /* now */
    int64_t wal_bytes;     /* SQLite */
};
void store_stats(struct store *s, struct store_stats *out);

#endif
