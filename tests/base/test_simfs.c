/* The simulated file system: what a process sees of it, and how calls are failed. What is left of
 * it after a crash is tested in test_crash.c. */
#include "check.h"
#include "support/simfs.h"

#include <base/alloc.h>
#include <base/thread.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct bench {
    simfs *sim;
    fs_dir *dir;
} bench;

static bench bench_new(void)
{
    bench b = {.sim = simfs_new(1)};
    assert_int_equal(fs_dir_make(simfs_fs(b.sim), "/data", NULL), FIRN_OK);
    assert_int_equal(fs_dir_open(simfs_fs(b.sim), "/data", &b.dir, NULL), FIRN_OK);
    return b;
}

static void bench_free(bench *b)
{
    fs_dir_close(b->dir);
    assert_int_equal(simfs_open_count(b->sim), 0);
    simfs_free(b->sim);
}

static fs_file *new_file(bench *b, const char *name)
{
    fs_file *f = NULL;
    assert_int_equal(fs_open(b->dir, name, FS_WRITE | FS_CREATE_NEW, &f, NULL), FIRN_OK);
    return f;
}

static void WhatIsWrittenIsRead(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    char got[8] = {0};
    uint64_t size = 0;
    assert_int_equal(fs_write(f, "hello", 5, 700, NULL), FIRN_OK);
    assert_int_equal(fs_read(f, got, 5, 700, NULL), FIRN_OK);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(fs_size(f, &size, NULL), FIRN_OK);
    assert_int_equal(size, 705);
    assert_int_equal(fs_read(f, got, 4, 100, NULL), FIRN_OK);
    assert_memory_equal(got, "\0\0\0\0", 4);
    assert_int_equal(fs_read(f, got, 6, 700, NULL), FIRN_DAMAGED);
    fs_close(f);
    bench_free(&b);
}

static void AMappingAndTransfersAreOnePageCache(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    void *map = NULL;
    char got[4] = {0};
    assert_int_equal(fs_allocate(f, 8192, NULL), FIRN_OK);
    assert_int_equal(fs_map(f, 8192, true, &map, NULL), FIRN_OK);
    assert_int_equal(fs_populate(f, map, 8192, true, NULL), FIRN_OK);
    assert_int_equal(fs_write(f, "abc", 3, 5000, NULL), FIRN_OK);
    assert_memory_equal((char *)map + 5000, "abc", 3);
    memcpy((char *)map + 6000, "xyz", 3);
    fs_stored(f, 6000, 3);
    assert_int_equal(fs_read(f, got, 3, 6000, NULL), FIRN_OK);
    assert_memory_equal(got, "xyz", 3);
    assert_int_equal(fs_unlink(b.dir, "a", NULL), FIRN_OK);
    assert_memory_equal((char *)map + 5000, "abc", 3);
    fs_unmap(f, map, 8192);
    fs_close(f);
    bench_free(&b);
}

static void AMappingBehindTheLastPageIsRefused(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    void *map = NULL;
    assert_int_equal(fs_write(f, "abc", 3, 0, NULL), FIRN_OK);
    const fs_ops *ops = simfs_fs(b.sim)->ops;
    assert_int_equal(ops->map(f, 4097, false, &map), -EINVAL);
    assert_int_equal(ops->map(f, 4096, false, &map), 0);
    fs_unmap(f, map, 4096);
    fs_close(f);
    bench_free(&b);
}

static void AFileKeepsItsAddressWhileItGrows(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    void *map = NULL;
    assert_int_equal(fs_write(f, "abc", 3, 0, NULL), FIRN_OK);
    assert_int_equal(fs_map(f, 3, false, &map, NULL), FIRN_OK);
    for (uint64_t at = 4096; at < 512 * 1024; at *= 2)
        assert_int_equal(fs_write(f, "abc", 3, at, NULL), FIRN_OK);
    assert_memory_equal((char *)map + 65536, "abc", 3);
    fs_unmap(f, map, 3);
    /* Nothing is mapped: now it may move, with what it holds. */
    assert_int_equal(fs_write(f, "abc", 3, 5 << 20, NULL), FIRN_OK);
    char got[3];
    assert_int_equal(fs_read(f, got, 3, 65536, NULL), FIRN_OK);
    assert_memory_equal(got, "abc", 3);
    fs_close(f);
    bench_free(&b);
}

