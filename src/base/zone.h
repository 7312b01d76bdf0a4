/* Time zones by their IANA names, from ICU's own data: calendar fields of an instant, the instant of
 * a wall time, beginnings of calendar units.
 *
 * A wall time that does not exist (a clock put forward) is the next instant that does; one that
 * occurs twice (a clock put back) is the first. Weeks begin on Monday. An object is used by one
 * thread at a time and released with the ctx that opened it. Good for the years 1 to 9999. */
#ifndef TESSERA_BASE_ZONE_H
#define TESSERA_BASE_ZONE_H

#include "ctx.h"

#define ZONE_NAME_MAX 64 /* bytes */

struct zone;

enum zone_unit { ZONE_HOUR, ZONE_DAY, ZONE_WEEK, ZONE_MONTH, ZONE_QUARTER, ZONE_YEAR };
extern const char *const zone_unit_words[]; /* by enum zone_unit, NULL-terminated */

struct zone_time {        /* a wall time */
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
    int weekday;  /* 0 = Sunday; not read by zone_at */
    int offset_s; /* east of UTC; not read by zone_at */
};

/* NULL when the name is not one of the time zone database ("Europe/Berlin", "UTC"); nothing is
 * recorded. */
struct zone *zone_open(struct ctx *cx, struct str name);
struct zone_time zone_split(struct zone *z, int64_t ms);
/* The fields must be those of a date and a time of day. */
int64_t zone_at(struct zone *z, const struct zone_time *t);
/* The begin of the hour, day, … that the instant is in. */
int64_t zone_floor(struct zone *z, int64_t ms, enum zone_unit unit);
/* RFC 3339 in whole seconds with the zone's offset: 2026-03-29T00:00:00+01:00. */
void zone_print(struct buf *b, struct zone *z, int64_t ms);

int month_length(int year, int month); /* days, Gregorian */
/* The day that many days later; days >= 0. */
void date_add(struct zone_time *t, int days);

#endif
