/* Field tables, reading side: JSON objects and query parameters become plain structs.
 *
 * One loop over the table judges every field and records every problem, in table order; unknown
 * names follow in the order they were sent. JSON and query values meet in take_text() and
 * take_int(), so that both are judged by the same rules. Texts are not copied: members point into
 * the JSON value or the parameter, which live in the same ctx.
 *
 * No state; any thread. Leaves out: rules that span several fields (the core functions judge
 * those). */
#include "rec.h"

#include <string.h>

#include "clock.h"
#include "crypt.h"
#include "json.h"

#define REC_FIELDS_MAX 64                  /* one presence bit each */
#define REC_SIZE_MAX (REC_FIELDS_MAX * 8)  /* hence the largest struct */
#define OBJECT_TEXT_MAX ((int64_t)8 << 20) /* F_OBJECT and F_STRS when the table gives no bytes */
#define NAME_SHOWN_MAX 100                 /* bytes of an unknown name in a sentence */

struct decoder {
    struct ctx *cx;
    const struct rec *r;
    unsigned mode;
    bool is_query;
    struct str prefix;
    void *out;
    enum err_code first; /* the first problem of this call */
};

/* ---- problems ---- */

static struct str prefixed(struct decoder *d, struct str name)
{
    const char *dot = d->prefix.n > 0 && d->prefix.p[d->prefix.n - 1] != '.' ? "." : "";

    if (d->prefix.n == 0)
        return name;
    return str_printf(&d->cx->arena, STR_FMT "%s" STR_FMT, STR_ARG(d->prefix), dot, STR_ARG(name));
}

/* False when enough problems are recorded: hostile input must not fill the arena with sentences. */
static bool problem_begin(struct decoder *d, enum err_code *code)
{
    if (d->is_query)
        *code = ERR_INVALID_PARAMETER;
    if (!d->first)
        d->first = *code;
    return d->cx->n_fields < CTX_FIELD_ERRORS_MAX;
}

/* The text names its field already, so it is the whole public sentence when it is the first. */
static void record(struct decoder *d, enum err_code code, struct str name, struct str text)
{
    ctx_fail(d->cx, code, STR_FMT, STR_ARG(text));
    ctx_fail_field(d->cx, code, name, STR_FMT, STR_ARG(text));
}

/* The sentence is "<name> <what>". */
static void problem(struct decoder *d, enum err_code code, const struct field *f, const char *what)
{
    struct str name;

    if (!problem_begin(d, &code))
        return;
    name = prefixed(d, str_of(f->name));
    record(d, code, name, str_printf(&d->cx->arena, STR_FMT " %s", STR_ARG(name), what));
}

static void problem_count(struct decoder *d, const struct field *f, const char *what, int64_t n,
                          const char *unit)
{
    struct str text =
        str_printf(&d->cx->arena, "must %s %lld %s%s", what, (long long)n, unit, n == 1 ? "" : "s");

    problem(d, ERR_INVALID_FIELD, f, str_cstr(&d->cx->arena, text));
}

static void problem_words(struct decoder *d, const struct field *f, const char *what)
{
    struct buf b;

    buf_init(&b, &d->cx->arena, 4096);
    buf_lit(&b, what);
    for (size_t i = 0; f->words && f->words[i]; i++) {
        buf_lit(&b, i ? ", " : " ");
        buf_lit(&b, f->words[i]);
    }
    problem(d, ERR_INVALID_FIELD, f, str_cstr(&d->cx->arena, buf_view(&b)));
}

/* The value is of the wrong kind, or its text is not of the form the type wants. */
static void problem_type(struct decoder *d, const struct field *f)
{
    const char *what = NULL;

    switch (f->type) {
    case F_STR: what = "must be a string"; break;
    case F_UUID: what = "must be a UUID"; break;
    case F_ENUM: problem_words(d, f, "must be one of"); return;
    case F_ENUMS: problem_words(d, f, "must be a comma separated list of"); return;
    case F_INT: what = "must be an integer"; break;
    case F_BOOL: what = "must be true or false"; break;
    case F_TIME:
    case F_TIME_S: what = "must be an RFC 3339 date-time"; break;
    case F_OBJECT: what = "must be an object"; break;
    case F_STRS: what = "must be an array of strings"; break;
    case F_REC: what = "must be an object"; break;
    case F_RECS: what = "must be an array of objects"; break;
    case F_JSON: what = "must be a JSON value"; break;
    }
    problem(d, ERR_INVALID_FIELD, f, what);
}

