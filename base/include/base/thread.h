/* thread: mutexes, condition variables, threads and wakeups, with clang's thread-safety
 * annotations.
 *
 * Misuse (unlocking what is not held, ...) is our mistake and aborts. cond_wait_ms measures with
 * the monotonic clock. Lock order is written in engine/README.md.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define THREAD_ATTR(x) __attribute__((x))
#else
#define THREAD_ATTR(x)
#endif

/* ---- Mutexes and what they guard ----
 *
 *     struct queue {
 *         MUTEX(queue_mu);
 *         size_t count GUARDED_BY(queue_mu);
 *     };
 *     static void take_locked(queue *q) REQUIRES(q->queue_mu);
 *
 * clang then refuses code that touches `count`, or calls take_locked, without
 * mutex_lock(&q->queue_mu).
 *
 * How it works. In C, the attribute of a field cannot name another field of the same object. So
 * MUTEX gives the mutex a type of its own, its *kind*, and the field names the kind. A call that
 * locks a mutex acquires two capabilities: the mutex, and one that stands for all mutexes of its
 * kind. The second is written as a mutex at a fixed address (its_guard). No mutex is there: clang
 * only compares the expression, and nothing reads the address.
 *
 * Limits. clang cannot tell two objects of one kind apart: a field of one object counts as guarded
 * while the other object's mutex is held. And it refuses a function that holds two mutexes of one
 * kind. It sees only accesses by name: not those through the address of a field. */

typedef struct THREAD_ATTR(capability("mutex")) mutex {
    pthread_mutex_t m;
} mutex;

/* A mutex, as a member or a variable. No two headers that one file includes use the same name. */
#define MUTEX(name) MUTEX_KIND(name) name
/* The same in two steps, where one mutex guards fields of several structs: MUTEX_KIND(name); before
 * them all, then MUTEX_MEMBER(name); in the struct that has the mutex. */
/* clang-format off */
#define MUTEX_KIND(name) struct name##_kind { mutex lock; }
#define MUTEX_MEMBER(name) struct name##_kind name
#define MUTEX_INITIALIZER {{PTHREAD_MUTEX_INITIALIZER}}
/* clang-format on */

enum { its_guard = 64 };
#define LOCK_OF_KIND(kind) (((kind *)its_guard)->lock)
#define ITS_KIND(m)        LOCK_OF_KIND(__typeof__(m))

#define GUARDED_BY(name) THREAD_ATTR(guarded_by(LOCK_OF_KIND(struct name##_kind)))
#define REQUIRES(m)      THREAD_ATTR(requires_capability((m).lock, ITS_KIND(m)))
/* For a function that cannot name the mutex: the caller holds one of this name. */
#define REQUIRES_ANY(name) THREAD_ATTR(requires_capability(LOCK_OF_KIND(struct name##_kind)))
#define ACQUIRES(m)        THREAD_ATTR(acquire_capability((m).lock, ITS_KIND(m)))
#define RELEASES(m)        THREAD_ATTR(release_capability((m).lock, ITS_KIND(m)))
#define NO_THREAD_ANALYSIS THREAD_ATTR(no_thread_safety_analysis)

/* `m` is the address of a mutex. */
#define mutex_init(m)    mutex_init_any(&(m)->lock)
#define mutex_release(m) mutex_release_any(&(m)->lock)
#define mutex_lock(m)    mutex_lock_kind(&(m)->lock, &ITS_KIND(*(m)))
#define mutex_unlock(m)  mutex_unlock_kind(&(m)->lock, &ITS_KIND(*(m)))
/* False: it is held, by another thread or this one. */
#define mutex_try(m) mutex_try_kind(&(m)->lock, &ITS_KIND(*(m)))
/* Does nothing. Tells clang that this thread needs no lock from here to the end of the function: no
 * other thread knows the object yet, or none does any more. */
#define mutex_not_shared(m) mutex_not_shared_kind(&(m)->lock, &ITS_KIND(*(m)))

typedef struct cond {
    pthread_cond_t c;
} cond;

