/* open: opening and closing a log for appends.
 *
 * Opening writes nothing when there is nothing to repair: the LINK that starts a life is written in
 * front of the first frame of that life. A log that was opened and closed without an append is left
 * as it was.
 *
 * Closing leaves the log sealed, synced and small; after a failure it leaves the files alone. Only
 * one thread knows the handle while it is made or taken apart: functions that touch what the mutex
 * guards say so. Start reading at wal_open and firn_wal_close.
 */
#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>
#include <errno.h>
#include <recovering/recovered.h>
#include <string.h>

#include "log.h"

/* What writers use up while the helper makes a segment, which takes a few syncs of the disk. */
#define POPULATE_AHEAD_BYTES (UINT64_C(16) << 20)
/* Far less where every sync writes the pages that were made ready, too: it takes each of them away
 * from the writer again, one by one, with an interrupt to all processors of the process. */
#define POPULATE_AHEAD_BATCH_BYTES (UINT64_C(64) << 10)
/* ---- Opening ---- */

static wal *wal_alloc(const wal_config *config, fs_dir *dir, firn_error *err)
{
    wal *w = heap_aligned(WAL_CACHE_LINE, sizeof *w);
    if (!w) {
        error_no_memory(err);
        return NULL;
    }
    memset(w, 0, sizeof *w);
    w->config = *config;
    w->dir = dir;
    w->fs = dir->owner;
    w->generation = fork_generation();
    w->can_store = true;
    mutex_init(&w->log_mu);
    mutex_init(&w->making);
    mutex_init(&w->truncating);
    cond_init(&w->durable_cond);
    cond_init(&w->helper_cond);
    if (wal_recycler_new(&w->recycler) != FIRN_OK)
        w->recycler = NULL;
    return w;
}

/* Frees the handle; writes nothing. */
static void wal_free(wal *w)
{
    mutex_not_shared(&w->log_mu);
    for (size_t i = 0; i < w->live_count; i++)
        wal_segment_unref(w->live[i]);
    heap_free(w->live);
    assert(!w->ready && !w->callbacks && !w->fired && !w->waiters);
    wal_recycler_unref(w->recycler);
    heap_free(w->scratch);
    cond_release(&w->helper_cond);
    cond_release(&w->durable_cond);
    mutex_release(&w->truncating);
    mutex_release(&w->making);
    mutex_release(&w->log_mu);
    fs_close(w->lock_file);
    fs_dir_close(w->own_dir);
    heap_free(w);
}

static bool all_zero(const uint8_t id[16])
{
    static const uint8_t none[16];
    return memcmp(id, none, sizeof none) == 0;
}

/* Takes over what recovery kept. */
static int adopt(wal *w, wal_recovered_log *log, firn_error *err)
{
    mutex_not_shared(&w->log_mu);
    w->live = heap_alloc((log->count + 8) * sizeof(wal_segment *));
    if (!w->live)
        return error_no_memory(err);
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
        memcpy(w->store_id, w->config.store_id, sizeof w->store_id);
    else if (!all_zero(log->store_id))
        memcpy(w->store_id, log->store_id, sizeof w->store_id);
    else if (!w->read_only)
        return fs_random(w->fs, w->store_id, sizeof w->store_id, err);
    return FIRN_OK;
}

static void go_on_in_last(wal *w, const wal_recovered_log *log)
{
    mutex_not_shared(&w->log_mu);
    wal_segment *last = w->live[w->live_count - 1];
    last->synced = false;
    /* One that was made ahead and is kept as the next one starts like a new one. */
    w->link.reopened = last->end > WAL_DATA_OFFSET;
    w->link.seq_first = w->link.reopened ? last->seq_first : log->last_seq + 1;
    w->current = last;
}

/* Decides where the first append goes: behind the last frame, or into a new segment. */
static int choose_current(wal *w, const wal_recovered_log *log, firn_error *err)
{
    if (log->append_to_last && !log->last_is_worn) {
        go_on_in_last(w, log);
        return FIRN_OK;
    }
    mutex_lock(&w->making);
    int rc = wal_ready_ensure(w, log->next_segment_no, w->config.options.segment_bytes, err);
    /* On a full disk a small one will do: the log can be read, and goes on when there is room
     * again. */
    if (rc == FIRN_NO_SPACE) {
        (void)wal_reserve_spend(
            w->dir); /* may be gone already, and a little room be left from it */
        rc = wal_ready_ensure(w, log->next_segment_no, WAL_SEGMENT_MIN, err);
    }
    mutex_unlock(&w->making);
    if (rc == FIRN_NO_SPACE && log->append_to_last) {
        error_clear(err);
        go_on_in_last(w, log);
        return FIRN_OK;
    }
    if (rc != FIRN_OK)
        return rc;
    mutex_not_shared(&w->log_mu);
    wal_segment *first = w->ready;
    w->ready = NULL;
    first->seq_first = log->last_seq + 1;
    first->seq_last = log->last_seq;
    w->live[w->live_count++] = first;
    w->current = first;
    return FIRN_OK;
}

