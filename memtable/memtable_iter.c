/* memtable_iter: an iterator (base/iter.h) over all versions in a memtable.
 *
 * On entering a leaf it copies the published entries, sorts the copy and cuts it at the next
 * boundary; then it moves inside the copy and looks at the skiplist only at its ends (M7). What it
 * has copied and the boundary at which it was cut belong together: the next leaf to enter is the
 * one of that boundary, not of whatever has been linked before it since.
 *
 * Limits (I5): versions that are too new are left out of each copy. Where a leaf has nothing else,
 * the way goes on at the place behind (forwards) or in front of (backwards) all versions of the key
 * that fills it, which is one descent however many leaves they take. The bounds are compared with
 * what is about to be shown, and with the boundary of a leaf before it is entered.
 *
 * Most seeks are followed by a few steps forward, so a seek copies and sorts only what is not
 * before its target (`partial`). Stepping backward over the start of such a copy makes a whole one.
 *
 * Used by one thread; the memtable may be written meanwhile.
 */
#include "skiplist.h"

#include <base/alloc.h>
#include <base/error.h>

typedef struct memtable_iter {
    iter base; /* first, so that the two pointers are the same */
    const memtable *m;
    const skiplist_node *node; /* the copied leaf's boundary */
    const skiplist_node *next; /* where the copy was cut; NULL: it reaches to the end */
    uint32_t count;
    uint32_t index;
    bool partial; /* the copy has nothing that was before the target of a seek */
    bool has_lower, has_upper;
    uint64_t bound;               /* refs from here on are too new; UINT64_MAX: none is */
    skiplist_target lower, upper; /* in front of all versions of the bounds */
    skiplist_item items[LEAF_CAPACITY];
} memtable_iter;

#define ENTRIES_AHEAD 12 /* of the log, asked for before they are shown */
#define LEAF_AHEAD    12 /* so many steps before its end, the leaf behind it is asked for */

static memtable_iter *of(iter *base)
{
    return (memtable_iter *)(void *)base;
}

/* Always inlined: gcc removes calls of a function that does nothing but prefetch, as without
 * effect. */
#define PREFETCHER static inline __attribute__((always_inline)) void

/* An entry begins anywhere; with the second line come the rest of a key and the value's
 * beginning. */
PREFETCHER prefetch_entry(const memtable_iter *it, uint32_t index)
{
    if (index < it->count) {
        const uint8_t *p = skiplist_entry(it->m, it->items[index].ref);
        __builtin_prefetch(p);
        __builtin_prefetch(p + CACHE_LINE);
        __builtin_prefetch(p + 2 * CACHE_LINE);
    }
}

PREFETCHER prefetch_leaf(const skiplist_node *node)
{
    const skiplist_leaf *leaf = atomic_load_explicit(&node->leaf, memory_order_acquire);
    for (size_t i = 0; i < sizeof *leaf; i += CACHE_LINE)
        __builtin_prefetch((const uint8_t *)leaf + i);
}

/* Leaves out of the copy what is not before `next`: it was copied from a leaf that has since given
 * its upper part to that node (M4). */
static void cut_at(memtable_iter *it, const skiplist_node *next)
{
    if (it->count == 0 || it->items[it->count - 1].piece < next->piece)
        return;
    skiplist_target t = skiplist_target_entry(it->m, next->piece, next->ref);
    it->count = skiplist_items_find(it->m, it->items, it->count, &t);
}

/* Copies what is in the place and has a piece that is not below `least`. */
static void enter(memtable_iter *it, const skiplist_place *place, uint64_t least)
{
    it->node = place->node;
    it->next = place->next;
    it->partial = least > 0;
    it->count = skiplist_leaf_sort_from(it->m, place->leaf, least, it->bound, it->items);
    if (place->next)
        cut_at(it, place->next);
}

/* Goes to items[index] of the copy, about to move on from there. */
static void arrive(memtable_iter *it, uint32_t index)
{
    it->index = index;
    for (uint32_t i = 0; i < ENTRIES_AHEAD; i++)
        prefetch_entry(it, index + i);
    if (it->next && it->count - index <= LEAF_AHEAD)
        prefetch_leaf(it->next);
}

static void fail_changed(memtable_iter *it)
{
    it->base.valid = false;
    it->base.status = memtable_changed(it->base.error);
}

