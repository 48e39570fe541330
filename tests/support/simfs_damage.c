/* simfs_damage: looking at a simulated file system from outside, and damaging it. None of this is a
 * call of the code under test: nothing is counted, failed or recorded.
 */
#include "simfs_inside.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sim_node *file_at(simfs *s, const char *path)
{
    sim_node *n = NULL;
    int rc = sim_walk(s, path, &n);
    if (rc || n->is_dir)
        sim_die("no file %s (%s)", path, strerror(-rc));
    return n;
}

bool simfs_exists(simfs *s, const char *path)
{
    sim_node *n = NULL;
    mutex_lock(&s->lock);
    int rc = sim_walk(s, path, &n);
    mutex_unlock(&s->lock);
    return rc == 0;
}

const uint8_t *simfs_peek(simfs *s, const char *path, size_t *size)
{
    mutex_lock(&s->lock);
    const sim_node *n = file_at(s, path);
    *size = (size_t)n->size;
    const uint8_t *data = n->data;
    mutex_unlock(&s->lock);
    return data;
}

/* The folder of `path`, made with all its parents. */
static sim_node *folder_for(simfs *s, const char *path, char last[FS_NAME_MAX + 1])
{
    sim_node *at = s->root;
    last[0] = '\0';
    while (*path) {
        size_t length = strcspn(path, "/");
        if (length > FS_NAME_MAX)
            sim_die("a name in %s is too long", path);
        if (length > 0) {
            if (last[0]) {
                sim_node *next = sim_find(at, last);
                if (!next) {
                    next = sim_node_new(s, true, SIM_NO_NODE);
                    sim_name_set(s, at, last, next);
                }
                at = next;
            }
            memcpy(last, path, length);
            last[length] = '\0';
        }
        path += length;
        if (*path == '/')
            path++;
    }
    return at;
}

static void set_content(simfs *s, sim_node *n, const void *data, size_t size)
{
    sim_node_resize(s, n, 0);
    sim_node_resize(s, n, size);
    if (size)
        memcpy(n->data, data, size);
    if (size > n->touched)
        n->touched = size;
    /* From outside: a full disk does not stop it. */
    if (size > n->charged) {
        s->used += size - n->charged;
        n->charged = size;
    }
}

void simfs_write_file(simfs *s, const char *path, const void *data, size_t size)
{
    char last[FS_NAME_MAX + 1];
    mutex_lock(&s->lock);
    sim_node *dir = folder_for(s, path, last);
    sim_node *n = sim_find(dir, last);
    if (!n) {
        n = sim_node_new(s, false, SIM_NO_NODE);
        sim_name_set(s, dir, last, n);
    }
    if (n->is_dir)
        sim_die("%s is a folder", path);
    set_content(s, n, data, size);
    mutex_unlock(&s->lock);
}

void simfs_poke(simfs *s, const char *path, uint64_t offset, const void *data, size_t size)
{
    mutex_lock(&s->lock);
    sim_node *n = file_at(s, path);
    if (offset > n->size || size > n->size - offset)
        sim_die("%s ends before %llu", path, (unsigned long long)(offset + size));
    memcpy(n->data + offset, data, size);
    if (offset + size > n->touched)
        n->touched = (size_t)offset + size;
    mutex_unlock(&s->lock);
}

void simfs_flip_bit(simfs *s, const char *path, uint64_t bit)
{
    size_t size = 0;
    const uint8_t *data = simfs_peek(s, path, &size);
    if (bit / 8 >= size)
        sim_die("%s has no bit %llu", path, (unsigned long long)bit);
    uint8_t byte = (uint8_t)(data[bit / 8] ^ 1u << bit % 8);
    simfs_poke(s, path, bit / 8, &byte, 1);
}

void simfs_cut(simfs *s, const char *path, uint64_t size)
{
    mutex_lock(&s->lock);
    sim_node_resize(s, file_at(s, path), size);
    mutex_unlock(&s->lock);
}

void simfs_remove(simfs *s, const char *path)
{
    char last[FS_NAME_MAX + 1];
    sim_node *dir = NULL;
    mutex_lock(&s->lock);
    if (sim_walk_parent(s, path, &dir, last) == 0)
        sim_name_clear(s, dir, last);
    mutex_unlock(&s->lock);
}

