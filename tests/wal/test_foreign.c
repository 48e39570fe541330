/* Recovery of a folder that also holds segments of another log, or of an earlier part of this one. */
#include "bench.h"

static void a_file_in_front_that_is_not_missed_goes_to_lost(void **state)
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
        bench_write(b);
        if (foreign)
            log_write(&other, b->sim);
        else
            simfs_write_file(b->sim, log_path(1, path), "no header", 9);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
        assert_true(b->report.count > 0 && b->report.findings[0].kind == FIRN_WAL_HARMLESS);
        assert_int_equal(b->read.count, 5);
        assert_false(simfs_exists(b->sim, log_path(1, path)));
        assert_true(bench_in_lost(b, "000000000001-0-1"));
        assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
        assert_true(b->read.count == 5 && b->report.count == (foreign ? 0 : 1));
        log_builder_release(&other);
        void *gone = b;
        bench_teardown(&gone);
    }
}

static void one_newest_file_does_not_make_all_others_foreign(void **state)
{
    bench *b = *state;
    log_builder other;
    log_builder_init(&other);
    memcpy(other.store_id, "some other store", 16);
    other.first_no = 4;
    log_rotate(&other);
    log_batch(&other, 2);
    log_sample(&b->log);
    bench_write(b);
    log_write(&other, b->sim);
    log_builder_release(&other);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->read.count, 19);
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
    bench_write(b);
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
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_INSPECT), FIRN_OK);
    assert_memory_equal(b->w->store_id, "some other store", 16);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_newest_file_does_not_make_all_others_foreign),
        cmocka_unit_test(a_file_in_front_that_is_not_missed_goes_to_lost),
        TEST(a_file_in_front_is_missed_when_the_next_one_starts_later),
        TEST(without_a_majority_the_newest_segment_says_whose_log_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
