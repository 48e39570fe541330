/* fragments: see fragments.h. */
#include <tree/fragments.h>

#include <base/alloc.h>
#include <base/grow.h>
#include <base/search.h>

static bool ends_before(const void *list, size_t at, void *key)
{
    return slice_compare(((const fragment *)list)[at].end, *(const firn_slice *)key) <= 0;
}

uint64_t fragments_find(const fragments *f, firn_slice key, uint64_t seq_max)
{
    size_t i = search_first(f->list, 0, f->count, &key, ends_before);
    for (; i < f->count && slice_compare(f->list[i].first, key) <= 0; i++)
        if (f->list[i].seq <= seq_max)
            return f->list[i].seq;
    return 0;
}

int erasures_add(erasures *e, fragments f)
{
    if (f.count == 0)
        return FIRN_OK;
    int rc = array_grow(&e->of, &e->capacity, e->count, sizeof f, NULL);
    if (rc == FIRN_OK)
        e->of[e->count++] = f;
    return rc;
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
