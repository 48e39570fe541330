/* cut: give up the end of a log (README.md, "Recovery").
 *
 * When nothing intact follows the cut, the bytes behind it are saved, and a copy of the segment
 * without them takes its place: a crash in between leaves the same torn tail.
 *
 * When intact frames follow, that would not do: they hold numbers that must not be given out again
 * (W10) and perhaps a floor, and zeroing takes more than one step. So a new segment is made whose
 * LINK says "I follow segment N at offset X" and which skips those numbers. Its rename is the
 * commit point; from then on everything behind the cut is superseded, and removed by this
 * recovery or a later one.
 *
 * A new segment for every cut would be simpler. But a log whose tail is torn by each power cut
 * would get a segment more each time, which takes disk space (P11), and would go on in an empty
 * one: AReserveThatWasSpentIsMadeAgain.
 *
 * On a full disk there may be no room for a copy of a long tail. Then the second way is taken and
 * the bytes stay where they are, behind the end that the LINK names.
 */
#include "repair.h"

#include <base/error.h>

/* Of the reserve, for copies. */
#define TIGHT_COPY_BYTES (WAL_RESERVE_BYTES / 4)

/* No log leaves out so many segment numbers. */
#define STRAY_DISTANCE (UINT64_C(1) << 20)

/* Is this file, by its number, none that the log could have made? */
static bool is_stray(const wal_scanned *p, uint64_t newest)
{
    return (p->part == WAL_PART_HEADLESS || p->part == WAL_PART_WRONG) && p->segment->no > newest &&
           p->segment->no - newest > STRAY_DISTANCE;
}

/* The number of the newest file that is the log's. */
static uint64_t newest_of_log(const wal_scan *scan)
{
    for (size_t i = scan->count; i-- > 0;) {
        wal_part part = scan->segments[i].part;
        if (part != WAL_PART_HEADLESS && part != WAL_PART_WRONG && part != WAL_PART_UNUSED)
            return scan->segments[i].segment->no;
    }
    return scan->covered_no;
}

/* A number above all but strays: behind those of the highest numbers there would be none left. */
static uint64_t successor_no(const wal_scan *scan)
{
    uint64_t newest = newest_of_log(scan), no = newest + 1;
    for (size_t i = 0; i < scan->count; i++) {
        const wal_scanned *p = &scan->segments[i];
        if (p->segment->no >= no && p->segment->no - newest <= STRAY_DISTANCE)
            no = p->segment->no + 1;
    }
    return no;
}

/* They have been saved; what the successor's number is above of, its LINK jumps over. */
static int remove_strays(wal_repair *r)
{
    uint64_t newest = newest_of_log(r->scan);
    bool removed = false;
    for (size_t i = 0; i < r->scan->count; i++) {
        const wal_scanned *p = &r->scan->segments[i];
        if (!is_stray(p, newest))
            continue;
        int rc = fs_unlink(r->dir, p->segment->name, r->err);
        if (rc != FIRN_OK && rc != FIRN_NOT_FOUND)
            return rc;
        removed = true;
    }
    return removed ? fs_dir_sync(r->dir, r->err) : FIRN_OK;
}

/* A new segment behind everything, which follows `prev` (WAL_NOWHERE: nothing) at `end`. */
static int make_successor(wal_repair *r, size_t prev, uint64_t end, uint64_t seq_first,
                          uint64_t seq_next, uint32_t reason)
{
    const wal_scan *scan = r->scan;
    wal_made made = {
        .no = successor_no(scan),
        /* The floor may lie behind the end: what is below it has been given up, there or not. */
        .link = {.floor_seq = scan->floor_seq,
                 .life = scan->life,
                 .seq_first = wal_scan_behind_floor(scan, seq_first)},
        .seq_next = seq_next,
        .reason = reason,
    };
    if (prev != WAL_NOWHERE) {
        const wal_scanned *p = &scan->segments[prev];
        made.link.prev_no = p->segment->no;
        made.link.prev_end = end;
        made.link.prev_chain = wal_scan_chain_at(p, end);
    }
    int rc = wal_repair_make(r, &made);
    return rc == FIRN_OK ? remove_strays(r) : rc;
}

/* In a file of this recovery, or where there is no room for another. */
static int zero_from(wal_repair *r, const wal_scanned *p, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[4096];
    const wal_segment *s = p->segment;
    fs_file *file = NULL;
    int rc = fs_open(r->dir, s->name, FS_WRITE, &file, r->err);
    /* A file that was cut short gets its size back, or it would count as cut short again. */
    if (rc == FIRN_OK && p->short_file && p->seal != WAL_SEAL_CLOSE)
        rc = fs_allocate(file, s->bytes, r->err);
    for (uint64_t at = from; at < to && rc == FIRN_OK; at += sizeof zeros) {
        uint64_t left = to - at;
        rc = fs_write(file, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros, at, r->err);
    }
    if (rc == FIRN_OK)
        rc = fs_sync(file, r->err);
    fs_close(file);
    return rc;
}

