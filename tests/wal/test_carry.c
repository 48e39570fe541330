/* What a process that died, or whose writes failed, has left in the page cache: recovery carries it into new files,
 * since the old ones may never take it (tests/support/simfs.h, S7). And what is proven durable stays where it is. */
#include "bed.h"

#include <segments/cursor.h>
#include <support/crash.h>

#include <errno.h>

#define CARRIED 150

typedef struct counted {
    uint64_t count, last;
} counted;

static int count_in_order(void *ctx, const firn_wal_entry *entry)
{
    counted *c = ctx;
    c->count++;
    c->last = entry->seq;
    return 0;
}

/* ---- Which files are written into ---- */

#define MADE_MAX 64

/* Looks on while a log is opened. */
typedef struct watch {
    uint64_t made[MADE_MAX]; /* numbers of segments that got a file since */
    size_t made_count;
    unsigned in_place; /* writes into segment files that were there before */
    unsigned replaced; /* segments that got a new file */
    unsigned spares;   /* segments that are kept for another use */
    uint64_t no_room;  /* for new files of segments up to this one */
} watch;

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), e = strlen(ending);
    return n >= e && strcmp(name + n - e, ending) == 0;
}

static bool is_made(const watch *w, uint64_t no)
{
    for (size_t i = 0; i < w->made_count; i++)
        if (w->made[i] == no)
            return true;
    return false;
}

static int see(void *ctx, unsigned call, uint64_t index, const char *name)
{
    watch *w = ctx;
    uint64_t no = name ? strtoull(name, NULL, 10) : 0;
    (void)index;
    if ((call == SIMFS_WRITE || call == SIMFS_WRITE_DURABLE) && ends_with(name, ".wal") &&
        !is_made(w, no))
        w->in_place++;
    if (call == SIMFS_RENAME && ends_with(name, ".wal"))
        w->replaced++;
    if (call == SIMFS_RENAME && ends_with(name, ".wal.new"))
        w->spares++;
    if (call != SIMFS_CREATE || !ends_with(name, ".wal.new"))
        return 0;
    if (no <= w->no_room)
        return ENOSPC;
    assert_true(w->made_count < MADE_MAX);
    w->made[w->made_count++] = no;
    return 0;
}

/* The process is killed: the files stay as they are. */
static void leave(bed *b)
{
    simfs_fail(b->sim,
               (simfs_fault){.calls = SIMFS_CHANGING, .at = 1, .error = EIO, .forever = true});
    wal *log = b->log;
    b->log = NULL;
    (void)firn_wal_close(log, NULL);
    simfs_heal(b->sim);
}

static watch watched_open(bed *b, uint64_t no_room)
{
    watch w = {.no_room = no_room};
    simfs_on_call(b->sim, see, &w);
    bed_open(b);
    simfs_on_call(b->sim, NULL, NULL);
    return w;
}

static bed log_with(firn_wal_backing backing, firn_durability durability)
{
    wal_config c = bed_config();
    c.options.backing = backing;
    c.options.durability = durability;
    return bed_new_with(&c);
}

static void fill(bed *b, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++)
        assert_int_equal(bed_put_sized(b, i, 300), i);
}

static void NothingIsWrittenIntoAFileThatAKilledProcessLeft(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = log_with((firn_wal_backing)backing, FIRN_DURABILITY_SYNC);
        uint64_t next = 1;
        for (int life = 0; life < 4; life++) {
            fill(&b, next, 50);
            next += 50;
            leave(&b);
            watch w = {0};
            simfs_on_call(b.sim, see, &w);
            bed_open(&b);
            fill(&b, next, 50); /* goes on in a file of its own, too */
            next += 50;
            simfs_on_call(b.sim, NULL, NULL);
            assert_int_equal(w.in_place, 0);
        }
        bed_release(&b);
    }
}

static void WhatIsProvenDurableIsNotCopied(void **state)
{
    (void)state;
    bed b = log_with(FIRN_WAL_MAPPED, FIRN_DURABILITY_SYNC);
    fill(&b, 1, 200);
    assert_true(bed_segment_files(&b) >= 5);
    leave(&b);
    assert_int_equal(watched_open(&b, 0).replaced, 1); /* the last one */
    bed_close(&b);
    watch w = watched_open(&b, 0);
    assert_int_equal(w.replaced, 0); /* closed in order */
    assert_int_equal(w.in_place, 0);
    bed_release(&b);
}

