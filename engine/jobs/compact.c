/* compact: does a job: merges tables of one level with what they overlap in another, or moves them
 * there.
 *
 * What may be left out is decided by the keeper (resolve.h). The order of a commit is flush's:
 * tables durable, folder durable, manifest edit durable, new version; the inputs' files go with the
 * last reader. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>

#include <store/load.h>
#include "jobs.h"
#include <tree/run.h>

/* What a merge has to know beside the versions. */
typedef struct surroundings {
    job *job;
    size_t at[FIRN_LEVELS]; /* per level, how far the keys have come */
    /* Of the level below the output: the first table that does not end before the last key; where
     * the present output is overlapped first, and which table it may not reach (0: not known). */
    size_t next, first, reach;
    size_t tables; /* finished when the present output began */
} surroundings;

/* May something of `key` lie below the output level? */
static bool lies_below(void *ctx, firn_slice key)
{
    surroundings *s = ctx;
    for (unsigned n = s->job->what.target + 1; n < FIRN_LEVELS; n++) {
        const level *l = &s->job->version->levels[n];
        size_t *at = &s->at[n];
        while (*at < l->count && slice_compare(l->tables[*at]->properties.key_max, key) < 0)
            (*at)++;
        if (*at < l->count && slice_compare(l->tables[*at]->properties.key_min, key) <= 0)
            return true;
    }
    return false;
}

static bool range_lies_below(void *ctx, firn_slice first, firn_slice end)
{
    const surroundings *s = ctx;
    for (unsigned n = s->job->what.target + 1; n < FIRN_LEVELS; n++) {
        const level *l = &s->job->version->levels[n];
        size_t at = level_find(l, first);
        if (at < l->count && slice_compare(l->tables[at]->properties.key_min, end) < 0)
            return true;
    }
    return false;
}

/* The present output overlaps tables of the level below from `first` on. */
static void begin_output(surroundings *s, const level *below, size_t first)
{
    if (s->reach == 0 || s->first != first)
        s->reach = schedule_reach(&s->job->db->rules, below, first);
    s->first = first;
}

/* Would the output overlap too much of the next level, if it took this key? */
static bool cuts(void *ctx, const build *b, firn_slice key)
{
    surroundings *s = ctx;
    const level *l = &s->job->version->levels[s->job->what.target + 1];
    bool begins = !b->writer || b->cut; /* with this key; else it began with the last one, ... */
    if (!begins && b->count != s->tables)
        begin_output(s, l, s->next); /* ... or before that */
    s->tables = b->count;
    if (begins) /* perhaps in front of a key that has been here: behind a cut range delete */
        s->next = level_find(l, key);
    while (s->next < l->count && slice_compare(l->tables[s->next]->properties.key_max, key) < 0)
        s->next++;
    if (begins)
        begin_output(s, l, s->next);
    return !begins && s->reach < l->count &&
           slice_compare(l->tables[s->reach]->properties.key_min, key) <= 0;
}

/* What a job takes off the load (slow_load) while it runs. */
static void begin_relief(job *j)
{
    const store *db = j->db;
    j->worth = slow_worth(j->what.level == 0 ? j->what.counts[0] : 0, j->what.bytes_in,
                          schedule_unit(&db->rules, j->version));
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->what.counts[side]; i++)
            j->entries += j->what.inputs[side][i]->properties.entries;
}

static uint32_t relief_of(const job *j, uint64_t passed)
{
    return passed < j->entries ? (uint32_t)((double)j->worth * (double)passed / (double)j->entries)
                               : j->worth;
}

static void more_relief(job *j, uint64_t entries)
{
    uint64_t before = atomic_fetch_add_explicit(&j->passed, entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&j->db->relief, relief_of(j, before + entries) - relief_of(j, before),
                              memory_order_relaxed);
}

static void end_relief(job *j)
{
    uint64_t passed = atomic_load_explicit(&j->passed, memory_order_relaxed);
    atomic_fetch_sub_explicit(&j->db->relief, relief_of(j, passed), memory_order_relaxed);
}

/* Asked each BUILD_STOP_ENTRIES entries. */
static bool closing(void *ctx)
{
    store *db = ((surroundings *)ctx)->job->db;
    more_relief(((surroundings *)ctx)->job, BUILD_STOP_ENTRIES);
    mutex_lock(&db->state_mu);
    bool yes = db->closing;
    mutex_unlock(&db->state_mu);
    return yes;
}

