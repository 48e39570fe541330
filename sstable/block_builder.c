/* block_builder: see block_builder.h. */
#include "block_builder.h"

#include "block.h"

#include <base/alloc.h>
#include <base/coding.h>
#include <base/grow.h>
#include <base/slice.h>

#include <assert.h>

void sst_block_builder_release(sst_block_builder *b)
{
    buf_release(&b->bytes);
    heap_free(b->entries);
    *b = (sst_block_builder){0};
}

void sst_block_builder_clear(sst_block_builder *b)
{
    buf_clear(&b->bytes);
    b->count = 0;
    b->prefix_size = 0;
    b->fixed_bytes = 0;
}

/* Bytes needed for a number below 2^56. */
static unsigned seq_width(uint64_t delta)
{
    return delta == 0 ? 0 : (unsigned)(71 - __builtin_clzll(delta)) / 8;
}

/* The form (bits 6-7 of the control byte) that holds both sizes, and how many bytes it takes. */
static unsigned sizes_form(size_t suffix_size, size_t value_size)
{
    if (suffix_size > UINT8_MAX)
        return 3;
    return value_size <= UINT8_MAX ? 0 : value_size <= UINT16_MAX ? 1 : 2;
}

static size_t common_with(const sst_block_builder *b, firn_slice key)
{
    firn_slice first = {b->bytes.data, b->prefix_size};
    if (key.size >= first.size &&
        (first.size == 0 || memcmp(first.data, key.data, first.size) == 0))
        return first.size;
    return slice_common(first, key);
}

int sst_block_builder_add(sst_block_builder *b, firn_slice key, firn_slice value,
                          const sst_pending *rest)
{
    if (array_grow(&b->entries, &b->capacity, b->count, sizeof *rest, NULL) != FIRN_OK)
        return FIRN_NO_MEMORY;
    /* One more, so that there is a place also for an empty key with an empty value. */
    int rc = buf_reserve(&b->bytes, key.size + value.size + 1);
    if (rc != FIRN_OK)
        return rc;

    uint8_t *p = b->bytes.data + b->bytes.size;
    if (key.size)
        memcpy(p, key.data, key.size);
    if (value.size)
        memcpy(p + key.size, value.data, value.size);

    sst_pending *e = &b->entries[b->count];
    *e = *rest;
    e->key_at = (uint32_t)b->bytes.size;
    e->key_size = (uint16_t)key.size;
    e->value_size = (uint32_t)value.size;
    b->bytes.size += key.size + value.size;
    if (b->count == 0) {
        b->prefix_size = e->key_size;
        b->seq_min = b->seq_max = e->seq;
    } else {
        b->prefix_size = (uint32_t)common_with(b, key);
        b->seq_min = e->seq < b->seq_min ? e->seq : b->seq_min;
        b->seq_max = e->seq > b->seq_max ? e->seq : b->seq_max;
    }
    static const uint8_t form_bytes[4] = {2, 3, 5, 6};
    b->fixed_bytes += 1U + form_bytes[sizes_form(key.size, value.size)];
    b->count++;
    return FIRN_OK;
}

/* Of n entries, whose bodies take so many bytes with whole keys and without their numbers. */
static uint64_t laid_out(uint64_t n, uint64_t prefix, uint64_t bodies, uint64_t seq_span)
{
    /* Each key gives up the prefix; a 2-byte slot serves blocks that u16 can address. */
    uint64_t bytes = SST_BLOCK_HEADER_BYTES + prefix + n * (1 + 4 + 2) + bodies +
                     n * seq_width(seq_span) - n * prefix;
    return bytes <= UINT16_MAX ? bytes : bytes + n * 2;
}

uint64_t sst_block_builder_bytes(const sst_block_builder *b)
{
    return laid_out(b->count, b->prefix_size, b->fixed_bytes + b->bytes.size,
                    b->seq_max - b->seq_min);
}

uint64_t sst_block_builder_bytes_with(const sst_block_builder *b, firn_slice key, size_t value_size,
                                      uint64_t seq)
{
    uint64_t low = b->count == 0 || seq < b->seq_min ? seq : b->seq_min;
    uint64_t high = b->count == 0 || seq > b->seq_max ? seq : b->seq_max;
    uint64_t prefix = b->count == 0 ? key.size : common_with(b, key);
    uint64_t bodies = b->fixed_bytes + 7 + b->bytes.size + key.size + value_size;
    return laid_out((uint64_t)b->count + 1, prefix, bodies, high - low);
}

/* Writes the body of entry e at p, whose suffix and value are given; returns the byte behind it. */
static uint8_t *body_put(uint8_t *p, const sst_pending *e, uint64_t delta, firn_slice suffix,
                         const uint8_t *value)
{
    unsigned width = seq_width(delta);
    unsigned form = sizes_form(suffix.size, e->value_size);
    *p++ = (uint8_t)(e->kind | width << 3 | form << 6);
    put_u64(p, delta); /* the bytes behind the width are overwritten; the caller left room */
    p += width;
    if (form == 3) {
        put_u16(p, (uint16_t)suffix.size);
        p += 2;
    } else {
        *p++ = (uint8_t)suffix.size;
    }
    if (form == 0) {
        *p++ = (uint8_t)e->value_size;
    } else if (form == 1) {
        put_u16(p, (uint16_t)e->value_size);
        p += 2;
    } else {
        put_u32(p, e->value_size);
        p += 4;
    }
    if (suffix.size)
        memcpy(p, suffix.data, suffix.size);
    p += suffix.size;
    if (e->value_size)
        memcpy(p, value, e->value_size);
    return p + e->value_size;
}

int sst_block_builder_finish(const sst_block_builder *b, buf *out)
{
    assert(b->count > 0);
    const uint32_t n = b->count;
    const uint32_t prefix = b->prefix_size;
    uint64_t room = SST_BLOCK_HEADER_BYTES + prefix + (uint64_t)n * (1 + 4 + 4 + 7) +
                    b->fixed_bytes + b->bytes.size + 8;
    int rc = buf_reserve(out, (size_t)room);
    if (rc != FIRN_OK)
        return rc;

    /* Whether 2 bytes address every body follows from the room, which is an upper bound. */
    bool wide = room > UINT16_MAX;
    uint8_t *start = out->data + out->size;
    put_u32(start, n);
    put_u16(start + 4, (uint16_t)prefix);
    start[6] = wide ? SST_BLOCK_WIDE : 0;
    start[7] = 0;
    put_u64(start + 8, b->seq_min);
    if (prefix)
        memcpy(start + SST_BLOCK_HEADER_BYTES, b->bytes.data, prefix);

    uint8_t *tags = start + SST_BLOCK_HEADER_BYTES + prefix;
    uint8_t *heads = tags + n;
    uint8_t *slots = heads + (size_t)n * 4;
    uint8_t *p = slots + (size_t)n * (wide ? 4 : 2);
    for (uint32_t i = 0; i < n; i++) {
        const sst_pending *e = &b->entries[i];
        firn_slice key = sst_block_builder_key(b, i);
        tags[i] = e->tag;
        put_u32(heads + (size_t)i * 4, sst_block_head(key, prefix));
        if (wide)
            put_u32(slots + (size_t)i * 4, (uint32_t)(p - start));
        else
            put_u16(slots + (size_t)i * 2, (uint16_t)(p - start));
        p = body_put(p, e, e->seq - b->seq_min, (firn_slice){key.data + prefix, key.size - prefix},
                     key.data + key.size);
    }
    out->size += (size_t)(p - start);
    return FIRN_OK;
}
