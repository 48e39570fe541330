/* Where a worker looks for a job, how much the job reads, in how many parts it is done, and where its outputs end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <store/store.h>
#include <tree/schedule.h>

#define TABLE  1000
#define TABLES 100

static const schedule_rules rules = {.table_bytes = TABLE,
                                     .job_bytes = 1000 * TABLE,
                                     .level_base_bytes = 1000 * TABLE,
                                     .ratio = 10,
                                     .level0_at = 4,
                                     .level0_most = 10,
                                     .plain_levels = 2};

/* A level of tables of these sizes. */
typedef struct tables {
    table of[TABLES];
    table *list[TABLES];
    uint8_t keys[TABLES];
    level level;
} tables;

static void tables_init(tables *t, const uint64_t *bytes, size_t count)
{
    *t = (tables){.level = {.tables = t->list, .count = count}};
    for (size_t i = 0; i < count; i++) {
        t->list[i] = &t->of[i];
        t->keys[i] = (uint8_t)i;
        t->of[i].properties = (sst_properties){.file_bytes = bytes[i],
                                               .entries = 1,
                                               .key_min = {&t->keys[i], 1},
                                               .key_max = {&t->keys[i], 1}};
    }
}

static void an_output_ends_before_it_overlaps_too_much(void **state)
{
    (void)state;
    tables t;
    uint64_t bytes[32];
    for (size_t i = 0; i < 32; i++)
        bytes[i] = TABLE;
    tables_init(&t, bytes, 32);
    assert_int_equal(schedule_reach(&rules, &t.level, 0), SCHEDULE_OVERLAP);
    assert_int_equal(schedule_reach(&rules, &t.level, 7), 7 + SCHEDULE_OVERLAP);
    assert_int_equal(schedule_reach(&rules, &t.level, 31), 32);
    assert_int_equal(schedule_reach(&rules, &t.level, 32), 32);
}

/* Tables may be that large: of a time when table_bytes was another, or of one large value. Where one alone was too much,
 * each key would get a table of its own. */
static void an_output_may_overlap_one_table_however_large_that_is(void **state)
{
    (void)state;
    tables t;
    const uint64_t bytes[] = {TABLE, 50 * TABLE, 50 * TABLE, TABLE};
    tables_init(&t, bytes, 4);
    assert_int_equal(schedule_reach(&rules, &t.level, 0), 1);
    assert_int_equal(schedule_reach(&rules, &t.level, 1), 2);
    assert_int_equal(schedule_reach(&rules, &t.level, 2), 3);
    assert_int_equal(schedule_reach(&rules, &t.level, 3), 4);
}

/* Four small neighbours, further from the cursor than a decision looks. */
static void a_worker_looks_at_all_tables_when_there_is_nothing_near(void **state)
{
    (void)state;
    tables t;
    version v = {0};
    schedule_job j;
    uint64_t bytes[TABLES];
    for (size_t i = 0; i < TABLES; i++)
        bytes[i] = i < 90 || i >= 94 ? TABLE : TABLE / 10;
    tables_init(&t, bytes, TABLES);
    v.levels[1] = t.level;
    schedule_state s = {.version = &v, .free_bytes = UINT64_MAX};
    assert_int_equal(schedule_next(&rules, &s, &j), FIRN_NOT_FOUND);
    assert_int_equal(schedule_find(&rules, &s, false, &j), FIRN_OK);
    assert_int_equal(j.why, DUE_SMALL);
    assert_int_equal(j.counts[0], 4);
    assert_ptr_equal(j.inputs[0][0], &t.of[90]);
    schedule_job_release(&j);
}

/* ---- How much a job reads ---- */

#define JOB (24 * TABLE)

static schedule_rules with_job_bytes(void)
{
    schedule_rules r = rules;
    r.job_bytes = JOB;
    return r;
}

/* So many tables of the same size. */
static void tables_alike(tables *t, size_t count, uint64_t bytes)
{
    uint64_t sizes[TABLES];
    for (size_t i = 0; i < count; i++)
        sizes[i] = bytes;
    tables_init(t, sizes, count);
}

/* What is due takes so many tables, from this one on. */
static void must_take(const version *v, schedule_why why, const table *first, size_t count)
{
    schedule_rules r = with_job_bytes();
    schedule_state s = {.version = v, .free_bytes = UINT64_MAX};
    schedule_job j;
    assert_int_equal(schedule_next(&r, &s, &j), FIRN_OK);
    assert_int_equal(j.why, why);
    assert_int_equal(j.counts[0], count);
    assert_ptr_equal(j.inputs[0][0], first);
    schedule_job_release(&j);
}

/* Many tables, or more where the smallest shares of levels are large beside them. */
static void the_bytes_of_a_job_follow_from_the_options(void **state)
{
    (void)state;
    schedule_rules r;
    firn_options o = {.segment_bytes = 1 << 20, .table_bytes = 1 << 20};
    options_rules(&o, &r);
    assert_int_equal(r.job_bytes, JOB_TABLES << 20);
    o = (firn_options){.segment_bytes = 2 << 20, .table_bytes = 1 << 20};
    options_rules(&o, &r);
    assert_int_equal(r.job_bytes, 2 * BASE_SEGMENTS * (2 << 20));
}

