/* What the log's owner keeps elsewhere, and has durably noted: it is given up without a sync, not
 * looked at when the log is opened, and missed when it should still be there. */
#include "bed.h"

#include <support/crash.h>

static int first_seq(void *ctx, const firn_wal_entry *entry)
{
    *(uint64_t *)ctx = entry->seq;
    return 77;
}

/* The number of the first entry that is replayed; 0: none. */
static uint64_t first_replayed(bed *b)
{
    uint64_t seq = 0;
    firn_error error;
    int rc = firn_wal_replay(b->log, 0, first_seq, &seq, NULL, &error);
    assert_true(rc == FIRN_OK || rc == 77);
    return seq;
}

/* Three segments: numbers 1 to 4, 5 to 8, 9 to 12; nothing is synced. */
static bed three_segments(void)
{
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    bed b = bed_new_with(&c);
    for (uint64_t i = 1; i <= 12; i++) {
        assert_int_equal(bed_put(&b, i), i);
        if (i % 4 == 0 && i < 12)
            OK(firn_wal_rotate(b.log, err));
    }
    return b;
}

/* As an owner does after a flush of the first segment. */
static void cover_first(bed *b)
{
    uint64_t seq = 0;
    OK(wal_checkpoint(b->log, 4, &seq, err));
    assert_int_equal(seq, 13);
    OK(wal_give_up(b->log, 4, 1, err));
    b->config.covered_seq = 4;
    b->config.covered_no = 1;
}

static void GivingUpWhatTheOwnerCoversSyncsNothing(void **state)
{
    (void)state;
    bed b = three_segments();
    uint64_t syncs = simfs_calls(b.sim, SIMFS_SYNC) + simfs_calls(b.sim, SIMFS_DIR_SYNC);
    size_t files = bed_segment_files(&b);
    cover_first(&b);
    assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC) + simfs_calls(b.sim, SIMFS_DIR_SYNC), syncs);
    assert_int_equal(bed_segment_files(&b), files - 1);
    assert_int_equal(firn_wal_floor_seq(b.log), 4);
    assert_int_equal(first_replayed(&b), 5);
    bed_reopen(&b);
    assert_int_equal(first_replayed(&b), 5);
    assert_int_equal(bed_put(&b, 14), 14);
    bed_release(&b);
}

static void OnlySegmentsThatTheOwnerNamesGo(void **state)
{
    (void)state;
    bed b = three_segments();
    size_t files = bed_segment_files(&b);
    OK(wal_give_up(b.log, 12, 1, err));
    assert_int_equal(bed_segment_files(&b), files - 1);
    OK(wal_give_up(b.log, 4, 2, err)); /* it holds newer numbers than these */
    assert_int_equal(bed_segment_files(&b), files - 1);
    OK(wal_give_up(b.log, 12, 9, err)); /* the last one takes appends */
    assert_int_equal(bed_segment_files(&b), files - 2);
    bed_release(&b);
}

static void ACheckpointInsideASegmentLeavesItToBeSynced(void **state)
{
    (void)state;
    for (uint64_t covered = 3; covered <= 4; covered++) {
        bed b = three_segments();
        uint64_t checkpoint = 0, syncs = simfs_calls(b.sim, SIMFS_SYNC);
        OK(wal_checkpoint(b.log, covered, &checkpoint, err));
        OK(firn_wal_sync(b.log, err));
        assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), syncs + (covered < 4 ? 3 : 2));
        bed_release(&b);
    }
}

/* The power goes right behind the owner's note. Every state must open, and hold a prefix. */
static int verify(void *ctx, crash_state *state)
{
    const wal_config *config = ctx;
    wal *log = NULL;
    firn_error error = {0};
    wal_config c = *config;
    c.covered_seq = state->marks[0];
    c.covered_no = state->marks[1];
    int rc = wal_open_path(state->fs, BED_PATH, &c, NULL, &log, &error);
    if (rc != FIRN_OK)
        return crash_wrong(state, "open: %s: %s", firn_status_name(rc), error.message);
    int wrong = 0;
    uint64_t seq = 0, last = firn_wal_last_seq(log);
    if (last < c.covered_seq)
        wrong = crash_wrong(state, "the log ends at %llu", (unsigned long long)last);
    else if (firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, &seq, &error) != FIRN_OK ||
             seq <= last)
        wrong = crash_wrong(state, "append after the crash: %s", error.message);
    if (firn_wal_close(log, &error) != FIRN_OK && !wrong)
        wrong = crash_wrong(state, "close: %s", error.message);
    return wrong;
}

