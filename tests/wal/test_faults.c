/* Every system call and every allocation that fails, once or from then on: what the caller is told
 * must be true.
 *
 *   OK                 the write is there when the log is opened again
 *   OK and synced      ... also after a power cut
 *   NO_SPACE           nothing happened: its number goes to the next write
 *   NO_MEMORY          the same
 *   IO, POISONED       it may or may not be there, as the end of a prefix; nothing is written any
 *                      more
 */
#include "bed.h"

#include <base/entry.h>
#include <base/alloc.h>
#include <base/error.h>
#include <base/thread.h>
#include <errno.h>
#include <sched.h>
#include <support/crash.h>

enum { STEPS = 40 };

/* What a script did: for each number that may be in the log, whether it must be. */
typedef struct scenario {
    bool cuts; /* behind a fault, the power may go at any step */
    rng chance;
    uint64_t power_cuts;
    uint64_t acknowledged; /* newest number of a write that returned OK */
    uint64_t durable;      /* newest number that was durable at some time */
    uint64_t possible;     /* newest number that may be there */
    uint64_t floor;        /* may be anywhere up to here */
    bool failed;           /* some write failed */
    char wrong[512];
} scenario;

static void tell_wrong(scenario *t, const char *what, int rc, uint64_t seq)
{
    if (t->wrong[0] == '\0')
        snprintf(t->wrong, sizeof t->wrong, "%s: %s, number %llu", what, firn_status_name(rc),
                 (unsigned long long)seq);
}

/* Checks that a failure says what, where and what to do. */
static void check_error(scenario *t, int rc, const firn_error *error)
{
    if (error->status != rc || error->message[0] == '\0' || error->hint[0] == '\0')
        tell_wrong(t, error->message[0] ? error->message : "no message", rc, error->offset);
}

static void write_step(scenario *t, wal *log, int i)
{
    static const firn_durability classes[] = {FIRN_DURABILITY_NONE, FIRN_DURABILITY_SYNC,
                                              FIRN_DURABILITY_BATCH};
    firn_error error = {0};
    uint8_t value[900] = {0};
    uint64_t seq = 0, expected = firn_wal_last_seq(log) + 1;
    firn_slice key = {(const uint8_t *)&i, sizeof i}, v = {value, (size_t)(i * 37) % 900};
    int rc = wal_put(log, FIRN_PUT, key, v, classes[i % 3], &seq, &error);
    if (rc == FIRN_OK) {
        if (seq != expected)
            tell_wrong(t, "a number was skipped", rc, seq);
        t->acknowledged = seq;
        if (i % 3 == 1 && firn_wal_durable_seq(log) < seq)
            tell_wrong(t, "acknowledged, not durable", rc, seq);
    } else {
        check_error(t, rc, &error);
        t->failed = true;
        if ((rc == FIRN_NO_SPACE || rc == FIRN_NO_MEMORY) && firn_wal_last_seq(log) != expected - 1)
            tell_wrong(t, "refused, but its number is used", rc, expected);
    }
    if (t->possible < expected && rc != FIRN_NO_SPACE && rc != FIRN_NO_MEMORY)
        t->possible = expected;
}

static void upkeep_step(scenario *t, wal *log, int i)
{
    firn_error error = {0};
    uint64_t seq, last = firn_wal_last_seq(log);
    int rc = FIRN_OK;
    if (i % 13 == 12) {
        rc = firn_wal_rotate(log, &error);
    } else if (i % 11 == 10) {
        if (t->possible < last + 1)
            t->possible = last + 1;
        rc = firn_wal_checkpoint(log, &seq, &error);
        if (rc == FIRN_OK)
            t->acknowledged = seq;
    } else if (i % 9 == 8) {
        if (t->floor < last / 2)
            t->floor = last / 2;
        rc = firn_wal_truncate(log, last / 2, NULL, &error);
    }
    if (rc != FIRN_OK) {
        check_error(t, rc, &error);
        t->failed = true;
    }
}

static void check_scenario(const scenario *t, simfs *sim, const wal_config *config, uint64_t least,
                           const char *what);

