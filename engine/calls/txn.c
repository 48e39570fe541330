/* txn: transactions (firn.h), optimistic ones (Kung and Robinson, "On optimistic methods for
 * concurrency control"; snapshot isolation: Berenson and others, "A critique of ANSI SQL isolation
 * levels").
 *
 *   reads      own writes first (own.h), else the store at the number of a snapshot
 *   add        into own.h
 *   commit     1. nothing has been written behind the snapshot: what was added is written, as a
 *                 batch
 *              2. else what must be unchanged is watched from one turn at the log's head on, and
 *                 what had been written before that is looked for (store/watch.h)
 *              3. at the next turn, if nothing was found, it is written
 *
 * Both turns are the same call of `check` by the leader of the log, which answers "look again"
 * (FIRN_CONFLICT) until all is known: see commit_guard. A commit that is alone takes one turn.
 */
#include "txn.h"

#include <base/alloc.h>
#include <base/entry.h>
#include <base/error.h>
#include <base/grow.h>
#include <base/sized.h>
#include <base/slice.h>
#include <inttypes.h>

#include <commit/commit.h>
#include <store/ranges.h>

typedef struct savepoint {
    uint64_t point;
    own_mark mark;
    bool failed;
} savepoint;

/* ---- Beginning and end ---- */

static const sized_kind txn_options_kind = {"the transaction's options",
                                            "fill them in with firn_txn_options_init first",
                                            sizeof(firn_txn_options)};

void firn_txn_options_init_sized(firn_txn_options *options, size_t size)
{
    const firn_txn_options defaults = {.durability = FIRN_DURABILITY_DEFAULT};
    sized_init(&txn_options_kind, options, size, &defaults);
}

void(firn_txn_options_init)(firn_txn_options *options)
{
    firn_txn_options_init_sized(options, SIZED_FIRST(firn_txn_options, durability));
}

int txn_check(const firn_txn *txn, const store *db, firn_error *err)
{
    if (!txn)
        return error_set(err, FIRN_INVALID, "the transaction is NULL");
    if (txn->db != db)
        return error_set(err, FIRN_INVALID, "the transaction belongs to another store");
    if (!store_is_parents(txn->db))
        return FIRN_OK;
    store *ignored;
    return store_of(&txn->db->main, &ignored, err); /* describes it */
}

static int check(const firn_txn *txn, firn_error *err)
{
    return txn_check(txn, txn ? txn->db : NULL, err);
}

static void count_txns(store *db, int more)
{
    mutex_lock(&db->snapshot_mu);
    db->txn_count += (uint64_t)(int64_t)more;
    mutex_unlock(&db->snapshot_mu);
}

int firn_txn_new(tree *t, const firn_txn_options *options, firn_txn **out, firn_error *error)
{
    store *db;
    firn_txn_options o;
    if (out)
        *out = NULL;
    firn_txn_options_init(&o);
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && !out)
        rc = error_set(error, FIRN_INVALID, "there is nowhere to put the transaction");
    if (rc == FIRN_OK && options)
        rc = sized_take(&txn_options_kind, options, &o, error);
    if (rc == FIRN_OK && (unsigned)o.durability > FIRN_DURABILITY_NONE)
        rc = error_set(error, FIRN_INVALID, "durability %d does not exist", (int)o.durability);
    if (rc != FIRN_OK)
        return rc;
    firn_txn *txn = heap_zalloc(sizeof *txn);
    if (!txn)
        return error_no_memory(error);
    txn->db = db;
    txn->serializable = o.serializable;
    txn->durability = o.durability;
    own_init(&txn->own);
    snapshot_take(db, &txn->at, false);
    count_txns(db, 1);
    *out = txn;
    return FIRN_OK;
}

static savepoint *saves_of(const firn_txn *txn)
{
    return (savepoint *)(void *)txn->saves.data;
}

static size_t save_count(const firn_txn *txn)
{
    return txn->saves.size / sizeof(savepoint);
}

static void drop_saves(firn_txn *txn, size_t from)
{
    for (size_t i = from; i < save_count(txn); i++)
        own_mark_release(&saves_of(txn)[i].mark);
    if (from < save_count(txn))
        txn->saves.size = from * sizeof(savepoint);
}

/* Nothing is left of it but itself. */
static void clear(firn_txn *txn)
{
    own_walks_end(txn);
    drop_saves(txn, 0);
    own_clear(&txn->own);
    txn->failed = false;
    snapshot_end(&txn->at);
}

