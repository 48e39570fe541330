/* tree: how buckets begin and end (tree.h). Their views are replaced in views.c. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>
#include <inttypes.h>
#include <string.h>

#include <store/store.h>

int tree_new(store *db, uint16_t bucket, firn_slice name, const bucket_form *form, tree **out)
{
    tree *t = heap_aligned(_Alignof(tree), sizeof *t);
    if (!t)
        return FIRN_NO_MEMORY;
    memset(t, 0, sizeof *t);
    t->store = db;
    t->bucket = bucket;
    bucket_name_set(&t->name, name);
    t->form = *form;
    *out = t;
    return FIRN_OK;
}

static tree *tree_of(bucket_name *n)
{
    return n ? (tree *)(void *)((char *)n - offsetof(tree, name)) : NULL;
}

static tree *find(store *db, firn_slice name) REQUIRES(db->state_mu)
{
    return tree_of(by_name_find(&db->names, name));
}

bool tree_next_name(store *db, firn_slice after, char next[TREE_NAME_MAX + 1])
{
    bool found = false;
    mutex_lock(&db->state_mu);
    for (size_t i = by_name_from(&db->names, after); i < db->names.count && !found; i++) {
        const bucket_name *n = db->names.at[i];
        found = !tree_of(db->names.at[i])->pending &&
                slice_compare(slice_of(n->bytes, n->size), after) > 0;
        if (found)
            memcpy(next, n->bytes, sizeof n->bytes);
    }
    mutex_unlock(&db->state_mu);
    return found;
}

int tree_dropped(const tree *t, firn_error *err)
{
    error_set(err, FIRN_DROPPED, "the bucket %s has been dropped", t->name.bytes);
    error_hint(err, "close the handle");
    return FIRN_DROPPED;
}

/* What was refused before anything was written stops no background work. */
static void note_commit(store *db, int rc, const firn_error *later, const firn_error *err)
{
    bool refused = rc == FIRN_TOO_LARGE || rc == FIRN_READ_ONLY;
    store_note_commit(db, refused ? FIRN_OK : rc, later, err);
}

/* A handle more of a bucket that readers find; NULL: there is none. */
static tree *take_handle(store *db, firn_slice name)
{
    mutex_lock(&db->state_mu);
    tree *t = find(db, name);
    if (t && t->pending)
        t = NULL;
    if (t && t->bucket) {
        t->handles++;
        db->handles++;
    }
    mutex_unlock(&db->state_mu);
    return t;
}

static int check_new(const store *db, firn_error *err) REQUIRES(db->manifest_mu)
{
    if (db->options.read_only)
        return store_read_only(err);
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
static int join(store *db, tree *t) REQUIRES(db->manifest_mu)
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
    if (rc == FIRN_OK)
        rc = store_list_tree(db, t);
    if (rc == FIRN_OK) {
        t->pending = true;
        atomic_store_explicit(&t->view, first, memory_order_release);
        first = NULL;
        atomic_store_explicit(&db->bucket_limit, t->bucket + 1U, memory_order_relaxed);
    }
    mutex_unlock(&db->state_mu);
    view_unref(first);
    version_unref(empty);
    return rc;
}

/* No view of it is made any more. Readers may still look at the last one. Its edit has counted its
 * level 0 with the others: writers that waited for that go on. */
static void part_with(store *db, tree *t) REQUIRES(db->manifest_mu)
{
    mutex_lock(&db->state_mu);
    view *last = atomic_exchange_explicit(&t->view, NULL, memory_order_seq_cst);
    last->next_retired = db->retired;
    db->retired = last;
    store_unlist_tree(db, t);
    store_tell_replaced(db);
    mutex_unlock(&db->state_mu);
}

