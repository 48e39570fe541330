/* helper: the thread that does what would otherwise make a writer wait, and what happens when no
 * thread writes: it makes pages ready, makes the next segment, carries out timed syncs, appends a
 * MARK to an idle log, and calls callbacks. Everything but the last three could be left undone
 * without breaking a promise; a log without the thread does it when it is needed.
 *
 * It sleeps until another thread announces work (wal_helper_wake) or its own time has come. The
 * announcer first stores what there is to do, and then asks whether the helper will look. The
 * helper first says that it will not look again, and then looks: with sequential consistency one of
 * them sees the other.
 *
 * Locks: making while a segment is made, m for moments. Start reading at helper_run.
 */
#include <base/error.h>

#include "log.h"

/* Small, so that the writer soon sees what is ready. */
#define POPULATE_STEP_BYTES (UINT64_C(64) << 10)
#define RETRY_MS            100
#define NEVER_MS            UINT64_MAX

/* ---- The helper's tasks. Each returns after how many milliseconds it wants to be called again.
 * ---- */

/* Makes pages of the current segment ready while the log is being stored into. A log that is
 * written with pwrite has no use for them: they would only be dirty. */
static void populate_ahead(wal *w)
{
    if (!w->mapped || !atomic_load_explicit(&w->storing, memory_order_relaxed))
        return;
    mutex_lock(&w->log_mu);
    wal_segment *s = w->live[w->live_count - 1];
    wal_segment_ref(s);
    mutex_unlock(&w->log_mu);
    uint64_t step =
        w->populate_ahead < POPULATE_STEP_BYTES ? w->populate_ahead : POPULATE_STEP_BYTES;
    for (;;) {
        uint64_t end = atomic_load_explicit(&s->visible_end, memory_order_acquire);
        uint64_t have = atomic_load_explicit(&s->populated, memory_order_relaxed);
        uint64_t from = (have > end ? have : end) / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
        uint64_t upto = from + step < s->bytes ? from + step : s->bytes;
        if (from >= s->bytes || from >= end + w->populate_ahead)
            break;
        /* The next writer meets the failure again, and returns it to its caller. */
        if (fs_populate(s->file, s->base + from, (size_t)(upto - from), true, NULL) != FIRN_OK)
            break;
        /* The leader may have gone further meanwhile. */
        if (atomic_load_explicit(&s->populated, memory_order_relaxed) < upto)
            atomic_store_explicit(&s->populated, upto, memory_order_relaxed);
    }
    wal_segment_unref(s);
}

static uint64_t make_ahead(wal *w, bool *failing)
{
    firn_error error;
    int rc = FIRN_OK;
    if (atomic_load_explicit(&w->poisoned, memory_order_relaxed))
        return NEVER_MS;
    mutex_lock(&w->making);
    mutex_lock(&w->log_mu);
    const wal_segment *s = w->live[w->live_count - 1];
    bool wanted =
        !w->ready && atomic_load_explicit(&s->visible_end, memory_order_relaxed) >= s->bytes / 2;
    uint64_t no = s->no + 1;
    mutex_unlock(&w->log_mu);
    if (wanted)
        rc = wal_ready_ensure(w, no, w->config.options.segment_bytes, &error);
    mutex_unlock(&w->making);
    if (rc != FIRN_OK && !*failing) {
        char line[512];
        firn_error_format(&error, line, sizeof line);
        wal_log(w, FIRN_LOG_WARNING, "the next log segment cannot be made ahead: %s", line);
    }
    *failing = rc != FIRN_OK;
    return rc == FIRN_OK ? NEVER_MS : RETRY_MS;
}

typedef struct tasks {
    bool make_failing;
    bool batch_timing;
    uint64_t batch_since_us, batch_syncs;
    bool mark_timing;
    uint64_t mark_since_us, mark_tick, marked_tick;
} tasks;

static uint64_t remaining_ms(uint64_t now_us, uint64_t since_us, uint32_t limit_ms)
{
    uint64_t passed = now_us > since_us ? now_us - since_us : 0;
    uint64_t limit = (uint64_t)limit_ms * 1000;
    return passed >= limit ? 0 : (limit - passed + 999) / 1000;
}