/* W10: numbers that a reader may have seen behind a cut are skipped. */
static int skip_numbers(wal *w, uint64_t upto, firn_error *err)
{
    uint64_t last = firn_wal_last_seq(w);
    while (last < upto) {
        uint64_t count = upto - last < UINT32_MAX ? upto - last : UINT32_MAX;
        wal_request r = {.type = WAL_REQUEST_SKIP, .argument = count, .err = err};
        int rc = wal_submit(w, &r);
        if (rc != FIRN_OK)
            return rc;
        last += count;
        if (last == upto)
            return wal_sync_all(w, err);
    }
    return FIRN_OK;
}

/* The reserve serves a later opening, on a full disk. Without it this one goes on: there may be no
 * room for it, or something else under its name. The next segment tries again. */
static void make_reserve(wal *w)
{
    char why[512];
    firn_error err = {0};
    mutex_lock(&w->making);
    int rc = wal_reserve_make(w->dir, &err);
    w->reserved = rc == FIRN_OK;
    mutex_unlock(&w->making);
    if (rc == FIRN_OK)
        return;
    firn_error_format(&err, why, sizeof why);
    if (rc == FIRN_NO_SPACE && err.sys_errno == ENOSPC)
        wal_log(w, FIRN_LOG_WARNING,
                "the disk is full: the log can be read, and written when there is room");
    else if (rc == FIRN_NO_SPACE)
        wal_log(w, FIRN_LOG_WARNING, "the log can be read, and written when there is room: %s",
                why);
    else
        wal_log(w, FIRN_LOG_WARNING,
                "there is no reserve for opening on a full disk; everything else works: %s", why);
}

static int start_writing(wal *w, const wal_recovered_log *log, firn_error *err)
{
    int rc = choose_current(w, log, err);
    if (rc != FIRN_OK)
        return rc;
    make_reserve(w);
    rc = skip_numbers(w, log->skip_to_seq, err);
    if (rc == FIRN_OK && !w->config.inline_work)
        rc = wal_helper_start(w, err);
    return rc;
}

static int decide_backing(wal *w, firn_error *err)
{
    /* A read-only handle gets a copy: the writer beside it may reuse a segment's file at any
     * moment. */
    if (w->read_only) {
        w->mapped = false;
        return FIRN_OK;
    }
    w->mapped = w->config.options.backing == FIRN_WAL_MAPPED;
    if (w->config.options.backing != FIRN_WAL_AUTO)
        return FIRN_OK;
    fs_space space;
    int rc = fs_dir_space(w->dir, &space, err);
    if (rc == FIRN_OK)
        w->mapped = space.mapping_ok;
    return rc;
}

/* What the owner says may come from a file of its own. Behind what it covers there must be numbers
 * left for more. */
static int check_covered(const wal_config *config, firn_error *err)
{
    if (config->covered_seq < FIRN_MAX_SEQ && config->covered_no < WAL_SEGMENT_NO_MAX)
        return FIRN_OK;
    int rc =
        error_set(err, FIRN_INVALID,
                  "operations up to %llu and segments up to %llu are said to be covered, "
                  "which no log has",
                  (unsigned long long)config->covered_seq, (unsigned long long)config->covered_no);
    error_hint(err, "what the owner of the log has noted is damaged: restore it from a backup");
    return rc;
}

int wal_open(fs_dir *dir, const wal_config *config, firn_wal_report *report, wal **out,
             firn_error *err)
{
    wal_config checked = *config;
    int rc = wal_options_check(&config->options, &checked.options, err);
    if (rc == FIRN_OK)
        rc = check_covered(config, err);
    if (rc != FIRN_OK)
        return rc;
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
    firn_error why; /* opening goes on behind some failures, and then tells nothing of them */
    rc = w->recycler ? decide_backing(w, &why) : error_no_memory(&why);
    if (rc == FIRN_OK)
        rc = wal_recover(dir, &w->config, w->mapped, &log, &found, &why);
    if (rc == FIRN_OK)
        rc = adopt(w, &log, &why);
    if (rc == FIRN_OK && !w->read_only) {
        mutex_not_shared(&w->log_mu);
        w->fresh = found.closed_clean || w->live_count == 0;
        rc = start_writing(w, &log, &why);
    }
    wal_recovered_log_release(&log);
    if (report)
        *report = found;
    else
        firn_wal_report_release(&found);
    if (rc == FIRN_OK) {
        *out = w;
        return FIRN_OK;
    }
    if (w->recycler)
        (void)wal_ready_release(w, NULL); /* the failure that counts is in `why` */
    wal_free(w);
    rc = error_needed(&why, rc); /* the folder is there: what is missing in it went away */
    return error_give(err, rc, &why);
}

/* ---- Opening a folder ---- */

