/* block: see block.h. */
#include "block.h"

#include <base/search.h>

/* Bytes that the two sizes of a body take, by form. */
static const uint8_t sizes_bytes[4] = {2, 3, 5, 6};

/* One body at `at`; the position behind it, or 0 and *why. */
static uint32_t body_check(const sst_block *b, uint32_t at, uint32_t key_max, bool *unknown,
                           const char **why)
{
    const uint8_t *p = b->data + at;
    uint32_t left = b->size - at;
    unsigned control = left == 0 ? 0 : once_u32(p[0]);
    uint32_t fixed = 1U + (control >> 3 & 7) + sizes_bytes[control >> 6];

    sst_block_entry e = {0};
    if (left != 0 && fixed <= left)
        sst_block_decode(p, b->seq_base, &e);
    if (left == 0 || fixed > left || e.suffix != p + fixed) {
        *why = "an entry begins in a block but does not end there";
        return 0;
    }
    if (e.suffix_size > left - fixed || e.value_size > left - fixed - e.suffix_size) {
        *why = "an entry's sizes reach beyond its block";
        return 0;
    }
    if (b->prefix_size + e.suffix_size > key_max || e.value_size > FIRN_MAX_VALUE_BYTES) {
        *why = "an entry's key or value is larger than the limit";
        return 0;
    }
    if (e.seq == 0 || e.seq > FIRN_MAX_SEQ) {
        *why = "an entry's sequence number is out of range";
        return 0;
    }
    if (e.kind != ENTRY_KIND_NONE && !entry_kind_known(e.kind)) {
        *unknown = true;
    } else if (!entry_kind_fits(e.kind, e.value_size)) {
        *why = "an entry breaks the rules of its kind";
        return 0;
    }
    return at + fixed + e.suffix_size + e.value_size;
}

int sst_block_check(const uint8_t *data, uint32_t size, uint32_t key_max, const char **why)
{
    *why = "a block's header does not fit the block";
    if (size < SST_BLOCK_HEADER_BYTES)
        return FIRN_DAMAGED;
    if ((data[6] & ~SST_BLOCK_WIDE) != 0 || data[7] != 0) {
        *why = "a block has flags that this version of firn does not know";
        return FIRN_UNSUPPORTED;
    }
    sst_block b;
    if (!sst_block_again(data, size, &b) || b.seq_base > FIRN_MAX_SEQ)
        return FIRN_DAMAGED;

    uint32_t at = (uint32_t)(b.slots - data) + b.count * (b.wide ? 4 : 2);
    bool unknown_kind = false;
    for (uint32_t i = 0; i < b.count; i++) {
        if (sst_block_slot(&b, i) != at) {
            *why = "a block's slots do not agree with its entries";
            return FIRN_DAMAGED;
        }
        uint32_t behind = body_check(&b, at, key_max, &unknown_kind, why);
        if (behind == 0)
            return FIRN_DAMAGED;
        at = behind;
    }
    if (at != size) {
        *why = "a block holds more than its entries";
        return FIRN_DAMAGED;
    }
    if (unknown_kind) {
        *why = "a block holds a kind of entry that this version of firn does not know";
        return FIRN_UNSUPPORTED;
    }
    return FIRN_OK;
}

static int compare_suffix(const sst_block_entry *e, firn_slice key, uint32_t skip)
{
    return slice_compare((firn_slice){e->suffix, e->suffix_size},
                         (firn_slice){key.data + skip, key.size - skip});
}

static bool head_is_below(const void *heads, size_t at, void *want)
{
    return get_u32((const uint8_t *)heads + at * 4) < *(const uint32_t *)want;
}

/* The first position whose head is >= want. */
static uint32_t heads_lower(const sst_block *b, uint32_t want)
{
    return (uint32_t)search_first_flat(b->heads, b->count, &want, head_is_below);
}

