/* contents: what an open log holds at a moment, for readers beside its writers. */
#ifndef WRITING_CONTENTS_H
#define WRITING_CONTENTS_H

#include <wal/wal.h>

typedef struct wal_contents {
    /* the live ones, oldest first, a reference each; frames of each may be read up to its
     * visible_end (acquire) */
    wal_segment **segments;
    size_t count;
    /* all numbers up to last_seq lie in the segments, or below the floor */
    uint64_t last_seq, durable_seq;
    uint64_t floor_seq, covered_seq; /* numbers up to here may be missing */
    const fs_dir *dir;               /* borrowed from the log */
    firn_recovery recovery;          /* how it was opened */
    bool read_only;
} wal_contents;

/* FIRN_INVALID after a fork, FIRN_NO_MEMORY. To be released in every case. */
int wal_contents_hold(wal *w, wal_contents *out, firn_error *err);
void wal_contents_release(wal_contents *contents);

#endif
