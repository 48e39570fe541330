/* version: see version.h. */
#include "version.h"

#include <base/alloc.h>
#include <base/error.h>
#include <base/grow.h>
#include <base/search.h>
#include <base/slice.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

/* ---- tables ---- */

static uint64_t own_bytes(const table *t)
{
    return sizeof *t + t->keys.capacity + t->kept_count * sizeof *t->kept;
}

int table_new(const table_env *env, uint64_t no, const sst_properties *properties, table **out)
{
    table *t = mem_zalloc(sizeof *t);
    if (!t)
        return FIRN_NO_MEMORY;
    size_t min_size = properties->key_min.size;
    int rc = buf_append(&t->keys, properties->key_min.data, min_size);
    if (rc == FIRN_OK)
        rc = buf_append(&t->keys, properties->key_max.data, properties->key_max.size);
    if (rc != FIRN_OK) {
        buf_release(&t->keys);
        mem_free(t);
        return rc;
    }
    t->no = no;
    t->env = env;
    t->properties = *properties;
    t->properties.key_min = slice_of(t->keys.data, min_size);
    t->properties.key_max =
        slice_of(t->keys.data ? t->keys.data + min_size : NULL, properties->key_max.size);
    atomic_init(&t->refs, 1);
    atomic_init(&t->obsolete, false);
    atomic_init(&t->reader, NULL);
    atomic_init(&t->mapped, env && env->mapped);
    mutex_init(&t->opening);
    t->self = t;
    if (env && env->budget)
        budget_charge(env->budget, BUDGET_TABLES, own_bytes(t));
    t->as_level = (level){.tables = &t->self, .count = 1, .bytes = t->properties.file_bytes};
    *out = t;
    return FIRN_OK;
}

int table_say_kept(table *t, const kept_range *ranges, size_t count)
{
    kept_range *copy = count ? mem_alloc(count * sizeof *copy) : NULL;
    if (count && !copy)
        return FIRN_NO_MEMORY;
    if (count)
        memcpy(copy, ranges, count * sizeof *copy);
    t->kept = copy;
    t->kept_count = count;
    t->kept_known = true;
    if (t->env && t->env->budget)
        budget_charge(t->env->budget, BUDGET_TABLES, count * sizeof *copy);
    return FIRN_OK;
}

