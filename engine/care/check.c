/* check: read every byte of a store and compare it with what the manifest says. Changes nothing and
 * takes no lock.
 *
 * Beside a running writer, files come and go. So everything is opened first; when the folder or the
 * manifest changed meanwhile, what was opened may be no one state of the store, and is opened
 * again. What is open stays readable whatever the writer removes. */
#include <base/alloc.h>
#include <base/coding.h>
#include <base/error.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wal/wal.h>

#include <store/folder.h>
#include <tree/names.h>
#include <tree/run.h>
#include "set_aside.h"
#include <store/store.h>

typedef struct check {
    fs *fs;
    fs_dir *dir;
    table_env env;
    /* One look at the store. */
    folder folder;
    manifest_state state;
    int manifest_status, log_status;
    firn_error manifest_error, log_error;
    wal *log;
    firn_wal_report report;
    bool writer; /* another process has the store open for writing */
    /* What is told. */
    void (*line)(void *ctx, const char *text);
    void *ctx;
    firn_check_summary summary;
    int status;       /* of the first finding */
    firn_error first; /* likewise */
    /* why something could not be looked at, for the first time; FIRN_OK: all could */
    int unchecked;
    firn_error unchecked_error;
} check;

static void say(check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(check *c, const char *format, ...)
{
    if (!c->line)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->line(c->ctx, text);
}

/* What the system refused says nothing about the bytes: a device that failed, or no memory or
 * descriptors left. */
static bool says_nothing(int rc)
{
    return rc == FIRN_IO || rc == FIRN_NO_MEMORY || rc == FIRN_NO_SPACE;
}

static void finding(check *c, int rc, firn_error *err)
{
    char text[1024];
    (void)store_hint_repair(rc, err);
    firn_error_format(err, text, sizeof text);
    if (says_nothing(rc)) {
        say(c, "NOT CHECKED  %s", text);
        if (c->unchecked == FIRN_OK) {
            c->unchecked = rc;
            c->unchecked_error = *err;
        }
        return;
    }
    say(c, "DAMAGE  %s", text);
    c->summary.findings++;
    if (c->status == FIRN_OK) {
        c->status = rc;
        c->first = *err;
    }
}

static void check_version(check *c, const version *v, const bucket_state *b)
{
    if (b)
        say(c, "bucket %u, %s:", b->bucket, b->name.bytes);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &v->levels[n];
        for (size_t i = 0; i < l->count; i++) {
            firn_error err = {0};
            int rc = run_verify(run_of_table(l->tables[i]), &err);
            if (rc != FIRN_OK)
                finding(c, rc, &err);
            c->summary.tables++;
            c->summary.table_bytes += l->tables[i]->properties.file_bytes;
            c->summary.table_entries += l->tables[i]->properties.entries;
        }
        if (l->count)
            say(c, "level %u: %zu tables, %" PRIu64 " bytes", n, l->count, l->bytes);
    }
}

static void check_tables(check *c)
{
    for (size_t i = 0; i < manifest_state_count(&c->state); i++)
        check_version(c, manifest_state_version(&c->state, i), i ? &c->state.buckets[i - 1] : NULL);
}

static void log_line(void *ctx, const char *text)
{
    say(ctx, "log: %s", text);
}

/* What cannot be told from a torn write, and may have been acknowledged as durable. */
static void doubt(check *c, const firn_wal_finding *f)
{
    char numbers[96] = "how many is not known";
    if (f->seq_first != 0)
        snprintf(numbers, sizeof numbers, "operations %" PRIu64 " to %" PRIu64, f->seq_first,
                 f->seq_last);
    say(c,
        "DOUBT   %s/%s at offset %" PRIu64 ", %" PRIu64 " bytes: the last writes before the end of "
        "the log are not intact (%s): cut off by a power failure while they were being synced, or "
        "lost since "
        "they were acknowledged. The next open cuts them off",
        c->dir->path, f->file, f->offset, f->bytes, numbers);
    c->summary.doubts++;
    if (f->seq_first != 0 && (c->summary.doubt_first == 0 || f->seq_first < c->summary.doubt_first))
        c->summary.doubt_first = f->seq_first;
    if (f->seq_last > c->summary.doubt_last)
        c->summary.doubt_last = f->seq_last;
}