/* What is durable by now must be there, whatever else a power cut leaves: also what was acknowledged by a log that was
 * closed and opened again behind a failed call, in the same mount. */
static void maybe_cut(scenario *t, simfs *sim, const wal_config *config)
{
    if (!t->cuts || simfs_faults_hit(sim) == 0 || rng_below(&t->chance, crash_long() ? 1 : 24) != 0)
        return;
    char line[256];
    crash_model how = rng_below(&t->chance, 2) ? CRASH_STRICT : CRASH_ORDERED;
    simfs *left = crash_now(sim, how, rng_next(&t->chance), line, sizeof line);
    check_scenario(t, left, config, t->durable, "a power cut behind the fault");
    simfs_free(left);
    t->power_cuts++;
}

static void note_durable(scenario *t, simfs *sim, wal *log)
{
    uint64_t durable = firn_wal_durable_seq(log);
    t->durable = durable > t->durable ? durable : t->durable;
    simfs_mark(sim, 0, t->durable);
}

/* Runs the script on whatever the calls allow. A log that does not open, or does not close, is fine
 * here. */
static void run_script(scenario *t, simfs *sim, const wal_config *config)
{
    for (int life = 0; life < (t->cuts ? 3 : 2); life++) {
        firn_error error = {0};
        wal *log;
        int rc = wal_open_path(simfs_fs(sim), BED_PATH, config, NULL, &log, &error);
        if (rc != FIRN_OK) {
            check_error(t, rc, &error);
            t->failed = true;
            continue;
        }
        if (firn_wal_last_seq(log) < t->acknowledged)
            tell_wrong(t, "lost while reopening", rc, firn_wal_last_seq(log));
        note_durable(t, sim, log); /* what was found is durable by now */
        maybe_cut(t, sim, config);
        for (int i = 0; i < STEPS / 2; i++) {
            write_step(t, log, i);
            upkeep_step(t, log, i);
            note_durable(t, sim, log);
            maybe_cut(t, sim, config);
        }
        rc = firn_wal_close(log, &error);
        if (rc != FIRN_OK) {
            check_error(t, rc, &error);
            t->failed = true;
        } else {
            t->durable = t->acknowledged;
        }
        maybe_cut(t, sim, config);
    }
}

typedef struct counted {
    uint64_t last, count;
} counted;

static int count_entry(void *ctx, const firn_wal_entry *e)
{
    counted *c = ctx;
    if (e->seq <= c->last)
        return 1000;
    c->last = e->seq;
    c->count++;
    return 0;
}

/* Opens what a script left, and compares. `least` must be there. */
static void check_scenario(const scenario *t, simfs *sim, const wal_config *config, uint64_t least,
                           const char *what)
{
    firn_error error = {0};
    wal *log = NULL;
    counted c = {0};
    char text[1024] = "";
    int rc = wal_open_path(simfs_fs(sim), BED_PATH, config, NULL, &log, &error);
    if (rc == FIRN_OK)
        rc = firn_wal_replay(log, 0, count_entry, &c, NULL, &error);
    if (rc != FIRN_OK)
        firn_error_format(&error, text, sizeof text);
    bool wrong = rc != FIRN_OK || t->wrong[0] != '\0';
    if (log && !wrong) {
        uint64_t last = firn_wal_last_seq(log), floor = firn_wal_floor_seq(log);
        wrong = last < least || floor > t->floor ||
                firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, NULL, &error) != FIRN_OK;
        snprintf(text, sizeof text, "%llu must be there, %llu may, %llu is; floor %llu <= %llu",
                 (unsigned long long)least, (unsigned long long)t->possible,
                 (unsigned long long)last, (unsigned long long)floor, (unsigned long long)t->floor);
    }
    if (wrong)
        print_error("%s: %s; %s; %s\n", what, firn_status_name(rc), text, t->wrong);
    assert_false(wrong);
    OK(firn_wal_close(log, err));
}

static wal_config fault_config(firn_wal_backing backing)
{
    wal_config c = bed_config();
    c.options.segment_bytes = 8192;
    c.options.backing = backing;
    c.options.batch_writes = 3;
    return c;
}

