/* judge: put the segments that were read one behind the other, and judge what does not fit
 * (README.md, "Telling a torn tail from loss").
 *
 * A place that does not fit has numbers [first, next) that are missing there. It is
 *   harmless   when none is missing, or all that are have been truncated or are covered by the
 * owner; lost       when some frame says that the log was durable beyond `first`, or when the place
 * itself is a proof (a file that had been synced is gone, short, headless or another one); torn
 * otherwise.
 *
 * Start reading at wal_scan_judge.
 */
#include "scan.h"

#include <base/alloc.h>
#include <base/coding.h>
#include <base/error.h>
#include <base/grow.h>
#include <stdio.h>
#include <string.h>

/* The walk along the log. */
typedef struct judge {
    wal_scan *scan;
    size_t gap;        /* next one in scan->gaps */
    size_t prev;       /* the live segment before, or WAL_NOWHERE */
    uint64_t expected; /* the number that comes next */
    uint64_t covered;  /* the first number, when the owner has what is before it; else 0 */
    bool closed_short; /* a clean close has synced everything, but its seal is not there */
    size_t bad;        /* first headless or wrong file behind prev, or WAL_NOWHERE */
    firn_error *err;
} judge;

static bool recycled(const wal_scanned *p)
{
    return (p->header.optional & WAL_OPTIONAL_RECYCLED) != 0;
}

/* Does a NOTE of this segment's present use stand there? */
static bool is_note(const wal_scanned *p, uint64_t offset)
{
    wal_frame f;
    return offset >= p->segment->end && p->limit - offset >= WAL_FRAME_BYTES &&
           wal_frame_decode(p->segment->base + offset, p->limit - offset, p->segment->salt, offset,
                            &f) == WAL_FRAME_OK &&
           f.type == WAL_NOTE;
}

/* Returns the offset just after the last byte behind the segment's end that is not zero, or the end
 * when there is none. NOTEs do not count, nor do stale bytes of an earlier use behind the zeros
 * that mark the end, or behind the NOTE. */
static uint64_t tail_end(const wal_scanned *p)
{
    const wal_segment *s = p->segment;
    if (s->end >= p->limit)
        return s->end;
    uint64_t left = p->limit - s->end;
    uint64_t mark = left < WAL_FRAME_BYTES ? left : WAL_FRAME_BYTES;
    if (recycled(p) && wal_segment_used_end(s, s->end, s->end + mark) == s->end)
        return s->end;
    uint64_t limit = recycled(p) && p->note_at != 0 ? p->note_at : p->limit;
    uint64_t end = wal_segment_used_end(s, s->end, limit);
    while (end > s->end && is_note(p, (end - 1) / WAL_SECTOR_BYTES * WAL_SECTOR_BYTES))
        end = wal_segment_used_end(s, s->end, (end - 1) / WAL_SECTOR_BYTES * WAL_SECTOR_BYTES);
    return end;
}

static bool first_copy_ok(const wal_scanned *p)
{
    wal_header header;
    return wal_header_decode(p->segment->base, &header) == FIRN_OK;
}

/* ---- From a spot to a finding ---- */

static const char *spot_file(const wal_scan *scan, const wal_spot *spot, char name[WAL_NAME_BYTES])
{
    uint64_t no;
    if (spot->what == WAL_SPOT_LINK)
        no = scan->segments[spot->follower].segment->no;
    else if (spot->what != WAL_SPOT_BETWEEN)
        no = scan->segments[spot->segment].segment->no;
    else if (spot->bad != WAL_NOWHERE)
        no = scan->segments[spot->bad].segment->no;
    else if (spot->follower == WAL_NOWHERE)
        no = spot->segment == WAL_NOWHERE ? scan->covered_no + 1
                                          : scan->segments[spot->segment].segment->no + 1;
    else if (scan->segments[spot->follower].linked)
        no = scan->segments[spot->follower].link.prev_no;
    else
        no = scan->segments[spot->follower].segment->no - 1;
    if (no == 0)
        no = 1;
    wal_name_format(no, name);
    return name;
}