/* A bucket of a name that no other has. A handle of it is out. */
static int create(store *db, firn_slice name, const bucket_form *form, tree **out,
                  firn_error *later, firn_error *err) REQUIRES(db->manifest_mu)
{
    tree *t = NULL;
    int rc = check_new(db, err);
    if (rc != FIRN_OK)
        return rc;
    uint16_t bucket = (uint16_t)atomic_load_explicit(&db->bucket_limit, memory_order_relaxed);
    if (tree_new(db, bucket, name, form, &t) != FIRN_OK || join(db, t) != FIRN_OK) {
        heap_free(t);
        return error_no_memory(err);
    }
    edit e = {.create = t};
    rc = store_commit_held(db, &e, NULL, later, err);
    if (rc != FIRN_OK) {
        part_with(db, t);
        if (error_curable(rc) || rc == FIRN_TOO_LARGE) /* nothing was written: it is free */
            atomic_store_explicit(&db->bucket_limit, bucket, memory_order_relaxed);
        heap_free(t); /* no reader has found it */
        return rc;
    }
    mutex_lock(&db->state_mu);
    t->pending = false;
    t->handles++;
    db->handles++;
    mutex_unlock(&db->state_mu);
    *out = t;
    return FIRN_OK;
}

static int already_there(firn_error *err)
{
    error_set(err, FIRN_INVALID, "there is a bucket of that name");
    error_hint(err, "open it without error_if_exists");
    return FIRN_INVALID;
}

int tree_open(store *db, firn_slice name, tree_wish wish, const bucket_form *form, tree **out,
              firn_error *err)
{
    firn_error local = {0}, later = {0};
    tree *t = wish == TREE_NEW ? NULL : take_handle(db, name);
    if (!err)
        err = &local;
    *out = t;
    if (t)
        return FIRN_OK;
    if (wish == TREE_THERE) {
        error_set(err, FIRN_NOT_FOUND, "there is no bucket of that name");
        error_hint(err, "set the option create to make it");
        return FIRN_NOT_FOUND;
    }
    patience p = {0};
    patience_lock(&p, &db->waits, FIRN_WAIT_BACKGROUND, &db->manifest_mu);
    mutex_lock(&db->state_mu);
    bool taken = find(db, name) != NULL; /* by now: no other call makes one while we hold this */
    mutex_unlock(&db->state_mu);
    int rc = FIRN_OK, commit = FIRN_OK;
    if (!taken)
        rc = commit = create(db, name, form, out, &later, err);
    else if (wish == TREE_NEW)
        rc = already_there(err);
    else
        *out = take_handle(db, name);
    mutex_unlock(&db->manifest_mu);
    patience_end(&p);
    note_commit(db, commit, &later, err);
    store_reap(db);
    return rc;
}

bucket_form tree_form(tree *t)
{
    mutex_lock(&t->store->state_mu);
    bucket_form form = t->form;
    mutex_unlock(&t->store->state_mu);
    return form;
}

int tree_reform(tree *t, const bucket_form *form, firn_error *err)
{
    store *db = t->store;
    firn_error local = {0}, later = {0};
    if (!err)
        err = &local;
    patience p = {0};
    patience_lock(&p, &db->waits, FIRN_WAIT_BACKGROUND, &db->manifest_mu);
    bool dropped = tree_is_dropped(t);
    edit e = {.reform = t, .form = *form};
    int rc = dropped ? tree_dropped(t, err) : store_commit_held(db, &e, NULL, &later, err);
    if (rc == FIRN_OK) {
        mutex_lock(&db->state_mu);
        t->form = *form;
        mutex_unlock(&db->state_mu);
    }
    mutex_unlock(&db->manifest_mu);
    patience_end(&p);
    if (!dropped)
        note_commit(db, rc, &later, err);
    return rc;
}

void tree_hold(tree *t)
{
    store *db = t->store;
    if (t->bucket == 0)
        return;
    mutex_lock(&db->state_mu);
    t->holds++;
    mutex_unlock(&db->state_mu);
}

/* Dropped, and needed by nothing any more? */
static bool is_gone(const store *db, const tree *t) REQUIRES(db->state_mu)
{
    return t->handles == 0 && t->holds == 0 && store_tree(db, t->bucket) != t;
}

