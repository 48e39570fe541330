/* show: see show.h. */
#include "show.h"

#include <math.h>
#include <stdio.h>

#define MAY_DIFFER 0.15
#define MATTERS                                                                                    \
    0.02 /* of all bytes: a level that has less is a remainder, which may be there or not */

static double live_bytes(const run *r)
{
    const settings *s = r->settings;
    return keys_live(&r->tree.keys) * (s->key_bytes + s->value_bytes);
}

static double space_amplification(const run *r)
{
    double live = live_bytes(r);
    return live > 0 ? tree_bytes(&r->tree) / live : 0;
}

static const char *size_text(double bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned u = 0;
    while (bytes >= 1000 && u < 4) {
        bytes /= 1024;
        u++;
    }
    snprintf(text, 32, "%.*f %s",
             bytes < 10 && u > 0    ? 2
             : bytes < 100 && u > 0 ? 1
                                    : 0,
             bytes, units[u]);
    return text;
}

static const char *time_text(double ns, char text[32])
{
    if (ns < 1e6)
        snprintf(text, 32, "%.0f us", ns / 1e3);
    else if (ns < 1e9)
        snprintf(text, 32, "%.1f ms", ns / 1e6);
    else
        snprintf(text, 32, "%.1f s", ns / 1e9);
    return text;
}

static void show_question(const run *r)
{
    char memory[32], tables[32], rate[32];
    const settings *s = r->settings;
    printf("%.4g records of %u + %u bytes, %s; memory %s, tables of %s, %u worker%s\n",
           (double)s->records, s->key_bytes, s->value_bytes, pattern_name(s->pattern),
           size_text((double)s->options.memory, memory),
           size_text((double)s->options.table_bytes, tables), s->workers,
           s->workers == 1 ? "" : "s");
    if (s->rate > 0)
        printf("at most %s a second, ", size_text(s->rate, rate));
    printf("%.4g writes in %.1f s of virtual time\n\n", r->figures->writes,
           (r->figures->ended_ns - r->figures->started_ns) / 1e9);
}

static void show_levels(const run *r)
{
    char bytes[32];
    const figures *f = r->figures;
    printf("level   tables        bytes   part of space   write amplification\n");
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &r->tree.version->levels[n];
        double written = f->merged_bytes[n] + (n == 0 ? f->flushed_bytes : 0);
        if (l->count || written > 0)
            printf("%5u  %7zu  %11s  %12.3f  %18.3f\n", n, l->count,
                   size_text((double)l->bytes, bytes), (double)l->bytes / fmax(1, live_bytes(r)),
                   written / fmax(1, f->put_bytes));
    }
}

static void show_writers(const run *r)
{
    char text[32];
    const figures *f = r->figures;
    double span = fmax(1, f->ended_ns - f->started_ns);
    double median = figures_median_second(f), worst = figures_worst_second(f);
    printf("writers: %.4g writes a second on average", f->writes / span * 1e9);
    if (f->seconds_count)
        printf(", %.4g in the median second, %.4g in the worst: %.2f of it", median, worst,
               median > 0 ? worst / median : 0);
    printf("\n         longest delay %s, level 0 at most %u tables, at most %u memtables waiting\n",
           time_text(f->delay_worst_ns, text), f->level0_worst, f->frozen_worst);
    printf("debt:    %s on average", size_text(gauge_mean(&f->debt), text));
    printf(", %s at most\n", size_text(f->debt.worst, text));
    printf("work:    %llu flushes, %llu merges, %llu moves; %s read\n",
           (unsigned long long)f->flushes, (unsigned long long)f->merges,
           (unsigned long long)f->moves, size_text(f->read_bytes, text));
}

