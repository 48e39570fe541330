/* salvage_walk: the next intact block of a table whose index is lost (salvage.h).
 *
 * Behind a block stands the next one. One that is not packed says by its own arrays how long it is:
 * it is looked at first. Else every place ahead may be the end of a block, the beginning of a
 * trailer. What stands there says how long the payload before it is, or how long it was before it
 * was packed; and so where it may have begun:
 *
 *   - at `from`, behind the last block: the checksum of what is there goes along (`sum`), so a try
 *     costs next to nothing
 *   - not packed: at one place. If that begins like data of this very length, it is worth more than
 *     if it does not
 *   - packed: at any place in between, down to SALVAGE_SEARCH_BYTES (salvage_front.c)
 *
 * Holes hold no trailers: they are passed over. Start reading at salvage_walk_next.
 */
#include "salvage.h"

#include "block.h"

#include <base/alloc.h>
#include <base/checksum.h>

enum {
    LEAST_BUDGET = 4 * 60, /* else no checksum can be paid */
    PAIR_UNITS = 5,        /* for each size that salvage_front tries ... */
    FRONT_UNITS = 100,     /* ... and to begin with */
    PEEK_UNITS = 3000,     /* a header that lies outside of the window */
    /* earned ahead of being looked at: what costs much shall not spend what is for later ones */
    STRETCH_BYTES = 512,
};

void salvage_walk_start(salvage_walk *w, salvage *s)
{
    *w = (salvage_walk){.s = s, .scan = SALVAGE_PACKED_MIN, .sum = s->salt};
}

void salvage_walk_release(salvage_walk *w)
{
    heap_free(w->front);
}

/* ---- Blocks that say how long they are ---- */

/* The size that a data block has, by its header, its first slot and its last entry; 0: none begins
 * here. */
static uint64_t data_size(salvage *s, uint64_t at)
{
    const uint8_t *p = salvage_peek(s, at, SST_BLOCK_HEADER_BYTES);
    uint64_t count = get_u32(p), prefix = get_u16(p + 4), seq_base = get_u64(p + 8);
    unsigned wide = p[6] & SST_BLOCK_WIDE, slot = wide ? 4 : 2;
    if (p[6] > SST_BLOCK_WIDE || p[7] != 0 || count == 0 || seq_base > FIRN_MAX_SEQ ||
        count > SST_BLOCK_BYTES_MAX / 7)
        return 0;
    uint64_t slots = SST_BLOCK_HEADER_BYTES + prefix + count * 5, bodies = slots + count * slot;
    p = salvage_peek(s, at + slots, 4);
    if ((wide ? get_u32(p) : get_u16(p)) != bodies)
        return 0;
    p = salvage_peek(s, at + bodies - slot, 4);
    uint64_t last = wide ? get_u32(p) : get_u16(p);
    if (last < bodies || last > SST_BLOCK_BYTES_MAX)
        return 0;
    sst_block_entry e;
    p = salvage_peek(s, at + last, 32);
    sst_block_decode(p, seq_base, &e);
    uint64_t size = last + (uint64_t)(e.suffix - p) + e.suffix_size + e.value_size;
    return size <= SST_BLOCK_BYTES_MAX ? size : 0;
}

static bool trailer_fits(salvage *s, uint64_t at, uint64_t size, salvage_found *out)
{
    const char *why;
    *out = (salvage_found){.at = at, .size = size};
    return sst_trailer_get(salvage_peek(s, at + size, SST_TRAILER_BYTES), (uint32_t)size,
                           &out->trailer, &why) == FIRN_OK;
}

/* Sums all of it. */
static bool block_fits(salvage *s, uint64_t at, uint64_t size, salvage_found *out)
{
    if (!trailer_fits(s, at, size, out) || !salvage_pay_sum(s, at, size))
        return false;
    uint32_t sum = salvage_sum(s, s->salt, at, size);
    const uint8_t *trailer = salvage_peek(s, at + size, SST_TRAILER_BYTES);
    return sst_trailer_sum(sum, trailer, at) == get_u32(trailer + 5);
}

/* Does a data block that is not packed begin right here? */
static bool block_at_from(salvage_walk *w, salvage_found *out)
{
    salvage *s = w->s;
    if (s->to < s->size && w->from + SALVAGE_KEPT_BYTES > s->to)
        salvage_move(s, w->from);
    uint64_t hole, size = salvage_hole(s, w->from, &hole) ? 0 : data_size(s, w->from);
    if (size == 0 || size + SST_TRAILER_BYTES > s->end - w->from)
        return false;
    uint64_t behind = w->from + size + SST_TRAILER_BYTES;
    if (behind > s->to && behind - w->from <= SALVAGE_WINDOW_BYTES - SALVAGE_KEPT_BYTES)
        salvage_move(s, w->from);
    if (!trailer_fits(s, w->from, size, out) || out->trailer.compression != SST_COMPRESSION_NONE)
        return false;
    salvage_earn(s, behind);
    return block_fits(s, w->from, size, out);
}

/* ---- Ends ---- */

