/* memtable: a sorted index over entries that lie in memory somewhere else (in the mapped log).
 *
 * One writer adds, any number of threads read without locks at the same time. An entry is named by
 * its 32-bit offset from `log_base`, where an encoded entry (base/entry.h) starts; its key is never
 * copied. Order: key ascending, sequence number descending. Structure, invariants and proofs:
 * memtable/README.md.
 *
 * The log may be a file that another process writes into. What an entry says of its lengths is
 * compared at each use with log_bytes: a changed log gives wrong answers, or FIRN_DAMAGED, but no
 * slice reaches out of it.
 *
 * Lifetime: everything that a read returns points into the log's bytes and stays valid as long as
 * they do. The caller keeps both alive while there are readers.
 */
#ifndef MEMTABLE_MEMTABLE_H
#define MEMTABLE_MEMTABLE_H

#include <base/budget.h>
#include <base/iter.h>
#include <firn/types.h>

typedef struct memtable memtable;

/* ---- Memory that memtables leave for those that come behind them ----
 *
 * The thread that touches a page first waits until the kernel has zeroed it: 0.1 to 5 ms where it
 * is a huge page. Any number of memtables share a pool, and end before it. Any thread. */
typedef struct memtable_pool memtable_pool;

/* Keeps `most` bytes at most, and gives them back when an allocation fails (heap_relief). What it
 * keeps, or has lent for what was reserved and not begun, is charged as BUDGET_INDEX.
 * FIRN_NO_MEMORY. */
int memtable_pool_new(memory_budget *budget, uint64_t most, memtable_pool **out);
void memtable_pool_free(memtable_pool *p);      /* NULL is allowed */
uint64_t memtable_pool_bytes(memtable_pool *p); /* charged */
/* In the background: makes as many chunks of the largest size as `bytes` have room for, counting
 * those that are there, or as the pool may keep. Their pages are there then. */
void memtable_pool_fill(memtable_pool *p, uint64_t bytes);
/* Gives all that it keeps back to the kernel. */
void memtable_pool_clear(memtable_pool *p);

/* ---- Memtables ---- */
#define MEMTABLE_PREFIX_MAX 64

typedef struct memtable_options {
    const uint8_t *log_base; /* offsets count from here; at most 4 GiB are reachable */
    /* readable from there on: nothing behind them is looked at. 0: as many as entries say */
    uint64_t log_bytes;
    uint64_t seq_base; /* sequence numbers lie in [seq_base, seq_base + 2^32) */
    /* What keys are expected to begin with (memtable_common_prefix of the last one), so that the
     * 8-byte pieces start behind it. Only speed depends on it. At most MEMTABLE_PREFIX_MAX bytes
     * are used. */
    firn_slice prefix;
    memtable_pool *pool; /* where memory comes from and goes to; NULL: the kernel alone */
} memtable_options;

typedef struct memtable_hit {
    uint64_t seq;
    firn_slice value;
    /* firn_kind; 0: the log's bytes are not any more what was added, and value is empty */
    uint8_t kind;
} memtable_hit;

/* FIRN_NO_MEMORY. */
int memtable_new(const memtable_options *options, memtable **out);
void memtable_free(memtable *m); /* NULL is allowed; no reader may be left */

/* Makes sure that the next `entries` calls of memtable_add cannot fail. Writer only.
 * FIRN_NO_MEMORY. */
int memtable_reserve(memtable *m, size_t entries);

/* Adds the entry at log_base + offset. Writer only. Numbers and offsets ascend from call to call.
 * Covered by a reservation, so it cannot fail. Readers that start after it returns see the
 * entry. */
void memtable_add(memtable *m, uint32_t offset, uint64_t seq);

/* Brings near where an add of `key` will go, so that little of its way is waited for when it comes,
 * behind something else that the caller does first: memtable_approach looks for the place, and
 * memtable_arrive, a little later, asks for what the add will change there. Only speed depends on
 * them: anything else may be added instead. Writer only. */
void memtable_approach(memtable *m, firn_slice key);
void memtable_arrive(memtable *m);

/* The newest version of `key` with a number <= seq_max. False when there is none. Any thread. */
bool memtable_get(const memtable *m, firn_slice key, uint64_t seq_max, memtable_hit *out);

/* Describes a hit of kind 0; FIRN_DAMAGED. */
int memtable_changed(firn_error *err);

/* An iterator over all versions (base/iter.h). It sees at least every entry whose add returned
 * before the iterator was last positioned from outside (first, last, seek, seek_before); entries
 * added later may or may not appear, always in order. Ends with FIRN_DAMAGED where the log has
 * changed. FIRN_NO_MEMORY. */
int memtable_iter_new(const memtable *m, iter **out);

/* Bytes of the index that have been begun. Any thread. */
size_t memtable_memory(const memtable *m);
size_t memtable_entries(const memtable *m); /* any thread */
size_t memtable_deletes(const memtable *m); /* tombstones, range deletes among them; any thread */

/* How many entries have keys in [lower, upper): exactly, unless some are added meanwhile, or there
 * are `most` or more: then at least as many. NULL data: no bound. Takes a step for each leaf that
 * it counts. Any thread. */
uint64_t memtable_between(const memtable *m, firn_slice lower, firn_slice upper, uint64_t most);

/* Has a key in [lower, upper) been put at a number above `seq`? Sees at least the adds that
 * returned before. Takes a step for each leaf between them. Any thread. */
bool memtable_puts_behind(const memtable *m, firn_slice lower, firn_slice upper, uint64_t seq);

/* The smallest and the largest key; false when there are no entries. They point into the log's
 * bytes. Any thread. */
bool memtable_bounds(const memtable *m, firn_slice *key_min, firn_slice *key_max);

/* The prefix that all keys share, for the next memtable's options. Points into the log's bytes.
 * Empty when there are no entries. Writer, or after writing has ended. */
firn_slice memtable_common_prefix(const memtable *m);

/* For tests: walks everything and verifies the invariants; aborts with a message when one is
 * broken. No thread may be writing. */
void memtable_check(const memtable *m);

#endif
