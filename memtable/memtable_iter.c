/* memtable_iter: an iterator (base/iter.h) over all versions in a memtable.
 *
 * On entering a leaf it copies the published entries, sorts the copy and cuts it at the next
 * boundary; then it moves inside the copy and looks at the skiplist only at its ends (M7). What it
 * has copied and the boundary at which it was cut belong together: the next leaf to enter is the
 * one of that boundary, not of whatever has been linked before it since.
 *
 * Used by one thread; the memtable may be written meanwhile.
 */
#include "skiplist.h"

#include <base/alloc.h>

typedef struct memtable_iter {
    iter base; /* first, so that the two pointers are the same */
    const memtable *m;
    const skiplist_node *node; /* the copied leaf's boundary */
    const skiplist_node *next; /* where the copy was cut; NULL: it reaches to the end */
    uint32_t count;
    uint32_t index;
    skiplist_item items[LEAF_CAPACITY];
} memtable_iter;

#define PREFETCH_AHEAD 6

static memtable_iter *of(iter *base)
{
    return (memtable_iter *)(void *)base;
}

static void prefetch_entry(const memtable_iter *it, uint32_t index)
{
    if (index < it->count)
        __builtin_prefetch(skiplist_entry(it->m, it->items[index].ref));
}

/* Leaves out of the copy what is not before `next`: it was copied from a leaf that has since given its
 * upper part to that node (M4). */
static void cut_at(memtable_iter *it, const skiplist_node *next)
{
    if (it->count == 0 || it->items[it->count - 1].piece < next->piece)
        return;
    skiplist_target t = skiplist_target_entry(it->m, next->piece, next->ref);
    it->count = skiplist_items_find(it->m, it->items, it->count, &t);
}

static void enter(memtable_iter *it, const skiplist_place *place)
{
    it->node = place->node;
    it->next = place->next;
    if (place->next) {
        const skiplist_leaf *ahead = atomic_load_explicit(&place->next->leaf, memory_order_acquire);
        for (size_t i = 0; i < sizeof(*ahead); i += CACHE_LINE)
            __builtin_prefetch((const uint8_t *)ahead + i);
    }
    it->count = skiplist_leaf_sort(it->m, place->leaf, it->items);
    if (place->next)
        cut_at(it, place->next);
    for (uint32_t i = 0; i < PREFETCH_AHEAD; i++)
        prefetch_entry(it, i);
}

static void load(memtable_iter *it)
{
    uint64_t ref = it->items[it->index].ref;
    const uint8_t *p = skiplist_entry(it->m, ref);
    it->base.key = entry_key(p);
    it->base.value = entry_value(p);
    it->base.seq = skiplist_seq(it->m, ref);
    it->base.kind = p[0];
    it->base.valid = true;
}

/* Loads items[index]; behind the copy's end, the first entry of the leaves that follow. */
static void load_forward(memtable_iter *it)
{
    while (it->index >= it->count) {
        if (!it->next) {
            it->base.valid = false;
            return;
        }
        skiplist_place place = skiplist_place_at(it->next);
        enter(it, &place);
        it->index = 0;
    }
    load(it);
}

/* Loads the item in front of items[index]. When there is none, the copy is the head's: any other
 * leaf contains its boundary, which is before whatever led to it (M1). */
static void load_backward(memtable_iter *it)
{
    it->base.valid = false;
    if (it->index > 0) {
        it->index--;
        load(it);
    }
}

static void iter_first(iter *base)
{
    memtable_iter *it = of(base);
    skiplist_place place = skiplist_place_at(it->m->head);
    enter(it, &place);
    it->index = 0;
    load_forward(it);
}

static void iter_last(iter *base)
{
    memtable_iter *it = of(base);
    skiplist_place place = skiplist_locate_last(it->m);
    enter(it, &place);
    it->index = it->count;
    load_backward(it);
}

static void enter_at(memtable_iter *it, const skiplist_target *t)
{
    skiplist_place place = skiplist_locate(it->m, t);
    enter(it, &place);
    it->index = skiplist_items_find(it->m, it->items, it->count, t);
}

static void iter_seek(iter *base, firn_slice key, uint64_t seq)
{
    memtable_iter *it = of(base);
    skiplist_target t = skiplist_target_seq(it->m, key, seq);
    enter_at(it, &t);
    load_forward(it);
}

static void iter_seek_before(iter *base, firn_slice key, uint64_t seq)
{
    memtable_iter *it = of(base);
    skiplist_target t = skiplist_target_seq(it->m, key, seq);
    enter_at(it, &t);
    load_backward(it);
}

static void iter_next(iter *base)
{
    memtable_iter *it = of(base);
    it->index++;
    prefetch_entry(it, it->index + PREFETCH_AHEAD - 1);
    load_forward(it);
}

static void iter_prev(iter *base)
{
    memtable_iter *it = of(base);
    if (it->index == 0 && it->node != it->m->head) {
        skiplist_target t = skiplist_target_entry(it->m, it->node->piece, it->node->ref);
        enter_at(it, &t);
    }
    load_backward(it);
}

static void iter_close(iter *base)
{
    mem_free(of(base));
}

static const iter_ops OPS = {
    .first = iter_first,
    .last = iter_last,
    .seek = iter_seek,
    .seek_before = iter_seek_before,
    .next = iter_next,
    .prev = iter_prev,
    .close = iter_close,
};

int memtable_iter_new(const memtable *m, iter **out)
{
    memtable_iter *it = mem_zalloc(sizeof(*it));
    if (!it)
        return FIRN_NO_MEMORY;
    it->base.ops = &OPS;
    it->base.status = FIRN_OK;
    it->base.error.offset = FIRN_NO_OFFSET;
    it->m = m;
    *out = &it->base;
    return FIRN_OK;
}
