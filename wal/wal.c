/* wal: the log's handle: options, opening, writing, closing (<firn/wal.h>, <wal/wal.h>).
 *
 * Where to go on reading: wal_commit.c (the way of a write), wal_sync.c (how it becomes durable), wal_ready.c (the
 * helper), wal_recover.c (what opening finds).
 *
 * Opening writes nothing when there is nothing to repair: the LINK that starts a life is written in front of the
 * first frame of that life. A log that was opened and closed without an append is left as it was.
 */
#include <assert.h>
#include <base/alloc.h>
#include <base/checksum.h>
#include <base/entry.h>
#include <base/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wal_impl.h"

/* What writers use up while the helper makes a segment, which takes a few syncs of the disk. */
#define POPULATE_AHEAD_BYTES (UINT64_C(16) << 20)
/* Less where every sync writes the pages that were made ready, too. */
#define POPULATE_AHEAD_BATCH_BYTES (UINT64_C(512) << 10)
/* An entry up to this size is put together before it queues: one checksum over one piece costs half of three. */
#define SMALL_ENTRY_BYTES 512

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

/* ---- Opening ---- */

static wal *wal_alloc(const wal_config *config, fs_dir *dir, firn_error *err)
{
    wal *w = mem_aligned(WAL_CACHE_LINE, sizeof(*w));
    if (!w) {
        error_no_memory(err, sizeof(*w));
        return NULL;
    }
    memset(w, 0, sizeof(*w));
    w->config = *config;
    w->dir = dir;
    w->fs = dir->owner;
    w->generation = fork_generation();
    w->can_store = true;
    mutex_init(&w->m);
    mutex_init(&w->making);
    mutex_init(&w->truncating);
    cond_init(&w->durable_cond);
    cond_init(&w->helper_cond);
    if (wal_recycler_new(&w->recycler) != FIRN_OK) {
        error_no_memory(err, sizeof(wal_recycler));
        w->recycler = NULL;
    }
    return w;
}

/* Frees the handle; writes nothing. NO_THREAD_ANALYSIS: nobody else knows it any more. */
static NO_THREAD_ANALYSIS void wal_free(wal *w)
{
    for (size_t i = 0; i < w->live_count; i++)
        wal_segment_unref(w->live[i]);
    mem_free(w->live);
    assert(!w->ready && !w->callbacks && !w->fired && !w->waiters);
    wal_recycler_unref(w->recycler);
    mem_free(w->scratch);
    cond_release(&w->helper_cond);
    cond_release(&w->durable_cond);
    mutex_release(&w->truncating);
    mutex_release(&w->making);
    mutex_release(&w->m);
    fs_close(w->lock_file);
    fs_dir_close(w->own_dir);
    mem_free(w);
}

static bool all_zero(const uint8_t id[16])
{
    static const uint8_t none[16];
    return memcmp(id, none, sizeof(none)) == 0;
}

/* Takes over what recovery kept. */
static NO_THREAD_ANALYSIS int adopt(wal *w, wal_recovered_log *log, firn_error *err)
{
    w->live = mem_alloc((log->count + 8) * sizeof(wal_segment *));
    if (!w->live)
        return error_no_memory(err, (log->count + 8) * sizeof(wal_segment *));
    w->live_capacity = log->count + 8;
    for (size_t i = 0; i < log->count; i++) {
        wal_segment *s = log->segments[i];
        atomic_store_explicit(&s->visible_end, s->end, memory_order_relaxed);
        s->prewritten = s->end;
        s->synced = true;
        w->live[w->live_count++] = s;
    }
    log->count = 0; /* the references are ours now */
    w->life = log->life + 1;
    w->floor_appended = log->floor_seq;
    atomic_store_explicit(&w->last_seq, log->last_seq, memory_order_relaxed);
    atomic_store_explicit(&w->durable_seq, log->durable_seq, memory_order_relaxed);
    atomic_store_explicit(&w->proven_seq, log->durable_seq, memory_order_relaxed);
    atomic_store_explicit(&w->floor_seq, log->floor_seq, memory_order_relaxed);
    w->link = (wal_link){
        .prev_no = log->prev_no,
        .prev_end = log->prev_end,
        .prev_chain = log->prev_chain,
        .life = w->life,
        .seq_first = log->last_seq + 1,
    };
    w->link_due = true;
    if (!all_zero(w->config.store_id))
        memcpy(w->store_id, w->config.store_id, sizeof(w->store_id));
    else if (!all_zero(log->store_id))
        memcpy(w->store_id, log->store_id, sizeof(w->store_id));
    else if (!w->read_only)
        return fs_random(w->fs, w->store_id, sizeof(w->store_id), err);
    return FIRN_OK;
}

