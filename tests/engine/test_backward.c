/* Backward iterators over large values: they are shown where they lie, and are the right ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

enum { LARGE = 100000, KEYS = 6 };

typedef enum where { IN_MEMTABLE, IN_TABLES, IN_A_LEVEL, PLACES } where;

/* k000 to k005; the value of each begins with the key before it. */
static void fill(bed *b, where w)
{
    static uint8_t value[LARGE];
    keyset k;
    keyset_plain(&k, KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        memset(value, 'a' + (int)i, sizeof value);
        memcpy(value, k.keys[(i + KEYS - 1) % KEYS].data, 4);
        MUST(firn_put(b->db, k.keys[i].data, 4, value, sizeof value, NULL, error));
        if (w != IN_MEMTABLE)
            bed_flush(b);
    }
    if (w == IN_A_LEVEL)
        MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    keyset_release(&k);
}

static void open_large(bed *b, firn_compression compression, where w)
{
    bed_on_simfs(b, 3);
    b->options.memory = 64 << 20;
    b->options.segment_bytes = 4 << 20;
    b->options.table_bytes = 4 << 20;
    b->options.compression = compression;
    bed_must_open(b);
    fill(b, w);
}

/* A copy lies elsewhere than what a get shows. */
static void check_in_place(firn *db, firn_iter *it, unsigned i)
{
    firn_slice key = firn_iter_key(it), value = firn_iter_value(it);
    firn_value v = {0};
    assert_int_equal(key.data[3] - '0', i);
    assert_int_equal(value.size, LARGE);
    MUST(firn_get(db, key.data, key.size, NULL, &v, error));
    assert_ptr_equal(v.data, value.data);
    assert_int_equal(v.data[LARGE - 1], 'a' + i);
    firn_value_release(&v);
}

static void a_large_value_is_shown_where_it_lies(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 2 * PLACES; n++) {
        bed b;
        firn_iter *it = NULL;
        open_large(&b, n < PLACES ? FIRN_COMPRESSION_NONE : FIRN_COMPRESSION_LZ4,
                   (where)(n % PLACES));
        MUST(firn_iter_new(b.db, NULL, &it, error));
        assert_int_equal(firn_iter_last(it), FIRN_OK);
        for (unsigned i = KEYS; i-- > 0;) {
            check_in_place(b.db, it, i);
            assert_int_equal(firn_iter_prev(it), i > 0 ? FIRN_OK : FIRN_END);
        }
        firn_iter_free(it);
        bed_release(&b);
    }
}

/* The value goes while the iterator moves. */
static void the_key_to_move_to_may_lie_in_the_value(void **state)
{
    (void)state;
    bed b;
    firn_iter *it = NULL;
    firn_iter_options o;
    open_large(&b, FIRN_COMPRESSION_LZ4, IN_TABLES);
    firn_iter_options_init(&o);
    o.bypass_cache = true;
    MUST(firn_iter_new(b.db, &o, &it, error));
    assert_int_equal(firn_iter_last(it), FIRN_OK);
    for (unsigned i = KEYS; i-- > 1;) {
        assert_int_equal(firn_iter_key(it).data[3] - '0', i);
        assert_int_equal(firn_iter_seek_for_prev(it, firn_iter_value(it).data, 4), FIRN_OK);
    }
    assert_int_equal(firn_iter_key(it).data[3], '0');
    firn_iter_free(it);
    bed_release(&b);
}

/* ---- many versions ---- */

enum { HISTORY = 400, MOMENTS = 40, NAMES = 5 };

static size_t size_of_any_kind(rng *r)
{
    static const size_t sizes[] = {0, 100, 16 << 10, (16 << 10) + 1, 50000};
    return sizes[rng_below(r, 5)];
}

static void check_here(firn_iter *it, const keyset *k, const uint64_t *state, size_t at)
{
    assert_true(slice_equal(firn_iter_key(it), k->keys[at]));
    assert_true(value_is(state[at], firn_iter_value(it)));
}

/* To and fro, compared with the model. */
static void wander(firn *db, const firn_snapshot *s, const keyset *k, const uint64_t *state, rng *r)
{
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.snapshot = s;
    MUST(firn_iter_new(db, &o, &it, error));
    long at = -1, count = (long)k->count;
    for (unsigned i = 0; i < 60; i++) {
        bool back = rng_below(r, 3) > 0, seek = at < 0 || rng_below(r, 6) == 0;
        int rc;
        if (seek) {
            at = (long)rng_below(r, k->count);
            firn_slice key = k->keys[at];
            rc = back ? firn_iter_seek_for_prev(it, key.data, key.size)
                      : firn_iter_seek(it, key.data, key.size);
        } else {
            rc = back ? firn_iter_prev(it) : firn_iter_next(it);
            at += back ? -1 : 1;
        }
        while (at >= 0 && at < count && !state[at])
            at += back ? -1 : 1;
        if (at == count)
            at = -1;
        assert_int_equal(rc, at < 0 ? FIRN_END : FIRN_OK);
        if (at >= 0)
            check_here(it, k, state, (size_t)at);
    }
    firn_iter_free(it);
}

static void versions_of_all_sizes_are_told_alike_in_both_directions(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 4; seed++) {
        bed b;
        keyset k;
        char why[WHY];
        rng r = rng_init(seed);
        uint64_t now[NAMES] = {0}, then[MOMENTS][NAMES];
        firn_snapshot *moments[MOMENTS] = {0};
        keyset_plain(&k, NAMES);
        bed_on_simfs(&b, seed);
        b.options.segment_bytes = 2 << 20;
        b.options.compression = seed % 2 ? FIRN_COMPRESSION_LZ4 : FIRN_COMPRESSION_NONE;
        bed_must_open(&b);
        for (unsigned i = 0; i < HISTORY; i++) {
            /* Most in one key: more versions than are passed one by one. */
            size_t at = rng_below(&r, 4) ? 2 : rng_below(&r, NAMES);
            firn_slice key = k.keys[at];
            now[at] = rng_below(&r, 5) ? value_number(i + 1, size_of_any_kind(&r)) : 0;
            if (now[at])
                MUST(firn_put(b.db, key.data, key.size, value_bytes(now[at]), value_size(now[at]),
                              NULL, error));
            else
                MUST(firn_delete(b.db, key.data, key.size, NULL, error));
            if (i % (HISTORY / MOMENTS) == HISTORY / MOMENTS / 2) {
                MUST(firn_snapshot_new(b.db, &moments[i * MOMENTS / HISTORY], error));
                memcpy(then[i * MOMENTS / HISTORY], now, sizeof now);
            }
            if (rng_below(&r, 60) == 0)
                bed_flush(&b);
            if (i % 20 == 19 && !compare_all(b.db, NULL, &k, now, why))
                fail_msg("seed %u, step %u: %s", seed, i, why);
            if (i % 20 == 19)
                wander(b.db, NULL, &k, now, &r);
        }
        for (unsigned m = 0; m < MOMENTS; m++) {
            if (!compare_all(b.db, moments[m], &k, then[m], why))
                fail_msg("seed %u, moment %u: %s", seed, m, why);
            wander(b.db, moments[m], &k, then[m], &r);
            firn_snapshot_free(moments[m]);
        }
        keyset_release(&k);
        bed_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_value_is_shown_where_it_lies),
        cmocka_unit_test(the_key_to_move_to_may_lie_in_the_value),
        cmocka_unit_test(versions_of_all_sizes_are_told_alike_in_both_directions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