static void CutBytesAreZerosWhenTheFileGrowsAgain(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    char got[4];
    assert_int_equal(fs_write(f, "abcd", 4, 0, NULL), FIRN_OK);
    assert_int_equal(fs_truncate(f, 1, NULL), FIRN_OK);
    assert_int_equal(fs_allocate(f, 4, NULL), FIRN_OK);
    assert_int_equal(fs_read(f, got, 4, 0, NULL), FIRN_OK);
    assert_memory_equal(got, "a\0\0\0", 4);
    fs_close(f);
    bench_free(&b);
}

static void NewFilesAreExclusiveAndRenameReplaces(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    fs_file *g = new_file(&b, "b");
    fs_file *h = NULL;
    char got[1];
    assert_int_equal(fs_write(f, "A", 1, 0, NULL), FIRN_OK);
    assert_int_equal(fs_write(g, "B", 1, 0, NULL), FIRN_OK);
    assert_int_not_equal(fs_open(b.dir, "a", FS_WRITE | FS_CREATE_NEW, &h, NULL), FIRN_OK);
    assert_int_equal(fs_rename(b.dir, "a", "b", NULL), FIRN_OK);
    assert_false(simfs_exists(b.sim, "data/a"));
    assert_int_equal(fs_read(g, got, 1, 0, NULL), FIRN_OK);
    assert_int_equal(got[0], 'B'); /* the replaced file lives on in its handle */
    assert_int_equal(fs_open(b.dir, "b", FS_READ, &h, NULL), FIRN_OK);
    assert_int_equal(fs_read(h, got, 1, 0, NULL), FIRN_OK);
    assert_int_equal(got[0], 'A');
    assert_int_not_equal(fs_write(h, "x", 1, 0, NULL), FIRN_OK); /* opened for reading */
    assert_int_equal(fs_open(b.dir, "a", FS_READ, &h, NULL), FIRN_NOT_FOUND);
    fs_close(f);
    fs_close(g);
    fs_close(h);
    bench_free(&b);
}

static void ALinkIsASecondNameOfOneFile(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    fs_dir *lost = NULL;
    size_t size = 0;
    assert_int_equal(fs_dir_open_in(b.dir, "lost", true, &lost, NULL), FIRN_OK);
    assert_int_equal(fs_link(b.dir, "a", lost, "z", NULL), FIRN_OK);
    assert_int_equal(fs_write(f, "A", 1, 0, NULL), FIRN_OK);
    assert_int_equal(fs_unlink(b.dir, "a", NULL), FIRN_OK);
    assert_int_equal(simfs_peek(b.sim, "/data/lost/z", &size)[0], 'A');
    fs_dir_close(lost);
    fs_close(f);
    bench_free(&b);
}

static int count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return 0;
}

static int stop_listing(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return 77;
}

static void AListingNamesEverythingOnceAndCanBeStopped(void **state)
{
    (void)state;
    bench b = bench_new();
    int count = 0;
    for (char name[2] = "a"; name[0] <= 'e'; name[0]++)
        fs_close(new_file(&b, name));
    assert_int_equal(fs_dir_list(b.dir, count_name, &count, NULL), FIRN_OK);
    assert_int_equal(count, 5);
    assert_int_equal(b.dir->owner->ops->dir_list(b.dir, stop_listing, NULL), 77);
    bench_free(&b);
}

static void ALockKeepsOthersOutUntilItsFileIsClosed(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "LOCK");
    fs_file *g = NULL;
    assert_int_equal(fs_open(b.dir, "LOCK", FS_WRITE, &g, NULL), FIRN_OK);
    assert_int_equal(fs_lock(f, NULL), FIRN_OK);
    assert_int_equal(fs_lock(g, NULL), FIRN_LOCKED);
    fs_close(f);
    assert_int_equal(fs_lock(g, NULL), FIRN_OK);
    fs_close(g);
    bench_free(&b);
}

static void ClocksAndChanceRepeatWithTheSeed(void **state)
{
    (void)state;
    simfs *a = simfs_new(9);
    simfs *b = simfs_new(9);
    simfs *c = simfs_new(10);
    uint8_t x[16], y[16], z[16];
    assert_int_equal(fs_random(simfs_fs(a), x, 16, NULL), FIRN_OK);
    assert_int_equal(fs_random(simfs_fs(b), y, 16, NULL), FIRN_OK);
    assert_int_equal(fs_random(simfs_fs(c), z, 16, NULL), FIRN_OK);
    assert_memory_equal(x, y, 16);
    assert_memory_not_equal(x, z, 16);
    uint64_t before = fs_mono_us(simfs_fs(a));
    assert_true(fs_mono_us(simfs_fs(a)) > before);
    simfs_advance(a, 1000000);
    assert_true(fs_mono_us(simfs_fs(a)) > before + 1000000);
    simfs_free(a);
    simfs_free(b);
    simfs_free(c);
}

