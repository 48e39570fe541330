/* fence: membarrier (include/base/fence.h). */
#include <base/fence.h>

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

atomic_bool fence_by_kernel;
_Atomic uint32_t fence_word;

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

static void decide(void)
{
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
        atomic_store_explicit(&fence_by_kernel, true, memory_order_relaxed);
}

void fence_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* no two threads may think differently */
    (void)pthread_once(&once, decide);
}

bool fence_heavy(void)
{
    atomic_fetch_add_explicit(&fence_word, 0, memory_order_seq_cst);
    return !atomic_load_explicit(&fence_by_kernel, memory_order_relaxed) ||
           membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}
