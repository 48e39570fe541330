/* skiplist: descending, and the writer's side: where a new entry goes and how a full leaf is split.
 *
 * A split is published in two steps (M4): first the new node is linked, level by level from below,
 * with its leaf already in place; then the old node's leaf is switched. A reader that sees the
 * switched leaf sees the new node too; one that still sees the old leaf finds everything in it and
 * cuts at the new node.
 */
#include "skiplist.h"

#include <assert.h>

bool skiplist_before_equal(const memtable *m, uint64_t ref, const skiplist_target *t)
{
    int c = slice_compare(skiplist_key(m, ref), t->key);
    return c < 0 || (c == 0 && ref >= t->bound);
}

uint64_t skiplist_piece_behind(const memtable *m, firn_slice key)
{
    size_t n = key.size < m->prefix_size ? key.size : m->prefix_size;
    int c = n ? memcmp(key.data, m->prefix, n) : 0;
    if (c == 0 && key.size >= m->prefix_size)
        return slice_piece(key, m->prefix_size);
    /* Outside of the expected prefix: below or above all that have it (M8). A key that ends within
     * the prefix is below. */
    return c <= 0 ? 0 : UINT64_MAX;
}

static bool node_before(const memtable *m, const skiplist_node *node, const skiplist_target *t)
{
    return skiplist_before(m, node->piece, node->ref, t);
}

skiplist_place skiplist_place_at(const skiplist_node *node)
{
    skiplist_place place = {.node = node};
    /* acquire, and before `next`: a leaf that lost its upper half to a new node was published after
     * that node was linked, so the load of `next` finds it (M4). */
    place.leaf = atomic_load_explicit(&node->leaf, memory_order_acquire);
    place.next = skiplist_next(node, 0);
    return place;
}

skiplist_place skiplist_locate(const memtable *m, const skiplist_target *t)
{
    const skiplist_node *node = m->head;
    const skiplist_node *not_before = NULL; /* known not to be before the target */
    /* relaxed: a stale height only means a longer way on the levels below it. */
    for (unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed); level-- > 0;) {
        for (;;) {
            const skiplist_node *next = skiplist_next(node, level);
            if (next == not_before)
                break;
            if (level > 0)
                __builtin_prefetch(skiplist_next(node, level - 1));
            if (!node_before(m, next, t)) {
                not_before = next;
                break;
            }
            node = next;
        }
    }
    for (;;) {
        skiplist_place place = skiplist_place_at(node);
        if (place.next == not_before || !place.next || !node_before(m, place.next, t))
            return place;
        node = place.next; /* linked since the descent passed here */
    }
}

skiplist_place skiplist_locate_last(const memtable *m)
{
    const skiplist_node *node = m->head;
    for (unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed); level-- > 0;) {
        for (const skiplist_node *next; (next = skiplist_next(node, level)) != NULL;)
            node = next;
    }
    for (;;) {
        skiplist_place place = skiplist_place_at(node);
        if (!place.next)
            return place;
        node = place.next;
    }
}

/* ---- The writer's side. It is alone, so its own loads may be relaxed. ---- */

static skiplist_leaf *leaf_of(const skiplist_node *node)
{
    return atomic_load_explicit(&node->leaf, memory_order_relaxed);
}

static skiplist_node *next_of(const skiplist_node *node, unsigned level)
{
    return atomic_load_explicit(&node->next[level], memory_order_relaxed);
}

/* Does the new entry belong to the leaf that took the last one, or that was approached for it? Then
 * the path is its path too (M9). */
static bool finger_holds(const memtable *m, const skiplist_target *t)
{
    const skiplist_node *node = m->path[0];
    const skiplist_node *next = next_of(node, 0);
    return (node == m->head || node_before(m, node, t)) && (!next || !node_before(m, next, t));
}

static void descend(memtable *m, const skiplist_target *t)
{
    skiplist_node *node = m->head;
    const skiplist_node *not_before = NULL;
    for (unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed); level-- > 0;) {
        for (;;) {
            skiplist_node *next = next_of(node, level);
            if (next == not_before)
                break;
            if (level > 0)
                __builtin_prefetch(next_of(node, level - 1));
            if (!node_before(m, next, t)) {
                not_before = next;
                break;
            }
            node = next;
        }
        m->path[level] = node;
    }
}

void skiplist_approach(memtable *m, const skiplist_target *t)
{
    bool holds = finger_holds(m, t);
    m->ascends = holds && !next_of(m->path[0], 0);
    if (!holds)
        descend(m, t);
    __builtin_prefetch(leaf_of(m->path[0]), 1);
}

void skiplist_arrive(const memtable *m)
{
    skiplist_leaf *leaf = leaf_of(m->path[0]);
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_relaxed);
    if (count < LEAF_CAPACITY) {
        __builtin_prefetch(&leaf->piece[count], 1);
        __builtin_prefetch(&leaf->ref[count], 1);
    }
    /* gcc removes calls of a function that does nothing but prefetch, as without effect. */
    atomic_signal_fence(memory_order_seq_cst);
}

