/* fs_lock: the lock of a folder (include/base/fs.h): the folder itself, and the file LOCK in it;
 * and whether both are still what was locked. No state of its own.
 */
#include <base/error.h>
#include <base/fs.h>

#include <errno.h>

#include "fs_fail.h"

static int fail_locked(const char *path, long holder, firn_error *err)
{
    int rc;
    if (holder == FS_HOLDER_SELF)
        rc = error_file(err, FIRN_LOCKED, path, FIRN_NO_OFFSET, "this process has it open already");
    else if (holder > 0)
        rc = error_file(err, FIRN_LOCKED, path, FIRN_NO_OFFSET, "process %ld holds the lock",
                        holder);
    else
        rc = error_file(err, FIRN_LOCKED, path, FIRN_NO_OFFSET, "another opener holds the lock");
    error_hint(err, holder == FS_HOLDER_SELF
                        ? "use the handle that is open, or close it first; do not remove the file"
                        : "close it there first, or open for reading only; do not remove the file");
    return rc;
}

int fs_lock(fs_file *file, firn_error *err)
{
    long holder = 0;
    int result;
    REPEAT_EINTR(result, file->owner->ops->lock(file, &holder));
    if (result == 0)
        return FIRN_OK;
    if (result != -EWOULDBLOCK && result != -EACCES)
        return fs_fail_file(file, FIRN_NO_OFFSET, result, "lock", err);
    return fail_locked(file->path, holder, err);
}

/* What file systems answer that cannot lock a folder: NFS, for one, wants a descriptor that is open
 * for writing. */
static bool cannot_lock_folders(int result)
{
    return result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL || result == -EBADF ||
           result == -ENOLCK || result == -ENOTTY;
}

/* When the lock file is removed or replaced, a second writer can lock the new one. So the folder is
 * locked itself. Where that is not possible, the file alone has to do, and fs_dir_held notices
 * later. */
static int lock_folder(fs_dir *dir, firn_error *err)
{
    long holder = 0;
    int result;
    REPEAT_EINTR(result, dir->owner->ops->dir_lock(dir, &holder));
    if (result == 0 || cannot_lock_folders(result))
        return FIRN_OK;
    if (result != -EWOULDBLOCK)
        return fs_fail_change(dir, NULL, result, "lock the folder", err);
    char path[MESSAGE_PATH_BYTES];
    fs_path(path, sizeof path, dir, FS_LOCK_NAME);
    return fail_locked(path, holder, err);
}

/* The lock file, made when it is not there. Another opener may make it first. */
static int open_lock(fs_dir *dir, fs_file **out, firn_error *err)
{
    const unsigned to_lock = FS_WRITE | FS_ANY_LINKS; /* nothing is written into it */
    int rc = fs_open(dir, FS_LOCK_NAME, to_lock, out, err);
    if (rc != FIRN_NOT_FOUND)
        return rc;
    firn_error creating;
    rc = fs_open(dir, FS_LOCK_NAME, FS_WRITE | FS_CREATE_NEW, out, &creating);
    if (rc != FIRN_OK && fs_open(dir, FS_LOCK_NAME, to_lock, out, NULL) == FIRN_OK)
        return FIRN_OK;
    return error_give(err, rc, &creating);
}

int fs_dir_lock(fs_dir *dir, fs_file **out, firn_error *err)
{
    enum { TRIES = 10 };
    firn_error found;
    fs_file *file = NULL;
    int rc = lock_folder(dir, &found);
    /* What is locked may have lost its name since it was opened: then its lock keeps no opener
     * out. */
    for (int i = 0; rc == FIRN_OK && i < TRIES; i++) {
        rc = open_lock(dir, &file, &found);
        if (rc == FIRN_OK)
            rc = fs_lock(file, &found);
        if (rc != FIRN_OK)
            break;
        int result;
        REPEAT_EINTR(result, dir->owner->ops->named(dir, FS_LOCK_NAME, file));
        if (result == 0) {
            *out = file;
            return FIRN_OK;
        }
        rc = FIRN_OK;
        if ((result != -ENOENT && result != -ESTALE) || i + 1 == TRIES)
            rc = fs_fail_change(dir, FS_LOCK_NAME, result, "keep the lock of the folder", &found);
        fs_close(file);
        file = NULL;
    }
    fs_close(file);
    return error_give(err, rc, &found);
}

static int fail_held(const char *path, int result, const char *message, const char *hint,
                     firn_error *err)
{
    int rc = error_file(err, FIRN_IO, path, FIRN_NO_OFFSET, "%s", message);
    if (err)
        err->sys_errno = -result;
    error_hint(err, "%s", hint);
    return rc;
}

int fs_dir_held(fs_dir *dir, fs_file *lock, firn_error *err)
{
    int result;
    REPEAT_EINTR(result, dir->owner->ops->dir_named(dir));
    if (result == -ENOENT || result == -ESTALE)
        return fail_held(dir->path, result,
                         result == -ENOENT
                             ? "the folder was removed or renamed while it was open"
                             : "another folder was put in the place of the one that is open",
                         "close it; put the folder back in its place, then open it again", err);
    /* A process that gave up rights since may not look any more: that says nothing about the
     * folder. */
    if (result != 0 && result != -EACCES && result != -EPERM)
        return fs_fail_change(dir, NULL, result, "look at the folder", err);
    if (!lock)
        return FIRN_OK;
    REPEAT_EINTR(result, dir->owner->ops->named(dir, FS_LOCK_NAME, lock));
    if (result == -ENOENT || result == -ESTALE)
        return fail_held(
            lock->path, result,
            result == -ENOENT ? "the lock file was removed while the folder was open"
                              : "the lock file was replaced while the folder was open",
            "another process may have written here since: close it, check it, then open it again; "
            "the file must stay",
            err);
    if (result != 0 && result != -EACCES && result != -EPERM)
        return fs_fail_file(lock, FIRN_NO_OFFSET, result, "look at the lock file", err);
    return FIRN_OK;
}

int fs_dir_locked(fs_dir *dir, const char *name, bool *out, firn_error *err)
{
    fs_file *file = NULL;
    int result = 0;
    int rc = fs_open(dir, name, FS_READ, &file, err);
    if (rc == FIRN_NOT_FOUND) {
        *out = false;
        return FIRN_OK;
    }
    if (rc == FIRN_OK)
        REPEAT_EINTR(result, dir->owner->ops->locked(file));
    if (rc == FIRN_OK && result >= 0)
        *out = result > 0;
    else if (rc == FIRN_OK)
        rc = fs_fail_file(file, FIRN_NO_OFFSET, result, "ask for the lock of", err);
    fs_close(file);
    return rc;
}
