/* frame: the entries of a frame that lies in the log, one after the other. Should another process
 * change the file meanwhile, what is given is wrong, but lies within the frame. */
#ifndef ENGINE_FRAME_H
#define ENGINE_FRAME_H

#include <base/entry.h>
#include <base/slice.h>
#include <wal/wal.h>

typedef struct frame_walk {
    const uint8_t *at;
    uint64_t room; /* bytes up to the end of the frame */
    uint32_t left; /* entries */
} frame_walk;

static inline frame_walk frame_begin(const wal_applied *frame)
{
    return (frame_walk){wal_segment_base(frame->segment) + frame->offset, frame->bytes,
                        frame->count};
}

/* False: that was the last one. */
static inline bool frame_next(frame_walk *w, entry *out)
{
    if (w->left == 0 || w->room < ENTRY_HEADER_BYTES)
        return false;
    uint64_t room = w->room - ENTRY_HEADER_BYTES;
    uint64_t key = once_u32(get_u16(w->at + 2)), value = once_u32(entry_value_size(w->at));
    key = key < room ? key : room;
    value = value < room - key ? value : room - key;
    out->kind = (uint8_t)once_u32(entry_kind(w->at));
    out->bucket = (uint16_t)once_u32(entry_bucket(w->at));
    out->key = slice_of(w->at + ENTRY_HEADER_BYTES, key);
    out->value = slice_of(w->at + ENTRY_HEADER_BYTES + key, value);
    w->at += ENTRY_HEADER_BYTES + key + value;
    w->room = room - key - value;
    w->left--;
    return true;
}

#endif
