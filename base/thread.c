/* thread: pthreads and a futex (include/base/thread.h).
 *
 * The wrappers add three things: a failing lock call is our mistake and aborts, so that no caller
 * has to check; every timed wait uses the monotonic clock, so that setting the date neither hangs
 * nor hurries it; and a thread of ours never runs the application's signal handlers.
 */
#include <base/alloc.h>
#include <base/thread.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BACKGROUND_NICE 10 /* a ninth of the share of a thread with priority 0 */

/* A lock call that fails leaves no state worth going on with. */
static void must(int result, const char *call)
{
    if (result == 0)
        return;
    fprintf(stderr, "firn: %s: %s\n", call, strerror(result));
    abort();
}

void mutex_init_any(mutex *m)
{
    must(pthread_mutex_init(&m->m, NULL), "pthread_mutex_init");
}

void mutex_release_any(mutex *m)
{
    must(pthread_mutex_destroy(&m->m), "pthread_mutex_destroy");
}

void mutex_lock_any(mutex *m)
{
    must(pthread_mutex_lock(&m->m), "pthread_mutex_lock");
}

bool mutex_try_any(mutex *m)
{
    int result = pthread_mutex_trylock(&m->m);
    if (result == EBUSY)
        return false;
    must(result, "pthread_mutex_trylock");
    return true;
}

void mutex_unlock_any(mutex *m)
{
    must(pthread_mutex_unlock(&m->m), "pthread_mutex_unlock");
}

void cond_init(cond *c)
{
    pthread_condattr_t attr;
    must(pthread_condattr_init(&attr), "pthread_condattr_init");
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "pthread_condattr_setclock");
    must(pthread_cond_init(&c->c, &attr), "pthread_cond_init");
    must(pthread_condattr_destroy(&attr), "pthread_condattr_destroy");
}

void cond_release(cond *c)
{
    must(pthread_cond_destroy(&c->c), "pthread_cond_destroy");
}

void cond_wait_any(cond *c, mutex *m)
{
    must(pthread_cond_wait(&c->c, &m->m), "pthread_cond_wait");
}

bool cond_wait_ms_any(cond *c, mutex *m, uint64_t ms)
{
    /* Ten years are for ever, and cannot overflow a time_t. */
    const uint64_t longest_ms = UINT64_C(10) * 365 * 86400 * 1000;
    if (ms > longest_ms)
        ms = longest_ms;
    struct timespec deadline;
    must(clock_gettime(CLOCK_MONOTONIC, &deadline) == 0 ? 0 : errno, "clock_gettime");
    deadline.tv_sec += (time_t)(ms / 1000);
    deadline.tv_nsec += (long)(ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_nsec -= 1000000000;
        deadline.tv_sec++;
    }
    int result = pthread_cond_timedwait(&c->c, &m->m, &deadline);
    if (result == ETIMEDOUT)
        return false;
    must(result, "pthread_cond_timedwait");
    return true;
}

void cond_signal(cond *c)
{
    must(pthread_cond_signal(&c->c), "pthread_cond_signal");
}

void cond_broadcast(cond *c)
{
    must(pthread_cond_broadcast(&c->c), "pthread_cond_broadcast");
}

/* ---- Threads ---- */

typedef struct start_info {
    void (*run)(void *);
    void *arg;
    char name[16];
} start_info;

static void *start(void *p)
{
    start_info info = *(start_info *)p;
    heap_free(p);
    /* The name is for debuggers; a thread without one works as well. */
    (void)pthread_setname_np(pthread_self(), info.name);
    info.run(info.arg);
    return NULL;
}

int thread_start(thread *t, const char *name, void (*run)(void *), void *arg)
{
    t->running = false;
    start_info *info = heap_zalloc(sizeof *info);
    if (!info)
        return ENOMEM;
    info->run = run;
    info->arg = arg;
    snprintf(info->name, sizeof info->name, "%s", name);

    /* The mask is inherited: block in the parent around the creation, so that not even the first
     * instruction of the child can take the application's signals. A fault raised by the thread
     * itself stays open: blocked, it would kill the process past every handler that could explain
     * it. */
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own_faults / sizeof own_faults[0]; i++)
        sigdelset(&all, own_faults[i]);
    must(pthread_sigmask(SIG_BLOCK, &all, &before), "pthread_sigmask");
    int result = pthread_create(&t->t, NULL, start, info);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL), "pthread_sigmask");
    if (result != 0) {
        heap_free(info);
        return result;
    }
    t->running = true;
    return 0;
}

void thread_join(thread *t)
{
    if (!t->running)
        return;
    must(pthread_join(t->t, NULL), "pthread_join");
    t->running = false;
}

/* ---- Wakeups ---- */

uint32_t wakeup_look(const wakeup *b)
{
    return atomic_load_explicit(&b->count, memory_order_acquire);
}

void wakeup_sleep(wakeup *b, uint32_t looked, uint32_t bits, uint32_t us)
{
    struct timespec limit;
    if (us > 0) {
        clock_gettime(CLOCK_MONOTONIC, &limit); /* cannot fail */
        uint64_t ns = (uint64_t)limit.tv_nsec + (uint64_t)us * 1000;
        limit.tv_sec += (time_t)(ns / 1000000000);
        limit.tv_nsec = (long)(ns % 1000000000);
    }
    long result = syscall(SYS_futex, &b->count, FUTEX_WAIT_BITSET_PRIVATE, looked,
                          us > 0 ? &limit : NULL, NULL, bits);
    if (result != 0 && errno != EAGAIN && errno != EINTR && !(us > 0 && errno == ETIMEDOUT))
        must(errno, "futex wait");
}

void wakeup_wake(wakeup *b, uint32_t bits)
{
    /* A thread that has looked but does not sleep yet sees another count, and looks again. */
    atomic_fetch_add_explicit(&b->count, 1, memory_order_acq_rel);
    if (syscall(SYS_futex, &b->count, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits) < 0)
        must(errno, "futex wake");
}

/* ---- Fork ---- */

/* Written only in a child that has no other thread yet, hence relaxed. */
static _Atomic uint32_t generation = 1;

static void in_child(void)
{
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
}

/* When the program starts, so that asking costs a load and no "registered yet?". */
__attribute__((constructor)) static void watch_forks(void)
{
    must(pthread_atfork(NULL, NULL, in_child), "pthread_atfork");
}

uint32_t fork_generation(void)
{
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

/* On Linux each thread has a priority of its own. One that is refused stays as it is. */
void thread_give_way(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), BACKGROUND_NICE);
}

void thread_yield(void)
{
    (void)sched_yield();
}

void thread_sleep_ms(uint32_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    int result;
    while ((result = clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left)) == EINTR) {
    }
    must(result, "clock_nanosleep");
}

unsigned thread_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    /* It fails where there are more than a cpu_set_t has room for. */
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 2;
    int count = CPU_COUNT(&set);
    return count > 1 ? (unsigned)count : 1;
}
