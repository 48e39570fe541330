/* repair: what the files that carry out a policy share (README.md, "Recovery").
 *
 *   recover.c   scan, judge, repair, scan again until nothing is left; hand over
 *   cut.c       give up the end of a log
 *   salvage.c   keep what is behind damage
 *   files.c     lost/, and segments written in one piece
 *   carry.c     new files for what is not proven durable
 *
 * A repair changes files, never what is in memory; the log is scanned anew afterwards. What a
 * repair has done is durable when it returns. No file of an earlier life is written into, unless
 * the disk is full.
 */
#ifndef RECOVERING_REPAIR_H
#define RECOVERING_REPAIR_H

#include "scan.h"

#include <base/lost.h>

typedef struct wal_repair {
    fs_dir *dir;
    lost lost;
    const wal_config *config;
    const wal_scan *scan;
    uint64_t max_seen_seq; /* W10: of all scans; what a repair gives up had numbers, too */
    uint64_t cut_bytes;
    uint64_t *made; /* segments whose files this recovery has made: no write into them failed */
    size_t made_count, made_capacity;
    bool tight; /* the disk is full and the reserve is spent: as little as possible is written */
    firn_error *err;
} wal_repair;

/* ---- files.c ---- */

/* W9: copies bytes of a segment, or moves a whole file, to lost/. Durable after
 * wal_repair_saved. */
int wal_repair_save_range(wal_repair *r, const wal_scanned *p, uint64_t from, uint64_t to);
int wal_repair_save_file(wal_repair *r, const wal_scanned *p);
int wal_repair_saved(wal_repair *r);
/* Must the file be saved before it is given up? Not when a truncation or an interrupted recovery
 * has given it up already, nor when it was made ahead and holds nothing. */
bool wal_repair_worth_saving(const wal_scanned *p);

/* What takes the place of [offset, end): a SKIP over the numbers [seq_first, seq_next) and, unless
 * floor_seq is 0, a FLOOR behind it. Both ends are multiples of 8, at least 40 bytes apart, with a
 * FLOOR 88. */
typedef struct wal_filling {
    uint64_t offset, end;
    uint64_t seq_first, seq_next;
    uint64_t floor_seq;
    uint32_t flags; /* WAL_SKIP_STAND_IN or 0; only where there are 48 bytes or more */
} wal_filling;
int wal_repair_fill(wal_repair *r, fs_file *file, const wal_scanned *p, const wal_filling *filling);
int wal_repair_zero(fs_file *file, uint64_t from, uint64_t to, firn_error *err);

/* A segment that is made at once: LINK, SKIPs over [link.seq_first, seq_next), if that is any
 * number, and with `sealed` a SEAL. Its rename is the commit point of whatever it stands for;
 * durable when this returns. */
typedef struct wal_made {
    uint64_t no;
    wal_link link;
    uint64_t seq_next;
    uint32_t reason; /* WAL_SKIP_SEEN or WAL_SKIP_LOST */
    /* small, complete; else to be appended to, of full size unless the disk is full */
    bool sealed;
} wal_made;
int wal_repair_make(wal_repair *r, const wal_made *made);

/* ---- carry.c ---- */

bool wal_repair_has_made(const wal_repair *r, uint64_t no);
int wal_repair_note_made(wal_repair *r, uint64_t no);
/* Is this the last segment of a log that was closed in order? */
bool wal_repair_closed(const wal_scanned *p);

/* What a copy of a segment holds instead of what the old file does. */
typedef struct wal_copy {
    uint64_t end;               /* zeros from here on */
    uint64_t bytes;             /* its full size, as in the header */
    uint64_t size;              /* of the file; 0: the same */
    const wal_filling *filling; /* NULL: none */
} wal_copy;
/* A new file with the bytes of a segment, its salt included, takes the name of the old one. Durable
 * when this returns. *out, when wanted, is the file, open for writing. */
int wal_repair_copy(wal_repair *r, const wal_scanned *p, const wal_copy *copy, fs_file **out);

/* Copies each segment that holds what is not proven durable, and goes on with the copies. `last` is
 * the one that the log may go on in, or WAL_NOWHERE. */
int wal_repair_carry(wal_repair *r, size_t last, bool mapped);

/* ---- The repairs ---- */

/* Gives up everything from `spot` on. The SKIP of the numbers seen there gets this reason. */
int wal_repair_cut(wal_repair *r, const wal_spot *spot, uint32_t reason);
/* Saves [from, end of what is not zero) of a segment, which then ends at `from`. */
int wal_repair_cut_off(wal_repair *r, const wal_scanned *p, uint64_t from);
/* Puts SKIPs in the place of all proven losses. */
int wal_repair_salvage(wal_repair *r);

static inline uint64_t wal_page_up(uint64_t bytes)
{
    return (bytes + WAL_PAGE_BYTES - 1) & ~(uint64_t)(WAL_PAGE_BYTES - 1);
}

#endif
