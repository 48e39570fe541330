/* script_inside: what the files of the script share (script.h). */
#ifndef TESTS_ENGINE_SCRIPT_INSIDE_H
#define TESTS_ENGINE_SCRIPT_INSIDE_H

#include "script.h"

#define SLOTS      4 /* snapshots, iterators and pinned values that may be alive at once */
#define KEYS       48
#define BATCH_MOST 24
#define BUCKETS    3

/* What the keys of all buckets have. */
typedef struct world {
    uint64_t of[BUCKETS][KEYS];
} world;

typedef struct held_snapshot {
    firn_snapshot *snapshot;
    world world;
} held_snapshot;

typedef struct held_iter {
    firn_iter *it;
    firn *handle; /* its own; NULL: bucket 0's */
    size_t bucket;
    bool dropped; /* with the bucket that it walks */
    bool at_snapshot;
    bool given; /* next_many or prev_many has given the element */
    uint64_t state[KEYS];
    size_t lower, upper; /* keys in bounds: [lower, upper) */
    bool placed;
    size_t at; /* when placed */
} held_iter;

typedef struct held_pin {
    bool held;
    firn_value value;
    uint64_t number;
} held_pin;

typedef struct run {
    const script *script;
    bed *bed;
    char *why;
    size_t op; /* the one under way; makes value numbers */
    world now;
    firn *handles[BUCKETS];
    held_snapshot snapshots[SLOTS];
    held_iter iters[SLOTS];
    held_pin pins[SLOTS];
    firn_batch *batch;
} run;

static inline firn_slice key_of(const run *r, uint64_t chance)
{
    return r->script->keys.keys[chance % KEYS];
}

/* The bucket that an operation is about: mostly 0. */
static inline size_t bucket_of(const script_op *op)
{
    size_t chance = (op->c >> 40) % 5;
    return chance < BUCKETS ? chance : 0;
}

bool status_is(run *r, const char *what, int rc, int wanted, const firn_error *err);

/* ---- script_writes.c ---- */
bool do_put(run *r, const script_op *op);
bool do_delete(run *r, const script_op *op);
bool do_bury(run *r, const script_op *op);
bool do_delete_range(run *r, const script_op *op);
bool do_batch(run *r, const script_op *op);
bool do_apply(run *r, const script_op *op);

#endif
