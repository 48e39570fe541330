/* salvage: keep what is behind damage (README.md, "Recovery").
 *
 * Every proven loss gets a SKIP in its place, so that numbers are dense again and the next open is
 * clean; the bytes that were there go to lost/ first. Each step can be interrupted: what was not
 * replaced is found again. A loss with nothing intact behind it is cut, as PREFIX does it.
 *
 * Simpler rules, and the test that forbids each:
 *   - Cut a loss at the end with the SKIP of a torn tail. Later replays would not hear of it, a gap
 *     without a word (P3): a_loss_at_the_end_is_cut_and_told_to_every_later_replay.
 *   - Leave the SEAL of a rotation where it is. No reader looks behind it, so the SKIP would not
 *     count: a_loss_behind_the_seal_of_a_rotation_can_be_salvaged.
 *   - Replace a LINK, and nothing else. What a cut gave up would come back (P2):
 *     what_a_cut_gave_up_stays_away_when_its_link_is_salvaged. Numbers that it jumps over would be
 *     missed for ever: numbers_that_a_link_jumps_over_are_skipped. Truncated ones would be shown
 *     again: the_floor_that_only_a_contradicting_link_knows_is_kept.
 *   - Save all that lies behind the end that a LINK names. In a segment that was used before it may
 *     be the rest of the file, and the disk may have no room for it: stale_behind.
 *   - Hold a segment with a SKIP, or a stand-in, against the next LINK. That intact LINK would be
 *     given up, too: what_was_salvaged_is_not_held_against_the_next_link.
 *   - Believe where a LINK says that a stand-in ends. The segment that it named may have been
 *     shorter: several_segments_have_one_stand_in.
 */
#include "repair.h"

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

/* Are the bytes behind the end those of an earlier use? Then the writer's mark stands in front of
 * them, and no frame among them passes. */
static bool stale_behind(const wal_scanned *p)
{
    const wal_segment *s = p->segment;
    if (s->end >= s->base_bytes)
        return true;
    uint64_t left = s->base_bytes - s->end;
    uint64_t mark = left < WAL_FRAME_BYTES ? left : WAL_FRAME_BYTES;
    wal_cursor c = {.base = s->base,
                    .limit = s->base_bytes,
                    .used_end = s->used_end,
                    .salt = s->salt,
                    .offset = s->end};
    return (p->header.optional & WAL_OPTIONAL_RECYCLED) != 0 &&
           wal_segment_used_end(s, s->end, s->end + mark) == s->end &&
           wal_cursor_next(&c) == FIRN_END;
}

/* How a segment's file is written anew, beside what fills the place of the loss. */
typedef struct renewal {
    bool grown;       /* gets the size back that its header promises */
    uint64_t remnant; /* what stands behind its last intact frame, up to here, goes; 0: it stays */
} renewal;

/* A file that was cut short gets its size back when its end is repaired, or it would count as cut
 * short again. Not before, since its size may be all that proves that loss. What stands behind its
 * last intact frame goes then: the zeros that come back must not make a frame of it.
 *
 * Where a stand-in ends, the next LINK is believed as long as their chains agree (knows_end in
 * scan.c), which is over once something is replaced: so what that LINK cut off goes, too. */
static renewal renew(const wal_repair *r, const wal_scanned *p, const wal_filling *filling)
{
    const wal_segment *s = p->segment;
    renewal n = {.grown = p->short_file && filling->end > s->end};
    bool cut = p->stands_in && p->limit_known && !stale_behind(p) && !wal_repair_has_made(r, s->no);
    uint64_t used = n.grown || cut ? wal_segment_used_end(s, s->end, s->base_bytes) : s->end;
    if (used > s->end)
        n.remnant = used;
    return n;
}

/* In a file of this recovery, or where there is no room for another. */
static int fill_in_place(wal_repair *r, const wal_scanned *p, const renewal *n,
                         const wal_filling *filling)
{
    fs_file *file;
    int rc = fs_open(r->dir, p->segment->name, FS_WRITE, &file, r->err);
    if (rc != FIRN_OK)
        return rc;
    if (n->remnant) {
        rc = wal_repair_zero(file, p->segment->end, n->remnant, r->err);
        if (rc == FIRN_OK)
            rc = fs_sync(file, r->err);
    }
    if (rc == FIRN_OK && filling)
        rc = wal_repair_fill(r, file, p, filling);
    if (rc == FIRN_OK)
        rc = fs_sync(file, r->err);
    if (rc == FIRN_OK && n->grown)
        rc = fs_allocate(file, p->segment->bytes, r->err);
    if (rc == FIRN_OK && n->grown)
        rc = fs_sync(file, r->err);
    fs_close(file);
    return rc;
}

