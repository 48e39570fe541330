/* Patience: what waits are called, how they are counted, and when the log is told. The clock is the simulated disk's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <base/patience.h>

#include "support/simfs.h"

typedef struct world {
    simfs *sim;
    wait_list list;
    char lines[1024];
    firn_log_level level; /* of the newest line */
} world;

static void note_line(void *ctx, firn_log_level lvl, const char *text)
{
    world *w = ctx;
    size_t at = strlen(w->lines);
    snprintf(w->lines + at, sizeof w->lines - at, "%s\n", text);
    w->level = lvl;
    wait_list_now now; /* no lock is held that this takes */
    wait_list_look(&w->list, &now);
}

static void begin(world *w)
{
    memset(w, 0, sizeof *w);
    w->sim = simfs_new(1);
    wait_list_init(&w->list, simfs_fs(w->sim), note_line, w);
}

static void end(world *w)
{
    wait_list_release(&w->list);
    simfs_free(w->sim);
}

static void waits_are_counted_by_cause(void **state)
{
    (void)state;
    world w;
    wait_list_now now;
    begin(&w);
    patience never = {0}, mute = {0};
    patience_begin(&mute, NULL, FIRN_WAIT_FLUSH);
    patience_end(&never);
    patience_end(&mute);
    for (unsigned i = 1; i <= 3; i++) {
        patience p = {0};
        patience_begin(&p, &w.list, FIRN_WAIT_LEVEL0);
        patience_begin(&p, &w.list, FIRN_WAIT_FLUSH); /* the newest cause is the wait's */
        simfs_advance(w.sim, 1000);
        patience_end(&p);
        wait_list_look(&w.list, &now);
        assert_int_equal(now.done[FIRN_WAIT_FLUSH].count, i);
        assert_true(now.done[FIRN_WAIT_FLUSH].us >= i * 1000);
        assert_true(now.done[FIRN_WAIT_FLUSH].us < i * 1000 + 100);
        assert_int_equal(now.done[FIRN_WAIT_LEVEL0].count, 0);
        assert_int_equal(now.waiting, 0);
    }
    assert_string_equal(w.lines, "");
    end(&w);
}

/* A short wait for the log is the ordinary way of a write. */
static void only_long_waits_for_the_log_are_counted(void **state)
{
    (void)state;
    world w;
    wait_list_now now;
    begin(&w);
    patience p = {0};
    patience_begin(&p, &w.list, FIRN_WAIT_LOG);
    simfs_advance(w.sim, PATIENCE_MUTE_US - 100);
    wait_list_look(&w.list, &now);
    assert_int_equal(now.waiting, 0);
    assert_int_equal(now.longest, FIRN_WAIT_NONE);
    assert_int_equal(now.longest_us, 0);
    patience_end(&p);
    wait_list_look(&w.list, &now);
    assert_int_equal(now.done[FIRN_WAIT_LOG].count, 0);
    assert_int_equal(now.done[FIRN_WAIT_LOG].us, 0);
    patience_begun(&p, &w.list, FIRN_WAIT_LOG, PATIENCE_MUTE_US);
    wait_list_look(&w.list, &now);
    assert_int_equal(now.waiting, 1);
    assert_int_equal(now.longest, FIRN_WAIT_LOG);
    assert_true(now.longest_us >= PATIENCE_MUTE_US);
    patience_end(&p);
    wait_list_look(&w.list, &now);
    assert_int_equal(now.done[FIRN_WAIT_LOG].count, 1);
    assert_true(now.done[FIRN_WAIT_LOG].us >= PATIENCE_MUTE_US);
    assert_string_equal(w.lines, ""); /* it tells what took long itself */
    end(&w);
}

static void the_longest_of_the_present_waits_is_shown(void **state)
{
    (void)state;
    world w;
    wait_list_now now;
    begin(&w);
    patience p[3] = {{0}};
    static const firn_wait causes[] = {FIRN_WAIT_BLOCK, FIRN_WAIT_READERS, FIRN_WAIT_DESCRIPTOR};
    for (unsigned i = 0; i < 3; i++) {
        patience_begin(&p[i], &w.list, causes[i]);
        simfs_advance(w.sim, 5000);
    }
    static const unsigned order[] = {1, 0, 2}; /* in the middle of the list, and at both ends */
    static const firn_wait shown[] = {FIRN_WAIT_BLOCK, FIRN_WAIT_DESCRIPTOR, FIRN_WAIT_NONE};
    wait_list_look(&w.list, &now);
    assert_int_equal(now.waiting, 3);
    assert_int_equal(now.longest, FIRN_WAIT_BLOCK);
    assert_true(now.longest_us >= 15000 && now.longest_us < 15100);
    for (unsigned i = 0; i < 3; i++) {
        patience_end(&p[order[i]]);
        wait_list_look(&w.list, &now);
        assert_int_equal(now.waiting, 2 - i);
        assert_int_equal(now.longest, shown[i]);
    }
    assert_int_equal(now.longest_us, 0);
    end(&w);
}

