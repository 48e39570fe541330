/* The growable buffer. */
#include "check.h"

#include <base/alloc.h>
#include <base/buf.h>
#include <support/rng.h>

#include <string.h>

#define SEED 20240106

static void AllZeroIsTheEmptyBuffer(void **state)
{
    (void)state;
    buf b = {0};
    assert_int_equal(buf_append(&b, NULL, 0), FIRN_OK);
    assert_int_equal(buf_slice(&b).size, 0);
    buf_release(&b);
    assert_int_equal(buf_append(&b, "x", 1), FIRN_OK);
    buf_release(&b);
    assert_null(b.data);
    assert_int_equal(b.size, 0);
    assert_int_equal(b.capacity, 0);
}

static void WhatIsAppendedStaysInOrderWhileTheBufferGrows(void **state)
{
    (void)state;
    static uint8_t expected[200000];
    rng r = rng_init(SEED);
    rng_fill(&r, expected, sizeof expected);
    buf b = {0};
    while (b.size < sizeof expected) {
        size_t piece = rng_below(&r, 500);
        if (piece > sizeof expected - b.size)
            piece = sizeof expected - b.size;
        assert_int_equal(buf_append(&b, expected + b.size, piece), FIRN_OK);
        assert_true(b.size <= b.capacity);
    }
    assert_memory_equal(b.data, expected, sizeof expected);
    buf_release(&b);
}

static void GrowingByBytesAllocatesRarely(void **state)
{
    (void)state;
    buf b = {0};
    alloc_fail_at(UINT64_MAX);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf_append(&b, "x", 1), FIRN_OK);
    uint64_t count = alloc_count();
    alloc_fail_at(0);
    assert_true(count > 0 && count <= 17);
    buf_release(&b);
}

static void ReservedRoomIsThereWithoutAllocating(void **state)
{
    (void)state;
    buf b = {0};
    assert_int_equal(buf_append(&b, "abc", 3), FIRN_OK);
    assert_int_equal(buf_reserve(&b, 1000), FIRN_OK);
    assert_true(b.capacity - b.size >= 1000);
    assert_memory_equal(b.data, "abc", 3);
    uint8_t bytes[1000] = {1};
    alloc_fail_at(1);
    int rc = buf_append(&b, bytes, sizeof bytes);
    alloc_fail_at(0);
    assert_int_equal(rc, FIRN_OK);
    buf_release(&b);
}

static void AssigningReplacesShorterAndLongerContents(void **state)
{
    (void)state;
    buf b = {0};
    assert_int_equal(buf_assign(&b, "first", 5), FIRN_OK);
    assert_int_equal(buf_assign(&b, "2", 1), FIRN_OK);
    assert_int_equal(b.size, 1);
    assert_memory_equal(b.data, "2", 1);
    uint8_t big[1000];
    memset(big, 7, sizeof big);
    assert_int_equal(buf_assign(&b, big, sizeof big), FIRN_OK);
    assert_int_equal(b.size, sizeof big);
    assert_memory_equal(b.data, big, sizeof big);
    assert_int_equal(buf_assign(&b, NULL, 0), FIRN_OK);
    assert_int_equal(b.size, 0);
    buf_clear(&b);
    buf_release(&b);
}

static void GrowthThatFailsLeavesTheBufferAsItWas(void **state)
{
    (void)state;
    buf b = {0};
    assert_int_equal(buf_append(&b, "abc", 3), FIRN_OK);
    buf before = b;
    uint8_t big[1000] = {0};
    alloc_fail_at(1);
    assert_int_equal(buf_append(&b, big, sizeof big), FIRN_NO_MEMORY);
    alloc_fail_at(1);
    assert_int_equal(buf_assign(&b, big, sizeof big), FIRN_NO_MEMORY);
    alloc_fail_at(1);
    assert_int_equal(buf_reserve(&b, sizeof big), FIRN_NO_MEMORY);
    alloc_fail_at(0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), FIRN_NO_MEMORY);
    assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), FIRN_NO_MEMORY);
    assert_memory_equal(&b, &before, sizeof b);
    assert_memory_equal(b.data, "abc", 3);
    buf_release(&b);
}

static void FittingGivesBackWhatWasGrown(void **state)
{
    (void)state;
    buf b = {0};
    buf_fit(&b);
    assert_null(b.data);
    uint8_t bytes[100];
    memset(bytes, 3, sizeof bytes);
    assert_int_equal(buf_append(&b, bytes, sizeof bytes), FIRN_OK);
    assert_true(b.capacity > sizeof bytes);
    buf_fit(&b);
    assert_int_equal(b.capacity, sizeof bytes);
    assert_memory_equal(b.data, bytes, sizeof bytes);
    assert_int_equal(buf_append(&b, bytes, sizeof bytes), FIRN_OK);
    size_t grown = b.capacity;
    alloc_fail_at(1);
    buf_fit(&b);
    alloc_fail_at(0);
    assert_int_equal(b.capacity, grown);
    assert_int_equal(b.size, 2 * sizeof bytes);
    buf_clear(&b);
    buf_fit(&b);
    assert_null(b.data);
    assert_int_equal(b.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AllZeroIsTheEmptyBuffer),
        cmocka_unit_test(WhatIsAppendedStaysInOrderWhileTheBufferGrows),
        cmocka_unit_test(GrowingByBytesAllocatesRarely),
        cmocka_unit_test(ReservedRoomIsThereWithoutAllocating),
        cmocka_unit_test(AssigningReplacesShorterAndLongerContents),
        cmocka_unit_test(GrowthThatFailsLeavesTheBufferAsItWas),
        cmocka_unit_test(FittingGivesBackWhatWasGrown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