static unsigned random_height(memtable *m)
{
    /* xorshift64: towers need no secret, and the same inserts build the same list. */
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    unsigned height = 1;
    for (uint64_t bits = m->random >> 16; height < TOWER_MAX; bits >>= TOWER_BITS) {
        if ((bits & ((1u << TOWER_BITS) - 1)) != 0)
            break;
        height++;
    }
    return height;
}

/* Links a node with boundary `low` and that leaf behind path[0], and moves the finger to it when
 * the entry just added (target t) lies there. */
static void link_node(memtable *m, const skiplist_item *low, skiplist_leaf *leaf,
                      const skiplist_target *t)
{
    unsigned height = random_height(m);
    if (height > atomic_load_explicit(&m->height, memory_order_relaxed))
        atomic_store_explicit(&m->height, height, memory_order_relaxed);
    skiplist_node *node = skiplist_arena_node(&m->arena, height);
    node->piece = low->piece;
    node->ref = low->ref;
    atomic_init(&node->leaf, leaf);
    bool moves = low->ref + 1 == t->bound || node_before(m, node, t);
    for (unsigned level = 0; level < height; level++) {
        skiplist_node *before = m->path[level];
        atomic_init(&node->next[level], next_of(before, level));
        /* release: the node and its leaf are complete. Level 0 first: a node that can be reached on
         * any level is in the list of all nodes (M2). */
        atomic_store_explicit(&before->next[level], node, memory_order_release);
        if (moves)
            m->path[level] = node;
    }
}

/* Where to cut LEAF_CAPACITY + 1 ordered items, of which the new one is items[at]: the first index
 * of the upper part. An insert right beside the one before it is taken as the sign of a run,
 * ascending or descending (new versions of a hot key descend), and the cut is made so that what the
 * run leaves behind is full and where it goes on there is room. */
static uint32_t cut_index(uint32_t at, uint32_t newest)
{
    uint32_t cut = (LEAF_CAPACITY + 1) / 2;
    if (newest + 1 == at && at < LEAF_CAPACITY)
        cut = at + 1;
    else if (newest == at + 1 && at <= LEAF_CAPACITY / 4)
        cut = at + 1;
    else if (newest == at + 1)
        cut = at - 1;
    return cut;
}

/* The index of the newest of the items but for `except`. Refs ascend with time. */
static uint32_t newest_index(const skiplist_item *items, uint32_t count, uint32_t except)
{
    uint32_t newest = except == 0 ? 1 : 0;
    for (uint32_t i = newest + 1; i < count; i++) {
        if (i != except && items[i].ref > items[newest].ref)
            newest = i;
    }
    return newest;
}

/* The leaf of path[0] is full. It is never changed (M3): new leaves take over its entries, or it
 * stays whole beside a new leaf for the new entry alone. */
static void split(memtable *m, skiplist_leaf *full, const skiplist_target *t, uint64_t ref)
{
    skiplist_node *node = m->path[0];
    skiplist_item items[LEAF_CAPACITY + 1];
    uint32_t count = skiplist_leaf_sort(m, full, items);
    assert(count == LEAF_CAPACITY);
    uint32_t at = skiplist_items_find(m, items, count, t);
    memmove(items + at + 1, items + at, (count - at) * sizeof *items);
    items[at] = (skiplist_item){t->piece, ref};
    count++;
    uint32_t newest = newest_index(items, count, at);
    skiplist_leaf *fresh = skiplist_arena_leaf(&m->arena);

    if (at == LEAF_CAPACITY && newest + 1 == at && !full->extended) {
        /* An ascending run went past the leaf: it stays as it is, nothing is copied or wasted. Only
         * once: otherwise a descending run between this leaf and the next would get a leaf for each
         * of its entries. */
        full->extended = true;
        skiplist_leaf_fill(fresh, items + at, 1);
        link_node(m, items + at, fresh, t);
        return;
    }
    if (at == 0 && newest == 1) {
        /* A descending run below everything (only the head has no lower boundary, M1): the leaf
         * moves to a node of its own, and the head starts anew. */
        skiplist_leaf_fill(fresh, items, 1);
        link_node(m, items + 1, full, t);
    } else {
        uint32_t cut = cut_index(at, newest);
        assert(cut > 0 && cut < count);
        skiplist_leaf *upper = skiplist_arena_leaf(&m->arena);
        skiplist_leaf_fill(fresh, items, cut);
        skiplist_leaf_fill(upper, items + cut, count - cut);
        link_node(m, items + cut, upper, t);
    }
    /* release, and after the new node was linked: this is the moment of the split (M4). */
    atomic_store_explicit(&node->leaf, fresh, memory_order_release);
}

void skiplist_insert(memtable *m, const skiplist_target *t, uint64_t ref)
{
    if (!finger_holds(m, t)) {
        descend(m, t);
        m->ascends = false;
    }
    skiplist_leaf *leaf = leaf_of(m->path[0]);
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_relaxed);
    if (count == LEAF_CAPACITY) {
        split(m, leaf, t, ref);
        return;
    }
    leaf->piece[count] = t->piece;
    leaf->ref[count] = ref;
    /* release: the entry is complete (M3). */
    atomic_store_explicit(&leaf->count, count + 1, memory_order_release);
}
