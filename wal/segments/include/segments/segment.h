/* segment: one segment file, its bytes in memory, and the references to them.
 *
 * `base` is a mapping of the file, or (buffered) a private buffer of the same contents.
 * Reference-counted: the log holds one reference while the segment belongs to it, indexes hold
 * others. When the last one goes, the bytes go (or the whole segment is offered for reuse, see
 * wal_ready).
 *
 * Fields up to `end` never change after creation. Fields below `end` belong to the leader (or,
 * during open, to the opening thread), but for those that say otherwise.
 */
#ifndef SEGMENTS_SEGMENT_H
#define SEGMENTS_SEGMENT_H

#include <base/fs.h>
#include <base/thread.h>
#include <segments/format.h>
#include <stdatomic.h>
#include <wal/wal.h>

/* Of the log, and of the recycler (<segments/recycler.h>). */
MUTEX_KIND(log_mu);
MUTEX_KIND(recycler_mu);

struct wal_segment {
    /* To the bytes; all references to the file are one of them together. */
    atomic_uint refs;
    /* To the file: with the last one, its descriptor goes, unless the segment is to be used
     * again. */
    atomic_uint files;
    /* its descriptor is gone, and it is not used again */
    bool rests GUARDED_BY(recycler_mu);
    uint64_t no;
    uint64_t bytes; /* full size, as in the header */
    uint64_t salt;
    fs_file *file;
    uint8_t *base;
    /* of the mapping or buffer; may be less than `bytes` for a closed segment that was opened for
     * reading only */
    uint64_t base_bytes;
    uint64_t used_end; /* of one that was opened: from here on the file held only zeros */
    bool mapped;       /* base is a shared mapping */
    bool writable;
    char name[WAL_NAME_BYTES];
    /* ---- */
    uint64_t seq_first; /* first number it may hold */
    uint64_t seq_last;  /* last number it holds; seq_first - 1: none */
    uint64_t end;       /* offset where the next frame goes */
    uint64_t frames;
    uint64_t chain;
    /* blocks up to here have been written before: syncing needs no journal */
    uint64_t prewritten;
    /* frames below it are complete: release by the leader, acquire by readers */
    _Atomic uint64_t visible_end;
    /* bytes from the start that may be stored into without a fault */
    _Atomic uint64_t populated;
    /* where the newest NOTE stands, behind `end`; 0: there is none */
    uint64_t note;
    uint64_t note_durable, note_intent; /* what it says */
    /* stale bytes of an earlier use lie behind `end`: WAL_OPTIONAL_RECYCLED */
    bool recycled;
    /* the file had another name when it was opened: it takes no more frames */
    bool shared;
    /* the file was made in this life, so that no write into it failed unseen */
    bool ours;
    bool synced GUARDED_BY(log_mu); /* sealed and synced */
    /* Gets it back when the last reference goes, or NULL. The log sets it while it has a
     * reference to the file; only the thread that gives the last one back reads it. */
    void *recycler;
};

/* Takes over `file` (of full size, header written and synced) and makes its bytes accessible. On
 * failure the file stays the caller's. */
int wal_segment_new(fs_file *file, const wal_header *header, bool mapped, wal_segment **out,
                    firn_error *err);
/* Frees a segment without references, whatever its recycler may want. */
void wal_segment_free(wal_segment *s);

/* Opens an existing segment file and brings in its bytes. Reads (and repairs nothing of) the
 * header: *header is the first intact copy; *copies_ok says how many of the two are intact (0:
 * FIRN_DAMAGED is returned but *out is still filled in, with salt 0 and no bytes: whatever such a
 * file holds, and of whatever size, nothing in it can be a frame). With `writable`, the file is
 * opened for writing and, when `mapped`, mapped for stores; otherwise a read-only mapping is used
 * where mapping is sound, else a private copy. The actual file size goes to *file_bytes; base_bytes
 * is min(file size, header's size) rounded to what exists. Every page is brought in with
 * fs_populate or fs_read first, so that an I/O error is FIRN_IO here and not a signal later. What
 * is zero up to the end of the file (it may be a hole of gigabytes) is read once and takes no
 * memory. */
int wal_segment_open(fs_dir *dir, uint64_t no, bool writable, bool mapped, wal_segment **out,
                     wal_header *header, int *copies_ok, uint64_t *file_bytes, firn_error *err);

/* Grows a closed (cut short) segment to its full size again, durably, and remaps it for writing.
 * Only before any index refers to its bytes: base may move. *grown is false, and all is as it was,
 * when the disk has no room for it: that alone is no failure. After a failure the segment can still
 * be read. */
int wal_segment_regrow(wal_segment *s, bool mapped, bool *grown, firn_error *err);

/* Goes on with another file of the same contents, of `size` bytes, of which those from `used` on
 * are zero: takes over `file`, also on failure. Only before any index refers to its bytes: base
 * moves. */
int wal_segment_move(wal_segment *s, fs_file *file, uint64_t size, uint64_t used, bool mapped,
                     firn_error *err);

/* ---- reserve.c ---- */

/* Makes the reserve, durably, unless it is there. */
int wal_reserve_make(fs_dir *dir, firn_error *err);
/* Gives its room back to the disk; false: there was none. */
bool wal_reserve_spend(fs_dir *dir);

#endif
