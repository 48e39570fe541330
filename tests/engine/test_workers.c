/* The threads that compact: what becomes of a job that they cannot do, what they do when little is written, and how they share
 * the work. What is asked is counted in calls and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include <base/error.h>

#include "bed.h"
#include <jobs/work.h>
#include "jobs.h"
#include <store/store.h>

/* ---- A device that refuses what the workers write ---- */

enum { REFUSE_NOTHING, REFUSE_CREATE, REFUSE_WRITE, REFUSE_SYNC, REFUSE_FOLDER_SYNC };

static struct {
    fs base;
    fs_ops ops;
    _Atomic unsigned call;                   /* which of the above */
    _Atomic int folder_error;                /* what the folder's sync fails with */
    atomic_bool once;                        /* and then none */
    _Atomic unsigned refused;                /* so many */
    _Atomic uint64_t at_us[COMPACTORS_MOST]; /* when the last ones were refused */
    _Atomic uint64_t least_us;               /* between one and the COMPACTORS_MOSTth behind it */
} device;

/* The log callback's. */
static _Atomic unsigned told_failed, told_goes_on, told_stopped;

static bool is_worker(void)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    return strncmp(name, "firn-compact", 12) == 0;
}

/* When calls of the first worker were refused. */
enum { FIRST_MOST = 32 };
static _Atomic uint64_t first_at_us[FIRST_MOST];
static _Atomic unsigned first_refused;

static void note_first_worker(void)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    unsigned at = atomic_load(&first_refused);
    if (strcmp(name, "firn-compact-1") != 0 || at >= FIRST_MOST)
        return;
    atomic_store(&first_at_us[at], fs_mono_us(fs_posix()));
    atomic_store(&first_refused, at + 1); /* behind the time, which another thread then reads */
}

static bool refuses(unsigned call)
{
    if (atomic_load(&device.call) != call || !is_worker())
        return false;
    note_first_worker();
    unsigned before = atomic_fetch_add(&device.refused, 1);
    if (before > 0 && atomic_load(&device.once))
        return false;
    /* Each worker pauses behind an attempt of its own, so of COMPACTORS_MOST + 1 attempts two have a pause between them. A
     * worker that helps may be refused in another's attempt. */
    uint64_t now = fs_mono_us(fs_posix());
    uint64_t then = atomic_exchange(&device.at_us[before % COMPACTORS_MOST], now);
    if (before >= COMPACTORS_MOST && now - then < atomic_load(&device.least_us))
        atomic_store(&device.least_us, now - then);
    return true;
}

/* A caller and the workers that do parts of its job, where their tables begin. */
static struct {
    atomic_bool on;
    firn *db;
    uint64_t epoch;          /* before the job */
    atomic_bool woken;       /* the workers were told of the parts while the job ran */
    _Atomic unsigned helped; /* tables that workers began */
    _Atomic unsigned cause;  /* what the caller waited for then */
} meeting;

static bool has_woken(firn *db)
{
    mutex_lock(&db->store->state_mu);
    bool woken = db->store->work_epoch > meeting.epoch;
    mutex_unlock(&db->store->state_mu);
    return woken;
}

/* The caller leaves a part to a worker, and the worker does not end before the caller waits for it. */
static void meet(void)
{
    if (!atomic_load(&meeting.on))
        return;
    if (has_woken(meeting.db))
        atomic_store(&meeting.woken, true);
    if (is_worker()) {
        wait_list_now now = {0};
        atomic_fetch_add(&meeting.helped, 1);
        for (; atomic_load(&meeting.on) && now.waiting == 0; usleep(1000))
            wait_list_look(&meeting.db->store->waits, &now);
        if (now.waiting)
            atomic_store(&meeting.cause, (unsigned)now.longest);
        return;
    }
    while (atomic_load(&meeting.helped) == 0)
        usleep(1000);
}

static int device_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    if ((flags & FS_CREATE_NEW) && strstr(name, ".tbl"))
        meet();
    if ((flags & FS_CREATE_NEW) && strstr(name, ".tbl") && refuses(REFUSE_CREATE))
        return -EIO;
    return fs_posix()->ops->open(dir, name, flags, out);
}

static ssize_t device_pwrite(fs_file *file, const void *data, size_t size, uint64_t offset)
{
    if (strstr(file->path, ".tbl") && refuses(REFUSE_WRITE))
        return -EIO;
    return fs_posix()->ops->pwrite(file, data, size, offset);
}

