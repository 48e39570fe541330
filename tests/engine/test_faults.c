/* Every call to the system that fails, once or from then on; every allocation that fails; a disk that
 * is full and is not full any more. Nothing acknowledged is lost, errors say what happened, reading
 * goes on, and writing resumes where it may.
 *
 * A failure names the fault: FIRN_FAULT='<calls> <errno> <forever> <at>' of the message runs it alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/hash.h>
#include <errno.h>
#include <sched.h>

#include "history.h"
#include "support/crash.h"

typedef struct fault_run {
    bed bed;
    history history;
    const char *name; /* of the fault, for messages */
    bool over;        /* writing has stopped for good */
    bool reading_fails;
    unsigned refused; /* calls of the store that failed */
    rng rng;
} fault_run;

static void start(fault_run *r, const char *name)
{
    *r = (fault_run){.name = name, .rng = rng_init(hash64(name, strlen(name), 0))};
    bed_on_simfs(&r->bed, 3);
    history_init(&r->history, 3, r->bed.sim);
    r->history.value_most = 400;
    simfs_record(r->bed.sim);
}

static void finish(fault_run *r)
{
    bed_release(&r->bed);
    history_release(&r->history);
}

/* ---- the script ---- */

static unsigned power_cuts;

/* The power goes right now. */
static void survive_a_power_cut(fault_run *r, uint64_t seed)
{
    power_cuts++;
    simfs *left = crash_now(r->bed.sim, CRASH_STRICT, seed, NULL, 0);
    engine_config config = {.fs = simfs_fs(left), .inline_work = true};
    firn *db = NULL;
    char why[WHY];
    firn_error err = {0};
    size_t j = 0;
    int rc = engine_open(r->bed.folder, &r->bed.options, &config, &db, &err);
    if (rc != FIRN_OK)
        fail_msg("%s: a power cut behind it: open: %s: %s", r->name, firn_status_name(rc),
                 err.message);
    if (!history_compare(&r->history, db, r->history.durable, r->history.count, &j, why))
        fail_msg("%s: a power cut behind it: %s", r->name, why);
    assert_int_equal(firn_close(db, NULL), FIRN_OK);
    simfs_free(left);
}

/* The failures that a fault may surface as. FIRN_DAMAGED is none of them: nothing is damaged. */
static void must_be_an_honest_failure(const fault_run *r, const char *what, int rc,
                                      const firn_error *err)
{
    if (rc != FIRN_IO && rc != FIRN_NO_SPACE && rc != FIRN_NO_MEMORY && rc != FIRN_POISONED)
        fail_msg("%s: %s returned %s: %s", r->name, what, firn_status_name(rc), err->message);
    if (err->status != rc || !err->message[0])
        fail_msg("%s: %s returned %s, its error says %s \"%s\"", r->name, what,
                 firn_status_name(rc), firn_status_name(err->status), err->message);
}

static int write_one(fault_run *r, firn_error *err)
{
    history *h = &r->history;
    char why[WHY];
    size_t before = h->count;
    if (history_write(h, r->bed.db, h->count % 3 ? FIRN_DURABILITY_NONE : FIRN_DURABILITY_SYNC,
                      why))
        return FIRN_OK;
    err->status = h->status;
    snprintf(err->message, sizeof err->message, "%.250s", why);
    if (h->status == FIRN_OK)
        fail_msg("%s: %s", r->name, why);
    /* These two promise that nothing has happened. */
    if ((h->status == FIRN_NO_SPACE || h->status == FIRN_NO_MEMORY) && h->count > before)
        h->count = before;
    return h->status;
}

static int one_step(fault_run *r, char step, firn_error *err)
{
    int rc;
    switch (step) {
    case 'w':
        return write_one(r, err);
    case 's':
        return firn_sync(r->bed.db, err);
    case 'f':
        return firn_flush(r->bed.db, err);
    case 'c':
        return firn_compact(r->bed.db, NULL, 0, NULL, 0, err);
    case 'q':
        rc = firn_close(r->bed.db, err);
        r->bed.db = NULL;
        return rc;
    default:
        return bed_open(&r->bed, err);
    }
}

