/* fuzz_block_fields: where the fields of a table's blocks stand, for changes by structure. */
#ifndef FUZZ_FUZZ_BLOCK_FIELDS_H
#define FUZZ_FUZZ_BLOCK_FIELDS_H

#include "block.h"
#include "fuzz_edit.h"

/* Of a data block: its header, a tag, head or slot, and the bytes around the beginning of a body. */
static inline fuzz_field fuzz_block_field(firn_slice s, uint32_t which, uint64_t i)
{
    static const fuzz_field header[] = {{0, 4}, {4, 2}, {6, 1}, {7, 1}, {8, 8}};
    const uint32_t fixed = sizeof header / sizeof *header;
    if (which < fixed || s.size < SST_BLOCK_HEADER_BYTES)
        return header[which % fixed];
    uint64_t n = get_u32(s.data), tags = SST_BLOCK_HEADER_BYTES + (uint64_t)get_u16(s.data + 4);
    uint32_t slot_bytes = s.data[6] & SST_BLOCK_WIDE ? 4 : 2;
    uint64_t heads = tags + n, slots = heads + 4 * n;
    i %= n ? n : 1;
    uint64_t slot = slots + i * slot_bytes;
    if (which == fixed)
        return (fuzz_field){tags + i, 1};
    if (which == fixed + 1)
        return (fuzz_field){heads + i * 4, 4};
    if (which == fixed + 2 || slot > s.size || slot_bytes > s.size - slot)
        return (fuzz_field){slot, slot_bytes};
    uint64_t body = slot_bytes == 4 ? get_u32(s.data + slot) : get_u16(s.data + slot);
    if (which == fixed + 3)
        return (fuzz_field){body, 1}; /* control */
    return (fuzz_field){body + (which - fixed - 3), UINT32_C(1) << which % 3};
}

/* Of an index: its header, and an element of each column. */
static inline fuzz_field fuzz_index_field(firn_slice s, uint32_t which, uint64_t i)
{
    static const fuzz_field header[] = {{0, 4}, {4, 2}, {6, 1}, {7, 1}};
    const uint32_t fixed = sizeof header / sizeof *header;
    if (which < fixed || s.size < 8)
        return header[which % fixed];
    uint64_t n = get_u32(s.data), sizes = 8 + (uint64_t)get_u16(s.data + 4);
    i %= n ? n : 1;
    if (which % 3 == 0)
        return (fuzz_field){sizes + 8 * n + 8 * i, 8};
    return (fuzz_field){sizes + (which % 3 - 1) * 4 * n + 4 * i, 4};
}

/* Of a filter: what stands behind its lines. */
static inline fuzz_field fuzz_filter_field(firn_slice s, uint32_t which, uint64_t i)
{
    static const fuzz_field tail[] = {{0, 4}, {4, 1}, {5, 1}, {6, 2}};
    if (s.size < 8)
        return (fuzz_field){0};
    fuzz_field f = tail[which % 4];
    f.at += s.size - 8;
    return which < 12 ? f : (fuzz_field){i % s.size, 1};
}

/* Of properties: id, size or beginning of the i-th property. */
static inline fuzz_field fuzz_props_field(firn_slice s, uint32_t which, uint64_t i)
{
    uint64_t at = 0;
    for (i %= 16; i > 0 && at + 4 <= s.size; i--)
        at += 4 + (uint64_t)get_u16(s.data + at + 2);
    if (which % 4 < 2)
        return (fuzz_field){at + which % 4 * 2, 2};
    return (fuzz_field){at + 4, which % 4 == 2 ? 8 : 4};
}

#endif