static void problem_unknown(struct decoder *d, struct str name)
{
    enum err_code code = ERR_INVALID_FIELD;
    size_t n = name.n;

    if (!problem_begin(d, &code))
        return;
    if (n > NAME_SHOWN_MAX) {
        for (n = NAME_SHOWN_MAX; n > 0 && ((unsigned char)name.p[n] & 0xC0) == 0x80;)
            n--;
    }
    name = prefixed(d, str_sub(name, 0, n));
    record(d, code, name,
           str_printf(&d->cx->arena, "unknown %s \"" STR_FMT "\"",
                      d->is_query ? "parameter" : "field", STR_ARG(name)));
}

/* ---- values ---- */

static void take_int(struct decoder *d, const struct field *f, int64_t v)
{
    if (f->type == F_INT && f->max != 0 && (v < f->min || v > f->max)) {
        struct str text = str_printf(&d->cx->arena, "must be between %lld and %lld",
                                     (long long)f->min, (long long)f->max);
        problem(d, ERR_INVALID_FIELD, f, str_cstr(&d->cx->arena, text));
        return;
    }
    rec_put_int(f, d->out, v);
}

/* s is valid UTF-8 without U+0000. */
static void take_string(struct decoder *d, const struct field *f, struct str s)
{
    if ((f->flags & F_REQUIRED) && str_trim(s).n == 0) {
        if (d->mode & REC_PATCH)
            problem(d, ERR_INVALID_FIELD, f, "must not be blank");
        else
            problem(d, ERR_MISSING_FIELD, f, "is required");
    } else if (f->max > 0 && s.n > (size_t)f->max && str_chars(s) > (size_t)f->max) {
        problem_count(d, f, "be at most", f->max, "character");
    } else if (f->min > 0 && str_chars(s) < (size_t)f->min) {
        problem_count(d, f, "be at least", f->min, "character");
    } else if ((f->flags & F_SINGLE_LINE) && !str_is_single_line(s)) {
        problem(d, ERR_INVALID_FIELD, f, "must not contain control characters");
    } else {
        rec_put_text(f, d->out, s);
    }
}

/* Ids are stored in lower case; RFC 9562 §4 reads either. */
static void take_uuid(struct decoder *d, const struct field *f, struct str s)
{
    bool has_upper = false;
    char *lower;

    for (size_t i = 0; i < s.n; i++)
        has_upper |= s.p[i] >= 'A' && s.p[i] <= 'F';
    if (!has_upper) {
        rec_put_text(f, d->out, s);
        return;
    }
    lower = str_cstr(&d->cx->arena, s);
    for (size_t i = 0; i < s.n; i++) {
        if (lower[i] >= 'A' && lower[i] <= 'F')
            lower[i] = (char)(lower[i] + ('a' - 'A'));
    }
    rec_put_text(f, d->out, (struct str){ lower, s.n });
}

static bool is_word(const struct field *f, struct str s)
{
    for (size_t i = 0; f->words && f->words[i]; i++) {
        if (strlen(f->words[i]) == s.n && memcmp(f->words[i], s.p, s.n) == 0)
            return true;
    }
    return false;
}

static bool are_words(const struct field *f, struct str list)
{
    do {
        if (!is_word(f, str_cut(&list, ',')))
            return false;
    } while (list.p);
    return true;
}

/* A text for any type that travels as text, in JSON and in a query. */
static void take_text(struct decoder *d, const struct field *f, struct str s)
{
    int64_t ms;

    switch (f->type) {
    case F_STR: take_string(d, f, s); return;
    case F_UUID:
        if (!uuid_is_valid(s))
            break;
        take_uuid(d, f, s);
        return;
    case F_ENUM:
        if (!is_word(f, s))
            break;
        rec_put_text(f, d->out, s);
        return;
    case F_ENUMS:
        if (!are_words(f, s))
            break;
        rec_put_text(f, d->out, s);
        return;
    case F_TIME:
    case F_TIME_S:
        if (!time_parse(s, &ms))
            break;
        take_int(d, f, ms);
        return;
    case F_INT:
    case F_BOOL:
    case F_OBJECT:
    case F_STRS:
    case F_REC:
    case F_RECS:
    case F_JSON: break;
    }
    problem_type(d, f);
}

/* ---- JSON ---- */

