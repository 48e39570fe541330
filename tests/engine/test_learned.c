/* Walks learn where no key is there, and none is misled by it: not by puts that come beside or
 * behind the learning, nor at any number from before. test_steps.c counts what it saves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/fence.h>
#include <base/thread.h>

#include "walks.h"
#include <store/store.h>

/* Called once, between an iterator's view and its number. */
static _Thread_local void (*in_between)(void);
static view *then_look(view *v)
{
    void (*call)(void) = in_between;
    in_between = NULL;
    if (call)
        call();
    return v;
}
#define tree_view(t) then_look((tree_view)(t))
#include "iterator.c"
#undef tree_view

enum { ROWS = 40, STEPS = 4 };

static const char *row(unsigned i)
{
    static char room[4][16];
    static unsigned next;
    char *key = room[next++ % 4];
    snprintf(key, sizeof room[0], "k%03u", i);
    return key;
}

static void delete_rows(bed *b)
{
    for (unsigned i = 0; i < ROWS; i++)
        bed_put(b, row(i), "old");
    for (unsigned i = 0; i < ROWS; i++)
        bed_delete(b, row(i));
}

static uint64_t learned(const bed *b)
{
    return b->db->store->gaps.learned;
}

static firn_iter *new_iter(firn *db, const firn_snapshot *snapshot)
{
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.snapshot = snapshot;
    MUST(firn_iter_new(db, &o, &it, error));
    return it;
}

/* The keys from "b" on, and back from "y", which must be the same. */
static void walk_shows(firn_iter *it, const char *const *keys)
{
    size_t n = 0;
    int rc = firn_iter_seek(it, "b", 1);
    for (; keys[n]; n++, rc = firn_iter_next(it)) {
        assert_int_equal(rc, FIRN_OK);
        if (!slice_equal(firn_iter_key(it), slice_of_str(keys[n])))
            fail_msg("%s instead of %s", key_text(firn_iter_key(it)), keys[n]);
    }
    assert_true(slice_equal(firn_iter_key(it), slice_of_str("z")));
    rc = firn_iter_seek_for_prev(it, "y", 1);
    for (; n > 0; n--, rc = firn_iter_prev(it)) {
        assert_int_equal(rc, FIRN_OK);
        if (!slice_equal(firn_iter_key(it), slice_of_str(keys[n - 1])))
            fail_msg("backwards, %s instead of %s", key_text(firn_iter_key(it)), keys[n - 1]);
    }
    assert_true(slice_equal(firn_iter_key(it), slice_of_str("a")));
}

static void now_shows(bed *b, const char *const *keys)
{
    firn_iter *it = new_iter(b->db, NULL);
    walk_shows(it, keys);
    firn_iter_free(it);
}

#define NONE ((const char *const[]){NULL})

static void put_by_put(bed *b, const char *key)
{
    bed_put(b, key, "new");
}

static void put_by_batch(bed *b, const char *key)
{
    firn_batch *batch = NULL;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    assert_int_equal(firn_batch_delete(batch, "k001", 4), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "q", 1, "", 0), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, key, strlen(key), "new", 3), FIRN_OK);
    assert_int_equal(firn_batch_delete(batch, "q", 1), FIRN_OK);
    MUST(firn_write(b->db, batch, NULL, NULL, error));
    firn_batch_free(batch);
}

static void put_by_apply(bed *b, const char *key)
{
    firn_op ops[] = {{.size = sizeof *ops, .kind = FIRN_OP_IF_ABSENT},
                     {.size = sizeof *ops, .kind = FIRN_OP_PUT}};
    ops[0].key = ops[1].key = slice_of_str(key);
    ops[1].value = slice_of_str("new");
    MUST(firn_apply(b->db, ops, 2, NULL, NULL, error));
}

static void (*const ways[])(bed *, const char *) = {put_by_put, put_by_batch, put_by_apply};

