/* Crashes: of a log that is written, rotated, truncated, closed and opened again, and of every kind
 * of recovery. After any of them the log opens, holds a prefix of what was appended, everything
 * that was acknowledged as durable, and goes on with numbers that no reader has seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <support/crash.h>
#include <support/rng.h>
#include <support/simfs.h>

#include "build_log.h"

/* What the script has promised. */
enum {
    MARK_DURABLE = 0,   /* numbers <= this were acknowledged as durable */
    MARK_BEGUN = 1,     /* no number > this has been asked for */
    MARK_TRUNCATED = 2, /* a truncation up to this has returned */
    MARK_TRUNCATING = 3,
};

/* ---- Looking at what a crash left ---- */

typedef struct opened {
    fs_dir *dir;
    wal *w;
    firn_wal_report report;
    log_read read;
    firn_error error;
} opened;

static int open_log(fs *f, const wal_config *config, opened *o)
{
    memset(o, 0, sizeof *o);
    int rc = fs_dir_open(f, LOG_FOLDER, &o->dir, &o->error);
    if (rc != FIRN_OK)
        return rc;
    rc = wal_open(o->dir, config, &o->report, &o->w, &o->error);
    if (rc == FIRN_OK)
        rc = firn_wal_replay(o->w, 0, log_read_entry, &o->read, NULL, &o->error);
    return rc;
}

static int close_log(opened *o)
{
    int rc = o->w ? firn_wal_close(o->w, &o->error) : FIRN_OK;
    fs_dir_close(o->dir);
    firn_wal_report_release(&o->report);
    return rc;
}

static int put_one(wal *w, uint64_t seq, firn_durability durability, uint64_t *got,
                   firn_error *error)
{
    char key[32], value[64];
    size_t key_size = log_key(seq, key);
    size_t value_size = log_value(seq, value);
    firn_kind kind = value_size == SIZE_MAX ? FIRN_DELETE : FIRN_PUT;
    firn_wal_write write = {.size = sizeof write, .durability = durability};
    return firn_wal_append(w, kind, key, key_size, kind == FIRN_PUT ? value : NULL,
                           kind == FIRN_PUT ? value_size : 0, &write, got, error);
}

static void print_line(void *ctx, const char *line)
{
    (void)ctx;
    print_message("    %s\n", line);
}

static int print_file(void *ctx, const char *path, uint64_t size)
{
    (void)ctx;
    print_message("    %s, %llu bytes\n", path, (unsigned long long)size);
    return 0;
}

static int wrong(crash_state *state, opened *o, const char *what)
{
    if (getenv("FIRN_REPLAY")) { /* one state: all of it */
        simfs_each(state->sim, LOG_FOLDER, print_file, NULL);
        firn_wal_report_text(&o->report, print_line, NULL);
    }
    crash_wrong(state,
                "%s: %s %.100s; read %llu..%llu (%llu, %llu wrong), floor %llu, durable %llu, "
                "begun %llu; first finding: %.60s",
                what, firn_status_name(o->error.status), o->error.message,
                (unsigned long long)o->read.first, (unsigned long long)o->read.last,
                (unsigned long long)o->read.count, (unsigned long long)o->read.wrong,
                (unsigned long long)o->report.floor_seq,
                (unsigned long long)state->marks[MARK_DURABLE],
                (unsigned long long)state->marks[MARK_BEGUN],
                o->report.count ? o->report.findings[0].proof : "none");
    if (o->dir)
        close_log(o);
    return 1;
}

/* What the script has written with which configuration. */
typedef struct written {
    wal_config config;
    bool inside[LOG_NUMBERS_MAX]; /* a batch: the number is not its last one */
} written;

