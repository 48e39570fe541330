/* Which compaction is due (schedule.h), over versions of tables that no store has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "numbers.h"
#include "support/rng.h"

/* ---- J1, J2, the size of jobs, under random trees and claims ---- */

typedef struct running {
    schedule_job job;
    version *v; /* keeps its tables */
} running;

static bool ranges_overlap(const schedule_job *a, const schedule_job *b)
{
    return number_of(a->from) <= number_of(b->to) && number_of(b->from) <= number_of(a->to);
}

static void job_is_right(const tree *t, const schedule_job *j, const running *others, size_t count)
{
    /* J1, by the definition. */
    for (size_t i = 0; i < count; i++)
        for (unsigned n = j->level; n <= j->target; n++)
            if (n >= others[i].job.level && n <= others[i].job.target)
                assert_false(ranges_overlap(j, &others[i].job));
    /* J2. */
    const level *young = &t->v->levels[0];
    for (size_t i = 0; j->level == 0 && i < j->counts[0]; i++)
        assert_ptr_equal(j->inputs[0][i], young->tables[young->count - j->counts[0] + i]);
    /* Its inputs are all that overlaps it in the target, and nothing lies between the two levels. */
    uint64_t bytes = 0, own = 0;
    for (size_t i = 0; i < j->counts[0]; i++)
        own += j->inputs[0][i]->properties.file_bytes;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->counts[side]; i++) {
            const sst_properties *p = &j->inputs[side][i]->properties;
            bytes += p->file_bytes;
            assert_true(number_of(p->key_min) >= number_of(j->from));
            assert_true(number_of(p->key_max) <= number_of(j->to));
        }
    assert_int_equal(bytes, j->bytes_in);
    for (unsigned n = j->level + 1; n < j->target; n++)
        assert_int_equal(schedule_overlap_bytes(&t->v->levels[n], j->from, j->to), 0);
    if (j->target != j->level)
        assert_int_equal(schedule_overlap_bytes(&t->v->levels[j->target], j->from, j->to),
                         bytes - own);
    if (j->level > 0 && j->counts[0] > 1)
        assert_true(bytes <= rules.job_bytes);
    if (j->level == 0 && j->counts[0] > 1)
        assert_true(own <= rules.job_bytes);
}

enum { AT_ONCE = 3 };

static void end_one(tree *t, running *all, size_t *count, size_t which)
{
    finish(t, &all[which].job, 90);
    schedule_job_release(&all[which].job);
    version_unref(all[which].v);
    all[which] = all[--*count];
}

static bool begin_one(tree *t, schedule_state *s, running *all, size_t *count)
{
    claim claims[AT_ONCE];
    for (size_t i = 0; i < *count; i++)
        claims[i] = schedule_claim(&all[i].job);
    s->version = t->v;
    s->claims = claims;
    s->claim_count = *count;
    running *r = &all[*count];
    int rc = schedule_next(&rules, s, &r->job);
    if (rc == FIRN_NOT_FOUND)
        return false;
    assert_int_equal(rc, FIRN_OK);
    job_is_right(t, &r->job, all, *count);
    version_ref(t->v);
    r->v = t->v;
    s->cursor[r->job.level] = r->job.next;
    ++*count;
    return true;
}

/* Without writers, jobs end, and then no level is over its share. */
static void settles(tree *t, schedule_state *s, running *all, size_t *count)
{
    unsigned jobs = 0;
    schedule_shape shape;
    while (*count)
        end_one(t, all, count, 0);
    s->calm = s->whole = true;
    while (begin_one(t, s, all, count)) {
        end_one(t, all, count, 0);
        assert_true(++jobs < 3000);
    }
    s->claim_count = 0;
    s->version = t->v;
    assert_false(schedule_due(&rules, s));
    assert_true(t->v->levels[0].count < rules.level0_at);
    schedule_shape_of(&rules, t->v, &shape);
    for (unsigned n = 1; n < FIRN_LEVELS; n++)
        assert_true(t->v->levels[n].bytes <= shape.share[n]);
    assert_int_equal(schedule_debt(&rules, t->v), 0);
    s->calm = s->whole = false;
}

