/* open: from a folder to a store. (And back: close.c.)
 *
 *   folder -> lock -> manifest -> flushed_seq -> log (scanned, judged; manifest settled; repaired)
 *          -> memtables over its segments -> view -> leftovers removed -> background threads
 *
 * The work is proportional to the unflushed log. No table or manifest is removed before everything
 * has been read and found good, and no segment of the log before the log has. A store exists from
 * the moment its first manifest has its final name; what a crash leaves before that is an empty
 * folder with a lock file and perhaps an unused log segment.
 */
#include <assert.h>
#include <base/alloc.h>
#include <base/coding.h>
#include <base/entry.h>
#include <base/error.h>
#include <base/grow.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jobs/work.h>
#include <store/folder.h>
#include <tree/names.h>
#include <tree/run.h>
#include <store/store.h>

/* ---- the folder and its lock ---- */

static int not_a_store(const store *db, const folder *f, firn_error *err)
{
    const char *path = db->dir->path;
    if (folder_count(&f->tables)) {
        /* A new store would take them for leftovers and remove them. */
        error_file(err, FIRN_DAMAGED, path, FIRN_NO_OFFSET,
                   "the folder holds %zu tables but no manifest", folder_count(&f->tables));
        error_hint(err, "restore the manifest, or the store, from a backup" HINT_REPAIR);
        return FIRN_DAMAGED;
    }
    if (f->foreign) {
        error_file(err, FIRN_INVALID, path, FIRN_NO_OFFSET,
                   "the folder holds no store but other files, such as %s", f->foreign_name);
        error_hint(err, "name a folder of a store, or an empty or new one");
        return FIRN_INVALID;
    }
    if (db->options.read_only || !db->options.create_if_missing) {
        error_file(err, FIRN_NOT_FOUND, path, FIRN_NO_OFFSET, "there is no store in the folder");
        error_hint(err, "check the path; a store is made by the first write to it");
        return FIRN_NOT_FOUND;
    }
    return FIRN_OK;
}

static int open_folder(store *db, const char *path, firn_error *err)
{
    int rc = fs_dir_open(db->fs, path, &db->dir, err);
    if (rc != FIRN_NOT_FOUND)
        goto done;
    if (db->options.read_only || !db->options.create_if_missing) {
        error_file(err, FIRN_NOT_FOUND, path, FIRN_NO_OFFSET, "there is no such folder");
        error_hint(err, "check the path; a store is made by the first write to it");
        return rc;
    }
    rc = fs_dir_make(db->fs, path, err);
    if (rc == FIRN_OK)
        rc = fs_dir_open(db->fs, path, &db->dir, err);
    if (rc == FIRN_NOT_FOUND) {
        rc = error_file(err, FIRN_IO, path, FIRN_NO_OFFSET, "the folder is not there once made");
        error_hint(err, "another program may have removed it; try again");
    }
done:
    db->env.dir = db->dir;
    return rc;
}

/* ---- the manifest ---- */

static int check_tables_exist(const store *db, const folder *f, const version *v, firn_error *err)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++) {
            uint64_t no = v->levels[n].tables[i]->no;
            if (folder_has(&f->tables, no))
                continue;
            char name[NAME_BYTES], path[512];
            name_table(no, name);
            snprintf(path, sizeof path, "%s/%s", db->dir->path, name);
            error_file(err, FIRN_DAMAGED, path, FIRN_NO_OFFSET,
                       "a table that the manifest lists is missing");
            error_hint(err, "restore the file, or the store, from a backup" HINT_REPAIR);
            return FIRN_DAMAGED;
        }
    return FIRN_OK;
}

/* The first segment is durable before the manifest is (W3), and there is one ever after. Without
 * any, what is not in the tables is lost; a policy that saves what it can opens the rest. */
