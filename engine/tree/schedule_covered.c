/* schedule_covered: tables that range deletes above them have emptied for all readers (schedule.h).
 */
#include <base/alloc.h>
#include <base/slice.h>

#include <tree/resolve.h>
#include <tree/run.h>
#include <tree/schedule.h>

/* The oldest snapshot that sees anything of the table must see the range deletes, too. */
bool schedule_is_covered(const table *t, const fragments *by, const uint64_t *snapshots,
                         size_t count)
{
    const sst_properties *p = &t->properties;
    size_t below = snapshots_below(snapshots, count, p->seq_min);
    uint64_t most = below < count ? snapshots[below] : FIRN_MAX_SEQ;
    return by->count > 0 && most > p->seq_max &&
           fragments_cover_all(by, slice_somewhere(p->key_min), slice_somewhere(p->key_max),
                               table_ends_open(t), p->seq_max, most);
}

static bool covers(const schedule_state *s, const table *above, const table *t)
{
    fragments by = above->properties.ranges ? table_ranges(above) : (fragments){0};
    return schedule_is_covered(t, &by, s->snapshots, s->snapshot_count);
}

/* By one table of a level above, or, in level 0, by a newer one. */
static bool is_covered(const schedule_state *s, unsigned n, size_t i)
{
    const version *v = s->version;
    const table *t = v->levels[n].tables[i];
    const level *young = &v->levels[0];
    size_t newer = n > 0 ? young->count : i;
    for (size_t j = 0; young->ranged && j < newer; j++)
        if (covers(s, young->tables[j], t))
            return true;
    for (unsigned m = 1; m < n; m++) {
        const level *l = &v->levels[m];
        size_t at = l->ranged ? level_find(l, t->properties.key_min) : l->count;
        if (at < l->count && covers(s, l->tables[at], t))
            return true;
    }
    return false;
}

static bool is_free(const schedule_state *s, unsigned n, const table *t)
{
    claim c = {n, n, t->properties.key_min, t->properties.key_max};
    for (size_t i = 0; i < s->claim_count; i++)
        if (schedule_overlaps(&c, &s->claims[i]))
            return false;
    return true;
}

static bool may_go(const schedule_state *s, unsigned n, size_t i)
{
    return is_covered(s, n, i) && is_free(s, n, s->version->levels[n].tables[i]);
}

static int hand_out(const schedule_state *s, unsigned n, size_t first, size_t end,
                    schedule_job *out)
{
    const level *l = &s->version->levels[n];
    schedule_job j = {.kind = JOB_DROP,
                      .why = DUE_COVERED,
                      .level = n,
                      .target = n,
                      .counts = {end - first},
                      .next = first};
    j.inputs[0] = heap_alloc((end - first) * sizeof(table *));
    if (!j.inputs[0])
        return FIRN_NO_MEMORY;
    for (size_t i = first; i < end; i++)
        j.inputs[0][i - first] = l->tables[i];
    j.from = l->tables[first]->properties.key_min;
    j.to = l->tables[end - 1]->properties.key_max;
    *out = j;
    return FIRN_OK;
}

static int drop_of_level(const schedule_state *s, unsigned n, schedule_job *out)
{
    const level *l = &s->version->levels[n];
    size_t most = s->whole || l->count < SCHEDULE_LOOKS ? l->count : SCHEDULE_LOOKS;
    for (size_t step = 0; step < most; step++) {
        size_t i = (s->cursor[n] % l->count + step) % l->count, end = i + 1;
        if (!may_go(s, n, i))
            continue;
        if (!out)
            return FIRN_OK;
        /* In level 0 neighbours may overlap in any way: one at a time. */
        while (n > 0 && end < l->count && may_go(s, n, end))
            end++;
        return hand_out(s, n, i, end, out);
    }
    return FIRN_NOT_FOUND;
}

int schedule_covered(const schedule_state *s, schedule_job *out)
{
    const level *levels = s->version->levels;
    size_t ranged = levels[0].ranged; /* tables with range deletes so far, from above */
    int rc = FIRN_NOT_FOUND;
    for (unsigned n = 0; rc == FIRN_NOT_FOUND && n < FIRN_LEVELS; n++) {
        if (ranged)
            rc = drop_of_level(s, n, out);
        ranged += n > 0 ? levels[n].ranged : 0;
    }
    return rc;
}
