/* Background work: when writers feel it, what becomes of it when it fails, and what it takes off the readers' hands. What is
 * asked is counted in steps, calls and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include "store.h"

/* From here on nothing is compacted in this life of the store. */
static void stop_compaction(bed *b)
{
    mutex_lock(&b->db->state_mu);
    b->db->compaction_failed = true;
    mutex_unlock(&b->db->state_mu);
}

/* Tables of level 0, one for each flush. */
static void fill_level0(bed *b, unsigned tables)
{
    for (unsigned i = 0; i < tables; i++) {
        bed_put(b, i % 2 ? "a" : "b", "value");
        bed_flush(b);
    }
    assert_int_equal(bed_stats(b).level_tables[0], tables);
}

/* ---- What an earlier life left undone ---- */

static uint32_t pressure(bed *b)
{
    return atomic_load_explicit(&b->db->pressure, memory_order_relaxed);
}

static void the_first_writer_behind_an_opening_is_held_back(void **state)
{
    (void)state;
    const unsigned left[] = {0, L0_SLOW_AT + 2, L0_STOP_AT};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        bed b;
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        stop_compaction(&b);
        fill_level0(&b, left[i]);
        uint32_t before = pressure(&b);
        bed_must_close(&b);
        bed_must_open(&b);
        assert_int_equal(pressure(&b), before);
        assert_int_equal(pressure(&b) & ~PRESSURE_STOP, left[i]);
        assert_true(!(pressure(&b) & PRESSURE_STOP) == (left[i] < L0_STOP_AT));
        bed_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_writer_behind_an_opening_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
