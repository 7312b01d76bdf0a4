/* Views of text and growing text: plain loops over bytes, no locale, no NUL needed.
 *
 * A buf doubles its storage in its arena. It never grows past its own maximum nor past what the
 * arena may still give: both set `over` instead. A buf may also start on storage of the caller (p
 * and cap set by hand, cap == max): then it never touches an arena. */
#include "str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "err.h"

#define BUF_FIRST ((size_t)256)
#define PRINTF_TEXT 256          /* texts up to this are formatted once */
#define ARENA_SLACK ((size_t)64) /* left to the arena for rounding */

struct str str_of(const char *cstr)
{
    return cstr ? (struct str){ cstr, strlen(cstr) } : STR_NONE;
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

struct str str_sub(struct str s, size_t from, size_t len)
{
    if (!s.p)
        return STR_NONE;
    if (from > s.n)
        from = s.n;
    if (len > s.n - from)
        len = s.n - from;
    return (struct str){ s.p + from, len };
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.n && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str str_cut(struct str *rest, char sep)
{
    struct str s = *rest;
    const char *at = s.n ? memchr(s.p, sep, s.n) : NULL;

    if (!at) {
        *rest = STR_NONE;
        return s;
    }
    *rest = (struct str){ at + 1, s.n - (size_t)(at - s.p) - 1 };
    return (struct str){ s.p, (size_t)(at - s.p) };
}

char *str_cstr(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct str str_dup(struct arena *a, struct str s)
{
    if (!s.p)
        return STR_NONE;
    return (struct str){ str_cstr(a, s), s.n };
}

__attribute__((format(printf, 2, 0))) static struct str format(struct arena *a, const char *fmt,
                                                               va_list ap)
{
    char first[PRINTF_TEXT];
    va_list again;
    int n;
    char *p;

    va_copy(again, ap);
    n = vsnprintf(first, sizeof(first), fmt, ap);
    BUG_IF(n < 0);
    p = arena_alloc(a, (size_t)n + 1);
    if ((size_t)n < sizeof(first))
        memcpy(p, first, (size_t)n + 1);
    else
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){ p, (size_t)n };
}

struct str str_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    struct str s;

    va_start(ap, fmt);
    s = format(a, fmt, ap);
    va_end(ap);
    return s;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool minus = s.n && s.p[0] == '-';
    int64_t v = 0; /* built downwards: the negative side is one larger */
    size_t i = minus;

    if (i == s.n)
        return false;
    for (; i < s.n; i++) {
        int digit = s.p[i] - '0';

        if (digit < 0 || digit > 9)
            return false;
        if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_sub_overflow(v, (int64_t)digit, &v))
            return false;
    }
    if (!minus && v == INT64_MIN)
        return false;
    *out = minus ? v : -v;
    return true;
}

/* Length of the UTF-8 sequence at p (at most n bytes), 0 when it is not one. */
static size_t utf8_step(const unsigned char *p, size_t n)
{
    unsigned char lo = 0x80, hi = 0xBF; /* bounds of the second byte (RFC 3629 §4) */
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (p[0] == 0xE0)
        lo = 0xA0;
    if (p[0] == 0xED)
        hi = 0x9F;
    if (p[0] == 0xF0)
        lo = 0x90;
    if (p[0] == 0xF4)
        hi = 0x8F;
    if (n < len || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;

    while (i < s.n) {
        uint64_t eight;
        size_t step;

        if (s.n - i >= sizeof(eight)) {
            memcpy(&eight, p + i, sizeof(eight));
            if (!(eight & UINT64_C(0x8080808080808080))) {
                i += sizeof(eight);
                continue;
            }
        }
        step = utf8_step(p + i, s.n - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

bool str_is_single_line(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7F)
            return false;
        if (c == 0xC2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xA0) /* U+0080 to U+009F */
            return false;
    }
    return true;
}

size_t str_chars(struct str s)
{
    size_t chars = 0;

    for (size_t i = 0; i < s.n; i++)
        chars += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return chars;
}

void buf_init(struct buf *b, struct arena *a, size_t max)
{
    *b = (struct buf){ .arena = a, .max = max };
}

/* Room for n more bytes behind b->n; sets over when that cannot be. */
static bool grow(struct buf *b, size_t n)
{
    size_t need = b->n + n;
    size_t left, cap;
    char *p;

    if (n > b->max - b->n) {
        b->over = true;
        return false;
    }
    cap = b->cap ? b->cap : BUF_FIRST / 2;
    do
        cap *= 2;
    while (cap < need);
    if (cap > b->max)
        cap = b->max;
    /* A text that is let grow by input must not trip the arena's abort at 2 * cap. */
    left = 2 * b->arena->cap - b->arena->used;
    left = left > ARENA_SLACK ? left - ARENA_SLACK : 0;
    if (cap > left / 2)
        cap = need;
    if (cap > left / 2) {
        b->over = true;
        b->arena->over = true;
        return false;
    }
    p = arena_alloc(b->arena, cap);
    if (b->n)
        memcpy(p, b->p, b->n);
    b->p = p;
    b->cap = cap;
    return true;
}

static inline bool has_room(struct buf *b, size_t n)
{
    if (b->over)
        return false;
    return n <= b->cap - b->n || grow(b, n);
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0 || !has_room(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_lit(struct buf *b, const char *cstr)
{
    buf_add(b, cstr, strlen(cstr));
}

void buf_char(struct buf *b, char c)
{
    if (has_room(b, 1))
        b->p[b->n++] = c;
}

void buf_i64(struct buf *b, int64_t v)
{
    char text[20];
    size_t at = sizeof(text);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do {
        text[--at] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        text[--at] = '-';
    buf_add(b, text + at, sizeof(text) - at);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char first[PRINTF_TEXT];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(first, sizeof(first), fmt, ap);
    va_end(ap);
    BUG_IF(n < 0);
    if ((size_t)n < sizeof(first)) {
        buf_add(b, first, (size_t)n);
        return;
    }
    if (!has_room(b, (size_t)n + 1)) /* vsnprintf wants a place for its NUL */
        return;
    va_start(ap, fmt);
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->over = false;
}

struct str buf_view(const struct buf *b)
{
    return (struct str){ b->p ? b->p : "", b->n };
}