/* Keep the value as JSON text of at most max_bytes. */
static void take_json_text(struct decoder *d, const struct field *f, const json_t *v,
                           int64_t max_bytes)
{
    struct buf b;

    buf_init(&b, &d->cx->arena, (size_t)max_bytes);
    json_write(&b, v);
    if (b.over)
        problem_count(d, f, "be at most", max_bytes, "byte");
    else
        rec_put_text(f, d->out, buf_view(&b));
}

/* False when the array has too many or too few items; the problem is recorded. */
static bool count_fits(struct decoder *d, const struct field *f, size_t n)
{
    if (f->max > 0 && n > (size_t)f->max)
        problem_count(d, f, "have at most", f->max, "item");
    else if (f->min > 0 && n < (size_t)f->min)
        problem_count(d, f, "have at least", f->min, "item");
    else
        return true;
    return false;
}

/* One object inside: judged by its own table with the whole path in front of its names. What is
 * kept is the text as sent. False when it has a problem. */
static bool is_sound(struct decoder *d, const struct field *f, json_t *v, struct str name)
{
    _Alignas(max_align_t) char scratch[REC_SIZE_MAX];
    BUG_IF(f->of->size > sizeof scratch);
    enum err_code e = rec_decode(d->cx, f->of, v, d->mode & ~(unsigned)REC_PATCH, name, scratch);
    if (e && !d->first)
        d->first = e;
    return !e;
}

static void take_rec(struct decoder *d, const struct field *f, json_t *v)
{
    if (is_sound(d, f, v, prefixed(d, str_of(f->name))))
        take_json_text(d, f, v, OBJECT_TEXT_MAX);
}

/* Stops when the arena is full: a small body can hold very many small objects. */
static void take_recs(struct decoder *d, const struct field *f, json_t *v)
{
    struct str name = prefixed(d, str_of(f->name));
    size_t n = json_array_size(v);
    bool are_sound = true;

    if (!count_fits(d, f, n))
        return;
    for (size_t i = 0; i < n; i++) {
        struct str item = str_printf(&d->cx->arena, STR_FMT "[%zu]", STR_ARG(name), i);
        are_sound &= is_sound(d, f, json_array_get(v, i), item);
        if (!ctx_ok(d->cx)) {
            d->first = d->first ? d->first : d->cx->err;
            return;
        }
    }
    if (are_sound)
        take_json_text(d, f, v, OBJECT_TEXT_MAX);
}

static void take_strings(struct decoder *d, const struct field *f, const json_t *v)
{
    size_t n = json_array_size(v);

    if (!count_fits(d, f, n))
        return;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_string(item)) {
            problem_type(d, f);
            return;
        }
        if (f->words &&
            !is_word(f, (struct str){ json_string_value(item), json_string_length(item) })) {
            problem_words(d, f, "must hold only");
            return;
        }
    }
    take_json_text(d, f, v, OBJECT_TEXT_MAX);
}

static void take_json(struct decoder *d, const struct field *f, json_t *v)
{
    json_type type = json_typeof(v);

    switch (f->type) {
    case F_STR:
    case F_UUID:
    case F_ENUM:
    case F_ENUMS:
    case F_TIME:
    case F_TIME_S:
        if (type != JSON_STRING)
            break;
        take_text(d, f, (struct str){ json_string_value(v), json_string_length(v) });
        return;
    case F_INT:
        if (type != JSON_INTEGER)
            break;
        take_int(d, f, json_integer_value(v));
        return;
    case F_BOOL:
        if (type != JSON_TRUE && type != JSON_FALSE)
            break;
        take_int(d, f, type == JSON_TRUE);
        return;
    case F_OBJECT:
        if (type != JSON_OBJECT)
            break;
        take_json_text(d, f, v, f->max > 0 ? f->max : OBJECT_TEXT_MAX);
        return;
    case F_STRS:
        if (type != JSON_ARRAY)
            break;
        take_strings(d, f, v);
        return;
    case F_REC:
        if (type != JSON_OBJECT)
            break;
        take_rec(d, f, v);
        return;
    case F_RECS:
        if (type != JSON_ARRAY)
            break;
        take_recs(d, f, v);
        return;
    case F_JSON: take_json_text(d, f, v, f->max > 0 ? f->max : OBJECT_TEXT_MAX); return;
    }
    problem_type(d, f);
}

