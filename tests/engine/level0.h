/* level0: stores whose level 0 is filled by hand. */
#ifndef TESTS_LEVEL0_H
#define TESTS_LEVEL0_H

#include <store/store.h>

#include "bed.h"

/* From here on nothing is compacted in this life of the store, and no worker is still looking for what it might do. */
static inline void stop_compaction(bed *b)
{
    mutex_lock(&b->db->store->state_mu);
    b->db->store->compaction_rests = true;
    while (b->db->store->compacting)
        cond_wait(&b->db->store->state_changed, &b->db->store->state_mu);
    mutex_unlock(&b->db->store->state_mu);
}

/* Fills level 0 up to so many tables. */
static inline void fill_level0(bed *b, unsigned tables)
{
    for (unsigned i = (unsigned)bed_stats(b).level_tables[0]; i < tables; i++) {
        bed_put(b, i % 2 ? "a" : "b", "value");
        bed_flush(b);
    }
    assert_int_equal(bed_stats(b).level_tables[0], tables);
}

static inline uint32_t pressure(bed *b)
{
    return atomic_load_explicit(&b->db->store->pressure, memory_order_relaxed);
}

#endif
