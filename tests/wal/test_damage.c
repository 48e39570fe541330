/* Damage of every kind to small logs. Whatever is done to the files, an open either refuses, or
 * reports what it cut, or gives back exactly what was written; never anything else, and never a
 * crash. What an intact frame proves to have been synced is never cut silently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <base/checksum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <support/rng.h>

#include "build_log.h"

typedef struct fixture {
    log_builder log;
    simfs *sim;
    char what[160];      /* the damage, for messages */
    uint64_t operations; /* in the log */
    uint64_t last;       /* newest operation */
} fixture;

static void fixture_init(fixture *f, bool closed)
{
    log_sample(&f->log);
    if (closed)
        log_close(&f->log);
    f->sim = simfs_new(1);
    log_write(&f->log, f->sim);
    f->operations = 0;
    for (uint64_t seq = 1; seq < LOG_NUMBERS_MAX; seq++) {
        f->operations += f->log.is_operation[seq];
        if (f->log.is_operation[seq])
            f->last = seq;
    }
}

static void fixture_release(fixture *f)
{
    simfs_free(f->sim);
    log_builder_release(&f->log);
}

/* ---- Opening what is left ---- */

typedef struct outcome {
    int status;
    firn_error error;
    firn_wal_report report;
    log_read read;
    uint64_t new_seq; /* of an append behind it */
} outcome;

static bool has(const firn_wal_report *report, firn_wal_finding_kind kind)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->findings[i].kind == kind)
            return true;
    return false;
}

static bool has_loss(const firn_wal_report *report)
{
    return has(report, FIRN_WAL_LOST) || has(report, FIRN_WAL_MISSING_SEGMENT) ||
           has(report, FIRN_WAL_WRONG_SEGMENT);
}

static void print_report(void *ctx, const char *line)
{
    (void)ctx;
    print_error("    %s\n", line);
}

#define CHECK(f, o, condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("%s: %s\n", (f)->what, #condition);                                        \
            print_error("  status %s: %s\n", firn_status_name((o)->status), (o)->error.message);   \
            firn_wal_report_text(&(o)->report, print_report, NULL);                                \
            print_error("  read %llu to %llu, %llu operations\n",                                  \
                        (unsigned long long)(o)->read.first, (unsigned long long)(o)->read.last,   \
                        (unsigned long long)(o)->read.count);                                      \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static void open_and_read(fixture *f, simfs *sim, const wal_config *config, bool append, outcome *o)
{
    fs_dir *dir;
    wal *w;
    memset(o, 0, sizeof *o);
    o->read.of = &f->log;
    assert_int_equal(fs_dir_open(simfs_fs(sim), LOG_FOLDER, &dir, NULL), FIRN_OK);
    o->status = wal_open(dir, config, &o->report, &w, &o->error);
    if (o->status == FIRN_OK) {
        int rc = firn_wal_replay(w, 0, log_read_entry, &o->read, NULL, &o->error);
        CHECK(f, o, rc == FIRN_OK);
        if (append) {
            rc = firn_wal_append(w, FIRN_PUT, "new", 3, "", 0, NULL, &o->new_seq, &o->error);
            CHECK(f, o, rc == FIRN_OK);
        }
        rc = firn_wal_close(w, &o->error);
        CHECK(f, o, rc == FIRN_OK);
    }
    fs_dir_close(dir);
}

/* Two opens of the same files find the same. */
static void check_same(fixture *f, outcome *a, const outcome *b)
{
    CHECK(f, a, a->report.count == b->report.count);
    for (size_t i = 0; i < a->report.count; i++)
        CHECK(f, a,
              memcmp(&a->report.findings[i], &b->report.findings[i], sizeof(firn_wal_finding)) ==
                  0);
}

