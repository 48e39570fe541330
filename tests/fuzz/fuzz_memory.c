/* fuzz_memory: see fuzz_memory.h. Any thread may allocate; the limit belongs to the target. */
#include "fuzz_memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

void *__real_heap_alloc(size_t size);
void *__real_heap_zalloc(size_t size);
void *__real_heap_realloc(void *p, size_t size);
void *__real_heap_aligned(size_t alignment, size_t size);
void __real_heap_free(void *p);
char *__real_heap_strdup(const char *s);
void *__real_pages_alloc(size_t size);
void __real_pages_free(void *p, size_t size);

void *__wrap_heap_alloc(size_t size);
void *__wrap_heap_zalloc(size_t size);
void *__wrap_heap_realloc(void *p, size_t size);
void *__wrap_heap_aligned(size_t alignment, size_t size);
void __wrap_heap_free(void *p);
char *__wrap_heap_strdup(const char *s);
void *__wrap_pages_alloc(size_t size);
void __wrap_pages_free(void *p, size_t size);

/* Relaxed: sums, that order nothing. */
static atomic_size_t held, peak;
static size_t start;
static size_t limit = SIZE_MAX;

/* Before the allocation: a size from a file must not even be asked for. */
static void ask(size_t size)
{
    size_t now = atomic_load_explicit(&held, memory_order_relaxed) - start;
    if (size <= limit && now <= limit - size)
        return;
    fprintf(stderr, "an allocation of %zu bytes, when %zu are held, exceeds the limit of %zu\n",
            size, now, limit);
    abort();
}

static void *took(void *p, size_t size)
{
    if (!p)
        return p;
    size_t now = atomic_fetch_add_explicit(&held, size, memory_order_relaxed) + size;
    size_t most = atomic_load_explicit(&peak, memory_order_relaxed);
    while (now > most && !atomic_compare_exchange_weak_explicit(
                             &peak, &most, now, memory_order_relaxed, memory_order_relaxed))
        ;
    return p;
}

static void gave(size_t size)
{
    atomic_fetch_sub_explicit(&held, size, memory_order_relaxed);
}

void *__wrap_heap_alloc(size_t size)
{
    ask(size);
    void *p = __real_heap_alloc(size);
    return took(p, malloc_usable_size(p));
}

void *__wrap_heap_zalloc(size_t size)
{
    ask(size);
    void *p = __real_heap_zalloc(size);
    return took(p, malloc_usable_size(p));
}

void *__wrap_heap_realloc(void *p, size_t size)
{
    size_t before = malloc_usable_size(p);
    ask(size);
    void *q = __real_heap_realloc(p, size);
    if (q)
        gave(before);
    return took(q, malloc_usable_size(q));
}

void *__wrap_heap_aligned(size_t alignment, size_t size)
{
    ask(size);
    void *p = __real_heap_aligned(alignment, size);
    return took(p, malloc_usable_size(p));
}

void __wrap_heap_free(void *p)
{
    gave(malloc_usable_size(p));
    __real_heap_free(p);
}

char *__wrap_heap_strdup(const char *s)
{
    char *p = __real_heap_strdup(s);
    return took(p, malloc_usable_size(p));
}

void *__wrap_pages_alloc(size_t size)
{
    ask(size);
    return took(__real_pages_alloc(size), size);
}

void __wrap_pages_free(void *p, size_t size)
{
    if (p)
        gave(size);
    __real_pages_free(p, size);
}

void fuzz_memory_limit(size_t bytes)
{
    start = atomic_load_explicit(&held, memory_order_relaxed);
    atomic_store_explicit(&peak, start, memory_order_relaxed);
    limit = bytes;
}

void fuzz_memory_more(size_t bytes)
{
    limit += bytes;
}

void fuzz_memory_less(size_t bytes)
{
    limit -= bytes;
}

size_t fuzz_memory_peak(void)
{
    return atomic_load_explicit(&peak, memory_order_relaxed) - start;
}

void fuzz_memory_all_back(void)
{
    FUZZ_CHECK(atomic_load_explicit(&held, memory_order_relaxed) == start);
    limit = SIZE_MAX;
}
