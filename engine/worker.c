/* worker: the flusher, which turns frozen memtables into tables, and what callers wait for. The threads that keep the levels in
 * shape are others (compact_worker.c), because a long compaction must not keep a flush, and so the writers, waiting.
 *
 * A failure that space, memory or descriptors may cure is tried again, after a pause that doubles from RETRY_MS to
 * RETRY_MS_MAX; any other stops the work. Flushing and compaction fail each for itself (store.h, stuck). What an attempt has
 * found may have been cured since: who would be told of a flush that fails asks for another attempt first, which ends the
 * flusher's pause (store_ask_flusher), but for its first RETRY_MS: a full disk is not hammered. */
#include <base/error.h>
#include <string.h>

#include "store.h"

uint64_t retry_pause_ms(unsigned failures)
{
    uint64_t ms = RETRY_MS;
    for (unsigned i = 1; i < failures && ms < RETRY_MS_MAX; i++)
        ms *= 2;
    return ms < RETRY_MS_MAX ? ms : RETRY_MS_MAX;
}

/* The attempt has failed. The pause ends early when a caller asks for the next one. Real time, as cond_wait_ms measures it,
 * whatever file system the store is on. */
static void pause_before_flush(firn *db, unsigned failures)
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

bool store_ask_flusher(firn *db, uint64_t *attempt)
{
    if (db->stuck[WORK_FLUSH].status == FIRN_OK)
        return false;
    if (*attempt == 0)
        *attempt =
            db->flushes_begun + 1; /* one that is under way may have met what is cured by now */
    if (db->flushes_ended >= *attempt)
        return false;
    if (db->flushes_begun < *attempt && !db->flush_asked) {
        db->flush_asked = true;
        cond_broadcast(&db->state_changed);
    }
    return true;
}

/* Waits for something to flush or to reap. False: closing, or flushing has failed for good. */
static bool wait_for_flush(firn *db)
{
    mutex_lock(&db->state_mu);
    db->flushing = false;
    db->flushes_ended = db->flushes_begun;
    cond_broadcast(&db->state_changed);
    for (;;) {
        view *v = atomic_load_explicit(&db->view, memory_order_relaxed);
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

static void flusher_run(void *arg)
{
    firn *db = arg;
    unsigned failures = 0;
    while (wait_for_flush(db)) {
        firn_error err = {0};
        bool did = false;
        int rc = store_rotate_wanted(db, &err);
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

int workers_start(firn *db, firn_error *err)
{
    if (db->inline_work)
        return FIRN_OK;
    int rc = cleaner_start(&db->cleaner); /* first: the others give it work */
    if (rc == 0)
        rc = thread_start(&db->flusher, "firn-flush", flusher_run, db);
    return rc == 0 ? compactors_start(db, err) : error_thread(err, db->dir->path, rc);
}

void workers_stop(firn *db)
{
    mutex_lock(&db->state_mu);
    db->closing = true;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    thread_join(&db->flusher);
    compactors_stop(db);
    cleaner_stop(&db->cleaner); /* last: the others give it work */
}

static int flush_inline(firn *db, firn_error *err)
{
    int rc = store_writable(db, err);
    if (rc != FIRN_OK)
        return rc;
    rc = store_rotate_wanted(db, err);
    for (bool did = true; rc == FIRN_OK && did;)
        rc = flush_oldest(db, &did, err);
    if (rc == FIRN_OK)
        store_background_works(db, WORK_FLUSH);
    else
        store_background_error(db, WORK_FLUSH, rc, err);
    return rc;
}

int work_inline(firn *db, firn_error *err)
{
    firn_error local = {0};
    if (!db->inline_work)
        return FIRN_OK;
    if (!err)
        err = &local;
    int rc = flush_inline(db, err);
    return rc == FIRN_OK ? compact_inline(db, false, err) : rc;
}

/* Waits until `done` says so, or background work cannot go on: work up to `last` is waited for. A flush is not given up
 * before an attempt that began behind the call has failed. */
static int wait_until(firn *db, bool (*done)(firn *db, uint64_t arg), uint64_t arg,
                      background_work last, firn_error *err)
{
    int rc = FIRN_OK;
    const firn_error *why = NULL;
    uint64_t attempt = 0;
    mutex_lock(&db->state_mu);
    while (!done(db, arg) && rc == FIRN_OK) {
        if (db->background_status != FIRN_OK) {
            rc = FIRN_POISONED;
            why = &db->background_error;
        }
        unsigned first = store_ask_flusher(db, &attempt) ? WORK_COMPACTION : WORK_FLUSH;
        for (unsigned work = first; rc == FIRN_OK && work <= (unsigned)last; work++) {
            rc = db->stuck[work].status;
            why = &db->stuck[work].error;
        }
        if (rc == FIRN_OK)
            cond_wait(&db->state_changed, &db->state_mu);
    }
    if (rc != FIRN_OK && err) {
        *err = *why;
        err->status = rc;
    }
    mutex_unlock(&db->state_mu);
    return rc;
}

static bool is_flushed(firn *db, uint64_t seq)
{
    return atomic_load_explicit(&db->view, memory_order_relaxed)->frozen_count == 0 ||
           atomic_load_explicit(&db->flushed_seq, memory_order_acquire) >= seq;
}

static bool is_settled(firn *db,
                       uint64_t unused) NO_THREAD_ANALYSIS /* state_mu is held by wait_until */
{
    (void)unused;
    view *v = atomic_load_explicit(&db->view, memory_order_relaxed);
    return v->frozen_count == 0 && !db->flushing && !db->rotation_wanted && compaction_is_idle(db);
}

/* What becomes of the compaction behind it is not the flush's outcome, unless it has stopped everything. */
static int flush_and_go_on(firn *db, firn_error *err)
{
    firn_error behind = {0};
    int rc = flush_inline(db, err);
    if (rc != FIRN_OK)
        return rc;
    rc = compact_inline(db, false, &behind);
    if (rc == FIRN_OK || store_writable(db, NULL) == FIRN_OK)
        return FIRN_OK;
    *err = behind;
    return rc;
}

int firn_flush(firn *db, firn_error *error)
{
    firn_error why;
    int rc = store_check_handle(db, error);
    if (rc == FIRN_OK && db->options.read_only)
        rc = error_set(error, FIRN_READ_ONLY, "the store was opened for reading only");
    if (rc != FIRN_OK)
        return rc;
    uint64_t target = firn_last_seq(db);
    error_clear(&why);
    rc = store_rotate(db, &why);
    if (rc == FIRN_OK)
        rc = db->inline_work ? flush_and_go_on(db, &why)
                             : wait_until(db, is_flushed, target, WORK_FLUSH, &why);
    return error_give(error, rc, &why);
}

/* While a caller waits, workers do what can wait, too. */
static void expect_calm(firn *db, int change)
{
    mutex_lock(&db->state_mu);
    db->settlers += change;
    db->work_epoch++;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

static int settle_inline(firn *db, firn_error *err)
{
    int rc = flush_inline(db, err);
    return rc == FIRN_OK ? compact_inline(db, true, err) : rc;
}

int firn_settle(firn *db, firn_error *error)
{
    int rc = store_check_handle(db, error);
    if (rc != FIRN_OK || db->options.read_only)
        return rc;
    firn_error why;
    error_clear(&why);
    if (db->inline_work) {
        rc = settle_inline(db, &why);
    } else {
        expect_calm(db, 1);
        rc = wait_until(db, is_settled, 0, WORK_COMPACTION, &why);
        expect_calm(db, -1);
    }
    cleaner_wait(&db->cleaner);
    return error_give(error, rc, &why);
}
