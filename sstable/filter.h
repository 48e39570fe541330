/* filter: a cache-local Bloom filter. One 64-byte line per query, chosen by the hash's upper half;
 * the lower half chooses the bits inside it (README.md, "The filter block").
 *
 *   0            64 * lines   the lines
 *   64 * lines   4            lines
 *   + 4          1            probes per key
 *   + 5          1            kind, 1
 *   + 6          2            zero
 *
 * The counters stand behind the lines so that a block read to an aligned address has aligned lines.
 *
 * F1  Every key of the table answers true; other keys answer true for about 1 in 100 at 10 bits
 *     a key.
 */
#ifndef SSTABLE_FILTER_H
#define SSTABLE_FILTER_H

#include <base/buf.h>
#include <firn/types.h>

#define SST_FILTER_LINE_BYTES UINT32_C(64)
#define SST_FILTER_TAIL_BYTES UINT32_C(8)
#define SST_FILTER_BITS_MAX   UINT32_C(64)

typedef struct sst_filter {
    const uint8_t *lines; /* NULL: no filter, every key may be there */
    uint32_t count;
    uint32_t probes;
} sst_filter;

/* A filter over `payload`, which must stay. FIRN_DAMAGED, FIRN_UNSUPPORTED. */
int sst_filter_open(firn_slice payload, sst_filter *out);
/* Appends the block for these hashes to `out`; none for no keys or no bits. FIRN_NO_MEMORY, or
 * FIRN_TOO_LARGE when it would pass the format's cap. */
int sst_filter_build(const uint64_t *hashes, size_t count, uint32_t bits_per_key, buf *out);

static inline const uint8_t *sst_filter_line(const sst_filter *f, uint64_t hash)
{
    return f->lines + (((hash >> 32) * f->count) >> 32) * SST_FILTER_LINE_BYTES;
}

/* The next of the bits, 0 to 511, that `h` chooses in its line. */
static inline uint32_t sst_filter_bit(uint32_t *h)
{
    *h *= UINT32_C(0x9e3779b9);
    return *h >> (32 - 9);
}

static inline bool sst_filter_may_contain(const sst_filter *f, uint64_t hash)
{
    if (!f->lines)
        return true;
    const uint8_t *line = sst_filter_line(f, hash);
    uint32_t h = (uint32_t)hash;
    for (uint32_t i = 0; i < f->probes; i++) {
        uint32_t bit = sst_filter_bit(&h);
        if (!(line[bit >> 3] >> (bit & 7) & 1))
            return false;
    }
    return true;
}

#endif
