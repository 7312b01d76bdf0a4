/* The rows of a report: groups of quarter hours added up to calendar buckets, put in order, cut, and
 * made into cells; see report_run.h. All memory is the run's ctx, which has a cap. */
#include "report_run.h"

#include <stdlib.h>
#include <string.h>

#include "../../base/clock.h"
#include "../hist.h"
#include "keymap.h"

#define QUARTER_MS INT64_C(900000)
#define KEY_MAX ((size_t)16 << 10)

#define N(i)                                                                                       \
    {                                                                                              \
        .name = "m" #i, .type = F_INT, .offset = offsetof(struct report_row, m[i])                 \
    }
#define G(i)                                                                                       \
    {                                                                                              \
        .name = "g" #i, .type = F_STR, .offset = offsetof(struct report_row, g[i])                 \
    }
static const struct field row_fields[] = {
    G(0),
    G(1),
    G(2),
    G(3),
    { .name = "q", .type = F_INT, .offset = offsetof(struct report_row, quarter) },
    N(0),
    N(1),
    N(2),
    N(3),
    N(4),
    N(5),
    N(6),
    N(7),
    N(8),
    N(9),
    N(10),
    N(11),
    N(12),
    N(13),
    N(14),
    N(15),
    N(16),
    N(17),
    N(18),
    N(19),
    N(20),
    N(21),
    N(22),
    N(23),
    N(24),
    N(25),
    N(26),
    N(27),
    N(28),
    N(29),
    N(30),
    N(31),
    N(32),
    N(33),
    N(34),
    N(35),
    N(36),
    N(37),
    N(38),
    N(39),
    N(40),
    N(41),
    N(42),
    N(43),
};
const struct rec rec_report_row = REC("ReportRow", struct report_row, row_fields, NULL);
_Static_assert(sizeof(struct report_row) <= 512, "a record is at most 512 bytes");

struct group {
    struct str g[REPORT_GROUPS_MAX]; /* p == NULL: no value */
    int64_t bucket_ms;
    uint64_t has; /* bit i: m[i] has a value */
    int64_t distinct;
    int64_t *m;
};

struct merge {
    const struct report_plan *p;
    struct arena *arena;
    struct keymap groups, distinct;
    struct group *v;
    size_t cap, n_read;
    int64_t last_quarter, last_bucket_ms; /* the quarter looked up before */
    struct buf key;
};

/* ---- adding up ---- */

static void key_add(struct buf *b, struct str s)
{
    uint64_t n = s.p ? s.n : UINT64_MAX;
    buf_add(b, &n, sizeof n);
    buf_add(b, s.p, s.n);
}

static struct str group_text(const struct report_row *row, size_t i)
{
    return rec_bit(&row->bits.has, offsetof(struct report_row, g) + i * sizeof(struct str))
               ? row->g[i]
               : STR_NONE;
}

static int64_t bucket_of(struct merge *m, int64_t quarter)
{
    const struct report_def *d = m->p->def;
    if (!d->bucket)
        return 0;
    if (quarter != m->last_quarter) {
        m->last_bucket_ms = zone_floor(d->zone, quarter * QUARTER_MS, d->unit);
        m->last_quarter = quarter;
    }
    return m->last_bucket_ms;
}

static void make_room(struct merge *m)
{
    size_t cap = m->cap ? m->cap * 2 : 256;
    struct group *v = arena_alloc(m->arena, cap * sizeof *v);
    if (m->cap)
        memcpy(v, m->v, m->cap * sizeof *v);
    m->v = v;
    m->cap = cap;
}

static struct group *find_group(struct merge *m, const struct report_row *row, size_t *at)
{
    bool is_new;
    int64_t bucket_ms = bucket_of(m, row->quarter);
    buf_reset(&m->key);
    buf_add(&m->key, &bucket_ms, sizeof bucket_ms);
    for (size_t i = 0; i < m->p->def->n_groups; i++)
        key_add(&m->key, group_text(row, i));
    *at = keymap_put(&m->groups, buf_view(&m->key), &is_new);
    if (*at >= m->cap)
        make_room(m);
    struct group *g = &m->v[*at];
    if (!is_new)
        return g;
    *g = (struct group){ .bucket_ms = bucket_ms };
    g->m = ARENA_ARRAY(m->arena, int64_t, (size_t)m->p->n_numbers);
    for (size_t i = 0; i < m->p->def->n_groups; i++)
        g->g[i] = str_dup(m->arena, group_text(row, i));
    return g;
}

static void add_number(struct group *g, int i, const struct report_number *number, int64_t v)
{
    bool is_first = !(g->has >> i & 1);
    g->has |= UINT64_C(1) << i;
    switch (number->how) {
    case NUMBER_ADD:
        if (__builtin_add_overflow(g->m[i], v, &g->m[i]))
            g->m[i] = v < 0 ? INT64_MIN : INT64_MAX;
        break;
    case NUMBER_MIN: g->m[i] = is_first || v < g->m[i] ? v : g->m[i]; break;
    case NUMBER_MAX: g->m[i] = is_first || v > g->m[i] ? v : g->m[i]; break;
    }
}

