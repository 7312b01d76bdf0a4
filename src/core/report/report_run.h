/* Running a report: one statement that groups in the database, then calendar buckets, order and
 * limit here.
 *
 * With a bucket the statement groups by quarter hours, of which the buckets of every zone are made
 * (no zone of today is off by less): so the work is the same on both databases and days of 23 hours
 * are right. At most REPORT_READ_MAX groups are read. Usage comes from the rollups, by the minute,
 * hour or day, whichever covers the range. */
#ifndef TESSERA_CORE_REPORT_REPORT_RUN_H
#define TESSERA_CORE_REPORT_REPORT_RUN_H

#include "../../base/spool.h"
#include "../../base/xlsx.h"
#include "../../store/store.h"
#include "../caller.h"
#include "report_def.h"

#define REPORT_READ_MAX 100000
#define REPORT_COLUMNS_MAX (1 + REPORT_GROUPS_MAX + REPORT_MEASURES_MAX)
#define REPORT_DEADLINE_US ((int64_t)30 * 1000 * 1000)
#define REPORT_MEMORY ((size_t)96 << 20) /* of the ctx that a run is given */

struct report_cell {
    enum { CELL_NULL, CELL_TEXT, CELL_INT, CELL_REAL, CELL_BOOL, CELL_TIME } kind;
    struct str s; /* CELL_TEXT; CELL_TIME: RFC 3339 */
    int64_t i;    /* CELL_INT, CELL_BOOL; CELL_TIME: ms */
    double r;     /* CELL_REAL; CELL_TIME: seconds that the clock of s is ahead of UTC */
};
struct report_column {
    struct str name;
    enum report_type type;
};
struct report_table {
    struct report_column columns[REPORT_COLUMNS_MAX];
    size_t n_columns, n_rows;
    struct report_cell *cells; /* row by row */
    bool is_truncated;         /* there were more rows than the limit */
    bool has_from, has_to;
    int64_t from_ms, to_ms; /* what was looked at, widened to what the source has */
    int64_t took_ms;
};

struct report_ask {
    const struct report_def *def;
    const struct caller *who;
    struct report_when from, to; /* is_set: instead of the definition's */
    int64_t now_ms;
};
/* Inside a read whose scope is the caller's, in a ctx of REPORT_MEMORY. INSUFFICIENT_SCOPE or
 * INSUFFICIENT_ROLE when the caller may not read the source; INVALID_FIELD names definition when
 * there are too many groups, or to; UNAVAILABLE when the deadline of cx is over. */
enum err_code report_run(struct ctx *cx, struct db *db, const struct report_ask *ask,
                         struct report_table *out);
/* The same in a read of its own with the deadline. */
enum err_code report_execute(struct ctx *cx, struct store *s, const struct report_ask *ask,
                             struct report_table *out);
/* May the caller read the source? */
enum err_code report_may_read(struct ctx *cx, const struct caller *who,
                              const struct report_source *source);

/* {"columns", "rows", "truncated", "from", "to", "took_ms"} */
extern const struct rec rec_report_result;
void report_write_json(struct ctx *cx, const struct report_table *t, struct spool *to);
void report_write_csv(const struct report_table *t, struct spool *to);
void report_write_xlsx(const struct report_table *t, struct xlsx *to);

/* ---- among the files of running ---- */

#define REPORT_NUMBERS_MAX 44

struct report_row { /* of the statement */
    struct rec_bits bits;
    struct str g[REPORT_GROUPS_MAX + 1]; /* the last: the value that is counted distinct */
    int64_t quarter;
    int64_t m[REPORT_NUMBERS_MAX];
};
struct report_number {
    enum { NUMBER_ADD, NUMBER_MIN, NUMBER_MAX } how;
};
struct report_plan {
    const struct report_def *def;
    struct str sql;
    struct val args[REPORT_ARGS_MAX + 8];
    size_t n_args;
    struct report_number numbers[REPORT_NUMBERS_MAX];
    int n_numbers;
    int at[REPORT_MEASURES_MAX]; /* first number of each measure; distinct over buckets: -1 */
    int hist_at;                 /* first of the 40 counts of response times, or -1 */
    const struct report_field *distinct; /* counted here, not by the database; or NULL */
    bool has_from, has_to;
    int64_t from_ms, to_ms;
};
extern const struct rec rec_report_row;
/* " AND …" for the filters, the visibility and the range. */
struct report_sql {
    struct ctx *cx;
    struct buf sql;
    struct report_plan *p;
};
void report_sql_begin(struct report_sql *q, const struct caller *who);
void report_sql_filters(struct report_sql *q, const struct report_def *d);
int report_sql_bind(struct report_sql *q, struct val v);
/* report_sql.c: the statement and what its numbers mean. */
enum err_code report_plan_make(struct ctx *cx, const struct report_ask *ask, struct report_plan *p);
/* report_merge.c: runs it and makes the rows. */
enum err_code report_merge(struct ctx *cx, struct db *db, const struct report_plan *p,
                           struct report_table *out);

#endif
