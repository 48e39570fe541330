/* What goes in comes out: extreme sizes, empty tables, properties, refusals, and the real file
 * system. */
#include "table.h"

#include "support/tempdir.h"

#include <base/alloc.h>

static table t;
static sst_reader *r;
static firn_error err;

static int setup(void **state)
{
    (void)state;
    table_init(&t, 1 << 20);
    table_seed = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    table_release(&t);
    return 0;
}

static firn_slice str(const char *s)
{
    return slice_of_str(s);
}

static uint64_t offset_of(sst_reader *reader, firn_slice key)
{
    uint64_t offset;
    assert_int_equal(sst_approximate_offset(reader, key, &offset, NULL), FIRN_OK);
    return offset;
}

/* Keys of a table of about six MiB, each with some versions. */
static model many_blocks(void)
{
    model m = {0};
    uint8_t value[1000];
    rng rnd = rng_init(3);
    rng_fill(&rnd, value, sizeof value);
    for (unsigned i = 0; i < 6000; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %05u", i / 3);
        model_add(&m, str(key), i + 1, FIRN_PUT, slice_of(value, sizeof value));
    }
    model_sort(&m);
    return m;
}

static void a_table_is_split_where_its_bytes_are(void **state)
{
    (void)state;
    enum { PARTS = 4 };
    model m = many_blocks();
    buf key = {0}, last = {0};
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    uint64_t whole = offset_of(r, str("zzz")), block = whole / sst_reader_properties(r)->blocks;
    for (uint64_t part = 0; part < PARTS; part++) {
        assert_int_equal(sst_split_key(r, part, PARTS, &key, &err), FIRN_OK);
        uint64_t offset = offset_of(r, buf_slice(&key)), wanted = whole / PARTS * part;
        assert_true(offset + 2 * block >= wanted && offset <= wanted + 2 * block);
        assert_true(part == 0 ? key.size == 0
                              : slice_compare(buf_slice(&key), buf_slice(&last)) > 0);
        assert_int_equal(buf_assign(&last, key.data, key.size), FIRN_OK);
    }
    buf_release(&key);
    buf_release(&last);
    sst_reader_close(r);
    model_release(&m);
}

/* The disk works while the table grows: the sync at its end finds little left to write. */
static void a_table_is_written_out_as_it_grows(void **state)
{
    (void)state;
    model m = many_blocks();
    t.wo.compression = SST_COMPRESSION_NONE;
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    uint64_t bytes = sst_reader_properties(r)->file_bytes, out = simfs_write_out(t.sim);
    assert_true(bytes > UINT64_C(5) << 20);
    assert_true(out <= bytes && out + (UINT64_C(3) << 20) > bytes);
    sst_reader_close(r);
    model_release(&m);
}

static void an_empty_table_is_a_table(void **state)
{
    (void)state;
    model m = {.seq_top = 1};
    rng rnd = rng_init(1);
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    assert_int_equal(sst_reader_properties(r)->blocks, 0);
    assert_int_equal(offset_of(r, str("a")), 0);
    buf key = {0};
    assert_int_equal(sst_split_key(r, 1, 2, &key, &err), FIRN_OK);
    assert_int_equal(key.size, 0);
    sst_hit hit;
    assert_int_equal(sst_get(r, str("a"), sst_key_hash(str("a")), 9, &hit, &err), FIRN_NOT_FOUND);
    table_check_iter(r, &m, SST_FILL);
    table_check_iter(r, &m, SST_PASS);
    table_check_seeks(r, &m, &rnd, SST_FILL);
    assert_int_equal(sst_verify(r, &err), FIRN_OK);
    sst_reader_close(r);
}

