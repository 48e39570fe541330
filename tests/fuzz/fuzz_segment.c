/* fuzz_segment: the bytes of one segment: through a cursor, a walk, and a scan of a folder that holds
 * nothing else (segments/cursor.h).
 *
 * The first byte chooses:
 *   bit 0   the bytes behind the header are the input's; else they are built (fuzz_log_bytes.h)
 *   bit 1   their checksums are made right; bit 2: their numbers, too
 *   bit 3   the scan may write, and maps; bit 4: what the owner covers is given
 *
 * What must hold: a cursor gives exactly the frames that a slow reading of the rules gives, and
 * touches nothing behind its limit (guarded.h); a walk gives the same; a scan counts the same, its
 * gaps and findings stand in order and inside the file, and it changes nothing.
 */
#include <base/entry.h>
#include <string.h>
#include <support/guarded.h>

#include "fuzz_log_bytes.h"
#include "fuzz_memory.h"
#include "scan.h"

#define MEMORY_MAX ((size_t)4 << 20) /* that firn may hold for one input */

typedef struct bytes_of {
    const uint8_t *data;
    uint64_t size;
    uint64_t limit; /* no frame lies behind it */
    uint64_t salt;
} bytes_of;

/* ---- The rules, read slowly ---- */

/* wal/README.md, "Frame": FIRN_OK, FIRN_DAMAGED or FIRN_UNSUPPORTED. */
static int rules(const wal_frame *f, firn_slice payload)
{
    wal_link link;
    wal_seal seal;
    bool right = false;
    if (f->seq_first == 0 || f->seq_first > FIRN_MAX_SEQ + 1 || f->durable_seq >= f->seq_first ||
        f->seq_first - 1 + f->count > FIRN_MAX_SEQ)
        return FIRN_DAMAGED;
    if (f->type == WAL_DATA) {
        int rc = f->count == 0 ? FIRN_DAMAGED : entries_check(payload, f->count);
        return rc;
    }
    if (f->type == WAL_MARK)
        right = f->count == 0 && payload.size == 0;
    else if (f->type == WAL_CHECKPOINT)
        right = f->count == 1 && payload.size == 8;
    else if (f->type == WAL_LINK)
        right = f->count == 0 && wal_link_decode(payload, &link) == FIRN_OK &&
                link.seq_first <= f->seq_first && link.floor_seq < f->seq_first;
    else if (f->type == WAL_SEAL)
        right = f->count == 0 && wal_seal_decode(payload, &seal) == FIRN_OK;
    else if (f->type == WAL_SKIP)
        right = payload.size == 0 || payload.size >= 4;
    else if (f->type == WAL_FLOOR)
        right = f->count == 0 && payload.size == 8 && get_u64(payload.data) < f->seq_first;
    else if (f->type == WAL_RESTORE_POINT)
        right = f->count == 1;
    else if (f->type == WAL_NOTE)
        right = false; /* no frame */
    else
        return f->flags & WAL_FLAG_OPTIONAL ? FIRN_OK : FIRN_UNSUPPORTED;
    return right ? FIRN_OK : FIRN_DAMAGED;
}

/* What stands at `offset`: a verdict as of `rules`, the frame, and how far it reaches. */
static int judge(const bytes_of *b, uint64_t limit, uint64_t offset, wal_frame *f, uint64_t *next)
{
    *next = offset + 8;
    wal_verdict verdict = wal_frame_decode(b->data + offset, limit - offset, b->salt, offset, f);
    if (verdict == WAL_FRAME_OK || verdict == WAL_FRAME_BAD_PAYLOAD)
        *next = offset + wal_frame_size(f->payload_bytes);
    if (verdict != WAL_FRAME_OK)
        return FIRN_DAMAGED;
    return rules(f, (firn_slice){b->data + offset + WAL_FRAME_BYTES, f->payload_bytes});
}

/* May this frame stand behind damage? One of an unknown type, or with a number that is far
 * off, is taken for chance. */