static int device_sync(fs_file *file)
{
    if (strstr(file->path, ".tbl") && refuses(REFUSE_SYNC))
        return -EIO;
    return fs_posix()->ops->sync(file);
}

static int device_dir_sync(fs_dir *dir)
{
    if (refuses(REFUSE_FOLDER_SYNC))
        return -atomic_load(&device.folder_error);
    return fs_posix()->ops->dir_sync(dir);
}

static void listen(void *ctx, firn_log_level lvl, const char *line)
{
    (void)ctx;
    (void)lvl;
    if (strstr(line, "compaction has failed, and is tried again"))
        atomic_fetch_add(&told_failed, 1);
    if (strstr(line, "compaction goes on"))
        atomic_fetch_add(&told_goes_on, 1);
    if (strstr(line, "has stopped"))
        atomic_fetch_add(&told_stopped, 1);
}

static void open_on_device(bed *b)
{
    device.ops = *fs_posix()->ops;
    device.ops.open = device_open;
    device.ops.pwrite = device_pwrite;
    device.ops.sync = device_sync;
    device.ops.dir_sync = device_dir_sync;
    device.base.ops = &device.ops;
    atomic_store(&device.call, REFUSE_NOTHING);
    atomic_store(&device.once, false);
    atomic_store(&device.refused, 0);
    atomic_store(&first_refused, 0);
    atomic_store(&device.least_us, UINT64_MAX);
    atomic_store(&told_failed, 0);
    atomic_store(&told_goes_on, 0);
    atomic_store(&told_stopped, 0);
    b->config.fs = &device.base;
    b->options.log = listen;
    bed_must_open(b);
}

static void bed_on_device(bed *b)
{
    bed_on_disk(b);
    open_on_device(b);
}

/* One more table of level 0, which overlaps the others. */
static void add_table(bed *b, unsigned i)
{
    char value[16];
    snprintf(value, sizeof value, "%u", i);
    bed_put(b, i % 2 ? "a" : "b", value);
    bed_put(b, "c", value);
    bed_flush(b);
}

static void a_table_that_a_worker_cannot_write_once_is_written_again(void **state)
{
    (void)state;
    for (unsigned call = REFUSE_CREATE; call <= REFUSE_SYNC; call++) {
        bed b;
        bed_on_device(&b);
        atomic_store(&device.once, true);
        atomic_store(&device.call, call);
        for (unsigned i = 0; i < L0_COMPACT_AT; i++)
            add_table(&b, i);
        int rc = firn_settle(b.db, NULL); /* the attempt may have begun before the call */
        assert_true(rc == FIRN_OK || rc == FIRN_IO);
        assert_true(atomic_load(&device.refused) > 0);
        MUST(firn_settle(b.db, error));
        assert_true(bed_stats(&b).level_tables[0] <= 1);
        assert_int_equal(bed_stats(&b).compaction_error.status, FIRN_OK);
        bed_must_close(&b); /* behind that, all is told */
        assert_int_equal(atomic_load(&told_failed), 1);
        assert_int_equal(atomic_load(&told_goes_on), 1);
        bed_release(&b);
    }
}

/* As long as the device refuses: tables go into level 0 until it is full. */
static void writes_go_on_while_workers_fail(bed *b)
{
    unsigned i = 0;
    char value[16];
    firn_error err = {0};
    for (; i < L0_COMPACT_AT; i++)
        add_table(b, i);
    assert_int_equal(firn_settle(b->db, &err), FIRN_IO);
    assert_non_null(strstr(err.file, ".tbl"));
    assert_non_null(strstr(err.hint, "the device failed"));
    firn_stats s = bed_stats(b);
    assert_false(s.poisoned);
    assert_int_equal(s.flush_error.status, FIRN_OK);
    assert_int_equal(s.compaction_error.status, FIRN_IO);
    assert_int_equal(s.compaction_error.sys_errno, EIO);
    assert_non_null(strstr(s.compaction_error.file, ".tbl"));
    for (; i < L0_STOP_AT; i++) {
        add_table(b, i);
        snprintf(value, sizeof value, "%u", i);
        bed_expect(b, NULL, "c", value);
    }
    assert_int_equal(bed_stats(b).level_tables[0], L0_STOP_AT);
    /* Level 0 is full: a writer is told why, and of the flush nothing. */
    assert_int_equal(firn_put(b->db, "d", 1, "x", 1, NULL, &err), FIRN_IO);
    assert_non_null(strstr(err.file, ".tbl"));
    bed_expect(b, NULL, "d", NULL);
    assert_false(bed_stats(b).poisoned);
    assert_true(atomic_load(&device.refused) > 1);
    assert_true(atomic_load(&device.least_us) >= RETRY_MS * 1000);
}

