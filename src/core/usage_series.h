/* Usage over a range of time: by minute, hour or day, by route, by country. Answered from the
 * rollups alone.
 *
 * A range is widened to whole buckets, which the answer names. All run inside a read; they may look
 * at many rows (keys × routes × buckets), so not on an event thread. INVALID_PARAMETER names what
 * is wrong with the range. */
#ifndef TESSERA_CORE_USAGE_SERIES_H
#define TESSERA_CORE_USAGE_SERIES_H

#include "usage.h"

#define USAGE_BUCKETS_MAX 1500
#define USAGE_TOP 10
#define USAGE_ROUTES_MAX 1000

struct usage_span { /* what is asked */
    struct rec_bits bits;
    int64_t from, to;
    struct str bucket; /* minute, hour, day */
    struct str key_id, route, status_class;
};
extern const struct rec rec_usage_span;   /* all of it: of the time series */
extern const struct rec rec_usage_period; /* from, to */

struct usage_series { /* what is answered */
    struct rec_bits bits;
    int64_t from_ms, to_ms, is_configured;
    struct str bucket;
    struct str data; /* JSON text of an array */
};
extern const struct rec rec_usage_timeseries, rec_usage_routes, rec_usage_countries;

enum err_code usage_timeseries(struct ctx *cx, struct db *db, struct str team_id,
                               const struct usage_span *in, struct usage_series *out);
enum err_code usage_routes(struct ctx *cx, struct db *db, struct str team_id,
                           const struct usage_span *in, struct usage_series *out);
/* is_configured is the caller's to fill. */
enum err_code usage_countries(struct ctx *cx, struct db *db, struct str team_id,
                              const struct usage_span *in, struct usage_series *out);

/* The busiest keys and routes of the day that begins at day_ms: JSON texts of arrays. */
extern const struct rec rec_usage_top_key, rec_usage_route;
enum err_code usage_top(struct ctx *cx, struct db *db, struct str team_id, int64_t day_ms,
                        struct str *keys, struct str *routes);

#endif