static void ACloneIsIndependent(void **state)
{
    (void)state;
    bench b = bench_new();
    size_t size = 0;
    simfs_write_file(b.sim, "data/sub/a", "one", 3);
    simfs *copy = simfs_clone(b.sim);
    simfs_write_file(b.sim, "data/sub/a", "two!", 4);
    assert_memory_equal(simfs_peek(copy, "data/sub/a", &size), "one", 3);
    assert_int_equal(size, 3);
    assert_int_equal(simfs_open_count(copy), 0);
    simfs_free(copy);
    bench_free(&b);
}

/* ---- Failing calls ---- */

static void TheNthCallFailsOnceOrFromThenOn(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    uint64_t before = simfs_calls(b.sim, SIMFS_WRITE);
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_WRITE, .at = 2, .error = EIO});
    assert_int_equal(fs_write(f, "x", 1, 0, NULL), FIRN_OK);
    assert_int_equal(fs_write(f, "y", 1, 0, NULL), FIRN_IO);
    assert_int_equal(fs_write(f, "z", 1, 0, NULL), FIRN_OK);
    assert_int_equal(simfs_calls(b.sim, SIMFS_WRITE) - before, 3);
    simfs_fail(
        b.sim,
        (simfs_fault){.calls = SIMFS_WRITE | SIMFS_SYNC, .at = 1, .error = EIO, .forever = true});
    assert_int_equal(fs_write(f, "x", 1, 0, NULL), FIRN_IO);
    assert_int_equal(fs_sync(f, NULL), FIRN_IO);
    assert_int_equal(fs_truncate(f, 0, NULL), FIRN_OK);
    assert_int_equal(simfs_faults_hit(b.sim), 3);
    simfs_heal(b.sim);
    assert_int_equal(fs_sync(f, NULL), FIRN_OK);
    fs_close(f);
    bench_free(&b);
}

static void EveryKindOfCallCanBeFailed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIMFS_CALLS; i++) {
        bench b = bench_new();
        const fs_ops *ops = simfs_fs(b.sim)->ops;
        fs_file *f = new_file(&b, "a");
        fs_file *g = NULL;
        fs_dir *d = NULL;
        fs_space space;
        fs_entry entry;
        void *map = NULL;
        void *map2 = NULL;
        uint64_t size = 0;
        long holder = 0;
        int count = 0;
        char byte = 0;
        assert_int_equal(ops->allocate(f, 4096), 0);
        assert_int_equal(ops->map(f, 4096, true, &map), 0);
        simfs_fail(b.sim, (simfs_fault){.calls = 1u << i, .at = 1, .error = EDQUOT});
        ssize_t got[SIMFS_CALLS] = {
            ops->dir_open(simfs_fs(b.sim), "/data", &d),
            ops->dir_make(simfs_fs(b.sim), "/new"),
            ops->dir_open_in(b.dir, "sub", true, &d),
            ops->dir_sync(b.dir),
            ops->dir_list(b.dir, count_name, &count),
            ops->dir_space(b.dir, &space),
            ops->rename(b.dir, "a", "b"),
            ops->unlink(b.dir, "b"),
            ops->link(b.dir, "nothing", b.dir, "c"),
            ops->open(b.dir, "nothing", FS_READ, &g),
            ops->open(b.dir, "new", FS_WRITE | FS_CREATE_NEW, &g),
            ops->pread(f, &byte, 1, 0),
            ops->pwrite(f, &byte, 1, 0),
            ops->sync(f),
            ops->size(f, &size),
            ops->truncate(f, 4096 * 2),
            ops->allocate(f, 4096 * 3),
            ops->map(f, 4096, false, &map2),
            ops->populate(f, map, 4096, true),
            ops->lock(f, &holder),
            ops->random(simfs_fs(b.sim), &byte, 1),
            ops->pwrite_durable(f, &byte, 1, 0),
            ops->dir_lock(b.dir, &holder),
            ops->dir_named(b.dir),
            ops->named(b.dir, "a", f),
            ops->look(b.dir, "nothing", &entry),
            ops->move(b.dir, "nothing", b.dir, "d"),
            ops->dir_remove(simfs_fs(b.sim), b.dir, "nothing"),
        };
        if (got[i] != -EDQUOT)
            fail_msg("%s did not fail", simfs_call_name(1u << i));
        for (unsigned j = 0; j < SIMFS_CALLS; j++) {
            if (j != i && got[j] == -EDQUOT)
                fail_msg("%s failed in place of %s", simfs_call_name(1u << j),
                         simfs_call_name(1u << i));
        }
        simfs_free(b.sim); /* with everything that was left open */
    }
}

