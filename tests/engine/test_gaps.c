/* What is known of dead keys: against a plain list of what may be known of each key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <tree/gaps.h>

#include "support/rng.h"

static firn_slice str(const char *s)
{
    return slice_of_str(s);
}

static gap_edge at(const char *s)
{
    return (gap_edge){str(s), false};
}

static gap_edge after(const char *s)
{
    return (gap_edge){str(s), true};
}

static bool begin(gaps *g, unsigned bucket, const char *from, const char *to, uint64_t seq)
{
    gap_bounds b;
    return gaps_begin(g, bucket, at(from), at(to), seq, &b);
}

static void learn(gaps *g, unsigned bucket, const char *from, const char *to, uint64_t seq)
{
    assert_true(begin(g, bucket, from, to, seq));
    gaps_end(g, true);
}

/* The gap around the key must have these bounds; from NULL: there must be none. */
static void expect(gaps *g, unsigned bucket, const char *key, uint64_t seq, const char *from,
                   const char *to)
{
    gap_bounds b;
    bool found = gaps_find(g, bucket, str(key), seq, &b);
    assert_int_equal(found, from != NULL);
    if (!found || !from)
        return;
    assert_true(slice_equal(gap_slice(&b.from), str(from)));
    assert_true(slice_equal(gap_slice(&b.to), str(to)));
}

static void a_gap_is_found_where_it_is_good(void **state)
{
    (void)state;
    gaps g;
    gaps_init(&g, NULL);
    assert_false(gaps_any(&g));
    expect(&g, 0, "c", 9, NULL, NULL);
    learn(&g, 0, "b", "e", 7);
    learn(&g, 3, "a", "c", 5);
    assert_true(gaps_any(&g));
    assert_int_equal(g.learned, 2);
    expect(&g, 0, "a", 9, NULL, NULL);
    expect(&g, 0, "azzzzzzzzzzz", 9, NULL, NULL);
    expect(&g, 0, "b", 7, "b", "e");
    expect(&g, 0, "dzzzzzzzzzzz", 9, "b", "e");
    expect(&g, 0, "c", 6, NULL, NULL); /* too old a reader */
    expect(&g, 0, "e", 9, NULL, NULL);
    expect(&g, 3, "b", 5, "a", "c");
    expect(&g, 2, "b", 9, NULL, NULL);
    expect(&g, 4, "b", 9, NULL, NULL);
    gaps_release(&g);
}

static void nothing_is_learned_of_no_keys(void **state)
{
    (void)state;
    gaps g;
    gaps_init(&g, NULL);
    assert_false(begin(&g, 0, "b", "b", 1));
    assert_false(begin(&g, 0, "c", "b", 1));
    assert_false(gaps_any(&g));
    gaps_release(&g);
}

static void gaps_that_touch_or_overlap_are_one(void **state)
{
    (void)state;
    gaps g;
    gaps_init(&g, NULL);
    learn(&g, 0, "b", "d", 5);
    learn(&g, 0, "h", "k", 7);
    expect(&g, 0, "i", 9, "h", "k");
    learn(&g, 0, "d", "f", 6); /* touches the first */
    expect(&g, 0, "b", 9, "b", "f");
    expect(&g, 0, "b", 5, NULL, NULL); /* the greatest of their numbers */
    expect(&g, 0, "b", 6, "b", "f");
    learn(&g, 0, "e", "h", 4); /* overlaps the first, touches the second */
    expect(&g, 0, "j", 7, "b", "k");
    expect(&g, 0, "j", 6, NULL, NULL);
    learn(&g, 0, "c", "d", 9); /* is known */
    expect(&g, 0, "c", 7, "b", "k");
    learn(&g, 0, "c", "d", 2); /* one that holds it stays as it is */
    expect(&g, 0, "c", 7, "b", "k");
    expect(&g, 0, "c", 6, NULL, NULL);
    learn(&g, 0, "b", "k", 3); /* the same keys at an older number */
    expect(&g, 0, "c", 3, "b", "k");
    learn(&g, 0, "a", "z", 8); /* holds all */
    expect(&g, 0, "c", 8, "a", "z");
    expect(&g, 0, "c", 7, NULL, NULL);
    learn(&g, 0, "a", "z", 8);
    expect(&g, 0, "c", 8, "a", "z");
    learn(&g, 1, "z", "~", 1); /* another bucket's */
    expect(&g, 0, "c", 8, "a", "z");
    gaps_release(&g);
}

