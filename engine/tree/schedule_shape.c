/* schedule_shape: how the bytes of a tree should lie, and how far they are from that (schedule.h).
 */
#include <base/slice.h>

#include <tree/resolve.h>
#include <tree/schedule.h>

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static unsigned deepest(const version *v)
{
    unsigned n = FIRN_LEVELS - 1;
    while (n > 1 && v->levels[n].count == 0)
        n--;
    return n;
}

unsigned schedule_levels_for(const schedule_rules *r, uint64_t bytes)
{
    unsigned count = 1;
    for (uint64_t most = times(r->level_base_bytes, SCHEDULE_SPLIT);
         bytes > most && count < FIRN_LEVELS - 1; most = times(most, r->ratio))
        count++;
    return count;
}

void schedule_share(const schedule_rules *r, uint64_t bytes, unsigned last, unsigned count,
                    uint64_t share[FIRN_LEVELS])
{
    share[last] = UINT64_MAX;
    for (unsigned n = last - 1; n > last - count; n--) {
        bytes /= r->ratio;
        share[n] = bytes > r->level_base_bytes ? bytes : r->level_base_bytes;
    }
}

void schedule_shape_of(const schedule_rules *r, const version *v, schedule_shape *out)
{
    uint64_t bytes = 0;
    for (unsigned n = 1; n < FIRN_LEVELS; n++)
        bytes = plus(bytes, v->levels[n].bytes);
    unsigned count = schedule_levels_for(r, bytes), last = deepest(v);
    *out = (schedule_shape){.last = last > count ? last : count};
    out->base = out->last - count + 1;
    schedule_share(r, bytes, out->last, count, out->share);
    out->landing = 1;
    while (out->landing < out->base && v->levels[out->landing].count == 0)
        out->landing++;
}

uint64_t schedule_overlap_bytes(const level *l, firn_slice from, firn_slice to)
{
    size_t first, end;
    uint64_t bytes = 0;
    level_overlap(l, slice_somewhere(from), slice_somewhere(to), &first, &end);
    for (size_t i = first; i < end; i++)
        bytes += l->tables[i]->properties.file_bytes;
    return bytes;
}

uint64_t schedule_debt(const schedule_rules *r, const version *v)
{
    schedule_shape shape;
    uint64_t debt = 0, coming = 0;
    schedule_shape_of(r, v, &shape);
    for (unsigned n = 1; n < shape.last; n++) {
        uint64_t held = plus(v->levels[n].bytes, coming);
        coming = held > shape.share[n] ? held - shape.share[n] : 0;
        if (coming == 0)
            continue;
        /* What goes down is written, and with it the part of the next level that it overlaps. */
        double overlap = (double)v->levels[n + 1].bytes / (double)held;
        debt = plus(debt, coming + (uint64_t)((double)coming * overlap));
    }
    return debt;
}

uint64_t schedule_unit(const schedule_rules *r, const version *v)
{
    uint64_t bytes = 0;
    for (unsigned n = 1; n < FIRN_LEVELS; n++)
        bytes = plus(bytes, v->levels[n].bytes);
    return bytes / SCHEDULE_UNIT > r->level_base_bytes ? bytes / SCHEDULE_UNIT
                                                       : r->level_base_bytes;
}

/* x^n for a chance x. */
static double chance_of_all(double x, uint64_t n)
{
    double all = 1;
    for (; n > 0; n >>= 1, x *= x)
        all *= n & 1 ? x : 1;
    return all;
}

/* Of a range that was made of several: a version goes when all go that see it. Which those are is
 * not known; how many are, on average. */
static uint64_t needed_of(const kept_range *k, const uint64_t *snapshots, size_t count)
{
    size_t left = snapshots_between(snapshots, count, k->from, k->to);
    if (left == 0 || left >= k->snapshots)
        return left ? k->count : 0;
    double gone = 1 - (double)left / (double)k->snapshots;
    return k->count - (uint64_t)((double)k->count * chance_of_all(gone, k->seen / k->count));
}

bool schedule_may_have_garbage(const table *t, const uint64_t *snapshots, size_t count)
{
    bool may = !t->kept_known;
    for (size_t i = 0; !may && i < t->kept_count; i++) {
        const kept_range *k = &t->kept[i];
        may = snapshots_between(snapshots, count, k->from, k->to) < k->snapshots;
    }
    return may;
}

uint64_t schedule_needed(const table *t, const uint64_t *snapshots, size_t count)
{
    uint64_t needed = 0;
    for (size_t i = 0; i < t->kept_count; i++)
        needed += needed_of(&t->kept[i], snapshots, count);
    return needed;
}

uint64_t schedule_garbage(const table *t, const uint64_t *snapshots, size_t count, bool bottom)
{
    uint64_t hidden = 0, deletes = t->properties.deletes;
    uint64_t needed = schedule_needed(t, snapshots, count);
    for (size_t i = 0; i < t->kept_count; i++)
        hidden += t->kept[i].count;
    uint64_t garbage = hidden - needed;
    /* Each tombstone that a merge at the bottom keeps hides a version that a snapshot needs. */
    if (bottom && deletes > needed)
        garbage += deletes - needed;
    return garbage < t->properties.entries ? garbage : t->properties.entries;
}
