/* flusher: the thread that turns frozen memtables into tables. The threads that keep the levels in
 * shape are others (compact_worker.c), because a long compaction must not keep a flush, and so the
 * writers, waiting.
 *
 * A failure that space, memory or descriptors may cure is tried again, after a pause that doubles
 * from RETRY_MS to RETRY_MS_MAX; any other stops the work. Flushing and compaction fail each for
 * itself (store.h, stuck). What an attempt has found may have been cured since: a caller that would
 * be told of a failed flush asks for another attempt first, which ends the flusher's pause
 * (store_ask_flusher), but for its first RETRY_MS: a full disk is tried only now and then. */
#include <base/error.h>
#include <stdio.h>
#include <string.h>

#include <commit/commit.h>
#include <jobs/work.h>
#include <store/store.h>

uint64_t retry_pause_ms(unsigned failures)
{
    uint64_t ms = RETRY_MS;
    for (unsigned i = 1; i < failures && ms < RETRY_MS_MAX; i++)
        ms *= 2;
    return ms < RETRY_MS_MAX ? ms : RETRY_MS_MAX;
}

/* The attempt has failed. The pause ends early when a caller asks for the next one. Real time, as
 * cond_wait_ms measures it, whatever file system the store is on. */
static void pause_before_flush(store *db, unsigned failures)
{
    uint64_t started = fs_mono_us(fs_posix()), passed_ms = 0;
    mutex_lock(&db->state_mu);
    db->flushes_ended = db->flushes_begun;
    cond_broadcast(&db->state_changed);
    for (;;) {
        uint64_t pause_ms = db->flush_asked ? RETRY_MS : retry_pause_ms(failures);
        if (db->closing || passed_ms >= pause_ms)
            break;
        cond_wait_ms(&db->state_changed, &db->state_mu, pause_ms - passed_ms);
        passed_ms = (fs_mono_us(fs_posix()) - started) / 1000;
    }
    mutex_unlock(&db->state_mu);
}

#define IDLE_PART                                                                                  \
    16 /* of its share: what an idle store's memtable has or hides at least, to be flushed */

/* How much of the tables so many entries may hide, if they are as large as those there. */
static double may_hide(store *db, uint64_t entries) REQUIRES(db->state_mu)
{
    uint64_t bytes = 0, held = 0;
    for (tree *t = NULL; (t = store_next_tree(db, t));) {
        const version *v = atomic_load_explicit(&t->view, memory_order_relaxed)->version;
        for (unsigned n = 0; n < FIRN_LEVELS; n++) {
            bytes += v->levels[n].bytes;
            for (size_t i = 0; i < v->levels[n].count; i++)
                held += v->levels[n].tables[i]->properties.entries;
        }
    }
    return held ? (double)bytes / (double)held * (double)entries : 0;
}

/* Is the active memtable worth it? The leader may have rotated since that was asked for: what is
 * active now has not reached its share. An idle store has time for less: a part of it, or what
 * hides as much, as tombstones of large values do. */
static bool is_worth_rotating(store *db) REQUIRES(db->state_mu)
{
    const mem *m = atomic_load_explicit(&db->main.view, memory_order_relaxed)->active;
    uint64_t entries = m ? mem_entries(m) : 0;
    if (!entries)
        return false;
    if (atomic_load_explicit(&m->soon, memory_order_relaxed))
        return true;
    uint64_t bytes = mem_index_bytes(m) + wal_segment_used(m->segment);
    if (!db->idle_rotation)
        return bytes >= db->mem_share;
    /* They may hide anything, and what they hide goes once they are tables. */
    if (mem_has_ranges(m))
        return true;
    uint64_t least = db->mem_share / IDLE_PART;
    return bytes >= least || may_hide(db, entries) >= (double)least;
}

/* Rotates the log if that was asked for. */
static int rotate_wanted(store *db, firn_error *err)
{
    mutex_lock(&db->state_mu);
    bool wanted = db->rotation_wanted, idle = db->idle_rotation;
    bool worth = wanted && is_worth_rotating(db);
    db->rotation_wanted = db->idle_rotation = false;
    mutex_unlock(&db->state_mu);
    if (!wanted)
        return FIRN_OK;
    sst_cache_shrink(db->cache, false);
    int rc = worth ? store_rotate(db, err) : FIRN_OK;
    mutex_lock(&db->state_mu);
    if (error_curable(rc)) { /* tried again, as it was asked for: an idle store asks once */
        db->rotation_wanted = true;
        db->idle_rotation = db->idle_rotation || idle;
    }
    mutex_unlock(&db->state_mu);
    return rc == FIRN_POISONED ? FIRN_OK : rc; /* then there is nothing to rotate any more */
}

