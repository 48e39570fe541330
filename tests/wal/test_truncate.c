/* Truncation: the floor, what is removed, what is used again, and a crash at any step. */
#include "bed.h"

#include <support/crash.h>

#include "scan.h"

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

static void EverythingUpToTheFloorIsGone(void **state)
{
    (void)state;
    bed b = bed_new();
    model m;
    model_init(&m);
    rng r = rng_init(11);
    for (int i = 0; i < 300; i++)
        model_step(&m, b.log, &r, FIRN_DURABILITY_NONE);
    size_t files = bed_segment_files(&b);
    uint64_t floor = 0;
    OK(firn_wal_truncate(b.log, firn_wal_last_seq(b.log) / 2, &floor, err));
    assert_int_equal(firn_wal_floor_seq(b.log), floor);
    assert_true(bed_segment_files(&b) < files);
    assert_int_equal(first_replayed(&b), floor + 1);
    model_check(&m, b.log, floor);
    bed_reopen(&b);
    assert_int_equal(firn_wal_floor_seq(b.log), floor);
    assert_int_equal(first_replayed(&b), floor + 1);
    model_check(&m, b.log, floor);
    model_release(&m);
    bed_release(&b);
}

static void AFloorInsideABatchKeepsTheBatchWhole(void **state)
{
    (void)state;
    bed b = bed_new();
    firn_batch *batch;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(firn_batch_put(batch, "k", 1, "v", 1), FIRN_OK);
    for (int i = 0; i < 4; i++)
        OK(firn_wal_append_batch(b.log, batch, NULL, NULL, err)); /* 1-3 4-6 7-9 10-12 */
    firn_batch_free(batch);
    static const uint64_t asked[] = {1, 2, 3, 4, 5, 6, 5, 7, 11, 12};
    static const uint64_t reached[] = {0, 0, 3, 3, 3, 6, 6, 6, 9, 12};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        uint64_t floor = 99;
        OK(firn_wal_truncate(b.log, asked[i], &floor, err));
        assert_int_equal(floor, reached[i]);
        assert_int_equal(first_replayed(&b), floor == 12 ? 0 : floor + 1);
    }
    bed_release(&b);
}

static void TruncatingBeyondTheLastNumberIsRefused(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    EXPECT(FIRN_INVALID, firn_wal_truncate(b.log, 2, NULL, err));
    OK(firn_wal_truncate(b.log, 0, NULL, err));
    assert_int_equal(first_replayed(&b), 1);
    bed_release(&b);
}

static void NumbersGoOnAfterEverythingWasTruncated(void **state)
{
    (void)state;
    bed b = bed_new();
    for (uint64_t i = 1; i <= 5; i++)
        bed_put(&b, i);
    OK(firn_wal_truncate(b.log, 5, NULL, err));
    assert_int_equal(first_replayed(&b), 0);
    bed_reopen(&b);
    assert_int_equal(firn_wal_last_seq(b.log), 5);
    assert_int_equal(bed_put(&b, 6), 6);
    OK(firn_wal_rotate(b.log, err));
    OK(firn_wal_truncate(b.log, 6, NULL, err));
    bed_reopen(&b);
    assert_int_equal(firn_wal_floor_seq(b.log), 6);
    assert_int_equal(bed_put(&b, 7), 7);
    bed_release(&b);
}

static void ACheckpointIsANumberAndSyncsWhatIsBeforeIt(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    bed_put(&b, 2);
    uint64_t seq;
    OK(firn_wal_checkpoint(b.log, &seq, err));
    assert_int_equal(seq, 3);
    assert_int_equal(firn_wal_durable_seq(b.log), 3);
    assert_int_equal(bed_put(&b, 3), 4);
    OK(firn_wal_truncate(b.log, seq, NULL, err));
    assert_int_equal(first_replayed(&b), 4);
    bed_release(&b);
}

/* ---- Using files again ---- */

