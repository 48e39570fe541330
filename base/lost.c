/* lost: see lost.h. */
#include <base/alloc.h>
#include <base/buf.h>
#include <base/error.h>
#include <base/lost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10, SECTOR_BYTES = 4096 };

/* Greater numbers in names are not counted on: there must be more behind. */
#define FILES_MAX (UINT64_C(1) << 60)

/* A longer file is none of firn's own but sparse: only what is no hole is copied. */
#define WHOLE_BYTES_MAX (UINT64_C(4) << 30)

void lost_close(lost *l)
{
    fs_dir_close(l->dir);
    l->dir = NULL;
}

static int note_name(void *ctx, const char *name)
{
    lost *l = ctx;
    const char *dash = strrchr(name, '-');
    if (!dash || dash[1] < '0' || dash[1] > '9')
        return 0;
    char *end;
    unsigned long long n = strtoull(dash + 1, &end, 10);
    if (*end == '\0' && n > l->files && n < FILES_MAX)
        l->files = n;
    return 0;
}

/* "<name>-<n>", the first that is free in the store's folder. */
static int free_name(lost *l, const char *name, char to[FS_NAME_MAX + 1], firn_error *err)
{
    fs_entry entry;
    firn_error cannot = {0};
    int rc = FIRN_OK;
    for (uint64_t n = 1; rc == FIRN_OK; n++) {
        snprintf(to, FS_NAME_MAX + 1, "%.40s-%llu", name, (unsigned long long)n);
        rc = fs_look(l->store, to, &entry, &cannot);
    }
    if (rc == FIRN_NOT_FOUND)
        return FIRN_OK;
    if (err)
        *err = cannot;
    return rc;
}

static int move_beside(lost *l, const char *name, char to[FS_NAME_MAX + 1], firn_error *err)
{
    int rc = free_name(l, name, to, err);
    return rc == FIRN_OK ? fs_rename(l->store, name, to, err) : rc;
}

/* Opens the folder, making it when it is not there, and finds the greatest number in it. */
static int open_folder(lost *l, firn_error *err)
{
    firn_error cannot = {0};
    int rc = fs_dir_open_in(l->store, LOST_FOLDER, true, &l->dir, &cannot);
    if (rc == FIRN_INVALID) { /* a file or a link: not to be followed, and not ours to remove */
        rc = move_beside(l, LOST_FOLDER, l->aside, &cannot);
        if (rc == FIRN_OK)
            rc = fs_dir_open_in(l->store, LOST_FOLDER, true, &l->dir, &cannot);
    }
    if (rc != FIRN_OK && err)
        *err = cannot;
    return rc == FIRN_OK ? fs_dir_list(l->dir, note_name, l, err) : rc;
}

int lost_name(lost *l, const char *beginning, char name[FS_NAME_MAX + 1], firn_error *err)
{
    int rc = l->dir ? FIRN_OK : open_folder(l, err);
    if (rc != FIRN_OK)
        return rc;
    l->files++;
    snprintf(name, FS_NAME_MAX + 1, "%.40s-%llu", beginning, (unsigned long long)l->files);
    return FIRN_OK;
}

/* What cannot be read reads as zeros. */
static void read_chunk(fs_file *from, uint8_t *chunk, size_t size, uint64_t at)
{
    if (fs_read(from, chunk, size, at, NULL) == FIRN_OK)
        return;
    for (size_t i = 0; i < size; i += SECTOR_BYTES) {
        size_t piece = size - i < SECTOR_BYTES ? size - i : SECTOR_BYTES;
        if (fs_read(from, chunk + i, piece, at + i, NULL) != FIRN_OK)
            memset(chunk + i, 0, piece);
    }
}

static int copy_bytes(fs_file *from, fs_file *to, uint64_t size, uint8_t *chunk, firn_error *err)
{
    uint64_t start = 0, end = size;
    int rc = FIRN_OK;
    for (uint64_t at = 0; rc == FIRN_OK && at < size;) {
        if (size > WHOLE_BYTES_MAX && (at == 0 || at >= end)) {
            rc = fs_next_data(from, at, &start, &end, err);
            at = start;
            if (rc != FIRN_OK || at >= size)
                break;
        }
        size_t piece = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
        read_chunk(from, chunk, piece, at);
        rc = fs_write(to, chunk, piece, at, err);
        at += piece;
    }
    return rc == FIRN_OK && size > WHOLE_BYTES_MAX ? fs_truncate(to, size, err) : rc;
}

