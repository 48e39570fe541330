/* iterator: firn_iter, the user's walk over the newest visible version of each key.
 *
 * Below it, a merge shows the versions that lie within the bounds and up to our number: key
 * ascending, newest first. Forwards, the first version of a key is the one that counts, and the
 * rest of the key is stepped over. Backwards, the versions of a key come oldest first, so all of
 * them are passed and the last answer is kept in a copy; the merge then stands before the key. A
 * large value is not copied: if its version is the newest of the key, the merge stays there. What a
 * version means is asked of resolve.h.
 *
 * A key may have any number of versions. After STEPS_PER_KEY of them the rest is passed by a seek:
 * forwards behind the key, and backwards to its newest version and then in front of it.
 *
 * Invariants
 *   N1  Forwards and valid: the merge stands at the version that key and value show.
 *   N2  Backwards and valid: key is a copy. The value is one, too, and the merge stands before all
 *       versions of the key; or it is larger than COPY_MOST, and the merge stands at its version.
 *   N3  it->value never has room for more than COPY_MOST, so that an iterator takes no memory in
 *       proportion to values. it->many has less than the caller of next_many allows.
 */
#include <base/alloc.h>
#include <base/error.h>
#include <base/sized.h>
#include <base/slice.h>
#include <string.h>

#include "iterator.h"
#include <tree/run.h>
#include <store/store.h>

#define STEPS_PER_KEY 16
#define COPY_MOST     ((size_t)16 << 10)

/* All runs of a view, within the limits of the iterator. */
static int open_runs(firn_iter *it, const view *w, walk *out)
{
    const version *v = w->version;
    size_t mems = view_mem_count(w), most = mems + v->levels[0].count + FIRN_LEVELS;
    size_t count = 0, at = 0;
    run *runs = heap_alloc(most * sizeof *runs);
    if (!runs)
        return FIRN_NO_MEMORY;
    for (size_t i = 0; i < mems; i++)
        runs[count++] = view_mem_run(w, i);
    for (run r; (r = version_next_run(v, &at)).kind != RUN_NONE;)
        runs[count++] = r;
    int rc = walk_open(runs, count, it->use, &it->limits, &it->error, out);
    heap_free(runs);
    return rc;
}

/* The number up to which a view, which was taken before, shows all. The newest one may lie in a
 * memtable that has become the active one since; the leader says that of the old one before. */
static uint64_t newest_in(const store *db, const view *v)
{
    uint64_t newest = atomic_load_explicit(&db->visible_seq, memory_order_acquire);
    uint64_t last =
        v->active ? atomic_load_explicit(&v->active->seq_last, memory_order_relaxed) : FIRN_MAX_SEQ;
    return newest < last ? newest : last;
}

/* The tree as it is now, up to the newest number or the snapshot's, in place of what the iterator
 * reads so far. FIRN_NO_MEMORY, FIRN_DROPPED: it goes on reading that. */
static int open_now(firn_iter *it, const firn_snapshot *snapshot)
{
    view *now = tree_view(it->tree);
    walk opened;
    if (!now)
        return FIRN_DROPPED;
    it->limits.seq_max = snapshot ? snapshot->seq : newest_in(it->db, now);
    int rc = open_runs(it, now, &opened);
    if (rc != FIRN_OK) {
        it->limits.seq_max = it->at.seq;
        view_unref(now);
        return rc;
    }
    walk_close(&it->walk);
    view_unref(it->view);
    it->view = now;
    it->walk = opened;
    it->runs = opened.it;
    it->at.seq = it->passed.seq = it->limits.seq_max;
    return FIRN_OK;
}

static const sized_kind iter_options_kind = {"the iterator's options",
                                             "fill them in with firn_iter_options_init first",
                                             sizeof(firn_iter_options)};

void firn_iter_options_init_sized(firn_iter_options *options, size_t size)
{
    const firn_iter_options defaults = {.snapshot = NULL};
    sized_init(&iter_options_kind, options, size, &defaults);
}

void(firn_iter_options_init)(firn_iter_options *options)
{
    firn_iter_options_init_sized(options, SIZED_FIRST(firn_iter_options, bypass_cache));
}

static int take_bounds(firn_iter *it, const firn_iter_options *o)
{
    int rc = FIRN_OK;
    if (o->lower)
        rc = buf_assign(&it->lower, o->lower, o->lower_size);
    if (rc == FIRN_OK && o->upper)
        rc = buf_assign(&it->upper, o->upper, o->upper_size);
    if (o->lower)
        it->limits.lower = slice_somewhere(buf_slice(&it->lower));
    if (o->upper)
        it->limits.upper = slice_somewhere(buf_slice(&it->upper));
    return rc;
}

