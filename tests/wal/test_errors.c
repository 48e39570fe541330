/* What the log tells its callers: every call to the system that a script of all calls of <firn/wal.h> makes fails once, with
 * every errno that may come; and every allocation. Whatever a call returns, its error is filled in when it failed and left
 * alone when it did not.
 *
 * A failure names the fault: FIRN_FAULT='<calls> <errno> <at>' of the message runs it alone.
 */
#include "bed.h"

#include <errno.h>
#include <support/told_faults.h>

typedef struct run {
    told told;
    simfs *sim;
    wal_config config;
    wal *log;
} run;

static void start(void *ctx, const char *name)
{
    run *r = ctx;
    *r = (run){.told = {.run = name}, .sim = simfs_new(9), .config = bed_config()};
    r->config.options.durability = FIRN_DURABILITY_NONE;
}

static void finish(run *r)
{
    told_finish(&r->told, r->sim);
}

static int open_log(run *r)
{
    r->told.missing_is_ok = r->config.options.read_only;
    int rc =
        TOLD(&r->told, wal_open_path(simfs_fs(r->sim), "log", &r->config, NULL, &r->log, error));
    r->told.missing_is_ok = false;
    return rc;
}

static void noticed(void *ctx, uint64_t seq, int rc)
{
    (void)seq;
    (void)rc;
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

static void script(void *ctx)
{
    run *r = ctx;
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

static run a_run;
static const told_script faults = {.run = &a_run,
                                   .told = &a_run.told,
                                   .sim = &a_run.sim,
                                   .start = start,
                                   .script = script,
                                   .calls_above = 150,
                                   .allocs_above = 40,
                                   .step = 1};

static void each_failed_call_is_described(void **state)
{
    (void)state;
    told_each_call(&faults);
}

static void each_failed_allocation_is_described(void **state)
{
    (void)state;
    told_each_allocation(&faults);
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
        for (int how = 0; how < 4; how++) {
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
            int rc = how == 0   ? TOLD(t, firn_wal_rotate(r.log, error))
                     : how == 1 ? TOLD(t, firn_wal_truncate(r.log, 5, NULL, error))
                     : how == 2 ? TOLD(t, wal_give_up(r.log, 5, 1, error))
                                : TOLD(t, firn_wal_close(r.log, error));
            assert_int_equal(rc, FIRN_IO);
            assert_int_equal(simfs_calls(r.sim, SIMFS_CHANGING), before);
            assert_true(t->error.sys_errno == ENOENT || t->error.sys_errno == ESTALE);
            assert_non_null(strstr(t->error.file, which >= NO_LOCK ? "log/LOCK" : "log"));
            if (how < 3) {
                assert_int_equal(put_one(t, r.log), FIRN_POISONED);
                assert_int_equal(TOLD(t, firn_wal_sync(r.log, error)), FIRN_POISONED);
                assert_int_equal(TOLD(t, firn_wal_close(r.log, error)), FIRN_POISONED);
                assert_int_equal(simfs_calls(r.sim, SIMFS_CHANGING), before);
            }
            assert_int_equal(simfs_open_count(r.sim), 0);
            finish(&r);
        }
}

/* Nor is one made ahead of its use: another writer may have one of that name. */
static void no_segment_is_made_ahead_in_a_folder_that_is_lost(void **state)
{
    (void)state;
    for (int which = 0; which < HARMS; which++) {
        run r;
        told *t = &r.told;
        start(&r, "made ahead");
        assert_int_equal(open_log(&r), FIRN_OK);
        assert_int_equal(put_one(t, r.log), FIRN_OK);
        harm(r.sim, which);
        uint64_t before = simfs_calls(r.sim, SIMFS_CHANGING);
        mutex_lock(&r.log->making);
        int rc = TOLD(t, wal_ready_ensure(r.log, r.log->current->no + 1,
                                          r.config.options.segment_bytes, error));
        mutex_unlock(&r.log->making);
        assert_int_equal(rc, FIRN_IO);
        assert_int_equal(put_one(t, r.log), FIRN_POISONED);
        assert_int_equal(TOLD(t, firn_wal_close(r.log, error)), FIRN_POISONED);
        assert_int_equal(simfs_calls(r.sim, SIMFS_CHANGING), before);
        finish(&r);
    }
}

/* While the log was looked at, which may take long, the folder went: nothing of it is changed. */
typedef struct while_read {
    simfs *sim;
    bool done;
    uint64_t changes; /* up to then */
} while_read;

static int harm_while_reading(void *ctx, unsigned call, uint64_t index, const char *name)
{
    while_read *h = ctx;
    (void)index;
    if (h->done || call != SIMFS_READ || !name || !strstr(name, ".wal"))
        return 0;
    h->done = true;
    h->changes = simfs_calls(h->sim, SIMFS_CHANGING);
    harm(h->sim, NO_LOCK);
    return 0;
}

static void nothing_is_repaired_in_a_folder_that_is_lost(void **state)
{
    (void)state;
    run r;
    told *t = &r.told;
    start(&r, "repaired");
    assert_int_equal(open_log(&r), FIRN_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(put_one(t, r.log), FIRN_OK);
    assert_int_equal(TOLD(t, firn_wal_close(r.log, error)), FIRN_OK);
    while_read h = {.sim = r.sim};
    simfs_on_call(r.sim, harm_while_reading, &h);
    assert_int_equal(open_log(&r), FIRN_IO);
    simfs_on_call(r.sim, NULL, NULL);
    assert_true(h.done);
    assert_int_equal(simfs_calls(r.sim, SIMFS_CHANGING), h.changes);
    assert_non_null(strstr(t->error.file, "LOCK"));
    finish(&r);
}

/* Whether the next segment has been made ahead or not. */
static void the_next_segment_is_the_last_chance(void **state)
{
    (void)state;
    static const uint8_t value[1000];
    for (int round = 0; round < 2 * HARMS; round++) {
        int which = round % HARMS;
        run r;
        told *t = &r.told;
        uint64_t written = 0;
        start(&r, "the next segment");
        assert_int_equal(open_log(&r), FIRN_OK);
        if (round >= HARMS)
            assert_int_equal(wal_prepare_successor(r.log, NULL), FIRN_OK);
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
        cmocka_unit_test(no_segment_is_made_ahead_in_a_folder_that_is_lost),
        cmocka_unit_test(nothing_is_repaired_in_a_folder_that_is_lost),
        cmocka_unit_test(the_next_segment_is_the_last_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
