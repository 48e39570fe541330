/* The simulation of the tree: it loses and invents nothing, it is the same each time, its tree is one that the engine would build,
 * and what the tree promises holds in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <store/store.h>
#include <string.h>
#include <tree/version_build.h>

#include "real.h"
#include "run.h"
#include "show.h"
#include <support/tempdir.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define TIB (MIB * MIB)

/* A small store with a deep tree. */
static void small_settings(settings *s, pattern p)
{
    firn_options given;
    settings_init(s);
    given = s->options;
    given.memory = 4 * MIB;
    given.table_bytes = 512 * KIB;
    assert_int_equal(options_resolve(&given, &s->options, NULL), FIRN_OK);
    s->pattern = p;
    s->records = 1000000;
    s->writes = 2000000;
}

static void large_settings(settings *s, uint64_t tree_bytes)
{
    firn_options given;
    settings_init(s);
    given = s->options;
    assert_int_equal(options_resolve(&given, &s->options, NULL), FIRN_OK);
    s->tree_bytes = tree_bytes;
    s->records = tree_bytes / (s->key_bytes + s->value_bytes);
}

static double tree_entries(const run *r)
{
    double sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < r->tree.version->levels[n].count; i++)
            sum += (double)r->tree.version->levels[n].tables[i]->properties.entries;
    return sum;
}

static void assert_near(double found, double wanted, double part)
{
    if (found < wanted * (1 - part) || found > wanted * (1 + part))
        fail_msg("%.6g is not within %.2f %% of %.6g", found, part * 100, wanted);
}

/* What flushes and merges wrote, less what merges read, is there, to the byte. */
static void assert_bytes_add_up(const run *r)
{
    const figures *f = r->figures;
    double there = f->flushed_bytes + figures_merged(f) - f->read_bytes;
    assert_near(there, tree_bytes(&r->tree), 1e-9);
}

static void loading_loses_nothing(void **state)
{
    (void)state;
    settings s;
    run r;
    figures f = {0};
    small_settings(&s, PATTERN_RANDOM);
    run_init(&r, &s, &f);
    run_write(&r, (double)s.records, 0, true);
    run_settle(&r);
    assert_true(f.merges > 100);
    /* Every table's entries are a whole number, which may be off by a half. */
    assert_near(tree_entries(&r), (double)s.records, 0.001);
    assert_near(keys_live(&r.tree.keys), (double)s.records, 1e-6);
    assert_bytes_add_up(&r);
    run_release(&r);
    figures_release(&f);
}

/* version_apply judges what a version must be, and puts the tables of each level in their order. */
static void assert_is_a_version(const sim_tree *t)
{
    edit e = {0};
    firn_error err = {0};
    version *empty, *built;
    assert_int_equal(version_new_empty(&empty), FIRN_OK);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < t->version->levels[n].count; i++)
            assert_int_equal(edit_add(&e, n, t->version->levels[n].tables[i]), FIRN_OK);
    if (version_apply(empty, &e, &built, &err) != FIRN_OK)
        fail_msg("%s", err.message);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *ours = &t->version->levels[n], *theirs = &built->levels[n];
        assert_int_equal(ours->count, theirs->count);
        assert_int_equal(ours->bytes, theirs->bytes);
        if (ours->count)
            assert_memory_equal(ours->tables, theirs->tables, ours->count * sizeof(table *));
    }
    version_unref(built);
    version_unref(empty);
    edit_release(&e);
}

static void the_tree_is_one_that_the_engine_would_build(void **state)
{
    (void)state;
    for (pattern p = PATTERN_RANDOM; p <= PATTERN_DELETE; p++) {
        settings s;
        run r;
        figures f = {0};
        small_settings(&s, p);
        run_init(&r, &s, &f);
        for (unsigned i = 0; i < 50; i++) {
            run_write(&r, (double)s.writes / 50, 0, i < 10 && p != PATTERN_ASCENDING);
            assert_is_a_version(&r.tree);
        }
        run_settle(&r);
        assert_is_a_version(&r.tree);
        assert_bytes_add_up(&r);
        /* There is a version of each key that is alive; the model is off by some thousandths. */
        if (tree_entries(&r) < keys_live(&r.tree.keys) * 0.99)
            fail_msg("%s: %.0f entries for %.0f keys", pattern_name(p), tree_entries(&r),
                     keys_live(&r.tree.keys));
        run_release(&r);
        figures_release(&f);
    }
}