/* *o comes with the defaults, and gets what was given. */
static int take_options(const firn_iter_options *given, firn_iter **out, firn_iter_options *o,
                        firn_error *err)
{
    if (!out)
        return error_set(err, FIRN_INVALID, "there is nowhere to put the iterator");
    int rc = given ? sized_take(&iter_options_kind, given, o, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    if ((!o->lower && o->lower_size) || (!o->upper && o->upper_size))
        return error_set(err, FIRN_INVALID, "a bound is NULL but has a size");
    return FIRN_OK;
}

/* Below it, one that shows the store at the transaction's number. */
static int open_in_txn(firn_iter *it, firn_iter_options *o, firn_error *err)
{
    firn_iter *base;
    firn_txn *txn = o->txn;
    o->txn = NULL;
    o->snapshot = &txn->at;
    int rc = firn_iter_new(it->tree, o, &base, err);
    if (rc == FIRN_OK && own_walk_new(txn, it, base) != FIRN_OK) {
        firn_iter_free(base);
        rc = FIRN_NO_MEMORY;
    }
    return rc;
}

int firn_iter_new(tree *t, const firn_iter_options *options, firn_iter **out, firn_error *error)
{
    store *db;
    firn_iter_options o;
    if (out)
        *out = NULL;
    firn_iter_options_init(&o);
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK)
        rc = take_options(options, out, &o, error);
    if (rc == FIRN_OK)
        rc = check_view(db, o.snapshot, o.txn, error);
    if (rc != FIRN_OK)
        return rc;
    firn_iter *it = heap_zalloc(sizeof *it);
    if (!it)
        return error_no_memory(error);
    it->tree = t;
    it->passed.tree = t;
    stretch_init(&it->passed);
    it->db = db;
    it->use = o.bypass_cache ? SST_PASS : SST_FILL;
    it->at_snapshot = o.snapshot || o.txn;
    it->limits.cancelled = o.cancel ? &o.cancel->fired : NULL;
    it->status = FIRN_END;
    it->counted = !o.txn; /* else `base` is */
    if (it->counted)
        atomic_fetch_add_explicit(&t->iterators, 1, memory_order_relaxed);
    rc = take_bounds(it, &o);
    if (rc == FIRN_OK)
        rc = o.txn ? open_in_txn(it, &o, error) : open_now(it, o.snapshot);
    if (rc != FIRN_OK) {
        firn_iter_free(it);
        return rc == FIRN_DROPPED     ? tree_dropped(t, error)
               : rc == FIRN_NO_MEMORY ? error_no_memory(error)
                                      : rc;
    }
    *out = it;
    return FIRN_OK;
}

void firn_iter_free(firn_iter *it)
{
    if (!it || store_is_parents(it->db))
        return;
    own_walk_free(it->own);
    walk_close(&it->walk);
    view_unref(it->view);
    buf_release(&it->lower);
    buf_release(&it->upper);
    buf_release(&it->key);
    buf_release(&it->value);
    buf_release(&it->many);
    buf_release(&it->passed.edge);
    if (it->counted)
        atomic_fetch_sub_explicit(&it->tree->iterators, 1, memory_order_release);
    heap_free(it);
}

/* ---- ends ---- */

static int stop_no_memory(firn_iter *it)
{
    return iter_stop(it, error_no_memory(&it->error));
}

/* The merge has no further element: its end, or its error. */
static int stop_at_end(firn_iter *it)
{
    return iter_stop(it, it->runs->status == FIRN_OK ? FIRN_END : it->runs->status);
}

static int stop_unknown(firn_iter *it)
{
    return iter_stop(it, resolve_refuse(it->runs->kind, &it->error));
}

/* A seek came to where the order of keys does not lead: to go on from there might have no end. */
static int stop_astray(firn_iter *it)
{
    return iter_stop(it, refuse_order(it->db->dir->path, &it->error));
}

/* What the version at which the merge stands says to us. *erased: a range delete is why it says
 * nothing. */
static inline int ask(firn_iter *it, resolve_answer *out, bool *erased)
{
    const iter *m = it->runs;
    uint64_t seq;
    int rc = erasures_find(&it->walk.erased, m->key, it->at.seq, &seq, &it->error);
    if (rc != FIRN_OK)
        return iter_stop(it, rc);
    *out = resolve_version(&it->at, m->seq, m->kind, seq);
    *erased = seq > m->seq;
    return FIRN_OK;
}

