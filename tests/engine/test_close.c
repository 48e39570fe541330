/* Closing: what a next opening would replay becomes tables first, if it is much; a step of that which fails, or a crash
 * behind it, loses nothing. Replayed entries are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <base/alloc.h>
#include <wal/wal.h>

#include <commit/commit.h>
#include "bed.h"
#include <store/store.h>
#include "support/crash.h"

static void put_number(bed *b, unsigned i, size_t size)
{
    static uint8_t value[4000];
    char key[16];
    int n = snprintf(key, sizeof key, "key%06u", i);
    memset(value, (int)(i % 251), sizeof value);
    MUST(firn_put(b->db, key, (size_t)n, value, size, NULL, error));
}

static int count_all(firn *db, unsigned *count, firn_error *err)
{
    firn_iter *it = NULL;
    int rc = firn_iter_new(db, NULL, &it, err);
    *count = 0;
    if (rc != FIRN_OK)
        return rc;
    for (rc = firn_iter_first(it); rc == FIRN_OK; rc = firn_iter_next(it))
        ++*count;
    if (rc != FIRN_END)
        (void)firn_iter_status(it, err);
    firn_iter_free(it);
    return rc == FIRN_END ? FIRN_OK : rc;
}

static void expect_count(bed *b, unsigned expected)
{
    unsigned count = 0;
    MUST(count_all(b->db, &count, error));
    assert_int_equal(count, expected);
}

/* ---- How much is replayed ---- */

typedef struct filling {
    unsigned entries;
    size_t size; /* of a value */
    bool much;
} filling;

static void what_is_much_is_not_replayed(void **state)
{
    (void)state;
    const filling all[] = {{1, 10, false},     {9999, 1, false},  {10001, 1, true},
                           {200, 4000, false}, {400, 4000, true}, {30000, 20, true}};
    for (unsigned disk = 0; disk < 2; disk++)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            bed b;
            if (disk)
                bed_on_disk(&b);
            else
                bed_on_simfs(&b, 1);
            firn_options_init(&b.options);
            b.options.durability = FIRN_DURABILITY_NONE;
            b.options.memory = UINT64_C(64) << 20;
            bed_must_open(&b);
            for (unsigned k = 0; k < all[i].entries; k++)
                put_number(&b, k, all[i].size);
            for (unsigned again = 0; again < 3; again++) {
                bed_must_close(&b);
                bed_must_open(&b);
                assert_int_equal(bed_stats(&b).recovered_entries, all[i].much ? 0 : all[i].entries);
                assert_int_equal(bed_tables(&b), all[i].much);
                expect_count(&b, all[i].entries);
            }
            bed_put(&b, "one", "more");
            bed_must_close(&b);
            bed_must_open(&b);
            assert_int_equal(bed_stats(&b).recovered_entries, all[i].much ? 1 : all[i].entries + 1);
            expect_count(&b, all[i].entries + 1);
            bed_release(&b);
        }
}

static int no_tables(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_CREATE && name && strstr(name, ".tbl") ? ENOSPC : 0;
}

/* What was frozen already is flushed; the active one only when it is much by itself. */
static void frozen_memtables_are_flushed_too(void **state)
{
    (void)state;
    for (unsigned active = 0; active < 12; active += 11) {
        bed b;
        bed_on_simfs(&b, 1);
        b.config.close_entries = 10;
        bed_must_open(&b);
        simfs_on_call(b.sim, no_tables, NULL);
        for (unsigned i = 0; i < 12; i++) {
            put_number(&b, i, 10);
            if (i % 6 == 5)
                MUST(store_rotate(b.db->store, error));
        }
        for (unsigned i = 0; i < active; i++)
            put_number(&b, 100 + i, 10);
        simfs_on_call(b.sim, NULL, NULL);
        bed_must_close(&b);
        bed_must_open(&b);
        assert_int_equal(bed_stats(&b).recovered_entries, 0);
        assert_int_equal(bed_tables(&b), active ? 3 : 2);
        expect_count(&b, 12 + active);
        bed_release(&b);
    }
}

/* ---- What fails ---- */

