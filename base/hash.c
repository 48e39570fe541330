/* hash: hash64 (include/base/hash.h), after wyhash (Wang Yi, public domain).
 *
 * One step takes 16 bytes: multiply two 64-bit words to 128 bits and fold the halves together. What
 * is left, 0 to 16 bytes, is taken in one last step by loads that may overlap, so that no length
 * needs a loop over bytes. The result is part of the table format: tests/base/test_hash.c freezes
 * it.
 */
#include <base/coding.h>
#include <base/hash.h>

/* wyhash's default secret: odd, half of the bits set. */
#define SECRET_0 UINT64_C(0xa0761d6478bd642f)
#define SECRET_1 UINT64_C(0xe7037ed1a0b428db)
#define SECRET_2 UINT64_C(0x8ebc6af09c88c6e3)

static inline uint64_t multiply_fold(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t a_low = (uint32_t)a, a_high = a >> 32;
    uint64_t b_low = (uint32_t)b, b_high = b >> 32;
    uint64_t middle_1 = a_high * b_low;
    uint64_t low_product = a_low * b_low;
    uint64_t middle_2 = a_low * b_high + (low_product >> 32) + (uint32_t)middle_1;
    uint64_t high = a_high * b_high + (middle_1 >> 32) + (middle_2 >> 32);
    uint64_t low = middle_2 << 32 | (uint32_t)low_product;
    return low ^ high;
#endif
}

uint64_t hash64(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *p = data;
    uint64_t state = seed ^ multiply_fold(seed ^ SECRET_0, SECRET_1);
    uint64_t a = 0;
    uint64_t b = 0;
    if (size > 16) {
        size_t left = size;
        do {
            state = multiply_fold(get_u64(p) ^ SECRET_1, get_u64(p + 8) ^ state);
            p += 16;
            left -= 16;
        } while (left > 16);
        /* 1 to 16 bytes are left; the bytes in front of them are ours too. */
        a = get_u64(p + left - 16);
        b = get_u64(p + left - 8);
    } else if (size >= 4) {
        size_t step = size >= 8 ? 4 : 0;
        a = (uint64_t)get_u32(p) << 32 | get_u32(p + step);
        b = (uint64_t)get_u32(p + size - 4) << 32 | get_u32(p + size - 4 - step);
    } else if (size > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[size / 2] << 8 | p[size - 1];
    }
    state = multiply_fold(a ^ SECRET_1, b ^ state);
    return multiply_fold(state ^ SECRET_2, size ^ SECRET_1);
}
