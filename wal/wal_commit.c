/* wal_commit: the way of a request into the log (README.md, "The queue").
 *
 * Callers push their request onto `newest` with one compare-and-swap. Who finds the list empty
 * leads. The leader makes room (rotating when the first request does not fit), takes a group from
 * the list, writes a frame for each, tells the index, leaves the list (one compare-and-swap; or it
 * names the next leader), and only then completes its followers, because newer requests still point
 * at them until it has left.
 *
 *     newest -> D -> C -> B -> A (leads)      `older` links, made by those who push
 *               D <- C <- B <- A              `newer` links, made by the leader
 *
 * How the bytes get there
 *   stored    into the mapping: nobody in the group waits for a sync, and the pages are ready. No
 * system call. written   put together in `scratch` (or, for a buffered segment, in its memory) and
 * written with one call. In both, a frame's header is written after its payload, so that a process
 * that dies in the middle leaves a torn tail and not a frame.
 *
 * Locks: none on the way of a group that fits. See wal_impl.h for what the leader owns.
 */
#include <assert.h>
#include <base/alloc.h>
#include <base/checksum.h>
#include <base/coding.h>
#include <base/error.h>
#include <string.h>

#include "wal_impl.h"

/* Long enough for a leader with a short group; with few processors a longer spin steals the
 * leader's. */
#define SPINS 32
/* A leader that has to make pages ready itself makes few: writers wait for it. */
#define POPULATE_STEP_BYTES (UINT64_C(64) << 10)
/* A larger group is written piece by piece instead of being put together first. */
#define SCRATCH_BYTES_MAX (UINT64_C(2) << 20)
/* Zeros written ahead of durable groups: the sync after a write into blocks that were written
 * before is a third cheaper, since the file system has nothing to note. */
#define PREWRITE_BYTES (UINT64_C(256) << 10)

static const uint8_t zeros[64 << 10];

/* ---- The queue ---- */

/* True: the list was empty and the caller leads. */
static bool queue_join(wal *w, wal_request *r)
{
    wal_request *newest = atomic_load_explicit(&w->newest, memory_order_relaxed);
    do {
        r->older = newest;
        /* Release: the leader that finds us finds our request filled in. Acquire: whoever led
         * before has left, and what it did to the leader's fields is seen. */
    } while (!atomic_compare_exchange_weak_explicit(&w->newest, &newest, r, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return newest == NULL;
}

/* Makes the `newer` links from `newest` back to the first request that has one. */
static void queue_link(wal_request *newest)
{
    for (wal_request *r = newest; r->older && !r->older->newer; r = r->older)
        r->older->newer = r;
}

/* Gives leadership to the request behind `last`, or empties the list. */
static void queue_leave(wal *w, wal_request *last)
{
    wal_request *newest = last;
    if (atomic_compare_exchange_strong_explicit(&w->newest, &newest, NULL, memory_order_acq_rel,
                                                memory_order_acquire))
        return;
    queue_link(newest);
    wal_request *next = last->newer;
    next->older = NULL;
    wal_request_set(next, WAL_LEAD);
}

static uint32_t queue_wait(wal_request *r)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t state = atomic_load_explicit(&r->state, memory_order_acquire);
        if (state != WAL_WAITING)
            return state;
        cpu_relax();
    }
    return wal_request_wait(r);
}

/* ---- A group ---- */

typedef struct group {
    wal_request *first, *last; /* linked by `newer` */
    uint64_t frames;
    uint64_t bytes; /* of the frames */
    uint64_t payload;
    uint64_t numbers; /* that it uses */
    uint64_t entries;
    bool durable; /* somebody waits for a sync */
    bool batched; /* somebody counts on the timed sync */
} group;

static void group_add(group *g, wal_request *r)
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

static void group_start(group *g, wal_request *r)
{
    *g = (group){.first = r};
    group_add(g, r);
}

