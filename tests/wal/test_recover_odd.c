/* Recovery of logs that no crash leaves: files of several logs in one folder, frames that are intact and
 * contradict each other, numbers at their end. Most were found by tests/fuzz; the ordinary damage is in
 * test_recover.c. */
#include "bench.h"

#include <base/coding.h>

/* ---- Building what no writer leaves ---- */

/* A file without a folder would be no folder. */
static void write_log(bench *b)
{
    simfs_write_file(b->sim, LOG_FOLDER "/note", "", 0);
    log_write(&b->log, b->sim);
}

/* A DATA frame with one operation; the builder does not note its number. */
static uint64_t put_batch(log_builder *log)
{
    uint8_t payload[256];
    size_t size = log_batch_encode(log->next_seq, 1, payload, sizeof(payload));
    return log_frame(log, WAL_DATA, payload, size, 1);
}

static void put_link(log_builder *log, const wal_link *link)
{
    uint8_t payload[WAL_LINK_BYTES];
    wal_link_encode(link, payload);
    log_frame(log, WAL_LINK, payload, sizeof(payload), 0);
}

static uint64_t put_skip(log_builder *log, uint32_t reason, uint32_t count)
{
    uint8_t payload[4];
    put_u32(payload, reason);
    return log_frame(log, WAL_SKIP, payload, sizeof(payload), count);
}

/* A log of one segment with this number of operations, whose first number is `first`. */
static void one_segment(log_builder *log, uint64_t first, uint32_t operations)
{
    log->next_seq = first;
    log->floor_seq = first - 1;
    log_rotate(log);
    log_batch(log, operations);
}

static bool in_lost(bench *b, const char *name)
{
    char path[96];
    snprintf(path, sizeof(path), LOG_FOLDER "/lost/%s", name);
    return simfs_exists(b->sim, path);
}

/* ---- Numbers at their end ---- */

static void an_owner_that_claims_more_than_any_log_has_is_refused(void **state)
{
    bench *b = *state;
    log_sample(&b->log);
    write_log(b);
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
    write_log(b);
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
    one_segment(&b->log, 1, 2);
    uint64_t at = log_batch(&b->log, 1);
    b->log.next_seq = UINT64_C(1) << 35;
    log_synced(&b->log);
    put_batch(&b->log);
    b->log.segments[0].bytes[at + 41] ^= 1;
    write_log(b);
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
    put_batch(&b->log);
    log_close(&b->log);
    write_log(b);
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
    one_segment(&b->log, 1, 3);
    write_log(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_int_equal(bench_append(b), 4);
    assert_int_equal(firn_wal_rotate(b->w, &b->error), FIRN_TOO_LARGE);
    assert_non_null(strstr(b->error.message, "used up"));
    assert_int_equal(bench_append(b), 5);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_last_seq(b->w), 5);
}

/* ---- Files that are not the log's ---- */

static void a_file_in_front_that_nobody_misses_goes_to_lost(void **state)
{
    (void)state;
    for (int foreign = 0; foreign < 2; foreign++) {
        bench *b;
        bench_setup((void **)&b);
        char path[64];
        log_builder other;
        log_builder_init(&other);
        memcpy(other.store_id, "some other store", 16);
        log_rotate(&other);
        log_batch(&other, 2);
        b->log.first_no = 2;
        log_rotate(&b->log);
        log_batch(&b->log, 3);
        log_rotate(&b->log);
        log_batch(&b->log, 2);
        if (!foreign) /* else what is before it counts as truncated */
            b->log.segments[0].bytes[WAL_DATA_OFFSET + 50] ^= 1;
        write_log(b);
        if (foreign)
            log_write(&other, b->sim);
        else
            simfs_write_file(b->sim, log_path(1, path), "no header", 9);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
        assert_true(b->report.count > 0 && b->report.findings[0].kind == FIRN_WAL_HARMLESS);
        assert_int_equal(b->read.count, 5);
        assert_false(simfs_exists(b->sim, log_path(1, path)));
        assert_true(in_lost(b, "000000000001-0-1"));
        assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
        assert_true(b->read.count == 5 && b->report.count == (foreign ? 0 : 1));
        log_builder_release(&other);
        void *gone = b;
        bench_teardown(&gone);
    }
}

