/* fs: what rooms call instead of the system (include/base/fs.h).
 *
 * Each function here turns one raw operation into one that either did all of its work or says in a
 * firn_error what it could not do, to which file, where, and what may help. Invariants:
 *
 *   S1  A transfer that returns FIRN_OK was complete.
 *   S2  EINTR is repeated and no caller sees it. It says that a call was interrupted, never that it
 *       failed.
 *   S3  Any other failure is returned at once and never tried again: after a failed fdatasync the
 *       next one may report success although the data is gone.
 *
 * No state and no locks of its own.
 */
#include <base/alloc.h>
#include <base/error.h>
#include <base/fs.h>
#include <base/hash.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs_fail.h"

/* The kernel moves at most 2 GiB - 4 KiB in one call; a rounder piece keeps offsets aligned. */
#define TRANSFER_MAX_BYTES ((size_t)1 << 30)
#define FILE_MAX_BYTES     ((uint64_t)INT64_MAX)

void fs_path(char *out, size_t size, const fs_dir *dir, const char *name)
{
    size_t dir_length = strlen(dir->path);
    size_t name_length = name ? strlen(name) : 0;
    bool slash = name && dir_length > 0 && dir->path[dir_length - 1] != '/';
    size_t length = dir_length + slash + name_length;
    assert(size >= sizeof("..."));

    /* The end says most, so it is what stays. */
    size_t skipped = length < size ? 0 : length - (size - sizeof("..."));
    size_t n = 0;
    if (skipped > 0) {
        memcpy(out, "...", 3);
        n = 3;
    }
    for (size_t i = skipped; i < length; i++) {
        if (i < dir_length)
            out[n++] = dir->path[i];
        else
            out[n++] = slash && i == dir_length ? '/' : name[i - dir_length - slash];
    }
    out[n] = '\0';
}

int fs_fail_dir(const fs_dir *dir, const char *name, int result, const char *verb, firn_error *err)
{
    char path[MESSAGE_PATH_BYTES];
    fs_path(path, sizeof path, dir, name);
    return error_system(err, path, FIRN_NO_OFFSET, -result, verb);
}

int fs_fail_change(const fs_dir *dir, const char *name, int result, const char *verb,
                   firn_error *err)
{
    return error_needed(err, fs_fail_dir(dir, name, result, verb, err));
}

int fs_fail_file(const fs_file *file, uint64_t offset, int result, const char *verb,
                 firn_error *err)
{
    return error_needed(err, error_system(err, file->path, offset, -result, verb));
}

/* Names come from our own grammar or, in tools, from a user: either way they stay in their folder.
 */
static int check_name(const fs_dir *dir, const char *name, firn_error *err)
{
    size_t length = strlen(name);
    if (length > 0 && length <= FS_NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
        strcmp(name, "..") != 0)
        return FIRN_OK;
    int rc = error_file(err, FIRN_INVALID, dir->path, FIRN_NO_OFFSET,
                        "\"%.100s\" cannot be the name of a file in this folder", name);
    error_hint(err, "use a name of 1 to %d bytes without a slash", FS_NAME_MAX);
    return rc;
}

/* Both names of a change that has two, each with the folder that it is a name in. */
static int check_names(const fs_dir *dir, const char *name, const fs_dir *to_dir, const char *to,
                       firn_error *err)
{
    int rc = check_name(dir, name, err);
    return rc == FIRN_OK ? check_name(to_dir, to, err) : rc;
}

/* ---- Folders ---- */

static int fail_dir_open(const char *path, int result, firn_error *err)
{
    if (result != -ENOTDIR && result != -ELOOP) {
        int failed = error_system(err, path, FIRN_NO_OFFSET, -result, "open the folder");
        if (result == -ENOENT)
            error_hint(err, "check the path: there is no such folder");
        return failed;
    }
    int rc = error_file(err, FIRN_INVALID, path, FIRN_NO_OFFSET, "not a folder");
    if (err)
        err->sys_errno = -result;
    error_hint(err, "name a folder, or move away what is in its place");
    return rc;
}

int fs_dir_open(fs *f, const char *path, fs_dir **out, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, f->ops->dir_open(f, path, out));
    return result == 0 ? FIRN_OK : fail_dir_open(path, result, err);
}