typedef struct fault_kind {
    const char *name;
    int error;
    bool forever, after;
    unsigned calls;
} fault_kind;

static const fault_kind fault_kinds[] = {
    {"EIO once", EIO, false, false, SIMFS_ANY},
    {"EIO from then on", EIO, true, false, SIMFS_ANY},
    {"EIO after the effect", EIO, false, true, SIMFS_ANY},
    {"ENOSPC once", ENOSPC, false, false, SIMFS_ANY},
    {"ENOSPC from then on", ENOSPC, true, false, SIMFS_ANY},
    {"ENOSPC after the effect", ENOSPC, false, true, SIMFS_ANY},
    {"ENOMEM once", ENOMEM, false, false, SIMFS_ANY},
    {"ENOMEM after the effect", ENOMEM, false, true, SIMFS_ANY},
    /* Reading a folder is never interrupted, so fs_dir_list does not repeat it. */
    {"EINTR once", EINTR, false, false, SIMFS_ANY & ~(unsigned)SIMFS_DIR_LIST},
    {"a short transfer", SIMFS_SHORT, false, false, SIMFS_TRANSFERS},
};

/* One run of the script with the at-th call failing. False when the script makes fewer calls. */
static bool run_with_fault(const wal_config *config, const fault_kind *kind, uint64_t at,
                           uint64_t *power_cuts)
{
    simfs *sim = simfs_new(at);
    scenario t = {.cuts = true, .chance = rng_init(at)};
    simfs_fault fault = {.calls = kind->calls,
                         .at = at,
                         .error = kind->error,
                         .forever = kind->forever,
                         .after = kind->after};
    simfs_record(sim);
    simfs_fail(sim, fault);
    run_script(&t, sim, config);
    bool hit = simfs_faults_hit(sim) > 0;
    assert_int_equal(simfs_open_count(sim), 0);
    simfs_heal(sim);
    char what[160], line[256];
    snprintf(what, sizeof what, "%s at call %llu", kind->name, (unsigned long long)at);
    if (!hit || kind->error == EINTR || kind->error == SIMFS_SHORT) {
        if (t.failed)
            print_error("%s: reported\n", what);
        assert_false(t.failed);
    }
    static const crash_model models[] = {CRASH_STRICT, CRASH_ORDERED};
    for (size_t m = 0; m < 2; m++) {
        simfs *after = crash_now(sim, models[m], at, line, sizeof line);
        check_scenario(&t, after, config, t.durable, what);
        assert_int_equal(simfs_open_count(after), 0);
        simfs_free(after);
    }
    check_scenario(&t, sim, config, t.acknowledged, what);
    *power_cuts += t.power_cuts + 2;
    simfs_free(sim);
    return hit;
}

static void every_call_fails(firn_wal_backing backing)
{
    wal_config c = fault_config(backing);
    uint64_t calls = 0, power_cuts = 0;
    for (size_t k = 0; k < sizeof fault_kinds / sizeof fault_kinds[0]; k++) {
        uint64_t at = 1;
        while (run_with_fault(&c, &fault_kinds[k], at, &power_cuts))
            at++;
        assert_true(at > 30);
        calls += at;
    }
    print_message("%llu failed calls, %llu power cuts behind them\n", (unsigned long long)calls,
                  (unsigned long long)power_cuts);
    assert_true(power_cuts > 2 * calls + calls / 2);
}

static void NoFailingCallIsSwallowedMapped(void **state)
{
    (void)state;
    every_call_fails(FIRN_WAL_MAPPED);
}

static void NoFailingCallIsSwallowedBuffered(void **state)
{
    (void)state;
    every_call_fails(FIRN_WAL_BUFFERED);
}

/* The calls that give a file its size, and bring it into memory, with every answer that the system has for them. A
 * segment of more than a page is cut when it is closed, and grown, and mapped anew, when it is opened again. */
