/* hash: a 64-bit hash of keys for filters and caches. It is part of the table format: changing it
 * is a format change. Multiply-and-fold over 16 bytes a step, after wyhash (Wang Yi, public
 * domain).
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *data, size_t size, uint64_t seed);

/* The finaliser of splitmix64: a bijection that spreads every input bit. */
static inline uint64_t mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#endif
