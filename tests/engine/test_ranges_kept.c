/* What range deletes cost, what they free, and what becomes of them on their way into tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/entry.h>
#include <base/slice.h>
#include <store/store.h>
#include <tree/edit.h>
#include <tree/range_map.h>
#include <tree/schedule.h>
#include <tree/version_build.h>
#include <tree/view.h>

#include "ranges.h"

static void compactions_rest(bed *b, bool rest)
{
    store *db = b->db->store;
    mutex_lock(&db->state_mu);
    db->compaction_rests = rest;
    mutex_unlock(&db->state_mu);
}

/* Memtables are large, so that a flush makes one table, and no compaction begins by itself. */
static void begin_wide(bed *b, uint64_t table_bytes)
{
    bed_on_simfs(b, 1);
    MUST(firn_options_set(&b->options, "memory", "64MiB", error));
    b->options.segment_bytes = 8 << 20;
    b->options.table_bytes = table_bytes;
    bed_must_open(b);
    compactions_rest(b, true);
}

static const version *version_of(const bed *b)
{
    return atomic_load(&b->db->view)->version;
}

static int covered_now(const bed *b)
{
    schedule_state s = {.version = version_of(b), .free_bytes = UINT64_MAX, .whole = true};
    return schedule_covered(&s, NULL);
}

/* ---- In memory ---- */

static firn_op op_delete_range(const firn_slice *first, const firn_slice *end)
{
    return (firn_op){.size = sizeof(firn_op),
                     .kind = FIRN_OP_DELETE_RANGE,
                     .range = {.first = first, .end = end}};
}

/* Also when the batch has refused more of them, and in whatever bucket it is written. */
static void ranges_of_batches_are_carried_out(void **state)
{
    (void)state;
    const firn_slice from = slice_of_str("b"), to = slice_of_str("d");
    const firn_op good = op_delete_range(&from, &to), bad = op_delete_range(&to, &from);
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (unsigned lot = 0; lot < 4; lot++) {
        bed b;
        firn_error err = {0};
        firn_batch *batch = new_batch();
        begin(&b);
        firn *other = lot & 1 ? open_one(b.db, "other", true) : NULL;
        for (unsigned i = 0; i < 4; i++) {
            put(b.db, keys[i], "v");
            if (other)
                put(other, keys[i], "v");
        }
        const firn_op both[] = {good, bad};
        MUST(firn_batch_add(batch, &good, 1, error));
        if (lot & 2)
            assert_int_equal(firn_batch_add(batch, both, 2, &err), FIRN_INVALID);
        assert_int_equal(firn_batch_count(batch), 1);
        MUST(firn_write(other ? other : b.db, batch, NULL, NULL, error));
        expect_walk(b.db, other ? "abcd" : "ad");
        if (other) {
            expect_walk(other, "ad");
            MUST(firn_close(other, error));
        }
        firn_batch_free(batch);
        bed_release(&b);
    }
}

static void the_index_of_ranges_is_counted(void **state)
{
    (void)state;
    bed b;
    begin_wide(&b, 1 << 20);
    put(b.db, "a", "v");
    mem *m = b.db->store->active;
    size_t before = mem_index_bytes(m);
    for (unsigned i = 0; i < 3000; i++)
        delete_numbers(b.db, 2 * i, 2 * i + 1);
    assert_ptr_equal(b.db->store->active, m);
    size_t ranges = range_map_memory(&m->main.ranges);
    assert_true(ranges > 100000);
    assert_true(mem_index_bytes(m) >= before + ranges);
    bed_release(&b);
}

