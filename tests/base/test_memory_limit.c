/* How much memory a process may use: what control groups say, in folders made up for it. */
#include "check.h"

#include <base/fs.h>
#include <support/tempdir.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../base/fs_posix.h"

static char *root;
static uint64_t machine;

static int set_up(void **state)
{
    (void)state;
    root = tempdir_new();
    machine = memory_limit_find("/nowhere", "/nowhere");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove(root);
    return 0;
}

/* Writes root/path, making its folders. */
static void put(const char *path, const char *text)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *f = fopen(whole, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static uint64_t limit(const char *groups)
{
    char list[1024];
    put("list", groups);
    snprintf(list, sizeof list, "%s/list", root);
    return memory_limit_find(list, root);
}

static void WithoutAGroupTheMachineIsTheLimit(void **state)
{
    (void)state;
    assert_true(machine > 1 << 20 && machine < UINT64_MAX);
    assert_true(limit("") == machine);
    assert_true(limit("0::/a\n") == machine);
    assert_true(limit("nonsense\n:\n::\n4:memory\n") == machine);
    put("a/memory.max", "max\n");
    assert_true(limit("0::/a\n") == machine);
    assert_true(fs_memory_limit(fs_posix()) <= machine);
}

static void TheLeastOfAGroupAndThoseAroundItCounts(void **state)
{
    (void)state;
    put("memory.max", "900000\n");
    assert_int_equal(limit("0::/\n"), 900000);
    assert_int_equal(limit("0::/only/on/the/host\n"), 900000);
    put("a/memory.max", "800000\n");
    put("a/b/memory.max", "max\n");
    assert_int_equal(limit("0::/a/b\n"), 800000);
    put("a/b/memory.max", "850000\n");
    assert_int_equal(limit("0::/a/b\n"), 800000);
    put("a/b/memory.max", "70000\n");
    assert_int_equal(limit("12:cpu:/x\n0::/a/b\n"), 70000);
    assert_int_equal(limit("0::/a\n"), 800000);
}

static void TheFirstVersionCountsToo(void **state)
{
    (void)state;
    put("memory/c/memory.limit_in_bytes", "123456\n");
    assert_int_equal(limit("9:name=systemd:/\n4:cpu,memory:/c/d\n0::/\n"), 123456);
    assert_true(limit("4:cpu,memoryless:/c\n") == machine);
    put("memory/c/memory.limit_in_bytes", "9223372036854771712\n");
    assert_true(limit("4:memory:/c\n") == machine);
    put("memory/memory.limit_in_bytes", "7777\n");
    assert_int_equal(limit("4:memory:/c"), 7777);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(WithoutAGroupTheMachineIsTheLimit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(TheLeastOfAGroupAndThoseAroundItCounts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(TheFirstVersionCountsToo, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
