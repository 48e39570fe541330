/* block: a data block's bytes, read in place (README.md, "The data block").
 *
 *   0   4         entries          n, at least 1
 *   4   2         prefix size      p: what all keys of the block begin with
 *   6   1         flags            bit 0: slots are 4 bytes wide, else 2
 *   7   1         zero
 *   8   8         sequence base    the smallest number in the block
 *   16  p         prefix
 *       n         tags             one byte of each key's hash: a get scans these
 *       4 n       heads            4 bytes of each key behind the prefix, as a big-endian number
 *                                  padded with zeros: a seek searches these
 *       2 n | 4 n slots            where each body begins, from the block's beginning
 *       -         bodies           in order, without gaps, to the end of the block
 *
 *   body: 1  control    bits 0-2 kind, bits 3-5 w, bits 6-7 f
 *         w  number     sequence number minus base
 *         -  sizes      of suffix and value: f 0: 1 + 1 bytes, 1: 1 + 2, 2: 1 + 4, 3: 2 + 4
 *         -  suffix     the key behind the prefix
 *         -  value
 *
 * Invariants, which sst_block_check establishes once per load and everything else relies on:
 *   B1  header, arrays and bodies fill the block exactly; slot i+1 is where body i ends.
 *   B2  kinds are known, deletes have no value, keys, values and numbers are within their limits.
 *   B3  the bytes of at least a trailer follow the block in memory, so that 8 bytes may be read at
 *       any position inside it.
 *   B4  what was checked may change all the same while it is looked at: a mapping shows what other
 *       processes do to the file. sst_block_again and sst_block_entry_at compare each length at
 *       each use with what encloses it, and read it once. Behind a mapped block stands the rest of
 *       its file, at least a footer.
 * Order of the entries and truth of tags and heads are the writer's word under the checksum; a lie
 * there gives wrong answers but no wrong access. sst_verify checks them.
 */
#ifndef SSTABLE_BLOCK_H
#define SSTABLE_BLOCK_H

#include <base/coding.h>
#include <base/entry.h>
#include <base/slice.h>
#include <firn/types.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SST_BLOCK_HEADER_BYTES 16
#define SST_BLOCK_WIDE         1 /* flags */

typedef struct sst_block {
    const uint8_t *data;
    const uint8_t *prefix, *tags, *heads, *slots;
    uint64_t seq_base;
    uint32_t size;
    uint32_t count;
    uint32_t prefix_size;
    bool wide;
} sst_block;

typedef struct sst_block_entry {
    const uint8_t *suffix;
    const uint8_t *value;
    uint64_t seq;
    uint32_t suffix_size;
    uint32_t value_size; /* the body ends at value + value_size */
    uint8_t kind;
} sst_block_entry;

/* B1 and B2 for bytes whose checksum was right. FIRN_OK, or FIRN_DAMAGED or FIRN_UNSUPPORTED and
 * *why. `key_max` is the longest key that the table admits to. */
int sst_block_check(const uint8_t *data, uint32_t size, uint32_t key_max, const char **why);

#define SST_BLOCK_CHANGED                                                                          \
    UINT32_MAX /* instead of a position: the block is not what it was when it was checked (B4) */

/* The first entry >= (key, seq), or count; or SST_BLOCK_CHANGED. */
uint32_t sst_block_seek(const sst_block *b, firn_slice key, uint64_t seq);
/* The newest entry of `key` with a number <= seq: its position and *out, or count; or
 * SST_BLOCK_CHANGED. */
uint32_t sst_block_find(const sst_block *b, firn_slice key, uint8_t tag, uint64_t seq,
                        sst_block_entry *out);

/* Brings in the entry that sst_block_find will look at first. */
void sst_block_prefetch_entry(const sst_block *b, firn_slice key, uint8_t tag);

/* The byte of hash64(key, 0) that a get compares first. Not among the bits that choose in a filter
 * line, and far from those that choose the line. */
static inline uint8_t sst_block_tag(uint64_t hash)
{
    return (uint8_t)(hash >> 32);
}

/* Four bytes of the key behind `skip`, padded with zeros. */
static inline uint32_t sst_block_head(firn_slice key, size_t skip)
{
    return (uint32_t)(slice_piece(key, skip) >> 32);
}

