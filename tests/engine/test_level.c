/* level_iter: where the bounds leave nothing of a level, that is known from one table, however many
 * there are. */
#include <base/slice.h>
#include <tree/version.h>

static unsigned looks; /* at tables */

static bool look(const table *t, const iter_limits *limits)
{
    looks++;
    return table_may_show(t, limits);
}

#define table_may_show look
#include "level_iter.c"
#undef table_may_show

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TABLES = 500 };

static table *numbered(unsigned no)
{
    table *t;
    char from[8], to[8];
    snprintf(from, sizeof from, "k%04u", no);
    snprintf(to, sizeof to, "k%04u9", no);
    sst_properties p = {.file_bytes = 100,
                        .entries = 2,
                        .blocks = 1,
                        .seq_min = 1,
                        .seq_max = 2,
                        .key_min = slice_of_str(from),
                        .key_max = slice_of_str(to)};
    assert_int_equal(table_new(NULL, no, &p, &t), FIRN_OK);
    return t;
}

/* Between tables `at` - 1 and `at`. */
static firn_slice between(char text[8], unsigned at)
{
    int n = at ? snprintf(text, 8, "k%04ux", at - 1) : snprintf(text, 8, "a");
    return slice_of(text, (size_t)n);
}

static void must_find_nothing(iter *it)
{
    assert_false(it->valid);
    assert_int_equal(it->status, FIRN_OK);
    assert_true(looks <= 2);
    looks = 0;
}

static void where_nothing_is_left_few_tables_are_looked_at(void **state)
{
    (void)state;
    table *tables[TABLES];
    for (unsigned i = 0; i < TABLES; i++)
        tables[i] = numbered(i);
    level l = {.tables = tables, .count = TABLES};
    static const unsigned gaps[] = {0, 1, TABLES / 2, TABLES - 1, TABLES};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        char low[8], high[8];
        firn_slice lower = between(low, gaps[g]), upper = between(high, gaps[g]);
        iter_limits limits = {.lower = lower, .upper = upper, .seq_max = FIRN_MAX_SEQ};
        iter *it = NULL;
        assert_int_equal(level_iter_new(&l, SST_FILL, &it), FIRN_OK);
        it->limits = &limits;
        looks = 0;
        it->ops->first(it);
        must_find_nothing(it);
        it->ops->last(it);
        must_find_nothing(it);
        it->ops->seek(it, lower, FIRN_MAX_SEQ);
        must_find_nothing(it);
        it->ops->seek_before(it, upper, 0);
        must_find_nothing(it);
        it->ops->close(it);
    }
    for (unsigned i = 0; i < TABLES; i++)
        table_unref(tables[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_nothing_is_left_few_tables_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
