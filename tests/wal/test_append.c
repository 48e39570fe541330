/* Appending: numbers, limits, segments, owners with an index, opening and closing. */
#include "bed.h"

#include <base/entry.h>
#include <base/error.h>
#include <support/tempdir.h>
#include <sys/wait.h>
#include <unistd.h>

static void NumbersAreDenseFromOne(void **state)
{
    (void)state;
    bed b = bed_new();
    for (uint64_t i = 1; i <= 300; i++)
        assert_int_equal(bed_put(&b, i), i);
    assert_int_equal(firn_wal_last_seq(b.log), 300);
    bed_release(&b);
}

static void reads_back(const wal_config *config, uint64_t seed)
{
    static const firn_durability classes[] = {FIRN_DURABILITY_SYNC, FIRN_DURABILITY_BATCH,
                                              FIRN_DURABILITY_NONE};
    print_message("seed %llu\n", (unsigned long long)seed);
    bed b = bed_new_with(config);
    rng r = rng_init(seed);
    model m;
    model_init(&m);
    for (int i = 0; i < 400; i++) {
        model_step(&m, b.log, &r, classes[rng_below(&r, 3)]);
        if (rng_below(&r, 40) == 0)
            OK(firn_wal_rotate(b.log, err));
        if (rng_below(&r, 60) == 0)
            bed_reopen(&b);
        if (i % 50 == 0)
            model_check(&m, b.log, 0);
    }
    model_check(&m, b.log, 0);
    model_check(&m, b.log, firn_wal_last_seq(b.log) / 2);
    bed_reopen(&b);
    model_check(&m, b.log, 0);
    OK(firn_wal_verify(b.log, NULL, err));
    model_release(&m);
    bed_release(&b);
}

static void WhatWasAppendedIsReadBackFromAMappedLog(void **state)
{
    (void)state;
    wal_config c = bed_config();
    for (uint64_t seed = 1; seed <= 4; seed++)
        reads_back(&c, seed);
}

static void WhatWasAppendedIsReadBackFromABufferedLog(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.backing = FIRN_WAL_BUFFERED;
    for (uint64_t seed = 1; seed <= 4; seed++)
        reads_back(&c, seed);
}

static void ABatchGetsConsecutiveNumbersAndReturnsItsLast(void **state)
{
    (void)state;
    bed b = bed_new();
    firn_batch *batch;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(firn_batch_put(batch, "k", 1, &i, sizeof i), FIRN_OK);
    uint64_t seq;
    OK(firn_wal_append_batch(b.log, batch, NULL, &seq, err));
    assert_int_equal(seq, 5);
    OK(firn_wal_append_batch(b.log, batch, NULL, &seq, err));
    assert_int_equal(seq, 10);
    assert_int_equal(firn_wal_durable_seq(b.log), 10);
    firn_batch_free(batch);
    bed_release(&b);
}

static int expect_odd_entries(void *ctx, const firn_wal_entry *e)
{
    int *n = ctx;
    static const size_t key_sizes[] = {0, 3, 0}, value_sizes[] = {0, 3, 0};
    if (e->key.size != key_sizes[*n] || e->value.size != value_sizes[*n])
        return 1000;
    if (*n == 1 && memcmp(e->key.data, "\0a\0", 3) != 0)
        return 1001;
    if (firn_wal_entry_is_tombstone(e) != (*n == 2))
        return 1002;
    (*n)++;
    return 0;
}

static void EmptyKeysEmptyValuesAndNulBytesAreOrdinary(void **state)
{
    (void)state;
    bed b = bed_new();
    OK(firn_wal_append(b.log, FIRN_PUT, NULL, 0, NULL, 0, NULL, NULL, err));
    OK(firn_wal_append(b.log, FIRN_PUT, "\0a\0", 3, "\0\0\0", 3, NULL, NULL, err));
    OK(firn_wal_append(b.log, FIRN_DELETE, "", 0, NULL, 0, NULL, NULL, err));
    int n = 0;
    OK(firn_wal_replay(b.log, 0, expect_odd_entries, &n, NULL, err));
    assert_int_equal(n, 3);
    bed_release(&b);
}