static bool passes_behind_damage(const wal_frame *f, uint64_t expected)
{
    bool known = f->type >= WAL_DATA && f->type <= WAL_RESTORE_POINT && f->flags <= 1;
    bool near =
        expected == 0 || (f->seq_first >= expected && f->seq_first - expected <= UINT64_C(1) << 40);
    return known && near && f->seq_first <= FIRN_MAX_SEQ + 1 && f->durable_seq < f->seq_first;
}

/* wal_cursor_next without its shortcuts. */
static int slow_next(const bytes_of *b, wal_cursor *c)
{
    uint64_t offset = c->offset, next;
    if (offset > c->limit || c->limit - offset < WAL_FRAME_BYTES)
        return FIRN_END;
    int rc = judge(b, c->limit, offset, &c->frame, &next);
    if (rc == FIRN_OK && c->expected != 0 && c->frame.seq_first != c->expected)
        rc = FIRN_DAMAGED;
    while (rc == FIRN_DAMAGED) {
        offset = next;
        if (offset > c->limit || c->limit - offset < WAL_FRAME_BYTES)
            return FIRN_END;
        rc = judge(b, c->limit, offset, &c->frame, &next);
        if (!passes_behind_damage(&c->frame, c->expected)) {
            rc = FIRN_DAMAGED;
            next = offset + 8;
        }
    }
    if (rc == FIRN_OK) {
        c->gap_from = c->offset;
        c->at = offset;
        c->offset = next;
        c->expected = c->frame.seq_first + c->frame.count;
    }
    return rc;
}

/* ---- Cursor and walk ---- */

static void check_cursor(const bytes_of *b, uint64_t limit, uint64_t offset, uint64_t expected)
{
    wal_cursor fast = {
        .base = b->data, .limit = limit, .salt = b->salt, .offset = offset, .expected = expected};
    wal_cursor slow = fast;
    for (;;) {
        int rc = wal_cursor_next(&fast);
        FUZZ_CHECK(rc == slow_next(b, &slow));
        if (rc != FIRN_OK)
            break;
        FUZZ_CHECK(fast.at == slow.at && fast.gap_from == slow.gap_from);
        FUZZ_CHECK(fast.offset == slow.offset && fast.expected == slow.expected);
        FUZZ_CHECK(fast.frame.seq_first == slow.frame.seq_first &&
                   fast.frame.type == slow.frame.type);
        FUZZ_CHECK(fast.offset <= limit && fast.at >= fast.gap_from);
    }
}

/* The running checksum, as far as it is known (wal/README.md). */
typedef struct running {
    uint64_t value, frames;
    bool unknown;
} running;

typedef struct walked {
    const bytes_of *of;
    uint64_t frames, operations, end;
    uint64_t stop_at; /* frames */
    running chain;
    bool sealed;
} walked;

/* Is it a SEAL of a rotation that agrees with what stands before it? Nothing follows that. */
static bool chain_ends(running *c, const wal_frame *f, firn_slice payload, bool gap, bool first)
{
    wal_seal seal;
    wal_link link;
    bool ends = false;
    c->unknown = c->unknown || gap;
    if (f->type == WAL_SEAL && wal_seal_decode(payload, &seal) == FIRN_OK) {
        bool agrees = c->unknown || (seal.chain == c->value && seal.frames == c->frames);
        ends = agrees && seal.kind == WAL_SEAL_ROTATION;
        if (c->unknown)
            *c = (running){.value = seal.chain, .frames = seal.frames};
    } else if (f->type == WAL_LINK && !first && wal_link_decode(payload, &link) == FIRN_OK) {
        c->value = link.prev_chain;
        c->unknown = false;
    } else if (f->type == WAL_SKIP && (payload.size < 4 || get_u32(payload.data) == 2)) {
        c->unknown = true;
    }
    c->value = wal_chain_next(c->value, f->header_crc);
    c->frames++;
    return ends;
}

