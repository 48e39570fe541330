/* The crash enumerator: each rule of durability in a script of its own, then protocols that are
 * known to be wrong and right.
 *
 * A state is shown as text: every file with one letter a sector (0 for zeros, ? for what is neither
 * zeros nor one letter repeated), "a=AB b=0" for two files. Scripts write sectors of one letter. */
#include "check.h"
#include "support/crash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR     512
#define STATES_MAX 512

/* ---- Scripts ---- */

typedef struct script {
    simfs *sim;
    fs_dir *dir;
} script;

static script script_new(void)
{
    script s = {.sim = simfs_new(1)};
    assert_int_equal(fs_dir_open(simfs_fs(s.sim), "/", &s.dir, NULL), FIRN_OK);
    return s;
}

/* A file of one letter a sector that was there, durably, before the script. */
static void given(script *s, const char *name, const char *letters)
{
    uint8_t data[16 * SECTOR];
    for (size_t i = 0; i < strlen(letters); i++)
        memset(data + i * SECTOR, letters[i], SECTOR);
    simfs_write_file(s->sim, name, data, strlen(letters) * SECTOR);
}

static fs_file *create(script *s, const char *name)
{
    fs_file *f = NULL;
    assert_int_equal(fs_open(s->dir, name, FS_WRITE | FS_CREATE_NEW, &f, NULL), FIRN_OK);
    return f;
}

static fs_file *reopen(script *s, const char *name)
{
    fs_file *f = NULL;
    assert_int_equal(fs_open(s->dir, name, FS_WRITE, &f, NULL), FIRN_OK);
    return f;
}

static void write_letters(fs_file *f, size_t sector, const char *letters)
{
    uint8_t data[16 * SECTOR];
    for (size_t i = 0; i < strlen(letters); i++)
        memset(data + i * SECTOR, letters[i], SECTOR);
    assert_int_equal(fs_write(f, data, strlen(letters) * SECTOR, sector * SECTOR, NULL), FIRN_OK);
}

static void sync_file(fs_file *f)
{
    assert_int_equal(fs_sync(f, NULL), FIRN_OK);
}

static void sync_dir(script *s)
{
    assert_int_equal(fs_dir_sync(s->dir, NULL), FIRN_OK);
}

/* ---- Looking at states ---- */

typedef struct outcomes {
    char text[STATES_MAX][160];
    crash_model model[STATES_MAX];
    uint64_t point[STATES_MAX];
    uint64_t mark[STATES_MAX];
    size_t count;
    crash_stats stats;
} outcomes;

static char letter(const uint8_t *data, size_t size)
{
    for (size_t i = 1; i < size; i++) {
        if (data[i] != data[0])
            return '?';
    }
    return data[0] == 0 ? '0' : data[0] >= 'A' && data[0] <= 'Z' ? (char)data[0] : '?';
}

typedef struct drawing {
    simfs *sim;
    char *text;
} drawing;

static int draw_file(void *ctx, const char *path, uint64_t size)
{
    drawing *d = ctx;
    size_t used = strlen(d->text);
    used += (size_t)sprintf(d->text + used, "%s%s=", used ? " " : "", path);
    const uint8_t *data = simfs_peek(d->sim, path, &(size_t){0});
    for (uint64_t at = 0; at < size; at += SECTOR)
        d->text[used++] = letter(data + at, size - at < SECTOR ? (size_t)(size - at) : SECTOR);
    d->text[used] = '\0';
    return 0;
}

static int collect(void *ctx, crash_state *state)
{
    outcomes *o = ctx;
    if (o->count == STATES_MAX)
        return crash_wrong(state, "more states than this test can hold");
    drawing d = {state->sim, o->text[o->count]};
    o->text[o->count][0] = '\0';
    simfs_each(state->sim, "", draw_file, &d);
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

static void script_end(script *s, fs_file *f, outcomes *o)
{
    fs_close(f);
    fs_dir_close(s->dir);
    assert_int_equal(simfs_open_count(s->sim), 0);
    simfs_free(s->sim);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
}

static void AStoreThatNobodyAnnouncedIsLost(void **state)
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
}