/* PREFIX keeps a prefix; SALVAGE keeps at least as much; both leave a log that opens clean. */
static void check_repairs(fixture *f, simfs *sim, const outcome *inspected)
{
    bool lost = has_loss(&inspected->report);
    bool torn = has(&inspected->report, FIRN_WAL_TORN);
    outcome o;
    uint64_t kept = 0;
    static const firn_recovery policies[] = {FIRN_RECOVERY_PREFIX, FIRN_RECOVERY_SALVAGE};
    for (int i = 0; i < 2; i++) {
        wal_config config = log_config(policies[i]);
        simfs *copy = simfs_clone(sim);
        open_and_read(f, copy, &config, true, &o);
        CHECK(f, &o, o.status == FIRN_OK && o.read.wrong == 0);
        CHECK(f, &o, o.read.jumps == 0 || policies[i] == FIRN_RECOVERY_SALVAGE);
        CHECK(f, &o, o.read.count >= kept);
        CHECK(f, &o, lost || torn || o.read.count == f->operations);
        CHECK(f, &o, o.new_seq > inspected->report.seq_last);
        kept = o.read.count;
        firn_wal_report_release(&o.report);
        config = log_config(FIRN_RECOVERY_TAIL);
        open_and_read(f, copy, &config, false, &o);
        CHECK(f, &o, o.status == FIRN_OK && !has(&o.report, FIRN_WAL_TORN) && !has_loss(&o.report));
        CHECK(f, &o, o.read.count == kept + 1);
        firn_wal_report_release(&o.report);
        simfs_free(copy);
    }
}

/* Opens a damaged copy by every policy, and checks each result against what was written. `sim` may
 * be changed. */
static void check_policies(fixture *f, simfs *sim, outcome *inspected)
{
    wal_config config = log_config(FIRN_RECOVERY_INSPECT);
    outcome o, again;
    simfs *copy;

    open_and_read(f, sim, &config, false, inspected);
    CHECK(f, inspected, inspected->status == FIRN_OK);
    CHECK(f, inspected, inspected->read.wrong == 0);
    bool lost = has_loss(&inspected->report);
    bool torn = has(&inspected->report, FIRN_WAL_TORN);

    /* STRICT opens what has no finding, and nothing else. */
    config = log_config(FIRN_RECOVERY_STRICT);
    copy = simfs_clone(sim);
    open_and_read(f, copy, &config, false, &o);
    CHECK(f, &o, o.status == (inspected->report.count == 0 ? FIRN_OK : FIRN_DAMAGED));
    if (o.status == FIRN_OK)
        CHECK(f, &o, o.read.count == f->operations && o.read.wrong == 0 && o.read.jumps == 0);
    firn_wal_report_release(&o.report);
    simfs_free(copy);

    /* A reader that may write nothing sees what TAIL would keep. */
    config = log_config(FIRN_RECOVERY_TAIL);
    config.options.read_only = true;
    open_and_read(f, sim, &config, false, &again);

    config.options.read_only = false;
    copy = simfs_clone(sim);
    open_and_read(f, copy, &config, true, &o);
    check_same(f, &o, inspected);
    check_same(f, &o, &again);
    CHECK(f, &o, o.status == again.status);
    CHECK(f, &o, o.status == (lost ? FIRN_DAMAGED : FIRN_OK));
    if (o.status != FIRN_OK) {
        CHECK(f, &o,
              o.error.file[0] != '\0' && o.error.message[0] != '\0' && o.error.hint[0] != '\0');
    } else {
        CHECK(f, &o, o.read.wrong == 0 && o.read.jumps == 0);
        CHECK(f, &o, o.read.count == again.read.count && o.read.last == again.read.last);
        CHECK(f, &o, o.read.count == f->operations || torn);
        CHECK(f, &o, o.new_seq > o.read.last);
        uint64_t count = o.read.count;
        firn_wal_report_release(&o.report);
        open_and_read(f, copy, &config, false, &o);
        CHECK(f, &o, o.status == FIRN_OK && !has(&o.report, FIRN_WAL_TORN) && !has_loss(&o.report));
        CHECK(f, &o, o.read.count == count + 1);
    }
    firn_wal_report_release(&o.report);
    firn_wal_report_release(&again.report);
    simfs_free(copy);
    check_repairs(f, sim, inspected);
}

/* ---- Flipped bits ---- */

/* The frame that the byte lies in, or none. */
typedef struct place {
    bool frame;
    uint64_t offset, end;
    wal_frame f;
    uint64_t proven; /* what the other frames say has been synced */
} place;

