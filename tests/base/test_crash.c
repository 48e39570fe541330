/* The crash enumerator: each rule of durability in a script of its own. */
#include "check.h"
#include "support/crash_script.h"

#include <errno.h>
#include <stdlib.h>

#define STATES_MAX 512

typedef struct outcomes {
    char text[STATES_MAX][DRAWING_SIZE];
    crash_model model[STATES_MAX];
    uint64_t point[STATES_MAX];
    uint64_t mark[STATES_MAX];
    size_t count;
    crash_stats stats;
} outcomes;

static int collect(void *ctx, crash_state *state)
{
    outcomes *o = ctx;
    if (o->count == STATES_MAX)
        return crash_wrong(state, "more states than this test can hold");
    draw(state->sim, o->text[o->count]);
    o->model[o->count] = state->model;
    o->point[o->count] = state->point;
    o->mark[o->count++] = state->marks[0];
    return 0;
}

/* The states at the end of the script under one model. */
static outcomes *at_end(script *s, crash_model model)
{
    outcomes *o = calloc(1, sizeof *o);
    assert_non_null(o);
    crash_options options = {.name = "end",
                             .verify = collect,
                             .ctx = o,
                             .models = model,
                             .seed = 5,
                             .combinations = 512,
                             .point_stride = UINT64_MAX}; /* point 0 and the end */
    assert_int_equal(crash_run(s->sim, &options, &o->stats), 0);
    return o;
}

static bool has(const outcomes *o, const char *text)
{
    for (size_t i = 0; i < o->count; i++) {
        if (strcmp(o->text[i], text) == 0)
            return true;
    }
    return false;
}

/* Of the states after simfs_mark(sim, 0, 1): without a mark, a state that equals an earlier one is
 * not looked at again. */
static bool has_since_mark(const outcomes *o, const char *text)
{
    for (size_t i = 0; i < o->count; i++) {
        if (o->mark[i] == 1 && strcmp(o->text[i], text) == 0)
            return true;
    }
    return false;
}

#define assert_may_be(o, text)                                                                     \
    do {                                                                                           \
        if (!has(o, text))                                                                         \
            fail_msg("never seen: %s", text);                                                      \
    } while (0)
#define assert_never(o, text)                                                                      \
    do {                                                                                           \
        if (has(o, text))                                                                          \
            fail_msg("seen: %s", text);                                                            \
    } while (0)

static void end(script *s, fs_file *f, outcomes *o)
{
    script_end(s, f);
    free(o);
}

/* ---- The rules of data ---- */

static void UnsyncedSectorsSurviveAsAnySubset(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AAA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XYZ");
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 8);
    assert_may_be(o, "a=AAA");
    assert_may_be(o, "a=AYA");
    assert_may_be(o, "a=XAZ");
    assert_may_be(o, "a=XYZ");
    end(&s, f, o);
}

static void SyncedSectorsStay(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XX");
    sync_file(f);
    write_letters(f, 1, "Y");
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3); /* also point 0 */
    assert_may_be(o, "a=AA");
    assert_may_be(o, "a=XX");
    assert_may_be(o, "a=XY");
    end(&s, f, o);
}

static void ASectorMayHaveAnyVersionSinceItsSync(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "X");
    write_letters(f, 0, "Y");
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3);
    assert_may_be(o, "a=A");
    assert_may_be(o, "a=X");
    assert_may_be(o, "a=Y");
    end(&s, f, o);
}

static void AGrownFileShowsZerosOrGarbageOrOldBytes(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    given(&s, "old", "PQ");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    assert_int_equal(fs_unlink(s.dir, "old", NULL), FIRN_OK);
    sync_dir(&s);
    write_letters(f, 1, "X");
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=A");
    assert_may_be(o, "a=A0");
    assert_may_be(o, "a=A?");
    assert_may_be(o, "a=AQ");
    assert_may_be(o, "a=AX");
    assert_int_equal(o->count, 6); /* and point 0 */
    end(&s, f, o);
}

