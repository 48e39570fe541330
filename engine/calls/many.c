/* many: get of many keys at once.
 *
 * The keys are looked for in their order, a group of them at a time, and a run is asked for all
 * keys of a group before the next run is, step by step: the cache misses of one step are under way
 * together. Keys that lie in one block follow each other. What a version means is asked of
 * resolve.h, as in read.c. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/iter.h>
#include <base/sized.h>
#include <base/slice.h>
#include <stdlib.h>

#include "txn.h"
#include <tree/run.h>
#include <store/store.h>

enum { GROUP = 32 };

/* A key of a group. */
typedef struct wanted {
    lookup l;
    run_hit hit;
    table *table; /* of the run that is asked, the one in which the key may lie */
    size_t index; /* in the caller's arrays */
    int status;
} wanted;

/* A call. */
typedef struct many {
    const view *view;
    uint64_t seq;
    const firn_slice *keys;
    firn_value *values;
    int *statuses;
    size_t first_failed; /* the index of the key whose error *error is; SIZE_MAX: none has failed */
    firn_error *error;
} many;

static const sized_kind read_options_kind = {"the read options",
                                             "fill them in with firn_read_options_init first",
                                             sizeof(firn_read_options)};

void firn_read_options_init_sized(firn_read_options *options, size_t size)
{
    const firn_read_options defaults = {.snapshot = NULL};
    sized_init(&read_options_kind, options, size, &defaults);
}

void(firn_read_options_init)(firn_read_options *options)
{
    firn_read_options_init_sized(options, SIZED_FIRST(firn_read_options, cancel));
}

int read_options_take(const store *db, const firn_read_options *given, firn_read_options *out,
                      firn_error *err)
{
    firn_read_options_init(out);
    int rc = given ? sized_take(&read_options_kind, given, out, err) : FIRN_OK;
    return rc == FIRN_OK ? check_view(db, out->snapshot, out->txn, err) : rc;
}

/* ---- The order ---- */

/* `piece` is of the bytes behind what all keys have in common. */
typedef struct place {
    uint64_t piece;
    const firn_slice *key;
} place;

static int by_key(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->piece != y->piece)
        return x->piece < y->piece ? -1 : 1;
    return slice_compare(*x->key, *y->key);
}

static void put_in_order(place *places, const firn_slice *keys, size_t count)
{
    size_t common = keys[0].size;
    for (size_t i = 1; i < count && common > 0; i++) {
        size_t n = slice_common(keys[0], keys[i]);
        common = n < common ? n : common;
    }
    for (size_t i = 0; i < count; i++)
        places[i] = (place){slice_piece(slice_somewhere(keys[i]), common), &keys[i]};
    qsort(places, count, sizeof *places, by_key);
}

/* ---- A group ---- */

static void fail_key(many *m, wanted *w, int rc, const firn_error *why)
{
    w->status = rc;
    if (w->index >= m->first_failed)
        return;
    m->first_failed = w->index;
    if (m->error)
        *m->error = *why;
}

static inline bool goes_on(const wanted *w)
{
    return w->status == FIRN_OK && w->hit.answer == RESOLVE_GO_ON;
}

/* Returns how many keys are left. */
static size_t ask_mems(many *m, wanted *group, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < view_mem_count(m->view); i++)
        for (size_t k = 0; k < count; k++)
            if (goes_on(&group[k])) /* in memory: cannot fail */
                (void)run_get(view_mem_run(m->view, i), &group[k].l, &group[k].hit, NULL);
    for (size_t k = 0; k < count; k++)
        if (goes_on(&group[k])) {
            group[k].l.hash = sst_key_hash(group[k].l.key);
            left++;
        }
    return left;
}

