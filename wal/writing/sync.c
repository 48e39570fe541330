/* sync: how what was appended becomes durable, once for many (README.md, W4, W5, W8).
 *
 * Waiters stand in a list under `m`. At most one thread syncs: `syncing` is set from the moment it
 * claims the round until the round's end. A round notes what has been appended, syncs the segments
 * that are not wholly synced yet, oldest first, without any lock, and answers the waiters whom that
 * covers. Appends go on all the time.
 *
 * In between, one waiter may be the gatherer: it sleeps for a part of the time that a sync takes,
 * until as many wait as did at the end of the last round. The writer that completes that number
 * claims the round at once, since it is awake; else the gatherer does when the time is up.
 *
 * After a failed sync the kernel may have dropped the dirty pages and call them clean: nothing that
 * depended on it can be saved by trying again. So the log is poisoned, and no descriptor of it is
 * synced again.
 *
 * Locks: m, never across a system call.
 */
#include <assert.h>
#include <base/error.h>

#include "log.h"

/* A syncer waits at most so long for others. */
#define GATHER_US_MAX 200

/* ---- Waiters ---- */

static void count_waiters(wal *w, int more) REQUIRES(w->log_mu)
{
    unsigned count = atomic_load_explicit(&w->waiter_count, memory_order_relaxed);
    atomic_store_explicit(&w->waiter_count, count + (unsigned)more, memory_order_relaxed);
}

static void waiters_push(wal *w, wal_request *r) REQUIRES(w->log_mu)
{
    r->next = NULL;
    if (w->waiters)
        w->waiters_last->next = r;
    else
        w->waiters = r;
    w->waiters_last = r;
    count_waiters(w, 1);
}

/* Takes out the waiters with a tick <= `tick`, in order. */
static wal_request *waiters_take(wal *w, uint64_t tick) REQUIRES(w->log_mu)
{
    wal_request *taken = NULL, **taken_tail = &taken;
    wal_request **link = &w->waiters;
    w->waiters_last = NULL;
    while (*link) {
        wal_request *r = *link;
        if (r->tick <= tick) {
            *link = r->next;
            count_waiters(w, -1);
            *taken_tail = r;
            taken_tail = &r->next;
        } else {
            w->waiters_last = r;
            link = &r->next;
        }
    }
    *taken_tail = NULL;
    return taken;
}

static void answer_all(wal *w, wal_request *first, int rc)
{
    uint32_t bits = 0;
    for (wal_request *r = first, *next; r; r = next) {
        next = r->next;
        r->status = rc;
        bits |= wal_request_tell(r, WAL_DONE);
    }
    wal_wake(w, bits);
}

/* All of them were appended, and are visible: whether they survive is unknown, whichever of them
 * the failed sync was to cover. (POISONED says that nothing has happened.) */
static void answer_failed(wal *w, wal_request *first)
{
    uint32_t bits = 0;
    if (!first)
        return;
    mutex_lock(&w->log_mu);
    firn_error cause = w->poison;
    mutex_unlock(&w->log_mu);
    cause.status = FIRN_IO;
    error_hint(&cause, "whether the write survives is unknown; find the cause, then close the log "
                       "and open it again");
    for (wal_request *r = first, *next; r; r = next) {
        next = r->next;
        r->status = cause.status;
        if (r->err)
            *r->err = cause;
        bits |= wal_request_tell(r, WAL_DONE);
    }
    wal_wake(w, bits);
}

/* Group-commit delay: true once as many writers wait as after the last round. Writers that commit
 * again and again come back just after a round has released them. A round that starts at once goes
 * without them, and two half-filled rounds take twice the time of a full one. So a round waits for
 * as many as waited at the end of the last one, for a part of what a sync takes; a lone writer does
 * not wait. */
static bool enough_waiters(const wal *w) REQUIRES(w->log_mu)
{
    return atomic_load_explicit(&w->waiter_count, memory_order_relaxed) >= w->sync_waiters ||
           w->sync_us < 2;
}

/* From here to round_done or round_failed no other thread syncs. */
static void claim_round(wal *w) REQUIRES(w->log_mu)
{
    w->syncing = true;
    w->gatherer = NULL;
}

/* Chooses the request whose thread syncs for those that wait now: `own` by preference, which is
 * awake. Returns the one to tell to sync, or NULL. */