static void a_put_cuts_a_gap_and_nothing_else(void **state)
{
    (void)state;
    gaps g;
    gaps_init(&g, NULL);
    learn(&g, 1, "b", "k", 5);
    gaps_cut(&g, 0, str("c"));
    gaps_cut(&g, 2, str("c"));
    gaps_cut(&g, 1, str("a"));
    gaps_cut(&g, 1, str("k"));
    expect(&g, 1, "c", 5, "b", "k");
    gaps_cut(&g, 1, str("e"));
    expect(&g, 1, "b", 5, "b", "e");
    expect(&g, 1, "e", 5, NULL, NULL);
    gap_bounds right;
    assert_true(gaps_find(&g, 1, str("ea"), 5, &right));
    assert_true(slice_equal(gap_slice(&right.from), slice_of("e\0", 2)));
    assert_true(slice_equal(gap_slice(&right.to), str("k")));
    assert_true(gaps_find(&g, 1, slice_of("e\0", 2), 5, &right));
    gaps_cut(&g, 1, str("b")); /* the first key of one */
    expect(&g, 1, "b", 5, NULL, NULL);
    assert_true(gaps_find(&g, 1, slice_of("b\0", 2), 5, &right));
    gaps_cut(&g, 1, slice_of("b\0", 2));
    gaps_cut(&g, 1, slice_of("e\0", 2));
    assert_false(gaps_find(&g, 1, slice_of("b\0", 2), 5, &right));
    assert_true(gaps_find(&g, 1, str("ba"), 5, &right));
    gaps_release(&g);
}

static void a_gap_of_one_key_ends_with_its_put(void **state)
{
    (void)state;
    gaps g;
    gap_bounds b;
    gaps_init(&g, NULL);
    assert_true(gaps_begin(&g, 0, at("c"), after("c"), 1, &b));
    assert_int_equal(b.to.size, 2);
    gaps_end(&g, true);
    assert_true(gaps_find(&g, 0, str("c"), 1, &b));
    gaps_cut(&g, 0, str("c"));
    assert_false(gaps_any(&g));
    /* And one that begins behind a key. */
    assert_true(gaps_begin(&g, 0, after("c"), at("d"), 1, &b));
    gaps_end(&g, true);
    assert_false(gaps_find(&g, 0, str("c"), 1, &b));
    assert_true(gaps_find(&g, 0, slice_of("c\0", 2), 1, &b));
    gaps_release(&g);
}

static void a_put_beside_the_learning_spoils_it(void **state)
{
    (void)state;
    gaps g;
    gaps_init(&g, NULL);
    static const struct {
        unsigned bucket;
        const char *key;
        bool spoils;
    } puts[] = {{2, "b", true},  {2, "d", true}, {2, "a", false}, {2, "e", false},
                {1, "c", false}, {2, "c", true}, {2, "dz", true}, {3, "b", false}};
    for (unsigned i = 0; i < sizeof puts / sizeof *puts; i++) {
        assert_true(begin(&g, 2, "b", "e", 5));
        assert_true(gaps_any(&g)); /* so that the leader looks */
        expect(&g, 2, "c", 9, NULL, NULL);
        assert_false(begin(&g, 2, "x", "y", 5)); /* one at a time */
        gaps_cut(&g, puts[i].bucket, str(puts[i].key));
        gaps_end(&g, true);
        expect(&g, 2, "c", 9, puts[i].spoils ? NULL : "b", "e");
        gaps_cut(&g, 2, str("c"));
        gaps_cut(&g, 2, slice_of("c\0", 2));
        gaps_cut(&g, 2, str("b"));
        for (unsigned k = 0; k < 4; k++)
            gaps_age(&g);
        assert_false(gaps_any(&g));
    }
    assert_true(begin(&g, 2, "b", "e", 5));
    gaps_end(&g, false); /* what was looked for was found */
    assert_false(gaps_any(&g));
    assert_int_equal(g.learned, 4);
    gaps_release(&g);
}

