/* verb_wal: draws the log: its segments, the frames in them, and what the frames hold.
 *
 * The log passes raw records (<firn/wal.h>, firn_wal_iterate): an ENTRY for each operation, with
 * the frame it lies in, and a COMMIT behind the last one. A frame of entries is drawn from its
 * first ENTRY to its COMMIT. What the scan found between the frames is drawn in its place.
 */
#include <base/slice.h>
#include <engine/engine.h>
#include <wal/wal.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "segment_head.h"
#include "text.h"

#define ENTRIES_SHOWN 4  /* of a frame, when not all are asked for */
#define BYTES_SHOWN   32 /* of a key or value, likewise */

typedef struct drawing {
    const char *path;
    output out;
    bool json, all;
    bool bold;
    char file[64];     /* segment that is being drawn */
    uint64_t in_frame; /* entries of the open frame so far; 0: no frame is open */
    uint64_t frame_offset;
    const firn_wal_report *report;
    size_t finding; /* next one of the report to be drawn */
    int unread;     /* why a file could not be read, for the first time; FIRN_OK: all could */
    firn_error unread_error;
} drawing;

static const char *const kind_names[] = {
    [FIRN_WAL_RECORD_ENTRY] = "DATA",
    [FIRN_WAL_RECORD_COMMIT] = "COMMIT",
    [FIRN_WAL_RECORD_CHECKPOINT] = "CHECKPOINT",
    [FIRN_WAL_RECORD_MARK] = "MARK",
    [FIRN_WAL_RECORD_LINK] = "LINK",
    [FIRN_WAL_RECORD_SEAL] = "SEAL",
    [FIRN_WAL_RECORD_SKIP] = "SKIP",
    [FIRN_WAL_RECORD_FLOOR] = "FLOOR",
};

static const char *kind_name(firn_wal_record_kind kind)
{
    size_t i = (size_t)kind;
    if (i >= sizeof kind_names / sizeof kind_names[0] || !kind_names[i])
        return "?";
    return kind_names[i];
}

static const char *op_name(firn_kind op)
{
    return op == FIRN_PUT            ? "put"
           : op == FIRN_DELETE       ? "del"
           : op == FIRN_DELETE_RANGE ? "del-range"
                                     : "?";
}

/* ---- As a picture ---- */

static void draw_segment(drawing *d, const char *file)
{
    segment_head head;
    firn_error error = {0};
    output_format(&d->out, "%s%s", d->file[0] ? "\n" : "", d->bold ? COLOUR_BOLD : "");
    output_message(&d->out, file);
    output_text(&d->out, d->bold ? COLOUR_OFF : "");
    int rc = segment_head_read(d->path, file, &head, &error);
    if ((rc == FIRN_IO || rc == FIRN_NO_MEMORY) && d->unread == FIRN_OK) {
        d->unread = rc;
        d->unread_error = error;
    }
    if (rc == FIRN_OK)
        output_format(&d->out, "  segment %" PRIu64 ", %s of %s, salt %016" PRIx64 ", made %s\n",
                      head.segment_no, text_size(head.file_bytes).s,
                      text_size(head.segment_bytes).s, head.salt,
                      text_date_ms(head.created_us / 1000).s);
    else {
        output_text(&d->out, "  (header: ");
        output_message(&d->out, error.message);
        output_text(&d->out, ")\n");
    }
    output_format(&d->out, "%12s %9s  %-10s  %s\n", "offset", "bytes", "frame", "what it says");
    snprintf(d->file, sizeof d->file, "%s", file);
}

/* A range without an end is logged with one behind the greatest key. */
static bool range_has_end(firn_slice end)
{
    size_t i = 0;
    while (i < end.size && end.data[i] == 0xff)
        i++;
    return i < FIRN_MAX_KEY_BYTES || end.size == FIRN_MAX_KEY_BYTES;
}

/* As `firn del` takes it: the value is where the range ends. */
static void draw_range(drawing *d, const firn_wal_entry *e, size_t limit)
{
    bool has_first = e->key.size > 0, has_end = range_has_end(e->value);
    if (has_first) {
        output_text(&d->out, "from ");
        output_shortened(&d->out, e->key, limit);
    }
    if (has_end) {
        output_text(&d->out, has_first ? " to " : "to ");
        output_shortened(&d->out, e->value, limit);
    }
    if (!has_first && !has_end)
        output_text(&d->out, "all keys");
}