/* Promises P1, P2, P3, P7, W10. */
static int verify_prefix(void *ctx, crash_state *state)
{
    const written *script = ctx;
    const wal_config *config = &script->config;
    opened o;
    if (open_log(state->fs, config, &o) != FIRN_OK)
        return wrong(state, &o, "the log does not open");
    const uint64_t *marks = state->marks;
    uint64_t floor = firn_wal_floor_seq(o.w);
    uint64_t last = firn_wal_last_seq(o.w);
    if (o.read.wrong > 0)
        return wrong(state, &o, "an operation is not what was appended");
    if (last < marks[MARK_DURABLE])
        return wrong(state, &o, "an acknowledged number is gone");
    if (last > marks[MARK_BEGUN])
        return wrong(state, &o, "a number that no writer asked for");
    if (floor < marks[MARK_TRUNCATED] || floor > marks[MARK_TRUNCATING])
        return wrong(state, &o, "the floor is not where truncation put it");
    if (o.read.count > 0 && o.read.first <= floor)
        return wrong(state, &o, "an operation below the floor");
    /* The newest number may be the one that a recovery before this one has put there. */
    if (o.read.count > 0 && script->inside[o.read.last] && o.read.last != marks[MARK_BEGUN])
        return wrong(state, &o, "a part of a batch");
    if (o.read.last != 0 && o.read.last < marks[MARK_DURABLE] && o.read.last + 1 != last)
        return wrong(state, &o, "an acknowledged operation is not replayed");

    /* The marks are for the crashes of this very recovery. */
    uint64_t got = 0;
    simfs_mark(state->sim, MARK_BEGUN, last + 1);
    if (put_one(o.w, last + 1, FIRN_DURABILITY_SYNC, &got, &o.error) != FIRN_OK || got != last + 1)
        return wrong(state, &o, "the log does not go on");
    simfs_mark(state->sim, MARK_DURABLE, got);
    uint64_t count = o.read.count;
    if (close_log(&o) != FIRN_OK)
        return wrong(state, &(opened){.error = o.error}, "closing fails");
    if (open_log(state->fs, config, &o) != FIRN_OK)
        return wrong(state, &o, "the log does not open again");
    if (o.read.count != count + 1 || o.read.last != got || !o.report.closed_clean)
        return wrong(state, &o, "what was recovered did not stay");
    for (size_t i = 0; i < o.report.count; i++)
        if (o.report.findings[i].kind != FIRN_WAL_HARMLESS)
            return wrong(state, &o, "recovery left something to recover");
    if (close_log(&o) != FIRN_OK)
        return wrong(state, &(opened){.error = o.error}, "closing fails");
    return 0;
}

/* ---- Writing ---- */

typedef struct script {
    simfs *sim;
    opened o;
    uint64_t next;
    uint64_t faults; /* that were hit so far */
    written w;
} script;

static void script_open(script *s)
{
    assert_int_equal(open_log(simfs_fs(s->sim), &s->w.config, &s->o), FIRN_OK);
    assert_int_equal(firn_wal_last_seq(s->o.w) + 1, s->next);
}

static void script_put(script *s, firn_durability durability)
{
    uint64_t got;
    simfs_mark(s->sim, MARK_BEGUN, s->next);
    assert_int_equal(put_one(s->o.w, s->next, durability, &got, NULL), FIRN_OK);
    assert_int_equal(got, s->next);
    if (durability == FIRN_DURABILITY_SYNC)
        simfs_mark(s->sim, MARK_DURABLE, got);
    s->next++;
}

static void script_batch(script *s, uint32_t operations)
{
    firn_batch *batch;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (uint32_t i = 0; i < operations; i++) {
        char key[32], value[64];
        size_t key_size = log_key(s->next + i, key);
        size_t value_size = log_value(s->next + i, value);
        if (value_size == SIZE_MAX)
            assert_int_equal(firn_batch_delete(batch, key, key_size), FIRN_OK);
        else
            assert_int_equal(firn_batch_put(batch, key, key_size, value, value_size), FIRN_OK);
        s->w.inside[s->next + i] = i + 1 < operations;
    }
    s->next += operations;
    simfs_mark(s->sim, MARK_BEGUN, s->next - 1);
    uint64_t last;
    assert_int_equal(firn_wal_append_batch(s->o.w, batch, NULL, &last, NULL), FIRN_OK);
    simfs_mark(s->sim, MARK_DURABLE, last);
    firn_batch_free(batch);
}

