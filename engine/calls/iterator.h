/* iterator: a firn_iter, for iterator.c, which moves it over the store, and for own_walk.c, which
 * moves one over the store and a transaction's own writes together. */
#ifndef ENGINE_ITERATOR_H
#define ENGINE_ITERATOR_H

#include "txn.h"

/* Backwards: what is known of the key whose versions are passed. */
typedef enum answer {
    ANSWER_NOTHING,
    ANSWER_COPIED, /* it has a value, in it->value */
    ANSWER_HERE,   /* it has one, and the merge stands at it */
    ANSWER_NEWER,  /* it had one, but a newer version will answer */
} answer;

struct firn_iter {
    tree *tree;
    store *db;
    sst_use use;
    bool at_snapshot; /* or a transaction's: its number stays */
    bool counted;     /* in tree.iterators */
    view *view;
    walk walk;
    iter *runs; /* the walk's */
    read_point at;
    iter_limits limits; /* of the runs: the bounds and the number; points into lower and upper */
    int status;         /* of the last movement: OK, END or an error */
    bool valid, backward;
    answer answer; /* backward and valid: COPIED or HERE */
    buf lower, upper;
    buf key, value; /* N2; forwards, key is the scratch for stepping over versions */
    firn_slice current_key, current_value;
    buf many;       /* keys and values that next_many or prev_many gave, but for the current ones */
    bool given;     /* the current element was one of them */
    stretch passed; /* dead keys that the movement has passed */
    firn_error error; /* the runs describe theirs here, too */
    own_walk *own;    /* NULL: of no transaction. Else that moves it, and of what is above it has
                         its tree, the bounds, what it shows, and `key` as scratch */
};

/* ---- What a movement ends with ---- */

static inline int iter_stop(firn_iter *it, int rc)
{
    it->valid = false;
    it->status = rc;
    it->current_key = it->current_value = (firn_slice){0};
    return rc; /* described already by the place that noticed */
}

static inline int iter_show(firn_iter *it, firn_slice key, firn_slice value)
{
    it->current_key = key;
    it->current_value = value;
    it->given = false;
    it->valid = true;
    it->status = FIRN_OK;
    return FIRN_OK;
}

/* As buf_assign, without a call where there is room: once or twice a step. */
static inline int iter_copy_to(buf *b, firn_slice from)
{
    if (from.size == 0 || from.size > b->capacity)
        return buf_assign(b, from.data, from.size);
    memcpy(b->data, from.data, from.size);
    b->size = from.size;
    return FIRN_OK;
}

/* ---- own_walk.c: the movements of an iterator that has one ---- */
int own_walk_first(firn_iter *it);
int own_walk_last(firn_iter *it);
int own_walk_seek(firn_iter *it, firn_slice key);
int own_walk_seek_for_prev(firn_iter *it, firn_slice key);
int own_walk_next(firn_iter *it);
int own_walk_prev(firn_iter *it);
/* Is it over? FIRN_INVALID, described in the iterator. */
int own_walk_check(firn_iter *it);

#endif
