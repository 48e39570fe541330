/* set_aside: see set_aside.h. */
#include "set_aside.h"

#include <base/alloc.h>
#include <base/buf.h>
#include <base/error.h>
#include <base/lost.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wal/wal.h>

#include "destroy.h"
#include <store/folder.h>
#include <tree/names.h>
#include <store/store.h>

#define SHOWN_BYTES 256 /* of a name; no file system has longer ones */

/* A number in its one spelling: no leading zero, and 0 only where it is allowed. */
static bool read_number(const char *text, const char *end, bool zero, uint64_t *out)
{
    uint64_t n = 0;
    if (text == end || end - text > 19 || (text[0] == '0' && (!zero || end - text > 1)))
        return false;
    for (const char *p = text; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    *out = n;
    return true;
}

bool aside_name_parse(const char *name, aside_name *out)
{
    char beginning[FS_NAME_MAX + 1];
    const char *dash = strrchr(name, '-');
    uint64_t no;
    if (!dash || (size_t)(dash - name) >= sizeof beginning)
        return false;
    if (!read_number(dash + 1, name + strlen(name), false, &out->number))
        return false;
    memcpy(beginning, name, (size_t)(dash - name));
    beginning[dash - name] = '\0';
    if (name_parse(beginning, &no) != NAME_FOREIGN) {
        snprintf(out->from, sizeof out->from, "%s", beginning);
        out->offset = FIRN_NO_OFFSET;
        return true;
    }
    char *cut = strrchr(beginning, '-');
    if (!cut || !read_number(cut + 1, cut + strlen(cut), true, &out->offset))
        return false;
    snprintf(out->from, sizeof out->from, "%.*s.wal", (int)(cut - beginning), beginning);
    return wal_is_segment_name(out->from, NULL);
}

/* ---- What lies there ---- */

typedef struct aside {
    char name[SHOWN_BYTES];
    bool ours;
    aside_name parsed;
    fs_entry entry;
} aside;

typedef struct listing {
    fs_dir *dir;
    buf found; /* aside */
    firn_error *err;
} listing;

static int add_name(void *ctx, const char *name)
{
    listing *l = ctx;
    aside a = {.parsed.offset = FIRN_NO_OFFSET};
    snprintf(a.name, sizeof a.name, "%s", name);
    bool grammar = aside_name_parse(name, &a.parsed);
    if (strlen(name) <= FS_NAME_MAX) {
        int rc = fs_look(l->dir, name, &a.entry, l->err);
        if (rc == FIRN_NOT_FOUND)
            return FIRN_OK; /* removed meanwhile */
        if (rc != FIRN_OK)
            return rc;
    }
    a.ours = grammar && a.entry.kind != FS_KIND_FOLDER;
    if (!a.ours)
        a.parsed = (aside_name){.offset = FIRN_NO_OFFSET};
    return buf_append(&l->found, &a, sizeof a) == FIRN_OK ? FIRN_OK : error_no_memory(l->err);
}

static int by_number(const void *x, const void *y)
{
    const aside *a = x, *b = y;
    if (a->ours != b->ours)
        return a->ours ? -1 : 1;
    if (a->parsed.number != b->parsed.number)
        return a->parsed.number < b->parsed.number ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* ---- Walking ---- */

static int walk_one(listing *l, const aside *a, bool remove,
                    void (*tell)(void *ctx, const firn_lost_file *file), void *ctx,
                    firn_lost_summary *sum)
{
    firn_lost_file file = {.name = a->name,
                           .bytes = a->entry.kind == FS_KIND_FILE ? a->entry.size : 0,
                           .time_ms = a->entry.changed_ms,
                           .from = a->parsed.from,
                           .offset = a->parsed.offset,
                           .ours = a->ours};
    int rc = FIRN_OK;
    if (!a->ours) {
        sum->others++;
    } else {
        sum->files++;
        sum->bytes += file.bytes;
        if (remove)
            rc = fs_unlink(l->dir, a->name, l->err); /* of a link, the link */
        if (rc == FIRN_NOT_FOUND)
            rc = FIRN_OK;
        file.removed = remove && rc == FIRN_OK;
        sum->removed_files += file.removed;
        sum->removed_bytes += file.removed ? file.bytes : 0;
    }
    if (rc == FIRN_OK && tell)
        tell(ctx, &file);
    return rc;
}

/* Something of other owners may be in it; then it stays. */
static int remove_folder(fs_dir *parent, firn_error *err)
{
    firn_error why = {0};
    int rc = fs_dir_remove_in(parent, LOST_FOLDER, &why);
    if (rc == FIRN_OK || rc == FIRN_NOT_FOUND || why.sys_errno == ENOTEMPTY ||
        why.sys_errno == EEXIST)
        return fs_dir_sync(parent, err);
    if (err)
        *err = why;
    return rc;
}

int aside_walk(fs_dir *parent, bool remove, void (*tell)(void *ctx, const firn_lost_file *file),
               void *ctx, firn_lost_summary *summary, firn_error *err)
{
    firn_lost_summary sum = {0};
    firn_error why = {0};
    listing l = {.err = &why};
    int rc = fs_dir_open_in(parent, LOST_FOLDER, false, &l.dir, &why);
    bool there = rc != FIRN_NOT_FOUND;
    if (rc == FIRN_OK)
        rc = fs_dir_list(l.dir, add_name, &l, &why);
    size_t count = l.found.size / sizeof(aside);
    aside *found = (aside *)(void *)l.found.data;
    if (rc == FIRN_OK && count)
        qsort(found, count, sizeof *found, by_number);
    for (size_t i = 0; i < count && rc == FIRN_OK; i++)
        rc = walk_one(&l, &found[i], remove, tell, ctx, &sum);
    if (rc == FIRN_OK && remove)
        rc = fs_dir_sync(l.dir, &why);
    if (rc == FIRN_OK && remove)
        rc = remove_folder(parent, &why);
    if (!there)
        rc = FIRN_OK;
    if (rc != FIRN_OK && err)
        *err = why;
    fs_dir_close(l.dir);
    buf_release(&l.found);
    if (summary)
        *summary = sum;
    return rc;
}

int engine_lost(fs *f, const char *path, bool remove,
                void (*tell)(void *ctx, const firn_lost_file *file), void *ctx,
                firn_lost_summary *summary, firn_error *err)
{
    fs_dir *dir = NULL;
    fs_file *lock = NULL;
    if (summary)
        *summary = (firn_lost_summary){0};
    int rc = store_folder_open(f, path, remove ? &lock : NULL, &dir, err);
    if (rc == FIRN_OK)
        rc = aside_walk(dir, remove, tell, ctx, summary, err);
    fs_close(lock);
    fs_dir_close(dir);
    return rc;
}

int firn_lost(const char *path, bool remove, void (*tell)(void *ctx, const firn_lost_file *file),
              void *ctx, firn_lost_summary *summary, firn_error *error)
{
    return engine_lost(NULL, path, remove, tell, ctx, summary, error);
}