static void AWriteOverTheLimitIsRefusedAndUsesNoNumber(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.max_batch_bytes = 1000;
    bed b = bed_new_with(&c);
    static const uint8_t bytes[2000];
    uint64_t seq = 0;
    /* 8 bytes of entry header, 3 of key */
    for (size_t value = 988; value <= 990; value++)
        EXPECT(value <= 989 ? FIRN_OK : FIRN_TOO_LARGE,
               firn_wal_append(b.log, FIRN_PUT, "key", 3, bytes, value, NULL, &seq, err));
    assert_int_equal(seq, 2);
    for (size_t value = 988; value <= 990; value++) {
        firn_batch *batch;
        assert_int_equal(firn_batch_new(&batch), FIRN_OK);
        assert_int_equal(firn_batch_put(batch, "key", 3, bytes, value), FIRN_OK);
        EXPECT(value <= 989 ? FIRN_OK : FIRN_TOO_LARGE,
               firn_wal_append_batch(b.log, batch, NULL, &seq, err));
        firn_batch_free(batch);
    }
    assert_int_equal(seq, 4);
    assert_int_equal(firn_wal_last_seq(b.log), 4);
    bed_release(&b);
}

static void AKeyOrValueOverItsLimitIsRefused(void **state)
{
    (void)state;
    bed b = bed_new();
    uint8_t *key = calloc(1, FIRN_MAX_KEY_BYTES + 1);
    for (size_t size = FIRN_MAX_KEY_BYTES - 1; size <= FIRN_MAX_KEY_BYTES + 1; size++)
        EXPECT(size <= FIRN_MAX_KEY_BYTES ? FIRN_OK : FIRN_TOO_LARGE,
               firn_wal_append(b.log, FIRN_PUT, key, size, NULL, 0, NULL, NULL, err));
    EXPECT(FIRN_TOO_LARGE, firn_wal_append(b.log, FIRN_PUT, "k", 1, key,
                                           (size_t)FIRN_MAX_VALUE_BYTES + 1, NULL, NULL, err));
    assert_int_equal(firn_wal_last_seq(b.log), 2);
    free(key);
    bed_release(&b);
}