static int check_log_exists(const store *db, const folder *f, firn_error *err)
{
    firn_recovery r = db->options.recovery;
    if (f->log_files || r == FIRN_RECOVERY_PREFIX || r == FIRN_RECOVERY_SALVAGE)
        return FIRN_OK;
    error_file(err, FIRN_DAMAGED, db->dir->path, FIRN_NO_OFFSET, "the store's log is missing");
    error_hint(err, "restore the .wal files, or the store, from a backup, or open it once with "
                    "recovery=prefix to go on with what is in its tables");
    return FIRN_DAMAGED;
}

static int load_manifest(store *db, const folder *f, manifest_state *s, firn_error *err)
{
    size_t count = folder_count(&f->manifests);
    int rc = manifest_load(&db->env, folder_at(&f->manifests, count - 1), s, err);
    if (rc != FIRN_OK)
        return rc;
    handle_set_id(db, s->store_id);
    for (size_t i = 0; rc == FIRN_OK && i < manifest_state_count(s); i++)
        rc = check_tables_exist(db, f, manifest_state_version(s, i), err);
    return rc;
}

typedef struct removal {
    fs_dir *dir;
    firn_error *err;
} removal;

static int remove_log_name(void *ctx, const char *name)
{
    removal *r = ctx;
    return wal_owns_name(name) ? fs_unlink(r->dir, name, r->err) : FIRN_OK;
}

/* A log without a manifest is either what a crash during creation left, and then empty, or
 * another program's data. */
static int clear_empty_log(store *db, const wal_config *config, firn_error *err)
{
    wal *w = NULL;
    wal_stats stats;
    wal_config look = *config;
    look.options.read_only = true;
    int rc = wal_open(db->dir, &look, NULL, &w, err);
    if (rc != FIRN_OK)
        return rc;
    wal_get_stats(w, &stats);
    firn_wal_close(w, NULL);
    if (stats.last_seq > 0) {
        error_file(err, FIRN_DAMAGED, db->dir->path, FIRN_NO_OFFSET,
                   "the folder holds a log with %" PRIu64 " operations but no manifest",
                   stats.last_seq);
        error_hint(
            err, "restore the manifest from a backup; a log of its own is opened by firn_wal_open");
        return FIRN_DAMAGED;
    }
    removal r = {db->dir, err};
    return fs_dir_list(db->dir, remove_log_name, &r, err);
}

static int new_state(store *db, manifest_state *s, firn_error *err)
{
    *s = (manifest_state){.next_file_no = 1};
    int rc = fs_random(db->fs, s->store_id, sizeof s->store_id, err);
    if (rc == FIRN_OK && version_new_empty(&s->version) != FIRN_OK)
        rc = error_no_memory(err);
    if (rc == FIRN_OK)
        handle_set_id(db, s->store_id);
    return rc;
}

/* What opening goes through with the log. */
typedef struct opening {
    store *db;
    const folder *folder;
    manifest_state *state;
} opening;

static int write_new_manifest(store *db, manifest_state *s,
                              int (*write)(fs_dir *dir, uint64_t no, const manifest_state *state,
                                           manifest **out, firn_error *err),
                              firn_error *err) REQUIRES(db->manifest_mu)
{
    uint64_t no = store_next_file_no(db);
    s->next_file_no = no + 1;
    return write(db->dir, no, s, &db->manifest, err);
}

/* E5: the log has been looked at, and is about to remove what it is told that the tables hold. */
static int settle_manifest(void *ctx, firn_error *err)
{
    const opening *o = ctx;
    store *db = o->db;
    if (!o->state->manifest_no)
        return FIRN_OK; /* a new store: nothing was said yet */
    mutex_lock(&db->manifest_mu);
    int rc = write_new_manifest(db, o->state, manifest_settle, err);
    mutex_unlock(&db->manifest_mu);
    /* Those that an open behind this step left when it failed must not become more and more. */
    for (size_t i = 0; rc == FIRN_OK && i + 1 < folder_count(&o->folder->manifests); i++) {
        char name[NAME_BYTES];
        name_manifest(folder_at(&o->folder->manifests, i), false, name);
        (void)fs_unlink(db->dir, name, NULL);
    }
    return rc;
}

/* The manifest of this life: the one that settled what was read, if there is nothing to change in
 * it. */
