/* counted_fs: the real file system, with a count of what is read of it: for tests of what a huge file costs. */
#ifndef SUPPORT_COUNTED_FS_H
#define SUPPORT_COUNTED_FS_H

#include <base/fs.h>

typedef struct counted_fs {
    fs base;
    fs_ops ops;
    uint64_t bytes;   /* read, or brought in for a mapping */
    uint64_t largest; /* of one call */
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

/* Starts counting at 0. */
static fs *counted_fs_new(void)
{
    counted_fs *c = &the_counted_fs;
    *c = (counted_fs){.ops = *fs_posix()->ops};
    c->ops.pread = counted_pread;
    c->ops.populate = counted_populate;
    c->base.ops = &c->ops;
    return &c->base;
}

#endif