static void count_report(check *c, const firn_wal_report *report)
{
    c->summary.log_segments = report->segments;
    c->summary.log_operations = report->operations;
    for (size_t i = 0; i < report->count; i++) {
        const firn_wal_finding *f = &report->findings[i];
        if (f->kind == FIRN_WAL_TORN)
            c->summary.log_torn_bytes += f->bytes;
        if (f->kind == FIRN_WAL_TORN && f->may_be_durable)
            doubt(c, f);
    }
    firn_wal_report_text(report, log_line, c);
}

static void check_log(check *c)
{
    count_report(c, &c->report);
    if (c->log_status != FIRN_OK)
        finding(c, c->log_status, &c->log_error);
}

static void tell_odd(void *ctx, const char *name, const char *what, bool matters)
{
    check *c = ctx;
    firn_error err = {0};
    char path[512];
    if (!matters) {
        say(c, "note: %s is %s; the store works without it", name, what);
        return;
    }
    fs_path(path, sizeof path, c->dir, name);
    error_file(&err, FIRN_DAMAGED, path, FIRN_NO_OFFSET,
               "this is %s, and has the name of a file of the store", what);
    error_hint(&err, "move it away" HINT_REPAIR);
    finding(c, FIRN_DAMAGED, &err);
}

static int check_folder(check *c)
{
    buf listed = {0};
    if (manifest_state_numbers(&c->state, &listed) != FIRN_OK) {
        buf_release(&listed);
        return FIRN_NO_MEMORY;
    }
    for (size_t i = 0; i < folder_count(&c->folder.tables); i++) {
        uint64_t no = folder_at(&c->folder.tables, i);
        if (folder_has(&listed, no))
            continue;
        if (c->writer)
            say(c,
                "note: table %" PRIu64 " belongs to no level: the writer that has the store open "
                "is making it, or gives it up when its last reader has gone",
                no);
        else
            say(c,
                "note: table %" PRIu64 " belongs to no level: a crash left it; the next open for "
                "writing removes it",
                no);
    }
    buf_release(&listed);
    if (c->folder.foreign)
        say(c, "note: %zu files are not part of the store, such as %s", c->folder.foreign,
            c->folder.foreign_name);
    (void)folder_list_odd(c->dir, tell_odd, c, NULL); /* the folder has been listed a moment ago */
    if (c->state.torn)
        say(c, "note: the manifest ends in a record that %s",
            c->writer ? "the writer that has the store open has not completed yet"
                      : "was never completed; the next open for writing drops it");
    return FIRN_OK;
}

/* Is a writer at work? Asked before the look and after it: one that came or went meanwhile
 * counts. */
static int ask_for_writer(check *c, firn_error *err)
{
    bool locked = false;
    firn_error why = {0};
    int rc = fs_dir_locked(c->dir, NAME_LOCK, &locked, &why);
    c->writer = c->writer || locked;
    if (rc == FIRN_OK || rc == FIRN_INVALID) /* what is no plain file, no writer has locked */
        return FIRN_OK;
    if (err)
        *err = why;
    return rc;
}

/* What recovery and repair set aside is no damage, but takes room until it is removed. */
static int check_lost(check *c, firn_error *err)
{
    firn_lost_summary aside;
    firn_error why = {0};
    int rc = aside_walk(c->dir, false, NULL, NULL, &aside, &why);
    if (rc == FIRN_INVALID) {
        say(c, "note: %s is %s: what recovery and repair set aside has no place", why.file,
            why.message);
        return FIRN_OK;
    }
    if (rc != FIRN_OK) {
        if (err)
            *err = why;
        return rc;
    }
    c->summary.lost_files = aside.files;
    c->summary.lost_bytes = aside.bytes;
    if (aside.files)
        say(c,
            "note: lost/ keeps %" PRIu64 " file%s of %" PRIu64 " bytes that recovery or repair set "
            "aside; `firn lost` lists and removes them",
            aside.files, aside.files == 1 ? "" : "s", aside.bytes);
    if (aside.others)
        say(c, "note: %" PRIu64 " of the names in lost/ %s not from firn", aside.others,
            aside.others == 1 ? "is" : "are");
    return FIRN_OK;
}

