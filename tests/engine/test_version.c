/* Versions and the edits between them. What they cost is counted in steps and in versions, not in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include <tree/version_build.h>

static table *make_table(uint64_t no)
{
    static const table_env env;
    char key[24];
    table *t = NULL;
    snprintf(key, sizeof key, "%012llu", (unsigned long long)no);
    sst_properties p = {.file_bytes = 5000,
                        .entries = 1,
                        .blocks = 1,
                        .seq_min = no,
                        .seq_max = no,
                        .key_min = {(const uint8_t *)key, strlen(key)},
                        .key_max = {(const uint8_t *)key, strlen(key)}};
    assert_int_equal(table_new(&env, no, &p, &t), FIRN_OK);
    return t;
}

/* A compaction of many tables in a large store. */
static void an_edit_costs_no_more_than_going_through_the_tables(void **state)
{
    (void)state;
    enum { TABLES = 50000, CHANGED = 10000 };
    version_build b;
    version *v = NULL, *next = NULL;
    version_build_init(&b, NULL, 0);
    for (uint64_t no = 1; no <= TABLES; no++) {
        table *t = make_table(no);
        assert_int_equal(version_build_add(&b, 4, t, NULL), FIRN_OK);
        table_unref(t);
    }
    assert_int_equal(version_build_finish(&b, &v, NULL), FIRN_OK);
    version_build_release(&b);

    version_build_init(&b, v, 0);
    for (uint64_t no = 1; no <= CHANGED; no++)
        assert_int_equal(version_build_drop(&b, 4, no, NULL), FIRN_OK);
    for (uint64_t no = 1; no <= CHANGED; no++) {
        table *t = make_table(TABLES + no);
        assert_int_equal(version_build_add(&b, 4, t, NULL), FIRN_OK);
        table_unref(t);
    }
    assert_int_equal(version_build_finish(&b, &next, NULL), FIRN_OK);
    assert_int_equal(version_tables(next), TABLES);
    assert_int_equal(next->levels[4].tables[0]->no, CHANGED + 1);
    if (b.steps > 6 * TABLES + CHANGED * 40)
        fail_msg("%llu steps", (unsigned long long)b.steps);
    version_build_release(&b);
    version_unref(v);
    version_unref(next);
}

/* A flush, and a compaction of the first levels, of a large store. */
static void an_edit_shares_the_levels_that_it_leaves_alone(void **state)
{
    (void)state;
    enum { TABLES = 50000 };
    version_build b;
    version *v = NULL, *next = NULL, *last = NULL;
    version_build_init(&b, NULL, 0);
    for (uint64_t no = 1; no <= TABLES; no++) {
        table *t = make_table(no);
        assert_int_equal(version_build_add(&b, no < 4 ? 1 : no % 2 ? 4 : 5, t, NULL), FIRN_OK);
        table_unref(t);
    }
    assert_int_equal(version_build_finish(&b, &v, NULL), FIRN_OK);
    version_build_release(&b);

    table *fresh = make_table(TABLES + 1);
    version_build_init(&b, v, 0);
    assert_int_equal(version_build_add(&b, 0, fresh, NULL), FIRN_OK);
    assert_int_equal(version_build_finish(&b, &next, NULL), FIRN_OK);
    assert_true(b.steps < 20);
    version_build_release(&b);
    assert_int_equal(next->levels[0].count, 1);
    for (unsigned n = 1; n < FIRN_LEVELS; n++) {
        assert_ptr_equal(next->levels[n].tables, v->levels[n].tables);
        assert_int_equal(next->levels[n].bytes, v->levels[n].bytes);
    }
    version_unref(v);

    version_build_init(&b, next, 0); /* what is shared outlives the version that it was made for */
    assert_int_equal(version_build_drop(&b, 0, fresh->no, NULL), FIRN_OK);
    assert_int_equal(version_build_drop(&b, 1, 2, NULL), FIRN_OK);
    assert_int_equal(version_build_add(&b, 1, fresh, NULL), FIRN_OK);
    assert_int_equal(version_build_finish(&b, &last, NULL), FIRN_OK);
    assert_true(b.steps < 40);
    version_build_release(&b);
    version_unref(next);
    assert_int_equal(version_tables(last), TABLES);
    assert_int_equal(last->levels[1].count, 3);
    assert_int_equal(last->levels[4].tables[0]->no, 5);
    table_unref(fresh);
    version_unref(last);
}

enum { NUMBERS = 60 };

/* One builder and what it should know. */
typedef struct model {
    bool base[NUMBERS + 1], added[NUMBERS + 1], dropped[NUMBERS + 1];
    bool from_nothing;
} model;

