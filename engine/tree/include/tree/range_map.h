/* range_map: the range deletes of a bucket in a memtable, and what each of them has left of those
 * before it. One thread adds, any number of threads ask at the same time, each at its own number.
 *
 * Between two neighbouring keys of a balanced tree the newest range delete is the same one. An add
 * makes a new root, which shares with the last one what has not changed; a reader takes the newest
 * root that is not above its number. So a search costs the logarithm of how many range deletes
 * there are, and what they have deleted does not matter, nor how they overlap.
 *
 * Invariants
 *   G1, G3: cow_tree.h; publishing seals.
 *   G2  Roots ascend by number.
 *   G4  Bounds are borrowed. Should another process change them, answers are wrong, but a search
 *       ends, and leaves neither the tree nor the bounds.
 */
#ifndef ENGINE_RANGE_MAP_H
#define ENGINE_RANGE_MAP_H

#include <tree/cow_tree.h>
#include <tree/fragments.h>

typedef struct range_node range_node;
typedef struct range_root {
    const cow_node *top;
    uint64_t seq;
} range_root;

#define RANGE_ROOTS_FIRST 16 /* in the first array of roots; each further one has twice as many */
#define RANGE_ROOTS_MOST  28

/* All zero: empty. */
typedef struct range_map {
    /* Published roots. Release; what is in front of it never changes. */
    atomic_size_t count;
    range_root *roots[RANGE_ROOTS_MOST];
    /* The writer's own. */
    cow_pool pool;
    cow_node *top; /* of the root that is not published yet */
    bool pending;  /* something was added and is not published */
} range_map;

/* Room for one publish, and for so many adds in front of it. FIRN_NO_MEMORY. The writer, as for all
 * that changes the map. */
int range_map_reserve(range_map *m, size_t adds);
/* Everything in [first, end) is deleted at `seq`, which is greater than that of all adds before.
 * Ranges that are empty are left out. */
void range_map_add(range_map *m, firn_slice first, firn_slice end, uint64_t seq);
/* Readers at `seq` and behind see what was added. */
void range_map_publish(range_map *m, uint64_t seq);
size_t range_map_memory(const range_map *m);
void range_map_release(range_map *m);

static inline bool range_map_is_pending(const range_map *m)
{
    return m->pending;
}
static inline bool range_map_any(const range_map *m)
{
    return atomic_load_explicit(&m->count, memory_order_acquire) != 0;
}
/* The newest range delete, not above seq_max, that covers the key. Any thread. */
uint64_t range_map_find(const range_map *m, firn_slice key, uint64_t seq_max);
/* Likewise, and for which keys that is so. */
void range_map_cover(const range_map *m, firn_slice key, uint64_t seq_max, cover *out);
/* Adds to a list what new readers, and those of each of the snapshots (ascending), can tell of the
 * map. Pieces that snapshots see may overlap those that others see. FIRN_NO_MEMORY. */
int range_map_list(const range_map *m, const uint64_t *snapshots, size_t count, fragment_list *out);

#endif
