/* watch: see store/watch.h. */
#include <store/watch.h>

#include <base/error.h>
#include <base/search.h>
#include <tree/frame.h>
#include <tree/run.h>

#include <store/store.h>

void watch_begin(watch_list *l, watch *w)
{
    mutex_lock(&l->watch_mu);
    w->hit = NULL;
    w->begun = true;
    w->next = l->first;
    l->first = w;
    atomic_fetch_add_explicit(&l->count, 1, memory_order_relaxed);
    mutex_unlock(&l->watch_mu);
}

void watch_end(watch_list *l, watch *w)
{
    mutex_lock(&l->watch_mu);
    if (w->begun) {
        watch **link = &l->first;
        while (*link != w)
            link = &(*link)->next;
        *link = w->next;
        w->begun = false;
        atomic_fetch_sub_explicit(&l->count, 1, memory_order_relaxed);
    }
    mutex_unlock(&l->watch_mu);
}

const watched *watch_hit(watch_list *l, const watch *w)
{
    mutex_lock(&l->watch_mu);
    const watched *hit = w->hit;
    mutex_unlock(&l->watch_mu);
    return hit;
}

/* ---- What is written meanwhile ---- */

static bool begins_up_to(const void *of, size_t at, void *wanted)
{
    const watched *k = &((const watch *)of)->keys[at];
    const entry *e = wanted;
    if (k->bucket->bucket != e->bucket)
        return k->bucket->bucket < e->bucket;
    return slice_compare(k->first, e->key) <= 0;
}

static bool ends_behind(const watched *k, firn_slice key)
{
    return !k->end.data || slice_compare(key, k->end) < 0;
}

/* Which of the keys the entry is about; NULL: none. */
static const watched *find(const watch *w, entry *e)
{
    size_t next = search_first(w, 0, w->count, e, begins_up_to);
    const watched *k = next > 0 ? &w->keys[next - 1] : NULL;
    if (k && k->bucket->bucket == e->bucket && ends_behind(k, e->key))
        return k;
    k = next < w->count ? &w->keys[next] : NULL; /* it begins behind the entry's key */
    bool reaches = k && e->kind == FIRN_DELETE_RANGE && k->bucket->bucket == e->bucket &&
                   slice_compare(k->first, e->value) < 0;
    return reaches ? k : NULL;
}

void watches_note(watch_list *l, const wal_applied *frame)
{
    entry e;
    mutex_lock(&l->watch_mu);
    for (watch *w = l->first; w; w = w->next)
        for (frame_walk f = frame_begin(frame); !w->hit && frame_next(&f, &e);)
            w->hit = find(w, &e);
    mutex_unlock(&l->watch_mu);
}

/* ---- What was written before ---- */

/* The newest that any run knows of the key decides; tables that are all older are not asked. */
static int look_at_key(const view *v, firn_slice key, uint64_t behind, bool *newer, firn_error *err)
{
    const lookup l = {
        .key = slice_somewhere(key), .hash = sst_key_hash(key), .at = {.seq = FIRN_MAX_SEQ}};
    run_hit hit = {.answer = RESOLVE_GO_ON};
    int rc = FIRN_OK;
    size_t at = 0;
    for (size_t i = 0; hit.answer == RESOLVE_GO_ON && i < view_mem_count(v); i++)
        (void)run_get(view_mem_run(v, i), &l, &hit, NULL); /* in memory: cannot fail */
    run r = version_next_run(v->version, &at);
    for (; rc == FIRN_OK && hit.answer == RESOLVE_GO_ON && r.kind != RUN_NONE;
         r = version_next_run(v->version, &at)) {
        table *t = run_table(r, l.key);
        if (t && t->properties.seq_max > behind)
            rc = run_get_in_table(t, &l, &hit, err);
    }
    if (rc != FIRN_OK)
        return rc;
    if (hit.answer == RESOLVE_VALUE)
        run_drop(&hit);
    *newer = hit.answer != RESOLVE_GO_ON && hit.seq > behind;
    return hit.answer == RESOLVE_UNKNOWN ? run_refuse(&hit, err) : FIRN_OK;
}

static bool overlaps(const fragment *f, const watched *k)
{
    return ends_behind(k, f->first) && slice_compare(k->first, f->end) < 0;
}

static int look_at_ranges(run r, const watched *k, uint64_t behind, bool *newer, firn_error *err)
{
    fragment_list list = {0};
    int rc = run_list_ranges(r, NULL, 0, &list, err);
    for (size_t i = 0; rc == FIRN_OK && !*newer && i < list.count; i++)
        *newer = list.list[i].seq > behind && overlaps(&list.list[i], k);
    fragment_list_release(&list);
    return rc;
}

/* Of a run that has something newer: each version between the keys. */
static int look_in_run(run r, const watched *k, uint64_t behind, bool *newer, firn_error *err)
{
    iter *it;
    run_bounds b;
    const iter_limits limits = {.lower = k->first, .upper = k->end, .seq_max = FIRN_MAX_SEQ};
    if (!run_get_bounds(r, &b) || b.seq_max <= behind || !run_may_show(r, &limits))
        return FIRN_OK;
    int rc = run_has_ranges(r) ? look_at_ranges(r, k, behind, newer, err) : FIRN_OK;
    if (rc != FIRN_OK || *newer)
        return rc;
    if (run_iter_new(r, SST_PASS, &limits, err, &it) != FIRN_OK)
        return error_no_memory(err);
    for (it->ops->first(it); it->valid && !*newer; it->ops->next(it))
        *newer = it->seq > behind;
    rc = it->valid ? FIRN_OK : it->status;
    it->ops->close(it);
    return rc;
}

static int look_in_range(const view *v, const watched *k, uint64_t behind, bool *newer,
                         firn_error *err)
{
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && !*newer && i < view_mem_count(v); i++)
        rc = look_in_run(view_mem_run(v, i), k, behind, newer, err);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &v->version->levels[n];
        for (size_t i = 0; rc == FIRN_OK && !*newer && i < l->count; i++)
            rc = look_in_run(run_of_table(l->tables[i]), k, behind, newer, err);
    }
    return rc;
}

static int look_at(const view *v, const watched *k, uint64_t behind, bool *newer, firn_error *err)
{
    store *db = k->bucket->store;
    if (!watched_is_key(k))
        return look_in_range(v, k, behind, newer, err);
    uint32_t ticket = readers_enter(&db->readers); /* for filters and indexes */
    int rc = look_at_key(v, k->first, behind, newer, err);
    readers_exit(&db->readers, ticket);
    sst_cache_ask_trim(db->cache);
    return rc;
}

int watch_look(const watch *w, uint64_t behind, const watched **found, firn_error *err)
{
    int rc = FIRN_OK;
    view *v = NULL;
    const firn *of = NULL;
    *found = NULL;
    for (size_t i = 0; rc == FIRN_OK && !*found && i < w->count; i++) {
        const watched *k = &w->keys[i];
        bool newer = false;
        if (k->bucket != of) {
            view_unref(v);
            of = k->bucket;
            v = tree_view(of);
        }
        rc = v ? look_at(v, k, behind, &newer, err) : tree_dropped(of, err);
        if (rc == FIRN_OK && newer)
            *found = k;
    }
    view_unref(v);
    return rc;
}
