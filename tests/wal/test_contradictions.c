/* Recovery of logs whose frames are intact and contradict each other, which no writer and no crash leaves. Most were found by
 * tests/fuzz; the ordinary damage is in test_recover.c. */
#include <errno.h>

#include "bench.h"

#include <base/coding.h>

static void a_link_that_breaks_its_rules_jumps_over_nothing(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log);
    log_link(&b->log, &(wal_link){.floor_seq = 100, .life = 1, .seq_first = 4});
    log_batch(&b->log, 2);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_true(b->read.count == 5 && b->read.first == 1);
}

static void a_seal_at_odds_with_its_frames_does_not_end_the_segment(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 2);
    b->log.segments[0].chain ^= 1;
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_batch(&b->log, 2);
    log_synced(&b->log);
    log_mark(&b->log);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->read.count, 4);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 4);
}

/* A salvage ends with what a look shows before it, and nothing is left to be found: `count` operations behind `floor`. */
static void salvage_keeps(bench *b, uint64_t floor, uint64_t count, uint64_t last)
{
    static const firn_recovery policies[] = {FIRN_RECOVERY_INSPECT, FIRN_RECOVERY_SALVAGE,
                                             FIRN_RECOVERY_STRICT};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        assert_int_equal(bench_open(b, policies[i]), FIRN_OK);
        assert_int_equal(firn_wal_floor_seq(b->w), floor);
        assert_true(b->read.count == count && b->read.last == last);
    }
}

/* The first segment lacks the zeros at its end, which are those of a frame. Were that frame whole behind the repair of
 * the SEAL, the numbers that are marked as lost in the second segment would be there twice. */
static void what_a_cut_left_of_a_frame_does_not_become_one(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_segment *first = &b->log.segments[0];
    first->chain ^= 1;
    log_seal(&b->log, WAL_SEAL_CLOSE);
    log_batch(&b->log, 2);
    log_skip(&b->log, WAL_SKIP_SEEN, 4);
    first->size = first->end - 4;
    log_segment *second = log_made_ahead(&b->log);
    uint64_t damaged = log_batch(&b->log, 1);
    second->bytes[damaged] ^= 1;
    log_synced(&b->log);
    log_batch(&b->log, 2);
    bench_write(b);
    salvage_keeps(b, 0, 7, 12);
}

/* Whatever call of a salvage fails, the next one ends with the same. */
static void salvage_keeps_after_any_failure(bench *b, uint64_t count, uint64_t last)
{
    for (uint64_t at = 1, failed = 1; failed; at++) {
        simfs *before = simfs_clone(b->sim);
        simfs_fail(b->sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = EIO});
        failed = bench_open(b, FIRN_RECOVERY_SALVAGE) != FIRN_OK;
        simfs_heal(b->sim);
        if (failed)
            assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
        assert_true(b->read.count == count && b->read.last == last);
        bench_shut(b);
        simfs_free(b->sim);
        b->sim = before;
    }
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
}

/* Two operations that the SEAL in front of them is at odds with; two more, 6 and 7; and a second segment. */
static uint64_t at_odds_inside(bench *b)
{
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_synced(&b->log);
    log_segment *first = &b->log.segments[0];
    first->chain ^= 1;
    log_seal(&b->log, WAL_SEAL_CLOSE);
    log_batch(&b->log, 2);
    uint64_t end = log_batch(&b->log, 2);
    log_next_segment(&b->log);
    log_batch(&b->log, 2);
    return end;
}

/* That the first file was cut short is all that proves the loss at its end: were it whole behind the repair of the SEAL,
 * the log would be torn there. */
static void a_short_file_stays_short_until_its_end_is_repaired(void **state)
{
    bench *b = *state;
    b->log.segments[0].size = at_odds_inside(b);
    bench_write(b);
    salvage_keeps_after_any_failure(b, 7, 9);
}

/* Here that is how the log ends: in a short file, without the SEAL of a close. */
static void how_the_log_ends_stays_until_what_it_proves_is_repaired(void **state)
{
    bench *b = *state;
    uint64_t damaged = at_odds_inside(b);
    b->log.segments[0].bytes[damaged] ^= 1;
    for (size_t i = 0; i < 2; i++)
        b->log.segments[i].size = b->log.segments[i].end;
    bench_write(b);
    salvage_keeps_after_any_failure(b, 7, 9);
}

/* The next segment knows of frames behind the SEAL, where no reader goes. */
static void a_loss_behind_the_seal_of_a_rotation_can_be_salvaged(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_batch(&b->log, 2);
    log_synced(&b->log);
    log_next_segment(&b->log);
    log_batch(&b->log, 1);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_true(b->read.count == 4 && b->read.last == 6);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 4);
    assert_int_equal(bench_append(b), 7);
}