static void WrongArgumentsAreRefusedAndUseNoNumber(void **state)
{
    (void)state;
    bed b = bed_new();
    firn_batch *empty;
    assert_int_equal(firn_batch_new(&empty), FIRN_OK);
    EXPECT(FIRN_INVALID, firn_wal_append_batch(b.log, empty, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_append_batch(b.log, NULL, NULL, NULL, err));
    firn_batch_free(empty);
    EXPECT(FIRN_INVALID, firn_wal_append(b.log, FIRN_DELETE, "k", 1, "v", 1, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_append(b.log, (firn_kind)0, "k", 1, NULL, 0, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_append(b.log, (firn_kind)257, "k", 1, NULL, 0, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_append(b.log, FIRN_PUT, NULL, 1, NULL, 0, NULL, NULL, err));
    static const char *const ends[] = {"a", "b", ""};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        EXPECT(FIRN_INVALID, firn_wal_append(b.log, FIRN_DELETE_RANGE, "b", 1, ends[i],
                                             strlen(ends[i]), NULL, NULL, err));
    firn_wal_write write = {.size = 0, .durability = FIRN_DURABILITY_NONE};
    EXPECT(FIRN_INVALID, firn_wal_append(b.log, FIRN_PUT, "k", 1, NULL, 0, &write, NULL, err));
    write = (firn_wal_write){.size = sizeof write, .durability = (firn_durability)9};
    EXPECT(FIRN_INVALID, firn_wal_append(b.log, FIRN_PUT, "k", 1, NULL, 0, &write, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_append(NULL, FIRN_PUT, "k", 1, NULL, 0, NULL, NULL, err));
    assert_int_equal(firn_wal_last_seq(b.log), 0);
    bed_release(&b);
}

static void OptionsOutOfRangeAreRefusedByName(void **state)
{
    (void)state;
    simfs *sim = simfs_new(1);
    wal *log = NULL;
    for (int i = 0; i < 9; i++) {
        wal_config c = bed_config();
        static const char *const names[] = {"batch_writes",    "batch_bytes",   "batch_ms",
                                            "segment_bytes",   "segment_bytes", "max_batch_bytes",
                                            "max_batch_bytes", "durability",    "size"};
        firn_wal_options *o = &c.options;
        switch (i) {
        case 0:
            o->batch_writes = 0;
            break;
        case 1:
            o->batch_bytes = 0;
            break;
        case 2:
            o->batch_ms = 0;
            break;
        case 3:
            o->segment_bytes = 8191;
            break;
        case 4:
            o->segment_bytes = UINT64_C(0x100000000) - 4095;
            break;
        case 5:
            o->max_batch_bytes = 0;
            break;
        case 6:
            o->max_batch_bytes = (uint64_t)FIRN_MAX_BATCH_BYTES + 1;
            break;
        case 7:
            o->durability = (firn_durability)4;
            break;
        default:
            o->size = 0;
            break;
        }
        firn_error error = {0};
        assert_int_equal(wal_open_path(simfs_fs(sim), BED_PATH, &c, NULL, &log, &error),
                         FIRN_INVALID);
        assert_non_null(strstr(error.message, names[i]));
        assert_string_not_equal(error.hint, "");
    }
    assert_null(log);
    simfs_free(sim);
}

static void ABatchLargerThanASegmentGetsASegmentOfItsOwn(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = bed_config();
        c.options.backing = (firn_wal_backing)backing;
        bed b = bed_new_with(&c);
        model m;
        model_init(&m);
        for (uint64_t i = 1; i <= 6; i++) {
            size_t size = i % 2 ? 100 : 50000 * (size_t)i;
            uint8_t *value = calloc(1, size);
            uint64_t seq;
            firn_durability d = i % 3 ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE;
            firn_slice key = {(const uint8_t *)"key", 3}, v = {value, size};
            OK(wal_put(b.log, FIRN_PUT, key, v, d, &seq, err));
            model_add_put(&m, FIRN_PUT, key, v, seq);
            free(value);
        }
        model_check(&m, b.log, 0);
        bed_reopen(&b);
        model_check(&m, b.log, 0);
        wal_stats stats;
        wal_get_stats(b.log, &stats);
        assert_true(stats.disk_bytes > 600000);
        model_release(&m);
        bed_release(&b);
    }
}

static void ALargeFrameIsWrittenInPiecesAndReadsBack(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.segment_bytes = 16 << 20;
    bed b = bed_new_with(&c);
    model m;
    model_init(&m);
    size_t size = (3 << 20) + 13;
    uint8_t *value = malloc(size);
    rng r = rng_init(5);
    rng_fill(&r, value, size);
    firn_slice key = {(const uint8_t *)"key", 3}, v = {value, size};
    uint64_t seq;
    OK(wal_put(b.log, FIRN_PUT, key, v, FIRN_DURABILITY_SYNC, &seq, err));
    model_add_put(&m, FIRN_PUT, key, v, seq);
    firn_batch *batch;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "a", 1, value, size), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "b", 1, value, 9), FIRN_OK);
    OK(wal_write(b.log, batch, FIRN_DURABILITY_SYNC, &seq, err));
    model_add_batch(&m, batch, seq);
    firn_batch_free(batch);
    model_step(&m, b.log, &r, FIRN_DURABILITY_SYNC);
    model_check(&m, b.log, 0);
    bed_reopen(&b);
    model_check(&m, b.log, 0);
    free(value);
    model_release(&m);
    bed_release(&b);
}

/* Every way a last frame can end before, at and behind the reserve. */
static void ASegmentIsFilledUpToItsReserveWhateverTheSizes(void **state)
{
    (void)state;
    for (size_t last = 3500; last <= 3800; last += 4) {
        wal_config c = bed_config();
        c.options.segment_bytes = 8192;
        bed b = bed_new_with(&c);
        bed_put_sized(&b, 1, last);
        for (uint64_t i = 2; i <= 4; i++)
            bed_put(&b, i);
        bed_reopen(&b);
        for (uint64_t i = 5; i <= 7; i++)
            assert_int_equal(bed_put(&b, i), i);
        OK(firn_wal_verify(b.log, NULL, err));
        bed_reopen(&b);
        assert_int_equal(firn_wal_last_seq(b.log), 7);
        bed_release(&b);
    }
}

static void RotatingAnEmptySegmentDoesNothing(void **state)
{
    (void)state;
    bed b = bed_new();
    OK(firn_wal_rotate(b.log, err));
    assert_int_equal(bed_segment_files(&b), 1);
    bed_put(&b, 1);
    OK(firn_wal_rotate(b.log, err));
    OK(firn_wal_rotate(b.log, err));
    assert_int_equal(bed_segment_files(&b), 2);
    bed_release(&b);
}

static void ReopeningAHundredTimesKeepsNumbersContiguousAndTheFolderSmall(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = bed_config();
        c.options.backing = (firn_wal_backing)backing;
        c.options.segment_bytes = 8192;
        bed b = bed_new_with(&c);
        for (uint64_t i = 1; i <= 100; i++) {
            assert_int_equal(bed_put(&b, i), i);
            if (i % 10 == 0)
                OK(firn_wal_truncate(b.log, i - 5, NULL, err));
            bed_reopen(&b);
            assert_int_equal(firn_wal_last_seq(b.log), i);
            assert_int_equal(firn_wal_durable_seq(b.log), i);
        }
        assert_true(bed_segment_files(&b) <= 4);
        assert_int_equal(bed_files(&b, ".new"), 0);
        bed_release(&b);
    }
}

