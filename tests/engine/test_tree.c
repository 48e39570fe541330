/* Several trees in one store: batches over all of them stay whole through flushes, compactions and reopenings, and one
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

#include "jobs.h"
#include "trees.h"

/* A mem without entries of a tree leaves its view, too. */
static void quiet_tree(scenario *s)
{
    MUST(firn_put(s->b.db, "of bucket 0 alone", 17, "", 0, NULL, error));
    bed_flush(&s->b);
    trees_list_the_same_mems(s);
    MUST(firn_delete(s->b.db, "of bucket 0 alone", 17, NULL, error));
}

/* Every tree answers as its model, whatever has become of memtables and tables; a snapshot agrees for all of them. */
static void trees_answer_as_their_models(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        scenario *s = trees_begin(seed);
        bed_must_open(&s->b);
        trees_make(s);
        firn_snapshot *held = NULL;
        size_t held_at = 0;
        while (s->count < BATCHES_MOST) {
            trees_write(s, false);
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
                trees_reopen(s);
                break;
            default:
                break;
            }
            if (s->count % 10 == 0)
                trees_must_be(s, NULL, s->count);
            if (held && s->count % 10 == 5)
                trees_must_be(s, held, held_at);
        }
        firn_snapshot_free(held);
        trees_reopen(s);
        assert_true(s->trees[1] && s->trees[2]);
        trees_must_be(s, NULL, s->count);
        quiet_tree(s);
        for (unsigned t = 0; t < TREES; t++) { /* each has tables of its own */
            view *v = tree_view(s->trees[t]);
            assert_true(version_tables(v->version) > 0);
            assert_int_equal(v->version->bucket, s->trees[t]->bucket);
            view_unref(v);
        }
        trees_end(s);
    }
}

/* Reading and writing go on while a bucket is walked that ends; what it was is gone, for ever. */
static void a_dropped_tree_is_gone(void **state)
{
    (void)state;
    scenario *s = trees_begin(9);
    firn_iter *it = NULL;
    char why[WHY];
    bed_must_open(&s->b);
    trees_make(s);
    for (unsigned i = 0; i < 60; i++)
        trees_write(s, false);
    bed_flush(&s->b);
    for (unsigned i = 0; i < 20; i++)
        trees_write(s, false);
    uint64_t tables = bed_tables(&s->b);
    MUST(firn_iter_new(s->trees[2], NULL, &it, error));
    unsigned bucket = s->trees[2]->bucket;
    firn *handle = NULL;
    MUST(firn_bucket_open(s->b.db, tree_names[2], NULL, &handle, error));
    MUST(firn_bucket_drop(handle, error));
    assert_null(trees_get(s->b.db, tree_names[2]));
    assert_true(bed_tables(&s->b) < tables);
    unsigned shown = 0, there = 0;
    for (int rc = firn_iter_first(it); rc == FIRN_OK; rc = firn_iter_next(it))
        shown++;
    for (unsigned k = 0; k < KEYS; k++)
        there += s->states[s->count].of[2][k] != 0;
    assert_int_equal(shown, there); /* who walks it, walks to the end */
    assert_int_equal(firn_iter_refresh(it), FIRN_DROPPED);
    assert_int_equal(firn_close(handle, NULL), FIRN_INVALID);
    firn_iter_free(it);
    MUST(firn_close(handle, error));
    s->trees[2] = NULL;
    trees_must_be(s, NULL, s->count);
    trees_reopen(s); /* its entries are in the log still */
    trees_reopen(s); /* and this life's manifest is another one */
    assert_null(s->trees[2]);
    trees_must_be(s, NULL, s->count);
    tree *again = trees_new(s->b.db, tree_names[2]);
    assert_true(again->bucket > bucket); /* numbers are never used again */
    world empty = {0};
    tree *const only[TREES] = {NULL, NULL, again};
    if (!trees_compare(only, NULL, &empty, why))
        fail_msg("%s", why);
    trees_reopen(s);
    assert_non_null(s->trees[2]);
    tree *const found[TREES] = {NULL, NULL, s->trees[2]};
    if (!trees_compare(found, NULL, &empty, why))
        fail_msg("%s", why);
    trees_end(s);
}

