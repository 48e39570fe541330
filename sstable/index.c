/* index: see index.h. */
#include "index.h"

#include "format.h"

#include <base/alloc.h>
#include <base/search.h>
#include <base/slice.h>

enum { HEADER_BYTES = 8, HAS_SEQS = 1, GROUP = 32, COLUMN_BYTES = 16, PAGES_MIN = 1 << 15 };

/* ---- Building ---- */

void sst_index_builder_release(sst_index_builder *b)
{
    buf_release(&b->keys);
    buf_release(&b->columns);
    *b = (sst_index_builder){0};
}

firn_slice sst_index_separator(firn_slice last, firn_slice next)
{
    size_t common = slice_common(last, next);
    /* `next` cut behind the first difference lies above `last`, and below `next` when something was
     * cut off. Otherwise `last` itself serves. */
    if (common + 1 < next.size)
        return (firn_slice){next.data, common + 1};
    return last;
}

int sst_index_builder_add(sst_index_builder *b, uint32_t block_size, firn_slice separator,
                          uint64_t seq)
{
    uint64_t total = (uint64_t)b->keys.size + separator.size + b->columns.size + COLUMN_BYTES;
    if (total + HEADER_BYTES + FIRN_MAX_KEY_BYTES > SST_META_BYTES_MAX)
        return FIRN_TOO_LARGE;
    int rc = buf_reserve(&b->columns, COLUMN_BYTES);
    if (rc == FIRN_OK)
        rc = buf_append(&b->keys, separator.data, separator.size);
    if (rc != FIRN_OK)
        return rc;
    uint8_t *p = b->columns.data + b->columns.size;
    put_u32(p, block_size);
    put_u32(p + 4, (uint32_t)b->keys.size);
    put_u64(p + 8, seq);
    b->columns.size += COLUMN_BYTES;
    b->has_seqs = b->has_seqs || seq != 0;
    b->count++;
    return FIRN_OK;
}

static firn_slice built_key(const sst_index_builder *b, uint32_t i)
{
    const uint8_t *column = b->columns.data + (size_t)i * COLUMN_BYTES;
    uint32_t start = i == 0 ? 0 : get_u32(column - COLUMN_BYTES + 4);
    /* All separators may be empty: then there are no bytes. */
    return (firn_slice){slice_somewhere(buf_slice(&b->keys)).data + start,
                        get_u32(column + 4) - start};
}

int sst_index_builder_finish(const sst_index_builder *b, buf *out)
{
    size_t n = b->count;
    size_t prefix = n == 0 ? 0 : slice_common(built_key(b, 0), built_key(b, b->count - 1));
    size_t each = 4 + 4 + (b->has_seqs ? 8 : 0);
    int rc = buf_reserve(out, HEADER_BYTES + prefix + n * each + b->keys.size - n * prefix);
    if (rc != FIRN_OK)
        return rc;

    uint8_t *p = out->data + out->size;
    put_u32(p, b->count);
    put_u16(p + 4, (uint16_t)prefix);
    p[6] = b->has_seqs ? HAS_SEQS : 0;
    p[7] = 0;
    if (prefix)
        memcpy(p + HEADER_BYTES, b->keys.data, prefix);
    uint8_t *sizes = p + HEADER_BYTES + prefix;
    uint8_t *ends = sizes + n * 4;
    uint8_t *seqs = ends + n * 4;
    uint8_t *suffixes = seqs + (b->has_seqs ? n * 8 : 0);
    uint8_t *to = suffixes;
    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *column = b->columns.data + (size_t)i * COLUMN_BYTES;
        firn_slice key = built_key(b, i);
        if (key.size > prefix)
            memcpy(to, key.data + prefix, key.size - prefix);
        to += key.size - prefix;
        put_u32(sizes + (size_t)i * 4, get_u32(column));
        put_u32(ends + (size_t)i * 4, (uint32_t)(to - suffixes));
        if (b->has_seqs)
            put_u64(seqs + (size_t)i * 8, get_u64(column + 8));
    }
    out->size += (size_t)(to - p);
    return FIRN_OK;
}

