/* engine_sqlite: SQLite as a key-value store: one table WITHOUT ROWID in WAL mode, one connection
 * and one set of prepared statements per thread. Writers queue on a mutex of the adapter, because
 * SQLite's own way of waiting for another writer is to sleep and try again. */
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "adapter.h"

typedef struct sdb {
    char file[600];
    uint64_t cache_bytes, log_pages;
    bool durable;
    pthread_mutex_t writer;
    sqlite3 *db; /* keeps the log open while no thread has a connection */
} sdb;

typedef struct session {
    sdb *s;
    sqlite3 *db;
    sqlite3_stmt *put, *remove, *get, *first, *last, *from, *begin, *commit;
} session;

static void check(int rc, sqlite3 *db, const char *what)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
        bench_fail("sqlite", what, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

static void run_sql(sqlite3 *db, const char *sql)
{
    check(sqlite3_exec(db, sql, NULL, NULL, NULL), db, sql);
}

static sqlite3 *connect_to(const sdb *s)
{
    sqlite3 *db = NULL;
    char sql[512];
    check(sqlite3_open_v2(s->file, &db,
                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL),
          db, "open");
    sqlite3_busy_timeout(db, 60000);
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; PRAGMA cache_size=-%llu; "
             "PRAGMA mmap_size=%llu; PRAGMA wal_autocheckpoint=%llu",
             s->durable ? "FULL" : "OFF", (unsigned long long)(s->cache_bytes >> 10),
             (unsigned long long)(UINT64_C(16) << 30), (unsigned long long)s->log_pages);
    run_sql(db, sql);
    return db;
}

static void *open_sqlite(const char *path, const bench_config *config)
{
    sdb *s = bench_alloc(sizeof *s);
    mkdir(path, 0700);
    snprintf(s->file, sizeof s->file, "%s/kv.sqlite", path);
    s->cache_bytes = config->cache_bytes + config->memtable_bytes;
    s->log_pages = config->memtable_bytes / 4096;
    s->durable = config->durability == BENCH_D2;
    pthread_mutex_init(&s->writer, NULL);
    s->db = connect_to(s);
    run_sql(s->db,
            "CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID");
    return s;
}

static void close_sqlite(void *db)
{
    sdb *s = db;
    check(sqlite3_close(s->db), s->db, "close");
    pthread_mutex_destroy(&s->writer);
    free(s);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    check(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL), db, sql);
    return stmt;
}

static void *join_sqlite(void *db)
{
    session *n = bench_alloc(sizeof *n);
    n->s = db;
    n->db = connect_to(n->s);
    n->put = prepare(n->db, "INSERT INTO kv VALUES(?1,?2) ON CONFLICT(k) DO UPDATE SET v=?2");
    n->remove = prepare(n->db, "DELETE FROM kv WHERE k=?1");
    n->get = prepare(n->db, "SELECT v FROM kv WHERE k=?1");
    n->first = prepare(n->db, "SELECT k,v FROM kv ORDER BY k");
    n->last = prepare(n->db, "SELECT k,v FROM kv ORDER BY k DESC");
    n->from = prepare(n->db, "SELECT k,v FROM kv WHERE k>=?1 ORDER BY k");
    n->begin = prepare(n->db, "BEGIN IMMEDIATE");
    n->commit = prepare(n->db, "COMMIT");
    return n;
}

static void leave_sqlite(void *handle)
{
    session *n = handle;
    sqlite3_stmt *all[] = {n->put,  n->remove, n->get,   n->first,
                           n->last, n->from,   n->begin, n->commit};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sqlite3_finalize(all[i]);
    check(sqlite3_close(n->db), n->db, "close");
    free(n);
}

static void step(session *n, sqlite3_stmt *stmt, const char *what)
{
    check(sqlite3_step(stmt), n->db, what);
    sqlite3_reset(stmt);
}

