/* limits: an iterator with limits (I5 of base/iter.h) beside a sorted array from which the same is left out one by one.
 *
 * For programs of cmocka. The array holds all elements of the iterator, in its order; what is compared is keys and numbers.
 */
#ifndef TESTS_SUPPORT_LIMITS_H
#define TESTS_SUPPORT_LIMITS_H

#include <base/iter.h>
#include <base/slice.h>
#include <stdlib.h>

#include "rng.h"

typedef struct limits_element {
    firn_slice key;
    uint64_t seq;
} limits_element;

static inline bool limits_allow(const iter_limits *l, const limits_element *e)
{
    return e->seq <= l->seq_max && (!l->lower.data || slice_compare(e->key, l->lower) >= 0) &&
           (!l->upper.data || slice_compare(e->key, l->upper) < 0);
}

/* The first of `count` elements that is not before (key, seq). */
static inline size_t limits_find(const limits_element *all, size_t count, firn_slice key,
                                 uint64_t seq)
{
    size_t at = 0;
    for (; at < count; at++) {
        int c = slice_compare(all[at].key, key);
        if (c > 0 || (c == 0 && all[at].seq <= seq))
            break;
    }
    return at;
}

/* Bounds and number of elements, or none. */
static inline iter_limits limits_random(const limits_element *all, size_t count, rng *r)
{
    iter_limits l = {.seq_max = FIRN_MAX_SEQ};
    if (count == 0)
        return l;
    if (rng_below(r, 2) == 0)
        l.lower = slice_somewhere(all[rng_below(r, count)].key);
    if (rng_below(r, 2) == 0)
        l.upper = slice_somewhere(all[rng_below(r, count)].key);
    if (rng_below(r, 4) > 0)
        l.seq_max = all[rng_below(r, count)].seq - rng_below(r, 2);
    return l;
}

/* Where the iterator must be; `count` stands for both ends. */
static inline void limits_must_be(const iter *it, const limits_element *left, size_t count,
                                  size_t at)
{
    assert_int_equal(it->status, FIRN_OK);
    assert_int_equal(it->valid, at < count);
    if (at >= count)
        return;
    assert_int_equal(it->seq, left[at].seq);
    assert_true(slice_equal(it->key, left[at].key));
}

/* So many random movements of an iterator that has been given its limits. */
static inline void limits_walk(iter *it, const limits_element *all, size_t count, rng *r,
                               unsigned movements)
{
    limits_element *left = malloc((count + 1) * sizeof *left);
    size_t n = 0, at = SIZE_MAX;
    assert_non_null(left);
    for (size_t i = 0; i < count; i++)
        if (limits_allow(it->limits, &all[i]))
            left[n++] = all[i];
    for (unsigned i = 0; i < movements && count; i++) {
        const limits_element *e = &all[rng_below(r, count)];
        firn_slice key = slice_somewhere(e->key);
        uint64_t seq = rng_below(r, 3) == 0 ? FIRN_MAX_SEQ : e->seq - rng_below(r, 2);
        uint64_t what = rng_below(r, it->valid ? 10 : 4);
        if (what == 0) {
            it->ops->first(it);
            at = n ? 0 : SIZE_MAX;
        } else if (what == 1) {
            it->ops->last(it);
            at = n ? n - 1 : SIZE_MAX;
        } else if (what == 2) {
            it->ops->seek(it, key, seq);
            at = limits_find(left, n, key, seq);
        } else if (what == 3) {
            it->ops->seek_before(it, key, seq);
            at = limits_find(left, n, key, seq) - 1; /* wraps to SIZE_MAX */
        } else if (what % 2) {
            it->ops->next(it);
            at++;
        } else {
            it->ops->prev(it);
            at--;
        }
        limits_must_be(it, left, n, at);
    }
    free(left);
}

#endif
