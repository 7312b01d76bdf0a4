/* The wall clock and its text forms, by arithmetic on the proleptic Gregorian calendar.
 *
 * Years are counted from March so that the leap day is the last day of a year; 400 years (one full
 * cycle) are added to keep all divisions positive. No libc time zone code is used. Any thread. */
#include "clock.h"

#include <stdatomic.h>
#include <time.h>

#define CYCLE_DAYS 146097               /* days of 400 years */
#define EPOCH_DAYS 719468               /* days from 0000-03-01 to 1970-01-01 */
#define MS_MIN INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define MS_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

struct civil {
    int year, month, day, hour, minute, second, ms, weekday; /* weekday 0 = Sunday */
};

static _Atomic int64_t shift_ms;

int64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 +
           atomic_load_explicit(&shift_ms, memory_order_relaxed);
}

int64_t clock_mono_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_shift_ms(int64_t offset)
{
    atomic_store_explicit(&shift_ms, offset, memory_order_relaxed);
}

static int64_t days_of(int year, int month, int day)
{
    int64_t y = (month > 2 ? year : year - 1) + 400;
    int m = (month + 9) % 12; /* March is 0 */

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - EPOCH_DAYS -
           CYCLE_DAYS;
}

static struct civil civil_of(int64_t ms)
{
    int64_t days, rest, cycle, year;
    struct civil c;
    int m;

    ms = ms < MS_MIN ? MS_MIN : ms > MS_MAX ? MS_MAX : ms;
    days = (ms - MS_MIN) / DAY_MS + MS_MIN / DAY_MS; /* MS_MIN is a midnight: rounds down */
    rest = ms - days * DAY_MS;
    c.ms = (int)(rest % 1000);
    c.second = (int)(rest / 1000 % 60);
    c.minute = (int)(rest / 60000 % 60);
    c.hour = (int)(rest / 3600000);
    days += EPOCH_DAYS + CYCLE_DAYS;
    c.weekday = (int)((days + 3) % 7); /* 0000-03-01 was a Wednesday and a cycle has whole weeks */
    cycle = days / CYCLE_DAYS;
    days %= CYCLE_DAYS;
    year = (days - days / 1460 + days / 36524 - days / 146096) / 365;
    days -= 365 * year + year / 4 - year / 100;
    m = (int)(5 * days + 2) / 153;
    c.day = (int)days - (153 * m + 2) / 5 + 1;
    c.month = m < 10 ? m + 3 : m - 9;
    c.year = (int)(year + cycle * 400 - 400) + (c.month <= 2);
    return c;
}

int64_t time_month(int64_t ms, int plus)
{
    struct civil c = civil_of(ms);
    int64_t months = (int64_t)c.year * 12 + c.month - 1 + plus;

    return days_of((int)(months / 12), (int)(months % 12) + 1, 1) * DAY_MS;
}

static char *put2(char *p, int v)
{
    p[0] = (char)('0' + v / 10);
    p[1] = (char)('0' + v % 10);
    return p + 2;
}

static char *put_date_time(char *p, const struct civil *c)
{
    p = put2(put2(p, c->year / 100), c->year % 100);
    *p++ = '-';
    p = put2(p, c->month);
    *p++ = '-';
    p = put2(p, c->day);
    *p++ = 'T';
    p = put2(p, c->hour);
    *p++ = ':';
    p = put2(p, c->minute);
    *p++ = ':';
    return put2(p, c->second);
}

void time_print_ms(struct buf *b, int64_t ms)
{
    struct civil c = civil_of(ms);
    char text[24];
    char *p = put_date_time(text, &c);

    *p++ = '.';
    *p++ = (char)('0' + c.ms / 100);
    p = put2(p, c.ms % 100);
    *p++ = 'Z';
    buf_add(b, text, (size_t)(p - text));
}

void time_print_s(struct buf *b, int64_t ms)
{
    struct civil c = civil_of(ms);
    char text[20];
    char *p = put_date_time(text, &c);

    *p++ = 'Z';
    buf_add(b, text, (size_t)(p - text));
}

