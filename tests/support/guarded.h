/* guarded: memory whose last byte lies right before a page that may not be touched, so that reading
 * or writing one byte too far kills the test, with or without a sanitizer. */
#ifndef SUPPORT_GUARDED_H
#define SUPPORT_GUARDED_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct guarded {
    uint8_t *data; /* `size` bytes, zeroed; not aligned */
    size_t size;
    uint8_t *map;
    size_t map_size;
} guarded;

static inline guarded guarded_new(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (size + page - 1) / page * page;
    guarded g = {.size = size, .map_size = room + 2 * page};
    void *map = mmap(NULL, g.map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        abort();
    g.map = (uint8_t *)map;
    if (room > 0 && mprotect(g.map + page, room, PROT_READ | PROT_WRITE) != 0)
        abort();
    g.data = g.map + page + room - size;
    return g;
}

static inline void guarded_release(guarded *g)
{
    munmap(g->map, g->map_size);
    *g = (guarded){0};
}

#endif
