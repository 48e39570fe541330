/* model: what a memtable must contain, as a sorted array of versions, and what each call must
 * answer. */
#ifndef MEMTABLE_MODEL_H
#define MEMTABLE_MODEL_H

#include <base/alloc.h>
#include <base/slice.h>
#include <string.h>

typedef struct model_entry {
    firn_slice key; /* in the log */
    firn_slice value;
    uint64_t seq;
    uint8_t kind;
} model_entry;

typedef struct model {
    model_entry *entries;
    size_t count;
    size_t capacity;
} model;

/* Negative when a is before (key, seq). */
static inline int model_compare(const model_entry *a, firn_slice key, uint64_t seq)
{
    int c = slice_compare(a->key, key);
    return c ? c : (a->seq < seq) - (a->seq > seq);
}

/* The index of the first entry that is not before (key, seq). */
static inline size_t model_find(const model *m, firn_slice key, uint64_t seq)
{
    size_t low = 0;
    size_t high = m->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (model_compare(&m->entries[middle], key, seq) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline bool model_add(model *m, model_entry e)
{
    if (m->count == m->capacity) {
        size_t capacity = m->capacity ? m->capacity * 2 : 64;
        model_entry *grown = heap_realloc(m->entries, capacity * sizeof *grown);
        if (!grown)
            return false;
        m->entries = grown;
        m->capacity = capacity;
    }
    size_t at = model_find(m, e.key, e.seq);
    memmove(m->entries + at + 1, m->entries + at, (m->count - at) * sizeof e);
    m->entries[at] = e;
    m->count++;
    return true;
}

static inline void model_release(model *m)
{
    heap_free(m->entries);
    *m = (model){0};
}

#endif
