/* What is left in the tables when background work is done: nothing that no reader and no snapshot can see, few tables, and no
 * more work. Counted in entries, tables and bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/thread.h>

#include "jobs.h"
#include "settled.h"

/* ---- Tombstones ---- */

static void tombstones_of_nothing_go(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 2000; count += 1999)
        for (unsigned way = 0; way < 3; way++) {
            bed b;
            open_in_memory(&b);
            for (unsigned i = 0; i < count; i++)
                put(&b, i, "value");
            if (way == 1)
                bed_flush(&b);
            for (unsigned i = 0; i < count; i++)
                drop(&b, i);
            if (way == 2) { /* by itself */
                bed_flush(&b);
                settle(&b);
            } else {
                compact(&b);
            }
            assert_int_equal(entries(&b), 0);
            assert_int_equal(bed_tables(&b), 0);
            bed_release(&b);
        }
}

static void the_space_of_what_was_deleted_comes_back_by_itself(void **state)
{
    (void)state;
    char value[200];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    bed b;
    bed_on_simfs(&b, 1);
    b.options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(&b);
    for (unsigned i = 0; i < 5000; i++)
        put(&b, i, value);
    settle(&b);
    uint64_t full = bytes(&b);
    assert_true(full > 5000 * 200 && bed_stats(&b).level_tables[2] > 0);
    for (unsigned i = 0; i < 5000; i++)
        drop(&b, i);
    settle(&b);
    assert_true(bytes(&b) < full / 10);
    for (unsigned n = 1; n < FIRN_LEVELS; n++)
        assert_true(bed_stats(&b).level_deletes[n] <= bed_stats(&b).level_entries[n] / 4);
    bed_release(&b);
}

/* Large values of one kind of keys, small ones of another, in all levels. A few deletes beside many puts: the space of what they hid
 * comes back in a calm, and then there is no more work. */
static void the_space_of_few_large_values_comes_back_in_a_calm(void **state)
{
    (void)state;
    enum { LARGE = 100, SMALL = 3000, LARGE_BYTES = 10000 };
    static char value[LARGE_BYTES];
    memset(value, 'v', sizeof value - 1);
    for (unsigned way = 0; way < 2; way++) {
        bed b;
        bed_on_simfs(&b, 1);
        b.options.compression = FIRN_COMPRESSION_NONE;
        bed_must_open(&b);
        for (unsigned i = 0; i < LARGE; i++)
            put(&b, way == 0 ? i : i * (SMALL / LARGE), value); /* apart, or among them */
        for (unsigned i = 0; i < SMALL; i++)
            if (way == 0 || i % (SMALL / LARGE))
                put(&b, way == 0 ? LARGE + i : i, "small");
        settle(&b);
        uint64_t full = bytes(&b);
        assert_true(full > LARGE * (LARGE_BYTES - 1));
        for (unsigned i = 0; i < LARGE; i++)
            drop(&b, way == 0 ? i : i * (SMALL / LARGE));
        for (unsigned i = 0; i < SMALL; i++)
            if (way == 0 || i % (SMALL / LARGE))
                put(&b, way == 0 ? LARGE + i : i, "newer");
        bed_flush(&b);
        settle(&b);
        assert_true(bytes(&b) < full / 4);
        uint64_t before = bed_stats(&b).bytes_compacted;
        settle(&b);
        assert_int_equal(bed_stats(&b).bytes_compacted, before);
        bed_release(&b);
    }
}

/* What deletes hide goes although they lie in memory. What is not worth it, or was not asked for, stays there. */
static void an_idle_store_flushes_its_memtable(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    for (unsigned i = 0; i < 20; i++)
        put(&b, i, "value");
    compact(&b);
    for (unsigned i = 0; i < 20; i++)
        drop(&b, i);
    settle(&b);
    assert_int_equal(bed_stats(&b).memtable_entries, 20);
    uint64_t share = b.db->store->mem_share;
    for (unsigned worth = 0; worth < 2; worth++) {
        mutex_lock(&b.db->store->state_mu);
        b.db->store->mem_share = worth ? share / 4 : share * 1024;
        store_want_idle_rotation(b.db->store);
        mutex_unlock(&b.db->store->state_mu);
        settle(&b);
        assert_int_equal(bed_stats(&b).memtable_entries, worth ? 0 : 20);
    }
    assert_int_equal(entries(&b), 0);
    bed_release(&b);
}