static void sizing_and_mapping_fails(firn_wal_backing backing)
{
    enum { SIZING = SIMFS_ALLOCATE | SIMFS_TRUNCATE | SIMFS_SIZE | SIMFS_MAP | SIMFS_POPULATE };
    static const int errors[] = {EIO,    ENOSPC, ENOMEM, EMFILE, EINTR, EFBIG,
                                 EDQUOT, EAGAIN, EACCES, ENODEV, EPERM};
    wal_config c = fault_config(backing);
    c.options.segment_bytes = 32768;
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        for (int mode = 0; mode < 3; mode++) {
            fault_kind kind = {
                .name = strerror(errors[e]),
                .error = errors[e],
                .forever = mode == 1,
                .after = mode == 2 && errors[e] != EINTR,
                .calls = SIZING,
            };
            uint64_t at = 1, power_cuts = 0;
            while (run_with_fault(&c, &kind, at, &power_cuts))
                at++;
            assert_true(at > 10);
        }
    }
}

static void NoFailingSizeOrMappingIsSwallowedMapped(void **state)
{
    (void)state;
    sizing_and_mapping_fails(FIRN_WAL_MAPPED);
}

static void NoFailingSizeOrMappingIsSwallowedBuffered(void **state)
{
    (void)state;
    sizing_and_mapping_fails(FIRN_WAL_BUFFERED);
}

/* What a closed log holds is not given up before it can be had at its full size: the log does not open, says why, and
 * everything is there when the system has come to its senses. Only a disk without room is no reason not to open. */
static void ALogWhoseMappingIsRefusedSaysSoAndIsThereAfterwards(void **state)
{
    (void)state;
    static const int errors[] = {EIO,    ENOSPC, ENOMEM, EMFILE, EFBIG,
                                 EDQUOT, EAGAIN, EACCES, ENODEV};
    static const unsigned calls[] = {SIMFS_MAP, SIMFS_POPULATE};
    for (size_t k = 0; k < 2 * sizeof errors / sizeof errors[0]; k++) {
        wal_config c = fault_config(FIRN_WAL_MAPPED);
        c.options.segment_bytes = 65536;
        bed b = bed_new_with(&c);
        for (uint64_t i = 1; i <= 5; i++)
            bed_put(&b, i);
        bed_close(&b);
        unsigned refused = 0;
        for (uint64_t at = 1;; at++) {
            firn_error error = {0};
            wal *log = NULL;
            simfs *copy = simfs_clone(b.sim);
            simfs_fail(copy,
                       (simfs_fault){.calls = calls[k % 2], .at = at, .error = errors[k / 2]});
            int rc = wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, &error);
            bool hit = simfs_faults_hit(copy) > 0;
            simfs_heal(copy);
            if (rc == FIRN_OK) {
                assert_int_equal(firn_wal_last_seq(log), 5);
                OK(firn_wal_append(log, FIRN_PUT, "k", 1, NULL, 0, NULL, NULL, err));
                OK(firn_wal_close(log, err));
            } else {
                assert_int_equal(error.status, rc);
                assert_true(error.message[0] != '\0' && error.hint[0] != '\0');
                assert_non_null(strstr(error.file, ".wal"));
                refused++;
            }
            OK(wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, err));
            assert_int_equal(firn_wal_last_seq(log), rc == FIRN_OK ? 6 : 5);
            OK(firn_wal_close(log, err));
            assert_int_equal(simfs_open_count(copy), 0);
            simfs_free(copy);
            if (!hit)
                break;
        }
        assert_true(refused >= 2); /* as it is, and at its full size */
        bed_release(&b);
    }
}

/* A segment that was made ahead and is too small gives its name to a larger one. When that fails half-way, nothing may go
 * into the small one any more: its file may have no name. */
