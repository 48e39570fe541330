/* The cleaner: what has no references any more is ended, all of it, and does not pile up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"
#include <store/store.h>

/* What is given while the thread ends things, and by what it ends, is ended, too. */
typedef struct chain {
    dead grave;
    cleaner *cleaner;
    unsigned left;
    atomic_uint *ended;
} chain;

static void end_link(dead *d)
{
    chain *c = (chain *)(void *)d;
    atomic_fetch_add(c->ended, 1);
    if (c->left-- > 0)
        cleaner_give(c->cleaner, &c->grave, end_link);
}

static void nothing_that_is_given_to_the_cleaner_is_forgotten(void **state)
{
    (void)state;
    cleaner c;
    atomic_uint ended = 0;
    memset(&c, 0, sizeof c);
    cleaner_init(&c);
    chain links[3] = {{.cleaner = &c, .left = 10, .ended = &ended},
                      {.cleaner = &c, .left = 0, .ended = &ended},
                      {.cleaner = &c, .left = 1000, .ended = &ended}};
    cleaner_give(&c, &links[0].grave, end_link); /* no thread: at once */
    assert_int_equal(atomic_load(&ended), 11);
    assert_int_equal(cleaner_start(&c), 0);
    cleaner_give(&c, &links[1].grave, end_link);
    cleaner_wait(&c);
    assert_int_equal(atomic_load(&ended), 12);
    cleaner_give(&c, &links[2].grave, end_link);
    cleaner_wait(&c);
    assert_int_equal(atomic_load(&ended), 1013);
    links[1].left = 10;
    cleaner_give(&c, &links[1].grave, end_link);
    cleaner_stop(&c);
    assert_int_equal(atomic_load(&ended), 1024);
    links[1].left = 1;
    cleaner_give(&c, &links[1].grave, end_link);
    assert_int_equal(atomic_load(&ended), 1026);
    cleaner_release(&c);
}

typedef struct stuck_end {
    dead grave;
    atomic_bool begun, go;
} stuck_end;

static void end_when_told(dead *d)
{
    stuck_end *e = (stuck_end *)(void *)d;
    atomic_store(&e->begun, true);
    while (!atomic_load(&e->go))
        usleep(100);
}

/* The cleaner is stuck in a slow call to the disk: what flushes and compactions leave behind does not pile up. */
static void what_is_dead_stays_bounded_when_the_cleaner_is_slow(void **state)
{
    (void)state;
    bed b;
    stuck_end work = {0};
    bed_on_simfs(&b, 5);
    b.config.inline_work = false;
    bed_must_open(&b);
    cleaner_give(&b.db->store->cleaner, &work.grave, end_when_told);
    while (!atomic_load(&work.begun))
        usleep(100);
    size_t most = 0;
    for (unsigned i = 0; i < 60; i++) {
        char key[16];
        snprintf(key, sizeof key, "%04u", i % 7);
        MUST(firn_put(b.db, key, 4, "value", 5, NULL, error));
        bed_flush(&b);
        mutex_lock(&b.db->store->cleaner.cleaner_mu);
        most = b.db->store->cleaner.waiting > most ? b.db->store->cleaner.waiting : most;
        mutex_unlock(&b.db->store->cleaner.cleaner_mu);
    }
    /* Beside what may wait: of the flush, and of two jobs that a full level 0 each may take, with
     * the versions and views that they replace. Without help it would be several for each flush. */
    assert_true(most <= CLEANER_BEHIND + 2 * (L0_STOP_AT + 4));
    atomic_store(&work.go, true);
    bed_must_close(&b);
    bed_release(&b);
}

/* Notes in which order they are ended. */
typedef struct ordered_end {
    dead grave;
    char name;
    char *order;
} ordered_end;

static void end_in_order(dead *d)
{
    ordered_end *e = (ordered_end *)(void *)d;
    size_t n = strlen(e->order);
    e->order[n] = e->name;
}

/* Files that take long do not keep memory from the next memtable. */
static void a_memtable_goes_before_all_that_waits(void **state)
{
    (void)state;
    cleaner c;
    char order[8] = "";
    stuck_end work = {0};
    ordered_end ends[5];
    memset(&c, 0, sizeof c);
    cleaner_init(&c);
    assert_int_equal(cleaner_start(&c), 0);
    cleaner_give(&c, &work.grave, end_when_told);
    while (!atomic_load(&work.begun))
        usleep(100);
    for (unsigned i = 0; i < 5; i++) {
        ends[i] = (ordered_end){.name = "tTmTM"[i], .order = order};
        (i % 2 == 0 && i > 0 ? cleaner_give_soon : cleaner_give)(&c, &ends[i].grave, end_in_order);
    }
    atomic_store(&work.go, true);
    cleaner_wait(&c);
    assert_string_equal(order, "MmtTT");
    cleaner_stop(&c);
    order[0] = '\0';
    cleaner_give_soon(&c, &ends[0].grave, end_in_order); /* no thread: at once */
    assert_int_equal(order[0], 't');
    cleaner_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_that_is_given_to_the_cleaner_is_forgotten),
        cmocka_unit_test(what_is_dead_stays_bounded_when_the_cleaner_is_slow),
        cmocka_unit_test(a_memtable_goes_before_all_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
