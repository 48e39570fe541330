/* note: what stands behind the newest frame: zeros that mark the end, and a NOTE (README.md, "What
 * one bad sector can take", W11).
 *
 * A frame says of those before it that they were synced; it often lies in the same sector as they.
 * So a NOTE says it, too, in the next page. It is written together with the group that it stands
 * behind, with the same call, and is in the way of the frames that come next, which replace it. It
 * says
 *   durable   the durable line, as a frame does
 *   intent    a sync of everything up to this number was about to start when it was written
 * Both stay true for ever. The writer of a group that waits for a sync writes one with it. Other
 * groups write one where they have overwritten the last one, or where the durable line has moved;
 * and the syncer of such groups has one written before.
 *
 * Invariant: the bytes between the newest frame and the NOTE hold no other NOTE of this life.
 * Locks: none; only the leader is here. Start reading at wal_trailer_plan.
 */
#include <base/error.h>
#include <string.h>

#include "lead.h"

/* Zeros that stand behind the newest frame of a recycled segment: by them, recovery tells
 * the end of the frames from a torn frame. */
static uint64_t mark_bytes(const wal_segment *s, uint64_t end)
{
    if (!s->recycled)
        return 0;
    uint64_t left = s->bytes - end;
    return left < WAL_FRAME_BYTES ? left : WAL_FRAME_BYTES;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void wal_trailer_plan(const wal *w, const wal_group *g, uint64_t durable, uint64_t seq_last,
                      wal_trailer *out)
{
    const wal_segment *s = w->current;
    uint64_t end = s->end + g->bytes;
    uint64_t intent = max_u64(atomic_load_explicit(&w->noted_intent, memory_order_relaxed),
                              atomic_load_explicit(&w->sync_intent, memory_order_relaxed));
    /* What a SEAL or a LINK says needs no NOTE: the next segment does, or the frames that follow at
     * once. */
    bool own = g->first->frame_type != WAL_SEAL && g->first->frame_type != WAL_LINK;
    *out = (wal_trailer){
        .from = end,
        .zeros_to = end + mark_bytes(s, end),
        .note = own ? wal_note_offset(end, s->bytes) : 0,
        .durable = durable,
        .intent = max_u64(g->durable ? seq_last : intent, durable),
    };
    out->stays = s->note != 0 && s->note == out->note && !g->durable &&
                 s->note_durable == out->durable && s->note_intent == out->intent;
    if (s->note != 0 && !out->stays)
        out->zeros_to = max_u64(out->zeros_to, s->note + WAL_FRAME_BYTES);
    out->reach = out->zeros_to;
    if (out->note != 0 && !out->stays)
        out->reach = max_u64(out->reach, out->note + WAL_FRAME_BYTES);
}

static void note_encode(const wal_segment *s, const wal_trailer *t, uint64_t time_ms, uint8_t *p)
{
    wal_frame f = {
        .type = WAL_NOTE,
        .flags = WAL_FLAG_OPTIONAL,
        .seq_first = t->intent + 1,
        .durable_seq = t->durable,
        .time_ms = time_ms,
    };
    wal_frame_encode(&f, s->salt, t->note, p);
}

void wal_trailer_put(const wal_segment *s, const wal_trailer *t, uint64_t time_ms, uint8_t *p)
{
    memset(p, 0, (size_t)(t->zeros_to - t->from));
    if (t->note != 0 && !t->stays)
        note_encode(s, t, time_ms, p + (t->note - t->from));
}

void wal_trailer_publish(wal *w, wal_segment *s, const wal_trailer *t)
{
    if (t->stays)
        return;
    s->note = t->note;
    s->note_durable = t->durable;
    s->note_intent = t->intent;
    /* Without one, the next round asks for one again. */
    atomic_store_explicit(&w->noted_durable, t->note ? t->durable : 0, memory_order_release);
    if (t->note)
        atomic_store_explicit(&w->noted_intent, t->intent, memory_order_release);
}

/* Are these bytes at `offset` the NOTE that the segment is known to have? */
static bool is_known_note(const wal_segment *s, uint64_t offset, const uint8_t *bytes,
                          wal_verdict *verdict)
{
    wal_frame f;
    *verdict = wal_frame_decode(bytes, WAL_FRAME_BYTES, s->salt, offset, &f);
    return offset == s->note && *verdict == WAL_FRAME_OK && f.type == WAL_NOTE &&
           f.durable_seq == s->note_durable && f.seq_first == s->note_intent + 1;
}

/* Clears what a refused write may have left at `offset`. *stays: the NOTE of before stands there
 * unharmed. */
static int note_wipe(wal_segment *s, uint64_t offset, bool *stays, firn_error *err)
{
    static const uint8_t zeros[WAL_FRAME_BYTES];
    uint8_t bytes[WAL_FRAME_BYTES];
    wal_verdict verdict;
    int rc = fs_read(s->file, bytes, sizeof bytes, offset, err);
    if (rc != FIRN_OK)
        return rc;
    *stays = is_known_note(s, offset, bytes, &verdict);
    /* What has no intact header misleads no reader: stale bytes of an earlier use, a part of a
     * NOTE. */
    if (!*stays && verdict != WAL_FRAME_EMPTY && verdict != WAL_FRAME_BAD_HEADER) {
        rc = fs_write(s->file, zeros, sizeof zeros, offset, err);
        memset(bytes, 0, sizeof bytes);
    }
    if (!s->mapped)
        memcpy(s->base + offset, bytes, sizeof bytes);
    return rc;
}

int wal_trailer_wipe(wal *w, wal_segment *s, const wal_trailer *t, firn_error *err)
{
    bool stays = false, none;
    int rc = FIRN_OK;
    if (s->note != 0)
        rc = note_wipe(s, s->note, &stays, err);
    if (rc == FIRN_OK && t->note != 0 && t->note != s->note)
        rc = note_wipe(s, t->note, &none, err);
    if (rc == FIRN_OK && !stays) {
        s->note = 0;
        atomic_store_explicit(&w->noted_durable, 0, memory_order_relaxed);
    }
    return rc;
}

/* The NOTE of before may stand where this one was to go: then nothing has happened. Else there may
 * be a part of one, which the next group clears away. */
static void note_refused(wal *w, wal_segment *s, uint64_t offset, int rc, const firn_error *why)
{
    uint8_t bytes[WAL_FRAME_BYTES];
    wal_verdict verdict;
    if (!error_curable(rc))
        wal_poison(w, why);
    if (fs_read(s->file, bytes, sizeof bytes, offset, NULL) == FIRN_OK &&
        is_known_note(s, offset, bytes, &verdict))
        return;
    s->note = offset;
    s->note_durable = UINT64_MAX;
}

int wal_note_append(wal *w, firn_error *err)
{
    wal_segment *s = w->current;
    uint8_t bytes[WAL_FRAME_BYTES];
    wal_trailer t = {
        .from = s->end,
        .note = wal_note_offset(s->end, s->bytes),
        .durable = atomic_load_explicit(&w->durable_seq, memory_order_acquire),
        .intent = atomic_load_explicit(&w->last_seq, memory_order_relaxed),
    };
    /* In front of the first frame of a segment, or of a life, there is nothing to say. */
    if (w->link_due || t.note == 0)
        return FIRN_OK;
    note_encode(s, &t, fs_wall_us(w->fs) / 1000, bytes);
    wal_step step;
    wal_step_begin(w, &step);
    int rc = fs_write(s->file, bytes, sizeof bytes, t.note, err);
    wal_step_end(w, &step, "a write into the log");
    if (rc != FIRN_OK) {
        note_refused(w, s, t.note, rc, err);
        return rc;
    }
    if (!s->mapped)
        memcpy(s->base + t.note, bytes, sizeof bytes);
    wal_trailer_publish(w, s, &t);
    return FIRN_OK;
}