/* Decides where the first append goes: behind the last frame, or into a new segment. */
static NO_THREAD_ANALYSIS int choose_current(wal *w, const wal_recovered_log *log, firn_error *err)
{
    if (log->append_to_last) {
        wal_segment *last = w->live[w->live_count - 1];
        if (last->bytes - last->end >= WAL_TAIL_RESERVE) {
            last->synced = false;
            /* One that was made ahead and is kept as the next one starts like a new one. */
            w->link.reopened = last->end > WAL_DATA_OFFSET;
            w->link.seq_first = w->link.reopened ? last->seq_first : log->last_seq + 1;
            w->current = last;
            return FIRN_OK;
        }
    }
    mutex_lock(&w->making);
    int status = wal_ready_ensure(w, log->next_segment_no, w->config.options.segment_bytes, err);
    mutex_unlock(&w->making);
    if (status != FIRN_OK)
        return status;
    wal_segment *first = w->ready;
    w->ready = NULL;
    first->seq_first = log->last_seq + 1;
    first->seq_last = log->last_seq;
    w->live[w->live_count++] = first;
    w->current = first;
    return FIRN_OK;
}

/* W10: numbers that somebody may have seen behind a cut are given away. */
static int skip_numbers(wal *w, uint64_t upto, firn_error *err)
{
    uint64_t last = firn_wal_last_seq(w);
    while (last < upto) {
        uint64_t count = upto - last < UINT32_MAX ? upto - last : UINT32_MAX;
        wal_request r = {.type = WAL_REQUEST_SKIP, .argument = count, .err = err};
        int status = wal_submit(w, &r);
        if (status != FIRN_OK)
            return status;
        last += count;
        if (last == upto)
            return wal_sync_all(w, err);
    }
    return FIRN_OK;
}

static int start_writing(wal *w, const wal_recovered_log *log, firn_error *err)
{
    int status = choose_current(w, log, err);
    if (status != FIRN_OK)
        return status;
    /* The owner expects no hook before it has the handle. */
    wal_hooks hooks = w->config.hooks;
    w->config.hooks = (wal_hooks){0};
    status = skip_numbers(w, log->skip_to_seq, err);
    w->config.hooks = hooks;
    if (status == FIRN_OK && !w->config.inline_work)
        status = wal_helper_start(w, err);
    return status;
}

static int decide_backing(wal *w, firn_error *err)
{
    /* Who only looks gets a copy: the writer beside it may reuse a segment's file at any moment. */
    if (w->read_only) {
        w->mapped = false;
        return FIRN_OK;
    }
    w->mapped = w->config.options.backing == FIRN_WAL_MAPPED;
    if (w->config.options.backing != FIRN_WAL_AUTO)
        return FIRN_OK;
    fs_space space;
    int status = fs_dir_space(w->dir, &space, err);
    if (status == FIRN_OK)
        w->mapped = space.mapping_ok;
    return status;
}

int wal_open(fs_dir *dir, const wal_config *config, firn_wal_report *report, wal **out,
             firn_error *err)
{
    wal_config checked = *config;
    int status = wal_options_check(&config->options, &checked.options, err);
    if (status != FIRN_OK)
        return status;
    wal *w = wal_alloc(&checked, dir, err);
    if (!w)
        return FIRN_NO_MEMORY;
    wal_recovered_log log = {0};
    firn_wal_report found;
    firn_wal_report_init(&found);
    w->read_only = checked.options.read_only || checked.options.recovery == FIRN_RECOVERY_INSPECT;
    w->config.options.read_only = w->read_only;
    w->populate_ahead = checked.options.durability == FIRN_DURABILITY_BATCH
                            ? POPULATE_AHEAD_BATCH_BYTES
                            : POPULATE_AHEAD_BYTES;
    status = w->recycler ? decide_backing(w, err) : FIRN_NO_MEMORY;
    if (status == FIRN_OK)
        status = wal_recover(dir, &w->config, w->mapped, &log, &found, err);
    if (status == FIRN_OK)
        status = adopt(w, &log, err);
    if (status == FIRN_OK && !w->read_only) {
        w->fresh = found.closed_clean || w->live_count == 0;
        status = start_writing(w, &log, err);
    }
    wal_recovered_log_release(&log);
    if (report)
        *report = found;
    else
        firn_wal_report_release(&found);
    if (status == FIRN_OK) {
        *out = w;
        return FIRN_OK;
    }
    if (w->recycler)
        (void)wal_ready_release(w, NULL); /* the failure that counts is in *err */
    wal_free(w);
    return status;
}

