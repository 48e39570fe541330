/* Iterators: ends, bounds, tombstones, turning round, and that nothing moves under them. Each test
 * runs with its data in a memtable, in young tables, and compacted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

typedef enum where { IN_MEMTABLE, IN_YOUNG_TABLES, IN_A_LEVEL, SPREAD, PLACES } where;

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

static void again(bed *b)
{
    bed_release(b);
    bed_on_simfs(b, 1);
    bed_must_open(b);
}

/* Behind every write: brings what was written to where the test wants it. */
static void place(bed *b, where w, unsigned step)
{
    if (w == IN_YOUNG_TABLES || (w == SPREAD && step % 3 == 1))
        bed_flush(b);
    if (w == IN_A_LEVEL || (w == SPREAD && step % 5 == 4))
        MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
}

static firn_iter *iter_between(bed *b, const char *lower, const char *upper)
{
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.lower = lower;
    o.lower_size = lower ? strlen(lower) : 0;
    o.upper = upper;
    o.upper_size = upper ? strlen(upper) : 0;
    MUST(firn_iter_new(b->db, &o, &it, error));
    return it;
}

/* The keys, one letter each, that walking shows. */
static const char *forward(firn_iter *it)
{
    static char out[64];
    size_t n = 0;
    for (int rc = firn_iter_first(it); rc == FIRN_OK && n < 63; rc = firn_iter_next(it))
        out[n++] = (char)firn_iter_key(it).data[0];
    out[n] = 0;
    MUST(firn_iter_status(it, error));
    return out;
}

static const char *backward(firn_iter *it)
{
    static char out[64];
    size_t n = 0;
    for (int rc = firn_iter_last(it); rc == FIRN_OK && n < 63; rc = firn_iter_prev(it))
        out[n++] = (char)firn_iter_key(it).data[0];
    out[n] = 0;
    MUST(firn_iter_status(it, error));
    return out;
}

static void at(firn_iter *it, int rc, const char *key)
{
    if (!key) {
        assert_int_equal(rc, FIRN_END);
        assert_false(firn_iter_valid(it));
        assert_int_equal(firn_iter_key(it).size, 0);
        assert_int_equal(firn_iter_value(it).size, 0);
        return;
    }
    assert_int_equal(rc, FIRN_OK);
    assert_true(firn_iter_valid(it));
    assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
}

static void an_empty_store_has_only_ends(void **state)
{
    bed *b = *state;
    firn_iter *it = iter_between(b, NULL, NULL);
    assert_false(firn_iter_valid(it));
    assert_int_equal(firn_iter_next(it), FIRN_INVALID); /* before it was positioned */
    assert_int_equal(firn_iter_prev(it), FIRN_INVALID);
    at(it, firn_iter_first(it), NULL);
    at(it, firn_iter_last(it), NULL);
    at(it, firn_iter_seek(it, "", 0), NULL);
    at(it, firn_iter_seek_for_prev(it, "zzz", 3), NULL);
    firn_iter_free(it);
    firn_iter_free(NULL);
}

/* What the step returned is what the status tells, until the iterator is moved to an element or an end. */
static void a_step_from_no_element_is_told_by_the_status_too(void **state)
{
    bed *b = *state;
    int (*steps[])(firn_iter *) = {firn_iter_next, firn_iter_prev};
    bed_put(b, "k", "v");
    for (unsigned i = 0; i < 2; i++) {
        firn_error err;
        firn_iter *it = iter_between(b, NULL, NULL);
        MUST(firn_iter_status(it, error)); /* not positioned yet is no error */
        assert_int_equal(steps[i](it), FIRN_INVALID);
        memset(&err, 0xa5, sizeof err);
        assert_int_equal(firn_iter_status(it, &err), FIRN_INVALID);
        assert_int_equal(err.status, FIRN_INVALID);
        assert_non_null(strstr(err.message, "no element"));
        assert_non_null(strstr(err.hint, "firn_iter_first"));
        at(it, firn_iter_first(it), "k");
        MUST(firn_iter_status(it, error));
        assert_int_equal(steps[i](it), FIRN_END);
        MUST(firn_iter_status(it, error));
        assert_int_equal(steps[i](it), FIRN_INVALID); /* beyond the end */
        assert_int_equal(firn_iter_status(it, NULL), FIRN_INVALID);
        assert_int_equal(firn_iter_seek(it, NULL, 1), FIRN_INVALID);
        assert_int_equal(firn_iter_status(it, &err), FIRN_INVALID);
        assert_non_null(strstr(err.message, "NULL"));
        assert_false(firn_iter_valid(it));
        at(it, firn_iter_last(it), "k");
        MUST(firn_iter_status(it, error));
        firn_iter_free(it);
    }
}

