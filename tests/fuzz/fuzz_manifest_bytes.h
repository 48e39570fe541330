/* fuzz_manifest_bytes: writes a manifest that an input describes, checksums, numbers and lengths right as
 * far as it does not say otherwise (engine/README.md, "The manifest"). Written from the format, not
 * with the code under test. */
#ifndef FUZZ_FUZZ_MANIFEST_BYTES_H
#define FUZZ_FUZZ_MANIFEST_BYTES_H

#include <sstable/sstable.h>

#include "fuzz_edit.h"

#define FUZZ_MANIFEST_HEADER 64
#define FUZZ_MANIFEST_RECORD 16

typedef struct fuzz_known_table {
    uint64_t no;
    unsigned level;
    sst_properties properties; /* keys are borrowed */
} fuzz_known_table;

typedef struct fuzz_manifest {
    fuzz_buf bytes;
    fuzz_buf payload; /* of the record in the making */
    uint64_t salt;
    uint64_t records;  /* the next one's number */
    uint64_t table_no; /* of the next table that has none of its own */
    const fuzz_known_table *known;
    size_t known_count;
    fuzz_input edits; /* of the whole file, checksums not made right */
} fuzz_manifest;

void fuzz_manifest_begin(fuzz_manifest *m, const uint8_t store_id[16], uint64_t no, uint64_t salt);
void fuzz_manifest_number(fuzz_manifest *m, uint64_t tag, uint64_t number);
void fuzz_manifest_add(fuzz_manifest *m, const fuzz_known_table *t);
void fuzz_manifest_end_record(fuzz_manifest *m);
/* Does what the input says, until 'q' or its end; fuzz_manifest_bytes.c lists the letters. */
void fuzz_manifest_change(fuzz_manifest *m, fuzz_input *in);
/* Ends the last record, if one was begun. `bytes` is then the file. */
void fuzz_manifest_finish(fuzz_manifest *m);
void fuzz_manifest_release(fuzz_manifest *m);

#endif
