/* A full disk when the log is opened: it opens all the same, shows what is there, refuses to write, and goes on when there
 * is room again. Nothing is deleted. */
#include "bed.h"

#include <support/crash.h>

#include <errno.h>

/* From here on there is no room for anything. */
static void fill_disk(bed *b)
{
    simfs_capacity(b->sim, simfs_used(b->sim));
}

static void make_room(bed *b)
{
    simfs_capacity(b->sim, UINT64_MAX);
}

/* As a process does that is killed: what it held in memory and had not written is gone, the files stay. */
static void leave_without_closing(bed *b)
{
    simfs_fail(b->sim,
               (simfs_fault){.calls = SIMFS_CHANGING, .at = 1, .error = EIO, .forever = true});
    wal *log = b->log;
    b->log = NULL;
    EXPECT(FIRN_IO, firn_wal_close(log, err));
    simfs_heal(b->sim);
}

static int count_one(void *ctx, const firn_wal_entry *entry)
{
    (void)entry;
    ++*(uint64_t *)ctx;
    return 0;
}

static uint64_t operations(bed *b)
{
    uint64_t n = 0;
    OK(firn_wal_replay(b->log, 0, count_one, &n, NULL, err));
    return n;
}

static int refused(bed *b, size_t size)
{
    static uint8_t value[20000];
    return firn_wal_append(b->log, FIRN_PUT, "k", 1, value, size, NULL, NULL, NULL);
}

static void AClosedLogOpensOnAFullDisk(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = bed_config();
        c.options.backing = (firn_wal_backing)backing;
        c.options.segment_bytes = 1 << 20; /* more than the reserve gives back */
        bed b = bed_new_with(&c);
        for (uint64_t i = 1; i <= 20; i++)
            bed_put_sized(&b, i, 300);
        for (int life = 0; life < 3; life++) {
            bed_close(&b);
            fill_disk(&b);
            bed_open(&b);
            assert_int_equal(operations(&b), 20);
            assert_int_equal(refused(&b, 8000), FIRN_NO_SPACE);
            assert_int_equal(firn_wal_last_seq(b.log), 20);
        }
        make_room(&b);
        assert_int_equal(bed_put_sized(&b, 21, 8000), 21);
        bed_reopen(&b);
        assert_int_equal(operations(&b), 21);
        assert_true(simfs_exists(b.sim, BED_PATH "/RESERVE"));
        bed_release(&b);
    }
}

/* Writes over the last `bytes` bytes of the newest frames, and leaves. */
static uint64_t tear_tail(bed *b, uint64_t bytes)
{
    char path[64];
    wal_segment *s = wal_current_segment(b->log);
    uint64_t end = s->end;
    static uint8_t rubbish[64 << 10];
    memset(rubbish, 0xa5, sizeof rubbish);
    snprintf(path, sizeof path, BED_PATH "/%s", s->name);
    leave_without_closing(b);
    simfs_poke(b->sim, path, end - bytes, rubbish, (size_t)bytes);
    return end - bytes;
}

static bed unsynced_log(uint64_t segment_bytes, size_t value_bytes)
{
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    c.options.segment_bytes = segment_bytes;
    bed b = bed_new_with(&c);
    for (uint64_t i = 1; i <= 10; i++)
        bed_put_sized(&b, i, value_bytes);
    return b;
}

static void AShortTornTailIsSavedAndCutOnAFullDisk(void **state)
{
    (void)state;
    bed b = unsynced_log(16384, 300);
    tear_tail(&b, 100);
    fill_disk(&b);
    bed_open(&b);
    assert_int_equal(operations(&b), 9);
    assert_int_equal(bed_files(&b, "-1"), 0); /* the copy that found no room */
    assert_int_equal(bed_files(&b, "-2"), 1);
    bed_reopen(&b);
    assert_int_equal(operations(&b), 9);
    bed_release(&b);
}

