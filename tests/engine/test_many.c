/* Many elements of an iterator in one call: the same as one by one, in both directions, whatever is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <support/rng.h>

#include "bed.h"

#define KEYS 400

/* In a memtable, in young tables and in a level, with tombstones and old versions. */
static void fill(bed *b, uint64_t seed)
{
    rng r = rng_init(seed);
    char key[16], value[400];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < 4 * KEYS; i++) {
        snprintf(key, sizeof key, "%04u", (unsigned)(rng_next(&r) % KEYS));
        value[rng_next(&r) % sizeof value] = '\0';
        if (rng_next(&r) % 4 == 0)
            bed_delete(b, key);
        else
            bed_put(b, key, value);
        memset(value, 'v', sizeof value);
        if (i == KEYS)
            MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
        if (i > KEYS && i % (KEYS / 2) == 0 && i < 3 * KEYS)
            bed_flush(b);
    }
}

static firn_iter *new_iter(bed *b)
{
    firn_iter *it = NULL;
    MUST(firn_iter_new(b->db, NULL, &it, error));
    return it;
}

typedef struct element {
    char key[8];
    size_t size;
    uint64_t sum;
} element;

static element element_of(firn_slice key, firn_slice value)
{
    element e = {.size = value.size};
    assert_true(key.size < sizeof e.key);
    memcpy(e.key, key.data, key.size);
    for (size_t i = 0; i < value.size; i++)
        e.sum = e.sum * 31 + value.data[i];
    return e;
}

static size_t walk_by_one(firn_iter *it, bool back, element *out)
{
    size_t n = 0;
    for (int rc = back ? firn_iter_last(it) : firn_iter_first(it); rc == FIRN_OK;
         rc = back ? firn_iter_prev(it) : firn_iter_next(it))
        out[n++] = element_of(firn_iter_key(it), firn_iter_value(it));
    MUST(firn_iter_status(it, error));
    return n;
}

static int many(firn_iter *it, bool back, firn_slice *keys, firn_slice *values, size_t count,
                size_t bytes, size_t *got)
{
    return back ? firn_iter_prev_many(it, keys, values, count, bytes, got)
                : firn_iter_next_many(it, keys, values, count, bytes, got);
}

static size_t walk_by_many(firn_iter *it, bool back, size_t count, size_t bytes, element *out)
{
    firn_slice keys[KEYS], values[KEYS];
    size_t n = 0, got;
    int rc = back ? firn_iter_last(it) : firn_iter_first(it);
    while (rc == FIRN_OK && (rc = many(it, back, keys, values, count, bytes, &got)) == FIRN_OK) {
        assert_in_range(got, 1, count);
        size_t sum = 0;
        for (size_t i = 0; i < got; i++) {
            assert_true(i == 0 || sum < bytes); /* it has stopped as soon as it might */
            sum += keys[i].size + values[i].size;
            out[n++] = element_of(keys[i], values[i]);
        }
        assert_true(got == count || sum >= bytes || !firn_iter_valid(it));
        if (firn_iter_valid(it)) { /* on the last one, in place */
            assert_ptr_equal(firn_iter_key(it).data, keys[got - 1].data);
            assert_ptr_equal(firn_iter_value(it).data, values[got - 1].data);
        }
    }
    assert_int_equal(rc, FIRN_END);
    assert_int_equal(got, 0);
    assert_false(firn_iter_valid(it));
    return n;
}

static void many_at_once_are_the_same_as_one_by_one(void **state)
{
    (void)state;
    static element one[KEYS], other[KEYS];
    const size_t counts[] = {1, 2, 3, 7, 100, KEYS}, bytes[] = {0, 1, 100, 1000, 30000, SIZE_MAX};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        bed b;
        bed_on_simfs(&b, seed);
        bed_must_open(&b);
        fill(&b, seed);
        firn_iter *it = new_iter(&b);
        for (int back = 0; back < 2; back++) {
            size_t n = walk_by_one(it, back, one);
            assert_true(n > KEYS / 2);
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
                for (size_t j = 0; j < sizeof bytes / sizeof *bytes; j++) {
                    assert_int_equal(walk_by_many(it, back, counts[i], bytes[j], other), n);
                    assert_memory_equal(one, other, n * sizeof *one);
                }
        }
        firn_iter_free(it);
        bed_release(&b);
    }
}

