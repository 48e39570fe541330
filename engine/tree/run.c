/* run: see run.h. */
#include <tree/run.h>

#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>

#include "merge.h"

/* ---- Get ---- */

int run_get_in_table(table *t, const lookup *l, run_hit *out, firn_error *err)
{
    sst_reader *reader = NULL;
    sst_hit hit;
    uint64_t erased = 0;
    int rc = table_reader(t, &reader, err);
    if (rc == FIRN_OK && t->properties.ranges) {
        fragments f = table_ranges(t);
        erased = fragments_find(&f, l->key, l->at.seq);
    }
    out->answer = resolve_absent(erased);
    out->seq = erased;
    if (rc == FIRN_OK)
        rc = sst_get(reader, l->key, l->hash, l->at.seq, &hit, err);
    if (rc == FIRN_NOT_FOUND) {
        table_not_found(t, (sst_filtered)hit.filtered);
        return FIRN_OK;
    }
    if (rc != FIRN_OK)
        return rc;
    out->answer = resolve_version(&l->at, hit.seq, hit.kind, erased);
    out->value = hit.value;
    out->seq = hit.seq > erased ? hit.seq : erased;
    out->kind = hit.kind;
    out->block = hit.pin;
    out->holder = run_of_table(t);
    if (out->answer != RESOLVE_VALUE)
        sst_pin_release(&out->block);
    return FIRN_OK;
}

int run_refuse(const run_hit *hit, firn_error *err)
{
    /* No entry has the kind 0: the log's bytes have changed. */
    return hit->kind == 0 ? memtable_changed(err) : resolve_refuse(hit->kind, err);
}

/* ---- Keeping ---- */

/* The lowest bit of run_pin.holder tells a memtable from a table. */
#define HOLDER_IS_MEM ((uintptr_t)1)

run_pin run_keep(const run_hit *hit)
{
    run_pin pin = {.block = hit->block.block};
    if (hit->holder.kind == RUN_MEM) {
        mem_ref(hit->holder.mem->mem);
        pin.holder = (void *)((uintptr_t)hit->holder.mem->mem | HOLDER_IS_MEM);
    } else {
        table_ref(hit->holder.table);
        pin.holder = hit->holder.table;
    }
    return pin;
}

void run_unpin(run_pin pin)
{
    uintptr_t holder = (uintptr_t)pin.holder;
    sst_pin block = {pin.block};
    sst_pin_release(&block); /* before its table, which may be closed then */
    if (holder & HOLDER_IS_MEM)
        mem_unref((mem *)(holder & ~HOLDER_IS_MEM));
    else
        table_unref((table *)holder);
}

/* ---- Iterating ---- */

int run_iter_new(run r, sst_use use, const iter_limits *limits, firn_error *err, iter **out)
{
    int rc;
    switch (r.kind) {
    case RUN_MEM:
        rc = memtable_iter_new(r.mem->table, out);
        break;
    case RUN_TABLE: /* as a level of its own: opened when it is first positioned */
        rc = level_iter_new(&r.table->as_level, use, out);
        break;
    case RUN_LEVEL:
        rc = level_iter_new(r.level, use, out);
        break;
    case RUN_NONE:
    default:
        rc = merge_iter_new(NULL, 0, out);
        break;
    }
    if (rc == FIRN_OK) {
        (*out)->limits = limits;
        (*out)->error = err;
    }
    return rc;
}

enum { FEW = 32 }; /* for so many runs nothing is allocated but what they take themselves */

int walk_open(const run *runs, size_t count, sst_use use, const iter_limits *limits,
              firn_error *err, walk *out)
{
    size_t opened = 0;
    iter *few[FEW], **its = count <= FEW ? few : heap_alloc(count * sizeof *its);
    int rc = its ? FIRN_OK : FIRN_NO_MEMORY;
    *out = (walk){0};
    for (size_t i = 0; rc == FIRN_OK && i < count; i++) {
        if (!run_may_show(runs[i], limits))
            continue; /* R3 */
        rc = run_iter_new(runs[i], use, limits, err, &its[opened]);
        if (rc != FIRN_OK)
            break;
        if (run_has_ranges(runs[i]))
            rc = erasures_add(&out->erased, runs[i], opened);
        opened++;
    }
    rc = merge_iter_of(rc, its, opened, &out->it);
    if (rc == FIRN_OK)
        out->it->error = err;
    if (its != few)
        heap_free(its);
    if (rc != FIRN_OK)
        walk_close(out);
    return rc;
}

