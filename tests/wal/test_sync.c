/* Durability: who waits for what, one sync for many, failures of a sync, callbacks. */
#include "bed.h"

#include <base/thread.h>
#include <errno.h>
#include <sched.h>
#include <support/tempdir.h>
#include <time.h>

static int append(bed *b, firn_durability durability, uint64_t *seq, firn_error *err)
{
    firn_wal_write write = {.size = sizeof write, .durability = durability};
    return firn_wal_append(b->log, FIRN_PUT, "key", 3, "value", 5, &write, seq, err);
}

static bed bed_with(firn_durability durability, firn_wal_backing backing)
{
    wal_config c = bed_config();
    c.options.durability = durability;
    c.options.backing = backing;
    return bed_new_with(&c);
}

static void OnlyWhoAsksForASyncPaysForOne(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = bed_with(FIRN_DURABILITY_NONE, (firn_wal_backing)backing);
        uint64_t seq, before = simfs_calls(b.sim, SIMFS_SYNC);
        for (int i = 0; i < 5; i++)
            OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err));
        assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), before);
        assert_int_equal(firn_wal_durable_seq(b.log), 0);
        OK(append(&b, FIRN_DURABILITY_SYNC, &seq, err));
        assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), before + 1);
        assert_int_equal(firn_wal_durable_seq(b.log), 6);
        OK(firn_wal_sync(b.log, err));
        assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), before + 1); /* nothing to do */
        bed_release(&b);
    }
}

static void AStoredAppendMakesNoSystemCall(void **state)
{
    (void)state;
    bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
    uint64_t seq;
    OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err)); /* makes pages ready */
    uint64_t before = simfs_calls(b.sim, SIMFS_ANY);
    for (int i = 0; i < 20; i++)
        OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err));
    assert_int_equal(simfs_calls(b.sim, SIMFS_ANY), before);
    bed_release(&b);
}

static void ASyncCoversTheSegmentsBeforeItOldestFirst(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = bed_with(FIRN_DURABILITY_NONE, (firn_wal_backing)backing);
        uint64_t seq;
        for (int i = 0; i < 4; i++) {
            OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err));
            OK(firn_wal_rotate(b.log, err));
        }
        uint64_t before = simfs_calls(b.sim, SIMFS_SYNC);
        OK(firn_wal_wait_durable(b.log, 1, 0, err));
        assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), before + 5);
        assert_int_equal(firn_wal_durable_seq(b.log), 4);
        OK(append(&b, FIRN_DURABILITY_SYNC, &seq, err));
        assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), before + 6);
        bed_release(&b);
    }
}

static void WaitingForANumberThatWasNotGivenOutIsRefused(void **state)
{
    (void)state;
    bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
    uint64_t seq;
    OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err));
    EXPECT(FIRN_INVALID, firn_wal_wait_durable(b.log, 2, 0, err));
    EXPECT(FIRN_INVALID, firn_wal_wait_durable(b.log, 2, 10, err));
    OK(firn_wal_wait_durable(b.log, 0, 0, err));
    OK(firn_wal_wait_durable(b.log, 1, 10, err));
    assert_int_equal(firn_wal_durable_seq(b.log), 1);
    bed_release(&b);
}

static void TheBatchModeSyncsAfterSoManyWritesOrBytes(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_BATCH;
    c.options.batch_writes = 3;
    c.options.batch_ms = 1000000;
    bed b = bed_new_with(&c);
    for (uint64_t i = 1; i <= 9; i++) {
        uint64_t seq;
        OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err));
        /* The LINK at the start of the segment is a write, too. */
        assert_in_range(firn_wal_last_seq(b.log) - firn_wal_durable_seq(b.log), 0, 2);
    }
    assert_true(firn_wal_durable_seq(b.log) >= 6);
    bed_close(&b);
    b.config.options.batch_writes = UINT32_MAX;
    b.config.options.batch_bytes = 2000;
    bed_open(&b);
    for (uint64_t i = 0; i < 30; i++) {
        bed_put_sized(&b, i, 300);
        assert_in_range(firn_wal_last_seq(b.log) - firn_wal_durable_seq(b.log), 0, 6);
    }
    bed_release(&b);
}