/* It asks once. What fails for want of space is asked for again as it was. */
static void an_idle_store_is_flushed_once_there_is_room(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    put(&b, 0, "value");
    mutex_lock(&b.db->store->state_mu);
    const mem *m = b.db->store->active;
    b.db->store->mem_share = 1 + mem_index_bytes(m) + wal_segment_used(m->segment);
    store_want_idle_rotation(b.db->store);
    mutex_unlock(&b.db->store->state_mu);
    simfs_fail(b.sim, (simfs_fault){SIMFS_CHANGING, 1, ENOSPC, .forever = true});
    assert_int_equal(firn_settle(b.db, NULL), FIRN_NO_SPACE);
    simfs_heal(b.sim);
    settle(&b);
    assert_int_equal(bed_stats(&b).memtable_entries, 0);
    bed_release(&b);
}

/* Few tombstones, and small ones, hide much when the values were large. */
static void an_idle_store_flushes_tombstones_of_large_values(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    static char value[40000];
    memset(value, 'v', sizeof value - 1);
    bed b;
    bed_on_simfs(&b, 1);
    b.options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(&b);
    for (unsigned i = 0; i < COUNT; i++)
        put(&b, i, value);
    bed_flush(&b);
    settle(&b);
    assert_true(bytes(&b) > COUNT * (sizeof value - 1));
    for (unsigned i = 0; i < COUNT; i++)
        drop(&b, i);
    mutex_lock(&b.db->store->state_mu);
    b.db->store->mem_share = COUNT * sizeof value; /* the tombstones take a thousandth of it */
    store_want_idle_rotation(b.db->store);
    mutex_unlock(&b.db->store->state_mu);
    settle(&b);
    assert_int_equal(bed_stats(&b).memtable_entries, 0);
    assert_int_equal(entries(&b), 0);
    assert_int_equal(bytes(&b), 0);
    bed_release(&b);
}

/* ---- Threads: no call, and no write ---- */

static void wait_until_empty(bed *b)
{
    while (entries(b) > 0)
        usleep(1000);
    while (bed_tables(b) > 0)
        usleep(1000);
}

static void a_released_snapshot_is_enough_for_it(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    firn_snapshot *s = delete_under_a_snapshot(&b, 100);
    settle(&b);
    assert_int_equal(entries(&b), 200);
    firn_snapshot_free(s);
    wait_until_empty(&b);
    bed_release(&b);
}

static void a_calm_is_enough_for_tombstones(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    for (unsigned i = 0; i < 2000; i++)
        put(&b, i, "value");
    bed_flush(&b);
    for (unsigned i = 0; i < 2000; i++)
        drop(&b, i);
    bed_flush(&b);
    wait_until_empty(&b);
    bed_release(&b);
}

/* ---- Small tables ---- */

static void a_flush_behind_each_key_leaves_few_tables(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    for (unsigned i = 0; i < 2000; i++) {
        put(&b, i, "value");
        bed_flush(&b);
        assert_true(bed_stats(&b).level_tables[0] <= L0_MERGE_AT);
    }
    settle(&b);
    firn_stats s = bed_stats(&b);
    uint64_t tables = bed_tables(&b);
    assert_true(tables <= bytes(&b) / (b.db->store->options.table_bytes / 4) + 12);
    assert_true(s.bytes_compacted < 12 * s.bytes_flushed);
    compact(&b);
    assert_true(bed_tables(&b) <= bytes(&b) / (b.db->store->options.table_bytes / 2) + 1);
    uint64_t before = bed_stats(&b).bytes_compacted;
    compact(&b);
    assert_int_equal(bed_stats(&b).bytes_compacted, before);
    assert_int_equal(entries(&b), 2000);
    MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
    bed_release(&b);
}

/* ---- Large values that compress to little ---- */

enum { PACKED = 48, PACKED_BYTES_MOST = 200000, PACKED_TABLES = 400 };

/* So many tables are enough. Beyond that none can be created, and settle tells it instead of going on for ever. */
static int limit_tables(void *ctx, unsigned call, uint64_t index, const char *name)
{
    unsigned *made = ctx;
    (void)index;
    if (call != SIMFS_CREATE || !strstr(name, ".tbl"))
        return 0;
    return ++*made > PACKED_TABLES ? EIO : 0;
}

