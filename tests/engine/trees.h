/* trees: what the tests of several trees share: a store with a model beside it. Batches go over all trees, and a counter in bucket
 * 0 says how many there were. */
#ifndef TESTS_ENGINE_TREES_H
#define TESTS_ENGINE_TREES_H

#include "bed.h"
#include "reading.h"
#include <store/store.h>

enum { TREES = 3, KEYS = 10, BATCHES_MOST = 600, COUNTER = 0 };
enum { MARK_DURABLE, MARK_BEGUN, MARK_CREATED, MARK_DROP };

/* Of the trees. */
extern const char *const tree_names[TREES];

/* The values of all trees behind a batch; 0: not there. */
typedef struct world {
    uint64_t of[TREES][KEYS];
} world;

typedef struct scenario {
    bed b;
    rng r;
    world states[BATCHES_MOST + 1];
    size_t count; /* batches written */
    tree *trees[TREES];
} scenario;

/* On a file system in memory; not open yet. */
scenario *trees_begin(uint64_t seed);
void trees_end(scenario *s);
void trees_make(scenario *s);
void trees_find(firn *db, tree *trees[TREES]);
/* The tree of a bucket, without a handle: it stays until the bucket is dropped. NULL: there is none. */
tree *trees_get(firn *db, const char *name);
/* The same; the bucket is made. */
tree *trees_new(firn *db, const char *name);
/* Drops a bucket, and closes the only handle of it. */
void trees_drop(tree *t);
/* Each by itself. */
void trees_compact(scenario *s);
void trees_reopen(scenario *s);

/* Keys of different families, so that each tree learns a beginning of its own. */
firn_slice trees_key(unsigned t, unsigned k, char room[64]);
/* A batch over all trees that there are. */
void trees_write(scenario *s, bool sync);

/* False, and why, when trees show something else; a tree that is NULL is not asked. */
bool trees_compare(tree *const trees[TREES], const firn_snapshot *at, const world *w, char *why);
/* T2 */
void trees_list_the_same_mems(scenario *s);
/* All trees show what they had behind batch j, and list the same mems. */
void trees_must_be(scenario *s, const firn_snapshot *at, size_t j);

#endif
