/* The folder lost/: names that are never used twice, a second name for a whole file, a copy where that cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/lost.h>
#include <errno.h>

#include "support/crash.h"

#define FOLDER "/store"
#define BYTES  150000

static uint8_t content[BYTES];

typedef struct world {
    simfs *sim;
    lost lost;
} world;

static world world_new(void)
{
    world w = {.sim = simfs_new(1)};
    for (size_t i = 0; i < BYTES; i++)
        content[i] = (uint8_t)(1 + i % 251);
    simfs_write_file(w.sim, FOLDER "/a.tbl", content, BYTES);
    assert_int_equal(fs_dir_open(simfs_fs(w.sim), FOLDER, &w.lost.store, NULL), FIRN_OK);
    return w;
}

static void world_free(world *w)
{
    lost_close(&w->lost);
    fs_dir_close(w->lost.store);
    assert_int_equal(simfs_open_count(w->sim), 0);
    simfs_free(w->sim);
}

static void NamesAreNeverUsedTwice(void **state)
{
    (void)state;
    world w = world_new();
    char name[FS_NAME_MAX + 1];
    simfs_write_file(w.sim, FOLDER "/lost/other-41", "x", 1);
    simfs_write_file(w.sim, FOLDER "/lost/strange-99x", "x", 1);
    simfs_write_file(w.sim, FOLDER "/lost/no number", "x", 1);
    assert_int_equal(lost_name(&w.lost, "b", name, NULL), FIRN_OK);
    assert_string_equal(name, "b-42");
    assert_int_equal(lost_name(&w.lost, "b", name, NULL), FIRN_OK);
    assert_string_equal(name, "b-43");
    world_free(&w);
}

static void NothingIsMadeBeforeSomethingIsKept(void **state)
{
    (void)state;
    world w = world_new();
    assert_int_equal(lost_sync(&w.lost, NULL), FIRN_OK);
    assert_null(w.lost.dir);
    world_free(&w);
}

static void must_hold(simfs *sim, const char *path, uint64_t zero_from, uint64_t zero_to)
{
    size_t size = 0;
    assert_true(simfs_exists(sim, path));
    const uint8_t *got = simfs_peek(sim, path, &size);
    assert_int_equal(size, BYTES);
    for (size_t i = 0; i < BYTES; i++)
        assert_int_equal(got[i], i >= zero_from && i < zero_to ? 0 : content[i]);
}

static void AFileGetsASecondName(void **state)
{
    (void)state;
    world w = world_new();
    uint64_t used = simfs_used(w.sim);
    assert_int_equal(lost_keep(&w.lost, "a.tbl", NULL), FIRN_OK);
    assert_int_equal(lost_keep(&w.lost, "a.tbl", NULL), FIRN_OK);
    assert_int_equal(simfs_used(w.sim), used);
    must_hold(w.sim, FOLDER "/lost/a.tbl-1", 0, 0);
    must_hold(w.sim, FOLDER "/lost/a.tbl-2", 0, 0);
    assert_int_equal(lost_keep(&w.lost, "b.tbl", NULL), FIRN_NOT_FOUND);
    world_free(&w);
}

static void WithoutLinksItIsCopied(void **state)
{
    (void)state;
    world w = world_new();
    simfs_fail(w.sim, (simfs_fault){.calls = SIMFS_LINK, .at = 1, .error = EPERM, .forever = true});
    assert_int_equal(lost_keep(&w.lost, "a.tbl", NULL), FIRN_OK);
    must_hold(w.sim, FOLDER "/lost/a.tbl-1", 0, 0);
    simfs_poke(w.sim, FOLDER "/a.tbl", 0, "changed", 7);
    must_hold(w.sim, FOLDER "/lost/a.tbl-1", 0, 0);
    world_free(&w);
}

/* The second chunk fails as a whole, and then one sector of it. */
static int fail_sector(void *ctx, unsigned call, uint64_t index, const char *name)
{
    uint64_t *reads = ctx;
    (void)index;
    (void)name;
    if (call == SIMFS_LINK)
        return EPERM;
    if (call != SIMFS_READ)
        return 0;
    ++*reads;
    return *reads == 2 || *reads == 5 ? EIO : 0;
}

