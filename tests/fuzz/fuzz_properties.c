/* fuzz_properties: the properties of a table, as they are after their checksum was found right
 * (sstable/props.h).
 *
 * The first byte chooses:
 *   bit 0 set     what follows are the block's bytes
 *   bit 0 clear   what follows are numbers and keys that are encoded, and changes of the fields
 *
 * Behind the keys, a number may be how many range deletes there are; then pairs of numbers are the
 * blocks that have them.
 *
 * What must hold: nothing is touched behind the end (guarded.h), nothing is allocated; what passes has
 * its keys and its list of blocks within its bytes and limits, and is the same when it is encoded and decoded again; what was
 * encoded and not changed passes and is the same.
 */
#include <base/slice.h>
#include <string.h>
#include <support/guarded.h>

#include "fuzz_block_fields.h"
#include "fuzz_memory.h"
#include "props.h"
#include "ranges.h"

static uint8_t range_blocks[8 * 15];

static bool same(const sst_props *a, const sst_props *b)
{
    const sst_properties *x = &a->shown, *y = &b->shown;
    return x->entries == y->entries && x->deletes == y->deletes && x->raw_bytes == y->raw_bytes &&
           x->data_bytes == y->data_bytes && x->blocks == y->blocks && x->seq_min == y->seq_min &&
           x->seq_max == y->seq_max && x->created_us == y->created_us && x->ranges == y->ranges &&
           slice_equal(a->range_blocks, b->range_blocks) && slice_equal(x->key_min, y->key_min) &&
           slice_equal(x->key_max, y->key_max) && a->compressed_blocks == b->compressed_blocks &&
           a->key_bytes_max == b->key_bytes_max;
}

static void encode(const sst_props *p, fuzz_buf *out)
{
    buf b = {0};
    FUZZ_CHECK(sst_props_put(p, &b) == FIRN_OK);
    fuzz_append(out, b.data, b.size);
    buf_release(&b);
}

static sst_props from_input(fuzz_input *in)
{
    uint64_t numbers[10];
    for (size_t i = 0; i < 10; i++)
        numbers[i] = fuzz_number(in);
    sst_props p = {
        .shown = {.entries = numbers[0],
                  .deletes = numbers[1],
                  .raw_bytes = numbers[2],
                  .data_bytes = numbers[3],
                  .blocks = numbers[4],
                  .seq_min = numbers[5],
                  .seq_max = numbers[6],
                  .created_us = numbers[7]},
        .compressed_blocks = numbers[8],
        .key_bytes_max = numbers[9] % (FIRN_MAX_KEY_BYTES + 1),
    };
    size_t key_max = (size_t)p.key_bytes_max;
    size_t first = fuzz_small(in), last = fuzz_u8(in);
    p.shown.key_min = fuzz_bytes(in, first < key_max ? first : key_max);
    p.shown.key_max = fuzz_bytes(in, last < key_max ? last : key_max);
    p.shown.ranges = fuzz_number(in) % FIRN_MAX_SEQ;
    p.range_blocks = (firn_slice){range_blocks, p.shown.ranges ? 8 * (size_t)fuzz_small(in) : 0};
    for (size_t i = 0; i < p.range_blocks.size; i += 4)
        put_u32(range_blocks + i, (uint32_t)fuzz_number(in));
    return p;
}

static bool inside(firn_slice s, const guarded *g)
{
    return s.data >= g->data && s.data + s.size <= g->data + g->size;
}

static void check_passed(const sst_props *p, const guarded *g)
{
    fuzz_buf again = {0};
    sst_props second;
    FUZZ_CHECK(inside(p->shown.key_min, g) && inside(p->shown.key_max, g));
    FUZZ_CHECK(p->key_bytes_max <= FIRN_MAX_KEY_BYTES &&
               p->shown.key_min.size <= p->key_bytes_max &&
               p->shown.key_max.size <= p->key_bytes_max);
    FUZZ_CHECK(p->shown.ranges == 0 || (inside(p->range_blocks, g) &&
                                        sst_range_blocks_fit(p->range_blocks, p->shown.blocks)));
    encode(p, &again);
    FUZZ_CHECK(sst_props_get(fuzz_slice(&again), &second) == FIRN_OK && same(p, &second));
    /* What it does not know is skipped, so the second form may only be shorter. */
    FUZZ_CHECK(again.size <= g->size);
    fuzz_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {.data = data, .size = size};
    uint8_t choice = fuzz_u8(&in);
    fuzz_buf b = {0};
    sst_props given = {0};
    if (choice & 1) {
        firn_slice bytes = fuzz_bytes(&in, SIZE_MAX);
        fuzz_append(&b, bytes.data, bytes.size);
    } else {
        given = from_input(&in);
        encode(&given, &b);
    }
    bool as_given = !(choice & 1) && !fuzz_more(&in);
    if (!(choice & 1))
        fuzz_edit_some(&b, &in, fuzz_props_field);

    guarded g = guarded_new(b.size);
    if (b.size > 0)
        memcpy(g.data, b.data, b.size);
    sst_props p;
    memset(&p, 0x77, sizeof p);
    const sst_props untouched = p;
    fuzz_memory_limit(0);
    int rc = sst_props_get((firn_slice){g.data, g.size}, &p);
    fuzz_memory_all_back();
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
    bool fits =
        given.shown.ranges == 0 || sst_range_blocks_fit(given.range_blocks, given.shown.blocks);
    FUZZ_CHECK(!as_given || (fits ? rc == FIRN_OK && same(&p, &given) : rc == FIRN_DAMAGED));
    if (rc == FIRN_OK)
        check_passed(&p, &g);
    else
        FUZZ_CHECK(memcmp(&p, &untouched, sizeof p) == 0);
    guarded_release(&g);
    fuzz_buf_release(&b);
    return 0;
}