/* Takes along who waits behind the leader, as far as the segment has room. */
static void group_collect(wal *w, group *g, uint64_t room)
{
    wal_request *newest = atomic_load_explicit(&w->newest, memory_order_acquire);
    if (newest == g->first)
        return;
    queue_link(newest);
    for (wal_request *r = g->first; r != newest && g->frames < WAL_GROUP_MAX;) {
        r = r->newer;
        if (r->type != WAL_REQUEST_DATA || g->payload + r->payload_bytes > WAL_GROUP_BYTES_MAX ||
            g->bytes + wal_frame_size(r->payload_bytes) > room)
            return;
        group_add(g, r);
    }
}

/* ---- Frames ---- */

static void payload_put(const wal_request *r, uint8_t *p)
{
    if (r->single) {
        memcpy(p, r->head, sizeof(r->head));
        p += sizeof(r->head);
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
static void group_put(wal_segment *s, position *at, const group *g, uint8_t *p)
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

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* May [.., upto) of the mapping be stored into? Makes a few pages ready when the helper is behind.
 */
static bool pages_ready(wal *w, wal_segment *s, uint64_t upto)
{
    uint64_t have = atomic_load_explicit(&s->populated, memory_order_relaxed);
    if (__builtin_expect(upto > have, 0)) {
        uint64_t from = s->end / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
        if (from < have)
            from = have;
        have = round_up(upto, WAL_PAGE_BYTES) + POPULATE_STEP_BYTES;
        if (have > s->bytes)
            have = s->bytes;
        int status = fs_populate(s->file, s->base + from, (size_t)(have - from), true, NULL);
        if (status == FIRN_UNSUPPORTED)
            w->can_store = false;
        /* A full disk or a bad device: writing the group says so, to the caller. */
        if (status != FIRN_OK)
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
    size_t size = (size_t)round_up(bytes, UINT64_C(64) << 10);
    uint8_t *p = mem_realloc(w->scratch, size);
    if (!p)
        return error_no_memory(err, size);
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
    uint64_t reach = round_up(end, WAL_PAGE_BYTES) + ahead / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
    return reach < s->bytes ? reach : s->bytes;
}

/* A single large frame: payload, padding, then the header, straight from the caller's memory. */
static int write_pieces(wal_segment *s, position *at, wal_request *r, firn_error *err)
{
    uint64_t start = at->end;
    uint64_t body = start + WAL_FRAME_BYTES;
    uint64_t size = wal_frame_size(r->payload_bytes);
    uint8_t header[WAL_FRAME_BYTES];
    int status = FIRN_OK;
    if (r->single) {
        status = fs_write(s->file, r->head, sizeof(r->head), body, err);
        body += sizeof(r->head);
    }
    if (status == FIRN_OK)
        status = fs_write(s->file, r->key.data, r->key.size, body, err);
    body += r->key.size;
    if (status == FIRN_OK && r->single)
        status = fs_write(s->file, r->value.data, r->value.size, body, err);
    if (r->single)
        body += r->value.size;
    if (status == FIRN_OK)
        status = fs_write(s->file, zeros, (size_t)(start + size - body), body, err);
    header_put(s, at, r, header);
    if (status == FIRN_OK)
        status = fs_write(s->file, header, sizeof(header), start, err);
    return status;
}

/* A write was refused for want of space. What of the group's headers reached the file is wiped,
 * durably: an intact frame of a group that "did not happen" could otherwise follow a later one that
 * has taken its numbers. */
static int group_wipe(wal_segment *s, const group *g, firn_error *err)
{
    bool wiped = false;
    for (wal_request *r = g->first;; r = r->newer) {
        uint8_t bytes[WAL_FRAME_BYTES];
        wal_frame f;
        int status = fs_read(s->file, bytes, sizeof(bytes), r->offset, err);
        if (status != FIRN_OK)
            return status;
        wal_verdict verdict = wal_frame_decode(bytes, sizeof(bytes), s->salt, r->offset, &f);
        if (verdict != WAL_FRAME_EMPTY && verdict != WAL_FRAME_BAD_HEADER) {
            status = fs_write(s->file, zeros, sizeof(bytes), r->offset, err);
            if (status != FIRN_OK)
                return status;
            wiped = true;
        }
        if (r == g->last)
            break;
    }
    return wiped ? fs_sync(s->file, err) : FIRN_OK;
}

/* A failed write of a group at [s->end, ..): either nothing has happened, or the log is poisoned.
 */
static int write_failed(wal *w, wal_segment *s, const group *g, int status, firn_error *err)
{
    if (!s->mapped)
        memset(s->base + s->end, 0, (size_t)g->bytes);
    if (status == FIRN_NO_SPACE || status == FIRN_NO_MEMORY) {
        firn_error wipe;
        if (group_wipe(s, g, &wipe) == FIRN_OK) {
            error_hint(err, "make room on the disk (or raise the quota) and try again: nothing was "
                            "written, and the log goes on by itself");
            return status;
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

/* Zeros that stand behind the newest frame of a recycled segment: whoever reads it after a crash tells the end of
 * the frames from a torn one by them. */
static uint64_t mark_bytes(const wal_segment *s, uint64_t end)
{
    if (!s->recycled)
        return 0;
    uint64_t left = s->bytes - end;
    return left < WAL_FRAME_BYTES ? left : WAL_FRAME_BYTES;
}

/* One system call for the whole group. */
static int write_group(wal *w, wal_segment *s, position *at, const group *g, firn_error *err)
{
    uint64_t start = at->end;
    int status = FIRN_OK;
    if (s->mapped && g->bytes > SCRATCH_BYTES_MAX && g->frames == 1) {
        uint64_t mark = mark_bytes(s, start + g->bytes);
        if (mark > 0)
            status = fs_write(s->file, zeros, (size_t)mark, start + g->bytes, err);
        if (status == FIRN_OK)
            status = write_pieces(s, at, g->first, err);
    } else {
        uint64_t reach = g->durable ? prewrite_end(s, start + g->bytes) : start + g->bytes;
        uint64_t marked = start + g->bytes + mark_bytes(s, start + g->bytes);
        if (reach < marked)
            reach = marked;
        uint8_t *p = s->base + start;
        if (s->mapped) {
            status = scratch_reserve(w, reach - start, err);
            if (status != FIRN_OK)
                return status;
            p = w->scratch;
        }
        if (s->mapped || s->recycled)
            memset(p + g->bytes, 0, (size_t)(reach - start - g->bytes));
        group_put(s, at, g, p);
        status = fs_write(s->file, p, (size_t)(reach - start), start, err);
        if (status == FIRN_OK && s->prewritten < reach && g->durable)
            s->prewritten = reach;
    }
    return status == FIRN_OK ? FIRN_OK : write_failed(w, s, g, status, err);
}

/* ---- Telling the others ---- */

static void group_apply(wal *w, wal_segment *s, const group *g)
{
    const wal_hooks *hooks = &w->config.hooks;
    if (!hooks->apply)
        return;
    for (wal_request *r = g->first;; r = r->newer) {
        if (r->frame_type == WAL_DATA) {
            wal_applied frame = {
                .segment = s,
                .offset = (uint32_t)(r->offset + WAL_FRAME_BYTES),
                .count = r->count,
                .bytes = r->payload_bytes,
                .seq_first = r->seq_first,
            };
            hooks->apply(hooks->ctx, &frame);
        }
        if (r == g->last)
            return;
    }
}

/* The group is in the segment: make it part of the log. */
static void group_publish(wal *w, wal_segment *s, const position *at, const group *g)
{
    const wal_hooks *hooks = &w->config.hooks;
    uint64_t last_seq = at->seq_next - 1;
    s->end = at->end;
    s->chain = at->chain;
    s->frames = at->frames;
    s->seq_last = last_seq;
    atomic_store_explicit(&s->visible_end, at->end, memory_order_release);

    group_apply(w, s, g);
    if (g->numbers > 0 && hooks->publish)
        hooks->publish(hooks->ctx, last_seq);
    wal_count(&w->appended_bytes, g->bytes);
    wal_count(&w->appended_batches, g->frames);
    wal_count(&w->appended_entries, g->entries);
    wal_count(&w->groups, 1);
    atomic_store_explicit(&w->proven_seq, at->durable_seq, memory_order_relaxed);
    uint64_t tick = atomic_load_explicit(&w->tick, memory_order_relaxed) + 1;
    atomic_store_explicit(&w->last_seq, last_seq, memory_order_release);
    atomic_store_explicit(&w->tick, tick, memory_order_release);
    for (wal_request *r = g->first;; r = r->newer) {
        r->tick = tick;
        r->segment_no = s->no;
        if (r == g->last)
            return;
    }
}

/* Appends the group to the current segment, which has room for it. */
static int group_append(wal *w, const group *g, firn_error *err)
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
    uint64_t mark = mark_bytes(s, s->end + g->bytes);
    bool store =
        s->mapped && w->can_store && !g->durable && pages_ready(w, s, s->end + g->bytes + mark);
    if (atomic_load_explicit(&w->storing, memory_order_relaxed) != store)
        atomic_store_explicit(&w->storing, store, memory_order_relaxed);
    if (store) {
        memset(s->base + s->end + g->bytes, 0, (size_t)mark);
        group_put(s, &at, g, s->base + s->end);
        fs_stored(s->file, s->end, (size_t)(g->bytes + mark));
    } else {
        int status = write_group(w, s, &at, g, err);
        if (status != FIRN_OK)
            return status;
    }
    group_publish(w, s, &at, g);
    w->fresh = false;
    return FIRN_OK;
}

/* ---- Frames that the log writes of its own accord ---- */

static int frame_append(wal *w, wal_request *r, firn_error *err)
{
    r->payload_crc = crc32_update(0, r->key.data, r->key.size);
    r->payload_bytes = r->key.size;
    group g;
    group_start(&g, r);
    return group_append(w, &g, err);
}

/* A segment's first frame of this life. */
static int link_append(wal *w, bool durable, firn_error *err)
{
    if (!w->link_due)
        return FIRN_OK;
    uint8_t payload[WAL_LINK_BYTES];
    w->link.floor_seq = w->floor_appended;
    wal_link_encode(&w->link, payload);
    wal_request r = {
        .frame_type = WAL_LINK,
        .durable = durable,
        .key = {payload, sizeof(payload)},
    };
    int status = frame_append(w, &r, err);
    if (status == FIRN_OK)
        w->link_due = false;
    return status;
}

static int seal_append(wal *w, uint32_t kind, bool durable, firn_error *err)
{
    int status = link_append(w, durable, err);
    if (status != FIRN_OK)
        return status;
    uint8_t payload[WAL_SEAL_BYTES];
    wal_seal seal = {.chain = w->current->chain, .frames = w->current->frames, .kind = kind};
    wal_seal_encode(&seal, payload);
    wal_request r = {
        .frame_type = WAL_SEAL,
        .durable = durable,
        .key = {payload, sizeof(payload)},
    };
    return frame_append(w, &r, err);
}

/* ---- Rotation ---- */

/* Bytes that the current segment has for frames. The reserve is for its SEAL, and for a LINK and a
 * SEAL more when it is closed and opened again. */
static uint64_t room_left(const wal *w)
{
    uint64_t kept = WAL_TAIL_RESERVE + (w->link_due ? wal_frame_size(WAL_LINK_BYTES) : 0);
    uint64_t left = w->current->bytes - w->current->end;
    return left > kept ? left - kept : 0;
}

/* The size of a segment in which a frame of `need` bytes fits. */
static uint64_t segment_bytes_for(const wal *w, uint64_t need)
{
    uint64_t least = WAL_DATA_OFFSET + wal_frame_size(WAL_LINK_BYTES) + need + WAL_TAIL_RESERVE;
    least = round_up(least, WAL_PAGE_BYTES);
    return least > w->config.options.segment_bytes ? least : w->config.options.segment_bytes;
}

static int live_reserve(wal *w, firn_error *err) REQUIRES(w->m)
{
    if (w->live_count < w->live_capacity)
        return FIRN_OK;
    size_t capacity = w->live_capacity * 2 + 8;
    wal_segment **live = mem_realloc(w->live, capacity * sizeof(wal_segment *));
    if (!live)
        return error_no_memory(err, capacity * sizeof(wal_segment *));
    w->live = live;
    w->live_capacity = capacity;
    return FIRN_OK;
}

/* The next segment, ready and announced, but not yet in use. */
static int next_prepare(wal *w, uint64_t need, wal_segment **out, firn_error *err)
    REQUIRES(w->making)
{
    uint64_t last_seq = atomic_load_explicit(&w->last_seq, memory_order_relaxed);
    int status = wal_ready_ensure(w, w->current->no + 1, segment_bytes_for(w, need), err);
    if (status != FIRN_OK) {
        if (status == FIRN_IO)
            wal_poison(w, err);
        return status;
    }
    mutex_lock(&w->m);
    wal_segment *next = w->ready;
    status = live_reserve(w, err);
    mutex_unlock(&w->m);
    if (status != FIRN_OK)
        return status;
    next->seq_first = last_seq + 1;
    next->seq_last = last_seq;
    *out = next;
    const wal_hooks *hooks = &w->config.hooks;
    return hooks->rotating ? hooks->rotating(hooks->ctx, next, last_seq, err) : FIRN_OK;
}

/* Seals the current segment and goes on in the next one, which has room for a frame of `need`
 * bytes. The old one is synced by whoever syncs next, in front of the new one. */
static int rotate(wal *w, uint64_t need, bool durable, firn_error *err)
{
    mutex_lock(&w->making);
    wal_segment *old = w->current, *next;
    int status = next_prepare(w, need, &next, err);
    if (status == FIRN_OK)
        status = seal_append(w, WAL_SEAL_ROTATION, durable, err);
    if (status == FIRN_OK) {
        mutex_lock(&w->m);
        w->live[w->live_count++] = next;
        w->ready = NULL;
        mutex_unlock(&w->m);
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
    return status;
}

/* Room for a frame of this size, and the LINK that has to stand before it. */
static int make_room(wal *w, uint64_t bytes, bool durable, firn_error *err)
{
    if (bytes > room_left(w)) {
        int status = rotate(w, bytes, durable, err);
        if (status != FIRN_OK)
            return status;
    }
    return link_append(w, durable, err);
}

/* Asks for the next segment when the current one is half full. */
static void ask_for_successor(wal *w)
{
    const wal_segment *s = w->current;
    if (s->end < s->bytes / 2 || w->asked_ready_for == s->no)
        return;
    w->asked_ready_for = s->no;
    wal_helper_wake(w);
}

/* ---- Leading ---- */

static int control_frame(wal *w, wal_request *r, uint8_t type, uint32_t count, firn_error *err)
{
    uint8_t payload[8];
    r->frame_type = type;
    r->count = count;
    uint64_t bytes = wal_frame_size(sizeof(payload));
    if (type == WAL_MARK && bytes > room_left(w))
        return FIRN_OK; /* no reason to start a segment: the SEAL will prove as much */
    int status = make_room(w, bytes, r->durable, err);
    if (status != FIRN_OK)
        return status;
    if (type == WAL_CHECKPOINT && r->argument == UINT64_MAX)
        r->argument = atomic_load_explicit(&w->last_seq, memory_order_relaxed);
    put_u64(payload, r->argument);
    if (type == WAL_SKIP)
        put_u64(payload, WAL_SKIP_SEEN);
    r->key = type == WAL_MARK ? (firn_slice){NULL, 0} : (firn_slice){payload, sizeof(payload)};
    if (type == WAL_SKIP)
        r->key.size = 4;
    status = frame_append(w, r, err);
    if (status == FIRN_OK && type == WAL_FLOOR && w->floor_appended < r->argument)
        w->floor_appended = r->argument;
    return status;
}

static int control_carry_out(wal *w, wal_request *r, firn_error *err)
{
    switch ((wal_request_type)r->type) {
    case WAL_REQUEST_CHECKPOINT:
        return control_frame(w, r, WAL_CHECKPOINT, 1, err);
    case WAL_REQUEST_FLOOR:
        return control_frame(w, r, WAL_FLOOR, 0, err);
    case WAL_REQUEST_MARK:
        return control_frame(w, r, WAL_MARK, 0, err);
    case WAL_REQUEST_SKIP:
        return control_frame(w, r, WAL_SKIP, (uint32_t)r->argument, err);
    case WAL_REQUEST_LINK:
        return link_append(w, r->durable, err);
    case WAL_REQUEST_ROTATE:
        if (w->current->seq_last < w->current->seq_first)
            return FIRN_OK;
        return rotate(w, 0, r->durable, err);
    case WAL_REQUEST_SEAL:
        return seal_append(w, WAL_SEAL_CLOSE, true, err);
    case WAL_REQUEST_DATA:
        break;
    }
    assert(r->type != WAL_REQUEST_DATA);
    return FIRN_INVALID;
}

/* Carries out the leader's request and whatever fits behind it. */
static int group_carry_out(wal *w, group *g, firn_error *err)
{
    wal_request *leader = g->first;
    if (atomic_load_explicit(&w->poisoned, memory_order_acquire))
        return wal_poisoned_error(w, err);
    if (leader->type != WAL_REQUEST_DATA) {
        int status = control_carry_out(w, leader, err);
        leader->tick = atomic_load_explicit(&w->tick, memory_order_relaxed);
        return status;
    }
    int status = make_room(w, g->bytes, leader->durable, err);
    if (status != FIRN_OK)
        return status;
    group_collect(w, g, room_left(w));
    const wal_hooks *hooks = &w->config.hooks;
    if (hooks->prepare) {
        status = hooks->prepare(hooks->ctx, g->entries, g->payload, err);
        if (status != FIRN_OK)
            return status;
    }
    status = group_append(w, g, err);
    if (status == FIRN_OK)
        ask_for_successor(w);
    return status;
}

/* Everybody in the group but the leader gets its answer, or goes to wait for the sync. Returns the
 * chain of those who wait, the leader included. */
static wal_request *group_complete(const group *g, int status, const firn_error *error)
{
    wal_request *waiting = NULL, **tail = &waiting;
    for (wal_request *r = g->first, *next;; r = next) {
        bool is_last = r == g->last;
        next = is_last ? NULL : r->newer;
        r->status = status;
        if (status != FIRN_OK && r->err)
            *r->err = *error;
        if (status == FIRN_OK && r->durable) {
            *tail = r;
            tail = &r->next;
        } else if (r != g->first) {
            wal_request_set(r, WAL_DONE);
        }
        if (is_last)
            break;
    }
    *tail = NULL;
    return waiting;
}

/* Leads one group. Returns the state in which that leaves the leader's own request. */
static uint32_t lead(wal *w, wal_request *leader)
{
    firn_error error;
    group g;
    group_start(&g, leader);
    int status = group_carry_out(w, &g, &error);
    queue_leave(w, g.last);
    wal_request *waiting = group_complete(&g, status, &error);
    if (status == FIRN_OK && g.batched)
        wal_sync_batched(w);
    if (!waiting)
        return WAL_DONE;
    wal_request *own = status == FIRN_OK && leader->durable ? leader : NULL;
    if (wal_sync_enlist(w, waiting, own))
        return WAL_SYNC;
    return own ? WAL_WAITING : WAL_DONE;
}

int wal_submit(wal *w, wal_request *r)
{
    atomic_init(&r->state, WAL_WAITING);
    r->newer = NULL;
    uint32_t state = queue_join(w, r) ? WAL_LEAD : queue_wait(r);
    if (state == WAL_LEAD) {
        atomic_store_explicit(&r->state, WAL_WAITING, memory_order_relaxed);
        state = lead(w, r);
        if (state == WAL_WAITING)
            state = wal_request_wait(r);
    }
    if (state == WAL_SYNC)
        wal_sync_round(w); /* covers this request too, and says so in its status */
    return r->status;
}
