/* part: the filter or the index of a table, in memory while it is used or there is room.
 *
 * A reader finds its part through a pointer in the sst_reader (its *home*), without a lock. Parts
 * that are published there stand on one clock's ring for all tables of the store, and are charged.
 * When they exceed their room, those that no reader used lately lose their home, and the next use
 * loads them again. A part for which there is no room at all stands apart: those who pin it share
 * it, and it goes with the last of them.
 *
 * Two ways of using one:
 *   - pinned (sst_part_pin): by a reference, taken under the lock. Iterators, and what takes long.
 *   - in passing (sst_part_at): without a reference, for a get. The caller is inside a section
 *     whose end the cache can wait for (sst_grace); what lost its home is freed only when all
 *     callers that were inside have left. A cache without a grace has no such callers: there a get
 *     pins, too.
 *
 * Invariants
 *   P1  A part that has a home is on the ring, and the other way round; `bytes` is the sum of their
 *       charges.
 *   P2  A part is freed when it has no home, no reference, and no reader in a section can have seen
 *       its home.
 *   P3  Of the parts with a reference, at most one is for the same home, published or apart.
 *   P4  Every part was checked, checksum and structure, when it was loaded.
 */
#ifndef SSTABLE_PART_H
#define SSTABLE_PART_H

#include "filter.h"
#include "index.h"

#include <base/budget.h>
#include <base/thread.h>
#include <sstable/sstable.h>

/* Of the sst_parts that a part belongs to. */
MUTEX_KIND(parts_mu);

/* Fields without a guard are set before the part is published, and never change then. */
typedef struct sst_part sst_part;
struct sst_part {
    sst_filter filter; /* one of the two */
    sst_index index;
    _Atomic bool touched; /* relaxed: set by uses, cleared by the clock */
    uint8_t *bytes;       /* the block as it is in the file, with its trailer */
    size_t room;          /* of pages; 0: from the heap */
    uint64_t charge;
    budget_kind kind;                                /* BUDGET_FILTERS or BUDGET_INDEXES */
    uint32_t refs GUARDED_BY(parts_mu);              /* pins, not the home */
    _Atomic(sst_part *) *home GUARDED_BY(parts_mu);  /* NULL: none (any more) */
    _Atomic(sst_part *) *meant GUARDED_BY(parts_mu); /* apart: the home that had no room for it */
    /* The ring, or the list of those apart. A part that was taken off the ring: `next` of the
     * thread that will free it. */
    sst_part *next GUARDED_BY(parts_mu), *prev GUARDED_BY(parts_mu);
};

/* All of a store's. */
typedef struct sst_parts {
    MUTEX_MEMBER(parts_mu);
    memory_budget *budget;
    sst_part *hand GUARDED_BY(parts_mu);  /* somewhere on the ring */
    uint64_t count GUARDED_BY(parts_mu);  /* on the ring */
    uint64_t bytes GUARDED_BY(parts_mu);  /* P1 */
    sst_part *apart GUARDED_BY(parts_mu); /* each has a reference */
    sst_grace grace;
    _Atomic bool excess;                        /* more than their room: sst_cache_trim is due */
    _Atomic bool trimming;                      /* a thread is at it */
    _Atomic uint64_t filter_loads, index_loads; /* relaxed: for figures */
} sst_parts;

void sst_parts_init(sst_parts *p, memory_budget *b);
void sst_parts_release(sst_parts *p);

/* Gives the part back that *home leads to; no reader uses it any more. */
void sst_part_leave(sst_parts *p, _Atomic(sst_part *) *home);
/* The part that *home leads to, with a reference; NULL: it is not there. */
sst_part *sst_part_pin(sst_parts *p, _Atomic(sst_part *) *home);
/* A part that was just loaded, with the caller's reference in refs: gets its home where there is
 * room. Returns the one to use, with a reference: another thread may have been first. */
sst_part *sst_part_publish(sst_parts *p, _Atomic(sst_part *) *home, sst_part *part);
void sst_part_unpin(sst_parts *p, sst_part *part);
/* A part that no other thread has seen. */
void sst_part_free(memory_budget *b, sst_part *part);
/* Takes parts that were not used lately out of their homes, waits until no reader can be using
 * them, and frees them. Not inside a section. One caller at a time; another one's call does
 * nothing. */
void sst_parts_trim(sst_parts *p);
/* What all of them may take. */
uint64_t sst_parts_room(const sst_parts *p);

static inline void sst_part_touch(sst_part *part)
{
    if (!atomic_load_explicit(&part->touched, memory_order_relaxed))
        atomic_store_explicit(&part->touched, true, memory_order_relaxed);
}

#endif
