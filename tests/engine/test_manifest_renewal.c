/* The manifest of an open store: it grows, a new one takes its place, and a step of that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "bed.h"
#include <store/store.h>
#include "support/crash.h"

static int greatest_manifest(void *ctx, const char *path, uint64_t size)
{
    uint64_t *most = ctx;
    if (strstr(path, ".manifest") && size > *most)
        *most = size;
    return 0;
}

/* These stores have no threads. */
static uint64_t current_manifest(firn *db)
{
    mutex_not_shared(&db->store->manifest_mu);
    return manifest_no(db->store->manifest);
}

/* A manifest that has just taken the place of another one says all that the other one said. */
static void expect_the_whole_state(firn *db)
{
    mutex_not_shared(&db->store->manifest_mu);
    manifest_state s;
    MUST(manifest_load(&db->store->env, current_manifest(db), &s, error));
    assert_int_equal(s.flushed_seq, atomic_load(&db->store->flushed_seq));
    assert_true(s.covered_no > 0);
    assert_int_equal(s.covered_no, db->store->covered_no);
    assert_int_equal(version_tables(s.version), version_tables(atomic_load(&db->view)->version));
    manifest_state_release(&s);
}

static void the_manifest_stays_small_however_long_the_store_is_open(void **state)
{
    (void)state;
    bed b;
    static char key[FIRN_MAX_KEY_BYTES];
    bed_on_simfs(&b, 1);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    memset(key, 'k', sizeof key);
    unsigned renewed = 0;
    for (unsigned i = 0; i < 60; i++) {
        uint64_t no = current_manifest(b.db);
        snprintf(key, 9, "%07u", i % 3);
        MUST(firn_put(b.db, key, sizeof key, &i, sizeof i, NULL, error));
        bed_flush(&b);
        if (current_manifest(b.db) == no)
            continue;
        expect_the_whole_state(b.db);
        renewed++;
    }
    assert_true(renewed > 0);
    uint64_t most = 0;
    simfs_each(b.sim, "/store", greatest_manifest, &most);
    assert_true(most > 0);
    assert_true(most < (UINT64_C(5) << 20));
    for (int life = 0; life < 2; life++) {
        for (unsigned i = 57; i < 60; i++) {
            unsigned found = 0;
            size_t size = 0;
            snprintf(key, 9, "%07u", i % 3);
            MUST(firn_get_into(b.db, key, sizeof key, NULL, &found, sizeof found, &size, error));
            assert_int_equal(found, i);
        }
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

/* Flushes until the manifest is about to be replaced; the next number to put. */
static unsigned let_the_manifest_grow(bed *b, const char *key)
{
    unsigned i = 0;
    for (uint64_t size = 0; size + (UINT64_C(300) << 10) < (UINT64_C(4) << 20); i++) {
        MUST(firn_put(b->db, key, FIRN_MAX_KEY_BYTES, &i, sizeof i, NULL, error));
        bed_flush(b);
        size = 0;
        simfs_each(b->sim, "/store", greatest_manifest, &size);
    }
    return i;
}

/* The at-th change from shortly before the replacement fails. */
static bool replace_with_a_failing_call(uint64_t at, int failure)
{
    bed b;
    static char key[FIRN_MAX_KEY_BYTES];
    bed_on_simfs(&b, 1);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    memset(key, 'k', sizeof key);
    unsigned i = let_the_manifest_grow(&b, key);
    uint64_t hit = simfs_faults_hit(b.sim);
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = failure});
    unsigned last = i - 1;
    for (unsigned n = 0; n < 6; n++, i++) {
        if (firn_put(b.db, key, sizeof key, &i, sizeof i, NULL, NULL) == FIRN_OK)
            last = i;
        (void)firn_flush(b.db, NULL);
    }
    bool reached = simfs_faults_hit(b.sim) > hit;
    simfs_heal(b.sim);
    (void)firn_close(b.db, NULL);
    b.db = NULL;
    for (int life = 0; life < 2; life++) {
        unsigned found = 0;
        size_t bytes = 0;
        bed_must_open(&b);
        MUST(firn_get_into(b.db, key, sizeof key, NULL, &found, sizeof found, &bytes, error));
        assert_int_equal(found, last);
        bed_flush(&b);
        bed_must_close(&b);
    }
    MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
    bed_release(&b);
    return reached;
}

static void a_manifest_that_cannot_be_replaced_loses_nothing(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC};
    for (size_t e = 0; e < 2; e++) {
        uint64_t at = 1;
        while (replace_with_a_failing_call(at, errors[e]))
            at += long_run() ? 1 : 7;
        assert_true(at > 20);
    }
}

/* The folder is synced, but never behind the rename of a manifest. */
static int fail_behind_renames(void *ctx, unsigned call, uint64_t index, const char *name)
{
    bool *renamed = ctx;
    (void)index;
    if (call == SIMFS_RENAME && strstr(name, ".manifest"))
        *renamed = true;
    if (call != SIMFS_DIR_SYNC || !*renamed)
        return 0;
    *renamed = false;
    return EIO;
}