void firn_txn_reset(firn_txn *txn)
{
    if (!txn || store_is_parents(txn->db))
        return;
    clear(txn);
    snapshot_take(txn->db, &txn->at, false);
}

void firn_txn_free(firn_txn *txn)
{
    if (!txn || store_is_parents(txn->db))
        return;
    clear(txn);
    buf_release(&txn->saves);
    count_txns(txn->db, -1);
    heap_free(txn);
}

/* ---- Reading ---- */

int txn_note_range(firn_txn *txn, tree *t, firn_slice first, firn_slice end, firn_error *err)
{
    own_bucket *b = own_open(&txn->own, t);
    if (b && own_is_looked(b, first, end))
        return FIRN_OK;
    if (!b || own_reserve(&txn->own, 1) != FIRN_OK || !own_copy(&txn->own, first, &first) ||
        (end.data && !own_copy(&txn->own, end, &end)))
        return error_no_memory(err);
    own_look(&txn->own, b, first, end);
    return FIRN_OK;
}

static int must_stay(firn_txn *txn, tree *t, firn_slice key, firn_error *err)
{
    own_bucket *b = own_open(&txn->own, t);
    if (b && own_is_looked(b, key, key)) /* of a range that has the key, the end is behind it */
        return FIRN_OK;
    if (!b || own_reserve(&txn->own, 1) != FIRN_OK || !own_copy(&txn->own, key, &key))
        return error_no_memory(err);
    own_look(&txn->own, b, key, (firn_slice){key.data, key.size + 1}); /* O4 */
    return FIRN_OK;
}

int txn_note_key(firn_txn *txn, tree *t, firn_slice key, firn_error *err)
{
    return txn->serializable ? must_stay(txn, t, key, err) : FIRN_OK;
}

int txn_get(firn_txn *txn, tree *t, firn_slice key, own_answer *answer, firn_slice *value,
            firn_error *err)
{
    *answer = OWN_NOTHING;
    if (tree_is_dropped(t))
        return tree_dropped(t, err);
    key = slice_somewhere(key);
    *answer = own_get(own_find(&txn->own, t), key, value);
    return *answer == OWN_NOTHING ? txn_note_key(txn, t, key, err) : FIRN_OK;
}

/* ---- Adding ---- */

/* A write that is about to be added, with copies of its bytes. */
typedef struct addition {
    own_bucket *bucket;
    firn_kind kind;
    firn_slice key, value; /* of a range: from and to */
} addition;

static int tree_for(const firn_txn *txn, const firn_op *o, tree *unnamed, tree **out,
                    firn_error *err)
{
    store *db;
    *out = o->bucket ? o->bucket : unnamed;
    int rc = store_of(*out, &db, err);
    if (rc == FIRN_OK && db != txn->db)
        return error_set(err, FIRN_INVALID, "the bucket is of another store");
    return rc == FIRN_OK && tree_is_dropped(*out) ? tree_dropped(*out, err) : rc;
}

static int judge(firn_txn *txn, tree *t, const firn_op *o, firn_error *err)
{
    firn_slice value;
    own_answer own = own_get(own_find(&txn->own, t), slice_somewhere(o->key), &value);
    if (own != OWN_NOTHING)
        return condition_judge(o, own == OWN_VALUE ? &value : NULL, err);
    int rc = must_stay(txn, t, slice_somewhere(o->key), err);
    firn_value found;
    const firn_read_options at = {.size = sizeof at, .snapshot = &txn->at};
    if (rc == FIRN_OK)
        rc = firn_get(t, o->key.data, o->key.size, &at, &found, err);
    if (rc == FIRN_NOT_FOUND)
        return condition_judge(o, NULL, err);
    if (rc != FIRN_OK)
        return rc;
    value = (firn_slice){found.data, found.size};
    rc = condition_judge(o, &value, err);
    firn_value_release(&found);
    return rc;
}

static int copy_range(firn_txn *txn, const firn_range *range, addition *a, firn_error *err)
{
    range_bounds b;
    int rc = range_bounds_take(range, &b, err);
    if (rc == FIRN_OK)
        rc = range_bounds_close(&b, err);
    if (rc == FIRN_OK &&
        (!own_copy(&txn->own, b.first, &a->key) || !own_copy(&txn->own, b.end, &a->value)))
        rc = error_no_memory(err);
    range_bounds_release(&b);
    return rc;
}

