/* The figures of one bucket: against those of the whole store, and against what was done. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include <store/store.h>

enum { KEYS = 400 };

static firn *make_bucket(bed *b, const char *name)
{
    firn *out = NULL;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    MUST(firn_bucket_open(b->db, name, &o, &out, error));
    return out;
}

static firn_bucket_stats stats_of(firn *bucket)
{
    firn_bucket_stats s;
    MUST(firn_get_bucket_stats(bucket, &s, error));
    return s;
}

static void fill(firn *bucket, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%04u", i);
        MUST(firn_put(bucket, key, 5, "some value of some length", 25, NULL, error));
    }
}

static uint64_t sum(const uint64_t levels[FIRN_LEVELS])
{
    uint64_t all = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        all += levels[n];
    return all;
}

/* One memtable takes all that a test writes, and nothing is done that is not asked for. */
static void begin(bed *b)
{
    bed_on_simfs(b, 1);
    MUST(firn_options_set(&b->options, "memory", "64MiB", error));
    b->options.segment_bytes = 1 << 20;
    b->options.table_bytes = 4 << 10; /* a merge makes several */
    bed_must_open(b);
}

static void what_is_in_memory_is_counted_for_its_bucket(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    firn *left = make_bucket(&b, "left"), *right = make_bucket(&b, "right");
    firn_slice first = slice_of_str("k0100"), end = slice_of_str("k0200");
    fill(left, 0, KEYS);
    fill(b.db, 0, 10);
    MUST(firn_delete(left, "k0001", 5, NULL, error));
    MUST(firn_delete_range(left, &(firn_range){&first, &end, 0}, NULL, error));
    firn_bucket_stats s = stats_of(left);
    assert_int_equal(s.size, sizeof s);
    assert_int_equal(s.memtable_entries, KEYS + 2);
    assert_int_equal(s.memtable_deletes, 2);
    assert_int_equal(sum(s.level_tables) + sum(s.level_written) + sum(s.level_jobs), 0);
    s = stats_of(right);
    assert_int_equal(s.memtable_entries, 0);
    assert_int_equal(stats_of(b.db).memtable_entries, 10);
    /* Iterators are those of the bucket, whichever handle they come from. */
    firn *again = NULL;
    firn_iter *it = NULL;
    MUST(firn_bucket_open(b.db, "left", NULL, &again, error));
    MUST(firn_iter_new(again, NULL, &it, error));
    assert_int_equal(stats_of(left).iterators, 1);
    assert_int_equal(stats_of(right).iterators, 0);
    firn_iter_free(it);
    assert_int_equal(stats_of(left).iterators, 0);
    MUST(firn_close(again, error));
    MUST(firn_close(left, error));
    MUST(firn_close(right, error));
    bed_release(&b);
}

static void what_is_in_tables_is_counted_for_its_bucket(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    firn *left = make_bucket(&b, "left");
    firn_snapshot *held = NULL;
    firn_slice first = slice_of_str("k0100"), end = slice_of_str("k0200");
    fill(left, 0, KEYS);
    fill(b.db, 0, 10);
    MUST(firn_snapshot_new(b.db, &held, error));
    MUST(firn_delete(left, "k0001", 5, NULL, error));
    MUST(firn_delete_range(left, &(firn_range){&first, &end, 0}, NULL, error));
    bed_flush(&b);
    firn_bucket_stats l = stats_of(left), m = stats_of(b.db);
    firn_stats all = bed_stats(&b);
    assert_int_equal(l.memtable_entries, 0);
    assert_int_equal(sum(l.level_entries), KEYS + 2);
    assert_int_equal(sum(l.level_deletes), 2);
    assert_int_equal(sum(l.level_range_deletes), 1);
    assert_int_equal(sum(m.level_entries), 10);
    assert_int_equal(sum(m.level_deletes), 0);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        assert_int_equal(l.level_tables[n] + m.level_tables[n], all.level_tables[n]);
        assert_int_equal(l.level_bytes[n] + m.level_bytes[n], all.level_bytes[n]);
        assert_int_equal(l.level_entries[n] + m.level_entries[n], all.level_entries[n]);
        assert_int_equal(l.level_deletes[n] + m.level_deletes[n], all.level_deletes[n]);
    }
    firn_snapshot_free(held);
    MUST(firn_close(left, error));
    bed_release(&b);
}

