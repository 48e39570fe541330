/* plot_series: throughput over time, one chart for each workload that lasted long enough to have
 * one. Of the rounds of an engine, the one with the median rate is drawn: a mean of several would
 * hide the stalls that the chart is to show. */
#include "plot.h"

#include <ctype.h>

#define WIDTH       960.0
#define HEIGHT      (420.0 + PLOT_FOOT)
#define LEFT        70.0
#define RIGHT       24.0
#define TOP         100.0
#define BOTTOM      (40.0 + PLOT_FOOT)
#define SAMPLES_MIN 5
#define POINTS      160 /* of a line, at most: neighbouring samples are averaged */
#define PATIENCE    3.0 /* the axis ends at so many times the median duration */
#define DECADES     3.0 /* shown below the highest rate; what is lower leaves a gap, as zero does */

static const bench_row *middle_round(const result *r, size_t engine)
{
    const bench_row *best = NULL;
    double median = result_median(r, engine, row_rate), away = 0;
    for (unsigned k = 0; k < r->count[engine]; k++) {
        double d = row_rate(r->rows[engine][k]) - median;
        d = d < 0 ? -d : d;
        if (!best || d < away) {
            best = r->rows[engine][k];
            away = d;
        }
    }
    return best;
}

static const bench_row *drawn(const result *r, size_t engine)
{
    const bench_row *row = bench_engines[engine]->reference ? NULL : middle_round(r, engine);
    return row && row->samples >= SAMPLES_MIN ? row : NULL;
}

static void draw_seconds(const chart *c, double seconds)
{
    double step = 0.1;
    char text[32];
    while (seconds / step > 10)
        step = axis_next(step);
    for (double at = 0; at <= seconds * 1.0001; at += step) {
        double x = LEFT + (WIDTH - LEFT - RIGHT) * at / seconds;
        snprintf(text, sizeof text, "%g s", at);
        chart_line(c, x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5, PLOT_GREY);
        chart_text(c, x, HEIGHT - BOTTOM + 20, PLOT_MID, PLOT_GREY, text);
    }
}

static unsigned group_of(const bench_row *row)
{
    return (row->samples + POINTS - 1) / POINTS;
}

/* The mean of the group of samples that begins at `first`. */
static double group_rate(const bench_row *row, unsigned first)
{
    double sum = 0;
    unsigned n = 0;
    for (; n < group_of(row) && first + n < row->samples; n++)
        sum += (double)row->series[first + n];
    return sum / n;
}

/* A piece of a line between two gaps; of a single sample, a dot. */
static void draw_piece(const chart *c, size_t engine, const char *points, unsigned count)
{
    bool own = bench_engines[engine] == &bench_firn;
    if (count > 1)
        fprintf(c->out,
                "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" "
                "stroke-linejoin=\"round\" points=\"%s\"/>\n",
                chart_colour(engine), own ? "2.6" : "1.5", points);
    else if (count == 1) {
        double x = 0, y = 0;
        if (sscanf(points, "%lf,%lf", &x, &y) == 2)
            fprintf(c->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\"/>\n", x, y,
                    own ? "2.0" : "1.5", chart_colour(engine));
    }
}

/* A logarithmic axis has no place for zero: where nothing was finished, the line is interrupted. */
static void draw_series(const chart *c, const axis *a, size_t engine, const bench_row *row,
                        double seconds)
{
    char points[POINTS * 24 + 64];
    size_t size = 0;
    unsigned group = group_of(row), count = 0;
    for (unsigned i = 0; i < row->samples; i += group) {
        double at = (i + group * 0.5) * row->sample_s, rate = group_rate(row, i);
        if (at > seconds)
            break;
        if (rate < a->low) {
            draw_piece(c, engine, points, count);
            size = count = 0;
            continue;
        }
        size += (size_t)snprintf(points + size, sizeof points - size, "%.1f,%.1f ",
                                 LEFT + (WIDTH - LEFT - RIGHT) * at / seconds, axis_at(a, rate));
        count++;
    }
    draw_piece(c, engine, points, count);
}

/* Where the axis of time ends, so that one slow engine does not press the others together. */
static double end_of_time(const result *r)
{
    double times[ENGINES_MAX], longest = 0;
    size_t n = 0;
    for (size_t i = 0; i < bench_engine_count; i++) {
        const bench_row *row = drawn(r, i);
        if (!row)
            continue;
        double took = row->samples * row->sample_s;
        size_t at = n++;
        for (; at > 0 && times[at - 1] > took; at--)
            times[at] = times[at - 1];
        times[at] = took;
        longest = took > longest ? took : longest;
    }
    double limit = n > 0 ? times[n / 2] * PATIENCE : 0;
    return longest < limit ? longest : limit;
}

static void plot_one(const settings *s, const result *r, const char *folder)
{
    chart c;
    char file[128], text[128], number[32];
    double seconds = end_of_time(r), most = 0, least = 0;
    for (size_t i = 0; i < bench_engine_count; i++) {
        const bench_row *row = drawn(r, i);
        for (unsigned k = 0; row && k < row->samples; k += group_of(row)) {
            double rate = group_rate(row, k);
            most = rate > most ? rate : most;
            least = rate > 0 && (least == 0 || rate < least) ? rate : least;
        }
    }
    if (seconds <= 0 || most <= 0)
        return;
    double floor_rate = most;
    for (double n = 0; n < DECADES; n++)
        floor_rate /= 10;
    axis a = axis_of(least > floor_rate ? least : floor_rate, most, HEIGHT - BOTTOM, TOP);
    snprintf(file, sizeof file, "time-%u-%u-%s.svg", r->store, r->position, r->name);
    for (char *at = file; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '.' && *at != '-')
            *at = '_';
    chart_open(&c, s, folder, file, WIDTH, HEIGHT);
    snprintf(text, sizeof text, "%s%s over time", r->name,
             r->durability == BENCH_D2 ? " (D2)" : "");
    chart_title(
        &c, text,
        "operations a second, logarithmic; of each engine the round with the median rate; a "
        "gap: nothing was finished, or too little");
    for (size_t i = 0, x = 0; i < bench_engine_count; i++)
        if (drawn(r, i))
            x = (size_t)chart_legend_entry(&c, i, 29 + (double)x, 74) - 29;
    for (double at = a.low; at <= a.high * 1.0001; at = axis_next(at)) {
        chart_line(&c, LEFT, axis_at(&a, at), WIDTH - RIGHT, axis_at(&a, at), PLOT_GRID);
        chart_text(&c, LEFT - 8, axis_at(&a, at) + 4, PLOT_RIGHT, PLOT_GREY,
                   axis_label(at, number, sizeof number));
    }
    draw_seconds(&c, seconds);
    for (size_t i = bench_engine_count; i > 0; i--)
        if (drawn(r, i - 1))
            draw_series(&c, &a, i - 1, drawn(r, i - 1), seconds);
    chart_close(&c);
}

void plot_series(const settings *s, const char *folder)
{
    for (size_t n = 0; n < results_count(); n++)
        plot_one(s, results_at(n), folder);
}
