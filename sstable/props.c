/* props: see props.h. */
#include "props.h"
#include "ranges.h"

#include <base/bucket.h>
#include <base/coding.h>

#include <stddef.h>

enum {
    ID_KEY_MIN = 11,
    ID_KEY_MAX = 12,
    ID_REQUIRED = 0x8000,        /* a reader that does not know such an id must refuse the table */
    ID_BUCKET = ID_REQUIRED + 1, /* there unless it is 0 */
    ID_RANGES = ID_REQUIRED + 2, /* there unless there are none: how many, and in which blocks */
    HEADER_BYTES = 4,
};

/* The numbers, in order of their ids, which start at 1. */
static const size_t numbers[] = {
    offsetof(sst_props, shown.entries),     offsetof(sst_props, shown.deletes),
    offsetof(sst_props, shown.raw_bytes),   offsetof(sst_props, shown.data_bytes),
    offsetof(sst_props, shown.blocks),      offsetof(sst_props, shown.seq_min),
    offsetof(sst_props, shown.seq_max),     offsetof(sst_props, shown.created_us),
    offsetof(sst_props, compressed_blocks), offsetof(sst_props, key_bytes_max),
};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

static int put_field(buf *out, unsigned id, const void *data, size_t size)
{
    uint8_t header[HEADER_BYTES];
    put_u16(header, (uint16_t)id);
    put_u16(header + 2, (uint16_t)size);
    int rc = buf_append(out, header, sizeof header);
    return rc == FIRN_OK ? buf_append(out, data, size) : rc;
}

static int put_ranges(buf *out, const sst_props *p)
{
    uint8_t bytes[8 + SST_RANGE_BLOCKS_BYTES];
    put_u64(bytes, p->shown.ranges);
    memcpy(bytes + 8, p->range_blocks.data, p->range_blocks.size);
    return put_field(out, ID_RANGES, bytes, 8 + p->range_blocks.size);
}

int sst_props_put(const sst_props *p, buf *out)
{
    for (unsigned i = 0; i < NUMBERS; i++) {
        uint64_t number;
        uint8_t bytes[8];
        memcpy(&number, (const char *)p + numbers[i], sizeof number);
        put_u64(bytes, number);
        int rc = put_field(out, i + 1, bytes, sizeof bytes);
        if (rc != FIRN_OK)
            return rc;
    }
    int rc = put_field(out, ID_KEY_MIN, p->shown.key_min.data, p->shown.key_min.size);
    if (rc == FIRN_OK)
        rc = put_field(out, ID_KEY_MAX, p->shown.key_max.data, p->shown.key_max.size);
    uint8_t bucket[2];
    put_u16(bucket, p->shown.bucket);
    if (rc == FIRN_OK && p->shown.bucket) /* as short as it can be */
        rc = put_field(out, ID_BUCKET, bucket, p->shown.bucket < 256 ? 1 : 2);
    if (rc == FIRN_OK && p->shown.ranges)
        rc = put_ranges(out, p);
    return rc;
}

static int take_ranges(sst_props *p, firn_slice bytes)
{
    if (bytes.size < 8)
        return FIRN_DAMAGED;
    p->shown.ranges = get_u64(bytes.data);
    p->range_blocks = (firn_slice){bytes.data + 8, bytes.size - 8};
    return p->shown.ranges && sst_range_blocks_fit(p->range_blocks, p->shown.blocks) ? FIRN_OK
                                                                                     : FIRN_DAMAGED;
}

static int take_field(sst_props *p, unsigned id, firn_slice bytes)
{
    if (id == ID_KEY_MIN) {
        p->shown.key_min = bytes;
    } else if (id == ID_KEY_MAX) {
        p->shown.key_max = bytes;
    } else if (id >= 1 && id <= NUMBERS) {
        if (bytes.size != 8)
            return FIRN_DAMAGED;
        uint64_t number = get_u64(bytes.data);
        memcpy((char *)p + numbers[id - 1], &number, sizeof number);
    } else if (id == ID_BUCKET) {
        if (bytes.size != 1 && bytes.size != 2)
            return FIRN_DAMAGED;
        p->shown.bucket = bytes.size == 2 ? get_u16(bytes.data) : bytes.data[0];
        if (p->shown.bucket < (bytes.size == 1 ? 1 : 256) || p->shown.bucket >= ENTRY_BUCKETS)
            return FIRN_DAMAGED;
    } else if (id == ID_RANGES) {
        return take_ranges(p, bytes);
    } else if (id >= ID_REQUIRED) {
        return FIRN_UNSUPPORTED;
    }
    return FIRN_OK;
}

int sst_props_get(firn_slice payload, sst_props *out)
{
    sst_props p = {0};
    const uint8_t *at = payload.data;
    size_t left = payload.size;
    unsigned last = 0;
    unsigned known = 0;

    while (left != 0) {
        if (left < HEADER_BYTES)
            return FIRN_DAMAGED;
        unsigned id = get_u16(at);
        size_t size = get_u16(at + 2);
        if (id <= last || size > left - HEADER_BYTES)
            return FIRN_DAMAGED;
        int rc = take_field(&p, id, (firn_slice){at + HEADER_BYTES, size});
        if (rc != FIRN_OK)
            return rc;
        known += id <= ID_KEY_MAX;
        last = id;
        at += HEADER_BYTES + size;
        left -= HEADER_BYTES + size;
    }
    /* Ascending ids make twelve known ones all twelve. */
    if (known != ID_KEY_MAX || p.key_bytes_max > FIRN_MAX_KEY_BYTES ||
        p.shown.key_min.size > p.key_bytes_max || p.shown.key_max.size > p.key_bytes_max)
        return FIRN_DAMAGED;
    *out = p;
    return FIRN_OK;
}
