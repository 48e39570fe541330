/* measure: what a process can learn about itself: time, processor time, memory, bytes written, the
 * size of a folder. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* The number behind "name:" in a file of /proc, or 0. */
uint64_t proc_number(const char *file, const char *name);

typedef struct usage {
    double cpu_s;           /* user and system, all threads */
    uint64_t written_bytes; /* caused to be written to storage, as the kernel counts it */
} usage;

usage measure_usage(void);
uint64_t measure_folder(const char *path); /* bytes its files take on disk */
void measure_peak_reset(void);
uint64_t measure_peak(void); /* largest resident size since the reset, mapped files included */

#endif
