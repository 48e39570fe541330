/* log: the log handle, shared by the files of this floor and by no others.
 *
 * Which thread may touch what
 *   the leader   the thread whose request is at the head of the queue (commit.c). There is at
 *                most one. It owns `current`, the segment's fields below "----", and every field
 *                under "Leader".
 *   log_mu       guards the list of live segments, the syncer and its waiters, callbacks, and
 *                the helper's sleep. Held for moments, never during I/O.
 *   making       held while a segment is made or taken into use, so that a number is made once.
 *                I/O happens under it, but only the leader and the helper take it.
 *   truncating   held by one truncation at a time.
 *
 * Lock order: truncating, making, log_mu, recycler_mu. The queue's leadership comes before making.
 *
 * Positions. `last_seq` is the newest number given out. `tick` counts groups of frames, so that
 * frames without a number (MARK, FLOOR) can be waited for too. The leader stores, in this order:
 * the bytes, the segment's visible_end, last_seq, tick; each with release. A thread that reads tick
 * (acquire) and then last_seq knows that all of it has been handed to the kernel (or stored in a
 * mapping), so a sync that starts now covers it. Between its last two stores the newest number is
 * seen and its tick is not: a caller that asks for a sync of all it has seen compares both.
 */
#ifndef WRITING_LOG_H
#define WRITING_LOG_H

#include <base/buf.h>
#include <base/fs.h>
#include <base/thread.h>
#include <segments/recycler.h>
#include <stdatomic.h>
#include <wal/group.h>

#define WAL_CACHE_LINE      64
#define WAL_GROUP_BYTES_MAX (UINT64_C(1) << 20)
#define WAL_GROUP_MAX       256

/* ---- Requests (<wal/group.h>) ---- */

typedef enum wal_request_type {
    WAL_REQUEST_DATA,       /* a frame of entries */
    WAL_REQUEST_CHECKPOINT, /* argument: number covered, UINT64_MAX: everything before the frame */
    WAL_REQUEST_FLOOR,      /* argument: the floor */
    WAL_REQUEST_MARK,
    WAL_REQUEST_NOTE, /* no frame: a NOTE behind the newest one */
    WAL_REQUEST_SKIP, /* argument: numbers to skip */
    WAL_REQUEST_ROTATE,
    WAL_REQUEST_SEAL, /* the seal of a clean close */
} wal_request_type;

/* The states of a request. SLEEPING tells the thread that changes it that the owner sleeps. LEAD,
 * GATHER and SYNC tell the thread what to do next. */
enum { WAL_WAITING, WAL_SLEEPING, WAL_GATHER, WAL_LEAD, WAL_SYNC, WAL_DONE };

/* ---- Callbacks ---- */

/* One that is registered is guarded by log_mu. The thread that calls it has taken it off the list
 * of the decided ones, and is its owner. */
typedef struct wal_callback wal_callback;
struct wal_callback {
    /* in the list of the decided ones; in the heap, beside it below the same one */
    wal_callback *next;
    wal_callback *child; /* in the heap, the first of those below it */
    uint64_t seq, order; /* what is registered first is called first, of one number */
    firn_wal_durable_fn fn;
    void *ctx;
    int status;
};

/* ---- The log ---- */

struct firn_wal {
    /* Fixed after open. */
    wal_config config;
    fs *fs;
    fs_dir *dir;
    fs_dir *own_dir;    /* == dir when firn_wal_open opened it, else NULL */
    fs_file *lock_file; /* NULL unless firn_wal_open took it */
    bool mapped;
    bool read_only;
    bool has_helper; /* set before and cleared after the helper runs */
    /* bytes that the helper keeps ready; woken when fewer than half are left */
    uint64_t populate_ahead;
    uint32_t generation; /* of fork */
    uint64_t life;
    uint8_t store_id[16];
    wal_recycler *recycler;

    /* Writers. */
    _Alignas(WAL_CACHE_LINE) _Atomic(wal_request *) newest; /* NULL: there is no leader */
    wakeup wakeup;                                          /* on which all requests sleep */
    _Atomic uint32_t sleepers; /* how often a request went to sleep: gives out the bits */

    /* Leader. */
    _Alignas(WAL_CACHE_LINE) wal_segment *current;
    wal_link link;  /* what the LINK that is due will say */
    bool link_due;  /* the current segment wants a LINK before its next frame */
    bool can_store; /* pages can be made ready, so stores into the mapping are sound */
    bool fresh;     /* nothing was appended in this life, and the log was closed clean before */
    uint64_t floor_appended; /* newest FLOOR in the log, synced or not */
    uint8_t *scratch;        /* where a group that is written at once is put together */
    size_t scratch_bytes;
    bool in_step;  /* of the leader's, which is timed */
    wal_slow slow; /* its slowest step */
    /* number of the segment for which the helper was asked for a successor */
    uint64_t asked_ready_for;