static void workers_that_cannot_write_tables_stop_no_writer(void **state)
{
    (void)state;
    for (unsigned call = REFUSE_CREATE; call <= REFUSE_SYNC; call++)
        for (unsigned cured = 0; cured < 2; cured++) {
            bed b;
            bed_on_device(&b);
            atomic_store(&device.call, call);
            writes_go_on_while_workers_fail(&b);
            if (cured) {
                atomic_store(&device.call, REFUSE_NOTHING);
                MUST(firn_settle(b.db, error));
                assert_true(bed_stats(&b).level_tables[0] <= 1);
                assert_int_equal(bed_stats(&b).compaction_error.status, FIRN_OK);
            }
            bed_must_close(&b);
            assert_int_equal(atomic_load(&told_failed), 1); /* however often it was tried */
            assert_int_equal(atomic_load(&told_goes_on), cured);
            MUST(firn_check(b.folder, NULL, NULL, NULL, error));
            atomic_store(&device.call, REFUSE_NOTHING);
            bed_must_open(&b);
            MUST(firn_settle(b.db, error));
            bed_put(&b, "d", "x");
            bed_expect(&b, NULL, "c", "23");
            bed_expect(&b, NULL, "d", "x");
            assert_int_equal(atomic_load(&told_stopped), 0);
            bed_release(&b);
        }
}

static void wait_for_refusals_of_the_first(unsigned count)
{
    while (atomic_load(&first_refused) < count)
        usleep(1000);
}

static unsigned busy_workers(firn *db)
{
    mutex_lock(&db->store->state_mu);
    unsigned busy = db->store->compacting;
    mutex_unlock(&db->store->state_mu);
    return busy;
}

/* What a worker has failed at is not done because it finds nothing while another one tries: its pause goes on doubling. The test is
 * the other one, and then leaves the job as it was. */
static void a_worker_that_stands_behind_another_keeps_its_pause(void **state)
{
    (void)state;
    enum { FAILURES = 3 };
    bed b;
    job j;
    bool others;
    firn_error err = {0};
    bed_on_device(&b);
    atomic_store(&device.call, REFUSE_CREATE);
    for (unsigned i = 0; i < L0_COMPACT_AT; i++)
        add_table(&b, i);
    wait_for_refusals_of_the_first(FAILURES);
    while (jobs_next(b.db->store, false, &j, &others, &err) != FIRN_OK)
        usleep(100);           /* a worker has it now */
    while (busy_workers(b.db)) /* each has looked behind its pause, and found nothing */
        usleep(1000);
    unsigned failures = atomic_load(&first_refused);
    jobs_end(b.db->store, &j);
    wait_for_refusals_of_the_first(failures + 2);
    uint64_t pause_us =
        atomic_load(&first_at_us[failures + 1]) - atomic_load(&first_at_us[failures]);
    assert_true(pause_us >= retry_pause_ms(failures + 1) * 1000);
    atomic_store(&device.call, REFUSE_NOTHING);
    bed_release(&b);
}

/* Flushes have put tables into the folder, too, and a sync that succeeds later says nothing of them. */
static void a_folder_stops_writing(int sys_errno)
{
    bed b;
    firn_error err = {0};
    bed_on_device(&b);
    atomic_store(&device.folder_error, sys_errno);
    atomic_store(&device.call, REFUSE_FOLDER_SYNC);
    for (unsigned i = 0; i < L0_COMPACT_AT; i++)
        add_table(&b, i);
    assert_int_equal(firn_settle(b.db, &err), FIRN_POISONED);
    assert_int_equal(firn_put(b.db, "d", 1, "x", 1, NULL, &err), FIRN_POISONED);
    assert_int_equal(err.sys_errno, sys_errno);
    assert_null(strstr(err.hint, "by itself"));
    firn_stats s = bed_stats(&b);
    assert_true(s.poisoned);
    assert_int_equal(s.flush_error.status, FIRN_IO);
    assert_int_equal(s.compaction_error.status, FIRN_IO);
    (void)firn_close(b.db, NULL);
    assert_int_equal(atomic_load(&told_stopped), 1);
    atomic_store(&device.call, REFUSE_NOTHING);
    bed_must_open(&b);
    bed_expect(&b, NULL, "c", "3");
    bed_release(&b);
}