/* The leader must look as long as one is pending, whatever becomes of the others. */
static void a_pending_gap_is_looked_for_when_the_last_known_one_goes(void **state)
{
    (void)state;
    for (int aged = 0; aged < 2; aged++) {
        gaps g;
        gap_bounds b;
        gaps_init(&g, NULL);
        assert_true(gaps_begin(&g, 0, at("c"), after("c"), 1, &b));
        gaps_end(&g, true);
        assert_true(begin(&g, 0, "k", "m", 1));
        assert_int_equal(g.any, 2);
        if (aged) {
            gaps_age(&g);
            gaps_age(&g);
        } else {
            gaps_cut(&g, 0, str("c"));
        }
        assert_int_equal(g.any, 1);
        assert_null(gaps_flaw(&g));
        gaps_cut(&g, 0, str("l"));
        gaps_end(&g, true);
        assert_false(gaps_any(&g));
        gaps_release(&g);
    }
}

/* ---- Long keys ---- */

static firn_slice long_key(uint8_t *room, size_t size, char fill, char last)
{
    memset(room, fill, size);
    room[size - 1] = (uint8_t)last;
    return slice_of(room, size);
}

static void bounds_of_long_keys_move_inwards(void **state)
{
    (void)state;
    uint8_t a[200], b[200], c[200];
    gap_bounds o;
    gaps g;
    gaps_init(&g, NULL);
    /* As long as fits: exact. */
    firn_slice low = long_key(a, GAP_KEY_BYTES, 'k', 'a'),
               high = long_key(b, GAP_KEY_BYTES, 'k', 'z');
    assert_true(gaps_begin(&g, 0, (gap_edge){low, false}, (gap_edge){high, false}, 1, &o));
    assert_true(slice_equal(gap_slice(&o.from), low) && slice_equal(gap_slice(&o.to), high));
    gaps_end(&g, true);
    assert_true(gaps_find(&g, 0, low, 1, &o));
    assert_false(gaps_find(&g, 0, high, 1, &o));
    assert_true(gaps_find(&g, 0, long_key(c, GAP_KEY_BYTES + 1, 'k', 'x'), 1, &o));
    /* A put of a longer key takes away all keys that begin like it. */
    memcpy(c, a, GAP_KEY_BYTES);
    c[GAP_KEY_BYTES - 1] = 'm';
    c[GAP_KEY_BYTES] = 'x';
    gaps_cut(&g, 0, slice_of(c, GAP_KEY_BYTES + 1));
    assert_false(gaps_find(&g, 0, slice_of(c, GAP_KEY_BYTES), 1, &o));
    assert_false(gaps_find(&g, 0, slice_of(c, GAP_KEY_BYTES + 1), 1, &o));
    c[GAP_KEY_BYTES - 1] = 'n';
    assert_true(gaps_find(&g, 0, slice_of(c, GAP_KEY_BYTES), 1, &o));
    c[GAP_KEY_BYTES - 1] = 'l';
    assert_true(gaps_find(&g, 0, slice_of(c, GAP_KEY_BYTES + 1), 1, &o));
    /* One that is exactly as long. */
    c[GAP_KEY_BYTES - 1] = 'd';
    gaps_cut(&g, 0, slice_of(c, GAP_KEY_BYTES));
    assert_false(gaps_find(&g, 0, slice_of(c, GAP_KEY_BYTES), 1, &o));
    /* Longer bounds. */
    gaps_release(&g);
    gaps_init(&g, NULL);
    low = long_key(a, 120, 'k', 'a');
    high = long_key(b, 120, 'm', 'a');
    assert_true(gaps_begin(&g, 0, (gap_edge){low, false}, (gap_edge){high, true}, 1, &o));
    assert_true(slice_compare(gap_slice(&o.from), low) > 0);
    assert_true(slice_compare(gap_slice(&o.to), high) < 0);
    assert_int_equal(o.from.size, GAP_KEY_BYTES);
    assert_int_equal(o.from.data[GAP_KEY_BYTES - 1], 'k' + 1);
    gaps_end(&g, false);
    /* Nothing is left between two that begin alike. */
    high = long_key(b, 120, 'k', 'z');
    assert_false(gaps_begin(&g, 0, (gap_edge){low, false}, (gap_edge){high, true}, 1, &o));
    /* There is no key of that length behind these. */
    low = long_key(a, 120, '\xff', 'a');
    high = long_key(b, 120, '\xff', '\xff');
    assert_false(gaps_begin(&g, 0, (gap_edge){low, false}, (gap_edge){high, true}, 1, &o));
    low = long_key(a, GAP_KEY_BYTES, '\xff', '\xff');
    assert_false(gaps_begin(&g, 0, (gap_edge){low, true}, (gap_edge){high, true}, 1, &o));
    /* The last bytes of FF go, and the one in front of them grows. */
    memset(a, 0xff, sizeof a);
    a[0] = 'k';
    assert_true(gaps_begin(&g, 0, (gap_edge){slice_of(a, 90), true}, at("m"), 1, &o));
    assert_true(slice_equal(gap_slice(&o.from), str("l")));
    gaps_end(&g, true);
    memset(c, 0xff, sizeof c);
    c[0] = 'l';
    gaps_cut(&g, 0, slice_of(c, 90)); /* behind it there is nothing of the gap */
    assert_false(gaps_find(&g, 0, slice_of(c, 91), 1, &o));
    assert_true(gaps_find(&g, 0, str("lzz"), 1, &o));
    gaps_release(&g);
}