static void check_packed(size_t value_bytes, uint64_t table_bytes)
{
    static char value[PACKED_BYTES_MOST];
    memset(value, 0, sizeof value);
    memset(value, 'v', value_bytes);
    bed b;
    bed_on_simfs(&b, 1);
    b.options.segment_bytes = 0;
    b.options.table_bytes = table_bytes;
    b.options.compression = FIRN_COMPRESSION_LZ4;
    bed_must_open(&b);
    unsigned made = 0;
    simfs_on_call(b.sim, limit_tables, &made);
    for (unsigned i = 0; i < PACKED; i++) {
        put(&b, i * 7 % PACKED, value);
        if (i % 4 == 3)
            bed_flush(&b);
    }
    settle(&b);
    firn_stats s = bed_stats(&b);
    assert_true(s.bytes_compacted < 12 * s.bytes_flushed);
    assert_true(bed_tables(&b) <= bytes(&b) / (b.db->store->options.table_bytes / 4) + 8);
    settle(&b);
    assert_int_equal(bed_stats(&b).bytes_compacted, s.bytes_compacted);
    simfs_on_call(b.sim, NULL, NULL);
    assert_int_equal(entries(&b), PACKED);
    for (unsigned i = 0; i < PACKED; i++) {
        char key[32];
        key_of(i, key);
        bed_expect(&b, NULL, key, value);
    }
    MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
    bed_release(&b);
}

/* A table is full by what is in its file. Full by raw bytes, each value would be a small table for ever, and small
 * tables are merged. */
static void large_values_that_pack_small_come_to_rest(void **state)
{
    (void)state;
    check_packed(40000, 32 << 10); /* in a block that is still open */
    check_packed(PACKED_BYTES_MOST - 1, 64 << 10);
}

/* ---- Bounds of a job ---- */

static void no_table_overlaps_too_much_of_the_next_level(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    b.options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(&b);
    char value[200];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (unsigned i = 0; i < 5000; i++)
        put(&b, i, value);
    settle(&b);
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < 10; i++) /* far apart */
            put(&b, (i * 500 + round * 13) % 5000, "new");
        bed_flush(&b);
    }
    settle(&b);
    view *v = store_view(b.db->store);
    unsigned looked_at = 0;
    for (unsigned n = 1; n + 1 < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->version->levels[n].count; i++) {
            const sst_properties *p = &v->version->levels[n].tables[i]->properties;
            assert_true(
                schedule_overlap_bytes(&v->version->levels[n + 1], p->key_min, p->key_max) <=
                SCHEDULE_OVERLAP * b.db->store->rules.table_bytes +
                    2 * b.db->store->rules.table_bytes);
            looked_at += v->version->levels[n + 1].count > 0;
        }
    assert_true(looked_at > 1);
    view_unref(v);
    bed_release(&b);
}

/* What an earlier version of firn wrote does not say what it keeps: it is written again once, when a caller asks. */
static void what_does_not_say_is_settled_once(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    for (unsigned i = 0; i < 100; i++)
        put(&b, i, "value");
    compact(&b);
    view *v = store_view(b.db->store);
    for (size_t i = 0; i < v->version->levels[1].count; i++)
        v->version->levels[1].tables[i]->kept_known = false;
    view_unref(v);
    uint64_t before = bed_stats(&b).bytes_compacted;
    settle(&b);
    assert_int_equal(bed_stats(&b).bytes_compacted, before);
    compact(&b);
    uint64_t once = bed_stats(&b).bytes_compacted;
    assert_true(once > before);
    compact(&b);
    assert_int_equal(bed_stats(&b).bytes_compacted, once);
    assert_int_equal(entries(&b), 100);
    bed_release(&b);
}

/* ---- Claims ---- */

static void compact_all(void *ctx)
{
    bed *b = ctx;
    compact(b);
}

/* While a job has everything to itself, writers and flushes go on, and a caller waits for it to end. */
static void a_flush_waits_for_no_claim_and_a_caller_does(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    put(&b, 0, "old");
    put(&b, 999, "old");
    bed_flush(&b);
    schedule_request q = {.seq = FIRN_MAX_SEQ};
    job j;
    MUST(jobs_ask(b.db, &q, &j, error));
    thread caller = {0};
    assert_int_equal(thread_start(&caller, "caller", compact_all, &b), 0);
    for (unsigned i = 0; i < 10; i++) {
        put(&b, i * 100, "new");
        bed_flush(&b);
    }
    for (bool waits = false; !waits; usleep(1000)) {
        mutex_lock(&b.db->store->jobs_mu);
        for (const job *other = b.db->store->jobs; other; other = other->next)
            waits = waits || other->waits;
        mutex_unlock(&b.db->store->jobs_mu);
    }
    assert_true(bed_stats(&b).level_tables[0] >= 10);
    MUST(job_run(&j, error));
    jobs_end(b.db->store, &j);
    thread_join(&caller);
    settle(&b);
    assert_int_equal(bed_stats(&b).level_tables[0], 0);
    bed_expect(&b, NULL, "key000100", "new");
    assert_int_equal(entries(&b), 11);
    bed_release(&b);
}

