/* What recovery and repair set aside, by its names; and destroying a store, with a crash at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "bed.h"
#include "set_aside.h"
#include "support/crash.h"

/* ---- Names ---- */

static void only_names_that_firn_gives_are_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *name, *from;
        uint64_t offset, number;
    } ours[] = {
        {"000000000007.tbl-3", "000000000007.tbl", FIRN_NO_OFFSET, 3},
        {"1234567890123.tbl-3", "1234567890123.tbl", FIRN_NO_OFFSET, 3},
        {"000000000003.manifest-12", "000000000003.manifest", FIRN_NO_OFFSET, 12},
        {"000000000003.manifest.new-1", "000000000003.manifest.new", FIRN_NO_OFFSET, 1},
        {"000000000001.wal-9", "000000000001.wal", FIRN_NO_OFFSET, 9},
        {"000000000001.wal.new-9", "000000000001.wal.new", FIRN_NO_OFFSET, 9},
        {"RESERVE-4", "RESERVE", FIRN_NO_OFFSET, 4},
        {"LOCK-5", "LOCK", FIRN_NO_OFFSET, 5},
        {"000000000001-4096-2", "000000000001.wal", 4096, 2},
        {"000000000001-0-2", "000000000001.wal", 0, 2},
    };
    static const char *const others[] = {
        "",
        "-",
        "-1",
        "a-1",
        "letter.txt",
        "7.tbl-3",
        "000000000007.tbl",
        "000000000007.tbl-",
        "000000000007.tbl-0",
        "000000000007.tbl-01",
        "000000000007.tbl-3 ",
        "000000000007.tbl-+3",
        "000000000007.tbl--3",
        "000000000007.tbl-3x",
        "000000000000.tbl-3",
        "000000000007.TBL-3",
        " 000000000007.tbl-3",
        "000000000007.tbl-99999999999999999999",
        "0000000000007.tbl-3",
        "000000000001-4096",
        "000000000001-04096-2",
        "000000000001-x-2",
        "000000000000-4096-2",
        "1-4096-2",
        "000000000001--2",
        "RESERVE",
        "reserve-4",
        "../LOCK-5",
        "000000000007.tbl.000000000007.tbl.000000000007.tbl.000000000007.tbl-3",
    };
    aside_name parsed;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        memset(&parsed, 0, sizeof parsed);
        if (!aside_name_parse(ours[i].name, &parsed) || strcmp(parsed.from, ours[i].from) != 0 ||
            parsed.offset != ours[i].offset || parsed.number != ours[i].number)
            fail_msg("%s: from \"%s\"", ours[i].name, parsed.from);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (aside_name_parse(others[i], &parsed))
            fail_msg("%s is no name of firn's", others[i]);
}

/* ---- Destroying ---- */

/* Tables, more than one segment, something set aside, and an older manifest. */
static void make_store(bed *b)
{
    char key[8];
    bed_must_open(b);
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "k%03d", i);
        bed_put(b, key, "some value that takes a little room in the log and in the tables");
        if (i % 20 == 19)
            bed_flush(b);
    }
    bed_put(b, "last", "in the log");
    bed_must_close(b);
    simfs_write_file(b->sim, "/store/lost/000000000007.tbl-3", (const uint8_t *)"x", 1);
    simfs_write_file(b->sim, "/store/lost/000000000001-4096-4", (const uint8_t *)"y", 1);
}

static int count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return 0;
}

/* How many names are in the folder; -1: it is not there. */
static int names_in(fs *f, const char *path)
{
    fs_dir *dir = NULL;
    int count = 0;
    if (fs_dir_open(f, path, &dir, NULL) != FIRN_OK)
        return -1;
    assert_int_equal(fs_dir_list(dir, count_name, &count, NULL), FIRN_OK);
    fs_dir_close(dir);
    return count;
}

static int get(fs *f, const char *path, const char *key)
{
    firn_options options;
    engine_config config = {.fs = f, .inline_work = true};
    firn *db = NULL;
    firn_value v;
    bed_small(&options);
    options.create_if_missing = false;
    int rc = engine_open(path, &options, &config, &db, NULL);
    if (rc != FIRN_OK)
        return rc;
    rc = firn_get(db, key, strlen(key), NULL, &v, NULL);
    firn_value_release(&v);
    firn_close(db, NULL);
    return rc;
}