/* Does the step until it succeeds, or until it is clear that it will not. */
static void step_on(fault_run *r, char step, unsigned patience)
{
    for (unsigned attempt = 0; !r->over; attempt++) {
        firn_error err = {0};
        char what[2] = {step, 0};
        int rc = one_step(r, step, &err);
        if (rc == FIRN_OK)
            return;
        must_be_an_honest_failure(r, what, rc, &err);
        r->refused++;
        if (step == 'q')
            return; /* the handle is gone, whatever was said */
        if ((step == 'o' || rc == FIRN_NO_SPACE || rc == FIRN_NO_MEMORY) && attempt < patience)
            continue;
        r->over = true;
    }
}

static const char script[] = "owwwwfwwwwwwfwwwcwwwsqowwwwwwwwwwwwwwwwwwwwwwwfwwcwwqowwq";

/* Behind the fault, the power may go at any step. */
static void run_script(fault_run *r, unsigned patience)
{
    for (const char *p = script; *p && !r->over; p++) {
        step_on(r, *p, patience);
        if (simfs_faults_hit(r->bed.sim) > 0 && rng_below(&r->rng, long_run() ? 1 : 4) == 0)
            survive_a_power_cut(r, rng_next(&r->rng));
    }
}

/* ---- after it ---- */

/* `low`: of the batches that are begun, those up to here must be there. */
static size_t must_show(const fault_run *r, firn *db, size_t low, const char *when)
{
    char why[WHY];
    size_t j = 0;
    if (!history_compare(&r->history, db, low, r->history.count, &j, why))
        fail_msg("%s: %s: %s", r->name, when, why);
    return j;
}

/* The fault is over: close, open, compare, and go on as if nothing had been. With `cuts`, the power may go at any step:
 * what is written behind a failure must not rely on files that the failure has spoiled. */
static void come_back_and(fault_run *r, bool cuts)
{
    size_t before = r->history.completed;
    firn_close(r->bed.db, NULL);
    r->bed.db = NULL;
    if (simfs_open_count(r->bed.sim) != 0)
        fail_msg("%s: %llu files were left open", r->name,
                 (unsigned long long)simfs_open_count(r->bed.sim));
    firn_error err = {0};
    int rc = bed_open(&r->bed, &err);
    if (rc != FIRN_OK)
        fail_msg("%s: open afterwards: %s: %s", r->name, firn_status_name(rc), err.message);
    history_cut(&r->history, must_show(r, r->bed.db, before, "opened afterwards"));
    r->over = false;
    for (const char *p = "wwwwfwcwqowwwq"; *p; p++) {
        firn_error e = {0};
        if (cuts && rng_below(&r->rng, long_run() ? 1 : 6) == 0)
            survive_a_power_cut(r, rng_next(&r->rng));
        rc = one_step(r, *p, &e);
        if (rc != FIRN_OK)
            fail_msg("%s: going on afterwards: %s: %s", r->name, firn_status_name(rc), e.message);
    }
    if (cuts)
        survive_a_power_cut(r, rng_next(&r->rng));
    rc = engine_check(r->bed.config.fs, r->bed.folder, NULL, NULL, NULL, &err);
    if (rc != FIRN_OK)
        fail_msg("%s: check afterwards: %s: %s", r->name, firn_status_name(rc), err.message);
}

static void come_back(fault_run *r)
{
    come_back_and(r, false);
}

/* ---- calls to the system ---- */

static uint64_t calls_of_the_script(unsigned calls)
{
    fault_run r;
    start(&r, "no fault");
    run_script(&r, 0);
    assert_int_equal(r.refused, 0);
    uint64_t count = simfs_calls(r.bed.sim, calls);
    finish(&r);
    return count;
}

/* A get that opens a table for the first time needs these calls itself. */
static bool reads_need(unsigned calls, bool forever)
{
    return (calls & SIMFS_TRANSFERS) == SIMFS_READ ||
           (forever && (calls & (SIMFS_READ | SIMFS_OPEN | SIMFS_SIZE | SIMFS_MAP)));
}

