/* apply: writes with conditions.
 *
 * The conditions are looked at without holding anything up, at a snapshot. The write then leads a
 * group of its own, and asks first whether any of their keys may have been written behind that
 * number (guard.c). If so, it is refused, and they are looked at again: only a condition that does
 * not hold is a conflict. Each round means that another write, or a flush, has come between. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>

#include "reading.h"
#include <commit/commit.h>
#include <store/store.h>

typedef struct condition {
    firn_op op;   /* its bucket is named */
    size_t index; /* among all operations */
} condition;

typedef struct application {
    key_guard guard; /* first: `look` gets that */
    tree *t;
    firn_batch *batch; /* what is written */
    condition *conditions;
    guarded *keys; /* theirs */
    size_t which;  /* operation is looked at; NONE: what fails is of all */
} application;

#define NONE SIZE_MAX

static int conflict(const firn_op *o, const char *what, firn_error *err)
{
    char key[80];
    show_key(o->key, key, sizeof key);
    return error_set(err, FIRN_CONFLICT, "the key \"%s\" %s", key, what);
}

int condition_judge(const firn_op *o, const firn_slice *value, firn_error *err)
{
    if (!value)
        return o->kind == FIRN_OP_IF_ABSENT ? FIRN_OK : conflict(o, "is not there", err);
    if (o->kind == FIRN_OP_IF_ABSENT)
        return conflict(o, "is there", err);
    if (o->kind == FIRN_OP_IF_VALUE && !slice_equal(*value, o->value))
        return conflict(o, "has another value", err);
    return FIRN_OK;
}

static int look_at(const condition *c, const firn_snapshot *at, firn_error *err)
{
    store *db = at->db;
    run_hit hit;
    uint32_t ticket = readers_enter(&db->readers);
    int rc = read_key(c->op.bucket, c->op.key, at, &hit, err);
    if (rc == FIRN_OK) {
        rc = condition_judge(&c->op, &hit.value, err);
        run_drop(&hit);
    } else if (rc == FIRN_NOT_FOUND) {
        rc = condition_judge(&c->op, NULL, err);
    }
    readers_exit(&db->readers, ticket);
    sst_cache_ask_trim(db->cache);
    return rc;
}

/* All at one number, whose versions stay until all have been looked at. */
static int look(commit_guard *guard, firn_error *err)
{
    application *a = (application *)(void *)guard;
    store *db = a->t->store;
    firn_snapshot at;
    int rc = FIRN_OK;
    a->guard.flushed = atomic_load_explicit(&db->flushed_seq, memory_order_seq_cst);
    snapshot_take(db, &at, true);
    a->guard.seq = at.seq;
    for (size_t i = 0; rc == FIRN_OK && i < a->guard.count; i++) {
        a->which = a->conditions[i].index;
        rc = look_at(&a->conditions[i], &at, err);
    }
    snapshot_give(&at);
    if (rc == FIRN_OK)
        a->which = NONE;
    return rc;
}

static int add_condition(application *a, const firn_op *o, firn_error *err)
{
    store *db;
    condition *c = &a->conditions[a->guard.count];
    *c = (condition){.op = *o, .index = a->which};
    if (!o->bucket)
        c->op.bucket = a->t;
    int rc = store_of(c->op.bucket, &db, err);
    if (rc == FIRN_OK && db != a->t->store)
        rc = error_set(err, FIRN_INVALID, "the bucket is of another store");
    a->keys[a->guard.count] = (guarded){c->op.bucket, c->op.key};
    a->guard.count += rc == FIRN_OK;
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

static int carry_out(application *a, const firn_write_options *options, uint64_t *seq,
                     firn_error *err)
{
    a->which = NONE;
    if (a->guard.count == 0)
        return commit_batch(a->t, a->batch, options, NULL, seq, err);
    if (firn_batch_count(a->batch) > 0)
        return commit_batch(a->t, a->batch, options, &a->guard.guard, seq, err);
    int rc = look(&a->guard.guard, err);
    if (rc == FIRN_OK && seq)
        *seq = a->guard.seq;
    return rc;
}

static int begin(application *a, size_t count, firn_error *err)
{
    a->conditions = heap_alloc((count + 1) * sizeof *a->conditions);
    a->keys = heap_alloc((count + 1) * sizeof *a->keys);
    a->guard.guard = (commit_guard){look, key_guard_check};
    a->guard.keys = a->keys;
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
    firn_durability durability;
    application a = {.t = t, .which = NONE};
    int rc = commit_begin(t, options, &db, &durability, error);
    if (rc == FIRN_OK && !ops && count)
        rc = error_set(error, FIRN_INVALID, "the operations are NULL");
    if (rc == FIRN_OK && count > UINT32_MAX)
        rc = error_set(error, FIRN_TOO_LARGE, "there are too many operations");
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
