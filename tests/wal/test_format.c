/* The log's bytes: what is encoded decodes to itself, what was changed does not pass, and the
 * README's hexdump is what the encoder writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <base/checksum.h>
#include <base/coding.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <support/rng.h>
#include <wal/wal.h>

#include "build_log.h"
#include <segments/format.h>

static wal_header some_header(void)
{
    wal_header h = {
        .segment_no = 7,
        .segment_bytes = 65536,
        .salt = 0x0123456789abcdef,
        .optional = WAL_OPTIONAL_RECYCLED,
        .timeline = 3,
        .created_us = 1700000000000001,
    };
    memcpy(h.store_id, "0123456789abcdef", 16);
    return h;
}

static void a_header_decodes_to_what_was_encoded(void **state)
{
    (void)state;
    wal_header h = some_header(), back;
    uint8_t bytes[WAL_HEADER_BYTES];
    wal_header_encode(&h, bytes);
    assert_int_equal(wal_header_decode(bytes, &back), FIRN_OK);
    assert_memory_equal(back.store_id, h.store_id, 16);
    assert_true(back.segment_no == h.segment_no && back.segment_bytes == h.segment_bytes);
    assert_true(back.salt == h.salt && back.created_us == h.created_us);
    assert_true(back.optional == h.optional && back.required == 0 && back.timeline == 3);
}

static void a_header_with_any_flipped_bit_is_damaged(void **state)
{
    (void)state;
    wal_header h = some_header(), back;
    uint8_t bytes[WAL_HEADER_BYTES];
    wal_header_encode(&h, bytes);
    for (unsigned bit = 0; bit < WAL_HEADER_BYTES * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(wal_header_decode(bytes, &back), FIRN_DAMAGED);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void reseal_header(uint8_t *bytes)
{
    put_u32(bytes + 124, crc32_update(0, bytes, 124));
}

static void a_header_of_a_newer_version_or_an_unknown_required_feature_is_unsupported(void **state)
{
    (void)state;
    wal_header h = some_header(), back;
    uint8_t bytes[WAL_HEADER_BYTES];
    wal_header_encode(&h, bytes);
    put_u32(bytes + 8, WAL_VERSION + 1);
    reseal_header(bytes);
    assert_int_equal(wal_header_decode(bytes, &back), FIRN_UNSUPPORTED);
    h.required = 0x80;
    wal_header_encode(&h, bytes);
    assert_int_equal(wal_header_decode(bytes, &back), FIRN_UNSUPPORTED);
    h.required = 0;
    h.optional = 0xffffffff; /* unknown optional features are ignored */
    wal_header_encode(&h, bytes);
    assert_int_equal(wal_header_decode(bytes, &back), FIRN_OK);
}

static void a_header_with_an_impossible_size_or_number_is_damaged(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 4096, 8191, 8193, WAL_SEGMENT_MAX + 4096, UINT64_MAX};
    wal_header h = some_header(), back;
    uint8_t bytes[WAL_HEADER_BYTES];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        h.segment_bytes = sizes[i];
        wal_header_encode(&h, bytes);
        assert_int_equal(wal_header_decode(bytes, &back), FIRN_DAMAGED);
    }
    h = some_header();
    h.segment_no = 0;
    wal_header_encode(&h, bytes);
    assert_int_equal(wal_header_decode(bytes, &back), FIRN_DAMAGED);
}

/* ---- Frames ---- */

#define SALT   UINT64_C(0xfeedface12345678)
#define OFFSET UINT64_C(4096)

typedef struct framed {
    uint8_t bytes[256];
    uint64_t size;
    wal_frame frame;
} framed;

static framed make_frame(size_t payload_bytes)
{
    framed f;
    memset(&f, 0, sizeof f);
    for (size_t i = 0; i < payload_bytes; i++)
        f.bytes[WAL_FRAME_BYTES + i] = (uint8_t)(i * 37 + 1);
    f.frame = (wal_frame){
        .type = WAL_DATA,
        .flags = 0,
        .payload_bytes = (uint32_t)payload_bytes,
        .payload_crc = crc32_update(0, f.bytes + WAL_FRAME_BYTES, payload_bytes),
        .count = 3,
        .seq_first = 0x1122334455667788 >> 8,
        .durable_seq = 0x1122334455,
        .time_ms = 0xabcd12345678,
    };
    f.size = wal_frame_size(payload_bytes);
    wal_frame_encode(&f.frame, SALT, OFFSET, f.bytes);
    return f;
}

