/* The block cache: bounded, honest about its bytes, and gentle with what is pinned. */
#include "table.h"

#include "cache.h"

static uint64_t used(const sst_cache *c)
{
    sst_cache_stats s;
    sst_cache_get_stats(c, &s);
    return s.used_bytes;
}

static sst_cached *insert(sst_cache *c, uint64_t owner, uint32_t block, uint32_t size)
{
    sst_cached *e = sst_cache_reserve(c, owner, block, size);
    assert_non_null(e);
    memset(e->data, (int)(block & 0xff), size);
    return sst_cache_insert(e);
}

static void a_full_cache_stays_within_its_capacity(void **state)
{
    (void)state;
    sst_cache *c;
    const size_t capacity = 1 << 20;
    assert_int_equal(sst_cache_new(capacity, &c), FIRN_OK);
    rng rnd = rng_init(31);
    for (uint32_t i = 0; i < 20000; i++) {
        sst_cache_unpin(insert(c, 1, i, (uint32_t)rng_below(&rnd, 9000)));
        assert_true(used(c) <= capacity);
    }
    assert_true(used(c) > capacity / 2);
    sst_cache_free(c);
}

static void a_found_block_is_the_one_that_was_put_in(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 20, &c), FIRN_OK);
    uint64_t a = sst_cache_owner(c);
    uint64_t b = sst_cache_owner(c);
    assert_true(a != b);
    assert_null(sst_cache_find(c, a, 7));
    sst_cached *in = insert(c, a, 7, 100);
    sst_cache_unpin(in);
    sst_cached *found = sst_cache_find(c, a, 7);
    assert_ptr_equal(found, in);
    assert_int_equal(found->size, 100);
    assert_int_equal(found->data[99], 7);
    assert_null(sst_cache_find(c, b, 7));
    assert_null(sst_cache_find(c, a, 8));
    sst_cache_stats s;
    sst_cache_get_stats(c, &s);
    assert_int_equal(s.hits, 1);
    assert_int_equal(s.misses, 3);
    sst_cache_unpin(found);
    sst_cache_free(c);
}

static void the_second_of_two_equal_inserts_gets_the_first(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 20, &c), FIRN_OK);
    sst_cached *first = insert(c, 1, 1, 10);
    uint64_t one = used(c);
    sst_cached *second = insert(c, 1, 1, 10);
    assert_ptr_equal(first, second);
    assert_int_equal(used(c), one);
    sst_cache_unpin(first);
    sst_cache_unpin(second);
    sst_cache_free(c);
}

static void a_pinned_block_survives_its_eviction(void **state)
{
    (void)state;
    sst_cache *c;
    const size_t capacity = 1 << 18;
    assert_int_equal(sst_cache_new(capacity, &c), FIRN_OK);
    sst_cached *pinned = insert(c, 1, 42, 1000);
    for (uint32_t i = 100; i < 3000; i++)
        sst_cache_unpin(insert(c, 1, i, 1000));
    assert_null(sst_cache_find(c, 1, 42));
    assert_true(used(c) <= capacity + pinned->charge);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(pinned->data[i], 42);
    sst_cache_unpin(pinned);
    assert_true(used(c) <= capacity);
    sst_cache_free(c);
}

static void a_cache_of_no_bytes_keeps_only_what_is_pinned(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(0, &c), FIRN_OK);
    sst_cached *e = insert(c, 1, 1, 10);
    assert_true(used(c) > 0);
    assert_null(sst_cache_find(c, 1, 1));
    sst_cache_unpin(e);
    assert_int_equal(used(c), 0);
    sst_cache_free(c);
}

static void one_large_block_does_not_sweep_the_cache(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 20, &c), FIRN_OK);
    for (uint32_t i = 0; i < 100; i++)
        sst_cache_unpin(insert(c, 1, i, 1000));
    uint64_t before = used(c);
    sst_cache_unpin(insert(c, 2, 0, 1 << 20));
    assert_int_equal(used(c), before);
    assert_null(sst_cache_find(c, 2, 0));
    sst_cache_free(c);
}

