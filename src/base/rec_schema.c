/* Field tables, as JSON Schema (draft 2020-12) for OpenAPI 3.1.
 *
 * A reply lists what rec_encode writes and is closed; a body lists what rec_decode takes and is
 * closed when unknown fields are refused, and takes null for what may be left out. No state; any
 * thread; not on any hot path. Leaves out: rules a schema cannot say (bytes of an object). */
#include "rec.h"

#include "json.h"

/* JSON Schema words of a type; `format` may be NULL. */
static const struct {
    const char *type;
    const char *format;
} forms[] = {
    [F_STR] = { "string", NULL },           [F_UUID] = { "string", "uuid" },
    [F_ENUM] = { "string", NULL },          [F_INT] = { "integer", "int64" },
    [F_BOOL] = { "boolean", NULL },         [F_TIME] = { "string", "date-time" },
    [F_TIME_S] = { "string", "date-time" }, [F_OBJECT] = { "object", NULL },
    [F_STRS] = { "array", NULL },           [F_ENUMS] = { "array", NULL },
    [F_REC] = { "object", NULL },           [F_RECS] = { "array", NULL },
};

#define NOT_BLANK "[^ \\\\t-\\\\r]" /* what str_trim leaves something of; a pattern in JSON */

static void write_words(struct buf *b, const char *const *words, bool is_nullable)
{
    buf_lit(b, ",\"enum\":[");
    for (size_t i = 0; words[i]; i++) {
        if (i > 0)
            buf_char(b, ',');
        json_write_str(b, str_of(words[i]));
    }
    buf_lit(b, is_nullable ? ",null]" : "]");
}

static void write_number(struct buf *b, const char *name, int64_t v)
{
    buf_printf(b, ",\"%s\":", name);
    buf_i64(b, v);
}

static void write_items(struct buf *b, const struct field *f)
{
    buf_lit(b, ",\"items\":{\"type\":\"string\"");
    if (f->words)
        write_words(b, f->words, false);
    buf_char(b, '}');
    if (f->type == F_ENUMS)
        write_number(b, "minItems", 1);
    if (f->type == F_STRS && f->min > 0)
        write_number(b, "minItems", f->min);
    if (f->type == F_STRS && f->max > 0)
        write_number(b, "maxItems", f->max);
}

static void write_limits(struct buf *b, const struct field *f, bool is_reply, bool is_nullable)
{
    int64_t min = f->min;

    switch (f->type) {
    case F_STR:
        if (!is_reply && (f->flags & F_REQUIRED) && min < 1)
            min = 1;
        if (min > 0)
            write_number(b, "minLength", min);
        if (f->max > 0)
            write_number(b, "maxLength", f->max);
        if (!is_reply && (f->flags & F_REQUIRED))
            buf_lit(b, ",\"pattern\":\"" NOT_BLANK "\"");
        break;
    case F_ENUM:
        if (f->words)
            write_words(b, f->words, is_nullable);
        break;
    case F_INT:
        if (f->max != 0) {
            write_number(b, "minimum", f->min);
            write_number(b, "maximum", f->max);
        }
        break;
    case F_STRS:
    case F_ENUMS: write_items(b, f); break;
    case F_UUID:
    case F_BOOL:
    case F_TIME:
    case F_TIME_S:
    case F_OBJECT:
    case F_REC:
    case F_RECS:
    case F_JSON: break;
    }
}

static void write_doc(struct buf *b, const struct field *f, bool has_more)
{
    const char *sep = has_more ? "," : "";
    if (f->doc) {
        buf_printf(b, "%s\"description\":", sep);
        json_write_str(b, str_of(f->doc));
        sep = ",";
    }
    if (f->example)
        buf_printf(b, "%s\"examples\":[%s]", sep, f->example);
}

/* What is inside is written in place. Nullable ones are an anyOf, since null is no object. */
static void write_inner(struct buf *b, const struct field *f, bool is_reply, bool is_nullable)
{
    buf_lit(b, is_nullable ? "{\"anyOf\":[" : "{\"allOf\":[");
    if (f->type == F_RECS)
        buf_lit(b, "{\"type\":\"array\",\"items\":");
    if (is_reply)
        rec_schema_reply(b, f->of);
    else
        rec_schema_body(b, f->of, REC_REFUSE_UNKNOWN);
    if (f->type == F_RECS && f->min > 0)
        write_number(b, "minItems", f->min);
    if (f->type == F_RECS && f->max > 0)
        write_number(b, "maxItems", f->max);
    if (f->type == F_RECS)
        buf_char(b, '}');
    buf_lit(b, is_nullable ? ",{\"type\":\"null\"}]" : "]");
    write_doc(b, f, true);
    buf_char(b, '}');
}

