/* plot: see plot.h. Ratios and rates are drawn on logarithmic axes, where twice as fast and half as
 * fast are the same distance from equal. */
#include "plot.h"

#include <errno.h>
#include <firn/firn.h>
#include <math.h>
#include <string.h>

#define ROW     22.0 /* points from one workload to the next */
#define GAP     12.0 /* more between two stores */
#define TOP     104.0
#define BOTTOM  (30.0 + PLOT_FOOT)
#define WIDTH   960.0
#define NAMES   216.0 /* where the names of workloads end */
#define BAR     12.0
#define LABELS  220.0     /* to the right of a bar */
#define BLUE    "#0072b2" /* firn is faster */
#define ORANGE  "#d55e00" /* firn is slower */
#define NEUTRAL "#c3c8d0" /* neither can be said */
#define TICKS   2.0       /* an axis of less than so many powers of ten has ticks at 2 and 5, too */

void chart_open(chart *c, const settings *s, const char *folder, const char *file, double width,
                double height)
{
    c->s = s;
    snprintf(c->path, sizeof c->path, "%.400s/%.190s", folder, file);
    c->width = width;
    c->height = height;
    c->out = bench_create(c->path);
    fprintf(c->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
            "viewBox=\"0 0 %.0f %.0f\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" "
            "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<defs><pattern id=\"noise\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
            "patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#f3f4f6\"/>"
            "<rect width=\"2.4\" height=\"6\" fill=\"" NEUTRAL "\"/></pattern></defs>\n",
            width, height, width, height);
}

static void small_text(const chart *c, double y, const char *text)
{
    fprintf(c->out,
            "<text x=\"24\" y=\"%.1f\" font-size=\"10.5\" fill=\"" PLOT_GREY "\">%s</text>\n", y,
            text);
}

/* Rows that are of a stronger class than the run. */
static bool any_syncs(const settings *s)
{
    bool any = false;
    for (size_t i = 0; i < results_count(); i++)
        any |= results_at(i)->durability == BENCH_D2;
    return any && s->config.durability != BENCH_D2;
}

/* What was measured, where and when. */
static void draw_foot(const chart *c)
{
    char text[600], records[32], reads[32];
    const settings *s = c->s;
    const machine *m = &s->machine;
    double y = c->height - PLOT_FOOT + 18;
    chart_line(c, 24, y - 14, c->width - 24, y - 14, PLOT_GRID);
    int n = snprintf(
        text, sizeof text,
        "%s records of %zu + %zu bytes, %s reads; %u thread%s; memtable %llu MiB, cache %llu "
        "MiB, compression %s; %s",
        human((double)s->records, records, sizeof records), s->data.key_bytes, s->data.value_bytes,
        human((double)s->reads, reads, sizeof reads), s->threads, s->threads == 1 ? "" : "s",
        (unsigned long long)(s->config.memtable_bytes >> 20),
        (unsigned long long)(s->config.cache_bytes >> 20), s->config.compress ? "on" : "off",
        class_name(s->config.durability));
    n += snprintf(text + n, sizeof text - (size_t)n, "%s",
                  any_syncs(s) ? " where not marked D2" : "");
    if (s->whole_rounds < s->rounds)
        snprintf(text + n, sizeof text - (size_t)n, "; %u of %u rounds: ended early",
                 s->whole_rounds, s->rounds);
    else
        snprintf(text + n, sizeof text - (size_t)n, "; %u round%s", s->rounds,
                 s->rounds == 1 ? "" : "s");
    small_text(c, y, text);
    snprintf(text, sizeof text, "%s, %u core%s, %.1f GiB; %s, %s; firn %s; %s", m->cpu, m->cores,
             m->cores == 1 ? "" : "s", (double)m->memory_bytes / (1 << 30), m->kernel,
             m->file_system, firn_version(), m->date);
    small_text(c, y + 16, text);
}

void chart_close(chart *c)
{
    draw_foot(c);
    fputs("</svg>\n", c->out);
    bool failed = ferror(c->out) != 0;
    if (fclose(c->out) != 0 || failed)
        bench_fail("bench", c->path, "it could not be written");
}

