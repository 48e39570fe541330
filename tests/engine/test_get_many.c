/* Many keys in one call: each has what firn_get says of it, at one moment, and what cannot be had is told key by key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <support/rng.h>

#include "at.h"
#include "bed.h"

#define KEYS 300

static firn_slice key_number(char room[16], unsigned i)
{
    return slice_of(room, (size_t)snprintf(room, 16, "key-%05u", i));
}

static void put_number(bed *b, unsigned i, const void *value, size_t size)
{
    char room[16];
    firn_slice key = key_number(room, i);
    MUST(firn_put(b->db, key.data, key.size, value, size, NULL, error));
}

/* In a memtable, in young tables and in levels, with tombstones and older versions. Every third key is never written. */
static void fill(bed *b, uint64_t seed)
{
    rng r = rng_init(seed);
    for (unsigned i = 0; i < 6 * KEYS; i++) {
        unsigned k = (unsigned)rng_below(&r, KEYS);
        char room[16];
        if (k % 3 == 0)
            continue;
        if (rng_below(&r, 4) == 0)
            bed_delete(b, (const char *)key_number(room, k).data);
        else
            put_number(b, k, &i, sizeof i);
        if (i == 2 * KEYS)
            MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
        if (i > 2 * KEYS && i % KEYS == 0)
            bed_flush(b);
    }
}

/* The keys of `numbers`, by one call and each by itself. */
static void compare(bed *b, const firn_read_options *o, const unsigned *numbers, size_t count)
{
    static char room[4 * KEYS][16];
    static firn_slice keys[4 * KEYS];
    static firn_value values[4 * KEYS];
    static int statuses[4 * KEYS];
    for (size_t i = 0; i < count; i++)
        keys[i] = key_number(room[i], numbers[i]);
    MUST(firn_get_many(b->db, keys, count, o, values, statuses, error));
    for (size_t i = 0; i < count; i++) {
        firn_value one;
        firn_error e = {0};
        int rc = firn_get(b->db, keys[i].data, keys[i].size, AT(o ? o->snapshot : NULL), &one, &e);
        assert_int_equal(statuses[i], rc);
        assert_int_equal(values[i].size, one.size);
        if (one.size)
            assert_memory_equal(values[i].data, one.data, one.size);
        firn_value_release(&one);
        firn_value_release(&values[i]);
    }
}

static void many_say_what_each_get_says(void **state)
{
    (void)state;
    static unsigned numbers[4 * KEYS];
    for (uint64_t seed = 1; seed <= 4; seed++) {
        bed b;
        bed_on_simfs(&b, seed);
        b.options.never_map = seed % 2;
        bed_must_open(&b);
        fill(&b, seed);
        firn_read_options o;
        firn_read_options_init(&o);
        firn_snapshot *snapshot;
        MUST(firn_snapshot_new(b.db, &snapshot, error));
        fill(&b, seed + 100);
        rng r = rng_init(seed);
        for (size_t count = 0; count <= 4 * KEYS; count += count < 70 ? 1 : 97) {
            for (size_t i = 0; i < count; i++)
                numbers[i] = (unsigned)rng_below(&r, KEYS);
            compare(&b, NULL, numbers, count);
            o.snapshot = count % 2 ? snapshot : NULL;
            compare(&b, &o, numbers, count);
        }
        firn_snapshot_free(snapshot);
        bed_release(&b);
    }
}

/* Keys that are prefixes of each other, of no bytes, and with nothing in common. */
static void any_keys_can_be_asked_for(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    static const char *const texts[] = {"", "a", "aaaaaaaaaaaa", "aaaaaaaaaaab", "aaaaaaaa", "zz"};
    enum { COUNT = sizeof texts / sizeof *texts };
    firn_slice keys[COUNT];
    firn_value values[COUNT];
    int statuses[COUNT];
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            bed_put(&b, texts[i], texts[i]);
            keys[COUNT - 1 - i] = slice_of_str(texts[i]);
        }
        MUST(firn_get_many(b.db, keys, COUNT, NULL, values, statuses, error));
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(statuses[i], FIRN_OK);
            assert_true(slice_equal((firn_slice){values[i].data, values[i].size}, keys[i]));
            firn_value_release(&values[i]);
        }
        bed_flush(&b);
    }
    keys[0] = (firn_slice){NULL, 0}; /* may be NULL, as everywhere */
    MUST(firn_get_many(b.db, keys, 1, NULL, values, statuses, error));
    assert_true(statuses[0] == FIRN_OK && values[0].size == 0);
    firn_value_release(&values[0]);
    bed_release(&b);
}

/* Held values are counted, and closing says how many. */
static void values_are_held_until_they_are_released(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill(&b, 1);
    char room[3][16];
    firn_slice keys[3];
    firn_value values[3];
    int statuses[3];
    unsigned wanted[3] = {1, 3, 4}; /* 3 is not there */
    for (size_t i = 0; i < 3; i++) {
        keys[i] = key_number(room[i], wanted[i]);
        put_number(&b, wanted[i], "before", 6);
    }
    bed_delete(&b, room[1]);
    bed_flush(&b);
    MUST(firn_get_many(b.db, keys, 3, NULL, values, statuses, error));
    assert_int_equal(statuses[1], FIRN_NOT_FOUND);
    assert_null(values[1].data);
    firn_error e = {0};
    assert_int_equal(firn_close(b.db, &e), FIRN_INVALID);
    assert_non_null(strstr(e.message, "values: 2"));
    put_number(&b, 1, "behind", 6);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_memory_equal(values[0].data, "before", 6);
    firn_value_release(&values[2]);
    firn_value_release(&values[0]);
    bed_must_close(&b);
    bed_release(&b);
}

