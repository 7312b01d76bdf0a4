/* Histograms of durations: 40 buckets, two per doubling, that can be added to one another.
 *
 * Bucket i holds what took up to 16 * 2^(i/2) µs (rounded down) and more than bucket i - 1 allows;
 * the last one also holds everything longer (about 12 s). Pure functions, any thread. */
#ifndef TESSERA_CORE_HIST_H
#define TESSERA_CORE_HIST_H

#include <stdint.h>

#define HIST_BUCKETS 40

int hist_bucket(int64_t us); /* negative durations count as 0 */
int64_t hist_bound(int i);   /* the longest duration of bucket i, 0 … HIST_BUCKETS - 1 */
/* The duration that `permille` of the counted ones do not exceed, linear inside its bucket; 0 when
 * nothing was counted. */
int64_t hist_percentile(const int64_t b[HIST_BUCKETS], int permille);

#endif
