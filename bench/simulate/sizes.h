/* sizes: how many bytes an entry takes in the log, in the index of a memtable and in a table. */
#ifndef SIMULATE_SIZES_H
#define SIMULATE_SIZES_H

#include "settings.h"

typedef struct entry_size {
    double log;
    double plain,
        packed; /* in a table, with its part of index and filter; of a key that shares nothing with its neighbours */
    double in_block; /* entries */
    double part;     /* that compression leaves; 1: such blocks are stored as they are */
    double shared;   /* bytes of each key that its block has once, in a table of all keys */
} entry_size;

typedef struct sizes {
    entry_size put, dead; /* dead: a tombstone */
    double index;         /* in the index of a memtable */
    unsigned key_bytes;
} sizes;

void sizes_init(sizes *z, const settings *s);
/* Bytes of each key that a table does not store, because all keys of the block begin with them: of a table with as many entries
 * as `entries` for all keys there can be. Keys are hexadecimal. */
double sizes_shared(const sizes *z, double entries);

#endif
