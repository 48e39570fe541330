/* Runs: the same versions in a memtable, in a table and in a level of several tables give the same answers, and those of a
 * plain list. Then the range deletes that a run may have, and gets over more runs than are asked for at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jobs/build.h>
#include "bed.h"
#include <tree/names.h>
#include <tree/version_build.h>

#include "read.c" /* look_in_view, over views that are made here */

enum { KEYS = 24, VERSIONS = 300, KINDS = 3, HISTORIES = 12 };

/* One version, as the plain list has it: key ascending, number descending. */
typedef struct version_of {
    firn_slice key;
    uint64_t seq, value; /* 0: a tombstone */
} version_of;

typedef struct world {
    bed b;
    rng r;
    keyset keys;
    version_of list[VERSIONS];
    size_t count;
    mem *mem;
    build one, many; /* a table; tables that make a level */
    level level;
    run runs[KINDS];
} world;

static const char *const kind_names[KINDS] = {"a memtable", "a table", "a level"};

static int by_order(const void *a, const void *b)
{
    const version_of *x = a, *y = b;
    int c = slice_compare(x->key, y->key);
    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

static void write_history(world *w)
{
    for (w->count = 0; w->count < VERSIONS; w->count++) {
        firn_slice key = w->keys.keys[rng_below(&w->r, w->keys.count)];
        uint64_t value =
            rng_below(&w->r, 4) == 0 ? 0 : value_number(w->count + 1, rng_below(&w->r, 240));
        if (value)
            MUST(firn_put(w->b.db, key.data, key.size, value_bytes(value), value_size(value), NULL,
                          error));
        else
            MUST(firn_delete(w->b.db, key.data, key.size, NULL, error));
        w->list[w->count] = (version_of){key, firn_last_seq(w->b.db), value};
    }
    qsort(w->list, w->count, sizeof *w->list, by_order);
}

/* All versions, without asking which of them are needed. */
static void copy_all(world *w, build *b, uint64_t table_bytes)
{
    iter *it = NULL;
    build_init(b, w->b.db->store, 1, table_bytes);
    assert_int_equal(run_iter_new(run_of_mem(w->mem, 0), SST_WORK, NULL, NULL, &it), FIRN_OK);
    for (it->ops->first(it); it->valid; it->ops->next(it))
        MUST(build_add(b, it, error));
    assert_int_equal(it->status, FIRN_OK);
    it->ops->close(it);
    MUST(build_finish(b, error));
}

static void world_begin(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->r = rng_init(seed);
    keyset_random(&w->keys, &w->r, KEYS);
    bed_on_simfs(&w->b, seed);
    MUST(firn_options_set(&w->b.options, "memory", "64MiB", error));
    w->b.options.segment_bytes = 4 << 20;
    bed_must_open(&w->b);
    write_history(w);
    w->mem = w->b.db->store->active;
    copy_all(w, &w->one, UINT64_MAX);
    copy_all(w, &w->many, 600); /* a block each, or a few */
    assert_int_equal(w->one.count, 1);
    assert_true(w->many.count > 3);
    w->level = (level){.tables = w->many.tables, .count = w->many.count};
    w->runs[0] = run_of_mem(w->mem, 0);
    w->runs[1] = run_of_table(w->one.tables[0]);
    w->runs[2] = run_of_level(&w->level);
}

static void world_end(world *w)
{
    build_release(&w->one, false);
    build_release(&w->many, false);
    bed_release(&w->b);
    keyset_release(&w->keys);
}

/* ---- Get ---- */

static const version_of *newest(const world *w, firn_slice key, uint64_t seq_max)
{
    for (size_t i = 0; i < w->count; i++)
        if (slice_equal(w->list[i].key, key) && w->list[i].seq <= seq_max)
            return &w->list[i];
    return NULL;
}

static void get_one(world *w, unsigned kind, run r, firn_slice key, uint64_t seq_max)
{
    lookup l = {.key = key, .hash = sst_key_hash(key), .at = {.seq = seq_max}};
    const version_of *should = newest(w, key, seq_max);
    run_hit hit;
    if (r.kind == RUN_TABLE)
        run_prefetch(r.table, l.hash);
    MUST(run_get(r, &l, &hit, error));
    resolve_answer answer = !should         ? RESOLVE_GO_ON
                            : should->value ? RESOLVE_VALUE
                                            : RESOLVE_NOTHING;
    if (hit.answer != answer)
        fail_msg("%s says %d of %s at %llu", kind_names[kind], hit.answer, key_text(key),
                 (unsigned long long)seq_max);
    if (answer != RESOLVE_VALUE)
        return;
    assert_int_equal(hit.seq, should->seq);
    assert_int_equal(hit.kind, FIRN_PUT);
    if (rng_below(&w->r, 2) == 0) {
        assert_true(value_is(should->value, hit.value));
        run_drop(&hit);
        return;
    }
    run_pin pin = run_keep(&hit);
    assert_true(value_is(should->value, hit.value));
    run_unpin(pin);
}

/* What is left of a run for a get: the table in which the key may lie. */
static run narrowed(run r, firn_slice key)
{
    table *t = run_table(r, key);
    return t ? run_of_table(t) : r.kind == RUN_MEM ? r : (run){0};
}

static void get_all(world *w, firn_slice key)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        run narrow = narrowed(w->runs[kind], key);
        for (uint64_t seq = 0; seq <= w->count + 1; seq += 1 + rng_below(&w->r, 3)) {
            get_one(w, kind, w->runs[kind], key, seq);
            get_one(w, kind, narrow, key, seq);
        }
        get_one(w, kind, narrow, key, FIRN_MAX_SEQ);
        assert_true(narrow.kind != RUN_LEVEL);
    }
}

