/* state: replacing views and versions; what background work reports.
 *
 * A view is replaced in one step under state_mu. Readers load the pointer without a lock, so a
 * replaced view is parked in `retired` until readers_wait has seen everybody leave. */
#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "store.h"
#include "version_build.h"

int store_check_handle(const firn *db, firn_error *err)
{
    if (!db)
        return error_set(err, FIRN_INVALID, "the store handle is NULL");
    if (store_is_parents(db)) {
        error_set(err, FIRN_INVALID,
                  "the store was opened before fork and cannot be used in the child");
        error_hint(err, "open the store in the child after the parent has closed it");
        return FIRN_INVALID;
    }
    return FIRN_OK;
}

int store_hint_repair(int rc, firn_error *err)
{
    char hint[sizeof err->hint];
    if (rc != FIRN_DAMAGED || !err || strstr(err->hint, "repair"))
        return rc;
    size_t room = sizeof hint - sizeof HINT_REPAIR;
    snprintf(hint, sizeof hint, "%.*s", (int)room, err->hint[0] ? err->hint : "restore a backup");
    error_hint(err, "%s" HINT_REPAIR, hint);
    return rc;
}

void store_log(firn *db, firn_log_level lvl, const char *format, ...)
{
    if (!db->options.log)
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    db->options.log(db->options.log_ctx, lvl, line);
}

view *store_view(firn *db)
{
    uint32_t ticket = readers_enter(&db->readers);
    view *v = atomic_load_explicit(&db->view, memory_order_seq_cst);
    view_ref(v);
    readers_exit(&db->readers, ticket);
    return v;
}

static void update_pressure(firn *db, const view *v) REQUIRES(db->state_mu)
{
    uint64_t kept = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        kept += v->version->levels[n].kept;
    atomic_store_explicit(&db->has_kept, kept > 0, memory_order_relaxed);
    uint32_t p = (uint32_t)v->version->levels[0].count;
    atomic_store_explicit(&db->load,
                          slow_load(p, schedule_debt(&db->rules, v->version),
                                    schedule_unit(&db->rules, v->version), v->frozen_count),
                          memory_order_relaxed);
    if (p >= L0_STOP_AT || v->frozen_count > FROZEN_MAX || db->background_status != FIRN_OK)
        p |= PRESSURE_STOP;
    atomic_store_explicit(&db->pressure, p, memory_order_relaxed);
}

void store_install_first(firn *db, view *first)
{
    mutex_lock(&db->state_mu);
    atomic_store_explicit(&db->view, first, memory_order_release);
    db->work_epoch++;
    update_pressure(db, first);
    mutex_unlock(&db->state_mu);
}

/* The next memtable's keys probably begin like this one's. */
static void remember_prefix(firn *db, const mem *m) REQUIRES(db->state_mu)
{
    firn_slice p = memtable_common_prefix(m->table);
    if (memtable_entries(m->table) == 0)
        return;
    db->prefix_size = p.size < sizeof db->prefix ? p.size : sizeof db->prefix;
    if (db->prefix_size)
        memcpy(db->prefix, p.data, db->prefix_size);
}

/* `next` has been filled in. */
static void replace_view(firn *db, view *old, view *next) REQUIRES(db->state_mu)
{
    atomic_store_explicit(&db->view, next, memory_order_seq_cst);
    old->next_retired = db->retired;
    db->retired = old;
    update_pressure(db, next);
    cond_broadcast(&db->state_changed);
}

/* One mem more will be frozen: a commit that is under way must have room for it, too. */
static int reserve_one_more(firn *db, size_t frozen_count) REQUIRES(db->state_mu)
{
    if (!db->reserved || db->reserved->frozen_room >= frozen_count)
        return FIRN_OK;
    view *larger = view_room(frozen_count);
    if (!larger)
        return FIRN_NO_MEMORY;
    view_room_free(db->reserved);
    db->reserved = larger;
    return FIRN_OK;
}

