/* content: what virtual tables hold, and what becomes of it when they are merged.
 *
 * A table's entries of a class are taken to be spread evenly over its range, and independent of other tables': where an upper
 * table has n of the M keys that there are, each entry below it is hidden with the probability n / M. */
#ifndef SIMULATE_CONTENT_H
#define SIMULATE_CONTENT_H

#include <stddef.h>

#include "keys.h"
#include "sizes.h"

/* What is known of a virtual table beside its properties. */
typedef struct content {
    uint64_t low, high; /* first and last place */
    uint64_t seq_min, seq_max;
    double *of; /* [classes][KINDS] */
} content;

typedef struct merging {
    const keys *keys;
    const sizes *sizes;
    const content *const *inputs; /* newest first */
    size_t count;
    bool packed;
    uint64_t table_bytes;
    /* May older entries lie below the range? */
    bool (*lies_below)(void *ctx, uint64_t low, uint64_t high);
    /* The last place that a table may have that begins here. */
    uint64_t (*reach)(void *ctx, uint64_t low);
    /* A table is complete. */
    void (*give)(void *ctx, uint64_t low, uint64_t high, const counts *c);
    void *ctx;
} merging;

/* Merges the inputs, and gives the tables that come of it in the order of their keys. */
void content_merge(const merging *m);
/* What entries of this range take in a table. */
double content_bytes(const merging *m, uint64_t low, uint64_t high, const counts *c);

#endif