/* Keys below 200 lie in tables, which cannot be read; those from there on in memory. */
static void what_cannot_be_read_costs_no_other_key(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    bed b;
    bool fails = false;
    bed_on_simfs(&b, 1);
    b.options.never_map = true;
    b.options.filter_bits = 0;
    b.options.segment_bytes = 64 << 10;
    bed_must_open(&b);
    for (unsigned i = 0; i < 200; i++)
        put_number(&b, i, &i, sizeof i);
    bed_must_close(&b); /* and nothing is cached */
    bed_must_open(&b);
    bed_flush(&b);
    for (unsigned i = 200; i < 400; i++)
        put_number(&b, i, &i, sizeof i);
    simfs_on_call(b.sim, bed_fail_reads, &fails);
    char room[COUNT][16];
    firn_slice keys[COUNT];
    firn_value values[COUNT];
    int statuses[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        keys[i] = key_number(room[i], 399 - 4 * i);
    fails = true;
    firn_error e = {0};
    assert_int_equal(firn_get_many(b.db, keys, COUNT, NULL, values, statuses, &e), FIRN_IO);
    assert_int_equal(e.status, FIRN_IO);
    assert_non_null(strstr(e.file, ".tbl"));
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(statuses[i], i < 50 ? FIRN_OK : FIRN_IO);
        assert_int_equal(values[i].size, i < 50 ? sizeof i : 0);
        firn_value_release(&values[i]);
    }
    fails = false;
    MUST(firn_get_many(b.db, keys, COUNT, NULL, values, statuses, error));
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned number;
        memcpy(&number, values[i].data, sizeof number);
        assert_int_equal(number, 399 - 4 * i);
        firn_value_release(&values[i]);
    }
    bed_release(&b);
}

/* Sorting needs memory for many keys. Without it they are looked for as they come. */
static void without_memory_to_sort_them_all_are_found(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    static char room[KEYS][16];
    static firn_slice keys[KEYS];
    static firn_value values[KEYS];
    static int statuses[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        put_number(&b, i, &i, sizeof i);
        keys[KEYS - 1 - i] = key_number(room[i], i);
    }
    alloc_fail_at(1);
    firn_error e = {0};
    int rc = firn_get_many(b.db, keys, KEYS, NULL, values, statuses, &e);
    alloc_fail_at(0);
    assert_int_equal(rc, FIRN_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned number;
        assert_int_equal(statuses[i], FIRN_OK);
        memcpy(&number, values[i].data, sizeof number);
        assert_int_equal(number, KEYS - 1 - i);
        firn_value_release(&values[i]);
    }
    bed_release(&b);
}

static void wrong_calls_touch_nothing(void **state)
{
    (void)state;
    bed a, b;
    bed_on_simfs(&a, 1);
    bed_must_open(&a);
    bed_on_simfs(&b, 2);
    bed_must_open(&b);
    bed_put(&a, "k", "v");
    firn_slice keys[2] = {slice_of_str("k"), {NULL, 3}};
    firn_value values[2];
    int statuses[2];
    firn_error e = {0};
    memset(values, 1, sizeof values);
    assert_int_equal(firn_get_many(a.db, keys, 2, NULL, values, statuses, &e), FIRN_INVALID);
    assert_non_null(strstr(e.message, "key 1"));
    for (size_t i = 0; i < 2; i++)
        assert_true(statuses[i] == FIRN_INVALID && !values[i].data && !values[i].pin[0]);
    firn_read_options o;
    firn_read_options_init(&o);
    firn_snapshot *snapshot;
    MUST(firn_snapshot_new(b.db, &snapshot, error));
    o.snapshot = snapshot;
    assert_int_equal(firn_get_many(a.db, keys, 1, &o, values, statuses, &e), FIRN_INVALID);
    assert_non_null(strstr(e.message, "another store"));
    firn_snapshot_free(snapshot);
    o.size = 1;
    assert_int_equal(firn_get_many(a.db, keys, 1, &o, values, statuses, &e), FIRN_INVALID);
    assert_non_null(strstr(e.hint, "firn_read_options_init"));
    assert_int_equal(firn_get_many(a.db, NULL, 0, NULL, NULL, NULL, &e), FIRN_OK);
    bed_release(&a);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_say_what_each_get_says),
        cmocka_unit_test(any_keys_can_be_asked_for),
        cmocka_unit_test(values_are_held_until_they_are_released),
        cmocka_unit_test(what_cannot_be_read_costs_no_other_key),
        cmocka_unit_test(without_memory_to_sort_them_all_are_found),
        cmocka_unit_test(wrong_calls_touch_nothing),
    };
    return cmocka_run_group_tests_name("engine.get_many", tests, NULL, NULL);
}