static int add_spot(judge *j, wal_spot spot, const char *proof)
{
    wal_scan *scan = j->scan;
    int rc = array_grow(&scan->spots, &scan->spot_capacity, scan->spot_count, sizeof spot, j->err);
    if (rc != FIRN_OK)
        return rc;
    scan->spots[scan->spot_count++] = spot;

    firn_wal_finding finding = {
        .kind = spot.kind,
        .offset = spot.offset,
        .bytes = spot.end - spot.offset,
        .may_be_durable = spot.may_be_durable,
    };
    char name[WAL_NAME_BYTES];
    snprintf(finding.file, sizeof finding.file, "%s", spot_file(scan, &spot, name));
    snprintf(finding.proof, sizeof finding.proof, "%s", proof);
    if (spot.seq_next > spot.seq_first) {
        finding.seq_first = spot.seq_first;
        finding.seq_last = spot.seq_next - 1;
    }
    if (spot.kind == FIRN_WAL_TORN)
        scan->torn = true;
    else if (spot.kind == FIRN_WAL_HARMLESS)
        scan->harmless = true;
    else
        scan->lost = true;
    return wal_report_add(&scan->report, &finding, j->err);
}

/* The first number whose absence means anything: the ones before it are truncated, or the owner has
 * them. */
static uint64_t first_that_counts(const wal_scan *scan, uint64_t seq)
{
    seq = wal_scan_behind_floor(scan, seq);
    if (seq <= scan->covered_seq)
        seq = scan->covered_seq + 1;
    return seq;
}

/* The bytes at this torn spot: may a sync of them have been acknowledged? A syncer says what it
 * will cover before it starts, in a NOTE behind the frames. So those that no NOTE tells of were
 * not: unless the NOTE is gone, too, or the log is one of a version that wrote none. */
static bool may_be_durable(const wal_scan *scan, const wal_spot *spot, uint64_t first)
{
    return scan->intent_seq >= first || spot->segment == WAL_NOWHERE ||
           scan->segments[spot->segment].note_at == 0;
}

static void describe_torn(wal_scan *scan, wal_spot *spot, uint64_t first, char *text, size_t size)
{
    spot->kind = FIRN_WAL_TORN;
    spot->may_be_durable = may_be_durable(scan, spot, first);
    uint64_t seen = scan->max_seen_seq > scan->intent_seq ? scan->max_seen_seq : scan->intent_seq;
    if (seen >= spot->seq_first)
        spot->seq_next = seen + 1;
    if (!spot->may_be_durable)
        snprintf(text, size, "no sync of these bytes was ever started");
    else if (scan->intent_seq >= first)
        snprintf(text, size,
                 "a sync of the numbers up to %llu was started, and nothing says whether it ended",
                 (unsigned long long)scan->intent_seq);
    else
        snprintf(text, size, "nothing says whether these bytes were ever synced");
}

/* Judges a spot: `proven` is its kind when it is a proof in itself (with the reason in `proof`),
 * else 0. */
static int judge_spot(judge *j, wal_spot spot, firn_wal_finding_kind proven, const char *proof)
{
    wal_scan *scan = j->scan;
    char text[160];
    uint64_t first = first_that_counts(scan, spot.seq_first);
    bool unknown = spot.seq_next == 0;
    bool missing = !unknown && spot.seq_next > first;
    bool covered = !unknown && !missing && (first > spot.seq_first || j->covered == first);

    if (covered || (!proven && !unknown && !missing)) {
        spot.kind = FIRN_WAL_HARMLESS;
        snprintf(text, sizeof text, "%s",
                 covered ? "what is missing has been truncated, or is kept elsewhere"
                         : "no number is missing");
    } else if (proven) {
        spot.kind = proven;
        snprintf(text, sizeof text, "%s", proof);
    } else if (j->closed_short) {
        spot.kind = FIRN_WAL_LOST;
        snprintf(text, sizeof text,
                 "the log was closed clean, but its last file does not end with the seal");
    } else if (scan->durable_seq >= first) {
        char name[WAL_NAME_BYTES];
        wal_name_format(scan->durable_no, name);
        spot.kind = FIRN_WAL_LOST;
        if (unknown)
            spot.seq_next = scan->durable_seq + 1;
        snprintf(text, sizeof text, "%s at offset %llu says that the log was durable up to %llu",
                 name, (unsigned long long)scan->durable_offset,
                 (unsigned long long)scan->durable_seq);
    } else {
        if (scan->torn)
            return FIRN_OK; /* behind a torn spot, and cut with it */
        describe_torn(scan, &spot, first, text, sizeof text);
    }
    return add_spot(j, spot, text);
}

/* ---- From one segment to the next ---- */

/* In front of everything, a file under a segment's name does no harm, whatever it is, when an
 * intact frame behind it shows that no number is missing there. */
static bool misses_nothing(const judge *j, size_t follower)
{
    if (j->prev != WAL_NOWHERE || follower == WAL_NOWHERE)
        return false;
    uint64_t seq = j->scan->segments[follower].seq_first;
    return seq != 0 && seq <= j->expected;
}

