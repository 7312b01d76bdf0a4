/* The log of requests to other systems: a row for each call of egress that acts for a team. Owner of
 * table integration_request_log.
 *
 * Rows gather in a bounded ring and are written in batches by one thread; when the ring is full a
 * row is dropped and counted, so that no call ever waits for its log. After a crash the rows of the
 * last second may be missing. A job removes what is old (egress_log_sweep). Calls without a team (the
 * operator's own: key sets, the object store) make no row.
 *
 * Threads: egress_log_record from any thread, without blocking; the list in a unit of work. */
#ifndef TESSERA_CORE_EGRESS_LOG_H
#define TESSERA_CORE_EGRESS_LOG_H

#include "../base/egress.h"
#include "../store/store.h"
#include "caller.h"
#include "cursor.h"
#include "listing.h"

/* What egress_ask.labels mean to this log. */
enum egress_label {
    EGRESS_LABEL_TEAM,
    EGRESS_LABEL_INTEGRATION, /* or STR_NONE */
    EGRESS_LABEL_USER,        /* or STR_NONE: the server by itself */
};

struct egress_log;
struct egress_log_conf {
    struct store *store;
    int64_t rows_max; /* of the ring; 0 = 4096 */
};
/* UNAVAILABLE when no thread can be had. After store_start. */
enum err_code egress_log_start(struct ctx *cx, const struct egress_log_conf *conf,
                               struct egress_log **out);
/* For egress_conf.record: `arg` is a struct egress_log. */
void egress_log_record(void *arg, const struct egress_record *r);
/* Writes what waits (5 s at most) and ends the thread; after egress_close, before store_close. NULL
 * is fine. */
void egress_log_stop(struct egress_log *log);

/* Removes rows of more than so many days ago; in units of its own. */
enum err_code egress_log_sweep(struct ctx *cx, struct store *store, int64_t days);

struct egress_log_counts {
    int64_t noted, stored, dropped;
};
void egress_log_counts(struct egress_log *log, struct egress_log_counts *out); /* any thread */

/* ---- reading ---- */

struct request_log {
    struct rec_bits bits;
    struct str id, integration_id, user_id, method, endpoint, outcome, error;
    int64_t status, success, duration_ms, sent_bytes, got_bytes, redirects, at_ms;
};
extern const struct rec rec_request_log;

struct request_log_query {
    struct rec_bits bits;
    struct str integration_id, user_id, method, outcome, cursor;
    int64_t status, success, from, to, limit;
};
extern const struct rec rec_request_log_query;

/* Newest first. */
enum err_code request_log_list(struct ctx *cx, struct db *db, const struct caller *who,
                               const struct request_log_query *in, struct cursor_key key,
                               struct page *out);

#endif