static void ascending_keys_are_written_once(void **state)
{
    (void)state;
    settings s;
    run r;
    figures f = {0};
    small_settings(&s, PATTERN_ASCENDING);
    run_init(&r, &s, &f);
    run_write(&r, (double)s.writes, 0, false);
    run_settle(&r);
    assert_near(tree_entries(&r), (double)s.writes, 0.001);
    /* Small tables are merged with their neighbours, and from level 1 on they are compressed: twice, and no more. */
    assert_true(figures_write_amplification(&f) < 3.5);
    assert_true(f.moves > 0);
    run_release(&r);
    figures_release(&f);
}

static void half_of_the_keys_stay_where_every_other_write_deletes(void **state)
{
    (void)state;
    settings s;
    run r;
    figures f = {0};
    small_settings(&s, PATTERN_DELETE);
    s.records = 200000;
    run_init(&r, &s, &f);
    run_write(&r, (double)s.records, 0, true);
    run_write(&r, 2000000, 0, false);
    run_settle(&r);
    assert_near(keys_live(&r.tree.keys), (double)s.records / 2, 0.001);
    run_release(&r);
    figures_release(&f);
}

static void two_runs_are_the_same(void **state)
{
    (void)state;
    static figures f[2];
    double bytes[2];
    for (unsigned i = 0; i < 2; i++) {
        settings s;
        run r;
        small_settings(&s, PATTERN_ZIPF);
        run_init(&r, &s, &f[i]);
        run_write(&r, (double)s.records, 0, true);
        run_write(&r, (double)s.writes, 0, false);
        bytes[i] = tree_bytes(&r.tree);
        run_release(&r);
    }
    assert_int_equal(f[0].seconds_count, f[1].seconds_count);
    assert_memory_equal(f[0].seconds, f[1].seconds, f[0].seconds_count * sizeof(double));
    assert_memory_equal(f[0].merged_bytes, f[1].merged_bytes, sizeof f[0].merged_bytes);
    assert_true(bytes[0] == bytes[1]);
    assert_true(f[0].ended_ns == f[1].ended_ns);
    figures_release(&f[0]);
    figures_release(&f[1]);
}

/* At rest, a look at all tables finds nothing, and so it was made. */
static void nothing_is_due_anywhere_at_rest(void **state)
{
    (void)state;
    for (pattern p = PATTERN_RANDOM; p <= PATTERN_DELETE; p++) {
        settings s;
        run r;
        figures f = {0};
        small_settings(&s, p);
        run_init(&r, &s, &f);
        run_write(&r, (double)s.records, 0, p != PATTERN_ASCENDING);
        run_write(&r, (double)s.records / 2, 0, false);
        run_settle(&r);
        schedule_state all = {
            .version = r.tree.version, .free_bytes = UINT64_MAX, .calm = true, .whole = true};
        if (schedule_due(&r.decider.rules, &all))
            fail_msg("%s: something is due", pattern_name(p));
        run_release(&r);
        figures_release(&f);
    }
}

/* As --compare does it: every figure is within its bound of what a real store gives. */
static void fits_a_real_store(pattern p, uint64_t writes)
{
    settings s;
    run r;
    figures load = {0}, f = {0};
    real_figures real = {0};
    char *place = tempdir_new();
    small_settings(&s, p);
    s.records = 150000;
    s.writes = writes;
    s.compare = true;
    s.folder = place;
    run_init(&r, &s, &load);
    run_write(&r, (double)s.records, 0, true);
    run_settle(&r);
    r.figures = &f;
    run_write(&r, (double)s.writes, 0, false);
    run_settle(&r);
    real_run(&s, &real);
    assert_int_equal(show_compared(&r, &load, &real), 0);
    run_release(&r);
    figures_release(&load);
    figures_release(&f);
    tempdir_remove(place);
}