/* A state that a power cut leaves: the store is whole, or does not open, or is gone; and can be destroyed again. */
static int verify(void *ctx, crash_state *state)
{
    static const char *const keys[] = {"k000", "k030", "k059", "last"};
    (void)ctx;
    bool done = state->marks[0] == 1;
    /* The folder's own entry may come back, since its parent is not ours to sync; what was in it does not. */
    if (done && names_in(state->fs, "/store") > 0)
        return crash_wrong(state, "it was destroyed, and files are there");
    int first = get(state->fs, "/store", keys[0]);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int rc = get(state->fs, "/store", keys[i]);
        bool opens = rc == FIRN_OK || rc == FIRN_NOT_FOUND;
        if (rc != first)
            return crash_wrong(state, "%s: %s, but %s: %s", keys[0], firn_status_name(first),
                               keys[i], firn_status_name(rc));
        if (!opens && rc != FIRN_DAMAGED)
            return crash_wrong(state, "opening it says %s", firn_status_name(rc));
        if (done && rc != FIRN_NOT_FOUND)
            return crash_wrong(state, "it was destroyed, and opening it says %s",
                               firn_status_name(rc));
    }
    firn_error err = {0};
    int rc = engine_destroy(state->fs, "/store", &err);
    if (rc != FIRN_OK && rc != FIRN_NOT_FOUND)
        return crash_wrong(state, "destroying it again: %s: %s", firn_status_name(rc), err.message);
    if (get(state->fs, "/store", keys[0]) != FIRN_NOT_FOUND)
        return crash_wrong(state, "something is left that opens, or is damaged");
    return 0;
}

static void crash_while_destroying(simfs *sim, const char *name)
{
    crash_options options = crash_options_default(name, 11, verify, NULL);
    crash_stats stats = {0};
    assert_int_equal(get(simfs_fs(sim), "/store", "last"), FIRN_OK);
    simfs_record(sim);
    MUST(engine_destroy(simfs_fs(sim), "/store", error));
    simfs_mark(sim, 0, 1);
    simfs_record_stop(sim);
    assert_int_equal(names_in(simfs_fs(sim), "/store"), -1);
    assert_int_equal(crash_run(sim, &options, &stats), 0);
    assert_true(options.replay || stats.states > 50);
}

static void a_crash_leaves_no_part_of_a_store_that_opens(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 11);
    make_store(&b);
    crash_while_destroying(b.sim, "engine.destroy");
    bed_release(&b);
}

/* A store whose writer was killed says nowhere where its log ends: less of it would pass for all of it. */
static void nor_does_one_of_a_store_that_was_not_closed(void **state)
{
    (void)state;
    bed b;
    char key[8];
    bed_on_simfs(&b, 11);
    make_store(&b);
    bed_must_open(&b);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "m%03d", i);
        bed_put(&b, key, "some value that takes a little room in the log and in the tables");
    }
    bed_put(&b, "last", "in the log");
    simfs *killed = simfs_clone(b.sim);
    crash_while_destroying(killed, "engine.destroy_unclosed");
    simfs_free(killed);
    bed_release(&b);
}

/* Each call fails once: what is returned is an error, and a second try removes everything. */
static void a_failed_call_leaves_what_can_be_destroyed_again(void **state)
{
    (void)state;
    for (uint64_t at = 1;; at++) {
        bed b;
        bed_on_simfs(&b, 12);
        make_store(&b);
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_ANY, .at = at, .error = EIO});
        firn_error err;
        memset(&err, 0xa5, sizeof err);
        int rc = engine_destroy(simfs_fs(b.sim), "/store", &err);
        bool struck = simfs_faults_hit(b.sim) > 0;
        simfs_heal(b.sim);
        if (rc != FIRN_OK) {
            assert_int_equal(err.status, rc);
            assert_true(err.message[0]);
            rc = engine_destroy(simfs_fs(b.sim), "/store", NULL);
            assert_true(rc == FIRN_OK || rc == FIRN_NOT_FOUND);
        }
        assert_int_equal(get(simfs_fs(b.sim), "/store", "last"), FIRN_NOT_FOUND);
        bed_release(&b);
        if (!struck)
            break;
    }
}