static void a_put_into_a_gap_is_seen_at_once(void **state)
{
    (void)state;
    static const unsigned rows[] = {0, 7, 20, ROWS - 1};
    for (unsigned way = 0; way < 3; way++) {
        for (unsigned i = 0; i < 4; i++) {
            bed b;
            begin_walks(&b, STEPS);
            delete_rows(&b);
            now_shows(&b, NONE);
            assert_true(learned(&b) > 0);
            firn_iter *before = new_iter(b.db, NULL);
            ways[way](&b, row(rows[i]));
            now_shows(&b, (const char *const[]){row(rows[i]), NULL});
            walk_shows(before, NONE);
            firn_iter_refresh(before);
            walk_shows(before, (const char *const[]){row(rows[i]), NULL});
            firn_iter_free(before);
            bed_flush(&b);
            now_shows(&b, (const char *const[]){row(rows[i]), NULL});
            bed_delete(&b, row(rows[i]));
            now_shows(&b, NONE);
            bed_release(&b);
        }
    }
}

static void readers_from_before_see_what_was_there(void **state)
{
    (void)state;
    bed b;
    firn_snapshot *full = NULL, *half = NULL;
    const char *all[ROWS + 1] = {NULL};
    char keys[ROWS][16];
    begin_walks(&b, STEPS);
    for (unsigned i = 0; i < ROWS; i++) {
        snprintf(keys[i], sizeof keys[i], "%s", row(i));
        all[i] = keys[i];
        bed_put(&b, keys[i], "old");
    }
    MUST(firn_snapshot_new(b.db, &full, error));
    for (unsigned i = 0; i < ROWS / 2; i++)
        bed_delete(&b, keys[i]);
    MUST(firn_snapshot_new(b.db, &half, error));
    for (unsigned i = ROWS / 2; i < ROWS; i++)
        bed_delete(&b, keys[i]);
    now_shows(&b, NONE);
    firn_iter *it = new_iter(b.db, full);
    walk_shows(it, all);
    firn_iter_free(it);
    it = new_iter(b.db, half);
    walk_shows(it, all + ROWS / 2); /* and learns nothing that others would take for theirs */
    firn_iter_free(it);
    now_shows(&b, NONE);
    it = new_iter(b.db, full);
    walk_shows(it, all);
    firn_iter_free(it);
    firn_snapshot_free(full);
    firn_snapshot_free(half);
    bed_release(&b);
}

/* What an old walk finds dead may have come back since, wherever that is by now. */
static void an_old_walk_learns_nothing_where_keys_came_back(void **state)
{
    (void)state;
    enum { SAME_MEM, FLUSHED, OTHER_MEM, ELSEWHERE, DELETED, DELETED_RANGE, CASES };
    for (unsigned c = 0; c < CASES; c++) {
        bed b;
        begin_walks(&b, STEPS);
        delete_rows(&b);
        firn_iter *it = new_iter(b.db, NULL);
        if (c == OTHER_MEM)
            bed_flush(&b);
        if (c <= OTHER_MEM) {
            bed_put(&b, row(20), "new");
        } else if (c == ELSEWHERE) {
            bed_put(&b, "A", "new"); /* one beside, on each side */
            bed_put(&b, "zz", "new");
        } else if (c == DELETED) {
            bed_delete(&b, row(20));
        } else {
            firn_slice first = slice_of_str("k02"), end = slice_of_str("k03");
            firn_range range = {.first = &first, .end = &end};
            MUST(firn_delete_range(b.db, &range, NULL, error));
        }
        if (c == FLUSHED)
            bed_flush(&b);
        walk_shows(it, NONE);
        gap_bounds g;
        assert_int_equal(gaps_find(&b.db->store->gaps, 0, slice_of_str(row(20)), FIRN_MAX_SEQ, &g),
                         c > OTHER_MEM);
        if (c <= OTHER_MEM)
            now_shows(&b, (const char *const[]){row(20), NULL});
        else
            now_shows(&b, NONE);
        firn_iter_free(it);
        bed_release(&b);
    }
}

