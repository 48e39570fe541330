/* engine_empty: does nothing, as fast as that can be done. What it costs is the harness. */
#include "adapter.h"

static int nothing;

static void *empty_open(const char *path, const bench_config *config)
{
    (void)path, (void)config;
    return &nothing;
}

static void empty_close(void *db)
{
    (void)db;
}

static void empty_put(void *db, const void *key, size_t key_size, const void *value,
                      size_t value_size, bool sync)
{
    (void)db, (void)key, (void)key_size, (void)value, (void)value_size, (void)sync;
}

static int64_t empty_get(void *db, const void *key, size_t key_size, void *value, size_t capacity)
{
    (void)db, (void)key, (void)key_size, (void)value, (void)capacity;
    return -1;
}

static uint64_t empty_scan(void *db, const void *key, size_t key_size, uint64_t count,
                           bool backwards, bench_visit visit, void *ctx)
{
    (void)db, (void)key, (void)key_size, (void)count, (void)backwards, (void)visit, (void)ctx;
    return 0;
}

const bench_engine bench_empty = {.name = "empty",
                                  .settings = "does nothing",
                                  .open = empty_open,
                                  .close = empty_close,
                                  .put = empty_put,
                                  .get = empty_get,
                                  .scan = empty_scan,
                                  .settle = empty_close};