void show_text(const run *r, const figures *load)
{
    const figures *f = r->figures;
    show_question(r);
    show_levels(r);
    printf("\nwrite amplification %.2f, and %.2f for the log", figures_write_amplification(f),
           f->log_bytes / fmax(1, f->put_bytes));
    if (load->put_bytes > 0)
        printf("; %.2f while loading", figures_write_amplification(load));
    printf("\nspace amplification %.2f, the log not counted\n", space_amplification(r));
    printf("reading: a get that finds its key looks into %.1f runs on average, a seek into %u; and "
           "into the memtables\n",
           tree_get_runs(&r->tree), tree_seek_runs(&r->tree));
    show_writers(r);
}

void show_json(const run *r, const figures *load)
{
    const figures *f = r->figures;
    const settings *s = r->settings;
    printf("{\"records\": %.0f, \"key_bytes\": %u, \"value_bytes\": %u, \"pattern\": \"%s\",\n",
           (double)s->records, s->key_bytes, s->value_bytes, pattern_name(s->pattern));
    printf(" \"memory\": %.0f, \"table_bytes\": %.0f, \"workers\": %u, \"writes\": %.0f,\n",
           (double)s->options.memory, (double)s->options.table_bytes, s->workers, f->writes);
    printf(
        " \"seconds\": %.3f, \"load_write_amplification\": %.4f, \"write_amplification\": %.4f,\n",
        (f->ended_ns - f->started_ns) / 1e9, figures_write_amplification(load),
        figures_write_amplification(f));
    printf(" \"log_amplification\": %.4f, \"space_amplification\": %.4f,\n",
           f->log_bytes / fmax(1, f->put_bytes), space_amplification(r));
    printf(" \"get_runs\": %.3f, \"seek_runs\": %u, \"debt_mean\": %.0f, \"debt_worst\": %.0f,\n",
           tree_get_runs(&r->tree), tree_seek_runs(&r->tree), gauge_mean(&f->debt), f->debt.worst);
    printf(" \"delay_worst_ms\": %.3f, \"level0_worst\": %u, \"memtables_worst\": %u,\n",
           f->delay_worst_ns / 1e6, f->level0_worst, f->frozen_worst);
    printf(" \"median_second\": %.1f, \"worst_second\": %.1f,\n", figures_median_second(f),
           figures_worst_second(f));
    printf(" \"flushes\": %llu, \"merges\": %llu, \"moves\": %llu, \"levels\": [",
           (unsigned long long)f->flushes, (unsigned long long)f->merges,
           (unsigned long long)f->moves);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        printf("%s\n  {\"tables\": %zu, \"bytes\": %.0f, \"written\": %.0f}", n ? "," : "",
               r->tree.version->levels[n].count, (double)r->tree.version->levels[n].bytes,
               f->merged_bytes[n] + (n == 0 ? f->flushed_bytes : 0));
    printf("]}\n");
}

/* ---- beside a real run ---- */

/* 1: they differ too much. Two figures of which both are below `least` do not differ. */
static unsigned row(const char *name, double simulated, double real, double least)
{
    double off = real > 0 ? simulated / real - 1 : simulated > least ? INFINITY : 0;
    bool bad = fabs(simulated - real) > least && fabs(off) > MAY_DIFFER;
    printf("%-24s %12.4g %12.4g %+8.1f %%%s\n", name, simulated, real, off * 100,
           bad ? "  too far" : "");
    return bad;
}

static double written(const figures *f)
{
    return f->flushed_bytes + figures_merged(f);
}

/* Of loading, and of writing: both end at rest, so that no job is between them. */
static unsigned show_phases(const figures *load, const figures *f, const real_figures *real)
{
    unsigned bad = 0;
    if (real->load.put_bytes > 0)
        bad += row("  while loading", figures_write_amplification(load),
                   figures_write_amplification(&real->load), 0);
    bad += row("  then by flushes", f->flushed_bytes / f->put_bytes,
               real->writes.flushed_bytes / real->writes.put_bytes, 0);
    bad += row("  then by merges", figures_merged(f) / f->put_bytes,
               figures_merged(&real->writes) / real->writes.put_bytes, 0);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        char name[32];
        double least = MATTERS * figures_write_amplification(&real->writes);
        snprintf(name, sizeof name, "    into level %u", n);
        if (f->merged_bytes[n] > 0 || real->writes.merged_bytes[n] > 0)
            bad += row(name, f->merged_bytes[n] / f->put_bytes,
                       real->writes.merged_bytes[n] / real->writes.put_bytes, least);
    }
    return bad;
}