static void ALongTornTailStaysWhereItIsOnAFullDisk(void **state)
{
    (void)state;
    bed b = unsynced_log(1 << 20, 20000);
    uint64_t from = tear_tail(&b, 50000);
    fill_disk(&b);
    for (int life = 0; life < 3; life++) {
        bed_open(&b);
        assert_int_equal(operations(&b), 7);
        assert_int_equal(refused(&b, 8000), FIRN_NO_SPACE);
        leave_without_closing(&b);
    }
    size_t size;
    const uint8_t *bytes = simfs_peek(b.sim, BED_PATH "/000000000001.wal", &size);
    for (uint64_t i = 0; i < 50000; i++)
        assert_int_equal(bytes[from + i], 0xa5);
    make_room(&b);
    bed_open(&b);
    assert_true(bed_put(&b, 11) > 7);
    bed_reopen(&b);
    assert_int_equal(operations(&b), 8);
    bed_release(&b);
}

/* What is behind the cut is intact, so that it takes a new segment. */
static void ACutInFrontOfIntactFramesIsMadeOnAFullDisk(void **state)
{
    (void)state;
    bed b = unsynced_log(1 << 20, 20000);
    leave_without_closing(&b);
    uint8_t rubbish[64];
    memset(rubbish, 0xa5, sizeof rubbish);
    simfs_poke(b.sim, BED_PATH "/000000000001.wal", 4096 + 3 * 20000, rubbish, sizeof rubbish);
    fill_disk(&b);
    bed_open(&b);
    assert_true(operations(&b) < 4);
    bed_reopen(&b);
    make_room(&b);
    assert_int_equal(bed_put(&b, 11), 11); /* numbers that were seen are not given out again */
    bed_reopen(&b);
    assert_true(operations(&b) < 5);
    bed_release(&b);
}

static void AReserveThatWasSpentIsMadeAgain(void **state)
{
    (void)state;
    bed b = unsynced_log(16384, 300);
    tear_tail(&b, 100);
    fill_disk(&b);
    bed_open(&b);
    assert_false(simfs_exists(b.sim, BED_PATH "/RESERVE"));
    make_room(&b);
    OK(firn_wal_rotate(b.log, err));
    assert_true(simfs_exists(b.sim, BED_PATH "/RESERVE"));
    bed_release(&b);
}

/* Any state that a power cut leaves opens although nothing can be allocated, once the reserve has been made. */
static int opens_without_room(void *ctx, crash_state *state)
{
    const wal_config *config = ctx;
    wal *log = NULL;
    firn_error error = {0};
    bool reserved = simfs_exists(state->sim, BED_PATH "/RESERVE");
    if (reserved) {
        size_t size;
        (void)simfs_peek(state->sim, BED_PATH "/RESERVE", &size);
        reserved = size == WAL_RESERVE_BYTES;
    }
    simfs_capacity(state->sim, simfs_used(state->sim));
    int rc = wal_open_path(state->fs, BED_PATH, config, NULL, &log, &error);
    if (rc == FIRN_NO_SPACE && !reserved)
        return 0;
    if (rc != FIRN_OK)
        return crash_wrong(state, "open: %s: %s", firn_status_name(rc), error.message);
    int wrong = 0;
    if (firn_wal_last_seq(log) < state->marks[0])
        wrong = crash_wrong(state, "%llu was durable, %llu is there",
                            (unsigned long long)state->marks[0],
                            (unsigned long long)firn_wal_last_seq(log));
    (void)firn_wal_close(log, NULL); /* may find no room for its seal */
    return wrong;
}

static void EveryCrashOpensOnAFullDisk(void **state)
{
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        wal_config c = bed_config();
        c.options.durability = sync ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE;
        c.options.segment_bytes = 65536;
        bed b = bed_new_with(&c);
        simfs_record(b.sim);
        for (uint64_t i = 1; i <= 24; i++) {
            bed_put_sized(&b, i, i % 5 == 0 ? 9000 : 300);
            simfs_mark(b.sim, 0, firn_wal_durable_seq(b.log));
            if (i % 9 == 0)
                OK(firn_wal_truncate(b.log, i - 4, NULL, err));
        }
        bed_close(&b);
        crash_stats stats = {0};
        crash_options options = crash_options_default(sync ? "wal.full-sync" : "wal.full-none", 1,
                                                      opens_without_room, &c);
        options.nest_every = 0;
        assert_int_equal(crash_run(b.sim, &options, &stats), 0);
        crash_print(options.name, &stats, stdout);
        bed_release(&b);
    }
}

