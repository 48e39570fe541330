/* folder: what lies in a store's folder, sorted out by name. */
#ifndef ENGINE_FOLDER_H
#define ENGINE_FOLDER_H

#include <base/buf.h>
#include <base/fs.h>

typedef struct folder {
    buf tables;            /* uint64_t numbers, ascending */
    buf manifests;         /* likewise */
    size_t log_files;      /* names that belong to wal/ */
    size_t foreign;        /* names that are not ours */
    char foreign_name[64]; /* one of them */
} folder;

int folder_read(fs_dir *dir, folder *out, firn_error *err);
void folder_release(folder *f);

static inline size_t folder_count(const buf *numbers)
{
    return numbers->size / sizeof(uint64_t);
}

static inline uint64_t folder_at(const buf *numbers, size_t i)
{
    return ((const uint64_t *)(const void *)numbers->data)[i];
}

bool folder_has(const buf *numbers, uint64_t no);

#endif
