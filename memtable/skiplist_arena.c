/* skiplist_arena: memory for leaves and nodes, in chunks that live as long as the memtable (M6).
 *
 * Chunks double from 4 KiB, so that memtables of many small buckets are cheap, to 4 MiB, so that a
 * large one lies on huge pages. A reservation for more, of a large batch, is one chunk as large as
 * that takes, filled a window of 4 MiB at a time. A chunk ahead of `current`, or what is behind the
 * window, is address space only: its pages come with the first touch, unless it is from the pool.
 * Writer only, but for used_bytes.
 *
 * Why a reservation holds: a window with r free bytes serves floor(r / ARENA_SPLIT_BYTES) whole
 * splits, and a split that begins in one window and ends in the next takes no more from the next
 * than a whole one would. So the sum of the floors is a lower bound of the splits that all windows
 * can serve. */
#include "skiplist.h"

#include <assert.h>
#include <base/alloc.h>

#define CHUNK_BYTES_FIRST ((size_t)4 << 10)
#define WINDOW_BYTES      ((size_t)1 << ARENA_CHUNK_SHIFT_MOST)

static_assert(sizeof(skiplist_leaf) == 1024, "a leaf is sixteen cache lines");
static_assert(sizeof(skiplist_chunk) % CACHE_LINE == 0, "leaves start on a cache line");
static_assert(WINDOW_BYTES % CACHE_LINE == 0, "in each window");

static uint8_t *chunk_end(const skiplist_chunk *c)
{
    return (uint8_t *)(uintptr_t)c + c->size;
}

size_t skiplist_chunk_splits(const skiplist_chunk *c)
{
    size_t behind = (size_t)(chunk_end(c) - c->window);
    return (size_t)(c->high - c->low) / ARENA_SPLIT_BYTES +
           behind / WINDOW_BYTES * (WINDOW_BYTES / ARENA_SPLIT_BYTES) +
           behind % WINDOW_BYTES / ARENA_SPLIT_BYTES;
}

/* Of the next chunk: as large as `splits` splits take, but no smaller than its turn. SIZE_MAX: too
 * large. */
static size_t chunk_size(const skiplist_arena *a, size_t splits)
{
    size_t size = a->size_next ? a->size_next : CHUNK_BYTES_FIRST;
    while (size < WINDOW_BYTES && (size - sizeof(skiplist_chunk)) / ARENA_SPLIT_BYTES < splits)
        size *= 2;
    if ((size - sizeof(skiplist_chunk)) / ARENA_SPLIT_BYTES >= splits)
        return size;
    /* The first one begins with the header. */
    size_t windows = splits / (WINDOW_BYTES / ARENA_SPLIT_BYTES) + 2;
    return windows <= SIZE_MAX / WINDOW_BYTES ? windows * WINDOW_BYTES : SIZE_MAX;
}

static void count_used(skiplist_arena *a, size_t bytes)
{
    /* relaxed: a statistic, with one writer. */
    size_t used = atomic_load_explicit(&a->used_bytes, memory_order_relaxed);
    atomic_store_explicit(&a->used_bytes, used + bytes, memory_order_relaxed);
}

/* May chunks of that size come from the pool and go there? */
static bool may_pool(const skiplist_arena *a, size_t size)
{
    return a->pool && size <= WINDOW_BYTES;
}

static int chunk_add(skiplist_arena *a, size_t splits)
{
    size_t size = chunk_size(a, splits);
    skiplist_chunk *lent = may_pool(a, size) ? memtable_pool_lend(a->pool, size) : NULL;
    skiplist_chunk *c = lent ? lent : size < SIZE_MAX ? pages_alloc(size) : NULL;
    if (!c)
        return FIRN_NO_MEMORY;
    uint8_t *start = (uint8_t *)c, *window = start + (size < WINDOW_BYTES ? size : WINDOW_BYTES);
    *c = (skiplist_chunk){.size = size,
                          .low = start + sizeof(skiplist_chunk),
                          .high = window,
                          .window = window,
                          .lent = lent != NULL};
    if (a->last)
        a->last->next = c;
    else
        a->first = c;
    a->last = c;
    a->size_next = size * 2 < WINDOW_BYTES ? size * 2 : WINDOW_BYTES;
    return FIRN_OK;
}

static void chunk_begin(skiplist_arena *a, skiplist_chunk *c)
{
    if (c->lent)
        memtable_pool_begin(a->pool, c);
    a->current = c;
    count_used(a, (size_t)(c->window - (uint8_t *)c));
}

static void window_begin(skiplist_arena *a, skiplist_chunk *c)
{
    size_t left = (size_t)(chunk_end(c) - c->window);
    size_t size = left < WINDOW_BYTES ? left : WINDOW_BYTES;
    c->low = c->window;
    c->high = c->window = c->window + size;
    count_used(a, size);
}

int skiplist_arena_reserve(skiplist_arena *a, size_t splits)
{
    size_t have = 0;
    for (const skiplist_chunk *c = a->current; c; c = c->next) {
        have += skiplist_chunk_splits(c);
        if (have >= splits)
            return FIRN_OK;
    }
    int rc = chunk_add(a, splits - have);
    if (rc != FIRN_OK)
        return rc;
    if (!a->current)
        chunk_begin(a, a->first);
    return FIRN_OK;
}

void skiplist_arena_release(skiplist_arena *a)
{
    bool begun = true;
    for (skiplist_chunk *next, *c = a->first; c; c = next) {
        next = c->next;
        bool last = c == a->current;
        bool pooled =
            (c->lent || (begun && may_pool(a, c->size))) && memtable_pool_give(a->pool, c);
        if (!pooled)
            pages_free(c, c->size);
        begun = begun && !last;
    }
    *a = (skiplist_arena){0};
}

/* The chunk whose window has room for `size` bytes: the current one, or the next, which becomes
 * current. */
static skiplist_chunk *chunk_with(skiplist_arena *a, size_t size)
{
    skiplist_chunk *c = a->current;
    if ((size_t)(c->high - c->low) < size && c->window < chunk_end(c)) {
        window_begin(a, c);
    } else if ((size_t)(c->high - c->low) < size) {
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
