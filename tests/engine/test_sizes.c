/* Programs that were compiled for another version: their structs of options are shorter, or longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <firn/wal.h>

#include "bed.h"
#include <store/store.h>

/* A struct of `size` bytes that begins like *from, with nothing behind it: an address sanitizer sees a read of more. */
static void *shortened(const void *from, size_t size)
{
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, from, size);
    memcpy(copy, &size, sizeof size);
    return copy;
}

/* A longer one, whose further fields ask for something. */
static void *lengthened(const void *from, size_t size)
{
    size_t longer = size + sizeof(uint64_t);
    uint8_t *copy = malloc(longer);
    assert_non_null(copy);
    memset(copy, 1, longer);
    memcpy(copy, from, size);
    memcpy(copy, &longer, sizeof longer);
    return copy;
}

static void must_be_refused(int rc, const firn_error *err, const char *hint)
{
    assert_int_equal(rc, FIRN_INVALID);
    if (!strstr(err->message, "have size") || !strstr(err->hint, hint))
        fail_msg("\"%s (%s)\", should name the size and %s", err->message, err->hint, hint);
}

static void a_store_takes_the_options_of_earlier_versions(void **state)
{
    (void)state;
    firn_options defaults;
    firn_options_init(&defaults);
    const size_t ends[] = {
        offsetof(firn_options, durability),    offsetof(firn_options, recovery),
        offsetof(firn_options, segment_bytes), offsetof(firn_options, table_bytes),
        offsetof(firn_options, log),           offsetof(firn_options, latencies),
        sizeof(firn_options)};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        bed b;
        bed_on_simfs(&b, 1);
        b.options.memory = 4 << 20;
        b.options.table_bytes = 128 << 10;
        b.options.latencies = true;
        firn_options *given = shortened(&b.options, ends[i]);
        MUST(engine_open(b.folder, given, &b.config, &b.db, error));
        free(given);
        const firn_options *got = &b.db->store->options;
        assert_int_equal(got->memory, 4 << 20);
        bool has_table_bytes = ends[i] > offsetof(firn_options, table_bytes);
        uint64_t wanted = has_table_bytes ? b.options.table_bytes : defaults.table_bytes;
        if (wanted > b.db->store->rules.level_base_bytes / 2)
            wanted = b.db->store->rules.level_base_bytes / 2;
        assert_int_equal(got->table_bytes, wanted);
        assert_int_equal(got->latencies, ends[i] > offsetof(firn_options, latencies));
        assert_int_equal(got->size, sizeof(firn_options));
        bed_release(&b);
    }
}

static void longer_structs_are_refused_and_told_why(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    firn *db = NULL;
    firn_iter *it = NULL;
    bed_on_simfs(&b, 1);
    firn_options *options = lengthened(&b.options, sizeof b.options);
    must_be_refused(engine_open(b.folder, options, &b.config, &db, &err), &err, "later version");
    must_be_refused(firn_options_set(options, "memory", "2MiB", &err), &err, "later version");
    free(options);
    bed_must_open(&b);

    firn_write_options write_options;
    firn_write_options_init(&write_options);
    firn_write_options *longer = lengthened(&write_options, sizeof write_options);
    must_be_refused(firn_put(b.db, "k", 1, "v", 1, longer, &err), &err, "later version");
    must_be_refused(firn_delete(b.db, "k", 1, longer, &err), &err, "later version");
    free(longer);
    write_options.size = sizeof write_options.size;
    must_be_refused(firn_put(b.db, "k", 1, "v", 1, &write_options, &err), &err,
                    "firn_write_options_init");

    firn_iter_options iter_options;
    firn_iter_options_init(&iter_options);
    firn_iter_options *long_iter = lengthened(&iter_options, sizeof iter_options);
    must_be_refused(firn_iter_new(b.db, long_iter, &it, &err), &err, "later version");
    free(long_iter);
    iter_options.size = 0;
    must_be_refused(firn_iter_new(b.db, &iter_options, &it, &err), &err, "firn_iter_options_init");
    assert_null(it);

    firn_read_options read_options;
    firn_read_options_init(&read_options);
    firn_read_options *long_read = lengthened(&read_options, sizeof read_options);
    firn_slice key = slice_of_str("k");
    firn_value value;
    int status;
    must_be_refused(firn_get_many(b.db, &key, 1, long_read, &value, &status, &err), &err,
                    "later version");
    free(long_read);
    read_options.size = 0;
    must_be_refused(firn_get_many(b.db, &key, 1, &read_options, &value, &status, &err), &err,
                    "firn_read_options_init");

    firn_txn_options txn_options;
    firn_txn_options_init(&txn_options);
    firn_txn_options *long_txn = lengthened(&txn_options, sizeof txn_options);
    firn_txn *txn = NULL;
    must_be_refused(firn_txn_new(b.db, long_txn, &txn, &err), &err, "later version");
    free(long_txn);
    txn_options.size = 0;
    must_be_refused(firn_txn_new(b.db, &txn_options, &txn, &err), &err, "firn_txn_options_init");
    assert_null(txn);
    bed_expect(&b, NULL, "k", NULL);
    bed_release(&b);
}

