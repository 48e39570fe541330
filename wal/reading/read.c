/* read: give back what a log holds: replay, iterate, verify (<firn/wal.h>), and the frames that
 * an owner builds its index on (wal/wal.h).
 *
 * Readers run beside appends without a lock: they take references to the live segments under the
 * mutex, then read each up to its visible end, below which bytes never change. A segment that is
 * truncated meanwhile stays readable until its last reference goes.
 *
 * Numbers are dense (W1). A jump that no SKIP accounts for means that bytes no longer read back,
 * and ends the reading with FIRN_DAMAGED, unless it lies below the floor, is covered by the owner,
 * or the log was opened to look at its damage.
 *
 * Start reading at read_log.
 */
#include <assert.h>
#include <base/alloc.h>
#include <base/coding.h>
#include <base/entry.h>
#include <base/error.h>
#include <recovering/recovered.h>
#include <segments/cursor.h>
#include <stdio.h>
#include <string.h>
#include <writing/contents.h>

#define READ_CHUNK_BYTES (UINT64_C(1) << 20)

/* A frame in a segment; `base` holds the segment's bytes. */
typedef struct read_frame {
    wal_segment *segment;
    const wal_cursor *cursor;
} read_frame;

typedef struct reader {
    wal *w;
    const fs_dir *dir;
    int (*fn)(struct reader *r, const read_frame *f); /* non-zero stops */
    void *ctx;                                        /* fn's */
    uint64_t after_seq;                               /* fn's */
    firn_wal_report *report;
    firn_error *err;
    uint64_t floor_seq;
    uint64_t tolerated; /* jumps over numbers <= this are expected */
    uint64_t expected;  /* the next number; 0: none seen */
    bool from_file;     /* read the files instead of the memory */
    bool look;          /* jumps are only reported */
} reader;

/* ---- Jumps ---- */

static int add_finding(reader *r, firn_wal_finding_kind kind, const wal_segment *s, uint64_t offset,
                       uint64_t bytes, uint64_t first, uint64_t next, const char *proof)
{
    firn_wal_finding f = {.kind = kind, .offset = offset, .bytes = bytes};
    if (next > first) {
        f.seq_first = first;
        f.seq_last = next - 1;
    }
    snprintf(f.file, sizeof f.file, "%s", s->name);
    snprintf(f.proof, sizeof f.proof, "%s", proof);
    return wal_report_add(r->report, &f, r->err);
}

/* Something did not read back in [from, to) of a segment; the numbers [r->expected, next) are not
 * there. */
static int note_jump(reader *r, const wal_segment *s, uint64_t from, uint64_t to, uint64_t next)
{
    uint64_t first = r->expected > r->tolerated ? r->expected : r->tolerated + 1;
    if (next <= first) {
        if (!r->from_file)
            return FIRN_OK;
        return add_finding(r, FIRN_WAL_HARMLESS, s, from, to - from, 0, 0, "no number is missing");
    }
    int rc = add_finding(r, FIRN_WAL_LOST, s, from, to - from, first, next,
                         "these bytes were appended, and do not read back");
    if (rc != FIRN_OK || r->look)
        return rc;
    const firn_wal_finding *f = &r->report->findings[r->report->count - 1];
    return wal_report_refuse(r->dir, f, FIRN_RECOVERY_TAIL, r->err);
}

/* ---- Frame by frame ---- */

