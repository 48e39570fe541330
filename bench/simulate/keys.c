/* keys: see keys.h. */
#include "keys.h"

#include <math.h>
#include <string.h>

#define ZIPF_EXPONENT   0.99
#define ASCENDING_STEP  ((double)(1 << 20)) /* between two keys: there is room for 2^44 */
#define ASCENDING_TOTAL ((double)(UINT64_C(1) << 44))

/* The sum of 1 / rank^ZIPF_EXPONENT from rank a to rank b, b not included. */
static double zipf_weight(double a, double b)
{
    double e = 1 - ZIPF_EXPONENT;
    return (pow(b - 0.5, e) - pow(a - 0.5, e)) / e;
}

/* Each class reaches to `factor` times the rank of the one before. */
static void init_zipf(keys *k)
{
    double factor = pow(k->total + 1, 1.0 / CLASSES_MAX), from = 1, sum = 0;
    factor = factor < 2 ? 2 : factor;
    for (unsigned c = 0; c < CLASSES_MAX && from <= k->total; c++) {
        double to = ceil(from * factor);
        if (to > k->total || c + 1 == CLASSES_MAX)
            to = k->total + 1;
        k->keys[c] = to - from;
        k->share[c] = zipf_weight(from, to);
        sum += k->share[c];
        k->classes = c + 1;
        from = to;
    }
    for (unsigned c = 0; c < k->classes; c++)
        k->share[c] /= sum;
}

void keys_init(keys *k, const settings *s, bool full)
{
    *k = (keys){.pattern = s->pattern, .classes = 1, .total = (double)s->records};
    k->keys[0] = k->total;
    k->share[0] = 1;
    if (s->pattern == PATTERN_ZIPF)
        init_zipf(k);
    if (s->pattern == PATTERN_DELETE)
        k->deletes = 0.5;
    if (s->pattern == PATTERN_ASCENDING)
        k->total = k->keys[0] = ASCENDING_TOTAL;
    if (full && s->pattern == PATTERN_ASCENDING)
        k->written = (double)s->records;
    for (unsigned c = 0; full && c < k->classes; c++)
        k->live[c] = s->pattern == PATTERN_ASCENDING ? k->written : k->keys[c];
}

void keys_of_writes(const keys *k, double loaded, double writes, counts *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned c = 0; c < k->classes; c++) {
        if (k->pattern == PATTERN_ASCENDING) {
            out->of[c][COUNT_PUT] = writes;
            continue;
        }
        double hit = k->keys[c] * -expm1(-(writes - loaded) * k->share[c] / k->keys[c]);
        out->of[c][COUNT_LOADED] = loaded * k->keys[c] / k->total;
        out->of[c][COUNT_PUT] = hit * (1 - k->deletes);
        out->of[c][COUNT_DELETED] = hit * k->deletes;
    }
}

void keys_write(keys *k, double writes, bool loading)
{
    k->written += writes;
    for (unsigned c = 0; c < k->classes; c++) {
        double most = k->keys[c], alive = 1 - k->deletes;
        if (k->pattern == PATTERN_ASCENDING) {
            k->live[c] += writes;
        } else if (loading) {
            k->live[c] += writes * most / k->total;
        } else {
            double kept = exp(-writes * k->share[c] / most);
            k->live[c] = most * (alive + (k->live[c] / most - alive) * kept);
        }
        k->live[c] = k->live[c] > most ? most : k->live[c];
    }
}

double keys_live(const keys *k)
{
    double sum = 0;
    for (unsigned c = 0; c < k->classes; c++)
        sum += k->live[c];
    return sum;
}

uint64_t keys_place(double n)
{
    return (uint64_t)(n * ASCENDING_STEP);
}

double counts_entries(const counts *c, unsigned classes)
{
    double sum = 0;
    for (unsigned i = 0; i < classes; i++)
        for (unsigned kind = 0; kind < KINDS; kind++)
            sum += c->of[i][kind];
    return sum;
}

double counts_deleted(const counts *c, unsigned classes)
{
    double sum = 0;
    for (unsigned i = 0; i < classes; i++)
        sum += c->of[i][COUNT_DELETED];
    return sum;
}

static double fraction(uint64_t random)
{
    return (double)(random >> 11) / (double)(UINT64_C(1) << 53);
}

uint64_t keys_draw(const keys *k, uint64_t (*random)(void *ctx), void *ctx)
{
    double where = fraction(random(ctx)), first = 0;
    unsigned c = 0;
    while (c + 1 < k->classes && where >= k->share[c]) {
        where -= k->share[c];
        first += k->keys[c];
        c++;
    }
    return (uint64_t)(first + floor(fraction(random(ctx)) * k->keys[c]));
}
