/* fuzz_index: the index of a table, as it is after its checksum was found right (sstable/index.h).
 *
 * The first byte chooses:
 *   bit 0 set     what follows are the index's bytes
 *   bit 0 clear   what follows are keys, of which an index is built, and changes of its fields
 *   bit 1         separators with sequence numbers
 *
 * What must hold: nothing is touched behind the end (guarded.h); an index in memory takes no more than
 * a small multiple of its bytes; one that opens names blocks that lie one behind the other; a search
 * answers with a block or with none; and where the separators ascend, with the one that a slow search
 * finds. What was built and not changed opens.
 */
#include <string.h>
#include <support/guarded.h>

#include "fuzz_block_fields.h"
#include "fuzz_memory.h"
#include "fuzz_run.h"
#include "index.h"

/* Room for offsets, pieces and samples (index.h): 16 bytes and a 32nd of 8 for at least 8 bytes of file. */
#define MEMORY_TIMES 3
#define MEMORY_MORE  1024

static uint32_t block_size(const fuzz_run *r, size_t i)
{
    return 24 + (uint32_t)fuzz_run_value(r, i).size;
}

static uint64_t separator_seq(const fuzz_run *r, size_t i, bool with_seqs)
{
    return with_seqs ? fuzz_run_at(r, i)->seq : 0;
}

static void build(fuzz_buf *b, const fuzz_run *r, bool with_seqs)
{
    sst_index_builder builder = {0};
    buf out = {0};
    for (size_t i = 0; i < fuzz_run_count(r); i++)
        FUZZ_CHECK(sst_index_builder_add(&builder, block_size(r, i), fuzz_run_key(r, i),
                                         separator_seq(r, i, with_seqs)) == FIRN_OK);
    FUZZ_CHECK(sst_index_builder_finish(&builder, &out) == FIRN_OK);
    fuzz_append(b, out.data, out.size);
    buf_release(&out);
    sst_index_builder_release(&builder);
}

/* All separators, as the columns have them. */
static void read_separators(const sst_index *ix, firn_slice bytes, fuzz_run *out)
{
    static uint8_t key[2 * FIRN_MAX_KEY_BYTES];
    uint64_t start = 0, offset = 0;
    if (ix->prefix_size > 0)
        memcpy(key, ix->prefix, ix->prefix_size);
    for (uint32_t i = 0; i < ix->count; i++) {
        uint64_t end = get_u32(ix->ends + (size_t)i * 4);
        uint64_t seq = ix->seqs ? get_u64(ix->seqs + (size_t)i * 8) : 0;
        FUZZ_CHECK(end >= start && ix->suffixes + end <= bytes.data + bytes.size);
        FUZZ_CHECK(ix->prefix_size + (end - start) <= FIRN_MAX_KEY_BYTES);
        if (end > start)
            memcpy(key + ix->prefix_size, ix->suffixes + start, end - start);
        firn_slice whole = {key, ix->prefix_size + (size_t)(end - start)};
        fuzz_run_add(out, whole, seq, FIRN_PUT, (firn_slice){NULL, 0});
        FUZZ_CHECK(ix->offsets[i] == offset);
        FUZZ_CHECK(sst_index_size(ix, i) == get_u32(ix->sizes + (size_t)i * 4));
        offset += (uint64_t)sst_index_size(ix, i) + SST_TRAILER_BYTES;
        start = end;
    }
    FUZZ_CHECK(ix->offsets[ix->count] == offset);
    FUZZ_CHECK(ix->suffixes + start == bytes.data + bytes.size);
}

/* Equal ones are in order, too: the first counts. */
static bool ascends(const fuzz_run *r)
{
    for (size_t i = 1; i < fuzz_run_count(r); i++)
        if (fuzz_run_compare(r, i - 1, fuzz_run_key(r, i), fuzz_run_at(r, i)->seq) > 0)
            return false;
    return true;
}

static void check_find(const sst_index *ix, const fuzz_run *r, bool right, firn_slice key,
                       uint64_t seq)
{
    uint32_t at = sst_index_find(ix, key, seq);
    FUZZ_CHECK(at <= ix->count);
    FUZZ_CHECK(!right || at == fuzz_run_seek(r, key, seq));
    if (at < ix->count) {
        int c = sst_index_compare(ix, at, key, seq);
        int slow = fuzz_run_compare(r, at, key, seq);
        FUZZ_CHECK((c > 0) == (slow > 0) && (c < 0) == (slow < 0));
    }
}

static void check_open(const sst_index *ix, firn_slice bytes, fuzz_input numbers)
{
    static uint8_t room[FIRN_MAX_KEY_BYTES + 1];
    fuzz_run r = {0};
    read_separators(ix, bytes, &r);
    bool right = ascends(&r);
    for (uint32_t i = 0; i < ix->count && i < 300; i++) {
        uint64_t seq = fuzz_run_at(&r, i)->seq;
        check_find(ix, &r, right, fuzz_run_key(&r, i), seq);
        check_find(ix, &r, right, fuzz_run_key(&r, i), seq + 1);
        check_find(ix, &r, right, fuzz_run_key(&r, i), FIRN_MAX_SEQ);
    }
    for (int n = 0; n < 8; n++)
        check_find(ix, &r, right, fuzz_run_near(&r, &numbers, room), fuzz_number(&numbers));
    check_find(ix, &r, right, slice_somewhere((firn_slice){0}), 0);
    fuzz_run_release(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {.data = data, .size = size};
    uint8_t choice = fuzz_u8(&in);
    /* They serve a second time: for what to look up. */
    fuzz_input numbers = in;
    fuzz_buf b = {0};
    fuzz_run r = {0};
    if (choice & 1) {
        firn_slice bytes = fuzz_bytes(&in, SIZE_MAX);
        fuzz_append(&b, bytes.data, bytes.size);
    } else {
        fuzz_run_read(&r, &in);
        build(&b, &r, (choice & 2) != 0);
    }
    bool as_built = !(choice & 1) && !fuzz_more(&in);
    if (!(choice & 1))
        fuzz_edit_some(&b, &in, fuzz_index_field);

    guarded g = guarded_new(b.size);
    if (b.size > 0)
        memcpy(g.data, b.data, b.size);
    firn_slice bytes = {g.data, g.size};
    sst_index ix = {0};
    fuzz_memory_limit(bytes.size * MEMORY_TIMES + MEMORY_MORE);
    int rc = sst_index_open(bytes, &ix);
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
    FUZZ_CHECK(!as_built || (rc == FIRN_OK && ix.count == fuzz_run_count(&r)));
    if (rc == FIRN_OK)
        check_open(&ix, bytes, numbers);
    sst_index_release(&ix);
    fuzz_memory_all_back();
    guarded_release(&g);
    fuzz_run_release(&r);
    fuzz_buf_release(&b);
    return 0;
}
