/* Reading a log: what counts as its segments, as its end, as torn, lost or harmless (README.md,
 * "Telling a torn tail from loss"). Damage of every kind, everywhere, is in test_damage.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <base/checksum.h>
#include <base/coding.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_log.h"
#include "scan.h"

typedef struct bench {
    log_builder log;
    simfs *sim;
    fs_dir *dir;
    wal_scan scan;
    firn_error error;
    uint64_t covered_seq;
} bench;

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    log_builder_init(&b->log);
    b->sim = simfs_new(5);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    wal_scan_release(&b->scan);
    fs_dir_close(b->dir);
    simfs_free(b->sim);
    log_builder_release(&b->log);
    free(b);
    return 0;
}

/* Scans what the builder has, or what is in the folder already. */
static int scan_again(bench *b)
{
    wal_scan_options o = {.mapped = true, .covered_seq = b->covered_seq};
    wal_scan_release(&b->scan);
    if (!b->dir)
        assert_int_equal(fs_dir_open(simfs_fs(b->sim), LOG_FOLDER, &b->dir, NULL), FIRN_OK);
    return wal_scan_folder(b->dir, &o, &b->scan, &b->error);
}

static int scan_log(bench *b)
{
    log_write(&b->log, b->sim);
    return scan_again(b);
}

static const firn_wal_finding *only_finding(const bench *b)
{
    assert_int_equal(b->scan.report.count, 1);
    return &b->scan.report.findings[0];
}

static void a_log_without_damage_has_no_findings(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    assert_int_equal(scan_log(b), FIRN_OK);
    const firn_wal_report *r = &b->scan.report;
    assert_int_equal(r->count, 0);
    assert_int_equal(r->segments, 3);
    assert_int_equal(r->operations, 19);
    assert_true(r->seq_first == 1 && r->seq_last == 20);
    assert_int_equal(b->scan.last_seq, 20);
    assert_int_equal(r->durable_seq, 14);
    assert_false(r->closed_clean);
}

static void a_closed_log_is_known_to_be_durable_to_its_end(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    log_close(&b->log);
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_int_equal(b->scan.report.count, 0);
    assert_true(b->scan.report.closed_clean);
    assert_int_equal(b->scan.report.durable_seq, 20);
}

static void an_empty_folder_is_an_empty_log(void **state)
{
    bench *b = *state;
    simfs_write_file(b->sim, LOG_FOLDER "/LOCK", "", 0);
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_true(b->scan.count == 0 && b->scan.last_seq == 0 && b->scan.report.count == 0);
}

static void other_files_and_segments_in_the_making_are_no_part_of_the_log(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    simfs_write_file(b->sim, LOG_FOLDER "/000000000004.wal.new", "half made", 9);
    simfs_write_file(b->sim, LOG_FOLDER "/000000000007.walrus", "", 0);
    simfs_write_file(b->sim, LOG_FOLDER "/lost/000000000002-0-1", "", 0);
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_int_equal(b->scan.count, 3);
    assert_int_equal(b->scan.report.count, 0);
}

static void a_segment_made_ahead_and_never_used_is_no_finding(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    log_made_ahead(&b->log);
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_int_equal(b->scan.report.count, 0);
    assert_int_equal(b->scan.segments[3].part, WAL_PART_UNUSED);
}

static void a_seal_of_a_rotation_wants_a_segment_behind_it(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    assert_int_equal(scan_log(b), FIRN_OK);
    const firn_wal_finding *f = only_finding(b);
    assert_int_equal(f->kind, FIRN_WAL_MISSING_SEGMENT);
    assert_string_equal(f->file, "000000000004.wal");
    log_made_ahead(&b->log);
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_int_equal(b->scan.report.count, 0);
}

