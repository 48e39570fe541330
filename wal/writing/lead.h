/* lead: what the files on the way of a write share: what a leader does with its group
 * (<wal/group.h>). Everything here is for the leader alone (log.h).
 *
 *   commit.c   the queue, leading
 *   append.c   a group becomes frames in the current segment
 *   rotate.c   from one segment to the next
 */
#ifndef WRITING_LEAD_H
#define WRITING_LEAD_H

#include "log.h"

static inline void wal_group_add(wal_group *g, wal_request *r)
{
    g->last = r;
    g->frames++;
    g->bytes += wal_frame_size(r->payload_bytes);
    g->payload += r->payload_bytes;
    g->numbers += r->count;
    if (r->frame_type == WAL_DATA)
        g->entries += r->count;
    g->durable = g->durable || r->durable;
    g->batched = g->batched || r->batched;
}

static inline void wal_group_init(wal *w, wal_group *g, wal_request *r)
{
    *g = (wal_group){.first = r, .segment = w->current};
    wal_group_add(g, r);
}

static inline uint64_t wal_round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- commit.c ---- */

/* A step of the leader's that may take long. It is known as a wait of its thread; the log is told
 * when the queue has been left. A step within one belongs to that one. */
typedef struct wal_step {
    bool inner;
    patience p;
    uint64_t start_us;
} wal_step;

void wal_step_begin(wal *w, wal_step *s);
void wal_step_end(wal *w, wal_step *s, const char *what);

/* ---- note.c ---- */

/* What stands behind a group: zeros, and perhaps a NOTE. Offsets in the segment. */
typedef struct wal_trailer {
    uint64_t from;            /* where the group ends */
    uint64_t zeros_to;        /* zeros up to here */
    uint64_t note;            /* 0: none */
    bool stays;               /* that one is there already, and as it should be */
    uint64_t reach;           /* behind all that is written */
    uint64_t durable, intent; /* what the NOTE says */
} wal_trailer;

/* For a group that goes to the end of the current segment; `seq_last` is its last number. */
void wal_trailer_plan(const wal *w, const wal_group *g, uint64_t durable, uint64_t seq_last,
                      wal_trailer *out);
/* Puts it into memory; `p` is where t->from lies. What is neither zeros nor NOTE is left alone. */
void wal_trailer_put(const wal_segment *s, const wal_trailer *t, uint64_t time_ms, uint8_t *p);
/* The group is part of the log, and the trailer in place. */
void wal_trailer_publish(wal *w, wal_segment *s, const wal_trailer *t);
/* The group was refused: the NOTE that it was to have must not stay. */
int wal_trailer_wipe(wal *w, wal_segment *s, const wal_trailer *t, firn_error *err);

/* ---- append.c ---- */

/* Writes the group's frames into the current segment, which has room for them. All of it, or
 * FIRN_NO_SPACE or FIRN_NO_MEMORY and nothing has happened, or FIRN_IO and the log is poisoned. */
int wal_group_write(wal *w, wal_group *g, firn_error *err);
/* What was written becomes the log's newest numbers. */
void wal_group_count(wal *w, const wal_group *g);
/* Both, for a frame of the log's own; the payload is r->key. */
int wal_frame_append(wal *w, wal_request *r, firn_error *err);
/* Puts a NOTE behind the newest frame: a sync of everything up to it is about to start. */
int wal_note_append(wal *w, firn_error *err);

/* ---- rotate.c ---- */

/* Bytes that the current segment has for frames. */
uint64_t wal_room_left(const wal *w);
/* Room for a frame of this size, and the LINK that has to stand before it. */
int wal_make_room(wal *w, uint64_t bytes, bool durable, firn_error *err);
/* Seals the current segment and goes on in the next one, which has room for a frame of `need`
 * bytes. */
int wal_rotate(wal *w, uint64_t need, bool durable, firn_error *err);
/* The first frame of this life, or of a segment; does nothing when none is due. */
int wal_link_append(wal *w, bool durable, firn_error *err);
int wal_seal_append(wal *w, uint32_t kind, bool durable, firn_error *err);
/* Asks the helper for the next segment when the current one is half full. */
void wal_ask_for_successor(wal *w);

#endif
