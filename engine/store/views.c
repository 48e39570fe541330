/* views: the current view of each tree, and how it is replaced.
 *
 * A view is replaced in one step under state_mu. Readers load the pointer without a lock, so a
 * replaced view is parked in `retired` until readers_wait has seen all readers leave. */
#include <assert.h>
#include <base/alloc.h>
#include <base/entry.h>
#include <base/grow.h>
#include <string.h>

#include <store/load.h>
#include <store/store.h>

view *tree_view(const tree *t)
{
    uint32_t ticket = readers_enter(&t->store->readers);
    view *v = atomic_load_explicit(&t->view, memory_order_seq_cst);
    if (v)
        view_ref(v);
    readers_exit(&t->store->readers, ticket);
    return v;
}

view *store_view(store *db)
{
    return tree_view(&db->main);
}

tree *store_next_tree(const store *db, const tree *t)
{
    return t ? t->next : db->trees ? db->trees[0] : NULL;
}

int store_list_tree(store *db, tree *t)
{
    while (t->bucket >= db->tree_room) {
        size_t before = db->tree_room;
        int rc = array_double(&db->trees, &db->tree_room, sizeof(tree *), NULL);
        if (rc != FIRN_OK)
            return rc;
        memset(db->trees + before, 0, (db->tree_room - before) * sizeof(tree *));
    }
    if (t->bucket && by_name_add(&db->names, &t->name) != FIRN_OK)
        return FIRN_NO_MEMORY;
    db->trees[t->bucket] = t;
    t->prev = db->last_tree;
    if (t->prev)
        t->prev->next = t;
    db->last_tree = t;
    return FIRN_OK;
}

void store_unlist_tree(store *db, tree *t)
{
    t->prev->next = t->next; /* bucket 0 stays */
    if (t->next)
        t->next->prev = t->prev;
    else
        db->last_tree = t->prev;
    t->next = t->prev = NULL;
    db->trees[t->bucket] = NULL;
    by_name_remove(&db->names, &t->name);
}

/* What a tree owes, in units of bucket 0's: in units of its own, each counts as much as those of
 * any other. */
static uint64_t debt_of(const store *db, const version *v, uint64_t unit)
{
    const uint64_t most = UINT64_MAX / TREES_MAX; /* so that the sum is a number, too */
    uint64_t debt = schedule_debt(&db->rules, v), own = schedule_unit(&db->rules, v);
    if (own != unit) {
        double scaled = (double)debt / (double)own * (double)unit;
        debt = scaled < (double)most ? (uint64_t)scaled : most;
    }
    return debt < most ? debt : most;
}

/* What the levels of all trees owe is owed together; the fullest level 0 is what stops writers. */
static void update_pressure(store *db) REQUIRES(db->state_mu)
{
    uint64_t kept = 0, ranged = 0, debt = 0, unit = 0;
    uint32_t most = 0;
    size_t frozen = 0;
    for (tree *t = NULL; (t = store_next_tree(db, t));) {
        const view *v = atomic_load_explicit(&t->view, memory_order_relaxed);
        if (!v)
            continue; /* opening has not come to it yet */
        uint32_t count = (uint32_t)v->version->levels[0].count;
        for (unsigned n = 0; n < FIRN_LEVELS; n++) {
            const level *l = &v->version->levels[n];
            kept += l->kept;
            ranged = l->ranged_seq > ranged ? l->ranged_seq : ranged;
        }
        if (unit == 0) /* bucket 0 is the first */
            unit = schedule_unit(&db->rules, v->version);
        debt += debt_of(db, v->version, unit);
        most = count > most ? count : most;
        frozen = v->frozen_count;
    }
    atomic_store_explicit(&db->has_kept, kept > 0, memory_order_relaxed);
    atomic_store_explicit(&db->ranged_seq, ranged, memory_order_relaxed);
    atomic_store_explicit(&db->load, slow_load(most, debt, unit), memory_order_relaxed);
    atomic_store_explicit(&db->frozen, (uint32_t)frozen, memory_order_relaxed);
    if (slow_stops(most, frozen) || db->background_status != FIRN_OK)
        most |= PRESSURE_STOP;
    atomic_store_explicit(&db->pressure, most, memory_order_relaxed);
}

void store_install_first(tree *t, view *first)
{
    store *db = t->store;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < first->version->levels[n].count; i++)
            table_set_level(first->version->levels[n].tables[i], n);
    mutex_lock(&db->state_mu);
    atomic_store_explicit(&t->view, first, memory_order_release);
    db->work_epoch++;
    update_pressure(db);
    mutex_unlock(&db->state_mu);
}

