/* tree: how buckets begin and end (tree.h). Their views are replaced in views.c. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>
#include <string.h>

#include <store/store.h>

int tree_new(firn *db, uint8_t bucket, firn_slice name, tree **out)
{
    tree *t = heap_aligned(_Alignof(tree), sizeof *t);
    if (!t)
        return FIRN_NO_MEMORY;
    memset(t, 0, sizeof *t);
    t->db = db;
    t->bucket = bucket;
    t->name_size = name.size;
    memcpy(t->name, name.data, name.size);
    *out = t;
    return FIRN_OK;
}

static tree *find(firn *db, firn_slice name) REQUIRES(db->state_mu)
{
    for (tree *t = NULL; (t = store_next_tree(db, t));)
        if (slice_equal(slice_of(t->name, t->name_size), name))
            return t;
    return NULL;
}

tree *tree_find(firn *db, firn_slice name)
{
    mutex_lock(&db->state_mu);
    tree *t = find(db, name);
    if (t && t->pending)
        t = NULL;
    mutex_unlock(&db->state_mu);
    return t;
}

static int check_new(firn *db, firn_slice name, firn_error *err) REQUIRES(db->manifest_mu)
{
    if (db->options.read_only) {
        error_set(err, FIRN_READ_ONLY, "the store was opened for reading only");
        error_hint(err, "open it without read_only");
        return FIRN_READ_ONLY;
    }
    if (name.size == 0 || name.size > TREE_NAME_MAX)
        return error_set(err, FIRN_INVALID, "the name of a bucket has 1 to %d bytes, not %zu",
                         TREE_NAME_MAX, name.size);
    mutex_lock(&db->state_mu);
    bool taken = find(db, name) != NULL;
    mutex_unlock(&db->state_mu);
    if (taken)
        return error_set(err, FIRN_INVALID, "there is a bucket of that name");
    if (atomic_load_explicit(&db->bucket_limit, memory_order_relaxed) >= TREES_MAX) {
        error_set(err, FIRN_TOO_LARGE, "the store has used up its %d numbers of buckets",
                  TREES_MAX);
        error_hint(err, "copy what is in it to a new store, bucket by bucket");
        return FIRN_TOO_LARGE;
    }
    return FIRN_OK;
}

/* The tree joins those whose views are kept (T2), before its record is written: so nothing can fail
 * behind that. */
static int join(firn *db, tree *t) REQUIRES(db->manifest_mu)
{
    version *empty = NULL;
    view *first = NULL;
    int rc = version_new_empty(&empty);
    if (rc != FIRN_OK)
        return rc;
    empty->bucket = t->bucket;
    mutex_lock(&db->state_mu);
    const view *v = atomic_load_explicit(&db->main.view, memory_order_relaxed);
    rc = view_new(empty, v->active, v->frozen, v->frozen_count, &first);
    if (rc == FIRN_OK) {
        t->pending = true;
        atomic_init(&t->view, first);
        db->trees[t->bucket] = t;
        atomic_store_explicit(&db->bucket_limit, t->bucket + 1U, memory_order_relaxed);
    }
    mutex_unlock(&db->state_mu);
    version_unref(empty);
    return rc;
}

/* No view of it is made any more. Readers may still look at the last one. Its edit has counted its
 * level 0 with the others: writers that waited for that go on. */
static void part_with(firn *db, tree *t) REQUIRES(db->manifest_mu)
{
    mutex_lock(&db->state_mu);
    view *last = atomic_load_explicit(&t->view, memory_order_relaxed);
    last->next_retired = db->retired;
    db->retired = last;
    db->trees[t->bucket] = NULL;
    store_tell_replaced(db);
    mutex_unlock(&db->state_mu);
}

int tree_create(firn *db, firn_slice name, tree **out, firn_error *err)
{
    tree *t = NULL;
    firn_error local = {0}, later = {0};
    if (!err)
        err = &local;
    patience p = {0};
    patience_lock(&p, &db->waits, FIRN_WAIT_BACKGROUND, &db->manifest_mu);
    int rc = check_new(db, name, err);
    uint8_t bucket = (uint8_t)atomic_load_explicit(&db->bucket_limit, memory_order_relaxed);
    if (rc == FIRN_OK && (tree_new(db, bucket, name, &t) != FIRN_OK || join(db, t) != FIRN_OK)) {
        heap_free(t);
        t = NULL;
        rc = error_no_memory(err);
    }
    if (t) {
        edit e = {.create = t};
        rc = store_commit_held(db, &e, NULL, &later, err);
        if (rc != FIRN_OK) {
            part_with(db, t);
            if (error_curable(rc)) /* nothing was written: the number is free */
                atomic_store_explicit(&db->bucket_limit, bucket, memory_order_relaxed);
        }
    }
    if (t && rc == FIRN_OK) {
        mutex_lock(&db->state_mu);
        t->pending = false;
        mutex_unlock(&db->state_mu);
    }
    mutex_unlock(&db->manifest_mu);
    patience_end(&p);
    store_note_commit(
        db, rc == FIRN_INVALID || rc == FIRN_TOO_LARGE || rc == FIRN_READ_ONLY ? FIRN_OK : rc,
        &later, err);
    store_reap(db);
    if (rc != FIRN_OK)
        heap_free(t);
    else
        *out = t;
    return rc;
}

/* Jobs of the tree end, and none begins. */
static void stop_jobs(firn *db, tree *t)
{
    patience p = {0};
    mutex_lock(&db->jobs_mu);
    t->ending = true;
    cond_broadcast(&db->jobs_changed); /* a caller that waits in it goes */
    while (t->held) {
        patience_begin(&p, &db->waits, FIRN_WAIT_COMPACTION);
        patience_wait(&p, &db->jobs_changed, &db->jobs_mu,
                      "until compactions of the bucket that it drops have ended");
    }
    mutex_unlock(&db->jobs_mu);
    patience_end(&p);
}

static void go_on_with_jobs(firn *db, tree *t)
{
    mutex_lock(&db->jobs_mu);
    t->ending = false;
    mutex_unlock(&db->jobs_mu);
}

static void make_obsolete(const version *v)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++)
            atomic_store_explicit(&v->levels[n].tables[i]->obsolete, true, memory_order_release);
}

int tree_drop(firn *db, tree *t, firn_error *err)
{
    firn_error local = {0}, later = {0};
    if (!err)
        err = &local;
    if (t->bucket == 0)
        return error_set(err, FIRN_INVALID, "the default bucket stays");
    stop_jobs(db, t);
    /* No flush puts a table into it meanwhile. */
    patience p[2] = {0};
    patience_lock(&p[0], &db->waits, FIRN_WAIT_BACKGROUND, &db->flush_mu);
    patience_lock(&p[1], &db->waits, FIRN_WAIT_BACKGROUND, &db->manifest_mu);
    edit e = {.drop = t};
    int rc = store_commit_held(db, &e, NULL, &later, err);
    view *last = rc == FIRN_OK ? tree_view(t) : NULL;
    if (last) {
        make_obsolete(last->version);
        part_with(db, t);
    }
    mutex_unlock(&db->manifest_mu);
    mutex_unlock(&db->flush_mu);
    patience_end(&p[0]);
    patience_end(&p[1]);
    store_note_commit(db, rc, &later, err);
    if (!last) {
        go_on_with_jobs(db, t);
        return rc;
    }
    view_unref(last);
    store_reap(db);
    readers_wait(&db->readers); /* a reader that found the tree's view may be looking still */
    heap_free(t);
    return FIRN_OK;
}
