/* adapter: what the harness asks of an engine, over its public API only. One adapter per engine;
 * the empty one does nothing and shows the harness's own cost.
 *
 * An adapter aborts with a message when its engine fails: a benchmark of a failing engine means
 * nothing. */
#ifndef BENCH_ADAPTER_H
#define BENCH_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_config {
    uint64_t memtable_bytes, cache_bytes;
    unsigned filter_bits;
    bool compress;
} bench_config;

/* Called for each element of a scan; the bytes are valid during the call. */
typedef void (*bench_visit)(void *ctx, const void *key, size_t key_size, const void *value,
                            size_t value_size);

typedef struct bench_engine {
    const char *name;
    const char *settings; /* in words, for the report */
    void *(*open)(const char *path, const bench_config *config);
    void (*close)(void *db);
    /* sync: survives power loss when it returns; else survives the process. */
    void (*put)(void *db, const void *key, size_t key_size, const void *value, size_t value_size,
                bool sync);
    /* Copies at most `capacity` bytes; returns the value's size, or -1 when there is none. */
    int64_t (*get)(void *db, const void *key, size_t key_size, void *value, size_t capacity);
    /* Visits at most `count` elements from `key` (NULL: the first) on; returns how many. */
    uint64_t (*scan)(void *db, const void *key, size_t key_size, uint64_t count, bool backwards,
                     bench_visit visit, void *ctx);
    void (*settle)(void *db); /* waits until no background work is due */
} bench_engine;

extern const bench_engine bench_firn, bench_empty;
#ifdef BENCH_LEVELDB
extern const bench_engine bench_leveldb;
#endif

/* Returns when this process has used no processor time to speak of for a while. */
void bench_wait_until_quiet(void);
void bench_fail(const char *engine, const char *what, const char *why) __attribute__((noreturn));

#endif
