/* fs: the one seam to the system. All file I/O, file locks, clocks and randomness go through a
 * table of functions; no room calls the system around it. base/fs_posix.c is the real one; the
 * tests bring a strict one in memory (tests/support/simfs.h) that can lose power at any operation.
 *
 * Two layers:
 *   fs_ops       raw: one system call each, may be short, may be interrupted, returns 0 or -errno.
 *   fs_...()     what rooms call: complete short transfers, repeat EINTR, and describe failures in
 *                a firn_error with file and offset.
 *
 * Files are named relative to an open folder, never by path; links are not followed; only regular
 * files are opened, and to be written only those without another name; new files are created
 * exclusively, mode 0600, folders 0700.
 *
 * A file may be mapped. One page cache: bytes written with fs_write are seen through the mapping
 * and the other way round. A caller that stores into a mapping announces the range with
 * fs_stored(), which the strict file system needs to know what is unsynced; it is free on the real
 * one.
 *
 * Thread-safety: different threads may use one file at the same time; two transfers of overlapping
 * ranges are the caller's to order.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <firn/types.h>
#include <sys/types.h>

typedef struct fs fs;
typedef struct fs_dir fs_dir;
typedef struct fs_file fs_file;

#define FS_NAME_MAX  63     /* longest file name that firn itself makes or opens */
#define FS_LOCK_NAME "LOCK" /* the file that writers lock in their folder */

enum {
    FS_READ = 1,
    FS_WRITE = 2,      /* read and write */
    FS_CREATE_NEW = 4, /* with FS_WRITE; -EEXIST when there */
    /* read here and there: bring in no more than is read or asked for (read_ahead) */
    FS_SCATTERED = 16,
    /* with FS_WRITE: a file that has another name too is opened all the same; else -EMLINK, since a
     * write would change a file outside of the folder */
    FS_ANY_LINKS = 8,
};

typedef enum fs_kind {
    FS_KIND_FILE,
    FS_KIND_FOLDER,
    FS_KIND_LINK,  /* a symbolic link, whatever it names */
    FS_KIND_OTHER, /* pipe, socket, device */
} fs_kind;

/* What a folder has under a name. Nothing is opened and no link is followed. */
typedef struct fs_entry {
    fs_kind kind;
    uint64_t links; /* names of the file, in this folder and others */
    uint64_t size;
    /* when its contents, names or rights last changed, milliseconds since 1970 */
    uint64_t changed_ms;
} fs_entry;

typedef struct fs_space {
    uint64_t free_bytes; /* available to us */
    /* shared writable mappings are sound and cheap here (not NFS, FUSE, btrfs, ...) */
    bool mapping_ok;
} fs_space;

typedef enum fs_advice {
    FS_ADVICE_RANDOM,    /* what is touched next lies anywhere: bring in no more than is touched */
    FS_ADVICE_WILL_NEED, /* start to bring this in; do not wait for it */
    /* the pages need not stay mapped; what is touched all the same comes back */
    FS_ADVICE_DONE,
} fs_advice;

#define FS_HOLDER_SELF (-1L) /* the holder of a lock is this process */

/* non-zero stops the listing and is returned */
typedef int (*fs_list_fn)(void *ctx, const char *name);