static void a_get_is_answered_alike(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        world w;
        world_begin(&w, seed);
        for (size_t i = 0; i < w.keys.count; i++) {
            uint8_t beside[LONG_KEY_ROOM + 1];
            firn_slice key = w.keys.keys[i];
            get_all(&w, key);
            memcpy(beside, key.data ? key.data : (const uint8_t *)"", key.size);
            beside[key.size] = 0; /* the key that follows this one */
            get_all(&w, (firn_slice){beside, key.size + 1});
            beside[key.size] = 0xff;
            get_all(&w, (firn_slice){beside, key.size + 1});
        }
        run_hit hit;
        lookup l = {.key = w.keys.keys[0], .at = {.seq = FIRN_MAX_SEQ}};
        MUST(run_get((run){0}, &l, &hit, error));
        assert_int_equal(hit.answer, RESOLVE_GO_ON);
        world_end(&w);
    }
}

/* A value that is kept outlives the run. */
static void a_kept_value_stays(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        world w;
        run_hit hit;
        const version_of *v = NULL;
        world_begin(&w, 3);
        for (size_t i = 0; !v || v->value == 0; i++)
            v = &w.list[i];
        lookup l = {.key = v->key, .hash = sst_key_hash(v->key), .at = {.seq = v->seq}};
        MUST(run_get(w.runs[kind], &l, &hit, error));
        unsigned refs =
            kind == 0 ? atomic_load(&w.mem->refs) : atomic_load(&hit.holder.table->refs);
        run_pin pin = run_keep(&hit);
        assert_int_equal(
            kind == 0 ? atomic_load(&w.mem->refs) : atomic_load(&hit.holder.table->refs), refs + 1);
        build_release(&w.one, false); /* the tables go, but for those that are held */
        build_release(&w.many, false);
        w.one = w.many = (build){.db = w.b.db->store};
        if (kind == 0) { /* and the memtable, but for the value */
            bed_flush(&w.b);
            store_reap(w.b.db->store);
        }
        assert_true(value_is(v->value, hit.value));
        run_unpin(pin);
        world_end(&w);
    }
}

/* ---- Iterating ---- */

