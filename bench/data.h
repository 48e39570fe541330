/* data: the records. Record i has a key that is a bijection of i, and a value that follows from the
 * key and a stamp, so that every byte that an engine returns can be checked without remembering
 * what was written.
 *
 * A value begins with its stamp, eight bytes: the generation of the write. Keys are hexadecimal,
 * padded behind with '0' when they are longer than 16 bytes. Random keys are a mixed number; ordered
 * ones the even numbers, so that a missing key always lies between two that are there. */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_MIN   16
#define KEY_MAX   511 /* LMDB's limit */
#define VALUE_MIN 16
#define VALUE_MAX 65536

typedef struct data {
    uint64_t seed;
    size_t key_bytes, value_bytes;
    unsigned compressible; /* percent of a value's bytes that are blanks */
    bool in_order;
} data;

uint64_t data_mix(uint64_t x); /* a bijection */
/* The next number of a generator whose state is *state. */
static inline uint64_t data_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return data_mix(*state);
}
/* The i-th of n in an order that visits each once and looks random. */
uint64_t data_shuffled(uint64_t i, uint64_t n);

void data_key(const data *d, uint64_t i, char *key);
void data_missing_key(const data *d, uint64_t i, char *key);
void data_value(const data *d, const char *key, uint64_t stamp, char *value);
/* Whether these are the bytes of a value of that key, and its stamp. `scratch` holds VALUE_MAX. */
bool data_check(const data *d, const char *key, const char *value, char *scratch, uint64_t *stamp);
/* A number that the set of keys determines, whatever their order: the sum over all of them. */
uint64_t data_key_sum(const char *key);

#endif