typedef struct fs_ops {
    int (*dir_open)(fs *f, const char *path, fs_dir **out);
    int (*dir_make)(fs *f, const char *path);
    int (*dir_open_in)(fs_dir *parent, const char *name, bool create, fs_dir **out);
    void (*dir_close)(fs_dir *dir);
    int (*dir_sync)(fs_dir *dir);
    /* Without . and .. -EINTR only before the first name was shown. */
    int (*dir_list)(fs_dir *dir, fs_list_fn fn, void *ctx);
    /* likewise; only what is not a plain file */
    int (*dir_list_odd)(fs_dir *dir, fs_list_fn fn, void *ctx);
    int (*look)(fs_dir *dir, const char *name, fs_entry *out);
    int (*dir_space)(fs_dir *dir, fs_space *out);
    /* Removes an empty folder: `path` in `parent`, or, without a parent, where the path leads.
     * Follows no link. */
    int (*dir_remove)(fs *f, fs_dir *parent, const char *path);
    /* An exclusive lock of the folder itself, held until this handle is closed by the process that
     * took it. Notes by which way the folder is reached, for dir_named. -EWOULDBLOCK and *holder as
     * for `lock`; -EOPNOTSUPP and the like where folders cannot be locked. */
    int (*dir_lock)(fs_dir *dir, long *holder);
    /* Does the way noted by dir_lock still lead to this folder? 0: yes, or there is no such way and
     * the folder exists. -ENOENT: it was removed, or has another name now; -ESTALE: another one is
     * in its place. */
    int (*dir_named)(fs_dir *dir);
    /* Is `name` in the folder this very file? 0; -ENOENT: there is no such name; -ESTALE: it is
     * another file's. */
    int (*named)(fs_dir *dir, const char *name, fs_file *file);
    int (*rename)(fs_dir *dir, const char *from, const char *to); /* replaces `to` atomically */
    int (*unlink)(fs_dir *dir, const char *name);
    int (*link)(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to);
    /* Renames into another folder: whatever it is, also what is no plain file. */
    int (*move)(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to);

    int (*open)(fs_dir *dir, const char *name, unsigned flags, fs_file **out);
    void (*close)(fs_file *file); /* syncs nothing */
    ssize_t (*pread)(fs_file *file, void *data, size_t size, uint64_t offset);
    ssize_t (*pwrite)(fs_file *file, const void *data, size_t size, uint64_t offset);
    /* Writes inside the file and makes just these bytes durable, whatever else of the file is not.
     * -EOPNOTSUPP where the system cannot; NULL likewise. After any other failure the bytes may be
     * there or not, and lost. */
    ssize_t (*pwrite_durable)(fs_file *file, const void *data, size_t size, uint64_t offset);
    int (*sync)(fs_file *file); /* fdatasync: contents and size */
    int (*size)(fs_file *file, uint64_t *out);
    /* The first range at or behind `from` that may hold something else than zeros: [*start, *end).
     * Both are the file's size when there is none. NULL, -EINVAL, -EOPNOTSUPP: the file system does
     * not know its holes, so the whole file may. */
    int (*next_data)(fs_file *file, uint64_t from, uint64_t *start, uint64_t *end);
    int (*truncate)(fs_file *file, uint64_t size);
    /* Reserves blocks for [0, size) and makes the file at least that long; new bytes read as
     * zeros. */
    int (*allocate)(fs_file *file, uint64_t size);
    int (*map)(fs_file *file, size_t size, bool writable, void **out); /* shared, from offset 0 */
    void (*unmap)(fs_file *file, void *address, size_t size);
    /* Brings pages in ahead of use; `write` makes them ready for stores. An I/O error or a full
     * disk is returned here instead of killing the process at the access. */
    int (*populate)(fs_file *file, void *address, size_t size, bool write);
    /* How a part of a mapping will be read. Costs or saves time and nothing else. NULL: does
     * nothing. */
    void (*advise)(fs_file *file, void *address, size_t size, fs_advice advice);
    void (*stored)(fs_file *file, uint64_t offset, size_t size); /* NULL: does nothing */
    /* An exclusive lock of the whole file, also against other handles of this process. Held until
     * the process that took it closes the file: a copy of the handle that a fork made neither holds
     * it longer nor gives it up. -EWOULDBLOCK when taken; *holder is then the pid, FS_HOLDER_SELF,
     * or 0 when unknown. */
    int (*lock)(fs_file *file, long *holder);
    /* How far a file may reach: writing or growing beyond it would kill the process. UINT64_MAX: no
     * limit. NULL: likewise. */
    uint64_t (*file_limit)(fs *f);
    /* Does another handle hold the lock? 1 or 0. Takes no lock and disturbs none. */
    int (*locked)(fs_file *file);

    /* Gives the descriptor of a file back to the system. Until `resume`, only its mappings may be
     * used, and `close`. During the two calls, no other thread uses the file. NULL, or -EBUSY (the
     * handle holds a lock): it stays. */
    int (*rest)(fs_file *file);
    /* Opens it again, for reading, by its name. 0; -ENOENT: there is no such name any more;
     * -ESTALE: another file has it, or the file has another size now. The file goes on resting
     * unless 0 is returned. */
    int (*resume)(fs_dir *dir, const char *name, fs_file *file);
    /* Starts to bring a range of the file in; does not wait for it. NULL: does nothing. */
    void (*read_ahead)(fs_file *file, uint64_t offset, size_t size);
    /* Starts to bring what was written to the disk; does not wait for it, and promises nothing:
     * what fails is told by the next `sync`. NULL: does nothing. */
    void (*write_out)(fs_file *file, uint64_t offset, size_t size);
    /* How many descriptors the process may have open, and how many bytes of memory it may use, by
     * whatever limit is the lowest. Asked for anew, since both can be changed. NULL or UINT64_MAX:
     * not known. */
    uint64_t (*descriptor_limit)(fs *f);
    uint64_t (*memory_limit)(fs *f);

    uint64_t (*wall_us)(fs *f); /* microseconds since 1970 */
    uint64_t (*mono_ns)(fs *f); /* nanoseconds; never goes back */
    int (*random)(fs *f, void *data, size_t size);
} fs_ops;

