/* What follows from an attempt: the schedule, its jitter, who is asked again, who is given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "connect/webhook/send_inner.h"

#define MIDDLE 32768 /* dice without jitter */

static struct send_end answered(int status, int64_t attempt)
{
    return (struct send_end){
        .class = EGRESS_OK, .status = status, .attempt = attempt, .dice = MIDDLE, .percent = 100
    };
}

static void check(struct send_end end, enum send_move move, int64_t wait_ms)
{
    struct send_verdict v = send_verdict(&end);
    assert_int_equal(v.move, move);
    assert_int_equal(v.wait_ms, wait_ms);
}

static void test_the_schedule_is_ten_attempts_over_75_6_hours(void **state)
{
    static const int64_t seconds[] = { 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400 };
    int64_t sum = 0;
    (void)state;
    for (int i = 0; i < 9; i++) {
        check(answered(500, i + 1), SEND_AGAIN, seconds[i] * 1000);
        sum += send_wait_ms(i + 1);
    }
    assert_int_equal(sum, 272105 * (int64_t)1000); /* 75.58 h */
    check(answered(500, 10), SEND_FAILED, 0);
    assert_int_equal(send_wait_ms(10), 0);
}

static void test_every_2xx_is_a_delivery_at_any_attempt(void **state)
{
    (void)state;
    for (int status = 200; status < 300; status++)
        check(answered(status, 1 + status % 10), SEND_DELIVERED, 0);
}

static void test_every_other_status_is_asked_again_but_410(void **state)
{
    (void)state;
    for (int status = 300; status < 600; status++)
        if (status != 410)
            check(answered(status, 1), SEND_AGAIN, 5000);
    check(answered(410, 1), SEND_GONE, 0);
    check(answered(410, 10), SEND_GONE, 0);
}

static void test_the_jitter_is_a_fifth_either_way(void **state)
{
    struct send_end end = answered(503, 2);
    (void)state;
    end.dice = 0;
    check(end, SEND_AGAIN, 240000);
    end.dice = 65535;
    struct send_verdict v = send_verdict(&end);
    assert_in_range(v.wait_ms, 359990, 360000);
}

static void test_retry_after_is_honoured_up_to_twice_the_wait(void **state)
{
    struct send_end end = answered(429, 2);
    (void)state;
    end.retry_after_ms = 400000;
    check(end, SEND_AGAIN, 400000);
    end.retry_after_ms = 3600000;
    check(end, SEND_AGAIN, 600000);
    end.retry_after_ms = 1000;
    check(end, SEND_AGAIN, 300000);
}

static void test_a_call_that_was_not_answered_is_a_failed_attempt(void **state)
{
    static const enum egress_class failures[] = { EGRESS_INVALID,  EGRESS_DENIED,   EGRESS_DNS,
                                                  EGRESS_CONNECT,  EGRESS_TLS,      EGRESS_TIMEOUT,
                                                  EGRESS_BROKEN,   EGRESS_REDIRECT, EGRESS_PROXY,
                                                  EGRESS_TOO_LARGE };
    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct send_end end = answered(200, 1); /* the status of a body that broke off */
        end.class = failures[i];
        check(end, SEND_AGAIN, 5000);
        end.attempt = 10;
        check(end, SEND_FAILED, 0);
    }
}

static void test_what_was_not_sent_is_no_attempt(void **state)
{
    struct send_end end = answered(0, 10);
    (void)state;
    end.class = EGRESS_STOPPED;
    check(end, SEND_POSTPONED, 0);
    end.age_ms = 30 * DAY_MS;
    check(end, SEND_POSTPONED, 0);
    end.class = EGRESS_BUSY;
    end.age_ms = 5 * DAY_MS;
    check(end, SEND_POSTPONED, 2200);
    end.class = EGRESS_RESTING;
    end.try_again_ms = 60000;
    end.dice = 0;
    check(end, SEND_POSTPONED, 60000);
    end.age_ms++;
    check(end, SEND_EXPIRED, 0);
}

static void test_tests_may_shorten_the_schedule(void **state)
{
    struct send_end end = answered(500, 2);
    (void)state;
    end.percent = 1;
    end.retry_after_ms = 600000;
    check(end, SEND_AGAIN, 6000);
    end.retry_after_ms = 0;
    check(end, SEND_AGAIN, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_schedule_is_ten_attempts_over_75_6_hours),
        cmocka_unit_test(test_every_2xx_is_a_delivery_at_any_attempt),
        cmocka_unit_test(test_every_other_status_is_asked_again_but_410),
        cmocka_unit_test(test_the_jitter_is_a_fifth_either_way),
        cmocka_unit_test(test_retry_after_is_honoured_up_to_twice_the_wait),
        cmocka_unit_test(test_a_call_that_was_not_answered_is_a_failed_attempt),
        cmocka_unit_test(test_what_was_not_sent_is_no_attempt),
        cmocka_unit_test(test_tests_may_shorten_the_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
