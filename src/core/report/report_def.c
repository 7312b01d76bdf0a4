/* Reading definitions: see report_def.h. The shape is judged by the field tables, then each name and
 * value by the source's fields. */
#include "report_def.h"

#include <stdio.h>
#include <string.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"

#define LIST_TEXT_MAX ((size_t)256 << 10)
#define VALUE_TEXT_MAX 8192

/* ---- the form ---- */

struct filter_in {
    struct rec_bits bits;
    struct str field, op, value;
};
#define FI(member) offsetof(struct filter_in, member)
static const struct field filter_fields[] = {
    { "field", F_STR, FI(field), F_REQUIRED, 1, 64, NULL, "Field of the source", "\"status\"" },
    { "op", F_ENUM, FI(op), F_REQUIRED, 0, 0, report_op_words,
      "Operator; ne also takes rows without a value", "\"eq\"" },
    { "value", F_JSON, FI(value), F_NULLABLE, 0, VALUE_TEXT_MAX, NULL,
      "What it is compared with; an array for in; true (default) or false for is_null; times are "
      "RFC 3339 or relative as -7d",
      "\"open\"" },
};
const struct rec rec_report_filter =
    REC("ReportFilter", struct filter_in, filter_fields, "A condition on a field.");

struct bucket_in {
    struct rec_bits bits;
    struct str field, unit, time_zone;
};
#define BI(member) offsetof(struct bucket_in, member)
static const struct field bucket_fields[] = {
    { "field", F_STR, BI(field), F_REQUIRED, 1, 64, NULL, "A time of the source",
      "\"created_at\"" },
    { "unit", F_ENUM, BI(unit), F_REQUIRED, 0, 0, zone_unit_words,
      "Length of a bucket; weeks begin on Monday", "\"week\"" },
    { "time_zone", F_STR, BI(time_zone), 0, 1, ZONE_NAME_MAX, NULL,
      "Name from the time zone database (default UTC)", "\"Europe/Berlin\"" },
};
static const struct rec rec_bucket =
    REC("ReportBucket", struct bucket_in, bucket_fields, "Time put into calendar buckets.");

struct measure_in {
    struct rec_bits bits;
    struct str name, op, field;
};
#define MI(member) offsetof(struct measure_in, member)
static const struct field measure_fields[] = {
    { "name", F_STR, MI(name), F_REQUIRED | F_SINGLE_LINE, 1, REPORT_NAME_MAX, NULL,
      "Name of the column", "\"tickets\"" },
    { "op", F_ENUM, MI(op), F_REQUIRED, 0, 0, report_agg_words, "What is measured", "\"count\"" },
    { "field", F_STR, MI(field), F_NULLABLE, 1, 64, NULL, "Of which field; not with count", NULL },
};
static const struct rec rec_measure =
    REC("ReportMeasure", struct measure_in, measure_fields, "A column with figures.");

static const char *const orders[] = { "asc", "desc", NULL };
struct sort_in {
    struct rec_bits bits;
    struct str by, order;
};
#define SI(member) offsetof(struct sort_in, member)
static const struct field sort_fields[] = {
    { "by", F_STR, SI(by), F_REQUIRED, 1, REPORT_NAME_MAX, NULL,
      "Name of a measure, a field of group_by, or bucket", "\"tickets\"" },
    { "order", F_ENUM, SI(order), 0, 0, 0, orders, "Order (default asc)", "\"desc\"" },
};
static const struct rec rec_sort =
    REC("ReportSort", struct sort_in, sort_fields, "An order of the rows.");

#define DI(member) offsetof(struct report_definition, member)
static const struct field definition_fields[] = {
    { "source", F_ENUM, DI(source), F_REQUIRED, 0, 0, report_source_words, "What is counted",
      "\"tickets\"" },
    { "filters", F_RECS, DI(filters), 0, 0, REPORT_FILTERS_MAX, NULL,
      "Conditions that all must hold", NULL, &rec_report_filter },
    { "group_by", F_STRS, DI(group_by), 0, 0, REPORT_GROUPS_MAX, NULL,
      "Fields whose values get a row each", "[\"priority\"]" },
    { "bucket", F_REC, DI(bucket), F_NULLABLE, 0, 0, NULL, "A row for each unit of time", NULL,
      &rec_bucket },
    { "measures", F_RECS, DI(measures), F_REQUIRED, 1, REPORT_MEASURES_MAX, NULL, "The figures",
      NULL, &rec_measure },
    { "sort", F_RECS, DI(sort), 0, 0, REPORT_SORTS_MAX, NULL,
      "Order of the rows (default: bucket, then the groups)", NULL, &rec_sort },
    { "limit", F_INT, DI(limit), 0, 1, REPORT_LIMIT_MAX, NULL, "Rows at most (default 1,000)",
      NULL },
    { "from", F_STR, DI(from), F_NULLABLE, 1, 40, NULL,
      "Only at or after this time: RFC 3339, now, or relative as -30d, -12h, -4w. About the "
      "field of bucket, or created_at",
      "\"-30d\"" },
    { "to", F_STR, DI(to), F_NULLABLE, 1, 40, NULL, "Only before this time", NULL },
};
const struct rec rec_report_definition =
    REC("ReportDefinition", struct report_definition, definition_fields, "What a report shows.");

