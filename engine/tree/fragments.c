/* fragments: see fragments.h. */
#include <tree/fragments.h>

#include <base/alloc.h>

uint64_t fragments_find(const fragments *f, firn_slice key, uint64_t seq_max)
{
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(f->list[middle].end, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < f->count && slice_compare(f->list[low].first, key) <= 0; low++)
        if (f->list[low].seq <= seq_max)
            return f->list[low].seq;
    return 0;
}

int erasures_add(erasures *e, fragments f)
{
    if (f.count == 0)
        return FIRN_OK;
    if (e->count == e->capacity) {
        size_t wanted = e->capacity ? e->capacity * 2 : 8;
        fragments *grown = heap_realloc(e->of, wanted * sizeof *grown);
        if (!grown)
            return FIRN_NO_MEMORY;
        e->of = grown;
        e->capacity = wanted;
    }
    e->of[e->count++] = f;
    return FIRN_OK;
}

void erasures_release(erasures *e)
{
    heap_free(e->of);
    *e = (erasures){0};
}

uint64_t erasures_search(const erasures *e, firn_slice key, uint64_t seq_max)
{
    uint64_t greatest = 0;
    for (size_t i = 0; i < e->count; i++) {
        uint64_t seq = fragments_find(&e->of[i], key, seq_max);
        if (seq > greatest)
            greatest = seq;
    }
    return greatest;
}
