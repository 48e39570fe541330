/* arena: memory for the blocks of one shard of the cache, apart from any heap, so that what one
 * thread gives back another can take, and what is given back can be counted on.
 *
 * Small pieces lie in slabs, each cut into pieces of one size; a piece of more than a fourth of a
 * slab has pages of its own. Sizes are such that a slab is cut without a rest. They lie about an
 * eighth apart, or a half in a small arena: with many sizes many slabs would be half empty. The
 * size that most blocks have is among them.
 *
 * Invariants
 *   A1  `bytes` is what is mapped: slabs and pages. It is what is charged.
 *   A2  A slab without pieces in use is given back to the system, but for one (`spare`).
 *   A3  A slab in `open[i]` has pieces of size i, free ones among them; all such slabs are there.
 * Not thread-safe: the caller holds the mutex of the shard that has the arena.
 */
#ifndef SSTABLE_ARENA_H
#define SSTABLE_ARENA_H

#include <base/budget.h>
#include <stdbool.h>
#include <stddef.h>

#define ARENA_SLAB_MIN   ((size_t)64 << 10)
#define ARENA_SLAB_MAX   ((size_t)256 << 10)
#define ARENA_PIECE_MIN  ((size_t)256)
#define ARENA_USUAL      ((size_t)4208) /* a block of 4 KiB with all that comes to it */
#define ARENA_SIZES_MAX  64
#define ARENA_PIECES_MAX (ARENA_SLAB_MAX / ARENA_PIECE_MIN)

typedef struct arena_slab {
    struct arena_slab *next, *prev; /* in open[size], when pieces are free */
    uint8_t *base;
    uint32_t size; /* index into the sizes */
    uint32_t count, used;
    uint64_t taken[ARENA_PIECES_MAX / 64]; /* a bit for each piece */
} arena_slab;

typedef struct arena {
    memory_budget *budget;
    size_t slab_bytes;
    uint64_t bytes; /* A1 */
    arena_slab *spare;
    arena_slab *open[ARENA_SIZES_MAX];
    uint32_t pieces[ARENA_SIZES_MAX]; /* how many of each size a slab holds; ascending */
    uint32_t size_count;
} arena;

/* Memory from an arena: a piece of a slab, or pages (slab NULL). */
typedef struct arena_piece {
    void *data;
    arena_slab *slab;
    size_t bytes; /* what it takes */
} arena_piece;

/* `fine`: sizes an eighth apart. */
void arena_init(arena *a, memory_budget *b, size_t slab_bytes, bool fine);
void arena_release(arena *a); /* everything has been given back */

/* What a piece of this size takes, and whether it has pages of its own. */
size_t arena_bytes_of(const arena *a, size_t size, bool *pages);
/* Which size of pieces it gets. False: pages. */
bool arena_size_of(const arena *a, size_t size, uint32_t *index);
/* Is there a free piece for it, without more memory from the system? */
bool arena_has(const arena *a, size_t size);
/* What `bytes` would grow by for it. */
size_t arena_growth(const arena *a, size_t size);
/* False: the system has no memory. */
bool arena_take(arena *a, size_t size, arena_piece *out);
void arena_give(arena *a, arena_piece piece);
/* Gives the spare slab back. */
void arena_trim(arena *a);

/* The pieces of a slab that are in use, one after the other: from *at on, which moves behind it.
 * NULL: no more. */
void *arena_next_used(const arena *a, const arena_slab *slab, uint32_t *at);

#endif
