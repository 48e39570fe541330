/* read: get. The view is looked through from new to old; the first version found at or below the
 * reader's number is the answer; what it says is asked of resolve.h.
 *
 * The order of the two loads matters: first the view, then the number. Everything <= the number
 * that a later view would show is then either in this view or newer than all of it; the other way
 * round, a flush and a compaction in between could have dropped the version that the number asks
 * for. */
#include <base/error.h>
#include <base/slice.h>
#include <string.h>

#include "reading.h"
#include <tree/run.h>
#include <store/store.h>

/* firn_value.pin[0] and [1] are a run_pin; pin[2]: the store, which counts the values that are
 * held. */

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

int check_snapshot(const store *db, const firn_snapshot *snapshot, firn_error *err)
{
    if (snapshot && snapshot->db != db)
        return error_set(err, FIRN_INVALID, "the snapshot belongs to another store");
    return FIRN_OK;
}

static int check_read(const tree *t, const void *key, size_t key_size,
                      const firn_snapshot *snapshot, store **db, firn_error *err)
{
    int rc = store_of(t, db, err);
    if (rc != FIRN_OK)
        return rc;
    if (!key && key_size)
        return error_set(err, FIRN_INVALID, "the key is NULL but has a size");
    return check_snapshot(*db, snapshot, err);
}

int firn_get(tree *t, const void *key, size_t key_size, const firn_snapshot *snapshot,
             firn_value *value, firn_error *error)
{
    store *db;
    if (value)
        *value = (firn_value){0};
    int rc = check_read(t, key, key_size, snapshot, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!value)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the value");
    run_hit hit;
    run_pin pin = {0};
    uint32_t ticket = readers_enter(&db->readers);
    rc = look(t, slice_of(key, key_size), snapshot, &hit, error);
    if (rc == FIRN_OK) {
        pin = run_keep(&hit);
        readers_exit_pinned(&db->readers, ticket);
    } else {
        readers_exit(&db->readers, ticket);
    }
    sst_cache_ask_trim(db->cache);
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
    if (value->pin[0] && !store_is_parents(db)) {
        run_unpin((run_pin){value->pin[0], value->pin[1]});
        readers_unpin(&db->readers); /* last: closing may come next */
    }
    *value = (firn_value){0};
}

int firn_get_into(tree *t, const void *key, size_t key_size, const firn_snapshot *snapshot,
                  void *buffer, size_t capacity, size_t *value_size, firn_error *error)
{
    store *db;
    int rc = check_read(t, key, key_size, snapshot, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!buffer && capacity)
        return error_set(error, FIRN_INVALID, "the buffer is NULL but has a size");
    if (!value_size)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the value's size");
    run_hit hit;
    uint32_t ticket = readers_enter(&db->readers);
    rc = look(t, slice_of(key, key_size), snapshot, &hit, error);
    if (rc == FIRN_OK) {
        size_t n = hit.value.size < capacity ? hit.value.size : capacity;
        if (n)
            memcpy(buffer, hit.value.data, n);
        *value_size = hit.value.size;
        run_drop(&hit);
    }
    readers_exit(&db->readers, ticket);
    sst_cache_ask_trim(db->cache);
    if (rc == FIRN_OK && hit.value.size > capacity)
        rc = error_set(error, FIRN_TOO_LARGE, "the value has %zu bytes, the buffer %zu",
                       hit.value.size, capacity);
    return rc;
}
