/* The bytes: the README's dump is what the writer writes, and the parts of a table behave as their
 * headers say, one by one. */
#include "table.h"

#include "block.h"
#include "block_builder.h"
#include "compress.h"
#include "filter.h"
#include "format.h"
#include "index.h"
#include "props.h"

#include "support/guarded.h"

#include <base/bucket.h>
#include <base/checksum.h>
#include <base/hash.h>

static firn_slice str(const char *s)
{
    return slice_of_str(s);
}

/* ---- The dump in the README ---- */

/* Reads lines such as "0010  66 69 72 6e ..  | what it is" from the README's block that begins with
 * ```hexdump. Bytes stand in order; the offset is checked. */
static size_t dump_read(uint8_t *out, size_t room)
{
    char line[400];
    size_t size = 0;
    bool inside = false;
    FILE *f = fopen(FIRN_SOURCE_DIR "/sstable/README.md", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "```", 3) == 0) {
            inside = strncmp(line, "```hexdump", 10) == 0;
            continue;
        }
        if (!inside)
            continue;
        char *p;
        size_t offset = (size_t)strtoul(line, &p, 16);
        assert_int_equal(offset, size);
        for (;;) {
            char *end;
            while (*p == ' ')
                p++;
            unsigned long byte = strtoul(p, &end, 16);
            if (end != p + 2 || size == room)
                break;
            out[size++] = (uint8_t)byte;
            p = end;
        }
    }
    fclose(f);
    return size;
}

/* Puts the moment that `from` was made at into `to` and seals the properties again: nothing else in
 * a table depends on when it is written. */
static void created_copy(uint8_t *to, const uint8_t *from, size_t size)
{
    sst_footer f;
    const char *why;
    uint8_t tail[13];
    assert_int_equal(sst_footer_get(to + size - SST_FOOTER_BYTES, &f, &why), FIRN_OK);
    uint8_t *props = to + f.props.offset;
    size_t at = 7 * 12 + 4; /* the eighth of equally long fields, behind its id and size */
    assert_int_equal(get_u16(props + at - 4), 8);
    memcpy(props + at, from + f.props.offset + at, 8);
    memcpy(tail, props + f.props.size, 5);
    put_u64(tail + 5, f.props.offset);
    uint32_t crc = crc32_portable(f.salt, props, f.props.size);
    put_u32(props + f.props.size + 5, crc32_portable(crc, tail, sizeof tail));
}

static void the_dump_in_the_readme_is_what_the_writer_writes(void **state)
{
    (void)state;
    table t;
    firn_error err;
    model m = {0};
    uint8_t shown[2048], wrote[2048];
    size_t size;
    table_init(&t, 0);
    model_add(&m, str("snow/firn"), 7, FIRN_PUT, str("old"));
    model_add(&m, str("snow/firn"), 3, FIRN_DELETE, str(""));
    model_add(&m, str("snow/neve"), 9, FIRN_PUT, str("young"));
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    const uint8_t *peek = simfs_peek(t.sim, TABLE_PATH, &size);
    assert_true(size <= sizeof wrote);
    memcpy(wrote, peek, size);
    size_t shown_size = dump_read(shown, sizeof(shown));
    if (shown_size == size)
        created_copy(wrote, shown, size);
    if (shown_size != size || memcmp(shown, wrote, size) != 0) {
        for (size_t i = 0; i < size; i++)
            print_message(i % 16 ? " %02x" : "\n%04x  %02x", i % 16 ? wrote[i] : (unsigned)i,
                          wrote[i]);
        fail_msg("the README shows %zu other bytes", shown_size);
    }
    model_release(&m);
    table_release(&t);
}

/* ---- The parts ---- */

static void the_filter_admits_every_key_and_few_others(void **state)
{
    (void)state;
    enum { KEYS = 20000 };
    uint64_t *hashes = malloc(KEYS * sizeof *hashes);
    assert_non_null(hashes);
    for (uint64_t i = 0; i < KEYS; i++)
        hashes[i] = hash64(&i, sizeof i, 0);
    buf b = {0};
    sst_filter f;
    assert_int_equal(sst_filter_build(hashes, KEYS, 10, &b), FIRN_OK);
    assert_int_equal(sst_filter_open(buf_slice(&b), &f), FIRN_OK);
    assert_in_range(b.size * 8, KEYS * 10, KEYS * 10 + 1024);
    unsigned admitted = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_true(sst_filter_may_contain(&f, hashes[i]));
        uint64_t other = i + KEYS;
        admitted += sst_filter_may_contain(&f, hash64(&other, sizeof other, 0));
    }
    assert_in_range(admitted, 1, KEYS * 15 / 1000);
    buf_release(&b);
    free(hashes);
}