/* The last element that was given is the one that the iterator stands on, whatever moves it then. */
static void movements_go_on_from_the_last_one(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++)
        bed_put(&b, key, key);
    firn_iter *it = new_iter(&b);
    firn_slice keys[4], values[4];
    size_t got = 9;
    assert_int_equal(firn_iter_next_many(it, keys, values, 4, SIZE_MAX, &got),
                     FIRN_END); /* it stands nowhere yet */
    assert_int_equal(got, 0);
    MUST(firn_iter_seek(it, "c", 1) == FIRN_OK ? FIRN_OK : firn_iter_status(it, error));
#define GIVES(call, text)                                                                          \
    do {                                                                                           \
        assert_int_equal(call, FIRN_OK);                                                           \
        assert_int_equal(got, strlen(text));                                                       \
        for (size_t at_ = 0; at_ < got; at_++) {                                                   \
            assert_int_equal(keys[at_].size, 1);                                                   \
            assert_int_equal(keys[at_].data[0], (text)[at_]);                                      \
        }                                                                                          \
    } while (0)
    GIVES(firn_iter_next_many(it, keys, values, 4, SIZE_MAX, &got), "cdef");
    GIVES(firn_iter_next_many(it, keys, NULL, 3, SIZE_MAX, &got), "ghi");
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    assert_int_equal(firn_iter_key(it).data[0], 'j');
    GIVES(firn_iter_next_many(it, keys, values, 2, SIZE_MAX, &got), "jk");
    GIVES(firn_iter_prev_many(it, keys, values, 4, SIZE_MAX, &got), "jihg");
    assert_int_equal(firn_iter_prev(it), FIRN_OK);
    assert_int_equal(firn_iter_key(it).data[0], 'f');
    GIVES(firn_iter_prev_many(it, keys, values, 2, SIZE_MAX, &got), "fe");
    GIVES(firn_iter_next_many(it, keys, values, 2, SIZE_MAX, &got), "fg");
    assert_int_equal(firn_iter_seek(it, "x", 1), FIRN_OK);
    GIVES(firn_iter_next_many(it, keys, values, 4, SIZE_MAX, &got), "xyz");
    assert_false(firn_iter_valid(it));
    assert_int_equal(firn_iter_next_many(it, keys, values, 4, SIZE_MAX, &got), FIRN_END);
    assert_int_equal(firn_iter_seek_for_prev(it, "b", 1), FIRN_OK);
    GIVES(firn_iter_prev_many(it, keys, values, 4, SIZE_MAX, &got), "ba");
    assert_int_equal(firn_iter_prev_many(it, keys, values, 4, SIZE_MAX, &got), FIRN_END);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_next_many(it, keys, values, 0, SIZE_MAX, &got), FIRN_INVALID);
    GIVES(firn_iter_next_many(it, keys, values, 1, SIZE_MAX, &got), "a"); /* that moved nothing */
    firn_iter_free(it);
    bed_release(&b);
}

