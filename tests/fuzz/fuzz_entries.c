/* fuzz_entries: encoded operations (base/entry.h) and batches (firn/types.h).
 *
 * The first byte chooses:
 *   bit 0 clear   what follows are the bytes of a payload; its count is right or from the input
 *   bit 0 set     what follows are calls that build a batch
 *
 * What must hold: nothing is touched behind the end (guarded.h); entries_check and entry_decode
 * agree; a payload that passes is, byte for byte, what a batch of the same operations encodes; a
 * call that fails leaves the batch as it was.
 */
#include <base/alloc.h>
#include <base/entry.h>
#include <string.h>
#include <support/guarded.h>

#include "fuzz.h"
#include "fuzz_memory.h"

#define MEMORY_MAX ((size_t)2 << 20) /* that firn may hold for one input */

/* ---- A payload from anywhere ---- */

/* Walks the entries as a reader does. Returns how many there are before the first that does not
 * pass, whose status goes to *rc: FIRN_OK when all do. */
static uint32_t walk(firn_slice payload, firn_batch *rebuilt, int *rc)
{
    size_t at = 0;
    uint32_t count = 0;
    *rc = FIRN_OK;
    while (at < payload.size) {
        entry e = {.kind = 77};
        size_t used = 0;
        const uint8_t *p = payload.data + at;
        *rc = entry_decode(p, payload.size - at, &e, &used);
        if (*rc != FIRN_OK) {
            FUZZ_CHECK(*rc == FIRN_DAMAGED || *rc == FIRN_UNSUPPORTED);
            FUZZ_CHECK(e.kind == 77 && used == 0);
            return count;
        }
        FUZZ_CHECK(used == entry_size(e.key.size, e.value.size) && used <= payload.size - at);
        FUZZ_CHECK(e.key.data == p + ENTRY_HEADER_BYTES);
        FUZZ_CHECK(e.value.data == e.key.data + e.key.size);
        FUZZ_CHECK(entry_key(p).data == e.key.data && entry_key(p).size == e.key.size);
        FUZZ_CHECK(entry_value(p).data == e.value.data && entry_value(p).size == e.value.size);
        FUZZ_CHECK(e.value.size <= FIRN_MAX_VALUE_BYTES);
        FUZZ_CHECK(e.bucket < ENTRY_BUCKETS);
        FUZZ_CHECK(e.kind == FIRN_PUT || (e.kind == FIRN_DELETE && e.value.size == 0) ||
                   (e.kind == FIRN_DELETE_RANGE && entry_range_fits(e.key, e.value)));
        FUZZ_CHECK(batch_add(rebuilt, e.bucket, (firn_kind)e.kind, e.key, e.value) == FIRN_OK);
        at += used;
        count++;
    }
    return count;
}

static void payload_target(fuzz_input *in, bool right_count)
{
    uint32_t claimed = right_count ? 0 : (uint32_t)fuzz_number(in);
    firn_slice given = fuzz_bytes(in, SIZE_MAX);
    guarded g = guarded_new(given.size);
    if (given.size > 0)
        memcpy(g.data, given.data, given.size);
    firn_slice payload = {g.data, g.size};
    firn_batch *rebuilt;
    FUZZ_CHECK(firn_batch_new(&rebuilt) == FIRN_OK);

    int rc;
    uint32_t count = walk(payload, rebuilt, &rc);
    if (right_count)
        claimed = count;
    int verdict = entries_check(payload, claimed);
    if (rc == FIRN_OK) {
        FUZZ_CHECK((verdict == FIRN_OK) == (claimed == count));
        FUZZ_CHECK(verdict == FIRN_OK || verdict == FIRN_DAMAGED);
        firn_slice again = batch_payload(rebuilt);
        FUZZ_CHECK(firn_batch_count(rebuilt) == count && again.size == payload.size);
        FUZZ_CHECK(again.size == 0 || memcmp(again.data, payload.data, again.size) == 0);
    } else {
        /* With fewer than the claimed count in front of it, the bad one is met. */
        FUZZ_CHECK(verdict == (claimed > count ? rc : FIRN_DAMAGED));
    }
    firn_batch_free(rebuilt);
    guarded_release(&g);
}

/* ---- Calls that build a batch ---- */

/* What the batch must encode. */
typedef struct model {
    uint8_t bytes[1 << 16];
    size_t size;
    uint32_t count, ranges;
} model;

