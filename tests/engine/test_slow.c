/* How much a writer is delayed: by the present alone; a long delay is logged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/error.h>
#include <base/thread.h>

#include <commit/commit.h>
#include <store/load.h>
#include "bed.h"
#include <store/store.h>

/* ---- The delay ---- */

static void of_two_delays_the_greater_counts(void **state)
{
    (void)state;
    const uint32_t deep = (L0_STOP_AT - 1) * SLOW_ONE;
    slow_state both = {.load = deep, .frozen = FROZEN_MAX, .filled = SLOW_ONE / 2};
    uint64_t for_load = slow_delay_ns(deep, 1000);
    uint64_t for_flush = slow_flush_delay_ns(FROZEN_MAX, 0, SLOW_ONE / 2, 1000);
    assert_true(for_load > for_flush && for_flush > 0);
    bool flush = true;
    assert_int_equal(slow_owed_ns(&both, 1000, &flush), for_load);
    assert_false(flush);
    both.load = 0;
    assert_int_equal(slow_owed_ns(&both, 1000, &flush), for_flush);
    assert_true(flush);
    /* And others that sleep write, too. */
    both = (slow_state){.load = deep, .others = 3};
    assert_int_equal(slow_owed_ns(&both, 1000, &flush), slow_delay_ns(deep, 4000));
    assert_int_equal(slow_owed_ns(&both, UINT64_MAX / 2, &flush), slow_delay_ns(deep, UINT64_MAX));
}

static void the_delay_grows_with_load_and_bytes_and_is_bounded(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 40, 1000, 1 << 20, UINT64_C(1) << 40, UINT64_MAX};
    const uint32_t step = SLOW_ONE / 4;
    for (uint32_t load = 0; load < 2 * L0_STOP_AT * SLOW_ONE; load += step)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint64_t ns = slow_delay_ns(load, sizes[i]);
            assert_true(ns <= 10 * 1000 * 1000);
            if (load <= L0_SLOW_AT * SLOW_ONE || sizes[i] == 0)
                assert_int_equal(ns, 0);
            else if (sizes[i] >= 1000)
                assert_true(ns > 0);
            if (load > 0)
                assert_true(ns >= slow_delay_ns(load - step, sizes[i]));
            if (i > 0)
                assert_true(ns >= slow_delay_ns(load, sizes[i - 1]));
        }
    /* As many bytes in ten writes owe what they owe in one. */
    uint32_t load = (L0_STOP_AT - 1) * SLOW_ONE;
    uint64_t one = slow_delay_ns(load, 10000), ten = slow_delay_ns(load, 1000);
    assert_true(one >= 10 * ten && one <= 10 * ten + 10);
    /* And a little more load is a little more delay. */
    for (load = L0_SLOW_AT * SLOW_ONE; load < L0_STOP_AT * SLOW_ONE; load++)
        assert_true(slow_delay_ns(load + 1, 1000) - slow_delay_ns(load, 1000) < 400);
}

static void the_load_is_what_level_0_and_deeper_levels_owe(void **state)
{
    (void)state;
    const uint64_t base = 1000000;
    assert_int_equal(slow_load(0, 0, base), 0);
    for (uint32_t tables = 0; tables < L0_STOP_AT; tables++) {
        assert_int_equal(slow_load(tables, 0, base), tables * SLOW_ONE);
        for (uint64_t debt = 0; debt < 14 * base; debt += base / 8) {
            uint32_t load = slow_load(tables, debt, base);
            assert_true(load >= tables * SLOW_ONE && load <= (tables + 4) * SLOW_ONE);
            assert_true(load <= slow_load(tables, debt + base / 8, base));
        }
    }
    /* Merges bring so much along; what is more counts in full, however much is being done of it. */
    assert_int_equal(slow_load(4, 10 * base, base), 4 * SLOW_ONE);
    assert_int_equal(slow_load(4, 30 * base, base), 24 * SLOW_ONE);
    uint32_t deep = slow_load(3, 1000 * base, base);
    assert_true(slow_delay_ns(slow_load_left(deep, 100 * SLOW_ONE, 3), 1000) > 0);
    assert_int_equal(slow_delay_ns(slow_load(L0_STOP_AT, UINT64_MAX, 1), 1000),
                     slow_delay_ns(L0_STOP_AT * SLOW_ONE, 1000));
}

