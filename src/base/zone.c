/* Time zones: see zone.h. ICU keeps one calendar per object, which is why an object is not shared.
 *
 * Hours are found by arithmetic on the offset, so that the two hours of the same name when a clock
 * is put back stay two; longer units are found on the calendar, so that a day may have 23 or 25
 * hours. */
#include "zone.h"

#include <string.h>
#include <unicode/ucal.h>
#include <unicode/ustring.h>

#include "clock.h"

const char *const zone_unit_words[] = { "hour", "day", "week", "month", "quarter", "year", NULL };

struct zone {
    UCalendar *cal;
};

#define MS_MIN INT64_C(-62135596800000) /* 0001-01-01 */
#define MS_MAX INT64_C(253402214400000) /* 9999-12-31 */

static void zone_close(void *cal)
{
    ucal_close(cal);
}

/* ICU takes unknown names and offsets for zones of its own making; ours are those it lists. */
static bool is_known(struct str name, UChar wide[ZONE_NAME_MAX + 1])
{
    UErrorCode why = U_ZERO_ERROR;
    UChar canonical[ZONE_NAME_MAX + 1];
    UBool is_listed = 0;
    if (!name.n || name.n > ZONE_NAME_MAX || str_eq(name, STR("Etc/Unknown")))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] <= ' ' || name.p[i] > '~')
            return false;
        wide[i] = (UChar)name.p[i];
    }
    wide[name.n] = 0;
    ucal_getCanonicalTimeZoneID(wide, (int32_t)name.n, canonical, ZONE_NAME_MAX + 1, &is_listed,
                                &why);
    return U_SUCCESS(why) && is_listed;
}

struct zone *zone_open(struct ctx *cx, struct str name)
{
    UErrorCode why = U_ZERO_ERROR;
    UChar wide[ZONE_NAME_MAX + 1];
    if (!is_known(name, wide))
        return NULL;
    UCalendar *cal = ucal_open(wide, (int32_t)name.n, "en_US_POSIX", UCAL_GREGORIAN, &why);
    if (U_FAILURE(why))
        return NULL;
    arena_defer(&cx->arena, zone_close, cal);
    ucal_setAttribute(cal, UCAL_LENIENT, 1);
    ucal_setAttribute(cal, UCAL_FIRST_DAY_OF_WEEK, UCAL_MONDAY);
    ucal_setAttribute(cal, UCAL_REPEATED_WALL_TIME, UCAL_WALLTIME_FIRST);
    ucal_setAttribute(cal, UCAL_SKIPPED_WALL_TIME, UCAL_WALLTIME_NEXT_VALID);
    ucal_setGregorianChange(cal, (UDate)MS_MIN * 2, &why);
    struct zone *z = ARENA_NEW(&cx->arena, struct zone);
    z->cal = cal;
    return z;
}

static int64_t in_range(int64_t ms)
{
    return ms < MS_MIN ? MS_MIN : ms > MS_MAX ? MS_MAX : ms;
}

static int get(const struct zone *z, UCalendarDateFields field)
{
    UErrorCode why = U_ZERO_ERROR;
    int32_t v = ucal_get(z->cal, field, &why);
    BUG_IF(U_FAILURE(why)); /* the fields of an instant always exist */
    return v;
}

static int offset_ms(struct zone *z, int64_t ms)
{
    UErrorCode why = U_ZERO_ERROR;
    ucal_setMillis(z->cal, (UDate)in_range(ms), &why);
    return get(z, UCAL_ZONE_OFFSET) + get(z, UCAL_DST_OFFSET);
}

struct zone_time zone_split(struct zone *z, int64_t ms)
{
    int offset = offset_ms(z, ms);
    return (struct zone_time){ .year = get(z, UCAL_EXTENDED_YEAR),
                               .month = get(z, UCAL_MONTH) + 1,
                               .day = get(z, UCAL_DATE),
                               .hour = get(z, UCAL_HOUR_OF_DAY),
                               .minute = get(z, UCAL_MINUTE),
                               .second = get(z, UCAL_SECOND),
                               .weekday = get(z, UCAL_DAY_OF_WEEK) - UCAL_SUNDAY,
                               .offset_s = offset / 1000 };
}

int64_t zone_at(struct zone *z, const struct zone_time *t)
{
    UErrorCode why = U_ZERO_ERROR;
    ucal_clear(z->cal);
    ucal_setDateTime(z->cal, t->year, t->month - 1, t->day, t->hour, t->minute, t->second, &why);
    UDate at = ucal_getMillis(z->cal, &why);
    BUG_IF(U_FAILURE(why)); /* lenient: every number is some date */
    return in_range((int64_t)at);
}

/* Whole days before the date within the year's calendar, by stepping back over months. */
static void date_back(struct zone_time *t, int days)
{
    t->day -= days;
    while (t->day < 1) {
        t->month--;
        if (t->month < 1) {
            t->month = 12;
            t->year--;
        }
        t->day += month_length(t->year, t->month);
    }
}

/* When a clock moves by half an hour (Lord Howe) an hour begins anew at that moment. */
static int64_t hour_floor(struct zone *z, int64_t ms)
{
    UErrorCode why = U_ZERO_ERROR;
    UDate changed;
    int offset = offset_ms(z, ms);
    int64_t begin = ms - (((ms + offset) % HOUR_MS) + HOUR_MS) % HOUR_MS;
    if (begin < MS_MIN || offset_ms(z, begin) == offset)
        return begin;
    ucal_setMillis(z->cal, (UDate)ms, &why);
    bool is_found = ucal_getTimeZoneTransitionDate(z->cal, UCAL_TZ_TRANSITION_PREVIOUS_INCLUSIVE,
                                                   &changed, &why);
    return is_found && (int64_t)changed > begin ? (int64_t)changed : begin;
}

int64_t zone_floor(struct zone *z, int64_t ms, enum zone_unit unit)
{
    ms = in_range(ms);
    if (unit == ZONE_HOUR)
        return hour_floor(z, ms);
    struct zone_time t = zone_split(z, ms);
    t.hour = t.minute = t.second = 0;
    switch (unit) {
    case ZONE_HOUR:
    case ZONE_DAY: break;
    case ZONE_WEEK: date_back(&t, (t.weekday + 6) % 7); break;
    case ZONE_MONTH: t.day = 1; break;
    case ZONE_QUARTER:
        t.day = 1;
        t.month -= (t.month - 1) % 3;
        break;
    case ZONE_YEAR: t.day = t.month = 1; break;
    }
    return zone_at(z, &t);
}

void zone_print(struct buf *b, struct zone *z, int64_t ms)
{
    struct zone_time t = zone_split(z, ms);
    int minutes = t.offset_s / 60;
    char sign = minutes < 0 ? '-' : '+';
    if (minutes < 0)
        minutes = -minutes;
    buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", t.year, t.month, t.day, t.hour,
               t.minute, t.second, sign, minutes / 60, minutes % 60);
}

int month_length(int year, int month)
{
    static const char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && is_leap);
}

void date_add(struct zone_time *t, int days)
{
    t->day += days;
    t->weekday = (t->weekday + days) % 7;
    while (t->day > month_length(t->year, t->month)) {
        t->day -= month_length(t->year, t->month);
        t->month++;
        if (t->month > 12) {
            t->month = 1;
            t->year++;
        }
    }
}
