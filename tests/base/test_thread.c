/* Locks, waits, threads, forks. */
#include "check.h"

#include <base/alloc.h>
#include <base/thread.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Longer than any machine stalls: reached only when a wake-up is lost, and then the test fails. */
#define FOREVER_MS 300000

typedef struct shared {
    MUTEX(m);
    cond c;
    unsigned counter GUARDED_BY(m);
    unsigned turn GUARDED_BY(m);
    bool timed_out GUARDED_BY(m);
} shared;

static void shared_init(shared *s)
{
    memset(s, 0, sizeof *s);
    mutex_init(&s->m);
    cond_init(&s->c);
}

static void shared_release(shared *s)
{
    cond_release(&s->c);
    mutex_release(&s->m);
}

static void count_up(void *arg)
{
    shared *s = arg;
    for (int i = 0; i < 20000; i++) {
        mutex_lock(&s->m);
        s->counter++;
        mutex_unlock(&s->m);
    }
}

static void AMutexLetsOneThreadInAtATime(void **state)
{
    (void)state;
    shared s;
    shared_init(&s);
    thread threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(thread_start(&threads[i], "count", count_up, &s), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        thread_join(&threads[i]);
    mutex_lock(&s.m);
    unsigned counter = s.counter;
    mutex_unlock(&s.m);
    assert_int_equal(counter, 80000);
    shared_release(&s);
}

/* Takes the odd turns; the test takes the even ones. */
static void take_odd_turns(void *arg)
{
    shared *s = arg;
    mutex_lock(&s->m);
    for (unsigned turn = 1; turn < 2000; turn += 2) {
        while (s->turn != turn && !s->timed_out)
            s->timed_out = !cond_wait_ms(&s->c, &s->m, FOREVER_MS);
        s->turn = turn + 1;
        cond_signal(&s->c);
    }
    mutex_unlock(&s->m);
}

static void ASignalWakesTheWaiter(void **state)
{
    (void)state;
    shared s;
    shared_init(&s);
    thread other;
    assert_int_equal(thread_start(&other, "odd", take_odd_turns, &s), 0);
    mutex_lock(&s.m);
    for (unsigned turn = 0; turn < 2000; turn += 2) {
        while (s.turn != turn)
            cond_wait(&s.c, &s.m);
        s.turn = turn + 1;
        cond_signal(&s.c);
    }
    mutex_unlock(&s.m);
    thread_join(&other);
    mutex_lock(&s.m);
    bool timed_out = s.timed_out;
    unsigned turn = s.turn;
    mutex_unlock(&s.m);
    assert_false(timed_out);
    assert_int_equal(turn, 2000);
    shared_release(&s);
}

static void wait_for_the_start(void *arg)
{
    shared *s = arg;
    mutex_lock(&s->m);
    s->counter++;
    cond_broadcast(&s->c);
    while (s->turn == 0)
        cond_wait(&s->c, &s->m);
    s->counter--;
    mutex_unlock(&s->m);
}

static void ABroadcastWakesEveryWaiter(void **state)
{
    (void)state;
    shared s;
    shared_init(&s);
    thread threads[5];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(thread_start(&threads[i], "wait", wait_for_the_start, &s), 0);
    mutex_lock(&s.m);
    while (s.counter != COUNT_OF(threads))
        cond_wait(&s.c, &s.m);
    s.turn = 1;
    cond_broadcast(&s.c);
    mutex_unlock(&s.m);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        thread_join(&threads[i]);
    mutex_lock(&s.m);
    unsigned left = s.counter;
    mutex_unlock(&s.m);
    assert_int_equal(left, 0);
    shared_release(&s);
}

static void AWaitWithoutASignalTimesOut(void **state)
{
    (void)state;
    shared s;
    shared_init(&s);
    mutex_lock(&s.m);
    static const uint64_t waits_ms[] = {0, 1, 3};
    for (size_t i = 0; i < COUNT_OF(waits_ms); i++) {
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        while (cond_wait_ms(&s.c, &s.m, waits_ms[i]))
            clock_gettime(CLOCK_MONOTONIC, &before); /* woken for no reason: allowed, so again */
        clock_gettime(CLOCK_MONOTONIC, &after);
        /* Not how long at most, which is the machine's affair, but never too early. */
        int64_t waited_ns =
            (after.tv_sec - before.tv_sec) * INT64_C(1000000000) + (after.tv_nsec - before.tv_nsec);
        assert_true(waited_ns >= (int64_t)waits_ms[i] * 1000000);
    }
    mutex_unlock(&s.m);
    shared_release(&s);
}

static void wake_up(void *arg)
{
    shared *s = arg;
    mutex_lock(&s->m);
    s->turn = 1;
    cond_signal(&s->c);
    mutex_unlock(&s->m);
}

/* Nearly a whole second more carries from the nanoseconds into the seconds. */
static void LongDeadlinesAreComputedWithoutOverflow(void **state)
{
    (void)state;
    static const uint64_t waits_ms[] = {UINT64_MAX, UINT64_MAX / 2, FOREVER_MS + 999};
    for (size_t i = 0; i < COUNT_OF(waits_ms); i++) {
        shared s;
        shared_init(&s);
        thread other;
        mutex_lock(&s.m);
        assert_int_equal(thread_start(&other, "wake", wake_up, &s), 0);
        bool in_time = true;
        while (s.turn == 0 && in_time)
            in_time = cond_wait_ms(&s.c, &s.m, waits_ms[i]);
        mutex_unlock(&s.m);
        thread_join(&other);
        assert_true(in_time);
        shared_release(&s);
    }
}

/* ---- Threads ---- */

typedef struct observed {
    char name[16];
    sigset_t mask;
} observed;

static void observe(void *arg)
{
    observed *o = arg;
    pthread_getname_np(pthread_self(), o->name, sizeof o->name);
    pthread_sigmask(SIG_BLOCK, NULL, &o->mask);
}

static void AThreadTakesNoSignalsOfTheApplication(void **state)
{
    (void)state;
    sigset_t some, before, after;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2); /* a mask of its own, which has to come back */
    pthread_sigmask(SIG_SETMASK, &some, &before);
    observed o = {0};
    thread t;
    assert_int_equal(thread_start(&t, "a name that is too long", observe, &o), 0);
    thread_join(&t);
    static const int blocked[] = {SIGINT,  SIGTERM, SIGHUP,  SIGUSR1, SIGUSR2,
                                  SIGCHLD, SIGALRM, SIGPIPE, SIGQUIT, SIGPROF};
    for (size_t i = 0; i < COUNT_OF(blocked); i++)
        assert_int_equal(sigismember(&o.mask, blocked[i]), 1);
    static const int open[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < COUNT_OF(open); i++)
        assert_int_equal(sigismember(&o.mask, open[i]), 0);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    for (int number = 1; number < 32; number++)
        assert_int_equal(sigismember(&after, number), number == SIGUSR2);
    assert_string_equal(o.name, "a name that is ");
}

