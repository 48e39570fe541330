/* edits: what changes the set of tables goes into the manifest, and then into the view. One at a
 * time, under manifest_mu. */
#include <base/alloc.h>
#include <base/error.h>
#include <inttypes.h>
#include <string.h>

#include <tree/names.h>
#include <store/store.h>
#include <tree/version_build.h>

uint64_t store_next_file_no(store *db)
{
    return atomic_fetch_add_explicit(&db->next_file_no, 1, memory_order_relaxed);
}

int store_check_held(store *db, firn_error *err)
{
    return fs_dir_held(db->dir, db->lock, err);
}

/* All buckets and their versions. */
static int take_state(store *db, manifest_state *s) REQUIRES(db->manifest_mu)
{
    int rc = FIRN_OK;
    s->bucket_limit = atomic_load_explicit(&db->bucket_limit, memory_order_relaxed);
    for (tree *t = NULL; rc == FIRN_OK && (t = store_next_tree(db, t));) {
        if (t->pending) { /* the last one: its record gives its number out */
            s->bucket_limit = t->bucket;
            continue;
        }
        view *v = tree_view(t);
        if (t->bucket == 0) {
            s->version = v->version;
            version_ref(s->version);
        } else {
            rc = manifest_state_add(s, t->bucket, slice_of(t->name.bytes, t->name.size), &t->form,
                                    v->version);
        }
        view_unref(v);
    }
    return rc;
}

/* A manifest only grows. When it has grown large, or is an earlier life's, it is replaced by one
 * that holds nothing but the present state. Failing before the new one has its name changes
 * nothing; failing behind that, it is unknown which of the two the next open finds, so neither may
 * get another edit. */
static int renew_manifest(store *db, firn_error *err) REQUIRES(db->manifest_mu)
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
    int rc = take_state(db, &s);
    rc = rc == FIRN_OK ? manifest_create(db->dir, no, &s, &fresh, err) : error_no_memory(err);
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

/* The versions stay while we hold manifest_mu, the only lock under which they are replaced. Without
 * memory, tables are mapped and read as before. */
static void decide_mapping(store *db) REQUIRES(db->manifest_mu)
{
    size_t count = 0;
    for (tree *t = NULL; (t = store_next_tree(db, t));)
        count++;
    const version *few[8], **versions = few;
    if (count > sizeof few / sizeof *few)
        versions = heap_alloc(count * sizeof *versions);
    if (!versions)
        return;
    count = 0;
    for (tree *t = NULL; (t = store_next_tree(db, t));) {
        view *v = tree_view(t);
        versions[count++] = v->version;
        view_unref(v);
    }
    store_decide_mapping(db, versions, count);
    if (versions != few)
        heap_free(versions);
}

/* Of a bucket that is not there, no edit may speak: opening would refuse the manifest. */
static int note_changed(store *db, unsigned bucket, tree **changed, firn_error *err)
    REQUIRES(db->manifest_mu)
{
    tree *t = store_tree(db, bucket);
    if (!t)
        return error_set(err, FIRN_DROPPED, "the edit is about a bucket that has been dropped");
    if (!t->changed) {
        t->changed = true;
        t->next_changed = *changed;
        *changed = t;
    }
    return FIRN_OK;
}

/* The versions that an edit makes of the present ones, of the trees that it changes. An edit that
 * makes no version of a store is not written: opening would refuse the manifest. Another process
 * may have changed what a merge has read. */
static int make_versions(store *db, const edit *e, tree **changed, firn_error *err)
    REQUIRES(db->manifest_mu)
{
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < e->added_count; i++)
        rc = note_changed(db, e->added[i].table->bucket, changed, err);
    for (size_t i = 0; rc == FIRN_OK && i < e->dropped_count; i++)
        rc = note_changed(db, e->dropped[i].table->bucket, changed, err);
    for (tree *t = *changed; rc == FIRN_OK && t; t = t->next_changed) {
        view *v = tree_view(t);
        rc = version_apply(v->version, e, &t->next_version, err);
        if (rc == FIRN_DAMAGED)
            rc = refuse_order(db->dir->path, err);
        view_unref(v);
    }
    return rc;
}

static void forget_changed(tree *changed)
{
    for (tree *next, *t = changed; t; t = next) {
        next = t->next_changed;
        version_unref(t->next_version);
        t->next_version = NULL;
        t->next_changed = NULL;
        t->changed = false;
    }
}

/* An edit that is durable cannot be taken back, so nothing behind its commit may fail: what the new
 * view takes is reserved before. */
