/* results: see results.h. */
#include "results.h"

#include <stdlib.h>
#include <string.h>

static result results[RESULTS_MAX];
static size_t count_of_results;

void results_add(size_t engine, const bench_row *from)
{
    result *r = NULL;
    for (size_t i = 0; i < count_of_results && !r; i++)
        if (results[i].store == from->store && results[i].position == from->position &&
            strcmp(results[i].name, from->name) == 0)
            r = &results[i];
    if (!r) {
        if (count_of_results == RESULTS_MAX)
            bench_fail("bench", "the run", "there are too many workloads");
        r = &results[count_of_results++];
        memcpy(r->name, from->name, sizeof r->name);
        r->name[sizeof r->name - 1] = 0;
        r->durability = from->durability;
        r->store = from->store;
        r->position = from->position;
    }
    if (r->count[engine] == ROUNDS_MAX)
        bench_fail("bench", from->name, "it ran too often");
    bench_row *copy = bench_alloc(sizeof *copy);
    *copy = *from;
    r->rows[engine][r->count[engine]++] = copy;
}

size_t results_count(void)
{
    return count_of_results;
}

const result *results_at(size_t index)
{
    return &results[index];
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t sorted(const result *r, size_t engine, row_figure figure, double values[ROUNDS_MAX])
{
    for (size_t i = 0; i < r->count[engine]; i++)
        values[i] = figure(r->rows[engine][i]);
    qsort(values, r->count[engine], sizeof *values, compare);
    return r->count[engine];
}

double result_median(const result *r, size_t engine, row_figure figure)
{
    double values[ROUNDS_MAX];
    size_t n = sorted(r, engine, figure, values);
    return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

double result_spread(const result *r, size_t engine, row_figure figure)
{
    double values[ROUNDS_MAX], median = result_median(r, engine, figure);
    size_t n = sorted(r, engine, figure, values);
    return n == 0 || median <= 0 ? 0 : (values[n - 1] - values[0]) / median;
}

double result_least(const result *r, size_t engine, row_figure figure)
{
    double values[ROUNDS_MAX];
    return sorted(r, engine, figure, values) == 0 ? 0 : values[0];
}

double result_most(const result *r, size_t engine, row_figure figure)
{
    double values[ROUNDS_MAX];
    size_t n = sorted(r, engine, figure, values);
    return n == 0 ? 0 : values[n - 1];
}

static double quotient(double a, double b)
{
    return b > 0 ? a / b : 0;
}

double row_rate(const bench_row *r)
{
    return quotient((double)r->ops, r->seconds);
}

double row_mib(const bench_row *r)
{
    return quotient((double)r->user_bytes / 1048576, r->seconds);
}

double row_p50(const bench_row *r)
{
    return r->p50_us;
}

double row_p99(const bench_row *r)
{
    return r->p99_us;
}

double row_p999(const bench_row *r)
{
    return r->p999_us;
}

double row_max(const bench_row *r)
{
    return r->max_us;
}

double row_cpu(const bench_row *r)
{
    return quotient(r->cpu_s * 1e6, (double)r->ops);
}

double row_peak(const bench_row *r)
{
    return (double)r->peak_bytes / 1048576;
}

double row_write_amp(const bench_row *r)
{
    return quotient((double)r->written_bytes, (double)r->user_bytes);
}

double row_space_amp(const bench_row *r)
{
    return quotient((double)r->disk_bytes, (double)r->live_bytes);
}

bool result_standing(const result *r, standing *out)
{
    double mine = 0, best = 0;
    for (size_t i = 0; i < bench_engine_count; i++) {
        double rate = result_median(r, i, row_rate);
        if (bench_engines[i] == &bench_firn) {
            out->own = i;
            mine = rate;
        } else if (!bench_engines[i]->reference && rate > best) {
            out->peer = i;
            best = rate;
        }
    }
    if (mine <= 0 || best <= 0)
        return false;
    out->ratio = mine / best;
    out->noise = (result_spread(r, out->own, row_rate) + result_spread(r, out->peer, row_rate)) / 2;
    double away = out->ratio > 1 ? out->ratio - 1 : 1 - out->ratio;
    if (r->count[out->own] < 2 || r->count[out->peer] < 2)
        out->verdict = ONE_ROUND;
    else if (away <= out->noise)
        out->verdict = WITHIN_NOISE;
    else
        out->verdict = out->ratio > 1 ? FASTER : SLOWER;
    return true;
}
