/* Locks of folders on the real file system, what a fork does to them, how a folder that lost its name is noticed, limits
 * on the size of files, and interruptions. Processes are real ones. */
#include "check.h"

#include <base/error.h>
#include <base/fs.h>
#include <support/tempdir.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A temporary folder, and in it the one that is locked. */
typedef struct fixture {
    char *root;
    char store[256];
    firn_error err;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->root = tempdir_new();
    snprintf(f->store, sizeof f->store, "%s/store", f->root);
    error_clear(&f->err);
    assert_int_equal(mkdir(f->store, 0700), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    tempdir_remove(f->root);
    free(f);
    return 0;
}

static const char *in_root(const fixture *f, const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->root, name);
    return path;
}

typedef struct held {
    fs_dir *dir;
    fs_file *lock;
} held;

static int take(const char *path, held *h, firn_error *err)
{
    *h = (held){0};
    int rc = fs_dir_open(fs_posix(), path, &h->dir, err);
    return rc == FIRN_OK ? fs_dir_lock(h->dir, &h->lock, err) : rc;
}

static void let_go(held *h)
{
    fs_close(h->lock);
    fs_dir_close(h->dir);
    *h = (held){0};
}

static int try_once(const char *path, firn_error *err)
{
    held h;
    int rc = take(path, &h, err);
    let_go(&h);
    return rc;
}

/* Runs fn in a child; its exit status is what fn returns. */
static pid_t start_child(fixture *f, int (*fn)(fixture *f, int ready), int *ready)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        _exit(fn(f, ends[1]));
    }
    close(ends[1]);
    *ready = ends[0];
    return pid;
}

