/* scan: open every file of a log, decide which of them are the log, and read every frame
 * (README.md, "Telling a torn tail from loss"). What is found is judged in judge.c.
 *
 * Which files are the log: a segment's LINK names the segment before it and where that one ended.
 * Following the LINKs from the newest segment back gives the log; what lies between a segment and
 * the one that it names was cut off by a recovery that could not finish removing it.
 *
 * Start reading at wal_scan_folder.
 */
#include "scan.h"

#include <base/alloc.h>
#include <base/coding.h>
#include <base/error.h>
#include <base/grow.h>
#include <stdlib.h>
#include <string.h>

/* A log with more damaged places than this counts as damaged to the end of the segment: bounds
 * memory against a folder that was made to use it up. */
#define GAPS_MAX 65536

/* ---- The files ---- */

typedef struct name_list {
    uint64_t above; /* smaller numbers are left out, and this one */
    uint64_t *numbers;
    size_t count, capacity;
    bool no_memory;
} name_list;

static int collect_number(void *ctx, const char *name)
{
    name_list *list = ctx;
    uint64_t no;
    if (!wal_name_parse(name, &no) || no <= list->above)
        return 0;
    if (array_grow(&list->numbers, &list->capacity, list->count, sizeof no, NULL) != FIRN_OK) {
        list->no_memory = true;
        return 1;
    }
    list->numbers[list->count++] = no;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int open_one(fs_dir *dir, uint64_t no, const wal_scan_options *o, wal_scanned *p,
                    firn_error *err)
{
    firn_error header_error = {0};
    int rc = wal_segment_open(dir, no, o->writable, o->mapped, &p->segment, &p->header,
                              &p->copies_ok, &p->file_bytes, &header_error);
    if (rc == FIRN_DAMAGED && p->segment) {
        p->part = WAL_PART_HEADLESS;
        return FIRN_OK;
    }
    if (rc == FIRN_NOT_FOUND) { /* listed a moment ago */
        error_file(err, FIRN_IO, dir->path, FIRN_NO_OFFSET,
                   "segment %llu went away while the log was read", (unsigned long long)no);
        error_hint(err, "another program removes files here: find out which, then open again");
        return FIRN_IO;
    }
    if (rc == FIRN_INVALID) { /* not a plain file */
        rc = header_error.status = FIRN_DAMAGED;
        error_hint(&header_error,
                   "move it away and restore the segment from a backup, or save what is "
                   "intact with `firn repair` (recovery=salvage), which sets it aside");
    }
    if (rc != FIRN_OK) {
        if (err)
            *err = header_error;
        return rc;
    }
    if (p->header.segment_no != no)
        p->part = WAL_PART_WRONG;
    p->short_file = p->file_bytes < p->header.segment_bytes;
    p->limit = p->segment->base_bytes;
    if (p->limit > p->header.segment_bytes)
        p->limit = p->header.segment_bytes;
    return FIRN_OK;
}

static int open_all(fs_dir *dir, const wal_scan_options *o, wal_scan *scan, firn_error *err)
{
    name_list list = {.above = o->covered_no};
    int rc = fs_dir_list(dir, collect_number, &list, err);
    if (list.no_memory)
        rc = error_no_memory(err);
    if (rc != FIRN_OK || list.count == 0)
        goto done;
    qsort(list.numbers, list.count, sizeof list.numbers[0], compare_numbers);
    scan->segments = heap_zalloc(list.count * sizeof scan->segments[0]);
    if (!scan->segments) {
        rc = error_no_memory(err);
        goto done;
    }
    for (size_t i = 0; i < list.count; i++) {
        rc = open_one(dir, list.numbers[i], o, &scan->segments[i], err);
        if (rc != FIRN_OK)
            goto done;
        scan->count++;
    }
done:
    heap_free(list.numbers);
    return rc;
}

/* The store id that the owner knows or, for a log on its own, the one that most segments carry: one
 * stray file must not make all others foreign. */
static void choose_store_id(wal_scan *scan, const uint8_t *given)
{
    static const uint8_t none[16];
    if (given && memcmp(given, none, sizeof none) != 0) {
        memcpy(scan->store_id, given, sizeof scan->store_id);
        return;
    }
    /* Boyer and Moore's majority vote; the newest wins where there is no majority. */
    size_t votes = 0;
    const wal_scanned *newest = NULL;
    for (size_t i = 0; i < scan->count; i++) {
        const wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE)
            continue;
        newest = p;
        if (votes == 0)
            memcpy(scan->store_id, p->header.store_id, sizeof scan->store_id);
        if (memcmp(scan->store_id, p->header.store_id, sizeof scan->store_id) == 0)
            votes++;
        else
            votes--;
    }
    if (newest && votes == 0)
        memcpy(scan->store_id, newest->header.store_id, sizeof scan->store_id);
}

