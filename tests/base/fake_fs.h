/* fake_fs: a file system with one folder and one file that does as it is told: fails a call, moves few bytes at a time, is
 * interrupted. For the tests of the wrappers around the seam; there is one, `the_fake`. */
#ifndef TESTS_BASE_FAKE_FS_H
#define TESTS_BASE_FAKE_FS_H

#include "check.h"

#include <base/fs.h>
#include <support/rng.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SEED           20240107
#define CONTENTS_BYTES 300000

typedef enum call {
    DIR_OPEN,
    DIR_MAKE,
    DIR_OPEN_IN,
    DIR_SYNC,
    DIR_LIST,
    DIR_LIST_ODD,
    LOOK,
    DIR_SPACE,
    DIR_REMOVE,
    RENAME,
    UNLINK,
    LINK,
    MOVE,
    OPEN,
    PREAD,
    PWRITE,
    PWRITE_DURABLE,
    SYNC,
    SIZE,
    NEXT_DATA,
    TRUNCATE,
    ALLOCATE,
    MAP,
    POPULATE,
    LOCK,
    LOCKED,
    RANDOM,
    DIR_LOCK,
    DIR_NAMED,
    NAMED,
    CALLS
} call;

static const char *const call_names[CALLS] = {
    "dir_open",  "dir_make",   "dir_open_in",    "dir_sync", "dir_list", "dir_list_odd", "look",
    "dir_space", "dir_remove", "rename",         "unlink",   "link",     "move",         "open",
    "pread",     "pwrite",     "pwrite_durable", "sync",     "size",     "next_data",    "truncate",
    "allocate",  "map",        "populate",       "lock",     "locked",   "random",       "dir_lock",
    "dir_named", "named"};

/* A file system with one folder and one file, that fails as it is told. */
typedef struct fake {
    fs base;
    fs_dir dir;
    fs_file file;
    char path[8];
    uint8_t contents[CONTENTS_BYTES];
    size_t size;

    unsigned interruptions; /* of each call, before it does anything */
    unsigned interrupted[CALLS];
    unsigned calls[CALLS]; /* not counting interrupted ones */
    call failing;
    int fail_with;       /* -errno, or 0: `failing` works */
    unsigned fail_after; /* calls of `failing` that work first */
    bool write_nothing;
    size_t most; /* bytes a transfer moves; 0: as many as asked */
    rng chance;  /* when it moves fewer, how many fewer */
    long holder;
    uint64_t limit;   /* how far a file may reach; 0: anywhere */
    char there[64];   /* the deepest folder that exists */
    char trace[1024]; /* of the folder calls */
} fake;

static fake the_fake;

static int enter(call which)
{
    fake *f = &the_fake;
    if (f->interrupted[which] < f->interruptions) {
        f->interrupted[which]++;
        return -EINTR;
    }
    f->interrupted[which] = 0;
    f->calls[which]++;
    if (f->fail_with != 0 && f->failing == which && f->calls[which] > f->fail_after)
        return f->fail_with;
    return 0;
}

static void trace(const char *what, const char *path)
{
    size_t length = strlen(the_fake.trace);
    size_t room = sizeof the_fake.trace - length;
    int needed = snprintf(the_fake.trace + length, room, "%s %s;", what, path);
    assert_true(needed > 0 && (size_t)needed < room);
}

static int fake_dir_open(fs *f, const char *path, fs_dir **out)
{
    (void)f;
    int result = enter(DIR_OPEN);
    if (result != 0)
        return result;
    if (strlen(path) > strlen(the_fake.there))
        return -ENOENT;
    trace("open", path);
    *out = &the_fake.dir;
    return 0;
}

/* What lies below the deepest folder has to be made from the top. */
static int fake_dir_make(fs *f, const char *path)
{
    (void)f;
    int result = enter(DIR_MAKE);
    if (result != 0)
        return result;
    size_t there = strlen(the_fake.there);
    if (strlen(path) <= there)
        return -EEXIST;
    if (strchr(path + there + 1, '/'))
        return -ENOENT;
    trace("make", path);
    assert_true(strlen(path) < sizeof the_fake.there);
    memcpy(the_fake.there, path, strlen(path) + 1);
    return 0;
}

