/* Damage is told, never believed: every flipped bit, every truncation, blocks that moved, and
 * forged tables whose checksums are right. */
#include "table.h"

#include "block.h"
#include "cache.h"
#include "format.h"

#include <base/checksum.h>

static table t;

static int setup(void **state)
{
    (void)state;
    table_init(&t, 1 << 16);
    t.wo.block_bytes = 96;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    table_release(&t);
    return 0;
}

static model small_model(uint64_t seed)
{
    table_seed = seed;
    rng rnd = rng_init(seed);
    return model_random(&rnd, &(shape){12, 3, 10, 4, 40, 4});
}

/* Reads a table that was damaged: everything that answers answers rightly, and at
 * least one call complains. */
static void check_told(const model *m)
{
    sst_reader *r;
    firn_error err = {0};
    int rc = table_open(&t, &r, &err);
    if (rc == FIRN_OK) {
        for (int use = SST_WORK; use >= SST_FILL; use--) {
            rc = table_read_all(r, m, (sst_use)use, &err);
            CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED);
        }
        uint64_t limit = sst_cache_budget(t.cache)->limit;
        sst_cache_budget(t.cache)->limit = 16 << 20; /* a mapped one by windows */
        rc = table_read_all(r, m, SST_WORK, &err);
        CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED);
        sst_cache_budget(t.cache)->limit = limit;
        memset(&err, 0, sizeof err);
        rc = sst_verify(r, &err);
        sst_reader_close(r);
    }
    CHECK(rc == FIRN_DAMAGED);
    CHECK(err.status == FIRN_DAMAGED && err.file[0] != 0 && err.hint[0] != 0);
}

static void every_flipped_bit_is_told(void **state)
{
    (void)state;
    model m = small_model(11);
    for (unsigned o = 0; o < 4; o++) {
        firn_error err;
        t.wo.compression = (sst_compression)(o % 3);
        t.ro.mapped = o != 3;
        CHECK(table_build(&t, &m, &err) == FIRN_OK);
        table_flip_bits(&t, o, check_told, &m);
    }
    model_release(&m);
}

static void every_truncation_is_told(void **state)
{
    (void)state;
    model m = small_model(12);
    firn_error err;
    size_t size;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    simfs_peek(t.sim, TABLE_PATH, &size);
    for (size_t cut = size; cut-- > 0;) {
        sst_reader *r;
        snprintf(table_case, sizeof table_case, "cut at %zu", cut);
        simfs_cut(t.sim, TABLE_PATH, cut);
        CHECK(table_open(&t, &r, &err) == FIRN_DAMAGED);
        CHECK(err.file[0] != 0 && err.hint[0] != 0);
    }
    model_release(&m);
}

/* The bytes of the table, to be changed and written back. */
typedef struct bytes {
    uint8_t *data;
    size_t size;
    sst_footer footer;
} bytes;

static bytes bytes_take(void)
{
    bytes b;
    const char *why;
    const uint8_t *peek = simfs_peek(t.sim, TABLE_PATH, &b.size);
    b.data = malloc(b.size);
    assert_non_null(b.data);
    memcpy(b.data, peek, b.size);
    assert_int_equal(sst_footer_get(b.data + b.size - SST_FOOTER_BYTES, &b.footer, &why), FIRN_OK);
    return b;
}

static void a_lengthened_file_is_told(void **state)
{
    (void)state;
    model m = small_model(13);
    firn_error err;
    sst_reader *r;
    size_t size;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    simfs_peek(t.sim, TABLE_PATH, &size);
    bytes b = bytes_take();
    simfs_cut(t.sim, TABLE_PATH, size + 1);
    CHECK(table_open(&t, &r, &err) == FIRN_DAMAGED);
    /* Even with an intact footer at its end. */
    simfs_cut(t.sim, TABLE_PATH, size + SST_FOOTER_BYTES);
    simfs_poke(t.sim, TABLE_PATH, size, b.data + size - SST_FOOTER_BYTES, SST_FOOTER_BYTES);
    CHECK(table_open(&t, &r, &err) == FIRN_DAMAGED);
    CHECK(strstr(err.message, "not as long") != NULL);
    free(b.data);
    model_release(&m);
}

static void a_file_cut_while_it_is_open_is_told(void **state)
{
    (void)state;
    model m = small_model(14);
    firn_error err;
    sst_reader *r;
    size_t size;
    t.ro.mapped = false;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    CHECK(table_open(&t, &r, &err) == FIRN_OK);
    simfs_peek(t.sim, TABLE_PATH, &size);
    simfs_cut(t.sim, TABLE_PATH, 10);
    CHECK(table_read_all(r, &m, SST_FILL, &err) == FIRN_DAMAGED);
    CHECK(table_read_all(r, &m, SST_PASS, &err) == FIRN_DAMAGED);
    CHECK(sst_verify(r, &err) == FIRN_DAMAGED);
    sst_reader_close(r);
    model_release(&m);
}