static void a_torn_tail_names_file_offset_and_length(void **state)
{
    bench *b = *state;
    char path[64];
    log_sample(&b->log);
    log_write(&b->log, b->sim);
    uint64_t end = b->log.segments[2].end;
    simfs_poke(b->sim, log_path(3, path), end + 7, "garbage", 7);
    assert_int_equal(scan_again(b), FIRN_OK);
    const firn_wal_finding *f = only_finding(b);
    assert_int_equal(f->kind, FIRN_WAL_TORN);
    assert_string_equal(f->file, "000000000003.wal");
    assert_true(f->offset == end && f->bytes == 14);
    assert_true(f->seq_first == 0 && f->seq_last == 0);
    assert_true(f->may_be_durable); /* a log without NOTEs, as earlier versions wrote them */
}

static void stale_bytes_of_an_earlier_use_are_told_from_a_torn_tail_by_the_mark(void **state)
{
    bench *b = *state;
    char path[64];
    log_sample(&b->log);
    log_segment *s = &b->log.segments[2];
    s->header.optional = WAL_OPTIONAL_RECYCLED;
    wal_header_encode(&s->header, s->bytes);
    wal_header_encode(&s->header, s->bytes + WAL_HEADER_COPY_OFFSET);
    memset(s->bytes + s->end + WAL_FRAME_BYTES, 0xa5, s->size - s->end - WAL_FRAME_BYTES);
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_int_equal(b->scan.report.count, 0);
    simfs_poke(b->sim, log_path(3, path), s->end + 11, "x", 1);
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_int_equal(only_finding(b)->kind, FIRN_WAL_TORN);
}

static void stale_frames_of_an_earlier_use_do_not_come_back(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    /* Intact frames under another salt, at the very place where the next frame would stand. */
    log_segment *s = &b->log.segments[2];
    wal_header real = s->header;
    uint64_t end = s->end;
    s->header.salt ^= 0x77;
    log_batch(&b->log, 2);
    log_batch(&b->log, 2);
    s->header = real;
    assert_int_equal(scan_log(b), FIRN_OK);
    const firn_wal_finding *f = only_finding(b);
    assert_true(f->kind == FIRN_WAL_TORN && f->offset == end);
    assert_int_equal(b->scan.last_seq, 20);
}

/* ---- What has been truncated ---- */

static void truncated_segments_may_be_there_or_not(void **state)
{
    bench *b = *state;
    char path[64];
    for (int i = 0; i < 5; i++) {
        log_rotate(&b->log);
        log_batch(&b->log, 3);
    }
    log_synced(&b->log);
    log_floor(&b->log, 10);
    log_write(&b->log, b->sim);
    /* Any of the first three may be gone: an unlink lands early or late. */
    for (unsigned gone = 0; gone < 8; gone++) {
        log_write(&b->log, b->sim);
        for (unsigned i = 0; i < 3; i++)
            if (gone & (1u << i))
                simfs_remove(b->sim, log_path(i + 1, path));
        assert_int_equal(scan_again(b), FIRN_OK);
        assert_int_equal(b->scan.report.count, 0);
        assert_int_equal(b->scan.floor_seq, 10);
        assert_int_equal(b->scan.report.operations, 5);
    }
    /* The fourth holds number 11. */
    simfs_remove(b->sim, log_path(4, path));
    assert_int_equal(scan_again(b), FIRN_OK);
    const firn_wal_finding *f = only_finding(b);
    assert_int_equal(f->kind, FIRN_WAL_MISSING_SEGMENT);
    assert_true(f->seq_first == 11 && f->seq_last == 12);
}

static void what_the_owner_covers_is_not_missed(void **state)
{
    bench *b = *state;
    char path[64];
    for (int i = 0; i < 4; i++) {
        log_rotate(&b->log);
        log_synced(&b->log);
        log_batch(&b->log, 3);
    }
    log_write(&b->log, b->sim);
    simfs_remove(b->sim, log_path(2, path));
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_int_equal(only_finding(b)->kind, FIRN_WAL_MISSING_SEGMENT);
    b->covered_seq = 5;
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_int_equal(only_finding(b)->seq_first, 4); /* 6 is still missing */
    assert_true(b->scan.lost);
    b->covered_seq = 6;
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_int_equal(only_finding(b)->kind, FIRN_WAL_HARMLESS);
}

