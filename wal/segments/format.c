/* format: the log's bytes (README.md, "The bytes"). Pure: bytes in, bytes out; no I/O, no
 * state.
 *
 * Decoders are given whatever a disk or an attacker put there: every length is compared with what
 * remains before it is used, and nothing is believed before its checksum has been compared.
 */
#include <segments/format.h>

#include <assert.h>
#include <base/checksum.h>
#include <base/coding.h>
#include <stdio.h>
#include <string.h>

#include <wal/wal.h>

static const uint8_t header_magic[8] = {0x89, 'f', 'i', 'r', 'n', 'w', 'a', 'l'};

enum {
    HEADER_CRC_OFFSET = 124,
    NAME_DIGITS = 12,
};

/* This version needs no feature beyond the format itself. */
#define HEADER_REQUIRED_KNOWN UINT32_C(0)

void wal_header_encode(const wal_header *h, uint8_t out[WAL_HEADER_BYTES])
{
    memset(out, 0, WAL_HEADER_BYTES);
    memcpy(out, header_magic, sizeof header_magic);
    put_u32(out + 8, WAL_VERSION);
    put_u32(out + 12, WAL_HEADER_BYTES);
    memcpy(out + 16, h->store_id, sizeof h->store_id);
    put_u64(out + 32, h->segment_no);
    put_u64(out + 40, h->segment_bytes);
    put_u64(out + 48, h->salt);
    put_u32(out + 56, h->required);
    put_u32(out + 60, h->optional);
    put_u32(out + 64, h->timeline);
    memcpy(out + 68, h->rest, 4);
    put_u64(out + 72, h->created_us);
    memcpy(out + 80, h->rest + 4, 44);
    put_u32(out + HEADER_CRC_OFFSET, crc32_update(0, out, HEADER_CRC_OFFSET));
}

int wal_header_decode(const uint8_t in[WAL_HEADER_BYTES], wal_header *out)
{
    /* The checksum stands at a place that no later version moves, so that "newer" and "damaged" can
     * be told apart. */
    if (memcmp(in, header_magic, sizeof header_magic) != 0 ||
        get_u32(in + HEADER_CRC_OFFSET) != crc32_update(0, in, HEADER_CRC_OFFSET))
        return FIRN_DAMAGED;
    if (get_u32(in + 8) != WAL_VERSION || (get_u32(in + 56) & ~HEADER_REQUIRED_KNOWN) != 0)
        return FIRN_UNSUPPORTED;
    uint64_t bytes = get_u64(in + 40);
    if (get_u32(in + 12) != WAL_HEADER_BYTES || bytes < WAL_SEGMENT_MIN ||
        bytes > WAL_SEGMENT_MAX || bytes % WAL_PAGE_BYTES != 0 || get_u64(in + 32) == 0)
        return FIRN_DAMAGED;

    memcpy(out->store_id, in + 16, sizeof out->store_id);
    out->segment_no = get_u64(in + 32);
    out->segment_bytes = bytes;
    out->salt = get_u64(in + 48);
    out->required = get_u32(in + 56);
    out->optional = get_u32(in + 60);
    out->timeline = get_u32(in + 64);
    out->created_us = get_u64(in + 72);
    memcpy(out->rest, in + 68, 4);
    memcpy(out->rest + 4, in + 80, 44);
    return FIRN_OK;
}

/* ---- Frames ---- */

/* Salt and offset are not stored in the frame: only a frame that was written for this very use of
 * this very place can pass. One checksum over one piece: two short ones cost twice as much. */
static uint32_t frame_header_crc(const uint8_t *header, uint64_t salt, uint64_t offset)
{
    uint8_t bytes[WAL_FRAME_BYTES - 4 + 16];
    memcpy(bytes, header + 4, WAL_FRAME_BYTES - 4);
    put_u64(bytes + WAL_FRAME_BYTES - 4, salt);
    put_u64(bytes + WAL_FRAME_BYTES + 4, offset);
    return crc32_update(0, bytes, sizeof bytes);
}

void wal_frame_encode(wal_frame *f, uint64_t salt, uint64_t offset, uint8_t out[WAL_FRAME_BYTES])
{
    assert(offset % 8 == 0);
    out[4] = f->type;
    out[5] = f->flags;
    put_u16(out + 6, (uint16_t)(f->time_ms >> 32));
    put_u32(out + 8, f->payload_bytes);
    put_u32(out + 12, f->payload_crc);
    put_u64(out + 16, f->seq_first);
    put_u64(out + 24, f->durable_seq);
    put_u32(out + 32, f->count);
    put_u32(out + 36, (uint32_t)f->time_ms);
    f->header_crc = frame_header_crc(out, salt, offset);
    put_u32(out, f->header_crc);
}

static bool all_zero(const uint8_t *p, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (p[i] != 0)
            return false;
    return true;
}