static void run_fault(unsigned calls, int error, bool forever, uint64_t at)
{
    fault_run r;
    char name[96];
    snprintf(name, sizeof name, "FIRN_FAULT='%u %d %d %llu' (%s)", calls, error, forever,
             (unsigned long long)at, error == SIMFS_SHORT ? "short" : strerror(error));
    start(&r, name);
    simfs_fail(r.bed.sim,
               (simfs_fault){.calls = calls, .at = at, .error = error, .forever = forever});
    run_script(&r, 2);
    if (error == EMFILE && !(calls & SIMFS_SYNC) && !forever && r.over)
        fail_msg("%s: a descriptor that was missing once has stopped the store", name);
    if (r.bed.db && r.over && !reads_need(calls, forever))
        must_show(&r, r.bed.db, r.history.completed, "reading while writing fails");
    survive_a_power_cut(&r, at);
    simfs_heal(r.bed.sim);
    come_back_and(&r, true);
    finish(&r);
}

static void every_call(unsigned calls, int error, bool forever)
{
    unsigned asked_calls;
    int asked_error, asked_forever;
    unsigned long long asked_at;
    const char *asked = getenv("FIRN_FAULT");
    if (asked && sscanf(asked, "%u %d %d %llu", &asked_calls, &asked_error, &asked_forever,
                        &asked_at) == 4) {
        if (asked_calls == calls && asked_error == error && asked_forever == forever)
            run_fault(calls, error, forever, asked_at);
        return;
    }
    uint64_t count = calls_of_the_script(calls);
    assert_true(count > 20);
    power_cuts = 0;
    for (uint64_t at = 1; at <= count; at++)
        run_fault(calls, error, forever, at);
    print_message("%llu failed calls, %u power cuts behind them\n", (unsigned long long)count,
                  power_cuts);
    assert_true(power_cuts > (forever ? 3 : 4) * count); /* not only at the end */
}

static void each_change_that_fails_once_with_eio(void **state)
{
    (void)state;
    every_call(SIMFS_CHANGING, EIO, false);
}

static void each_change_that_fails_from_then_on_with_eio(void **state)
{
    (void)state;
    every_call(SIMFS_CHANGING, EIO, true);
}

static void each_change_that_finds_the_disk_full_once(void **state)
{
    (void)state;
    every_call(SIMFS_CHANGING, ENOSPC, false);
}

static void each_change_that_finds_the_disk_full_from_then_on(void **state)
{
    (void)state;
    every_call(SIMFS_CHANGING, ENOSPC, true);
}

static void each_change_that_finds_no_memory_once(void **state)
{
    (void)state;
    every_call(SIMFS_CHANGING, ENOMEM, false);
}

static void each_write_that_is_cut_short_or_interrupted_is_completed(void **state)
{
    (void)state;
    static const int errors[] = {SIMFS_SHORT, EINTR};
    for (size_t i = 0; i < 2; i++) {
        uint64_t count = calls_of_the_script(SIMFS_TRANSFERS);
        for (uint64_t at = 1; at <= count; at++) {
            fault_run r;
            start(&r, "a short or interrupted call");
            simfs_fail(r.bed.sim, (simfs_fault){.calls = SIMFS_TRANSFERS,
                                                .at = at,
                                                .error = errors[i],
                                                .forever = at % 2 == 0});
            run_script(&r, 0);
            assert_int_equal(r.refused, 0); /* no caller notices */
            simfs_heal(r.bed.sim);
            come_back(&r);
            finish(&r);
        }
    }
}

#define LOOKING                                                                                    \
    (SIMFS_READ | SIMFS_OPEN | SIMFS_SIZE | SIMFS_MAP | SIMFS_DIR_LIST | SIMFS_DIR_OPEN |          \
     SIMFS_DIR_SPACE | SIMFS_LOCK | SIMFS_RANDOM | SIMFS_DIR_LOCK | SIMFS_DIR_NAMED | SIMFS_NAMED)

static void each_look_that_fails_once_with_eio(void **state)
{
    (void)state;
    every_call(LOOKING, EIO, false);
}

static void each_open_that_finds_no_descriptor_once(void **state)
{
    (void)state;
    every_call(SIMFS_OPEN | SIMFS_CREATE | SIMFS_DIR_OPEN | SIMFS_MAP | SIMFS_DIR_LIST, EMFILE,
               false);
}

