/* What the log tells its callers: every call to the system that a script of all calls of <firn/wal.h> makes fails once, with
 * every errno that may come; and every allocation. Whatever a call returns, its error is filled in when it failed and left
 * alone when it did not.
 *
 * A failure names the fault: FIRN_FAULT='<calls> <errno> <at>' of the message runs it alone.
 */
#include "bed.h"

#include <base/alloc.h>
#include <errno.h>
#include <support/told.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

typedef struct run {
    told told;
    simfs *sim;
    wal_config config;
    wal *log;
} run;

static void start(run *r, const char *name)
{
    *r = (run){.told = {.run = name}, .sim = simfs_new(9), .config = bed_config()};
    r->config.options.durability = FIRN_DURABILITY_NONE;
}

static void finish(run *r)
{
    if (r->told.wrong[0])
        fail_msg("%s", r->told.wrong);
    simfs_free(r->sim);
}

static int open_log(run *r)
{
    r->told.missing_is_ok = r->config.options.read_only;
    int status =
        TOLD(&r->told, wal_open_path(simfs_fs(r->sim), "log", &r->config, NULL, &r->log, error));
    r->told.missing_is_ok = false;
    return status;
}

static void noticed(void *ctx, uint64_t seq, int status)
{
    (void)seq;
    (void)status;
    ++*(unsigned *)ctx;
}

static int pass_entry(void *ctx, const firn_wal_entry *entry)
{
    (void)ctx;
    (void)entry;
    return 0;
}

static int pass_record(void *ctx, const firn_wal_record *record)
{
    (void)ctx;
    (void)record;
    return 0;
}

static void write_all(run *r, unsigned *called)
{
    static const uint8_t value[1500];
    told *t = &r->told;
    firn_batch *batch = NULL;
    uint64_t seq = 0;
    for (unsigned i = 0; i < 20; i++) {
        firn_wal_write o = {.size = sizeof o,
                            .durability = i % 3 ? FIRN_DURABILITY_NONE : FIRN_DURABILITY_SYNC};
        TOLD(t, firn_wal_append(r->log, FIRN_PUT, &i, sizeof i, value, i * 71, &o, &seq, error));
    }
    if (firn_batch_new(&batch) == FIRN_OK && firn_batch_put(batch, "b", 1, "v", 1) == FIRN_OK)
        TOLD(t, firn_wal_append_batch(r->log, batch, NULL, &seq, error));
    firn_batch_free(batch);
    TOLD(t, firn_wal_on_durable(r->log, firn_wal_last_seq(r->log), noticed, called, error));
    TOLD(t, firn_wal_rotate(r->log, error));
    TOLD(t, firn_wal_append(r->log, FIRN_DELETE, "x", 1, NULL, 0, NULL, &seq, error));
    TOLD(t, firn_wal_sync(r->log, error));
    TOLD(t, firn_wal_wait_durable(r->log, firn_wal_last_seq(r->log), 5, error));
    TOLD(t, firn_wal_checkpoint(r->log, &seq, error));
}

static void read_all(run *r)
{
    told *t = &r->told;
    firn_wal_report report;
    firn_wal_report_init(&report);
    TOLD(t, firn_wal_replay(r->log, 0, pass_entry, NULL, NULL, error));
    TOLD(t, firn_wal_iterate(r->log, pass_record, NULL, error));
    TOLD(t, firn_wal_verify(r->log, &report, error));
    firn_wal_report_release(&report);
}

static void script(run *r)
{
    unsigned called = 0;
    for (int life = 0; life < 3; life++) {
        simfs_mapping_ok(r->sim, life != 1);
        if (open_log(r) != FIRN_OK)
            continue;
        write_all(r, &called);
        read_all(r);
        TOLD(&r->told, firn_wal_truncate(r->log, firn_wal_last_seq(r->log) / 2, NULL, error));
        TOLD(&r->told, firn_wal_close(r->log, error));
    }
    r->config.options.read_only = true;
    if (open_log(r) == FIRN_OK) {
        read_all(r);
        TOLD(&r->told, firn_wal_close(r->log, error));
    }
    r->config.options.read_only = false;
}

static bool may_be(int status, int error, unsigned call)
{
    switch (status) {
    case FIRN_IO:
    case FIRN_POISONED:
    case FIRN_NO_MEMORY:
    case FIRN_NO_SPACE:
        return true;
    case FIRN_LOCKED:
        return call == SIMFS_LOCK && error == EACCES;
    case FIRN_NOT_FOUND: /* of a reader */
        return true;
    default:
        return false;
    }
}

static void run_fault(unsigned call, int error, uint64_t at)
{
    run r;
    char name[96];
    snprintf(name, sizeof name, "FIRN_FAULT='%u %d %llu' (%s: %s)", call, error,
             (unsigned long long)at, simfs_call_name(call), strerror(error));
    start(&r, name);
    simfs_fail(r.sim, (simfs_fault){.calls = call, .at = at, .error = error});
    script(&r);
    if (r.told.failures > 0 && (error == EINTR || !may_be(r.told.last, error, call)))
        fail_msg("%s: %s: %s", name, firn_status_name(r.told.last), r.told.error.message);
    finish(&r);
}

