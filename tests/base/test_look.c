/* Folders that are read again while another process writes in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <base/look.h>
#include <string.h>

/* The next fingerprint of the folder, and how often it was asked for. */
static uint64_t fingerprints[8];
static unsigned asked;

static int next_fingerprint(fs_dir *dir, uint64_t *out, firn_error *err)
{
    (void)dir;
    (void)err;
    uint64_t next = fingerprints[asked++];
    if (next == 0)
        return FIRN_IO;
    *out = next;
    return FIRN_OK;
}

static void AFolderIsReadAgainAsLongAsItChanges(void **state)
{
    (void)state;
    folder_look l = {.fingerprint = next_fingerprint, .most = 3};
    const uint64_t changes[] = {1, 2, 2, 2};
    memcpy(fingerprints, changes, sizeof changes);
    asked = 0;
    assert_int_equal(look_begin(&l, NULL), FIRN_OK);
    assert_true(look_again(&l)); /* 1, and now 2 */
    assert_int_equal(look_begin(&l, NULL), FIRN_OK);
    assert_false(look_again(&l)); /* 2, and still 2 */
    assert_int_equal(l.count, 2);

    l = (folder_look){.fingerprint = next_fingerprint, .most = 2};
    const uint64_t busy[] = {1, 2, 3, 4};
    memcpy(fingerprints, busy, sizeof busy);
    asked = 0;
    assert_int_equal(look_begin(&l, NULL), FIRN_OK);
    assert_true(look_again(&l));
    assert_int_equal(look_begin(&l, NULL), FIRN_OK);
    assert_false(look_again(&l)); /* not more than twice */

    l = (folder_look){.fingerprint = next_fingerprint, .most = 9};
    const uint64_t fails[] = {5, 0, 0};
    memcpy(fingerprints, fails, sizeof fails);
    asked = 0;
    assert_int_equal(look_begin(&l, NULL), FIRN_OK);
    assert_true(look_again(&l)); /* it is not known that nothing has changed */
    assert_int_equal(look_begin(&l, NULL), FIRN_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AFolderIsReadAgainAsLongAsItChanges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