static void WithoutAThreadTheBatchModeLooksAtTheClockWhenAppending(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_BATCH;
    bed b = bed_new_with(&c);
    uint64_t seq;
    OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err));
    assert_int_equal(firn_wal_durable_seq(b.log), 0);
    simfs_advance(b.sim, 60 * 1000);
    OK(append(&b, FIRN_DURABILITY_DEFAULT, &seq, err));
    assert_int_equal(firn_wal_durable_seq(b.log), 2);
    bed_release(&b);
}

/* ---- What happens while a sync is under way ---- */

typedef struct during_sync {
    bed *b;
    bool armed;
} during_sync;

static int append_during_sync(void *ctx, unsigned call, uint64_t index, const char *name)
{
    during_sync *d = ctx;
    uint64_t seq;
    (void)index;
    (void)name;
    if (call != SIMFS_SYNC || !d->armed)
        return 0;
    d->armed = false;
    OK(append(d->b, FIRN_DURABILITY_NONE, &seq, err));
    return 0;
}

static void WhatIsAppendedDuringASyncIsNotCoveredByIt(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = bed_with(FIRN_DURABILITY_NONE, (firn_wal_backing)backing);
        uint64_t seq, before = simfs_calls(b.sim, SIMFS_SYNC);
        OK(append(&b, FIRN_DURABILITY_NONE, &seq, err));
        during_sync d = {.b = &b, .armed = true};
        simfs_on_call(b.sim, append_during_sync, &d);
        OK(firn_wal_sync(b.log, err));
        simfs_on_call(b.sim, NULL, NULL);
        assert_int_equal(firn_wal_last_seq(b.log), 2);
        assert_int_equal(firn_wal_durable_seq(b.log), 1);
        OK(firn_wal_sync(b.log, err));
        assert_int_equal(firn_wal_durable_seq(b.log), 2);
        assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), before + 2);
        bed_release(&b);
    }
}

enum { LATE = 3 };

typedef struct late {
    bed *b;
    thread t;
    bool started;
    int status;
    firn_error error;
} late;

static void append_synced(void *arg)
{
    late *l = arg;
    uint64_t seq;
    l->status = append(l->b, FIRN_DURABILITY_SYNC, &seq, &l->error);
}

static int sleeping_waiters(wal *log)
{
    int count = 0;
    mutex_lock(&log->log_mu);
    for (wal_request *r = log->waiters; r; r = r->next)
        count += atomic_load(&r->state) == WAL_SLEEPING;
    mutex_unlock(&log->log_mu);
    return count;
}

/* The first sync goes on when all who came meanwhile sleep. */
static int wait_for_late(void *ctx, unsigned call, uint64_t index, const char *name)
{
    late *all = ctx;
    (void)index;
    (void)name;
    if (call != SIMFS_SYNC || all[0].started)
        return 0;
    for (int i = 0; i < LATE; i++) {
        all[i].started = true;
        assert_int_equal(thread_start(&all[i].t, "late", append_synced, &all[i]), 0);
    }
    while (sleeping_waiters(all[0].b->log) < LATE)
        sched_yield();
    return 0;
}

/* One of them syncs for all, and wakes the others. */
static void WhoComesDuringASyncGetsTheNextOne(void **state)
{
    (void)state;
    bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
    late all[LATE] = {0};
    uint64_t seq, before = simfs_calls(b.sim, SIMFS_SYNC);
    for (int i = 0; i < LATE; i++)
        all[i].b = &b;
    simfs_on_call(b.sim, wait_for_late, all);
    OK(append(&b, FIRN_DURABILITY_SYNC, &seq, err));
    for (int i = 0; i < LATE; i++) {
        thread_join(&all[i].t); /* for ever, when it is forgotten */
        assert_int_equal(all[i].status, FIRN_OK);
    }
    simfs_on_call(b.sim, NULL, NULL);
    assert_int_equal(firn_wal_durable_seq(b.log), 1 + LATE);
    assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), before + 2);
    bed_release(&b);
}