static void TruncatedSegmentsAreUsedAgain(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = bed_config();
        c.options.backing = (firn_wal_backing)backing;
        bed b = bed_new_with(&c);
        model m;
        model_init(&m);
        rng r = rng_init(12);
        uint64_t created = 0;
        for (int i = 0; i < 12; i++) {
            for (int k = 0; k < 10; k++)
                model_step(&m, b.log, &r, k % 3 ? FIRN_DURABILITY_NONE : FIRN_DURABILITY_SYNC);
            OK(firn_wal_rotate(b.log, err));
            OK(firn_wal_truncate(b.log, firn_wal_last_seq(b.log), NULL, err));
            model_check(&m, b.log, firn_wal_floor_seq(b.log));
            if (i == 5)
                created = simfs_calls(b.sim, SIMFS_CREATE);
        }
        assert_int_equal(simfs_calls(b.sim, SIMFS_CREATE), created);
        assert_true(bed_files(&b, "") <= 5); /* LOCK, the current one, at most two spares */
        for (int k = 0; k < 10; k++)
            model_step(&m, b.log, &r, FIRN_DURABILITY_NONE);
        uint64_t floor = firn_wal_floor_seq(b.log);
        bed_reopen(&b);
        assert_int_equal(bed_files(&b, ".new"), 0);
        model_check(&m, b.log, floor);
        model_release(&m);
        bed_release(&b);
    }
}

static void ASegmentWithReadersIsNotUsedAgainBeforeTheyAreDone(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    wal_segment *held = wal_current_segment(b.log);
    wal_segment_ref(held);
    OK(firn_wal_rotate(b.log, err));
    uint8_t before[512];
    memcpy(before, wal_segment_base(held) + WAL_DATA_OFFSET, sizeof before);
    for (uint64_t i = 0; i < 6; i++) {
        OK(firn_wal_rotate(b.log, err));
        bed_put_sized(&b, i, 4000);
        OK(firn_wal_truncate(b.log, firn_wal_last_seq(b.log), NULL, err));
        assert_memory_equal(before, wal_segment_base(held) + WAL_DATA_OFFSET, sizeof before);
    }
    wal_segment_unref(held); /* comes back as a spare */
    for (uint64_t i = 0; i < 6; i++) {
        OK(firn_wal_rotate(b.log, err));
        bed_put(&b, i);
    }
    bed_reopen(&b);
    assert_int_equal(bed_files(&b, ".new"), 0);
    bed_release(&b);
}

static void ASegmentMayOutliveItsLog(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    wal_segment *held = wal_current_segment(b.log);
    wal_segment_ref(held);
    OK(firn_wal_rotate(b.log, err));
    bed_put(&b, 2);
    OK(firn_wal_truncate(b.log, 1, NULL, err));
    assert_int_equal(bed_files(&b, ".new"), 1);
    wal *log = b.log;
    b.log = NULL;
    OK(firn_wal_close(log, err));
    assert_int_equal(bed_files(&b, ".new"), 0);
    assert_int_equal(wal_segment_base(held)[0], 0x89);
    wal_segment_unref(held);
    bed_release(&b);
}

/* The process dies, and nothing is torn: who opens the log must not take what stands behind the frames for a tear. */
static void expect_no_doubt(bed *b)
{
    simfs *left = simfs_clone(b->sim);
    wal_config strict = b->config;
    firn_wal_report report;
    wal *log;
    strict.options.recovery = FIRN_RECOVERY_STRICT;
    firn_wal_report_init(&report);
    OK(wal_open_path(simfs_fs(left), BED_PATH, &strict, &report, &log, err));
    assert_int_equal(report.count, 0);
    assert_int_equal(firn_wal_last_seq(log), firn_wal_last_seq(b->log));
    OK(firn_wal_close(log, err));
    firn_wal_report_release(&report);
    simfs_free(left);
}

