/* Several trees in one store: batches over all of them stay whole through flushes, compactions, crashes and reopenings, and one
 * snapshot agrees for all. Buckets begin and end with a record of the manifest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/entry.h>
#include <base/thread.h>

#include "bed.h"
#include "jobs.h"
#include "reading.h"
#include <store/store.h>
#include <tree/names.h>
#include "support/crash.h"

enum { TREES = 3, KEYS = 10, BATCHES_MOST = 600, COUNTER = 0 };
enum { MARK_DURABLE, MARK_BEGUN, MARK_CREATED, MARK_DROP };

static const char *const names[TREES] = {"", "users", "jobs"};

/* The values of all trees behind a batch; 0: not there. */
typedef struct world {
    uint64_t of[TREES][KEYS];
} world;

typedef struct scenario {
    bed b;
    rng r;
    world states[BATCHES_MOST + 1];
    size_t count; /* batches written */
    tree *trees[TREES];
    bool last_is_gone; /* the last tree has been dropped */
} scenario;

/* Keys of different families, so that each tree learns a beginning of its own. */
static firn_slice key_of(unsigned t, unsigned k, char room[64])
{
    static const char *const family[TREES] = {"", "a long beginning of users/", "jobs:"};
    int n = snprintf(room, 64, "%s%03u", family[t], k);
    return slice_of(room, (size_t)n);
}

static void find_trees(firn *db, tree *trees[TREES])
{
    trees[0] = &db->main;
    for (unsigned t = 1; t < TREES; t++)
        trees[t] = tree_find(db, slice_of_str(names[t]));
}

static void add_one(firn_batch *batch, world *w, unsigned t, uint8_t bucket, unsigned k,
                    uint64_t value)
{
    char room[64];
    firn_slice key = key_of(t, k, room);
    firn_slice bytes = value ? slice_of(value_bytes(value), value_size(value)) : (firn_slice){0};
    assert_int_equal(batch_add(batch, bucket, value ? FIRN_PUT : FIRN_DELETE, key, bytes), FIRN_OK);
    w->of[t][k] = value;
}

/* A batch over all trees that there are; the counter of bucket 0 says which it is. */
static void write_one(scenario *s, bool sync)
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
        firn_slice key = key_of(which, k, room);
        int rc = tree_get_into(t, key.data, key.size, at, value, sizeof value, &size, &err);
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
    int rc = tree_iter_new(t, &o, &it, &err);
    if (rc != FIRN_OK)
        return wrong_status(why, "an iterator", rc, &err);
    bool same = true;
    (void)(backward ? firn_iter_last(it) : firn_iter_first(it));
    for (unsigned n = 0; same && n < KEYS; n++) {
        unsigned k = backward ? KEYS - 1 - n : n;
        char room[64];
        if (!state[k])
            continue;
        same = firn_iter_valid(it) && slice_equal(firn_iter_key(it), key_of(which, k, room)) &&
               value_is(state[k], firn_iter_value(it));
        if (same)
            (void)(backward ? firn_iter_prev(it) : firn_iter_next(it));
    }
    same = same && !firn_iter_valid(it) && firn_iter_status(it, &err) == FIRN_OK;
    firn_iter_free(it);
    return same || wrong(why, "tree %u: a walk %s shows something else", which,
                         backward ? "backwards" : "forwards");
}

static bool compare_world(tree *const trees[TREES], const firn_snapshot *at, const world *w,
                          char *why)
{
    for (unsigned t = 0; t < TREES; t++)
        if (trees[t] && (!compare_gets(trees[t], at, t, w->of[t], why) ||
                         !compare_walk(trees[t], at, t, w->of[t], false, why) ||
                         !compare_walk(trees[t], at, t, w->of[t], true, why)))
            return false;
    return true;
}

/* T2 */
static void must_list_the_same_mems(scenario *s)
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

static void must_be(scenario *s, const firn_snapshot *at, size_t j)
{
    char why[WHY];
    if (!compare_world(s->trees, at, &s->states[j], why))
        fail_msg("at batch %zu: %s", j, why);
    must_list_the_same_mems(s);
}

