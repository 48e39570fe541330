/* Calls that a log refuses: wrong arguments, and use in a child process. */
#include "bed.h"

#include <sys/wait.h>
#include <unistd.h>

static int count_entry(void *ctx, const firn_wal_entry *entry)
{
    (void)entry;
    ++*(int *)ctx;
    return 0;
}

static void WrongArgumentsAreNamed(void **state)
{
    (void)state;
    bed b = bed_new();
    wal *log = NULL;
    EXPECT(FIRN_INVALID, firn_wal_open(NULL, NULL, NULL, &log, err));
    EXPECT(FIRN_INVALID, firn_wal_replay(NULL, 0, count_entry, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_replay(b.log, 0, NULL, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_iterate(NULL, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_iterate(b.log, NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_verify(NULL, NULL, err));
    EXPECT(FIRN_INVALID, firn_wal_verify_path(NULL, NULL, err));
    firn_wal_report_release(NULL);
    OK(firn_wal_close(NULL, err));
    bed_release(&b);
}

static void UseInAChildIsRefused(void **state)
{
    (void)state;
    bed b = bed_new();
    bed_put(&b, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        firn_error error = {0};
        bool refused =
            firn_wal_append(b.log, FIRN_PUT, "k", 1, "v", 1, NULL, NULL, &error) == FIRN_INVALID &&
            error.hint[0] && firn_wal_sync(b.log, &error) == FIRN_INVALID &&
            firn_wal_wait_durable(b.log, 1, 0, &error) == FIRN_INVALID &&
            firn_wal_rotate(b.log, &error) == FIRN_INVALID &&
            firn_wal_checkpoint(b.log, NULL, &error) == FIRN_INVALID &&
            firn_wal_truncate(b.log, 1, NULL, &error) == FIRN_INVALID &&
            firn_wal_close(b.log, &error) == FIRN_INVALID;
        exit(refused ? 0 : 1); /* and not _exit, so that what was run is counted */
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
    bed_put(&b, 2);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(WrongArgumentsAreNamed),
        cmocka_unit_test(UseInAChildIsRefused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
