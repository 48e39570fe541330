/* CRC-32: every way to compute it gives what zlib gives. */
#include "check.h"
#include "checksum.h"

#include <base/checksum.h>
#include <support/guarded.h>
#include <support/rng.h>

#define SEED          20240102
#define LONGEST_BYTES 1100

static void TheStandardCheckValueHolds(void **state)
{
    (void)state;
    assert_int_equal(crc32_update(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_portable(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_update(0, "The quick brown fox jumps over the lazy dog", 43),
                     0x414fa339);
}

static void NothingLeavesTheChecksumAsItWas(void **state)
{
    (void)state;
    assert_int_equal(crc32_update(0x12345678, NULL, 0), 0x12345678);
    assert_int_equal(crc32_portable(0x12345678, NULL, 0), 0x12345678);
    assert_int_equal(crc32_update(0x12345678, "", 0), 0x12345678);
}

static void EveryLengthAndAlignmentAgreesWithZlib(void **state)
{
    (void)state;
    static uint8_t bytes[LONGEST_BYTES + 16];
    rng r = rng_init(SEED);
    rng_fill(&r, bytes, sizeof bytes);
    for (size_t size = 0; size <= LONGEST_BYTES; size++) {
        for (size_t at = 0; at < 16; at++) {
            uint32_t start = (uint32_t)rng_next(&r);
            if (crc32_update(start, bytes + at, size) != crc32_portable(start, bytes + at, size))
                fail_msg("seed %d: %zu bytes at alignment %zu", SEED, size, at);
        }
    }
}

static void NoByteOutsideTheMessageIsRead(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size <= 300; size++) {
        guarded end = guarded_new(size);
        assert_int_equal(crc32_update(7, end.data, size), crc32_portable(7, end.data, size));
        guarded_release(&end);
        /* A whole page has a guard in front as well. */
        guarded start = guarded_new(page);
        assert_int_equal(crc32_update(7, start.data, size), crc32_portable(7, start.data, size));
        guarded_release(&start);
    }
}

static void AMessageInPiecesHasTheChecksumOfTheWhole(void **state)
{
    (void)state;
    static uint8_t bytes[1 << 16];
    rng r = rng_init(SEED);
    for (int round = 0; round < 500; round++) {
        size_t size = rng_below(&r, sizeof bytes + 1);
        rng_fill(&r, bytes, size);
        uint32_t whole = crc32_portable(0, bytes, size);
        uint32_t pieces = 0;
        size_t most = (size_t)1 << rng_below(&r, 17);
        for (size_t at = 0; at < size;) {
            size_t piece = rng_below(&r, most) + 1;
            if (piece > size - at)
                piece = size - at;
            pieces = crc32_update(pieces, bytes + at, piece);
            at += piece;
        }
        if (pieces != whole)
            fail_msg("seed %d, round %d", SEED, round);
    }
}

static void EverySingleFlippedBitIsSeen(void **state)
{
    (void)state;
    uint8_t bytes[200];
    rng r = rng_init(SEED);
    rng_fill(&r, bytes, sizeof bytes);
    for (size_t size = 1; size <= sizeof bytes; size += 13) {
        uint32_t right = crc32_update(0, bytes, size);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(crc32_update(0, bytes, size), right);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* x^n modulo P, highest power first. */
static uint32_t power(unsigned n)
{
    uint64_t v = 1;
    for (unsigned i = 0; i < n; i++) {
        v <<= 1;
        if (v >> 32 != 0)
            v ^= UINT64_C(0x104c11db7);
    }
    return (uint32_t)v;
}

static uint64_t reflect(uint64_t v, unsigned bits)
{
    uint64_t out = 0;
    for (unsigned i = 0; i < bits; i++)
        out |= (v >> i & 1) << (bits - 1 - i);
    return out;
}

static void TheFoldingConstantsFollowFromThePolynomial(void **state)
{
    (void)state;
    assert_true(FOLD_512_LOW == reflect(power(512 + 32), 32) << 1);
    assert_true(FOLD_512_HIGH == reflect(power(512 - 32), 32) << 1);
    assert_true(FOLD_256_LOW == reflect(power(256 + 32), 32) << 1);
    assert_true(FOLD_256_HIGH == reflect(power(256 - 32), 32) << 1);
    assert_true(FOLD_128_LOW == reflect(power(128 + 32), 32) << 1);
    assert_true(FOLD_128_HIGH == reflect(power(128 - 32), 32) << 1);
    assert_true(FOLD_64 == reflect(power(64), 32) << 1);
    assert_true(POLYNOMIAL == reflect(UINT64_C(0x104c11db7), 33));

    /* x^64 / P by long division: 65 bits, of which the first is gone after the first step. */
    uint64_t quotient = 1;
    uint64_t remainder = UINT64_C(0x04c11db7) << 0;
    for (int i = 0; i < 32; i++) {
        remainder <<= 1;
        quotient <<= 1;
        if (remainder >> 32 != 0) {
            remainder ^= UINT64_C(0x104c11db7);
            quotient |= 1;
        }
    }
    assert_true(QUOTIENT == reflect(quotient, 33));
}

static void TheProcessorsOwnWayIsTheOneInUse(void **state)
{
    (void)state;
    crc32_fn own = crc32_pclmul_if_supported();
    if (!own)
        own = crc32_armv8_if_supported();
    if (!own)
        skip();
    static uint8_t bytes[LONGEST_BYTES];
    rng r = rng_init(SEED);
    rng_fill(&r, bytes, sizeof bytes);
    for (size_t size = 0; size <= LONGEST_BYTES; size++)
        assert_int_equal(own(99, bytes, size), crc32_portable(99, bytes, size));
    /* Not both: a processor is of one kind. */
    assert_true(!crc32_pclmul_if_supported() || !crc32_armv8_if_supported());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(TheStandardCheckValueHolds),
        cmocka_unit_test(NothingLeavesTheChecksumAsItWas),
        cmocka_unit_test(EveryLengthAndAlignmentAgreesWithZlib),
        cmocka_unit_test(NoByteOutsideTheMessageIsRead),
        cmocka_unit_test(AMessageInPiecesHasTheChecksumOfTheWhole),
        cmocka_unit_test(EverySingleFlippedBitIsSeen),
        cmocka_unit_test(TheFoldingConstantsFollowFromThePolynomial),
        cmocka_unit_test(TheProcessorsOwnWayIsTheOneInUse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
