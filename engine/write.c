/* write: from a caller's put to the log, and the hooks by which the log's leader grows the index.
 *
 *   firn_put -> wal_put: queue, lead or follow
 *     leader:   [hook_rotating] hook_prepare, frames into the segment, hook_apply, hook_publish
 *     then:     wait until the number is durable, if that was asked for
 *
 * A write is visible to readers at hook_publish and durable when wal_put returns. The hooks run one
 * leader at a time, so what they share among themselves needs no lock; they take state_mu only, and
 * only to rotate or to wait.
 */
#include <base/entry.h>
#include <base/error.h>
#include <base/slice.h>
#include <string.h>

#include "store.h"

#define SLOW_NS_PER_BYTE_MAX 400 /* at L0_STOP_AT; 2.5 MB/s */
#define SLEEP_AT_NS          50000
#define NS_PER_MS            1000000

/* ---- hooks ---- */

/* The segment is full: its memtable is frozen with it, in one step (E1, E2). */
static int hook_rotating(void *ctx, wal_segment *next, uint64_t seq_last, firn_error *err)
{
    firn *db = ctx;
    mem *active = db->active;
    mem *fresh = NULL;
    uint8_t prefix[PREFIX_KEPT];
    mutex_lock(&db->state_mu);
    size_t prefix_size = db->prefix_size;
    memcpy(prefix, db->prefix, prefix_size);
    mutex_unlock(&db->state_mu);
    int rc = mem_new(next, seq_last + 1, slice_of(prefix, prefix_size), &fresh);
    if (rc == FIRN_OK) {
        active->seq_last = seq_last;
        rc = store_install_mem(db, fresh);
    }
    if (rc == FIRN_OK)
        db->active = fresh;
    else
        error_no_memory(err, sizeof *fresh);
    mem_unref(fresh); /* the view has its own reference */
    return rc;
}

/* Writers wait while too much is unflushed or uncompacted, and are slowed down before it comes to
 * that: the delay is a continuous function of the number of tables in level 0, recomputed for every
 * group. */
static int hold_back(firn *db, uint64_t bytes, firn_error *err)
{
    uint32_t pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed);
    if (pressure < L0_SLOW_AT || db->inline_work)
        return FIRN_OK;
    uint64_t started = fs_mono_us(db->fs);
    int rc = FIRN_OK;
    mutex_lock(&db->state_mu);
    while ((atomic_load_explicit(&db->pressure, memory_order_relaxed) & PRESSURE_STOP) &&
           rc == FIRN_OK && !db->closing && !db->log_wanted) {
        pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed) & ~PRESSURE_STOP;
        bool hopeless = db->compaction_failed && pressure >= L0_STOP_AT;
        if (db->background_status != FIRN_OK || hopeless) {
            /* Nothing has happened, but nothing will either until the store is opened again. */
            rc = FIRN_POISONED;
            if (err) {
                *err = db->background_error;
                err->status = rc;
            }
        } else if (db->retry_status != FIRN_OK) {
            /* The flush that would make room waits for space or memory: say so instead of hanging.
             */
            rc = db->retry_status;
            if (err)
                *err = db->retry_error;
        } else {
            cond_wait(&db->state_changed, &db->state_mu);
        }
    }
    pressure = atomic_load_explicit(&db->pressure, memory_order_relaxed) & ~PRESSURE_STOP;
    if (rc == FIRN_OK && pressure > L0_SLOW_AT) {
        uint64_t over = pressure - L0_SLOW_AT, range = L0_STOP_AT - L0_SLOW_AT;
        db->owed_ns += bytes * SLOW_NS_PER_BYTE_MAX * over * over / (range * range);
        if (db->owed_ns >= SLEEP_AT_NS) {
            cond_wait_ms(&db->state_changed, &db->state_mu, 1);
            db->owed_ns -= db->owed_ns < NS_PER_MS ? db->owed_ns : NS_PER_MS;
        }
    }
    mutex_unlock(&db->state_mu);
    atomic_fetch_add_explicit(&db->counters.stall_us, fs_mono_us(db->fs) - started,
                              memory_order_relaxed);
    return rc;
}

static int hook_prepare(void *ctx, uint64_t entries, uint64_t bytes, firn_error *err)
{
    firn *db = ctx;
    int rc = hold_back(db, bytes, err);
    if (rc != FIRN_OK)
        return rc;
    if (memtable_reserve(db->active->table, (size_t)entries) != FIRN_OK)
        return error_no_memory(err, (size_t)entries * 64);
    atomic_store_explicit(&db->counters.bytes_put,
                          atomic_load_explicit(&db->counters.bytes_put, memory_order_relaxed) +
                              bytes,
                          memory_order_relaxed);
    return FIRN_OK;
}

static void hook_apply(void *ctx, const wal_applied *frame)
{
    firn *db = ctx;
    mem_apply(db->active, frame);
    atomic_store_explicit(&db->newest_seq, frame->seq_first + frame->count - 1,
                          memory_order_relaxed);
}