static place find_place(const log_builder *b, size_t segment, uint64_t byte)
{
    place p = {0};
    for (size_t i = 0; i < b->count; i++) {
        const log_segment *s = &b->segments[i];
        for (uint64_t at = WAL_DATA_OFFSET; at < s->end;) {
            wal_frame f;
            assert_int_equal(wal_frame_decode(s->bytes + at, s->end - at, s->header.salt, at, &f),
                             WAL_FRAME_OK);
            uint64_t next = at + wal_frame_size(f.payload_bytes);
            if (i == segment && byte >= at && byte < next)
                p = (place){true, at, next, f, p.proven};
            else if (f.durable_seq > p.proven)
                p.proven = f.durable_seq;
            at = next;
        }
    }
    return p;
}

/* What the README says about a single damaged place. */
static void check_class(fixture *f, const place *p, size_t segment, uint64_t byte, outcome *o)
{
    const log_builder *b = &f->log;
    bool last_segment = segment + 1 == b->count;
    if (!p->frame) {
        CHECK(f, o, !has_loss(&o->report)); /* headers come in two, the rest is free space */
        CHECK(f, o, o->read.count == f->operations && o->read.jumps == 0);
        if (byte < WAL_HEADER_BYTES)
            CHECK(f, o, has(&o->report, FIRN_WAL_HARMLESS));
        return;
    }
    CHECK(f, o, o->report.count == 1);
    const firn_wal_finding *found = &o->report.findings[0];
    CHECK(f, o, found->offset == p->offset);
    bool last_frame = last_segment && p->end == b->segments[segment].end;
    bool closed = b->segments[b->count - 1].size < f->log.segment_bytes;
    if (last_frame)
        CHECK(f, o, found->kind == (closed ? FIRN_WAL_LOST : FIRN_WAL_TORN));
    else if (p->f.count == 0)
        CHECK(f, o, found->kind == FIRN_WAL_HARMLESS);
    else
        CHECK(f, o, found->kind == (p->proven >= p->f.seq_first ? FIRN_WAL_LOST : FIRN_WAL_TORN));
    if (found->kind == FIRN_WAL_LOST && p->f.count > 0) {
        CHECK(f, o, found->seq_first == p->f.seq_first);
        CHECK(f, o, found->seq_last == p->f.seq_first + p->f.count - 1);
    }
}

static void flip_every_bit(bool closed)
{
    fixture f;
    fixture_init(&f, closed);
    for (size_t i = 0; i < f.log.count; i++) {
        const log_segment *s = &f.log.segments[i];
        char path[64];
        log_path(f.log.first_no + i, path);
        for (uint64_t byte = 0; byte < s->size; byte++) {
            bool header =
                byte < WAL_HEADER_BYTES || (byte >= WAL_HEADER_COPY_OFFSET &&
                                            byte < WAL_HEADER_COPY_OFFSET + WAL_HEADER_BYTES);
            bool frames = byte >= WAL_DATA_OFFSET && byte < s->end;
            if (!header && !frames && byte % 97 != 0)
                continue;
            place p = find_place(&f.log, i, byte);
            /* All policies on one bit of a byte, the classification on each. */
            for (unsigned bit = 0; bit < 8; bit++) {
                outcome o;
                snprintf(f.what, sizeof f.what, "%s, byte %llu, bit %u", path,
                         (unsigned long long)byte, bit);
                simfs_flip_bit(f.sim, path, byte * 8 + bit);
                if (bit == byte % 8) {
                    check_policies(&f, f.sim, &o);
                } else {
                    wal_config config = log_config(FIRN_RECOVERY_INSPECT);
                    open_and_read(&f, f.sim, &config, false, &o);
                    CHECK(&f, &o, o.status == FIRN_OK && o.read.wrong == 0);
                }
                check_class(&f, &p, i, byte, &o);
                firn_wal_report_release(&o.report);
                simfs_flip_bit(f.sim, path, byte * 8 + bit);
            }
        }
    }
    fixture_release(&f);
}

static void any_flipped_bit_of_a_log_that_was_not_closed_is_classified(void **state)
{
    (void)state;
    flip_every_bit(false);
}

static void any_flipped_bit_of_a_closed_log_is_classified(void **state)
{
    (void)state;
    flip_every_bit(true);
}

/* ---- Truncation ---- */

