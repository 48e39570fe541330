/* view: see view.h. */
#include <tree/frame.h>
#include <tree/view.h>

#include <assert.h>
#include <base/alloc.h>
#include <base/entry.h>
#include <string.h>

static size_t part_memory(const mem_part *p)
{
    return memtable_memory(p->table) + range_map_memory(&p->ranges);
}

/* What a part has grown by. */
static void charge_part(mem *m, mem_part *p)
{
    size_t bytes = (p == &m->main ? 0 : sizeof *p) + part_memory(p);
    if (bytes == p->charged)
        return;
    budget_adjust(m->env->budget, BUDGET_INDEX, &m->index_bytes,
                  m->index_bytes - p->charged + bytes);
    p->charged = bytes;
}

/* Readers come to a part by the list, or by its bucket. */
static int begin_part(mem *m, mem_part *p, uint16_t bucket, firn_slice prefix)
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
    mem *m = heap_aligned(_Alignof(mem), sizeof *m);
    if (!m)
        return FIRN_NO_MEMORY;
    memset(m, 0, sizeof *m);
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
    charge_part(m, &m->main);
    *out = m;
    return FIRN_OK;
}

/* The place of a bucket's part, made if need be. NULL: no memory. */
static _Atomic(mem_part *) *place_of(mem *m, unsigned bucket)
{
    _Atomic(mem_near *) *at = &m->others[bucket / MEM_NEAR];
    mem_near *near = atomic_load_explicit(at, memory_order_relaxed);
    if (!near) {
        near = heap_zalloc(sizeof *near);
        if (!near)
            return NULL;
        atomic_store_explicit(at, near, memory_order_release);
        budget_adjust(m->env->budget, BUDGET_INDEX, &m->index_bytes, m->index_bytes + sizeof *near);
    }
    return &near->parts[bucket % MEM_NEAR];
}

int mem_add_part(mem *m, uint16_t bucket, firn_slice prefix)
{
    assert(!mem_part_of(m, bucket));
    _Atomic(mem_part *) *place = place_of(m, bucket);
    mem_part *p = place ? heap_aligned(_Alignof(mem_part), sizeof *p) : NULL;
    if (!p)
        return FIRN_NO_MEMORY;
    memset(p, 0, sizeof *p);
    int rc = begin_part(m, p, bucket, prefix);
    if (rc != FIRN_OK) {
        heap_free(p);
        return rc;
    }
    atomic_store_explicit(place, p, memory_order_release);
    charge_part(m, p);
    return FIRN_OK;
}

size_t mem_entries(const mem *m)
{
    size_t count = 0;
    for (const mem_part *p = mem_first_part(m); p; p = p->next)
        count += memtable_entries(p->table);
    return count;
}

bool mem_has_ranges(const mem *m)
{
    bool any = false;
    for (const mem_part *p = mem_first_part(m); p && !any; p = p->next)
        any = range_map_any(&p->ranges);
    return any;
}

size_t mem_index_bytes(const mem *m)
{
    size_t bytes = 0;
    for (const mem_part *p = mem_first_part(m); p; p = p->next)
        bytes += (p->bucket ? sizeof *p : 0) + part_memory(p);
    for (unsigned i = 0; i < ENTRY_BUCKETS / MEM_NEAR; i++)
        if (atomic_load_explicit(&m->others[i], memory_order_relaxed))
            bytes += sizeof(mem_near);
    return bytes;
}

void mem_reserve_begin(mem *m)
{
    for (mem_part *next, *p = m->reserved; p; p = next) {
        next = p->reserved;
        charge_part(m, p); /* of a frame that was not charged by itself: opening's */
        p->room = p->range_room = 0;
        p->reserved = NULL;
    }
    m->reserved = NULL;
}

void mem_reserve_in(mem *m, mem_part *p, size_t entries, size_t ranges)
{
    if (p->room == 0) {
        p->reserved = m->reserved;
        m->reserved = p;
    }
    p->room += entries;
    p->range_room += ranges;
}

