/* The heap and its failures. */
#include "check.h"

#include <base/alloc.h>

#include <string.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

static void OnlyTheNthAllocationFails(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 5; n++) {
        alloc_fail_at(n);
        for (uint64_t i = 1; i <= 10; i++) {
            void *p = heap_alloc(8);
            assert_int_equal(p == NULL, i == n);
            heap_free(p);
        }
        assert_int_equal(alloc_count(), 10);
    }
    alloc_fail_at(0);
}

static void EveryWayToAllocateIsCountedAndCanFail(void **state)
{
    (void)state;
    void *kept = heap_alloc(16);
    assert_non_null(kept);
    memcpy(kept, "0123456789abcdef", 16);
    for (int way = 0; way < 7; way++) {
        void *p = kept;
        alloc_fail_at(1);
        switch (way) {
        case 0:
            p = heap_alloc(1);
            break;
        case 1:
            p = heap_zalloc(1);
            break;
        case 2:
            p = heap_zalloc(10000);
            break;
        case 3:
            p = heap_realloc(kept, 1 << 20);
            break;
        case 4:
            p = heap_aligned(64, 1);
            break;
        case 5:
            p = heap_strdup("x");
            break;
        default:
            p = pages_alloc(1);
            break;
        }
        assert_null(p);
        assert_int_equal(alloc_count(), 1);
    }
    alloc_fail_at(0);
    assert_memory_equal(kept, "0123456789abcdef", 16); /* a failed realloc keeps the block */
    heap_free(kept);
}

static void CountingAloneFailsNothing(void **state)
{
    (void)state;
    alloc_fail_at(UINT64_MAX);
    assert_int_equal(alloc_count(), 0);
    for (int i = 0; i < 100; i++) {
        void *p = heap_alloc(1);
        assert_non_null(p);
        heap_free(p);
    }
    alloc_fail_at(0);
    void *p = heap_alloc(1);
    heap_free(p);
    assert_int_equal(alloc_count(), 100);
}

static void NothingIsStillAnAddress(void **state)
{
    (void)state;
    void *all[] = {heap_alloc(0), heap_zalloc(0), heap_realloc(NULL, 0), heap_aligned(64, 0)};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_non_null(all[i]);
        heap_free(all[i]);
    }
    heap_free(NULL);
    void *pages = pages_alloc(0);
    assert_non_null(pages);
    pages_free(pages, 0);
    pages_free(NULL, 100);
}

static void BlocksAreZeroedAlignedAndCopied(void **state)
{
    (void)state;
    static const uint8_t zeros[10000];
    static const size_t sizes[] = {1, 100, 1023, 1024, 1025, sizeof zeros};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        uint8_t *used = heap_alloc(sizes[i]);
        assert_non_null(used);
        memset(used, 1, sizes[i]);
        heap_free(used);
        uint8_t *p = heap_zalloc(sizes[i]); /* where the other one was, perhaps */
        assert_non_null(p);
        assert_memory_equal(p, zeros, sizes[i]);
        heap_free(p);
    }
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        void *aligned = heap_aligned(alignment, 100);
        assert_non_null(aligned);
        assert_int_equal((uintptr_t)aligned % alignment, 0);
        memset(aligned, 1, 100);
        heap_free(aligned);
    }
    char *copy = heap_strdup("firn");
    assert_string_equal(copy, "firn");
    copy = heap_realloc(copy, 1 << 16);
    assert_string_equal(copy, "firn");
    heap_free(copy);
}

static void PagesAreZeroedAndLargeOnesLieOnHugePages(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,
                                   4096,
                                   4097,
                                   64 * 1024,
                                   64 * 1024 + 1,
                                   HUGE_PAGE_BYTES - 1,
                                   HUGE_PAGE_BYTES,
                                   HUGE_PAGE_BYTES + 1,
                                   3 * HUGE_PAGE_BYTES + 12345};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        uint8_t *p = pages_alloc(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        if (sizes[i] >= HUGE_PAGE_BYTES)
            assert_int_equal((uintptr_t)p % HUGE_PAGE_BYTES, 0);
        for (size_t at = 0; at < sizes[i]; at += 511)
            assert_int_equal(p[at], 0);
        memset(p, 0xff, sizes[i]); /* all of it is ours */
        pages_clear(p, sizes[i]);
        for (size_t at = 0; at < sizes[i]; at += 511)
            assert_int_equal(p[at], 0);
        pages_free(p, sizes[i]);
    }
}

static void MoreThanThereIsComesBackAsNull(void **state)
{
    (void)state;
    assert_null(pages_alloc(SIZE_MAX));
    assert_null(pages_alloc(SIZE_MAX - HUGE_PAGE_BYTES));
    assert_null(pages_alloc(SIZE_MAX / 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(OnlyTheNthAllocationFails),
        cmocka_unit_test(EveryWayToAllocateIsCountedAndCanFail),
        cmocka_unit_test(CountingAloneFailsNothing),
        cmocka_unit_test(NothingIsStillAnAddress),
        cmocka_unit_test(BlocksAreZeroedAlignedAndCopied),
        cmocka_unit_test(PagesAreZeroedAndLargeOnesLieOnHugePages),
        cmocka_unit_test(MoreThanThereIsComesBackAsNull),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
