/* Repair of a store with several trees: what is left of a bucket stays in it, with a manifest and without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <tree/names.h>

#include "trees.h"

/* The path of some table of a tree. */
static void path_of_a_table(scenario *s, tree *t, char path[128])
{
    char name[NAME_BYTES];
    view *v = tree_view(t);
    unsigned n = 0;
    while (n < FIRN_LEVELS - 1 && v->version->levels[n].count == 0)
        n++;
    assert_true(v->version->levels[n].count > 0);
    name_table(v->version->levels[n].tables[0]->no, name);
    view_unref(v);
    snprintf(path, 128, "%s/%s", s->b.folder, name);
}

static void repair_keeps_the_buckets(void **state)
{
    (void)state;
    scenario *s = trees_begin(12);
    firn_error err = {0};
    bed_must_open(&s->b);
    trees_make(s);
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.compression = FIRN_COMPRESSION_ZLIB;
    o.filter_bits = 3;
    MUST(firn_bucket_set(s->trees[1], &o, error));
    for (unsigned i = 0; i < 80; i++)
        trees_write(s, false);
    bed_flush(&s->b);
    char path[128];
    path_of_a_table(s, s->trees[1], path);
    bed_must_close(&s->b);
    assert_int_equal(engine_check(s->b.config.fs, s->b.folder, NULL, NULL, NULL, &err), FIRN_OK);
    size_t size = 0;
    (void)simfs_peek(s->b.sim, path, &size);
    simfs_flip_bit(s->b.sim, path, 8 * (size - 3)); /* its footer: all blocks can be saved */
    assert_int_equal(engine_check(s->b.config.fs, s->b.folder, NULL, NULL, NULL, &err),
                     FIRN_DAMAGED);
    MUST(engine_repair(s->b.folder, &s->b.options, &s->b.config, NULL, NULL, NULL, error));
    bed_must_open(&s->b);
    trees_find(s->b.db, s->trees);
    assert_true(s->trees[1] && s->trees[2]);
    trees_must_be(s, NULL, s->count);
    firn_bucket_options_init(&o);
    MUST(firn_bucket_get(s->trees[1], &o, error));
    assert_int_equal(o.compression, FIRN_COMPRESSION_ZLIB);
    assert_int_equal(o.filter_bits, 3);
    trees_end(s);
}

static int unlink_manifest(void *ctx, const char *name)
{
    fs_dir *dir = ctx;
    if (strstr(name, ".manifest"))
        MUST(fs_unlink(dir, name, error));
    return 0;
}

static void unlink_manifests(scenario *s)
{
    fs_dir *dir = NULL;
    MUST(fs_dir_open(s->b.config.fs, s->b.folder, &dir, error));
    MUST(fs_dir_list(dir, unlink_manifest, dir, error));
    fs_dir_close(dir);
}

static void find_without_names(scenario *s)
{
    s->trees[0] = s->b.db;
    s->trees[1] = trees_get(s->b.db, "bucket-1");
    s->trees[2] = trees_get(s->b.db, "bucket-2");
}

/* Tables and log say of which bucket they are; only the names are gone. */
static void repair_without_a_manifest_keeps_buckets_apart(void **state)
{
    (void)state;
    scenario *s = trees_begin(13);
    bed_must_open(&s->b);
    s->trees[0] = s->b.db;
    s->trees[1] = trees_new(s->b.db, tree_names[1]);
    for (unsigned i = 0; i < 40; i++)
        trees_write(s, false);
    bed_flush(&s->b);
    s->trees[2] = trees_new(s->b.db, tree_names[2]);
    for (unsigned i = 0; i < 4; i++)
        trees_write(s, false);
    view *v = tree_view(s->trees[2]);
    assert_int_equal(version_tables(v->version), 0); /* what it holds is in the log alone */
    assert_true(mem_part_of(v->active, s->trees[2]->bucket) != NULL);
    view_unref(v);
    bed_must_close(&s->b);
    unlink_manifests(s);
    MUST(engine_repair(s->b.folder, &s->b.options, &s->b.config, NULL, NULL, NULL, error));
    bed_must_open(&s->b);
    find_without_names(s);
    assert_true(s->trees[1] && s->trees[2]);
    trees_must_be(s, NULL, s->count);
    tree *fresh = trees_new(s->b.db, "fresh");
    assert_int_equal(fresh->bucket, 3);
    trees_end(s);
}

/* Without manifests, and with a table that does not say any more of which bucket it is. Returns its size. */
static size_t repair_without_properties(scenario *s, const char *path, firn_repair_summary *summary)
{
    size_t size = 0;
    bed_must_close(&s->b);
    unlink_manifests(s);
    (void)simfs_peek(s->b.sim, path, &size);
    simfs_flip_bit(s->b.sim, path, 8 * (size - 3)); /* its footer, and with it the properties */
    MUST(engine_repair(s->b.folder, &s->b.options, &s->b.config, NULL, NULL, summary, error));
    assert_int_equal(summary->tables_lost, 1);
    return size;
}