static void a_block_in_use_outlives_blocks_that_are_not(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 18, &c), FIRN_OK);
    sst_cache_unpin(insert(c, 1, 5, 500));
    for (uint32_t i = 100; i < 5000; i++) {
        sst_cached *e = sst_cache_find(c, 1, 5);
        assert_non_null(e);
        sst_cache_unpin(e);
        sst_cache_unpin(insert(c, 1, i, 500));
    }
    sst_cache_free(c);
}

static void closing_a_reader_gives_its_blocks_back(void **state)
{
    (void)state;
    table t;
    sst_reader *r;
    firn_error err;
    table_init(&t, 1 << 20);
    t.ro.mapped = false;
    table_seed = 32;
    rng rnd = rng_init(table_seed);
    model m = model_random(&rnd, &(shape){500, 1, 10, 0, 40, 256});
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    table_check_gets(r, &m, &rnd);
    assert_true(used(t.cache) > 0);
    sst_reader_close(r);
    assert_int_equal(used(t.cache), 0);
    model_release(&m);
    table_release(&t);
}

static void a_scan_that_does_not_fill_leaves_the_cache_alone(void **state)
{
    (void)state;
    table t;
    sst_reader *r;
    firn_error err;
    table_init(&t, 1 << 20);
    t.wo.compression = SST_COMPRESSION_LZ4;
    table_seed = 33;
    rng rnd = rng_init(table_seed);
    model m = model_random(&rnd, &(shape){9000, 1, 10, 0, 100, 256});
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    uint64_t reads = simfs_calls(t.sim, SIMFS_READ);
    table_check_iter(r, &m, false);
    reads = simfs_calls(t.sim, SIMFS_READ) - reads;
    assert_int_equal(used(t.cache), 0);
    /* Both ways, in windows and not block by block. */
    assert_true(reads * 8 < 2 * sst_reader_properties(r)->blocks);
    table_check_iter(r, &m, true);
    assert_true(used(t.cache) > 0);
    sst_reader_close(r);
    model_release(&m);
    table_release(&t);
}

static void a_value_stays_while_it_is_pinned(void **state)
{
    (void)state;
    table t;
    sst_reader *r;
    firn_error err;
    sst_hit hit;
    table_init(&t, 0);
    t.ro.mapped = false;
    table_seed = 34;
    rng rnd = rng_init(table_seed);
    model m = model_random(&rnd, &(shape){300, 1, 10, 0, 40, 256});
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    const version *v = &m.v[m.count / 2];
    assert_int_equal(sst_get(r, v->key, sst_key_hash(v->key), v->seq, &hit, &err), FIRN_OK);
    table_check_gets(r, &m, &rnd);
    assert_true(slice_equal(hit.value, v->value));
    sst_pin_release(&hit.pin);
    assert_null(hit.pin.block);
    assert_int_equal(used(t.cache), 0);
    sst_reader_close(r);
    model_release(&m);
    table_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_cache_stays_within_its_capacity),
        cmocka_unit_test(a_found_block_is_the_one_that_was_put_in),
        cmocka_unit_test(the_second_of_two_equal_inserts_gets_the_first),
        cmocka_unit_test(a_pinned_block_survives_its_eviction),
        cmocka_unit_test(a_cache_of_no_bytes_keeps_only_what_is_pinned),
        cmocka_unit_test(one_large_block_does_not_sweep_the_cache),
        cmocka_unit_test(a_block_in_use_outlives_blocks_that_are_not),
        cmocka_unit_test(closing_a_reader_gives_its_blocks_back),
        cmocka_unit_test(a_scan_that_does_not_fill_leaves_the_cache_alone),
        cmocka_unit_test(a_value_stays_while_it_is_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
