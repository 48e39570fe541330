/* crash: every state a crash could leave behind, for a run that simfs recorded.
 *
 * crash_run() replays the recording once, change by change, against a model of what a disk keeps.
 * Between any two changes it enumerates the states that a crash at this point may leave, builds
 * each as a fresh simfs, and hands it to the test's verifying function. The script itself runs only
 * once.
 *
 * Models
 *   CRASH_KILL     the process dies: everything written or announced survives. A write or store that was under way is
 * torn: its head or its tail alone. A power cut during the recovery from it finds no more durable than was.
 *   CRASH_ORDERED  ext4-like power cut: folder changes survive as a prefix of their order, and data (with the size that
 * exposes it) as a prefix of its order, cut at any sector. Any sync commits the folder changes before it, as a journal does.
 *   CRASH_STRICT   the worst power cut. Each unsynced 512-byte sector independently
 * is what was last synced or any version since, also one captured in the middle of a mapped store;
 * a file has any size it had since its sync; the part it grew by reads as zeros, garbage, or old
 * bytes of a removed file; each folder change since the last sync of its folder happened or not. A
 * rename is one change; a name means at most one file; a change whose file or name is not there
 * does nothing.
 *
 * Which states: all combinations when there are few, else none, all, each one dropped, each one
 * alone (on the bare disk, and with all names and sizes), every prefix and suffix in time order,
 * and seeded random ones. A state is verified once: contents and marks are hashed, and repeats are
 * skipped.
 *
 * A failure prints one line; FIRN_REPLAY='<the line>' in the environment runs that state alone.
 *
 * One thread uses one crash_run at a time; the recording must not grow while it runs.
 */
#ifndef SUPPORT_CRASH_H
#define SUPPORT_CRASH_H

#include "simfs.h"
#include <stdio.h>

typedef enum crash_model {
    CRASH_KILL = 1,
    CRASH_ORDERED = 2,
    CRASH_STRICT = 4,
    CRASH_ALL = 7,
} crash_model;

typedef struct crash_state {
    simfs *sim; /* freed after the verifying function returns */
    fs *fs;     /* the same, for the code under test */
    crash_model model;
    uint64_t point;              /* changes before the crash */
    unsigned depth;              /* 1: a crash of the recovery from a crash */
    uint64_t marks[SIMFS_MARKS]; /* simfs_mark: the last values; 0 when never set */
    bool marked[SIMFS_MARKS];
    char reason[512]; /* filled in by crash_wrong */
    const struct crash_walk *walk;
} crash_state;

/* Opens the store on state->fs, compares it with what the marks promise, closes it. Returns 0, or
 * not (usually through crash_wrong). It must not leave by a failing cmocka assertion: the line that
 * repeats the failure would not be printed. Everything it opens it closes, which is checked. */
typedef int (*crash_verify)(void *ctx, crash_state *state);

/* Notes why a state is wrong; returns 1. */
int crash_wrong(crash_state *state, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The line that repeats the state. */
void crash_describe(const crash_state *state, char *line, size_t size);

typedef struct crash_options {
    const char *name; /* of the script, without spaces; begins the replay line */
    crash_verify verify;
    void *ctx;
    unsigned models;       /* 0: CRASH_ALL */
    uint64_t seed;         /* of the random states */
    unsigned combinations; /* up to so many, all of them are tried; 0: 64 */
    unsigned random;       /* random states a point; 0: 16 */
    unsigned singles;      /* at most so many of each family a point (sampled); 0: 256 */
    uint64_t point_stride; /* every so many changes a crash point; 0: each */
    uint64_t nest_every;   /* every so many states, crash the recovery too; 0: never */
    uint64_t max_states;   /* stop after so many; 0: no limit */
    unsigned max_wrong;    /* stop after so many violations; 0: 1 */
    bool quiet;            /* print nothing */
    const char *replay;    /* a line: this state only, when the name is ours */
} crash_options;

typedef struct crash_stats {
    uint64_t points;
    uint64_t considered; /* states enumerated */
    uint64_t states;     /* built and verified: different in contents or marks */
    uint64_t distinct;   /* different in contents */
    uint64_t nested;     /* of `states`: crashes of a recovery */
    uint64_t wrong;
    char first_wrong[1024]; /* the line and the reason */
} crash_stats;

/* Options with what the environment says: FIRN_SEED (default: `seed`), FIRN_REPLAY, and FIRN_LONG,
 * which asks for eight times the random states and a nested crash every 50 states (else every 500).
 */
crash_options crash_options_default(const char *name, uint64_t seed, crash_verify verify,
                                    void *ctx);

/* Is FIRN_LONG set and not 0? */
bool crash_long(void);

/* Returns the number of violations; *stats is added to, so that several runs can share one. */
uint64_t crash_run(simfs *recorded, const crash_options *options, crash_stats *stats);

/* One random state of a crash that happens right now, for scripts that crash and go on: the caller
 * owns the file system. Writes the replay line when `line` is not NULL. */
simfs *crash_now(simfs *recorded, crash_model model, uint64_t seed, char *line, size_t size);

/* "N points, N states (N distinct), N nested, N wrong" */
void crash_print(const char *name, const crash_stats *stats, FILE *out);

#endif
