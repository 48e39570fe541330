/* bed: what the engine's tests stand on: a store in memory or in a real folder, a set of keys, and
 * values that can be told from their number alone.
 *
 * A state of the store is an array with one value number a key, 0 for "not there". So a snapshot of
 * the model is a copy of the array, and what the store answers is compared with it by compare_get,
 * compare_forward and compare_backward, which never leave through a cmocka assertion: they write
 * what is wrong into a text, so that crash_verify functions and shrinking loops can use them.
 */
#ifndef TESTS_ENGINE_BED_H
#define TESTS_ENGINE_BED_H

#include <base/slice.h>
#include <engine/engine.h>

#include "support/rng.h"
#include "support/simfs.h"

/* ---- Keys ---- */

typedef struct keyset {
    firn_slice *keys; /* ascending, all different */
    size_t count;
    uint8_t *bytes;
} keyset;

/* Keys of 0 to 20 bytes from a small alphabet with NULs, so that many are prefixes of others, and a
 * few long ones. */
void keyset_random(keyset *k, rng *r, size_t count);
/* "k000", "k001", ... */
void keyset_plain(keyset *k, size_t count);
void keyset_release(keyset *k);
/* The first key >= `key`; count when there is none. */
size_t keyset_find(const keyset *k, firn_slice key);

/* ---- Values ---- */

#define LONG_KEY_ROOM 704 /* no key of a set is longer; one byte is left */

#define VALUE_MAX ((UINT64_C(1) << 20) - 1)

/* The number of the value with this serial and size; never 0 when serial is not. */
static inline uint64_t value_number(uint64_t serial, uint64_t size)
{
    return serial << 20 | size;
}

static inline size_t value_size(uint64_t number)
{
    return (size_t)(number & VALUE_MAX);
}

/* Half of the bytes repeat, so that compression has something to do. Borrowed until the next call
 * from the same thread; VALUE_MAX bytes at most. */
const uint8_t *value_bytes(uint64_t number);
bool value_is(uint64_t number, firn_slice bytes);

/* ---- Comparing. `why` has WHY bytes; false: something is wrong and `why` says what. ---- */

#define WHY 512

bool wrong(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "FIRN_IO: message: file ..." */
bool wrong_status(char *why, const char *what, int rc, const firn_error *err);
const char *key_text(firn_slice key); /* escaped, for messages; borrowed from a small ring */

bool compare_get(firn *db, const firn_snapshot *snapshot, firn_slice key, uint64_t number,
                 char *why);
bool compare_forward(firn *db, const firn_snapshot *snapshot, const keyset *k,
                     const uint64_t *state, char *why);
bool compare_backward(firn *db, const firn_snapshot *snapshot, const keyset *k,
                      const uint64_t *state, char *why);
/* Every key by get, and both ways. */
bool compare_all(firn *db, const firn_snapshot *snapshot, const keyset *k, const uint64_t *state,
                 char *why);

/* ---- A store ---- */

typedef struct bed {
    simfs *sim;   /* NULL: a real folder */
    char *folder; /* the store's path */
    char *root;   /* of a real folder: the temporary folder around it */
    firn_options options;
    engine_config config;
    firn *db;
} bed;

/* The smallest sizes the options allow, so that little data makes many segments and tables. */
void bed_small(firn_options *options);
/* In memory, without threads. Both learn a gap from two dead keys in a row. */
void bed_on_simfs(bed *b, uint64_t seed);
/* In a temporary folder, with threads. */
void bed_on_disk(bed *b);
int bed_open(bed *b, firn_error *err);
/* These fail the test when the store does. */
void bed_must_open(bed *b);
void bed_must_close(bed *b);
void bed_put(bed *b, const char *key, const char *value);
void bed_delete(bed *b, const char *key);
/* The value must be this; NULL: nothing must be there. */
void bed_expect(bed *b, const firn_snapshot *snapshot, const char *key, const char *value);
void bed_flush(bed *b);
firn_stats bed_stats(bed *b);
uint64_t bed_tables(bed *b); /* in all levels */
/* Closes what is open and removes everything. */
void bed_release(bed *b);
/* For simfs_on_call: while *(bool *)ctx, tables cannot be read. */
int bed_fail_reads(void *ctx, unsigned call, uint64_t index, const char *name);

/* `must(call)`: fails the test with the whole error when the status is not FIRN_OK. */
void must_ok(int rc, const firn_error *err, const char *call, const char *file, int line);
#define MUST(call)                                                                                 \
    do {                                                                                           \
        firn_error error_ = {0};                                                                   \
        firn_error *error = &error_;                                                               \
        int status_ = (call);                                                                      \
        must_ok(status_, error, #call, __FILE__, __LINE__);                                        \
    } while (0)

/* FIRN_SEED, or this. */
uint64_t seed_from_environment(uint64_t otherwise);
bool long_run(void); /* FIRN_LONG is set and not 0 */

#endif