static void script_sync(script *s)
{
    assert_int_equal(firn_wal_sync(s->o.w, NULL), FIRN_OK);
    simfs_mark(s->sim, MARK_DURABLE, s->next - 1);
}

static void script_rotate(script *s)
{
    assert_int_equal(firn_wal_rotate(s->o.w, NULL), FIRN_OK);
}

static void script_truncate(script *s, uint64_t upto)
{
    uint64_t floor;
    simfs_mark(s->sim, MARK_TRUNCATING, upto);
    assert_int_equal(firn_wal_truncate(s->o.w, upto, &floor, NULL), FIRN_OK);
    simfs_mark(s->sim, MARK_TRUNCATED, floor);
}

static void script_close(script *s)
{
    assert_int_equal(close_log(&s->o), FIRN_OK);
    simfs_mark(s->sim, MARK_DURABLE, s->next - 1);
}

/* The life of a log: three openings, rotations by size and by hand, a sync every `every` appends
 * (0: never). */
static void write_log(script *s, unsigned every)
{
    script_open(s);
    for (unsigned i = 1; i <= 14; i++) {
        script_put(s, every == 1 ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE);
        if (every > 1 && i % every == 0)
            script_sync(s);
    }
    script_rotate(s);
    script_batch(s, 5);
    script_rotate(s);
    script_put(s, FIRN_DURABILITY_NONE);
    script_truncate(s, 16);
    script_put(s, FIRN_DURABILITY_NONE);
    script_rotate(s);
    script_put(s, FIRN_DURABILITY_NONE);
    script_rotate(s);
    script_put(s, FIRN_DURABILITY_NONE);
    script_put(s, FIRN_DURABILITY_NONE);
    script_close(s);
    script_open(s);
    script_put(s, FIRN_DURABILITY_NONE);
    script_truncate(s, 21);
    script_rotate(s);
    script_put(s, FIRN_DURABILITY_SYNC);
    script_close(s);
    script_open(s);
    script_close(s);
}

static void run_writing(const char *name, firn_wal_backing backing, unsigned every,
                        crash_stats *stats)
{
    script s = {.sim = simfs_new(11 + every), .next = 1};
    s.w.config = log_config(FIRN_RECOVERY_TAIL);
    s.w.config.options.backing = backing;
    simfs_write_file(s.sim, LOG_FOLDER "/note", "", 0);
    simfs_record(s.sim);
    write_log(&s, every);
    simfs_record_stop(s.sim);
    crash_options options = crash_options_default(name, 900 + every, verify_prefix, &s.w);
    if (!crash_long())
        options.max_states = 30000;
    uint64_t bad = crash_run(s.sim, &options, stats);
    simfs_free(s.sim);
    assert_int_equal(bad, 0);
}

static void a_log_survives_a_crash_at_every_step_of_its_life(void **state)
{
    (void)state;
    static const unsigned every[] = {1, 3, 0};
    crash_stats stats = {0};
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "wal-mapped-%u", every[i]);
        run_writing(name, FIRN_WAL_MAPPED, every[i], &stats);
        snprintf(name, sizeof name, "wal-buffered-%u", every[i]);
        run_writing(name, FIRN_WAL_BUFFERED, every[i], &stats);
    }
    crash_print("wal", &stats, stdout);
    assert_true(stats.distinct > 1000);
}

/* The process dies and another one opens the log: what was not synced is in the page cache only,
 * and looks the same as what was. A failed write stands in for the death: it stops all writing,
 * also that of closing. */