/* Another process has changed how long the end is. */
static void what_reaches_out_of_its_frame_is_left_out(void **state)
{
    (void)state;
    for (uint32_t more = 0; more < 2; more++) {
        bed b;
        mem *again = NULL;
        begin(&b);
        delete_range(b.db, "b", "d");
        store *db = b.db->store;
        const mem *m = db->active;
        uint64_t seq = firn_last_seq(b.db), size = entry_size(1, 1);
        wal_applied frame = {.segment = m->segment,
                             .offset = (uint32_t)(m->log_end - size),
                             .count = 1,
                             .bytes = size,
                             .seq_first = seq};
        uint8_t *p = (uint8_t *)(uintptr_t)wal_segment_base(m->segment) + frame.offset;
        assert_int_equal(entry_kind(p), FIRN_DELETE_RANGE);
        assert_int_equal(store_new_mem(db, m->segment, seq, &again), FIRN_OK);
        mem_reserve_begin(again);
        assert_int_equal(store_reserve_entries(db, again, slice_of(p, size), 1), FIRN_OK);
        assert_int_equal(mem_reserve(again), FIRN_OK);
        entry_put_header(p, FIRN_DELETE_RANGE, 0, 1, 1 + more);
        mem_apply(again, &frame);
        mem_publish(again, seq);
        assert_int_equal(range_map_any(&again->main.ranges), more == 0);
        entry_put_header(p, FIRN_DELETE_RANGE, 0, 1, 1);
        mem_unref(again);
        bed_release(&b);
    }
}

/* ---- What is flushed soon ---- */

/* Does this range delete bring the active memtable to its flush? */
static bool is_flushed_soon(bed *b, unsigned first, unsigned end)
{
    mem *active = b->db->store->active;
    mem_ref(active);
    delete_numbers(b->db, first, end);
    bool soon = atomic_load(&active->soon);
    assert_int_equal(b->db->store->active != active, soon);
    mem_unref(active);
    return soon;
}

static void worth_a_flush(const bed *b, const table *t)
{
    assert_true(t->properties.file_bytes >= b->options.table_bytes / 4);
}

static void a_whole_table_is_worth_a_flush(void **state)
{
    (void)state;
    bed b;
    begin_wide(&b, 16 << 10);
    put_many(&b, 0, 400, "old");
    bed_flush(&b);
    worth_a_flush(&b, version_of(&b)->levels[0].tables[0]);
    assert_true(is_flushed_soon(&b, 0, 400));
    expect_walk(b.db, "");
    bed_release(&b);
}

static void a_whole_table_of_a_bucket_is_worth_a_flush(void **state)
{
    (void)state;
    char key[16];
    const firn_slice first = slice_of_str("k"), end = slice_of_str("l");
    const firn_op op = op_delete_range(&first, &end);
    bed b;
    begin_wide(&b, 16 << 10);
    firn *other = open_one(b.db, "other", true);
    for (unsigned i = 0; i < 400; i++) {
        numbered(key, i);
        put(other, key, "old");
    }
    bed_flush(&b);
    worth_a_flush(&b, atomic_load(&other->view)->version->levels[0].tables[0]);
    firn_batch *batch = new_batch();
    MUST(firn_batch_add(batch, &op, 1, error)); /* of the bucket in which it is written */
    mem *active = b.db->store->active;
    mem_ref(active);
    MUST(firn_write(other, batch, NULL, NULL, error));
    assert_true(atomic_load(&active->soon));
    mem_unref(active);
    firn_batch_free(batch);
    expect_walk(other, "");
    MUST(firn_close(other, error));
    bed_release(&b);
}

static void only_whole_tables_are_worth_a_flush(void **state)
{
    (void)state;
    for (unsigned lot = 0; lot < 3; lot++) {
        bed b;
        begin_wide(&b, 16 << 10);
        put_many(&b, 0, 400, "old");
        bed_flush(&b);
        const level *l = version_of(&b)->levels;
        assert_int_equal(bed_tables(&b), 1);
        assert_int_equal(l->count, 1);
        worth_a_flush(&b, l->tables[0]);
        assert_false(is_flushed_soon(&b, lot == 0 ? 200 : lot, lot == 1 ? 500 : 399));
        bed_release(&b);
    }
}

