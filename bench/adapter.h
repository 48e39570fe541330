/* adapter: what the harness asks of an engine, over its public API only. One adapter per engine.
 * Two are none: the empty one stores nothing and shows the harness's own cost, the bare one only
 * syncs.
 *
 * An adapter ends the process with a message when its engine fails: a benchmark of a failing engine
 * means nothing. */
#ifndef BENCH_ADAPTER_H
#define BENCH_ADAPTER_H

#include <stdio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a write has survived when it returns. Figures of two classes are never compared. */
typedef enum bench_class {
    BENCH_D0 = 1, /* lost when the process dies */
    BENCH_D1 = 2, /* survives the death of the process, not of the machine */
    BENCH_D2 = 4, /* each commit survives power loss */
} bench_class;

typedef struct bench_config {
    uint64_t memtable_bytes, cache_bytes; /* an engine without a memtable gets both as cache */
    unsigned filter_bits;
    bool compress;
    bool limited; /* the data may not fit into the memory that this process gets */
    bench_class durability;
    uint64_t data_bytes; /* keys and values to come, for engines that reserve address space */
    uint64_t records;    /* to come; with the sizes for the empty engine, which returns such ones */
    size_t key_bytes, value_bytes;
} bench_config;

typedef struct bench_op {
    const void *key, *value;
    size_t key_size, value_size;
    bool remove; /* deletes the key; there is no value */
} bench_op;

/* Called for each element of a scan; the bytes are valid during the call. */
typedef void (*bench_visit)(void *ctx, const void *key, size_t key_size, const void *value,
                            size_t value_size);
/* The next record of a sorted load; false at its end. Valid until the next call. */
typedef bool (*bench_next)(void *ctx, bench_op *op);

typedef struct bench_engine {
    const char *name;
    const char *settings; /* in words, for the report */
    unsigned classes;     /* the bench_class bits it can offer */
    /* No log of operations to recover: LMDB has none, SQLite's holds pages and is folded into the
     * tree as it grows, so that what a crash leaves says nothing about the data behind it. */
    bool logless;
    bool reference;  /* no engine, and no peer of one: something to compare engines with */
    bool only_syncs; /* takes part only where nothing but fillsync is run */
    void *(*open)(const char *path, const bench_config *config);
    void (*close)(void *db);
    /* A thread's own way in; all calls below take one but for settle, compact and bulk. */
    void *(*join)(void *db);
    void (*leave)(void *session);
    /* All of the operations or none, as durable as the store was opened for. */
    void (*write)(void *session, const bench_op *ops, size_t count);
    /* Copies at most `capacity` bytes; returns the value's size, or -1 when there is none. */
    int64_t (*get)(void *session, const void *key, size_t key_size, void *value, size_t capacity);
    /* Visits at most `count` elements from `key` (NULL: the first, or the last) on; returns how
     * many. */
    uint64_t (*scan)(void *session, const void *key, size_t key_size, uint64_t count,
                     bool backwards, bench_visit visit, void *ctx);
    /* Waits until no background work is due. Returns how many seconds of the wait were spent only
     * on seeing that it is over; they are not counted. */
    double (*settle)(void *db);
    void (*compact)(void *db);                          /* NULL: it has no such thing */
    void (*bulk)(void *db, bench_next next, void *ctx); /* NULL: sorted batches of 1,000 */
} bench_engine;

extern const bench_engine bench_firn, bench_bare, bench_empty;
#ifdef BENCH_LEVELDB
extern const bench_engine bench_leveldb;
#endif
#ifdef BENCH_ROCKSDB
extern const bench_engine bench_rocksdb;
#endif
#ifdef BENCH_LMDB
extern const bench_engine bench_lmdb;
#endif
#ifdef BENCH_WIREDTIGER
extern const bench_engine bench_wt_btree, bench_wt_lsm;
#endif
#ifdef BENCH_SQLITE
extern const bench_engine bench_sqlite;
#endif

/* Returns when this process has used no processor time to speak of for a while, and how long that
 * while was. For engines that cannot be asked whether they are done. */
double bench_wait_until_quiet(void);
void *bench_alloc(size_t size); /* zeroed, never NULL */
void bench_fail(const char *engine, const char *what, const char *why) __attribute__((noreturn));
/* A file for results. A link to a plain file is not followed: it could lead anywhere. Ends the program when it cannot. */
FILE *bench_create(const char *path);

#endif