static void names_and_numbers_are_watched(void **state)
{
    (void)state;
    bed b;
    firn *t = NULL;
    firn_bucket_options o;
    char longest[TREE_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[TREE_NAME_MAX + 1] = 0;
    bed_on_simfs(&b, 4);
    bed_must_open(&b);
    firn_bucket_options_init(&o);
    o.create = true;
    assert_int_equal(firn_bucket_open(b.db, longest, &o, &t, NULL), FIRN_INVALID);
    longest[TREE_NAME_MAX] = 0;
    tree *last = trees_new(b.db, longest);
    assert_int_equal(firn_bucket_open(b.db, "", &o, &t, NULL), FIRN_INVALID);
    o.error_if_exists = true;
    assert_int_equal(firn_bucket_open(b.db, longest, &o, &t, NULL), FIRN_INVALID);
    assert_null(t);
    assert_int_equal(firn_bucket_drop(b.db, NULL), FIRN_INVALID);
    for (unsigned i = last->bucket + 1U; i < TREES_MAX; i++) {
        char name[16];
        if (i == 300) { /* as if the store had made and dropped more meanwhile */
            i = TREES_MAX - 10;
            atomic_store(&b.db->store->bucket_limit, i);
        }
        snprintf(name, sizeof name, "%u", i);
        tree *made = trees_new(b.db, name);
        assert_int_equal(made->bucket, i);
        if (i % 3)
            trees_drop(made);
    }
    assert_int_equal(firn_bucket_open(b.db, "one more", &o, &t, NULL), FIRN_TOO_LARGE);
    bed_must_close(&b);
    bed_must_open(&b);
    assert_int_equal(firn_bucket_open(b.db, "one more", &o, &t, NULL), FIRN_TOO_LARGE);
    assert_non_null(trees_get(b.db, "3"));
    assert_null(trees_get(b.db, "4"));
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
            trees_write(s, false);
        span_all_keys(s);
        bed_flush(&s->b);
    }
}

/* firn_compact leaves one level in each tree, without tombstones: nothing lies below. */
static size_t level_0_of(const tree *t)
{
    view *v = tree_view((tree *)(uintptr_t)t);
    size_t count = v->version->levels[0].count;
    view_unref(v);
    return count;
}

static void a_compaction_is_of_one_bucket(void **state)
{
    (void)state;
    scenario *s = trees_begin(21);
    bed_must_open(&s->b);
    trees_make(s);
    make_level_0(s);
    MUST(firn_compact(s->trees[1], NULL, 0, NULL, 0, error));
    assert_true(level_0_of(s->trees[0]) > 0 && level_0_of(s->trees[2]) > 0);
    assert_int_equal(level_0_of(s->trees[1]), 0);
    trees_compact(s);
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
    trees_must_be(s, NULL, s->count);
    trees_end(s);
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
    scenario *s = trees_begin(22);
    bed_must_open(&s->b);
    trees_make(s);
    make_level_0(s);
    job jobs[TREES];
    for (unsigned t = 0; t < TREES; t++) {
        schedule_request q = {.seq = FIRN_MAX_SEQ};
        MUST(jobs_ask(s->trees[t], &q, &jobs[t], error)); /* it would wait for a claim in its way */
        must_be_of(&jobs[t], s->trees[t]);
    }
    job more;
    bool others;
    assert_int_equal(jobs_next(s->b.db->store, true, &more, &others, NULL), FIRN_NOT_FOUND);
    assert_true(others);
    for (unsigned t = TREES; t-- > 0;) { /* the last one that began ends first */
        MUST(job_run(&jobs[t], error));
        trees_must_be(s, NULL, s->count);
    }
    for (unsigned t = 0; t < TREES; t++)
        jobs_end(s->b.db->store, &jobs[t]);
    store_reap(s->b.db->store);
    trees_must_be(s, NULL, s->count);
    trees_reopen(s);
    trees_must_be(s, NULL, s->count);
    trees_end(s);
}

