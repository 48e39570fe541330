/* level_iter: the tables of a sorted level as one run. One table is open at a time. Because tables
 * of a level do not share keys (V2), moving over a table's end is moving to the neighbour's start.
 * A table in which the limits leave nothing is not opened.
 */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>

#include <tree/version.h>

typedef struct level_iter {
    iter it;
    const level *level;
    size_t at; /* the table that `child` reads */
    iter *child;
    sst_use use;
} level_iter;

static void fail(level_iter *l, int rc)
{
    l->it.valid = false;
    l->it.status = rc;
}

static void leave_child(level_iter *l)
{
    if (l->child)
        l->child->ops->close(l->child);
    l->child = NULL;
}

/* Opens table `at`; behind either end there is none, which is not an error. */
static bool enter(level_iter *l, size_t at)
{
    l->it.valid = false;
    if (l->child && l->at == at)
        return true;
    leave_child(l);
    if (at >= l->level->count)
        return false;
    l->at = at;
    sst_reader *r = NULL;
    int rc = iter_is_cancelled(&l->it) ? error_cancelled(l->it.error) : FIRN_OK;
    if (rc == FIRN_OK)
        rc = table_reader(l->level->tables[at], &r, l->it.error);
    if (rc == FIRN_OK && (rc = sst_iter_new(r, l->use, &l->child)) != FIRN_OK)
        error_no_memory(l->it.error);
    if (rc != FIRN_OK) {
        fail(l, rc);
        return false;
    }
    l->child->limits = l->it.limits;
    l->child->error = l->it.error;
    l->child->lazy = l->it.lazy;
    return true;
}

/* Takes over the child's position. */
static bool take(level_iter *l)
{
    iter *c = l->child;
    if (!c->valid) {
        l->it.valid = false;
        l->it.status = c->status;
        return c->status != FIRN_OK; /* an error ends the search as an element does */
    }
    l->it.key = c->key;
    l->it.value = c->value;
    l->it.seq = c->seq;
    l->it.kind = c->kind;
    l->it.valid = true;
    l->it.deferred = c->deferred;
    return true;
}

static bool may_show(const level_iter *l, const table *t)
{
    return !l->it.limits || table_may_show(t, l->it.limits);
}

/* Enters the first table from `at` on that may show something. Behind one that lies behind the
 * limits, all do. */
static bool enter_from(level_iter *l, size_t at)
{
    const level *v = l->level;
    while (at < v->count && !may_show(l, v->tables[at]))
        at = limits_end_before(l->it.limits, v->tables[at]->properties.key_min) ? v->count : at + 1;
    return enter(l, at);
}

/* Enters the last table in front of `end` that may show something. */
static bool enter_before(level_iter *l, size_t end)
{
    const level *v = l->level;
    while (end > 0 && !may_show(l, v->tables[end - 1]))
        end =
            limits_begin_behind(l->it.limits, v->tables[end - 1]->properties.key_max) ? 0 : end - 1;
    return enter(l, end > 0 ? end - 1 : v->count);
}

static void go_on(level_iter *l)
{
    while (!take(l)) {
        if (!enter_from(l, l->at + 1))
            return;
        l->child->ops->first(l->child);
    }
}

static void go_back(level_iter *l)
{
    while (!take(l)) {
        if (!enter_before(l, l->at))
            return;
        l->child->ops->last(l->child);
    }
}

static void level_first(iter *it)
{
    level_iter *l = (level_iter *)it;
    it->status = FIRN_OK;
    bool bounded = it->limits && it->limits->lower.data;
    if (!enter_from(l, bounded ? level_find(l->level, it->limits->lower) : 0))
        return;
    l->child->ops->first(l->child);
    go_on(l);
}

static void level_last(iter *it)
{
    level_iter *l = (level_iter *)it;
    it->status = FIRN_OK;
    bool bounded = it->limits && it->limits->upper.data;
    size_t last = bounded ? level_find(l->level, it->limits->upper) : l->level->count;
    if (!enter_before(l, last < l->level->count ? last + 1 : last))
        return;
    l->child->ops->last(l->child);
    go_back(l);
}

static void level_seek(iter *it, firn_slice key, uint64_t seq)
{
    level_iter *l = (level_iter *)it;
    it->status = FIRN_OK;
    if (it->limits)
        iter_clamp_seek(it->limits, &key, &seq);
    if (!enter_from(l, level_find(l->level, key)))
        return;
    l->child->ops->seek(l->child, key, seq);
    go_on(l);
}

static void level_seek_before(iter *it, firn_slice key, uint64_t seq)
{
    level_iter *l = (level_iter *)it;
    it->status = FIRN_OK;
    if (it->limits)
        iter_clamp_seek_before(it->limits, &key, &seq);
    size_t at = level_find(l->level, key);
    if (!enter_before(l, at < l->level->count ? at + 1 : at))
        return;
    l->child->ops->seek_before(l->child, key, seq);
    go_back(l);
}

static void level_next(iter *it)
{
    level_iter *l = (level_iter *)it;
    l->child->ops->next(l->child);
    go_on(l);
}

static void level_prev(iter *it)
{
    level_iter *l = (level_iter *)it;
    l->child->ops->prev(l->child);
    go_back(l);
}

static void level_fetch(iter *it)
{
    level_iter *l = (level_iter *)it;
    l->child->ops->fetch(l->child);
    (void)take(l); /* valid, or an error */
}

/* No other table of the level has the key (V2). */
static bool level_is_newest(const iter *it)
{
    const iter *c = ((const level_iter *)it)->child;
    return c->ops->is_newest(c);
}

static void level_close(iter *it)
{
    leave_child((level_iter *)it);
    heap_free(it);
}

static const iter_ops level_ops = {
    .first = level_first,
    .last = level_last,
    .seek = level_seek,
    .seek_before = level_seek_before,
    .next = level_next,
    .prev = level_prev,
    .close = level_close,
    .fetch = level_fetch,
    .is_newest = level_is_newest,
};

int level_iter_new(const level *l, sst_use use, iter **out)
{
    level_iter *li = heap_zalloc(sizeof *li);
    if (!li)
        return FIRN_NO_MEMORY;
    li->it.ops = &level_ops;
    li->level = l;
    li->use = use;
    *out = &li->it;
    return FIRN_OK;
}
