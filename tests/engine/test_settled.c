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

#include "bed.h"
#include "jobs.h"

static void compact(bed *b)
{
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
}

static void settle(bed *b)
{
    MUST(firn_settle(b->db, error));
}

static uint64_t entries(bed *b)
{
    firn_stats s = bed_stats(b);
    uint64_t sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += s.level_entries[n];
    return sum;
}

static uint64_t bytes(bed *b)
{
    firn_stats s = bed_stats(b);
    uint64_t sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += s.level_bytes[n];
    return sum;
}

static void key_of(unsigned i, char key[32])
{
    snprintf(key, 32, "key%06u", i);
}

static void put(bed *b, unsigned i, const char *value)
{
    char key[32];
    key_of(i, key);
    bed_put(b, key, value);
}

static void drop(bed *b, unsigned i)
{
    char key[32];
    key_of(i, key);
    bed_delete(b, key);
}

static void open_in_memory(bed *b)
{
    bed_on_simfs(b, 1);
    bed_must_open(b);
}

/* ---- Snapshots ---- */

/* Behind it, the put and the tombstone of each key are there for the snapshot alone. */
static firn_snapshot *delete_under_a_snapshot(bed *b, unsigned count)
{
    firn_snapshot *s = NULL;
    for (unsigned i = 0; i < count; i++)
        put(b, i, "value");
    MUST(firn_snapshot_new(b->db, &s, error));
    for (unsigned i = 0; i < count; i++)
        drop(b, i);
    compact(b);
    assert_int_equal(entries(b), 2 * count);
    bed_expect(b, s, "key000000", "value");
    return s;
}

static void what_a_snapshot_kept_goes_behind_it(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 1000; count += 333) {
        bed b;
        open_in_memory(&b);
        firn_snapshot_free(delete_under_a_snapshot(&b, count));
        settle(&b);
        assert_int_equal(entries(&b), 0);
        assert_int_equal(bed_tables(&b), 0);
        bed_release(&b);
    }
}

static void what_a_snapshot_kept_goes_also_after_reopening(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    firn_snapshot_free(delete_under_a_snapshot(&b, 100));
    bed_must_close(&b);
    bed_must_open(&b);
    settle(&b);
    assert_int_equal(entries(&b), 0);
    bed_release(&b);
}

static void a_caller_settles_what_a_snapshot_kept(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    for (unsigned i = 0; i < 1000; i++)
        put(&b, i, "value");
    firn_snapshot *s = NULL;
    MUST(firn_snapshot_new(b.db, &s, error));
    for (unsigned i = 0; i < 3; i++) /* too little to be due by itself */
        put(&b, i * 300, "newer");
    compact(&b);
    assert_int_equal(entries(&b), 1003);
    uint64_t before = bed_stats(&b).bytes_compacted;
    compact(&b); /* the snapshot still needs them */
    assert_int_equal(bed_stats(&b).bytes_compacted, before);
    firn_snapshot_free(s);
    compact(&b);
    assert_int_equal(entries(&b), 1000);
    before = bed_stats(&b).bytes_compacted;
    compact(&b);
    assert_int_equal(bed_stats(&b).bytes_compacted, before);
    bed_release(&b);
}

/* With many snapshots, what is between two that stay goes when the last one between them goes. */
static void of_many_snapshots_each_keeps_what_it_sees(void **state)
{
    (void)state;
    enum { MANY = 3 * KEPT_MOST };
    bed b;
    open_in_memory(&b);
    firn_snapshot *s[MANY];
    char value[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(value, sizeof value, "%u", i);
        put(&b, 7, value);
        put(&b, 100 + i, value);
        MUST(firn_snapshot_new(b.db, &s[i], error));
    }
    compact(&b);
    assert_int_equal(entries(&b), 2 * MANY);
    for (unsigned i = 0; i < MANY; i++)
        if (i % 8 != 4 && i != MANY - 1)
            firn_snapshot_free(s[i]);
    compact(&b);
    for (unsigned i = 4; i < MANY; i += 8) {
        snprintf(value, sizeof value, "%u", i);
        bed_expect(&b, s[i], "key000007", value);
    }
    firn_snapshot_free(s[MANY - 1]);
    for (unsigned i = 4; i < MANY; i += 8)
        firn_snapshot_free(s[i]);
    settle(&b);
    compact(&b);
    assert_int_equal(entries(&b), MANY + 1);
    bed_release(&b);
}

