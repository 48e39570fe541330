/* view: everything a read of one tree looks at, in one immutable piece: the memtable that grows,
 * those that wait to be flushed, and the version of the tables.
 *
 * A mem is a log segment and the index over its entries: a memtable for each bucket that has any
 * there, made when the first of them comes. Index and bytes live and die together. A mem covers the
 * numbers [seq_first, seq_last] of that one segment; a segment has at most one mem. All trees of a
 * store share the mems; each reads the part of its own bucket.
 *
 * Invariants
 *   E1  The active mem belongs to the segment that takes appends.
 *   E2  Frozen mems are ordered newest first; all their numbers are below the active one's.
 *   E3  Every acknowledged entry with a number > version's flushed number is in exactly one mem of
 *       the view.
 *   T1  A mem holds exactly its segment's entries of all buckets that are there.
 */
#ifndef ENGINE_VIEW_H
#define ENGINE_VIEW_H

#include <base/bucket.h>
#include <memtable/memtable.h>
#include <wal/wal.h>

#include <tree/gaps.h>
#include <tree/range_map.h>
#include <tree/version.h>

/* Of the store. */
MUTEX_KIND(state_mu);

typedef struct mem mem;

/* So many dead entries in one mem, which each walk over them passes one by one, are worth a flush,
 * which leaves them out. */
#define MEM_DOOMED_MOST 32768

/* What a mem holds of one bucket. Lives as long as the mem. */
typedef struct mem_part mem_part;
struct mem_part {
    mem *mem;
    memtable *table;
    mem_part *next;   /* of the mem's */
    range_map ranges; /* its range deletes, which are entries, too */
    uint16_t bucket;
    /* The leader's, which changes them with each add: away from what readers read. */
    _Alignas(64) size_t room; /* adds that have been reserved */
    size_t range_room;        /* of which range deletes */
    size_t charged;           /* bytes of it in the mem's index_bytes */
    mem_part *reserved;       /* the next one with room, or that has got some of late */
};

/* Buckets whose numbers are near to each other. */
#define MEM_NEAR 256
typedef struct mem_near {
    _Atomic(mem_part *) parts[MEM_NEAR];
} mem_near;

/* What all mems of a store share. */
typedef struct mem_env {
    cleaner *cleaner; /* ends them, and views in which they are the active ones */
    memory_budget *budget;
    memtable_pool *pool;
} mem_env;

struct mem {
    atomic_uint refs;
    dead grave;
    const mem_env *env;
    mem_part main;        /* of bucket 0: always there, and found without a further step */
    wal_segment *segment; /* a reference */
    uint64_t seq_first;
    /* the newest sequence number it covers, once it is frozen; FIRN_MAX_SEQ before */
    _Atomic uint64_t seq_last;
    /* of the newest entry, from the segment's base; changed by the leader that applies, like what
     * follows */
    uint64_t log_end;
    uint64_t log_bytes, index_bytes; /* charged */
    atomic_bool soon;                /* it is to be flushed before it is full */
    bool full;                 /* the same: it has reached its share, and that has been said */
    uint64_t doomed;           /* entries that range deletes have covered; the same */
    bool ranged;               /* the same: range deletes have been applied, and not published */
    _Atomic(mem_part *) parts; /* all; more come in front. Release */
    mem_part *reserved;        /* those that room was reserved in last */
    /* By bucket; NULL: nothing of it, or of those near to it, is here. Release */
    _Atomic(mem_near *) others[ENTRY_BUCKETS / MEM_NEAR];
};

/* An empty mem over a segment, for numbers from seq_first to MEM_NUMBERS beyond it. The keys of
 * bucket 0 probably begin with `prefix`. FIRN_NO_MEMORY. */
int mem_new(const mem_env *env, wal_segment *segment, uint64_t seq_first, firn_slice prefix,
            mem **out);
/* The part of a bucket; NULL: there is none. Any thread. */
static inline mem_part *mem_part_of(mem *m, unsigned bucket)
{
    if (bucket == 0)
        return &m->main;
    mem_near *near = atomic_load_explicit(&m->others[bucket / MEM_NEAR], memory_order_acquire);
    return near ? atomic_load_explicit(&near->parts[bucket % MEM_NEAR], memory_order_acquire)
                : NULL;
}
static inline mem_part *mem_first_part(const mem *m)
{
    return atomic_load_explicit(&m->parts, memory_order_acquire);
}
/* Makes the part of a bucket, whose keys probably begin with `prefix`. The leader.
 * FIRN_NO_MEMORY. */
int mem_add_part(mem *m, uint16_t bucket, firn_slice prefix);
/* Of all parts. Any thread. */
size_t mem_entries(const mem *m);
size_t mem_index_bytes(const mem *m);
bool mem_has_ranges(const mem *m);
#define MEM_NUMBERS UINT32_MAX
void mem_ref(mem *m);
void mem_unref(mem *m); /* NULL is allowed */
/* Room in the index for what is applied next. The leader, or opening: first this, which gives up
 * what was reserved and not used; then for each part how many entries come to it; then all of it
 * (FIRN_NO_MEMORY). */
void mem_reserve_begin(mem *m);
void mem_reserve_in(mem *m, mem_part *p, size_t entries, size_t ranges);
int mem_reserve(mem *m);
/* All three, for entries of bucket 0 of which none is a range delete. */
static inline int mem_reserve_main(mem *m, size_t entries)
{
    bool again = m->reserved == &m->main && !m->main.reserved; /* as the last time */
    if (!again) {
        mem_reserve_begin(m);
        mem_reserve_in(m, &m->main, entries, 0);
    }
    m->main.room = entries;
    return memtable_reserve(m->main.table, entries);
}
/* Indexes the entries of a frame that lies in m's segment, for which room has been reserved. Those
 * of a bucket without a part are left out: it has been dropped. */
void mem_apply(mem *m, const wal_applied *frame);
void mem_publish_ranges(mem *m, uint64_t seq);
/* The same frame's puts end what is known of dead keys around them. Behind mem_apply, and in front
 * of their becoming visible. */
void mem_cut_gaps(gaps *g, const wal_applied *frame);
/* What was applied may be read at `seq`, its last number, as soon as that is visible. In front of
 * that, and once for what was reserved together. */
static inline void mem_publish(mem *m, uint64_t seq)
{
    if (__builtin_expect(m->ranged, 0))
        mem_publish_ranges(m, seq);
}
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
    uint16_t bucket;                         /* whose parts are read */
    size_t frozen_room;                      /* how many mems fit into `frozen` */
    version *version;
    mem *active; /* NULL when the store is open for reading only and its log is empty */
    size_t frozen_count;
    mem *frozen[]; /* newest first */
};

/* A view is made in two steps, so that what must not fail needs no memory: room for it, and its
 * parts. NULL: no memory. */
view *view_room(size_t frozen_room);
/* Takes new references to all parts. The room suffices. */
void view_fill(view *w, version *v, mem *active, mem *const *frozen,
               size_t frozen_count); /* the version's bucket */
void view_room_free(view *w);        /* not filled; NULL is allowed */
/* Both steps. FIRN_NO_MEMORY. */
int view_new(version *v, mem *active, mem *const *frozen, size_t frozen_count, view **out);
void view_ref(view *v);
void view_unref(view *v); /* NULL is allowed */

#endif