/* Only an intact frame shows that no number is missing in front of it. */
static void a_file_in_front_is_missed_when_the_next_one_starts_later(void **state)
{
    bench *b = *state;
    char path[64];
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_rotate(&b->log);
    log_synced(&b->log);
    log_batch(&b->log, 2);
    log_segment *s = &b->log.segments[1];
    s->bytes[WAL_DATA_OFFSET + 50] ^= 1; /* the LINK */
    write_log(b);
    simfs_write_file(b->sim, log_path(1, path), "no header", 9);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(b->report.findings[0].kind, FIRN_WAL_LOST);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_true(b->read.count == 2 && b->read.first == 4);
}

static void without_a_majority_the_newest_segment_says_whose_log_it_is(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    memcpy(b->log.store_id, "some other store", 16);
    log_rotate(&b->log);
    log_batch(&b->log, 2);
    write_log(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_INSPECT), FIRN_OK);
    assert_memory_equal(b->w->store_id, "some other store", 16);
}

/* What a segment that goes back holds is not kept, but its numbers were visible once (W10). */
static void numbers_of_a_segment_that_is_given_up_are_not_given_out_again(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_rotate(&b->log);
    b->log.next_seq = 2;
    b->log.segments[1].bytes[WAL_DATA_OFFSET + 50] ^= 1; /* the LINK */
    log_batch(&b->log, 8);
    b->log.next_seq = 4;
    log_next_segment(&b->log);
    log_batch(&b->log, 2);
    write_log(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_true(b->read.count == 5 && b->read.last == 5);
    assert_true(in_lost(b, "000000000002-0-1"));
    assert_int_equal(bench_append(b), 10);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_last_seq(b->w), 10);
}

static void a_floor_behind_the_end_survives_a_salvage(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_rotate(&b->log);
    b->log.next_seq = 2;
    b->log.segments[1].bytes[WAL_DATA_OFFSET + 50] ^=
        1; /* the LINK: it is not seen to start below the floor */
    log_batch(&b->log, 8);
    log_floor(&b->log, 8);
    write_log(b);
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
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_rotate(&b->log);
    b->log.next_seq = 2;
    b->log.segments[1].bytes[WAL_DATA_OFFSET + 50] ^= 1; /* the LINK */
    log_batch(&b->log, 8);
    log_floor(&b->log, 8);
    b->log.floor_seq = 0;
    b->log.next_seq = 4;
    log_next_segment(&b->log);
    log_batch(&b->log, 2);
    write_log(b);
    wal_config config = log_config(FIRN_RECOVERY_TAIL);
    config.covered_seq = 9;
    assert_int_equal(bench_open_with(b, &config), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 8);
    assert_int_equal(bench_append(b), 10);
    assert_int_equal(bench_open_with(b, &config), FIRN_OK); /* removes what is truncated */
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_true(firn_wal_floor_seq(b->w) == 8 && b->read.first == 10);
}

/* ---- Segments at the end ---- */

static void a_damaged_header_copy_of_the_segment_that_is_used_next_is_mended(void **state)
{
    bench *b = *state;
    char path[64];
    log_sample(&b->log);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log)->bytes[20] ^= 1;
    write_log(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_int_equal(bench_append(b), 21);
    size_t size;
    const uint8_t *bytes = simfs_peek(b->sim, log_path(4, path), &size);
    assert_memory_equal(bytes, bytes + WAL_HEADER_COPY_OFFSET, WAL_HEADER_BYTES);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 20);
}

