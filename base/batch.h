/* batch: what is inside a firn_batch. Private to the room; others see batch_payload(). */
#ifndef BATCH_H
#define BATCH_H

#include <base/buf.h>

/* Invariant: payload is exactly `count` well-formed entries, and at most FIRN_MAX_BATCH_BYTES. */
struct firn_batch {
    buf payload;
    uint32_t count;
    uint32_t ranges; /* of these are range deletes */
    uint32_t named; /* of these name their bucket; the others lie in 0, and may be moved */
    buf in_zero;    /* where those that name bucket 0 begin: uint32_t, ascending */
    bool owned;     /* by the store with this id: some name a bucket of it */
    uint8_t owner[16];
};

/* May an entry of these sizes, each within its own limit, follow `used` bytes? */
bool batch_has_room(size_t used, size_t key_size, size_t value_size);

#endif
