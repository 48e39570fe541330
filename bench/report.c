/* report: the table of ratios, and the details, for a terminal. */
#include "results.h"

#include <string.h>

const char *human(double value, char *text, size_t size)
{
    static const char units[] = " KMGT";
    size_t unit = 0;
    while (value >= 999.5 && unit + 2 < sizeof units) {
        value /= 1000;
        unit++;
    }
    int digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    if (unit == 0)
        snprintf(text, size, "%.*f", digits, value);
    else
        snprintf(text, size, "%.*f %c", digits, value, units[unit]);
    return text;
}

static const char *short_class(bench_class c)
{
    return c == BENCH_D0 ? "D0" : c == BENCH_D1 ? "D1" : "D2";
}

static bool took_part(size_t engine)
{
    for (size_t i = 0; i < results_count(); i++)
        if (results_at(i)->count[engine] > 0)
            return true;
    return false;
}

static void print_standing(const standing *s)
{
    printf("%8.2f x %-8s ", s->ratio, bench_engines[s->peer]->name);
    if (s->verdict == ONE_ROUND)
        printf("+-? (one round)");
    else
        printf("+-%.0f %%%s", 100 * s->noise, s->verdict == WITHIN_NOISE ? " = noise" : "");
}

static void print_ratios(void)
{
    char text[32];
    printf("\n%-24s %-3s", "operations a second", "");
    for (size_t i = 0; i < bench_engine_count; i++)
        if (took_part(i))
            printf("%9s", bench_engines[i]->name);
    printf("   firn / best peer\n");
    for (size_t n = 0; n < results_count(); n++) {
        const result *r = results_at(n);
        standing where = {0};
        if (n > 0 && r->store != results_at(n - 1)->store)
            printf("\n");
        printf("%-24s %-3s", r->name, short_class(r->durability));
        for (size_t i = 0; i < bench_engine_count; i++)
            if (took_part(i))
                printf("%9s",
                       r->count[i] ? human(result_median(r, i, row_rate), text, sizeof text) : "-");
        if (result_standing(r, &where))
            print_standing(&where);
        printf("\n");
    }
    printf("+- is half the spread of the rounds, (largest - smallest) / median, of both added; a "
           "ratio within it\nis marked \"= noise\": it says nothing. D1 and D2 are not to be "
           "compared. \"empty\" is the harness alone, \"bare\" a loop of "
           "pwrite and fdatasync.\n");
}

static void print_details(void)
{
    char a[32], b[32];
    printf("\n%-24s %-8s%9s%7s%9s%9s%9s%10s%9s%8s%7s%7s\n", "", "", "ops/s", "+-", "p50 us",
           "p99 us", "p99.9 us", "max us", "CPU us", "MiB", "write", "space");
    printf("%-24s %-8s%9s%7s%9s%9s%9s%10s%9s%8s%7s%7s\n", "", "", "", "", "", "", "", "", "an op",
           "peak", "amp.", "amp.");
    for (size_t n = 0; n < results_count(); n++) {
        const result *r = results_at(n);
        for (size_t i = 0; i < bench_engine_count; i++) {
            if (r->count[i] == 0)
                continue;
            printf("%-24s %-8s%9s%5.0f %%%9.2f%9.2f%9.2f%10s%9.2f%8.0f%7.2f%7.2f\n", r->name,
                   bench_engines[i]->name, human(result_median(r, i, row_rate), a, sizeof a),
                   50 * result_spread(r, i, row_rate), result_median(r, i, row_p50),
                   result_median(r, i, row_p99), result_median(r, i, row_p999),
                   human(result_median(r, i, row_max), b, sizeof b), result_median(r, i, row_cpu),
                   result_median(r, i, row_peak), result_median(r, i, row_write_amp),
                   result_median(r, i, row_space_amp));
        }
    }
}

void report_print(const settings *s)
{
    print_ratios();
    if (s->details)
        print_details();
}