static void OpeningAndClosingWithoutAnAppendChangesNothing(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_close(&b);
    assert_int_equal(bed_segment_files(&b), 0); /* what was made for appends is gone again */
    bed_open(&b);
    bed_put(&b, 1);
    bed_close(&b);
    size_t size, size_after;
    const char *path = BED_PATH "/000000000001.wal";
    uint8_t before[8192];
    const uint8_t *bytes = simfs_peek(b.sim, path, &size);
    assert_int_equal(size, 8192);
    memcpy(before, bytes, size);
    bed_open(&b);
    bed_close(&b);
    bytes = simfs_peek(b.sim, path, &size_after);
    assert_int_equal(size_after, size);
    assert_memory_equal(bytes, before, size);
    assert_int_equal(bed_segment_files(&b), 1);
    bed_release(&b);
}

/* Its file was durable before the log went on in it, and the segment in front of it says so. */
static void ASegmentThatWasRotatedToIsMissed(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    OK(firn_wal_rotate(b.log, err));
    bed_put(&b, 2);
    simfs *left = simfs_clone(b.sim); /* as if the process died here */
    simfs_remove(left, BED_PATH "/000000000002.wal");
    firn_wal_report report;
    firn_wal_report_init(&report);
    firn_error error = {0};
    wal *log = NULL;
    assert_int_equal(wal_open_path(simfs_fs(left), BED_PATH, &b.config, &report, &log, &error),
                     FIRN_DAMAGED);
    assert_int_equal(report.count, 1);
    assert_int_equal(report.findings[0].kind, FIRN_WAL_MISSING_SEGMENT);
    assert_string_equal(report.findings[0].file, "000000000002.wal");
    firn_wal_report_release(&report);
    simfs_free(left);
    bed_release(&b);
}

static void ACleanCloseIsRecognised(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    bed_close(&b);
    firn_wal_report report;
    firn_wal_report_init(&report);
    OK(wal_open_path(simfs_fs(b.sim), BED_PATH, &b.config, &report, &b.log, err));
    assert_true(report.closed_clean);
    assert_int_equal(report.count, 0);
    firn_wal_report_release(&report);
    bed_release(&b);
}