/* Its oldest tables; but one, however large that is. */
static void a_job_of_level_0_is_bounded(void **state)
{
    (void)state;
    for (unsigned large = 0; large < 2; large++) {
        tables t;
        version v = {0};
        tables_alike(&t, 12, large ? 2 * JOB : JOB / 5);
        for (size_t i = 0; i < 12; i++) {
            t.of[i].properties.key_min.data = &t.keys[0];
            t.of[i].properties.key_max.data = &t.keys[11];
        }
        v.levels[0] = t.level;
        must_take(&v, DUE_LEVEL0, &t.of[large ? 11 : 7], large ? 1 : 5);
    }
}

/* Small tables of a level go down together, while what they overlap is not too much. */
static void a_job_of_a_level_is_bounded_by_what_it_overlaps(void **state)
{
    (void)state;
    tables t, below;
    version v = {0};
    tables_alike(&t, 5, TABLE / 5);
    tables_alike(&below, 5, 10 * TABLE);
    v.levels[1] = t.level;
    v.levels[2] = below.level;
    must_take(&v, DUE_SIZE, &t.of[0], 2);
}

/* The first one overlaps less for each of its bytes, but is more than a job; alone, it goes down at last. */
static void what_is_more_than_a_job_goes_down_last(void **state)
{
    (void)state;
    tables t, below;
    version v = {0};
    const uint64_t bytes[] = {20 * TABLE, TABLE}, bytes_below[] = {10 * TABLE, 2 * TABLE};
    tables_init(&t, bytes, 2);
    tables_init(&below, bytes_below, 2);
    v.levels[1] = t.level;
    v.levels[2] = below.level;
    must_take(&v, DUE_SIZE, &t.of[1], 1);
    v.levels[1].count = 1;
    must_take(&v, DUE_SIZE, &t.of[0], 1);
}

static void a_job_of_garbage_is_bounded(void **state)
{
    (void)state;
    tables t;
    version v = {0};
    tables_alike(&t, 5, 10 * TABLE);
    for (size_t i = 0; i < 5; i++)
        t.of[i].properties.deletes = 1; /* nothing lies below */
    v.levels[1] = t.level;
    must_take(&v, DUE_GARBAGE, &t.of[0], 2);
}

/* Of tables that do not say what they keep, one job after the other; those that do are settled. */
static void a_request_in_the_last_level_is_bounded(void **state)
{
    (void)state;
    schedule_rules r = with_job_bytes();
    tables t;
    version v = {0};
    tables_alike(&t, 5, 10 * TABLE);
    v.levels[1] = t.level;
    schedule_state s = {.version = &v, .free_bytes = UINT64_MAX};
    schedule_request q = {0};
    schedule_job j;
    assert_int_equal(schedule_range(&r, &s, &q, &j), FIRN_OK);
    assert_true(j.counts[0] == 2 && j.inputs[0][0] == &t.of[0] && j.target == 1);
    schedule_job_release(&j);
    for (size_t i = 0; i < 5; i++)
        t.of[i].kept_known = true;
    q = (schedule_request){0};
    assert_int_equal(schedule_range(&r, &s, &q, &j), FIRN_NOT_FOUND);
}

/* ---- Parts ---- */

static void large_merges_are_done_in_parts_where_there_are_helpers(void **state)
{
    (void)state;
    schedule_job j = {.kind = JOB_MERGE, .bytes_in = 4 * TABLE};
    assert_int_equal(schedule_parts(&rules, &j, 1), 1);
    assert_int_equal(schedule_parts(&rules, &j, 2), 2);
    j.bytes_in = 100 * TABLE;
    assert_int_equal(schedule_parts(&rules, &j, 2), 4);
    j.bytes_in = TABLE;
    assert_int_equal(schedule_parts(&rules, &j, 2), 1);
    j = (schedule_job){.kind = JOB_MOVE, .bytes_in = 100 * TABLE};
    assert_int_equal(schedule_parts(&rules, &j, 2), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_output_ends_before_it_overlaps_too_much),
        cmocka_unit_test(an_output_may_overlap_one_table_however_large_that_is),
        cmocka_unit_test(a_worker_looks_at_all_tables_when_there_is_nothing_near),
        cmocka_unit_test(the_bytes_of_a_job_follow_from_the_options),
        cmocka_unit_test(a_job_of_level_0_is_bounded),
        cmocka_unit_test(a_job_of_a_level_is_bounded_by_what_it_overlaps),
        cmocka_unit_test(what_is_more_than_a_job_goes_down_last),
        cmocka_unit_test(a_job_of_garbage_is_bounded),
        cmocka_unit_test(a_request_in_the_last_level_is_bounded),
        cmocka_unit_test(large_merges_are_done_in_parts_where_there_are_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
