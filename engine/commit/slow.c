/* slow: a write is delayed before it queues, or waits while there is too much behind (load.h says
 * how long). */
#include <base/error.h>
#include <base/hash.h>
#include <stdio.h>

#include <commit/commit.h>
#include <store/load.h>
#include <store/store.h>

static void why_writers_wait(firn *db, char *text, size_t size)
{
    uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
    size_t frozen = atomic_load_explicit(&db->main.view, memory_order_relaxed)->frozen_count;
    uint32_t tables = pressure & ~PRESSURE_STOP;
    if (slow_level0_full(tables, frozen))
        snprintf(text, size,
                 "writers wait until compaction has brought the %zu tables of level 0, memtables "
                 "that wait to be flushed included, below %d",
                 tables + frozen, L0_STOP_AT);
    else
        snprintf(text, size, "writers wait until fewer than %zu memtables wait to be flushed",
                 frozen);
}

static int wait_for_room(firn *db, uint64_t started, firn_error *err)
{
    patience p = {.started_us = started};
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
        patience_wait(db, &p, why_writers_wait);
    }
    mutex_unlock(&db->state_mu);
    patience_end(db, &p, "a writer");
    return rc;
}

static void sleep_ms(firn *db, uint32_t ms)
{
    mutex_lock(&db->state_mu);
    if (!db->closing)
        cond_wait_ms(&db->state_changed, &db->state_mu, ms);
    mutex_unlock(&db->state_mu);
}

static uint32_t told(const _Atomic uint32_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

static uint64_t delay_now(const firn *db, uint64_t bytes)
{
    slow_state now = {.load = told(&db->load),
                      .relief = told(&db->relief),
                      .tables = told(&db->pressure) & ~PRESSURE_STOP,
                      .frozen = told(&db->frozen),
                      .done = told(&db->flush_done),
                      .filled = told(&db->filled)};
    return slow_owed_ns(&now, bytes);
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
    uint64_t started = fs_mono_us(db->fs);
    int rc = pressure & PRESSURE_STOP ? wait_for_room(db, started, err) : FIRN_OK;
    uint32_t ms = rc == FIRN_OK
                      ? slow_sleep_ms(delay_now(db, bytes), hash64(&started, sizeof started, 0))
                      : 0;
    if (ms)
        sleep_ms(db, ms);
    atomic_fetch_add_explicit(&db->counters.stall_us, fs_mono_us(db->fs) - started,
                              memory_order_relaxed);
    return rc;
}
