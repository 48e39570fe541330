/* fuzz_fix: makes the checksums of a frame right, so that a fuzzer gets behind them. */
#ifndef FUZZ_FUZZ_FIX_H
#define FUZZ_FUZZ_FIX_H

#include <base/checksum.h>
#include <base/coding.h>
#include <string.h>

#include <segments/format.h>

/* The payload's, and the padding behind it, when all of it fits into the `left` bytes at p. */
static inline void fuzz_fix_payload(uint8_t *p, uint64_t left)
{
    uint64_t bytes = get_u32(p + 8);
    if (wal_frame_size(bytes) > left)
        return;
    memset(p + WAL_FRAME_BYTES + bytes, 0, wal_frame_size(bytes) - WAL_FRAME_BYTES - bytes);
    put_u32(p + 12, crc32_update(0, p + WAL_FRAME_BYTES, bytes));
}

/* The header's: what stands there is encoded again, which reads nothing of its target. */
static inline void fuzz_fix_header(uint8_t *p, uint64_t salt, uint64_t offset)
{
    wal_frame f = {
        .type = p[4],
        .flags = p[5],
        .payload_bytes = get_u32(p + 8),
        .payload_crc = get_u32(p + 12),
        .count = get_u32(p + 32),
        .seq_first = get_u64(p + 16),
        .durable_seq = get_u64(p + 24),
        .time_ms = (uint64_t)get_u16(p + 6) << 32 | get_u32(p + 36),
    };
    wal_frame_encode(&f, salt, offset, p);
}

#endif
