/* Error details: what a user gets to read. */
#include "check.h"

#include <base/alloc.h>
#include <base/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void EveryStatusHasItsName(void **state)
{
    (void)state;
    static const char *const names[] = {
        "FIRN_OK",        "FIRN_NOT_FOUND", "FIRN_END",         "FIRN_INVALID",   "FIRN_TOO_LARGE",
        "FIRN_IO",        "FIRN_NO_SPACE",  "FIRN_NO_MEMORY",   "FIRN_DAMAGED",   "FIRN_LOCKED",
        "FIRN_READ_ONLY", "FIRN_POISONED",  "FIRN_UNSUPPORTED", "FIRN_TIMED_OUT", "FIRN_CANCELLED",
        "FIRN_CONFLICT",  "FIRN_DROPPED"};
    assert_int_equal(COUNT_OF(names), FIRN_DROPPED + 1);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_string_equal(firn_status_name((int)i), names[i]);
    assert_string_equal(firn_status_name(-1), "unknown firn_status");
    assert_string_equal(firn_status_name(FIRN_DROPPED + 1), "unknown firn_status");
}

static void AnErrorReadsAsOneLine(void **state)
{
    (void)state;
    firn_error e;
    char text[512];
    error_system(&e, "/data/000001.log", 4096, ENOSPC, "write");
    size_t length = firn_error_format(&e, text, sizeof text);
    assert_string_equal(text, "cannot write: /data/000001.log at offset 4096: No space left on "
                              "device (free some space on the volume; writing resumes by itself)");
    assert_int_equal(length, strlen(text));

    error_set(&e, FIRN_INVALID, "option %s is %d", "levels", -1);
    firn_error_format(&e, text, sizeof text);
    assert_string_equal(text, "option levels is -1");

    error_file(&e, FIRN_DAMAGED, "a.sst", 0, "wrong checksum");
    error_hint(&e, "run %s", "firn check");
    firn_error_format(&e, text, sizeof text);
    assert_string_equal(text, "wrong checksum: a.sst at offset 0 (run firn check)");

    error_clear(&e);
    firn_error_format(&e, text, sizeof text);
    assert_string_equal(text, "FIRN_OK");
}

static void FormattingFillsAnyBufferAndSaysWhatItNeeds(void **state)
{
    (void)state;
    firn_error e;
    char whole[512];
    error_system(&e, "/data/000001.log", 77, EIO, "sync");
    size_t length = firn_error_format(&e, whole, sizeof whole);
    assert_int_equal(firn_error_format(&e, NULL, 0), length);
    for (size_t size = 1; size <= length + 1; size++) {
        char *text = malloc(size);
        assert_non_null(text);
        assert_int_equal(firn_error_format(&e, text, size), length);
        assert_int_equal(strlen(text), size - 1);
        assert_memory_equal(text, whole, size - 1);
        free(text);
    }
}

static void LongTextsAreCutAndAPathKeepsItsEnd(void **state)
{
    (void)state;
    firn_error e;
    char path[1000];
    memset(path, 'd', sizeof path);
    memcpy(path + sizeof path - 12, "/000042.log", 12);
    error_file(&e, FIRN_IO, path, FIRN_NO_OFFSET, "%s", path);
    assert_int_equal(strlen(e.file), sizeof e.file - 1);
    assert_memory_equal(e.file, "...ddd", 6);
    assert_string_equal(e.file + strlen(e.file) - 11, "/000042.log");
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
    error_hint(&e, "%s", path);
    assert_int_equal(strlen(e.hint), sizeof e.hint - 1);

    path[sizeof e.file - 1] = '\0'; /* the longest that fits */
    error_file(&e, FIRN_IO, path, FIRN_NO_OFFSET, "x");
    assert_string_equal(e.file, path);
}

