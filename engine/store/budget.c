/* budget: the memtables' part of it. A memtable gives memory back by being flushed, and that begins
 * with a rotation of the log. The leader of the log sees a memtable reach its share, and background
 * work asks the log for the rotation, like any caller of firn_flush. A batch of any size is one
 * step for the log, so a memtable may exceed its share by one. */
#include <base/error.h>
#include <stddef.h>

#include <store/load.h>
#include <store/store.h>

void store_check_share(store *db, mem *m)
{
    if (m->full || mem_bytes(m) < db->mem_share)
        return;
    m->full = true;
    mutex_lock(&db->state_mu);
    db->rotation_wanted = true;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

void store_tell_filled(store *db, const mem *m)
{
    if (__builtin_expect(atomic_load_explicit(&db->frozen, memory_order_relaxed) < FROZEN_MAX, 1))
        return;
    double by_share = (double)mem_bytes(m) / (double)db->mem_share;
    double by_log = (double)wal_segment_used(m->segment) / (double)db->options.segment_bytes;
    double filled = by_share > by_log ? by_share : by_log;
    atomic_store_explicit(&db->filled, filled < 1 ? (uint32_t)(filled * SLOW_ONE) : SLOW_ONE,
                          memory_order_relaxed);
}

void store_want_idle_rotation(store *db)
{
    db->rotation_wanted = db->idle_rotation = true;
    cond_broadcast(&db->state_changed);
}

static void trim(dead *d)
{
    store *db = (store *)(void *)((char *)d - offsetof(store, trim));
    /* First: what is loaded from here on is another sweep's. */
    atomic_store(&db->trim_given, false);
    sst_cache_trim(db->cache);
}

void store_ask_trim(void *ctx)
{
    store *db = ctx;
    if (!atomic_load_explicit(&db->trim_given, memory_order_relaxed) &&
        !atomic_exchange(&db->trim_given, true))
        cleaner_give(&db->cleaner, &db->trim, trim);
}