static void ASegmentMadeAheadThatLostItsNameIsNotUsed(void **state)
{
    (void)state;
    static uint8_t large[40000];
    for (uint64_t at = 1; at <= 12; at++) {
        wal_config c = fault_config(FIRN_WAL_BUFFERED);
        bed b = bed_new_with(&c);
        uint64_t i = 1;
        for (; firn_wal_last_seq(b.log) < 20; i++) /* beyond the half of a segment */
            bed_put(&b, i);
        mutex_lock(&b.log->making);
        OK(wal_ready_ensure(b.log, b.log->current->no + 1, 8192, err));
        mutex_unlock(&b.log->making);
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = ENOSPC});
        firn_error error = {0};
        int rc =
            firn_wal_append(b.log, FIRN_PUT, "large", 5, large, sizeof large, NULL, NULL, &error);
        simfs_heal(b.sim);
        uint64_t last = firn_wal_last_seq(b.log);
        if (rc != FIRN_NO_SPACE && rc != FIRN_OK)
            assert_int_equal(rc, FIRN_IO);
        for (int more = 0; rc != FIRN_IO && more < 400; more++, last++)
            bed_put(&b, i++);
        simfs *copy = simfs_clone(b.sim);
        wal *log;
        OK(wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, err));
        assert_true(firn_wal_last_seq(log) >= last);
        OK(firn_wal_close(log, err));
        simfs_free(copy);
        (void)firn_wal_close(b.log, NULL); /* may be poisoned */
        b.log = NULL;
        bed_release(&b);
    }
}

static void NoFailingAllocationLosesAnything(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = fault_config((firn_wal_backing)backing);
        bool hit = true;
        for (uint64_t at = 1; hit; at++) {
            simfs *sim = simfs_new(at);
            scenario t = {0};
            alloc_fail_at(at);
            run_script(&t, sim, &c);
            hit = alloc_count() >= at;
            alloc_fail_at(0);
            assert_true(hit || at > 10);
            assert_int_equal(simfs_open_count(sim), 0);
            char what[64];
            snprintf(what, sizeof what, "allocation %llu", (unsigned long long)at);
            check_scenario(&t, sim, &c, t.acknowledged, what);
            simfs_free(sim);
        }
    }
}

/* ---- A full disk ---- */

static void AWriteThatFoundNoSpaceLeavesNothing(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = fault_config((firn_wal_backing)backing);
        bed b = bed_new_with(&c);
        assert_int_equal(bed_put(&b, 1), 1);
        /* The whole frame reaches the file, and is then reported as refused. */
        simfs_fail(b.sim,
                   (simfs_fault){.calls = SIMFS_WRITE, .at = 1, .error = ENOSPC, .after = true});
        firn_error error = {0};
        assert_int_equal(firn_wal_append(b.log, FIRN_PUT, "extra", 5, NULL, 0, NULL, NULL, &error),
                         FIRN_NO_SPACE);
        assert_string_not_equal(error.hint, "");
        simfs *copy = simfs_clone(b.sim); /* as if the process died here */
        wal *log;
        OK(wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, err));
        assert_int_equal(firn_wal_last_seq(log), 1);
        OK(firn_wal_close(log, err));
        simfs_free(copy);
        assert_int_equal(bed_put(&b, 2), 2);
        bed_reopen(&b);
        assert_int_equal(firn_wal_last_seq(b.log), 2);
        bed_release(&b);
    }
}

static void AFullDiskRefusesAndTheLogGoesOnByItself(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        wal_config c = fault_config((firn_wal_backing)backing);
        c.options.durability = FIRN_DURABILITY_NONE;
        bed b = bed_new_with(&c);
        model m;
        model_init(&m);
        rng r = rng_init(31);
        for (int cycle = 0; cycle < 100; cycle++) {
            simfs_capacity(b.sim, simfs_used(b.sim) + 10000);
            firn_error error = {0};
            uint8_t value[700] = {0};
            firn_slice key = {(const uint8_t *)&cycle, sizeof cycle}, v = {value, 700};
            int rc;
            uint64_t seq;
            while ((rc = wal_put(b.log, FIRN_PUT, key, v, 0, &seq, &error)) == FIRN_OK)
                model_add_put(&m, FIRN_PUT, key, v, seq);
            assert_int_equal(rc, FIRN_NO_SPACE);
            assert_string_not_equal(error.hint, "");
            model_check(&m, b.log, firn_wal_floor_seq(b.log)); /* reads never fail */
            simfs_capacity(b.sim, UINT64_MAX);
            uint64_t last = firn_wal_last_seq(b.log);
            model_step(&m, b.log, &r, FIRN_DURABILITY_SYNC);
            assert_true(firn_wal_last_seq(b.log) > last);
            OK(firn_wal_truncate(b.log, last, NULL, err));
        }
        uint64_t floor = firn_wal_floor_seq(b.log);
        model_check(&m, b.log, floor);
        bed_reopen(&b);
        model_check(&m, b.log, floor);
        model_release(&m);
        bed_release(&b);
    }
}