static void make_trees(scenario *s)
{
    s->trees[0] = &s->b.db->main;
    for (unsigned t = 1; t < TREES; t++) {
        MUST(tree_create(s->b.db, slice_of_str(names[t]), &s->trees[t], error));
        if (s->b.sim)
            simfs_mark(s->b.sim, MARK_CREATED, t);
    }
}

static void reopen(scenario *s)
{
    bed_must_close(&s->b);
    bed_must_open(&s->b);
    find_trees(s->b.db, s->trees);
}

static void begin(scenario *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->r = rng_init(seed);
    bed_on_simfs(&s->b, seed);
}

/* A mem without entries of a tree leaves its view, too. */
static void quiet_tree(scenario *s)
{
    MUST(firn_put(s->b.db, "of bucket 0 alone", 17, "", 0, NULL, error));
    bed_flush(&s->b);
    must_list_the_same_mems(s);
    MUST(firn_delete(s->b.db, "of bucket 0 alone", 17, NULL, error));
}

/* Every tree answers as its model, whatever has become of memtables and tables; a snapshot agrees for all of them. */
static void trees_answer_as_their_models(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        scenario *s = malloc(sizeof *s);
        assert_non_null(s);
        begin(s, seed);
        bed_must_open(&s->b);
        make_trees(s);
        firn_snapshot *held = NULL;
        size_t held_at = 0;
        while (s->count < BATCHES_MOST) {
            write_one(s, false);
            switch (rng_below(&s->r, 40)) {
            case 0:
                bed_flush(&s->b);
                break;
            case 1:
                firn_snapshot_free(held);
                MUST(firn_snapshot_new(s->b.db, &held, error));
                held_at = s->count;
                break;
            case 2:
                MUST(firn_settle(s->b.db, error));
                break;
            case 3:
                firn_snapshot_free(held);
                held = NULL;
                reopen(s);
                break;
            default:
                break;
            }
            if (s->count % 10 == 0)
                must_be(s, NULL, s->count);
            if (held && s->count % 10 == 5)
                must_be(s, held, held_at);
        }
        firn_snapshot_free(held);
        reopen(s);
        assert_true(s->trees[1] && s->trees[2]);
        must_be(s, NULL, s->count);
        quiet_tree(s);
        for (unsigned t = 0; t < TREES; t++) { /* each has tables of its own */
            view *v = tree_view(s->trees[t]);
            assert_true(version_tables(v->version) > 0);
            assert_int_equal(v->version->bucket, s->trees[t]->bucket);
            view_unref(v);
        }
        bed_release(&s->b);
        free(s);
    }
}

/* Reading and writing go on while a bucket is walked that ends; what it was is gone, for ever. */
static void a_dropped_tree_is_gone(void **state)
{
    (void)state;
    scenario *s = malloc(sizeof *s);
    assert_non_null(s);
    firn_iter *it = NULL;
    char why[WHY];
    begin(s, 9);
    bed_must_open(&s->b);
    make_trees(s);
    for (unsigned i = 0; i < 60; i++)
        write_one(s, false);
    bed_flush(&s->b);
    for (unsigned i = 0; i < 20; i++)
        write_one(s, false);
    uint64_t tables = bed_tables(&s->b);
    MUST(tree_iter_new(s->trees[2], NULL, &it, error));
    unsigned bucket = s->trees[2]->bucket;
    MUST(tree_drop(s->b.db, s->trees[2], error));
    assert_null(tree_find(s->b.db, slice_of_str(names[2])));
    assert_true(bed_tables(&s->b) < tables);
    unsigned shown = 0, there = 0;
    for (int rc = firn_iter_first(it); rc == FIRN_OK; rc = firn_iter_next(it))
        shown++;
    for (unsigned k = 0; k < KEYS; k++)
        there += s->states[s->count].of[2][k] != 0;
    assert_int_equal(shown, there); /* who walks it, walks to the end */
    firn_iter_free(it);
    s->trees[2] = NULL;
    must_be(s, NULL, s->count);
    reopen(s); /* its entries are in the log still */
    reopen(s); /* and this life's manifest is another one */
    assert_null(s->trees[2]);
    must_be(s, NULL, s->count);
    tree *again = NULL;
    MUST(tree_create(s->b.db, slice_of_str(names[2]), &again, error));
    assert_true(again->bucket > bucket); /* numbers are never used again */
    world empty = {0};
    tree *const only[TREES] = {NULL, NULL, again};
    if (!compare_world(only, NULL, &empty, why))
        fail_msg("%s", why);
    reopen(s);
    assert_non_null(s->trees[2]);
    tree *const found[TREES] = {NULL, NULL, s->trees[2]};
    if (!compare_world(found, NULL, &empty, why))
        fail_msg("%s", why);
    bed_release(&s->b);
    free(s);
}