static void script_die(script *s)
{
    uint64_t got;
    firn_error error;
    simfs_mark(s->sim, MARK_BEGUN, s->next);
    simfs_fail(s->sim, (simfs_fault){.calls = SIMFS_WRITE, .at = 1, .error = EIO});
    assert_int_equal(put_one(s->o.w, s->next, FIRN_DURABILITY_SYNC, &got, &error), FIRN_IO);
    s->faults = simfs_faults_hit(s->sim);
    simfs_heal(s->sim);
    uint64_t syncs = simfs_calls(s->sim, SIMFS_SYNC);
    close_log(&s->o);
    assert_int_equal(simfs_calls(s->sim, SIMFS_SYNC), syncs);
    script_open(s);
}

/* The FLOOR reaches the file, its sync fails, the process goes. The next opener sees a FLOOR
 * that no disk has. */
static void script_truncate_and_fail(script *s, uint64_t upto)
{
    simfs_mark(s->sim, MARK_TRUNCATING, upto);
    simfs_fail(s->sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    int rc = firn_wal_truncate(s->o.w, upto, NULL, NULL);
    bool hit = simfs_faults_hit(s->sim) > s->faults;
    s->faults = simfs_faults_hit(s->sim);
    simfs_heal(s->sim);
    assert_int_equal(rc, hit ? FIRN_IO : FIRN_OK);
    close_log(&s->o);
    script_open(s);
}

/* Any order of steps. Numbers that are truncated have been given out, and lie in front of a batch
 * or behind it. */
static void random_life(script *s, rng *r, unsigned steps)
{
    uint64_t floor = 0;
    script_open(s);
    for (unsigned i = 0; i < steps; i++) {
        switch (rng_below(r, 16)) {
        case 0:
        case 1:
            script_put(s, FIRN_DURABILITY_SYNC);
            break;
        case 2:
        case 3:
            script_batch(s, 1 + (uint32_t)rng_below(r, 8));
            break;
        case 4:
        case 5:
            script_sync(s);
            break;
        case 6:
        case 7:
            script_rotate(s);
            break;
        case 8:
            if (s->next > floor + 2) {
                floor += rng_below(r, s->next - floor);
                if (rng_below(r, 3) == 0)
                    script_truncate_and_fail(s, floor);
                else
                    script_truncate(s, floor);
            }
            break;
        case 9:
            script_close(s);
            script_open(s);
            break;
        case 10:
            script_die(s);
            break;
        default:
            script_put(s, FIRN_DURABILITY_NONE);
            break;
        }
    }
    script_close(s);
}

static void random_lives_survive_a_crash_at_every_step(void **state)
{
    (void)state;
    crash_stats stats = {0};
    unsigned lives = crash_long() ? 400 : 40;
    for (unsigned life = 0; life < lives; life++) {
        char name[32];
        const uint64_t seed = 31000 + life;
        rng r = rng_init(seed);
        script s = {.sim = simfs_new(seed), .next = 1};
        s.w.config = log_config(FIRN_RECOVERY_TAIL);
        s.w.config.options.backing = life % 2 ? FIRN_WAL_BUFFERED : FIRN_WAL_MAPPED;
        /* Closing makes the file shorter, except that of the smallest. */
        s.w.config.options.segment_bytes = (2 + life % 3) * WAL_PAGE_BYTES;
        simfs_write_file(s.sim, LOG_FOLDER "/note", "", 0);
        simfs_record(s.sim);
        random_life(&s, &r, 50);
        simfs_record_stop(s.sim);
        snprintf(name, sizeof name, "wal-life-%u", life);
        crash_options options = crash_options_default(name, seed, verify_prefix, &s.w);
        options.random = 32;
        uint64_t bad = crash_run(s.sim, &options, &stats);
        simfs_free(s.sim);
        if (bad > 0)
            fail_msg("life %u, seed %llu", life, (unsigned long long)seed);
    }
    crash_print("wal-lives", &stats, stdout);
    assert_true(stats.distinct > 10000);
}

/* ---- Recovering ---- */

#define TORN_BYTES "torn to pieces"

/* What recovery has to arrive at, however often it is interrupted. */
typedef struct goal {
    wal_config config;
    uint64_t count, last; /* operations after recovery */
    uint64_t seen;        /* new numbers must be greater */
    const char *kept;     /* bytes that must be somewhere in the folder, whatever happens (W9) */
    const log_builder *log;
} goal;

typedef struct search {
    simfs *sim;
    const char *bytes;
} search;

static int file_contains(void *ctx, const char *path, uint64_t size)
{
    const search *s = ctx;
    size_t n;
    const uint8_t *data = simfs_peek(s->sim, path, &n);
    (void)size;
    return n > 0 && memmem(data, n, s->bytes, strlen(s->bytes)) ? 1 : 0;
}

static int verify_goal(void *ctx, crash_state *state)
{
    const goal *g = ctx;
    opened o;
    memset(&o, 0, sizeof o);
    search kept = {.sim = state->sim, .bytes = g->kept};
    if (g->kept && !simfs_each(state->sim, LOG_FOLDER, file_contains, &kept))
        return wrong(state, &o, "bytes that were cut are nowhere");
    int rc = fs_dir_open(state->fs, LOG_FOLDER, &o.dir, &o.error);
    o.read.of = g->log;
    o.read.extra = state->marks[MARK_BEGUN];
    if (rc == FIRN_OK)
        rc = wal_open(o.dir, &g->config, &o.report, &o.w, &o.error);
    if (rc == FIRN_OK)
        rc = firn_wal_replay(o.w, 0, log_read_entry, &o.read, NULL, &o.error);
    if (rc != FIRN_OK)
        return wrong(state, &o, "an interrupted recovery cannot be finished");
    /* An earlier attempt may have got as far as its append. */
    uint64_t count = g->count;
    if (o.read.extra != 0 && o.read.last == o.read.extra)
        count++;
    else if (state->marks[MARK_DURABLE] != 0)
        return wrong(state, &o, "an acknowledged operation is gone");
    else if (o.read.last != g->last)
        return wrong(state, &o, "recovery arrived elsewhere");
    if (o.read.wrong > 0 || o.read.count != count)
        return wrong(state, &o, "recovery arrived elsewhere");
    uint64_t got = 0;
    uint64_t next = firn_wal_last_seq(o.w) + 1;
    simfs_mark(state->sim, MARK_BEGUN, next);
    if (put_one(o.w, next, FIRN_DURABILITY_SYNC, &got, &o.error) != FIRN_OK || got != next)
        return wrong(state, &o, "the log does not go on");
    simfs_mark(state->sim, MARK_DURABLE, got);
    if (got <= g->seen)
        return wrong(state, &o, "a number that was seen is given out again");
    if (close_log(&o) != FIRN_OK)
        return wrong(state, &(opened){.error = o.error}, "closing fails");
    /* Whatever the policy was: what it left opens by the default one. */
    wal_config tail = log_config(FIRN_RECOVERY_TAIL);
    rc = open_log(state->fs, &tail, &o);
    if (rc != FIRN_OK || o.read.last != got || o.read.count != count + 1)
        return wrong(state, &o, "what was recovered does not open by the default policy");
    close_log(&o);
    return 0;
}

/* Crashes the recovery of `sim` at every step. */
static void run_recovery(const char *name, const log_builder *log, simfs *sim, firn_recovery policy,
                         uint64_t seen)
{
    goal g = {.config = log_config(policy), .seen = seen, .log = log};
    search kept = {.sim = sim, .bytes = TORN_BYTES};
    if (simfs_each(sim, LOG_FOLDER, file_contains, &kept))
        g.kept = TORN_BYTES;
    simfs *first = simfs_clone(sim);
    fs_dir *dir;
    wal *w;
    log_read read = {.of = log};
    firn_error error = {0};
    /* Once without a crash, to know where it leads. */
    assert_int_equal(fs_dir_open(simfs_fs(first), LOG_FOLDER, &dir, NULL), FIRN_OK);
    if (wal_open(dir, &g.config, NULL, &w, &error) != FIRN_OK)
        fail_msg("%s: %s", name, error.message);
    assert_int_equal(firn_wal_replay(w, 0, log_read_entry, &read, NULL, NULL), FIRN_OK);
    assert_int_equal(firn_wal_close(w, NULL), FIRN_OK);
    fs_dir_close(dir);
    simfs_free(first);
    g.count = read.count;
    g.last = read.last;
    assert_int_equal(read.wrong, 0);

    simfs_record(sim);
    assert_int_equal(fs_dir_open(simfs_fs(sim), LOG_FOLDER, &dir, NULL), FIRN_OK);
    assert_int_equal(wal_open(dir, &g.config, NULL, &w, NULL), FIRN_OK);
    simfs_record_stop(sim);
    assert_int_equal(firn_wal_close(w, NULL), FIRN_OK);
    fs_dir_close(dir);

    crash_stats stats = {0};
    crash_options options = crash_options_default(name, 4242, verify_goal, &g);
    options.nest_every = crash_long() ? 5 : 40;
    if (!crash_long())
        options.max_states = 6000;
    uint64_t bad = crash_run(sim, &options, &stats);
    crash_print(name, &stats, stdout);
    assert_int_equal(bad, 0);
    assert_true(stats.distinct > 3);
    simfs_free(sim);
}

/* The recovery stops at one of its calls (the process dies there), a second one finishes it in
 * another process, and then the power goes: what the first one had not synced, the second must
 * have. */
static int verify_finished(void *ctx, crash_state *state)
{
    const goal *g = ctx;
    opened o;
    memset(&o, 0, sizeof o);
    int rc = fs_dir_open(state->fs, LOG_FOLDER, &o.dir, &o.error);
    o.read.of = g->log;
    o.read.extra = state->marks[MARK_BEGUN];
    if (rc == FIRN_OK)
        rc = wal_open(o.dir, &g->config, &o.report, &o.w, &o.error);
    if (rc == FIRN_OK)
        rc = firn_wal_replay(o.w, 0, log_read_entry, &o.read, NULL, &o.error);
    if (rc != FIRN_OK)
        return wrong(state, &o, "an interrupted recovery cannot be finished");
    uint64_t count = g->count + (o.read.extra != 0 && o.read.last == o.read.extra);
    if (o.read.wrong > 0 || o.read.count != count)
        return wrong(state, &o, "recovery arrived elsewhere");
    if (state->marks[MARK_DURABLE] != 0 && o.read.last != state->marks[MARK_DURABLE])
        return wrong(state, &o, "an acknowledged operation is gone");
    if (firn_wal_last_seq(o.w) < g->seen)
        return wrong(state, &o, "a number that was seen would be given out again");
    close_log(&o);
    return 0;
}

static void stop_and_finish(const char *name, goal *g, const simfs *files, uint64_t at, bool *hit,
                            crash_stats *stats)
{
    simfs *sim = simfs_clone((simfs *)files);
    fs_dir *dir;
    wal *w;
    firn_error error;
    uint64_t got = 0;
    simfs_record(sim);
    assert_int_equal(fs_dir_open(simfs_fs(sim), LOG_FOLDER, &dir, NULL), FIRN_OK);
    simfs_fail(sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = EIO});
    int rc = wal_open(dir, &g->config, NULL, &w, &error);
    *hit = simfs_faults_hit(sim) > 0;
    simfs_heal(sim);
    if (rc == FIRN_OK)
        assert_int_equal(firn_wal_close(w, NULL), FIRN_OK);
    if (wal_open(dir, &g->config, NULL, &w, &error) != FIRN_OK)
        fail_msg("%s, call %llu: %s", name, (unsigned long long)at, error.message);
    uint64_t next = firn_wal_last_seq(w) + 1;
    simfs_mark(sim, MARK_BEGUN, next);
    assert_int_equal(put_one(w, next, FIRN_DURABILITY_SYNC, &got, NULL), FIRN_OK);
    simfs_mark(sim, MARK_DURABLE, got);
    simfs_record_stop(sim);
    assert_int_equal(firn_wal_close(w, NULL), FIRN_OK);
    fs_dir_close(dir);

    crash_options options = crash_options_default(name, 777 + at, verify_finished, g);
    options.models = CRASH_STRICT | CRASH_ORDERED;
    options.nest_every = 0;
    crash_stats own = {0}; /* the limit is for each run */
    if (!crash_long())
        options.max_states = 600;
    uint64_t bad = crash_run(sim, &options, &own);
    simfs_free(sim);
    stats->points += own.points;
    stats->states += own.states;
    stats->distinct += own.distinct;
    if (bad > 0)
        fail_msg("%s, call %llu", name, (unsigned long long)at);
}