/* Two snapshots: what only one of them needed goes, while the other one stays. */
static void a_snapshot_that_stays_keeps_only_its_own(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        bed b;
        open_in_memory(&b);
        firn_snapshot *s[2];
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = 0; i < 100; i++)
                put(&b, i, round == 0 ? "a" : round == 1 ? "b" : "c");
            if (round < 2)
                MUST(firn_snapshot_new(b.db, &s[round], error));
        }
        compact(&b);
        assert_int_equal(entries(&b), 300);
        firn_snapshot_free(s[first]);
        settle(&b);
        assert_int_equal(entries(&b), 200);
        bed_expect(&b, s[1 - first], "key000050", first ? "a" : "b");
        firn_snapshot_free(s[1 - first]);
        settle(&b);
        assert_int_equal(entries(&b), 100);
        bed_release(&b);
    }
}

/* One key in `stride` is deleted, each third of them under a snapshot more. */
static void delete_under_three(bed *b, unsigned total, unsigned stride, firn_snapshot *s[3])
{
    for (unsigned i = 0; i < total; i++)
        put(b, i, "value");
    for (unsigned k = 0; k < 3; k++) {
        MUST(firn_snapshot_new(b->db, &s[k], error));
        for (unsigned i = k * stride; i < total; i += 3 * stride)
            drop(b, i);
    }
    compact(b);
}

/* In whatever order they go, and however little it is beside what stays; in the next life likewise. */
static void behind_the_last_snapshot_nothing_stays(void **state)
{
    (void)state;
    enum { TOTAL = 600 };
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned stride = 1; stride <= 200; stride = stride * 3 + 3)
        for (size_t order = 0; order < 12; order++) {
            bed b;
            firn_snapshot *s[3];
            open_in_memory(&b);
            delete_under_three(&b, TOTAL, stride, s);
            uint64_t live = TOTAL - (TOTAL + stride - 1) / stride;
            assert_int_equal(entries(&b), TOTAL + (TOTAL - live));
            for (size_t k = 0; k < 3; k++) {
                firn_snapshot_free(s[orders[order % 6][k]]);
                if (order < 6 || k < 2)
                    settle(&b);
            }
            if (order >= 6) {
                bed_must_close(&b);
                bed_must_open(&b);
                settle(&b);
            }
            assert_int_equal(entries(&b), live);
            uint64_t before = bed_stats(&b).bytes_compacted;
            settle(&b);
            compact(&b);
            assert_int_equal(bed_stats(&b).bytes_compacted, before);
            bed_release(&b);
        }
}

/* Tombstones count with what they hid: one in thirteen keys is due while there are writers. */
static void a_tombstone_goes_with_what_it_was_kept_for(void **state)
{
    (void)state;
    bed b;
    firn_snapshot *s[3];
    open_in_memory(&b);
    delete_under_three(&b, 130, 13, s);
    assert_int_equal(entries(&b), 140);
    for (size_t k = 0; k < 3; k++)
        firn_snapshot_free(s[k]);
    put(&b, 0, "value");
    bed_flush(&b);
    assert_int_equal(entries(&b), 121);
    bed_release(&b);
}

