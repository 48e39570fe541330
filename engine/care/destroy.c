/* destroy: removing a store (firn_destroy).
 *
 * In this order, so that whatever a crash leaves is no store that opens as if it were whole, and
 * can be destroyed again:
 *
 *   1  the manifests, the newest last and after a sync; synced. From here on nothing opens: tables
 *      or a log without one
 *   2  tables, files in the making, what is in lost/
 *   3  the log
 *   4  the lock file; the folder is synced, and removed when nothing else is in it
 *
 * Only names of the strict grammar (names.h, set_aside.h) are removed, and of those no folders.
 */
#include "destroy.h"

#include <base/buf.h>
#include <base/error.h>
#include <errno.h>
#include <string.h>
#include <sstable/sstable.h>
#include <wal/wal.h>

#include <store/folder.h>
#include <store/manifest.h>
#include <tree/names.h>
#include "set_aside.h"
#include <store/store.h>

/* ---- Is it a store? ---- */

typedef struct proof {
    fs_dir *dir;
    bool found;
    int refused; /* why a file could not be looked at, for the first time; FIRN_OK: all could */
    firn_error why;
} proof;

/* What is no plain file, or is gone, proves nothing. What the system refuses is not known. */
static bool can_be_read(proof *p, const char *name)
{
    fs_file *file = NULL;
    firn_error why = {0};
    int rc = fs_open(p->dir, name, FS_READ, &file, &why);
    fs_close(file);
    if (rc != FIRN_OK && rc != FIRN_INVALID && rc != FIRN_NOT_FOUND && p->refused == FIRN_OK) {
        p->refused = rc;
        p->why = why;
    }
    return rc == FIRN_OK;
}

static int look_for_magic(void *ctx, const char *name)
{
    proof *p = ctx;
    uint64_t no;
    name_kind kind = name_parse(name, &no);
    if ((kind != NAME_MANIFEST && kind != NAME_TABLE && kind != NAME_LOG) || !can_be_read(p, name))
        return FIRN_OK;
    switch (kind) {
    case NAME_MANIFEST:
        p->found = manifest_has_magic(p->dir, name);
        break;
    case NAME_TABLE:
        p->found = sst_has_magic(p->dir, name);
        break;
    case NAME_LOG:
        p->found = wal_is_segment_name(name, NULL) && wal_has_magic(p->dir, name);
        break;
    default:
        break;
    }
    return p->found ? FIRN_END : FIRN_OK;
}

static int prove(fs_dir *dir, firn_error *err)
{
    proof p = {.dir = dir};
    int rc = fs_dir_list(dir, look_for_magic, &p, err);
    if (rc != FIRN_OK && rc != FIRN_END)
        return rc;
    if (p.found)
        return FIRN_OK;
    if (p.refused != FIRN_OK)
        return error_give(err, p.refused, &p.why);
    error_file(err, FIRN_NOT_FOUND, dir->path, FIRN_NO_OFFSET, "there is no store in the folder");
    error_hint(err, "check the path; nothing was touched");
    return FIRN_NOT_FOUND;
}

int store_folder_open(fs *f, const char *path, fs_file **lock, fs_dir **out, firn_error *err)
{
    fs_dir *dir = NULL;
    if (!path)
        return error_set(err, FIRN_INVALID, "the path of the store is NULL");
    int rc = fs_dir_open(f ? f : fs_posix(), path, &dir, err);
    if (rc == FIRN_NOT_FOUND) {
        error_file(err, rc, path, FIRN_NO_OFFSET, "there is no such folder");
        error_hint(err, "check the path");
    }
    if (rc == FIRN_OK)
        rc = prove(dir, err); /* before a lock file is made in a folder of something else */
    if (rc == FIRN_OK && lock)
        rc = fs_dir_lock(dir, lock, err);
    if (rc == FIRN_OK)
        *out = dir;
    else
        fs_dir_close(dir);
    return rc;
}

/* ---- Removing ---- */

typedef struct removal {
    fs_dir *dir;
    unsigned kinds; /* bits 1 << name_kind */
    firn_error *err;
} removal;

static int remove_name(void *ctx, const char *name)
{
    removal *r = ctx;
    uint64_t no;
    fs_entry entry;
    name_kind kind = name_parse(name, &no);
    if (!(r->kinds & 1u << kind) || strcmp(name, NAME_LOST) == 0)
        return FIRN_OK;
    firn_error why = {0};
    int rc = fs_look(r->dir, name, &entry, &why);
    if (rc == FIRN_OK && entry.kind != FS_KIND_FOLDER)
        rc = fs_unlink(r->dir, name, &why); /* of a link, the link */
    if (rc == FIRN_OK || rc == FIRN_NOT_FOUND)
        return FIRN_OK; /* another process may have removed it */
    if (r->err)
        *r->err = why;
    return rc;
}

static int remove_kinds(fs_dir *dir, unsigned kinds, firn_error *err)
{
    removal r = {dir, kinds, err};
    return fs_dir_list(dir, remove_name, &r, err);
}

/* An older manifest must not come back as the newest after a power cut. */
static int remove_manifests(fs_dir *dir, firn_error *err)
{
    folder f = {0};
    int rc = folder_read(dir, &f, err);
    size_t count = folder_count(&f.manifests);
    for (size_t i = 0; i < count && rc == FIRN_OK; i++) {
        char name[NAME_BYTES];
        name_manifest(folder_at(&f.manifests, i), false, name);
        if (i > 0 && i + 1 == count)
            rc = fs_dir_sync(dir, err);
        removal r = {dir, 1u << NAME_MANIFEST, err};
        if (rc == FIRN_OK)
            rc = remove_name(&r, name);
    }
    folder_release(&f);
    return rc == FIRN_OK ? fs_dir_sync(dir, err) : rc;
}

static int remove_store(fs_dir *dir, firn_error *err)
{
    int rc = remove_manifests(dir, err);
    if (rc == FIRN_OK)
        rc = remove_kinds(dir, 1u << NAME_TABLE | 1u << NAME_TEMPORARY, err);
    firn_error why = {0};
    if (rc == FIRN_OK) {
        rc = aside_walk(dir, true, NULL, NULL, NULL, &why);
        if (rc == FIRN_INVALID)
            rc = FIRN_OK; /* something else has the name lost, which is not firn's */
        else if (rc != FIRN_OK && err)
            *err = why;
    }
    if (rc == FIRN_OK)
        rc = remove_kinds(dir, 1u << NAME_LOG, err);
    if (rc == FIRN_OK)
        rc = remove_kinds(dir, 1u << NAME_OTHER, err); /* the lock file */
    return rc == FIRN_OK ? fs_dir_sync(dir, err) : rc;
}

int engine_destroy(fs *f, const char *path, firn_error *err)
{
    fs_dir *dir = NULL;
    fs_file *lock = NULL;
    int rc = store_folder_open(f, path, &lock, &dir, err);
    if (rc == FIRN_OK)
        rc = remove_store(dir, err);
    /* Under the lock still: an opener that came now would make its store in a folder that is going.
     * It stays when it holds something else, or is not ours to remove. */
    if (rc == FIRN_OK)
        (void)fs_dir_remove(dir->owner, path, NULL);
    fs_close(lock);
    fs_dir_close(dir);
    return rc;
}

int firn_destroy(const char *path, firn_error *error)
{
    return engine_destroy(NULL, path, error);
}