static int copy(fs_dir *dir, const char *file, fs_dir *to_dir, const char *name, firn_error *err)
{
    fs_file *from = NULL, *to = NULL;
    uint64_t size = 0;
    uint8_t *chunk = heap_alloc(CHUNK_BYTES);
    int rc = chunk ? FIRN_OK : error_no_memory(err);
    if (rc == FIRN_OK)
        rc = fs_open(dir, file, FS_READ, &from, err);
    if (rc == FIRN_OK)
        rc = fs_size(from, &size, err);
    if (rc == FIRN_OK)
        rc = fs_open(to_dir, name, FS_WRITE | FS_CREATE_NEW, &to, err);
    if (rc == FIRN_OK)
        rc = copy_bytes(from, to, size, chunk, err);
    if (rc == FIRN_OK)
        rc = fs_sync(to, err);
    if (to && rc != FIRN_OK)
        (void)fs_unlink(to_dir, name, NULL); /* a part of a copy is none, and the room is wanted */
    fs_close(from);
    fs_close(to);
    heap_free(chunk);
    return rc;
}

/* What the name stands for may never have been synced. */
static int sync_file(lost *l, const char *name, firn_error *err)
{
    fs_file *file = NULL;
    int rc = fs_open(l->dir, name, FS_READ, &file, err);
    if (rc == FIRN_OK)
        rc = fs_sync(file, err);
    fs_close(file);
    return rc;
}

int lost_keep(lost *l, const char *file, firn_error *err)
{
    return lost_keep_as(l, file, file, err);
}

int lost_keep_as(lost *l, const char *file, const char *beginning, firn_error *err)
{
    char name[FS_NAME_MAX + 1];
    firn_error cannot = {0};
    int rc = lost_name(l, beginning, name, err);
    if (rc != FIRN_OK)
        return rc;
    rc = fs_link(l->store, file, l->dir, name, &cannot);
    if (rc == FIRN_OK)
        return sync_file(l, name, err);
    /* Links are unknown here, or the disk is at its end: the copy will tell. */
    if (rc == FIRN_IO)
        return copy(l->store, file, l->dir, name, err);
    if (rc != FIRN_OK && err)
        *err = cannot;
    return rc;
}

int lost_unshare(fs_dir *dir, const char *file, firn_error *err)
{
    char temporary[FS_NAME_MAX + 1];
    snprintf(temporary, sizeof temporary, "%.40s.new", file);
    (void)fs_unlink(dir, temporary, NULL); /* left by an attempt that failed */
    int rc = copy(dir, file, dir, temporary, err);
    if (rc == FIRN_OK)
        rc = fs_rename(dir, temporary, file, err);
    return rc == FIRN_OK ? fs_dir_sync(dir, err) : rc;
}

int lost_sync(lost *l, firn_error *err)
{
    if (!l->dir)
        return FIRN_OK;
    int rc = fs_dir_sync(l->dir, err);
    return rc == FIRN_OK ? fs_dir_sync(l->store, err) : rc;
}

/* ---- What is no plain file ---- */

int lost_set_aside(lost *l, const char *name, char moved[LOST_MOVED_BYTES], firn_error *err)
{
    char to[FS_NAME_MAX + 1];
    firn_error cannot = {0};
    int rc = lost_name(l, name, to, err);
    if (rc != FIRN_OK)
        return rc;
    rc = fs_move(l->store, name, l->dir, to, &cannot);
    snprintf(moved, LOST_MOVED_BYTES, "%s/%s", LOST_FOLDER, to);
    if (rc != FIRN_IO) {
        if (rc != FIRN_OK && err)
            *err = cannot;
        return rc;
    }
    /* A folder that is another's may get another name, but no other place. */
    rc = move_beside(l, name, to, NULL);
    snprintf(moved, LOST_MOVED_BYTES, "%s", to);
    if (rc != FIRN_OK && err)
        *err = cannot;
    return rc;
}

typedef struct odd_names {
    bool (*ours)(const char *name);
    buf names; /* each of FS_NAME_MAX + 1 bytes */
} odd_names;

static int note_odd(void *ctx, const char *name)
{
    odd_names *o = ctx;
    char entry[FS_NAME_MAX + 1] = {0};
    if (strlen(name) > FS_NAME_MAX || !o->ours(name))
        return 0;
    snprintf(entry, sizeof entry, "%s", name);
    return buf_append(&o->names, entry, sizeof entry);
}

int lost_set_odd_aside(lost *l, bool (*ours)(const char *name),
                       void (*tell)(void *ctx, const char *name, const char *what,
                                    const char *moved),
                       void *ctx, firn_error *err)
{
    odd_names o = {.ours = ours};
    int rc = fs_dir_list_odd(l->store, note_odd, &o, err);
    for (size_t at = 0; rc == FIRN_OK && at < o.names.size; at += FS_NAME_MAX + 1) {
        const char *name = (const char *)o.names.data + at;
        char moved[LOST_MOVED_BYTES];
        fs_entry entry = {.kind = FS_KIND_OTHER};
        if (fs_look(l->store, name, &entry, NULL) == FIRN_NOT_FOUND)
            continue; /* that it is gone is what was wanted */
        rc = lost_set_aside(l, name, moved, err);
        if (rc == FIRN_OK && tell)
            tell(ctx, name, fs_kind_name(entry.kind), moved);
    }
    if (rc == FIRN_OK && o.names.size)
        rc = lost_sync(l, err);
    buf_release(&o.names);
    return rc;
}