/* Keys and values at the ends of what is allowed, among ordinary ones. */
static model extremes(size_t value_large)
{
    model m = {0};
    uint8_t *large = malloc(value_large);
    uint8_t *key = malloc(FIRN_MAX_KEY_BYTES);
    assert_non_null(large);
    assert_non_null(key);
    rng rnd = rng_init(7);
    rng_fill(&rnd, large, value_large);
    memset(key, 'k', FIRN_MAX_KEY_BYTES);
    model_add(&m, (firn_slice){key, 0}, 5, FIRN_PUT, (firn_slice){large, 0});
    model_add(&m, (firn_slice){key, 0}, 4, FIRN_PUT, (firn_slice){large, value_large});
    model_add(&m, str("a"), 1, FIRN_DELETE, (firn_slice){NULL, 0});
    model_add(&m, slice_of("a\0", 2), 2, FIRN_PUT, slice_of("\0\0", 2));
    model_add(&m, slice_of("\0", 1), FIRN_MAX_SEQ, FIRN_PUT, str("x"));
    const size_t sizes[] = {254, 255, 256, 257, 32768, FIRN_MAX_KEY_BYTES - 1, FIRN_MAX_KEY_BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        model_add(&m, (firn_slice){key, sizes[i]}, 10 + i, FIRN_PUT, (firn_slice){large, sizes[i]});
        model_add(&m, (firn_slice){key, sizes[i]}, 30 + i, FIRN_PUT, (firn_slice){large, 65536});
    }
    key[FIRN_MAX_KEY_BYTES - 1] = 'l';
    model_add(&m, (firn_slice){key, FIRN_MAX_KEY_BYTES}, 60, FIRN_PUT,
              (firn_slice){large, value_large});
    free(large);
    free(key);
    model_sort(&m);
    return m;
}

static void extreme_keys_and_values_come_back(void **state)
{
    (void)state;
    model m = extremes(1 << 20);
    rng rnd = rng_init(2);
    for (unsigned o = 0; o < 12; o++) {
        t.wo.compression = (sst_compression)(o % 3);
        t.ro.mapped = o / 3 % 2 == 0;
        t.wo.block_bytes = o / 6 ? 4096 : 1 << 20;
        snprintf(table_case, sizeof table_case, "option set %u", o);
        CHECK(table_build(&t, &m, &err) == FIRN_OK);
        CHECK(table_open(&t, &r, &err) == FIRN_OK);
        table_check_gets(r, &m, &rnd);
        table_check_iter(r, &m, SST_FILL);
        table_check_iter(r, &m, SST_PASS);
        table_check_iter(r, &m, SST_WORK);
        table_check_seeks(r, &m, &rnd, SST_PASS);
        CHECK(sst_verify(r, &err) == FIRN_OK);
        sst_reader_close(r);
    }
    model_release(&m);
}

static void a_table_says_what_it_holds(void **state)
{
    (void)state;
    model m = {0};
    model_add(&m, str("apple"), 7, FIRN_PUT, str("red"));
    model_add(&m, str("apple"), 3, FIRN_DELETE, str(""));
    model_add(&m, str("pear"), 9, FIRN_PUT, str("green"));
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    const sst_properties *p = sst_reader_properties(r);
    size_t size;
    simfs_peek(t.sim, TABLE_PATH, &size);
    assert_int_equal(p->file_bytes, size);
    assert_int_equal(p->entries, 3);
    assert_int_equal(p->deletes, 1);
    assert_int_equal(p->raw_bytes, 5 + 3 + 5 + 4 + 5);
    assert_int_equal(p->blocks, 1);
    assert_int_equal(p->seq_min, 3);
    assert_int_equal(p->seq_max, 9);
    assert_true(p->created_us > 0);
    assert_true(slice_equal(p->key_min, str("apple")));
    assert_true(slice_equal(p->key_max, str("pear")));
    assert_true(sst_reader_memory(r) > 0);
    assert_int_equal(offset_of(r, str("a")), 0);
    assert_int_equal(offset_of(r, str("z")), p->data_bytes);
    sst_reader_close(r);
    model_release(&m);
}

