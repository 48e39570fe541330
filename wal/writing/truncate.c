/* truncate: giving up what the owner keeps elsewhere (README.md, W7), and saying that it does.
 *
 * A truncation happens in steps, and a crash between any two of them loses nothing above the floor:
 *     find the floor         the end of the last batch that lies wholly <= the number asked for
 *     FLOOR frame, synced    from here on no reader is shown anything <= the floor
 *     segments leave the list, oldest first: those that hold nothing above the floor and lie
 *                            before the FLOOR
 *     their files are removed, or kept as spares under a temporary name; the folder is synced
 *
 * Only segments before the one with the FLOOR go: the FLOOR itself must stay until a newer one is
 * durable, or a hole where the first segments were could not be told from loss.
 *
 * An owner that notes durably by itself what it covers, by operation and by segment, needs neither
 * sync (wal_give_up), nor that FLOOR: what a power cut brings back is not looked at.
 *
 * Locks: truncating for the whole of it, m for moments.
 */
#include <base/error.h>
#include <segments/cursor.h>
#include <string.h>

#include "log.h"

/* ---- Where the floor can be ---- */

typedef struct floor_search {
    uint64_t upto;
    uint64_t floor;
} floor_search;

/* Stops at the frame that holds `upto`. */
static int look_for_floor(void *ctx, wal_segment *s, uint64_t offset, const wal_frame *f)
{
    (void)s;
    (void)offset;
    floor_search *search = ctx;
    if (f->count == 0 || f->seq_first + f->count - 1 < search->upto)
        return FIRN_OK;
    /* Between two frames there is only what a salvage found lost: no batch to keep whole. */
    if (f->seq_first <= search->upto && f->seq_first + f->count - 1 > search->upto)
        search->floor = f->seq_first - 1;
    return FIRN_END;
}

/* The segment that holds `seq`, with a reference; NULL when its last number is just `seq`. */
static wal_segment *segment_inside(wal *w, uint64_t seq, uint64_t last_seq)
{
    wal_segment *found = NULL;
    mutex_lock(&w->log_mu);
    for (size_t i = 0; i < w->live_count; i++) {
        wal_segment *s = w->live[i];
        /* seq_last of the current segment belongs to the leader. */
        uint64_t seq_last = i + 1 < w->live_count ? s->seq_last : last_seq;
        if (seq_last < seq)
            continue;
        if (seq_last > seq) {
            wal_segment_ref(s);
            found = s;
        }
        break;
    }
    mutex_unlock(&w->log_mu);
    return found;
}

static uint64_t find_floor(wal *w, uint64_t upto, uint64_t last_seq)
{
    floor_search search = {.upto = upto, .floor = upto};
    wal_segment *s = segment_inside(w, upto, last_seq);
    if (s) {
        uint64_t end = atomic_load_explicit(&s->visible_end, memory_order_acquire);
        (void)wal_segment_walk(s, end, look_for_floor, &search); /* FIRN_END is how it stops */
        wal_segment_unref(s);
    }
    return search.floor;
}

/* ---- Removing ---- */

/* Takes the oldest segment out of the list, if it may go. */
static wal_segment *take_oldest(wal *w, uint64_t floor, uint64_t before_no)
{
    wal_segment *s = NULL;
    mutex_lock(&w->log_mu);
    if (w->live_count > 1 && w->live[0]->no < before_no && w->live[0]->seq_last <= floor) {
        s = w->live[0];
        w->live_count--;
        memmove(w->live, w->live + 1, w->live_count * sizeof(wal_segment *));
    }
    mutex_unlock(&w->log_mu);
    return s;
}

/* Goes on after a failure: a file that stays is removed by the next opening. */
static int remove_segments(wal *w, uint64_t floor, uint64_t before_no, bool *any, firn_error *err)
{
    int rc = FIRN_OK;
    *any = false;
    for (wal_segment *s; (s = take_oldest(w, floor, before_no)) != NULL; *any = true) {
        firn_error error;
        int one = wal_segment_give_up(w, s, &error);
        if (one != FIRN_OK && rc == FIRN_OK) {
            rc = one;
            if (err)
                *err = error;
        }
    }
    return rc;
}

