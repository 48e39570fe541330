/* load: see load.h. */
#include <store/load.h>

#include <store/store.h>

#define NS_PER_BYTE_MAX    400               /* at L0_STOP_AT; 2.5 MB/s */
#define FLUSH_NS_PER_BYTE  400               /* of a write that is ahead of the flush: see there */
#define FLUSH_DELAY_NS_MAX UINT64_C(4000000) /* of one write: each one may have to pay it */
#define SLEEP_NS           UINT64_C(1000000)
#define DELAY_NS_MAX                                                                               \
    UINT64_C(10000000) /* of one write; large ones come to L0_STOP_AT, and wait there */
#define NS_PER_MS    1000000
#define L0_NEAR_STOP 19        /* beyond so many tables, they count whatever is being done */
#define DEEP_USUAL   10        /* units of debt that merges bring along: they slow no writer */
#define LOAD_MOST    (1 << 20) /* so that it is a number, however deep the debt */
#define LEVEL0_WORTH 0.8       /* of its tables: what a job of level 0 takes off; see there */
#define COUNTED_PART 64        /* of a memtable: many writers may put less than this at once */

uint32_t slow_load(uint32_t tables, uint64_t debt, uint64_t unit)
{
    uint64_t load = (uint64_t)tables * SLOW_ONE;
    double deep = (double)debt / (double)unit;
    deep = deep > DEEP_USUAL ? deep - DEEP_USUAL : 0;
    load += (uint64_t)((deep < LOAD_MOST ? deep : LOAD_MOST) * SLOW_ONE);
    return (uint32_t)load;
}

bool slow_level0_full(uint32_t tables, size_t frozen)
{
    return tables + frozen >= L0_STOP_AT;
}

bool slow_stops(uint32_t tables, size_t frozen)
{
    return slow_level0_full(tables, frozen) || frozen > FROZEN_MAX;
}

uint32_t slow_weight(uint64_t bytes, uint64_t memtable_bytes)
{
    if (bytes < memtable_bytes / COUNTED_PART)
        return 0;
    if (bytes >= memtable_bytes / 2)
        return SLOW_ONE;
    return (uint32_t)(bytes * SLOW_ONE * 2 / memtable_bytes);
}

bool slow_admits(uint32_t tables, size_t frozen, uint64_t ahead, uint32_t weight)
{
    if (ahead == 0)
        return !slow_stops(tables, frozen);
    uint64_t more = (ahead + weight + SLOW_ONE - 1) / SLOW_ONE;
    return tables + frozen + more <= L0_STOP_AT && frozen + more <= FROZEN_MAX + 1;
}

uint32_t slow_worth(size_t tables, uint64_t bytes, uint64_t unit)
{
    /* What goes down from level 0 must go on before more can follow it: until the job ends, a part
     * of its load stays, so that writers are not fast while it runs, and slow behind it. */
    double worth = tables ? (double)tables * LEVEL0_WORTH : (double)bytes / (double)unit;
    return worth < L0_STOP_AT ? (uint32_t)(worth * SLOW_ONE) : L0_STOP_AT * SLOW_ONE;
}

uint32_t slow_load_left(uint32_t load, uint32_t relief, uint32_t tables)
{
    /* However much of it is being done: the tables are there until it ends, and at the stop all
     * writers wait for that. */
    uint32_t seen = tables < L0_STOP_AT ? tables : L0_STOP_AT;
    uint32_t near = seen > L0_NEAR_STOP ? seen - L0_NEAR_STOP : 0;
    uint32_t least = near ? L0_SLOW_AT * SLOW_ONE + near * near * SLOW_ONE * 3 / 4 : 0;
    uint32_t left = load > relief ? load - relief : 0;
    return left > least ? left : least;
}

/* bytes * weight / per, at most `most`. */
static uint64_t delay_of(uint64_t bytes, uint64_t weight, uint64_t per, uint64_t most)
{
    if (bytes > most * per / weight)
        return most;
    return bytes * weight / per;
}

uint64_t slow_delay_ns(uint32_t load, uint64_t bytes)
{
    const uint64_t from = (uint64_t)L0_SLOW_AT * SLOW_ONE, most = (uint64_t)L0_STOP_AT * SLOW_ONE;
    if (load <= from)
        return 0;
    _Static_assert(DELAY_NS_MAX < UINT64_MAX / ((L0_STOP_AT * SLOW_ONE * L0_STOP_AT * SLOW_ONE) *
                                                UINT64_C(1) * L0_STOP_AT * SLOW_ONE),
                   "delay_of multiplies the two");
    uint64_t range = most - from, over = (load < most ? load : most) - from;
    /* The third power: where writers and compaction meet, a table more or less is little. */
    return delay_of(bytes, NS_PER_BYTE_MAX * over * over * over, range * range * range,
                    DELAY_NS_MAX);
}

uint64_t slow_flush_delay_ns(size_t frozen, uint32_t done, uint32_t filled, uint64_t bytes)
{
    if (frozen < FROZEN_MAX || filled <= done)
        return 0;
    uint64_t ahead = filled - done, left = filled < SLOW_ONE ? SLOW_ONE - filled : 1;
    return delay_of(bytes, FLUSH_NS_PER_BYTE * ahead * ahead, (SLOW_ONE - done) * left,
                    FLUSH_DELAY_NS_MAX);
}

uint64_t slow_owed_ns(const slow_state *s, uint64_t bytes, bool *for_flush)
{
    uint64_t writers = (uint64_t)s->others + 1;
    bytes = bytes < UINT64_MAX / writers ? bytes * writers : UINT64_MAX;
    uint64_t load = slow_delay_ns(slow_load_left(s->load, s->relief, s->tables), bytes);
    uint64_t flush = slow_flush_delay_ns(s->frozen, s->done, s->filled, bytes);
    *for_flush = flush > load;
    return *for_flush ? flush : load;
}

uint32_t slow_sleep_ms(uint64_t delay_ns, uint64_t chance)
{
    if (delay_ns >= SLEEP_NS)
        return (uint32_t)(delay_ns / NS_PER_MS);
    return chance % SLEEP_NS < delay_ns ? (uint32_t)(SLEEP_NS / NS_PER_MS) : 0;
}
