/* apply: writes with conditions.
 *
 * The conditions are looked at without holding anything up, at a number. The write then leads a
 * group of its own, and asks first whether any of their keys may have been written behind that
 * number (guard.c). If so, it is refused, and they are looked at again: only a condition that does
 * not hold is a conflict, and each round means that another write has succeeded. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>
#include <stdio.h>

#include "reading.h"
#include <commit/commit.h>
#include <store/store.h>

typedef struct condition {
    firn_op op;   /* its bucket is named */
    size_t index; /* among all operations */
    view *view;   /* while it is looked at */
} condition;

typedef struct application {
    tree *t;
    firn_batch *batch; /* what is written */
    condition *conditions;
    guarded *keys; /* theirs */
    size_t count;
    uint64_t seq, flushed; /* as in commit_guard */
    size_t which;          /* operation is looked at; NONE: what fails is of all */
} application;

#define NONE SIZE_MAX

/* The beginning of the key, with what is not plain text as \xHH. */
static void show_key(firn_slice key, char *text, size_t size)
{
    size_t at = 0, i = 0;
    for (; i < key.size && at + 8 < size; i++) {
        uint8_t c = key.data[i];
        bool plain = c > ' ' && c < 0x7f && c != '\\';
        at += (size_t)snprintf(text + at, size - at, plain ? "%c" : "\\x%02x", c);
    }
    snprintf(text + at, size - at, "%s", i < key.size ? "..." : "");
}

static int conflict(const condition *c, const char *what, firn_error *err)
{
    char key[80];
    show_key(c->op.key, key, sizeof key);
    return error_set(err, FIRN_CONFLICT, "the key \"%s\" %s", key, what);
}

static int look_at(const condition *c, uint64_t seq, firn_error *err)
{
    lookup l = {.key = slice_somewhere(c->op.key), .at = {.seq = seq}};
    run_hit hit;
    bool absent = c->op.kind == FIRN_OP_IF_ABSENT;
    int rc = read_in_view(c->view, &l, &hit, err);
    if (rc == FIRN_NOT_FOUND)
        return absent ? FIRN_OK : conflict(c, "is not there", err);
    if (rc != FIRN_OK)
        return rc;
    bool same = c->op.kind != FIRN_OP_IF_VALUE || slice_equal(hit.value, c->op.value);
    run_drop(&hit);
    if (absent)
        return conflict(c, "is there", err);
    return same ? FIRN_OK : conflict(c, "has another value", err);
}

/* All at one number, which is loaded behind their views (read.c). */
static int look_at_all(application *a, firn_error *err)
{
    int rc = FIRN_OK;
    a->flushed = atomic_load_explicit(&a->t->store->flushed_seq, memory_order_seq_cst);
    for (size_t i = 0; rc == FIRN_OK && i < a->count; i++) {
        condition *c = &a->conditions[i];
        a->which = c->index;
        c->view = tree_view(c->op.bucket);
        rc = c->view ? FIRN_OK : tree_dropped(c->op.bucket, err);
        a->keys[i] = (guarded){c->op.bucket, c->op.key};
    }
    a->seq = atomic_load_explicit(&a->t->store->visible_seq, memory_order_acquire);
    for (size_t i = 0; rc == FIRN_OK && i < a->count; i++) {
        a->which = a->conditions[i].index;
        rc = look_at(&a->conditions[i], a->seq, err);
    }
    for (size_t i = 0; i < a->count; i++) {
        view_unref(a->conditions[i].view);
        a->conditions[i].view = NULL;
    }
    return rc;
}

static int add_condition(application *a, const firn_op *o, firn_error *err)
{
    store *db;
    condition *c = &a->conditions[a->count];
    *c = (condition){.op = *o, .index = a->which};
    if (!o->bucket)
        c->op.bucket = a->t;
    int rc = store_of(c->op.bucket, &db, err);
    if (rc == FIRN_OK && db != a->t->store)
        rc = error_set(err, FIRN_INVALID, "the bucket is of another store");
    a->count += rc == FIRN_OK;
    return rc;
}

static int take_all(application *a, const firn_op *ops, size_t count, firn_error *err)
{
    int rc = FIRN_OK;
    size_t stride = count ? ops->size : 0;
    for (size_t i = 0; rc == FIRN_OK && i < count; i++) {
        firn_op o;
        a->which = i;
        rc = op_take(op_at(ops, stride, i), stride, &o, err);
        if (rc == FIRN_OK)
            rc = op_is_condition(&o) ? add_condition(a, &o, err) : op_add(a->batch, &o, a->t, err);
    }
    return rc;
}

/* One round. FIRN_CONFLICT with no operation in `which`: the next one tells. */
static int try_once(application *a, const firn_write_options *options, uint64_t *seq,
                    firn_error *err)
{
    int rc = look_at_all(a, err);
    if (rc != FIRN_OK)
        return rc;
    a->which = NONE;
    if (a->count && firn_batch_count(a->batch) == 0) {
        if (seq)
            *seq = a->seq;
        return FIRN_OK;
    }
    const commit_guard guard = {a->keys, a->count, a->seq, a->flushed};
    return commit_batch(a->t, a->batch, options, a->count ? &guard : NULL, seq, err);
}

static int carry_out(application *a, const firn_write_options *options, uint64_t *seq,
                     firn_error *err)
{
    int rc;
    do {
        error_clear(err);
        rc = try_once(a, options, seq, err);
    } while (rc == FIRN_CONFLICT && a->which == NONE);
    return rc;
}

static int begin(application *a, size_t count, firn_error *err)
{
    a->conditions = heap_alloc((count + 1) * sizeof *a->conditions);
    a->keys = heap_alloc((count + 1) * sizeof *a->keys);
    if (!a->conditions || !a->keys || firn_batch_new(&a->batch) != FIRN_OK)
        return error_no_memory(err);
    return FIRN_OK;
}

static void end(application *a)
{
    firn_batch_free(a->batch);
    heap_free(a->conditions);
    heap_free(a->keys);
}

int firn_apply(tree *t, const firn_op *ops, size_t count, const firn_write_options *options,
               uint64_t *seq, firn_error *error)
{
    store *db;
    firn_error why;
    application a = {.t = t, .which = NONE};
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && !ops && count)
        rc = error_set(error, FIRN_INVALID, "the operations are NULL");
    if (rc == FIRN_OK && count > UINT32_MAX)
        rc = error_set(error, FIRN_TOO_LARGE, "there are too many operations");
    if (rc == FIRN_OK && db->options.read_only)
        rc = store_read_only(error);
    if (rc != FIRN_OK)
        return rc;
    error_clear(&why);
    rc = begin(&a, count, &why);
    if (rc == FIRN_OK)
        rc = take_all(&a, ops, count, &why);
    if (rc == FIRN_OK)
        rc = carry_out(&a, options, seq, &why);
    end(&a);
    if (rc == FIRN_OK)
        return rc;
    return a.which == NONE ? error_give(error, rc, &why) : op_blame(error, &why, a.which, rc);
}