static void no_two_jobs_overlap_whatever_the_tree(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        rng r = rng_init(seed);
        tree t;
        running all[AT_ONCE];
        size_t count = 0;
        tree_init(&t);
        schedule_state s = {.free_bytes = UINT64_MAX};
        uint64_t width = seed % 3 == 0 ? 1 << 12 : seed % 3 == 1 ? 1 << 20 : UINT64_C(1) << 40;
        for (unsigned step = 0; step < 1500; step++) {
            uint64_t what = rng_below(&r, 10);
            if (what < 4) {
                uint64_t a = rng_below(&r, width), b = a + rng_below(&r, width);
                uint64_t entries = 1 + rng_below(&r, 20);
                add(&t, 0, a, b, 50 + rng_below(&r, 900), entries,
                    rng_below(&r, 4) ? 0 : rng_below(&r, entries + 1));
            } else if (what < 8 && count < AT_ONCE) {
                begin_one(&t, &s, all, &count);
            } else if (count) {
                end_one(&t, all, &count, (size_t)rng_below(&r, count));
            }
        }
        settles(&t, &s, all, &count);
        tree_end(&t);
    }
}

/* ---- Shares ---- */

static void the_shares_follow_from_all_bytes_together(void **state)
{
    (void)state;
    tree t;
    schedule_shape shape;
    tree_init(&t);
    schedule_shape_of(&rules, t.v, &shape);
    assert_true(shape.base == 1 && shape.last == 1 && shape.landing == 1);
    add(&t, 1, 0, 9, 2 * BASE, 10, 0);
    schedule_shape_of(&rules, t.v, &shape);
    assert_true(shape.base == 1 && shape.last == 1);
    assert_true(shape.share[1] == UINT64_MAX);
    add(&t, 1, 10, 19, 1, 1, 0); /* one byte more, and there are two levels */
    schedule_shape_of(&rules, t.v, &shape);
    assert_true(shape.base == 1 && shape.last == 2);
    assert_int_equal(shape.share[1], BASE);
    add(&t, 3, 0, 9, 18 * BASE, 10,
        0); /* three levels, whose shares are a fourth of the one below */
    schedule_shape_of(&rules, t.v, &shape);
    assert_true(shape.base == 1 && shape.last == 3);
    assert_true(shape.share[2] == (20 * BASE + 1) / 4);
    assert_int_equal(shape.share[1], shape.share[2] / 4);
    tree_end(&t);
    tree_init(&t);
    add(&t, 5, 0, 9, 3 * BASE, 10, 0); /* two levels, as far down as the last one lies */
    schedule_shape_of(&rules, t.v, &shape);
    assert_true(shape.base == 4 && shape.last == 5 && shape.landing == 4);
    add(&t, 2, 0, 9, 10, 10, 0); /* level 0 does not pass what lies above */
    schedule_shape_of(&rules, t.v, &shape);
    assert_true(shape.base == 4 && shape.landing == 2);
    tree_end(&t);
}

/* ---- Level 0 ---- */

static schedule_job must_be_next(const tree *t, schedule_state *s, schedule_why why)
{
    schedule_job j;
    s->version = t->v;
    assert_int_equal(schedule_next(&rules, s, &j), FIRN_OK);
    assert_int_equal(j.why, why);
    return j;
}

static void nothing_is_next(const tree *t, schedule_state *s)
{
    schedule_job j;
    s->version = t->v;
    assert_int_equal(schedule_next(&rules, s, &j), FIRN_NOT_FOUND);
}

static void level_0_waits_for_more_while_a_merge_is_dear(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    for (uint64_t i = 0; i < 8; i++)
        add(&t, 1, i * 10, i * 10 + 9, TABLE, 10, 0);
    schedule_state s = {.free_bytes = UINT64_MAX};
    for (unsigned i = 0; i < rules.level0_most; i++) {
        nothing_is_next(&t, &s);
        add(&t, 0, 0, 79, 100, 10, 0);
    }
    schedule_job j = must_be_next(&t, &s, DUE_LEVEL0);
    assert_int_equal(j.counts[0], rules.level0_most);
    assert_int_equal(j.counts[1], 8);
    assert_int_equal(j.kind, JOB_MERGE);
    schedule_job_release(&j);
    tree_end(&t);
    /* When nothing is written, or it is cheap, a few are enough. */
    for (unsigned cheap = 0; cheap < 2; cheap++) {
        tree_init(&t);
        add(&t, 1, 0, 9, 4 * TABLE, 10, 0);
        for (unsigned i = 0; i < rules.level0_at; i++) {
            nothing_is_next(&t, &s);
            add(&t, 0, 0, 79, cheap ? TABLE : 100, 10, 0);
        }
        s.calm = !cheap;
        j = must_be_next(&t, &s, DUE_LEVEL0);
        schedule_job_release(&j);
        s.calm = false;
        tree_end(&t);
    }
    /* Bytes make it due as well as tables. */
    tree_init(&t);
    add(&t, 0, 0, 9, BASE, 10, 0);
    j = must_be_next(&t, &s, DUE_LEVEL0);
    assert_int_equal(j.kind, JOB_MOVE);
    schedule_job_release(&j);
    tree_end(&t);
}