/* ---- Failing ---- */

static void AFailedSyncPoisonsAndTheDescriptorIsNotSyncedAgain(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        bed b = bed_with(FIRN_DURABILITY_NONE, (firn_wal_backing)backing);
        uint64_t seq;
        OK(append(&b, FIRN_DURABILITY_SYNC, &seq, err));
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
        firn_error error = {0};
        assert_int_equal(append(&b, FIRN_DURABILITY_SYNC, &seq, &error), FIRN_IO);
        assert_int_equal(error.sys_errno, EIO);
        assert_non_null(strstr(error.file, ".wal"));
        assert_string_not_equal(error.hint, "");
        uint64_t changing = simfs_calls(b.sim, SIMFS_CHANGING);
        EXPECT(FIRN_POISONED, append(&b, FIRN_DURABILITY_NONE, &seq, err));
        EXPECT(FIRN_POISONED, append(&b, FIRN_DURABILITY_SYNC, &seq, err));
        EXPECT(FIRN_POISONED, firn_wal_sync(b.log, err));
        EXPECT(FIRN_POISONED, firn_wal_wait_durable(b.log, 2, 0, err));
        EXPECT(FIRN_POISONED, firn_wal_rotate(b.log, err));
        EXPECT(FIRN_POISONED, firn_wal_checkpoint(b.log, NULL, err));
        EXPECT(FIRN_POISONED, firn_wal_truncate(b.log, 1, NULL, err));
        OK(firn_wal_wait_durable(b.log, 1, 0, err));
        assert_int_equal(firn_wal_durable_seq(b.log), 1);
        wal *log = b.log;
        b.log = NULL;
        EXPECT(FIRN_POISONED, firn_wal_close(log, err));
        assert_int_equal(simfs_calls(b.sim, SIMFS_CHANGING), changing);
        bed_open(&b);
        assert_true(firn_wal_last_seq(b.log) >= 1);
        OK(append(&b, FIRN_DURABILITY_SYNC, &seq, err));
        bed_release(&b);
    }
}

/* A sync that fails while another writer's batch, appended meanwhile, waits for the next one. */
static int fail_once_both_are_appended(void *ctx, unsigned call, uint64_t index, const char *name)
{
    late *second = ctx;
    (void)index;
    (void)name;
    if (call != SIMFS_SYNC || second->started)
        return 0;
    second->started = true;
    assert_int_equal(thread_start(&second->t, "late", append_synced, second), 0);
    while (firn_wal_last_seq(second->b->log) < 2)
        sched_yield();
    return EIO;
}

static void AWriteAppendedBeforeTheFailureLearnsThatItsOutcomeIsUnknown(void **state)
{
    (void)state;
    bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
    late second = {.b = &b};
    uint64_t seq;
    simfs_on_call(b.sim, fail_once_both_are_appended, &second);
    EXPECT(FIRN_IO, append(&b, FIRN_DURABILITY_SYNC, &seq, err));
    thread_join(&second.t);
    simfs_on_call(b.sim, NULL, NULL);
    /* POISONED would say that nothing had happened, but it is in the log, and may be found there. */
    assert_int_equal(second.status, FIRN_IO);
    assert_int_equal(second.error.status, FIRN_IO);
    assert_int_equal(second.error.sys_errno, EIO);
    assert_non_null(strstr(second.error.hint, "unknown"));
    EXPECT(FIRN_POISONED, append(&b, FIRN_DURABILITY_NONE, &seq, err));
    assert_int_equal(firn_wal_last_seq(b.log), 2);
    wal *log = b.log;
    b.log = NULL;
    EXPECT(FIRN_POISONED, firn_wal_close(log, err));
    bed_release(&b);
}