static void count_distinct(struct merge *m, struct group *g, size_t at, struct str value)
{
    bool is_new;
    if (!value.p)
        return;
    buf_reset(&m->key);
    buf_add(&m->key, &at, sizeof at);
    buf_str(&m->key, value);
    keymap_put(&m->distinct, buf_view(&m->key), &is_new);
    g->distinct += is_new;
}

static enum err_code too_many(struct ctx *cx)
{
    ctx_clear(cx);
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("definition"),
                          "definition gives more than %d groups to read; narrow its filters or its "
                          "time, or group by less",
                          REPORT_READ_MAX);
}

static enum err_code add_row(struct ctx *cx, void *arg_row, void *arg)
{
    const struct report_row *row = arg_row;
    struct merge *m = arg;
    size_t at;
    if (++m->n_read > REPORT_READ_MAX || cx->arena.over)
        return too_many(cx);
    if (m->n_read % 256 == 0 && !ctx_ok(cx))
        return cx->err;
    struct group *g = find_group(m, row, &at);
    for (int i = 0; i < m->p->n_numbers; i++)
        if (rec_bit(&row->bits.has, offsetof(struct report_row, m) + (size_t)i * sizeof(int64_t)))
            add_number(g, i, &m->p->numbers[i], row->m[i]);
    if (m->p->distinct)
        count_distinct(m, g, at, group_text(row, REPORT_GROUPS_MAX));
    return ERR_NONE;
}

/* ---- cells ---- */

static struct str utc_text(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init(&b, a, 32);
    time_print_ms(&b, ms);
    return buf_view(&b);
}

static struct report_cell bucket_cell(struct merge *m, int64_t ms)
{
    struct zone *z = m->p->def->zone;
    struct buf b;
    buf_init(&b, m->arena, 64);
    zone_print(&b, z, ms);
    return (struct report_cell){
        .kind = CELL_TIME, .s = buf_view(&b), .i = ms, .r = zone_split(z, ms).offset_s
    };
}

static struct report_cell group_cell(const struct report_field *f, struct str s)
{
    if (!s.p)
        return (struct report_cell){ .kind = CELL_NULL };
    if (f->type == RT_BOOL)
        return (struct report_cell){ .kind = CELL_BOOL, .i = !str_eq(s, STR("0")) };
    return (struct report_cell){ .kind = CELL_TEXT, .s = s };
}

static struct report_cell percentile_cell(const struct merge *m, const struct group *g,
                                          int permille)
{
    int64_t n = 0;
    for (int i = 0; i < HIST_BUCKETS; i++)
        n += g->m[m->p->hist_at + i];
    if (!n)
        return (struct report_cell){ .kind = CELL_NULL };
    return (struct report_cell){ .kind = CELL_INT,
                                 .i = hist_percentile(&g->m[m->p->hist_at], permille) };
}

static struct report_cell number_cell(const struct merge *m, const struct group *g, int at,
                                      const struct report_measure *measure)
{
    if (!(g->has >> at & 1))
        return (struct report_cell){ .kind = measure->agg == AGG_COUNT ? CELL_INT : CELL_NULL };
    if (measure->field && measure->field->type == RT_TIME && measure->agg != AGG_COUNT_DISTINCT)
        return (struct report_cell){ .kind = CELL_TIME,
                                     .i = g->m[at],
                                     .s = utc_text(m->arena, g->m[at]) };
    return (struct report_cell){ .kind = CELL_INT, .i = g->m[at] };
}

static struct report_cell measure_cell(const struct merge *m, const struct group *g, size_t i)
{
    const struct report_measure *measure = &m->p->def->measures[i];
    int at = m->p->at[i];
    switch (measure->agg) {
    case AGG_COUNT_DISTINCT:
        if (at < 0)
            return (struct report_cell){ .kind = CELL_INT, .i = g->distinct };
        break;
    case AGG_AVG:
        if (!(g->has >> at & 1) || !g->m[at + 1])
            return (struct report_cell){ .kind = CELL_NULL };
        return (struct report_cell){ .kind = CELL_REAL,
                                     .r = (double)g->m[at] / (double)g->m[at + 1] };
    case AGG_P50: return percentile_cell(m, g, 500);
    case AGG_P95: return percentile_cell(m, g, 950);
    case AGG_P99: return percentile_cell(m, g, 990);
    case AGG_COUNT:
    case AGG_SUM:
    case AGG_MIN:
    case AGG_MAX: break;
    }
    return number_cell(m, g, at, measure);
}

/* ---- order ---- */

struct sorted {
    const struct report_cell *cells;
    const struct report_def *def;
    size_t n_columns, n_keys; /* the first n_keys columns tell all rows apart */
};