static void SectorsThatCannotBeReadAreZerosInTheCopy(void **state)
{
    (void)state;
    world w = world_new();
    uint64_t reads = 0;
    simfs_on_call(w.sim, fail_sector, &reads);
    assert_int_equal(lost_keep(&w.lost, "a.tbl", NULL), FIRN_OK);
    simfs_on_call(w.sim, NULL, NULL);
    must_hold(w.sim, FOLDER "/lost/a.tbl-1", 65536 + 2 * 4096, 65536 + 3 * 4096);
    world_free(&w);
}

static void ACopyThatFailsLeavesNothing(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        world w = world_new();
        firn_error err = {0};
        simfs_fail(w.sim,
                   (simfs_fault){.calls = SIMFS_LINK, .at = 1, .error = how ? EPERM : ENOSPC});
        if (how == 1)
            simfs_fail(w.sim, (simfs_fault){.calls = SIMFS_WRITE, .at = 2, .error = ENOSPC});
        else if (how == 2)
            simfs_fail(w.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
        else if (how == 3)
            alloc_fail_at(1);
        int rc = lost_keep(&w.lost, "a.tbl", &err);
        alloc_fail_at(0);
        assert_int_equal(rc, how == 2 ? FIRN_IO : how == 3 ? FIRN_NO_MEMORY : FIRN_NO_SPACE);
        assert_int_equal(err.status, rc);
        assert_false(simfs_exists(w.sim, FOLDER "/lost/a.tbl-1"));
        simfs_heal(w.sim);
        assert_int_equal(lost_keep(&w.lost, "a.tbl", &err), FIRN_OK);
        must_hold(w.sim, FOLDER "/lost/a.tbl-2", 0, 0);
        world_free(&w);
    }
}

/* ---- Durable ---- */

static int kept(void *ctx, crash_state *state)
{
    (void)ctx;
    size_t size = 0;
    if (!state->marks[0])
        return 0;
    if (!simfs_exists(state->sim, FOLDER "/lost/a.tbl-1"))
        return crash_wrong(state, "its name is gone");
    const uint8_t *got = simfs_peek(state->sim, FOLDER "/lost/a.tbl-1", &size);
    return size == BYTES && memcmp(got, content, BYTES) == 0 ? 0
                                                             : crash_wrong(state, "it is changed");
}

static void WhatIsKeptIsDurableOnceSynced(void **state)
{
    (void)state;
    for (int links = 0; links < 2; links++) {
        world w = world_new();
        fs_file *f = NULL;
        simfs_remove(w.sim, FOLDER "/a.tbl");
        simfs_record(w.sim);
        assert_int_equal(fs_open(w.lost.store, "a.tbl", FS_WRITE | FS_CREATE_NEW, &f, NULL),
                         FIRN_OK);
        assert_int_equal(fs_write(f, content, BYTES, 0, NULL), FIRN_OK);
        fs_close(f);
        if (!links)
            simfs_fail(w.sim, (simfs_fault){.calls = SIMFS_LINK, .at = 1, .error = EPERM});
        assert_int_equal(lost_keep(&w.lost, "a.tbl", NULL), FIRN_OK);
        assert_int_equal(lost_sync(&w.lost, NULL), FIRN_OK);
        simfs_mark(w.sim, 0, 1);
        assert_int_equal(fs_unlink(w.lost.store, "a.tbl", NULL), FIRN_OK);
        simfs_record_stop(w.sim);
        crash_stats stats = {0};
        crash_options o = crash_options_default("lost", 1, kept, NULL);
        o.singles = 8;
        assert_int_equal(crash_run(w.sim, &o, &stats), 0);
        world_free(&w);
    }
}

/* ---- What is in the way ---- */