static bool within(const iter_limits *l, const version_of *v)
{
    return v->seq <= l->seq_max && (!l->lower.data || slice_compare(v->key, l->lower) >= 0) &&
           (!l->upper.data || slice_compare(v->key, l->upper) < 0);
}

static void must_stand(const iter *it, const version_of *at, unsigned kind, const char *what)
{
    assert_int_equal(it->status, FIRN_OK);
    if (it->valid != (at != NULL))
        fail_msg("%s, %s: %s", kind_names[kind], what, at ? "ends early" : "does not end");
    if (!at)
        return;
    if (!slice_equal(it->key, at->key) || it->seq != at->seq)
        fail_msg("%s, %s: stands at %s, %llu, not at %s, %llu", kind_names[kind], what,
                 key_text(it->key), (unsigned long long)it->seq, key_text(at->key),
                 (unsigned long long)at->seq);
    assert_int_equal(it->kind, at->value ? FIRN_PUT : FIRN_DELETE);
    if (at->value)
        assert_true(value_is(at->value, it->value));
}

/* Both ways from every place that a random seek comes to. */
static void move_about(world *w, iter *it, unsigned kind, const version_of *const *shown,
                       size_t count)
{
    size_t i = 0;
    for (it->ops->first(it); i < count; it->ops->next(it))
        must_stand(it, shown[i++], kind, "forwards");
    must_stand(it, NULL, kind, "forwards");
    for (it->ops->last(it); i > 0; it->ops->prev(it))
        must_stand(it, shown[--i], kind, "backwards");
    must_stand(it, NULL, kind, "backwards");
    for (unsigned n = 0; n < 20; n++) {
        version_of to = {w->keys.keys[rng_below(&w->r, w->keys.count)],
                         rng_below(&w->r, VERSIONS + 2), 1};
        for (i = 0; i < count && by_order(shown[i], &to) < 0; i++)
            ;
        bool forwards = rng_below(&w->r, 2) == 0;
        if (forwards) {
            it->ops->seek(it, to.key, to.seq);
        } else {
            it->ops->seek_before(it, to.key, to.seq);
            i--;
        }
        must_stand(it, i < count ? shown[i] : NULL, kind, "a seek");
        for (unsigned steps = 0; steps < 6 && i < count; steps++) {
            if (rng_below(&w->r, 2) == 0) {
                it->ops->next(it);
                i++;
            } else {
                it->ops->prev(it);
                i--;
            }
            must_stand(it, i < count ? shown[i] : NULL, kind, "a step");
        }
    }
}

static void random_limits(world *w, iter_limits *l)
{
    *l = (iter_limits){.seq_max = FIRN_MAX_SEQ};
    if (rng_below(&w->r, 3) > 0)
        l->lower = slice_somewhere(w->keys.keys[rng_below(&w->r, w->keys.count)]);
    if (rng_below(&w->r, 3) > 0)
        l->upper = slice_somewhere(w->keys.keys[rng_below(&w->r, w->keys.count)]);
    if (rng_below(&w->r, 3) > 0)
        l->seq_max = rng_below(&w->r, VERSIONS + 2);
}

static void an_iterator_shows_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        world w;
        world_begin(&w, seed);
        for (unsigned n = 0; n < 40; n++) {
            const version_of *shown[VERSIONS];
            size_t count = 0;
            iter_limits limits;
            random_limits(&w, &limits);
            for (size_t i = 0; i < w.count; i++)
                if (within(&limits, &w.list[i]))
                    shown[count++] = &w.list[i];
            for (unsigned kind = 0; kind < KINDS; kind++) {
                iter *it = NULL;
                if (count) /* R3 */
                    assert_true(run_may_show(w.runs[kind], &limits));
                assert_int_equal(
                    run_iter_new(w.runs[kind], (sst_use)(n % (SST_WORK + 1)), &limits, NULL, &it),
                    FIRN_OK);
                move_about(&w, it, kind, shown, count);
                it->ops->close(it);
            }
        }
        world_end(&w);
    }
}