/* ---- Looking ---- */

static int look_at_log(check *c, firn_error *err)
{
    if (c->folder.log_files == 0) {
        error_file(err, FIRN_DAMAGED, c->dir->path, FIRN_NO_OFFSET, "the store's log is missing");
        error_hint(err, "restore the .wal files from a backup" HINT_REPAIR);
        return FIRN_DAMAGED;
    }
    wal_config config;
    wal_stats stats;
    wal_config_init(&config);
    config.options.read_only = true;
    config.options.recovery = FIRN_RECOVERY_TAIL;
    memcpy(config.store_id, c->state.store_id, sizeof config.store_id);
    config.covered_seq = c->state.flushed_seq;
    config.covered_no = c->state.covered_no;
    int rc = wal_open(c->dir, &config, &c->report, &c->log, err);
    if (rc != FIRN_OK)
        return rc;
    wal_get_stats(c->log, &stats);
    if (stats.floor_seq > c->state.flushed_seq) {
        rc = error_file(err, FIRN_DAMAGED, c->dir->path, FIRN_NO_OFFSET,
                        "the manifest is older than the log, which begins after %" PRIu64,
                        stats.floor_seq);
        error_hint(err, "restore the whole folder from one backup");
    } else if (c->state.flushed_seq > WAL_SKIP_MAX &&
               stats.last_seq < c->state.flushed_seq - WAL_SKIP_MAX) {
        rc = error_file(err, FIRN_DAMAGED, c->dir->path, FIRN_NO_OFFSET,
                        "the manifest speaks of operations up to %" PRIu64
                        ", which the log, that ends at %" PRIu64 ", cannot reach",
                        c->state.flushed_seq, stats.last_seq);
        error_hint(err, "restore the whole folder from one backup" HINT_REPAIR);
    } else if (stats.last_seq < c->state.closed_seq && c->state.flushed_seq < c->state.closed_seq) {
        rc = error_file(err, FIRN_DAMAGED, c->dir->path, FIRN_NO_OFFSET,
                        "the log ends at operation %" PRIu64
                        ", but the store was closed at %" PRIu64,
                        stats.last_seq, c->state.closed_seq);
        error_hint(err, "restore the store from a backup" HINT_REPAIR);
    }
    return rc;
}

static void look_release(check *c)
{
    firn_wal_close(c->log, NULL);
    firn_wal_report_release(&c->report);
    manifest_state_release(&c->state);
    folder_release(&c->folder);
    c->log = NULL;
    c->state = (manifest_state){0};
    c->folder = (folder){0};
    firn_wal_report_init(&c->report);
}

/* Opens everything. *trouble: something was not as it should be. Only what stops the check is
 * returned. */
static int look(check *c, bool *trouble, firn_error *err)
{
    int rc = folder_read(c->dir, &c->folder, err);
    size_t manifests = rc == FIRN_OK ? folder_count(&c->folder.manifests) : 0;
    if (rc == FIRN_OK && manifests == 0 && folder_count(&c->folder.tables)) {
        c->manifest_status = error_file(
            &c->manifest_error, FIRN_DAMAGED, c->dir->path, FIRN_NO_OFFSET,
            "the folder holds %zu tables but no manifest", folder_count(&c->folder.tables));
        error_hint(&c->manifest_error,
                   "restore the manifest, or the store, from a backup" HINT_REPAIR);
        *trouble = true;
        return FIRN_OK;
    }
    if (rc == FIRN_OK && manifests == 0) {
        rc = error_file(err, FIRN_NOT_FOUND, c->dir->path, FIRN_NO_OFFSET,
                        "there is no store in the folder");
        error_hint(err, "check the path");
    }
    if (rc != FIRN_OK)
        return rc;
    c->manifest_status = manifest_load(&c->env, folder_at(&c->folder.manifests, manifests - 1),
                                       &c->state, &c->manifest_error);
    *trouble = c->manifest_status != FIRN_OK;
    if (*trouble)
        return FIRN_OK;
    c->env.store_id[0] = get_u64(c->state.store_id);
    c->env.store_id[1] = get_u64(c->state.store_id + 8);
    for (size_t i = 0; i < manifest_state_count(&c->state); i++)
        for (size_t at = 0;;) {
            run r = version_next_run(manifest_state_version(&c->state, i), &at);
            if (r.kind == RUN_NONE)
                break;
            if (run_open(r, NULL) != FIRN_OK)
                *trouble = true; /* which trouble, check_version says */
        }
    c->log_status = look_at_log(c, &c->log_error);
    *trouble = *trouble || c->log_status != FIRN_OK;
    return FIRN_OK;
}