static int read_one(reader *r, const read_frame *at)
{
    const wal_cursor *c = at->cursor;
    const wal_frame *f = &c->frame;
    int rc = FIRN_OK;
    if (r->expected == 0) /* the first frame of all: what is in front of it has been truncated */
        r->expected = f->seq_first <= r->floor_seq + 1 ? f->seq_first : r->floor_seq + 1;
    if (c->gap_from != c->at || f->seq_first > r->expected)
        rc = note_jump(r, at->segment, c->gap_from, c->at, f->seq_first);
    if (rc != FIRN_OK)
        return rc;
    r->expected = f->seq_first + f->count;

    r->report->frames++;
    r->report->bytes += wal_frame_size(f->payload_bytes);
    firn_slice payload = wal_cursor_payload(c);
    if (!r->from_file && f->type == WAL_SKIP && f->count > 0 && r->expected - 1 > r->tolerated &&
        (payload.size < 4 || get_u32(payload.data) == WAL_SKIP_LOST))
        rc = add_finding(r, FIRN_WAL_LOST, at->segment, c->at, c->offset - c->at, f->seq_first,
                         r->expected, "lost to damage earlier, and skipped when salvaged");
    return rc == FIRN_OK ? r->fn(r, at) : rc;
}

static int unsupported(const wal_segment *s, uint64_t offset, firn_error *err)
{
    error_file(err, FIRN_UNSUPPORTED, s->file->path, offset,
               "the log holds a record that this version of firn does not know");
    error_hint(err, "open it with the version that wrote it, or a newer one");
    return FIRN_UNSUPPORTED;
}

/* Reads the frames of one segment, whose bytes up to `end` are at `base`. `visible` is how far they
 * should go. */
static int read_frames(reader *r, wal_segment *s, const uint8_t *base, uint64_t end,
                       uint64_t visible)
{
    wal_cursor c = {
        .base = base,
        .limit = end,
        .salt = s->salt,
        .offset = WAL_DATA_OFFSET,
    };
    const read_frame at = {.segment = s, .cursor = &c};
    int rc;
    r->report->segments++;
    while ((rc = wal_cursor_next(&c)) == FIRN_OK) {
        rc = read_one(r, &at);
        if (rc != FIRN_OK)
            return rc;
    }
    if (rc == FIRN_UNSUPPORTED)
        return unsupported(s, c.offset, r->err);
    /* What is missing at the end of a segment shows as a jump in the next one, or at the end of
     * all. */
    if (c.offset < visible && r->from_file)
        return add_finding(r, FIRN_WAL_HARMLESS, s, c.offset, visible - c.offset, 0, 0,
                           "bytes at the end of the segment do not read back");
    return FIRN_OK;
}

/* ---- From the files ---- */

static int read_into(fs_file *file, uint8_t *data, uint64_t size, firn_error *err)
{
    int rc = FIRN_OK;
    for (uint64_t at = 0; at < size && rc == FIRN_OK; at += READ_CHUNK_BYTES) {
        uint64_t n = size - at < READ_CHUNK_BYTES ? size - at : READ_CHUNK_BYTES;
        rc = fs_read(file, data + at, (size_t)n, at, err);
    }
    return rc;
}

static int check_headers(reader *r, const wal_segment *s, const uint8_t *base, uint64_t size)
{
    int intact = 0;
    uint64_t bad = 0;
    for (uint64_t at = 0; at <= WAL_HEADER_COPY_OFFSET; at += WAL_HEADER_COPY_OFFSET) {
        wal_header h;
        if (size >= at + WAL_HEADER_BYTES && wal_header_decode(base + at, &h) == FIRN_OK &&
            h.segment_no == s->no && h.salt == s->salt)
            intact++;
        else
            bad = at;
    }
    if (intact == 2)
        return FIRN_OK;
    return add_finding(r, intact == 1 ? FIRN_WAL_HARMLESS : FIRN_WAL_LOST, s, bad, WAL_HEADER_BYTES,
                       0, 0,
                       intact == 1 ? "one of two copies of the segment's header is damaged"
                                   : "both copies of the segment's header are damaged");
}

/* As read_frames, from the file: one segment's bytes are held at a time. */
static int read_file(reader *r, wal_segment *s, uint64_t visible)
{
    uint64_t size;
    int rc = fs_size(s->file, &size, r->err);
    if (rc != FIRN_OK)
        return rc;
    if (size > visible)
        size = visible;
    if (size == 0)
        return add_finding(r, FIRN_WAL_LOST, s, 0, visible, 0, 0, "the file is empty");
    uint8_t *bytes = pages_alloc((size_t)size);
    if (!bytes)
        return error_no_memory(r->err);
    rc = read_into(s->file, bytes, size, r->err);
    if (rc == FIRN_OK)
        rc = check_headers(r, s, bytes, size);
    if (rc == FIRN_OK)
        rc = read_frames(r, s, bytes, size, visible);
    pages_free(bytes, (size_t)size);
    return rc;
}

