/* What reports may speak of: sources and their fields, one table.
 *
 * Validation, SQL and GET /v1/reports/fields read the same rows. Every identifier in a statement
 * comes from here, every value is an argument. To add a field: a row in report_field.c, a test. */
#ifndef TESSERA_CORE_REPORT_REPORT_FIELD_H
#define TESSERA_CORE_REPORT_REPORT_FIELD_H

#include "../../base/rec.h"

enum report_type {
    RT_TEXT,
    RT_WORD, /* one of `words` */
    RT_ID,   /* a UUID */
    RT_TIME, /* ms */
    RT_INT,
    RT_BOOL,
    RT_REAL, /* of results only */
};
extern const char *const report_type_words[]; /* by enum report_type: text, text, id, time, … */

enum report_op { OP_EQ, OP_NE, OP_IN, OP_GT, OP_GTE, OP_LT, OP_LTE, OP_CONTAINS, OP_IS_NULL };
extern const char *const report_op_words[]; /* by enum report_op, NULL-terminated */

enum report_agg {
    AGG_COUNT,
    AGG_COUNT_DISTINCT,
    AGG_SUM,
    AGG_AVG,
    AGG_MIN,
    AGG_MAX,
    AGG_P50,
    AGG_P95,
    AGG_P99,
};
extern const char *const report_agg_words[]; /* by enum report_agg, NULL-terminated */
#define AGG(name) (1u << AGG_##name)

enum report_field_flag {
    RF_FILTER = 1,
    RF_GROUP = 2,
    RF_BUCKET = 4,   /* a time that can be put into buckets, and that from and to are about */
    RF_COUNTED = 8,  /* a row stands for SUM(n) requests: averages divide by that */
    RF_EQ_ONLY = 16, /* the only operator is eq */
};

struct report_field {
    const char *name;
    enum report_type type;
    const char *sql;
    unsigned flags, aggs; /* enum report_field_flag; AGG(…) */
    const char *const *words;
    const char *doc;
    int64_t min, max; /* RT_INT: what a filter may compare with; max 0 = any */
};

enum source_kind { SOURCE_TICKETS, SOURCE_COMMENTS, SOURCE_CONTACTS, SOURCE_USAGE };
struct report_source {
    const char *name;
    enum source_kind kind;
    uint64_t scope;    /* what the caller needs besides the right to run reports */
    const char *table; /* with its alias */
    const char *count; /* what `count` is */
    const struct report_field *fields;
    size_t n;
};
extern const struct report_source report_sources[];
#define REPORT_SOURCES 4
extern const char *const report_source_words[]; /* their names, NULL-terminated */
/* The fields that an export of the request log may filter by; `sql` is unused. */
extern const struct report_source report_source_log;

const struct report_source *report_source_find(struct str name); /* NULL when absent */
const struct report_field *report_field_find(const struct report_source *s, struct str name);
/* The operators a filter on the field may have, as bits 1 << enum report_op. */
unsigned report_field_ops(const struct report_field *f);

/* {"sources": […]}: the tables as a client sees them. */
struct report_fields {
    struct rec_bits bits;
    struct str sources;
};
extern const struct rec rec_report_fields;
void report_fields_show(struct ctx *cx, struct report_fields *out);

#endif