void cond_init(cond *c);
void cond_release(cond *c);
/* The caller holds the mutex at `m`. */
#define cond_wait(c, m) cond_wait_kind(c, &(m)->lock, &ITS_KIND(*(m)))
/* Waits at most `ms` milliseconds; false when the time was up. */
#define cond_wait_ms(c, m, ms) cond_wait_ms_kind(c, &(m)->lock, &ITS_KIND(*(m)), ms)
void cond_signal(cond *c);
void cond_broadcast(cond *c);

/* ---- Threads and wakeups ---- */

typedef struct thread {
    pthread_t t;
    bool running;
} thread;

/* Starts a thread with all signals blocked, except those that a fault raises in the thread itself
 * (SIGSEGV, SIGBUS, ...). Returns 0 or an errno. `name` of at most 15 bytes. */
int thread_start(thread *t, const char *name, void (*run)(void *), void *arg);
void thread_join(thread *t); /* does nothing when it never started */

/* A wakeup: many threads sleep on it, each under some bits, and one call wakes all that sleep under
 * given ones. No wakeup is missed: a sleeper calls wakeup_look first, then looks for a reason to
 * stay awake, then sleeps; the thread that gives a reason calls wakeup_wake afterwards.
 * wakeup_sleep may return early: a call for a common bit wakes all its sleepers. All zero: a
 * wakeup. */
typedef struct wakeup {
    _Atomic uint32_t count; /* of wakeup_wake */
} wakeup;
#define WAKEUP_ALL UINT32_MAX

uint32_t wakeup_look(const wakeup *b);
/* `us` 0: without a limit; else at most so many microseconds of real time, and some more by which
 * the kernel groups its timers. */
void wakeup_sleep(wakeup *b, uint32_t looked, uint32_t bits, uint32_t us);
void wakeup_wake(wakeup *b, uint32_t bits);

/* A hint to the processor inside a short spin. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The calling thread gives way to others of the process, and of the machine, where there are more
 * than CPUs; for good. */
void thread_give_way(void);
/* For work in the background that goes on for long: lets a thread run that waits for this CPU, and
 * goes on behind it. Without it, such a thread waits for the end of a time slice, which is some
 * milliseconds. Half a microsecond when none waits. */
void thread_yield(void);
/* So many milliseconds of real time, or a little more; nothing ends it early. */
void thread_sleep_ms(uint32_t ms);
/* How many CPUs this process may use now; at least 1. */
unsigned thread_cpus(void);

/* A number that changes in the child of a fork: handles compare it with the one they were opened
 * with and refuse use after fork. One relaxed load. */
uint32_t fork_generation(void);

/* ---- What the macros call; `kind` is only for clang ---- */

void mutex_init_any(mutex *m);
void mutex_release_any(mutex *m);
void mutex_lock_any(mutex *m);
void mutex_unlock_any(mutex *m);
bool mutex_try_any(mutex *m);
void cond_wait_any(cond *c, mutex *m);
bool cond_wait_ms_any(cond *c, mutex *m, uint64_t ms);

static inline NO_THREAD_ANALYSIS void mutex_lock_kind(mutex *m, const mutex *kind)
    THREAD_ATTR(acquire_capability(*m, *kind))
{
    (void)kind;
    mutex_lock_any(m);
}

static inline NO_THREAD_ANALYSIS void mutex_unlock_kind(mutex *m, const mutex *kind)
    THREAD_ATTR(release_capability(*m, *kind))
{
    (void)kind;
    mutex_unlock_any(m);
}

static inline NO_THREAD_ANALYSIS bool mutex_try_kind(mutex *m, const mutex *kind)
    THREAD_ATTR(try_acquire_capability(true, *m, *kind))
{
    (void)kind;
    return mutex_try_any(m);
}

static inline NO_THREAD_ANALYSIS void mutex_not_shared_kind(const mutex *m, const mutex *kind)
    THREAD_ATTR(assert_capability(*m, *kind))
{
    (void)m;
    (void)kind;
}

static inline void cond_wait_kind(cond *c, mutex *m, const mutex *kind)
    THREAD_ATTR(requires_capability(*m, *kind))
{
    (void)kind;
    cond_wait_any(c, m);
}

static inline bool cond_wait_ms_kind(cond *c, mutex *m, const mutex *kind, uint64_t ms)
    THREAD_ATTR(requires_capability(*m, *kind))
{
    (void)kind;
    return cond_wait_ms_any(c, m, ms);
}

#endif
