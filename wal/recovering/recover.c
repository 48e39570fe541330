/* recover: scan the log, judge it by a policy, repair it, and hand it over (README.md,
 * "Recovery").
 *
 * The order of steps, each of which may be the last one before a crash:
 *   1  scan; refuse what the policy does not allow                           nothing is written
 *   2  save what will be overwritten or given up to lost/, sync it           cut.c, salvage.c
 *   3  cut, or mark losses with SKIPs; scan again from 1
 *   4  carry what is not proven durable into new files; sync the folder       make_durable
 *   5  remove what truncation, an interrupted recovery or a helper left      remove_leftovers
 *      move what does no harm and does not belong to the log to lost/        set_aside
 *   6  sync the folder
 *   7  grow the last segment, zero the stale bytes behind its end            make_appendable
 * 4 comes before 5, because the FLOOR or LINK that allows the removal may have been in the page
 * cache only. What the owner's note allows to remove needs the note to be durable: the owner sees
 * to that.
 *
 * Start reading at wal_recover.
 */
#include "repair.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>
#include <base/grow.h>
#include <base/look.h>
#include <stdio.h>
#include <string.h>

/* One repair finds at most what the one before it uncovered. */
#define ROUNDS_MAX 16

/* A segment with less room than this is not gone on with: a LINK, a SKIP, and some use. */
#define ROOM_MIN (WAL_TAIL_RESERVE + 256)

/* How often a read-only opener beside a busy writer tries to see one state. */
#define LOOKS_MAX 50

static bool may_write(const wal_config *config)
{
    return !config->options.read_only && config->options.recovery != FIRN_RECOVERY_INSPECT;
}

/* ---- Refusing ---- */

static const firn_wal_finding *worst_finding(const wal_scan *scan, firn_recovery policy)
{
    const firn_wal_finding *any = NULL;
    for (size_t i = 0; i < scan->report.count; i++) {
        const firn_wal_finding *f = &scan->report.findings[i];
        if (f->kind != FIRN_WAL_TORN && f->kind != FIRN_WAL_HARMLESS)
            return f;
        if (!any)
            any = f;
    }
    return policy == FIRN_RECOVERY_STRICT ? any : NULL;
}

/* The finding for which the policy does not open, or NULL. */
static const firn_wal_finding *objection(const wal_scan *scan, firn_recovery policy)
{
    switch (policy) {
    case FIRN_RECOVERY_TAIL:
    case FIRN_RECOVERY_STRICT:
        return worst_finding(scan, policy);
    case FIRN_RECOVERY_PREFIX:
    case FIRN_RECOVERY_SALVAGE:
    case FIRN_RECOVERY_INSPECT:
        break;
    }
    return NULL;
}

/* ---- Repairing ---- */

/* One step. *changed: scan again. */
static int repair(wal_repair *r, bool *changed)
{
    firn_recovery policy = r->config->options.recovery;
    const wal_spot *cut = wal_scan_cut(r->scan, policy);
    *changed = true;
    for (size_t i = 0; policy == FIRN_RECOVERY_SALVAGE && i < r->scan->spot_count; i++) {
        const wal_spot *spot = &r->scan->spots[i];
        if (spot == cut) /* what is lost behind it is cut, too */
            break;
        if (spot->kind != FIRN_WAL_HARMLESS)
            return wal_repair_salvage(r);
    }
    if (cut)
        return wal_repair_cut(r, cut, WAL_SKIP_SEEN);
    *changed = false;
    return FIRN_OK;
}

/* The live segment that comes last, or WAL_NOWHERE. */
static size_t last_live(const wal_scan *scan)
{
    for (size_t i = scan->count; i-- > 0;)
        if (scan->segments[i].part == WAL_PART_LIVE)
            return i;
    return WAL_NOWHERE;
}

/* The made-ahead segment that must be kept, or WAL_NOWHERE: its absence would be a proof of loss,
 * because the one before it was sealed for it, or because it is the first of all and not the only
 * one. */
static size_t reused(const wal_scan *scan)
{
    size_t last = last_live(scan);
    if (last != WAL_NOWHERE && scan->segments[last].seal != WAL_SEAL_ROTATION)
        return WAL_NOWHERE;
    for (size_t i = last == WAL_NOWHERE ? 0 : last + 1; i < scan->count; i++)
        if (scan->segments[i].part == WAL_PART_UNUSED)
            return i;
    return WAL_NOWHERE;
}

