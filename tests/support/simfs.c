/* simfs: the tree of the simulated file system (nodes, names, paths), its recording, and its life.
 * Start reading at simfs_new; the calls of base/fs.h are in simfs_ops.c. Invariants N1 to N4 stand
 * in simfs_inside.h.
 */
#include "simfs_inside.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Nodes ---- */

sim_node *sim_node_new(simfs *s, bool is_dir, uint32_t number)
{
    sim_node *n = sim_alloc(sizeof *n);
    n->is_dir = is_dir;
    n->number = number == SIM_NO_NODE ? s->next_number : number;
    if (n->number >= s->next_number)
        s->next_number = n->number + 1;
    n->next = s->nodes;
    if (s->nodes)
        s->nodes->prev = n;
    s->nodes = n;
    return n;
}

static void node_free(simfs *s, sim_node *n)
{
    if (n->prev)
        n->prev->next = n->next;
    else
        s->nodes = n->next;
    if (n->next)
        n->next->prev = n->prev;
    s->used -= n->charged;
    sim_region_give(n->data, n->room, n->touched);
    free(n->entries);
    free(n);
}

void sim_node_drop(simfs *s, sim_node *n)
{
    if (n->names == 0 && n->holds == 0 && n != s->root)
        node_free(s, n);
}

void sim_node_reserve(sim_node *n, size_t size)
{
    if (size <= n->room || size == 0)
        return;
    if (!n->data) {
        n->data = sim_region_take(size, &n->room);
        return;
    }
    if (n->maps > 0) { /* N2 */
        if (!sim_region_extend(n->data, &n->room, size))
            sim_die("a mapped file grew to %zu bytes, beyond its address range of %zu: allocate it "
                    "before mapping it",
                    size, n->room);
        return;
    }
    size_t room = 0;
    uint8_t *data = sim_region_take(size > 2 * n->room ? size : 2 * n->room, &room);
    memcpy(data, n->data, n->touched);
    sim_region_give(n->data, n->room, n->touched);
    n->data = data;
    n->room = room;
}

void sim_node_resize(simfs *s, sim_node *n, uint64_t size)
{
    uint64_t from = size < n->size ? size : n->size;
    sim_region_fence(n->data, n->room, n->touched);
    if (n->touched > from) /* also what was stored through a mapping behind the end */
        memset(n->data + from, 0, n->touched - from);
    sim_node_reserve(n, (size_t)size);
    if (size < n->size)
        sim_uncharge(s, n, size);
    n->size = size;
    sim_region_fence(n->data, n->room, size);
}

/* ---- Names ---- */

static sim_entry *entry_find(const sim_node *dir, const char *name)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        if (strcmp(dir->entries[i].name, name) == 0)
            return &dir->entries[i];
    }
    return NULL;
}

sim_node *sim_find(const sim_node *dir, const char *name)
{
    sim_entry *e = entry_find(dir, name);
    return e ? e->node : NULL;
}

void sim_name_set(simfs *s, sim_node *dir, const char *name, sim_node *node)
{
    node->names++; /* before the old one is dropped: it may be the same node */
    sim_entry *e = entry_find(dir, name);
    if (e) {
        sim_node *old = e->node;
        e->node = node;
        old->names--;
        sim_node_drop(s, old);
        return;
    }
    if (dir->entry_count == dir->entry_room) {
        dir->entry_room = dir->entry_room ? dir->entry_room * 2 : 8;
        dir->entries = sim_grow(dir->entries, dir->entry_room * sizeof *dir->entries);
    }
    e = &dir->entries[dir->entry_count++];
    size_t length = strlen(name);
    assert(length <= FS_NAME_MAX);
    memcpy(e->name, name, length + 1);
    e->node = node;
}

void sim_name_clear(simfs *s, sim_node *dir, const char *name)
{
    sim_entry *e = entry_find(dir, name);
    if (!e)
        return;
    sim_node *old = e->node;
    size_t at = (size_t)(e - dir->entries);
    memmove(e, e + 1, (dir->entry_count - at - 1) * sizeof *e);
    dir->entry_count--;
    old->names--;
    sim_node_drop(s, old);
}

int sim_walk_parent(simfs *s, const char *path, sim_node **out, char last[FS_NAME_MAX + 1])
{
    sim_node *at = s->root;
    last[0] = '\0';
    while (*path) {
        size_t length = strcspn(path, "/");
        if (length > FS_NAME_MAX)
            return -ENAMETOOLONG;
        if (length > 0 && !(length == 1 && path[0] == '.')) {
            if (last[0]) {
                at = sim_find(at, last);
                if (!at)
                    return -ENOENT;
                if (!at->is_dir)
                    return -ENOTDIR;
            }
            memcpy(last, path, length);
            last[length] = '\0';
        }
        path += length;
        if (*path == '/')
            path++;
    }
    *out = at;
    return 0;
}

int sim_walk(simfs *s, const char *path, sim_node **out)
{
    char last[FS_NAME_MAX + 1];
    sim_node *at = NULL;
    int rc = sim_walk_parent(s, path, &at, last);
    if (rc)
        return rc;
    if (last[0])
        at = sim_find(at, last);
    if (!at)
        return -ENOENT;
    *out = at;
    return 0;
}

/* ---- The recording ---- */

static sim_op *op_new(simfs *s, sim_op_kind kind)
{
    sim_recording *r = &s->recording;
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->ops = sim_grow(r->ops, r->room * sizeof *r->ops);
    }
    sim_op *op = &r->ops[r->count++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    if (kind != SIM_OP_MARK)
        r->changes++;
    return op;
}

static const char *keep_name(simfs *s, const char *name)
{
    size_t size = strlen(name) + 1;
    char *copy = sim_arena_take(&s->recording.arena, size);
    memcpy(copy, name, size);
    return copy;
}