/* Returns how many keys are left. */
static size_t ask_tables(many *m, run r, wanted *group, size_t count)
{
    wanted *asked[GROUP];
    size_t in_filter = 0, in_block = 0, left = 0;
    for (size_t k = 0; k < count; k++) {
        wanted *w = &group[k];
        w->table = goes_on(w) ? run_table(r, w->l.key) : NULL;
        if (!w->table)
            continue;
        run_prefetch(w->table, w->l.hash);
        asked[in_filter++] = w;
    }
    for (size_t k = 0; k < in_filter; k++)
        if (in_filter == 1 || run_prefetch_index(asked[k]->table, &asked[k]->l))
            asked[in_block++] = asked[k];
    for (size_t k = 0; k < in_block && in_filter > 1; k++)
        run_prefetch_block(asked[k]->table, &asked[k]->l);
    for (size_t k = 0; k < in_block && in_filter > 1; k++)
        run_prefetch_entry(asked[k]->table, &asked[k]->l);
    for (size_t k = 0; k < in_block; k++) {
        firn_error e;
        wanted *w = asked[k];
        int rc = run_get_in_table(w->table, &w->l, &w->hit, &e);
        if (rc != FIRN_OK)
            fail_key(m, w, rc, &e);
    }
    for (size_t k = 0; k < count; k++)
        left += goes_on(&group[k]);
    return left;
}

/* What has been found becomes the caller's: true. */
static bool hand_over(many *m, wanted *w, store *db)
{
    firn_error e;
    if (w->status == FIRN_OK && w->hit.answer == RESOLVE_UNKNOWN)
        fail_key(m, w, run_refuse(&w->hit, &e), &e);
    if (w->status == FIRN_OK && w->hit.answer != RESOLVE_VALUE)
        w->status = FIRN_NOT_FOUND;
    m->statuses[w->index] = w->status;
    if (w->status != FIRN_OK)
        return false;
    run_pin pin = run_keep(&w->hit);
    m->values[w->index] = (firn_value){
        .data = w->hit.value.data, .size = w->hit.value.size, .pin = {pin.holder, pin.block, db}};
    return true;
}

static void get_group(many *m, store *db, const place *places, const firn_slice *keys, size_t count)
{
    wanted group[GROUP];
    for (size_t k = 0; k < count; k++) {
        const firn_slice *key = places ? places[k].key : &keys[k];
        group[k] = (wanted){.l = {.key = slice_somewhere(*key), .at = {.seq = m->seq}},
                            .index = (size_t)(key - m->keys)};
        group[k].hit.answer = RESOLVE_GO_ON;
    }
    size_t left = ask_mems(m, group, count), at = 0;
    for (run r; left && (r = version_next_run(m->view->version, &at)).kind != RUN_NONE;) {
        uint32_t inside = readers_enter(&db->readers); /* for filters and indexes */
        left = ask_tables(m, r, group, count);
        readers_exit(&db->readers, inside);
    }
    uint64_t held = 0;
    uint32_t inside = readers_enter(&db->readers);
    for (size_t k = 0; k < count; k++)
        held += hand_over(m, &group[k], db);
    readers_exit_holding(&db->readers, inside, held);
    sst_cache_ask_trim(db->cache);
}

/* ---- The call ---- */

/* In any order, where there is no memory to find one. */
static int get_all(many *m, store *db, size_t count, const firn_cancel *cancel)
{
    const uint32_t *cancelled = cancel ? &cancel->fired : NULL;
    place few[GROUP], *places = count <= GROUP ? few : heap_alloc(count * sizeof *places);
    if (places)
        put_in_order(places, m->keys, count);
    size_t done = 0;
    for (; done < count && !is_cancelled(cancelled); done += GROUP)
        get_group(m, db, places ? places + done : NULL, m->keys + done,
                  count - done < GROUP ? count - done : GROUP);
    int rc = FIRN_OK;
    for (; done < count; done++) {
        m->statuses[places ? (size_t)(places[done].key - m->keys) : done] = FIRN_CANCELLED;
        rc = FIRN_CANCELLED;
    }
    if (places != few)
        heap_free(places);
    return rc;
}

static int check_many(const firn_slice *keys, size_t count, const firn_value *values,
                      const int *statuses, firn_error *err)
{
    if (count && (!keys || !values || !statuses))
        return error_set(err, FIRN_INVALID, "the keys, values or statuses are NULL");
    for (size_t i = 0; i < count; i++)
        if (!keys[i].data && keys[i].size)
            return error_set(err, FIRN_INVALID, "key %zu is NULL but has a size", i);
    return FIRN_OK;
}

/* What the transaction has not written itself. */
typedef struct rest {
    firn_slice *keys;
    size_t *indexes; /* in the caller's arrays */
    firn_value *values;
    int *statuses;
    size_t count;
} rest;