/* ---- Opening a folder ---- */

static int lock_folder(fs_dir *dir, fs_file **out, firn_error *err)
{
    static const char name[] = "LOCK";
    fs_file *file;
    int status = fs_open(dir, name, FS_WRITE, &file, err);
    if (status == FIRN_NOT_FOUND) {
        status = fs_open(dir, name, FS_WRITE | FS_CREATE_NEW, &file, err);
        /* Somebody else may have made it meanwhile. */
        if (status != FIRN_OK && fs_open(dir, name, FS_WRITE, &file, NULL) == FIRN_OK)
            status = FIRN_OK;
    }
    if (status != FIRN_OK)
        return status;
    status = fs_lock(file, err);
    if (status != FIRN_OK)
        fs_close(file);
    else
        *out = file;
    return status;
}

static int open_folder(fs *f, const char *path, const firn_wal_options *o, fs_dir **out,
                       firn_error *err)
{
    bool writes = !o->read_only && o->recovery != FIRN_RECOVERY_INSPECT;
    int status = writes && o->create_if_missing ? fs_dir_make(f, path, err) : FIRN_OK;
    if (status == FIRN_OK)
        status = fs_dir_open(f, path, out, err);
    if (status == FIRN_NOT_FOUND) {
        error_file(err, status, path, FIRN_NO_OFFSET, "there is no such folder");
        error_hint(err, "check the path, or open with create_if_missing and without read_only");
    }
    return status;
}

int wal_open_path(fs *f, const char *path, const wal_config *config, firn_wal_report *report,
                  wal **out, firn_error *err)
{
    fs_dir *dir = NULL;
    fs_file *lock = NULL;
    wal_config checked = *config;
    if (!path)
        return error_set(err, FIRN_INVALID, "the path of the log is NULL");
    int status = wal_options_check(&config->options, &checked.options, err);
    if (status != FIRN_OK)
        return status;
    status = open_folder(f, path, &checked.options, &dir, err);
    if (status != FIRN_OK)
        return status;
    if (!checked.options.read_only && checked.options.recovery != FIRN_RECOVERY_INSPECT)
        status = lock_folder(dir, &lock, err);
    wal *w = NULL;
    if (status == FIRN_OK)
        status = wal_open(dir, &checked, report, &w, err);
    if (status == FIRN_OK) {
        w->own_dir = dir;
        w->lock_file = lock;
        *out = w;
        return FIRN_OK;
    }
    fs_close(lock);
    fs_dir_close(dir);
    return status;
}

int firn_wal_open(const char *path, const firn_wal_options *options, firn_wal_report *report,
                  firn_wal **out, firn_error *error)
{
    wal_config config;
    wal_config_init(&config);
    if (options)
        config.options = *options;
    return wal_open_path(fs_posix(), path, &config, report, out, error);
}

wal_segment *wal_current_segment(wal *w)
{
    return w->current;
}

/* ---- Closing ---- */

/* Gives back the blocks behind the last frame. */
static int cut_file(wal_segment *s, firn_error *err)
{
    uint64_t size = (s->end + WAL_PAGE_BYTES - 1) / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
    int status = fs_truncate(s->file, size, err);
    return status == FIRN_OK ? fs_sync(s->file, err) : status;
}

static int seal_log(wal *w, firn_error *err)
{
    wal_segment *s = w->current;
    bool empty = s->end == WAL_DATA_OFFSET;
    if (w->fresh && empty && (w->live_count > 1 || all_zero(w->config.store_id))) {
        /* Made for appends that never came. An owner keeps its only one: to it, a log without a file is a log
         * that somebody removed. */
        int status = fs_unlink(w->dir, s->name, err);
        return status == FIRN_OK ? fs_dir_sync(w->dir, err) : status;
    }
    if (!w->fresh || empty) {
        int status = wal_sync_all(w, err);
        if (status != FIRN_OK)
            return status;
        wal_request r = {.type = WAL_REQUEST_SEAL, .durable = true, .err = err};
        status = wal_submit(w, &r);
        if (status != FIRN_OK)
            return status;
    }
    return cut_file(w->current, err);
}