static void write_sqlite(void *handle, const bench_op *ops, size_t count)
{
    session *n = handle;
    pthread_mutex_lock(&n->s->writer);
    if (count > 1)
        step(n, n->begin, "begin");
    for (const bench_op *op = ops; op < ops + count; op++) {
        sqlite3_stmt *stmt = op->remove ? n->remove : n->put;
        sqlite3_bind_blob(stmt, 1, op->key, (int)op->key_size, SQLITE_STATIC);
        if (!op->remove)
            sqlite3_bind_blob(stmt, 2, op->value, (int)op->value_size, SQLITE_STATIC);
        step(n, stmt, "write");
    }
    if (count > 1)
        step(n, n->commit, "commit");
    pthread_mutex_unlock(&n->s->writer);
}

static int64_t get_sqlite(void *handle, const void *key, size_t key_size, void *value,
                          size_t capacity)
{
    session *n = handle;
    int64_t size = -1;
    sqlite3_bind_blob(n->get, 1, key, (int)key_size, SQLITE_STATIC);
    int rc = sqlite3_step(n->get);
    check(rc, n->db, "get");
    if (rc == SQLITE_ROW) {
        const void *v = sqlite3_column_blob(n->get, 0);
        size_t bytes = (size_t)sqlite3_column_bytes(n->get, 0);
        if (bytes > 0)
            memcpy(value, v, bytes < capacity ? bytes : capacity);
        size = (int64_t)bytes;
    }
    sqlite3_reset(n->get);
    return size;
}

static uint64_t scan_sqlite(void *handle, const void *key, size_t key_size, uint64_t count,
                            bool backwards, bench_visit visit, void *ctx)
{
    session *n = handle;
    sqlite3_stmt *stmt = key ? n->from : backwards ? n->last : n->first;
    if (key)
        sqlite3_bind_blob(stmt, 1, key, (int)key_size, SQLITE_STATIC);
    uint64_t seen = 0;
    for (; seen < count; seen++) {
        int rc = sqlite3_step(stmt);
        check(rc, n->db, "iterate");
        if (rc != SQLITE_ROW)
            break;
        const void *k = sqlite3_column_blob(stmt, 0), *v = sqlite3_column_blob(stmt, 1);
        visit(ctx, k, (size_t)sqlite3_column_bytes(stmt, 0), v,
              (size_t)sqlite3_column_bytes(stmt, 1));
    }
    sqlite3_reset(stmt);
    return seen;
}

/* What its checkpoints would do sooner or later. */
static double settle_sqlite(void *db)
{
    sdb *s = db;
    run_sql(s->db, "PRAGMA wal_checkpoint(TRUNCATE)");
    return 0;
}

/* One transaction, in key order. */
static void bulk_sqlite(void *db, bench_next next, void *ctx)
{
    session *n = join_sqlite(db);
    bench_op op;
    step(n, n->begin, "begin");
    while (next(ctx, &op)) {
        sqlite3_bind_blob(n->put, 1, op.key, (int)op.key_size, SQLITE_STATIC);
        sqlite3_bind_blob(n->put, 2, op.value, (int)op.value_size, SQLITE_STATIC);
        step(n, n->put, "put");
    }
    step(n, n->commit, "commit");
    leave_sqlite(n);
}

const bench_engine bench_sqlite = {
    .name = "sqlite",
    .settings =
        "WAL, checkpoint at one memtable; WITHOUT ROWID; page cache = memtable + cache, and "
        "mapped; D1: synchronous OFF, D2: FULL; nothing is compressed; settled = checkpoint",
    .classes = BENCH_D1 | BENCH_D2,
    .logless = true,
    .open = open_sqlite,
    .close = close_sqlite,
    .join = join_sqlite,
    .leave = leave_sqlite,
    .write = write_sqlite,
    .get = get_sqlite,
    .scan = scan_sqlite,
    .settle = settle_sqlite,
    .bulk = bulk_sqlite,
};
