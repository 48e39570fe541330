/* Compaction: what it throws away and what it must not, and which files go when. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "at.h"
#include "bed.h"
#include <store/store.h>

static int setup(void **state)
{
    bed *b = calloc(1, sizeof *b);
    assert_non_null(b);
    bed_on_simfs(b, 1);
    bed_must_open(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bed_release(*state);
    free(*state);
    return 0;
}

static void compact(bed *b)
{
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
}

static void put_numbered(bed *b, unsigned i, size_t size, char fill)
{
    char key[32], value[2048];
    assert_true(size < sizeof value);
    snprintf(key, sizeof key, "key%06u", i);
    memset(value, fill, size);
    value[size] = 0;
    bed_put(b, key, value);
}

static uint64_t entries(bed *b)
{
    firn_stats s = bed_stats(b);
    uint64_t sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += s.level_entries[n];
    return sum;
}

static int count_table(void *ctx, const char *path, uint64_t size)
{
    (void)size;
    *(size_t *)ctx += strstr(path, ".tbl") != NULL;
    return 0;
}

static size_t table_files(bed *b)
{
    size_t count = 0;
    simfs_each(b->sim, "", count_table, &count);
    return count;
}

/* V2: below level 0, tables are in order and share no key; level 0 is newest first. */
static void levels_are_in_order(bed *b)
{
    view *v = store_view(b->db->store);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &v->version->levels[n];
        uint64_t bytes = 0;
        for (size_t i = 0; i < l->count; i++) {
            const sst_properties *p = &l->tables[i]->properties;
            bytes += p->file_bytes;
            assert_true(slice_compare(p->key_min, p->key_max) <= 0);
            if (i == 0)
                continue;
            const sst_properties *before = &l->tables[i - 1]->properties;
            if (n == 0)
                assert_true(before->seq_max > p->seq_max);
            else
                assert_true(slice_compare(before->key_max, p->key_min) < 0);
        }
        assert_int_equal(bytes, l->bytes);
    }
    view_unref(v);
}

static void levels_keep_their_order_and_their_sizes(void **state)
{
    bed *b = *state;
    rng r = rng_init(7);
    bed_must_close(b);
    b->options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(b);
    for (unsigned i = 0; i < 12000; i++) {
        put_numbered(b, (unsigned)rng_below(&r, 6000), 20 + rng_below(&r, 150), 'v');
        if (i % 100 == 0)
            levels_are_in_order(b);
    }
    MUST(firn_settle(b->db, error));
    levels_are_in_order(b);
    view *v = store_view(b->db->store);
    schedule_state all = {.version = v->version, .whole = true, .calm = true};
    assert_false(schedule_due(&b->db->store->rules, &all));
    view_unref(v);
    firn_stats s = bed_stats(b);
    assert_true(s.compactions > 5 && s.flushes > 20);
    assert_true(s.level_tables[0] < L0_COMPACT_AT);
    assert_true(s.level_tables[1] > 1 && s.level_tables[2] > 1); /* it reached the second level */
    MUST(engine_check(b->config.fs, b->folder, NULL, NULL, NULL, error));
}

/* Nothing lies below and nothing was deleted: only that they share keys keeps them from moving down as they are. */
static void tables_that_share_keys_are_merged_on_the_way_down(void **state)
{
    bed *b = *state;
    for (unsigned t = 0; t < 3; t++) {
        for (unsigned i = 0; i < 20; i++)
            put_numbered(b, t * 10 + i, 50, (char)('a' + t));
        bed_flush(b);
    }
    compact(b);
    levels_are_in_order(b);
    assert_int_equal(bed_stats(b).level_tables[0], 0);
    assert_int_equal(entries(b), 40);
    bed_must_close(b);
    bed_must_open(b);
    levels_are_in_order(b);
    for (unsigned i = 0; i < 40; i++) {
        char key[32], value[64];
        snprintf(key, sizeof key, "key%06u", i);
        memset(value, 'a' + (i < 10 ? 0 : i < 20 ? 1 : 2), 50);
        value[50] = 0;
        bed_expect(b, NULL, key, value);
    }
}

static void versions_of_a_key_never_part_over_two_tables(void **state)
{
    bed *b = *state;
    firn_snapshot *s[40];
    for (unsigned i = 0; i < 40; i++) {
        put_numbered(b, 5, 1000, (char)('a' + i % 26));
        put_numbered(b, i, 500, 'x');
        MUST(firn_snapshot_new(b->db, &s[i], error));
    }
    compact(b);
    levels_are_in_order(b); /* 40 KB of versions of one key, tables of 4 KB */
    for (unsigned i = 0; i < 40; i++) {
        firn_value v = {0};
        MUST(firn_get(b->db, "key000005", 9, AT(s[i]), &v, error));
        assert_int_equal(v.data[0], i == 5 ? 'x' : 'a' + i % 26);
        firn_value_release(&v);
        firn_snapshot_free(s[i]);
    }
}