static bool rest_begin(rest *r, size_t count)
{
    *r = (rest){.keys = heap_alloc(count * sizeof *r->keys),
                .indexes = heap_alloc(count * sizeof *r->indexes),
                .values = heap_alloc(count * sizeof *r->values),
                .statuses = heap_alloc(count * sizeof *r->statuses)};
    return r->keys && r->indexes && r->values && r->statuses;
}

static void rest_end(rest *r)
{
    heap_free(r->keys);
    heap_free(r->indexes);
    heap_free(r->values);
    heap_free(r->statuses);
}

/* Those that it has written are answered; the others become the rest. */
static int take_own(tree *t, firn_txn *txn, const many *m, size_t count, rest *r, firn_error *err)
{
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < count; i++) {
        own_answer own;
        firn_slice written;
        rc = txn_get(txn, t, m->keys[i], &own, &written, err);
        if (rc == FIRN_OK && own == OWN_VALUE)
            rc = value_of_copy(written, &m->values[i], err);
        m->statuses[i] = own == OWN_DELETED ? FIRN_NOT_FOUND : FIRN_OK;
        if (rc != FIRN_OK || own != OWN_NOTHING)
            continue;
        r->keys[r->count] = m->keys[i];
        r->indexes[r->count++] = i;
    }
    return rc;
}

static void fail_all(const many *m, size_t count, int rc)
{
    for (size_t i = 0; i < count; i++) {
        firn_value_release(&m->values[i]);
        m->statuses[i] = rc;
    }
}

static int get_in_txn(tree *t, const many *m, size_t count, const firn_read_options *o,
                      firn_error *err)
{
    rest r;
    firn_read_options plain = *o;
    plain.txn = NULL;
    plain.snapshot = &o->txn->at;
    int rc = rest_begin(&r, count) ? FIRN_OK : error_no_memory(err);
    if (rc == FIRN_OK && is_cancelled(o->cancel ? &o->cancel->fired : NULL))
        rc = error_cancelled(err);
    if (rc == FIRN_OK)
        rc = take_own(t, o->txn, m, count, &r, err);
    if (rc != FIRN_OK) {
        fail_all(m, count, rc);
        rest_end(&r);
        return rc;
    }
    if (r.count)
        rc = firn_get_many(t, r.keys, r.count, &plain, r.values, r.statuses, err);
    for (size_t i = 0; i < r.count; i++) {
        m->values[r.indexes[i]] = r.values[i];
        m->statuses[r.indexes[i]] = r.statuses[i];
    }
    rest_end(&r);
    return rc;
}

int firn_get_many(tree *t, const firn_slice *keys, size_t count, const firn_read_options *options,
                  firn_value *values, int *statuses, firn_error *error)
{
    firn_read_options o;
    store *db;
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK)
        rc = read_options_take(db, options, &o, error);
    if (rc == FIRN_OK)
        rc = check_many(keys, count, values, statuses, error);
    view *v = rc == FIRN_OK ? tree_view(t) : NULL; /* before the number, as in read.c */
    if (rc == FIRN_OK && !v)
        rc = tree_dropped(t, error);
    for (size_t i = 0; i < count && values && statuses; i++) {
        values[i] = (firn_value){0};
        statuses[i] = rc;
    }
    if (rc != FIRN_OK || count == 0) {
        view_unref(v);
        return rc;
    }
    many m = {
        .view = v,
        .seq = o.snapshot ? o.snapshot->seq
                          : atomic_load_explicit(&db->visible_seq, memory_order_acquire),
        .keys = keys,
        .values = values,
        .statuses = statuses,
        .first_failed = SIZE_MAX,
        .error = error,
    };
    if (o.txn) {
        rc = get_in_txn(t, &m, count, &o, error);
        view_unref(v);
        return rc;
    }
    uint64_t began = latency_begin(db);
    rc = get_all(&m, db, count, o.cancel);
    (void)latency_end(db, FIRN_LATENCY_GET_MANY, began, rc);
    view_unref(v);
    if (rc != FIRN_OK)
        return error_cancelled(error);
    return m.first_failed == SIZE_MAX ? FIRN_OK : statuses[m.first_failed];
}
