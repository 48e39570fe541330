/* arena: see arena.h. */
#include "arena.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/search.h>
#include <string.h>

/* What is free is poison to the address sanitizer, and so is what lies behind a piece. */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(ARENA_ASAN)
#include <sanitizer/asan_interface.h>
#define FORBID(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define ALLOW(p, n)  ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define FORBID(p, n) ((void)(p))
#define ALLOW(p, n)  ((void)(p))
#endif

enum { ALIGN = 16, PAGE = 4096 };

/* The sizes: a slab is cut into 4, 5, 6 ... pieces, and from 8 on into an eighth more each time; or
 * a half. */
void arena_init(arena *a, memory_budget *b, size_t slab_bytes, bool fine)
{
    uint32_t steps = fine ? 8 : 2;
    *a = (arena){.budget = b, .slab_bytes = slab_bytes};
    uint32_t usual = (uint32_t)(slab_bytes / ARENA_USUAL);
    for (uint32_t n = 4; slab_bytes / n >= ARENA_PIECE_MIN; n += n < steps ? 1 : n / steps) {
        if (a->size_count && a->pieces[a->size_count - 1] < usual && usual < n)
            a->pieces[a->size_count++] = usual;
        a->pieces[a->size_count++] = n;
    }
    assert(a->size_count <= ARENA_SIZES_MAX);
}

void arena_trim(arena *a)
{
    arena_slab *slab = a->spare;
    if (!slab)
        return;
    a->spare = NULL;
    a->bytes -= a->slab_bytes;
    budget_release(a->budget, BUDGET_BLOCKS, a->slab_bytes);
    ALLOW(slab->base, a->slab_bytes);
    pages_free(slab->base, a->slab_bytes);
    heap_free(slab);
}

void arena_release(arena *a)
{
    arena_trim(a);
    assert(a->bytes == 0);
}

static size_t piece_bytes(const arena *a, uint32_t size)
{
    return a->slab_bytes / a->pieces[size] & ~(size_t)(ALIGN - 1);
}

static bool piece_holds(const void *a, size_t size, void *bytes)
{
    return piece_bytes(a, (uint32_t)size) >= *(const size_t *)bytes;
}

/* The smallest size that holds `bytes`; they are not more than a fourth of a slab. */
static uint32_t size_of(const arena *a, size_t bytes)
{
    return (uint32_t)search_first(a, 1, a->size_count, &bytes, piece_holds) - 1;
}

size_t arena_bytes_of(const arena *a, size_t size, bool *pages)
{
    *pages = size > a->slab_bytes / a->pieces[0];
    return *pages ? (size + PAGE - 1) & ~(size_t)(PAGE - 1) : piece_bytes(a, size_of(a, size));
}

bool arena_size_of(const arena *a, size_t size, uint32_t *index)
{
    *index = size_of(a, size);
    return size <= a->slab_bytes / a->pieces[0];
}

bool arena_has(const arena *a, size_t size)
{
    return size <= a->slab_bytes / a->pieces[0] && (a->spare || a->open[size_of(a, size)]);
}

size_t arena_growth(const arena *a, size_t size)
{
    bool pages;
    size_t bytes = arena_bytes_of(a, size, &pages);
    if (pages)
        return bytes;
    return arena_has(a, size) ? 0 : a->slab_bytes;
}

static void open_push(arena *a, arena_slab *slab)
{
    arena_slab **first = &a->open[slab->size];
    slab->prev = NULL;
    slab->next = *first;
    if (*first)
        (*first)->prev = slab;
    *first = slab;
}

static void open_remove(arena *a, arena_slab *slab)
{
    if (slab->prev)
        slab->prev->next = slab->next;
    else
        a->open[slab->size] = slab->next;
    if (slab->next)
        slab->next->prev = slab->prev;
}

/* A slab cut into pieces of this size: the spare one, or a new one. */
static arena_slab *slab_begin(arena *a, uint32_t size)
{
    arena_slab *slab = a->spare;
    a->spare = NULL;
    if (!slab) {
        slab = heap_alloc(sizeof *slab);
        void *base = slab ? pages_alloc(a->slab_bytes) : NULL;
        if (!base) {
            heap_free(slab);
            return NULL;
        }
        slab->base = base;
        FORBID(base, a->slab_bytes);
        a->bytes += a->slab_bytes;
        budget_charge(a->budget, BUDGET_BLOCKS, a->slab_bytes);
    }
    slab->size = size;
    slab->count = a->pieces[size];
    slab->used = 0;
    memset(slab->taken, 0, sizeof slab->taken);
    open_push(a, slab);
    return slab;
}

static bool take_pages(arena *a, size_t size, size_t bytes, arena_piece *out)
{
    void *p = pages_alloc(bytes);
    if (!p)
        return false;
    a->bytes += bytes;
    budget_charge(a->budget, BUDGET_BLOCKS, bytes);
    FORBID((uint8_t *)p + size, bytes - size);
    *out = (arena_piece){p, NULL, bytes};
    return true;
}

bool arena_take(arena *a, size_t size, arena_piece *out)
{
    bool pages;
    size_t bytes = arena_bytes_of(a, size, &pages);
    if (pages)
        return take_pages(a, size, bytes, out);
    uint32_t index = size_of(a, size);
    arena_slab *slab = a->open[index] ? a->open[index] : slab_begin(a, index);
    if (!slab)
        return false;
    uint32_t word = 0;
    while (slab->taken[word] == UINT64_MAX)
        word++;
    uint32_t i = word * 64 + (uint32_t)__builtin_ctzll(~slab->taken[word]);
    slab->taken[word] |= UINT64_C(1) << (i % 64);
    if (++slab->used == slab->count)
        open_remove(a, slab);
    *out = (arena_piece){slab->base + (size_t)i * bytes, slab, bytes};
    ALLOW(out->data, size);
    return true;
}

void arena_give(arena *a, arena_piece piece)
{
    arena_slab *slab = piece.slab;
    if (!slab) {
        a->bytes -= piece.bytes;
        budget_release(a->budget, BUDGET_BLOCKS, piece.bytes);
        ALLOW(piece.data, piece.bytes);
        pages_free(piece.data, piece.bytes);
        return;
    }
    size_t i = (size_t)((uint8_t *)piece.data - slab->base) / piece.bytes;
    assert(slab->taken[i / 64] >> (i % 64) & 1);
    FORBID(piece.data, piece.bytes);
    slab->taken[i / 64] &= ~(UINT64_C(1) << (i % 64));
    if (slab->used-- == slab->count)
        open_push(a, slab);
    if (slab->used != 0)
        return;
    open_remove(a, slab);
    arena_trim(a); /* A2: the one that was touched last stays */
    a->spare = slab;
}

void *arena_next_used(const arena *a, const arena_slab *slab, uint32_t *at)
{
    while (*at < slab->count) {
        uint32_t i = (*at)++;
        if (slab->taken[i / 64] >> (i % 64) & 1)
            return slab->base + (size_t)i * piece_bytes(a, slab->size);
    }
    return NULL;
}