/* As when another program removes the folder or files in it. */
static void each_change_that_finds_its_name_gone(void **state)
{
    (void)state;
    every_call(SIMFS_CHANGING, ENOENT, false);
    every_call(SIMFS_CREATE | SIMFS_RENAME | SIMFS_DIR_NAMED | SIMFS_NAMED, ENOENT, true);
}

/* The calls that size a file and bring it into memory. An answer that says "interrupted" is no failure. */
static void each_size_or_mapping_that_is_refused(void **state)
{
    (void)state;
    enum { SIZING = SIMFS_ALLOCATE | SIMFS_TRUNCATE | SIMFS_SIZE | SIMFS_MAP | SIMFS_POPULATE };
    static const int errors[] = {EIO,   ENOSPC, ENOMEM, EMFILE, EINTR,
                                 EFBIG, EDQUOT, EAGAIN, EACCES, ENODEV};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        for (int forever = 0; forever < (long_run() ? 2 : 1); forever++)
            every_call(SIZING, errors[i], forever);
}

static void each_change_that_meets_a_limit(void **state)
{
    (void)state;
    static const int errors[] = {EFBIG, EDQUOT, EMFILE, EINTR};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        every_call(SIMFS_CHANGING, errors[i], false);
}

/* ---- memory ---- */

static void each_allocation_that_fails_once(void **state)
{
    (void)state;
    fault_run r;
    start(&r, "no fault");
    alloc_fail_at(UINT64_MAX);
    run_script(&r, 0);
    alloc_fail_at(0);
    uint64_t count = alloc_count(), refused = 0;
    assert_int_equal(r.refused, 0);
    finish(&r);
    assert_true(count > 200);
    for (uint64_t at = 1; at <= count; at++) {
        char name[64];
        snprintf(name, sizeof name, "allocation %llu", (unsigned long long)at);
        start(&r, name);
        alloc_fail_at(at);
        run_script(&r, 2);
        alloc_fail_at(0);
        refused += r.refused;
        if (r.over ||
            (r.bed.db && bed_stats(&r.bed).poisoned)) /* nothing that is committed needs memory */
            fail_msg("%s: one failed allocation has stopped the store", name);
        if (r.bed.db)
            must_show(&r, r.bed.db, r.history.completed, "reading behind it");
        come_back(&r);
        finish(&r);
    }
    assert_true(refused > 50); /* it was noticed, not only survived */
}

/* ---- a full disk ---- */

/* Writes until the disk is full; returns how many batches that took. */
static unsigned fill_up(fault_run *r)
{
    for (unsigned count = 0;; count++) {
        firn_error err = {0};
        int rc = write_one(r, &err);
        if (rc == FIRN_OK)
            continue;
        must_be_an_honest_failure(r, "write", rc, &err);
        assert_int_equal(rc, FIRN_NO_SPACE);
        return count;
    }
}

static void a_full_disk_stops_writing_until_there_is_room(void **state)
{
    (void)state;
    fault_run r;
    uint64_t capacity = 150000;
    unsigned cycles = long_run() ? 100 : 25;
    start(&r, "a full disk");
    simfs_record_stop(r.bed.sim);
    bed_must_open(&r.bed);
    for (unsigned cycle = 0; cycle < cycles; cycle++) {
        simfs_capacity(r.bed.sim, simfs_used(r.bed.sim) + 20000 + cycle * 777 % 30000);
        fill_up(&r);
        must_show(&r, r.bed.db, r.history.completed, "reading on a full disk");
        simfs_capacity(r.bed.sim, simfs_used(r.bed.sim) + capacity);
        for (int i = 0; i < 10; i++) {
            firn_error err = {0};
            int rc = write_one(&r, &err);
            if (rc != FIRN_OK)
                fail_msg("cycle %u: room is back, and write says %s: %s", cycle,
                         firn_status_name(rc), err.message);
        }
        MUST(firn_compact(r.bed.db, NULL, 0, NULL, 0, error));
        must_show(&r, r.bed.db, r.history.completed, "with room again");
        if (r.history.count > HISTORY_MOST / 2)
            break;
    }
    assert_false(bed_stats(&r.bed).poisoned);
    simfs_capacity(r.bed.sim, UINT64_MAX);
    come_back(&r);
    finish(&r);
}

