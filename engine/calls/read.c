/* read: get. The view is looked through from new to old; the first version found at or below the
 * reader's number is the answer; what it says is asked of resolve.h.
 *
 * The order of the two loads matters: first the view, then the number. Everything <= the number
 * that a later view would show is then either in this view or newer than all of it; the other way
 * round, a flush and a compaction in between could have dropped the version that the number asks
 * for. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/iter.h>
#include <base/slice.h>
#include <string.h>

#include "txn.h"
#include <tree/run.h>
#include <store/store.h>

/* firn_value.pin[0] and [1] are a run_pin; pin[2]: the store, which counts the values that are
 * held. Without a store, pin[1] is a copy on the heap, or nothing. */

/* Tables of level 0 whose filters are asked for before the first one is looked at. */
enum { YOUNG_AHEAD = 32 };

/* What is left to look at, newest first. */
typedef struct ahead {
    table *tables[YOUNG_AHEAD + FIRN_LEVELS];
    size_t count;
} ahead;

static inline void put_ahead(ahead *a, run r, const lookup *l)
{
    table *t = run_table(r, l->key);
    if (!t)
        return;
    run_prefetch(t, l->hash);
    a->tables[a->count++] = t;
}

static int look_ahead(ahead *a, const lookup *l, run_hit *out, firn_error *err)
{
    int rc = FIRN_OK;
    for (size_t i = 0; i < a->count && rc == FIRN_OK && out->answer == RESOLVE_GO_ON; i++)
        rc = run_get_in_table(a->tables[i], l, out, err);
    a->count = 0;
    return rc;
}

/* The runs of the version, newest first. All filters are brought in before the first is looked at,
 * so that their cache misses overlap. */
static int look_in_version(const version *v, lookup *l, run_hit *out, firn_error *err)
{
    ahead a;
    const level *young = &v->levels[0];
    a.count = 0;
    l->hash = sst_key_hash(l->key);
    for (size_t i = 0; i < young->count; i++) {
        put_ahead(&a, run_of_table(young->tables[i]), l);
        if (a.count < YOUNG_AHEAD)
            continue;
        int rc = look_ahead(&a, l, out, err);
        if (rc != FIRN_OK || out->answer != RESOLVE_GO_ON)
            return rc;
    }
    for (unsigned n = 1; n < FIRN_LEVELS; n++)
        if (v->levels[n].count)
            put_ahead(&a, run_of_level(&v->levels[n]), l);
    return look_ahead(&a, l, out, err);
}

/* FIRN_OK: *out holds a value, from the newest run that has something to say. */
static int look_in_view(const view *v, lookup *l, run_hit *out, firn_error *err)
{
    int rc = FIRN_OK;
    out->answer = RESOLVE_GO_ON;
    for (size_t i = 0; out->answer == RESOLVE_GO_ON && i < view_mem_count(v); i++)
        rc = run_get(view_mem_run(v, i), l, out, err); /* in memory: cannot fail */
    if (out->answer == RESOLVE_GO_ON)
        rc = look_in_version(v->version, l, out, err);
    if (rc != FIRN_OK)
        return rc;
    if (out->answer == RESOLVE_UNKNOWN)
        return run_refuse(out, err);
    return out->answer == RESOLVE_VALUE ? FIRN_OK : FIRN_NOT_FOUND;
}

/* Between readers_enter and readers_exit. First the view, then the number: see above. FIRN_OK: *out
 * holds a value. */
static int look(const tree *t, firn_slice key, const firn_snapshot *snapshot, run_hit *out,
                firn_error *err)
{
    view *v = atomic_load_explicit(&t->view, memory_order_seq_cst);
    if (!v)
        return tree_dropped(t, err);
    uint64_t seq = snapshot ? snapshot->seq
                            : atomic_load_explicit(&t->store->visible_seq, memory_order_acquire);
    lookup l = {.key = slice_somewhere(key), .at = {.seq = seq}};
    return look_in_view(v, &l, out, err);
}

int read_key(const tree *t, firn_slice key, const firn_snapshot *snapshot, run_hit *out,
             firn_error *err)
{
    return look(t, key, snapshot, out, err);
}

int check_view(const store *db, const firn_snapshot *snapshot, const firn_txn *txn, firn_error *err)
{
    if (snapshot && snapshot->db != db)
        return error_set(err, FIRN_INVALID, "the snapshot belongs to another store");
    if (snapshot && txn)
        return error_set(err, FIRN_INVALID,
                         "a read is at a snapshot or in a transaction, not both");
    return txn ? txn_check(txn, db, err) : FIRN_OK;
}

static int check_read(const tree *t, const void *key, size_t key_size, store **db, firn_error *err)
{
    int rc = store_of(t, db, err);
    if (rc == FIRN_OK && !key && key_size)
        rc = error_set(err, FIRN_INVALID, "the key is NULL but has a size");
    return rc;
}

