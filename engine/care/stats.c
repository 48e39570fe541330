/* stats: the store's figures, gathered from its rooms. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/sized.h>
#include <base/slice.h>
#include <stdio.h>
#include <string.h>

#include <engine/engine.h>
#include <tree/names.h>
#include "set_aside.h"
#include <store/store.h>
#include <tree/run.h>

static void add_mem(firn_stats *s, const mem *m)
{
    s->memtables++;
    s->memtable_entries += mem_entries(m);
    s->memtable_bytes += mem_index_bytes(m) + wal_segment_used(m->segment);
}

static void add_mems(firn_stats *s, const view *v)
{
    if (v->active)
        add_mem(s, v->active);
    for (size_t i = 0; i < v->frozen_count; i++)
        add_mem(s, v->frozen[i]);
}

static void add_levels(const version *v, engine_bucket *to)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &v->levels[n];
        to->level_tables[n] += l->count;
        to->level_bytes[n] += l->bytes;
        for (size_t i = 0; i < l->count; i++) {
            to->level_entries[n] += l->tables[i]->properties.entries;
            to->level_deletes[n] += l->tables[i]->properties.deletes;
            to->level_range_deletes[n] += l->tables[i]->properties.ranges;
        }
    }
}

static uint64_t counter(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static void add_waits(firn_stats *s, wait_list *from)
{
    wait_list_now now;
    wait_list_look(from, &now);
    memcpy(s->waits, now.done, sizeof s->waits);
    for (unsigned cause = FIRN_WAIT_SLOWED_LEVEL0; cause <= FIRN_WAIT_FLUSH; cause++)
        s->stall_us += now.done[cause].us;
    s->waiting_for = now.longest;
    s->waiting = now.waiting;
    s->waiting_us = now.longest_us;
}

/* A bucket as it is now, which may be dropped while its figures are told. */
typedef struct sight {
    view *view;
    bucket_name name;
} sight;

/* All of them, bucket 0 first. FIRN_NO_MEMORY. */
static int look_at_all(store *db, sight **out, size_t *count)
{
    sight *all = NULL;
    *count = 0;
    for (size_t most = 0; *count == 0;) {
        mutex_lock(&db->state_mu);
        bool fits = db->names.count < most;
        most = db->names.count + 1;
        for (tree *t = NULL; fits && (t = store_next_tree(db, t));)
            if (!t->pending)
                all[(*count)++] = (sight){tree_view(t), t->name};
        mutex_unlock(&db->state_mu);
        if (fits)
            break;
        heap_free(all);
        all = heap_alloc(most * sizeof *all);
        if (!all)
            return FIRN_NO_MEMORY;
    }
    *out = all;
    return FIRN_OK;
}

/* The levels of all buckets together. The mems of bucket 0 are those of all. */
static int add_trees(firn_stats *s, store *db)
{
    engine_bucket all = {0};
    sight *seen;
    size_t count;
    if (look_at_all(db, &seen, &count) != FIRN_OK)
        return FIRN_NO_MEMORY;
    add_mems(s, seen[0].view);
    /* While the views hold their tables, so that it is never less than what the levels have. */
    s->total_bytes = counter(&db->table_bytes);
    for (size_t i = 0; i < count; i++) {
        add_levels(seen[i].view->version, &all);
        view_unref(seen[i].view);
    }
    heap_free(seen);
    memcpy(s->level_tables, all.level_tables, sizeof all.level_tables);
    memcpy(s->level_bytes, all.level_bytes, sizeof all.level_bytes);
    memcpy(s->level_entries, all.level_entries, sizeof all.level_entries);
    memcpy(s->level_deletes, all.level_deletes, sizeof all.level_deletes);
    return FIRN_OK;
}

int engine_buckets(tree *t, void (*each)(void *ctx, const engine_bucket *bucket), void *ctx,
                   firn_error *err)
{
    store *db;
    sight *seen;
    size_t count;
    int rc = store_of(t, &db, err);
    if (rc != FIRN_OK)
        return rc;
    if (look_at_all(db, &seen, &count) != FIRN_OK)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const version *v = seen[i].view->version;
        const bucket_name *name = &seen[i].name;
        engine_bucket b = {.bucket = v->bucket, .name = slice_of(name->bytes, name->size)};
        add_levels(v, &b);
        each(ctx, &b);
        view_unref(seen[i].view);
    }
    heap_free(seen);
    return FIRN_OK;
}

/* What no other figure counts: the manifest, the room kept for a full disk, what was set aside. */
static int add_disk(store *db, firn_stats *s, firn_error *err)
{
    firn_lost_summary aside;
    firn_error why = {0};
    fs_entry reserve = {0};
    int rc = aside_walk(db->dir, false, NULL, NULL, &aside, &why);
    if (rc == FIRN_INVALID)
        rc = FIRN_OK; /* something else has the name lost: there is nothing of ours */
    if (rc == FIRN_OK)
        rc = fs_look(db->dir, NAME_RESERVE, &reserve, &why);
    if (rc != FIRN_OK && rc != FIRN_NOT_FOUND) {
        if (err)
            *err = why;
        return rc;
    }
    s->lost_files = aside.files;
    s->lost_bytes = aside.bytes;
    s->total_bytes += s->log_bytes + aside.bytes + counter(&db->manifest_bytes);
    if (reserve.kind == FS_KIND_FILE)
        s->total_bytes += reserve.size;
    return FIRN_OK;
}