void walk_skip(walk *w)
{
    const cover *c = erasures_cover(&w->erased);
    /* Else the bounds have changed since they were found, and lead nowhere. */
    bool leads = c->to.data && slice_compare(c->to, w->it->key) > 0;
    merge_skip(w->it, leads ? w->erased.of[w->erased.newest].rank : SIZE_MAX, c->to);
}

void walk_skip_back(walk *w)
{
    const cover *c = erasures_cover(&w->erased);
    bool leads = c->from.data && slice_compare(c->from, w->it->key) <= 0;
    merge_skip_back(w->it, leads ? w->erased.of[w->erased.newest].rank : SIZE_MAX, c->from);
}

void walk_close(walk *w)
{
    if (w->it)
        w->it->ops->close(w->it);
    erasures_release(&w->erased);
    w->it = NULL;
}

/* ---- Bounds ---- */

static void bounds_of_level(const level *l, run_bounds *out)
{
    const sst_properties *first = &l->tables[0]->properties;
    *out = (run_bounds){first->key_min, l->tables[l->count - 1]->properties.key_max, first->seq_min,
                        first->seq_max};
    for (size_t i = 1; i < l->count; i++) {
        const sst_properties *p = &l->tables[i]->properties;
        out->seq_min = p->seq_min < out->seq_min ? p->seq_min : out->seq_min;
        out->seq_max = p->seq_max > out->seq_max ? p->seq_max : out->seq_max;
    }
}

bool run_get_bounds(run r, run_bounds *out)
{
    switch (r.kind) {
    case RUN_MEM:
        out->seq_min = r.mem->mem->seq_first;
        out->seq_max = atomic_load_explicit(&r.mem->mem->seq_last, memory_order_relaxed);
        return memtable_bounds(r.mem->table, &out->key_min, &out->key_max);
    case RUN_TABLE:
        bounds_of_level(&r.table->as_level, out);
        return true;
    case RUN_LEVEL:
        if (r.level->count)
            bounds_of_level(r.level, out);
        return r.level->count > 0;
    case RUN_NONE:
    default:
        return false;
    }
}

bool run_may_show(run r, const iter_limits *limits)
{
    switch (r.kind) {
    case RUN_MEM:
        return !limits || r.mem->mem->seq_first <= limits->seq_max;
    case RUN_TABLE:
        return !limits || table_may_show(r.table, limits);
    case RUN_LEVEL: /* which of its tables are too new, is asked when they are come to */
        return r.level->count &&
               (!limits ||
                keys_may_show(r.level->tables[0]->properties.key_min,
                              r.level->tables[r.level->count - 1]->properties.key_max, limits));
    case RUN_NONE:
    default:
        return false;
    }
}

/* ---- Care ---- */

/* All that can be opened, whatever becomes of the others. The first failure is told. */
static int open_level(const level *l, firn_error *err)
{
    int first = FIRN_OK;
    for (size_t i = 0; i < l->count; i++) {
        sst_reader *reader;
        int rc = table_reader(l->tables[i], &reader, first == FIRN_OK ? err : NULL);
        first = first == FIRN_OK ? rc : first;
    }
    return first;
}

int run_open(run r, firn_error *err)
{
    switch (r.kind) {
    case RUN_TABLE:
        return open_level(&r.table->as_level, err);
    case RUN_LEVEL:
        return open_level(r.level, err);
    case RUN_MEM:
    case RUN_NONE:
    default:
        return FIRN_OK;
    }
}

static int verify_level(const level *l, firn_error *err)
{
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < l->count; i++) {
        sst_reader *reader = NULL;
        rc = table_reader(l->tables[i], &reader, err);
        if (rc == FIRN_OK)
            rc = sst_verify(reader, err);
    }
    return rc;
}