static void a_long_wait_tells_what_it_waits_for_once(void **state)
{
    (void)state;
    world w;
    MUTEX(some_mu);
    cond changed;
    begin(&w);
    mutex_init(&some_mu);
    cond_init(&changed);
    patience p = {0};
    patience_begin(&p, &w.list, FIRN_WAIT_COMPACTION);
    assert_false(patience_due(&p));
    simfs_advance(w.sim, 1500 * 1000);
    assert_true(patience_due(&p));
    mutex_lock(&some_mu);
    patience_wait(&p, &changed, &some_mu, "until pigs fly"); /* tells, and does not wait */
    mutex_unlock(&some_mu);
    assert_string_equal(w.lines, "a caller waits until pigs fly\n");
    assert_int_equal(w.level, FIRN_LOG_WARNING);
    assert_false(patience_due(&p));
    patience_end(&p);
    assert_non_null(strstr(w.lines, "pigs fly\na caller goes on after 1500 ms\n"));
    assert_int_equal(w.level, FIRN_LOG_INFO);
    /* One that no thread wakes wakes by itself when it is to be told. */
    w.lines[0] = '\0';
    patience_begin(&p, &w.list, FIRN_WAIT_COMPACTION);
    simfs_advance(w.sim, 999 * 1000);
    mutex_lock(&some_mu);
    patience_wait(&p, &changed, &some_mu, "until cows come home");
    assert_string_equal(w.lines, "");
    simfs_advance(w.sim, 2 * 1000);
    patience_wait(&p, &changed, &some_mu, "until cows come home");
    mutex_unlock(&some_mu);
    assert_string_equal(w.lines, "a caller waits until cows come home\n");
    patience_end(&p);
    /* What could not tell it tells afterwards. */
    w.lines[0] = '\0';
    patience_begin(&p, &w.list, FIRN_WAIT_LEVEL0);
    simfs_advance(w.sim, 1100 * 1000);
    patience_end(&p);
    assert_string_equal(w.lines, "a writer waited 1100 ms for room in level 0\n");
    cond_release(&changed);
    mutex_release(&some_mu);
    end(&w);
}

static void wait_in_an_own_thread(void *ctx)
{
    world *w = ctx;
    patience p = {0};
    patience_own_thread();
    patience_begin(&p, &w->list, FIRN_WAIT_READERS);
    simfs_advance(w->sim, 1500 * 1000);
    wait_list_now now;
    wait_list_look(&w->list, &now);
    assert_int_equal(now.waiting, 0);
    patience_tell(&p, "until reads have ended");
    patience_end(&p);
}

static void own_threads_tell_and_are_not_counted(void **state)
{
    (void)state;
    world w;
    wait_list_now now;
    thread t = {0};
    begin(&w);
    assert_int_equal(thread_start(&t, "own", wait_in_an_own_thread, &w), 0);
    thread_join(&t);
    wait_list_look(&w.list, &now);
    assert_int_equal(now.done[FIRN_WAIT_READERS].count, 0);
    assert_string_equal(w.lines, "work in the background waits until reads have ended\n"
                                 "work in the background goes on after 1500 ms\n");
    end(&w);
}

static void every_cause_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = FIRN_WAIT_NONE; i <= FIRN_WAIT_DESCRIPTOR; i++) {
        assert_string_not_equal(firn_wait_name((firn_wait)i), "unknown");
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(firn_wait_name((firn_wait)i), firn_wait_name((firn_wait)k));
    }
    assert_string_equal(firn_wait_name((firn_wait)(FIRN_WAIT_DESCRIPTOR + 1)), "unknown");
    assert_true(FIRN_WAIT_DESCRIPTOR < FIRN_WAITS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_are_counted_by_cause),
        cmocka_unit_test(only_long_waits_for_the_log_are_counted),
        cmocka_unit_test(the_longest_of_the_present_waits_is_shown),
        cmocka_unit_test(a_long_wait_tells_what_it_waits_for_once),
        cmocka_unit_test(own_threads_tell_and_are_not_counted),
        cmocka_unit_test(every_cause_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
