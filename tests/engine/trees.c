/* trees: see trees.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/entry.h>

#include "at.h"
#include "trees.h"

const char *const tree_names[TREES] = {"", "users", "jobs"};

firn_slice trees_key(unsigned t, unsigned k, char room[64])
{
    static const char *const family[TREES] = {"", "a long beginning of users/", "jobs:"};
    int n = snprintf(room, 64, "%s%03u", family[t], k);
    return slice_of(room, (size_t)n);
}

tree *trees_get(firn *db, const char *name)
{
    firn *t = NULL;
    firn_error err = {0};
    int rc = firn_bucket_open(db, name, NULL, &t, &err);
    assert_true(rc == FIRN_OK || rc == FIRN_NOT_FOUND);
    MUST(firn_close(t, error));
    return t;
}

tree *trees_new(firn *db, const char *name)
{
    firn *t = NULL;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = o.error_if_exists = true;
    MUST(firn_bucket_open(db, name, &o, &t, error));
    MUST(firn_close(t, error));
    return t;
}

void trees_drop(tree *t)
{
    firn *handle = NULL;
    MUST(firn_bucket_open(&t->store->main, t->name.bytes, NULL, &handle, error));
    assert_ptr_equal(handle, t);
    MUST(firn_bucket_drop(handle, error));
    MUST(firn_close(handle, error));
}

void trees_compact(scenario *s)
{
    for (unsigned t = 0; t < TREES; t++)
        if (s->trees[t])
            MUST(firn_compact(s->trees[t], NULL, 0, NULL, 0, error));
}

void trees_find(firn *db, tree *trees[TREES])
{
    trees[0] = db;
    for (unsigned t = 1; t < TREES; t++)
        trees[t] = trees_get(db, tree_names[t]);
}

static void add_one(firn_batch *batch, world *w, unsigned t, uint16_t bucket, unsigned k,
                    uint64_t value)
{
    char room[64];
    firn_slice key = trees_key(t, k, room);
    firn_slice bytes = value ? slice_of(value_bytes(value), value_size(value)) : (firn_slice){0};
    assert_int_equal(batch_add(batch, bucket, value ? FIRN_PUT : FIRN_DELETE, key, bytes), FIRN_OK);
    w->of[t][k] = value;
}

/* Never the counter. */
static void add_range(firn_batch *batch, world *w, rng *r, unsigned t, uint16_t bucket, unsigned k)
{
    char from[64], to[64];
    unsigned end = k + 1 + (unsigned)rng_below(r, 4);
    end = end < KEYS - 1 ? end : KEYS - 1;
    if (k >= end)
        return;
    assert_int_equal(
        batch_add(batch, bucket, FIRN_DELETE_RANGE, trees_key(t, k, from), trees_key(t, end, to)),
        FIRN_OK);
    for (; k < end; k++)
        w->of[t][k] = 0;
}

void trees_write(scenario *s, bool sync)
{
    firn_write_options o;
    firn_write_options_init(&o);
    o.durability = sync ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_NONE;
    firn_batch *batch = NULL;
    size_t j = s->count + 1;
    assert_true(j <= BATCHES_MOST);
    world *w = &s->states[j];
    *w = s->states[s->count];
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (unsigned n = 0; n < 6; n++) {
        unsigned t = (unsigned)rng_below(&s->r, TREES),
                 k = 1 + (unsigned)rng_below(&s->r, KEYS - 1);
        if (!s->trees[t])
            continue;
        uint64_t value =
            rng_below(&s->r, 4) ? value_number(j * 8 + n, 8 + rng_below(&s->r, 90)) : 0;
        if (rng_below(&s->r, 10) == 0)
            add_range(batch, w, &s->r, t, s->trees[t]->bucket, k);
        else
            add_one(batch, w, t, s->trees[t]->bucket, k, value);
    }
    add_one(batch, w, 0, 0, COUNTER, value_number(j, 10));
    if (s->b.sim)
        simfs_mark(s->b.sim, MARK_BEGUN, j);
    MUST(firn_write(s->b.db, batch, &o, NULL, error));
    if (sync && s->b.sim)
        simfs_mark(s->b.sim, MARK_DURABLE, j);
    firn_batch_free(batch);
    s->count = j;
}