void chart_text(const chart *c, double x, double y, const char *anchor, const char *colour,
                const char *text)
{
    /* With a rim, so that it can be read across lines. */
    fprintf(c->out,
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\" stroke=\"white\" "
            "stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\">%s</text>\n",
            x, y, anchor, colour, text);
}

void chart_line(const chart *c, double x1, double y1, double x2, double y2, const char *colour)
{
    fprintf(c->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1,
            y1, x2, y2, colour);
}

void chart_range(const chart *c, double x1, double x2, double y, const char *colour)
{
    fprintf(c->out,
            "<path d=\"M%.1f %.1fH%.1fM%.1f %.1fv7M%.1f %.1fv7\" fill=\"none\" stroke=\"%s\" "
            "stroke-width=\"1.2\"/>\n",
            x1, y, x2, x1, y - 3.5, x2, y - 3.5, colour);
}

void chart_title(const chart *c, const char *title, const char *below)
{
    fprintf(c->out,
            "<title>%s</title>\n<text x=\"24\" y=\"32\" font-size=\"17\" font-weight=\"bold\" "
            "fill=\"" PLOT_INK "\">%s</text>\n",
            title, title);
    chart_text(c, 24, 51, PLOT_LEFT, PLOT_GREY, below);
}

/* Okabe and Ito's colours, which people who see fewer colours tell apart, too. */
const char *chart_colour(size_t engine)
{
    static const struct {
        const char *name, *colour;
    } colours[] = {{"firn", "#0072b2"},  {"leveldb", "#e69f00"}, {"rocksdb", "#d55e00"},
                   {"lmdb", "#009e73"},  {"wt", "#cc79a7"},      {"wt-lsm", "#56b4e9"},
                   {"sqlite", "#9ca3af"}};
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++)
        if (strcmp(colours[i].name, bench_engines[engine]->name) == 0)
            return colours[i].colour;
    return "#000000";
}

static bool took_part(const result *r, size_t engine)
{
    return !bench_engines[engine]->reference && r->count[engine] > 0;
}

double chart_legend_entry(const chart *c, size_t engine, double x, double y)
{
    fprintf(c->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"/>\n", x, y - 4,
            chart_colour(engine));
    chart_text(c, x + 10, y, PLOT_LEFT, PLOT_INK, bench_engines[engine]->name);
    return x + 34 + 7.5 * (double)strlen(bench_engines[engine]->name);
}

/* ---- axes ---- */

double axis_next(double value)
{
    double power = pow(10, floor(log10(value * 1.0001)));
    double digit = value * 1.0001 / power;
    return power * (digit < 2 ? 2 : digit < 5 ? 5 : 10);
}

axis axis_of(double least, double most, double from, double to)
{
    axis a = {.from = from, .to = to};
    a.low = pow(10, floor(log10(least)));
    while (axis_next(a.low) <= least)
        a.low = axis_next(a.low);
    a.high = a.low;
    while (a.high < most || a.high <= a.low)
        a.high = axis_next(a.high);
    return a;
}

double axis_at(const axis *a, double value)
{
    double share = log(value / a->low) / log(a->high / a->low);
    return a->from + (a->to - a->from) * (share < 0 ? 0 : share > 1 ? 1 : share);
}

