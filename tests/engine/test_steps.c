/* What a movement of an iterator costs, in movements of the runs below it: a few, however many versions a key has, and however
 * much lies beyond a bound or is too new. The rooms below count theirs (memtable.limits, sstable.limits). Each scenario is told in a
 * memtable, in tables, and in both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include "merge.h"
#include <tree/run.h>
#include <store/store.h>

/* Every run of an iterator counts its movements. A run knows its own operations by its address. */
#define RUNS_MAX 16
static struct {
    iter *it;
    const iter_ops *ops;
} counted[RUNS_MAX];
static unsigned moves, seeks;

static const iter_ops *ops_of(const iter *it)
{
    moves++;
    for (unsigned i = 0; i < RUNS_MAX; i++)
        if (counted[i].it == it)
            return counted[i].ops;
    fail();
    return NULL;
}

static void count_first(iter *it)
{
    ops_of(it)->first(it);
}

static void count_last(iter *it)
{
    ops_of(it)->last(it);
}

static void count_seek(iter *it, firn_slice key, uint64_t seq)
{
    seeks++;
    ops_of(it)->seek(it, key, seq);
}

static void count_seek_before(iter *it, firn_slice key, uint64_t seq)
{
    ops_of(it)->seek_before(it, key, seq);
}

static void count_next(iter *it)
{
    ops_of(it)->next(it);
}

static void count_prev(iter *it)
{
    ops_of(it)->prev(it);
}

static void count_close(iter *it)
{
    const iter_ops *ops = ops_of(it);
    for (unsigned i = 0; i < RUNS_MAX; i++)
        if (counted[i].it == it)
            counted[i].it = NULL;
    ops->close(it);
}

static const iter_ops counting = {.first = count_first,
                                  .last = count_last,
                                  .seek = count_seek,
                                  .seek_before = count_seek_before,
                                  .next = count_next,
                                  .prev = count_prev,
                                  .close = count_close};

static int count_run(int rc, iter **out)
{
    unsigned i = 0;
    if (rc != FIRN_OK)
        return rc;
    while (i < RUNS_MAX && counted[i].it)
        i++;
    assert_true(i < RUNS_MAX);
    counted[i].it = *out;
    counted[i].ops = (*out)->ops;
    (*out)->ops = &counting;
    return FIRN_OK;
}

#define memtable_iter_new(m, out)       count_run((memtable_iter_new)(m, out), out)
#define level_iter_new(level, use, out) count_run((level_iter_new)(level, use, out), out)
#include "run.c"
#include "iterator.c"

#define MANY 5000
#define MOST 60 /* movements of all runs together, for one of the iterator */

typedef enum where { IN_MEMTABLE, IN_TABLES, IN_BOTH, PLACES } where;

typedef struct scenario {
    bed b;
    where w;
    firn_snapshot *held[4]; /* so that a flush leaves versions out as late as it may */
    firn_iter *it;
} scenario;

static void begin(scenario *s, where w)
{
    *s = (scenario){.w = w};
    bed_on_simfs(&s->b, 1);
    MUST(firn_options_set(&s->b.options, "memory", "64MiB", error));
    s->b.config.gap_steps = 0;            /* as callers have it */
    s->b.options.segment_bytes = 4 << 20; /* one memtable takes all that a scenario writes */
    bed_must_open(&s->b);
}

static void end(scenario *s)
{
    firn_iter_free(s->it);
    for (unsigned i = 0; i < 4; i++)
        firn_snapshot_free(s->held[i]);
    bed_release(&s->b);
}

static void iter_within(scenario *s, firn_snapshot *snapshot, const char *lower, const char *upper)
{
    firn_iter_options o;
    firn_iter_options_init(&o);
    firn_iter_free(s->it);
    s->it = NULL;
    o.snapshot = snapshot;
    o.lower = lower;
    o.lower_size = lower ? strlen(lower) : 0;
    o.upper = upper;
    o.upper_size = upper ? strlen(upper) : 0;
    MUST(firn_iter_new(s->b.db, &o, &s->it, error));
}