static int is_erased(firn_iter *it, bool *erased)
{
    resolve_answer ignored;
    return ask(it, &ignored, erased);
}

/* ---- forwards ---- */

/* To the far end of the gap in which the merge stands. False: it is not behind that. */
static bool cross_forward(firn_iter *it)
{
    iter *m = it->runs;
    firn_slice to = gap_slice(&it->passed.crossed.to);
    m->ops->seek(m, to, FIRN_MAX_SEQ);
    return !m->valid || slice_compare(m->key, to) >= 0;
}

/* From where the merge stands to the next visible key. With `skipping`, versions of it->key are
 * stepped over. */
static int find_forward(firn_iter *it, bool skipping)
{
    iter *m = it->runs;
    unsigned steps = 0; /* over versions of one key */
    it->backward = false;
    while (m->valid) {
        if (skipping && slice_equal(m->key, buf_slice(&it->key))) {
            if (++steps < STEPS_PER_KEY) {
                m->ops->next(m);
                continue;
            }
            m->ops->seek(m, slice_somewhere(buf_slice(&it->key)), 0); /* behind all of them */
            if (m->valid && slice_compare(m->key, buf_slice(&it->key)) <= 0)
                return stop_astray(it);
            continue;
        }
        resolve_answer says;
        bool erased;
        int rc = ask(it, &says, &erased);
        if (rc != FIRN_OK)
            return rc;
        switch (says) {
        case RESOLVE_VALUE:
            stretch_end(&it->passed, (gap_edge){m->key, false});
            return iter_show(it, m->key, m->value);
        case RESOLVE_UNKNOWN:
            return stop_unknown(it);
        case RESOLVE_GO_ON:
            break;
        case RESOLVE_NOTHING:
            if (stretch_cross(&it->passed, m->key)) {
                if (!cross_forward(it))
                    return stop_astray(it);
                continue;
            }
            if (iter_copy_to(&it->key, m->key) != FIRN_OK)
                return stop_no_memory(it);
            steps = 0;
            if (erased) {
                walk_skip(&it->walk);
                continue;
            }
            skipping = true;
            break;
        }
        m->ops->next(m);
    }
    stretch_end(&it->passed, (gap_edge){buf_slice(&it->key), true});
    return stop_at_end(it);
}

/* ---- backwards ---- */

/* A value at which the merge stands. `sought`: by a seek to the newest version. */
static inline int take_value(firn_iter *it, bool sought)
{
    iter *m = it->runs;
    if (m->value.size <= COPY_MOST) {
        it->answer = ANSWER_COPIED;
        if (iter_copy_to(&it->value, m->value) != FIRN_OK)
            return stop_no_memory(it);
    } else {
        it->answer = sought || m->ops->is_newest(m) ? ANSWER_HERE : ANSWER_NEWER;
    }
    return FIRN_OK;
}

/* Asks the version at which the merge stands. */
static inline int take_answer(firn_iter *it, bool sought)
{
    resolve_answer says;
    bool erased;
    int rc = ask(it, &says, &erased);
    if (rc != FIRN_OK)
        return rc;
    switch (says) {
    case RESOLVE_VALUE:
        return take_value(it, sought);
    case RESOLVE_NOTHING:
        it->answer = ANSWER_NOTHING;
        break;
    case RESOLVE_GO_ON:
        break;
    case RESOLVE_UNKNOWN:
        return stop_unknown(it);
    }
    return FIRN_OK;
}

/* Passes the versions of it->key, beginning with the oldest, at which the merge stands; then the
 * merge stands in front of the key, or at its newest visible version (N2). it->answer says what
 * that is. */
static int pass_key(firn_iter *it)
{
    iter *m = it->runs;
    firn_slice key = buf_slice(&it->key);
    unsigned steps = 0;
    it->answer = ANSWER_NOTHING;
    do {
        bool many = steps++ == STEPS_PER_KEY;
        if (many) {
            m->ops->seek(m, slice_somewhere(key), it->at.seq); /* the newest one */
            if (!m->valid || !slice_equal(m->key, key))
                return m->status == FIRN_OK ? stop_astray(it) : stop_at_end(it);
        }
        int rc = take_answer(it, many);
        if (rc != FIRN_OK || it->answer == ANSWER_HERE)
            return rc;
        if (!many) {
            m->ops->prev(m);
            continue;
        }
        m->ops->seek_before(m, slice_somewhere(key), FIRN_MAX_SEQ);
        if (m->valid && slice_compare(m->key, key) >= 0)
            return stop_astray(it);
    } while (m->valid && slice_equal(m->key, key));
    if (m->status != FIRN_OK)
        return stop_at_end(it);
    return it->answer == ANSWER_NEWER ? stop_astray(it) : FIRN_OK;
}

