/* engine_wiredtiger: WiredTiger with a b-tree table and with an LSM table, as two engines. Its log
 * is on; D1 hands each commit's record to the system (transaction_sync method none), D2 syncs it,
 * D0 has no log. Snappy comes from the extension of its Debian package. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <wiredtiger.h>

#include "adapter.h"

#define CHUNK_MAX (UINT64_C(500) << 20) /* WiredTiger takes no larger one */

typedef struct wdb {
    WT_CONNECTION *connection;
    bool logged;
} wdb;

typedef struct thread_session {
    WT_SESSION *session;
    WT_CURSOR *cursor;
    bool logged;
} thread_session;

static void check(int rc, const char *what)
{
    if (rc != 0)
        bench_fail("wiredtiger", what, wiredtiger_strerror(rc));
}

static void create_table(WT_SESSION *session, const bench_config *config, bool lsm)
{
    char text[512], tree[256] = "";
    if (lsm)
        snprintf(tree, sizeof tree,
                 ",type=lsm,lsm=(chunk_size=%llu,bloom_bit_count=%u,bloom_hash_count=7)",
                 (unsigned long long)(config->memtable_bytes < CHUNK_MAX ? config->memtable_bytes
                                                                         : CHUNK_MAX),
                 config->filter_bits > 0 ? config->filter_bits : 1);
    snprintf(text, sizeof text, "key_format=u,value_format=u%s%s", tree,
             config->compress ? ",block_compressor=snappy" : "");
    check(session->create(session, "table:kv", text), "create the table");
}

static void *open_wt(const char *path, const bench_config *config, bool lsm)
{
    wdb *w = bench_alloc(sizeof *w);
    WT_SESSION *session = NULL;
    char text[1024], log[128] = "";
    w->logged = config->durability != BENCH_D0;
    if (w->logged)
        snprintf(log, sizeof log, ",log=(enabled=true),transaction_sync=(enabled=true,method=%s)",
                 config->durability == BENCH_D2 ? "fsync" : "none");
    snprintf(text, sizeof text,
             "create,session_max=1100,cache_size=%llu,eviction=(threads_min=1,threads_max=2),"
             "eviction_dirty_target=60,eviction_dirty_trigger=80,"
             "checkpoint=(wait=60,log_size=1GB),extensions=[%s]%s",
             (unsigned long long)(config->cache_bytes + config->memtable_bytes),
             BENCH_WIREDTIGER_SNAPPY, log);
    mkdir(path, 0700);
    check(wiredtiger_open(path, NULL, text, &w->connection), "open");
    check(w->connection->open_session(w->connection, NULL, NULL, &session), "open a session");
    create_table(session, config, lsm);
    check(session->close(session, NULL), "close a session");
    return w;
}

static void *open_btree(const char *path, const bench_config *config)
{
    return open_wt(path, config, false);
}

static void *open_lsm(const char *path, const bench_config *config)
{
    return open_wt(path, config, true);
}

static void close_wt(void *db)
{
    wdb *w = db;
    check(w->connection->close(w->connection, NULL), "close");
    free(w);
}

static void *join_wt(void *db)
{
    wdb *w = db;
    thread_session *s = bench_alloc(sizeof *s);
    s->logged = w->logged;
    check(w->connection->open_session(w->connection, NULL, NULL, &s->session), "open a session");
    check(s->session->open_cursor(s->session, "table:kv", NULL, NULL, &s->cursor), "open a cursor");
    return s;
}

static void leave_wt(void *handle)
{
    thread_session *s = handle;
    check(s->session->close(s->session, NULL), "close a session");
    free(s);
}

static int write_some(thread_session *s, const bench_op *ops, size_t count)
{
    WT_CURSOR *c = s->cursor;
    for (const bench_op *op = ops; op < ops + count; op++) {
        WT_ITEM k = {.data = op->key, .size = op->key_size};
        WT_ITEM v = {.data = op->value, .size = op->value_size};
        c->set_key(c, &k);
        if (!op->remove)
            c->set_value(c, &v);
        int rc = op->remove ? c->remove(c) : c->insert(c);
        if (rc != 0 && !(op->remove && rc == WT_NOTFOUND))
            return rc;
    }
    return 0;
}

/* One operation is a transaction of its own. Two writers may collide: the loser tries again. */
static void write_wt(void *handle, const bench_op *ops, size_t count)
{
    thread_session *s = handle;
    for (;;) {
        if (count > 1)
            check(s->session->begin_transaction(s->session, "isolation=snapshot"), "begin");
        int rc = write_some(s, ops, count);
        if (rc == 0 && count > 1)
            rc = s->session->commit_transaction(s->session, NULL);
        else if (rc != 0 && count > 1)
            check(s->session->rollback_transaction(s->session, NULL), "roll back");
        s->cursor->reset(s->cursor);
        if (rc != WT_ROLLBACK) {
            check(rc, "write");
            return;
        }
    }
}