/* The first group of a segment that was made ahead did not survive whole: salvage keeps its bytes. */
static void bytes_in_a_segment_made_ahead_go_to_lost_with_it(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log);
    memcpy(log_made_ahead(&b->log)->bytes + WAL_DATA_OFFSET, "half a frame", 12);
    write_log(b);
    char path[64];
    simfs_remove(b->sim, log_path(2, path));
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->read.count, 3);
    assert_false(simfs_exists(b->sim, log_path(3, path)));
    assert_true(in_lost(b, "000000000003-0-1"));
}

/* ---- Frames that contradict each other ---- */

static void a_link_that_breaks_its_rules_jumps_over_nothing(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log);
    put_link(&b->log, &(wal_link){.floor_seq = 100, .life = 1, .seq_first = 4});
    log_batch(&b->log, 2);
    write_log(b);
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
    write_log(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->read.count, 4);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 4);
}

/* The next segment knows of frames behind the SEAL, where nobody reads. */
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
    write_log(b);
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
    write_log(b);
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

static void the_floor_that_only_a_contradicting_link_knows_is_kept(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log);
    const log_segment *s = &b->log.segments[0];
    put_link(&b->log, &(wal_link){.prev_no = 1,
                                  .prev_end = s->end,
                                  .prev_chain = s->chain ^ 1,
                                  .floor_seq = 2,
                                  .life = 1,
                                  .seq_first = 4});
    log_batch(&b->log, 2);
    write_log(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 2);
    assert_true(b->read.count == 3 && b->read.first == 3);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 2);
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
        put_link(log, &(wal_link){.prev_no = 1,
                                  .prev_end = first->end,
                                  .prev_chain = first->chain,
                                  .life = 1,
                                  .seq_first = 2,
                                  .stand_in = true});
        log_segment *s = &log->segments[1];
        uint64_t at = put_skip(log, WAL_SKIP_LOST, 2);
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
    put_link(&b->log, &(wal_link){.prev_no = no,
                                  .prev_end = at,
                                  .prev_chain = kept ^ chain_error,
                                  .life = 1,
                                  .seq_first = 4});
    put_skip(&b->log, WAL_SKIP_SEEN, 5);
    log_batch(&b->log, 1);
    write_log(b);
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
    write_log(b);
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
        TEST(an_owner_that_claims_more_than_any_log_has_is_refused),
        TEST(a_log_that_would_have_to_skip_numbers_for_hours_is_refused),
        TEST(a_hole_of_more_numbers_than_a_skip_holds_is_refused_with_a_remedy),
        TEST(the_last_number_can_be_used_and_closed_behind),
        TEST(no_segment_is_made_behind_the_last_number_of_a_name),
        cmocka_unit_test(a_file_in_front_that_nobody_misses_goes_to_lost),
        TEST(a_file_in_front_is_missed_when_the_next_one_starts_later),
        TEST(without_a_majority_the_newest_segment_says_whose_log_it_is),
        TEST(numbers_of_a_segment_that_is_given_up_are_not_given_out_again),
        TEST(a_floor_behind_the_end_survives_a_salvage),
        TEST(a_log_that_ends_below_its_floor_goes_on_in_a_new_segment),
        TEST(a_damaged_header_copy_of_the_segment_that_is_used_next_is_mended),
        TEST(bytes_in_a_segment_made_ahead_go_to_lost_with_it),
        TEST(a_link_that_breaks_its_rules_jumps_over_nothing),
        TEST(a_seal_at_odds_with_its_frames_does_not_end_the_segment),
        TEST(a_loss_behind_the_seal_of_a_rotation_can_be_salvaged),
        TEST(a_segment_that_alone_knows_the_floor_is_not_removed),
        TEST(the_floor_that_only_a_contradicting_link_knows_is_kept),
        TEST(what_a_cut_gave_up_stays_away_when_its_link_is_salvaged),
        TEST(what_a_cut_gave_up_stays_away_in_a_segment_that_was_used_again),
        TEST(a_cut_inside_a_segment_that_stands_in_for_others_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
