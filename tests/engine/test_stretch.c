/* What exactly a walk learns: from where to where, by the byte. test_learned.c shows that none is
 * misled by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "walks.h"
#include <store/store.h>

/* The gap around the key, of which the last byte of `after` is a zero that has been put behind it. */
static void gap_is(bed *b, const char *key, const char *from, size_t from_size, const char *to,
                   size_t to_size)
{
    gap_bounds g;
    assert_null(gaps_flaw(&b->db->store->gaps));
    assert_true(gaps_find(&b->db->store->gaps, 0, slice_of_str(key), firn_last_seq(b->db), &g));
    if (!slice_equal(gap_slice(&g.from), slice_of(from, from_size)))
        fail_msg("it begins at %s, not at %s", key_text(gap_slice(&g.from)), from);
    if (!slice_equal(gap_slice(&g.to), slice_of(to, to_size)))
        fail_msg("it ends at %s, not at %s", key_text(gap_slice(&g.to)), to);
}

/* k10 to k29 are dead. A walk looks for a gap at the 8th of them, and a step learns from there on. */
static void a_walk_learns_exactly_what_it_passed(void **state)
{
    (void)state;
    enum { SEEK, FIRST, NEXT, PREV, FOR_PREV, LAST, SEEK_TO_THE_END, BACK_TO_THE_BEGINNING, WAYS };
    for (unsigned way = 0; way < WAYS; way++) {
        bed b;
        begin_walks(&b, 10);
        bury(&b, "k%u", 10, 30);
        firn_iter *it = iter_within(&b, way == BACK_TO_THE_BEGINNING ? "b" : NULL,
                                    way == SEEK_TO_THE_END ? "y"
                                    : way == LAST          ? "m"
                                                           : NULL);
        int rc = firn_iter_seek(it, "y", 1); /* it stands on "z" in front of most */
        switch (way) {
        case SEEK:
            rc = firn_iter_seek(it, "h", 1);
            break;
        case FIRST:
            firn_iter_free(it);
            it = iter_within(&b, "c", NULL);
            rc = firn_iter_first(it);
            break;
        case NEXT:
            rc = firn_iter_first(it);
            rc = rc == FIRN_OK ? firn_iter_next(it) : rc;
            break;
        case PREV:
            rc = firn_iter_prev(it);
            break;
        case FOR_PREV:
        case BACK_TO_THE_BEGINNING:
            rc = firn_iter_seek_for_prev(it, "l", 1);
            break;
        case LAST:
            rc = firn_iter_last(it);
            break;
        case SEEK_TO_THE_END:
            rc = firn_iter_seek(it, "h", 1);
            break;
        }
        assert_int_equal(rc, way < SEEK_TO_THE_END ? FIRN_OK : FIRN_END);
        assert_int_equal(b.db->store->gaps.learned, 1);
        static const struct {
            const char *from;
            size_t from_size;
            const char *to;
            size_t to_size;
        } known[WAYS] = {
            [SEEK] = {"h", 1, "z", 1},
            [FIRST] = {"c", 1, "z", 1},
            [NEXT] = {"k17", 3, "z", 1},
            [PREV] = {"a\0", 2, "k22\0", 4},
            [FOR_PREV] = {"a\0", 2, "k22\0", 4},
            [LAST] = {"a\0", 2, "k22\0", 4},
            [SEEK_TO_THE_END] = {"h", 1, "k29\0", 4},
            [BACK_TO_THE_BEGINNING] = {"b", 1, "k22\0", 4},
        };
        gap_is(&b, "k20", known[way].from, known[way].from_size, known[way].to, known[way].to_size);
        firn_iter_free(it);
        bed_release(&b);
    }
}

/* With a key that is there behind each few of them, they make no gap, however many there are. */
static void each_step_begins_a_stretch_of_its_own(void **state)
{
    (void)state;
    bed b;
    char key[16];
    begin_walks(&b, 10);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(key, sizeof key, "k%02u%%u", i);
        bury(&b, key, 0, 9);
        snprintf(key, sizeof key, "k%02u9", i);
        bed_put(&b, key, "");
    }
    firn_iter *it = iter_within(&b, NULL, NULL);
    unsigned shown = 0;
    for (int rc = firn_iter_first(it); rc == FIRN_OK; rc = firn_iter_next(it))
        shown++;
    for (int rc = firn_iter_last(it); rc == FIRN_OK; rc = firn_iter_prev(it))
        shown++;
    assert_int_equal(shown, 2 * 14);
    assert_int_equal(b.db->store->gaps.learned, 0);
    firn_iter_free(it);
    bed_release(&b);
}

