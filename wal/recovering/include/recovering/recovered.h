/* recovered: what opening finds in a folder, judged and repaired by a policy (README.md,
 * "Recovery"), and the reports that say so. Everything here is used by one thread at a time.
 */
#ifndef RECOVERING_RECOVERED_H
#define RECOVERING_RECOVERED_H

#include <wal/wal.h>

/* ---- Reports ---- */
int wal_report_add(firn_wal_report *report, const firn_wal_finding *finding, firn_error *err);

/* The error of a log that is not opened because of this finding. Returns FIRN_DAMAGED. */
int wal_report_refuse(const fs_dir *dir, const firn_wal_finding *f, firn_recovery policy,
                      firn_error *err);

/* ---- Carrying out a policy ---- */
typedef struct wal_recovered_log {
    wal_segment **segments; /* owned references; live ones, ascending, the last one takes appends if
                               `append_to_last` */
    size_t count;
    uint64_t next_segment_no;
    uint64_t last_seq;    /* the newest number that is in the log (or was truncated) */
    uint64_t skip_to_seq; /* >= last_seq: numbers up to here must be skipped (W10) */
    /* == last_seq: everything kept is durable behind recovery (unless read-only) */
    uint64_t durable_seq;
    uint64_t floor_seq;
    uint64_t life;                          /* of the last opener; the next one is life + 1 */
    uint64_t prev_no, prev_end, prev_chain; /* what the next LINK says */
    uint8_t store_id[16];
    bool append_to_last; /* the last segment is open-ended, regrown, writable, zero behind `end` */
    /* ... but its file is an earlier life's, which was not closed: better another one */
    bool last_is_worn;
} wal_recovered_log;

/* Scans, judges by `policy`, and (unless `read_only` or INSPECT) repairs: cuts, moves aside,
 * zeroes, removes unused or truncated segments and temporary files, carries what is not proven
 * durable into new files.
 * An empty folder gives an empty log (count 0, next_segment_no behind what is covered). The report
 * is filled in also when FIRN_DAMAGED is returned; the error then names file, offset, lost numbers
 * and what to do. */
int wal_recover(fs_dir *dir, const wal_config *config, bool mapped, wal_recovered_log *out,
                firn_wal_report *report, firn_error *err);
void wal_recovered_log_release(wal_recovered_log *log);

#endif
