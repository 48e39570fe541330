/* Corners of the log that no story of its life passes: wrong arguments, an old kernel, a fork, a wait that ends. */
#include "bed.h"

#include <base/alloc.h>
#include <errno.h>
#include <sched.h>
#include <support/tempdir.h>
#include <sys/wait.h>
#include <unistd.h>

static int ignore_entry(void *ctx, const firn_wal_entry *entry)
{
    (void)entry;
    ++*(int *)ctx;
    return 0;
}

static void WrongArgumentsAreNamed(void **state)
{
    (void)state;
    bed b = bed_new();
    wal *log = NULL;
    EXPECT(FIRN_INVALID, firn_wal_open(NULL, NULL, NULL, &log, err));
    EXPECT(FIRN_INVALID, firn_wal_replay(NULL, 0, ignore_entry, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_replay(b.log, 0, NULL, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_iterate(NULL, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_iterate(b.log, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_verify(NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_verify_path(NULL, NULL, err));
    firn_wal_report_release(NULL);
    OK(firn_wal_close(NULL, err));
    bed_release(&b);
}

static void OptionsThatSayDefaultGetIt(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_DEFAULT;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    assert_int_equal(firn_wal_durable_seq(b.log), 1);
    bed_release(&b);
}

/* Before Linux 5.14 pages cannot be made ready ahead: appends are written, and a mapped file is read once when it is
 * opened, so that a bad sector is an error and no signal. */
static void WithoutPagesMadeReadyAheadTheLogIsWrittenAndReadAllTheSame(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    bed b = bed_new_with(&c);
    const simfs_fault old_kernel = {
        .calls = SIMFS_POPULATE, .at = 1, .error = EINVAL, .forever = true};
    bed_close(&b);
    simfs_fail(b.sim, old_kernel);
    bed_open(&b);
    for (uint64_t i = 1; i <= 60; i++)
        bed_put(&b, i);
    bed_reopen(&b);
    int count = 0;
    OK(firn_wal_replay(b.log, 0, ignore_entry, &count, NULL, err));
    assert_int_equal(count, 60);
    bed_close(&b);
    /* The read that takes the place of making pages ready fails as any other. */
    simfs_heal(b.sim);
    uint64_t reads = simfs_calls(b.sim, SIMFS_READ);
    simfs_fail(b.sim, old_kernel);
    bed_reopen(&b);
    reads = simfs_calls(b.sim, SIMFS_READ) - reads;
    unsigned refused = 0;
    for (uint64_t at = 1; at <= reads; at++) {
        bed_close(&b);
        simfs_heal(b.sim);
        simfs_fail(b.sim, old_kernel);
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_READ, .at = at, .error = EIO});
        fs_dir *dir;
        OK(fs_dir_open(simfs_fs(b.sim), BED_PATH, &dir, err));
        firn_error error = {0};
        int status = wal_open(dir, &b.config, NULL, &b.log, &error);
        if (status != FIRN_OK) {
            assert_int_equal(status, FIRN_IO);
            assert_int_equal(error.sys_errno, EIO);
            refused++;
            b.log = NULL;
        } else {
            assert_int_equal(firn_wal_last_seq(b.log), 60);
        }
        if (b.log)
            bed_close(&b);
        fs_dir_close(dir);
        simfs_heal(b.sim);
        bed_open(&b);
    }
    assert_true(refused > 0);
    bed_release(&b);
}

static void UseInAChildIsRefused(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        firn_error error = {0};
        bool refused =
            firn_wal_append(b.log, FIRN_PUT, "k", 1, "v", 1, NULL, NULL, &error) == FIRN_INVALID &&
            error.hint[0] && firn_wal_sync(b.log, &error) == FIRN_INVALID &&
            firn_wal_wait_durable(b.log, 1, 0, &error) == FIRN_INVALID &&
            firn_wal_rotate(b.log, &error) == FIRN_INVALID &&
            firn_wal_checkpoint(b.log, NULL, &error) == FIRN_INVALID &&
            firn_wal_truncate(b.log, 1, NULL, &error) == FIRN_INVALID &&
            firn_wal_close(b.log, &error) == FIRN_INVALID;
        exit(refused ? 0 : 1); /* and not _exit, so that what was run is counted */
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
    bed_put(&b, 2);
    bed_release(&b);
}

typedef struct slow_disk {
    simfs *sim;
    atomic_bool slow;
} slow_disk;

/* A sync takes as long as somebody waits for it with a limit, by the simulated clock. */
static int take_long(void *ctx, unsigned call, uint64_t index, const char *name)
{
    slow_disk *d = ctx;
    (void)index;
    (void)name;
    while (call == SIMFS_SYNC && atomic_load(&d->slow)) {
        simfs_advance(d->sim, 1000);
        sched_yield();
    }
    return 0;
}

static void AWaitWithALimitEnds(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    c.inline_work = false;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    slow_disk disk = {.sim = b.sim};
    atomic_store(&disk.slow, true);
    simfs_on_call(b.sim, take_long, &disk);
    EXPECT(FIRN_TIMED_OUT, firn_wal_wait_durable(b.log, 1, 5, err));
    atomic_store(&disk.slow, false);
    OK(firn_wal_wait_durable(b.log, 1, 0, err));
    OK(firn_wal_wait_durable(b.log, 1, 5, err));
    simfs_on_call(b.sim, NULL, NULL);
    bed_put(&b, 2);
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    EXPECT(FIRN_POISONED,
           firn_wal_wait_durable(b.log, 2, 1000000, err)); /* the log's own thread fails */
    assert_int_equal(firn_wal_append(b.log, FIRN_PUT, "k", 1, "v", 1, NULL, NULL, NULL),
                     FIRN_POISONED);
    wal *log = b.log;
    b.log = NULL;
    EXPECT(FIRN_POISONED, firn_wal_close(log, err));
    bed_release(&b);
}

typedef struct busy_writer {
    bed *b;
    bool done;
} busy_writer;

/* The writer truncates just when somebody else opens a file that goes with that. */
static int truncate_meanwhile(void *ctx, unsigned call, uint64_t index, const char *name)
{
    busy_writer *w = ctx;
    uint64_t floor_seq;
    (void)index;
    if (call != SIMFS_OPEN || w->done || !strstr(name, "000000000001.wal"))
        return 0;
    w->done = true;
    OK(firn_wal_truncate(w->b->log, firn_wal_last_seq(w->b->log), &floor_seq, err));
    return 0;
}

static void WhoLooksOnBesideAWriterLooksAgain(void **state)
{
    (void)state;
    bed b = bed_new();
    for (uint64_t i = 1; i <= 4; i++) {
        bed_put(&b, i);
        OK(firn_wal_rotate(b.log, err));
    }
    bed_put(&b, 5);
    OK(firn_wal_checkpoint(b.log, NULL, err));
    busy_writer writer = {.b = &b};
    simfs_on_call(b.sim, truncate_meanwhile, &writer);
    wal_config c = bed_config();
    c.options.read_only = true;
    fs_dir *dir;
    wal *reader;
    OK(fs_dir_open(simfs_fs(b.sim), BED_PATH, &dir, err));
    OK(wal_open(dir, &c, NULL, &reader, err));
    assert_true(writer.done);
    simfs_on_call(b.sim, NULL, NULL);
    int count = 0;
    OK(firn_wal_replay(reader, 0, ignore_entry, &count, NULL, err));
    assert_int_equal(firn_wal_last_seq(reader), firn_wal_last_seq(b.log));
    assert_int_equal(firn_wal_floor_seq(reader), firn_wal_floor_seq(b.log));
    assert_int_equal(count, firn_wal_last_seq(b.log) - firn_wal_floor_seq(b.log));
    OK(firn_wal_close(reader, err));
    fs_dir_close(dir);
    bed_release(&b);
}

/* Somebody empties a file while the log is open. */
static void AnEmptiedFileIsALossToWhoeverVerifies(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.backing = FIRN_WAL_BUFFERED;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    OK(firn_wal_rotate(b.log, err));
    bed_put(&b, 2);
    OK(firn_wal_verify(b.log, NULL, err));
    simfs_cut(b.sim, BED_PATH "/000000000001.wal", 0);
    firn_wal_report report;
    firn_wal_report_init(&report);
    EXPECT(FIRN_DAMAGED, firn_wal_verify(b.log, &report, err));
    assert_true(report.count >= 1);
    assert_int_equal(report.findings[0].kind, FIRN_WAL_LOST);
    assert_non_null(strstr(report.findings[0].file, "000000000001.wal"));
    firn_wal_report_release(&report);
    bed_release(&b);
}

static void never(void *ctx, uint64_t seq, int status)
{
    (void)seq;
    (void)status;
    ++*(int *)ctx;
}

/* Each allocation of a call fails once; in the end it succeeds. */
static void WithoutMemoryReadersAndCallbacksSaySo(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    int called = 0, status = FIRN_NO_MEMORY;
    for (uint64_t n = 1; status == FIRN_NO_MEMORY; n++) {
        alloc_fail_at(n);
        status = firn_wal_on_durable(b.log, 1, never, &called, NULL);
        alloc_fail_at(0);
        assert_true(status == FIRN_NO_MEMORY || n > 1);
    }
    assert_int_equal(status, FIRN_OK);
    status = FIRN_NO_MEMORY;
    for (uint64_t n = 1; status == FIRN_NO_MEMORY; n++) {
        alloc_fail_at(n);
        status = firn_wal_verify(b.log, NULL, NULL);
        alloc_fail_at(0);
        assert_true(status == FIRN_NO_MEMORY || n > 1);
    }
    assert_int_equal(status, FIRN_OK);
    assert_int_equal(called, 0);
    bed_release(&b);
    assert_int_equal(called, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(WrongArgumentsAreNamed),
        cmocka_unit_test(OptionsThatSayDefaultGetIt),
        cmocka_unit_test(WithoutPagesMadeReadyAheadTheLogIsWrittenAndReadAllTheSame),
        cmocka_unit_test(UseInAChildIsRefused),
        cmocka_unit_test(AWaitWithALimitEnds),
        cmocka_unit_test(WhoLooksOnBesideAWriterLooksAgain),
        cmocka_unit_test(WithoutMemoryReadersAndCallbacksSaySo),
        cmocka_unit_test(AnEmptiedFileIsALossToWhoeverVerifies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
