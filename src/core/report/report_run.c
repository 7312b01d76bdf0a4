/* Running a report and writing its table: see report_run.h. */
#include "report_run.h"

#include "../../base/clock.h"
#include "../../base/csv.h"
#include "../../base/json.h"

#define PIECE_MAX ((size_t)64 << 10)

/* ---- running ---- */

static enum err_code lacks(struct ctx *cx, const struct caller *who,
                           const struct report_source *source)
{
    const char *word = action_rows[__builtin_ctzll(source->scope)].wire;
    if (!who->token_id.p)
        return fail(cx, INSUFFICIENT_ROLE,
                    "Your role in this team is " STR_FMT "; a report over %s needs " STR_FMT,
                    STR_ARG(role_word(who->role)), source->name,
                    STR_ARG(role_word(role_least(source->scope))));
    if (source->scope >> SCOPE_BITS)
        return fail(cx, INSUFFICIENT_SCOPE, "The token lacks the scope admin:full (for %s)", word);
    return fail(cx, INSUFFICIENT_SCOPE, "The token lacks the scope %s", word);
}

enum err_code report_may_read(struct ctx *cx, const struct caller *who,
                              const struct report_source *source)
{
    bool is_cli = !who->token_id.p && !who->user_id.p;
    return is_cli || scope_granted(who->scopes, source->scope) ? ERR_NONE : lacks(cx, who, source);
}

enum err_code report_run(struct ctx *cx, struct db *db, const struct report_ask *ask,
                         struct report_table *out)
{
    int64_t began_us = clock_mono_us();
    struct report_plan *p = ARENA_NEW(&cx->arena, struct report_plan);
    enum err_code e = report_may_read(cx, ask->who, ask->def->source);
    if (!e)
        e = report_plan_make(cx, ask, p);
    if (!e)
        e = report_merge(cx, db, p, out);
    if (!e)
        out->took_ms = (clock_mono_us() - began_us) / 1000;
    return e;
}

struct run {
    const struct report_ask *ask;
    struct report_table *out;
};

static enum err_code run_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct run *r = arg;
    caller_scope(db, r->ask->who);
    return report_run(cx, db, r->ask, r->out);
}

enum err_code report_execute(struct ctx *cx, struct store *s, const struct report_ask *ask,
                             struct report_table *out)
{
    struct run r = { ask, out };
    int64_t was_us = cx->deadline_us;
    cx->deadline_us = clock_mono_us() + REPORT_DEADLINE_US;
    enum err_code e = store_read(cx, s, run_unit, &r);
    bool is_late = e == ERR_UNAVAILABLE && clock_mono_us() >= cx->deadline_us;
    cx->deadline_us = was_us;
    if (!is_late)
        return e;
    ctx_clear(cx);
    return fail(cx, UNAVAILABLE,
                "The report took longer than %d seconds; narrow its time or filters",
                (int)(REPORT_DEADLINE_US / 1000000));
}

/* ---- the form of a result ---- */

struct column_shown {
    struct rec_bits bits;
    struct str name, type;
};
static const struct field column_fields[] = {
    { "name", F_STR, offsetof(struct column_shown, name), 0, 0, 0, NULL,
      "bucket, a field of group_by, or a measure", "\"tickets\"" },
    { "type", F_STR, offsetof(struct column_shown, type), 0, 0, 0, NULL,
      "text, id, time, integer, number or boolean", "\"integer\"" },
};
static const struct rec rec_column =
    REC("ReportColumn", struct column_shown, column_fields, "A column of a result.");

/* Written by hand below, row by row; the table serves the schema. */
struct result_shown {
    struct rec_bits bits;
    struct str columns, rows;
    int64_t truncated, from, to, took_ms;
};
#define AT(member) offsetof(struct result_shown, member)
static const struct field result_fields[] = {
    { "columns", F_RECS, AT(columns), 0, 0, 0, NULL, "The columns: bucket, groups, measures", NULL,
      &rec_column },
    { "rows", F_JSON, AT(rows), 0, 0, 0, NULL,
      "An array of rows, each an array of as many values; times are RFC 3339, buckets with the "
      "offset of their zone",
      "[[\"high\",17]]" },
    { "truncated", F_BOOL, AT(truncated), 0, 0, 0, NULL, "There are more rows than limit", NULL },
    { "from", F_TIME, AT(from), F_NULLABLE, 0, 0, NULL, "Begin of what was looked at", NULL },
    { "to", F_TIME, AT(to), F_NULLABLE, 0, 0, NULL, "Its end", NULL },
    { "took_ms", F_INT, AT(took_ms), 0, 0, 0, NULL, "How long it took, in milliseconds", NULL },
};
const struct rec rec_report_result =
    REC("ReportResult", struct result_shown, result_fields, "What a report shows now.");