/* ---- reading ---- */

struct reading {
    struct ctx *cx;
    const char *prefix;
    int64_t now_ms;
    struct report_def *d;
    size_t n_args;
};

static struct str path(const struct reading *r, const char *list, size_t i, const char *member)
{
    struct arena *a = &r->cx->arena;
    const char *dot = r->prefix[0] ? "." : "";
    if (!member)
        return str_printf(a, "%s%s%s[%zu]", r->prefix, dot, list, i);
    return str_printf(a, "%s%s%s[%zu].%s", r->prefix, dot, list, i, member);
}

static struct str path_of(const struct reading *r, const char *member)
{
    return str_printf(&r->cx->arena, "%s%s%s", r->prefix, r->prefix[0] ? "." : "", member);
}

static enum err_code wrong(const struct reading *r, struct str where, const char *what)
{
    return ctx_fail_field(r->cx, ERR_INVALID_FIELD, where, STR_FMT " %s", STR_ARG(where), what);
}

static int word_index(const char *const *words, struct str word)
{
    for (int i = 0; words[i]; i++)
        if (str_eq(word, str_of(words[i])))
            return i;
    BUG_IF(true); /* the field table has judged it */
    return 0;
}

/* A field of the source with these flags, or NULL with the problem recorded. */
static const struct report_field *field_at(const struct reading *r, struct str name,
                                           struct str where, unsigned flags, const char *what)
{
    const struct report_field *f = report_field_find(r->d->source, name);
    if (f && (!flags || f->flags & flags))
        return f;
    struct str text = f ? str_printf(&r->cx->arena, "names a field that %s", what)
                        : str_printf(&r->cx->arena, "names no field of %s", r->d->source->name);
    wrong(r, where, str_cstr(&r->cx->arena, text));
    return NULL;
}

static bool when_is_read(struct str text, struct report_when *out)
{
    *out = (struct report_when){ .is_set = true, .is_relative = true };
    if (str_eq(text, STR("now")))
        return true;
    if (text.n && text.p[0] == '-' && duration_parse(str_sub(text, 1, text.n), &out->ms)) {
        out->ms = -out->ms;
        return true;
    }
    out->is_relative = false;
    return time_parse(text, &out->ms);
}

enum err_code report_when_parse(struct ctx *cx, struct str text, struct str where,
                                struct report_when *out)
{
    *out = (struct report_when){ .is_set = false };
    if (!text.p || when_is_read(text, out))
        return ERR_NONE;
    return ctx_fail_field(cx, ERR_INVALID_FIELD, where,
                          STR_FMT " must be an RFC 3339 date-time, now, or a time before now as "
                                  "-30d, -12h, -4w",
                          STR_ARG(where));
}

int64_t report_when_ms(const struct report_when *w, int64_t now_ms)
{
    int64_t ms;
    if (!w->is_relative)
        return w->ms;
    return __builtin_add_overflow(now_ms, w->ms, &ms) ? 0 : ms;
}

/* ---- filters ---- */

static const char *const must_be[] = {
    [RT_TEXT] = "must be a text of at most 500 characters",
    [RT_WORD] = "must be one of",
    [RT_ID] = "must be a UUID",
    [RT_TIME] = "must be an RFC 3339 date-time, or a time before now as -7d",
    [RT_INT] = "must be an integer",
    [RT_BOOL] = "must be true or false",
};

