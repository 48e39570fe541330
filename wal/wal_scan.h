/* wal_scan: read a whole log and say what is intact, what is torn, and what is proven lost (wal/README.md,
 * "Telling a torn tail from loss"). Reads only.
 *
 * wal_recover then carries a policy out.
 */
#ifndef WAL_SCAN_H
#define WAL_SCAN_H

#include "wal_segment.h"

typedef struct wal_scanned {
    wal_segment *segment; /* owned: one reference; seq_first, seq_last, end, frames, chain are filled in */
    wal_header header;
    int copies_ok;
    uint64_t file_bytes;
    bool linked;          /* starts with an intact LINK; false for one that was made ahead and never used */
    bool sealed_rotation; /* ends with a SEAL of kind 1 */
    bool sealed_close;    /* ends with a SEAL of kind 2, nothing behind it */
} wal_scanned;

typedef struct wal_scan {
    wal_scanned *segments; /* ascending numbers */
    size_t count;
    firn_wal_report report; /* findings in log order */
    uint64_t last_seq;      /* end of the prefix that is kept (all intact ones when salvaging) */
    uint64_t max_seen_seq;  /* greatest number in any intact frame, durable line, floor or LINK */
    uint64_t durable_seq;
    uint64_t floor_seq;
    uint64_t life;          /* greatest seen */
    uint8_t store_id[16];
    bool torn, lost, harmless; /* kinds of findings present */
    /* where the kept prefix ends: */
    size_t cut_segment;     /* index; == count: nothing to cut */
    uint64_t cut_offset;
} wal_scan;

typedef struct wal_scan_options {
    bool writable, mapped;    /* as for wal_segment_open */
    const uint8_t *store_id;  /* NULL or all zero: whatever the first segment says */
    uint64_t covered_seq;     /* wal_config.covered_seq */
} wal_scan_options;

/* FIRN_OK whatever the findings are; errors only for what could not be read or allocated. */
int wal_scan_folder(fs_dir *dir, const wal_scan_options *o, wal_scan *out, firn_error *err);
void wal_scan_release(wal_scan *scan);

/* Walks the intact frames of one scanned segment in order, up to its `end`. fn's non-zero return stops. */
typedef int (*wal_frame_fn)(void *ctx, wal_segment *s, uint64_t offset, const wal_frame *f);
int wal_segment_walk(wal_segment *s, uint64_t end, wal_frame_fn fn, void *ctx);

/* ---- Carrying out a policy ---- */
typedef struct wal_recovered_log {
    wal_segment **segments; /* owned references; live ones, ascending, the last one takes appends if
                               `append_to_last` */
    size_t count;
    uint64_t next_segment_no;
    uint64_t last_seq;      /* the newest number that is in the log (or was truncated) */
    uint64_t skip_to_seq;   /* >= last_seq: numbers up to here must be skipped (W10) */
    uint64_t durable_seq;   /* == last_seq: everything kept has been synced by recovery (unless read-only) */
    uint64_t floor_seq;
    uint64_t life;          /* of the last opener; the next one is life + 1 */
    uint64_t prev_no, prev_end, prev_chain; /* what the next LINK says */
    uint8_t store_id[16];
    bool append_to_last;    /* the last segment is open-ended, regrown, writable, zero behind `end` */
} wal_recovered_log;

/* Scans, judges by `policy`, and (unless `read_only` or INSPECT) repairs: cuts, moves aside, zeroes, removes unused or
 * truncated segments and temporary files, syncs everything that is kept. An empty folder gives an empty log
 * (count 0, next_segment_no 1). The report is filled in also when FIRN_DAMAGED is returned; the error then names
 * file, offset, lost numbers and what to do. */
int wal_recover(fs_dir *dir, const wal_config *config, bool mapped, wal_recovered_log *out,
                firn_wal_report *report, firn_error *err);
void wal_recovered_log_release(wal_recovered_log *log);

#endif