static void a_write_that_is_ahead_of_the_flush_owes_for_it(void **state)
{
    (void)state;
    const uint64_t most = 4 * 1000 * 1000;
    for (uint32_t done = 0; done <= SLOW_ONE * 3 / 4; done++)
        for (uint32_t filled = 0; filled <= SLOW_ONE; filled++) {
            for (size_t frozen = 0; frozen < FROZEN_MAX; frozen++)
                assert_int_equal(slow_flush_delay_ns(frozen, done, filled, 1000), 0);
            uint64_t ns = slow_flush_delay_ns(FROZEN_MAX, done, filled, 1000);
            if (filled <= done)
                assert_int_equal(ns, 0);
            else
                assert_true(ns > 0 && (filled == SLOW_ONE ? ns == most : ns <= most));
            assert_true(ns <= slow_flush_delay_ns(FROZEN_MAX, done, filled, 2000));
            assert_true(ns <= slow_flush_delay_ns(FROZEN_MAX, done, filled + 1, 1000));
            assert_true(done == 0 || ns <= slow_flush_delay_ns(FROZEN_MAX, done - 1, filled, 1000));
            assert_int_equal(slow_flush_delay_ns(FROZEN_MAX, done, filled, 0), 0);
        }
    assert_int_equal(slow_flush_delay_ns(FROZEN_MAX, 0, 1, UINT64_MAX), most);
}

/* One writer in virtual time, and a flush of so many bytes a millisecond whose last quarter is a sync. What a flush
 * makes room for is filled while it works, and not by writers who then wait for its end. */