const char *axis_label(double value, char *text, size_t size)
{
    static const char *const units[] = {"", " K", " M", " G"};
    size_t unit = 0;
    while (value > 999 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(text, size, "%.4g%s", value, units[unit]);
    return text;
}

static void draw_axis(const chart *c, const axis *a, const char *unit)
{
    char number[32], text[64];
    bool all = log10(a->high / a->low) < TICKS;
    for (double at = a->low; at <= a->high * 1.0001; at = axis_next(at)) {
        double power = log10(at);
        if (!all && fabs(power - round(power)) > 0.01)
            continue;
        double x = axis_at(a, at);
        chart_line(c, x, TOP - 8, x, c->height - BOTTOM, PLOT_GRID);
        snprintf(text, sizeof text, "%s%s", axis_label(at, number, sizeof number), unit);
        chart_text(c, x, c->height - BOTTOM + 16, PLOT_MID, PLOT_GREY, text);
    }
}

/* ---- ratios ---- */

/* Where row n begins; `wanted` says which results have a row. */
typedef bool (*row_filter)(const result *r);

static bool has_standing(const result *r)
{
    standing s = {0};
    return result_standing(r, &s);
}

static bool has_rate(const result *r)
{
    for (size_t i = 0; i < bench_engine_count; i++)
        if (took_part(r, i) && result_median(r, i, row_rate) > 0)
            return true;
    return false;
}

static double row_top(size_t n, row_filter wanted)
{
    double y = TOP;
    uint32_t store = 0;
    for (size_t i = 0; i < n; i++) {
        const result *r = results_at(i);
        if (!wanted(r))
            continue;
        y += ROW + (store != 0 && store != r->store ? GAP : 0);
        store = r->store;
    }
    if (n < results_count() && store != 0 && store != results_at(n)->store)
        y += GAP;
    return y;
}

static void draw_name(const chart *c, const result *r, double y)
{
    char text[96];
    snprintf(text, sizeof text, "%s%s", r->name, r->durability == BENCH_D2 ? " (D2)" : "");
    chart_text(c, NAMES, y + 4, PLOT_RIGHT, PLOT_INK, text);
}

static const char *bar_style(verdict v)
{
    return v == FASTER   ? "fill=\"" BLUE "\""
           : v == SLOWER ? "fill=\"" ORANGE "\""
                         : "fill=\"url(#noise)\" stroke=\"" NEUTRAL "\"";
}

static void draw_bar(const chart *c, double left, double right, double y, verdict v)
{
    fprintf(c->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" %s/>\n",
            left, y - BAR / 2, right - left < 1 ? 1 : right - left, BAR, bar_style(v));
}

/* The range that noise alone could make of the ratio. */
static void noise_range(const standing *s, double *least, double *most)
{
    *least = s->ratio / (1 + s->noise);
    *most = s->ratio * (1 + s->noise);
}

static void draw_ratio(const chart *c, const axis *a, const result *r, double y)
{
    char text[128], ratio[32];
    standing s = {0};
    double least, most;
    result_standing(r, &s);
    noise_range(&s, &least, &most);
    double one = axis_at(a, 1), end = axis_at(a, s.ratio);
    double right = one < end ? end : one;
    draw_name(c, r, y);
    draw_bar(c, one < end ? one : end, right, y, s.verdict);
    if (s.noise > 0) {
        chart_range(c, axis_at(a, least), axis_at(a, most), y, PLOT_INK);
        right = right < axis_at(a, most) ? axis_at(a, most) : right;
    }
    snprintf(ratio, sizeof ratio, s.ratio < 0.1 ? "%.1g" : "%.2f", s.ratio);
    if (s.verdict == ONE_ROUND)
        snprintf(text, sizeof text, "%s&#215; %s, one round", ratio, bench_engines[s.peer]->name);
    else
        snprintf(text, sizeof text, "%s&#215; %s &#177; %.0f %%%s", ratio,
                 bench_engines[s.peer]->name, 100 * s.noise,
                 s.verdict == WITHIN_NOISE ? " = noise" : "");
    chart_text(c, right + 8, y + 4, PLOT_LEFT,
               s.verdict == FASTER || s.verdict == SLOWER ? PLOT_INK : PLOT_GREY, text);
}

static void draw_ratio_legend(const chart *c)
{
    static const struct {
        verdict verdict;
        double width;
        const char *text;
    } entries[] = {{FASTER, 110, "firn is faster"},
                   {SLOWER, 112, "firn is slower"},
                   {WITHIN_NOISE, 300, "not told apart: within the noise, or one round"}};
    double x = 24;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        draw_bar(c, x, x + 18, 70, entries[i].verdict);
        chart_text(c, x + 24, 74, PLOT_LEFT, PLOT_INK, entries[i].text);
        x += 24 + entries[i].width;
    }
    chart_range(c, x + 10, x + 36, 70, PLOT_INK);
    chart_text(c, x + 42, 74, PLOT_LEFT, PLOT_INK, "noise of the rounds");
}

