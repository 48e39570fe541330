/* fs_posix: the real file system behind the seam (include/base/fs.h), for Linux.
 *
 * One system call an operation, no repetition, no messages: that is fs.c. What is decided here is
 * what may be opened at all. A folder may have been prepared by an enemy, so everything is relative
 * to an open descriptor, no link inside it is followed, and what is not a plain file is refused.
 */
#include <base/alloc.h>
#include <base/error.h>
#include <base/fs.h>

#include "fs_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

typedef struct posix_dir {
    fs_dir base;
    int fd;
} posix_dir;

typedef struct posix_file {
    fs_file base;
    int fd;
} posix_file;

static int dir_fd(const fs_dir *dir)
{
    return ((const posix_dir *)dir)->fd;
}

static int file_fd(const fs_file *file)
{
    return ((const posix_file *)file)->fd;
}

/* What a call that returns 0 or -1 says, in the terms of fs_ops. */
static int outcome(int result)
{
    return result == 0 ? 0 : -errno;
}

/* ---- Folders ---- */

/* Takes over fd and path; path may be NULL after a failed allocation. */
static int dir_new(fs *f, int fd, char *path, fs_dir **out)
{
    posix_dir *dir = path ? mem_zalloc(sizeof(*dir)) : NULL;
    if (!dir) {
        mem_free(path);
        close(fd);
        return -ENOMEM;
    }
    dir->base = (fs_dir){.owner = f, .path = path};
    dir->fd = fd;
    *out = &dir->base;
    return 0;
}

/* The path is the caller's own word: a link that it names is followed, as everybody expects of
 * paths. */
static int posix_dir_open(fs *f, const char *path, fs_dir **out)
{
    int fd = open(path, DIR_FLAGS);
    return fd < 0 ? -errno : dir_new(f, fd, mem_strdup(path), out);
}

static int posix_dir_make(fs *f, const char *path)
{
    (void)f;
    return outcome(mkdir(path, 0700));
}

static int posix_dir_open_in(fs_dir *parent, const char *name, bool create, fs_dir **out)
{
    if (create && mkdirat(dir_fd(parent), name, 0700) != 0 && errno != EEXIST)
        return -errno;
    int fd = openat(dir_fd(parent), name, DIR_FLAGS | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t size = strlen(parent->path) + strlen(name) + 2;
    char *path = mem_alloc(size);
    if (path)
        fs_path(path, size, parent, name);
    return dir_new(parent->owner, fd, path, out);
}

static void posix_dir_close(fs_dir *dir)
{
    close(dir_fd(dir));
    mem_free(dir->path);
    mem_free(dir);
}

static int posix_dir_sync(fs_dir *dir)
{
    return outcome(fsync(dir_fd(dir)));
}

static int posix_dir_list(fs_dir *dir, fs_list_fn fn, void *ctx)
{
    /* A second description of the folder: the position belongs to this listing alone. */
    int fd = openat(dir_fd(dir), ".", DIR_FLAGS);
    if (fd < 0)
        return -errno;
    DIR *stream = fdopendir(fd);
    if (!stream) {
        int result = -errno;
        close(fd);
        return result;
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = fn(ctx, entry->d_name);
    }
    closedir(stream);
    return result;
}

static int posix_dir_space(fs_dir *dir, fs_space *out)
{
    struct statfs st;
    if (fstatfs(dir_fd(dir), &st) != 0)
        return -errno;
    /* A list of what is known to be sound, since a wrong yes costs data and a wrong no a system
     * call. Missing on purpose: btrfs, bcachefs and zfs (each store into a mapped page is copied on
     * write-back), NFS, CIFS, 9p and FUSE (the mapping and write() need not agree). */
    static const unsigned long sound[] = {
        0xef53,     /* ext2, ext3, ext4 */
        0x58465342, /* xfs */
        0x01021994, /* tmpfs */
        0xf2f52010, /* f2fs */
        0x794c7630, /* overlayfs: files are copied up when they are opened for writing */
    };
    bool mapping_ok = false;
    for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++)
        mapping_ok = mapping_ok || ((unsigned long)st.f_type & 0xffffffff) == sound[i];
    uint64_t unit = st.f_frsize > 0 ? (uint64_t)st.f_frsize : (uint64_t)st.f_bsize;
    uint64_t free_bytes;
    if (__builtin_mul_overflow((uint64_t)st.f_bavail, unit, &free_bytes))
        free_bytes = UINT64_MAX;
    *out = (fs_space){.free_bytes = free_bytes, .mapping_ok = mapping_ok};
    return 0;
}

static int posix_rename(fs_dir *dir, const char *from, const char *to)
{
    return outcome(renameat(dir_fd(dir), from, dir_fd(dir), to));
}

static int posix_unlink(fs_dir *dir, const char *name)
{
    return outcome(unlinkat(dir_fd(dir), name, 0));
}

static int posix_link(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to)
{
    return outcome(linkat(dir_fd(dir), name, dir_fd(to_dir), to, 0));
}

/* ---- Files ---- */

