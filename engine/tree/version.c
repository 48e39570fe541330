/* version: see version.h. */
#include <tree/version.h>

#include <base/alloc.h>
#include <base/error.h>
#include <base/search.h>
#include <base/slice.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tree/names.h>

struct level_array {
    atomic_uint refs;
    size_t count;
    table *tables[];
};

_Atomic uint64_t versions_made;

int level_room(level *l, size_t count)
{
    *l = (level){0};
    if (count == 0)
        return FIRN_OK;
    l->shared = heap_alloc(sizeof *l->shared + count * sizeof *l->shared->tables);
    if (!l->shared)
        return FIRN_NO_MEMORY;
    atomic_init(&l->shared->refs, 1);
    l->shared->count = 0;
    l->tables = l->shared->tables;
    return FIRN_OK;
}

void level_push(level *l, table *t)
{
    table_ref(t);
    l->tables[l->count++] = t;
    l->shared->count = l->count;
    l->bytes += t->properties.file_bytes;
    l->kept += t->kept_count;
    if (t->properties.ranges == 0)
        return;
    l->ranged++;
    if (t->properties.seq_max > l->ranged_seq)
        l->ranged_seq = t->properties.seq_max;
}

void level_share(level *l, const level *from)
{
    *l = *from;
    if (l->shared)
        atomic_fetch_add_explicit(&l->shared->refs, 1, memory_order_relaxed);
}

static void level_unref(level_array *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < a->count; i++)
        table_unref(a->tables[i]);
    heap_free(a);
}

int version_new_empty(version **out)
{
    version *v = heap_zalloc(sizeof *v);
    if (!v)
        return FIRN_NO_MEMORY;
    atomic_init(&v->refs, 1);
    atomic_fetch_add_explicit(&versions_made, 1, memory_order_relaxed);
    *out = v;
    return FIRN_OK;
}

void version_ref(version *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

void version_unref(version *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        level_unref(v->levels[n].shared);
    heap_free(v);
}

uint64_t version_tables(const version *v)
{
    uint64_t count = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        count += v->levels[n].count;
    return count;
}

int version_numbers(const version *v, buf *out)
{
    buf_clear(out);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++) {
            int rc = buf_append(out, &v->levels[n].tables[i]->no, sizeof(uint64_t));
            if (rc != FIRN_OK)
                return rc;
        }
    if (out->size)
        qsort(out->data, out->size / sizeof(uint64_t), sizeof(uint64_t), order_u64);
    return FIRN_OK;
}

firn_slice version_common_prefix(const version *v)
{
    firn_slice prefix = {0};
    bool any = false;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++) {
            const sst_properties *p = &v->levels[n].tables[i]->properties;
            if (!any)
                prefix = p->key_min;
            any = true;
            prefix.size = slice_common(prefix, p->key_min);
            prefix.size = slice_common(prefix, p->key_max);
        }
    return prefix;
}

/* ---- finding ---- */

void level_overlap(const level *l, firn_slice from, firn_slice to, size_t *first, size_t *end)
{
    *first = from.data ? level_find(l, from) : 0;
    *end = to.data ? level_find(l, to) : l->count;
    if (*end < l->count && slice_compare(l->tables[*end]->properties.key_min, to) <= 0)
        ++*end;
    if (*end < *first) /* the bounds are in the wrong order */
        *end = *first;
}
