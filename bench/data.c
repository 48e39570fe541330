/* data: see data.h. */
#include "data.h"

#include <string.h>

uint64_t data_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* A prime step visits all n, unless n is a multiple of it. */
uint64_t data_shuffled(uint64_t i, uint64_t n)
{
    uint64_t step = n % UINT64_C(2654435789) == 0 ? 1 : UINT64_C(2654435789);
    return i % n * (step % n) % n;
}

static void write_key(const data *d, uint64_t id, char *key)
{
    static const char digits[] = "0123456789abcdef";
    for (int at = 0; at < 16; at++)
        key[at] = digits[id >> (60 - 4 * at) & 15];
    if (d->key_bytes > 16)
        memset(key + 16, '0', d->key_bytes - 16);
}

void data_key(const data *d, uint64_t i, char *key)
{
    write_key(d, d->in_order ? i * 2 : data_mix(i + d->seed), key);
}

void data_missing_key(const data *d, uint64_t i, char *key)
{
    write_key(d, d->in_order ? i * 2 + 1 : data_mix(i + d->seed + (UINT64_C(1) << 48)), key);
}

void data_value(const data *d, const char *key, uint64_t stamp, char *value)
{
    uint64_t state, high, low;
    memcpy(&high, key, 8);
    memcpy(&low, key + 8, 8);
    state = high ^ low * UINT64_C(0x9e3779b97f4a7c15) ^ stamp << 32;
    memcpy(value, &stamp, 8);
    unsigned share = 100; /* so that the first word behind the stamp is random */
    for (size_t at = 8; at < d->value_bytes; at += 8) {
        uint64_t word = UINT64_C(0x2020202020202020);
        if (share >= 100) {
            word = data_random(&state);
            share -= 100;
        }
        share += 100 - d->compressible;
        memcpy(value + at, &word, d->value_bytes - at < 8 ? d->value_bytes - at : 8);
    }
}

bool data_check(const data *d, const char *key, const char *value, char *scratch, uint64_t *stamp)
{
    memcpy(stamp, value, 8);
    data_value(d, key, *stamp, scratch);
    return memcmp(value, scratch, d->value_bytes) == 0;
}

uint64_t data_key_sum(const char *key)
{
    uint64_t high, low;
    memcpy(&high, key, 8);
    memcpy(&low, key + 8, 8);
    return high + low * 3;
}
