/* skiplist_arena: memory for leaves and nodes, in chunks that live as long as the memtable (M6).
 *
 * Chunks double from 16 KiB, so that a small memtable is cheap, to 4 MiB, so that a large one lies
 * on huge pages. A chunk ahead of `current` is address space only: its pages come with the first
 * touch. Writer only, but for used_bytes.
 *
 * Why a reservation holds: a chunk with r free bytes serves floor(r / ARENA_SPLIT_BYTES) whole
 * splits, and a split that begins in one chunk and ends in the next takes no more from the next
 * than a whole one would. So the sum of the floors is a lower bound of the splits that all chunks
 * can serve.
 */
#include "skiplist.h"

#include <assert.h>
#include <base/alloc.h>

#define CHUNK_BYTES_FIRST ((size_t)16 << 10)
#define CHUNK_BYTES_USUAL ((size_t)4 << 20)
#define CHUNK_BYTES_MAX   ((size_t)64 << 20) /* for a reservation far above the usual */

static_assert(sizeof(skiplist_leaf) == 1024, "a leaf is sixteen cache lines");
static_assert(sizeof(skiplist_chunk) % CACHE_LINE == 0, "leaves start on a cache line");

static size_t chunk_splits(const skiplist_chunk *c)
{
    return (size_t)(c->high - c->low) / ARENA_SPLIT_BYTES;
}

static int chunk_add(skiplist_arena *a, size_t splits)
{
    size_t size = a->size_next ? a->size_next : CHUNK_BYTES_FIRST;
    while (size < CHUNK_BYTES_MAX && (size - sizeof(skiplist_chunk)) / ARENA_SPLIT_BYTES < splits)
        size *= 2;
    skiplist_chunk *c = mem_pages(size);
    if (!c)
        return FIRN_NO_MEMORY;
    *c = (skiplist_chunk){
        .size = size, .low = (uint8_t *)c + sizeof(skiplist_chunk), .high = (uint8_t *)c + size};
    if (a->last)
        a->last->next = c;
    else
        a->first = c;
    a->last = c;
    a->size_next = size * 2 < CHUNK_BYTES_USUAL ? size * 2 : CHUNK_BYTES_USUAL;
    return FIRN_OK;
}

static void chunk_begin(skiplist_arena *a, skiplist_chunk *c)
{
    a->current = c;
    /* relaxed: a statistic, with one writer. */
    size_t used = atomic_load_explicit(&a->used_bytes, memory_order_relaxed);
    atomic_store_explicit(&a->used_bytes, used + c->size, memory_order_relaxed);
}

static void chunks_free(skiplist_chunk *c)
{
    while (c) {
        skiplist_chunk *next = c->next;
        mem_pages_free(c, c->size);
        c = next;
    }
}

int skiplist_arena_reserve(skiplist_arena *a, size_t splits)
{
    size_t have = 0;
    for (const skiplist_chunk *c = a->current; c; c = c->next) {
        have += chunk_splits(c);
        if (have >= splits)
            return FIRN_OK;
    }
    skiplist_chunk *last = a->last;
    size_t size_next = a->size_next;
    while (have < splits) {
        int rc = chunk_add(a, splits - have);
        if (rc != FIRN_OK) {
            chunks_free(last ? last->next : a->first);
            if (last)
                last->next = NULL;
            else
                a->first = NULL;
            a->last = last;
            a->size_next = size_next;
            return rc;
        }
        have += chunk_splits(a->last);
    }
    if (!a->current)
        chunk_begin(a, a->first);
    return FIRN_OK;
}

void skiplist_arena_release(skiplist_arena *a)
{
    chunks_free(a->first);
    *a = (skiplist_arena){0};
}

/* The chunk with room for `size` bytes: the current one, or the next, which becomes current. */
static skiplist_chunk *chunk_with(skiplist_arena *a, size_t size)
{
    skiplist_chunk *c = a->current;
    if ((size_t)(c->high - c->low) < size) {
        c = c->next;
        assert(c && "an add without a reservation");
        chunk_begin(a, c);
    }
    return c;
}

skiplist_leaf *skiplist_arena_leaf(skiplist_arena *a)
{
    skiplist_chunk *c = chunk_with(a, sizeof(skiplist_leaf));
    void *leaf = c->low;
    c->low += sizeof(skiplist_leaf);
    return leaf;
}

skiplist_node *skiplist_arena_node(skiplist_arena *a, unsigned height)
{
    size_t size = sizeof(skiplist_node) + height * sizeof(skiplist_node *);
    skiplist_chunk *c = chunk_with(a, size);
    c->high -= size;
    return (skiplist_node *)(void *)c->high;
}
