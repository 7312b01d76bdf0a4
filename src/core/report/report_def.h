/* The definition of a report: read from JSON, judged against the tables of report_field.h.
 *
 *     {"source": "tickets", "filters": [{"field": "status", "op": "in", "value": ["open"]}],
 *      "group_by": ["priority"], "bucket": {"field": "created_at", "unit": "week",
 *      "time_zone": "Europe/Berlin"}, "measures": [{"name": "tickets", "op": "count"}],
 *      "sort": [{"by": "tickets", "order": "desc"}], "limit": 100, "from": "-90d", "to": null}
 *
 * Problems name their path ("definition.filters[2].field"). What is stored is the same object with
 * every member; relative times stay relative. Any thread. */
#ifndef TESSERA_CORE_REPORT_REPORT_DEF_H
#define TESSERA_CORE_REPORT_REPORT_DEF_H

#include "../../base/zone.h"
#include "../../store/db.h"
#include "report_field.h"

#define REPORT_FILTERS_MAX 20
#define REPORT_VALUES_MAX 50 /* of one `in` */
#define REPORT_ARGS_MAX 150  /* values over all filters */
#define REPORT_GROUPS_MAX 3
#define REPORT_MEASURES_MAX 10
#define REPORT_SORTS_MAX 5
#define REPORT_LIMIT_MAX 10000
#define REPORT_LIMIT_DEFAULT 1000
#define REPORT_TEXT_MAX 500 /* characters of a value */
#define REPORT_NAME_MAX 64  /* of a measure */

/* As it is sent, stored and shown. */
struct report_definition {
    struct rec_bits bits;
    struct str source, filters, group_by, bucket, measures, sort, from, to;
    int64_t limit;
};
extern const struct rec rec_report_definition;

struct report_filter {
    const struct report_field *field;
    enum report_op op;
    const struct val *values; /* one; several for `in`; is_null: an integer 0/1 */
    size_t n;
};
struct report_measure {
    struct str name;
    enum report_agg agg;
    const struct report_field *field; /* NULL: count */
};
struct report_sort {
    int column; /* of the result: bucket, groups, measures */
    bool is_down;
};
struct report_when { /* a bound of time */
    bool is_set, is_relative;
    int64_t ms; /* from now when relative */
};

struct report_def {
    const struct report_source *source;
    struct report_filter filters[REPORT_FILTERS_MAX];
    const struct report_field *groups[REPORT_GROUPS_MAX];
    struct report_measure measures[REPORT_MEASURES_MAX];
    struct report_sort sorts[REPORT_SORTS_MAX];
    size_t n_filters, n_groups, n_measures, n_sorts;
    const struct report_field *bucket; /* NULL: none */
    enum zone_unit unit;
    struct zone *zone;               /* of the bucket, or NULL */
    const struct report_field *when; /* what from and to are about */
    struct report_when from, to;
    int64_t limit;
    struct str text; /* with every member: to be stored */
};

/* INVALID_FIELD or MISSING_FIELD, every problem under `prefix` ("definition"); INVALID_JSON.
 * now_ms: what relative times in filters count from. */
enum err_code report_def_parse(struct ctx *cx, struct str json, const char *prefix, int64_t now_ms,
                               struct report_def *out);
/* RFC 3339, "now", or "-30d". INVALID_FIELD names `where`. STR_NONE is no bound. */
enum err_code report_when_parse(struct ctx *cx, struct str text, struct str where,
                                struct report_when *out);
int64_t report_when_ms(const struct report_when *w, int64_t now_ms);

/* The same filters for an export, over `json`, an array under the path "filters". */
enum err_code report_filters_parse(struct ctx *cx, const struct report_source *source,
                                   struct str json, int64_t now_ms, struct report_def *out);
extern const struct rec rec_report_filter;

#endif