void simfs_move_folder(simfs *s, const char *from, const char *to)
{
    char last[FS_NAME_MAX + 1], new_last[FS_NAME_MAX + 1];
    sim_node *dir = NULL;
    mutex_lock(&s->lock);
    sim_node *n = sim_walk_parent(s, from, &dir, last) == 0 ? sim_find(dir, last) : NULL;
    if (!n || !n->is_dir)
        sim_die("no folder %s", from);
    sim_node *new_dir = folder_for(s, to, new_last);
    sim_name_set(s, new_dir, new_last, n);
    sim_name_clear(s, dir, last);
    mutex_unlock(&s->lock);
}

static void empty_folder(simfs *s, sim_node *dir)
{
    while (dir->entry_count > 0) {
        sim_entry first = dir->entries[0];
        if (first.node->is_dir)
            empty_folder(s, first.node);
        sim_name_clear(s, dir, first.name);
    }
}

void simfs_remove_folder(simfs *s, const char *path)
{
    char last[FS_NAME_MAX + 1];
    sim_node *dir = NULL;
    mutex_lock(&s->lock);
    sim_node *n = sim_walk_parent(s, path, &dir, last) == 0 ? sim_find(dir, last) : NULL;
    if (!n || !n->is_dir)
        sim_die("no folder %s", path);
    empty_folder(s, n);
    sim_name_clear(s, dir, last);
    mutex_unlock(&s->lock);
}

void simfs_copy_file(simfs *s, const char *from, const char *to)
{
    size_t size = 0;
    const uint8_t *data = simfs_peek(s, from, &size);
    uint8_t *copy = sim_alloc(size); /* `to` may be `from`, or lie on freed bytes of it */
    if (size)
        memcpy(copy, data, size);
    simfs_write_file(s, to, copy, size);
    free(copy);
}

void simfs_swap_files(simfs *s, const char *a, const char *b)
{
    size_t size = 0;
    const uint8_t *data = simfs_peek(s, a, &size);
    uint8_t *copy = sim_alloc(size);
    if (size)
        memcpy(copy, data, size);
    simfs_copy_file(s, b, a);
    simfs_write_file(s, b, copy, size);
    free(copy);
}

/* ---- Listing ---- */

typedef struct found {
    char *path;
    uint64_t size;
} found;

typedef struct listing {
    found *files;
    size_t file_count;
    struct {
        char *path;
        const sim_node *node;
    } * folders;
    size_t folder_count;
} listing;

static char *join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = sim_alloc(size);
    snprintf(path, size, "%s%s%s", folder, folder[0] ? "/" : "", name);
    return path;
}

static void list_folder(listing *l, const char *path, const sim_node *dir)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        const sim_entry *e = &dir->entries[i];
        char *full = join(path, e->name);
        if (e->node->is_dir) {
            l->folders = sim_grow(l->folders, (l->folder_count + 1) * sizeof *l->folders);
            l->folders[l->folder_count].path = full;
            l->folders[l->folder_count++].node = e->node;
        } else {
            l->files = sim_grow(l->files, (l->file_count + 1) * sizeof *l->files);
            l->files[l->file_count++] = (found){full, e->node->size};
        }
    }
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const found *)a)->path, ((const found *)b)->path);
}

int simfs_each(simfs *s, const char *folder, simfs_each_fn fn, void *ctx)
{
    listing l = {0};
    sim_node *n = NULL;
    while (*folder == '/')
        folder++;
    mutex_lock(&s->lock);
    if (sim_walk(s, folder, &n) == 0 && n->is_dir) {
        list_folder(&l, folder, n);
        for (size_t i = 0; i < l.folder_count; i++) /* grows while it runs */
            list_folder(&l, l.folders[i].path, l.folders[i].node);
    }
    mutex_unlock(&s->lock);
    if (l.file_count)
        qsort(l.files, l.file_count, sizeof *l.files, by_path);
    int rc = 0;
    for (size_t i = 0; i < l.file_count; i++) {
        if (rc == 0)
            rc = fn(ctx, l.files[i].path, l.files[i].size);
        free(l.files[i].path);
    }
    for (size_t i = 0; i < l.folder_count; i++)
        free(l.folders[i].path);
    free(l.files);
    free(l.folders);
    return rc;
}
