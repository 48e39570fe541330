/* fuzz_run: see fuzz_run.h. */
#include "fuzz_run.h"

#include <string.h>

void fuzz_run_add(fuzz_run *r, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value)
{
    fuzz_version v = {
        .seq = seq,
        .key_at = r->bytes.size,
        .value_at = r->bytes.size + key.size,
        .key_size = (uint32_t)key.size,
        .value_size = (uint32_t)value.size,
        .kind = kind,
    };
    fuzz_append(&r->bytes, key.data, key.size);
    fuzz_append(&r->bytes, value.data, value.size);
    fuzz_append(&r->bytes, "", 1); /* never NULL */
    fuzz_append(&r->versions, &v, sizeof v);
}

void fuzz_run_release(fuzz_run *r)
{
    fuzz_buf_release(&r->bytes);
    fuzz_buf_release(&r->versions);
    *r = (fuzz_run){0};
}

int fuzz_run_compare(const fuzz_run *r, size_t i, firn_slice key, uint64_t seq)
{
    int c = slice_compare(fuzz_run_key(r, i), key);
    uint64_t own = fuzz_run_at(r, i)->seq;
    return c != 0 ? c : own < seq ? 1 : own > seq ? -1 : 0;
}

bool fuzz_run_ascends(const fuzz_run *r)
{
    for (size_t i = 1; i < fuzz_run_count(r); i++)
        if (fuzz_run_compare(r, i - 1, fuzz_run_key(r, i), fuzz_run_at(r, i)->seq) >= 0)
            return false;
    return true;
}

size_t fuzz_run_seek(const fuzz_run *r, firn_slice key, uint64_t seq)
{
    size_t i = 0;
    while (i < fuzz_run_count(r) && fuzz_run_compare(r, i, key, seq) < 0)
        i++;
    return i;
}

/* ---- From an input ---- */

#define KEY_ROOM 1024

/* The last key up to some length, and bytes of the input behind it; or, when that is not greater, the
 * last key with one byte more. */
static firn_slice next_key(firn_slice last, uint8_t how, fuzz_input *in, uint8_t *room)
{
    size_t keep = how & 1 ? fuzz_u8(in) : fuzz_small(in);
    if (keep > last.size)
        keep = last.size;
    if (keep > 0)
        memcpy(room, last.data, keep);
    firn_slice more = fuzz_bytes(in, how >> 1 & 3);
    if (more.size > 0)
        memcpy(room + keep, more.data, more.size);
    size_t size = keep + more.size;
    if (how & 8) { /* long */
        size_t more_bytes = fuzz_u8(in);
        memset(room + size, 'k', more_bytes);
        size += more_bytes;
    }
    firn_slice key = {room, size};
    if (slice_compare(key, last) > 0)
        return key;
    if (last.size > 0)
        memcpy(room, last.data, last.size);
    room[last.size] = (uint8_t)more.size;
    return (firn_slice){room, last.size + 1};
}

static size_t make_value(uint8_t how, fuzz_input *in, uint8_t *room)
{
    size_t size = how & 32 ? fuzz_u8(in) * (size_t)(how & 64 ? 33 : 1) : fuzz_small(in);
    firn_slice some = fuzz_bytes(in, size < 4 ? size : 4);
    memset(room, 'v', size);
    if (some.size > 0)
        memcpy(room, some.data, some.size);
    return size;
}

/* Where a range delete from `key` ends: where the last one does, from the same key, or at some key
 * behind. False: the last one reaches behind `key`. */
static bool range_end(const fuzz_run *r, firn_slice key, uint8_t how, fuzz_input *in,
                      firn_slice *end)
{
    static uint8_t room[KEY_ROOM];
    for (size_t i = fuzz_run_count(r); i-- > 0;) {
        if (fuzz_run_at(r, i)->kind != FIRN_DELETE_RANGE)
            continue;
        firn_slice last = fuzz_run_value(r, i);
        if (slice_equal(fuzz_run_key(r, i), key)) {
            memcpy(room, last.data, last.size); /* the run moves when it grows */
            *end = (firn_slice){room, last.size};
            return true;
        }
        if (slice_compare(last, key) > 0)
            return false;
        break;
    }
    *end = next_key(key, how, in, room);
    return true;
}

/* Bits of a version's first byte: 0 to 3 the key, 4 the same key again, 5 and 6 a longer value, 7 a
 * large number; a number that ends in 0 is a delete, one that ends in 1 a range delete, if that fits
 * behind those in front of it. */
static void read_version(fuzz_run *r, fuzz_input *in)
{
    static uint8_t key_room[KEY_ROOM], value_room[256 * 33];
    uint8_t how = fuzz_u8(in);
    size_t count = fuzz_run_count(r);
    firn_slice last = count > 0 ? fuzz_run_key(r, count - 1) : (firn_slice){key_room, 0};
    uint64_t seq = how & 128 ? fuzz_number(in) % FIRN_MAX_SEQ + 1 : fuzz_u8(in) + UINT64_C(1);
    firn_slice key = {key_room, 0};
    if (count > 0 && (how & 16) && fuzz_run_at(r, count - 1)->seq > 1) {
        if (last.size > 0)
            memcpy(key_room, last.data, last.size);
        key.size = last.size;
        seq = 1 + seq % (fuzz_run_at(r, count - 1)->seq - 1);
    } else if (count > 0 || (how & 15)) {
        key = next_key(last, how, in, key_room);
    }
    if (key.size > KEY_ROOM - 320)
        return;
    bool gone = seq % 16 == 0;
    firn_slice end;
    if (seq % 16 == 1 && range_end(r, key, how >> 4, in, &end)) {
        fuzz_run_add(r, key, seq, FIRN_DELETE_RANGE, end);
        return;
    }
    size_t size = gone ? 0 : make_value(how, in, value_room);
    fuzz_run_add(r, key, seq, gone ? FIRN_DELETE : FIRN_PUT, (firn_slice){value_room, size});
}

void fuzz_run_read(fuzz_run *r, fuzz_input *in)
{
    for (uint32_t n = fuzz_u8(in) % 64; n > 0; n--)
        read_version(r, in);
}

firn_slice fuzz_run_near(const fuzz_run *r, fuzz_input *in, uint8_t *room)
{
    uint8_t how = fuzz_u8(in);
    size_t count = fuzz_run_count(r);
    firn_slice key = {room, 0};
    if (count > 0) {
        firn_slice from = fuzz_run_key(r, (how / 4) % count);
        memcpy(room, from.data, from.size);
        key.size = from.size;
    }
    if (how % 4 == 1)
        key.size = key.size * fuzz_u8(in) / 256;
    else if (how % 4 == 2 && key.size > 0)
        room[fuzz_u8(in) % key.size] ^= (uint8_t)(fuzz_u8(in) | 1);
    else if (how % 4 == 3 && key.size < FIRN_MAX_KEY_BYTES)
        room[key.size++] = fuzz_u8(in);
    return key;
}
