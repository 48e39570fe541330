/* machine: where and when it was measured: what a figure is worth nothing without. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdint.h>

typedef struct machine {
    char cpu[96];   /* the model's name */
    unsigned cores; /* that are online */
    uint64_t memory_bytes;
    char kernel[96];      /* "Linux 6.1.0" */
    char file_system[24]; /* of the folder in which stores are made */
    char date[32];        /* when it began: "2026-01-31 09:30 UTC" */
} machine;

/* The texts hold no quotes, commas, angles, ampersands or controls, and nothing but ASCII: they go into CSV, JSON and SVG
 * as they are. */
void machine_read(machine *m, const char *folder);

#endif