static void StatusAndHintFollowFromErrno(void **state)
{
    (void)state;
    static const struct {
        int sys_errno;
        int status;
        const char *hint;
    } cases[] = {
        {ENOSPC, FIRN_NO_SPACE, "free some space"},
        {EDQUOT, FIRN_NO_SPACE, "quota"},
        {EFBIG, FIRN_NO_SPACE, "ulimit -f"},
        {ENOMEM, FIRN_NO_MEMORY, "memory"},
        {EIO, FIRN_IO, "dmesg"},
        {EACCES, FIRN_IO, "permissions"},
        {EPERM, FIRN_IO, "permissions"},
        {EMFILE, FIRN_NO_MEMORY, "ulimit -n"},
        {ENFILE, FIRN_NO_MEMORY, "fs.file-max"},
        {EROFS, FIRN_IO, "read-only"},
        {EEXIST, FIRN_IO, "another name"},
        {ENOTDIR, FIRN_IO, "folder"},
        {EISDIR, FIRN_IO, "plain file"},
        {ELOOP, FIRN_IO, "links are not followed"},
        {ENAMETOOLONG, FIRN_IO, "shorter"},
        {EXDEV, FIRN_IO, "same file system"},
        {EMLINK, FIRN_IO, "links"},
        {ESTALE, FIRN_IO, "mount"},
        {ENXIO, FIRN_IO, "mount"},
        {ENODEV, FIRN_IO, "mount"},
        {EBADF, FIRN_IO, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        firn_error e;
        assert_int_equal(error_system(&e, "f", 5, cases[i].sys_errno, "open"), cases[i].status);
        assert_int_equal(e.status, cases[i].status);
        assert_int_equal(e.sys_errno, cases[i].sys_errno);
        assert_string_equal(e.message, "cannot open");
        assert_string_equal(e.file, "f");
        assert_true(e.offset == 5);
        assert_non_null(strstr(e.hint, cases[i].hint));
    }
}

static void NotFoundIsDescribedAndBecomesAFailureToACallerThatNeedsTheFile(void **state)
{
    (void)state;
    firn_error e;
    memset(&e, 0xa5, sizeof e);
    assert_int_equal(error_system(&e, "f", 0, ENOENT, "open"), FIRN_NOT_FOUND);
    assert_int_equal(e.status, FIRN_NOT_FOUND);
    assert_string_equal(e.file, "f");
    assert_string_equal(e.message, "cannot open");
    assert_true(e.hint[0] != '\0');
    assert_int_equal(error_needed(&e, FIRN_NOT_FOUND), FIRN_IO);
    assert_int_equal(e.status, FIRN_IO);
    assert_string_equal(e.message, "cannot open");
    assert_int_equal(error_needed(&e, FIRN_OK), FIRN_OK);
    assert_int_equal(error_needed(NULL, FIRN_NOT_FOUND), FIRN_IO);
}

static void AGivenErrorIsTheOneThatWasFoundOrGetsAText(void **state)
{
    (void)state;
    firn_error e, before, found;
    memset(&e, 0xa5, sizeof e);
    before = e;
    error_set(&found, FIRN_IO, "why");
    assert_int_equal(error_give(&e, FIRN_OK, &found), FIRN_OK);
    assert_memory_equal(&e, &before, sizeof e);
    assert_int_equal(error_give(&e, FIRN_IO, &found), FIRN_IO);
    assert_memory_equal(&e, &found, sizeof e);
    memset(&e, 0xa5, sizeof e);
    assert_int_equal(error_give(&e, FIRN_DAMAGED, &found), FIRN_DAMAGED); /* not described */
    assert_int_equal(e.status, FIRN_DAMAGED);
    assert_string_equal(e.message, "the call failed with FIRN_DAMAGED");
    assert_string_equal(e.file, "");
    assert_int_equal(error_give(NULL, FIRN_IO, &found), FIRN_IO);
}

static void AThreadThatFindsNoMemoryIsALackOfMemory(void **state)
{
    (void)state;
    static const struct {
        int sys_errno, status;
    } cases[] = {{EAGAIN, FIRN_NO_MEMORY}, {ENOMEM, FIRN_NO_MEMORY}, {EPERM, FIRN_IO}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        firn_error e;
        memset(&e, 0xa5, sizeof e);
        assert_int_equal(error_thread(&e, "f", cases[i].sys_errno), cases[i].status);
        assert_int_equal(e.status, cases[i].status);
        assert_true(e.hint[0] != '\0');
    }
    assert_int_equal(error_thread(NULL, "f", EAGAIN), FIRN_NO_MEMORY);
}

static void TheHintOfACurableErrorFitsItsCause(void **state)
{
    (void)state;
    static const struct {
        int sys_errno;
        const char *hint;
    } cases[] = {{ENOSPC, "disk"},      {EDQUOT, "quota"},       {EFBIG, "ulimit -f"},
                 {EMFILE, "ulimit -n"}, {ENFILE, "fs.file-max"}, {ENOMEM, "memory"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        firn_error e;
        error_system(&e, "f", 0, cases[i].sys_errno, "write");
        error_hint_curable(&e, ", and go on");
        assert_non_null(strstr(e.hint, cases[i].hint));
        assert_non_null(strstr(e.hint, ", and go on"));
    }
    error_hint_curable(NULL, "");
}

static void ANewErrorLeavesNothingOfTheOldOne(void **state)
{
    (void)state;
    firn_error e;
    error_system(&e, "file", 77, EIO, "read");
    error_set(&e, FIRN_INVALID, "short");
    assert_int_equal(e.sys_errno, 0);
    assert_true(e.offset == FIRN_NO_OFFSET);
    assert_string_equal(e.file, "");
    assert_string_equal(e.hint, "");
}

static void AnErrorMayWrapItself(void **state)
{
    (void)state;
    firn_error e;
    error_file(&e, FIRN_IO, "file", 3, "inner");
    error_file(&e, FIRN_DAMAGED, e.file, e.offset, "outer, since %s", e.message);
    assert_string_equal(e.message, "outer, since inner");
    assert_string_equal(e.file, "file");
    assert_true(e.offset == 3);
}

static void NoCallerHasToAskForTheDetail(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, FIRN_INVALID, "x"), FIRN_INVALID);
    assert_int_equal(error_file(NULL, FIRN_DAMAGED, "f", 0, "x"), FIRN_DAMAGED);
    assert_int_equal(error_system(NULL, "f", 0, EIO, "x"), FIRN_IO);
    assert_int_equal(error_no_memory(NULL), FIRN_NO_MEMORY);
    error_hint(NULL, "x");
    error_clear(NULL);
}

