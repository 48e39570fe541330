/* handle: the log's handle: may a call use it, why it does not write any more, and what it holds
 * (<firn/wal.h>, <wal/wal.h>, <writing/contents.h>).
 *
 * Where to go on reading: open.c (opening and closing), request.c and commit.c (the way of a
 * write), sync.c (how it becomes durable), helper.c (what happens when no caller writes).
 */
#include <base/alloc.h>
#include <base/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <writing/contents.h>

#include "log.h"

/* ---- May it be used? ---- */

void wal_log(const wal *w, firn_log_level level, const char *format, ...)
{
    if (!w->config.options.log)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    w->config.options.log(w->config.options.log_ctx, level, line);
}

void wal_log_slow(const wal *w, const wal_slow *slow)
{
    if (slow->us >= PATIENCE_MUTE_US)
        wal_log(w, FIRN_LOG_WARNING, "%s took %llu ms; writers that needed it waited", slow->what,
                (unsigned long long)(slow->us / 1000));
}

int wal_check_handle(const wal *w, firn_error *err)
{
    if (!w)
        return error_set(err, FIRN_INVALID, "the log is NULL");
    if (w->generation == fork_generation())
        return FIRN_OK;
    int rc = error_file(err, FIRN_INVALID, w->dir->path, FIRN_NO_OFFSET,
                        "this log was opened before a fork, by the parent process");
    error_hint(err, "open logs after forking, in the process that uses them");
    return rc;
}

int wal_check_writable(const wal *w, firn_error *err)
{
    int rc = wal_check_handle(w, err);
    if (rc != FIRN_OK || !w->read_only)
        return rc;
    rc = error_file(err, FIRN_READ_ONLY, w->dir->path, FIRN_NO_OFFSET,
                    "the log was opened for reading only");
    error_hint(err, "open it without read_only (and with a recovery that repairs) to write");
    return rc;
}

void wal_poison(wal *w, const firn_error *cause)
{
    mutex_lock(&w->log_mu);
    bool first = atomic_load_explicit(&w->poisoned, memory_order_relaxed) == 0;
    if (first) {
        w->poison = *cause;
        /* Release: a thread that sees it may read the cause. */
        atomic_store_explicit(&w->poisoned, cause->status, memory_order_release);
    }
    mutex_unlock(&w->log_mu);
    if (!first)
        return;
    char line[768];
    firn_error_format(cause, line, sizeof line);
    wal_log(w, FIRN_LOG_ERROR, "the log stops writing: %s", line);
    wal_sync_fail_all(w);
}

int wal_poisoned_error(wal *w, firn_error *err)
{
    if (!err)
        return FIRN_POISONED;
    mutex_lock(&w->log_mu);
    firn_error cause = w->poison;
    mutex_unlock(&w->log_mu);
    error_file(err, FIRN_POISONED, cause.file, cause.offset,
               "writing has stopped after an earlier failure: %.150s", cause.message);
    err->sys_errno = cause.sys_errno;
    error_hint(err, "find the cause, then close the log and open it again; reading goes on");
    return FIRN_POISONED;
}

int wal_check_held(wal *w, firn_error *err)
{
    firn_error found;
    int rc = fs_dir_held(w->dir, w->config.lock, &found);
    if (rc == FIRN_IO)
        wal_poison(w, &found);
    return error_give(err, rc, &found);
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
    memcpy(out->store_id, w->store_id, sizeof out->store_id);
    mutex_lock(&w->log_mu);
    for (size_t i = 0; i < w->live_count; i++) {
        const wal_segment *s = w->live[i];
        /* A closed one was cut behind its last frame, and is its full size only when it is written
         * again. */
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
    mutex_unlock(&w->log_mu);
    unsigned spares = wal_recycler_count(w->recycler);
    out->segments += spares;
    out->disk_bytes += spares * w->config.options.segment_bytes;
}

/* ---- What a reader reads ---- */

static int hold_segments(wal *w, wal_contents *out, firn_error *err)
{
    wal_segment **segments = NULL;
    size_t capacity = 0;
    for (;;) {
        mutex_lock(&w->log_mu);
        size_t n = w->live_count;
        if (n <= capacity) {
            for (size_t i = 0; i < n; i++) {
                segments[i] = w->live[i];
                wal_segment_ref(segments[i]);
            }
            mutex_unlock(&w->log_mu);
            out->segments = segments;
            out->count = n;
            return FIRN_OK;
        }
        mutex_unlock(&w->log_mu);
        /* Not under the mutex: writers may wait for it. */
        heap_free(segments);
        capacity = n + 4;
        segments = heap_alloc(capacity * sizeof *segments);
        if (!segments)
            return error_no_memory(err);
    }
}

int wal_contents_hold(wal *w, wal_contents *out, firn_error *err)
{
    *out = (wal_contents){0};
    int rc = wal_check_handle(w, err);
    if (rc != FIRN_OK)
        return rc;
    out->dir = w->dir;
    out->recovery = w->config.options.recovery;
    out->read_only = w->read_only;
    out->covered_seq = w->config.covered_seq;
    /* Numbers first, so that everything up to last_seq lies in the segments; the floor last, so
     * that nothing above it has been dropped from them. */
    out->last_seq = atomic_load_explicit(&w->last_seq, memory_order_acquire);
    out->durable_seq = atomic_load_explicit(&w->durable_seq, memory_order_acquire);
    rc = hold_segments(w, out, err);
    out->floor_seq = atomic_load_explicit(&w->floor_seq, memory_order_acquire);
    return rc;
}

void wal_contents_release(wal_contents *contents)
{
    for (size_t i = 0; i < contents->count; i++)
        wal_segment_unref(contents->segments[i]);
    heap_free(contents->segments);
    *contents = (wal_contents){0};
}