static int open_manifest(store *db, manifest_state *s, firn_error *err)
{
    int rc = FIRN_OK;
    mutex_lock(&db->manifest_mu);
    db->covered_no = s->covered_no;
    /* What was given up must not be missed again: the new manifest does not ask for it. */
    bool gave_up = atomic_load_explicit(&db->visible_seq, memory_order_relaxed) < s->closed_seq;
    if (gave_up)
        s->closed_seq = 0;
    if (!db->manifest || gave_up) {
        manifest_close(db->manifest);
        db->manifest = NULL;
        rc = write_new_manifest(db, s, manifest_create, err);
        /* On a full disk the old one will do, without the record that was never completed. */
        if (error_curable(rc) && s->manifest_no && !gave_up)
            rc = manifest_continue(db->dir, s, &db->manifest, err);
    }
    store_note_manifest(db);
    mutex_unlock(&db->manifest_mu);
    return rc;
}

/* ---- the log ---- */

static void log_config(store *db, const manifest_state *s, wal_config *c)
{
    const firn_options *o = &db->options;
    wal_config_init(c);
    c->options.durability = o->durability;
    c->options.batch_ms = o->batch_ms;
    c->options.batch_writes = o->batch_writes;
    c->options.segment_bytes = o->segment_bytes;
    c->options.recovery = o->recovery;
    c->options.read_only = o->read_only;
    if (o->never_map)
        c->options.backing = FIRN_WAL_BUFFERED;
    c->options.log = o->log;
    c->options.log_ctx = o->log_ctx;
    if (db->inline_work)
        c->options.mark_ms = 0;
    memcpy(c->store_id, db->store_id, sizeof c->store_id);
    c->covered_seq = s->flushed_seq;
    c->covered_no = s->covered_no;
    c->lock = db->lock;
    c->inline_work = db->inline_work;
    c->waits = &db->waits;
}

typedef struct recovery {
    store *db;
    mem **mems; /* oldest first; references */
    size_t count, capacity;
    firn_error *err;
} recovery;

/* What the keys of the next memtables probably begin with: as those of the last ones, or, for the
 * first, of the tables. */
static void learn_from_last(const recovery *r)
{
    mutex_lock(&r->db->state_mu);
    if (r->count)
        store_learn_prefixes(r->db, r->mems[r->count - 1]);
    mutex_unlock(&r->db->state_mu);
}

/* Room for a frame, in the buckets that there are. A number that has been given out belongs to one
 * of them, or to one that was dropped; any other no writer can have written. */
static int reserve_frame(const recovery *r, mem *m, const wal_applied *frame)
{
    firn_slice entries = {wal_segment_base(frame->segment) + frame->offset, frame->bytes};
    unsigned limit = atomic_load_explicit(&r->db->bucket_limit, memory_order_relaxed);
    unsigned most = entries_bucket_most(entries, frame->count);
    if (most >= limit) {
        error_file(r->err, FIRN_DAMAGED, r->db->dir->path, FIRN_NO_OFFSET,
                   "log segment %" PRIu64 " has, from operation %" PRIu64
                   " on, some of bucket %u, and the manifest knows of none from %u on",
                   wal_segment_no(frame->segment), frame->seq_first, most, limit);
        error_hint(r->err, "restore the whole folder from one backup" HINT_REPAIR);
        return FIRN_DAMAGED;
    }
    mem_reserve_begin(m);
    int rc = store_reserve_entries(r->db, m, entries, frame->count);
    if (rc == FIRN_OK)
        rc = mem_reserve(m);
    return rc == FIRN_OK ? rc : error_no_memory(r->err);
}

static int recovery_push(recovery *r, const wal_applied *frame)
{
    if (array_grow(&r->mems, &r->capacity, r->count, sizeof(mem *), NULL) != FIRN_OK)
        return FIRN_NO_MEMORY;
    learn_from_last(r);
    int rc = store_new_mem(r->db, frame->segment, frame->seq_first, &r->mems[r->count]);
    if (rc == FIRN_OK)
        r->count++;
    return rc;
}