static int posix_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    /* O_NONBLOCK and O_NOCTTY mean nothing for the plain files that we want; without them a pipe
     * would hang the open, and a terminal could become ours. */
    int how = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    how |= (flags & FS_WRITE) ? O_RDWR : O_RDONLY;
    if (flags & FS_CREATE_NEW)
        how |= O_CREAT | O_EXCL;
    int fd = openat(dir_fd(dir), name, how, 0600);
    if (fd < 0)
        return -errno;

    int result = 0;
    struct stat st;
    posix_file *file = NULL;
    if (fstat(fd, &st) != 0)
        result = -errno;
    else if (S_ISDIR(st.st_mode))
        result = -EISDIR;
    else if (!S_ISREG(st.st_mode))
        result = -EINVAL;
    else if (!(file = mem_zalloc(sizeof(*file))))
        result = -ENOMEM;
    if (result != 0) {
        close(fd);
        return result;
    }
    file->base.owner = dir->owner;
    fs_path(file->base.path, sizeof(file->base.path), dir, name);
    file->fd = fd;
    *out = &file->base;
    return 0;
}

static void posix_close(fs_file *file)
{
    close(file_fd(file));
    mem_free(file);
}

static ssize_t posix_pread(fs_file *file, void *data, size_t size, uint64_t offset)
{
    ssize_t n = pread(file_fd(file), data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static ssize_t posix_pwrite(fs_file *file, const void *data, size_t size, uint64_t offset)
{
    ssize_t n = pwrite(file_fd(file), data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static ssize_t posix_pwrite_durable(fs_file *file, const void *data, size_t size, uint64_t offset)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    ssize_t n = pwritev2(file_fd(file), &piece, 1, (off_t)offset, RWF_DSYNC);
    return n < 0 ? -errno : n;
}

static int posix_sync(fs_file *file)
{
    return outcome(fdatasync(file_fd(file)));
}

static int posix_size(fs_file *file, uint64_t *out)
{
    struct stat st;
    if (fstat(file_fd(file), &st) != 0)
        return -errno;
    *out = (uint64_t)st.st_size;
    return 0;
}

static int posix_truncate(fs_file *file, uint64_t size)
{
    return outcome(ftruncate(file_fd(file), (off_t)size));
}

static int posix_allocate(fs_file *file, uint64_t size)
{
    return outcome(fallocate(file_fd(file), 0, 0, (off_t)size));
}

static int posix_map(fs_file *file, size_t size, bool writable, void **out)
{
    int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *address = mmap(NULL, size, access, MAP_SHARED, file_fd(file), 0);
    if (address == MAP_FAILED)
        return -errno;
    *out = address;
    return 0;
}

static void posix_unmap(fs_file *file, void *address, size_t size)
{
    (void)file;
    munmap(address, size);
}

/* madvise wants whole pages, and would call a start inside one EINVAL: the word for "cannot". */
static int advise_pages(void *address, size_t size, int advice)
{
    size_t inside = (uintptr_t)address % (uintptr_t)sysconf(_SC_PAGESIZE);
    return outcome(madvise((uint8_t *)address - inside, size + inside, advice));
}

static int posix_populate(fs_file *file, void *address, size_t size, bool write)
{
    (void)file;
    return advise_pages(address, size, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

static void posix_advise(fs_file *file, void *address, size_t size, fs_advice advice)
{
    (void)file;
    (void)advise_pages(address, size, advice == FS_ADVICE_RANDOM ? MADV_RANDOM : MADV_WILLNEED);
}

static int posix_lock(fs_file *file, long *holder)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file_fd(file), F_OFD_SETLK, &whole) == 0)
        return 0;
    int result = -errno;
    if (result == -EAGAIN || result == -EACCES) {
        *holder = lock_holder_find(file_fd(file));
        result = -EWOULDBLOCK;
    }
    return result;
}

/* ---- Clocks and chance ---- */

static uint64_t clock_us(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t); /* cannot fail: both clocks exist in every Linux */
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t posix_wall_us(fs *f)
{
    (void)f;
    /* The date of a tick ago: a log asks for it at every write, and the exact one costs five times as much. */
    return clock_us(CLOCK_REALTIME_COARSE);
}

static uint64_t posix_mono_us(fs *f)
{
    (void)f;
    return clock_us(CLOCK_MONOTONIC);
}

static int posix_random(fs *f, void *data, size_t size)
{
    (void)f;
    uint8_t *p = data;
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static const fs_ops ops = {
    .dir_open = posix_dir_open,
    .dir_make = posix_dir_make,
    .dir_open_in = posix_dir_open_in,
    .dir_close = posix_dir_close,
    .dir_sync = posix_dir_sync,
    .dir_list = posix_dir_list,
    .dir_space = posix_dir_space,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .link = posix_link,
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .pwrite_durable = posix_pwrite_durable,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .map = posix_map,
    .unmap = posix_unmap,
    .populate = posix_populate,
    .advise = posix_advise,
    .stored = NULL, /* the kernel finds dirty pages itself */
    .lock = posix_lock,
    .wall_us = posix_wall_us,
    .mono_us = posix_mono_us,
    .random = posix_random,
};

fs *fs_posix(void)
{
    static fs only = {.ops = &ops};
    return &only;
}