static const sized_kind stats_kind = {"the figures", "call firn_get_stats", sizeof(firn_stats)};

int firn_get_stats_sized(tree *t, firn_stats *out, size_t size, firn_error *error)
{
    store *db;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!out)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the figures");
    firn_stats s = {.size = sizeof s};
    wal_stats log;
    sst_cache_stats cache;
    if (add_trees(&s, db) != FIRN_OK)
        return error_no_memory(error);
    wal_get_stats(db->wal, &log);
    sst_cache_get_stats(db->cache, &cache);
    s.last_seq = firn_last_seq(t);
    /* As firn_durable_seq: a group is durable for the log before it is shown. */
    s.durable_seq = log.durable_seq < s.last_seq ? log.durable_seq : s.last_seq;
    s.flushed_seq = counter(&db->flushed_seq);
    s.log_segments = log.segments;
    s.log_bytes = log.disk_bytes;
    s.log_used_bytes = log.used_bytes;
    s.newest_seq = counter(&db->newest_seq);
    s.log_first_segment = log.oldest_segment;
    s.log_last_segment = log.newest_segment;
    s.cache_bytes = cache.used_bytes + cache.part_bytes;
    s.memory_bytes = budget_total(&db->budget);
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
    add_waits(&s, &db->waits);
    mutex_lock(&db->snapshot_mu);
    s.snapshots = db->snapshot_count;
    mutex_unlock(&db->snapshot_mu);
    s.recovered_entries = db->recovered_entries;
    s.recovery_cut_bytes = db->recovery_cut_bytes;
    for (size_t i = 0; i < sizeof db->store_id; i++)
        snprintf(s.store_id + 2 * i, 3, "%02x", db->store_id[i]);
    mutex_lock(&db->state_mu);
    s.poisoned = log.poisoned || db->background_status != FIRN_OK;
    store_failure(db, WORK_FLUSH, &s.flush_error);
    store_failure(db, WORK_COMPACTION, &s.compaction_error);
    mutex_unlock(&db->state_mu);
    s.read_only = db->options.read_only;
    s.log_mapped = log.mapped;
    rc = add_disk(db, &s, error);
    if (rc == FIRN_OK)
        sized_init(&stats_kind, out, size, &s);
    return rc;
}

int(firn_get_stats)(tree *t, firn_stats *out, firn_error *error)
{
    return firn_get_stats_sized(t, out, SIZED_FIRST(firn_stats, memory_bytes), error);
}

/* ---- Of one bucket ---- */

static void add_bucket_mems(firn_bucket_stats *s, const view *v)
{
    for (size_t i = 0; i < view_mem_count(v); i++) {
        run r = view_mem_run(v, i);
        if (r.kind != RUN_MEM)
            continue;
        s->memtable_entries += memtable_entries(r.mem->table);
        s->memtable_deletes += memtable_deletes(r.mem->table);
    }
}

static void add_bucket_levels(firn_bucket_stats *s, const version *v, const tree_work *work)
{
    engine_bucket b = {0};
    add_levels(v, &b);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        s->level_tables[n] = b.level_tables[n];
        s->level_bytes[n] = b.level_bytes[n];
        s->level_entries[n] = b.level_entries[n];
        s->level_deletes[n] = b.level_deletes[n];
        s->level_range_deletes[n] = b.level_range_deletes[n];
        s->level_read[n] = counter(&work->read[n]);
        s->level_written[n] = counter(&work->written[n]);
        s->level_jobs[n] = counter(&work->jobs[n]);
    }
}

static const sized_kind bucket_stats_kind = {
    "the figures of a bucket", "call firn_get_bucket_stats", sizeof(firn_bucket_stats)};

int firn_get_bucket_stats_sized(tree *t, firn_bucket_stats *out, size_t size, firn_error *error)
{
    store *db;
    firn_bucket_stats s = {.size = sizeof s};
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && !out)
        rc = error_set(error, FIRN_INVALID, "there is nowhere to put the figures");
    view *v = rc == FIRN_OK ? tree_view(t) : NULL;
    if (rc == FIRN_OK && !v)
        rc = tree_dropped(t, error);
    if (rc != FIRN_OK)
        return rc;
    add_bucket_mems(&s, v);
    add_bucket_levels(&s, v->version, &t->work);
    view_unref(v);
    s.iterators = counter(&t->iterators);
    sized_init(&bucket_stats_kind, out, size, &s);
    return FIRN_OK;
}

int(firn_get_bucket_stats)(tree *t, firn_bucket_stats *out, firn_error *error)
{
    return firn_get_bucket_stats_sized(
        t, out, SIZED_FIRST(firn_bucket_stats, level_jobs[FIRN_LEVELS - 1]), error);
}
