/* hash64 is part of the table format: these values may never change. */
#include "check.h"

#include <base/hash.h>
#include <support/guarded.h>
#include <support/rng.h>

#define SEED 20240103

/* Value i: the first i of the bytes below, seed 1000 * i. Computed by a second implementation. */
static const uint64_t golden[] = {
    0x99318b24a3999a6d, 0x553f67304360b77c, 0xbe35cbc91867fa9f, 0xe74f864fa502e1e8,
    0x5b5303ea6ee72b10, 0xccf2cbbf0ed9ab89, 0x49eeba340cf25f6c, 0x19102a66c4f97c76,
    0xf444e8f69cba57d5, 0x26f6744539be2486, 0x7e71fa4a555937a0, 0x86dd5534e045326a,
    0x9b5a0160269a3193, 0x4f1242b1018c21eb, 0xca9254c49aa39a75, 0xb3d3eec18f8b3ea2,
    0x55c7d6b47dc51852, 0xb68ab0ed7b09f5ae, 0x9c7aea6b0902e0fa, 0xcc927bec499693e1,
    0xb31fc88c66d4698c, 0x430748cafe3f1919, 0x8768390ef919b192, 0x8cbd7f257d5b7e66,
    0x43ad9d9e939a6bdd, 0xe12952067cbfc6b0, 0x562ed34bd21fb5bf, 0xfa99e5421b37d46d,
    0xc085d42b7341299b, 0x55839d1ecbe9c2b6, 0xafdbf55468679f9d, 0x0620af8270100c92,
    0x54f2dc2aa36c7028, 0xef6ad273e1506448, 0xcf66372325d4a9aa, 0x5115d835de3ab2d5,
    0xbc79dadf898eaa92, 0x6c6d817648f59d48, 0x5c218fe9edcde1e9, 0xb5e34cfc2e75c285,
    0xc710107eb2fee963, 0xd05da3646bee1f94, 0x4eea7eba0f78737f, 0xed9e93bab7083bf4,
    0xc3e568030e8ac1dd, 0x301285a44be74553, 0x70e7ec806743fdc0, 0x56e284725b4f7eeb,
    0x7ab2138dc70925fa, 0xae550129f084fb5e, 0xb3d71c83ec36f358, 0xd85ca1ba352321ec,
    0xede0dfeeee2f14a0, 0xc37e1fcf4052b709, 0x62c5c55b62998bc5, 0xee58c32cdc2ee770,
    0x77b65ddb73fb6f54, 0xcdcfcc1f7ce858ea, 0xb32bcae8dd406ac2, 0x411d18609b4e7379,
    0x9db1c77cf55d63c3, 0x4f87f96a4f3caa7c, 0xde2135ed43cbd92b, 0x057da47a25bc05ef,
    0x8eb7e6c34da8395b,
};

static void TheValuesAreThoseOfTheTableFormat(void **state)
{
    (void)state;
    uint8_t bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t size = 0; size < COUNT_OF(golden); size++) {
        uint64_t h = hash64(bytes, size, size * 1000);
        if (h != golden[size])
            fail_msg("%zu bytes hash to 0x%016llx", size, (unsigned long long)h);
    }
    assert_true(mix64(1) == UINT64_C(0x5692161d100b05e5));
}

static void EveryLengthAndSeedMatters(void **state)
{
    (void)state;
    static const uint8_t zeros[200];
    uint64_t seen[2 * 201];
    size_t count = 0;
    for (size_t size = 0; size <= sizeof zeros; size++) {
        seen[count++] = hash64(zeros, size, 0);
        seen[count++] = hash64(zeros, size, 1);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(seen[i] != seen[j]);
}

static void PlaceInMemoryDoesNotMatterAndNothingElseIsRead(void **state)
{
    (void)state;
    rng r = rng_init(SEED);
    uint8_t bytes[100 + 8];
    rng_fill(&r, bytes, sizeof bytes);
    for (size_t size = 0; size <= 100; size++) {
        guarded g = guarded_new(size);
        for (size_t at = 0; at < 8; at++) {
            for (size_t i = 0; i < size; i++)
                g.data[i] = bytes[at + i];
            assert_true(hash64(bytes + at, size, 5) == hash64(g.data, size, 5));
        }
        guarded_release(&g);
    }
}

/* Of the 64 bits of the result, about 32 change; over 500 trials the mean cannot miss by 1.5 by
 * chance (its deviation is 4 / sqrt(500) = 0.18). */
static void EveryInputBitReachesHalfOfTheResult(void **state)
{
    (void)state;
    rng r = rng_init(SEED);
    static const size_t sizes[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64};
    for (size_t s = 0; s < COUNT_OF(sizes); s++) {
        for (size_t bit = 0; bit < 8 * sizes[s]; bit++) {
            unsigned changed = 0;
            for (int trial = 0; trial < 500; trial++) {
                uint8_t bytes[64];
                rng_fill(&r, bytes, sizes[s]);
                uint64_t before = hash64(bytes, sizes[s], (uint64_t)trial);
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                uint64_t after = hash64(bytes, sizes[s], (uint64_t)trial);
                changed += (unsigned)__builtin_popcountll(before ^ after);
            }
            if (changed < 500 * 30.5 || changed > 500 * 33.5)
                fail_msg("seed %d: bit %zu of %zu bytes changes %u of %d bits", SEED, bit, sizes[s],
                         changed, 500 * 64);
        }
    }
}

/* Counting keys are the usual ones; a filter takes low bits, a cache high ones. For 255 degrees of
 * freedom, chi-squared is 255 +- 23: 400 is six deviations away. */
static void CountingKeysSpreadEvenly(void **state)
{
    (void)state;
    static const unsigned shifts[] = {0, 28, 56};
    for (size_t s = 0; s < COUNT_OF(shifts); s++) {
        unsigned buckets[256] = {0};
        const unsigned keys = 256 * 400;
        for (unsigned i = 0; i < keys; i++) {
            uint8_t key[16] = {'u', 's', 'e', 'r'};
            for (int digit = 0; digit < 8; digit++)
                key[15 - digit] = (uint8_t)('0' + (i >> (3 * digit)) % 8);
            buckets[hash64(key, sizeof key, 0) >> shifts[s] & 255]++;
        }
        double chi = 0;
        for (int b = 0; b < 256; b++) {
            double off = (double)buckets[b] - 400;
            chi += off * off / 400;
        }
        assert_true(chi > 120 && chi < 400);
    }
}

static void Mix64IsABijectionOnWhatItWasGiven(void **state)
{
    (void)state;
    rng r = rng_init(SEED);
    for (int i = 0; i < 10000; i++) {
        uint64_t x = rng_next(&r);
        uint64_t y = mix64(x);
        /* Undo the three steps. */
        y = y ^ (y >> 31) ^ (y >> 62);
        y *= UINT64_C(0x319642b2d24d8ec3);
        y = y ^ (y >> 27) ^ (y >> 54);
        y *= UINT64_C(0x96de1b173f119089);
        y = y ^ (y >> 30) ^ (y >> 60);
        assert_true(x == y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(TheValuesAreThoseOfTheTableFormat),
        cmocka_unit_test(EveryLengthAndSeedMatters),
        cmocka_unit_test(PlaceInMemoryDoesNotMatterAndNothingElseIsRead),
        cmocka_unit_test(EveryInputBitReachesHalfOfTheResult),
        cmocka_unit_test(CountingKeysSpreadEvenly),
        cmocka_unit_test(Mix64IsABijectionOnWhatItWasGiven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
