/* Background work: when writers feel it, what becomes of it when it fails, and what it takes off the readers' hands. What is
 * asked is counted in steps, calls and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "bed.h"
#include "store.h"

/* From here on nothing is compacted in this life of the store. */
static void stop_compaction(bed *b)
{
    mutex_lock(&b->db->state_mu);
    b->db->compaction_failed = true;
    mutex_unlock(&b->db->state_mu);
}

/* Fills level 0 up to so many tables. */
static void fill_level0(bed *b, unsigned tables)
{
    for (unsigned i = (unsigned)bed_stats(b).level_tables[0]; i < tables; i++) {
        bed_put(b, i % 2 ? "a" : "b", "value");
        bed_flush(b);
    }
    assert_int_equal(bed_stats(b).level_tables[0], tables);
}

/* ---- What an earlier life left undone ---- */

static uint32_t pressure(bed *b)
{
    return atomic_load_explicit(&b->db->pressure, memory_order_relaxed);
}

static void the_first_writer_behind_an_opening_is_held_back(void **state)
{
    (void)state;
    const unsigned left[] = {0, L0_SLOW_AT + 2, L0_STOP_AT};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        bed b;
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        stop_compaction(&b);
        fill_level0(&b, left[i]);
        uint32_t before = pressure(&b);
        bed_must_close(&b);
        bed_must_open(&b);
        assert_int_equal(pressure(&b), before);
        assert_int_equal(pressure(&b) & ~PRESSURE_STOP, left[i]);
        assert_true(!(pressure(&b) & PRESSURE_STOP) == (left[i] < L0_STOP_AT));
        bed_release(&b);
    }
}

/* ---- Work that fails for want of room ---- */

static void the_pause_before_the_next_attempt_doubles_up_to_ten_seconds(void **state)
{
    (void)state;
    const uint64_t pauses[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    for (unsigned i = 0; i < sizeof pauses / sizeof *pauses; i++)
        assert_int_equal(retry_pause_ms(i + 1), pauses[i]);
    assert_int_equal(retry_pause_ms(UINT_MAX), 10000);
}

static uint64_t writes(bed *b)
{
    return simfs_calls(b->sim, SIMFS_CREATE | SIMFS_WRITE | SIMFS_ALLOCATE);
}

/* Tables that overlap each other, and less room than they take. */
static void fill_the_disk(bed *b)
{
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    stop_compaction(b);
    for (unsigned i = 0; i < L0_COMPACT_AT + 2; i++) {
        bed_put(b, "a", value);
        bed_put(b, "b", value);
        bed_flush(b);
    }
    mutex_lock(&b->db->state_mu);
    b->db->compaction_failed = false;
    mutex_unlock(&b->db->state_mu);
    simfs_capacity(b->sim, simfs_used(b->sim) + 20000);
}

static void a_compaction_without_room_writes_nothing_until_there_is_some(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill_the_disk(&b);
    uint64_t before = writes(&b), used = simfs_used(b.sim);
    uint64_t tables = bed_stats(&b).level_tables[0];
    for (int attempt = 0; attempt < 10; attempt++) {
        firn_error err = {0};
        assert_int_equal(firn_settle(b.db, &err), FIRN_NO_SPACE);
        assert_non_null(strstr(err.message, "compaction of level 0 may need"));
        assert_non_null(strstr(err.hint, "make room"));
    }
    assert_int_equal(writes(&b), before);
    assert_int_equal(simfs_used(b.sim), used);
    assert_false(bed_stats(&b).poisoned);
    bed_put(&b, "c", "writing goes on"); /* and so does flushing */
    bed_flush(&b);
    assert_int_equal(bed_stats(&b).level_tables[0], tables + 1);
    simfs_capacity(b.sim, UINT64_MAX);
    MUST(firn_settle(b.db, error));
    assert_int_equal(bed_stats(&b).level_tables[0], 0);
    bed_expect(&b, NULL, "c", "writing goes on");
    bed_release(&b);
}

/* All of it but one version each is garbage: who knows that, may say so. */
static void a_caller_may_have_compacted_what_may_not_fit(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill_the_disk(&b);
    assert_int_equal(firn_settle(b.db, NULL), FIRN_NO_SPACE);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_stats(&b).level_tables[0], 0);
    mutex_lock(&b.db->state_mu);
    assert_int_equal(b.db->stuck[WORK_COMPACTION].status, FIRN_OK);
    mutex_unlock(&b.db->state_mu);
    bed_release(&b);
}

static int no_room_for_tables(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_CREATE && strstr(name, ".tbl") ? ENOSPC : 0;
}

static void set_stuck(bed *b, background_work work, int status)
{
    mutex_lock(&b->db->state_mu);
    b->db->stuck[work].status = b->db->stuck[work].error.status = status;
    snprintf(b->db->stuck[work].error.message, sizeof b->db->stuck[work].error.message, "%s",
             work == WORK_FLUSH ? "of the flush" : "of the compaction");
    mutex_unlock(&b->db->state_mu);
}