typedef struct called {
    MUTEX(called_mu);
    cond c;
    int count;
    int statuses[8];
    uint64_t seqs[8];
} called;

static void called_init(called *c)
{
    memset(c, 0, sizeof *c);
    mutex_init(&c->called_mu);
    cond_init(&c->c);
}

static void called_release(called *c)
{
    cond_release(&c->c);
    mutex_release(&c->called_mu);
}

static void on_durable(void *ctx, uint64_t seq, int rc)
{
    called *c = ctx;
    mutex_lock(&c->called_mu);
    if (c->count < 8) {
        c->statuses[c->count] = rc;
        c->seqs[c->count] = seq;
    }
    c->count++;
    cond_broadcast(&c->c);
    mutex_unlock(&c->called_mu);
}

static void called_wait(called *c, int count)
{
    mutex_lock(&c->called_mu);
    while (c->count < count)
        cond_wait(&c->c, &c->called_mu);
    mutex_unlock(&c->called_mu);
}

static void ACallbackIsCalledOnceWhenItsNumberIsDurable(void **state)
{
    (void)state;
    bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
    called c;
    called_init(&c);
    uint64_t seq;
    for (int i = 0; i < 3; i++)
        OK(append(&b, FIRN_DURABILITY_NONE, &seq, err));
    OK(firn_wal_on_durable(b.log, 2, on_durable, &c, err));
    OK(firn_wal_on_durable(b.log, 3, on_durable, &c, err));
    assert_int_equal(c.count, 0);
    OK(firn_wal_sync(b.log, err));
    assert_int_equal(c.count, 2);
    assert_int_equal(c.seqs[0], 2);
    assert_int_equal(c.seqs[1], 3);
    OK(firn_wal_on_durable(b.log, 1, on_durable, &c, err)); /* it is durable already */
    assert_int_equal(c.count, 3);
    EXPECT(FIRN_INVALID, firn_wal_on_durable(b.log, 4, on_durable, &c, err));
    EXPECT(FIRN_INVALID, firn_wal_on_durable(b.log, 1, NULL, &c, err));
    OK(append(&b, FIRN_DURABILITY_NONE, &seq, err));
    OK(firn_wal_on_durable(b.log, 4, on_durable, &c, err));
    bed_close(&b); /* syncs */
    assert_int_equal(c.count, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(c.statuses[i], FIRN_OK);
    called_release(&c);
    bed_release(&b);
}

static void ACallbackLearnsThatItsNumberCannotBecomeDurable(void **state)
{
    (void)state;
    bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
    called c;
    called_init(&c);
    uint64_t seq;
    OK(append(&b, FIRN_DURABILITY_NONE, &seq, err));
    OK(firn_wal_on_durable(b.log, 1, on_durable, &c, err));
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    EXPECT(FIRN_IO, firn_wal_sync(b.log, err));
    assert_int_equal(c.count, 1);
    assert_int_equal(c.statuses[0], FIRN_POISONED);
    OK(firn_wal_on_durable(b.log, 1, on_durable, &c, err));
    assert_int_equal(c.count, 2);
    assert_int_equal(c.statuses[1], FIRN_POISONED);
    wal *log = b.log;
    b.log = NULL;
    EXPECT(FIRN_POISONED, firn_wal_close(log, err));
    called_release(&c);
    bed_release(&b);
}

/* ---- Many of them: what they cost is counted in comparisons ---- */

#define CALLBACKS 4096

static void in_order(void *ctx, uint64_t seq, int rc)
{
    uint64_t *last = ctx;
    assert_int_equal(rc, FIRN_OK);
    assert_true(seq >= *last);
    *last = seq;
    last[1]++;
}

static uint64_t callback_steps(bed *b)
{
    mutex_lock(&b->log->log_mu);
    uint64_t steps = b->log->callback_steps;
    mutex_unlock(&b->log->log_mu);
    return steps;
}

/* Registers one for each of the numbers 1 to CALLBACKS, in the order that `number` tells. */
static void register_many(bed *b, uint64_t (*number)(uint64_t i), uint64_t called_last[2])
{
    for (uint64_t i = 0; i < CALLBACKS; i++) {
        uint64_t before = callback_steps(b);
        OK(firn_wal_on_durable(b->log, number(i), in_order, called_last, err));
        assert_true(callback_steps(b) - before <= 1); /* however many wait */
    }
}

static uint64_t ascending(uint64_t i)
{
    return i + 1;
}

static uint64_t descending(uint64_t i)
{
    return CALLBACKS - i;
}

static uint64_t mixed(uint64_t i)
{
    return i * 2654435761 % CALLBACKS + 1;
}

static void ManyCallbacksCostNoMoreEachThanFew(void **state)
{
    (void)state;
    uint64_t (*orders[])(uint64_t i) = {ascending, descending, mixed};
    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
        uint64_t seq, last[2] = {0};
        for (int i = 0; i < CALLBACKS; i++)
            OK(append(&b, FIRN_DURABILITY_NONE, &seq, err));
        register_many(&b, orders[o], last);
        assert_int_equal(last[1], 0);
        OK(firn_wal_sync(b.log, err));
        assert_int_equal(last[1], CALLBACKS);
        /* The logarithm of 4096 is 12; each pairing may cost a small multiple of it. */
        assert_true(callback_steps(&b) <= UINT64_C(4) * 12 * CALLBACKS);
        bed_release(&b);
    }
}