static wal_cursor cursor_of(const wal_scanned *p)
{
    return (wal_cursor){
        .base = p->segment->base,
        .limit = p->limit,
        .used_end = p->segment->used_end,
        .salt = p->segment->salt,
        .offset = WAL_DATA_OFFSET,
    };
}

static int unsupported(const wal_scanned *p, uint64_t offset, firn_error *err)
{
    error_file(err, FIRN_UNSUPPORTED, p->segment->file->path, offset,
               "the log holds a record that this version of firn does not know");
    error_hint(err, "open it with the version that wrote it, or a newer one");
    return FIRN_UNSUPPORTED;
}

static void raise_to(uint64_t *value, uint64_t at_least)
{
    if (*value < at_least)
        *value = at_least;
}

/* What the NOTEs of a segment say. */
static void note_notes(wal_scan *scan, wal_scanned *p, const wal_cursor *c)
{
    if (c->note_durable > scan->durable_seq) {
        scan->durable_seq = c->note_durable;
        scan->durable_no = p->segment->no;
        scan->durable_offset = c->note_durable_at;
    }
    p->note_intent = c->note_intent;
    p->note_at = c->note_at >= c->offset ? c->note_at : 0;
}

static bool skips_a_loss(const wal_cursor *c)
{
    firn_slice payload = wal_cursor_payload(c);
    return c->frame.type == WAL_SKIP &&
           (payload.size < 4 || get_u32(payload.data) == WAL_SKIP_LOST);
}

static bool in_place_of_stand_in(const wal_cursor *c)
{
    firn_slice payload = wal_cursor_payload(c);
    return skips_a_loss(c) && payload.size >= 8 &&
           (get_u32(payload.data + 4) & WAL_SKIP_STAND_IN) != 0;
}

/* Reads the LINK at the start of each segment, and finds the segments at the end that hold no
 * frame. */
static int look_at_heads(wal_scan *scan, firn_error *err)
{
    for (size_t i = 0; i < scan->count; i++) {
        wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE)
            continue;
        if (memcmp(p->header.store_id, scan->store_id, sizeof scan->store_id) != 0) {
            p->part = WAL_PART_WRONG;
            continue;
        }
        wal_cursor c = cursor_of(p);
        bool intact = wal_cursor_peek(&c);
        p->linked = intact && c.frame.type == WAL_LINK &&
                    wal_link_decode(wal_cursor_payload(&c), &p->link) == FIRN_OK;
        p->stands_in = p->linked ? p->link.stand_in : intact && in_place_of_stand_in(&c);
    }
    for (size_t i = scan->count; i-- > 0;) {
        wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE)
            continue;
        wal_cursor c = cursor_of(p);
        /* A segment has its full size before it gets its name: a short one has been used. */
        int rc = p->linked || p->short_file ? FIRN_OK : wal_cursor_next(&c);
        if (rc == FIRN_UNSUPPORTED)
            return unsupported(p, c.offset, err);
        if (rc == FIRN_OK)
            break;
        note_notes(scan, p, &c);
        p->part = WAL_PART_UNUSED;
    }
    return FIRN_OK;
}

/* The nearest live segment below `index`, or WAL_NOWHERE. */
static size_t live_below(const wal_scan *scan, size_t index)
{
    while (index-- > 0)
        if (scan->segments[index].part == WAL_PART_LIVE)
            return index;
    return WAL_NOWHERE;
}

/* Does the LINK of p say where q ends, as far as q has bytes? Of one that stands in for others it
 * does when it was written by a cut, which knows the stand-in's own frames. */
static bool knows_end(const wal_scanned *p, const wal_scanned *q)
{
    uint64_t end = p->link.prev_end;
    if (q->segment->no != p->link.prev_no || end < WAL_DATA_OFFSET || end % 8 != 0)
        return false;
    return !q->stands_in || (end <= q->limit && wal_scan_chain_at(q, end) == p->link.prev_chain);
}

/* Follows the LINKs from the newest segment back: what they jump over is superseded, and each says
 * where the segment before it ends. */
