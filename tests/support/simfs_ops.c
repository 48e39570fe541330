/* simfs_ops: the calls of base/fs.h on the simulated tree. Each is sim_enter (count, fail), the
 * effect under the lock, the note in the recording, sim_leave. Rules S1 to S7 stand in simfs.h.
 */
#include "simfs_inside.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (UINT64_C(1) << 40)

static int name_check(const char *name)
{
    if (!name[0] || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    return strlen(name) > FS_NAME_MAX ? -ENAMETOOLONG : 0;
}

/* ---- Folders ---- */

static fs_dir *dir_handle(simfs *s, sim_node *n, const char *parent, const char *name)
{
    sim_dir *d = sim_alloc(sizeof *d);
    size_t size = strlen(parent) + strlen(name) + 2;
    d->pub.owner = &s->base;
    d->pub.path = sim_alloc(size);
    snprintf(d->pub.path, size, "%s%s%s", parent, parent[0] ? "/" : "", name);
    d->node = n;
    d->next = s->dirs;
    if (s->dirs)
        s->dirs->prev = d;
    s->dirs = d;
    s->open_count++;
    n->holds++;
    return &d->pub;
}

static sim_node *dir_node(fs_dir *dir)
{
    return ((sim_dir *)dir)->node;
}

static int do_dir_open(simfs *s, const char *path, fs_dir **out)
{
    sim_node *n = NULL;
    int rc = sim_walk(s, path, &n);
    if (rc)
        return rc;
    if (!n->is_dir)
        return -ENOTDIR;
    rc = sim_descriptor_take(s);
    if (rc)
        return rc;
    *out = dir_handle(s, n, "", path);
    return 0;
}

static int op_dir_open(fs *f, const char *path, fs_dir **out)
{
    simfs *s = sim_of(f);
    sim_verdict v = sim_enter(s, SIMFS_DIR_OPEN, path);
    /* Nothing can come back from a failed open, so `after` means the same as before here. */
    return (int)sim_leave(s, v, v.error ? -v.error : do_dir_open(s, path, out));
}

static int make_folder(simfs *s, sim_node *parent, const char *name)
{
    if (sim_find(parent, name))
        return -EEXIST;
    sim_node *n = sim_node_new(s, true, SIM_NO_NODE);
    sim_name_set(s, parent, name, n);
    sim_note_name(s, SIM_OP_MKDIR, parent, name, n);
    return 0;
}

static int do_dir_make(simfs *s, const char *path)
{
    char last[FS_NAME_MAX + 1];
    sim_node *parent = NULL;
    int rc = sim_walk_parent(s, path, &parent, last);
    if (rc)
        return rc;
    return last[0] ? make_folder(s, parent, last) : -EEXIST;
}

static int op_dir_make(fs *f, const char *path)
{
    simfs *s = sim_of(f);
    sim_verdict v = sim_enter(s, SIMFS_DIR_MAKE, path);
    return (int)sim_leave(s, v, sim_refused(v) ? -v.error : do_dir_make(s, path));
}

static int do_dir_open_in(simfs *s, fs_dir *parent, const char *name, bool create, fs_dir **out)
{
    int rc = name_check(name);
    if (rc)
        return rc;
    sim_node *n = sim_find(dir_node(parent), name);
    if (!n) {
        if (!create)
            return -ENOENT;
        rc = make_folder(s, dir_node(parent), name);
        assert(rc == 0);
        n = sim_find(dir_node(parent), name);
    }
    if (!n->is_dir)
        return -ENOTDIR;
    rc = sim_descriptor_take(s);
    if (rc)
        return rc;
    *out = dir_handle(s, n, parent->path, name);
    return 0;
}

static int op_dir_open_in(fs_dir *parent, const char *name, bool create, fs_dir **out)
{
    simfs *s = sim_of(parent->owner);
    sim_verdict v = sim_enter(s, SIMFS_DIR_OPEN_IN, name);
    return (int)sim_leave(s, v, v.error ? -v.error : do_dir_open_in(s, parent, name, create, out));
}

static void op_dir_close(fs_dir *dir)
{
    simfs *s = sim_of(dir->owner);
    sim_dir *d = (sim_dir *)dir;
    mutex_lock(&s->lock);
    if (d->prev)
        d->prev->next = d->next;
    else
        s->dirs = d->next;
    if (d->next)
        d->next->prev = d->prev;
    if (d->node->locked_by == d)
        d->node->locked_by = NULL;
    s->open_count--;
    s->descriptors--;
    d->node->holds--;
    sim_node_drop(s, d->node);
    mutex_unlock(&s->lock);
    free(dir->path);
    free(d);
}

static int op_dir_sync(fs_dir *dir)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_DIR_SYNC, dir->path);
    if (!sim_refused(v))
        sim_note(s, SIM_OP_DIR_SYNC, dir_node(dir)->number, 0);
    return (int)sim_leave(s, v, sim_refused(v) ? -v.error : 0);
}

