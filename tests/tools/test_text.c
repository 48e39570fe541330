/* Numbers as people read them (tools/text.h). */
#include "command.h" /* before cmocka, whose fail() is a macro */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "text.h"

static void sizes_counts_and_times_read_well(void **state)
{
    (void)state;
    assert_string_equal(text_size(0).s, "0 B");
    assert_string_equal(text_size(1023).s, "1023 B");
    assert_string_equal(text_size(1024).s, "1.0 KiB");
    assert_string_equal(text_size(12897485).s, "12.3 MiB");
    assert_string_equal(text_size((UINT64_C(1) << 20) - 1).s, "1.0 MiB");
    assert_string_equal(text_size(UINT64_MAX).s, "16.0 EiB");
    assert_string_equal(text_count(0).s, "0");
    assert_string_equal(text_count(999).s, "999");
    assert_string_equal(text_count(1000).s, "1,000");
    assert_string_equal(text_count(UINT64_MAX).s, "18,446,744,073,709,551,615");
    assert_string_equal(text_time(999).s, "999 us");
    assert_string_equal(text_time(1500).s, "1.5 ms");
    assert_string_equal(text_time(1200000).s, "1.2 s");
    assert_string_equal(text_time(185000000).s, "3 min 05 s");
    assert_string_equal(text_time(7260000000).s, "2 h 01 min");
    assert_string_equal(text_date_ms(0).s, "1970-01-01 00:00:00.000");
    assert_string_equal(text_date_ms(1769860800123).s, "2026-01-31 12:00:00.123");
}

static void a_pipe_is_never_painted(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    assert_false(text_colour(ends[1]));
    close(ends[0]);
    close(ends[1]);
}

static void a_wrong_verb_is_answered_with_the_one_that_was_meant(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"laod", "load"},  {"gte", "get"},     {"puts", "put"},   {"dmup", "dump"},
        {"scna", "scan"},  {"cont", "count"},  {"stats", "stat"}, {"chekc", "check"},
        {"delete", "del"}, {"import", "load"}, {"ls", "scan"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        assert_non_null(command_nearest(pairs[i][0]));
        assert_string_equal(command_nearest(pairs[i][0]), pairs[i][1]);
    }
    assert_null(command_nearest("defenestrate"));
    assert_null(command_nearest("x"));
    assert_null(command_nearest(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_counts_and_times_read_well),
        cmocka_unit_test(a_pipe_is_never_painted),
        cmocka_unit_test(a_wrong_verb_is_answered_with_the_one_that_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