/* A group of several frames is refused: some of them reached the file whole. Their numbers go to
 * others, so not one of them may be there. */
typedef struct refused {
    thread t;
    wal *log;
    _Atomic bool *entered; /* a first group is being led */
    const uint8_t *value;
    size_t value_size;
    int status;
} refused;

/* Holds the first group back until others have queued behind it, so that they form one group. */
static void wait_for_followers(refused *r)
{
    if (atomic_exchange(r->entered, true))
        return;
    const wal_request *first = atomic_load(&r->log->newest);
    for (int n = 0; n < 3;) {
        n = 0;
        for (const wal_request *q = atomic_load(&r->log->newest); q != first; q = q->older)
            n++;
        sched_yield();
    }
}

static void append_refused(void *arg)
{
    refused *r = arg;
    wal_request q;
    firn_slice key = {(const uint8_t *)"extra", 5}, value = {r->value, r->value_size};
    r->status = wal_request_put(r->log, &q, FIRN_PUT, ENTRY_BUCKET_DEFAULT, key, value,
                                FIRN_DURABILITY_DEFAULT, NULL);
    if (r->status != FIRN_OK)
        return;
    if (wal_join(r->log, &q)) {
        wal_group g;
        firn_error error;
        int rc = wal_group_start(r->log, &g, &q, &error);
        wait_for_followers(r);
        if (rc == FIRN_OK)
            rc = wal_group_append(r->log, &g, &error);
        wal_group_end(r->log, &g, rc, &error);
    }
    r->status = wal_await(r->log, &q);
}

/* Starts four writers: the first leads alone, the others queue behind it while it is held back. */
static void start_refused(refused all[4], refused with)
{
    for (int i = 0; i < 4; i++) {
        all[i] = with;
        assert_int_equal(thread_start(&all[i].t, "refused", append_refused, &all[i]), 0);
        while (i == 0 && !atomic_load(with.entered))
            sched_yield();
    }
}

static int fail_on_refused(void *ctx, const firn_wal_entry *e)
{
    (void)ctx;
    return e->key.size == 5 && memcmp(e->key.data, "extra", 5) == 0 ? 1000 : 0;
}

static void ARefusedGroupLeavesNoneOfItsFrames(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        _Atomic bool entered = false;
        wal_config c = fault_config((firn_wal_backing)backing);
        bed b = bed_new_with(&c);
        bed_put(&b, 1);
        refused all[4];
        /* The first leads alone; the other three are one group, whose write is refused after its
         * effect. */
        simfs_fail(b.sim,
                   (simfs_fault){.calls = SIMFS_WRITE, .at = 2, .error = ENOSPC, .after = true});
        start_refused(all, (refused){.log = b.log, .entered = &entered});
        int no_space = 0;
        for (int i = 0; i < 4; i++) {
            thread_join(&all[i].t);
            no_space += all[i].status == FIRN_NO_SPACE;
        }
        assert_int_equal(no_space, 3);
        assert_int_equal(firn_wal_last_seq(b.log), 2);
        simfs *copy = simfs_clone(b.sim);
        wal *log;
        OK(wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, err));
        OK(firn_wal_replay(log, 2, fail_on_refused, NULL, NULL, err));
        assert_int_equal(firn_wal_last_seq(log), 2);
        OK(firn_wal_close(log, err));
        simfs_free(copy);
        /* Frames of the same size as those that were refused: a refused write would fit exactly behind. */
        OK(firn_wal_append(b.log, FIRN_PUT, "alive", 5, NULL, 0, NULL, NULL, err));
        copy = simfs_clone(b.sim);
        OK(wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, err));
        assert_int_equal(firn_wal_last_seq(log), 3);
        OK(firn_wal_replay(log, 2, fail_on_refused, NULL, NULL, err));
        OK(firn_wal_close(log, err));
        simfs_free(copy);
        bed_release(&b);
    }
}

