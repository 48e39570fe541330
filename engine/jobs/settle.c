/* settle: callers that wait until background work has come so far. */
#include <base/error.h>
#include <stdio.h>

#include <commit/commit.h>
#include <jobs/work.h>
#include <store/store.h>

static void what_callers_wait_for(store *db, char *text, size_t size) REQUIRES(db->state_mu)
{
    const view *v = atomic_load_explicit(&db->main.view, memory_order_relaxed);
    snprintf(
        text, size,
        "for work in the background: %zu memtables wait to be flushed, %u "
        "compactions run, level 0 has %u tables",
        v->frozen_count, db->compacting,
        (unsigned)(atomic_load_explicit(&db->pressure, memory_order_relaxed) & ~PRESSURE_STOP));
}

/* An attempt has failed that is newer than the `known` ones. Those of the flusher have been asked
 * for. */
static bool has_failed(const store *db, unsigned work, uint64_t known) REQUIRES(db->state_mu)
{
    return db->stuck[work].status != FIRN_OK &&
           (work == WORK_FLUSH || db->compaction_stuck_at > known);
}

/* Waits until `done` says so, or background work cannot go on: work up to `last` is waited for.
 * Neither is given up before an attempt that began behind the call has failed: of compactions one
 * behind the first `known`. */
static int wait_until(store *db, bool (*done)(store *db, uint64_t arg), uint64_t arg,
                      background_work last, uint64_t known, firn_error *err)
{
    int rc = FIRN_OK;
    const firn_error *why = NULL;
    uint64_t attempt = 0;
    patience p = {0};
    mutex_lock(&db->state_mu);
    while (!done(db, arg) && rc == FIRN_OK) {
        if (db->background_status != FIRN_OK) {
            rc = FIRN_POISONED;
            why = &db->background_error;
        }
        unsigned first = store_ask_flusher(db, &attempt) ? WORK_COMPACTION : WORK_FLUSH;
        for (unsigned work = first; rc == FIRN_OK && work <= (unsigned)last; work++) {
            rc = has_failed(db, work, known) ? db->stuck[work].status : FIRN_OK;
            why = &db->stuck[work].error;
        }
        if (rc == FIRN_OK) {
            patience_begin(&p, &db->waits, FIRN_WAIT_BACKGROUND);
            store_wait(db, &p, what_callers_wait_for);
        }
    }
    if (rc != FIRN_OK && err) {
        *err = *why;
        err->status = rc;
    }
    mutex_unlock(&db->state_mu);
    patience_end(&p);
    return rc;
}

static bool is_flushed(store *db, uint64_t seq)
{
    return atomic_load_explicit(&db->main.view, memory_order_relaxed)->frozen_count == 0 ||
           atomic_load_explicit(&db->flushed_seq, memory_order_acquire) >= seq;
}

static bool is_settled(store *db, uint64_t unused) REQUIRES(db->state_mu)
{
    (void)unused;
    view *v = atomic_load_explicit(&db->main.view, memory_order_relaxed);
    return v->frozen_count == 0 && !db->flushing && !db->rotation_wanted && compaction_is_idle(db);
}

/* What becomes of the compaction behind it is not the flush's outcome, unless it has stopped
 * everything. */
static int flush_and_go_on(store *db, firn_error *err)
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

int firn_flush(tree *t, firn_error *error)
{
    store *db;
    firn_error why;
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && db->options.read_only)
        rc = store_read_only(error);
    if (rc != FIRN_OK)
        return rc;
    uint64_t target = firn_last_seq(t);
    error_clear(&why);
    rc = store_rotate(db, &why);
    if (rc == FIRN_OK)
        rc = db->inline_work ? flush_and_go_on(db, &why)
                             : wait_until(db, is_flushed, target, WORK_FLUSH, 0, &why);
    return error_give(error, rc, &why);
}

/* While a caller waits, workers do what can wait, too. Returns how many attempts of compactions had
 * begun. */
static uint64_t expect_calm(store *db, int change)
{
    mutex_lock(&db->state_mu);
    db->settlers += change;
    db->work_epoch++;
    uint64_t begun = db->compactions_begun;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    return begun;
}

static int settle_inline(store *db, firn_error *err)
{
    int rc = flush_inline(db, err);
    return rc == FIRN_OK ? compact_inline(db, true, err) : rc;
}

int firn_settle(tree *t, firn_error *error)
{
    store *db;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK || db->options.read_only)
        return rc;
    firn_error why;
    error_clear(&why);
    if (db->inline_work) {
        rc = settle_inline(db, &why);
    } else {
        uint64_t begun = expect_calm(db, 1);
        rc = wait_until(db, is_settled, 0, WORK_COMPACTION, begun, &why);
        (void)expect_calm(db, -1);
    }
    cleaner_wait(&db->cleaner);
    return error_give(error, rc, &why);
}
