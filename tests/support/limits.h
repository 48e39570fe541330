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
        bool backward = what == 1 || what == 3 || (what > 3 && what % 2 == 0);
        if (backward && it->valid)
            assert_int_equal(it->ops->is_newest(it),
                             at == 0 || !slice_equal(left[at - 1].key, left[at].key));
    }
    free(left);
}

/* ---- Movements by hand, of which each has its price ---- */

static inline void limits_at(const iter *it, const char *key, uint64_t seq)
{
    assert_int_equal(it->status, FIRN_OK);
    assert_int_equal(it->valid, key != NULL);
    if (!key)
        return;
    assert_true(slice_equal(it->key, slice_of_str(key)));
    assert_int_equal(it->seq, seq);
}

/* Counts from zero again; fails when the movement has cost more than it may. */
typedef struct limits_price {
    void (*clear)(void);
    void (*compare)(const char *movement);
} limits_price;

/* One movement, and where it leads; key NULL: nowhere. */
#define LIMITS_MOVE(price, it, call, key, seq)                                                     \
    do {                                                                                           \
        (price)->clear();                                                                          \
        (it)->ops->call;                                                                           \
        (price)->compare(#call);                                                                   \
        limits_at(it, key, seq);                                                                   \
    } while (0)

/* Over (a, a), (hot, hot), (z, z) and any number of versions of hot that the limits leave out. */
static inline void limits_pass_newer_versions(iter *it, const limits_price *price, uint64_t a,
                                              uint64_t hot, uint64_t z)
{
    LIMITS_MOVE(price, it, first(it), "a", a);
    LIMITS_MOVE(price, it, next(it), "hot", hot);
    LIMITS_MOVE(price, it, next(it), "z", z);
    LIMITS_MOVE(price, it, prev(it), "hot", hot);
    LIMITS_MOVE(price, it, prev(it), "a", a);
    LIMITS_MOVE(price, it, prev(it), NULL, 0);
    LIMITS_MOVE(price, it, seek(it, slice_of_str("hot"), FIRN_MAX_SEQ), "hot", hot);
    LIMITS_MOVE(price, it, seek(it, slice_of_str("b"), FIRN_MAX_SEQ), "hot", hot);
    LIMITS_MOVE(price, it, seek_before(it, slice_of_str("hot"), FIRN_MAX_SEQ), "a", a);
    LIMITS_MOVE(price, it, seek_before(it, slice_of_str("hot"), z), "a", a);
    LIMITS_MOVE(price, it, last(it), "z", z);
}

/* Within [b, y), over (b, first) and (x, last), with any number of keys in front of b and behind y. */
static inline void limits_pass_bounds(iter *it, const limits_price *price, uint64_t first,
                                      uint64_t last)
{
    LIMITS_MOVE(price, it, first(it), "b", first);
    LIMITS_MOVE(price, it, next(it), "x", last);
    LIMITS_MOVE(price, it, next(it), NULL, 0);
    LIMITS_MOVE(price, it, last(it), "x", last);
    LIMITS_MOVE(price, it, prev(it), "b", first);
    LIMITS_MOVE(price, it, prev(it), NULL, 0);
    LIMITS_MOVE(price, it, seek(it, slice_of_str("xx"), FIRN_MAX_SEQ), NULL, 0);
    LIMITS_MOVE(price, it, seek(it, slice_of_str("yy"), FIRN_MAX_SEQ), NULL, 0);
    LIMITS_MOVE(price, it, seek_before(it, slice_of_str("b"), FIRN_MAX_SEQ), NULL, 0);
    LIMITS_MOVE(price, it, seek_before(it, slice_of_str("a5"), FIRN_MAX_SEQ), NULL, 0);
    LIMITS_MOVE(price, it, seek_before(it, slice_of_str("zz"), FIRN_MAX_SEQ), "x", last);
}

#endif
