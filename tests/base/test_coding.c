/* Integers on disk, and the ordering of keys. */
#include "check.h"

#include <base/coding.h>
#include <base/slice.h>
#include <support/guarded.h>
#include <support/rng.h>

#define SEED 20240101

static void FixedWidthsAreLittleEndian(void **state)
{
    (void)state;
    uint8_t b[9] = {0};
    put_u16(b + 1, 0x0102);
    assert_memory_equal(b + 1, "\x02\x01", 2);
    assert_int_equal(get_u16(b + 1), 0x0102);
    put_u32(b + 1, 0x01020384);
    assert_memory_equal(b + 1, "\x84\x03\x02\x01", 4);
    assert_int_equal(get_u32(b + 1), 0x01020384);
    put_u64(b + 1, UINT64_C(0x8102030405060708));
    assert_memory_equal(b + 1, "\x08\x07\x06\x05\x04\x03\x02\x81", 8);
    assert_true(get_u64(b + 1) == UINT64_C(0x8102030405060708));
}

static void FixedWidthsComeBackAtEveryAlignment(void **state)
{
    (void)state;
    rng r = rng_init(SEED);
    uint8_t b[16];
    for (int i = 0; i < 10000; i++) {
        uint64_t v = rng_next(&r) >> rng_below(&r, 64);
        size_t at = rng_below(&r, 8);
        put_u64(b + at, v);
        assert_true(get_u64(b + at) == v);
        put_u32(b + at, (uint32_t)v);
        assert_true(get_u32(b + at) == (uint32_t)v);
        put_u16(b + at, (uint16_t)v);
        assert_true(get_u16(b + at) == (uint16_t)v);
    }
}

static void VarintsHaveTheBytesOfLEB128(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *bytes;
        size_t size;
    } cases[] = {
        {0, "\x00", 1},
        {1, "\x01", 1},
        {127, "\x7f", 1},
        {128, "\x80\x01", 2},
        {300, "\xac\x02", 2},
        {16383, "\xff\x7f", 2},
        {16384, "\x80\x80\x01", 3},
        {UINT32_MAX, "\xff\xff\xff\xff\x0f", 5},
        {UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t b[VARINT_MAX_BYTES];
        assert_int_equal(varint_put(b, cases[i].value) - b, cases[i].size);
        assert_memory_equal(b, cases[i].bytes, cases[i].size);
        assert_int_equal(varint_size(cases[i].value), cases[i].size);
    }
}

/* Also shows that a cut varint is refused at every length, without a look behind the end. */
static void check_varint(uint64_t value)
{
    uint8_t b[VARINT_MAX_BYTES];
    size_t size = (size_t)(varint_put(b, value) - b);
    guarded g = guarded_new(size);
    memcpy(g.data, b, size);
    uint64_t out = ~value;
    assert_ptr_equal(varint_get(g.data, g.data + size, &out), g.data + size);
    assert_true(out == value);
    guarded_release(&g);
    for (size_t cut = 0; cut < size; cut++) {
        guarded short_one = guarded_new(cut);
        memcpy(short_one.data, b, cut);
        out = 42;
        assert_null(varint_get(short_one.data, short_one.data + cut, &out));
        assert_true(out == 42);
        guarded_release(&short_one);
    }
}

static void VarintsComeBackAndCutOnesAreRefused(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        check_varint((UINT64_C(1) << shift) - 1);
        check_varint(UINT64_C(1) << shift);
        check_varint((UINT64_C(1) << shift) + 1);
    }
    check_varint(UINT64_MAX);
}

static void VarintsBeyond64BitsAreRefused(void **state)
{
    (void)state;
    uint64_t out = 42;
    uint8_t too_big[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    assert_null(varint_get(too_big, too_big + 10, &out));
    uint8_t too_long[11] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    assert_null(varint_get(too_long, too_long + 11, &out));
    uint8_t goes_on[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81};
    assert_null(varint_get(goes_on, goes_on + 10, &out));
    assert_true(out == 42);
}

static firn_slice random_key(rng *r, uint8_t *room, size_t most)
{
    size_t size = rng_below(r, most + 1);
    for (size_t i = 0; i < size; i++)
        room[i] = (uint8_t)(rng_below(r, 3) * 127); /* few values: long common prefixes */
    return slice_of(room, size);
}

static void KeysAreOrderedByBytesAndAPrefixComesFirst(void **state)
{
    (void)state;
    assert_true(slice_compare(slice_of_str("a"), slice_of_str("b")) < 0);
    assert_true(slice_compare(slice_of_str("a"), slice_of_str("aa")) < 0);
    assert_true(slice_compare(slice_of_str("\xff"), slice_of_str("a")) > 0);
    assert_true(slice_compare(slice_of("a\0", 2), slice_of_str("a")) > 0);
    assert_true(slice_compare(slice_of(NULL, 0), slice_of_str("")) == 0);
    assert_true(slice_compare(slice_of(NULL, 0), slice_of_str("a")) < 0);
    assert_true(slice_equal(slice_of(NULL, 0), slice_of_str("")));
    assert_false(slice_equal(slice_of_str("ab"), slice_of_str("ac")));
}

static void PiecesNeverContradictTheOrderOfKeys(void **state)
{
    (void)state;
    rng r = rng_init(SEED);
    uint8_t room_a[24], room_b[24];
    for (int i = 0; i < 200000; i++) {
        firn_slice a = random_key(&r, room_a, sizeof room_a);
        firn_slice b = random_key(&r, room_b, sizeof room_b);
        size_t common = slice_common(a, b);
        assert_true(common <= a.size && common <= b.size);
        assert_memory_equal(a.data, b.data, common);
        assert_true(common == a.size || common == b.size || a.data[common] != b.data[common]);
        size_t skip = rng_below(&r, common + 1);
        uint64_t piece_a = slice_piece(a, skip);
        uint64_t piece_b = slice_piece(b, skip);
        if (piece_a != piece_b && (piece_a < piece_b) != (slice_compare(a, b) < 0))
            fail_msg("seed %d, round %d", SEED, i);
        assert_int_equal(slice_equal(a, b), slice_compare(a, b) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(FixedWidthsAreLittleEndian),
        cmocka_unit_test(FixedWidthsComeBackAtEveryAlignment),
        cmocka_unit_test(VarintsHaveTheBytesOfLEB128),
        cmocka_unit_test(VarintsComeBackAndCutOnesAreRefused),
        cmocka_unit_test(VarintsBeyond64BitsAreRefused),
        cmocka_unit_test(KeysAreOrderedByBytesAndAPrefixComesFirst),
        cmocka_unit_test(PiecesNeverContradictTheOrderOfKeys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
