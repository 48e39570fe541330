/* ops: operations on their way into a batch, and which buckets a batch is for. */
#include <base/entry.h>
#include <base/error.h>
#include <base/sized.h>
#include <stdio.h>

#include <commit/commit.h>
#include <store/store.h>

static const sized_kind op_kind = {"the operation", "set its size to sizeof(firn_op)",
                                   sizeof(firn_op)};

static int take_op(const firn_op *given, firn_op *o, firn_error *err)
{
    int rc = sized_take(&op_kind, given, o, err);
    if (rc != FIRN_OK)
        return rc;
    if (o->kind != FIRN_PUT && o->kind != FIRN_DELETE)
        return error_set(err, FIRN_INVALID, "there is no operation of kind %u", o->kind);
    if (o->kind == FIRN_DELETE && o->value.size)
        return error_set(err, FIRN_INVALID, "a delete has no value");
    return FIRN_OK;
}

static int add_op(firn_batch *batch, const firn_op *o, firn_error *err)
{
    store *db = NULL;
    int rc = o->bucket ? store_of(o->bucket, &db, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    if (db && tree_is_dropped(o->bucket))
        return tree_dropped(o->bucket, err);
    if (db && !batch_is_of(batch, db->store_id))
        return error_set(err, FIRN_INVALID, "the batch names buckets of another store, too");
    firn_kind kind = (firn_kind)o->kind;
    rc = db ? batch_add_named(batch, db->store_id, o->bucket->bucket, kind, o->key, o->value)
            : batch_add(batch, ENTRY_BUCKET_DEFAULT, kind, o->key, o->value);
    if (rc == FIRN_NO_MEMORY)
        return error_no_memory(err);
    if (rc == FIRN_INVALID)
        return error_set(err, rc, "the key or the value is NULL but has a size");
    if (rc == FIRN_TOO_LARGE)
        return error_set(err, rc, "the key, the value or the batch is over its limit");
    return rc;
}

int firn_batch_add(firn_batch *batch, const firn_op *ops, size_t count, firn_error *error)
{
    firn_error why;
    if (!batch || (!ops && count))
        return error_set(error, FIRN_INVALID, "the %s",
                         batch ? "operations are NULL" : "batch is NULL");
    batch_mark before = batch_here(batch);
    size_t stride = count ? ops->size : 0;
    int rc = FIRN_OK;
    size_t i = 0;
    error_clear(&why);
    for (; i < count && rc == FIRN_OK; i++) {
        firn_op o = {.size = sizeof o};
        const firn_op *given = (const firn_op *)(const void *)((const char *)ops + i * stride);
        rc = given->size == stride && stride >= sizeof o
                 ? take_op(given, &o, &why)
                 : error_set(&why, FIRN_INVALID,
                             "its size is not that of the first one, or too small");
        if (rc == FIRN_OK)
            rc = add_op(batch, &o, &why);
    }
    if (rc == FIRN_OK)
        return rc;
    batch_back_to(batch, before);
    if (error) {
        *error = why;
        snprintf(error->message, sizeof error->message, "operation %zu: %.200s", i - 1,
                 why.message);
    }
    return rc;
}

/* The buckets that a batch names are looked for once: one that is dropped later, beside the write,
 * is dropped behind it. */
static int check_buckets(store *db, const firn_batch *batch, firn_error *err)
{
    if (store_has_buckets(db, batch_payload(batch)))
        return FIRN_OK;
    error_set(err, FIRN_DROPPED, "the batch has an operation for a bucket that has been dropped");
    error_hint(err, "build the batch again without it");
    return FIRN_DROPPED;
}

int batch_for(const tree *t, const firn_batch *batch, const firn_batch **out, firn_batch **moved,
              firn_error *err)
{
    store *db = t->store;
    int rc = FIRN_OK;
    *moved = NULL;
    *out = batch;
    if (!batch_is_of(batch, db->store_id))
        return error_set(err, FIRN_INVALID, "the batch names buckets of another store");
    if (batch_named(batch))
        rc = check_buckets(db, batch, err);
    if (rc != FIRN_OK || t->bucket == 0 || batch_named(batch) == firn_batch_count(batch))
        return rc;
    if (batch_move(batch, t->bucket, moved) != FIRN_OK)
        return error_no_memory(err);
    *out = *moved;
    return FIRN_OK;
}
