/* The wrappers around the seam: complete transfers, repeated interruptions, described failures. */
#include "fake_fs.h"

#include <base/error.h>

/* ---- Transfers ---- */

static void ShortTransfersAreCompleted(void **state)
{
    (void)state;
    static uint8_t bytes[100000], back[100000];
    rng r = rng_init(SEED);
    rng_fill(&r, bytes, sizeof bytes);
    static const size_t most[] = {1, 7, 4096, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(most); i++) {
        fake *f = fresh();
        f->most = most[i];
        f->interruptions = (unsigned)i;
        firn_error e;
        size_t size = most[i] == 1 ? 1000 : sizeof bytes;
        assert_int_equal(fs_write(&f->file, bytes, size, 123, &e), FIRN_OK);
        assert_memory_equal(f->contents + 123, bytes, size);
        memset(f->contents + 123, 0, size);
        assert_int_equal(fs_write_durable(&f->file, bytes, size, 123, &e), FIRN_OK);
        assert_memory_equal(f->contents + 123, bytes, size);
        assert_int_equal(f->size, 123 + size);
        assert_int_equal(fs_read(&f->file, back, size, 123, &e), FIRN_OK);
        assert_memory_equal(back, bytes, size);
    }
}

static void AFailureInTheMiddleSaysWhere(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    static uint8_t bytes[300];
    f->most = 1; /* every call moves one byte */
    f->failing = PWRITE;
    f->fail_with = -ENOSPC;
    f->fail_after = 100;
    assert_int_equal(fs_write(&f->file, bytes, sizeof bytes, 1000, &e), FIRN_NO_SPACE);
    assert_true(e.offset == 1100);
    assert_string_equal(e.file, "/store/a.log");
    assert_int_equal(e.sys_errno, ENOSPC);
    assert_non_null(strstr(e.hint, "free some space"));
    assert_int_equal(f->calls[PWRITE], 101); /* not tried again */

    f->failing = PREAD;
    f->fail_with = -EIO;
    assert_int_equal(fs_read(&f->file, bytes, sizeof bytes, 0, &e), FIRN_IO);
    assert_true(e.offset == 100);
    assert_int_equal(e.sys_errno, EIO);
}

static void WhereADurableWriteIsUnknownItIsAWriteAndASync(void **state)
{
    (void)state;
    static const int unknown[] = {-EOPNOTSUPP, -ENOSYS};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        fake *f = fresh();
        firn_error e;
        f->failing = PWRITE_DURABLE;
        f->fail_with = unknown[i];
        assert_int_equal(fs_write_durable(&f->file, "abc", 3, 5, &e), FIRN_OK);
        assert_memory_equal(f->contents + 5, "abc", 3);
        assert_int_equal(f->calls[SYNC], 1);
    }
    fake *f = fresh();
    firn_error e;
    assert_int_equal(fs_write_durable(&f->file, "abc", 3, 5, &e), FIRN_OK);
    assert_int_equal(f->calls[SYNC], 0); /* the write itself did it */
    f->failing = PWRITE_DURABLE;
    f->fail_with = -EIO;
    assert_int_equal(fs_write_durable(&f->file, "abc", 3, 5, &e), FIRN_IO);
    assert_int_equal(f->calls[PWRITE] + f->calls[SYNC],
                     0); /* a failure is not tried in another way */
}

static void AWriteOfNothingIsAnErrorAndNotALoop(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    f->write_nothing = true;
    assert_int_equal(fs_write(&f->file, "abc", 3, 5, &e), FIRN_IO);
    assert_int_equal(f->calls[PWRITE], 1);
    assert_true(e.offset == 5);
    assert_int_equal(fs_write(&f->file, "abc", 0, 5, &e), FIRN_OK); /* nothing was asked for */
    assert_int_equal(f->calls[PWRITE], 1);
}

