/* tree: one bucket of a store: its view (memtables and tables), what has been learned of its keys,
 * and where its compactions go on. Log, numbers, snapshots, mems, manifest, budget and workers are
 * the store's, so a batch over several buckets is one frame of the log, and one snapshot agrees for
 * all of them.
 *
 * Bucket 0 is `store.main`, which is there as long as the store; a store with no other pays nothing
 * for those that it might have. Others begin with a record in the manifest (tree_open) before the
 * first entry of theirs is in the log, and end with one (tree_drop). Numbers of buckets are never
 * used again: what the log still holds of a dropped one is known by that, and left out at replay.
 *
 * It is what callers have of a bucket: their `firn *` is a tree.
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
#include <store/by_name.h>
#include <tree/edit.h>
#include <tree/view.h>

#define TREES_MAX        ENTRY_BUCKETS
#define TREE_PREFIX_KEPT 64

/* Of the store. */
MUTEX_KIND(jobs_mu);

typedef struct store store;
typedef struct firn tree;

/* What flushes and merges have done in this life, by the level that they wrote to. Relaxed. */
typedef struct tree_work {
    _Atomic uint64_t read[FIRN_LEVELS], written[FIRN_LEVELS], jobs[FIRN_LEVELS];
} tree_work;

struct firn {
    /* Set when it is made, never changed. */
    store *store;
    uint16_t bucket;
    /* Replaced under state_mu, and read inside readers_enter/exit. On one line with the store, and
     * with nothing that changes more often. */
    _Atomic(view *) view;
    bucket_name name;
    bucket_form form; /* changed under manifest_mu and state_mu, read under either of them */

    /* Of the commit that is under way: room for the view that follows it. On a line apart from
     * `view`, which each get reads. */
    _Alignas(64) struct view *reserved GUARDED_BY(state_mu);
    struct view *made GUARDED_BY(state_mu); /* scratch of one hold of the lock */
    /* Of the edit that is under way, under manifest_mu: is it about this tree, which version
     * follows, and which tree it is about, too. */
    bool changed;
    version *next_version;
    tree *next_changed;
    /* What keys of its last memtable began with. */
    uint8_t prefix[TREE_PREFIX_KEPT] GUARDED_BY(state_mu);
    size_t prefix_size GUARDED_BY(state_mu);
    /* Its record is not in the manifest yet: its view is kept like those of the others, and no
     * reader finds it. Changed under manifest_mu and state_mu, read under either of them. */
    bool pending;
    /* The ones with the next number, and with the one before. Likewise. */
    tree *next, *prev;

    size_t cursor[FIRN_LEVELS] GUARDED_BY(jobs_mu); /* as in schedule_state */
    unsigned ending GUARDED_BY(jobs_mu);            /* calls that drop it: no job begins */
    unsigned
        held GUARDED_BY(jobs_mu); /* by jobs that run or wait, and by callers of firn_compact */

    uint64_t handles GUARDED_BY(state_mu); /* that callers have; not of bucket 0 */
    uint64_t holds GUARDED_BY(state_mu);   /* of transactions and their iterators; likewise */
    _Atomic uint64_t iterators;            /* likewise, of any bucket */
    tree_work work;
};

/* The current view, with a reference; NULL: the bucket has been dropped. Any thread. */
view *tree_view(const tree *t);
static inline bool tree_is_dropped(const tree *t)
{
    return !atomic_load_explicit(&t->view, memory_order_relaxed);
}
/* FIRN_DROPPED, described. */
int tree_dropped(const tree *t, firn_error *err);

/* ---- Buckets. A tree stays until its store is closed, or it has been dropped and its last handle
 * is closed, and no transaction holds it. ---- */

/* A handle of the bucket of that name, which may have been made for it (*made): durably, then. */
typedef enum tree_wish { TREE_THERE, TREE_NEW, TREE_EITHER } tree_wish;
/* FIRN_NOT_FOUND, FIRN_INVALID: it is there; FIRN_TOO_LARGE: no number is left. */
int tree_open(store *db, firn_slice name, tree_wish wish, const bucket_form *form, tree **out,
              firn_error *err); /* form: of one that is made */
/* Its tables are made so from now on. Durable when it returns. */
int tree_reform(tree *t, const bucket_form *form, firn_error *err);
bucket_form tree_form(tree *t); /* as it was given */
/* The name that comes behind `after`. False: there is none. Any thread. */
bool tree_next_name(store *db, firn_slice after, char next[TREE_NAME_MAX + 1]);
/* The tree stays there, also without handles; and no longer. For a caller who has one, or who
 * holds it; not of callers of the library. Nothing for bucket 0. */
void tree_hold(tree *t);
void tree_let_go(tree *t);
/* Gives one back. FIRN_INVALID: it is the last one, and iterators of it are out. */
int tree_close(tree *t, firn_error *err);
/* Ends a bucket, with all that is in it. Durable when it returns; its files go when their last
 * reader has gone. Handles of it are FIRN_DROPPED from now on. */
int tree_drop(tree *t, firn_error *err);
/* A tree that the manifest lists. Opening, or tree_open. FIRN_NO_MEMORY. */
int tree_new(store *db, uint16_t bucket, firn_slice name, const bucket_form *form, tree **out);

#endif