static void AReadOnlyLogRefusesToWrite(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    bed_close(&b);
    b.config.options.read_only = true;
    bed_open(&b);
    uint64_t calls = simfs_calls(b.sim, SIMFS_CHANGING);
    EXPECT(FIRN_READ_ONLY, firn_wal_append(b.log, FIRN_PUT, "k", 1, NULL, 0, NULL, NULL, err));
    EXPECT(FIRN_READ_ONLY, firn_wal_rotate(b.log, err));
    EXPECT(FIRN_READ_ONLY, firn_wal_checkpoint(b.log, NULL, err));
    EXPECT(FIRN_READ_ONLY, firn_wal_truncate(b.log, 1, NULL, err));
    OK(firn_wal_sync(b.log, err));
    OK(firn_wal_wait_durable(b.log, 1, 0, err));
    bed_close(&b);
    assert_int_equal(simfs_calls(b.sim, SIMFS_CHANGING), calls);
    bed_release(&b);
}

static void ASecondOpenerIsRefused(void **state)
{
    (void)state;
    bed b = bed_new();
    wal *second = NULL;
    EXPECT(FIRN_LOCKED, wal_open_path(simfs_fs(b.sim), BED_PATH, &b.config, NULL, &second, err));
    bed_close(&b);
    OK(wal_open_path(simfs_fs(b.sim), BED_PATH, &b.config, NULL, &second, err));
    OK(firn_wal_close(second, err));
    bed_release(&b);
}

static void AMissingFolderIsMadeOnlyWhenAllowed(void **state)
{
    (void)state;
    simfs *sim = simfs_new(1);
    wal_config c = bed_config();
    wal *log = NULL;
    c.options.create_if_missing = false;
    EXPECT(FIRN_NOT_FOUND, wal_open_path(simfs_fs(sim), "a/b/log", &c, NULL, &log, err));
    c.options.create_if_missing = true;
    OK(wal_open_path(simfs_fs(sim), "a/b/log", &c, NULL, &log, err));
    OK(firn_wal_close(log, err));
    simfs_free(sim);
}

static void TheChildOfAForkIsRefused(void **state)
{
    (void)state;
    char *path = tempdir_new();
    firn_wal *log;
    OK(firn_wal_open(path, NULL, NULL, &log, err));
    OK(firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, NULL, err));
    pid_t child = fork();
    if (child == 0) {
        int append = firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, NULL, NULL);
        int sync = firn_wal_sync(log, NULL);
        int close = firn_wal_close(log, NULL);
        _exit(append == FIRN_INVALID && sync == FIRN_INVALID && close == FIRN_INVALID ? 0 : 1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    uint64_t seq;
    OK(firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, &seq, err));
    assert_int_equal(seq, 2);
    OK(firn_wal_close(log, err));
    tempdir_remove(path);
}

/* ---- An owner that keeps an index ---- */

typedef struct owner {
    wal *log;
    uint64_t indexed, segments;
    wal_segment *segment; /* where the next frame must lie; a reference */
    int refuse;
} owner;

static owner owner_of(wal *log)
{
    owner o = {.log = log, .segment = wal_current_segment(log)};
    wal_segment_ref(o.segment);
    return o;
}

static void follow(owner *o, wal_segment *taking)
{
    if (taking == o->segment)
        return;
    assert_int_equal(wal_segment_seq_first(taking), o->indexed + 1);
    assert_int_equal(wal_segment_seq_last(o->segment), o->indexed);
    wal_segment_unref(o->segment);
    wal_segment_ref(taking);
    o->segment = taking;
    o->segments++;
}

static void index_frames(owner *o, const wal_group *g)
{
    wal_applied f;
    uint64_t before = o->indexed;
    for (const wal_request *at = NULL; wal_group_next(g, &at, &f); o->indexed += f.count) {
        firn_slice entries = {wal_segment_base(f.segment) + f.offset, (size_t)f.bytes};
        assert_ptr_equal(f.segment, o->segment);
        assert_int_equal(f.seq_first, o->indexed + 1);
        assert_int_equal(entries_check(entries, f.count), FIRN_OK);
    }
    assert_int_equal(o->indexed - before, g->entries);
    assert_int_equal(o->indexed, g->seq_last);
}

