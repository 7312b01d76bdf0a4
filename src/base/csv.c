/* CSV into a spool: see csv.h. Nothing is kept between calls but the spool itself. */
#include "csv.h"

#include <string.h>

#include "arena.h"
#include "clock.h"

#define NUMBER_MAX 32

/* OWASP's list of what begins a formula in some spreadsheet. */
static bool is_formula(struct str t)
{
    return t.n && memchr("=+-@\t\r", t.p[0], 6);
}

static bool must_quote(struct str t)
{
    for (size_t i = 0; i < t.n; i++)
        if (memchr(",\"\r\n", t.p[i], 4))
            return true;
    return t.n && (t.p[0] == ' ' || t.p[t.n - 1] == ' ');
}

static void put_doubled(struct spool *s, struct str t)
{
    size_t from = 0;
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] != '"')
            continue;
        spool_add(s, t.p + from, i + 1 - from);
        from = i; /* the mark goes out again with what follows */
    }
    spool_add(s, t.p + from, t.n - from);
}

void csv_text(struct spool *s, struct str text)
{
    if (!text.n)
        return;
    bool is_quoted = must_quote(text);
    if (is_quoted)
        spool_add(s, "\"", 1);
    if (is_formula(text))
        spool_add(s, "'", 1);
    put_doubled(s, text);
    if (is_quoted)
        spool_add(s, "\"", 1);
}

void csv_int(struct spool *s, int64_t v)
{
    char text[NUMBER_MAX];
    size_t at = sizeof text;
    uint64_t n = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    if (v < 0)
        text[--at] = '-';
    spool_add(s, text + at, sizeof text - at);
}

void csv_time(struct spool *s, int64_t ms)
{
    struct arena a;
    struct buf b;
    arena_init(&a, 4096);
    buf_init(&b, &a, NUMBER_MAX);
    time_print_ms(&b, ms);
    spool_str(s, buf_view(&b));
    arena_done(&a);
}

void csv_sep(struct spool *s)
{
    spool_add(s, ",", 1);
}

bool csv_end(struct spool *s)
{
    return spool_add(s, "\r\n", 2);
}

bool csv_head(struct spool *s, const struct rec *r)
{
    bool is_first = true;
    for (size_t i = 0; i < r->n; i++) {
        if (r->fields[i].flags & F_SECRET)
            continue;
        if (!is_first)
            csv_sep(s);
        csv_text(s, str_of(r->fields[i].name));
        is_first = false;
    }
    return csv_end(s);
}

static void put_cell(struct spool *s, const struct field *f, const void *obj)
{
    const char *at = (const char *)obj + f->offset;
    if (!rec_bit(&((const struct rec_bits *)obj)->has, f->offset))
        return;
    if (!field_is_int(f)) {
        csv_text(s, *(const struct str *)(const void *)at);
        return;
    }
    int64_t v = *(const int64_t *)(const void *)at;
    if (f->type == F_BOOL)
        csv_text(s, v ? STR("true") : STR("false"));
    else if (f->type == F_TIME || f->type == F_TIME_S)
        csv_time(s, v);
    else
        csv_int(s, v);
}

bool csv_row(struct spool *s, const struct rec *r, const void *obj)
{
    bool is_first = true;
    for (size_t i = 0; i < r->n; i++) {
        if (r->fields[i].flags & F_SECRET)
            continue;
        if (!is_first)
            csv_sep(s);
        put_cell(s, &r->fields[i], obj);
        is_first = false;
    }
    return csv_end(s);
}