static inline sst_block sst_block_view(const uint8_t *data, uint32_t size)
{
    sst_block b = {.data = data, .size = size};
    b.count = get_u32(data);
    b.prefix_size = get_u16(data + 4);
    b.wide = (data[6] & SST_BLOCK_WIDE) != 0;
    b.seq_base = get_u64(data + 8);
    b.prefix = data + SST_BLOCK_HEADER_BYTES;
    b.tags = b.prefix + b.prefix_size;
    b.heads = b.tags + b.count;
    b.slots = b.heads + (size_t)b.count * 4;
    return b;
}

static inline const uint8_t *sst_block_body(const sst_block *b, uint32_t i)
{
    uint32_t at = b->wide ? get_u32(b->slots + (size_t)i * 4) : get_u16(b->slots + (size_t)i * 2);
    return b->data + at;
}

static inline uint64_t sst_block_seq_mask(unsigned width)
{
    return width == 0 ? 0 : UINT64_MAX >> (64 - 8 * width);
}

/* Reads the body at p. */
static inline void sst_block_decode(const uint8_t *p, uint64_t seq_base, sst_block_entry *e)
{
    unsigned control = once_u32(*p++);
    unsigned width = control >> 3 & 7;
    e->kind = (uint8_t)(control & 7);
    e->seq = seq_base + (get_u64(p) & sst_block_seq_mask(width));
    p += width;
    if (control < 64) {
        e->suffix_size = p[0];
        e->value_size = p[1];
        p += 2;
    } else if (control < 128) {
        e->suffix_size = p[0];
        e->value_size = get_u16(p + 1);
        p += 3;
    } else if (control < 192) {
        e->suffix_size = p[0];
        e->value_size = get_u32(p + 1);
        p += 5;
    } else {
        e->suffix_size = get_u16(p);
        e->value_size = get_u32(p + 2);
        p += 6;
    }
    e->suffix_size = once_u32(e->suffix_size);
    e->value_size = once_u32(e->value_size);
    e->suffix = p;
    e->value = p + e->suffix_size;
}

/* As sst_block_view, of a block that was found right before but may have changed: false when it
 * has, and its arrays do not fit into it (B4). */
static inline bool sst_block_again(const uint8_t *data, uint32_t size, sst_block *b)
{
    uint32_t count = once_u32(get_u32(data));
    uint32_t prefix = once_u32(get_u16(data + 4));
    bool wide = (once_u32(data[6]) & SST_BLOCK_WIDE) != 0;
    uint64_t arrays = (uint64_t)count * (wide ? 9 : 7); /* tag, head, slot */
    *b = (sst_block){
        .data = data,
        .prefix = data + SST_BLOCK_HEADER_BYTES,
        .tags = data + SST_BLOCK_HEADER_BYTES + prefix,
        .heads = data + SST_BLOCK_HEADER_BYTES + prefix + count,
        .slots = data + SST_BLOCK_HEADER_BYTES + prefix + (size_t)count * 5,
        .seq_base = get_u64(data + 8),
        .size = size,
        .count = count,
        .prefix_size = prefix,
        .wide = wide,
    };
    return count != 0 && SST_BLOCK_HEADER_BYTES + prefix + arrays <= size;
}

/* Where body i begins, from the block's beginning; may be anywhere (B4). */
static inline uint32_t sst_block_slot(const sst_block *b, uint32_t i)
{
    return once_u32(b->wide ? get_u32(b->slots + (size_t)i * 4)
                            : get_u16(b->slots + (size_t)i * 2));
}

/* The body at the offset `at` and whether it lies in the block, is of a known kind and has a number
 * that there is (B4). */
static inline bool sst_block_entry_at(const sst_block *b, uint32_t at, sst_block_entry *e)
{
    if (at >= b->size)
        return false;
    sst_block_decode(b->data + at, b->seq_base, e);
    int64_t left = b->data + b->size - e->suffix;
    bool outside = (int64_t)((uint64_t)e->suffix_size + e->value_size) > left;
    bool odd = !entry_kind_fits(e->kind, e->value_size) || e->seq - 1 >= FIRN_MAX_SEQ;
    return !outside && !odd;
}

/* Which of the 16 bytes at p equal `tag`, as bits. */
static inline uint32_t sst_tags_match_portable(const uint8_t *p, uint8_t tag)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < 16; i++)
        mask |= (uint32_t)(p[i] == tag) << i;
    return mask;
}

static inline uint32_t sst_tags_match(const uint8_t *p, uint8_t tag)
{
#if defined(__SSE2__)
    __m128i tags = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
#else
    return sst_tags_match_portable(p, tag);
#endif
}

#endif
