/* Arrays that double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <base/alloc.h>
#include <base/grow.h>

static void AnArrayGrowsByDoublingAndKeepsWhatItHolds(void **state)
{
    (void)state;
    uint32_t *numbers = NULL;
    size_t count = 0, capacity = 0, moves = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        size_t before = capacity;
        assert_int_equal(array_grow(&numbers, &capacity, count, sizeof *numbers, NULL), FIRN_OK);
        assert_true(capacity > count);
        assert_true(capacity == before || capacity == (before ? 2 * before : ARRAY_FIRST));
        moves += capacity != before;
        numbers[count++] = i;
    }
    assert_int_equal(moves, 11); /* 8, 16, ... 8192 */
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(numbers[i], i);
    heap_free(numbers);
}

static void WithoutMemoryAnArrayStaysAsItWas(void **state)
{
    (void)state;
    uint64_t *numbers = NULL;
    size_t capacity = 0;
    firn_error err = {0};
    assert_int_equal(array_grow(&numbers, &capacity, 0, sizeof *numbers, NULL), FIRN_OK);
    uint64_t *before = numbers;
    numbers[7] = 7;
    alloc_fail_at(1);
    int rc = array_grow(&numbers, &capacity, 8, sizeof *numbers, &err);
    alloc_fail_at(0);
    assert_int_equal(rc, FIRN_NO_MEMORY);
    assert_int_equal(err.status, FIRN_NO_MEMORY);
    assert_ptr_equal(numbers, before);
    assert_int_equal(capacity, 8);
    assert_int_equal(numbers[7], 7);
    /* A size that no address space has is refused, and not cut to what a size_t holds. */
    size_t absurd = SIZE_MAX / 16 + 1;
    alloc_fail_at(UINT64_MAX);
    rc = array_grow(&numbers, &absurd, absurd, sizeof *numbers, NULL);
    uint64_t asked = alloc_count();
    alloc_fail_at(0);
    assert_int_equal(rc, FIRN_NO_MEMORY);
    assert_int_equal(asked, 0);
    assert_int_equal(absurd, SIZE_MAX / 16 + 1);
    heap_free(numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AnArrayGrowsByDoublingAndKeepsWhatItHolds),
        cmocka_unit_test(WithoutMemoryAnArrayStaysAsItWas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