static void plot_ratios(const settings *s, const char *folder)
{
    double least = 0.9, most = 1.1;
    bool any = false;
    chart c;
    for (size_t i = 0; i < results_count(); i++) {
        standing where = {0};
        double low, high;
        if (!result_standing(results_at(i), &where))
            continue;
        noise_range(&where, &low, &high);
        least = low < least ? low : least;
        most = high > most ? high : most;
        any = true;
    }
    if (results_count() == 0)
        return;
    chart_open(&c, s, folder, "ratios.svg", WIDTH,
               row_top(results_count(), has_standing) + BOTTOM - ROW / 2 + 4);
    chart_title(&c, "firn and the best other engine",
                "operations a second, firn / the fastest peer, which is named; medians of the "
                "rounds, logarithmic");
    if (any)
        draw_ratio_legend(&c);
    else
        chart_text(&c, 24, 74, PLOT_LEFT, PLOT_INK,
                   "No other engine took part: there is nothing to compare.");
    axis a = axis_of(least, most, NAMES + 14, WIDTH - LABELS);
    draw_axis(&c, &a, "&#215;");
    chart_line(&c, axis_at(&a, 1), TOP - 8, axis_at(&a, 1), c.height - BOTTOM, PLOT_INK);
    for (size_t i = 0; i < results_count(); i++)
        if (has_standing(results_at(i)))
            draw_ratio(&c, &a, results_at(i), row_top(i, has_standing));
    chart_close(&c);
}

/* ---- rates ---- */

static void draw_rates(const chart *c, const axis *a, const result *r, double y)
{
    draw_name(c, r, y);
    chart_line(c, a->from, y, a->to, y, PLOT_GRID);
    for (size_t n = bench_engine_count; n > 0; n--) { /* firn on top */
        size_t i = n - 1;
        double rate = result_median(r, i, row_rate), least = result_least(r, i, row_rate);
        if (!took_part(r, i) || rate <= 0)
            continue;
        if (r->count[i] > 1 && least > 0)
            chart_range(c, axis_at(a, least), axis_at(a, result_most(r, i, row_rate)), y,
                        chart_colour(i));
        fprintf(c->out,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\" stroke=\"white\"/>\n",
                axis_at(a, rate), y, bench_engines[i] == &bench_firn ? 7.0 : 5.0, chart_colour(i));
    }
}

static void plot_rates(const settings *s, const char *folder)
{
    double least = 0, most = 0;
    bool seen[ENGINES_MAX] = {false};
    chart c;
    for (size_t n = 0; n < results_count(); n++)
        for (size_t i = 0; i < bench_engine_count; i++) {
            double rate = result_median(results_at(n), i, row_rate);
            if (!took_part(results_at(n), i) || rate <= 0)
                continue;
            double low = result_least(results_at(n), i, row_rate);
            double high = result_most(results_at(n), i, row_rate);
            seen[i] = true;
            low = low > 0 ? low : rate;
            least = least == 0 || low < least ? low : least;
            most = high > most ? high : most;
        }
    if (most <= 0)
        return;
    chart_open(&c, s, folder, "rates.svg", WIDTH,
               row_top(results_count(), has_rate) + BOTTOM - ROW / 2 + 4);
    chart_title(
        &c, "Every engine on every workload",
        "operations a second, logarithmic; dots are medians of the rounds, lines go from the "
        "slowest round to the fastest");
    double x = 29;
    for (size_t i = 0; i < bench_engine_count; i++)
        if (seen[i])
            x = chart_legend_entry(&c, i, x, 74);
    axis a = axis_of(least, most, NAMES + 14, WIDTH - 40);
    draw_axis(&c, &a, "");
    for (size_t i = 0; i < results_count(); i++)
        if (has_rate(results_at(i)))
            draw_rates(&c, &a, results_at(i), row_top(i, has_rate));
    chart_close(&c);
}

void plot_write(const settings *s, const char *folder)
{
    plot_ratios(s, folder);
    plot_rates(s, folder);
    plot_series(s, folder);
}