static uint64_t newest_operation(const log_builder *b)
{
    uint64_t last = 0;
    for (uint64_t seq = 1; seq < LOG_NUMBERS_MAX; seq++)
        if (b->is_operation[seq])
            last = seq;
    return last;
}

/* The newest frame never became whole. */
static void cutting_a_torn_tail_can_be_interrupted_anywhere(void **state)
{
    (void)state;
    log_builder b;
    char path[64];
    log_sample(&b);
    simfs *sim = simfs_new(21);
    log_write(&b, sim);
    uint64_t end = b.segments[2].end;
    simfs_poke(sim, log_path(3, path), end - 30, TORN_BYTES, strlen(TORN_BYTES));
    run_recovery("recover-torn-tail", &b, sim, FIRN_RECOVERY_TAIL, 16);
    log_builder_release(&b);
}

/* A frame in the middle did not become whole, those behind it did, also in later segments. */
static simfs *torn_in_the_middle(log_builder *b)
{
    char path[64];
    log_builder_init(b);
    b->segment_bytes = 4 * WAL_PAGE_BYTES; /* there are blocks behind the cut to give back */
    log_rotate(b);
    log_batch(b, 2);
    log_synced(b);
    log_batch(b, 3);
    uint64_t at = log_batch(b, 2);
    log_batch(b, 2);
    log_rotate(b);
    log_batch(b, 3);
    log_rotate(b);
    log_batch(b, 1);
    simfs *sim = simfs_new(22);
    log_write(b, sim);
    simfs_poke(sim, log_path(1, path), at + 44, TORN_BYTES, strlen(TORN_BYTES));
    return sim;
}

