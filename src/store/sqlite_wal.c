/* Checkpoints beside the writer: its commits then never pay for copying the log into the file.
 *
 * SQLite's own automatic checkpoint is off in a serving process. After each commit the writer notes
 * how long the log is; a thread with its own connection copies back when that passes 1,000 pages,
 * at most every 50 ms, without stopping anyone. Under unbroken load such a log is never begun anew
 * and would grow for ever; past 64 MiB the writer itself does that between two batches. When a long
 * read prevents it, it tries again after another 16 MiB.
 *
 * Locks: `lock` covers the fields marked so; `checkpoint` is held while one runs, so that the two
 * do not refuse each other. Owner: the writer's connection, from start to close. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "sqlite.h"

#define GAP_US 50000
#define RETRY_PAGES 4096
#define RESTART_BUSY_MS 100

struct sq_wal {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_mutex_t checkpoint;
    sqlite3 *conn;    /* the thread's */
    bool is_stopping; /* lock */
    int pages;        /* lock: length of the log after the last commit */
    int copied;       /* lock: that length when all of it had been copied back */
    int pages_seen;   /* writer: the same as pages */
    int retry_at;     /* writer: do not restart the log before it has this length */
};

static int on_commit(void *arg, sqlite3 *conn, const char *name, int pages)
{
    struct sq_wal *wal = arg;

    (void)conn;
    (void)name;
    wal->pages_seen = pages;
    if (pages <= SQ_WAL_CHECKPOINT_PAGES)
        return SQLITE_OK;
    pthread_mutex_lock(&wal->lock);
    wal->pages = pages;
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_signal(&wal->wake);
    return SQLITE_OK;
}

static int copy_back(struct sq_wal *wal)
{
    int pages = 0, copied = 0;
    int rc;

    pthread_mutex_lock(&wal->checkpoint);
    rc = sqlite3_wal_checkpoint_v2(wal->conn, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
    pthread_mutex_unlock(&wal->checkpoint);
    if (rc == SQLITE_BUSY) /* someone else copies back just now: the next turn goes on */
        log_debug(NULL, "store.checkpoint_busy", KVI("pages", pages));
    else if (rc != SQLITE_OK)
        log_warn(NULL, "store.checkpoint_failed", KVC("text", sqlite3_errstr(rc)));
    return rc == SQLITE_OK && pages == copied ? pages : 0;
}

/* lock held */
static void pause_thread(struct sq_wal *wal)
{
    int64_t until = clock_mono_us() + GAP_US;
    struct timespec at = { .tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000 };

    while (!wal->is_stopping && pthread_cond_timedwait(&wal->wake, &wal->lock, &at) == 0)
        ;
}

static void *wal_main(void *arg)
{
    struct sq_wal *wal = arg;

    pthread_mutex_lock(&wal->lock);
    while (!wal->is_stopping) {
        int copied;

        if (wal->pages <= SQ_WAL_CHECKPOINT_PAGES || wal->pages == wal->copied) {
            pthread_cond_wait(&wal->wake, &wal->lock);
            continue;
        }
        pthread_mutex_unlock(&wal->lock);
        copied = copy_back(wal);
        pthread_mutex_lock(&wal->lock);
        wal->copied = copied;
        pause_thread(wal);
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

static void wal_free(struct sq_wal *wal)
{
    sqlite3_close(wal->conn);
    pthread_mutex_destroy(&wal->checkpoint);
    pthread_cond_destroy(&wal->wake);
    pthread_mutex_destroy(&wal->lock);
    free(wal);
}

enum err_code sq_wal_start(struct ctx *cx, struct db *db)
{
    struct sq *sq = (struct sq *)db;
    pthread_condattr_t attr;
    struct sq_wal *wal;
    sqlite3 *conn = sq_connect(cx, sqlite3_db_filename(sq->conn, NULL));

    if (!conn)
        return cx->err;
    wal = calloc(1, sizeof *wal);
    BUG_IF(wal == NULL);
    wal->conn = conn;
    pthread_mutex_init(&wal->lock, NULL);
    pthread_mutex_init(&wal->checkpoint, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&wal->wake, &attr);
    pthread_condattr_destroy(&attr);
    /* The first statement makes the connection use the log; a checkpoint on a fresh one would do
     * nothing. */
    sqlite3_exec(conn, "PRAGMA synchronous = FULL; SELECT 1 FROM sqlite_schema LIMIT 1", NULL, NULL,
                 NULL);
    if (pthread_create(&wal->thread, NULL, wal_main, wal) != 0) {
        wal_free(wal);
        return store_unavailable(cx);
    }
    sqlite3_wal_hook(sq->conn, on_commit, wal); /* takes the place of the automatic checkpoint */
    sqlite3_busy_timeout(sq->conn, SQ_BUSY_SERVE_MS);
    sq->wal = wal;
    return ERR_NONE;
}

void sq_wal_rest(struct db *db)
{
    struct sq *sq = (struct sq *)db;
    struct sq_wal *wal = sq->wal;
    int rc;

    if (!wal || wal->pages_seen < SQ_WAL_MAX_PAGES || wal->pages_seen < wal->retry_at)
        return;
    pthread_mutex_lock(&wal->checkpoint);
    sqlite3_busy_timeout(sq->conn, RESTART_BUSY_MS);
    rc = sqlite3_wal_checkpoint_v2(sq->conn, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    sqlite3_busy_timeout(sq->conn, SQ_BUSY_SERVE_MS);
    pthread_mutex_unlock(&wal->checkpoint);
    wal->retry_at = rc == SQLITE_OK ? 0 : wal->pages_seen + RETRY_PAGES;
    if (rc == SQLITE_OK)
        wal->pages_seen = 0;
    else
        log_warn(NULL, "store.wal_long", KVI("pages", wal->pages_seen),
                 KVC("text", sqlite3_errstr(rc)));
}

void sq_wal_stop(struct sq *sq)
{
    struct sq_wal *wal = sq->wal;

    if (!wal)
        return;
    pthread_mutex_lock(&wal->lock);
    wal->is_stopping = true;
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_signal(&wal->wake);
    pthread_join(wal->thread, NULL);
    sqlite3_wal_hook(sq->conn, NULL, NULL);
    wal_free(wal);
    sq->wal = NULL;
}