/* ---- Reading ---- */

static firn_slice suffix_of(const sst_index *ix, uint32_t i)
{
    uint32_t start = i == 0 ? 0 : get_u32(ix->ends + (size_t)(i - 1) * 4);
    return (firn_slice){ix->suffixes + start, get_u32(ix->ends + (size_t)i * 4) - start};
}

static uint64_t seq_of(const sst_index *ix, uint32_t i)
{
    return ix->seqs ? get_u64(ix->seqs + (size_t)i * 8) : 0;
}

/* Finds the columns and checks that every suffix lies inside the payload. */
static int columns_open(firn_slice payload, sst_index *ix)
{
    if (payload.size < HEADER_BYTES)
        return FIRN_DAMAGED;
    const uint8_t *p = payload.data;
    if ((p[6] & ~HAS_SEQS) != 0 || p[7] != 0)
        return FIRN_UNSUPPORTED;
    size_t room = payload.size - HEADER_BYTES;
    size_t each = 4 + 4 + ((p[6] & HAS_SEQS) ? 8 : 0);
    size_t n = get_u32(p);
    ix->count = (uint32_t)n;
    ix->prefix_size = get_u16(p + 4);
    if (ix->prefix_size > room || n > (room - ix->prefix_size) / each)
        return FIRN_DAMAGED;
    ix->prefix = p + HEADER_BYTES;
    ix->sizes = ix->prefix + ix->prefix_size;
    ix->ends = ix->sizes + n * 4;
    ix->seqs = (p[6] & HAS_SEQS) ? ix->ends + n * 4 : NULL;
    ix->suffixes = ix->sizes + n * each;

    size_t left = room - ix->prefix_size - n * each;
    uint32_t end = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t next = get_u32(ix->ends + i * 4);
        if (next < end || next - end > FIRN_MAX_KEY_BYTES - ix->prefix_size)
            return FIRN_DAMAGED;
        end = next;
    }
    return end == left ? FIRN_OK : FIRN_DAMAGED;
}

/* Large ones get pages, which go back to the system with them. */
static uint64_t *arrays_new(size_t bytes)
{
    return bytes < PAGES_MIN ? heap_aligned(64, (bytes + 63) & ~(size_t)63) : pages_alloc(bytes);
}

int sst_index_open(firn_slice payload, sst_index *out)
{
    sst_index ix = {0};
    int rc = columns_open(payload, &ix);
    if (rc != FIRN_OK)
        return rc;
    size_t n = ix.count;
    size_t groups = (n + GROUP - 1) / GROUP;
    ix.memory_bytes = (n + 1 + n + groups) * sizeof(uint64_t);
    ix.offsets = arrays_new(ix.memory_bytes);
    if (!ix.offsets)
        return FIRN_NO_MEMORY;
    ix.pieces = ix.offsets + n + 1;
    ix.samples = ix.pieces + n;

    uint64_t offset = 0;
    for (uint32_t i = 0; i < ix.count; i++) {
        ix.offsets[i] = offset;
        offset += (uint64_t)get_u32(ix.sizes + (size_t)i * 4) + SST_TRAILER_BYTES;
        ix.pieces[i] = slice_piece(suffix_of(&ix, i), 0);
    }
    ix.offsets[n] = offset;
    for (size_t g = 0; g < groups; g++) {
        size_t last = g * GROUP + GROUP - 1;
        ix.samples[g] = ix.pieces[last < n ? last : n - 1];
    }
    *out = ix;
    return FIRN_OK;
}

void sst_index_release(sst_index *ix)
{
    if (ix->memory_bytes < PAGES_MIN)
        heap_free(ix->offsets);
    else
        pages_free(ix->offsets, ix->memory_bytes);
    *ix = (sst_index){0};
}

