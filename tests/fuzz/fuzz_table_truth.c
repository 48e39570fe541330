/* fuzz_table_truth: see fuzz_table_bytes.h. What a writer derives from the entries is derived again from
 * blocks that an input changed, so that a table with odd entries can be a consistent one. */
#include "fuzz_table_bytes.h"

#include <base/hash.h>
#include <string.h>

#include "block.h"
#include "filter.h"
#include "props.h"
#include "ranges.h"

typedef struct truth {
    fuzz_run run;
    sst_props props;
    buf hashes;
    buf range_blocks;
} truth;

/* Tags and heads of a block, and its entries into the run. False: it has none that can be told. */
static bool read_block(truth *u, fuzz_part *p)
{
    static uint8_t key[2 * FIRN_MAX_KEY_BYTES];
    const char *why;
    fuzz_reserve(&p->raw, SST_TRAILER_BYTES);
    if (p->packed ||
        sst_block_check(p->raw.data, (uint32_t)p->raw.size, FIRN_MAX_KEY_BYTES, &why) != FIRN_OK)
        return false;
    sst_block b = sst_block_view(p->raw.data, (uint32_t)p->raw.size);
    memcpy(key, b.prefix, b.prefix_size);
    for (uint32_t i = 0; i < b.count; i++) {
        sst_block_entry e;
        sst_block_decode(sst_block_body(&b, i), b.seq_base, &e);
        memcpy(key + b.prefix_size, e.suffix, e.suffix_size);
        firn_slice whole = {key, b.prefix_size + e.suffix_size};
        uint64_t hash = hash64(whole.data, whole.size, 0);
        p->raw.data[(size_t)(b.tags - b.data) + i] = sst_block_tag(hash);
        put_u32(p->raw.data + (size_t)(b.heads - b.data) + (size_t)i * 4,
                sst_block_head(whole, b.prefix_size));
        fuzz_run_add(&u->run, whole, e.seq, e.kind, (firn_slice){e.value, e.value_size});
        FUZZ_CHECK(buf_append(&u->hashes, &hash, sizeof hash) == FIRN_OK);
    }
    return true;
}

static void count(truth *u)
{
    sst_properties *p = &u->props.shown;
    size_t n = fuzz_run_count(&u->run);
    for (size_t i = 0; i < n; i++) {
        const fuzz_version *v = fuzz_run_at(&u->run, i);
        p->deletes += v->kind != FIRN_PUT;
        p->ranges += v->kind == FIRN_DELETE_RANGE;
        p->raw_bytes += (uint64_t)v->key_size + v->value_size;
        p->seq_min = i == 0 || v->seq < p->seq_min ? v->seq : p->seq_min;
        p->seq_max = v->seq > p->seq_max ? v->seq : p->seq_max;
        if (v->key_size > u->props.key_bytes_max)
            u->props.key_bytes_max = v->key_size;
    }
    p->entries = n;
    p->key_min = n > 0 ? fuzz_run_key(&u->run, 0) : (firn_slice){0};
    p->key_max = n > 0 ? fuzz_run_key(&u->run, n - 1) : (firn_slice){0};
    u->props.range_blocks = buf_slice(&u->range_blocks);
}

/* The last range delete may cover what lies behind the last entry. */
static void count_covered(truth *u)
{
    sst_properties *p = &u->props.shown;
    size_t i = fuzz_run_count(&u->run);
    while (i > 0 && fuzz_run_at(&u->run, i - 1)->kind != FIRN_DELETE_RANGE)
        i--;
    if (i == 0)
        return;
    firn_slice covered = range_last(fuzz_run_value(&u->run, i - 1));
    if (slice_compare(covered, p->key_max) <= 0 || covered.size > FIRN_MAX_KEY_BYTES)
        return;
    p->key_max = covered;
    if (covered.size > u->props.key_bytes_max)
        u->props.key_bytes_max = covered.size;
}

/* Block i has the versions from `first` on. */
static void note_ranges(truth *u, uint32_t i, size_t first)
{
    for (size_t n = first; n < fuzz_run_count(&u->run); n++)
        if (fuzz_run_at(&u->run, n)->kind == FIRN_DELETE_RANGE)
            FUZZ_CHECK(sst_range_blocks_add(&u->range_blocks, i) == FIRN_OK);
}

/* A separator for each block: its last entry, with a number as if the key went on behind it. Written here, because the
 * blocks may be out of order, which the builder of an index relies on. */
static void put_index(const truth *u, const size_t *ends, size_t blocks, fuzz_buf *out)
{
    uint8_t bytes[8] = {0};
    uint32_t end = 0;
    put_u32(bytes, (uint32_t)blocks);
    bytes[6] = 1; /* numbers are present; no prefix */
    fuzz_append(out, bytes, 8);
    for (size_t i = 0; i < blocks; i++) /* the sizes come when all is put together */
        fuzz_append(out, (const uint8_t[4]){0}, 4);
    for (size_t i = 0; i < blocks; i++) {
        end += ends[i] > 0 ? fuzz_run_at(&u->run, ends[i] - 1)->key_size : 0;
        put_u32(bytes, end);
        fuzz_append(out, bytes, 4);
    }
    for (size_t i = 0; i < blocks; i++) {
        put_u64(bytes, ends[i] > 0 ? fuzz_run_at(&u->run, ends[i] - 1)->seq : 0);
        fuzz_append(out, bytes, 8);
    }
    for (size_t i = 0; i < blocks; i++) {
        firn_slice key = ends[i] > 0 ? fuzz_run_key(&u->run, ends[i] - 1) : (firn_slice){0};
        fuzz_append(out, key.data, key.size);
    }
}

static void replace(fuzz_part *p, firn_slice with)
{
    if (p->packed)
        return;
    p->raw.size = 0;
    fuzz_append(&p->raw, with.data, with.size);
}

void fuzz_table_tell_truth(fuzz_table *t)
{
    truth u = {0};
    size_t ends[FUZZ_PARTS_MAX], blocks = 0;
    buf props = {0}, filter = {0};
    fuzz_buf index = {0};
    for (size_t i = 0; i < t->count; i++) {
        if (t->parts[i].role != FUZZ_DATA)
            continue;
        size_t first = fuzz_run_count(&u.run);
        (void)read_block(&u, &t->parts[i]);
        note_ranges(&u, (uint32_t)blocks, first);
        ends[blocks++] = fuzz_run_count(&u.run);
    }
    count(&u);
    count_covered(&u);
    put_index(&u, ends, blocks, &index);
    FUZZ_CHECK(sst_props_put(&u.props, &props) == FIRN_OK);
    FUZZ_CHECK(sst_filter_build((const uint64_t *)(const void *)u.hashes.data,
                                u.hashes.size / sizeof(uint64_t), 10, &filter) == FIRN_OK);
    for (size_t i = 0; i < t->count; i++) {
        if (t->parts[i].role == FUZZ_INDEX)
            replace(&t->parts[i], fuzz_slice(&index));
        else if (t->parts[i].role == FUZZ_PROPS)
            replace(&t->parts[i], buf_slice(&props));
        else if (t->parts[i].role == FUZZ_FILTER)
            replace(&t->parts[i], buf_slice(&filter));
    }
    fuzz_buf_release(&index);
    buf_release(&props);
    buf_release(&filter);
    buf_release(&u.hashes);
    buf_release(&u.range_blocks);
    fuzz_run_release(&u.run);
}
