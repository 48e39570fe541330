/* own_walk: an iterator over what a transaction sees: the store at its number, and above that its
 * own writes.
 *
 * Two walks go side by side, one over the store (`base`, an iterator like any other) and one over
 * the transaction's puts and deletes. Where both have a key, its own counts; keys of the store that
 * it has deleted as a range are passed by a seek to the range's end.
 *
 * With `serializable`, what a movement passes is noted. A walk by steps makes one growing stretch
 * of it, which the transaction gets when the iterator is sent elsewhere, turns, or ends, or when
 * the transaction is committed.
 *
 * Invariants, of a walk forwards that shows a key (backwards, the mirror image)
 *   W1  `base` stands at the key, if it is from there, else behind it.
 *   W2  `at` is the first own write that is not in front of the key; behind it, if that is from the
 *       base. It is good while own.writes is `writes`.
 *   W3  No own write lies between the key and where a step goes on, but for such that were added
 *       since: they are found, since `at` is looked for again.
 */
#include <base/alloc.h>
#include <base/entry.h>
#include <base/error.h>

#include "iterator.h"

struct own_walk {
    firn_txn *txn; /* NULL: it is over */
    own_walk *next, **link;
    tree *tree; /* held */
    /* NULL: freed. What it has passed last is here until the transaction can take it. */
    firn_iter *it;
    firn_iter *base;
    const own_node *at;
    uint64_t writes; /* of `own`, when `at` was found */
    bool backward, from_own;
    /* What was passed since the iterator was sent somewhere: from `from` to `to`, which is in it
     * only with to_closed; NULL data: no bound. */
    bool passes, to_closed;
    firn_slice from, to;
    buf from_key, to_key;
};

int own_walk_new(firn_txn *txn, firn_iter *it, firn_iter *base)
{
    own_walk *w = heap_zalloc(sizeof *w);
    if (!w)
        return FIRN_NO_MEMORY;
    w->txn = txn;
    w->tree = it->tree;
    w->it = it;
    w->base = base;
    tree_hold(w->tree);
    w->next = txn->walks;
    w->link = &txn->walks;
    if (w->next)
        w->next->link = &w->next;
    txn->walks = w;
    it->own = w;
    return FIRN_OK;
}

static void leave(own_walk *w)
{
    if (!w->txn)
        return;
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    w->txn = NULL;
}

static void destroy(own_walk *w)
{
    leave(w);
    tree_let_go(w->tree);
    buf_release(&w->from_key);
    buf_release(&w->to_key);
    heap_free(w);
}

static int stop_over(firn_iter *it)
{
    error_set(&it->error, FIRN_INVALID,
              "the iterator's transaction has been committed, reset, rolled back or freed");
    return iter_stop(it, FIRN_INVALID);
}

void own_walks_end(firn_txn *txn)
{
    while (txn->walks) {
        own_walk *w = txn->walks;
        leave(w);
        if (w->it)
            stop_over(w->it); /* it may show bytes that go now */
        else
            destroy(w);
    }
}

int own_walk_check(firn_iter *it)
{
    return it->own->txn ? FIRN_OK : stop_over(it);
}

/* ---- What was passed ---- */

/* The transaction gets it. Where that fails, it is still there. */
static int give_passed(own_walk *w, firn_error *err)
{
    if (!w->passes)
        return FIRN_OK;
    if (w->to.data && w->to_closed) {
        if (entry_key_behind(&w->to_key) != FIRN_OK)
            return error_no_memory(err);
        w->to = buf_slice(&w->to_key);
        w->to_closed = false;
    }
    bool any = !w->to.data || slice_compare(w->from, w->to) < 0;
    int rc = any ? txn_note_range(w->txn, w->tree, w->from, w->to, err) : FIRN_OK;
    w->passes = rc != FIRN_OK;
    return rc;
}

int own_walks_note(firn_txn *txn, firn_error *err)
{
    int rc = FIRN_OK;
    for (own_walk *w = txn->walks; rc == FIRN_OK && w; w = w->next)
        rc = give_passed(w, err);
    return rc;
}

static int set_from(own_walk *w, firn_slice key)
{
    int rc = buf_assign(&w->from_key, key.data, key.size);
    w->from = slice_somewhere(buf_slice(&w->from_key));
    return rc;
}

static int set_to(own_walk *w, firn_slice key, bool closed)
{
    w->to_closed = closed;
    w->to = key;
    if (!key.data)
        return FIRN_OK;
    int rc = buf_assign(&w->to_key, key.data, key.size);
    w->to = slice_somewhere(buf_slice(&w->to_key));
    return rc;
}