static void AFileThatEndsTooEarlyIsDamaged(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    uint8_t bytes[10];
    f->size = 105;
    f->most = 2;
    assert_int_equal(fs_read(&f->file, bytes, 10, 100, &e), FIRN_DAMAGED);
    assert_true(e.offset == 105);
    assert_string_equal(e.message, "the file ends here, 5 bytes are missing");
}

static void OffsetsBeyondAnyFileNeverReachTheSystem(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    uint8_t byte = 0;
    static const uint64_t offsets[] = {INT64_MAX, UINT64_MAX, (uint64_t)INT64_MAX + 1};
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        assert_int_equal(fs_read(&f->file, &byte, 1, offsets[i], &e), FIRN_DAMAGED);
        assert_int_equal(fs_write(&f->file, &byte, 1, offsets[i], &e), FIRN_NO_SPACE);
        assert_int_equal(e.sys_errno, EFBIG);
    }
    assert_int_equal(f->calls[PREAD] + f->calls[PWRITE], 0);
}

/* ---- Every wrapper ---- */

static int stop_at_once(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return FIRN_END;
}

/* What is done with a file, and the rest. */
static int run_on_file(fake *f, call which, firn_error *e)
{
    fs_file *file = NULL;
    uint64_t size, end;
    uint8_t bytes[8] = {0};
    void *address = NULL;
    bool locked;
    switch (which) {
    case OPEN:
        return fs_open(&f->dir, "a.log", FS_READ, &file, e);
    case PREAD:
        f->size = 8;
        return fs_read(&f->file, bytes, 8, 0, e);
    case PWRITE:
        return fs_write(&f->file, bytes, 8, 0, e);
    case PWRITE_DURABLE:
        return fs_write_durable(&f->file, bytes, 8, 0, e);
    case SYNC:
        return fs_sync(&f->file, e);
    case SIZE:
        return fs_size(&f->file, &size, e);
    case NEXT_DATA:
        return fs_next_data(&f->file, 0, &size, &end, e);
    case TRUNCATE:
        return fs_truncate(&f->file, 5, e);
    case ALLOCATE:
        return fs_allocate(&f->file, 5, e);
    case MAP:
        f->size = 8;
        return fs_map(&f->file, 8, true, &address, e);
    case POPULATE:
        return fs_populate(&f->file, f->contents, 8, true, e);
    case LOCK:
        return fs_lock(&f->file, e);
    case DIR_LOCK:
        return fs_dir_lock(&f->dir, &file, e);
    case DIR_NAMED:
    case NAMED:
        return fs_dir_held(&f->dir, &f->file, e);
    case LOCKED:
        return fs_dir_locked(&f->dir, "LOCK", &locked, e);
    default:
        return fs_random(&f->base, bytes, 8, e);
    }
}

/* Runs the wrapper of `which` in a way that succeeds on a fake in order. */
static int run(fake *f, call which, firn_error *e)
{
    fs_dir *dir = NULL;
    fs_space space;
    fs_entry entry;
    switch (which) {
    case DIR_OPEN:
        return fs_dir_open(&f->base, "/store", &dir, e);
    case DIR_MAKE:
        return fs_dir_make(&f->base, "/store/new", e);
    case DIR_OPEN_IN:
        return fs_dir_open_in(&f->dir, "a.log", true, &dir, e);
    case DIR_SYNC:
        return fs_dir_sync(&f->dir, e);
    case DIR_LIST: {
        int rc = fs_dir_list(&f->dir, stop_at_once, NULL, e);
        return rc == FIRN_END ? FIRN_OK : rc;
    }
    case DIR_LIST_ODD: {
        int rc = fs_dir_list_odd(&f->dir, stop_at_once, NULL, e);
        return rc == FIRN_END ? FIRN_OK : rc;
    }
    case LOOK:
        return fs_look(&f->dir, "a.log", &entry, e);
    case DIR_SPACE:
        return fs_dir_space(&f->dir, &space, e);
    case DIR_REMOVE:
        return fs_dir_remove_in(&f->dir, "old", e);
    case RENAME:
        return fs_rename(&f->dir, "a.log", "b.log", e);
    case UNLINK:
        return fs_unlink(&f->dir, "a.log", e);
    case LINK:
        return fs_link(&f->dir, "b.log", &f->dir, "a.log", e);
    case MOVE:
        return fs_move(&f->dir, "b.log", &f->dir, "a.log", e);
    default:
        return run_on_file(f, which, e);
    }
}