#define movement(call, shown)                                                                      \
    do {                                                                                           \
        moves = 0;                                                                                 \
        int rc_ = (call);                                                                          \
        const char *shown_ = shown;                                                                \
        assert_int_equal(rc_, shown_ ? FIRN_OK : FIRN_END);                                        \
        if (shown_)                                                                                \
            assert_true(slice_equal(firn_iter_key(s.it), slice_of_str(shown_)));                   \
        if (moves > MOST)                                                                          \
            fail_msg("place %u, %s: %u movements below", s.w, #call, moves);                       \
    } while (0)

static void must_show(const scenario *s, const char *value)
{
    assert_true(slice_equal(firn_iter_value(s->it), slice_of_str(value)));
}

/* All ways to come to "hot" and past it, between "a" and "z". */
static void go_round(scenario *on, const char *value)
{
    scenario s = *on;
    const char *hot = value ? "hot" : NULL;
    movement(firn_iter_seek(s.it, "hot", 3), value ? "hot" : "z");
    if (hot)
        must_show(&s, value);
    movement(firn_iter_seek(s.it, "b", 1), value ? "hot" : "z");
    if (hot)
        movement(firn_iter_next(s.it), "z");
    movement(firn_iter_prev(s.it), value ? "hot" : "a");
    if (hot) {
        must_show(&s, value);
        movement(firn_iter_prev(s.it), "a");
    }
    movement(firn_iter_next(s.it), value ? "hot" : "z");
    if (hot) {
        movement(firn_iter_prev(s.it), "a");
        movement(firn_iter_next(s.it), "hot");
        movement(firn_iter_next(s.it), "z");
    }
    movement(firn_iter_next(s.it), NULL);
    movement(firn_iter_seek_for_prev(s.it, "hot", 3), value ? "hot" : "a");
    if (hot)
        must_show(&s, value);
    movement(firn_iter_seek_for_prev(s.it, "hou", 3), value ? "hot" : "a");
    movement(firn_iter_last(s.it), "z");
    movement(firn_iter_prev(s.it), value ? "hot" : "a");
    movement(firn_iter_first(s.it), "a");
    movement(firn_iter_next(s.it), value ? "hot" : "z");
}

static void overwrite(scenario *s)
{
    for (unsigned i = 0; i < MANY; i++) {
        char value[16];
        snprintf(value, sizeof value, "%u", i);
        bed_put(&s->b, "hot", value);
        if (i % (MANY / 4) == 7)
            MUST(firn_snapshot_new(s->b.db, &s->held[i / (MANY / 4)], error));
        if (i == MANY / 2 && s->w == IN_BOTH)
            bed_flush(&s->b);
    }
    if (s->w == IN_TABLES)
        bed_flush(&s->b);
}

static void a_key_costs_the_same_however_often_it_was_overwritten(void **state)
{
    (void)state;
    for (where w = 0; w < PLACES; w++) {
        scenario s;
        char last[16];
        begin(&s, w);
        bed_put(&s.b, "a", "");
        bed_put(&s.b, "z", "");
        overwrite(&s);
        snprintf(last, sizeof last, "%u", MANY - 1);
        iter_within(&s, NULL, NULL, NULL);
        go_round(&s, last);
        bed_delete(&s.b, "hot");
        iter_within(&s, NULL, NULL, NULL);
        go_round(&s, NULL);
        for (unsigned i = 0; i < 4; i++) {
            snprintf(last, sizeof last, "%u", i * (MANY / 4) + 7);
            iter_within(&s, s.held[i], NULL, NULL);
            go_round(&s, last);
        }
        end(&s);
    }
}

static void an_old_snapshot_costs_the_same_however_often_a_key_was_overwritten(void **state)
{
    (void)state;
    for (where w = 0; w < PLACES; w++) {
        for (unsigned first = 0; first < 3; first++) {
            scenario s;
            firn_snapshot *old = NULL;
            begin(&s, w);
            bed_put(&s.b, "a", "");
            bed_put(&s.b, "z", "");
            if (first > 0)
                bed_put(&s.b, "hot", "old");
            if (first > 1)
                bed_delete(&s.b, "hot");
            MUST(firn_snapshot_new(s.b.db, &old, error));
            overwrite(&s);
            iter_within(&s, old, NULL, NULL);
            go_round(&s, first == 1 ? "old" : NULL);
            firn_snapshot_free(old);
            end(&s);
        }
    }
}

static void what_lies_beyond_a_bound_or_is_too_new_costs_nothing(void **state)
{
    (void)state;
    for (where w = 0; w < PLACES; w++) {
        scenario s;
        firn_snapshot *old = NULL;
        begin(&s, w);
        bed_put(&s.b, "b", "");
        bed_put(&s.b, "x", "");
        MUST(firn_snapshot_new(s.b.db, &old, error));
        for (unsigned i = 0; i < MANY; i++) {
            char key[16];
            snprintf(key, sizeof key, "%c%07u", "any"[i % 3],
                     i); /* in front of b, between, behind x */
            bed_put(&s.b, key, "");
            if (i == MANY / 2 && s.w == IN_BOTH)
                bed_flush(&s.b);
        }
        if (w == IN_TABLES)
            bed_flush(&s.b);
        iter_within(&s, old, "b", "y");
        movement(firn_iter_first(s.it), "b");
        movement(firn_iter_next(s.it), "x");
        movement(firn_iter_next(s.it), NULL);
        movement(firn_iter_last(s.it), "x");
        movement(firn_iter_prev(s.it), "b");
        movement(firn_iter_prev(s.it), NULL);
        movement(firn_iter_seek(s.it, "xx", 2), NULL);
        movement(firn_iter_seek_for_prev(s.it, "az", 2), NULL);
        iter_within(&s, old, NULL, NULL);
        movement(firn_iter_first(s.it), "b");
        movement(firn_iter_next(s.it), "x");
        movement(firn_iter_next(s.it), NULL);
        movement(firn_iter_last(s.it), "x");
        movement(firn_iter_prev(s.it), "b");
        movement(firn_iter_prev(s.it), NULL);
        firn_snapshot_free(old);
        end(&s);
    }
}

static void row_key(char *room, unsigned i)
{
    snprintf(room, 16, "k%07u", i);
}

/* MANY keys between "a" and "z", all deleted; a snapshot from before holds them in the tables. */
static void delete_rows(scenario *s)
{
    char key[16];
    bed_put(&s->b, "a", "");
    bed_put(&s->b, "z", "");
    for (unsigned i = 0; i < MANY; i++) {
        row_key(key, i);
        bed_put(&s->b, key, "");
    }
    MUST(firn_snapshot_new(s->b.db, &s->held[0], error));
    if (s->w == IN_BOTH)
        bed_flush(&s->b);
    for (unsigned i = 0; i < MANY; i++) {
        row_key(key, i);
        bed_delete(&s->b, key);
    }
    if (s->w == IN_TABLES)
        bed_flush(&s->b);
}

/* All ways from "a" to "z" and back, over what is known to be dead. */
static void cross_rows(const scenario *on, const char *first)
{
    scenario s = *on;
    movement(firn_iter_seek(s.it, "b", 1), first);
    movement(firn_iter_prev(s.it), "a");
    movement(firn_iter_next(s.it), first);
    movement(firn_iter_seek(s.it, "k0001234", 8), first);
    movement(firn_iter_seek(s.it, "k0001234x", 9), first);
    movement(firn_iter_first(s.it), "a");
    movement(firn_iter_next(s.it), first);
    movement(firn_iter_prev(s.it), "a");
    movement(firn_iter_seek_for_prev(s.it, "k0001234", 8), "a");
    movement(firn_iter_last(s.it), "z");
    movement(firn_iter_prev(s.it), strcmp(first, "z") ? first : "a");
}

static void dead_keys_are_passed_once(void **state)
{
    (void)state;
    for (where w = 0; w < PLACES; w++) {
        for (int back = 0; back < 2; back++) {
            scenario s;
            begin(&s, w);
            delete_rows(&s);
            iter_within(&s, NULL, NULL, NULL);
            if (back)
                assert_int_equal(firn_iter_seek_for_prev(s.it, "y", 1), FIRN_OK);
            else
                assert_int_equal(firn_iter_seek(s.it, "b", 1), FIRN_OK);
            assert_true(s.b.db->store->gaps.learned > 0);
            cross_rows(&s, "z");
            /* As before within bounds, and behind another write. */
            bed_put(&s.b, "y", "");
            iter_within(&s, NULL, "b", NULL);
            movement(firn_iter_first(s.it), "y");
            iter_within(&s, NULL, NULL, "k0004000");
            movement(firn_iter_last(s.it), "a");
            movement(firn_iter_seek(s.it, "k0000100", 8), NULL);
            bed_delete(&s.b, "y");
            /* A reader that sees them walks on as ever. */
            iter_within(&s, s.held[0], NULL, NULL);
            movement(firn_iter_seek(s.it, "b", 1), "k0000000");
            movement(firn_iter_next(s.it), "k0000001");
            movement(firn_iter_seek_for_prev(s.it, "y", 1), "k0004999");
            /* A key that comes back is there, and those around it stay known. */
            bed_put(&s.b, "k0003000", "");
            iter_within(&s, NULL, NULL, NULL);
            cross_rows(&s, "k0003000");
            movement(firn_iter_seek(s.it, "k0003000", 8), "k0003000");
            movement(firn_iter_next(s.it), "z");
            movement(firn_iter_prev(s.it), "k0003000");
            end(&s);
        }
    }
}

/* A seek to where nothing is known to be there begins behind it. */
static void a_seek_into_a_gap_takes_no_step(void **state)
{
    (void)state;
    for (where w = 0; w < PLACES; w++) {
        scenario s;
        begin(&s, w);
        delete_rows(&s);
        iter_within(&s, NULL, "a1", NULL);
        assert_int_equal(firn_iter_first(s.it), FIRN_OK);
        unsigned few = 2 * 3; /* a search in each run, and a step */
        moves = 0;
        assert_int_equal(firn_iter_seek(s.it, "k0001234", 8), FIRN_OK);
        assert_in_range(moves, 1, few);
        moves = 0;
        assert_int_equal(firn_iter_first(s.it), FIRN_OK);
        assert_in_range(moves, 1, few);
        assert_true(slice_equal(firn_iter_key(s.it), slice_of_str("z")));
        iter_within(&s, NULL, NULL, NULL);
        moves = 0;
        assert_int_equal(firn_iter_seek_for_prev(s.it, "k0001234", 8), FIRN_OK);
        assert_in_range(moves, 1, few);
        assert_true(slice_equal(firn_iter_key(s.it), slice_of_str("a")));
        end(&s);
    }
}

/* Keys that have died in front of a gap: the walk looks for it again behind some of them. */
static void a_gap_behind_other_dead_keys_is_found(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        scenario s;
        char key[16];
        begin(&s, IN_MEMTABLE);
        delete_rows(&s);
        iter_within(&s, NULL, NULL, NULL);
        assert_int_equal(firn_iter_seek(s.it, "k", 1), FIRN_OK);
        assert_true(s.b.db->store->gaps.learned > 0);
        for (unsigned i = 0; i < 24; i++) {
            snprintf(key, sizeof key, "%c%03u", i < 12 ? 'b' : 'l', i);
            bed_put(&s.b, key, "");
            bed_delete(&s.b, key);
        }
        iter_within(&s, NULL, NULL, NULL);
        assert_int_equal(back ? firn_iter_last(s.it) : firn_iter_first(s.it), FIRN_OK);
        moves = 0;
        assert_int_equal(back ? firn_iter_prev(s.it) : firn_iter_next(s.it), FIRN_OK);
        assert_in_range(moves, 24, 24 + 80);
        end(&s);
    }
}

