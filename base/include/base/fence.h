/* fence: a pair of fences for two threads that each store something, and then look for what the
 * other one has stored: at least one of them finds it. Of an ordinary pair both pay; here the one
 * that comes often pays nothing, and the other one has the kernel run a barrier on all CPUs on
 * which the process runs (membarrier, Linux 4.14), which takes some microseconds.
 *
 *   often:    store A;  fence_light();  load B
 *   seldom:   store B;  if (fence_heavy())  load A
 *
 * Where the kernel refuses, both are an addition of nothing to one word: the later one sees what
 * was stored in front of the earlier one. After liburcu's and folly's asymmetric fences.
 */
#ifndef BASE_FENCE_H
#define BASE_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* True: fence_light is no instruction, since fence_heavy has the kernel run a barrier. Set by
 * fence_prepare. */
extern atomic_bool fence_by_kernel;
extern _Atomic uint32_t fence_word;

/* Before the first fence of this process, and again at will. Any thread. */
void fence_prepare(void);

static inline void fence_light(void)
{
    if (__builtin_expect(atomic_load_explicit(&fence_by_kernel, memory_order_relaxed), 1))
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_fetch_add_explicit(&fence_word, 0, memory_order_seq_cst);
}

/* False: the kernel has refused, and nothing is known of what light fences have ordered. */
bool fence_heavy(void);

#endif