static void InterruptionsAreRepeatedAndSeenByNoCaller(void **state)
{
    (void)state;
    for (int which = 0; which < CALLS; which++) {
        fake *f = fresh();
        f->interruptions = 3;
        firn_error e;
        error_clear(&e);
        int rc = run(f, (call)which, &e);
        if (rc != FIRN_OK || e.status != FIRN_OK || f->calls[which] != 1)
            fail_msg("%s: status %d after %u calls", call_names[which], rc, f->calls[which]);
    }
}

static void EveryFailureIsDescribedOnceAndNotRepeated(void **state)
{
    (void)state;
    for (int which = 0; which < CALLS; which++) {
        fake *f = fresh();
        f->failing = (call)which;
        f->fail_with = -EIO;
        firn_error e;
        error_clear(&e);
        int rc = run(f, (call)which, &e);
        bool names_file = which == RANDOM || strstr(e.file, "/store") == e.file;
        if (rc != FIRN_IO || e.status != FIRN_IO || e.sys_errno != EIO || !names_file ||
            e.message[0] == '\0' || e.hint[0] == '\0' || f->calls[which] != 1)
            fail_msg("%s: status %d, %s: %s", call_names[which], rc, e.file, e.message);
        f = fresh();
        f->failing = (call)which;
        f->fail_with = -EIO;
        assert_int_equal(run(f, (call)which, NULL), FIRN_IO);
    }
}

static void SuccessLeavesTheDetailAlone(void **state)
{
    (void)state;
    for (int which = 0; which < CALLS; which++) {
        fake *f = fresh();
        firn_error e, before;
        memset(&e, 0x5a, sizeof e);
        before = e;
        assert_int_equal(run(f, (call)which, &e), FIRN_OK);
        assert_memory_equal(&e, &before, sizeof e);
    }
}

/* ---- One by one ---- */

static void WhereHolesAreUnknownEverythingIsRead(void **state)
{
    (void)state;
    static const int cannot[] = {-EOPNOTSUPP, -EINVAL, -ENOSYS};
    for (size_t i = 0; i < COUNT_OF(cannot); i++) {
        fake *f = fresh();
        uint64_t start = 0, end = 0;
        f->size = 100;
        f->failing = NEXT_DATA;
        f->fail_with = cannot[i];
        assert_int_equal(fs_next_data(&f->file, 30, &start, &end, NULL), FIRN_OK);
        assert_true(start == 30 && end == 100);
        assert_int_equal(fs_next_data(&f->file, 300, &start, &end, NULL), FIRN_OK);
        assert_true(start == 100 && end == 100);
    }
}

static void AFileWithAnotherNameIsToldWithItsRemedy(void **state)
{
    (void)state;
    fake *f = fresh();
    fs_file *file = NULL;
    firn_error e = {0};
    f->failing = OPEN;
    f->fail_with = -EMLINK;
    assert_int_equal(fs_open(&f->dir, "a.log", FS_WRITE, &file, &e), FIRN_INVALID);
    assert_non_null(strstr(e.message, "another name"));
    assert_non_null(strstr(e.hint, "cp"));
    assert_string_equal(e.file, "/store/a.log");
}

