/* tree: one bucket of a store: its view (memtables and tables), what has been learned of its keys,
 * and where its compactions go on. Log, numbers, snapshots, mems, manifest, budget and workers are
 * the store's, so a batch over several buckets is one frame of the log, and one snapshot agrees for
 * all of them.
 *
 * Bucket 0 is `firn.main`, which is there as long as the store; a store with no other pays nothing
 * for those that it might have. Others begin with a record in the manifest (tree_create) before the
 * first entry of theirs is in the log, and end with one (tree_drop). Numbers of buckets are never
 * used again: what the log still holds of a dropped one is known by that, and left out at replay.
 *
 * Invariants
 *   T2  All trees list the same mems: a mem comes and goes in all views under one hold of state_mu.
 *       All tables of a mem are in one edit, which has one flushed number for the store.
 *   T3  A table, a memtable and a version belong to one bucket; a table's file number is listed in
 *       one bucket.
 */
#ifndef ENGINE_TREE_H
#define ENGINE_TREE_H

#include <firn/firn.h>
#include <tree/view.h>

#define TREES_MAX        ENTRY_BUCKETS
#define TREE_NAME_MAX    255
#define TREE_PREFIX_KEPT 64

/* Of the store. */
MUTEX_KIND(jobs_mu);

typedef struct tree {
    /* Set when it is made, never changed. */
    firn *db;
    uint8_t bucket;
    size_t name_size;
    char name[TREE_NAME_MAX + 1];

    /* Replaced under state_mu, and read inside readers_enter/exit. */
    _Alignas(64) _Atomic(view *) view;

    /* Of the commit that is under way: room for the view that follows it. On a line apart from
     * `view`, which each get reads. */
    _Alignas(64) struct view *reserved GUARDED_BY(state_mu);
    /* What keys of its last memtable began with. */
    uint8_t prefix[TREE_PREFIX_KEPT] GUARDED_BY(state_mu);
    size_t prefix_size GUARDED_BY(state_mu);
    /* Its record is not in the manifest yet: its view is kept like those of the others, and no
     * reader finds it. Changed under manifest_mu and state_mu, read under either of them. */
    bool pending;

    size_t cursor[FIRN_LEVELS] GUARDED_BY(jobs_mu); /* as in schedule_state */
    bool ending GUARDED_BY(jobs_mu);                /* no job begins any more */
    unsigned
        held GUARDED_BY(jobs_mu); /* by jobs that run or wait, and by callers of firn_compact */
} tree;

/* The current view, with a reference. Any thread. */
view *tree_view(tree *t);

/* ---- Buckets. Callers see to it that a tree is not used after it has been dropped; iterators and
 * values may still be. ---- */

/* Begins a bucket; the name must be new. FIRN_INVALID, FIRN_TOO_LARGE: no number is left. Durable
 * when it returns. */
int tree_create(firn *db, firn_slice name, tree **out, firn_error *err);
/* The bucket of that name; NULL: there is none. */
tree *tree_find(firn *db, firn_slice name);
/* Ends a bucket, with all that is in it. Durable when it returns; its files go when their last
 * reader has gone. */
int tree_drop(firn *db, tree *t, firn_error *err);
/* A tree that the manifest lists. Opening, or tree_create. FIRN_NO_MEMORY. */
int tree_new(firn *db, uint8_t bucket, firn_slice name, tree **out);

#endif
