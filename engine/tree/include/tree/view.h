/* view: everything a read looks at, in one immutable piece: the memtable that grows, those that
 * wait to be flushed, and the version of the tables.
 *
 * A mem is a memtable and the log segment that its entries lie in: the index and the bytes live and
 * die together. It covers the numbers [seq_first, seq_last] of that one segment; a segment has at
 * most one mem.
 *
 * Invariants
 *   E1  The active mem belongs to the segment that takes appends.
 *   E2  Frozen mems are ordered newest first; all their numbers are below the active one's.
 *   E3  Every acknowledged entry with a number > version's flushed number is in exactly one mem of
 *       the view.
 */
#ifndef ENGINE_VIEW_H
#define ENGINE_VIEW_H

#include <memtable/memtable.h>
#include <wal/wal.h>

#include <tree/version.h>

/* Of the store. */
MUTEX_KIND(state_mu);

typedef struct mem {
    atomic_uint refs;
    dead grave;
    cleaner *cleaner; /* ends it, and views in which it is the active one */
    memtable *table;
    wal_segment *segment; /* a reference */
    uint64_t seq_first;
    _Atomic uint64_t
        seq_last; /* the newest number it covers, once it is frozen; FIRN_MAX_SEQ before */
    memory_budget *budget;
    uint64_t
        log_end; /* of the newest entry, from the segment's base; changed by the leader that applies, like what follows */
    uint64_t log_bytes, index_bytes; /* charged */
    bool full; /* the same: it has reached its share, and that has been said */
} mem;

/* An empty mem over a segment, for numbers from seq_first to MEM_NUMBERS beyond it. FIRN_NO_MEMORY. */
int mem_new(cleaner *c, memory_budget *b, wal_segment *segment, uint64_t seq_first,
            firn_slice prefix, mem **out);
#define MEM_NUMBERS UINT32_MAX
void mem_ref(mem *m);
void mem_unref(mem *m); /* NULL is allowed */
/* Indexes the entries of a frame that lies in m's segment; room has been reserved. */
void mem_apply(mem *m, const wal_applied *frame);
/* Charges what was applied: once for a group, since each charge is a locked addition. */
void mem_charge(mem *m);
/* What the mem takes of the budget: the log up to its newest entry, and its index. */
static inline uint64_t mem_bytes(const mem *m)
{
    return m->log_bytes + m->index_bytes;
}

typedef struct view view;
struct view {
    atomic_uint refs;
    dead grave;
    view *next_retired GUARDED_BY(state_mu); /* in store.retired, once it is replaced */
    size_t frozen_room;                      /* how many mems fit into `frozen` */
    version *version;
    mem *active; /* NULL when the store is open for reading only and its log is empty */
    size_t frozen_count;
    mem *frozen[]; /* newest first */
};

/* A view is made in two steps, so that what must not fail needs no memory: room for it, and its parts. NULL: no memory. */
view *view_room(size_t frozen_room);
/* Takes new references to all parts. The room suffices. */
void view_fill(view *w, version *v, mem *active, mem *const *frozen, size_t frozen_count);
void view_room_free(view *w); /* not filled; NULL is allowed */
/* Both steps. FIRN_NO_MEMORY. */
int view_new(version *v, mem *active, mem *const *frozen, size_t frozen_count, view **out);
void view_ref(view *v);
void view_unref(view *v); /* NULL is allowed */

#endif
