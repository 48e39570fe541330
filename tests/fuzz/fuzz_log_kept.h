/* fuzz_log_kept: W9, byte by byte. Notes what a folder holds before it is opened; afterwards every
 * byte that counts must be where it was, or in lost/, and files that are not the log's untouched.
 */
#ifndef FUZZ_LOG_KEPT_H
#define FUZZ_LOG_KEPT_H

#include <support/simfs.h>

#include "fuzz.h"
#include "scan.h"

typedef struct fuzz_range {
    uint64_t segment_no;
    uint64_t offset, end;
} fuzz_range;

typedef struct fuzz_kept {
    simfs *before; /* a copy of everything */
    uint64_t floor_seq;
    fuzz_range *ranges;
    size_t count, capacity;
} fuzz_kept;

/* `scan` is what the folder in `sim` holds. */
void fuzz_kept_init(fuzz_kept *k, simfs *sim, const wal_scan *scan);
void fuzz_kept_release(fuzz_kept *k);

/* Has nothing that counts been lost on the way to `after`? */
bool fuzz_is_kept(const fuzz_kept *k, simfs *after);

/* Are all files the same as before? */
bool fuzz_same_files(simfs *before, simfs *after);
/* The same, but some may have gone, and segments from number new_no on (0: none) may have been made:
 * so many. */
bool fuzz_no_other_files(simfs *before, simfs *after, uint64_t new_no, size_t *made);

#endif
