/* The pool of open files: how many descriptors it holds, and what it says of a file that is not the same any more. */
#include "check.h"

#include <base/error.h>
#include <base/fs_pool.h>
#include <base/thread.h>
#include <support/simfs.h>
#include <support/tempdir.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 9, LIMIT = 3 };

static simfs *sim;
static fs_dir *dir;
static fs_pool *pool;
static fs_file *files[FILES];
static firn_error err;

static void name_of(unsigned i, char out[16])
{
    snprintf(out, 16, "f%u", i);
}

static void begin(unsigned limit, bool keeps)
{
    sim = simfs_new(11);
    for (unsigned i = 0; i < FILES; i++) {
        char name[16], path[32], text[16];
        name_of(i, name);
        snprintf(path, sizeof path, "s/%s", name);
        snprintf(text, sizeof text, "contents %u", i);
        simfs_write_file(sim, path, text, 10);
    }
    assert_int_equal(fs_dir_open(simfs_fs(sim), "s", &dir, &err), FIRN_OK);
    assert_int_equal(fs_pool_new(simfs_fs(sim), limit, &pool), FIRN_OK);
    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        name_of(i, name);
        assert_int_equal(fs_pool_open(pool, dir, name, keeps, &files[i], &err), FIRN_OK);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < FILES; i++)
        fs_close(files[i]);
    fs_pool_free(pool);
    fs_dir_close(dir);
    assert_int_equal(simfs_open_count(sim), 0);
    simfs_free(sim);
}

static void reads(unsigned i)
{
    char expected[16], found[16] = "";
    snprintf(expected, sizeof expected, "contents %u", i);
    assert_int_equal(fs_read(files[i], found, 10, 0, &err), FIRN_OK);
    assert_string_equal(found, expected);
}

static void ManyFilesShareFewDescriptors(void **state)
{
    (void)state;
    begin(LIMIT, false);
    for (unsigned step = 0; step < 200; step++) {
        uint64_t size = 0;
        reads(step * 7 % FILES);
        assert_int_equal(fs_size(files[step * 5 % FILES], &size, &err), FIRN_OK);
        assert_int_equal(size, 10);
        assert_true(fs_pool_open_now(pool) <= LIMIT);
    }
    assert_int_equal(simfs_descriptors_most(sim), LIMIT + 1); /* and the folder */
    end();
}

static void AFileThatIsUsedAgainAndAgainKeepsItsDescriptor(void **state)
{
    (void)state;
    begin(LIMIT, false);
    reads(0);
    uint64_t before = simfs_calls(sim, SIMFS_OPEN);
    for (unsigned step = 0; step < 50; step++) {
        reads(0);
        reads(1 + step % (FILES - 1));
        reads(0);
    }
    /* Each of the others is opened anew when its turn comes; it is not. */
    assert_true(simfs_calls(sim, SIMFS_OPEN) - before <= 51);
    end();
}

static void AMappedFileHoldsNoDescriptor(void **state)
{
    (void)state;
    void *address[FILES];
    begin(LIMIT, false);
    for (unsigned i = 0; i < FILES; i++)
        assert_int_equal(fs_map(files[i], 10, false, &address[i], &err), FIRN_OK);
    assert_int_equal(fs_pool_open_now(pool), 0);
    for (unsigned i = 0; i < FILES; i++) {
        assert_memory_equal(address[i], "contents ", 9);
        reads(i);
        fs_unmap(files[i], address[i], 10);
    }
    end();
}

static void tells(unsigned i)
{
    char found[16];
    error_clear(&err);
    assert_int_equal(fs_read(files[i], found, 10, 0, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "removed, replaced or cut"));
    assert_non_null(strstr(err.file, "/f"));
    assert_true(err.hint[0] != 0);
    uint64_t size;
    assert_int_equal(fs_size(files[i], &size, &err), FIRN_DAMAGED);
}

static void AFileThatIsNotTheSameAnyMoreIsToldAndNotRead(void **state)
{
    (void)state;
    begin(1, false); /* so that only the last one that was used is open */
    reads(8);
    simfs_remove(sim, "s/f0");
    simfs_remove(sim, "s/f1");
    simfs_write_file(sim, "s/f1", "contents X", 10);
    simfs_swap_files(sim, "s/f2", "s/f3");
    simfs_cut(sim, "s/f4", 9);
    for (unsigned i = 0; i <= 4; i++)
        if (i != 2 && i != 3)
            tells(i);
    reads(5);
    reads(8);
    end();
}

