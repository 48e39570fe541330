/* Keys of fields (<firn/keys.h>): their bytes, that memcmp orders them as the fields are ordered, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/slice.h>
#include <support/guarded.h>
#include <support/rng.h>

#include "fields.h"

#define ROOM   512
#define FIELDS 8

typedef struct encoded {
    uint8_t bytes[ROOM];
    size_t size;
} encoded;

static firn_field text_of(const char *data, size_t size)
{
    return firn_field_text((firn_slice){(const uint8_t *)data, size});
}

static firn_field bytes_of(const void *data, size_t size)
{
    return firn_field_bytes(data, size);
}

static encoded encode(const firn_field *fields, size_t count)
{
    encoded e;
    assert_int_equal(firn_key_encode(fields, count, e.bytes, sizeof e.bytes, &e.size, NULL),
                     FIRN_OK);
    return e;
}

/* What decoding gives for a field: the same, integers as one kind for each value, and zeros where nothing is set. */
static void check_decoded(const firn_field *got, const firn_field *given)
{
    static const uint8_t zeros[sizeof given->reserved];
    assert_int_equal(compare_fields(got, given), 0);
    assert_int_equal(got->descending, given->descending ? 1 : 0);
    assert_int_equal(got->prefix, 0);
    assert_memory_equal(got->reserved, zeros, sizeof zeros);
    if (is_integer(given))
        assert_int_equal(got->kind, given->kind == FIRN_FIELD_U64 && given->as.u64 > INT64_MAX
                                        ? FIRN_FIELD_U64
                                        : FIRN_FIELD_I64);
    else
        assert_int_equal(got->kind, given->kind);
}

/* ---- Fields by chance ---- */

static firn_slice any_string(rng *r)
{
    static const char alphabet[] = {0, 0, 1, 'a', '\xfe', '\xff', '\xff'};
    static uint8_t pool[64][8];
    static unsigned next;
    uint8_t *bytes = pool[next++ % 64];
    size_t size = (size_t)rng_next(r) % 5;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)alphabet[rng_next(r) % sizeof alphabet];
    return (firn_slice){bytes, size};
}

static uint64_t any_integer(rng *r)
{
    uint64_t v = rng_next(r) >> (rng_next(r) % 64);
    switch (rng_next(r) % 4) {
    case 0:
        return v & ~UINT64_C(0xff);
    case 1: /* around the bounds of a number of bytes */
        return (UINT64_C(1) << (rng_next(r) % 8 * 8)) + rng_next(r) % 3 - 1;
    case 2:
        return 0 - v;
    default:
        return v;
    }
}

static double any_double(rng *r)
{
    static const double special[] = {0.0,       -0.0,   1.0,     -1.0,    INFINITY, NAN,
                                     -INFINITY, 5e-324, -5e-324, 1.7e308, -NAN};
    if (rng_next(r) % 2)
        return special[rng_next(r) % (sizeof special / sizeof *special)];
    return ((double)(int64_t)rng_next(r)) * 1e-9;
}

static firn_field any_field(rng *r)
{
    firn_field f = firn_field_null();
    switch (rng_next(r) % 9) {
    case 0:
        break;
    case 1:
        f = firn_field_bool(rng_next(r) % 2);
        break;
    case 2:
        f = firn_field_f64(any_double(r));
        break;
    case 3:
        f = firn_field_u64(any_integer(r));
        break;
    case 4:
        f = firn_field_i64((int64_t)any_integer(r));
        break;
    case 5:
        f = firn_field_i64((int64_t)(rng_next(r) % 5) - 2);
        break;
    default: {
        firn_slice s = any_string(r);
        f = rng_next(r) % 2 ? text_of((const char *)s.data, s.size) : bytes_of(s.data, s.size);
        break;
    }
    }
    return rng_next(r) % 3 ? f : firn_field_descending(f);
}

static size_t any_fields(rng *r, firn_field fields[FIELDS])
{
    size_t count = (size_t)rng_next(r) % 4;
    for (size_t i = 0; i < count; i++)
        fields[i] = any_field(r);
    return count;
}

