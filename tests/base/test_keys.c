/* Keys of fields (<firn/keys.h>): their bytes, that memcmp orders them as the fields are ordered, and what is refused.
 *
 * The order of fields is defined here once more, field by field, without any bytes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/slice.h>
#include <firn/keys.h>
#include <support/guarded.h>
#include <support/rng.h>

#define ROOM   512
#define FIELDS 8

typedef struct encoded {
    uint8_t bytes[ROOM];
    size_t size;
} encoded;

static encoded encode(const firn_field *fields, size_t count)
{
    encoded e;
    assert_int_equal(firn_key_encode(fields, count, e.bytes, sizeof e.bytes, &e.size, NULL),
                     FIRN_OK);
    return e;
}

/* ---- The definition ---- */

static int sign(int64_t v)
{
    return (v > 0) - (v < 0);
}

static bool is_integer(const firn_field *f)
{
    return f->kind == FIRN_FIELD_I64 || f->kind == FIRN_FIELD_U64;
}

static int rank(const firn_field *f)
{
    return is_integer(f) ? FIRN_FIELD_I64 : (int)f->kind;
}

static int compare_integers(const firn_field *a, const firn_field *b)
{
    bool a_below = a->kind == FIRN_FIELD_I64 && a->i64 < 0;
    bool b_below = b->kind == FIRN_FIELD_I64 && b->i64 < 0;
    if (a_below != b_below)
        return a_below ? -1 : 1;
    if (a_below)
        return a->i64 < b->i64 ? -1 : a->i64 > b->i64;
    return a->u64 < b->u64 ? -1 : a->u64 > b->u64; /* not negative: the same bytes as i64 */
}

static int compare_doubles(double a, double b)
{
    if (a < b || a > b)
        return a < b ? -1 : 1;
    return !!signbit(b) - !!signbit(a); /* -0 and 0; no NaN is compared here */
}

static int compare_strings(firn_slice a, firn_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int c = common ? memcmp(a.data, b.data, common) : 0;
    return c ? sign(c) : (a.size > b.size) - (a.size < b.size);
}

static int compare_fields(const firn_field *a, const firn_field *b)
{
    int c = 0;
    if (a->descending != b->descending) /* all that descend are behind all others */
        return a->descending ? 1 : -1;
    if (rank(a) != rank(b))
        c = rank(a) < rank(b) ? -1 : 1;
    else if (is_integer(a))
        c = compare_integers(a, b);
    else if (a->kind == FIRN_FIELD_F64)
        c = compare_doubles(a->f64, b->f64);
    else if (a->kind == FIRN_FIELD_BOOL)
        c = a->truth - b->truth;
    else if (a->kind != FIRN_FIELD_NULL)
        c = compare_strings(a->bytes, b->bytes);
    return a->descending ? -c : c;
}

static int compare_keys(const firn_field *a, size_t a_count, const firn_field *b, size_t b_count)
{
    for (size_t i = 0; i < a_count && i < b_count; i++) {
        int c = compare_fields(&a[i], &b[i]);
        if (c)
            return c;
    }
    return (a_count > b_count) - (a_count < b_count);
}

static bool begins_with(const firn_field *key, size_t count, const firn_field *with,
                        size_t with_count)
{
    if (count < with_count)
        return false;
    for (size_t i = 0; i < with_count; i++) {
        if (with[i].open) {
            if (key[i].kind != with[i].kind || key[i].descending != with[i].descending ||
                key[i].bytes.size < with[i].bytes.size ||
                (with[i].bytes.size &&
                 memcmp(key[i].bytes.data, with[i].bytes.data, with[i].bytes.size) != 0))
                return false;
        } else if (compare_fields(&key[i], &with[i]) != 0) {
            return false;
        }
    }
    return true;
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
    static const double special[] = {0.0,       -0.0,   1.0,     -1.0,   INFINITY,
                                     -INFINITY, 5e-324, -5e-324, 1.7e308};
    if (rng_next(r) % 2)
        return special[rng_next(r) % (sizeof special / sizeof *special)];
    return ((double)(int64_t)rng_next(r)) * 1e-9;
}

