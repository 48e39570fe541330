/* compact: merge tables of one level with what they overlap in the next.
 *
 * What may be left out is decided by the keeper (resolve.h). The order of a commit is flush's: tables
 * durable, folder durable, manifest edit durable, new version; the inputs' files go with the last
 * reader. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "store.h"

/* What a merge has to know beside the versions. */
typedef struct surroundings {
    firn *db;
    const job *job;
    size_t at[FIRN_LEVELS]; /* per level, how far the keys have come */
} surroundings;

/* May something of `key` lie below the output level? */
static bool lies_below(void *ctx, firn_slice key)
{
    surroundings *s = ctx;
    for (unsigned n = s->job->level + 2; n < FIRN_LEVELS; n++) {
        const level *l = &s->job->view->version->levels[n];
        size_t *at = &s->at[n];
        while (*at < l->count && slice_compare(l->tables[*at]->properties.key_max, key) < 0)
            (*at)++;
        if (*at < l->count && slice_compare(l->tables[*at]->properties.key_min, key) <= 0)
            return true;
    }
    return false;
}

static int open_inputs(const job *j, level *below, iter **out)
{
    size_t most = j->counts[0] + 1, count = 0;
    iter **runs = mem_alloc(most * sizeof *runs);
    int rc = runs ? FIRN_OK : FIRN_NO_MEMORY;
    for (size_t i = 0; rc == FIRN_OK && i < j->counts[0]; i++)
        if ((rc = level_iter_new(&j->inputs[0][i]->as_level, false, &runs[count])) == FIRN_OK)
            count++;
    *below = (level){.tables = j->inputs[1], .count = j->counts[1]};
    if (rc == FIRN_OK && below->count &&
        (rc = level_iter_new(below, false, &runs[count])) == FIRN_OK)
        count++;
    rc = merge_iter_of(rc, runs, count, out);
    mem_free(runs);
    return rc;
}

static bool closing(void *ctx)
{
    firn *db = ((surroundings *)ctx)->db;
    mutex_lock(&db->state_mu);
    bool yes = db->closing;
    mutex_unlock(&db->state_mu);
    return yes;
}

/* FIRN_END: given up because the store is being closed. */
static int merge_into(firn *db, job *j, iter *it, build *b, const buf *snapshots, firn_error *err)
{
    surroundings around = {.db = db, .job = j};
    build_rules rules = {
        .snapshots = snapshots, .ctx = &around, .lies_below = lies_below, .stop = closing};
    int rc = build_add_all(b, it, &rules, err);
    if (rc == FIRN_DAMAGED || it->status != FIRN_OK)
        j->input_failed = true;
    return rc == FIRN_OK ? build_finish(b, err) : rc;
}

/* What the inputs hold and do not list, under right checksums, is no version of this store's. In a new version it would
 * break V2 or E4, and no later open would take that. */
static int check_outputs(const firn *db, job *j, const build *b, firn_error *err)
{
    uint64_t flushed_seq = atomic_load_explicit(&db->flushed_seq, memory_order_acquire);
    firn_slice low = j->inputs[0][0]->properties.key_min;
    firn_slice high = j->inputs[0][0]->properties.key_max;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->counts[side]; i++) {
            const sst_properties *p = &j->inputs[side][i]->properties;
            low = slice_compare(p->key_min, low) < 0 ? p->key_min : low;
            high = slice_compare(p->key_max, high) > 0 ? p->key_max : high;
        }
    for (size_t i = 0; i < b->count; i++) {
        const sst_properties *p = &b->tables[i]->properties;
        if (p->seq_max <= flushed_seq && slice_compare(p->key_min, low) >= 0 &&
            slice_compare(p->key_max, high) <= 0)
            continue;
        j->input_failed = true;
        error_file(err, FIRN_DAMAGED, db->dir->path, FIRN_NO_OFFSET,
                   "a table holds entries that it does not list, although its checksums are right");
        error_hint(err, "`firn check` names the table; restore it from a backup" HINT_REPAIR);
        return FIRN_DAMAGED;
    }
    return FIRN_OK;
}