static void ACrashBehindTheOwnersNoteLosesNothingElse(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    c.options.segment_bytes = 8192;
    bed b = bed_new_with(&c);
    simfs_record(b.sim);
    for (uint64_t i = 1; i <= 40; i++) {
        bed_put_sized(&b, i, i * 37 % 400);
        if (i % 8 != 0)
            continue;
        uint64_t seq = firn_wal_last_seq(b.log);
        uint64_t no = wal_segment_no(wal_current_segment(b.log));
        OK(firn_wal_rotate(b.log, err));
        simfs_mark(b.sim, 0, seq);
        simfs_mark(b.sim, 1, no);
        uint64_t checkpoint = 0;
        OK(wal_checkpoint(b.log, seq, &checkpoint, err));
        assert_true(checkpoint > seq);
        OK(wal_give_up(b.log, seq, no, err));
    }
    bed_close(&b);
    crash_stats stats = {0};
    crash_options options = crash_options_default("wal.covered", 1, verify, &c);
    assert_int_equal(crash_run(b.sim, &options, &stats), 0);
    crash_print("wal.covered", &stats, stdout);
    if (!options.replay)
        assert_true(stats.states > 500);
    bed_release(&b);
}

/* ---- Opening ---- */

static void expect_missing(bed *b, const char *file)
{
    firn_wal_report report;
    firn_error error = {0};
    firn_wal_report_init(&report);
    assert_int_equal(
        wal_open_path(simfs_fs(b->sim), BED_PATH, &b->config, &report, &b->log, &error),
        FIRN_DAMAGED);
    assert_int_equal(report.count, 1);
    assert_int_equal(report.findings[0].kind, FIRN_WAL_MISSING_SEGMENT);
    assert_string_equal(report.findings[0].file, file);
    firn_wal_report_release(&report);
}

static void CoveredFilesAreNotLookedAtAndRemoved(void **state)
{
    (void)state;
    bed b = three_segments();
    cover_first(&b);
    bed_close(&b);
    /* A power cut may bring it back in any state: here, as what belongs nowhere. */
    simfs_write_file(b.sim, BED_PATH "/000000000001.wal", "stale bytes", 11);
    bed_open(&b);
    assert_false(simfs_exists(b.sim, BED_PATH "/000000000001.wal"));
    assert_int_equal(first_replayed(&b), 5);
    bed_release(&b);
}

static void TheSegmentBehindTheCoveredOnesMustBeThere(void **state)
{
    (void)state;
    bed b = three_segments();
    cover_first(&b);
    bed_close(&b);
    simfs_remove(b.sim, BED_PATH "/000000000002.wal");
    expect_missing(&b, "000000000002.wal");
    bed_release(&b);
}

static void AnOlderCopyOfTheWholeLogIsMissed(void **state)
{
    (void)state;
    bed b = bed_new();
    for (uint64_t i = 1; i <= 4; i++)
        bed_put(&b, i);
    bed_close(&b);
    /* The owner has seen segment 1 flushed, and the log go on in segment 2. */
    b.config.covered_seq = 4;
    b.config.covered_no = 1;
    expect_missing(&b, "000000000002.wal");
    /* A caller that asks for what is left gets a log that goes on behind both. */
    b.config.options.recovery = FIRN_RECOVERY_PREFIX;
    bed_open(&b);
    assert_int_equal(first_replayed(&b), 0);
    assert_int_equal(bed_put(&b, 5), 5);
    assert_true(wal_segment_no(wal_current_segment(b.log)) >= 2);
    b.config.options.recovery = FIRN_RECOVERY_TAIL;
    bed_reopen(&b);
    assert_int_equal(first_replayed(&b), 5);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(GivingUpWhatTheOwnerCoversSyncsNothing),
        cmocka_unit_test(OnlySegmentsThatTheOwnerNamesGo),
        cmocka_unit_test(ACheckpointInsideASegmentLeavesItToBeSynced),
        cmocka_unit_test(ACrashBehindTheOwnersNoteLosesNothingElse),
        cmocka_unit_test(CoveredFilesAreNotLookedAtAndRemoved),
        cmocka_unit_test(TheSegmentBehindTheCoveredOnesMustBeThere),
        cmocka_unit_test(AnOlderCopyOfTheWholeLogIsMissed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