static void begin(bed *b, unsigned entries)
{
    bed_on_simfs(b, 1);
    b->config.close_entries = 3;
    bed_must_open(b);
    for (unsigned i = 0; i < entries; i++)
        put_number(b, i, 20);
}

static void a_full_disk_makes_closing_no_failure(void **state)
{
    (void)state;
    bed b;
    begin(&b, 10);
    simfs_on_call(b.sim, no_tables, NULL);
    bed_must_close(&b);
    simfs_on_call(b.sim, NULL, NULL);
    bed_must_open(&b);
    assert_int_equal(bed_stats(&b).recovered_entries, 10);
    expect_count(&b, 10);
    bed_release(&b);
}

/* However little room there is, closing says what it says of a store that is not to be flushed. */
static void with_any_room_closing_says_the_same(void **state)
{
    (void)state;
    for (uint64_t room = 0; room < 80000; room += room < 4000 ? 500 : 4000) {
        int said[2];
        for (unsigned flushes = 0; flushes < 2; flushes++) {
            bed b;
            begin(&b, 10);
            b.db->store->close_entries = flushes ? 3 : 1000;
            simfs_capacity(b.sim, simfs_used(b.sim) + room);
            said[flushes] = firn_close(b.db, NULL);
            b.db = NULL;
            simfs_capacity(b.sim, UINT64_MAX);
            bed_must_open(&b);
            expect_count(&b, 10);
            bed_release(&b);
        }
        assert_int_equal(said[1], said[0]);
    }
}

/* What closing writes whether it flushes or not; a segment that is only made is not among it. */
static bool is_log_or_manifest(const char *name)
{
    return name &&
           ((strstr(name, ".wal") && !strstr(name, ".wal.new")) || strstr(name, ".manifest"));
}

typedef struct nth {
    uint64_t at, met;
    int error;
    bool forever, hit_table;
} nth;

static int fail_nth(void *ctx, unsigned call, uint64_t index, const char *name)
{
    nth *n = ctx;
    (void)index;
    if (!(call & SIMFS_CHANGING))
        return 0;
    uint64_t met = ++n->met;
    if (n->at == 0 || (met != n->at && !(n->forever && met > n->at)))
        return 0;
    n->hit_table |=
        !is_log_or_manifest(name) && call != SIMFS_UNLINK; /* of a spare: told as ever */
    return n->error;
}

/* Each change that closing makes fails, once and from then on. */
static void a_step_that_fails_loses_nothing(void **state)
{
    (void)state;
    const int errors[] = {EIO, ENOSPC};
    for (unsigned way = 0; way < 4; way++)
        for (uint64_t at = 0, changes = 0; at <= changes; at++) { /* at first none */
            bed b;
            nth n = {.at = at, .error = errors[way / 2], .forever = way % 2};
            begin(&b, 10);
            simfs_on_call(b.sim, fail_nth, &n);
            int rc = firn_close(b.db, NULL);
            b.db = NULL;
            simfs_on_call(b.sim, NULL, NULL);
            if (at == 0)
                changes = n.met;
            if (n.hit_table && !n.forever)
                assert_int_equal(rc, FIRN_OK);
            bed_must_open(&b);
            expect_count(&b, 10);
            bed_put(&b, "goes", "on");
            bed_must_close(&b);
            MUST(engine_check(b.config.fs, "store", NULL, NULL, NULL, error));
            bed_must_open(&b);
            expect_count(&b, 11);
            bed_release(&b);
        }
}

static void without_memory_it_is_closed_as_it_is(void **state)
{
    (void)state;
    for (uint64_t at = 1, count = 1; at <= count; at++) {
        bed b;
        begin(&b, 10);
        alloc_fail_at(at);
        (void)firn_close(b.db, NULL);
        count = alloc_count();
        alloc_fail_at(0);
        b.db = NULL;
        bed_must_open(&b);
        expect_count(&b, 10);
        bed_release(&b);
    }
}

static int count_tables_made(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)index;
    *(unsigned *)ctx += call == SIMFS_CREATE && name && strstr(name, ".tbl");
    return 0;
}