int store_install_mem(firn *db, mem *fresh)
{
    mutex_lock(&db->state_mu);
    view *old = atomic_load_explicit(&db->view, memory_order_relaxed);
    size_t count = 0;
    mem **frozen = mem_alloc((old->frozen_count + 1) * sizeof *frozen);
    view *next = frozen ? view_room(old->frozen_count + 1) : NULL;
    int rc = next ? reserve_one_more(db, old->frozen_count + 1) : FIRN_NO_MEMORY;
    if (rc == FIRN_OK) {
        if (old->active)
            frozen[count++] = old->active;
        for (size_t i = 0; i < old->frozen_count; i++)
            frozen[count++] = old->frozen[i];
        view_fill(next, old->version, fresh, frozen, count);
        if (old->active)
            remember_prefix(db, old->active);
        replace_view(db, old, next);
    } else {
        view_room_free(next);
    }
    mem_free(frozen);
    mutex_unlock(&db->state_mu);
    return rc;
}

int store_reserve(firn *db)
{
    mutex_lock(&db->state_mu);
    const view *now = atomic_load_explicit(&db->view, memory_order_relaxed);
    assert(!db->reserved);
    db->reserved = view_room(now->frozen_count);
    int rc = db->reserved ? FIRN_OK : FIRN_NO_MEMORY;
    mutex_unlock(&db->state_mu);
    return rc;
}

void store_unreserve(firn *db)
{
    mutex_lock(&db->state_mu);
    view_room_free(db->reserved);
    db->reserved = NULL;
    mutex_unlock(&db->state_mu);
}

void store_install_version(firn *db, mem *flushed, version *v)
{
    mutex_lock(&db->state_mu);
    view *old = atomic_load_explicit(&db->view, memory_order_relaxed);
    view *next = db->reserved;
    size_t count = 0;
    db->reserved = NULL;
    assert(next && next->frozen_room >= old->frozen_count);
    view_fill(next, v, old->active, old->frozen, old->frozen_count);
    for (size_t i = 0; i < next->frozen_count; i++) {
        if (next->frozen[i] != flushed)
            next->frozen[count++] = next->frozen[i];
        else
            mem_unref(flushed); /* the old view keeps it alive */
    }
    next->frozen_count = count;
    db->work_epoch++;
    replace_view(db, old, next);
    mutex_unlock(&db->state_mu);
}

int store_check_held(firn *db, firn_error *err)
{
    return fs_dir_held(db->dir, db->lock, err);
}

void store_reap(firn *db)
{
    mutex_lock(&db->state_mu);
    view *first = db->retired;
    db->retired = NULL;
    mutex_unlock(&db->state_mu);
    if (first)
        readers_wait(&db->readers);
    for (view *next; first; first = next) {
        next = first->next_retired;
        view_unref(first);
    }
}

void store_drop_views(firn *db)
{
    store_reap(db);
    view_unref(atomic_load_explicit(&db->view, memory_order_relaxed));
    atomic_store_explicit(&db->view, NULL, memory_order_relaxed);
    db->active = NULL;
}

uint64_t store_next_file_no(firn *db)
{
    return atomic_fetch_add_explicit(&db->next_file_no, 1, memory_order_relaxed);
}

/* A manifest only grows. When it has grown large, or is an earlier life's, it is replaced by one that
 * holds nothing but the present state. Failing before the new one has its name changes nothing; failing behind that, it
 * is unknown which of the two the next open finds, so neither may get another edit. */