/* Space is the store's: what a running job may still write is not free for another tree's. */
static void jobs_of_two_trees_share_the_room(void **state)
{
    (void)state;
    scenario *s = trees_begin(25);
    bed_must_open(&s->b);
    firn *db = s->b.db;
    trees_make(s);
    schedule_rules rules = db->store->rules;
    db->store->rules.level0_at = db->store->rules.level0_most =
        1000; /* nothing is compacted meanwhile */
    make_level_0(s);
    make_level_0(s);
    db->store->rules = rules;
    schedule_request q = {.seq = FIRN_MAX_SEQ};
    job first, more;
    bool others;
    MUST(jobs_ask(s->trees[0], &q, &first, error));
    uint64_t room = first.what.bytes_out_most;
    assert_true(room > 0);
    simfs_capacity(s->b.sim, simfs_used(s->b.sim) + room);
    assert_int_equal(jobs_next(db->store, true, &more, &others, NULL), FIRN_NOT_FOUND);
    assert_true(others); /* when it has ended, there may be room */
    jobs_end(db->store, &first);
    MUST(jobs_next(db->store, true, &more, &others, error));
    assert_in_range(more.what.bytes_out_most, 1, room);
    jobs_end(db->store, &more);
    simfs_capacity(s->b.sim, UINT64_MAX);
    trees_must_be(s, NULL, s->count);
    trees_end(s);
}

/* Trees have their turns, but for one that slows writers. While its level 0 is claimed, the others have theirs. */
static void a_tree_that_slows_writers_goes_first(void **state)
{
    (void)state;
    scenario *s = trees_begin(24);
    bed_must_open(&s->b);
    trees_make(s);
    schedule_rules rules = s->b.db->store->rules;
    s->b.db->store->rules.level0_at = s->b.db->store->rules.level0_most =
        1000; /* nothing is compacted meanwhile */
    make_level_0(s);
    make_level_0(s);
    tree *others[2] = {s->trees[1], s->trees[2]};
    s->trees[1] = s->trees[2] = NULL; /* writes go to bucket 0 alone */
    while (level_0_of(s->trees[0]) <= L0_SLOW_AT) {
        trees_write(s, false);
        bed_flush(&s->b);
    }
    s->trees[1] = others[0];
    s->trees[2] = others[1];
    s->b.db->store->rules = rules;
    mutex_lock(&s->b.db->store->jobs_mu);
    s->b.db->store->turn = 2;
    mutex_unlock(&s->b.db->store->jobs_mu);
    job jobs[TREES];
    static const unsigned order[TREES] = {0, 1, 2};
    for (unsigned i = 0; i < TREES; i++) {
        bool running;
        MUST(jobs_next(s->b.db->store, false, &jobs[i], &running, error));
        must_be_of(&jobs[i], s->trees[order[i]]);
    }
    for (unsigned i = 0; i < TREES; i++)
        MUST(job_run(&jobs[i], error));
    for (unsigned i = 0; i < TREES; i++)
        jobs_end(s->b.db->store, &jobs[i]);
    store_reap(s->b.db->store);
    trees_must_be(s, NULL, s->count);
    trees_end(s);
}

typedef struct dropping {
    firn *bucket;
    atomic_bool done;
} dropping;

static void drop_it(void *ctx)
{
    dropping *d = ctx;
    MUST(firn_bucket_drop(d->bucket, error));
    atomic_store(&d->done, true);
}