static void TheEndIsKnownInASegmentThatIsUsedAgain(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        wal_config c = bed_config();
        c.options.backing = how % 2 ? FIRN_WAL_BUFFERED : FIRN_WAL_MAPPED;
        c.options.durability = how < 2 ? FIRN_DURABILITY_NONE : FIRN_DURABILITY_SYNC;
        bed b = bed_new_with(&c);
        for (uint64_t i = 1; i <= 4; i++) {
            while (wal_current_segment(b.log)->end < 12000)
                bed_put_sized(&b, i, 900);
            OK(firn_wal_rotate(b.log, err));
            bed_put(&b, i);
            OK(firn_wal_truncate(b.log, firn_wal_last_seq(b.log) - 1, NULL, err));
        }
        const wal_segment *s = wal_current_segment(b.log);
        uint8_t *bytes = malloc((size_t)s->bytes);
        assert_non_null(bytes);
        OK(fs_read(s->file, bytes, (size_t)s->bytes, 0, err));
        assert_true(wal_used_end(bytes, s->end, s->bytes) > 10000); /* stale bytes stand behind */
        free(bytes);
        for (uint64_t i = 1; i <= 30; i++) {
            expect_no_doubt(&b);
            bed_put_sized(&b, i, i * 53 % 400);
        }
        bed_release(&b);
    }
}

/* ---- The segment with the FLOOR ---- */

typedef struct rotate_once {
    wal *log;
    bool armed;
} rotate_once;

/* While the FLOOR is being synced, the log goes on in another segment. */
static int rotate_during_sync(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)index;
    (void)name;
    rotate_once *r = ctx;
    if (call != SIMFS_SYNC || !r->armed)
        return 0;
    r->armed = false;
    OK(firn_wal_rotate(r->log, err));
    return 0;
}

static void TheFloorStaysUntilANewerOneIsDurable(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = bed_config();
        c.options.backing = (firn_wal_backing)backing;
        bed b = bed_new_with(&c);
        for (uint64_t i = 1; i <= 5; i++)
            bed_put(&b, i);
        simfs_record(b.sim);
        rotate_once r = {.log = b.log, .armed = true};
        simfs_on_call(b.sim, rotate_during_sync, &r);
        OK(firn_wal_truncate(b.log, 5, NULL, err));
        simfs_on_call(b.sim, NULL, NULL);
        assert_false(r.armed);
        uint64_t seq;
        firn_slice key = {(const uint8_t *)"k", 1}, none = {NULL, 0};
        OK(wal_put(b.log, FIRN_PUT, key, none, FIRN_DURABILITY_NONE, &seq, err));
        for (uint64_t seed = 1; seed <= 50; seed++) {
            char line[256];
            simfs *after = crash_now(b.sim, CRASH_STRICT, seed, line, sizeof line);
            wal *log;
            OK(wal_open_path(simfs_fs(after), BED_PATH, &c, NULL, &log, err));
            if (firn_wal_floor_seq(log) != 5 || firn_wal_last_seq(log) < 5)
                print_error("%s\n", line);
            assert_int_equal(firn_wal_floor_seq(log), 5);
            assert_true(firn_wal_last_seq(log) >= 5);
            OK(firn_wal_close(log, err));
            simfs_free(after);
        }
        bed_release(&b);
    }
}

/* Later segments repeat it, so that a damaged FLOOR costs nothing. */
static void TheFloorIsKnownToLaterSegments(void **state)
{
    (void)state;
    bed b = bed_new();
    for (uint64_t i = 1; i <= 5; i++)
        bed_put(&b, i);
    OK(firn_wal_rotate(b.log, err));
    bed_put(&b, 6);
    OK(firn_wal_truncate(b.log, 5, NULL, err));
    uint64_t behind = wal_current_segment(b.log)->end;
    OK(firn_wal_rotate(b.log, err));
    bed_put(&b, 7);
    bed_close(&b);
    simfs_flip_bit(b.sim, BED_PATH "/000000000002.wal", (behind - 4) * 8);
    bed_open(&b);
    assert_int_equal(firn_wal_floor_seq(b.log), 5);
    assert_int_equal(first_replayed(&b), 6);
    bed_release(&b);
}