/* What waits for a later number costs nothing when earlier ones are decided. */
static void CallbacksThatWaitOnAreNotLookedAt(void **state)
{
    (void)state;
    bed b = bed_with(FIRN_DURABILITY_NONE, FIRN_WAL_MAPPED);
    uint64_t seq, last[2] = {0}, now[2] = {0};
    OK(append(&b, FIRN_DURABILITY_NONE, &seq, err));
    OK(firn_wal_sync(b.log, err));
    for (int i = 0; i < CALLBACKS; i++)
        OK(append(&b, FIRN_DURABILITY_NONE, &seq, err));
    register_many(&b, mixed, now); /* number 1 is durable already, the others are not */
    uint64_t before = callback_steps(&b);
    for (int i = 0; i < CALLBACKS; i++)
        OK(firn_wal_on_durable(b.log, 1, in_order, last, err));
    assert_int_equal(last[1], CALLBACKS);
    /* Each is put on top and taken off again. What was below it are two heaps at most. */
    assert_true(callback_steps(&b) - before <= UINT64_C(2) * CALLBACKS);
    OK(firn_wal_sync(b.log, err));
    bed_release(&b);
}

/* ---- With the helper thread, on the real file system ---- */

static firn_wal *open_real(const char *path, firn_durability durability, uint32_t mark_ms)
{
    firn_wal_options o;
    firn_wal_options_init(&o);
    o.segment_bytes = 1 << 20;
    o.durability = durability;
    o.mark_ms = mark_ms;
    o.batch_ms = 5;
    firn_wal *log;
    OK(firn_wal_open(path, &o, NULL, &log, err));
    return log;
}

static void TheBatchModeSyncsAnIdleLog(void **state)
{
    (void)state;
    char *path = tempdir_new();
    firn_wal *log = open_real(path, FIRN_DURABILITY_BATCH, 0);
    called c;
    called_init(&c);
    for (int i = 1; i <= 3; i++) {
        uint64_t seq;
        OK(firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, &seq, err));
        OK(firn_wal_on_durable(log, seq, on_durable, &c, err)); /* asks for no sync of its own */
        called_wait(&c, i);
        assert_int_equal(c.statuses[i - 1], FIRN_OK);
        assert_true(firn_wal_durable_seq(log) >= seq);
    }
    OK(firn_wal_close(log, err));
    called_release(&c);
    tempdir_remove(path);
}