static void damage_below_the_floor_is_harmless(void **state)
{
    bench *b = *state;
    char path[64];
    for (uint64_t floor = 5; floor <= 6; floor++) {
        log_builder_release(&b->log);
        log_builder_init(&b->log);
        log_rotate(&b->log);
        log_batch(&b->log, 3);
        uint64_t at = log_batch(&b->log, 3);
        log_synced(&b->log);
        log_floor(&b->log, floor);
        log_batch(&b->log, 1);
        log_write(&b->log, b->sim);
        simfs_flip_bit(b->sim, log_path(1, path), (at + 60) * 8);
        assert_int_equal(scan_again(b), FIRN_OK);
        /* Of numbers 4 to 6, the last one is wanted or not. */
        assert_int_equal(only_finding(b)->kind, floor == 6 ? FIRN_WAL_HARMLESS : FIRN_WAL_LOST);
    }
}

/* ---- Durable or not ---- */

static void the_durable_line_decides_between_torn_and_lost(void **state)
{
    bench *b = *state;
    char path[64];
    for (int synced = 0; synced < 2; synced++) {
        log_builder_release(&b->log);
        log_builder_init(&b->log);
        log_rotate(&b->log);
        log_batch(&b->log, 2);
        uint64_t at = log_batch(&b->log, 3);
        if (synced)
            log_synced(&b->log);
        log_batch(&b->log, 1);
        log_write(&b->log, b->sim);
        simfs_flip_bit(b->sim, log_path(1, path), (at + 60) * 8);
        assert_int_equal(scan_again(b), FIRN_OK);
        const firn_wal_finding *f = only_finding(b);
        assert_true(f->offset == at && f->seq_first == 3);
        if (synced)
            assert_true(f->kind == FIRN_WAL_LOST && f->seq_last == 5);
        else
            assert_true(f->kind == FIRN_WAL_TORN && f->seq_last == 6);
    }
}

static void a_sync_in_a_later_segment_proves_loss_in_an_earlier_one(void **state)
{
    bench *b = *state;
    char path[64];
    log_rotate(&b->log);
    uint64_t at = log_batch(&b->log, 3);
    log_rotate(&b->log);
    log_batch(&b->log, 1);
    log_write(&b->log, b->sim);
    simfs_flip_bit(b->sim, log_path(1, path), at * 8);
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_int_equal(only_finding(b)->kind, FIRN_WAL_TORN);
    log_synced(&b->log);
    log_mark(&b->log);
    log_write(&b->log, b->sim);
    simfs_flip_bit(b->sim, log_path(1, path), at * 8);
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_int_equal(only_finding(b)->kind, FIRN_WAL_LOST);
    assert_string_equal(only_finding(b)->file, "000000000001.wal");
}

static void a_damaged_frame_without_numbers_is_harmless_when_another_follows(void **state)
{
    bench *b = *state;
    char path[64];
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_synced(&b->log);
    uint64_t at = log_mark(&b->log);
    log_batch(&b->log, 1);
    log_write(&b->log, b->sim);
    simfs_flip_bit(b->sim, log_path(1, path), at * 8);
    assert_int_equal(scan_again(b), FIRN_OK);
    const firn_wal_finding *f = only_finding(b);
    assert_true(f->kind == FIRN_WAL_HARMLESS && f->offset == at && f->bytes == 40);
    assert_int_equal(b->scan.last_seq, 4);
}

/* A frame of the same size and number, but not the one that was written: only the running checksum
 * in the seal knows. */