static void walks_within_bounds_learn_what_they_walk(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        gap_bounds g;
        begin_walks(&b, STEPS);
        delete_rows(&b);
        firn_iter *it = iter_within(&b, "k010", "k020");
        assert_int_equal(back ? firn_iter_last(it) : firn_iter_first(it), FIRN_END);
        firn_iter_free(it);
        gaps *known = &b.db->store->gaps;
        uint64_t now = firn_last_seq(b.db);
        assert_true(learned(&b) > 0);
        assert_true(gaps_find(known, 0, slice_of_str(row(15)), now, &g));
        assert_true(slice_compare(gap_slice(&g.from), slice_of_str("k010")) >= 0);
        assert_true(slice_compare(gap_slice(&g.to), slice_of_str("k020")) <= 0);
        assert_false(gaps_find(known, 0, slice_of_str(row(15)), now - 1, &g));
        assert_false(gaps_find(known, 0, slice_of_str(row(9)), now, &g));
        assert_false(gaps_find(known, 0, slice_of_str(row(20)), now, &g));
        now_shows(&b, NONE);
        assert_true(gaps_find(known, 0, slice_of_str(row(12)), now, &g)); /* all of it is one */
        assert_true(slice_compare(gap_slice(&g.from), slice_of_str(row(5))) < 0);
        assert_true(slice_compare(gap_slice(&g.to), slice_of_str(row(ROWS - 1))) > 0);
        bed_release(&b);
    }
}

/* A seek to a key outside of the bounds has not looked there. */
static void what_lies_beyond_a_bound_is_not_taken_for_dead(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        begin_walks(&b, STEPS);
        delete_rows(&b);
        bed_put(&b, "k0055", "");
        bed_put(&b, "k0255", "");
        firn_iter *it = iter_within(&b, "k010", "k020");
        assert_int_equal(back ? firn_iter_seek_for_prev(it, "y", 1) : firn_iter_seek(it, "b", 1),
                         FIRN_END);
        firn_iter_free(it);
        assert_true(learned(&b) > 0);
        now_shows(&b, (const char *const[]){"k0055", "k0255", NULL});
        bed_release(&b);
    }
}

/* One that is sent to a gap beyond its bound begins at the bound all the same. */
static void a_gap_beyond_the_bound_is_not_joined_with_what_lies_within(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        begin_walks(&b, STEPS);
        bed_put(&b, "m", "");
        bury(&b, "d%03u", 0, ROWS);
        bury(&b, "n%03u", 0, ROWS);
        firn_iter *it = back ? iter_within(&b, "n", NULL) : iter_within(&b, NULL, "e");
        assert_int_equal(firn_iter_seek(it, back ? "n" : "d", 1), back ? FIRN_OK : FIRN_END);
        firn_iter_free(it);
        assert_true(learned(&b) > 0);
        if (back) {
            it = iter_within(&b, NULL, "e");
            assert_int_equal(firn_iter_seek_for_prev(it, "n010", 4), FIRN_OK);
            assert_int_equal(firn_iter_prev(it), FIRN_END);
            firn_iter_free(it);
            it = iter_within(&b, "d", "e");
            assert_int_equal(firn_iter_seek_for_prev(it, "n010", 4), FIRN_END);
        } else {
            it = iter_within(&b, "n", NULL);
            assert_int_equal(firn_iter_seek(it, "d010", 4), FIRN_OK);
            assert_true(slice_equal(firn_iter_key(it), slice_of_str("z")));
        }
        firn_iter_free(it);
        now_shows(&b, (const char *const[]){"m", NULL});
        bed_release(&b);
    }
}