void time_print_http(struct buf *b, int64_t ms)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct civil c = civil_of(ms);

    buf_printf(b, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + (ptrdiff_t)3 * c.weekday, c.day,
               months + (ptrdiff_t)3 * (c.month - 1), c.year, c.hour, c.minute, c.second);
}

/* Exactly n digits at the head of *s, moved past. */
static bool take_digits(struct str *s, size_t n, int *out)
{
    int v = 0;

    if (s->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        v = v * 10 + (s->p[i] - '0');
    }
    *s = str_sub(*s, n, s->n);
    *out = v;
    return true;
}

static bool take_char(struct str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_sub(*s, 1, s->n);
    return true;
}

static int month_days(int year, int month)
{
    static const char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && is_leap);
}

static bool take_date(struct str *s, int64_t *out_days)
{
    int year, month, day;

    if (!take_digits(s, 4, &year) || !take_char(s, '-') || !take_digits(s, 2, &month) ||
        !take_char(s, '-') || !take_digits(s, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > month_days(year, month))
        return false;
    *out_days = days_of(year, month, day);
    return true;
}

/* "." and 1–9 digits, or nothing; digits behind the third are dropped. */
static bool take_fraction(struct str *s, int *out_ms)
{
    int digit, n = 0, ms = 0;

    if (take_char(s, '.')) {
        while (take_digits(s, 1, &digit)) {
            if (++n <= 3)
                ms = ms * 10 + digit;
        }
        if (n < 1 || n > 9)
            return false;
    }
    for (; n < 3; n++)
        ms *= 10;
    *out_ms = ms;
    return true;
}

/* "Z" or "+hh:mm" at the end of the text. */
static bool take_offset(struct str *s, int *out_minutes)
{
    int hour, minute, sign = 1;

    *out_minutes = 0;
    if (take_char(s, 'Z') || take_char(s, 'z'))
        return s->n == 0;
    if (take_char(s, '-'))
        sign = -1;
    else if (!take_char(s, '+'))
        return false;
    if (!take_digits(s, 2, &hour) || !take_char(s, ':') || !take_digits(s, 2, &minute))
        return false;
    if (hour > 23 || minute > 59)
        return false;
    *out_minutes = sign * (hour * 60 + minute);
    return s->n == 0;
}

bool time_parse(struct str s, int64_t *out_ms)
{
    int hour, minute, second, ms, offset;
    int64_t days, t;

    if (!take_date(&s, &days))
        return false;
    if (s.n == 0) {
        *out_ms = days * DAY_MS;
        return true;
    }
    if (!take_char(&s, 'T') && !take_char(&s, 't'))
        return false;
    if (!take_digits(&s, 2, &hour) || !take_char(&s, ':') || !take_digits(&s, 2, &minute) ||
        !take_char(&s, ':') || !take_digits(&s, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if (!take_fraction(&s, &ms) || !take_offset(&s, &offset))
        return false;
    if (second == 60) /* POSIX time has no leap seconds */
        second = 59;
    t = days * DAY_MS + hour * HOUR_MS + (minute - offset) * INT64_C(60000) + second * 1000 + ms;
    if (t < MS_MIN || t > MS_MAX) /* an offset carried it out of the years that can be printed */
        return false;
    *out_ms = t;
    return true;
}

bool duration_parse(struct str s, int64_t *out_ms)
{
    static const struct {
        struct str suffix;
        int64_t ms;
    } units[] = {
        { STR("ms"), 1 },     { STR("s"), 1000 },       { STR("m"), 60000 }, { STR("h"), HOUR_MS },
        { STR("d"), DAY_MS }, { STR("w"), 7 * DAY_MS }, { STR(""), 1000 },
    };
    size_t digits = 0;
    struct str unit;
    int64_t n;

    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (!str_to_i64(str_sub(s, 0, digits), &n) || n == 0)
        return false;
    unit = str_sub(s, digits, s.n);
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (str_eq(unit, units[i].suffix)) {
            if (__builtin_mul_overflow(n, units[i].ms, &n))
                return false;
            *out_ms = n;
            return true;
        }
    }
    return false;
}