static int open_folder(fs *f, const char *path, const firn_wal_options *o, fs_dir **out,
                       firn_error *err)
{
    bool makes = !o->read_only && o->recovery != FIRN_RECOVERY_INSPECT && o->create_if_missing;
    int rc = makes ? fs_dir_make(f, path, err) : FIRN_OK;
    if (rc == FIRN_OK)
        rc = fs_dir_open(f, path, out, err);
    if (makes)
        return error_needed(err, rc);
    if (rc == FIRN_NOT_FOUND) {
        error_file(err, rc, path, FIRN_NO_OFFSET, "there is no such folder");
        error_hint(err, "check the path, or open with create_if_missing and without read_only");
    }
    return rc;
}

int wal_open_path(fs *f, const char *path, const wal_config *config, firn_wal_report *report,
                  wal **out, firn_error *err)
{
    fs_dir *dir = NULL;
    fs_file *lock = NULL;
    wal_config checked = *config;
    if (out)
        *out = NULL;
    if (report)
        firn_wal_report_init(report);
    if (!path || !out)
        return error_set(err, FIRN_INVALID, "%s",
                         path ? "there is nowhere to put the log's handle"
                              : "the path of the log is NULL");
    int rc = wal_options_check(&config->options, &checked.options, err);
    if (rc != FIRN_OK)
        return rc;
    rc = open_folder(f, path, &checked.options, &dir, err);
    if (rc != FIRN_OK)
        return rc;
    if (!checked.options.read_only && checked.options.recovery != FIRN_RECOVERY_INSPECT)
        rc = fs_dir_lock(dir, &lock, err);
    wal *w = NULL;
    checked.lock = lock;
    if (rc == FIRN_OK)
        rc = wal_open(dir, &checked, report, &w, err);
    if (rc == FIRN_OK) {
        w->own_dir = dir;
        w->lock_file = lock;
        *out = w;
        return FIRN_OK;
    }
    fs_close(lock);
    fs_dir_close(dir);
    return rc;
}

int firn_wal_open(const char *path, const firn_wal_options *options, firn_wal_report *report,
                  firn_wal **out, firn_error *error)
{
    wal_config config;
    firn_error found;
    if (out)
        *out = NULL;
    wal_config_init(&config);
    error_clear(&found);
    int rc = options ? wal_options_take(options, &config.options, &found) : FIRN_OK;
    if (rc == FIRN_OK)
        rc = wal_open_path(fs_posix(), path, &config, report, out, &found);
    return error_give(error, rc, &found);
}

/* ---- Closing ---- */

/* Gives back the blocks behind the last frame. */
static int cut_file(wal_segment *s, firn_error *err)
{
    uint64_t size = (s->end + WAL_PAGE_BYTES - 1) / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
    int rc = fs_truncate(s->file, size, err);
    return rc == FIRN_OK ? fs_sync(s->file, err) : rc;
}

static int seal_log(wal *w, firn_error *err)
{
    mutex_not_shared(&w->making);
    wal_segment *s = w->current;
    /* Another writer may have gone on in the same files. */
    int held = wal_check_held(w, err);
    if (held != FIRN_OK)
        return held;
    bool empty = s->end == WAL_DATA_OFFSET;
    if (w->fresh && empty && all_zero(w->config.store_id) && w->reserved) {
        /* Made for appends that never came. An owner keeps it: it may have noted that it needs no
         * segment before this one. On a full disk its room is kept for the next opening. */
        int rc = fs_remove(w->dir, s->name, err);
        return rc == FIRN_OK ? fs_dir_sync(w->dir, err) : rc;
    }
    if (!w->fresh || empty) {
        int rc = wal_sync_all(w, err);
        if (rc != FIRN_OK)
            return rc;
        wal_request r = {.type = WAL_REQUEST_SEAL, .durable = true, .err = err};
        rc = wal_submit(w, &r);
        if (rc != FIRN_OK)
            return rc;
    }
    return cut_file(w->current, err);
}

int firn_wal_close(firn_wal *log, firn_error *error)
{
    if (!log)
        return FIRN_OK;
    firn_error first;
    error_clear(&first);
    int rc = wal_check_handle(log, error);
    if (rc != FIRN_OK)
        return rc; /* in a child: threads and locks are the parent's, and so is the handle */
    if (log->has_helper)
        wal_helper_stop(log);
    if (atomic_load(&log->poisoned))
        rc = wal_poisoned_error(log, &first);
    else if (!log->read_only)
        rc = seal_log(log, &first);
    int released = wal_ready_release(log, rc == FIRN_OK ? &first : NULL);
    if (rc == FIRN_OK)
        rc = released;

    mutex_lock(&log->log_mu);
    log->log_closing = true;
    (void)wal_callbacks_decide(log);
    mutex_unlock(&log->log_mu);
    wal_callbacks_call(log);
    if (rc != FIRN_OK) {
        char line[768];
        firn_error_format(&first, line, sizeof line);
        wal_log(log, FIRN_LOG_ERROR, "closing the log: %s", line);
    }
    wal_free(log);
    return error_give(error, rc, &first);
}