/* The wipe itself is synced: else a power cut could bring a refused frame back behind a later one
 * that has taken the place, and the numbers, of those before it. */
static void ARefusedGroupDoesNotComeBackAfterAPowerCut(void **state)
{
    (void)state;
    static const uint8_t value[600]; /* frames in sectors of their own */
    _Atomic bool entered = false;
    wal_config c = fault_config(FIRN_WAL_BUFFERED);
    c.options.segment_bytes = 16384;
    c.options.durability = FIRN_DURABILITY_NONE;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    OK(firn_wal_sync(b.log, err));
    simfs_record(b.sim);
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_WRITE, .at = 2, .error = ENOSPC, .after = true});
    refused all[4];
    start_refused(
        all,
        (refused){.log = b.log, .entered = &entered, .value = value, .value_size = sizeof value});
    for (int i = 0; i < 4; i++)
        thread_join(&all[i].t);
    assert_int_equal(firn_wal_last_seq(b.log), 2); /* the first one led alone, and was written */
    OK(firn_wal_append(b.log, FIRN_PUT, "alive", 5, value, sizeof value, NULL, NULL, err));
    for (uint64_t seed = 1; seed <= 300; seed++) {
        char line[256];
        simfs *after = crash_now(b.sim, CRASH_STRICT, seed, line, sizeof line);
        wal *log;
        OK(wal_open_path(simfs_fs(after), BED_PATH, &c, NULL, &log, err));
        firn_error error = {0};
        int rc = firn_wal_replay(log, 2, fail_on_refused, NULL, NULL, &error);
        if (rc != FIRN_OK)
            print_error("a refused write after %s\n", line);
        assert_int_equal(rc, FIRN_OK);
        OK(firn_wal_close(log, err));
        simfs_free(after);
    }
    bed_release(&b);
}

static void never(void *ctx, uint64_t seq, int rc)
{
    (void)seq;
    (void)rc;
    ++*(int *)ctx;
}

/* Each allocation of a call fails once; in the end it succeeds. */
static void WithoutMemoryReadersAndCallbacksSaySo(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.durability = FIRN_DURABILITY_NONE;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    int called = 0, rc = FIRN_NO_MEMORY;
    for (uint64_t n = 1; rc == FIRN_NO_MEMORY; n++) {
        alloc_fail_at(n);
        rc = firn_wal_on_durable(b.log, 1, never, &called, NULL);
        alloc_fail_at(0);
        assert_true(rc == FIRN_NO_MEMORY || n > 1);
    }
    assert_int_equal(rc, FIRN_OK);
    rc = FIRN_NO_MEMORY;
    for (uint64_t n = 1; rc == FIRN_NO_MEMORY; n++) {
        alloc_fail_at(n);
        rc = firn_wal_verify(b.log, NULL, NULL);
        alloc_fail_at(0);
        assert_true(rc == FIRN_NO_MEMORY || n > 1);
    }
    assert_int_equal(rc, FIRN_OK);
    assert_int_equal(called, 0);
    bed_release(&b);
    assert_int_equal(called, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NoFailingCallIsSwallowedMapped),
        cmocka_unit_test(NoFailingCallIsSwallowedBuffered),
        cmocka_unit_test(NoFailingSizeOrMappingIsSwallowedMapped),
        cmocka_unit_test(NoFailingSizeOrMappingIsSwallowedBuffered),
        cmocka_unit_test(ALogWhoseMappingIsRefusedSaysSoAndIsThereAfterwards),
        cmocka_unit_test(ASegmentMadeAheadThatLostItsNameIsNotUsed),
        cmocka_unit_test(NoFailingAllocationLosesAnything),
        cmocka_unit_test(AWriteThatFoundNoSpaceLeavesNothing),
        cmocka_unit_test(AFullDiskRefusesAndTheLogGoesOnByItself),
        cmocka_unit_test(ARefusedGroupLeavesNoneOfItsFrames),
        cmocka_unit_test(ARefusedGroupDoesNotComeBackAfterAPowerCut),
        cmocka_unit_test(WithoutMemoryReadersAndCallbacksSaySo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
