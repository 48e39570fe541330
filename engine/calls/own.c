/* own: see own.h. */
#include "own.h"

#include <base/alloc.h>
#include <base/entry.h>
#include <base/grow.h>
#include <base/search.h>
#include <base/slice.h>
#include <stdlib.h>
#include <string.h>

struct own_bytes {
    own_bytes *older;
    size_t used, size;
    uint8_t data[];
};

struct own_form {
    own_bucket *bucket;
    cow_node *points, *erased;
};

enum { BYTES_FIRST = 1 << 10, BYTES_MOST = 256 << 10 };

void own_init(own_writes *o)
{
    *o = (own_writes){.pool = {.node_bytes = sizeof(own_node)}};
}

void own_clear(own_writes *o)
{
    uint64_t writes = o->writes;
    for (size_t i = 0; i < o->count; i++) {
        tree_let_go(o->buckets[i]->tree);
        heap_free(o->buckets[i]);
    }
    heap_free(o->buckets);
    for (own_bytes *older, *b = o->bytes; b; b = older) {
        older = b->older;
        heap_free(b);
    }
    cow_pool_release(&o->pool);
    own_init(o);
    o->writes = writes + 1;
}

/* ---- Buckets ---- */

static bool is_before(const void *buckets, size_t at, void *wanted)
{
    return ((own_bucket *const *)buckets)[at]->tree->bucket < ((const tree *)wanted)->bucket;
}

static size_t place_of(const own_writes *o, const tree *t)
{
    return search_first(o->buckets, 0, o->count, (void *)(uintptr_t)t, is_before);
}

own_bucket *own_find(const own_writes *o, const tree *t)
{
    size_t at = place_of(o, t);
    return at < o->count && o->buckets[at]->tree == t ? o->buckets[at] : NULL;
}

own_bucket *own_open(own_writes *o, tree *t)
{
    size_t at = place_of(o, t);
    if (at < o->count && o->buckets[at]->tree == t)
        return o->buckets[at];
    own_bucket *b = heap_zalloc(sizeof *b);
    if (!b || array_grow(&o->buckets, &o->capacity, o->count, sizeof *o->buckets, NULL)) {
        heap_free(b);
        return NULL;
    }
    memmove(o->buckets + at + 1, o->buckets + at, (o->count - at) * sizeof *o->buckets);
    o->buckets[at] = b;
    o->count++;
    b->tree = t;
    tree_hold(t);
    return b;
}

/* ---- Bytes ---- */

static uint8_t *more_bytes(own_writes *o, size_t size)
{
    own_bytes *newest = o->bytes;
    if (newest && size <= newest->size - newest->used) {
        newest->used += size;
        return newest->data + newest->used - size;
    }
    size_t room = newest ? 2 * newest->size : BYTES_FIRST;
    room = room < BYTES_MOST ? room : BYTES_MOST;
    bool large = size > room / 4; /* it gets its own, and what is left of the newest is used on */
    own_bytes *b = heap_alloc(sizeof *b + (large ? size : room));
    if (!b)
        return NULL;
    b->size = large ? size : room;
    b->used = size;
    b->older = newest;
    o->bytes = b;
    if (large && newest) {
        b->older = newest->older;
        newest->older = b;
        o->bytes = newest;
    }
    return b->data;
}

bool own_copy(own_writes *o, firn_slice from, firn_slice *out)
{
    uint8_t *to = more_bytes(o, from.size + 1);
    if (!to)
        return false;
    if (from.size)
        memcpy(to, from.data, from.size);
    to[from.size] = 0;
    *out = (firn_slice){to, from.size};
    return true;
}

/* ---- Changes ---- */

static void set(cow_node *n, firn_slice value, firn_kind kind)
{
    own_node *mine = (own_node *)(void *)n;
    mine->value = value;
    mine->kind = kind;
}

int own_reserve(own_writes *o, size_t changes)
{
    return cow_reserve(&o->pool, changes);
}

