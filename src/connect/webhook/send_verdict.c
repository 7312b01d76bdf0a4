/* What follows from the end of an attempt: one table of classes, one schedule. Pure.
 *
 * The schedule is that of the Standard Webhooks specification: ten attempts over 75.6 hours. */
#include "send_inner.h"

#define SECOND_MS ((int64_t)1000)
#define MINUTE_MS (60 * SECOND_MS)
#define POSTPONED_MS (2 * SECOND_MS)

static const int64_t waits_ms[] = { 5 * SECOND_MS, 5 * MINUTE_MS, 30 * MINUTE_MS,
                                    2 * HOUR_MS,   5 * HOUR_MS,   10 * HOUR_MS,
                                    14 * HOUR_MS,  20 * HOUR_MS,  24 * HOUR_MS };
_Static_assert(sizeof waits_ms / sizeof *waits_ms == SEND_ATTEMPTS_MAX - 1,
               "a wait between each two attempts");

/* What the class of a call's end means here. A class that is no row is an attempt that failed. */
enum sense { ATTEMPT_FAILED, STATUS_SAYS, NOTHING_SENT };
static const enum sense senses[EGRESS_CLASSES] = {
    [EGRESS_OK] = STATUS_SAYS,
    [EGRESS_BUSY] = NOTHING_SENT,
    [EGRESS_RESTING] = NOTHING_SENT,
    [EGRESS_STOPPED] = NOTHING_SENT,
};

int64_t send_wait_ms(int64_t attempt)
{
    return attempt >= 1 && attempt < SEND_ATTEMPTS_MAX ? waits_ms[attempt - 1] : 0;
}

/* ± 20 % of ms. */
static int64_t jittered(int64_t ms, uint16_t dice)
{
    return ms + ms / 5 * (dice - 32768) / 32768;
}

static struct send_verdict failed(const struct send_end *end)
{
    int64_t wait_ms = send_wait_ms(end->attempt) * end->percent / 100;
    int64_t wish_ms = end->retry_after_ms < 2 * wait_ms ? end->retry_after_ms : 2 * wait_ms;
    int64_t at_ms = jittered(wait_ms, end->dice);
    if (end->attempt >= SEND_ATTEMPTS_MAX)
        return (struct send_verdict){ SEND_FAILED, 0 };
    return (struct send_verdict){ SEND_AGAIN, wish_ms > at_ms ? wish_ms : at_ms };
}

/* What stops here goes on elsewhere at once. The others come back spread over a fifth more, so that
 * they do not all find the host at the same moment. */
static struct send_verdict postponed(const struct send_end *end)
{
    int64_t ms = end->try_again_ms > POSTPONED_MS ? end->try_again_ms : POSTPONED_MS;
    if (end->class == EGRESS_STOPPED)
        return (struct send_verdict){ SEND_POSTPONED, 0 };
    if (end->age_ms > SEND_POSTPONED_MAX_MS)
        return (struct send_verdict){ SEND_EXPIRED, 0 };
    return (struct send_verdict){ SEND_POSTPONED, ms + ms / 5 * end->dice / 65536 };
}

struct send_verdict send_verdict(const struct send_end *end)
{
    enum sense sense = senses[end->class];
    if (sense == NOTHING_SENT)
        return postponed(end);
    if (sense == STATUS_SAYS && end->status / 100 == 2)
        return (struct send_verdict){ SEND_DELIVERED, 0 };
    if (sense == STATUS_SAYS && end->status == 410)
        return (struct send_verdict){ SEND_GONE, 0 };
    return failed(end); /* redirects included: they are never followed */
}