/* Lists a copy, without the lock: the function may rename and unlink. The order is the seed's,
 * since no caller may rely on one. */
static int list(fs_dir *dir, bool odd_only, fs_list_fn fn, void *ctx)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, odd_only ? SIMFS_LOOK : SIMFS_DIR_LIST, dir->path);
    if (v.error)
        return (int)sim_leave(s, v, -v.error);
    size_t count = dir_node(dir)->entry_count;
    size_t start = count ? rng_below(&s->chance, count) : 0;
    sim_entry *copy = sim_alloc(count * sizeof *copy);
    size_t copied = 0;
    for (size_t i = 0; i < count; i++) {
        const sim_entry *e = &dir_node(dir)->entries[(start + i) % count];
        if (!odd_only || e->node->is_dir)
            copy[copied++] = *e;
    }
    int rc = (int)sim_leave(s, v, 0);
    for (size_t i = 0; i < copied && rc == 0; i++)
        rc = fn(ctx, copy[i].name);
    free(copy);
    return rc;
}

static int op_dir_list(fs_dir *dir, fs_list_fn fn, void *ctx)
{
    return list(dir, false, fn, ctx);
}

static int op_dir_list_odd(fs_dir *dir, fs_list_fn fn, void *ctx)
{
    return list(dir, true, fn, ctx);
}

static int op_look(fs_dir *dir, const char *name, fs_entry *out)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_LOOK, name);
    if (v.error)
        return (int)sim_leave(s, v, -v.error);
    const sim_node *n = sim_find(dir_node(dir), name);
    if (n)
        *out = (fs_entry){
            .kind = n->is_dir ? FS_KIND_FOLDER : FS_KIND_FILE, .links = n->names, .size = n->size};
    return (int)sim_leave(s, v, n ? 0 : -ENOENT);
}

static int op_dir_space(fs_dir *dir, fs_space *out)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_DIR_SPACE, dir->path);
    if (v.error)
        return (int)sim_leave(s, v, -v.error);
    out->free_bytes = s->capacity == UINT64_MAX ? UINT64_C(1) << 50
                      : s->used < s->capacity   ? s->capacity - s->used
                                                : 0;
    out->mapping_ok = s->mapping_ok;
    return (int)sim_leave(s, v, 0);
}

static int op_dir_lock(fs_dir *dir, long *holder)
{
    simfs *s = sim_of(dir->owner);
    sim_dir *d = (sim_dir *)dir;
    sim_verdict v = sim_enter(s, SIMFS_DIR_LOCK, dir->path);
    if (v.error)
        return (int)sim_leave(s, v, -v.error);
    d->way_noted = true;
    if (!s->dir_locks)
        return (int)sim_leave(s, v, -EBADF); /* as NFS says it */
    if (d->node->locked_by && d->node->locked_by != d) {
        *holder = FS_HOLDER_SELF;
        return (int)sim_leave(s, v, -EWOULDBLOCK);
    }
    d->node->locked_by = d;
    return (int)sim_leave(s, v, 0);
}

/* A folder without a name is one that was removed. */
static bool is_gone(const simfs *s, const sim_node *n)
{
    return n->names == 0 && n != s->root;
}

static int op_dir_named(fs_dir *dir)
{
    simfs *s = sim_of(dir->owner);
    const sim_dir *d = (const sim_dir *)dir;
    sim_node *there = NULL;
    sim_verdict v = sim_enter(s, SIMFS_DIR_NAMED, dir->path);
    int rc = -v.error;
    if (!rc && is_gone(s, d->node))
        rc = -ENOENT;
    else if (!rc && d->way_noted)
        rc = sim_walk(s, dir->path, &there);
    if (rc == -ENOTDIR)
        rc = -ENOENT;
    if (!rc && there && there != d->node)
        rc = -ESTALE;
    return (int)sim_leave(s, v, rc);
}