/* ---- Many ---- */

static void key_of(char *room, unsigned i)
{
    snprintf(room, 16, "%06u", i);
}

static bool is_known(gaps *g, unsigned i)
{
    char key[16];
    gap_bounds b;
    key_of(key, i);
    return gaps_find(g, 0, str(key), 1, &b);
}

static void learn_one(gaps *g, unsigned i)
{
    char key[16];
    gap_bounds b;
    key_of(key, i);
    assert_true(gaps_begin(g, 0, at(key), after(key), 1, &b));
    gaps_end(g, true);
}

static void a_full_table_forgets_what_is_not_used(void **state)
{
    (void)state;
    gaps g;
    gaps_init(&g, NULL);
    for (unsigned i = 0; i < GAPS_MOST; i++)
        learn_one(&g, i * 10);
    for (unsigned i = 0; i < GAPS_MOST; i++)
        assert_true(is_known(&g, i * 10));
    learn_one(&g, 5); /* one goes: all are marked, so the hand has gone round */
    assert_true(is_known(&g, 5));
    unsigned known = 0;
    static const unsigned used[] = {30, 40, 50, 600, 1000};
    for (unsigned i = 0; i < 5; i++)
        known += is_known(&g, used[i]);
    assert_int_equal(known, 5);
    for (unsigned round = 0; round < 3 * GAPS_MOST; round++) {
        learn_one(&g, 2000 + round * 10);
        for (unsigned i = 0; i < 5; i++)
            assert_true(is_known(&g, used[i]));
        assert_true(is_known(&g, 2000 + round * 10));
    }
    assert_int_equal(g.any, GAPS_MOST);
    assert_null(gaps_flaw(&g));
    gaps_release(&g);
}