/* ---- The whole log ---- */

static int read_segments(reader *r, wal_segment **segments, size_t count, uint64_t last_seq)
{
    int rc = FIRN_OK;
    for (size_t i = 0; i < count && rc == FIRN_OK; i++) {
        wal_segment *s = segments[i];
        uint64_t visible = atomic_load_explicit(&s->visible_end, memory_order_acquire);
        if (r->from_file)
            rc = read_file(r, s, visible);
        else
            rc = read_frames(r, s, s->base, visible, visible);
    }
    if (rc != FIRN_OK || count == 0 || last_seq == 0)
        return rc;
    if (r->expected == 0)
        r->expected = r->floor_seq + 1;
    if (r->expected <= last_seq) {
        const wal_segment *s = segments[count - 1];
        uint64_t visible = atomic_load_explicit(&s->visible_end, memory_order_acquire);
        rc = note_jump(r, s, WAL_DATA_OFFSET, visible, last_seq + 1);
    }
    return rc;
}

static int read_log(reader *r)
{
    firn_wal_report own;
    firn_wal_report_init(&own);
    if (!r->report)
        r->report = &own;
    wal_contents log;
    int rc = wal_contents_hold(r->w, &log, r->err);
    if (rc == FIRN_OK) {
        r->dir = log.dir;
        r->floor_seq = log.floor_seq;
        r->tolerated = log.covered_seq > log.floor_seq ? log.covered_seq : log.floor_seq;
        r->look = r->from_file || log.recovery == FIRN_RECOVERY_INSPECT ||
                  (log.read_only && log.recovery == FIRN_RECOVERY_SALVAGE);
        r->report->floor_seq = log.floor_seq;
        r->report->durable_seq = log.durable_seq;
        rc = read_segments(r, log.segments, log.count, log.last_seq);
    }
    wal_contents_release(&log);
    firn_wal_report_release(&own);
    return rc;
}

static void count_operations(reader *r, uint64_t first, uint64_t last)
{
    r->report->operations += last - first + 1;
    if (r->report->seq_first == 0)
        r->report->seq_first = first;
    r->report->seq_last = last;
}

/* ---- Replay ---- */

typedef struct entry_sink {
    firn_wal_entry_fn fn;
    void *ctx;
} entry_sink;

static firn_wal_entry entry_of(const entry *e, const wal_frame *f, uint32_t index)
{
    return (firn_wal_entry){
        .seq = f->seq_first + index,
        .time_ms = f->time_ms,
        .op = (firn_kind)e->kind,
        .bucket = e->bucket,
        .key = e->key,
        .value = e->value,
    };
}

static int replay_frame(reader *r, const read_frame *at)
{
    const wal_frame *f = &at->cursor->frame;
    const entry_sink *sink = r->ctx;
    uint64_t after = r->after_seq > r->floor_seq ? r->after_seq : r->floor_seq;
    if (f->type != WAL_DATA || f->seq_first + f->count - 1 <= after)
        return FIRN_OK;
    firn_slice payload = wal_cursor_payload(at->cursor);
    size_t offset = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        entry e;
        size_t used;
        int rc = entry_decode(payload.data + offset, payload.size - offset, &e, &used);
        if (rc != FIRN_OK) /* the cursor has checked it a moment ago */
            return error_file(r->err, rc, at->segment->file->path, at->cursor->at,
                              "the batch changed while it was read");
        offset += used;
        if (f->seq_first + i <= after)
            continue;
        firn_wal_entry out = entry_of(&e, f, i);
        rc = sink->fn(sink->ctx, &out);
        if (rc != 0)
            return rc;
        count_operations(r, out.seq, out.seq);
    }
    return FIRN_OK;
}

