/* skiplist: the unrolled skiplist inside a memtable, seen only by this room (memtable/README.md).
 *
 *   node   a boundary: the lowest entry of its leaf (piece and ref), a tower of next pointers, and
 *          the leaf that holds the entries from this boundary up to the next one
 *   leaf   up to LEAF_CAPACITY entries: the first `sorted` in order since the leaf was made, the
 *          rest in the order of their adding
 *   ref    names a version: sequence number minus seq_base in the upper half, offset of the entry
 *          from log_base in the lower; refs ascend with time
 *   piece  eight bytes of the key behind the expected prefix (skiplist_piece): decides most
 *          comparisons without touching the log
 *
 * Order of entries: piece ascending, then key ascending, then ref descending. Because equal keys
 * have equal pieces and pieces never contradict keys (M8), that is (key ascending, sequence
 * descending).
 *
 * Invariants M1 to M10 stand in memtable/README.md. One thread writes. Any number of threads read,
 * without locks; what they share with the writer is read with acquire and written with release:
 * leaf->count, node->leaf, node->next[]. Start reading at skiplist_locate.
 */
#ifndef MEMTABLE_SKIPLIST_H
#define MEMTABLE_SKIPLIST_H

#include <memtable/memtable.h>

#include <base/entry.h>
#include <base/slice.h>

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>

#define LEAF_CAPACITY 63 /* with its head, a leaf is exactly sixteen cache lines */
#define TOWER_MAX     13 /* 4^13 leaves are more than 4 GiB of log can fill */
#define TOWER_BITS    2  /* a tower grows a level with probability 1 / 2^TOWER_BITS */
#define CACHE_LINE    64

typedef struct skiplist_leaf {
    alignas(CACHE_LINE) _Atomic uint32_t count; /* published entries; only grows (M3) */
    uint16_t sorted; /* entries [0, sorted) were in order when the leaf was made; never changes */
    bool extended;   /* writer only: an ascending insert has gone past this leaf once */
    /* Below `count` they never change. The others are the writer's: no reader looks there. */
    uint64_t piece[LEAF_CAPACITY];
    uint64_t ref[LEAF_CAPACITY];
} skiplist_leaf;

typedef struct skiplist_node skiplist_node;
struct skiplist_node {
    /* the boundary; never changes. The head's is never read: it is below all (M1) */
    uint64_t piece;
    uint64_t ref;
    _Atomic(skiplist_leaf *) leaf;
    _Atomic(skiplist_node *)
        next[]; /* as many as the tower is high; [0] is the list of all nodes */
};

/* An entry outside of a leaf: what sorting works on. */
typedef struct skiplist_item {
    uint64_t piece;
    uint64_t ref;
} skiplist_item;

/* A place in the order: in front of all versions of `key` whose ref is below `bound`, behind the
 * others. */
typedef struct skiplist_target {
    uint64_t piece;
    uint64_t bound;
    firn_slice key;
} skiplist_target;

/* Memory for leaves and nodes: chunks, never given back before the end (M6). Each is filled from
 * both ends: leaves upwards, nodes downwards, so that the nodes of a descent lie close together.
 * Only the writer touches chunks and arena, but for used_bytes. */
typedef struct skiplist_chunk skiplist_chunk;
struct skiplist_chunk {
    alignas(CACHE_LINE) skiplist_chunk *next; /* in the order in which they are used */
    size_t size;
    uint8_t *low; /* free: [low, high), and what lies behind `window` */
    uint8_t *high;
    uint8_t *window; /* where the part ends that is being filled */
    bool lent;       /* from the pool, which is charged for it until it is begun */
};

typedef struct skiplist_arena {
    memtable_pool *pool; /* NULL: none */
    skiplist_chunk *first;
    skiplist_chunk *current; /* those behind it are untouched, but for what the pool gave */
    skiplist_chunk *last;
    size_t size_next;
    atomic_size_t used_bytes; /* of the chunks up to `current`, of which it has what is begun */
} skiplist_arena;

