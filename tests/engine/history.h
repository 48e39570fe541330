/* history: batches with an oracle, for tests that crash.
 *
 * Batch j puts the counter key and does several puts, deletes and range deletes over a small key space, some keys
 * more than once. states[j] is what a store that holds exactly the batches 1..j shows. A crash may
 * leave the store in any such state between the last batch that was acknowledged as durable and the
 * last one that was begun, and in no other (P1, P2, P3 of the promises).
 */
#ifndef TESTS_ENGINE_HISTORY_H
#define TESTS_ENGINE_HISTORY_H

#include "bed.h"

#define HISTORY_KEYS                                                                               \
    14 /* 0: the counter; the last: what a verifier writes into a recovered store */
#define HISTORY_MOST 4000

enum {
    MARK_DURABLE = 0, /* batches up to this were acknowledged as durable */
    MARK_BEGUN,       /* batches up to this were begun */
    MARK_COMPLETED,   /* writes up to this returned FIRN_OK: they survive a killed process */
    MARK_REOPENED,    /* of a recovery: the store was open again, and the others were set by it */
};

typedef struct history {
    keyset keys;
    uint64_t (*states)[HISTORY_KEYS]; /* [0] is empty */
    uint64_t seqs[HISTORY_MOST];      /* of the last operation of each batch */
    size_t count;                     /* batches begun */
    size_t durable, completed;
    int status;        /* of the last history_write */
    size_t value_most; /* sizes of values; 0: 120 */
    firn_batch *batch;
    rng chance;
    simfs *sim; /* gets the marks; NULL: there are none */
} history;

void history_init(history *h, uint64_t seed, simfs *sim);
void history_release(history *h);
/* Writes the next batch. False: it failed, `why` and status say how; it is begun, not completed. (When
 * the batch could not even be filled, it is not begun.) */
bool history_write(history *h, firn *db, firn_durability durability, char *why);
/* Makes the next batch without a store: what another process writes from the same history. */
void history_imagine(history *h);
/* Asks the store what is durable, and marks it. */
void history_note_durable(history *h, firn *db);
/* The state that the store shows: which j in [low, high], compared by every key and both ways. */
bool history_compare(const history *h, firn *db, size_t low, size_t high, size_t *found, char *why);
/* Writes a key of its own behind what was recovered. */
bool history_touch(firn *db, const history *h, char *why);
/* The store went back to state j: the next batch is j + 1. */
void history_cut(history *h, size_t j);

#endif
