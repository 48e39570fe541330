/* filter: see filter.h. */
#include "filter.h"

#include "format.h"

/* Lines are fetched this many keys ahead of setting their bits: building is bound by cache
 * misses. */
enum { AHEAD = 16, KIND_BLOCKED_BLOOM = 1, PROBES_MAX = 16 };

/* ln 2 bits per probe is the optimum of a plain filter and close to that of one in lines. */
static uint8_t probes_for(uint32_t bits_per_key)
{
    uint32_t probes = bits_per_key * 69 / 100;
    if (probes < 1)
        probes = 1;
    return (uint8_t)(probes > PROBES_MAX ? PROBES_MAX : probes);
}

int sst_filter_build(const uint64_t *hashes, size_t count, uint32_t bits_per_key, buf *out)
{
    if (count == 0 || bits_per_key == 0)
        return FIRN_OK;
    uint64_t line_bits = SST_FILTER_LINE_BYTES * 8;
    uint64_t lines = ((uint64_t)count * bits_per_key + line_bits - 1) / line_bits;
    if (lines > (SST_META_BYTES_MAX - SST_FILTER_TAIL_BYTES) / SST_FILTER_LINE_BYTES)
        return FIRN_TOO_LARGE;
    size_t bytes = (size_t)lines * SST_FILTER_LINE_BYTES;
    int rc = buf_reserve(out, bytes + SST_FILTER_TAIL_BYTES);
    if (rc != FIRN_OK)
        return rc;

    uint8_t *base = out->data + out->size;
    memset(base, 0, bytes);
    sst_filter f = {base, (uint32_t)lines, probes_for(bits_per_key)};
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            __builtin_prefetch(sst_filter_line(&f, hashes[i + AHEAD]), 1);
        uint8_t *line = base + (sst_filter_line(&f, hashes[i]) - base);
        uint32_t h = (uint32_t)hashes[i];
        for (uint32_t k = 0; k < f.probes; k++) {
            uint32_t bit = sst_filter_bit(&h);
            line[bit >> 3] = (uint8_t)(line[bit >> 3] | 1U << (bit & 7));
        }
    }
    uint8_t *tail = base + bytes;
    put_u32(tail, f.count);
    tail[4] = (uint8_t)f.probes;
    tail[5] = KIND_BLOCKED_BLOOM;
    put_u16(tail + 6, 0);
    out->size += bytes + SST_FILTER_TAIL_BYTES;
    return FIRN_OK;
}

int sst_filter_open(firn_slice payload, sst_filter *out)
{
    if (payload.size < SST_FILTER_TAIL_BYTES)
        return FIRN_DAMAGED;
    size_t bytes = payload.size - SST_FILTER_TAIL_BYTES;
    const uint8_t *tail = payload.data + bytes;
    if (tail[5] != KIND_BLOCKED_BLOOM)
        return FIRN_UNSUPPORTED;
    sst_filter f = {payload.data, get_u32(tail), tail[4]};
    if (f.count == 0 || bytes % SST_FILTER_LINE_BYTES != 0 ||
        f.count != bytes / SST_FILTER_LINE_BYTES || f.probes == 0 || f.probes > PROBES_MAX)
        return FIRN_DAMAGED;
    *out = f;
    return FIRN_OK;
}