struct memtable {
    /* Read by all threads, never written after memtable_new. */
    const uint8_t *log;
    uint64_t log_bytes;
    uint64_t seq_base;
    skiplist_node *head;
    size_t prefix_size;
    uint8_t prefix[MEMTABLE_PREFIX_MAX];

    /* Written by the writer, read by all threads. */
    /* levels in use; a stale value costs steps, nothing else */
    alignas(CACHE_LINE) atomic_uint height;
    atomic_size_t entries;
    atomic_size_t deletes;

    /* The writer's own. */
    alignas(CACHE_LINE) uint64_t ref_last;
    uint64_t random;
    skiplist_arena arena;
    /* The finger: at each level the last node that is not above the entry added last, or
     * approached since (M9). */
    skiplist_node *path[TOWER_MAX];
    bool ascends; /* what was approached last goes behind all, as what was added before it */
};

/* ---- skiplist_arena.c ---- */

/* What one split may take at most: two leaves and a node. */
#define ARENA_SPLIT_BYTES                                                                          \
    (2 * sizeof(skiplist_leaf) + sizeof(skiplist_node) + TOWER_MAX * sizeof(skiplist_node *))

/* The largest chunk but for those of large reservations, and the largest that a pool keeps. */
#define ARENA_CHUNK_SHIFT_MOST 22

/* Makes sure that `splits` splits find memory. FIRN_NO_MEMORY. */
int skiplist_arena_reserve(skiplist_arena *a, size_t splits);
/* How many splits what is free of a chunk serves, whatever they take. */
size_t skiplist_chunk_splits(const skiplist_chunk *c);
void skiplist_arena_release(skiplist_arena *a);
/* Both are covered by a reservation and cannot fail; the memory is not initialised. */
skiplist_leaf *skiplist_arena_leaf(skiplist_arena *a);
skiplist_node *skiplist_arena_node(skiplist_arena *a, unsigned height);

/* ---- memtable_pool.c ---- */

/* Lends a chunk of that size, a power of two, which a memtable has used before: its header says so.
 * NULL: there is none. Any thread. */
skiplist_chunk *memtable_pool_lend(memtable_pool *p, size_t size);
/* A chunk that was lent is begun: from now on its memtable is charged for it. Any thread. */
void memtable_pool_begin(memtable_pool *p, skiplist_chunk *c);
/* One that has been begun, or one that was lent and was not. False: the pool is full, and has not
 * taken it. Any thread. */
bool memtable_pool_give(memtable_pool *p, skiplist_chunk *c);

/* ---- skiplist_leaf.c ---- */

/* Copies the published entries of a leaf whose piece is not below `least` and whose ref is below
 * `bound` into items (room for LEAF_CAPACITY), in order; how many. */
uint32_t skiplist_leaf_sort_from(const memtable *m, const skiplist_leaf *leaf, uint64_t least,
                                 uint64_t bound, skiplist_item *items);
/* The index of the first of `count` ordered items that is not before the target. */
uint32_t skiplist_items_find(const memtable *m, const skiplist_item *items, uint32_t count,
                             const skiplist_target *t);
/* A new leaf's contents: ordered items. */
void skiplist_leaf_fill(skiplist_leaf *leaf, const skiplist_item *items, uint32_t count);
/* The newest version of t->key in this leaf with a ref below t->bound. */
bool skiplist_leaf_get(const memtable *m, const skiplist_leaf *leaf, const skiplist_target *t,
                       uint64_t *ref);

/* ---- skiplist.c ---- */

/* Where a target falls: the first entry that is not before it lies in `leaf` or is `next`'s
 * boundary. `next` (NULL: none) was read after `leaf`, which is what M5 needs. */
typedef struct skiplist_place {
    const skiplist_node *node;
    const skiplist_leaf *leaf;
    const skiplist_node *next;
} skiplist_place;

skiplist_place skiplist_locate(const memtable *m, const skiplist_target *t);
/* The same for the end of everything. */
skiplist_place skiplist_locate_last(const memtable *m);
/* What holds the entries from `node` on. */
skiplist_place skiplist_place_at(const skiplist_node *node);
void skiplist_insert(memtable *m, const skiplist_target *t, uint64_t ref);
/* Moves the finger (M9) to where an insert will go, and asks for the head of the leaf; then for the
 * lines of it that the insert changes. */
