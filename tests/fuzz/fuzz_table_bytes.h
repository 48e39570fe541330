/* fuzz_table_bytes: a table's file taken apart into its blocks, changed, and put together again with
 * right checksums, sizes and offsets, as far as the input does not say otherwise. */
#ifndef FUZZ_FUZZ_TABLE_BYTES_H
#define FUZZ_FUZZ_TABLE_BYTES_H

#include "format.h"
#include "fuzz_run.h"

#define FUZZ_PARTS_MAX 96

typedef enum fuzz_role {
    FUZZ_DATA,
    FUZZ_FILTER,
    FUZZ_INDEX,
    FUZZ_PROPS,
} fuzz_role;

typedef struct fuzz_part {
    fuzz_role role;
    fuzz_buf raw;    /* unpacked; while !packed */
    fuzz_buf stored; /* as in the file; while packed */
    bool packed;
    uint8_t compression; /* what the trailer says */
    uint32_t raw_size;   /* likewise, when packed */
    uint32_t gap;        /* bytes of nothing in front of it */
} fuzz_part;

typedef struct fuzz_table {
    uint64_t store_id[2];
    uint64_t table_no;
    fuzz_part parts[FUZZ_PARTS_MAX];
    size_t count;
    bool sizes_stay;    /* the index and the properties lie about the blocks' sizes */
    fuzz_field lies[4]; /* fields of the footer ... */
    uint64_t lie_is[4]; /* ... and what they say */
    size_t lie_count;
    fuzz_input edits;      /* of the whole file, checksums not made right; none: size 0 */
    uint64_t unpacked_max; /* the largest size that a block of the file can really unpack to */
    uint64_t unpacked_all; /* all of them together */
} fuzz_table;

typedef struct fuzz_shape {
    uint32_t block_bytes;
    uint32_t filter_bits;
    sst_compression compression;
    bool cut; /* it ends with its last key, wherever range deletes end */
} fuzz_shape;

/* Has the writer of firn make it. */
void fuzz_table_make(fuzz_table *t, const fuzz_run *r, const fuzz_shape *shape);
/* False: it is not an intact table with few enough blocks, and *t is empty. */
bool fuzz_table_split(fuzz_table *t, firn_slice file);
/* Changes, until the input says 'q' or ends. fuzz_table_bytes.c lists the letters. */
void fuzz_table_change(fuzz_table *t, fuzz_input *in);
/* The file. Sets unpacked_max and unpacked_all. */
void fuzz_table_join(fuzz_table *t, fuzz_buf *out);
void fuzz_table_release(fuzz_table *t);

/* ---- fuzz_table_truth.c ---- */
/* Makes index, filter, properties, tags and heads agree with the entries of the data blocks. */
void fuzz_table_tell_truth(fuzz_table *t);

#endif
