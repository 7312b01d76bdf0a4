/* When something is due again: the five fields of a cron expression, and the plain daily, weekly and
 * monthly forms as the same masks.
 *
 *     minute hour day-of-month month day-of-week
 *     "30 7 1,15 * mon-fri"
 *
 * A field is *, a number, a name (jan … dec, sun … sat), a range a-b, each with /step, or a comma
 * list of these. Sunday is 0 or 7. As everywhere, when both day fields are restricted (do not begin
 * with *) a day matches by either. The clock is that of a time zone: a time that does not exist runs
 * at the next instant that does, one that occurs twice runs once, at the first. Pure functions. */
#ifndef TESSERA_CORE_REPORT_CRON_H
#define TESSERA_CORE_REPORT_CRON_H

#include "../../base/zone.h"

#define CRON_TEXT_MAX 200 /* bytes */
#define CRON_YEARS 9      /* how far ahead a run is looked for: from one February 29 to the next */

struct cron { /* bit n = the value n */
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* weekdays: bit 0 = Sunday */
    bool by_either_day;                     /* both day fields are restricted */
    bool is_clamped;                        /* a day of month that the month lacks is its last */
};

/* False with *why (in the arena) when the text is not one: it names the position of the field. */
bool cron_parse(struct arena *a, struct str text, struct cron *out, struct str *why);
/* The least number of minutes between two runs on the clock, at most 60. */
int cron_gap_minutes(const struct cron *c);
/* The first run after the instant; 0 when there is none in the next CRON_YEARS years. */
int64_t cron_next(const struct cron *c, struct zone *z, int64_t after_ms);

#endif