static void a_filter_whose_counters_do_not_fit_is_damaged(void **state)
{
    (void)state;
    uint64_t hash = 1;
    buf b = {0};
    sst_filter f;
    assert_int_equal(sst_filter_build(&hash, 1, 10, &b), FIRN_OK);
    assert_int_equal(b.size, 72);
    assert_int_equal(sst_filter_open((firn_slice){b.data, 7}, &f), FIRN_DAMAGED);
    assert_int_equal(sst_filter_open((firn_slice){b.data + 1, 71}, &f), FIRN_DAMAGED);
    b.data[64] = 2;
    assert_int_equal(sst_filter_open(buf_slice(&b), &f), FIRN_DAMAGED);
    b.data[64] = 1;
    b.data[68] = 0;
    assert_int_equal(sst_filter_open(buf_slice(&b), &f), FIRN_DAMAGED);
    b.data[68] = 6;
    b.data[69] = 9;
    assert_int_equal(sst_filter_open(buf_slice(&b), &f), FIRN_UNSUPPORTED);
    buf_release(&b);
}

static void both_ways_to_scan_tags_agree(void **state)
{
    (void)state;
    rng rnd = rng_init(51);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t tags[16];
        for (unsigned k = 0; k < 16; k++)
            tags[k] = (uint8_t)(rng_below(&rnd, 3) + 126); /* both sides of the sign bit */
        for (unsigned tag = 125; tag < 130; tag++)
            assert_int_equal(sst_tags_match(tags, (uint8_t)tag),
                             sst_tags_match_portable(tags, (uint8_t)tag));
    }
}

static void a_separator_lies_between_and_is_short(void **state)
{
    (void)state;
    rng rnd = rng_init(52);
    for (unsigned i = 0; i < 50000; i++) {
        uint8_t a[8], b[8];
        for (unsigned k = 0; k < 8; k++) {
            a[k] = (uint8_t)rng_below(&rnd, 3);
            b[k] = (uint8_t)rng_below(&rnd, 3);
        }
        firn_slice last = {a, (size_t)rng_below(&rnd, 9)};
        firn_slice next = {b, (size_t)rng_below(&rnd, 9)};
        if (slice_compare(last, next) >= 0)
            continue;
        firn_slice s = sst_index_separator(last, next);
        assert_true(slice_compare(last, s) <= 0);
        assert_true(slice_compare(s, next) < 0);
        assert_true(s.size <= last.size || s.size <= slice_common(last, next) + 1);
    }
}

static void numbers_and_sizes_of_every_width_fit_into_a_body(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 255, 256, 65535, 65536, 70000};
    uint8_t *bytes = calloc(1, 70000);
    assert_non_null(bytes);
    for (unsigned width = 0; width <= 56; width++) {
        for (size_t v = 0; v < sizeof sizes / sizeof sizes[0]; v++) {
            /* The greatest number of `width` bits above the base, for a key of 300 bytes or of
             * 1. */
            uint64_t top = width == 56 ? FIRN_MAX_SEQ - 1 : (UINT64_C(1) << width) - 1;
            size_t key_size = v % 2 ? 300 : 1;
            sst_block_builder b = {0};
            buf out = {0};
            const char *why;
            uint64_t bound = sst_block_builder_bytes_with(&b, (firn_slice){bytes, 0}, 0, 1);
            assert_true(bound >= 16);
            assert_int_equal(sst_block_builder_add(&b, (firn_slice){bytes, 0}, str(""),
                                                   &(sst_pending){.seq = 1, .kind = FIRN_PUT}),
                             FIRN_OK);
            firn_slice key = {bytes, key_size};
            firn_slice value = {bytes, sizes[v]};
            bound = sst_block_builder_bytes_with(&b, key, value.size, 1 + top);
            assert_int_equal(sst_block_builder_add(
                                 &b, key, value, &(sst_pending){.seq = 1 + top, .kind = FIRN_PUT}),
                             FIRN_OK);
            assert_int_equal(sst_block_builder_finish(&b, &out), FIRN_OK);
            assert_true(out.size <= bound);
            assert_int_equal(buf_reserve(&out, SST_TRAILER_BYTES), FIRN_OK); /* B3 */
            assert_int_equal(sst_block_check(out.data, (uint32_t)out.size, 300, &why), FIRN_OK);
            assert_int_equal(sst_block_check(out.data, (uint32_t)out.size - 1, 300, &why),
                             FIRN_DAMAGED);
            sst_block view = sst_block_view(out.data, (uint32_t)out.size);
            sst_block_entry e;
            sst_block_decode(sst_block_body(&view, 1), view.seq_base, &e);
            assert_int_equal(e.seq, 1 + top);
            assert_int_equal(e.suffix_size, key_size);
            assert_int_equal(e.value_size, sizes[v]);
            buf_release(&out);
            sst_block_builder_release(&b);
        }
    }
    free(bytes);
}

