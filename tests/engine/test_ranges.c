/* Range deletes: what they cover, in memory and in tables, as a definition says that goes over a
 * plain list of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/slice.h>
#include <store/store.h>
#include <tree/names.h>
#include <tree/range_map.h>
#include <tree/view.h>

#include "ranges.h"

enum { KEYS = 24, ADDS = 60, ROUNDS = 40 };

static uint8_t key_bytes[KEYS];

static firn_slice key_at(size_t i)
{
    key_bytes[i] = (uint8_t)(i * 10);
    return (firn_slice){&key_bytes[i], i > 0}; /* the first one is empty */
}

typedef struct deletes {
    fragment list[ADDS];
    size_t count;
} deletes;

static uint64_t by_definition(const deletes *d, firn_slice key, uint64_t seq_max)
{
    uint64_t greatest = 0;
    for (size_t i = 0; i < d->count; i++)
        if (slice_compare(d->list[i].first, key) <= 0 && slice_compare(key, d->list[i].end) < 0 &&
            d->list[i].seq <= seq_max && d->list[i].seq > greatest)
            greatest = d->list[i].seq;
    return greatest;
}

static fragment random_range(rng *r, uint64_t seq)
{
    size_t first = rng_below(r, KEYS - 1), end = first + 1 + rng_below(r, KEYS - 1 - first);
    return (fragment){key_at(first), key_at(end), seq};
}

/* ---- The map ---- */

static void cover_is_right(const deletes *d, const cover *c, firn_slice key, uint64_t seq)
{
    assert_int_equal(c->seq, by_definition(d, key, seq));
    assert_true(cover_has(c, key));
    for (size_t i = 0; i < KEYS; i++)
        if (cover_has(c, key_at(i)))
            assert_int_equal(by_definition(d, key_at(i), seq), c->seq);
}

static void a_map_knows_what_covers_a_key_at_each_number(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        rng r = rng_init(seed);
        range_map m = {0};
        deletes d = {.count = 0};
        uint64_t ends[ADDS], seq = 1;
        size_t groups = 0;
        assert_false(range_map_any(&m));
        while (d.count < ADDS) {
            size_t together = 1 + rng_below(&r, 4);
            if (together > ADDS - d.count)
                together = ADDS - d.count;
            assert_int_equal(range_map_reserve(&m, together), FIRN_OK);
            for (; together; together--, seq += 1 + rng_below(&r, 3)) {
                fragment f = d.list[d.count++] = random_range(&r, seq);
                range_map_add(&m, f.first, f.end, f.seq);
            }
            assert_true(range_map_is_pending(&m));
            range_map_publish(&m, seq - 1);
            ends[groups++] = seq - 1;
        }
        for (size_t g = 0; g < groups; g++)
            for (size_t i = 0; i < KEYS; i++) {
                cover c;
                range_map_cover(&m, key_at(i), ends[g], &c);
                cover_is_right(&d, &c, key_at(i), ends[g]);
                assert_int_equal(range_map_find(&m, key_at(i), ends[g]), c.seq);
            }
        assert_int_equal(range_map_find(&m, key_at(3), 0), 0);
        range_map_release(&m);
        assert_int_equal(range_map_memory(&m), 0);
    }
}

static uint32_t first_of(unsigned shape, uint32_t i, uint32_t many)
{
    switch (shape) {
    case 0:
        return 0;
    case 1:
        return i;
    case 2:
        return many - 1 - i;
    case 3:
        return i / 2;
    default: /* few that come again and again, and in between one that is new */
        return i & 1 ? i / 2 % 16 : 16 + i / 2;
    }
}

/* Neither nested ranges, nor neighbours, nor many of them make an answer or an add cost more than
 * the logarithm of their number. */