static void names_and_numbers_are_watched(void **state)
{
    (void)state;
    bed b;
    tree *t = NULL;
    firn_error err = {0};
    char longest[TREE_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest);
    bed_on_simfs(&b, 4);
    bed_must_open(&b);
    MUST(tree_create(b.db, slice_of(longest, TREE_NAME_MAX), &t, error));
    assert_int_equal(tree_create(b.db, slice_of(longest, TREE_NAME_MAX), &t, &err), FIRN_INVALID);
    assert_int_equal(tree_create(b.db, slice_of(longest, TREE_NAME_MAX + 1), &t, &err),
                     FIRN_INVALID);
    assert_int_equal(tree_create(b.db, slice_of("", 0), &t, &err), FIRN_INVALID);
    assert_int_equal(tree_drop(b.db, &b.db->main, &err), FIRN_INVALID);
    for (unsigned i = t->bucket + 1U; i < TREES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        MUST(tree_create(b.db, slice_of_str(name), &t, error));
        if (i % 3)
            MUST(tree_drop(b.db, t, error));
    }
    assert_int_equal(tree_create(b.db, slice_of_str("one more"), &t, &err), FIRN_TOO_LARGE);
    bed_must_close(&b);
    bed_must_open(&b);
    assert_int_equal(tree_create(b.db, slice_of_str("one more"), &t, &err), FIRN_TOO_LARGE);
    assert_non_null(tree_find(b.db, slice_of_str("3")));
    assert_null(tree_find(b.db, slice_of_str("4")));
    MUST(firn_put(b.db, "k", 1, "v", 1, NULL, error));
    bed_expect(&b, NULL, "k", "v");
    bed_release(&b);
}

/* The log knows more than the manifest: no writer writes an entry of a bucket before the record of the bucket. */
static void an_entry_of_a_bucket_that_never_was_is_damage(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    firn_batch *batch = NULL;
    bed_on_simfs(&b, 4);
    bed_must_open(&b);
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    assert_int_equal(batch_add(batch, 7, FIRN_PUT, slice_of_str("k"), slice_of_str("v")), FIRN_OK);
    MUST(firn_write(b.db, batch, NULL, NULL, error)); /* only the engine itself can do that */
    firn_batch_free(batch);
    bed_must_close(&b);
    assert_int_equal(bed_open(&b, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "bucket 7"));
    assert_true(err.hint[0] != 0);
    bed_release(&b);
}

/* ---- Crashes ---- */

/* The counter that bucket 0 shows. */
static bool read_counter(firn *db, const scenario *s, size_t low, size_t high, size_t *out)
{
    char value[64], room[64];
    size_t size = 0;
    firn_slice key = key_of(0, COUNTER, room);
    int rc = firn_get_into(db, key.data, key.size, NULL, value, sizeof value, &size, NULL);
    for (size_t j = low; j <= high; j++) {
        uint64_t counter = s->states[j].of[0][COUNTER];
        if (rc == FIRN_OK ? counter && value_is(counter, slice_of(value, size)) : counter == 0) {
            *out = j;
            return true;
        }
    }
    return false;
}

static int judge(scenario *s, firn *db, crash_state *c)
{
    tree *trees[TREES];
    char why[WHY];
    size_t j = 0;
    find_trees(db, trees);
    for (unsigned t = 1; t < TREES; t++)
        if (!trees[t] && c->marks[MARK_CREATED] >= t && !(t == TREES - 1 && c->marks[MARK_DROP]))
            return crash_wrong(c, "tree %u is not there", t);
    if (trees[TREES - 1] && c->marks[MARK_DROP] == 2)
        return crash_wrong(c, "the dropped tree is there");
    if (!read_counter(db, s, c->marks[MARK_DURABLE], c->marks[MARK_BEGUN], &j))
        return crash_wrong(c, "the counter is none of %llu to %llu",
                           (unsigned long long)c->marks[MARK_DURABLE],
                           (unsigned long long)c->marks[MARK_BEGUN]);
    if (!compare_world(trees, NULL, &s->states[j], why))
        return crash_wrong(c, "batch %zu: %s", j, why);
    return 0;
}

