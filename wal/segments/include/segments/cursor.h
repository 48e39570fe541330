/* cursor: frame by frame through the bytes of one segment, over damage (README.md, "Telling a torn
 * tail from loss"). Reads only. A cursor is used by one thread at a time.
 */
#ifndef SEGMENTS_CURSOR_H
#define SEGMENTS_CURSOR_H

#include <segments/segment.h>

typedef struct wal_cursor {
    const uint8_t *base;
    uint64_t limit;    /* bytes from here on are not looked at */
    uint64_t used_end; /* bytes from here on are zero; 0: unknown */
    uint64_t salt;
    uint64_t offset;   /* where the next frame should start */
    uint64_t expected; /* the number it should carry; 0: any */
    /* After WAL_CURSOR_FRAME: */
    wal_frame frame;
    uint64_t at;       /* where it lies */
    uint64_t gap_from; /* == at, or the start of the damaged range in front of it */
    /* Of the NOTEs that the cursor has come by: */
    uint64_t note_at;                                    /* the last one; 0: none */
    uint64_t note_durable, note_durable_at, note_intent; /* the most that they say */
} wal_cursor;

/* FIRN_OK: the next intact frame is in `frame`. FIRN_END: nothing intact follows; `offset` stays
 * where the frame should have been. FIRN_UNSUPPORTED: an intact frame that this version must not
 * ignore, at `offset`. */
int wal_cursor_next(wal_cursor *c);

/* Is the frame at `offset` intact? It then is in `frame` and `at`; the cursor does not move, and
 * looks no further. */
bool wal_cursor_peek(wal_cursor *c);

static inline firn_slice wal_cursor_payload(const wal_cursor *c)
{
    return (firn_slice){c->base + c->at + WAL_FRAME_BYTES, c->frame.payload_bytes};
}

/* The byte behind the last one in [from, limit) that is not zero; `from` when all are. */
uint64_t wal_used_end(const uint8_t *base, uint64_t from, uint64_t limit);

/* The same of a segment that was opened. Leaves the zeros at its end alone. */
static inline uint64_t wal_segment_used_end(const wal_segment *s, uint64_t from, uint64_t limit)
{
    if (limit > s->used_end)
        limit = s->used_end;
    return from < limit ? wal_used_end(s->base, from, limit) : from;
}

/* Walks the intact frames of one segment in order, up to `end`, over damage. fn's non-zero return
 * stops. */
typedef int (*wal_frame_fn)(void *ctx, wal_segment *s, uint64_t offset, const wal_frame *f);
int wal_segment_walk(wal_segment *s, uint64_t end, wal_frame_fn fn, void *ctx);

#endif