/* A full disk, too, which other calls wait for: the sync may have lost something all the same. */
static void a_folder_that_cannot_be_synced_stops_writing(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC, EDQUOT};
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++)
        a_folder_stops_writing(errors[i]);
}

/* ---- What can wait for a calm ---- */

enum { SECOND_US = 1000 * 1000, LITTLE = 1000 };

/* A window later. */
static calm_kind after(calm_watch *w, calm_time *now, uint64_t entries, uint64_t bytes)
{
    now->us += SECOND_US;
    now->seq += entries;
    now->bytes_put += bytes;
    return calm_end(w, now, LITTLE);
}

static void a_trickle_is_a_calm_and_a_stream_is_none(void **state)
{
    (void)state;
    calm_watch w = {0};
    calm_time now = {.us = SECOND_US, .seq = 7, .bytes_put = 70000};
    calm_resume(&w, &now, SECOND_US);
    assert_int_equal(after(&w, &now, 0, 0), CALM_SILENT);
    assert_int_equal(after(&w, &now, 1, LITTLE - CALM_ENTRY_BYTES - 1), CALM_TRICKLE);
    assert_int_equal(after(&w, &now, 1, LITTLE - CALM_ENTRY_BYTES), CALM_NONE);
    assert_int_equal(after(&w, &now, 1, 0), CALM_TRICKLE); /* each window counts for itself */
    assert_int_equal(after(&w, &now, LITTLE / CALM_ENTRY_BYTES + 1, 0), CALM_NONE);
    assert_int_equal(after(&w, &now, 0, 0), CALM_SILENT);
}

/* A worker that is woken goes on with its window; when it has worked, it begins a new one. */
static void a_window_outlasts_changes_but_not_work(void **state)
{
    (void)state;
    calm_watch w = {0};
    const calm_time begun = {.us = SECOND_US}, woken = {.us = 2 * SECOND_US - 1, .seq = 1},
                    worked = {.us = 2 * SECOND_US, .seq = 1};
    calm_resume(&w, &begun, SECOND_US);
    calm_resume(&w, &woken, SECOND_US);
    assert_int_equal(w.since.us, begun.us);
    assert_int_equal(w.since.seq, begun.seq);
    calm_resume(&w, &worked, SECOND_US);
    assert_int_equal(w.since.us, worked.us);
    assert_int_equal(w.since.seq, worked.seq);
}

/* Beside a trickle, there may always be something that can wait. */
static void what_can_wait_takes_a_share_of_the_time_while_there_are_writers(void **state)
{
    (void)state;
    calm_watch w = {0};
    calm_time now = {.us = SECOND_US};
    calm_resume(&w, &now, SECOND_US);
    calm_worked(&w, now.us - SECOND_US, now.us);
    for (unsigned i = 1; i < CALM_REST; i++)
        assert_int_equal(after(&w, &now, 1, 1), CALM_NONE);
    assert_int_equal(after(&w, &now, 1, 1), CALM_TRICKLE);
    calm_worked(&w, now.us - SECOND_US, now.us);
    assert_int_equal(after(&w, &now, 0, 0), CALM_SILENT); /* takes it from no writer */
}

static bool has_rested(bed *b)
{
    mutex_lock(&b->db->store->state_mu);
    bool rested = b->db->store->compactors[0].watch.rest_until_us > 0;
    mutex_unlock(&b->db->store->state_mu);
    return rested;
}

enum { DELETED = 1000, TRICKLE = 3000 };

