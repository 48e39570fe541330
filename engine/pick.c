/* pick: which compaction is due, and which tables take part.
 *
 * Level 0 is due when it has L0_COMPACT_AT tables; level n >= 1 when its bytes exceed its limit.
 * The most exceeded level goes first. From level 0 all tables are taken (they overlap each other
 * anyway); from a deeper level the one table that overlaps the fewest bytes below for its size,
 * which keeps write amplification low. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>

#include "store.h"

static uint64_t level_limit(const firn *db, unsigned n)
{
    uint64_t limit = db->level1_bytes;
    for (unsigned i = 1; i < n; i++)
        limit *= LEVEL_RATIO;
    return limit;
}

static double score(const firn *db, const version *v, unsigned n)
{
    if (n == 0)
        return (double)v->levels[0].count / L0_COMPACT_AT;
    return (double)v->levels[n].bytes / (double)level_limit(db, n);
}

static unsigned most_urgent(const firn *db, const version *v, double *best)
{
    unsigned urgent = 0;
    *best = 0;
    for (unsigned n = 0; n + 1 < FIRN_LEVELS; n++) {
        double s = score(db, v, n);
        if (s > *best) {
            *best = s;
            urgent = n;
        }
    }
    return urgent;
}

bool compaction_due(const firn *db, const version *v)
{
    double best;
    most_urgent(db, v, &best);
    return best >= 1;
}

uint64_t job_output_bytes(const firn *db, const job *j)
{
    bool plain = db->options.compression == FIRN_COMPRESSION_NONE ||
                 (db->options.compression == FIRN_COMPRESSION_AUTO && j->level == 0);
    uint64_t bytes = 0;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->counts[side]; i++) {
            const sst_properties *p = &j->inputs[side][i]->properties;
            /* What was compressed and will not be any more grows. */
            bool grows = plain && p->raw_bytes > p->data_bytes;
            bytes += p->file_bytes + (grows ? p->raw_bytes - p->data_bytes : 0);
        }
    return bytes;
}

void job_release(job *j)
{
    mem_free(j->inputs[0]);
    mem_free(j->inputs[1]);
    view_unref(j->view);
    *j = (job){0};
}

static int take(job *j, int side, table **from, size_t count)
{
    if (count == 0)
        return FIRN_OK;
    j->inputs[side] = mem_alloc(count * sizeof(table *));
    if (!j->inputs[side])
        return FIRN_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        j->inputs[side][i] = from[i];
    j->counts[side] = count;
    return FIRN_OK;
}

static uint64_t overlap_bytes(const version *v, unsigned n, const table *t)
{
    size_t first, end;
    uint64_t bytes = 0;
    const level *below = &v->levels[n + 1];
    level_overlap(below, t->properties.key_min, t->properties.key_max, &first, &end);
    for (size_t i = first; i < end; i++)
        bytes += below->tables[i]->properties.file_bytes;
    return bytes;
}

static size_t cheapest(const version *v, unsigned n)
{
    const level *l = &v->levels[n];
    size_t best = 0;
    double best_cost = 0;
    for (size_t i = 0; i < l->count; i++) {
        double cost = (double)overlap_bytes(v, n, l->tables[i]) /
                      (double)(l->tables[i]->properties.file_bytes + 1);
        if (i == 0 || cost < best_cost) {
            best = i;
            best_cost = cost;
        }
    }
    return best;
}

/* inputs[1]: what the chosen tables overlap one level below. */
static int take_below(job *j)
{
    firn_slice from = {0}, to = {0};
    for (size_t i = 0; i < j->counts[0]; i++) {
        const sst_properties *p = &j->inputs[0][i]->properties;
        if (i == 0 || slice_compare(p->key_min, from) < 0)
            from = p->key_min;
        if (i == 0 || slice_compare(p->key_max, to) > 0)
            to = p->key_max;
    }
    /* An empty key is a bound too; only NULL means none. */
    static const uint8_t nothing;
    if (!from.data)
        from.data = &nothing;
    if (!to.data)
        to.data = &nothing;
    const level *below = &j->view->version->levels[j->level + 1];
    size_t first, end;
    level_overlap(below, from, to, &first, &end);
    return first < end ? take(j, 1, below->tables + first, end - first) : FIRN_OK;
}

/* inputs[0] has been taken, or not (`rc`): adds what lies below, and hands the job over or releases it. */
static int complete(int rc, job *j, job *out)
{
    if (rc == FIRN_OK)
        rc = take_below(j);
    if (rc == FIRN_OK)
        *out = *j;
    else
        job_release(j);
    return rc;
}

int pick_due(firn *db, job *out)
{
    job j = {.view = store_view(db)};
    const version *v = j.view->version;
    double best;
    j.level = most_urgent(db, v, &best);
    int rc = best >= 1 ? FIRN_OK : FIRN_NOT_FOUND;
    const level *l = &v->levels[j.level];
    if (rc == FIRN_OK)
        rc = j.level == 0 ? take(&j, 0, l->tables, l->count)
                          : take(&j, 0, l->tables + cheapest(v, j.level), 1);
    return complete(rc, &j, out);
}

int pick_range(firn *db, unsigned n, firn_slice from, firn_slice to, job *out)
{
    job j = {.view = store_view(db), .level = n};
    const level *l = &j.view->version->levels[n];
    size_t first = 0, end = l->count;
    if (n > 0)
        level_overlap(l, from, to, &first, &end);
    int rc = first < end ? take(&j, 0, l->tables + first, end - first) : FIRN_NOT_FOUND;
    return complete(rc, &j, out);
}