static void AllocatedSizeIsPendingUntilSync(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    assert_int_equal(fs_allocate(f, 2 * SECTOR, NULL), FIRN_OK);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=A");
    assert_may_be(o, "a=A0");
    assert_may_be(o, "a=A?");
    free(o);
    sync_file(f);
    o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2);
    assert_may_be(o, "a=A0");
    end(&s, f, o);
}

static void ACutMayComeBackUntilSync(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AB");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    assert_int_equal(fs_truncate(f, SECTOR, NULL), FIRN_OK);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=AB");
    assert_may_be(o, "a=A");
    free(o);
    sync_file(f);
    assert_int_equal(fs_truncate(f, 2 * SECTOR, NULL), FIRN_OK);
    sync_file(f);
    o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2);
    assert_may_be(o, "a=A0");
    end(&s, f, o);
}

static void AnUnannouncedStoreIsLost(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AA");
    fs_file *f = reopen(&s, "a");
    void *map = NULL;
    assert_int_equal(fs_map(f, 2 * SECTOR, true, &map, NULL), FIRN_OK);
    simfs_record(s.sim);
    memset(map, 'X', 2 * SECTOR);
    fs_stored(f, 0, SECTOR);
    sync_file(f);
    outcomes *o = at_end(&s, CRASH_ALL);
    assert_may_be(o, "a=XA");
    assert_never(o, "a=XX");
    fs_unmap(f, map, 2 * SECTOR);
    end(&s, f, o);
}

static void AMappedStoreMayBeTornInsideASector(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    void *map = NULL;
    assert_int_equal(fs_map(f, SECTOR, true, &map, NULL), FIRN_OK);
    simfs_record(s.sim);
    memset(map, 'X', SECTOR);
    fs_stored(f, 0, SECTOR);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3);
    assert_may_be(o, "a=?");
    assert_may_be(o, "a=X");
    free(o);
    sync_file(f);
    memset(map, 'Y', 8); /* an aligned word is stored whole */
    fs_stored(f, 0, 8);
    o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3); /* point 0, X, and YX */
    fs_unmap(f, map, SECTOR);
    end(&s, f, o);
}

static void AFailedSyncLosesDataAndTheNextOneLies(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AAAAAAAAA"); /* a page and a sector */
    fs_file *f = reopen(&s, "a");
    uint8_t got[1];
    simfs_record(s.sim);
    write_letters(f, 0, "X");
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    assert_int_equal(fs_sync(f, NULL), FIRN_IO);
    assert_int_equal(fs_read(f, got, 1, 0, NULL), FIRN_OK);
    assert_int_equal(got[0], 'X'); /* reads see it */
    write_letters(f, 8, "Y");
    sync_file(f); /* success, for what was written since */
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3);
    assert_may_be(o, "a=AAAAAAAAY");
    assert_may_be(o, "a=XAAAAAAAY");
    end(&s, f, o);
}

static void WhatFailedOnceStaysLostWhenItIsWrittenAgain(void **state)
{
    (void)state;
    for (unsigned call = SIMFS_WRITE; call <= SIMFS_SYNC; call <<= 1) {
        script s = script_new();
        given(&s, "a", "AAAAAAAAA");
        fs_file *f = reopen(&s, "a");
        uint8_t got[1];
        simfs_record(s.sim);
        simfs_fail(s.sim, (simfs_fault){.calls = call, .at = 1, .error = EIO});
        uint8_t first[SECTOR];
        memset(first, 'X', sizeof first);
        int wrote = fs_write(f, first, sizeof first, 0, NULL);
        assert_int_equal(call == SIMFS_WRITE ? wrote : fs_sync(f, NULL), FIRN_IO);
        fs_close(f);
        f = reopen(&s, "a"); /* the page cache does not care */
        write_letters(f, 0, "ZZ");
        write_letters(f, 8, "Z");
        sync_file(f);
        assert_int_equal(fs_read(f, got, 1, 0, NULL), FIRN_OK);
        assert_int_equal(got[0], 'Z');
        simfs_mark(s.sim, 0, 1);
        outcomes *o = at_end(&s, CRASH_STRICT);
        assert_true(has_since_mark(o, "a=AAAAAAAAZ")); /* the whole page is lost, no other is */
        assert_true(has_since_mark(o, "a=ZAAAAAAAZ"));
        assert_true(has_since_mark(o, "a=ZZAAAAAAZ"));
        assert_false(has_since_mark(o, "a=AAAAAAAAA"));
        assert_int_equal(has_since_mark(o, "a=XAAAAAAAZ"), call == SIMFS_SYNC);
        free(o);
        o = at_end(&s, CRASH_ORDERED);
        for (size_t i = 0; i < o->count; i++)
            assert_string_equal(o->text[i], o->mark[i] ? "a=AAAAAAAAZ" : "a=AAAAAAAAA");
        end(&s, f, o);
    }
}

