/* flush: the oldest frozen memtable becomes a table, and the log that held it is given up.
 *
 *   1  write the table, sync the file, sync the folder     a crash leaves an orphan
 *   2  manifest: {add table, flushed_seq = S, covered = the memtable's segment}, synced
 *                                                          <- the commit point (E4)
 *   3  install the view without the memtable
 *   4  wal_checkpoint(S) -> N > S                          recorded
 *   5  wal_give_up(S, segment)                             the log up to it goes (E5)
 *
 * S is the last number of the memtable's segment, not N: what was written between S and N lives
 * only in the log. Steps 4 and 5 sync nothing: step 2 says durably what the log need not hold any
 * more. Syncing the segment that writers are storing into would write all of it to the disk, and
 * make each of its pages fault once more.
 */
#include <base/alloc.h>
#include <base/error.h>

#include <jobs/work.h>
#include <jobs/build.h>
#include <tree/run.h>
#include <store/load.h>
#include <store/store.h>

static bool always_below(void *ctx, firn_slice key)
{
    (void)ctx;
    (void)key;
    return true;
}

static bool range_always_below(void *ctx, firn_slice first, firn_slice end)
{
    (void)ctx;
    (void)first;
    (void)end;
    return true;
}

/* A flush need not be faster than writers fill the next memtable: so long as it has read more
 * entries than they have written since, it leaves them the processor that they want. Where they
 * are faster, it says how far it has come (slow_flush_delay_ns). */
typedef struct pace {
    store *db;
    uint64_t flushed; /* the last number of the memtable */
    uint64_t entries; /* that the memtable has */
    uint64_t before;  /* of the tables before this one */
    uint64_t read;    /* with those of this one */
} pace;

static bool is_behind(void *ctx, uint64_t entries)
{
    pace *p = ctx;
    p->read = p->before + entries;
    double done = p->entries ? (double)p->read / (double)p->entries : 0;
    atomic_store_explicit(&p->db->flush_done,
                          (uint32_t)((done < 1 ? done : 1) * SLOW_FLUSH_READ * SLOW_ONE),
                          memory_order_relaxed);
    return firn_last_seq(&p->db->main) - p->flushed > p->read;
}

static int write_table(pace *p, mem *m, build *b, firn_error *err)
{
    store *db = p->db;
    buf snapshots = {0};
    fragment_list ranges = {0};
    build_rules rules = {.snapshots = &snapshots,
                         .ranges = &ranges,
                         .ctx = p,
                         .lies_below = always_below,
                         .range_lies_below = range_always_below,
                         .hurries = is_behind};
    walk w = {0};
    run r = run_of_mem(m, b->bucket);
    int rc = snapshots_list(db, &snapshots);
    if (rc == FIRN_OK)
        rc = walk_open(&r, 1, SST_WORK, NULL, err, &w);
    if (rc == FIRN_OK)
        rc = build_list_ranges(&r, 1, &snapshots, FIRN_MAX_SEQ, &ranges, err);
    if (rc != FIRN_OK)
        error_no_memory(err);
    else
        rc = build_add_all(b, w.it, &rules, err);
    if (rc == FIRN_OK)
        rc = build_finish(b, err);
    p->before = p->read;
    walk_close(&w);
    fragment_list_release(&ranges);
    buf_release(&snapshots);
    return rc;
}

/* Steps 4 and 5. The flush itself stands, so a failure here only means that the log stays longer.
 */
static void give_up_log(store *db, uint64_t flushed, uint64_t covered_no)
{
    firn_error err = {0};
    uint64_t checkpoint = 0;
    int rc = wal_checkpoint(db->wal, flushed, &checkpoint, &err);
    if (rc == FIRN_OK)
        rc = wal_give_up(db->wal, flushed, covered_no, &err);
    if (rc != FIRN_OK) {
        char text[512];
        firn_error_format(&err, text, sizeof text);
        store_log(db, FIRN_LOG_WARNING, "the log could not be truncated: %s", text);
    }
}

/* The tables of a mem, one for each bucket. */
typedef struct flushing {
    build *builds;
    size_t count;
    uint64_t bytes;
} flushing;

/* Under flush_mu no tree ends. */
static bool is_there(store *db, uint16_t bucket) REQUIRES(db->flush_mu)
{
    mutex_lock(&db->state_mu);
    bool yes = store_tree(db, bucket) != NULL;
    mutex_unlock(&db->state_mu);
    return yes;
}

/* Entries of a bucket that has been dropped go with the log. */
static int write_tables(store *db, mem *m, flushing *f, edit *e, firn_error *err)
    REQUIRES(db->flush_mu)
{
    pace keep = {.db = db, .flushed = e->flushed_seq, .entries = mem_entries(m)};
    size_t most = 0;
    int rc = FIRN_OK;
    for (const mem_part *p = mem_first_part(m); p; p = p->next)
        most++;
    f->builds = heap_alloc((most ? most : 1) * sizeof *f->builds);
    if (!f->builds)
        return error_no_memory(err);
    for (const mem_part *p = mem_first_part(m); rc == FIRN_OK && p; p = p->next) {
        if (!is_there(db, p->bucket))
            continue;
        build *b = &f->builds[f->count++];
        build_init(b, db, 0, UINT64_MAX);
        b->bucket = p->bucket;
        b->from_log = true;
        rc = write_table(&keep, m, b, err);
        f->bytes += b->bytes;
        if (rc == FIRN_OK && build_list(b, e) != FIRN_OK)
            rc = error_no_memory(err);
    }
    return rc;
}

static int flush_mem(store *db, mem *m, firn_error *err) REQUIRES(db->flush_mu)
{
    flushing f = {0};
    uint64_t flushed = atomic_load_explicit(&m->seq_last, memory_order_relaxed);
    uint64_t covered_no = wal_segment_no(m->segment);
    edit e = {.flushed_seq = flushed, .covered_no = covered_no};
    bool stay;
    int rc = write_tables(db, m, &f, &e, err);
    rc = build_commit(db, rc, &e, m, &stay, err);
    if (rc == FIRN_OK) {
        atomic_fetch_add_explicit(&db->counters.bytes_flushed, f.bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->counters.flushes, 1, memory_order_relaxed);
        store_note_work(db, &e, 0);
    }
    for (size_t i = 0; i < f.count; i++)
        build_release(&f.builds[i], stay);
    heap_free(f.builds);
    edit_release(&e);
    if (rc == FIRN_OK)
        give_up_log(db, flushed, covered_no);
    return rc;
}

int flush_oldest(store *db, bool *did, firn_error *err)
{
    patience p = {0};
    *did = false;
    patience_lock(&p, &db->waits, FIRN_WAIT_BACKGROUND, &db->flush_mu);
    view *v = store_view(db);
    int rc = FIRN_OK;
    atomic_store_explicit(&db->flush_done, 0, memory_order_relaxed);
    if (v->frozen_count) {
        uint64_t began = latency_begin(db);
        rc = flush_mem(db, v->frozen[v->frozen_count - 1], err);
        (void)latency_end(db, FIRN_LATENCY_FLUSH, began, rc);
        *did = rc == FIRN_OK;
    }
    view_unref(v);
    store_reap(db);
    mutex_unlock(&db->flush_mu);
    patience_end(&p);
    return rc;
}
