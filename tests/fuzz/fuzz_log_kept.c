/* fuzz_log_kept: see fuzz_log_kept.h.
 *
 * What counts: every intact frame with numbers above the floor, in a segment that belongs to the log;
 * every range of one that the scan found torn or lost; and all of a file under a segment's name that
 * is another log's, or headless or out of order and missed. What does not: files that a truncation
 * or an interrupted recovery had given up, and bytes that are zero anyway.
 */
#include "fuzz_log_kept.h"

#include <string.h>
#include <wal/build_log.h>

/* ---- Before ---- */

static void add_range(fuzz_kept *k, uint64_t no, uint64_t offset, uint64_t end)
{
    if (offset >= end)
        return;
    if (k->count == k->capacity) {
        k->capacity = k->capacity ? k->capacity * 2 : 64;
        k->ranges = realloc(k->ranges, k->capacity * sizeof k->ranges[0]);
        FUZZ_CHECK(k->ranges != NULL);
    }
    k->ranges[k->count++] = (fuzz_range){no, offset, end};
}

static int add_frame(void *ctx, wal_segment *s, uint64_t offset, const wal_frame *f)
{
    fuzz_kept *k = ctx;
    if (f->count > 0 && f->seq_first + f->count - 1 > k->floor_seq)
        add_range(k, s->no, offset, offset + wal_frame_size(f->payload_bytes));
    return 0;
}

static const wal_scanned *segment_named(const wal_scan *scan, const char *name)
{
    uint64_t no = 0;
    if (!wal_name_parse(name, &no))
        return NULL;
    for (size_t i = 0; i < scan->count; i++)
        if (scan->segments[i].segment->no == no)
            return &scan->segments[i];
    return NULL;
}

/* Is what this file held truncated, or covered by the owner? */
static bool is_harmless(const wal_scan *scan, const wal_scanned *p)
{
    for (size_t i = 0; i < scan->report.count; i++)
        if (segment_named(scan, scan->report.findings[i].file) == p)
            return scan->report.findings[i].kind == FIRN_WAL_HARMLESS;
    return false;
}

/* Is it another log's, or another segment? */
static bool is_foreign(const wal_scan *scan, const wal_scanned *p)
{
    return p->part == WAL_PART_WRONG &&
           (p->header.segment_no != p->segment->no ||
            memcmp(p->header.store_id, scan->store_id, sizeof scan->store_id) != 0);
}

/* Files between two that belong to the log are judged together, in the name of the first. */
static void add_files(fuzz_kept *k, const wal_scan *scan)
{
    bool between = false, harmless = false;
    for (size_t i = 0; i < scan->count; i++) {
        const wal_scanned *p = &scan->segments[i];
        bool bad = p->part == WAL_PART_HEADLESS || p->part == WAL_PART_WRONG;
        if (bad && !between)
            harmless = is_harmless(scan, p);
        between = bad || (between && p->part != WAL_PART_LIVE);
        if (p->part == WAL_PART_LIVE)
            (void)wal_segment_walk(p->segment, p->segment->end, add_frame, k);
        else if (is_foreign(scan, p) || (bad && !harmless))
            add_range(k, p->segment->no, 0, p->file_bytes);
    }
}

void fuzz_kept_init(fuzz_kept *k, simfs *sim, const wal_scan *scan)
{
    memset(k, 0, sizeof *k);
    k->before = simfs_clone(sim);
    k->floor_seq = scan->floor_seq;
    add_files(k, scan);
    for (size_t i = 0; i < scan->report.count; i++) {
        const firn_wal_finding *f = &scan->report.findings[i];
        const wal_scanned *p = segment_named(scan, f->file);
        if (!p || f->offset < WAL_DATA_OFFSET || f->kind == FIRN_WAL_HARMLESS)
            continue;
        uint64_t end = f->offset + f->bytes;
        if (end > p->segment->base_bytes)
            end = p->segment->base_bytes;
        add_range(k, p->segment->no, f->offset, end);
    }
}

void fuzz_kept_release(fuzz_kept *k)
{
    simfs_free(k->before);
    free(k->ranges);
    memset(k, 0, sizeof *k);
}

/* ---- After ---- */

typedef struct search {
    simfs *after;
    const fuzz_range *range;
    const uint8_t *bytes; /* of the file before */
    uint8_t *found;       /* a byte of the range each */
} search;

static void mark(search *s, const uint8_t *data, size_t size, uint64_t data_offset)
{
    const fuzz_range *r = s->range;
    for (uint64_t at = r->offset; at < r->end; at++)
        if (at >= data_offset && at - data_offset < size && data[at - data_offset] == s->bytes[at])
            s->found[at - r->offset] = 1;
}

/* lost/<segment>-<offset>-<n> */
static int look_in_lost(void *ctx, const char *path, uint64_t size)
{
    search *s = ctx;
    unsigned long long no, offset, n;
    (void)size;
    if (sscanf(strrchr(path, '/') + 1, "%llu-%llu-%llu", &no, &offset, &n) == 3 &&
        no == s->range->segment_no) {
        size_t there;
        const uint8_t *data = simfs_peek(s->after, path, &there);
        mark(s, data, there, offset);
    }
    return 0;
}