wal_verdict wal_frame_decode(const uint8_t *at, uint64_t available, uint64_t salt, uint64_t offset,
                             wal_frame *out)
{
    if (available < WAL_FRAME_BYTES)
        return WAL_FRAME_EMPTY;
    uint32_t stored = get_u32(at);
    if (stored == 0 && all_zero(at, WAL_FRAME_BYTES))
        return WAL_FRAME_EMPTY;
    if (stored != frame_header_crc(at, salt, offset))
        return WAL_FRAME_BAD_HEADER;

    *out = (wal_frame){
        .type = at[4],
        .flags = at[5],
        .payload_bytes = once_u32(get_u32(at + 8)), /* what is compared below is what is used */
        .payload_crc = get_u32(at + 12),
        .count = get_u32(at + 32),
        .seq_first = get_u64(at + 16),
        .durable_seq = get_u64(at + 24),
        .time_ms = (uint64_t)get_u16(at + 6) << 32 | get_u32(at + 36),
        .header_crc = stored,
    };
    uint64_t size = wal_frame_size(out->payload_bytes);
    if (size > available)
        return WAL_FRAME_BAD_LENGTH;
    const uint8_t *payload = at + WAL_FRAME_BYTES;
    if (!all_zero(payload + out->payload_bytes, size - WAL_FRAME_BYTES - out->payload_bytes))
        return WAL_FRAME_BAD_PAYLOAD;
    if (crc32_update(0, payload, out->payload_bytes) != out->payload_crc)
        return WAL_FRAME_BAD_PAYLOAD;
    return WAL_FRAME_OK;
}

/* ---- Payloads ---- */

enum { LINK_REOPENED = 1, LINK_STAND_IN = 2 };

void wal_link_encode(const wal_link *l, uint8_t out[WAL_LINK_BYTES])
{
    put_u64(out, l->prev_no);
    put_u64(out + 8, l->prev_end);
    put_u64(out + 16, l->prev_chain);
    put_u64(out + 24, l->floor_seq);
    put_u64(out + 32, l->life);
    put_u64(out + 40, l->seq_first);
    put_u32(out + 48, (l->reopened ? LINK_REOPENED : 0u) | (l->stand_in ? LINK_STAND_IN : 0u));
    put_u32(out + 52, 0);
}

int wal_link_decode(firn_slice payload, wal_link *out)
{
    if (payload.size != WAL_LINK_BYTES)
        return FIRN_DAMAGED;
    const uint8_t *p = payload.data;
    *out = (wal_link){
        .prev_no = get_u64(p),
        .prev_end = get_u64(p + 8),
        .prev_chain = get_u64(p + 16),
        .floor_seq = get_u64(p + 24),
        .life = get_u64(p + 32),
        .seq_first = get_u64(p + 40),
        .reopened = (get_u32(p + 48) & LINK_REOPENED) != 0,
        .stand_in = (get_u32(p + 48) & LINK_STAND_IN) != 0,
    };
    return FIRN_OK;
}

void wal_seal_encode(const wal_seal *s, uint8_t out[WAL_SEAL_BYTES])
{
    put_u64(out, s->chain);
    put_u64(out + 8, s->frames);
    put_u32(out + 16, s->kind);
    put_u32(out + 20, 0);
}

int wal_seal_decode(firn_slice payload, wal_seal *out)
{
    if (payload.size != WAL_SEAL_BYTES)
        return FIRN_DAMAGED;
    uint32_t kind = get_u32(payload.data + 16);
    if (kind != WAL_SEAL_ROTATION && kind != WAL_SEAL_CLOSE)
        return FIRN_DAMAGED;
    *out = (wal_seal){
        .chain = get_u64(payload.data),
        .frames = get_u64(payload.data + 8),
        .kind = kind,
    };
    return FIRN_OK;
}

/* ---- Names ---- */

void wal_name_format(uint64_t segment_no, char out[WAL_NAME_BYTES])
{
    assert(segment_no > 0);
    snprintf(out, WAL_NAME_BYTES, "%0*llu.wal", NAME_DIGITS, (unsigned long long)segment_no);
}

/* The digits of a segment name. Returns what follows them, or NULL. */
static const char *name_digits(const char *name, uint64_t *segment_no)
{
    uint64_t value = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return NULL;
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    *segment_no = value;
    return value > 0 ? name + NAME_DIGITS : NULL;
}

bool wal_name_parse(const char *name, uint64_t *segment_no)
{
    uint64_t value;
    const char *rest = name_digits(name, &value);
    if (!rest || strcmp(rest, ".wal") != 0)
        return false;
    *segment_no = value;
    return true;
}

bool wal_magic_is(const uint8_t bytes[WAL_MAGIC_BYTES])
{
    return memcmp(bytes, header_magic, WAL_MAGIC_BYTES) == 0;
}

bool wal_name_is_temporary(const char *name)
{
    uint64_t value;
    const char *rest = name_digits(name, &value);
    return rest && strcmp(rest, ".wal.new") == 0;
}

bool wal_is_segment_name(const char *name, uint64_t *segment_no)
{
    uint64_t value;
    return wal_name_parse(name, segment_no ? segment_no : &value);
}

bool wal_owns_name(const char *name)
{
    uint64_t value;
    return wal_name_parse(name, &value) || wal_name_is_temporary(name) ||
           strcmp(name, WAL_RESERVE_NAME) == 0;
}