static void note_newest(store *db, uint64_t seq)
{
    if (seq > atomic_load_explicit(&db->newest_seq, memory_order_relaxed))
        atomic_store_explicit(&db->newest_seq, seq, memory_order_relaxed);
}

static int recovery_frame(void *ctx, const wal_applied *frame)
{
    recovery *r = ctx;
    int rc = FIRN_OK;
    if (r->count == 0 || r->mems[r->count - 1]->segment != frame->segment)
        rc = recovery_push(r, frame);
    mem *m = rc == FIRN_OK ? r->mems[r->count - 1] : NULL;
    if (m && frame->seq_first + frame->count - m->seq_first > MEM_NUMBERS) {
        rc = error_file(r->err, FIRN_DAMAGED, r->db->dir->path, FIRN_NO_OFFSET,
                        "log segment %" PRIu64 " holds numbers from %" PRIu64 " to %" PRIu64
                        ", more than any segment does",
                        wal_segment_no(m->segment), m->seq_first, frame->seq_first);
        error_hint(r->err, "restore the store from a backup" HINT_REPAIR);
        return rc;
    }
    rc = m ? reserve_frame(r, m, frame) : error_no_memory(r->err);
    if (rc != FIRN_OK)
        return rc;
    mem_apply(m, frame);
    mem_publish(m, frame->seq_first + frame->count - 1);
    atomic_store_explicit(&m->seq_last, wal_segment_seq_last(frame->segment), memory_order_relaxed);
    r->db->recovered_entries += frame->count;
    note_newest(r->db, frame->seq_first + frame->count - 1);
    return FIRN_OK;
}

/* Does the log end before where the store was closed? Damage that takes the log's own seal along
 * leaves no other trace. A policy that saves what it can opens the rest. */
static bool ends_early(const store *db, const manifest_state *s, uint64_t last_seq)
{
    firn_recovery r = db->options.recovery;
    return last_seq < s->closed_seq && r != FIRN_RECOVERY_PREFIX && r != FIRN_RECOVERY_SALVAGE;
}

/* The log must reach from what the tables hold to at least there: else one of the two is an old
 * copy. */
static int check_log_fits(store *db, const manifest_state *s, firn_error *err)
{
    uint64_t flushed_seq = s->flushed_seq;
    wal_stats stats;
    wal_get_stats(db->wal, &stats);
    if (stats.floor_seq > flushed_seq) {
        error_file(err, FIRN_DAMAGED, db->dir->path, FIRN_NO_OFFSET,
                   "the manifest is older than the log: it knows of operations up to %" PRIu64
                   ", the log begins after %" PRIu64,
                   flushed_seq, stats.floor_seq);
        error_hint(err, "restore the whole folder from one backup");
        return FIRN_DAMAGED;
    }
    uint64_t last = stats.last_seq > flushed_seq ? stats.last_seq : flushed_seq;
    if (ends_early(db, s, last)) {
        error_file(err, FIRN_DAMAGED, db->dir->path, FIRN_NO_OFFSET,
                   "the log ends at operation %" PRIu64 ", but the store was closed at %" PRIu64,
                   last, s->closed_seq);
        error_hint(err, "restore the store from a backup, or open it once with recovery=prefix to "
                        "go on with what is left");
        return FIRN_DAMAGED;
    }
    atomic_store_explicit(&db->visible_seq, last, memory_order_relaxed);
    atomic_store_explicit(&db->flushed_seq, flushed_seq, memory_order_relaxed);
    return FIRN_OK;
}

/* Oldest first becomes newest first. */
static void turn_round(mem **mems, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        mem *swap = mems[i];
        mems[i] = mems[count - 1 - i];
        mems[count - 1 - i] = swap;
    }
}

static int install_views(store *db, const manifest_state *s, mem *active, mem *const *frozen,
                         size_t count)
{
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < manifest_state_count(s); i++) {
        view *first = NULL;
        version *v = manifest_state_version(s, i);
        rc = view_new(v, active, frozen, count, &first);
        if (rc == FIRN_OK)
            store_install_first(db->trees[v->bucket], first);
    }
    return rc;
}