static wal_request *round_start(wal *w, wal_request *own, wal_request *first) REQUIRES(w->log_mu)
{
    wal_request *named = NULL;
    if (w->syncing || !first)
        return NULL;
    if (enough_waiters(w)) {
        named = own ? own : w->gatherer ? w->gatherer : first;
    } else if (!w->gatherer) {
        if (own)
            w->gatherer = own;
        else
            named = first;
    }
    if (named)
        claim_round(w);
    return named;
}

uint32_t wal_sync_enlist(wal *w, wal_request *first, wal_request *own)
{
    wal_request *waits = NULL, *done = NULL;
    uint32_t state = WAL_WAITING;
    mutex_lock(&w->log_mu);
    bool poisoned = atomic_load_explicit(&w->poisoned, memory_order_relaxed) != 0;
    for (wal_request *r = first, *next; r; r = next) {
        next = r->next;
        if (poisoned || r->tick <= w->durable_tick) {
            if (r == own)
                state = WAL_DONE;
            r->next = done;
            done = r;
        } else {
            waiters_push(w, r);
            if (!waits)
                waits = r;
        }
    }
    wal_request *named = round_start(w, state == WAL_DONE ? NULL : own, waits);
    if (own && named == own)
        state = WAL_SYNC;
    else if (own && w->gatherer == own)
        state = WAL_GATHER;
    mutex_unlock(&w->log_mu);

    if (poisoned)
        answer_failed(w, done);
    else
        answer_all(w, done, FIRN_OK);
    if (named && named != own)
        wal_request_set(w, named, WAL_SYNC);
    return state;
}

/* ---- A round ---- */

/* The oldest segment with bytes that are not known to be synced, with a reference. */
static wal_segment *oldest_unsynced(wal *w, bool *is_last)
{
    mutex_lock(&w->log_mu);
    size_t i = 0;
    while (i + 1 < w->live_count && w->live[i]->synced)
        i++;
    wal_segment *s = w->live[i];
    wal_segment_ref(s);
    *is_last = i + 1 == w->live_count;
    mutex_unlock(&w->log_mu);
    return s;
}

/* W4: whatever was appended before the call is durable after it. */
static int sync_segments(wal *w, firn_error *err)
{
    for (;;) {
        bool is_last;
        wal_segment *s = oldest_unsynced(w, &is_last);
        uint64_t end = atomic_load_explicit(&s->visible_end, memory_order_acquire);
        int rc = fs_sync(s->file, err);
        if (rc == FIRN_OK && !is_last) {
            mutex_lock(&w->log_mu);
            s->synced = true;
            mutex_unlock(&w->log_mu);
        }
        /* Written-back pages are clean, and storing into a clean page costs a fault: they are made
         * ready again ahead of the writer. Racing with the thread that raises it costs at most a
         * fault, too. */
        if (atomic_load_explicit(&s->populated, memory_order_relaxed) > end)
            atomic_store_explicit(&s->populated, end, memory_order_relaxed);
        wal_segment_unref(s);
        wal_count(&w->syncs, 1);
        if (rc != FIRN_OK || is_last)
            return rc;
    }
}

/* W8 */
static void round_failed(wal *w, firn_error *cause)
{
    cause->status = FIRN_IO; /* whatever errno was: a sync that failed is no "try again" */
    wal_poison(w, cause);
    mutex_lock(&w->log_mu);
    wal_request *all = waiters_take(w, UINT64_MAX);
    w->syncing = false;
    bool fire = wal_callbacks_decide(w);
    cond_broadcast(&w->durable_cond);
    mutex_unlock(&w->log_mu);
    answer_failed(w, all);
    if (fire)
        wal_callbacks_fire(w);
}

static void round_done(wal *w, uint64_t tick, uint64_t seq, uint64_t us)
{
    wal_request *named = NULL;
    mutex_lock(&w->log_mu);
    w->sync_waiters = atomic_load_explicit(&w->waiter_count, memory_order_relaxed);
    w->sync_us = us;
    bool poisoned = atomic_load_explicit(&w->poisoned, memory_order_relaxed) != 0;
    w->durable_tick = tick;
    /* Release: a thread that sees the number may say so to others. Sequentially consistent, because
     * the helper says "I will not look again by myself" and then looks here, and we look at what it
     * said below: one of us sees the other. */
    atomic_store_explicit(&w->durable_seq, seq, memory_order_seq_cst);
    wal_request *covered = waiters_take(w, tick);
    wal_request *failed = poisoned ? waiters_take(w, UINT64_MAX) : NULL;
    w->syncing = false;
    named = w->gatherer = w->waiters;
    /* Under the lock: once it is free, another thread may take the round over, and answer the
     * gatherer, too. */
    uint32_t bits = named ? wal_request_tell(named, WAL_GATHER) : 0;
    bool fire = wal_callbacks_decide(w);
    if (w->timed_waiters > 0)
        cond_broadcast(&w->durable_cond);
    mutex_unlock(&w->log_mu);

    /* The next round first: its sync takes longest. */
    wal_wake(w, bits);
    answer_all(w, covered, FIRN_OK);
    answer_failed(w, failed);
    if (fire)
        wal_callbacks_fire(w);
    /* An idle log proves its last sync with a MARK: the helper has to look at the clock. */
    if (w->config.options.mark_ms > 0 &&
        !atomic_load_explicit(&w->helper_timed, memory_order_seq_cst))
        wal_helper_wake(w);
}