/* The newest segment should know the floor, too, and does not. */
static void a_segment_that_alone_knows_the_floor_is_not_removed(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_floor(&b->log, 3);
    b->log.floor_seq = 0;
    log_rotate(&b->log);
    log_batch(&b->log, 2);
    log_synced(&b->log);
    log_mark(&b->log);
    bench_write(b);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
        assert_int_equal(firn_wal_floor_seq(b->w), 3);
        assert_true(b->read.count == 2 && b->read.first == 4);
        simfs *killed = simfs_clone(b->sim); /* closing would write the floor once more */
        bench_shut(b);
        simfs_free(b->sim);
        b->sim = killed;
    }
}

/* A segment with three operations and a SEAL; the one behind it has no LINK yet. Returns the first. */
static const log_segment *sealed_behind_three(bench *b)
{
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log);
    return &b->log.segments[0];
}

/* Behind three operations stands a LINK that is at odds with them, and knows the floor. */
static void salvage_keeps_floor_2(bench *b)
{
    log_batch(&b->log, 2);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 2);
    assert_true(b->read.count == 3 && b->read.first == 3);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 2);
}

static void the_floor_that_only_a_contradicting_link_knows_is_kept(void **state)
{
    bench *b = *state;
    const log_segment *s = sealed_behind_three(b);
    log_link(&b->log, &(wal_link){.prev_no = 1,
                                  .prev_end = s->end,
                                  .prev_chain = s->chain ^ 1,
                                  .floor_seq = 2,
                                  .life = 1,
                                  .seq_first = 4});
    salvage_keeps_floor_2(b);
}

/* Of a log that was opened again and went on in the same segment: that LINK stands in the middle. */
static void the_floor_that_only_a_link_inside_a_segment_knows_is_kept(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    const log_segment *s = &b->log.segments[0];
    log_link(&b->log, &(wal_link){.prev_no = 1,
                                  .prev_end = s->end,
                                  .prev_chain = s->chain ^ 1,
                                  .floor_seq = 2,
                                  .life = 2,
                                  .seq_first = 4,
                                  .reopened = true});
    salvage_keeps_floor_2(b);
}

/* Behind three operations, a stand-in with one of its own, whose LINK is at odds with them. Returns it. */
static const log_segment *stand_in_at_odds(bench *b)
{
    const log_segment *first = sealed_behind_three(b);
    log_link(&b->log, &(wal_link){.prev_no = 1,
                                  .prev_end = first->end,
                                  .prev_chain = first->chain ^ 1,
                                  .life = 1,
                                  .seq_first = 4,
                                  .stand_in = true});
    log_batch(&b->log, 1);
    return &b->log.segments[1];
}

/* The segment in the middle stands in for one that was shorter: where that one ended, the last LINK knows. */
static void a_stand_in_stays_one_without_its_link(void **state)
{
    bench *b = *state;
    stand_in_at_odds(b);
    log_made_ahead(&b->log);
    log_link(&b->log, &(wal_link){.prev_no = 2,
                                  .prev_end = WAL_DATA_OFFSET + wal_frame_size(WAL_LINK_BYTES),
                                  .prev_chain = 1,
                                  .life = 2,
                                  .seq_first = 5});
    log_batch(&b->log, 2);
    bench_write(b);
    salvage_keeps(b, 0, 6, 6);
}

/* The same, but the last LINK was written by a cut, which knows what the stand-in has of its own. */
static void what_a_cut_gave_up_in_a_stand_in_stays_away(void **state)
{
    bench *b = *state;
    const log_segment *second = stand_in_at_odds(b);
    wal_link cut = {.prev_no = 2,
                    .prev_end = second->end,
                    .prev_chain = second->chain,
                    .life = 2,
                    .seq_first = 5};
    log_batch(&b->log, 3);
    log_made_ahead(&b->log);
    b->log.next_seq = 5;
    log_link(&b->log, &cut);
    log_batch(&b->log, 2);
    bench_write(b);
    salvage_keeps(b, 0, 6, 6);
}

/* The file in the middle begins with numbers that the one before it has, and is set aside with the floor in it. */
static void the_floor_that_only_a_wrong_segment_knows_is_kept(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_made_ahead(&b->log);
    b->log.next_seq = 2;
    log_batch(&b->log, 5);
    log_floor(&b->log, 5);
    log_made_ahead(&b->log);
    b->log.next_seq = 10;
    b->log.durable_seq = 9;
    log_batch(&b->log, 2);
    bench_write(b);
    salvage_keeps(b, 5, 2, 11);
    assert_true(bench_in_lost(b, "000000000002-0-1"));
}