/* As cross_forward. */
static bool cross_backward(firn_iter *it)
{
    iter *m = it->runs;
    firn_slice from = gap_slice(&it->passed.crossed.from);
    m->ops->seek_before(m, from, FIRN_MAX_SEQ);
    return !m->valid || slice_compare(m->key, from) < 0;
}

/* From where the merge stands (before the last key shown) to the previous visible key. */
static int find_backward(firn_iter *it)
{
    iter *m = it->runs;
    bool sure = false; /* it->key is a dead key of this stretch */
    it->backward = true;
    while (m->valid) {
        bool erased = false;
        int rc = it->walk.erased.count ? is_erased(it, &erased) : FIRN_OK;
        if (rc != FIRN_OK)
            return rc;
        if (!erased) {
            if (iter_copy_to(&it->key, m->key) != FIRN_OK)
                return stop_no_memory(it);
            rc = pass_key(it);
            bool shows = rc == FIRN_OK && it->answer != ANSWER_NOTHING;
            if (shows || (rc != FIRN_OK && m->status != FIRN_OK))
                stretch_end(&it->passed,
                            (gap_edge){buf_slice(&it->key), true}); /* behind it all are dead */
            if (rc != FIRN_OK)
                return rc;
            if (shows)
                return iter_show(it, buf_slice(&it->key),
                                 it->answer == ANSWER_COPIED ? buf_slice(&it->value) : m->value);
            sure = true;
        }
        /* Of a key that is erased, the newer versions, which may not be, come next. */
        firn_slice key = erased ? m->key : buf_slice(&it->key);
        if (stretch_cross(&it->passed, key)) {
            sure = false;
            if (!cross_backward(it))
                return stop_astray(it);
        } else if (erased) {
            walk_skip_back(&it->walk);
        }
    }
    if (m->status == FIRN_OK)
        stretch_end(&it->passed, (gap_edge){slice_somewhere(it->limits.lower), false});
    else if (sure)
        stretch_end(&it->passed, (gap_edge){buf_slice(&it->key), false});
    return stop_at_end(it);
}

/* ---- movements ---- */

/* FIRN_INVALID for NULL, and in a child after fork, where an iterator is the parent's as its store
 * is. */
static int check_iter(firn_iter *it)
{
    if (!it)
        return FIRN_INVALID;
    if (store_is_parents(it->db)) {
        store *db;
        (void)store_of(it->tree, &db, &it->error);
        return iter_stop(it, FIRN_INVALID);
    }
    if (is_cancelled(it->limits.cancelled))
        return iter_stop(it, error_cancelled(&it->error));
    return it->own ? own_walk_check(it) : FIRN_OK;
}

static int seek_forward(firn_iter *it, firn_slice key)
{
    uint64_t began = latency_begin(it->db);
    uint64_t seq = FIRN_MAX_SEQ;
    key = slice_somewhere(key);
    iter_clamp_seek(&it->limits, &key, &seq); /* what lies in front of it is not looked at */
    (void)stretch_seek(&it->passed, &key, false);
    it->runs->ops->seek(it->runs, key, seq);
    return latency_end(it->db, FIRN_LATENCY_SEEK, began, find_forward(it, false));
}

int firn_iter_first(firn_iter *it)
{
    int rc = check_iter(it);
    if (rc != FIRN_OK)
        return rc;
    if (it->own)
        return own_walk_first(it);
    uint64_t began = latency_begin(it->db);
    firn_slice key = slice_somewhere(it->limits.lower);
    if (stretch_seek(&it->passed, &key, false))
        it->runs->ops->seek(it->runs, key, FIRN_MAX_SEQ);
    else
        it->runs->ops->first(it->runs);
    return latency_end(it->db, FIRN_LATENCY_SEEK, began, find_forward(it, false));
}