/* The node of the key, if nothing on the way to it belongs to an older form. */
static cow_node *in_place(const own_writes *o, cow_node *n, firn_slice key)
{
    while (n && n->edit == o->pool.edit) {
        int c = slice_compare(key, n->key);
        if (c == 0)
            return n;
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

void own_write(own_writes *o, own_bucket *b, firn_kind kind, firn_slice key, firn_slice value)
{
    cow_node *below, *rest, *mine = in_place(o, b->points, key);
    o->writes++;
    if (mine) {
        set(mine, value, kind);
        return;
    }
    cow_split(&o->pool, b->points, key, &below, &rest);
    const cow_node *first = cow_first(rest);
    if (first && slice_equal(first->key, key))
        rest = cow_pop_first(&o->pool, rest, &mine);
    else
        mine = cow_new(&o->pool, key);
    set(mine, value, kind);
    b->points = cow_join(&o->pool, below, mine, rest);
}

/* Which of two ends of ranges comes first. NULL data: none, which is the last one. */
static int compare_ends(firn_slice a, firn_slice b)
{
    if (!a.data || !b.data)
        return (b.data != NULL) - (a.data != NULL);
    return slice_compare(a, b);
}

static firn_slice end_of(const cow_node *n)
{
    return own_of(n)->value;
}

/* The last one that begins at or in front of an end. */
static const cow_node *last_begun(const cow_node *n, firn_slice end)
{
    const cow_node *next;
    return end.data ? cow_not_above(n, end, &next) : cow_last(n);
}

/* What lies in front of `first`, and what begins at `end` or behind it. */
static void cut_out(own_writes *o, cow_node *n, firn_slice first, firn_slice end, cow_node **below,
                    cow_node **behind)
{
    cow_node *inside;
    *behind = NULL;
    cow_split(&o->pool, n, first, below, &inside);
    if (end.data)
        cow_split(&o->pool, inside, end, &inside, behind);
}

static cow_node *unite(own_writes *o, cow_node *ranges, firn_slice first, firn_slice end)
{
    const cow_node *next, *at = cow_not_above(ranges, first, &next);
    if (at && compare_ends(first, end_of(at)) <= 0) {
        first = at->key;
        if (compare_ends(end, end_of(at)) <= 0)
            return ranges;
    }
    at = last_begun(ranges, end);
    if (at && compare_ends(end, end_of(at)) < 0)
        end = end_of(at);
    cow_node *below, *behind, *mine = cow_new(&o->pool, first);
    set(mine, end, FIRN_DELETE_RANGE);
    cut_out(o, ranges, first, end, &below, &behind);
    return cow_join(&o->pool, below, mine, behind);
}

void own_erase(own_writes *o, own_bucket *b, firn_slice first, firn_slice end)
{
    cow_node *below, *behind;
    cut_out(o, b->points, first, end, &below, &behind);
    b->points = cow_concat(&o->pool, below, behind);
    b->erased = unite(o, b->erased, first, end);
    o->writes++;
}

void own_look(own_writes *o, own_bucket *b, firn_slice first, firn_slice end)
{
    b->looked = unite(o, b->looked, first, end);
}

/* ---- Reading ---- */

static const own_node *range_at(const cow_node *ranges, firn_slice key)
{
    const cow_node *next, *n = cow_not_above(ranges, key, &next);
    return n && compare_ends(key, end_of(n)) < 0 ? own_of(n) : NULL;
}

const own_node *own_erased_at(const own_bucket *b, firn_slice key)
{
    return b ? range_at(b->erased, key) : NULL;
}

bool own_is_looked(const own_bucket *b, firn_slice first, firn_slice end)
{
    const own_node *n = b ? range_at(b->looked, first) : NULL;
    return n && compare_ends(end, n->value) <= 0;
}

own_answer own_get(const own_bucket *b, firn_slice key, firn_slice *value)
{
    const cow_node *next, *n = b ? cow_not_above(b->points, key, &next) : NULL;
    if (n && slice_equal(n->key, key)) {
        *value = own_of(n)->value;
        return own_of(n)->kind == FIRN_PUT ? OWN_VALUE : OWN_DELETED;
    }
    return own_erased_at(b, key) ? OWN_DELETED : OWN_NOTHING;
}

const own_node *own_from(const own_bucket *b, firn_slice key, bool open)
{
    const cow_node *next = NULL, *n = b ? cow_not_above(b->points, key, &next) : NULL;
    return own_of(n && !open && slice_equal(n->key, key) ? n : next);
}

const own_node *own_up_to(const own_bucket *b, firn_slice key, bool open)
{
    const cow_node *next;
    if (!b)
        return NULL;
    return own_of(open ? cow_below(b->points, key) : cow_not_above(b->points, key, &next));
}

/* ---- Marks ---- */

int own_mark_here(own_writes *o, own_mark *out)
{
    out->count = o->count;
    out->forms = heap_alloc((o->count + 1) * sizeof *out->forms);
    if (!out->forms)
        return FIRN_NO_MEMORY;
    for (size_t i = 0; i < o->count; i++) {
        own_bucket *b = o->buckets[i];
        out->forms[i] = (struct own_form){b, b->points, b->erased};
    }
    cow_seal(&o->pool);
    return FIRN_OK;
}

void own_go_back(own_writes *o, const own_mark *to)
{
    for (size_t i = 0; i < o->count; i++)
        o->buckets[i]->points = o->buckets[i]->erased = NULL;
    for (size_t i = 0; i < to->count; i++) {
        to->forms[i].bucket->points = to->forms[i].points;
        to->forms[i].bucket->erased = to->forms[i].erased;
    }
    o->writes++;
}

void own_mark_release(own_mark *m)
{
    heap_free(m->forms);
    *m = (own_mark){0};
}

/* ---- For the commit ---- */

typedef struct listing {
    watched *keys;
    size_t count, capacity;
    const tree *bucket;
} listing;

static int list_one(listing *l, firn_slice first, firn_slice end)
{
    if (array_grow(&l->keys, &l->capacity, l->count, sizeof *l->keys, NULL))
        return FIRN_NO_MEMORY;
    l->keys[l->count++] = (watched){l->bucket, first, end};
    return FIRN_OK;
}

static int list_points(listing *l, const cow_node *n)
{
    if (!n)
        return FIRN_OK;
    int rc = list_points(l, n->left);
    if (rc == FIRN_OK)
        rc = list_one(l, n->key, (firn_slice){n->key.data, n->key.size + 1}); /* O4 */
    return rc == FIRN_OK ? list_points(l, n->right) : rc;
}

static int list_ranges(listing *l, const cow_node *n)
{
    if (!n)
        return FIRN_OK;
    int rc = list_ranges(l, n->left);
    if (rc == FIRN_OK)
        rc = list_one(l, n->key, end_of(n));
    return rc == FIRN_OK ? list_ranges(l, n->right) : rc;
}

static int by_first(const void *a, const void *b)
{
    const watched *x = a, *y = b;
    int c = slice_compare(x->first, y->first);
    return c ? c : compare_ends(x->end, y->end);
}

/* Makes one of those that overlap. Single keys that follow each other stay single keys, which cost
 * less to look at. */
static size_t merge_watched(watched *k, size_t count)
{
    size_t kept = count > 0;
    for (size_t i = 1; i < count; i++) {
        watched *last = &k[kept - 1];
        if (compare_ends(k[i].first, last->end) >= 0)
            k[kept++] = k[i];
        else if (compare_ends(k[i].end, last->end) > 0)
            last->end = k[i].end;
    }
    return kept;
}

int own_watched(const own_writes *o, watched **keys, size_t *count)
{
    listing l = {0};
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < o->count; i++) {
        const own_bucket *b = o->buckets[i];
        size_t from = l.count;
        l.bucket = b->tree;
        rc = list_points(&l, b->points);
        if (rc == FIRN_OK)
            rc = list_ranges(&l, b->erased);
        if (rc == FIRN_OK)
            rc = list_ranges(&l, b->looked);
        if (rc != FIRN_OK || l.count == from)
            continue;
        qsort(l.keys + from, l.count - from, sizeof *l.keys, by_first);
        l.count = from + merge_watched(l.keys + from, l.count - from);
    }
    if (rc != FIRN_OK) {
        heap_free(l.keys);
        l = (listing){0};
    }
    *keys = l.keys;
    *count = l.count;
    return rc;
}

static int put_ranges(firn_batch *batch, const tree *t, const cow_node *n)
{
    if (!n)
        return FIRN_OK;
    int rc = put_ranges(batch, t, n->left);
    if (rc == FIRN_OK)
        rc = batch_add_named(batch, t->store->store_id, t->bucket, FIRN_DELETE_RANGE, n->key,
                             end_of(n));
    return rc == FIRN_OK ? put_ranges(batch, t, n->right) : rc;
}

/* A delete in a range that goes as a whole need not be said. */
static int put_points(firn_batch *batch, const own_bucket *b, const cow_node *n)
{
    if (!n)
        return FIRN_OK;
    const tree *t = b->tree;
    int rc = put_points(batch, b, n->left);
    if (rc == FIRN_OK && (own_of(n)->kind == FIRN_PUT || !own_erased_at(b, n->key)))
        rc = batch_add_named(batch, t->store->store_id, t->bucket, (firn_kind)own_of(n)->kind,
                             n->key, own_of(n)->value);
    return rc == FIRN_OK ? put_points(batch, b, n->right) : rc;
}

int own_to_batch(const own_writes *o, firn_batch *batch)
{
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < o->count; i++) {
        const own_bucket *b = o->buckets[i];
        rc = put_ranges(batch, b->tree, b->erased);
        if (rc == FIRN_OK)
            rc = put_points(batch, b, b->points);
    }
    return rc;
}
