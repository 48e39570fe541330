/* patience: no wait of a call is mute. A wait that lasts longer than a second says in the store's
 * log what it waits for, and again when it is over. A store's `waits` count its callers' waits by
 * cause, and know those that last now (firn_stats).
 *
 *     patience p = {0};
 *     while (!done) {
 *         patience_begin(&p, waits, FIRN_WAIT_COMPACTION);   // the first time
 *         patience_wait(&p, &changed, &mu, "until the job has ended");
 *     }
 *     patience_end(&p);                                      // without `mu`
 *
 * A thread of the store's own says what it waits for, too, but is neither counted nor known: what
 * it holds up is.
 *
 * Thread-safe; a patience belongs to one thread. waits_mu is a leaf: nothing is called under it.
 * The log is called by patience_tell and patience_end, and by patience_wait without its `m`.
 */
#ifndef BASE_PATIENCE_H
#define BASE_PATIENCE_H

#include <base/fs.h>
#include <base/thread.h>

#define PATIENCE_MUTE_US UINT64_C(1000000)

MUTEX_KIND(waits_mu);

typedef struct wait_list wait_list;

/* One wait. All zero: it has not begun. */
typedef struct patience {
    wait_list *of; /* NULL: it has not begun */
    firn_wait cause;
    uint64_t started_us;
    uint64_t lasted_us; /* once it is over */
    bool told, over;
    struct patience *next GUARDED_BY(waits_mu), *prev GUARDED_BY(waits_mu);
} patience;

struct wait_list {
    fs *fs; /* whose clock */
    firn_log_fn log;
    void *log_ctx;
    MUTEX_MEMBER(waits_mu);
    patience *first GUARDED_BY(waits_mu); /* of all that last now */
    firn_waited done[FIRN_WAITS_MAX] GUARDED_BY(waits_mu);
};

/* `log` NULL: nothing is said. */
void wait_list_init(wait_list *w, fs *clock, firn_log_fn log, void *log_ctx);
void wait_list_release(wait_list *w);

/* What wait_list_look finds. */
typedef struct wait_list_now {
    firn_waited done[FIRN_WAITS_MAX]; /* by firn_wait: those that are over */
    uint32_t waiting;                 /* that last now; in the log, for a second and more */
    firn_wait longest;                /* the cause of the one that began first */
    uint64_t longest_us;              /* how long it has lasted */
} wait_list_now;
void wait_list_look(wait_list *w, wait_list_now *out);

/* This thread is the store's own. To be called first in each such thread. */
void patience_own_thread(void);

/* Does nothing for a wait that has begun already, but for its cause, which is the newest one; nor
 * with `w` NULL: then the wait is mute. */
void patience_begin(patience *p, wait_list *w, firn_wait cause);
/* A wait that began so long ago, and was not worth a word before. */
void patience_begun(patience *p, wait_list *w, firn_wait cause, uint64_t us_ago);
/* Is it time to say what is waited for? It is once. Then patience_tell is to be called. */
bool patience_due(const patience *p);
/* "<who> waits `what`", for the log: `what` begins with "for" or "until". */
void patience_tell(patience *p, const char *what);
/* Waits once for `c`, whose mutex at `m` the caller holds, or says what it waits for; then the
 * caller is to look again. */
#define patience_wait(p, c, m, what) patience_wait_kind(p, c, &(m)->lock, &ITS_KIND(*(m)), what)
/* The same in two steps, for a caller that has to find words. False: it has not waited, but is to
 * say what it waits for, without the mutex. */
#define patience_sleep(p, c, m) patience_sleep_kind(p, c, &(m)->lock, &ITS_KIND(*(m)))
/* Locks the mutex at `m`. A wait for it is `p`, and is over with that: nothing wakes it before, so
 * the log hears of it from patience_end, which is to be called behind the unlocking. */
#define patience_lock(p, list, cause, m)                                                           \
    do {                                                                                           \
        if (!mutex_try(m)) {                                                                       \
            patience_begin(p, list, cause);                                                        \
            mutex_lock(m);                                                                         \
            patience_over(p);                                                                      \
        }                                                                                          \
    } while (0)
void patience_end_begun(patience *p);
/* The wait is over, if it had begun: it is counted. */
void patience_over(patience *p);
/* Likewise. Where it was long, the log is told: also when what was waited for could not be waited
 * for with a limit (a lock). */
static inline void patience_end(patience *p)
{
    if (p->of)
        patience_end_begun(p);
}

/* ---- What the macros call; `kind` is only for clang ---- */

bool patience_sleep_any(patience *p, cond *c, mutex *m);
void patience_wait_any(patience *p, cond *c, mutex *m, const char *what);

static inline bool patience_sleep_kind(patience *p, cond *c, mutex *m, const mutex *kind)
    THREAD_ATTR(requires_capability(*m, *kind))
{
    (void)kind;
    return patience_sleep_any(p, c, m);
}

static inline void patience_wait_kind(patience *p, cond *c, mutex *m, const mutex *kind,
                                      const char *what) THREAD_ATTR(requires_capability(*m, *kind))
{
    (void)kind;
    patience_wait_any(p, c, m, what);
}

#endif