int mem_reserve(mem *m)
{
    int rc = FIRN_OK;
    for (mem_part *p = m->reserved; rc == FIRN_OK && p; p = p->reserved) {
        rc = memtable_reserve(p->table, p->room);
        if (rc == FIRN_OK && p->range_room)
            rc = range_map_reserve(&p->ranges, p->range_room);
    }
    if (rc != FIRN_OK)
        mem_reserve_begin(m); /* nothing can be added where there is no room */
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
        range_map_release(&p->ranges);
        if (p != &m->main)
            heap_free(p);
    }
    for (unsigned i = 0; i < ENTRY_BUCKETS / MEM_NEAR; i++)
        heap_free(atomic_load_explicit(&m->others[i], memory_order_relaxed));
    wal_segment_drop(m->segment);
    heap_free(m);
}

void mem_unref(mem *m)
{
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        cleaner_give_soon(m->env->cleaner, &m->grave, mem_end);
}

/* Entries that were alive in front of the range delete, about. What others cover at one of its ends
 * is not counted again: ranges that grow are frequent. */
static void doom(mem *m, const mem_part *part, firn_slice first, firn_slice end)
{
    cover c;
    range_map_cover(&part->ranges, first, FIRN_MAX_SEQ, &c);
    if (c.seq && c.to.data) {
        first = slice_compare(c.to, end) < 0 ? c.to : end;
    } else if (c.to.data && slice_compare(c.to, end) < 0) {
        firn_slice to = c.to;
        range_map_cover(&part->ranges, to, FIRN_MAX_SEQ, &c);
        if (c.seq && c.to.data && slice_compare(c.to, end) >= 0)
            end = to;
    }
    if (m->doomed < MEM_DOOMED_MOST && slice_compare(first, end) < 0)
        m->doomed += memtable_between(part->table, first, end, MEM_DOOMED_MOST - m->doomed);
}

/* Its bytes were found right when they came into the log; since then another process may have
 * changed them: what reaches out of the frame is left out, and the map takes any bounds. */
static void apply_range(mem *m, mem_part *part, const uint8_t *p, const uint8_t *end, uint64_t seq)
{
    uint64_t first_size = once_u32(get_u16(p + 2)), end_size = once_u32(entry_value_size(p));
    if (part->range_room == 0 || first_size + end_size > (uint64_t)(end - p) - ENTRY_HEADER_BYTES)
        return;
    firn_slice first = {p + ENTRY_HEADER_BYTES, (size_t)first_size};
    firn_slice behind = {first.data + first_size, (size_t)end_size};
    part->range_room--;
    m->ranged = true;
    doom(m, part, first, behind);
    if (m->doomed >= MEM_DOOMED_MOST)
        atomic_store_explicit(&m->soon, true, memory_order_relaxed);
    range_map_add(&part->ranges, first, behind, seq);
}

void mem_publish_ranges(mem *m, uint64_t seq)
{
    for (mem_part *p = m->reserved; p; p = p->reserved)
        if (range_map_is_pending(&p->ranges))
            range_map_publish(&p->ranges, seq);
    m->ranged = false;
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
        mem_part *part = mem_part_of(m, once_u32(entry_bucket(p)));
        /* Without room, the bucket is gone, or another process has changed its number. */
        if (part && part->room > 0) {
            part->room--;
            memtable_add(part->table, (uint32_t)offset, frame->seq_first + i);
            if (__builtin_expect(entry_kind(p) == FIRN_DELETE_RANGE, 0))
                apply_range(m, part, p, base + end, frame->seq_first + i);
        }
        offset += entry_bytes(p);
    }
    m->log_end = offset;
}

void mem_cut_gaps(gaps *g, const wal_applied *frame)
{
    entry e;
    for (frame_walk w = frame_begin(frame); frame_next(&w, &e);)
        if (!entry_kind_is_tombstone(e.kind))
            gaps_cut(g, e.bucket, e.key);
}

void mem_charge(mem *m)
{
    budget_grow_log(m->env->budget, &m->log_bytes, m->log_end);
    for (mem_part *p = m->reserved; p; p = p->reserved)
        charge_part(m, p);
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