    /* Written by the leader, read by all. */
    _Alignas(WAL_CACHE_LINE) _Atomic uint64_t last_seq;
    _Atomic uint64_t tick;
    _Atomic uint64_t proven_seq;                  /* durable line of the newest frame */
    _Atomic uint64_t noted_durable, noted_intent; /* what the newest NOTE says; 0: there is none */
    _Atomic uint64_t appended_bytes, appended_batches, appended_entries, groups;
    _Atomic bool storing;            /* groups are stored into the mapping: populating ahead pays */
    _Atomic bool batch_dirty;        /* a timed sync is due */
    _Atomic uint64_t batch_since_us; /* since when; only without a helper */

    /* Written by the syncer or the truncating thread, read by all. */
    _Alignas(WAL_CACHE_LINE) _Atomic uint64_t durable_seq;
    _Atomic uint64_t floor_seq;
    _Atomic uint64_t sync_intent; /* what the newest round was to cover when it started */
    _Atomic uint64_t syncs;
    _Atomic uint64_t synced_batches, synced_bytes; /* appended_... when the newest sync started */
    _Atomic int poisoned; /* 0, or the status of what went wrong; set once, after `poison` */

    _Alignas(WAL_CACHE_LINE) MUTEX_MEMBER(log_mu);
    firn_error poison GUARDED_BY(log_mu);
    /* ascending numbers; a reference each; the last one is current */
    wal_segment **live GUARDED_BY(log_mu);
    size_t live_count GUARDED_BY(log_mu), live_capacity GUARDED_BY(log_mu);
    /* the next one, made ahead; `making` is needed to change it */
    wal_segment *ready GUARDED_BY(log_mu);
    bool syncing GUARDED_BY(log_mu); /* a thread syncs, or was told to */
    /* waits for others to come before it syncs; not while `syncing` */
    wal_request *gatherer GUARDED_BY(log_mu);
    uint64_t durable_tick GUARDED_BY(log_mu);
    /* how many waited at the end of the newest round, covered or not */
    unsigned sync_waiters GUARDED_BY(log_mu);
    uint64_t sync_us GUARDED_BY(log_mu); /* how long it took */
    wal_request *waiters GUARDED_BY(log_mu), *waiters_last GUARDED_BY(log_mu);
    _Atomic unsigned waiter_count; /* length of `waiters`; changes under log_mu */
    unsigned timed_waiters GUARDED_BY(log_mu);
    cond durable_cond;                           /* timed waiters */
    wal_callback *callbacks GUARDED_BY(log_mu);  /* a heap: not decided yet */
    uint64_t callbacks_given GUARDED_BY(log_mu); /* how many were registered */
    uint64_t callback_steps GUARDED_BY(log_mu);  /* comparisons of two: what tests bound */
    wal_callback *fired GUARDED_BY(log_mu),
        *fired_last GUARDED_BY(log_mu);  /* decided, not yet called */
    bool log_closing GUARDED_BY(log_mu); /* what is not durable now will not be */

    MUTEX(making);
    bool reserved GUARDED_BY(making); /* the reserve is there */
    MUTEX(truncating);

    /* Helper (helper.c). */
    thread helper;
    cond helper_cond;
    bool helper_stop GUARDED_BY(log_mu);
    _Atomic bool helper_woken; /* there may be work */
    _Atomic bool helper_timed; /* the helper will look again by itself */
    /* a threshold of the batch mode was crossed, or a timed waiter is there */
    _Atomic bool sync_wanted;
};

/* ---- handle.c ---- */