void store_learn_prefix(store *db, tree *t, firn_slice prefix)
{
    (void)db; /* whose lock is held */
    t->prefix_size = prefix.size < sizeof t->prefix ? prefix.size : sizeof t->prefix;
    if (t->prefix_size)
        memcpy(t->prefix, prefix.data, t->prefix_size);
}

void store_learn_prefixes(store *db, const mem *m)
{
    for (const mem_part *p = mem_first_part(m); p; p = p->next)
        if (store_tree(db, p->bucket) && memtable_entries(p->table))
            store_learn_prefix(db, store_tree(db, p->bucket), memtable_common_prefix(p->table));
}

int store_new_mem(store *db, wal_segment *segment, uint64_t seq_first, mem **out)
{
    uint8_t prefix[TREE_PREFIX_KEPT];
    mutex_lock(&db->state_mu);
    size_t size = db->main.prefix_size;
    memcpy(prefix, db->main.prefix, size);
    mutex_unlock(&db->state_mu);
    return mem_new(&db->mem_env, segment, seq_first, slice_of(prefix, size), out);
}

/* The part of a bucket, made if need be. A bucket that is gone gets none. */
static int begin_part(store *db, mem *m, uint16_t bucket)
{
    uint8_t prefix[TREE_PREFIX_KEPT];
    size_t size = 0;
    mutex_lock(&db->state_mu);
    const tree *t = store_tree(db, bucket);
    if (t) {
        size = t->prefix_size;
        memcpy(prefix, t->prefix, size);
    }
    mutex_unlock(&db->state_mu);
    return t ? mem_add_part(m, bucket, slice_of(prefix, size)) : FIRN_OK;
}

bucket_form store_form(store *db, unsigned bucket)
{
    mutex_lock(&db->state_mu);
    const tree *t = store_tree(db, bucket);
    bucket_form f = t ? t->form : (bucket_form){FIRN_AS_STORE, FIRN_AS_STORE};
    mutex_unlock(&db->state_mu);
    if (f.compression == FIRN_AS_STORE)
        f.compression = db->options.compression;
    if (f.filter_bits == FIRN_AS_STORE)
        f.filter_bits = db->options.filter_bits;
    return f;
}

bool store_has_buckets(store *db, firn_slice entries)
{
    bool all = true;
    mutex_lock(&db->state_mu);
    for (size_t at = 0; all && at < entries.size; at += entry_bytes(entries.data + at))
        all = store_tree(db, entry_bucket(entries.data + at)) != NULL;
    mutex_unlock(&db->state_mu);
    return all;
}

int store_reserve_entries(store *db, mem *m, firn_slice entries, uint32_t count)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count && at + ENTRY_HEADER_BYTES <= entries.size; i++) {
        const uint8_t *p = entries.data + at;
        unsigned bucket = entry_bucket(p);
        mem_part *part = mem_part_of(m, bucket);
        if (!part) {
            int rc = begin_part(db, m, (uint16_t)bucket);
            if (rc != FIRN_OK)
                return rc;
            part = mem_part_of(m, bucket);
        }
        if (part)
            mem_reserve_in(m, part, 1, entry_kind(p) == FIRN_DELETE_RANGE);
        at += entry_bytes(p);
    }
    return FIRN_OK;
}

/* `next` has been filled in. */
static void replace_view(store *db, tree *t, view *next) REQUIRES(db->state_mu)
{
    view *old = atomic_load_explicit(&t->view, memory_order_relaxed);
    atomic_store_explicit(&t->view, next, memory_order_seq_cst);
    old->next_retired = db->retired;
    db->retired = old;
}

void store_tell_replaced(store *db)
{
    update_pressure(db);
    cond_broadcast(&db->state_changed);
}

/* Room for a view with one frozen mem more in each tree, as `made`. A commit that is under way must
 * have room for it, too. FIRN_NO_MEMORY: none is made. */
static int make_room(store *db, size_t frozen_count) REQUIRES(db->state_mu)
{
    bool all = true;
    for (tree *t = NULL; all && (t = store_next_tree(db, t));) {
        view *larger = NULL;
        t->made = view_room(frozen_count);
        if (t->reserved && t->reserved->frozen_room < frozen_count)
            larger = view_room(frozen_count);
        all = t->made && (larger || !t->reserved || t->reserved->frozen_room >= frozen_count);
        if (larger) {
            view_room_free(t->reserved);
            t->reserved = larger;
        }
    }
    for (tree *t = NULL; !all && (t = store_next_tree(db, t));) {
        view_room_free(t->made);
        t->made = NULL;
    }
    return all ? FIRN_OK : FIRN_NO_MEMORY;
}