/* Files that must be there, or are not what they should be, between prev and `follower`. */
static int judge_between(judge *j, size_t follower, uint64_t next)
{
    wal_scan *scan = j->scan;
    wal_spot spot = {
        .what = WAL_SPOT_BETWEEN,
        .segment = j->prev,
        .follower = follower,
        .bad = j->bad,
        .seq_first = j->expected,
        .seq_next = next,
    };
    if (j->bad == WAL_NOWHERE)
        return judge_spot(j, spot, FIRN_WAL_MISSING_SEGMENT,
                          "a segment's file is synced before the log goes on behind it");
    const wal_scanned *bad = &scan->segments[j->bad];
    spot.end = bad->file_bytes;
    j->bad = WAL_NOWHERE;
    bool harmless = misses_nothing(j, follower);
    if (bad->part == WAL_PART_HEADLESS)
        return judge_spot(
            j, spot, harmless ? 0 : FIRN_WAL_LOST,
            "both copies of the segment's header are damaged; it is synced before use");
    const char *why = "it starts in the middle of what the segment before it holds";
    if (bad->header.segment_no != bad->segment->no)
        why = "its header says that it is another segment";
    else if (memcmp(bad->header.store_id, scan->store_id, sizeof scan->store_id) != 0)
        why = "its header says that it belongs to another log";
    return judge_spot(j, spot, harmless ? 0 : FIRN_WAL_WRONG_SEGMENT, why);
}

/* What stands at the end of prev, whose end the LINK of `index` knows. */
static int judge_seam(judge *j, size_t index)
{
    const wal_scanned *prev = &j->scan->segments[j->prev];
    const wal_scanned *p = &j->scan->segments[index];
    wal_spot spot = {
        .what = WAL_SPOT_RANGE,
        .segment = j->prev,
        .follower = index,
        .offset = prev->segment->end,
        .end = p->link.prev_end,
        .seq_first = j->expected,
        .seq_next = p->seq_first,
    };
    if (prev->salvaged && p->seq_first == j->expected)
        return FIRN_OK;
    if (prev->segment->end < p->link.prev_end && !prev->stands_in) {
        bool cut = prev->short_file && prev->file_bytes < p->link.prev_end;
        return judge_spot(j, spot, cut ? FIRN_WAL_LOST : 0, "the file was cut short");
    }
    if (p->seq_first == j->expected && prev->segment->end == p->link.prev_end &&
        (!prev->chain_known || prev->segment->chain == p->link.prev_chain))
        return FIRN_OK;
    spot.what = WAL_SPOT_LINK;
    spot.offset = WAL_DATA_OFFSET;
    spot.end = WAL_DATA_OFFSET + wal_frame_size(WAL_LINK_BYTES);
    return judge_spot(j, spot, FIRN_WAL_LOST,
                      "its LINK knows a segment before it that differs from the one that is there");
}

static int judge_join(judge *j, size_t index)
{
    wal_scan *scan = j->scan;
    const wal_scanned *p = &scan->segments[index];
    /* Without an intact first frame, what is missing is found missing in front of the first one. */
    uint64_t next = p->head_ok ? p->seq_first : j->expected;
    bool missing;
    if (j->prev == WAL_NOWHERE)
        missing = next > first_that_counts(scan, j->expected);
    else if (p->linked)
        missing = p->link.prev_no != scan->segments[j->prev].segment->no;
    else
        missing = p->segment->no != scan->segments[j->prev].segment->no + 1;
    if (missing || j->bad != WAL_NOWHERE)
        return judge_between(j, index, next);
    if (j->prev == WAL_NOWHERE)
        return FIRN_OK;
    if (p->linked)
        return judge_seam(j, index);
    if (next != j->expected) /* an intact first frame that is no LINK */
        return judge_spot(j,
                          (wal_spot){.what = WAL_SPOT_LINK,
                                     .segment = j->prev,
                                     .follower = index,
                                     .offset = WAL_DATA_OFFSET,
                                     .end = WAL_DATA_OFFSET,
                                     .seq_first = j->expected,
                                     .seq_next = next},
                          0, "");
    return FIRN_OK;
}