/* A movement begins at `key` (NULL data: at the bound), which is passed if `closed`. */
static int begin_passing(firn_iter *it, firn_slice key, bool closed)
{
    own_walk *w = it->own;
    if (!w->txn->serializable)
        return FIRN_OK;
    int rc = give_passed(w, &it->error);
    if (rc != FIRN_OK)
        return rc;
    if (w->backward)
        rc = set_to(w, key.data ? key : it->limits.upper, key.data && closed);
    else
        rc = set_from(w, key.data ? key : it->limits.lower);
    return rc == FIRN_OK ? rc : error_no_memory(&it->error);
}

/* It ends: at the key that is shown, or at the bound. */
static int end_passing(firn_iter *it)
{
    own_walk *w = it->own;
    if (!w->txn->serializable || (!it->valid && it->status != FIRN_END))
        return it->status;
    int rc;
    if (w->backward)
        rc = set_from(w, it->valid ? it->current_key : it->limits.lower);
    else
        rc = set_to(w, it->valid ? it->current_key : it->limits.upper, it->valid);
    w->passes = w->passes || rc == FIRN_OK;
    return rc == FIRN_OK ? it->status : iter_stop(it, error_no_memory(&it->error));
}

void own_walk_free(own_walk *w)
{
    if (!w)
        return;
    firn_iter_free(w->base);
    w->it = w->base = NULL;
    if (!w->txn || give_passed(w, NULL) == FIRN_OK)
        destroy(w);
}

/* ---- Own writes ---- */

static const own_bucket *bucket_of(const own_walk *w)
{
    return own_find(&w->txn->own, w->tree);
}

static void find_from(firn_iter *it, firn_slice key, bool open)
{
    own_walk *w = it->own;
    w->at = own_from(bucket_of(w), key, open);
    if (w->at && it->limits.upper.data && slice_compare(w->at->n.key, it->limits.upper) >= 0)
        w->at = NULL;
    w->writes = w->txn->own.writes;
}

static void find_up_to(firn_iter *it, firn_slice key, bool open)
{
    own_walk *w = it->own;
    w->at = own_up_to(bucket_of(w), key, open);
    if (w->at && it->limits.lower.data && slice_compare(w->at->n.key, it->limits.lower) < 0)
        w->at = NULL;
    w->writes = w->txn->own.writes;
}

/* ---- Both together ---- */

/* What a movement of the base has come to: true, it can be gone on from. */
static bool base_goes_on(firn_iter *it)
{
    int rc = firn_iter_status(it->own->base, &it->error);
    if (rc != FIRN_OK)
        iter_stop(it, rc);
    return rc == FIRN_OK;
}

static int show_own(firn_iter *it)
{
    own_walk *w = it->own;
    w->from_own = true;
    return iter_show(it, w->at->n.key, w->at->value);
}

static int show_base(firn_iter *it)
{
    own_walk *w = it->own;
    w->from_own = false;
    return iter_show(it, firn_iter_key(w->base), firn_iter_value(w->base));
}

/* From where both stand to the first key that is there. */
static int settle_forward(firn_iter *it)
{
    own_walk *w = it->own;
    const own_bucket *own = bucket_of(w);
    firn_iter *base = w->base;
    while (base_goes_on(it)) {
        if (!firn_iter_valid(base) && !w->at)
            return iter_stop(it, FIRN_END);
        firn_slice key = firn_iter_key(base);
        int c = !w->at ? -1 : !firn_iter_valid(base) ? 1 : slice_compare(key, w->at->n.key);
        if (c < 0) {
            const own_node *erased = own_erased_at(own, key);
            if (!erased)
                return show_base(it);
            firn_iter_seek(base, erased->value.data, erased->value.size);
            continue;
        }
        if (c == 0) {
            firn_iter_next(base);
            if (!base_goes_on(it))
                break;
        }
        if (w->at->kind == FIRN_PUT)
            return show_own(it);
        find_from(it, w->at->n.key, true);
    }
    return it->status;
}