static void write_letters(bed *b, where w, const char *letters)
{
    for (unsigned i = 0; letters[i]; i++) {
        char key[2] = {letters[i], 0};
        bed_put(b, key, key);
        place(b, w, i);
    }
}

static void bounds_hold_in_both_directions(void **state)
{
    bed *b = *state;
    for (where w = 0; w < PLACES; w++, again(b)) {
        write_letters(b, w, "gbdfhc");
        firn_iter *it = iter_between(b, "c", "g");
        assert_string_equal(forward(it), "cdf"); /* the lower one belongs to it, the upper not */
        assert_string_equal(backward(it), "fdc");
        at(it, firn_iter_seek(it, "a", 1), "c");
        at(it, firn_iter_seek(it, "e", 1), "f");
        at(it, firn_iter_seek(it, "g", 1), NULL);
        at(it, firn_iter_seek(it, "z", 1), NULL);
        at(it, firn_iter_seek_for_prev(it, "z", 1), "f");
        at(it, firn_iter_seek_for_prev(it, "e", 1), "d");
        at(it, firn_iter_seek_for_prev(it, "d", 1), "d");
        at(it, firn_iter_seek_for_prev(it, "b", 1), NULL);
        at(it, firn_iter_last(it), "f");
        at(it, firn_iter_next(it), NULL);
        at(it, firn_iter_first(it), "c");
        at(it, firn_iter_prev(it), NULL);
        firn_iter_free(it);
        it = iter_between(b, "e", "e");
        assert_string_equal(forward(it), "");
        assert_string_equal(backward(it), "");
        firn_iter_free(it);
        it = iter_between(b, "g", "c"); /* the wrong way round is empty */
        assert_string_equal(forward(it), "");
        assert_string_equal(backward(it), "");
        at(it, firn_iter_seek(it, "d", 1), NULL);
        at(it, firn_iter_seek_for_prev(it, "d", 1), NULL);
        firn_iter_free(it);
        it = iter_between(b, NULL, "");
        assert_string_equal(forward(it), "");
        firn_iter_free(it);
        it = iter_between(b, "", NULL);
        assert_string_equal(forward(it), "bcdfgh");
        firn_iter_free(it);
    }
}

static void deleted_keys_are_passed_over(void **state)
{
    bed *b = *state;
    for (where w = 0; w < PLACES; w++, again(b)) {
        write_letters(b, w, "abcdefg");
        static const char *const gone[] = {"a", "c", "d", "g", "x"};
        for (unsigned i = 0; i < 5; i++) {
            bed_delete(b, gone[i]);
            place(b, w, i);
        }
        bed_put(b, "d", "back");
        place(b, w, 1);
        firn_iter *it = iter_between(b, NULL, NULL);
        assert_string_equal(forward(it), "bdef");
        assert_string_equal(backward(it), "fedb");
        at(it, firn_iter_seek(it, "a", 1), "b");
        at(it, firn_iter_seek(it, "c", 1), "d");
        at(it, firn_iter_seek(it, "g", 1), NULL);
        at(it, firn_iter_seek_for_prev(it, "c", 1), "b");
        at(it, firn_iter_seek_for_prev(it, "a", 1), NULL);
        at(it, firn_iter_seek_for_prev(it, "zz", 2), "f");
        firn_iter_free(it);
    }
}

