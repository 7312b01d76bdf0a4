/* From a definition to one statement: see report_run.h. Identifiers are literals of the tables,
 * values are arguments.
 *
 *     SELECT g0, g1, q, COUNT(*) AS m0, … FROM tickets t WHERE … GROUP BY 1, 2, 3 LIMIT …
 *
 * Numbers that can be added over quarter hours are asked for as they are; an average as a sum and a
 * count, percentiles as the 40 counts of the histogram, distinct values over buckets as one more
 * group. */
#include "report_run.h"

#include "../../base/clock.h"
#include "../hist.h"
#include "../listing.h"

#define SQL_MAX 32768
#define QUARTER_MS 900000
#define MINUTE_MS ((int64_t)60 * 1000)
/* What usage_rollup keeps (core/usage.h), less a margin for what is just being removed. */
#define MINUTES_KEPT_MS (6 * DAY_MS)
#define HOURS_KEPT_MS (89 * DAY_MS)
#define USAGE_DEFAULT_MS (30 * DAY_MS)

int report_sql_bind(struct report_sql *q, struct val v)
{
    BUG_IF(q->p->n_args == sizeof q->p->args / sizeof *q->p->args);
    q->p->args[q->p->n_args++] = v;
    return (int)q->p->n_args;
}

/* ---- who may see what ---- */

static void begin_tickets(struct report_sql *q, struct str team, struct str sees)
{
    buf_printf(&q->sql, "t.team_id = $%d AND t.deleted_ms IS NULL", report_sql_bind(q, VT(team)));
    if (sees.n)
        buf_printf(&q->sql, " AND t.token_id = $%d", report_sql_bind(q, VT(sees)));
}

/* As the list of a ticket's comments: of live tickets, internal ones to their author. */
static void begin_comments(struct report_sql *q, struct str team, struct str sees)
{
    buf_printf(&q->sql,
               "c.team_id = $%d AND EXISTS (SELECT 1 FROM tickets t WHERE t.team_id = c.team_id "
               "AND t.id = c.ticket_id AND t.deleted_ms IS NULL",
               report_sql_bind(q, VT(team)));
    if (!sees.n) {
        buf_char(&q->sql, ')');
        return;
    }
    int n = report_sql_bind(q, VT(sees));
    buf_printf(&q->sql, " AND t.token_id = $%d) AND (c.token_id = $%d OR c.is_internal = 0)", n, n);
}

void report_sql_begin(struct report_sql *q, const struct caller *who)
{
    struct str sees = caller_sees(who);
    switch (q->p->def->source->kind) {
    case SOURCE_TICKETS: begin_tickets(q, who->team_id, sees); break;
    case SOURCE_COMMENTS: begin_comments(q, who->team_id, sees); break;
    case SOURCE_CONTACTS:
        buf_printf(&q->sql, "c.team_id = $%d AND c.deleted_ms IS NULL",
                   report_sql_bind(q, VT(who->team_id)));
        break;
    case SOURCE_USAGE:
        buf_printf(&q->sql, "u.team_id = $%d AND u.token_id <> '*'",
                   report_sql_bind(q, VT(who->team_id)));
        break;
    }
}

/* ---- filters ---- */

static void put_in(struct report_sql *q, const struct report_filter *f)
{
    buf_printf(&q->sql, " AND %s IN (", f->field->sql);
    for (size_t i = 0; i < f->n; i++)
        buf_printf(&q->sql, "%s$%d", i ? ", " : "", report_sql_bind(q, f->values[i]));
    buf_char(&q->sql, ')');
}

static void put_filter(struct report_sql *q, const struct report_filter *f)
{
    static const char *const compare[] = {
        [OP_EQ] = "=", [OP_GT] = ">", [OP_GTE] = ">=", [OP_LT] = "<", [OP_LTE] = "<="
    };
    const char *sql = f->field->sql;
    switch (f->op) {
    case OP_IN: put_in(q, f); break;
    case OP_NE:
        buf_printf(&q->sql, " AND (%s <> $%d OR %s IS NULL)", sql, report_sql_bind(q, f->values[0]),
                   sql);
        break;
    case OP_IS_NULL:
        buf_printf(&q->sql, " AND %s IS %sNULL", sql, f->values[0].i ? "" : "NOT ");
        break;
    case OP_CONTAINS:
        buf_printf(&q->sql, " AND lower(%s) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\'", sql,
                   report_sql_bind(q, VT(listing_like(q->cx, f->values[0].s))));
        break;
    case OP_EQ:
    case OP_GT:
    case OP_GTE:
    case OP_LT:
    case OP_LTE:
        buf_printf(&q->sql, " AND %s %s $%d", sql, compare[f->op],
                   report_sql_bind(q, f->values[0]));
        break;
    }
}