/* Closed in order, or killed: opening finds no room at all, shows everything, and goes on when there is some. */
static void a_store_that_met_a_full_disk_opens_on_it(void **state)
{
    (void)state;
    fault_run r;
    start(&r, "opening on a full disk");
    simfs_record_stop(r.bed.sim);
    bed_must_open(&r.bed);
    unsigned life = 0;
    for (; life < 12 && r.history.count < HISTORY_MOST / 2; life++) {
        simfs_capacity(r.bed.sim, simfs_used(r.bed.sim));
        fill_up(&r);
        bool killed = life % 3 == 1;
        if (killed)
            simfs_fail(
                r.bed.sim,
                (simfs_fault){.calls = SIMFS_CHANGING, .at = 1, .error = EIO, .forever = true});
        firn *db = r.bed.db;
        r.bed.db = NULL;
        (void)firn_close(db, NULL); /* finds no room, or is no close at all */
        simfs_heal(r.bed.sim);
        simfs_capacity(r.bed.sim, simfs_used(r.bed.sim));
        bed_must_open(&r.bed);
        must_show(&r, r.bed.db, r.history.completed, "opened on a full disk");
        simfs_capacity(r.bed.sim,
                       simfs_used(r.bed.sim)); /* others take what the reserve gave back */
        fill_up(&r);
        simfs_capacity(r.bed.sim, simfs_used(r.bed.sim) + 300000);
        firn_error err = {0};
        if (write_one(&r, &err) != FIRN_OK)
            fail_msg("room is back, and write says %s", err.message);
        MUST(firn_compact(r.bed.db, NULL, 0, NULL, 0, error));
        must_show(&r, r.bed.db, r.history.completed, "with room again");
    }
    assert_true(life >= 6);
    simfs_capacity(r.bed.sim, UINT64_MAX);
    come_back(&r);
    finish(&r);
}

static void with_threads_writing_resumes_by_itself(void **state)
{
    (void)state;
    fault_run r;
    start(&r, "a full disk, with threads");
    simfs_record_stop(r.bed.sim);
    r.bed.config.inline_work = false;
    bed_must_open(&r.bed);
    for (unsigned cycle = 0; cycle < 5; cycle++) {
        simfs_capacity(r.bed.sim, simfs_used(r.bed.sim));
        fill_up(&r);
        must_show(&r, r.bed.db, r.history.completed, "reading on a full disk");
        simfs_capacity(r.bed.sim, simfs_used(r.bed.sim) + 300000);
        for (int written = 0; written < 20;) {
            firn_error err = {0};
            int rc = write_one(&r, &err);
            if (rc != FIRN_OK)
                assert_int_equal(rc, FIRN_NO_SPACE); /* until background work has tried again */
            written += rc == FIRN_OK;
            sched_yield();
        }
    }
    simfs_capacity(r.bed.sim, UINT64_MAX);
    MUST(firn_settle(r.bed.db, error));
    must_show(&r, r.bed.db, r.history.completed, "with room again");
    come_back(&r);
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_that_fails_once_with_eio),
        cmocka_unit_test(each_change_that_fails_from_then_on_with_eio),
        cmocka_unit_test(each_change_that_finds_the_disk_full_once),
        cmocka_unit_test(each_change_that_finds_the_disk_full_from_then_on),
        cmocka_unit_test(each_change_that_finds_no_memory_once),
        cmocka_unit_test(each_write_that_is_cut_short_or_interrupted_is_completed),
        cmocka_unit_test(each_look_that_fails_once_with_eio),
        cmocka_unit_test(each_open_that_finds_no_descriptor_once),
        cmocka_unit_test(each_change_that_finds_its_name_gone),
        cmocka_unit_test(each_size_or_mapping_that_is_refused),
        cmocka_unit_test(each_change_that_meets_a_limit),
        cmocka_unit_test(each_allocation_that_fails_once),
        cmocka_unit_test(a_full_disk_stops_writing_until_there_is_room),
        cmocka_unit_test(a_store_that_met_a_full_disk_opens_on_it),
        cmocka_unit_test(with_threads_writing_resumes_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