static int verify(void *ctx, crash_state *c)
{
    scenario *s = ctx;
    engine_config config = {.fs = c->fs, .inline_work = true};
    firn *db = NULL;
    firn_error err = {0};
    int rc = engine_open("/store", &s->b.options, &config, &db, &err);
    if (rc != FIRN_OK)
        return crash_wrong(c, "open: %s: %s", firn_status_name(rc), err.message);
    int bad = judge(s, db, c);
    if (!bad && firn_flush(db, &err) != FIRN_OK)
        bad = crash_wrong(c, "flush: %s", err.message);
    if (!bad)
        bad = judge(s, db, c);
    if (firn_close(db, &err) != FIRN_OK && !bad)
        bad = crash_wrong(c, "close: %s", err.message);
    if (!bad && engine_check(c->fs, "/store", NULL, NULL, NULL, &err) != FIRN_OK)
        bad = crash_wrong(c, "check: %s", err.message);
    return bad;
}

static void every_crash_leaves_whole_batches_in_all_trees(void **state)
{
    (void)state;
    scenario *s = malloc(sizeof *s);
    assert_non_null(s);
    begin(s, 5);
    s->b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&s->b);
    simfs_record(s->b.sim);
    make_trees(s);
    for (unsigned i = 0; i < 90; i++) {
        write_one(s, i % 9 == 0);
        if (i % 20 == 12)
            bed_flush(&s->b);
        if (i == 50)
            MUST(firn_settle(s->b.db, error));
        if (i == 60)
            reopen(s);
    }
    simfs_mark(s->b.sim, MARK_DROP, 1);
    MUST(tree_drop(s->b.db, s->trees[TREES - 1], error));
    simfs_mark(s->b.sim, MARK_DROP, 2);
    s->trees[TREES - 1] = NULL;
    for (unsigned i = 0; i < 20; i++)
        write_one(s, i == 9);
    bed_flush(&s->b);
    bed_must_close(&s->b);
    simfs_record_stop(s->b.sim);
    crash_options o = crash_options_default("trees", 5, verify, s);
    crash_stats stats = {0};
    o.singles = 8;
    o.random = 3;
    o.combinations = 8;
    assert_int_equal(crash_run(s->b.sim, &o, &stats), 0);
    crash_print("trees", &stats, stdout);
    assert_true(stats.states > 1000 || o.replay);
    bed_release(&s->b);
    free(s);
}

/* ---- Jobs ---- */

/* So that the tables of all trees have the same keys first and last. */
static void span_all_keys(scenario *s)
{
    firn_batch *batch = NULL;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (unsigned t = 0; t < TREES; t++)
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(batch_add(batch, s->trees[t]->bucket, FIRN_DELETE,
                                       slice_of_str(i ? "~" : "!"), (firn_slice){0}),
                             FIRN_OK);
    MUST(firn_write(s->b.db, batch, NULL, NULL, error));
    firn_batch_free(batch);
}

static void make_level_0(scenario *s)
{
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned n = 0; n < 15; n++)
            write_one(s, false);
        span_all_keys(s);
        bed_flush(&s->b);
    }
}

/* firn_compact leaves one level in each tree, without tombstones: nothing lies below. */
static void compacting_takes_all_trees(void **state)
{
    (void)state;
    scenario *s = malloc(sizeof *s);
    assert_non_null(s);
    begin(s, 21);
    bed_must_open(&s->b);
    make_trees(s);
    make_level_0(s);
    MUST(firn_compact(s->b.db, NULL, 0, NULL, 0, error));
    for (unsigned t = 0; t < TREES; t++) {
        view *v = tree_view(s->trees[t]);
        unsigned filled = 0;
        for (unsigned n = 0; n < FIRN_LEVELS; n++) {
            const level *l = &v->version->levels[n];
            filled += l->count > 0;
            for (size_t i = 0; i < l->count; i++) {
                assert_int_equal(l->tables[i]->properties.deletes, 0);
                assert_int_equal(l->tables[i]->bucket, s->trees[t]->bucket);
            }
        }
        assert_int_equal(filled, 1);
        assert_int_equal(v->version->levels[0].count, 0);
        view_unref(v);
    }
    must_be(s, NULL, s->count);
    bed_release(&s->b);
    free(s);
}

