/* Schedules and faults that are easily overlooked: what happens after the step that failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <errno.h>

#include "bed.h"
#include "store.h"
#include "support/crash.h"

/* ---- a rotation that fails half-way ---- */

static int put_bytes(bed *b, unsigned key, size_t size, firn_error *err)
{
    char name[16];
    static uint8_t value[16 << 10];
    snprintf(name, sizeof name, "k%06u", key);
    memset(value, (int)(key % 251), sizeof value);
    return firn_put(b->db, name, strlen(name), value, size, NULL, err);
}

static void expect_bytes(bed *b, unsigned key, size_t size)
{
    char name[16];
    firn_value v = {0};
    snprintf(name, sizeof name, "k%06u", key);
    MUST(firn_get(b->db, name, strlen(name), NULL, &v, error));
    assert_int_equal(v.size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(v.data[i], key % 251);
    firn_value_release(&v);
}

/* The write that needed a new segment fails; smaller ones would still fit into the old one. */
static bool rotate_with_a_failing_call(uint64_t at, uint64_t allocation, unsigned durability)
{
    bed b;
    bed_on_simfs(&b, 7);
    b.options.durability = (firn_durability)durability;
    bed_must_open(&b);
    for (unsigned i = 1; i <= 12; i++)
        MUST(put_bytes(&b, i, 500, error));
    if (at)
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = ENOSPC});
    if (allocation)
        alloc_fail_at(allocation);
    firn_error err = {0};
    int big = put_bytes(&b, 13, 3000, &err);
    alloc_fail_at(0);
    simfs_heal(b.sim);
    if (big != FIRN_OK && big != FIRN_NO_SPACE && big != FIRN_NO_MEMORY)
        assert_int_equal(big, FIRN_IO);
    /* A sync that failed, of the log or of the manifest, ends writing; the rest must not. */
    bool over = big == FIRN_IO || bed_stats(&b).poisoned;
    if (!over) {
        for (unsigned i = 14; i <= 30; i++)
            MUST(put_bytes(&b, i, 20, error));
        MUST(put_bytes(&b, 31, 3000, error));
    }
    for (int life = 0; life < 2; life++) {
        for (unsigned i = 1; i <= 12; i++)
            expect_bytes(&b, i, 500);
        if (!over) {
            for (unsigned i = 14; i <= 30; i++)
                expect_bytes(&b, i, 20);
            expect_bytes(&b, 31, 3000);
        }
        firn_close(b.db, NULL);
        bed_must_open(&b);
    }
    bed_release(&b);
    return big != FIRN_OK && !over;
}

static void writes_go_on_behind_a_rotation_that_failed(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (unsigned d = FIRN_DURABILITY_SYNC; d <= FIRN_DURABILITY_NONE; d++)
        for (uint64_t at = 1; at <= 12; at++) {
            failed += rotate_with_a_failing_call(at, 0, d);
            failed += rotate_with_a_failing_call(0, at, d);
        }
    assert_true(failed > 10);
}

/* ---- background work that fails ---- */

static int refuse_a_table(void *ctx, unsigned call, uint64_t index, const char *name)
{
    bool *armed = ctx;
    (void)index;
    if (!*armed || call != SIMFS_CREATE || !strstr(name, ".tbl"))
        return 0;
    *armed = false;
    return EIO;
}