int firn_wal_replay(firn_wal *log, uint64_t after_seq, firn_wal_entry_fn fn, void *ctx,
                    firn_wal_report *report, firn_error *error)
{
    if (!log || !fn)
        return error_set(error, FIRN_INVALID, "replay needs a log and a function");
    entry_sink sink = {.fn = fn, .ctx = ctx};
    reader r = {
        .w = log,
        .fn = replay_frame,
        .ctx = &sink,
        .after_seq = after_seq,
        .report = report,
        .err = error,
    };
    if (report)
        firn_wal_report_init(report);
    return read_log(&r);
}

/* ---- What an owner builds its index on ---- */

typedef struct frame_sink {
    int (*fn)(void *ctx, const wal_applied *frame);
    void *ctx;
} frame_sink;

static int recovered_frame(reader *r, const read_frame *at)
{
    const wal_cursor *c = at->cursor;
    const frame_sink *sink = r->ctx;
    uint64_t after = r->after_seq > r->floor_seq ? r->after_seq : r->floor_seq;
    if (c->frame.type != WAL_DATA || c->frame.seq_first + c->frame.count - 1 <= after)
        return FIRN_OK;
    wal_applied applied = {
        .segment = at->segment,
        .offset = (uint32_t)(c->at + WAL_FRAME_BYTES),
        .count = c->frame.count,
        .bytes = c->frame.payload_bytes,
        .seq_first = c->frame.seq_first,
    };
    return sink->fn(sink->ctx, &applied);
}

int wal_recovered(wal *w, uint64_t after_seq, int (*fn)(void *ctx, const wal_applied *frame),
                  void *ctx, firn_error *err)
{
    frame_sink sink = {.fn = fn, .ctx = ctx};
    reader r = {
        .w = w,
        .fn = recovered_frame,
        .ctx = &sink,
        .after_seq = after_seq,
        .err = err,
    };
    return read_log(&r);
}

/* ---- Iterate ---- */

typedef struct record_sink {
    firn_wal_record_fn fn;
    void *ctx;
} record_sink;

static int emit_batch(reader *r, const read_frame *at, firn_wal_record *record)
{
    const record_sink *sink = r->ctx;
    const wal_frame *f = &at->cursor->frame;
    firn_slice payload = wal_cursor_payload(at->cursor);
    uint64_t last = f->seq_first + f->count - 1;
    size_t offset = 0;
    if (last <= r->floor_seq)
        return FIRN_OK;
    for (uint32_t i = 0; i < f->count; i++) {
        entry e;
        size_t used;
        int rc = entry_decode(payload.data + offset, payload.size - offset, &e, &used);
        if (rc != FIRN_OK)
            return error_file(r->err, rc, at->segment->file->path, at->cursor->at,
                              "the batch changed while it was read");
        offset += used;
        record->kind = FIRN_WAL_RECORD_ENTRY;
        record->entry = entry_of(&e, f, i);
        rc = sink->fn(sink->ctx, record);
        if (rc != 0)
            return rc;
    }
    record->kind = FIRN_WAL_RECORD_COMMIT;
    record->entry = (firn_wal_entry){.seq = last, .time_ms = f->time_ms};
    record->count = f->count;
    return sink->fn(sink->ctx, record);
}

