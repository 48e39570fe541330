/* fuzz_block: one data block, as it is after its checksum was found right (sstable/block.h).
 *
 * The first byte chooses:
 *   bit 0 set     what follows are the block's bytes
 *   bit 0 clear   what follows are versions, of which a block is built, and changes of its fields
 *   bit 1         the longest key that the table admits to is a number of the input
 *
 * What must hold: nothing is touched behind the block and its trailer (guarded.h), nothing is
 * allocated; a block that passes has bodies that fill it exactly and are within the limits; whatever
 * its tags, heads and order say, a search answers with an entry of the block, or with none; and where
 * they are true, with the one that a slow search finds. What was built and not changed passes.
 */
#include <base/hash.h>
#include <base/slice.h>
#include <string.h>
#include <support/guarded.h>

#include "block.h"
#include "block_builder.h"
#include "format.h"
#include "fuzz_block_fields.h"
#include "fuzz_memory.h"
#include "fuzz_run.h"

static void build(fuzz_buf *b, const fuzz_run *r)
{
    sst_block_builder builder = {0};
    buf out = {0};
    for (size_t i = 0; i < fuzz_run_count(r); i++) {
        firn_slice key = fuzz_run_key(r, i);
        const sst_pending rest = {.seq = fuzz_run_at(r, i)->seq,
                                  .kind = fuzz_run_at(r, i)->kind,
                                  .tag = sst_block_tag(hash64(key.data, key.size, 0))};
        FUZZ_CHECK(sst_block_builder_add(&builder, key, fuzz_run_value(r, i), &rest) == FIRN_OK);
    }
    if (builder.count > 0)
        FUZZ_CHECK(sst_block_builder_finish(&builder, &out) == FIRN_OK);
    fuzz_append(b, out.data, out.size);
    buf_release(&out);
    sst_block_builder_release(&builder);
}

/* ---- What a block that passed holds ---- */

/* Reads all entries into `out`, and looks whether they are what the check promises (B1, B2). */
static void read_entries(const sst_block *b, uint32_t key_max, fuzz_run *out)
{
    static uint8_t key[2 * FIRN_MAX_KEY_BYTES];
    const uint8_t *at = b->slots + (size_t)b->count * (b->wide ? 4 : 2);
    memcpy(key, b->prefix, b->prefix_size);
    for (uint32_t i = 0; i < b->count; i++) {
        sst_block_entry e;
        FUZZ_CHECK(sst_block_body(b, i) == at);
        sst_block_decode(at, b->seq_base, &e);
        FUZZ_CHECK(e.suffix > at && e.value == e.suffix + e.suffix_size);
        FUZZ_CHECK(e.value + e.value_size <= b->data + b->size);
        FUZZ_CHECK(b->prefix_size + e.suffix_size <= key_max);
        FUZZ_CHECK(e.value_size <= FIRN_MAX_VALUE_BYTES && e.seq > 0 && e.seq <= FIRN_MAX_SEQ);
        FUZZ_CHECK(e.kind == FIRN_PUT || (e.kind == FIRN_DELETE && e.value_size == 0) ||
                   (e.kind == FIRN_DELETE_RANGE && e.value_size > 0 &&
                    e.value_size <= FIRN_MAX_KEY_BYTES + 1));
        memcpy(key + b->prefix_size, e.suffix, e.suffix_size);
        firn_slice whole = {key, b->prefix_size + e.suffix_size};
        fuzz_run_add(out, whole, e.seq, e.kind, (firn_slice){e.value, e.value_size});
        at = e.value + e.value_size;
    }
    FUZZ_CHECK(at == b->data + b->size);
}

/* Does the block tell the truth about its keys? */
static bool adds_up(const sst_block *b, const fuzz_run *r)
{
    for (uint32_t i = 0; i < b->count; i++) {
        firn_slice key = fuzz_run_key(r, i);
        if (b->tags[i] != sst_block_tag(hash64(key.data, key.size, 0)) ||
            get_u32(b->heads + (size_t)i * 4) != sst_block_head(key, b->prefix_size))
            return false;
    }
    return fuzz_run_ascends(r);
}