static void a_flush_that_fails_stops_writing(void **state)
{
    (void)state;
    bed b;
    bool armed = true;
    firn_error err = {0};
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    simfs_on_call(b.sim, refuse_a_table, &armed);
    assert_int_equal(firn_flush(b.db, &err), FIRN_IO);
    assert_false(armed);
    assert_int_equal(firn_put(b.db, "b", 1, "2", 1, NULL, &err), FIRN_POISONED);
    assert_int_equal(firn_flush(b.db, &err), FIRN_POISONED);
    assert_true(bed_stats(&b).poisoned);
    bed_expect(&b, NULL, "a", "1");
    (void)firn_close(b.db, NULL);
    bed_must_open(&b);
    bed_expect(&b, NULL, "a", "1");
    bed_put(&b, "b", "2");
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

/* ---- what a caller may get wrong ---- */

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    firn_error err = {0};
    firn_value v;
    size_t size;
    firn_write_options w = {0};
    firn_iter_options io = {0};
    firn_iter *it = NULL;
    assert_int_equal(firn_get(b.db, "a", 1, NULL, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get(b.db, NULL, 1, NULL, &v, &err), FIRN_INVALID);
    assert_int_equal(firn_get_into(b.db, "a", 1, NULL, NULL, 0, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get_into(b.db, "a", 1, NULL, NULL, 5, &size, &err), FIRN_INVALID);
    assert_int_equal(firn_put(b.db, NULL, 1, "v", 1, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_put(b.db, "k", 1, NULL, 1, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_put(b.db, "k", 1, "v", 1, &w, &err), FIRN_INVALID);
    assert_int_equal(firn_iter_new(b.db, &io, &it, &err), FIRN_INVALID);
    assert_int_equal(firn_iter_new(b.db, NULL, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_snapshot_new(b.db, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get_stats(b.db, NULL, &err), FIRN_INVALID);
    firn_iter_options_init(&io);
    io.lower_size = 3;
    assert_int_equal(firn_iter_new(b.db, &io, &it, &err), FIRN_INVALID);
    MUST(firn_iter_new(b.db, NULL, &it, error));
    assert_int_equal(firn_iter_seek(it, NULL, 3), FIRN_INVALID);
    assert_int_equal(firn_iter_seek_for_prev(it, NULL, 3), FIRN_INVALID);
    assert_false(firn_iter_valid(it));
    assert_int_equal(firn_iter_status(it, &err), FIRN_INVALID);
    assert_int_equal(firn_iter_seek(it, NULL, 0), FIRN_OK);
    firn_iter_free(it);
    bed_release(&b);
}

static void a_store_that_is_only_read_does_not_wait_for_syncs(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    for (unsigned i = 0; i < 5; i++)
        MUST(put_bytes(&b, i, 100, error));
    firn *beside = NULL;
    firn_options o = b.options;
    o.read_only = true;
    MUST(engine_open(b.folder, &o, &b.config, &beside, error));
    uint64_t last = firn_last_seq(beside), durable = firn_durable_seq(beside);
    firn_error err = {0};
    uint64_t syncs = simfs_calls(b.sim, SIMFS_SYNC);
    int rc = firn_wait_durable(beside, last, 0, &err);
    assert_int_equal(rc, durable >= last ? FIRN_OK : FIRN_READ_ONLY);
    assert_int_equal(firn_wait_durable(beside, last + 1, 0, &err), FIRN_INVALID);
    MUST(firn_sync(beside, error));
    assert_int_equal(simfs_calls(b.sim, SIMFS_SYNC), syncs);
    MUST(firn_close(beside, error));
    bed_release(&b);
}

/* ---- an iterator that is sent to where its own value says ---- */

#define RING 60

static void ring_name(unsigned i, char out[16])
{
    snprintf(out, 16, "k%06u", i % RING);
}

/* Every value names the key to go to next: what it points into goes while the iterator moves. */
static void an_iterator_can_seek_to_a_key_that_it_shows(void **state)
{
    (void)state;
    bed b;
    static char value[400];
    char name[16];
    bed_on_simfs(&b, 5);
    b.options.segment_bytes = 64 << 10;
    b.options.compression = FIRN_COMPRESSION_LZ4; /* so that blocks come and go */
    bed_must_open(&b);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = round; i < RING; i += 3) {
            memset(value, 'v', sizeof value);
            ring_name(i + 37, name);
            memcpy(value, name, 7);
            ring_name(i, name);
            MUST(firn_put(b.db, name, 7, value, sizeof value, NULL, error));
        }
        bed_flush(&b);
    }
    assert_int_equal(bed_tables(&b), 3);
    for (int before = 0; before < 2; before++) {
        firn_iter_options o;
        firn_iter *it = NULL;
        firn_iter_options_init(&o);
        o.bypass_cache = true;
        MUST(firn_iter_new(b.db, &o, &it, error));
        assert_int_equal(firn_iter_first(it), FIRN_OK);
        for (unsigned n = 0; n < RING; n++) {
            ring_name(n * 37, name);
            assert_true(slice_equal(firn_iter_key(it), slice_of_str(name)));
            const uint8_t *next = firn_iter_value(it).data;
            assert_int_equal(before ? firn_iter_seek_for_prev(it, next, 7)
                                    : firn_iter_seek(it, next, 7),
                             FIRN_OK);
        }
        firn_iter_free(it);
    }
    bed_release(&b);
}

/* ---- file names at the end of their numbers ---- */

static void a_file_number_near_the_end_of_all_numbers_is_refused(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    bed_must_close(&b);
    simfs_write_file(b.sim, "/store/9999999999999999999.tbl", "x", 1);
    firn_error err = {0};
    if (bed_open(&b, &err) == FIRN_OK) {
        bed_flush(&b);
        bed_must_close(&b);
        bed_must_open(&b);
        bed_expect(&b, NULL, "a", "1");
    } else {
        assert_int_equal(err.status, FIRN_INVALID);
        simfs_remove(b.sim, "/store/9999999999999999999.tbl");
        bed_must_open(&b);
        bed_expect(&b, NULL, "a", "1");
    }
    bed_release(&b);
}

/* ---- a manifest that grows ---- */

static int greatest_manifest(void *ctx, const char *path, uint64_t size)
{
    uint64_t *most = ctx;
    if (strstr(path, ".manifest") && size > *most)
        *most = size;
    return 0;
}

/* Without threads of the store nobody holds the mutex. */
static NO_THREAD_ANALYSIS uint64_t current_manifest(firn *db)
{
    return manifest_no(db->manifest);
}

/* A manifest that has just taken the place of another one says all that the other one said. */
static NO_THREAD_ANALYSIS void expect_the_whole_state(firn *db)
{
    manifest_state s;
    MUST(manifest_load(&db->env, current_manifest(db), &s, error));
    assert_int_equal(s.flushed_seq, atomic_load(&db->flushed_seq));
    assert_true(s.covered_no > 0);
    assert_int_equal(s.covered_no, db->covered_no);
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

/* ---- what a write is promised that asks for nothing ---- */

static uint64_t unsynced(const bed *b)
{
    return firn_last_seq(b->db) - firn_durable_seq(b->db);
}

static void a_write_that_names_no_durability_gets_the_stores(void **state)
{
    (void)state;
    for (int d = FIRN_DURABILITY_SYNC; d <= FIRN_DURABILITY_NONE; d++) {
        bed b;
        firn_batch *batch = NULL;
        bed_on_simfs(&b, 1);
        b.options.durability = (firn_durability)d;
        b.options.batch_writes = 4;
        bed_must_open(&b);
        MUST(firn_batch_new(&batch));
        MUST(firn_batch_put(batch, "b", 1, "2", 1));
        for (unsigned i = 1; i <= 20; i++) {
            if (i % 2)
                bed_put(&b, "a", "1");
            else
                MUST(firn_write(b.db, batch, NULL, NULL, error));
            if (d == FIRN_DURABILITY_SYNC)
                assert_int_equal(unsynced(&b), 0);
            else if (d == FIRN_DURABILITY_BATCH)
                assert_in_range(unsynced(&b), 0, 3);
            else
                assert_int_equal(unsynced(&b), i);
        }
        firn_batch_free(batch);
        bed_release(&b);
    }
}

/* ---- work that cannot go on, for a while or for good ---- */

static void a_flush_without_descriptors_is_tried_again(void **state)
{
    (void)state;
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, ENOSPC};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        bed b;
        firn_error err = {0};
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        bed_put(&b, "a", "1");
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CREATE, .at = 1, .error = errors[e]});
        assert_int_not_equal(firn_flush(b.db, &err), FIRN_OK);
        simfs_heal(b.sim);
        assert_false(bed_stats(&b).poisoned);
        bed_put(&b, "b", "2");
        bed_flush(&b);
        assert_int_equal(bed_tables(&b), 1);
        bed_expect(&b, NULL, "a", "1");
        bed_must_close(&b);
        bed_must_open(&b);
        bed_expect(&b, NULL, "b", "2");
        bed_release(&b);
    }
}

static int no_table_opens(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_OPEN && strstr(name, ".tbl") ? EIO : 0;
}

static void a_table_that_cannot_be_read_stops_compaction_and_not_writing(void **state)
{
    (void)state;
    bed b;
    char key[16];
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    simfs_on_call(b.sim, no_table_opens, NULL);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k%u", i);
        bed_put(&b, key, "v");
        bed_put(&b, "a", "v");
        int rc = firn_flush(b.db, NULL);
        assert_true(rc == FIRN_OK || rc == FIRN_IO);
    }
    assert_false(bed_stats(&b).poisoned);
    assert_int_equal(bed_stats(&b).level_tables[0], 8);
    simfs_on_call(b.sim, NULL, NULL);
    for (int life = 0; life < 2; life++) {
        for (unsigned i = 0; i < 8; i++) {
            snprintf(key, sizeof key, "k%u", i);
            bed_expect(&b, NULL, key, "v");
        }
        bed_must_close(&b);
        bed_must_open(&b);
        bed_put(&b, "more", "v");
        bed_flush(&b);
    }
    assert_true(bed_stats(&b).level_tables[0] < 8); /* opened again, it goes on */
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_go_on_behind_a_rotation_that_failed),
        cmocka_unit_test(a_manifest_that_cannot_be_replaced_loses_nothing),
        cmocka_unit_test(a_flush_without_descriptors_is_tried_again),
        cmocka_unit_test(a_table_that_cannot_be_read_stops_compaction_and_not_writing),
        cmocka_unit_test(a_manifest_whose_successor_is_in_doubt_gets_no_more_edits),
        cmocka_unit_test(a_write_that_names_no_durability_gets_the_stores),
        cmocka_unit_test(a_flush_that_fails_stops_writing),
        cmocka_unit_test(a_manifest_whose_sync_failed_is_not_touched_again),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(a_store_that_is_only_read_does_not_wait_for_syncs),
        cmocka_unit_test(an_iterator_can_seek_to_a_key_that_it_shows),
        cmocka_unit_test(a_file_number_near_the_end_of_all_numbers_is_refused),
        cmocka_unit_test(the_manifest_stays_small_however_long_the_store_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
