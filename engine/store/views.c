/* views: the current view, and how it is replaced.
 *
 * A view is replaced in one step under state_mu. Readers load the pointer without a lock, so a
 * replaced view is parked in `retired` until readers_wait has seen all readers leave. */
#include <assert.h>
#include <base/alloc.h>
#include <string.h>

#include <store/load.h>
#include <store/store.h>

view *store_view(firn *db)
{
    uint32_t ticket = readers_enter(&db->readers);
    view *v = atomic_load_explicit(&db->view, memory_order_seq_cst);
    view_ref(v);
    readers_exit(&db->readers, ticket);
    return v;
}

static void update_pressure(firn *db, const view *v) REQUIRES(db->state_mu)
{
    uint64_t kept = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        kept += v->version->levels[n].kept;
    atomic_store_explicit(&db->has_kept, kept > 0, memory_order_relaxed);
    uint32_t p = (uint32_t)v->version->levels[0].count;
    atomic_store_explicit(&db->load,
                          slow_load(p, schedule_debt(&db->rules, v->version),
                                    schedule_unit(&db->rules, v->version), v->frozen_count),
                          memory_order_relaxed);
    if (p >= L0_STOP_AT || v->frozen_count > FROZEN_MAX || db->background_status != FIRN_OK)
        p |= PRESSURE_STOP;
    atomic_store_explicit(&db->pressure, p, memory_order_relaxed);
}

void store_install_first(firn *db, view *first)
{
    mutex_lock(&db->state_mu);
    atomic_store_explicit(&db->view, first, memory_order_release);
    db->work_epoch++;
    update_pressure(db, first);
    mutex_unlock(&db->state_mu);
}

/* The next memtable's keys probably begin like this one's. */
static void remember_prefix(firn *db, const mem *m) REQUIRES(db->state_mu)
{
    firn_slice p = memtable_common_prefix(m->table);
    if (memtable_entries(m->table) == 0)
        return;
    db->prefix_size = p.size < sizeof db->prefix ? p.size : sizeof db->prefix;
    if (db->prefix_size)
        memcpy(db->prefix, p.data, db->prefix_size);
}

/* `next` has been filled in. */
static void replace_view(firn *db, view *old, view *next) REQUIRES(db->state_mu)
{
    atomic_store_explicit(&db->view, next, memory_order_seq_cst);
    old->next_retired = db->retired;
    db->retired = old;
    update_pressure(db, next);
    cond_broadcast(&db->state_changed);
}

/* One mem more will be frozen: a commit that is under way must have room for it, too. */
static int reserve_one_more(firn *db, size_t frozen_count) REQUIRES(db->state_mu)
{
    if (!db->reserved || db->reserved->frozen_room >= frozen_count)
        return FIRN_OK;
    view *larger = view_room(frozen_count);
    if (!larger)
        return FIRN_NO_MEMORY;
    view_room_free(db->reserved);
    db->reserved = larger;
    return FIRN_OK;
}

int store_install_mem(firn *db, mem *fresh)
{
    mutex_lock(&db->state_mu);
    view *old = atomic_load_explicit(&db->view, memory_order_relaxed);
    size_t count = 0;
    mem **frozen = mem_alloc((old->frozen_count + 1) * sizeof *frozen);
    view *next = frozen ? view_room(old->frozen_count + 1) : NULL;
    int rc = next ? reserve_one_more(db, old->frozen_count + 1) : FIRN_NO_MEMORY;
    if (rc == FIRN_OK) {
        if (old->active)
            frozen[count++] = old->active;
        for (size_t i = 0; i < old->frozen_count; i++)
            frozen[count++] = old->frozen[i];
        view_fill(next, old->version, fresh, frozen, count);
        if (old->active)
            remember_prefix(db, old->active);
        replace_view(db, old, next);
    } else {
        view_room_free(next);
    }
    mem_free(frozen);
    mutex_unlock(&db->state_mu);
    return rc;
}

int store_reserve(firn *db)
{
    mutex_lock(&db->state_mu);
    const view *now = atomic_load_explicit(&db->view, memory_order_relaxed);
    assert(!db->reserved);
    db->reserved = view_room(now->frozen_count);
    int rc = db->reserved ? FIRN_OK : FIRN_NO_MEMORY;
    mutex_unlock(&db->state_mu);
    return rc;
}

void store_unreserve(firn *db)
{
    mutex_lock(&db->state_mu);
    view_room_free(db->reserved);
    db->reserved = NULL;
    mutex_unlock(&db->state_mu);
}

void store_install_version(firn *db, mem *flushed, version *v)
{
    mutex_lock(&db->state_mu);
    view *old = atomic_load_explicit(&db->view, memory_order_relaxed);
    view *next = db->reserved;
    size_t count = 0;
    db->reserved = NULL;
    assert(next && next->frozen_room >= old->frozen_count);
    view_fill(next, v, old->active, old->frozen, old->frozen_count);
    for (size_t i = 0; i < next->frozen_count; i++) {
        if (next->frozen[i] != flushed)
            next->frozen[count++] = next->frozen[i];
        else
            mem_unref(flushed); /* the old view keeps it alive */
    }
    next->frozen_count = count;
    db->work_epoch++;
    replace_view(db, old, next);
    mutex_unlock(&db->state_mu);
}

void store_reap(firn *db)
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
}

void store_drop_views(firn *db)
{
    store_reap(db);
    view_unref(atomic_load_explicit(&db->view, memory_order_relaxed));
    atomic_store_explicit(&db->view, NULL, memory_order_relaxed);
    db->active = NULL;
}
