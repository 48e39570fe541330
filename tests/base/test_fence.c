/* Of two threads that store and then look, at least one finds what the other has stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/fence.h>
#include <base/thread.h>

enum { ROUNDS = 30000 };

static struct {
    _Alignas(64) _Atomic uint32_t often, seldom;
    _Alignas(64) _Atomic uint32_t round;
    _Alignas(64) _Atomic uint32_t done;
    uint32_t seen_often, seen_seldom; /* what each has seen of the other */
} s;

static void wait_until(_Atomic uint32_t *word, uint32_t is)
{
    for (unsigned spins = 0; atomic_load_explicit(word, memory_order_acquire) != is; spins++)
        if (spins > 1000)
            thread_give_way();
}

static void store_often(void *ctx)
{
    (void)ctx;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        wait_until(&s.round, i);
        atomic_store_explicit(&s.often, i, memory_order_relaxed);
        fence_light();
        s.seen_often = atomic_load_explicit(&s.seldom, memory_order_relaxed);
        atomic_store_explicit(&s.done, i, memory_order_release);
    }
}

static void no_round_is_blind_on_both_sides(void)
{
    thread t = {0};
    unsigned blind = 0;
    s.often = s.seldom = s.round = s.done = 0;
    assert_int_equal(thread_start(&t, "often", store_often, NULL), 0);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        atomic_store_explicit(&s.round, i, memory_order_release);
        for (uint32_t pause = i % 64; pause; pause--)
            cpu_relax();
        atomic_store_explicit(&s.seldom, i, memory_order_relaxed);
        bool heavy = fence_heavy();
        s.seen_seldom = atomic_load_explicit(&s.often, memory_order_relaxed);
        wait_until(&s.done, i);
        blind += !heavy || (s.seen_often != i && s.seen_seldom != i);
    }
    thread_join(&t);
    assert_int_equal(blind, 0);
}

static void with_the_kernel_one_of_two_threads_sees_the_other(void **state)
{
    (void)state;
    fence_prepare();
    no_round_is_blind_on_both_sides();
}

static void without_it_too(void **state)
{
    (void)state;
    bool was = atomic_load(&fence_by_kernel);
    atomic_store(&fence_by_kernel, false);
    no_round_is_blind_on_both_sides();
    atomic_store(&fence_by_kernel, was);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_the_kernel_one_of_two_threads_sees_the_other),
        cmocka_unit_test(without_it_too),
    };
    return cmocka_run_group_tests_name("base.fence", tests, NULL, NULL);
}
