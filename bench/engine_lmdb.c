/* engine_lmdb: LMDB. D1 is a writable map that is never synced: it survives the process, and needs
 * no system call per commit. D2 is LMDB's default. A reader's transaction and cursor are renewed, not
 * made anew, which its API offers because it is cheaper. */
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "adapter.h"

typedef struct ldb {
    MDB_env *env;
    MDB_dbi dbi;
} ldb;

typedef struct session {
    ldb *l;
    MDB_txn *txn; /* of reading, reset between uses */
    MDB_cursor *cursor;
} session;

static void check(int rc, const char *what)
{
    if (rc != MDB_SUCCESS)
        bench_fail("lmdb", what, mdb_strerror(rc));
}

static void *open_lmdb(const char *path, const bench_config *config)
{
    ldb *l = bench_alloc(sizeof *l);
    MDB_txn *txn = NULL;
    unsigned flags = MDB_NOTLS;
    if (config->durability != BENCH_D2)
        flags |= MDB_NOSYNC | MDB_WRITEMAP;
    if (config->limited)
        flags |= MDB_NORDAHEAD;
    mkdir(path, 0700);
    check(mdb_env_create(&l->env), "create");
    check(mdb_env_set_mapsize(l->env, (size_t)(config->data_bytes * 8 + (UINT64_C(4) << 30))),
          "set the map's size");
    check(mdb_env_set_maxreaders(l->env, 1024), "set readers");
    check(mdb_env_open(l->env, path, flags, 0600), "open");
    check(mdb_txn_begin(l->env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, NULL, 0, &l->dbi), "open the table");
    check(mdb_txn_commit(txn), "commit");
    return l;
}

static void close_lmdb(void *db)
{
    ldb *l = db;
    mdb_env_close(l->env);
    free(l);
}

static void *join_lmdb(void *db)
{
    session *s = bench_alloc(sizeof *s);
    s->l = db;
    check(mdb_txn_begin(s->l->env, NULL, MDB_RDONLY, &s->txn), "begin");
    check(mdb_cursor_open(s->txn, s->l->dbi, &s->cursor), "open a cursor");
    mdb_txn_reset(s->txn);
    return s;
}

static void leave_lmdb(void *handle)
{
    session *s = handle;
    mdb_cursor_close(s->cursor);
    mdb_txn_abort(s->txn);
    free(s);
}

static void write_lmdb(void *handle, const bench_op *ops, size_t count)
{
    session *s = handle;
    MDB_txn *txn = NULL;
    check(mdb_txn_begin(s->l->env, NULL, 0, &txn), "begin");
    for (const bench_op *op = ops; op < ops + count; op++) {
        MDB_val k = {op->key_size, (void *)(uintptr_t)op->key};
        MDB_val v = {op->value_size, (void *)(uintptr_t)op->value};
        int rc =
            op->remove ? mdb_del(txn, s->l->dbi, &k, NULL) : mdb_put(txn, s->l->dbi, &k, &v, 0);
        if (rc != MDB_NOTFOUND)
            check(rc, "write");
    }
    check(mdb_txn_commit(txn), "commit");
}

static int64_t get_lmdb(void *handle, const void *key, size_t key_size, void *value,
                        size_t capacity)
{
    session *s = handle;
    MDB_val k = {key_size, (void *)(uintptr_t)key}, v = {0, NULL};
    int64_t size = -1;
    check(mdb_txn_renew(s->txn), "renew");
    int rc = mdb_get(s->txn, s->l->dbi, &k, &v);
    if (rc != MDB_NOTFOUND) {
        check(rc, "get");
        memcpy(value, v.mv_data, v.mv_size < capacity ? v.mv_size : capacity);
        size = (int64_t)v.mv_size;
    }
    mdb_txn_reset(s->txn);
    return size;
}

static uint64_t scan_lmdb(void *handle, const void *key, size_t key_size, uint64_t count,
                          bool backwards, bench_visit visit, void *ctx)
{
    session *s = handle;
    MDB_val k = {key_size, (void *)(uintptr_t)key}, v = {0, NULL};
    check(mdb_txn_renew(s->txn), "renew");
    check(mdb_cursor_renew(s->txn, s->cursor), "renew");
    int rc = mdb_cursor_get(s->cursor, &k, &v,
                            key         ? MDB_SET_RANGE
                            : backwards ? MDB_LAST
                                        : MDB_FIRST);
    uint64_t n = 0;
    for (; rc == MDB_SUCCESS && n < count; n++) {
        visit(ctx, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
        rc = mdb_cursor_get(s->cursor, &k, &v, backwards ? MDB_PREV : MDB_NEXT);
    }
    if (rc != MDB_NOTFOUND)
        check(rc, "iterate");
    mdb_txn_reset(s->txn);
    return n;
}

/* It has no background work. */
static double settle_lmdb(void *db)
{
    (void)db;
    return 0;
}

/* Appends, in one transaction per 10,000 records: the way of its manual. */
static void bulk_lmdb(void *db, bench_next next, void *ctx)
{
    ldb *l = db;
    MDB_txn *txn = NULL;
    bench_op op;
    for (uint64_t n = 0; next(ctx, &op); n++) {
        if (n % 10000 == 0) {
            if (txn)
                check(mdb_txn_commit(txn), "commit");
            check(mdb_txn_begin(l->env, NULL, 0, &txn), "begin");
        }
        MDB_val k = {op.key_size, (void *)(uintptr_t)op.key};
        MDB_val v = {op.value_size, (void *)(uintptr_t)op.value};
        check(mdb_put(txn, l->dbi, &k, &v, MDB_APPEND), "append");
    }
    if (txn)
        check(mdb_txn_commit(txn), "commit");
}

const bench_engine bench_lmdb = {
    .name = "lmdb",
    .settings = "D1: WRITEMAP and NOSYNC, D2: its default; the page cache is its memory; "
                "nothing is compressed; NORDAHEAD under a limit of memory; "
                "bulk: APPEND, 10,000 a transaction",
    .classes = BENCH_D1 | BENCH_D2,
    .logless = true,
    .open = open_lmdb,
    .close = close_lmdb,
    .join = join_lmdb,
    .leave = leave_lmdb,
    .write = write_lmdb,
    .get = get_lmdb,
    .scan = scan_lmdb,
    .settle = settle_lmdb,
    .bulk = bulk_lmdb,
};