static void hook_publish(void *ctx, uint64_t seq_last)
{
    firn *db = ctx;
    atomic_store_explicit(&db->visible_seq, seq_last, memory_order_release);
}

wal_hooks store_hooks(firn *db)
{
    return (wal_hooks){.ctx = db,
                       .rotating = hook_rotating,
                       .prepare = hook_prepare,
                       .apply = hook_apply,
                       .publish = hook_publish};
}

/* ---- calls ---- */

void firn_write_options_init(firn_write_options *options)
{
    if (options)
        *options = (firn_write_options){.size = sizeof *options};
}

static int begin_write(firn *db, const firn_write_options *options, firn_durability *durability,
                       firn_error *err)
{
    int rc = store_check_handle(db, err);
    if (rc != FIRN_OK)
        return rc;
    if (db->options.read_only) {
        error_set(err, FIRN_READ_ONLY, "the store was opened for reading only");
        error_hint(err, "open it without read_only");
        return FIRN_READ_ONLY;
    }
    if (options && options->size != sizeof *options) {
        error_set(err, FIRN_INVALID, "the write options have size %zu, expected %zu", options->size,
                  sizeof *options);
        error_hint(err, "call firn_write_options_init first; compile against the installed header");
        return FIRN_INVALID;
    }
    *durability = options ? options->durability : FIRN_DURABILITY_DEFAULT;
    if (*durability == FIRN_DURABILITY_DEFAULT)
        *durability = db->options.durability;
    if ((unsigned)*durability > FIRN_DURABILITY_NONE)
        return error_set(err, FIRN_INVALID, "durability %d does not exist", (int)*durability);
    /* Unlocked look: a stale answer only means that one more write reaches the log. */
    if (atomic_load_explicit(&db->pressure, memory_order_relaxed) & PRESSURE_STOP)
        return store_writable(db, err);
    return FIRN_OK;
}

static int write_one(firn *db, uint8_t kind, firn_slice key, firn_slice value,
                     const firn_write_options *options, firn_error *err)
{
    firn_durability durability;
    int rc = begin_write(db, options, &durability, err);
    if (rc == FIRN_OK)
        rc = wal_put(db->wal, kind, key, value, durability, NULL, err);
    if (rc == FIRN_OK && db->inline_work)
        (void)work_inline(db, NULL); /* the write stands, whatever becomes of the work behind it */
    return rc;
}

int firn_put(firn *db, const void *key, size_t key_size, const void *value, size_t value_size,
             const firn_write_options *options, firn_error *error)
{
    return write_one(db, FIRN_PUT, slice_of(key, key_size), slice_of(value, value_size), options,
                     error);
}

int firn_delete(firn *db, const void *key, size_t key_size, const firn_write_options *options,
                firn_error *error)
{
    return write_one(db, FIRN_DELETE, slice_of(key, key_size), (firn_slice){0}, options, error);
}

int firn_write(firn *db, const firn_batch *batch, const firn_write_options *options, uint64_t *seq,
               firn_error *error)
{
    firn_durability durability;
    int rc = begin_write(db, options, &durability, error);
    if (rc != FIRN_OK)
        return rc;
    if (!batch)
        return error_set(error, FIRN_INVALID, "the batch is NULL");
    if (firn_batch_count(batch) == 0) {
        if (seq)
            *seq = firn_last_seq(db);
        return FIRN_OK;
    }
    rc = wal_write(db->wal, batch, durability, seq, error);
    if (rc == FIRN_OK && db->inline_work)
        (void)work_inline(db, NULL);
    return rc;
}

int firn_sync(firn *db, firn_error *error)
{
    int rc = store_check_handle(db, error);
    if (rc != FIRN_OK || db->options.read_only)
        return rc;
    return firn_wal_sync(db->wal, error);
}

int firn_wait_durable(firn *db, uint64_t seq, uint32_t timeout_ms, firn_error *error)
{
    int rc = store_check_handle(db, error);
    if (rc != FIRN_OK)
        return rc;
    if (db->options.read_only && seq <= firn_last_seq(db)) {
        /* Whoever writes to the store syncs it; we can neither do that nor see it happen. */
        if (seq <= firn_durable_seq(db))
            return FIRN_OK;
        error_set(error, FIRN_READ_ONLY, "the store was opened for reading only");
        error_hint(error, "wait where it is written");
        return FIRN_READ_ONLY;
    }
    return firn_wal_wait_durable(db->wal, seq, timeout_ms, error);
}

uint64_t firn_last_seq(const firn *db)
{
    return db ? atomic_load_explicit(&db->visible_seq, memory_order_acquire) : 0;
}

uint64_t firn_durable_seq(const firn *db)
{
    return db ? firn_wal_durable_seq(db->wal) : 0;
}
