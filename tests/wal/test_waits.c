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

/* ---- Leading ---- */

typedef struct step {
    watched *w;
    unsigned call;
    const char *name;
    wait_list_now now, early; /* in the first such call: behind two seconds, and before */
    char lines[1024];         /* then */
    bool met;
} step;

static int last_long(void *ctx, unsigned call, uint64_t index, const char *name)
{
    step *s = ctx;
    (void)index;
    if (s->met || call != s->call || !name || !strstr(name, s->name))
        return 0;
    s->met = true;
    wait_list_look(&s->w->list, &s->early);
    simfs_advance(s->w->b.sim, 2000000);
    wait_list_look(&s->w->list, &s->now);
    memcpy(s->lines, s->w->lines, sizeof s->lines);
    return 0;
}

/* The log has what a step of a leader took once no writer waits for that thread. */
static void a_step_is_named(watched *w, step *s, const char *line)
{
    wait_list_now now;
    assert_true(s->met);
    assert_int_equal(s->early.waiting, 0);
    assert_int_equal(s->now.waiting, 1);
    assert_int_equal(s->now.longest, FIRN_WAIT_LOG);
    assert_true(s->now.longest_us >= 2000000);
    assert_string_equal(s->lines, "");
    assert_string_equal(w->lines, line);
    wait_list_look(&w->list, &now);
    assert_int_equal(now.waiting, 0);
    assert_int_equal(now.done[FIRN_WAIT_LOG].count, 1);
    simfs_on_call(w->b.sim, NULL, NULL);
}

static void AWriteThatTakesLongIsNamed(void **state)
{
    (void)state;
    watched w;
    begin(&w);
    step s = {.w = &w, .call = SIMFS_WRITE, .name = ".wal"};
    simfs_on_call(w.b.sim, last_long, &s);
    bed_put(&w.b, 1);
    a_step_is_named(&w, &s, "a write into the log took 2000 ms; writers that needed it waited\n");
    bed_put(&w.b, 2);
    assert_null(strstr(strchr(w.lines, '\n') + 1, "took")); /* it is told once */
    end(&w);
}

static void MakingPagesReadyThatTakesLongIsNamed(void **state)
{
    (void)state;
    watched w;
    begin(&w);
    step s = {.w = &w, .call = SIMFS_POPULATE, .name = ".wal"};
    static const firn_wal_write none = {.size = sizeof none, .durability = FIRN_DURABILITY_NONE};
    static uint8_t value[9000]; /* more than is ready */
    simfs_on_call(w.b.sim, last_long, &s);
    OK(firn_wal_append(w.b.log, FIRN_PUT, "k", 1, value, sizeof value, &none, NULL, err));
    a_step_is_named(
        &w, &s,
        "making room for a write into the log took 2000 ms; writers that needed it waited\n");
    end(&w);
}

/* With what is written on the way, it is one wait. */
static void AChangeOfSegmentsThatTakesLongIsNamed(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        watched w;
        begin(&w);
        bed_put_sized(&w.b, 1, 9000);
        step s = {
            .w = &w, .call = way ? SIMFS_WRITE : SIMFS_SYNC, .name = way ? "1.wal" : ".wal.new"};
        simfs_on_call(w.b.sim, last_long, &s);
        bed_put_sized(&w.b, 2, 9000);
        a_step_is_named(&w, &s,
                        "the change to the next segment of the log took 2000 ms; writers that "
                        "needed it waited\n");
        end(&w);
    }
}

/* A round's own write, too, and only when those are answered that wait for the round. */
static void WhatIsWrittenAheadOfASyncIsNamed(void **state)
{
    (void)state;
    watched w;
    begin(&w);
    static const firn_wal_write none = {.size = sizeof none, .durability = FIRN_DURABILITY_NONE};
    OK(firn_wal_append(w.b.log, FIRN_PUT, "k", 1, "v", 1, &none, NULL, err));
    step s = {.w = &w, .call = SIMFS_WRITE, .name = ".wal"};
    simfs_on_call(w.b.sim, last_long, &s);
    OK(firn_wal_sync(w.b.log, err));
    a_step_is_named(&w, &s, "a write into the log took 2000 ms; writers that needed it waited\n");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AWaitIsToldAfterASecondHoweverOftenItsThreadIsWoken),
        cmocka_unit_test(AWriteThatTakesLongIsNamed),
        cmocka_unit_test(MakingPagesReadyThatTakesLongIsNamed),
        cmocka_unit_test(AChangeOfSegmentsThatTakesLongIsNamed),
        cmocka_unit_test(WhatIsWrittenAheadOfASyncIsNamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
