/* memtable: the contract of <memtable/memtable.h> on top of the skiplist: life, adding, getting,
 * counting.
 *
 * Locks: none, but for the pool's in new, reserve, add and free, where a chunk begins or ends.
 * memtable_reserve and memtable_add belong to one writer at a time; everything else
 * may run in any thread meanwhile.
 */
#include "skiplist.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>

int memtable_new(const memtable_options *options, memtable **out)
{
    assert(options->prefix.size == 0 || options->prefix.data);
    memtable *m = heap_aligned(alignof(memtable), sizeof *m);
    if (!m)
        return FIRN_NO_MEMORY;
    *m = (memtable){.log = options->log_base,
                    .log_bytes = options->log_bytes ? options->log_bytes : UINT64_MAX / 2,
                    .seq_base = options->seq_base,
                    .arena = {.pool = options->pool},
                    .random = UINT64_C(0x9e3779b97f4a7c15)};
    m->prefix_size = options->prefix.size;
    if (m->prefix_size > MEMTABLE_PREFIX_MAX)
        m->prefix_size = MEMTABLE_PREFIX_MAX;
    if (m->prefix_size)
        memcpy(m->prefix, options->prefix.data, m->prefix_size);
    if (skiplist_arena_reserve(&m->arena, 1) != FIRN_OK) {
        memtable_free(m);
        return FIRN_NO_MEMORY;
    }
    m->head = skiplist_arena_node(&m->arena, TOWER_MAX);
    m->head->piece = 0;
    m->head->ref = 0;
    skiplist_leaf *leaf = skiplist_arena_leaf(&m->arena);
    skiplist_leaf_fill(leaf, NULL, 0);
    atomic_init(&m->head->leaf, leaf);
    for (unsigned level = 0; level < TOWER_MAX; level++) {
        atomic_init(&m->head->next[level], NULL);
        m->path[level] = m->head;
    }
    atomic_init(&m->height, 1);
    *out = m;
    return FIRN_OK;
}

void memtable_free(memtable *m)
{
    if (!m)
        return;
    skiplist_arena_release(&m->arena);
    heap_free(m);
}

int memtable_reserve(memtable *m, size_t entries)
{
    /* More entries than fit the reach of an offset: an answer, and no product that
     * overflows. */
    if (entries > UINT32_MAX / ENTRY_HEADER_BYTES)
        return FIRN_NO_MEMORY;
    /* Each add splits at most one leaf. */
    return skiplist_arena_reserve(&m->arena, entries);
}