static void many_ranges_stay_cheap(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    uint8_t *keys = calloc(MANY + 1, 4);
    for (uint32_t i = 0; i <= MANY; i++)
        for (unsigned b = 0; b < 4; b++)
            keys[4 * i + b] = (uint8_t)(i >> (24 - 8 * b));
    for (unsigned shape = 0; shape < 5; shape++) {
        range_map m = {0};
        for (uint32_t i = 0; i < MANY; i++) {
            uint32_t first = first_of(shape, i, MANY);
            uint32_t end = shape == 0 ? i + 1 : shape == 3 ? MANY - i / 2 : first + 1;
            assert_int_equal(range_map_reserve(&m, 1), FIRN_OK);
            range_map_add(&m, slice_of(keys + 4 * first, 4), slice_of(keys + 4 * end, 4), i + 1);
            range_map_publish(&m, i + 1);
        }
        for (uint32_t i = 0; i < MANY; i += 7) { /* also at numbers long ago */
            uint32_t at = shape == 0 ? i : first_of(shape, i, MANY);
            assert_int_equal(range_map_find(&m, slice_of(keys + 4 * at, 4), i + 1), i + 1);
        }
        assert_in_range(range_map_memory(&m), 1, (size_t)MANY * 4096);
        range_map_release(&m);
    }
    free(keys);
}

/* ---- Settling ---- */

/* Those with the same numbers would be one. */
static void neighbours_differ(const fragment_list *l)
{
    for (size_t end, i = 0, last = 0; i < l->count; last = i, i = end) {
        end = i + 1;
        while (end < l->count && slice_equal(l->list[end].first, l->list[i].first))
            end++;
        if (i == last || !slice_equal(l->list[last].end, l->list[i].first) || end - i != i - last)
            continue;
        size_t same = 0;
        while (i + same < end && l->list[last + same].seq == l->list[i + same].seq)
            same++;
        assert_true(i + same < end);
    }
}

/* As tables have it that were cut there. */
static void add_in_pieces(fragment_list *l, rng *r, fragment f)
{
    firn_slice end = f.end, cut = key_at(rng_below(r, KEYS));
    if (slice_compare(f.first, cut) < 0 && slice_compare(cut, end) < 0) {
        f.end = cut;
        assert_int_equal(fragment_list_add(l, f), FIRN_OK);
        f.first = cut;
        f.end = end;
    }
    assert_int_equal(fragment_list_add(l, f), FIRN_OK);
}

static void settling_keeps_what_readers_can_tell(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5 * ROUNDS; seed++) {
        rng r = rng_init(seed);
        deletes d = {.count = 0};
        fragment_list l = {0};
        uint64_t snapshots[3];
        size_t n = rng_below(&r, 4), count = rng_below(&r, ADDS);
        for (size_t i = 0; i < n; i++)
            snapshots[i] = (i ? snapshots[i - 1] : 0) + 1 + rng_below(&r, 25);
        for (uint64_t seq = 1; d.count < count; seq += 1 + rng_below(&r, 2)) {
            d.list[d.count] = random_range(&r, seq);
            add_in_pieces(&l, &r, d.list[d.count++]);
        }
        assert_int_equal(fragments_settle(&l, snapshots, n), FIRN_OK);
        fragments f = fragments_of(&l);
        for (size_t i = 0; i < KEYS; i++)
            for (size_t s = 0; s <= n; s++) {
                uint64_t at = s < n ? snapshots[s] : FIRN_MAX_SEQ;
                cover c;
                assert_int_equal(fragments_find(&f, key_at(i), at),
                                 by_definition(&d, key_at(i), at));
                fragments_cover(&f, key_at(i), at, &c);
                assert_int_equal(c.seq, by_definition(&d, key_at(i), at));
                assert_true(cover_has(&c, key_at(i)));
            }
        for (size_t i = 1; i < l.count; i++) { /* D1, and no number that none can tell */
            const fragment *a = &l.list[i - 1], *b = &l.list[i];
            if (slice_compare(a->end, b->first) <= 0)
                continue;
            assert_true(slice_equal(a->first, b->first) && slice_equal(a->end, b->end));
            bool between = false;
            for (size_t s = 0; s < n; s++)
                between = between || (snapshots[s] >= b->seq && snapshots[s] < a->seq);
            assert_true(between);
        }
        neighbours_differ(&l);
        fragment_list_release(&l);
    }
}

