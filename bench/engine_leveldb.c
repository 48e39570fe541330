/* engine_leveldb: LevelDB through its C API. */
#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>

#include "adapter.h"

typedef struct ldb {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writeoptions_t *write;
    leveldb_readoptions_t *read;
} ldb;

static void check(char *err, const char *what)
{
    if (err)
        bench_fail("leveldb", what, err);
}

static void *open_leveldb(const char *path, const bench_config *config)
{
    ldb *l = bench_alloc(sizeof *l);
    char *err = NULL;
    l->options = leveldb_options_create();
    l->cache = leveldb_cache_create_lru(config->cache_bytes);
    l->filter = leveldb_filterpolicy_create_bloom((int)config->filter_bits);
    leveldb_options_set_create_if_missing(l->options, 1);
    leveldb_options_set_write_buffer_size(l->options, config->memtable_bytes);
    leveldb_options_set_cache(l->options, l->cache);
    leveldb_options_set_filter_policy(l->options, l->filter);
    leveldb_options_set_compression(l->options, config->compress ? leveldb_snappy_compression
                                                                 : leveldb_no_compression);
    leveldb_options_set_max_open_files(l->options, 1000);
    l->write = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(l->write, config->durability == BENCH_D2);
    l->read = leveldb_readoptions_create();
    l->db = leveldb_open(l->options, path, &err);
    check(err, "open");
    return l;
}

static void close_leveldb(void *db)
{
    ldb *l = db;
    leveldb_close(l->db);
    leveldb_options_destroy(l->options);
    leveldb_cache_destroy(l->cache);
    leveldb_filterpolicy_destroy(l->filter);
    leveldb_writeoptions_destroy(l->write);
    leveldb_readoptions_destroy(l->read);
    free(l);
}

static void *join_leveldb(void *db)
{
    return db;
}

static void leave_leveldb(void *session)
{
    (void)session;
}

static void write_leveldb(void *session, const bench_op *ops, size_t count)
{
    ldb *l = session;
    char *err = NULL;
    if (count == 1 && !ops->remove) {
        leveldb_put(l->db, l->write, ops->key, ops->key_size, ops->value, ops->value_size, &err);
    } else if (count == 1) {
        leveldb_delete(l->db, l->write, ops->key, ops->key_size, &err);
    } else {
        leveldb_writebatch_t *batch = leveldb_writebatch_create();
        for (const bench_op *op = ops; op < ops + count; op++) {
            if (op->remove)
                leveldb_writebatch_delete(batch, op->key, op->key_size);
            else
                leveldb_writebatch_put(batch, op->key, op->key_size, op->value, op->value_size);
        }
        leveldb_write(l->db, l->write, batch, &err);
        leveldb_writebatch_destroy(batch);
    }
    check(err, "write");
}

static int64_t get_leveldb(void *session, const void *key, size_t key_size, void *value,
                           size_t capacity)
{
    ldb *l = session;
    char *err = NULL;
    size_t size = 0;
    char *v = leveldb_get(l->db, l->read, key, key_size, &size, &err);
    check(err, "get");
    if (!v)
        return -1;
    memcpy(value, v, size < capacity ? size : capacity);
    leveldb_free(v);
    return (int64_t)size;
}

static uint64_t scan_leveldb(void *session, const void *key, size_t key_size, uint64_t count,
                             bool backwards, bench_visit visit, void *ctx)
{
    ldb *l = session;
    leveldb_iterator_t *it = leveldb_create_iterator(l->db, l->read);
    if (key)
        leveldb_iter_seek(it, key, key_size);
    else if (backwards)
        leveldb_iter_seek_to_last(it);
    else
        leveldb_iter_seek_to_first(it);
    uint64_t n = 0;
    for (; n < count && leveldb_iter_valid(it); n++) {
        size_t key_bytes, value_bytes;
        const char *k = leveldb_iter_key(it, &key_bytes);
        const char *v = leveldb_iter_value(it, &value_bytes);
        visit(ctx, k, key_bytes, v, value_bytes);
        if (backwards)
            leveldb_iter_prev(it);
        else
            leveldb_iter_next(it);
    }
    char *err = NULL;
    leveldb_iter_get_error(it, &err);
    check(err, "iterate");
    leveldb_iter_destroy(it);
    return n;
}

/* LevelDB has no call that waits for compaction: its background work is idle when its files stay as
 * they are. */
static double settle_leveldb(void *db)
{
    (void)db;
    return bench_wait_until_quiet();
}

static void compact_leveldb(void *db)
{
    ldb *l = db;
    leveldb_compact_range(l->db, NULL, 0, NULL, 0);
}

const bench_engine bench_leveldb = {
    .name = "leveldb",
    .settings = "write_buffer_size = memtable; LRU block cache; Snappy; bloom; 1,000 open files; "
                "settled = no CPU used",
    .classes = BENCH_D1 | BENCH_D2,
    .open = open_leveldb,
    .close = close_leveldb,
    .join = join_leveldb,
    .leave = leave_leveldb,
    .write = write_leveldb,
    .get = get_leveldb,
    .scan = scan_leveldb,
    .settle = settle_leveldb,
    .compact = compact_leveldb,
};