static void WhatCannotBeReservedIsWrittenAsZeros(void **state)
{
    (void)state;
    static const int cannot[] = {-EOPNOTSUPP, -EINVAL, -ENOSYS};
    for (size_t i = 0; i < COUNT_OF(cannot); i++) {
        fake *f = fresh();
        firn_error e;
        memset(f->contents, 9, sizeof f->contents);
        f->size = 100;
        f->failing = ALLOCATE;
        f->fail_with = cannot[i];
        assert_int_equal(fs_allocate(&f->file, 200000, &e), FIRN_OK);
        assert_int_equal(f->size, 200000);
        for (size_t at = 0; at < CONTENTS_BYTES; at++)
            assert_int_equal(f->contents[at], at < 100 || at >= 200000 ? 9 : 0);
        assert_int_equal(fs_allocate(&f->file, 50, &e), FIRN_OK);
        assert_int_equal(f->size, 200000);
    }
    fake *f = fresh();
    firn_error e;
    f->failing = ALLOCATE;
    f->fail_with = -ENOSPC;
    assert_int_equal(fs_allocate(&f->file, 200000, &e), FIRN_NO_SPACE);
    assert_int_equal(f->calls[PWRITE], 0);
}

static void PopulatingWhereItIsUnknownIsUnsupported(void **state)
{
    (void)state;
    static const int unknown[] = {-EINVAL, -ENOSYS};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        fake *f = fresh();
        firn_error e;
        f->failing = POPULATE;
        f->fail_with = unknown[i];
        assert_int_equal(run(f, POPULATE, &e), FIRN_UNSUPPORTED);
        assert_int_equal(e.status, FIRN_UNSUPPORTED);
        assert_int_equal(f->calls[POPULATE], 1);
    }
    fake *f = fresh();
    firn_error e;
    f->failing = POPULATE;
    f->fail_with = -EFAULT;
    assert_int_equal(run(f, POPULATE, &e), FIRN_IO);
    assert_non_null(strstr(e.hint, "full disk"));
}

static void ATakenLockNamesItsHolderWhenThatIsKnown(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    f->failing = LOCK;
    f->fail_with = -EWOULDBLOCK;
    f->holder = 4711;
    assert_int_equal(fs_lock(&f->file, &e), FIRN_LOCKED);
    assert_string_equal(e.message, "process 4711 holds the lock");
    f->holder = 0;
    assert_int_equal(fs_lock(&f->file, &e), FIRN_LOCKED);
    assert_string_equal(e.message, "another opener holds the lock");
    assert_true(e.hint[0] != '\0');
    f->fail_with = -ENOLCK;
    assert_int_equal(fs_lock(&f->file, &e), FIRN_IO);
}

static void AskingForALockTakesNoneAndMakesNoFile(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    bool locked = true;
    assert_int_equal(fs_dir_locked(&f->dir, "LOCK", &locked, &e), FIRN_OK);
    assert_false(locked);
    f->holder = 1;
    assert_int_equal(fs_dir_locked(&f->dir, "LOCK", &locked, &e), FIRN_OK);
    assert_true(locked);
    assert_int_equal(f->calls[LOCK], 0);
    f->failing = OPEN;
    f->fail_with = -ENOENT;
    assert_int_equal(fs_dir_locked(&f->dir, "LOCK", &locked, &e), FIRN_OK);
    assert_false(locked);
    assert_int_equal(f->calls[OPEN], 3);
}

static void WhereFoldersCannotBeLockedTheFileAloneHasToDo(void **state)
{
    (void)state;
    static const int cannot[] = {-EOPNOTSUPP, -ENOSYS, -EINVAL, -EBADF, -ENOLCK, -ENOTTY};
    for (size_t i = 0; i < COUNT_OF(cannot); i++) {
        fake *f = fresh();
        fs_file *lock = NULL;
        f->failing = DIR_LOCK;
        f->fail_with = cannot[i];
        assert_int_equal(fs_dir_lock(&f->dir, &lock, NULL), FIRN_OK);
        assert_ptr_equal(lock, &f->file);
        assert_int_equal(f->calls[LOCK], 1);
    }
    fake *f = fresh();
    fs_file *lock = NULL;
    firn_error e;
    f->failing = DIR_LOCK;
    f->fail_with = -EWOULDBLOCK;
    f->holder = 4711;
    assert_int_equal(fs_dir_lock(&f->dir, &lock, &e), FIRN_LOCKED);
    assert_string_equal(e.message, "process 4711 holds the lock");
    assert_string_equal(e.file, "/store/LOCK");
    assert_int_equal(f->calls[LOCK], 0);
    f->holder = FS_HOLDER_SELF;
    assert_int_equal(fs_dir_lock(&f->dir, &lock, &e), FIRN_LOCKED);
    assert_string_equal(e.message, "this process has it open already");
    assert_null(lock);
}