static void draw_value(drawing *d, const firn_wal_entry *e, size_t limit)
{
    output_text(&d->out, " = ");
    output_shortened(&d->out, e->value, limit);
    if (!d->all && e->value.size > limit)
        output_format(&d->out, " (%s)", text_size(e->value.size).s);
}

static void draw_entry(drawing *d, const firn_wal_record *r)
{
    if (d->in_frame == 0 || d->frame_offset != r->offset) {
        output_format(&d->out,
                      "%12" PRIu64 " %9" PRIu64 "  %-10s  from number %" PRIu64
                      ", durable up to %" PRIu64 ", %s\n",
                      r->offset, r->bytes, "DATA", r->entry.seq, r->durable_seq,
                      text_date_ms(r->entry.time_ms).s);
        d->in_frame = 0;
        d->frame_offset = r->offset;
    }
    d->in_frame++;
    if (!d->all && d->in_frame > ENTRIES_SHOWN)
        return;
    size_t limit = d->all ? SIZE_MAX : BYTES_SHOWN;
    output_format(&d->out, "%22s  | %" PRIu64 " %s ", "", r->entry.seq, op_name(r->entry.op));
    if (r->entry.bucket)
        output_format(&d->out, "in bucket %u ", r->entry.bucket);
    if (r->entry.op == FIRN_DELETE_RANGE)
        draw_range(d, &r->entry, limit);
    else
        output_shortened(&d->out, r->entry.key, limit);
    if (r->entry.op == FIRN_PUT)
        draw_value(d, &r->entry, limit);
    output_text(&d->out, "\n");
}

static void draw_commit(drawing *d, const firn_wal_record *r)
{
    if (!d->all && d->in_frame > ENTRIES_SHOWN)
        output_format(&d->out, "%22s  | ... %s more\n", "",
                      text_count(d->in_frame - ENTRIES_SHOWN).s);
    output_format(&d->out, "%22s  + commit of %s, up to number %" PRIu64 "\n", "",
                  text_count(r->count).s, r->entry.seq);
    d->in_frame = 0;
}

static void draw_other(drawing *d, const firn_wal_record *r)
{
    output_format(&d->out, "%12" PRIu64 " %9" PRIu64 "  %-10s  ", r->offset, r->bytes,
                  kind_name(r->kind));
    switch (r->kind) {
    case FIRN_WAL_RECORD_CHECKPOINT:
        output_format(&d->out, "number %" PRIu64 ": everything up to %" PRIu64 " is in tables",
                      r->entry.seq, r->count);
        break;
    case FIRN_WAL_RECORD_SEAL:
        output_text(&d->out, r->count == 2 ? "closed clean" : "the next segment goes on");
        break;
    case FIRN_WAL_RECORD_SKIP:
        output_format(&d->out, "%s numbers are not used", text_count(r->count).s);
        break;
    case FIRN_WAL_RECORD_FLOOR:
        output_format(&d->out, "everything up to %" PRIu64 " was given up", r->count);
        break;
    default:
        output_format(&d->out, "next number %" PRIu64, r->entry.seq);
        break;
    }
    output_format(&d->out, ", durable up to %" PRIu64 "\n", r->durable_seq);
}

/* ---- What is between the frames ---- */

static const char *finding_name(firn_wal_finding_kind kind)
{
    switch (kind) {
    case FIRN_WAL_TORN:
        return "torn";
    case FIRN_WAL_LOST:
        return "LOST";
    case FIRN_WAL_MISSING_SEGMENT:
        return "MISSING";
    case FIRN_WAL_WRONG_SEGMENT:
        return "WRONG";
    case FIRN_WAL_HARMLESS:
        return "harmless";
    }
    return "?";
}

static void draw_finding(drawing *d, const firn_wal_finding *f)
{
    const char *colour = d->bold && firn_wal_is_loss(f) ? COLOUR_RED : "",
               *off = d->bold ? COLOUR_OFF : "";
    bool whole = f->kind == FIRN_WAL_MISSING_SEGMENT || f->kind == FIRN_WAL_WRONG_SEGMENT;
    if (whole) {
        output_format(&d->out, "%s%s", d->file[0] ? "\n" : "", colour);
        output_message(&d->out, f->file);
        output_format(&d->out, "  %s", finding_name(f->kind));
        snprintf(d->file, sizeof d->file, "%s", f->file);
    } else {
        if (strcmp(d->file, f->file) != 0)
            draw_segment(d, f->file);
        output_format(&d->out, "%s%12" PRIu64 " %9" PRIu64 "  %-10s", colour, f->offset, f->bytes,
                      finding_name(f->kind));
    }
    if (f->seq_first)
        output_format(&d->out, "  numbers %" PRIu64 " to %" PRIu64 ":", f->seq_first, f->seq_last);
    output_text(&d->out, f->seq_first ? " " : "  ");
    output_message(&d->out, f->proof);
    output_format(&d->out, "%s\n", off);
}