static void entries_out_of_order_or_over_a_limit_are_refused(void **state)
{
    (void)state;
    uint8_t *big = heap_zalloc(FIRN_MAX_KEY_BYTES + 1);
    assert_non_null(big);
    const struct {
        firn_slice key;
        uint64_t seq;
        uint8_t kind;
        firn_slice value;
        int status;
    } bad[] = {
        {{(const uint8_t *)"l", 1}, 1, FIRN_PUT, {NULL, 0}, FIRN_INVALID},
        {{(const uint8_t *)"m", 1}, 5, FIRN_PUT, {NULL, 0}, FIRN_INVALID},
        {{(const uint8_t *)"m", 1}, 6, FIRN_PUT, {NULL, 0}, FIRN_INVALID},
        {{(const uint8_t *)"n", 1}, 0, FIRN_PUT, {NULL, 0}, FIRN_INVALID},
        {{(const uint8_t *)"n", 1}, FIRN_MAX_SEQ + 1, FIRN_PUT, {NULL, 0}, FIRN_INVALID},
        {{(const uint8_t *)"n", 1}, 1, 0, {NULL, 0}, FIRN_INVALID},
        {{(const uint8_t *)"n", 1}, 1, 3, {NULL, 0}, FIRN_INVALID},
        {{(const uint8_t *)"n", 1}, 1, FIRN_DELETE, {(const uint8_t *)"v", 1}, FIRN_INVALID},
        {{big, FIRN_MAX_KEY_BYTES + 1}, 1, FIRN_PUT, {NULL, 0}, FIRN_TOO_LARGE},
        {{(const uint8_t *)"n", 1}, 1, FIRN_PUT, {big, FIRN_MAX_VALUE_BYTES + 1}, FIRN_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sst_writer *w;
        const sst_properties *p;
        snprintf(table_case, sizeof table_case, "entry %zu", i);
        CHECK(sst_writer_open(t.dir, TABLE_NAME, &t.wo, &w, &err) == FIRN_OK);
        CHECK(sst_writer_add(w, str("m"), 5, FIRN_PUT, str("v"), &err) == FIRN_OK);
        CHECK(sst_writer_add(w, bad[i].key, bad[i].seq, bad[i].kind, bad[i].value, &err) ==
              bad[i].status);
        CHECK(err.status == bad[i].status && err.file[0] != 0);
        CHECK(sst_writer_finish(w, &p, &err) == bad[i].status); /* W4 */
        sst_writer_free(w);
        CHECK(!simfs_exists(t.sim, TABLE_PATH)); /* W3 */
    }
    heap_free(big);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    const sst_writer_options good = t.wo;
    const char *long_name = "0123456789012345678901234567890123456789012345678901234567890123";
    sst_writer *w;
    sst_writer_options o = good;
    o.block_bytes = 63;
    assert_int_equal(sst_writer_open(t.dir, TABLE_NAME, &o, &w, &err), FIRN_INVALID);
    o.block_bytes = (1 << 20) + 1;
    assert_int_equal(sst_writer_open(t.dir, TABLE_NAME, &o, &w, &err), FIRN_INVALID);
    o = good;
    o.filter_bits_per_key = 65;
    assert_int_equal(sst_writer_open(t.dir, TABLE_NAME, &o, &w, &err), FIRN_INVALID);
    o = good;
    o.compression = (sst_compression)3;
    assert_int_equal(sst_writer_open(t.dir, TABLE_NAME, &o, &w, &err), FIRN_INVALID);
    assert_int_equal(sst_writer_open(t.dir, "", &good, &w, &err), FIRN_INVALID);
    assert_int_equal(sst_writer_open(t.dir, long_name, &good, &w, &err), FIRN_INVALID);
    assert_false(simfs_exists(t.sim, TABLE_PATH));
}

static void a_file_that_is_already_there_is_left_alone(void **state)
{
    (void)state;
    sst_writer *w;
    simfs_write_file(t.sim, TABLE_PATH, "precious", 8);
    assert_int_not_equal(sst_writer_open(t.dir, TABLE_NAME, &t.wo, &w, &err), FIRN_OK);
    assert_true(simfs_exists(t.sim, TABLE_PATH));
}

static void a_table_of_another_store_number_or_size_is_refused(void **state)
{
    (void)state;
    model m = {0};
    model_add(&m, str("k"), 1, FIRN_PUT, str("v"));
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    const sst_reader_options good = t.ro;
    t.ro.store_id[1]++;
    assert_int_equal(table_open(&t, &r, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "another store"));
    assert_non_null(strstr(err.hint, "firn repair"));
    t.ro = good;
    t.ro.table_no++;
    assert_int_equal(table_open(&t, &r, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "another table"));
    t.ro = good;
    t.ro.file_bytes = 12345;
    assert_int_equal(table_open(&t, &r, &err), FIRN_DAMAGED);
    t.ro = good;
    assert_int_equal(sst_reader_open(t.dir, "absent.sst", &t.ro, &r, &err), FIRN_NOT_FOUND);
    model_release(&m);
}

static void offsets_grow_with_the_keys(void **state)
{
    (void)state;
    model m = {0};
    char key[16];
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "%08u", i);
        model_add(&m, str(key), 1 + i, FIRN_PUT, str("0123456789"));
    }
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    uint64_t last = 0;
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t offset = offset_of(r, m.v[i].key);
        assert_true(offset >= last);
        last = offset;
    }
    uint64_t half = offset_of(r, m.v[1000].key);
    uint64_t all = sst_reader_properties(r)->data_bytes;
    assert_in_range(half, all / 2 - 8192, all / 2 + 8192);
    sst_reader_close(r);
    model_release(&m);
}

