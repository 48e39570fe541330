/* checksum_pclmul: CRC-32 by carry-less multiplication, after Gopal et al., "Fast CRC Computation
 * for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009).
 *
 * A message is a polynomial over one bit, its checksum the remainder modulo P = 0x104C11DB7. To
 * move 16 bytes n bits forward is to multiply them by x^n, and modulo P that is a multiplication of
 * their two halves by two 32-bit constants: a `fold`. So:
 *
 *     1. the checksum so far is XORed into the first four bytes,
 *     2. 64 bytes at a time, four lanes are folded 512 bits forward and XORed with what stands
 * there,
 *     3. the lanes are folded into one, then 16 bytes at a time,
 *     4. a rest of 1 to 15 bytes: the lane is shifted so that lane and rest end together,
 *     5. 128 bits are reduced to 64, and those, by Barrett's method, to 32.
 *
 * CRC-32 is reflected: bit 0 of a byte is its highest power, which costs a factor of x in each
 * product and is why the constants are those of the literature shifted left by one.
 * tests/base/test_checksum.c computes them from P.
 */
#include "checksum.h"

#if defined(__x86_64__)

#include <base/checksum.h>

#include <immintrin.h>

#define TARGET __attribute__((target("pclmul,sse4.1")))

#define LANE 16

TARGET static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* `lane` moved forward as the constants say, onto `onto`. */
TARGET static inline __m128i fold(__m128i lane, __m128i constants, __m128i onto)
{
    __m128i low = _mm_clmulepi64_si128(lane, constants, 0x00);
    __m128i high = _mm_clmulepi64_si128(lane, constants, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

/* Appends the `rest` (1 to 15) bytes that end at `end` to the lane. At least 16 bytes lie before
 * `end`. A byte shuffle that starts at `shifts + n` pushes n bytes out of the front of a lane; what
 * it pushes out is folded forward once. */
TARGET static inline __m128i append_rest(__m128i lane, const uint8_t *end, size_t rest,
                                         __m128i fold_128)
{
    static const uint8_t shifts[3 * LANE] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0,    1,    2,    3,    4,    5,    6,    7,
        8,    9,    10,   11,   12,   13,   14,   15,   0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    };
    __m128i pushed_out = _mm_shuffle_epi8(lane, load(shifts + rest));
    __m128i stays = load(shifts + LANE + rest);
    /* Where `stays` has no lane byte to offer (0xff), the last bytes of the message stand. */
    __m128i joined = _mm_blendv_epi8(_mm_shuffle_epi8(lane, stays), load(end - LANE), stays);
    return fold(pushed_out, fold_128, joined);
}

TARGET static inline uint32_t reduce(__m128i lane, __m128i fold_128)
{
    const __m128i low_32 = _mm_setr_epi32(-1, 0, -1, 0);
    const __m128i fold_64 = _mm_set_epi64x(0, FOLD_64);
    const __m128i barrett = _mm_set_epi64x(QUOTIENT, POLYNOMIAL);

    __m128i x = _mm_xor_si128(_mm_srli_si128(lane, 8), _mm_clmulepi64_si128(lane, fold_128, 0x10));
    __m128i upper = _mm_srli_si128(x, 4);
    x = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(x, low_32), fold_64, 0x00), upper);

    __m128i q = _mm_clmulepi64_si128(_mm_and_si128(x, low_32), barrett, 0x10);
    q = _mm_clmulepi64_si128(_mm_and_si128(q, low_32), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x, q), 1);
}

TARGET static uint32_t crc32_pclmul(uint32_t crc, const void *data, size_t size)
{
    if (size < LANE)
        return crc32_portable(crc, data, size);

    const __m128i fold_128 = _mm_set_epi64x((int64_t)FOLD_128_HIGH, (int64_t)FOLD_128_LOW);
    const uint8_t *p = data;
    const uint8_t *end = p + size;
    __m128i lane = _mm_xor_si128(load(p), _mm_cvtsi32_si128((int)~crc));
    p += LANE;

    if (size >= 4 * LANE) {
        const __m128i fold_512 = _mm_set_epi64x(FOLD_512_HIGH, FOLD_512_LOW);
        const __m128i fold_256 = _mm_set_epi64x(FOLD_256_HIGH, FOLD_256_LOW);
        __m128i lane_1 = load(p);
        __m128i lane_2 = load(p + LANE);
        __m128i lane_3 = load(p + 2 * LANE);
        p += 3 * LANE;
        while ((size_t)(end - p) >= 4 * LANE) {
            lane = fold(lane, fold_512, load(p));
            lane_1 = fold(lane_1, fold_512, load(p + LANE));
            lane_2 = fold(lane_2, fold_512, load(p + 2 * LANE));
            lane_3 = fold(lane_3, fold_512, load(p + 3 * LANE));
            p += 4 * LANE;
        }
        /* As a tree, not a chain: a multiplication's latency is what a short message pays for. */
        lane_2 = fold(lane, fold_256, lane_2);
        lane_3 = fold(lane_1, fold_256, lane_3);
        lane = fold(lane_2, fold_128, lane_3);
    }
    for (; end - p >= LANE; p += LANE)
        lane = fold(lane, fold_128, load(p));
    if (p < end)
        lane = append_rest(lane, end, (size_t)(end - p), fold_128);
    return ~reduce(lane, fold_128);
}

crc32_fn crc32_pclmul_if_supported(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1") ? crc32_pclmul
                                                                                : NULL;
}

#else

crc32_fn crc32_pclmul_if_supported(void)
{
    return NULL;
}

#endif