static void AFailedSyncLosesDataAndTheNextOneLies(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AA");
    fs_file *f = reopen(&s, "a");
    uint8_t got[1];
    simfs_record(s.sim);
    write_letters(f, 0, "X");
    simfs_fail(s.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    assert_int_equal(fs_sync(f, NULL), FIRN_IO);
    assert_int_equal(fs_read(f, got, 1, 0, NULL), FIRN_OK);
    assert_int_equal(got[0], 'X'); /* reads see it */
    write_letters(f, 1, "Y");
    sync_file(f); /* success, for what was written since */
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 3);
    assert_may_be(o, "a=AY");
    assert_may_be(o, "a=XY");
    free(o);
    write_letters(f, 0, "Z"); /* written anew, it is saved by the next sync */
    sync_file(f);
    o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2);
    assert_may_be(o, "a=ZY");
    script_end(&s, f, o);
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
    outcomes *o = at_end(&s, CRASH_STRICT);
    assert_int_equal(o->count, 2);
    assert_may_be(o, "a=X");
    script_end(&s, f, o);
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
    script_end(&s, NULL, o);
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
    script_end(&s, f, o);
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
    script_end(&s, NULL, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, NULL, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    script_end(&s, f, o);
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
    char before[160] = "";
    for (uint64_t seed = 0; seed < 64; seed++) {
        char text[160] = "", line[200];
        simfs *now = crash_now(s.sim, CRASH_STRICT, seed, line, sizeof line);
        drawing d = {now, text};
        simfs_each(now, "", draw_file, &d);
        assert_may_be(o, text);
        seen += strcmp(text, before) != 0;
        memcpy(before, text, sizeof before);
        simfs_free(now);
    }
    assert_true(seen > 8);
    simfs *killed = crash_now(s.sim, CRASH_KILL, 0, NULL, 0);
    assert_int_equal(simfs_peek(killed, "a", &(size_t){0})[SECTOR], 'Y');
    simfs_free(killed);
    script_end(&s, f, o);
}

/* ---- A toy store: one file CURRENT that holds a number, replaced as a whole ---- */

typedef struct protocol {
    bool sync_file;
    bool sync_dir;
    bool in_place; /* no second file, no rename */
} protocol;

static void toy_store(script *s, const protocol *p, uint8_t value)
{
    uint8_t data[2 * SECTOR];
    memset(data, value, sizeof data);
    fs_file *f = NULL;
    if (p->in_place) {
        f = reopen(s, "CURRENT");
    } else {
        fs_unlink(s->dir, "new", NULL);
        f = create(s, "new");
    }
    assert_int_equal(fs_write(f, data, sizeof data, 0, NULL), FIRN_OK);
    if (p->sync_file)
        sync_file(f);
    fs_close(f);
    if (!p->in_place)
        assert_int_equal(fs_rename(s->dir, "new", "CURRENT", NULL), FIRN_OK);
    if (p->sync_dir)
        sync_dir(s);
}

static int toy_verify(void *ctx, crash_state *state)
{
    (void)ctx;
    size_t size = 0;
    if (!simfs_exists(state->sim, "CURRENT"))
        return crash_wrong(state, "CURRENT is gone");
    const uint8_t *data = simfs_peek(state->sim, "CURRENT", &size);
    uint64_t acknowledged = state->marks[0];
    if (size != 2 * SECTOR || letter(data, size) == '?')
        return crash_wrong(state, "CURRENT is torn");
    if ((uint64_t)(data[0] - 'A') < acknowledged && state->model != CRASH_KILL)
        return crash_wrong(state, "%d was acknowledged", (int)acknowledged);
    return 0;
}

/* How many violations the enumerator finds in three replacements by this protocol. */
static uint64_t toy_wrong(const protocol *p, unsigned models, crash_stats *stats)
{
    script s = script_new();
    given(&s, "CURRENT", "AA");
    simfs_record(s.sim);
    for (uint8_t i = 1; i <= 3; i++) {
        toy_store(&s, p, (uint8_t)('A' + i));
        simfs_mark(s.sim, 0, i);
    }
    crash_options options = {.name = "toy",
                             .verify = toy_verify,
                             .models = models,
                             .max_wrong = UINT32_MAX,
                             .quiet = true};
    uint64_t wrong = crash_run(s.sim, &options, stats);
    fs_dir_close(s.dir);
    simfs_free(s.sim);
    return wrong;
}

