/* append: a group of requests becomes frames in the current segment.
 *
 * How the bytes get there
 *   stored    into the mapping: no writer of the group waits for a sync, and the pages are ready.
 *             No system call.
 *   written   put together in `scratch` (or, for a buffered segment, in its memory) and written
 *             with one call.
 * In both, a frame's header is written after its payload, so that a process that dies in the middle
 * leaves a torn tail and not a frame.
 *
 * Invariant: `end`, `chain`, `frames` and last_seq change only after every byte of the group is in
 * place. Locks: none; only the leader is here. Start reading at wal_group_write.
 */
#include <base/alloc.h>
#include <base/checksum.h>
#include <base/error.h>
#include <string.h>

#include "lead.h"

/* A leader that has to make pages ready itself makes few: writers wait for it. */
#define POPULATE_STEP_BYTES (UINT64_C(64) << 10)
/* A larger group is written piece by piece instead of being put together first. */
#define SCRATCH_BYTES_MAX (UINT64_C(2) << 20)
/* Zeros written ahead of durable groups: the sync after a write into blocks that were written
 * before is a third cheaper, since the file system has nothing to note. */
#define PREWRITE_BYTES (UINT64_C(256) << 10)

static const uint8_t zeros[64 << 10];

/* ---- Frames ---- */

static void payload_put(const wal_request *r, uint8_t *p)
{
    if (r->single) {
        memcpy(p, r->head, sizeof r->head);
        p += sizeof r->head;
        if (r->key.size > 0)
            memcpy(p, r->key.data, r->key.size);
        p += r->key.size;
        if (r->value.size > 0)
            memcpy(p, r->value.data, r->value.size);
    } else if (r->key.size > 0) {
        memcpy(p, r->key.data, r->key.size);
    }
}

/* Where the next frame goes, and what it says. Becomes the segment's state when the group has been
 * written. */
typedef struct position {
    uint64_t end, seq_next, chain, frames;
    uint64_t durable_seq, time_ms;
} position;

static void header_put(wal_segment *s, position *at, wal_request *r, uint8_t *p)
{
    wal_frame f = {
        .type = r->frame_type,
        .flags = r->frame_type == WAL_MARK ? WAL_FLAG_OPTIONAL : 0,
        .payload_bytes = (uint32_t)r->payload_bytes,
        .payload_crc = r->payload_crc,
        .count = r->count,
        .seq_first = at->seq_next,
        .durable_seq = at->durable_seq,
        .time_ms = at->time_ms,
    };
    wal_frame_encode(&f, s->salt, at->end, p);
    r->offset = at->end;
    r->seq_first = at->seq_next;
    r->seq_last = at->seq_next + r->count - 1;
    at->chain = wal_chain_next(at->chain, f.header_crc);
    at->frames++;
    at->seq_next += r->count;
    at->end += wal_frame_size(r->payload_bytes);
}

/* Writes the group's frames into memory at `p`. */
static void group_put(wal_segment *s, position *at, const wal_group *g, uint8_t *p)
{
    for (wal_request *r = g->first;; r = r->newer) {
        uint64_t size = wal_frame_size(r->payload_bytes);
        uint64_t behind = WAL_FRAME_BYTES + r->payload_bytes;
        payload_put(r, p + WAL_FRAME_BYTES);
        memset(p + behind, 0, (size_t)(size - behind));
        /* The memory may be the file itself: the header last, so that a death in between tears. */
        atomic_signal_fence(memory_order_release);
        header_put(s, at, r, p);
        p += size;
        if (r == g->last)
            return;
    }
}

/* ---- Getting the bytes there ---- */

/* May [.., upto) of the mapping be stored into? Makes a few pages ready when the helper is behind.
 */
static bool pages_ready(wal *w, wal_segment *s, uint64_t upto)
{
    uint64_t have = atomic_load_explicit(&s->populated, memory_order_relaxed);
    if (__builtin_expect(upto > have, 0)) {
        uint64_t from = s->end / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
        if (from < have)
            from = have;
        have = wal_round_up(upto, WAL_PAGE_BYTES) + POPULATE_STEP_BYTES;
        if (have > s->bytes)
            have = s->bytes;
        wal_step step;
        wal_step_begin(w, &step);
        int rc = fs_populate(s->file, s->base + from, (size_t)(have - from), true, NULL);
        wal_step_end(w, &step, "making room for a write into the log");
        if (rc == FIRN_UNSUPPORTED)
            w->can_store = false;
        /* A full disk or a bad device: writing the group says so, to the caller. */
        if (rc != FIRN_OK)
            return false;
        /* The helper may have gone further meanwhile. */
        if (atomic_load_explicit(&s->populated, memory_order_relaxed) < have)
            atomic_store_explicit(&s->populated, have, memory_order_relaxed);
    }
    if (have - upto < w->populate_ahead / 2 && have < s->bytes)
        wal_helper_wake(w);
    return true;
}