static bool compare_gets(tree *t, const firn_snapshot *at, unsigned which, const uint64_t *state,
                         char *why)
{
    for (unsigned k = 0; k < KEYS; k++) {
        char room[64], value[256];
        size_t size = 0;
        firn_error err = {0};
        firn_slice key = trees_key(which, k, room);
        int rc = firn_get_into(t, key.data, key.size, AT(at), value, sizeof value, &size, &err);
        if (rc != (state[k] ? FIRN_OK : FIRN_NOT_FOUND))
            return wrong_status(why, "a get", rc, &err);
        if (rc == FIRN_OK && !value_is(state[k], slice_of(value, size)))
            return wrong(why, "tree %u: %s has another value", which, room);
    }
    return true;
}

static bool compare_walk(tree *t, const firn_snapshot *at, unsigned which, const uint64_t *state,
                         bool backward, char *why)
{
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.snapshot = at;
    firn_iter *it = NULL;
    firn_error err = {0};
    int rc = firn_iter_new(t, &o, &it, &err);
    if (rc != FIRN_OK)
        return wrong_status(why, "an iterator", rc, &err);
    bool same = true;
    (void)(backward ? firn_iter_last(it) : firn_iter_first(it));
    for (unsigned n = 0; same && n < KEYS; n++) {
        unsigned k = backward ? KEYS - 1 - n : n;
        char room[64];
        if (!state[k])
            continue;
        same = firn_iter_valid(it) && slice_equal(firn_iter_key(it), trees_key(which, k, room)) &&
               value_is(state[k], firn_iter_value(it));
        if (same)
            (void)(backward ? firn_iter_prev(it) : firn_iter_next(it));
    }
    same = same && !firn_iter_valid(it) && firn_iter_status(it, &err) == FIRN_OK;
    firn_iter_free(it);
    return same || wrong(why, "tree %u: a walk %s shows something else", which,
                         backward ? "backwards" : "forwards");
}

bool trees_compare(tree *const trees[TREES], const firn_snapshot *at, const world *w, char *why)
{
    for (unsigned t = 0; t < TREES; t++)
        if (trees[t] && (!compare_gets(trees[t], at, t, w->of[t], why) ||
                         !compare_walk(trees[t], at, t, w->of[t], false, why) ||
                         !compare_walk(trees[t], at, t, w->of[t], true, why)))
            return false;
    return true;
}

void trees_list_the_same_mems(scenario *s)
{
    view *first = tree_view(s->trees[0]);
    for (unsigned t = 1; t < TREES; t++) {
        if (!s->trees[t])
            continue;
        view *v = tree_view(s->trees[t]);
        assert_ptr_equal(v->active, first->active);
        assert_int_equal(v->frozen_count, first->frozen_count);
        for (size_t i = 0; i < v->frozen_count; i++)
            assert_ptr_equal(v->frozen[i], first->frozen[i]);
        view_unref(v);
    }
    view_unref(first);
}

void trees_must_be(scenario *s, const firn_snapshot *at, size_t j)
{
    char why[WHY];
    if (!trees_compare(s->trees, at, &s->states[j], why))
        fail_msg("at batch %zu: %s", j, why);
    trees_list_the_same_mems(s);
}

void trees_make(scenario *s)
{
    s->trees[0] = s->b.db;
    for (unsigned t = 1; t < TREES; t++) {
        s->trees[t] = trees_new(s->b.db, tree_names[t]);
        if (s->b.sim)
            simfs_mark(s->b.sim, MARK_CREATED, t);
    }
}

void trees_reopen(scenario *s)
{
    bed_must_close(&s->b);
    bed_must_open(&s->b);
    trees_find(s->b.db, s->trees);
}

scenario *trees_begin(uint64_t seed)
{
    scenario *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->r = rng_init(seed);
    bed_on_simfs(&s->b, seed);
    return s;
}

void trees_end(scenario *s)
{
    bed_release(&s->b);
    free(s);
}