static void model_add(model *m, uint8_t kind, firn_slice key, firn_slice value)
{
    uint8_t *p = m->bytes + m->size;
    p[0] = kind;
    p[1] = 0;
    p[2] = (uint8_t)key.size;
    p[3] = (uint8_t)(key.size >> 8);
    for (int i = 0; i < 4; i++)
        p[4 + i] = (uint8_t)(value.size >> (8 * i));
    if (key.size > 0)
        memcpy(p + 8, key.data, key.size);
    if (value.size > 0)
        memcpy(p + 8 + key.size, value.data, value.size);
    m->size += 8 + key.size + value.size;
    m->count++;
    m->ranges += kind == FIRN_DELETE_RANGE;
}

static void check_batch(const firn_batch *batch, const model *m)
{
    firn_slice payload = batch_payload(batch);
    FUZZ_CHECK(firn_batch_count(batch) == m->count && batch_ranges(batch) == m->ranges);
    FUZZ_CHECK(firn_batch_bytes(batch) == m->size && payload.size == m->size);
    FUZZ_CHECK(m->size == 0 || memcmp(payload.data, m->bytes, m->size) == 0);
    FUZZ_CHECK(entries_check(payload, m->count) == FIRN_OK);
}

/* A key or value that is refused before its bytes are read. */
static void refused_call(firn_batch *batch, fuzz_input *in)
{
    uint8_t some = 0;
    switch (fuzz_small(in) % 5) {
    case 0:
        FUZZ_CHECK(firn_batch_put(batch, &some, FIRN_MAX_KEY_BYTES + 1 + (size_t)fuzz_u8(in), NULL,
                                  0) == FIRN_TOO_LARGE);
        break;
    case 1:
        FUZZ_CHECK(firn_batch_put(batch, &some, 1, &some,
                                  FIRN_MAX_VALUE_BYTES + 1 + (size_t)fuzz_u8(in)) ==
                   FIRN_TOO_LARGE);
        break;
    case 2:
        FUZZ_CHECK(firn_batch_put(batch, NULL, 1 + (size_t)fuzz_u8(in), NULL, 0) == FIRN_INVALID);
        break;
    case 3:
        FUZZ_CHECK(firn_batch_put(batch, NULL, 0, NULL, 1 + (size_t)fuzz_u8(in)) == FIRN_INVALID);
        FUZZ_CHECK(batch_add(batch, 0, FIRN_DELETE_RANGE, (firn_slice){&some, 1},
                             (firn_slice){&some, fuzz_u8(in) & 1}) == FIRN_INVALID);
        break;
    default:
        FUZZ_CHECK(firn_batch_delete(batch, &some, FIRN_MAX_KEY_BYTES + (size_t)1) ==
                   FIRN_TOO_LARGE);
        break;
    }
}

static void good_call(firn_batch *batch, model *m, fuzz_input *in)
{
    uint8_t which = fuzz_u8(in);
    bool removes = which % 4 == 0, range = which % 8 == 3;
    firn_slice key = fuzz_bytes(in, fuzz_u8(in));
    firn_slice value = fuzz_bytes(in, removes ? 0 : fuzz_u8(in));
    if (m->size + entry_size(key.size, value.size) > sizeof m->bytes)
        return;
    if (range && !entry_range_fits(key, value)) {
        FUZZ_CHECK(batch_add(batch, 0, FIRN_DELETE_RANGE, key, value) == FIRN_INVALID);
        return;
    }
    if (which & 0x80)
        alloc_fail_at(1);
    int rc = range     ? batch_add(batch, 0, FIRN_DELETE_RANGE, key, value)
             : removes ? firn_batch_delete(batch, key.data, key.size)
                       : firn_batch_put(batch, key.data, key.size, value.data, value.size);
    alloc_fail_at(0);
    FUZZ_CHECK(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && (which & 0x80)));
    if (rc == FIRN_OK)
        model_add(m, range ? FIRN_DELETE_RANGE : removes ? FIRN_DELETE : FIRN_PUT, key, value);
}

static void batch_target(fuzz_input *in)
{
    static model m;
    firn_batch *batch;
    m.size = 0;
    m.count = m.ranges = 0;
    FUZZ_CHECK(firn_batch_new(&batch) == FIRN_OK);
    while (fuzz_more(in)) {
        switch (fuzz_small(in)) {
        case 0:
            firn_batch_clear(batch);
            m.size = 0;
            m.count = m.ranges = 0;
            break;
        case 1:
            refused_call(batch, in);
            break;
        case 2:
            check_batch(batch, &m);
            break;
        default:
            good_call(batch, &m, in);
            break;
        }
    }
    check_batch(batch, &m);
    firn_batch_free(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {.data = data, .size = size};
    fuzz_memory_limit(MEMORY_MAX);
    uint8_t choice = fuzz_u8(&in);
    if (choice & 1)
        batch_target(&in);
    else
        payload_target(&in, (choice & 2) == 0);
    fuzz_memory_all_back();
    return 0;
}
