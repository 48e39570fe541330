/* cache: unpacked blocks, shared by all tables of a store.
 *
 * 16 shards, each a hash table and a clock under its own mutex. An entry is found under the mutex
 * and pinned by a reference; the table's own membership is one reference too. Eviction takes
 * membership away; the memory goes when the last pin does.
 *
 * Invariants
 *   C1  bytes of members of a shard <= its share of the capacity; every byte of an entry is
 *       charged, its header too. used_bytes counts members and what is only pinned.
 *   C2  an entry's bytes never change once it is a member or has been handed out.
 *   C3  an entry larger than a quarter of a shard's share never becomes a member: one huge value
 *       does not sweep a shard.
 * Locks: a shard's mutex is a leaf; nothing is called while it is held but the heap.
 */
#ifndef SSTABLE_CACHE_H
#define SSTABLE_CACHE_H

#include <base/thread.h>
#include <sstable/sstable.h>

typedef struct sst_cached {
    sst_cache *cache;
    struct sst_cached *chain;                   /* shard mutex */
    struct sst_cached *clock_next, *clock_prev; /* shard mutex */
    uint64_t owner;
    uint64_t charge;
    uint32_t block;
    uint32_t size; /* of the block; data has SST_TRAILER_BYTES more */
    _Atomic uint32_t refs;
    bool touched; /* shard mutex */
    uint8_t data[];
} sst_cached;

/* A number for a reader, never used again: no closed reader's block is taken for another's. */
uint64_t sst_cache_owner(sst_cache *c);
/* Pinned, or NULL. Counts a hit or a miss. */
sst_cached *sst_cache_find(sst_cache *c, uint64_t owner, uint32_t block);
/* A pinned entry that only the caller knows, to be filled and then inserted or unpinned. */
sst_cached *sst_cache_reserve(sst_cache *c, uint64_t owner, uint32_t block, uint32_t size);
/* Makes the entry a member where C1 and C3 allow. Takes over the caller's pin and returns the entry
 * to use instead, pinned: another thread may have been first. */
sst_cached *sst_cache_insert(sst_cached *e);
void sst_cache_unpin(sst_cached *e);
/* Drops the members of an owner that is going away. */
void sst_cache_forget(sst_cache *c, uint64_t owner, uint32_t blocks);

#endif