static int owner_write(owner *o, wal_request *r)
{
    if (wal_join(o->log, r)) {
        wal_group g;
        firn_error error;
        uint64_t last_seq = firn_wal_last_seq(o->log);
        int rc = wal_group_start(o->log, &g, r, &error);
        if (rc == FIRN_OK)
            follow(o, g.segment);
        if (rc == FIRN_OK && o->refuse != FIRN_OK)
            rc = error_set(&error, o->refuse, "refused");
        if (rc == FIRN_OK)
            rc = wal_group_append(o->log, &g, &error);
        if (rc == FIRN_OK)
            index_frames(o, &g);
        /* What the index shows is given out: a reader of the index can have it synced before the group has ended. */
        assert_int_equal(firn_wal_last_seq(o->log), rc == FIRN_OK ? g.seq_last : last_seq);
        if (rc == FIRN_OK && o->indexed % 3 == 0) {
            OK(firn_wal_sync(o->log, err));
            assert_int_equal(firn_wal_durable_seq(o->log), g.seq_last);
        }
        wal_group_end(o->log, &g, rc, &error);
    }
    return wal_await(o->log, r);
}

static int owner_put(owner *o, uint64_t seed, size_t value_size, firn_error *err)
{
    static const uint8_t bytes[3000];
    wal_request r;
    char key[24];
    int n = snprintf(key, sizeof key, "key%llu", (unsigned long long)seed);
    int rc =
        wal_request_put(o->log, &r, FIRN_PUT, ENTRY_BUCKET_DEFAULT,
                        (firn_slice){(uint8_t *)key, (size_t)n}, (firn_slice){bytes, value_size},
                        seed % 2 ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE, err);
    return rc == FIRN_OK ? owner_write(o, &r) : rc;
}

static int owner_batch(owner *o, uint32_t count, firn_error *err)
{
    firn_batch *batch;
    wal_request r;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(firn_batch_put(batch, "k", 1, &i, sizeof i), FIRN_OK);
    int rc = wal_request_batch(o->log, &r, batch, FIRN_DURABILITY_BATCH, err);
    if (rc == FIRN_OK)
        rc = owner_write(o, &r);
    firn_batch_free(batch);
    return rc;
}

static int owner_rotate(owner *o)
{
    wal_request r;
    OK(wal_request_rotate(o->log, &r, err));
    assert_true(wal_join(o->log, &r));
    wal_group g;
    firn_error error;
    int rc = wal_group_rotate(o->log, &g, &r, &error);
    if (rc == FIRN_OK)
        follow(o, g.segment);
    wal_group_end(o->log, &g, rc, &error);
    return wal_await(o->log, &r);
}

static bed owner_bed(firn_wal_backing backing)
{
    wal_config c = bed_config();
    c.options.segment_bytes = 8192;
    c.options.backing = backing;
    return bed_new_with(&c);
}

static void AnOwnerSeesEveryFrameInOrderAndInPlace(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = owner_bed((firn_wal_backing)backing);
        owner o = owner_of(b.log);
        rng r = rng_init(3);
        for (uint64_t i = 0; i < 200; i++) {
            if (rng_below(&r, 4) == 0)
                OK(owner_batch(&o, 1 + (uint32_t)rng_below(&r, 20), err));
            else
                OK(owner_put(&o, i, rng_below(&r, 10) ? rng_below(&r, 100) : 3000, err));
        }
        assert_int_equal(o.indexed, firn_wal_last_seq(b.log));
        assert_true(o.segments > 5);
        uint64_t indexed = o.indexed;
        wal_segment_unref(o.segment);
        bed_reopen(&b);
        assert_int_equal(firn_wal_last_seq(b.log), indexed);
        bed_release(&b);
    }
}