static void follow_links(wal_scan *scan)
{
    size_t i = live_below(scan, scan->count);
    while (i != WAL_NOWHERE) {
        wal_scanned *p = &scan->segments[i];
        if (p->linked && p->link.prev_no >= p->segment->no)
            p->part = WAL_PART_WRONG; /* no version of firn writes that */
        if (p->linked && p->part == WAL_PART_LIVE)
            for (size_t j = i; j-- > 0 && scan->segments[j].segment->no > p->link.prev_no;)
                scan->segments[j].part = WAL_PART_SUPERSEDED;
        size_t before = live_below(scan, i);
        if (before != WAL_NOWHERE && p->linked && p->part == WAL_PART_LIVE) {
            wal_scanned *q = &scan->segments[before];
            if (knows_end(p, q)) {
                q->limit_known = true;
                if (p->link.prev_end < q->limit)
                    q->limit = p->link.prev_end;
            }
        }
        i = before;
    }
}

/* ---- The frames ---- */

static int add_gap(wal_scan *scan, const wal_gap *gap, firn_error *err)
{
    int rc = array_grow(&scan->gaps, &scan->gap_capacity, scan->gap_count, sizeof *gap, err);
    if (rc == FIRN_OK)
        scan->gaps[scan->gap_count++] = *gap;
    return rc;
}

/* What a frame says about the whole log. */
static void note_claims(wal_scan *scan, wal_scanned *p, const wal_cursor *c)
{
    const wal_frame *f = &c->frame;
    firn_slice payload = wal_cursor_payload(c);
    if (f->durable_seq > scan->durable_seq) {
        scan->durable_seq = f->durable_seq;
        scan->durable_no = p->segment->no;
        scan->durable_offset = c->at;
    }
    raise_to(&scan->max_seen_seq, f->seq_first + f->count - 1);
    if (f->type == WAL_FLOOR)
        raise_to(&p->floor_seq, get_u64(payload.data));
    wal_link link;
    if (f->type == WAL_LINK && wal_link_decode(payload, &link) == FIRN_OK) {
        raise_to(&p->floor_seq, link.floor_seq);
        raise_to(&scan->life, link.life);
    }
    raise_to(&scan->floor_seq, p->floor_seq);
}

/* The running checksum and what it depends on. */
typedef struct chain {
    uint64_t value, frames;
    bool known; /* value is what the writer had here */
    bool salvaged;
    uint32_t seal; /* kind of the newest frame's seal, or 0 */
} chain;

/* Takes in a frame. False: it disagrees with what was read before it. */
static bool chain_add(chain *ch, const wal_cursor *c)
{
    const wal_frame *f = &c->frame;
    firn_slice payload = wal_cursor_payload(c);
    bool agrees = true;
    wal_seal seal;
    wal_link link;

    ch->seal = 0;
    if (c->gap_from != c->at)
        ch->known = false;
    if (f->type == WAL_SEAL && wal_seal_decode(payload, &seal) == FIRN_OK) {
        ch->seal = seal.kind;
        agrees = !ch->known || (seal.chain == ch->value && seal.frames == ch->frames);
        if (!ch->known) { /* what was lost in between, the seal knows */
            ch->value = seal.chain;
            ch->frames = seal.frames;
        }
        ch->known = true;
    } else if (f->type == WAL_LINK && c->at > WAL_DATA_OFFSET &&
               wal_link_decode(payload, &link) == FIRN_OK) {
        agrees = !ch->known || link.prev_chain == ch->value;
        ch->value = link.prev_chain;
        ch->known = true;
    } else if (skips_a_loss(c)) {
        ch->value = 0;
        ch->known = false;
        ch->salvaged = true;
    }
    ch->value = wal_chain_next(ch->value, f->header_crc);
    ch->frames++;
    return agrees;
}

uint64_t wal_scan_chain_at(const wal_scanned *p, uint64_t offset)
{
    chain ch = {.value = p->segment->salt, .known = true};
    wal_cursor c = cursor_of(p);
    c.limit = offset;
    while (wal_cursor_next(&c) == FIRN_OK)
        chain_add(&ch, &c);
    return ch.value;
}