static bool take_text(const struct reading *r, const struct report_field *f, struct str s,
                      struct val *out)
{
    *out = VT(s);
    switch (f->type) {
    case RT_TEXT: return s.n <= 4 * REPORT_TEXT_MAX && str_chars(s) <= REPORT_TEXT_MAX;
    case RT_ID: {
        char *lower = str_cstr(&r->cx->arena, s);
        for (size_t i = 0; i < s.n; i++)
            if (lower[i] >= 'A' && lower[i] <= 'F')
                lower[i] = (char)(lower[i] + ('a' - 'A'));
        out->s.p = lower;
        return uuid_is_valid(s);
    }
    case RT_WORD:
        for (int i = 0; f->words[i]; i++)
            if (str_eq(s, str_of(f->words[i])))
                return true;
        return false;
    case RT_TIME: {
        struct report_when when;
        bool is_fine = when_is_read(s, &when);
        *out = VI(is_fine ? report_when_ms(&when, r->now_ms) : 0);
        return is_fine;
    }
    case RT_INT:
    case RT_BOOL:
    case RT_REAL: return false;
    }
    return false;
}

static bool take_value(const struct reading *r, const struct report_field *f, const json_t *v,
                       struct val *out)
{
    if (f->type == RT_INT && json_is_integer(v)) {
        *out = VI(json_integer_value(v));
        return true;
    }
    if (f->type == RT_BOOL && json_is_boolean(v)) {
        *out = VI(json_is_true(v));
        return true;
    }
    return json_is_string(v) &&
           take_text(r, f, (struct str){ json_string_value(v), json_string_length(v) }, out);
}

static void wrong_value(const struct reading *r, const struct report_field *f, struct str where)
{
    struct buf b;
    buf_init(&b, &r->cx->arena, 1024);
    buf_lit(&b, must_be[f->type]);
    for (size_t i = 0; f->type == RT_WORD && f->words[i]; i++)
        buf_printf(&b, "%s %s", i ? "," : "", f->words[i]);
    wrong(r, where, str_cstr(&r->cx->arena, buf_view(&b)));
}

/* is_null takes true, false or nothing. */
static void read_is_null(struct reading *r, struct report_filter *f, const json_t *v,
                         struct str where)
{
    struct val *one = ARENA_NEW(&r->cx->arena, struct val);
    if (v && !json_is_null(v) && !json_is_boolean(v))
        wrong(r, where, "must be true or false");
    *one = VI(!json_is_false(v));
    f->values = one;
    f->n = 1;
}

static void read_values(struct reading *r, struct report_filter *f, const json_t *v,
                        struct str where)
{
    bool is_list = f->op == OP_IN;
    size_t n = is_list ? json_array_size(v) : 1;
    if (is_list && (!json_is_array(v) || n < 1 || n > REPORT_VALUES_MAX)) {
        wrong(r, where, "must be an array of 1 to 50 values");
        return;
    }
    r->n_args += n;
    struct val *values = ARENA_ARRAY(&r->cx->arena, struct val, n);
    for (size_t i = 0; i < n; i++)
        if (!take_value(r, f->field, is_list ? json_array_get(v, i) : v, &values[i])) {
            wrong_value(r, f->field,
                        is_list ? str_printf(&r->cx->arena, STR_FMT "[%zu]", STR_ARG(where), i)
                                : where);
            return;
        }
    f->values = values;
    f->n = n;
}

static void ops_text(struct buf *b, unsigned ops)
{
    const char *sep = " ";
    for (int i = 0; report_op_words[i]; i++)
        if (ops >> i & 1) {
            buf_printf(b, "%s%s", sep, report_op_words[i]);
            sep = ", ";
        }
}

static void read_filter(struct reading *r, size_t i, json_t *item, struct filter_in *in)
{
    struct report_filter *f = &r->d->filters[i];
    struct str where = path(r, "filters", i, "value");
    f->field =
        field_at(r, in->field, path(r, "filters", i, "field"), RF_FILTER, "cannot be filtered by");
    f->op = (enum report_op)word_index(report_op_words, in->op);
    if (!f->field)
        return;
    if (!(report_field_ops(f->field) >> f->op & 1)) {
        struct buf b;
        buf_init(&b, &r->cx->arena, 256);
        buf_printf(&b, "must, for %s, be one of", f->field->name);
        ops_text(&b, report_field_ops(f->field));
        wrong(r, path(r, "filters", i, "op"), str_cstr(&r->cx->arena, buf_view(&b)));
        return;
    }
    const json_t *v = json_object_get(item, "value");
    if (f->op == OP_IS_NULL)
        read_is_null(r, f, v, where);
    else if (!v || json_is_null(v))
        ctx_fail_field(r->cx, ERR_MISSING_FIELD, where, STR_FMT " is required", STR_ARG(where));
    else
        read_values(r, f, v, where);
}