/* Does a segment of the log say how far it is truncated? Else the truncated ones stay, of which one
 * does, until the LINK of the next append has said it. */
static bool floor_stays(const wal_scan *scan)
{
    bool stays = scan->floor_seq == 0;
    for (size_t i = 0; i < scan->count && !stays; i++)
        stays = scan->segments[i].part == WAL_PART_LIVE &&
                scan->segments[i].floor_seq == scan->floor_seq;
    return stays;
}

typedef struct leftovers {
    uint64_t covered_no;
    char (*names)[WAL_NAME_BYTES];
    size_t count, capacity;
    bool no_memory;
} leftovers;

/* Temporary files, and segments that the owner does not need. */
static int collect_leftover(void *ctx, const char *name)
{
    leftovers *l = ctx;
    uint64_t no;
    if (!wal_name_is_temporary(name) && (!wal_name_parse(name, &no) || no > l->covered_no))
        return 0;
    if (array_grow(&l->names, &l->capacity, l->count, sizeof l->names[0], NULL) != FIRN_OK) {
        l->no_memory = true;
        return 1;
    }
    snprintf(l->names[l->count++], WAL_NAME_BYTES, "%s", name);
    return 0;
}

static int remove_one(wal_repair *r, const char *name, bool *removed)
{
    int rc = fs_remove(r->dir, name, r->err);
    if (rc == FIRN_OK)
        *removed = true;
    return rc;
}

static int remove_leftovers(wal_repair *r)
{
    const wal_scan *scan = r->scan;
    leftovers found = {.covered_no = scan->covered_no};
    bool removed = false;
    int rc = fs_dir_list(r->dir, collect_leftover, &found, r->err);
    if (found.no_memory)
        rc = error_no_memory(r->err);
    for (size_t i = 0; i < found.count && rc == FIRN_OK; i++)
        rc = remove_one(r, found.names[i], &removed);
    heap_free(found.names);

    size_t keep = reused(scan);
    bool truncated_go = floor_stays(scan);
    for (size_t i = 0; i < scan->count && rc == FIRN_OK; i++) {
        wal_part part = scan->segments[i].part;
        if ((part == WAL_PART_TRUNCATED && truncated_go) || part == WAL_PART_SUPERSEDED ||
            (part == WAL_PART_UNUSED && i != keep))
            rc = remove_one(r, scan->segments[i].segment->name, &removed);
    }
    if (rc == FIRN_OK && removed)
        rc = fs_dir_sync(r->dir, r->err);
    return rc;
}

/* Files under a segment's name that are none of the log's, and that the log does not miss. Left
 * where they are, they might be taken for its oldest segments when those have been truncated. */
static int set_aside(wal_repair *r)
{
    bool removed = false;
    int rc = FIRN_OK;
    for (size_t i = 0; i < r->scan->count && rc == FIRN_OK; i++) {
        const wal_scanned *p = &r->scan->segments[i];
        if (p->part != WAL_PART_HEADLESS && p->part != WAL_PART_WRONG)
            continue;
        rc = wal_repair_save_file(r, p);
        if (rc == FIRN_NO_SPACE) { /* not worth failing for: another time */
            error_clear(r->err);
            return FIRN_OK;
        }
        if (rc == FIRN_OK)
            rc = wal_repair_saved(r);
        if (rc == FIRN_OK)
            rc = remove_one(r, p->segment->name, &removed);
    }
    if (rc == FIRN_OK && removed)
        rc = fs_dir_sync(r->dir, r->err);
    return rc;
}

/* ---- Handing over ---- */

/* What was read may have been in the page cache only: it goes into new files. */
static int make_durable(wal_repair *r, size_t last, bool mapped)
{
    int rc = wal_repair_carry(r, last, mapped);
    return rc == FIRN_OK ? fs_dir_sync(r->dir, r->err) : rc;
}

/* Zeroes what an earlier use of the file, or frames that never became whole, left behind the end:
 * new frames will be written between such bytes, and must not make one of them look intact. */
