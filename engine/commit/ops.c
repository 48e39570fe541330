/* ops: operations on their way into a batch, and which buckets a batch is for. */
#include <base/entry.h>
#include <base/error.h>
#include <base/sized.h>
#include <stddef.h>
#include <stdio.h>

#include <commit/commit.h>
#include <store/ranges.h>
#include <store/store.h>

static const sized_kind op_kind = {"the operation", "set its size to sizeof(firn_op)",
                                   sizeof(firn_op)};

int op_take(const firn_op *given, size_t stride, firn_op *o, firn_error *err)
{
    *o = (firn_op){.size = sizeof *o};
    if (given->size != stride || stride < offsetof(firn_op, range)) /* the first version's */
        return error_set(err, FIRN_INVALID, "its size is not that of the first one, or too small");
    int rc = sized_take(&op_kind, given, o, err);
    if (rc != FIRN_OK)
        return rc;
    switch (o->kind) {
    case FIRN_OP_PUT:
    case FIRN_OP_IF_VALUE:
        break;
    case FIRN_OP_DELETE_RANGE:
        if (stride < sizeof *o)
            return error_set(err, FIRN_INVALID, "its size has no room for a range");
        if (o->key.data || o->key.size || o->value.data || o->value.size)
            return error_set(err, FIRN_INVALID, "a range delete has a key or a value");
        break;
    case FIRN_OP_DELETE:
    case FIRN_OP_IF_ABSENT:
    case FIRN_OP_IF_PRESENT:
        if (o->value.size)
            return error_set(err, FIRN_INVALID, "an operation of kind %u has no value", o->kind);
        break;
    default:
        return error_set(err, FIRN_INVALID, "there is no operation of kind %u", o->kind);
    }
    rc = entry_check_limits(o->key.data, o->key.size, o->value.data, o->value.size);
    if (rc == FIRN_INVALID)
        return error_set(err, rc, "the key or the value is NULL but has a size");
    if (rc == FIRN_TOO_LARGE)
        return error_set(err, rc, "the key or the value is over its limit");
    return rc;
}

static int add_entry(firn_batch *batch, const tree *t, firn_kind kind, firn_slice key,
                     firn_slice value, firn_error *err)
{
    int rc = t ? batch_add_named(batch, t->store->store_id, t->bucket, kind, key, value)
               : batch_add(batch, ENTRY_BUCKET_DEFAULT, kind, key, value);
    if (rc == FIRN_NO_MEMORY)
        return error_no_memory(err);
    if (rc == FIRN_TOO_LARGE)
        return error_set(err, rc, "the batch is over its limit");
    return rc;
}

static int add_range(firn_batch *batch, const tree *t, const firn_range *range, firn_error *err)
{
    range_bounds b;
    int rc = range_bounds_take(range, &b, err);
    if (rc == FIRN_OK)
        rc = range_bounds_close(&b, err);
    if (rc == FIRN_OK)
        rc = add_entry(batch, t, FIRN_DELETE_RANGE, b.first, b.end, err);
    range_bounds_release(&b);
    return rc;
}

int op_add(firn_batch *batch, const firn_op *o, firn *unnamed, firn_error *err)
{
    store *db = NULL;
    const tree *t = o->bucket ? o->bucket : unnamed;
    int rc = t ? store_of(t, &db, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    if (t && tree_is_dropped(t))
        return tree_dropped(t, err);
    if (t && !batch_is_of(batch, db->store_id))
        return error_set(err, FIRN_INVALID, "the batch names buckets of another store, too");
    if (o->kind == FIRN_OP_DELETE_RANGE)
        return add_range(batch, t, &o->range, err);
    return add_entry(batch, t, (firn_kind)o->kind, o->key, o->value, err);
}

void show_key(firn_slice key, char *text, size_t size)
{
    size_t at = 0, i = 0;
    for (; i < key.size && at + 8 < size; i++) {
        uint8_t c = key.data[i];
        bool plain = c > ' ' && c < 0x7f && c != '\\';
        at += (size_t)snprintf(text + at, size - at, plain ? "%c" : "\\x%02x", c);
    }
    snprintf(text + at, size - at, "%s", i < key.size ? "..." : "");
}

int op_blame(firn_error *error, const firn_error *why, size_t index, int rc)
{
    if (!error)
        return rc;
    *error = *why;
    snprintf(error->message, sizeof error->message, "operation %zu: %.200s", index, why->message);
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
    error_clear(&why);
    for (size_t i = 0; i < count; i++) {
        firn_op o;
        int rc = op_take(op_at(ops, stride, i), stride, &o, &why);
        if (rc == FIRN_OK && op_is_condition(&o))
            rc = error_set(&why, FIRN_INVALID, "a batch takes no conditions: firn_apply does");
        if (rc == FIRN_OK)
            rc = op_add(batch, &o, NULL, &why);
        if (rc != FIRN_OK) {
            batch_back_to(batch, before);
            return op_blame(error, &why, i, rc);
        }
    }
    return FIRN_OK;
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
