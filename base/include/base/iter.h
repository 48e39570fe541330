/* iter: what a sorted run of versions looks like to a merge: a memtable, a table, or another
 * merge.
 *
 * Order: key ascending (slice_compare), then sequence number descending: the newest version of a
 * key comes first. The current element lies open in the struct, so that a merge compares without a
 * call.
 *
 * Invariants
 *   I1  valid implies status == FIRN_OK; key, seq, kind, value are those of the current element.
 *   I2  key and value are valid until the next movement or close of this iterator.
 *   I3  !valid && status == FIRN_OK: before the first or behind the last element.
 *   I4  an error (damage, I/O) makes the iterator invalid, stays in status and is described in
 *       *error, which all iterators below one share: so what is no error of the iterator's is
 *       described elsewhere, and of several children that failed the last one counts.
 *   I5  with limits, an iterator is one over those elements alone that are within the limits: it
 *       shows no other, and a movement that would come to one goes on in its direction. However
 *       many versions of a key are too new, a movement takes a bounded number of steps to pass
 *       them.
 *   I6  deferred: `value` has its size but no bytes (data NULL) until fetch. Only an iterator whose
 *       owner has set `lazy` does that, when the value is large and memory is short: of the many
 *       children of a merge, only the one that is shown needs its value.
 * An iterator is used by one thread. It may be moved in any order: first(), last() and seek() are
 * possible in every state, next() and prev() only while valid.
 */
#ifndef BASE_ITER_H
#define BASE_ITER_H

#include <base/slice.h>
#include <firn/types.h>

typedef struct iter iter;

/* What a reader will not ask for, so that a run need not show it, nor walk over it one by one. */
typedef struct iter_limits {
    firn_slice lower; /* the first key; NULL data: no bound */
    firn_slice upper; /* the first key that is too great; NULL data: no bound */
    /* Versions with a greater number are too new; FIRN_MAX_SEQ: none is. Those up to it are all
     * there when the iterator is made. */
    uint64_t seq_max;
    /* Once it is not 0, set by any thread, a movement ends with FIRN_CANCELLED before it looks at
     * another leaf, block or table. NULL: none can do that. */
    const uint32_t *cancelled;
} iter_limits;

typedef struct iter_ops {
    void (*first)(iter *it);
    void (*last)(iter *it);
    /* The first element >= (key, seq): same key with a number <= seq, or a greater key. */
    void (*seek)(iter *it, firn_slice key, uint64_t seq);
    /* The last element < (key, seq): same key with a number > seq, or a smaller key. */
    void (*seek_before)(iter *it, firn_slice key, uint64_t seq);
    void (*next)(iter *it);
    void (*prev)(iter *it);
    void (*close)(iter *it); /* frees the iterator */
    /* While deferred: brings the value's bytes, or makes the iterator invalid with an error. NULL:
     * never defers. */
    void (*fetch)(iter *it);
    /* Behind a movement backwards that found an element: is that the newest version of its key
     * within the limits? Moves nothing. A file that is changed meanwhile may make it false. */
    bool (*is_newest)(const iter *it);
} iter_ops;

struct iter {
    const iter_ops *ops;
    /* Set before the first movement, by the caller who made the iterator, and never changed;
     * borrowed. NULL: none. */
    const iter_limits *limits;
    firn_slice key;
    firn_slice value;
    uint64_t seq;
    int status;
    uint8_t kind; /* firn_kind */
    bool valid;
    bool lazy, deferred;
    /* Set like `limits`: where an error is described (I4). NULL: nowhere. */
    firn_error *error;
};

static inline bool is_cancelled(const uint32_t *flag)
{
    return flag && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0;
}

static inline bool iter_is_cancelled(const iter *it)
{
    return it->limits && is_cancelled(it->limits->cancelled);
}

static inline bool limits_begin_behind(const iter_limits *l, firn_slice key)
{
    return l->lower.data && slice_compare(key, l->lower) < 0;
}

static inline bool limits_end_before(const iter_limits *l, firn_slice key)
{
    return l->upper.data && slice_compare(key, l->upper) >= 0;
}

/* Where a seek to (key, number) comes to within the limits: behind the lower bound and what is too
 * new. */
static inline void iter_clamp_seek(const iter_limits *l, firn_slice *key, uint64_t *seq)
{
    if (limits_begin_behind(l, *key)) {
        *key = l->lower;
        *seq = l->seq_max;
    } else if (*seq > l->seq_max) {
        *seq = l->seq_max;
    }
}

/* The same backwards: what is in front of the upper bound, and of the versions that are too new. */
static inline void iter_clamp_seek_before(const iter_limits *l, firn_slice *key, uint64_t *seq)
{
    if (limits_end_before(l, *key)) {
        *key = l->upper;
        *seq = FIRN_MAX_SEQ;
    } else if (*seq >= l->seq_max) {
        *seq = FIRN_MAX_SEQ;
    }
}

#endif