/* Each job's bytes stand where they were written to. */
static void what_was_done_is_told_by_level(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    firn *left = make_bucket(&b, "left");
    uint64_t flushed = 0;
    for (unsigned i = 0; i < 3; i++) {
        fill(left, i * 50, KEYS);
        if (i == 1)
            fill(b.db, 0, 10);
        bed_flush(&b);
        firn_bucket_stats now = stats_of(left);
        assert_int_equal(now.level_jobs[0], i + 1);
        assert_true(now.level_written[0] > flushed);
        flushed = now.level_written[0];
    }
    firn_bucket_stats l = stats_of(left), m = stats_of(b.db);
    assert_int_equal(m.level_jobs[0], 1);
    assert_int_equal(l.level_written[0] + m.level_written[0], bed_stats(&b).bytes_flushed);
    assert_int_equal(sum(l.level_read), 0);
    uint64_t read = l.level_bytes[0];
    MUST(firn_compact(left, NULL, 0, NULL, 0, error));
    l = stats_of(left);
    unsigned deep = 0;
    for (unsigned n = 1; n < FIRN_LEVELS; n++)
        deep = l.level_tables[n] ? n : deep;
    assert_true(deep > 0 && l.level_tables[deep] > 1);
    assert_int_equal(l.level_read[deep], read);
    assert_int_equal(l.level_written[deep], l.level_bytes[deep]);
    assert_int_equal(l.level_jobs[deep], 1);
    assert_int_equal(l.level_written[0], flushed);
    assert_int_equal(l.level_written[deep], bed_stats(&b).bytes_compacted);
    assert_int_equal(sum(stats_of(b.db).level_read), 0);
    /* All of it is deleted: a merge that writes nothing has read something. */
    MUST(firn_delete_range(left, NULL, NULL, error));
    MUST(firn_compact(left, NULL, 0, NULL, 0, error));
    firn_bucket_stats empty = stats_of(left);
    assert_int_equal(sum(empty.level_tables), 0);
    assert_true(sum(empty.level_jobs) > sum(l.level_jobs));
    assert_true(sum(empty.level_read) > sum(l.level_read));
    MUST(firn_close(left, error));
    bed_must_close(&b);
    bed_must_open(&b); /* in this life nothing was done */
    assert_int_equal(sum(stats_of(b.db).level_written) + sum(stats_of(b.db).level_jobs), 0);
    bed_release(&b);
}

static void a_dropped_bucket_has_no_figures(void **state)
{
    (void)state;
    bed b;
    firn_bucket_stats s = {.size = 1};
    firn_error err;
    begin(&b);
    firn *left = make_bucket(&b, "left");
    fill(left, 0, 10);
    MUST(firn_bucket_drop(left, error));
    assert_int_equal(firn_get_bucket_stats(left, &s, &err), FIRN_DROPPED);
    assert_int_equal(s.size, 1);
    bed_flush(&b); /* and what is left of it in the log counts for none */
    assert_int_equal(stats_of(b.db).level_jobs[0], 0);
    MUST(firn_close(left, error));
    bed_release(&b);
}

/* A caller that was compiled with a shorter struct gets as much. */
static void a_shorter_struct_is_filled_as_far_as_it_goes(void **state)
{
    (void)state;
    bed b;
    union {
        firn_bucket_stats s;
        uint8_t bytes[sizeof(firn_bucket_stats)];
    } short_one;
    size_t size = offsetof(firn_bucket_stats, iterators);
    memset(short_one.bytes, 0x5a, sizeof short_one);
    begin(&b);
    fill(b.db, 0, 10);
    MUST(firn_get_bucket_stats_sized(b.db, &short_one.s, size, error));
    assert_int_equal(short_one.s.size, size);
    assert_int_equal(short_one.s.memtable_entries, 10);
    for (size_t i = size; i < sizeof short_one; i++)
        assert_int_equal(short_one.bytes[i], 0x5a);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_memory_is_counted_for_its_bucket),
        cmocka_unit_test(what_is_in_tables_is_counted_for_its_bucket),
        cmocka_unit_test(what_was_done_is_told_by_level),
        cmocka_unit_test(a_dropped_bucket_has_no_figures),
        cmocka_unit_test(a_shorter_struct_is_filled_as_far_as_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
