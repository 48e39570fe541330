/* erasures: range deletes, seen by a walk (run.h). */
#include <base/alloc.h>
#include <base/error.h>
#include <base/grow.h>
#include <base/slice.h>

#include <tree/run.h>

/* ---- Of one run ---- */

/* Of a table that covers the key: its range deletes say nothing of keys outside of it. */
static int table_cover(table *t, firn_slice key, uint64_t seq_max, cover *out, firn_error *err)
{
    const sst_properties *p = &t->properties;
    const cover inside = {
        .from = slice_somewhere(p->key_min), .to = slice_somewhere(p->key_max), .to_closed = true};
    sst_reader *reader;
    *out = inside;
    if (p->ranges == 0)
        return FIRN_OK;
    int rc = table_reader(t, &reader, err);
    if (rc != FIRN_OK)
        return rc;
    fragments f = table_ranges(t);
    fragments_cover(&f, key, seq_max, out);
    cover_meet(out, &inside);
    return FIRN_OK;
}

static int level_cover(const level *l, firn_slice key, uint64_t seq_max, cover *out,
                       firn_error *err)
{
    size_t i = level_find(l, key);
    if (i < l->count && table_covers(l->tables[i], key))
        return table_cover(l->tables[i], key, seq_max, out, err);
    *out = (cover){0};
    if (i > 0) {
        out->from = slice_somewhere(l->tables[i - 1]->properties.key_max);
        out->from_open = true;
    }
    if (i < l->count)
        out->to = slice_somewhere(l->tables[i]->properties.key_min);
    return FIRN_OK;
}

int run_cover(run r, firn_slice key, uint64_t seq_max, cover *out, firn_error *err)
{
    switch (r.kind) {
    case RUN_MEM:
        range_map_cover(&r.mem->ranges, key, seq_max, out);
        return FIRN_OK;
    case RUN_TABLE:
        return level_cover(&r.table->as_level, key, seq_max, out, err);
    case RUN_LEVEL:
        return level_cover(r.level, key, seq_max, out, err);
    case RUN_NONE:
    default:
        *out = (cover){0};
        return FIRN_OK;
    }
}

/* ---- All of them ---- */

static int list_of_table(table *t, fragment_list *out, firn_error *err)
{
    sst_reader *reader;
    if (t->properties.ranges == 0)
        return FIRN_OK;
    int rc = table_reader(t, &reader, err);
    fragments f = rc == FIRN_OK ? table_ranges(t) : (fragments){0};
    for (size_t i = 0; rc == FIRN_OK && i < f.count; i++)
        if (fragment_list_add(out, f.list[i]) != FIRN_OK)
            rc = error_no_memory(err);
    return rc;
}

int run_list_ranges(run r, const uint64_t *snapshots, size_t count, fragment_list *out,
                    firn_error *err)
{
    int rc = FIRN_OK;
    const level *l = r.kind == RUN_LEVEL   ? r.level
                     : r.kind == RUN_TABLE ? &r.table->as_level
                                           : NULL;
    if (r.kind == RUN_MEM && range_map_list(&r.mem->ranges, snapshots, count, out) != FIRN_OK)
        return error_no_memory(err);
    for (size_t i = 0; rc == FIRN_OK && l && i < l->count; i++)
        rc = list_of_table(l->tables[i], out, err);
    return rc;
}

/* ---- Of several runs ---- */

int erasures_add(erasures *e, run r, size_t rank)
{
    int rc = array_grow(&e->of, &e->capacity, e->count, sizeof *e->of, NULL);
    if (rc == FIRN_OK)
        e->of[e->count++] = (struct erased){.run = r, .rank = rank};
    return rc;
}

void erasures_release(erasures *e)
{
    heap_free(e->of);
    *e = (erasures){0};
}

int erasures_search(erasures *e, firn_slice key, uint64_t seq_max, uint64_t *seq, firn_error *err)
{
    if (e->known && cover_has(&e->last, key)) {
        *seq = e->last.seq;
        return FIRN_OK;
    }
    e->known = false;
    e->last = (cover){0};
    for (size_t i = 0; i < e->count; i++) {
        struct erased *one = &e->of[i];
        if (!one->known || !cover_has(&one->last, key)) {
            one->known = false;
            int rc = run_cover(one->run, key, seq_max, &one->last, err);
            if (rc != FIRN_OK)
                return rc;
            one->known = true;
        }
        if (one->last.seq > e->last.seq || i == 0)
            e->newest = i;
        cover_meet(&e->last, &one->last);
    }
    e->known = true;
    *seq = e->last.seq;
    return FIRN_OK;
}