static void an_iterator_takes_the_options_of_earlier_versions(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    bed_put(&b, "b", "2");
    bed_put(&b, "c", "3");
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.lower = "b";
    o.lower_size = 1;
    o.upper = "c";
    o.upper_size = 1;
    const struct {
        size_t end;
        const char *first, *last;
    } cases[] = {{offsetof(firn_iter_options, lower), "a", "c"},
                 {offsetof(firn_iter_options, upper), "b", "c"},
                 {offsetof(firn_iter_options, bypass_cache), "b", "b"},
                 {offsetof(firn_iter_options, cancel), "b", "b"},
                 {offsetof(firn_iter_options, txn), "b", "b"},
                 {sizeof o, "b", "b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        firn_iter_options *given = shortened(&o, cases[i].end);
        firn_iter *it = NULL;
        MUST(firn_iter_new(b.db, given, &it, error));
        free(given);
        MUST(firn_iter_first(it));
        assert_true(slice_equal(firn_iter_key(it), slice_of(cases[i].first, 1)));
        MUST(firn_iter_last(it));
        assert_true(slice_equal(firn_iter_key(it), slice_of(cases[i].last, 1)));
        firn_iter_free(it);
    }
    bed_release(&b);
}

/* What is set by name goes into the struct that the program has, and never behind its end. */
static void an_option_that_a_shorter_struct_has_not_is_refused(void **state)
{
    (void)state;
    firn_options all;
    firn_error err = {0};
    firn_options_init(&all);
    firn_options *given = shortened(&all, offsetof(firn_options, table_bytes));
    MUST(firn_options_set(given, "memory", "3MiB", error));
    memcpy(&all, given, offsetof(firn_options, table_bytes));
    assert_int_equal(all.memory, 3 << 20);
    assert_int_equal(all.size, offsetof(firn_options, table_bytes));
    assert_int_equal(firn_options_set(given, "table_bytes", "64KiB", &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "table_bytes"));
    assert_non_null(strstr(err.hint, "compile"));
    free(given);
}

static void a_log_takes_the_options_of_earlier_versions(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    firn_wal *log = NULL;
    bed_on_disk(&b);
    firn_wal_options o;
    firn_wal_options_init(&o);
    o.segment_bytes = 64 << 10;
    firn_wal_options *given = lengthened(&o, sizeof o);
    must_be_refused(firn_wal_open(b.folder, given, NULL, &log, &err), &err, "later version");
    free(given);
    given = shortened(&o, sizeof o.size);
    must_be_refused(firn_wal_open(b.folder, given, NULL, &log, &err), &err,
                    "firn_wal_options_init");
    free(given);
    given = shortened(&o, offsetof(firn_wal_options, max_batch_bytes));
    MUST(firn_wal_open(b.folder, given, NULL, &log, error));
    free(given);
    firn_wal_write write = {.size = sizeof write, .durability = FIRN_DURABILITY_NONE};
    MUST(firn_wal_append(log, FIRN_PUT, "k", 1, "v", 1, &write, NULL, error));
    firn_wal_write *longer = lengthened(&write, sizeof write);
    must_be_refused(firn_wal_append(log, FIRN_PUT, "k", 1, "v", 1, longer, NULL, &err), &err,
                    "firn_wal_write");
    free(longer);
    MUST(firn_wal_close(log, error));
    bed_release(&b);
}

/* ---- What firn writes: no byte behind the program's struct ---- */

typedef struct initialiser {
    const char *name;
    void (*init)(void *options, size_t size);
    void (*unsized)(void *options);
    size_t size;  /* of this version's struct */
    size_t first; /* of the first version's, which is what a call by name means */
} initialiser;

static void init_options(void *o, size_t size)
{
    firn_options_init_sized(o, size);
}
static void init_write_options(void *o, size_t size)
{
    firn_write_options_init_sized(o, size);
}
static void init_iter_options(void *o, size_t size)
{
    firn_iter_options_init_sized(o, size);
}
static void init_bucket_options(void *o, size_t size)
{
    firn_bucket_options_init_sized(o, size);
}

static void init_read_options(void *o, size_t size)
{
    firn_read_options_init_sized(o, size);
}
static void init_txn_options(void *o, size_t size)
{
    firn_txn_options_init_sized(o, size);
}
static void init_wal_options(void *o, size_t size)
{
    firn_wal_options_init_sized(o, size);
}
static void options_unsized(void *o)
{
    (firn_options_init)(o);
}
static void write_options_unsized(void *o)
{
    (firn_write_options_init)(o);
}
static void iter_options_unsized(void *o)
{
    (firn_iter_options_init)(o);
}
static void bucket_options_unsized(void *o)
{
    (firn_bucket_options_init)(o);
}

static void read_options_unsized(void *o)
{
    (firn_read_options_init)(o);
}
static void txn_options_unsized(void *o)
{
    (firn_txn_options_init)(o);
}
static void wal_options_unsized(void *o)
{
    (firn_wal_options_init)(o);
}

static void an_initialiser_fills_the_struct_that_there_is(void **state)
{
    (void)state;
    const initialiser all[] = {
        {"options", init_options, options_unsized, sizeof(firn_options),
         offsetof(firn_options, latencies)},
        {"write", init_write_options, write_options_unsized, sizeof(firn_write_options),
         sizeof(firn_write_options)},
        {"read", init_read_options, read_options_unsized, sizeof(firn_read_options),
         offsetof(firn_read_options, txn)},
        {"txn", init_txn_options, txn_options_unsized, sizeof(firn_txn_options),
         sizeof(firn_txn_options)},
        {"iter", init_iter_options, iter_options_unsized, sizeof(firn_iter_options),
         offsetof(firn_iter_options, cancel)},
        {"bucket", init_bucket_options, bucket_options_unsized, sizeof(firn_bucket_options),
         sizeof(firn_bucket_options)},
        {"wal", init_wal_options, wal_options_unsized, sizeof(firn_wal_options),
         sizeof(firn_wal_options)},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint8_t *whole = malloc(all[i].size);
        memset(whole, 0xa5, all[i].size);
        all[i].init(whole, all[i].size);
        for (size_t size = sizeof(size_t); size <= all[i].size + 24; size += sizeof(size_t)) {
            size_t said = 0, known = size < all[i].size ? size : all[i].size;
            uint8_t *given = malloc(size);
            memset(given, 0xa5, size);
            all[i].init(given, size);
            memcpy(&said, given, sizeof said);
            assert_int_equal(said, size);
            assert_memory_equal(given + sizeof said, whole + sizeof said, known - sizeof said);
            for (size_t at = known; at < size; at++)
                assert_int_equal(given[at], 0);
            free(given);
        }
        /* Nothing is written when not even the size has room. */
        uint8_t small[8] = {1, 2, 3, 4, 5, 6, 7, 8};
        all[i].init(small, 7);
        assert_int_equal(small[0], 1);
        uint8_t *first = malloc(all[i].size);
        memset(first, 0xa5, all[i].size);
        all[i].unsized(first);
        size_t said;
        memcpy(&said, first, sizeof said);
        assert_int_equal(said, all[i].first);
        assert_memory_equal(first + sizeof said, whole + sizeof said, said - sizeof said);
        for (size_t at = said; at < all[i].size; at++)
            assert_int_equal(first[at], 0xa5);
        free(first);
        free(whole);
    }
}

static void the_figures_fill_the_struct_that_there_is(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "k", "v");
    firn_stats whole; /* filled in whatever it holds */
    memset(&whole, 0x5a, sizeof whole);
    MUST(firn_get_stats(b.db, &whole, error));
    assert_int_equal(whole.size, sizeof whole);
    assert_int_equal(whole.last_seq, 1);
    assert_true(whole.memory_bytes > 0);
    for (size_t size = 2 * sizeof(size_t); size <= sizeof whole + 64; size += sizeof(size_t)) {
        uint8_t *given = malloc(size);
        const uint8_t zeros[64] = {0};
        size_t known = size < sizeof whole ? size : sizeof whole;
        memset(given, 0xa5, size);
        MUST(firn_get_stats_sized(b.db, (firn_stats *)(void *)given, size, error));
        assert_memory_equal(given, &size, sizeof size);
        assert_memory_equal(given + sizeof size, (uint8_t *)&whole + sizeof size,
                            known - sizeof size);
        assert_memory_equal(given + known, zeros, size - known);
        free(given);
    }
    /* A binding calls it by its name: it has the struct of the first version, and no byte behind that is touched. */
    enum { FIRST = offsetof(firn_stats, memory_bytes) + sizeof(uint64_t) };
    uint8_t unsized[sizeof whole], behind[sizeof whole];
    const size_t first = FIRST;
    memset(unsized, 0xa5, sizeof unsized);
    memset(behind, 0xa5, sizeof behind);
    MUST((firn_get_stats)(b.db, (firn_stats *)(void *)unsized, error));
    assert_memory_equal(unsized, &first, sizeof first);
    assert_memory_equal(unsized + sizeof first, (uint8_t *)&whole + sizeof first,
                        FIRST - sizeof first);
    assert_memory_equal(unsized + FIRST, behind, sizeof whole - FIRST);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_takes_the_options_of_earlier_versions),
        cmocka_unit_test(longer_structs_are_refused_and_told_why),
        cmocka_unit_test(an_iterator_takes_the_options_of_earlier_versions),
        cmocka_unit_test(an_option_that_a_shorter_struct_has_not_is_refused),
        cmocka_unit_test(a_log_takes_the_options_of_earlier_versions),
        cmocka_unit_test(an_initialiser_fills_the_struct_that_there_is),
        cmocka_unit_test(the_figures_fill_the_struct_that_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