static int op_named(fs_dir *dir, const char *name, fs_file *file)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_NAMED, name);
    const sim_node *there = v.error ? NULL : sim_find(dir_node(dir), name);
    int rc = v.error ? -v.error : !there ? -ENOENT : 0;
    if (!rc && there != ((const sim_file *)file)->node)
        rc = -ESTALE;
    return (int)sim_leave(s, v, rc);
}

/* ---- Names ---- */

static int do_rename(simfs *s, sim_node *dir, const char *from, const char *to)
{
    int rc = name_check(to);
    if (rc)
        return rc;
    sim_node *n = sim_find(dir, from);
    sim_node *old = sim_find(dir, to);
    if (!n)
        return -ENOENT;
    if (old && old->is_dir)
        return -EISDIR;
    if (old && n->is_dir)
        return -ENOTDIR;
    if (old == n)
        return 0; /* two names of one file: rename(2) does nothing */
    sim_name_set(s, dir, to, n);
    sim_name_clear(s, dir, from);
    sim_note_rename(s, dir, from, to, n);
    return 0;
}

static int op_rename(fs_dir *dir, const char *from, const char *to)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_RENAME, to);
    int rc = sim_refused(v) ? -v.error : do_rename(s, dir_node(dir), from, to);
    return (int)sim_leave(s, v, rc);
}

static int do_unlink(simfs *s, sim_node *dir, const char *name)
{
    sim_node *n = sim_find(dir, name);
    if (!n)
        return -ENOENT;
    if (n->is_dir)
        return -EISDIR;
    sim_note_name(s, SIM_OP_UNLINK, dir, name, n);
    sim_name_clear(s, dir, name);
    return 0;
}

static int op_unlink(fs_dir *dir, const char *name)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_UNLINK, name);
    return (int)sim_leave(s, v, sim_refused(v) ? -v.error : do_unlink(s, dir_node(dir), name));
}

static int do_dir_remove(simfs *s, fs_dir *in, const char *path)
{
    char last[FS_NAME_MAX + 1];
    sim_node *parent = NULL;
    int rc = 0;
    if (in) {
        parent = dir_node(in);
        snprintf(last, sizeof last, "%s", path);
    } else {
        rc = sim_walk_parent(s, path, &parent, last);
    }
    if (rc)
        return rc;
    sim_node *n = last[0] ? sim_find(parent, last) : NULL;
    if (!n)
        return -ENOENT;
    if (!n->is_dir)
        return -ENOTDIR;
    if (n->entry_count)
        return -ENOTEMPTY;
    sim_note_name(s, SIM_OP_UNLINK, parent, last, n);
    sim_name_clear(s, parent, last);
    return 0;
}

static int op_dir_remove(fs *f, fs_dir *parent, const char *path)
{
    simfs *s = sim_of(f);
    sim_verdict v = sim_enter(s, SIMFS_DIR_REMOVE, path);
    return (int)sim_leave(s, v, sim_refused(v) ? -v.error : do_dir_remove(s, parent, path));
}

static int do_link(simfs *s, sim_node *dir, const char *name, sim_node *to_dir, const char *to)
{
    int rc = name_check(to);
    if (rc)
        return rc;
    sim_node *n = sim_find(dir, name);
    if (!n)
        return -ENOENT;
    if (n->is_dir)
        return -EPERM;
    if (sim_find(to_dir, to))
        return -EEXIST;
    sim_name_set(s, to_dir, to, n);
    sim_note_name(s, SIM_OP_LINK, to_dir, to, n);
    return 0;
}

static int op_link(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to)
{
    simfs *s = sim_of(dir->owner);
    if (to_dir->owner != dir->owner)
        return -EXDEV;
    sim_verdict v = sim_enter(s, SIMFS_LINK, to);
    int rc = sim_refused(v) ? -v.error : do_link(s, dir_node(dir), name, dir_node(to_dir), to);
    return (int)sim_leave(s, v, rc);
}

/* One folder's change and another's: a crash may keep either, as on a file system without a journal. */
static int do_move(simfs *s, sim_node *dir, const char *name, sim_node *to_dir, const char *to)
{
    int rc = name_check(to);
    sim_node *n = sim_find(dir, name);
    if (rc || !n)
        return rc ? rc : -ENOENT;
    if (sim_find(to_dir, to))
        return -EEXIST; /* the real call replaces; the callers promise that the name is free */
    sim_name_set(s, to_dir, to, n);
    sim_note_name(s, n->is_dir ? SIM_OP_MKDIR : SIM_OP_LINK, to_dir, to, n);
    sim_note_name(s, SIM_OP_UNLINK, dir, name, n);
    sim_name_clear(s, dir, name);
    return 0;
}

