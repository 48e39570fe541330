/* The log goes on in its next segment, and a step on the way fails: what was written stays, and writing goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <errno.h>

#include "bed.h"

static int put_bytes(bed *b, unsigned key, size_t size, firn_error *err)
{
    char name[16];
    static uint8_t value[16 << 10];
    snprintf(name, sizeof name, "k%06u", key);
    memset(value, (int)(key % 251), sizeof value);
    return firn_put(b->db, name, strlen(name), value, size, NULL, err);
}

static void expect_bytes(bed *b, unsigned key, size_t size)
{
    char name[16];
    firn_value v = {0};
    snprintf(name, sizeof name, "k%06u", key);
    MUST(firn_get(b->db, name, strlen(name), NULL, &v, error));
    assert_int_equal(v.size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(v.data[i], key % 251);
    firn_value_release(&v);
}

/* The write that needed a new segment fails; smaller ones would still fit into the old one. */
static bool rotate_with_a_failing_call(uint64_t at, uint64_t allocation, unsigned durability)
{
    bed b;
    bed_on_simfs(&b, 7);
    b.options.durability = (firn_durability)durability;
    bed_must_open(&b);
    for (unsigned i = 1; i <= 12; i++)
        MUST(put_bytes(&b, i, 500, error));
    if (at)
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = ENOSPC});
    if (allocation)
        alloc_fail_at(allocation);
    firn_error err = {0};
    int big = put_bytes(&b, 13, 3000, &err);
    alloc_fail_at(0);
    simfs_heal(b.sim);
    if (big != FIRN_OK && big != FIRN_NO_SPACE && big != FIRN_NO_MEMORY)
        assert_int_equal(big, FIRN_IO);
    /* A sync that failed, of the log or of the manifest, ends writing; the rest must not. */
    bool over = big == FIRN_IO || bed_stats(&b).poisoned;
    if (!over) {
        for (unsigned i = 14; i <= 30; i++)
            MUST(put_bytes(&b, i, 20, error));
        MUST(put_bytes(&b, 31, 3000, error));
    }
    for (int life = 0; life < 2; life++) {
        for (unsigned i = 1; i <= 12; i++)
            expect_bytes(&b, i, 500);
        if (!over) {
            for (unsigned i = 14; i <= 30; i++)
                expect_bytes(&b, i, 20);
            expect_bytes(&b, 31, 3000);
        }
        firn_close(b.db, NULL);
        bed_must_open(&b);
    }
    bed_release(&b);
    return big != FIRN_OK && !over;
}

static void writes_go_on_behind_a_rotation_that_failed(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (unsigned d = FIRN_DURABILITY_SYNC; d <= FIRN_DURABILITY_NONE; d++)
        for (uint64_t at = 1; at <= 12; at++) {
            failed += rotate_with_a_failing_call(at, 0, d);
            failed += rotate_with_a_failing_call(0, at, d);
        }
    assert_true(failed > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_go_on_behind_a_rotation_that_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
