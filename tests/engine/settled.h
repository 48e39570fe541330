/* settled: keys by number, and what the tables hold when background work is done. */
#ifndef TESTS_SETTLED_H
#define TESTS_SETTLED_H

#include "bed.h"

static inline void compact(bed *b)
{
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
}

static inline void settle(bed *b)
{
    MUST(firn_settle(b->db, error));
}

static inline uint64_t entries(bed *b)
{
    firn_stats s = bed_stats(b);
    uint64_t sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += s.level_entries[n];
    return sum;
}

static inline uint64_t bytes(bed *b)
{
    firn_stats s = bed_stats(b);
    uint64_t sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += s.level_bytes[n];
    return sum;
}

static inline void key_of(unsigned i, char key[32])
{
    snprintf(key, 32, "key%06u", i);
}

static inline void put(bed *b, unsigned i, const char *value)
{
    char key[32];
    key_of(i, key);
    bed_put(b, key, value);
}

static inline void drop(bed *b, unsigned i)
{
    char key[32];
    key_of(i, key);
    bed_delete(b, key);
}

static inline void open_in_memory(bed *b)
{
    bed_on_simfs(b, 1);
    bed_must_open(b);
}

/* Behind it, the put and the tombstone of each key are there for the snapshot alone. */
static inline firn_snapshot *delete_under_a_snapshot(bed *b, unsigned count)
{
    firn_snapshot *s = NULL;
    for (unsigned i = 0; i < count; i++)
        put(b, i, "value");
    MUST(firn_snapshot_new(b->db, &s, error));
    for (unsigned i = 0; i < count; i++)
        drop(b, i);
    compact(b);
    assert_int_equal(entries(b), 2 * count);
    bed_expect(b, s, "key000000", "value");
    return s;
}

#endif