void report_sql_filters(struct report_sql *q, const struct report_def *d)
{
    for (size_t i = 0; i < d->n_filters; i++)
        put_filter(q, &d->filters[i]);
}

/* ---- the range ---- */

static int64_t floor_to(int64_t ms, int64_t unit)
{
    return ms - ((ms % unit) + unit) % unit;
}

/* The finest grain that still has the begin of the range; the range is widened to it. */
static void put_usage_range(struct report_sql *q, int64_t now_ms)
{
    struct report_plan *p = q->p;
    if (!p->has_from)
        p->from_ms = now_ms - USAGE_DEFAULT_MS;
    p->has_from = true;
    int64_t age = now_ms - p->from_ms;
    int64_t unit = age <= MINUTES_KEPT_MS ? MINUTE_MS : age <= HOURS_KEPT_MS ? HOUR_MS : DAY_MS;
    p->from_ms = floor_to(p->from_ms, unit);
    if (p->has_to)
        p->to_ms = floor_to(p->to_ms + unit - 1, unit);
    buf_printf(&q->sql, " AND u.grain = '%c'",
               unit == MINUTE_MS ? 'm'
               : unit == HOUR_MS ? 'h'
                                 : 'd');
}

static enum err_code put_range(struct report_sql *q, const struct report_ask *ask)
{
    struct report_plan *p = q->p;
    const struct report_def *d = ask->def;
    const struct report_when *from = ask->from.is_set ? &ask->from : &d->from;
    const struct report_when *to = ask->to.is_set ? &ask->to : &d->to;
    p->has_from = from->is_set;
    p->has_to = to->is_set;
    p->from_ms = report_when_ms(from, ask->now_ms);
    p->to_ms = report_when_ms(to, ask->now_ms);
    if (p->has_from && p->has_to && p->from_ms > p->to_ms)
        return ctx_fail_field(q->cx, ERR_INVALID_FIELD, STR("to"), "to must not be before from");
    if (d->source->kind == SOURCE_USAGE)
        put_usage_range(q, ask->now_ms);
    if (p->has_from)
        buf_printf(&q->sql, " AND %s >= $%d", d->when->sql, report_sql_bind(q, VI(p->from_ms)));
    if (p->has_to)
        buf_printf(&q->sql, " AND %s < $%d", d->when->sql, report_sql_bind(q, VI(p->to_ms)));
    if (d->bucket)
        buf_printf(&q->sql, " AND %s IS NOT NULL", d->bucket->sql);
    return ERR_NONE;
}

/* ---- what is selected ---- */

static int add_number(struct report_sql *q, int how, const char *before, const char *sql,
                      const char *after)
{
    struct report_plan *p = q->p;
    BUG_IF(p->n_numbers == REPORT_NUMBERS_MAX);
    p->numbers[p->n_numbers].how = how;
    buf_printf(&q->sql, ", %s%s%s AS m%d", before, sql, after, p->n_numbers);
    return p->n_numbers++;
}

static void add_hist(struct report_sql *q)
{
    char column[16];
    if (q->p->hist_at >= 0)
        return;
    q->p->hist_at = q->p->n_numbers;
    for (int i = 0; i < HIST_BUCKETS; i++) {
        struct str name = str_printf(&q->cx->arena, "u.b%02d", i);
        BUG_IF(name.n >= sizeof column);
        add_number(q, NUMBER_ADD, "SUM(", str_cstr(&q->cx->arena, name), ")");
    }
}

