/* slow: how much a writer is delayed before it queues (P16).
 *
 * Too many unflushed memtables, or too many tables in level 0, and writers wait until there are fewer. Before it comes to
 * that they are slowed: a write owes nanoseconds for each of its bytes, by the load that there is now: tables in level 0, and
 * what deeper levels owe, less what running jobs have done of it already, so that the load changes a little at a time, and not
 * by a whole job. Nothing is remembered from one write to the next. A debt that is shorter than a sleep can be is served by chance: a write that owes a
 * tenth of SLEEP_NS sleeps once in ten times.
 */
#include <base/error.h>
#include <base/hash.h>
#include <inttypes.h>

#include "store.h"

#define NS_PER_BYTE_MAX 400 /* at L0_STOP_AT; 2.5 MB/s */
#define SLEEP_NS        UINT64_C(1000000)
#define DELAY_NS_MAX                                                                               \
    UINT64_C(10000000) /* of one write; large ones come to L0_STOP_AT, and wait there */
#define NS_PER_MS 1000000
#define MUTE_MS   1000 /* a longer wait says why (P15) */

#define UNDERWAY    6         /* tables of level 0 that may be taken off the load, at most */
#define FROZEN_LOAD 4         /* as many memtables waiting as may: one more, and writers wait */
#define DEEP_USUAL  10        /* units of debt that merges bring along: they slow nobody */
#define LOAD_MOST   (1 << 20) /* so that it is a number, however deep the debt */

uint32_t slow_load(uint32_t tables, uint64_t debt, uint64_t unit, size_t frozen)
{
    uint64_t load = (uint64_t)tables * SLOW_ONE;
    double deep = (double)debt / (double)unit;
    deep = deep > DEEP_USUAL ? deep - DEEP_USUAL : 0;
    load += (uint64_t)((deep < LOAD_MOST ? deep : LOAD_MOST) * SLOW_ONE);
    if (frozen >= FROZEN_MAX)
        load += FROZEN_LOAD * SLOW_ONE;
    return (uint32_t)load;
}

uint32_t slow_load_left(uint32_t load, uint32_t relief, uint32_t tables)
{
    /* However much of it is being done: the tables are there until it ends, and there is room for so many. */
    uint32_t least = tables > UNDERWAY ? (tables - UNDERWAY) * SLOW_ONE : 0;
    uint32_t left = load > relief ? load - relief : 0;
    return left > least ? left : least;
}

uint64_t slow_delay_ns(uint32_t load, uint64_t bytes)
{
    const uint64_t from = (uint64_t)L0_SLOW_AT * SLOW_ONE, most = (uint64_t)L0_STOP_AT * SLOW_ONE;
    if (load <= from)
        return 0;
    uint64_t range = most - from, over = (load < most ? load : most) - from;
    uint64_t per_byte_of = range * range, weight = NS_PER_BYTE_MAX * over * over;
    if (bytes > DELAY_NS_MAX * per_byte_of / weight)
        return DELAY_NS_MAX;
    return bytes * weight / per_byte_of;
}

uint32_t slow_sleep_ms(uint64_t delay_ns, uint64_t chance)
{
    if (delay_ns >= SLEEP_NS)
        return (uint32_t)(delay_ns / NS_PER_MS);
    return chance % SLEEP_NS < delay_ns ? (uint32_t)(SLEEP_NS / NS_PER_MS) : 0;
}

static void say_why(firn *db, uint32_t tables, size_t frozen)
{
    if (tables >= L0_STOP_AT)
        store_log(db, FIRN_LOG_WARNING,
                  "writers wait until compaction has brought the %" PRIu32
                  " tables of level 0 below %d",
                  tables, L0_STOP_AT);
    else
        store_log(db, FIRN_LOG_WARNING,
                  "writers wait until fewer than %zu memtables wait to be flushed", frozen);
}

/* Sleeps until something has changed. *told: the wait has lasted MUTE_MS, and why was said. */
static void wait_once(firn *db, uint64_t started, bool *told) REQUIRES(db->state_mu)
{
    uint64_t waited_ms = (fs_mono_us(db->fs) - started) / 1000;
    if (*told) {
        cond_wait(&db->state_changed, &db->state_mu);
    } else if (waited_ms < MUTE_MS) {
        cond_wait_ms(&db->state_changed, &db->state_mu, MUTE_MS - waited_ms);
    } else {
        *told = true;
        uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
        size_t frozen = atomic_load_explicit(&db->view, memory_order_relaxed)->frozen_count;
        mutex_unlock(&db->state_mu);
        say_why(db, pressure & ~PRESSURE_STOP, frozen);
        mutex_lock(&db->state_mu);
    }
}

static int wait_for_room(firn *db, uint64_t started, firn_error *err)
{
    bool told = false;
    uint64_t attempt = 0;
    int rc = store_writable(db, err);
    if (rc != FIRN_OK)
        return rc;
    mutex_lock(&db->state_mu);
    for (;;) {
        uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
        if (!(pressure & PRESSURE_STOP) || db->closing)
            break;
        rc = store_stopped(db, err);
        if (error_curable(rc) && store_ask_flusher(db, &attempt))
            rc = FIRN_OK; /* what the last attempt has found may be cured */
        if (rc != FIRN_OK)
            break;
        wait_once(db, started, &told);
    }
    mutex_unlock(&db->state_mu);
    if (told)
        store_log(db, FIRN_LOG_INFO, "a writer goes on after %" PRIu64 " ms",
                  (fs_mono_us(db->fs) - started) / 1000);
    return rc;
}

static void sleep_ms(firn *db, uint32_t ms)
{
    mutex_lock(&db->state_mu);
    if (!db->closing)
        cond_wait_ms(&db->state_changed, &db->state_mu, ms);
    mutex_unlock(&db->state_mu);
}

int slow_down(firn *db, uint64_t bytes, firn_error *err)
{
    uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
    uint32_t load = atomic_load_explicit(&db->load, memory_order_relaxed);
    if (__builtin_expect(pressure < PRESSURE_STOP && load <= L0_SLOW_AT * SLOW_ONE, 1))
        return FIRN_OK;
    if (db->inline_work) /* the work is done behind the write, by its own thread */
        return pressure & PRESSURE_STOP ? store_writable(db, err) : FIRN_OK;
    uint64_t started = fs_mono_us(db->fs);
    int rc = pressure & PRESSURE_STOP ? wait_for_room(db, started, err) : FIRN_OK;
    pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed) & ~PRESSURE_STOP;
    load = slow_load_left(atomic_load_explicit(&db->load, memory_order_relaxed),
                          atomic_load_explicit(&db->relief, memory_order_relaxed), pressure);
    uint32_t ms = rc == FIRN_OK ? slow_sleep_ms(slow_delay_ns(load, bytes),
                                                hash64(&started, sizeof started, 0))
                                : 0;
    if (ms)
        sleep_ms(db, ms);
    atomic_fetch_add_explicit(&db->counters.stall_us, fs_mono_us(db->fs) - started,
                              memory_order_relaxed);
    return rc;
}
