/* budget: one number for all the memory of a store. Each holder charges what it takes and releases
 * what it gives back, under its kind.
 *
 * B1  At every quiet moment the sum of the charges is what is held, to the byte: the log bytes that
 *     memtables point at and their index, the slabs and pages of the block cache, filters and
 *     indexes of tables, open tables, and what background work and long scans work with.
 *
 * Giving back: a memtable is flushed when it reaches its share. The cache has what is left
 * (budget_left), and evicts blocks, filters and indexes when that shrinks. Open tables and work in
 * progress give nothing back before they end. A read that must hold more than `most` in all is
 * refused.
 *
 * A charge is a relaxed addition: it orders nothing. What the log of memtables grows by has a
 * counter of its own, which only the leader of the log's queue changes: a locked addition for each
 * write would wait until all that the write has stored has left the core.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdatomic.h>
#include <stdint.h>

typedef enum budget_kind {
    BUDGET_LOG,     /* of memtables: the log up to their newest entry */
    BUDGET_INDEX,   /* of memtables: their index */
    BUDGET_BLOCKS,  /* unpacked blocks, in the cache or held by a reader */
    BUDGET_FILTERS, /* of tables, as the next ones: the two parts that come and go */
    BUDGET_INDEXES,
    BUDGET_TABLES, /* open tables, but for those */
    /* buffers of scans, flushes and merges; blocks that a merge has in hand; what walks have
     * learned of dead keys */
    BUDGET_SCRATCH,
    BUDGET_KINDS
} budget_kind;

typedef struct memory_budget {
    uint64_t limit;
    uint64_t share; /* of the limit: kept for memtables, whether they fill it or not */
    uint64_t most;  /* what a read may not exceed. UINT64_MAX: no bound */
    _Atomic uint64_t held[BUDGET_KINDS];  /* BUDGET_LOG: without `grown` */
    uint8_t apart[64 - sizeof(uint64_t)]; /* readers charge beside it */
    _Atomic uint64_t grown;               /* BUDGET_LOG: all that was ever charged */
} memory_budget;

static inline void budget_charge(memory_budget *b, budget_kind kind, uint64_t bytes)
{
    atomic_fetch_add_explicit(&b->held[kind], bytes, memory_order_relaxed);
}

static inline void budget_release(memory_budget *b, budget_kind kind, uint64_t bytes)
{
    /* Release: see budget_held. */
    atomic_fetch_sub_explicit(&b->held[kind], bytes, memory_order_release);
}

static inline uint64_t budget_held(const memory_budget *b, budget_kind kind)
{
    /* A thread that sees that something was given back sees that it was taken. */
    uint64_t held = atomic_load_explicit(&b->held[kind], memory_order_acquire);
    return kind == BUDGET_LOG ? held + atomic_load_explicit(&b->grown, memory_order_relaxed) : held;
}

/* Filters and indexes, which share their room. */
static inline uint64_t budget_parts(const memory_budget *b)
{
    return budget_held(b, BUDGET_FILTERS) + budget_held(b, BUDGET_INDEXES);
}

static inline uint64_t budget_total(const memory_budget *b)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < BUDGET_KINDS; kind++)
        sum += budget_held(b, (budget_kind)kind);
    return sum;
}

/* A holder's charge becomes `now`; *charged is what it was. */
static inline void budget_adjust(memory_budget *b, budget_kind kind, uint64_t *charged,
                                 uint64_t now)
{
    /* Modulo 2^64: less is a large addition. */
    budget_charge(b, kind, now - *charged);
    *charged = now;
}

/* The log of a memtable reaches `now`. One thread at a time; budget_release ends the charge. */
static inline void budget_grow_log(memory_budget *b, uint64_t *charged, uint64_t now)
{
    uint64_t grown = atomic_load_explicit(&b->grown, memory_order_relaxed);
    atomic_store_explicit(&b->grown, grown + (now - *charged), memory_order_relaxed);
    *charged = now;
}

/* What the others leave of the limit for blocks, filters and indexes; at least a fourth of what the
 * memtables' share leaves, since a store without any would read all things anew for each call. */
static inline uint64_t budget_left(const memory_budget *b)
{
    uint64_t mems = budget_held(b, BUDGET_LOG) + budget_held(b, BUDGET_INDEX);
    uint64_t taken = budget_held(b, BUDGET_TABLES) + budget_held(b, BUDGET_SCRATCH);
    uint64_t least = (b->limit - b->share) / 4;
    taken += mems > b->share ? mems : b->share;
    return taken < b->limit && b->limit - taken > least ? b->limit - taken : least;
}

#endif
