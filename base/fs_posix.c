/* fs_posix: the real file system behind the seam (include/base/fs.h), for Linux.
 *
 * One system call an operation, no repetition, no messages: that is fs.c. What is decided here is
 * what may be opened at all. A folder may have been prepared by an attacker, so everything is
 * relative to an open descriptor, no link inside it is followed, and what is not a plain file is
 * refused.
 */
#include <base/alloc.h>
#include <base/error.h>
#include <base/fs.h>
#include <base/thread.h>

#include "fs_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
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

/* Locks belong to the open file description, which a fork shares: closing our descriptor would
 * leave them to the child. So they are given up before, but only by the process that took them:
 * `locked_in` is its fork generation, 0 without a lock. */
typedef struct posix_dir {
    fs_dir base;
    int fd;
    uint32_t locked_in;
    char *way;        /* absolute, without links; NULL: none was noted */
    struct stat root; /* what "/" was then */
} posix_dir;

/* Which file it is. An inode number is used again as soon as its file is gone, so the
 * creation time (btime) tells more, where the file system keeps it. */
typedef struct identity {
    uint64_t inode, size;
    uint32_t device_major, device_minor;
    struct statx_timestamp btime;
} identity;

/* `fd` and `seen` change when the file is laid to rest or resumed. The owner of the file sees to it
 * that no other call is under way then (fs.h). */
typedef struct posix_file {
    fs_file base;
    int fd; /* -1: it rests */
    bool scattered;
    uint32_t locked_in;
    identity seen; /* when it was laid to rest */
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
    posix_dir *dir = path ? heap_zalloc(sizeof *dir) : NULL;
    if (!dir) {
        heap_free(path);
        close(fd);
        return -ENOMEM;
    }
    dir->base = (fs_dir){.owner = f, .path = path};
    dir->fd = fd;
    *out = &dir->base;
    return 0;
}

/* The path comes from the caller, so a link in it is followed, as every program expects. */
static int posix_dir_open(fs *f, const char *path, fs_dir **out)
{
    int fd = open(path, DIR_FLAGS);
    return fd < 0 ? -errno : dir_new(f, fd, heap_strdup(path), out);
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
    char *path = heap_alloc(size);
    if (path)
        fs_path(path, size, parent, name);
    return dir_new(parent->owner, fd, path, out);
}

static void posix_dir_close(fs_dir *dir)
{
    posix_dir *d = (posix_dir *)dir;
    if (d->locked_in == fork_generation())
        (void)flock(d->fd, LOCK_UN); /* closing would do it, were there no child with a copy */
    close(d->fd);
    heap_free(d->way);
    heap_free(dir->path);
    heap_free(dir);
}

static int posix_dir_sync(fs_dir *dir)
{
    return outcome(fsync(dir_fd(dir)));
}

/* Some file systems do not say in a listing what a name stands for. */
static bool is_plain(int fd, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_REG;
    return fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(st.st_mode);
}

static int list(fs_dir *dir, bool odd_only, fs_list_fn fn, void *ctx)
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
        if (!entry && errno == EINTR)
            continue; /* the stream stands where it stood */
        if (!entry) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !(odd_only && is_plain(fd, entry)))
            result = fn(ctx, entry->d_name);
    }
    closedir(stream);
    return result;
}

static int posix_dir_list(fs_dir *dir, fs_list_fn fn, void *ctx)
{
    return list(dir, false, fn, ctx);
}

static int posix_dir_list_odd(fs_dir *dir, fs_list_fn fn, void *ctx)
{
    return list(dir, true, fn, ctx);
}