static void tombstones_vanish_at_the_bottom(void **state)
{
    bed *b = *state;
    for (unsigned i = 0; i < 200; i++)
        put_numbered(b, i, 100, 'v');
    compact(b);
    assert_int_equal(entries(b), 200);
    for (unsigned i = 0; i < 200; i++) {
        char key[32];
        snprintf(key, sizeof key, "key%06u", i);
        bed_delete(b, key);
    }
    compact(b);
    assert_int_equal(entries(b), 0);
    assert_int_equal(bed_tables(b), 0);
    assert_int_equal(table_files(b), 0);
}

static void a_tombstone_stays_while_something_lies_below_it(void **state)
{
    bed *b = *state;
    bed_must_close(b);
    b->options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(b);
    for (unsigned i = 0; i < 4000; i++)
        put_numbered(b, i, 100, 'v'); /* down to level 2, and level 1 is in use */
    MUST(firn_settle(b->db, error));
    firn_stats before = bed_stats(b);
    assert_true(before.level_tables[1] > 0 && before.level_tables[2] > 0);
    for (unsigned i = 0; i < 4000; i += 7) {
        char key[32];
        snprintf(key, sizeof key, "key%06u", i);
        bed_delete(b, key);
    }
    bed_flush(b);
    for (unsigned i = 0; i < 4000; i++) {
        char key[32];
        firn_value v = {0};
        snprintf(key, sizeof key, "key%06u", i);
        int rc = firn_get(b->db, key, strlen(key), NULL, &v, NULL);
        assert_int_equal(rc, i % 7 ? FIRN_OK : FIRN_NOT_FOUND);
        firn_value_release(&v);
    }
    compact(b);
    assert_int_equal(entries(b), 4000 - 572);
}

static void overwritten_versions_go_and_snapshots_keep_theirs(void **state)
{
    bed *b = *state;
    firn_snapshot *s = NULL;
    bed_put(b, "k", "one");
    bed_put(b, "gone", "was there");
    MUST(firn_snapshot_new(b->db, &s, error));
    bed_put(b, "k", "two");
    bed_put(b, "k", "three");
    bed_delete(b, "gone");
    compact(b);
    /* Of k the newest and the snapshot's; of "gone" the value and the tombstone that hides it. */
    assert_int_equal(entries(b), 4);
    bed_expect(b, s, "k", "one");
    bed_expect(b, s, "gone", "was there");
    bed_expect(b, NULL, "k", "three");
    bed_expect(b, NULL, "gone", NULL);
    firn_snapshot_free(s);
    bed_put(b, "k", "four");
    bed_put(b, "gone", "again");
    compact(b);
    assert_int_equal(entries(b), 2);
    bed_expect(b, NULL, "k", "four");
    bed_expect(b, NULL, "gone", "again");
}

static void the_space_of_deleted_data_comes_back(void **state)
{
    bed *b = *state;
    bed_must_close(b);
    b->options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(b);
    for (unsigned i = 0; i < 2000; i++)
        put_numbered(b, i, 500, 'v');
    MUST(firn_settle(b->db, error));
    const uint64_t reserve = 64 << 10; /* the log's, whatever the data */
    uint64_t full = simfs_used(b->sim) - reserve;
    assert_true(full > 500000);
    for (unsigned i = 0; i < 2000; i++) {
        char key[32];
        snprintf(key, sizeof key, "key%06u", i);
        bed_delete(b, key);
    }
    compact(b);
    assert_true(simfs_used(b->sim) - reserve < full / 8);
    firn_stats s = bed_stats(b);
    assert_true(s.log_bytes <= 5 * b->options.segment_bytes);
}

static void the_log_stays_bounded_however_much_is_written(void **state)
{
    bed *b = *state;
    for (unsigned i = 0; i < 3000; i++) {
        put_numbered(b, i % 50, 300, 'v');
        if (i % 50 == 0)
            assert_true(bed_stats(b).log_bytes <= 6 * b->options.segment_bytes);
    }
}

static int count_log_bytes(void *ctx, const char *path, uint64_t size)
{
    if (strstr(path, ".wal")) /* also under a temporary name */
        *(uint64_t *)ctx += size;
    return 0;
}

