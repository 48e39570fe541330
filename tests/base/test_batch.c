/* Batches: encoded once, all or nothing. */
#include "batch.h"
#include "check.h"

#include <base/alloc.h>
#include <base/entry.h>
#include <base/slice.h>
#include <support/rng.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define SEED 20240105

static firn_batch *new_batch(void)
{
    firn_batch *batch = NULL;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    return batch;
}

static void check_batch(const firn_batch *batch)
{
    assert_int_equal(entries_check(batch_payload(batch), firn_batch_count(batch)), FIRN_OK);
    assert_int_equal(batch_payload(batch).size, firn_batch_bytes(batch));
}

static void ANewBatchIsEmpty(void **state)
{
    (void)state;
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_count(batch), 0);
    assert_int_equal(firn_batch_bytes(batch), 0);
    check_batch(batch);
    firn_batch_free(batch);
    firn_batch_free(NULL);
}

static void OperationsComeBackInTheirOrder(void **state)
{
    (void)state;
    firn_batch *batch = new_batch();
    rng r = rng_init(SEED);
    uint8_t keys[300][20], values[300][50];
    size_t key_sizes[300], value_sizes[300];
    for (size_t i = 0; i < 300; i++) {
        key_sizes[i] = rng_below(&r, 21);
        value_sizes[i] = i % 3 == 0 ? 0 : rng_below(&r, 51);
        rng_fill(&r, keys[i], sizeof keys[i]);
        rng_fill(&r, values[i], sizeof values[i]);
        int rc = i % 3 == 0
                     ? firn_batch_delete(batch, keys[i], key_sizes[i])
                     : firn_batch_put(batch, keys[i], key_sizes[i], values[i], value_sizes[i]);
        assert_int_equal(rc, FIRN_OK);
        check_batch(batch);
    }
    assert_int_equal(firn_batch_count(batch), 300);
    firn_slice payload = batch_payload(batch);
    for (size_t i = 0; i < 300; i++) {
        entry e;
        size_t used;
        assert_int_equal(entry_decode(payload.data, payload.size, &e, &used), FIRN_OK);
        assert_int_equal(e.kind, i % 3 == 0 ? FIRN_DELETE : FIRN_PUT);
        assert_true(slice_equal(e.key, slice_of(keys[i], key_sizes[i])));
        assert_true(slice_equal(e.value, slice_of(values[i], value_sizes[i])));
        payload.data += used;
        payload.size -= used;
    }
    assert_int_equal(payload.size, 0);
    firn_batch_free(batch);
}

static void EmptyKeysEmptyValuesAndZeroBytesAreOrdinary(void **state)
{
    (void)state;
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_put(batch, NULL, 0, NULL, 0), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "", 0, "v", 1), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "\0\0", 2, "\0", 1), FIRN_OK);
    assert_int_equal(firn_batch_delete(batch, NULL, 0), FIRN_OK);
    assert_int_equal(firn_batch_count(batch), 4);
    assert_int_equal(firn_batch_bytes(batch), 4 * ENTRY_HEADER_BYTES + 1 + 3);
    check_batch(batch);
    firn_batch_free(batch);
}

static void AClearedBatchCanBeUsedAgain(void **state)
{
    (void)state;
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_put(batch, "a", 1, "1", 1), FIRN_OK);
    firn_batch_clear(batch);
    assert_int_equal(firn_batch_count(batch), 0);
    assert_int_equal(firn_batch_bytes(batch), 0);
    assert_int_equal(firn_batch_put(batch, "b", 1, "2", 1), FIRN_OK);
    assert_int_equal(firn_batch_count(batch), 1);
    assert_true(slice_equal(entry_key(batch_payload(batch).data), slice_of_str("b")));
    firn_batch_free(batch);
}

static void AFailedCallLeavesTheBatchAsItWas(void **state)
{
    (void)state;
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_put(batch, "a", 1, "1", 1), FIRN_OK);
    uint8_t before[16];
    size_t size = firn_batch_bytes(batch);
    assert_true(size <= sizeof before);
    memcpy(before, batch_payload(batch).data, size);

    static uint8_t bytes[FIRN_MAX_KEY_BYTES + 1];
    assert_int_equal(firn_batch_put(batch, NULL, 1, "v", 1), FIRN_INVALID);
    assert_int_equal(firn_batch_put(batch, "k", 1, NULL, 1), FIRN_INVALID);
    assert_int_equal(firn_batch_delete(batch, NULL, 1), FIRN_INVALID);
    assert_int_equal(firn_batch_put(batch, bytes, sizeof bytes, "v", 1), FIRN_TOO_LARGE);
    assert_int_equal(firn_batch_delete(batch, bytes, sizeof bytes), FIRN_TOO_LARGE);
    assert_int_equal(firn_batch_put(batch, "k", 1, bytes, FIRN_MAX_VALUE_BYTES + (size_t)1),
                     FIRN_TOO_LARGE);
    alloc_fail_at(1);
    int rc = firn_batch_put(batch, "k", 1, bytes, sizeof bytes);
    alloc_fail_at(0);
    assert_int_equal(rc, FIRN_NO_MEMORY);

    assert_int_equal(firn_batch_count(batch), 1);
    assert_int_equal(firn_batch_bytes(batch), size);
    assert_memory_equal(batch_payload(batch).data, before, size);
    assert_int_equal(firn_batch_put(batch, "k", 1, bytes, sizeof bytes), FIRN_OK);
    check_batch(batch);
    firn_batch_free(batch);
}