static void a_frame_decodes_to_what_was_encoded(void **state)
{
    (void)state;
    for (size_t payload = 0; payload < 60; payload++) {
        framed f = make_frame(payload);
        wal_frame back;
        assert_int_equal(wal_frame_decode(f.bytes, f.size, SALT, OFFSET, &back), WAL_FRAME_OK);
        assert_true(back.type == f.frame.type && back.flags == f.frame.flags);
        assert_true(back.payload_bytes == payload && back.count == 3);
        assert_true(back.seq_first == f.frame.seq_first);
        assert_true(back.durable_seq == f.frame.durable_seq);
        assert_true(back.time_ms == f.frame.time_ms);
        assert_true(back.header_crc == f.frame.header_crc);
    }
}

static void a_frame_with_any_flipped_bit_does_not_pass(void **state)
{
    (void)state;
    framed f = make_frame(43); /* five bytes of padding */
    for (unsigned bit = 0; bit < f.size * 8; bit++) {
        wal_frame back;
        f.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        wal_verdict v = wal_frame_decode(f.bytes, f.size, SALT, OFFSET, &back);
        f.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(v,
                         bit < WAL_FRAME_BYTES * 8 ? WAL_FRAME_BAD_HEADER : WAL_FRAME_BAD_PAYLOAD);
    }
}

static void a_frame_passes_only_at_its_own_place_and_salt(void **state)
{
    (void)state;
    framed f = make_frame(24);
    wal_frame back;
    assert_int_equal(wal_frame_decode(f.bytes, f.size, SALT, OFFSET + 8, &back),
                     WAL_FRAME_BAD_HEADER);
    assert_int_equal(wal_frame_decode(f.bytes, f.size, SALT + 1, OFFSET, &back),
                     WAL_FRAME_BAD_HEADER);
}

static void a_length_beyond_what_is_left_is_noticed_before_the_payload_is_read(void **state)
{
    (void)state;
    framed f = make_frame(24);
    wal_frame back;
    uint8_t *exact = malloc(WAL_FRAME_BYTES); /* a sanitizer sees a read behind it */
    assert_non_null(exact);
    memcpy(exact, f.bytes, WAL_FRAME_BYTES);
    assert_int_equal(wal_frame_decode(exact, WAL_FRAME_BYTES, SALT, OFFSET, &back),
                     WAL_FRAME_BAD_LENGTH);
    free(exact);
    assert_int_equal(wal_frame_decode(f.bytes, f.size - 1, SALT, OFFSET, &back),
                     WAL_FRAME_BAD_LENGTH);
    f.frame.payload_bytes = UINT32_MAX;
    wal_frame_encode(&f.frame, SALT, OFFSET, f.bytes);
    assert_int_equal(wal_frame_decode(f.bytes, f.size, SALT, OFFSET, &back), WAL_FRAME_BAD_LENGTH);
}

static void zeros_and_too_few_bytes_are_empty(void **state)
{
    (void)state;
    uint8_t zeros[WAL_FRAME_BYTES] = {0};
    framed f = make_frame(8);
    wal_frame back;
    assert_int_equal(wal_frame_decode(zeros, sizeof zeros, SALT, OFFSET, &back), WAL_FRAME_EMPTY);
    for (uint64_t n = 0; n < WAL_FRAME_BYTES; n++)
        assert_int_equal(wal_frame_decode(f.bytes, n, SALT, OFFSET, &back), WAL_FRAME_EMPTY);
    zeros[39] = 1;
    assert_int_equal(wal_frame_decode(zeros, sizeof zeros, SALT, OFFSET, &back),
                     WAL_FRAME_BAD_HEADER);
}

static void random_bytes_do_not_pass(void **state)
{
    (void)state;
    const uint64_t seed = 20260101;
    rng r = rng_init(seed);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[128];
        wal_frame back;
        rng_fill(&r, bytes, sizeof bytes);
        wal_verdict v = wal_frame_decode(bytes, sizeof bytes, SALT, OFFSET, &back);
        if (v != WAL_FRAME_BAD_HEADER)
            fail_msg("seed %llu, round %d: verdict %d", (unsigned long long)seed, i, (int)v);
    }
}

/* ---- Payloads and names ---- */

static void a_link_and_a_seal_decode_to_what_was_encoded(void **state)
{
    (void)state;
    wal_link l = {1, 2, 3, 4, 5, 6, true, false}, l2;
    uint8_t lb[WAL_LINK_BYTES];
    wal_link_encode(&l, lb);
    assert_int_equal(wal_link_decode((firn_slice){lb, sizeof lb}, &l2), FIRN_OK);
    assert_true(l2.prev_no == 1 && l2.prev_end == 2 && l2.prev_chain == 3 && l2.floor_seq == 4);
    assert_true(l2.life == 5 && l2.seq_first == 6 && l2.reopened && !l2.stand_in);
    assert_int_equal(wal_link_decode((firn_slice){lb, sizeof lb - 1}, &l2), FIRN_DAMAGED);

    wal_seal s = {.chain = 11, .frames = 12, .kind = WAL_SEAL_CLOSE}, s2;
    uint8_t sb[WAL_SEAL_BYTES];
    wal_seal_encode(&s, sb);
    assert_int_equal(wal_seal_decode((firn_slice){sb, sizeof sb}, &s2), FIRN_OK);
    assert_true(s2.chain == 11 && s2.frames == 12 && s2.kind == WAL_SEAL_CLOSE);
    put_u32(sb + 16, 3);
    assert_int_equal(wal_seal_decode((firn_slice){sb, sizeof sb}, &s2), FIRN_DAMAGED);
    assert_int_equal(wal_seal_decode((firn_slice){sb, 0}, &s2), FIRN_DAMAGED);
}