static int by_key(const void *a, const void *b)
{
    const table *x = *(table *const *)a, *y = *(table *const *)b;
    return slice_compare(x->properties.key_min, y->properties.key_min);
}

/* Of tables that do not overlap, each ends before the next one begins. */
static bool overlap_each_other(const job *j)
{
    bool overlap = false;
    if (j->counts[0] < 2 || j->level > 0) /* V2 */
        return false;
    table **sorted = mem_alloc(j->counts[0] * sizeof *sorted);
    if (!sorted)
        return true; /* they are merged then, which is never wrong */
    memcpy(sorted, j->inputs[0], j->counts[0] * sizeof *sorted);
    qsort(sorted, j->counts[0], sizeof *sorted, by_key);
    for (size_t i = 1; i < j->counts[0] && !overlap; i++)
        overlap =
            slice_compare(sorted[i - 1]->properties.key_max, sorted[i]->properties.key_min) >= 0;
    mem_free(sorted);
    return overlap;
}

/* Tables that overlap nothing, neither each other nor below, go down as they are. */
static bool can_move(const firn *db, const job *j)
{
    if (j->counts[1] > 0)
        return false;
    if (db->options.compression == FIRN_COMPRESSION_AUTO && j->level == 1)
        return false; /* from plain levels to compressed ones */
    for (size_t i = 0; i < j->counts[0]; i++)
        if (j->inputs[0][i]->properties.deletes > 0)
            return false; /* tombstones that hide nothing any more go on the way */
    return !overlap_each_other(j);
}

static int drop_inputs(const job *j, edit *e)
{
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->counts[side]; i++)
            if (edit_drop(e, j->level + side, j->inputs[side][i]) != FIRN_OK)
                return FIRN_NO_MEMORY;
    return FIRN_OK;
}

static int move_down(firn *db, const job *j, firn_error *err)
{
    edit e = {0};
    int rc = drop_inputs(j, &e);
    for (size_t i = 0; rc == FIRN_OK && i < j->counts[0]; i++)
        rc = edit_add(&e, j->level + 1, j->inputs[0][i]);
    rc = rc == FIRN_OK ? store_commit_edit(db, &e, NULL, err) : error_no_memory(err, 0);
    edit_release(&e);
    return rc;
}

static int rewrite(firn *db, job *j, firn_error *err)
{
    build b;
    edit e = {0};
    buf snapshots = {0};
    level below;
    iter *it = NULL;
    build_init(&b, db, j->level + 1, db->options.table_bytes);
    int rc = snapshots_list(db, &snapshots);
    if (rc == FIRN_OK)
        rc = open_inputs(j, &below, &it);
    if (rc != FIRN_OK)
        error_no_memory(err, 0);
    else
        rc = merge_into(db, j, it, &b, &snapshots, err);
    if (rc == FIRN_OK)
        rc = check_outputs(db, j, &b, err);
    if (rc == FIRN_OK) {
        rc = drop_inputs(j, &e);
        for (size_t i = 0; rc == FIRN_OK && i < b.count; i++)
            rc = edit_add(&e, j->level + 1, b.tables[i]);
        if (rc != FIRN_OK)
            error_no_memory(err, 0);
    }
    bool committing = rc == FIRN_OK;
    if (committing)
        rc = store_commit_edit(db, &e, NULL, err);
    if (rc == FIRN_OK) {
        for (size_t i = 0; i < e.dropped_count; i++)
            atomic_store_explicit(&e.dropped[i].table->obsolete, true, memory_order_release);
        atomic_fetch_add_explicit(&db->counters.bytes_compacted, b.bytes, memory_order_relaxed);
    }
    if (it)
        it->ops->close(it);
    /* As in flush.c: unknown whether the manifest lists them, so they stay. */
    build_release(&b, rc == FIRN_OK || (committing && !error_curable(rc)));
    edit_release(&e);
    buf_release(&snapshots);
    return rc;
}