static void AStoreBehindAFailedSyncIsLostLikeAWrite(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    void *map = NULL;
    assert_int_equal(fs_map(f, SECTOR, true, &map, NULL), FIRN_OK);
    simfs_record(s.sim);
    memset(map, 'X', SECTOR);
    fs_stored(f, 0, SECTOR);
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    assert_int_equal(fs_sync(f, NULL), FIRN_IO);
    memset(map, 'Z', SECTOR);
    fs_stored(f, 0, SECTOR);
    sync_file(f);
    simfs_mark(s.sim, 0, 1);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_true(has_since_mark(o, "a=A"));
    assert_true(has_since_mark(o, "a=Z"));
    free(o);
    o = at_end(&s, CRASH_ORDERED);
    for (size_t i = 0; i < o->count; i++)
        assert_string_equal(o->text[i], "a=A");
    fs_unmap(f, map, SECTOR);
    end(&s, f, o);
}

static void ANewFileUnderTheNameOfASpoiledOneIsFine(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "X");
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    assert_int_equal(fs_sync(f, NULL), FIRN_IO);
    fs_close(f);
    f = create(&s, "b");
    write_letters(f, 0, "X");
    sync_file(f);
    assert_int_equal(fs_rename(s.dir, "b", "a", NULL), FIRN_OK);
    sync_dir(&s);
    simfs_mark(s.sim, 0, 1);
    outcomes *o = at_end(&s, CRASH_STRICT);
    for (size_t i = 0; i < o->count; i++)
        assert_true(o->mark[i] == 0 || strcmp(o->text[i], "a=X") == 0);
    assert_true(has_since_mark(o, "a=X"));
    end(&s, f, o);
}

static void AWriteThatFoundNoRoomSpoilsNothing(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_WRITE, .at = 1, .error = ENOSPC});
    assert_int_equal(fs_write(f, "X", 1, 0, NULL), FIRN_NO_SPACE);
    write_letters(f, 0, "Z");
    sync_file(f);
    simfs_mark(s.sim, 0, 1);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_false(has_since_mark(o, "a=A"));
    end(&s, f, o);
}

static void ADurableWriteTakesNoOtherSectorAlong(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AAA");
    fs_file *f = reopen(&s, "a");
    uint8_t sector[SECTOR];
    memset(sector, 'Y', sizeof sector);
    simfs_record(s.sim);
    write_letters(f, 0, "XXX");
    assert_int_equal(fs_write_durable(f, sector, sizeof sector, SECTOR, NULL), FIRN_OK);
    simfs_mark(s.sim, 0, 1);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_true(has_since_mark(o, "a=AYA"));
    assert_true(has_since_mark(o, "a=XYA"));
    assert_true(has_since_mark(o, "a=AYX"));
    assert_true(has_since_mark(o, "a=XYX"));
    assert_false(has_since_mark(o, "a=AAA"));
    assert_false(has_since_mark(o, "a=XXX"));
    free(o);
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_WRITE_DURABLE, .at = 1, .error = EIO});
    memset(sector, 'Z', sizeof sector);
    assert_int_equal(fs_write_durable(f, sector, sizeof sector, SECTOR, NULL), FIRN_IO);
    sync_file(f); /* success, but not for those bytes */
    o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=XYX");
    assert_may_be(o, "a=XZX");
    end(&s, f, o);
}