int fs_dir_open_in(fs_dir *parent, const char *name, bool create, fs_dir **out, firn_error *err)
{
    int rc = check_name(parent, name, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, parent->owner->ops->dir_open_in(parent, name, create, out));
    if (result == 0)
        return FIRN_OK;
    char path[MESSAGE_PATH_BYTES];
    fs_path(path, sizeof path, parent, name);
    return fail_dir_open(path, result, err);
}

void fs_dir_close(fs_dir *dir)
{
    if (dir)
        dir->owner->ops->dir_close(dir);
}

/* The length of the parent of path[0, length), or 0 for ".". The root is its own parent. */
static size_t parent_length(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

/* Makes the entry of path[0, length) in its parent durable. */
static int sync_parent(fs *f, char *path, size_t length, firn_error *err)
{
    size_t parent = parent_length(path, length);
    char kept = path[parent];
    path[parent] = '\0';
    fs_dir *dir = NULL;
    int rc = fs_dir_open(f, parent ? path : ".", &dir, err);
    path[parent] = kept;
    if (rc == FIRN_NOT_FOUND) {
        rc = error_file(err, FIRN_IO, path, FIRN_NO_OFFSET,
                        "the folder above this one went away while it was made");
        error_hint(err, "find out what removed it, then try again");
        return rc;
    }
    if (rc != FIRN_OK)
        return rc;
    rc = fs_dir_sync(dir, err);
    fs_dir_close(dir);
    return rc;
}

/* Another user's folder may lie where we may neither look nor sync. Had we made it, an earlier call
 * would have failed for the same reason, so there is nothing of ours to save. A device error stays
 * one. */
static int sync_parent_of_existing(fs *f, char *path, size_t length, firn_error *err)
{
    firn_error detail;
    error_clear(&detail);
    int rc = sync_parent(f, path, length, &detail);
    if (rc == FIRN_IO && detail.sys_errno == EIO) {
        if (err)
            *err = detail;
        return rc;
    }
    return FIRN_OK;
}

/* Makes the single folder path[0, length). */
static int make_one(fs *f, char *path, size_t length)
{
    char kept = path[length];
    path[length] = '\0';
    int result;
    REPEAT_EINTR(result, f->ops->dir_make(f, path));
    path[length] = kept;
    return result;
}

static int fail_make(char *path, size_t length, int result, firn_error *err)
{
    path[length] = '\0';
    if (result == -ENOTDIR)
        return fail_dir_open(path, result, err);
    if (result != -ENOENT)
        return error_system(err, path, FIRN_NO_OFFSET, -result, "make the folder");
    int rc = error_file(err, FIRN_IO, path, FIRN_NO_OFFSET,
                        "the folder that this one is to be made in is not there");
    error_hint(err, "make it first, or wait until the program that removes it is done");
    return rc;
}

/* What may not be looked at is there. */
static bool is_there(fs *f, char *path, size_t length)
{
    char kept = path[length];
    path[length] = '\0';
    fs_dir *dir = NULL;
    int rc = fs_dir_open(f, path, &dir, NULL);
    path[length] = kept;
    fs_dir_close(dir);
    return rc != FIRN_NOT_FOUND;
}

/* Walks up to the deepest folder that is there, then down again. Every folder is synced into its
 * parent before anything is made in it. So whenever this stops, of all folders on the way at most
 * the deepest one is unsynced, and the next call begins with that one: no crash loses a folder
 * above another. */
static int make_path(fs *f, char *path, size_t length, firn_error *err)
{
    size_t at = length;
    size_t above = parent_length(path, at);
    while (above > 0 && above < at && !is_there(f, path, at)) {
        at = above;
        above = parent_length(path, at);
    }
    if (above == 0 && !is_there(f, path, at))
        at = 0; /* not even the first component of a relative path */
    int rc = FIRN_OK;
    if (at > 0 && above != at)
        rc = sync_parent_of_existing(f, path, at, err);
    while (rc == FIRN_OK && at < length) {
        while (path[at] == '/')
            at++;
        while (at < length && path[at] != '/')
            at++;
        int result = make_one(f, path, at);
        if (result != 0 && result != -EEXIST) /* another maker may have come first */
            return fail_make(path, at, result, err);
        rc = sync_parent(f, path, at, err);
    }
    return rc;
}

int fs_dir_make(fs *f, const char *path, firn_error *err)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length == 0) {
        int rc = error_set(err, FIRN_INVALID, "the path of the folder is empty");
        error_hint(err, "name a folder");
        return rc;
    }
    char *copy = heap_strdup(path);
    if (!copy)
        return error_no_memory(err);
    copy[length] = '\0';
    int rc = make_path(f, copy, length, err);
    if (rc == FIRN_OK) {
        /* What exists may be a file. */
        fs_dir *dir = NULL;
        rc = error_needed(err, fs_dir_open(f, copy, &dir, err));
        fs_dir_close(dir);
    }
    heap_free(copy);
    return rc;
}

