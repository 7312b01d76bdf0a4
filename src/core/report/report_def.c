/* Reading definitions: see report_def.h. The shape is judged by the field tables, then each name and
 * value by the source's fields. */
#include "report_reading.h"

#include <string.h>

#include "../../base/json.h"

/* ---- the form ---- */

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

/* ---- groups, bucket, measures, order ---- */

static void read_groups(struct reading *r, const json_t *list, struct str *text)
{
    struct report_def *d = r->d;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        struct str where = reading_path(r, "group_by", i, NULL);
        struct str name = { json_string_value(v), json_string_length(v) };
        const struct report_field *f =
            reading_field(r, name, where, RF_GROUP, "cannot be grouped by");
        for (size_t k = 0; f && k < d->n_groups; k++)
            if (d->groups[k] == f)
                reading_wrong(r, where, "is there already");
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
        rec_decode(r->cx, &rec_bucket, v, REC_REFUSE_UNKNOWN, reading_path_of(r, "bucket"), &in))
        return;
    if (!REC_HAS(&in, time_zone)) {
        in.time_zone = STR("UTC");
        REC_SET(&in, time_zone);
    }
    d->bucket =
        reading_field(r, in.field, reading_path_of(r, "bucket.field"), RF_BUCKET, "is no time");
    d->unit = (enum zone_unit)reading_word(zone_unit_words, in.unit);
    d->zone = zone_open(r->cx, in.time_zone);
    if (!d->zone)
        reading_wrong(r, reading_path_of(r, "bucket.time_zone"),
                      "names no zone of the time zone database");
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
    struct str where = reading_path(r, "measures", i, "field");
    bool is_given = REC_HAS(in, field);
    if (m->agg == AGG_COUNT) {
        if (is_given)
            reading_wrong(r, where, "is not for count");
        return;
    }
    if (!is_given) {
        ctx_fail_field(r->cx, ERR_MISSING_FIELD, where, STR_FMT " is required", STR_ARG(where));
        return;
    }
    m->field = reading_field(r, in->field, where, 0, "");
    if (m->field && !(m->field->aggs >> m->agg & 1))
        reading_wrong(r, where, "names a field of which this cannot be measured");
}

static void each_measure(struct reading *r, size_t i, json_t *item, void *arg)
{
    struct measure_in *in = arg;
    struct report_def *d = r->d;
    struct report_measure m = { .name = in->name };
    (void)item;
    m.agg = (enum report_agg)reading_word(report_agg_words, in->op);
    if (column_of(d, in->name) >= 0 || str_eq(in->name, STR("bucket")))
        reading_wrong(r, reading_path(r, "measures", i, "name"),
                      "names a column that is there already");
    measure_field(r, i, in, &m);
    for (size_t k = 0; d->bucket && m.agg == AGG_COUNT_DISTINCT && k < d->n_measures; k++)
        if (d->measures[k].agg == AGG_COUNT_DISTINCT && d->measures[k].field != m.field)
            reading_wrong(
                r, reading_path(r, "measures", i, "field"),
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
        reading_wrong(r, reading_path(r, "sort", i, "by"),
                      "names no measure, no field of group_by and not bucket");
}

/* ---- the whole ---- */

static void read_range(struct reading *r, const struct report_definition *in)
{
    struct report_def *d = r->d;
    report_when_parse(r->cx, REC_HAS(in, from) ? in->from : STR_NONE, reading_path_of(r, "from"),
                      &d->from);
    report_when_parse(r->cx, REC_HAS(in, to) ? in->to : STR_NONE, reading_path_of(r, "to"), &d->to);
    if (!r->cx->err && d->from.is_set && d->to.is_set &&
        report_when_ms(&d->from, r->now_ms) > report_when_ms(&d->to, r->now_ms))
        reading_wrong(r, reading_path_of(r, "to"), "must not be before from");
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
    reading_filters(&r, json_object_get(obj, "filters"), &in.filters);
    read_groups(&r, json_object_get(obj, "group_by"), &in.group_by);
    read_bucket(&r, json_object_get(obj, "bucket"), &in.bucket);
    reading_list(&r, json_object_get(obj, "measures"), "measures", &rec_measure, each_measure,
                 &in.measures);
    reading_list(&r, json_object_get(obj, "sort"), "sort", &rec_sort, each_sort, &in.sort);
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
    return b.over ? reading_wrong(&r, str_of(prefix), "is too large") : ERR_NONE;
}