static void JoiningAThreadThatNeverStartedDoesNothing(void **state)
{
    (void)state;
    thread t = {0};
    thread_join(&t);
    alloc_fail_at(1);
    int result = thread_start(&t, "x", observe, NULL);
    alloc_fail_at(0);
    assert_int_equal(result, ENOMEM);
    assert_false(t.running);
    thread_join(&t);

    observed o = {0};
    assert_int_equal(thread_start(&t, "x", observe, &o), 0);
    assert_true(t.running);
    thread_join(&t);
    assert_false(t.running);
    thread_join(&t);
}

/* ---- Wakeups ---- */

typedef struct handshake {
    wakeup wakeup;
    _Atomic uint32_t ping;
    _Atomic uint32_t pong;
} handshake;

static void wait_for(handshake *h, _Atomic uint32_t *number, uint32_t wanted, uint32_t bits)
{
    for (;;) {
        uint32_t looked = wakeup_look(&h->wakeup);
        if (atomic_load(number) >= wanted)
            return;
        wakeup_sleep(&h->wakeup, looked, bits, 0);
    }
}

static void answer(void *arg)
{
    handshake *h = arg;
    for (uint32_t i = 1; i <= 2000; i++) {
        wait_for(h, &h->ping, i, 1);
        atomic_store(&h->pong, i);
        wakeup_wake(&h->wakeup, 2);
    }
}

