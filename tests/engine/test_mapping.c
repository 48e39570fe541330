/* Mapping or reading: which tables are read in place follows the data and the memory, also while the store is open. */
#include "base/check.h"

#include <base/error.h>
#include <stdio.h>
#include <string.h>

#include <store/store.h>
#include "support/simfs.h"

enum { KEYS = 20000, VALUE_BYTES = 100 };

static simfs *sim;
static firn *db;
static firn_error err;

static void must(int rc)
{
    char text[1024];
    if (rc == FIRN_OK)
        return;
    firn_error_format(&err, text, sizeof text);
    fail_msg("%s", text);
}

static uint64_t memory = 1 << 20, table_bytes = 64 << 10;

static void open_store(bool never_map)
{
    firn_options o;
    firn_options_init(&o);
    o.memory = memory;
    o.table_bytes = table_bytes;
    o.compression = FIRN_COMPRESSION_NONE;
    o.durability = FIRN_DURABILITY_NONE;
    must(firn_options_set(&o, "never_map", never_map ? "true" : "false", &err));
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    must(engine_open("s", &o, &config, &db, &err));
}

static size_t key_of(unsigned i, char out[16])
{
    return (size_t)snprintf(out, 16, "k%08u", i);
}

static void fill(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        char key[16], value[VALUE_BYTES];
        size_t n = key_of(i, key);
        memset(value, (int)(i % 251), sizeof value);
        must(firn_put(db, key, n, value, sizeof value, NULL, &err));
    }
}

static void get_all(unsigned step)
{
    for (unsigned i = 0; i < KEYS; i += step) {
        char key[16], value[VALUE_BYTES];
        size_t n = key_of(i, key), size = 0;
        must(firn_get_into(db, key, n, NULL, value, sizeof value, &size, &err));
        assert_int_equal(size, sizeof value);
        assert_int_equal((uint8_t)value[VALUE_BYTES - 1], i % 251);
    }
}

/* How many tables there are, and how many of them are read in place. Opens each. */
static void count_tables(unsigned *all, unsigned *mapped)
{
    view *v = store_view(db->store);
    *all = *mapped = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->version->levels[n].count; i++) {
            sst_reader *r = NULL;
            must(table_reader(v->version->levels[n].tables[i], &r, &err));
            ++*all;
            *mapped += sst_reader_is_mapped(r);
        }
    view_unref(v);
}

/* A flush makes a new version, and with it a decision. */
static void decide_anew(uint64_t limit)
{
    simfs_memory_limit(sim, limit);
    must(firn_put(db, "a", 1, "b", 1, NULL, &err));
    must(firn_flush(db, &err));
}

static void the_room_is_a_part_of_what_the_store_leaves(void **state)
{
    (void)state;
    assert_true(mapping_room(UINT64_MAX, 1 << 20) == UINT64_MAX);
    assert_int_equal(mapping_room(100 << 20, 20 << 20), 60 << 20);
    assert_int_equal(mapping_room(20 << 20, 20 << 20), 5 << 20);
    assert_int_equal(mapping_room(16 << 20, 20 << 20), 4 << 20);
    assert_int_equal(mapping_room(1, 20 << 20), 0);
}

static void tables_are_mapped_while_they_fit(void **state)
{
    (void)state;
    unsigned all, mapped;
    sim = simfs_new(3);
    open_store(false);
    fill(0, KEYS);
    must(firn_compact(db, NULL, 0, NULL, 0, &err));
    count_tables(&all, &mapped);
    assert_true(all > 20);
    assert_int_equal(mapped, all);
    get_all(1);

    /* Held over the change: a value and an iterator in the midst of a mapped table. */
    char key[16];
    firn_value held;
    firn_iter *it = NULL;
    must(firn_get(db, key, key_of(7, key), NULL, &held, &err));
    must(firn_iter_new(db, NULL, &it, &err));
    must(firn_iter_seek(it, key, key_of(100, key)));

    decide_anew(memory + (1 << 20)); /* room for 768 KiB of more than 2 MiB */
    count_tables(&all, &mapped);
    assert_true(mapped > 5 && mapped < all / 2);
    get_all(1);
    assert_int_equal(held.data[0], 7);
    for (unsigned i = 100; i < KEYS; i++) {
        firn_slice k = firn_iter_key(it);
        assert_int_equal(k.size, key_of(i, key));
        assert_memory_equal(k.data, key, k.size);
        assert_int_equal(firn_iter_value(it).data[0], i % 251);
        (void)firn_iter_next(it);
    }
    decide_anew(1); /* none at all */
    count_tables(&all, &mapped);
    assert_int_equal(mapped, 0);
    get_all(1);
    decide_anew(UINT64_MAX);
    count_tables(&all, &mapped);
    assert_int_equal(mapped, all);
    get_all(1);
    firn_iter_free(it);
    firn_value_release(&held);
    must(firn_close(db, &err));

    /* The same when it is opened with little memory. */
    simfs_memory_limit(sim, 1);
    open_store(false);
    count_tables(&all, &mapped);
    assert_int_equal(mapped, 0);
    get_all(1);
    must(firn_close(db, &err));
    assert_int_equal(simfs_open_count(sim), 0);
    simfs_free(sim);
}