int fs_dir_sync(fs_dir *dir, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, dir->owner->ops->dir_sync(dir));
    return result == 0 ? FIRN_OK : fs_fail_change(dir, NULL, result, "sync the folder", err);
}

/* What `fn` returns is positive, so a lack of memory that it tells is none of the system's. */
static int end_list(fs_dir *dir, int result, firn_error *err)
{
    if (result == FIRN_NO_MEMORY)
        return error_no_memory(err);
    return result >= 0 ? result : fs_fail_change(dir, NULL, result, "list the folder", err);
}

int fs_dir_list(fs_dir *dir, fs_list_fn fn, void *ctx, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, dir->owner->ops->dir_list(dir, fn, ctx));
    return end_list(dir, result, err);
}

int fs_dir_list_odd(fs_dir *dir, fs_list_fn fn, void *ctx, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, dir->owner->ops->dir_list_odd(dir, fn, ctx));
    return end_list(dir, result, err);
}

int fs_look(fs_dir *dir, const char *name, fs_entry *out, firn_error *err)
{
    int rc = check_name(dir, name, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, dir->owner->ops->look(dir, name, out));
    return result == 0 ? FIRN_OK : fs_fail_dir(dir, name, result, "look at", err);
}

const char *fs_kind_name(fs_kind kind)
{
    switch (kind) {
    case FS_KIND_FILE:
        return "a file";
    case FS_KIND_FOLDER:
        return "a folder";
    case FS_KIND_LINK:
        return "a symbolic link";
    case FS_KIND_OTHER:
        break;
    }
    return "a pipe, socket or device";
}

static int add_name(void *ctx, const char *name)
{
    uint64_t *sum = ctx;
    *sum += hash64(name, strlen(name), 0);
    return 0;
}

int fs_dir_fingerprint(fs_dir *dir, uint64_t *out, firn_error *err)
{
    uint64_t sum = 0;
    int rc = fs_dir_list(dir, add_name, &sum, err);
    if (rc == FIRN_OK)
        *out = sum;
    return rc;
}

int fs_dir_remove_in(fs_dir *parent, const char *name, firn_error *err)
{
    int rc = check_name(parent, name, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, parent->owner->ops->dir_remove(parent->owner, parent, name));
    return result == 0 ? FIRN_OK : fs_fail_dir(parent, name, result, "remove the folder", err);
}

int fs_dir_remove(fs *f, const char *path, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, f->ops->dir_remove(f, NULL, path));
    return result == 0 ? FIRN_OK
                       : error_system(err, path, FIRN_NO_OFFSET, -result, "remove the folder");
}

int fs_dir_space(fs_dir *dir, fs_space *out, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, dir->owner->ops->dir_space(dir, out));
    return result == 0 ? FIRN_OK
                       : fs_fail_change(dir, NULL, result, "ask for the free space of", err);
}

int fs_rename(fs_dir *dir, const char *from, const char *to, firn_error *err)
{
    int rc = check_names(dir, from, dir, to, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, dir->owner->ops->rename(dir, from, to));
    return result == 0 ? FIRN_OK : fs_fail_change(dir, from, result, "rename the file", err);
}

int fs_rename_file(fs_dir *dir, const char *from, const char *to, fs_file *file, firn_error *err)
{
    int rc = fs_rename(dir, from, to, err);
    if (rc == FIRN_OK)
        fs_path(file->path, sizeof file->path, dir, to);
    return rc;
}

