/* bench: what the files of the harness share.
 *
 * The parent (rounds.c) runs each engine in a child process; the child runs workloads on one store
 * (run.c: the measuring; workloads.c, lives.c and ycsb.c: the work) and sends a row for each through
 * a pipe; the parent keeps them (results.c) and prints (report.c, export.c, plot.c). */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdatomic.h>
#include <stdio.h>

#include "adapter.h"
#include "data.h"
#include "histogram.h"
#include "machine.h"
#include "measure.h"

#define ROUNDS_MAX  32
#define THREADS_MAX 64
#define SAMPLES_MAX 600

typedef enum distribution { UNIFORM, ZIPFIAN, LATEST } distribution;

typedef struct settings {
    uint64_t records, reads;
    double seconds; /* 0: workloads end by count */
    data data;
    unsigned rounds, threads;
    unsigned whole_rounds; /* once it has run: fewer than `rounds` when it was interrupted */
    distribution distribution;
    uint64_t recover_bytes;
    uint64_t limit_bytes; /* of memory and page cache, for each store; 0: none */
    const char *folder, *workloads, *engines;
    const char *csv, *json, *plot;
    bool details;
    unsigned store;  /* which of the list's */
    bool only_syncs; /* it runs nothing but fillsync */
    bench_config config;
    machine machine;
} settings;

/* What a workload measured; sent through a pipe as it lies in memory. */
typedef struct bench_row {
    char name[40];
    bench_class durability;
    uint32_t store, position; /* in the list of workloads: with the name, what is compared */
    uint32_t threads, value_bytes, key_bytes;
    uint64_t ops, user_bytes, records; /* user_bytes: keys and values written */
    double seconds, cpu_s;
    double p50_us, p99_us, p999_us, max_us; /* of single operations; 0 where there are none */
    uint64_t peak_bytes, written_bytes, disk_bytes, live_bytes;
    uint32_t samples;
    double sample_s;
    float series[SAMPLES_MAX]; /* operations a second, one for each sample_s */
} bench_row;

struct run;

typedef struct worker {
    struct run *run;
    void *session;
    unsigned index;
    uint64_t random;     /* state of its generator */
    uint64_t begin, end; /* its share of the operations */
    uint64_t last_ns, deadline_ns;
    uint64_t count, bytes;
    _Atomic uint64_t done;      /* count, for the sampler */
    _Atomic uint64_t in_flight; /* record being inserted, or UINT64_MAX (ycsb.c) */
    histogram latency;
    char key[KEY_MAX + 1], value[VALUE_MAX], got[VALUE_MAX], scratch[VALUE_MAX];
} worker;

/* The child's state: one store and what is in it. */
typedef struct run {
    const settings *s;
    const bench_engine *e;
    void *db; /* NULL until a workload needs it */
    char path[512];
    FILE *out;
    data data;
    uint64_t records;              /* that are there: 0 to records - 1 */
    uint64_t hole_begin, hole_end; /* but for these, which a workload deleted */
    uint64_t stamp_min, stamp_max; /* of the values that are there */
    char last_key[KEY_MAX + 1];
    uint64_t key_sum;
    bool compacted;
    unsigned threads;
    const char *workload;
    unsigned position;
    worker *workers;
    unsigned worker_count;
    bench_row last_write; /* for "until settled" */
    const struct ycsb *ycsb;
    _Atomic uint64_t next_record;
    _Atomic unsigned readers_left;
} run;

typedef void (*worker_body)(worker *w);

/* Counts `n` operations that took the time since the last call; false when time is up. */
static inline bool worker_tick(worker *w, uint64_t n)
{
    uint64_t now = now_ns();
    histogram_add(&w->latency, now - w->last_ns);
    w->last_ns = now;
    w->count += n;
    atomic_store_explicit(&w->done, w->count, memory_order_relaxed);
    return now < w->deadline_ns;
}

/* run.c */
void run_engine(const settings *s, const bench_engine *e, const char *path, FILE *out);
/* Runs `body` on `threads` threads that share `total` operations, and measures it. `extra`, if not
 * NULL, runs on one thread more, whose operations become a row of their own under `extra_name`. */
typedef struct bench_work {
    const char *name;
    worker_body body, extra;
    const char *extra_name;
    uint64_t total;
    double seconds; /* limit; 0: none */
    unsigned threads;
} bench_work;
void run_work(run *r, const bench_work *w, bench_row *main_row, bench_row *extra_row);
void run_emit(run *r, bench_row *row);
void run_fail(const run *r, const char *why) __attribute__((noreturn));

/* workloads.c; lives.c; ycsb.c: each knows some names and returns false for the others. */
bool workload_basic(run *r, const char *name);
bool workload_life(run *r, const char *name);
/* The one that forks, and so wants a process in which no engine has threads: r->db is still NULL. */
bool workload_recover(run *r, const char *name);
bool workload_ycsb(run *r, const char *name);
bool workload_writes(const char *name);
/* Learns what scans are checked against: the greatest key, the only one where a scan may end early,
 * and the sum of all keys. */
void run_survey(run *r);
void worker_put(worker *w, uint64_t index, uint64_t stamp);
void worker_read(worker *w, uint64_t index);
/* One scan of everything, which must show each record once and in order. */
void worker_scan_all(worker *w, bool backwards);

/* rounds.c */
typedef enum outcome { COMPLETE, INTERRUPTED, FAILED } outcome;
/* Measures, round by round. Whatever it comes to, the rows that were measured are there. *rounds: how many rounds are
 * whole. */
outcome rounds_run(const settings *s, unsigned *rounds);
bool bench_chosen(const char *list, const char *name);

/* bench.c */
#define ENGINES_MAX 16
extern const bench_engine *const bench_engines[];
extern const size_t bench_engine_count;
extern const char *const bench_left_out; /* which engines were not built in, in words */

/* options.c */
void options_parse(int argc, char **argv, settings *s);
/* Sets one option by name; false when there is no such option. Ends the program for a wrong value.
 */
bool options_set(settings *s, const char *name, const char *value);
const char *class_name(bench_class c);

#endif
