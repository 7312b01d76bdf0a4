/* What the files of the store share and nobody else sees: the store's body, its writers and its
 * readers.
 *
 * Owner: store.c opens and closes all of it. Fields marked "writer" belong to the writer's
 * thread. */
#ifndef TESSERA_STORE_INNER_H
#define TESSERA_STORE_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "../base/ctx.h"
#include "backend.h"

#define STORE_READ_WAIT_US                                                                         \
    ((int64_t)10 * 1000 * 1000) /* for a pooled connection, when cx has no deadline */

struct writer {
    struct store *s;
    int index;
    pthread_t thread;
    bool is_threaded; /* set before the thread starts */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct unit *head, *tail; /* lock: what was queued, oldest first */
    bool is_sleeping;         /* lock */
    bool is_stopping;         /* lock */
    struct unit *taken;       /* writer: taken from the queue, not yet run */
    struct db *db;            /* writer; opened before the thread starts */
    struct ctx cx;            /* writer: for begin, commit and the hooks */
};

struct reader { /* a thread's own connection, or a place of the pool */
    struct store *s;
    struct db *db; /* NULL until first use */
    bool is_busy;  /* a unit is running */
    struct reader *next;
};

struct readers {
    pthread_key_t key; /* inline reads: the calling thread's reader */
    pthread_mutex_t lock;
    pthread_cond_t wake_thread; /* a unit was queued */
    pthread_cond_t wake_idle;   /* a reader went back to the pool */
    struct reader *all;         /* lock; inline reads: every thread's reader */
    struct reader *idle;        /* lock; pool */
    struct reader *pool;        /* array of n_pool */
    pthread_t *threads;
    int n_pool, n_threads;
    struct unit *head, *tail; /* lock */
    bool is_stopping;         /* lock */
};

struct store {
    struct store_conf conf; /* its text lives in arena */
    const struct backend *backend;
    struct store_hooks hooks;
    struct arena arena;
    struct writer *writers;
    int n_writers;
    struct readers readers;
    bool is_started; /* set before any thread starts */
    atomic_llong queued, batches, units, reruns, commit_failures, commit_us_sum;
};

/* Run the units (1…STORE_BATCH_MAX) in one transaction, commit, call their done. Writer thread. */
void batch_run(struct writer *w, struct unit **units, size_t n);

void writer_init(struct writer *w, struct store *s, int index);
enum err_code writer_start(struct ctx *cx, struct writer *w);
/* Queue; without a thread run it here and now. False when stopping: done was not called. */
bool writer_submit(struct writer *w, struct unit *u);
/* Run what is queued, end the thread. */
void writer_stop(struct writer *w);
void writer_done(struct writer *w);

void readers_init(struct store *s);
enum err_code readers_start(struct ctx *cx, struct store *s);
void readers_stop(
    struct store *s); /* runs what is queued, ends the threads, closes all connections */

/* UNAVAILABLE with "try again in a second". */
enum err_code store_unavailable(struct ctx *cx);
/* Answer a unit that was never run. */
void store_refuse(struct unit *u);
/* store_tx with unit flags. */
enum err_code store_tx_with(struct ctx *cx, struct store *s,
                            enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg),
                            void *arg, unsigned flags);
/* A unit begins: no scope, nothing written, no savepoints. */
void db_unit_begin(struct db *db, int index);
/* A unit has ended with e: take back the savepoints that it left open. */
void db_unit_end(struct ctx *cx, struct db *db, enum err_code e);

#endif