int fs_unlink(fs_dir *dir, const char *name, firn_error *err)
{
    int rc = check_name(dir, name, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, dir->owner->ops->unlink(dir, name));
    return result == 0 ? FIRN_OK : fs_fail_dir(dir, name, result, "remove the file", err);
}

int fs_remove(fs_dir *dir, const char *name, firn_error *err)
{
    firn_error found;
    int rc = fs_unlink(dir, name, &found);
    return rc == FIRN_NOT_FOUND ? FIRN_OK : error_give(err, rc, &found);
}

int fs_link(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to, firn_error *err)
{
    int rc = check_names(dir, name, to_dir, to, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, dir->owner->ops->link(dir, name, to_dir, to));
    return result == 0 ? FIRN_OK : fs_fail_change(to_dir, to, result, "link the file", err);
}

int fs_move(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to, firn_error *err)
{
    int rc = check_names(dir, name, to_dir, to, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, dir->owner->ops->move(dir, name, to_dir, to));
    return result == 0 ? FIRN_OK : fs_fail_dir(dir, name, result, "move", err);
}

/* ---- Files ---- */

static int fail_shared(const char *path, firn_error *err)
{
    int rc = error_file(err, FIRN_INVALID, path, FIRN_NO_OFFSET,
                        "the file has another name too, and writing would change it there");
    if (err)
        err->sys_errno = EMLINK;
    error_hint(err, "give it a copy of its own: cp the file to another name and mv that over it");
    return rc;
}

int fs_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out, firn_error *err)
{
    assert((flags & (FS_READ | FS_WRITE)) != 0);
    assert((flags & FS_CREATE_NEW) == 0 || (flags & FS_WRITE) != 0);
    int rc = check_name(dir, name, err);
    if (rc != FIRN_OK)
        return rc;
    int result;
    REPEAT_EINTR(result, dir->owner->ops->open(dir, name, flags, out));
    if (result == 0)
        return FIRN_OK;
    if (result == -ENOENT && (flags & FS_CREATE_NEW)) {
        rc = fs_fail_change(dir, name, result, "create the file", err);
        error_hint(err, "the folder was removed while it was open: close it, find out by what, and "
                        "restore it from a backup");
        return rc;
    }
    char path[MESSAGE_PATH_BYTES];
    fs_path(path, sizeof path, dir, name);
    if (result == -EMLINK && !(flags & FS_CREATE_NEW))
        return fail_shared(path, err);
    if (result != -ELOOP && result != -EISDIR && result != -EINVAL && result != -ENXIO)
        return fs_fail_dir(dir, name, result,
                           (flags & FS_CREATE_NEW) ? "create the file" : "open the file", err);
    rc = error_file(err, FIRN_INVALID, path, FIRN_NO_OFFSET, "not a plain file");
    if (err)
        err->sys_errno = -result;
    error_hint(err, "find out who put it there; links are not followed, put the file itself here");
    return rc;
}

void fs_close(fs_file *file)
{
    if (file)
        file->owner->ops->close(file);
}

static int too_short(fs_file *file, uint64_t offset, uint64_t missing, firn_error *err)
{
    int rc = error_file(err, FIRN_DAMAGED, file->path, offset,
                        "the file ends here, %llu bytes are missing", (unsigned long long)missing);
    error_hint(err, "it was cut short: restore it from a backup");
    return rc;
}

/* -EIDRM: under the name of a file that was opened before there is another now, or none
 * (fs_pool.h). The system has no such answer for files. */
static int fail_found(const fs_file *file, uint64_t offset, int result, const char *verb,
                      firn_error *err)
{
    if (result != -EIDRM)
        return fs_fail_file(file, offset, result, verb, err);
    int rc = error_file(err, FIRN_DAMAGED, file->path, offset,
                        "the file was removed, replaced or cut while it was in use");
    if (err)
        err->sys_errno = EIDRM;
    error_hint(err,
               "find out which program changes the folder, and restore the file from a backup");
    return rc;
}

