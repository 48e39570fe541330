/* skiplist_leaf: what happens inside one leaf: sorting a copy of it, and looking a key up in it.
 *
 * A leaf is read while the writer appends to it. Readers load `count` once and look at nothing
 * behind it; entries below it never change (M3). Any thread; no locks.
 */
#include "skiplist.h"

#include <assert.h>
#include <base/search.h>

static bool piece_is_below(const void *items, size_t at, void *piece)
{
    return ((const skiplist_item *)items)[at].piece < *(const uint64_t *)piece;
}

/* How many of `count` ordered items have a smaller piece. */
static uint32_t pieces_below(const skiplist_item *items, uint32_t count, uint64_t piece)
{
    return (uint32_t)search_first_flat(items, count, &piece, piece_is_below);
}

typedef struct item_search {
    const memtable *m;
    const skiplist_target *t;
} item_search;

static bool item_is_before(const void *items, size_t at, void *wanted)
{
    const item_search *s = wanted;
    const skiplist_item *item = (const skiplist_item *)items + at;
    return skiplist_before(s->m, item->piece, item->ref, s->t);
}

uint32_t skiplist_items_find(const memtable *m, const skiplist_item *items, uint32_t count,
                             const skiplist_target *t)
{
    uint32_t low = pieces_below(items, count, t->piece);
    if (low == count || items[low].piece != t->piece)
        return low;
    item_search s = {m, t};
    return (uint32_t)search_first(items, low, count, &s, item_is_before);
}

uint32_t skiplist_leaf_sort_from(const memtable *m, const skiplist_leaf *leaf, uint64_t least,
                                 uint64_t bound, skiplist_item *items)
{
    /* acquire: entries below the count were written before it (M3). */
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_acquire);
    uint32_t sorted = leaf->sorted;
    uint32_t n = 0;
    assert(sorted <= count && count <= LEAF_CAPACITY);
    for (uint32_t i = 0; i < sorted; i++) {
        items[n] = (skiplist_item){leaf->piece[i], leaf->ref[i]};
        n += (leaf->piece[i] >= least) & (leaf->ref[i] < bound);
    }
    for (uint32_t i = sorted; i < count; i++) {
        skiplist_item item = {leaf->piece[i], leaf->ref[i]};
        if (item.piece < least || item.ref >= bound)
            continue;
        uint32_t at = n;
        /* Ascending inserts find their place at once. The log is not touched unless pieces are
         * equal: not even for the length of the key. */
        if (n > 0 && items[n - 1].piece >= item.piece) {
            at = pieces_below(items, n, item.piece);
            if (items[at].piece == item.piece) {
                skiplist_target t = skiplist_target_entry(m, item.piece, item.ref);
                at = skiplist_items_find(m, items, n, &t);
            }
            memmove(items + at + 1, items + at, (n - at) * sizeof *items);
        }
        items[at] = item;
        n++;
    }
    return n;
}

void skiplist_leaf_fill(skiplist_leaf *leaf, const skiplist_item *items, uint32_t count)
{
    assert(count <= LEAF_CAPACITY);
    for (uint32_t i = 0; i < count; i++) {
        leaf->piece[i] = items[i].piece;
        leaf->ref[i] = items[i].ref;
    }
    leaf->sorted = (uint16_t)count;
    leaf->extended = false;
    /* relaxed: the leaf is published by the release store that links it. */
    atomic_store_explicit(&leaf->count, count, memory_order_relaxed);
}

typedef struct ref_search {
    const memtable *m;
    const skiplist_target *t;
    bool found;   /* the last one that was not before the target is a version of its key: ... */
    uint64_t ref; /* ... this one */
} ref_search;

static bool ref_is_before(const void *refs, size_t at, void *wanted)
{
    ref_search *s = wanted;
    uint64_t candidate = ((const uint64_t *)refs)[at];
    int c = slice_compare(skiplist_key(s->m, candidate), s->t->key);
    if (c < 0 || (c == 0 && candidate >= s->t->bound))
        return true;
    s->found = c == 0;
    s->ref = candidate;
    return false;
}

/* Entries [low, high) lie in order and have the target's piece: the first that is not before the
 * target, if it is a version of the key. */
static bool find_among_equals(const memtable *m, const skiplist_leaf *leaf, uint32_t low,
                              uint32_t high, const skiplist_target *t, uint64_t *ref)
{
    ref_search s = {.m = m, .t = t};
    (void)search_first(leaf->ref, low, high, &s, ref_is_before);
    *ref = s.ref;
    return s.found;
}

bool skiplist_leaf_get(const memtable *m, const skiplist_leaf *leaf, const skiplist_target *t,
                       uint64_t *ref)
{
    /* The pieces lie in lines that follow each other: ask for all of them before the first one says
     * how many there are. */
    for (size_t at = 0; at < offsetof(skiplist_leaf, ref); at += CACHE_LINE)
        __builtin_prefetch((const uint8_t *)leaf + at);
    /* acquire: as in skiplist_leaf_sort_from. */
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_acquire);
    uint32_t sorted = leaf->sorted;
    uint64_t piece = t->piece;

    /* Appended entries are newer than the sorted ones and ascend in age, so the first match from
     * the back is the newest; a hot key is not compared once for each of its versions. */
    for (uint32_t i = count; i-- > sorted;) {
        uint64_t candidate = leaf->ref[i];
        if (leaf->piece[i] == piece && candidate < t->bound &&
            slice_equal(skiplist_key(m, candidate), t->key)) {
            *ref = candidate;
            return true;
        }
    }
    uint32_t low = 0;
    uint32_t equals = 0;
    for (uint32_t i = 0; i < sorted; i++) {
        low += leaf->piece[i] < piece;
        equals += leaf->piece[i] == piece;
    }
    uint64_t candidate;
    if (equals == 0 || !find_among_equals(m, leaf, low, low + equals, t, &candidate))
        return false;
    *ref = candidate;
    return true;
}