static void WhatStandsInThePlaceOfTheFolderIsMovedFirst(void **state)
{
    (void)state;
    world w = world_new();
    simfs_write_file(w.sim, FOLDER "/lost", "a file", 6);
    simfs_write_file(w.sim, FOLDER "/lost-1", "taken", 5);
    assert_int_equal(lost_keep(&w.lost, "a.tbl", NULL), FIRN_OK);
    must_hold(w.sim, FOLDER "/lost/a.tbl-1", 0, 0);
    assert_string_equal(w.lost.aside, "lost-2");
    size_t size = 0;
    assert_memory_equal(simfs_peek(w.sim, FOLDER "/lost-2", &size), "a file", 6);
    assert_memory_equal(simfs_peek(w.sim, FOLDER "/lost-1", &size), "taken", 5);
    world_free(&w);
}

static bool ends_in_tbl(const char *name)
{
    return strstr(name, ".tbl") != NULL;
}

static void note_told(void *ctx, const char *name, const char *what, const char *moved)
{
    char *text = ctx;
    snprintf(text, 200, "%s is %s, now %s", name, what, moved);
}

static void WhatIsNoFileIsMovedAndOthersStay(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        world w = world_new();
        char told[200] = "";
        simfs_write_file(w.sim, FOLDER "/b.tbl/inside", "x", 1);
        simfs_write_file(w.sim, FOLDER "/other/inside", "x", 1);
        if (refused) /* another's folder may be renamed, but not moved */
            simfs_fail(w.sim, (simfs_fault){.calls = SIMFS_MOVE, .at = 1, .error = EACCES});
        assert_int_equal(lost_set_odd_aside(&w.lost, ends_in_tbl, note_told, told, NULL), FIRN_OK);
        assert_true(simfs_exists(w.sim, FOLDER "/other/inside"));
        assert_false(simfs_exists(w.sim, FOLDER "/b.tbl/inside"));
        must_hold(w.sim, FOLDER "/a.tbl", 0, 0);
        if (refused) {
            assert_true(simfs_exists(w.sim, FOLDER "/b.tbl-1/inside"));
            assert_string_equal(told, "b.tbl is a folder, now b.tbl-1");
        } else {
            assert_true(simfs_exists(w.sim, FOLDER "/lost/b.tbl-1/inside"));
            assert_string_equal(told, "b.tbl is a folder, now lost/b.tbl-1");
        }
        world_free(&w);
    }
}

static void AFileThatIsSharedGetsBytesOfItsOwn(void **state)
{
    (void)state;
    world w = world_new();
    assert_int_equal(lost_keep(&w.lost, "a.tbl", NULL), FIRN_OK);
    assert_int_equal(lost_unshare(w.lost.store, "a.tbl", NULL), FIRN_OK);
    must_hold(w.sim, FOLDER "/a.tbl", 0, 0);
    simfs_poke(w.sim, FOLDER "/a.tbl", 0, "changed", 7);
    must_hold(w.sim, FOLDER "/lost/a.tbl-1", 0, 0);
    assert_false(simfs_exists(w.sim, FOLDER "/a.tbl.new"));
    world_free(&w);
}

/* A name that says that all numbers are used up is no reason to believe it. */
static void AnAbsurdNumberIsNotCountedOn(void **state)
{
    (void)state;
    world w = world_new();
    char name[FS_NAME_MAX + 1];
    simfs_write_file(w.sim, FOLDER "/lost/x-18446744073709551614", "x", 1);
    simfs_write_file(w.sim, FOLDER "/lost/x-7", "x", 1);
    assert_int_equal(lost_name(&w.lost, "x", name, NULL), FIRN_OK);
    assert_string_equal(name, "x-8");
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NamesAreNeverUsedTwice),
        cmocka_unit_test(AnAbsurdNumberIsNotCountedOn),
        cmocka_unit_test(WhatStandsInThePlaceOfTheFolderIsMovedFirst),
        cmocka_unit_test(WhatIsNoFileIsMovedAndOthersStay),
        cmocka_unit_test(AFileThatIsSharedGetsBytesOfItsOwn),
        cmocka_unit_test(NothingIsMadeBeforeSomethingIsKept),
        cmocka_unit_test(AFileGetsASecondName),
        cmocka_unit_test(WithoutLinksItIsCopied),
        cmocka_unit_test(SectorsThatCannotBeReadAreZerosInTheCopy),
        cmocka_unit_test(ACopyThatFailsLeavesNothing),
        cmocka_unit_test(WhatIsKeptIsDurableOnceSynced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