static int fake_dir_open_in(fs_dir *parent, const char *name, bool make, fs_dir **out)
{
    (void)parent;
    (void)name;
    (void)make;
    int result = enter(DIR_OPEN_IN);
    if (result == 0)
        *out = &the_fake.dir;
    return result;
}

static void fake_dir_close(fs_dir *dir)
{
    (void)dir;
}

static int fake_dir_sync(fs_dir *dir)
{
    (void)dir;
    int result = enter(DIR_SYNC);
    if (result == 0)
        trace("sync", "");
    return result;
}

static int fake_dir_list(fs_dir *dir, fs_list_fn fn, void *ctx)
{
    (void)dir;
    int result = enter(DIR_LIST);
    return result != 0 ? result : fn(ctx, "a");
}

static int fake_dir_list_odd(fs_dir *dir, fs_list_fn fn, void *ctx)
{
    (void)dir;
    int result = enter(DIR_LIST_ODD);
    return result != 0 ? result : fn(ctx, "odd");
}

static int fake_look(fs_dir *dir, const char *name, fs_entry *out)
{
    (void)dir;
    (void)name;
    int result = enter(LOOK);
    if (result == 0)
        *out = (fs_entry){.kind = FS_KIND_FILE, .links = 1, .size = the_fake.size};
    return result;
}

static int fake_dir_remove(fs *f, fs_dir *parent, const char *path)
{
    (void)f;
    (void)parent;
    (void)path;
    return enter(DIR_REMOVE);
}

static int fake_dir_space(fs_dir *dir, fs_space *out)
{
    (void)dir;
    int result = enter(DIR_SPACE);
    if (result == 0)
        *out = (fs_space){.free_bytes = 7};
    return result;
}

static int fake_rename(fs_dir *dir, const char *from, const char *to)
{
    (void)dir;
    (void)from;
    (void)to;
    return enter(RENAME);
}

static int fake_unlink(fs_dir *dir, const char *name)
{
    (void)dir;
    (void)name;
    return enter(UNLINK);
}

static int fake_link(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to)
{
    (void)dir;
    (void)name;
    (void)to_dir;
    (void)to;
    return enter(LINK);
}

static int fake_move(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to)
{
    (void)dir;
    (void)name;
    (void)to_dir;
    (void)to;
    return enter(MOVE);
}

static int fake_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    (void)flags;
    int result = enter(OPEN);
    if (result != 0)
        return result;
    fs_path(the_fake.file.path, sizeof the_fake.file.path, dir, name);
    *out = &the_fake.file;
    return 0;
}

static void fake_close(fs_file *file)
{
    (void)file;
}

static size_t some_of(size_t size)
{
    if (the_fake.most == 0)
        return size;
    size_t most = size < the_fake.most ? size : the_fake.most;
    return 1 + rng_below(&the_fake.chance, most);
}

static ssize_t fake_pread(fs_file *file, void *data, size_t size, uint64_t offset)
{
    (void)file;
    int result = enter(PREAD);
    if (result != 0)
        return result;
    if (offset >= the_fake.size)
        return 0;
    size_t left = the_fake.size - (size_t)offset;
    size = some_of(size < left ? size : left);
    memcpy(data, the_fake.contents + offset, size);
    return (ssize_t)size;
}

static ssize_t some_written(call which, const void *data, size_t size, uint64_t offset)
{
    int result = enter(which);
    if (result != 0)
        return result;
    if (the_fake.write_nothing)
        return 0;
    size = some_of(size);
    assert_true(offset + size <= CONTENTS_BYTES);
    memcpy(the_fake.contents + offset, data, size);
    if (the_fake.size < offset + size)
        the_fake.size = (size_t)offset + size;
    return (ssize_t)size;
}

static ssize_t fake_pwrite(fs_file *file, const void *data, size_t size, uint64_t offset)
{
    (void)file;
    return some_written(PWRITE, data, size, offset);
}

static ssize_t fake_pwrite_durable(fs_file *file, const void *data, size_t size, uint64_t offset)
{
    (void)file;
    return some_written(PWRITE_DURABLE, data, size, offset);
}

static int fake_sync(fs_file *file)
{
    (void)file;
    return enter(SYNC);
}

static int fake_size(fs_file *file, uint64_t *out)
{
    (void)file;
    int result = enter(SIZE);
    if (result == 0)
        *out = the_fake.size;
    return result;
}