static int scratch_reserve(wal *w, uint64_t bytes, firn_error *err)
{
    if (bytes <= w->scratch_bytes)
        return FIRN_OK;
    size_t size = (size_t)wal_round_up(bytes, UINT64_C(64) << 10);
    uint8_t *p = heap_realloc(w->scratch, size);
    if (!p)
        return error_no_memory(err);
    w->scratch = p;
    w->scratch_bytes = size;
    return FIRN_OK;
}

/* How far a durable write of [.., end) should reach with zeros behind it. */
static uint64_t prewrite_end(const wal_segment *s, uint64_t end)
{
    if (end <= s->prewritten)
        return end;
    uint64_t ahead = s->bytes / 16 < PREWRITE_BYTES ? s->bytes / 16 : PREWRITE_BYTES;
    uint64_t reach = wal_round_up(end, WAL_PAGE_BYTES) + ahead / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
    return reach < s->bytes ? reach : s->bytes;
}

/* A single large frame: payload, padding, then the header, straight from the caller's memory. */
static int write_pieces(wal_segment *s, position *at, wal_request *r, firn_error *err)
{
    uint64_t start = at->end;
    uint64_t body = start + WAL_FRAME_BYTES;
    uint64_t size = wal_frame_size(r->payload_bytes);
    uint8_t header[WAL_FRAME_BYTES];
    int rc = FIRN_OK;
    if (r->single) {
        rc = fs_write(s->file, r->head, sizeof r->head, body, err);
        body += sizeof r->head;
    }
    if (rc == FIRN_OK)
        rc = fs_write(s->file, r->key.data, r->key.size, body, err);
    body += r->key.size;
    if (rc == FIRN_OK && r->single)
        rc = fs_write(s->file, r->value.data, r->value.size, body, err);
    if (r->single)
        body += r->value.size;
    if (rc == FIRN_OK)
        rc = fs_write(s->file, zeros, (size_t)(start + size - body), body, err);
    header_put(s, at, r, header);
    if (rc == FIRN_OK)
        rc = fs_write(s->file, header, sizeof header, start, err);
    return rc;
}

/* A write was refused for want of space. What of the group's headers reached the file is wiped,
 * durably: an intact frame of a group that "did not happen" could otherwise follow a later one that
 * has taken its numbers. */
static int group_wipe(wal *w, wal_segment *s, const wal_group *g, const wal_trailer *t,
                      firn_error *err)
{
    bool wiped = false;
    int rc = wal_trailer_wipe(w, s, t, err);
    if (rc != FIRN_OK)
        return rc;
    for (wal_request *r = g->first;; r = r->newer) {
        uint8_t bytes[WAL_FRAME_BYTES];
        wal_frame f;
        rc = fs_read(s->file, bytes, sizeof bytes, r->offset, err);
        if (rc != FIRN_OK)
            return rc;
        wal_verdict verdict = wal_frame_decode(bytes, sizeof bytes, s->salt, r->offset, &f);
        if (verdict != WAL_FRAME_EMPTY && verdict != WAL_FRAME_BAD_HEADER) {
            rc = fs_write(s->file, zeros, sizeof bytes, r->offset, err);
            if (rc != FIRN_OK)
                return rc;
            wiped = true;
        }
        if (r == g->last)
            break;
    }
    return wiped ? fs_sync(s->file, err) : FIRN_OK;
}

/* A failed write of a group at [s->end, ..): either nothing has happened, or the log is poisoned.
 */
static int write_failed(wal *w, const wal_group *g, const wal_trailer *t, int rc, firn_error *err)
{
    wal_segment *s = w->current;
    if (!s->mapped)
        memset(s->base + s->end, 0, (size_t)g->bytes);
    if (error_curable(rc)) {
        firn_error wipe;
        if (group_wipe(w, s, g, t, &wipe) == FIRN_OK) {
            error_hint_curable(err, " and try again: nothing was written, and the log goes on by "
                                    "itself");
            return rc;
        }
        if (err)
            *err = wipe;
    }
    if (err)
        err->status = FIRN_IO;
    error_hint(err, "whether the write survives is unknown; find the cause, then close the log and "
                    "open it again");
    wal_poison(w, err);
    return FIRN_IO;
}

/* One large frame, in several calls. */
static int write_alone(wal_segment *s, position *at, const wal_group *g, const wal_trailer *t,
                       firn_error *err)
{
    uint8_t note[WAL_FRAME_BYTES];
    wal_trailer only_note = *t;
    int rc = FIRN_OK;
    if (t->zeros_to > t->from)
        rc = fs_write(s->file, zeros, (size_t)(t->zeros_to - t->from), t->from, err);
    if (rc == FIRN_OK)
        rc = write_pieces(s, at, g->first, err);
    if (rc != FIRN_OK || t->note == 0 || t->stays)
        return rc;
    only_note.from = only_note.zeros_to = t->note;
    wal_trailer_put(s, &only_note, at->time_ms, note);
    return fs_write(s->file, note, sizeof note, t->note, err);
}