static void a_table_may_be_covered_by_many(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10 * ROUNDS; seed++) {
        rng r = rng_init(seed);
        deletes d = {.count = 0};
        fragment_list l = {0};
        while (d.count < 8) {
            d.list[d.count] = random_range(&r, 1 + d.count);
            assert_int_equal(fragment_list_add(&l, d.list[d.count++]), FIRN_OK);
        }
        static const uint64_t each[] = {1, 2, 3, 4, 5, 6, 7};
        assert_int_equal(fragments_settle(&l, each, 7), FIRN_OK);
        fragments f = fragments_of(&l);
        size_t first = rng_below(&r, KEYS), last = first + rng_below(&r, KEYS - first);
        uint64_t above = rng_below(&r, 8), most = above + 1 + rng_below(&r, 8);
        bool all = true;
        for (size_t i = first; all && i <= last; i++)
            all = by_definition(&d, key_at(i), most) > above;
        assert_int_equal(fragments_cover_all(&f, key_at(first), key_at(last), false, above, most),
                         all);
        all = true;
        for (size_t i = first; all && i < last; i++)
            all = by_definition(&d, key_at(i), most) > above;
        if (first < last)
            assert_int_equal(
                fragments_cover_all(&f, key_at(first), key_at(last), true, above, most), all);
        fragment_list_release(&l);
    }
}

/* ---- A store ---- */

/* Exactly the numbers of [0, first) and [end, all) are there, and perhaps one between them. */
static void expect_hole(firn *db, const firn_snapshot *at, unsigned first, unsigned end,
                        unsigned all, unsigned between)
{
    firn_iter_options o;
    firn_iter *it = NULL;
    char key[16];
    firn_iter_options_init(&o);
    o.snapshot = at;
    MUST(firn_iter_new(db, &o, &it, error));
    int rc = firn_iter_first(it);
    for (unsigned i = 0; i < all; i++) {
        if (i >= first && i < end && i != between)
            continue;
        numbered(key, i);
        assert_int_equal(rc, FIRN_OK);
        assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
        expect_at(db, at, key, i == between ? "new" : "old");
        rc = firn_iter_next(it);
    }
    assert_int_equal(rc, FIRN_END);
    rc = firn_iter_last(it);
    for (unsigned i = all; i-- > 0;) {
        if (i >= first && i < end && i != between)
            continue;
        numbered(key, i);
        assert_int_equal(rc, FIRN_OK);
        assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
        rc = firn_iter_prev(it);
    }
    assert_int_equal(rc, FIRN_END);
    firn_iter_free(it);
}

static void checks_well(const bed *b)
{
    MUST(engine_check(b->config.fs, b->folder, NULL, NULL, NULL, error));
}

/* While a snapshot needs what was deleted, the range delete stays, cut where tables are cut. */
static void a_hole_stays_through_flush_and_compaction(void **state)
{
    (void)state;
    enum { ALL = 3000, FIRST = 500, END = 2500, BETWEEN = 1234 };
    for (unsigned where = 0; where < 4; where++) {
        bed b;
        firn_snapshot *before = NULL;
        begin(&b);
        put_many(&b, 0, ALL, "old");
        if (where & 1)
            MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        MUST(firn_snapshot_new(b.db, &before, error));
        delete_numbers(b.db, FIRST, END);
        put_many(&b, BETWEEN, BETWEEN + 1, "new");
        for (unsigned step = 0; step < 3; step++) {
            expect_hole(b.db, NULL, FIRST, END, ALL, BETWEEN);
            expect_hole(b.db, before, 0, 0, ALL, ALL);
            if (step == 0 && where & 2)
                bed_flush(&b);
            else
                MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        }
        assert_true(bed_stats(&b).level_deletes[1] > 1); /* in several tables */
        firn_snapshot_free(before);
        bed_must_close(&b);
        checks_well(&b);
        bed_must_open(&b);
        expect_hole(b.db, NULL, FIRST, END, ALL, BETWEEN);
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        expect_hole(b.db, NULL, FIRST, END, ALL, BETWEEN);
        firn_stats s = bed_stats(&b);
        for (unsigned n = 0; n < FIRN_LEVELS; n++)
            assert_int_equal(s.level_deletes[n], 0);
        bed_release(&b);
    }
}

