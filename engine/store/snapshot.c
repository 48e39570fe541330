/* snapshot: which numbers must stay readable. What that keeps is decided in resolve.c.
 *
 * Snapshots stand in a circle, ascending; `store.snapshots` is the oldest. A new one takes the
 * newest visible number under snapshot_mu, so the list a compaction takes under the same lock
 * misses none: a snapshot made later has a number at or above everything that the compaction
 * reads. */
#include <base/alloc.h>
#include <base/error.h>

#include <store/store.h>

void snapshot_take(store *db, firn_snapshot *s, bool own)
{
    s->db = db;
    s->own = own;
    mutex_lock(&db->snapshot_mu);
    s->seq = atomic_load_explicit(&db->visible_seq, memory_order_acquire);
    if (db->snapshots) {
        s->next = db->snapshots;
        s->prev = db->snapshots->prev;
        s->prev->next = s;
        s->next->prev = s;
    } else {
        s->prev = s->next = s;
        db->snapshots = s;
    }
    db->snapshot_count += !own;
    mutex_unlock(&db->snapshot_mu);
}

void snapshot_give(firn_snapshot *s)
{
    store *db = s->db;
    mutex_lock(&db->snapshot_mu);
    s->prev->next = s->next;
    s->next->prev = s->prev;
    if (db->snapshots == s)
        db->snapshots = s->next == s ? NULL : s->next;
    db->snapshot_count -= !s->own;
    mutex_unlock(&db->snapshot_mu);
}

int firn_snapshot_new(tree *t, firn_snapshot **out, firn_error *error)
{
    if (out)
        *out = NULL;
    store *db;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!out)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the snapshot");
    firn_snapshot *s = heap_alloc(sizeof *s);
    if (!s)
        return error_no_memory(error);
    snapshot_take(db, s, false);
    *out = s;
    return FIRN_OK;
}

void snapshot_end(firn_snapshot *s)
{
    store *db = s->db;
    uint64_t seq = s->seq;
    snapshot_give(s);
    /* What it alone could see can go now, and what stood in the way of a range delete that it did
     * not see. A flush that is under way may keep it still, and looks itself. */
    if (atomic_load_explicit(&db->has_kept, memory_order_relaxed) ||
        seq < atomic_load_explicit(&db->ranged_seq, memory_order_relaxed))
        store_ring(db);
}

void firn_snapshot_free(firn_snapshot *s)
{
    if (!s || store_is_parents(s->db))
        return;
    snapshot_end(s);
    heap_free(s);
}

uint64_t firn_snapshot_seq(const firn_snapshot *s)
{
    return s ? s->seq : 0;
}

uint64_t snapshots_newest(store *db)
{
    mutex_lock(&db->snapshot_mu);
    uint64_t seq = db->snapshots ? db->snapshots->prev->seq : 0; /* they ascend */
    mutex_unlock(&db->snapshot_mu);
    return seq;
}

int snapshots_list(store *db, buf *out)
{
    int rc = FIRN_OK;
    uint64_t before = 0;
    buf_clear(out);
    mutex_lock(&db->snapshot_mu);
    firn_snapshot *s = db->snapshots;
    while (s && rc == FIRN_OK) {
        if (s->seq != before)
            rc = buf_append(out, &s->seq, sizeof s->seq);
        before = s->seq;
        s = s->next == db->snapshots ? NULL : s->next;
    }
    mutex_unlock(&db->snapshot_mu);
    return rc;
}
