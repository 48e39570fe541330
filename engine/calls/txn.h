/* txn: a transaction, inside calls/. What it has written is in own.h; the walk over that and the
 * store together, in own_walk.c; how it is committed, in txn.c. */
#ifndef ENGINE_TXN_H
#define ENGINE_TXN_H

#include "own.h"
#include "reading.h"

typedef struct own_walk own_walk;

/* read.c: a value that is a copy of these bytes. FIRN_NO_MEMORY. */
int value_of_copy(firn_slice from, firn_value *value, firn_error *err);

struct firn_txn {
    store *db;
    firn_snapshot at; /* what it sees */
    bool serializable;
    bool failed; /* an add has failed */
    firn_durability durability;
    own_writes own;
    buf saves;       /* savepoints, the oldest first */
    uint64_t points; /* that were given out */
    own_walk *walks; /* of its iterators */
};

/* May this thread use it, and for this store? FIRN_INVALID. */
int txn_check(const firn_txn *txn, const store *db, firn_error *err);
/* The key is looked for: with `serializable`, it must be unchanged at the commit.
 * FIRN_NO_MEMORY. */
int txn_note_key(firn_txn *txn, tree *t, firn_slice key, firn_error *err);
/* Likewise all keys from `first` to `end` (NULL data: no end). */
int txn_note_range(firn_txn *txn, tree *t, firn_slice first, firn_slice end, firn_error *err);
/* What it has written itself to the key. What it says then is the answer, but for OWN_NOTHING: that
 * is read at txn->at. FIRN_DROPPED, FIRN_NO_MEMORY. */
int txn_get(firn_txn *txn, tree *t, firn_slice key, own_answer *answer, firn_slice *value,
            firn_error *err);

/* ---- own_walk.c ---- */
struct firn_iter;
/* The iterator is to show what `txn` sees: above `base`, which is its own from now on, and shows
 * the store at txn->at. FIRN_NO_MEMORY: it is not. */
int own_walk_new(firn_txn *txn, struct firn_iter *it, struct firn_iter *base);
void own_walk_free(own_walk *w); /* NULL is allowed */
/* The walks of a transaction are over: its iterators stand on no element, and move no more. */
void own_walks_end(firn_txn *txn);
/* What they have passed must be unchanged. FIRN_NO_MEMORY. */
int own_walks_note(firn_txn *txn, firn_error *err);

#endif