static void AWaitWithALimitIsServedByTheHelper(void **state)
{
    (void)state;
    char *path = tempdir_new();
    firn_wal *log = open_real(path, FIRN_DURABILITY_NONE, 0);
    uint64_t seq;
    OK(firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, &seq, err));
    OK(firn_wal_wait_durable(log, seq, 600000, err));
    assert_int_equal(firn_wal_durable_seq(log), seq);
    OK(firn_wal_close(log, err));
    tempdir_remove(path);
}

typedef struct marks {
    int count;
    uint64_t durable;
} marks;

static int count_mark(void *ctx, const firn_wal_record *record)
{
    marks *m = ctx;
    if (record->kind == FIRN_WAL_RECORD_MARK) {
        m->count++;
        m->durable = record->durable_seq;
    }
    return 0;
}

static marks marks_in(firn_wal *log)
{
    marks m = {0};
    OK(firn_wal_iterate(log, count_mark, &m, err));
    return m;
}

static void AnIdleLogProvesItsLastSyncWithOneMark(void **state)
{
    (void)state;
    char *path = tempdir_new();
    firn_wal *log = open_real(path, FIRN_DURABILITY_SYNC, 1);
    for (int i = 1; i <= 2; i++) {
        uint64_t seq;
        OK(firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, &seq, err));
        /* The helper writes it when its time has come; the test's own limit is the time-out of
         * ctest. */
        while (marks_in(log).durable < seq)
            sched_yield();
        assert_int_equal(marks_in(log).count, i);
    }
    OK(firn_wal_close(log, err));
    log = open_real(path, FIRN_DURABILITY_NONE, 1); /* nothing was synced: nothing to prove */
    OK(firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, NULL, err));
    assert_int_equal(marks_in(log).count, 2);
    OK(firn_wal_close(log, err));
    tempdir_remove(path);
}

typedef struct committer {
    thread t;
    firn_wal *log;
    int failures;
} committer;

enum { COMMITTERS = 8, COMMITS = 50 };

static void commit_many(void *arg)
{
    committer *c = arg;
    for (int i = 0; i < COMMITS; i++) {
        uint64_t seq;
        if (firn_wal_append(c->log, FIRN_PUT, "k", 1, "v", 1, NULL, &seq, NULL) != FIRN_OK ||
            firn_wal_durable_seq(c->log) < seq)
            c->failures++;
    }
}

static void ManyWaitersShareASync(void **state)
{
    (void)state;
    char *path = tempdir_new();
    firn_wal *log = open_real(path, FIRN_DURABILITY_SYNC, 0);
    committer all[COMMITTERS] = {0};
    for (int i = 0; i < COMMITTERS; i++) {
        all[i].log = log;
        assert_int_equal(thread_start(&all[i].t, "committer", commit_many, &all[i]), 0);
    }
    for (int i = 0; i < COMMITTERS; i++) {
        thread_join(&all[i].t);
        assert_int_equal(all[i].failures, 0);
    }
    wal_stats stats;
    wal_get_stats(log, &stats);
    assert_int_equal(stats.last_seq, COMMITTERS * COMMITS);
    assert_int_equal(stats.durable_seq, stats.last_seq);
    /* Never more than one sync for each commit, whatever the schedule was. */
    assert_true(stats.syncs <= COMMITTERS * COMMITS);
    OK(firn_wal_close(log, err));
    tempdir_remove(path);
}

typedef struct slow_disk {
    simfs *sim;
    atomic_bool slow;
} slow_disk;

/* A sync takes as long as a caller waits for it with a limit, by the simulated clock. */
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