static void each_failed_call_is_described(void **state)
{
    (void)state;
    static const int errors[] = {EIO,    ENOSPC, EDQUOT, EFBIG, ENOMEM, EMFILE, ENFILE, ENOENT,
                                 ESTALE, EACCES, EPERM,  EROFS, EINTR,  EBUSY,  ENODEV, ETXTBSY};
    unsigned asked_call;
    int asked_error;
    unsigned long long asked_at;
    const char *asked = getenv("FIRN_FAULT");
    if (asked && sscanf(asked, "%u %d %llu", &asked_call, &asked_error, &asked_at) == 3) {
        run_fault(asked_call, asked_error, asked_at);
        return;
    }
    run r;
    uint64_t counts[SIMFS_CALLS], all = 0;
    start(&r, "no fault");
    script(&r);
    assert_int_equal(r.told.failures, 0);
    for (unsigned i = 0; i < SIMFS_CALLS; i++)
        all += counts[i] = simfs_calls(r.sim, 1u << i);
    finish(&r);
    assert_true(all > 150);
    for (size_t e = 0; e < COUNT_OF(errors); e++)
        for (unsigned i = 0; i < SIMFS_CALLS; i++)
            for (uint64_t at = 1; at <= counts[i]; at++)
                run_fault(1u << i, errors[e], at);
}

static void each_failed_allocation_is_described(void **state)
{
    (void)state;
    run r;
    start(&r, "no fault");
    alloc_fail_at(UINT64_MAX);
    script(&r);
    alloc_fail_at(0);
    uint64_t count = alloc_count();
    assert_int_equal(r.told.failures, 0);
    finish(&r);
    assert_true(count > 40);
    for (uint64_t at = 1; at <= count; at++) {
        char name[64];
        snprintf(name, sizeof name, "allocation %llu", (unsigned long long)at);
        start(&r, name);
        alloc_fail_at(at);
        script(&r);
        alloc_fail_at(0);
        if (r.told.failures > 0 && r.told.last != FIRN_NO_MEMORY)
            fail_msg("%s: %s: %s", name, firn_status_name(r.told.last), r.told.error.message);
        finish(&r);
    }
}

/* ---- A folder that is lost ---- */

enum { REMOVED, RENAMED, REPLACED, NO_LOCK, OTHER_LOCK, HARMS };

static void harm(simfs *sim, int which)
{
    uint8_t byte = 0;
    switch (which) {
    case REMOVED:
        simfs_remove_folder(sim, "log");
        break;
    case REPLACED:
        simfs_move_folder(sim, "log", "away");
        simfs_write_file(sim, "log/LOCK", &byte, 0);
        break;
    case RENAMED:
        simfs_move_folder(sim, "log", "away");
        break;
    case OTHER_LOCK:
        simfs_remove(sim, "log/LOCK");
        simfs_write_file(sim, "log/LOCK", &byte, 0);
        break;
    default:
        simfs_remove(sim, "log/LOCK");
    }
}

static int put_one(told *t, wal *log)
{
    return TOLD(t, firn_wal_append(log, FIRN_PUT, "k", 1, "v", 1, NULL, NULL, error));
}

/* Neither by a rotation, nor by a truncation or a close. */
static void nothing_is_begun_in_a_folder_that_is_lost(void **state)
{
    (void)state;
    for (int which = 0; which < HARMS; which++)
        for (int how = 0; how < 3; how++) {
            run r;
            told *t = &r.told;
            char name[32];
            snprintf(name, sizeof name, "harm %d, call %d", which, how);
            start(&r, name);
            assert_int_equal(open_log(&r), FIRN_OK);
            for (int i = 0; i < 10; i++)
                assert_int_equal(put_one(t, r.log), FIRN_OK);
            harm(r.sim, which);
            uint64_t before = simfs_calls(r.sim, SIMFS_CHANGING);
            int status = how == 0   ? TOLD(t, firn_wal_rotate(r.log, error))
                         : how == 1 ? TOLD(t, firn_wal_truncate(r.log, 5, NULL, error))
                                    : TOLD(t, firn_wal_close(r.log, error));
            assert_int_equal(status, FIRN_IO);
            assert_int_equal(simfs_calls(r.sim, SIMFS_CHANGING), before);
            assert_true(t->error.sys_errno == ENOENT || t->error.sys_errno == ESTALE);
            assert_non_null(strstr(t->error.file, which >= NO_LOCK ? "log/LOCK" : "log"));
            if (how < 2) {
                assert_int_equal(put_one(t, r.log), FIRN_POISONED);
                assert_int_equal(TOLD(t, firn_wal_sync(r.log, error)), FIRN_POISONED);
                assert_int_equal(TOLD(t, firn_wal_close(r.log, error)), FIRN_POISONED);
                assert_int_equal(simfs_calls(r.sim, SIMFS_CHANGING), before);
            }
            assert_int_equal(simfs_open_count(r.sim), 0);
            finish(&r);
        }
}

/* Wherever the next segment comes from. */
static void the_next_segment_is_the_last_chance(void **state)
{
    (void)state;
    static const uint8_t value[1000];
    for (int which = 0; which < HARMS; which++) {
        run r;
        told *t = &r.told;
        uint64_t written = 0;
        start(&r, "the next segment");
        assert_int_equal(open_log(&r), FIRN_OK);
        harm(r.sim, which);
        while (written <= 2 * r.config.options.segment_bytes &&
               TOLD(t, firn_wal_append(r.log, FIRN_PUT, "k", 1, value, sizeof value, NULL, NULL,
                                       error)) == FIRN_OK)
            written += sizeof value;
        assert_int_equal(t->last, FIRN_IO);
        assert_true(written <= r.config.options.segment_bytes);
        assert_int_equal(put_one(t, r.log), FIRN_POISONED);
        (void)firn_wal_close(r.log, NULL);
        finish(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failed_call_is_described),
        cmocka_unit_test(each_failed_allocation_is_described),
        cmocka_unit_test(nothing_is_begun_in_a_folder_that_is_lost),
        cmocka_unit_test(the_next_segment_is_the_last_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