static void TheRightProtocolPassesAndEachMutantIsCaught(void **state)
{
    (void)state;
    crash_stats right = {0}, wrong = {0};
    assert_int_equal(toy_wrong(&(protocol){true, true, false}, CRASH_ALL, &right), 0);
    assert_true(right.states > 20);
    assert_true(toy_wrong(&(protocol){false, true, false}, CRASH_STRICT, &wrong) > 0);
    assert_non_null(strstr(wrong.first_wrong, "torn"));
    assert_true(toy_wrong(&(protocol){true, false, false}, CRASH_STRICT, &wrong) > 0);
    assert_true(toy_wrong(&(protocol){true, true, true}, CRASH_STRICT, &wrong) > 0);
    /* Also where the disk is kind: */
    assert_true(toy_wrong(&(protocol){false, true, false}, CRASH_ORDERED, &wrong) > 0);
    assert_true(toy_wrong(&(protocol){true, true, true}, CRASH_ORDERED, &wrong) > 0);
    assert_true(toy_wrong(&(protocol){true, true, true}, CRASH_KILL, &wrong) > 0);
}

typedef struct replayed {
    char text[160];
    int count;
    unsigned depth;
} replayed;

static int note_replay(void *ctx, crash_state *state)
{
    replayed *r = ctx;
    drawing d = {state->sim, r->text};
    r->text[0] = '\0';
    simfs_each(state->sim, "", draw_file, &d);
    r->count++;
    r->depth = state->depth;
    return 0;
}

static int reject_hole(void *ctx, crash_state *state)
{
    note_replay(ctx, state);
    return strstr(((replayed *)ctx)->text, "XAX") ? crash_wrong(state, "a hole") : 0;
}

static void AFailureIsRepeatedFromItsLine(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AAA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XXX");
    write_letters(f, 0, "Z");
    replayed r = {.count = 0};
    crash_stats stats = {0};
    crash_options options = {
        .name = "hole", .verify = reject_hole, .ctx = &r, .seed = 3, .quiet = true};
    assert_int_equal(crash_run(s.sim, &options, &stats), 1);
    const char *line = strstr(stats.first_wrong, "hole seed=3 strict@1:");
    assert_non_null(line);
    char found[160];
    memcpy(found, r.text, sizeof found);
    r = (replayed){.count = 0};
    options.replay = line;
    assert_int_equal(crash_run(s.sim, &options, &stats), 1);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.text, found);
    options.name = "other"; /* a line of another script is not for us */
    assert_int_equal(crash_run(s.sim, &options, &stats), 0);
    assert_int_equal(r.count, 1);
    script_end(&s, f, NULL);
}

/* ---- Crashes of a recovery ---- */

/* A store that finishes on open what a crash interrupted: "intent" says what to write to "a". The
 * wrong one removes the intent before what it wrote is safe. */
typedef struct recovery {
    bool right;
    replayed last;
    unsigned deepest;
} recovery;

static void recover(simfs *sim, bool right)
{
    script s = {.sim = sim};
    fs_file *f = NULL;
    assert_int_equal(fs_dir_open(simfs_fs(sim), "/", &s.dir, NULL), FIRN_OK);
    if (simfs_exists(sim, "intent")) {
        f = reopen(&s, "a");
        write_letters(f, 0, "XX");
        if (right)
            sync_file(f);
        fs_close(f);
        assert_int_equal(fs_unlink(s.dir, "intent", NULL), FIRN_OK);
        sync_dir(&s);
    }
    fs_dir_close(s.dir);
}

static int recover_and_look(void *ctx, crash_state *state)
{
    recovery *r = ctx;
    recover(state->sim, r->right);
    note_replay(&r->last, state);
    r->deepest = state->depth > r->deepest ? state->depth : r->deepest;
    if (state->marks[0] == 1 && strcmp(r->last.text, "a=XX") != 0)
        return crash_wrong(state, "the intent was acknowledged, but it is %s", r->last.text);
    return 0;
}

