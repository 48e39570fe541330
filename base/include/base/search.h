/* search: where something belongs in what is sorted.
 *
 * Both searches return the first position of which `is_before` says false: all in front of it are
 * before what is wanted. They are inlined together with `is_before`, so that a comparison costs
 * what it would cost in a loop of its own; give them a function of the same file. It may note in
 * `wanted` what it came by.
 */
#ifndef BASE_SEARCH_H
#define BASE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEARCH_INLINE static inline __attribute__((always_inline))

/* The order of uint64_t, for qsort and bsearch. */
static inline int order_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Is what stands at `at` before what is wanted? */
typedef bool (*search_fn)(const void *array, size_t at, void *wanted);

/* In [low, high), by halves: few comparisons, of any price. */
SEARCH_INLINE size_t search_first(const void *array, size_t low, size_t high, void *wanted,
                                  search_fn is_before)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(array, middle, wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* In [0, count). Compiles to conditional moves: which way each step goes is chance, and a wrong
 * guess of the processor costs more than the step. For comparisons of single numbers. */
SEARCH_INLINE size_t search_first_flat(const void *array, size_t count, void *wanted,
                                       search_fn is_before)
{
    size_t low = 0;
    while (count > 1) {
        size_t half = count / 2;
        low += is_before(array, low + half - 1, wanted) ? half : 0;
        count -= half;
    }
    return low + (count == 1 && is_before(array, low, wanted));
}

#endif