static void AnInterruptedSyncLosesNothing(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "X");
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EINTR});
    sync_file(f);
    assert_int_equal(simfs_faults_hit(s.sim), 1);
    simfs_mark(s.sim, 0, 1);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2); /* point 0 and the end */
    assert_true(has_since_mark(o, "a=X"));
    end(&s, f, o);
}

static void ASizeLostByAFailedSyncStaysOpenButCoversWhatIsSyncedLater(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 2, "X");
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    assert_int_equal(fs_sync(f, NULL), FIRN_IO);
    sync_file(f);
    simfs_mark(s.sim, 0, 1);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_true(has_since_mark(o, "a=A"));
    assert_true(has_since_mark(o, "a=A0X"));
    free(o);
    write_letters(f, 8, "Y"); /* in another page than the one that is lost */
    sync_file(f);
    o = at_end(&s, CRASH_STRICT);
    assert_false(has_since_mark(o, "a=A"));
    assert_true(has_since_mark(o, "a=A0000000Y"));
    assert_true(has_since_mark(o, "a=A0X00000Y"));
    end(&s, f, o);
}

static void ClosingSyncsNothing(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "X");
    fs_close(f);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=A");
    end(&s, NULL, o);
}

/* ---- The rules of names ---- */

static void ANewFileMayVanishUntilItsFolderIsSynced(void **state)
{
    (void)state;
    script s = script_new();
    simfs_record(s.sim);
    fs_file *f = create(&s, "a");
    write_letters(f, 0, "X");
    sync_file(f);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2);
    assert_may_be(o, "");
    assert_may_be(o, "a=X");
    free(o);
    sync_dir(&s);
    o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2); /* point 0 has nothing yet */
    assert_int_equal(o->point[0], 0);
    assert_string_equal(o->text[1], "a=X");
    end(&s, f, o);
}

static void ARenameGivesEitherNameNeverBothNeverNone(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    given(&s, "b", "B");
    simfs_record(s.sim);
    assert_int_equal(fs_rename(s.dir, "a", "b", NULL), FIRN_OK);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2);
    assert_may_be(o, "a=A b=B");
    assert_may_be(o, "b=A");
    end(&s, NULL, o);
}

static void AnUnlinkMayLandEarlyOrLate(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    simfs_record(s.sim);
    fs_file *f = create(&s, "b");
    assert_int_equal(fs_unlink(s.dir, "a", NULL), FIRN_OK);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 4);
    assert_may_be(o, "a=A b="); /* late */
    assert_may_be(o, "");       /* early: before the file that was made first */
    free(o);
    o = at_end(&s, CRASH_ORDERED);
    assert_int_equal(o->count, 3);
    assert_never(o, "");
    end(&s, f, o);
}

static void AnUnlinkTakesItsOwnFileOnly(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    given(&s, "b", "B");
    simfs_record(s.sim);
    assert_int_equal(fs_rename(s.dir, "a", "b", NULL), FIRN_OK);
    assert_int_equal(fs_unlink(s.dir, "b", NULL), FIRN_OK);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3);
    assert_may_be(o, "b=A");
    assert_may_be(o, "");
    assert_never(o, "a=A"); /* the rename was lost: the old b was never unlinked */
    end(&s, NULL, o);
}

static void AFileWhoseCreationIsLostIsGoneWhateverItWasRenamedTo(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "b", "B");
    simfs_record(s.sim);
    fs_file *f = create(&s, "a");
    write_letters(f, 0, "X");
    sync_file(f);
    assert_int_equal(fs_rename(s.dir, "a", "b", NULL), FIRN_OK);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3);
    assert_may_be(o, "b=B");
    assert_may_be(o, "a=X b=B");
    assert_may_be(o, "b=X");
    end(&s, f, o);
}