static int zero_behind(wal_segment *s, uint64_t limit, firn_error *err)
{
    static const uint8_t zeros[WAL_PAGE_BYTES];
    uint64_t to = wal_segment_used_end(s, s->end, limit);
    if (to == s->end)
        return FIRN_OK;
    for (uint64_t at = s->end; at < to;) {
        uint64_t next = (at & ~(uint64_t)(WAL_PAGE_BYTES - 1)) + WAL_PAGE_BYTES;
        if (next > to)
            next = to;
        if (wal_used_end(s->base, at, next) != at) {
            int rc = fs_write(s->file, zeros, (size_t)(next - at), at, err);
            if (rc != FIRN_OK)
                return rc;
            if (!s->mapped)
                memset(s->base + at, 0, (size_t)(next - at));
        }
        at = next;
    }
    return fs_sync(s->file, err);
}

/* Can the log go on in this segment? */
static bool has_room(const wal_repair *r, const wal_recovered_log *out, const wal_scanned *last)
{
    const wal_segment *s = last->segment;
    /* W1: where the floor lies behind the end, the LINK of a new segment says where numbers go
     * on. */
    return last->seal != WAL_SEAL_ROTATION && s->bytes - s->end >= ROOM_MIN &&
           out->last_seq <= r->scan->last_seq;
}

static int make_appendable(wal_repair *r, wal_recovered_log *out, const wal_scanned *last,
                           bool mapped)
{
    wal_segment *s = last->segment;
    if (!has_room(r, out, last))
        return FIRN_OK;
    if (s->shared) /* what is appended would show under the other name, too */
        return FIRN_OK;
    uint64_t used = s->base_bytes;
    bool grown = true;
    /* First: a file of full size is not taken for one that was closed in order, should we fail
     * behind it. */
    int rc = used < s->bytes ? wal_segment_regrow(s, mapped, &grown, r->err) : FIRN_OK;
    /* Closed with less, and no room on the disk: the next append needs a new one, when there is
     * room. */
    if (rc == FIRN_OK && !grown)
        return FIRN_OK;
    if (rc == FIRN_OK && !s->ours)
        rc = zero_behind(s, used, r->err);
    out->append_to_last = rc == FIRN_OK;
    out->last_is_worn = !s->ours && !wal_repair_closed(last);
    return rc;
}

/* Moves the references of what is kept from the scan to `out`. `cut` limits what is seen of a log
 * that may not be written to. */
static int take_segments(wal_scan *scan, const wal_spot *cut, size_t reuse, wal_recovered_log *out,
                         firn_error *err)
{
    if (scan->count == 0)
        return FIRN_OK;
    out->segments = heap_zalloc(scan->count * sizeof out->segments[0]);
    if (!out->segments)
        return error_no_memory(err);
    for (size_t i = 0; i < scan->count; i++) {
        wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE && i != reuse)
            continue;
        bool beyond = cut && (cut->segment == WAL_NOWHERE || i > cut->segment);
        if (beyond)
            break;
        wal_segment_ref(p->segment);
        out->segments[out->count++] = p->segment;
        if (i == reuse) {
            p->segment->seq_first = scan->last_seq + 1;
            p->segment->seq_last = scan->last_seq;
        }
        if (cut && i == cut->segment &&
            (cut->what == WAL_SPOT_RANGE || cut->what == WAL_SPOT_SEAL)) {
            p->segment->end = cut->offset;
            atomic_store_explicit(&p->segment->visible_end, cut->offset, memory_order_relaxed);
            p->segment->seq_last = cut->seq_first - 1;
        }
    }
    return FIRN_OK;
}

static void fill_in(const wal_repair *r, const wal_spot *cut, wal_recovered_log *out)
{
    const wal_scan *scan = r->scan;
    uint64_t covered_seq = r->config->covered_seq;
    out->next_segment_no = wal_scan_next_no(scan);
    out->last_seq = cut ? cut->seq_first - 1 : scan->last_seq;
    if (out->last_seq < scan->floor_seq)
        out->last_seq = scan->floor_seq;
    out->skip_to_seq = r->max_seen_seq;
    if (out->skip_to_seq < covered_seq)
        out->skip_to_seq = covered_seq;
    if (out->skip_to_seq < out->last_seq)
        out->skip_to_seq = out->last_seq;
    out->durable_seq = out->last_seq;
    out->floor_seq = scan->floor_seq;
    out->life = scan->life;
    memcpy(out->store_id, scan->store_id, sizeof out->store_id);
    size_t last = last_live(scan);
    if (last != WAL_NOWHERE) {
        const wal_segment *s = scan->segments[last].segment;
        out->prev_no = s->no;
        out->prev_end = s->end;
        out->prev_chain = s->chain;
    }
}

