/* memtable_pool: chunks that ended memtables leave for those that come.
 *
 * The kernel zeroes a page when it is first touched, and a memtable's large chunks lie on huge
 * pages: then the writer that comes to one waits until 2 MiB are zeroed, a tenth of a millisecond,
 * and 5 ms on a virtual machine whose host has to find them first. A chunk that a memtable has
 * begun goes into the pool, and has been touched before when it is lent to the next one.
 *
 * Not every memtable leaves its chunks in time for the next one. So before a memtable is flushed,
 * as much as it has is made ready for the next one by the thread that flushes it
 * (memtable_pool_fill).
 *
 * Chunks are kept by their size, a power of two. The pool is charged for what it keeps and for what
 * it has lent, until that is begun: so a memtable's reservation changes no charge. Over `most`, and
 * when an allocation of the process fails, chunks go back to the kernel.
 *
 * Locks: pool_mu, under which no other is taken. Pages are given back outside of it, but where an
 * allocation has failed. */
#include "skiplist.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/thread.h>

#define SIZES      (ARENA_CHUNK_SHIFT_MOST + 1)
#define LARGEST    ((size_t)1 << ARENA_CHUNK_SHIFT_MOST)
#define PAGE_BYTES 4096 /* no page is smaller */

struct memtable_pool {
    MUTEX(pool_mu);
    skiplist_chunk *kept[SIZES] GUARDED_BY(pool_mu); /* by the logarithm of their size */
    uint64_t bytes GUARDED_BY(pool_mu);              /* charged */
    uint64_t most;
    memory_budget *budget;
    heap_relief relief;
};

static skiplist_chunk **list_of(memtable_pool *p, size_t size) REQUIRES(p->pool_mu)
{
    unsigned shift = (unsigned)__builtin_ctzl(size);
    assert(size == (size_t)1 << shift && shift < SIZES);
    return &p->kept[shift];
}

static skiplist_chunk *pop(memtable_pool *p, size_t size) REQUIRES(p->pool_mu)
{
    skiplist_chunk **first = list_of(p, size), *c = *first;
    if (c)
        *first = c->next;
    return c;
}

static void release(memtable_pool *p, size_t size) REQUIRES(p->pool_mu)
{
    p->bytes -= size;
    budget_release(p->budget, BUDGET_INDEX, size);
}

static skiplist_chunk *take_any(memtable_pool *p) REQUIRES(p->pool_mu)
{
    skiplist_chunk *c = NULL;
    for (unsigned shift = 0; !c && shift < SIZES; shift++)
        c = pop(p, (size_t)1 << shift);
    if (c)
        release(p, c->size);
    return c;
}

/* In the middle of an allocation: see heap_relief. */
static void relieve(void *ctx)
{
    memtable_pool *p = ctx;
    if (!mutex_try(&p->pool_mu))
        return;
    for (skiplist_chunk *c; (c = take_any(p));)
        pages_free(c, c->size);
    mutex_unlock(&p->pool_mu);
}

int memtable_pool_new(memory_budget *budget, uint64_t most, memtable_pool **out)
{
    memtable_pool *p = heap_zalloc(sizeof *p);
    if (!p)
        return FIRN_NO_MEMORY;
    mutex_init(&p->pool_mu);
    p->budget = budget;
    p->most = most;
    p->relief = (heap_relief){.give = relieve, .ctx = p};
    heap_relief_add(&p->relief);
    *out = p;
    return FIRN_OK;
}

skiplist_chunk *memtable_pool_lend(memtable_pool *p, size_t size)
{
    mutex_lock(&p->pool_mu);
    skiplist_chunk *c = pop(p, size);
    mutex_unlock(&p->pool_mu);
    return c;
}

void memtable_pool_begin(memtable_pool *p, skiplist_chunk *c)
{
    mutex_lock(&p->pool_mu);
    release(p, c->size);
    mutex_unlock(&p->pool_mu);
    c->lent = false;
}

bool memtable_pool_give(memtable_pool *p, skiplist_chunk *c)
{
    mutex_lock(&p->pool_mu);
    bool takes = c->lent || (c->size <= p->most && p->bytes <= p->most - c->size);
    if (takes && !c->lent) {
        p->bytes += c->size;
        budget_charge(p->budget, BUDGET_INDEX, c->size);
    }
    if (takes) {
        skiplist_chunk **first = list_of(p, c->size);
        c->next = *first;
        *first = c;
    }
    mutex_unlock(&p->pool_mu);
    return takes;
}

/* Does another large chunk belong to `bytes` of them, and is there room for it? */
static bool wants_more(memtable_pool *p, uint64_t bytes)
{
    mutex_lock(&p->pool_mu);
    uint64_t with = LARGEST;
    for (const skiplist_chunk *c = *list_of(p, LARGEST); c && with <= bytes; c = c->next)
        with += c->size;
    bool wants = with <= bytes && LARGEST <= p->most && p->bytes <= p->most - LARGEST;
    mutex_unlock(&p->pool_mu);
    return wants;
}

void memtable_pool_fill(memtable_pool *p, uint64_t bytes)
{
    while (wants_more(p, bytes)) {
        skiplist_chunk *c = pages_alloc(LARGEST);
        if (!c)
            return;
        for (size_t at = 0; at < LARGEST; at += PAGE_BYTES)
            *(volatile uint8_t *)((uint8_t *)c + at) = 0;
        *c = (skiplist_chunk){.size = LARGEST};
        if (!memtable_pool_give(p, c)) {
            pages_free(c, LARGEST);
            return;
        }
    }
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
    skiplist_chunk *c;
    do {
        mutex_lock(&p->pool_mu);
        c = take_any(p);
        mutex_unlock(&p->pool_mu);
        if (c)
            pages_free(c, c->size);
    } while (c);
}

void memtable_pool_free(memtable_pool *p)
{
    if (!p)
        return;
    heap_relief_remove(&p->relief);
    memtable_pool_clear(p);
    mutex_release(&p->pool_mu);
    heap_free(p);
}