/* However large its value is: what comes last is not copied, and what is copied is bounded. */
static void a_large_value_is_not_copied(void **state)
{
    (void)state;
    enum { LARGE = 8 << 20 };
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    char *value = heap_alloc(LARGE);
    assert_non_null(value);
    memset(value, 'x', LARGE);
    for (char key[2] = "a"; key[0] <= 'd'; key[0]++)
        MUST(firn_put(b.db, key, 1, value, key[0] == 'b' ? LARGE : 10, NULL, error));
    firn_iter *it = new_iter(&b);
    firn_slice keys[4], values[4];
    size_t got;
    for (int back = 0; back < 2; back++) {
        assert_int_equal(back ? firn_iter_last(it) : firn_iter_first(it), FIRN_OK);
        assert_int_equal(many(it, back, keys, values, 4, 1000, &got), FIRN_OK);
        assert_int_equal(got, back ? 3 : 2);
        assert_int_equal(keys[got - 1].data[0], 'b');
        assert_int_equal(values[got - 1].size, LARGE);
        assert_ptr_equal(values[got - 1].data, firn_iter_value(it).data);
        assert_memory_equal(values[got - 1].data, value, LARGE);
        assert_int_equal(many(it, back, keys, values, 4, 1000, &got), FIRN_OK);
        assert_int_equal(got, back ? 1 : 2);
    }
    heap_free(value);
    firn_iter_free(it);
    bed_release(&b);
}

/* What had been found is given; the error comes from the next call, as often as it is asked for. */
static void an_error_comes_behind_what_was_found(void **state)
{
    (void)state;
    bed b;
    bool fails = false;
    bed_on_simfs(&b, 1);
    b.options.never_map = true;
    b.options.memory = 1 << 20;
    bed_must_open(&b);
    char key[16], value[2000];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%04u", i);
        MUST(firn_put(b.db, key, 4, value, sizeof value, NULL, error));
    }
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    bed_must_close(&b);
    bed_must_open(&b);
    simfs_on_call(b.sim, bed_fail_reads, &fails);
    firn_iter *it = new_iter(&b);
    static firn_slice keys[1000], values[1000];
    size_t got = 0;
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    fails = true;
    assert_int_equal(firn_iter_next_many(it, keys, values, 1000, SIZE_MAX, &got), FIRN_OK);
    assert_in_range(got, 1, 999);
    for (size_t i = 0; i < got; i++) {
        snprintf(key, sizeof key, "%04u", (unsigned)i);
        assert_memory_equal(keys[i].data, key, 4);
        assert_memory_equal(values[i].data, value, sizeof value);
    }
    for (unsigned times = 0; times < 2; times++) {
        assert_int_equal(firn_iter_next_many(it, keys, values, 1000, SIZE_MAX, &got), FIRN_IO);
        assert_int_equal(got, 0);
        assert_int_equal(firn_iter_status(it, NULL), FIRN_IO);
    }
    fails = false;
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_next_many(it, keys, values, 1000, SIZE_MAX, &got), FIRN_OK);
    assert_int_equal(got, 1000);
    firn_iter_free(it);
    bed_release(&b);
}

/* Without memory to keep elements, they come one by one, and none is lost. */
static void without_memory_there_are_fewer_at_a_time(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++)
        bed_put(&b, key, "value");
    for (uint64_t n = 1; n <= 4; n++) {
        firn_iter *it = new_iter(&b);
        firn_slice keys[26], values[26];
        size_t got, all = 0;
        assert_int_equal(firn_iter_first(it), FIRN_OK);
        for (;;) {
            alloc_fail_at(n);
            int rc = firn_iter_next_many(it, keys, values, 26, SIZE_MAX, &got);
            alloc_fail_at(0);
            if (rc != FIRN_OK) {
                assert_int_equal(rc, all == 26 ? FIRN_END : FIRN_NO_MEMORY);
                break;
            }
            for (size_t i = 0; i < got; i++, all++)
                assert_int_equal(keys[i].data[0], 'a' + all);
        }
        firn_iter_free(it);
    }
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_at_once_are_the_same_as_one_by_one),
        cmocka_unit_test(movements_go_on_from_the_last_one),
        cmocka_unit_test(a_large_value_is_not_copied),
        cmocka_unit_test(an_error_comes_behind_what_was_found),
        cmocka_unit_test(without_memory_there_are_fewer_at_a_time),
    };
    return cmocka_run_group_tests_name("engine.many", tests, NULL, NULL);
}