/* Between the opening of the lock file and its lock, another program removed it. */
static void ALockWithoutANameIsTakenOnceMore(void **state)
{
    (void)state;
    static const int lost[] = {-ENOENT, -ESTALE};
    for (size_t i = 0; i < COUNT_OF(lost); i++) {
        fake *f = fresh();
        fs_file *lock = NULL;
        firn_error e;
        f->failing = NAMED;
        f->fail_with = lost[i];
        assert_int_equal(fs_dir_lock(&f->dir, &lock, &e), FIRN_IO); /* again and again */
        assert_int_equal(f->calls[LOCK], 10);
        assert_int_equal(e.status, FIRN_IO);
        assert_int_equal(e.sys_errno, -lost[i]);
        assert_null(lock);
    }
}

static void WhatMayNotBeLookedAtCountsAsHeld(void **state)
{
    (void)state;
    static const call calls[] = {DIR_NAMED, NAMED};
    static const struct {
        int result, status;
    } cases[] = {{-EACCES, FIRN_OK}, {-EPERM, FIRN_OK},         {-ENOENT, FIRN_IO},
                 {-ESTALE, FIRN_IO}, {-ENOMEM, FIRN_NO_MEMORY}, {-EIO, FIRN_IO}};
    for (size_t c = 0; c < COUNT_OF(calls); c++)
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            fake *f = fresh();
            f->failing = calls[c];
            f->fail_with = cases[i].result;
            assert_int_equal(fs_dir_held(&f->dir, &f->file, NULL), cases[i].status);
        }
    fake *f = fresh();
    assert_int_equal(fs_dir_held(&f->dir, NULL, NULL), FIRN_OK);
    assert_int_equal(f->calls[NAMED], 0);
}

static void NothingReachesBeyondTheLimitOfFileSizes(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    uint8_t bytes[200] = {0};
    f->limit = 100;
    f->most = 7;
    assert_int_equal(fs_write(&f->file, bytes, 100, 0, &e), FIRN_OK);
    unsigned writes = f->calls[PWRITE];
    assert_int_equal(fs_write(&f->file, bytes, 101, 0, &e), FIRN_NO_SPACE);
    assert_int_equal(e.sys_errno, EFBIG);
    assert_int_equal(fs_write(&f->file, bytes, 1, 100, &e), FIRN_NO_SPACE);
    assert_int_equal(fs_write(&f->file, bytes, 0, 150, &e), FIRN_OK);
    assert_int_equal(f->calls[PWRITE], writes); /* not even a part of it */
    assert_int_equal(fs_write_durable(&f->file, bytes, 1, 100, &e), FIRN_NO_SPACE);
    assert_int_equal(f->calls[PWRITE_DURABLE] + f->calls[SYNC], 0);
    assert_int_equal(fs_truncate(&f->file, 101, &e), FIRN_NO_SPACE);
    assert_int_equal(fs_allocate(&f->file, 101, &e), FIRN_NO_SPACE);
    assert_int_equal(f->calls[TRUNCATE] + f->calls[ALLOCATE], 0);
    f->size = 200; /* from before there was a limit */
    assert_int_equal(fs_allocate(&f->file, 200, &e), FIRN_OK);
    assert_int_equal(fs_truncate(&f->file, 150, &e), FIRN_OK);
}

