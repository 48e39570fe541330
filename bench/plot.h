/* plot: SVG charts of the results. plot.c has the pen, the ratios and the rates; plot_series.c the
 * throughput over time. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include "results.h"

typedef struct chart {
    const settings *s;
    FILE *out;
    char path[600];
    double width, height;
} chart;

/* A logarithmic axis: values from `low` to `high` become points from `from` to `to`. */
typedef struct axis {
    double low, high, from, to;
} axis;

#define PLOT_FOOT 52.0 /* points at the bottom */

#define PLOT_GREY  "#6b7280"
#define PLOT_GRID  "#e5e7eb"
#define PLOT_INK   "#111827"
#define PLOT_RIGHT "end"
#define PLOT_LEFT  "start"
#define PLOT_MID   "middle"

/* Opens the file; `height` contains PLOT_FOOT, where chart_close says what was measured, where and when. */
void chart_open(chart *c, const settings *s, const char *folder, const char *file, double width,
                double height);
void chart_close(chart *c);
void chart_title(const chart *c, const char *title, const char *below);
void chart_text(const chart *c, double x, double y, const char *anchor, const char *colour,
                const char *text);
void chart_line(const chart *c, double x1, double y1, double x2, double y2, const char *colour);
/* The engine's name beside a dot of its colour; returns where the next may begin. */
double chart_legend_entry(const chart *c, size_t engine, double x, double y);
/* A thin line with a small stroke at each end: from the smallest to the largest. */
void chart_range(const chart *c, double x1, double x2, double y, const char *colour);
const char *chart_colour(size_t engine);

/* Both ends on a power of ten, or on 1, 2 or 5 times one. */
axis axis_of(double least, double most, double from, double to);
double axis_at(const axis *a, double value);
/* The next of 1, 2, 5, 10, 20, ... above `value`. */
double axis_next(double value);
/* 20000 as "20 K"; returns `text`. */
const char *axis_label(double value, char *text, size_t size);

void plot_series(const settings *s, const char *folder);

#endif
