/* merge: see merge.h. */
#include "merge.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/buf.h>
#include <base/error.h>
#include <base/slice.h>

/* The key's first 16 bytes, so that few comparisons look at the keys themselves. */
typedef struct slot {
    uint64_t piece, piece2;
    iter *child;
} slot;

typedef struct merge_iter {
    iter it;
    buf key; /* the position while children are turned round */
    bool backward;
    size_t count; /* children */
    size_t live;  /* slots in the heap; slot 0 is the current one */
    size_t next;  /* the slot that comes first of those below slot 0; 0: not known */
    slot *heap;
    iter *children[];
} merge_iter;

static inline slot slot_of(iter *child)
{
    return (slot){slice_piece(child->key, 0), slice_piece(child->key, 8), child};
}

/* Does a come before b in the direction of travel? */
static inline bool comes_first(const merge_iter *m, const slot *a, const slot *b)
{
    int c;
    if (a->piece != b->piece)
        c = a->piece < b->piece ? -1 : 1;
    else if (a->piece2 != b->piece2)
        c = a->piece2 < b->piece2 ? -1 : 1;
    else
        c = slice_compare(a->child->key, b->child->key);
    if (c == 0)
        c = a->child->seq > b->child->seq ? -1 : 1;
    return m->backward ? c > 0 : c < 0;
}

/* Of the two slots below slot i, the one that comes first; m->live or more: there are none. */
static inline size_t first_below(const merge_iter *m, size_t i)
{
    size_t c = 2 * i + 1;
    return c + 1 < m->live && comes_first(m, &m->heap[c + 1], &m->heap[c]) ? c + 1 : c;
}

/* Moves what is in slot i down; c is first_below(m, i). */
static void sift_down(merge_iter *m, size_t i, size_t c)
{
    slot moving = m->heap[i];
    while (c < m->live && comes_first(m, &m->heap[c], &moving)) {
        m->heap[i] = m->heap[c];
        i = c;
        c = first_below(m, i);
    }
    m->heap[i] = moving;
}

static void fail(merge_iter *m, const iter *child)
{
    m->it.valid = false;
    m->it.status = child->status;
}

static void take_top(merge_iter *m)
{
    if (m->live == 0) {
        m->it.valid = false;
        return;
    }
    iter *c = m->heap[0].child;
    if (c->deferred) {
        c->ops->fetch(c);
        if (!c->valid) {
            fail(m, c);
            return;
        }
    }
    m->it.key = c->key;
    m->it.value = c->value;
    m->it.seq = c->seq;
    m->it.kind = c->kind;
    m->it.valid = true;
}

/* All children have been positioned: builds the heap. One child's error is the merge's: the last
 * one's, which is described (I4). */
static void gather(merge_iter *m, bool backward)
{
    m->backward = backward;
    m->live = 0;
    m->it.status = FIRN_OK;
    for (size_t i = 0; i < m->count; i++) {
        iter *c = m->children[i];
        if (c->status != FIRN_OK)
            fail(m, c);
        else if (c->valid)
            m->heap[m->live++] = slot_of(c);
    }
    if (m->it.status != FIRN_OK)
        return;
    for (size_t i = m->live / 2; i-- > 0;)
        sift_down(m, i, first_below(m, i));
    m->next = 0;
    take_top(m);
}

static void merge_first(iter *it)
{
    merge_iter *m = (merge_iter *)it;
    for (size_t i = 0; i < m->count; i++)
        m->children[i]->ops->first(m->children[i]);
    gather(m, false);
}

static void merge_last(iter *it)
{
    merge_iter *m = (merge_iter *)it;
    for (size_t i = 0; i < m->count; i++)
        m->children[i]->ops->last(m->children[i]);
    gather(m, true);
}

static void merge_seek(iter *it, firn_slice key, uint64_t seq)
{
    merge_iter *m = (merge_iter *)it;
    for (size_t i = 0; i < m->count; i++)
        m->children[i]->ops->seek(m->children[i], key, seq);
    gather(m, false);
}

static void merge_seek_before(iter *it, firn_slice key, uint64_t seq)
{
    merge_iter *m = (merge_iter *)it;
    for (size_t i = 0; i < m->count; i++)
        m->children[i]->ops->seek_before(m->children[i], key, seq);
    gather(m, true);
}

/* Brings every child to the current position from the other side. The copy is needed because the
 * key belongs to a child that is about to move. */
static bool turn(merge_iter *m, bool backward)
{
    uint64_t seq = m->it.seq;
    if (buf_assign(&m->key, m->it.key.data, m->it.key.size) != FIRN_OK) {
        m->it.valid = false;
        m->it.status = error_no_memory(m->it.error);
        return false;
    }
    if (backward)
        merge_seek_before(&m->it, slice_somewhere(buf_slice(&m->key)), seq);
    else
        merge_seek(&m->it, slice_somewhere(buf_slice(&m->key)), seq);
    return true;
}