static uint64_t recovery_wrong(recovery *r, crash_stats *stats, const char *replay)
{
    script s = script_new();
    given(&s, "a", "AA");
    simfs_record(s.sim);
    fs_file *f = create(&s, "intent");
    sync_dir(&s);
    simfs_mark(s.sim, 0, 1);
    crash_options options = {.name = "recovery",
                             .verify = recover_and_look,
                             .ctx = r,
                             .seed = 7,
                             .nest_every = 1,
                             .replay = replay,
                             .quiet = true};
    uint64_t wrong = crash_run(s.sim, &options, stats);
    script_end(&s, f, NULL);
    return wrong;
}

static void ARecoveryIsCrashedToo(void **state)
{
    (void)state;
    crash_stats stats = {0};
    recovery right = {.right = true};
    assert_int_equal(recovery_wrong(&right, &stats, NULL), 0);
    assert_int_equal(right.deepest, 1);
    assert_true(stats.nested > 4);

    crash_stats bad = {0};
    recovery wrong = {.right = false};
    assert_int_equal(recovery_wrong(&wrong, &bad, NULL), 1);
    const char *line = strstr(bad.first_wrong, "recovery seed=7 ");
    assert_non_null(line);
    assert_non_null(strchr(line, '/'));
    recovery again = {.right = false};
    assert_int_equal(recovery_wrong(&again, &bad, line), 1);
    assert_string_equal(again.last.text, wrong.last.text);
    assert_int_equal(again.last.depth, 1);
    assert_int_equal(again.last.count, 2); /* the state, and the crash of its recovery */
}

static int leave_open(void *ctx, crash_state *state)
{
    (void)ctx;
    fs_dir *d = NULL;
    return fs_dir_open(state->fs, "/", &d, NULL);
}

static void AVerifierThatLeaksHandlesIsTold(void **state)
{
    (void)state;
    simfs *sim = simfs_new(1);
    simfs_record(sim);
    crash_stats stats = {0};
    crash_options options = {.name = "leak", .verify = leave_open, .quiet = true};
    assert_int_equal(crash_run(sim, &options, &stats), 1);
    assert_non_null(strstr(stats.first_wrong, "left open"));
    simfs_free(sim);
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
        cmocka_unit_test(AStoreThatNobodyAnnouncedIsLost),
        cmocka_unit_test(AMappedStoreMayBeTornInsideASector),
        cmocka_unit_test(AFailedSyncLosesDataAndTheNextOneLies),
        cmocka_unit_test(AnInterruptedSyncLosesNothing),
        cmocka_unit_test(ClosingSyncsNothing),
        cmocka_unit_test(ANewFileMayVanishUntilItsFolderIsSynced),
        cmocka_unit_test(ARenameGivesEitherNameNeverBothNeverNone),
        cmocka_unit_test(AnUnlinkMayLandEarlyOrLate),
        cmocka_unit_test(AFileWhoseCreationIsLostIsGoneWhateverItWasRenamedTo),
        cmocka_unit_test(AFolderThatIsLostTakesItsFilesWithIt),
        cmocka_unit_test(AFailedFolderSyncPromisesNothing),
        cmocka_unit_test(AKilledProcessLosesNothingButTearsWhatItWasDoing),
        cmocka_unit_test(TheOrderedModelKeepsPrefixesOnly),
        cmocka_unit_test(DataIsThereBeforeTheSizeThatShowsIt),
        cmocka_unit_test(StatesCarryTheMarksGivenBeforeThem),
        cmocka_unit_test(ManyPendingSectorsAreSampledAtTheirCorners),
        cmocka_unit_test(ACrashRightNowIsOneOfTheAllowedStates),
        cmocka_unit_test(TheRightProtocolPassesAndEachMutantIsCaught),
        cmocka_unit_test(AFailureIsRepeatedFromItsLine),
        cmocka_unit_test(ARecoveryIsCrashedToo),
        cmocka_unit_test(AVerifierThatLeaksHandlesIsTold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