static void a_table_near_the_limit_does_not_change_to_and_fro(void **state)
{
    (void)state;
    unsigned all, mapped, before;
    sim = simfs_new(3);
    open_store(false);
    fill(0, KEYS);
    must(firn_compact(db, NULL, 0, NULL, 0, &err));
    decide_anew(3 << 20);
    count_tables(&all, &before);
    assert_true(before > 10 && before < all);
    for (unsigned i = 0; i < 20; i++) {
        decide_anew((3 << 20) - (i % 2) * (16 << 10));
        count_tables(&all, &mapped);
        assert_true(mapped >= before);
    }
    must(firn_close(db, &err));
    simfs_free(sim);
}

/* What is read goes into the cache, which must not outgrow the process. */
static void the_cache_is_no_larger_than_the_process_may_bear(void **state)
{
    (void)state;
    sim = simfs_new(3);
    simfs_memory_limit(sim, memory / 2);
    open_store(false);
    fill(0, KEYS);
    must(firn_compact(db, NULL, 0, NULL, 0, &err));
    get_all(1);
    firn_stats s = {.size = sizeof s};
    must(firn_get_stats(db, &s, &err));
    assert_true(s.cache_capacity > 0 && s.cache_capacity <= memory / 8);
    assert_true(s.cache_bytes <= memory / 8);
    must(firn_close(db, &err));
    simfs_free(sim);
}

static void a_store_that_never_maps_maps_nothing(void **state)
{
    (void)state;
    unsigned all, mapped;
    sim = simfs_new(3);
    for (unsigned round = 0; round < 2; round++) {
        open_store(true);
        fill(0, KEYS);
        must(firn_compact(db, NULL, 0, NULL, 0, &err));
        decide_anew(UINT64_MAX);
        get_all(1);
        count_tables(&all, &mapped);
        assert_int_equal(mapped, 0);
        firn_stats s = {.size = sizeof s};
        must(firn_get_stats(db, &s, &err));
        assert_false(s.log_mapped);
        must(firn_close(db, &err));
    }
    firn_options o;
    firn_options_init(&o);
    o.never_map = o.read_only = true;
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    must(engine_open("s", &o, &config, &db, &err));
    get_all(1);
    must(firn_close(db, &err));
    assert_int_equal(simfs_calls(sim, SIMFS_MAP), 0);
    simfs_free(sim);
}

static void a_repair_that_never_maps_maps_nothing(void **state)
{
    (void)state;
    sim = simfs_new(3);
    open_store(true);
    fill(0, KEYS / 2);
    must(firn_flush(db, &err));
    fill(KEYS / 2, KEYS); /* is in the log alone */
    must(firn_close(db, &err));
    firn_options o;
    firn_options_init(&o);
    o.never_map = true;
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    firn_repair_summary sum;
    must(engine_repair("s", &o, &config, NULL, NULL, &sum, &err));
    assert_int_equal(simfs_calls(sim, SIMFS_MAP), 0);
    open_store(true);
    get_all(1);
    must(firn_close(db, &err));
    simfs_free(sim);
}

/* A scan over tables that are read asks for what comes next, each byte about once, both ways and with or without the cache. */
static void a_scan_of_tables_that_are_read_asks_ahead(void **state)
{
    (void)state;
    sim = simfs_new(3);
    memory = 8 << 20;
    table_bytes = 1 << 20; /* more than is read at once */
    open_store(true);
    memory = 1 << 20;
    table_bytes = 64 << 10;
    fill(0, KEYS);
    must(firn_compact(db, NULL, 0, NULL, 0, &err));
    for (unsigned way = 0; way < 4; way++) {
        firn_iter_options io;
        firn_iter *it = NULL;
        firn_iter_options_init(&io);
        io.bypass_cache = way < 2; /* those leave the cache empty */
        must(firn_iter_new(db, &io, &it, &err));
        uint64_t before = simfs_read_ahead(sim);
        unsigned count = 0;
        int rc = way & 1 ? firn_iter_last(it) : firn_iter_first(it);
        for (; rc == FIRN_OK; count++)
            rc = way & 1 ? firn_iter_prev(it) : firn_iter_next(it);
        assert_int_equal(rc, FIRN_END);
        assert_int_equal(count, KEYS);
        uint64_t asked = simfs_read_ahead(sim) - before, data = (uint64_t)KEYS * VALUE_BYTES;
        assert_true(asked > data / 4);
        assert_true(asked < data * 3 / 2);
        firn_iter_free(it);
    }
    /* A get asks for nothing. */
    uint64_t before = simfs_read_ahead(sim);
    get_all(7);
    assert_int_equal(simfs_read_ahead(sim), before);
    must(firn_close(db, &err));
    simfs_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_room_is_a_part_of_what_the_store_leaves),
        cmocka_unit_test(tables_are_mapped_while_they_fit),
        cmocka_unit_test(a_table_near_the_limit_does_not_change_to_and_fro),
        cmocka_unit_test(the_cache_is_no_larger_than_the_process_may_bear),
        cmocka_unit_test(a_store_that_never_maps_maps_nothing),
        cmocka_unit_test(a_repair_that_never_maps_maps_nothing),
        cmocka_unit_test(a_scan_of_tables_that_are_read_asks_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