static void a_seal_that_disagrees_with_the_frames_is_a_proof(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    uint64_t at = log_batch(&b->log, 2);
    log_close(&b->log);
    log_segment *s = &b->log.segments[0];
    wal_frame f;
    assert_int_equal(wal_frame_decode(s->bytes + at, s->end - at, s->header.salt, at, &f),
                     WAL_FRAME_OK);
    f.time_ms++;
    wal_frame_encode(&f, s->header.salt, at, s->bytes + at);
    assert_int_equal(scan_log(b), FIRN_OK);
    const firn_wal_finding *found = only_finding(b);
    assert_int_equal(found->kind, FIRN_WAL_LOST);
    assert_int_equal(found->offset, s->end - wal_frame_size(WAL_SEAL_BYTES));
}

/* ---- Versions to come ---- */

static void a_frame_of_an_unknown_type_is_passed_over_only_when_it_says_so(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 2);
    uint64_t at = log_frame(&b->log, 99, "later", 5, 0);
    log_batch(&b->log, 2);
    assert_int_equal(scan_log(b), FIRN_UNSUPPORTED);
    assert_int_equal(b->error.offset, at);
    assert_true(b->error.hint[0] != '\0');

    log_segment *s = &b->log.segments[0];
    wal_frame f;
    assert_int_equal(wal_frame_decode(s->bytes + at, s->end - at, s->header.salt, at, &f),
                     WAL_FRAME_OK);
    f.flags = WAL_FLAG_OPTIONAL;
    wal_frame_encode(&f, s->header.salt, at, s->bytes + at);
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_true(b->scan.report.count == 0 && b->scan.last_seq == 4);
}

static void an_operation_of_an_unknown_kind_is_refused_not_called_damage(void **state)
{
    bench *b = *state;
    uint8_t entry[] = {5, 0, 1, 0, 1, 0, 0, 0, 'k', 'v'};
    log_rotate(&b->log);
    uint64_t at = log_frame(&b->log, WAL_DATA, entry, sizeof(entry), 1);
    assert_int_equal(scan_log(b), FIRN_UNSUPPORTED);
    assert_int_equal(b->error.offset, at);
}

/* ---- Frames that are intact and yet wrong ---- */

static void a_frame_that_breaks_its_own_rules_does_not_pass(void **state)
{
    bench *b = *state;
    uint8_t eight[8] = {0xff, 0xff, 0xff};
    for (int i = 0; i < 6; i++) {
        log_builder_release(&b->log);
        log_builder_init(&b->log);
        log_rotate(&b->log);
        log_batch(&b->log, 1);
        if (i == 0)
            log_frame(&b->log, WAL_DATA, "\1\0\1\0\1\0\0\0k", 9, 1); /* an entry that is cut */
        else if (i == 1)
            log_frame(&b->log, WAL_DATA, "\1\0\0\0\0\0\0\0", 8, 2); /* fewer entries than it says */
        else if (i == 2)
            log_frame(&b->log, WAL_FLOOR, eight, 8, 0); /* a floor beyond the log */
        else if (i == 3)
            log_frame(&b->log, WAL_LINK, eight, 8, 0);
        else if (i == 4)
            log_frame(&b->log, WAL_MARK, eight, 8, 3); /* a mark with numbers */
        else if (i == 5) {
            b->log.durable_seq = 50; /* W5 */
            log_batch(&b->log, 1);
        }
        assert_int_equal(scan_log(b), FIRN_OK);
        assert_int_equal(only_finding(b)->kind, FIRN_WAL_TORN);
        assert_int_equal(b->scan.last_seq, 1);
    }
}

static void a_frame_out_of_order_does_not_pass(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    b->log.next_seq = 2;
    log_batch(&b->log, 1); /* number 2 again */
    b->log.next_seq = 9;
    log_batch(&b->log, 1); /* a hole that nothing explains */
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_int_equal(only_finding(b)->kind, FIRN_WAL_TORN);
    assert_int_equal(b->scan.last_seq, 8 + 1);
    assert_int_equal(only_finding(b)->seq_first, 4);
}

/* ---- Prepared by an attacker ---- */

