/* latency: see store/latency.h. */
#include <store/latency.h>

#include <base/alloc.h>
#include <base/error.h>
#include <base/sized.h>

#include <store/store.h>

static const char *const names[LATENCY_KINDS] = {
    [FIRN_LATENCY_GET] = "get",
    [FIRN_LATENCY_GET_MANY] = "get_many",
    [FIRN_LATENCY_SEEK] = "seek",
    [FIRN_LATENCY_WRITE] = "write",
    [FIRN_LATENCY_SYNC] = "sync",
    [FIRN_LATENCY_FLUSH] = "flush",
    [FIRN_LATENCY_COMPACTION] = "compaction",
};

const char *firn_latency_name(firn_latency_kind which)
{
    return (size_t)which < LATENCY_KINDS ? names[which] : "unknown";
}

/* Zeroed; the system has the pages until they are touched. */
latencies *latencies_new(void)
{
    return pages_alloc(sizeof(latencies));
}

void latencies_free(latencies *l)
{
    if (l)
        pages_free(l, sizeof *l);
}

void latency_note(latencies *l, firn_latency_kind which, uint64_t ns)
{
    unsigned bin = bin_of(ns, LATENCY_SPLIT);
    latency_stripe *s = &l->stripes[readers_slot_of_thread() % LATENCY_STRIPES];
    _Atomic uint64_t *max = &s->of[which].max_ns;
    uint64_t before = atomic_load_explicit(max, memory_order_relaxed);
    while (ns > before && !atomic_compare_exchange_weak_explicit(
                              max, &before, ns, memory_order_relaxed, memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&s->of[which].sum_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->of[which].bins[bin < LATENCY_BINS ? bin : LATENCY_BINS - 1], 1,
                              memory_order_relaxed);
}

static uint64_t load(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

void latency_look(const latencies *l, firn_latency_kind which, latency_sum *out)
{
    *out = (latency_sum){0};
    for (unsigned i = 0; i < LATENCY_STRIPES; i++) {
        const latency_stripe *s = &l->stripes[i];
        uint64_t max = load(&s->of[which].max_ns);
        out->sum_ns += load(&s->of[which].sum_ns);
        out->max_ns = max > out->max_ns ? max : out->max_ns;
        for (unsigned b = 0; b < LATENCY_BINS; b++) {
            uint64_t count = load(&s->of[which].bins[b]);
            out->bins[b] += count;
            out->count += count;
        }
    }
}

uint64_t latency_quantile(const latency_sum *s, unsigned mille)
{
    uint64_t rank = s->count / 1000 * mille + (s->count % 1000 * mille + 999) / 1000, seen = 0;
    for (unsigned b = 0; s->count && b + 1 < LATENCY_BINS; b++) {
        seen += s->bins[b];
        if (seen >= rank)
            return bin_end(b, LATENCY_SPLIT) < s->max_ns ? bin_end(b, LATENCY_SPLIT) : s->max_ns;
    }
    return s->max_ns;
}

void latency_tell(const latency_sum *s, firn_latency *out)
{
    *out = (firn_latency){.size = sizeof *out,
                          .count = s->count,
                          .sum_ns = s->sum_ns,
                          .p50_ns = latency_quantile(s, 500),
                          .p90_ns = latency_quantile(s, 900),
                          .p99_ns = latency_quantile(s, 990),
                          .p999_ns = latency_quantile(s, 999),
                          .max_ns = s->max_ns};
}

static const sized_kind latency_kind = {"the latencies", "call firn_get_latency",
                                        sizeof(firn_latency)};

int firn_get_latency_sized(tree *t, firn_latency_kind which, firn_latency *out, size_t size,
                           firn_error *error)
{
    store *db;
    latency_sum sum;
    firn_latency told;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!out)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the latencies");
    if ((size_t)which >= LATENCY_KINDS)
        return error_set(error, FIRN_INVALID, "there is no latency %d", (int)which);
    if (!db->latencies) {
        error_set(error, FIRN_INVALID, "the store was opened without the option latencies");
        error_hint(error, "set latencies in firn_options");
        return FIRN_INVALID;
    }
    latency_look(db->latencies, which, &sum);
    latency_tell(&sum, &told);
    sized_init(&latency_kind, out, size, &told);
    return FIRN_OK;
}

int(firn_get_latency)(tree *t, firn_latency_kind which, firn_latency *out, firn_error *error)
{
    return firn_get_latency_sized(t, which, out, SIZED_FIRST(firn_latency, max_ns), error);
}
