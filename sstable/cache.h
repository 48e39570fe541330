/* cache: unpacked blocks, shared by all tables of a store.
 *
 * Shards, each a hash table, clocks and an arena (arena.h) under its own mutex; few for a small
 * cache, 16 for a large one. Each size of pieces has a clock: what comes replaces something of its
 * size. Every so often the size whose next victim was unused the longest gives up a whole slab
 * instead. An entry is found under the mutex and pinned by a reference. A *member* stays when the
 * last reader lets go of it: its membership is one reference too. A *guest* is too large to be a
 * member, or came when all was pinned: it is found like a member, so that readers share it, and
 * goes with its last pin.
 *
 * Invariants
 *   C1  What a shard has mapped is within its share of what the budget leaves, but for what is
 *       pinned or being filled.
 *   C2  an entry's bytes never change once it was inserted.
 *   C3  an entry larger than a quarter of a shard's share never becomes a member: one huge value
 *       does not sweep a shard.
 *   C4  A block that is inserted is found until its memory goes: readers share what one of them
 *       holds. (Small blocks that a scan past the cache unpacks are its own, and never inserted.
 *       So are all blocks of the store's own work.)
 *   C5  Of the readers that miss the same block at once, one reads it (sst_cache_begin) and the
 *       others wait for it.
 *   C6  A block of the store's own work (sst_cache_take_outside) is no part of the cache: it is
 *       charged as scratch, not as a block, so check_most neither refuses nor counts it.
 * Locks: a shard's mutex is a leaf; nothing is called while it is held but the heap and the
 * system's memory.
 */
#ifndef SSTABLE_CACHE_H
#define SSTABLE_CACHE_H

#include "arena.h"
#include "part.h"

#include <base/thread.h>
#include <sstable/sstable.h>

/* Of the shard that an entry lies in. */
MUTEX_KIND(shard_mu);

/* Fields without a guard are set before other threads can find the entry, and never change then. */
typedef struct sst_cached {
    sst_cache *cache;
    struct sst_cached *chain GUARDED_BY(shard_mu);
    struct sst_cached *clock_next GUARDED_BY(shard_mu);
    struct sst_cached *clock_prev GUARDED_BY(shard_mu);
    arena_slab *slab; /* NULL: pages of its own, or outside of the cache */
    uint64_t owner;
    uint64_t charge; /* what it takes of the arena, or of the memory outside of it */
    uint32_t block;
    uint32_t size;                         /* of the block; data has SST_TRAILER_BYTES more */
    uint32_t used_at GUARDED_BY(shard_mu); /* the shard's tick */
    _Atomic uint32_t refs;
    bool touched GUARDED_BY(shard_mu);
    bool member GUARDED_BY(shard_mu);
    bool guest;
    bool outside; /* C6 */
    uint8_t data[];
} sst_cached;

/* A block that a thread is reading from the file. Lies on its stack. */
typedef struct sst_load {
    struct sst_load *next GUARDED_BY(shard_mu);
    sst_cache *cache;
    uint64_t owner;
    uint32_t block;
} sst_load;

/* A number for a reader, never used again: no closed reader's block is taken for another's. */
uint64_t sst_cache_owner(sst_cache *c);
memory_budget *sst_cache_budget(sst_cache *c);
sst_parts *sst_cache_parts(sst_cache *c);
/* Pinned, or NULL. Counts a hit or a miss. */
sst_cached *sst_cache_find(sst_cache *c, uint64_t owner, uint32_t block);
/* Like find. NULL: the caller must read the block, and says with sst_cache_end when it
 * has been inserted or has failed. Waits while another thread is the one. */
sst_cached *sst_cache_begin(sst_cache *c, uint64_t owner, uint32_t block, sst_load *load);
void sst_cache_end(sst_load *load);
/* A pinned entry that only the caller knows, to be filled and then inserted or unpinned.
 * FIRN_NO_MEMORY, also when readers hold more than the budget's `most`. */
int sst_cache_reserve(sst_cache *c, uint64_t owner, uint32_t block, uint32_t size, sst_cached **out,
                      firn_error *err);
/* Likewise, for the store's own work, and outside of the cache (C6): to be filled and unpinned,
 * never inserted. FIRN_NO_MEMORY only when the system has none. */
int sst_cache_take_outside(sst_cache *c, uint32_t size, sst_cached **out, firn_error *err);
/* Bytes of such blocks. */
uint64_t sst_cache_outside(const sst_cache *c);
/* A scan that passes the cache by asks for room for its window, and gives it back. False: all of
 * them have an eighth of the memory already, or 512 KiB. They are charged by the scans. */
bool sst_cache_take_window(sst_cache *c, uint64_t bytes);
void sst_cache_give_window(sst_cache *c, uint64_t bytes);
/* Lets others find the entry: as a member where C1 and C3 allow and `stays`, else as a guest. Takes
 * over the caller's pin and returns the entry to use instead, pinned: another thread may have been
 * first. */
sst_cached *sst_cache_insert(sst_cached *e, bool stays);
void sst_cache_unpin(sst_cached *e);
/* Drops the members of an owner that is going away. */
void sst_cache_forget(sst_cache *c, uint64_t owner, uint32_t blocks);

/* Outside of the cache, a block has pages of its own from this size on. */
#define SST_OUTSIDE_PAGES_MIN ((size_t)64 << 10)

/* Does it have pages of its own? */
static inline bool sst_cached_is_large(const sst_cached *e)
{
    return e->outside ? e->charge >= SST_OUTSIDE_PAGES_MIN : !e->slab;
}

#endif