/* Sums and counts of the same thing are asked for once: percentiles leave little room. */
static int add_measure(struct report_sql *q, const struct report_measure *m)
{
    struct report_plan *p = q->p;
    const char *sql = m->field ? m->field->sql : "";
    int at;
    BUG_IF(!m->field && m->agg != AGG_COUNT);
    switch (m->agg) {
    case AGG_COUNT: return add_number(q, NUMBER_ADD, "", p->def->source->count, "");
    case AGG_COUNT_DISTINCT:
        if (!p->def->bucket)
            return add_number(q, NUMBER_ADD, "COUNT(DISTINCT ", sql, ")");
        p->distinct = m->field;
        return -1;
    case AGG_SUM: return add_number(q, NUMBER_ADD, "SUM(", sql, ")");
    case AGG_AVG:
        at = add_number(q, NUMBER_ADD, "SUM(", sql, ")");
        if (m->field->flags & RF_COUNTED)
            add_number(q, NUMBER_ADD, "", p->def->source->count, "");
        else
            add_number(q, NUMBER_ADD, "COUNT(", sql, ")");
        return at;
    case AGG_MIN: return add_number(q, NUMBER_MIN, "MIN(", sql, ")");
    case AGG_MAX: return add_number(q, NUMBER_MAX, "MAX(", sql, ")");
    case AGG_P50:
    case AGG_P95:
    case AGG_P99: add_hist(q); return p->hist_at;
    }
    return -1;
}

/* Does the measure need room beside a histogram? */
static int numbers_of(const struct report_measure *m, bool *has_hist)
{
    bool is_hist = m->agg == AGG_P50 || m->agg == AGG_P95 || m->agg == AGG_P99;
    *has_hist |= is_hist;
    return is_hist ? 0 : m->agg == AGG_AVG ? 2 : 1;
}

static enum err_code check_room(struct ctx *cx, const struct report_def *d)
{
    bool has_hist = false;
    int n = 0;
    for (size_t i = 0; i < d->n_measures; i++)
        n += numbers_of(&d->measures[i], &has_hist);
    return n + (has_hist ? HIST_BUCKETS : 0) <= REPORT_NUMBERS_MAX
               ? ERR_NONE
               : ctx_fail_field(cx, ERR_INVALID_FIELD, STR("definition.measures"),
                                "definition.measures has too many beside percentiles: an avg "
                                "counts twice, and 4 have room");
}

static int put_select(struct report_sql *q)
{
    struct report_plan *p = q->p;
    const struct report_def *d = p->def;
    int n = 0;
    buf_lit(&q->sql, "SELECT ");
    for (size_t i = 0; i < d->n_groups; i++)
        buf_printf(&q->sql, "%s%s AS g%d", n++ ? ", " : "", d->groups[i]->sql, (int)i);
    if (d->bucket)
        buf_printf(&q->sql, "%s%s / %d AS q", n++ ? ", " : "", d->bucket->sql, QUARTER_MS);
    for (size_t i = 0; d->bucket && !p->distinct && i < d->n_measures; i++)
        if (d->measures[i].agg == AGG_COUNT_DISTINCT)
            p->distinct = d->measures[i].field;
    if (p->distinct)
        buf_printf(&q->sql, "%s%s AS g%d", n++ ? ", " : "", p->distinct->sql, REPORT_GROUPS_MAX);
    if (!n)
        buf_lit(&q->sql, "0 AS q");
    for (size_t i = 0; i < d->n_measures; i++)
        p->at[i] = add_measure(q, &d->measures[i]);
    return n;
}

enum err_code report_plan_make(struct ctx *cx, const struct report_ask *ask, struct report_plan *p)
{
    *p = (struct report_plan){ .def = ask->def, .hist_at = -1 };
    struct report_sql q = { .cx = cx, .p = p };
    enum err_code e = check_room(cx, ask->def);
    if (e)
        return e;
    buf_init(&q.sql, &cx->arena, SQL_MAX);
    int n_keys = put_select(&q);
    buf_printf(&q.sql, " FROM %s WHERE ", ask->def->source->table);
    report_sql_begin(&q, ask->who);
    report_sql_filters(&q, ask->def);
    e = put_range(&q, ask);
    if (e)
        return e;
    for (int i = 0; i < n_keys; i++)
        buf_printf(&q.sql, "%s%d", i ? ", " : " GROUP BY ", i + 1);
    buf_printf(&q.sql, " LIMIT %d", REPORT_READ_MAX + 1);
    BUG_IF(q.sql.over);
    buf_char(&q.sql, '\0');
    p->sql = buf_view(&q.sql);
    return ERR_NONE;
}
