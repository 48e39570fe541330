/* rotate: from one segment to the next (README.md, SEAL and LINK).
 *
 *     old:  ... frames | SEAL(rotation)        next:  LINK | frames ...
 *
 * The next segment is durable and empty before it is used (W3). Each step that fails leaves the log
 * as it was, or with a LINK due that the next append writes. The next syncer syncs the old
 * segment before the new one (W4), so that no writer waits for it here.
 *
 * Locks: making for the whole of a rotation, m for moments.
 */
#include <base/alloc.h>
#include <base/error.h>
#include <base/grow.h>

#include "lead.h"

/* ---- Frames that the log writes of its own accord ---- */

/* A segment's first frame of this life. */
int wal_link_append(wal *w, bool durable, firn_error *err)
{
    if (!w->link_due)
        return FIRN_OK;
    uint8_t payload[WAL_LINK_BYTES];
    w->link.floor_seq = w->floor_appended;
    wal_link_encode(&w->link, payload);
    wal_request r = {
        .frame_type = WAL_LINK,
        .durable = durable,
        .key = {payload, sizeof payload},
    };
    int rc = wal_frame_append(w, &r, err);
    if (rc == FIRN_OK)
        w->link_due = false;
    return rc;
}

int wal_seal_append(wal *w, uint32_t kind, bool durable, firn_error *err)
{
    int rc = wal_link_append(w, durable, err);
    if (rc != FIRN_OK)
        return rc;
    uint8_t payload[WAL_SEAL_BYTES];
    wal_seal seal = {.chain = w->current->chain, .frames = w->current->frames, .kind = kind};
    wal_seal_encode(&seal, payload);
    wal_request r = {
        .frame_type = WAL_SEAL,
        .durable = durable,
        .key = {payload, sizeof payload},
    };
    return wal_frame_append(w, &r, err);
}

/* ---- Rotation ---- */

/* Bytes that the current segment has for frames. The reserve is for its SEAL, for a LINK and a
 * SEAL more when it is closed and opened again, and for a NOTE. */
uint64_t wal_room_left(const wal *w)
{
    uint64_t kept =
        wal_tail_kept(w->current->bytes) + (w->link_due ? wal_frame_size(WAL_LINK_BYTES) : 0);
    uint64_t left = w->current->bytes - w->current->end;
    return left > kept ? left - kept : 0;
}

/* The size of a segment in which a frame of `need` bytes fits. */
static uint64_t segment_bytes_for(const wal *w, uint64_t need)
{
    uint64_t least = WAL_DATA_OFFSET + wal_frame_size(WAL_LINK_BYTES) + need + WAL_TAIL_RESERVE;
    least = wal_round_up(least, WAL_PAGE_BYTES);
    least += wal_tail_kept(least + WAL_PAGE_BYTES) - WAL_TAIL_RESERVE;
    return least > w->config.options.segment_bytes ? least : w->config.options.segment_bytes;
}

static int live_reserve(wal *w, firn_error *err) REQUIRES(w->log_mu)
{
    return array_grow(&w->live, &w->live_capacity, w->live_count, sizeof(wal_segment *), err);
}

/* The next segment, ready, but not yet in use. */
static int next_prepare(wal *w, uint64_t need, wal_segment **out, firn_error *err)
    REQUIRES(w->making)
{
    uint64_t last_seq = atomic_load_explicit(&w->last_seq, memory_order_relaxed);
    int rc = wal_check_held(w, err);
    if (rc == FIRN_OK) {
        rc = wal_ready_ensure(w, w->current->no + 1, segment_bytes_for(w, need), err);
        if (rc == FIRN_IO)
            wal_poison(w, err);
    }
    if (rc != FIRN_OK)
        return rc;
    mutex_lock(&w->log_mu);
    wal_segment *next = w->ready;
    rc = live_reserve(w, err);
    mutex_unlock(&w->log_mu);
    if (rc != FIRN_OK)
        return rc;
    next->seq_first = last_seq + 1;
    next->seq_last = last_seq;
    *out = next;
    return FIRN_OK;
}

/* Seals the current segment and goes on in the next one, which has room for a frame of `need`
 * bytes. The next syncer syncs the old one before the new one. */
int wal_rotate(wal *w, uint64_t need, bool durable, firn_error *err)
{
    mutex_lock(&w->making);
    wal_segment *old = w->current, *next;
    int rc = next_prepare(w, need, &next, err);
    if (rc == FIRN_OK)
        rc = wal_seal_append(w, WAL_SEAL_ROTATION, durable, err);
    if (rc == FIRN_OK) {
        mutex_lock(&w->log_mu);
        w->live[w->live_count++] = next;
        w->ready = NULL;
        mutex_unlock(&w->log_mu);
        w->current = next;
        w->link = (wal_link){
            .prev_no = old->no,
            .prev_end = old->end,
            .prev_chain = old->chain,
            .life = w->life,
            .seq_first = next->seq_first,
        };
        w->link_due = true;
    }
    mutex_unlock(&w->making);
    return rc;
}

/* Room for a frame of this size, and the LINK that has to stand before it. */
int wal_make_room(wal *w, uint64_t bytes, bool durable, firn_error *err)
{
    int rc = FIRN_OK;
    if (bytes > wal_room_left(w)) {
        wal_step s;
        wal_step_begin(w, &s);
        rc = wal_rotate(w, bytes, durable, err);
        wal_step_end(w, &s, "the change to the next segment of the log");
    }
    return rc == FIRN_OK ? wal_link_append(w, durable, err) : rc;
}

/* Asks for the next segment when the current one is half full. */
void wal_ask_for_successor(wal *w)
{
    const wal_segment *s = w->current;
    if (s->end < s->bytes / 2 || w->asked_ready_for == s->no)
        return;
    w->asked_ready_for = s->no;
    wal_helper_wake(w);
}