/* Backwards, over keys of which nothing but a range delete says that they are dead. */
static void what_ranges_cover_has_no_key_to_begin_at(void **state)
{
    (void)state;
    for (int bounded = 0; bounded < 2; bounded++) {
        bed b;
        char key[16];
        firn_slice first = slice_of_str("m0"), end = slice_of_str("m9");
        firn_range range = {.first = &first, .end = &end};
        begin_walks(&b, STEPS);
        bed_put(&b, "h", "");
        for (unsigned i = 0; i < ROWS; i++) {
            snprintf(key, sizeof key, "m%03u", i);
            bed_put(&b, key, "");
        }
        bury(&b, "n%03u", 0, ROWS);
        MUST(firn_delete_range(b.db, &range, NULL, error));
        firn_iter *it = iter_within(&b, "n", NULL);
        assert_int_equal(firn_iter_first(it), FIRN_OK);
        firn_iter_free(it);
        it = iter_within(&b, bounded ? "m001" : NULL, NULL);
        for (unsigned round = 0; round < 2; round++) {
            assert_int_equal(firn_iter_seek_for_prev(it, "n010", 4), bounded ? FIRN_END : FIRN_OK);
            if (!bounded)
                assert_true(slice_equal(firn_iter_key(it), slice_of_str("h")));
            now_shows(&b, (const char *const[]){"h", NULL});
        }
        firn_iter_free(it);
        bed_release(&b);
    }
}

/* A put that a merge has forgotten, since it was deleted again, is still seen by a reader from
 * between the two. */
static void what_merges_have_forgotten_is_not_taken_for_dead(void **state)
{
    (void)state;
    for (unsigned merged = 0; merged < 3; merged++) {
        bed b;
        begin_walks(&b, STEPS);
        delete_rows(&b);
        firn_iter *before = new_iter(b.db, NULL);
        bed_put(&b, row(20), "new");
        firn_iter *between = new_iter(b.db, NULL);
        bed_delete(&b, row(20));
        if (merged)
            bed_flush(&b);
        if (merged > 1)
            MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        walk_shows(before, NONE);
        walk_shows(between, (const char *const[]){row(20), NULL});
        now_shows(&b, NONE);
        walk_shows(between, (const char *const[]){row(20), NULL});
        firn_iter_free(before);
        firn_iter_free(between);
        bed_release(&b);
    }
}

/* A checkpoint takes a number that no reader has, and an empty memtable that has one is flushed. */
static void what_a_checkpoint_takes_does_not_end_learning(void **state)
{
    (void)state;
    bed b;
    begin_walks(&b, STEPS);
    delete_rows(&b);
    for (unsigned i = 0; i < 3; i++)
        bed_flush(&b);
    assert_true(b.db->store->flushed_seq > firn_last_seq(b.db));
    now_shows(&b, NONE);
    assert_true(learned(&b) > 0);
    bed_put(&b, row(20), "new");
    now_shows(&b, (const char *const[]){row(20), NULL});
    bed_release(&b);
}

/* ---- A memtable ends between an iterator's view and its number ---- */

static bed *now_bed;

static void flush_and_put(void)
{
    bed_flush(now_bed);
    bed_put(now_bed, row(20), "new");
}

static void a_walk_knows_nothing_of_a_memtable_that_its_view_has_not(void **state)
{
    (void)state;
    bed b;
    begin_walks(&b, STEPS);
    delete_rows(&b);
    now_bed = &b;
    in_between = flush_and_put;
    firn_iter *it = new_iter(b.db, NULL);
    walk_shows(it, NONE);
    now_shows(&b, (const char *const[]){row(20), NULL});
    firn_iter_refresh(it);
    walk_shows(it, (const char *const[]){row(20), NULL});
    firn_iter_free(it);
    bed_release(&b);
}