static void change_one(model *m, version_build *b, uint64_t no, bool add)
{
    table *t = make_table(no);
    int rc = add ? version_build_add(b, 1, t, NULL) : version_build_drop(b, 1, no, NULL);
    table_unref(t);
    if (add) {
        assert_int_equal(rc, m->added[no] ? FIRN_DAMAGED : FIRN_OK);
        m->added[no] = true;
    } else if (m->added[no]) {
        assert_int_equal(rc, FIRN_OK);
        m->added[no] = false;
    } else {
        bool refused = m->from_nothing || m->dropped[no];
        assert_int_equal(rc, refused ? FIRN_DAMAGED : FIRN_OK);
        m->dropped[no] = m->dropped[no] || !refused;
    }
}

/* B1, B2. */
static bool makes_sense(const model *m)
{
    for (size_t no = 1; no <= NUMBERS; no++)
        if ((m->dropped[no] && !m->base[no]) || (m->added[no] && m->base[no] && !m->dropped[no]))
            return false;
    return true;
}

/* Numbers that collide are moved up when one of them goes; so with few slots and many changes. */
static void any_edits_make_what_arrays_of_numbers_say(void **state)
{
    (void)state;
    rng r = rng_init(seed_from_environment(77));
    unsigned good = 0, bad = 0;
    for (int round = 0; round < 3000; round++) {
        model m = {.from_nothing = true};
        version *v = NULL;
        for (int edits = 0; edits < 4; edits++) {
            version_build b;
            version *next = NULL;
            version_build_init(&b, v, rng_next(&r));
            for (uint64_t i = 1 + rng_below(&r, 40); i > 0; i--)
                change_one(&m, &b, 1 + rng_below(&r, NUMBERS), rng_below(&r, 3) > 0);
            int rc = version_build_finish(&b, &next, NULL);
            version_build_release(&b);
            assert_int_equal(rc, makes_sense(&m) ? FIRN_OK : FIRN_DAMAGED);
            if (rc != FIRN_OK) {
                bad++;
                break;
            }
            good++;
            version_unref(v);
            v = next;
            size_t at = 0;
            for (size_t no = 1; no <= NUMBERS; no++) {
                m.base[no] = m.added[no] || (m.base[no] && !m.dropped[no]);
                if (m.base[no])
                    assert_int_equal(v->levels[1].tables[at++]->no, no);
            }
            assert_int_equal(v->levels[1].count, at);
            memset(m.added, 0, sizeof m.added);
            memset(m.dropped, 0, sizeof m.dropped);
            m.from_nothing = false;
        }
        version_unref(v);
    }
    assert_true(good > 1000 && bad > 500);
}

/* B1, where no order of keys would show it: else a compaction of one level removes what the other reads. */
static void a_number_is_not_listed_in_a_second_level(void **state)
{
    (void)state;
    version_build b;
    version *v = NULL, *next = NULL;
    firn_error err = {0};
    table *t = make_table(5);
    table *other = make_table(6);
    version_build_init(&b, NULL, 0);
    assert_int_equal(version_build_add(&b, 1, t, NULL), FIRN_OK);
    assert_int_equal(version_build_add(&b, 1, other, NULL), FIRN_OK);
    assert_int_equal(version_build_finish(&b, &v, NULL), FIRN_OK);
    version_build_release(&b);
    edit e = {0};
    assert_int_equal(edit_add(&e, 3, t), FIRN_OK);
    /* Whether the edit changes the level where it stands, or not. */
    assert_int_equal(version_apply(v, &e, &next, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "listed twice"));
    err = (firn_error){0};
    assert_int_equal(edit_drop(&e, 1, other), FIRN_OK);
    assert_int_equal(version_apply(v, &e, &next, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "listed twice"));
    assert_int_equal(edit_drop(&e, 1, t), FIRN_OK); /* it moves */
    assert_int_equal(version_apply(v, &e, &next, &err), FIRN_OK);
    assert_true(next->levels[1].count == 0 && next->levels[3].count == 1);
    edit_release(&e);
    version_unref(next);
    version_unref(v);
    table_unref(other);
    table_unref(t);
}

static void opening_makes_one_version_however_many_records_there_are(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    for (unsigned i = 0; i < 100; i++) { /* a record each */
        bed_put(&b, "k", "v");
        bed_flush(&b);
    }
    bed_must_close(&b);
    uint64_t before = atomic_load(&versions_made);
    bed_must_open(&b);
    assert_int_equal(atomic_load(&versions_made) - before, 1);
    before = atomic_load(&versions_made);
    bed_put(&b, "k", "v");
    bed_flush(&b);
    firn_stats s = bed_stats(&b);
    assert_int_equal(atomic_load(&versions_made) - before, s.flushes + s.compactions);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edit_costs_no_more_than_going_through_the_tables),
        cmocka_unit_test(an_edit_shares_the_levels_that_it_leaves_alone),
        cmocka_unit_test(any_edits_make_what_arrays_of_numbers_say),
        cmocka_unit_test(a_number_is_not_listed_in_a_second_level),
        cmocka_unit_test(opening_makes_one_version_however_many_records_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
