/* only: FIRN_TEST='A*Segment*' in the environment runs those tests of a program whose names match, by the rules of
 * cmocka_set_test_filter (`*` and `?`). Part of every test program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

__attribute__((constructor)) static void choose(void)
{
    const char *pattern = getenv("FIRN_TEST");
    if (pattern && pattern[0])
        cmocka_set_test_filter(pattern);
}
