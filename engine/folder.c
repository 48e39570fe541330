/* folder: see folder.h. */
#include "folder.h"

#include <base/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <wal/wal.h>

#include "names.h"

static int sort_name(void *ctx, const char *name)
{
    folder *f = ctx;
    uint64_t no = 0;
    switch (name_parse(name, &no)) {
    case NAME_TABLE:
        return buf_append(&f->tables, &no, sizeof no);
    case NAME_MANIFEST:
        return buf_append(&f->manifests, &no, sizeof no);
    case NAME_LOG:
        if (wal_is_segment_name(name, &no)) {
            if (f->log_files++ == 0 || no < f->log_first)
                f->log_first = no;
        }
        return FIRN_OK;
    case NAME_FOREIGN:
        f->foreign++;
        snprintf(f->foreign_name, sizeof f->foreign_name, "%s", name);
        return FIRN_OK;
    case NAME_TEMPORARY:
    case NAME_OTHER:
        return FIRN_OK;
    }
    return FIRN_OK;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int folder_read(fs_dir *dir, folder *out, firn_error *err)
{
    folder f = {0};
    int rc = fs_dir_list(dir, sort_name, &f, err);
    if (rc != FIRN_OK) {
        if (rc == FIRN_NO_MEMORY && err &&
            err->status != rc) /* sort_name's, which has nobody to tell */
            error_no_memory(err, f.tables.size + f.manifests.size);
        folder_release(&f);
        return rc;
    }
    if (f.tables.size)
        qsort(f.tables.data, folder_count(&f.tables), sizeof(uint64_t), by_number);
    if (f.manifests.size)
        qsort(f.manifests.data, folder_count(&f.manifests), sizeof(uint64_t), by_number);
    *out = f;
    return FIRN_OK;
}

void folder_release(folder *f)
{
    buf_release(&f->tables);
    buf_release(&f->manifests);
}

bool folder_has(const buf *numbers, uint64_t no)
{
    return numbers->size &&
           bsearch(&no, numbers->data, folder_count(numbers), sizeof no, by_number);
}

uint64_t folder_fingerprint(fs_dir *dir)
{
    uint64_t names = 0, bytes = 0;
    folder f = {0};
    fs_file *file = NULL;
    if (fs_dir_fingerprint(dir, &names, NULL) != FIRN_OK || folder_read(dir, &f, NULL) != FIRN_OK)
        return 0;
    size_t manifests = folder_count(&f.manifests);
    if (manifests) {
        char name[NAME_BYTES];
        name_manifest(folder_at(&f.manifests, manifests - 1), false, name);
        if (fs_open(dir, name, FS_READ, &file, NULL) == FIRN_OK)
            (void)fs_size(file, &bytes, NULL); /* 0 then, which is as good as any other number */
    }
    fs_close(file);
    folder_release(&f);
    return names + bytes * UINT64_C(0x9e3779b97f4a7c15);
}