/* What a read's options come to. */
typedef struct wish {
    const firn_snapshot *at; /* NULL: the newest */
    /* OWN_VALUE: `value` is what the transaction has written. OWN_DELETED: nothing is read. */
    own_answer own;
    firn_slice value;
} wish;

static int look_at_options(const firn_read_options *given, tree *t, firn_slice key, wish *out,
                           firn_error *err)
{
    firn_read_options o;
    int rc = read_options_take(t->store, given, &o, err);
    if (rc == FIRN_OK && is_cancelled(o.cancel ? &o.cancel->fired : NULL))
        rc = error_cancelled(err);
    if (rc != FIRN_OK)
        return rc;
    out->at = o.txn ? &o.txn->at : o.snapshot;
    return o.txn ? txn_get(o.txn, t, key, &out->own, &out->value, err) : FIRN_OK;
}

/* Of the heap; the store does not count it. */
int value_of_copy(firn_slice from, firn_value *value, firn_error *err)
{
    uint8_t *copy = heap_alloc(from.size + 1);
    if (!copy)
        return error_no_memory(err);
    if (from.size)
        memcpy(copy, from.data, from.size);
    *value = (firn_value){.data = copy, .size = from.size, .pin = {NULL, copy, NULL}};
    return FIRN_OK;
}

int firn_get(tree *t, const void *key, size_t key_size, const firn_read_options *options,
             firn_value *value, firn_error *error)
{
    store *db;
    wish w = {.at = NULL};
    if (value)
        *value = (firn_value){0};
    int rc = check_read(t, key, key_size, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!value)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the value");
    if (__builtin_expect(options != NULL, 0))
        rc = look_at_options(options, t, slice_of(key, key_size), &w, error);
    if (rc != FIRN_OK)
        return rc;
    if (w.own != OWN_NOTHING)
        return w.own == OWN_VALUE ? value_of_copy(w.value, value, error) : FIRN_NOT_FOUND;
    run_hit hit;
    run_pin pin = {0};
    uint64_t began = latency_begin(db);
    uint32_t ticket = readers_enter(&db->readers);
    rc = look(t, slice_of(key, key_size), w.at, &hit, error);
    if (rc == FIRN_OK) {
        pin = run_keep(&hit);
        readers_exit_pinned(&db->readers, ticket);
    } else {
        readers_exit(&db->readers, ticket);
    }
    sst_cache_ask_trim(db->cache);
    (void)latency_end(db, FIRN_LATENCY_GET, began, rc);
    if (rc != FIRN_OK)
        return rc;
    value->data = hit.value.data;
    value->size = hit.value.size;
    value->pin[0] = pin.holder;
    value->pin[1] = pin.block;
    value->pin[2] = db;
    return FIRN_OK;
}

void firn_value_release(firn_value *value)
{
    if (!value)
        return;
    store *db = value->pin[2];
    if (!db) {
        heap_free(value->pin[1]); /* value_of_copy, or an empty value */
    } else if (value->pin[0] && !store_is_parents(db)) {
        run_unpin((run_pin){value->pin[0], value->pin[1]});
        readers_unpin(&db->readers); /* last: closing may come next */
    }
    *value = (firn_value){0};
}

/* FIRN_TOO_LARGE: it has only its beginning. */
static void copy_into(firn_slice value, void *buffer, size_t capacity, size_t *value_size)
{
    size_t n = value.size < capacity ? value.size : capacity;
    if (n)
        memcpy(buffer, value.data, n);
    *value_size = value.size;
}

int firn_get_into(tree *t, const void *key, size_t key_size, const firn_read_options *options,
                  void *buffer, size_t capacity, size_t *value_size, firn_error *error)
{
    store *db;
    wish w = {.at = NULL};
    int rc = check_read(t, key, key_size, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!buffer && capacity)
        return error_set(error, FIRN_INVALID, "the buffer is NULL but has a size");
    if (!value_size)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the value's size");
    if (__builtin_expect(options != NULL, 0))
        rc = look_at_options(options, t, slice_of(key, key_size), &w, error);
    if (rc != FIRN_OK || w.own == OWN_DELETED)
        return rc == FIRN_OK ? FIRN_NOT_FOUND : rc;
    if (w.own == OWN_VALUE) {
        copy_into(w.value, buffer, capacity, value_size);
    } else {
        run_hit hit;
        uint64_t began = latency_begin(db);
        uint32_t ticket = readers_enter(&db->readers);
        rc = look(t, slice_of(key, key_size), w.at, &hit, error);
        if (rc == FIRN_OK) {
            copy_into(hit.value, buffer, capacity, value_size);
            run_drop(&hit);
        }
        readers_exit(&db->readers, ticket);
        sst_cache_ask_trim(db->cache);
        (void)latency_end(db, FIRN_LATENCY_GET, began, rc);
    }
    if (rc == FIRN_OK && *value_size > capacity)
        rc = error_set(error, FIRN_TOO_LARGE, "the value has %zu bytes, the buffer %zu",
                       *value_size, capacity);
    return rc;
}
