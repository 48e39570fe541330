/* bench: a log built byte by byte (build_log.h) on a simulated disk, and what opening and reading it gives. */
#ifndef WAL_TESTS_BENCH_H
#define WAL_TESTS_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_log.h"
#include "log.h"

typedef struct bench {
    log_builder log;
    simfs *sim;
    fs_dir *dir;
    wal *w;
    firn_wal_report report;
    firn_error error;
    log_read read;
    uint64_t appended; /* operations that the builder knows nothing of */
} bench;

/* For cmocka; *state is the bench. Nothing may be left open in the end. */
int bench_setup(void **state);
int bench_teardown(void **state);

/* Closes the log if it is open. */
void bench_shut(bench *b);
/* Closes, opens, and reads everything; no operation may be other than it was built. */
int bench_open_with(bench *b, const wal_config *config);
int bench_open(bench *b, firn_recovery policy);
/* One operation, durable; returns its number. */
uint64_t bench_append(bench *b);
/* Writes the files of the log; the folder is there also when there are none. */
void bench_write(bench *b);
bool bench_in_lost(bench *b, const char *name);

#endif
