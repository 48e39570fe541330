/* alloc: every heap allocation of firn goes through here, so that tests can fail the n-th one.
 *
 * alloc_fail_at(n) makes the n-th allocation from now on fail, once, and starts counting at 0;
 * alloc_fail_at(UINT64_MAX) counts and fails none; alloc_fail_at(0) stops both. alloc_count() is
 * the number of allocations since counting was started, and stays when it is stopped;
 * alloc_failed_bytes() is what the one that was made to fail had asked for. All are for tests;
 * in production an allocation pays one relaxed load of a word that nothing writes.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *heap_alloc(size_t size);  /* uninitialised */
void *heap_zalloc(size_t size); /* zeroed */
void *heap_realloc(void *p, size_t size);
void *heap_aligned(size_t alignment, size_t size); /* power of two; freed by heap_free */
void heap_free(void *p);
char *heap_strdup(const char *s);

/* Address space for large, long-lived blocks (arenas, caches, private log buffers): anonymous
 * memory, zeroed, on a cache line, with huge pages advised when size >= 2 MiB. What is freed goes
 * back to the system at once, but for the small ones (64 KiB and less), which are the heap's. */
void *pages_alloc(size_t size);
void pages_free(void *p, size_t size);
/* All of a block that pages_alloc gave is zero again. The system has the pages of a larger one
 * until they are touched. */
void pages_clear(void *p, size_t size);
/* bytes of such blocks in the process now, in whole pages: what charges are compared with */
uint64_t pages_in_use(void);

/* What this thread's newest allocation that failed had asked for, told once: for the error that
 * describes it. 0: there was none. */
size_t heap_refused(void);

/* What can give memory back when the system has none left (also: `ulimit -v`). An allocation that
 * fails asks all of them, and is tried once more. `give` is called by any thread, in the middle of
 * an allocation, whatever locks it holds: so it only tries locks (mutex_try), and allocates
 * nothing. */
typedef struct heap_relief {
    void (*give)(void *ctx);
    void *ctx;
    struct heap_relief *next; /* alloc.c changes it under its lock */
} heap_relief;
void heap_relief_add(heap_relief *r);
void heap_relief_remove(heap_relief *r);
/* Asks them. False: there are none. For system calls that fail for want of memory. */
bool heap_relieve(void);

void alloc_fail_at(uint64_t n);
uint64_t alloc_count(void);
size_t alloc_failed_bytes(void);

#endif