void table_ref(table *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

static void table_end(dead *d)
{
    table *t = (table *)(void *)((char *)d - offsetof(table, grave));
    sst_reader_close(atomic_load_explicit(&t->reader, memory_order_acquire));
    /* In a folder that is not ours any more, files are another writer's. */
    if (atomic_load_explicit(&t->obsolete, memory_order_acquire) &&
        fs_dir_held(t->env->dir, t->env->lock, NULL) == FIRN_OK) {
        char name[NAME_BYTES];
        name_table(t->no, name);
        /* A file that stays behind is an orphan, which the next open removes. */
        (void)fs_unlink(t->env->dir, name, NULL);
    }
    mutex_release(&t->opening);
    if (t->env && t->env->budget)
        budget_release(t->env->budget, BUDGET_TABLES, own_bytes(t));
    mem_free(t->kept);
    buf_release(&t->keys);
    mem_free(t);
}

void table_unref(table *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
        cleaner_give(t->env ? t->env->cleaner : NULL, &t->grave, table_end);
}

int not_plain(int rc, firn_error *err)
{
    if (rc != FIRN_INVALID)
        return rc;
    if (err)
        err->status = FIRN_DAMAGED;
    error_hint(err, "move it away and restore the file from a backup" HINT_REPAIR);
    return FIRN_DAMAGED;
}

/* Does the table say of itself what the manifest says of it? */
static bool is_as_listed(const table *t, const sst_reader *r)
{
    const sst_properties *a = &t->properties, *b = sst_reader_properties(r);
    return a->file_bytes == b->file_bytes && a->entries == b->entries && a->deletes == b->deletes &&
           a->blocks == b->blocks && a->seq_min == b->seq_min && a->seq_max == b->seq_max &&
           slice_equal(a->key_min, b->key_min) && slice_equal(a->key_max, b->key_max);
}

static int fail_listed(const table *t, const char *name, const char *message, firn_error *err)
{
    char path[512];
    fs_path(path, sizeof path, t->env->dir, name);
    error_file(err, FIRN_DAMAGED, path, FIRN_NO_OFFSET, "%s", message);
    error_hint(err, "restore the file from a backup" HINT_REPAIR);
    return FIRN_DAMAGED;
}

/* The manifest lists it, so a missing file is damage and not an answer; unless the whole folder went. */
static int is_missing(const table *t, const char *name, firn_error *err)
{
    int rc = fs_dir_held(t->env->dir, NULL, err);
    if (rc == FIRN_OK)
        rc = fail_listed(t, name, "a table that the manifest lists is missing", err);
    return rc;
}

void table_set_mapped(table *t, bool mapped)
{
    if (atomic_load_explicit(&t->mapped, memory_order_relaxed) == mapped)
        return;
    mutex_lock(&t->opening);
    atomic_store(&t->mapped, mapped);
    sst_reader *r = atomic_load_explicit(&t->reader, memory_order_relaxed);
    if (r)
        sst_reader_set_mapped(r, t->env->dir, mapped);
    mutex_unlock(&t->opening);
}

int table_reader(table *t, sst_reader **out, firn_error *err)
{
    sst_reader *r = atomic_load_explicit(&t->reader, memory_order_acquire);
    int rc = FIRN_OK;
    if (!r) {
        mutex_lock(&t->opening);
        r = atomic_load_explicit(&t->reader, memory_order_acquire);
        if (!r) {
            firn_error why;
            sst_reader_options o = {.cache = t->env->cache,
                                    .files = t->env->files,
                                    .keeps = t->env->keeps,
                                    .mapped = atomic_load(&t->mapped),
                                    .store_id = {t->env->store_id[0], t->env->store_id[1]},
                                    .table_no = t->no,
                                    .file_bytes = t->properties.file_bytes};
            char name[NAME_BYTES];
            name_table(t->no, name);
            error_clear(&why);
            rc = sst_reader_open(t->env->dir, name, &o, &r, &why);
            if (rc == FIRN_NOT_FOUND)
                rc = is_missing(t, name, &why);
            rc = not_plain(rc, &why);
            if (rc == FIRN_OK && !is_as_listed(t, r)) {
                rc = fail_listed(t, name, "the table is not the one that the manifest lists", &why);
                sst_reader_close(r);
            }
            (void)error_give(err, rc, &why);
            if (rc == FIRN_OK)
                atomic_store_explicit(&t->reader, r, memory_order_release);
        }
        mutex_unlock(&t->opening);
    }
    if (rc == FIRN_OK)
        *out = r;
    return rc;
}

/* ---- edits ---- */

static int edit_push(edit_table **list, size_t *count, size_t *capacity, edit_table item)
{
    if (array_grow(list, capacity, *count, sizeof item, NULL) != FIRN_OK)
        return FIRN_NO_MEMORY;
    (*list)[(*count)++] = item;
    return FIRN_OK;
}

int edit_add(edit *e, unsigned lvl, table *t)
{
    return edit_push(&e->added, &e->added_count, &e->added_capacity, (edit_table){lvl, t});
}

int edit_drop(edit *e, unsigned lvl, table *t)
{
    return edit_push(&e->dropped, &e->dropped_count, &e->dropped_capacity, (edit_table){lvl, t});
}

void edit_release(edit *e)
{
    mem_free(e->added);
    mem_free(e->dropped);
    *e = (edit){0};
}

/* ---- versions ---- */

struct level_array {
    atomic_uint refs;
    size_t count;
    table *tables[];
};

_Atomic uint64_t versions_made;

int level_room(level *l, size_t count)
{
    *l = (level){0};
    if (count == 0)
        return FIRN_OK;
    l->shared = mem_alloc(sizeof *l->shared + count * sizeof *l->shared->tables);
    if (!l->shared)
        return FIRN_NO_MEMORY;
    atomic_init(&l->shared->refs, 1);
    l->shared->count = 0;
    l->tables = l->shared->tables;
    return FIRN_OK;
}

void level_push(level *l, table *t)
{
    table_ref(t);
    l->tables[l->count++] = t;
    l->shared->count = l->count;
    l->bytes += t->properties.file_bytes;
    l->kept += t->kept_count;
}

void level_share(level *l, const level *from)
{
    *l = *from;
    if (l->shared)
        atomic_fetch_add_explicit(&l->shared->refs, 1, memory_order_relaxed);
}

static void level_unref(level_array *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < a->count; i++)
        table_unref(a->tables[i]);
    mem_free(a);
}

int version_new_empty(version **out)
{
    version *v = mem_zalloc(sizeof *v);
    if (!v)
        return FIRN_NO_MEMORY;
    atomic_init(&v->refs, 1);
    atomic_fetch_add_explicit(&versions_made, 1, memory_order_relaxed);
    *out = v;
    return FIRN_OK;
}

void version_ref(version *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

void version_unref(version *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        level_unref(v->levels[n].shared);
    mem_free(v);
}

uint64_t version_tables(const version *v)
{
    uint64_t count = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        count += v->levels[n].count;
    return count;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int version_numbers(const version *v, buf *out)
{
    buf_clear(out);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++) {
            int rc = buf_append(out, &v->levels[n].tables[i]->no, sizeof(uint64_t));
            if (rc != FIRN_OK)
                return rc;
        }
    if (out->size)
        qsort(out->data, out->size / sizeof(uint64_t), sizeof(uint64_t), by_number);
    return FIRN_OK;
}

firn_slice version_common_prefix(const version *v)
{
    firn_slice prefix = {0};
    bool any = false;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++) {
            const sst_properties *p = &v->levels[n].tables[i]->properties;
            if (!any)
                prefix = p->key_min;
            any = true;
            prefix.size = slice_common(prefix, p->key_min);
            prefix.size = slice_common(prefix, p->key_max);
        }
    return prefix;
}

/* ---- finding ---- */

void level_overlap(const level *l, firn_slice from, firn_slice to, size_t *first, size_t *end)
{
    *first = from.data ? level_find(l, from) : 0;
    *end = to.data ? level_find(l, to) : l->count;
    if (*end < l->count && slice_compare(l->tables[*end]->properties.key_min, to) <= 0)
        ++*end;
    if (*end < *first) /* the bounds are in the wrong order */
        *end = *first;
}