/* Waits for something to flush or to reap: rest, which holds up no call. False: closing, or
 * flushing has failed for good. */
static bool wait_for_flush(store *db)
{
    mutex_lock(&db->state_mu);
    db->flushing = false;
    db->flushes_ended = db->flushes_begun;
    cond_broadcast(&db->state_changed);
    for (;;) {
        view *v = atomic_load_explicit(&db->main.view, memory_order_relaxed);
        if (db->closing || db->background_status != FIRN_OK || v->frozen_count || db->retired ||
            db->rotation_wanted || db->flush_asked)
            break;
        cond_wait(&db->state_changed, &db->state_mu);
    }
    bool go = !db->closing && db->background_status == FIRN_OK;
    db->flushing = go;
    db->flush_asked = false;
    db->flushes_begun++;
    mutex_unlock(&db->state_mu);
    return go;
}

/* As much memory as the oldest memtable has, for one that comes. */
static void fill_pool(store *db)
{
    view *v = store_view(db);
    if (v->frozen_count)
        memtable_pool_fill(db->mem_env.pool, mem_index_bytes(v->frozen[v->frozen_count - 1]));
    view_unref(v);
}

static void flusher_run(void *arg)
{
    store *db = arg;
    unsigned failures = 0;
    patience_own_thread();
    while (wait_for_flush(db)) {
        firn_error err = {0};
        bool did = false;
        int rc = rotate_wanted(db, &err);
        fill_pool(db);
        if (rc == FIRN_OK)
            rc = flush_oldest(db, &did, &err);
        if (rc == FIRN_OK) {
            /* Nothing to do any more, because a caller has flushed it, is as good. */
            failures = 0;
            store_background_works(db, WORK_FLUSH);
            continue;
        }
        store_background_error(db, WORK_FLUSH, rc, &err);
        if (error_curable(rc))
            pause_before_flush(db, ++failures);
    }
}

int workers_start(store *db, firn_error *err)
{
    if (db->inline_work) {
        db->work_behind = work_inline;
        return FIRN_OK;
    }
    int rc = cleaner_start(&db->cleaner); /* first: the others give it work */
    if (rc == 0)
        rc = thread_start(&db->flusher, "firn-flush", flusher_run, db);
    return rc == 0 ? compactors_start(db, err) : error_thread(err, db->dir->path, rc);
}

static void what_closing_waits_for(store *db, char *text, size_t size) REQUIRES(db->state_mu)
{
    snprintf(text, size,
             "until work in the background has ended, to close the store: %s%u compactions",
             db->flushing ? "a flush and " : "", db->compacting);
}

void workers_stop(store *db)
{
    patience p = {0};
    mutex_lock(&db->state_mu);
    db->closing = true;
    cond_broadcast(&db->state_changed);
    while (db->flushing || db->compacting) { /* a thread that ends cannot be waited for with a
                                                limit */
        patience_begin(&p, &db->waits, FIRN_WAIT_BACKGROUND);
        store_wait(db, &p, what_closing_waits_for);
    }
    mutex_unlock(&db->state_mu);
    patience_end(&p);
    cleaner_wait(&db->cleaner);
    thread_join(&db->flusher);
    compactors_stop(db);
    cleaner_stop(&db->cleaner); /* last: the others give it work */
}

int flush_inline(store *db, firn_error *err)
{
    int rc = store_writable(db, err);
    if (rc != FIRN_OK)
        return rc;
    rc = rotate_wanted(db, err);
    for (bool did = true; rc == FIRN_OK && did;)
        rc = flush_oldest(db, &did, err);
    if (rc == FIRN_OK)
        store_background_works(db, WORK_FLUSH);
    else
        store_background_error(db, WORK_FLUSH, rc, err);
    return rc;
}

int work_inline(store *db, firn_error *err)
{
    firn_error local = {0};
    if (!db->inline_work)
        return FIRN_OK;
    if (!err)
        err = &local;
    int rc = flush_inline(db, err);
    return rc == FIRN_OK ? compact_inline(db, false, err) : rc;
}
