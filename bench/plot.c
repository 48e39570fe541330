/* plot: see plot.h. Ratios and rates are drawn on logarithmic axes, where twice as fast and half as
 * fast are the same distance from equal. */
#include "plot.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#define ROW    22.0 /* points from one workload to the next */
#define GAP    12.0 /* more between two stores */
#define TOP    92.0
#define BOTTOM 34.0
#define WIDTH  960.0
#define NAMES  216.0 /* where the names of workloads end */
#define BAR    12.0
#define FASTER "#0072b2"
#define SLOWER "#d55e00"
#define TICKS  2.0 /* an axis of less than so many powers of ten has ticks at 2 and 5, too */

void chart_open(chart *c, const char *folder, const char *file, double width, double height)
{
    snprintf(c->path, sizeof c->path, "%.400s/%.190s", folder, file);
    c->width = width;
    c->height = height;
    c->out = fopen(c->path, "w");
    if (!c->out)
        bench_fail("bench", c->path, strerror(errno));
    fprintf(c->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
            "viewBox=\"0 0 %.0f %.0f\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" "
            "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            width, height, width, height);
}

void chart_close(chart *c)
{
    fputs("</svg>\n", c->out);
    bool failed = ferror(c->out) != 0;
    if (fclose(c->out) != 0 || failed)
        bench_fail("bench", c->path, "it could not be written");
}

void chart_text(const chart *c, double x, double y, const char *anchor, const char *colour,
                const char *text)
{
    fprintf(c->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y,
            anchor, colour, text);
}

void chart_line(const chart *c, double x1, double y1, double x2, double y2, const char *colour)
{
    fprintf(c->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1,
            y1, x2, y2, colour);
}

void chart_title(const chart *c, const char *title, const char *below)
{
    fprintf(c->out,
            "<text x=\"24\" y=\"32\" font-size=\"17\" font-weight=\"bold\" fill=\"" PLOT_INK
            "\">%s</text>\n",
            title);
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

static void draw_ratio(const chart *c, const axis *a, const result *r, double y)
{
    char text[96];
    standing s = {0};
    result_standing(r, &s);
    double one = axis_at(a, 1), end = axis_at(a, s.ratio);
    double left = one < end ? one : end, right = one < end ? end : one;
    draw_name(c, r, y);
    fprintf(c->out,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" fill=\"%s\"/>\n",
            left, y - BAR / 2, right - left, BAR, s.ratio >= 1 ? FASTER : SLOWER);
    snprintf(text, sizeof text, s.ratio < 0.1 ? "%.1g&#215; %s" : "%.2f&#215; %s", s.ratio,
             bench_engines[s.peer]->name);
    chart_text(c, right + 7, y + 4, PLOT_LEFT, PLOT_INK, text);
}

static void plot_ratios(const char *folder)
{
    double least = 0.9, most = 1.1;
    chart c;
    for (size_t i = 0; i < results_count(); i++) {
        standing s = {0};
        if (result_standing(results_at(i), &s)) {
            least = s.ratio < least ? s.ratio : least;
            most = s.ratio > most ? s.ratio : most;
        }
    }
    chart_open(&c, folder, "ratios.svg", WIDTH,
               row_top(results_count(), has_standing) + BOTTOM - ROW / 2 + 4);
    chart_title(&c, "firn and the best other engine",
                "operations a second, firn / the fastest peer, which is named; medians, "
                "logarithmic; right of 1 firn is faster");
    axis a = axis_of(least, most, NAMES + 14, WIDTH - 130);
    draw_axis(&c, &a, "&#215;");
    for (size_t i = 0; i < results_count(); i++)
        if (has_standing(results_at(i)))
            draw_ratio(&c, &a, results_at(i), row_top(i, has_standing));
    chart_line(&c, axis_at(&a, 1), TOP - 12, axis_at(&a, 1), c.height - BOTTOM, PLOT_INK);
    chart_close(&c);
}

/* ---- rates ---- */

static void draw_rates(const chart *c, const axis *a, const result *r, double y)
{
    draw_name(c, r, y);
    chart_line(c, a->from, y, a->to, y, PLOT_GRID);
    for (size_t n = bench_engine_count; n > 0; n--) { /* firn on top */
        size_t i = n - 1;
        double rate = result_median(r, i, row_rate);
        if (took_part(r, i) && rate > 0)
            fprintf(c->out,
                    "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\" stroke=\"white\"/>\n",
                    axis_at(a, rate), y, bench_engines[i] == &bench_firn ? 7.0 : 5.0,
                    chart_colour(i));
    }
}

static void plot_rates(const char *folder)
{
    double least = 0, most = 0;
    bool seen[ENGINES_MAX] = {false};
    chart c;
    for (size_t n = 0; n < results_count(); n++)
        for (size_t i = 0; i < bench_engine_count; i++) {
            double rate = result_median(results_at(n), i, row_rate);
            if (!took_part(results_at(n), i) || rate <= 0)
                continue;
            seen[i] = true;
            least = least == 0 || rate < least ? rate : least;
            most = rate > most ? rate : most;
        }
    if (most <= 0)
        return;
    chart_open(&c, folder, "rates.svg", WIDTH,
               row_top(results_count(), has_rate) + BOTTOM - ROW / 2 + 4);
    chart_title(&c, "Every engine on every workload", "operations a second, medians, logarithmic");
    double x = NAMES + 14;
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

void plot_write(const char *folder)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        bench_fail("bench", folder, strerror(errno));
    plot_ratios(folder);
    plot_rates(folder);
    plot_series(folder);
}
