/* figures: see figures.h. */
#include "figures.h"

#include <stdlib.h>
#include <string.h>

#include <store/load.h>

#include "settings.h"

void gauge_add(gauge *g, double value)
{
    g->sum += value;
    g->worst = value > g->worst ? value : g->worst;
    g->samples++;
}

double gauge_mean(const gauge *g)
{
    return g->samples ? g->sum / (double)g->samples : 0;
}

static double bytes_of(const edit_table *tables, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)tables[i].table->properties.file_bytes;
    return sum;
}

static bool is_move(const edit *e)
{
    return e->added_count && e->dropped_count && e->added[0].table == e->dropped[0].table;
}

void figures_edit(figures *f, const edit *e, unsigned level0, uint64_t debt, uint64_t unit)
{
    double added = bytes_of(e->added, e->added_count);
    if (e->added_count + e->dropped_count == 0)
        return;
    if (e->dropped_count == 0) {
        f->flushes++;
        f->flushed_bytes += added;
    } else if (is_move(e)) {
        f->moves++;
    } else {
        f->merges++;
        f->read_bytes += bytes_of(e->dropped, e->dropped_count);
        if (e->added_count)
            f->merged_bytes[e->added[0].level] += added;
    }
    f->level0_worst = level0 > f->level0_worst ? level0 : f->level0_worst;
    gauge_add(&f->owed, (double)debt);
    gauge_add(&f->load, (double)slow_load(level0, debt, unit) / SLOW_ONE);
}

void figures_second(figures *f, double writes)
{
    if (f->seconds_count == f->seconds_room) {
        size_t wanted = f->seconds_room ? f->seconds_room * 2 : 1024;
        double *grown = realloc(f->seconds, wanted * sizeof *grown);
        if (!grown)
            stop("no memory left");
        f->seconds = grown;
        f->seconds_room = wanted;
    }
    f->seconds[f->seconds_count++] = writes;
}

void figures_release(figures *f)
{
    free(f->seconds);
    *f = (figures){0};
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double figures_worst_second(const figures *f)
{
    double worst = f->seconds_count ? f->seconds[0] : 0;
    for (size_t i = 1; i < f->seconds_count; i++)
        worst = f->seconds[i] < worst ? f->seconds[i] : worst;
    return worst;
}

double figures_median_second(const figures *f)
{
    if (f->seconds_count == 0)
        return 0;
    double *sorted = malloc(f->seconds_count * sizeof *sorted);
    if (!sorted)
        stop("no memory left");
    memcpy(sorted, f->seconds, f->seconds_count * sizeof *sorted);
    qsort(sorted, f->seconds_count, sizeof *sorted, by_size);
    double median = sorted[f->seconds_count / 2];
    free(sorted);
    return median;
}

double figures_level_bytes(const figures *f, unsigned lvl)
{
    return f->looks ? f->level_sum[lvl] / f->looks : 0;
}

double figures_level_tables(const figures *f, unsigned lvl)
{
    return f->looks ? f->tables_sum[lvl] / f->looks : 0;
}

double figures_merged(const figures *f)
{
    double sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += f->merged_bytes[n];
    return sum;
}

double figures_write_amplification(const figures *f)
{
    return f->put_bytes > 0 ? (f->flushed_bytes + figures_merged(f)) / f->put_bytes : 0;
}