static void a_block_that_breaks_its_rules_is_damaged(void **state)
{
    (void)state;
    sst_block_builder b = {0};
    buf out = {0};
    const char *why;
    const sst_pending put = {.seq = 1, .kind = FIRN_PUT};
    assert_int_equal(sst_block_builder_add(&b, str("ka"), str("vw"), &put), FIRN_OK);
    assert_int_equal(sst_block_builder_add(&b, str("kb"), str(""), &put), FIRN_OK);
    assert_int_equal(sst_block_builder_finish(&b, &out), FIRN_OK);
    assert_int_equal(buf_reserve(&out, SST_TRAILER_BYTES), FIRN_OK);
    assert_int_equal(sst_block_check(out.data, (uint32_t)out.size, 2, &why), FIRN_OK);
    assert_int_equal(sst_block_check(out.data, (uint32_t)out.size, 1, &why), FIRN_DAMAGED);
    assert_non_null(strstr(why, "larger than the limit"));
    /* 17 bytes of header and prefix, 2 * 7 of arrays; then {control, 1, 2, a, v, w}. */
    const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } broken[] = {
        {0, 0, "header"},
        {0, 200, "header"},
        {4, 200, "header"},
        {15, 1, "header"},
        {0, 1, "slots"},
        {27, 32, "slots"},
        {31, 0, "rules of its kind"},
        {31, FIRN_DELETE, "rules of its kind"},
        {32, 200, "beyond its block"},
        {33, 200, "beyond its block"},
        {32, 2, "slots"},
        {39, 1, "beyond its block"},
        {8, 0, "out of range"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        uint8_t before = out.data[broken[i].at];
        out.data[broken[i].at] = broken[i].value;
        snprintf(table_case, sizeof table_case, "case %zu", i);
        CHECK(sst_block_check(out.data, (uint32_t)out.size, 300, &why) == FIRN_DAMAGED);
        CHECK(strstr(why, broken[i].why) != NULL);
        out.data[broken[i].at] = before;
    }
    out.data[6] = 2;
    assert_int_equal(sst_block_check(out.data, (uint32_t)out.size, 9, &why), FIRN_UNSUPPORTED);
    buf_release(&out);
    sst_block_builder_release(&b);
}

static void kinds_kept_for_later_are_refused_as_unsupported(void **state)
{
    (void)state;
    sst_block_builder b = {0};
    buf out = {0};
    const char *why;
    assert_int_equal(
        sst_block_builder_add(&b, str("k"), str("v"), &(sst_pending){.seq = 1, .kind = 5}),
        FIRN_OK);
    assert_int_equal(sst_block_builder_finish(&b, &out), FIRN_OK);
    assert_int_equal(sst_block_check(out.data, (uint32_t)out.size, 9, &why), FIRN_UNSUPPORTED);
    buf_release(&out);
    sst_block_builder_release(&b);
}

