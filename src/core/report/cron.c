/* Cron expressions: see cron.h. The next run is found day by day; most days are ruled out by three
 * masks, so even a run in eight years costs some thousand steps. */
#include "cron.h"

#include <stdio.h>

struct slot {
    const char *name;
    int low, high;
    const char *words; /* three letters each, the first is `low` */
};
static const struct slot slots[] = {
    { "minute", 0, 59, NULL },
    { "hour", 0, 23, NULL },
    { "day of month", 1, 31, NULL },
    { "month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec" },
    { "day of week", 0, 7, "sunmontuewedthufrisat" },
};
#define SLOTS 5

struct reader {
    struct arena *a;
    int slot;
    struct str *why;
};

static bool wrong(const struct reader *r, struct str part, const char *what)
{
    *r->why = str_printf(r->a, "field %d (%s): \"" STR_FMT "\" %s", r->slot + 1,
                         slots[r->slot].name, STR_ARG(part), what);
    return false;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static int word_value(const struct slot *s, struct str text)
{
    if (text.n != 3 || !s->words)
        return -1;
    for (int i = 0; s->words[(ptrdiff_t)3 * i]; i++) {
        const char *w = s->words + (ptrdiff_t)3 * i;
        if (lower(text.p[0]) == w[0] && lower(text.p[1]) == w[1] && lower(text.p[2]) == w[2])
            return s->low + i;
    }
    return -1;
}

static bool is_number(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return text.n > 0 && text.n <= 4;
}

static bool read_value(const struct reader *r, struct str text, int *out)
{
    const struct slot *s = &slots[r->slot];
    int64_t v = word_value(s, text);
    if (v < 0 && !(is_number(text) && str_to_i64(text, &v)))
        return wrong(r, text, "is not a value, a range, a step or a name");
    if (v < s->low || v > s->high) {
        char what[64];
        snprintf(what, sizeof what, "is not between %d and %d", s->low, s->high);
        return wrong(r, text, what);
    }
    *out = (int)v;
    return true;
}

/* One part of a list: *, a, a-b, each with /step. */
static bool read_part(const struct reader *r, struct str part, uint64_t *mask)
{
    const struct slot *s = &slots[r->slot];
    struct str step_text = part, to;
    struct str range = str_cut(&step_text, '/');
    int from = s->low, until = s->high, step = 1;
    int64_t given;
    if (step_text.p) {
        if (!is_number(step_text) || !str_to_i64(step_text, &given) || given < 1 || given > 59)
            return wrong(r, part, "has a step that is not between 1 and 59");
        step = (int)given;
    }
    if (!str_eq(range, STR("*"))) {
        to = range;
        struct str first = str_cut(&to, '-');
        if (!read_value(r, first, &from) || (to.p && !read_value(r, to, &until)))
            return false;
        if (!to.p && !step_text.p)
            until = from;
        if (from > until)
            return wrong(r, part, "is a range that ends before it begins");
    } else if (s->high == 7) {
        until = 6; /* every day once */
    }
    for (int v = from; v <= until; v += step)
        *mask |= UINT64_C(1) << v;
    return true;
}

static bool read_field(const struct reader *r, struct str text, uint64_t *mask)
{
    struct str rest = text;
    *mask = 0;
    do {
        struct str part = str_cut(&rest, ',');
        if (!part.n)
            return wrong(r, text, "has an empty part");
        if (!read_part(r, part, mask))
            return false;
    } while (rest.p);
    return true;
}

/* The next run of text that is not white space; n = 0 at the end. */
static struct str next_field(struct str *rest)
{
    size_t n = 0;
    *rest = str_trim(*rest);
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    struct str field = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return field;
}

static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((text.p[i] < ' ' && text.p[i] != '\t') || text.p[i] > '~')
            return false;
    return text.n <= CRON_TEXT_MAX;
}

bool cron_parse(struct arena *a, struct str text, struct cron *out, struct str *why)
{
    struct reader r = { .a = a, .why = why };
    struct str fields[SLOTS], rest = text;
    uint64_t mask[SLOTS];
    if (!is_plain(text)) {
        *why = str_printf(a, "must be at most %d plain characters", CRON_TEXT_MAX);
        return false;
    }
    int n = 0;
    for (struct str one = next_field(&rest); one.n; one = next_field(&rest)) {
        if (n < SLOTS)
            fields[n] = one;
        n++;
    }
    if (n != SLOTS) {
        *why = str_printf(a, "has %d fields, not 5: minute, hour, day of month, month, day of week",
                          n);
        return false;
    }
    for (r.slot = 0; r.slot < SLOTS; r.slot++)
        if (!read_field(&r, fields[r.slot], &mask[r.slot]))
            return false;
    *out = (struct cron){ .minutes = mask[0],
                          .hours = (uint32_t)mask[1],
                          .days = (uint32_t)mask[2],
                          .months = (uint32_t)mask[3],
                          .weekdays = (uint32_t)((mask[4] | mask[4] >> 7) & 0x7F),
                          .by_either_day = fields[2].p[0] != '*' && fields[4].p[0] != '*' };
    return true;
}

/* ---- the next run ---- */

static bool has(uint64_t mask, int n)
{
    return mask >> n & 1;
}

static bool day_of_month_matches(const struct cron *c, const struct zone_time *t)
{
    int length = month_length(t->year, t->month);
    if (has(c->days, t->day))
        return true;
    return c->is_clamped && t->day == length && (uint64_t)c->days >> (length + 1);
}

static bool day_matches(const struct cron *c, const struct zone_time *t)
{
    bool by_month = day_of_month_matches(c, t), by_week = has(c->weekdays, t->weekday);
    return has(c->months, t->month) &&
           (c->by_either_day ? by_month || by_week : by_month && by_week);
}

/* The first run of the day after the instant, 0 = none. Earlier wall times of the day on which the
 * instant is have passed, whatever the clock did. */
static int64_t run_of_day(const struct cron *c, struct zone *z, struct zone_time t, int from_hour,
                          int64_t after_ms)
{
    t.second = 0;
    for (t.hour = from_hour; t.hour < 24; t.hour++) {
        if (!has(c->hours, t.hour))
            continue;
        for (t.minute = 0; t.minute < 60; t.minute++) {
            if (!has(c->minutes, t.minute))
                continue;
            int64_t at = zone_at(z, &t);
            if (at > after_ms)
                return at;
        }
    }
    return 0;
}

int64_t cron_next(const struct cron *c, struct zone *z, int64_t after_ms)
{
    struct zone_time t = zone_split(z, after_ms);
    int from_hour = t.hour, last = t.year + CRON_YEARS;
    for (; t.year <= last; date_add(&t, 1), from_hour = 0) {
        int64_t at = day_matches(c, &t) ? run_of_day(c, z, t, from_hour, after_ms) : 0;
        if (at)
            return at;
    }
    return 0;
}

int cron_gap_minutes(const struct cron *c)
{
    int first = -1, last = -1, least = 60;
    uint32_t after = (c->hours << 1 | c->hours >> 23) & 0xFFFFFF; /* hours behind one that runs */
    for (int m = 0; m < 60; m++) {
        if (!(c->minutes >> m & 1))
            continue;
        if (last >= 0 && m - last < least)
            least = m - last;
        first = first < 0 ? m : first;
        last = m;
    }
    if ((c->hours & after) && 60 - last + first < least)
        least = 60 - last + first;
    return least;
}
