/* figures: what is counted while virtual time passes. */
#ifndef SIMULATE_FIGURES_H
#define SIMULATE_FIGURES_H

#include <firn/firn.h>
#include <stddef.h>

#define LOOKS 100

typedef struct figures {
    double started_ns, ended_ns;
    double writes, put_bytes, log_bytes, flushed_bytes;
    double merged_bytes[FIRN_LEVELS]; /* written into the level by merges */
    double read_bytes;
    uint64_t flushes, merges, moves, no_space;
    double delay_worst_ns;
    double debt_sum, debt_worst;
    unsigned level0_worst, frozen_worst;
    uint64_t samples;
    double level_sum
        [FIRN_LEVELS]; /* bytes of the level, taken LOOKS times while so many writes were made */
    unsigned looks;
    double *seconds; /* writes in each whole second */
    size_t seconds_count, seconds_room;
} figures;

void figures_second(figures *f, double writes);
void figures_release(figures *f);
/* Of the seconds; 0: there are none. */
double figures_worst_second(const figures *f);
double figures_median_second(const figures *f);
/* On average over all looks. */
double figures_level_bytes(const figures *f, unsigned lvl);
double figures_merged(const figures *f);
/* Everything that is written but for the log, for each byte that was put. */
double figures_write_amplification(const figures *f);

#endif