/* The manifest says it to the next life, and to the one after that. */
static void what_is_kept_is_remembered(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    firn_snapshot *s = delete_under_a_snapshot(&b, 10);
    uint64_t seq = firn_snapshot_seq(s);
    firn_snapshot_free(s);
    for (unsigned life = 0; life < 3; life++) {
        mutex_lock(&b.db->state_mu);
        b.db->compaction_failed = true; /* nothing is done about it */
        mutex_unlock(&b.db->state_mu);
        view *v = store_view(b.db);
        const level *l = &v->version->levels[1];
        assert_int_equal(l->count, 1);
        const table *t = l->tables[0];
        assert_true(t->kept_known && t->kept_count == 1);
        assert_int_equal(t->kept[0].from, seq);
        assert_int_equal(t->kept[0].to, seq);
        assert_int_equal(t->kept[0].count, 10);
        view_unref(v);
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

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
    uint64_t share = b.db->mem_share;
    for (unsigned worth = 0; worth < 2; worth++) {
        mutex_lock(&b.db->state_mu);
        b.db->mem_share = worth ? share : share * 1024;
        store_want_idle_rotation(b.db);
        mutex_unlock(&b.db->state_mu);
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
    mutex_lock(&b.db->state_mu);
    const mem *m = b.db->active;
    b.db->mem_share = 1 + mem_index_bytes(m) + wal_segment_used(m->segment);
    store_want_idle_rotation(b.db);
    mutex_unlock(&b.db->state_mu);
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
    mutex_lock(&b.db->state_mu);
    b.db->mem_share = COUNT * sizeof value; /* the tombstones take a thousandth of it */
    store_want_idle_rotation(b.db);
    mutex_unlock(&b.db->state_mu);
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
    assert_true(tables <= bytes(&b) / (b.db->options.table_bytes / 4) + 12);
    assert_true(s.bytes_compacted < 12 * s.bytes_flushed);
    compact(&b);
    assert_true(bed_tables(&b) <= bytes(&b) / (b.db->options.table_bytes / 2) + 1);
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
    assert_true(bed_tables(&b) <= bytes(&b) / (b.db->options.table_bytes / 4) + 8);
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
    view *v = store_view(b.db);
    unsigned looked_at = 0;
    for (unsigned n = 1; n + 1 < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->version->levels[n].count; i++) {
            const sst_properties *p = &v->version->levels[n].tables[i]->properties;
            assert_true(
                schedule_overlap_bytes(&v->version->levels[n + 1], p->key_min, p->key_max) <=
                SCHEDULE_OVERLAP * b.db->rules.table_bytes + 2 * b.db->rules.table_bytes);
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
    view *v = store_view(b.db);
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
    MUST(jobs_ask(&b.db->main, &q, &j, error));
    thread caller = {0};
    assert_int_equal(thread_start(&caller, "caller", compact_all, &b), 0);
    for (unsigned i = 0; i < 10; i++) {
        put(&b, i * 100, "new");
        bed_flush(&b);
    }
    for (bool waits = false; !waits; usleep(1000)) {
        mutex_lock(&b.db->jobs_mu);
        for (const job *other = b.db->jobs; other; other = other->next)
            waits = waits || other->waits;
        mutex_unlock(&b.db->jobs_mu);
    }
    assert_true(bed_stats(&b).level_tables[0] >= 10);
    MUST(job_run(&j, error));
    jobs_end(b.db, &j);
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

typedef struct watch {
    bed *b;
    size_t most;  /* parts of a job */
    size_t alone; /* likewise, of one that finds nothing in its target */
} watch;

static int note_parts(void *ctx, unsigned call, uint64_t index, const char *name)
{
    watch *w = ctx;
    (void)index;
    firn *db = w->b->db;
    if (call != SIMFS_CREATE || !strstr(name, ".tbl"))
        return 0;
    mutex_lock(&db->jobs_mu);
    const job *j = db->jobs;
    if (j && j->part_count > w->most)
        w->most = j->part_count;
    if (j && j->what.level == 0 && j->what.counts[1] == 0 && j->part_count > w->alone)
        w->alone = j->part_count;
    mutex_unlock(&db->jobs_mu);
    return 0;
}

/* Where two workers could do it, a job is cut into parts; together they are what one would have made. */
static void the_parts_of_a_job_are_the_whole(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    b.db->compactor_count = 2;
    watch w = {.b = &b};
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
        cmocka_unit_test(what_a_snapshot_kept_goes_behind_it),
        cmocka_unit_test(what_a_snapshot_kept_goes_also_after_reopening),
        cmocka_unit_test(a_caller_settles_what_a_snapshot_kept),
        cmocka_unit_test(of_many_snapshots_each_keeps_what_it_sees),
        cmocka_unit_test(a_snapshot_that_stays_keeps_only_its_own),
        cmocka_unit_test(behind_the_last_snapshot_nothing_stays),
        cmocka_unit_test(a_tombstone_goes_with_what_it_was_kept_for),
        cmocka_unit_test(what_is_kept_is_remembered),
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