static int note_walked(void *ctx, wal_segment *s, uint64_t offset, const wal_frame *f)
{
    walked *w = ctx;
    (void)s;
    FUZZ_CHECK(offset >= w->end);
    firn_slice payload = {w->of->data + offset + WAL_FRAME_BYTES, f->payload_bytes};
    w->sealed = chain_ends(&w->chain, f, payload, offset != w->end, offset == WAL_DATA_OFFSET);
    w->end = offset + wal_frame_size(f->payload_bytes);
    FUZZ_CHECK(w->end <= w->of->size);
    w->frames++;
    if (f->type == WAL_DATA)
        w->operations += f->count;
    if (w->stop_at != 0 && w->frames == w->stop_at)
        return 99;
    return w->sealed ? 77 : 0;
}

/* ---- A scan of a folder with this one file ---- */

static void check_findings(const wal_scan *scan, uint64_t size)
{
    if (size < WAL_DATA_OFFSET)
        size = WAL_DATA_OFFSET; /* a file that ends before this has frames, and a header, missing */
    int torn = 0;
    for (size_t i = 0; i < scan->report.count; i++) {
        const firn_wal_finding *f = &scan->report.findings[i];
        FUZZ_CHECK(f->kind >= FIRN_WAL_TORN && f->kind <= FIRN_WAL_HARMLESS);
        FUZZ_CHECK(f->file[0] != '\0' && f->proof[0] != '\0');
        FUZZ_CHECK(f->seq_first <= f->seq_last && (f->seq_first != 0 || f->seq_last == 0));
        FUZZ_CHECK(f->offset <= size && f->bytes <= size - f->offset);
        torn += f->kind == FIRN_WAL_TORN;
    }
    FUZZ_CHECK(torn <= 1); /* it ends the log */
}

static void check_scan_inside(const wal_scan *scan, const walked *w)
{
    const wal_scanned *p = &scan->segments[0];
    uint64_t at = 0;
    FUZZ_CHECK(scan->count == 1);
    for (size_t i = 0; i < scan->gap_count; i++) {
        const wal_gap *gap = &scan->gaps[i];
        FUZZ_CHECK(gap->segment == 0 && gap->offset >= at && gap->end > gap->offset);
        FUZZ_CHECK(gap->expected == 0 || gap->next >= gap->expected);
        at = gap->offset;
    }
    FUZZ_CHECK(scan->spot_count == scan->report.count);
    check_findings(scan, w->of->size);
    if (p->part != WAL_PART_LIVE)
        return;
    FUZZ_CHECK(p->frames == w->frames && scan->report.frames == w->frames);
    FUZZ_CHECK(w->frames == 0 || p->segment->end == w->end);
    FUZZ_CHECK(scan->report.operations <= w->operations);
    FUZZ_CHECK(scan->floor_seq != 0 || scan->report.operations == w->operations);
    FUZZ_CHECK(scan->last_seq <= scan->max_seen_seq || w->frames == 0);
}

static void check_scan(const fuzz_log *l, const walked *w, uint8_t choice, fuzz_input *in)
{
    char path[64];
    simfs *sim = simfs_new(1);
    fs_dir *dir;
    firn_error error = {0};
    wal_scan scan;
    wal_scan_options o = {.writable = (choice & 8) != 0, .mapped = (choice & 8) != 0};
    if (choice & 16) {
        o.covered_seq = fuzz_number(in) % FIRN_MAX_SEQ;
        o.store_id = l->b.store_id;
    }
    simfs_write_file(sim, log_path(l->b.first_no, path), w->of->data, w->of->size);
    FUZZ_CHECK(fs_dir_open(simfs_fs(sim), LOG_FOLDER, &dir, &error) == FIRN_OK);
    int rc = wal_scan_folder(dir, &o, &scan, &error);
    FUZZ_CHECK(rc == FIRN_OK || (rc == FIRN_UNSUPPORTED && error.status == rc &&
                                 error.file[0] != '\0' && error.message[0] != '\0'));
    if (rc == FIRN_OK && wal_is_segment_name(path + sizeof LOG_FOLDER, NULL))
        check_scan_inside(&scan, w);
    wal_scan_release(&scan);
    fs_dir_close(dir);
    FUZZ_CHECK(simfs_open_count(sim) == 0 && simfs_calls(sim, SIMFS_CHANGING) == 0);
    size_t size;
    const uint8_t *after = simfs_peek(sim, path, &size);
    FUZZ_CHECK(size == w->of->size && memcmp(after, w->of->data, size) == 0);
    simfs_free(sim);
}