/* Every 40 bytes a header that passes and claims the whole rest of the segment: a scan that checksummed
 * the payload of each would read terabytes. */
static void headers_that_claim_everything_cost_no_more_than_one_pass(void **state)
{
    bench *b = *state;
    b->log.segment_bytes = 16 << 20;
    log_rotate(&b->log);
    log_batch(&b->log, 1);
    log_segment *s = &b->log.segments[0];
    for (uint64_t at = s->end; at + 2 * WAL_FRAME_BYTES <= s->size; at += WAL_FRAME_BYTES) {
        wal_frame f = {
            .type = WAL_DATA,
            .payload_bytes = (uint32_t)(s->size - at - WAL_FRAME_BYTES),
            .payload_crc = 1,
            .count = 1,
            .seq_first = 2,
        };
        wal_frame_encode(&f, s->header.salt, at, s->bytes + at);
    }
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_int_equal(only_finding(b)->kind, FIRN_WAL_TORN);
    assert_int_equal(b->scan.last_seq, 1);
}

static void a_log_full_of_holes_costs_bounded_memory(void **state)
{
    bench *b = *state;
    b->log.segment_bytes = 8 << 20;
    log_rotate(&b->log);
    log_segment *s = &b->log.segments[0];
    for (uint64_t n = 0; s->end + 4096 < s->size; n++) {
        uint64_t at = log_mark(&b->log);
        if (n % 2 == 0)
            s->bytes[at + 30] ^= 1;
    }
    assert_int_equal(scan_log(b), FIRN_OK);
    assert_true(b->scan.gap_count <= 65536);
    assert_true(b->scan.report.count <= 1024);
    assert_true(b->scan.report.count > 100);
}

static void segment_numbers_far_apart_cost_nothing(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    log_write(&b->log, b->sim);
    log_segment *s = &b->log.segments[2];
    s->header.segment_no = 999999999999;
    wal_header_encode(&s->header, s->bytes);
    wal_header_encode(&s->header, s->bytes + WAL_HEADER_COPY_OFFSET);
    char path[64];
    simfs_remove(b->sim, log_path(3, path));
    simfs_write_file(b->sim, log_path(999999999999, path), s->bytes, s->size);
    assert_int_equal(scan_again(b), FIRN_OK);
    assert_true(b->scan.count == 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_log_without_damage_has_no_findings),
        TEST(a_closed_log_is_known_to_be_durable_to_its_end),
        TEST(an_empty_folder_is_an_empty_log),
        TEST(other_files_and_segments_in_the_making_are_no_part_of_the_log),
        TEST(a_segment_made_ahead_and_never_used_is_no_finding),
        TEST(a_seal_of_a_rotation_wants_a_segment_behind_it),
        TEST(a_torn_tail_names_file_offset_and_length),
        TEST(stale_bytes_of_an_earlier_use_are_told_from_a_torn_tail_by_the_mark),
        TEST(stale_frames_of_an_earlier_use_do_not_come_back),
        TEST(truncated_segments_may_be_there_or_not),
        TEST(what_the_owner_covers_is_not_missed),
        TEST(damage_below_the_floor_is_harmless),
        TEST(the_durable_line_decides_between_torn_and_lost),
        TEST(a_sync_in_a_later_segment_proves_loss_in_an_earlier_one),
        TEST(a_damaged_frame_without_numbers_is_harmless_when_another_follows),
        TEST(a_seal_that_disagrees_with_the_frames_is_a_proof),
        TEST(a_frame_of_an_unknown_type_is_passed_over_only_when_it_says_so),
        TEST(an_operation_of_an_unknown_kind_is_refused_not_called_damage),
        TEST(a_frame_that_breaks_its_own_rules_does_not_pass),
        TEST(a_frame_out_of_order_does_not_pass),
        TEST(headers_that_claim_everything_cost_no_more_than_one_pass),
        TEST(a_log_full_of_holes_costs_bounded_memory),
        TEST(segment_numbers_far_apart_cost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