static void must_be_of(const job *j, const tree *t)
{
    assert_ptr_equal(j->tree, t);
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->what.counts[side]; i++)
            assert_int_equal(j->what.inputs[side][i]->bucket, t->bucket);
}

/* A claim is one tree's: the same keys of another one are free. A job takes tables of its own tree, and leaves its tables there. */
static void jobs_of_two_trees_do_not_mix(void **state)
{
    (void)state;
    scenario *s = malloc(sizeof *s);
    assert_non_null(s);
    begin(s, 22);
    bed_must_open(&s->b);
    make_trees(s);
    make_level_0(s);
    job jobs[TREES];
    for (unsigned t = 0; t < TREES; t++) {
        schedule_request q = {.seq = FIRN_MAX_SEQ};
        MUST(jobs_ask(s->trees[t], &q, &jobs[t], error)); /* it would wait for a claim in its way */
        must_be_of(&jobs[t], s->trees[t]);
    }
    job more;
    assert_int_equal(jobs_next(s->b.db, true, &more, NULL), FIRN_NOT_FOUND);
    for (unsigned t = TREES; t-- > 0;) { /* the last one that began ends first */
        MUST(job_run(&jobs[t], error));
        must_be(s, NULL, s->count);
    }
    for (unsigned t = 0; t < TREES; t++)
        jobs_end(s->b.db, &jobs[t]);
    store_reap(s->b.db);
    must_be(s, NULL, s->count);
    reopen(s);
    must_be(s, NULL, s->count);
    bed_release(&s->b);
    free(s);
}

typedef struct dropping {
    firn *db;
    tree *tree;
    atomic_bool done;
} dropping;

static void drop_it(void *ctx)
{
    dropping *d = ctx;
    MUST(tree_drop(d->db, d->tree, error));
    atomic_store(&d->done, true);
}

/* A thread that drops a bucket waits for its jobs, and for a caller that compacts it; none begins behind that. */
static void dropping_waits_for_jobs(void **state)
{
    (void)state;
    scenario *s = malloc(sizeof *s);
    assert_non_null(s);
    begin(s, 23);
    bed_must_open(&s->b);
    make_trees(s);
    make_level_0(s);
    tree *t = jobs_hold(s->b.db, 2);
    assert_ptr_equal(t, s->trees[2]);
    schedule_request q = {.seq = FIRN_MAX_SEQ};
    job j, none;
    MUST(jobs_ask(t, &q, &j, error));
    dropping d = {.db = s->b.db, .tree = t};
    thread other = {0};
    assert_int_equal(thread_start(&other, "dropper", drop_it, &d), 0);
    for (bool ending = false; !ending; usleep(1000)) {
        mutex_lock(&s->b.db->jobs_mu);
        ending = t->ending;
        mutex_unlock(&s->b.db->jobs_mu);
    }
    assert_int_equal(jobs_ask(t, &q, &none, NULL), FIRN_NOT_FOUND);
    assert_null(jobs_hold(s->b.db, 2));
    MUST(job_run(&j, error));
    jobs_end(s->b.db, &j);
    usleep(5000);
    assert_false(atomic_load(&d.done));
    jobs_let_go(t);
    thread_join(&other);
    assert_true(atomic_load(&d.done));
    s->trees[2] = NULL;
    must_be(s, NULL, s->count);
    MUST(firn_compact(s->b.db, NULL, 0, NULL, 0, error));
    must_be(s, NULL, s->count);
    bed_release(&s->b);
    free(s);
}

/* ---- Repair, check ---- */

