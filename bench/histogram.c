/* histogram: see histogram.h. */
#include "histogram.h"

void histogram_merge(histogram *into, const histogram *from)
{
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t histogram_bucket_end(unsigned index)
{
    return bin_end(index, HISTOGRAM_SPLIT_BITS);
}

uint64_t histogram_quantile(const histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->count + 0.999999), seen = 0;
    if (h->count == 0)
        return 0;
    if (wanted < 1)
        wanted = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted) {
            uint64_t end = histogram_bucket_end(i);
            return end < h->max ? end : h->max;
        }
    }
    return h->max;
}
