/* wal: the log's handle: writing, looking, and what every file of the room uses (<firn/wal.h>,
 * <wal/wal.h>).
 *
 * Where to go on reading: wal_open.c (opening and closing), wal_commit.c (the way of a write),
 * wal_sync.c (how it becomes durable), wal_helper.c (what happens when nobody writes),
 * wal_recover.c (what opening finds).
 */
#include <assert.h>
#include <base/alloc.h>
#include <base/checksum.h>
#include <base/entry.h>
#include <base/error.h>
#include <base/sized.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wal_impl.h"

/* ---- Small things that every file of the room uses ---- */

void wal_log(const wal *w, firn_log_level level, const char *format, ...)
{
    if (!w->config.options.log)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    w->config.options.log(w->config.options.log_ctx, level, line);
}

int wal_check_handle(const wal *w, firn_error *err)
{
    if (!w)
        return error_set(err, FIRN_INVALID, "the log is NULL");
    if (w->generation == fork_generation())
        return FIRN_OK;
    int status = error_file(err, FIRN_INVALID, w->dir->path, FIRN_NO_OFFSET,
                            "this log was opened before a fork, by the parent process");
    error_hint(err, "open logs after forking, in the process that uses them");
    return status;
}

int wal_check_writable(const wal *w, firn_error *err)
{
    int status = wal_check_handle(w, err);
    if (status != FIRN_OK || !w->read_only)
        return status;
    status = error_file(err, FIRN_READ_ONLY, w->dir->path, FIRN_NO_OFFSET,
                        "the log was opened for reading only");
    error_hint(err, "open it without read_only (and with a recovery that repairs) to write");
    return status;
}

void wal_poison(wal *w, const firn_error *cause)
{
    mutex_lock(&w->m);
    bool first = atomic_load_explicit(&w->poisoned, memory_order_relaxed) == 0;
    if (first) {
        w->poison = *cause;
        /* Release: who sees it may read the cause. */
        atomic_store_explicit(&w->poisoned, cause->status, memory_order_release);
    }
    mutex_unlock(&w->m);
    if (!first)
        return;
    char line[768];
    firn_error_format(cause, line, sizeof(line));
    wal_log(w, FIRN_LOG_ERROR, "the log stops writing: %s", line);
    wal_sync_fail_all(w);
}

int wal_poisoned_error(wal *w, firn_error *err)
{
    if (!err)
        return FIRN_POISONED;
    mutex_lock(&w->m);
    firn_error cause = w->poison;
    mutex_unlock(&w->m);
    error_file(err, FIRN_POISONED, cause.file, cause.offset,
               "writing has stopped after an earlier failure: %.150s", cause.message);
    err->sys_errno = cause.sys_errno;
    error_hint(err, "find the cause, then close the log and open it again; reading goes on");
    return FIRN_POISONED;
}

int wal_check_held(wal *w, firn_error *err)
{
    firn_error found;
    int status = fs_dir_held(w->dir, w->config.lock, &found);
    if (status == FIRN_IO)
        wal_poison(w, &found);
    return error_give(err, status, &found);
}

int wal_segments_snapshot(wal *w, wal_segment ***out, size_t *count, firn_error *err)
{
    wal_segment **segments = NULL;
    size_t capacity = 0;
    for (;;) {
        mutex_lock(&w->m);
        size_t n = w->live_count;
        if (n <= capacity) {
            for (size_t i = 0; i < n; i++) {
                segments[i] = w->live[i];
                wal_segment_ref(segments[i]);
            }
            mutex_unlock(&w->m);
            *out = segments;
            *count = n;
            return FIRN_OK;
        }
        mutex_unlock(&w->m);
        /* Not under the mutex: writers may wait for it. */
        mem_free(segments);
        capacity = n + 4;
        segments = mem_alloc(capacity * sizeof(*segments));
        if (!segments)
            return error_no_memory(err, capacity * sizeof(*segments));
    }
}

void wal_segments_release(wal_segment **segments, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wal_segment_unref(segments[i]);
    mem_free(segments);
}

/* ---- Writing ---- */

static int too_large(const wal *w, uint64_t bytes, firn_error *err)
{
    int status =
        error_set(err, FIRN_TOO_LARGE, "a write of %llu encoded bytes is over the limit of %llu",
                  (unsigned long long)bytes, (unsigned long long)w->config.options.max_batch_bytes);
    error_hint(err, "split it, or raise max_batch_bytes (at most %u)", FIRN_MAX_BATCH_BYTES);
    return status;
}