static void WhatAnotherProcessRemovesCanBeReadWhereItIsKept(void **state)
{
    (void)state;
    begin(1, true);
    reads(8);
    for (unsigned i = 0; i < 4; i++) {
        char path[32];
        snprintf(path, sizeof path, "s/f%u", i);
        simfs_remove(sim, path);
        if (i % 2)
            simfs_write_file(sim, path, "contents X", 10);
    }
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < FILES; i++) {
            uint64_t size = 0;
            reads(i);
            assert_int_equal(fs_size(files[i], &size, &err), FIRN_OK);
            assert_int_equal(size, 10);
        }
    /* A sector that cannot be read is an error there, too. */
    simfs_fail(sim, (simfs_fault){.calls = SIMFS_POPULATE, .at = 1, .error = EFAULT});
    char found[16];
    assert_int_equal(fs_read(files[0], found, 10, 0, &err), FIRN_IO);
    reads(0);
    end();
}

static void ALackOfDescriptorsIsMadeUpForByThoseThatAreNotInUse(void **state)
{
    (void)state;
    begin(FILES - 1, false);
    for (unsigned i = 0; i + 1 < FILES; i++)
        reads(i);
    simfs_descriptor_limit(sim, 4); /* another part of the process has taken the others */
    for (unsigned i = 0; i < 3 * FILES; i++)
        reads(i % FILES);
    simfs_descriptor_limit(sim, 0);
    fs_file *more = NULL;
    assert_int_equal(fs_pool_open(pool, dir, "f0", false, &more, &err), FIRN_NO_MEMORY);
    assert_int_equal(err.sys_errno, EMFILE);
    simfs_descriptor_limit(sim, UINT64_MAX);
    for (unsigned i = 0; i < FILES; i++)
        reads(i);
    end();
}

static void AFailureToOpenAgainIsThatCallsAlone(void **state)
{
    (void)state;
    char found[16];
    begin(1, false);
    simfs_fail(sim, (simfs_fault){.calls = SIMFS_OPEN, .at = 1, .error = EIO});
    assert_int_equal(fs_read(files[0], found, 10, 0, &err), FIRN_IO);
    for (unsigned i = 0; i < FILES; i++)
        reads(i);
    end();
}

static void read_many(void *arg)
{
    unsigned seed = *(const unsigned *)arg;
    for (unsigned step = 0; step < 3000; step++) {
        unsigned i = (step * 31 + seed * 7) % FILES;
        char found[16] = "", expected[16];
        firn_error why;
        snprintf(expected, sizeof expected, "contents %u", i);
        if (fs_read(files[i], found, 10, 0, &why) != FIRN_OK || strcmp(found, expected) != 0)
            abort();
    }
}

