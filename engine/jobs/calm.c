/* calm: are there so few writes that what can wait is done (README, "Calm")? Pure: it is given the
 * time and the counters. The first worker asks at the end of each window of CALM_MS.
 *
 * A window without a write is a calm. So is one with a trickle of writes: else what waits for a
 * calm would stay for as long as a single write comes now and then. But beside a trickle such work
 * may become due again and again, and it may write much for each byte that was put. So it gets a
 * share of the time only: the worker rests CALM_REST times as long as it has worked. */
#include "jobs.h"

void calm_resume(calm_watch *w, const calm_time *now, uint64_t window_us)
{
    if (now->us - w->since.us >= window_us)
        w->since = *now;
}

calm_kind calm_end(calm_watch *w, const calm_time *now, uint64_t little_bytes)
{
    uint64_t entries = now->seq - w->since.seq;
    uint64_t put = now->bytes_put - w->since.bytes_put + entries * CALM_ENTRY_BYTES;
    w->since = *now;
    if (entries == 0)
        return CALM_SILENT;
    return put < little_bytes && now->us >= w->rest_until_us ? CALM_TRICKLE : CALM_NONE;
}

void calm_worked(calm_watch *w, uint64_t from_us, uint64_t to_us)
{
    w->rest_until_us = to_us + (to_us - from_us) * CALM_REST;
}