static void ShortTransfersAndInterruptionsAreCompleted(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    char got[10] = {0};
    simfs_fail(
        b.sim,
        (simfs_fault){.calls = SIMFS_TRANSFERS, .at = 1, .error = SIMFS_SHORT, .forever = true});
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_ANY, .at = 1, .error = EINTR, .forever = true});
    uint64_t before = simfs_calls(b.sim, SIMFS_WRITE);
    assert_int_equal(fs_write(f, "0123456789", 10, 0, NULL), FIRN_OK);
    assert_true(simfs_calls(b.sim, SIMFS_WRITE) - before > 4); /* 5, 3, 1, 1, each interrupted */
    assert_int_equal(fs_read(f, got, 10, 0, NULL), FIRN_OK);
    assert_memory_equal(got, "0123456789", 10);
    assert_int_equal(fs_sync(f, NULL), FIRN_OK);
    fs_close(f);
    bench_free(&b);
}

static void AFaultCanBeAboutOneFileAndComeAfterTheEffect(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_close(new_file(&b, "a"));
    fs_close(new_file(&b, "b"));
    simfs_fail(
        b.sim,
        (simfs_fault){.calls = SIMFS_UNLINK, .at = 1, .error = EIO, .after = true, .name = "b"});
    assert_int_equal(fs_unlink(b.dir, "a", NULL), FIRN_OK);
    assert_int_equal(fs_unlink(b.dir, "b", NULL), FIRN_IO);
    assert_false(simfs_exists(b.sim, "data/b"));
    bench_free(&b);
}

static int refuse_third(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)index;
    (void)name;
    if (call != SIMFS_WRITE)
        return 0;
    return ++*(int *)ctx == 3 ? EIO : 0;
}

static void AHookSeesEveryCallAndMayRefuseIt(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    int writes = 0;
    simfs_on_call(b.sim, refuse_third, &writes);
    assert_int_equal(fs_write(f, "x", 1, 0, NULL), FIRN_OK);
    assert_int_equal(fs_write(f, "x", 1, 0, NULL), FIRN_OK);
    assert_int_equal(fs_write(f, "x", 1, 0, NULL), FIRN_IO);
    simfs_on_call(b.sim, NULL, NULL);
    assert_int_equal(fs_write(f, "x", 1, 0, NULL), FIRN_OK);
    assert_int_equal(writes, 3);
    fs_close(f);
    bench_free(&b);
}

static void ADiskFillsUpAndIsFreed(void **state)
{
    (void)state;
    bench b = bench_new();
    fs_file *f = new_file(&b, "a");
    fs_file *g = new_file(&b, "b");
    fs_space space;
    char data[600] = {0};
    simfs_capacity(b.sim, 1000);
    assert_int_equal(fs_write(f, data, 600, 0, NULL), FIRN_OK);
    assert_int_equal(simfs_fs(b.sim)->ops->pwrite(g, data, 600, 0), 400); /* short, then full */
    assert_int_equal(simfs_fs(b.sim)->ops->pwrite(g, data, 200, 400), -ENOSPC);
    assert_int_equal(fs_write(f, data, 600, 0, NULL), FIRN_OK); /* in place */
    assert_int_equal(fs_allocate(f, 601, NULL), FIRN_NO_SPACE);
    assert_int_equal(fs_dir_space(b.dir, &space, NULL), FIRN_OK);
    assert_int_equal(space.free_bytes, 0);
    assert_int_equal(fs_unlink(b.dir, "a", NULL), FIRN_OK);
    assert_int_equal(fs_allocate(g, 700, NULL), FIRN_NO_SPACE); /* still open */
    fs_close(f);
    assert_int_equal(fs_allocate(g, 700, NULL), FIRN_OK);
    assert_int_equal(fs_truncate(g, 100, NULL), FIRN_OK);
    assert_int_equal(simfs_used(b.sim), 100);
    fs_close(g);
    bench_free(&b);
}

static void TheBenchSurvivesFailingAllocations(void **state)
{
    (void)state;
    bench b = bench_new();
    alloc_fail_at(1);
    fs_file *f = NULL;
    assert_int_equal(simfs_fs(b.sim)->ops->open(b.dir, "a", FS_WRITE | FS_CREATE_NEW, &f), 0);
    assert_int_equal(simfs_fs(b.sim)->ops->pwrite(f, "abc", 3, 0), 3);
    assert_null(heap_alloc(1)); /* it was still armed */
    fs_close(f);
    bench_free(&b);
}