static int truncate_to(wal *w, uint64_t upto, firn_error *err)
{
    uint64_t floor = atomic_load_explicit(&w->floor_seq, memory_order_acquire);
    uint64_t last_seq = firn_wal_last_seq(w);
    if (upto > last_seq) {
        int rc =
            error_set(err, FIRN_INVALID, "cannot truncate up to %llu: the newest number is %llu",
                      (unsigned long long)upto, (unsigned long long)last_seq);
        error_hint(err, "truncate up to a number that the log has given out");
        return rc;
    }
    if (upto <= floor)
        return FIRN_OK;
    int held = wal_check_held(w, err);
    if (held != FIRN_OK)
        return held;
    uint64_t target = find_floor(w, upto, last_seq);
    if (target <= floor)
        return FIRN_OK;
    wal_request r = {.type = WAL_REQUEST_FLOOR, .argument = target, .durable = true, .err = err};
    int rc = wal_submit(w, &r);
    if (rc != FIRN_OK)
        return rc;
    atomic_store_explicit(&w->floor_seq, target, memory_order_release);
    bool any;
    rc = remove_segments(w, target, r.segment_no, &any, err);
    return any && rc == FIRN_OK ? fs_dir_sync(w->dir, err) : rc;
}

static int give_up(wal *w, uint64_t covered_seq, uint64_t covered_no, firn_error *err)
{
    wal_request r = {.type = WAL_REQUEST_FLOOR, .argument = covered_seq, .err = err};
    bool any;
    int rc = wal_check_held(w, err);
    if (rc != FIRN_OK)
        return rc;
    if (covered_seq > atomic_load_explicit(&w->floor_seq, memory_order_relaxed)) {
        rc = wal_submit(w, &r);
        if (rc != FIRN_OK)
            return rc;
        atomic_store_explicit(&w->floor_seq, covered_seq, memory_order_release);
    }
    return remove_segments(w, covered_seq, covered_no + 1, &any, err);
}

/* ---- Public ---- */

int firn_wal_truncate(firn_wal *log, uint64_t upto_seq, uint64_t *floor_seq, firn_error *error)
{
    int rc = wal_check_writable(log, error);
    if (rc != FIRN_OK)
        return rc;
    firn_error found;
    mutex_lock(&log->truncating);
    rc = error_give(error, truncate_to(log, upto_seq, &found), &found);
    if (rc == FIRN_OK && floor_seq)
        *floor_seq = atomic_load_explicit(&log->floor_seq, memory_order_relaxed);
    mutex_unlock(&log->truncating);
    return rc;
}

int wal_give_up(wal *w, uint64_t covered_seq, uint64_t covered_no, firn_error *err)
{
    int rc = wal_check_writable(w, err);
    if (rc != FIRN_OK)
        return rc;
    mutex_lock(&w->truncating);
    rc = give_up(w, covered_seq, covered_no, err);
    mutex_unlock(&w->truncating);
    return rc;
}

/* What the owner keeps elsewhere, durably, needs no sync here: those pages are on their way out,
 * and writing them to the disk first would double what a flush writes. A crash may then tear these
 * segments, and recovery finds that harmless, because the owner says again that it has their
 * operations (wal_config.covered_seq). */
static void spare_syncs(wal *w, uint64_t covered_seq)
{
    mutex_lock(&w->log_mu);
    for (size_t i = 0; i + 1 < w->live_count && w->live[i]->seq_last <= covered_seq; i++)
        w->live[i]->synced = true;
    mutex_unlock(&w->log_mu);
}

static int checkpoint(wal *w, uint64_t covered_seq, bool durable, uint64_t *seq, firn_error *err)
{
    wal_request r = {
        .type = WAL_REQUEST_CHECKPOINT, .argument = covered_seq, .durable = durable, .err = err};
    int rc = wal_submit(w, &r);
    if (rc == FIRN_OK && seq)
        *seq = r.seq_last;
    return rc;
}

int wal_checkpoint(wal *w, uint64_t covered_seq, uint64_t *seq, firn_error *err)
{
    int rc = wal_check_writable(w, err);
    if (rc != FIRN_OK)
        return rc;
    spare_syncs(w, covered_seq);
    return checkpoint(w, covered_seq, false, seq, err);
}

int firn_wal_checkpoint(firn_wal *log, uint64_t *seq, firn_error *error)
{
    int rc = wal_check_writable(log, error);
    /* Everything before the CHECKPOINT itself, whatever its number will be. */
    return rc == FIRN_OK ? checkpoint(log, UINT64_MAX, true, seq, error) : rc;
}