/* Behind a range delete, in its own memtable, each dead version is one step. */
static void what_a_range_covers_is_passed_without_seeks(void **state)
{
    (void)state;
    scenario s;
    char key[16];
    firn_slice first = slice_of_str("k"), last = slice_of_str("l");
    firn_range range = {.first = &first, .end = &last};
    begin(&s, IN_BOTH);
    bed_put(&s.b, "a", "");
    bed_put(&s.b, "z", "");
    bed_flush(&s.b);
    for (unsigned i = 0; i < 3 * MANY; i++) {
        row_key(key, i / 3);
        bed_put(&s.b, key, "");
    }
    MUST(firn_delete_range(s.b.db, &range, NULL, error));
    iter_within(&s, NULL, NULL, NULL);
    assert_int_equal(firn_iter_first(s.it), FIRN_OK);
    seeks = 0;
    assert_int_equal(firn_iter_next(s.it), FIRN_OK);
    assert_true(slice_equal(firn_iter_key(s.it), slice_of_str("z")));
    assert_true(seeks < MOST);
    cross_rows(&s, "z");
    end(&s);
}

/* Put at the tail, and taken from the head: each search of the head takes a few steps, and those
 * over what has died since the last time that many had. */
static void the_head_of_a_queue_is_found_at_once(void **state)
{
    (void)state;
    for (int flushes = 0; flushes < 2; flushes++) {
        scenario s;
        unsigned depth = 40, most = 0;
        char key[16];
        begin(&s, IN_MEMTABLE);
        iter_within(&s, NULL, NULL, NULL);
        for (unsigned i = 0; i < MANY; i++) {
            row_key(key, i);
            bed_put(&s.b, key, "");
            if (i < depth)
                continue;
            assert_int_equal(firn_iter_refresh(s.it), FIRN_OK);
            bool known = s.b.db->store->gaps.learned > 0;
            moves = 0;
            assert_int_equal(firn_iter_first(s.it), FIRN_OK);
            if (known)
                most = moves > most ? moves : most;
            row_key(key, i - depth);
            assert_true(slice_equal(firn_iter_key(s.it), slice_of_str(key)));
            bed_delete(&s.b, key);
            if (flushes && i % 1000 == 0)
                bed_flush(&s.b);
        }
        assert_in_range(most, 16, 4 * 16); /* of so many dead keys, a put and a delete each */
        end(&s);
    }
}

