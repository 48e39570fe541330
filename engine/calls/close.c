/* close: from a store back to a folder.
 *
 *   nothing is held -> background threads end -> what a next opening would replay becomes tables,
 *   if it is much -> views go -> log synced and sealed -> the manifest says that it was closed
 *
 * Opening replays what only the log has, entry by entry. So a store that holds more of it than
 * CLOSE_ENTRIES or CLOSE_BYTES is flushed first: each step of that is the flush's own (flush.c),
 * and one that fails leaves the log as it is, which has all of it. A store that holds less is
 * closed as it is.
 */
#include <base/error.h>
#include <inttypes.h>

#include <jobs/work.h>
#include <commit/commit.h>
#include <store/store.h>

#define CLOSE_ENTRIES 10000
#define CLOSE_BYTES   (UINT64_C(1) << 20) /* of the log */

/* The manifest's last record says that the store was closed: recovery may then insist on seeing
 * everything. */
static int record_close(store *db, uint64_t last_seq, firn_error *err)
{
    edit e = {.closed = true, .closed_seq = last_seq};
    mutex_lock(&db->manifest_mu);
    int rc = store_check_held(db, err);
    if (rc == FIRN_OK && !manifest_is_shared(db->manifest))
        rc = manifest_write(db->manifest, &e, err);
    mutex_unlock(&db->manifest_mu);
    return rc;
}

/* What callers still hold points into memtables, tables and the cache. */
static int check_nothing_held(store *db, firn_error *err)
{
    uint64_t iterators = 0; /* but for those of buckets that were dropped */
    uint64_t values = readers_pins(&db->readers);
    mutex_lock(&db->state_mu);
    uint64_t handles = db->handles;
    for (const tree *t = NULL; (t = store_next_tree(db, t));)
        iterators += atomic_load_explicit(&t->iterators, memory_order_relaxed);
    mutex_unlock(&db->state_mu);
    mutex_lock(&db->snapshot_mu);
    uint64_t txns = db->txn_count, snapshots = db->snapshot_count - txns;
    mutex_unlock(&db->snapshot_mu);
    if (iterators == 0 && snapshots == 0 && values == 0 && handles == 0 && txns == 0)
        return FIRN_OK;
    error_file(err, FIRN_INVALID, db->dir->path, FIRN_NO_OFFSET,
               "the store stays open: not given back are iterators: %" PRIu64
               ", snapshots: %" PRIu64 ", values: %" PRIu64 ", buckets: %" PRIu64
               ", transactions: %" PRIu64,
               iterators, snapshots, values, handles, txns);
    error_hint(err, "call firn_iter_free, firn_snapshot_free, firn_value_release, firn_txn_free "
                    "or, for a bucket, firn_close for each, then firn_close again");
    return FIRN_INVALID;
}

/* Would a next opening have much to replay? */
static bool holds_much(store *db)
{
    view *v = store_view(db);
    uint64_t entries = mem_entries(v->active), bytes = v->active->log_bytes;
    for (size_t i = 0; i < v->frozen_count; i++) {
        entries += mem_entries(v->frozen[i]);
        bytes += v->frozen[i]->log_bytes;
    }
    view_unref(v);
    if (db->close_entries)
        return entries > db->close_entries;
    return entries > CLOSE_ENTRIES || bytes > CLOSE_BYTES;
}

/* Behind the end of the background threads. May the store still be written? A log that is poisoned
 * holds what may never have been acknowledged. */
static bool may_flush(store *db)
{
    wal_stats log;
    wal_get_stats(db->wal, &log);
    return !log.poisoned && store_writable(db, NULL) == FIRN_OK &&
           store_check_held(db, NULL) == FIRN_OK;
}

/* What cannot be flushed stays in the log, as what is little does. */
static void flush_much(store *db)
{
    firn_error err = {0};
    if (db->options.read_only || !holds_much(db) || !may_flush(db))
        return;
    int rc = FIRN_OK;
    /* What was frozen already needs no further segment. */
    for (bool did = true; rc == FIRN_OK && did;)
        rc = flush_oldest(db, &did, &err);
    bool more = rc == FIRN_OK && holds_much(db);
    if (more)
        rc = wal_prepare_successor(db->wal,
                                   &err); /* where that fails, the log can still be sealed */
    if (more && rc == FIRN_OK)
        rc = store_rotate(db, &err);
    for (bool did = more; rc == FIRN_OK && did;)
        rc = flush_oldest(db, &did, &err);
    if (rc == FIRN_OK)
        return;
    char text[512];
    firn_error_format(&err, text, sizeof text);
    store_log(db, FIRN_LOG_WARNING,
              "not all was flushed before closing, and the next opening replays it: %s", text);
}

int firn_close(tree *t, firn_error *error)
{
    store *db;
    if (!t)
        return FIRN_OK;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc; /* the parent's threads, files and locks are not ours to end */
    if (t != &db->main)
        return tree_close(t, error);
    rc = check_nothing_held(db, error);
    if (rc != FIRN_OK)
        return rc;
    workers_stop(db);
    flush_much(db);
    store_drop_views(db);
    uint64_t last_seq = firn_wal_last_seq(db->wal);
    firn_error why;
    error_clear(&why);
    rc = firn_wal_close(db->wal, &why);
    db->wal = NULL;
    if (!db->options.read_only && rc == FIRN_OK)
        rc = record_close(db, last_seq, &why);
    handle_free(db);
    return error_give(error, rc, &why);
}