static int text_order(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Without a value comes last, whatever the direction. */
static int cell_order(const struct report_cell *a, const struct report_cell *b, bool is_down)
{
    if (a->kind == CELL_NULL || b->kind == CELL_NULL)
        return (a->kind == CELL_NULL) - (b->kind == CELL_NULL);
    int c = a->kind == CELL_TEXT   ? text_order(a->s, b->s)
            : a->kind == CELL_REAL ? (a->r > b->r) - (a->r < b->r)
                                   : (a->i > b->i) - (a->i < b->i);
    return is_down ? -c : c;
}

static int row_order(const void *left, const void *right, void *arg)
{
    const struct sorted *s = arg;
    const struct report_cell *a = s->cells + *(const uint32_t *)left * s->n_columns;
    const struct report_cell *b = s->cells + *(const uint32_t *)right * s->n_columns;
    for (size_t i = 0; i < s->def->n_sorts; i++) {
        int column = s->def->sorts[i].column;
        int c = cell_order(a + column, b + column, s->def->sorts[i].is_down);
        if (c)
            return c;
    }
    for (size_t i = 0; i < s->n_keys; i++) {
        int c = cell_order(a + i, b + i, false);
        if (c)
            return c;
    }
    return left < right ? -1 : 1;
}

/* Merge sort, since the order of equal rows must not depend on the library. */
static void sort_rows(uint32_t *v, uint32_t *spare, size_t n, struct sorted *s)
{
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t low = 0; low < n; low += 2 * run) {
            size_t mid = low + run < n ? low + run : n, high = mid + run < n ? mid + run : n;
            size_t i = low, k = mid;
            for (size_t at = low; at < high; at++)
                spare[at] =
                    i < mid && (k == high || row_order(&v[i], &v[k], s) <= 0) ? v[i++] : v[k++];
        }
        memcpy(v, spare, n * sizeof *v);
    }
}

/* ---- the table ---- */

static enum report_type measure_type(const struct report_measure *m)
{
    switch (m->agg) {
    case AGG_AVG: return RT_REAL;
    case AGG_MIN:
    case AGG_MAX: return m->field->type;
    case AGG_COUNT:
    case AGG_COUNT_DISTINCT:
    case AGG_SUM:
    case AGG_P50:
    case AGG_P95:
    case AGG_P99: return RT_INT;
    }
    return RT_INT;
}

static void name_columns(const struct report_def *d, struct report_table *t)
{
    if (d->bucket)
        t->columns[t->n_columns++] = (struct report_column){ STR("bucket"), RT_TIME };
    for (size_t i = 0; i < d->n_groups; i++)
        t->columns[t->n_columns++] =
            (struct report_column){ str_of(d->groups[i]->name), d->groups[i]->type };
    for (size_t i = 0; i < d->n_measures; i++)
        t->columns[t->n_columns++] =
            (struct report_column){ d->measures[i].name, measure_type(&d->measures[i]) };
}

static void fill_row(struct merge *m, const struct group *g, struct report_cell *to)
{
    const struct report_def *d = m->p->def;
    if (d->bucket)
        *to++ = bucket_cell(m, g->bucket_ms);
    for (size_t i = 0; i < d->n_groups; i++)
        *to++ = group_cell(d->groups[i], g->g[i]);
    for (size_t i = 0; i < d->n_measures; i++)
        *to++ = measure_cell(m, g, i);
}

static void make_table(struct merge *m, struct report_table *t)
{
    const struct report_def *d = m->p->def;
    size_t n = m->groups.n;
    name_columns(d, t);
    struct report_cell *cells = ARENA_ARRAY(m->arena, struct report_cell, n * t->n_columns + 1);
    uint32_t *order = ARENA_ARRAY(m->arena, uint32_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
        fill_row(m, &m->v[i], cells + i * t->n_columns);
    }
    struct sorted s = { cells, d, t->n_columns, d->n_groups + (d->bucket != NULL) };
    sort_rows(order, ARENA_ARRAY(m->arena, uint32_t, n + 1), n, &s);
    t->is_truncated = n > (size_t)d->limit;
    t->n_rows = t->is_truncated ? (size_t)d->limit : n;
    t->cells = ARENA_ARRAY(m->arena, struct report_cell, t->n_rows * t->n_columns + 1);
    for (size_t i = 0; i < t->n_rows; i++)
        memcpy(t->cells + i * t->n_columns, cells + order[i] * t->n_columns,
               t->n_columns * sizeof *cells);
}

enum err_code report_merge(struct ctx *cx, struct db *db, const struct report_plan *p,
                           struct report_table *out)
{
    struct merge m = { .p = p, .arena = &cx->arena, .last_quarter = INT64_MIN };
    m.groups.arena = m.distinct.arena = &cx->arena;
    buf_init(&m.key, &cx->arena, KEY_MAX);
    enum err_code e = db_each(cx, db, &rec_report_row, p->sql.p,
                              (struct args){ p->args, p->n_args }, add_row, &m);
    if (e)
        return e;
    *out = (struct report_table){
        .has_from = p->has_from, .has_to = p->has_to, .from_ms = p->from_ms, .to_ms = p->to_ms
    };
    make_table(&m, out);
    return cx->arena.over ? too_many(cx) : ERR_NONE;
}