static void of_range_deletes_alone_there_is_nothing_to_have(void **state)
{
    (void)state;
    bed b;
    firn_snapshot *before = NULL;
    begin_wide(&b, 4 << 10);
    put(b.db, "k", "v");
    MUST(firn_snapshot_new(b.db, &before, error)); /* for which range deletes stay */
    bed_flush(&b);
    for (unsigned i = 0; i < 100; i++)
        delete_numbers(b.db, 2 * i, 2 * i + 1);
    bed_flush(&b);
    firn_snapshot_free(before);
    const level *l = version_of(&b)->levels;
    assert_int_equal(l->count, 2);
    assert_int_equal(l->tables[0]->properties.entries, l->tables[0]->properties.ranges);
    worth_a_flush(&b, l->tables[0]);
    assert_false(is_flushed_soon(&b, 0, 500));
    bed_release(&b);
}

/* ---- Tables that are covered ---- */

static int count_table(void *ctx, const char *name)
{
    size_t size = strlen(name);
    *(uint64_t *)ctx += size > 4 && strcmp(name + size - 4, ".tbl") == 0;
    return 0;
}

static uint64_t table_files(const bed *b)
{
    uint64_t files = 0;
    MUST(fs_dir_list(b->db->store->dir, count_table, &files, error));
    return files;
}