static int check_put(uint8_t kind, firn_slice key, firn_slice value, firn_error *err)
{
    int status = entry_check_limits(key.data, key.size, value.data, value.size);
    if (status == FIRN_TOO_LARGE) {
        error_set(err, status, "a key of %llu or a value of %llu bytes is over its limit",
                  (unsigned long long)key.size, (unsigned long long)value.size);
        error_hint(err, "keys have at most %u bytes, values %u", FIRN_MAX_KEY_BYTES,
                   FIRN_MAX_VALUE_BYTES);
    } else if (status != FIRN_OK) {
        error_set(err, status, "a key or value is NULL and has a size");
    } else if (kind != FIRN_PUT && kind != FIRN_DELETE) {
        status = error_set(err, FIRN_INVALID, "operation %u is neither FIRN_PUT nor FIRN_DELETE",
                           (unsigned)kind);
    } else if (kind == FIRN_DELETE && value.size != 0) {
        status = error_set(err, FIRN_INVALID, "a delete has a value");
        error_hint(err, "pass NULL and 0");
    }
    return status;
}

static bool durability_known(firn_durability durability)
{
    return (int)durability >= FIRN_DURABILITY_DEFAULT && durability <= FIRN_DURABILITY_NONE;
}

static void entry_encode(uint8_t *p, uint8_t kind, firn_slice key, firn_slice value)
{
    entry_put_header(p, kind, ENTRY_BUCKET_DEFAULT, key.size, value.size);
    p += ENTRY_HEADER_BYTES;
    if (key.size > 0)
        memcpy(p, key.data, key.size);
    if (value.size > 0)
        memcpy(p + key.size, value.data, value.size);
}

/* What every request of entries has. The fields that others set, and `small`, are left alone. */
static void request_fill(const wal *w, wal_request *r, firn_durability durability, firn_error *err)
{
    r->type = WAL_REQUEST_DATA;
    r->frame_type = WAL_DATA;
    r->single = false;
    r->err = err;
    if (durability == FIRN_DURABILITY_DEFAULT)
        durability = w->config.options.durability;
    r->durable = durability == FIRN_DURABILITY_SYNC;
    r->batched = durability == FIRN_DURABILITY_BATCH;
}

int wal_request_put(wal *w, wal_request *r, uint8_t kind, firn_slice key, firn_slice value,
                    firn_durability durability, firn_error *err)
{
    int status = wal_check_writable(w, err);
    if (status == FIRN_OK)
        status = check_put(kind, key, value, err);
    if (status != FIRN_OK)
        return status;
    uint64_t bytes = entry_size(key.size, value.size);
    if (bytes > w->config.options.max_batch_bytes)
        return too_large(w, bytes, err);
    request_fill(w, r, durability, err);
    r->count = 1;
    r->payload_bytes = bytes;
    if (bytes <= sizeof(r->small)) {
        entry_encode(r->small, kind, key, value);
        r->key = (firn_slice){r->small, (size_t)bytes};
        r->payload_crc = crc32_update(0, r->small, (size_t)bytes);
        return FIRN_OK;
    }
    r->single = true;
    r->key = key;
    r->value = value;
    entry_put_header(r->head, kind, ENTRY_BUCKET_DEFAULT, key.size, value.size);
    uint32_t crc = crc32_update(0, r->head, sizeof(r->head));
    crc = crc32_update(crc, key.data, key.size);
    r->payload_crc = crc32_update(crc, value.data, value.size);
    return FIRN_OK;
}

int wal_request_batch(wal *w, wal_request *r, const firn_batch *batch, firn_durability durability,
                      firn_error *err)
{
    int status = wal_check_writable(w, err);
    if (status != FIRN_OK)
        return status;
    if (!batch || firn_batch_count(batch) == 0) {
        status = error_set(err, FIRN_INVALID, "the batch is empty");
        error_hint(err, "put at least one operation into it");
        return status;
    }
    firn_slice payload = batch_payload(batch);
    if (payload.size > w->config.options.max_batch_bytes)
        return too_large(w, payload.size, err);
    request_fill(w, r, durability, err);
    r->count = firn_batch_count(batch);
    r->key = payload;
    r->payload_bytes = payload.size;
    r->payload_crc = crc32_update(0, payload.data, payload.size);
    return FIRN_OK;
}

int wal_request_rotate(wal *w, wal_request *r, firn_error *err)
{
    int status = wal_check_writable(w, err);
    if (status != FIRN_OK)
        return status;
    request_fill(w, r, FIRN_DURABILITY_NONE, err);
    r->type = WAL_REQUEST_ROTATE;
    r->frame_type = 0;
    r->count = 0;
    r->payload_bytes = 0;
    return FIRN_OK;
}

int wal_put(wal *w, uint8_t kind, firn_slice key, firn_slice value, firn_durability durability,
            uint64_t *seq_last, firn_error *err)
{
    wal_request r;
    int status = wal_request_put(w, &r, kind, key, value, durability, err);
    if (status == FIRN_OK)
        status = wal_submit(w, &r);
    if (status == FIRN_OK && seq_last)
        *seq_last = r.seq_last;
    return status;
}

