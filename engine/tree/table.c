/* table: a table of the store, from its opening to its end (version.h). */
#include <base/alloc.h>
#include <base/error.h>
#include <base/slice.h>
#include <errno.h>
#include <string.h>

#include <tree/names.h>
#include <tree/readers.h>
#include <tree/version.h>

static uint64_t own_bytes(const table *t)
{
    return sizeof *t + t->keys.capacity + t->kept_count * sizeof *t->kept;
}

int table_new(const table_env *env, uint64_t no, const sst_properties *properties, table **out)
{
    table *t = heap_zalloc(sizeof *t);
    if (!t)
        return FIRN_NO_MEMORY;
    size_t min_size = properties->key_min.size;
    int rc = buf_append(&t->keys, properties->key_min.data, min_size);
    if (rc == FIRN_OK)
        rc = buf_append(&t->keys, properties->key_max.data, properties->key_max.size);
    if (rc != FIRN_OK) {
        buf_release(&t->keys);
        heap_free(t);
        return rc;
    }
    t->no = no;
    t->bucket = properties->bucket;
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
    if (env && env->file_bytes)
        atomic_fetch_add_explicit(env->file_bytes, t->properties.file_bytes, memory_order_relaxed);
    t->as_level = (level){.tables = &t->self,
                          .count = 1,
                          .bytes = t->properties.file_bytes,
                          .ranged = t->properties.ranges > 0};
    *out = t;
    return FIRN_OK;
}

int table_say_kept(table *t, const kept_range *ranges, size_t count)
{
    kept_range *copy = count ? heap_alloc(count * sizeof *copy) : NULL;
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
    /* Behind the unlink: until then the file takes its room. */
    if (t->env && t->env->file_bytes)
        atomic_fetch_sub_explicit(t->env->file_bytes, t->properties.file_bytes,
                                  memory_order_relaxed);
    mutex_release(&t->opening);
    if (t->env && t->env->budget)
        budget_release(t->env->budget, BUDGET_TABLES, own_bytes(t));
    heap_free(t->kept);
    buf_release(&t->keys);
    heap_free(t);
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

int refuse_order(const char *path, firn_error *err)
{
    error_file(err, FIRN_DAMAGED, path, FIRN_NO_OFFSET,
               "a table holds entries that are out of order, although its checksums are right");
    error_hint(err, "`firn check` names the table; restore it from a backup" HINT_REPAIR);
    return FIRN_DAMAGED;
}

/* Does the table say of itself what the manifest says of it? */
static bool is_as_listed(const table *t, const sst_reader *r)
{
    const sst_properties *a = &t->properties, *b = sst_reader_properties(r);
    return a->file_bytes == b->file_bytes && a->entries == b->entries && a->deletes == b->deletes &&
           a->ranges == b->ranges && a->blocks == b->blocks && a->bucket == b->bucket &&
           a->seq_min == b->seq_min && a->seq_max == b->seq_max &&
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

/* The manifest lists it, so a missing file is damage and not an answer; unless the whole folder
 * went. */
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

static int open_reader(table *t, sst_reader **out, firn_error *err) REQUIRES(t->opening)
{
    firn_error why;
    sst_reader *r;
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
    int rc = sst_reader_open(t->env->dir, name, &o, &r, &why);
    if (rc == FIRN_NOT_FOUND)
        rc = is_missing(t, name, &why);
    rc = not_plain(rc, &why);
    if (rc == FIRN_OK && !is_as_listed(t, r)) {
        rc = fail_listed(t, name, "the table is not the one that the manifest lists", &why);
        sst_reader_close(r);
    }
    (void)error_give(err, rc, &why);
    if (rc != FIRN_OK)
        return rc;
    atomic_store_explicit(&t->reader, r, memory_order_release);
    *out = r;
    return FIRN_OK;
}

int table_open(table *t, sst_reader **out, firn_error *err)
{
    patience p = {0};
    int rc = FIRN_OK;
    patience_lock(&p, t->env->waits, FIRN_WAIT_BLOCK, &t->opening);
    *out = atomic_load_explicit(&t->reader, memory_order_acquire);
    if (!*out)
        rc = open_reader(t, out, err);
    mutex_unlock(&t->opening);
    patience_end(&p);
    return rc;
}

void table_count_filter(const table *t, sst_filtered said)
{
    filter_stripe *all = t->env->filters;
    unsigned n = atomic_load_explicit(&t->level, memory_order_relaxed);
    if (!all || said == SST_FILTER_NONE)
        return;
    filter_stripe *s = &all[readers_slot_of_thread() % FILTER_STRIPES];
    atomic_fetch_add_explicit(said == SST_FILTER_PASSED ? &s->wrong[n] : &s->denied[n], 1,
                              memory_order_relaxed);
}