static void cutting_in_front_of_intact_frames_can_be_interrupted_anywhere(void **state)
{
    (void)state;
    log_builder b;
    simfs *sim = torn_in_the_middle(&b);
    run_recovery("recover-torn-middle", &b, sim, FIRN_RECOVERY_TAIL, newest_operation(&b));
    log_builder_release(&b);

    /* The same in the only segment: nothing but the new one says where it ends. */
    char path[64];
    log_builder_init(&b);
    b.segment_bytes = 4 * WAL_PAGE_BYTES;
    log_rotate(&b);
    log_batch(&b, 2);
    uint64_t at = log_batch(&b, 2);
    log_batch(&b, 3);
    sim = simfs_new(26);
    log_write(&b, sim);
    simfs_poke(sim, log_path(1, path), at + 44, TORN_BYTES, strlen(TORN_BYTES));
    run_recovery("recover-torn-only", &b, sim, FIRN_RECOVERY_TAIL, newest_operation(&b));
    log_builder_release(&b);
}

static simfs *damaged(log_builder *b, uint64_t seed)
{
    char path[64];
    log_sample(b);
    simfs *sim = simfs_new(seed);
    log_write(b, sim);
    simfs_flip_bit(sim, log_path(1, path), 8 * (WAL_DATA_OFFSET + 96 + 80 + 50));
    simfs_poke(sim, log_path(2, path), WAL_DATA_OFFSET + 96 + 50, TORN_BYTES, strlen(TORN_BYTES));
    return sim;
}