int wal_write(wal *w, const firn_batch *batch, firn_durability durability, uint64_t *seq_last,
              firn_error *err)
{
    wal_request r;
    int status = wal_request_batch(w, &r, batch, durability, err);
    if (status == FIRN_OK)
        status = wal_submit(w, &r);
    if (status == FIRN_OK && seq_last)
        *seq_last = r.seq_last;
    return status;
}

static const sized_kind write_kind = {"the write's options", "set size to sizeof(firn_wal_write)",
                                      sizeof(firn_wal_write)};

/* What a caller's firn_wal_write asks for. */
static int write_class(const firn_wal_write *write, firn_durability *durability, firn_error *err)
{
    firn_wal_write w = {.size = sizeof(w)};
    int status = write ? sized_take(&write_kind, write, &w, err) : FIRN_OK;
    if (status != FIRN_OK)
        return status;
    if (!durability_known(w.durability)) {
        status = error_set(err, FIRN_INVALID, "durability %d does not exist", (int)w.durability);
        error_hint(err, "set durability to a FIRN_DURABILITY_");
        return status;
    }
    if (w.durability != FIRN_DURABILITY_DEFAULT)
        *durability = w.durability;
    return FIRN_OK;
}

int firn_wal_append(firn_wal *log, firn_kind op, const void *key, size_t key_size,
                    const void *value, size_t value_size, const firn_wal_write *write,
                    uint64_t *seq, firn_error *error)
{
    firn_durability durability = FIRN_DURABILITY_DEFAULT;
    int status = write_class(write, &durability, error);
    if (status != FIRN_OK)
        return status;
    if ((unsigned)op > UINT8_MAX)
        op = (firn_kind)0;
    return wal_put(log, (uint8_t)op, (firn_slice){key, key_size}, (firn_slice){value, value_size},
                   durability, seq, error);
}

int firn_wal_append_batch(firn_wal *log, const firn_batch *batch, const firn_wal_write *write,
                          uint64_t *seq_last, firn_error *error)
{
    firn_durability durability = FIRN_DURABILITY_SYNC;
    int status = write_class(write, &durability, error);
    if (status != FIRN_OK)
        return status;
    return wal_write(log, batch, durability, seq_last, error);
}

int firn_wal_rotate(firn_wal *log, firn_error *error)
{
    wal_request r;
    int status = wal_request_rotate(log, &r, error);
    return status == FIRN_OK ? wal_submit(log, &r) : status;
}

/* ---- Looking ---- */

wal_segment *wal_current_segment(wal *w)
{
    return w->current;
}

uint64_t firn_wal_last_seq(const firn_wal *log)
{
    return log ? atomic_load_explicit(&log->last_seq, memory_order_acquire) : 0;
}

uint64_t firn_wal_durable_seq(const firn_wal *log)
{
    return log ? atomic_load_explicit(&log->durable_seq, memory_order_acquire) : 0;
}

uint64_t firn_wal_floor_seq(const firn_wal *log)
{
    return log ? atomic_load_explicit(&log->floor_seq, memory_order_acquire) : 0;
}

void wal_get_stats(wal *w, wal_stats *out)
{
    *out = (wal_stats){
        .appended_bytes = atomic_load_explicit(&w->appended_bytes, memory_order_relaxed),
        .appended_batches = atomic_load_explicit(&w->appended_batches, memory_order_relaxed),
        .appended_entries = atomic_load_explicit(&w->appended_entries, memory_order_relaxed),
        .groups = atomic_load_explicit(&w->groups, memory_order_relaxed),
        .syncs = atomic_load_explicit(&w->syncs, memory_order_relaxed),
        .last_seq = firn_wal_last_seq(w),
        .durable_seq = firn_wal_durable_seq(w),
        .floor_seq = firn_wal_floor_seq(w),
        .mapped = w->mapped,
        .poisoned = atomic_load_explicit(&w->poisoned, memory_order_relaxed) != 0,
    };
    memcpy(out->store_id, w->store_id, sizeof(out->store_id));
    mutex_lock(&w->m);
    for (size_t i = 0; i < w->live_count; i++) {
        const wal_segment *s = w->live[i];
        /* A closed one was cut behind its last frame, and is its full size only when it is written again. */
        out->disk_bytes += s->base_bytes < s->bytes ? s->base_bytes : s->bytes;
        out->used_bytes += atomic_load_explicit(&s->visible_end, memory_order_relaxed);
    }
    out->segments = w->live_count;
    if (w->live_count > 0) {
        out->oldest_segment = w->live[0]->no;
        out->newest_segment = w->live[w->live_count - 1]->no;
    }
    if (w->ready) {
        out->segments++;
        out->disk_bytes += w->ready->bytes;
    }
    mutex_unlock(&w->m);
    mutex_lock(&w->recycler->m);
    unsigned spares = w->recycler->count + w->recycler->expected_count;
    mutex_unlock(&w->recycler->m);
    out->segments += spares;
    out->disk_bytes += spares * w->config.options.segment_bytes;
}