/* All that is wrong with it is its first number. */
static void numbers_that_a_link_jumps_over_are_skipped(void **state)
{
    bench *b = *state;
    const log_segment *s = sealed_behind_three(b);
    b->log.next_seq = 6;
    log_link(
        &b->log,
        &(wal_link){
            .prev_no = 1, .prev_end = s->end, .prev_chain = s->chain, .life = 1, .seq_first = 6});
    log_batch(&b->log, 2);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_true(b->read.count == 5 && b->read.last == 7);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    firn_wal_report gaps;
    log_read again = {.of = &b->log};
    assert_int_equal(firn_wal_replay(b->w, 0, log_read_entry, &again, &gaps, &b->error), FIRN_OK);
    assert_int_equal(gaps.count, 1);
    assert_true(gaps.findings[0].seq_first == 4 && gaps.findings[0].seq_last == 5);
    firn_wal_report_release(&gaps);
}

/* Segment 1 with five operations, cut behind the third; segment 2, given up with it; and what the
 * cut made. Returns where it cut. */
static uint64_t make_cut(bench *b, bool stand_in, uint64_t chain_error)
{
    log_rotate(&b->log);
    if (stand_in) {
        log_builder *log = &b->log;
        const log_segment *first = &log->segments[0];
        log_batch(log, 1);
        log_seal(log, WAL_SEAL_ROTATION);
        log_made_ahead(log);
        log_link(log, &(wal_link){.prev_no = 1,
                                  .prev_end = first->end,
                                  .prev_chain = first->chain,
                                  .life = 1,
                                  .seq_first = 2,
                                  .stand_in = true});
        log_segment *s = &log->segments[1];
        uint64_t at = log_skip(log, WAL_SKIP_LOST, 2);
        s->chain =
            wal_chain_next(0, get_u32(s->bytes + at)); /* where frames are lost it begins anew */
    } else {
        log_batch(&b->log, 3);
    }
    const uint64_t kept = b->log.segments[b->log.count - 1].chain;
    const uint64_t no = b->log.count;
    const uint64_t at = log_batch(&b->log, 1);
    log_batch(&b->log, 1);
    log_next_segment(&b->log);
    log_batch(&b->log, 3);

    log_made_ahead(&b->log);
    b->log.next_seq = 4;
    log_link(&b->log, &(wal_link){.prev_no = no,
                                  .prev_end = at,
                                  .prev_chain = kept ^ chain_error,
                                  .life = 1,
                                  .seq_first = 4});
    log_skip(&b->log, WAL_SKIP_SEEN, 5);
    log_batch(&b->log, 1);
    bench_write(b);
    return at;
}

static void what_a_cut_gave_up_stays_away_when_its_link_is_salvaged(void **state)
{
    bench *b = *state;
    make_cut(b, false, 1);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_true(b->read.count == 4 && b->read.last == 9);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 4);
}

/* The cut found zeros where the writer's mark would be, and intact frames behind them. */
static void what_a_cut_gave_up_stays_away_in_a_segment_that_was_used_again(void **state)
{
    bench *b = *state;
    const uint64_t at = make_cut(b, false, 1);
    log_segment *s = &b->log.segments[0];
    s->header.optional = WAL_OPTIONAL_RECYCLED;
    wal_header_encode(&s->header, s->bytes);
    wal_header_encode(&s->header, s->bytes + WAL_HEADER_COPY_OFFSET);
    memset(s->bytes + at, 0, wal_frame_size(get_u32(s->bytes + at + 8)));
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_true(b->read.count == 4 && b->read.last == 9);
}

static void a_cut_inside_a_segment_that_stands_in_for_others_holds(void **state)
{
    bench *b = *state;
    make_cut(b, true, 0);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_true(b->read.count == 2 && b->read.first == 1 && b->read.last == 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_link_that_breaks_its_rules_jumps_over_nothing),
        TEST(a_seal_at_odds_with_its_frames_does_not_end_the_segment),
        TEST(what_a_cut_left_of_a_frame_does_not_become_one),
        TEST(a_short_file_stays_short_until_its_end_is_repaired),
        TEST(how_the_log_ends_stays_until_what_it_proves_is_repaired),
        TEST(a_loss_behind_the_seal_of_a_rotation_can_be_salvaged),
        TEST(a_segment_that_alone_knows_the_floor_is_not_removed),
        TEST(the_floor_that_only_a_contradicting_link_knows_is_kept),
        TEST(the_floor_that_only_a_link_inside_a_segment_knows_is_kept),
        TEST(the_floor_that_only_a_wrong_segment_knows_is_kept),
        TEST(a_stand_in_stays_one_without_its_link),
        TEST(what_a_cut_gave_up_in_a_stand_in_stays_away),
        TEST(numbers_that_a_link_jumps_over_are_skipped),
        TEST(what_a_cut_gave_up_stays_away_when_its_link_is_salvaged),
        TEST(what_a_cut_gave_up_stays_away_in_a_segment_that_was_used_again),
        TEST(a_cut_inside_a_segment_that_stands_in_for_others_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