/* May a movement that has entered so many leaves enter another one? It enters each once, unless
 * keys have changed in the log and lead it round. */
static bool may_enter(memtable_iter *it, size_t entered)
{
    if (entered > memtable_entries(it->m) + 2) {
        fail_changed(it);
        return false;
    }
    if (iter_is_cancelled(&it->base)) {
        it->base.status = error_cancelled(it->base.error);
        return false;
    }
    return true;
}

static void load(memtable_iter *it)
{
    uint64_t ref = it->items[it->index].ref;
    entry e;
    if (!skiplist_read(it->m, ref, &e)) {
        fail_changed(it);
        return;
    }
    it->base.key = e.key;
    it->base.value = e.value;
    it->base.seq = skiplist_seq(it->m, ref);
    it->base.kind = e.kind;
    it->base.valid = true;
}

/* Finds the target's leaf and copies it, whole or from the target on; the target's index. */
static uint32_t enter_at(memtable_iter *it, const skiplist_target *t, uint64_t least)
{
    skiplist_place place = skiplist_locate(it->m, t);
    enter(it, &place, least);
    return skiplist_items_find(it->m, it->items, it->count, t);
}

/* Do versions of one key that are too new fill the leaf and go on at `next`? */
static bool newer_go_on(const memtable_iter *it)
{
    const skiplist_node *node = it->node, *next = it->next;
    return it->count == 0 && node != it->m->head && next->ref >= it->bound &&
           node->piece == next->piece &&
           slice_equal(skiplist_key(it->m, node->ref), skiplist_key(it->m, next->ref));
}

/* Loads items[index]; behind the copy's end, the first entry of the leaves that follow. */
static void load_forward(memtable_iter *it)
{
    it->base.valid = false;
    for (size_t entered = 0; it->index >= it->count; entered++) {
        const skiplist_node *next = it->next;
        if (!may_enter(it, entered))
            return;
        if (!next || (it->has_upper && !skiplist_before(it->m, next->piece, next->ref, &it->upper)))
            return;
        if (newer_go_on(it)) {
            skiplist_target t = skiplist_target_entry(it->m, next->piece, next->ref);
            t.bound = it->bound;
            arrive(it, enter_at(it, &t, t.piece));
        } else {
            skiplist_place place = skiplist_place_at(next);
            enter(it, &place, 0);
            arrive(it, 0);
        }
    }
    const skiplist_item *item = &it->items[it->index];
    if (!it->has_upper || skiplist_before(it->m, item->piece, item->ref, &it->upper))
        load(it);
}

/* Loads the item in front of items[index]. When there is none, the leaf's boundary was left out, or
 * the copy is the head's and whole: any other leaf contains its boundary, which is before whatever
 * led to it (M1). */
static void load_backward(memtable_iter *it)
{
    it->base.valid = false;
    for (size_t entered = 0; it->index == 0; entered++) {
        const skiplist_node *node = it->node;
        if (!may_enter(it, entered))
            return;
        if (node == it->m->head ||
            (it->has_lower && skiplist_before(it->m, node->piece, node->ref, &it->lower)))
            return;
        skiplist_target t = skiplist_target_entry(it->m, node->piece, node->ref);
        if (node->ref >= it->bound)
            t.bound = UINT64_MAX; /* what is newer than it is too new as well */
        it->index = enter_at(it, &t, 0);
    }
    it->index--;
    const skiplist_item *item = &it->items[it->index];
    if (!it->has_lower || !skiplist_before(it->m, item->piece, item->ref, &it->lower))
        load(it);
}

/* Before each movement from outside: makes of the limits what entries are compared with. */
static void prepare(memtable_iter *it)
{
    const iter_limits *l = it->base.limits;
    if (!l || it->has_lower || it->has_upper || it->bound != UINT64_MAX)
        return;
    it->bound = skiplist_target_seq(it->m, slice_of_str(""), l->seq_max).bound;
    it->has_lower = l->lower.data != NULL;
    it->has_upper = l->upper.data != NULL;
    if (it->has_lower)
        it->lower = (skiplist_target){skiplist_piece(it->m, l->lower), UINT64_MAX, l->lower};
    if (it->has_upper)
        it->upper = (skiplist_target){skiplist_piece(it->m, l->upper), UINT64_MAX, l->upper};
}

/* Does the target, of the key that is shown, fall into the copy? Then there is no need for another:
 * whatever is not too new was there before the iterator was. So a walk passes the versions of a
 * key. */