/* Each object of an array by its table, shown again into `text`. */
static void read_list(struct reading *r, const json_t *list, const char *name,
                      const struct rec *rec,
                      void (*each)(struct reading *r, size_t i, json_t *item, void *in),
                      struct str *text)
{
    _Alignas(16) char in[512];
    struct buf b;
    buf_init(&b, &r->cx->arena, LIST_TEXT_MAX);
    buf_char(&b, '[');
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        if (rec_decode(r->cx, rec, item, REC_REFUSE_UNKNOWN, path(r, name, i, NULL), in))
            continue;
        each(r, i, item, in);
        if (i)
            buf_char(&b, ',');
        rec_encode(&b, rec, in);
    }
    buf_char(&b, ']');
    *text = buf_view(&b);
}

static void each_filter(struct reading *r, size_t i, json_t *item, void *in)
{
    r->d->n_filters = i + 1;
    read_filter(r, i, item, in);
}

static void read_filters(struct reading *r, const json_t *list, struct str *text)
{
    read_list(r, list, "filters", &rec_report_filter, each_filter, text);
    if (r->n_args > REPORT_ARGS_MAX)
        wrong(r, path_of(r, "filters"), "must have at most 150 values together");
}

enum err_code report_filters_parse(struct ctx *cx, const struct report_source *source,
                                   struct str json, int64_t now_ms, struct report_def *out)
{
    struct reading r = { .cx = cx, .prefix = "", .now_ms = now_ms, .d = out };
    struct str text;
    *out = (struct report_def){ .source = source };
    json_t *list = json_read(cx, json);
    if (!list)
        return cx->err;
    if (!json_is_array(list) || json_array_size(list) > REPORT_FILTERS_MAX)
        return wrong(&r, STR("filters"), "must be an array of at most 20 objects");
    read_filters(&r, list, &text);
    out->text = text;
    return cx->err;
}

/* ---- groups, bucket, measures, order ---- */

static void read_groups(struct reading *r, const json_t *list, struct str *text)
{
    struct report_def *d = r->d;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        struct str where = path(r, "group_by", i, NULL);
        struct str name = { json_string_value(v), json_string_length(v) };
        const struct report_field *f = field_at(r, name, where, RF_GROUP, "cannot be grouped by");
        for (size_t k = 0; f && k < d->n_groups; k++)
            if (d->groups[k] == f)
                wrong(r, where, "is there already");
        if (f)
            d->groups[d->n_groups++] = f;
    }
    *text = json_array_size(list) ? json_text(r->cx, list) : STR("[]");
}

static void read_bucket(struct reading *r, json_t *v, struct str *text)
{
    struct report_def *d = r->d;
    struct bucket_in in;
    *text = STR_NONE;
    if (!v || json_is_null(v) ||
        rec_decode(r->cx, &rec_bucket, v, REC_REFUSE_UNKNOWN, path_of(r, "bucket"), &in))
        return;
    if (!REC_HAS(&in, time_zone)) {
        in.time_zone = STR("UTC");
        REC_SET(&in, time_zone);
    }
    d->bucket = field_at(r, in.field, path_of(r, "bucket.field"), RF_BUCKET, "is no time");
    d->unit = (enum zone_unit)word_index(zone_unit_words, in.unit);
    d->zone = zone_open(r->cx, in.time_zone);
    if (!d->zone)
        wrong(r, path_of(r, "bucket.time_zone"), "names no zone of the time zone database");
    struct buf b;
    buf_init(&b, &r->cx->arena, 1024);
    rec_encode(&b, &rec_bucket, &in);
    *text = buf_view(&b);
}

/* The column of a name in the result: bucket, groups, measures; -1 = none. */
static int column_of(const struct report_def *d, struct str name)
{
    int at = 0;
    if (d->bucket) {
        if (str_eq(name, STR("bucket")))
            return 0;
        at++;
    }
    for (size_t i = 0; i < d->n_groups; i++, at++)
        if (str_eq(name, str_of(d->groups[i]->name)))
            return at;
    for (size_t i = 0; i < d->n_measures; i++, at++)
        if (str_eq(name, d->measures[i].name))
            return at;
    return -1;
}