/* While level 0 waits for a claim, the level that it goes to is not given away to others. */
static void level_0_gets_the_level_below_to_itself(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    for (uint64_t i = 0; i < 20; i++)
        add(&t, 1, i * 10, i * 10 + 9, TABLE, 10, 0);
    for (uint64_t i = 0; i < 20; i++)
        add(&t, 2, i * 10, i * 10 + 9, TABLE, 10, 0);
    schedule_state s = {.free_bytes = UINT64_MAX};
    schedule_job first = must_be_next(&t, &s, DUE_SIZE), second = must_be_next(&t, &s, DUE_SIZE);
    claim c = schedule_claim(&first);
    s.claims = &c;
    s.claim_count = 1;
    schedule_job_release(&second);
    second = must_be_next(&t, &s, DUE_SIZE); /* beside the first one */
    assert_true(second.inputs[0][0] != first.inputs[0][0]);
    for (unsigned i = 0; i < 3 * rules.level0_most; i++)
        add(&t, 0, 0, 199, 100, 10, 0);
    nothing_is_next(&t, &s);
    s.claim_count = 0;
    schedule_job third = must_be_next(&t, &s, DUE_LEVEL0);
    schedule_job_release(&first);
    schedule_job_release(&second);
    schedule_job_release(&third);
    tree_end(&t);
}

/* ---- Moving, and small neighbours ---- */

static void what_overlaps_nothing_moves_unless_it_is_small(void **state)
{
    (void)state;
    tree t;
    schedule_state s = {.free_bytes = UINT64_MAX};
    tree_init(&t);
    for (uint64_t i = 0; i < 4; i++)
        add(&t, 0, i * 10, i * 10 + 5, TABLE / 2, 10, 0);
    schedule_job j = must_be_next(&t, &s, DUE_LEVEL0);
    assert_true(j.kind == JOB_MOVE && j.counts[0] == 4 && j.bytes_out_most == 0);
    schedule_job_release(&j);
    tree_end(&t);
    /* The same with tables that are small, or that overlap, or of tombstones. */
    for (unsigned what = 0; what < 3; what++) {
        tree_init(&t);
        for (uint64_t i = 0; i < 4; i++)
            add(&t, 0, i * 10, i * 10 + (what == 1 ? 10 : 5), what == 0 ? 100 : TABLE / 2, 10,
                what == 2 ? 10 : 0);
        j = must_be_next(&t, &s, DUE_LEVEL0);
        assert_true(j.kind == JOB_MERGE || j.counts[0] == 1);
        schedule_job_release(&j);
        tree_end(&t);
    }
}

/* A table each time, behind the last one. However many they are, few stay, and each is written again a few times. */
static void small_neighbours_become_few_tables(void **state)
{
    (void)state;
    tree t;
    uint64_t written = 0, put = 0;
    tree_init(&t);
    schedule_state s = {.free_bytes = UINT64_MAX, .whole = true};
    for (uint64_t i = 0; i < 2000; i++) {
        schedule_job j;
        add(&t, 0, i * 10, i * 10 + 5, 4, 1, 0);
        put += 4;
        for (s.version = t.v; schedule_next(&rules, &s, &j) == FIRN_OK; s.version = t.v) {
            finish(&t, &j, 100);
            written += j.bytes_out_most;
            schedule_job_release(&j);
        }
    }
    assert_true(version_tables(t.v) <= put / (TABLE / 2) + 16);
    assert_true(written <= put * 10);
    tree_end(&t);
}

static void a_row_of_small_tables_does_not_come_to_overlap_too_much(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    for (uint64_t i = 0; i < 4; i++)
        add(&t, 1, i * 1000, i * 1000 + 5, 10, 10, 0);
    schedule_state s = calm_state(&t);
    schedule_job j = must_be_next(&t, &s, DUE_SMALL);
    assert_true(j.level == 1 && j.target == 1 && j.counts[0] == 4 && j.kind == JOB_MERGE);
    schedule_job_release(&j);
    for (uint64_t i = 0; i < 20; i++) /* 15 of them below the row */
        add(&t, 2, i * 200 + 10, i * 200 + 20, TABLE, 10, 0);
    nothing_is_next(&t, &s);
    tree_end(&t);
}