/* What the tables promise in return: 0 or a count, or -errno. dir_open of something else than a
 * folder is -ENOTDIR (a link that the path names is followed, one inside a folder is not); open of
 * a link is -ELOOP, of a folder -EISDIR, of anything else that is not a plain file -EINVAL;
 * populate where the system cannot do it is -EINVAL or -ENOSYS.
 *
 * Implementations put these first in their own structs. */
struct fs {
    const fs_ops *ops;
};
struct fs_dir {
    fs *owner;
    char *path; /* for messages only; owned by the implementation */
};
struct fs_file {
    fs *owner;
    char path[192]; /* folder and name, for messages only; cut from the left when too long */
};

/* The real file system. Static; never freed. */
fs *fs_posix(void);

/* Writes the path of `name` in `dir` (of `dir` itself when name is NULL) into out, for messages.
 * What does not fit is cut from the left. For implementations, to fill in fs_file.path. */
void fs_path(char *out, size_t size, const fs_dir *dir, const char *name);

/* ---- What rooms call. All return a firn_status; `err` may be NULL. ---- */

/* NOT_FOUND, INVALID: a file */
int fs_dir_open(fs *f, const char *path, fs_dir **out, firn_error *err);
/* Makes `path` and its missing parents, syncing each parent ("." is the parent of a bare name). An
 * existing folder is fine; its parent is synced too, since its maker may have died before
 * that. */
int fs_dir_make(fs *f, const char *path, firn_error *err);
/* Only what looks for a name returns NOT_FOUND: fs_dir_open, fs_dir_open_in without `create`,
 * fs_open of an existing file, fs_unlink. It is described like a failure; callers that take it for
 * an answer pass on nothing of that. To all others, a name that is missing is FIRN_IO. */

/* A folder that this makes is durable after fs_dir_sync(parent). NOT_FOUND without `create`. */
int fs_dir_open_in(fs_dir *parent, const char *name, bool create, fs_dir **out, firn_error *err);
void fs_dir_close(fs_dir *dir); /* NULL is allowed */
int fs_dir_sync(fs_dir *dir, firn_error *err);
/* Returns what stopped the listing: a firn_status that fn returned (positive), or its own. Of fn's,
 * FIRN_NO_MEMORY is described here; what else it returns, it describes itself. */
int fs_dir_list(fs_dir *dir, fs_list_fn fn, void *ctx, firn_error *err);
/* A number that follows from the names in the folder, whatever their order: a reader without
 * a lock can tell that files came or went meanwhile. */
int fs_dir_fingerprint(fs_dir *dir, uint64_t *out, firn_error *err);
/* Lists what is not a plain file: folders, links, pipes, sockets, devices. */
int fs_dir_list_odd(fs_dir *dir, fs_list_fn fn, void *ctx, firn_error *err);
int fs_look(fs_dir *dir, const char *name, fs_entry *out, firn_error *err); /* NOT_FOUND */
const char *fs_kind_name(fs_kind kind); /* "a folder": for messages */
int fs_dir_space(fs_dir *dir, fs_space *out, firn_error *err);
/* Removes the empty folder `name` in `parent`. NOT_FOUND; FIRN_IO with ENOTEMPTY or EEXIST:
 * something is in it. */
int fs_dir_remove_in(fs_dir *parent, const char *name, firn_error *err);
/* As fs_dir_remove_in, by path. */
int fs_dir_remove(fs *f, const char *path, firn_error *err);
int fs_rename(fs_dir *dir, const char *from, const char *to, firn_error *err);
int fs_unlink(fs_dir *dir, const char *name, firn_error *err); /* NOT_FOUND */
/* as fs_unlink, but missing is fine */
int fs_remove(fs_dir *dir, const char *name, firn_error *err);
/* fs_rename of an open file that no other thread is using: messages about it name it as it is
 * called now. */
int fs_rename_file(fs_dir *dir, const char *from, const char *to, fs_file *file, firn_error *err);
int fs_link(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to, firn_error *err);
/* NOT_FOUND. `to` must be a free name: what has it is replaced. */
int fs_move(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to, firn_error *err);