/* The new one may be there after a power cut or not, and it counts if it is: the old one must not say anything new. */
static void a_manifest_whose_successor_is_in_doubt_gets_no_more_edits(void **state)
{
    (void)state;
    bed b;
    static char key[FIRN_MAX_KEY_BYTES];
    bool renamed = false;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    memset(key, 'k', sizeof key);
    unsigned i = let_the_manifest_grow(&b, key), last = i - 1, refused = 0;
    simfs_record(b.sim);
    simfs_on_call(b.sim, fail_behind_renames, &renamed);
    for (unsigned n = 0; n < 8; n++, i++) {
        if (firn_put(b.db, key, sizeof key, &i, sizeof i, NULL, NULL) == FIRN_OK)
            last = i;
        else
            refused++;
        (void)firn_flush(b.db, NULL);
    }
    assert_in_range(refused, 1, 7);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        simfs *left = crash_now(b.sim, CRASH_STRICT, seed, NULL, 0);
        engine_config config = {.fs = simfs_fs(left), .inline_work = true};
        firn *db = NULL;
        unsigned found = 0;
        size_t bytes = 0;
        MUST(engine_open(b.folder, &b.options, &config, &db, error));
        MUST(firn_get_into(db, key, sizeof key, NULL, &found, sizeof found, &bytes, error));
        assert_int_equal(found, last);
        MUST(firn_close(db, error));
        simfs_free(left);
    }
    simfs_on_call(b.sim, NULL, NULL);
    simfs_record_stop(b.sim);
    (void)firn_close(b.db, NULL);
    b.db = NULL;
    bed_release(&b);
}

typedef struct touched {
    bool fail;        /* the next sync of a manifest */
    unsigned touches; /* of manifests, since it failed */
} touched;

static int touch_manifest(void *ctx, unsigned call, uint64_t index, const char *name)
{
    touched *t = ctx;
    (void)index;
    if (!(call & SIMFS_CHANGING) || !name || !strstr(name, ".manifest"))
        return 0;
    if (!t->fail) {
        t->touches++;
        return 0;
    }
    t->fail = call != SIMFS_SYNC;
    return t->fail ? 0 : EIO;
}

/* A second sync would report success over what the first one has lost. */
static void a_manifest_whose_sync_failed_is_not_touched_again(void **state)
{
    (void)state;
    bed b;
    touched t = {.fail = true};
    firn_error err = {0};
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    bed_flush(&b);
    bed_put(&b, "b", "2");
    simfs_on_call(b.sim, touch_manifest, &t);
    assert_int_equal(firn_flush(b.db, &err), FIRN_IO);
    assert_false(t.fail);
    assert_int_equal(firn_put(b.db, "c", 1, "3", 1, NULL, &err), FIRN_POISONED);
    assert_int_not_equal(firn_flush(b.db, &err), FIRN_OK);
    assert_int_not_equal(firn_compact(b.db, NULL, 0, NULL, 0, &err), FIRN_OK);
    bed_expect(&b, NULL, "b", "2");
    assert_int_equal(firn_close(b.db, &err), FIRN_POISONED);
    assert_int_equal(t.touches, 0);
    simfs_on_call(b.sim, NULL, NULL);
    bed_must_open(&b);
    bed_expect(&b, NULL, "a", "1");
    bed_expect(&b, NULL, "b", "2");
    bed_release(&b);
}

/* A merge of what another process has changed may make a table that lies over its neighbour: no manifest gets to list it. */
static void an_edit_that_makes_no_version_is_not_written(void **state)
{
    (void)state;
    bed b;
    edit e = {0};
    table *t = NULL;
    unsigned n = 1;
    firn_error err = {0};
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    mutex_not_shared(&b.db->store->manifest_mu);
    bed_put(&b, "key", "1");
    bed_flush(&b);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    view *v = tree_view(b.db);
    while (n < FIRN_LEVELS - 1 && v->version->levels[n].count == 0)
        n++;
    assert_int_equal(v->version->levels[n].count, 1);
    MUST(table_new(&b.db->store->env, store_next_file_no(b.db->store),
                   &v->version->levels[n].tables[0]->properties, &t));
    view_unref(v);
    MUST(edit_add(&e, n, t));
    uint64_t bytes = manifest_bytes(b.db->store->manifest), no = current_manifest(b.db);
    assert_int_equal(store_commit_edit(b.db->store, &e, NULL, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "out of order"));
    assert_string_equal(err.file, b.db->store->dir->path); /* the manifest is as it was */
    assert_non_null(strstr(err.hint, "`firn check` names the table"));
    assert_non_null(strstr(err.hint, "firn repair"));
    assert_int_equal(manifest_bytes(b.db->store->manifest), bytes);
    assert_int_equal(current_manifest(b.db), no);
    edit_release(&e);
    table_unref(t);
    (void)firn_close(b.db, NULL);
    b.db = NULL;
    bed_must_open(&b);
    bed_expect(&b, NULL, "key", "1");
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manifest_stays_small_however_long_the_store_is_open),
        cmocka_unit_test(a_manifest_that_cannot_be_replaced_loses_nothing),
        cmocka_unit_test(a_manifest_whose_successor_is_in_doubt_gets_no_more_edits),
        cmocka_unit_test(a_manifest_whose_sync_failed_is_not_touched_again),
        cmocka_unit_test(an_edit_that_makes_no_version_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
