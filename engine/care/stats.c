/* stats: the store's figures, gathered from its rooms. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/sized.h>
#include <base/slice.h>
#include <stdio.h>
#include <string.h>

#include <engine/engine.h>
#include <tree/names.h>
#include "figures.h"
#include "set_aside.h"
#include <tree/run.h>

static uint64_t counter(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* ---- Of one bucket ---- */

static sight sight_of(const tree *t)
{
    sight s = {.view = tree_view(t), .name = t->name, .iterators = counter(&t->iterators)};
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        s.read[n] = counter(&t->work.read[n]);
        s.written[n] = counter(&t->work.written[n]);
        s.jobs[n] = counter(&t->work.jobs[n]);
    }
    return s;
}

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

static void add_tables(firn_bucket_stats *s, unsigned n, const level *l)
{
    s->level_tables[n] = l->count;
    s->level_bytes[n] = l->bytes;
    for (size_t i = 0; i < l->count; i++) {
        s->level_entries[n] += l->tables[i]->properties.entries;
        s->level_deletes[n] += l->tables[i]->properties.deletes;
        s->level_range_deletes[n] += l->tables[i]->properties.ranges;
    }
}

void figures_of_bucket(const sight *seen, firn_bucket_stats *out)
{
    *out = (firn_bucket_stats){.size = sizeof *out, .iterators = seen->iterators};
    add_bucket_mems(out, seen->view);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        add_tables(out, n, &seen->view->version->levels[n]);
    memcpy(out->level_read, seen->read, sizeof out->level_read);
    memcpy(out->level_written, seen->written, sizeof out->level_written);
    memcpy(out->level_jobs, seen->jobs, sizeof out->level_jobs);
}

static const sized_kind bucket_stats_kind = {
    "the figures of a bucket", "call firn_get_bucket_stats", sizeof(firn_bucket_stats)};

int firn_get_bucket_stats_sized(tree *t, firn_bucket_stats *out, size_t size, firn_error *error)
{
    store *db;
    firn_bucket_stats told;
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && !out)
        rc = error_set(error, FIRN_INVALID, "there is nowhere to put the figures");
    if (rc != FIRN_OK)
        return rc;
    sight s = sight_of(t);
    if (!s.view)
        return tree_dropped(t, error);
    figures_of_bucket(&s, &told);
    view_unref(s.view);
    sized_init(&bucket_stats_kind, out, size, &told);
    return FIRN_OK;
}

int(firn_get_bucket_stats)(tree *t, firn_bucket_stats *out, firn_error *error)
{
    return firn_get_bucket_stats_sized(
        t, out, SIZED_FIRST(firn_bucket_stats, level_jobs[FIRN_LEVELS - 1]), error);
}

/* ---- Of all buckets ---- */

int sights_take(store *db, sights *out)
{
    sight *all = NULL;
    size_t count = 0;
    for (size_t most = 0; count == 0;) {
        mutex_lock(&db->state_mu);
        bool fits = db->names.count < most;
        most = db->names.count + 1;
        for (tree *t = NULL; fits && (t = store_next_tree(db, t));)
            if (!t->pending)
                all[count++] = sight_of(t);
        mutex_unlock(&db->state_mu);
        if (fits)
            break;
        heap_free(all);
        all = heap_alloc(most * sizeof *all);
        if (!all)
            return FIRN_NO_MEMORY;
    }
    *out = (sights){all, count};
    return FIRN_OK;
}

void sights_release(sights *s)
{
    for (size_t i = 0; i < s->count; i++)
        view_unref(s->all[i].view);
    heap_free(s->all);
    *s = (sights){0};
}

int engine_buckets(tree *t, void (*each)(void *ctx, const engine_bucket *bucket), void *ctx,
                   firn_error *err)
{
    store *db;
    sights seen;
    int rc = store_of(t, &db, err);
    if (rc != FIRN_OK)
        return rc;
    if (sights_take(db, &seen) != FIRN_OK)
        return error_no_memory(err);
    for (size_t i = 0; i < seen.count; i++) {
        const bucket_name *name = &seen.all[i].name;
        engine_bucket b = {.bucket = seen.all[i].view->version->bucket,
                           .name = slice_of(name->bytes, name->size)};
        figures_of_bucket(&seen.all[i], &b.figures);
        each(ctx, &b);
    }
    sights_release(&seen);
    return FIRN_OK;
}

/* ---- Of the store ---- */

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

static void add_levels(uint64_t to[FIRN_LEVELS], const uint64_t from[FIRN_LEVELS])
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        to[n] += from[n];
}