static int renew_manifest(firn *db, version *v, firn_error *err) REQUIRES(db->manifest_mu)
{
    uint64_t limit =
        db->manifest_limit > MANIFEST_REWRITE_BYTES ? db->manifest_limit : MANIFEST_REWRITE_BYTES;
    if (manifest_bytes(db->manifest) < limit && !manifest_is_worn(db->manifest))
        return FIRN_OK;
    int held = store_check_held(db, err);
    if (held != FIRN_OK)
        return held;
    char name[NAME_BYTES];
    manifest *fresh = NULL;
    uint64_t no = store_next_file_no(db);
    manifest_state s = {
        .flushed_seq = atomic_load_explicit(&db->flushed_seq, memory_order_relaxed),
        .covered_no = db->covered_no,
        .next_file_no = no + 1,
    };
    memcpy(s.store_id, db->store_id, sizeof s.store_id);
    version_ref(v);
    s.version = v;
    int rc = manifest_create(db->dir, no, &s, &fresh, err);
    manifest_state_release(&s);
    if (rc == FIRN_OK) {
        name_manifest(manifest_no(db->manifest), false, name);
        manifest_close(db->manifest);
        db->manifest = fresh;
        db->manifest_limit = manifest_bytes(fresh) * 2;
        (void)fs_unlink(db->dir, name, NULL); /* else the next open removes it */
        return FIRN_OK;
    }
    fs_file *there = NULL;
    name_manifest(no, true, name);
    (void)fs_unlink(db->dir, name, NULL); /* likewise */
    if (error_curable(rc))
        return FIRN_OK; /* there is none of that number: tried again behind the next edit */
    name_manifest(no, false, name);
    if (fs_open(db->dir, name, FS_READ, &there, NULL) == FIRN_NOT_FOUND)
        return FIRN_OK; /* tried again behind the next edit */
    fs_close(there);
    manifest_poison(db->manifest);
    return rc;
}

/* An edit that is durable cannot be taken back, so nothing behind its commit may fail: what the new view takes is reserved
 * before. */
static int write_edit(firn *db, const edit *e, mem *flushed, version *next, firn_error *err)
    REQUIRES(db->manifest_mu)
{
    int rc = store_check_held(db, err);
    if (rc != FIRN_OK)
        return rc;
    if (store_reserve(db) != FIRN_OK)
        return error_no_memory(err, 0);
    rc = manifest_write(db->manifest, e, err);
    if (rc != FIRN_OK) {
        store_unreserve(db);
        return rc;
    }
    if (e->flushed_seq)
        atomic_store_explicit(&db->flushed_seq, e->flushed_seq, memory_order_release);
    if (e->covered_no)
        db->covered_no = e->covered_no;
    store_install_version(db, flushed, next);
    store_decide_mapping(db, next);
    return FIRN_OK;
}

/* The next open would not take a manifest with a greater number than FILE_NO_MAX. */
int store_check_file_no(const firn *db, firn_error *err)
{
    if (atomic_load_explicit(&db->next_file_no, memory_order_relaxed) <= FILE_NO_LAST)
        return FIRN_OK;
    error_file(err, FIRN_TOO_LARGE, db->dir->path, FIRN_NO_OFFSET,
               "the store has used up its file numbers (%" PRIu64 ")", FILE_NO_LAST);
    error_hint(err,
               "it can still be read: copy what is in it to a new store (firn dump, firn load)");
    return FIRN_TOO_LARGE;
}

/* No edit goes into the file of an earlier life. */
static int replace_worn(firn *db, version *v, firn_error *err) REQUIRES(db->manifest_mu)
{
    if (!manifest_is_worn(db->manifest))
        return FIRN_OK;
    int rc = renew_manifest(db, v, err);
    return rc == FIRN_OK && manifest_is_worn(db->manifest) ? err->status : rc;
}