void skiplist_approach(memtable *m, const skiplist_target *t);
void skiplist_arrive(const memtable *m);

/* The slow half of skiplist_before: pieces are equal, the log decides. */
bool skiplist_before_equal(const memtable *m, uint64_t ref, const skiplist_target *t);
/* The piece of a key when a prefix is expected. */
uint64_t skiplist_piece_behind(const memtable *m, firn_slice key);

/* All of them. */
static inline uint32_t skiplist_leaf_sort(const memtable *m, const skiplist_leaf *leaf,
                                          skiplist_item *items)
{
    return skiplist_leaf_sort_from(m, leaf, 0, UINT64_MAX, items);
}

static inline const uint8_t *skiplist_entry(const memtable *m, uint64_t ref)
{
    return m->log + (uint32_t)ref;
}

/* The key of an entry, cut at the end of the log (M10). */
static inline firn_slice skiplist_key(const memtable *m, uint64_t ref)
{
    const uint8_t *p = skiplist_entry(m, ref);
    uint64_t room = m->log_bytes - (uint32_t)ref - ENTRY_HEADER_BYTES;
    uint32_t size = once_u32(get_u16(p + 2));
    return (firn_slice){p + ENTRY_HEADER_BYTES, size < room ? size : (size_t)room};
}

/* All of an entry; false when it is not one any more (M10). The rules of entry_decode, which a walk
 * is too fast to call. */
static inline bool skiplist_read(const memtable *m, uint64_t ref, entry *out)
{
    const uint8_t *p = skiplist_entry(m, ref);
    uint64_t room = m->log_bytes - (uint32_t)ref - ENTRY_HEADER_BYTES;
    uint32_t kind = once_u32(entry_kind(p));
    uint64_t key_size = once_u32(get_u16(p + 2)), value_size = once_u32(entry_value_size(p));
    *out = (entry){
        .kind = (uint8_t)kind,
        .key = {p + ENTRY_HEADER_BYTES, (size_t)key_size},
        .value = {p + ENTRY_HEADER_BYTES + key_size, (size_t)value_size},
    };
    return entry_kind_fits(kind, value_size) && key_size + value_size <= room;
}

static inline uint64_t skiplist_seq(const memtable *m, uint64_t ref)
{
    return m->seq_base + (ref >> 32);
}

static inline uint64_t skiplist_piece(const memtable *m, firn_slice key)
{
    return m->prefix_size ? skiplist_piece_behind(m, key) : slice_piece(key, 0);
}

/* Is the entry (piece, ref) before the target? */
static inline bool skiplist_before(const memtable *m, uint64_t piece, uint64_t ref,
                                   const skiplist_target *t)
{
    if (piece != t->piece)
        return piece < t->piece;
    return skiplist_before_equal(m, ref, t);
}

/* The target in front of all versions of key with a number <= seq. Refs of numbers up to seq are
 * below the bound; a number before seq_base leaves none, one behind the range leaves all. */
static inline skiplist_target skiplist_target_seq(const memtable *m, firn_slice key, uint64_t seq)
{
    uint64_t bound = 0;
    if (seq >= m->seq_base) {
        uint64_t delta = seq - m->seq_base;
        bound = delta < UINT32_MAX ? (delta + 1) << 32 : UINT64_MAX;
    }
    return (skiplist_target){skiplist_piece(m, key), bound, key};
}

/* The target right in front of an entry. */
static inline skiplist_target skiplist_target_entry(const memtable *m, uint64_t piece, uint64_t ref)
{
    return (skiplist_target){piece, ref + 1, skiplist_key(m, ref)};
}

static inline skiplist_node *skiplist_next(const skiplist_node *node, unsigned level)
{
    /* acquire: what the node says (boundary, leaf, tower) was written before it was linked. */
    return atomic_load_explicit(&node->next[level], memory_order_acquire);
}

#endif