/* One system call for the whole group. */
static int write_group(wal *w, position *at, const wal_group *g, const wal_trailer *t,
                       firn_error *err)
{
    wal_segment *s = w->current;
    uint64_t start = at->end;
    int rc = FIRN_OK;
    if (s->mapped && g->bytes > SCRATCH_BYTES_MAX && g->frames == 1) {
        rc = write_alone(s, at, g, t, err);
    } else {
        uint64_t reach = g->durable ? prewrite_end(s, t->reach) : t->reach;
        uint8_t *p = s->base + start;
        if (s->mapped) {
            rc = scratch_reserve(w, reach - start, err);
            if (rc != FIRN_OK)
                return rc;
            p = w->scratch;
        }
        memset(p + g->bytes, 0, (size_t)(reach - start - g->bytes));
        wal_trailer_put(s, t, at->time_ms, p + g->bytes);
        group_put(s, at, g, p);
        rc = fs_write(s->file, p, (size_t)(reach - start), start, err);
        if (rc == FIRN_OK && s->prewritten < reach && g->durable)
            s->prewritten = reach;
    }
    return rc == FIRN_OK ? FIRN_OK : write_failed(w, g, t, rc, err);
}

/* The same by stores into the mapping, whose pages are ready. */
static void store_group(wal_segment *s, position *at, const wal_group *g, const wal_trailer *t)
{
    uint64_t start = s->end;
    if (!t->stays || t->zeros_to > t->from)
        wal_trailer_put(s, t, at->time_ms, s->base + t->from);
    group_put(s, at, g, s->base + start);
    fs_stored(s->file, start, (size_t)(t->zeros_to - start));
    if (t->note != 0 && !t->stays)
        fs_stored(s->file, t->note, WAL_FRAME_BYTES);
}

/* ---- A group ---- */

bool wal_group_next(const wal_group *g, const wal_request **at, wal_applied *frame)
{
    if (*at == g->last)
        return false;
    const wal_request *r = *at = *at ? (*at)->newer : g->first;
    *frame = (wal_applied){
        .segment = g->segment,
        .offset = (uint32_t)(r->offset + WAL_FRAME_BYTES),
        .count = r->count,
        .bytes = r->payload_bytes,
        .seq_first = r->seq_first,
    };
    return true;
}

void wal_group_count(wal *w, const wal_group *g)
{
    wal_count(&w->appended_bytes, g->bytes);
    wal_count(&w->appended_batches, g->frames);
    wal_count(&w->appended_entries, g->entries);
    wal_count(&w->groups, 1);
    atomic_store_explicit(&w->proven_seq, g->durable_seq, memory_order_relaxed);
    uint64_t tick = atomic_load_explicit(&w->tick, memory_order_relaxed) + 1;
    atomic_store_explicit(&w->last_seq, g->seq_last, memory_order_release);
    atomic_store_explicit(&w->tick, tick, memory_order_release);
    for (wal_request *r = g->first;; r = r->newer) {
        r->tick = tick;
        r->segment_no = g->segment->no;
        if (r == g->last)
            return;
    }
}

int wal_group_write(wal *w, wal_group *g, firn_error *err)
{
    wal_segment *s = w->current;
    uint64_t last_seq = atomic_load_explicit(&w->last_seq, memory_order_relaxed);
    if (g->numbers > FIRN_MAX_SEQ - last_seq)
        return error_file(err, FIRN_TOO_LARGE, s->file->path, s->end,
                          "the log has used up its sequence numbers (2^56 - 1)");
    position at = {
        .end = s->end,
        .seq_next = last_seq + 1,
        .chain = s->chain,
        .frames = s->frames,
        /* W5: read before the bytes are written, so it can only be too small. */
        .durable_seq = atomic_load_explicit(&w->durable_seq, memory_order_acquire),
        .time_ms = fs_wall_us(w->fs) / 1000,
    };
    wal_trailer trailer;
    wal_trailer_plan(w, g, at.durable_seq, last_seq + g->numbers, &trailer);
    bool store = s->mapped && w->can_store && !g->durable && pages_ready(w, s, trailer.reach);
    if (atomic_load_explicit(&w->storing, memory_order_relaxed) != store)
        atomic_store_explicit(&w->storing, store, memory_order_relaxed);
    if (store) {
        store_group(s, &at, g, &trailer);
    } else {
        wal_step step;
        wal_step_begin(w, &step);
        int rc = write_group(w, &at, g, &trailer, err);
        wal_step_end(w, &step, "a write into the log");
        if (rc != FIRN_OK)
            return rc;
    }
    wal_trailer_publish(w, s, &trailer);
    s->end = at.end;
    s->chain = at.chain;
    s->frames = at.frames;
    s->seq_last = g->seq_last = at.seq_next - 1;
    g->durable_seq = at.durable_seq;
    atomic_store_explicit(&s->visible_end, at.end, memory_order_release);
    w->fresh = false;
    return FIRN_OK;
}

int wal_frame_append(wal *w, wal_request *r, firn_error *err)
{
    r->payload_crc = crc32_update(0, r->key.data, r->key.size);
    r->payload_bytes = r->key.size;
    wal_group g;
    wal_group_init(w, &g, r);
    int rc = wal_group_write(w, &g, err);
    if (rc == FIRN_OK)
        wal_group_count(w, &g);
    return rc;
}
