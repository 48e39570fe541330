/* script: a random history of a store, run on the store and on the model at once.
 *
 * A script is a list of operations that stand on their own: each carries its numbers, and those that
 * need something (a snapshot, an iterator) do nothing when it is not there. So any subset of a script
 * is a script, which is what shrinking needs.
 *
 * The model is the array of bed.h, one for each bucket; a snapshot, and an iterator, copy it.
 */
#ifndef TESTS_ENGINE_SCRIPT_H
#define TESTS_ENGINE_SCRIPT_H

#include "bed.h"

typedef enum script_kind {
    SCRIPT_PUT,
    SCRIPT_DELETE,
    SCRIPT_BURY, /* deletes a run of keys one by one, so that walks learn of them */
    SCRIPT_DELETE_RANGE,
    SCRIPT_BATCH,
    SCRIPT_APPLY,
    SCRIPT_GET,
    SCRIPT_GET_INTO,
    SCRIPT_GET_MANY,
    SCRIPT_PIN, /* hold a value over later operations, or look at it and let it go */
    SCRIPT_SNAPSHOT,
    SCRIPT_ITER_NEW,
    SCRIPT_ITER_FIRST,
    SCRIPT_ITER_LAST,
    SCRIPT_ITER_SEEK,
    SCRIPT_ITER_SEEK_FOR_PREV,
    SCRIPT_ITER_NEXT,
    SCRIPT_ITER_PREV,
    SCRIPT_ITER_MANY, /* next_many or prev_many */
    SCRIPT_ITER_REFRESH,
    SCRIPT_FLUSH,
    SCRIPT_COMPACT,
    SCRIPT_SYNC,
    SCRIPT_SETTLE,
    SCRIPT_REOPEN,
    SCRIPT_COMPARE, /* everything, also through each snapshot */
    SCRIPT_DROP,    /* a bucket, which is made again */
    SCRIPT_KINDS,
} script_kind;

typedef struct script_op {
    script_kind kind;
    uint64_t a, b, c;
} script_op;

typedef struct script {
    keyset keys;
    script_op *ops;
    size_t count;
} script;

/* The same seed and count give the same script. */
void script_new(script *s, uint64_t seed, size_t count);
void script_release(script *s);
/* Opens the store on the bed, runs the operations marked in `kept` (NULL: all), compares, closes.
 * False: they disagreed, `why` says where. The bed's folder must be fresh. */
bool script_run(const script *s, const bool *kept, bed *b, char *why);

#endif