static int posix_look(fs_dir *dir, const char *name, fs_entry *out)
{
    struct stat st;
    if (fstatat(dir_fd(dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    *out = (fs_entry){
        .kind = FS_KIND_OTHER, .links = (uint64_t)st.st_nlink, .size = (uint64_t)st.st_size};
    out->changed_ms = (uint64_t)st.st_ctim.tv_sec * 1000 + (uint64_t)st.st_ctim.tv_nsec / 1000000;
    if (S_ISREG(st.st_mode))
        out->kind = FS_KIND_FILE;
    else if (S_ISDIR(st.st_mode))
        out->kind = FS_KIND_FOLDER;
    else if (S_ISLNK(st.st_mode))
        out->kind = FS_KIND_LINK;
    return 0;
}

static int posix_dir_remove(fs *f, fs_dir *parent, const char *path)
{
    (void)f;
    return outcome(unlinkat(parent ? dir_fd(parent) : AT_FDCWD, path, AT_REMOVEDIR));
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
    for (size_t i = 0; i < sizeof sound / sizeof sound[0]; i++)
        mapping_ok = mapping_ok || ((unsigned long)st.f_type & 0xffffffff) == sound[i];
    uint64_t unit = st.f_frsize > 0 ? (uint64_t)st.f_frsize : (uint64_t)st.f_bsize;
    uint64_t free_bytes;
    if (__builtin_mul_overflow((uint64_t)st.f_bavail, unit, &free_bytes))
        free_bytes = UINT64_MAX;
    *out = (fs_space){.free_bytes = free_bytes, .mapping_ok = mapping_ok};
    return 0;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* The path may be relative to a working folder that changes, or go through a link that does.
 * Failing costs a later check and nothing else. */
static int note_way(posix_dir *d)
{
    char way[PATH_MAX];
    struct stat here, there;
    if (d->way || !realpath(d->base.path, way) || stat(way, &there) != 0 ||
        fstat(d->fd, &here) != 0 || !same_inode(&here, &there) || stat("/", &d->root) != 0)
        return 0;
    d->way = heap_strdup(way);
    return d->way ? 0 : -ENOMEM;
}

static int posix_dir_lock(fs_dir *dir, long *holder)
{
    posix_dir *d = (posix_dir *)dir;
    int result = note_way(d);
    if (result != 0)
        return result;
    if (flock(d->fd, LOCK_EX | LOCK_NB) == 0) {
        d->locked_in = fork_generation();
        return 0;
    }
    result = -errno;
    if (result == -EWOULDBLOCK)
        *holder = lock_holder_find(d->fd);
    return result;
}

/* A server that has forgotten the folder says ESTALE, which means another thing in fs_ops. */
static int folder_outcome(int sys_errno)
{
    return sys_errno == ENOTDIR || sys_errno == ESTALE ? -ENOENT : -sys_errno;
}

static int posix_dir_named(fs_dir *dir)
{
    const posix_dir *d = (const posix_dir *)dir;
    struct stat here, there, root;
    if (fstat(d->fd, &here) != 0)
        return folder_outcome(errno);
    if (here.st_nlink == 0)
        return -ENOENT;
    /* From another root, the way leads anywhere. */
    if (!d->way || stat("/", &root) != 0 || !same_inode(&root, &d->root))
        return 0;
    if (stat(d->way, &there) != 0)
        return folder_outcome(errno);
    return same_inode(&here, &there) ? 0 : -ESTALE;
}

static int posix_named(fs_dir *dir, const char *name, fs_file *file)
{
    struct stat named, opened;
    if (fstatat(dir_fd(dir), name, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        fstat(file_fd(file), &opened) != 0)
        return -errno;
    return same_inode(&named, &opened) ? 0 : -ESTALE;
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

static int posix_move(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to)
{
    return outcome(renameat(dir_fd(dir), name, dir_fd(to_dir), to));
}

/* ---- Files ---- */

/* Why this may not be opened as a plain file, or 0. */
static int refusal(const struct stat *st, unsigned flags)
{
    if (S_ISDIR(st->st_mode))
        return -EISDIR;
    if (S_ISLNK(st->st_mode))
        return -ELOOP;
    if (!S_ISREG(st->st_mode))
        return -EINVAL;
    bool shared = st->st_nlink > 1 && (flags & FS_WRITE) && !(flags & FS_ANY_LINKS);
    return shared ? -EMLINK : 0;
}

/* O_NONBLOCK and O_NOCTTY mean nothing for the plain files that we want; without them a pipe would
 * hang the open, and a terminal could become ours. */
#define OPEN_FLAGS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

/* Belongs to the descriptor. Costs or saves time and nothing else. */
static void read_as_told(const posix_file *file)
{
    if (file->scattered)
        (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM);
}

static int posix_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    int how = OPEN_FLAGS | ((flags & FS_WRITE) ? O_RDWR : O_RDONLY);
    struct stat st;
    int result = 0;
    if (flags & FS_CREATE_NEW)
        how |= O_CREAT | O_EXCL;
    else if (fstatat(dir_fd(dir), name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        result = refusal(&st, flags); /* merely opening some devices has an effect */
    if (result != 0)
        return result;
    /* First what may be refused: a file that was made must not stay behind a failure. */
    posix_file *file = heap_zalloc(sizeof *file);
    if (!file)
        return -ENOMEM;
    file->fd = openat(dir_fd(dir), name, how, 0600);
    if (file->fd < 0) {
        result = -errno;
        heap_free(file);
        return result;
    }
    do {
        result = outcome(fstat(file->fd, &st));
    } while (result == -EINTR); /* asking once more for the file would find it there */
    if (result == 0)
        result = refusal(&st, flags);
    if (result != 0) {
        close(file->fd);
        heap_free(file);
        return result;
    }
    file->scattered = (flags & FS_SCATTERED) != 0;
    read_as_told(file);
    file->base.owner = dir->owner;
    fs_path(file->base.path, sizeof file->base.path, dir, name);
    *out = &file->base;
    return 0;
}

static void posix_close(fs_file *file)
{
    posix_file *f = (posix_file *)file;
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (f->locked_in == fork_generation())
        (void)fcntl(f->fd, F_OFD_SETLK, &whole); /* as in posix_dir_close */
    if (f->fd >= 0)
        close(f->fd);
    heap_free(file);
}

static int identify(int fd, identity *out)
{
    struct statx st;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_SIZE | STATX_BTIME, &st) != 0)
        return -errno;
    *out = (identity){.inode = st.stx_ino,
                      .size = st.stx_size,
                      .device_major = st.stx_dev_major,
                      .device_minor = st.stx_dev_minor};
    if (st.stx_mask & STATX_BTIME)
        out->btime = st.stx_btime;
    return 0;
}

static bool is_same_file(const identity *a, const identity *b)
{
    return a->inode == b->inode && a->size == b->size && a->device_major == b->device_major &&
           a->device_minor == b->device_minor && a->btime.tv_sec == b->btime.tv_sec &&
           a->btime.tv_nsec == b->btime.tv_nsec;
}

static int posix_rest(fs_file *file)
{
    posix_file *f = (posix_file *)file;
    if (f->locked_in != 0)
        return -EBUSY;
    int result = identify(f->fd, &f->seen);
    if (result != 0)
        return result;
    close(f->fd);
    f->fd = -1;
    return 0;
}

static int posix_resume(fs_dir *dir, const char *name, fs_file *file)
{
    posix_file *f = (posix_file *)file;
    struct stat st;
    identity now = {0};
    if (fstatat(dir_fd(dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (refusal(&st, FS_READ) != 0) /* as in posix_open */
        return -ESTALE;
    int fd = openat(dir_fd(dir), name, OPEN_FLAGS | O_RDONLY);
    if (fd < 0)
        return errno == ELOOP || errno == ENXIO ? -ESTALE : -errno;
    int result = identify(fd, &now);
    if (result == 0 && !is_same_file(&f->seen, &now))
        result = -ESTALE;
    if (result != 0) {
        close(fd);
        return result;
    }
    f->fd = fd;
    read_as_told(f);
    return 0;
}

static void posix_read_ahead(fs_file *file, uint64_t offset, size_t size)
{
    (void)posix_fadvise(file_fd(file), (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
}

static void posix_write_out(fs_file *file, uint64_t offset, size_t size)
{
    (void)sync_file_range(file_fd(file), (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
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

static int posix_next_data(fs_file *file, uint64_t from, uint64_t *start, uint64_t *end)
{
    off_t data = lseek(file_fd(file), (off_t)from, SEEK_DATA);
    if (data < 0 && errno == ENXIO) { /* no data behind `from` */
        int result = posix_size(file, end);
        *start = *end;
        return result;
    }
    off_t hole = data < 0 ? -1 : lseek(file_fd(file), data, SEEK_HOLE);
    if (hole < 0)
        return -errno;
    *start = (uint64_t)data;
    *end = (uint64_t)hole;
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

static _Atomic uint64_t mapped_bytes; /* of files; relaxed: a sum */

/* Where the address space is limited (RLIMIT_AS), files that are only read get a quarter of it, and
 * nothing beyond the half that the process has taken otherwise: they can be read without a mapping,
 * while heaps (64 MiB for each thread's, in the GNU library), stacks and the log that is written
 * cannot do without. */
static bool has_room_to_map(size_t size)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return true;
    return atomic_load_explicit(&mapped_bytes, memory_order_relaxed) + size <= limit.rlim_cur / 4 &&
           memory_address_space() + size <= limit.rlim_cur / 2;
}

static int posix_map(fs_file *file, size_t size, bool writable, void **out)
{
    int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    if (!writable && !has_room_to_map(size))
        return -ENOMEM;
    void *address = mmap(NULL, size, access, MAP_SHARED, file_fd(file), 0);
    if (address == MAP_FAILED && errno == ENOMEM && heap_relieve())
        address = mmap(NULL, size, access, MAP_SHARED, file_fd(file), 0);
    if (address == MAP_FAILED)
        return -errno;
    atomic_fetch_add_explicit(&mapped_bytes, size, memory_order_relaxed);
    *out = address;
    return 0;
}

static void posix_unmap(fs_file *file, void *address, size_t size)
{
    (void)file;
    munmap(address, size);
    atomic_fetch_sub_explicit(&mapped_bytes, size, memory_order_relaxed);
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
    static const int said[] = {[FS_ADVICE_RANDOM] = MADV_RANDOM,
                               [FS_ADVICE_WILL_NEED] = MADV_WILLNEED,
                               [FS_ADVICE_DONE] = MADV_DONTNEED};
    (void)advise_pages(address, size, said[advice]);
}

static int posix_lock(fs_file *file, long *holder)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file_fd(file), F_OFD_SETLK, &whole) == 0) {
        ((posix_file *)file)->locked_in = fork_generation();
        return 0;
    }
    int result = -errno;
    if (result == -EAGAIN || result == -EACCES) {
        *holder = lock_holder_find(file_fd(file));
        result = -EWOULDBLOCK;
    }
    return result;
}

static uint64_t posix_file_limit(fs *f)
{
    (void)f;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return (uint64_t)limit.rlim_cur;
}

static uint64_t posix_descriptor_limit(fs *f)
{
    (void)f;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return (uint64_t)limit.rlim_cur;
}

static uint64_t posix_memory_limit(fs *f)
{
    (void)f;
    struct rlimit limit;
    uint64_t bytes = memory_limit_find("/proc/self/cgroup", "/sys/fs/cgroup");
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < bytes)
        bytes = (uint64_t)limit.rlim_cur;
    return bytes;
}

static int posix_locked(fs_file *file)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file_fd(file), F_OFD_GETLK, &whole) != 0)
        return -errno;
    return whole.l_type != F_UNLCK;
}

/* ---- Clocks and chance ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t); /* cannot fail: both clocks exist in every Linux */
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t posix_wall_us(fs *f)
{
    (void)f;
    /* The date of a tick ago: a log asks for it at every write, and the exact one costs five times
     * as much. */
    return clock_ns(CLOCK_REALTIME_COARSE) / 1000;
}

static uint64_t posix_mono_ns(fs *f)
{
    (void)f;
    return clock_ns(CLOCK_MONOTONIC);
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
    .dir_list_odd = posix_dir_list_odd,
    .look = posix_look,
    .dir_space = posix_dir_space,
    .dir_remove = posix_dir_remove,
    .dir_lock = posix_dir_lock,
    .dir_named = posix_dir_named,
    .named = posix_named,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .link = posix_link,
    .move = posix_move,
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .pwrite_durable = posix_pwrite_durable,
    .sync = posix_sync,
    .size = posix_size,
    .next_data = posix_next_data,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .map = posix_map,
    .unmap = posix_unmap,
    .populate = posix_populate,
    .advise = posix_advise,
    .stored = NULL, /* the kernel finds dirty pages itself */
    .lock = posix_lock,
    .file_limit = posix_file_limit,
    .locked = posix_locked,
    .rest = posix_rest,
    .resume = posix_resume,
    .read_ahead = posix_read_ahead,
    .write_out = posix_write_out,
    .descriptor_limit = posix_descriptor_limit,
    .memory_limit = posix_memory_limit,
    .wall_us = posix_wall_us,
    .mono_ns = posix_mono_ns,
    .random = posix_random,
};

fs *fs_posix(void)
{
    static fs only = {.ops = &ops};
    return &only;
}