static bool range_is_kept(const fuzz_kept *k, const fuzz_range *r, simfs *after)
{
    char path[64];
    size_t before_size, after_size = 0;
    const uint8_t *bytes = simfs_peek(k->before, log_path(r->segment_no, path), &before_size);
    const uint8_t *now = simfs_exists(after, path) ? simfs_peek(after, path, &after_size) : NULL;
    FUZZ_CHECK(r->end <= before_size);
    if (now && after_size >= r->end &&
        memcmp(now + r->offset, bytes + r->offset, r->end - r->offset) == 0)
        return true;
    search s = {
        .after = after,
        .range = r,
        .bytes = bytes,
        .found = calloc(1, r->end - r->offset),
    };
    FUZZ_CHECK(s.found != NULL);
    mark(&s, now, after_size, 0);
    simfs_each(after, LOG_FOLDER "/lost", look_in_lost, &s);
    uint64_t gone = r->offset;
    while (gone < r->end && (s.found[gone - r->offset] || bytes[gone] == 0))
        gone++;
    free(s.found);
    if (gone < r->end)
        fprintf(stderr, "%s: byte %llu of [%llu, %llu) is neither in its place nor in lost/\n",
                path, (unsigned long long)gone, (unsigned long long)r->offset,
                (unsigned long long)r->end);
    return gone == r->end;
}

/* ---- Files ---- */

typedef struct comparison {
    simfs *one, *other;
    bool all;        /* else only those that are not the log's */
    uint64_t new_no; /* a segment with this number or a greater one need not be in `other` */
    size_t made;     /* such segments */
} comparison;

/* What stood in the way: a folder under a segment's name with a file in it, or a file in the place of lost/. */
typedef struct moved {
    simfs *sim;
    char part[80]; /* of the path where it is now */
    const uint8_t *bytes;
    size_t size;
} moved;

static int find_moved(void *ctx, const char *path, uint64_t size)
{
    const moved *m = ctx;
    size_t n = 0;
    return size == m->size && strstr(path, m->part) &&
           memcmp(simfs_peek(m->sim, path, &n), m->bytes, m->size) == 0;
}

static bool was_moved(simfs *after, const char *path, const uint8_t *bytes, size_t size)
{
    moved m = {.sim = after, .bytes = bytes, .size = size};
    const char *inside = strstr(path, ".wal/inside");
    if (inside)
        snprintf(m.part, sizeof m.part, "/lost/%.*s-", 12 + 4, inside - 12);
    else if (strcmp(path, LOG_FOLDER "/lost") == 0)
        snprintf(m.part, sizeof m.part, "/lost-");
    return m.part[0] && simfs_each(after, LOG_FOLDER, find_moved, &m) != 0;
}

/* Non-zero: they differ. */
static int compare_file(void *ctx, const char *path, uint64_t size)
{
    comparison *c = ctx;
    uint64_t no = 0;
    (void)size;
    if (c->new_no != 0 && wal_name_parse(strrchr(path, '/') + 1, &no) && no >= c->new_no &&
        !simfs_exists(c->other, path)) {
        c->made++;
        return 0;
    }
    if (!c->all && wal_owns_name(strrchr(path, '/') + 1))
        return 0;
    size_t a_size = 0, b_size = 0;
    const uint8_t *a = simfs_peek(c->one, path, &a_size);
    if (!c->all && was_moved(c->other, path, a, a_size))
        return 0; /* a folder may have the name now */
    const uint8_t *b = simfs_exists(c->other, path) ? simfs_peek(c->other, path, &b_size) : NULL;
    size_t at = 0;
    while (at < a_size && at < b_size && a[at] == b[at])
        at++;
    bool same = b && at == a_size && at == b_size;
    if (!same)
        fprintf(stderr, "%s, %zu bytes, is another file (%zu bytes) from offset %zu on\n", path,
                a_size, b_size, at);
    return same ? 0 : 1;
}

static int count_file(void *ctx, const char *path, uint64_t size)
{
    (void)path;
    (void)size;
    (*(uint64_t *)ctx)++;
    return 0;
}

bool fuzz_no_other_files(simfs *before, simfs *after, uint64_t new_no, size_t *made)
{
    comparison c = {.one = after, .other = before, .all = true, .new_no = new_no};
    bool none = simfs_each(after, "", compare_file, &c) == 0;
    *made = c.made;
    return none;
}

bool fuzz_same_files(simfs *before, simfs *after)
{
    uint64_t files_before = 0, files_after = 0;
    size_t made;
    simfs_each(before, "", count_file, &files_before);
    simfs_each(after, "", count_file, &files_after);
    return files_before == files_after && fuzz_no_other_files(before, after, 0, &made);
}

bool fuzz_is_kept(const fuzz_kept *k, simfs *after)
{
    for (size_t i = 0; i < k->count; i++)
        if (!range_is_kept(k, &k->ranges[i], after))
            return false;
    comparison c = {.one = k->before, .other = after};
    return simfs_each(k->before, "", compare_file, &c) == 0;
}