static int build_views(store *db, recovery *r, const manifest_state *s, firn_error *err)
{
    mem *active = NULL;
    size_t frozen = r->count;
    int rc = FIRN_OK;
    if (!db->options.read_only) {
        wal_segment *current = wal_current_segment(db->wal);
        if (frozen && r->mems[frozen - 1]->segment == current) {
            active = r->mems[--frozen];
            mem_ref(active);
            atomic_store_explicit(&active->seq_last, FIRN_MAX_SEQ, memory_order_relaxed);
        } else {
            learn_from_last(r);
            rc = store_new_mem(db, current, firn_wal_last_seq(db->wal) + 1, &active);
        }
    }
    turn_round(r->mems, frozen);
    if (rc == FIRN_OK)
        rc = install_views(db, s, active, r->mems, frozen);
    if (rc == FIRN_OK) {
        db->active = active;
        if (active)
            store_check_share(db, active); /* of an earlier life, that had more memory */
    } else {
        error_no_memory(err);
    }
    mem_unref(active);
    return rc;
}

/* The trees that the manifest lists. Their views come when the log has been read. */
static int make_trees(store *db, const manifest_state *s, firn_error *err)
{
    unsigned limit = s->bucket_limit ? s->bucket_limit : 1;
    int rc = FIRN_OK;
    atomic_store_explicit(&db->bucket_limit, limit, memory_order_relaxed);
    for (size_t i = 0; rc == FIRN_OK && i < manifest_state_count(s); i++) {
        const bucket_state *b = i ? &s->buckets[i - 1] : NULL;
        tree *t = b ? NULL : &db->main;
        if (b)
            rc = tree_new(db, b->bucket, slice_of(b->name.bytes, b->name.size), &b->form, &t);
        mutex_lock(&db->manifest_mu);
        mutex_lock(&db->state_mu);
        if (rc == FIRN_OK)
            rc = store_list_tree(db, t);
        if (rc == FIRN_OK)
            store_learn_prefix(db, t, version_common_prefix(manifest_state_version(s, i)));
        else if (b)
            heap_free(t);
        mutex_unlock(&db->state_mu);
        mutex_unlock(&db->manifest_mu);
    }
    return rc == FIRN_OK ? FIRN_OK : error_no_memory(err);
}

/* Log what recovery cut, even when the caller asked for no report. */
static void log_report_line(void *ctx, const char *text)
{
    store_log(ctx, FIRN_LOG_WARNING, "recovery: %s", text);
}

/* A read-only opener cuts nothing off, but can say what there would be. */
static uint64_t torn_bytes(const firn_wal_report *report)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < report->count; i++)
        if (report->findings[i].kind == FIRN_WAL_TORN)
            bytes += report->findings[i].bytes;
    return bytes;
}

static void note_version(store *db, const version *v)
{
    run_bounds b;
    size_t at = 0;
    for (run r; (r = version_next_run(v, &at)).kind != RUN_NONE;)
        if (run_get_bounds(r, &b))
            note_newest(db, b.seq_max);
}

static int open_log(store *db, const folder *f, manifest_state *s, firn_error *err)
{
    wal_config config;
    firn_wal_report report;
    recovery r = {.db = db, .err = err};
    opening o = {db, f, s};
    log_config(db, s, &config);
    for (size_t i = 0; i < manifest_state_count(s); i++)
        note_version(db, manifest_state_version(s, i));
    config.accepted = settle_manifest;
    config.accepted_ctx = &o;
    firn_wal_report_init(&report);
    int rc = wal_open(db->dir, &config, &report, &db->wal, err);
    db->recovery_cut_bytes = db->options.read_only ? torn_bytes(&report) : report.cut_bytes;
    if (rc == FIRN_OK && !db->options.read_only && report.count)
        firn_wal_report_text(&report, log_report_line, db);
    firn_wal_report_release(&report);
    if (rc == FIRN_OK)
        rc = check_log_fits(db, s, err);
    if (rc == FIRN_OK)
        rc = make_trees(db, s, err);
    if (rc == FIRN_OK)
        rc = wal_recovered(db->wal, s->flushed_seq, recovery_frame, &r, err);
    for (size_t i = 0; i < r.count; i++)
        mem_charge(r.mems[i]);
    if (rc == FIRN_OK)
        rc = build_views(db, &r, s, err);
    for (size_t i = 0; i < r.count; i++)
        mem_unref(r.mems[i]);
    heap_free(r.mems);
    return rc;
}