/* The versions of one run dealt out to several of all kinds. */
static void a_walk_over_several_runs_is_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        world w;
        world_begin(&w, seed);
        run runs[64];
        size_t parts = 0;
        const version_of *shown[VERSIONS];
        walk walked;
        iter_limits all = {.seq_max = FIRN_MAX_SEQ};
        runs[parts++] = (run){0}; /* shows nothing, and does no harm */
        for (size_t i = 0; i < w.level.count && parts < 64; i++)
            runs[parts++] = run_of_table(w.level.tables[i]);
        for (size_t i = 0; i < w.count; i++)
            shown[i] = &w.list[i];
        assert_int_equal(walk_open(runs, parts, SST_PASS, &all, NULL, &walked), FIRN_OK);
        move_about(&w, walked.it, 2, shown, w.count);
        walk_close(&walked);
        walk_close(&walked);
        assert_int_equal(walk_open(NULL, 0, SST_PASS, NULL, NULL, &walked), FIRN_OK);
        walked.it->ops->first(walked.it);
        must_stand(walked.it, NULL, 2, "no run");
        walk_close(&walked);
        world_end(&w);
    }
}

/* ---- Bounds, care ---- */

static void bounds_are_those_of_the_versions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        world w;
        world_begin(&w, seed);
        firn_slice first = w.list[0].key, last = w.list[w.count - 1].key;
        for (unsigned kind = 0; kind < KINDS; kind++) {
            run_bounds b;
            assert_true(run_get_bounds(w.runs[kind], &b));
            assert_true(slice_equal(b.key_min, first) && slice_equal(b.key_max, last));
            assert_true(b.seq_min <= 1 && b.seq_max >= w.count);
            if (kind > 0)
                assert_true(b.seq_min == 1 && b.seq_max == w.count);
            iter_limits in_front = {.seq_max = FIRN_MAX_SEQ, .upper = slice_somewhere(first)};
            iter_limits behind = {.seq_max = FIRN_MAX_SEQ,
                                  .lower = slice_of_str("\xff\xff\xff\xff")};
            iter_limits older = {.seq_max = 0};
            if (kind > 0) /* a memtable does not tell its keys for that */
                assert_false(run_may_show(w.runs[kind], &in_front) ||
                             run_may_show(w.runs[kind], &behind));
            if (kind < 2) /* a level asks its tables */
                assert_false(run_may_show(w.runs[kind], &older));
            MUST(run_open(w.runs[kind], error));
            MUST(run_verify(w.runs[kind], error));
        }
        run_bounds b;
        level empty = {0};
        assert_false(run_get_bounds((run){0}, &b) || run_get_bounds(run_of_level(&empty), &b));
        bed_flush(&w.b);
        assert_false(
            run_get_bounds(run_of_mem(w.b.db->store->active, 0), &b)); /* a new memtable is empty */
        world_end(&w);
    }
}

/* What check and repair ask of a run: is it right, and does it tell when it is not? */
static void a_run_tells_what_has_changed(void **state)
{
    (void)state;
    world w;
    firn_error err = {0};
    iter *it = NULL;
    world_begin(&w, 5);
    for (unsigned kind = 1; kind < KINDS; kind++) {
        const table *t = kind == 1 ? w.one.tables[0] : w.many.tables[w.many.count - 1];
        char path[128], name[NAME_BYTES];
        MUST(run_verify(w.runs[kind], error));
        name_table(t->no, name);
        snprintf(path, sizeof path, "%s/%s", w.b.folder, name);
        simfs_flip_bit(w.b.sim, path, 8 * 60);
        assert_int_equal(run_verify(w.runs[kind], &err), FIRN_DAMAGED);
        simfs_flip_bit(w.b.sim, path, 8 * 60);
    }
    MUST(run_verify(w.runs[0], error));
    assert_int_equal(run_iter_new(w.runs[0], SST_PASS, NULL, NULL, &it), FIRN_OK);
    for (it->ops->first(it); it->key.size == 0; it->ops->next(it))
        ;
    uint8_t *key = (uint8_t *)(uintptr_t)it->key.data, was = *key;
    *key = 0xff; /* as another process may do */
    assert_int_equal(run_verify(w.runs[0], &err), FIRN_DAMAGED);
    *key = was;
    it->ops->close(it);
    MUST(run_verify(w.runs[0], error));
    world_end(&w);
}