/* ---- Damage from outside ---- */

static int join_paths(void *ctx, const char *path, uint64_t size)
{
    size_t used = strlen(ctx);
    snprintf((char *)ctx + used, 200 - used, "%s=%u ", path, (unsigned)size);
    return 0;
}

static void FilesCanBeListedDamagedSwappedAndRemoved(void **state)
{
    (void)state;
    simfs *s = simfs_new(1);
    size_t size = 0;
    char paths[200] = "";
    simfs_write_file(s, "d/b", "bb", 2);
    simfs_write_file(s, "d/sub/a", "aaa", 3);
    assert_int_equal(simfs_each(s, "", join_paths, paths), 0);
    assert_string_equal(paths, "d/b=2 d/sub/a=3 ");
    simfs_flip_bit(s, "d/b", 9);
    assert_memory_equal(simfs_peek(s, "d/b", &size), "b`", 2);
    simfs_swap_files(s, "d/b", "d/sub/a");
    assert_memory_equal(simfs_peek(s, "d/b", &size), "aaa", 3);
    assert_memory_equal(simfs_peek(s, "d/sub/a", &size), "b`", 2);
    simfs_cut(s, "d/b", 1);
    simfs_copy_file(s, "d/b", "d/c");
    simfs_remove(s, "d/b");
    simfs_remove(s, "d/b");
    paths[0] = '\0';
    simfs_each(s, "d", join_paths, paths);
    assert_string_equal(paths, "d/c=1 d/sub/a=2 ");
    simfs_free(s);
}

/* ---- Threads ---- */

typedef struct writer {
    bench *b;
    char name[2];
    bool ok;
} writer;

static void write_own_file(void *arg)
{
    writer *w = arg;
    fs_file *f = NULL;
    w->ok = fs_open(w->b->dir, w->name, FS_WRITE | FS_CREATE_NEW, &f, NULL) == FIRN_OK;
    for (uint64_t i = 0; i < 200 && w->ok; i++)
        w->ok = fs_write(f, w->name, 1, i, NULL) == FIRN_OK && fs_sync(f, NULL) == FIRN_OK;
    fs_close(f);
}

static void ThreadsShareIt(void **state)
{
    (void)state;
    bench b = bench_new();
    writer w[4];
    thread t[4];
    simfs_record(b.sim);
    for (int i = 0; i < 4; i++) {
        w[i] = (writer){&b, {(char)('a' + i), 0}, false};
        assert_int_equal(thread_start(&t[i], "writer", write_own_file, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        thread_join(&t[i]);
        assert_true(w[i].ok);
    }
    assert_int_equal(simfs_changes(b.sim), 4 * (1 + 200 * 2));
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(WhatIsWrittenIsRead),
        cmocka_unit_test(AMappingAndTransfersAreOnePageCache),
        cmocka_unit_test(AMappingBehindTheLastPageIsRefused),
        cmocka_unit_test(AFileKeepsItsAddressWhileItGrows),
        cmocka_unit_test(CutBytesAreZerosWhenTheFileGrowsAgain),
        cmocka_unit_test(NewFilesAreExclusiveAndRenameReplaces),
        cmocka_unit_test(ALinkIsASecondNameOfOneFile),
        cmocka_unit_test(AListingNamesEverythingOnceAndCanBeStopped),
        cmocka_unit_test(ALockKeepsOthersOutUntilItsFileIsClosed),
        cmocka_unit_test(ClocksAndChanceRepeatWithTheSeed),
        cmocka_unit_test(ACloneIsIndependent),
        cmocka_unit_test(TheNthCallFailsOnceOrFromThenOn),
        cmocka_unit_test(EveryKindOfCallCanBeFailed),
        cmocka_unit_test(ShortTransfersAndInterruptionsAreCompleted),
        cmocka_unit_test(AFaultCanBeAboutOneFileAndComeAfterTheEffect),
        cmocka_unit_test(AHookSeesEveryCallAndMayRefuseIt),
        cmocka_unit_test(ADiskFillsUpAndIsFreed),
        cmocka_unit_test(TheBenchSurvivesFailingAllocations),
        cmocka_unit_test(FilesCanBeListedDamagedSwappedAndRemoved),
        cmocka_unit_test(ThreadsShareIt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