/* W10: can what was seen behind the end be skipped? */
static int check_skip(const wal_repair *r, const wal_recovered_log *log)
{
    if (log->skip_to_seq - log->last_seq <= WAL_SKIP_MAX)
        return FIRN_OK;
    error_file(r->err, FIRN_DAMAGED, r->dir->path, FIRN_NO_OFFSET,
               "the log ends at number %llu, but %llu has been given out: more than can be skipped",
               (unsigned long long)log->last_seq, (unsigned long long)log->skip_to_seq);
    error_hint(r->err, "restore from a backup; read_only shows what is there");
    return FIRN_DAMAGED;
}

/* Steps 4 to 7 and what the caller gets. */
static int hand_over(wal_repair *r, wal_scan *scan, bool mapped, bool write, wal_recovered_log *out)
{
    const wal_spot *cut = write ? NULL : wal_scan_cut(scan, r->config->options.recovery);
    size_t reuse = write ? reused(scan) : WAL_NOWHERE;
    size_t last = reuse != WAL_NOWHERE ? reuse : last_live(scan);
    int rc = FIRN_OK;
    fill_in(r, cut, out);
    if (write) {
        rc = check_skip(r, out);
        if (rc == FIRN_OK)
            rc = make_durable(r, last, mapped);
        if (rc == FIRN_OK)
            rc = remove_leftovers(r);
        if (rc == FIRN_OK)
            rc = set_aside(r);
    }
    if (write) /* unused ones behind it have been removed */
        out->next_segment_no =
            (last == WAL_NOWHERE ? scan->covered_no : scan->segments[last].segment->no) + 1;
    if (rc == FIRN_OK && write && last != WAL_NOWHERE)
        rc = make_appendable(r, out, &scan->segments[last], mapped);
    if (rc == FIRN_OK)
        rc = take_segments(scan, cut, reuse, out, r->err);
    return rc;
}

/* ---- All of it ---- */

/* The owner makes durable what it has said of itself, before anything is built on it. Looking at
 * the log may have taken long: is the folder still ours? */
static int accept(const wal_repair *r)
{
    const wal_config *c = r->config;
    int held = fs_dir_held(r->dir, c->lock, r->err);
    if (held != FIRN_OK)
        return held;
    return c->accepted ? c->accepted(c->accepted_ctx, r->err) : FIRN_OK;
}

/* Scans and repairs until there is nothing left to repair. The first scan's report is the one that
 * counts. */
static int settle(wal_repair *r, const wal_scan_options *o, bool write, wal_scan *scan,
                  firn_wal_report *report)
{
    firn_recovery policy = r->config->options.recovery;
    for (int round = 0;; round++) {
        int rc = wal_scan_folder(r->dir, o, scan, r->err);
        if (rc != FIRN_OK)
            return rc;
        if (r->max_seen_seq < scan->max_seen_seq)
            r->max_seen_seq = scan->max_seen_seq;
        const firn_wal_finding *bad = objection(scan, policy);
        if (!bad && round == ROUNDS_MAX)
            bad = &scan->report.findings[0];
        if (bad)
            rc = wal_report_refuse(r->dir, bad, policy, r->err);
        if (rc == FIRN_OK && write && round == 0)
            rc = accept(r);
        bool accepted = rc == FIRN_OK, changed = false;
        uint64_t cut_before = r->cut_bytes;
        if (rc == FIRN_OK && write)
            rc = repair(r, &changed);
        if (rc == FIRN_NO_SPACE && accepted && !r->tight && wal_reserve_spend(r->dir)) {
            r->tight = true;
            r->cut_bytes = cut_before;
            changed = true; /* whatever the attempt has left: it is found by the next scan */
            rc = FIRN_OK;
        }
        if (round == 0) {
            *report = scan->report;
            scan->report = (firn_wal_report){0};
        }
        if (rc != FIRN_OK || !changed)
            return rc;
        report->closed_clean = false; /* what is handed over has lost, or may have lost, its seal */
        wal_scan_release(scan);
    }
}

static void tell_aside(void *ctx, const char *name, const char *what, const char *moved)
{
    const wal_config *config = ctx;
    char line[256];
    if (!config->options.log)
        return;
    snprintf(line, sizeof line, "recovery: %s is %s, no segment: moved to %s", name, what, moved);
    config->options.log(config->options.log_ctx, FIRN_LOG_WARNING, line);
}