void tree_let_go(tree *t)
{
    store *db = t->store;
    if (t->bucket == 0)
        return;
    mutex_lock(&db->state_mu);
    t->holds--;
    bool gone = is_gone(db, t);
    mutex_unlock(&db->state_mu);
    if (gone)
        heap_free(t);
}

int tree_close(tree *t, firn_error *err)
{
    store *db = t->store;
    mutex_lock(&db->state_mu);
    if (t->handles == 0) { /* of one that is there: of any other, nothing is left to look at */
        mutex_unlock(&db->state_mu);
        return error_set(err, FIRN_INVALID, "the bucket's handle is closed already");
    }
    uint64_t iterators = atomic_load_explicit(&t->iterators, memory_order_acquire);
    bool last = t->handles == 1, gone = false;
    if (!last || iterators == 0) {
        t->handles--;
        db->handles--;
        gone = is_gone(db, t);
        iterators = 0;
    }
    mutex_unlock(&db->state_mu);
    if (gone)
        heap_free(t);
    if (iterators == 0)
        return FIRN_OK;
    error_set(err, FIRN_INVALID, "the bucket %s stays open: not given back are iterators: %" PRIu64,
              t->name.bytes, iterators);
    error_hint(err, "call firn_iter_free for each, then firn_close again");
    return FIRN_INVALID;
}

/* Jobs of the tree end, and none begins. */
static void stop_jobs(store *db, tree *t)
{
    patience p = {0};
    mutex_lock(&db->jobs_mu);
    t->ending++;
    cond_broadcast(&db->jobs_changed); /* a caller that waits in it goes */
    while (t->held) {
        patience_begin(&p, &db->waits, FIRN_WAIT_COMPACTION);
        patience_wait(&p, &db->jobs_changed, &db->jobs_mu,
                      "until compactions of the bucket that it drops have ended");
    }
    mutex_unlock(&db->jobs_mu);
    patience_end(&p);
}

/* Those that waited to compact the bucket see that it is gone. */
static void wake_callers(store *db)
{
    mutex_lock(&db->jobs_mu);
    cond_broadcast(&db->jobs_changed);
    mutex_unlock(&db->jobs_mu);
}

/* The drop has failed. What had become due meanwhile was looked for in vain. */
static void go_on_with_jobs(store *db, tree *t)
{
    mutex_lock(&db->jobs_mu);
    t->ending--;
    cond_broadcast(&db->jobs_changed);
    mutex_unlock(&db->jobs_mu);
    store_ring(db);
}

static void make_obsolete(const version *v)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++)
            atomic_store_explicit(&v->levels[n].tables[i]->obsolete, true, memory_order_release);
}

int tree_drop(tree *t, firn_error *err)
{
    store *db = t->store;
    firn_error local = {0}, later = {0};
    if (!err)
        err = &local;
    stop_jobs(db, t);
    /* No flush puts a table into it meanwhile. */
    patience p[2] = {0};
    patience_lock(&p[0], &db->waits, FIRN_WAIT_BACKGROUND, &db->flush_mu);
    patience_lock(&p[1], &db->waits, FIRN_WAIT_BACKGROUND, &db->manifest_mu);
    view *last = tree_view(t);
    int rc = FIRN_OK;
    if (last) {
        edit e = {.drop = t};
        rc = store_commit_held(db, &e, NULL, &later, err);
    }
    if (last && rc == FIRN_OK) {
        make_obsolete(last->version);
        part_with(db, t);
    }
    mutex_unlock(&db->manifest_mu);
    mutex_unlock(&db->flush_mu);
    patience_end(&p[0]);
    patience_end(&p[1]);
    if (!last) { /* another call has dropped it meanwhile */
        wake_callers(db);
        return tree_dropped(t, err);
    }
    note_commit(db, rc, &later, err);
    view_unref(last);
    if (rc != FIRN_OK)
        go_on_with_jobs(db, t);
    else
        wake_callers(db);
    store_reap(db);
    return rc;
}