/* Runs that always stand at the same version, as those of a table whose order is a lie may. */
static void stay(iter *it)
{
    it->key = slice_of_str("a");
    it->seq = 1;
    it->kind = FIRN_PUT;
    it->valid = true;
}

static void seek_and_stay(iter *it, firn_slice key, uint64_t seq)
{
    (void)key;
    (void)seq;
    stay(it);
}

static void close_nothing(iter *it)
{
    (void)it;
}

static void an_order_that_leads_nowhere_ends_the_walk(void **state)
{
    (void)state;
    static const iter_ops standing = {.first = stay,
                                      .last = stay,
                                      .seek = seek_and_stay,
                                      .seek_before = seek_and_stay,
                                      .next = stay,
                                      .prev = stay,
                                      .close = close_nothing};
    iter wrong = {.ops = &standing};
    firn_error err;
    scenario s;
    begin(&s, IN_MEMTABLE);
    bed_put(&s.b, "a", "");
    iter_within(&s, NULL, NULL, NULL);
    walk_close(&s.it->walk);
    s.it->runs = &wrong;
    assert_int_equal(firn_iter_first(s.it), FIRN_OK);
    assert_int_equal(firn_iter_next(s.it), FIRN_DAMAGED);
    assert_int_equal(firn_iter_status(s.it, &err), FIRN_DAMAGED);
    assert_true(strstr(err.message, "out of order") && err.hint[0]);
    assert_int_equal(firn_iter_last(s.it), FIRN_DAMAGED);
    assert_int_equal(firn_iter_status(s.it, &err), FIRN_DAMAGED);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_costs_the_same_however_often_it_was_overwritten),
        cmocka_unit_test(an_old_snapshot_costs_the_same_however_often_a_key_was_overwritten),
        cmocka_unit_test(what_lies_beyond_a_bound_or_is_too_new_costs_nothing),
        cmocka_unit_test(dead_keys_are_passed_once),
        cmocka_unit_test(a_seek_into_a_gap_takes_no_step),
        cmocka_unit_test(a_gap_behind_other_dead_keys_is_found),
        cmocka_unit_test(what_a_range_covers_is_passed_without_seeks),
        cmocka_unit_test(the_head_of_a_queue_is_found_at_once),
        cmocka_unit_test(an_order_that_leads_nowhere_ends_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
