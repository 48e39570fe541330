/* by_name: see by_name.h. */
#include <base/alloc.h>
#include <base/grow.h>
#include <base/slice.h>
#include <string.h>

#include <store/by_name.h>

static firn_slice name_of(const bucket_name *n)
{
    return slice_of(n->bytes, n->size);
}

void bucket_name_set(bucket_name *n, firn_slice name)
{
    n->size = (uint8_t)name.size;
    memset(n->bytes, 0, sizeof n->bytes);
    memcpy(n->bytes, name.data, name.size);
}

bool bucket_name_fits(firn_slice name)
{
    return name.size > 0 && name.size <= TREE_NAME_MAX && !memchr(name.data, 0, name.size);
}

size_t by_name_from(const by_name *l, firn_slice name)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(name_of(l->at[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bucket_name *by_name_find(const by_name *l, firn_slice name)
{
    size_t at = by_name_from(l, name);
    return at < l->count && slice_equal(name_of(l->at[at]), name) ? l->at[at] : NULL;
}

int by_name_add(by_name *l, bucket_name *n)
{
    int rc = array_grow(&l->at, &l->capacity, l->count, sizeof(bucket_name *), NULL);
    if (rc != FIRN_OK)
        return rc;
    size_t at = by_name_from(l, name_of(n));
    memmove(l->at + at + 1, l->at + at, (l->count - at) * sizeof(bucket_name *));
    l->at[at] = n;
    l->count++;
    return FIRN_OK;
}

void by_name_remove(by_name *l, const bucket_name *n)
{
    size_t at = by_name_from(l, name_of(n));
    if (at == l->count || l->at[at] != n)
        return;
    memmove(l->at + at, l->at + at + 1, (l->count - at - 1) * sizeof(bucket_name *));
    l->count--;
}

void by_name_release(by_name *l)
{
    heap_free(l->at);
    *l = (by_name){0};
}