/* Is the payload all that lies between `from` and this trailer? */
static bool all_since_from(salvage_walk *w, uint64_t end, salvage_found *out)
{
    salvage *s = w->s;
    uint64_t size = end - w->from;
    if (size > SST_META_BYTES_MAX || !trailer_fits(s, w->from, size, out) ||
        !salvage_pay_sum(s, w->summed, end - w->summed))
        return false;
    w->sum = salvage_sum(s, w->sum, w->summed, end - w->summed);
    w->summed = end;
    const uint8_t *trailer = salvage_peek(s, end, SST_TRAILER_BYTES);
    return sst_trailer_sum(w->sum, trailer, w->from) == get_u32(trailer + 5);
}

static bool plain_before(salvage_walk *w, uint64_t end, uint32_t size, salvage_found *out)
{
    salvage *s = w->s;
    if (size < SALVAGE_PAYLOAD_MIN || size > end - w->from)
        return false;
    uint64_t at = end - size;
    if (at == w->from)
        return all_since_from(w, end, out);
    if (size <= SALVAGE_SEARCH_BYTES)
        return block_fits(s, at, size, out);
    if (size > SST_BLOCK_BYTES_MAX || (at < s->from && !salvage_pay(s, PEEK_UNITS)))
        return false;
    return data_size(s, at) == size && block_fits(s, at, size, out);
}

/* The least that unpacks to so much, roughly: sst_trailer_get knows it exactly. */
static uint32_t packed_least(uint8_t compression, uint32_t raw)
{
    uint32_t least = compression == SST_COMPRESSION_LZ4 ? raw / 255 : raw / 1032;
    return least < 2 + SALVAGE_PACKED_MIN ? SALVAGE_PACKED_MIN : least - 2;
}

static bool packed_before(salvage_walk *w, uint64_t end, const uint8_t *trailer, salvage_found *out,
                          int *rc)
{
    salvage *s = w->s;
    uint32_t raw = get_u32(trailer + 1), least = packed_least(trailer[0], raw);
    uint64_t most = end - w->from;
    if (raw > SST_BLOCK_BYTES_MAX || most < least)
        return false;
    if (most < raw && all_since_from(w, end, out))
        return true;
    if (most >= raw)
        most = raw - 1;
    if (raw > SALVAGE_SEARCH_BYTES || !salvage_pay(s, FRONT_UNITS + PAIR_UNITS * most))
        return false;
    if (!w->front && !(w->front = salvage_front_table_new())) {
        *rc = FIRN_NO_MEMORY;
        return false;
    }
    salvage_end e = {.trailer = trailer, .at = end, .min = least, .max = (uint32_t)most};
    uint32_t size = salvage_front(w->front, &e, s->salt);
    return size && trailer_fits(s, end - size, size, out);
}

/* All places before `to`, which the window holds. */
static bool scan_stretch(salvage_walk *w, uint64_t to, salvage_found *out, int *rc)
{
    salvage *s = w->s;
    uint64_t began = w->scan;
    bool found = false;
    salvage_earn(s, to);
    for (; w->scan < to && !found && *rc == FIRN_OK; w->scan++) {
        const uint8_t *p = s->window + (w->scan - s->from);
        if (p[0] > SST_COMPRESSION_ZLIB)
            continue;
        uint32_t raw = get_u32(p + 1);
        if (raw < SALVAGE_PACKED_MIN || raw > SST_META_BYTES_MAX || s->budget < LEAST_BUDGET)
            continue;
        found = p[0] == SST_COMPRESSION_NONE ? plain_before(w, w->scan, raw, out)
                                             : packed_before(w, w->scan, p, out, rc);
    }
    s->cost.scanned += w->scan - began;
    return found;
}

/* ---- Going on ---- */

/* Before the window leaves it behind, what the sum does not have yet goes into it. */
static void move_on(salvage_walk *w)
{
    salvage *s = w->s;
    if (w->summed >= s->from && w->summed < w->scan && w->scan <= s->to) {
        w->sum = salvage_sum(s, w->sum, w->summed, w->scan - w->summed);
        w->summed = w->scan;
    }
    salvage_move(s, w->scan);
}

static void begin_at(salvage_walk *w, uint64_t from)
{
    w->from = w->summed = from;
    w->scan = from + SALVAGE_PACKED_MIN;
    w->sum = w->s->salt;
    w->looked = false;
}

bool salvage_walk_next(salvage_walk *w, salvage_found *out, int *rc)
{
    salvage *s = w->s;
    bool found = !w->looked && block_at_from(w, out);
    w->looked = true;
    *rc = FIRN_OK;
    while (!found && *rc == FIRN_OK && w->scan + SST_TRAILER_BYTES <= s->end) {
        uint64_t hole;
        if (salvage_hole(s, w->scan, &hole) && hole > w->scan + 4) {
            w->scan = hole - 4; /* a trailer's first five bytes are not all zeros */
            continue;
        }
        if (w->scan < s->from || w->scan + SST_TRAILER_BYTES > s->to)
            move_on(w);
        uint64_t to = s->to < s->end ? s->to : s->end;
        to -= SST_TRAILER_BYTES - 1;
        if (to > s->stored_to && s->stored_to > w->scan)
            to = s->stored_to;
        if (to > w->scan + STRETCH_BYTES)
            to = w->scan + STRETCH_BYTES;
        found = scan_stretch(w, to, out, rc);
    }
    if (found)
        begin_at(w, out->at + out->size + SST_TRAILER_BYTES);
    return found;
}
