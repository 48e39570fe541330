/* The modes of a log: durability and backing. Every mode survives the death of the process: a child appends and tells each
 * acknowledged number through a pipe; it is killed in the middle; whatever it told must be there. */
#include "bed.h"

#include <base/hash.h>
#include <errno.h>
#include <signal.h>
#include <support/tempdir.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct mode {
    firn_durability durability;
    firn_wal_backing backing;
    uint64_t kill_after; /* acknowledgements */
    bool batches;
} mode;

static void fill_value(uint64_t seq, uint8_t value[100])
{
    for (size_t i = 0; i < 100; i++)
        value[i] = (uint8_t)mix64(seq * 100 + i);
}

static firn_wal_options options_of(const mode *m)
{
    firn_wal_options o;
    firn_wal_options_init(&o);
    o.durability = m->durability;
    o.backing = m->backing;
    o.segment_bytes = 256 << 10;
    o.batch_writes = 64;
    o.batch_ms = 2;
    return o;
}

/* Entry `seq` has a key and a value that follow from its number, so that the parent can tell. */
static int append_known(firn_wal *log, const mode *m, uint64_t *seq)
{
    uint64_t next = firn_wal_last_seq(log) + 1;
    uint8_t value[100];
    fill_value(next, value);
    if (!m->batches)
        return firn_wal_append(log, FIRN_PUT, &next, sizeof next, value, sizeof value, NULL, seq,
                               NULL);
    firn_batch *batch;
    int rc = firn_batch_new(&batch);
    for (uint64_t i = next; i < next + 3 && rc == FIRN_OK; i++) {
        fill_value(i, value);
        rc = firn_batch_put(batch, &i, sizeof i, value, sizeof value);
    }
    firn_wal_write write = {.size = sizeof write, .durability = m->durability};
    if (rc == FIRN_OK)
        rc = firn_wal_append_batch(log, batch, &write, seq, NULL);
    firn_batch_free(batch);
    return rc;
}

static void run_child(const char *path, const mode *m, int pipe_out)
{
    firn_wal_options o = options_of(m);
    firn_wal *log;
    if (firn_wal_open(path, &o, NULL, &log, NULL) != FIRN_OK)
        _exit(1);
    for (;;) {
        uint64_t seq;
        if (append_known(log, m, &seq) != FIRN_OK)
            _exit(2);
        if (write(pipe_out, &seq, sizeof seq) != sizeof seq)
            _exit(3);
    }
}

/* The newest number that the child said was acknowledged before it died. */
static uint64_t kill_in_the_middle(const char *path, const mode *m)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_child(path, m, ends[1]);
    }
    assert_true(child > 0);
    close(ends[1]);
    uint64_t acknowledged = 0, seq, count = 0;
    while (read(ends[0], &seq, sizeof seq) == sizeof seq) {
        acknowledged = seq;
        if (++count == m->kill_after)
            kill(child, SIGKILL);
    }
    close(ends[0]);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFSIGNALED(result) && WTERMSIG(result) == SIGKILL);
    assert_true(count >= m->kill_after);
    return acknowledged;
}

static int check_known(void *ctx, const firn_wal_entry *e)
{
    uint64_t *last = ctx;
    uint8_t value[100];
    fill_value(e->seq, value);
    if (e->seq != *last + 1 || e->key.size != 8 || memcmp(e->key.data, &e->seq, 8) != 0 ||
        e->value.size != 100 || memcmp(e->value.data, value, 100) != 0)
        return 1000;
    *last = e->seq;
    return 0;
}

static void survive(mode m)
{
    char *path = tempdir_new();
    uint64_t before = 0;
    for (int life = 0; life < 3; life++) {
        uint64_t acknowledged = kill_in_the_middle(path, &m);
        assert_true(acknowledged > before);
        firn_wal_options o = options_of(&m);
        firn_wal *log;
        OK(firn_wal_open(path, &o, NULL, &log, err));
        uint64_t last = 0;
        OK(firn_wal_replay(log, 0, check_known, &last, NULL, err));
        assert_true(last >= acknowledged);
        assert_int_equal(firn_wal_last_seq(log), last);
        assert_true(!m.batches || last % 3 == 0); /* whole or not at all */
        before = last;
        OK(firn_wal_close(log, err));
    }
    tempdir_remove(path);
}

static void SyncedAppendsSurviveTheProcess(void **state)
{
    (void)state;
    survive((mode){FIRN_DURABILITY_SYNC, FIRN_WAL_MAPPED, 40, false});
    survive((mode){FIRN_DURABILITY_SYNC, FIRN_WAL_BUFFERED, 40, false});
}

