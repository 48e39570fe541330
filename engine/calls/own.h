/* own: what a transaction has written and not committed, by key, and what it must find unchanged.
 *
 * Of each key the last write counts, and of ranges that were deleted their union: so there are no
 * numbers here, and reading is a search in two trees. They are persistent (tree/cow_tree.h): a
 * savepoint is their two top nodes, and going back to it is to take these again.
 *
 * Invariants
 *   O1  `points` has the last put or delete of each key, but for those that a later range delete
 *       covers. It is newer than all of `erased`.
 *   O2  The ranges in `erased`, and those in `looked`, are disjoint and do not touch.
 *   O3  Bytes of keys and values stay until own_clear, also when the write is gone.
 *   O4  Behind each key of `points` stands a 0: with it, it is the next key (the end of a range
 *       that has this key alone).
 * One thread at a time.
 */
#ifndef ENGINE_OWN_H
#define ENGINE_OWN_H

#include <base/buf.h>
#include <store/store.h>
#include <tree/cow_tree.h>

/* A put or a delete of n.key; or a range that begins there, and ends with `value` (NULL data: no
 * end). */
typedef struct own_node {
    cow_node n;
    firn_slice value;
    uint64_t kind;
} own_node;

/* Of one bucket. Stays where it is until own_clear. */
typedef struct own_bucket {
    tree *tree;       /* held */
    cow_node *points; /* O1 */
    cow_node *erased; /* O2 */
    cow_node *looked; /* O2: must be unchanged at the commit */
} own_bucket;

typedef struct own_bytes own_bytes;
typedef struct own_writes {
    cow_pool pool;
    own_bytes *bytes;
    own_bucket **buckets; /* by number */
    size_t count, capacity;
    uint64_t writes; /* grows when something is written: what was found is to be found again */
} own_writes;

/* A form of it that can be gone back to. */
typedef struct own_mark {
    struct own_form *forms;
    size_t count;
} own_mark;

static inline const own_node *own_of(const cow_node *n)
{
    return (const own_node *)(const void *)n;
}

void own_init(own_writes *o);
/* Everything goes. */
void own_clear(own_writes *o);
/* What it has of a bucket; NULL: nothing. */
own_bucket *own_find(const own_writes *o, const tree *t);
/* The same; made, if it was not there. NULL: no memory. */
own_bucket *own_open(own_writes *o, tree *t);

/* A copy that stays (O3), with a 0 behind it. False: no memory. */
bool own_copy(own_writes *o, firn_slice from, firn_slice *out);
/* Room for so many of the calls that follow; a range counts as two. FIRN_NO_MEMORY. */
int own_reserve(own_writes *o, size_t changes);
/* Slices are copies. */
void own_write(own_writes *o, own_bucket *b, firn_kind kind, firn_slice key, firn_slice value);
void own_erase(own_writes *o, own_bucket *b, firn_slice first, firn_slice end);
void own_look(own_writes *o, own_bucket *b, firn_slice first, firn_slice end);

/* Reading. */
typedef enum own_answer { OWN_NOTHING, OWN_VALUE, OWN_DELETED } own_answer;
own_answer own_get(const own_bucket *b, firn_slice key, firn_slice *value); /* b: NULL is allowed */
/* The range in `erased` that has the key; NULL: there is none. */
const own_node *own_erased_at(const own_bucket *b, firn_slice key);
/* Is all from `first` to `end` in `looked`? */
bool own_is_looked(const own_bucket *b, firn_slice first, firn_slice end);
/* Of `points`: the first one >= key, or > key with `open`; the last one <= key, or < key. NULL:
 * there is none. */
const own_node *own_from(const own_bucket *b, firn_slice key, bool open);
const own_node *own_up_to(const own_bucket *b, firn_slice key, bool open);

/* FIRN_NO_MEMORY. What is marked stays as it is, until the mark is released. */
int own_mark_here(own_writes *o, own_mark *out);
void own_go_back(own_writes *o, const own_mark *to); /* `looked` stays as it is now */
void own_mark_release(own_mark *m);

/* All that must be unchanged, as a watch wants it. FIRN_NO_MEMORY. */
int own_watched(const own_writes *o, watched **keys, size_t *count);
/* Puts all writes into the batch: ranges of each bucket, then its points. As batch_add_named. */
int own_to_batch(const own_writes *o, firn_batch *batch);

#endif