static void ANewBatchWithoutMemoryIsAStatus(void **state)
{
    (void)state;
    firn_batch *batch = NULL;
    alloc_fail_at(1);
    int rc = firn_batch_new(&batch);
    alloc_fail_at(0);
    assert_int_equal(rc, FIRN_NO_MEMORY);
    assert_null(batch);
}

static void TheLongestKeyFitsAndOneByteMoreDoesNot(void **state)
{
    (void)state;
    static uint8_t bytes[FIRN_MAX_KEY_BYTES + 1];
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_put(batch, bytes, FIRN_MAX_KEY_BYTES - 1, "v", 1), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, bytes, FIRN_MAX_KEY_BYTES, "v", 1), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, bytes, FIRN_MAX_KEY_BYTES + (size_t)1, "v", 1),
                     FIRN_TOO_LARGE);
    assert_int_equal(firn_batch_count(batch), 2);
    check_batch(batch);
    firn_batch_free(batch);
}

static void ABatchIsFullAtItsLimitAndNotBefore(void **state)
{
    (void)state;
    const size_t one = entry_size(3, 4);
    assert_true(batch_has_room(FIRN_MAX_BATCH_BYTES - one - 1, 3, 4));
    assert_true(batch_has_room(FIRN_MAX_BATCH_BYTES - one, 3, 4));
    assert_false(batch_has_room(FIRN_MAX_BATCH_BYTES - one + 1, 3, 4));
    assert_false(batch_has_room(FIRN_MAX_BATCH_BYTES, 0, 0));
    assert_true(batch_has_room(0, FIRN_MAX_KEY_BYTES, FIRN_MAX_VALUE_BYTES));

    /* The same through the call, with the size set as if a gigabyte had been put. */
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_put(batch, "key", 3, "1234", 4), FIRN_OK);
    batch->payload.size = FIRN_MAX_BATCH_BYTES - one + 1;
    assert_int_equal(firn_batch_put(batch, "key", 3, "1234", 4), FIRN_TOO_LARGE);
    assert_int_equal(firn_batch_delete(batch, "12345678", 8), FIRN_TOO_LARGE);
    assert_int_equal(firn_batch_bytes(batch), FIRN_MAX_BATCH_BYTES - one + 1);
    batch->payload.size = one;
    check_batch(batch);
    firn_batch_free(batch);
}

/* The README's dump: lines between "```hexdump" and "```", of an offset, up to 16 bytes, and after
 * '|' what they mean. */
static size_t read_hexdump(const char *path, uint8_t *out, size_t room)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[256];
    bool inside = false;
    size_t size = 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "```", 3) == 0) {
            inside = strncmp(line, "```hexdump", 10) == 0;
            continue;
        }
        if (!inside)
            continue;
        char *at;
        assert_int_equal(strtoul(line, &at, 16), size);
        for (;;) {
            while (*at == ' ')
                at++;
            if (!isxdigit((unsigned char)*at))
                break;
            assert_true(size < room);
            out[size++] = (uint8_t)strtoul(at, &at, 16);
        }
    }
    fclose(file);
    return size;
}

static void TheHexdumpInTheReadmeIsWhatABatchEncodes(void **state)
{
    (void)state;
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_put(batch, "snow", 4, "falls loose", 11), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "", 0, "", 0), FIRN_OK);
    assert_int_equal(firn_batch_delete(batch, "rain", 4), FIRN_OK);
    uint8_t shown[256];
    size_t size = read_hexdump(FIRN_SOURCE_DIR "/base/README.md", shown, sizeof(shown));
    assert_int_equal(size, firn_batch_bytes(batch));
    assert_memory_equal(shown, batch_payload(batch).data, size);
    firn_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ANewBatchIsEmpty),
        cmocka_unit_test(OperationsComeBackInTheirOrder),
        cmocka_unit_test(EmptyKeysEmptyValuesAndZeroBytesAreOrdinary),
        cmocka_unit_test(AClearedBatchCanBeUsedAgain),
        cmocka_unit_test(AFailedCallLeavesTheBatchAsItWas),
        cmocka_unit_test(ANewBatchWithoutMemoryIsAStatus),
        cmocka_unit_test(TheLongestKeyFitsAndOneByteMoreDoesNot),
        cmocka_unit_test(ABatchIsFullAtItsLimitAndNotBefore),
        cmocka_unit_test(TheHexdumpInTheReadmeIsWhatABatchEncodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
