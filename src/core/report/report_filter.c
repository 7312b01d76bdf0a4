/* Reading the filters of a definition, and times relative to now: see report_reading.h. */
#include "report_reading.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"

#define VALUE_TEXT_MAX 8192

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

/* ---- what reading shares ---- */

struct str reading_path(const struct reading *r, const char *list, size_t i, const char *member)
{
    struct arena *a = &r->cx->arena;
    const char *dot = r->prefix[0] ? "." : "";
    if (!member)
        return str_printf(a, "%s%s%s[%zu]", r->prefix, dot, list, i);
    return str_printf(a, "%s%s%s[%zu].%s", r->prefix, dot, list, i, member);
}

struct str reading_path_of(const struct reading *r, const char *member)
{
    return str_printf(&r->cx->arena, "%s%s%s", r->prefix, r->prefix[0] ? "." : "", member);
}

enum err_code reading_wrong(const struct reading *r, struct str where, const char *what)
{
    return ctx_fail_field(r->cx, ERR_INVALID_FIELD, where, STR_FMT " %s", STR_ARG(where), what);
}

int reading_word(const char *const *words, struct str word)
{
    for (int i = 0; words[i]; i++)
        if (str_eq(word, str_of(words[i])))
            return i;
    BUG_IF(true); /* the field table has judged it */
    return 0;
}

/* A field of the source with these flags, or NULL with the problem recorded. */
const struct report_field *reading_field(const struct reading *r, struct str name, struct str where,
                                         unsigned flags, const char *what)
{
    const struct report_field *f = report_field_find(r->d->source, name);
    if (f && (!flags || f->flags & flags))
        return f;
    struct str text = f ? str_printf(&r->cx->arena, "names a field that %s", what)
                        : str_printf(&r->cx->arena, "names no field of %s", r->d->source->name);
    reading_wrong(r, where, str_cstr(&r->cx->arena, text));
    return NULL;
}

bool reading_when(struct str text, struct report_when *out)
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
    if (!text.p || reading_when(text, out))
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
        bool is_fine = reading_when(s, &when);
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
        return !f->max || (out->i >= f->min && out->i <= f->max);
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
    if (f->max)
        buf_printf(&b, " between %lld and %lld", (long long)f->min, (long long)f->max);
    reading_wrong(r, where, str_cstr(&r->cx->arena, buf_view(&b)));
}

/* is_null takes true, false or nothing. */
static void read_is_null(struct reading *r, struct report_filter *f, const json_t *v,
                         struct str where)
{
    struct val *one = ARENA_NEW(&r->cx->arena, struct val);
    if (v && !json_is_null(v) && !json_is_boolean(v))
        reading_wrong(r, where, "must be true or false");
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
        reading_wrong(r, where, "must be an array of 1 to 50 values");
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
    struct str where = reading_path(r, "filters", i, "value");
    f->field = reading_field(r, in->field, reading_path(r, "filters", i, "field"), RF_FILTER,
                             "cannot be filtered by");
    f->op = (enum report_op)reading_word(report_op_words, in->op);
    if (!f->field)
        return;
    if (!(report_field_ops(f->field) >> f->op & 1)) {
        struct buf b;
        buf_init(&b, &r->cx->arena, 256);
        buf_printf(&b, "must, for %s, be one of", f->field->name);
        ops_text(&b, report_field_ops(f->field));
        reading_wrong(r, reading_path(r, "filters", i, "op"),
                      str_cstr(&r->cx->arena, buf_view(&b)));
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
void reading_list(struct reading *r, const json_t *list, const char *name, const struct rec *rec,
                  void (*each)(struct reading *r, size_t i, json_t *item, void *in),
                  struct str *text)
{
    _Alignas(16) char in[512];
    struct buf b;
    buf_init(&b, &r->cx->arena, LIST_TEXT_MAX);
    buf_char(&b, '[');
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        if (rec_decode(r->cx, rec, item, REC_REFUSE_UNKNOWN, reading_path(r, name, i, NULL), in))
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

void reading_filters(struct reading *r, const json_t *list, struct str *text)
{
    reading_list(r, list, "filters", &rec_report_filter, each_filter, text);
    if (r->n_args > REPORT_ARGS_MAX)
        reading_wrong(r, reading_path_of(r, "filters"), "must have at most 150 values together");
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
        return reading_wrong(&r, STR("filters"), "must be an array of at most 20 objects");
    reading_filters(&r, list, &text);
    out->text = text;
    return cx->err;
}
