/* alloc: every heap allocation of firn goes through here, so that tests can fail the n-th one.
 *
 * alloc_fail_at(n) makes the n-th allocation from now on fail once (0: none); alloc_count() counts them.
 * Both are for tests; the check costs one relaxed load of a word that nothing writes in production.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size);                  /* uninitialised */
void *mem_zalloc(size_t size);                 /* zeroed */
void *mem_realloc(void *p, size_t size);
void *mem_aligned(size_t alignment, size_t size); /* power of two; freed by mem_free */
void mem_free(void *p);
char *mem_strdup(const char *s);

/* Address space for large, long-lived blocks (arenas, caches, private log buffers): anonymous memory,
 * zeroed, with huge pages advised when size >= 2 MiB. */
void *mem_pages(size_t size);
void mem_pages_free(void *p, size_t size);

void alloc_fail_at(uint64_t n);
uint64_t alloc_count(void);

#endif
