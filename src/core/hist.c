/* Histograms of durations: which bucket, where it ends, percentiles. See hist.h. */
#include "hist.h"

#define FIRST_US 16
#define ROOT_2_FIRST 1518500249 /* 16 * sqrt(2) * 2^26 */

int64_t hist_bound(int i)
{
    return i % 2 ? (INT64_C(1) * ROOT_2_FIRST << (i / 2)) >> 26 : (int64_t)FIRST_US << (i / 2);
}

int hist_bucket(int64_t us)
{
    int i;

    if (us <= FIRST_US)
        return 0;
    i = 2 * (63 - __builtin_clzll((unsigned long long)(us - 1) / FIRST_US)) + 1;
    if (i < HIST_BUCKETS && us > hist_bound(i))
        i++;
    return i < HIST_BUCKETS ? i : HIST_BUCKETS - 1;
}

int64_t hist_percentile(const int64_t b[HIST_BUCKETS], int permille)
{
    int64_t total = 0, rank, from;

    for (int i = 0; i < HIST_BUCKETS; i++)
        total += b[i];
    if (total == 0)
        return 0;
    /* total * permille / 1000, rounded up, without overflow */
    rank = total / 1000 * permille + (total % 1000 * permille + 999) / 1000;
    if (rank < 1)
        rank = 1;
    for (int i = 0; i < HIST_BUCKETS; i++) {
        if (rank <= b[i]) {
            from = i ? hist_bound(i - 1) : 0;
            return from + (int64_t)((double)(hist_bound(i) - from) * (double)rank / (double)b[i]);
        }
        rank -= b[i];
    }
    return hist_bound(HIST_BUCKETS - 1);
}
