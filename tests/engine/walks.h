/* walks: iterators for tests about what they walk over, and a trap that ends one of their movements
 * in the middle. */
#ifndef TESTS_ENGINE_WALKS_H
#define TESTS_ENGINE_WALKS_H

#include <stdio.h>
#include <string.h>

#include "bed.h"

/* A store that learns a gap from so many dead keys, and of which one memtable takes all that a test
 * writes. */
static inline void begin_walks(bed *b, unsigned steps)
{
    bed_on_simfs(b, 1);
    b->config.gap_steps = steps;
    MUST(firn_options_set(&b->options, "memory", "64MiB", error));
    b->options.segment_bytes = 1 << 20;
    bed_must_open(b);
    bed_put(b, "a", "");
    bed_put(b, "z", "");
}

/* Puts keys, which `format` makes of the numbers, and deletes each of them. */
static inline void bury(bed *b, const char *format, unsigned from, unsigned to)
{
    char key[16];
    for (unsigned i = from; i < to; i++) {
        snprintf(key, sizeof key, format, i);
        bed_put(b, key, "");
        bed_delete(b, key);
    }
}

/* NULL: no bound. */
static inline firn_iter *iter_within(bed *b, const char *lower, const char *upper)
{
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.lower = lower;
    o.upper = upper;
    o.lower_size = lower ? strlen(lower) : 0;
    o.upper_size = upper ? strlen(upper) : 0;
    MUST(firn_iter_new(b->db, &o, &it, error));
    return it;
}

/* For simfs_on_call: the `at`-th read of a table fires `cancel`; 0: none does. */
typedef struct trap {
    unsigned reads, at;
    firn_cancel cancel;
} trap;

static inline int spring(void *ctx, unsigned call, uint64_t index, const char *name)
{
    trap *t = ctx;
    (void)index;
    if (call == SIMFS_READ && strstr(name, ".tbl") && ++t->reads == t->at)
        firn_cancel_fire(&t->cancel);
    return 0;
}

#endif
