/* iter: what a sorted run of versions looks like to a merge, whoever keeps it (memtable, table, merge).
 *
 * Order: key ascending (slice_compare), then sequence number descending: the newest version of a key
 * comes first. The current element lies open in the struct, so that a merge compares without a call.
 *
 * Invariants
 *   I1  valid implies status == FIRN_OK; key, seq, kind, value are those of the current element.
 *   I2  key and value are valid until the next movement or close of this iterator.
 *   I3  !valid && status == FIRN_OK: before the first or behind the last element.
 *   I4  an error (damage, I/O) makes the iterator invalid, stays in status and is described in *err.
 * An iterator is used by one thread. It may be moved in any order: first(), last() and seek() are
 * possible in every state, next() and prev() only while valid.
 */
#ifndef BASE_ITER_H
#define BASE_ITER_H

#include <firn/types.h>

typedef struct iter iter;

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
} iter_ops;

struct iter {
    const iter_ops *ops;
    firn_slice key;
    firn_slice value;
    uint64_t seq;
    int status;
    uint8_t kind; /* firn_kind */
    bool valid;
    firn_error error; /* meaningful when status is not FIRN_OK */
};

#endif