static int copy_op(firn_txn *txn, tree *t, const firn_op *o, addition *a, firn_error *err)
{
    a->kind = (firn_kind)o->kind;
    a->bucket = own_open(&txn->own, t);
    if (!a->bucket)
        return error_no_memory(err);
    if (o->kind == FIRN_OP_DELETE_RANGE)
        return copy_range(txn, &o->range, a, err);
    if (!own_copy(&txn->own, o->key, &a->key) || !own_copy(&txn->own, o->value, &a->value))
        return error_no_memory(err);
    return FIRN_OK;
}

/* Looks at all of them, and copies those that write to `list`. */
static int take_ops(firn_txn *txn, tree *unnamed, const firn_op *ops, size_t count, addition *list,
                    size_t *writes, size_t *which, firn_error *err)
{
    size_t stride = count ? ops->size : 0;
    int rc = FIRN_OK;
    *writes = 0;
    for (*which = 0; *which < count; (*which)++) {
        firn_op o;
        tree *t = NULL;
        rc = op_take(op_at(ops, stride, *which), stride, &o, err);
        if (rc == FIRN_OK)
            rc = tree_for(txn, &o, unnamed, &t, err);
        if (rc == FIRN_OK)
            rc = op_is_condition(&o) ? judge(txn, t, &o, err)
                                     : copy_op(txn, t, &o, &list[*writes], err);
        if (rc != FIRN_OK)
            return rc;
        *writes += !op_is_condition(&o);
    }
    return rc;
}

static int add(firn_txn *txn, tree *unnamed, const firn_op *ops, size_t count, size_t *which,
               firn_error *err)
{
    size_t writes;
    addition *list = heap_alloc((count + 1) * sizeof *list);
    if (!list)
        return error_no_memory(err);
    int rc = take_ops(txn, unnamed, ops, count, list, &writes, which, err);
    if (rc == FIRN_OK) {
        *which = SIZE_MAX;
        rc = own_reserve(&txn->own, 2 * writes) == FIRN_OK ? FIRN_OK : error_no_memory(err);
    }
    for (size_t i = 0; rc == FIRN_OK && i < writes; i++) {
        const addition *a = &list[i];
        if (a->kind == FIRN_DELETE_RANGE)
            own_erase(&txn->own, a->bucket, a->key, a->value);
        else
            own_write(&txn->own, a->bucket, a->kind, a->key, a->value);
    }
    heap_free(list);
    return rc;
}

int firn_txn_add(firn_txn *txn, tree *bucket, const firn_op *ops, size_t count, firn_error *error)
{
    store *db;
    firn_error why;
    size_t which = SIZE_MAX;
    int rc = check(txn, error);
    if (rc != FIRN_OK)
        return rc;
    error_clear(&why);
    rc = store_of(bucket, &db, &why);
    if (rc == FIRN_OK && db != txn->db)
        rc = error_set(&why, FIRN_INVALID, "the bucket is of another store");
    if (rc == FIRN_OK && !ops && count)
        rc = error_set(&why, FIRN_INVALID, "the operations are NULL");
    if (rc == FIRN_OK && count > UINT32_MAX)
        rc = error_set(&why, FIRN_TOO_LARGE, "there are too many operations");
    if (rc == FIRN_OK)
        rc = add(txn, bucket, ops, count, &which, &why);
    if (rc == FIRN_OK)
        return rc;
    txn->failed = true;
    return which == SIZE_MAX ? error_give(error, rc, &why) : op_blame(error, &why, which, rc);
}

/* ---- Savepoints ---- */

int firn_txn_save(firn_txn *txn, uint64_t *point, firn_error *error)
{
    int rc = check(txn, error);
    if (rc == FIRN_OK && !point)
        rc = error_set(error, FIRN_INVALID, "there is nowhere to put the savepoint");
    if (rc != FIRN_OK)
        return rc;
    savepoint s = {.point = txn->points + 1, .failed = txn->failed};
    if (buf_reserve(&txn->saves, sizeof s) != FIRN_OK || own_mark_here(&txn->own, &s.mark))
        return error_no_memory(error);
    (void)buf_append(&txn->saves, &s, sizeof s); /* there is room */
    *point = ++txn->points;
    return FIRN_OK;
}

