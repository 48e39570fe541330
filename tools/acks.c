/* acks: see acks.h. */
#include "acks.h"

#include <string.h>

static void thin(acks *a)
{
    size_t kept = 0;
    for (size_t i = 1; i < a->count; i += 2)
        a->pending[kept++] = a->pending[i];
    a->count = kept; /* ACKS_MAX is even: the newest has an odd index and stays */
    a->stride *= 2;
    a->since = a->stride;
}

void acks_add(acks *a, uint64_t seq, uint64_t lines)
{
    if (!a->out)
        return;
    if (a->count == 0)
        a->stride = a->since = 1;
    if (a->count > 0 && a->since < a->stride) {
        a->pending[a->count - 1] = (ack){seq, lines};
        a->since++;
        return;
    }
    if (a->count == ACKS_MAX)
        thin(a);
    a->pending[a->count++] = (ack){seq, lines};
    a->since = 1;
}

void acks_print(acks *a, uint64_t durable_seq)
{
    size_t n = 0;
    while (n < a->count && a->pending[n].seq <= durable_seq)
        n++;
    if (n == 0)
        return;
    output_format(a->out, "ack %llu\n", (unsigned long long)a->pending[n - 1].lines);
    /* A program that waits for this line must not wait for the next one too. */
    output_flush(a->out);
    a->count -= n;
    memmove(a->pending, a->pending + n, a->count * sizeof a->pending[0]);
}
