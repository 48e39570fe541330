/* memtable_pool: chunks that ended memtables leave for those that come.
 *
 * The kernel zeroes a page when it is first touched, and a memtable's large chunks lie on huge
 * pages: then the writer that comes to one waits until 2 MiB are zeroed, a tenth of a millisecond,
 * and 5 ms on a virtual machine whose host has to find them first. A chunk from the pool has been
 * touched before.
 *
 * Chunks are kept by their size, a power of two. What the pool keeps is charged, as what a
 * memtable holds is; over `most`, a chunk goes back to the kernel.
 */
#include "skiplist.h"

#include <base/alloc.h>
#include <base/thread.h>

#define SIZES (ARENA_CHUNK_SHIFT_MOST + 1)

struct memtable_pool {
    MUTEX(pool_mu);
    skiplist_chunk *kept[SIZES] GUARDED_BY(pool_mu); /* by the logarithm of their size */
    uint64_t bytes GUARDED_BY(pool_mu);
    uint64_t most;
    memory_budget *budget;
};

int memtable_pool_new(memory_budget *budget, uint64_t most, memtable_pool **out)
{
    memtable_pool *p = heap_zalloc(sizeof *p);
    if (!p)
        return FIRN_NO_MEMORY;
    mutex_init(&p->pool_mu);
    p->budget = budget;
    p->most = most;
    *out = p;
    return FIRN_OK;
}

static unsigned shift_of(size_t size)
{
    return (unsigned)__builtin_ctzl(size);
}

skiplist_chunk *memtable_pool_take(memtable_pool *p, size_t size)
{
    mutex_lock(&p->pool_mu);
    skiplist_chunk **first = &p->kept[shift_of(size)], *c = *first;
    if (c) {
        *first = c->next;
        p->bytes -= size;
        budget_release(p->budget, BUDGET_INDEX, size);
    }
    mutex_unlock(&p->pool_mu);
    return c;
}

bool memtable_pool_give(memtable_pool *p, skiplist_chunk *c)
{
    mutex_lock(&p->pool_mu);
    bool takes = c->size <= p->most && p->bytes <= p->most - c->size;
    if (takes) {
        skiplist_chunk **first = &p->kept[shift_of(c->size)];
        c->next = *first;
        *first = c;
        p->bytes += c->size;
        budget_charge(p->budget, BUDGET_INDEX, c->size);
    }
    mutex_unlock(&p->pool_mu);
    return takes;
}

uint64_t memtable_pool_bytes(memtable_pool *p)
{
    mutex_lock(&p->pool_mu);
    uint64_t bytes = p->bytes;
    mutex_unlock(&p->pool_mu);
    return bytes;
}

void memtable_pool_clear(memtable_pool *p)
{
    for (unsigned shift = 0; shift < SIZES; shift++)
        for (skiplist_chunk *c; (c = memtable_pool_take(p, (size_t)1 << shift));)
            pages_free(c, c->size);
}

void memtable_pool_free(memtable_pool *p)
{
    if (!p)
        return;
    memtable_pool_clear(p);
    mutex_release(&p->pool_mu);
    heap_free(p);
}