/* ---- A crash at any step ----
 *
 * When a recovery crashes, too (depth 1), numbers may have been given away by the first one: replay
 * itself refuses holes that no SKIP accounts for. */

enum { MARK_DURABLE, MARK_FLOOR_ASKED, MARK_FLOOR, MARK_APPENDED };

typedef struct seen {
    uint64_t first, last, count;
    bool hole;
} seen;

static int see(void *ctx, const firn_wal_entry *e)
{
    seen *s = ctx;
    if (s->count == 0)
        s->first = e->seq;
    /* The script appends nothing but puts, so numbers of entries are dense but for checkpoints,
     * which it tells by their number: every tenth. */
    for (uint64_t n = s->last + 1; s->count > 0 && n < e->seq; n++)
        s->hole = s->hole || n % 10 != 0;
    s->last = e->seq;
    s->count++;
    return 0;
}

static int verify_crash(void *ctx, crash_state *state)
{
    const wal_config *config = ctx;
    wal *log;
    firn_error error = {0};
    seen s = {0};
    int rc = wal_open_path(state->fs, BED_PATH, config, NULL, &log, &error);
    if (rc != FIRN_OK)
        return crash_wrong(state, "open: %s: %s", firn_status_name(rc), error.message);
    int wrong = 0;
    uint64_t floor = firn_wal_floor_seq(log), last = firn_wal_last_seq(log);
    rc = firn_wal_replay(log, 0, see, &s, NULL, &error);
    if (rc != FIRN_OK)
        wrong = crash_wrong(state, "replay: %s: %s", firn_status_name(rc), error.message);
    else if (s.hole && state->depth == 0)
        wrong = crash_wrong(state, "a hole in %llu..%llu", (unsigned long long)s.first,
                            (unsigned long long)s.last);
    else if (last < state->marks[MARK_DURABLE])
        wrong =
            crash_wrong(state, "%llu was durable, %llu is there",
                        (unsigned long long)state->marks[MARK_DURABLE], (unsigned long long)last);
    else if (floor > state->marks[MARK_FLOOR_ASKED] || floor < state->marks[MARK_FLOOR])
        wrong = crash_wrong(state, "the floor is %llu", (unsigned long long)floor);
    else if (s.count > 0 && (s.first <= floor || (s.first > floor + 2 && state->depth == 0)))
        wrong = crash_wrong(state, "replay starts at %llu, the floor is %llu",
                            (unsigned long long)s.first, (unsigned long long)floor);
    uint64_t seq = 0;
    if (!wrong && (firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, &seq, &error) != FIRN_OK ||
                   seq <= last))
        wrong = crash_wrong(state, "append after the crash: %s", error.message);
    if (firn_wal_close(log, &error) != FIRN_OK && !wrong)
        wrong = crash_wrong(state, "close: %s", error.message);
    return wrong;
}

static void truncating_script(bed *b, rng *r, uint64_t value_most)
{
    for (uint64_t i = 1; i <= 60; i++) {
        firn_error error;
        uint64_t seq;
        simfs_mark(b->sim, MARK_APPENDED, i);
        if (i % 10 == 0) {
            assert_int_equal(firn_wal_checkpoint(b->log, &seq, &error), FIRN_OK);
            simfs_mark(b->sim, MARK_DURABLE, seq);
        } else {
            seq = bed_put_sized(b, i, (size_t)rng_below(r, value_most));
        }
        assert_int_equal(seq, i);
        simfs_mark(b->sim, MARK_DURABLE, firn_wal_durable_seq(b->log));
        if (i % 15 == 0)
            OK(firn_wal_rotate(b->log, err));
        if (i % 12 == 0) {
            simfs_mark(b->sim, MARK_FLOOR_ASKED, i - 3);
            OK(firn_wal_truncate(b->log, i - 3, NULL, err));
            simfs_mark(b->sim, MARK_FLOOR, firn_wal_floor_seq(b->log));
        }
    }
}

