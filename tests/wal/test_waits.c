/* What the log lets a call wait for is named. No test has a second thread: sleeping is the test's own, and moves the clock. */
#include "bed.h"

#include <base/patience.h>

typedef struct watched {
    bed b;
    wait_list list;
    char lines[1024];
    unsigned sleeps;
    uint32_t limits_us[8]; /* with what limit the log has slept */
    const uint64_t *
        lasted_us; /* how long each sleep lasts; 0: to its limit, and at the end as long as needed */
    wal_request *request;
} watched;

static watched *asleep; /* whose request sleeps */

void __wrap_wakeup_sleep(wakeup *b, uint32_t looked, uint32_t bits, uint32_t us);
void __wrap_wakeup_sleep(wakeup *b, uint32_t looked, uint32_t bits, uint32_t us)
{
    watched *w = asleep;
    (void)b;
    (void)looked;
    (void)bits;
    assert_true(w->sleeps < 8);
    uint64_t lasts = w->lasted_us[w->sleeps];
    w->limits_us[w->sleeps++] = us;
    simfs_advance(w->b.sim, lasts ? lasts : us);
    if (us == 0)
        atomic_store(&w->request->state, WAL_DONE);
}

static void note_line(void *ctx, firn_log_level lvl, const char *text)
{
    watched *w = ctx;
    (void)lvl;
    size_t at = strlen(w->lines);
    snprintf(w->lines + at, sizeof w->lines - at, "%s\n", text);
}

static void begin(watched *w)
{
    memset(w, 0, sizeof *w);
    wal_config c = bed_config();
    c.options.log = note_line;
    c.options.log_ctx = w;
    w->b = bed_new_with(&c);
    wait_list_init(&w->list, simfs_fs(w->b.sim), note_line, w);
    w->b.log->config.waits = &w->list;
}

static void end(watched *w)
{
    bed_release(&w->b);
    wait_list_release(&w->list);
}

/* ---- In the queue ---- */

static void AWaitIsToldAfterASecondHoweverOftenItsThreadIsWoken(void **state)
{
    (void)state;
    watched w;
    wal_request r = {.status = FIRN_OK};
    static const uint64_t lasted_us[] = {400000, 500000, 0, 300000};
    begin(&w);
    w.lasted_us = lasted_us;
    w.request = &r;
    asleep = &w;
    assert_int_equal(wal_request_wait_long(w.b.log, &r), WAL_DONE);
    assert_int_equal(w.sleeps, 4);
    assert_int_equal(w.limits_us[0], 1000000);
    assert_in_range(w.limits_us[1], 599900, 600000);
    assert_in_range(w.limits_us[2], 99900, 100000);
    assert_int_equal(w.limits_us[3], 0); /* it is told once */
    assert_string_equal(
        w.lines, "writers wait until the log has written and synced what stands before them\n"
                 "a writer goes on after 1300 ms\n");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AWaitIsToldAfterASecondHoweverOftenItsThreadIsWoken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
