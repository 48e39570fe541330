/* engine_firn: firn through <firn/firn.h>. `memory` is set so that a memtable and the cache get
 * what the other engines get. */
#include <firn/firn.h>
#include <string.h>

#include "adapter.h"

static void check(int rc, const firn_error *err, const char *what)
{
    if (rc == FIRN_OK)
        return;
    char text[512];
    firn_error_format(err, text, sizeof text);
    bench_fail("firn", what, text);
}

static void *open_firn(const char *path, const bench_config *config)
{
    firn_options o;
    firn_error err = {0};
    firn *db = NULL;
    firn_options_init(&o);
    o.segment_bytes = config->memtable_bytes;
    o.memory = config->cache_bytes + config->memtable_bytes * 9 / 2;
    o.durability = FIRN_DURABILITY_NONE;
    o.filter_bits = config->filter_bits;
    o.compression = config->compress ? FIRN_COMPRESSION_AUTO : FIRN_COMPRESSION_NONE;
    check(firn_open(path, &o, &db, &err), &err, "open");
    return db;
}

static void close_firn(void *db)
{
    firn_error err = {0};
    check(firn_close(db, &err), &err, "close");
}

static void put_firn(void *db, const void *key, size_t key_size, const void *value,
                     size_t value_size, bool sync)
{
    firn_write_options o;
    firn_error err;
    firn_write_options_init(&o);
    o.durability = sync ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE;
    int rc = firn_put(db, key, key_size, value, value_size, &o, &err);
    if (rc != FIRN_OK)
        check(rc, &err, "put");
}

static int64_t get_firn(void *db, const void *key, size_t key_size, void *value, size_t capacity)
{
    firn_value v;
    firn_error err;
    int rc = firn_get(db, key, key_size, NULL, &v, &err);
    if (rc == FIRN_NOT_FOUND)
        return -1;
    check(rc, &err, "get");
    int64_t size = (int64_t)v.size;
    memcpy(value, v.data, v.size < capacity ? v.size : capacity);
    firn_value_release(&v);
    return size;
}

static uint64_t scan_firn(void *db, const void *key, size_t key_size, uint64_t count,
                          bool backwards, bench_visit visit, void *ctx)
{
    firn_iter *it = NULL;
    firn_error err;
    check(firn_iter_new(db, NULL, &it, &err), &err, "iterate");
    int rc = key         ? firn_iter_seek(it, key, key_size)
             : backwards ? firn_iter_last(it)
                         : firn_iter_first(it);
    uint64_t n = 0;
    while (rc == FIRN_OK && n < count) {
        firn_slice k = firn_iter_key(it), v = firn_iter_value(it);
        visit(ctx, k.data, k.size, v.data, v.size);
        n++;
        rc = backwards ? firn_iter_prev(it) : firn_iter_next(it);
    }
    check(firn_iter_status(it, &err), &err, "iterate");
    firn_iter_free(it);
    return n;
}

static void settle_firn(void *db)
{
    firn_error err = {0};
    check(firn_settle(db, &err), &err, "settle");
}

const bench_engine bench_firn = {
    .name = "firn",
    .settings =
        "log mapped where possible; segment = memtable; level 0 and 1 plain, LZ4 below; bloom",
    .open = open_firn,
    .close = close_firn,
    .put = put_firn,
    .get = get_firn,
    .scan = scan_firn,
    .settle = settle_firn,
};