static void truncate_everywhere(bool closed)
{
    fixture f;
    fixture_init(&f, closed);
    for (size_t i = 0; i < f.log.count; i++) {
        const log_segment *s = &f.log.segments[i];
        char path[64];
        log_path(f.log.first_no + i, path);
        for (uint64_t size = 0; size < s->size; size++) {
            bool left_out = (size > 700 && size < 4000 && size % 211 != 0) ||
                            (size > s->end + 64 && size % 211 != 0);
            if (left_out)
                continue;
            outcome o;
            simfs *copy = simfs_clone(f.sim);
            snprintf(f.what, sizeof f.what, "%s cut to %llu bytes", path, (unsigned long long)size);
            simfs_cut(copy, path, size);
            check_policies(&f, copy, &o);
            /* A segment has its full size from its creation; a closed one ends with its seal. */
            bool last = i + 1 == f.log.count;
            bool complete = size >= s->end && (!last || closed);
            bool header = size >= WAL_HEADER_COPY_OFFSET + WAL_HEADER_BYTES;
            CHECK(&f, &o, has_loss(&o.report) == !complete);
            CHECK(&f, &o, header || o.report.count > 0);
            firn_wal_report_release(&o.report);
            simfs_free(copy);
        }
    }
    fixture_release(&f);
}

static void a_file_cut_to_any_length_is_noticed(void **state)
{
    (void)state;
    truncate_everywhere(false);
    truncate_everywhere(true);
}

/* ---- Sectors, files ---- */

static void any_zeroed_sector_is_noticed(void **state)
{
    (void)state;
    static const uint8_t zeros[512];
    for (int closed = 0; closed < 2; closed++) {
        fixture f;
        fixture_init(&f, closed != 0);
        for (size_t i = 0; i < f.log.count; i++) {
            const log_segment *s = &f.log.segments[i];
            char path[64];
            log_path(f.log.first_no + i, path);
            for (uint64_t at = 0; at + 512 <= s->size; at += 512) {
                outcome o;
                simfs *copy = simfs_clone(f.sim);
                bool changes = memcmp(s->bytes + at, zeros, 512) != 0;
                snprintf(f.what, sizeof f.what, "%s, sector %llu zeroed", path,
                         (unsigned long long)at / 512);
                simfs_poke(copy, path, at, zeros, 512);
                check_policies(&f, copy, &o);
                CHECK(&f, &o, (o.report.count > 0) == changes);
                firn_wal_report_release(&o.report);
                simfs_free(copy);
            }
        }
        fixture_release(&f);
    }
}

static void check_loss(fixture *f, simfs *sim, firn_wal_finding_kind kind)
{
    outcome o;
    check_policies(f, sim, &o);
    CHECK(f, &o, has(&o.report, kind));
    CHECK(f, &o, has_loss(&o.report));
    firn_wal_report_release(&o.report);
    simfs_free(sim);
}

static void a_missing_segment_is_noticed(void **state)
{
    (void)state;
    for (uint64_t no = 1; no <= 3; no++) {
        fixture f;
        char path[64];
        fixture_init(&f, no == 2);
        snprintf(f.what, sizeof f.what, "segment %llu removed", (unsigned long long)no);
        simfs *copy = simfs_clone(f.sim);
        simfs_remove(copy, log_path(no, path));
        check_loss(&f, copy, FIRN_WAL_MISSING_SEGMENT);
        fixture_release(&f);
    }
}

static void swapped_and_duplicated_segments_are_noticed(void **state)
{
    (void)state;
    for (uint64_t a = 1; a <= 3; a++) {
        for (uint64_t b = 1; b <= 4; b++) {
            if (a == b)
                continue;
            fixture f;
            char from[64], to[64];
            fixture_init(&f, (a + b) % 2 == 0);
            log_path(a, from);
            log_path(b, to);
            simfs *copy = simfs_clone(f.sim);
            snprintf(f.what, sizeof f.what, "segment %llu copied over %llu", (unsigned long long)a,
                     (unsigned long long)b);
            simfs_copy_file(copy, from, to);
            check_loss(&f, copy, FIRN_WAL_WRONG_SEGMENT);
            if (b <= 3) {
                copy = simfs_clone(f.sim);
                snprintf(f.what, sizeof f.what, "segments %llu and %llu swapped",
                         (unsigned long long)a, (unsigned long long)b);
                simfs_swap_files(copy, from, to);
                check_loss(&f, copy, FIRN_WAL_WRONG_SEGMENT);
            }
            fixture_release(&f);
        }
    }
}