static void a_tree_that_is_overwritten_fits_a_real_store(void **state)
{
    (void)state;
    fits_a_real_store(PATTERN_RANDOM, 150000);
}

static void a_tree_with_deletes_fits_a_real_store(void **state)
{
    (void)state;
    fits_a_real_store(PATTERN_DELETE, 300000);
}

/* P16, as far as it can be seen without a disk: writers that go as fast as they can, for many minutes. */
static void is_overwritten_evenly(uint64_t records, uint64_t bytes, double writes)
{
    settings s;
    run r;
    figures load = {0}, f = {0};
    large_settings(&s, bytes);
    if (records)
        s.records = records;
    run_init(&r, &s, &load);
    if (records)
        run_write(&r, (double)s.records, 0, true);
    r.figures = &f;
    run_write(&r, writes, 0, false);
    assert_true(f.seconds_count > 60);
    assert_true(f.level0_worst < L0_STOP_AT);
    assert_true(f.delay_worst_ns <= 10e6);
    assert_true(figures_worst_second(&f) >= figures_median_second(&f) / 2);
    assert_true(f.debt.worst < 0.5 * tree_bytes(&r.tree)); /* and does not grow without end */
    run_release(&r);
    figures_release(&load);
    figures_release(&f);
}

static void stores_of_any_size_are_overwritten_evenly(void **state)
{
    (void)state;
    is_overwritten_evenly(10000000, 0, 100e6);
    is_overwritten_evenly(100000000, 0, 300e6);
    is_overwritten_evenly(0, TIB, 2e9);
}

/* Tombstones go down with their levels, and not each table for itself. */
static void deletes_cost_little_more_than_writes(void **state)
{
    (void)state;
    double bytes[2];
    for (unsigned deletes = 0; deletes < 2; deletes++) {
        settings s;
        run r;
        figures f = {0};
        small_settings(&s, deletes ? PATTERN_DELETE : PATTERN_RANDOM);
        s.rate = 2e6; /* workers have time for what is not urgent */
        run_init(&r, &s, &f);
        run_write(&r, 5e6, 0, false);
        bytes[deletes] = f.flushed_bytes + figures_merged(&f);
        run_release(&r);
        figures_release(&f);
    }
    assert_true(bytes[1] < 2 * bytes[0]);
}

static void ten_terabytes_take_what_is_written_at_an_even_rate(void **state)
{
    (void)state;
    settings s;
    run r;
    figures f = {0};
    large_settings(&s, 10 * TIB);
    s.rate = 5e6;
    run_init(&r, &s, &f);
    assert_is_a_version(&r.tree);
    run_write(&r, 0, 2, false);
    assert_int_equal(f.seconds_count, 7200);
    assert_near(figures_worst_second(&f) * (s.key_bytes + s.value_bytes), s.rate, 0.001);
    assert_true(f.level0_worst < L0_STOP_AT);
    assert_true(f.debt.worst < 0.01 * tree_bytes(&r.tree));
    assert_is_a_version(&r.tree);
    run_release(&r);
    figures_release(&f);
}

int main(void)
{
    tempdir_in_memory(); /* a real store makes its tables durable, one after the other */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_loses_nothing),
        cmocka_unit_test(the_tree_is_one_that_the_engine_would_build),
        cmocka_unit_test(ascending_keys_are_written_once),
        cmocka_unit_test(half_of_the_keys_stay_where_every_other_write_deletes),
        cmocka_unit_test(two_runs_are_the_same),
        cmocka_unit_test(nothing_is_due_anywhere_at_rest),
        cmocka_unit_test(a_tree_that_is_overwritten_fits_a_real_store),
        cmocka_unit_test(a_tree_with_deletes_fits_a_real_store),
        cmocka_unit_test(stores_of_any_size_are_overwritten_evenly),
        cmocka_unit_test(deletes_cost_little_more_than_writes),
        cmocka_unit_test(ten_terabytes_take_what_is_written_at_an_even_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