/* Recovery has compared the log's checksums; here each entry is read again, and their order. */
static int verify_mem(const mem_part *m, firn_error *err)
{
    iter *it = NULL;
    buf last = {0};
    uint64_t seq = 0;
    bool any = false;
    int rc = memtable_iter_new(m->table, &it);
    if (rc != FIRN_OK)
        return error_no_memory(err);
    it->error = err;
    for (it->ops->first(it); rc == FIRN_OK && it->valid; it->ops->next(it)) {
        int c = any ? slice_compare(buf_slice(&last), it->key) : -1;
        if (c > 0 || (c == 0 && seq <= it->seq) || it->seq < m->mem->seq_first)
            rc = memtable_changed(err);
        else if (buf_assign(&last, it->key.data, it->key.size) != FIRN_OK)
            rc = error_no_memory(err);
        seq = it->seq;
        any = true;
    }
    if (rc == FIRN_OK)
        rc = it->status;
    it->ops->close(it);
    buf_release(&last);
    return rc;
}

int run_split(run r, size_t part, size_t parts, buf *out, firn_error *err)
{
    sst_reader *reader;
    if (r.kind != RUN_TABLE)
        return error_set(err, FIRN_INVALID, "only a table is cut inside");
    int rc = table_reader(r.table, &reader, err);
    return rc == FIRN_OK ? sst_split_key(reader, part, parts, out, err) : rc;
}

/* ---- How much ---- */

static void measure_mem(mem_part *p, firn_slice lower, firn_slice upper, run_measured *out)
{
    size_t all = mem_entries(p->mem);
    double found = (double)memtable_between(p->table, lower, upper, UINT64_MAX);
    double bytes = (double)wal_segment_used(p->mem->segment);
    out->entries += found;
    if (all)
        out->bytes += bytes / (double)all * found;
}

/* Where in its data the key lies; NULL data: at `otherwise`. */
static int offset_of(sst_reader *r, firn_slice key, uint64_t otherwise, uint64_t *out,
                     firn_error *err)
{
    *out = otherwise;
    return key.data ? sst_approximate_offset(r, key, out, err) : FIRN_OK;
}

static int measure_table(table *t, firn_slice lower, firn_slice upper, run_measured *out,
                         firn_error *err)
{
    const sst_properties *p = &t->properties;
    double part = 1;
    if (lower.data && slice_compare(p->key_min, lower) >= 0)
        lower.data = NULL;
    if (upper.data && slice_compare(p->key_max, upper) < 0)
        upper.data = NULL;
    if (lower.data || upper.data) {
        sst_reader *r;
        uint64_t from = 0, to = 0;
        int rc = table_reader(t, &r, err);
        if (rc == FIRN_OK)
            rc = offset_of(r, lower, 0, &from, err);
        if (rc == FIRN_OK)
            rc = offset_of(r, upper, p->data_bytes, &to, err);
        if (rc != FIRN_OK)
            return rc;
        part = to > from ? (double)(to - from) / (double)p->data_bytes : 0;
        out->doubt += (double)p->entries / (double)p->blocks;
    }
    out->bytes += (double)p->file_bytes * part;
    out->entries += (double)p->entries * part;
    return FIRN_OK;
}

int run_measure(run r, firn_slice lower, firn_slice upper, run_measured *out, firn_error *err)
{
    const level *l = r.kind == RUN_LEVEL   ? r.level
                     : r.kind == RUN_TABLE ? &r.table->as_level
                                           : NULL;
    const iter_limits limits = {.lower = lower, .upper = upper, .seq_max = FIRN_MAX_SEQ};
    int rc = FIRN_OK;
    if (r.kind == RUN_MEM)
        measure_mem(r.mem, lower, upper, out);
    for (size_t i = l && lower.data ? level_find(l, lower) : 0; rc == FIRN_OK && l && i < l->count;
         i++) {
        if (!table_may_show(l->tables[i], &limits))
            break;
        rc = measure_table(l->tables[i], lower, upper, out, err);
    }
    return rc;
}

int run_verify(run r, firn_error *err)
{
    switch (r.kind) {
    case RUN_MEM:
        return verify_mem(r.mem, err);
    case RUN_TABLE:
        return verify_level(&r.table->as_level, err);
    case RUN_LEVEL:
        return verify_level(r.level, err);
    case RUN_NONE:
    default:
        return FIRN_OK;
    }
}
