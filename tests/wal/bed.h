/* bed: what the tests of the log's writing half share: a log on the file system in memory (or the
 * real one), and a model that remembers what every number should read back as.
 *
 * The functions fail the running test when what they do fails. None may be used outside the test's
 * own thread except model_add, which locks.
 */
#ifndef WAL_TESTS_BED_H
#define WAL_TESTS_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <support/rng.h>
#include <support/simfs.h>

#include "log.h"

/* A status, compared; a surprise prints the error. */
void check_status(int rc, int wanted, const firn_error *error, const char *where);
#define STRING_OF(x) #x
#define LINE_OF(x)   STRING_OF(x)
#define EXPECT(wanted, call)                                                                       \
    do {                                                                                           \
        firn_error error_ = {0};                                                                   \
        firn_error *err = &error_;                                                                 \
        int status_ = (call);                                                                      \
        check_status(status_, wanted, err, __FILE__ ":" LINE_OF(__LINE__) ": " #call);             \
    } while (0)
#define OK(call) EXPECT(FIRN_OK, call)

/* Small segments, no thread, mapped, SYNC. */
wal_config bed_config(void);

typedef struct bed {
    simfs *sim;
    wal_config config;
    wal *log; /* NULL while closed */
} bed;

/* With the config of bed_config, opened. */
bed bed_new(void);
bed bed_new_with(const wal_config *config);
void bed_release(bed *b); /* closes the log if it is open */
void bed_open(bed *b);
void bed_close(bed *b);
void bed_reopen(bed *b);
#define BED_PATH "log"

/* Appends "<number>" under a key made of `i`; returns the number. */
uint64_t bed_put(bed *b, uint64_t i);
/* With a value of `size` bytes. */
uint64_t bed_put_sized(bed *b, uint64_t i, size_t size);
/* How many segment files there are. */
size_t bed_segment_files(bed *b);
size_t bed_files(bed *b, const char *ending);

/* ---- The model ---- */

typedef struct model_entry {
    uint64_t seq;
    uint64_t first, last; /* of its batch */
    uint8_t op;
    uint64_t key_hash, value_hash;
    size_t key_size, value_size;
} model_entry;

typedef struct model {
    MUTEX(model_mu);
    model_entry *entries; /* in the order of adding */
    size_t count, capacity;
} model;

void model_init(model *m);
void model_release(model *m);
void model_add(model *m, const model_entry *e);
void model_add_batch(model *m, const firn_batch *batch, uint64_t seq_last);
void model_add_put(model *m, firn_kind op, firn_slice key, firn_slice value, uint64_t seq);

/* Replays the log after `after_seq` and compares: exactly the model's entries with greater numbers,
 * in order. */
void model_check(model *m, wal *w, uint64_t after_seq);
/* One random operation or batch with this durability; adds it to the model. */
void model_step(model *m, wal *w, rng *r, firn_durability durability);

#endif