/* ---- Range deletes ---- */

enum { FRAGMENTS = 12 };

/* Ascending and disjoint, but for some that have the same range. */
static size_t random_fragments(world *w, fragment *list)
{
    size_t count = 0, at = 0;
    while (count < FRAGMENTS && at + 1 < w->keys.count) {
        size_t end = at + 1 + rng_below(&w->r, 4);
        if (end >= w->keys.count)
            end = w->keys.count - 1;
        uint64_t seq = 1 + rng_below(&w->r, VERSIONS);
        for (; count < FRAGMENTS && seq > 0; seq = rng_below(&w->r, 3) ? 0 : rng_below(&w->r, seq))
            list[count++] = (fragment){w->keys.keys[at], w->keys.keys[end], seq};
        at = end + rng_below(&w->r, 3);
    }
    return count;
}

static uint64_t erased_by_definition(const fragment *list, size_t count, firn_slice key,
                                     uint64_t seq_max)
{
    uint64_t greatest = 0;
    for (size_t i = 0; i < count; i++)
        if (slice_compare(list[i].first, key) <= 0 && slice_compare(key, list[i].end) < 0 &&
            list[i].seq <= seq_max && list[i].seq > greatest)
            greatest = list[i].seq;
    return greatest;
}

static void fragments_tell_what_covers_a_key(void **state)
{
    (void)state;
    assert_int_equal(resolve_absent(0), RESOLVE_GO_ON);
    assert_int_equal(resolve_absent(1), RESOLVE_NOTHING);
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        world w;
        fragment list[FRAGMENTS];
        world_begin(&w, seed);
        size_t count = random_fragments(&w, list);
        fragments one = {list, count};
        for (size_t i = 0; i < w.keys.count; i++)
            for (uint64_t seq = 0; seq <= VERSIONS; seq += 1 + rng_below(&w.r, 4)) {
                firn_slice key = w.keys.keys[i];
                assert_int_equal(fragments_find(&one, key, seq),
                                 erased_by_definition(list, count, key, seq));
            }
        world_end(&w);
    }
}

/* The value that a reader sees, by definition; NULL: none. */
static const version_of *seen_by(const world *w, const fragment *list, size_t count, firn_slice key,
                                 uint64_t seq)
{
    const version_of *v = newest(w, key, seq);
    return v && v->value && erased_by_definition(list, count, key, seq) <= v->seq ? v : NULL;
}

static bool is_needed(const world *w, const fragment *list, size_t count, const uint64_t *snapshots,
                      size_t n, const version_of *v)
{
    bool needed = seen_by(w, list, count, v->key, FIRN_MAX_SEQ) == v;
    for (size_t i = 0; i < n; i++)
        needed = needed || seen_by(w, list, count, v->key, snapshots[i]) == v;
    return needed;
}