static void ARenamedFileIsCalledByItsNewName(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    assert_int_equal(fs_rename_file(&f->dir, "a.log", "b.log", &f->file, NULL), FIRN_OK);
    f->failing = SYNC;
    f->fail_with = -EIO;
    assert_int_equal(fs_sync(&f->file, &e), FIRN_IO);
    assert_string_equal(e.file, "/store/b.log");
    f->failing = RENAME;
    assert_int_equal(fs_rename_file(&f->dir, "b.log", "c.log", &f->file, &e), FIRN_IO);
    assert_string_equal(f->file.path, "/store/b.log");
}

static void EveryFolderIsSyncedIntoItsParentBeforeTheNext(void **state)
{
    (void)state;
    fake *f = fresh();
    firn_error e;
    assert_int_equal(fs_dir_make(&f->base, "/store/a/bb/c", &e), FIRN_OK);
    /* /store was there, perhaps unsynced, so its parent comes first. */
    assert_string_equal(f->trace, "open /store;open /;sync ;"
                                  "make /store/a;open /store;sync ;"
                                  "make /store/a/bb;open /store/a;sync ;"
                                  "make /store/a/bb/c;open /store/a/bb;sync ;"
                                  "open /store/a/bb/c;");
    f = fresh();
    f->failing = DIR_SYNC;
    f->fail_with = -EIO;
    f->fail_after = 1;
    assert_int_equal(fs_dir_make(&f->base, "/store/a/b", &e), FIRN_IO);
    assert_string_equal(f->trace, "open /store;open /;sync ;make /store/a;open /store;");

    /* A process that died right here left /store/a unsynced: the next one begins with it. */
    f = fresh();
    snprintf(f->there, sizeof f->there, "/store/a");
    assert_int_equal(fs_dir_make(&f->base, "/store/a/b", &e), FIRN_OK);
    assert_string_equal(f->trace, "open /store/a;open /store;sync ;"
                                  "make /store/a/b;open /store/a;sync ;open /store/a/b;");
    f = fresh();
    snprintf(f->there, sizeof f->there, "/store/a");
    assert_int_equal(fs_dir_make(&f->base, "/store/a", &e), FIRN_OK);
    assert_string_equal(f->trace, "open /store/a;open /store;sync ;open /store/a;");

    /* A relative path begins in the working folder. */
    f = fresh();
    snprintf(f->there, sizeof f->there, ".");
    assert_int_equal(fs_dir_make(&f->base, "ab", &e), FIRN_OK);
    assert_string_equal(f->trace, "make ab;open .;sync ;open ab;");
}

static void AParentThatIsNotOursNeedsNoSync(void **state)
{
    (void)state;
    static const int refused[] = {-EACCES, -EINVAL, -EROFS};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        fake *f = fresh();
        firn_error e;
        error_clear(&e);
        f->failing = DIR_SYNC;
        f->fail_with = refused[i];
        assert_int_equal(fs_dir_make(&f->base, "/store", &e), FIRN_OK);
        assert_int_equal(e.status, FIRN_OK);
        /* But the parent of a folder that was made does. */
        f = fresh();
        f->failing = DIR_SYNC;
        f->fail_with = refused[i];
        f->fail_after = 1;
        assert_int_equal(fs_dir_make(&f->base, "/store/new", &e), FIRN_IO);
    }
}

static void AFolderThatCannotBeMadeIsNamed(void **state)
{
    (void)state;
    static const struct {
        int result;
        int status;
    } cases[] = {
        {-EACCES, FIRN_IO}, {-ENOSPC, FIRN_NO_SPACE}, {-ENOTDIR, FIRN_INVALID}, {-ENOENT, FIRN_IO}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fake *f = fresh();
        firn_error e;
        f->failing = DIR_MAKE;
        f->fail_with = cases[i].result;
        f->fail_after = 1;
        assert_int_equal(fs_dir_make(&f->base, "/store/a/b", &e), cases[i].status);
        assert_string_equal(e.file, "/store/a/b");
        assert_true(e.hint[0] != '\0');
        assert_int_equal(e.status, cases[i].status);
    }
    /* Not even the root is there. */
    fake *f = fresh();
    firn_error e;
    f->there[0] = '\0';
    f->failing = DIR_MAKE;
    f->fail_with = -ENOENT;
    assert_int_equal(fs_dir_make(&f->base, "/store/a", &e), FIRN_IO);
    assert_string_equal(e.file, "/store");
}