/* ---- leftovers ---- */

typedef struct sweep {
    store *db;
    buf listed; /* numbers of tables */
    uint64_t manifest_no;
} sweep;

static int sweep_name(void *ctx, const char *name)
{
    sweep *s = ctx;
    uint64_t no = 0;
    name_kind kind = name_parse(name, &no);
    bool orphan = kind == NAME_TEMPORARY || (kind == NAME_TABLE && !folder_has(&s->listed, no)) ||
                  (kind == NAME_MANIFEST && no != s->manifest_no);
    if (orphan) {
        store_log(s->db, FIRN_LOG_INFO, "removing %s, left behind by a crash or an earlier life",
                  name);
        (void)fs_unlink(s->db->dir, name, NULL); /* stays an orphan when it cannot be removed */
    }
    return FIRN_OK;
}

static int remove_leftovers(store *db, const manifest_state *state, firn_error *err)
{
    mutex_lock(&db->manifest_mu);
    sweep s = {.db = db, .manifest_no = manifest_no(db->manifest)};
    mutex_unlock(&db->manifest_mu);
    int rc = store_check_held(db, err);
    if (rc == FIRN_OK && manifest_state_numbers(state, &s.listed) != FIRN_OK)
        rc = error_no_memory(err);
    if (rc == FIRN_OK)
        rc = fs_dir_list(db->dir, sweep_name, &s, err);
    buf_release(&s.listed);
    return rc;
}

/* ---- open ---- */

static int decide_mapping(store *db, const manifest_state *s, firn_error *err)
{
    size_t count = manifest_state_count(s);
    const version **versions = heap_alloc((count + 1) * sizeof *versions);
    if (!versions)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++)
        versions[i] = manifest_state_version(s, i);
    store_decide_mapping(db, versions, count);
    heap_free(versions);
    return FIRN_OK;
}

static int open_writing(store *db, const char *path, firn_error *err)
{
    folder f = {0};
    manifest_state s = {0};
    int rc = open_folder(db, path, err);
    if (rc == FIRN_OK)
        rc = folder_read(db->dir, &f, err);
    /* Look before leaving a lock file in another program's folder. */
    if (rc == FIRN_OK && folder_count(&f.manifests) == 0)
        rc = not_a_store(db, &f, err);
    if (rc == FIRN_OK)
        rc = folder_check_plain(db->dir, err);
    if (rc == FIRN_OK)
        rc = fs_dir_lock(db->dir, &db->lock, err);
    db->env.lock = db->lock;
    folder_release(&f);
    f = (folder){0};
    if (rc == FIRN_OK)
        rc = folder_read(db->dir, &f, err);
    if (rc != FIRN_OK)
        goto done;
    if (folder_count(&f.manifests)) {
        if (db->options.error_if_exists) {
            rc = error_file(err, FIRN_INVALID, path, FIRN_NO_OFFSET, "there is a store already");
            goto done;
        }
        rc = load_manifest(db, &f, &s, err);
        if (rc == FIRN_OK)
            rc = check_log_exists(db, &f, err);
    } else {
        /* A folder that was there may be another program's work, and not on the disk yet: then a
         * power cut would take it, and all that we put into it. */
        rc = fs_dir_make(db->fs, path, err);
        if (rc == FIRN_OK)
            rc = new_state(db, &s, err);
        if (rc == FIRN_OK && f.log_files) {
            wal_config look;
            log_config(db, &s, &look);
            memset(look.store_id, 0, sizeof look.store_id);
            rc = clear_empty_log(db, &look, err);
        }
    }
    if (rc == FIRN_OK)
        store_number_files(db, &f, s.next_file_no);
    if (rc == FIRN_OK)
        rc = store_check_file_no(db, err);
    if (rc == FIRN_OK)
        rc = open_log(db, &f, &s, err);
    if (rc == FIRN_OK)
        rc = open_manifest(db, &s, err);
    if (rc == FIRN_OK)
        rc = remove_leftovers(db, &s, err);
    if (rc == FIRN_OK)
        rc = decide_mapping(db, &s, err);
    if (rc == FIRN_OK)
        rc = workers_start(db, err);
done:
    manifest_state_release(&s);
    folder_release(&f);
    return rc;
}