int firn_iter_last(firn_iter *it)
{
    int rc = check_iter(it);
    if (rc != FIRN_OK)
        return rc;
    if (it->own)
        return own_walk_last(it);
    uint64_t began = latency_begin(it->db);
    stretch_step(&it->passed, true);
    it->runs->ops->last(it->runs);
    return latency_end(it->db, FIRN_LATENCY_SEEK, began, find_backward(it));
}

static bool is_in(const buf *b, const void *data)
{
    uintptr_t p = (uintptr_t)data, start = (uintptr_t)b->data;
    return p >= start && p < start + b->size;
}

/* A key to move to. It may be the one that we show, which would go while we move: then a copy. */
static int take_target(firn_iter *it, const void *key, size_t key_size, firn_slice *out)
{
    int rc = check_iter(it);
    if (rc != FIRN_OK)
        return rc;
    if (!key && key_size) {
        error_set(&it->error, FIRN_INVALID, "the key is NULL but has a size");
        return iter_stop(it, FIRN_INVALID);
    }
    *out = slice_of(key, key_size);
    if (!it->valid || (it->backward && (it->answer == ANSWER_COPIED || is_in(&it->key, key))))
        return FIRN_OK; /* N2: that is a copy already */
    if (buf_assign(&it->key, key, key_size) != FIRN_OK)
        return stop_no_memory(it);
    *out = buf_slice(&it->key);
    return FIRN_OK;
}

int firn_iter_seek(firn_iter *it, const void *key, size_t key_size)
{
    firn_slice k;
    int rc = take_target(it, key, key_size, &k);
    if (rc != FIRN_OK)
        return rc;
    return it->own ? own_walk_seek(it, k) : seek_forward(it, k);
}

int firn_iter_seek_for_prev(firn_iter *it, const void *key, size_t key_size)
{
    firn_slice k;
    int rc = take_target(it, key, key_size, &k);
    if (rc != FIRN_OK)
        return rc;
    if (it->own)
        return own_walk_seek_for_prev(it, k);
    uint64_t began = latency_begin(it->db);
    /* In front of (key, number 0) is the oldest version of the key itself, if it has any. */
    uint64_t seq = 0;
    k = slice_somewhere(k);
    iter_clamp_seek_before(&it->limits, &k, &seq); /* what lies behind it is not looked at */
    if (stretch_seek(&it->passed, &k, true))
        seq = FIRN_MAX_SEQ;
    it->runs->ops->seek_before(it->runs, k, seq);
    return latency_end(it->db, FIRN_LATENCY_SEEK, began, find_backward(it));
}

/* For a step. The first error stays: a step after it tells it again. */
static int must_be_valid(firn_iter *it)
{
    int rc = check_iter(it);
    if (rc != FIRN_OK || it->valid)
        return rc;
    if (it->status != FIRN_OK && it->status != FIRN_END)
        return it->status;
    error_set(&it->error, FIRN_INVALID, "a step from no element: the iterator stands on none");
    error_hint(&it->error, "move to one first, with firn_iter_first, last, seek or seek_for_prev");
    return iter_stop(it, FIRN_INVALID);
}

int firn_iter_next(firn_iter *it)
{
    int rc = must_be_valid(it);
    if (rc != FIRN_OK)
        return rc;
    if (it->own)
        return own_walk_next(it);
    iter *m = it->runs;
    stretch_step(&it->passed, false);
    if (it->backward) {
        /* N2: go behind all versions of the key. */
        m->ops->seek(m, slice_somewhere(buf_slice(&it->key)), 0);
        return find_forward(it, false);
    }
    if (iter_copy_to(&it->key, m->key) != FIRN_OK)
        return stop_no_memory(it);
    m->ops->next(m);
    return find_forward(it, true);
}

int firn_iter_prev(firn_iter *it)
{
    int rc = must_be_valid(it);
    if (rc != FIRN_OK)
        return rc;
    if (it->own)
        return own_walk_prev(it);
    stretch_step(&it->passed, true);
    if (!it->backward) {
        if (buf_assign(&it->key, it->current_key.data, it->current_key.size) != FIRN_OK)
            return stop_no_memory(it);
        it->runs->ops->seek_before(it->runs, slice_somewhere(buf_slice(&it->key)), FIRN_MAX_SEQ);
        return find_backward(it);
    }
    if (it->answer == ANSWER_HERE)
        it->runs->ops->prev(it->runs); /* before it are other keys: nothing of this one is newer */
    return find_backward(it);
}

void firn_cancel_fire(firn_cancel *cancel)
{
    if (cancel)
        __atomic_store_n(&cancel->fired, 1, __ATOMIC_RELAXED);
}

