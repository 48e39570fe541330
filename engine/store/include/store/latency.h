/* latency: how long calls and background work have taken, counted in bins (base/bins.h): 16 for
 * each power of two of nanoseconds, so that a percentile is at most a sixteenth too large.
 *
 * In stripes, by threads: a note is two relaxed additions, and threads of different stripes touch
 * no line in common. What is looked at is their sum: exact once the calls are over. */
#ifndef ENGINE_LATENCY_H
#define ENGINE_LATENCY_H

#include <base/bins.h>
#include <firn/firn.h>
#include <stdatomic.h>

#define LATENCY_SPLIT   4U
#define LATENCY_BINS    BINS_BELOW(42U, LATENCY_SPLIT) /* 73 minutes; the last has what is longer */
#define LATENCY_KINDS   (FIRN_LATENCY_COMPACTION + 1)
#define LATENCY_STRIPES 8

typedef struct latency_stripe {
    struct {
        _Atomic uint64_t sum_ns, max_ns;
        _Atomic uint64_t bins[LATENCY_BINS];
    } of[LATENCY_KINDS];
    _Alignas(64) uint8_t apart[64];
} latency_stripe;

typedef struct latencies {
    latency_stripe stripes[LATENCY_STRIPES];
} latencies;

latencies *latencies_new(void); /* NULL: no memory */
void latencies_free(latencies *l);
/* Any thread. */
void latency_note(latencies *l, firn_latency_kind which, uint64_t ns);

typedef struct latency_sum {
    uint64_t count, sum_ns, max_ns;
    uint64_t bins[LATENCY_BINS];
} latency_sum;
void latency_look(const latencies *l, firn_latency_kind which, latency_sum *out);
/* What `mille` of a thousand did not exceed; 0 when there are none. */
uint64_t latency_quantile(const latency_sum *s, unsigned mille);
void latency_tell(const latency_sum *s, firn_latency *out);

#endif
