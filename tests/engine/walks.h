/* walks: iterators for tests about what they walk over, and a trap that ends one of their movements
 * in the middle. */
#ifndef TESTS_ENGINE_WALKS_H
#define TESTS_ENGINE_WALKS_H

#include <string.h>

#include "bed.h"

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
