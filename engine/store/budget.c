/* budget: the memtables' part of it. A memtable gives memory back by being flushed, and that begins
 * with a rotation of the log. The leader of the log sees a memtable reach its share, and background
 * work asks the log for the rotation, like any caller of firn_flush. A batch of any size is one
 * step for the log, so a memtable may exceed its share by one. */
#include <base/error.h>
#include <base/slice.h>
#include <stddef.h>

#include <store/load.h>
#include <store/store.h>
#include <tree/run.h>

#define SPACE_PART  4  /* of a table's usual size: so much is worth a flush of its own */
#define SPACE_LOOKS 32 /* tables of a level that are looked at for it */

static void want_rotation(store *db) REQUIRES(db->state_mu)
{
    db->rotation_wanted = true;
    cond_broadcast(&db->state_changed);
}

void store_check_share(store *db, mem *m)
{
    if (m->full ||
        (mem_bytes(m) < db->mem_share && !atomic_load_explicit(&m->soon, memory_order_relaxed)))
        return;
    m->full = true;
    mutex_lock(&db->state_mu);
    want_rotation(db);
    mutex_unlock(&db->state_mu);
}

/* What would go with the table, if that is not asked for already. What a snapshot sees stays; of
 * range deletes alone there is nothing to be had. */
static uint64_t bytes_to_have(const table *t, uint64_t newest_snapshot)
{
    const sst_properties *p = &t->properties;
    bool may_go = p->seq_min > newest_snapshot && p->entries > p->ranges;
    return may_go && !t->wanted ? p->file_bytes : 0;
}

static bool lies_inside(const table *t, firn_slice first, firn_slice end)
{
    int behind = slice_compare(t->properties.key_max, end);
    return slice_compare(t->properties.key_min, first) >= 0 &&
           (behind < 0 || (behind == 0 && table_ends_open(t)));
}

/* Of whole tables in [first, end); if `want`, they are wanted from now on. */
static uint64_t bytes_inside(const version *v, firn_slice first, firn_slice end,
                             uint64_t newest_snapshot, bool want)
{
    uint64_t bytes = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &v->levels[n];
        size_t i = n == 0 ? 0 : level_find(l, first), last = i + SPACE_LOOKS;
        for (; i < l->count && i < last; i++) {
            table *t = l->tables[i];
            if (!lies_inside(t, first, end))
                continue;
            bytes += bytes_to_have(t, newest_snapshot);
            t->wanted = t->wanted || want;
        }
    }
    return bytes;
}

void store_want_space(store *db, unsigned bucket, firn_slice first, firn_slice end, uint64_t seq)
{
    uint64_t newest = snapshots_newest(db);
    mutex_lock(&db->state_mu);
    const tree *t = store_tree(db, bucket);
    const view *v = t ? atomic_load_explicit(&t->view, memory_order_relaxed) : NULL;
    if (v && v->active && v->active->seq_first <= seq &&
        bytes_inside(v->version, first, end, newest, false) >=
            db->options.table_bytes / SPACE_PART) {
        (void)bytes_inside(v->version, first, end, newest, true);
        atomic_store_explicit(&v->active->soon, true, memory_order_relaxed);
        want_rotation(db);
    }
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
