/* Repair of tables with range deletes: what is left of them still deletes what it did and nothing else,
 * and what is gone is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/coding.h>
#include <store/store.h>
#include <tree/names.h>

#include "format.h"

#include "buckets.h"

enum { ALL = 3000, FIRST = 500, END = 2500, TABLES_MOST = 64 };

static firn_slice key_of(unsigned i, char room[16])
{
    snprintf(room, 16, "k%06u", i);
    return slice_of_str(room);
}

static void put_numbers(firn *db, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        char key[16];
        firn_slice k = key_of(i, key);
        MUST(firn_put(db, k.data, k.size, "old", 3, NULL, error));
    }
}

static void add_delete(firn_batch *batch, unsigned first, unsigned end)
{
    char a[16], b[16];
    firn_slice from = key_of(first, a), to = key_of(end, b);
    const firn_op op = {
        .size = sizeof op, .kind = FIRN_OP_DELETE_RANGE, .range = {.first = &from, .end = &to}};
    MUST(firn_batch_add(batch, &op, 1, error));
}

/* ---- The tables of a store ---- */

typedef struct listed {
    char path[96];
    unsigned level;
    uint64_t data_bytes, ranges, entries, blocks;
} listed;

static size_t list_tables(bed *b, listed *out)
{
    size_t count = 0;
    view *v = tree_view(b->db);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->version->levels[n].count; i++) {
            const table *t = v->version->levels[n].tables[i];
            char name[NAME_BYTES];
            assert_true(count < TABLES_MOST);
            listed *l = &out[count++];
            name_table(t->no, name);
            snprintf(l->path, sizeof l->path, "%s/%s", b->folder, name);
            l->level = n;
            l->data_bytes = t->properties.data_bytes;
            l->ranges = t->properties.ranges;
            l->entries = t->properties.entries;
            l->blocks = t->properties.blocks;
        }
    view_unref(v);
    return count;
}

/* A copy of a store that is closed. */
static bed copy_of(const bed *b)
{
    bed copy;
    bed_on_simfs(&copy, 1);
    simfs_free(copy.sim);
    copy.sim = simfs_clone(b->sim);
    copy.config.fs = simfs_fs(copy.sim);
    copy.options = b->options;
    return copy;
}

/* ---- What was told ---- */

typedef struct told {
    uint64_t losses;
    unsigned gaps, ranges;
    char after[16], before[16]; /* of the last gap */
} told;

static void on_event(void *ctx, const firn_repair_event *e)
{
    told *t = ctx;
    t->losses += e->kind != FIRN_REPAIR_NOTE;
    if (e->kind != FIRN_REPAIR_LOST_KEYS)
        return;
    assert_non_null(e->after.data);
    assert_non_null(e->before.data);
    if (strncmp(e->text, "a table has lost range deletes", 30) == 0) {
        t->ranges++;
        return;
    }
    t->gaps++;
    snprintf(t->after, sizeof t->after, "%.*s", (int)e->after.size, (const char *)e->after.data);
    snprintf(t->before, sizeof t->before, "%.*s", (int)e->before.size,
             (const char *)e->before.data);
}

static bool check_passes(bed *b)
{
    firn_error err = {0};
    int rc = engine_check(b->config.fs, b->folder, NULL, NULL, NULL, &err);
    assert_true(rc == FIRN_OK || rc == FIRN_DAMAGED);
    return rc == FIRN_OK;
}

/* Repairs, looks whether it passes, and opens. */
static told repair(bed *b)
{
    told t = {0};
    firn_repair_summary summary = {0};
    MUST(engine_repair(b->folder, &b->options, &b->config, on_event, &t, &summary, error));
    assert_int_equal(t.losses, summary.losses);
    assert_true(check_passes(b));
    bed_must_open(b);
    return t;
}

typedef bool (*is_alive)(unsigned i);

/* Keys that are gone lie in the gap; keys that are back are so because range deletes are. Returns how
 * many are back. */
static unsigned compare(bed *b, const told *t, is_alive alive)
{
    unsigned back = 0;
    for (unsigned i = 0; i < ALL; i++) {
        char key[16];
        firn_value v = {0};
        firn_slice k = key_of(i, key);
        int rc = firn_get(b->db, k.data, k.size, NULL, &v, NULL);
        bool in_gap = t->gaps && strcmp(t->after, key) <= 0 && strcmp(key, t->before) <= 0;
        assert_true(rc == FIRN_OK || rc == FIRN_NOT_FOUND);
        if (alive(i) && rc != FIRN_OK && !in_gap)
            fail_msg("%s is gone, and the gap is %s to %s", key, t->after, t->before);
        if (!alive(i) && rc == FIRN_OK && !t->ranges)
            fail_msg("%s is there again, and no lost range delete was told", key);
        back += !alive(i) && rc == FIRN_OK;
        firn_value_release(&v);
    }
    return back;
}