static void a_covered_table_is_known_at_once_and_its_file_goes(void **state)
{
    (void)state;
    bed b;
    begin_wide(&b, 1 << 20);
    put_many(&b, 0, 1000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(covered_now(&b), FIRN_NOT_FOUND);
    delete_numbers(b.db, 0, 1000);
    put(b.db, "z", "v");
    bed_flush(&b);
    assert_int_equal(covered_now(&b), FIRN_OK);
    assert_int_equal(table_files(&b), 2);
    compactions_rest(&b, false);
    MUST(firn_settle(b.db, error));
    assert_int_equal(covered_now(&b), FIRN_NOT_FOUND);
    assert_int_equal(table_files(&b), bed_tables(&b));
    expect_walk(b.db, "z");
    bed_release(&b);
}

/* A version with these tables in these levels. */
static version *put_together(table *above, unsigned level_above, table *below, unsigned level_below)
{
    version *none = NULL, *out = NULL;
    edit e = {0};
    assert_int_equal(version_new_empty(&none), FIRN_OK);
    assert_int_equal(edit_add(&e, level_above, above), FIRN_OK);
    assert_int_equal(edit_add(&e, level_below, below), FIRN_OK);
    MUST(version_apply(none, &e, &out, error));
    edit_release(&e);
    version_unref(none);
    return out;
}

static void deeper_range_deletes_empty_tables_below_them(void **state)
{
    (void)state;
    bed b;
    begin_wide(&b, 1 << 20);
    put_many(&b, 0, 1000, "old");
    bed_flush(&b);
    delete_numbers(b.db, 0, 1000);
    put_many(&b, 2000, 3000, "new"); /* so that it is not mostly deletes */
    bed_flush(&b);
    const level *l = version_of(&b)->levels;
    assert_int_equal(l->count, 2);
    table *ranged = l->tables[0], *old = l->tables[1];
    assert_int_equal(ranged->properties.ranges, 1);
    for (unsigned n = 0; n < FIRN_LEVELS - 1; n++) {
        version *v = put_together(ranged, n, old, n + 1), *turned;
        schedule_state s = {.version = v, .free_bytes = UINT64_MAX};
        assert_int_equal(schedule_covered(&s, NULL), FIRN_OK);
        assert_true(schedule_due(&b.db->store->rules, &s));
        uint64_t before = old->properties.seq_max;
        s.snapshots = &before;
        s.snapshot_count = 1;
        assert_int_equal(schedule_covered(&s, NULL), FIRN_NOT_FOUND);
        if (n == 0)
            assert_false(schedule_due(&b.db->store->rules, &s)); /* nothing else is */
        version_unref(v);
        if (n == 0)
            continue;
        turned = put_together(ranged, n + 1, old, n); /* it does not hide what is above it */
        s = (schedule_state){.version = turned, .free_bytes = UINT64_MAX};
        assert_int_equal(schedule_covered(&s, NULL), FIRN_NOT_FOUND);
        version_unref(turned);
    }
    bed_release(&b);
}

/* Each covers one half; a merge of both knows that nothing of the old one stays. */
static void halves_together_leave_a_table_unread(void **state)
{
    (void)state;
    bed b;
    edit_watch w = {.fails = false};
    begin_wide(&b, 1 << 20);
    put_many(&b, 0, 1000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    bed_must_close(&b); /* no table is open */
    simfs_mapping_ok(b.sim, false);
    bed_must_open(&b);
    compactions_rest(&b, true);
    name_table(atomic_load(&b.db->store->next_file_no), w.newest);
    delete_numbers(b.db, 0, 500);
    bed_flush(&b);
    delete_numbers(b.db, 500, 1000);
    bed_flush(&b);
    assert_int_equal(covered_now(&b), FIRN_NOT_FOUND);
    w.fails = true;
    simfs_on_call(b.sim, on_read, &w);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_tables(&b), 0);
    bed_release(&b);
}

/* What an edit says that takes tables away under range deletes which stay. */
typedef struct seen_edits {
    atomic_bool dropped_alone;
} seen_edits;

static void see_edit(void *ctx, firn *db, const edit *e)
{
    seen_edits *seen = ctx;
    uint64_t ranges = 0;
    (void)db;
    for (size_t i = 0; i < e->dropped_count; i++)
        ranges += e->dropped[i].table->properties.ranges;
    if (e->dropped_count && e->added_count == 0 && ranges == 0)
        atomic_store(&seen->dropped_alone, true);
}

static void an_opened_store_knows_what_is_covered(void **state)
{
    (void)state;
    bed b;
    seen_edits seen = {false};
    firn_snapshot *before = NULL;
    bed_on_disk(&b);
    b.options.durability = FIRN_DURABILITY_NONE;
    b.config.inline_work = true;
    bed_must_open(&b);
    put_many(&b, 0, 1000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    MUST(firn_snapshot_new(b.db, &before, error));
    compactions_rest(&b, true);
    delete_numbers(b.db, 0, 1000);
    put_many(&b, 2000, 2300, "new");
    bed_flush(&b);
    firn_snapshot_free(before);
    assert_int_equal(covered_now(&b), FIRN_OK);
    bed_must_close(&b);
    b.config.inline_work = false;
    b.config.installed = see_edit;
    b.config.ctx = &seen;
    bed_must_open(&b);
    for (unsigned ms = 0; ms < 5000 && !atomic_load(&seen.dropped_alone); ms += 10)
        usleep(10000);
    assert_true(atomic_load(&seen.dropped_alone));
    expect(b.db, "k000500", NULL);
    expect(b.db, "k002000", "new");
    bed_release(&b);
}

/* ---- What fails ---- */

/* Of the manifest, behind the first calls. */
static int fail_later_writes(void *ctx, unsigned call, uint64_t index, const char *name)
{
    unsigned *before = ctx;
    (void)index;
    if (!(call & (SIMFS_WRITE | SIMFS_SYNC)) || !name || !strstr(name, ".manifest"))
        return 0;
    *before -= *before > 0;
    return *before ? 0 : EIO;
}

/* A caller goes on to what it has asked for, and is told that this fails, too: it comes to an
 * end. */
static void a_drop_that_fails_is_tried_once_by_a_caller(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    unsigned before = 3; /* a write and a sync, of the flush */
    begin_wide(&b, 1 << 20);
    put_many(&b, 0, 1000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    delete_numbers(b.db, 0, 1000);
    bed_flush(&b);
    assert_int_equal(covered_now(&b), FIRN_OK);
    simfs_on_call(b.sim, fail_later_writes, &before);
    assert_int_not_equal(firn_compact(b.db, NULL, 0, NULL, 0, &err), FIRN_OK);
    assert_int_equal(before, 0);
    assert_int_equal(covered_now(&b), FIRN_OK);
    expect_walk(b.db, "");
    bed_release(&b);
}

/* What is to be merged cannot be read for a while, beginning with its range deletes. */
static void range_deletes_that_cannot_be_read_stop_no_writer(void **state)
{
    (void)state;
    bed b;
    edit_watch w = {.fails = true};
    begin(&b);
    put_many(&b, 0, 2000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    compactions_rest(&b, true);
    delete_numbers(b.db, 100, 1900);
    bed_flush(&b);
    bed_must_close(&b); /* no table is open */
    simfs_mapping_ok(b.sim, false);
    bed_must_open(&b);
    name_table(atomic_load(&b.db->store->next_file_no), w.newest);
    simfs_on_call(b.sim, on_read, &w);
    for (unsigned i = 0; i < 20 && bed_stats(&b).compaction_error.status == FIRN_OK; i++) {
        put(b.db, "k000500", "new");
        bed_flush(&b);
    }
    assert_int_equal(bed_stats(&b).compaction_error.status, FIRN_IO);
    put(b.db, "k000500", "newer");
    bed_flush(&b);
    w.fails = false;
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_stats(&b).compaction_error.status, FIRN_OK);
    expect(b.db, "k000500", "newer");
    expect(b.db, "k000501", NULL);
    bed_release(&b);
}

/* ---- What is kept ---- */

/* Each version that a range delete hides is there for the snapshot, and so is the range delete. */
static void what_ranges_hide_is_counted_as_kept(void **state)
{
    (void)state;
    for (unsigned hides = 0; hides < 2; hides++) {
        bed b;
        firn_snapshot *before = NULL;
        uint64_t kept = 0, ranges = 0;
        begin(&b);
        put_many(&b, 0, 1000, "old");
        MUST(firn_snapshot_new(b.db, &before, error));
        if (hides)
            delete_numbers(b.db, 0, 1000);
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        for (unsigned n = 0; n < FIRN_LEVELS; n++) {
            const level *l = &version_of(&b)->levels[n];
            for (size_t i = 0; i < l->count; i++) {
                const table *t = l->tables[i];
                assert_true(t->kept_known);
                ranges += t->properties.ranges;
                for (size_t k = 0; k < t->kept_count; k++)
                    kept += t->kept[k].count;
            }
        }
        assert_int_equal(ranges > 0, hides);
        assert_int_equal(kept, hides ? 1000 + ranges : 0);
        firn_snapshot_free(before);
        bed_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_of_batches_are_carried_out),
        cmocka_unit_test(the_index_of_ranges_is_counted),
        cmocka_unit_test(what_reaches_out_of_its_frame_is_left_out),
        cmocka_unit_test(a_whole_table_is_worth_a_flush),
        cmocka_unit_test(a_whole_table_of_a_bucket_is_worth_a_flush),
        cmocka_unit_test(only_whole_tables_are_worth_a_flush),
        cmocka_unit_test(of_range_deletes_alone_there_is_nothing_to_have),
        cmocka_unit_test(a_covered_table_is_known_at_once_and_its_file_goes),
        cmocka_unit_test(deeper_range_deletes_empty_tables_below_them),
        cmocka_unit_test(halves_together_leave_a_table_unread),
        cmocka_unit_test(an_opened_store_knows_what_is_covered),
        cmocka_unit_test(a_drop_that_fails_is_tried_once_by_a_caller),
        cmocka_unit_test(range_deletes_that_cannot_be_read_stop_no_writer),
        cmocka_unit_test(what_ranges_hide_is_counted_as_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
