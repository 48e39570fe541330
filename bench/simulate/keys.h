/* keys: which keys are written, and how many different ones.
 *
 * Keys are numbers below 2^64. The simulation knows no single key: it knows classes of keys that are written equally often, each
 * spread evenly over all numbers, and counts them. */
#ifndef SIMULATE_KEYS_H
#define SIMULATE_KEYS_H

#include "settings.h"

#define CLASSES_MAX 24
#define KINDS       3

typedef enum count_kind {
    COUNT_LOADED, /* written once each, in random order, before anything was overwritten */
    COUNT_PUT,
    COUNT_DELETED,
} count_kind;

/* How many entries, by class and kind; one for each key. */
typedef struct counts {
    double of[CLASSES_MAX][KINDS];
} counts;

typedef struct keys {
    pattern pattern;
    unsigned classes;
    double total;              /* keys that there are; ascending: that there may come to be */
    double keys[CLASSES_MAX];  /* of the class */
    double share[CLASSES_MAX]; /* of the writes */
    double deletes;            /* share of the writes */
    double live[CLASSES_MAX];  /* keys of the class that have a value now */
    double written;            /* ascending: keys so far */
} keys;

void keys_init(keys *k, const settings *s, bool full);
/* What a memtable holds behind so many writes, `loaded` of them of keys that were never written before. */
void keys_of_writes(const keys *k, double loaded, double writes, counts *out);
/* So many writes more: what is alive changes. */
void keys_write(keys *k, double writes, bool loading);
double keys_live(const keys *k);
/* Ascending: the number of the n-th key. */
uint64_t keys_place(double n);
double counts_entries(const counts *c, unsigned classes);
double counts_deleted(const counts *c, unsigned classes);
/* A key, for a real run: `random` has a number of its own each time. The class is drawn first. */
uint64_t keys_draw(const keys *k, uint64_t (*random)(void *ctx), void *ctx);

#endif