/* ---- What is cut ---- */

static bed
torn_in_front(void) /* three segments, nothing synced, killed; the first is torn in the middle */
{
    bed b = {.sim = simfs_new(1), .config = bed_config()};
    uint8_t rubbish[64];
    memset(rubbish, 0xa5, sizeof rubbish);
    b.config.options.durability = FIRN_DURABILITY_NONE;
    simfs_record(b.sim);
    bed_open(&b);
    for (uint64_t i = 1; i <= 12; i++) {
        bed_put(&b, i);
        if (i % 4 == 0 && i < 12)
            OK(firn_wal_rotate(b.log, err));
    }
    simfs_fail(b.sim,
               (simfs_fault){.calls = SIMFS_CHANGING, .at = 1, .error = EIO, .forever = true});
    wal *log = b.log;
    b.log = NULL;
    (void)firn_wal_close(log, NULL);
    simfs_heal(b.sim);
    simfs_poke(b.sim, BED_PATH "/000000000001.wal", 4096 + 150, rubbish, sizeof rubbish);
    return b;
}

typedef struct saved {
    uint8_t bytes[16384];
    size_t size;
} saved;
static int lost_is_durable(void *ctx, crash_state *state)
{
    const saved *want = ctx;
    const char *path = BED_PATH "/lost/000000000002-0-2";
    size_t size = 0;
    if (!state->marks[0])
        return 0; /* recovery had not returned */
    if (!simfs_exists(state->sim, path))
        return crash_wrong(state, "not in lost/");
    const uint8_t *got = simfs_peek(state->sim, path, &size);
    return size > 4096 && size <= want->size && memcmp(got, want->bytes, size) == 0
               ? 0
               : crash_wrong(state, "lost/ does not hold what was cut");
}

static void WhatWasCutIsDurableInLost(void **state)
{
    (void)state;
    bed b = torn_in_front();
    saved want;
    memcpy(want.bytes, simfs_peek(b.sim, BED_PATH "/000000000002.wal", &want.size), 16384);
    bed_open(&b);
    simfs_mark(b.sim, 0, 1);
    bed_put(&b, 20);
    simfs_record_stop(b.sim);
    crash_stats stats = {0};
    crash_options options = crash_options_default("lost", 1, lost_is_durable, &want);
    uint64_t bad = crash_run(b.sim, &options, &stats);
    bed_release(&b);
    assert_int_equal(bad, 0);
}

typedef struct given_up {
    uint8_t bytes[3 * 20000];
    size_t found;
    simfs *sim;
} given_up;

static int find_given_up(void *ctx, const char *path, uint64_t file_bytes)
{
    given_up *g = ctx;
    size_t size = 0;
    const uint8_t *got = simfs_peek(g->sim, path, &size);
    assert_int_equal(size, file_bytes);
    g->found += strstr(path, "/lost/000000000002") && size >= sizeof g->bytes &&
                memcmp(got, g->bytes, sizeof g->bytes) == 0;
    return 0;
}

/* The reserve is too small for a copy of what is behind the cut: it is kept under another name. */
static void SegmentsThatAreGivenUpOnAFullDiskAreKept(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    c.options.segment_bytes = 131072;
    bed b = bed_new_with(&c);
    given_up g = {.sim = b.sim};
    size_t size = 0;
    for (uint64_t i = 1; i <= 12; i++) {
        bed_put_sized(&b, i, 20000);
        if (i % 4 == 0 && i < 12)
            OK(firn_wal_rotate(b.log, err));
    }
    leave_without_closing(&b);
    simfs_flip_bit(b.sim, BED_PATH "/000000000001.wal", 8 * (4096 + 30000));
    const uint8_t *second = simfs_peek(b.sim, BED_PATH "/000000000002.wal", &size);
    assert_int_equal(size, 131072);
    memcpy(g.bytes, second, sizeof g.bytes);
    fill_disk(&b);
    bed_open(&b);
    assert_int_equal(operations(&b), 1);
    simfs_each(b.sim, BED_PATH "/lost", find_given_up, &g);
    make_room(&b);
    bed_release(&b);
    assert_int_equal(g.found, 1);
}