/* ---- Bytes ---- */

static void the_bytes_are_those_that_the_header_says(void **state)
{
    (void)state;
    static const char zero[] = "foo\0bar", accents[] = "F\xc3\x94O\0bar";
    const struct {
        firn_field field;
        size_t size;
        const char *bytes;
    } cases[] = {
        {firn_field_null(), 1, "\x00"},
        {bytes_of(zero, 7), 10,
         "\x01"
         "foo\x00\xff"
         "bar\x00"},
        {text_of(accents, 8), 11,
         "\x02"
         "F\xc3\x94O\x00\xff"
         "bar\x00"},
        {text_of("", 0), 2, "\x02\x00"},
        {firn_field_i64(0), 1, "\x14"},
        {firn_field_u64(0), 1, "\x14"},
        {firn_field_i64(1), 2, "\x15\x01"},
        {firn_field_i64(-1), 2, "\x13\xfe"},
        {firn_field_i64(-255), 2, "\x13\x00"},
        {firn_field_i64(-256), 3, "\x12\xfe\xff"},
        {firn_field_i64(-5551212), 4, "\x11\xab\x4b\x93"},
        {firn_field_i64(256), 3, "\x16\x01\x00"},
        {firn_field_i64(INT64_MAX), 9, "\x1c\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {firn_field_i64(INT64_MIN), 9, "\x0c\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {firn_field_u64(UINT64_MAX), 9, "\x1c\xff\xff\xff\xff\xff\xff\xff\xff"},
        {firn_field_f64(0.0), 9, "\x21\x80\x00\x00\x00\x00\x00\x00\x00"},
        {firn_field_f64(-0.0), 9, "\x21\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {firn_field_f64(-42.0), 9, "\x21\x3f\xba\xff\xff\xff\xff\xff\xff"},
        {firn_field_bool(false), 1, "\x26"},
        {firn_field_bool(true), 1, "\x27"},
        {firn_field_descending(firn_field_null()), 1, "\xfe"},
        {firn_field_descending(bytes_of("a\0b", 3)), 7, "\xfd\x9e\xff\x00\x9d\xff\xff"},
        {firn_field_descending(text_of("", 0)), 3, "\xfc\xff\xff"},
        {firn_field_descending(firn_field_i64(-1)), 2, "\xeb\x01"},
        {firn_field_descending(firn_field_i64(258)), 3, "\xe8\xfe\xfd"},
        {firn_field_descending(firn_field_bool(true)), 1, "\xd7"},
        {firn_field_descending(firn_field_f64(0.0)), 9, "\xdd\x7f\xff\xff\xff\xff\xff\xff\xff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        encoded e = encode(&cases[i].field, 1);
        if (e.size != cases[i].size)
            print_error("case %zu\n", i);
        assert_int_equal(e.size, cases[i].size);
        assert_memory_equal(e.bytes, cases[i].bytes, e.size);
        firn_field again;
        uint8_t room[16];
        size_t count;
        assert_int_equal(
            firn_key_decode(e.bytes, e.size, &again, 1, &count, room, sizeof room, NULL), FIRN_OK);
        assert_int_equal(count, 1);
        check_decoded(&again, &cases[i].field);
    }
    const firn_field three[] = {text_of("ice", 3), firn_field_i64(-40),
                                firn_field_descending(firn_field_u64(1))};
    encoded e = encode(three, 3);
    assert_int_equal(e.size, 9);
    assert_memory_equal(e.bytes, "\x02ice\x00\x13\xd7\xe9\xfe", 9);
    assert_int_equal(encode(NULL, 0).size, 0);
}

/* ---- Order ---- */

static void bytes_are_ordered_as_fields_are(void **state)
{
    (void)state;
    uint64_t seed = 71;
    rng r = rng_init(seed);
    unsigned equal = 0, apart = 0;
    for (unsigned round = 0; round < 300000; round++) {
        firn_field a[FIELDS], b[FIELDS];
        size_t a_count = any_fields(&r, a), b_count = any_fields(&r, b);
        if (rng_next(&r) % 2) { /* the same but for the end */
            size_t common = a_count ? (size_t)rng_next(&r) % (a_count + 1) : 0;
            memcpy(b, a, common * sizeof *a);
            b_count = b_count > common ? b_count : common;
        }
        encoded x = encode(a, a_count), y = encode(b, b_count);
        int should = compare_keys(a, a_count, b, b_count);
        int is = slice_compare((firn_slice){x.bytes, x.size}, (firn_slice){y.bytes, y.size});
        if (sign(is) != should)
            print_error("seed %llu, round %u\n", (unsigned long long)seed, round);
        assert_int_equal(sign(is), should);
        equal += should == 0;
        apart += should != 0;
    }
    assert_true(equal > 10000 && apart > 100000);
}

/* Every string of up to three of the bytes that are escaped or end one, with every field behind it that could be taken for a
 * part of it. */
static void no_string_is_taken_for_another(void **state)
{
    (void)state;
    enum { ALPHABET = 5, STRINGS = 1 + 5 + 25 + 125, BEHIND = 6 };
    static const uint8_t alphabet[ALPHABET] = {0, 1, 0x7f, 0xfe, 0xff};
    static uint8_t strings[STRINGS][3];
    static size_t sizes[STRINGS];
    size_t made = 1;
    for (size_t from = 0, size = 1; size <= 3; size++) {
        size_t end = made;
        for (; from < end; from++)
            for (size_t c = 0; c < ALPHABET; c++, made++) {
                memcpy(strings[made], strings[from], size - 1);
                strings[made][size - 1] = alphabet[c];
                sizes[made] = size;
            }
    }
    assert_int_equal(made, STRINGS);
    const firn_field behind[BEHIND] = {firn_field_null(),
                                       bytes_of("", 0),
                                       firn_field_i64(INT64_MIN),
                                       firn_field_descending(firn_field_null()),
                                       firn_field_descending(bytes_of("", 0)),
                                       firn_field_descending(firn_field_i64(1))};
    for (uint8_t down = 0; down < 2; down++)
        for (size_t i = 0; i < STRINGS; i++)
            for (size_t j = 0; j < STRINGS; j++) {
                firn_field a[2] = {bytes_of(strings[i], sizes[i]), behind[i * 7 % BEHIND]};
                firn_field b[2] = {bytes_of(strings[j], sizes[j]), behind[j * 5 % BEHIND]};
                a[0].descending = b[0].descending = down;
                size_t a_count = 1 + (i + j) % 2, b_count = 1 + (i + j / 2) % 2;
                encoded x = encode(a, a_count), y = encode(b, b_count);
                assert_int_equal(sign(slice_compare((firn_slice){x.bytes, x.size},
                                                    (firn_slice){y.bytes, y.size})),
                                 compare_keys(a, a_count, b, b_count));
            }
}

/* ---- Decoding ---- */

static void what_was_encoded_is_decoded(void **state)
{
    (void)state;
    uint64_t seed = 72;
    rng r = rng_init(seed);
    for (unsigned round = 0; round < 20000; round++) {
        firn_field a[FIELDS], b[FIELDS];
        size_t count = any_fields(&r, a), found = 99;
        encoded e = encode(a, count);
        guarded key = guarded_new(e.size), room = guarded_new(e.size);
        if (e.size)
            memcpy(key.data, e.bytes, e.size);
        int rc = firn_key_decode(key.data, e.size, b, FIELDS, &found, room.data, e.size, NULL);
        if (rc != FIRN_OK || found != count || compare_keys(a, count, b, found) != 0)
            fail_msg("seed %llu, round %u", (unsigned long long)seed, round);
        for (size_t i = 0; i < count; i++) {
            check_decoded(&b[i], &a[i]);
            bool string = b[i].kind == FIRN_FIELD_BYTES || b[i].kind == FIRN_FIELD_TEXT;
            if (string && !b[i].descending && !memchr(b[i].as.bytes.data, 0, b[i].as.bytes.size))
                assert_in_range((uintptr_t)b[i].as.bytes.data, (uintptr_t)key.data,
                                (uintptr_t)key.data + e.size);
        }
        guarded_release(&key);
        guarded_release(&room);
    }
}

static void a_nan_keeps_its_bits(void **state)
{
    (void)state;
    for (unsigned negative = 0; negative < 2; negative++) {
        uint64_t bits = UINT64_C(0x7ff8000000001234) | (uint64_t)negative << 63, again;
        firn_field f = firn_field_f64(0), g;
        memcpy(&f.as.f64, &bits, sizeof bits);
        encoded e = encode(&f, 1),
                end = encode(&(firn_field){.kind = FIRN_FIELD_F64,
                                           .as.f64 = negative ? -INFINITY : INFINITY},
                             1);
        assert_true(negative ? memcmp(e.bytes, end.bytes, 9) < 0
                             : memcmp(e.bytes, end.bytes, 9) > 0);
        size_t count;
        assert_int_equal(firn_key_decode(e.bytes, e.size, &g, 1, &count, NULL, 0, NULL), FIRN_OK);
        memcpy(&again, &g.as.f64, sizeof again);
        assert_true(again == bits);
    }
}

/* Whatever the bytes are: refused, or exactly what encoding gives. */
static void what_is_decoded_has_one_encoding(void **state)
{
    (void)state;
    uint64_t seed = 73;
    rng r = rng_init(seed);
    static const uint8_t likely[] = {0,    1,    2,    0x0c, 0x13, 0x14, 0x15, 0x1c, 0x21, 0x26,
                                     0x27, 0x80, 0xd7, 0xdd, 0xea, 0xfc, 0xfd, 0xfe, 0xff};
    unsigned taken = 0, refused = 0;
    for (unsigned round = 0; round < 300000; round++) {
        uint8_t bytes[12], room[12];
        size_t size = (size_t)rng_next(&r) % (sizeof bytes + 1), count = 99;
        for (size_t i = 0; i < size; i++)
            bytes[i] =
                rng_next(&r) % 4 ? likely[rng_next(&r) % sizeof likely] : (uint8_t)rng_next(&r);
        firn_field fields[12];
        firn_error error = {0};
        int rc = firn_key_decode(bytes, size, fields, 12, &count, room, sizeof room, &error);
        if (rc == FIRN_OK) {
            encoded e = encode(fields, count);
            if (e.size != size || memcmp(e.bytes, bytes, size) != 0)
                fail_msg("seed %llu, round %u", (unsigned long long)seed, round);
            taken++;
            continue;
        }
        assert_true(rc == FIRN_INVALID || rc == FIRN_UNSUPPORTED);
        assert_int_equal(error.status, rc);
        assert_true(error.offset < size && count <= size);
        /* What lies in front of it is a key. */
        size_t before = 99;
        assert_int_equal(firn_key_decode(bytes, (size_t)error.offset, fields, 12, &before, room,
                                         sizeof room, NULL),
                         FIRN_OK);
        assert_int_equal(before, count);
        refused++;
    }
    assert_true(taken > 10000 && refused > 10000);
}

static void a_key_that_is_cut_is_refused_or_ends_between_fields(void **state)
{
    (void)state;
    const firn_field f[] = {text_of("ice", 3),
                            firn_field_i64(-70000),
                            firn_field_descending(bytes_of("a\0", 2)),
                            firn_field_f64(1.5),
                            firn_field_descending(firn_field_u64(1)),
                            firn_field_null()};
    encoded e = encode(f, 6);
    unsigned whole = 0;
    for (size_t size = 0; size <= e.size; size++) {
        firn_field g[6];
        uint8_t room[ROOM];
        size_t count;
        int rc = firn_key_decode(e.bytes, size, g, 6, &count, room, sizeof room, NULL);
        if (rc == FIRN_OK) {
            assert_int_equal(compare_keys(f, count, g, count), 0);
            whole++;
        } else {
            assert_int_equal(rc, FIRN_INVALID);
        }
    }
    assert_int_equal(whole, 7);
}

static bool lies_within(firn_slice s, const guarded *g)
{
    return s.data >= g->data && s.size <= g->size && (size_t)(s.data - g->data) <= g->size - s.size;
}

/* A key of all kinds in both directions, cut anywhere, with any value at any place: no byte behind its end is read, and what is
 * taken for a key has this encoding and no other. */
static void any_byte_at_any_place_of_a_key_that_is_cut_does_no_harm(void **state)
{
    (void)state;
    enum { KINDS = 8 };
    firn_field f[2 * KINDS] = {text_of("i\0", 2),      bytes_of("\xff", 1),
                               firn_field_i64(-70000), firn_field_i64(0),
                               firn_field_f64(-1.5),   firn_field_u64(UINT64_MAX),
                               firn_field_bool(true),  firn_field_null()};
    for (size_t i = 0; i < KINDS; i++)
        f[KINDS + i] = firn_field_descending(f[i]);
    encoded whole = encode(f, 2 * KINDS), again;
    unsigned taken = 0, refused = 0;
    for (size_t size = 1; size <= whole.size; size++) {
        guarded key = guarded_new(size), room = guarded_new(size);
        memcpy(key.data, whole.bytes, size);
        for (size_t place = 0; place < size; place++)
            for (unsigned value = 0; value < 256; value++) {
                firn_field g[ROOM];
                size_t count;
                key.data[place] = (uint8_t)value;
                int rc = firn_key_decode(key.data, size, g, ROOM, &count, room.data, size, NULL);
                if (rc == FIRN_OK) {
                    again = encode(g, count);
                    if (again.size != size || memcmp(again.bytes, key.data, size) != 0)
                        fail_msg("%zu bytes, place %zu, value %u", size, place, value);
                    taken++;
                } else {
                    assert_true(rc == FIRN_INVALID || rc == FIRN_UNSUPPORTED);
                    refused++;
                }
                for (size_t i = 0; i < count; i++)
                    if (g[i].kind == FIRN_FIELD_BYTES || g[i].kind == FIRN_FIELD_TEXT)
                        assert_true(lies_within(g[i].as.bytes, &key) ||
                                    lies_within(g[i].as.bytes, &room));
                key.data[place] = whole.bytes[place];
            }
        guarded_release(&key);
        guarded_release(&room);
    }
    assert_true(taken > 10000 && refused > 100000);
}

/* ---- Bounds ---- */

static void bounds_hold_all_keys_that_begin_so_and_no_other(void **state)
{
    (void)state;
    uint64_t seed = 74;
    rng r = rng_init(seed);
    unsigned inside = 0, outside = 0;
    for (unsigned round = 0; round < 300000; round++) {
        firn_field key[FIELDS], with[FIELDS];
        size_t count = any_fields(&r, key), with_count = any_fields(&r, with);
        if (rng_next(&r) % 4) {
            with_count = count ? (size_t)rng_next(&r) % (count + 1) : 0;
            memcpy(with, key, with_count * sizeof *with);
        }
        firn_field *last = with_count ? &with[with_count - 1] : NULL;
        if (last && (last->kind == FIRN_FIELD_BYTES || last->kind == FIRN_FIELD_TEXT) &&
            rng_next(&r) % 2) {
            last->as.bytes.size = (size_t)rng_next(&r) % (last->as.bytes.size + 1);
            *last = firn_field_prefix(*last);
        }
        encoded e = encode(key, count);
        uint8_t room[ROOM];
        firn_slice lower, upper, it = {e.bytes, e.size};
        size_t taken;
        assert_int_equal(
            firn_key_bounds(with, with_count, room, sizeof room, &lower, &upper, &taken, NULL),
            FIRN_OK);
        bool is = slice_compare(lower, it) <= 0 && slice_compare(it, upper) < 0;
        if (is != begins_with(key, count, with, with_count))
            fail_msg("seed %llu, round %u", (unsigned long long)seed, round);
        inside += is;
        outside += !is;
    }
    assert_true(inside > 50000 && outside > 50000);
}

static void the_end_of_a_prefix_is_the_next_one(void **state)
{
    (void)state;
    const struct {
        const char *prefix, *end;
        size_t size, end_size; /* 0: there is none */
    } cases[] = {{"a", "b", 1, 1},       {"ab", "ac", 2, 2},
                 {"a\xff", "b", 2, 1},   {"a\xfe\xff\xff", "a\xff", 4, 2},
                 {"\xff", "\xff", 1, 0}, {"\xff\xff", "\xff\xff", 2, 0},
                 {"", "", 0, 0},         {"\0", "\1", 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[8] = {0};
        size_t size = cases[i].size;
        memcpy(bytes, cases[i].prefix, size);
        assert_int_equal(firn_prefix_end(bytes, &size), cases[i].end_size > 0);
        assert_int_equal(size, cases[i].end_size ? cases[i].end_size : cases[i].size);
        assert_memory_equal(bytes, cases[i].end, size);
    }
}

/* ---- Room ---- */

static void what_does_not_fit_says_how_much_would(void **state)
{
    (void)state;
    const firn_field f[] = {text_of("a\0b", 3), firn_field_i64(-70000),
                            firn_field_descending(bytes_of("xyz", 3))};
    encoded e = encode(f, 3);
    for (size_t capacity = 0; capacity <= e.size; capacity++) {
        guarded room = guarded_new(capacity);
        size_t size = 0;
        int rc = firn_key_encode(f, 3, room.data, capacity, &size, NULL);
        assert_int_equal(rc, capacity < e.size ? FIRN_TOO_LARGE : FIRN_OK);
        assert_int_equal(size, e.size);
        if (capacity)
            assert_memory_equal(room.data, e.bytes, capacity);
        guarded_release(&room);
    }
    for (size_t capacity = 0; capacity <= 2 * e.size + 1; capacity++) {
        guarded room = guarded_new(capacity);
        firn_slice lower, upper;
        size_t taken = 0;
        int rc = firn_key_bounds(f, 3, room.data, capacity, &lower, &upper, &taken, NULL);
        assert_int_equal(rc, capacity < 2 * e.size + 1 ? FIRN_TOO_LARGE : FIRN_OK);
        assert_int_equal(taken, 2 * e.size + 1);
        assert_int_equal(lower.size, rc == FIRN_OK ? e.size : 0);
        assert_int_equal(upper.size, rc == FIRN_OK ? e.size + 1 : 0);
        guarded_release(&room);
    }
    for (size_t capacity = 0; capacity <= 3; capacity++)
        for (size_t bytes = 0; bytes <= 7; bytes++) {
            guarded room = guarded_new(bytes);
            guarded fields = guarded_new(capacity * sizeof(firn_field));
            firn_field g[3];
            size_t count;
            int rc = firn_key_decode(e.bytes, e.size, (firn_field *)(void *)fields.data, capacity,
                                     &count, room.data, bytes, NULL);
            memcpy(g, fields.data, fields.size);
            assert_int_equal(rc, capacity < 3 || bytes < 6 ? FIRN_TOO_LARGE : FIRN_OK);
            assert_int_equal(count, 3);
            if (capacity > 1)
                assert_int_equal(compare_fields(&g[1], &f[1]), 0);
            if (capacity > 2 && rc != FIRN_OK) /* the last one to come has none */
                assert_int_equal(g[0].as.bytes.size + g[2].as.bytes.size, bytes < 3 ? 0 : 3);
            guarded_release(&fields);
            guarded_release(&room);
        }
}

/* Also of the largest key there are bounds, and both are keys. */
static void a_key_has_a_limit(void **state)
{
    (void)state;
    static uint8_t data[FIRN_MAX_KEY_BYTES];
    memset(data, 'x', sizeof data);
    for (size_t n = FIRN_MAX_KEY_BYTES - 4; n < FIRN_MAX_KEY_BYTES; n++)
        for (uint8_t prefix = 0; prefix < 2; prefix++) {
            firn_field f = bytes_of(data, n);
            f.prefix = prefix;
            size_t size = n + (prefix ? 1 : 2), taken;
            guarded room = guarded_new(2 * FIRN_MAX_KEY_BYTES);
            firn_slice lower, upper;
            int should = size <= FIRN_MAX_KEY_BYTES ? FIRN_OK : FIRN_TOO_LARGE;
            if (!prefix) {
                assert_int_equal(firn_key_encode(&f, 1, room.data, room.size, &taken, NULL),
                                 should);
                assert_int_equal(taken, size);
                if (should == FIRN_OK) {
                    firn_field again;
                    size_t count;
                    assert_int_equal(
                        firn_key_decode(room.data, size, &again, 1, &count, NULL, 0, NULL),
                        FIRN_OK);
                    check_decoded(&again, &f);
                }
            }
            assert_int_equal(
                firn_key_bounds(&f, 1, room.data, room.size, &lower, &upper, &taken, NULL), should);
            if (should == FIRN_OK) {
                assert_int_equal(lower.size, size);
                assert_true(taken <= room.size && upper.size <= FIRN_MAX_KEY_BYTES);
                assert_true(slice_compare(lower, upper) < 0);
            }
            guarded_release(&room);
        }
}

/* Of zeros, each of which is a field. */
static void what_is_longer_than_a_key_is_not_decoded(void **state)
{
    (void)state;
    static uint8_t zeros[FIRN_MAX_KEY_BYTES + 1];
    firn_field f;
    size_t count;
    assert_int_equal(firn_key_decode(zeros, FIRN_MAX_KEY_BYTES, &f, 1, &count, NULL, 0, NULL),
                     FIRN_TOO_LARGE);
    assert_int_equal(count, FIRN_MAX_KEY_BYTES);
    assert_int_equal(firn_key_decode(zeros, FIRN_MAX_KEY_BYTES + 1, &f, 1, &count, NULL, 0, NULL),
                     FIRN_INVALID);
    assert_int_equal(count, 0);
}

/* A size that is none, such as -1 where it was converted, is refused before a byte is read. */
static void a_string_that_is_too_long_is_not_read(void **state)
{
    (void)state;
    const size_t sizes[] = {FIRN_MAX_KEY_BYTES + 1, SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX};
    uint8_t room[ROOM];
    size_t size;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        firn_field f = bytes_of("x", sizes[i]);
        assert_int_equal(firn_key_encode(&f, 1, room, sizeof room, &size, NULL), FIRN_TOO_LARGE);
        assert_true(size > FIRN_MAX_KEY_BYTES);
    }
}

static void what_is_no_field_is_refused(void **state)
{
    (void)state;
    uint8_t room[ROOM];
    size_t size, taken;
    firn_slice lower, upper;
    firn_error error;
    firn_field f[2] = {firn_field_prefix(firn_field_str("a")), firn_field_null()};
    assert_int_equal(firn_key_encode(f, 1, room, sizeof room, &size, &error), FIRN_INVALID);
    assert_int_equal(size, 0);
    assert_non_null(strstr(error.message, "field 0"));
    assert_int_equal(firn_key_bounds(f, 2, room, sizeof room, &lower, &upper, &taken, NULL),
                     FIRN_INVALID);
    assert_int_equal(firn_key_bounds(f, 1, room, sizeof room, &lower, &upper, &taken, NULL),
                     FIRN_OK);
    f[1] = firn_field_prefix(firn_field_i64(1));
    f[0] = firn_field_null();
    assert_int_equal(firn_key_bounds(f, 2, room, sizeof room, &lower, &upper, &taken, &error),
                     FIRN_INVALID);
    assert_int_equal(taken, 0);
    assert_non_null(strstr(error.message, "field 1"));
    f[1] = (firn_field){.kind = 0};
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_INVALID);
    assert_int_equal(size, 0);
    f[1] = (firn_field){.kind = FIRN_FIELD_BOOL + 1};
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_INVALID);
    f[1] = bytes_of(NULL, 1);
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_INVALID);
    f[1] = bytes_of(NULL, 0);
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_OK);
    f[1] = firn_field_bool(true);
    f[1].as.truth = f[1].descending = 200; /* from another language */
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_OK);
    assert_memory_equal(room, "\x00\xd7", 2);
}

