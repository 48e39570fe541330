/* cursor: from one intact frame to the next, over damage (README.md, "Telling a torn tail from
 * loss"). Its input may be hostile: the time is linear in the number of bytes, whatever they are.
 *
 * Start reading at wal_cursor_next.
 */
#include <segments/cursor.h>

#include <base/coding.h>
#include <base/entry.h>
#include <string.h>

/* A frame that passes carries the expected number or, behind damage, one that is not smaller and
 * not absurdly greater. */
#define RESYNC_WINDOW (UINT64_C(1) << 40)

/* What a frame without numbers carries when all have been given out. */
#define SEQ_NEXT_MAX (FIRN_MAX_SEQ + 1)

/* Does the frame keep the rules of its type? Its checksums have been compared. */
static int frame_check(const wal_frame *f, firn_slice payload)
{
    wal_link link;
    wal_seal seal;

    /* W5: a frame cannot know of the durability of its own numbers. */
    if (f->seq_first == 0 || f->seq_first > SEQ_NEXT_MAX ||
        f->count > SEQ_NEXT_MAX - f->seq_first || f->durable_seq >= f->seq_first)
        return FIRN_DAMAGED;
    switch (f->type) {
    case WAL_DATA:
        return f->count > 0 ? entries_check(payload, f->count) : FIRN_DAMAGED;
    case WAL_MARK:
        return f->count == 0 && payload.size == 0 ? FIRN_OK : FIRN_DAMAGED;
    case WAL_CHECKPOINT:
        return f->count == 1 && payload.size == 8 ? FIRN_OK : FIRN_DAMAGED;
    case WAL_LINK:
        if (f->count != 0 || wal_link_decode(payload, &link) != FIRN_OK ||
            link.seq_first > f->seq_first || link.floor_seq >= f->seq_first)
            return FIRN_DAMAGED;
        return FIRN_OK;
    case WAL_SEAL:
        return f->count == 0 ? wal_seal_decode(payload, &seal) : FIRN_DAMAGED;
    case WAL_SKIP:
        return payload.size == 0 || payload.size >= 4 ? FIRN_OK : FIRN_DAMAGED;
    case WAL_FLOOR:
        return f->count == 0 && payload.size == 8 && get_u64(payload.data) < f->seq_first
                   ? FIRN_OK
                   : FIRN_DAMAGED;
    case WAL_RESTORE_POINT:
        return f->count == 1 ? FIRN_OK : FIRN_DAMAGED;
    default:
        return (f->flags & WAL_FLAG_OPTIONAL) ? FIRN_OK : FIRN_UNSUPPORTED;
    }
}

/* A NOTE is no frame: it stands behind the end, or in the way of frames that did not come. */
static void take_note(wal_cursor *c, uint64_t offset, const wal_frame *f)
{
    if (f->count != 0 || f->payload_bytes != 0 || f->seq_first == 0 ||
        f->seq_first > SEQ_NEXT_MAX || f->durable_seq >= f->seq_first)
        return;
    c->note_at = offset;
    if (c->note_durable < f->durable_seq) {
        c->note_durable = f->durable_seq;
        c->note_durable_at = offset;
    }
    if (c->note_intent < f->seq_first - 1)
        c->note_intent = f->seq_first - 1;
}

/* Judges the bytes at `offset`. FIRN_OK, FIRN_DAMAGED, FIRN_UNSUPPORTED. *skip is how far the next
 * frame can be at the nearest: a header that passes is the writer's own, so nothing else lies
 * inside its frame. That also bounds the work: no byte is checksummed for two frames. */
static int judge_frame(wal_cursor *c, uint64_t offset, wal_frame *f, uint64_t *skip)
{
    const uint8_t *at = c->base + offset;
    wal_verdict verdict = wal_frame_decode(at, c->limit - offset, c->salt, offset, f);
    *skip = 8;
    if (verdict == WAL_FRAME_OK || verdict == WAL_FRAME_BAD_PAYLOAD)
        *skip = wal_frame_size(f->payload_bytes);
    if (verdict != WAL_FRAME_OK)
        return FIRN_DAMAGED;
    if (f->type == WAL_NOTE) {
        take_note(c, offset, f);
        return FIRN_DAMAGED;
    }
    return frame_check(f, (firn_slice){at + WAL_FRAME_BYTES, f->payload_bytes});
}

