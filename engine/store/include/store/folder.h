/* folder: what lies in a store's folder, sorted out by name. */
#ifndef ENGINE_FOLDER_H
#define ENGINE_FOLDER_H

#include <base/buf.h>
#include <base/fs.h>
#include <base/look.h>

typedef struct folder {
    buf tables;            /* uint64_t numbers, ascending */
    buf manifests;         /* likewise */
    size_t log_files;      /* finished segments of the log */
    uint64_t log_first;    /* the lowest number of one */
    size_t foreign;        /* names that are not ours */
    char foreign_name[64]; /* one of them */
} folder;

/* FIRN_DAMAGED, with the name, when one of the store's names stands for something else than a plain
 * file. What the store works without (the reserve) or moves out of its way when it is wanted (lost)
 * does not matter. */
int folder_check_plain(fs_dir *dir, firn_error *err);
/* Hears of each such name, also of those that do not matter, and of what it is. */
typedef void (*folder_odd_fn)(void *ctx, const char *name, const char *what, bool matters);
int folder_list_odd(fs_dir *dir, folder_odd_fn fn, void *ctx, firn_error *err);

int folder_read(fs_dir *dir, folder *out, firn_error *err);
void folder_release(folder *f);

/* For readers beside a busy writer, which want to see one state of the store (base/look.h): what a
 * reading depends on is the names in the folder and the size of the manifest. */
int folder_fingerprint(fs_dir *dir, uint64_t *out, firn_error *err);
static inline folder_look folder_look_at(fs_dir *dir)
{
    return (folder_look){.dir = dir, .fingerprint = folder_fingerprint, .most = 1000};
}

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