/* A log that is poisoned holds what may never have been acknowledged: nothing of it becomes a table. */
static void a_poisoned_store_is_not_flushed(void **state)
{
    (void)state;
    bed b;
    unsigned made = 0;
    begin(&b, 5);
    simfs_on_call(b.sim, no_tables, NULL);
    MUST(store_rotate(b.db->store, error));
    for (unsigned i = 5; i < 10; i++)
        put_number(&b, i, 20);
    simfs_on_call(b.sim, NULL, NULL);
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    assert_int_equal(firn_put(b.db, "key000000", 9, "", 0, NULL, NULL), FIRN_IO);
    simfs_heal(b.sim);
    simfs_on_call(b.sim, count_tables_made, &made);
    assert_int_equal(firn_close(b.db, NULL), FIRN_POISONED);
    simfs_on_call(b.sim, NULL, NULL);
    assert_int_equal(made, 0);
    b.db = NULL;
    bed_must_open(&b);
    expect_count(&b, 10);
    bed_release(&b);
}

/* ---- A crash at each step ---- */

/* marks[0]: entries acknowledged as durable; marks[1]: the store was closed. */
static int has_all(void *ctx, crash_state *state)
{
    bed *b = ctx;
    engine_config config = {.fs = state->fs, .inline_work = true, .close_entries = 3};
    firn *db = NULL;
    firn_error err = {0};
    unsigned count = 0;
    if (!state->marks[0])
        return 0;
    int rc = engine_open(b->folder, &b->options, &config, &db, &err);
    if (rc != FIRN_OK)
        return crash_wrong(state, "open: %s: %s", firn_status_name(rc), err.message);
    firn_stats stats = {.size = sizeof stats};
    rc = firn_get_stats(db, &stats, &err);
    if (rc == FIRN_OK)
        rc = count_all(db, &count, &err);
    int closed = firn_close(db, NULL);
    if (rc != FIRN_OK || closed != FIRN_OK)
        return crash_wrong(state, "read: %s: %s", firn_status_name(rc), err.message);
    if (count < state->marks[0])
        return crash_wrong(state, "%u entries of %llu", count, (unsigned long long)state->marks[0]);
    if (state->marks[1] && stats.recovered_entries > 3)
        return crash_wrong(state, "%llu replayed", (unsigned long long)stats.recovered_entries);
    return 0;
}

static void a_crash_at_each_step_of_closing_loses_nothing(void **state)
{
    (void)state;
    for (unsigned mapped = 0; mapped < 2; mapped++)
        for (unsigned sync = 0; sync < 2; sync++) {
            bed b;
            bed_on_simfs(&b, 1);
            simfs_mapping_ok(b.sim, mapped);
            b.config.close_entries = 3;
            b.options.durability = sync ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE;
            simfs_record(b.sim);
            bed_must_open(&b);
            for (unsigned life = 0; life < 3; life++) {
                for (unsigned i = 0; i < 5; i++) {
                    put_number(&b, life * 5 + i, 300);
                    if (sync)
                        simfs_mark(b.sim, 0, life * 5 + i + 1);
                }
                simfs_mark(b.sim, 1, 0);
                bed_must_close(&b);
                simfs_mark(b.sim, 0, life * 5 + 5);
                simfs_mark(b.sim, 1, 1);
                bed_must_open(&b);
                simfs_mark(b.sim, 1, 0);
            }
            bed_must_close(&b);
            simfs_record_stop(b.sim);
            crash_stats stats = {0};
            crash_options options = crash_options_default("engine.close", 1, has_all, &b);
            options.max_wrong = 3;
            uint64_t bad = crash_run(b.sim, &options, &stats);
            crash_print("engine.close", &stats, stdout);
            bed_release(&b);
            assert_int_equal(bad, 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_much_is_not_replayed),
        cmocka_unit_test(frozen_memtables_are_flushed_too),
        cmocka_unit_test(a_full_disk_makes_closing_no_failure),
        cmocka_unit_test(with_any_room_closing_says_the_same),
        cmocka_unit_test(a_step_that_fails_loses_nothing),
        cmocka_unit_test(without_memory_it_is_closed_as_it_is),
        cmocka_unit_test(a_poisoned_store_is_not_flushed),
        cmocka_unit_test(a_crash_at_each_step_of_closing_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
