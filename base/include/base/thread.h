/* thread: mutexes, condition variables, threads and bells, with clang's thread-safety annotations.
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
/* Names the lock of a field, for readers: in C, clang cannot yet resolve a member of the same
 * struct here. */
#define GUARDED_BY(m)
#define REQUIRES(m)        THREAD_ATTR(requires_capability(m))
#define ACQUIRES(m)        THREAD_ATTR(acquire_capability(m))
#define RELEASES(m)        THREAD_ATTR(release_capability(m))
#define NO_THREAD_ANALYSIS THREAD_ATTR(no_thread_safety_analysis)

typedef struct THREAD_ATTR(capability("mutex")) mutex {
    pthread_mutex_t m;
} mutex;
typedef struct cond {
    pthread_cond_t c;
} cond;
typedef struct thread {
    pthread_t t;
    bool running;
} thread;

void mutex_init(mutex *m);
void mutex_release(mutex *m);
void mutex_lock(mutex *m) ACQUIRES(*m);
void mutex_unlock(mutex *m) RELEASES(*m);
/* False: it is held, by another thread or this one. */
bool mutex_try(mutex *m) THREAD_ATTR(try_acquire_capability(true, *m));

void cond_init(cond *c);
void cond_release(cond *c);
void cond_wait(cond *c, mutex *m) REQUIRES(*m);
/* Waits at most `ms` milliseconds; false when the time was up. */
bool cond_wait_ms(cond *c, mutex *m, uint64_t ms) REQUIRES(*m);
void cond_signal(cond *c);
void cond_broadcast(cond *c);

/* Starts a thread with all signals blocked, except those that a fault raises in the thread itself
 * (SIGSEGV, SIGBUS, ...). Returns 0 or an errno. `name` of at most 15 bytes. */
int thread_start(thread *t, const char *name, void (*run)(void *), void *arg);
void thread_join(thread *t); /* does nothing when it never started */

/* A bell: many threads sleep by it, each under some bits, and one call wakes all that sleep under
 * given ones. No thread misses a ring: take bell_look first, then look for a reason to stay awake,
 * then sleep; who gives a reason rings afterwards. bell_sleep may return early; sleepers under a
 * common bit wake each other. All zero: a bell. */
typedef struct bell {
    _Atomic uint32_t rings;
} bell;
#define BELL_ALL UINT32_MAX

uint32_t bell_look(const bell *b);
/* `us` 0: without a limit; else at most so many microseconds of real time, and some more by which
 * the kernel groups its timers. */
void bell_sleep(bell *b, uint32_t looked, uint32_t bits, uint32_t us);
void bell_ring(bell *b, uint32_t bits);

/* A hint to the processor inside a short spin. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* How many CPUs this process may use now; at least 1. */
unsigned thread_cpus(void);

/* A number that changes in the child of a fork: handles compare it with the one they were opened
 * with and refuse use after fork. One relaxed load. */
uint32_t fork_generation(void);

#endif