static void PathsAreJoinedAndCutFromTheLeft(void **state)
{
    (void)state;
    char out[32];
    char dir_path[] = "/data/stores/of/customer";
    fs_dir dir = {.path = dir_path};
    fs_path(out, sizeof out, &dir, "a.log");
    assert_string_equal(out, "/data/stores/of/customer/a.log");
    fs_path(out, sizeof out, &dir, "bc.log");
    assert_string_equal(out, "/data/stores/of/customer/bc.log");
    fs_path(out, sizeof out, &dir, "cde.log");
    assert_string_equal(out, "...a/stores/of/customer/cde.log");
    fs_path(out, sizeof out, &dir, "0123456789012345678901234567890123456789");
    assert_string_equal(out, "...2345678901234567890123456789");
    fs_path(out, sizeof out, &dir, NULL);
    assert_string_equal(out, "/data/stores/of/customer");
    fs_path(out, 10, &dir, NULL);
    assert_string_equal(out, "...stomer");
    char root_path[] = "/";
    fs_dir root = {.path = root_path};
    fs_path(out, sizeof out, &root, "a");
    assert_string_equal(out, "/a");
}

static void ClocksAndStoresGoThroughTheTable(void **state)
{
    (void)state;
    fake *f = fresh();
    assert_int_equal(fs_wall_us(&f->base), 11);
    assert_int_equal(fs_mono_ns(&f->base), 22345);
    assert_int_equal(fs_mono_us(&f->base), 22);
    fs_stored(&f->file, 0, 10); /* the file system does not want it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ShortTransfersAreCompleted),
        cmocka_unit_test(AFailureInTheMiddleSaysWhere),
        cmocka_unit_test(WhereADurableWriteIsUnknownItIsAWriteAndASync),
        cmocka_unit_test(AWriteOfNothingIsAnErrorAndNotALoop),
        cmocka_unit_test(AFileThatEndsTooEarlyIsDamaged),
        cmocka_unit_test(OffsetsBeyondAnyFileNeverReachTheSystem),
        cmocka_unit_test(InterruptionsAreRepeatedAndSeenByNoCaller),
        cmocka_unit_test(EveryFailureIsDescribedOnceAndNotRepeated),
        cmocka_unit_test(SuccessLeavesTheDetailAlone),
        cmocka_unit_test(WhereHolesAreUnknownEverythingIsRead),
        cmocka_unit_test(AFileWithAnotherNameIsToldWithItsRemedy),
        cmocka_unit_test(WhatCannotBeReservedIsWrittenAsZeros),
        cmocka_unit_test(PopulatingWhereItIsUnknownIsUnsupported),
        cmocka_unit_test(ATakenLockNamesItsHolderWhenThatIsKnown),
        cmocka_unit_test(AskingForALockTakesNoneAndMakesNoFile),
        cmocka_unit_test(WhereFoldersCannotBeLockedTheFileAloneHasToDo),
        cmocka_unit_test(ALockWithoutANameIsTakenOnceMore),
        cmocka_unit_test(WhatMayNotBeLookedAtCountsAsHeld),
        cmocka_unit_test(NothingReachesBeyondTheLimitOfFileSizes),
        cmocka_unit_test(ARenamedFileIsCalledByItsNewName),
        cmocka_unit_test(EveryFolderIsSyncedIntoItsParentBeforeTheNext),
        cmocka_unit_test(AParentThatIsNotOursNeedsNoSync),
        cmocka_unit_test(AFolderThatCannotBeMadeIsNamed),
        cmocka_unit_test(PathsAreJoinedAndCutFromTheLeft),
        cmocka_unit_test(ClocksAndStoresGoThroughTheTable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