static void WhatWasNeverSyncedIsCopiedSegmentBySegment(void **state)
{
    (void)state;
    bed b = log_with(FIRN_WAL_MAPPED, FIRN_DURABILITY_NONE);
    fill(&b, 1, 100);
    OK(firn_wal_sync(b.log, err));
    fill(&b, 101, 100); /* the first of them says that 100 are durable */
    size_t files = bed_segment_files(&b);
    leave(&b);
    unsigned replaced = watched_open(&b, 0).replaced;
    assert_true(replaced >= 2 && replaced <= files / 2 + 1);
    assert_int_equal(bed_segment_files(&b), files);
    assert_int_equal(firn_wal_last_seq(b.log), 200);
    bed_release(&b);
}

static void AHeaderCopyThatIsDamagedIsMendedInANewFile(void **state)
{
    (void)state;
    bed b = log_with(FIRN_WAL_MAPPED, FIRN_DURABILITY_SYNC);
    fill(&b, 1, 100);
    bed_close(&b);
    simfs_flip_bit(b.sim, BED_PATH "/000000000001.wal", 8 * 40);
    watch w = watched_open(&b, UINT64_MAX);
    assert_int_equal(w.in_place, 0); /* without room it stays as it is, which does no harm */
    bed_close(&b);
    w = watched_open(&b, 0);
    assert_int_equal(w.in_place, 0);
    assert_int_equal(w.replaced, 1);
    bed_close(&b);
    assert_int_equal(watched_open(&b, 0).replaced, 0);
    fill(&b, 101, 1);
    bed_release(&b);
}

static void ASegmentOfAnEarlierLifeIsNotUsedAgain(void **state)
{
    (void)state;
    bed b = log_with(FIRN_WAL_MAPPED, FIRN_DURABILITY_SYNC);
    fill(&b, 1, 100);
    watch w = {0};
    bed_reopen(&b);
    simfs_on_call(b.sim, see, &w);
    OK(firn_wal_truncate(b.log, 100, NULL, err));
    assert_int_equal(w.spares, 0);
    fill(&b, 101, 200);
    OK(firn_wal_truncate(b.log, 300, NULL, err));
    assert_true(w.spares > 0); /* those of this life are */
    simfs_on_call(b.sim, NULL, NULL);
    bed_release(&b);
}

/* All that can be done then; and the log goes on in another file, unless there is no room for that either. */
static void WithoutRoomForACopyTheFramesAreWrittenWhereTheyStand(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bed b = log_with(i % 2 ? FIRN_WAL_MAPPED : FIRN_WAL_BUFFERED, FIRN_DURABILITY_SYNC);
        fill(&b, 1, 100);
        uint64_t last = b.log->current->no;
        leave(&b);
        watch w = watched_open(&b, i < 2 ? UINT64_MAX : last);
        assert_true(w.in_place > 0);
        assert_int_equal(firn_wal_last_seq(b.log), 100);
        assert_int_equal(b.log->current->no, i < 2 ? last : last + 1);
        fill(&b, 101, 100);
        leave(&b);
        assert_int_equal(watched_open(&b, 0).in_place, 0);
        fill(&b, 201, 10);
        bed_reopen(&b);
        assert_int_equal(firn_wal_last_seq(b.log), 210);
        bed_release(&b);
    }
}

/* A log whose last segment had an earlier use, closed, with bytes of that use behind the seal. Returns its name. */
static void close_in_a_used_segment(bed *b, char name[WAL_NAME_BYTES])
{
    uint64_t i = 1;
    while (!b->log->current->recycled || b->log->current->end < 2 * WAL_PAGE_BYTES + 500) {
        assert_int_equal(bed_put_sized(b, i, 300), i);
        if (++i % 50 == 0)
            OK(firn_wal_truncate(b->log, i - 5, NULL, err));
    }
    wal_name_format(b->log->current->no, name);
    bed_close(b);
    char path[64];
    size_t size;
    uint8_t stale[WAL_PAGE_BYTES];
    memset(stale, 0x5a, sizeof stale);
    snprintf(path, sizeof path, BED_PATH "/%s", name);
    const uint8_t *bytes = simfs_peek(b->sim, path, &size);
    uint64_t end =
        (wal_used_end(bytes, 0, size) + 7) / 8 * 8 + WAL_FRAME_BYTES; /* behind the mark */
    assert_true(size < b->config.options.segment_bytes && size - end < sizeof stale);
    simfs_poke(b->sim, path, end, stale, size - end);
}