/* ---- The target ---- */

static void fill_from_input(fuzz_log *l, fuzz_input *in, uint8_t choice)
{
    log_segment *s = log_made_ahead(&l->b);
    firn_slice bytes = fuzz_bytes(in, s->size - WAL_DATA_OFFSET);
    if (bytes.size > 0)
        memcpy(s->bytes + WAL_DATA_OFFSET, bytes.data, bytes.size);
    if (choice & 2)
        fuzz_fix_frames(s->bytes, s->size, s->header.salt, (choice & 4) != 0);
}

/* What the header says about the frames, as far as there is an intact copy of it. */
static void read_header(bytes_of *b)
{
    wal_header h;
    for (uint64_t at = 0; at <= WAL_HEADER_COPY_OFFSET; at += WAL_HEADER_COPY_OFFSET) {
        if (b->size < at + WAL_HEADER_BYTES || wal_header_decode(b->data + at, &h) != FIRN_OK)
            continue;
        b->salt = h.salt;
        b->limit = b->size < h.segment_bytes ? b->size : h.segment_bytes;
        return;
    }
}

/* Where nothing but zeros follows, and a slow reading would be too slow. */
static uint64_t dull_from(const bytes_of *b)
{
    uint64_t end = b->limit;
    while (end >= 8 && get_u64(b->data + end - 8) == 0)
        end -= 8;
    return end + 80 < b->limit ? end + 80 : b->limit;
}

static void check_walks(const bytes_of *b, fuzz_input *numbers, walked *w)
{
    uint64_t limit = dull_from(b);
    check_cursor(b, limit, WAL_DATA_OFFSET, 0);
    check_cursor(b, fuzz_number(numbers) % (limit + 1), WAL_DATA_OFFSET, fuzz_number(numbers));
    check_cursor(b, limit, fuzz_number(numbers) * 8, fuzz_number(numbers));

    wal_segment s = {.base = (uint8_t *)(uintptr_t)b->data, .base_bytes = b->size, .salt = b->salt};
    const walked start = {.of = b, .end = WAL_DATA_OFFSET, .chain.value = b->salt};
    *w = start;
    w->stop_at = fuzz_number(numbers);
    int rc = wal_segment_walk(&s, b->limit, note_walked, w);
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_UNSUPPORTED || (rc == 77 && w->sealed) ||
               (rc == 99 && w->frames == w->stop_at));
    *w = start;
    (void)wal_segment_walk(&s, b->limit, note_walked, w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fuzz_log l;
    fuzz_input in = {.data = data, .size = size};
    fuzz_memory_limit(MEMORY_MAX);
    uint8_t choice = fuzz_u8(&in);
    /* They serve a second time: for where to look. */
    fuzz_input numbers = {.data = data + in.at, .size = size - in.at < 24 ? size - in.at : 24};
    if (choice & 1) {
        fuzz_log_init(&l, &in, 1);
        fill_from_input(&l, &in, choice);
    } else {
        fuzz_log_build(&l, &in, 1);
    }
    if (l.b.count == 0)
        log_made_ahead(&l.b);

    const log_segment *s = &l.b.segments[0];
    uint64_t bytes = l.file_bytes[0] != 0 && l.file_bytes[0] < s->size ? l.file_bytes[0] : s->size;
    guarded g = guarded_new(bytes);
    memcpy(g.data, s->bytes, bytes);
    bytes_of b = {.data = g.data, .size = bytes, .limit = bytes, .salt = s->header.salt};
    read_header(&b);
    walked w;
    check_walks(&b, &numbers, &w);
    check_scan(&l, &w, choice, &numbers);
    guarded_release(&g);
    fuzz_log_release(&l);
    fuzz_memory_all_back();
    return 0;
}