/* Seals the block again, with whatever its trailer says. */
static void reseal(const bytes *b, sst_handle h)
{
    uint8_t *payload = b->data + h.offset;
    uint32_t size = (uint32_t)h.size;
    uint8_t tail[13];
    memcpy(tail, payload + size, 5);
    put_u64(tail + 5, h.offset);
    put_u32(payload + size + 5,
            crc32_update(crc32_update(b->footer.salt, payload, size), tail, sizeof tail));
}

/* The table's blocks: data blocks by the index's sizes, then filter, index and properties. */
static size_t blocks_of(const bytes *b, sst_handle *out, size_t room)
{
    const uint8_t *index = b->data + b->footer.index.offset;
    const uint8_t *sizes = index + 8 + get_u16(index + 4);
    uint32_t count = get_u32(index);
    uint64_t offset = 0;
    assert_true(count + 3 <= room);
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (sst_handle){offset, get_u32(sizes + (size_t)i * 4)};
        offset += out[i].size + SST_TRAILER_BYTES;
    }
    out[count] = b->footer.filter;
    out[count + 1] = b->footer.index;
    out[count + 2] = b->footer.props;
    return count + 3;
}

static void a_block_that_moved_or_came_from_another_table_is_told(void **state)
{
    (void)state;
    /* Blocks of one size: every one has one entry. */
    model m = {0};
    for (unsigned i = 0; i < 8; i++) {
        char key[8];
        snprintf(key, sizeof key, "key%u", i);
        model_add(&m, slice_of_str(key), 1, FIRN_PUT,
                  slice_of_str("0123456789012345678901234567890123456789012345678901234567890123"));
    }
    firn_error err;
    sst_handle blocks[32];
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    bytes b = bytes_take();
    CHECK(blocks_of(&b, blocks, 32) == 8 + 3);
    CHECK(blocks[2].size == blocks[5].size);
    size_t whole = (size_t)blocks[2].size + SST_TRAILER_BYTES;

    snprintf(table_case, sizeof table_case, "block 5 stands at block 2's place");
    simfs_poke(t.sim, TABLE_PATH, blocks[2].offset, b.data + blocks[5].offset, whole);
    check_told(&m);

    snprintf(table_case, sizeof table_case, "block 2 of table 2 stands in table 1");
    t.wo.table_no = 2;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    bytes other = bytes_take();
    simfs_write_file(t.sim, TABLE_PATH, b.data, b.size);
    simfs_poke(t.sim, TABLE_PATH, blocks[2].offset, other.data + blocks[2].offset, whole);
    check_told(&m);
    free(b.data);
    free(other.data);
    model_release(&m);
}

static void a_zeroed_sector_is_told(void **state)
{
    (void)state;
    static const uint8_t zeros[512];
    rng rnd = rng_init(15);
    model m = model_random(&rnd, &(shape){200, 1, 10, 0, 40, 256});
    firn_error err;
    t.wo.block_bytes = 1024;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    bytes b = bytes_take();
    for (size_t at = 0; at + 512 <= b.size; at += 512) {
        snprintf(table_case, sizeof table_case, "sector at %zu", at);
        simfs_poke(t.sim, TABLE_PATH, at, zeros, 512);
        check_told(&m);
        simfs_poke(t.sim, TABLE_PATH, at, b.data + at, 512);
    }
    free(b.data);
    model_release(&m);
}

static void forge_footer(const bytes *b, size_t at, uint32_t value)
{
    uint8_t footer[SST_FOOTER_BYTES];
    memcpy(footer, b->data + b->size - SST_FOOTER_BYTES, sizeof footer);
    put_u32(footer + at, value);
    put_u32(footer + 116, crc32_update(crc32_update(0, footer, 116), footer + 120, 8));
    simfs_poke(t.sim, TABLE_PATH, b->size - SST_FOOTER_BYTES, footer, sizeof footer);
}

static void a_newer_format_is_refused_as_unsupported_and_optional_features_are_ignored(void **state)
{
    (void)state;
    model m = small_model(16);
    firn_error err;
    sst_reader *r;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    bytes b = bytes_take();
    forge_footer(&b, 112, SST_FORMAT_VERSION + 1);
    assert_int_equal(table_open(&t, &r, &err), FIRN_UNSUPPORTED);
    assert_non_null(strstr(err.hint, "newer version"));
    forge_footer(&b, 80, 1);
    assert_int_equal(table_open(&t, &r, &err), FIRN_UNSUPPORTED);
    forge_footer(&b, 84, 1);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    assert_int_equal(table_read_all(r, &m, SST_FILL, &err), FIRN_OK);
    sst_reader_close(r);
    free(b.data);
    model_release(&m);
}