/* NOT_FOUND; INVALID: a folder, a link, or otherwise not a plain file; or, to be written, one that
 * has another name. */
int fs_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out, firn_error *err);
void fs_close(fs_file *file); /* NULL is allowed */
/* Reads exactly `size` bytes; FIRN_DAMAGED when the file ends before that. */
int fs_read(fs_file *file, void *data, size_t size, uint64_t offset, firn_error *err);
int fs_write(fs_file *file, const void *data, size_t size, uint64_t offset, firn_error *err);
/* The bytes, which lie inside the file, are durable when it returns FIRN_OK; nothing is promised of
 * the others. Where the system can, those stay in memory: so a file with much unsynced content is
 * not written out. */
int fs_write_durable(fs_file *file, const void *data, size_t size, uint64_t offset,
                     firn_error *err);
int fs_sync(fs_file *file, firn_error *err);
int fs_size(fs_file *file, uint64_t *out, firn_error *err);
/* The next range that has to be read; the bytes before it are zeros. Where the file system cannot
 * tell holes from zeros, everything has to be. Both are the file's size when the rest is a hole.
 * Some file systems have been wrong about holes: for bytes that are not the store's data any
 * more. */
int fs_next_data(fs_file *file, uint64_t from, uint64_t *start, uint64_t *end, firn_error *err);
int fs_truncate(fs_file *file, uint64_t size, firn_error *err);
/* Falls back to writing zeros where the file system cannot reserve. */
int fs_allocate(fs_file *file, uint64_t size, firn_error *err);
/* FIRN_DAMAGED when the file is shorter than `size`: touching what is missing would kill the
 * process. */
int fs_map(fs_file *file, size_t size, bool writable, void **out, firn_error *err);
void fs_unmap(fs_file *file, void *address, size_t size);
/* FIRN_UNSUPPORTED where the system cannot (Linux before 5.14): nothing was touched, and the
 * mapping works without. */
int fs_populate(fs_file *file, void *address, size_t size, bool write, firn_error *err);
/* FIRN_LOCKED, naming the holder; for FS_WRITE handles */
int fs_lock(fs_file *file, firn_error *err);
/* Locks the folder for writing: the folder itself, where the file system can, and the file
 * FS_LOCK_NAME in it, which is made when it is not there. Held until *out and the folder are
 * closed. FIRN_LOCKED. */
int fs_dir_lock(fs_dir *dir, fs_file **out, firn_error *err);
/* Is the folder still what fs_dir_lock has locked? FIRN_IO when it was removed, renamed or
 * replaced, or when its lock file was: what is written from here on may be lost, or mix with what
 * another writer does. `lock` NULL: no lock to look at. */
int fs_dir_held(fs_dir *dir, fs_file *lock, firn_error *err);
/* Has another handle, of this process or another, locked the folder by the file `name`? Takes no
 * lock, and makes no file. */
int fs_dir_locked(fs_dir *dir, const char *name, bool *out, firn_error *err);

static inline void fs_stored(fs_file *file, uint64_t offset, size_t size)
{
    if (file->owner->ops->stored)
        file->owner->ops->stored(file, offset, size);
}

static inline void fs_advise(fs_file *file, void *address, size_t size, fs_advice advice)
{
    if (file->owner->ops->advise)
        file->owner->ops->advise(file, address, size, advice);
}

/* For a file of which nothing but a mapping is needed any more. */
static inline void fs_rest(fs_file *file)
{
    if (file->owner->ops->rest)
        (void)file->owner->ops->rest(file);
}

static inline void fs_read_ahead(fs_file *file, uint64_t offset, size_t size)
{
    if (file->owner->ops->read_ahead)
        file->owner->ops->read_ahead(file, offset, size);
}

/* So that the disk works while more is written, and fs_sync finds little left. */
static inline void fs_write_out(fs_file *file, uint64_t offset, size_t size)
{
    if (file->owner->ops->write_out)
        file->owner->ops->write_out(file, offset, size);
}

static inline uint64_t fs_descriptor_limit(fs *f)
{
    return f->ops->descriptor_limit ? f->ops->descriptor_limit(f) : UINT64_MAX;
}

static inline uint64_t fs_memory_limit(fs *f)
{
    return f->ops->memory_limit ? f->ops->memory_limit(f) : UINT64_MAX;
}

uint64_t fs_wall_us(fs *f);
uint64_t fs_mono_ns(fs *f);
uint64_t fs_mono_us(fs *f);
int fs_random(fs *f, void *data, size_t size, firn_error *err);

#endif