static int op_move(fs_dir *dir, const char *name, fs_dir *to_dir, const char *to)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_MOVE, name);
    int rc = sim_refused(v) ? -v.error : do_move(s, dir_node(dir), name, dir_node(to_dir), to);
    return (int)sim_leave(s, v, rc);
}

/* ---- Files ---- */

static fs_file *file_handle(simfs *s, sim_node *n, const fs_dir *dir, const char *name)
{
    sim_file *f = sim_alloc(sizeof *f);
    f->pub.owner = &s->base;
    size_t room = sizeof f->pub.path - strlen(name) - 2;
    size_t length = strlen(dir->path);
    const char *path = length > room ? dir->path + (length - room) : dir->path;
    snprintf(f->pub.path, sizeof f->pub.path, "%.*s/%s", (int)room, path, name);
    f->node = n;
    f->next = s->files;
    if (s->files)
        s->files->prev = f;
    s->files = f;
    s->open_count++;
    n->holds++;
    return &f->pub;
}

static int do_open(simfs *s, fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    int rc = name_check(name);
    if (rc)
        return rc;
    sim_node *n = sim_find(dir_node(dir), name);
    if (flags & FS_CREATE_NEW) {
        if (n)
            return -EEXIST;
        if (is_gone(s, dir_node(dir)))
            return -ENOENT;
        if (s->descriptors >= s->descriptor_limit)
            return -EMFILE;
        n = sim_node_new(s, false, SIM_NO_NODE);
        sim_name_set(s, dir_node(dir), name, n);
        sim_note_name(s, SIM_OP_CREATE, dir_node(dir), name, n);
    }
    if (!n)
        return -ENOENT;
    if (n->is_dir)
        return -EISDIR;
    if ((flags & FS_WRITE) && !(flags & FS_ANY_LINKS) && n->names > 1)
        return -EMLINK;
    rc = sim_descriptor_take(s);
    if (rc)
        return rc;
    *out = file_handle(s, n, dir, name);
    sim_file_of(*out)->writable = (flags & FS_WRITE) != 0;
    return 0;
}

static int op_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, flags & FS_CREATE_NEW ? SIMFS_CREATE : SIMFS_OPEN, name);
    return (int)sim_leave(s, v, v.error ? -v.error : do_open(s, dir, name, flags, out));
}

static void op_close(fs_file *file)
{
    simfs *s = sim_of(file->owner);
    sim_file *f = sim_file_of(file);
    mutex_lock(&s->lock);
    if (f->prev)
        f->prev->next = f->next;
    else
        s->files = f->next;
    if (f->next)
        f->next->prev = f->prev;
    if (f->node->locked_by == f)
        f->node->locked_by = NULL;
    s->open_count--;
    s->descriptors -= !f->rests;
    f->node->holds--;
    sim_node_drop(s, f->node);
    mutex_unlock(&s->lock);
    free(f);
}

static ssize_t op_pread(fs_file *file, void *data, size_t size, uint64_t offset)
{
    simfs *s = sim_of(file->owner);
    const sim_node *n = sim_file_of(file)->node;
    sim_verdict v = sim_enter(s, SIMFS_READ, sim_file_name(file));
    if (sim_file_of(file)->rests)
        sim_die("%s: read while it rests", file->path);
    if (v.error)
        return sim_leave(s, v, -v.error);
    uint64_t there = offset < n->size ? n->size - offset : 0;
    size_t got = there < size ? (size_t)there : size;
    if (v.half)
        got = (got + 1) / 2;
    if (got)
        memcpy(data, n->data + offset, got);
    return sim_leave(s, v, (ssize_t)got);
}

/* What a process that does not ask for its limit first dies of (SIGXFSZ). */
static void check_limit(const simfs *s, const sim_file *f, uint64_t end)
{
    if (end > s->file_limit)
        sim_die("%s: reaching to %llu kills the process, whose limit is %llu", f->pub.path,
                (unsigned long long)end, (unsigned long long)s->file_limit);
}

