/* The figures of waits, as `firn stat` prints them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "waits.h"

/* What is printed, through a pipe. */
static const char *printed(const firn_stats *s)
{
    static char text[4096];
    int ends[2];
    output out;
    assert_int_equal(pipe(ends), 0);
    output_init(&out, ends[1], "a pipe");
    waits_table(&out, s, "", "");
    assert_int_equal(output_finish(&out), 0);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    close(ends[0]);
    return text;
}

static void a_store_at_rest_has_waited_for_nothing(void **state)
{
    (void)state;
    const firn_stats s = {.size = sizeof s};
    assert_string_equal(printed(&s), "waits\n  writers held back 0 us\n");
}

static void each_cause_has_its_figures(void **state)
{
    (void)state;
    firn_stats s = {.size = sizeof s, .stall_us = 2500000, .waiting = 2};
    s.waits[FIRN_WAIT_LEVEL0] = (firn_waited){3, 2500000};
    s.waits[FIRN_WAIT_DESCRIPTOR] = (firn_waited){1000, 999};
    s.waiting_for = FIRN_WAIT_READERS;
    s.waiting_us = 1200000;
    assert_string_equal(printed(&s), "waits\n"
                                     "  writers held back 2.5 s\n"
                                     "  level0            2.5 s in 3 waits\n"
                                     "  descriptor        999 us in 1,000 waits\n"
                                     "  now               2 wait, longest for readers: 1.2 s\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_at_rest_has_waited_for_nothing),
        cmocka_unit_test(each_cause_has_its_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