static void keeping_a_prefix_can_be_interrupted_anywhere(void **state)
{
    (void)state;
    log_builder b;
    simfs *sim = damaged(&b, 23);
    run_recovery("recover-prefix", &b, sim, FIRN_RECOVERY_PREFIX, newest_operation(&b));
    log_builder_release(&b);
}

static void keeping_nothing_can_be_interrupted_anywhere(void **state)
{
    (void)state;
    log_builder b;
    char path[64];
    log_sample(&b);
    simfs *sim = simfs_new(24);
    log_write(&b, sim);
    simfs_remove(sim, log_path(1, path));
    run_recovery("recover-nothing", &b, sim, FIRN_RECOVERY_PREFIX, newest_operation(&b));
    log_builder_release(&b);
}

static void salvaging_frames_can_be_interrupted_anywhere(void **state)
{
    (void)state;
    log_builder b;
    simfs *sim = damaged(&b, 25);
    run_recovery("salvage-frames", &b, sim, FIRN_RECOVERY_SALVAGE, newest_operation(&b));
    log_builder_release(&b);
}

static void salvaging_a_missing_segment_can_be_interrupted_anywhere(void **state)
{
    (void)state;
    for (uint64_t no = 1; no <= 3; no++) {
        log_builder b;
        char path[64], name[32];
        log_sample(&b);
        simfs *sim = simfs_new(25 + no);
        log_write(&b, sim);
        simfs_remove(sim, log_path(no, path));
        if (no == 1) { /* in front, there has to be a number for it */
            log_builder_release(&b);
            log_builder_init(&b);
            b.first_no = 4;
            b.next_seq = 30;
            b.floor_seq = 20;
            b.segment_bytes = 2 * WAL_PAGE_BYTES;
            log_rotate(&b);
            log_batch(&b, 4);
            simfs_free(sim);
            sim = simfs_new(25);
            log_write(&b, sim);
        }
        snprintf(name, sizeof name, "salvage-missing-%llu", (unsigned long long)no);
        run_recovery(name, &b, sim, FIRN_RECOVERY_SALVAGE, no == 3 ? 12 : newest_operation(&b));
        log_builder_release(&b);
    }
}

