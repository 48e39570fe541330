/* figures: what is counted while virtual time passes. */
#ifndef SIMULATE_FIGURES_H
#define SIMULATE_FIGURES_H

#include <stddef.h>
#include <tree/edit.h>

#define LOOKS 100

/* A figure that goes up and down. */
typedef struct gauge {
    double sum, worst;
    uint64_t samples;
} gauge;

/* Of a virtual store or of a real one, which are counted by the same functions. */
typedef struct figures {
    double started_ns, ended_ns;
    double writes, put_bytes, log_bytes, flushed_bytes;
    double merged_bytes[FIRN_LEVELS]; /* written into the level by merges */
    double read_bytes;
    uint64_t flushes, merges, moves, no_space;
    double delay_worst_ns, stalled_ns; /* one write; all together */
    unsigned level0_worst, frozen_worst;
    gauge debt;                /* each second */
    gauge owed, load;          /* behind each edit: debt; slow_load, in tables */
    gauge get_runs, seek_runs; /* at each look */
    double level_sum
        [FIRN_LEVELS]; /* bytes of the level, taken LOOKS times while so many writes were made */
    double tables_sum[FIRN_LEVELS]; /* likewise */
    unsigned looks;
    double *seconds; /* writes in each whole second */
    size_t seconds_count, seconds_room;
} figures;

void gauge_add(gauge *g, double value);
double gauge_mean(const gauge *g);
/* An edit was installed: a flush (nothing is dropped), a move or a merge. Behind it level 0 has so
 * many tables, and debt is as schedule_debt and schedule_unit have it. */
void figures_edit(figures *f, const edit *e, unsigned level0, uint64_t debt, uint64_t unit);
void figures_second(figures *f, double writes);
void figures_release(figures *f);
/* Of the seconds; 0: there are none. */
double figures_worst_second(const figures *f);
double figures_median_second(const figures *f);
/* On average over all looks. */
double figures_level_bytes(const figures *f, unsigned lvl);
double figures_level_tables(const figures *f, unsigned lvl);
double figures_merged(const figures *f);
/* Everything that is written but for the log, for each byte that was put. */
double figures_write_amplification(const figures *f);

#endif