static void flush_and_replace(void)
{
    firn_batch *batch = NULL;
    bed_flush(now_bed);
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (unsigned i = 0; i < ROWS; i++)
        assert_int_equal(firn_batch_delete(batch, row(i), 4), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "m", 1, "", 0), FIRN_OK);
    MUST(firn_write(now_bed->db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    now_shows(now_bed, (const char *const[]){"m", NULL}); /* and learns it */
    assert_true(learned(now_bed) > 0);
}

static void a_view_from_before_a_batch_shows_nothing_of_it(void **state)
{
    (void)state;
    bed b;
    const char *all[ROWS + 1] = {NULL};
    char keys[ROWS][16];
    begin_walks(&b, STEPS);
    for (unsigned i = 0; i < ROWS; i++) {
        snprintf(keys[i], sizeof keys[i], "%s", row(i));
        all[i] = keys[i];
        bed_put(&b, keys[i], "");
    }
    now_bed = &b;
    in_between = flush_and_replace;
    firn_iter *it = new_iter(b.db, NULL);
    walk_shows(it, all);
    firn_iter_refresh(it);
    walk_shows(it, (const char *const[]){"m", NULL});
    firn_iter_free(it);
    bed_release(&b);
}

static void few_dead_keys_are_not_learned(void **state)
{
    (void)state;
    for (unsigned count = STEPS - 1; count <= STEPS; count++) {
        bed b;
        begin_walks(&b, STEPS);
        for (unsigned i = 0; i < count; i++) {
            bed_put(&b, row(i), "");
            bed_delete(&b, row(i));
        }
        now_shows(&b, NONE);
        assert_int_equal(learned(&b) > 0, count == STEPS);
        bed_release(&b);
    }
}

static void what_lies_between_two_gaps_is_learned_however_little_it_is(void **state)
{
    (void)state;
    bed b;
    gap_bounds g;
    begin_walks(&b, STEPS);
    delete_rows(&b);
    now_shows(&b, NONE);
    bed_put(&b, row(20), "new");
    bed_delete(&b, row(20));
    now_shows(&b, NONE);
    assert_true(gaps_find(&b.db->store->gaps, 0, slice_of_str(row(20)), firn_last_seq(b.db), &g));
    assert_int_equal(b.db->store->gaps.any, 1);
    bed_release(&b);
}

static void buckets_do_not_mix_what_they_learn(void **state)
{
    (void)state;
    bed b;
    firn *other = NULL;
    firn_bucket_options o;
    begin_walks(&b, STEPS);
    firn_bucket_options_init(&o);
    o.create = true;
    MUST(firn_bucket_open(b.db, "other", &o, &other, error));
    for (unsigned i = 0; i < ROWS; i++)
        MUST(firn_put(other, row(i), 4, "x", 1, NULL, error));
    delete_rows(&b);
    now_shows(&b, NONE);
    firn_iter *it = new_iter(other, NULL);
    assert_int_equal(firn_iter_seek(it, "b", 1), FIRN_OK);
    assert_true(slice_equal(firn_iter_key(it), slice_of_str(row(0))));
    firn_iter_free(it);
    MUST(firn_put(other, row(5), 4, "y", 1, NULL, error)); /* cuts nothing of bucket 0's */
    gap_bounds g;
    assert_true(gaps_find(&b.db->store->gaps, 0, slice_of_str(row(5)), FIRN_MAX_SEQ, &g));
    for (unsigned i = 0; i < ROWS; i++)
        MUST(firn_delete(other, row(i), 4, NULL, error));
    it = new_iter(other, NULL);
    assert_int_equal(firn_iter_first(it), FIRN_END);
    assert_true(gaps_find(&b.db->store->gaps, 1, slice_of_str(row(5)), FIRN_MAX_SEQ, &g));
    /* An iterator that outlives its bucket learns nothing, and goes on. */
    uint64_t before = learned(&b);
    MUST(firn_put(other, row(7), 4, "y", 1, NULL, error));
    MUST(firn_delete(other, row(7), 4, NULL, error));
    MUST(firn_bucket_drop(other, error));
    assert_int_equal(firn_iter_first(it), FIRN_END);
    assert_int_equal(firn_iter_last(it), FIRN_END);
    assert_int_equal(learned(&b), before);
    firn_iter_free(it);
    MUST(firn_close(other, error));
    bed_release(&b);
}

static void a_store_that_is_only_read_learns_too(void **state)
{
    (void)state;
    bed b;
    begin_walks(&b, STEPS);
    delete_rows(&b);
    bed_must_close(&b);
    b.options.read_only = true;
    bed_must_open(&b);
    now_shows(&b, NONE);
    assert_true(learned(&b) > 0);
    now_shows(&b, NONE);
    assert_true(learned(&b) > 0);
    bed_release(&b);
}

static void each_memtable_ends_what_is_of_no_use(void **state)
{
    (void)state;
    bed b;
    begin_walks(&b, STEPS);
    delete_rows(&b);
    now_shows(&b, NONE);
    bed_flush(&b);
    assert_int_equal(b.db->store->gaps.any, 1); /* it has been of use since the last one */
    bed_put(&b, "A", "");
    bed_flush(&b);
    assert_int_equal(b.db->store->gaps.any, 0);
    now_shows(&b, NONE);
    bed_release(&b);
}

/* An iterator from the middle of a burst of range deletes walks over what they have covered in its
 * own memtable: once. */
static void what_ranges_cover_in_memory_is_learned(void **state)
{
    (void)state;
    bed b;
    gap_bounds g;
    begin_walks(&b, STEPS);
    for (unsigned i = 0; i < ROWS; i++)
        bed_put(&b, row(i), "old");
    firn_slice first = slice_of_str("k"), end = slice_of_str("l");
    firn_range range = {.first = &first, .end = &end};
    MUST(firn_delete_range(b.db, &range, NULL, error));
    now_shows(&b, NONE);
    assert_true(gaps_find(&b.db->store->gaps, 0, slice_of_str(row(20)), firn_last_seq(b.db), &g));
    bed_put(&b, row(20), "new");
    now_shows(&b, (const char *const[]){row(20), NULL});
    bed_release(&b);
}

/* ---- Ended in the middle ---- */

/* Ended anywhere in a table whose dead keys are erased by a range of its own. */
static void a_walk_that_is_ended_takes_nothing_unseen_for_dead(void **state)
{
    (void)state;
    for (unsigned ends = 1; ends < 12; ends++) {
        bed b;
        trap t = {.at = 0};
        firn_snapshot *before = NULL;
        firn_slice first = slice_of_str("m0"), end = slice_of_str("m9");
        firn_range range = {.first = &first, .end = &end};
        char key[16];
        begin_walks(&b, STEPS);
        b.options.never_map = true;
        bed_must_close(&b);
        bed_must_open(&b);
        bed_put(&b, "a", "");
        bed_put(&b, "h", "");
        bed_put(&b, "z", "");
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(key, sizeof key, "%c%05u", i < 800 ? 'm' : 'n', i);
            bed_put(&b, key, "some value of some length, so that there are many blocks");
        }
        MUST(firn_snapshot_new(b.db, &before, error));
        MUST(firn_delete_range(b.db, &range, NULL, error));
        for (unsigned i = 800; i < 1000; i++) {
            snprintf(key, sizeof key, "n%05u", i);
            bed_delete(&b, key);
        }
        bed_flush(&b);
        firn_iter *it = iter_within(&b, "n", NULL);
        assert_int_equal(firn_iter_first(it), FIRN_OK);
        firn_iter_free(it);
        simfs_on_call(b.sim, spring, &t);
        firn_iter_options o;
        firn_iter_options_init(&o);
        o.cancel = &t.cancel;
        o.bypass_cache = true;
        MUST(firn_iter_new(b.db, &o, &it, error));
        for (unsigned round = 0; round < 2; round++) {
            t.reads = 0;
            t.at = ends;
            t.cancel.fired = 0;
            (void)(round ? firn_iter_last(it) : FIRN_OK);
            (void)firn_iter_seek_for_prev(it, "n00900", 6);
            t.at = 0;
            now_shows(&b, (const char *const[]){"h", NULL});
        }
        firn_iter_free(it);
        firn_snapshot_free(before);
        bed_release(&b);
    }
}