int firn_wal_close(firn_wal *log, firn_error *error)
{
    if (!log)
        return FIRN_OK;
    firn_error first;
    int status = wal_check_handle(log, error);
    if (status != FIRN_OK)
        return status; /* in a child: threads and locks are the parent's, and so is the handle */
    if (log->has_helper)
        wal_helper_stop(log);
    if (atomic_load(&log->poisoned))
        status = wal_poisoned_error(log, &first);
    else if (!log->read_only)
        status = seal_log(log, &first);
    int released = wal_ready_release(log, status == FIRN_OK ? &first : NULL);
    if (status == FIRN_OK)
        status = released;

    mutex_lock(&log->m);
    log->log_closing = true;
    (void)wal_callbacks_decide(log);
    mutex_unlock(&log->m);
    wal_callbacks_call(log);
    if (status != FIRN_OK) {
        char line[768];
        firn_error_format(&first, line, sizeof(line));
        wal_log(log, FIRN_LOG_ERROR, "closing the log: %s", line);
        if (error)
            *error = first;
    }
    wal_free(log);
    return status;
}

/* ---- Writing ---- */

static void request_class(const wal *w, wal_request *r, firn_durability durability)
{
    if (durability == FIRN_DURABILITY_DEFAULT)
        durability = w->config.options.durability;
    r->durable = durability == FIRN_DURABILITY_SYNC;
    r->batched = durability == FIRN_DURABILITY_BATCH;
}

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

int wal_put(wal *w, uint8_t kind, firn_slice key, firn_slice value, firn_durability durability,
            uint64_t *seq_last, firn_error *err)
{
    int status = wal_check_writable(w, err);
    if (status == FIRN_OK)
        status = check_put(kind, key, value, err);
    if (status != FIRN_OK)
        return status;
    uint64_t bytes = entry_size(key.size, value.size);
    if (bytes > w->config.options.max_batch_bytes)
        return too_large(w, bytes, err);
    wal_request r = {
        .type = WAL_REQUEST_DATA,
        .frame_type = WAL_DATA,
        .count = 1,
        .payload_bytes = bytes,
        .err = err,
    };
    uint8_t small[SMALL_ENTRY_BYTES];
    if (bytes <= sizeof(small)) {
        entry_encode(small, kind, key, value);
        r.key = (firn_slice){small, (size_t)bytes};
        r.payload_crc = crc32_update(0, small, (size_t)bytes);
    } else {
        r.single = true;
        r.key = key;
        r.value = value;
        entry_put_header(r.head, kind, ENTRY_BUCKET_DEFAULT, key.size, value.size);
        uint32_t crc = crc32_update(0, r.head, sizeof(r.head));
        crc = crc32_update(crc, key.data, key.size);
        r.payload_crc = crc32_update(crc, value.data, value.size);
    }
    request_class(w, &r, durability);
    status = wal_submit(w, &r);
    if (status == FIRN_OK && seq_last)
        *seq_last = r.seq_last;
    return status;
}

int wal_write(wal *w, const firn_batch *batch, firn_durability durability, uint64_t *seq_last,
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
    wal_request r = {
        .type = WAL_REQUEST_DATA,
        .frame_type = WAL_DATA,
        .count = firn_batch_count(batch),
        .key = payload,
        .payload_bytes = payload.size,
        .payload_crc = crc32_update(0, payload.data, payload.size),
        .err = err,
    };
    request_class(w, &r, durability);
    status = wal_submit(w, &r);
    if (status == FIRN_OK && seq_last)
        *seq_last = r.seq_last;
    return status;
}

/* What a caller's firn_wal_write asks for. */
static int write_class(const firn_wal_write *write, firn_durability *durability, firn_error *err)
{
    if (!write)
        return FIRN_OK;
    if (write->size < sizeof(*write) || !durability_known(write->durability)) {
        int status =
            error_set(err, FIRN_INVALID, "the write's options have size %llu and durability %d",
                      (unsigned long long)write->size, (int)write->durability);
        error_hint(err, "set size to sizeof(firn_wal_write) and durability to a FIRN_DURABILITY_");
        return status;
    }
    if (write->durability != FIRN_DURABILITY_DEFAULT)
        *durability = write->durability;
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
    int status = wal_check_writable(log, error);
    if (status != FIRN_OK)
        return status;
    wal_request r = {.type = WAL_REQUEST_ROTATE, .err = error};
    return wal_submit(log, &r);
}

/* ---- Looking ---- */

uint64_t firn_wal_last_seq(const firn_wal *log)
{
    return atomic_load_explicit(&log->last_seq, memory_order_acquire);
}

uint64_t firn_wal_durable_seq(const firn_wal *log)
{
    return atomic_load_explicit(&log->durable_seq, memory_order_acquire);
}

uint64_t firn_wal_floor_seq(const firn_wal *log)
{
    return atomic_load_explicit(&log->floor_seq, memory_order_acquire);
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
    mutex_lock(&w->m);
    for (size_t i = 0; i < w->live_count; i++)
        out->disk_bytes += w->live[i]->bytes;
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
