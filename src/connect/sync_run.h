/* Runs of syncs, as they are reported by who moves the data. Owner of table sync_run.
 *
 * The row of a run, what the sync says of its last run, and the event (sync.finished, sync.failed)
 * are one unit. A run is reported when it is over, once, and does not change. A sync that is disabled
 * takes runs as well: one may have been going on.
 *
 * Runs are kept for sync_run_days; those of a deleted sync cannot be read and go at the same age. */
#ifndef TESSERA_CONNECT_SYNC_RUN_H
#define TESSERA_CONNECT_SYNC_RUN_H

#include "sync.h"

#define SYNC_ITEMS_MAX INT64_C(1000000000000)
#define SYNC_ERRORS_MAX 100                  /* texts of a run */
#define SYNC_ERROR_MAX 1000                  /* characters of one */
#define SYNC_ERRORS_BYTES ((size_t)64 << 10) /* of all as JSON */
#define SYNC_DURATION_MAX_MS (INT64_C(366) * 24 * 3600 * 1000)
#define SYNC_CLOCK_SLACK_MS 300000 /* how far the worker's clock may be ahead */

struct sync_run {
    struct rec_bits bits;
    struct str id, sync_id, status, errors;
    int64_t items_processed, items_created, items_updated, items_skipped, error_count, duration_ms,
        started_ms, created_ms;
    struct str sync_name, integration_id; /* for the event */
};
extern const struct rec rec_sync_run;       /* in lists */
extern const struct rec rec_sync_run_full;  /* with its errors */
extern const struct rec rec_sync_run_event; /* the data of sync.finished and sync.failed */

struct sync_run_new {
    struct rec_bits bits;
    struct str status, errors;
    int64_t items_processed, items_created, items_updated, items_skipped, duration_ms, started_ms;
};
extern const struct rec rec_sync_run_new;

struct sync_run_query {
    struct rec_bits bits;
    struct str status, cursor;
    int64_t from, to, limit;
};
extern const struct rec rec_sync_run_query;

/* In a unit, in the caller's scope: a run that is over. NOT_FOUND: the sync; INVALID_FIELD names
 * errors or started_at. */
enum err_code sync_run_add(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str sync_id, const struct sync_run_new *in, struct sync_run *out);
/* The same way. NOT_FOUND: the sync, or the run, which may be older than what is kept. */
enum err_code sync_run_get(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str sync_id, struct str id, struct sync_run *out);
/* The one reported last first. */
enum err_code sync_run_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str sync_id, const struct sync_run_query *in,
                            struct cursor_key key, struct page *out);
/* In units of its own: removes runs that were reported, and syncs that were deleted, that many days
 * ago. */
enum err_code syncs_sweep(struct ctx *cx, struct store *store, int64_t days);

#endif