/* ---- Beside writers ---- */

typedef struct walker {
    bed *b;
    atomic_bool *over;
} walker;

static void walk_again_and_again(void *ctx)
{
    walker *w = ctx;
    firn_iter *it = new_iter(w->b->db, NULL);
    for (unsigned i = 0; !atomic_load(w->over); i++) {
        if (i % 8)
            (void)firn_iter_refresh(it); /* now and then it is older */
        (void)(i % 2 ? firn_iter_first(it) : firn_iter_last(it));
    }
    firn_iter_free(it);
}

/* A writer puts keys into what others are learning to be dead, and finds each of them. */
static void writes_beside_learning_are_found(bed *b)
{
    atomic_bool over = false;
    thread t = {0};
    walker w = {b, &over};
    for (unsigned i = 0; i < 16; i++)
        bed_delete(b, row(i));
    assert_int_equal(thread_start(&t, "walker", walk_again_and_again, &w), 0);
    firn_iter *it = new_iter(b->db, NULL);
    for (unsigned round = 0; round < 20000; round++) {
        const char *key = row(round % 16);
        bed_put(b, key, "x");
        MUST(firn_iter_refresh(it) == FIRN_OK ? FIRN_OK : firn_iter_status(it, error));
        int rc = round % 3 ? firn_iter_first(it) : firn_iter_last(it);
        if (rc != FIRN_OK || !slice_equal(firn_iter_key(it), slice_of_str(key)))
            fail_msg("round %u: %s is not found", round, key);
        bed_delete(b, key);
    }
    firn_iter_free(it);
    atomic_store(&over, true);
    thread_join(&t);
    assert_true(learned(b) > 0);
}

