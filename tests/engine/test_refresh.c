/* Iterators that move their view forward, and calls that another thread ends. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/thread.h>

#include "walks.h"

static firn_iter *new_iter(bed *b, const firn_iter_options *o)
{
    firn_iter *it = NULL;
    MUST(firn_iter_new(b->db, o, &it, error));
    return it;
}

static void is_at(firn_iter *it, const char *key, const char *value)
{
    assert_true(firn_iter_valid(it));
    assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
    assert_true(slice_equal(firn_iter_value(it), slice_of_str(value)));
}

/* ---- Refresh ---- */

static void a_refreshed_iterator_sees_what_is_newest(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        for (char key[2] = "b"; key[0] <= 'h'; key[0]++)
            bed_put(&b, key, "1");
        firn_iter *it = new_iter(&b, NULL);
        assert_int_equal(back ? firn_iter_last(it) : firn_iter_first(it), FIRN_OK);
        while (firn_iter_key(it).data[0] != 'd')
            assert_int_equal(back ? firn_iter_prev(it) : firn_iter_next(it), FIRN_OK);
        bed_put(&b, "d", "2");
        bed_put(&b, "dd", "2");
        bed_put(&b, "cc", "2");
        is_at(it, "d", "1");
        assert_int_equal(firn_iter_refresh(it), FIRN_OK);
        is_at(it, "d", "2");
        assert_int_equal(back ? firn_iter_prev(it) : firn_iter_next(it), FIRN_OK);
        is_at(it, back ? "cc" : "dd", "2");
        /* Where the key is gone, the next one. */
        bed_delete(&b, back ? "cc" : "dd");
        bed_flush(&b);
        assert_int_equal(firn_iter_refresh(it), FIRN_OK);
        is_at(it, back ? "d" : "e", back ? "2" : "1");
        /* Behind the last one there is none. */
        for (char key[2] = "d"; key[0] <= 'h'; key[0]++)
            bed_delete(&b, key);
        bed_delete(&b, "dd");
        assert_int_equal(firn_iter_refresh(it), FIRN_END);
        assert_false(firn_iter_valid(it));
        MUST(firn_iter_status(it, error));
        /* On no element it stays there, and sees what is newest all the same. */
        bed_put(&b, "z", "3");
        assert_int_equal(firn_iter_refresh(it), FIRN_OK);
        assert_false(firn_iter_valid(it));
        assert_int_equal(firn_iter_last(it), FIRN_OK);
        is_at(it, "z", "3");
        firn_iter_free(it);
        bed_release(&b);
    }
}

/* The bounds stay; what was given by next_many is not given again. */
static void the_rest_of_the_iterator_stays(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    for (char key[2] = "a"; key[0] <= 'h'; key[0]++)
        bed_put(&b, key, "1");
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.lower = "c";
    o.upper = "g";
    o.lower_size = o.upper_size = 1;
    firn_iter *it = new_iter(&b, &o);
    firn_slice keys[2];
    size_t got;
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_next_many(it, keys, NULL, 2, SIZE_MAX, &got), FIRN_OK);
    is_at(it, "d", "1");
    assert_int_equal(firn_iter_refresh(it), FIRN_OK);
    assert_int_equal(firn_iter_next_many(it, keys, NULL, 2, SIZE_MAX, &got), FIRN_OK);
    assert_true(got == 2 && keys[0].data[0] == 'e' && keys[1].data[0] == 'f');
    bed_delete(&b, "f");
    bed_put(&b, "fa", "2");
    assert_int_equal(firn_iter_refresh(it), FIRN_OK); /* another one, which was not given yet */
    assert_int_equal(firn_iter_next_many(it, keys, NULL, 2, SIZE_MAX, &got), FIRN_OK);
    assert_true(got == 1 && slice_equal(keys[0], slice_of_str("fa")));
    bed_put(&b, "fz", "2");
    assert_int_equal(firn_iter_last(it), FIRN_OK);
    is_at(it, "fa", "2");
    assert_int_equal(firn_iter_refresh(it), FIRN_OK);
    assert_int_equal(firn_iter_last(it), FIRN_OK);
    is_at(it, "fz", "2");
    firn_iter_free(it);
    bed_release(&b);
}

