/* The benchmark's histogram, against a sorted array of the same numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "histogram.h"

#define COUNT 20000
#define SEED  UINT64_C(20260101)

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void every_value_falls_into_a_bucket_that_ends_at_most_a_64th_above_it(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (int64_t away = -1; away <= 1; away++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)away;
            unsigned index = histogram_bucket(value);
            assert_true(index < HISTOGRAM_BUCKETS);
            assert_true(histogram_bucket_end(index) >= value);
            assert_true(histogram_bucket_end(index) - value <= value / HISTOGRAM_SPLIT);
            assert_true(index == 0 || histogram_bucket_end(index - 1) < value);
        }
}

static void quantiles_are_those_of_the_sorted_values_within_a_bucket(void **state)
{
    static histogram h, halves[2];
    static uint64_t values[COUNT];
    uint64_t random = SEED;
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        values[i] = random >> (20 + random % 41);
        histogram_add(&halves[i % 2], values[i]);
    }
    histogram_merge(&h, &halves[0]);
    histogram_merge(&h, &halves[1]);
    qsort(values, COUNT, sizeof *values, compare);
    assert_int_equal(h.count, COUNT);
    assert_int_equal(h.max, values[COUNT - 1]);
    for (size_t rank = 1; rank <= COUNT; rank += 7) {
        uint64_t exact = values[rank - 1];
        uint64_t told = histogram_quantile(&h, (double)rank / COUNT);
        if (told < exact || told - exact > exact / HISTOGRAM_SPLIT)
            fail_msg("rank %zu: %llu told, %llu exact (seed %llu)", rank, (unsigned long long)told,
                     (unsigned long long)exact, (unsigned long long)SEED);
    }
    assert_int_equal(histogram_quantile(&h, 1), values[COUNT - 1]);
}

static void an_empty_histogram_has_quantiles_of_zero(void **state)
{
    static histogram h;
    (void)state;
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_falls_into_a_bucket_that_ends_at_most_a_64th_above_it),
        cmocka_unit_test(quantiles_are_those_of_the_sorted_values_within_a_bucket),
        cmocka_unit_test(an_empty_histogram_has_quantiles_of_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