/* With a policy that saves what it can, something that is no file is moved out of the way. */
static int set_odd_aside(wal_repair *r)
{
    firn_recovery policy = r->config->options.recovery;
    if (policy != FIRN_RECOVERY_PREFIX && policy != FIRN_RECOVERY_SALVAGE)
        return FIRN_OK;
    return lost_set_odd_aside(&r->lost, wal_owns_name, tell_aside, (void *)(uintptr_t)r->config,
                              r->err);
}

static int recover_once(fs_dir *dir, const wal_config *config, bool mapped, wal_recovered_log *out,
                        firn_wal_report *report, firn_error *err)
{
    bool write = may_write(config);
    wal_scan_options o = {
        .writable = write,
        .mapped = mapped,
        .store_id = config->store_id,
        .covered_seq = config->covered_seq,
        .covered_no = config->covered_no,
    };
    wal_scan scan = {0};
    wal_repair r = {
        .dir = dir, .lost = {.store = dir}, .config = config, .scan = &scan, .err = err};
    wal_recovered_log log = {0};

    int rc = write ? set_odd_aside(&r) : FIRN_OK;
    if (rc == FIRN_OK)
        rc = settle(&r, &o, write, &scan, report);
    if (rc == FIRN_OK)
        rc = hand_over(&r, &scan, mapped, write, &log);
    report->cut_bytes = r.cut_bytes;
    lost_close(&r.lost);
    heap_free(r.made);
    wal_scan_release(&scan);
    if (rc == FIRN_OK)
        *out = log;
    else
        wal_recovered_log_release(&log);
    return rc;
}

static bool finds_more_than_harmless(const firn_wal_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->findings[i].kind != FIRN_WAL_HARMLESS)
            return true;
    return false;
}

static bool same_findings(const firn_wal_report *a, const firn_wal_report *b)
{
    bool same = a->count == b->count && a->seq_last == b->seq_last;
    for (size_t i = 0; same && i < a->count; i++) {
        const firn_wal_finding *x = &a->findings[i], *y = &b->findings[i];
        same = x->kind == y->kind && x->offset == y->offset && x->bytes == y->bytes &&
               x->seq_first == y->seq_first && x->seq_last == y->seq_last &&
               strcmp(x->file, y->file) == 0;
    }
    return same;
}

/* Reading while another process writes. Segments are listed, then copied in their order; one that
 * is sealed when it is listed is copied whole, so what fits together is the log as it was at some
 * moment since. What does not fit, while segments came or went, means nothing: *again. Nor does it
 * when the next look finds something else: a page was copied before a write, and the next one
 * behind it. `*report` is what the look before found; becomes what this one finds. */
static int look_once(folder_look *l, const wal_config *config, wal_recovered_log *out,
                     firn_wal_report *report, bool *again, firn_error *err)
{
    firn_wal_report last = *report;
    firn_wal_report_init(report);
    *again = false;
    int rc = look_begin(l, err);
    if (rc != FIRN_OK) {
        firn_wal_report_release(&last);
        return rc;
    }
    rc = recover_once(l->dir, config, false, out, report, err);
    bool found = finds_more_than_harmless(report);
    *again = ((rc != FIRN_OK || found) && look_again(l)) ||
             (found && !same_findings(report, &last) && look_may(l));
    firn_wal_report_release(&last);
    return rc;
}

int wal_recover(fs_dir *dir, const wal_config *config, bool mapped, wal_recovered_log *out,
                firn_wal_report *report, firn_error *err)
{
    firn_wal_report found;
    firn_wal_report_init(&found);
    int rc = FIRN_OK;
    if (may_write(config)) {
        rc = recover_once(dir, config, mapped, out, &found, err);
    } else {
        bool again = false;
        firn_error error = {0};
        folder_look l = {.dir = dir, .fingerprint = fs_dir_fingerprint, .most = LOOKS_MAX};
        do {
            if (again && rc == FIRN_OK)
                wal_recovered_log_release(out);
            rc = look_once(&l, config, out, &found, &again, &error);
        } while (again);
        if (rc != FIRN_OK && err)
            *err = error;
    }
    if (report)
        *report = found;
    else
        firn_wal_report_release(&found);
    return rc;
}

void wal_recovered_log_release(wal_recovered_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        wal_segment_unref(log->segments[i]);
    heap_free(log->segments);
    memset(log, 0, sizeof *log);
}
