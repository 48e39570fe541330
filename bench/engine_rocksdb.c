/* engine_rocksdb: RocksDB through its C API. Reads pin the block instead of copying it twice; the
 * sorted load builds a table file and ingests it, the way its public API offers for that. */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapter.h"

typedef struct rdb {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    char path[512];
} rdb;

static void check(char *err, const char *what)
{
    if (err)
        bench_fail("rocksdb", what, err);
}

static void *open_rocksdb(const char *path, const bench_config *config)
{
    rdb *r = bench_alloc(sizeof *r);
    char *err = NULL;
    snprintf(r->path, sizeof r->path, "%s", path);
    r->options = rocksdb_options_create();
    r->table = rocksdb_block_based_options_create();
    r->cache = rocksdb_cache_create_lru(config->cache_bytes);
    rocksdb_block_based_options_set_block_cache(r->table, r->cache);
    if (config->filter_bits > 0)
        rocksdb_block_based_options_set_filter_policy(
            r->table, rocksdb_filterpolicy_create_bloom_full((double)config->filter_bits));
    rocksdb_block_based_options_set_format_version(r->table, 5);
    rocksdb_options_set_block_based_table_factory(r->options, r->table);
    rocksdb_options_set_create_if_missing(r->options, 1);
    rocksdb_options_increase_parallelism(r->options, 2);
    rocksdb_options_set_write_buffer_size(r->options, config->memtable_bytes);
    rocksdb_options_set_max_write_buffer_number(r->options, 4);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(r->options, 1);
    rocksdb_options_set_compression(r->options, config->compress ? rocksdb_lz4_compression
                                                                 : rocksdb_no_compression);
    r->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->write, config->durability == BENCH_D2);
    rocksdb_writeoptions_disable_WAL(r->write, config->durability == BENCH_D0);
    r->read = rocksdb_readoptions_create();
    r->db = rocksdb_open(r->options, path, &err);
    check(err, "open");
    return r;
}

static void close_rocksdb(void *db)
{
    rdb *r = db;
    rocksdb_close(r->db);
    rocksdb_options_destroy(r->options);
    rocksdb_block_based_options_destroy(r->table);
    rocksdb_cache_destroy(r->cache);
    rocksdb_writeoptions_destroy(r->write);
    rocksdb_readoptions_destroy(r->read);
    free(r);
}

static void *join_rocksdb(void *db)
{
    return db;
}

static void leave_rocksdb(void *session)
{
    (void)session;
}

static void write_rocksdb(void *session, const bench_op *ops, size_t count)
{
    rdb *r = session;
    char *err = NULL;
    if (count == 1 && !ops->remove) {
        rocksdb_put(r->db, r->write, ops->key, ops->key_size, ops->value, ops->value_size, &err);
    } else if (count == 1) {
        rocksdb_delete(r->db, r->write, ops->key, ops->key_size, &err);
    } else {
        rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
        for (const bench_op *op = ops; op < ops + count; op++) {
            if (op->remove)
                rocksdb_writebatch_delete(batch, op->key, op->key_size);
            else
                rocksdb_writebatch_put(batch, op->key, op->key_size, op->value, op->value_size);
        }
        rocksdb_write(r->db, r->write, batch, &err);
        rocksdb_writebatch_destroy(batch);
    }
    check(err, "write");
}

static int64_t get_rocksdb(void *session, const void *key, size_t key_size, void *value,
                           size_t capacity)
{
    rdb *r = session;
    char *err = NULL;
    size_t size = 0;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(r->db, r->read, key, key_size, &err);
    check(err, "get");
    if (!slice)
        return -1;
    const char *v = rocksdb_pinnableslice_value(slice, &size);
    memcpy(value, v, size < capacity ? size : capacity);
    rocksdb_pinnableslice_destroy(slice);
    return (int64_t)size;
}

static uint64_t scan_rocksdb(void *session, const void *key, size_t key_size, uint64_t count,
                             bool backwards, bench_visit visit, void *ctx)
{
    rdb *r = session;
    rocksdb_iterator_t *it = rocksdb_create_iterator(r->db, r->read);
    if (key)
        rocksdb_iter_seek(it, key, key_size);
    else if (backwards)
        rocksdb_iter_seek_to_last(it);
    else
        rocksdb_iter_seek_to_first(it);
    uint64_t n = 0;
    for (; n < count && rocksdb_iter_valid(it); n++) {
        size_t key_bytes, value_bytes;
        const char *k = rocksdb_iter_key(it, &key_bytes);
        const char *v = rocksdb_iter_value(it, &value_bytes);
        visit(ctx, k, key_bytes, v, value_bytes);
        if (backwards)
            rocksdb_iter_prev(it);
        else
            rocksdb_iter_next(it);
    }
    char *err = NULL;
    rocksdb_iter_get_error(it, &err);
    check(err, "iterate");
    rocksdb_iter_destroy(it);
    return n;
}

static bool busy(rdb *r)
{
    static const char *const properties[] = {
        "rocksdb.num-running-compactions", "rocksdb.num-running-flushes",
        "rocksdb.compaction-pending", "rocksdb.mem-table-flush-pending"};
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        uint64_t n = 0;
        if (rocksdb_property_int(r->db, properties[i], &n) != 0 || n != 0)
            return true;
    }
    return false;
}

/* A finished flush may make a compaction due a moment later, so that it must be idle ten times. */
static double settle_rocksdb(void *db)
{
    const struct timespec nap = {0, 5000000};
    for (int idle = 0; idle < 10;) {
        idle = busy(db) ? 0 : idle + 1;
        nanosleep(&nap, NULL);
    }
    return 0.05;
}

static void compact_rocksdb(void *db)
{
    rdb *r = db;
    rocksdb_compact_range(r->db, NULL, 0, NULL, 0);
}

static void bulk_rocksdb(void *db, bench_next next, void *ctx)
{
    rdb *r = db;
    char *err = NULL, file[600];
    bench_op op;
    snprintf(file, sizeof file, "%s/bulk.sst", r->path);
    const char *files[] = {file};
    rocksdb_envoptions_t *env = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(env, r->options);
    rocksdb_sstfilewriter_open(writer, file, &err);
    check(err, "open a table file");
    while (next(ctx, &op)) {
        rocksdb_sstfilewriter_put(writer, op.key, op.key_size, op.value, op.value_size, &err);
        check(err, "put into a table file");
    }
    rocksdb_sstfilewriter_finish(writer, &err);
    check(err, "finish a table file");
    rocksdb_sstfilewriter_destroy(writer);
    rocksdb_envoptions_destroy(env);
    rocksdb_ingestexternalfileoptions_t *ingest = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(ingest, 1);
    rocksdb_ingest_external_file(r->db, files, 1, ingest, &err);
    check(err, "ingest a table file");
    rocksdb_ingestexternalfileoptions_destroy(ingest);
}

const bench_engine bench_rocksdb = {
    .name = "rocksdb",
    .settings =
        "write_buffer_size = memtable, 4 of them; LRU block cache; LZ4; bloom; dynamic level "
        "sizes; 2 background threads; pinned gets; D0: no WAL; bulk: ingested table file",
    .classes = BENCH_D0 | BENCH_D1 | BENCH_D2,
    .open = open_rocksdb,
    .close = close_rocksdb,
    .join = join_rocksdb,
    .leave = leave_rocksdb,
    .write = write_rocksdb,
    .get = get_rocksdb,
    .scan = scan_rocksdb,
    .settle = settle_rocksdb,
    .compact = compact_rocksdb,
    .bulk = bulk_rocksdb,
};
