/* fuzz_filter: the filter of a table, as it is after its checksum was found right (sstable/filter.h).
 *
 * The first byte chooses:
 *   bit 0 set     what follows are the filter's bytes
 *   bit 0 clear   a filter of so many keys and bits per key is built, and then changed
 *
 * What must hold: nothing is touched outside (guarded.h), nothing is allocated; a filter that opens
 * answers every question from within its lines; one that was built and not changed admits its keys.
 */
#include <base/hash.h>
#include <string.h>
#include <support/guarded.h>

#include "filter.h"
#include "fuzz_block_fields.h"
#include "fuzz_memory.h"

#define KEYS_MAX 192

static void build(fuzz_buf *b, size_t keys, uint32_t bits, uint64_t seed)
{
    uint64_t hashes[KEYS_MAX];
    buf out = {0};
    for (size_t i = 0; i < keys; i++)
        hashes[i] = mix64(seed + i);
    FUZZ_CHECK(sst_filter_build(hashes, keys, bits, &out) == FIRN_OK);
    FUZZ_CHECK((out.size == 0) == (keys == 0 || bits == 0));
    fuzz_append(b, out.data, out.size);
    buf_release(&out);
}

static void check_open(const sst_filter *f, const guarded *g, fuzz_input numbers)
{
    const uint64_t edges[] = {0, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 32, UINT64_MAX << 32};
    FUZZ_CHECK(f->lines == g->data && f->count > 0 && f->probes > 0);
    FUZZ_CHECK((uint64_t)f->count * SST_FILTER_LINE_BYTES + SST_FILTER_TAIL_BYTES == g->size);
    for (size_t i = 0; i < 32; i++) {
        uint64_t hash = i < 5 ? edges[i] : mix64(fuzz_number(&numbers) + i);
        const uint8_t *line = sst_filter_line(f, hash);
        FUZZ_CHECK(line >= g->data &&
                   line + SST_FILTER_LINE_BYTES <= g->data + g->size - SST_FILTER_TAIL_BYTES);
        (void)sst_filter_may_contain(f, hash);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {.data = data, .size = size};
    uint8_t choice = fuzz_u8(&in);
    fuzz_input numbers = in;
    fuzz_buf b = {0};
    size_t keys = 0;
    uint64_t seed = 0;
    if (choice & 1) {
        firn_slice bytes = fuzz_bytes(&in, SIZE_MAX);
        fuzz_append(&b, bytes.data, bytes.size);
    } else {
        keys = fuzz_u8(&in) % KEYS_MAX;
        seed = fuzz_number(&in);
        build(&b, keys, fuzz_u8(&in) % (SST_FILTER_BITS_MAX + 1), seed);
    }
    bool as_built = !(choice & 1) && b.size > 0 && !fuzz_more(&in);
    if (!(choice & 1))
        fuzz_edit_some(&b, &in, fuzz_filter_field);

    guarded g = guarded_new(b.size);
    if (b.size > 0)
        memcpy(g.data, b.data, b.size);
    sst_filter f = {0};
    fuzz_memory_limit(0);
    int rc = sst_filter_open((firn_slice){g.data, g.size}, &f);
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
    FUZZ_CHECK(rc == FIRN_OK || !f.lines);
    if (rc == FIRN_OK)
        check_open(&f, &g, numbers);
    FUZZ_CHECK(!as_built || rc == FIRN_OK);
    for (size_t i = 0; as_built && i < keys; i++)
        FUZZ_CHECK(sst_filter_may_contain(&f, mix64(seed + i)));
    fuzz_memory_all_back();
    guarded_release(&g);
    fuzz_buf_release(&b);
    return 0;
}