static void parts_of_a_long_walk_become_one(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        begin_walks(&b, 2);
        bury(&b, "k%03u", 100, 400);
        firn_iter *it = iter_within(&b, NULL, NULL);
        if (back)
            assert_int_equal(firn_iter_seek_for_prev(it, "y", 1), FIRN_OK);
        else
            assert_int_equal(firn_iter_seek(it, "k", 1), FIRN_OK);
        assert_true(b.db->store->gaps.learned > 3);
        assert_int_equal(b.db->store->gaps.any, 1);
        if (back)
            gap_is(&b, "k200", "a\0", 2, "k398\0", 5);
        else
            gap_is(&b, "k200", "k", 1, "z", 1);
        firn_iter_free(it);
        bed_release(&b);
    }
}

/* Fewer than a gap takes, but between two gaps, or behind one. */
static void what_a_gap_leads_to_is_learned_sooner(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        begin_walks(&b, 40);
        bury(&b, "d%02u", 0, 50);
        bed_put(&b, "e", "");
        bury(&b, "f%02u", 0, 50);
        firn_iter *it = iter_within(&b, NULL, NULL);
        assert_int_equal(firn_iter_seek(it, "d", 1), FIRN_OK);
        assert_int_equal(firn_iter_seek(it, "f", 1), FIRN_OK);
        assert_int_equal(b.db->store->gaps.any, 2);
        /* Between the two: nine keys, since it looks at the 8th for the second gap. */
        bed_delete(&b, "e");
        bury(&b, "e%02u", 0, 9);
        firn_iter_refresh(it);
        if (back)
            assert_int_equal(firn_iter_seek_for_prev(it, "f30", 3), FIRN_OK);
        else
            assert_int_equal(firn_iter_seek(it, "d10", 3), FIRN_OK);
        gap_is(&b, "e", "d", 1, "z", 1);
        assert_int_equal(b.db->store->gaps.any, 1);
        /* Behind one: 15 keys are not enough, 16 are. */
        bury(&b, back ? "c%02u" : "zz%02u", 0, 14);
        bed_put(&b, back ? "b" : "zzz", "");
        bed_delete(&b, back ? "a" : "z");
        uint64_t before = b.db->store->gaps.learned;
        for (unsigned n = 14 + !back; n <= 16; n++) {
            firn_iter_refresh(it);
            int rc = back ? firn_iter_seek_for_prev(it, "e", 1) : firn_iter_seek(it, "e", 1);
            assert_int_equal(rc, FIRN_OK);
            assert_int_equal(b.db->store->gaps.learned - before, n / 16);
            bury(&b, back ? "c%02u" : "zz%02u", n, n + 1);
        }
        firn_iter_free(it);
        bed_release(&b);
    }
}

static void a_delete_in_a_gap_leaves_it_whole(void **state)
{
    (void)state;
    bed b;
    firn_slice first = slice_of_str("k12"), last = slice_of_str("k20");
    firn_range range = {.first = &first, .end = &last};
    begin_walks(&b, 10);
    bury(&b, "k%u", 10, 30);
    firn_iter *it = iter_within(&b, NULL, NULL);
    assert_int_equal(firn_iter_seek(it, "h", 1), FIRN_OK);
    firn_iter_free(it);
    bed_delete(&b, "k15");
    bed_delete(&b, "i");
    MUST(firn_delete_range(b.db, &range, NULL, error));
    gap_is(&b, "k15", "h", 1, "z", 1);
    assert_int_equal(b.db->store->gaps.any, 1);
    bed_release(&b);
}

/* Backwards, where a walk looks for a gap it may stand at a version that a range has erased, of a
 * key that is there. */
