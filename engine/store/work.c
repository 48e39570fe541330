/* work: what the background threads have failed in, or wait to try again, and those who wait for
 * them. */
#include <base/error.h>
#include <base/patience.h>

#include <store/load.h>
#include <store/store.h>

static const char *const work_names[] = {"flushing", "compaction"};

/* The first error that stops everything is kept. True: it is this one. */
static bool stop_writing(store *db, int rc, const firn_error *err) REQUIRES(db->state_mu)
{
    if (db->background_status != FIRN_OK)
        return false;
    db->background_status = rc;
    db->background_error = *err;
    atomic_fetch_or_explicit(&db->pressure, PRESSURE_STOP,
                             memory_order_relaxed); /* slow_down looks there */
    return true;
}

static void tell_failure(store *db, background_work work, firn_log_level lvl, const char *then,
                         const firn_error *err)
{
    char text[512];
    firn_error_format(err, text, sizeof text);
    store_log(db, lvl, "%s %s: %s", work_names[work], then, text);
}

void store_work_waits(store *db, background_work work, uint64_t attempt, bool deep, int rc,
                      const firn_error *err)
{
    mutex_lock(&db->state_mu);
    bool news = db->stuck[work].status != rc;
    db->stuck[work] = (stuck){rc, deep, *err};
    if (work == WORK_COMPACTION && attempt > db->compaction_stuck_at)
        db->compaction_stuck_at = attempt;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    if (news && error_curable(rc))
        tell_failure(db, work, FIRN_LOG_WARNING, "waits, and is tried again", err);
    else if (news)
        tell_failure(db, work, FIRN_LOG_ERROR, "has failed, and is tried again", err);
}

void store_background_error(store *db, background_work work, int rc, const firn_error *err)
{
    if (error_curable(rc)) {
        store_work_waits(db, work, 0, false, rc, err);
        return;
    }
    mutex_lock(&db->state_mu);
    bool news = stop_writing(db, rc, err);
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    if (news)
        tell_failure(db, work, FIRN_LOG_ERROR, "has stopped, and writing with it", err);
}

void store_background_works(store *db, background_work work)
{
    mutex_lock(&db->state_mu);
    bool was = db->stuck[work].status != FIRN_OK;
    db->stuck[work].status = FIRN_OK;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    if (was)
        store_log(db, FIRN_LOG_INFO, "%s goes on", work_names[work]);
}

static int give_copy(int rc, const firn_error *from, firn_error *err)
{
    if (err) {
        *err = *from;
        err->status = rc;
    }
    return rc;
}

void store_failure(store *db, background_work work, firn_error *out)
{
    const stuck *s = &db->stuck[work];
    error_clear(out);
    if (db->background_status != FIRN_OK)
        *out = db->background_error;
    else if (s->status != FIRN_OK)
        *out = s->error;
}

int store_stopped(store *db, background_work *of, firn_error *err)
{
    bool for_flush = false, for_compaction = false;
    for (tree *t = NULL; (t = store_next_tree(db, t));) {
        const view *v = atomic_load_explicit(&t->view, memory_order_relaxed);
        for_flush = for_flush || v->frozen_count > FROZEN_MAX;
        for_compaction = for_compaction ||
                         slow_level0_full((uint32_t)v->version->levels[0].count, v->frozen_count);
    }
    /* Nothing has happened, but nothing will either until the store is opened again. */
    if (db->background_status != FIRN_OK)
        return give_copy(FIRN_POISONED, &db->background_error, err);
    for (unsigned work = WORK_FLUSH; work <= WORK_COMPACTION; work++) {
        const stuck *s = &db->stuck[work];
        *of = (background_work)work;
        if ((work == WORK_FLUSH ? for_flush : for_compaction) && s->status != FIRN_OK && !s->deep)
            return give_copy(s->status, &s->error, err);
    }
    return FIRN_OK;
}

int store_writable(store *db, firn_error *err)
{
    mutex_lock(&db->state_mu);
    int rc = db->background_status;
    if (rc != FIRN_OK) {
        rc = rc == FIRN_DAMAGED ? FIRN_DAMAGED : FIRN_POISONED;
        if (err) {
            *err = db->background_error;
            err->status = rc;
        }
    }
    mutex_unlock(&db->state_mu);
    return rc;
}

bool store_ask_flusher(store *db, uint64_t *attempt)
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

bool store_ask_compactors(store *db, uint64_t *attempt)
{
    int rc = db->stuck[WORK_COMPACTION].status;
    if (rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED)
        return false;
    if (*attempt == 0)
        *attempt = db->compactions_begun + 1;
    if (db->compaction_stuck_at >= *attempt)
        return false;
    if (db->compactions_begun < *attempt && !db->compaction_asked) {
        db->compaction_asked = true;
        cond_broadcast(&db->state_changed);
    }
    return true;
}

void store_end_pauses(store *db)
{
    mutex_lock(&db->state_mu);
    db->compaction_asked = true;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

void store_ring(store *db)
{
    mutex_lock(&db->state_mu);
    db->work_epoch++;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

void store_wait(store *db, patience *p, store_wait_what what)
{
    if (patience_sleep(p, &db->state_changed, &db->state_mu))
        return;
    char text[200];
    what(db, text, sizeof text);
    mutex_unlock(&db->state_mu);
    patience_tell(p, text);
    mutex_lock(&db->state_mu);
}