/* Of what a merge is given, the values stay that a reader sees, and no others. */
static void a_merge_leaves_out_what_range_deletes_hide(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        world w;
        build b;
        buf snapshots = {0};
        fragment list[FRAGMENTS];
        uint64_t taken[2];
        fragment_list ranges = {0};
        walk walked;
        world_begin(&w, seed);
        size_t count = random_fragments(&w, list);
        taken[0] = 1 + rng_below(&w.r, VERSIONS / 2);
        taken[1] = taken[0] + 1 + rng_below(&w.r, VERSIONS / 2);
        assert_int_equal(buf_append(&snapshots, taken, sizeof taken), FIRN_OK);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(fragment_list_add(&ranges, list[i]), FIRN_OK);
        assert_int_equal(fragments_settle(&ranges, taken, 2), FIRN_OK);
        build_rules rules = {.snapshots = &snapshots, .ranges = &ranges};
        build_init(&b, w.b.db->store, 1, UINT64_MAX);
        firn_error err;
        assert_int_equal(walk_open(&w.runs[seed % KINDS], 1, SST_PASS, NULL, &err, &walked),
                         FIRN_OK);
        assert_int_equal(build_add_all(&b, walked.it, &rules, &err), FIRN_OK);
        MUST(build_finish(&b, error));
        walk_close(&walked);
        size_t needed = 0;
        for (size_t i = 0; i < w.count; i++)
            needed += w.list[i].value && is_needed(&w, list, count, taken, 2, &w.list[i]);
        assert_int_equal(b.count, 1);
        run r = run_of_table(b.tables[0]);
        assert_int_equal(walk_open(&r, 1, SST_PASS, NULL, NULL, &walked), FIRN_OK);
        iter *it = walked.it;
        for (it->ops->first(it); it->valid; it->ops->next(it)) {
            if (it->kind == FIRN_DELETE_RANGE)
                continue;
            version_of at = {it->key, it->seq, 1};
            const version_of *v = bsearch(&at, w.list, w.count, sizeof at, by_order);
            assert_non_null(v);
            if (it->kind == FIRN_PUT)
                assert_true(is_needed(&w, list, count, taken, 2, v) && needed-- > 0);
        }
        assert_int_equal(needed, 0);
        walk_close(&walked);
        build_release(&b, false);
        fragment_list_release(&ranges);
        buf_release(&snapshots);
        world_end(&w);
    }
}

/* ---- A view of many runs ---- */

enum { TABLES = 100, EACH = 3 };

/* A table of the versions with numbers from `first` on. */
static void table_of(world *w, uint64_t first, build *b)
{
    iter *it = NULL;
    build_init(b, w->b.db->store, 0, UINT64_MAX);
    assert_int_equal(run_iter_new(run_of_mem(w->mem, 0), SST_WORK, NULL, NULL, &it), FIRN_OK);
    for (it->ops->first(it); it->valid; it->ops->next(it))
        if (it->seq >= first && it->seq < first + EACH)
            MUST(build_add(b, it, error));
    it->ops->close(it);
    MUST(build_finish(b, error));
    assert_int_equal(b->count, 1);
}

/* The greater its numbers the younger the table: the oldest lie in the levels from the last up, the rest in level 0. Their keys
 * reach so far that most of them may hold any key. */
static void a_get_asks_every_run_in_its_order(void **state)
{
    (void)state;
    world w;
    build parts[TABLES];
    version *v = NULL;
    view *whole = NULL;
    edit e = {0};
    world_begin(&w, 11);
    assert_int_equal(version_new_empty(&v), FIRN_OK);
    for (uint64_t i = 0; i < TABLES; i++) {
        table_of(&w, i * EACH + 1, &parts[i]);
        unsigned lvl = i + 1 < FIRN_LEVELS ? FIRN_LEVELS - 1 - (unsigned)i : 0;
        assert_int_equal(edit_add(&e, lvl, parts[i].tables[0]), FIRN_OK);
    }
    version *next = NULL;
    MUST(version_apply(v, &e, &next, error));
    assert_int_equal(view_new(next, NULL, NULL, 0, &whole), FIRN_OK);
    assert_int_equal(next->levels[0].count, TABLES - (FIRN_LEVELS - 1));
    size_t at = 0;
    uint64_t last = FIRN_MAX_SEQ;
    size_t runs = 0;
    for (run r; (r = version_next_run(next, &at)).kind != RUN_NONE; runs++) {
        run_bounds b;
        assert_true(run_get_bounds(r, &b) && b.seq_max < last); /* newest first */
        last = b.seq_min;
    }
    assert_int_equal(last, 1);
    assert_int_equal(runs, TABLES);
    for (size_t i = 0; i < w.keys.count; i++)
        for (uint64_t seq = 0; seq <= TABLES * EACH; seq++) {
            lookup l = {.key = w.keys.keys[i], .at = {.seq = seq}};
            const version_of *should = newest(&w, l.key, seq);
            run_hit hit;
            firn_error err;
            int rc = look_in_view(whole, &l, &hit, &err);
            assert_int_equal(rc, should && should->value ? FIRN_OK : FIRN_NOT_FOUND);
            if (rc != FIRN_OK)
                continue;
            assert_int_equal(hit.seq, should->seq);
            assert_true(value_is(should->value, hit.value));
            run_drop(&hit);
        }
    view_unref(whole);
    version_unref(next);
    version_unref(v);
    edit_release(&e);
    for (size_t i = 0; i < TABLES; i++)
        build_release(&parts[i], false);
    world_end(&w);
}