static void an_erased_version_is_no_dead_key(void **state)
{
    (void)state;
    for (unsigned there = 10; there < 30; there++) {
        bed b;
        char key[16];
        firn_slice first = slice_of_str("k"), last = slice_of_str("l");
        firn_range range = {.first = &first, .end = &last};
        begin_walks(&b, 10);
        for (unsigned i = 10; i < 30; i++) {
            snprintf(key, sizeof key, "k%u", i);
            bed_put(&b, key, "");
        }
        MUST(firn_delete_range(b.db, &range, NULL, error));
        snprintf(key, sizeof key, "k%u", there);
        bed_put(&b, key, "new");
        firn_iter *it = iter_within(&b, NULL, NULL);
        for (unsigned round = 0; round < 2; round++) {
            assert_int_equal(firn_iter_last(it), FIRN_OK);
            assert_int_equal(firn_iter_prev(it), FIRN_OK);
            assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
            assert_int_equal(firn_iter_prev(it), FIRN_OK);
            assert_true(slice_equal(firn_iter_key(it), slice_of_str("a")));
            assert_int_equal(firn_iter_next(it), FIRN_OK);
            assert_true(slice_equal(firn_iter_key(it), slice_of_str(key)));
            assert_int_equal(firn_iter_next(it), FIRN_OK);
            assert_true(slice_equal(firn_iter_key(it), slice_of_str("z")));
        }
        firn_iter_free(it);
        bed_release(&b);
    }
}

/* ---- Ended in the middle ---- */

/* Each one begins behind what the last one has passed: so in the end one comes through. */
static void a_walk_that_is_ended_has_learned_what_it_passed(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        bed b;
        trap t = {.at = 0};
        firn_snapshot *before = NULL;
        char key[16];
        bed_on_simfs(&b, 1);
        b.options.never_map = true;
        b.options.memory = 1 << 20;
        b.options.table_bytes = 16 << 20;
        bed_must_open(&b);
        for (unsigned i = 0; i < 2000; i++) {
            snprintf(key, sizeof key, "%06u", i);
            bed_put(&b, key, "some value of some length, so that there are many blocks");
        }
        MUST(firn_snapshot_new(b.db, &before, error));
        for (unsigned i = 0; i < 2000; i++) {
            snprintf(key, sizeof key, "%06u", i);
            bed_delete(&b, key);
        }
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        simfs_on_call(b.sim, spring, &t);
        firn_iter_options o;
        firn_iter_options_init(&o);
        o.cancel = &t.cancel;
        o.bypass_cache = true;
        firn_iter *it = NULL;
        unsigned tries = 0;
        int rc;
        do {
            MUST(firn_iter_new(b.db, &o, &it, error));
            t.reads = 0;
            t.at = back ? 3 : 2; /* that much it takes to come behind what is known, and on */
            t.cancel.fired = 0;
            rc = back ? firn_iter_last(it) : firn_iter_first(it);
            firn_iter_free(it);
            tries++;
        } while (rc == FIRN_CANCELLED && tries < 1000);
        assert_int_equal(rc, FIRN_END);
        assert_in_range(tries, 3, 200);
        firn_snapshot_free(before);
        bed_release(&b);
    }
}

static bed *now_bed;

static int flush_at(void *ctx, unsigned call, uint64_t index, const char *name)
{
    trap *t = ctx;
    (void)index;
    if (call == SIMFS_READ && strstr(name, ".tbl") && ++t->reads == t->at) {
        t->at = 0;
        bed_put(now_bed, "zz", "");
        bed_flush(now_bed);
    }
    return 0;
}

/* What is flushed while it goes on takes from it what it would have learned at its end. */
static void a_long_walk_learns_in_between(void **state)
{
    (void)state;
    bed b;
    trap t = {.at = 0};
    firn_snapshot *before = NULL;
    char key[16];
    begin_walks(&b, 4);
    b.options.never_map = true;
    bed_must_close(&b);
    bed_must_open(&b);
    now_bed = &b;
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "%06u", i);
        bed_put(&b, key, "some value of some length, so that there are many blocks");
    }
    MUST(firn_snapshot_new(b.db, &before, error));
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "%06u", i);
        bed_delete(&b, key);
    }
    bed_flush(&b);
    simfs_on_call(b.sim, flush_at, &t);
    firn_iter *it = iter_within(&b, NULL, NULL);
    t.reads = 0;
    t.at = 20;
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(t.at, 0);
    assert_true(b.db->store->gaps.learned > 0);
    firn_iter_free(it);
    firn_snapshot_free(before);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_learns_exactly_what_it_passed),
        cmocka_unit_test(each_step_begins_a_stretch_of_its_own),
        cmocka_unit_test(parts_of_a_long_walk_become_one),
        cmocka_unit_test(what_a_gap_leads_to_is_learned_sooner),
        cmocka_unit_test(a_delete_in_a_gap_leaves_it_whole),
        cmocka_unit_test(an_erased_version_is_no_dead_key),
        cmocka_unit_test(a_walk_that_is_ended_has_learned_what_it_passed),
        cmocka_unit_test(a_long_walk_learns_in_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
