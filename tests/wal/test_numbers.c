/* Recovery where sequence numbers or segment numbers come to their end, are missing, or must not be given out again, and
 * where the floor lies behind the end of the log. */
#include "bench.h"

static void an_owner_that_claims_more_than_any_log_has_is_refused(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    bench_write(b);
    wal_config config = log_config(FIRN_RECOVERY_TAIL);
    config.covered_seq = FIRN_MAX_SEQ;
    assert_int_equal(bench_open_with(b, &config), FIRN_INVALID);
    assert_non_null(strstr(b->error.hint, "backup"));
    config.covered_seq = 0;
    config.covered_no = WAL_SEGMENT_NO_MAX;
    assert_int_equal(bench_open_with(b, &config), FIRN_INVALID);
    config.covered_no = UINT64_MAX;
    assert_int_equal(bench_open_with(b, &config), FIRN_INVALID);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 19);
}

static void a_log_that_would_have_to_skip_numbers_for_hours_is_refused(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    bench_write(b);
    wal_config config = log_config(FIRN_RECOVERY_TAIL);
    config.covered_seq = UINT64_C(1) << 50;
    assert_int_equal(bench_open_with(b, &config), FIRN_DAMAGED);
    assert_non_null(strstr(b->error.message, "can be skipped"));
    assert_true(b->error.hint[0] != '\0');
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 19);
}

static void a_hole_of_more_numbers_than_a_skip_holds_is_refused_with_a_remedy(void **state)
{
    bench *b = *state;
    log_one_segment(&b->log, 1, 2);
    uint64_t at = log_batch(&b->log, 1);
    b->log.next_seq = UINT64_C(1) << 35;
    log_synced(&b->log);
    log_lone_batch(&b->log);
    b->log.segments[0].bytes[at + 41] ^= 1;
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_DAMAGED);
    assert_non_null(strstr(b->error.message, "more than can be skipped"));
    assert_non_null(strstr(b->error.hint, "backup"));
}

static void the_last_number_can_be_used_and_closed_behind(void **state)
{
    bench *b = *state;
    b->log.next_seq = FIRN_MAX_SEQ;
    b->log.floor_seq = FIRN_MAX_SEQ - 1;
    log_rotate(&b->log);
    log_lone_batch(&b->log);
    log_close(&b->log);
    bench_write(b);
    b->log.is_operation[0] = false;
    wal_config config = log_config(FIRN_RECOVERY_STRICT);
    for (int i = 0; i < 2; i++) {
        b->read = (log_read){0};
        bench_shut(b);
        assert_int_equal(fs_dir_open(simfs_fs(b->sim), LOG_FOLDER, &b->dir, NULL), FIRN_OK);
        assert_int_equal(wal_open(b->dir, &config, &b->report, &b->w, &b->error), FIRN_OK);
        assert_true(b->report.closed_clean && b->report.count == 0);
        assert_int_equal(firn_wal_last_seq(b->w), FIRN_MAX_SEQ);
        assert_int_equal(firn_wal_replay(b->w, 0, log_read_entry, &b->read, NULL, &b->error),
                         FIRN_OK);
        assert_true(b->read.count == 1 && b->read.last == FIRN_MAX_SEQ);
        assert_int_equal(firn_wal_append(b->w, FIRN_PUT, "n", 1, "", 0, NULL, NULL, &b->error),
                         FIRN_TOO_LARGE);
    }
}

/* A file with a number of thirteen digits would not be found again. */
static void no_segment_is_made_behind_the_last_number_of_a_name(void **state)
{
    bench *b = *state;
    b->log.first_no = WAL_SEGMENT_NO_MAX;
    log_one_segment(&b->log, 1, 3);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_int_equal(bench_append(b), 4);
    assert_int_equal(firn_wal_rotate(b->w, &b->error), FIRN_TOO_LARGE);
    assert_non_null(strstr(b->error.message, "used up"));
    assert_int_equal(bench_append(b), 5);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_last_seq(b->w), 5);
}

/* The LINK of its second segment is damaged: nothing shows that the segment begins at number 2. */
static void log_with_a_broken_link(log_builder *log)
{
    log_rotate(log);
    log_batch(log, 3);
    log_rotate(log);
    log->next_seq = 2;
    log->segments[1].bytes[WAL_DATA_OFFSET + 50] ^= 1;
    log_batch(log, 8);
}

/* What a segment that goes back holds is not kept, but its numbers were visible once (W10). */
static void numbers_of_a_segment_that_is_given_up_are_not_given_out_again(void **state)
{
    bench *b = *state;
    log_with_a_broken_link(&b->log);
    b->log.next_seq = 4;
    log_next_segment(&b->log);
    log_batch(&b->log, 2);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_true(b->read.count == 5 && b->read.last == 5);
    assert_true(bench_in_lost(b, "000000000002-0-1"));
    assert_int_equal(bench_append(b), 10);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_last_seq(b->w), 10);
}

static void a_floor_behind_the_end_survives_a_salvage(void **state)
{
    bench *b = *state;
    log_with_a_broken_link(&b->log);
    log_floor(&b->log, 8);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 8);
    assert_int_equal(b->read.count, 0);
    assert_int_equal(bench_append(b), 10);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 8);
}

/* The segment that knows the floor goes back, and the owner covers what is in it. */
static void a_log_that_ends_below_its_floor_goes_on_in_a_new_segment(void **state)
{
    bench *b = *state;
    log_with_a_broken_link(&b->log);
    log_floor(&b->log, 8);
    b->log.floor_seq = 0;
    b->log.next_seq = 4;
    log_next_segment(&b->log);
    log_batch(&b->log, 2);
    bench_write(b);
    wal_config config = log_config(FIRN_RECOVERY_TAIL);
    config.covered_seq = 9;
    assert_int_equal(bench_open_with(b, &config), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 8);
    assert_int_equal(bench_append(b), 10);
    assert_int_equal(bench_open_with(b, &config), FIRN_OK); /* removes what is truncated */
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_true(firn_wal_floor_seq(b->w) == 8 && b->read.first == 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_owner_that_claims_more_than_any_log_has_is_refused),
        TEST(a_log_that_would_have_to_skip_numbers_for_hours_is_refused),
        TEST(a_hole_of_more_numbers_than_a_skip_holds_is_refused_with_a_remedy),
        TEST(the_last_number_can_be_used_and_closed_behind),
        TEST(no_segment_is_made_behind_the_last_number_of_a_name),
        TEST(numbers_of_a_segment_that_is_given_up_are_not_given_out_again),
        TEST(a_floor_behind_the_end_survives_a_salvage),
        TEST(a_log_that_ends_below_its_floor_goes_on_in_a_new_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