/* At every element, turns round, goes one step, and turns back. */
static void turning_round_anywhere_keeps_the_place(void **state)
{
    bed *b = *state;
    for (where w = 0; w < PLACES; w++, again(b)) {
        write_letters(b, w, "acegi");
        write_letters(b, w, "cgi"); /* several versions of some */
        bed_delete(b, "e");
        place(b, w, 1);
        static const char *const left[] = {"a", "c", "g", "i"};
        firn_iter *it = iter_between(b, NULL, NULL);
        for (int i = 0; i < 4; i++) {
            at(it, firn_iter_seek(it, left[i], 1), left[i]);
            int rc = firn_iter_prev(it);
            at(it, rc, i > 0 ? left[i - 1] : NULL);
            if (rc == FIRN_OK)
                at(it, firn_iter_next(it), left[i]);
            at(it, firn_iter_seek_for_prev(it, left[i], 1), left[i]);
            rc = firn_iter_next(it);
            at(it, rc, i < 3 ? left[i + 1] : NULL);
            if (rc == FIRN_OK)
                at(it, firn_iter_prev(it), left[i]);
            if (rc == FIRN_OK)
                at(it, firn_iter_next(it), left[i + 1]);
        }
        firn_iter_free(it);
    }
}

static void rewrite_everything(bed *b, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        for (char c = 'a'; c <= 'z'; c++) {
            char key[2] = {c, 0}, value[301];
            memset(value, c, 300);
            value[300] = 0;
            if ((c + round) % 3 == 0)
                bed_delete(b, key);
            else
                bed_put(b, key, value);
        }
        if (round % 2)
            bed_flush(b);
    }
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
}

static void an_iterator_shows_the_moment_it_was_made(void **state)
{
    bed *b = *state;
    for (where w = 0; w < PLACES; w++, again(b)) {
        write_letters(b, w, "bdf");
        firn_iter *early = iter_between(b, NULL, NULL);
        firn_snapshot *s = NULL;
        MUST(firn_snapshot_new(b->db, &s, error));
        assert_int_equal(firn_snapshot_seq(s), firn_last_seq(b->db));
        rewrite_everything(b, 6);
        assert_string_equal(forward(early), "bdf");
        assert_string_equal(backward(early), "fdb");
        at(early, firn_iter_seek(early, "d", 1), "d");
        assert_true(slice_equal(firn_iter_value(early), slice_of_str("d")));
        firn_iter_options o;
        firn_iter *late = NULL;
        firn_iter_options_init(&o);
        o.snapshot = s;
        MUST(firn_iter_new(b->db, &o, &late, error));
        assert_string_equal(forward(late), "bdf");
        assert_string_equal(backward(late), "fdb");
        bed_expect(b, s, "b", "b");
        bed_expect(b, s, "a", NULL);
        firn_iter_free(late);
        firn_iter_free(early);
        firn_snapshot_free(s);
        firn_snapshot_free(NULL);
    }
}

static void a_value_that_is_held_stays_where_it_is(void **state)
{
    bed *b = *state;
    for (where w = 0; w < PLACES; w++, again(b)) {
        firn_value held[26];
        write_letters(b, w, "abcdefghijklmnopqrstuvwxyz");
        for (int i = 0; i < 26; i++) {
            char key = (char)('a' + i);
            held[i] = (firn_value){0};
            MUST(firn_get(b->db, &key, 1, NULL, &held[i], error));
        }
        rewrite_everything(b, 8);
        for (int i = 0; i < 26; i++) {
            assert_int_equal(held[i].size, 1);
            assert_int_equal(held[i].data[0], 'a' + i);
            firn_value_release(&held[i]);
            assert_null(held[i].data);
            firn_value_release(&held[i]); /* of an empty one: nothing happens */
        }
        firn_value_release(NULL);
    }
}