static void AGroupThatItsOwnerRefusesConsumesNothing(void **state)
{
    (void)state;
    bed b = owner_bed(FIRN_WAL_MAPPED);
    owner o = owner_of(b.log);
    OK(owner_put(&o, 1, 1, err));
    o.refuse = FIRN_NO_MEMORY;
    EXPECT(FIRN_NO_MEMORY, owner_put(&o, 2, 1, err));
    assert_int_equal(firn_wal_last_seq(b.log), 1);
    EXPECT(FIRN_NO_MEMORY, owner_put(&o, 2, 1, NULL));
    /* Also when the log went on to another segment for it. */
    for (uint64_t i = 0; i < 9; i++)
        EXPECT(FIRN_NO_MEMORY, owner_batch(&o, 300, err));
    o.refuse = FIRN_OK;
    OK(owner_put(&o, 2, 1, err));
    assert_int_equal(o.indexed, 2);
    assert_true(o.segments > 0);
    wal_segment_unref(o.segment);
    bed_reopen(&b);
    assert_int_equal(firn_wal_last_seq(b.log), 2);
    bed_release(&b);
}

/* The log changes segments of its own accord, too: the owner learns it with its next group. */
static void AnOwnerFollowsAChangeOfSegmentThatWasNotItsOwn(void **state)
{
    (void)state;
    bed b = owner_bed(FIRN_WAL_MAPPED);
    owner o = owner_of(b.log);
    OK(owner_put(&o, 1, 1, err));
    OK(firn_wal_rotate(b.log, err));
    OK(owner_put(&o, 2, 1, err));
    assert_int_equal(o.segments, 1);
    OK(owner_rotate(&o));
    assert_int_equal(o.segments, 2);
    OK(owner_rotate(&o)); /* one without numbers takes what comes */
    assert_int_equal(o.segments, 2);
    OK(owner_put(&o, 3, 1, err));
    assert_int_equal(o.segments, 2);
    wal_segment_unref(o.segment);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NumbersAreDenseFromOne),
        cmocka_unit_test(WhatWasAppendedIsReadBackFromAMappedLog),
        cmocka_unit_test(WhatWasAppendedIsReadBackFromABufferedLog),
        cmocka_unit_test(ABatchGetsConsecutiveNumbersAndReturnsItsLast),
        cmocka_unit_test(EmptyKeysEmptyValuesAndNulBytesAreOrdinary),
        cmocka_unit_test(AWriteOverTheLimitIsRefusedAndUsesNoNumber),
        cmocka_unit_test(AKeyOrValueOverItsLimitIsRefused),
        cmocka_unit_test(WrongArgumentsAreRefusedAndUseNoNumber),
        cmocka_unit_test(OptionsOutOfRangeAreRefusedByName),
        cmocka_unit_test(ABatchLargerThanASegmentGetsASegmentOfItsOwn),
        cmocka_unit_test(ALargeFrameIsWrittenInPiecesAndReadsBack),
        cmocka_unit_test(ASegmentIsFilledUpToItsReserveWhateverTheSizes),
        cmocka_unit_test(RotatingAnEmptySegmentDoesNothing),
        cmocka_unit_test(ReopeningAHundredTimesKeepsNumbersContiguousAndTheFolderSmall),
        cmocka_unit_test(OpeningAndClosingWithoutAnAppendChangesNothing),
        cmocka_unit_test(ASegmentThatWasRotatedToIsMissed),
        cmocka_unit_test(ACleanCloseIsRecognised),
        cmocka_unit_test(AReadOnlyLogRefusesToWrite),
        cmocka_unit_test(ASecondOpenerIsRefused),
        cmocka_unit_test(AMissingFolderIsMadeOnlyWhenAllowed),
        cmocka_unit_test(TheChildOfAForkIsRefused),
        cmocka_unit_test(AnOwnerSeesEveryFrameInOrderAndInPlace),
        cmocka_unit_test(AGroupThatItsOwnerRefusesConsumesNothing),
        cmocka_unit_test(AnOwnerFollowsAChangeOfSegmentThatWasNotItsOwn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