static void measure_field(struct reading *r, size_t i, const struct measure_in *in,
                          struct report_measure *m)
{
    struct str where = path(r, "measures", i, "field");
    bool is_given = REC_HAS(in, field);
    if (m->agg == AGG_COUNT) {
        if (is_given)
            wrong(r, where, "is not for count");
        return;
    }
    if (!is_given) {
        ctx_fail_field(r->cx, ERR_MISSING_FIELD, where, STR_FMT " is required", STR_ARG(where));
        return;
    }
    m->field = field_at(r, in->field, where, 0, "");
    if (m->field && !(m->field->aggs >> m->agg & 1))
        wrong(r, where, "names a field of which this cannot be measured");
}

static void each_measure(struct reading *r, size_t i, json_t *item, void *arg)
{
    struct measure_in *in = arg;
    struct report_def *d = r->d;
    struct report_measure m = { .name = in->name };
    (void)item;
    m.agg = (enum report_agg)word_index(report_agg_words, in->op);
    if (column_of(d, in->name) >= 0 || str_eq(in->name, STR("bucket")))
        wrong(r, path(r, "measures", i, "name"), "names a column that is there already");
    measure_field(r, i, in, &m);
    for (size_t k = 0; d->bucket && m.agg == AGG_COUNT_DISTINCT && k < d->n_measures; k++)
        if (d->measures[k].agg == AGG_COUNT_DISTINCT && d->measures[k].field != m.field)
            wrong(r, path(r, "measures", i, "field"),
                  "names a second field to count distinct values of; with bucket there is one");
    d->measures[d->n_measures++] = m;
}

static void each_sort(struct reading *r, size_t i, json_t *item, void *arg)
{
    struct sort_in *in = arg;
    struct report_def *d = r->d;
    struct report_sort *s = &d->sorts[d->n_sorts++];
    (void)item;
    if (!REC_HAS(in, order)) {
        in->order = STR("asc");
        REC_SET(in, order);
    }
    s->is_down = str_eq(in->order, STR("desc"));
    s->column = column_of(d, in->by);
    if (s->column < 0)
        wrong(r, path(r, "sort", i, "by"), "names no measure, no field of group_by and not bucket");
}

/* ---- the whole ---- */

static void read_range(struct reading *r, const struct report_definition *in)
{
    struct report_def *d = r->d;
    report_when_parse(r->cx, REC_HAS(in, from) ? in->from : STR_NONE, path_of(r, "from"), &d->from);
    report_when_parse(r->cx, REC_HAS(in, to) ? in->to : STR_NONE, path_of(r, "to"), &d->to);
    if (!r->cx->err && d->from.is_set && d->to.is_set &&
        report_when_ms(&d->from, r->now_ms) > report_when_ms(&d->to, r->now_ms))
        wrong(r, path_of(r, "to"), "must not be before from");
    d->when = d->bucket ? d->bucket : report_field_find(d->source, STR("created_at"));
}

enum err_code report_def_parse(struct ctx *cx, struct str json, const char *prefix, int64_t now_ms,
                               struct report_def *out)
{
    struct reading r = { .cx = cx, .prefix = prefix, .now_ms = now_ms, .d = out };
    struct report_definition in;
    *out = (struct report_def){ .limit = REPORT_LIMIT_DEFAULT };
    json_t *obj = json_read(cx, json);
    if (!obj ||
        rec_decode(cx, &rec_report_definition, obj, REC_REFUSE_UNKNOWN, str_of(prefix), &in))
        return cx->err;
    out->source = report_source_find(in.source);
    read_filters(&r, json_object_get(obj, "filters"), &in.filters);
    read_groups(&r, json_object_get(obj, "group_by"), &in.group_by);
    read_bucket(&r, json_object_get(obj, "bucket"), &in.bucket);
    read_list(&r, json_object_get(obj, "measures"), "measures", &rec_measure, each_measure,
              &in.measures);
    read_list(&r, json_object_get(obj, "sort"), "sort", &rec_sort, each_sort, &in.sort);
    read_range(&r, &in);
    if (cx->err)
        return cx->err;
    if (REC_HAS(&in, limit))
        out->limit = in.limit;
    in.limit = out->limit;
    REC_SET(&in, filters);
    REC_SET(&in, group_by);
    REC_SET(&in, measures);
    REC_SET(&in, sort);
    REC_SET(&in, limit);
    struct buf b;
    buf_init(&b, &cx->arena, LIST_TEXT_MAX * 4);
    rec_encode(&b, &rec_report_definition, &in);
    out->text = buf_view(&b);
    return b.over ? wrong(&r, str_of(prefix), "is too large") : ERR_NONE;
}
