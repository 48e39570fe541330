/* Structs of options: those of earlier versions, of later ones, and what was never filled in. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include <base/sized.h>

typedef struct sample {
    size_t size;
    uint64_t first;
    uint32_t second, third;
    void *fourth;
} sample;

static const sized_kind kind = {"the samples", "fill them in with sample_init", sizeof(sample)};

static sample defaults(void)
{
    return (sample){.size = sizeof(sample), .first = 1, .second = 2, .third = 3};
}

static sample wishes(void)
{
    static int something;
    return (sample){
        .size = sizeof(sample), .first = 11, .second = 12, .third = 13, .fourth = &something};
}

static void a_shorter_struct_leaves_the_rest_at_its_default(void **state)
{
    (void)state;
    const size_t ends[] = {offsetof(sample, second), offsetof(sample, fourth), sizeof(sample)};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        sample given = wishes(), out = defaults();
        /* What lies behind its end is not the struct's: nothing of it may be read. */
        given.size = ends[i];
        uint8_t *exact = malloc(ends[i]);
        assert_non_null(exact);
        memcpy(exact, &given, ends[i]);
        firn_error err = {0};
        assert_int_equal(sized_take(&kind, exact, &out, &err), FIRN_OK);
        free(exact);
        assert_int_equal(out.size, sizeof(sample));
        assert_int_equal(out.first, 11);
        assert_int_equal(out.second, i >= 1 ? 12 : 2);
        assert_int_equal(out.third, i >= 1 ? 13 : 3);
        assert_ptr_equal(out.fourth, i >= 2 ? given.fourth : NULL);
    }
}

static void no_other_size_is_taken(void **state)
{
    (void)state;
    for (size_t size = 0; size < 4 * sizeof(sample); size++) {
        sample given = wishes(), out = defaults();
        firn_error err = {0};
        bool right = size >= offsetof(sample, second) && size <= sizeof(sample) && size % 8 == 0;
        given.size = size;
        int rc = sized_take(&kind, &given, &out, &err);
        assert_int_equal(rc, right ? FIRN_OK : FIRN_INVALID);
        if (right)
            continue;
        assert_int_equal(out.first, 1);
        assert_null(out.fourth);
        assert_non_null(strstr(err.message, "the samples have size"));
        assert_non_null(strstr(err.hint, "sample_init"));
        assert_true(!strstr(err.hint, "later version") == (size <= sizeof(sample)));
    }
    sample given = wishes(), out = defaults();
    given.size = SIZE_MAX; /* never filled in */
    assert_int_equal(sized_take(&kind, &given, &out, NULL), FIRN_INVALID);
}

static void what_a_shorter_struct_has_no_room_for_is_not_written(void **state)
{
    (void)state;
    sample given = wishes(), before = defaults(), all = before;
    given.size = offsetof(sample, fourth);
    all.second = 20;
    assert_true(sized_give(&kind, &given, &all, &before));
    assert_int_equal(given.size, offsetof(sample, fourth));
    assert_int_equal(given.second, 20);
    assert_int_equal(given.first, 1);
    assert_ptr_equal(given.fourth, wishes().fourth); /* not its own */
    before = all;
    all.second = 30;
    all.fourth = &given;
    assert_false(sized_give(&kind, &given, &all, &before));
    assert_int_equal(given.second, 20);
    assert_ptr_equal(given.fourth, wishes().fourth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shorter_struct_leaves_the_rest_at_its_default),
        cmocka_unit_test(no_other_size_is_taken),
        cmocka_unit_test(what_a_shorter_struct_has_no_room_for_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