/* To write the disk full and take it all back helps no one. What cannot be asked is tried. */
static int check_room(firn *db, const job *j, firn_error *err)
{
    fs_space space = {0};
    uint64_t bytes = job_output_bytes(db, j);
    if (fs_dir_space(db->dir, &space, NULL) != FIRN_OK || space.free_bytes >= bytes)
        return FIRN_OK;
    error_file(err, FIRN_NO_SPACE, db->dir->path, FIRN_NO_OFFSET,
               "a compaction of level %u may need %" PRIu64 " bytes, and %" PRIu64 " are free",
               j->level, bytes, space.free_bytes);
    error_hint_curable(err, ": compaction goes on by itself");
    return FIRN_NO_SPACE;
}

static int run(firn *db, job *j, firn_error *err) REQUIRES(db->compact_mu)
{
    bool moves = can_move(db, j);
    int rc = moves || j->asked_for ? FIRN_OK : check_room(db, j, err);
    if (rc == FIRN_OK)
        rc = moves ? move_down(db, j, err) : rewrite(db, j, err);
    if (rc == FIRN_OK)
        atomic_fetch_add_explicit(&db->counters.compactions, 1, memory_order_relaxed);
    return rc;
}

/* Runs the job that a pick found, if it found one (`rc` is the pick's), and releases it. */
static int run_picked(firn *db, int rc, job *j, bool *did, bool *input_failed, firn_error *err)
    REQUIRES(db->compact_mu)
{
    *did = *input_failed = false;
    if (rc == FIRN_NOT_FOUND)
        return FIRN_OK;
    if (rc != FIRN_OK)
        return error_no_memory(err, 0);
    rc = run(db, j, err);
    *did = rc == FIRN_OK;
    *input_failed = j->input_failed;
    job_release(j);
    return rc;
}

int compact_once(firn *db, bool *did, bool *input_failed, firn_error *err)
{
    job j = {0};
    mutex_lock(&db->compact_mu);
    int rc = run_picked(db, pick_due(db, &j), &j, did, input_failed, err);
    mutex_unlock(&db->compact_mu);
    store_reap(db);
    return rc;
}

/* The deepest level that has something in the range, or 0. */
static unsigned deepest(firn *db, firn_slice from, firn_slice to)
{
    view *v = store_view(db);
    unsigned found = 0;
    for (unsigned n = 1; n < FIRN_LEVELS; n++) {
        size_t first, end;
        level_overlap(&v->version->levels[n], from, to, &first, &end);
        if (first < end)
            found = n;
    }
    view_unref(v);
    return found;
}

static int compact_level(firn *db, unsigned n, firn_slice from, firn_slice to, firn_error *err)
{
    job j = {0};
    bool did, input_failed;
    mutex_lock(&db->compact_mu);
    int rc = pick_range(db, n, from, to, &j);
    /* The caller may know that much of it is garbage, and learns at once when it does not fit. */
    j.asked_for = true;
    rc = run_picked(db, rc, &j, &did, &input_failed, err);
    if (did)
        store_background_works(db, WORK_COMPACTION);
    mutex_unlock(&db->compact_mu);
    store_reap(db);
    return rc;
}

int firn_compact(firn *db, const void *from, size_t from_size, const void *to, size_t to_size,
                 firn_error *error)
{
    int rc = store_check_handle(db, error);
    if (rc == FIRN_OK && ((!from && from_size) || (!to && to_size)))
        rc = error_set(error, FIRN_INVALID, "a bound is NULL but has a size");
    if (rc == FIRN_OK)
        rc = firn_flush(db, error);
    if (rc != FIRN_OK)
        return rc;
    firn_slice lower = slice_of(from, from_size), upper = slice_of(to, to_size);
    unsigned last = deepest(db, lower, upper);
    if (last == 0)
        last = 1;
    firn_error why;
    error_clear(&why);
    for (unsigned n = 0; rc == FIRN_OK && n < last; n++)
        rc = compact_level(db, n, lower, upper, &why);
    mutex_lock(&db->state_mu);
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    cleaner_wait(&db->cleaner); /* what was replaced is gone from the disk */
    if (rc == FIRN_END)
        rc = error_set(&why, FIRN_INVALID, "the store is being closed");
    return error_give(error, rc, &why);
}