/* Two callers that wait for the same keys do not wait for each other. */
static void callers_that_want_the_same_take_turns(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    for (unsigned i = 0; i < 500; i++)
        put(&b, i, "value");
    bed_flush(&b);
    thread callers[4] = {{0}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(thread_start(&callers[i], "caller", compact_all, &b), 0);
    for (unsigned i = 0; i < 500; i++)
        put(&b, i, "newer");
    for (size_t i = 0; i < 4; i++)
        thread_join(&callers[i]);
    compact(&b);
    assert_int_equal(entries(&b), 500);
    bed_release(&b);
}

/* ---- Parts ---- */

typedef struct edit_watch {
    bed *b;
    size_t most;  /* parts of a job */
    size_t alone; /* likewise, of one that finds nothing in its target */
} edit_watch;

static int note_parts(void *ctx, unsigned call, uint64_t index, const char *name)
{
    edit_watch *w = ctx;
    (void)index;
    firn *db = w->b->db;
    if (call != SIMFS_CREATE || !strstr(name, ".tbl"))
        return 0;
    mutex_lock(&db->store->jobs_mu);
    const job *j = db->store->jobs;
    if (j && j->part_count > w->most)
        w->most = j->part_count;
    if (j && j->what.level == 0 && j->what.counts[1] == 0 && j->part_count > w->alone)
        w->alone = j->part_count;
    mutex_unlock(&db->store->jobs_mu);
    return 0;
}

/* Where two workers could do it, a job is cut into parts; together they are what one would have made. */
static void the_parts_of_a_job_are_the_whole(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    b.db->store->compactor_count = 2;
    edit_watch w = {.b = &b};
    simfs_on_call(b.sim, note_parts, &w);
    for (unsigned i = 0; i < 3000; i++) /* nothing lies in the target: the largest table is cut */
        put(&b, i, "the first one, and twice as long as the others will be");
    bed_flush(&b);
    put(&b, 0, "an earlier one");
    put(&b, 2999, "an earlier one");
    compact(&b);
    assert_true(w.alone > 1);
    w.most = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 3000; i++)
            put(&b, i * 7 % 3000, round == 2 ? "the last one" : "an earlier one, which is longer");
        compact(&b);
        assert_int_equal(entries(&b), 3000);
    }
    assert_true(w.most > 1);
    simfs_on_call(b.sim, NULL, NULL);
    for (unsigned i = 0; i < 3000; i++) {
        char key[32];
        key_of(i, key);
        bed_expect(&b, NULL, key, "the last one");
    }
    bed_must_close(&b);
    MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
    bed_must_open(&b);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tombstones_of_nothing_go),
        cmocka_unit_test(the_space_of_what_was_deleted_comes_back_by_itself),
        cmocka_unit_test(the_space_of_few_large_values_comes_back_in_a_calm),
        cmocka_unit_test(an_idle_store_flushes_its_memtable),
        cmocka_unit_test(an_idle_store_is_flushed_once_there_is_room),
        cmocka_unit_test(an_idle_store_flushes_tombstones_of_large_values),
        cmocka_unit_test(a_released_snapshot_is_enough_for_it),
        cmocka_unit_test(a_calm_is_enough_for_tombstones),
        cmocka_unit_test(a_flush_behind_each_key_leaves_few_tables),
        cmocka_unit_test(large_values_that_pack_small_come_to_rest),
        cmocka_unit_test(no_table_overlaps_too_much_of_the_next_level),
        cmocka_unit_test(what_does_not_say_is_settled_once),
        cmocka_unit_test(a_flush_waits_for_no_claim_and_a_caller_does),
        cmocka_unit_test(callers_that_want_the_same_take_turns),
        cmocka_unit_test(the_parts_of_a_job_are_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