static void NoWakeupIsMissed(void **state)
{
    (void)state;
    handshake h = {0};
    thread t;
    assert_int_equal(thread_start(&t, "answer", answer, &h), 0);
    for (uint32_t i = 1; i <= 2000; i++) {
        atomic_store(&h.ping, i);
        wakeup_wake(&h.wakeup, 1);
        wait_for(&h, &h.pong, i, 2);
        cpu_relax();
    }
    thread_join(&t);
}

#define SLEEPERS 8

typedef struct sleepers {
    handshake h;
    _Atomic uint32_t up;
} sleepers;

static void sleep_once(void *arg)
{
    sleepers *d = arg;
    wait_for(&d->h, &d->h.ping, 1, 4);
    atomic_fetch_add(&d->up, 1);
}

static void OneCallWakesAllThatSleepUnderTheBit(void **state)
{
    (void)state;
    sleepers d = {0};
    thread t[SLEEPERS];
    for (int i = 0; i < SLEEPERS; i++)
        assert_int_equal(thread_start(&t[i], "sleeper", sleep_once, &d), 0);
    atomic_store(&d.h.ping, 1);
    wakeup_wake(&d.h.wakeup, 4);
    for (int i = 0; i < SLEEPERS; i++)
        thread_join(&t[i]);
    assert_int_equal(atomic_load(&d.up), SLEEPERS);
}

static void AThreadDoesNotSleepAfterAWakeupSinceTheLook(void **state)
{
    (void)state;
    wakeup b = {0};
    uint32_t looked = wakeup_look(&b);
    wakeup_wake(&b, WAKEUP_ALL);
    wakeup_sleep(&b, looked, 1, 0);           /* would hang */
    wakeup_sleep(&b, wakeup_look(&b), 1, 50); /* ends by itself */
}

/* ---- Forks and mistakes ---- */

/* The status of a child that runs `body` and exits with what it returns. */
static int in_child(int (*body)(void *), void *arg)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body(arg));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int generation_changed(void *arg)
{
    return fork_generation() != *(uint32_t *)arg ? 0 : 1;
}

static int grandchild_differs_from_both(void *arg)
{
    uint32_t mine = fork_generation();
    if (mine == *(uint32_t *)arg)
        return 1;
    return in_child(generation_changed, &mine) == 0 && in_child(generation_changed, arg) == 0 ? 0
                                                                                              : 2;
}

static void AForkedChildHasAnotherGeneration(void **state)
{
    (void)state;
    uint32_t mine = fork_generation();
    assert_int_equal(in_child(generation_changed, &mine), 0);
    assert_int_equal(in_child(grandchild_differs_from_both, &mine), 0);
    assert_int_equal(fork_generation(), mine);
}

NO_THREAD_ANALYSIS static int release_a_held_mutex(void *arg)
{
    (void)arg;
    close(STDERR_FILENO); /* what it says is expected */
    static MUTEX(held);
    mutex_init(&held);
    mutex_lock(&held);
    mutex_release(&held);
    return 0;
}

static void MisuseOfALockEndsTheProcess(void **state)
{
    (void)state;
    assert_int_not_equal(in_child(release_a_held_mutex, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AMutexLetsOneThreadInAtATime),
        cmocka_unit_test(ASignalWakesTheWaiter),
        cmocka_unit_test(ABroadcastWakesEveryWaiter),
        cmocka_unit_test(AWaitWithoutASignalTimesOut),
        cmocka_unit_test(LongDeadlinesAreComputedWithoutOverflow),
        cmocka_unit_test(AThreadTakesNoSignalsOfTheApplication),
        cmocka_unit_test(JoiningAThreadThatNeverStartedDoesNothing),
        cmocka_unit_test(NoWakeupIsMissed),
        cmocka_unit_test(OneCallWakesAllThatSleepUnderTheBit),
        cmocka_unit_test(AThreadDoesNotSleepAfterAWakeupSinceTheLook),
        cmocka_unit_test(AForkedChildHasAnotherGeneration),
        cmocka_unit_test(MisuseOfALockEndsTheProcess),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