/* Readers that stay keep what they look at, each at most four segments. All others are used again and again, and no
 * new ones are made. */
static void the_log_is_used_again_and_stays_bounded_while_readers_stay(void **state)
{
    bed *b = *state;
    enum { STAYING = 5 };
    firn_iter *its[STAYING] = {0};
    firn_value value = {0};
    unsigned i = 0;
    for (unsigned k = 0; k < STAYING; k++) {
        for (unsigned end = i + 200; i < end; i++) /* several segments */
            put_numbered(b, i % 50, 300, 'v');
        MUST(firn_iter_new(b->db, NULL, &its[k], error));
        MUST(firn_iter_first(its[k]));
    }
    MUST(firn_get(b->db, "key000001", 9, NULL, &value, error));
    for (unsigned end = i + 400; i < end; i++) /* until what they hold is given up */
        put_numbered(b, i % 50, 300, 'w');
    uint64_t made = simfs_calls(b->sim, SIMFS_ALLOCATE), before = bed_stats(b).log_last_segment;
    for (unsigned end = i + 3000; i < end; i++) {
        uint64_t bytes = 0;
        put_numbered(b, i % 50, 300, 'x');
        if (i % 50)
            continue;
        simfs_each(b->sim, "", count_log_bytes, &bytes);
        assert_true(bytes <= 6 * b->options.segment_bytes);
        assert_true(bed_stats(b).log_bytes <= 6 * b->options.segment_bytes);
    }
    assert_true(bed_stats(b).log_last_segment - before > 50);
    assert_int_equal(simfs_calls(b->sim, SIMFS_ALLOCATE), made);
    assert_int_equal(firn_iter_status(its[0], NULL), FIRN_OK);
    for (unsigned k = 0; k < STAYING; k++)
        firn_iter_free(its[k]);
    firn_value_release(&value);
    made = simfs_calls(b->sim, SIMFS_ALLOCATE);
    for (unsigned end = i + 300; i < end; i++)
        put_numbered(b, i % 50, 300, 'y');
    assert_int_equal(simfs_calls(b->sim, SIMFS_ALLOCATE), made);
}

static void a_range_is_compacted_and_the_rest_is_left(void **state)
{
    bed *b = *state;
    for (unsigned i = 0; i < 500; i++)
        put_numbered(b, i, 200, 'v');
    compact(b);
    for (unsigned i = 0; i < 500; i += 50)
        put_numbered(b, i, 200, 'w');
    MUST(firn_compact(b->db, "key000100", 9, "key000200", 9, error));
    levels_are_in_order(b);
    MUST(firn_compact(b->db, "x", 1, "y", 1, error));       /* nothing there */
    MUST(firn_compact(b->db, "key3", 4, "key1", 4, error)); /* the wrong way round */
    for (unsigned i = 0; i < 500; i++) {
        char key[32];
        firn_value v = {0};
        snprintf(key, sizeof key, "key%06u", i);
        MUST(firn_get(b->db, key, strlen(key), NULL, &v, error));
        assert_int_equal(v.data[0], i % 50 ? 'v' : 'w');
        firn_value_release(&v);
    }
    MUST(engine_check(b->config.fs, b->folder, NULL, NULL, NULL, error));
}

/* ---- files ---- */

static void a_table_goes_with_the_last_who_reads_it(void **state)
{
    bed *b = *state;
    firn_value held = {0};
    firn_iter *it = NULL;
    bed_put(b, "k", "old");
    compact(b);
    assert_int_equal(table_files(b), 1);
    MUST(firn_get(b->db, "k", 1, NULL, &held, error));
    MUST(firn_iter_new(b->db, NULL, &it, error));
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    bed_put(b, "k", "new");
    compact(b);
    assert_int_equal(table_files(b), 2); /* the new one, and the old one that is being read */
    assert_int_equal(bed_tables(b), 1);
    assert_memory_equal(held.data, "old", 3);
    firn_value_release(&held);
    assert_int_equal(table_files(b), 2);
    assert_true(slice_equal(firn_iter_value(it), slice_of_str("old")));
    firn_iter_free(it);
    assert_int_equal(table_files(b), 1);
}

static void leftovers_of_a_crash_are_removed_on_open(void **state)
{
    bed *b = *state;
    static const char *const leftovers[] = {
        "store/000000000999.tbl", "store/000000000998.manifest.new", "store/000000000997.wal.new"};
    bed_put(b, "k", "v");
    compact(b);
    bed_must_close(b);
    for (size_t i = 0; i < 3; i++)
        simfs_write_file(b->sim, leftovers[i], "garbage", 7);
    simfs_write_file(b->sim, "store/README", "mine", 4);
    bed_must_open(b);
    for (size_t i = 0; i < 3; i++)
        assert_false(simfs_exists(b->sim, leftovers[i]));
    assert_true(simfs_exists(b->sim, "store/README"));
    assert_int_equal(table_files(b), 1);
    bed_expect(b, NULL, "k", "v");
    bed_put(b, "k", "w");
    compact(b); /* no number of a leftover is used twice */
    bed_expect(b, NULL, "k", "w");
}