static bool is_in_copy(const memtable_iter *it, const skiplist_target *t)
{
    if (!it->base.valid || it->bound == UINT64_MAX || !slice_equal(it->base.key, t->key))
        return false;
    const skiplist_item *first = &it->items[0], *last = &it->items[it->count - 1];
    return skiplist_before(it->m, first->piece, first->ref, t) &&
           !skiplist_before(it->m, last->piece, last->ref, t);
}

static void seek(memtable_iter *it, firn_slice key, uint64_t seq)
{
    skiplist_target t = skiplist_target_seq(it->m, key, seq);
    bool here = is_in_copy(it, &t);
    arrive(it,
           here ? skiplist_items_find(it->m, it->items, it->count, &t) : enter_at(it, &t, t.piece));
    load_forward(it);
}

static void seek_before(memtable_iter *it, firn_slice key, uint64_t seq)
{
    skiplist_target t = skiplist_target_seq(it->m, key, seq);
    bool here = is_in_copy(it, &t);
    it->index = here ? skiplist_items_find(it->m, it->items, it->count, &t) : enter_at(it, &t, 0);
    load_backward(it);
}

static void iter_first(iter *base)
{
    memtable_iter *it = of(base);
    base->status = FIRN_OK;
    prepare(it);
    if (it->has_lower) {
        seek(it, it->lower.key, FIRN_MAX_SEQ);
        return;
    }
    skiplist_place place = skiplist_place_at(it->m->head);
    enter(it, &place, 0);
    arrive(it, 0);
    load_forward(it);
}

static void iter_last(iter *base)
{
    memtable_iter *it = of(base);
    base->status = FIRN_OK;
    prepare(it);
    if (it->has_upper) {
        seek_before(it, it->upper.key, FIRN_MAX_SEQ);
        return;
    }
    skiplist_place place = skiplist_locate_last(it->m);
    enter(it, &place, 0);
    it->index = it->count;
    load_backward(it);
}

static void iter_seek(iter *base, firn_slice key, uint64_t seq)
{
    memtable_iter *it = of(base);
    base->status = FIRN_OK;
    prepare(it);
    if (base->limits)
        iter_clamp_seek(base->limits, &key, &seq);
    seek(it, key, seq);
}

static void iter_seek_before(iter *base, firn_slice key, uint64_t seq)
{
    memtable_iter *it = of(base);
    base->status = FIRN_OK;
    prepare(it);
    if (base->limits)
        iter_clamp_seek_before(base->limits, &key, &seq);
    seek_before(it, key, seq);
}

static void iter_next(iter *base)
{
    memtable_iter *it = of(base);
    it->index++;
    prefetch_entry(it, it->index + ENTRIES_AHEAD - 1);
    if (it->index + LEAF_AHEAD == it->count && it->next)
        prefetch_leaf(it->next);
    load_forward(it);
}

static void iter_prev(iter *base)
{
    memtable_iter *it = of(base);
    if (it->index == 0 && it->partial) {
        skiplist_target t = skiplist_target_entry(it->m, it->items[0].piece, it->items[0].ref);
        it->index = enter_at(it, &t, 0);
    }
    load_backward(it);
}

static bool iter_is_newest(const iter *base)
{
    const memtable_iter *it = (const memtable_iter *)(const void *)base;
    memtable_hit hit;
    uint64_t seq_max = base->limits ? base->limits->seq_max : FIRN_MAX_SEQ;
    return memtable_get(it->m, base->key, seq_max, &hit) && hit.seq == base->seq;
}

static void iter_close(iter *base)
{
    heap_free(of(base));
}

static const iter_ops OPS = {
    .first = iter_first,
    .last = iter_last,
    .seek = iter_seek,
    .seek_before = iter_seek_before,
    .next = iter_next,
    .prev = iter_prev,
    .close = iter_close,
    .is_newest = iter_is_newest,
};

int memtable_iter_new(const memtable *m, iter **out)
{
    memtable_iter *it = heap_alloc(sizeof *it);
    if (!it)
        return FIRN_NO_MEMORY;
    memset(it, 0, offsetof(memtable_iter, items));
    it->base.ops = &OPS;
    it->base.status = FIRN_OK;
    it->m = m;
    it->bound = UINT64_MAX;
    *out = &it->base;
    return FIRN_OK;
}