typedef struct version_search {
    firn_slice key;
    uint64_t seq;
    bool changed; /* an entry was met that is none */
} version_search;

static bool version_is_before(const void *block, size_t at, void *wanted)
{
    const sst_block *b = block;
    version_search *s = wanted;
    sst_block_entry e;
    if (s->changed || !sst_block_entry_at(b, sst_block_slot(b, (uint32_t)at), &e)) {
        s->changed = true;
        return false;
    }
    int c = compare_suffix(&e, s->key, b->prefix_size);
    return c < 0 || (c == 0 && e.seq > s->seq);
}

uint32_t sst_block_seek(const sst_block *b, firn_slice key, uint64_t seq)
{
    size_t shared = key.size < b->prefix_size ? key.size : b->prefix_size;
    int c = shared ? memcmp(key.data, b->prefix, shared) : 0;
    if (c != 0)
        return c < 0 ? 0 : b->count;
    if (key.size < b->prefix_size)
        return 0;

    uint32_t want = sst_block_head(key, b->prefix_size);
    uint32_t low = heads_lower(b, want);
    uint32_t high = low;
    /* Heads are usually distinct, or equal for the few versions of one key. */
    while (high < b->count && get_u32(b->heads + (size_t)high * 4) == want)
        high++;
    version_search s = {key, seq, false};
    low = (uint32_t)search_first(b, low, high, &s, version_is_before);
    return s.changed ? SST_BLOCK_CHANGED : low;
}

/* Of the entries from i on, sixteen at most, a bit for each whose tag is this. Behind the tags
 * stand at least a head, a slot, a body and the trailer for each of the last entries: 16 bytes may
 * be read at any tag (B3). */
static inline uint32_t tags_from(const sst_block *b, uint32_t i, uint8_t tag)
{
    uint32_t mask = sst_tags_match(b->tags + i, tag);
    return b->count - i < 16 ? mask & ((UINT32_C(1) << (b->count - i)) - 1) : mask;
}

void sst_block_prefetch_entry(const sst_block *b, firn_slice key, uint8_t tag)
{
    if (key.size < b->prefix_size)
        return;
    uint32_t want = sst_block_head(key, b->prefix_size);
    for (uint32_t i = 0; i < b->count; i += 16)
        for (uint32_t mask = tags_from(b, i, tag); mask != 0; mask &= mask - 1) {
            uint32_t at = i + (uint32_t)__builtin_ctz(mask);
            if (get_u32(b->heads + (size_t)at * 4) != want)
                continue;
            uint32_t offset = sst_block_slot(b, at);
            if (offset < b->size) {
                __builtin_prefetch(b->data + offset);
                __builtin_prefetch(b->data + offset + 64);
            }
            return;
        }
}

uint32_t sst_block_find(const sst_block *b, firn_slice key, uint8_t tag, uint64_t seq,
                        sst_block_entry *out)
{
    if (key.size < b->prefix_size ||
        (b->prefix_size != 0 && memcmp(key.data, b->prefix, b->prefix_size) != 0))
        return b->count;
    uint32_t want = sst_block_head(key, b->prefix_size);
    uint32_t size = (uint32_t)key.size - b->prefix_size;
    const uint8_t *suffix = key.data + b->prefix_size;

    for (uint32_t i = 0; i < b->count; i += 16) {
        for (uint32_t mask = tags_from(b, i, tag); mask != 0; mask &= mask - 1) {
            uint32_t at = i + (uint32_t)__builtin_ctz(mask);
            if (get_u32(b->heads + (size_t)at * 4) != want)
                continue;
            if (!sst_block_entry_at(b, sst_block_slot(b, at), out))
                return SST_BLOCK_CHANGED;
            if (out->suffix_size != size || (size != 0 && memcmp(out->suffix, suffix, size) != 0))
                continue;
            /* Versions stand newest first: the first one that is old enough is the answer. */
            if (out->seq <= seq)
                return at;
        }
    }
    return b->count;
}
