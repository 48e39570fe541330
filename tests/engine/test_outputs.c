/* Where a worker looks for a job, in how many parts it is done, and where its outputs end (schedule_work.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
        cmocka_unit_test(large_merges_are_done_in_parts_where_there_are_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