static int judge_inside(judge *j, size_t index)
{
    wal_scan *scan = j->scan;
    const wal_scanned *p = &scan->segments[index];
    int rc = FIRN_OK;
    while (j->gap < scan->gap_count && scan->gaps[j->gap].segment < index)
        j->gap++;
    for (; j->gap < scan->gap_count && scan->gaps[j->gap].segment == index; j->gap++) {
        const wal_gap *gap = &scan->gaps[j->gap];
        wal_spot spot = {
            .what = gap->seal ? WAL_SPOT_SEAL : WAL_SPOT_RANGE,
            .segment = index,
            .follower = WAL_NOWHERE,
            .offset = gap->offset,
            .end = gap->end,
            .seq_first = gap->expected ? gap->expected : j->expected,
            .seq_next = gap->next,
        };
        rc = judge_spot(j, spot, gap->seal ? FIRN_WAL_LOST : 0,
                        "the running checksum disagrees with the frames before it");
        if (rc != FIRN_OK)
            return rc;
    }
    if (p->copies_ok == 1) {
        uint64_t copy = first_copy_ok(p) ? WAL_HEADER_COPY_OFFSET : 0;
        rc = judge_spot(j,
                        (wal_spot){.what = WAL_SPOT_HEADER,
                                   .segment = index,
                                   .follower = WAL_NOWHERE,
                                   .offset = copy,
                                   .end = copy + WAL_HEADER_BYTES,
                                   .seq_first = j->expected,
                                   .seq_next = j->expected},
                        0, "");
    }
    return rc;
}

/* Does this segment start before the one in front of it ends? Then it is not what its name says.
 * The first frame that is intact tells, wherever it stands: numbers ascend. */
static bool out_of_order(const judge *j, const wal_scanned *p)
{
    return j->prev != WAL_NOWHERE && p->seq_first != 0 && p->seq_first < j->expected;
}

static int judge_live(judge *j, size_t index)
{
    wal_scanned *p = &j->scan->segments[index];
    if (out_of_order(j, p)) {
        p->part = WAL_PART_WRONG;
        if (j->bad == WAL_NOWHERE)
            j->bad = index;
        return FIRN_OK;
    }
    int rc = judge_join(j, index);
    if (rc != FIRN_OK)
        return rc;
    if (p->head_ok)
        j->expected = p->seq_first;
    rc = judge_inside(j, index);
    if (p->seq_first != 0) {
        j->expected = p->seq_next;
    } else {
        p->segment->seq_first = j->expected;
        p->segment->seq_last = j->expected - 1;
    }
    j->prev = index;
    return rc;
}

/* ---- The end of the log ---- */

/* Is segment `no` there, made ahead and never used? */
static bool is_made_ahead(const wal_scan *scan, uint64_t no)
{
    for (size_t i = 0; i < scan->count; i++)
        if (scan->segments[i].part == WAL_PART_UNUSED && scan->segments[i].segment->no == no)
            return true;
    return false;
}

/* Does a NOTE tell of numbers that are not there, though nothing but zeros stands where they should
 * be? */
static bool more_was_written(const judge *j)
{
    uint64_t first = first_that_counts(j->scan, j->expected);
    return j->scan->durable_seq >= first || j->scan->intent_seq >= first;
}

static int judge_tail(judge *j)
{
    wal_scan *scan = j->scan;
    const wal_scanned *p = &scan->segments[j->prev];
    uint64_t end = tail_end(p);
    wal_spot spot = {
        .what = WAL_SPOT_RANGE,
        .segment = j->prev,
        .follower = WAL_NOWHERE,
        .offset = p->segment->end,
        .end = end,
        .seq_first = j->expected,
        .seq_next = 0,
    };
    if (p->seal == WAL_SEAL_ROTATION) {
        /* The next segment is made, and synced, before the seal is written. */
        if (is_made_ahead(scan, p->segment->no + 1))
            return FIRN_OK;
        return judge_between(j, WAL_NOWHERE, 0);
    }
    if (j->closed_short)
        return judge_spot(
            j, spot, FIRN_WAL_LOST,
            "the file was cut short, and does not end with the seal of a clean close");
    if (end > p->segment->end || more_was_written(j))
        return judge_spot(j, spot, 0, "");
    scan->report.closed_clean = p->seal == WAL_SEAL_CLOSE;
    return FIRN_OK;
}

/* A made-ahead segment may have got a first group that did not survive. */
static int judge_unused(judge *j, size_t index)
{
    const wal_scanned *p = &j->scan->segments[index];
    uint64_t end = tail_end(p);
    if (j->scan->intent_seq < p->note_intent)
        j->scan->intent_seq = p->note_intent;
    if (end == p->segment->end && (p->note_at == 0 || !more_was_written(j)))
        return FIRN_OK;
    return judge_spot(j,
                      (wal_spot){.what = WAL_SPOT_RANGE,
                                 .segment = index,
                                 .follower = WAL_NOWHERE,
                                 .offset = p->segment->end,
                                 .end = end,
                                 .seq_first = j->expected},
                      0, "");
}