/* Of so much memory a second's puts are little, and none of them is flushed. */
static void tombstones_go_down_beside_a_trickle_of_writes(void **state)
{
    (void)state;
    bed b;
    char key[16];
    bed_on_disk(&b);
    b.options.memory = 64 << 20;
    b.options.segment_bytes = 0;
    bed_must_open(&b);
    for (unsigned deleting = 0; deleting < 2; deleting++) {
        for (unsigned i = 0; i < DELETED; i++) {
            snprintf(key, sizeof key, "%06u", i);
            if (deleting)
                bed_delete(&b, key);
            else
                bed_put(&b, key, "value");
        }
        bed_flush(&b);
        if (!deleting)
            MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    }
    for (unsigned puts = 0; bed_tables(&b) > 0 || !has_rested(&b); puts++) {
        assert_true(puts < TRICKLE);
        bed_put(&b, "z", "now and then");
        usleep(10 * 1000);
    }
    bed_expect(&b, NULL, "z", "now and then");
    bed_expect(&b, NULL, "000001", NULL);
    bed_release(&b);
}

/* ---- Idleness ---- */

/* The workers' clock, which a test moves on. */
static struct {
    const fs_ops *real;
    fs_ops ops;
    _Atomic uint64_t ahead_us;
} later;

static uint64_t later_mono_ns(fs *f)
{
    return later.real->mono_ns(f) + atomic_load(&later.ahead_us) * 1000;
}

enum { IDLE_US = 11 * SECOND_US }; /* longer than any window */

/* The first worker's window has ended. */
static void pass_window(bed *b)
{
    bool ended = false;
    uint64_t now = atomic_fetch_add(&later.ahead_us, IDLE_US) + IDLE_US +
                   later.real->mono_ns(fs_posix()) / 1000;
    for (unsigned tries = 0; !ended; tries++) {
        assert_true(tries < 20000);
        mutex_lock(&b->db->store->state_mu);
        ended = b->db->store->compactors[0].watch.since.us >= now;
        cond_broadcast(&b->db->store->state_changed);
        mutex_unlock(&b->db->store->state_mu);
        usleep(1000);
    }
}

static void delete_in_memory(bed *b)
{
    char key[16];
    static char value[500];
    memset(value, 'v', sizeof value - 1);
    for (unsigned i = 0; i < DELETED; i++) {
        snprintf(key, sizeof key, "%06u", i);
        bed_put(b, key, value);
    }
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    for (unsigned i = 0; i < DELETED; i++) {
        snprintf(key, sizeof key, "%06u", i);
        bed_delete(b, key);
    }
    MUST(firn_settle(b->db, error));
}

/* No call does it, only time. Beside a trickle, a flush each IDLE_MS would leave as many small tables. */
static void a_store_is_flushed_when_nothing_is_written_any_more(void **state)
{
    (void)state;
    enum { WINDOWS = 10 };
    bed b;
    later.real = fs_posix()->ops;
    later.ops = *later.real;
    later.ops.mono_ns = later_mono_ns;
    atomic_store(&later.ahead_us, 0);
    fs_posix()->ops = &later.ops; /* before there are threads, and again behind them */
    bed_on_disk(&b);
    b.options.memory = 8 << 20;
    b.options.segment_bytes = 0;
    bed_must_open(&b);
    delete_in_memory(&b);
    uint64_t flushes = bed_stats(&b).flushes;
    for (unsigned i = 0; i < WINDOWS; i++) {
        bed_put(&b, "z", "now and then");
        pass_window(&b);
    }
    MUST(firn_settle(b.db, error)); /* what was asked for is done */
    assert_int_equal(bed_stats(&b).flushes, flushes);
    assert_int_equal(bed_stats(&b).memtable_entries, DELETED + WINDOWS);
    for (unsigned i = 0; bed_stats(&b).memtable_entries > 0; i++) {
        assert_true(i < 1000);
        pass_window(&b);
    }
    MUST(firn_settle(b.db, error));
    assert_int_equal(bed_stats(&b).flushes, flushes + 1);
    cleaner_wait(&b.db->store->cleaner);
    assert_true(memtable_pool_bytes(b.db->store->mem_env.pool) > 0);
    for (unsigned i = 0; i < WINDOWS || memtable_pool_bytes(b.db->store->mem_env.pool) > 0; i++) {
        assert_true(i < 1000);
        pass_window(&b);
    }
    assert_int_equal(bed_stats(&b).flushes, flushes + 1);
    bed_expect(&b, NULL, "z", "now and then");
    bed_expect(&b, NULL, "000001", NULL);
    bed_release(&b);
    fs_posix()->ops = later.real;
}