int firn_iter_refresh(firn_iter *it)
{
    int rc = check_iter(it);
    if (rc != FIRN_OK)
        return rc;
    if (it->at_snapshot)
        return FIRN_INVALID;
    bool stood = it->valid, given = it->given;
    if (stood && !it->backward && iter_copy_to(&it->key, it->current_key) != FIRN_OK)
        return FIRN_NO_MEMORY;
    rc = open_now(it, NULL);
    if (rc != FIRN_OK)
        return rc;
    if (!stood) {
        iter_stop(it, FIRN_END);
        return FIRN_OK;
    }
    rc = seek_forward(it, buf_slice(&it->key));
    it->given = given && rc == FIRN_OK && slice_equal(it->current_key, buf_slice(&it->key));
    return rc;
}

/* ---- many at once ---- */

/* What an element has for the caller. */
static firn_slice value_for(const firn_iter *it, const firn_slice *values)
{
    return values ? it->current_value : (firn_slice){0};
}

static int keep(firn_iter *it, firn_slice value)
{
    size_t before = it->many.size;
    int rc = buf_append(&it->many, it->current_key.data, it->current_key.size);
    if (rc == FIRN_OK)
        rc = buf_append(&it->many, value.data, value.size);
    if (rc != FIRN_OK)
        it->many.size = before;
    return rc;
}

/* Of the first `count` elements, which are kept, only the sizes were known. */
static void point_into(const buf *many, firn_slice *keys, firn_slice *values, size_t count)
{
    const uint8_t *at = slice_somewhere(buf_slice(many)).data;
    for (size_t i = 0; i < count; i++) {
        keys[i].data = at;
        at += keys[i].size;
        if (!values)
            continue;
        values[i].data = at;
        at += values[i].size;
    }
}

/* The last element stays where the iterator shows it, and is not copied: so a value that is larger
 * than all that was asked for costs no memory. What the next movement finds is its own answer. */
static size_t take_many(firn_iter *it, int (*move)(firn_iter *it), firn_slice *keys,
                        firn_slice *values, size_t count, size_t bytes)
{
    size_t n = 0, sum = 0;
    buf_clear(&it->many);
    for (;;) {
        firn_slice key = it->current_key, value = value_for(it, values);
        keys[n] = key;
        if (values)
            values[n] = value;
        n++;
        sum += key.size + value.size;
        if (n == count || sum >= bytes || keep(it, value) != FIRN_OK)
            break;
        if (move(it) != FIRN_OK) {
            point_into(&it->many, keys, values, n);
            return n;
        }
    }
    it->given = true;
    point_into(&it->many, keys, values, n - 1);
    return n;
}

static int move_many(firn_iter *it, int (*move)(firn_iter *it), firn_slice *keys,
                     firn_slice *values, size_t count, size_t bytes, size_t *got)
{
    if (got)
        *got = 0;
    int rc = check_iter(it);
    if (rc != FIRN_OK)
        return rc;
    if (!got || !keys || count == 0)
        return FIRN_INVALID; /* and firn_iter_status says what it said before */
    if (!it->valid)
        return it->status;
    if (it->given && (rc = move(it)) != FIRN_OK)
        return rc;
    *got = take_many(it, move, keys, values, count, bytes);
    return FIRN_OK;
}

int firn_iter_next_many(firn_iter *it, firn_slice *keys, firn_slice *values, size_t count,
                        size_t bytes, size_t *got)
{
    return move_many(it, firn_iter_next, keys, values, count, bytes, got);
}

int firn_iter_prev_many(firn_iter *it, firn_slice *keys, firn_slice *values, size_t count,
                        size_t bytes, size_t *got)
{
    return move_many(it, firn_iter_prev, keys, values, count, bytes, got);
}

bool firn_iter_valid(const firn_iter *it)
{
    return it && it->valid;
}

firn_slice firn_iter_key(const firn_iter *it)
{
    return it ? it->current_key : (firn_slice){0};
}

firn_slice firn_iter_value(const firn_iter *it)
{
    return it ? it->current_value : (firn_slice){0};
}

int firn_iter_status(const firn_iter *it, firn_error *error)
{
    if (!it)
        return error_set(error, FIRN_INVALID, "the iterator is NULL");
    if (it->status == FIRN_OK || it->status == FIRN_END)
        return FIRN_OK;
    if (error)
        *error = it->error;
    return it->status;
}