/* The NOTE that a sync is to have behind the frames is refused, and so is the next write. That is a full disk, and no more. */
static void ARefusedNoteDoesNotPoison(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        wal_config c = bed_config();
        c.options.segment_bytes = 131072;
        c.options.backing = i & 1 ? FIRN_WAL_BUFFERED : FIRN_WAL_MAPPED;
        c.options.durability = i & 2 ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE;
        bed b = bed_new_with(&c);
        uint64_t last = 0;
        for (uint64_t n = 1; n <= 3; n++)
            last = bed_put(&b, n);
        if (i & 4) { /* in a segment that had an earlier use */
            while (!b.log->current->recycled) {
                last = bed_put_sized(&b, last + 1, 20000);
                OK(firn_wal_truncate(b.log, last - 1, NULL, err));
            }
            last = bed_put(&b, last + 1);
        }
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_WRITE | SIMFS_WRITE_DURABLE,
                                        .at = 1,
                                        .error = ENOSPC,
                                        .forever = true});
        for (int round = 0; round < 3; round++) {
            OK(firn_wal_sync(b.log, err));
            EXPECT(FIRN_NO_SPACE,
                   firn_wal_append(b.log, FIRN_PUT, "k", 1, "v", 1,
                                   &(firn_wal_write){.size = sizeof(firn_wal_write),
                                                     .durability = FIRN_DURABILITY_SYNC},
                                   NULL, err));
        }
        simfs_heal(b.sim);
        last = bed_put(&b, last + 1);
        OK(firn_wal_sync(b.log, err));
        bed_reopen(&b);
        assert_int_equal(firn_wal_last_seq(b.log), last);
        bed_release(&b);
    }
}

static void AnEmptyReserveIsNone(void **state)
{
    (void)state;
    bed b = bed_new();
    size_t size = 0;
    bed_put(&b, 1);
    bed_close(&b);
    simfs_cut(b.sim, BED_PATH "/RESERVE", 0); /* killed between its creation and its allocation */
    bed_open(&b);
    bed_put(&b, 2);
    OK(firn_wal_rotate(b.log, err));
    (void)simfs_peek(b.sim, BED_PATH "/RESERVE", &size);
    bed_release(&b);
    assert_int_equal(size, WAL_RESERVE_BYTES);
}

static void NoRoomForACopyAndNoErrorWanted(void **state)
{
    (void)state;
    bed b = torn_in_front();
    simfs_fail(b.sim,
               (simfs_fault){
                   .calls = SIMFS_WRITE | SIMFS_LINK, .at = 1, .error = ENOSPC, .forever = true});
    (void)wal_open_path(simfs_fs(b.sim), BED_PATH, &b.config, NULL, &b.log, NULL);
    simfs_heal(b.sim);
    bed_release(&b);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AClosedLogOpensOnAFullDisk),
        cmocka_unit_test(AShortTornTailIsSavedAndCutOnAFullDisk),
        cmocka_unit_test(ALongTornTailStaysWhereItIsOnAFullDisk),
        cmocka_unit_test(ACutInFrontOfIntactFramesIsMadeOnAFullDisk),
        cmocka_unit_test(AReserveThatWasSpentIsMadeAgain),
        cmocka_unit_test(EveryCrashOpensOnAFullDisk),
        cmocka_unit_test(WhatWasCutIsDurableInLost),
        cmocka_unit_test(SegmentsThatAreGivenUpOnAFullDiskAreKept),
        cmocka_unit_test(ARefusedNoteDoesNotPoison),
        cmocka_unit_test(AnEmptyReserveIsNone),
        cmocka_unit_test(NoRoomForACopyAndNoErrorWanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