/* That nothing can be opened does not say that there is no store. */
static void without_descriptors_a_store_is_not_called_missing(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    firn_lost_summary sum;
    bed_on_simfs(&b, 13);
    make_store(&b);
    simfs_fail(b.sim,
               (simfs_fault){.calls = SIMFS_OPEN, .at = 1, .error = EMFILE, .forever = true});
    assert_int_equal(engine_destroy(simfs_fs(b.sim), "/store", &err), FIRN_NO_MEMORY);
    assert_non_null(strstr(err.hint, "ulimit -n"));
    for (int remove = 0; remove < 2; remove++) {
        err = (firn_error){0};
        assert_int_equal(engine_lost(simfs_fs(b.sim), "/store", remove, NULL, NULL, &sum, &err),
                         FIRN_NO_MEMORY);
        assert_non_null(strstr(err.hint, "ulimit -n"));
    }
    err = (firn_error){0};
    assert_int_equal(engine_repair("/store", &b.options, &b.config, NULL, NULL, NULL, &err),
                     FIRN_NO_MEMORY);
    assert_non_null(strstr(err.hint, "ulimit -n"));
    simfs_heal(b.sim);
    simfs_fail(b.sim,
               (simfs_fault){.calls = SIMFS_DIR_LIST, .at = 1, .error = EMFILE, .forever = true});
    assert_int_equal(engine_repair("/store", &b.options, &b.config, NULL, NULL, NULL, &err),
                     FIRN_NO_MEMORY);
    assert_non_null(strstr(err.hint, "ulimit -n"));
    simfs_heal(b.sim);
    assert_int_equal(get(simfs_fs(b.sim), "/store", "last"), FIRN_OK);
    bed_release(&b);
}

/* ---- Removing what was set aside ---- */

static void removing_what_was_set_aside_is_durable_and_touches_nothing_else(void **state)
{
    (void)state;
    bed b;
    firn_lost_summary sum;
    bed_on_simfs(&b, 13);
    make_store(&b);
    simfs_write_file(b.sim, "/store/lost/letter.txt", (const uint8_t *)"z", 1);
    MUST(engine_lost(simfs_fs(b.sim), "/store", false, NULL, NULL, &sum, error));
    assert_int_equal(sum.files, 2);
    assert_int_equal(sum.bytes, 2);
    assert_int_equal(sum.others, 1);
    assert_int_equal(sum.removed_files, 0);
    bed_must_open(&b);
    firn_stats stats = bed_stats(&b);
    assert_int_equal(stats.lost_files, 2);
    assert_int_equal(stats.lost_bytes, 2);
    firn_error err = {0};
    assert_int_equal(engine_lost(simfs_fs(b.sim), "/store", true, NULL, NULL, &sum, &err),
                     FIRN_LOCKED);
    assert_int_equal(sum.files, 0);
    assert_int_equal(engine_destroy(simfs_fs(b.sim), "/store", &err), FIRN_LOCKED);
    bed_must_close(&b);
    MUST(engine_lost(simfs_fs(b.sim), "/store", true, NULL, NULL, &sum, error));
    assert_int_equal(sum.removed_files, 2);
    assert_int_equal(names_in(simfs_fs(b.sim), "/store/lost"), 1);
    assert_int_equal(get(simfs_fs(b.sim), "/store", "last"), FIRN_OK);
    MUST(engine_lost(simfs_fs(b.sim), "/store", true, NULL, NULL, &sum, error));
    assert_int_equal(sum.files + sum.removed_files, 0);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_names_that_firn_gives_are_its_own),
        cmocka_unit_test(a_crash_leaves_no_part_of_a_store_that_opens),
        cmocka_unit_test(nor_does_one_of_a_store_that_was_not_closed),
        cmocka_unit_test(a_failed_call_leaves_what_can_be_destroyed_again),
        cmocka_unit_test(without_descriptors_a_store_is_not_called_missing),
        cmocka_unit_test(removing_what_was_set_aside_is_durable_and_touches_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
