/* merge: several runs shown as one, against a sorted list; whichever child the elements come from,
 * however long their keys agree, and whatever fails meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "merge.h"
#include "support/rng.h"
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>

enum { CHILDREN = 9, ELEMENTS = 120, KEY_ROOM = 24, SEEDS = 300, STEPS = 200 };

typedef struct element {
    uint8_t key[KEY_ROOM];
    size_t size;
    uint64_t seq;
} element;

static firn_slice key_of(const element *e)
{
    return slice_of(e->key, e->size);
}

static int order(firn_slice key, uint64_t seq, const element *e)
{
    int c = slice_compare(key, key_of(e));
    return c != 0 ? c : (seq < e->seq) - (seq > e->seq);
}

/* ---- A child: a list ---- */

typedef struct list_iter {
    iter it;
    const element *list[ELEMENTS];
    size_t count, at;
    int fails; /* the status of the next movement; FIRN_OK: it succeeds */
} list_iter;

static void go(iter *it, size_t at)
{
    list_iter *l = (list_iter *)it;
    it->status = l->fails;
    it->valid = it->status == FIRN_OK && at < l->count;
    if (it->status != FIRN_OK)
        error_set(it->error, it->status, "this child fails with %d", it->status);
    l->at = at;
    if (!it->valid)
        return;
    it->key = key_of(l->list[at]);
    it->seq = l->list[at]->seq;
    it->value = it->key;
    it->kind = FIRN_PUT;
}

static void list_first(iter *it)
{
    go(it, 0);
}

static void list_last(iter *it)
{
    go(it, ((list_iter *)it)->count - 1); /* wraps: none */
}

static void list_seek(iter *it, firn_slice key, uint64_t seq)
{
    list_iter *l = (list_iter *)it;
    size_t at = 0;
    while (at < l->count && order(key, seq, l->list[at]) > 0)
        at++;
    go(it, at);
}

static void list_seek_before(iter *it, firn_slice key, uint64_t seq)
{
    list_iter *l = (list_iter *)it;
    size_t at = 0;
    while (at < l->count && order(key, seq, l->list[at]) > 0)
        at++;
    go(it, at - 1);
}

static void list_next(iter *it)
{
    go(it, ((list_iter *)it)->at + 1);
}

static void list_prev(iter *it)
{
    go(it, ((list_iter *)it)->at - 1);
}

static void list_close(iter *it)
{
    heap_free(it);
}

static const iter_ops list_ops = {.first = list_first,
                                  .last = list_last,
                                  .seek = list_seek,
                                  .seek_before = list_seek_before,
                                  .next = list_next,
                                  .prev = list_prev,
                                  .close = list_close};

/* ---- A merge of lists ---- */

typedef struct world {
    rng r;
    element all[ELEMENTS];
    size_t count;
    list_iter *children[CHILDREN]; /* the merge's */
    iter *merge;
    firn_error err;
} world;

static int by_order(const void *a, const void *b)
{
    const element *e = a;
    return order(key_of(e), e->seq, b);
}

/* Keys that agree in nothing, in eight bytes, in sixteen, or in all of it; some end early. */
static void choose_key(rng *r, element *e)
{
    static const size_t agree[] = {0, 7, 8, 15, 16, 17};
    size_t from = agree[rng_below(r, sizeof agree / sizeof *agree)];
    memset(e->key, 'k', sizeof e->key);
    e->size = from + rng_below(r, 3);
    for (size_t i = from; i < e->size; i++)
        e->key[i] = (uint8_t)(rng_below(r, 4) * 85);
}

static void begin(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->r = rng_init(seed);
    w->count = rng_below(&w->r, ELEMENTS + 1);
    for (size_t i = 0; i < w->count; i++) {
        choose_key(&w->r, &w->all[i]);
        w->all[i].seq = i + 1;
    }
    qsort(w->all, w->count, sizeof *w->all, by_order);
    iter *its[CHILDREN];
    size_t children = 1 + rng_below(&w->r, CHILDREN);
    for (size_t i = 0; i < children; i++) {
        w->children[i] = heap_zalloc(sizeof *w->children[i]);
        assert_non_null(w->children[i]);
        w->children[i]->it.ops = &list_ops;
        w->children[i]->it.error = &w->err;
        its[i] = &w->children[i]->it;
    }
    size_t to = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (rng_below(&w->r, 3) == 0) /* else another one of the same child */
            to = rng_below(&w->r, children);
        w->children[to]->list[w->children[to]->count++] = &w->all[i];
    }
    assert_int_equal(merge_iter_new(its, children, &w->merge), FIRN_OK);
    w->merge->error = &w->err;
}