/* Puts what takes the place of damaged bytes there, which have been saved; without room for a
 * frame, nothing. */
static int fill(wal_repair *r, const wal_scanned *p, const wal_filling *filling)
{
    const wal_segment *s = p->segment;
    const renewal n = renew(r, p, filling);
    if (n.remnant > filling->end || (n.remnant && filling->offset > s->end)) {
        int rc = wal_repair_save_range(r, p, s->end, n.remnant);
        if (rc == FIRN_OK)
            rc = wal_repair_saved(r);
        if (rc != FIRN_OK)
            return rc;
    }
    if (filling->end - filling->offset < WAL_FRAME_BYTES)
        filling = NULL;
    if (!wal_repair_has_made(r, s->no) || n.grown) {
        const wal_copy copy = {
            .end = n.remnant ? s->end : wal_segment_used_end(s, 0, s->base_bytes),
            .bytes = s->bytes,
            .size = p->short_file && !n.grown ? s->base_bytes : 0,
            .filling = filling,
        };
        int rc = wal_repair_copy(r, p, &copy, NULL);
        if (rc != FIRN_NO_SPACE || !r->tight)
            return rc;
    }
    return fill_in_place(r, p, &n, filling);
}

static int salvage_range(wal_repair *r, const wal_spot *spot)
{
    const wal_scanned *p = &r->scan->segments[spot->segment];
    uint64_t bytes = p->segment->bytes;
    uint64_t offset = spot->offset;
    uint64_t end = (spot->end + 7) & ~UINT64_C(7);
    if (end > bytes)
        end = bytes;
    /* Behind the SEAL of a rotation no reader would find it: the SEAL has to go, too. */
    if (offset == p->segment->end && p->seal == WAL_SEAL_ROTATION)
        offset -= wal_frame_size(WAL_SEAL_BYTES);
    if (spot->seq_next > spot->seq_first && end < offset + WAL_FRAME_BYTES)
        return cannot(r, spot, "there is no room for the record that says so");
    int rc = wal_repair_save_range(r, p, offset, end);
    if (rc == FIRN_OK)
        rc = wal_repair_saved(r);
    if (rc != FIRN_OK)
        return rc;
    const wal_filling filling = {
        .offset = offset,
        .end = end,
        .seq_first = spot->seq_first,
        .seq_next = spot->seq_next,
    };
    return fill(r, p, &filling);
}

/* The LINK of this segment may be all that says where a recovery cut the log: that the files before
 * it are given up (they have been saved), and where the segment before those ends. Without it they
 * would be taken for the log again. */
static int carry_out_link(wal_repair *r, const wal_spot *spot)
{
    const wal_scan *scan = r->scan;
    int rc = FIRN_OK;
    bool removed = false;
    for (size_t i = spot->follower; i-- > 0 && scan->segments[i].part == WAL_PART_SUPERSEDED;) {
        rc = fs_remove(r->dir, scan->segments[i].segment->name, r->err);
        if (rc != FIRN_OK)
            return rc;
        removed = true;
    }
    rc = removed ? fs_dir_sync(r->dir, r->err) : FIRN_OK;
    if (rc != FIRN_OK || spot->segment == WAL_NOWHERE)
        return rc;
    const wal_scanned *prev = &scan->segments[spot->segment];
    if (stale_behind(prev))
        return FIRN_OK;
    return wal_repair_cut_off(r, prev, prev->segment->end);
}

/* A frame that is intact but at odds with others makes room for a SKIP: a SEAL or a LINK, which
 * stands inside a segment too. A LINK may be all that knows the floor, so a FLOOR stands in its
 * place as well: what has been truncated must not be shown again, nor be missed. */
static int salvage_frame(wal_repair *r, const wal_spot *spot, size_t index)
{
    const wal_scanned *p = &r->scan->segments[index];
    if (spot->end == spot->offset)
        return cannot(r, spot, "there is no room for the record that says so");
    int rc = wal_repair_save_range(r, p, spot->offset, spot->end);
    if (rc == FIRN_OK)
        rc = wal_repair_saved(r);
    if (rc == FIRN_OK && spot->what == WAL_SPOT_LINK)
        rc = carry_out_link(r, spot);
    if (rc != FIRN_OK)
        return rc;
    wal_filling filling = {
        .offset = spot->offset,
        .end = spot->end,
        .seq_first = spot->seq_first,
        .seq_next = spot->seq_next,
    };
    bool is_link =
        spot->end - spot->offset >= wal_frame_size(WAL_LINK_BYTES); /* a SEAL is shorter */
    if (is_link && r->scan->floor_seq < spot->seq_next)
        filling.floor_seq = r->scan->floor_seq;
    if (spot->what == WAL_SPOT_LINK && p->stands_in)
        filling.flags = WAL_SKIP_STAND_IN;
    return fill(r, p, &filling);
}