static void tables_that_are_covered_go_without_being_read(void **state)
{
    (void)state;
    enum { ALL = 3000 };
    for (unsigned lot = 0; lot < 2; lot++) {
        bed b;
        edit_watch w = {.fails = false};
        begin(&b);
        put_many(&b, 0, ALL, "old");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        bed_must_close(&b); /* no table is open */
        simfs_mapping_ok(b.sim, false);
        bed_must_open(&b);
        uint64_t tables = bed_tables(&b);
        assert_true(tables > 4);
        w.fails = true;
        name_table(atomic_load(&b.db->store->next_file_no), w.newest);
        simfs_on_call(b.sim, on_read, &w);
        firn_snapshot *before = NULL;
        if (lot == 1)
            MUST(firn_snapshot_new(b.db, &before, error));
        delete_numbers(b.db, 0, ALL);
        bed_flush(&b);
        firn_error err = {0};
        (void)firn_settle(b.db, &err);
        assert_true(lot == 1 ? bed_tables(&b) >= tables : bed_tables(&b) <= 1);
        w.fails = false;
        firn_snapshot_free(before);
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        assert_int_equal(bed_tables(&b), 0);
        expect_walk(b.db, "");
        bed_release(&b);
    }
}

/* Under a range delete, a seek reads no more than if there were nothing, wherever that lies. */
static void a_seek_does_not_walk_over_what_was_deleted(void **state)
{
    (void)state;
    enum { ALL = 20000 };
    bed b;
    edit_watch w = {.fails = false};
    begin(&b);
    simfs_mapping_ok(b.sim, false);
    put_many(&b, 0, ALL, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    firn_snapshot *before = NULL;
    MUST(firn_snapshot_new(b.db, &before, error));
    delete_numbers(b.db, 10, ALL - 10);
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        firn_iter *it = NULL;
        char key[16];
        simfs_on_call(b.sim, on_read, &w);
        w.reads = 0;
        MUST(firn_iter_new(b.db, NULL, &it, error));
        numbered(key, 100);
        MUST(firn_iter_seek(it, key, strlen(key)));
        numbered(key, ALL - 10);
        assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
        MUST(firn_iter_prev(it));
        numbered(key, 9);
        assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
        firn_iter_free(it);
        assert_in_range(w.reads, 0, 40);
        bed_flush(&b);
    }
    simfs_on_call(b.sim, NULL, NULL);
    firn_snapshot_free(before);
    bed_release(&b);
}

/* Dead entries of a memtable are passed one by one: many of them are a reason to flush. */
static void a_memtable_of_dead_entries_is_flushed_soon(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    bed_must_close(&b);
    MUST(firn_options_set(&b.options, "memory", "64MiB", error));
    b.options.segment_bytes = 32 << 20;
    bed_must_open(&b);
    put_many(&b, 0, MEM_DOOMED_MOST + 1000, "old");
    mem *first = b.db->store->active;
    mem_ref(first);
    delete_numbers(b.db, 0, 10);
    assert_false(atomic_load(&first->soon));
    delete_numbers(b.db, 10, MEM_DOOMED_MOST + 1000);
    assert_true(atomic_load(&first->soon));
    mem_unref(first);
    MUST(firn_settle(b.db, error));
    assert_int_equal(atomic_load(&b.db->store->flushed_seq), firn_last_seq(b.db));
    /* And so is one under which a whole table may go. */
    put_many(&b, 0, 10, "old");
    bed_flush(&b);
    delete_numbers(b.db, 5, 20);
    assert_false(atomic_load(&b.db->store->active->soon));
    delete_numbers(b.db, 0, MEM_DOOMED_MOST + 2000);
    MUST(firn_settle(b.db, error));
    expect_walk(b.db, "");
    bed_release(&b);
}

static int refused(firn *db, const firn_range *range, firn_error *err)
{
    *err = (firn_error){0};
    int rc = firn_delete_range(db, range, NULL, err);
    assert_int_equal(err->status, rc);
    return rc;
}

