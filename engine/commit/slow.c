/* slow: a write is delayed before it queues, or waits while there is too much behind (load.h says
 * how long). */
#include <base/error.h>
#include <base/hash.h>
#include <stdio.h>

#include <commit/commit.h>
#include <store/load.h>
#include <store/store.h>

/* What is behind: *tables in level 0, *frozen memtables. */
static firn_wait what_is_full(firn *db, uint32_t *tables, size_t *frozen)
{
    *tables = atomic_load_explicit(&db->pressure, memory_order_relaxed) & ~PRESSURE_STOP;
    *frozen = atomic_load_explicit(&db->main.view, memory_order_relaxed)->frozen_count;
    return slow_level0_full(*tables, *frozen) ? FIRN_WAIT_LEVEL0 : FIRN_WAIT_FLUSH;
}

static void what_writers_wait_for(firn *db, char *text, size_t size)
{
    uint32_t tables;
    size_t frozen;
    if (what_is_full(db, &tables, &frozen) == FIRN_WAIT_LEVEL0)
        snprintf(text, size,
                 "until compaction has brought the %zu tables of level 0, memtables "
                 "that wait to be flushed included, below %d",
                 tables + frozen, L0_STOP_AT);
    else
        snprintf(text, size, "until fewer than %zu memtables wait to be flushed", frozen);
}

static int wait_for_room(firn *db, firn_error *err)
{
    patience p = {0};
    uint32_t tables;
    size_t frozen;
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
        patience_begin(&p, &db->waits, what_is_full(db, &tables, &frozen));
        store_wait(db, &p, what_writers_wait_for);
    }
    mutex_unlock(&db->state_mu);
    patience_end(&p);
    return rc;
}

/* No more than DELAY_NS_MAX: too short to be told. */
static void sleep_ms(firn *db, uint32_t ms, firn_wait cause)
{
    patience p = {0};
    patience_begin(&p, &db->waits, cause);
    mutex_lock(&db->state_mu);
    if (!db->closing)
        cond_wait_ms(&db->state_changed, &db->state_mu, ms);
    mutex_unlock(&db->state_mu);
    patience_end(&p);
}

static uint32_t told(const _Atomic uint32_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

static uint64_t delay_now(const firn *db, uint64_t bytes, firn_wait *cause)
{
    bool for_flush;
    slow_state now = {.load = told(&db->load),
                      .relief = told(&db->relief),
                      .tables = told(&db->pressure) & ~PRESSURE_STOP,
                      .frozen = told(&db->frozen),
                      .done = told(&db->flush_done),
                      .filled = told(&db->filled)};
    uint64_t delay = slow_owed_ns(&now, bytes, &for_flush);
    *cause = for_flush ? FIRN_WAIT_SLOWED_FLUSH : FIRN_WAIT_SLOWED_LEVEL0;
    return delay;
}

int slow_down(firn *db, uint64_t bytes, firn_error *err)
{
    uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
    uint32_t load = atomic_load_explicit(&db->load, memory_order_relaxed);
    uint32_t frozen = atomic_load_explicit(&db->frozen, memory_order_relaxed);
    if (__builtin_expect(
            pressure < PRESSURE_STOP && load <= L0_SLOW_AT * SLOW_ONE && frozen < FROZEN_MAX, 1))
        return FIRN_OK;
    if (db->inline_work) /* the work is done behind the write, by its own thread */
        return pressure & PRESSURE_STOP ? store_writable(db, err) : FIRN_OK;
    int rc = pressure & PRESSURE_STOP ? wait_for_room(db, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    firn_wait cause;
    uint64_t now = fs_mono_us(db->fs);
    uint32_t ms = slow_sleep_ms(delay_now(db, bytes, &cause), hash64(&now, sizeof now, 0));
    if (ms)
        sleep_ms(db, ms, cause);
    return FIRN_OK;
}
