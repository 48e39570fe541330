/* Places in sorted arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <base/search.h>

typedef struct wanted {
    uint32_t number;
    unsigned asked;
} wanted;

static bool is_below(const void *numbers, size_t at, void *w)
{
    ((wanted *)w)->asked++;
    return ((const uint32_t *)numbers)[at] < ((wanted *)w)->number;
}

/* Every ascending array of up to nine numbers below five, and every number. */
static void BothSearchesFindTheFirstThatIsNotBefore(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 1953125; code += code < 3125 ? 1 : 17) {
        uint32_t numbers[9];
        size_t count = code % 10;
        uint32_t digits = code, last = 0;
        for (size_t i = 0; i < count; i++, digits /= 5) {
            last += digits % 5 == 4;
            numbers[i] = last;
        }
        for (uint32_t number = 0; number < 6; number++) {
            size_t right = 0;
            while (right < count && numbers[right] < number)
                right++;
            wanted w = {number, 0};
            assert_int_equal(search_first_flat(numbers, count, &w, is_below), right);
            assert_true(w.asked <= 5);
            for (size_t low = 0; low <= count; low++) {
                w.asked = 0;
                size_t at = search_first(numbers, low, count, &w, is_below);
                assert_int_equal(at, right > low ? right : low);
                assert_true(w.asked <= 4);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(BothSearchesFindTheFirstThatIsNotBefore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