static void BatchedAppendsSurviveTheProcess(void **state)
{
    (void)state;
    survive((mode){FIRN_DURABILITY_BATCH, FIRN_WAL_MAPPED, 5000, false});
    survive((mode){FIRN_DURABILITY_BATCH, FIRN_WAL_BUFFERED, 5000, false});
}

static void UnsyncedAppendsSurviveTheProcess(void **state)
{
    (void)state;
    survive((mode){FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED, 6000, false});
    survive((mode){FIRN_DURABILITY_NONE, FIRN_WAL_BUFFERED, 6000, false});
    survive((mode){FIRN_DURABILITY_NONE, FIRN_WAL_AUTO, 3, false});
}

static void ABatchSurvivesTheProcessWhole(void **state)
{
    (void)state;
    survive((mode){FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED, 3000, true});
    survive((mode){FIRN_DURABILITY_NONE, FIRN_WAL_BUFFERED, 3000, true});
    survive((mode){FIRN_DURABILITY_SYNC, FIRN_WAL_MAPPED, 20, true});
}

/* ---- Asking for more, or less, than the mode ---- */

static void AWriteMayAskForMoreOrLessThanItsMode(void **state)
{
    (void)state;
    static const firn_durability classes[] = {FIRN_DURABILITY_SYNC, FIRN_DURABILITY_BATCH,
                                              FIRN_DURABILITY_NONE};
    for (size_t mode_of_log = 0; mode_of_log < 3; mode_of_log++) {
        for (size_t asked = 0; asked < 3; asked++) {
            wal_config c = bed_config();
            c.options.durability = classes[mode_of_log];
            bed b = bed_new_with(&c);
            firn_wal_write write = {.size = sizeof write, .durability = classes[asked]};
            uint64_t seq;
            OK(firn_wal_append(b.log, FIRN_PUT, "k", 1, NULL, 0, &write, &seq, err));
            assert_int_equal(firn_wal_durable_seq(b.log), asked == 0 ? seq : 0);
            firn_batch *batch;
            assert_int_equal(firn_batch_new(&batch), FIRN_OK);
            assert_int_equal(firn_batch_put(batch, "k", 1, NULL, 0), FIRN_OK);
            OK(firn_wal_append_batch(b.log, batch, &write, &seq, err));
            assert_int_equal(firn_wal_durable_seq(b.log), asked == 0 ? seq : 0);
            OK(firn_wal_append_batch(b.log, batch, NULL, &seq, err)); /* synced in every mode */
            assert_int_equal(firn_wal_durable_seq(b.log), seq);
            firn_batch_free(batch);
            bed_release(&b);
        }
    }
}

static void TheAutomaticBackingFollowsTheFileSystem(void **state)
{
    (void)state;
    for (int sound = 0; sound < 2; sound++) {
        wal_config c = bed_config();
        c.options.backing = FIRN_WAL_AUTO;
        bed b = {.sim = simfs_new(1), .config = c};
        simfs_mapping_ok(b.sim, sound);
        bed_open(&b);
        wal_stats stats;
        wal_get_stats(b.log, &stats);
        assert_int_equal(stats.mapped, sound);
        bed_put(&b, 1);
        bed_close(&b);
        simfs_mapping_ok(b.sim, !sound); /* the files are the same */
        bed_open(&b);
        assert_int_equal(bed_put(&b, 2), 2);
        OK(firn_wal_verify(b.log, NULL, err));
        bed_release(&b);
    }
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

static int count_entry(void *ctx, const firn_wal_entry *entry)
{
    (void)entry;
    ++*(int *)ctx;
    return 0;
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
    OK(firn_wal_replay(b.log, 0, count_entry, &count, NULL, err));
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
        int rc = wal_open(dir, &b.config, NULL, &b.log, &error);
        if (rc != FIRN_OK) {
            assert_int_equal(rc, FIRN_IO);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(SyncedAppendsSurviveTheProcess),
        cmocka_unit_test(BatchedAppendsSurviveTheProcess),
        cmocka_unit_test(UnsyncedAppendsSurviveTheProcess),
        cmocka_unit_test(ABatchSurvivesTheProcessWhole),
        cmocka_unit_test(AWriteMayAskForMoreOrLessThanItsMode),
        cmocka_unit_test(TheAutomaticBackingFollowsTheFileSystem),
        cmocka_unit_test(OptionsThatSayDefaultGetIt),
        cmocka_unit_test(WithoutPagesMadeReadyAheadTheLogIsWrittenAndReadAllTheSame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
