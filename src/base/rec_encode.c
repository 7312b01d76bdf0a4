/* Field tables, writing side: a struct becomes a JSON object, fields in table order.
 *
 * On the path of every reply, so a name with its comma, quotes and colon goes out in one append.
 * Text of F_OBJECT, F_STRS, F_REC, F_RECS and F_JSON members is JSON already and goes out as it is. No state; any
 * thread. */
#include "rec.h"

#include <string.h>

#include "clock.h"
#include "json.h"

#define NAME_MAX_BYTES 60 /* field names are ours: plain identifiers */

static struct str member_str(const struct field *f, const void *obj)
{
    struct str s;

    memcpy(&s, (const char *)obj + f->offset, sizeof s);
    return s;
}

static int64_t member_int(const struct field *f, const void *obj)
{
    int64_t v;

    memcpy(&v, (const char *)obj + f->offset, sizeof v);
    return v;
}

static void write_name(struct buf *b, const char *name, bool is_first)
{
    char text[NAME_MAX_BYTES + 4];
    size_t n = strlen(name);
    size_t at = 0;

    BUG_IF(n > NAME_MAX_BYTES);
    if (!is_first)
        text[at++] = ',';
    text[at++] = '"';
    memcpy(text + at, name, n);
    at += n;
    text[at++] = '"';
    text[at++] = ':';
    buf_add(b, text, at);
}

static void write_time(struct buf *b, int64_t ms, bool in_seconds)
{
    buf_char(b, '"');
    if (in_seconds)
        time_print_s(b, ms);
    else
        time_print_ms(b, ms);
    buf_char(b, '"');
}

static void write_member(struct buf *b, const struct field *f, const void *obj)
{
    switch (f->type) {
    case F_STR:
    case F_UUID:
    case F_ENUM:
    case F_ENUMS: json_write_str(b, member_str(f, obj)); break;
    case F_OBJECT:
    case F_STRS:
    case F_REC:
    case F_RECS:
    case F_JSON: buf_str(b, member_str(f, obj)); break;
    case F_INT: buf_i64(b, member_int(f, obj)); break;
    case F_BOOL: buf_lit(b, member_int(f, obj) ? "true" : "false"); break;
    case F_TIME: write_time(b, member_int(f, obj), false); break;
    case F_TIME_S: write_time(b, member_int(f, obj), true); break;
    }
}

static bool has_value(const struct field *f, const void *obj)
{
    const struct rec_bits *bits = obj;
    bool is_json_text = f->type == F_OBJECT || f->type == F_STRS || f->type == F_REC ||
                        f->type == F_RECS || f->type == F_JSON;

    if (!rec_bit(&bits->has, f->offset))
        return false;
    if (field_is_int(f))
        return true;
    /* An empty text is a value, but an empty JSON text would break the object. */
    return member_str(f, obj).p && !(is_json_text && member_str(f, obj).n == 0);
}

void rec_encode(struct buf *b, const struct rec *r, const void *obj)
{
    bool is_first = true;

    buf_char(b, '{');
    for (size_t i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        bool has = has_value(f, obj);
        if ((f->flags & F_SECRET) || (!has && (f->flags & F_OMIT_NULL)))
            continue;
        write_name(b, f->name, is_first);
        is_first = false;
        if (has)
            write_member(b, f, obj);
        else
            buf_add(b, "null", 4);
    }
    buf_char(b, '}');
}