/* Nothing can say which bucket the keys of such a table are of: in the wrong one they would be worse than lost. */
static void a_table_of_no_known_bucket_is_set_aside(void **state)
{
    (void)state;
    scenario *s = trees_begin(14);
    firn_repair_summary summary = {0};
    firn_lost_summary aside = {0};
    char path[128];
    bed_must_open(&s->b);
    trees_make(s);
    for (unsigned i = 0; i < 60; i++)
        trees_write(s, false);
    bed_flush(&s->b);
    trees_compact(s);
    path_of_a_table(s, s->trees[1], path);
    size_t size = repair_without_properties(s, path, &summary);
    assert_int_equal(summary.losses, 1);
    MUST(engine_lost(s->b.config.fs, s->b.folder, false, NULL, NULL, &aside, error));
    assert_true(aside.bytes >= size);
    bed_must_open(&s->b);
    find_without_names(s);
    assert_non_null(s->trees[2]);
    if (s->trees[1]) { /* the log may have named it */
        view *v = tree_view(s->trees[1]);
        assert_int_equal(version_tables(v->version), 0);
        view_unref(v);
    }
    s->trees[1] = NULL;
    trees_must_be(s, NULL, s->count); /* the other two have all of theirs, and nothing else */
    for (unsigned k = 0; k < KEYS; k++) {
        char room[64];
        firn_slice key = trees_key(1, k, room);
        assert_int_equal(firn_get_into(s->b.db, key.data, key.size, NULL, NULL, 0, &size, NULL),
                         FIRN_NOT_FOUND);
    }
    trees_end(s);
}

/* The only table of the other bucket is damaged: no table speaks of it, but the log does. */
static void the_log_tells_of_a_bucket_that_no_table_speaks_of(void **state)
{
    (void)state;
    scenario *s = trees_begin(16);
    firn_repair_summary summary = {0};
    char path[128];
    bed_must_open(&s->b);
    s->trees[0] = s->b.db;
    s->trees[1] = trees_new(s->b.db, tree_names[1]);
    for (unsigned i = 0; i < 20; i++)
        trees_write(s, false);
    bed_flush(&s->b);
    trees_compact(s);
    path_of_a_table(s, s->trees[1], path);
    for (unsigned i = 0; i < 4; i++)
        trees_write(s, false);
    view *v = tree_view(s->trees[1]);
    assert_int_equal(version_tables(v->version), 1);
    assert_true(mem_part_of(v->active, s->trees[1]->bucket) != NULL);
    view_unref(v);
    size_t size = repair_without_properties(s, path, &summary);
    bed_must_open(&s->b);
    find_without_names(s);
    assert_non_null(s->trees[1]); /* with what the log has of it */
    s->trees[1] = NULL;
    trees_must_be(s, NULL, s->count); /* the default one has all of its own */
    for (unsigned k = 0; k < KEYS; k++) {
        char room[64];
        firn_slice key = trees_key(1, k, room);
        assert_int_equal(firn_get_into(s->b.db, key.data, key.size, NULL, NULL, 0, &size, NULL),
                         FIRN_NOT_FOUND);
    }
    trees_end(s);
}

static void remove_file(scenario *s, const char *path)
{
    fs_dir *dir = NULL;
    MUST(fs_dir_open(s->b.config.fs, s->b.folder, &dir, error));
    MUST(fs_unlink(dir, strrchr(path, '/') + 1, error));
    fs_dir_close(dir);
}

static void see_dropped(void *ctx, const firn_repair_event *event)
{
    bool *told = ctx;
    *told = *told || strstr(event->text, "is of bucket 2, which was dropped");
}

/* The file of a table that a drop has removed is there again, and a listed one is missing: so the manifest counts as an old one,
 * and all files that are found are put together. */
static void a_table_of_a_dropped_bucket_does_not_come_back(void **state)
{
    (void)state;
    scenario *s = trees_begin(15);
    char path[128], listed[128], why[WHY];
    bed_must_open(&s->b);
    trees_make(s);
    for (unsigned i = 0; i < 60; i++)
        trees_write(s, false);
    bed_flush(&s->b);
    path_of_a_table(s, s->trees[2], path);
    path_of_a_table(s, s->trees[0], listed);
    size_t size = 0;
    const uint8_t *now = simfs_peek(s->b.sim, path, &size);
    uint8_t *kept = malloc(size);
    assert_non_null(kept);
    memcpy(kept, now, size);
    trees_drop(s->trees[2]);
    s->trees[2] = NULL;
    bed_must_close(&s->b);
    simfs_write_file(s->b.sim, path, kept, size);
    remove_file(s, listed);
    bool told = false;
    MUST(engine_repair(s->b.folder, &s->b.options, &s->b.config, see_dropped, &told, NULL, error));
    assert_true(told);
    bed_must_open(&s->b);
    s->trees[1] = trees_get(s->b.db, tree_names[1]);
    assert_non_null(s->trees[1]);
    assert_null(trees_get(s->b.db, tree_names[2]));
    assert_null(trees_get(s->b.db, "bucket-2"));
    tree *const kept_trees[TREES] = {NULL, s->trees[1], NULL};
    if (!trees_compare(kept_trees, NULL, &s->states[s->count], why))
        fail_msg("%s", why);
    trees_end(s);
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repair_keeps_the_buckets),
        cmocka_unit_test(repair_without_a_manifest_keeps_buckets_apart),
        cmocka_unit_test(a_table_of_no_known_bucket_is_set_aside),
        cmocka_unit_test(the_log_tells_of_a_bucket_that_no_table_speaks_of),
        cmocka_unit_test(a_table_of_a_dropped_bucket_does_not_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
