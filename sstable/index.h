/* index: which block holds a place in the order (README.md, "The index block").
 *
 *   0   4         blocks       n
 *   4   2         prefix size  what all separators begin with
 *   6   1         flags        bit 0: numbers are present
 *   7   1         zero
 *   8   -         prefix
 *       4 n       sizes        of the blocks' payloads as stored; their offsets are the sums
 *       4 n       ends         where each suffix ends in the suffix bytes
 *       8 n       numbers      only with bit 0: the sequence part of each separator
 *       -         suffixes     separators behind the prefix
 *
 * X1  last entry of block i <= separator i < first entry of block i+1, in the table's order: key
 *     ascending, number descending. A separator is (shortest key that fits, 0), or, when versions
 *     of one key continue in the next block, the last entry's own (key, number), and nothing
 *     between.
 * X2  Blocks lie one behind the other from offset 0, each with its trailer.
 *
 * By X1 the first separator >= (key, seq) names the only block that can hold the newest version of
 * key with a number <= seq, however many blocks the versions span.
 *
 * In memory: the block's own bytes, and beside them the blocks' offsets, eight bytes of each
 * separator behind the prefix as a number ("piece"), and every 32nd piece once more, so that a
 * search stays in few cache lines.
 */
#ifndef SSTABLE_INDEX_H
#define SSTABLE_INDEX_H

#include "format.h"

#include <base/buf.h>
#include <firn/types.h>

typedef struct sst_index {
    uint32_t count;
    uint32_t prefix_size;
    const uint8_t *prefix;
    const uint8_t *sizes, *ends, *seqs, *suffixes; /* seqs NULL: all 0 */
    uint64_t *offsets;                             /* count + 1 */
    uint64_t *pieces;                              /* count */
    uint64_t *samples;                             /* the last piece of every group of 32 */
    size_t memory_bytes;                           /* of the three arrays: one allocation */
} sst_index;

/* `payload` must stay until release. FIRN_DAMAGED, FIRN_UNSUPPORTED, FIRN_NO_MEMORY. */
int sst_index_open(firn_slice payload, sst_index *out);
void sst_index_release(sst_index *ix);
/* The first block whose separator is >= (key, seq), or count. */
uint32_t sst_index_find(const sst_index *ix, firn_slice key, uint64_t seq);
/* Brings in what sst_index_find will look at. */
void sst_index_prefetch(const sst_index *ix, firn_slice key);
/* Compares separator i with (key, seq): < 0, 0, > 0. */
int sst_index_compare(const sst_index *ix, uint32_t i, firn_slice key, uint64_t seq);

/* Replaces what *out holds by the key of separator i. */
int sst_index_key(const sst_index *ix, uint32_t i, buf *out);

/* From the offsets rather than the column: a lookup has that line already. */
static inline uint32_t sst_index_size(const sst_index *ix, uint32_t i)
{
    return (uint32_t)(ix->offsets[i + 1] - ix->offsets[i] - SST_TRAILER_BYTES);
}

/* ---- Building ---- */
typedef struct sst_index_builder {
    buf keys;    /* whole separators, one behind the other */
    buf columns; /* 16 bytes each: size u32, end u32, number u64 */
    uint32_t count;
    bool has_seqs;
} sst_index_builder;

void sst_index_builder_release(sst_index_builder *b);
/* FIRN_NO_MEMORY, or FIRN_TOO_LARGE when the index would pass the format's cap. */
int sst_index_builder_add(sst_index_builder *b, uint32_t block_size, firn_slice separator,
                          uint64_t seq);
int sst_index_builder_finish(const sst_index_builder *b, buf *out);

/* The shortest key s with last <= s < next, for last < next. Points into one of them. */
firn_slice sst_index_separator(firn_slice last, firn_slice next);

#endif