/* Tables that were replaced stay on the disk for an iterator, until it is refreshed. */
static void nothing_is_held_of_what_was_seen_before(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    char value[2000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++)
        bed_put(&b, key, value);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    firn_iter *it = new_iter(&b, NULL);
    assert_int_equal(firn_iter_seek(it, "m", 1), FIRN_OK);
    for (char key[2] = "a"; key[0] <= 'y'; key[0]++)
        bed_delete(&b, key);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    uint64_t held = bed_stats(&b).total_bytes;
    is_at(it, "m", value);
    assert_int_equal(firn_iter_refresh(it), FIRN_OK);
    is_at(it, "z", value);
    MUST(firn_settle(b.db, error));
    assert_true(held >= bed_stats(&b).total_bytes + 10000);
    firn_iter_free(it);
    bed_release(&b);
}

static void an_iterator_of_a_snapshot_stays_as_it_is(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "k", "1");
    firn_iter_options o;
    firn_iter_options_init(&o);
    firn_snapshot *snapshot;
    MUST(firn_snapshot_new(b.db, &snapshot, error));
    o.snapshot = snapshot;
    firn_iter *it = new_iter(&b, &o);
    bed_put(&b, "k", "2");
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_refresh(it), FIRN_INVALID);
    is_at(it, "k", "1");
    MUST(firn_iter_status(it, error));
    firn_iter_free(it);
    firn_snapshot_free(snapshot);
    bed_release(&b);
}

/* Whatever allocation fails: it stands where it stood, or, where its movement failed, nowhere. */
static void without_memory_it_reads_on_as_before(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a-key-that-is-longer-than-others", "1");
    bed_put(&b, "b", "1");
    bed_flush(&b);
    firn_iter *it = new_iter(&b, NULL);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    bed_put(&b, "a-key-that-is-longer-than-others", "2");
    bed_put(&b, "b", "2");
    unsigned before = 0, behind = 0;
    for (uint64_t n = 1;; n++) {
        alloc_fail_at(n);
        int rc = firn_iter_refresh(it);
        alloc_fail_at(0);
        if (rc == FIRN_OK)
            break;
        assert_int_equal(rc, FIRN_NO_MEMORY);
        bool stands = firn_iter_valid(it);
        if (stands)
            is_at(it, "a-key-that-is-longer-than-others", "1");
        else
            assert_int_equal(firn_iter_first(it), FIRN_OK);
        assert_int_equal(firn_iter_next(it), FIRN_OK);
        is_at(it, "b", stands ? "1" : "2");
        assert_int_equal(firn_iter_prev(it), FIRN_OK);
        before += stands;
        behind += !stands;
    }
    assert_true(before > 1 && behind > 0);
    is_at(it, "a-key-that-is-longer-than-others", "2");
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    is_at(it, "b", "2");
    firn_iter_free(it);
    bed_release(&b);
}

/* ---- Cancel ---- */

#define ROWS 3000

/* Half in tables, half in memory. */
static void fill_rows(bed *b)
{
    char key[16], value[100];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < ROWS; i++) {
        snprintf(key, sizeof key, "%06u", i);
        MUST(firn_put(b->db, key, 6, value, sizeof value, NULL, error));
        if (i == ROWS / 2)
            bed_flush(b);
    }
}

static void a_flag_that_is_set_ends_every_call(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill_rows(&b);
    firn_cancel cancel = {0};
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.cancel = &cancel;
    firn_iter *it = new_iter(&b, &o);
    firn_slice keys[2] = {slice_of_str("000001"), slice_of_str("002000")};
    firn_value values[2];
    int statuses[2];
    firn_read_options r;
    firn_read_options_init(&r);
    r.cancel = &cancel;
    size_t got;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(firn_iter_seek(it, "000100", 6), FIRN_OK);
        assert_int_equal(firn_iter_next(it), FIRN_OK);
        MUST(firn_get_many(b.db, keys, 2, &r, values, statuses, error));
        firn_value_release(&values[0]);
        firn_value_release(&values[1]);
        firn_cancel_fire(&cancel);
        firn_error e = {0};
        assert_int_equal(firn_iter_next(it), FIRN_CANCELLED);
        assert_false(firn_iter_valid(it));
        assert_int_equal(firn_iter_status(it, &e), FIRN_CANCELLED);
        assert_non_null(strstr(e.message, "cancel"));
        assert_int_equal(firn_iter_first(it), FIRN_CANCELLED);
        assert_int_equal(firn_iter_last(it), FIRN_CANCELLED);
        assert_int_equal(firn_iter_seek(it, "000100", 6), FIRN_CANCELLED);
        assert_int_equal(firn_iter_seek_for_prev(it, "000100", 6), FIRN_CANCELLED);
        assert_int_equal(firn_iter_prev(it), FIRN_CANCELLED);
        assert_int_equal(firn_iter_next_many(it, keys, NULL, 2, 1, &got), FIRN_CANCELLED);
        assert_int_equal(firn_iter_refresh(it), FIRN_CANCELLED);
        e = (firn_error){0};
        assert_int_equal(firn_get_many(b.db, keys, 2, &r, values, statuses, &e), FIRN_CANCELLED);
        assert_int_equal(e.status, FIRN_CANCELLED);
        for (int i = 0; i < 2; i++)
            assert_true(statuses[i] == FIRN_CANCELLED && !values[i].data);
        cancel.fired = 0;
    }
    firn_iter_free(it);
    bed_release(&b);
}