static void refuse(size_t bytes)
{
    alloc_fail_at(1);
    assert_null(heap_alloc(bytes));
    alloc_fail_at(0);
}

static void ALackOfMemoryTellsASizeThatAUserKnowsAndNoOther(void **state)
{
    (void)state;
    firn_error e;
    refuse((1 << 20) - 1); /* some struct or array */
    assert_int_equal(error_no_memory(&e), FIRN_NO_MEMORY);
    assert_string_equal(e.message, "out of memory");
    assert_true(strstr(e.hint, "give the process more memory") != NULL);
    refuse((size_t)32 << 20); /* a segment of the log */
    assert_int_equal(error_no_memory(&e), FIRN_NO_MEMORY);
    assert_string_equal(e.message, "out of memory: 32 MiB were asked for");
    assert_true(strstr(e.hint, "give the process more memory") != NULL);
    error_no_memory(&e); /* of the next failure it is not told again */
    assert_string_equal(e.message, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(EveryStatusHasItsName),
        cmocka_unit_test(AnErrorReadsAsOneLine),
        cmocka_unit_test(FormattingFillsAnyBufferAndSaysWhatItNeeds),
        cmocka_unit_test(LongTextsAreCutAndAPathKeepsItsEnd),
        cmocka_unit_test(StatusAndHintFollowFromErrno),
        cmocka_unit_test(NotFoundIsDescribedAndBecomesAFailureToACallerThatNeedsTheFile),
        cmocka_unit_test(AGivenErrorIsTheOneThatWasFoundOrGetsAText),
        cmocka_unit_test(AThreadThatFindsNoMemoryIsALackOfMemory),
        cmocka_unit_test(TheHintOfACurableErrorFitsItsCause),
        cmocka_unit_test(ANewErrorLeavesNothingOfTheOldOne),
        cmocka_unit_test(AnErrorMayWrapItself),
        cmocka_unit_test(NoCallerHasToAskForTheDetail),
        cmocka_unit_test(ALackOfMemoryTellsASizeThatAUserKnowsAndNoOther),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
