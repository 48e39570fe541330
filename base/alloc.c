/* alloc: the heap, with a way to make the n-th allocation fail (include/base/alloc.h).
 *
 * Failure injection is one word, `fail_at`. While it is 0, which in production is always, an
 * allocation loads it and nothing else: it shares its cache line with no word that is written, so
 * the threads of a busy store do not meet here. Once it is set, every allocation is also counted,
 * and the one whose number it holds fails, once.
 */
#include <base/alloc.h>
#include <base/thread.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* Relaxed everywhere: tests set the words before they start what they watch. */
static _Alignas(64) _Atomic uint64_t fail_at;
static _Alignas(64) _Atomic uint64_t counted;
static _Atomic size_t failed_bytes;

static _Alignas(64) _Atomic uint64_t pages_held; /* relaxed: a sum */

/* Written by nothing but a failure. */
static _Thread_local size_t refused;

static bool must_fail(size_t size)
{
    uint64_t n = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (__builtin_expect(n == 0, 1))
        return false;
    if (atomic_fetch_add_explicit(&counted, 1, memory_order_relaxed) + 1 != n)
        return false;
    atomic_store_explicit(&failed_bytes, size, memory_order_relaxed);
    return true;
}

/* The end of every allocation. */
static void *given(void *p, size_t size)
{
    if (__builtin_expect(!p, 0))
        refused = size;
    return p;
}

size_t heap_refused(void)
{
    size_t size = refused;
    refused = 0;
    return size;
}

void alloc_fail_at(uint64_t n)
{
    if (n != 0)
        atomic_store_explicit(&counted, 0, memory_order_relaxed);
    atomic_store_explicit(&fail_at, n, memory_order_relaxed);
}

size_t alloc_failed_bytes(void)
{
    return atomic_load_explicit(&failed_bytes, memory_order_relaxed);
}

uint64_t alloc_count(void)
{
    return atomic_load_explicit(&counted, memory_order_relaxed);
}

/* ---- relief ---- */

static MUTEX(relief_lock) = MUTEX_INITIALIZER;
static heap_relief *reliefs GUARDED_BY(relief_lock);

void heap_relief_add(heap_relief *r)
{
    mutex_lock(&relief_lock);
    r->next = reliefs;
    reliefs = r;
    mutex_unlock(&relief_lock);
}

void heap_relief_remove(heap_relief *r)
{
    mutex_lock(&relief_lock);
    heap_relief **link = &reliefs;
    while (*link && *link != r)
        link = &(*link)->next;
    if (*link)
        *link = r->next;
    mutex_unlock(&relief_lock);
}

/* No thread waits for a lock while it holds this one, so that a caller may hold any other. */
bool heap_relieve(void)
{
    mutex_lock(&relief_lock);
    for (heap_relief *r = reliefs; r; r = r->next)
        r->give(r->ctx);
    bool any = reliefs != NULL;
    mutex_unlock(&relief_lock);
    return any;
}

/* A request for nothing gets a byte, so that NULL always means failure. */
static size_t at_least_one(size_t size)
{
    return size ? size : 1;
}

void *heap_alloc(size_t size)
{
    void *p = NULL;
    if (!must_fail(size)) {
        p = malloc(at_least_one(size));
        if (!p && heap_relieve())
            p = malloc(at_least_one(size));
    }
    return given(p, size);
}

/* calloc of the usual libc passes by the cache of each thread from which malloc serves small sizes;
 * large ones it takes as zeroed pages. */
#define CALLOC_MIN ((size_t)1 << 10)

void *heap_zalloc(size_t size)
{
    void *p = NULL;
    if (size < CALLOC_MIN) {
        p = heap_alloc(size);
        return p ? memset(p, 0, size) : NULL;
    }
    if (!must_fail(size)) {
        p = calloc(1, at_least_one(size));
        if (!p && heap_relieve())
            p = calloc(1, at_least_one(size));
    }
    return given(p, size);
}

void *heap_realloc(void *p, size_t size)
{
    void *grown = NULL;
    if (!must_fail(size)) {
        grown = realloc(p, at_least_one(size));
        if (!grown && heap_relieve())
            grown = realloc(p, at_least_one(size));
    }
    return given(grown, size);
}

static void *from_heap(size_t alignment, size_t size)
{
    void *p = NULL;
    bool got = posix_memalign(&p, alignment, size) == 0 ||
               (heap_relieve() && posix_memalign(&p, alignment, size) == 0);
    return got ? p : NULL;
}

void *heap_aligned(size_t alignment, size_t size)
{
    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    return given(must_fail(size) ? NULL : from_heap(alignment, at_least_one(size)), size);
}

void heap_free(void *p)
{
    free(p);
}

char *heap_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = heap_alloc(size);
    if (copy)
        memcpy(copy, s, size);
    return copy;
}

/* `size` in whole pages; 0 when that does not fit. */
static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = at_least_one(size);
    return size > SIZE_MAX - page ? 0 : (size + page - 1) / page * page;
}

/* What is that small costs more to map, touch and unmap than to clear. */
#define HEAP_BYTES_MOST (64 * 1024)
#define LINE_BYTES      64

static void *small_pages(size_t length)
{
    void *p = from_heap(LINE_BYTES, length);
    if (!p)
        return NULL;
    atomic_fetch_add_explicit(&pages_held, length, memory_order_relaxed);
    return memset(p, 0, length);
}

static void *anonymous(size_t length)
{
    return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *map_pages(size_t size)
{
    size_t length = whole_pages(size);
    if (length == 0)
        return NULL;
    if (length <= HEAP_BYTES_MOST)
        return small_pages(length);
    bool huge = length >= HUGE_PAGE_BYTES;
    /* A huge page needs an aligned place. Kernels before 6.7 do not look for one, so ask for more
     * and give the ends back. */
    size_t asked = huge ? length + HUGE_PAGE_BYTES : length;
    if (asked < length)
        return NULL;
    void *p = anonymous(asked);
    if (p == MAP_FAILED && heap_relieve())
        p = anonymous(asked);
    if (p == MAP_FAILED)
        return NULL;
    atomic_fetch_add_explicit(&pages_held, length, memory_order_relaxed);
    if (!huge)
        return p;
    uint8_t *start = p;
    size_t head = (HUGE_PAGE_BYTES - (uintptr_t)start % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    if (head > 0)
        munmap(start, head);
    munmap(start + head + length, HUGE_PAGE_BYTES - head);
    /* Only advice: where huge pages are switched off, small ones do. */
    (void)madvise(start + head, length, MADV_HUGEPAGE);
    return start + head;
}

void *pages_alloc(size_t size)
{
    return given(must_fail(size) ? NULL : map_pages(size), size);
}

void pages_free(void *p, size_t size)
{
    if (!p)
        return;
    size_t length = whole_pages(size);
    if (length <= HEAP_BYTES_MOST)
        free(p);
    else
        munmap(p, length);
    atomic_fetch_sub_explicit(&pages_held, length, memory_order_relaxed);
}

void pages_clear(void *p, size_t size)
{
    size_t length = whole_pages(size);
    if (length <= HEAP_BYTES_MOST || madvise(p, length, MADV_DONTNEED) != 0)
        memset(p, 0, length);
}

uint64_t pages_in_use(void)
{
    return atomic_load_explicit(&pages_held, memory_order_relaxed);
}