static void end(world *w)
{
    w->merge->ops->close(w->merge);
}

/* `at` beyond the list: none. */
static void must_stand_at(const world *w, size_t at)
{
    const iter *m = w->merge;
    assert_int_equal(m->status, FIRN_OK);
    assert_int_equal(m->valid, at < w->count);
    if (!m->valid)
        return;
    assert_int_equal(m->seq, w->all[at].seq);
    assert_true(slice_equal(m->key, key_of(&w->all[at])));
    assert_true(slice_equal(m->value, m->key));
}

static size_t place(const world *w, const element *e)
{
    size_t at = 0;
    while (at < w->count && order(key_of(e), e->seq, &w->all[at]) > 0)
        at++;
    return at;
}

/* One movement; where it leads to. */
static size_t move(world *w, size_t at)
{
    const iter_ops *ops = w->merge->ops;
    element e;
    choose_key(&w->r, &e);
    e.seq = rng_below(&w->r, ELEMENTS + 2);
    switch (rng_below(&w->r, at < w->count ? 24 : 4)) {
    case 0:
        ops->first(w->merge);
        return 0;
    case 1:
        ops->last(w->merge);
        return w->count - 1;
    case 2:
        ops->seek(w->merge, key_of(&e), e.seq);
        return place(w, &e);
    case 3:
        ops->seek_before(w->merge, key_of(&e), e.seq);
        return place(w, &e) - 1;
    case 4:
    case 5:
    case 6:
    case 7:
        ops->prev(w->merge);
        return at - 1;
    default:
        ops->next(w->merge);
        return at + 1;
    }
}

static void children_are_shown_as_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world w;
        begin(&w, seed);
        size_t at = SIZE_MAX;
        for (unsigned step = 0; step < STEPS; step++) {
            at = move(&w, at);
            must_stand_at(&w, at);
        }
        end(&w);
    }
}

/* Some children fail at a movement of all: the status that is shown is one that is described. */
static void an_error_is_the_one_that_is_described(void **state)
{
    (void)state;
    static const int failures[] = {FIRN_DAMAGED, FIRN_IO, FIRN_NO_MEMORY};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world w;
        begin(&w, seed);
        bool any = false;
        for (size_t i = 0; i < CHILDREN && w.children[i]; i++)
            if (rng_below(&w.r, 3) == 0) {
                w.children[i]->fails = failures[rng_below(&w.r, 3)];
                any = true;
            }
        rng_below(&w.r, 2) ? w.merge->ops->first(w.merge) : w.merge->ops->last(w.merge);
        if (any) {
            assert_false(w.merge->valid);
            assert_int_not_equal(w.merge->status, FIRN_OK);
            assert_int_equal(w.merge->status, w.err.status);
        }
        for (size_t i = 0; i < CHILDREN && w.children[i]; i++)
            w.children[i]->fails = FIRN_OK;
        w.merge->ops->first(w.merge); /* and is gone with its cause */
        must_stand_at(&w, 0);
        end(&w);
    }
}

/* A step moves one child: when that fails, the others stay as they are. */
static void a_child_that_fails_at_a_step_ends_the_walk(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world w;
        begin(&w, seed);
        w.merge->ops->first(w.merge);
        size_t stop = rng_below(&w.r, ELEMENTS), at = 0;
        while (w.merge->valid) {
            if (at++ == stop)
                for (size_t i = 0; i < CHILDREN && w.children[i]; i++)
                    w.children[i]->fails = FIRN_IO;
            w.merge->ops->next(w.merge);
        }
        assert_int_equal(w.merge->status, at > stop ? FIRN_IO : FIRN_OK);
        assert_int_equal(at, at > stop ? stop + 1 : w.count);
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_are_shown_as_one),
        cmocka_unit_test(an_error_is_the_one_that_is_described),
        cmocka_unit_test(a_child_that_fails_at_a_step_ends_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