/* What a writer that has to wait is told: FIRN_OK to wait on, or an error with this message. */
static void writers_are_told(bed *b, int status, const char *message)
{
    firn_error err = {0};
    mutex_lock(&b->db->state_mu);
    int rc = store_stopped(b->db, &err);
    mutex_unlock(&b->db->state_mu);
    assert_int_equal(rc, status);
    assert_string_equal(err.message, message);
}

static void who_waits_for_a_healthy_flush_is_not_told_of_a_compaction(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    simfs_on_call(b.sim, no_room_for_tables, NULL);
    for (unsigned i = 0; i <= FROZEN_MAX; i++) {
        bed_put(&b, "k", "v");
        MUST(firn_wal_rotate(b.db->wal, error));
    }
    simfs_on_call(b.sim, NULL, NULL);
    assert_true(pressure(&b) & PRESSURE_STOP);
    set_stuck(&b, WORK_FLUSH, FIRN_OK);
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    writers_are_told(&b, FIRN_OK, "");
    set_stuck(&b, WORK_FLUSH, FIRN_NO_MEMORY);
    writers_are_told(&b, FIRN_NO_MEMORY, "of the flush");
    bed_flush(&b);
    /* And the other way round. */
    stop_compaction(&b);
    fill_level0(&b, L0_STOP_AT);
    mutex_lock(&b.db->state_mu);
    b.db->compaction_failed = false;
    mutex_unlock(&b.db->state_mu);
    set_stuck(&b, WORK_FLUSH, FIRN_NO_SPACE);
    set_stuck(&b, WORK_COMPACTION, FIRN_OK);
    writers_are_told(&b, FIRN_OK, "");
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    writers_are_told(&b, FIRN_NO_SPACE, "of the compaction");
    bed_release(&b);
}

/* With threads: while compaction has no room, a caller that flushes waits for the flush and hears of nothing else. */
static void a_flush_succeeds_while_a_compaction_waits_for_room(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    for (unsigned i = 0; i < 3; i++) {
        bed_put(&b, "k", "v");
        bed_flush(&b);
        mutex_lock(&b.db->state_mu);
        assert_int_equal(b.db->stuck[WORK_COMPACTION].status, FIRN_NO_SPACE);
        mutex_unlock(&b.db->state_mu);
    }
    bed_release(&b);
}

/* ---- Who waits until readers have left ---- */

typedef struct waiting {
    readers readers;
    thread thread;
    atomic_bool over;
} waiting;

static void wait_for_readers(void *arg)
{
    waiting *w = arg;
    readers_wait(&w->readers);
    atomic_store(&w->over, true);
}

/* Returns when the waiter has said for which readers it waits, and has let go of the lock by which it sleeps. */
static void start_waiter(waiting *w)
{
    assert_int_equal(thread_start(&w->thread, "waiter", wait_for_readers, w), 0);
    while (atomic_load(&w->readers.awaited) == 0)
        usleep(100);
    mutex_lock(&w->readers.bed);
    mutex_unlock(&w->readers.bed);
}

/* A reader is inside for as long as its disk takes. What the waiter does meanwhile is counted in looks. */
static void who_waits_for_a_reader_sleeps(void **state)
{
    (void)state;
    enum { OLD = 3, NEW = 10000 };
    waiting *w = aligned_alloc(_Alignof(waiting), sizeof *w);
    uint32_t tickets[OLD];
    assert_non_null(w);
    memset(w, 0, sizeof *w);
    readers_init(&w->readers);
    for (size_t i = 0; i < OLD; i++)
        tickets[i] = readers_enter(&w->readers);
    start_waiter(w);
    for (size_t i = 0; i < NEW; i++) /* later readers come and go, and wake no one */
        readers_exit(&w->readers, readers_enter(&w->readers));
    usleep(1000);
    for (size_t i = 0; i < OLD; i++) {
        assert_false(atomic_load(&w->over));
        if (i % 2)
            readers_exit_pinned(&w->readers, tickets[i]);
        else
            readers_exit(&w->readers, tickets[i]);
    }
    thread_join(&w->thread);
    assert_true(atomic_load(&w->over));
    /* Before and after it lay down, once for each that it waited for, and at the other column; and a few wakings that
     * the system may make up. */
    assert_true(w->readers.looks <= 2 + OLD + 1 + 4);
    assert_int_equal(readers_pins(&w->readers), 1);
    readers_release(&w->readers);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_writer_behind_an_opening_is_held_back),
        cmocka_unit_test(the_pause_before_the_next_attempt_doubles_up_to_ten_seconds),
        cmocka_unit_test(a_compaction_without_room_writes_nothing_until_there_is_some),
        cmocka_unit_test(a_caller_may_have_compacted_what_may_not_fit),
        cmocka_unit_test(who_waits_for_a_healthy_flush_is_not_told_of_a_compaction),
        cmocka_unit_test(a_flush_succeeds_while_a_compaction_waits_for_room),
        cmocka_unit_test(who_waits_for_a_reader_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