int sst_index_compare(const sst_index *ix, uint32_t i, firn_slice key, uint64_t seq)
{
    size_t shared = key.size < ix->prefix_size ? key.size : ix->prefix_size;
    int c = shared ? memcmp(ix->prefix, key.data, shared) : 0;
    if (c != 0)
        return c;
    if (key.size < ix->prefix_size)
        return 1;
    c = slice_compare(suffix_of(ix, i),
                      (firn_slice){key.data + ix->prefix_size, key.size - ix->prefix_size});
    if (c != 0)
        return c;
    uint64_t own = seq_of(ix, i);
    return own < seq ? 1 : own > seq ? -1 : 0; /* the larger number stands first */
}

int sst_index_key(const sst_index *ix, uint32_t i, buf *out)
{
    firn_slice suffix = suffix_of(ix, i);
    int rc = buf_assign(out, ix->prefix, ix->prefix_size);
    return rc == FIRN_OK ? buf_append(out, suffix.data, suffix.size) : rc;
}

static bool piece_is_below(const void *pieces, size_t at, void *want)
{
    return ((const uint64_t *)pieces)[at] < *(const uint64_t *)want;
}

/* The first of n pieces that is >= want. */
static size_t pieces_lower(const uint64_t *pieces, size_t n, uint64_t want)
{
    return search_first_flat(pieces, n, &want, piece_is_below);
}

typedef struct entry_search {
    firn_slice key;
    uint64_t seq;
} entry_search;

static bool entry_is_before(const void *index, size_t at, void *wanted)
{
    const entry_search *s = wanted;
    return sst_index_compare(index, (uint32_t)at, s->key, s->seq) < 0;
}

/* Equal pieces decide nothing: searches [low, count) by whole comparisons, galloping from low
 * because the answer is nearly always there. */
static uint32_t find_exact(const sst_index *ix, uint32_t low, firn_slice key, uint64_t seq)
{
    uint32_t step = 1;
    uint32_t high = low;
    while (high < ix->count && sst_index_compare(ix, high, key, seq) < 0) {
        low = high + 1;
        high = step < ix->count - high ? high + step : ix->count;
        step = step < UINT32_MAX / 2 ? step * 2 : step;
    }
    entry_search s = {key, seq};
    return (uint32_t)search_first(ix, low, high, &s, entry_is_before);
}

/* The group in which the first piece >= want is, as its first block. Brings all lines of the group
 * in at once, and those of the offsets that the answer will ask for. */
static inline size_t group_of(const sst_index *ix, uint64_t want)
{
    size_t n = ix->count;
    size_t first = GROUP * pieces_lower(ix->samples, (n + GROUP - 1) / GROUP, want);
    if (first >= n)
        return n;
    for (size_t i = 0; i < GROUP; i += 8) {
        __builtin_prefetch(ix->pieces + first + i);
        __builtin_prefetch(ix->offsets + first + i);
    }
    return first;
}

void sst_index_prefetch(const sst_index *ix, firn_slice key)
{
    if (key.size >= ix->prefix_size)
        (void)group_of(ix, slice_piece(key, ix->prefix_size));
}

uint32_t sst_index_find(const sst_index *ix, firn_slice key, uint64_t seq)
{
    size_t shared = key.size < ix->prefix_size ? key.size : ix->prefix_size;
    int c = shared ? memcmp(key.data, ix->prefix, shared) : 0;
    if (c != 0)
        return c < 0 ? 0 : ix->count;
    if (key.size < ix->prefix_size)
        return 0;

    uint64_t want = slice_piece(key, ix->prefix_size);
    size_t n = ix->count, first = group_of(ix, want);
    if (first == n)
        return ix->count;
    size_t in_group = n - first < GROUP ? n - first : GROUP;
    uint32_t low = (uint32_t)(first + pieces_lower(ix->pieces + first, in_group, want));
    if (ix->pieces[low] != want)
        return low;
    return find_exact(ix, low, key, seq);
}