int store_commit_edit(firn *db, edit *e, mem *flushed, firn_error *err)
{
    version *next = NULL;
    firn_error local = {0}, later = {0};
    int renewed = FIRN_OK;
    if (!err)
        err = &local;
    mutex_lock(&db->manifest_mu);
    /* manifest_mu makes us the only one who replaces versions, so the current one stays current. */
    view *v = store_view(db);
    int rc = replace_worn(db, v->version, err);
    e->next_file_no = atomic_load_explicit(&db->next_file_no, memory_order_relaxed);
    if (rc == FIRN_OK)
        rc = store_check_file_no(db, err);
    if (rc == FIRN_OK)
        rc = version_apply(v->version, e, &next, err);
    view_unref(v);
    if (rc == FIRN_OK)
        rc = write_edit(db, e, flushed, next, err);
    if (rc == FIRN_OK)
        renewed = renew_manifest(db, next, &later); /* the edit stands, whatever becomes of it */
    mutex_unlock(&db->manifest_mu);
    version_unref(next);
    /* Whoever asked for this edit: without a manifest nothing can be flushed any more. */
    if (rc != FIRN_OK && !error_curable(rc))
        store_background_error(db, WORK_FLUSH, rc, err);
    if (renewed != FIRN_OK)
        store_background_error(db, WORK_FLUSH, FIRN_IO, &later);
    return rc;
}

static const char *const work_names[] = {"flushing", "compaction"};

/* The first error that stops everything is kept. True: it is this one. */
static bool stop_writing(firn *db, int status, const firn_error *err) REQUIRES(db->state_mu)
{
    if (db->background_status != FIRN_OK)
        return false;
    db->background_status = status;
    db->background_error = *err;
    view *v = atomic_load_explicit(&db->view, memory_order_relaxed);
    if (v)
        update_pressure(db, v); /* begin_write looks there */
    return true;
}

void store_background_error(firn *db, background_work work, int status, const firn_error *err)
{
    bool curable = error_curable(status), news;
    mutex_lock(&db->state_mu);
    if (curable) {
        news = db->stuck[work].status != status;
        db->stuck[work] = (stuck){status, *err};
    } else {
        news = stop_writing(db, status, err);
    }
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    if (news) {
        char text[512];
        firn_error_format(err, text, sizeof text);
        store_log(db, curable ? FIRN_LOG_WARNING : FIRN_LOG_ERROR, "%s %s: %s", work_names[work],
                  curable ? "waits, and is tried again" : "has stopped, and writing with it", text);
    }
}

void store_background_works(firn *db, background_work work)
{
    mutex_lock(&db->state_mu);
    bool was = db->stuck[work].status != FIRN_OK;
    db->stuck[work].status = FIRN_OK;
    cond_broadcast(&db->state_changed);
    mutex_unlock(&db->state_mu);
    if (was)
        store_log(db, FIRN_LOG_INFO, "%s goes on", work_names[work]);
}

static int give_copy(int status, const firn_error *from, firn_error *err)
{
    if (err) {
        *err = *from;
        err->status = status;
    }
    return status;
}

int store_stopped(firn *db, firn_error *err)
{
    const view *v = atomic_load_explicit(&db->view, memory_order_relaxed);
    bool for_flush = v->frozen_count > FROZEN_MAX;
    bool for_compaction = v->version->levels[0].count >= L0_STOP_AT;
    /* Nothing has happened, but nothing will either until the store is opened again. */
    if (db->background_status != FIRN_OK || (for_compaction && db->compaction_failed))
        return give_copy(FIRN_POISONED, &db->background_error, err);
    for (unsigned work = WORK_FLUSH; work <= WORK_COMPACTION; work++) {
        const stuck *s = &db->stuck[work];
        if ((work == WORK_FLUSH ? for_flush : for_compaction) && s->status != FIRN_OK)
            return give_copy(s->status, &s->error, err);
    }
    return FIRN_OK;
}

int store_writable(firn *db, firn_error *err)
{
    mutex_lock(&db->state_mu);
    int rc = db->background_status;
    if (rc != FIRN_OK) {
        rc = rc == FIRN_DAMAGED ? FIRN_DAMAGED : FIRN_POISONED;
        if (err) {
            *err = db->background_error;
            err->status = rc;
        }
    }
    mutex_unlock(&db->state_mu);
    return rc;
}