/* Everything in tables is deleted: a movement has to pass all of it, and is ended in the middle. */
static void a_movement_ends_at_the_next_block(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        trap t = {.at = 0};
        bed_on_simfs(&b, 1);
        b.options.never_map = true;
        b.options.memory = 1 << 20;
        b.options.table_bytes = 16 << 20; /* all blocks in one table */
        b.config.gap_steps = UINT_MAX;    /* it passes them each time */
        bed_must_open(&b);
        firn_snapshot *before;
        fill_rows(&b);
        MUST(firn_snapshot_new(b.db, &before, error));
        char key[16];
        for (unsigned i = 0; i < ROWS; i++) {
            snprintf(key, sizeof key, "%06u", i);
            bed_delete(&b, key);
        }
        bed_put(&b, "x", "");
        bed_put(&b, "", "");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        bed_flush(&b);
        simfs_on_call(b.sim, spring, &t);
        firn_iter_options o;
        firn_iter_options_init(&o);
        o.cancel = &t.cancel;
        firn_iter *it = new_iter(&b, &o);
        /* Once whole, to know how many reads it takes. */
        assert_int_equal(back ? firn_iter_last(it) : firn_iter_first(it), FIRN_OK);
        assert_int_equal(back ? firn_iter_prev(it) : firn_iter_next(it), FIRN_OK);
        unsigned whole = t.reads;
        assert_true(whole > 8);
        assert_int_equal(back ? firn_iter_last(it) : firn_iter_first(it), FIRN_OK);
        t.reads = 0;
        t.at = 3;
        assert_int_equal(back ? firn_iter_prev(it) : firn_iter_next(it), FIRN_CANCELLED);
        assert_in_range(t.reads, 3, 4);
        t.cancel.fired = 0;
        t.at = 0;
        assert_int_equal(back ? firn_iter_last(it) : firn_iter_first(it), FIRN_OK);
        assert_int_equal(back ? firn_iter_prev(it) : firn_iter_next(it), FIRN_OK);
        assert_int_equal(firn_iter_key(it).size, back ? 0 : 1);
        firn_iter_free(it);
        firn_snapshot_free(before);
        bed_release(&b);
    }
}

/* Between groups of keys: what was found before stays the caller's. */
static void many_gets_end_between_groups(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    bed b;
    trap t = {.at = 5};
    bed_on_simfs(&b, 1);
    b.options.never_map = true;
    bed_must_open(&b);
    fill_rows(&b);
    bed_must_close(&b);
    bed_must_open(&b);
    bed_flush(&b);
    simfs_on_call(b.sim, spring, &t);
    char room[COUNT][16];
    firn_slice keys[COUNT];
    firn_value values[COUNT];
    int statuses[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        keys[i] = slice_of(room[i], (size_t)snprintf(room[i], 16, "%06u", 7 * (COUNT - i)));
    firn_read_options r;
    firn_read_options_init(&r);
    r.cancel = &t.cancel;
    firn_error e = {0};
    assert_int_equal(firn_get_many(b.db, keys, COUNT, &r, values, statuses, &e), FIRN_CANCELLED);
    size_t found = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(statuses[i] == FIRN_OK || statuses[i] == FIRN_CANCELLED);
        assert_int_equal(values[i].size, statuses[i] == FIRN_OK ? 100 : 0);
        found += statuses[i] == FIRN_OK;
        firn_value_release(&values[i]);
    }
    assert_in_range(found, 1, COUNT - 1);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refreshed_iterator_sees_what_is_newest),
        cmocka_unit_test(the_rest_of_the_iterator_stays),
        cmocka_unit_test(nothing_is_held_of_what_was_seen_before),
        cmocka_unit_test(an_iterator_of_a_snapshot_stays_as_it_is),
        cmocka_unit_test(without_memory_it_reads_on_as_before),
        cmocka_unit_test(a_flag_that_is_set_ends_every_call),
        cmocka_unit_test(a_movement_ends_at_the_next_block),
        cmocka_unit_test(many_gets_end_between_groups),
    };
    return cmocka_run_group_tests_name("engine.refresh", tests, NULL, NULL);
}