/* The files between two live segments, or in front of the first, give way to one small segment. */
static int salvage_between(wal_repair *r, const wal_spot *spot)
{
    const wal_scan *scan = r->scan;
    int rc = FIRN_OK;
    size_t from = spot->segment == WAL_NOWHERE ? 0 : spot->segment + 1;
    for (size_t i = from; i < spot->follower && rc == FIRN_OK; i++) {
        if (wal_repair_worth_saving(&scan->segments[i]))
            rc = wal_repair_save_file(r, &scan->segments[i]);
    }
    if (rc == FIRN_OK)
        rc = wal_repair_saved(r);
    if (rc != FIRN_OK)
        return rc;

    const wal_scanned *prev = spot->segment == WAL_NOWHERE ? NULL : &scan->segments[spot->segment];
    const wal_scanned *next = &scan->segments[spot->follower];
    uint64_t no = next->linked ? next->link.prev_no : next->segment->no - 1;
    if (no == 0 || (prev && no <= prev->segment->no))
        return cannot(r, spot, "no segment number is free in front of the next one");
    wal_made made = {
        .no = no,
        /* One of the files may be all that knows the floor, which may lie behind them. */
        .link = {.floor_seq = scan->floor_seq,
                 .life = scan->life,
                 .seq_first = wal_scan_behind_floor(scan, spot->seq_first),
                 .stand_in = true},
        .seq_next = spot->seq_next,
        .reason = WAL_SKIP_LOST,
        .sealed = true,
    };
    if (prev) {
        made.link.prev_no = prev->segment->no;
        made.link.prev_end = prev->segment->end;
        made.link.prev_chain = prev->segment->chain;
    }
    return wal_repair_make(r, &made);
}

/* Spot `at` is the end of a short file, other losses of which have just been repaired: it gets its
 * size back in one step with all of it, so the file is read again first. What is behind it waits,
 * too: how the log ends may be all that proves this loss. */
static bool must_be_read_again(const wal_scan *scan, size_t at)
{
    const wal_spot *spot = &scan->spots[at];
    const wal_scanned *p = &scan->segments[spot->segment];
    bool again = false;
    for (size_t i = 0; i < at && !again; i++) {
        const wal_spot *other = &scan->spots[i];
        size_t changed = other->what == WAL_SPOT_LINK ? other->follower : other->segment;
        again = other->kind != FIRN_WAL_HARMLESS && changed == spot->segment;
    }
    return again && p->short_file && spot->end > p->segment->end;
}

/* Is the loss at the end of the log? */
static bool nothing_behind(const wal_scan *scan, const wal_spot *spot)
{
    return spot->follower == WAL_NOWHERE &&
           (spot->what == WAL_SPOT_BETWEEN ||
            spot->offset == scan->segments[spot->segment].segment->end);
}

int wal_repair_salvage(wal_repair *r)
{
    const wal_scan *scan = r->scan;
    int rc = FIRN_OK;
    for (size_t i = 0; i < scan->spot_count && rc == FIRN_OK; i++) {
        const wal_spot *spot = &scan->spots[i];
        if (spot->kind == FIRN_WAL_HARMLESS)
            continue;
        if (spot->kind == FIRN_WAL_TORN)
            break; /* what follows is cut */
        if (nothing_behind(scan, spot))
            return wal_repair_cut(r, spot, WAL_SKIP_LOST);
        switch (spot->what) {
        case WAL_SPOT_RANGE:
            if (must_be_read_again(scan, i))
                return FIRN_OK;
            rc = salvage_range(r, spot);
            break;
        case WAL_SPOT_BETWEEN:
            rc = salvage_between(r, spot);
            break;
        case WAL_SPOT_SEAL:
            rc = salvage_frame(r, spot, spot->segment);
            break;
        case WAL_SPOT_LINK:
            rc = salvage_frame(r, spot, spot->follower);
            break;
        case WAL_SPOT_HEADER:
            break;
        }
    }
    return rc;
}