/* ---- Tombstones and garbage ---- */

static void tombstones_go_down_to_what_they_hide(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    schedule_state s = {.free_bytes = UINT64_MAX};
    add(&t, 3, 0, 99, 16 * BASE, 100, 0);
    add(&t, 1, 5, 20, TABLE / 2, 10, 10); /* nothing in level 2, something in level 3 */
    s.version = t.v;
    schedule_job j;
    unsigned jobs = 0;
    while (t.v->levels[1].count + t.v->levels[2].count) {
        s.version = t.v;
        assert_int_equal(schedule_next(&rules, &s, &j), FIRN_OK);
        assert_true(j.target == j.level + 1);
        finish(&t, &j, 90);
        schedule_job_release(&j);
        assert_true(++jobs <= 2);
    }
    tree_end(&t);
    /* Where nothing lies below, they go at once; where what they hide is kept for a snapshot, they stay. */
    tree_init(&t);
    table *gone = add(&t, 1, 5, 20, TABLE / 2, 10, 5);
    j = must_be_next(&t, &s, DUE_GARBAGE);
    assert_true(j.level == 1 && j.target == 1 && j.inputs[0][0] == gone);
    schedule_job_release(&j);
    kept_range kept = {50, 60, 5, 0, 0};
    const uint64_t snapshots[] = {40, 55, 70};
    assert_int_equal(table_say_kept(gone, &kept, 1), FIRN_OK);
    s.snapshots = snapshots;
    s.snapshot_count = 3;
    nothing_is_next(&t, &s);
    assert_int_equal(schedule_garbage(gone, snapshots, 3, true), 0);
    assert_int_equal(schedule_garbage(gone, snapshots, 1, true), 10);
    assert_int_equal(schedule_garbage(gone, snapshots, 1, false), 5);
    s.snapshot_count = 1;
    j = must_be_next(&t, &s, DUE_GARBAGE);
    schedule_job_release(&j);
    tree_end(&t);
}

/* While there are writers, tombstones that overlap much wait for their level's turn. */
static void few_tombstones_over_many_entries_wait_for_a_calm(void **state)
{
    (void)state;
    for (uint64_t entries = 50; entries <= 200; entries += 50) {
        tree t;
        tree_init(&t);
        schedule_state s = {.free_bytes = UINT64_MAX};
        add(&t, 2, 0, 49, 2 * BASE, entries / 2, 0);
        add(&t, 2, 50, 99, 2 * BASE, entries / 2, 0);
        table *doomed = add(&t, 1, 5, 80, TABLE, 20, 10);
        if (entries + 20 > 12 * 10)
            nothing_is_next(&t, &s);
        s.calm = entries + 20 > 12 * 10;
        schedule_job j = must_be_next(&t, &s, DUE_TOMBSTONES);
        assert_true(j.inputs[0][0] == doomed && j.target == 2 && j.counts[1] == 2);
        schedule_job_release(&j);
        tree_end(&t);
    }
}