static void what_is_no_key_says_where(void **state)
{
    (void)state;
    const struct {
        const char *bytes, *words;
        size_t size;
        int status;
        uint64_t offset;
        size_t count;
    } cases[] = {
        {"\x14\x01"
         "a",
         "does not end", 3, FIRN_INVALID, 1, 1},
        {"\x14\x01"
         "a\x00\xff",
         "does not end", 5, FIRN_INVALID, 1, 1},
        {"\xfd\xff", "does not end", 2, FIRN_INVALID, 0, 0},
        {"\xfd\xff\x01", "does not end", 3, FIRN_INVALID, 0, 0},
        {"\x15", "cut short", 1, FIRN_INVALID, 0, 0},
        {"\x16\x00\x01", "more bytes than it needs", 3, FIRN_INVALID, 0, 0},
        {"\x13\xff", "more bytes than it needs", 2, FIRN_INVALID, 0, 0},
        {"\x0c\x7f\xff\xff\xff\xff\xff\xff\xfe", "below those of 64 bits", 9, FIRN_UNSUPPORTED, 0,
         0},
        {"\x21\x80", "cut short", 2, FIRN_INVALID, 0, 0},
        {"\x26\x05\x00", "not supported", 3, FIRN_UNSUPPORTED, 1, 1},
        {"\x20\x80\x00\x00\x00", "not supported", 5, FIRN_UNSUPPORTED, 0, 0},
        {"\x0b\xf6\x00\x00\x00\x00\x00\x00\x00\x00\x00", "not supported", 11, FIRN_UNSUPPORTED, 0,
         0},
        {"\x1d\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00", "not supported", 11, FIRN_UNSUPPORTED, 0,
         0},
        {"\x40", "not supported", 1, FIRN_UNSUPPORTED, 0, 0},
        {"\x4f", "not supported", 1, FIRN_UNSUPPORTED, 0, 0},
        {"\xaf", "not supported", 1, FIRN_UNSUPPORTED, 0, 0},
        {"\xbe", "not supported", 1, FIRN_UNSUPPORTED, 0, 0},
        {"\x50", "no kind", 1, FIRN_INVALID, 0, 0},
        {"\xae", "no kind", 1, FIRN_INVALID, 0, 0},
        {"\xff", "no kind", 1, FIRN_INVALID, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        firn_field f[4];
        uint8_t room[16];
        size_t count;
        firn_error error = {0};
        int rc =
            firn_key_decode(cases[i].bytes, cases[i].size, f, 4, &count, room, sizeof room, &error);
        if (rc != cases[i].status || !strstr(error.message, cases[i].words))
            print_error("case %zu: %s\n", i, error.message);
        assert_int_equal(rc, cases[i].status);
        assert_non_null(strstr(error.message, cases[i].words));
        assert_int_equal(error.offset, cases[i].offset);
        assert_int_equal(count, cases[i].count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_that_the_header_says),
        cmocka_unit_test(bytes_are_ordered_as_fields_are),
        cmocka_unit_test(no_string_is_taken_for_another),
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(a_nan_keeps_its_bits),
        cmocka_unit_test(what_is_decoded_has_one_encoding),
        cmocka_unit_test(a_key_that_is_cut_is_refused_or_ends_between_fields),
        cmocka_unit_test(any_byte_at_any_place_of_a_key_that_is_cut_does_no_harm),
        cmocka_unit_test(bounds_hold_all_keys_that_begin_so_and_no_other),
        cmocka_unit_test(the_end_of_a_prefix_is_the_next_one),
        cmocka_unit_test(what_does_not_fit_says_how_much_would),
        cmocka_unit_test(a_key_has_a_limit),
        cmocka_unit_test(what_is_longer_than_a_key_is_not_decoded),
        cmocka_unit_test(a_string_that_is_too_long_is_not_read),
        cmocka_unit_test(what_is_no_field_is_refused),
        cmocka_unit_test(what_is_no_key_says_where),
    };
    return cmocka_run_group_tests_name("base.keys", tests, NULL, NULL);
}
