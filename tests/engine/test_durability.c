/* What is durable when: what a write gets that names no durability, and what a reader waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

static uint64_t unsynced(const bed *b)
{
    return firn_last_seq(b->db) - firn_durable_seq(b->db);
}

static void a_write_that_names_no_durability_gets_the_stores(void **state)
{
    (void)state;
    for (int d = FIRN_DURABILITY_SYNC; d <= FIRN_DURABILITY_NONE; d++) {
        bed b;
        firn_batch *batch = NULL;
        bed_on_simfs(&b, 1);
        b.options.durability = (firn_durability)d;
        b.options.batch_writes = 4;
        bed_must_open(&b);
        MUST(firn_batch_new(&batch));
        MUST(firn_batch_put(batch, "b", 1, "2", 1));
        for (unsigned i = 1; i <= 20; i++) {
            if (i % 2)
                bed_put(&b, "a", "1");
            else
                MUST(firn_write(b.db, batch, NULL, NULL, error));
            if (d == FIRN_DURABILITY_SYNC)
                assert_int_equal(unsynced(&b), 0);
            else if (d == FIRN_DURABILITY_BATCH)
                assert_in_range(unsynced(&b), 0, 3);
            else
                assert_int_equal(unsynced(&b), i);
        }
        firn_batch_free(batch);
        bed_release(&b);
    }
}

static void a_store_that_is_only_read_does_not_wait_for_syncs(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    for (unsigned i = 0; i < 5; i++)
        bed_put(&b, "a", "1");
    firn *beside = NULL;
    firn_options o = b.options;
    o.read_only = true;
    MUST(engine_open(b.folder, &o, &b.config, &beside, error));
    uint64_t last = firn_last_seq(beside), durable = firn_durable_seq(beside);
    firn_error err = {0};
    uint64_t syncs = simfs_calls(b.sim, SIMFS_SYNC);
    int rc = firn_wait_durable(beside, last, 0, &err);
    assert_int_equal(rc, durable >= last ? FIRN_OK : FIRN_READ_ONLY);
    assert_int_equal(firn_wait_durable(beside, last + 1, 0, &err), FIRN_INVALID);
    MUST(firn_sync(beside, error));
    assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), syncs);
    MUST(firn_close(beside, error));
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_names_no_durability_gets_the_stores),
        cmocka_unit_test(a_store_that_is_only_read_does_not_wait_for_syncs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