/* Names of more digits are of greater numbers. */
static int compare_files(const char *a, const char *b)
{
    size_t x = strlen(a), y = strlen(b);
    return x != y ? (x > y) - (x < y) : strcmp(a, b);
}

/* All that lies before this place; file NULL: all that is left. */
static void draw_findings(drawing *d, const char *file, uint64_t offset)
{
    for (; d->finding < d->report->count; d->finding++) {
        const firn_wal_finding *f = &d->report->findings[d->finding];
        int c = file ? compare_files(f->file, file) : -1;
        if (c > 0 || (c == 0 && f->offset > offset))
            return;
        draw_finding(d, f);
    }
}

/* ---- As JSON: an object a line ---- */

static void print_json_findings(drawing *d)
{
    for (size_t i = 0; i < d->report->count; i++) {
        const firn_wal_finding *f = &d->report->findings[i];
        output_format(&d->out, "{\"finding\": \"%s\", \"file\": ", finding_name(f->kind));
        output_json(&d->out, slice_of_str(f->file));
        output_format(&d->out,
                      ", \"offset\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"seq_first\": %" PRIu64
                      ", \"seq_last\": %" PRIu64 ", \"may_be_durable\": %s, \"proof\": ",
                      f->offset, f->bytes, f->seq_first, f->seq_last,
                      f->may_be_durable ? "true" : "false");
        output_json(&d->out, slice_of_str(f->proof));
        output_text(&d->out, "}\n");
    }
}

/* Of a range delete, its bounds; "to" null: it has no end. */
static void print_json_keys(drawing *d, const firn_wal_entry *e)
{
    bool range = e->op == FIRN_DELETE_RANGE;
    output_text(&d->out, range ? ", \"from\": " : ", \"key\": ");
    output_json(&d->out, e->key);
    output_text(&d->out, range ? ", \"to\": " : ", \"value\": ");
    if (range && !range_has_end(e->value))
        output_text(&d->out, "null");
    else
        output_json(&d->out, e->value);
}

static void print_json(drawing *d, const firn_wal_record *r)
{
    output_format(&d->out,
                  "{\"record\": \"%s\", \"file\": \"%s\", \"offset\": %" PRIu64
                  ", \"bytes\": %" PRIu64 ", \"seq\": %" PRIu64 ", \"durable_seq\": %" PRIu64,
                  kind_name(r->kind), r->file, r->offset, r->bytes, r->entry.seq, r->durable_seq);
    if (r->kind == FIRN_WAL_RECORD_ENTRY) {
        output_format(&d->out, ", \"op\": \"%s\"", op_name(r->entry.op));
        if (r->entry.bucket)
            output_format(&d->out, ", \"bucket\": %u", r->entry.bucket);
        print_json_keys(d, &r->entry);
    } else {
        output_format(&d->out, ", \"count\": %" PRIu64, r->count);
    }
    output_text(&d->out, "}\n");
}

static int on_record(void *ctx, const firn_wal_record *r)
{
    drawing *d = ctx;
    if (d->json) {
        print_json(d, r);
    } else {
        draw_findings(d, r->file, r->offset);
        if (strcmp(d->file, r->file) != 0)
            draw_segment(d, r->file);
        if (r->kind == FIRN_WAL_RECORD_ENTRY)
            draw_entry(d, r);
        else if (r->kind == FIRN_WAL_RECORD_COMMIT)
            draw_commit(d, r);
        else
            draw_other(d, r);
    }
    return output_ok(&d->out) ? FIRN_OK : FIRN_END;
}

static void on_line(void *ctx, const char *line)
{
    drawing *d = ctx;
    output_text(&d->out, "  ");
    output_message(&d->out, line);
    output_text(&d->out, "\n");
}

static void print_report(drawing *d, const firn_wal_report *report)
{
    if (d->json) {
        print_json_findings(d);
        return;
    }
    draw_findings(d, NULL, 0);
    output_format(&d->out, "\n%sreport%s\n", d->bold ? COLOUR_BOLD : "", d->bold ? COLOUR_OFF : "");
    firn_wal_report_text(report, on_line, d);
}