/* ---- Many small ranges in one table ---- */

static bool between_small_ranges(unsigned i)
{
    return i % 3 != 0;
}

/* Old values in a deep level, and above them a table of nothing but range deletes, in several
 * blocks. */
static void begin_small_ranges(bed *b, listed *above)
{
    static listed tables[TABLES_MOST];
    bed_on_simfs(b, 1);
    b->options.table_bytes = 32 << 20;
    b->options.segment_bytes = 1 << 20;
    b->options.memory = 64 << 20;
    bed_must_open(b);
    put_numbers(b->db, 0, ALL);
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    firn_batch *batch = new_batch();
    for (unsigned i = 0; i < ALL; i += 3)
        add_delete(batch, i, i + 1);
    MUST(firn_write(b->db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    bed_flush(b);
    size_t count = list_tables(b, tables);
    assert_int_equal(count, 2);
    *above = tables[0];
    assert_int_equal(above->level, 0);
    assert_int_equal(above->ranges, ALL / 3);
    assert_true(above->blocks > 4);
    bed_must_close(b);
    assert_true(check_passes(b));
}

static void a_block_of_range_deletes_costs_only_itself(void **state)
{
    (void)state;
    bed b;
    listed above;
    begin_small_ranges(&b, &above);
    for (unsigned block = 0; block < above.blocks; block++) {
        bed c = copy_of(&b);
        uint64_t at = above.data_bytes * (2 * block + 1) / (2 * above.blocks);
        simfs_flip_bit(c.sim, above.path, 8 * at);
        assert_false(check_passes(&c));
        told t = repair(&c);
        assert_int_equal(t.losses, 2);
        assert_true(t.gaps == 1 && t.ranges == 1);
        unsigned back = compare(&c, &t, between_small_ranges);
        assert_in_range(back, 1, 2 * ALL / 3 / (unsigned)above.blocks);
        bed_must_close(&c);
        /* They are told once: what is left is a table like any other. */
        t = repair(&c);
        assert_int_equal(t.losses, 0);
        MUST(firn_compact(c.db, NULL, 0, NULL, 0, error));
        t.ranges = 1;
        assert_int_equal(compare(&c, &t, between_small_ranges), back);
        bed_release(&c);
    }
    bed_release(&b);
}

/* All of its versions are there: nothing is lost, wherever it is damaged. */
static void a_damaged_footer_costs_no_range_delete(void **state)
{
    (void)state;
    bed b;
    listed above;
    size_t size = 0;
    begin_small_ranges(&b, &above);
    (void)simfs_peek(b.sim, above.path, &size);
    for (uint64_t at = above.data_bytes + 5; at < size; at += (size - above.data_bytes) / 9) {
        bed c = copy_of(&b);
        simfs_flip_bit(c.sim, above.path, 8 * at);
        assert_false(check_passes(&c));
        told t = repair(&c);
        assert_int_equal(t.losses, 0);
        assert_int_equal(compare(&c, &t, between_small_ranges), 0);
        bed_release(&c);
    }
    bed_release(&b);
}

/* In the first block, the range delete of the first key ends behind the tenth: over those behind it,
 * although all checksums are right. */
static void forge_overlap(bed *b, const listed *above)
{
    sst_footer f;
    const char *why;
    char key[16];
    size_t size;
    const uint8_t *data = simfs_peek(b->sim, above->path, &size);
    assert_int_equal(sst_footer_get(data + size - SST_FOOTER_BYTES, &f, &why), FIRN_OK);
    uint32_t bytes = get_u32(data + f.index.offset + 8 + get_u16(data + f.index.offset + 4));
    uint8_t *block = malloc(bytes + SST_TRAILER_BYTES);
    assert_non_null(block);
    memcpy(block, data, bytes);
    firn_slice end = key_of(1, key);
    uint8_t *at = memmem(block, bytes, end.data, end.size);
    assert_non_null(at);
    at[end.size - 2] = '1';
    sst_trailer_put(block, bytes, SST_COMPRESSION_NONE, bytes, f.salt, 0);
    simfs_poke(b->sim, above->path, 0, block, bytes + SST_TRAILER_BYTES);
    free(block);
}

/* The first of them is taken, and the others of its keys are told. */
static void ranges_that_overlap_are_not_saved_together(void **state)
{
    (void)state;
    bed b;
    listed above;
    begin_small_ranges(&b, &above);
    forge_overlap(&b, &above);
    assert_false(check_passes(&b));
    told t = repair(&b);
    assert_int_equal(t.losses, 2);
    assert_true(t.gaps == 1 && t.ranges == 1);
    for (unsigned i = 0; i < ALL; i++) {
        char key[16];
        key_of(i, key);
        bed_expect(&b, NULL, key, i > 10 && between_small_ranges(i) ? "old" : NULL);
    }
    bed_release(&b);
}

/* ---- One range over many tables ---- */

static bool outside_of_the_hole(unsigned i)
{
    return i < FIRST || i >= END;
}

/* A range delete that a snapshot keeps, cut where tables end. Returns how many tables there are. */
static size_t begin_hole(bed *b, listed *tables)
{
    firn_snapshot *before = NULL;
    begin(b);
    put_numbers(b->db, 0, ALL);
    MUST(firn_snapshot_new(b->db, &before, error));
    firn_batch *batch = new_batch();
    add_delete(batch, FIRST, END);
    MUST(firn_write(b->db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    size_t count = list_tables(b, tables), ranged = 0;
    for (size_t i = 0; i < count; i++)
        ranged += tables[i].ranges > 0;
    assert_in_range(ranged, 4, count - 1);
    firn_snapshot_free(before);
    bed_must_close(b);
    assert_true(check_passes(b));
    return count;
}

/* In the blocks, a range delete reaches behind the table that was cut: what is saved of it must not,
 * or two tables of a level would overlap. */
static void a_range_that_was_cut_is_cut_again(void **state)
{
    (void)state;
    static listed tables[TABLES_MOST];
    bed b;
    size_t count = begin_hole(&b, tables), all_back = 0;
    for (size_t i = 0; i < count; i++)
        for (unsigned where = 0; where < 3; where++) { /* footer, last block, first block */
            bed c = copy_of(&b);
            size_t size = 0;
            (void)simfs_peek(c.sim, tables[i].path, &size);
            uint64_t at = where == 0 ? size - 3 : where == 1 ? tables[i].data_bytes - 20 : 20;
            simfs_flip_bit(c.sim, tables[i].path, 8 * at);
            assert_false(check_passes(&c));
            told t = repair(&c);
            assert_true(where > 0 || t.losses == 0);
            assert_true(t.ranges == (where == 2 && tables[i].ranges) ||
                        (where == 1 && tables[i].blocks == 1));
            unsigned back = compare(&c, &t, outside_of_the_hole);
            assert_true(back <= tables[i].entries);
            all_back += back;
            bed_release(&c);
        }
    assert_in_range(all_back, 100, END - FIRST);
    bed_release(&b);
}

/* ---- Without a manifest ---- */

static int note_manifest(void *ctx, const char *path, uint64_t size)
{
    (void)size;
    if (strstr(path, ".manifest"))
        snprintf(ctx, 96, "%s", path);
    return 0;
}

static void remove_manifests(bed *b)
{
    for (;;) {
        char path[96] = "";
        simfs_each(b->sim, b->folder, note_manifest, path);
        if (!path[0])
            return;
        simfs_remove(b->sim, path);
    }
}

static void expect_no_deletes(bed *b)
{
    firn_stats s = bed_stats(b);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        assert_int_equal(s.level_deletes[n], 0);
}

/* All tables become one level, in which nothing is left to be deleted. */
static void tables_without_a_manifest_are_merged_with_their_ranges(void **state)
{
    (void)state;
    static listed tables[TABLES_MOST];
    bed b;
    size_t count = begin_hole(&b, tables);
    remove_manifests(&b);
    for (size_t i = 0; i <= count; i++) { /* with the footer of one of them damaged, or of none */
        bed c = copy_of(&b);
        size_t size = 0;
        if (i < count) {
            (void)simfs_peek(c.sim, tables[i].path, &size);
            simfs_flip_bit(c.sim, tables[i].path, 8 * (size - 3));
        }
        told t = {0};
        MUST(engine_repair(c.folder, &c.options, &c.config, NULL, NULL, NULL, error));
        assert_true(check_passes(&c));
        bed_must_open(&c);
        assert_int_equal(compare(&c, &t, outside_of_the_hole), 0);
        expect_no_deletes(&c);
        bed_release(&c);
    }
    bed_release(&b);
}

static void ranges_over_deeper_tables_are_merged_without_a_manifest(void **state)
{
    (void)state;
    bed b;
    listed above;
    begin_small_ranges(&b, &above);
    remove_manifests(&b);
    told t = repair(&b);
    assert_int_equal(t.losses, 0);
    assert_int_equal(compare(&b, &t, between_small_ranges), 0);
    expect_no_deletes(&b);
    bed_release(&b);
}

/* The newest table does not say any more how new it is, and what it holds is in the log, too: it is
 * left to that. */
static void what_the_log_brings_again_is_not_merged(void **state)
{
    (void)state;
    static listed tables[TABLES_MOST];
    bed b;
    size_t size = 0;
    bed_on_simfs(&b, 1);
    b.options.segment_bytes = 1 << 20;
    b.options.memory = 64 << 20;
    bed_must_open(&b);
    put_numbers(b.db, 0, ALL);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    firn_batch *batch = new_batch();
    add_delete(batch, FIRST, END);
    MUST(firn_write(b.db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    bed c = copy_of(&b); /* in which the log is as it was before the flush */
    bed_flush(&b);
    assert_true(list_tables(&b, tables) > 1);
    assert_int_equal(tables[0].level, 0);
    assert_int_equal(tables[0].ranges, 1);
    const uint8_t *made = simfs_peek(b.sim, tables[0].path, &size);
    simfs_write_file(c.sim, tables[0].path, made, size);
    simfs_flip_bit(c.sim, tables[0].path, 8 * (size - 3));
    bed_release(&b);
    remove_manifests(&c);
    MUST(engine_repair(c.folder, &c.options, &c.config, NULL, NULL, NULL, error));
    c.options.read_only = true; /* nothing is flushed or compacted */
    bed_must_open(&c);
    firn_stats s = bed_stats(&c);
    uint64_t entries = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        entries += s.level_entries[n];
    assert_int_equal(entries, ALL);
    told t = {0};
    assert_int_equal(compare(&c, &t, outside_of_the_hole), 0);
    bed_release(&c);
}

/* A repair that ends for want of memory is done by the next one. */
static void a_repair_without_memory_can_be_done_again(void **state)
{
    (void)state;
    static listed tables[TABLES_MOST];
    for (unsigned with = 0; with < 2; with++) { /* without a manifest, and with it */
        bed b;
        size_t count = begin_hole(&b, tables), size = 0;
        uint64_t n = 1, failures = 0;
        (void)simfs_peek(b.sim, tables[count / 2].path, &size);
        simfs_flip_bit(b.sim, tables[count / 2].path, 8 * (size - 3));
        if (!with)
            remove_manifests(&b);
        for (bool failed = true; failed; n += 1 + n / 16) {
            bed c = copy_of(&b);
            firn_error err = {0};
            alloc_fail_at(n);
            int rc = engine_repair(c.folder, &c.options, &c.config, NULL, NULL, NULL, &err);
            alloc_fail_at(0);
            failed = alloc_count() >= n;
            failures += rc != FIRN_OK;
            assert_true(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && err.status == rc && failed));
            MUST(engine_repair(c.folder, &c.options, &c.config, NULL, NULL, NULL, error));
            assert_true(check_passes(&c));
            bed_must_open(&c);
            assert_int_equal(compare(&c, &(told){0}, outside_of_the_hole), 0);
            bed_release(&c);
        }
        assert_true(failures > 20);
        bed_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_of_range_deletes_costs_only_itself),
        cmocka_unit_test(a_damaged_footer_costs_no_range_delete),
        cmocka_unit_test(ranges_that_overlap_are_not_saved_together),
        cmocka_unit_test(a_range_that_was_cut_is_cut_again),
        cmocka_unit_test(tables_without_a_manifest_are_merged_with_their_ranges),
        cmocka_unit_test(ranges_over_deeper_tables_are_merged_without_a_manifest),
        cmocka_unit_test(what_the_log_brings_again_is_not_merged),
        cmocka_unit_test(a_repair_without_memory_can_be_done_again),
    };
    return cmocka_run_group_tests_name("engine.repair_ranges", tests, NULL, NULL);
}