static void a_read_only_opener_removes_no_leftovers(void **state)
{
    bed *b = *state;
    bed_put(b, "k", "v");
    bed_must_close(b);
    simfs_write_file(b->sim, "store/000000000999.tbl", "garbage", 7);
    b->options.read_only = true;
    bed_must_open(b);
    bed_expect(b, NULL, "k", "v");
    assert_true(simfs_exists(b->sim, "store/000000000999.tbl"));
}

static void closing_flushes_nothing_and_loses_nothing(void **state)
{
    bed *b = *state;
    bed_put(b, "k", "v");
    uint64_t before = bed_stats(b).flushes;
    bed_must_close(b);
    assert_int_equal(table_files(b), before);
    bed_must_open(b);
    firn_stats s = bed_stats(b);
    assert_int_equal(s.recovered_entries, 1);
    bed_expect(b, NULL, "k", "v");
}

static void what_is_flushed_is_not_replayed(void **state)
{
    bed *b = *state;
    for (unsigned i = 0; i < 30; i++)
        put_numbered(b, i, 100, 'v');
    bed_flush(b);
    bed_put(b, "after", "the flush");
    bed_must_close(b);
    bed_must_open(b);
    assert_int_equal(bed_stats(b).recovered_entries, 1);
    bed_expect(b, NULL, "after", "the flush");
    assert_int_equal(entries(b), 30);
}

static int fail_first_table(void *ctx, unsigned call, uint64_t index, const char *name)
{
    unsigned *hits = ctx;
    (void)index;
    return call == SIMFS_CREATE && strstr(name, ".tbl") && (*hits)++ == 0 ? ENOSPC : 0;
}

/* Level 0 is due, with other keys than those that a caller has compacted. So it goes first. What was asked for is done all the same,
 * also when the job of level 0 fails. */
static void level_0_goes_down_beside_a_request(void **state)
{
    bed *b = *state;
    for (unsigned fails = 0; fails < 2; fails++) {
        firn_snapshot *held = NULL;
        unsigned hits = !fails;
        mutex_lock(&b->db->store->state_mu);
        b->db->store->compaction_rests = true; /* nothing is compacted but by the caller */
        mutex_unlock(&b->db->store->state_mu);
        bed_put(b, "key", "older");
        MUST(firn_snapshot_new(b->db, &held, error));
        bed_put(b, "key", "newer");
        compact(b);
        firn_snapshot_free(held);
        for (unsigned i = 0; i < L0_MERGE_AT; i++) {
            bed_put(b, "zone", "v");
            bed_flush(b);
        }
        assert_int_equal(entries(b), 2 + L0_MERGE_AT);
        simfs_on_call(b->sim, fail_first_table, &hits);
        MUST(firn_compact(b->db, "k", 1, "l", 1, error));
        simfs_on_call(b->sim, NULL, NULL);
        assert_int_equal(bed_stats(b).level_tables[0], fails ? L0_MERGE_AT : 0);
        assert_int_equal(entries(b), fails ? 1 + L0_MERGE_AT : 2);
        teardown(state);
        setup(state);
        b = *state;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(levels_keep_their_order_and_their_sizes),
        TEST(tables_that_share_keys_are_merged_on_the_way_down),
        TEST(versions_of_a_key_never_part_over_two_tables),
        TEST(tombstones_vanish_at_the_bottom),
        TEST(a_tombstone_stays_while_something_lies_below_it),
        TEST(overwritten_versions_go_and_snapshots_keep_theirs),
        TEST(the_space_of_deleted_data_comes_back),
        TEST(the_log_stays_bounded_however_much_is_written),
        TEST(the_log_is_used_again_and_stays_bounded_while_readers_stay),
        TEST(a_range_is_compacted_and_the_rest_is_left),
        TEST(level_0_goes_down_beside_a_request),
        TEST(a_table_goes_with_the_last_who_reads_it),
        TEST(leftovers_of_a_crash_are_removed_on_open),
        TEST(a_read_only_opener_removes_no_leftovers),
        TEST(closing_flushes_nothing_and_loses_nothing),
        TEST(what_is_flushed_is_not_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
