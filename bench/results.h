/* results: the rows of all rounds, and what they come to. */
#ifndef BENCH_RESULTS_H
#define BENCH_RESULTS_H

#include "bench.h"

#define RESULTS_MAX 128

typedef struct result {
    char name[40];
    bench_class durability;
    uint32_t store, position;
    bench_row *rows[ENGINES_MAX][ROUNDS_MAX];
    unsigned count[ENGINES_MAX];
} result;

typedef double (*row_figure)(const bench_row *row);

void results_add(size_t engine, const bench_row *row);
size_t results_count(void);
const result *results_at(size_t index);

/* The median over the rounds; 0 when there is none. */
double result_median(const result *r, size_t engine, row_figure figure);
/* (largest - smallest) / median. */
double result_spread(const result *r, size_t engine, row_figure figure);
double result_least(const result *r, size_t engine, row_figure figure);
double result_most(const result *r, size_t engine, row_figure figure);

double row_rate(const bench_row *row); /* operations a second */
double row_mib(const bench_row *row);  /* user data written, MiB a second */
double row_p50(const bench_row *row);  /* microseconds */
double row_p99(const bench_row *row);
double row_p999(const bench_row *row);
double row_max(const bench_row *row);
double row_cpu(const bench_row *row);  /* microseconds an operation, background work included */
double row_peak(const bench_row *row); /* MiB */
double row_write_amp(const bench_row *row); /* bytes to storage / bytes of the user */
double row_space_amp(const bench_row *row); /* bytes on disk / bytes of live keys and values */

/* Where firn stands: its engine index, the best peer on this workload (no reference), and the
 * ratio of the medians; false when either is missing. */
typedef enum verdict { WITHIN_NOISE, FASTER, SLOWER, ONE_ROUND } verdict;
typedef struct standing {
    size_t own, peer;
    double ratio;
    double noise;    /* half the spread of both added: 0.1 is 10 % */
    verdict verdict; /* ONE_ROUND: nothing is known about noise */
} standing;
bool result_standing(const result *r, standing *out);

/* report.c; export.c; plot.c */
void report_print(const settings *s);
void export_csv(const settings *s, const char *path);
void export_json(const settings *s, const char *path);
void plot_write(const settings *s, const char *folder);
/* 1234567 as "1.23 M"; returns `text`. */
const char *human(double value, char *text, size_t size);

#endif