static int settle_backward(firn_iter *it)
{
    own_walk *w = it->own;
    const own_bucket *own = bucket_of(w);
    firn_iter *base = w->base;
    while (base_goes_on(it)) {
        if (!firn_iter_valid(base) && !w->at)
            return iter_stop(it, FIRN_END);
        firn_slice key = firn_iter_key(base);
        int c = !w->at ? 1 : !firn_iter_valid(base) ? -1 : slice_compare(key, w->at->n.key);
        if (c > 0) {
            const own_node *erased = own_erased_at(own, key);
            if (!erased)
                return show_base(it);
            firn_slice first = erased->n.key;
            firn_iter_seek_for_prev(base, first.data, first.size);
            if (firn_iter_valid(base) && slice_equal(firn_iter_key(base), first))
                firn_iter_prev(base);
            continue;
        }
        if (c == 0) {
            firn_iter_prev(base);
            if (!base_goes_on(it))
                break;
        }
        if (w->at->kind == FIRN_PUT)
            return show_own(it);
        find_up_to(it, w->at->n.key, true);
    }
    return it->status;
}

static int settle(firn_iter *it)
{
    if (it->own->backward)
        settle_backward(it);
    else
        settle_forward(it);
    return end_passing(it);
}

/* ---- Movements ---- */

static bool begin(firn_iter *it, bool backward, firn_slice key, bool closed)
{
    it->own->backward = backward;
    int rc = begin_passing(it, key, closed);
    if (rc != FIRN_OK)
        iter_stop(it, rc);
    return rc == FIRN_OK;
}

int own_walk_first(firn_iter *it)
{
    if (!begin(it, false, (firn_slice){0}, false))
        return it->status;
    firn_iter_first(it->own->base);
    find_from(it, slice_somewhere(it->limits.lower), false);
    return settle(it);
}

int own_walk_last(firn_iter *it)
{
    own_walk *w = it->own;
    if (!begin(it, true, (firn_slice){0}, false))
        return it->status;
    firn_iter_last(w->base);
    if (it->limits.upper.data) {
        find_up_to(it, it->limits.upper, true);
        return settle(it);
    }
    const own_bucket *own = bucket_of(w);
    const cow_node *last = own ? cow_last(own->points) : NULL;
    w->at = NULL;
    w->writes = w->txn->own.writes;
    if (last)
        find_up_to(it, last->key, false);
    return settle(it);
}

static bool is_in_front(firn_slice key, firn_slice bound)
{
    return bound.data && slice_compare(key, bound) < 0;
}

int own_walk_seek(firn_iter *it, firn_slice key)
{
    key = slice_somewhere(key);
    if (is_in_front(key, it->limits.lower))
        key = it->limits.lower;
    if (!begin(it, false, key, true))
        return it->status;
    firn_iter_seek(it->own->base, key.data, key.size);
    find_from(it, key, false);
    return settle(it);
}

int own_walk_seek_for_prev(firn_iter *it, firn_slice key)
{
    key = slice_somewhere(key);
    bool beyond = it->limits.upper.data && !is_in_front(key, it->limits.upper);
    if (beyond)
        return own_walk_last(it);
    if (!begin(it, true, key, true))
        return it->status;
    firn_iter_seek_for_prev(it->own->base, key.data, key.size);
    find_up_to(it, key, false);
    return settle(it);
}

/* The key that is shown, in a copy: it must outlast a movement of the base. */
static bool keep_key(firn_iter *it, firn_slice *key)
{
    if (iter_copy_to(&it->key, it->current_key) != FIRN_OK) {
        iter_stop(it, error_no_memory(&it->error));
        return false;
    }
    *key = slice_somewhere(buf_slice(&it->key));
    return true;
}

int own_walk_next(firn_iter *it)
{
    own_walk *w = it->own;
    if (w->backward) {
        firn_slice key;
        if (!keep_key(it, &key) || !begin(it, false, key, true))
            return it->status;
        firn_iter_seek(w->base, key.data, key.size);
        if (firn_iter_valid(w->base) && slice_equal(firn_iter_key(w->base), key))
            firn_iter_next(w->base);
        find_from(it, key, true);
        return settle(it);
    }
    if (w->from_own || w->writes != w->txn->own.writes)
        find_from(it, it->current_key, true);
    if (!w->from_own)
        firn_iter_next(w->base);
    return settle(it);
}

int own_walk_prev(firn_iter *it)
{
    own_walk *w = it->own;
    if (!w->backward) {
        firn_slice key;
        if (!keep_key(it, &key) || !begin(it, true, key, true))
            return it->status;
        firn_iter_seek_for_prev(w->base, key.data, key.size);
        if (firn_iter_valid(w->base) && slice_equal(firn_iter_key(w->base), key))
            firn_iter_prev(w->base);
        find_up_to(it, key, true);
        return settle(it);
    }
    if (w->from_own || w->writes != w->txn->own.writes)
        find_up_to(it, it->current_key, true);
    if (!w->from_own)
        firn_iter_prev(w->base);
    return settle(it);
}