static firn_field any_field(rng *r)
{
    firn_field f = firn_null();
    switch (rng_next(r) % 9) {
    case 0:
        break;
    case 1:
        f = firn_bool(rng_next(r) % 2);
        break;
    case 2:
        f = firn_f64(any_double(r));
        break;
    case 3:
        f = firn_u64(any_integer(r));
        break;
    case 4:
        f = firn_i64((int64_t)any_integer(r));
        break;
    case 5:
        f = firn_i64((int64_t)(rng_next(r) % 5) - 2);
        break;
    default: {
        firn_slice s = any_string(r);
        f = rng_next(r) % 2 ? firn_text((const char *)s.data, s.size) : firn_bytes(s.data, s.size);
        break;
    }
    }
    return rng_next(r) % 3 ? f : firn_descending(f);
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
        {firn_null(), 1, "\x00"},
        {firn_bytes(zero, 7), 10,
         "\x01"
         "foo\x00\xff"
         "bar\x00"},
        {firn_text(accents, 8), 11,
         "\x02"
         "F\xc3\x94O\x00\xff"
         "bar\x00"},
        {firn_text("", 0), 2, "\x02\x00"},
        {firn_i64(0), 1, "\x14"},
        {firn_u64(0), 1, "\x14"},
        {firn_i64(1), 2, "\x15\x01"},
        {firn_i64(-1), 2, "\x13\xfe"},
        {firn_i64(-255), 2, "\x13\x00"},
        {firn_i64(-256), 3, "\x12\xfe\xff"},
        {firn_i64(-5551212), 4, "\x11\xab\x4b\x93"},
        {firn_i64(256), 3, "\x16\x01\x00"},
        {firn_i64(INT64_MAX), 9, "\x1c\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {firn_i64(INT64_MIN), 9, "\x0c\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {firn_u64(UINT64_MAX), 9, "\x1c\xff\xff\xff\xff\xff\xff\xff\xff"},
        {firn_f64(0.0), 9, "\x21\x80\x00\x00\x00\x00\x00\x00\x00"},
        {firn_f64(-0.0), 9, "\x21\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {firn_f64(-42.0), 9, "\x21\x3f\xba\xff\xff\xff\xff\xff\xff"},
        {firn_bool(false), 1, "\x26"},
        {firn_bool(true), 1, "\x27"},
        {firn_descending(firn_null()), 1, "\xfe"},
        {firn_descending(firn_bytes("a\0b", 3)), 7, "\xfd\x9e\xff\x00\x9d\xff\xff"},
        {firn_descending(firn_text("", 0)), 3, "\xfc\xff\xff"},
        {firn_descending(firn_i64(-1)), 2, "\xeb\x01"},
        {firn_descending(firn_i64(258)), 3, "\xe8\xfe\xfd"},
        {firn_descending(firn_bool(true)), 1, "\xd7"},
        {firn_descending(firn_f64(0.0)), 9, "\xdd\x7f\xff\xff\xff\xff\xff\xff\xff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        encoded e = encode(&cases[i].field, 1);
        if (e.size != cases[i].size)
            print_error("case %zu\n", i);
        assert_int_equal(e.size, cases[i].size);
        assert_memory_equal(e.bytes, cases[i].bytes, e.size);
    }
    const firn_field three[] = {firn_text("ice", 3), firn_i64(-40), firn_descending(firn_u64(1))};
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
    const firn_field behind[BEHIND] = {firn_null(),
                                       firn_bytes("", 0),
                                       firn_i64(INT64_MIN),
                                       firn_descending(firn_null()),
                                       firn_descending(firn_bytes("", 0)),
                                       firn_descending(firn_i64(1))};
    for (unsigned down = 0; down < 2; down++)
        for (size_t i = 0; i < STRINGS; i++)
            for (size_t j = 0; j < STRINGS; j++) {
                firn_field a[2] = {firn_bytes(strings[i], sizes[i]), behind[i * 7 % BEHIND]};
                firn_field b[2] = {firn_bytes(strings[j], sizes[j]), behind[j * 5 % BEHIND]};
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
            assert_int_equal(b[i].descending, a[i].descending);
            assert_false(b[i].open);
            if (is_integer(&a[i])) /* one kind for each value */
                assert_int_equal(b[i].kind, a[i].kind == FIRN_FIELD_U64 && a[i].u64 > INT64_MAX
                                                ? FIRN_FIELD_U64
                                                : FIRN_FIELD_I64);
            else
                assert_int_equal(b[i].kind, a[i].kind);
            bool string = b[i].kind == FIRN_FIELD_BYTES || b[i].kind == FIRN_FIELD_TEXT;
            if (string && !b[i].descending && !memchr(b[i].bytes.data, 0, b[i].bytes.size))
                assert_in_range((uintptr_t)b[i].bytes.data, (uintptr_t)key.data,
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
        firn_field f = firn_f64(0), g;
        memcpy(&f.f64, &bits, sizeof bits);
        encoded e = encode(&f, 1),
                end = encode(
                    &(firn_field){.kind = FIRN_FIELD_F64, .f64 = negative ? -INFINITY : INFINITY},
                    1);
        assert_true(negative ? memcmp(e.bytes, end.bytes, 9) < 0
                             : memcmp(e.bytes, end.bytes, 9) > 0);
        size_t count;
        assert_int_equal(firn_key_decode(e.bytes, e.size, &g, 1, &count, NULL, 0, NULL), FIRN_OK);
        memcpy(&again, &g.f64, sizeof again);
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
        assert_true(rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
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
    const firn_field f[] = {firn_text("ice", 3),
                            firn_i64(-70000),
                            firn_descending(firn_bytes("a\0", 2)),
                            firn_f64(1.5),
                            firn_descending(firn_u64(1)),
                            firn_null()};
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
            assert_int_equal(rc, FIRN_DAMAGED);
        }
    }
    assert_int_equal(whole, 7);
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
            last->bytes.size = (size_t)rng_next(&r) % (last->bytes.size + 1);
            *last = firn_open_field(*last);
        }
        encoded e = encode(key, count);
        uint8_t room[ROOM];
        firn_slice lower, upper, it = {e.bytes, e.size};
        assert_int_equal(firn_key_bounds(with, with_count, room, sizeof room, &lower, &upper, NULL),
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
    const firn_field f[] = {firn_text("a\0b", 3), firn_i64(-70000),
                            firn_descending(firn_bytes("xyz", 3))};
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
        int rc = firn_key_bounds(f, 3, room.data, capacity, &lower, &upper, NULL);
        assert_int_equal(rc, capacity < 2 * e.size + 1 ? FIRN_TOO_LARGE : FIRN_OK);
        assert_int_equal(lower.size, rc == FIRN_OK ? e.size : 0);
        assert_int_equal(upper.size, rc == FIRN_OK ? e.size + 1 : 0);
        guarded_release(&room);
    }
    for (size_t capacity = 0; capacity <= 3; capacity++)
        for (size_t bytes = 0; bytes <= 7; bytes++) {
            guarded room = guarded_new(bytes);
            firn_field g[3];
            size_t count;
            int rc = firn_key_decode(e.bytes, e.size, g, capacity, &count, room.data, bytes, NULL);
            assert_int_equal(rc, capacity < 3 || bytes < 6 ? FIRN_TOO_LARGE : FIRN_OK);
            assert_int_equal(count, 3);
            if (capacity > 1)
                assert_int_equal(compare_fields(&g[1], &f[1]), 0);
            guarded_release(&room);
        }
}

static void a_key_has_a_limit(void **state)
{
    (void)state;
    static uint8_t text[FIRN_MAX_KEY_BYTES], room[2 * FIRN_MAX_KEY_BYTES];
    memset(text, 'x', sizeof text);
    size_t size;
    firn_slice lower, upper;
    for (size_t n = FIRN_MAX_KEY_BYTES - 4; n < FIRN_MAX_KEY_BYTES; n++) {
        firn_field f = firn_bytes(text, n);
        int should = n + 2 <= FIRN_MAX_KEY_BYTES ? FIRN_OK : FIRN_TOO_LARGE;
        assert_int_equal(firn_key_encode(&f, 1, room, sizeof room, &size, NULL), should);
        f.bytes.size = n - 1; /* bounds are keys, too */
        assert_int_equal(firn_key_bounds(&f, 1, room, sizeof room, &lower, &upper, NULL),
                         n + 2 <= FIRN_MAX_KEY_BYTES ? FIRN_OK : FIRN_TOO_LARGE);
    }
}

static void what_is_no_field_is_refused(void **state)
{
    (void)state;
    uint8_t room[ROOM];
    size_t size;
    firn_slice lower, upper;
    firn_error error;
    firn_field f[2] = {firn_open_field(firn_text("a", 1)), firn_null()};
    assert_int_equal(firn_key_encode(f, 1, room, sizeof room, &size, &error), FIRN_INVALID);
    assert_non_null(strstr(error.message, "field 0"));
    assert_int_equal(firn_key_bounds(f, 2, room, sizeof room, &lower, &upper, NULL), FIRN_INVALID);
    assert_int_equal(firn_key_bounds(f, 1, room, sizeof room, &lower, &upper, NULL), FIRN_OK);
    f[1] = firn_open_field(firn_i64(1));
    f[0] = firn_null();
    assert_int_equal(firn_key_bounds(f, 2, room, sizeof room, &lower, &upper, &error),
                     FIRN_INVALID);
    assert_non_null(strstr(error.message, "field 1"));
    f[1] = (firn_field){.kind = (firn_field_kind)0};
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_INVALID);
    f[1] = (firn_field){.kind = (firn_field_kind)(FIRN_FIELD_BOOL + 1)};
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_INVALID);
    f[1] = firn_bytes(NULL, 1);
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_INVALID);
    f[1] = firn_bytes(NULL, 0);
    assert_int_equal(firn_key_encode(f, 2, room, sizeof room, &size, NULL), FIRN_OK);
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
         "does not end", 3, FIRN_DAMAGED, 1, 1},
        {"\x14\x01"
         "a\x00\xff",
         "does not end", 5, FIRN_DAMAGED, 1, 1},
        {"\xfd\xff", "does not end", 2, FIRN_DAMAGED, 0, 0},
        {"\xfd\xff\x01", "does not end", 3, FIRN_DAMAGED, 0, 0},
        {"\x15", "cut short", 1, FIRN_DAMAGED, 0, 0},
        {"\x16\x00\x01", "more bytes than it needs", 3, FIRN_DAMAGED, 0, 0},
        {"\x13\xff", "more bytes than it needs", 2, FIRN_DAMAGED, 0, 0},
        {"\x0c\x7f\xff\xff\xff\xff\xff\xff\xfe", "below those of 64 bits", 9, FIRN_UNSUPPORTED, 0,
         0},
        {"\x21\x80", "cut short", 2, FIRN_DAMAGED, 0, 0},
        {"\x26\x05\x00", "not supported", 3, FIRN_UNSUPPORTED, 1, 1},
        {"\x20\x80\x00\x00\x00", "not supported", 5, FIRN_UNSUPPORTED, 0, 0},
        {"\x40", "no kind", 1, FIRN_DAMAGED, 0, 0},
        {"\xff", "no kind", 1, FIRN_DAMAGED, 0, 0},
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
        cmocka_unit_test(bounds_hold_all_keys_that_begin_so_and_no_other),
        cmocka_unit_test(the_end_of_a_prefix_is_the_next_one),
        cmocka_unit_test(what_does_not_fit_says_how_much_would),
        cmocka_unit_test(a_key_has_a_limit),
        cmocka_unit_test(what_is_no_field_is_refused),
        cmocka_unit_test(what_is_no_key_says_where),
    };
    return cmocka_run_group_tests_name("base.keys", tests, NULL, NULL);
}
