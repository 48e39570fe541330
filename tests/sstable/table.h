/* table: what the tests of sstable share: a model (a sorted array of versions), a table made of it
 * on a file system in memory, and the questions that both must answer alike. */
#ifndef TESTS_SSTABLE_TABLE_H
#define TESTS_SSTABLE_TABLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <base/slice.h>
#include <sstable/sstable.h>

#include "support/rng.h"
#include "support/simfs.h"

/* What a failing check prints: the seed and the case that a test is at. */
extern uint64_t table_seed;
extern char table_case[256];
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s:%d: %s (seed %llu, %s)", __FILE__, __LINE__, #condition,                  \
                     (unsigned long long)table_seed, table_case);                                  \
    } while (0)

typedef struct version {
    firn_slice key, value;
    uint64_t seq;
    uint8_t kind;
} version;

/* Sorted: key ascending, number descending. */
typedef struct model {
    version *v;
    size_t count, capacity;
    uint64_t seq_top; /* every number in it is smaller */
} model;

typedef struct shape {
    size_t keys;
    size_t versions_max; /* of one key, 1 to this */
    size_t key_max;      /* bytes behind the prefix, 0 to this */
    size_t prefix;       /* bytes that all keys begin with */
    size_t value_max;
    unsigned alphabet; /* distinct byte values in keys; 2 makes neighbours alike */
} shape;

void model_add(model *m, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value); /* copies */
/* Sorts, and keeps one of versions with the same key and number. */
void model_sort(model *m);
model model_random(rng *r, const shape *s);
/* Range deletes over keys of the model, as a table takes them, some of them side by side. Sorts. */
void model_add_ranges(model *m, rng *rnd);
void model_release(model *m);
/* The first element >= (key, seq), or count. */
size_t model_seek(const model *m, firn_slice key, uint64_t seq);

/* The sim's folder "t", and options that writer and reader agree on. */
typedef struct table {
    simfs *sim;
    fs_dir *dir;
    sst_cache *cache;
    sst_writer_options wo;
    sst_reader_options ro;
    bool cut; /* table_build ends it with its last key (sst_writer_cut) */
} table;
#define TABLE_NAME "000001.sst"
#define TABLE_PATH "t/000001.sst"

void table_init(table *t, size_t cache_bytes);
void table_release(table *t);
/* Builds the file from the model; the status of the first failing step. Removes an old one
 * first. */
int table_build(table *t, const model *m, firn_error *err);
int table_open(table *t, sst_reader **out, firn_error *err);

/* The greatest key that the table names. Without a cut, the last range delete may cover more than
 * the last entry. */
firn_slice table_key_max(const table *t, const model *m);

/* Each ends the test when the table does not answer as the model does. */
void table_check_gets(sst_reader *r, const model *m, rng *rnd);
void table_check_iter(sst_reader *r, const model *m, sst_use use);
void table_check_seeks(sst_reader *r, const model *m, rng *rnd, sst_use use);
/* Its range deletes are listed as they were written; of a table that was cut, up to its last key. */
void table_check_ranges(const table *t, const sst_reader *r, const model *m);
void table_check_walk(sst_reader *r, const model *m, rng *rnd, size_t steps);

static inline bool version_shown(const version *v, const iter *it)
{
    return it->valid && it->seq == v->seq && it->kind == v->kind && slice_equal(it->key, v->key) &&
           slice_equal(it->value, v->value);
}

/* Flips each bit of the file, calls `check` and flips it back. `set`: of options, for messages. */
void table_flip_bits(table *t, unsigned set, void (*check)(const model *m), const model *m);

/* The status of reading everything: walks both ways and gets every version. FIRN_INVALID for an
 * answer that is wrong, which must never be. */
int table_read_all(sst_reader *r, const model *m, sst_use use, firn_error *err);

#endif