/* Whatever is asked of a forged table, the answer is some status; the sanitizers judge the rest. */
static void read_forged(const model *m)
{
    sst_reader *r;
    firn_error err;
    sst_hit hit;
    if (table_open(&t, &r, &err) != FIRN_OK)
        return;
    for (int use = SST_WORK; use >= SST_FILL; use--) {
        iter *it;
        size_t steps = 0;
        assert_int_equal(sst_iter_new(r, (sst_use)use, &it), FIRN_OK);
        for (it->ops->first(it); it->valid && steps < 1000; it->ops->next(it))
            steps++;
        for (it->ops->last(it); it->valid && steps < 2000; it->ops->prev(it))
            steps++;
        for (size_t i = 0; i < m->count; i += 3) {
            it->ops->seek(it, m->v[i].key, m->v[i].seq);
            it->ops->seek_before(it, m->v[i].key, m->v[i].seq);
        }
        it->ops->close(it);
    }
    for (size_t i = 0; i < m->count; i++) {
        firn_slice key = m->v[i].key;
        if (sst_get(r, key, sst_key_hash(key), m->v[i].seq, &hit, &err) == FIRN_OK)
            sst_pin_release(&hit.pin);
        uint64_t offset;
        (void)sst_approximate_offset(r, key, &offset, NULL);
    }
    (void)sst_verify(r, &err);
    sst_reader_close(r);
}

static void forged_blocks_with_right_checksums_cause_no_wrong_access(void **state)
{
    (void)state;
    model m = small_model(17);
    for (unsigned round = 0; round < 6000; round++) {
        firn_error err;
        sst_handle blocks[256];
        rng rnd = rng_init(round);
        table_seed = round;
        if (round % 500 == 0) {
            t.wo.compression = (sst_compression)(round / 500 % 3);
            t.wo.block_bytes = round / 500 % 2 ? 96 : 400;
            t.ro.mapped = round / 1000 % 2 == 0;
            CHECK(table_build(&t, &m, &err) == FIRN_OK);
        }
        bytes b = bytes_take();
        uint8_t *good = malloc(b.size);
        assert_non_null(good);
        memcpy(good, b.data, b.size);
        size_t count = blocks_of(&b, blocks, 256);
        for (uint64_t n = 1 + rng_below(&rnd, 3); n > 0; n--) {
            sst_handle h = blocks[rng_below(&rnd, count)];
            uint64_t at = h.offset + rng_below(&rnd, h.size + 5); /* the trailer's fields too */
            if (rng_below(&rnd, 3) == 0 && h.size > 24)
                at = h.offset + rng_below(&rnd, 24); /* headers are worth more tries */
            b.data[at] = rng_below(&rnd, 2) ? (uint8_t)rng_next(&rnd)
                                            : (uint8_t)(b.data[at] + 1 - 2 * rng_below(&rnd, 2));
            reseal(&b, h);
        }
        simfs_poke(t.sim, TABLE_PATH, 0, b.data, b.size);
        read_forged(&m);
        simfs_poke(t.sim, TABLE_PATH, 0, good, b.size);
        free(good);
        free(b.data);
    }
    model_release(&m);
}

static void forged_orders_tags_and_properties_are_found_by_verify(void **state)
{
    (void)state;
    model m = {0};
    model_add(&m, slice_of_str("aa"), 1, FIRN_PUT, slice_of_str("x"));
    model_add(&m, slice_of_str("ab"), 1, FIRN_PUT, slice_of_str("y"));
    firn_error err;
    sst_reader *r;
    sst_handle blocks[8];
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    bytes b = bytes_take();
    size_t count = blocks_of(&b, blocks, 8);
    CHECK(count == 1 + 3);
    /* Block: 16 header, "a", 2 tags, 2 heads, 2 slots, then {kind, 1, 1, 'a', 'x'} and so on. */
    const struct {
        size_t block;
        uint64_t at;
        uint8_t value;
        const char *what;
    } forged[] = {
        {0, 17, (uint8_t)(b.data[17] + 1), "tag"},
        {0, 17 + 2, 'z', "head"},
        {0, 31 + 3, 'c', "order"},
        {1, 3, (uint8_t)(b.data[blocks[1].offset + 3] + 1), "filter"},
        {3, 4, 3, "entries"},
        {3, 4 + 12, 1, "deletes"},
    };
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        sst_handle h = blocks[forged[i].block];
        snprintf(table_case, sizeof table_case, "%s", forged[i].what);
        uint8_t before = b.data[h.offset + forged[i].at];
        b.data[h.offset + forged[i].at] = forged[i].value;
        if (forged[i].block == 1)
            memset(b.data + h.offset, 0, 64); /* a filter that denies everything */
        reseal(&b, h);
        simfs_poke(t.sim, TABLE_PATH, 0, b.data, b.size);
        int rc = table_open(&t, &r, &err);
        if (rc == FIRN_OK) {
            rc = sst_verify(r, &err);
            sst_reader_close(r);
        }
        CHECK(rc == FIRN_DAMAGED);
        b.data[h.offset + forged[i].at] = before;
        reseal(&b, h);
        if (forged[i].block == 1) {
            free(b.data);
            CHECK(table_build(&t, &m, &err) == FIRN_OK);
            b = bytes_take();
        }
    }
    free(b.data);
    model_release(&m);
}