int wal_repair_cut_off(wal_repair *r, const wal_scanned *p, uint64_t from)
{
    const wal_segment *s = p->segment;
    uint64_t to = wal_segment_used_end(s, from, s->base_bytes);
    int rc = wal_repair_save_range(r, p, from, to);
    if (rc == FIRN_OK)
        rc = wal_repair_saved(r);
    if (rc != FIRN_OK)
        return rc;
    if (!wal_repair_has_made(r, s->no)) {
        const wal_copy copy = {.end = from, .bytes = s->bytes};
        rc = wal_repair_copy(r, p, &copy, NULL);
        if (rc != FIRN_NO_SPACE || !r->tight)
            return rc;
    }
    return zero_from(r, p, from, to);
}

/* Where the log is cut: behind `keep` (WAL_NOWHERE: nothing is kept) at `offset`. */
static void cut_place(const wal_scan *scan, const wal_spot *spot, size_t *keep, uint64_t *offset)
{
    *keep = spot->segment;
    *offset = spot->offset;
    if (spot->what == WAL_SPOT_BETWEEN || spot->what == WAL_SPOT_LINK)
        *offset = *keep == WAL_NOWHERE ? 0 : scan->segments[*keep].segment->end;
}

static bool anything_behind(const wal_scan *scan, size_t keep, uint64_t offset)
{
    const wal_scanned *p = &scan->segments[keep];
    if (offset != p->segment->end || p->seal == WAL_SEAL_ROTATION)
        return true;
    for (size_t i = keep + 1; i < scan->count; i++) {
        wal_part part = scan->segments[i].part;
        if (part == WAL_PART_LIVE || part == WAL_PART_HEADLESS || part == WAL_PART_WRONG)
            return true;
    }
    return false;
}

/* Has the rest of a segment that is kept to stay where it is? */
static bool stays(const wal_repair *r, const wal_scanned *p, uint64_t offset)
{
    const wal_segment *s = p->segment;
    return r->tight && wal_segment_used_end(s, offset, s->base_bytes) - offset > TIGHT_COPY_BYTES;
}

/* Everything that will be superseded goes to lost/. */
static int save_behind(wal_repair *r, size_t keep, uint64_t offset)
{
    const wal_scan *scan = r->scan;
    int rc = FIRN_OK;
    if (keep != WAL_NOWHERE && !stays(r, &scan->segments[keep], offset)) {
        const wal_scanned *p = &scan->segments[keep];
        uint64_t to = wal_segment_used_end(p->segment, 0, p->limit);
        rc = wal_repair_save_range(r, p, offset, to);
    }
    for (size_t i = keep == WAL_NOWHERE ? 0 : keep + 1; i < scan->count && rc == FIRN_OK; i++) {
        if (wal_repair_worth_saving(&scan->segments[i]))
            rc = wal_repair_save_file(r, &scan->segments[i]);
    }
    return rc == FIRN_OK ? wal_repair_saved(r) : rc;
}

/* The bytes behind the cut are saved and superseded: their blocks can go. */
static int shorten(wal_repair *r, const wal_scanned *p, uint64_t offset)
{
    fs_file *file;
    int rc = fs_open(r->dir, p->segment->name, FS_WRITE, &file, r->err);
    if (rc != FIRN_OK)
        return rc;
    if (wal_page_up(offset) < p->file_bytes)
        rc = fs_truncate(file, wal_page_up(offset), r->err);
    fs_close(file);
    return rc;
}

int wal_repair_cut(wal_repair *r, const wal_spot *spot, uint32_t reason)
{
    const wal_scan *scan = r->scan;
    size_t keep;
    uint64_t offset;
    cut_place(scan, spot, &keep, &offset);
    bool left = keep != WAL_NOWHERE && stays(r, &scan->segments[keep], offset);
    /* What proves that there was more would prove it again, in front of another end. */
    bool claimed = spot->kind != FIRN_WAL_TORN;
    if (keep != WAL_NOWHERE && !left && !claimed && !anything_behind(scan, keep, offset))
        return wal_repair_cut_off(r, &scan->segments[keep], offset);

    int rc = save_behind(r, keep, offset);
    if (rc == FIRN_OK)
        rc = make_successor(r, keep, offset, spot->seq_first, r->max_seen_seq + 1, reason);
    if (rc == FIRN_OK && keep != WAL_NOWHERE && !left)
        rc = shorten(r, &scan->segments[keep], offset);
    return rc;
}
