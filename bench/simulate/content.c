/* content: see content.h.
 *
 * The ends of all inputs cut the keys into stretches in which each input has the same density. Stretch by stretch, the inputs are
 * laid over each other, newest first, and what is left goes into the output, which is cut where it is full. */
#include "content.h"

#include <stdlib.h>
#include <string.h>

#define ALL_PLACES 18446744073709551616.0

typedef struct output {
    const merging *m;
    counts held;
    double bytes;
    uint64_t low, reach;
} output;

static double width(uint64_t low, uint64_t high)
{
    return (double)(high - low) + 1;
}

double content_bytes(const merging *m, uint64_t low, uint64_t high, const counts *c)
{
    double all = counts_entries(c, m->keys->classes);
    double deleted = counts_deleted(c, m->keys->classes), puts = all - deleted;
    const entry_size *put = &m->sizes->put, *dead = &m->sizes->dead;
    /* Ascending keys are consecutive numbers. */
    double near = m->keys->pattern == PATTERN_ASCENDING ? ALL_PLACES / 2
                                                        : all * ALL_PLACES / width(low, high);
    double shared = sizes_shared(m->sizes, near);
    if (m->packed) /* what a thinner table has to store again is compressed, too */
        shared = put->shared + (shared - put->shared) * put->part;
    return puts * (m->packed ? put->packed : put->plain) +
           deleted * (m->packed ? dead->packed : dead->plain) - all * shared;
}

static void add_scaled(counts *to, const counts *c, double part, unsigned classes)
{
    for (unsigned i = 0; i < classes; i++)
        for (unsigned kind = 0; kind < KINDS; kind++)
            to->of[i][kind] += c->of[i][kind] * part;
}

/* The part of `input` that lies in the stretch goes below what is there already. */
static void lay_below(const merging *m, counts *top, const content *input, uint64_t low,
                      uint64_t high)
{
    double part = width(low, high) / width(input->low, input->high);
    for (unsigned i = 0; i < m->keys->classes; i++) {
        const double *in = input->of + i * KINDS;
        double *on = top->of[i];
        double there = m->keys->keys[i] * width(low, high) / ALL_PLACES;
        double random = on[COUNT_PUT] + on[COUNT_DELETED], all = random + on[COUNT_LOADED];
        double seen_loaded = random < there ? 1 - random / there : 0;
        double seen = all < there ? 1 - all / there : 0;
        /* Ascending keys are written once; what was loaded was written once, too. */
        if (m->keys->pattern == PATTERN_ASCENDING)
            seen = seen_loaded = 1;
        on[COUNT_LOADED] += in[COUNT_LOADED] * part * seen_loaded;
        on[COUNT_PUT] += in[COUNT_PUT] * part * seen;
        on[COUNT_DELETED] += in[COUNT_DELETED] * part * seen;
    }
}

static void end_table(output *o, uint64_t high)
{
    if (counts_entries(&o->held, o->m->keys->classes) >= 0.5)
        o->m->give(o->m->ctx, o->low, high, &o->held);
    memset(&o->held, 0, sizeof o->held);
    o->bytes = 0;
}

static void begin_table(output *o, uint64_t low)
{
    o->low = low;
    o->reach = o->m->reach(o->m->ctx, low);
}

/* Of a stretch that begins at `low`: how much of it, at most `left`, goes into the present table. 1 is all of the stretch. */
static double part_that_fits(const output *o, double bytes, double places, uint64_t low,
                             double left)
{
    double room = (double)o->m->table_bytes - o->bytes, part = left;
    if (bytes > 0 && room < bytes * part)
        part = room > 0 ? room / bytes : 0;
    if (o->reach < low)
        return 0;
    double until = width(low, o->reach) / places;
    return until < part ? until : part;
}

/* Adds a stretch; the output is cut in it as often as it is full. */
static void add_stretch(output *o, const counts *c, uint64_t low, uint64_t high)
{
    double bytes = content_bytes(o->m, low, high, c), left = 1, places = width(low, high);
    if (o->bytes == 0)
        begin_table(o, low);
    for (uint64_t at = low;;) {
        double part = part_that_fits(o, bytes, places, at, left);
        add_scaled(&o->held, c, part, o->m->keys->classes);
        o->bytes += bytes * part;
        left -= part;
        double passed = places * (1 - left);
        if (places - passed < 1 || left <= 0)
            return;
        at = low + (uint64_t)passed;
        if (at > o->low)
            end_table(o, at - 1);
        begin_table(o, at);
    }
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The first places of all stretches, without those that would begin behind the last place. */
static size_t find_stretches(const merging *m, uint64_t *starts)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        starts[count++] = m->inputs[i]->low;
        if (m->inputs[i]->high != UINT64_MAX)
            starts[count++] = m->inputs[i]->high + 1;
    }
    qsort(starts, count, sizeof *starts, by_place);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || starts[i] != starts[kept - 1])
            starts[kept++] = starts[i];
    return kept;
}

static void merge_stretch(const merging *m, output *o, uint64_t low, uint64_t high)
{
    counts top;
    memset(&top, 0, sizeof top);
    bool any = false;
    for (size_t i = 0; i < m->count; i++)
        if (m->inputs[i]->low <= low && high <= m->inputs[i]->high) {
            lay_below(m, &top, m->inputs[i], low, high);
            any = true;
        }
    if (!any)
        return;
    if (counts_deleted(&top, m->keys->classes) > 0 && !m->lies_below(m->ctx, low, high))
        for (unsigned i = 0; i < m->keys->classes; i++)
            top.of[i][COUNT_DELETED] = 0;
    add_stretch(o, &top, low, high);
}

void content_merge(const merging *m)
{
    uint64_t *starts = malloc((2 * m->count + 1) * sizeof *starts), last = 0;
    if (!starts)
        stop("no memory left");
    size_t count = find_stretches(m, starts);
    for (size_t i = 0; i < m->count; i++)
        last = m->inputs[i]->high > last ? m->inputs[i]->high : last;
    output o = {.m = m};
    for (size_t i = 0; i < count && starts[i] <= last; i++)
        merge_stretch(m, &o, starts[i], i + 1 < count ? starts[i + 1] - 1 : last);
    if (o.bytes > 0)
        end_table(&o, last);
    free(starts);
}