int fs_read(fs_file *file, void *data, size_t size, uint64_t offset, firn_error *err)
{
    uint8_t *p = data;
    if (offset > FILE_MAX_BYTES || size > FILE_MAX_BYTES - offset)
        return too_short(file, offset, size, err);
    while (size > 0) {
        size_t piece = size < TRANSFER_MAX_BYTES ? size : TRANSFER_MAX_BYTES;
        ssize_t n;
        REPEAT_EINTR(n, file->owner->ops->pread(file, p, piece, offset));
        if (n < 0)
            return fail_found(file, offset, (int)n, "read", err);
        if (n == 0)
            return too_short(file, offset, size, err);
        assert((size_t)n <= piece);
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return FIRN_OK;
}

/* May the file reach to `end`? The kernel kills a process that passes its limit (SIGXFSZ), unless
 * the application has seen to that; so it is asked first, each time, since the limit can be changed
 * at any time. 0 or -EFBIG. */
static int check_limit(const fs_file *file, uint64_t end)
{
    const fs_ops *ops = file->owner->ops;
    return ops->file_limit && end > ops->file_limit(file->owner) ? -EFBIG : 0;
}

/* The same for a call that sets the size. A file that is that long already, or longer, does not
 * grow. */
static int check_growth(fs_file *file, uint64_t size)
{
    uint64_t before = 0;
    int result = 0;
    if (check_limit(file, size) == 0)
        return 0;
    REPEAT_EINTR(result, file->owner->ops->size(file, &before));
    if (result != 0)
        return result;
    return size > before ? -EFBIG : 0;
}

/* Writes all of it with one of the two writing calls. *at is where it stopped; 0 or -errno. */
static int write_all(fs_file *file,
                     ssize_t (*call)(fs_file *file, const void *data, size_t size, uint64_t offset),
                     const void *data, size_t size, uint64_t *at)
{
    const uint8_t *p = data;
    if (*at > FILE_MAX_BYTES || size > FILE_MAX_BYTES - *at)
        return -EFBIG;
    if (size > 0 && check_limit(file, *at + size) != 0)
        return -EFBIG;
    while (size > 0) {
        size_t piece = size < TRANSFER_MAX_BYTES ? size : TRANSFER_MAX_BYTES;
        ssize_t n;
        REPEAT_EINTR(n, call(file, p, piece, *at));
        /* Nothing written and no reason given: going round again could last for ever. */
        if (n == 0)
            n = -EIO;
        if (n < 0)
            return (int)n;
        assert((size_t)n <= piece);
        p += n;
        *at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int fs_write(fs_file *file, const void *data, size_t size, uint64_t offset, firn_error *err)
{
    int result = write_all(file, file->owner->ops->pwrite, data, size, &offset);
    return result == 0 ? FIRN_OK : fs_fail_file(file, offset, result, "write", err);
}

int fs_write_durable(fs_file *file, const void *data, size_t size, uint64_t offset, firn_error *err)
{
    int result = -EOPNOTSUPP;
    uint64_t at = offset;
    if (file->owner->ops->pwrite_durable)
        result = write_all(file, file->owner->ops->pwrite_durable, data, size, &at);
    if (result == 0)
        return FIRN_OK;
    if (result != -EOPNOTSUPP && result != -ENOSYS)
        return fs_fail_file(file, at, result, "write and sync", err);
    int rc = fs_write(file, data, size, offset, err);
    return rc == FIRN_OK ? fs_sync(file, err) : rc;
}

int fs_sync(fs_file *file, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, file->owner->ops->sync(file));
    return result == 0 ? FIRN_OK : fs_fail_file(file, FIRN_NO_OFFSET, result, "sync", err);
}

int fs_size(fs_file *file, uint64_t *out, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, file->owner->ops->size(file, out));
    return result == 0 ? FIRN_OK
                       : fail_found(file, FIRN_NO_OFFSET, result, "ask for the size", err);
}

int fs_next_data(fs_file *file, uint64_t from, uint64_t *start, uint64_t *end, firn_error *err)
{
    int result = -EOPNOTSUPP;
    if (from > FILE_MAX_BYTES)
        return too_short(file, from, 0, err);
    if (file->owner->ops->next_data)
        REPEAT_EINTR(result, file->owner->ops->next_data(file, from, start, end));
    if (result == 0)
        return FIRN_OK;
    if (result != -EOPNOTSUPP && result != -EINVAL && result != -ENOSYS)
        return fs_fail_file(file, from, result, "look for holes in", err);
    int rc = fs_size(file, end, err);
    if (rc == FIRN_OK)
        *start = from < *end ? from : *end;
    return rc;
}

int fs_truncate(fs_file *file, uint64_t size, firn_error *err)
{
    if (size > FILE_MAX_BYTES)
        return fs_fail_file(file, size, -EFBIG, "set the size", err);
    int result = check_growth(file, size);
    if (result == 0)
        REPEAT_EINTR(result, file->owner->ops->truncate(file, size));
    return result == 0 ? FIRN_OK : fs_fail_file(file, size, result, "set the size", err);
}

/* Zeros take the blocks as a reservation would. Only what lies behind the end is written: what is
 * there already may be data. */
static int allocate_by_writing(fs_file *file, uint64_t size, firn_error *err)
{
    static const uint8_t zeros[64 << 10];
    uint64_t offset;
    int rc = fs_size(file, &offset, err);
    while (rc == FIRN_OK && offset < size) {
        size_t piece = size - offset < sizeof zeros ? (size_t)(size - offset) : sizeof zeros;
        rc = fs_write(file, zeros, piece, offset, err);
        offset += piece;
    }
    return rc;
}

int fs_allocate(fs_file *file, uint64_t size, firn_error *err)
{
    if (size == 0)
        return FIRN_OK;
    if (size > FILE_MAX_BYTES)
        return fs_fail_file(file, size, -EFBIG, "reserve space", err);
    int result = check_growth(file, size);
    if (result == 0)
        REPEAT_EINTR(result, file->owner->ops->allocate(file, size));
    if (result == -EOPNOTSUPP || result == -EINVAL || result == -ENOSYS)
        return allocate_by_writing(file, size, err);
    return result == 0 ? FIRN_OK : fs_fail_file(file, size, result, "reserve space", err);
}

/* ---- Mappings ---- */

int fs_map(fs_file *file, size_t size, bool writable, void **out, firn_error *err)
{
    if (size == 0)
        return error_file(err, FIRN_INVALID, file->path, 0, "an empty range cannot be mapped");
    uint64_t file_size;
    int rc = fs_size(file, &file_size, err);
    if (rc != FIRN_OK)
        return rc;
    if (file_size < size)
        return too_short(file, file_size, size - file_size, err);
    int result;
    REPEAT_EINTR(result, file->owner->ops->map(file, size, writable, out));
    return result == 0 ? FIRN_OK : fail_found(file, 0, result, "map", err);
}

void fs_unmap(fs_file *file, void *address, size_t size)
{
    file->owner->ops->unmap(file, address, size);
}

int fs_populate(fs_file *file, void *address, size_t size, bool write, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, file->owner->ops->populate(file, address, size, write));
    if (result == 0)
        return FIRN_OK;
    if (result == -EINVAL || result == -ENOSYS) {
        int rc = error_file(err, FIRN_UNSUPPORTED, file->path, FIRN_NO_OFFSET,
                            "the system cannot make mapped pages ready ahead of use");
        error_hint(err, "Linux 5.14 or later can; everything works without");
        return rc;
    }
    int rc = fs_fail_file(file, FIRN_NO_OFFSET, result, "make mapped pages ready", err);
    if (result == -EFAULT)
        error_hint(err, "a page could not be read or got no block: look for a full disk, a failed "
                        "device, or a file that was cut short");
    return rc;
}

/* ---- The clocks, chance ---- */

uint64_t fs_wall_us(fs *f)
{
    return f->ops->wall_us(f);
}

uint64_t fs_mono_ns(fs *f)
{
    return f->ops->mono_ns(f);
}

uint64_t fs_mono_us(fs *f)
{
    return f->ops->mono_ns(f) / 1000;
}

int fs_random(fs *f, void *data, size_t size, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, f->ops->random(f, data, size));
    if (result == 0)
        return FIRN_OK;
    return error_needed(err, error_system(err, NULL, FIRN_NO_OFFSET, -result, "get random bytes"));
}