static void what_is_no_range_is_refused(void **state)
{
    (void)state;
    static uint8_t longest[FIRN_MAX_KEY_BYTES + 1];
    bed b;
    firn_error err;
    firn_batch *batch = new_batch();
    begin(&b);
    put(b.db, "k", "v");
    const firn_slice a = slice_of_str("a"), z = slice_of_str("z"), null = {NULL, 3},
                     empty = {NULL, 0}, long_one = {longest, sizeof longest},
                     greatest = {longest, FIRN_MAX_KEY_BYTES};
    const struct {
        firn_range range;
        int status;
    } cases[] = {
        {{&a, &a, 0}, FIRN_INVALID},
        {{&z, &a, 0}, FIRN_INVALID},
        {{NULL, &empty, 0}, FIRN_INVALID},
        {{&a, &a, FIRN_FIRST_OPEN | FIRN_END_CLOSED}, FIRN_INVALID},
        {{&null, &z, 0}, FIRN_INVALID},
        {{&a, &null, 0}, FIRN_INVALID},
        {{&a, &z, 4}, FIRN_INVALID},
        {{&long_one, NULL, 0}, FIRN_TOO_LARGE},
        {{NULL, &long_one, 0}, FIRN_TOO_LARGE},
        {{NULL, &long_one, FIRN_END_CLOSED}, FIRN_TOO_LARGE},
        {{&greatest, NULL, FIRN_FIRST_OPEN}, FIRN_INVALID},
    };
    memset(longest, 0xff, sizeof longest);
    uint64_t seq = firn_last_seq(b.db);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(refused(b.db, &cases[i].range, &err), cases[i].status);
        firn_op o = {.size = sizeof o, .kind = FIRN_OP_DELETE_RANGE, .range = cases[i].range};
        assert_int_equal(firn_batch_add(batch, &o, 1, &err), cases[i].status);
    }
    firn_op keyed = {.size = sizeof keyed, .kind = FIRN_OP_DELETE_RANGE, .key = a};
    assert_int_equal(firn_batch_add(batch, &keyed, 1, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "key"));
    assert_int_equal(firn_last_seq(b.db), seq);
    assert_int_equal(firn_batch_count(batch), 0);
    expect(b.db, "k", "v");
    /* The longest ones that there are. */
    MUST(firn_delete_range(b.db, &(firn_range){&greatest, NULL, 0}, NULL, error));
    MUST(firn_delete_range(b.db, &(firn_range){&a, &greatest, FIRN_END_CLOSED}, NULL, error));
    expect_walk(b.db, "");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    /* As it was before there were ranges, and as it never was. */
    firn_op early = {.size = offsetof(firn_op, range), .kind = FIRN_OP_DELETE_RANGE};
    assert_int_equal(firn_batch_add(batch, &early, 1, &err), FIRN_INVALID);
    early.kind = FIRN_OP_PUT;
    assert_int_equal(firn_batch_add(batch, &early, 1, &err), FIRN_OK);
    early.size -= sizeof(size_t);
    assert_int_equal(firn_batch_add(batch, &early, 1, &err), FIRN_INVALID);
    firn_batch_free(batch);
    bed_release(&b);
}

/* A key of the greatest length is followed by no longer one: what goes on behind it begins with
 * another key. */