/* ---- Parts ---- */

/* The one job that a caller's request has in a store at rest. */
static void run_helped(firn *db)
{
    schedule_request q = {.seq = FIRN_MAX_SEQ};
    job j;
    MUST(jobs_ask(db, &q, &j, error));
    meeting.db = db;
    mutex_lock(&db->store->state_mu);
    meeting.epoch = db->store->work_epoch;
    mutex_unlock(&db->store->state_mu);
    atomic_store(&meeting.helped, 0);
    atomic_store(&meeting.cause, FIRN_WAIT_NONE);
    atomic_store(&meeting.woken, false);
    atomic_store(&meeting.on, true);
    MUST(job_run(&j, error));
    atomic_store(&meeting.on, false);
    jobs_end(db->store, &j);
}

static void a_worker_without_a_job_helps_a_caller(void **state)
{
    (void)state;
    bed b;
    char key[16];
    enum { HELPED = 2000 };
    bed_on_disk(&b);
    b.options.memory = 64 << 20;
    b.options.segment_bytes = 0;
    open_on_device(&b);
    b.db->store->compactor_count =
        COMPACTORS_MOST; /* parts are made for them; one is enough to help */
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < HELPED; i++) {
            snprintf(key, sizeof key, "%06u", i);
            bed_put(&b, key, round ? "newer" : "older");
        }
        bed_flush(&b);
        MUST(firn_settle(b.db, error));
        if (round == 0)
            MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    }
    run_helped(b.db);
    assert_true(atomic_load(&meeting.helped) > 0);
    assert_int_equal(atomic_load(&meeting.cause), FIRN_WAIT_COMPACTION);
    assert_true(atomic_load(&meeting.woken));
    for (unsigned i = 0; i < HELPED; i++) {
        snprintf(key, sizeof key, "%06u", i);
        bed_expect(&b, NULL, key, "newer");
    }
    bed_must_close(&b);
    MUST(firn_check(b.folder, NULL, NULL, NULL, error));
    bed_release(&b);
}

/* Whatever else has failed in the job, be it a worker's or a caller's: the others are tried again, and this says that a flush's table may
 * be lost. */
static void a_part_that_cannot_sync_the_folder_counts_before_others(void **state)
{
    (void)state;
    static const job_fault others[] = {FAULT_OTHER, FAULT_INPUT, FAULT_OUTPUT};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned at = 0; at < 2; at++) {
            bed b;
            firn_error err = {0};
            bed_on_device(&b);
            part parts[2] = {{.status = FIRN_NO_SPACE, .fault = others[i]},
                             {.status = FIRN_NO_SPACE, .fault = others[i]}};
            parts[at].status = FIRN_IO;
            parts[at].fault = FAULT_FOLDER;
            error_set(&parts[at].error, FIRN_IO, "the folder");
            job j = {.db = b.db->store, .parts = parts, .part_count = 2, .part_next = 2};
            assert_int_equal(jobs_run_parts(&j, &err), FIRN_IO);
            assert_int_equal(j.fault, FAULT_FOLDER);
            assert_string_equal(err.message, "the folder");
            assert_int_equal(firn_put(b.db, "d", 1, "x", 1, NULL, NULL), FIRN_POISONED);
            assert_int_equal(atomic_load(&told_stopped), 1);
            (void)firn_close(b.db, NULL);
            b.db = NULL;
            bed_release(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_that_a_worker_cannot_write_once_is_written_again),
        cmocka_unit_test(workers_that_cannot_write_tables_stop_no_writer),
        cmocka_unit_test(a_worker_that_stands_behind_another_keeps_its_pause),
        cmocka_unit_test(a_folder_that_cannot_be_synced_stops_writing),
        cmocka_unit_test(a_part_that_cannot_sync_the_folder_counts_before_others),
        cmocka_unit_test(a_trickle_is_a_calm_and_a_stream_is_none),
        cmocka_unit_test(a_window_outlasts_changes_but_not_work),
        cmocka_unit_test(what_can_wait_takes_a_share_of_the_time_while_there_are_writers),
        cmocka_unit_test(tombstones_go_down_beside_a_trickle_of_writes),
        cmocka_unit_test(a_store_is_flushed_when_nothing_is_written_any_more),
        cmocka_unit_test(a_worker_without_a_job_helps_a_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