/* Every public call starts here: FIRN_INVALID after a fork. */
int wal_check_handle(const wal *w, firn_error *err);
/* The same for calls that write: also FIRN_READ_ONLY. */
int wal_check_writable(const wal *w, firn_error *err);
void wal_log(const wal *w, firn_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Warns that a step for which writers wait has taken more than a second, if it has. */
void wal_log_slow(const wal *w, const wal_slow *slow);
/* Stops all writing for good; the first cause is kept. */
void wal_poison(wal *w, const firn_error *cause);
/* What a call gets that comes after the poisoning. */
int wal_poisoned_error(wal *w, firn_error *err);
/* Is the folder still ours alone? If not, the log is poisoned, and FIRN_IO says why
 * (wal_config.lock). */
int wal_check_held(wal *w, firn_error *err);
/* ---- open.c ---- */

/* Opens and locks the folder `path` of a file system, and the log in it. */
int wal_open_path(fs *f, const char *path, const wal_config *config, firn_wal_report *report,
                  wal **out, firn_error *err);

/* ---- options.c ---- */

/* Takes the options of a program, whose struct may be an earlier version's; what it has not, keeps
 * its default. */
int wal_options_take(const firn_wal_options *given, firn_wal_options *out, firn_error *err);
/* Checks what was given and completes it: *out has every field. May be the same struct. */
int wal_options_check(const firn_wal_options *given, firn_wal_options *out, firn_error *err);

/* ---- commit.c ---- */

/* Queues `r`, waits until it has been carried out (and synced, if it wants that), returns its
 * status. */
int wal_submit(wal *w, wal_request *r);
/* The same for a request that wants no sync, when there is no leader. False: there is one, and
 * nothing has happened. Waits for no other thread. */
bool wal_submit_if_idle(wal *w, wal_request *r);

/* ---- sync.c ---- */

/* Puts the chain (linked by `next`, ending in NULL; ticks filled in) before the syncer, and makes
 * sure that one thread syncs. `own` (or NULL) is the caller's: it is not woken, but its next state
 * is returned: WAITING (for the syncer), GATHER, SYNC, or DONE. Without `own`, WAITING. */
uint32_t wal_sync_enlist(wal *w, wal_request *first, wal_request *own);
/* Waits for the request to be carried out, from this state on, and does what its thread is told to
 * do on the way. */
void wal_sync_wait(wal *w, wal_request *r, uint32_t state);
/* Syncs everything appended so far, also frames without numbers. */
int wal_sync_all(wal *w, firn_error *err);
/* A group of the batch mode was appended: starts the timed sync, or syncs when a threshold was
 * crossed. */
void wal_sync_batched(wal *w);
/* For the helper: syncs unless another thread is syncing. */
void wal_sync_background(wal *w);
/* Answers all waiters after the log was poisoned, and takes callbacks along. */
void wal_sync_fail_all(wal *w);

/* ---- callback.c ---- */

/* Registers, and calls at once when the outcome is known. FIRN_NO_MEMORY. */
int wal_callback_add(wal *w, uint64_t seq, firn_wal_durable_fn fn, void *ctx);
/* Has the decided callbacks called, by the helper or at once; _call: at once. */
void wal_callbacks_fire(wal *w);
void wal_callbacks_call(wal *w);
/* Moves callbacks whose outcome is known to the list of those to be called. True when there are
 * any. */
bool wal_callbacks_decide(wal *w) REQUIRES(w->log_mu);

/* ---- ready.c ---- */

/* A segment with this number and at least this size, durable and empty (W3). */
int wal_segment_make(wal *w, uint64_t no, uint64_t bytes, wal_segment **out, firn_error *err)
    REQUIRES(w->making);
/* Makes sure that w->ready has at least `bytes`. */
int wal_ready_ensure(wal *w, uint64_t no, uint64_t bytes, firn_error *err) REQUIRES(w->making);
/* Gives a segment's file back to the system or keeps it for reuse; drops the log's reference.
 * Durable with the next sync of the folder, for callers that need it to be. */
int wal_segment_give_up(wal *w, wal_segment *s, firn_error *err);
/* Removes the ready segment and all spares. */
int wal_ready_release(wal *w, firn_error *err);

/* ---- helper.c ---- */

int wal_helper_start(wal *w, firn_error *err);
void wal_helper_stop(wal *w);
/* There may be work. Cheap when the helper knows already; does nothing without one. */
void wal_helper_wake(wal *w);
void wal_helper_wake_locked(wal *w) REQUIRES(w->log_mu);

/* ---- How requests wait; used by commit.c and sync.c ---- */

/* Changes a request's state. Returns the bits to wake, 0 when its thread is awake. The request
 * may be gone as soon as it is DONE. */
static inline uint32_t wal_request_tell(wal_request *r, uint32_t state)
{
    /* Read first, since the request may be gone behind the exchange. A thread that went to sleep
     * meanwhile may have chosen its bit after we read: then all are woken, and look again. */
    uint32_t bit = atomic_load_explicit(&r->bit, memory_order_relaxed);
    if (atomic_exchange_explicit(&r->state, state, memory_order_acq_rel) != WAL_SLEEPING)
        return 0;
    return bit ? bit : WAKEUP_ALL;
}

static inline void wal_wake(wal *w, uint32_t bits)
{
    if (bits)
        wakeup_wake(&w->wakeup, bits);
}

static inline void wal_request_set(wal *w, wal_request *r, uint32_t state)
{
    wal_wake(w, wal_request_tell(r, state));
}

/* Sleeps once, at most `us` microseconds (0: no limit), unless the state is past SLEEPING or
 * becomes so. Returns the state. */
static inline uint32_t wal_request_sleep(wal *w, wal_request *r, uint32_t us)
{
    uint32_t looked = wakeup_look(&w->wakeup);
    uint32_t bit = atomic_load_explicit(&r->bit, memory_order_relaxed);
    if (!bit) {
        bit =
            UINT32_C(1) << (atomic_fetch_add_explicit(&w->sleepers, 1, memory_order_relaxed) % 32);
        atomic_store_explicit(&r->bit, bit, memory_order_relaxed);
    }
    uint32_t state = WAL_WAITING;
    if (atomic_compare_exchange_strong_explicit(&r->state, &state, WAL_SLEEPING,
                                                memory_order_acq_rel, memory_order_acquire) ||
        state == WAL_SLEEPING)
        wakeup_sleep(&w->wakeup, looked, bit, us);
    return atomic_load_explicit(&r->state, memory_order_acquire);
}

/* Sleeps until the state is neither WAITING nor SLEEPING. */
uint32_t wal_request_wait_long(wal *w, wal_request *r); /* request.c */
static inline uint32_t wal_request_wait(wal *w, wal_request *r)
{
    uint32_t state = atomic_load_explicit(&r->state, memory_order_acquire);
    return state <= WAL_SLEEPING ? wal_request_wait_long(w, r) : state;
}

/* A counter with one writer at a time. */
static inline void wal_count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

#endif