/* A thread that drops a bucket waits for its jobs, and for a caller that compacts it; none begins behind that. */
static void dropping_waits_for_jobs(void **state)
{
    (void)state;
    scenario *s = trees_begin(23);
    bed_must_open(&s->b);
    trees_make(s);
    make_level_0(s);
    tree *t = s->trees[2];
    assert_true(jobs_hold(t));
    schedule_request q = {.seq = FIRN_MAX_SEQ};
    job j, none;
    MUST(jobs_ask(t, &q, &j, error));
    dropping d = {0};
    MUST(firn_bucket_open(s->b.db, tree_names[2], NULL, &d.bucket, error));
    thread other = {0};
    assert_int_equal(thread_start(&other, "dropper", drop_it, &d), 0);
    for (bool ending = false; !ending; usleep(1000)) {
        mutex_lock(&s->b.db->store->jobs_mu);
        ending = t->ending;
        mutex_unlock(&s->b.db->store->jobs_mu);
    }
    assert_int_equal(jobs_ask(t, &q, &none, NULL), FIRN_DROPPED);
    MUST(job_run(&j, error));
    jobs_end(s->b.db->store, &j);
    usleep(5000);
    assert_false(atomic_load(&d.done));
    jobs_let_go(t);
    thread_join(&other);
    assert_true(atomic_load(&d.done));
    assert_int_equal(firn_compact(d.bucket, NULL, 0, NULL, 0, NULL), FIRN_DROPPED);
    MUST(firn_close(d.bucket, error));
    s->trees[2] = NULL;
    trees_must_be(s, NULL, s->count);
    trees_compact(s);
    trees_must_be(s, NULL, s->count);
    trees_end(s);
}

static uint32_t pressure_of(const firn *db)
{
    return atomic_load_explicit(&db->store->pressure, memory_order_relaxed);
}

static void put_into(firn *db, const tree *t, const char *value)
{
    firn_batch *batch = NULL;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    assert_int_equal(batch_add(batch, t->bucket, FIRN_PUT, slice_of_str("k"), slice_of_str(value)),
                     FIRN_OK);
    MUST(firn_write(db, batch, NULL, NULL, error));
    firn_batch_free(batch);
}

/* A bucket whose level 0 is full stops all writers, and holds what only a snapshot needs. When it is dropped, writers are held
 * back by what is left alone. */
static void a_dropped_tree_holds_no_writer_back(void **state)
{
    (void)state;
    bed b;
    tree *t = NULL;
    firn_snapshot *held = NULL;
    bed_on_simfs(&b, 26);
    bed_must_open(&b);
    firn *db = b.db;
    db->store->rules.level0_at = db->store->rules.level0_most =
        1000; /* nothing is compacted meanwhile */
    bed_put(&b, "of bucket 0", "v");
    bed_flush(&b);
    uint32_t load = atomic_load(&db->store->load);
    t = trees_new(db, "full");
    put_into(db, t, "held");
    MUST(firn_snapshot_new(db, &held, error));
    for (unsigned i = 0; i < L0_STOP_AT; i++) {
        put_into(db, t, "newer");
        bed_flush(&b);
    }
    firn_snapshot_free(held);
    assert_int_equal(pressure_of(db), L0_STOP_AT | PRESSURE_STOP);
    assert_true(atomic_load(&db->store->load) > load);
    assert_true(atomic_load(&db->store->has_kept));
    trees_drop(t);
    assert_int_equal(pressure_of(db), 1);
    assert_int_equal(atomic_load(&db->store->load), load);
    assert_false(atomic_load(&db->store->has_kept));
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_answer_as_their_models),
        cmocka_unit_test(a_dropped_tree_is_gone),
        cmocka_unit_test(names_and_numbers_are_watched),
        cmocka_unit_test(an_entry_of_a_bucket_that_never_was_is_damage),
        cmocka_unit_test(a_compaction_is_of_one_bucket),
        cmocka_unit_test(jobs_of_two_trees_do_not_mix),
        cmocka_unit_test(jobs_of_two_trees_share_the_room),
        cmocka_unit_test(a_tree_that_slows_writers_goes_first),
        cmocka_unit_test(dropping_waits_for_jobs),
        cmocka_unit_test(a_dropped_tree_holds_no_writer_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