static void what_no_walk_uses_is_forgotten(void **state)
{
    (void)state;
    gaps g;
    gaps_init(&g, NULL);
    gaps_age(&g); /* there is nothing yet */
    for (unsigned i = 0; i < 10; i++)
        learn_one(&g, i * 10);
    gaps_age(&g);
    assert_int_equal(g.any, 10); /* each has been of use when it was learned */
    assert_true(is_known(&g, 30) && is_known(&g, 70));
    gaps_age(&g);
    assert_int_equal(g.any, 2);
    assert_true(is_known(&g, 30));
    gaps_age(&g);
    assert_int_equal(g.any, 1);
    gaps_age(&g);
    assert_false(gaps_any(&g));
    /* What a put has left of one is of no more use than that was. */
    learn(&g, 0, "b", "k", 1);
    gaps_age(&g);
    gaps_cut(&g, 0, str("d"));
    assert_int_equal(g.any, 2);
    gaps_age(&g);
    assert_false(gaps_any(&g));
    gaps_release(&g);
}

static void its_memory_is_charged(void **state)
{
    (void)state;
    memory_budget b = {.limit = 1 << 20};
    gaps g;
    gaps_init(&g, &b);
    assert_int_equal(budget_total(&b), 0);
    learn_one(&g, 1);
    uint64_t held = budget_held(&b, BUDGET_SCRATCH);
    assert_true(held > GAPS_MOST * 2 * GAP_KEY_BYTES && held < 32 << 10);
    assert_int_equal(gaps_memory(&g), held);
    learn_one(&g, 10);
    assert_int_equal(budget_total(&b), held);
    gaps_release(&g);
    assert_int_equal(budget_total(&b), 0);
}

/* ---- Against a plain list ---- */

enum { KEYS = 60, BUCKETS = 3, NEVER = 1 << 30 };

static firn_slice model_key(size_t i, uint8_t *room)
{
    /* Some keys are prefixes of others, and some are long. */
    size_t size = i % 3 == 0 ? 2 : i % 3 == 1 ? 3 : 60 + i;
    memset(room, 'x', size);
    room[0] = (uint8_t)('a' + i / 9);
    room[1] = (uint8_t)('a' + i / 3 % 3);
    if (size > 2)
        room[2] = i % 3 == 1 ? 'b' : 'c';
    return slice_of(room, size);
}

/* What is found must be known of every key in it; what was just learned is found. */
static void answers_are_those_of_a_plain_list(void **state)
{
    (void)state;
    unsigned found = 0, cuts = 0, learnt = 0;
    uint8_t a[200], b[200], c[200];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        rng r = rng_init(seed);
        uint64_t since[BUCKETS][KEYS]; /* from this number on it is known that the key is dead */
        gaps g;
        gaps_init(&g, NULL);
        for (unsigned k = 0; k < BUCKETS * KEYS; k++)
            since[k / KEYS][k % KEYS] = NEVER;
        for (uint64_t seq = 10; seq < 600; seq++) {
            unsigned bucket = (unsigned)rng_below(&r, BUCKETS);
            size_t i = rng_below(&r, KEYS), n = 1 + rng_below(&r, rng_below(&r, 3) ? 6 : KEYS);
            size_t k = i + n < KEYS ? i + n : KEYS - 1;
            firn_slice low = model_key(i, a), high = model_key(k, b);
            gap_bounds o;
            if (rng_below(&r, 3) == 0) {
                gaps_cut(&g, bucket, low);
                since[bucket][i] = NEVER;
                cuts++;
                assert_false(gaps_find(&g, bucket, low, seq, &o));
            } else if (i < k) {
                uint64_t s = seq - rng_below(&r, 8);
                bool after_low = rng_below(&r, 2), after_high = rng_below(&r, 2);
                if (gaps_begin(&g, bucket, (gap_edge){low, after_low}, (gap_edge){high, after_high},
                               s, &o)) {
                    for (size_t x = i + after_low; x < k + after_high; x++)
                        if (since[bucket][x] > s)
                            since[bucket][x] = s;
                    gaps_end(&g, true);
                    learnt++;
                    if (slice_compare(gap_slice(&o.from), low) <= 0)
                        assert_true(gaps_find(&g, bucket, low, seq, &o));
                }
            }
            for (unsigned look = 0; look < 8; look++) {
                bucket = (unsigned)rng_below(&r, BUCKETS);
                uint64_t at_seq = seq - rng_below(&r, 20);
                i = rng_below(&r, KEYS);
                if (!gaps_find(&g, bucket, model_key(i, a), at_seq, &o))
                    continue;
                found++;
                assert_true(slice_compare(gap_slice(&o.from), model_key(i, a)) <= 0);
                assert_true(slice_compare(model_key(i, a), gap_slice(&o.to)) < 0);
                for (size_t x = 0; x < KEYS; x++) {
                    firn_slice key = model_key(x, c);
                    if (slice_compare(gap_slice(&o.from), key) <= 0 &&
                        slice_compare(key, gap_slice(&o.to)) < 0 && since[bucket][x] > at_seq)
                        fail_msg("seed %u, key %zu in bucket %u at %u", (unsigned)seed, x, bucket,
                                 (unsigned)at_seq);
                }
            }
            if (rng_below(&r, 100) == 0)
                gaps_age(&g);
            assert_null(gaps_flaw(&g));
        }
        gaps_release(&g);
    }
    assert_true(found > 20000 && cuts > 8000 && learnt > 10000);
}