/* Batch mode: what was appended is synced after batch_ms, also when nothing follows. */
static uint64_t sync_batch(wal *w, tasks *c)
{
    if (atomic_exchange_explicit(&w->sync_wanted, false, memory_order_acq_rel))
        wal_sync_background(w);
    if (!atomic_load_explicit(&w->batch_dirty, memory_order_seq_cst) ||
        atomic_load_explicit(&w->poisoned, memory_order_relaxed)) {
        c->batch_timing = false;
        return NEVER_MS;
    }
    uint64_t now = fs_mono_us(w->fs);
    uint64_t syncs = atomic_load_explicit(&w->syncs, memory_order_relaxed);
    if (!c->batch_timing || c->batch_syncs != syncs) {
        c->batch_timing = true;
        c->batch_since_us = now;
        c->batch_syncs = syncs;
    }
    uint64_t left = remaining_ms(now, c->batch_since_us, w->config.options.batch_ms);
    if (left > 0)
        return left;
    c->batch_timing = false;
    wal_sync_background(w);
    return 1; /* look once more: something may have been appended during the sync */
}

/* The newest sync is proven only by a frame behind it: an idle log writes one. */
static uint64_t mark_idle(wal *w, tasks *c)
{
    uint32_t mark_ms = w->config.options.mark_ms;
    uint64_t tick = atomic_load_explicit(&w->tick, memory_order_acquire);
    if (mark_ms == 0 || tick == c->marked_tick ||
        atomic_load_explicit(&w->durable_seq, memory_order_seq_cst) <=
            atomic_load_explicit(&w->proven_seq, memory_order_relaxed) ||
        atomic_load_explicit(&w->poisoned, memory_order_relaxed)) {
        c->mark_timing = false;
        return NEVER_MS;
    }
    uint64_t now = fs_mono_us(w->fs);
    if (!c->mark_timing || c->mark_tick != tick) {
        c->mark_timing = true;
        c->mark_tick = tick;
        c->mark_since_us = now;
    }
    uint64_t left = remaining_ms(now, c->mark_since_us, mark_ms);
    if (left > 0)
        return left;
    c->mark_timing = false;
    firn_error error;
    wal_request r = {.type = WAL_REQUEST_MARK, .durable = true, .err = &error};
    int rc = wal_submit(w, &r);
    if (rc != FIRN_OK && rc != FIRN_POISONED) {
        char line[512];
        firn_error_format(&error, line, sizeof line);
        wal_log(w, FIRN_LOG_WARNING, "the idle log could not be marked: %s", line);
    }
    /* The tick of the MARK, or of the attempt: by now the log may have gone on, and wants a MARK
     * again. */
    c->marked_tick = r.tick;
    return NEVER_MS;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t do_tasks(wal *w, tasks *c)
{
    wal_callbacks_call(w);
    uint64_t again = sync_batch(w, c);
    populate_ahead(w);
    again = earlier(again, make_ahead(w, &c->make_failing));
    again = earlier(again, mark_idle(w, c));
    wal_callbacks_call(w);
    return again;
}

static void helper_run(void *arg)
{
    wal *w = arg;
    tasks c = {0};
    patience_own_thread();
    mutex_lock(&w->log_mu);
    while (!w->helper_stop) {
        mutex_unlock(&w->log_mu);
        /* In this order: what is announced from here on is either seen by the tasks or wakes us
         * again. */
        atomic_store_explicit(&w->helper_woken, false, memory_order_seq_cst);
        atomic_store_explicit(&w->helper_timed, false, memory_order_seq_cst);
        uint64_t again = do_tasks(w, &c);
        if (again != NEVER_MS)
            atomic_store_explicit(&w->helper_timed, true, memory_order_seq_cst);
        mutex_lock(&w->log_mu);
        if (w->helper_stop || atomic_load_explicit(&w->helper_woken, memory_order_acquire))
            continue;
        if (again == NEVER_MS)
            cond_wait(&w->helper_cond, &w->log_mu);
        else
            cond_wait_ms(&w->helper_cond, &w->log_mu, again);
    }
    mutex_unlock(&w->log_mu);
}

void wal_helper_wake_locked(wal *w)
{
    if (w->has_helper && !atomic_exchange_explicit(&w->helper_woken, true, memory_order_acq_rel))
        cond_signal(&w->helper_cond);
}

void wal_helper_wake(wal *w)
{
    if (!w->has_helper || atomic_load_explicit(&w->helper_woken, memory_order_relaxed))
        return;
    mutex_lock(&w->log_mu);
    wal_helper_wake_locked(w);
    mutex_unlock(&w->log_mu);
}

int wal_helper_start(wal *w, firn_error *err)
{
    w->has_helper = true;
    int result = thread_start(&w->helper, "firn-wal", helper_run, w);
    if (result == 0)
        return FIRN_OK;
    w->has_helper = false;
    return error_thread(err, w->dir->path, result);
}

void wal_helper_stop(wal *w)
{
    mutex_lock(&w->log_mu);
    w->helper_stop = true;
    cond_signal(&w->helper_cond);
    mutex_unlock(&w->log_mu);
    thread_join(&w->helper);
    w->has_helper = false;
}
