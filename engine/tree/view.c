/* view: see view.h. */
#include <tree/view.h>

#include <assert.h>
#include <base/alloc.h>
#include <base/entry.h>

/* Readers come to a part by the list, or by its bucket. */
static int begin_part(mem *m, mem_part *p, uint8_t bucket, firn_slice prefix)
{
    memtable_options o = {.log_base = wal_segment_base(m->segment),
                          .log_bytes = wal_segment_bytes(m->segment),
                          .seq_base = m->seq_first,
                          .prefix = prefix,
                          .pool = m->env->pool};
    int rc = memtable_new(&o, &p->table);
    if (rc != FIRN_OK)
        return rc;
    p->mem = m;
    p->bucket = bucket;
    p->next = mem_first_part(m);
    atomic_store_explicit(&m->parts, p, memory_order_release);
    return FIRN_OK;
}

int mem_new(const mem_env *env, wal_segment *segment, uint64_t seq_first, firn_slice prefix,
            mem **out)
{
    mem *m = heap_zalloc(sizeof *m);
    if (!m)
        return FIRN_NO_MEMORY;
    atomic_init(&m->refs, 1);
    m->env = env;
    m->segment = segment;
    m->seq_first = seq_first;
    atomic_init(&m->seq_last, FIRN_MAX_SEQ);
    int rc = begin_part(m, &m->main, 0, prefix);
    if (rc != FIRN_OK) {
        heap_free(m);
        return rc;
    }
    wal_segment_hold(segment);
    budget_adjust(env->budget, BUDGET_INDEX, &m->index_bytes, mem_index_bytes(m));
    *out = m;
    return FIRN_OK;
}

int mem_add_part(mem *m, uint8_t bucket, firn_slice prefix)
{
    assert(!mem_part_of(m, bucket));
    mem_part *p = heap_zalloc(sizeof *p);
    if (!p)
        return FIRN_NO_MEMORY;
    int rc = begin_part(m, p, bucket, prefix);
    if (rc != FIRN_OK) {
        heap_free(p);
        return rc;
    }
    atomic_store_explicit(&m->others[bucket], p, memory_order_release);
    budget_adjust(m->env->budget, BUDGET_INDEX, &m->index_bytes, mem_index_bytes(m));
    return FIRN_OK;
}

size_t mem_entries(const mem *m)
{
    size_t count = 0;
    for (const mem_part *p = mem_first_part(m); p; p = p->next)
        count += memtable_entries(p->table);
    return count;
}

size_t mem_index_bytes(const mem *m)
{
    size_t bytes = 0;
    for (const mem_part *p = mem_first_part(m); p; p = p->next)
        bytes += (p->bucket ? sizeof *p : 0) + memtable_memory(p->table);
    return bytes;
}

int mem_reserve(mem *m, uint8_t bucket, size_t entries)
{
    mem_part *p = mem_part_of(m, bucket);
    int rc = memtable_reserve(p->table, entries);
    if (rc == FIRN_OK)
        m->room[bucket] = entries;
    return rc;
}

void mem_ref(mem *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

static void mem_end(dead *d)
{
    mem *m = (mem *)(void *)((char *)d - offsetof(mem, grave));
    budget_adjust(m->env->budget, BUDGET_INDEX, &m->index_bytes, 0);
    budget_release(m->env->budget, BUDGET_LOG, m->log_bytes);
    for (mem_part *next, *p = mem_first_part(m); p; p = next) {
        next = p->next;
        memtable_free(p->table);
        if (p != &m->main)
            heap_free(p);
    }
    wal_segment_drop(m->segment);
    heap_free(m);
}

void mem_unref(mem *m)
{
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        cleaner_give_soon(m->env->cleaner, &m->grave, mem_end);
}

void mem_apply(mem *m, const wal_applied *frame)
{
    assert(frame->segment == m->segment);
    const uint8_t *base = wal_segment_base(m->segment);
    /* Should another process change the lengths meanwhile, what is indexed still lies in the frame.
     */
    uint64_t offset = frame->offset, end = offset + frame->bytes;
    for (uint32_t i = 0; i < frame->count && offset + ENTRY_HEADER_BYTES <= end; i++) {
        const uint8_t *p = base + offset;
        uint8_t bucket = (uint8_t)once_u32(p[1]);
        mem_part *part = bucket < ENTRY_BUCKETS ? mem_part_of(m, bucket) : NULL;
        /* Without room, the bucket is gone, or another process has changed its number. */
        if (part && m->room[bucket] > 0) {
            m->room[bucket]--;
            memtable_add(part->table, (uint32_t)offset, frame->seq_first + i);
        }
        offset += entry_size(get_u16(p + 2), get_u32(p + 4));
    }
    m->log_end = offset;
}

void mem_charge(mem *m)
{
    uint64_t index_bytes = mem_index_bytes(m);
    budget_grow_log(m->env->budget, &m->log_bytes, m->log_end);
    if (index_bytes != m->index_bytes)
        budget_adjust(m->env->budget, BUDGET_INDEX, &m->index_bytes, index_bytes);
}

view *view_room(size_t frozen_room)
{
    view *w = heap_zalloc(sizeof *w + frozen_room * sizeof *w->frozen);
    if (w)
        w->frozen_room = frozen_room;
    return w;
}

void view_room_free(view *w)
{
    assert(!w || !w->version);
    heap_free(w);
}

void view_fill(view *w, version *v, mem *active, mem *const *frozen, size_t frozen_count)
{
    assert(frozen_count <= w->frozen_room);
    atomic_init(&w->refs, 1);
    w->version = v;
    w->bucket = v->bucket;
    version_ref(v);
    w->active = active;
    if (active)
        mem_ref(active);
    w->frozen_count = frozen_count;
    for (size_t i = 0; i < frozen_count; i++) {
        w->frozen[i] = frozen[i];
        mem_ref(frozen[i]);
    }
}

int view_new(version *v, mem *active, mem *const *frozen, size_t frozen_count, view **out)
{
    view *w = view_room(frozen_count);
    if (!w)
        return FIRN_NO_MEMORY;
    view_fill(w, v, active, frozen, frozen_count);
    *out = w;
    return FIRN_OK;
}

void view_ref(view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

static void view_end(dead *d)
{
    view *v = (view *)(void *)((char *)d - offsetof(view, grave));
    mem_unref(v->active);
    for (size_t i = 0; i < v->frozen_count; i++)
        mem_unref(v->frozen[i]);
    version_unref(v->version);
    heap_free(v);
}

/* A version may be the last one to list many tables. */
void view_unref(view *v)
{
    if (v && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1)
        cleaner_give(v->active ? v->active->env->cleaner : NULL, &v->grave, view_end);
}