static void writers_come_to_be_as_fast_as_the_flush(void **state)
{
    (void)state;
    static const uint64_t flush_speeds[] = {4000, 10000, 40000, 150000, 800000};
    const uint64_t size = 64 << 20, bytes = 1000, write_ns = 2000;
    for (size_t i = 0; i < sizeof flush_speeds / sizeof *flush_speeds; i++) {
        double flushed = 0, filled = 0, per_ns = (double)flush_speeds[i] / 1e6;
        uint64_t frozen = 0, now = 0, waited = 0, before = 0, writes = 0;
        for (unsigned memtables = 0; memtables < 40;) {
            uint32_t done = (uint32_t)(flushed / (double)size * 0.75 * SLOW_ONE);
            uint32_t part = (uint32_t)(filled / (double)size * SLOW_ONE);
            uint64_t chance = (now * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
            uint64_t ns =
                write_ns + slow_sleep_ms(slow_flush_delay_ns(frozen, done, part, bytes), chance) *
                               UINT64_C(1000000);
            if (frozen > FROZEN_MAX) {
                uint64_t left = (uint64_t)(((double)size - flushed) / per_ns);
                waited = left > waited ? left : waited;
                ns = left + 1;
            } else {
                filled += (double)bytes;
                writes++;
            }
            now += ns;
            flushed += frozen ? per_ns * (double)ns : 0;
            if (flushed >= (double)size) {
                flushed = 0;
                frozen--;
            }
            if (filled >= (double)size) {
                filled = 0;
                frozen++;
                if (++memtables == 10)
                    before = now, writes = 0;
            }
        }
        assert_true(waited <= 20 * 1000 * 1000);
        /* And they keep it busy. */
        double fastest = 1.0 / (double)write_ns;
        fastest = fastest < per_ns / (double)bytes ? fastest : per_ns / (double)bytes;
        assert_true((double)writes / (double)(now - before) >= 0.95 * fastest);
    }
}

/* What a job has done counts before it ends; but near the stop there is a delay at all events, more
 * with each table. */
static void what_running_jobs_have_done_is_no_load(void **state)
{
    (void)state;
    uint32_t load = 10 * SLOW_ONE;
    for (uint32_t relief = 0; relief < 12 * SLOW_ONE; relief += SLOW_ONE) {
        uint32_t left = slow_load_left(load, relief, 10);
        assert_int_equal(left, relief < load ? load - relief : 0);
    }
    /* Of level 0, part of it stays: it goes on in the level below. */
    for (uint32_t tables = 1; tables < L0_STOP_AT; tables++) {
        uint32_t worth = slow_worth(tables, UINT64_MAX, 1);
        assert_true(worth < tables * SLOW_ONE && 2 * worth > tables * SLOW_ONE);
    }
    assert_int_equal(slow_worth(0, 3000, 1000), 3 * SLOW_ONE);
    uint64_t before = 0;
    for (uint32_t tables = L0_STOP_AT - 3; tables < L0_STOP_AT; tables++) {
        uint32_t left = slow_load_left(tables * SLOW_ONE, UINT32_MAX / 2, tables);
        assert_true(left < tables * SLOW_ONE && slow_delay_ns(left, 1000) > before);
        before = slow_delay_ns(left, 1000);
    }
    assert_int_equal(slow_load_left(19 * SLOW_ONE, 15 * SLOW_ONE, 19), 4 * SLOW_ONE);
    assert_int_equal(slow_load_left(0, 100, 0), 0);
    assert_true(slow_delay_ns(slow_load_left(L0_STOP_AT * SLOW_ONE, UINT32_MAX / 2, L0_STOP_AT - 1),
                              1000) > 0);
}

static void a_write_sleeps_on_average_for_what_it_owes(void **state)
{
    (void)state;
    static const uint64_t owed[] = {1000, 40000, 250000, 999999};
    for (size_t i = 0; i < sizeof owed / sizeof *owed; i++) {
        uint64_t slept = 0;
        for (uint64_t chance = 0; chance < 1000 * 1000; chance += 100)
            slept += slow_sleep_ms(owed[i], chance * UINT64_C(1000003)) * UINT64_C(1000000);
        uint64_t average = slept / 10000;
        assert_true(average >= owed[i] * 9 / 10 && average <= owed[i] * 11 / 10 + 200);
    }
    for (uint64_t chance = 0; chance < 1000; chance++) {
        assert_int_equal(slow_sleep_ms(0, chance), 0);
        assert_int_equal(slow_sleep_ms(7 * 1000 * 1000, chance), 7);
    }
}

/* ---- Waiting ---- */

typedef struct waiter {
    bed b;
    thread t;
    atomic_bool done;
    int status;
    firn_error error;
    atomic_uint told; /* how often why was said */
    char text[512];   /* the first time */
} waiter;

static void note_line(void *ctx, firn_log_level lvl, const char *text)
{
    waiter *w = ctx;
    if (lvl != FIRN_LOG_WARNING ||
        (!strstr(text, "writers wait") && !strstr(text, "a caller waits")))
        return;
    if (atomic_load(&w->told) == 0)
        snprintf(w->text, sizeof w->text, "%s", text);
    atomic_fetch_add(&w->told, 1); /* behind the text, which another thread then reads */
}

static void press(firn *db, uint32_t pressure)
{
    mutex_lock(&db->store->state_mu);
    atomic_store(&db->store->pressure, pressure);
    atomic_store(&db->store->load, (pressure & ~PRESSURE_STOP) * SLOW_ONE);
    cond_broadcast(&db->store->state_changed);
    mutex_unlock(&db->store->state_mu);
}

static void put_one(void *ctx)
{
    waiter *w = ctx;
    w->status = firn_put(w->b.db, "k", 1, "v", 1, NULL, &w->error);
    atomic_store(&w->done, true);
}

static void flush_one(void *ctx)
{
    waiter *w = ctx;
    w->status = firn_flush(w->b.db, &w->error);
    atomic_store(&w->done, true);
}

/* Wakes all threads that wait for the store, again and again. */
static void wake_all(void *ctx)
{
    waiter *w = ctx;
    while (!atomic_load(&w->done)) {
        mutex_lock(&w->b.db->store->state_mu);
        cond_broadcast(&w->b.db->store->state_changed);
        mutex_unlock(&w->b.db->store->state_mu);
        atomic_store(&w->told, true);
        thread_yield();
    }
}

static uint64_t real_us(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void sleep_beside_a_waker(void)
{
    static const uint8_t value[256 << 10];
    waiter w;
    memset(&w, 0, sizeof w);
    bed_on_disk(&w.b);
    bed_must_open(&w.b);
    press(w.b.db, L0_STOP_AT - 1);
    uint32_t owed = slow_sleep_ms(slow_delay_ns((L0_STOP_AT - 1) * SLOW_ONE, sizeof value), 0);
    assert_true(owed >= 5);
    assert_int_equal(thread_start(&w.t, "waking", wake_all, &w), 0);
    while (!atomic_load(&w.told)) /* a busy machine starts a thread late */
        thread_yield();
    uint64_t before = real_us();
    MUST(firn_put(w.b.db, "k", 1, value, sizeof value, NULL, error));
    assert_true(real_us() - before >= owed * 1000);
    atomic_store(&w.done, true);
    thread_join(&w.t);
    bed_release(&w.b);
}

/* Several times: the other thread may be the one that sleeps. */
static void a_slowed_write_sleeps_what_it_owes_whatever_is_told_meanwhile(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        sleep_beside_a_waker();
}

static void start(waiter *w, uint32_t pressure)
{
    memset(w, 0, sizeof *w);
    bed_on_disk(&w->b);
    w->b.options.log = note_line;
    w->b.options.log_ctx = w;
    bed_must_open(&w->b);
    press(w->b.db, pressure);
    assert_int_equal(thread_start(&w->t, "writer", put_one, w), 0);
}

static void sleep_until_told(waiter *w)
{
    while (!atomic_load(&w->told))
        usleep(1000);
    usleep(20000);
}

static void finish(waiter *w)
{
    thread_join(&w->t);
    bed_release(&w->b);
}

static void a_writer_waits_outside_the_queue_and_says_why(void **state)
{
    (void)state;
    waiter w;
    start(&w, PRESSURE_STOP | L0_STOP_AT);
    sleep_until_told(&w);
    assert_false(atomic_load(&w.done));
    assert_non_null(strstr(w.text, "level 0"));
    firn_stats now = bed_stats(&w.b);
    assert_int_equal(now.waiting, 1);
    assert_int_equal(now.waiting_for, FIRN_WAIT_LEVEL0);
    assert_true(now.waiting_us >= 1000 * 1000);
    assert_int_equal(now.waits[FIRN_WAIT_LEVEL0].count, 0); /* it is not over */
    /* It waits in front of the queue: what the flusher asks of the log passes. */
    MUST(firn_wal_sync(w.b.db->store->wal, error));
    uint64_t checkpoint;
    MUST(wal_checkpoint(w.b.db->store->wal, 0, &checkpoint, error));
    assert_false(atomic_load(&w.done));
    press(w.b.db, 0);
    thread_join(&w.t);
    assert_int_equal(w.status, FIRN_OK);
    assert_int_equal(atomic_load(&w.told), 1);
    firn_stats s = bed_stats(&w.b);
    assert_true(s.stall_us >= 1000 * 1000);
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.waits[FIRN_WAIT_LEVEL0].count, 1);
    assert_int_equal(s.waits[FIRN_WAIT_LEVEL0].us, s.stall_us);
    bed_expect(&w.b, NULL, "k", "v");
    bed_release(&w.b);
}

static void a_wait_for_a_flush_names_the_flush(void **state)
{
    (void)state;
    waiter w;
    start(&w, PRESSURE_STOP);
    sleep_until_told(&w);
    assert_non_null(strstr(w.text, "flushed"));
    assert_int_equal(bed_stats(&w.b).waiting_for, FIRN_WAIT_FLUSH);
    press(w.b.db, 0);
    finish(&w);
    assert_int_equal(w.status, FIRN_OK);
}

/* A caller that flushes, or compacts, is not left in the dark either. */
static void a_call_that_waits_for_background_work_says_so(void **state)
{
    (void)state;
    waiter w = {0};
    bed_on_disk(&w.b);
    w.b.options.log = note_line;
    w.b.options.log_ctx = &w;
    bed_must_open(&w.b);
    bed_put(&w.b, "k", "v");
    mutex_lock(&w.b.db->store->flush_mu); /* a flush that takes long */
    assert_int_equal(thread_start(&w.t, "flusher", flush_one, &w), 0);
    sleep_until_told(&w);
    assert_false(atomic_load(&w.done));
    assert_int_equal(bed_stats(&w.b).waiting_for, FIRN_WAIT_BACKGROUND);
    mutex_unlock(&w.b.db->store->flush_mu);
    thread_join(&w.t);
    assert_int_equal(w.status, FIRN_OK);
    assert_int_equal(atomic_load(&w.told), 1);
    assert_non_null(strstr(w.text, "1 memtables wait"));
    bed_release(&w.b);
}

static void a_wait_without_hope_ends_with_its_cause(void **state)
{
    (void)state;
    waiter w;
    start(&w, PRESSURE_STOP);
    firn_error cause = {0};
    error_file(&cause, FIRN_IO, "tables", 7, "the disk is gone");
    store_background_error(w.b.db->store, WORK_FLUSH, FIRN_IO, &cause);
    thread_join(&w.t);
    assert_int_equal(w.status, FIRN_POISONED);
    assert_int_equal(w.error.status, FIRN_POISONED);
    assert_non_null(strstr(w.error.message, "the disk is gone"));
    assert_string_equal(w.error.file, "tables");
    bed_release(&w.b);
}

/* Before it comes to waiting: as soon as one memtable more would have to wait. */
static void a_writer_feels_a_flush_that_is_behind(void **state)
{
    (void)state;
    static char value[20000];
    bed b;
    bed_on_disk(&b);
    b.options.segment_bytes = 4 << 20;
    bed_must_open(&b);
    mutex_lock(&b.db->store->flush_mu); /* a flush that takes long */
    for (unsigned i = 0; i < FROZEN_MAX; i++) {
        bed_put(&b, "k", "v");
        MUST(store_rotate(b.db->store, error));
    }
    uint64_t stalled = bed_stats(&b).stall_us;
    uint32_t filled = 0;
    assert_int_equal(atomic_load(&b.db->store->filled), 0);
    for (unsigned i = 0; filled < SLOW_ONE * 3 / 4; i++) {
        assert_true(i < 1000);
        MUST(firn_put(b.db, &i, sizeof i, value, sizeof value, NULL, error));
        assert_true(atomic_load(&b.db->store->filled) >= filled);
        filled = atomic_load(&b.db->store->filled);
    }
    firn_stats slowed = bed_stats(&b);
    assert_true(slowed.stall_us > stalled);
    assert_true(slowed.waits[FIRN_WAIT_SLOWED_FLUSH].count > 0);
    assert_true(slowed.waits[FIRN_WAIT_SLOWED_FLUSH].us > 0);
    assert_int_equal(slowed.waits[FIRN_WAIT_SLOWED_LEVEL0].count, 0);
    MUST(store_rotate(
        b.db->store, error)); /* the next one is empty, also behind a rotation that was asked for */
    assert_int_equal(atomic_load(&b.db->store->filled), 0);
    mutex_unlock(&b.db->store->flush_mu);
    bed_flush(&b);
    assert_true(atomic_load(&b.db->store->flush_done) > SLOW_ONE / 2);
    assert_int_equal(atomic_load(&b.db->store->frozen), 0);
    stalled = bed_stats(&b).stall_us;
    MUST(firn_put(b.db, "k", 1, value, sizeof value, NULL, error));
    assert_int_equal(bed_stats(&b).stall_us, stalled);
    bed_release(&b);
}

/* A burst that was delayed leaves nothing behind for the calm that follows. */
static void no_delay_outlives_its_cause(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    press(b.db, L0_STOP_AT - 1);
    for (int i = 0; i < 40; i++)
        MUST(slow_down(b.db->store, 1 << 20, error));
    firn_stats slowed = bed_stats(&b);
    assert_true(slowed.stall_us > 0);
    assert_int_equal(slowed.waits[FIRN_WAIT_SLOWED_LEVEL0].count, 40);
    assert_int_equal(slowed.waits[FIRN_WAIT_SLOWED_LEVEL0].us, slowed.stall_us);
    press(b.db, L0_SLOW_AT);
    uint64_t before = bed_stats(&b).stall_us;
    for (int i = 0; i < 1000; i++)
        MUST(slow_down(b.db->store, 1 << 20, error));
    assert_int_equal(bed_stats(&b).stall_us, before);
    press(b.db, 0);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_two_delays_the_greater_counts),
        cmocka_unit_test(the_delay_grows_with_load_and_bytes_and_is_bounded),
        cmocka_unit_test(the_load_is_what_level_0_and_deeper_levels_owe),
        cmocka_unit_test(a_write_that_is_ahead_of_the_flush_owes_for_it),
        cmocka_unit_test(writers_come_to_be_as_fast_as_the_flush),
        cmocka_unit_test(what_running_jobs_have_done_is_no_load),
        cmocka_unit_test(a_write_sleeps_on_average_for_what_it_owes),
        cmocka_unit_test(a_slowed_write_sleeps_what_it_owes_whatever_is_told_meanwhile),
        cmocka_unit_test(a_writer_waits_outside_the_queue_and_says_why),
        cmocka_unit_test(a_wait_for_a_flush_names_the_flush),
        cmocka_unit_test(a_call_that_waits_for_background_work_says_so),
        cmocka_unit_test(a_wait_without_hope_ends_with_its_cause),
        cmocka_unit_test(a_writer_feels_a_flush_that_is_behind),
        cmocka_unit_test(no_delay_outlives_its_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