static void crash_everywhere(const char *name, firn_wal_backing backing, firn_durability durability,
                             uint64_t segment_bytes, uint64_t value_most)
{
    wal_config c = bed_config();
    c.options.segment_bytes = segment_bytes;
    c.options.backing = backing;
    c.options.durability = durability;
    c.options.batch_writes = 4;
    bed b = {.sim = simfs_new(3), .config = c};
    simfs_record(b.sim);
    bed_open(&b);
    rng r = rng_init(4);
    truncating_script(&b, &r, value_most);
    bed_close(&b);
    crash_options options = crash_options_default(name, 5, verify_crash, &c);
    crash_stats stats = {0};
    uint64_t wrong = crash_run(b.sim, &options, &stats);
    crash_print(name, &stats, stdout);
    assert_int_equal(wrong, 0);
    if (!options.replay)
        assert_true(stats.states > 500);
    bed_release(&b);
}

static void ACrashWhileTruncatingLosesNothingMapped(void **state)
{
    (void)state;
    crash_everywhere("truncate-mapped-none", FIRN_WAL_MAPPED, FIRN_DURABILITY_NONE, 8192, 700);
    crash_everywhere("truncate-mapped-sync", FIRN_WAL_MAPPED, FIRN_DURABILITY_SYNC, 8192, 700);
    crash_everywhere("truncate-mapped-batch", FIRN_WAL_MAPPED, FIRN_DURABILITY_BATCH, 8192, 700);
}

static void ACrashWhileTruncatingLosesNothingBuffered(void **state)
{
    (void)state;
    crash_everywhere("truncate-buffered-none", FIRN_WAL_BUFFERED, FIRN_DURABILITY_NONE, 8192, 700);
    crash_everywhere("truncate-buffered-sync", FIRN_WAL_BUFFERED, FIRN_DURABILITY_SYNC, 8192, 700);
}

/* Segments of which more than the first page was in use: what their former life left stands behind the new frames. */
static void ACrashInASegmentThatIsUsedAgainLosesNothing(void **state)
{
    (void)state;
    crash_everywhere("again-mapped-none", FIRN_WAL_MAPPED, FIRN_DURABILITY_NONE, 16384, 1500);
    crash_everywhere("again-mapped-batch", FIRN_WAL_MAPPED, FIRN_DURABILITY_BATCH, 16384, 1500);
    crash_everywhere("again-buffered-sync", FIRN_WAL_BUFFERED, FIRN_DURABILITY_SYNC, 16384, 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(EverythingUpToTheFloorIsGone),
        cmocka_unit_test(AFloorInsideABatchKeepsTheBatchWhole),
        cmocka_unit_test(TruncatingBeyondTheLastNumberIsRefused),
        cmocka_unit_test(NumbersGoOnAfterEverythingWasTruncated),
        cmocka_unit_test(ACheckpointIsANumberAndSyncsWhatIsBeforeIt),
        cmocka_unit_test(TruncatedSegmentsAreUsedAgain),
        cmocka_unit_test(ASegmentWithReadersIsNotUsedAgainBeforeTheyAreDone),
        cmocka_unit_test(ASegmentMayOutliveItsLog),
        cmocka_unit_test(TheEndIsKnownInASegmentThatIsUsedAgain),
        cmocka_unit_test(TheFloorStaysUntilANewerOneIsDurable),
        cmocka_unit_test(TheFloorIsKnownToLaterSegments),
        cmocka_unit_test(ACrashWhileTruncatingLosesNothingMapped),
        cmocka_unit_test(ACrashWhileTruncatingLosesNothingBuffered),
        cmocka_unit_test(ACrashInASegmentThatIsUsedAgainLosesNothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
