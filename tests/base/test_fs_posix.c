/* The real file system: what may be opened, what a lock says, what a mapping sees. */
#include "fs_folder.h"
#include "fs_posix.h"

#include <base/alloc.h>
#include <base/error.h>
#include <base/fs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- What may be opened ---- */

static void NewFilesAreCreatedOnceAndForTheOwnerOnly(void **state)
{
    fixture *f = *state;
    mode_t before = umask(0);
    fs_close(create(f, "a", "x"));
    umask(before);
    struct stat st;
    assert_int_equal(stat(path_of(f, "a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(open_status(f, "a", FS_WRITE | FS_CREATE_NEW), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EEXIST);
    assert_non_null(strstr(f->err.file, "/a"));
    assert_int_equal(open_status(f, "a", FS_WRITE), FIRN_OK);
    assert_int_equal(open_status(f, "a", FS_READ), FIRN_OK);
}

static void AMissingFileIsNotFoundAndNotCreated(void **state)
{
    fixture *f = *state;
    assert_int_equal(open_status(f, "a", FS_READ), FIRN_NOT_FOUND);
    assert_int_equal(open_status(f, "a", FS_WRITE), FIRN_NOT_FOUND);
    assert_false(exists(f, "a"));
    assert_int_equal(f->err.status, FIRN_NOT_FOUND); /* described, as a failure is */
    assert_non_null(strstr(f->err.file, "/a"));
    assert_int_equal(f->err.sys_errno, ENOENT);
}

static void LinksAreNotFollowed(void **state)
{
    fixture *f = *state;
    fs_close(create(f, "a", "x"));
    assert_int_equal(symlink("a", path_of(f, "link")), 0);
    assert_int_equal(open_status(f, "link", FS_READ), FIRN_INVALID);
    assert_int_equal(f->err.sys_errno, ELOOP);
    assert_true(f->err.hint[0] != '\0');
    assert_int_equal(open_status(f, "link", FS_WRITE), FIRN_INVALID);
    assert_int_equal(symlink("not-there", path_of(f, "dangling")), 0);
    assert_int_equal(open_status(f, "dangling", FS_WRITE | FS_CREATE_NEW), FIRN_IO);
    assert_false(exists(f, "not-there"));

    assert_int_equal(mkdir(path_of(f, "d"), 0700), 0);
    assert_int_equal(symlink("d", path_of(f, "dlink")), 0);
    fs_dir *dir = NULL;
    assert_int_equal(fs_dir_open_in(f->dir, "dlink", false, &dir, &f->err), FIRN_INVALID);
    assert_int_equal(fs_dir_open_in(f->dir, "dlink", true, &dir, &f->err), FIRN_INVALID);
}

static void APathMayGoThroughALink(void **state)
{
    fixture *f = *state;
    assert_int_equal(mkdir(path_of(f, "d"), 0700), 0);
    assert_int_equal(symlink("d", path_of(f, "dlink")), 0);
    fs_dir *dir = NULL;
    assert_int_equal(fs_dir_open(fs_posix(), path_of(f, "dlink"), &dir, &f->err), FIRN_OK);
    fs_dir_close(dir);
}

static void OnlyPlainFilesAreOpened(void **state)
{
    fixture *f = *state;
    assert_int_equal(mkdir(path_of(f, "folder"), 0700), 0);
    assert_int_equal(mkfifo(path_of(f, "fifo"), 0600), 0);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = path_of(f, "socket");
    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    close(s);
    static const char *const names[] = {"folder", "fifo", "socket"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        error_clear(&f->err);
        assert_int_equal(open_status(f, names[i], FS_READ), FIRN_INVALID);
        assert_non_null(strstr(f->err.file, names[i]));
        assert_string_equal(f->err.message, "not a plain file");
        assert_int_equal(open_status(f, names[i], FS_WRITE), FIRN_INVALID);
    }
}

static void NamesStayInTheirFolder(void **state)
{
    fixture *f = *state;
    char long_name[FS_NAME_MAX + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[FS_NAME_MAX + 1] = '\0';
    const char *const names[] = {"", ".", "..", "../a", "d/a", "/etc/passwd", long_name};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        fs_dir *dir = NULL;
        assert_int_equal(open_status(f, names[i], FS_READ), FIRN_INVALID);
        assert_int_equal(fs_unlink(f->dir, names[i], &f->err), FIRN_INVALID);
        assert_int_equal(fs_rename(f->dir, "a", names[i], &f->err), FIRN_INVALID);
        assert_int_equal(fs_rename(f->dir, names[i], "a", &f->err), FIRN_INVALID);
        assert_int_equal(fs_link(f->dir, names[i], f->dir, "a", &f->err), FIRN_INVALID);
        assert_int_equal(fs_link(f->dir, "a", f->dir, names[i], &f->err), FIRN_INVALID);
        assert_int_equal(fs_dir_open_in(f->dir, names[i], true, &dir, &f->err), FIRN_INVALID);
    }
    long_name[FS_NAME_MAX] = '\0';
    fs_close(create(f, long_name, "x"));
    fs_close(create(f, "..a", "x"));
}

static void DescriptorsAreClosedOnExec(void **state)
{
    fixture *f = *state;
    fs_file *file = create(f, "a", "x");
    fs_dir *dir = NULL;
    assert_int_equal(fs_dir_open_in(f->dir, "d", true, &dir, &f->err), FIRN_OK);
    unsigned ours = 0;
    DIR *descriptors = opendir("/proc/self/fd");
    assert_non_null(descriptors);
    const struct dirent *d;
    while ((d = readdir(descriptors)) != NULL) {
        char target[4096];
        ssize_t n = readlinkat(dirfd(descriptors), d->d_name, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (strncmp(target, f->path, strlen(f->path)) != 0)
            continue;
        ours++;
        assert_true((fcntl(atoi(d->d_name), F_GETFD) & FD_CLOEXEC) != 0);
    }
    closedir(descriptors);
    assert_int_equal(ours, 3); /* the folder, the folder in it, the file */
    fs_close(file);
    fs_dir_close(dir);
}

static void EveryAllocationOfAnOpenMayFailAndNothingLeaks(void **state)
{
    fixture *f = *state;
    fs_close(create(f, "a", "x"));
    assert_int_equal(mkdir(path_of(f, "d"), 0700), 0);
    fs_file *file = NULL;
    fs_dir *dir = NULL;
    alloc_fail_at(1);
    assert_int_equal(fs_open(f->dir, "a", FS_READ, &file, &f->err), FIRN_NO_MEMORY);
    for (uint64_t n = 1; n <= 2; n++) {
        alloc_fail_at(n);
        assert_int_equal(fs_dir_open(fs_posix(), f->path, &dir, &f->err), FIRN_NO_MEMORY);
        alloc_fail_at(n);
        assert_int_equal(fs_dir_open_in(f->dir, "d", false, &dir, &f->err), FIRN_NO_MEMORY);
    }
    alloc_fail_at(1);
    assert_int_equal(fs_dir_make(fs_posix(), f->path, &f->err), FIRN_NO_MEMORY);
    alloc_fail_at(0);
    assert_null(file);
    assert_null(dir);
    int lowest = dup(0);
    close(lowest);
    assert_int_equal(fs_dir_open(fs_posix(), f->path, &dir, &f->err), FIRN_OK);
    int next = dup(0);
    close(next);
    assert_int_equal(next, lowest + 1); /* the folder took the lowest: no other is open above */
    fs_dir_close(dir);
}

/* ---- Folders ---- */

static void OpeningAFolderDoesNotMakeIt(void **state)
{
    fixture *f = *state;
    fs_dir *dir = NULL;
    assert_int_equal(fs_dir_open(fs_posix(), path_of(f, "d"), &dir, &f->err), FIRN_NOT_FOUND);
    assert_int_equal(fs_dir_open_in(f->dir, "d", false, &dir, &f->err), FIRN_NOT_FOUND);
    assert_false(exists(f, "d"));
    fs_close(create(f, "file", "x"));
    assert_int_equal(fs_dir_open(fs_posix(), path_of(f, "file"), &dir, &f->err), FIRN_INVALID);
    assert_string_equal(f->err.message, "not a folder");
    assert_int_equal(fs_dir_open_in(f->dir, "file", true, &dir, &f->err), FIRN_INVALID);
}

static void FoldersAreMadeWithTheirParentsForTheOwnerOnly(void **state)
{
    fixture *f = *state;
    mode_t before = umask(0);
    assert_int_equal(fs_dir_make(fs_posix(), path_of(f, "a/b//c/"), &f->err), FIRN_OK);
    fs_dir *dir = NULL;
    assert_int_equal(fs_dir_open_in(f->dir, "in", true, &dir, &f->err), FIRN_OK);
    fs_dir_close(dir);
    umask(before);
    static const char *const made[] = {"a", "a/b", "a/b/c", "in"};
    for (size_t i = 0; i < COUNT_OF(made); i++) {
        struct stat st;
        assert_int_equal(stat(path_of(f, made[i]), &st), 0);
        assert_true(S_ISDIR(st.st_mode));
        assert_int_equal(st.st_mode & 07777, 0700);
    }
    assert_int_equal(fs_dir_make(fs_posix(), path_of(f, "a/b/c"), &f->err), FIRN_OK);
    assert_int_equal(fs_dir_make(fs_posix(), "/", &f->err), FIRN_OK);
    assert_int_equal(fs_dir_make(fs_posix(), "", &f->err), FIRN_INVALID);
}

static void ABareNameIsMadeInTheWorkingFolder(void **state)
{
    fixture *f = *state;
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(f->path), 0);
    int bare = fs_dir_make(fs_posix(), "bare", &f->err);
    int nested = fs_dir_make(fs_posix(), "one/two", &f->err);
    assert_int_equal(fchdir(before), 0);
    close(before);
    assert_int_equal(bare, FIRN_OK);
    assert_int_equal(nested, FIRN_OK);
    assert_true(exists(f, "bare"));
    assert_true(exists(f, "one/two"));
}

static void AFileInTheWayOfAFolderIsRefused(void **state)
{
    fixture *f = *state;
    fs_close(create(f, "file", "x"));
    assert_int_equal(fs_dir_make(fs_posix(), path_of(f, "file"), &f->err), FIRN_INVALID);
    assert_string_equal(f->err.message, "not a folder");
    assert_int_equal(fs_dir_make(fs_posix(), path_of(f, "file/a/b"), &f->err), FIRN_INVALID);
    assert_non_null(strstr(f->err.file, "/file"));
}

typedef struct seen {
    unsigned count;
    unsigned sum;
    int stop_with;
} seen;

static int see(void *ctx, const char *name)
{
    seen *s = ctx;
    s->count++;
    s->sum += (unsigned)atoi(name);
    return s->stop_with;
}

static void AListingShowsEveryNameOnceAndStopsWhenTold(void **state)
{
    fixture *f = *state;
    for (int i = 1; i <= 500; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        fs_close(create(f, name, ""));
    }
    for (int twice = 0; twice < 2; twice++) {
        seen all = {0};
        assert_int_equal(fs_dir_list(f->dir, see, &all, &f->err), FIRN_OK);
        assert_int_equal(all.count, 500);
        assert_int_equal(all.sum, 500 * 501 / 2);
    }
    seen first = {.stop_with = FIRN_END};
    assert_int_equal(fs_dir_list(f->dir, see, &first, &f->err), FIRN_END);
    assert_int_equal(first.count, 1);
}

static void RenameReplacesLinkSharesUnlinkRemoves(void **state)
{
    fixture *f = *state;
    char text[4];
    fs_close(create(f, "old", "old"));
    fs_close(create(f, "new", "new"));
    assert_int_equal(fs_rename(f->dir, "new", "old", &f->err), FIRN_OK);
    assert_false(exists(f, "new"));
    fs_file *file = NULL;
    assert_int_equal(fs_open(f->dir, "old", FS_READ, &file, &f->err), FIRN_OK);
    assert_int_equal(fs_read(file, text, 3, 0, &f->err), FIRN_OK);
    assert_memory_equal(text, "new", 3);
    fs_close(file);

    fs_dir *other = NULL;
    assert_int_equal(fs_dir_open_in(f->dir, "other", true, &other, &f->err), FIRN_OK);
    assert_int_equal(fs_link(f->dir, "old", other, "kept", &f->err), FIRN_OK);
    assert_int_equal(fs_link(f->dir, "old", other, "kept", &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EEXIST);
    assert_int_equal(fs_unlink(f->dir, "old", &f->err), FIRN_OK);
    assert_false(exists(f, "old"));
    assert_true(exists(f, "other/kept"));

    error_clear(&f->err);
    assert_int_equal(fs_unlink(f->dir, "old", &f->err), FIRN_NOT_FOUND);
    error_clear(&f->err);
    assert_int_equal(fs_remove(f->dir, "old", &f->err), FIRN_OK);
    assert_int_equal(f->err.status, FIRN_OK);
    /* To a change, a name that is missing is no answer. */
    assert_int_equal(fs_rename(f->dir, "old", "x", &f->err), FIRN_IO);
    assert_int_equal(f->err.status, FIRN_IO);
    assert_int_equal(fs_link(f->dir, "old", other, "x", &f->err), FIRN_IO);
    assert_int_equal(f->err.status, FIRN_IO);
    assert_int_equal(fs_dir_sync(f->dir, &f->err), FIRN_OK);
    assert_int_equal(fs_dir_sync(other, &f->err), FIRN_OK);
    fs_dir_close(other);
}

static void SpaceIsReportedAndProcIsNoPlaceForMappings(void **state)
{
    fixture *f = *state;
    fs_space space = {0};
    assert_int_equal(fs_dir_space(f->dir, &space, &f->err), FIRN_OK);
    assert_true(space.free_bytes > 0);
    fs_dir *proc = NULL;
    assert_int_equal(fs_dir_open(fs_posix(), "/proc", &proc, &f->err), FIRN_OK);
    space.mapping_ok = true;
    assert_int_equal(fs_dir_space(proc, &space, &f->err), FIRN_OK);
    assert_false(space.mapping_ok);
    assert_int_equal(space.free_bytes, 0);
    fs_dir_close(proc);
}

/* ---- Contents ---- */

static void WhatIsWrittenIsReadAndAShortFileIsDamaged(void **state)
{
    fixture *f = *state;
    char text[32];
    fs_file *file = create(f, "a", "hello");
    assert_int_equal(fs_write(file, "world", 5, 10, &f->err), FIRN_OK);
    assert_int_equal(fs_read(file, text, 15, 0, &f->err), FIRN_OK);
    assert_memory_equal(text, "hello\0\0\0\0\0world", 15);
    assert_int_equal(fs_read(file, text, 0, 15, &f->err), FIRN_OK);

    assert_int_equal(fs_read(file, text, 16, 3, &f->err), FIRN_DAMAGED);
    assert_true(f->err.offset == 15);
    assert_string_equal(f->err.message, "the file ends here, 4 bytes are missing");
    assert_non_null(strstr(f->err.file, "/a"));
    assert_true(f->err.hint[0] != '\0');
    assert_int_equal(fs_read(file, text, 1, 15, &f->err), FIRN_DAMAGED);
    assert_int_equal(fs_read(file, text, 1, UINT64_MAX, &f->err), FIRN_DAMAGED);
    assert_int_equal(fs_sync(file, &f->err), FIRN_OK);
    fs_close(file);
    fs_close(NULL);
    fs_dir_close(NULL);
}

static void AReaderCannotWrite(void **state)
{
    fixture *f = *state;
    fs_close(create(f, "a", "hello"));
    fs_file *file = NULL;
    assert_int_equal(fs_open(f->dir, "a", FS_READ, &file, &f->err), FIRN_OK);
    assert_int_equal(fs_write(file, "x", 1, 2, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EBADF);
    assert_true(f->err.offset == 2);
    fs_close(file);
}

static void SizesCanBeAskedCutAndReserved(void **state)
{
    fixture *f = *state;
    uint64_t size = 0;
    fs_file *file = create(f, "a", "hello");
    assert_int_equal(fs_size(file, &size, &f->err), FIRN_OK);
    assert_int_equal(size, 5);
    assert_int_equal(fs_allocate(file, 100000, &f->err), FIRN_OK);
    assert_int_equal(fs_size(file, &size, &f->err), FIRN_OK);
    assert_int_equal(size, 100000);
    static char contents[100000];
    static const char zeros[100000];
    assert_int_equal(fs_read(file, contents, sizeof contents, 0, &f->err), FIRN_OK);
    assert_memory_equal(contents, "hello", 5);
    assert_memory_equal(contents + 5, zeros, sizeof zeros - 5);
    struct stat st;
    assert_int_equal(stat(path_of(f, "a"), &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 >= 100000);

    assert_int_equal(fs_allocate(file, 10, &f->err), FIRN_OK); /* never shrinks */
    assert_int_equal(fs_allocate(file, 0, &f->err), FIRN_OK);
    assert_int_equal(fs_size(file, &size, &f->err), FIRN_OK);
    assert_int_equal(size, 100000);
    assert_int_equal(fs_truncate(file, 3, &f->err), FIRN_OK);
    assert_int_equal(fs_size(file, &size, &f->err), FIRN_OK);
    assert_int_equal(size, 3);
    assert_int_equal(fs_truncate(file, UINT64_MAX, &f->err), FIRN_NO_SPACE);
    assert_int_equal(fs_allocate(file, UINT64_MAX, &f->err), FIRN_NO_SPACE);
    fs_close(file);
}

/* ---- Mappings ---- */

static void AMappingAndTheFileShowTheSameBytes(void **state)
{
    fixture *f = *state;
    const size_t size = 5 * 4096 + 100;
    char text[16];
    fs_file *file = create(f, "a", "");
    assert_int_equal(fs_allocate(file, size, &f->err), FIRN_OK);
    void *address = NULL;
    assert_int_equal(fs_map(file, size, true, &address, &f->err), FIRN_OK);
    char *map = address;

    assert_int_equal(fs_write(file, "written", 7, 4093, &f->err), FIRN_OK);
    assert_memory_equal(map + 4093, "written", 7);
    memcpy(map + 8190, "stored", 6);
    fs_stored(file, 8190, 6);
    assert_int_equal(fs_read(file, text, 6, 8190, &f->err), FIRN_OK);
    assert_memory_equal(text, "stored", 6);

    /* It outlives the handle and the name. */
    assert_int_equal(fs_sync(file, &f->err), FIRN_OK);
    assert_int_equal(fs_unlink(f->dir, "a", &f->err), FIRN_OK);
    assert_memory_equal(map + 4093, "written", 7);
    fs_unmap(file, address, size);
    fs_close(file);
}

static void ALimitOfTheAddressSpaceKeepsHalfOfItFree(void **state)
{
    fixture *f = *state;
    const size_t size = (size_t)1 << 20;
    const uint64_t taken = memory_address_space();
    fs_file *file = create(f, "a", "");
    assert_int_equal(fs_allocate(file, size, &f->err), FIRN_OK);
    struct rlimit old, less, more;
    void *read_only = NULL, *writable = NULL;
    assert_true(taken > size);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    less = more = old;
    less.rlim_cur = (rlim_t)(2 * taken + size);
    more.rlim_cur = (rlim_t)(2 * taken + 64 * size);
    assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
    int refused = fs_map(file, size, false, &read_only, &f->err);
    int written = fs_map(file, size, true, &writable, &f->err);
    setrlimit(RLIMIT_AS, &old);
    assert_int_equal(refused, FIRN_NO_MEMORY);
    assert_int_equal(written, FIRN_OK);
    fs_unmap(file, writable, size);
    assert_int_equal(setrlimit(RLIMIT_AS, &more), 0);
    int mapped = fs_map(file, size, false, &read_only, &f->err);
    setrlimit(RLIMIT_AS, &old);
    assert_int_equal(mapped, FIRN_OK);
    fs_unmap(file, read_only, size);
    fs_close(file);
}

static void ARangeThatIsNotInTheFileIsNotMapped(void **state)
{
    fixture *f = *state;
    fs_file *file = create(f, "a", "12345");
    void *address = NULL;
    assert_int_equal(fs_map(file, 6, false, &address, &f->err), FIRN_DAMAGED);
    assert_true(f->err.offset == 5);
    assert_int_equal(fs_map(file, 0, false, &address, &f->err), FIRN_INVALID);
    assert_null(address);
    assert_int_equal(fs_map(file, 5, false, &address, &f->err), FIRN_OK);
    assert_memory_equal(address, "12345", 5);
    fs_unmap(file, address, 5);
    fs_close(file);
}

static void AReaderGetsNoWritableMapping(void **state)
{
    fixture *f = *state;
    fs_close(create(f, "a", "hello"));
    fs_file *file = NULL;
    void *address = NULL;
    assert_int_equal(fs_open(f->dir, "a", FS_READ, &file, &f->err), FIRN_OK);
    assert_int_equal(fs_map(file, 5, true, &address, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EACCES);
    fs_close(file);
}

static void ADurableWriteIsThereForReaders(void **state)
{
    fixture *f = *state;
    char back[6] = {0};
    fs_file *file = create(f, "a", "start");
    assert_int_equal(fs_write_durable(file, "mart", 4, 1, &f->err), FIRN_OK);
    assert_int_equal(fs_read(file, back, 5, 0, &f->err), FIRN_OK);
    assert_string_equal(back, "smart");
    fs_close(file);
    assert_int_equal(fs_open(f->dir, "a", FS_READ, &file, &f->err), FIRN_OK);
    assert_int_equal(fs_write_durable(file, "x", 1, 0, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EBADF);
    fs_close(file);
}

/* The files of /proc cannot be synced, and the system says so when it is asked: who does not ask sees no error. No other
 * test would notice, since the page cache shows what was written either way. */
static void EverySyncAsksTheSystem(void **state)
{
    fixture *f = *state;
    char value[16];
    fs_dir *proc = NULL;
    fs_file *file = NULL;
    if (fs_dir_open(fs_posix(), "/proc/self", &proc, &f->err) != FIRN_OK ||
        fs_open(proc, "oom_score_adj", FS_WRITE, &file, &f->err) != FIRN_OK) {
        fs_dir_close(proc);
        skip();
    }
    assert_int_equal(fs_dir_sync(proc, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EINVAL);
    assert_int_equal(fs_sync(file, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EINVAL);
    const fs_ops *ops = fs_posix()->ops;
    ssize_t n = ops->pread(file, value, sizeof value, 0);
    assert_true(n > 0);
    assert_int_equal(ops->pwrite(file, value, (size_t)n, 0), n); /* what it is already */
    assert_int_equal(ops->pwrite_durable(file, value, (size_t)n, 0), -EOPNOTSUPP);
    fs_close(file);
    fs_dir_close(proc);
}

static void AdviceChangesNothing(void **state)
{
    fixture *f = *state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    fs_file *file = create(f, "a", "start");
    void *address = NULL;
    assert_int_equal(fs_truncate(file, 4 * page, &f->err), FIRN_OK);
    assert_int_equal(fs_map(file, 4 * page, false, &address, &f->err), FIRN_OK);
    fs_advise(file, address, 4 * page, FS_ADVICE_RANDOM);
    fs_advise(file, (uint8_t *)address + 7, 2 * page, FS_ADVICE_WILL_NEED);
    assert_memory_equal(address, "start", 5);
    fs_unmap(file, address, 4 * page);
    fs_close(file);
}

static void PopulatedPagesAreInMemoryAndKeepTheirBytes(void **state)
{
    fixture *f = *state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t size = 8 * page;
    fs_file *file = create(f, "a", "start");
    assert_int_equal(fs_allocate(file, size, &f->err), FIRN_OK);
    void *address = NULL;
    assert_int_equal(fs_map(file, size, true, &address, &f->err), FIRN_OK);
    uint8_t *map = address;
    int rc = fs_populate(file, map, page, true, &f->err);
    if (rc == FIRN_UNSUPPORTED) {
        fs_unmap(file, address, size);
        fs_close(file);
        skip();
    }
    assert_int_equal(rc, FIRN_OK);
    /* A range need not begin or end with a page. */
    assert_int_equal(fs_populate(file, map + page / 2, 4 * page, true, &f->err), FIRN_OK);
    unsigned char resident[8] = {0};
    assert_int_equal(mincore(address, size, resident), 0);
    for (int i = 0; i < 5; i++)
        assert_true((resident[i] & 1) != 0);
    assert_memory_equal(map, "start", 5);
    assert_int_equal(fs_populate(file, map, size, false, &f->err), FIRN_OK);

    /* What is behind the end of the file would kill the process when touched: here it is an error.
     */
    assert_int_equal(fs_truncate(file, page, &f->err), FIRN_OK);
    assert_int_equal(fs_populate(file, map, size, true, &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, EFAULT);
    assert_true(f->err.hint[0] != '\0');
    fs_unmap(file, address, size);
    fs_close(file);
}

/* ---- The lock ---- */

static void ASecondHandleOfThisProcessFindsTheLockTaken(void **state)
{
    fixture *f = *state;
    fs_file *first = create(f, "LOCK", "");
    fs_file *second = NULL;
    assert_int_equal(fs_open(f->dir, "LOCK", FS_WRITE, &second, &f->err), FIRN_OK);
    assert_int_equal(fs_lock(first, &f->err), FIRN_OK);
    assert_int_equal(fs_lock(second, &f->err), FIRN_LOCKED);
    assert_string_equal(f->err.message, "this process has it open already");
    assert_non_null(strstr(f->err.file, "/LOCK"));
    fs_close(first);
    assert_int_equal(fs_lock(second, &f->err), FIRN_OK);
    fs_close(second);
}

/* A child that holds the lock of a file, or only has it open, until it is killed. */
static pid_t start_holder(fixture *f, const char *name, bool locks)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fs_file *file = NULL;
        char result = 'x';
        if (fs_open(f->dir, name, FS_WRITE, &file, NULL) == FIRN_OK &&
            (!locks || fs_lock(file, NULL) == FIRN_OK))
            result = 'k';
        if (write(ready[1], &result, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char result = 'x';
    close(ready[1]);
    assert_int_equal(read(ready[0], &result, 1), 1);
    close(ready[0]);
    assert_int_equal(result, 'k');
    return pid;
}

static void end_holder(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void AnotherProcessWithTheLockIsNamedAndItsDeathFreesIt(void **state)
{
    fixture *f = *state;
    fs_close(create(f, "LOCK", ""));
    fs_close(create(f, "OTHER", ""));
    pid_t opener = start_holder(f, "LOCK", false);
    pid_t elsewhere = start_holder(f, "OTHER", true);
    pid_t holder = start_holder(f, "LOCK", true);
    pid_t later_opener = start_holder(f, "LOCK", false);
    fs_file *file = NULL;
    assert_int_equal(fs_open(f->dir, "LOCK", FS_WRITE, &file, &f->err), FIRN_OK);
    int rc = fs_lock(file, &f->err);
    end_holder(holder);
    int after = fs_lock(file, NULL);
    end_holder(opener);
    end_holder(elsewhere);
    end_holder(later_opener);
    assert_int_equal(rc, FIRN_LOCKED);
    char expected[64];
    snprintf(expected, sizeof expected, "process %ld holds the lock", (long)holder);
    assert_string_equal(f->err.message, expected);
    assert_int_equal(after, FIRN_OK);
    fs_close(file);
}

static void AskingForTheLockNeitherTakesNorDisturbsIt(void **state)
{
    fixture *f = *state;
    bool locked = true;
    fs_file *file = NULL;
    assert_int_equal(fs_dir_locked(f->dir, "LOCK", &locked, &f->err), FIRN_OK);
    assert_false(locked);
    assert_false(exists(f, "LOCK"));
    assert_int_equal(fs_dir_lock(f->dir, &file, &f->err), FIRN_OK);
    assert_int_equal(fs_dir_locked(f->dir, "LOCK", &locked, &f->err), FIRN_OK);
    assert_true(locked);
    fs_close(file);
    pid_t holder = start_holder(f, "LOCK", true);
    int rc = fs_dir_locked(f->dir, "LOCK", &locked, &f->err);
    end_holder(holder);
    assert_int_equal(rc, FIRN_OK);
    assert_true(locked);
    assert_int_equal(fs_dir_locked(f->dir, "LOCK", &locked, &f->err), FIRN_OK);
    assert_false(locked);
    assert_int_equal(fs_dir_lock(f->dir, &file, &f->err), FIRN_OK);
    fs_close(file);
}

static void LookingOpensNothingAndFollowsNoLink(void **state)
{
    fixture *f = *state;
    fs_entry e;
    fs_close(create(f, "file", "12345"));
    assert_int_equal(symlink("file", path_of(f, "link")), 0);
    assert_int_equal(mkdir(path_of(f, "folder"), 0700), 0);
    assert_int_equal(mkfifo(path_of(f, "pipe"), 0600), 0);
    assert_int_equal(fs_look(f->dir, "file", &e, &f->err), FIRN_OK);
    assert_int_equal(e.kind, FS_KIND_FILE);
    assert_int_equal(e.size, 5);
    assert_int_equal(e.links, 1);
    assert_true(e.changed_ms > UINT64_C(1600000000000));
    assert_int_equal(fs_look(f->dir, "link", &e, &f->err), FIRN_OK);
    assert_int_equal(e.kind, FS_KIND_LINK);
    assert_int_equal(fs_look(f->dir, "folder", &e, &f->err), FIRN_OK);
    assert_int_equal(e.kind, FS_KIND_FOLDER);
    assert_int_equal(fs_look(f->dir, "pipe", &e, &f->err), FIRN_OK);
    assert_int_equal(e.kind, FS_KIND_OTHER);
    assert_int_equal(fs_look(f->dir, "nothing", &e, &f->err), FIRN_NOT_FOUND);
}

static void OnlyAnEmptyFolderIsRemoved(void **state)
{
    fixture *f = *state;
    assert_int_equal(mkdir(path_of(f, "folder"), 0700), 0);
    assert_int_equal(symlink("folder", path_of(f, "link")), 0);
    fs_close(create(f, "file", "x"));
    assert_int_equal(mkdir(path_of(f, "folder/in"), 0700), 0);
    assert_int_equal(fs_dir_remove_in(f->dir, "folder", &f->err), FIRN_IO);
    assert_int_equal(f->err.sys_errno, ENOTEMPTY);
    assert_int_equal(fs_dir_remove(fs_posix(), path_of(f, "folder/in"), &f->err), FIRN_OK);
    assert_int_equal(fs_dir_remove_in(f->dir, "link", &f->err), FIRN_IO);
    assert_int_equal(fs_dir_remove_in(f->dir, "file", &f->err), FIRN_IO);
    assert_int_equal(fs_dir_remove_in(f->dir, "folder", &f->err), FIRN_OK);
    assert_int_equal(fs_dir_remove_in(f->dir, "folder", &f->err), FIRN_NOT_FOUND);
    assert_true(exists(f, "file"));
}

/* ---- Clocks and chance ---- */

static void ClocksRunForwardAndChanceDiffers(void **state)
{
    fixture *f = *state;
    fs *real = fs_posix();
    uint64_t last = fs_mono_us(real);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = fs_mono_us(real);
        assert_true(now >= last);
        last = now;
    }
    assert_true(fs_wall_us(real) > UINT64_C(1577836800) * 1000000); /* 2020 */
    static uint8_t a[1000], b[1000];
    assert_int_equal(fs_random(real, a, sizeof a, &f->err), FIRN_OK);
    assert_int_equal(fs_random(real, b, sizeof b, &f->err), FIRN_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 900, b + 900, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FS_TEST(NewFilesAreCreatedOnceAndForTheOwnerOnly),
        FS_TEST(AMissingFileIsNotFoundAndNotCreated),
        FS_TEST(LinksAreNotFollowed),
        FS_TEST(APathMayGoThroughALink),
        FS_TEST(OnlyPlainFilesAreOpened),
        FS_TEST(NamesStayInTheirFolder),
        FS_TEST(DescriptorsAreClosedOnExec),
        FS_TEST(EveryAllocationOfAnOpenMayFailAndNothingLeaks),
        FS_TEST(OpeningAFolderDoesNotMakeIt),
        FS_TEST(FoldersAreMadeWithTheirParentsForTheOwnerOnly),
        FS_TEST(ABareNameIsMadeInTheWorkingFolder),
        FS_TEST(AFileInTheWayOfAFolderIsRefused),
        FS_TEST(AListingShowsEveryNameOnceAndStopsWhenTold),
        FS_TEST(RenameReplacesLinkSharesUnlinkRemoves),
        FS_TEST(SpaceIsReportedAndProcIsNoPlaceForMappings),
        FS_TEST(WhatIsWrittenIsReadAndAShortFileIsDamaged),
        FS_TEST(AReaderCannotWrite),
        FS_TEST(SizesCanBeAskedCutAndReserved),
        FS_TEST(AMappingAndTheFileShowTheSameBytes),
        FS_TEST(ALimitOfTheAddressSpaceKeepsHalfOfItFree),
        FS_TEST(ARangeThatIsNotInTheFileIsNotMapped),
        FS_TEST(AReaderGetsNoWritableMapping),
        FS_TEST(ADurableWriteIsThereForReaders),
        FS_TEST(EverySyncAsksTheSystem),
        FS_TEST(AdviceChangesNothing),
        FS_TEST(PopulatedPagesAreInMemoryAndKeepTheirBytes),
        FS_TEST(ASecondHandleOfThisProcessFindsTheLockTaken),
        FS_TEST(AnotherProcessWithTheLockIsNamedAndItsDeathFreesIt),
        FS_TEST(AskingForTheLockNeitherTakesNorDisturbsIt),
        FS_TEST(LookingOpensNothingAndFollowsNoLink),
        FS_TEST(OnlyAnEmptyFolderIsRemoved),
        FS_TEST(ClocksRunForwardAndChanceDiffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