/* The mems of bucket 0 are those of all. */
static void add_buckets(firn_stats *s, const sights *seen)
{
    firn_bucket_stats b;
    s->bucket_count = seen->count;
    add_mems(s, seen->all[0].view);
    for (size_t i = 0; i < seen->count; i++) {
        figures_of_bucket(&seen->all[i], &b);
        s->memtable_deletes += b.memtable_deletes;
        s->iterators += b.iterators;
        add_levels(s->level_tables, b.level_tables);
        add_levels(s->level_bytes, b.level_bytes);
        add_levels(s->level_entries, b.level_entries);
        add_levels(s->level_deletes, b.level_deletes);
        add_levels(s->level_range_deletes, b.level_range_deletes);
        add_levels(s->level_read, b.level_read);
        add_levels(s->level_written, b.level_written);
        add_levels(s->level_jobs, b.level_jobs);
    }
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

static void add_snapshots(firn_stats *s, store *db)
{
    mutex_lock(&db->snapshot_mu);
    s->snapshots = db->snapshot_count;
    const firn_snapshot *oldest = db->snapshots; /* they ascend */
    while (s->snapshots && oldest->own)
        oldest = oldest->next;
    s->oldest_snapshot = s->snapshots ? oldest->seq : 0;
    mutex_unlock(&db->snapshot_mu);
}

static void add_memory(firn_stats *s, const memory_budget *b)
{
    s->memory_limit = b->limit;
    s->memory_log = budget_held(b, BUDGET_LOG);
    s->memory_index = budget_held(b, BUDGET_INDEX);
    s->memory_blocks = budget_held(b, BUDGET_BLOCKS);
    s->memory_filters = budget_held(b, BUDGET_FILTERS);
    s->memory_indexes = budget_held(b, BUDGET_INDEXES);
    s->memory_tables = budget_held(b, BUDGET_TABLES);
    s->memory_work = budget_held(b, BUDGET_SCRATCH);
    s->memory_bytes = s->memory_log + s->memory_index + s->memory_blocks + s->memory_filters +
                      s->memory_indexes + s->memory_tables + s->memory_work;
}

static void add_reads(firn_stats *s, const store *db)
{
    sst_cache_stats cache;
    sst_cache_get_stats(db->cache, &cache);
    s->cache_bytes = cache.used_bytes + cache.part_bytes;
    s->cache_capacity = cache.capacity_bytes;
    s->cache_hits = cache.hits;
    s->cache_misses = cache.misses;
    s->filter_loads = cache.filter_loads;
    s->index_loads = cache.index_loads;
    for (unsigned i = 0; i < FILTER_STRIPES; i++)
        for (unsigned n = 0; n < FIRN_LEVELS; n++) {
            s->level_filter_wrong[n] += counter(&db->filters[i].wrong[n]);
            s->level_filter_denied[n] += counter(&db->filters[i].denied[n]);
        }
}

static void add_log(firn_stats *s, const store *db)
{
    wal_stats log;
    wal_get_stats(db->wal, &log);
    /* As firn_durable_seq: a group is durable for the log before it is shown. */
    s->durable_seq = log.durable_seq < s->last_seq ? log.durable_seq : s->last_seq;
    s->log_segments = log.segments;
    s->log_bytes = log.disk_bytes;
    s->log_used_bytes = log.used_bytes;
    s->log_first_segment = log.oldest_segment;
    s->log_last_segment = log.newest_segment;
    s->log_mapped = log.mapped;
    s->bytes_logged = log.appended_bytes;
    s->syncs = log.syncs;
    s->poisoned = log.poisoned;
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

int figures_of_store(store *db, const sights *seen, firn_stats *out, firn_error *err)
{
    /* The files of the tables first: while the views hold theirs, so that it is never less than
     * what the levels have. */
    firn_stats s = {.size = sizeof s, .total_bytes = counter(&db->table_bytes)};
    add_buckets(&s, seen);
    s.last_seq = firn_last_seq(&db->main);
    s.flushed_seq = counter(&db->flushed_seq);
    s.newest_seq = counter(&db->newest_seq);
    add_log(&s, db);
    add_reads(&s, db);
    add_memory(&s, &db->budget);
    add_waits(&s, &db->waits);
    add_snapshots(&s, db);
    s.values = readers_pins(&db->readers);
    s.bytes_put = counter(&db->counters.bytes_put);
    s.bytes_flushed = counter(&db->counters.bytes_flushed);
    s.bytes_compacted = counter(&db->counters.bytes_compacted);
    s.flushes = counter(&db->counters.flushes);
    s.compactions = counter(&db->counters.compactions);
    s.recovered_entries = db->recovered_entries;
    s.recovery_cut_bytes = db->recovery_cut_bytes;
    for (size_t i = 0; i < sizeof db->store_id; i++)
        snprintf(s.store_id + 2 * i, 3, "%02x", db->store_id[i]);
    mutex_lock(&db->state_mu);
    s.poisoned = s.poisoned || db->background_status != FIRN_OK;
    store_failure(db, WORK_FLUSH, &s.flush_error);
    store_failure(db, WORK_COMPACTION, &s.compaction_error);
    mutex_unlock(&db->state_mu);
    s.read_only = db->options.read_only;
    int rc = add_disk(db, &s, err);
    if (rc == FIRN_OK)
        memcpy(out, &s, sizeof s);
    return rc;
}

static const sized_kind stats_kind = {"the figures", "call firn_get_stats", sizeof(firn_stats)};

int firn_get_stats_sized(tree *t, firn_stats *out, size_t size, firn_error *error)
{
    store *db;
    sights seen;
    firn_stats s;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!out)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the figures");
    if (sights_take(db, &seen) != FIRN_OK)
        return error_no_memory(error);
    rc = figures_of_store(db, &seen, &s, error);
    sights_release(&seen);
    if (rc == FIRN_OK)
        sized_init(&stats_kind, out, size, &s);
    return rc;
}

int(firn_get_stats)(tree *t, firn_stats *out, firn_error *error)
{
    return firn_get_stats_sized(t, out, SIZED_FIRST(firn_stats, memory_bytes), error);
}