static void a_recovery_that_stopped_is_finished_durably_by_the_next_one(void **state)
{
    (void)state;
    crash_stats stats = {0};
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"finish-middle", "finish-prefix", "finish-salvage",
                                            "finish-truncation"};
        log_builder b;
        goal g = {.log = &b, .config = log_config(FIRN_RECOVERY_TAIL), .count = 2 + 3};
        simfs *files;
        if (i == 0) {
            files = torn_in_the_middle(&b);
        } else if (i < 3) {
            files = damaged(&b, 60);
            g.config = log_config(i == 1 ? FIRN_RECOVERY_PREFIX : FIRN_RECOVERY_SALVAGE);
            g.count = i == 1 ? 1 : 11;
        } else {
            log_builder_init(&b);
            for (int k = 0; k < 3; k++) {
                log_rotate(&b);
                log_batch(&b, 2);
            }
            log_synced(&b);
            log_floor(&b, 3);
            files = simfs_new(61);
            log_write(&b, files);
            g.count = 3;
        }
        g.seen = newest_operation(&b);
        bool hit = true;
        for (uint64_t at = 1; hit; at++)
            stop_and_finish(names[i], &g, files, at, &hit, &stats);
        simfs_free(files);
        log_builder_release(&b);
    }
    crash_print("recover-finish", &stats, stdout);
    assert_true(stats.distinct > 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_survives_a_crash_at_every_step_of_its_life),
        cmocka_unit_test(random_lives_survive_a_crash_at_every_step),
        cmocka_unit_test(cutting_a_torn_tail_can_be_interrupted_anywhere),
        cmocka_unit_test(cutting_in_front_of_intact_frames_can_be_interrupted_anywhere),
        cmocka_unit_test(keeping_a_prefix_can_be_interrupted_anywhere),
        cmocka_unit_test(keeping_nothing_can_be_interrupted_anywhere),
        cmocka_unit_test(salvaging_frames_can_be_interrupted_anywhere),
        cmocka_unit_test(salvaging_a_missing_segment_can_be_interrupted_anywhere),
        cmocka_unit_test(a_recovery_that_stopped_is_finished_durably_by_the_next_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