/* By the first read, and not as something that another program has done meanwhile. */
static void a_block_that_lies_about_its_structure_is_told_when_it_is_read(void **state)
{
    (void)state;
    model m = {0};
    model_add(&m, slice_of_str("aa"), 1, FIRN_PUT, slice_of_str("x"));
    model_add(&m, slice_of_str("ab"), 1, FIRN_PUT, slice_of_str("y"));
    for (unsigned way = 0; way < 4; way++) {
        firn_error err = {0};
        sst_reader *r;
        sst_hit hit;
        iter *it;
        sst_handle blocks[8];
        t.ro.mapped = way & 1;
        CHECK(table_build(&t, &m, &err) == FIRN_OK);
        bytes b = bytes_take();
        CHECK(blocks_of(&b, blocks, 8) == 1 + 3);
        /* One entry more than there are, or a slot in front of the one before it. */
        b.data[blocks[0].offset + (way & 2 ? 17 + 2 + 8 + 2 : 0)]++;
        reseal(&b, blocks[0]);
        simfs_poke(t.sim, TABLE_PATH, 0, b.data, b.size);
        free(b.data);
        CHECK(table_open(&t, &r, &err) == FIRN_OK);
        CHECK(sst_get(r, slice_of_str("aa"), sst_key_hash(slice_of_str("aa")), 9, &hit, &err) ==
              FIRN_DAMAGED);
        assert_null(strstr(err.message, "has changed"));
        assert_int_equal(sst_iter_new(r, SST_FILL, &it), FIRN_OK);
        firn_error why = {0};
        it->error = &why;
        it->ops->first(it);
        assert_int_equal(it->status, FIRN_DAMAGED);
        assert_int_equal(why.status, FIRN_DAMAGED);
        assert_null(strstr(why.message, "has changed"));
        it->ops->close(it);
        sst_reader_close(r);
    }
    model_release(&m);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* A footer and properties that are intact, and a large index where there is nothing: told by the trailer that is not there,
 * before memory is asked for. */
static void a_large_block_that_is_not_there_is_told_by_its_trailer(void **state)
{
    (void)state;
    enum { INDEX_BYTES = 2 << 20 };
    model m = small_model(5);
    sst_reader *r = NULL;
    sst_footer f;
    const char *why;
    firn_error err = {0};
    size_t size;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    const uint8_t *intact = simfs_peek(t.sim, TABLE_PATH, &size);
    CHECK(sst_footer_get(intact + size - SST_FOOTER_BYTES, &f, &why) == FIRN_OK);
    sst_handle props = {INDEX_BYTES + SST_TRAILER_BYTES, f.props.size};
    uint64_t end = props.offset + props.size + SST_TRAILER_BYTES;
    uint8_t *forged = calloc(1, end + SST_FOOTER_BYTES);
    assert_non_null(forged);
    memcpy(forged + props.offset, intact + f.props.offset, props.size);
    sst_trailer_put(forged + props.offset, (uint32_t)props.size, SST_COMPRESSION_NONE,
                    (uint32_t)props.size, f.salt, props.offset);
    f.filter = (sst_handle){0, 0};
    f.index = (sst_handle){0, INDEX_BYTES};
    f.props = props;
    f.file_bytes = end + SST_FOOTER_BYTES;
    sst_footer_put(&f, forged + end);
    simfs_write_file(t.sim, TABLE_PATH, forged, f.file_bytes);
    free(forged);
    CHECK(table_open(&t, &r, &err) == FIRN_DAMAGED);
    CHECK(strstr(err.message, "unpacked size") && err.offset == 0);
    model_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_flipped_bit_is_told),
        TEST(every_truncation_is_told),
        TEST(a_lengthened_file_is_told),
        TEST(a_file_cut_while_it_is_open_is_told),
        TEST(a_block_that_moved_or_came_from_another_table_is_told),
        TEST(a_zeroed_sector_is_told),
        TEST(a_newer_format_is_refused_as_unsupported_and_optional_features_are_ignored),
        TEST(forged_blocks_with_right_checksums_cause_no_wrong_access),
        TEST(forged_orders_tags_and_properties_are_found_by_verify),
        TEST(a_block_that_lies_about_its_structure_is_told_when_it_is_read),
        TEST(a_large_block_that_is_not_there_is_told_by_its_trailer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