static void ranges_go_on_behind_the_longest_keys(void **state)
{
    (void)state;
    static uint8_t bytes[FIRN_MAX_KEY_BYTES];
    const firn_slice a = slice_of_str("a"), z = slice_of_str("z"), longest = {bytes, sizeof bytes};
    for (unsigned last = 0; last < 2; last++)
        for (unsigned order = 0; order < 2; order++) {
            bed b;
            firn_snapshot *between = NULL, *before = NULL;
            begin(&b);
            memset(bytes, 'm', sizeof bytes);
            bytes[sizeof bytes - 1] = last ? 0xff : 'm';
            put(b.db, "b", "v");
            MUST(firn_put(b.db, bytes, sizeof bytes, "v", 1, NULL, error));
            put(b.db, "n", "v");
            MUST(firn_snapshot_new(b.db, &before, error));
            firn_range wide = {&a, &z, 0}, up_to = {&a, &longest, FIRN_END_CLOSED},
                       behind = {&longest, &z, FIRN_FIRST_OPEN};
            MUST(firn_delete_range(b.db, order ? &up_to : &wide, NULL, error));
            MUST(firn_snapshot_new(b.db, &between, error));
            MUST(firn_delete_range(b.db, order ? &behind : &up_to, NULL, error));
            for (unsigned step = 0; step < 3; step++) {
                expect_walk(b.db, "");
                expect_at(b.db, between, "n", order ? "v" : NULL);
                expect_at(b.db, before, "n", "v");
                if (step == 0)
                    bed_flush(&b);
                else
                    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
            }
            firn_snapshot_free(between);
            firn_snapshot_free(before);
            bed_must_close(&b);
            checks_well(&b);
            bed_must_open(&b);
            expect_walk(b.db, "");
            bed_release(&b);
        }
}

/* Tables of range deletes alone end where tables end. */
static void many_ranges_fill_many_tables(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    bed b;
    firn_snapshot *before = NULL;
    begin(&b);
    put(b.db, "k", "v");
    MUST(firn_snapshot_new(b.db, &before, error));
    for (unsigned i = 0; i < MANY; i++)
        delete_numbers(b.db, 10 * i, 10 * i + 5 + i % 6);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    firn_stats s = bed_stats(&b);
    unsigned n = 1;
    while (s.level_tables[n] == 0)
        n++;
    assert_true(s.level_tables[n] > 10);
    assert_true(s.level_bytes[n] / s.level_tables[n] < 2 * b.options.table_bytes);
    expect_walk(b.db, "k");
    firn_snapshot_free(before);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_tables(&b), 1);
    bed_must_close(&b);
    checks_well(&b);
    bed_release(&b);
}

/* A caller of firn_compact is told what fails, or goes on without it; and writers go on. */
static void a_drop_that_fails_is_told(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    begin(&b);
    put_many(&b, 0, 2000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    b.db->store->work_behind = NULL; /* nothing is done beside the calls */
    delete_numbers(b.db, 0, 2000);
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_WRITE | SIMFS_WRITE_DURABLE | SIMFS_SYNC,
                                    .at = 1,
                                    .error = EIO,
                                    .forever = true});
    assert_int_not_equal(firn_compact(b.db, NULL, 0, NULL, 0, &err), FIRN_OK);
    simfs_heal(b.sim);
    expect_walk(b.db, "");
    bed_release(&b);
}