static int judge_end(judge *j)
{
    wal_scan *scan = j->scan;
    int rc = FIRN_OK;
    if (j->bad != WAL_NOWHERE)
        rc = judge_between(j, WAL_NOWHERE, 0);
    else if (j->prev != WAL_NOWHERE)
        rc = judge_tail(j);
    else if ((scan->count > 0 || scan->covered_no > 0) &&
             !is_made_ahead(scan, scan->covered_no + 1))
        rc =
            judge_between(j, WAL_NOWHERE, 0); /* a segment is durable before it is relied on (W3) */
    for (size_t i = 0; i < scan->count && rc == FIRN_OK; i++)
        if (scan->segments[i].part == WAL_PART_UNUSED)
            rc = judge_unused(j, i);
    return rc;
}

/* Only a clean close makes a file shorter than its header says, and it syncs a seal first. */
static bool is_closed_short(const wal_scan *scan)
{
    for (size_t i = scan->count; i-- > 0;) {
        const wal_scanned *p = &scan->segments[i];
        if (p->part == WAL_PART_LIVE)
            return p->short_file && p->seal != WAL_SEAL_CLOSE;
    }
    return false;
}

/* ---- What is intact ---- */

typedef struct recount {
    wal_scanned *counted;
    uint64_t floor_seq;
} recount;

static int recount_frame(void *ctx, wal_segment *s, uint64_t offset, const wal_frame *f)
{
    recount *r = ctx;
    (void)s;
    (void)offset;
    if (f->type == WAL_DATA)
        wal_scanned_count(r->counted, f, r->floor_seq);
    return 0;
}

/* What is intact and not truncated. Only the segment that the floor lies in is read once more. */
static void sum_up(wal_scan *scan)
{
    firn_wal_report *report = &scan->report;
    for (size_t i = 0; i < scan->count; i++) {
        wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE)
            continue;
        if (p->seq_first <= scan->floor_seq) {
            recount r = {.counted = p, .floor_seq = scan->floor_seq};
            p->operations = p->operation_first = p->operation_last = 0;
            wal_segment_walk(p->segment, p->segment->end, recount_frame, &r);
        }
        report->segments++;
        report->frames += p->frames;
        report->bytes += p->frame_bytes;
        report->operations += p->operations;
        if (report->seq_first == 0)
            report->seq_first = p->operation_first;
        if (p->operation_last != 0)
            report->seq_last = p->operation_last;
    }
    report->floor_seq = scan->floor_seq;
    report->durable_seq = report->closed_clean ? scan->last_seq : scan->durable_seq;
}

/* Where numbers begin when no frame says so: the owner has what is before it. */
static uint64_t first_number(const wal_scan *scan)
{
    uint64_t floor = scan->floor_seq, first = first_that_counts(scan, floor + 1);
    for (size_t i = 0; i < scan->count; i++) {
        const wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE)
            continue;
        if (p->seq_first != 0 && p->seq_first < first)
            return p->seq_first > floor ? p->seq_first : floor + 1;
        break;
    }
    return first;
}

int wal_scan_judge(wal_scan *scan, firn_error *err)
{
    uint64_t first = first_number(scan);
    judge j = {
        .scan = scan,
        .prev = WAL_NOWHERE,
        .expected = first,
        .covered = first > scan->floor_seq + 1 ? first : 0,
        .closed_short = is_closed_short(scan),
        .bad = WAL_NOWHERE,
        .err = err,
    };
    int rc = FIRN_OK;
    for (size_t i = 0; i < scan->count && rc == FIRN_OK; i++) {
        wal_part part = scan->segments[i].part;
        if (part == WAL_PART_LIVE)
            rc = judge_live(&j, i);
        else if ((part == WAL_PART_HEADLESS || part == WAL_PART_WRONG) && j.bad == WAL_NOWHERE)
            j.bad = i;
    }
    if (rc == FIRN_OK)
        rc = judge_end(&j);
    scan->last_seq = j.expected - 1;
    if (rc == FIRN_OK)
        sum_up(scan);
    return rc;
}

const wal_spot *wal_scan_cut(const wal_scan *scan, firn_recovery policy)
{
    for (size_t i = 0; i < scan->spot_count; i++) {
        const wal_spot *spot = &scan->spots[i];
        if (spot->kind == FIRN_WAL_TORN)
            return spot;
        if (spot->kind != FIRN_WAL_HARMLESS && policy == FIRN_RECOVERY_PREFIX)
            return spot;
    }
    return NULL;
}