static int list_ranges(const job *j, fragment_list *out, firn_error *err)
{
    level sides[2];
    run runs[2];
    for (unsigned side = 0; side < 2; side++) {
        sides[side] = (level){.tables = j->what.inputs[side], .count = j->what.counts[side]};
        runs[side] = run_of_level(&sides[side]);
    }
    return build_list_ranges(runs, 2, &j->snapshots, FIRN_MAX_SEQ, out, err);
}

/* Tables of level 0 may overlap each other and are a run each; those of a deeper level are one. */
static int open_inputs(const job *j, part *p, level sides[2], walk *out)
{
    size_t count = 0, apart = j->what.level == 0 ? sides[0].count : 0;
    run *runs = heap_alloc((apart + 2) * sizeof *runs);
    bool bounded = p->limits.lower.data || p->limits.upper.data;
    if (!runs)
        return error_no_memory(&p->error);
    for (; count < apart; count++)
        runs[count] = run_of_table(sides[0].tables[count]);
    for (unsigned side = apart ? 1 : 0; side < 2; side++)
        runs[count++] = run_of_level(&sides[side]);
    int rc = walk_open(runs, count, SST_WORK, bounded ? &p->limits : NULL, &p->error, out);
    heap_free(runs);
    return rc == FIRN_OK ? rc : error_no_memory(&p->error);
}

/* The inputs, but for those of which the range deletes leave nothing: they are not read. */
static int take_inputs(const job *j, const fragment_list *ranges, level sides[2])
{
    const uint64_t *snapshots = (const uint64_t *)(const void *)j->snapshots.data;
    size_t count = j->snapshots.size / sizeof *snapshots;
    fragments by = fragments_of(ranges);
    for (unsigned side = 0; side < 2; side++) {
        sides[side] = (level){0};
        table **some = heap_alloc((j->what.counts[side] + 1) * sizeof *some);
        if (!some)
            return FIRN_NO_MEMORY;
        sides[side].tables = some;
        for (size_t i = 0; i < j->what.counts[side]; i++)
            if (!schedule_is_covered(j->what.inputs[side][i], &by, snapshots, count))
                some[sides[side].count++] = j->what.inputs[side][i];
    }
    return FIRN_OK;
}

static int merge_part(job *j, part *p, fragment_list *ranges, const build_rules *rules)
{
    level sides[2] = {{0}};
    walk w = {0};
    int rc = list_ranges(j, ranges, &p->error);
    if (rc != FIRN_OK && rc != FIRN_NO_MEMORY)
        p->fault = FAULT_INPUT;
    if (rc == FIRN_OK && take_inputs(j, ranges, sides) != FIRN_OK)
        rc = error_no_memory(&p->error);
    if (rc == FIRN_OK)
        rc = open_inputs(j, p, sides, &w);
    if (rc == FIRN_OK)
        rc = build_add_all(&p->build, w.it, rules, &p->error);
    if (rc == FIRN_DAMAGED || (w.it && w.it->status != FIRN_OK))
        p->fault = FAULT_INPUT;
    walk_close(&w);
    heap_free(sides[0].tables);
    heap_free(sides[1].tables);
    return rc;
}

/* What the inputs hold and do not list, under right checksums, is no version of this store's. In a
 * new version it would break V2 or E4, and no later open would take that. */
static int check_outputs(const job *j, part *p)
{
    const store *db = j->db;
    uint64_t flushed_seq = atomic_load_explicit(&db->flushed_seq, memory_order_acquire);
    firn_slice low = j->what.from, high = j->what.to;
    for (size_t i = 0; i < p->build.count; i++) {
        const sst_properties *t = &p->build.tables[i]->properties;
        if (t->seq_max <= flushed_seq && slice_compare(t->key_min, low) >= 0 &&
            slice_compare(t->key_max, high) <= 0)
            continue;
        p->fault = FAULT_INPUT;
        error_file(&p->error, FIRN_DAMAGED, db->dir->path, FIRN_NO_OFFSET,
                   "a table holds entries that it does not list, although its checksums are right");
        error_hint(&p->error, "`firn check` names the table; restore it from a backup" HINT_REPAIR);
        return FIRN_DAMAGED;
    }
    return FIRN_OK;
}