static void take_null(struct decoder *d, const struct field *f)
{
    if ((d->mode & REC_PATCH) && !(f->flags & F_NULLABLE))
        problem(d, ERR_INVALID_FIELD, f, "cannot be null");
    else if (!(d->mode & REC_PATCH) && (f->flags & F_REQUIRED))
        problem(d, ERR_MISSING_FIELD, f, "is required");
    else
        ((struct rec_bits *)d->out)->nul |= UINT64_C(1) << (f->offset / 8);
}

static void decode_field(struct decoder *d, const struct field *f, json_t *v)
{
    if (f->flags & F_READ_ONLY) {
        if (v && (d->mode & REC_REFUSE_UNKNOWN))
            problem(d, ERR_INVALID_FIELD, f, "cannot be set");
    } else if (!v) {
        if ((f->flags & F_REQUIRED) && !(d->mode & REC_PATCH))
            problem(d, ERR_MISSING_FIELD, f, "is required");
    } else if (json_is_null(v)) {
        take_null(d, f);
    } else {
        take_json(d, f, v);
    }
}

static enum err_code not_an_object(struct decoder *d)
{
    size_t n = d->prefix.n;
    struct str name;

    if (n == 0)
        return fail(d->cx, BAD_REQUEST, "The body must be a JSON object");
    name = str_sub(d->prefix, 0, d->prefix.p[n - 1] == '.' ? n - 1 : n);
    record(d, ERR_INVALID_FIELD, name,
           str_printf(&d->cx->arena, STR_FMT " must be an object", STR_ARG(name)));
    return ERR_INVALID_FIELD;
}

enum err_code rec_decode(struct ctx *cx, const struct rec *r, json_t *obj, unsigned mode,
                         struct str prefix, void *out)
{
    struct decoder d = { .cx = cx, .r = r, .mode = mode, .prefix = prefix, .out = out };
    size_t n_known = 0;

    memset(out, 0, r->size);
    if (!json_is_object(obj))
        return not_an_object(&d);
    for (size_t i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        json_t *v = json_object_getn(obj, f->name, strlen(f->name));
        n_known += v != NULL;
        decode_field(&d, f, v);
    }
    if (!(mode & REC_REFUSE_UNKNOWN) || n_known == json_object_size(obj))
        return d.first;
    for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
        struct str name = { json_object_iter_key(it), json_object_iter_key_len(it) };
        if (!rec_find(r, name))
            problem_unknown(&d, name);
    }
    return d.first;
}

/* ---- query ---- */

static void decode_param(struct decoder *d, const struct field *f, struct str s)
{
    int64_t v;

    if (!str_is_utf8(s) || (s.n > 0 && memchr(s.p, 0, s.n))) {
        problem(d, ERR_INVALID_PARAMETER, f, "must be valid UTF-8 text");
    } else if (f->type == F_INT) {
        if (str_to_i64(s, &v))
            take_int(d, f, v);
        else
            problem_type(d, f);
    } else if (f->type == F_BOOL) {
        if (str_eq(s, STR("true")) || str_eq(s, STR("false")))
            take_int(d, f, s.p[0] == 't');
        else
            problem_type(d, f);
    } else {
        take_text(d, f, s);
    }
}

enum err_code rec_decode_query(struct ctx *cx, const struct rec *r, const struct rec_param *params,
                               size_t n, void *out)
{
    struct decoder d = { .cx = cx, .r = r, .is_query = true, .out = out };
    const struct rec_param *given[REC_FIELDS_MAX] = { NULL };
    bool is_repeated[REC_FIELDS_MAX] = { false };

    BUG_IF(r->n > REC_FIELDS_MAX);
    memset(out, 0, r->size);
    for (size_t i = 0; i < n; i++) {
        const struct field *f = rec_find(r, params[i].name);
        if (!f)
            continue;
        is_repeated[f - r->fields] = given[f - r->fields] != NULL;
        given[f - r->fields] = &params[i];
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        struct str none = STR(""); /* `?q` and `?q=` are the same empty text */
        if (is_repeated[i])
            problem(&d, ERR_INVALID_PARAMETER, f, "is given more than once");
        else if (given[i])
            decode_param(&d, f, given[i]->value.p ? given[i]->value : none);
        else if (f->flags & F_REQUIRED)
            problem(&d, ERR_INVALID_PARAMETER, f, "is required");
    }
    for (size_t i = 0; i < n; i++) {
        if (!rec_find(r, params[i].name))
            problem_unknown(&d, params[i].name);
    }
    return d.first;
}
