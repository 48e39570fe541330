/* How much a range of keys takes, against what a walk counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <support/rng.h>

#include "bed.h"

#define KEYS 60000

static void key_of(unsigned n, char key[16])
{
    snprintf(key, 16, "%08u", n);
}

/* Values of many sizes, so that blocks and tables hold different numbers of entries. */
static void fill(bed *b, rng *r, unsigned keys)
{
    static char value[500];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < keys; i++) {
        char key[16];
        key_of((unsigned)((uint64_t)i * 2654435761u % keys), key);
        for (size_t j = 0; j < 8; j++)
            value[j * 50] = (char)rng_next(r);
        MUST(firn_put(b->db, key, 8, value, 50 + rng_next(r) % 450, NULL, error));
    }
}

typedef struct range_of {
    char first[16], end[16];
    firn_slice first_slice, end_slice;
    firn_range range;
} range_of;

static void range_between(range_of *r, unsigned first, unsigned end)
{
    memset(r, 0, sizeof *r);
    key_of(first, r->first);
    key_of(end, r->end);
    r->first_slice = (firn_slice){(const uint8_t *)r->first, 8};
    r->end_slice = (firn_slice){(const uint8_t *)r->end, 8};
    r->range = (firn_range){&r->first_slice, &r->end_slice, 0};
}

static void about(uint64_t found, double should, double least)
{
    double most = should * 0.1 > least ? should * 0.1 : least;
    if ((double)found < should - most || (double)found > should + most)
        fail_msg("%llu, should be about %.0f", (unsigned long long)found, should);
}

/* In memory and at rest in tables, whatever their sizes and compression. Some blocks' worth is the least that ends cost. */
static void what_is_at_rest_is_told_within_a_tenth(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        bed b;
        rng r = rng_init(77 + way);
        bed_on_simfs(&b, 1);
        b.options.durability = FIRN_DURABILITY_NONE;
        b.options.table_bytes = 1 << 20;
        b.options.never_map = way == 1;
        b.options.compression = way == 1 ? FIRN_COMPRESSION_LZ4 : FIRN_COMPRESSION_NONE;
        bed_must_open(&b);
        fill(&b, &r, KEYS);
        if (way < 2)
            MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        uint64_t bytes, entries;
        MUST(firn_estimate(b.db, NULL, &bytes, &entries, error));
        about(entries, KEYS, 0);
        double each = (double)bytes / KEYS;
        uint64_t in_tables = 0;
        for (unsigned n = 0; n < FIRN_LEVELS; n++)
            in_tables += bed_stats(&b).level_bytes[n];
        if (way < 2)
            about(bytes, (double)in_tables, 0);
        for (unsigned i = 0; i < 300; i++) {
            unsigned first = (unsigned)(rng_next(&r) % KEYS);
            unsigned count = 1 + (unsigned)(rng_next(&r) % (KEYS - first));
            if (i % 3 == 0)
                count = 1 + count % 3000;
            range_of at;
            range_between(&at, first, first + count);
            MUST(firn_estimate(b.db, &at.range, &bytes, &entries, error));
            about(entries, count, count < 900 ? 0 : 60);
            if (count > 5000 && way == 0)
                about(bytes, each * count, 0);
        }
        bed_release(&b);
    }
}

static uint64_t entries_of(bed *b, const firn_range *range)
{
    uint64_t entries = 99;
    MUST(firn_estimate(b->db, range, NULL, &entries, error));
    return entries;
}

static uint64_t count_of(bed *b, const firn_range *range, const firn_snapshot *snapshot)
{
    uint64_t count = 99;
    firn_read_options o;
    firn_read_options_init(&o);
    o.snapshot = snapshot;
    MUST(firn_count(b->db, range, &o, &count, error));
    return count;
}

static void little_is_counted_exactly(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    assert_int_equal(entries_of(&b, NULL), 0);
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++)
        bed_put(&b, key, "value");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    bed_delete(&b, "d");
    bed_put(&b, "e", "newer");
    firn_slice c = {(const uint8_t *)"c", 1}, f = {(const uint8_t *)"f", 1}, empty = {NULL, 0};
    const struct {
        firn_range range;
        unsigned entries;
    } cases[] = {
        {{NULL, NULL, 0}, 25},
        {{&c, &f, 0}, 2},
        {{&c, &f, FIRN_FIRST_OPEN}, 1},
        {{&c, &f, FIRN_END_CLOSED}, 3},
        {{&c, &f, FIRN_FIRST_OPEN | FIRN_END_CLOSED}, 2},
        {{&c, NULL, 0}, 23},
        {{NULL, &c, 0}, 2},
        {{NULL, &c, FIRN_END_CLOSED}, 3},
        {{&f, &c, 0}, 0},
        {{&c, &c, 0}, 0},
        {{&c, &c, FIRN_END_CLOSED}, 1},
        {{&empty, NULL, 0}, 25},
        {{NULL, &empty, 0}, 0},
        {{NULL, NULL, FIRN_FIRST_OPEN | FIRN_END_CLOSED}, 25},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (entries_of(&b, &cases[i].range) != cases[i].entries)
            print_error("case %zu\n", i);
        assert_int_equal(entries_of(&b, &cases[i].range), cases[i].entries);
        assert_int_equal(count_of(&b, &cases[i].range, NULL), cases[i].entries);
    }
    bed_release(&b);
}