static int write_edit(store *db, const edit *e, mem *flushed, tree *changed, firn_error *err)
    REQUIRES(db->manifest_mu)
{
    int rc = store_check_held(db, err);
    if (rc != FIRN_OK)
        return rc;
    if (store_reserve(db, flushed, changed) != FIRN_OK)
        return error_no_memory(err);
    rc = manifest_write(db->manifest, e, err);
    if (rc != FIRN_OK) {
        store_unreserve(db, flushed, changed);
        return rc;
    }
    if (e->flushed_seq)
        atomic_store_explicit(&db->flushed_seq, e->flushed_seq, memory_order_release);
    if (e->covered_no)
        db->covered_no = e->covered_no;
    store_install_versions(db, flushed, changed);
    for (size_t i = 0; i < e->added_count; i++)
        table_set_level(e->added[i].table, e->added[i].level);
    if (changed)
        decide_mapping(db);
    if (db->installed)
        db->installed(db->installed_ctx, &db->main, e);
    return FIRN_OK;
}

/* The next open would not take a manifest with a greater number than FILE_NO_MAX. */
int store_check_file_no(const store *db, firn_error *err)
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
static int replace_worn(store *db, firn_error *err) REQUIRES(db->manifest_mu)
{
    if (!manifest_is_worn(db->manifest))
        return FIRN_OK;
    int rc = renew_manifest(db, err);
    return rc == FIRN_OK && manifest_is_worn(db->manifest) ? err->status : rc;
}

void store_note_manifest(store *db)
{
    if (db->manifest)
        atomic_store_explicit(&db->manifest_bytes, manifest_bytes(db->manifest),
                              memory_order_relaxed);
}

int store_commit_held(store *db, edit *e, mem *flushed, firn_error *later, firn_error *err)
{
    tree *changed = NULL;
    later->status = FIRN_OK;
    /* manifest_mu makes us the only thread that replaces versions, so the current ones stay
     * current. */
    int rc = replace_worn(db, err);
    e->next_file_no = atomic_load_explicit(&db->next_file_no, memory_order_relaxed);
    if (rc == FIRN_OK)
        rc = store_check_file_no(db, err);
    if (rc == FIRN_OK)
        rc = make_versions(db, e, &changed, err);
    if (rc == FIRN_OK)
        rc = write_edit(db, e, flushed, changed, err);
    if (rc == FIRN_OK && !e->create && !e->drop && !e->reform)
        later->status = renew_manifest(db, later); /* the edit stands, whatever becomes of it */
    store_note_manifest(db);
    forget_changed(changed);
    return rc;
}

void store_note_commit(store *db, int rc, const firn_error *later, const firn_error *err)
{
    /* A failed manifest stops background work, no matter which caller wrote the edit. */
    if (rc != FIRN_OK && !error_curable(rc))
        store_background_error(db, WORK_FLUSH, rc, err);
    if (later->status != FIRN_OK)
        store_background_error(db, WORK_FLUSH, FIRN_IO, later);
}

int store_commit_edit(store *db, edit *e, mem *flushed, firn_error *err)
{
    firn_error local = {0}, later = {0};
    if (!err)
        err = &local;
    patience p = {0};
    patience_lock(&p, &db->waits, FIRN_WAIT_BACKGROUND, &db->manifest_mu);
    int rc = store_commit_held(db, e, flushed, &later, err);
    mutex_unlock(&db->manifest_mu);
    patience_end(&p);
    store_note_commit(db, rc, &later, err);
    return rc;
}

static void add_work(_Atomic uint64_t *sum, uint64_t more)
{
    atomic_fetch_add_explicit(sum, more, memory_order_relaxed);
}

/* Of a flush each table is one of its own bucket. */
void store_note_work(store *db, const edit *e, unsigned to)
{
    const tree *last = NULL;
    mutex_lock(&db->state_mu);
    for (size_t i = 0; i < e->added_count; i++) {
        tree *t = store_tree(db, e->added[i].table->bucket);
        if (!t)
            continue;
        add_work(&t->work.written[to], e->added[i].table->properties.file_bytes);
        add_work(&t->work.jobs[to], t != last);
        last = t;
    }
    for (size_t i = 0; i < e->dropped_count; i++) {
        tree *t = store_tree(db, e->dropped[i].table->bucket);
        if (!t)
            continue;
        add_work(&t->work.read[to], e->dropped[i].table->properties.file_bytes);
        add_work(&t->work.jobs[to], t != last);
        last = t;
    }
    mutex_unlock(&db->state_mu);
}