/* The moment between the leader's stores of a new number and of its tick. */
typedef struct half_published {
    wal *log;
    uint64_t tick;
    thread t;
} half_published;

static void publish_later(void *arg)
{
    half_published *h = arg;
    struct timespec moment = {.tv_nsec = 50000000};
    nanosleep(&moment, NULL);
    atomic_store(&h->log->tick, h->tick);
}

/* Puts number 1, syncs, puts number 2, and takes the tick of the latter back. */
static half_published half_publish(firn_wal *log)
{
    OK(firn_wal_append(log, FIRN_PUT, "a", 1, NULL, 0, NULL, NULL, err));
    OK(firn_wal_sync(log, err));
    half_published h = {.log = log};
    uint64_t before = atomic_load(&log->tick);
    OK(firn_wal_append(log, FIRN_PUT, "b", 1, NULL, 0, NULL, NULL, err));
    h.tick = atomic_load(&log->tick);
    assert_int_equal(h.tick, before + 1);
    assert_int_equal(firn_wal_durable_seq(log), 1);
    atomic_store(&log->tick, before);
    return h;
}

static void ASyncCoversANumberThatIsSeenBeforeItsTick(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    bed b = bed_new_with(&c);
    half_published h = half_publish(b.log);
    assert_int_equal(thread_start(&h.t, "publisher", publish_later, &h), 0);
    OK(firn_wal_sync(b.log, err));
    assert_int_equal(firn_wal_durable_seq(b.log), 2);
    thread_join(&h.t);
    bed_release(&b);
}

static void TheHelperSyncsANumberThatIsSeenBeforeItsTick(void **state)
{
    (void)state;
    char *path = tempdir_new();
    firn_wal *log = open_real(path, FIRN_DURABILITY_NONE, 0);
    half_published h = half_publish(log);
    OK(firn_wal_wait_durable(log, 2, 5000, err));
    atomic_store(&log->tick, h.tick);
    OK(firn_wal_close(log, err));
    tempdir_remove(path);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(OnlyWhoAsksForASyncPaysForOne),
        cmocka_unit_test(AStoredAppendMakesNoSystemCall),
        cmocka_unit_test(ASyncCoversTheSegmentsBeforeItOldestFirst),
        cmocka_unit_test(WaitingForANumberThatWasNotGivenOutIsRefused),
        cmocka_unit_test(TheBatchModeSyncsAfterSoManyWritesOrBytes),
        cmocka_unit_test(WithoutAThreadTheBatchModeLooksAtTheClockWhenAppending),
        cmocka_unit_test(WhatIsAppendedDuringASyncIsNotCoveredByIt),
        cmocka_unit_test(WhoComesDuringASyncGetsTheNextOne),
        cmocka_unit_test(AFailedSyncPoisonsAndTheDescriptorIsNotSyncedAgain),
        cmocka_unit_test(AWriteAppendedBeforeTheFailureLearnsThatItsOutcomeIsUnknown),
        cmocka_unit_test(ACallbackIsCalledOnceWhenItsNumberIsDurable),
        cmocka_unit_test(ACallbackLearnsThatItsNumberCannotBecomeDurable),
        cmocka_unit_test(ManyCallbacksCostNoMoreEachThanFew),
        cmocka_unit_test(CallbacksThatWaitOnAreNotLookedAt),
        cmocka_unit_test(TheBatchModeSyncsAnIdleLog),
        cmocka_unit_test(AWaitWithALimitIsServedByTheHelper),
        cmocka_unit_test(AnIdleLogProvesItsLastSyncWithOneMark),
        cmocka_unit_test(ManyWaitersShareASync),
        cmocka_unit_test(ASyncCoversANumberThatIsSeenBeforeItsTick),
        cmocka_unit_test(TheHelperSyncsANumberThatIsSeenBeforeItsTick),
        cmocka_unit_test(AWaitWithALimitEnds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