int firn_txn_rollback(firn_txn *txn, uint64_t point, firn_error *error)
{
    int rc = check(txn, error);
    if (rc != FIRN_OK)
        return rc;
    size_t i = save_count(txn);
    while (i > 0 && saves_of(txn)[i - 1].point > point)
        i--;
    if (i == 0 || saves_of(txn)[i - 1].point != point) {
        error_set(error, FIRN_INVALID, "the transaction has no savepoint %" PRIu64, point);
        error_hint(error, "one is gone behind a rollback to an earlier one, a commit and a reset");
        return FIRN_INVALID;
    }
    if (own_walks_note(txn, error) != FIRN_OK) /* what they have passed still counts */
        return FIRN_NO_MEMORY;
    own_walks_end(txn);
    drop_saves(txn, i);
    own_go_back(&txn->own, &saves_of(txn)[i - 1].mark);
    txn->failed = saves_of(txn)[i - 1].failed;
    return FIRN_OK;
}

/* ---- Commit ---- */

typedef struct committing {
    commit_guard guard; /* first */
    firn_txn *txn;
    watch watch;
    watched *keys; /* the watch's */
    bool listed, looked;
} committing;

static bool nothing_is_newer(const firn_txn *txn)
{
    return atomic_load_explicit(&txn->db->newest_seq, memory_order_relaxed) <= txn->at.seq;
}

/* Between the turns, holding nothing up. */
static int look(commit_guard *guard, firn_error *err)
{
    committing *c = (committing *)(void *)guard;
    firn_txn *txn = c->txn;
    if (!c->listed && !nothing_is_newer(txn)) {
        if (own_watched(&txn->own, &c->keys, &c->watch.count) != FIRN_OK)
            return error_no_memory(err);
        c->watch.keys = c->keys;
        c->listed = true;
        return FIRN_OK;
    }
    if (!c->watch.begun)
        return FIRN_OK;
    const watched *found = watch_hit(&txn->db->watches, &c->watch);
    int rc = FIRN_OK;
    if (!found && !c->looked)
        rc = watch_look(&c->watch, txn->at.seq, &found, err);
    c->looked = true;
    if (rc != FIRN_OK || !found)
        return rc;
    char key[80];
    const char *bucket = found->bucket->name.bytes;
    show_key(found->first, key, sizeof key);
    error_set(err, FIRN_CONFLICT, "%s \"%s\"%s%s: written since the transaction began",
              watched_is_key(found) ? "the key" : "the keys from", key,
              *bucket ? " of bucket " : "", bucket);
    error_hint(err, "run the transaction again");
    return FIRN_CONFLICT;
}

/* A turn at the log's head. */
static int take_turn(commit_guard *guard, firn_error *err)
{
    committing *c = (committing *)(void *)guard;
    watch_list *l = &c->txn->db->watches;
    (void)err;
    if (nothing_is_newer(c->txn))
        return FIRN_OK;
    if (!c->watch.begun) {
        if (c->listed)
            watch_begin(l, &c->watch);
        return FIRN_CONFLICT;
    }
    if (watch_hit(l, &c->watch))
        return FIRN_CONFLICT;
    watch_end(l, &c->watch); /* what comes next is its own */
    return FIRN_OK;
}

static int write_all(firn_txn *txn, firn_batch *batch, uint64_t *seq, firn_error *err)
{
    committing c = {.guard = {look, take_turn}, .txn = txn};
    firn_write_options o;
    firn_write_options_init(&o);
    o.durability = txn->durability;
    int rc = own_to_batch(&txn->own, batch);
    if (rc == FIRN_TOO_LARGE)
        return error_set(err, rc, "the transaction is over the limit of a batch");
    if (rc != FIRN_OK)
        return error_no_memory(err);
    if (firn_batch_count(batch) == 0) {
        if (seq)
            *seq = txn->at.seq;
        return FIRN_OK;
    }
    rc = own_walks_note(txn, err);
    if (rc == FIRN_OK)
        rc = commit_batch(&txn->db->main, batch, &o, &c.guard, seq, err);
    watch_end(&txn->db->watches, &c.watch);
    heap_free(c.keys);
    return rc;
}

int firn_txn_commit(firn_txn *txn, uint64_t *seq, firn_error *error)
{
    firn_batch *batch;
    firn_error why;
    int rc = check(txn, error);
    if (rc != FIRN_OK)
        return rc;
    if (txn->failed) {
        error_set(error, FIRN_INVALID, "something that was to be added to the transaction was not");
        error_hint(error, "roll it back to a savepoint in front of that, or reset it");
        return FIRN_INVALID;
    }
    error_clear(&why);
    if (firn_batch_new(&batch) != FIRN_OK)
        return error_no_memory(error);
    rc = write_all(txn, batch, seq, &why);
    firn_batch_free(batch);
    if (rc == FIRN_OK || rc == FIRN_CONFLICT)
        firn_txn_reset(txn);
    return error_give(error, rc, &why);
}