/* Is what was found damage, or what any crash leaves behind? */
static const firn_wal_finding *first_damage(const firn_wal_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const firn_wal_finding *f = &report->findings[i];
        if (firn_wal_is_loss(f))
            return f;
    }
    return NULL;
}

static int tell_damage(const firn_wal_report *report)
{
    const firn_wal_finding *f = first_damage(report);
    if (!f)
        return EXIT_DONE;
    return fail_text(EXIT_DAMAGE,
                     "`firn check` looks at the whole store; restore a backup, or copy the folder "
                     "and save what is "
                     "intact with `firn repair`",
                     "the log is damaged: %s at offset %" PRIu64 ": %s", f->file, f->offset,
                     f->proof);
}

/* Opens the log for looking. Of a store's log, what the tables have is not missed. */
static int open_log(const char *path, fs_dir **dir, firn_wal_report *report, firn_wal **out,
                    firn_error *error)
{
    wal_config config;
    wal_config_init(&config);
    config.options.read_only = true;
    config.options.recovery = FIRN_RECOVERY_INSPECT;
    int rc = fs_dir_open(fs_posix(), path, dir, error);
    if (rc != FIRN_OK)
        return rc;
    /* With a damaged manifest the log is drawn as if it stood alone: telling of that is `firn
     * check`'s. */
    (void)engine_covered(*dir, &config.covered_seq, &config.covered_no, NULL);
    return wal_open(*dir, &config, report, out, error);
}

static int draw(drawing *d)
{
    firn_wal_report report;
    fs_dir *dir = NULL;
    firn_wal *log = NULL;
    firn_error error = {0};
    firn_wal_report_init(&report);
    d->report = &report;
    int rc = open_log(d->path, &dir, &report, &log, &error);
    if (rc == FIRN_OK && report.segments == 0 && report.count == 0) {
        firn_wal_close(log, NULL);
        fs_dir_close(dir);
        firn_wal_report_release(&report);
        return fail_text(EXIT_IO,
                         "check the path; the log of a store that is just being made has nothing "
                         "to draw yet",
                         "there is no log with anything in it in this folder: %s", d->path);
    }
    output_init(&d->out, STDOUT_FILENO, "standard output");
    d->bold = text_colour(STDOUT_FILENO);
    if (rc == FIRN_OK)
        rc = firn_wal_iterate(log, on_record, d, &error);
    if (rc == FIRN_OK || rc == FIRN_DAMAGED)
        print_report(d, &report);
    bool broken = !output_ok(&d->out);
    int code = output_finish(&d->out);
    if (rc != FIRN_OK && !broken)
        code = fail(rc, &error, d->path);
    else if (code == EXIT_DONE && d->unread != FIRN_OK)
        code = fail(d->unread, &d->unread_error, d->path);
    else if (code == EXIT_DONE)
        code = tell_damage(&report);
    firn_wal_close(log, NULL);
    fs_dir_close(dir);
    firn_wal_report_release(&report);
    return code;
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {
        {"values", no_argument, NULL, 'a'}, {"json", no_argument, NULL, 'j'}, {0}};
    drawing d = {0};
    int c;
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c == 'a')
            d.all = true;
        else if (c == 'j')
            d.json = true;
        else
            return args_stop(c);
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    d.path = argv[optind];
    return draw(&d);
}

const verb verb_wal = {
    .name = "wal",
    .usage = "DB [--values] [--json]",
    .summary = "draw the write-ahead log, frame by frame",
    .help = "Draws each segment of the log with its frames: where they lie, the numbers of their "
            "operations,\n"
            "and the durable line, which says how far the log had been synced when the frame was "
            "written.\n"
            "A delete of a range has the ends that `firn del` takes as --from and --to; \"to\" is "
            "null in JSON\n"
            "when there is no end.\n"
            "Ends with a report of what is torn (normal after a crash) or damaged (exit code 4).\n"
            "\n"
            "options:\n"
            "  --values            every operation, with its whole key and value\n"
            "  --json              an object for each record, a line each; bytes beyond ASCII as "
            "\\u00XX;\n"
            "                      then one for each finding\n"
            "\n"
            "examples:\n"
            "  firn wal fruits\n"
            "  firn wal fruits --values | grep grape\n",
    .run = run,
};
