/* budget: the memtables' part of it. A memtable gives memory back by being flushed, and that begins with a rotation of the
 * log. The leader of the log sees a memtable reach its share, and background work asks the log for the rotation, like
 * any caller of firn_flush. A batch of any size is one step for the log, so a memtable may exceed its share by one. */
#include <base/error.h>
#include <stddef.h>

#include "store.h"

void store_check_share(firn *db, mem *m)
{
    if (m->full || mem_bytes(m) < db->mem_share)
        return;
    m->full = true;
    mutex_lock(&db->state_mu);
    db->rotation_wanted = true;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

#define IDLE_PART 16 /* of its share: what an idle store's memtable has at least, to be flushed */

void store_want_idle_rotation(firn *db)
{
    db->rotation_wanted = db->idle_rotation = true;
    cond_broadcast(&db->state_changed);
}

int store_rotate_wanted(firn *db, firn_error *err)
{
    mutex_lock(&db->state_mu);
    view *v = atomic_load_explicit(&db->view, memory_order_relaxed);
    bool wanted = db->rotation_wanted;
    /* The leader may have rotated since: what is active now has not reached its share. */
    uint64_t entries = v->active ? memtable_entries(v->active->table) : 0;
    uint64_t index = v->active ? memtable_memory(v->active->table) : 0;
    uint64_t log = v->active ? wal_segment_used(v->active->segment) : 0;
    uint64_t least = db->idle_rotation ? db->mem_share / IDLE_PART : db->mem_share;
    db->rotation_wanted = db->idle_rotation = false;
    mutex_unlock(&db->state_mu);
    if (!wanted)
        return FIRN_OK;
    sst_cache_shrink(db->cache, false);
    int rc = FIRN_OK;
    if (entries && index + log >= least)
        rc = store_rotate(db, err);
    mutex_lock(&db->state_mu);
    db->rotation_wanted = db->rotation_wanted || error_curable(rc); /* tried again */
    mutex_unlock(&db->state_mu);
    return rc == FIRN_POISONED ? FIRN_OK : rc; /* then there is nothing to rotate any more */
}

static void trim(dead *d)
{
    firn *db = (firn *)(void *)((char *)d - offsetof(firn, trim));
    atomic_store(&db->trim_given,
                 false); /* first: what is loaded from here on is another sweep's */
    sst_cache_trim(db->cache);
}

void store_ask_trim(firn *db)
{
    if (!atomic_exchange(&db->trim_given, true))
        cleaner_give(&db->cleaner, &db->trim, trim);
}
