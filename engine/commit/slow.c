/* slow: a write is delayed before it queues, or waits while there is too much behind (load.h says
 * how long). */
#include <base/error.h>
#include <base/hash.h>
#include <stdio.h>

#include <commit/commit.h>
#include <store/load.h>
#include <store/store.h>

/* What is behind: *tables in level 0, *frozen memtables, those included that writes ahead may
 * freeze. */
static firn_wait what_is_full(store *db, uint32_t *tables, size_t *frozen) REQUIRES(db->state_mu)
{
    *tables = atomic_load_explicit(&db->pressure, memory_order_relaxed) & ~PRESSURE_STOP;
    *frozen = atomic_load_explicit(&db->main.view, memory_order_relaxed)->frozen_count +
              (size_t)((db->ahead + SLOW_ONE - 1) / SLOW_ONE);
    return slow_level0_full(*tables, *frozen) ? FIRN_WAIT_LEVEL0 : FIRN_WAIT_FLUSH;
}

static void what_writers_wait_for(store *db, char *text, size_t size) REQUIRES(db->state_mu)
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

/* Without a turn, a write asks only whether all must wait. */
static bool has_room(store *db, const room_turn *turn, uint32_t weight) REQUIRES(db->state_mu)
{
    uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
    uint32_t frozen = atomic_load_explicit(&db->frozen, memory_order_relaxed);
    if (pressure & PRESSURE_STOP)
        return false;
    return !turn || (db->turns == turn &&
                     (db->ahead == 0 || slow_admits(pressure, frozen, db->ahead, weight)));
}

static int wait_for_room(store *db, const room_turn *turn, uint32_t weight, firn_error *err)
{
    patience p = {0};
    uint32_t tables;
    size_t frozen;
    uint64_t flush = 0, compaction = 0; /* attempts, behind which it is in vain */
    int rc = store_writable(db, err);
    if (rc != FIRN_OK)
        return rc;
    mutex_lock(&db->state_mu);
    while (!has_room(db, turn, weight) && !db->closing) {
        background_work of;
        rc = store_stopped(db, &of, err);
        if (rc != FIRN_OK && db->background_status == FIRN_OK &&
            (of == WORK_FLUSH ? store_ask_flusher(db, &flush)
                              : store_ask_compactors(db, &compaction)))
            rc = FIRN_OK; /* what the last attempt has found may be cured */
        if (rc != FIRN_OK)
            break;
        patience_begin(&p, &db->waits, what_is_full(db, &tables, &frozen));
        store_wait(db, &p, what_writers_wait_for);
    }
    if (rc == FIRN_OK)
        db->ahead += weight;
    mutex_unlock(&db->state_mu);
    patience_end(&p);
    return rc;
}

/* No more than DELAY_NS_MAX: too short to be told. All of it, whatever is told meanwhile: else many
 * writers would owe less the more of them there are. */
static void sleep_ms(store *db, uint32_t ms, firn_wait cause)
{
    patience p = {0};
    atomic_fetch_add_explicit(&db->slowed, 1, memory_order_relaxed);
    patience_begin(&p, &db->waits, cause);
    thread_sleep_ms(ms);
    patience_end(&p);
    atomic_fetch_sub_explicit(&db->slowed, 1, memory_order_relaxed);
}

static uint32_t told(const _Atomic uint32_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

static uint64_t delay_now(const store *db, uint64_t bytes, firn_wait *cause)
{
    bool for_flush;
    slow_state now = {.load = told(&db->load),
                      .relief = told(&db->relief),
                      .tables = told(&db->pressure) & ~PRESSURE_STOP,
                      .frozen = told(&db->frozen),
                      .done = told(&db->flush_done),
                      .filled = told(&db->filled),
                      .others = told(&db->slowed)};
    uint64_t delay = slow_owed_ns(&now, bytes, &for_flush);
    *cause = for_flush ? FIRN_WAIT_SLOWED_FLUSH : FIRN_WAIT_SLOWED_LEVEL0;
    return delay;
}

int slow_down(store *db, uint64_t bytes, firn_error *err)
{
    uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
    uint32_t load = atomic_load_explicit(&db->load, memory_order_relaxed);
    uint32_t frozen = atomic_load_explicit(&db->frozen, memory_order_relaxed);
    if (__builtin_expect(
            pressure < PRESSURE_STOP && load <= L0_SLOW_AT * SLOW_ONE && frozen < FROZEN_MAX, 1))
        return FIRN_OK;
    if (db->inline_work) /* the work is done behind the write, by its own thread */
        return pressure & PRESSURE_STOP ? store_writable(db, err) : FIRN_OK;
    int rc = pressure & PRESSURE_STOP ? wait_for_room(db, NULL, 0, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    firn_wait cause;
    uint64_t now = fs_mono_us(db->fs);
    uint32_t ms = slow_sleep_ms(delay_now(db, bytes, &cause), hash64(&now, sizeof now, 0));
    if (ms)
        sleep_ms(db, ms, cause);
    return FIRN_OK;
}

uint32_t room_needed(const store *db, uint64_t bytes, uint64_t operations)
{
    uint64_t share = db->mem_share, log = db->options.segment_bytes;
    bytes += operations * MEM_ENTRY_INDEX;
    return db->inline_work ? 0 : slow_weight(bytes, log < share ? log : share);
}

/* Behind all that wait. */
static void begin_turn(store *db, room_turn *turn)
{
    mutex_lock(&db->state_mu);
    room_turn **at = &db->turns;
    while (*at)
        at = &(*at)->next;
    *at = turn;
    mutex_unlock(&db->state_mu);
}

static void end_turn(store *db, const room_turn *turn)
{
    mutex_lock(&db->state_mu);
    room_turn **at = &db->turns;
    while (*at != turn)
        at = &(*at)->next;
    *at = turn->next;
    if (db->turns)
        cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}

int room_take(store *db, uint32_t weight, firn_error *err)
{
    room_turn turn = {NULL};
    begin_turn(db, &turn);
    int rc = wait_for_room(db, &turn, weight, err);
    end_turn(db, &turn);
    return rc;
}

void room_give(store *db, uint32_t weight)
{
    mutex_lock(&db->state_mu);
    db->ahead -= weight;
    if (db->turns)
        cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
}