static int64_t get_wt(void *handle, const void *key, size_t key_size, void *value, size_t capacity)
{
    thread_session *s = handle;
    WT_CURSOR *c = s->cursor;
    WT_ITEM k = {.data = key, .size = key_size}, v = {0};
    c->set_key(c, &k);
    int rc = c->search(c);
    if (rc == WT_NOTFOUND)
        return -1;
    check(rc, "search");
    check(c->get_value(c, &v), "get a value");
    memcpy(value, v.data, v.size < capacity ? v.size : capacity);
    int64_t size = (int64_t)v.size;
    check(c->reset(c), "reset");
    return size;
}

static uint64_t scan_wt(void *handle, const void *key, size_t key_size, uint64_t count,
                        bool backwards, bench_visit visit, void *ctx)
{
    thread_session *s = handle;
    WT_CURSOR *c = s->cursor;
    WT_ITEM k = {.data = key, .size = key_size}, v = {0};
    int rc, where = 0;
    if (key) {
        c->set_key(c, &k);
        rc = c->search_near(c, &where);
        if (rc == 0 && where < 0)
            rc = c->next(c);
    } else {
        rc = backwards ? c->prev(c) : c->next(c);
    }
    uint64_t n = 0;
    for (; rc == 0 && n < count; n++) {
        check(c->get_key(c, &k), "get a key");
        check(c->get_value(c, &v), "get a value");
        visit(ctx, k.data, k.size, v.data, v.size);
        rc = backwards ? c->prev(c) : c->next(c);
    }
    if (rc != WT_NOTFOUND)
        check(rc, "iterate");
    check(c->reset(c), "reset");
    return n;
}

/* A checkpoint is its way of having nothing left to do; the LSM table merges on besides. */
static double settle_wt(void *db)
{
    wdb *w = db;
    WT_SESSION *session = NULL;
    double quiet = bench_wait_until_quiet();
    check(w->connection->open_session(w->connection, NULL, NULL, &session), "open a session");
    check(session->checkpoint(session, NULL), "checkpoint");
    check(session->close(session, NULL), "close a session");
    return quiet;
}

static void compact_wt(void *db)
{
    wdb *w = db;
    WT_SESSION *session = NULL;
    check(w->connection->open_session(w->connection, NULL, NULL, &session), "open a session");
    check(session->compact(session, "table:kv", "timeout=0"), "compact");
    check(session->close(session, NULL), "close a session");
}

static void bulk_wt(void *db, bench_next next, void *ctx)
{
    wdb *w = db;
    WT_SESSION *session = NULL;
    WT_CURSOR *c = NULL;
    bench_op op;
    check(w->connection->open_session(w->connection, NULL, NULL, &session), "open a session");
    check(session->open_cursor(session, "table:kv", NULL, "bulk", &c), "open a bulk cursor");
    while (next(ctx, &op)) {
        WT_ITEM k = {.data = op.key, .size = op.key_size};
        WT_ITEM v = {.data = op.value, .size = op.value_size};
        c->set_key(c, &k);
        c->set_value(c, &v);
        check(c->insert(c), "insert");
    }
    check(c->close(c), "close a cursor");
    check(session->close(session, NULL), "close a session");
}

#define SETTINGS                                                                                   \
    "cache = memtable + cache; Snappy; log on; D1: method none, D2: fsync, D0: no log; "           \
    "checkpoint "                                                                                  \
    "each 60 s or 1 GB of log; up to 80 % of the cache may be dirty; bulk cursor; settled = "      \
    "checkpoint"
#define CALLS                                                                                      \
    .classes = BENCH_D0 | BENCH_D1 | BENCH_D2, .close = close_wt, .join = join_wt,                 \
    .leave = leave_wt, .write = write_wt, .get = get_wt, .scan = scan_wt, .settle = settle_wt,     \
    .compact = compact_wt, .bulk = bulk_wt

const bench_engine bench_wt_btree = {
    .name = "wt", .settings = "b-tree; " SETTINGS, .open = open_btree, CALLS};
const bench_engine bench_wt_lsm = {.name = "wt-lsm",
                                   .settings = "LSM, chunk = memtable, bloom; " SETTINGS,
                                   .open = open_lsm,
                                   CALLS};
