/* counted_fs: the real file system, with a count of what is read of it, for tests of what a huge file costs, and of the
 * descriptors that are open at once. It syncs nothing: no test that counts cuts the power, and thousands of tables are made. */
#ifndef SUPPORT_COUNTED_FS_H
#define SUPPORT_COUNTED_FS_H

#include <base/fs.h>

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

typedef struct counted_fs {
    fs base;
    fs_ops ops;
    _Atomic uint64_t bytes;     /* read, or brought in for a mapping */
    _Atomic uint64_t largest;   /* of one call */
    _Atomic int64_t open, most; /* descriptors of files and folders; a listing is not counted */
    uint64_t limit;             /* what the seam says the process may have; 0: what it has */
} counted_fs;

static counted_fs the_counted_fs;

static void counted_add(uint64_t size)
{
    the_counted_fs.bytes += size;
    if (size > the_counted_fs.largest)
        the_counted_fs.largest = size;
}

static ssize_t counted_pread(fs_file *file, void *data, size_t size, uint64_t offset)
{
    ssize_t n = fs_posix()->ops->pread(file, data, size, offset);
    if (n > 0)
        counted_add((uint64_t)n);
    return n;
}

static int counted_populate(fs_file *file, void *address, size_t size, bool write)
{
    counted_add(size);
    return fs_posix()->ops->populate(file, address, size, write);
}

static void counted_opened(int result)
{
    counted_fs *c = &the_counted_fs;
    int64_t now = result == 0 ? atomic_fetch_add(&c->open, 1) + 1 : 0;
    for (int64_t most = atomic_load(&c->most);
         now > most && !atomic_compare_exchange_weak(&c->most, &most, now);)
        ;
}

static void counted_closed(int result)
{
    if (result == 0)
        atomic_fetch_sub(&the_counted_fs.open, 1);
}

static int counted_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    int result = fs_posix()->ops->open(dir, name, flags, out);
    counted_opened(result);
    return result;
}

static int counted_dir_open(fs *f, const char *path, fs_dir **out)
{
    int result = fs_posix()->ops->dir_open(f, path, out);
    counted_opened(result);
    return result;
}

static int counted_dir_open_in(fs_dir *parent, const char *name, bool create, fs_dir **out)
{
    int result = fs_posix()->ops->dir_open_in(parent, name, create, out);
    counted_opened(result);
    return result;
}

static int counted_resume(fs_dir *dir, const char *name, fs_file *file)
{
    int result = fs_posix()->ops->resume(dir, name, file);
    counted_opened(result);
    return result;
}

/* A file that rests has given its descriptor back already. */
static bool counted_rests(const fs_file *file);

static void counted_close(fs_file *file)
{
    counted_closed(counted_rests(file) ? -1 : 0);
    fs_posix()->ops->close(file);
}

static void counted_dir_close(fs_dir *dir)
{
    counted_closed(0);
    fs_posix()->ops->dir_close(dir);
}

static int counted_rest(fs_file *file)
{
    int result = fs_posix()->ops->rest(file);
    counted_closed(result);
    return result;
}

static bool counted_rests(const fs_file *file)
{
    uint64_t size;
    return fs_posix()->ops->size((fs_file *)(uintptr_t)file, &size) == -EBADF;
}

static uint64_t counted_limit(fs *f)
{
    return the_counted_fs.limit ? the_counted_fs.limit : fs_posix()->ops->descriptor_limit(f);
}

static int counted_sync(fs_file *file)
{
    (void)file;
    return 0;
}

static int counted_dir_sync(fs_dir *dir)
{
    (void)dir;
    return 0;
}

/* Starts counting at 0. */
static fs *counted_fs_new(void)
{
    counted_fs *c = &the_counted_fs;
    memset(c, 0, sizeof *c);
    c->ops = *fs_posix()->ops;
    c->ops.pread = counted_pread;
    c->ops.populate = counted_populate;
    c->ops.open = counted_open;
    c->ops.close = counted_close;
    c->ops.dir_open = counted_dir_open;
    c->ops.dir_open_in = counted_dir_open_in;
    c->ops.dir_close = counted_dir_close;
    c->ops.sync = counted_sync;
    c->ops.dir_sync = counted_dir_sync;
    c->ops.rest = counted_rest;
    c->ops.resume = counted_resume;
    c->ops.descriptor_limit = counted_limit;
    c->base.ops = &c->ops;
    return &c->base;
}

#endif