/* On average while writes were made: where they stand at the end is chance. Tables are compared of
 * levels that matter, and may differ by one. */
static unsigned show_compared_levels(const figures *f, const figures *g)
{
    char name[32];
    double all = 0;
    unsigned bad = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        all += figures_level_bytes(g, n);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        double bytes = figures_level_bytes(f, n), found = figures_level_bytes(g, n);
        snprintf(name, sizeof name, "bytes of level %u", n);
        if (bytes > 0 || found > 0)
            bad += row(name, bytes, found, all * MATTERS);
        if (bytes > all * MATTERS && found > all * MATTERS)
            bad += row("  tables", figures_level_tables(f, n), figures_level_tables(g, n), 1);
    }
    return bad;
}

/* What readers and writers meet. How long a writer is delayed is a function of the load, and the
 * engine's own; a store that works where work falls due delays none. */
static unsigned show_met(const run *r, const figures *f, const real_figures *real)
{
    unsigned bad = 0;
    const figures *g = &real->writes;
    double tree = tree_bytes(&r->tree);
    bad += row("runs of a get", gauge_mean(&f->get_runs), gauge_mean(&g->get_runs), 0);
    bad += row("runs of a seek", gauge_mean(&f->seek_runs), gauge_mean(&g->seek_runs), 0);
    bad += row("debt, on average", gauge_mean(&f->owed), gauge_mean(&g->owed), tree * MATTERS);
    bad += row("debt, at most", f->owed.worst, g->owed.worst, tree * MATTERS);
    bad += row("load, on average", gauge_mean(&f->load), gauge_mean(&g->load), 0);
    bad += row("load, at most", f->load.worst, g->load.worst, 0);
    bad += row("level 0, at most", f->level0_worst, g->level0_worst, 0);
    return bad;
}

static unsigned show_work(const figures *f, const figures *g)
{
    unsigned bad = 0;
    bad += row("flushes", (double)f->flushes, (double)g->flushes, 1);
    bad += row("merges", (double)f->merges, (double)g->merges, 1);
    bad += row("moves", (double)f->moves, (double)g->moves, 1);
    bad += row("bytes read by merges", f->read_bytes, g->read_bytes, 0);
    return bad;
}

/* Times are the machine's: they are shown, and not judged. */
static void show_times(const figures *f, const real_figures *real)
{
    (void)row("seconds, not judged", (f->ended_ns - f->started_ns) / 1e9, real->seconds, INFINITY);
    (void)row("  writers held back", f->stalled_ns / 1e9, real->stalled, INFINITY);
}

unsigned show_compared(const run *r, const figures *load, const real_figures *real)
{
    const figures *f = r->figures, *g = &real->writes;
    const settings *s = r->settings;
    double live = fmax(1, real->live * (s->key_bytes + s->value_bytes));
    unsigned bad = 0;
    show_question(r);
    printf("%-24s %12s %12s %10s\n", "", "simulated", "real", "off");
    bad +=
        row("write amplification", (written(load) + written(f)) / (load->put_bytes + f->put_bytes),
            (written(&real->load) + written(g)) / (real->load.put_bytes + g->put_bytes), 0);
    bad += show_phases(load, f, real);
    bad += row("  of the log", f->log_bytes / f->put_bytes, g->log_bytes / g->put_bytes, 0);
    bad += row("space amplification", space_amplification(r), real->table_bytes / live, 0);
    bad += row("keys with a value", keys_live(&r->tree.keys), real->live, 0);
    bad += show_compared_levels(f, g);
    bad += show_met(r, f, real);
    bad += show_work(f, g);
    if (s->threads)
        show_times(f, real);
    if (bad)
        printf("\n%u figures differ by more than %.0f %%\n", bad, MAY_DIFFER * 100);
    return bad;
}
