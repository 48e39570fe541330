/* Background work: when writers feel it, what becomes of it when it fails, and what it takes off the readers' hands. What is
 * asked is counted in steps, calls and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

/* Tables of level 0, one for each flush. */
static void fill_level0(bed *b, unsigned tables)
{
    for (unsigned i = 0; i < tables; i++) {
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
        cmocka_unit_test(who_waits_for_a_reader_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