static void unknown_properties_are_skipped_unless_they_are_required(void **state)
{
    (void)state;
    sst_props p = {.shown = {.entries = 5}, .key_bytes_max = 10};
    sst_props got;
    buf b = {0};
    assert_int_equal(sst_props_put(&p, &b), FIRN_OK);
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_OK);
    assert_int_equal(got.shown.entries, 5);
    assert_int_equal(buf_append(&b, "\x00\x10\x02\x00hi", 6), FIRN_OK); /* 0x1000 */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_OK);
    assert_int_equal(sst_props_get((firn_slice){b.data, b.size - 1}, &got), FIRN_DAMAGED);
    assert_int_equal(buf_append(&b, "\x00\x80\x00\x00", 4), FIRN_OK); /* 0x8000 */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_UNSUPPORTED);
    b.size -= 4;
    assert_int_equal(buf_append(&b, "\x00\x01\x00\x00", 4), FIRN_OK); /* 0x0100: not ascending */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_DAMAGED);
    assert_int_equal(sst_props_get((firn_slice){b.data, 12 * 10}, &got), FIRN_DAMAGED);
    buf_release(&b);
}

/* Bucket 0 is not written, so that tables of stores without buckets are what they always were. */
static void a_table_of_another_bucket_says_so(void **state)
{
    (void)state;
    sst_props p = {.shown = {.entries = 5}, .key_bytes_max = 10}, got;
    buf b = {0};
    assert_int_equal(sst_props_put(&p, &b), FIRN_OK);
    size_t plain = b.size;
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_OK);
    assert_int_equal(got.shown.bucket, 0);
    static const uint16_t buckets[] = {256, ENTRY_BUCKETS - 1, 1, 128, 255};
    for (unsigned i = 0; i < sizeof buckets / sizeof *buckets; i++) {
        const size_t bytes = buckets[i] < 256 ? 1 : 2;
        buf_clear(&b);
        p.shown.bucket = buckets[i];
        assert_int_equal(sst_props_put(&p, &b), FIRN_OK);
        assert_int_equal(b.size, plain + 4 + bytes);
        assert_memory_equal(b.data + plain, "\x01\x80", 2);
        assert_int_equal(get_u16(b.data + plain + 2), bytes);
        assert_int_equal(b.data[plain + 4], p.shown.bucket & 255);
        assert_int_equal(bytes == 2 ? b.data[plain + 5] : 0, p.shown.bucket >> 8);
        assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_OK);
        assert_int_equal(got.shown.bucket, p.shown.bucket);
    }
    b.data[plain + 4] = 0; /* no writer says that */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_DAMAGED);
    b.data[plain + 4] = 1;
    b.data[plain + 2] = 0; /* no byte, with one left behind it */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_DAMAGED);
    assert_int_equal(sst_props_get((firn_slice){b.data, plain + 4}, &got), FIRN_DAMAGED);
    b.data[plain + 2] = 2; /* more than there is, and then as many as it says */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_DAMAGED);
    assert_int_equal(buf_append(&b, "", 1), FIRN_OK);
    assert_int_equal(b.data[plain + 5], 0); /* one byte is enough for that */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_DAMAGED);
    b.data[plain + 5] = 1;
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_OK);
    b.data[plain + 5] = 0x80; /* no bucket has that number */
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_DAMAGED);
    b.data[plain + 2] = 3; /* no number has so many */
    assert_int_equal(buf_append(&b, "", 1), FIRN_OK);
    assert_int_equal(sst_props_get(buf_slice(&b), &got), FIRN_DAMAGED);
    buf_release(&b);
}

static void a_packed_block_unpacks_to_itself_and_to_nothing_else(void **state)
{
    (void)state;
    uint8_t raw[4096], back[4097];
    memset(raw, 'f', sizeof raw);
    for (unsigned method = SST_COMPRESSION_LZ4; method <= SST_COMPRESSION_ZLIB; method++) {
        sst_packer p;
        firn_slice packed;
        assert_int_equal(sst_packer_init(&p, (sst_compression)method), FIRN_OK);
        for (unsigned twice = 0; twice < 2; twice++) {
            assert_int_equal(sst_pack(&p, slice_of(raw, sizeof raw), &packed), FIRN_OK);
            assert_true(packed.size < 200);
        }
        assert_int_equal(sst_unpack((uint8_t)method, packed, back, 4096), FIRN_OK);
        assert_memory_equal(raw, back, 4096);
        assert_int_equal(sst_unpack((uint8_t)method, packed, back, 4097), FIRN_DAMAGED);
        assert_int_equal(sst_unpack((uint8_t)method, packed, back, 4095), FIRN_DAMAGED);
        packed.size--;
        assert_int_equal(sst_unpack((uint8_t)method, packed, back, 4096), FIRN_DAMAGED);
        rng rnd = rng_init(53);
        rng_fill(&rnd, back, 4096);
        assert_int_equal(sst_pack(&p, slice_of(back, 4096), &packed), FIRN_NOT_FOUND);
        assert_int_equal(sst_pack(&p, slice_of(back, 1), &packed), FIRN_NOT_FOUND);
        sst_packer_release(&p);
    }
}