static void a_put_beside_the_learning_is_found(void **state)
{
    (void)state;
    for (int by_kernel = 1; by_kernel >= 0; by_kernel--) {
        bed b;
        bed_on_disk(&b);
        MUST(firn_options_set(&b.options, "durability", "none", error));
        b.options.segment_bytes = 1 << 20;
        b.config.gap_steps = 1;
        bed_must_open(&b);
        bool was = atomic_load(&fence_by_kernel);
        if (!by_kernel)
            atomic_store(&fence_by_kernel, false);
        writes_beside_learning_are_found(&b);
        bed_must_close(&b);
        atomic_store(&fence_by_kernel, was);
        bed_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_into_a_gap_is_seen_at_once),
        cmocka_unit_test(readers_from_before_see_what_was_there),
        cmocka_unit_test(an_old_walk_learns_nothing_where_keys_came_back),
        cmocka_unit_test(walks_within_bounds_learn_what_they_walk),
        cmocka_unit_test(what_lies_beyond_a_bound_is_not_taken_for_dead),
        cmocka_unit_test(a_gap_beyond_the_bound_is_not_joined_with_what_lies_within),
        cmocka_unit_test(what_ranges_cover_has_no_key_to_begin_at),
        cmocka_unit_test(what_merges_have_forgotten_is_not_taken_for_dead),
        cmocka_unit_test(what_a_checkpoint_takes_does_not_end_learning),
        cmocka_unit_test(a_walk_knows_nothing_of_a_memtable_that_its_view_has_not),
        cmocka_unit_test(a_view_from_before_a_batch_shows_nothing_of_it),
        cmocka_unit_test(few_dead_keys_are_not_learned),
        cmocka_unit_test(what_lies_between_two_gaps_is_learned_however_little_it_is),
        cmocka_unit_test(buckets_do_not_mix_what_they_learn),
        cmocka_unit_test(a_store_that_is_only_read_learns_too),
        cmocka_unit_test(each_memtable_ends_what_is_of_no_use),
        cmocka_unit_test(what_ranges_cover_in_memory_is_learned),
        cmocka_unit_test(a_walk_that_is_ended_takes_nothing_unseen_for_dead),
        cmocka_unit_test(a_put_beside_the_learning_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