/* Any value; null in a body means that the field is not given. */
static void write_any(struct buf *b, const struct field *f, bool is_nullable)
{
    buf_lit(b, is_nullable ? "{"
                           : "{\"type\":[\"object\",\"array\",\"string\",\"number\",\"boolean\"]");
    write_doc(b, f, !is_nullable);
    buf_char(b, '}');
}

static void write_field(struct buf *b, const struct field *f, bool is_reply, bool is_nullable)
{
    if (f->type == F_JSON) {
        write_any(b, f, is_reply || is_nullable);
        return;
    }
    if (f->of) {
        write_inner(b, f, is_reply, is_nullable);
        return;
    }
    buf_printf(b, is_nullable ? "{\"type\":[\"%s\",\"null\"]" : "{\"type\":\"%s\"",
               forms[f->type].type);
    if (forms[f->type].format)
        buf_printf(b, ",\"format\":\"%s\"", forms[f->type].format);
    write_limits(b, f, is_reply, is_nullable);
    write_doc(b, f, true);
    if (!is_reply && (f->flags & F_SECRET))
        buf_lit(b, ",\"writeOnly\":true");
    buf_char(b, '}');
}

void field_schema(struct buf *b, const struct field *f, bool is_reply)
{
    /* A reply leaves an F_OMIT_NULL field out instead of writing null. */
    write_field(b, f, is_reply, (f->flags & F_NULLABLE) && !(is_reply && (f->flags & F_OMIT_NULL)));
}

/* Which fields a schema lists, and which of them it requires. */
struct view {
    unsigned hidden;   /* fields with one of these flags are left out */
    unsigned optional; /* fields with one of these flags are not required */
    unsigned required; /* fields must have one of these flags to be required; 0 = any */
    bool is_reply;
    bool takes_null; /* for the fields that are not required */
    bool is_closed;
};

static void write_required(struct buf *b, const struct rec *r, const struct view *v)
{
    bool is_first = true;

    for (size_t i = 0; i < r->n; i++) {
        unsigned flags = r->fields[i].flags;
        if ((flags & (v->hidden | v->optional)) || (v->required && !(flags & v->required)))
            continue;
        buf_lit(b, is_first ? ",\"required\":[" : ",");
        is_first = false;
        json_write_str(b, str_of(r->fields[i].name));
    }
    if (!is_first)
        buf_char(b, ']');
}

static void write_schema(struct buf *b, const struct rec *r, const struct view *v)
{
    bool is_first = true;

    buf_lit(b, "{\"type\":\"object\"");
    if (r->doc) {
        buf_lit(b, ",\"description\":");
        json_write_str(b, str_of(r->doc));
    }
    buf_lit(b, ",\"properties\":{");
    for (size_t i = 0; i < r->n; i++) {
        if (r->fields[i].flags & v->hidden)
            continue;
        if (!is_first)
            buf_char(b, ',');
        is_first = false;
        json_write_str(b, str_of(r->fields[i].name));
        buf_char(b, ':');
        if (v->takes_null)
            write_field(b, &r->fields[i], false, !(r->fields[i].flags & F_REQUIRED));
        else
            field_schema(b, &r->fields[i], v->is_reply);
    }
    buf_char(b, '}');
    write_required(b, r, v);
    if (v->is_closed)
        buf_lit(b, ",\"additionalProperties\":false");
    buf_char(b, '}');
}

void rec_schema_reply(struct buf *b, const struct rec *r)
{
    write_schema(
        b, r,
        &(struct view){
            .hidden = F_SECRET, .optional = F_OMIT_NULL, .is_reply = true, .is_closed = true });
}

void rec_schema_body(struct buf *b, const struct rec *r, unsigned mode)
{
    write_schema(b, r,
                 &(struct view){ .hidden = F_READ_ONLY,
                                 .optional = mode & REC_PATCH ? F_REQUIRED : 0,
                                 .required = F_REQUIRED,
                                 .takes_null = !(mode & REC_PATCH),
                                 .is_closed = mode & REC_REFUSE_UNKNOWN });
}