static ssize_t do_pwrite(simfs *s, sim_file *f, const void *data, size_t size, uint64_t offset)
{
    sim_node *n = f->node;
    if (!f->writable)
        return -EBADF;
    if (size == 0)
        return 0;
    if (offset > FILE_BYTES_MAX || size > FILE_BYTES_MAX - offset)
        return -EFBIG;
    check_limit(s, f, offset + size);
    uint64_t end = sim_charge(s, n, offset + size);
    if (end <= offset)
        return -ENOSPC;
    size = (size_t)(end - offset);
    if (end > n->size)
        sim_node_resize(s, n, end);
    memcpy(n->data + offset, data, size);
    if (end > n->touched)
        n->touched = (size_t)end;
    sim_note_bytes(s, SIM_OP_WRITE, n, offset, size);
    return (ssize_t)size;
}

/* Has a write that failed so reached the device? (S7) */
static bool spoils(int error)
{
    switch (error) {
    case EINTR:
    case EAGAIN:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
        return false;
    default:
        return true;
    }
}

static ssize_t op_pwrite(fs_file *file, const void *data, size_t size, uint64_t offset)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_WRITE, sim_file_name(file));
    if (v.error && spoils(v.error) && size > 0)
        sim_note_range(s, SIM_OP_WRITE_LOST, sim_file_of(file)->node->number, offset, size);
    if (sim_refused(v))
        return sim_leave(s, v, -v.error);
    return sim_leave(s, v,
                     do_pwrite(s, sim_file_of(file), data, v.half ? (size + 1) / 2 : size, offset));
}

static ssize_t op_pwrite_durable(fs_file *file, const void *data, size_t size, uint64_t offset)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_WRITE_DURABLE, sim_file_name(file));
    const sim_node *n = sim_file_of(file)->node;
    if (sim_refused(v) && v.error == EINTR)
        return sim_leave(s, v, -v.error);
    if (size > n->size || offset > n->size - size)
        sim_die("%s: a durable write must lie inside the file", file->path);
    ssize_t got = do_pwrite(s, sim_file_of(file), data, v.half ? (size + 1) / 2 : size, offset);
    if (got > 0)
        sim_note_range(s, sim_refused(v) ? SIM_OP_SYNC_LOST : SIM_OP_SYNC, n->number, offset,
                       (size_t)got); /* S4 */
    return sim_leave(s, v, sim_refused(v) ? -v.error : got);
}

static int op_sync(fs_file *file)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_SYNC, sim_file_name(file));
    if (!sim_refused(v))
        sim_note(s, SIM_OP_SYNC, sim_file_of(file)->node->number, 0);
    else if (v.error != EINTR)
        sim_note(s, SIM_OP_SYNC_LOST, sim_file_of(file)->node->number, 0); /* S4 */
    return (int)sim_leave(s, v, sim_refused(v) ? -v.error : 0);
}

static int op_size(fs_file *file, uint64_t *out)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_SIZE, sim_file_name(file));
    if (!v.error)
        *out = sim_file_of(file)->node->size;
    return (int)sim_leave(s, v, -v.error);
}

/* A page of zeros is a hole. Not one of the calls that are counted: it only saves time. */
static int op_next_data(fs_file *file, uint64_t from, uint64_t *start, uint64_t *end)
{
    static const uint8_t zeros[4096];
    simfs *s = sim_of(file->owner);
    mutex_lock(&s->lock);
    const sim_node *n = sim_file_of(file)->node;
    uint64_t size = n->size;
    *start = *end = size;
    for (uint64_t at = from, next; at < size; at = next) {
        next = (at / sizeof zeros + 1) * sizeof zeros;
        if (next > size)
            next = size;
        bool hole = memcmp(n->data + at, zeros, (size_t)(next - at)) == 0;
        if (!hole && *start == size)
            *start = at;
        if (hole && *start != size) {
            *end = at;
            break;
        }
    }
    mutex_unlock(&s->lock);
    return 0;
}

static int do_truncate(simfs *s, sim_file *f, uint64_t size)
{
    if (!f->writable)
        return -EBADF;
    if (size > FILE_BYTES_MAX)
        return -EFBIG;
    if (size == f->node->size)
        return 0;
    if (size > f->node->size)
        check_limit(s, f, size);
    sim_node_resize(s, f->node, size);
    sim_note(s, SIM_OP_TRUNCATE, f->node->number, size);
    return 0;
}