/* Opens every table now: a writer beside us may remove the files at any time, but not what we hold
 * open. */
static int open_all_tables(const manifest_state *s, firn_error *err)
{
    int rc = FIRN_OK;
    for (size_t i = 0; i < manifest_state_count(s); i++) {
        const version *v = manifest_state_version(s, i);
        size_t at = 0;
        for (run r; rc == FIRN_OK && (r = version_next_run(v, &at)).kind != RUN_NONE;)
            rc = run_open(r, err);
    }
    return rc;
}

static int try_reading(store *db, firn_error *err)
{
    folder f = {0};
    manifest_state s = {0};
    int rc = folder_read(db->dir, &f, err);
    if (rc == FIRN_OK && folder_count(&f.manifests) == 0)
        rc = not_a_store(db, &f, err);
    if (rc == FIRN_OK)
        rc = load_manifest(db, &f, &s, err);
    atomic_store_explicit(&db->manifest_bytes, s.file_bytes, memory_order_relaxed);
    if (rc == FIRN_OK)
        rc = check_log_exists(db, &f, err);
    if (rc == FIRN_OK)
        rc = decide_mapping(db, &s, err);
    if (rc == FIRN_OK)
        rc = open_all_tables(&s, err);
    if (rc == FIRN_OK)
        rc = open_log(db, &f, &s, err);
    manifest_state_release(&s);
    folder_release(&f);
    return rc;
}

/* Beside a writer, files come and go while we look. What does not fit together then means nothing,
 * and we look again; a store that no process changes fails at once. */
static int open_reading(store *db, const char *path, firn_error *err)
{
    firn_error found;
    int rc = open_folder(db, path, err);
    if (rc != FIRN_OK)
        return rc;
    folder_look l = folder_look_at(db->dir);
    do {
        error_clear(&found);
        db->recovered_entries = 0;
        atomic_store_explicit(&db->newest_seq, 0, memory_order_relaxed);
        (void)look_begin(&l, NULL); /* what cannot be read, the reading itself says */
        rc = try_reading(db, &found);
        if (rc == FIRN_OK)
            return FIRN_OK;
        store_drop_views(db);
        firn_wal_close(db->wal, NULL);
        db->wal = NULL;
    } while (look_again(&l));
    return error_give(err, rc, &found);
}

int engine_open(const char *path, const firn_options *options, const engine_config *config,
                firn **out, firn_error *err)
{
    if (out)
        *out = NULL;
    if (!path || !out)
        return error_set(err, FIRN_INVALID, "%s",
                         path ? "there is nowhere to put the handle" : "the path is NULL");
    store *db = NULL;
    firn_error why;
    int rc = handle_new(options, config, &db, err);
    if (rc != FIRN_OK)
        return rc;
    error_clear(&why);
    rc = db->options.read_only ? open_reading(db, path, &why) : open_writing(db, path, &why);
    if (rc != FIRN_OK) {
        workers_stop(db);
        store_drop_views(db);
        firn_wal_close(db->wal, NULL);
        handle_free(db);
        (void)store_hint_repair(rc, &why);
        return error_give(err, rc, &why);
    }
    *out = &db->main;
    return FIRN_OK;
}

int firn_open(const char *path, const firn_options *options, firn **out, firn_error *error)
{
    return engine_open(path, options, NULL, out, error);
}

const char *firn_version(void)
{
    return FIRN_VERSION;
}