static void a_segment_of_another_log_is_noticed(void **state)
{
    (void)state;
    for (uint64_t no = 1; no <= 3; no++) {
        fixture f;
        char path[64];
        fixture_init(&f, true);
        log_builder other;
        log_builder_init(&other);
        memcpy(other.store_id, "some other store", 16);
        for (int i = 0; i < 3; i++) {
            log_rotate(&other);
            log_batch(&other, 2);
        }
        simfs *copy = simfs_clone(f.sim);
        snprintf(f.what, sizeof f.what, "segment %llu of another log", (unsigned long long)no);
        simfs_write_file(copy, log_path(no, path), other.segments[no - 1].bytes, LOG_SEGMENT_BYTES);
        check_loss(&f, copy, FIRN_WAL_WRONG_SEGMENT);
        log_builder_release(&other);
        fixture_release(&f);
    }
}

/* A backup program brings back a segment as it was before the last appends to it. */
static void an_older_copy_of_a_segment_is_noticed(void **state)
{
    (void)state;
    static const uint8_t zeros[3 * WAL_PAGE_BYTES];
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        char path[64];
        fixture_init(&f, true);
        const log_segment *s = &f.log.segments[i];
        log_path(i + 1, path);
        for (uint64_t at = WAL_DATA_OFFSET; at < s->end;) {
            wal_frame frame;
            assert_int_equal(
                wal_frame_decode(s->bytes + at, s->end - at, s->header.salt, at, &frame),
                WAL_FRAME_OK);
            simfs *copy = simfs_clone(f.sim);
            snprintf(f.what, sizeof f.what, "%s as it was at offset %llu", path,
                     (unsigned long long)at);
            simfs_poke(copy, path, at, zeros, s->size - at);
            outcome o;
            check_policies(&f, copy, &o);
            CHECK(&f, &o, o.report.count > 0);
            firn_wal_report_release(&o.report);
            simfs_free(copy);
            at += wal_frame_size(frame.payload_bytes);
        }
        fixture_release(&f);
    }
}

/* A segment of the same numbers and sizes, from another history of the same log (a copy that went
 * its own way). */
static void a_segment_from_another_history_is_noticed_by_the_running_checksum(void **state)
{
    (void)state;
    fixture f;
    char path[64];
    fixture_init(&f, true);
    log_builder other;
    log_sample(&other);
    log_segment *s = &other.segments[1];
    /* The same frames, written a millisecond later: every header checksum differs, nothing else
     * does. */
    wal_frame first;
    uint64_t chain = s->header.salt, frames = 0;
    for (uint64_t at = WAL_DATA_OFFSET; at < s->end;) {
        assert_int_equal(wal_frame_decode(s->bytes + at, s->end - at, s->header.salt, at, &first),
                         WAL_FRAME_OK);
        first.time_ms++;
        if (first.type == WAL_SEAL) {
            wal_seal seal = {.chain = chain, .frames = frames, .kind = WAL_SEAL_ROTATION};
            wal_seal_encode(&seal, s->bytes + at + WAL_FRAME_BYTES);
            first.payload_crc = crc32_update(0, s->bytes + at + WAL_FRAME_BYTES, WAL_SEAL_BYTES);
        }
        wal_frame_encode(&first, s->header.salt, at, s->bytes + at);
        chain = wal_chain_next(chain, first.header_crc);
        frames++;
        at += wal_frame_size(first.payload_bytes);
    }
    snprintf(f.what, sizeof f.what, "segment 2 of another history");
    simfs *copy = simfs_clone(f.sim);
    simfs_write_file(copy, log_path(2, path), s->bytes, s->size);
    check_loss(&f, copy, FIRN_WAL_LOST);
    log_builder_release(&other);
    fixture_release(&f);
}

/* ---- Anything at all ---- */

