/* Time, behind a seam: tests freeze or move the wall clock. Any thread. */
#ifndef TESSERA_BASE_CLOCK_H
#define TESSERA_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "str.h"

struct arena;
struct buf;

int64_t clock_ms(void);              /* wall clock, ms since 1970 UTC (plus the test offset) */
int64_t clock_mono_us(void);         /* monotonic, µs */
void clock_shift_ms(int64_t offset); /* tests only: added to clock_ms() */

#define HOUR_MS ((int64_t)3600 * 1000)
#define DAY_MS ((int64_t)24 * HOUR_MS)

/* The begin of the month (UTC) that the time is in, so many months later; plus >= 0. Years 0000–9999. */
int64_t time_month(int64_t ms, int plus);
/* RFC 3339 UTC: "2024-01-15T10:30:00.123Z" (ms) or "2024-01-15T10:30:00Z" (s). Years 0000–9999. */
void time_print_ms(struct buf *b, int64_t ms);
void time_print_s(struct buf *b, int64_t ms);
/* RFC 3339 date-time with any offset and 0–9 fraction digits, or a plain date (midnight UTC).
 * False when it is not one; leap second 60 is taken as 59. */
bool time_parse(struct str s, int64_t *out_ms);
/* HTTP-date (RFC 9110 §5.6.7, IMF-fixdate). */
void time_print_http(struct buf *b, int64_t ms);
/* "90d", "12h", "30m", "45s", "250ms", "2w", or plain seconds; > 0. False when it is not one. */
bool duration_parse(struct str s, int64_t *out_ms);

#endif