/* Against a plain list, in memory and in tables, now and at snapshots. */
static void keys_are_counted_exactly(void **state)
{
    (void)state;
    enum { COUNTED = 3000, SNAPSHOTS = 4 };
    bed b;
    rng r = rng_init(5);
    static bool there[SNAPSHOTS + 1][COUNTED]; /* the last one is now */
    firn_snapshot *held[SNAPSHOTS] = {NULL};
    memset(there, 0, sizeof there);
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    for (unsigned i = 0; i < 12000; i++) {
        char key[16];
        unsigned n = (unsigned)rng_below(&r, COUNTED);
        bool put = rng_below(&r, 3) > 0;
        key_of(n, key);
        if (put)
            bed_put(&b, key, "value");
        else
            bed_delete(&b, key);
        there[SNAPSHOTS][n] = put;
        if (i % 2500 == 2499) {
            MUST(firn_snapshot_new(b.db, &held[i / 2500], error));
            memcpy(there[i / 2500], there[SNAPSHOTS], sizeof there[0]);
        }
        if (i % 5000 == 4000)
            bed_flush(&b);
    }
    for (unsigned i = 0; i < 200; i++) {
        unsigned s = i % (SNAPSHOTS + 1), should = 0;
        unsigned first = (unsigned)rng_below(&r, COUNTED), end = (unsigned)rng_below(&r, COUNTED);
        range_of at;
        range_between(&at, first, end);
        for (unsigned n = first; n < end; n++)
            should += there[s][n];
        assert_int_equal(count_of(&b, &at.range, s < SNAPSHOTS ? held[s] : NULL), should);
    }
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        firn_snapshot_free(held[i]);
    bed_release(&b);
}

static void a_count_can_be_cancelled(void **state)
{
    (void)state;
    bed b;
    firn_cancel cancel = {0};
    firn_read_options o;
    uint64_t count = 7;
    firn_error err;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "");
    firn_read_options_init(&o);
    o.cancel = &cancel;
    MUST(firn_count(b.db, NULL, &o, &count, error));
    assert_int_equal(count, 1);
    count = 7;
    firn_cancel_fire(&cancel);
    assert_int_equal(firn_count(b.db, NULL, &o, &count, &err), FIRN_CANCELLED);
    firn_slice none = slice_of_str("");
    assert_int_equal(firn_count(b.db, &(firn_range){NULL, &none, 0}, &o, &count, &err),
                     FIRN_CANCELLED);
    o.size = 3;
    assert_int_equal(firn_count(b.db, NULL, &o, &count, &err), FIRN_INVALID);
    assert_int_equal(count, 7);
    bed_release(&b);
}

/* What the caller has is left alone by a call that fails. */
static void a_range_that_is_none_is_refused(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    firn_slice bad = {NULL, 3};
    uint64_t bytes = 7, entries = 7;
    const firn_range ranges[] = {{&bad, NULL, 0}, {NULL, &bad, 0}, {NULL, NULL, 4}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(firn_estimate(b.db, &ranges[i], &bytes, &entries, NULL), FIRN_INVALID);
        assert_int_equal(firn_count(b.db, &ranges[i], NULL, &entries, NULL), FIRN_INVALID);
    }
    assert_true(bytes == 7 && entries == 7);
    bed_release(&b);
}

static void what_cannot_be_read_is_told(void **state)
{
    (void)state;
    bed b;
    bool fails = true;
    uint64_t entries = 7;
    bed_on_simfs(&b, 1);
    b.options.never_map = true;
    bed_must_open(&b);
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++)
        bed_put(&b, key, "value");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    bed_must_close(&b);
    bed_must_open(&b);
    simfs_on_call(b.sim, bed_fail_reads, &fails);
    firn_slice c = {(const uint8_t *)"c", 1};
    firn_error err = {0};
    assert_int_equal(firn_estimate(b.db, &(firn_range){&c, NULL, 0}, NULL, &entries, &err),
                     FIRN_IO);
    assert_non_null(strstr(err.file, ".tbl"));
    assert_int_equal(firn_count(b.db, NULL, NULL, &entries, &err), FIRN_IO);
    assert_int_equal(entries, 7);
    fails = false;
    assert_int_equal(entries_of(&b, &(firn_range){&c, NULL, 0}), 24);
    assert_int_equal(count_of(&b, NULL, NULL), 26);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_at_rest_is_told_within_a_tenth),
        cmocka_unit_test(little_is_counted_exactly),
        cmocka_unit_test(keys_are_counted_exactly),
        cmocka_unit_test(a_count_can_be_cancelled),
        cmocka_unit_test(a_range_that_is_none_is_refused),
        cmocka_unit_test(what_cannot_be_read_is_told),
    };
    return cmocka_run_group_tests_name("engine.estimate", tests, NULL, NULL);
}