static int read_frames(wal_scan *scan, size_t index, firn_error *err)
{
    wal_scanned *p = &scan->segments[index];
    wal_segment *s = p->segment;
    wal_cursor c = cursor_of(p);
    int rc;
    chain ch = {.value = s->salt, .known = true};

    p->seq_first = p->seq_next = 0;
    for (;;) {
        uint64_t expected = c.expected;
        rc = wal_cursor_next(&c);
        if (rc != FIRN_OK)
            break;
        if (p->seq_first == 0) {
            p->seq_first = c.frame.seq_first;
            p->head_ok = c.at == WAL_DATA_OFFSET;
        }
        bool damaged = c.gap_from != c.at;
        bool agrees = chain_add(&ch, &c);
        if (damaged || !agrees) {
            wal_gap gap = {
                .segment = index,
                .offset = damaged ? c.gap_from : c.at,
                .end = damaged ? c.at : c.offset,
                .expected = expected,
                .next = c.frame.seq_first,
                .seal = !damaged,
            };
            rc = add_gap(scan, &gap, err);
            if (rc != FIRN_OK)
                return rc;
        }
        note_claims(scan, p, &c);
        p->frames++;
        p->frame_bytes += wal_frame_size(c.frame.payload_bytes);
        if (c.frame.type == WAL_DATA)
            wal_scanned_count(p, &c.frame, 0);
        p->seq_next = c.expected;
        /* Nothing follows a rotation. A SEAL at odds with what stands before it does not say so. */
        if ((ch.seal == WAL_SEAL_ROTATION && agrees) || scan->gap_count == GAPS_MAX)
            break;
    }
    if (rc == FIRN_UNSUPPORTED)
        return unsupported(p, c.offset, err);
    note_notes(scan, p, &c);
    raise_to(&scan->intent_seq, p->note_intent);
    p->linked = p->linked && p->head_ok;
    p->seal = ch.seal;
    p->chain_known = ch.known;
    p->salvaged = ch.salvaged || p->stands_in;
    s->chain = ch.value;
    s->frames = ch.frames;
    s->end = c.offset;
    atomic_store_explicit(&s->visible_end, s->end,
                          memory_order_relaxed); /* no other thread has it yet */
    if (p->seq_first != 0) {
        s->seq_first = p->seq_first;
        s->seq_last = p->seq_next - 1;
    }
    return FIRN_OK;
}

/* Segments whose numbers have all been truncated: below the newest one that starts at or below the
 * floor. That one, or one behind it, has to know the floor: it goes with those that are removed. */
static void find_truncated(wal_scan *scan)
{
    size_t i = scan->count;
    uint64_t floor_seq = 0;
    while (i-- > 0) {
        const wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE)
            continue;
        raise_to(&floor_seq, p->floor_seq);
        if (p->linked && p->seq_first <= floor_seq + 1)
            break;
    }
    if (i == SIZE_MAX)
        return;
    for (size_t j = 0; j < i; j++) {
        wal_part *part = &scan->segments[j].part;
        if (*part == WAL_PART_LIVE || *part == WAL_PART_HEADLESS)
            *part = WAL_PART_TRUNCATED;
    }
}

uint64_t wal_scan_next_no(const wal_scan *scan)
{
    return (scan->count > 0 ? scan->segments[scan->count - 1].segment->no : scan->covered_no) + 1;
}

int wal_scan_folder(fs_dir *dir, const wal_scan_options *o, wal_scan *out, firn_error *err)
{
    memset(out, 0, sizeof *out);
    firn_wal_report_init(&out->report);
    out->covered_seq = o->covered_seq;
    out->covered_no = o->covered_no;
    int rc = open_all(dir, o, out, err);
    if (rc != FIRN_OK)
        return rc;
    choose_store_id(out, o->store_id);
    rc = look_at_heads(out, err);
    if (rc != FIRN_OK)
        return rc;
    follow_links(out);
    for (size_t i = 0; i < out->count; i++) {
        if (out->segments[i].part != WAL_PART_LIVE)
            continue;
        rc = read_frames(out, i, err);
        if (rc != FIRN_OK)
            return rc;
    }
    find_truncated(out);
    raise_to(&out->max_seen_seq, out->durable_seq);
    raise_to(&out->max_seen_seq, out->floor_seq);
    return wal_scan_judge(out, err);
}

void wal_scan_release(wal_scan *scan)
{
    for (size_t i = 0; i < scan->count; i++)
        wal_segment_unref(scan->segments[i].segment);
    heap_free(scan->segments);
    heap_free(scan->gaps);
    heap_free(scan->spots);
    firn_wal_report_release(&scan->report);
    memset(scan, 0, sizeof *scan);
}
