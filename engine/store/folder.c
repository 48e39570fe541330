/* folder: see folder.h. */
#include <store/folder.h>

#include <base/search.h>
#include <base/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wal/wal.h>

#include <tree/names.h>
#include <tree/version.h>

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

int folder_read(fs_dir *dir, folder *out, firn_error *err)
{
    folder f = {0};
    int rc = fs_dir_list(dir, sort_name, &f, err);
    if (rc != FIRN_OK) {
        folder_release(&f);
        return rc;
    }
    if (f.tables.size)
        qsort(f.tables.data, folder_count(&f.tables), sizeof(uint64_t), order_u64);
    if (f.manifests.size)
        qsort(f.manifests.data, folder_count(&f.manifests), sizeof(uint64_t), order_u64);
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
           bsearch(&no, numbers->data, folder_count(numbers), sizeof no, order_u64);
}

int folder_fingerprint(fs_dir *dir, uint64_t *out, firn_error *err)
{
    uint64_t names = 0, bytes = 0;
    folder f = {0};
    fs_file *file = NULL;
    int rc = fs_dir_fingerprint(dir, &names, err);
    if (rc == FIRN_OK)
        rc = folder_read(dir, &f, err);
    if (rc != FIRN_OK)
        return rc;
    size_t manifests = folder_count(&f.manifests);
    if (manifests) {
        char name[NAME_BYTES];
        name_manifest(folder_at(&f.manifests, manifests - 1), false, name);
        if (fs_open(dir, name, FS_READ, &file, NULL) == FIRN_OK)
            (void)fs_size(file, &bytes, NULL); /* 0 then, which is as good as any other number */
    }
    fs_close(file);
    folder_release(&f);
    *out = names + bytes * UINT64_C(0x9e3779b97f4a7c15);
    return FIRN_OK;
}

/* ---- What is no plain file ---- */

typedef struct odd {
    fs_dir *dir;
    folder_odd_fn fn;
    void *ctx;
} odd;

static int tell_odd(void *ctx, const char *name)
{
    const odd *o = ctx;
    uint64_t no;
    fs_entry entry;
    if (strlen(name) > FS_NAME_MAX || name_parse(name, &no) == NAME_FOREIGN ||
        strcmp(name, NAME_LOST) == 0 || fs_look(o->dir, name, &entry, NULL) != FIRN_OK)
        return FIRN_OK;
    o->fn(o->ctx, name, fs_kind_name(entry.kind), strcmp(name, WAL_RESERVE_NAME) != 0);
    return FIRN_OK;
}

int folder_list_odd(fs_dir *dir, folder_odd_fn fn, void *ctx, firn_error *err)
{
    odd o = {dir, fn, ctx};
    fs_entry entry;
    int rc = fs_dir_list_odd(dir, tell_odd, &o, err);
    if (rc == FIRN_OK && fs_look(dir, NAME_LOST, &entry, NULL) == FIRN_OK &&
        entry.kind != FS_KIND_FOLDER)
        fn(ctx, NAME_LOST, fs_kind_name(entry.kind), false);
    return rc;
}

typedef struct first_odd {
    char name[FS_NAME_MAX + 1];
    const char *what;
} first_odd;

static void note_first(void *ctx, const char *name, const char *what, bool matters)
{
    first_odd *f = ctx;
    if (!matters || f->what)
        return;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->what = what;
}

int folder_check_plain(fs_dir *dir, firn_error *err)
{
    first_odd first = {.what = NULL};
    int rc = folder_list_odd(dir, note_first, &first, err);
    if (rc != FIRN_OK || !first.what)
        return rc;
    char path[512];
    fs_path(path, sizeof path, dir, first.name);
    error_file(err, FIRN_DAMAGED, path, FIRN_NO_OFFSET,
               "this is %s, and has the name of a file of the store", first.what);
    error_hint(err, "move it away, and restore the file from a backup if it was one" HINT_REPAIR);
    return FIRN_DAMAGED;
}