/* The mems of bucket 0's view are those of all (T2). */
static void freeze_in_each(store *db, mem *fresh, mem *const *frozen, size_t count)
    REQUIRES(db->state_mu)
{
    for (tree *t = NULL; (t = store_next_tree(db, t));) {
        const view *old = atomic_load_explicit(&t->view, memory_order_relaxed);
        view *next = t->made;
        t->made = NULL;
        view_fill(next, old->version, fresh, frozen, count);
        replace_view(db, t, next);
    }
    store_tell_replaced(db);
}

int store_install_mem(store *db, mem *fresh)
{
    mutex_lock(&db->state_mu);
    const view *old = atomic_load_explicit(&db->main.view, memory_order_relaxed);
    size_t count = 0;
    mem **frozen = heap_alloc((old->frozen_count + 1) * sizeof *frozen);
    int rc = frozen ? make_room(db, old->frozen_count + 1) : FIRN_NO_MEMORY;
    if (rc == FIRN_OK) {
        if (old->active)
            frozen[count++] = old->active;
        for (size_t i = 0; i < old->frozen_count; i++)
            frozen[count++] = old->frozen[i];
        if (old->active)
            store_learn_prefixes(db, old->active);
        freeze_in_each(db, fresh, frozen, count);
    }
    heap_free(frozen);
    mutex_unlock(&db->state_mu);
    if (rc == FIRN_OK)
        gaps_age(&db->gaps);
    return rc;
}

/* The trees whose views an edit replaces, one after the other. */
static tree *next_concerned(const store *db, const tree *t, const mem *flushed, tree *changed)
{
    return flushed ? store_next_tree(db, t) : t ? t->next_changed : changed;
}

int store_reserve(store *db, const mem *flushed, tree *changed)
{
    int rc = FIRN_OK;
    mutex_lock(&db->state_mu);
    const view *now = atomic_load_explicit(&db->main.view, memory_order_relaxed);
    for (tree *t = NULL; rc == FIRN_OK && (t = next_concerned(db, t, flushed, changed));) {
        assert(!t->reserved);
        t->reserved = view_room(now->frozen_count);
        rc = t->reserved ? FIRN_OK : FIRN_NO_MEMORY;
    }
    mutex_unlock(&db->state_mu);
    if (rc != FIRN_OK)
        store_unreserve(db, flushed, changed);
    return rc;
}

void store_unreserve(store *db, const mem *flushed, tree *changed)
{
    mutex_lock(&db->state_mu);
    for (tree *t = NULL; (t = next_concerned(db, t, flushed, changed));) {
        view_room_free(t->reserved);
        t->reserved = NULL;
    }
    mutex_unlock(&db->state_mu);
}

static void install_version(store *db, tree *t, mem *flushed, version *v) REQUIRES(db->state_mu)
{
    const view *old = atomic_load_explicit(&t->view, memory_order_relaxed);
    view *next = t->reserved;
    size_t count = 0;
    t->reserved = NULL;
    assert(next && next->frozen_room >= old->frozen_count);
    view_fill(next, v ? v : old->version, old->active, old->frozen, old->frozen_count);
    for (size_t i = 0; i < next->frozen_count; i++) {
        if (next->frozen[i] != flushed)
            next->frozen[count++] = next->frozen[i];
        else
            mem_unref(flushed); /* the old view keeps it alive */
    }
    next->frozen_count = count;
    replace_view(db, t, next);
}

void store_install_versions(store *db, mem *flushed, tree *changed)
{
    if (!flushed && !changed)
        return;
    mutex_lock(&db->state_mu);
    for (tree *t = NULL; (t = next_concerned(db, t, flushed, changed));)
        install_version(db, t, flushed, t->next_version);
    db->work_epoch++;
    store_tell_replaced(db);
    mutex_unlock(&db->state_mu);
}

void store_reap(store *db)
{
    mutex_lock(&db->state_mu);
    view *first = db->retired;
    db->retired = NULL;
    mutex_unlock(&db->state_mu);
    if (first)
        readers_wait(&db->readers);
    mutex_not_shared(&db->state_mu); /* no other thread knows these views */
    for (view *next; first; first = next) {
        next = first->next_retired;
        view_unref(first);
    }
    cleaner_help(&db->cleaner);
}

void store_drop_views(store *db)
{
    store_reap(db);
    mutex_not_shared(&db->state_mu);
    for (tree *next, *t = store_next_tree(db, NULL); t; t = next) {
        next = t->next;
        view_unref(atomic_load_explicit(&t->view, memory_order_relaxed));
        atomic_store_explicit(&t->view, NULL, memory_order_relaxed);
        t->next = NULL;
        if (t != &db->main)
            heap_free(t);
    }
    heap_free(db->trees);
    db->trees = NULL;
    db->tree_room = 0;
    db->last_tree = NULL;
    by_name_release(&db->names);
    db->active = NULL;
}