static int check_all(check *c, const char *path, firn_error *err)
{
    int rc = fs_dir_open(c->fs, path, &c->dir, err);
    if (rc == FIRN_OK && (sst_cache_new(0, &c->env.cache) != FIRN_OK ||
                          fs_pool_new(c->fs, fs_pool_limit(c->fs), &c->env.files) != FIRN_OK))
        rc = error_no_memory(err);
    c->env.keeps = true;
    if (rc != FIRN_OK)
        return rc;
    c->env.dir = c->dir;
    rc = ask_for_writer(c, err);
    if (rc != FIRN_OK)
        return rc;
    folder_look l = folder_look_at(c->dir);
    for (;;) {
        bool trouble = false;
        (void)look_begin(&l, NULL); /* what cannot be read, the look itself says */
        rc = look(c, &trouble, err);
        if ((rc == FIRN_OK && !trouble) || !look_again(&l))
            break;
        look_release(c);
    }
    if (rc != FIRN_OK)
        return rc;
    if (c->manifest_status != FIRN_OK) {
        finding(c, c->manifest_status, &c->manifest_error);
        return FIRN_OK;
    }
    say(c, "manifest %" PRIu64 ": %" PRIu64 " records, operations up to %" PRIu64 " are in tables",
        c->state.manifest_no, c->state.records, c->state.flushed_seq);
    check_tables(c);
    check_log(c);
    rc = ask_for_writer(c, err);
    if (rc != FIRN_OK)
        return rc;
    if (check_folder(c) != FIRN_OK)
        return error_no_memory(err);
    return check_lost(c, err);
}

int engine_check(fs *f, const char *path, void (*line)(void *ctx, const char *text), void *ctx,
                 firn_check_summary *summary, firn_error *err)
{
    if (summary)
        *summary = (firn_check_summary){0};
    if (!path)
        return error_set(err, FIRN_INVALID, "the path of the store is NULL");
    check c = {.fs = f ? f : fs_posix(), .line = line, .ctx = ctx};
    firn_wal_report_init(&c.report);
    firn_error why;
    error_clear(&why);
    int rc = check_all(&c, path, &why);
    look_release(&c);
    sst_cache_free(c.env.cache);
    fs_pool_free(c.env.files);
    fs_dir_close(c.dir);
    if (summary)
        *summary = c.summary;
    if (rc == FIRN_OK && c.status != FIRN_OK) {
        rc = c.status;
        why = c.first;
    } else if (rc == FIRN_OK && c.unchecked != FIRN_OK) {
        rc = c.unchecked;
        why = c.unchecked_error;
    }
    return error_give(err, rc, &why);
}

int firn_check(const char *path, void (*line)(void *ctx, const char *text), void *ctx,
               firn_check_summary *summary, firn_error *error)
{
    return engine_check(NULL, path, line, ctx, summary, error);
}

int engine_covered(fs_dir *dir, uint64_t *seq, uint64_t *segment_no, firn_error *err)
{
    folder f = {0};
    manifest_state state = {0};
    table_env env = {.dir = dir};
    int rc = folder_read(dir, &f, err);
    size_t manifests = rc == FIRN_OK ? folder_count(&f.manifests) : 0;
    if (manifests)
        rc = manifest_load(&env, folder_at(&f.manifests, manifests - 1), &state, err);
    if (rc == FIRN_OK) {
        *seq = state.flushed_seq;
        *segment_no = state.covered_no;
    }
    manifest_state_release(&state);
    folder_release(&f);
    return rc;
}
