/* Strict JSON: jansson parses, this file guards it and prints.
 *
 * Reading: jansson recurses once per level and allows 2048 of them, so a scan that only skips
 * strings counts the brackets first and refuses hostile depth without recursion. jansson's own
 * error text is kept where it says something useful; the frequent mistakes get a sentence of ours.
 * Values are reference counted by jansson and released when the arena of the ctx ends.
 *
 * Writing: one walk over the value. Text goes out in clean runs (eight bytes are judged at a time);
 * only ", \ and control characters are escaped. Numbers do not depend on the locale.
 *
 * No state; any thread. Leaves out: comments, NaN, pretty printing. */
#include "json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SHOWN_MAX 60    /* bytes of a duplicate key in the error sentence */
#define WRITE_DEPTH_MAX 256 /* deeper values cannot come from json_read: a cycle made by a bug */
#define TEXT_MAX ((size_t)64 << 20)

struct place { /* counted from 1, columns in code points */
    size_t line;
    size_t column;
};

static struct place place_of(struct str text, size_t offset)
{
    struct place at = { 1, 1 };

    for (size_t i = 0; i < offset && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\n') {
            at.line++;
            at.column = 1;
        } else if ((c & 0xC0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

/* Offset of the bracket that opens level JSON_DEPTH_MAX + 1, or text.n when there is none. Up to
 * the first syntax error the scan sees the same strings as the parser, and the parser stops
 * there. */
static size_t find_too_deep(struct str text)
{
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return i;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return text.n;
}

/* The raw key whose closing quote is the byte before `end`. */
static struct str key_before(struct str text, size_t end)
{
    size_t from;

    if (end < 2 || end > text.n || text.p[end - 1] != '"')
        return STR_NONE;
    for (from = end - 1; from > 0; from--) {
        size_t slashes = 0;
        if (text.p[from - 1] != '"')
            continue;
        while (slashes + 1 < from && text.p[from - 2 - slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            break;
    }
    size_t n = end - 1 - from;
    if (n > KEY_SHOWN_MAX) {
        for (n = KEY_SHOWN_MAX; n > 0 && ((unsigned char)text.p[from + n] & 0xC0) == 0x80;)
            n--;
    }
    return str_sub(text, from, n);
}

static struct str read_reason(struct ctx *cx, struct str text, const json_error_t *je)
{
    switch (json_error_code(je)) {
    case json_error_duplicate_key: {
        struct str key = key_before(text, je->position < 0 ? 0 : (size_t)je->position);
        return str_printf(&cx->arena, "the key \"" STR_FMT "\" is given twice", STR_ARG(key));
    }
    case json_error_invalid_utf8: return STR("the text is not valid UTF-8");
    case json_error_null_character:
    case json_error_null_byte_in_key: return STR("the character \\u0000 is not allowed");
    case json_error_numeric_overflow:
        return STR("the number is too large (integers have 64 bits, others are double precision)");
    case json_error_end_of_input_expected: return STR("there is text after the end of the value");
    case json_error_premature_end_of_input: return STR("the text ends too early");
    default: break;
    }
    if (strstr(je->text, "invalid Unicode"))
        return STR("a \\u escape is half of a surrogate pair");
    if (strstr(je->text, "'[' or '{' expected"))
        return STR("an object or an array is expected");
    text = str_of(je->text);
    if (!str_is_utf8(text)) /* jansson quotes a bad escape byte by byte */
        text.n = (size_t)(strstr(je->text, " near ") ? strstr(je->text, " near ") - je->text : 0);
    return str_dup(&cx->arena, text);
}

static void read_failed(struct ctx *cx, struct str text, const json_error_t *je)
{
    size_t offset = je->position > 0 ? (size_t)je->position : 0;
    struct str reason = read_reason(cx, text, je);
    struct place at = place_of(text, offset > 0 ? offset - 1 : 0);

    fail(cx, INVALID_JSON, "Not valid JSON at line %zu, column %zu: " STR_FMT, at.line, at.column,
         STR_ARG(reason));
}

static void value_release(void *value)
{
    json_decref(value);
}

json_t *json_read(struct ctx *cx, struct str text)
{
    json_error_t je;
    size_t deep;
    json_t *v;

    if (str_trim(text).n == 0) {
        fail(cx, INVALID_JSON, "Not valid JSON: the text is empty");
        return NULL;
    }
    if (text.n > TEXT_MAX) { /* jansson counts positions in int */
        fail(cx, INVALID_JSON, "Not valid JSON: the text is too long");
        return NULL;
    }
    deep = find_too_deep(text);
    if (deep < text.n) {
        struct place at = place_of(text, deep);
        fail(cx, INVALID_JSON, "Not valid JSON at line %zu, column %zu: more than %d levels deep",
             at.line, at.column, JSON_DEPTH_MAX);
        return NULL;
    }
    v = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &je);
    if (!v) {
        read_failed(cx, text, &je);
        return NULL;
    }
    arena_defer(&cx->arena, value_release, v);
    return v;
}

#define ONES (UINT64_MAX / 255) /* 0x0101…01 */
#define HIGHS (ONES * 0x80)

/* Non-zero when one of the eight bytes is ", \, a control character or not ASCII. The borrow trick
 * can only err towards "look closer", never the other way. */
static uint64_t needs_look(uint64_t w)
{
    uint64_t quote = w ^ (ONES * '"');
    uint64_t slash = w ^ (ONES * '\\');

    return (w | (w - ONES * 0x20) | (quote - ONES) | (slash - ONES)) & HIGHS;
}

/* Length of the run from `i` that goes out as it is. */
static size_t clean_run(struct str s, size_t i, bool is_utf8)
{
    size_t from = i;

    while (i < s.n) {
        size_t end = s.n;
        uint64_t w;
        if (s.n - i >= sizeof w) {
            memcpy(&w, s.p + i, sizeof w);
            end = i + sizeof w;
            if (!needs_look(w)) {
                i = end;
                continue;
            }
        }
        for (; i < end; i++) {
            unsigned char c = (unsigned char)s.p[i];
            if (c < 0x20 || c == '"' || c == '\\' || (c >= 0x80 && !is_utf8))
                return i - from;
        }
    }
    return i - from;
}

/* Bytes of the UTF-8 sequence at the start of s, 0 when it is not one. */
static size_t utf8_sequence(struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

    return n <= s.n && str_is_utf8(str_sub(s, 0, n)) ? n : 0;
}

static void write_escaped(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char *const short_form[0x20] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t",
    };

    if (c == '"' || c == '\\') {
        buf_add(b, (char[2]){ '\\', (char)c }, 2);
    } else if (short_form[c]) {
        buf_add(b, short_form[c], 2);
    } else {
        buf_add(b, (char[6]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
    }
}

static void write_str_from(struct buf *b, struct str s, size_t i)
{
    bool is_utf8 = str_is_utf8(s);

    while (i < s.n) {
        size_t run = clean_run(s, i, is_utf8);
        buf_add(b, s.p + i, run);
        i += run;
        if (i == s.n)
            break;
        if ((unsigned char)s.p[i] < 0x80) {
            write_escaped(b, (unsigned char)s.p[i++]);
            continue;
        }
        size_t n = utf8_sequence(str_sub(s, i, s.n - i));
        buf_add(b, n ? s.p + i : "\xEF\xBF\xBD", n ? n : 3);
        i += n ? n : 1;
    }
}

void json_write_str(struct buf *b, struct str s)
{
    size_t run = clean_run(s, 0, false);
    char short_text[128]; /* one append instead of three: most values are short and clean */

    if (run == s.n && s.n <= sizeof short_text - 2) {
        short_text[0] = '"';
        if (s.n)
            memcpy(short_text + 1, s.p, s.n);
        short_text[s.n + 1] = '"';
        buf_add(b, short_text, s.n + 2);
        return;
    }
    buf_char(b, '"');
    if (run)
        buf_add(b, s.p, run);
    if (run < s.n)
        write_str_from(b, s, run);
    buf_char(b, '"');
}

void json_write_real(struct buf *b, double v)
{
    char raw[64];
    char out[64];
    size_t n = 0;
    bool is_real = false;

    if (!isfinite(v)) { /* JSON has no word for it */
        buf_lit(b, "null");
        return;
    }
    for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
        snprintf(raw, sizeof raw, "%.*g", digits, v);
        if (strtod(raw, NULL) == v)
            break;
    }
    for (const char *p = raw; *p; p++) {
        if ((*p >= '0' && *p <= '9') || *p == '-') {
            out[n++] = *p;
        } else if (*p == 'e') {
            out[n++] = 'e';
            is_real = true;
        } else if (*p != '+' && !is_real) { /* the locale's decimal point, maybe of several bytes */
            out[n++] = '.';
            is_real = true;
        }
    }
    buf_add(b, out, n);
    if (!is_real)
        buf_add(b, ".0", 2);
}

static void write_value(struct buf *b, const json_t *v, int depth);

static void write_object(struct buf *b, const json_t *v, int depth)
{
    json_t *o = (json_t *)v; /* jansson's iterator wants it mutable but does not write */
    bool is_first = true;

    buf_char(b, '{');
    for (void *it = json_object_iter(o); it && !b->over; it = json_object_iter_next(o, it)) {
        if (!is_first)
            buf_char(b, ',');
        is_first = false;
        json_write_str(b, (struct str){ json_object_iter_key(it), json_object_iter_key_len(it) });
        buf_char(b, ':');
        write_value(b, json_object_iter_value(it), depth + 1);
    }
    buf_char(b, '}');
}

static void write_value(struct buf *b, const json_t *v, int depth)
{
    BUG_IF(!v || depth > WRITE_DEPTH_MAX);
    switch (json_typeof(v)) {
    case JSON_OBJECT: write_object(b, v, depth); break;
    case JSON_ARRAY:
        buf_char(b, '[');
        for (size_t i = 0; i < json_array_size(v) && !b->over; i++) {
            if (i > 0)
                buf_char(b, ',');
            write_value(b, json_array_get(v, i), depth + 1);
        }
        buf_char(b, ']');
        break;
    case JSON_STRING:
        json_write_str(b, (struct str){ json_string_value(v), json_string_length(v) });
        break;
    case JSON_INTEGER: buf_i64(b, json_integer_value(v)); break;
    case JSON_REAL: json_write_real(b, json_real_value(v)); break;
    case JSON_TRUE: buf_add(b, "true", 4); break;
    case JSON_FALSE: buf_add(b, "false", 5); break;
    case JSON_NULL: buf_add(b, "null", 4); break;
    }
}

void json_write(struct buf *b, const json_t *v)
{
    write_value(b, v, 0);
}

struct str json_text(struct ctx *cx, const json_t *v)
{
    struct buf b;

    buf_init(&b, &cx->arena, TEXT_MAX);
    json_write(&b, v);
    return b.over ? STR_NONE : buf_view(&b);
}

void json_merge(json_t *target, json_t *patch)
{
    const char *name;
    json_t *value;

    json_object_foreach(patch, name, value) {
        json_t *old = json_object_get(target, name);

        if (json_is_null(value)) {
            json_object_del(target, name);
            continue;
        }
        if (!json_is_object(value)) {
            json_object_set(target, name, value);
            continue;
        }
        if (!json_is_object(old)) { /* merged into nothing, so that its own nulls vanish */
            old = json_object();
            json_object_set_new(target, name, old);
        }
        json_merge(old, value);
    }
}