static void repair_keeps_the_buckets(void **state)
{
    (void)state;
    scenario *s = malloc(sizeof *s);
    assert_non_null(s);
    firn_error err = {0};
    begin(s, 12);
    bed_must_open(&s->b);
    make_trees(s);
    for (unsigned i = 0; i < 80; i++)
        write_one(s, false);
    bed_flush(&s->b);
    view *v = tree_view(s->trees[1]);
    char path[128], name[NAME_BYTES];
    name_table(v->version->levels[0].count ? v->version->levels[0].tables[0]->no
                                           : v->version->levels[1].tables[0]->no,
               name);
    view_unref(v);
    snprintf(path, sizeof path, "%s/%s", s->b.folder, name);
    bed_must_close(&s->b);
    assert_int_equal(engine_check(s->b.config.fs, s->b.folder, NULL, NULL, NULL, &err), FIRN_OK);
    size_t size = 0;
    (void)simfs_peek(s->b.sim, path, &size);
    simfs_flip_bit(s->b.sim, path, 8 * (size - 3)); /* its footer: all blocks can be saved */
    assert_int_equal(engine_check(s->b.config.fs, s->b.folder, NULL, NULL, NULL, &err),
                     FIRN_DAMAGED);
    MUST(engine_repair(s->b.folder, &s->b.options, &s->b.config, NULL, NULL, NULL, error));
    bed_must_open(&s->b);
    find_trees(s->b.db, s->trees);
    assert_true(s->trees[1] && s->trees[2]);
    must_be(s, NULL, s->count);
    bed_release(&s->b);
    free(s);
}

static int unlink_manifest(void *ctx, const char *name)
{
    fs_dir *dir = ctx;
    if (strstr(name, ".manifest"))
        MUST(fs_unlink(dir, name, error));
    return 0;
}

/* Tables and log say of which bucket they are; only the names are gone. */
static void repair_without_a_manifest_keeps_buckets_apart(void **state)
{
    (void)state;
    scenario *s = malloc(sizeof *s);
    assert_non_null(s);
    fs_dir *dir = NULL;
    begin(s, 13);
    bed_must_open(&s->b);
    s->trees[0] = &s->b.db->main;
    MUST(tree_create(s->b.db, slice_of_str(names[1]), &s->trees[1], error));
    for (unsigned i = 0; i < 40; i++)
        write_one(s, false);
    bed_flush(&s->b);
    MUST(tree_create(s->b.db, slice_of_str(names[2]), &s->trees[2], error));
    for (unsigned i = 0; i < 4; i++)
        write_one(s, false);
    view *v = tree_view(s->trees[2]);
    assert_int_equal(version_tables(v->version), 0); /* what it holds is in the log alone */
    assert_true(mem_part_of(v->active, s->trees[2]->bucket) != NULL);
    view_unref(v);
    bed_must_close(&s->b);
    MUST(fs_dir_open(s->b.config.fs, s->b.folder, &dir, error));
    MUST(fs_dir_list(dir, unlink_manifest, dir, error));
    fs_dir_close(dir);
    MUST(engine_repair(s->b.folder, &s->b.options, &s->b.config, NULL, NULL, NULL, error));
    bed_must_open(&s->b);
    s->trees[0] = &s->b.db->main;
    s->trees[1] = tree_find(s->b.db, slice_of_str("bucket-1"));
    s->trees[2] = tree_find(s->b.db, slice_of_str("bucket-2"));
    assert_true(s->trees[1] && s->trees[2]);
    must_be(s, NULL, s->count);
    tree *fresh = NULL;
    MUST(tree_create(s->b.db, slice_of_str("fresh"), &fresh, error));
    assert_int_equal(fresh->bucket, 3);
    bed_release(&s->b);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_answer_as_their_models),
        cmocka_unit_test(a_dropped_tree_is_gone),
        cmocka_unit_test(names_and_numbers_are_watched),
        cmocka_unit_test(an_entry_of_a_bucket_that_never_was_is_damage),
        cmocka_unit_test(compacting_takes_all_trees),
        cmocka_unit_test(jobs_of_two_trees_do_not_mix),
        cmocka_unit_test(dropping_waits_for_jobs),
        cmocka_unit_test(repair_keeps_the_buckets),
        cmocka_unit_test(repair_without_a_manifest_keeps_buckets_apart),
        cmocka_unit_test(every_crash_leaves_whole_batches_in_all_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