static void only_the_strict_form_is_a_segment_name(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "000000000000.wal",
        "00000000001.wal",
        "0000000000001.wal",
        "000000000001.wa",
        "000000000001.wal ",
        "000000000001.wal.new",
        "000000000001.WAL",
        "-00000000001.wal",
        "+00000000001.wal",
        " 00000000001.wal",
        "00000000001a.wal",
        "000000000001",
    };
    uint64_t no = 0;
    char name[WAL_NAME_BYTES];
    wal_name_format(1, name);
    assert_string_equal(name, "000000000001.wal");
    assert_true(wal_name_parse(name, &no) && no == 1);
    wal_name_format(999999999999, name);
    assert_true(wal_name_parse(name, &no) && no == 999999999999);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(wal_name_parse(bad[i], &no));
    assert_true(wal_name_is_temporary("000000000012.wal.new"));
    assert_false(wal_name_is_temporary("000000000012.wal"));
    assert_false(wal_name_is_temporary("12.wal.new"));
    assert_true(wal_owns_name("000000000012.wal") && wal_owns_name("000000000012.wal.new"));
    assert_false(wal_owns_name("LOCK") || wal_owns_name("lost") || wal_owns_name("000000000012"));
}

/* ---- The README shows what the encoder writes ---- */

/* The segment that the README dumps: a header, a LINK, one put, the seal of a clean close. */
static void readme_segment(log_builder *b)
{
    log_builder_init(b);
    log_rotate(b);
    uint8_t entry[] = {1, 0, 4, 0, 5, 0, 0, 0, 'f', 'i', 'r', 'n', 's', 'n', 'o', 'w', '!'};
    log_frame(b, WAL_DATA, entry, sizeof(entry), 1);
    log_close(b);
}

static void dump_line(const uint8_t *bytes, size_t offset, char out[96])
{
    int n = snprintf(out, 96, "%04zx ", offset);
    for (size_t i = 0; i < 16; i++)
        n += snprintf(out + n, 96 - (size_t)n, " %02x", bytes[offset + i]);
}

static char *read_readme(void)
{
    FILE *file = fopen(FIRN_SOURCE_DIR "/wal/README.md", "rb");
    assert_non_null(file);
    static char text[1 << 17];
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_true(size > 0 && size < sizeof text - 1);
    text[size] = '\0';
    return text;
}

static void the_hexdump_in_the_readme_is_what_the_encoder_writes(void **state)
{
    (void)state;
    log_builder b;
    readme_segment(&b);
    const log_segment *s = &b.segments[0];
    const char *text = read_readme();
    unsigned missing = 0;
    for (size_t offset = 0; offset < s->end; offset += 16) {
        static const uint8_t zeros[16];
        char line[96];
        bool second_copy = offset >= WAL_HEADER_COPY_OFFSET && offset < WAL_DATA_OFFSET;
        if (second_copy || memcmp(s->bytes + offset, zeros, 16) == 0)
            continue;
        dump_line(s->bytes, offset, line);
        if (!strstr(text, line)) {
            print_error("not in wal/README.md: %s\n", line);
            missing++;
        }
    }
    log_builder_release(&b);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_decodes_to_what_was_encoded),
        cmocka_unit_test(a_header_with_any_flipped_bit_is_damaged),
        cmocka_unit_test(a_header_of_a_newer_version_or_an_unknown_required_feature_is_unsupported),
        cmocka_unit_test(a_header_with_an_impossible_size_or_number_is_damaged),
        cmocka_unit_test(a_frame_decodes_to_what_was_encoded),
        cmocka_unit_test(a_frame_with_any_flipped_bit_does_not_pass),
        cmocka_unit_test(a_frame_passes_only_at_its_own_place_and_salt),
        cmocka_unit_test(a_length_beyond_what_is_left_is_noticed_before_the_payload_is_read),
        cmocka_unit_test(zeros_and_too_few_bytes_are_empty),
        cmocka_unit_test(random_bytes_do_not_pass),
        cmocka_unit_test(a_link_and_a_seal_decode_to_what_was_encoded),
        cmocka_unit_test(only_the_strict_form_is_a_segment_name),
        cmocka_unit_test(the_hexdump_in_the_readme_is_what_the_encoder_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