/* A leader is at work for microseconds, or waits for the disk. */
#define NOTE_TRIES 4

/* W11: what this round will make durable, and what is durable already, stands behind the frames
 * before the sync starts. A group that waits for a sync has written so itself. Otherwise it is done
 * here, unless a leader keeps the log to itself: then the next group does it, and the round does
 * not wait for a leader that the disk keeps waiting. */
static void note_round(wal *w, wal_slow *slow)
{
    uint64_t durable = atomic_load_explicit(&w->durable_seq, memory_order_acquire);
    for (int i = 0; i < NOTE_TRIES; i++) {
        uint64_t last = atomic_load_explicit(&w->last_seq, memory_order_acquire);
        if (last <= durable ||
            (atomic_load_explicit(&w->noted_durable, memory_order_acquire) >= durable &&
             atomic_load_explicit(&w->noted_intent, memory_order_acquire) >= last))
            return;
        atomic_store_explicit(&w->sync_intent, last, memory_order_relaxed);
        /* One that fails has poisoned the log, or leaves it without: then one bad sector can take
         * more. */
        firn_error error;
        wal_request r = {.type = WAL_REQUEST_NOTE, .err = &error};
        if (wal_submit_if_idle(w, &r)) {
            *slow = r.slow;
            return;
        }
        for (int spin = 0; spin < 50; spin++)
            cpu_relax();
    }
}

