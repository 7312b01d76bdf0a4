/* Facts about hist.c: where durations are counted and what percentiles they give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hist.h"

static void test_a_duration_lies_within_its_bucket(void **state)
{
    (void)state;
    for (int64_t us = 0; us < 20000000; us += 1 + us / 50) {
        int i = hist_bucket(us);

        assert_in_range(i, 0, HIST_BUCKETS - 1);
        if (i < HIST_BUCKETS - 1)
            assert_true(us <= hist_bound(i));
        if (i > 0)
            assert_true(us > hist_bound(i - 1));
    }
}

static void test_every_bound_is_the_last_of_its_bucket(void **state)
{
    (void)state;
    for (int i = 0; i < HIST_BUCKETS - 1; i++) {
        assert_int_equal(hist_bucket(hist_bound(i)), i);
        assert_int_equal(hist_bucket(hist_bound(i) + 1), i + 1);
    }
}

static void test_bounds_double_every_second_bucket(void **state)
{
    (void)state;
    assert_int_equal(hist_bound(0), 16);
    assert_int_equal(hist_bound(1), 22);
    assert_int_equal(hist_bound(2), 32);
    assert_int_equal(hist_bound(38), 16 << 19);
    assert_in_range(hist_bound(39), 11863282, 11863284);
}

static void test_odd_durations_have_a_place(void **state)
{
    (void)state;
    assert_int_equal(hist_bucket(-5), 0);
    assert_int_equal(hist_bucket(INT64_MIN), 0);
    assert_int_equal(hist_bucket(INT64_MAX), HIST_BUCKETS - 1);
}

static void test_percentile_of_nothing_is_zero(void **state)
{
    const int64_t b[HIST_BUCKETS] = { 0 };

    (void)state;
    assert_int_equal(hist_percentile(b, 500), 0);
}

static void test_percentiles_are_ordered_and_near_the_truth(void **state)
{
    int64_t b[HIST_BUCKETS] = { 0 };

    (void)state;
    for (int64_t us = 1; us <= 100000; us++)
        b[hist_bucket(us)]++;

    /* a bucket is 41 % wide; inside it an even spread is assumed, and here it is one */
    assert_in_range(hist_percentile(b, 500), 49000, 51000);
    assert_in_range(hist_percentile(b, 950), 90000, 110000);
    assert_true(hist_percentile(b, 500) < hist_percentile(b, 950));
    assert_true(hist_percentile(b, 950) < hist_percentile(b, 990));
    assert_true(hist_percentile(b, 990) <= hist_percentile(b, 1000));
}

static void test_one_request_is_every_percentile(void **state)
{
    int64_t b[HIST_BUCKETS] = { 0 };

    (void)state;
    b[hist_bucket(1000)] = 1;
    assert_int_equal(hist_percentile(b, 1), hist_percentile(b, 1000));
    assert_int_equal(hist_bucket(hist_percentile(b, 500)), hist_bucket(1000));
}

static void test_great_counts_do_not_overflow(void **state)
{
    int64_t b[HIST_BUCKETS] = { 0 };

    (void)state;
    b[10] = INT64_MAX / 2;
    b[20] = 1;
    assert_int_equal(hist_bucket(hist_percentile(b, 990)), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_duration_lies_within_its_bucket),
        cmocka_unit_test(test_every_bound_is_the_last_of_its_bucket),
        cmocka_unit_test(test_bounds_double_every_second_bucket),
        cmocka_unit_test(test_odd_durations_have_a_place),
        cmocka_unit_test(test_percentile_of_nothing_is_zero),
        cmocka_unit_test(test_percentiles_are_ordered_and_near_the_truth),
        cmocka_unit_test(test_one_request_is_every_percentile),
        cmocka_unit_test(test_great_counts_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