/* ---- Building ---- */

/* Each table of a build is in order for itself. What a merge of forged tables gives may go back between two. */
static void tables_of_one_build_ascend(void **state)
{
    (void)state;
    static const char *const wrong[] = {"a", "m"};
    for (size_t i = 0; i < 2; i++) {
        bed b;
        build made;
        firn_error err = {0};
        iter it = {.key = slice_of_str("m"), .seq = 9, .kind = FIRN_PUT};
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        build_init(&made, b.db->store, 1, UINT64_MAX);
        MUST(build_add(&made, &it, error));
        made.cut = true;
        it = (iter){.key = slice_of_str(wrong[i]), .seq = 8, .kind = FIRN_PUT};
        assert_int_equal(build_add(&made, &it, &err), FIRN_DAMAGED);
        assert_true(strstr(err.message, "out of order") && err.hint[0]);
        build_release(&made, false);
        bed_release(&b);
    }
}

/* Parts of about as many entries each, since all are as large; other runs are not cut inside. */
static void a_table_is_cut_inside_and_no_other_run(void **state)
{
    (void)state;
    enum { ENTRIES = 3000, PARTS = 3 };
    bed b;
    build made;
    buf cut = {0};
    firn_error err = {0};
    char key[16];
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    build_init(&made, b.db->store, 1, UINT64_MAX);
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(key, sizeof key, "key%06u", i);
        iter it = {
            .key = slice_of_str(key), .value = slice_of_str("value"), .seq = 1, .kind = FIRN_PUT};
        MUST(build_add(&made, &it, error));
    }
    MUST(build_finish(&made, error));
    for (unsigned i = 1; i < PARTS; i++) {
        MUST(run_split(run_of_table(made.tables[0]), i, PARTS, &cut, error));
        assert_true(cut.size > 3 && cut.size <= 9);
        memcpy(key, "key000000", 10); /* it may be shorter than the keys that it lies between */
        memcpy(key, cut.data, cut.size);
        unsigned long at = strtoul(key + 3, NULL, 10), right = ENTRIES / PARTS * i;
        assert_true(at > right - ENTRIES / 10 && at < right + ENTRIES / 10);
    }
    view *v = store_view(b.db->store);
    assert_int_equal(run_split(view_mem_run(v, 0), 1, 2, &cut, &err), FIRN_INVALID);
    view_unref(v);
    buf_release(&cut);
    build_release(&made, false);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_is_answered_alike),
        cmocka_unit_test(a_kept_value_stays),
        cmocka_unit_test(an_iterator_shows_the_same),
        cmocka_unit_test(a_walk_over_several_runs_is_one),
        cmocka_unit_test(bounds_are_those_of_the_versions),
        cmocka_unit_test(a_run_tells_what_has_changed),
        cmocka_unit_test(fragments_tell_what_covers_a_key),
        cmocka_unit_test(a_merge_leaves_out_what_range_deletes_hide),
        cmocka_unit_test(a_get_asks_every_run_in_its_order),
        cmocka_unit_test(tables_of_one_build_ascend),
        cmocka_unit_test(a_table_is_cut_inside_and_no_other_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