static void sync_round(wal *w)
{
    firn_error error;
    wal_slow note = {0};
    note_round(w, &note);
    if (atomic_load_explicit(&w->poisoned, memory_order_acquire)) {
        mutex_lock(&w->log_mu);
        error = w->poison;
        mutex_unlock(&w->log_mu);
        round_failed(w, &error);
        return;
    }
    uint64_t tick = atomic_load_explicit(&w->tick, memory_order_acquire);
    uint64_t seq = atomic_load_explicit(&w->last_seq, memory_order_acquire);
    atomic_store_explicit(&w->batch_dirty, false, memory_order_seq_cst);
    atomic_store_explicit(&w->synced_batches,
                          atomic_load_explicit(&w->appended_batches, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&w->synced_bytes,
                          atomic_load_explicit(&w->appended_bytes, memory_order_relaxed),
                          memory_order_relaxed);
    patience p = {0};
    patience_begin(&p, w->config.waits, FIRN_WAIT_LOG);
    uint64_t start = fs_mono_us(w->fs);
    int rc = sync_segments(w, &error);
    uint64_t us = fs_mono_us(w->fs) - start;
    patience_end(&p);
    if (rc == FIRN_OK)
        round_done(w, tick, seq, us);
    else
        round_failed(w, &error);
    wal_log_slow(w, &note); /* writers that this round covers no longer wait */
    wal_log_slow(w, &(wal_slow){"a sync of the log", us});
}

/* Waits until enough writers wait or the time is up, GATHER_US_MAX: too short to be told. Returns
 * the state of `r` then: SYNC when the round is ours, WAITING when another one took it over. */
static uint32_t gather(wal *w, wal_request *r)
{
    mutex_lock(&w->log_mu);
    uint64_t limit_us = w->sync_us / 2 < GATHER_US_MAX ? w->sync_us / 2 : GATHER_US_MAX;
    bool ours = w->gatherer == r && enough_waiters(w);
    if (ours)
        claim_round(w);
    mutex_unlock(&w->log_mu);
    if (ours)
        return WAL_SYNC;
    (void)wal_request_sleep(w, r, (uint32_t)limit_us + 1);
    mutex_lock(&w->log_mu);
    ours = w->gatherer == r;
    if (ours) {
        claim_round(w);
        atomic_store_explicit(&r->state, WAL_WAITING,
                              memory_order_relaxed); /* no other thread tells it */
    }
    mutex_unlock(&w->log_mu);
    return ours ? WAL_SYNC : WAL_WAITING;
}

void wal_sync_wait(wal *w, wal_request *r, uint32_t state)
{
    while (state != WAL_DONE) {
        if (state == WAL_GATHER) {
            /* Told by another thread, which may have gone on to tell more. */
            uint32_t told = WAL_GATHER;
            atomic_compare_exchange_strong_explicit(&r->state, &told, WAL_WAITING,
                                                    memory_order_acq_rel, memory_order_relaxed);
            state = gather(w, r);
        } else if (state == WAL_SYNC) {
            sync_round(w); /* covers this request too, and says so in its status */
            return;
        } else {
            state = wal_request_wait(w, r);
        }
    }
}

void wal_sync_fail_all(wal *w)
{
    mutex_lock(&w->log_mu);
    /* The present syncer answers the others at the end of its round. */
    wal_request *all = w->syncing ? NULL : waiters_take(w, UINT64_MAX);
    w->gatherer = NULL;
    bool fire = wal_callbacks_decide(w);
    cond_broadcast(&w->durable_cond);
    mutex_unlock(&w->log_mu);
    answer_failed(w, all);
    if (fire)
        wal_callbacks_fire(w);
}

int wal_sync_all(wal *w, firn_error *err)
{
    if (atomic_load_explicit(&w->poisoned, memory_order_acquire))
        return wal_poisoned_error(w, err);
    uint64_t seen = atomic_load_explicit(&w->last_seq, memory_order_acquire);
    wal_request r;
    do {
        r = (wal_request){.err = err, .durable = true};
        r.tick = atomic_load_explicit(&w->tick, memory_order_acquire);
        wal_sync_wait(w, &r, wal_sync_enlist(w, &r, &r));
        /* A number is seen a moment before its tick: in that moment all ticks may be durable. */
    } while (r.status == FIRN_OK &&
             atomic_load_explicit(&w->durable_seq, memory_order_acquire) < seen);
    return r.status;
}

/* ---- In the background ---- */

void wal_sync_background(wal *w)
{
    uint64_t tick = atomic_load_explicit(&w->tick, memory_order_acquire);
    uint64_t last = atomic_load_explicit(&w->last_seq, memory_order_acquire);
    mutex_lock(&w->log_mu);
    /* Both are compared: the thread that asked may have seen a number whose tick is not there yet.
     */
    bool behind = w->durable_tick < tick ||
                  atomic_load_explicit(&w->durable_seq, memory_order_relaxed) < last;
    bool ours = !w->syncing && behind && !atomic_load_explicit(&w->poisoned, memory_order_relaxed);
    if (ours)
        claim_round(w);
    mutex_unlock(&w->log_mu);
    if (ours)
        sync_round(w);
}

void wal_sync_batched(wal *w)
{
    const firn_wal_options *o = &w->config.options;
    uint64_t writes = atomic_load_explicit(&w->appended_batches, memory_order_relaxed) -
                      atomic_load_explicit(&w->synced_batches, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&w->appended_bytes, memory_order_relaxed) -
                     atomic_load_explicit(&w->synced_bytes, memory_order_relaxed);
    bool due = writes >= o->batch_writes || bytes >= o->batch_bytes;
    if (!atomic_load_explicit(&w->batch_dirty, memory_order_relaxed)) {
        if (!w->has_helper)
            atomic_store_explicit(&w->batch_since_us, fs_mono_us(w->fs), memory_order_relaxed);
        /* Sequentially consistent against the helper, which says "I will not look again" and then
         * looks here: one of us sees the other. */
        atomic_store_explicit(&w->batch_dirty, true, memory_order_seq_cst);
        if (!due && !atomic_load_explicit(&w->helper_timed, memory_order_seq_cst))
            wal_helper_wake(w);
    }
    if (!w->has_helper) {
        /* No thread looks at the clock while the log is idle: the next append does. */
        uint64_t since = atomic_load_explicit(&w->batch_since_us, memory_order_relaxed);
        if (due || fs_mono_us(w->fs) - since >= (uint64_t)o->batch_ms * 1000)
            wal_sync_background(w);
    } else if (due && !atomic_load_explicit(&w->sync_wanted, memory_order_relaxed)) {
        atomic_store_explicit(&w->sync_wanted, true, memory_order_release);
        wal_helper_wake(w);
    }
}

/* ---- Public ---- */

static int unknown_seq(const wal *w, uint64_t seq, firn_error *err)
{
    int rc =
        error_set(err, FIRN_INVALID, "sequence number %llu was not given out; the last is %llu",
                  (unsigned long long)seq, (unsigned long long)firn_wal_last_seq(w));
    error_hint(err, "wait for a number that an append has returned");
    return rc;
}

int firn_wal_sync(firn_wal *log, firn_error *error)
{
    int rc = wal_check_handle(log, error);
    if (rc != FIRN_OK || log->read_only)
        return rc;
    return wal_sync_all(log, error);
}

/* Has the wait ended? FIRN_TIMED_OUT means: not yet. */
static int durable_outcome(wal *w, uint64_t seq)
{
    if (atomic_load_explicit(&w->durable_seq, memory_order_acquire) >= seq)
        return FIRN_OK;
    return atomic_load_explicit(&w->poisoned, memory_order_acquire) ? FIRN_POISONED
                                                                    : FIRN_TIMED_OUT;
}

/* For durable_cond, for at most so long; or says what it waits for. */
static void wait_once(wal *w, patience *p, uint64_t left_us, uint64_t passed_us) REQUIRES(w->log_mu)
{
    if (w->config.waits && !p->told && passed_us >= PATIENCE_MUTE_US) {
        mutex_unlock(&w->log_mu);
        patience_begun(p, w->config.waits, FIRN_WAIT_LOG, passed_us);
        patience_tell(p, "until what they wrote is synced");
        mutex_lock(&w->log_mu);
        return;
    }
    uint64_t mute_us = PATIENCE_MUTE_US - passed_us;
    if (w->config.waits && !p->told && mute_us < left_us)
        left_us = mute_us;
    cond_wait_ms(&w->durable_cond, &w->log_mu, (left_us + 999) / 1000);
}

/* A caller with a time limit does not sync itself, since a sync cannot be stopped half-way: the
 * helper does. */
static int wait_timed(wal *w, uint64_t seq, uint32_t timeout_ms, firn_error *err)
{
    uint64_t start = fs_mono_us(w->fs);
    uint64_t limit = (uint64_t)timeout_ms * 1000;
    patience p = {0};
    mutex_lock(&w->log_mu);
    w->timed_waiters++;
    int rc = durable_outcome(w, seq);
    while (rc == FIRN_TIMED_OUT) {
        uint64_t passed = fs_mono_us(w->fs) - start;
        if (passed >= limit)
            break;
        if (!w->syncing) {
            atomic_store_explicit(&w->sync_wanted, true, memory_order_release);
            wal_helper_wake_locked(w);
        }
        wait_once(w, &p, limit - passed, passed);
        rc = durable_outcome(w, seq);
    }
    w->timed_waiters--;
    mutex_unlock(&w->log_mu);
    patience_end(&p);
    if (rc == FIRN_POISONED)
        return wal_poisoned_error(w, err);
    if (rc == FIRN_TIMED_OUT) {
        error_set(err, rc, "sequence number %llu was not durable after %u ms",
                  (unsigned long long)seq, (unsigned)timeout_ms);
        error_hint(err, "the write goes on being synced; wait again");
    }
    return rc;
}

int firn_wal_wait_durable(firn_wal *log, uint64_t seq, uint32_t timeout_ms, firn_error *error)
{
    int rc = wal_check_handle(log, error);
    if (rc != FIRN_OK)
        return rc;
    if (seq > firn_wal_last_seq(log))
        return unknown_seq(log, seq, error);
    rc = durable_outcome(log, seq);
    if (rc == FIRN_OK)
        return FIRN_OK;
    if (timeout_ms > 0 && log->has_helper)
        return wait_timed(log, seq, timeout_ms, error);
    return wal_sync_all(log, error);
}

int firn_wal_on_durable(firn_wal *log, uint64_t seq, firn_wal_durable_fn fn, void *ctx,
                        firn_error *error)
{
    int rc = wal_check_handle(log, error);
    if (rc != FIRN_OK)
        return rc;
    if (!fn)
        return error_set(error, FIRN_INVALID, "the function to call is NULL");
    if (seq > firn_wal_last_seq(log))
        return unknown_seq(log, seq, error);
    rc = wal_callback_add(log, seq, fn, ctx);
    return rc == FIRN_OK ? rc : error_no_memory(error);
}
