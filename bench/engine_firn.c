/* engine_firn: firn through <firn/firn.h>. `memory` is set so that a memtable and the cache get
 * what the other engines get. */
#include <firn/firn.h>
#include <stdlib.h>
#include <string.h>

#include "adapter.h"

typedef struct session {
    firn *db;
    firn_batch *batch;
} session;

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
    o.durability = config->durability == BENCH_D2 ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE;
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

static void *join_firn(void *db)
{
    session *s = bench_alloc(sizeof *s);
    s->db = db;
    if (firn_batch_new(&s->batch) != FIRN_OK)
        bench_fail("firn", "a batch", "out of memory");
    return s;
}

static void leave_firn(void *handle)
{
    session *s = handle;
    firn_batch_free(s->batch);
    free(s);
}

static void write_one(firn *db, const bench_op *op)
{
    firn_error err;
    int rc = op->remove
                 ? firn_delete(db, op->key, op->key_size, NULL, &err)
                 : firn_put(db, op->key, op->key_size, op->value, op->value_size, NULL, &err);
    if (rc != FIRN_OK)
        check(rc, &err, "write");
}

static void write_firn(void *handle, const bench_op *ops, size_t count)
{
    session *s = handle;
    if (count == 1) {
        write_one(s->db, ops);
        return;
    }
    firn_error err = {0};
    firn_batch_clear(s->batch);
    for (size_t i = 0; i < count; i++) {
        const bench_op *op = &ops[i];
        int rc = op->remove
                     ? firn_batch_delete(s->batch, op->key, op->key_size)
                     : firn_batch_put(s->batch, op->key, op->key_size, op->value, op->value_size);
        if (rc != FIRN_OK)
            bench_fail("firn", "batch", firn_status_name(rc));
    }
    check(firn_write(s->db, s->batch, NULL, NULL, &err), &err, "write");
}

static int64_t get_firn(void *handle, const void *key, size_t key_size, void *value,
                        size_t capacity)
{
    session *s = handle;
    firn_value v;
    firn_error err;
    int rc = firn_get(s->db, key, key_size, NULL, &v, &err);
    if (rc == FIRN_NOT_FOUND)
        return -1;
    check(rc, &err, "get");
    int64_t size = (int64_t)v.size;
    memcpy(value, v.data, v.size < capacity ? v.size : capacity);
    firn_value_release(&v);
    return size;
}

static uint64_t scan_firn(void *handle, const void *key, size_t key_size, uint64_t count,
                          bool backwards, bench_visit visit, void *ctx)
{
    session *s = handle;
    firn_iter *it = NULL;
    firn_error err;
    check(firn_iter_new(s->db, NULL, &it, &err), &err, "iterate");
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

static double settle_firn(void *db)
{
    firn_error err = {0};
    check(firn_settle(db, &err), &err, "settle");
    return 0;
}

static void compact_firn(void *db)
{
    firn_error err = {0};
    check(firn_compact(db, NULL, 0, NULL, 0, &err), &err, "compact");
}

const bench_engine bench_firn = {
    .name = "firn",
    .settings =
        "segment = memtable; cache and memory for 4 segments; compression auto (young levels "
        "plain, LZ4 below); filters",
    .classes = BENCH_D1 | BENCH_D2,
    .open = open_firn,
    .close = close_firn,
    .join = join_firn,
    .leave = leave_firn,
    .write = write_firn,
    .get = get_firn,
    .scan = scan_firn,
    .settle = settle_firn,
    .compact = compact_firn,
};