/* FIRN_END: given up because the store is being closed. */
void job_run_part(job *j, part *p)
{
    surroundings around = {.job = j};
    fragment_list ranges = {0};
    build_rules rules = {.snapshots = &j->snapshots,
                         .ranges = &ranges,
                         .ctx = &around,
                         .lies_below = lies_below,
                         .range_lies_below = range_lies_below,
                         .stop = closing};
    unsigned target = j->what.target;
    if (target + 1 < FIRN_LEVELS && j->version->levels[target + 1].count)
        rules.cuts = cuts;
    int rc = merge_part(j, p, &ranges, &rules);
    fragment_list_release(&ranges);
    if (rc == FIRN_OK)
        rc = build_finish(&p->build, &p->error);
    if (p->build.table_failed && p->fault != FAULT_INPUT)
        p->fault = FAULT_OUTPUT;
    if (p->build.folder_failed)
        p->fault = FAULT_FOLDER;
    if (rc == FIRN_OK)
        rc = check_outputs(j, p);
    p->status = rc;
}

/* ---- Parts ---- */

/* Between which tables the parts meet: those of the target, or of a deeper level that the inputs
 * come from. */
static unsigned side_to_cut(const job *j)
{
    return j->what.level > 0 && j->what.counts[0] > j->what.counts[1] ? 0 : 1;
}

static void begin_part(job *j, part *parts, size_t at, firn_slice lower)
{
    parts[at].limits = (iter_limits){.seq_max = FIRN_MAX_SEQ};
    if (at > 0)
        parts[at].limits.lower = parts[at - 1].limits.upper = lower;
    build_init(&parts[at].build, j->db, j->what.target, j->db->options.table_bytes);
    parts[at].build.bucket = j->tree->bucket;
}

/* Each part begins with a table of that side, and has about as many of its bytes as the others. */
static size_t cut_between_tables(job *j, part *parts, size_t count)
{
    unsigned side = side_to_cut(j);
    uint64_t all = 0, before = 0;
    size_t made = 0;
    for (size_t i = 0; i < j->what.counts[side]; i++)
        all += j->what.inputs[side][i]->properties.file_bytes;
    for (size_t i = 0; i < j->what.counts[side]; i++) {
        const sst_properties *p = &j->what.inputs[side][i]->properties;
        if (made == 0 || (made < count && before >= all / count * made))
            begin_part(j, parts, made++, slice_somewhere(p->key_min));
        before += p->file_bytes;
    }
    return made;
}

static table *largest_input(const job *j)
{
    table *most = NULL;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->what.counts[side]; i++) {
            table *t = j->what.inputs[side][i];
            if (!most || t->properties.file_bytes > most->properties.file_bytes)
                most = t;
        }
    return most;
}

/* Each part has about as many bytes of the largest table as the others. What cannot be read or held
 * is the merge's own to tell: there are fewer parts then. */
static size_t cut_largest_table(job *j, part *parts, size_t count)
{
    run largest = run_of_table(largest_input(j));
    size_t made = 1;
    begin_part(j, parts, 0, (firn_slice){0});
    for (size_t i = 1; i < count; i++) {
        buf *lower = &parts[made].lower;
        if (run_split(largest, i, count, lower, NULL) != FIRN_OK)
            break;
        /* Many versions of one key may fill several blocks. */
        if (slice_compare(buf_slice(lower), parts[made - 1].limits.lower) > 0) {
            begin_part(j, parts, made, buf_slice(lower));
            made++;
        }
    }
    if (made < count)
        buf_release(&parts[made].lower);
    return made;
}

/* Range deletes may reach over any bound between parts. */
static bool has_ranges(const job *j)
{
    uint64_t ranges = 0;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->what.counts[side]; i++)
            ranges += j->what.inputs[side][i]->properties.ranges;
    return ranges > 0;
}