/* ---- JSON ---- */

static void json_cell(struct buf *b, const struct report_cell *c)
{
    switch (c->kind) {
    case CELL_NULL: buf_lit(b, "null"); break;
    case CELL_TEXT:
    case CELL_TIME: json_write_str(b, c->s); break;
    case CELL_INT: buf_i64(b, c->i); break;
    case CELL_REAL: json_write_real(b, c->r); break;
    case CELL_BOOL: buf_lit(b, c->i ? "true" : "false"); break;
    }
}

static void json_columns(struct buf *b, const struct report_table *t)
{
    buf_lit(b, "{\"columns\":[");
    for (size_t i = 0; i < t->n_columns; i++) {
        struct column_shown c = { .bits.has = ~UINT64_C(0),
                                  .name = t->columns[i].name,
                                  .type = str_of(report_type_words[t->columns[i].type]) };
        if (i)
            buf_char(b, ',');
        rec_encode(b, &rec_column, &c);
    }
    buf_lit(b, "],\"rows\":[");
}

static void json_end(struct buf *b, const struct report_table *t)
{
    buf_printf(b, "],\"truncated\":%s,\"from\":", t->is_truncated ? "true" : "false");
    for (int i = 0; i < 2; i++) {
        if (i)
            buf_lit(b, ",\"to\":");
        if (!(i ? t->has_to : t->has_from)) {
            buf_lit(b, "null");
            continue;
        }
        buf_char(b, '"');
        time_print_ms(b, i ? t->to_ms : t->from_ms);
        buf_char(b, '"');
    }
    buf_printf(b, ",\"took_ms\":%lld}\n", (long long)t->took_ms);
}

void report_write_json(struct ctx *cx, const struct report_table *t, struct spool *to)
{
    struct buf b;
    buf_init(&b, &cx->arena, PIECE_MAX);
    json_columns(&b, t);
    for (size_t i = 0; i < t->n_rows; i++) {
        spool_str(to, buf_view(&b));
        buf_reset(&b);
        buf_lit(&b, i ? ",\n[" : "[");
        for (size_t k = 0; k < t->n_columns; k++) {
            if (k)
                buf_char(&b, ',');
            json_cell(&b, &t->cells[i * t->n_columns + k]);
        }
        buf_char(&b, ']');
    }
    json_end(&b, t);
    spool_str(to, buf_view(&b));
}

/* ---- CSV and XLSX ---- */

static void csv_cell(struct spool *to, const struct report_cell *c)
{
    char text[40];
    struct arena a;
    struct buf b;
    switch (c->kind) {
    case CELL_NULL: break;
    case CELL_TEXT: csv_text(to, c->s); break;
    case CELL_TIME: spool_str(to, c->s); break;
    case CELL_INT: csv_int(to, c->i); break;
    case CELL_REAL:
        arena_init(&a, sizeof text * 4);
        buf_init(&b, &a, sizeof text);
        json_write_real(&b, c->r);
        spool_str(to, buf_view(&b));
        arena_done(&a);
        break;
    case CELL_BOOL: csv_text(to, c->i ? STR("true") : STR("false")); break;
    }
}

void report_write_csv(const struct report_table *t, struct spool *to)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (i)
            csv_sep(to);
        csv_text(to, t->columns[i].name);
    }
    csv_end(to);
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) {
        csv_cell(to, &t->cells[i]);
        if ((i + 1) % t->n_columns)
            csv_sep(to);
        else
            csv_end(to);
    }
}

static void xlsx_cell(struct xlsx *to, const struct report_cell *c)
{
    switch (c->kind) {
    case CELL_NULL: xlsx_text(to, STR_NONE); break;
    case CELL_TEXT: xlsx_text(to, c->s); break;
    case CELL_TIME: xlsx_time(to, c->i + (int64_t)c->r * 1000); break;
    case CELL_INT: xlsx_int(to, c->i); break;
    case CELL_REAL: xlsx_real(to, c->r); break;
    case CELL_BOOL: xlsx_bool(to, c->i); break;
    }
}

void report_write_xlsx(const struct report_table *t, struct xlsx *to)
{
    struct str names[REPORT_COLUMNS_MAX];
    for (size_t i = 0; i < t->n_columns; i++)
        names[i] = t->columns[i].name;
    xlsx_head(to, names, t->n_columns);
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) {
        xlsx_cell(to, &t->cells[i]);
        if ((i + 1) % t->n_columns == 0)
            xlsx_end(to);
    }
}
