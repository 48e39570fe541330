/* stats: the store's figures, gathered from its rooms. */
#include <base/error.h>
#include <stdio.h>
#include <string.h>

#include "store.h"

static void add_mem(firn_stats *s, const mem *m)
{
    s->memtables++;
    s->memtable_entries += memtable_entries(m->table);
    s->memtable_bytes += memtable_memory(m->table) + wal_segment_bytes(m->segment);
}

static void add_view(firn_stats *s, const view *v)
{
    if (v->active)
        add_mem(s, v->active);
    for (size_t i = 0; i < v->frozen_count; i++)
        add_mem(s, v->frozen[i]);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &v->version->levels[n];
        s->level_tables[n] = l->count;
        s->level_bytes[n] = l->bytes;
        for (size_t i = 0; i < l->count; i++) {
            s->level_entries[n] += l->tables[i]->properties.entries;
            s->level_deletes[n] += l->tables[i]->properties.deletes;
        }
    }
}

static uint64_t counter(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

int firn_get_stats(firn *db, firn_stats *out, firn_error *error)
{
    int rc = store_check_handle(db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!out)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the figures");
    firn_stats s = {.size = sizeof s};
    wal_stats log;
    sst_cache_stats cache;
    view *v = store_view(db);
    add_view(&s, v);
    view_unref(v);
    wal_get_stats(db->wal, &log);
    sst_cache_get_stats(db->cache, &cache);
    s.last_seq = firn_last_seq(db);
    s.durable_seq = log.durable_seq;
    s.flushed_seq = counter(&db->flushed_seq);
    s.log_segments = log.segments;
    s.log_bytes = log.disk_bytes;
    s.log_first_segment = log.oldest_segment;
    s.log_last_segment = log.newest_segment;
    s.cache_bytes = cache.used_bytes;
    s.cache_capacity = cache.capacity_bytes;
    s.cache_hits = cache.hits;
    s.cache_misses = cache.misses;
    s.bytes_put = counter(&db->counters.bytes_put);
    s.bytes_logged = log.appended_bytes;
    s.bytes_flushed = counter(&db->counters.bytes_flushed);
    s.bytes_compacted = counter(&db->counters.bytes_compacted);
    s.flushes = counter(&db->counters.flushes);
    s.compactions = counter(&db->counters.compactions);
    s.syncs = log.syncs;
    s.stall_us = counter(&db->counters.stall_us);
    mutex_lock(&db->snapshot_mu);
    s.snapshots = db->snapshot_count;
    mutex_unlock(&db->snapshot_mu);
    s.recovered_entries = db->recovered_entries;
    s.recovery_cut_bytes = db->recovery_cut_bytes;
    for (size_t i = 0; i < sizeof db->store_id; i++)
        snprintf(s.store_id + 2 * i, 3, "%02x", db->store_id[i]);
    mutex_lock(&db->state_mu);
    s.poisoned = log.poisoned || db->background_status != FIRN_OK;
    mutex_unlock(&db->state_mu);
    s.read_only = db->options.read_only;
    s.log_mapped = log.mapped;
    *out = s;
    return FIRN_OK;
}