/* A footer of a file of 1000 bytes with a filter of 91, an index of 91 and properties. */
static sst_footer plain_footer(void)
{
    return (sst_footer){
        .file_bytes = 1000,
        .filter = {500, 91},
        .index = {600, 91},
        .props = {700, 1000 - SST_FOOTER_BYTES - SST_TRAILER_BYTES - 700},
    };
}

static int footer_status(sst_footer f)
{
    uint8_t bytes[SST_FOOTER_BYTES];
    const char *why;
    sst_footer_put(&f, bytes);
    return sst_footer_get(bytes, &f, &why);
}

static void a_footer_names_only_blocks_that_fit(void **state)
{
    (void)state;
    sst_footer f = plain_footer();
    assert_int_equal(footer_status(f), FIRN_OK);
    f.filter = (sst_handle){0, 0};
    assert_int_equal(footer_status(f), FIRN_OK);
    f.filter = (sst_handle){500, 90}; /* a gap */
    assert_int_equal(footer_status(f), FIRN_DAMAGED);
    f.features_optional = 1;
    assert_int_equal(footer_status(f), FIRN_OK);
    f.filter = (sst_handle){500, 92}; /* an overlap */
    assert_int_equal(footer_status(f), FIRN_DAMAGED);
    f = plain_footer();
    f.index.size = UINT64_MAX - 8;
    assert_int_equal(footer_status(f), FIRN_DAMAGED);
    f = plain_footer();
    f.props.offset = UINT64_MAX - 3;
    assert_int_equal(footer_status(f), FIRN_DAMAGED);
    f = plain_footer();
    f.file_bytes = 100;
    assert_int_equal(footer_status(f), FIRN_DAMAGED);
}

/* The sizes of the first body would lie behind the block, where another block's bytes may say
 * anything; nothing may be looked at where they lead. */
static void a_block_is_not_left_by_sizes_that_it_does_not_have(void **state)
{
    (void)state;
    enum { BODY = SST_BLOCK_HEADER_BYTES + 2 + 2 * 4 + 2 * 2 };
    for (uint32_t own = 1; own <= 2; own++) { /* bytes of a body that has three before its key */
        guarded g = guarded_new(BODY + own + SST_TRAILER_BYTES);
        const char *why = NULL;
        uint8_t *p = g.data, *slots = p + SST_BLOCK_HEADER_BYTES + 2 + 2 * 4;
        put_u32(p, 2);
        put_u64(p + 8, 1);
        put_u16(slots, BODY);
        put_u16(slots + 2, BODY + 3 + 200);
        p[BODY] = FIRN_PUT;
        p[BODY + 2] = 200; /* the value's size */
        assert_int_equal(sst_block_check(p, BODY + own, 1000, &why), FIRN_DAMAGED);
        assert_non_null(why);
        guarded_release(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_not_left_by_sizes_that_it_does_not_have),
        cmocka_unit_test(the_dump_in_the_readme_is_what_the_writer_writes),
        cmocka_unit_test(the_filter_admits_every_key_and_few_others),
        cmocka_unit_test(a_filter_whose_counters_do_not_fit_is_damaged),
        cmocka_unit_test(both_ways_to_scan_tags_agree),
        cmocka_unit_test(a_separator_lies_between_and_is_short),
        cmocka_unit_test(numbers_and_sizes_of_every_width_fit_into_a_body),
        cmocka_unit_test(a_block_that_breaks_its_rules_is_damaged),
        cmocka_unit_test(kinds_kept_for_later_are_refused_as_unsupported),
        cmocka_unit_test(unknown_properties_are_skipped_unless_they_are_required),
        cmocka_unit_test(a_table_of_another_bucket_says_so),
        cmocka_unit_test(a_packed_block_unpacks_to_itself_and_to_nothing_else),
        cmocka_unit_test(a_footer_names_only_blocks_that_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