static void the_current_value_is_readable_until_the_next_movement(void **state)
{
    bed *b = *state;
    write_letters(b, SPREAD, "abc");
    firn_iter *it = iter_between(b, NULL, NULL);
    at(it, firn_iter_seek(it, "b", 1), "b");
    firn_slice key = firn_iter_key(it), value = firn_iter_value(it);
    rewrite_everything(b, 6);
    assert_true(slice_equal(key, slice_of_str("b")));
    assert_true(slice_equal(value, slice_of_str("b")));
    firn_iter_free(it);
}

static void keys_that_are_prefixes_of_each_other_keep_their_order(void **state)
{
    bed *b = *state;
    for (where w = 0; w < PLACES; w++, again(b)) {
        char key[12] = "";
        for (unsigned i = 0; i < 10; i++) {
            MUST(firn_put(b->db, key, 10 - i, "v", 1, NULL, error)); /* NULs, longest first */
            place(b, w, i);
        }
        firn_iter *it = iter_between(b, NULL, NULL);
        size_t size = 1;
        for (int rc = firn_iter_first(it); rc == FIRN_OK; rc = firn_iter_next(it))
            assert_int_equal(firn_iter_key(it).size, size++);
        assert_int_equal(size, 11);
        for (int rc = firn_iter_last(it); rc == FIRN_OK; rc = firn_iter_prev(it))
            assert_int_equal(firn_iter_key(it).size, --size);
        assert_int_equal(size, 1);
        firn_iter_free(it);
    }
}

#define RING 60

static void ring_name(unsigned i, char out[16])
{
    snprintf(out, 16, "k%06u", i % RING);
}

/* Every value names the key to go to next: what it points into goes while the iterator moves. */
static void an_iterator_can_seek_to_a_key_that_it_shows(void **state)
{
    (void)state;
    bed b;
    static char value[400];
    char name[16];
    bed_on_simfs(&b, 5);
    b.options.segment_bytes = 64 << 10;
    b.options.compression = FIRN_COMPRESSION_LZ4; /* so that blocks come and go */
    bed_must_open(&b);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = round; i < RING; i += 3) {
            memset(value, 'v', sizeof value);
            ring_name(i + 37, name);
            memcpy(value, name, 7);
            ring_name(i, name);
            MUST(firn_put(b.db, name, 7, value, sizeof value, NULL, error));
        }
        bed_flush(&b);
    }
    assert_int_equal(bed_tables(&b), 3);
    for (int before = 0; before < 2; before++) {
        firn_iter_options o;
        firn_iter *it = NULL;
        firn_iter_options_init(&o);
        o.bypass_cache = true;
        MUST(firn_iter_new(b.db, &o, &it, error));
        assert_int_equal(firn_iter_first(it), FIRN_OK);
        for (unsigned n = 0; n < RING; n++) {
            ring_name(n * 37, name);
            assert_true(slice_equal(firn_iter_key(it), slice_of_str(name)));
            const uint8_t *next = firn_iter_value(it).data;
            assert_int_equal(before ? firn_iter_seek_for_prev(it, next, 7)
                                    : firn_iter_seek(it, next, 7),
                             FIRN_OK);
        }
        firn_iter_free(it);
    }
    bed_release(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_store_has_only_ends),
        TEST(a_step_from_no_element_is_told_by_the_status_too),
        TEST(bounds_hold_in_both_directions),
        TEST(deleted_keys_are_passed_over),
        TEST(turning_round_anywhere_keeps_the_place),
        TEST(an_iterator_shows_the_moment_it_was_made),
        TEST(a_value_that_is_held_stays_where_it_is),
        TEST(the_current_value_is_readable_until_the_next_movement),
        TEST(keys_that_are_prefixes_of_each_other_keep_their_order),
        cmocka_unit_test(an_iterator_can_seek_to_a_key_that_it_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