/* What cannot be read for a while stops no writer. */
static void a_range_table_that_cannot_be_read_is_tried_again(void **state)
{
    (void)state;
    bed b;
    edit_watch w = {.fails = false};
    firn_snapshot *before = NULL;
    firn_error err = {0};
    begin(&b);
    put_many(&b, 0, 2000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    MUST(firn_snapshot_new(b.db, &before, error));
    delete_numbers(b.db, 100, 1900);
    bed_flush(&b);
    firn_snapshot_free(before);
    bed_must_close(&b);
    simfs_mapping_ok(b.sim, false);
    bed_must_open(&b);
    simfs_on_call(b.sim, on_read, &w);
    w.fails = true;
    name_table(UINT64_C(1) << 50, w.newest);
    assert_int_equal(firn_compact(b.db, NULL, 0, NULL, 0, &err), FIRN_IO);
    put(b.db, "z", "v");
    w.fails = false;
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    expect(b.db, "z", "v");
    expect(b.db, "k000150", NULL);
    bed_release(&b);
}

/* Of what a snapshot sees, nothing can go, and of range deletes alone there is nothing to have. */
static void space_is_wanted_where_there_is_some(void **state)
{
    (void)state;
    bed b;
    firn_snapshot *before = NULL;
    begin(&b);
    put_many(&b, 0, 2000, "old");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    MUST(firn_snapshot_new(b.db, &before, error));
    mem *active = b.db->store->active;
    for (unsigned i = 1; i < 20; i++)
        delete_numbers(b.db, 0, 100 * i);
    assert_ptr_equal(b.db->store->active, active);
    bed_flush(&b);
    active = b.db->store->active;
    firn_snapshot_free(before);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    MUST(firn_snapshot_new(b.db, &before, error));
    delete_numbers(b.db, 0, 100);
    bed_flush(&b); /* a table of that alone */
    firn_snapshot_free(before);
    active = b.db->store->active;
    delete_numbers(b.db, 0, 200);
    assert_ptr_equal(b.db->store->active, active);
    bed_release(&b);
}

/* What was filled again behind a range delete goes by the next one over the same keys: where the
 * first one ended is no key of the table, unless one was put there. */
static void a_table_that_ends_with_a_range_is_covered_by_it(void **state)
{
    (void)state;
    enum { ALL = 500 };
    for (unsigned there = 0; there < 2; there++) {
        bed b;
        edit_watch w = {.fails = true};
        firn_snapshot *early = NULL; /* for which range deletes stay */
        firn_error err = {0};
        char key[16];
        bed_on_simfs(&b, 1);
        simfs_mapping_ok(b.sim, false);
        bed_must_open(&b);
        firn *other = open_one(b.db, "other", true);
        put(other, "so that", "it sees something");
        MUST(firn_close(other, error));
        MUST(firn_snapshot_new(b.db, &early, error));
        delete_numbers(b.db, 0, ALL);
        put_many(&b, 0, ALL + there, "old");
        bed_flush(&b);
        assert_true(bed_tables(&b) > 1);
        name_table(atomic_load(&b.db->store->next_file_no), w.newest);
        simfs_on_call(b.sim, on_read, &w);
        delete_numbers(b.db, 0, ALL);
        bed_flush(&b);
        (void)firn_settle(b.db, &err);
        /* The other bucket's, the new range delete, and that one key. */
        assert_int_equal(bed_tables(&b), 2 + there);
        w.fails = false;
        numbered(key, ALL);
        expect(b.db, key, there ? "old" : NULL);
        expect(b.db, "k000001", NULL);
        firn_snapshot_free(early);
        bed_release(&b);
    }
}

/* One range delete may hide more than all else in the memtable, and nothing goes before it is in a
 * table. */
static void an_idle_store_flushes_range_deletes(void **state)
{
    (void)state;
    for (unsigned ranges = 0; ranges < 2; ranges++) {
        bed b;
        begin(&b);
        put_many(&b, 0, 10, "old");
        bed_flush(&b);
        if (ranges)
            delete_numbers(b.db, 2, 4);
        else
            bed_delete(&b, "k000003");
        store *db = b.db->store;
        mutex_lock(&db->state_mu);
        store_want_idle_rotation(db);
        mutex_unlock(&db->state_mu);
        MUST(firn_settle(b.db, error));
        assert_int_equal(atomic_load(&db->flushed_seq) == firn_last_seq(b.db), ranges);
        expect(b.db, "k000003", NULL);
        bed_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_knows_what_covers_a_key_at_each_number),
        cmocka_unit_test(many_ranges_stay_cheap),
        cmocka_unit_test(settling_keeps_what_readers_can_tell),
        cmocka_unit_test(a_table_may_be_covered_by_many),
        cmocka_unit_test(a_hole_stays_through_flush_and_compaction),
        cmocka_unit_test(tables_that_are_covered_go_without_being_read),
        cmocka_unit_test(a_seek_does_not_walk_over_what_was_deleted),
        cmocka_unit_test(a_memtable_of_dead_entries_is_flushed_soon),
        cmocka_unit_test(what_is_no_range_is_refused),
        cmocka_unit_test(ranges_go_on_behind_the_longest_keys),
        cmocka_unit_test(many_ranges_fill_many_tables),
        cmocka_unit_test(a_drop_that_fails_is_told),
        cmocka_unit_test(a_range_table_that_cannot_be_read_is_tried_again),
        cmocka_unit_test(space_is_wanted_where_there_is_some),
        cmocka_unit_test(a_table_that_ends_with_a_range_is_covered_by_it),
        cmocka_unit_test(an_idle_store_flushes_range_deletes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