static void AFolderThatIsLostTakesItsFilesWithIt(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    simfs_record(s.sim);
    fs_dir *sub = NULL;
    assert_int_equal(fs_dir_open_in(s.dir, "sub", true, &sub, NULL), FIRN_OK);
    assert_int_equal(fs_link(s.dir, "a", sub, "b", NULL), FIRN_OK);
    assert_int_equal(fs_dir_sync(sub, NULL), FIRN_OK); /* its own entry is in the root, unsynced */
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=A");
    assert_may_be(o, "a=A sub/b=A");
    assert_int_equal(o->count, 2);
    fs_dir_close(sub);
    end(&s, NULL, o);
}

static void AFailedFolderSyncPromisesNothing(void **state)
{
    (void)state;
    script s = script_new();
    simfs_record(s.sim);
    fs_file *f = create(&s, "a");
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_DIR_SYNC, .at = 1, .error = EIO});
    assert_int_equal(fs_dir_sync(s.dir, NULL), FIRN_IO);
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "");
    end(&s, f, o);
}

/* ---- The other models ---- */

static void AKilledProcessLosesNothingButTearsWhatItWasDoing(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AAA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XYZ");
    outcomes *o = at_end(&s, CRASH_KILL);
    assert_int_equal(o->count, 4);
    assert_may_be(o, "a=AAA"); /* point 0, and the write under way there */
    assert_may_be(o, "a=XAA");
    assert_may_be(o, "a=XYA");
    assert_may_be(o, "a=XYZ");
    assert_string_equal(o->text[o->count - 1], "a=XYZ");
    end(&s, f, o);
}

static void TheOrderedModelKeepsPrefixesOnly(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XY");
    write_letters(f, 0, "Z");
    outcomes *o = at_end(&s, CRASH_ORDERED);
    assert_int_equal(o->count, 4);
    assert_may_be(o, "a=AA");
    assert_may_be(o, "a=XA");
    assert_may_be(o, "a=XY");
    assert_may_be(o, "a=ZY");
    assert_never(o, "a=AY");
    free(o);
    fs_file *g = create(&s, "b");
    sync_file(f); /* of another file: the journal takes the name along */
    o = at_end(&s, CRASH_ORDERED);
    assert_may_be(o, "a=ZY b=");
    assert_never(o, "a=ZY");
    free(o);
    o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=ZY");
    fs_close(g);
    end(&s, f, o);
}

static void DataIsThereBeforeTheSizeThatShowsIt(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 1, "XY");
    outcomes *o = at_end(&s, CRASH_ORDERED);
    assert_may_be(o, "a=A");
    assert_may_be(o, "a=AX");
    assert_may_be(o, "a=AXY");
    assert_never(o, "a=A0");
    assert_never(o, "a=AX0");
    end(&s, f, o);
}

static void StatesCarryTheMarksGivenBeforeThem(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "A");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "X");
    sync_file(f);
    simfs_mark(s.sim, 0, 1);
    write_letters(f, 0, "Y");
    sync_file(f);
    simfs_mark(s.sim, 0, 2);
    outcomes *o = calloc(1, sizeof *o);
    assert_non_null(o);
    crash_options options = {.name = "marks", .verify = collect, .ctx = o, .models = CRASH_STRICT};
    assert_int_equal(crash_run(s.sim, &options, &o->stats), 0);
    assert_int_equal(o->stats.points, 5);
    for (size_t i = 0; i < o->count; i++) {
        const char *t = o->text[i];
        uint64_t m = o->mark[i];
        assert_true(m == 0 ? t[2] != 'Y' : m == 1 ? t[2] != 'A' : t[2] == 'Y');
    }
    /* A0 X0 X1 Y1 Y2: a state is looked at again when more was promised about it. */
    assert_int_equal(o->count, 5);
    assert_int_equal(o->stats.distinct, 3);
    end(&s, f, o);
}