bool wal_cursor_peek(wal_cursor *c)
{
    uint64_t skip;
    if (c->offset >= c->limit || judge_frame(c, c->offset, &c->frame, &skip) != FIRN_OK)
        return false;
    c->at = c->gap_from = c->offset;
    return true;
}

/* Could a frame start with these bytes? Cheap, and wrong in nearly no case that matters: what it
 * lets through is checksummed. */
static bool plausible(const wal_cursor *c, uint64_t offset)
{
    const uint8_t *at = c->base + offset;
    if (at[4] == WAL_NOTE) /* says something, whatever its numbers */
        return offset % WAL_SECTOR_BYTES == 0 && get_u32(at + 8) == 0;
    if (at[4] < WAL_DATA || at[4] > WAL_RESTORE_POINT || at[5] > WAL_FLAG_OPTIONAL)
        return false;
    if (get_u32(at + 8) > c->limit - offset - WAL_FRAME_BYTES)
        return false;
    uint64_t seq = get_u64(at + 16);
    if (c->expected != 0 && (seq < c->expected || seq - c->expected > RESYNC_WINDOW))
        return false;
    return seq <= SEQ_NEXT_MAX && get_u64(at + 24) < seq;
}

static bool zero_64(const uint8_t *p)
{
    uint64_t w[8];
    memcpy(w, p, sizeof w);
    return (w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) == 0;
}

/* Is there nothing but zeros? No frame begins with them. */
static bool beyond_used(const wal_cursor *c, uint64_t offset)
{
    return c->used_end != 0 && offset >= c->used_end;
}

/* Looks behind damage for the next frame that passes. */
static int resync(wal_cursor *c, uint64_t from)
{
    uint64_t offset = from;
    while (offset < c->limit && !beyond_used(c, offset) && c->limit - offset >= WAL_FRAME_BYTES) {
        /* A frame's first eight bytes hold its type and are never all zero. */
        if (c->limit - offset >= 64 && zero_64(c->base + offset)) {
            offset += 64;
            continue;
        }
        uint64_t skip = 8;
        if (plausible(c, offset)) {
            int rc = judge_frame(c, offset, &c->frame, &skip);
            if (rc != FIRN_DAMAGED) {
                c->gap_from = c->offset;
                c->at = offset;
                c->offset = rc == FIRN_OK ? offset + skip : offset;
                return rc;
            }
        }
        offset += skip;
    }
    return FIRN_END;
}

int wal_cursor_next(wal_cursor *c)
{
    if (c->offset >= c->limit || c->limit - c->offset < WAL_FRAME_BYTES ||
        beyond_used(c, c->offset))
        return FIRN_END;
    uint64_t skip;
    int rc = judge_frame(c, c->offset, &c->frame, &skip);
    /* W1. A frame that is intact but stands out of order is not part of this log. */
    if (rc == FIRN_OK && c->expected != 0 && c->frame.seq_first != c->expected)
        rc = FIRN_DAMAGED;
    if (rc == FIRN_DAMAGED) {
        rc = resync(c, c->offset + skip);
    } else if (rc == FIRN_OK) {
        c->gap_from = c->at = c->offset;
        c->offset += skip;
    }
    if (rc == FIRN_OK)
        c->expected = c->frame.seq_first + c->frame.count;
    return rc;
}

uint64_t wal_used_end(const uint8_t *base, uint64_t from, uint64_t limit)
{
    uint64_t end = limit;
    while (end > from && end % 64 != 0 && base[end - 1] == 0)
        end--;
    if (end % 64 == 0)
        while (end >= from + 64 && zero_64(base + end - 64))
            end -= 64;
    while (end > from && base[end - 1] == 0)
        end--;
    return end;
}

int wal_segment_walk(wal_segment *s, uint64_t end, wal_frame_fn fn, void *ctx)
{
    wal_cursor c = {.base = s->base, .limit = end, .salt = s->salt, .offset = WAL_DATA_OFFSET};
    for (;;) {
        int rc = wal_cursor_next(&c);
        if (rc == FIRN_END)
            return FIRN_OK;
        if (rc != FIRN_OK)
            return rc;
        rc = fn(ctx, s, c.at, &c.frame);
        if (rc != 0)
            return rc;
    }
}