static int iterate_frame(reader *r, const read_frame *at)
{
    const record_sink *sink = r->ctx;
    const wal_cursor *c = at->cursor;
    const wal_frame *f = &c->frame;
    firn_slice payload = wal_cursor_payload(c);
    firn_wal_record record = {
        .entry = {.seq = f->seq_first, .time_ms = f->time_ms},
        .durable_seq = f->durable_seq,
        .offset = c->at,
        .bytes = c->offset - c->at,
    };
    wal_seal seal;
    snprintf(record.file, sizeof record.file, "%s", at->segment->name);
    switch (f->type) {
    case WAL_DATA:
        return emit_batch(r, at, &record);
    case WAL_MARK:
        record.kind = FIRN_WAL_RECORD_MARK;
        break;
    case WAL_CHECKPOINT:
        record.kind = FIRN_WAL_RECORD_CHECKPOINT;
        record.count = get_u64(payload.data);
        break;
    case WAL_LINK:
        record.kind = FIRN_WAL_RECORD_LINK;
        break;
    case WAL_SEAL:
        record.kind = FIRN_WAL_RECORD_SEAL;
        if (wal_seal_decode(payload, &seal) == FIRN_OK)
            record.count = seal.kind;
        break;
    case WAL_SKIP:
        record.kind = FIRN_WAL_RECORD_SKIP;
        record.count = f->count;
        break;
    case WAL_FLOOR:
        record.kind = FIRN_WAL_RECORD_FLOOR;
        record.count = get_u64(payload.data);
        break;
    default: /* of a later version, which says that it may be passed over */
        return FIRN_OK;
    }
    return sink->fn(sink->ctx, &record);
}

int firn_wal_iterate(firn_wal *log, firn_wal_record_fn fn, void *ctx, firn_error *error)
{
    if (!log || !fn)
        return error_set(error, FIRN_INVALID, "iterate needs a log and a function");
    record_sink sink = {.fn = fn, .ctx = ctx};
    reader r = {.w = log, .fn = iterate_frame, .ctx = &sink, .err = error};
    return read_log(&r);
}

/* ---- Verify ---- */

static int verify_frame(reader *r, const read_frame *at)
{
    const wal_frame *f = &at->cursor->frame;
    uint64_t last = f->seq_first + f->count - 1;
    if (f->type == WAL_DATA && last > r->floor_seq)
        count_operations(r, f->seq_first > r->floor_seq ? f->seq_first : r->floor_seq + 1, last);
    return FIRN_OK;
}

/* FIRN_DAMAGED when the report holds a proven loss. */
static int verdict(const fs_dir *dir, const firn_wal_report *report, firn_error *err)
{
    for (size_t i = 0; i < report->count; i++)
        if (firn_wal_is_loss(&report->findings[i]))
            return wal_report_refuse(dir, &report->findings[i], FIRN_RECOVERY_INSPECT, err);
    return FIRN_OK;
}

int firn_wal_verify(firn_wal *log, firn_wal_report *report, firn_error *error)
{
    if (!log)
        return error_set(error, FIRN_INVALID, "verify needs a log");
    firn_wal_report own;
    firn_wal_report_init(&own);
    if (report)
        firn_wal_report_init(report);
    reader r = {
        .w = log,
        .fn = verify_frame,
        .report = report ? report : &own,
        .err = error,
        .from_file = true,
    };
    int rc = read_log(&r);
    if (rc == FIRN_OK)
        rc = verdict(r.dir, r.report, error);
    firn_wal_report_release(&own);
    return rc;
}

int firn_wal_verify_path(const char *path, firn_wal_report *report, firn_error *error)
{
    if (!path)
        return error_set(error, FIRN_INVALID, "verify needs a path");
    firn_wal_report found;
    firn_wal_report_init(&found);
    if (report)
        firn_wal_report_init(report);
    fs_dir *dir;
    firn_error why;
    error_clear(&why);
    int rc = fs_dir_open(fs_posix(), path, &dir, error);
    if (rc != FIRN_OK)
        return rc;

    wal_config config;
    wal_config_init(&config);
    config.options.read_only = true;
    config.options.recovery = FIRN_RECOVERY_INSPECT;
    wal_recovered_log log = {0};
    rc = error_needed(&why, wal_recover(dir, &config, false, &log, &found, &why));
    if (rc == FIRN_OK)
        rc = verdict(dir, &found, &why);
    wal_recovered_log_release(&log);
    fs_dir_close(dir);
    if (report)
        *report = found;
    else
        firn_wal_report_release(&found);
    return error_give(error, rc, &why);
}