/* The top child has moved: puts it where it belongs now. Often it stays on top, which one
 * comparison tells, since the slots below have not changed. */
static inline void settle(merge_iter *m)
{
    iter *c = m->heap[0].child;
    if (__builtin_expect(c->valid, 1)) {
        m->heap[0] = slot_of(c);
    } else if (c->status != FIRN_OK) {
        fail(m, c);
        return;
    } else {
        m->heap[0] = m->heap[--m->live];
        m->next = 0;
    }
    if (m->next == 0)
        m->next = first_below(m, 0);
    if (m->next < m->live && comes_first(m, &m->heap[m->next], &m->heap[0])) {
        sift_down(m, 0, m->next);
        m->next = 0;
    }
    take_top(m);
}

static void merge_next(iter *it)
{
    merge_iter *m = (merge_iter *)it;
    /* Turning leaves us at the current element again, which next() then steps over. */
    if (m->backward && (!turn(m, false) || !it->valid))
        return;
    m->heap[0].child->ops->next(m->heap[0].child);
    settle(m);
}

static void merge_prev(iter *it)
{
    merge_iter *m = (merge_iter *)it;
    if (!m->backward) {
        turn(m, true); /* lands on the element before, which is where prev() goes */
        return;
    }
    m->heap[0].child->ops->prev(m->heap[0].child);
    settle(m);
}

static bool top_is_behind(const merge_iter *m, size_t rank)
{
    size_t i = 0;
    while (m->children[i] != m->heap[0].child)
        i++;
    return i > rank;
}

/* Backwards: the child that comes next is one of two, and one with a newer version of the key comes
 * before all with other keys. */
static bool merge_is_newest(const iter *it)
{
    const merge_iter *m = (const merge_iter *)it;
    assert(m->backward);
    for (size_t i = 1; i < m->live && i <= 2; i++)
        if (slice_equal(m->heap[i].child->key, it->key))
            return false;
    const iter *c = m->heap[0].child;
    return c->ops->is_newest(c);
}

static void merge_close(iter *it)
{
    merge_iter *m = (merge_iter *)it;
    for (size_t i = 0; i < m->count; i++)
        m->children[i]->ops->close(m->children[i]);
    buf_release(&m->key);
    heap_free(m->heap);
    heap_free(m);
}

static const iter_ops merge_ops = {
    .first = merge_first,
    .last = merge_last,
    .seek = merge_seek,
    .seek_before = merge_seek_before,
    .next = merge_next,
    .prev = merge_prev,
    .close = merge_close,
    .is_newest = merge_is_newest,
};

void merge_skip(iter *it, size_t rank, firn_slice to)
{
    merge_iter *m = (merge_iter *)it;
    if (it->ops != &merge_ops || m->backward || !top_is_behind(m, rank)) {
        it->ops->next(it);
        return;
    }
    iter *c = m->heap[0].child;
    c->ops->seek(c, to, FIRN_MAX_SEQ);
    settle(m);
}

void merge_skip_back(iter *it, size_t rank, firn_slice from)
{
    merge_iter *m = (merge_iter *)it;
    if (it->ops != &merge_ops || !m->backward || !top_is_behind(m, rank)) {
        it->ops->prev(it);
        return;
    }
    iter *c = m->heap[0].child;
    c->ops->seek_before(c, from, FIRN_MAX_SEQ);
    settle(m);
}

int merge_iter_new(iter **children, size_t count, iter **out)
{
    if (count == 1) {
        *out = children[0];
        return FIRN_OK;
    }
    merge_iter *m = heap_zalloc(sizeof *m + count * sizeof *children);
    slot *heap = heap_alloc((count ? count : 1) * sizeof *heap);
    if (!m || !heap) {
        heap_free(m);
        heap_free(heap);
        return merge_iter_of(FIRN_NO_MEMORY, children, count, out);
    }
    m->it.ops = &merge_ops;
    m->count = count;
    m->heap = heap;
    for (size_t i = 0; i < count; i++) {
        m->children[i] = children[i];
        m->children[i]->lazy = true; /* a reader sees only the top's value */
    }
    *out = &m->it;
    return FIRN_OK;
}

int merge_iter_of(int rc, iter **children, size_t count, iter **out)
{
    if (rc == FIRN_OK)
        return merge_iter_new(children, count, out);
    for (size_t i = 0; i < count; i++)
        children[i]->ops->close(children[i]);
    return rc;
}