static void check_search(const sst_block *b, const fuzz_run *r, bool right, firn_slice key,
                         uint64_t seq)
{
    sst_block_entry e;
    uint32_t at = sst_block_seek(b, key, seq);
    FUZZ_CHECK(at <= b->count);
    uint8_t tag = sst_block_tag(hash64(key.data, key.size, 0));
    uint32_t found = sst_block_find(b, key, tag, seq, &e);
    FUZZ_CHECK(found <= b->count);
    if (found < b->count) {
        FUZZ_CHECK(slice_equal(fuzz_run_key(r, found), key) && e.seq <= seq);
        FUZZ_CHECK(e.seq == fuzz_run_at(r, found)->seq);
        FUZZ_CHECK(slice_equal(fuzz_run_value(r, found), (firn_slice){e.value, e.value_size}));
    }
    if (!right)
        return;
    size_t slow = fuzz_run_seek(r, key, seq);
    FUZZ_CHECK(at == slow);
    bool there = slow < b->count && slice_equal(fuzz_run_key(r, slow), key);
    FUZZ_CHECK(found == (there ? slow : b->count));
}

static void check_searches(const sst_block *b, const fuzz_run *r, fuzz_input numbers)
{
    static uint8_t room[FIRN_MAX_KEY_BYTES + 1];
    bool right = adds_up(b, r);
    for (uint32_t i = 0; i < b->count && i < 300; i++) {
        uint64_t seq = fuzz_run_at(r, i)->seq;
        firn_slice key = fuzz_run_key(r, i);
        check_search(b, r, right, key, seq);
        check_search(b, r, right, key, seq - 1);
        check_search(b, r, right, key, FIRN_MAX_SEQ);
    }
    for (int n = 0; n < 8; n++)
        check_search(b, r, right, fuzz_run_near(r, &numbers, room), fuzz_number(&numbers));
    check_search(b, r, right, slice_somewhere((firn_slice){0}), FIRN_MAX_SEQ);
}

static void check_block(firn_slice bytes, uint32_t key_max, const fuzz_run *built,
                        fuzz_input numbers)
{
    guarded g = guarded_new(bytes.size + SST_TRAILER_BYTES);
    if (bytes.size > 0)
        memcpy(g.data, bytes.data, bytes.size);
    const char *why = NULL;
    int rc = sst_block_check(g.data, (uint32_t)bytes.size, key_max, &why);
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
    FUZZ_CHECK(rc == FIRN_OK || (why && why[0] != '\0'));
    FUZZ_CHECK(!built || rc == FIRN_OK);
    if (rc == FIRN_OK) {
        sst_block b = sst_block_view(g.data, (uint32_t)bytes.size);
        fuzz_run r = {0};
        read_entries(&b, key_max, &r);
        FUZZ_CHECK(!built || (adds_up(&b, &r) && fuzz_run_count(&r) == fuzz_run_count(built)));
        for (size_t i = 0; built && i < fuzz_run_count(built); i++)
            FUZZ_CHECK(
                fuzz_run_compare(&r, i, fuzz_run_key(built, i), fuzz_run_at(built, i)->seq) == 0 &&
                slice_equal(fuzz_run_value(&r, i), fuzz_run_value(built, i)));
        check_searches(&b, &r, numbers);
        fuzz_run_release(&r);
    }
    guarded_release(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {.data = data, .size = size};
    uint8_t choice = fuzz_u8(&in);
    /* They serve a second time: for what to look up. */
    fuzz_input numbers = in;
    uint32_t key_max = choice & 2 ? (uint32_t)fuzz_number(&in) : FIRN_MAX_KEY_BYTES;
    if (key_max > FIRN_MAX_KEY_BYTES)
        key_max = FIRN_MAX_KEY_BYTES; /* as sst_props_get sees to it */
    fuzz_buf b = {0};
    fuzz_run r = {0};
    if (choice & 1) {
        firn_slice bytes = fuzz_bytes(&in, SIZE_MAX);
        fuzz_append(&b, bytes.data, bytes.size);
    } else {
        fuzz_run_read(&r, &in);
        build(&b, &r);
    }
    bool as_built = b.size > 0 && !(choice & 3) && !fuzz_more(&in);
    if (!(choice & 1))
        fuzz_edit_some(&b, &in, fuzz_block_field);
    fuzz_memory_limit(0);
    check_block(fuzz_slice(&b), key_max, as_built ? &r : NULL, numbers);
    fuzz_memory_all_back();
    fuzz_run_release(&r);
    fuzz_buf_release(&b);
    return 0;
}
