/* A crash at each step of a store with several trees: batches are there in all of them, or in none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/crash.h"
#include "trees.h"

/* The counter that bucket 0 shows. */
static bool read_counter(firn *db, const scenario *s, size_t low, size_t high, size_t *out)
{
    char value[64], room[64];
    size_t size = 0;
    firn_slice key = trees_key(0, COUNTER, room);
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
    trees_find(db, trees);
    for (unsigned t = 1; t < TREES; t++)
        if (!trees[t] && c->marks[MARK_CREATED] >= t && !(t == TREES - 1 && c->marks[MARK_DROP]))
            return crash_wrong(c, "tree %u is not there", t);
    if (trees[TREES - 1] && c->marks[MARK_DROP] == 2)
        return crash_wrong(c, "the dropped tree is there");
    if (!read_counter(db, s, c->marks[MARK_DURABLE], c->marks[MARK_BEGUN], &j))
        return crash_wrong(c, "the counter is none of %llu to %llu",
                           (unsigned long long)c->marks[MARK_DURABLE],
                           (unsigned long long)c->marks[MARK_BEGUN]);
    if (!trees_compare(trees, NULL, &s->states[j], why))
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
    scenario *s = trees_begin(5);
    s->b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&s->b);
    simfs_record(s->b.sim);
    trees_make(s);
    for (unsigned i = 0; i < 90; i++) {
        trees_write(s, i % 9 == 0);
        if (i % 20 == 12)
            bed_flush(&s->b);
        if (i == 50)
            MUST(firn_settle(s->b.db, error));
        if (i == 60)
            trees_reopen(s);
    }
    simfs_mark(s->b.sim, MARK_DROP, 1);
    trees_drop(s->trees[TREES - 1]);
    simfs_mark(s->b.sim, MARK_DROP, 2);
    s->trees[TREES - 1] = NULL;
    for (unsigned i = 0; i < 20; i++)
        trees_write(s, i == 9);
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
    trees_end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_crash_leaves_whole_batches_in_all_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