static void random_damage_never_gives_wrong_data(void **state)
{
    (void)state;
    const uint64_t seed = 77001;
    rng r = rng_init(seed);
    for (int round = 0; round < 1500; round++) {
        fixture f;
        fixture_init(&f, rng_below(&r, 2) == 0);
        uint64_t places = 1 + rng_below(&r, 6);
        int n = snprintf(f.what, sizeof f.what, "seed %llu, round %d:", (unsigned long long)seed,
                         round);
        for (uint64_t i = 0; i < places; i++) {
            size_t segment = rng_below(&r, 3);
            const log_segment *s = &f.log.segments[segment];
            char path[64];
            log_path(segment + 1, path);
            uint64_t at = rng_below(&r, 4) == 0
                              ? rng_below(&r, 1024)
                              : WAL_DATA_OFFSET + rng_below(&r, s->end - WAL_DATA_OFFSET);
            uint8_t junk[200];
            uint64_t size = 1 + rng_below(&r, rng_below(&r, 2) ? 4 : sizeof junk);
            if (at + size > s->size)
                size = s->size - at;
            if (rng_below(&r, 3) == 0)
                memset(junk, 0, sizeof junk);
            else
                rng_fill(&r, junk, sizeof junk);
            simfs_poke(f.sim, path, at, junk, size);
            if (n < 120)
                n += snprintf(f.what + n, sizeof f.what - (size_t)n, " %zu@%llu+%llu", segment + 1,
                              (unsigned long long)at, (unsigned long long)size);
        }
        outcome o;
        check_policies(&f, f.sim, &o);
        firn_wal_report_release(&o.report);
        fixture_release(&f);
    }
}

/* A value that holds a copy of the log's own frames must not be taken for frames when the frame
 * around it breaks. */
static void frames_inside_a_value_do_not_pass(void **state)
{
    (void)state;
    log_builder b;
    log_builder_init(&b);
    log_rotate(&b);
    log_batch(&b, 2);
    log_batch(&b, 3);
    log_segment *s = &b.segments[0];
    uint8_t payload[1024] = {1, 0, 1, 0};
    size_t copied = s->end - WAL_DATA_OFFSET;
    payload[4] = (uint8_t)(copied & 0xff);
    payload[5] = (uint8_t)(copied >> 8);
    payload[8] = 'k';
    memcpy(payload + 9, s->bytes + WAL_DATA_OFFSET, copied);
    /* 9 bytes of head put the copies off the 8-byte grid: put them on it, with a longer key. */
    payload[2] = 8;
    memmove(payload + 16, payload + 9, copied);
    uint64_t at = log_frame(&b, WAL_DATA, payload, 16 + copied, 1);
    simfs *sim = simfs_new(3);
    log_write(&b, sim);
    char path[64];
    simfs_flip_bit(sim, log_path(1, path), (at + 20) * 8);

    fixture f = {.sim = sim, .what = "frames inside a value"};
    f.log = b;
    wal_config config = log_config(FIRN_RECOVERY_INSPECT);
    outcome o;
    open_and_read(&f, sim, &config, false, &o);
    CHECK(&f, &o, o.status == FIRN_OK && o.read.count == 5 && o.read.wrong == 0);
    CHECK(&f, &o, o.report.count == 1 && o.report.findings[0].kind == FIRN_WAL_TORN);
    CHECK(&f, &o, o.report.findings[0].offset == at);
    firn_wal_report_release(&o.report);
    simfs_free(sim);
    log_builder_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_flipped_bit_of_a_log_that_was_not_closed_is_classified),
        cmocka_unit_test(any_flipped_bit_of_a_closed_log_is_classified),
        cmocka_unit_test(a_file_cut_to_any_length_is_noticed),
        cmocka_unit_test(any_zeroed_sector_is_noticed),
        cmocka_unit_test(a_missing_segment_is_noticed),
        cmocka_unit_test(swapped_and_duplicated_segments_are_noticed),
        cmocka_unit_test(a_segment_of_another_log_is_noticed),
        cmocka_unit_test(an_older_copy_of_a_segment_is_noticed),
        cmocka_unit_test(a_segment_from_another_history_is_noticed_by_the_running_checksum),
        cmocka_unit_test(random_damage_never_gives_wrong_data),
        cmocka_unit_test(frames_inside_a_value_do_not_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
