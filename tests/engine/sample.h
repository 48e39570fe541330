/* sample: a small store with something of everything in it, for tests that damage it: two levels of tables, and a log of
 * several segments with batches that are in no table. */
#ifndef TESTS_ENGINE_SAMPLE_H
#define TESTS_ENGINE_SAMPLE_H

#include <string.h>

#include "history.h"

#define FOLDER      "/store"
#define FILES       64
#define HEADER_ROOM 64 /* a frame's header is no larger */

typedef struct sample {
    bed bed;
    history history;
    simfs *older;   /* the same store, a while before */
    simfs *intact;  /* the files to damage copies of */
    size_t durable; /* batches that must be there or be missed */
    char files[FILES][96];
    uint64_t sizes[FILES];
    size_t file_count;
    char last_log[96];    /* where the last batch lies ... */
    uint64_t last_header; /* ... and the header of its frame */
} sample;

/* `closed`: in order, and with packed tables. `seed`: of the history. */
void sample_init(sample *s, bool closed, uint64_t seed);
void sample_release(sample *s);
/* For cmocka; *state is the sample. */
int sample_setup_closed(void **state);
int sample_setup_unclean(void **state);
int sample_setup_other(void **state); /* closed, and with another history */
int sample_teardown(void **state);
/* For simfs_each: adds the file to those of the sample. */
int sample_note_file(void *ctx, const char *path, uint64_t size);

static inline bool sample_is_log(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".wal") == 0;
}

#endif
