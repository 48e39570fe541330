/* memtable_check: walks a memtable that has no writer and verifies its invariants (README.md, M1 to
 * M9; M10 is of what is read).
 *
 * For tests. A broken invariant is our mistake, so it prints where and aborts, in every build.
 */
#include "skiplist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition, invariant)                                                                \
    do {                                                                                           \
        if (!(condition))                                                                          \
            broken(invariant, #condition, __LINE__);                                               \
    } while (0)

static _Noreturn void broken(const char *invariant, const char *condition, int line)
{
    fprintf(stderr, "memtable_check: %s is broken: %s (line %d)\n", invariant, condition, line);
    abort();
}

/* Strictly ascending, by key and sequence number, never by piece: so that pieces are checked too
 * (M8). */
static bool ascends(const memtable *m, uint64_t a, uint64_t b)
{
    int c = slice_compare(skiplist_key(m, a), skiplist_key(m, b));
    return c < 0 || (c == 0 && a > b);
}

static void check_item(const memtable *m, skiplist_item item)
{
    firn_slice key = skiplist_key(m, item.ref);
    CHECK(item.piece == skiplist_piece(m, key), "M8");
    CHECK(item.ref <= m->ref_last, "M3");
}

static void check_leaf_bytes(const memtable *m, const skiplist_leaf *leaf)
{
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_acquire);
    CHECK(count <= LEAF_CAPACITY && leaf->sorted <= count, "M3");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && i < leaf->sorted)
            CHECK(ascends(m, leaf->ref[i - 1], leaf->ref[i]), "M3");
        for (uint32_t j = 0; i >= leaf->sorted && j < i; j++)
            CHECK(leaf->ref[j] < leaf->ref[i], "M3");
    }
}

typedef struct totals {
    size_t entries;
    size_t deletes;
    size_t nodes;
} totals;

static void check_node(const memtable *m, const skiplist_node *node, totals *sum)
{
    skiplist_place place = skiplist_place_at(node);
    check_leaf_bytes(m, place.leaf);
    skiplist_item items[LEAF_CAPACITY];
    uint32_t count = skiplist_leaf_sort(m, place.leaf, items);
    for (uint32_t i = 0; i < count; i++) {
        check_item(m, items[i]);
        if (i > 0) {
            CHECK(ascends(m, items[i - 1].ref, items[i].ref), "M3");
            CHECK(items[i - 1].piece <= items[i].piece, "M8");
        }
        sum->deletes += entry_kind_is_tombstone(entry_kind(skiplist_entry(m, items[i].ref)));
    }
    if (node == m->head) {
        CHECK(count > 0 || !place.next, "M1");
    } else {
        CHECK(count > 0 && items[0].ref == node->ref && items[0].piece == node->piece, "M1");
    }
    if (place.next && count > 0)
        CHECK(ascends(m, items[count - 1].ref, place.next->ref), "M1");
    sum->entries += count;
    sum->nodes++;
}

/* Every level is ascending, ends, and is a part of the level below it. */
static void check_towers(const memtable *m, size_t nodes)
{
    unsigned height = atomic_load_explicit(&m->height, memory_order_relaxed);
    CHECK(height >= 1 && height <= TOWER_MAX, "M2");
    for (unsigned level = 0; level < TOWER_MAX; level++) {
        const skiplist_node *below = m->head;
        const skiplist_node *before = NULL;
        size_t length = 1;
        for (const skiplist_node *node = skiplist_next(m->head, level); node;
             node = skiplist_next(node, level)) {
            CHECK(level < height, "M2");
            CHECK(++length <= nodes, "M2");
            if (before)
                CHECK(ascends(m, before->ref, node->ref), "M2");
            while (below && below != node)
                below = skiplist_next(below, level > 0 ? level - 1 : 0);
            CHECK(below == node, "M2");
            before = node;
        }
        CHECK(level > 0 || length == nodes, "M2");
    }
}

static bool contains(const skiplist_leaf *leaf, uint64_t ref)
{
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_acquire);
    bool found = false;
    for (uint32_t i = 0; i < count; i++)
        found = found || leaf->ref[i] == ref;
    return found;
}

/* The path leads to the entry added last (no other was approached behind it), and on each level it
 * is the last node that is not behind path[0]. */
static void check_finger(const memtable *m)
{
    const skiplist_node *bottom = m->path[0];
    CHECK(memtable_entries(m) == 0 || contains(skiplist_place_at(bottom).leaf, m->ref_last), "M9");
    for (unsigned level = 0; level < TOWER_MAX; level++) {
        const skiplist_node *node = m->path[level];
        const skiplist_node *next = skiplist_next(node, level);
        CHECK(node == m->head || node == bottom || ascends(m, node->ref, bottom->ref), "M9");
        CHECK(!next || bottom == m->head || ascends(m, bottom->ref, next->ref), "M9");
    }
}

static void check_arena(const memtable *m)
{
    size_t used = 0;
    bool ahead = false;
    for (const skiplist_chunk *c = m->arena.first; c; c = c->next) {
        CHECK(c->low <= c->high && c->high <= (const uint8_t *)c + c->size, "M6");
        CHECK(c->low >= (const uint8_t *)c + sizeof *c, "M6");
        CHECK(ahead || !c->lent, "M6");
        if (!ahead)
            used += (size_t)(c->window - (uint8_t *)(uintptr_t)c);
        ahead = ahead || c == m->arena.current;
        CHECK(c->next || c == m->arena.last, "M6");
    }
    CHECK(ahead, "M6");
    CHECK(memtable_memory(m) == used + sizeof *m, "M6");
}

void memtable_check(const memtable *m)
{
    totals sum = {0};
    for (const skiplist_node *node = m->head; node; node = skiplist_next(node, 0))
        check_node(m, node, &sum);
    CHECK(sum.entries == memtable_entries(m), "M5");
    CHECK(sum.deletes == memtable_deletes(m), "M5");
    check_towers(m, sum.nodes);
    check_finger(m);
    check_arena(m);
}