static int fake_next_data(fs_file *file, uint64_t from, uint64_t *start, uint64_t *end)
{
    (void)file;
    int result = enter(NEXT_DATA);
    if (result == 0) {
        *start = from;
        *end = the_fake.size;
    }
    return result;
}

static int fake_truncate(fs_file *file, uint64_t size)
{
    (void)file;
    int result = enter(TRUNCATE);
    if (result == 0)
        the_fake.size = (size_t)size;
    return result;
}

static int fake_allocate(fs_file *file, uint64_t size)
{
    (void)file;
    int result = enter(ALLOCATE);
    if (result == 0 && the_fake.size < size)
        the_fake.size = (size_t)size;
    return result;
}

static int fake_map(fs_file *file, size_t size, bool writable, void **out)
{
    (void)file;
    (void)size;
    (void)writable;
    int result = enter(MAP);
    if (result == 0)
        *out = the_fake.contents;
    return result;
}

static void fake_unmap(fs_file *file, void *address, size_t size)
{
    (void)file;
    (void)address;
    (void)size;
}

static int fake_populate(fs_file *file, void *address, size_t size, bool write)
{
    (void)file;
    (void)address;
    (void)size;
    (void)write;
    return enter(POPULATE);
}

static int fake_lock(fs_file *file, long *holder)
{
    (void)file;
    *holder = the_fake.holder;
    return enter(LOCK);
}

static int fake_dir_lock(fs_dir *dir, long *holder)
{
    (void)dir;
    *holder = the_fake.holder;
    return enter(DIR_LOCK);
}

static int fake_dir_named(fs_dir *dir)
{
    (void)dir;
    return enter(DIR_NAMED);
}

static int fake_named(fs_dir *dir, const char *name, fs_file *file)
{
    (void)dir;
    (void)name;
    (void)file;
    return enter(NAMED);
}

static uint64_t fake_file_limit(fs *f)
{
    (void)f;
    return the_fake.limit ? the_fake.limit : UINT64_MAX;
}

static int fake_locked(fs_file *file)
{
    (void)file;
    int result = enter(LOCKED);
    return result != 0 ? result : the_fake.holder != 0;
}

static uint64_t fake_wall_us(fs *f)
{
    (void)f;
    return 11;
}

static uint64_t fake_mono_ns(fs *f)
{
    (void)f;
    return 22345;
}

static int fake_random(fs *f, void *data, size_t size)
{
    (void)f;
    int result = enter(RANDOM);
    if (result == 0)
        memset(data, 4, size);
    return result;
}

static const fs_ops fake_ops = {
    .dir_open = fake_dir_open,
    .dir_make = fake_dir_make,
    .dir_open_in = fake_dir_open_in,
    .dir_close = fake_dir_close,
    .dir_sync = fake_dir_sync,
    .dir_list = fake_dir_list,
    .dir_list_odd = fake_dir_list_odd,
    .look = fake_look,
    .dir_space = fake_dir_space,
    .dir_remove = fake_dir_remove,
    .rename = fake_rename,
    .unlink = fake_unlink,
    .link = fake_link,
    .move = fake_move,
    .open = fake_open,
    .close = fake_close,
    .pread = fake_pread,
    .pwrite = fake_pwrite,
    .pwrite_durable = fake_pwrite_durable,
    .sync = fake_sync,
    .size = fake_size,
    .next_data = fake_next_data,
    .truncate = fake_truncate,
    .allocate = fake_allocate,
    .map = fake_map,
    .unmap = fake_unmap,
    .populate = fake_populate,
    .stored = NULL,
    .lock = fake_lock,
    .dir_lock = fake_dir_lock,
    .dir_named = fake_dir_named,
    .named = fake_named,
    .file_limit = fake_file_limit,
    .locked = fake_locked,
    .wall_us = fake_wall_us,
    .mono_ns = fake_mono_ns,
    .random = fake_random,
};

static fake *fresh(void)
{
    fake *f = &the_fake;
    memset(f, 0, sizeof *f);
    f->base.ops = &fake_ops;
    memcpy(f->path, "/store", 7);
    f->dir = (fs_dir){.owner = &f->base, .path = f->path};
    f->file.owner = &f->base;
    fs_path(f->file.path, sizeof f->file.path, &f->dir, "a.log");
    snprintf(f->there, sizeof f->there, "/store");
    f->chance = rng_init(SEED);
    return f;
}

#endif