/* relaxed: statistics with one writer, so a load and a store instead of a locked addition. */
static void increment(atomic_size_t *counter)
{
    size_t n = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

void memtable_add(memtable *m, uint32_t offset, uint64_t seq)
{
    assert(seq >= m->seq_base && seq - m->seq_base <= UINT32_MAX);
    assert(offset < UINT32_MAX);
    uint64_t ref = (seq - m->seq_base) << 32 | offset;
    assert(memtable_entries(m) == 0 || ref > m->ref_last);
    assert(m->log_bytes >= (uint64_t)offset + ENTRY_HEADER_BYTES);
    const uint8_t *p = skiplist_entry(m, ref);
    firn_slice key = skiplist_key(m, ref);
    skiplist_target t = {skiplist_piece(m, key), ref + 1, key};
    skiplist_insert(m, &t, ref);
    m->ref_last = ref;
    increment(&m->entries);
    if (entry_kind_is_tombstone(entry_kind(p)))
        increment(&m->deletes);
}

void memtable_approach(memtable *m, firn_slice key)
{
    if (m->ascends) /* where the next one goes is at hand, most likely */
        return;
    /* In front of all versions that are there. */
    skiplist_target t = skiplist_target_seq(m, key, FIRN_MAX_SEQ);
    skiplist_approach(m, &t);
}

void memtable_arrive(memtable *m)
{
    skiplist_arrive(m);
}

bool memtable_get(const memtable *m, firn_slice key, uint64_t seq_max, memtable_hit *out)
{
    skiplist_target t = skiplist_target_seq(m, key, seq_max);
    skiplist_place place = skiplist_locate(m, &t);
    uint64_t ref;
    if (!skiplist_leaf_get(m, place.leaf, &t, &ref)) {
        /* Nothing between the target and the next boundary: the boundary itself is the first entry
         * that is not before the target (M5). However many versions a key has, no more than this is
         * read. */
        const skiplist_node *next = place.next;
        if (!next || next->piece != t.piece || !slice_equal(skiplist_key(m, next->ref), key))
            return false;
        ref = next->ref;
    }
    entry e = {0};
    if (!skiplist_read(m, ref, &e))
        e = (entry){0};
    *out = (memtable_hit){.seq = skiplist_seq(m, ref), .value = e.value, .kind = e.kind};
    return true;
}

int memtable_changed(firn_error *err)
{
    error_set(err, FIRN_DAMAGED, "an entry of the log has changed since it was written");
    error_hint(err,
               "another program writes into the store's files: find out which, and restore them "
               "from a backup; never_map keeps the log in memory");
    return FIRN_DAMAGED;
}

size_t memtable_memory(const memtable *m)
{
    return sizeof *m + atomic_load_explicit(&m->arena.used_bytes, memory_order_relaxed);
}

size_t memtable_entries(const memtable *m)
{
    return atomic_load_explicit(&m->entries, memory_order_relaxed);
}

size_t memtable_deletes(const memtable *m)
{
    return atomic_load_explicit(&m->deletes, memory_order_relaxed);
}

bool memtable_bounds(const memtable *m, firn_slice *key_min, firn_slice *key_max)
{
    skiplist_item items[LEAF_CAPACITY];
    if (skiplist_leaf_sort(m, skiplist_place_at(m->head).leaf, items) == 0)
        return false; /* only the first leaf is ever empty, and then it is the only one */
    *key_min = skiplist_key(m, items[0].ref);
    uint32_t count = skiplist_leaf_sort(m, skiplist_locate_last(m).leaf, items);
    *key_max = skiplist_key(m, items[count - 1].ref);
    return true;
}

/* Of a leaf, the entries in front of the target; NULL: all. */
static uint32_t before_in(const memtable *m, const skiplist_leaf *leaf, const skiplist_target *t)
{
    if (!t) /* acquire: as if they were read */
        return atomic_load_explicit(&leaf->count, memory_order_acquire);
    skiplist_item items[LEAF_CAPACITY];
    uint32_t count = skiplist_leaf_sort(m, leaf, items);
    return skiplist_items_find(m, items, count, t);
}

uint64_t memtable_between(const memtable *m, firn_slice lower, firn_slice upper, uint64_t most)
{
    skiplist_target from = {0}, to = {0};
    skiplist_place at = skiplist_place_at(m->head);
    uint64_t sum = 0, skipped = 0;
    if (upper.data)
        to = skiplist_target_seq(m, upper, FIRN_MAX_SEQ);
    if (lower.data) {
        from = skiplist_target_seq(m, lower, FIRN_MAX_SEQ);
        at = skiplist_locate(m, &from);
        skipped = before_in(m, at.leaf, &from);
    }
    for (;;) {
        bool ends = at.next && upper.data && !skiplist_before(m, at.next->piece, at.next->ref, &to);
        bool last = !at.next || ends;
        sum += before_in(m, at.leaf, last && upper.data ? &to : NULL);
        if (last || (sum > skipped && sum - skipped >= most))
            return sum > skipped ? sum - skipped : 0;
        at = skiplist_place_at(at.next);
    }
}

/* Is one of the leaf's entries, with a ref from `least` on and between the targets, no delete? */
static bool puts_in(const memtable *m, const skiplist_leaf *leaf, uint64_t least,
                    const skiplist_target *from, const skiplist_target *to)
{
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t piece = leaf->piece[i], ref = leaf->ref[i];
        if (ref < least || skiplist_before(m, piece, ref, from) ||
            !skiplist_before(m, piece, ref, to))
            continue;
        if (!entry_kind_is_tombstone(once_u32(entry_kind(skiplist_entry(m, ref)))))
            return true;
    }
    return false;
}

bool memtable_puts_behind(const memtable *m, firn_slice lower, firn_slice upper, uint64_t seq)
{
    skiplist_target from = skiplist_target_seq(m, lower, FIRN_MAX_SEQ);
    skiplist_target to = skiplist_target_seq(m, upper, FIRN_MAX_SEQ);
    uint64_t least = skiplist_target_seq(m, lower, seq).bound;
    for (skiplist_place at = skiplist_locate(m, &from);; at = skiplist_place_at(at.next)) {
        if (puts_in(m, at.leaf, least, &from, &to))
            return true;
        if (!at.next || !skiplist_before(m, at.next->piece, at.next->ref, &to))
            return false;
    }
}

firn_slice memtable_common_prefix(const memtable *m)
{
    firn_slice lowest, highest;
    if (!memtable_bounds(m, &lowest, &highest))
        return (firn_slice){NULL, 0};
    /* What the lowest and the highest key share, all share. */
    return (firn_slice){lowest.data, slice_common(lowest, highest)};
}