static void ManyPendingSectorsAreSampledAtTheirCorners(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AAAAAAAAAAAAAAAA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XXXXXXXXXXXXXXXX");
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_may_be(o, "a=AAAAAAAAAAAAAAAA");
    assert_may_be(o, "a=XXXXXXXXXXXXXXXX");
    assert_may_be(o, "a=XXXXXXAXXXXXXXXX"); /* one dropped */
    assert_may_be(o, "a=AAAAAAXAAAAAAAAA"); /* one alone */
    assert_may_be(o, "a=XXXXXXXXXAAAAAAA"); /* a head */
    assert_may_be(o, "a=AAAAAAAAAAXXXXXX"); /* a tail */
    assert_true(o->count > 16 * 3);
    end(&s, f, o);
}

static void ACrashRightNowIsOneOfTheAllowedStates(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XY");
    outcomes *o = at_end(&s, CRASH_STRICT);
    size_t seen = 0;
    char before[DRAWING_SIZE] = "";
    for (uint64_t seed = 0; seed < 64; seed++) {
        char text[DRAWING_SIZE], line[200];
        simfs *now = crash_now(s.sim, CRASH_STRICT, seed, line, sizeof line);
        draw(now, text);
        assert_may_be(o, text);
        seen += strcmp(text, before) != 0;
        memcpy(before, text, sizeof before);
        simfs_free(now);
    }
    assert_true(seen > 8);
    simfs *killed = crash_now(s.sim, CRASH_KILL, 0, NULL, 0);
    assert_int_equal(simfs_peek(killed, "a", &(size_t){0})[SECTOR], 'Y');
    simfs_free(killed);
    end(&s, f, o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(UnsyncedSectorsSurviveAsAnySubset),
        cmocka_unit_test(SyncedSectorsStay),
        cmocka_unit_test(ASectorMayHaveAnyVersionSinceItsSync),
        cmocka_unit_test(AGrownFileShowsZerosOrGarbageOrOldBytes),
        cmocka_unit_test(AllocatedSizeIsPendingUntilSync),
        cmocka_unit_test(ACutMayComeBackUntilSync),
        cmocka_unit_test(AnUnannouncedStoreIsLost),
        cmocka_unit_test(AMappedStoreMayBeTornInsideASector),
        cmocka_unit_test(AFailedSyncLosesDataAndTheNextOneLies),
        cmocka_unit_test(WhatFailedOnceStaysLostWhenItIsWrittenAgain),
        cmocka_unit_test(AStoreBehindAFailedSyncIsLostLikeAWrite),
        cmocka_unit_test(ANewFileUnderTheNameOfASpoiledOneIsFine),
        cmocka_unit_test(AWriteThatFoundNoRoomSpoilsNothing),
        cmocka_unit_test(ADurableWriteTakesNoOtherSectorAlong),
        cmocka_unit_test(AnInterruptedSyncLosesNothing),
        cmocka_unit_test(ASizeLostByAFailedSyncStaysOpenButCoversWhatIsSyncedLater),
        cmocka_unit_test(ClosingSyncsNothing),
        cmocka_unit_test(ANewFileMayVanishUntilItsFolderIsSynced),
        cmocka_unit_test(ARenameGivesEitherNameNeverBothNeverNone),
        cmocka_unit_test(AnUnlinkMayLandEarlyOrLate),
        cmocka_unit_test(AnUnlinkTakesItsOwnFileOnly),
        cmocka_unit_test(AFileWhoseCreationIsLostIsGoneWhateverItWasRenamedTo),
        cmocka_unit_test(AFolderThatIsLostTakesItsFilesWithIt),
        cmocka_unit_test(AFailedFolderSyncPromisesNothing),
        cmocka_unit_test(AKilledProcessLosesNothingButTearsWhatItWasDoing),
        cmocka_unit_test(TheOrderedModelKeepsPrefixesOnly),
        cmocka_unit_test(DataIsThereBeforeTheSizeThatShowsIt),
        cmocka_unit_test(StatesCarryTheMarksGivenBeforeThem),
        cmocka_unit_test(ManyPendingSectorsAreSampledAtTheirCorners),
        cmocka_unit_test(ACrashRightNowIsOneOfTheAllowedStates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
