/* salvage_bytes: the file of a salvage, through a window, and what may still be spent on it
 * (salvage.h, Z1 and Z2). */
#include "salvage.h"

#include <base/alloc.h>
#include <base/checksum.h>

enum {
    CHUNK_BYTES = 64 << 10, /* read at a time ... */
    SECTOR_BYTES = 4096,    /* ... and where that fails */
    EARNED = 6,             /* units for each byte of data */
    BEYOND_UNITS = 2000,    /* a read outside of the window */
    EXTENT_UNITS = 1000,    /* asking the system where a hole ends and the next one begins */
};

#define FIRST_BUDGET (INT64_C(2) << 20)
#define FIRST_HOLES  (UINT64_C(4) << 30)

/* ---- The bytes ---- */

static void read_chunk(salvage *s, uint8_t *to, uint64_t at, size_t size)
{
    s->cost.read += size;
    if (fs_read(s->file, to, size, at, NULL) == FIRN_OK)
        return;
    for (size_t done = 0; done < size; done += SECTOR_BYTES) {
        size_t piece = size - done < SECTOR_BYTES ? size - done : SECTOR_BYTES;
        if (fs_read(s->file, to + done, piece, at + done, NULL) != FIRN_OK)
            memset(to + done, 0, piece);
    }
}

/* What cannot be read reads as zeros. */
static void read_at(salvage *s, uint8_t *to, uint64_t at, uint64_t size)
{
    for (uint64_t done = 0; done < size; done += CHUNK_BYTES)
        read_chunk(s, to + done, at + done,
                   size - done < CHUNK_BYTES ? (size_t)(size - done) : CHUNK_BYTES);
}

int salvage_open(salvage *s, firn_error *err)
{
    int rc = fs_size(s->file, &s->size, err);
    if (rc != FIRN_OK)
        return rc;
    size_t room = s->size < SALVAGE_WINDOW_BYTES ? (size_t)s->size : SALVAGE_WINDOW_BYTES;
    s->window = heap_alloc(room + SALVAGE_PAD_BYTES);
    if (!s->window)
        return error_no_memory(err);
    s->end = s->size;
    s->budget = FIRST_BUDGET;
    s->holes = FIRST_HOLES;
    salvage_move(s, 0);
    return FIRN_OK;
}

void salvage_close(salvage *s)
{
    fs_close(s->file);
    heap_free(s->window);
    buf_release(&s->large);
}

bool salvage_hole(salvage *s, uint64_t at, uint64_t *end)
{
    if (at < s->asked_from || at >= s->stored_to) {
        s->cost.asked++;
        if (fs_next_data(s->file, at, &s->stored_from, &s->stored_to, NULL) != FIRN_OK) {
            s->stored_from = at; /* holes only save time */
            s->stored_to = UINT64_MAX;
        }
        s->asked_from = at;
    }
    *end = s->stored_from < s->size ? s->stored_from : s->size;
    return at < s->stored_from;
}

void salvage_move(salvage *s, uint64_t at)
{
    uint64_t from = at < SALVAGE_KEPT_BYTES ? 0 : at - SALVAGE_KEPT_BYTES;
    uint64_t to = s->size - from < SALVAGE_WINDOW_BYTES ? s->size : from + SALVAGE_WINDOW_BYTES;
    bool known = at + 4 >= s->stored_from && at < s->stored_to;
    if (known && to > s->stored_to && to - s->stored_to > SECTOR_BYTES)
        to = s->stored_to + SECTOR_BYTES; /* no reading of holes */
    uint64_t kept = from;
    if (from >= s->from && from < s->to) {
        kept = s->to < to ? s->to : to;
        memmove(s->window, s->window + (from - s->from), (size_t)(kept - from));
    }
    read_at(s, s->window + (kept - from), kept, to - kept);
    memset(s->window + (to - from), 0, SALVAGE_PAD_BYTES);
    s->from = from;
    s->to = to;
}

static bool in_window(const salvage *s, uint64_t at, uint64_t size)
{
    return at >= s->from && at < s->to && size <= s->to - at;
}

const uint8_t *salvage_peek(salvage *s, uint64_t at, size_t size)
{
    if (in_window(s, at, size))
        return s->window + (at - s->from);
    uint64_t there = at < s->size ? s->size - at : 0;
    memset(s->small, 0, sizeof s->small);
    if (there)
        read_at(s, s->small, at, there < size ? there : size);
    return s->small;
}

const uint8_t *salvage_bytes(salvage *s, uint64_t at, uint64_t size)
{
    if (in_window(s, at, size))
        return s->window + (at - s->from);
    buf_clear(&s->large);
    if (buf_reserve(&s->large, (size_t)size + SALVAGE_PAD_BYTES) != FIRN_OK)
        return NULL;
    read_at(s, s->large.data, at, size);
    memset(s->large.data + size, 0, SALVAGE_PAD_BYTES);
    return s->large.data;
}

uint32_t salvage_sum(salvage *s, uint32_t sum, uint64_t at, uint64_t size)
{
    if (in_window(s, at, size))
        return crc32_update(sum, s->window + (at - s->from), (size_t)size);
    uint8_t piece[SECTOR_BYTES * 4];
    for (uint64_t done = 0, n; done < size; done += n) {
        n = size - done < sizeof piece ? size - done : sizeof piece;
        read_chunk(s, piece, at + done, (size_t)n);
        sum = crc32_update(sum, piece, (size_t)n);
    }
    return sum;
}

/* ---- What may be spent ---- */

void salvage_earn(salvage *s, uint64_t to)
{
    uint64_t next;
    while (s->earned_to < to) {
        bool hole = salvage_hole(s, s->earned_to, &next);
        if (!hole)
            next = s->stored_to;
        if (next > to)
            next = to;
        if (!hole)
            s->budget += (int64_t)(next - s->earned_to) * EARNED;
        s->earned_to = next;
    }
}

bool salvage_pay(salvage *s, uint64_t units)
{
    if (s->budget < 0 || units > (uint64_t)s->budget / 4)
        return false;
    s->budget -= (int64_t)units;
    s->cost.units += units;
    return true;
}

void salvage_owe(salvage *s, uint64_t units)
{
    s->budget -= (int64_t)units;
    s->cost.units += units;
}

/* How much of the range is stored. There may be very many holes, so asking for each is paid, also
 * when what has been learned turns out to be of no use; and it ends behind `most` bytes or
 * units. */
static uint64_t stored_in(salvage *s, uint64_t at, uint64_t size, uint64_t most)
{
    uint64_t stored = 0, end = at + size, next;
    for (uint64_t asked = 0; at < end && stored <= most; asked += EXTENT_UNITS) {
        if (asked > most)
            return most + 1;
        salvage_owe(s, EXTENT_UNITS);
        bool hole = salvage_hole(s, at, &next);
        if (!hole)
            next = s->stored_to;
        if (next > end)
            next = end;
        stored += hole ? 0 : next - at;
        at = next;
    }
    return stored;
}

bool salvage_pay_sum(salvage *s, uint64_t at, uint64_t size)
{
    enum { FIXED = 60 };
    if (in_window(s, at, size))
        return salvage_pay(s, FIXED + size / 8);
    if (s->budget < 0)
        return false;
    uint64_t most = (uint64_t)s->budget / 4, stored = stored_in(s, at, size, most);
    if (stored > most || size - stored > s->holes ||
        !salvage_pay(s, FIXED + BEYOND_UNITS + stored / 2))
        return false;
    s->holes -= size - stored;
    return true;
}