static int make_parts(job *j)
{
    size_t count = schedule_parts(&j->db->rules, &j->what, j->db->compactor_count), made;
    if (has_ranges(j))
        count = 1;
    part *parts = heap_zalloc(count * sizeof *parts);
    if (!parts)
        return FIRN_NO_MEMORY;
    if (count > 1 && count <= j->what.counts[side_to_cut(j)])
        made = cut_between_tables(j, parts, count);
    else
        made = cut_largest_table(j, parts, count);
    mutex_lock(&j->db->jobs_mu);
    j->parts = parts;
    j->part_next = 0;
    j->part_count = made;
    mutex_unlock(&j->db->jobs_mu);
    return FIRN_OK;
}

static void release_parts(job *j, bool kept)
{
    mutex_lock(&j->db->jobs_mu);
    part *parts = j->parts;
    size_t count = j->part_count;
    j->parts = NULL;
    j->part_count = j->part_next = 0;
    mutex_unlock(&j->db->jobs_mu);
    for (size_t i = 0; i < count; i++) {
        build_release(&parts[i].build, kept);
        buf_release(&parts[i].lower);
    }
    heap_free(parts);
}

/* ---- Committing ---- */

static int drop_inputs(const job *j, edit *e)
{
    const unsigned levels[2] = {j->what.level, j->what.target};
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->what.counts[side]; i++)
            if (edit_drop(e, levels[side], j->what.inputs[side][i]) != FIRN_OK)
                return FIRN_NO_MEMORY;
    return FIRN_OK;
}

/* What was dropped goes with its last reader. */
static void make_obsolete(const edit *e)
{
    for (size_t i = 0; i < e->dropped_count; i++)
        atomic_store_explicit(&e->dropped[i].table->obsolete, true, memory_order_release);
}

static int move_down(job *j, firn_error *err)
{
    edit e = {0};
    int rc = drop_inputs(j, &e);
    for (size_t i = 0; rc == FIRN_OK && i < j->what.counts[0]; i++)
        rc = edit_add(&e, j->what.target, j->what.inputs[0][i]);
    rc = rc == FIRN_OK ? store_commit_edit(j->db, &e, NULL, err) : error_no_memory(err);
    edit_release(&e);
    return rc;
}

/* Until the edit is durable, the range deletes hide them. */
static int drop_covered(job *j, firn_error *err)
{
    edit e = {0};
    int rc = drop_inputs(j, &e);
    rc = rc == FIRN_OK ? store_commit_edit(j->db, &e, NULL, err) : error_no_memory(err);
    if (rc == FIRN_OK)
        make_obsolete(&e);
    edit_release(&e);
    return rc;
}

static int list_outputs(const job *j, edit *e, uint64_t *bytes)
{
    int rc = drop_inputs(j, e);
    *bytes = 0;
    for (size_t i = 0; i < j->part_count; i++) {
        const build *b = &j->parts[i].build;
        *bytes += b->bytes;
        if (rc == FIRN_OK)
            rc = build_list(b, e);
    }
    return rc;
}

static int rewrite(job *j, firn_error *err)
{
    store *db = j->db;
    edit e = {0};
    uint64_t bytes = 0;
    begin_relief(j);
    int rc = snapshots_list(db, &j->snapshots);
    if (rc == FIRN_OK)
        rc = make_parts(j);
    rc = rc == FIRN_OK ? jobs_run_parts(j, err) : error_no_memory(err);
    if (rc == FIRN_OK && list_outputs(j, &e, &bytes) != FIRN_OK)
        rc = error_no_memory(err);
    bool stay;
    rc = build_commit(db, rc, &e, NULL, &stay, err);
    if (rc == FIRN_OK) {
        make_obsolete(&e);
        atomic_fetch_add_explicit(&db->counters.bytes_compacted, bytes, memory_order_relaxed);
        store_note_work(db, &e, j->what.target);
    }
    end_relief(j);
    release_parts(j, stay);
    edit_release(&e);
    return rc;
}

int job_run(job *j, firn_error *err)
{
    uint64_t began = latency_begin(j->db);
    int rc = j->what.kind == JOB_MERGE  ? rewrite(j, err)
             : j->what.kind == JOB_MOVE ? move_down(j, err)
                                        : drop_covered(j, err);
    if (rc == FIRN_OK)
        atomic_fetch_add_explicit(&j->db->counters.compactions, 1, memory_order_relaxed);
    return latency_end(j->db, FIRN_LATENCY_COMPACTION, began, rc);
}