/* Else they would stand between the new frames, and look like a torn one. */
static void BytesOfAnEarlierUseAreZeroedBehindTheEndOfAClosedLog(void **state)
{
    (void)state;
    bed b = log_with(FIRN_WAL_MAPPED, FIRN_DURABILITY_SYNC);
    char name[WAL_NAME_BYTES];
    close_in_a_used_segment(&b, name);
    b.config.options.durability = FIRN_DURABILITY_NONE;
    bed_open(&b);
    bed_put(&b, 1);
    leave(&b);
    wal_config look = b.config;
    look.options.recovery = FIRN_RECOVERY_STRICT;
    look.options.read_only = true;
    wal *log = NULL;
    OK(wal_open_path(simfs_fs(b.sim), BED_PATH, &look, NULL, &log, err));
    OK(firn_wal_close(log, err));
    bed_release(&b);
}

/* Opening has to zero those bytes. When that fails, the file must not look as if it had been closed in order. */
static void AFileThatWasClosedIsGrownBeforeItIsWrittenInto(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = log_with((firn_wal_backing)backing, FIRN_DURABILITY_SYNC);
        char name[WAL_NAME_BYTES];
        wal *log = NULL;
        close_in_a_used_segment(&b, name);
        simfs_record(b.sim);
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_WRITE, .at = 1, .error = EIO, .name = name});
        EXPECT(FIRN_IO, wal_open_path(simfs_fs(b.sim), BED_PATH, &b.config, NULL, &log, err));
        simfs_heal(b.sim);
        bed_open(&b);
        uint64_t last = 0;
        for (uint64_t i = 0; i < 3; i++)
            last = bed_put(&b, i);
        for (uint64_t seed = 0; seed < 20; seed++) {
            simfs *left = crash_now(b.sim, seed % 2 ? CRASH_STRICT : CRASH_ORDERED, seed, NULL, 0);
            OK(wal_open_path(simfs_fs(left), BED_PATH, &b.config, NULL, &log, err));
            assert_int_equal(firn_wal_last_seq(log), last);
            OK(firn_wal_close(log, err));
            simfs_free(left);
        }
        bed_release(&b);
    }
}

/* What recovery has carried is all there, and the log goes on behind it. */
static int all_is_there(void *ctx, crash_state *state)
{
    bed after = {.sim = state->sim, .config = *(const wal_config *)ctx};
    firn_error error = {0};
    counted c = {0};
    uint64_t seq = 0;
    after.config.options.durability = FIRN_DURABILITY_SYNC;
    int rc = wal_open_path(state->fs, BED_PATH, &after.config, NULL, &after.log, &error);
    if (rc != FIRN_OK)
        return crash_wrong(state, "open: %s: %s", firn_status_name(rc), error.message);
    OK(firn_wal_replay(after.log, 0, count_in_order, &c, NULL, err));
    uint64_t wanted = state->marks[0] ? state->marks[0] : CARRIED;
    bool wrong = c.count < wanted || c.last != c.count;
    if (!wrong) {
        OK(firn_wal_append(after.log, FIRN_PUT, "k", 1, NULL, 0, NULL, &seq, err));
        simfs_mark(state->sim, 0, seq);
    }
    OK(firn_wal_close(after.log, err));
    return wrong ? crash_wrong(state, "%llu are wanted, %llu are there up to %llu",
                               (unsigned long long)wanted, (unsigned long long)c.count,
                               (unsigned long long)c.last)
                 : 0;
}

static void CarryingCanBeInterruptedAnywhere(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = log_with((firn_wal_backing)backing, FIRN_DURABILITY_NONE);
        fill(&b, 1, CARRIED / 2);
        OK(firn_wal_sync(b.log, err));
        fill(&b, CARRIED / 2 + 1, CARRIED / 2);
        leave(&b);
        simfs_record(b.sim);
        assert_true(watched_open(&b, 0).replaced >= 3);
        simfs_record_stop(b.sim);
        crash_stats stats = {0};
        crash_options options = crash_options_default("wal.carrying", 20, all_is_there, &b.config);
        options.nest_every = crash_long() ? 5 : 20;
        uint64_t bad = crash_run(b.sim, &options, &stats);
        crash_print("wal.carrying", &stats, stdout);
        bed_release(&b);
        assert_int_equal(bad, 0);
        assert_true(stats.nested > 100);
    }
}

/* ---- Fault, close, open, writes that are acknowledged; the power goes at any step ---- */