static void ThreadsWaitForADescriptorAndGetIt(void **state)
{
    (void)state;
    enum { THREADS = 6 };
    thread threads[THREADS] = {0};
    unsigned seeds[THREADS];
    begin(2, false);
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i;
        assert_int_equal(thread_start(&threads[i], "reader", read_many, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    assert_int_equal(simfs_descriptors_most(sim), 3);
    end();
}

typedef struct slow_read {
    atomic_bool held, begun;
} slow_read;

static int hold_file_0(void *ctx, unsigned call, uint64_t index, const char *name)
{
    slow_read *s = ctx;
    char slow[16];
    (void)index;
    name_of(0, slow);
    if (call != SIMFS_READ || !strstr(name, slow))
        return 0;
    atomic_store(&s->begun, true);
    while (atomic_load(&s->held))
        usleep(1000);
    return 0;
}

static void read_one(void *arg)
{
    char found[16];
    firn_error why;
    if (fs_read(files[*(const unsigned *)arg], found, 10, 0, &why) != FIRN_OK)
        abort();
}

static void note_told(void *ctx, firn_log_level lvl, const char *text)
{
    if (lvl == FIRN_LOG_WARNING && strstr(text, "a caller waits for a file descriptor"))
        atomic_store((atomic_bool *)ctx, true);
}

static void AWaitForADescriptorNamesIt(void **state)
{
    (void)state;
    static const unsigned slow = 0, other = 1;
    slow_read s = {.held = true};
    atomic_bool told = false;
    thread reader = {0}, waiter = {0};
    wait_list list;
    wait_list_now now = {.waiting = 0};
    begin(1, false);
    wait_list_init(&list, simfs_fs(sim), note_told, &told);
    fs_pool_watch(pool, &list);
    simfs_on_call(sim, hold_file_0, &s);
    assert_int_equal(thread_start(&reader, "reader", read_one, (void *)(uintptr_t)&slow), 0);
    while (!atomic_load(&s.begun))
        usleep(1000);
    assert_int_equal(thread_start(&waiter, "waiter", read_one, (void *)(uintptr_t)&other), 0);
    while (now.waiting == 0)
        wait_list_look(&list, &now);
    assert_int_equal(now.longest, FIRN_WAIT_DESCRIPTOR);
    simfs_advance(sim, 2000 * 1000);
    while (!atomic_load(&told))
        usleep(1000);
    atomic_store(&s.held, false);
    thread_join(&reader);
    thread_join(&waiter);
    wait_list_look(&list, &now);
    assert_int_equal(now.waiting, 0);
    assert_int_equal(now.done[FIRN_WAIT_DESCRIPTOR].count, 1);
    simfs_on_call(sim, NULL, NULL);
    end();
    wait_list_release(&list);
}

static void put_file(fs_dir *d, const char *name, const char *text)
{
    fs_file *file = NULL;
    assert_int_equal(fs_open(d, name, FS_WRITE | FS_CREATE_NEW, &file, &err), FIRN_OK);
    assert_int_equal(fs_write(file, text, strlen(text), 0, &err), FIRN_OK);
    fs_close(file);
}

static int real_read(fs_file *file)
{
    char found[16];
    error_clear(&err);
    int rc = fs_read(file, found, 5, 0, &err);
    if (rc == FIRN_OK)
        assert_memory_equal(found, "first", 5);
    return rc;
}

/* On a real file system, where an inode number is given again as soon as its file is gone. */
static void TheRealFileSystemTellsOneFileFromAnother(void **state)
{
    (void)state;
    fs_dir *real = NULL;
    fs_pool *p = NULL;
    fs_file *file = NULL, *other = NULL;
    char *path = tempdir_new();
    assert_int_equal(fs_dir_open(fs_posix(), path, &real, &err), FIRN_OK);
    assert_int_equal(fs_pool_new(fs_posix(), 1, &p), FIRN_OK);
    put_file(real, "a", "first");
    put_file(real, "b", "other");
    assert_int_equal(fs_pool_open(p, real, "a", false, &file, &err), FIRN_OK);
    assert_int_equal(fs_pool_open(p, real, "b", false, &other, &err), FIRN_OK);
    assert_int_equal(real_read(file), FIRN_OK);
    char found[8];
    assert_int_equal(fs_read(other, found, 5, 0, &err), FIRN_OK);
    /* Another name, and back again: the same file. */
    assert_int_equal(fs_rename(real, "a", "c", &err), FIRN_OK);
    assert_int_equal(real_read(file), FIRN_DAMAGED);
    assert_int_equal(fs_link(real, "c", real, "a", &err), FIRN_OK);
    assert_int_equal(real_read(file), FIRN_OK);
    assert_int_equal(fs_read(other, found, 5, 0, &err), FIRN_OK);
    /* A file of the same size in its place, a link, and a folder. */
    assert_int_equal(fs_unlink(real, "a", &err), FIRN_OK);
    assert_int_equal(fs_unlink(real, "c", &err), FIRN_OK);
    put_file(real, "a", "wrong");
    assert_int_equal(real_read(file), FIRN_DAMAGED);
    assert_int_equal(err.sys_errno, EIDRM);
    assert_int_equal(fs_unlink(real, "a", &err), FIRN_OK);
    char name[4096];
    snprintf(name, sizeof name, "%s/a", path);
    assert_int_equal(symlink("b", name), 0);
    assert_int_equal(real_read(file), FIRN_DAMAGED);
    fs_close(file);
    fs_close(other);
    fs_pool_free(p);
    fs_dir_close(real);
    tempdir_remove(path);
}

static void AStoreTakesAPartOfWhatTheProcessMayHave(void **state)
{
    (void)state;
    sim = simfs_new(1);
    simfs_descriptor_limit(sim, 64);
    assert_int_equal(fs_pool_limit(simfs_fs(sim)), 64 / FS_POOL_SHARE);
    simfs_descriptor_limit(sim, 1);
    assert_int_equal(fs_pool_limit(simfs_fs(sim)), FS_POOL_MIN);
    simfs_descriptor_limit(sim, UINT64_MAX);
    assert_true(fs_pool_limit(simfs_fs(sim)) > 1000000);
    simfs_free(sim);
    assert_true(fs_pool_limit(fs_posix()) >= FS_POOL_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ManyFilesShareFewDescriptors),
        cmocka_unit_test(AFileThatIsUsedAgainAndAgainKeepsItsDescriptor),
        cmocka_unit_test(AMappedFileHoldsNoDescriptor),
        cmocka_unit_test(AFileThatIsNotTheSameAnyMoreIsToldAndNotRead),
        cmocka_unit_test(WhatAnotherProcessRemovesCanBeReadWhereItIsKept),
        cmocka_unit_test(ALackOfDescriptorsIsMadeUpForByThoseThatAreNotInUse),
        cmocka_unit_test(AFailureToOpenAgainIsThatCallsAlone),
        cmocka_unit_test(ThreadsWaitForADescriptorAndGetIt),
        cmocka_unit_test(AWaitForADescriptorNamesIt),
        cmocka_unit_test(TheRealFileSystemTellsOneFileFromAnother),
        cmocka_unit_test(AStoreTakesAPartOfWhatTheProcessMayHave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
