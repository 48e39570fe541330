/* wal: what the engine sees of the log beyond <firn/wal.h>: segments whose bytes an index may point
 * into, recovery, and what is given up. How it writes is in <wal/group.h>.
 */
#ifndef WAL_WAL_H
#define WAL_WAL_H

#include <base/fs.h>
#include <base/patience.h>
#include <firn/wal.h>

typedef struct firn_wal wal;
typedef struct wal_segment wal_segment;

/* What twelve digits of a name can hold; a file with a greater number would not be found again. */
#define WAL_SEGMENT_NO_MAX UINT64_C(999999999999)

/* A SKIP uses up 2^32 - 1 numbers. A log that had to skip more than 1024 SKIPs can consists of
 * files that do not belong together, and skipping would take hours: numbers may have been given out
 * so far beyond the end of the log, and no further. */
#define WAL_SKIP_MAX (UINT64_C(1024) * UINT32_MAX)

/* A file that is kept so that opening finds room on a full disk (segments/reserve.c). The log works
 * without it. */
#define WAL_RESERVE_NAME "RESERVE"

/* ---- Segments: reference-counted; the bytes stay mapped while a reference is held ---- */
void wal_segment_ref(wal_segment *s);
void wal_segment_unref(wal_segment *s); /* NULL is allowed */
/* A reference to the bytes alone, not to the file: once the log has given the segment up, it takes
 * no descriptor. */
void wal_segment_hold(wal_segment *s);
void wal_segment_drop(wal_segment *s);                 /* NULL is allowed */
const uint8_t *wal_segment_base(const wal_segment *s); /* offsets count from here */
uint64_t wal_segment_bytes(const wal_segment *s);      /* readable from there on */
uint64_t wal_segment_no(const wal_segment *s);
uint64_t wal_segment_seq_first(const wal_segment *s); /* the first number it may hold */
/* its last one; not of the segment that takes appends */
uint64_t wal_segment_seq_last(const wal_segment *s);
uint64_t wal_segment_used(const wal_segment *s); /* bytes up to the end of the newest frame */

/* A frame of entries, as it lies in its segment. */
typedef struct wal_applied {
    wal_segment *segment;
    uint32_t offset;    /* of the first entry, from the segment's base */
    uint32_t count;     /* entries, encoded one behind the other */
    uint64_t bytes;     /* of all entries */
    uint64_t seq_first; /* entry i has number seq_first + i */
} wal_applied;

typedef struct wal_config {
    firn_wal_options options;
    uint8_t store_id[16]; /* all zero: take it from the log, or make one */
    /* the owner has operations <= this elsewhere: gaps and damage up to here are reported as
     * harmless, and the log's floor may lie anywhere up to here */
    uint64_t covered_seq;
    /* segments with numbers <= this hold nothing else and may have been given up (wal_give_up):
     * their files are not looked at and, if they are still there, removed. The next one must be
     * there. 0: none. Like covered_seq, it must be durable before the log changes anything: before
     * wal_open, or by `accepted` */
    uint64_t covered_no;
    /* Called by wal_open, unless the log is opened for reading only, when the log has been judged
     * and will be opened, and nothing has been changed yet. A failure fails the opening. May be
     * NULL. */
    int (*accepted)(void *ctx, firn_error *err);
    void *accepted_ctx;
    /* borrowed: the file by which the folder is locked (fs_dir_lock). Looked at whenever a segment
     * is taken into use and when the log is closed: a folder or a lock that is not the same any
     * more stops all writing. NULL: the folder alone is looked at */
    fs_file *lock;
    /* no threads: what the helper would do ahead happens when it is needed (for reproducible
     * tests) */
    bool inline_work;
    /* borrowed: where it is counted and told that a request waits for long; NULL: only `log` of the
     * options hears of it, when a sync or a change of segment that took long is over */
    wait_list *waits;
} wal_config;

void wal_config_init(wal_config *config);

/* Opens the log in an open, locked folder, which must outlive it. `report` may be NULL. The owner
 * calls wal_recovered to learn what is in the log, then appends. */
int wal_open(fs_dir *dir, const wal_config *config, firn_wal_report *report, wal **out,
             firn_error *err);

/* Passes every frame of entries with numbers > after_seq, in order, straight from the mapped
 * segments. For use between wal_open and the first append. A non-zero return stops and is
 * returned. */
int wal_recovered(wal *w, uint64_t after_seq, int (*fn)(void *ctx, const wal_applied *frame),
                  void *ctx, firn_error *err);

/* The segment that takes the next append. Borrowed; for use before the first append. */
wal_segment *wal_current_segment(wal *w);

/* One operation or the entries of a batch, with a durability class (DEFAULT: the log's), for an
 * owner without an index. *seq_last may be NULL. These are what firn_wal_append and
 * firn_wal_append_batch are made of. */
int wal_put(wal *w, uint8_t kind, firn_slice key, firn_slice value, firn_durability durability,
            uint64_t *seq_last, firn_error *err);
int wal_write(wal *w, const firn_batch *batch, firn_durability durability, uint64_t *seq_last,
              firn_error *err);

/* Records a CHECKPOINT: the owner has everything <= covered_seq elsewhere, durably, and will say so
 * in wal_config.covered_seq from now on. Segments that hold nothing newer are not synced any more.
 * Unlike firn_wal_checkpoint it waits for no sync: the owner's own word is the durable one. *seq is
 * the CHECKPOINT's own number, which is greater than covered_seq. */
int wal_checkpoint(wal *w, uint64_t covered_seq, uint64_t *seq, firn_error *err);

/* Gives up what the owner covers, as firn_wal_truncate does, but without a sync: the owner has
 * noted durably that it will open the log with at least this covered_seq and covered_no. Removes
 * the segments with numbers <= covered_no, which hold nothing newer than covered_seq and take no
 * appends any more. */
int wal_give_up(wal *w, uint64_t covered_seq, uint64_t covered_no, firn_error *err);

/* Makes sure that the next change of segment finds its segment made. Unlike that change it poisons
 * nothing when it fails, unless the folder is lost. */
int wal_prepare_successor(wal *w, firn_error *err);

typedef struct wal_stats {
    uint64_t segments, disk_bytes; /* files now, and the room they take */
    uint64_t used_bytes;           /* of those, up to the end of the last frame of each */
    uint64_t appended_bytes, appended_batches, appended_entries, groups, syncs;
    uint64_t last_seq, durable_seq, floor_seq;
    uint64_t oldest_segment, newest_segment;
    uint8_t store_id[16];
    bool mapped, poisoned;
} wal_stats;
void wal_get_stats(wal *w, wal_stats *out);

/* Is `name` one of the log's file names? (The grammar of the store's folder.) */
bool wal_owns_name(const char *name);
/* Is it that of a finished segment, and of which? A log has at least one from before its owner
 * first relies on it (W3). segment_no may be NULL. */
bool wal_is_segment_name(const char *name, uint64_t *segment_no);
/* Does the file begin as a segment does? What cannot be read does not. */
bool wal_has_magic(fs_dir *dir, const char *name);

#endif
