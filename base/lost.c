/* lost: see lost.h. */
#include <base/alloc.h>
#include <base/error.h>
#include <base/lost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10, SECTOR_BYTES = 4096 };

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
    if (*end == '\0' && n > l->files && n < UINT64_MAX)
        l->files = n;
    return 0;
}

int lost_name(lost *l, const char *beginning, char name[FS_NAME_MAX + 1], firn_error *err)
{
    if (!l->dir) {
        int status = fs_dir_open_in(l->store, LOST_FOLDER, true, &l->dir, err);
        if (status != FIRN_OK)
            return status;
        status = fs_dir_list(l->dir, note_name, l, err);
        if (status != FIRN_OK)
            return status;
    }
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

static int copy(lost *l, const char *file, const char *name, firn_error *err)
{
    fs_file *from = NULL, *to = NULL;
    uint64_t size = 0;
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    int status = chunk ? FIRN_OK : error_no_memory(err, CHUNK_BYTES);
    if (status == FIRN_OK)
        status = fs_open(l->store, file, FS_READ, &from, err);
    if (status == FIRN_OK)
        status = fs_size(from, &size, err);
    if (status == FIRN_OK)
        status = fs_open(l->dir, name, FS_WRITE | FS_CREATE_NEW, &to, err);
    for (uint64_t at = 0; status == FIRN_OK && at < size; at += CHUNK_BYTES) {
        size_t piece = size - at < CHUNK_BYTES ? (size_t)(size - at) : CHUNK_BYTES;
        read_chunk(from, chunk, piece, at);
        status = fs_write(to, chunk, piece, at, err);
    }
    if (status == FIRN_OK)
        status = fs_sync(to, err);
    if (to && status != FIRN_OK)
        (void)fs_unlink(l->dir, name, NULL); /* a part of a copy is none, and the room is wanted */
    fs_close(from);
    fs_close(to);
    mem_free(chunk);
    return status;
}

/* What the name stands for may never have been synced. */
static int sync_file(lost *l, const char *name, firn_error *err)
{
    fs_file *file = NULL;
    int status = fs_open(l->dir, name, FS_READ, &file, err);
    if (status == FIRN_OK)
        status = fs_sync(file, err);
    fs_close(file);
    return status;
}

int lost_keep(lost *l, const char *file, firn_error *err)
{
    char name[FS_NAME_MAX + 1];
    firn_error cannot;
    int status = lost_name(l, file, name, err);
    if (status != FIRN_OK)
        return status;
    status = fs_link(l->store, file, l->dir, name, &cannot);
    if (status == FIRN_OK)
        return sync_file(l, name, err);
    /* Links are unknown here, or the disk is at its end: the copy will tell. */
    if (status == FIRN_IO)
        return copy(l, file, name, err);
    if (status != FIRN_OK && err)
        *err = cannot;
    return status;
}

int lost_sync(lost *l, firn_error *err)
{
    if (!l->dir)
        return FIRN_OK;
    int status = fs_dir_sync(l->dir, err);
    return status == FIRN_OK ? fs_dir_sync(l->store, err) : status;
}
