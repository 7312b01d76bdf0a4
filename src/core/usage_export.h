/* The request log: rows of integration_token_usage by filter, newest first, page by page or all.
 *
 * Order is (created_ms, id) on both databases. On SQLite the main file and the day files behind it
 * are merged, so archived rows are found as well. Every page is a read of its own by index (team
 * and time, or key and time): no long snapshot, constant memory, and rows that move to a day file
 * meanwhile are seen once. Filters beside key and time look at the rows of the range one by one.
 *
 * Threads: any that may block (RUN_SLOW, command line), outside a unit of work. */
#ifndef TESSERA_CORE_USAGE_EXPORT_H
#define TESSERA_CORE_USAGE_EXPORT_H

#include "usage.h"

#define USAGE_LOG_LIMIT_DEFAULT 100

struct usage_filter {
    struct rec_bits bits; /* what is given */
    struct str key_id;    /* UUID of an API key */
    struct str route;     /* "/v1/tickets/{ticket_id}" or "GET /v1/tickets/{ticket_id}" */
    struct str method, ip, country;
    struct str status_class; /* 2xx, 3xx, 4xx, 5xx */
    int64_t status;          /* 404 */
    int64_t from, to;        /* from <= created_ms < to */
    struct str cursor;       /* of the list only */
    int64_t limit;
    struct str format; /* of the export only */
};
extern const struct rec rec_usage_filter; /* query of the list: filters, limit, cursor */
extern const struct rec rec_usage_export; /* query of the export: filters, format */

/* One request as /v1 shows it: over struct usage_row, id as text. The columns of exports. */
extern const struct rec rec_usage_request;

/* Every row that matches, newest first; `each` gets a struct usage_row * (with id_text set) that is
 * valid during the call, and a cx that is emptied after each page; a non-zero return stops and is
 * returned (without a record of its own it is recorded plainly). INVALID_PARAMETER names a filter
 * that is wrong. */
enum err_code usage_each(struct ctx *cx, struct usage *u, struct str team_id,
                         const struct usage_filter *f,
                         enum err_code (*each)(struct ctx *cx, void *row, void *arg), void *arg);

struct page;
struct cursor_key;
/* One page of the list: f->limit rows (default 100) behind f->cursor, as rec_usage_request. */
enum err_code usage_page(struct ctx *cx, struct usage *u, struct str team_id,
                         const struct usage_filter *f, const struct cursor_key *key,
                         struct page *out);

struct spool;
/* All that match as CSV or NDJSON (f->format) into a spool, which the caller opens and closes. */
enum err_code usage_write_file(struct ctx *cx, struct usage *u, struct str team_id,
                               const struct usage_filter *f, struct spool *to);

#endif
