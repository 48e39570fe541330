/* edit: the difference between a version and the next (version_apply); also what a record of the
 * manifest says. */
#ifndef ENGINE_EDIT_H
#define ENGINE_EDIT_H

#include <tree/version.h>

#define FILTER_BITS_MOST 64
/* How tables of a bucket are made. */
typedef struct bucket_form {
    uint32_t compression; /* firn_compression; FIRN_AS_STORE: what the store was opened with */
    uint32_t filter_bits; /* likewise */
} bucket_form;

typedef struct edit_table {
    unsigned level;
    table *table; /* borrowed */
} edit_table;

typedef struct edit {
    edit_table *added, *dropped;
    size_t added_count, dropped_count;
    size_t added_capacity, dropped_capacity;
    uint64_t flushed_seq;      /* 0: unchanged */
    uint64_t covered_no;       /* 0: unchanged; log segments up to here hold nothing newer */
    uint64_t next_file_no;     /* 0: unchanged */
    const struct firn *create; /* a bucket that begins to be; NULL: none */
    const struct firn *drop;   /* one that ends, with the tables that it still lists */
    const struct firn *reform; /* one whose tables are made otherwise from now on, and how */
    bucket_form form;
    bool closed;         /* a clean close ... */
    uint64_t closed_seq; /* ... of a log that ended here */
} edit;

/* At the end of the lists. FIRN_NO_MEMORY, not described. */
int edit_add(edit *e, unsigned level, table *t);
int edit_drop(edit *e, unsigned level, table *t);
void edit_release(edit *e);

#endif
