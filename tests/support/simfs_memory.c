/* simfs_memory: the simulator's own memory. Regions are address ranges that a file keeps for life,
 * so that mappings can point into them; small ones are kept for the next file system, because crash
 * tests build and drop thousands of them a second.
 *
 * The pool has its own mutex, which is a leaf: nothing is called while it is held.
 */
#include "simfs_inside.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define FENCED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FENCED 1
#endif
#endif
#ifdef FENCED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, size)   ((void)(data), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(data, size) ((void)(data), (void)(size))
#endif

#define FENCE_BYTES      ((size_t)64 << 10)
#define REGION_BYTES     ((size_t)1 << 20) /* address space, not memory: pages come when touched */
#define POOL_REGIONS     128
#define POOL_TOUCHED_MAX ((size_t)256 << 10) /* to clear more costs more than to map anew */
#define CHUNK_BYTES      ((size_t)64 << 10)

struct sim_chunk {
    struct sim_chunk *next;
    max_align_t data[];
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *pool[POOL_REGIONS];
static unsigned pool_count;

void sim_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("simfs: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        sim_die("out of memory (%zu bytes)", size);
    return p;
}

void *sim_grow(void *p, size_t bytes)
{
    void *q = realloc(p, bytes);
    if (!q)
        sim_die("out of memory (%zu bytes)", bytes);
    return q;
}

uint8_t *sim_region_take(size_t size, size_t *room)
{
    uint8_t *data = NULL;
    if (size <= REGION_BYTES) {
        pthread_mutex_lock(&pool_lock);
        if (pool_count > 0)
            data = pool[--pool_count];
        pthread_mutex_unlock(&pool_lock);
    }
    size_t bytes = size <= REGION_BYTES ? REGION_BYTES : (size + 4095) / 4096 * 4096;
    if (!data) {
        data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data == MAP_FAILED)
            sim_die("no address space for a file of %zu bytes", size);
    }
    *room = bytes;
    return data;
}

void sim_region_give(uint8_t *data, size_t room, size_t touched)
{
    if (!data)
        return;
    ASAN_UNPOISON_MEMORY_REGION(data, room);
    if (room == REGION_BYTES && touched <= POOL_TOUCHED_MAX) {
        memset(data, 0, touched);
        pthread_mutex_lock(&pool_lock);
        if (pool_count < POOL_REGIONS) {
            pool[pool_count++] = data;
            data = NULL;
        }
        pthread_mutex_unlock(&pool_lock);
    }
    if (data)
        munmap(data, room);
}

bool sim_region_extend(uint8_t *data, size_t *room, size_t size)
{
    size_t bytes = (size + 4095) / 4096 * 4096;
    if (mremap(data, *room, bytes, 0) == MAP_FAILED)
        return false;
    *room = bytes;
    return true;
}

void sim_region_fence(uint8_t *data, size_t room, uint64_t size)
{
    size_t end = (size_t)(size + 4095) / 4096 * 4096;
    if (!data || end > room)
        return;
    ASAN_UNPOISON_MEMORY_REGION(data, end);
    ASAN_POISON_MEMORY_REGION(data + end, room - end < FENCE_BYTES ? room - end : FENCE_BYTES);
}

void *sim_arena_take(sim_arena *a, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (!a->chunk || a->left < size) {
        size_t bytes = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        struct sim_chunk *chunk = sim_grow(NULL, sizeof *chunk + bytes);
        chunk->next = a->chunk;
        a->chunk = chunk;
        a->left = bytes;
    }
    /* Chunks are filled from the end, so that `left` alone says where the free part is. */
    a->left -= size;
    return (uint8_t *)a->chunk->data + a->left;
}

void sim_arena_release(sim_arena *a)
{
    while (a->chunk) {
        struct sim_chunk *next = a->chunk->next;
        free(a->chunk);
        a->chunk = next;
    }
    a->left = 0;
}