static int op_truncate(fs_file *file, uint64_t size)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_TRUNCATE, sim_file_name(file));
    return (int)sim_leave(s, v,
                          sim_refused(v) ? -v.error : do_truncate(s, sim_file_of(file), size));
}

static int do_allocate(simfs *s, sim_file *f, uint64_t size)
{
    sim_node *n = f->node;
    if (!f->writable)
        return -EBADF;
    if (size == 0)
        return -EINVAL;
    if (size > FILE_BYTES_MAX)
        return -EFBIG;
    if (size > n->size)
        check_limit(s, f, size);
    uint64_t before = n->charged;
    if (sim_charge(s, n, size) < size) {
        sim_uncharge(s, n, before);
        return -ENOSPC;
    }
    if (size > n->size) {
        sim_node_resize(s, n, size);
        sim_note(s, SIM_OP_ALLOCATE, n->number, size);
    }
    return 0;
}

static int op_allocate(fs_file *file, uint64_t size)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_ALLOCATE, sim_file_name(file));
    return (int)sim_leave(s, v,
                          sim_refused(v) ? -v.error : do_allocate(s, sim_file_of(file), size));
}

/* ---- The rest ---- */

static int op_lock(fs_file *file, long *holder)
{
    simfs *s = sim_of(file->owner);
    sim_file *f = sim_file_of(file);
    sim_verdict v = sim_enter(s, SIMFS_LOCK, sim_file_name(file));
    if (v.error)
        return (int)sim_leave(s, v, -v.error);
    if (f->node->locked_by && f->node->locked_by != f) {
        *holder = FS_HOLDER_SELF;
        return (int)sim_leave(s, v, -EWOULDBLOCK);
    }
    f->node->locked_by = f;
    return (int)sim_leave(s, v, 0);
}

static uint64_t op_file_limit(fs *f)
{
    simfs *s = sim_of(f);
    mutex_lock(&s->lock);
    uint64_t limit = s->file_limit;
    mutex_unlock(&s->lock);
    return limit;
}

static int op_locked(fs_file *file)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_LOCK, sim_file_name(file));
    if (v.error)
        return (int)sim_leave(s, v, -v.error);
    const void *holder = sim_file_of(file)->node->locked_by;
    return (int)sim_leave(s, v, holder && holder != sim_file_of(file));
}

static uint64_t op_clock(fs *f)
{
    simfs *s = sim_of(f);
    mutex_lock(&s->lock);
    uint64_t now = ++s->clock_us;
    mutex_unlock(&s->lock);
    return now;
}

static uint64_t op_mono_ns(fs *f)
{
    return op_clock(f) * 1000;
}

static int op_random(fs *f, void *data, size_t size)
{
    simfs *s = sim_of(f);
    sim_verdict v = sim_enter(s, SIMFS_RANDOM, NULL);
    if (!v.error)
        rng_fill(&s->chance, data, size);
    return (int)sim_leave(s, v, -v.error);
}

const fs_ops sim_ops = {
    .dir_open = op_dir_open,
    .dir_make = op_dir_make,
    .dir_open_in = op_dir_open_in,
    .dir_close = op_dir_close,
    .dir_sync = op_dir_sync,
    .dir_list = op_dir_list,
    .dir_list_odd = op_dir_list_odd,
    .look = op_look,
    .dir_space = op_dir_space,
    .dir_remove = op_dir_remove,
    .dir_lock = op_dir_lock,
    .dir_named = op_dir_named,
    .named = op_named,
    .rename = op_rename,
    .unlink = op_unlink,
    .link = op_link,
    .move = op_move,
    .open = op_open,
    .close = op_close,
    .pread = op_pread,
    .pwrite = op_pwrite,
    .pwrite_durable = op_pwrite_durable,
    .sync = op_sync,
    .size = op_size,
    .next_data = op_next_data,
    .truncate = op_truncate,
    .allocate = op_allocate,
    .map = sim_map,
    .unmap = sim_unmap,
    .populate = sim_populate,
    .stored = sim_stored,
    .lock = op_lock,
    .file_limit = op_file_limit,
    .locked = op_locked,
    .rest = sim_rest,
    .resume = sim_resume,
    .read_ahead = sim_read_ahead,
    .write_out = sim_write_out,
    .descriptor_limit = sim_descriptor_limit,
    .memory_limit = sim_memory_limit,
    .wall_us = op_clock,
    .mono_ns = op_mono_ns,
    .random = op_random,
};
