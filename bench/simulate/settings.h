/* settings: what is simulated: how much is written, in which order, on which machine. */
#ifndef SIMULATE_SETTINGS_H
#define SIMULATE_SETTINGS_H

#include <firn/firn.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum pattern { PATTERN_RANDOM, PATTERN_ASCENDING, PATTERN_ZIPF, PATTERN_DELETE } pattern;

#define SIMULATED_WORKERS_MAX 16

/* What the machine does in which time. */
typedef struct machine {
    double cores;
    double disk_ns;   /* a byte, read or written */
    double put_ns;    /* a write, until it returns */
    double entry_ns;  /* an entry that a flush or a merge reads */
    double plain_ns;  /* a byte that is written as it is */
    double packed_ns; /* a byte, unpacked, that is written compressed */
} machine;

typedef struct settings {
    uint64_t records;    /* keys that there are */
    uint64_t tree_bytes; /* of the tree that stands at the beginning; 0: it begins empty */
    uint64_t writes;     /* measured ones; 0: by time */
    double hours;        /* 0: by count */
    double rate;         /* bytes of keys and values a second; 0: as fast as it goes */
    unsigned key_bytes, value_bytes, compressible;
    unsigned writers, workers;
    pattern pattern;
    uint64_t seed;
    bool json, compare, threads;
    const char *folder; /* for the real run */
    double ratio, base_bytes, level0_at, level0_most,
        job_bytes; /* of the policy; 0: the engine's own */
    firn_options options;
    machine machine;
} settings;

/* Fills *s in from the command line. Ends the program with 2 where that is wrong, with 0 behind --help. */
void settings_parse(int argc, char **argv, settings *s);
/* The defaults. */
void settings_init(settings *s);
const char *pattern_name(pattern p);
/* Says what went wrong and ends the program with 1. */
void stop(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