/* ---- Beside changes ---- */

typedef struct reading {
    gaps *g;
    atomic_bool *over;
    uint64_t found, torn;
} reading;

/* All gaps have the form [x, x + 'z' again and again), until they are cut. */
static void read_gaps(void *ctx)
{
    reading *w = ctx;
    gap_bounds b;
    for (unsigned i = 0; !atomic_load(w->over); i++) {
        char key[16];
        key_of(key, i % 50 * 2);
        if (!gaps_find(w->g, i % 50 % 3, str(key), 1000, &b))
            continue;
        w->found++;
        w->torn += b.from.size != 6 || b.to.size != 46 || memcmp(b.from.data, key, 6) != 0 ||
                   memcmp(b.to.data, key, 6) != 0;
        for (unsigned k = 6; k < 46; k++)
            w->torn += b.to.data[k] != 'z';
    }
}

static void readers_see_whole_gaps(void **state)
{
    (void)state;
    gaps g;
    thread t[2] = {0};
    atomic_bool over = false;
    reading w[2] = {{&g, &over, 0, 0}, {&g, &over, 0, 0}};
    gaps_init(&g, NULL);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(thread_start(&t[i], "reader", read_gaps, &w[i]), 0);
    rng r = rng_init(1);
    for (unsigned round = 0; round < 60000; round++) {
        char from[16], to[64];
        unsigned i = (unsigned)rng_below(&r, 50);
        key_of(from, i * 2);
        memcpy(to, from, 6);
        memset(to + 6, 'z', 40);
        gap_bounds b;
        if (rng_below(&r, 3))
            gaps_cut(&g, i % 3, str(from));
        else if (gaps_begin(&g, i % 3, at(from), (gap_edge){slice_of(to, 46), false}, i, &b))
            gaps_end(&g, true);
        if (round % 1000 == 0)
            gaps_age(&g);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < 2; i++) {
        thread_join(&t[i]);
        assert_int_equal(w[i].torn, 0);
    }
    assert_null(gaps_flaw(&g));
    assert_true(w[0].found + w[1].found > 0);
    gaps_release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_is_found_where_it_is_good),
        cmocka_unit_test(nothing_is_learned_of_no_keys),
        cmocka_unit_test(gaps_that_touch_or_overlap_are_one),
        cmocka_unit_test(a_put_cuts_a_gap_and_nothing_else),
        cmocka_unit_test(a_gap_of_one_key_ends_with_its_put),
        cmocka_unit_test(a_put_beside_the_learning_spoils_it),
        cmocka_unit_test(a_pending_gap_is_looked_for_when_the_last_known_one_goes),
        cmocka_unit_test(bounds_of_long_keys_move_inwards),
        cmocka_unit_test(a_full_table_forgets_what_is_not_used),
        cmocka_unit_test(what_no_walk_uses_is_forgotten),
        cmocka_unit_test(its_memory_is_charged),
        cmocka_unit_test(answers_are_those_of_a_plain_list),
        cmocka_unit_test(readers_see_whole_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