static int acknowledged_is_there(void *ctx, crash_state *state)
{
    const wal_config *config = ctx;
    wal *log = NULL;
    firn_error error = {0};
    int rc = wal_open_path(state->fs, BED_PATH, config, NULL, &log, &error);
    if (rc == FIRN_NOT_FOUND && state->marks[0] == 0)
        return 0;
    if (rc != FIRN_OK)
        return crash_wrong(state, "open: %s: %s", firn_status_name(rc), error.message);
    uint64_t last = firn_wal_last_seq(log);
    OK(firn_wal_close(log, err));
    return last >= state->marks[0]
               ? 0
               : crash_wrong(state, "%llu were acknowledged, %llu are there",
                             (unsigned long long)state->marks[0], (unsigned long long)last);
}

/* False: the script makes fewer such calls. */
static bool five_writes_behind(unsigned call, uint64_t at, bool after, firn_wal_backing backing,
                               crash_stats *stats)
{
    wal_config c = bed_config();
    c.options.backing = backing;
    c.options.segment_bytes = 8192;
    bed b = {.sim = simfs_new(at), .config = c};
    simfs_record(b.sim);
    bed_open(&b);
    simfs_fail(b.sim, (simfs_fault){.calls = call, .at = at, .error = EIO, .after = after});
    for (uint64_t i = 1; i <= 8; i++) {
        firn_wal_write write = {.size = sizeof write,
                                .durability = i % 3 ? FIRN_DURABILITY_NONE : FIRN_DURABILITY_SYNC};
        static const uint8_t value[900];
        (void)firn_wal_append(b.log, FIRN_PUT, &i, sizeof i, value, sizeof value, &write, NULL,
                              NULL);
        simfs_mark(b.sim, 0, firn_wal_durable_seq(b.log));
    }
    bool hit = simfs_faults_hit(b.sim) > 0;
    simfs_heal(b.sim);
    (void)firn_wal_close(b.log, NULL);
    b.log = NULL;
    for (int life = 0; life < 2; life++) {
        bed_open(&b);
        simfs_mark(b.sim, 0, firn_wal_durable_seq(b.log));
        for (uint64_t i = 0; i < 5; i++)
            simfs_mark(b.sim, 0, bed_put(&b, i));
        leave(&b);
    }
    simfs_record_stop(b.sim);
    char name[48];
    snprintf(name, sizeof name, "wal.carry-%u-%llu-%d-%d", call, (unsigned long long)at, after,
             (int)backing);
    crash_options options = crash_options_default(name, at, acknowledged_is_there, &c);
    options.singles = crash_long() ? 64 : 8;
    options.random = crash_long() ? 32 : 2;
    options.nest_every = crash_long() ? 50 : 400;
    uint64_t bad = crash_run(b.sim, &options, stats);
    bed_release(&b);
    assert_int_equal(bad, 0);
    return hit;
}

static void FiveWritesBehindAFailedCallAreThere(void **state)
{
    (void)state;
    static const unsigned calls[] = {SIMFS_WRITE, SIMFS_SYNC};
    crash_stats stats = {0};
    for (size_t i = 0; i < 2; i++)
        for (int after = 0; after < (calls[i] == SIMFS_WRITE ? 2 : 1); after++)
            for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++)
                for (uint64_t at = 1;
                     five_writes_behind(calls[i], at, after, (firn_wal_backing)backing, &stats);
                     at++)
                    ;
    crash_print("wal.carry", &stats, stdout);
    assert_true(stats.distinct > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NothingIsWrittenIntoAFileThatAKilledProcessLeft),
        cmocka_unit_test(WhatIsProvenDurableIsNotCopied),
        cmocka_unit_test(WhatWasNeverSyncedIsCopiedSegmentBySegment),
        cmocka_unit_test(AHeaderCopyThatIsDamagedIsMendedInANewFile),
        cmocka_unit_test(ASegmentOfAnEarlierLifeIsNotUsedAgain),
        cmocka_unit_test(WithoutRoomForACopyTheFramesAreWrittenWhereTheyStand),
        cmocka_unit_test(BytesOfAnEarlierUseAreZeroedBehindTheEndOfAClosedLog),
        cmocka_unit_test(AFileThatWasClosedIsGrownBeforeItIsWrittenInto),
        cmocka_unit_test(CarryingCanBeInterruptedAnywhere),
        cmocka_unit_test(FiveWritesBehindAFailedCallAreThere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