static int end_of(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("the child was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* ---- The folder is locked itself ---- */

static void ARemovedOrReplacedLockFileLetsNoSecondOpenerIn(void **state)
{
    fixture *f = *state;
    held h;
    char lock[512], copy[512];
    snprintf(lock, sizeof lock, "%s/LOCK", f->store);
    snprintf(copy, sizeof copy, "%s/copy", f->root);
    assert_int_equal(take(f->store, &h, &f->err), FIRN_OK);
    assert_int_equal(fs_dir_held(h.dir, h.lock, &f->err), FIRN_OK);
    assert_int_equal(f->err.status, FIRN_OK);

    assert_int_equal(unlink(lock), 0);
    assert_int_equal(try_once(f->store, &f->err), FIRN_LOCKED);
    assert_string_equal(f->err.message, "this process has it open already");
    assert_non_null(strstr(f->err.file, "store/LOCK"));
    assert_int_equal(fs_dir_held(h.dir, h.lock, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, ENOENT);
    assert_non_null(strstr(f->err.message, "lock file was removed"));
    assert_non_null(strstr(f->err.file, "store/LOCK"));
    assert_true(f->err.hint[0] != '\0');
    assert_int_equal(fs_dir_held(h.dir, NULL, &f->err), FIRN_OK); /* the folder is the same */

    FILE *other = fopen(copy, "w");
    assert_non_null(other);
    fclose(other);
    assert_int_equal(rename(copy, lock), 0);
    assert_int_equal(try_once(f->store, &f->err), FIRN_LOCKED);
    assert_int_equal(fs_dir_held(h.dir, h.lock, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, ESTALE);
    assert_non_null(strstr(f->err.message, "replaced"));
    let_go(&h);
    assert_int_equal(try_once(f->store, &f->err), FIRN_OK);
}

/* The same folder by other ways: a link, dots, a mount. */
static void EveryWayToAFolderLeadsToTheSameLock(void **state)
{
    fixture *f = *state;
    held h;
    char dots[512], mounted[512];
    snprintf(dots, sizeof dots, "%s/../store/.", f->store);
    snprintf(mounted, sizeof mounted, "%s/mounted", f->root);
    assert_int_equal(symlink("store", in_root(f, "link")), 0);
    assert_int_equal(mkdir(mounted, 0700), 0);
    assert_int_equal(take(in_root(f, "link"), &h, &f->err), FIRN_OK);
    assert_int_equal(try_once(f->store, &f->err), FIRN_LOCKED);
    assert_int_equal(try_once(dots, &f->err), FIRN_LOCKED);
    if (mount(f->store, mounted, NULL, MS_BIND, NULL) == 0) {
        int rc = try_once(mounted, &f->err);
        assert_int_equal(umount(mounted), 0);
        assert_int_equal(rc, FIRN_LOCKED);
    }
    /* The link may go: the folder has kept its name. */
    assert_int_equal(unlink(in_root(f, "link")), 0);
    assert_int_equal(fs_dir_held(h.dir, h.lock, &f->err), FIRN_OK);
    let_go(&h);
}

/* ---- Forks ---- */

static held inherited;

static int child_that_waits(fixture *f, int ready)
{
    (void)f;
    if (write(ready, "k", 1) != 1)
        return 1;
    for (;;)
        pause();
}

static void WhatAForkCopiedDoesNotHoldTheLock(void **state)
{
    fixture *f = *state;
    int ready;
    char byte;
    assert_int_equal(take(f->store, &inherited, &f->err), FIRN_OK);
    pid_t pid = start_child(f, child_that_waits, &ready);
    assert_int_equal(read(ready, &byte, 1), 1);
    assert_int_equal(try_once(f->store, &f->err), FIRN_LOCKED); /* still ours ... */
    assert_string_equal(f->err.message,
                        "this process has it open already"); /* ... not the child's */
    let_go(&inherited);
    int status = try_once(f->store, &f->err);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(ready);
    if (status != FIRN_OK)
        fail_msg("the child's copy holds the lock: %s", f->err.message);
}

static int child_that_opens(fixture *f, int ready)
{
    firn_error err;
    (void)ready;
    char expected[64];
    snprintf(expected, sizeof expected, "process %ld holds the lock", (long)getppid());
    int rc = try_once(f->store, &err);
    return rc == FIRN_LOCKED && strcmp(err.message, expected) == 0 ? 0 : 1;
}

static int child_that_closes(fixture *f, int ready)
{
    (void)f;
    (void)ready;
    let_go(&inherited);
    return 0;
}

/* The folder and the file, each by itself. */
static bool both_are_locked(const fixture *f)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int folder = open(f->store, O_RDONLY | O_DIRECTORY);
    int file = openat(folder, "LOCK", O_RDWR);
    assert_true(folder >= 0 && file >= 0);
    bool both = flock(folder, LOCK_EX | LOCK_NB) != 0 && fcntl(file, F_OFD_SETLK, &whole) != 0;
    close(file);
    close(folder);
    return both;
}

static void AChildGivesItsParentsLockUpByNothingThatItDoes(void **state)
{
    fixture *f = *state;
    int (*const children[])(fixture *, int) = {child_that_opens, child_that_closes};
    for (size_t i = 0; i < COUNT_OF(children); i++) {
        int ready;
        assert_int_equal(take(f->store, &inherited, &f->err), FIRN_OK);
        assert_int_equal(end_of(start_child(f, children[i], &ready)), 0);
        close(ready);
        /* Another process asks: for this one the answer could be remembered. */
        assert_int_equal(end_of(start_child(f, child_that_opens, &ready)), 0);
        close(ready);
        assert_true(both_are_locked(f));
        let_go(&inherited);
    }
}

static int child_that_races(fixture *f, int ready)
{
    held h;
    int rc = FIRN_LOCKED;
    for (int i = 0; i < 200; i++) {
        rc = take(f->store, &h, NULL);
        if (rc == FIRN_OK && access(in_root(f, "inside"), F_OK) == 0)
            return 2; /* another one is in, too */
        if (rc == FIRN_OK) {
            close(open(in_root(f, "inside"), O_CREAT | O_WRONLY, 0600));
            unlink(in_root(f, "inside"));
        }
        let_go(&h);
        if (rc != FIRN_OK && rc != FIRN_LOCKED)
            return 3;
    }
    (void)ready;
    return 0;
}

static void OfThoseThatRaceForAFolderOnlyOneIsIn(void **state)
{
    fixture *f = *state;
    pid_t pids[4];
    int ready[4];
    for (size_t i = 0; i < COUNT_OF(pids); i++)
        pids[i] = start_child(f, child_that_races, &ready[i]);
    for (size_t i = 0; i < COUNT_OF(pids); i++) {
        assert_int_equal(end_of(pids[i]), 0);
        close(ready[i]);
    }
}

/* ---- A folder that lost its name ---- */

static void expect_lost(held *h, const char *message, firn_error *err)
{
    assert_int_equal(fs_dir_held(h->dir, h->lock, err), FIRN_IO);
    if (!strstr(err->message, message))
        fail_msg("\"%s\" does not say \"%s\"", err->message, message);
    assert_non_null(strstr(err->file, "store"));
    assert_true(err->hint[0] != '\0');
}

static void ARemovedRenamedOrReplacedFolderIsNoticed(void **state)
{
    fixture *f = *state;
    held h;
    char lock[512];
    snprintf(lock, sizeof lock, "%s/LOCK", f->store);
    assert_int_equal(take(f->store, &h, &f->err), FIRN_OK);
    assert_int_equal(rename(f->store, in_root(f, "away")), 0);
    expect_lost(&h, "removed or renamed", &f->err);
    assert_int_equal(mkdir(f->store, 0700), 0);
    expect_lost(&h, "another folder", &f->err);
    assert_int_equal(rmdir(f->store), 0);
    assert_int_equal(rename(in_root(f, "away"), f->store), 0);
    assert_int_equal(fs_dir_held(h.dir, h.lock, &f->err), FIRN_OK); /* back again */
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(rmdir(f->store), 0);
    expect_lost(&h, "removed or renamed", &f->err);
    fs_file *file = NULL;
    assert_int_equal(fs_open(h.dir, "new", FS_WRITE | FS_CREATE_NEW, &file, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, ENOENT);
    assert_non_null(strstr(f->err.hint, "folder was removed"));
    let_go(&h);
}

static void TheFolderAboveMayGoToo(void **state)
{
    fixture *f = *state;
    held h;
    char path[512];
    assert_int_equal(mkdir(in_root(f, "above"), 0700), 0);
    snprintf(path, sizeof path, "%s/above/store", f->root);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(take(path, &h, &f->err), FIRN_OK);
    assert_int_equal(rename(in_root(f, "above"), in_root(f, "elsewhere")), 0);
    expect_lost(&h, "removed or renamed", &f->err);
    /* A file where the folder above was: ENOTDIR. */
    fclose(fopen(in_root(f, "above"), "w"));
    expect_lost(&h, "removed or renamed", &f->err);
    let_go(&h);
}

/* The working folder, the root and the rights of a process may change: that says nothing about the folder. */
static int child_that_moves_itself(fixture *f, int ready)
{
    held h;
    (void)ready;
    if (chdir(f->root) != 0 || take("store", &h, &f->err) != FIRN_OK)
        return 1;
    if (chdir("/") != 0 || fs_dir_held(h.dir, h.lock, &f->err) != FIRN_OK)
        return 2;
    if (getuid() == 0) {
        if (chmod(f->root, 0700) != 0 || setegid(12345) != 0 || seteuid(12345) != 0)
            return 3;
        if (fs_dir_held(h.dir, h.lock, &f->err) != FIRN_OK)
            return 4;
        if (seteuid(0) != 0 || setegid(0) != 0)
            return 5;
        if (chroot(in_root(f, "jail")) != 0 || chdir("/") != 0)
            return 6;
        if (fs_dir_held(h.dir, h.lock, &f->err) != FIRN_OK)
            return 7;
    }
    let_go(&h);
    return 0;
}

static void AProcessThatMovesItselfHasNotLostTheFolder(void **state)
{
    fixture *f = *state;
    int ready;
    assert_int_equal(mkdir(in_root(f, "jail"), 0755), 0);
    assert_int_equal(end_of(start_child(f, child_that_moves_itself, &ready)), 0);
    close(ready);
}

/* ---- Limits on the size of files ---- */

/* With SIGXFSZ as it is by default: passing the limit would end the child. */
static int child_with_a_limit(fixture *f, int ready)
{
    (void)ready;
    static uint8_t bytes[20000];
    fs_dir *dir = NULL;
    fs_file *file = NULL;
    firn_error e;
    signal(SIGXFSZ, SIG_DFL);
    if (fs_dir_open(fs_posix(), f->store, &dir, NULL) != FIRN_OK ||
        fs_open(dir, "a", FS_WRITE | FS_CREATE_NEW, &file, NULL) != FIRN_OK ||
        fs_write(file, bytes, sizeof bytes, 0, NULL) != FIRN_OK)
        return 1;
    const struct rlimit limit = {10000, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 2;
    if (fs_write(file, bytes, 10000, 0, &e) != FIRN_OK)
        return 3; /* up to the limit is fine */
    if (fs_write(file, bytes, 10, 9991, &e) != FIRN_NO_SPACE || e.sys_errno != EFBIG ||
        !strstr(e.hint, "ulimit -f") || !strstr(e.file, "/a"))
        return 4;
    if (fs_write_durable(file, bytes, 10, 15000, &e) != FIRN_NO_SPACE || e.sys_errno != EFBIG)
        return 5;
    if (fs_truncate(file, 30000, &e) != FIRN_NO_SPACE || e.sys_errno != EFBIG)
        return 6;
    if (fs_allocate(file, 30000, &e) != FIRN_NO_SPACE || e.sys_errno != EFBIG)
        return 7;
    if (fs_allocate(file, 20000, &e) != FIRN_OK || fs_truncate(file, 15000, &e) != FIRN_OK)
        return 8; /* neither makes the file longer */
    struct sigaction now;
    if (sigaction(SIGXFSZ, NULL, &now) != 0 || now.sa_handler != SIG_DFL)
        return 9; /* signals are the application's */
    fs_close(file);
    fs_dir_close(dir);
    return 0;
}

static void ALimitOnFileSizesIsAskedForBeforeItKills(void **state)
{
    fixture *f = *state;
    int ready;
    assert_int_equal(end_of(start_child(f, child_with_a_limit, &ready)), 0);
    close(ready);
}

/* ---- Interruptions ---- */

static unsigned interruptions; /* of the next readdir calls */

/* In the place of the C library's. */
struct dirent *readdir(DIR *stream)
{
    static struct dirent *(*real)(DIR *);
    if (!real) {
        void *found = dlsym(RTLD_NEXT, "readdir");
        memcpy(&real, &found, sizeof found);
    }
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return NULL;
    }
    return real(stream);
}

static int count_and_interrupt(void *ctx, const char *name)
{
    (void)name;
    ++*(unsigned *)ctx;
    interruptions = 2;
    return 0;
}

static void AnInterruptedListingShowsEveryNameOnce(void **state)
{
    fixture *f = *state;
    fs_dir *dir = NULL;
    unsigned count = 0;
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "store/%d", i);
        fclose(fopen(in_root(f, name), "w"));
    }
    assert_int_equal(fs_dir_open(fs_posix(), f->store, &dir, &f->err), FIRN_OK);
    interruptions = 3;
    assert_int_equal(fs_dir_list(dir, count_and_interrupt, &count, &f->err), FIRN_OK);
    interruptions = 0;
    assert_int_equal(count, 20);
    fs_dir_close(dir);
}

#define LOCK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCK_TEST(ARemovedOrReplacedLockFileLetsNoSecondOpenerIn),
        LOCK_TEST(EveryWayToAFolderLeadsToTheSameLock),
        LOCK_TEST(WhatAForkCopiedDoesNotHoldTheLock),
        LOCK_TEST(AChildGivesItsParentsLockUpByNothingThatItDoes),
        LOCK_TEST(OfThoseThatRaceForAFolderOnlyOneIsIn),
        LOCK_TEST(ARemovedRenamedOrReplacedFolderIsNoticed),
        LOCK_TEST(TheFolderAboveMayGoToo),
        LOCK_TEST(AProcessThatMovesItselfHasNotLostTheFolder),
        LOCK_TEST(ALimitOnFileSizesIsAskedForBeforeItKills),
        LOCK_TEST(AnInterruptedListingShowsEveryNameOnce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