static void what_only_former_snapshots_needed_is_garbage(void **state)
{
    (void)state;
    static const struct {
        uint64_t snapshots[3];
        size_t count;
        uint64_t garbage;
    } cases[] = {{{0}, 0, 60},          {{10}, 1, 50},        {{15}, 1, 50}, {{16}, 1, 60},
                 {{20, 30, 40}, 3, 10}, {{9, 16, 41}, 3, 60}, {{30}, 1, 10}, {{20}, 1, 40},
                 {{40}, 1, 30},         {{15, 20, 40}, 3, 0}};
    const kept_range kept[] = {{10, 15, 10, 0, 0}, {20, 30, 20, 0, 0}, {30, 40, 30, 0, 0}};
    tree t;
    tree_init(&t);
    table *x = add(&t, 1, 0, 9, TABLE, 100, 0);
    assert_int_equal(table_say_kept(x, kept, 3), FIRN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(schedule_garbage(x, cases[i].snapshots, cases[i].count, true),
                         cases[i].garbage);
    tree_end(&t);
}

/* Where ranges were made one, a table does not say which snapshots see which version. The more see each, the later it goes. */
static void a_part_of_a_range_that_was_several_is_garbage(void **state)
{
    (void)state;
    static const uint64_t all[] = {10, 12, 14, 16, 18, 20, 22};
    kept_range kept[] = {{.from = 12, .to = 20, .count = 50, .snapshots = 5, .seen = 50},
                         {.from = 13, .to = 16, .count = 1, .snapshots = 2, .seen = 1}};
    tree t;
    tree_init(&t);
    table *x = add(&t, 1, 0, 9, TABLE, 100, 0);
    assert_int_equal(table_say_kept(x, kept, 2), FIRN_OK);
    assert_int_equal(schedule_garbage(x, all, 7, true), 0);
    assert_false(schedule_may_have_garbage(x, all, 7));
    assert_int_equal(schedule_needed(x, all, 7), 51);
    assert_in_range(schedule_garbage(x, all, 5, true), 9, 10); /* 20 is gone */
    assert_true(schedule_may_have_garbage(x, all, 5));
    assert_in_range(schedule_garbage(x, all, 3, true), 29, 30);     /* and 16, 18 */
    assert_in_range(schedule_garbage(x, all + 3, 3, true), 19, 20); /* 12 and 14 */
    assert_int_equal(schedule_garbage(x, all + 6, 1, true), 51);
    assert_int_equal(schedule_garbage(x, all, 1, true), 51);
    table *y = add(&t, 1, 10, 19, TABLE, 100, 0);
    kept[0].seen = 150; /* three see each */
    assert_int_equal(table_say_kept(y, kept, 1), FIRN_OK);
    assert_int_equal(schedule_garbage(y, all, 5, true), 0);
    assert_true(schedule_may_have_garbage(y, all, 5));
    assert_in_range(schedule_garbage(y, all, 3, true), 10, 11);
    assert_in_range(schedule_garbage(y, all, 2, true), 25, 26);
    assert_int_equal(schedule_garbage(y, all, 1, true), 50);
    tree_end(&t);
}

/* In a calm, few tombstones over large entries are due, too; over small ones they are not. */
static void few_tombstones_that_may_hide_much_go_down_in_a_calm(void **state)
{
    (void)state;
    static const struct {
        uint64_t deletes, entries[2]; /* of the tables below, which have 2 * BASE bytes each */
        bool much;
    } cases[] = {
        {1, {100, 100}, true},
        {10, {2, 2}, true},
        {0, {1, 1}, false},
        {1, {1000, 1000}, false},
        {10, {1000, 1000}, true},
        {1, {20, 100000}, true}, /* few large ones beside many small ones */
        {1, {100000, 20}, true},
        {5, {100000, 100000}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned lvl = 0; lvl < 2; lvl++) {
            tree t;
            tree_init(&t);
            schedule_state s = {.free_bytes = UINT64_MAX};
            add(&t, 2, 0, 49, 2 * BASE, cases[i].entries[0], 0);
            add(&t, 2, 50, 99, 2 * BASE, cases[i].entries[1], 0);
            table *x = add(&t, lvl, 5, 80, TABLE, 100, cases[i].deletes);
            nothing_is_next(&t, &s);
            s.calm = s.whole = true;
            if (!cases[i].much) {
                nothing_is_next(&t, &s);
            } else {
                schedule_job j = must_be_next(&t, &s, DUE_TOMBSTONES);
                assert_true(j.inputs[0][0] == x && j.level == lvl && j.target > lvl);
                schedule_job_release(&j);
            }
            tree_end(&t);
        }
    /* Where nothing lies below, they are garbage: they go where they are. */
    tree t;
    tree_init(&t);
    schedule_state s = {.free_bytes = UINT64_MAX, .calm = true, .whole = true};
    add(&t, 1, 0, 49, TABLE, 100, 1);
    add(&t, 2, 50, 99, 2 * BASE, 2, 0);
    schedule_job j = must_be_next(&t, &s, DUE_GARBAGE);
    schedule_job_release(&j);
    tree_end(&t);
}

/* Less than one in ten waits for a calm, and there for the last snapshot that needs anything of the table. */
static void little_garbage_goes_in_a_calm_when_nothing_hidden_is_needed(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    schedule_state s = {.free_bytes = UINT64_MAX};
    table *x = add(&t, 1, 0, 9, TABLE, 1000, 0);
    const kept_range kept[] = {{10, 10, 1, 0, 0}, {20, 20, 40, 0, 0}};
    const uint64_t snapshots[] = {20};
    assert_int_equal(table_say_kept(x, kept, 2), FIRN_OK);
    nothing_is_next(&t, &s);
    s.calm = true;
    s.snapshots = snapshots;
    s.snapshot_count = 1;
    nothing_is_next(&t, &s);
    s.snapshot_count = 0;
    schedule_job j = must_be_next(&t, &s, DUE_GARBAGE);
    assert_true(j.inputs[0][0] == x && j.target == 1);
    schedule_job_release(&j);
    tree_end(&t);
}

/* However many tables there are, a decision looks at some of them; what the cursor has not come to is found with `whole`. */
static void garbage_is_found_wherever_it_lies(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    for (uint64_t i = 0; i < 3 * SCHEDULE_LOOKS; i++)
        add(&t, 1, i * 10, i * 10 + 5, 10, 10, i == 2 * SCHEDULE_LOOKS ? 10 : 0);
    schedule_rules flat = rules;
    flat.level_base_bytes = UINT64_C(1) << 40;
    flat.table_bytes = 40;
    schedule_state s = {.version = t.v, .free_bytes = UINT64_MAX};
    schedule_job j;
    assert_int_equal(schedule_next(&flat, &s, &j), FIRN_NOT_FOUND);
    s.cursor[1] = 2 * SCHEDULE_LOOKS - 5;
    assert_int_equal(schedule_next(&flat, &s, &j), FIRN_OK);
    schedule_job_release(&j);
    s.cursor[1] = 0;
    s.whole = true;
    assert_int_equal(schedule_next(&flat, &s, &j), FIRN_OK);
    assert_int_equal(j.why, DUE_GARBAGE);
    schedule_job_release(&j);
    tree_end(&t);
}

/* ---- Space ---- */

static void what_fits_is_done_before_what_does_not(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    schedule_state s = {.free_bytes = 3 * TABLE - 1};
    for (uint64_t i = 0; i < 20; i++)
        add(&t, 1, i * 10, i * 10 + 9, TABLE, 10, 0);
    for (uint64_t i = 0; i < 20; i++)
        if (i != 7)
            add(&t, 2, i * 10, i * 10 + 9, i == 11 ? TABLE : 2 * TABLE, 10, 0);
    schedule_job j = must_be_next(&t, &s, DUE_SIZE); /* needs no room at all */
    assert_true(j.kind == JOB_MOVE && number_of(j.from) == 70);
    finish(&t, &j, 100);
    schedule_job_release(&j);
    j = must_be_next(&t, &s, DUE_SIZE);
    assert_true(number_of(j.from) == 110 && j.bytes_out_most == 2 * TABLE);
    schedule_job_release(&j);
    s.free_bytes = 2 * TABLE - 1;
    s.version = t.v;
    assert_int_equal(schedule_next(&rules, &s, &j), FIRN_NO_SPACE);
    assert_int_equal(j.bytes_out_most, 2 * TABLE);
    assert_true(schedule_due(&rules, &s));
    tree_end(&t);
    /* Of level 0, fewer of the oldest. */
    tree_init(&t);
    add(&t, 1, 0, 9, 1, 1, 0);
    for (unsigned i = 0; i < 10; i++)
        add(&t, 0, 0, 9, TABLE, 10, 0);
    s = (schedule_state){.version = t.v, .free_bytes = 5 * TABLE + 1};
    j = must_be_next(&t, &s, DUE_LEVEL0);
    assert_true(j.counts[0] == 5 && j.inputs[0][4] == t.v->levels[0].tables[9]);
    schedule_job_release(&j);
    tree_end(&t);
}

/* ---- What a caller asks for ---- */

static unsigned ask_for_all(tree *t, schedule_request *q, const uint64_t *snapshots, size_t count)
{
    unsigned jobs = 0;
    uint8_t done[8];
    schedule_job j;
    for (;;) {
        schedule_state s = calm_state(t);
        s.snapshots = snapshots;
        s.snapshot_count = count;
        int rc = schedule_range(&rules, &s, q, &j);
        if (rc == FIRN_NOT_FOUND)
            return jobs;
        assert_int_equal(rc, FIRN_OK);
        job_is_right(t, &j, NULL, 0);
        memcpy(done, j.inputs[0][j.counts[0] - 1]->properties.key_max.data, 8);
        q->done = (firn_slice){done, 8};
        finish(t, &j, 90);
        schedule_job_release(&j);
        assert_true(++jobs < 1000);
    }
}

static void a_request_is_done_in_bounded_jobs_and_then_there_is_nothing_left(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        rng r = rng_init(seed);
        tree t;
        tree_init(&t);
        for (uint64_t n = 1; n <= 3; n++)
            for (uint64_t i = 0; i < (n * n * 10); i++)
                add(&t, (unsigned)n, i * 1000 / n, i * 1000 / n + 200, 10 + rng_below(&r, TABLE),
                    10, n == 2 && i % 3 == 0 ? 5 : 0);
        for (unsigned i = 0; i < 7; i++)
            add(&t, 0, rng_below(&r, 5000), 5000 + rng_below(&r, 20000), TABLE, 10, 0);
        schedule_request q = {.seq = t.next_seq};
        assert_true(ask_for_all(&t, &q, NULL, 0) > 2);
        unsigned used = 0;
        for (unsigned n = 0; n < FIRN_LEVELS; n++)
            used += t.v->levels[n].count > 0;
        assert_int_equal(used, 1);
        q = (schedule_request){.seq = t.next_seq};
        assert_int_equal(ask_for_all(&t, &q, NULL, 0), 0);
        /* Newer tables than the request are not waited for. */
        add(&t, 0, 0, 30000, TABLE, 10, 0);
        q = (schedule_request){.seq = t.next_seq - 1};
        assert_int_equal(ask_for_all(&t, &q, NULL, 0), 0);
        tree_end(&t);
    }
}

static void a_request_waits_for_claims_and_settles_the_last_level(void **state)
{
    (void)state;
    tree t;
    tree_init(&t);
    table *x = add(&t, 1, 0, 9, TABLE, 100, 1), *y = add(&t, 1, 20, 29, TABLE, 100, 0);
    const kept_range kept = {5, 5, 1, 0, 0};
    const uint64_t snapshot = 5;
    assert_int_equal(table_say_kept(x, &kept, 1), FIRN_OK);
    schedule_request q = {.seq = t.next_seq};
    assert_int_equal(ask_for_all(&t, &q, &snapshot, 1), 0); /* it is needed */
    schedule_state s = calm_state(&t);
    claim c = {1, 1, y->properties.key_min, y->properties.key_max};
    s.claims = &c;
    s.claim_count = 1;
    schedule_job j;
    q = (schedule_request){.seq = t.next_seq};
    assert_int_equal(schedule_range(&rules, &s, &q, &j), FIRN_OK);
    assert_true(j.inputs[0][0] == x && j.counts[0] == 1 && j.target == 1);
    schedule_job_release(&j);
    c.to = x->properties.key_max;
    c.from = x->properties.key_min;
    assert_int_equal(schedule_range(&rules, &s, &q, &j), FIRN_END);
    assert_true(number_of(j.from) == 0 && number_of(j.to) == 9 && j.level == 1);
    /* What does not say what it keeps is written again, once. */
    y->kept_known = false;
    q = (schedule_request){.seq = t.next_seq};
    assert_int_equal(ask_for_all(&t, &q, NULL, 0), 1);
    q = (schedule_request){.seq = t.next_seq};
    assert_int_equal(ask_for_all(&t, &q, NULL, 0), 0);
    tree_end(&t);
}

static schedule_job must_be_asked(const schedule_state *s, schedule_request *q, schedule_why why)
{
    schedule_job j;
    assert_int_equal(schedule_range(&rules, s, q, &j), FIRN_OK);
    assert_int_equal(j.why, why);
    return j;
}

static void release_asked(const schedule_state *s, schedule_request *q, schedule_why why)
{
    schedule_job j = must_be_asked(s, q, why);
    schedule_job_release(&j);
}

static void make_level_0_due(tree *t)
{
    while (t->v->levels[0].count < rules.level0_most)
        add(t, 0, 0, 399, 100, 10, 0);
}

static void two_levels(tree *t)
{
    tree_init(t);
    for (unsigned n = 1; n <= 2; n++)
        for (uint64_t i = 0; i < 40; i++)
            add(t, n, i * 10, i * 10 + 9, TABLE, 10, 0);
}

/* Where a request takes tables of the level that level 0 goes to, it lets one job of level 0 pass that is due, and waits for what is
 * in the way of that. Then it has its own turn. */
static void level_0_and_a_request_take_turns(void **state)
{
    (void)state;
    tree t;
    schedule_job j;
    two_levels(&t);
    make_level_0_due(&t);
    schedule_state s = {.version = t.v, .free_bytes = UINT64_MAX};
    schedule_request q = {0}; /* all of level 0 is newer */
    for (unsigned i = 0; i < 4; i++) {
        j = must_be_asked(&s, &q, i % 2 ? DUE_ASKED : DUE_LEVEL0);
        assert_int_equal(j.level, i % 2);
        schedule_job_release(&j);
    }
    claim c = {1, 2, t.v->levels[1].tables[39]->properties.key_min,
               t.v->levels[1].tables[39]->properties.key_max};
    s.claims = &c;
    s.claim_count = 1;
    assert_int_equal(schedule_range(&rules, &s, &q, &j), FIRN_END); /* no job of its own instead */
    assert_true(j.level == 0 && j.target == 1 && number_of(j.to) == 399);
    c.level_from = 2; /* the job beside it ends, and the next one is deeper */
    release_asked(&s, &q, DUE_LEVEL0);
    c.from = t.v->levels[1].tables[0]->properties.key_min;
    assert_int_equal(schedule_range(&rules, &s, &q, &j), FIRN_END); /* its turn is not lost */
    assert_true(j.level == 1 && j.target == 2);
    s.claim_count = 0;
    release_asked(&s, &q, DUE_ASKED);
    s.free_bytes = 0;
    release_asked(&s, &q, DUE_ASKED); /* there is no room for level 0 */
    s.free_bytes = UINT64_MAX;
    q = (schedule_request){.level = 2};
    release_asked(&s, &q, DUE_ASKED); /* it is not in the way of level 0 */
    q = (schedule_request){.alone = true};
    release_asked(&s, &q, DUE_ASKED);
    tree_end(&t);
}

static void a_request_ends_however_often_level_0_is_due(void **state)
{
    (void)state;
    tree t;
    uint8_t done[8];
    unsigned jobs[2] = {0}; /* level 0's, and its own */
    two_levels(&t);
    schedule_request q = {0};
    schedule_job j;
    for (;;) {
        make_level_0_due(&t);
        schedule_state s = {.version = t.v, .free_bytes = UINT64_MAX};
        int rc = schedule_range(&rules, &s, &q, &j);
        if (rc == FIRN_NOT_FOUND)
            break;
        assert_int_equal(rc, FIRN_OK);
        job_is_right(&t, &j, NULL, 0);
        bool asked = j.why == DUE_ASKED;
        if (asked) {
            memcpy(done, j.inputs[0][j.counts[0] - 1]->properties.key_max.data, 8);
            q.done = (firn_slice){done, 8};
        }
        finish(&t, &j, 90);
        schedule_job_release(&j);
        assert_true(++jobs[asked] < 200);
    }
    assert_true(jobs[0] > 1 && jobs[1] > 1);
    tree_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_jobs_overlap_whatever_the_tree),
        cmocka_unit_test(the_shares_follow_from_all_bytes_together),
        cmocka_unit_test(level_0_waits_for_more_while_a_merge_is_dear),
        cmocka_unit_test(level_0_gets_the_level_below_to_itself),
        cmocka_unit_test(what_overlaps_nothing_moves_unless_it_is_small),
        cmocka_unit_test(small_neighbours_become_few_tables),
        cmocka_unit_test(a_row_of_small_tables_does_not_come_to_overlap_too_much),
        cmocka_unit_test(tombstones_go_down_to_what_they_hide),
        cmocka_unit_test(few_tombstones_over_many_entries_wait_for_a_calm),
        cmocka_unit_test(what_only_former_snapshots_needed_is_garbage),
        cmocka_unit_test(a_part_of_a_range_that_was_several_is_garbage),
        cmocka_unit_test(few_tombstones_that_may_hide_much_go_down_in_a_calm),
        cmocka_unit_test(little_garbage_goes_in_a_calm_when_nothing_hidden_is_needed),
        cmocka_unit_test(garbage_is_found_wherever_it_lies),
        cmocka_unit_test(what_fits_is_done_before_what_does_not),
        cmocka_unit_test(a_request_is_done_in_bounded_jobs_and_then_there_is_nothing_left),
        cmocka_unit_test(a_request_waits_for_claims_and_settles_the_last_level),
        cmocka_unit_test(level_0_and_a_request_take_turns),
        cmocka_unit_test(a_request_ends_however_often_level_0_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