void sim_note_name(simfs *s, sim_op_kind kind, const sim_node *dir, const char *name,
                   const sim_node *node)
{
    if (!s->recording.on)
        return;
    sim_op *op = op_new(s, kind);
    op->dir = dir->number;
    op->node = node->number;
    op->name = keep_name(s, name);
}

void sim_note_rename(simfs *s, const sim_node *dir, const char *from, const char *to,
                     const sim_node *node)
{
    if (!s->recording.on)
        return;
    sim_op *op = op_new(s, SIM_OP_RENAME);
    op->dir = dir->number;
    op->node = node->number;
    op->name = keep_name(s, from);
    op->to = keep_name(s, to);
}

void sim_note_bytes(simfs *s, sim_op_kind kind, const sim_node *node, uint64_t offset, size_t size)
{
    if (!s->recording.on || size == 0)
        return;
    uint8_t *copy = sim_arena_take(&s->recording.arena, size);
    memcpy(copy, node->data + offset, size);
    sim_op *op = op_new(s, kind);
    op->node = node->number;
    op->offset = offset;
    op->size = size;
    op->data = copy;
}

void sim_note_range(simfs *s, sim_op_kind kind, uint32_t node, uint64_t offset, size_t size)
{
    if (!s->recording.on)
        return;
    sim_op *op = op_new(s, kind);
    op->node = node;
    op->dir = node;
    op->offset = offset;
    op->size = size;
}

void sim_note(simfs *s, sim_op_kind kind, uint32_t node, uint64_t offset)
{
    sim_note_range(s, kind, node, offset, 0);
}

static void recording_release(sim_recording *r)
{
    if (r->base)
        simfs_free(r->base);
    free(r->ops);
    sim_arena_release(&r->arena);
    memset(r, 0, sizeof *r);
}

void simfs_record(simfs *s)
{
    recording_release(&s->recording);
    s->recording.base = simfs_clone(s);
    s->recording.on = true;
}

void simfs_record_stop(simfs *s)
{
    mutex_lock(&s->lock);
    s->recording.on = false;
    mutex_unlock(&s->lock);
}

uint64_t simfs_changes(simfs *s)
{
    mutex_lock(&s->lock);
    uint64_t n = s->recording.changes;
    mutex_unlock(&s->lock);
    return n;
}

void simfs_mark(simfs *s, unsigned mark, uint64_t value)
{
    assert(mark < SIMFS_MARKS);
    mutex_lock(&s->lock);
    sim_note(s, SIM_OP_MARK, mark, value);
    mutex_unlock(&s->lock);
}

/* ---- Life ---- */

static simfs *sim_new(uint64_t seed)
{
    simfs *s = sim_alloc(sizeof *s);
    s->base.ops = &sim_ops;
    mutex_init(&s->lock);
    s->capacity = UINT64_MAX;
    s->mapping_ok = true;
    s->dir_locks = true;
    s->file_limit = UINT64_MAX;
    s->descriptor_limit = UINT64_MAX;
    s->memory_limit = UINT64_MAX;
    s->clock_us = UINT64_C(1700000000000000);
    s->chance = rng_init(seed);
    return s;
}

simfs *simfs_new(uint64_t seed)
{
    simfs *s = sim_new(seed);
    s->root = sim_node_new(s, true, SIM_NO_NODE);
    return s;
}

simfs *simfs_clone(simfs *s)
{
    mutex_lock(&s->lock);
    simfs *copy = sim_new(rng_next(&s->chance));
    sim_node **by_number = sim_alloc(s->next_number * sizeof(sim_node *));
    copy->next_number = s->next_number; /* N4 */
    copy->mapping_ok = s->mapping_ok;
    copy->dir_locks = s->dir_locks;
    copy->file_limit = s->file_limit;
    copy->descriptor_limit = s->descriptor_limit;
    copy->memory_limit = s->memory_limit;
    copy->capacity = s->capacity;
    copy->clock_us = s->clock_us;
    for (const sim_node *n = s->nodes; n; n = n->next) {
        if (n->names == 0 && n != s->root)
            continue; /* held by a handle only */
        sim_node *c = by_number[n->number] = sim_node_new(copy, n->is_dir, n->number);
        sim_node_reserve(c, (size_t)n->size);
        if (n->size)
            memcpy(c->data, n->data, n->size);
        c->size = c->touched = n->size;
        sim_region_fence(c->data, c->room, c->size);
        c->charged = n->charged;
        copy->used += n->charged;
    }
    copy->root = by_number[s->root->number];
    for (const sim_node *n = s->nodes; n; n = n->next) {
        for (size_t i = 0; i < n->entry_count; i++)
            sim_name_set(copy, by_number[n->number], n->entries[i].name,
                         by_number[n->entries[i].node->number]);
    }
    mutex_unlock(&s->lock);
    free(by_number);
    return copy;
}

void simfs_free(simfs *s)
{
    if (!s)
        return;
    while (s->files) {
        sim_file *next = s->files->next;
        free(s->files);
        s->files = next;
    }
    while (s->dirs) {
        sim_dir *next = s->dirs->next;
        free(s->dirs->pub.path);
        free(s->dirs);
        s->dirs = next;
    }
    while (s->nodes)
        node_free(s, s->nodes);
    recording_release(&s->recording);
    mutex_release(&s->lock);
    free(s);
}

fs *simfs_fs(simfs *s)
{
    return &s->base;
}

uint64_t simfs_open_count(simfs *s)
{
    mutex_lock(&s->lock);
    uint64_t n = s->open_count;
    mutex_unlock(&s->lock);
    return n;
}