/* ---- Blocks with large values ---- */

enum {
    AT_ONCE = 64 << 10
}; /* a block over the target that has so many bytes ends with its entry */

/* A value of zeroes; the versions of "m" go on over blocks of their own. */
static model zeroes_between_small_ones(const uint8_t *zeroes)
{
    const struct {
        const char *key;
        uint64_t seq;
        size_t size;
    } entries[] = {{"a", 1, 10},      {"b", 2, AT_ONCE}, {"c", 3, 10},      {"d", 4, 10},
                   {"e", 5, 1 << 20}, {"f", 6, 1 << 20}, {"m", 9, AT_ONCE}, {"m", 8, 1 << 20},
                   {"m", 7, 10},      {"n", 1, 10},      {"z", 2, AT_ONCE}};
    model m = {.seq_top = 10};
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        model_add(&m, str(entries[i].key), entries[i].seq, FIRN_PUT,
                  (firn_slice){zeroes, entries[i].size});
    return m;
}

/* Large entries stand alone and are in the file's bytes when they have been added; small ones are there with their
 * block. */
static void check_large_blocks(const model *m)
{
    sst_writer *w;
    const sst_properties *p;
    bool packs = t.wo.compression != SST_COMPRESSION_NONE;
    assert_int_equal(sst_writer_open(t.dir, TABLE_NAME, &t.wo, &w, &err), FIRN_OK);
    for (size_t i = 0; i < m->count; i++) {
        const version *v = &m->v[i];
        uint64_t before = sst_writer_file_bytes(w);
        CHECK(sst_writer_add(w, v->key, v->seq, v->kind, v->value, &err) == FIRN_OK);
        uint64_t grown = sst_writer_file_bytes(w) - before;
        if (v->value.size < AT_ONCE)
            CHECK(grown == 0);
        else
            CHECK(packs ? grown > 0 && grown < v->value.size / 32 : grown > v->value.size);
    }
    CHECK(sst_writer_finish(w, &p, &err) == FIRN_OK);
    CHECK(p->blocks == 9); /* a, b, c and d, e, f, m, m, m and n, z */
    CHECK(sst_writer_file_bytes(w) == p->file_bytes);
    sst_writer_free(w);
}

static void a_large_block_ends_with_its_entry(void **state)
{
    (void)state;
    rng rnd = rng_init(8);
    uint8_t *zeroes = heap_zalloc(1 << 20);
    assert_non_null(zeroes);
    model m = zeroes_between_small_ones(zeroes);
    for (unsigned o = 0; o < 6; o++) {
        t.wo.compression = (sst_compression)(o % 3);
        t.ro.mapped = o / 3 == 0;
        snprintf(table_case, sizeof table_case, "option set %u", o);
        (void)fs_unlink(t.dir, TABLE_NAME, NULL);
        check_large_blocks(&m);
        CHECK(table_open(&t, &r, &err) == FIRN_OK);
        table_check_gets(r, &m, &rnd);
        table_check_iter(r, &m, SST_FILL);
        table_check_iter(r, &m, SST_PASS);
        table_check_iter(r, &m, SST_WORK);
        table_check_seeks(r, &m, &rnd, SST_FILL);
        CHECK(sst_verify(r, &err) == FIRN_OK);
        sst_reader_close(r);
    }
    model_release(&m);
    heap_free(zeroes);
}

