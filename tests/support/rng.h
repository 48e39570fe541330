/* rng: the tests' only source of chance. xoshiro256** seeded through splitmix64 (Blackman and
 * Vigna, public domain): the same seed gives the same numbers on every machine, so that a failure
 * which prints its seed can be run again. Not thread-safe: one generator per thread. */
#ifndef SUPPORT_RNG_H
#define SUPPORT_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct rng {
    uint64_t s[4];
} rng;

static inline rng rng_init(uint64_t seed)
{
    rng r;
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        r.s[i] = z ^ (z >> 31);
    }
    return r;
}

static inline uint64_t rng_next(rng *r)
{
    uint64_t x = r->s[1] * 5;
    uint64_t result = ((x << 7) | (x >> 57)) * 9;
    uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = (r->s[3] << 45) | (r->s[3] >> 19);
    return result;
}

/* A number in [0, n); n must not be 0. The bias is below n / 2^64, which no test can see. */
static inline uint64_t rng_below(rng *r, uint64_t n)
{
    return rng_next(r) % n;
}

static inline void rng_fill(rng *r, void *data, size_t size)
{
    uint8_t *p = (uint8_t *)data;
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(rng_next(r) >> 56);
}

#endif
