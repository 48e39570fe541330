/* recycler: segments that the log has given up, on their way to another use. It outlives the log
 * while an index still holds a segment.
 *
 * A segment that is expected back is still held by others; their last reference brings it
 * (wal_recycler_take), and it is a spare. Its mutex comes last in the lock order. All calls: any
 * thread.
 */
#ifndef SEGMENTS_RECYCLER_H
#define SEGMENTS_RECYCLER_H

#include <base/thread.h>
#include <segments/segment.h>

#define WAL_SPARES_MAX 2

typedef struct wal_recycler {
    atomic_uint refs;
    MUTEX_MEMBER(recycler_mu);
    bool closed GUARDED_BY(recycler_mu); /* the log is gone: no segment is wanted back */
    /* Segments on their way, oldest first, still referenced; the last holder takes its segment
     * out; expected_count + count is at most WAL_SPARES_MAX. */
    wal_segment *expected[WAL_SPARES_MAX] GUARDED_BY(recycler_mu);
    unsigned expected_count GUARDED_BY(recycler_mu);
    unsigned count GUARDED_BY(recycler_mu);
    wal_segment *spares[WAL_SPARES_MAX] GUARDED_BY(recycler_mu); /* no reference is left */
} wal_recycler;

int wal_recycler_new(wal_recycler **out);
void wal_recycler_unref(wal_recycler *r);

/* ---- For holders of segments ---- */

/* The last reference to `s` is gone: keeps it as a spare, or returns false. */
bool wal_recycler_take(wal_recycler *r, wal_segment *s);
/* The file of `s` is not needed any more: its descriptor goes, unless the segment is on its way to
 * another use. */
void wal_recycler_let_rest(wal_recycler *r, wal_segment *s);

/* ---- For the log ---- */

/* Announces that `s` will come back. False when there are enough. Of those that are on their way,
 * the oldest is not waited for any more when there are too many: a reader may hold it for hours,
 * and the log goes on using segments again. Its segment number is *given_up then, else 0: its file
 * is to be removed. */
bool wal_recycler_expect(wal_recycler *r, wal_segment *s, uint64_t *given_up);
/* Takes that back. */
void wal_recycler_forget(wal_recycler *r, const wal_segment *s);
/* A spare, the caller's now, or NULL. */
wal_segment *wal_recycler_pop(wal_recycler *r);
/* Spares, and those that are expected. */
unsigned wal_recycler_count(wal_recycler *r);
/* The log goes: frees the spares, and takes no segment any more. Returns how many segments there
 * were, and their numbers: their files are to be removed. */
unsigned wal_recycler_close(wal_recycler *r, uint64_t nos[WAL_SPARES_MAX]);

#endif