/* With a larger target, what is within it goes on sharing a block, and what is over it but small does not end at
 * once. */
static void a_block_within_its_target_or_small_stays_open(void **state)
{
    (void)state;
    static const uint8_t zeroes[200000];
    const struct {
        uint32_t target, value, blocks;
    } cases[] = {{1 << 20, 200000, 1}, {4096, 60000, 3}, {200000, 190000, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sst_writer *w;
        const sst_properties *p;
        snprintf(table_case, sizeof table_case, "case %zu", i);
        t.wo.block_bytes = cases[i].target;
        (void)fs_unlink(t.dir, TABLE_NAME, NULL);
        assert_int_equal(sst_writer_open(t.dir, TABLE_NAME, &t.wo, &w, &err), FIRN_OK);
        for (unsigned k = 0; k < 3; k++) {
            firn_slice key = slice_of(&"abc"[k], 1), value = {zeroes, cases[i].value};
            uint64_t before = sst_writer_file_bytes(w);
            CHECK(sst_writer_add(w, key, k + 1, FIRN_PUT, value, &err) == FIRN_OK);
            bool grows = cases[i].blocks > 1 && k > 0; /* by the block of the entry before */
            CHECK((sst_writer_file_bytes(w) > before) == grows);
        }
        CHECK(sst_writer_finish(w, &p, &err) == FIRN_OK);
        CHECK(p->blocks == cases[i].blocks);
        sst_writer_free(w);
    }
}

static void a_table_works_on_the_real_file_system(void **state)
{
    (void)state;
    char *path = tempdir_new();
    fs_dir *dir;
    rng rnd = rng_init(3);
    model m = model_random(&rnd, &(shape){4000, 2, 20, 3, 100, 256});
    assert_int_equal(fs_dir_open(fs_posix(), path, &dir, &err), FIRN_OK);
    for (unsigned o = 0; o < 6; o++) {
        sst_writer *w;
        const sst_properties *p;
        t.wo.compression = (sst_compression)(o / 2);
        t.ro.mapped = o % 2 == 0;
        snprintf(table_case, sizeof table_case, "option set %u", o);
        CHECK(sst_writer_open(dir, TABLE_NAME, &t.wo, &w, &err) == FIRN_OK);
        for (size_t i = 0; i < m.count; i++)
            CHECK(sst_writer_add(w, m.v[i].key, m.v[i].seq, m.v[i].kind, m.v[i].value, &err) ==
                  FIRN_OK);
        CHECK(sst_writer_finish(w, &p, &err) == FIRN_OK);
        CHECK(sst_writer_file_bytes(w) == p->file_bytes);
        sst_writer_free(w);
        CHECK(sst_reader_open(dir, TABLE_NAME, &t.ro, &r, &err) == FIRN_OK);
        table_check_iter(r, &m, SST_PASS);
        table_check_gets(r, &m, &rnd);
        table_check_walk(r, &m, &rnd, 1000);
        CHECK(sst_verify(r, &err) == FIRN_OK);
        sst_reader_close(r);
        CHECK(fs_unlink(dir, TABLE_NAME, &err) == FIRN_OK);
    }
    fs_dir_close(dir);
    tempdir_remove(path);
    model_release(&m);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_table_is_a_table),
        TEST(a_table_is_split_where_its_bytes_are),
        TEST(a_table_is_written_out_as_it_grows),
        TEST(extreme_keys_and_values_come_back),
        TEST(a_table_says_what_it_holds),
        TEST(entries_out_of_order_or_over_a_limit_are_refused),
        TEST(options_out_of_range_are_refused),
        TEST(a_file_that_is_already_there_is_left_alone),
        TEST(a_table_of_another_store_number_or_size_is_refused),
        TEST(offsets_grow_with_the_keys),
        TEST(a_large_block_ends_with_its_entry),
        TEST(a_block_within_its_target_or_small_stays_open),
        TEST(a_table_works_on_the_real_file_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
