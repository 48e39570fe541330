/* wal_recover_salvage: keep what is behind damage (README.md, "Recovery").
 *
 * Every proven loss gets a SKIP in its place, so that numbers are dense again and the next open is
 * clean; the bytes that were there go to lost/ first. Each step can be interrupted: what was not
 * replaced is found again.
 */
#include "wal_recover.h"

#include <base/error.h>

static int cannot(wal_repair *r, const wal_spot *spot, const char *why)
{
    const wal_scan *scan = r->scan;
    size_t at = spot->segment != WAL_NOWHERE ? spot->segment : spot->follower;
    const char *path = at != WAL_NOWHERE ? scan->segments[at].segment->file->path : r->dir->path;
    error_file(r->err, FIRN_DAMAGED, path, spot->offset, "the loss cannot be marked: %s", why);
    error_hint(r->err,
               "restore from a backup, or copy the folder and open it with recovery prefix");
    return FIRN_DAMAGED;
}

/* Replaces [from, to) of a segment by a SKIP over [seq_first, seq_next). */
static int fill(wal_repair *r, const wal_scanned *p, uint64_t from, uint64_t to, uint64_t seq_first,
                uint64_t seq_next)
{
    uint64_t bytes = p->segment->bytes;
    fs_file *file;
    int status = fs_open(r->dir, p->segment->name, FS_WRITE, &file, r->err);
    if (status != FIRN_OK)
        return status;
    /* A file that was cut short gets its size back, or it would count as cut short again. */
    if (p->short_file)
        status = fs_allocate(file, bytes, r->err);
    if (status == FIRN_OK && to - from >= WAL_FRAME_BYTES)
        status = wal_repair_fill(r, file, p, from, to, seq_first,
                                 seq_next > seq_first ? seq_next - seq_first : 0);
    fs_close(file);
    return status;
}

static int salvage_range(wal_repair *r, const wal_spot *spot)
{
    const wal_scanned *p = &r->scan->segments[spot->segment];
    uint64_t bytes = p->segment->bytes;
    uint64_t end = (spot->end + 7) & ~UINT64_C(7);
    bool at_the_end = spot->offset == p->segment->end;
    /* At the end of the log there may be little or nothing where frames once were. */
    if (at_the_end && spot->follower == WAL_NOWHERE && end < spot->offset + WAL_FRAME_BYTES + 8)
        end = spot->offset + WAL_FRAME_BYTES + 8;
    if (end > bytes)
        end = bytes;
    if (spot->seq_next > spot->seq_first && end < spot->offset + WAL_FRAME_BYTES)
        return cannot(r, spot, "there is no room for the record that says so");
    int status = wal_repair_save_range(r, p, spot->offset, end);
    if (status == FIRN_OK)
        status = wal_repair_saved(r);
    if (status == FIRN_OK)
        status = fill(r, p, spot->offset, end, spot->seq_first, spot->seq_next);
    return status;
}

/* A frame that is intact but at odds with others makes room for a SKIP of the same size. */
static int salvage_frame(wal_repair *r, const wal_spot *spot, size_t index)
{
    const wal_scanned *p = &r->scan->segments[index];
    if (spot->end == spot->offset)
        return cannot(r, spot, "there is no room for the record that says so");
    int status = wal_repair_save_range(r, p, spot->offset, spot->end);
    if (status == FIRN_OK)
        status = wal_repair_saved(r);
    if (status != FIRN_OK)
        return status;
    if (spot->what == WAL_SPOT_LINK)
        return fill(r, p, spot->offset, spot->end, spot->seq_first, spot->seq_next);
    return fill(r, p, spot->offset, spot->end, spot->seq_next, spot->seq_next);
}

/* The files between two live segments, or behind the last one, are replaced by one small segment.
 * */
static int salvage_between(wal_repair *r, const wal_spot *spot)
{
    const wal_scan *scan = r->scan;
    int status = FIRN_OK;
    size_t from = spot->segment == WAL_NOWHERE ? 0 : spot->segment + 1;
    size_t to = spot->follower == WAL_NOWHERE ? scan->count : spot->follower;
    for (size_t i = from; i < to && status == FIRN_OK; i++) {
        if (wal_repair_worth_saving(&scan->segments[i]))
            status = wal_repair_save_file(r, &scan->segments[i]);
    }
    if (status == FIRN_OK)
        status = wal_repair_saved(r);
    if (status != FIRN_OK)
        return status;

    const wal_scanned *prev = spot->segment == WAL_NOWHERE ? NULL : &scan->segments[spot->segment];
    uint64_t end = prev ? prev->segment->end : 0;
    if (spot->follower == WAL_NOWHERE) {
        if (!prev && scan->max_seen_seq == 0)
            return wal_repair_successor(r, WAL_NOWHERE, 0, spot->seq_first, spot->seq_first,
                                        WAL_SKIP_LOST);
        return wal_repair_successor(r, spot->segment, end, spot->seq_first, scan->max_seen_seq + 1,
                                    WAL_SKIP_LOST);
    }
    const wal_scanned *next = &scan->segments[spot->follower];
    uint64_t no = next->linked ? next->link.prev_no : next->segment->no - 1;
    if (no == 0 || (prev && no <= prev->segment->no))
        return cannot(r, spot, "no segment number is free in front of the next one");
    wal_made made = {
        .no = no,
        .link = {.floor_seq = scan->floor_seq < spot->seq_first ? scan->floor_seq : 0,
                 .life = scan->life,
                 .seq_first = spot->seq_first,
                 .stand_in = true},
        .seq_next = spot->seq_next > spot->seq_first ? spot->seq_next : spot->seq_first,
        .reason = WAL_SKIP_LOST,
        .sealed = true,
    };
    if (prev) {
        made.link.prev_no = prev->segment->no;
        made.link.prev_end = end;
        made.link.prev_chain = prev->segment->chain;
    }
    return wal_repair_make(r, &made);
}

int wal_repair_salvage(wal_repair *r)
{
    const wal_scan *scan = r->scan;
    int status = FIRN_OK;
    for (size_t i = 0; i < scan->spot_count && status == FIRN_OK; i++) {
        const wal_spot *spot = &scan->spots[i];
        if (spot->kind == FIRN_WAL_HARMLESS)
            continue;
        if (spot->kind == FIRN_WAL_TORN)
            break; /* what follows is cut */
        switch (spot->what) {
        case WAL_SPOT_RANGE:
            status = salvage_range(r, spot);
            break;
        case WAL_SPOT_BETWEEN:
            status = salvage_between(r, spot);
            break;
        case WAL_SPOT_SEAL:
            status = salvage_frame(r, spot, spot->segment);
            break;
        case WAL_SPOT_LINK:
            status = salvage_frame(r, spot, spot->follower);
            break;
        case WAL_SPOT_HEADER:
            break;
        }
    }
    return status;
}
