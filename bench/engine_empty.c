/* engine_empty: stores nothing, and answers with zeros of the right size, as fast as that can be
 * done. What it costs is the harness: making keys and values, checking answers, looking at the
 * clock. */
#include "adapter.h"
#include "data.h"

static const char zeros[VALUE_MAX];
static bench_config expected;

static void *open_empty(const char *path, const bench_config *config)
{
    (void)path;
    expected = *config;
    return &expected;
}

static void close_empty(void *db)
{
    (void)db;
}

static void *join_empty(void *db)
{
    return db;
}

static void write_empty(void *session, const bench_op *ops, size_t count)
{
    (void)session, (void)ops, (void)count;
}

static int64_t get_empty(void *session, const void *key, size_t key_size, void *value,
                         size_t capacity)
{
    (void)session, (void)key, (void)key_size, (void)value, (void)capacity;
    return (int64_t)expected.value_bytes;
}

static uint64_t scan_empty(void *session, const void *key, size_t key_size, uint64_t count,
                           bool backwards, bench_visit visit, void *ctx)
{
    (void)session, (void)key, (void)key_size, (void)backwards;
    uint64_t n = count < expected.records ? count : expected.records;
    for (uint64_t i = 0; i < n; i++)
        visit(ctx, zeros, expected.key_bytes, zeros, expected.value_bytes);
    return n;
}

static double settle_empty(void *db)
{
    (void)db;
    return 0;
}

const bench_engine bench_empty = {
    .name = "empty",
    .settings = "stores nothing: the harness's own cost",
    .classes = BENCH_D0 | BENCH_D1 | BENCH_D2,
    .reference = true,
    .logless = true,
    .open = open_empty,
    .close = close_empty,
    .join = join_empty,
    .leave = close_empty,
    .write = write_empty,
    .get = get_empty,
    .scan = scan_empty,
    .settle = settle_empty,
};
