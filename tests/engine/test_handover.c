/* From the log to the tables and back, when a step in between fails or is not on the disk: what the manifest, the tables
 * and the log say of each other must fit together in every state that a crash leaves, also when one step only seemed to
 * be done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <wal/wal.h>

#include "bed.h"
#include "support/crash.h"

#define MANIFEST "000000000001.manifest"
#define SEGMENT1 "000000000001.wal"
#define SEGMENT2 "000000000002.wal"
static uint8_t room[40000];

/* ---- A store, and what a crash must leave of it ---- */

static int put_sized(firn *db, const char *key, size_t size)
{
    memset(room, key[0], sizeof room);
    return firn_put(db, key, strlen(key), room, size, NULL, NULL);
}

static size_t size_of(firn *db, const char *key)
{
    firn_value v = {0};
    if (firn_get(db, key, strlen(key), NULL, &v, NULL) != FIRN_OK)
        return 0;
    size_t n = v.size;
    firn_value_release(&v);
    return n;
}

/* marks[0]: size of the acknowledged value of "a" */
static int still_there(void *ctx, crash_state *state)
{
    bed *b = ctx;
    engine_config config = {.fs = state->fs, .inline_work = true};
    firn *db = NULL;
    firn_error err = {0};
    if (!state->marks[0])
        return 0;
    int rc = engine_open(b->folder, &b->options, &config, &db, &err);
    if (rc != FIRN_OK)
        return crash_wrong(state, "open: %s: %s", firn_status_name(rc), err.message);
    size_t n = size_of(db, "a");
    firn_close(db, NULL);
    return n == state->marks[0] ? 0 : crash_wrong(state, "acknowledged a is gone (opens silently)");
}

static void crashes(bed *b, const char *name, unsigned models, crash_verify verify)
{
    simfs_record_stop(b->sim);
    crash_stats stats = {0};
    crash_options options = crash_options_default(name, 1, verify, b);
    options.models = models;
    options.max_wrong = 3;
    uint64_t bad = crash_run(b->sim, &options, &stats);
    crash_print(name, &stats, stdout);
    bed_release(b);
    assert_int_equal(bad, 0);
}

static void begin(bed *b, bool mapped)
{
    bed_on_simfs(b, 1);
    simfs_mapping_ok(b->sim, mapped);
    b->options.durability = FIRN_DURABILITY_SYNC;
    simfs_record(b->sim);
    bed_must_open(b);
}

/* A store whose process was killed between write and sync of a flush's record. */
static void begin_with_a_record_in_the_page_cache(bed *b)
{
    begin(b, true);
    bed_put(b, "a", "value");
    simfs_mark(b->sim, 0, 5);
    simfs_fail(b->sim,
               (simfs_fault){
                   .calls = SIMFS_WRITE, .at = 1, .error = EIO, .after = true, .name = MANIFEST});
    assert_int_not_equal(firn_flush(b->db, NULL), FIRN_OK);
    simfs_fail(b->sim,
               (simfs_fault){.calls = SIMFS_CHANGING, .at = 1, .error = EIO, .forever = true});
    firn *db = b->db;
    b->db = NULL;
    (void)firn_close(db, NULL); /* says nothing more to the disk: as killed */
    simfs_heal(b->sim);
}

typedef struct look {
    bool no_room;      /* for a manifest */
    unsigned in_place; /* writes into manifests that were not made since */
    uint64_t newest;   /* number of the manifest that was made last */
} look;

static int look_at_manifests(void *ctx, unsigned call, uint64_t index, const char *name)
{
    look *l = ctx;
    (void)index;
    const char *dot = name ? strstr(name, ".manifest") : NULL;
    if (!dot)
        return 0;
    uint64_t no = strtoull(name, NULL, 10);
    if (call == SIMFS_WRITE && no != l->newest)
        l->in_place++;
    if (call != SIMFS_CREATE)
        return 0;
    if (l->no_room)
        return ENOSPC;
    l->newest = no;
    return 0;
}

/* An open store whose key "a" is in a table. */
static void begin_with_a_table(bed *b)
{
    bed_on_simfs(b, 1);
    bed_must_open(b);
    bed_put(b, "a", "value");
    bed_flush(b);
}

/* The closed store opens and has its key "a" still; then it is released. */
static void end_with_the_key(bed *b)
{
    bed_must_open(b);
    bed_expect(b, NULL, "a", "value");
    simfs_on_call(b->sim, NULL, NULL);
    bed_release(b);
}

/* Power cut while the next open runs. */
static void a_record_that_is_only_in_the_page_cache_gives_nothing_up(void **state)
{
    (void)state;
    bed b;
    begin_with_a_record_in_the_page_cache(&b);
    bed_must_open(&b);
    crashes(&b, "page-cache", CRASH_ALL, still_there);
}

static int still_there_without_room(void *ctx, crash_state *state)
{
    look l = {.no_room = true};
    simfs_on_call(state->sim, look_at_manifests, &l);
    int rc = still_there(ctx, state);
    simfs_on_call(state->sim, NULL, NULL);
    return rc;
}

/* Killed at any step of a flush, then a power cut while the next open runs, on a disk without room for a manifest. */
static void without_room_a_record_in_the_page_cache_is_synced_where_it_stands(void **state)
{
    (void)state;
    bed b;
    begin(&b, true);
    bed_put(&b, "a", "value");
    simfs_mark(b.sim, 0, 5);
    bed_flush(&b);
    simfs_record_stop(b.sim);
    crash_stats stats = {0};
    crash_options options =
        crash_options_default("page-cache-full", 1, still_there_without_room, &b);
    options.models = CRASH_KILL | CRASH_ORDERED;
    options.nest_every = 1;
    uint64_t bad = crash_run(b.sim, &options, &stats);
    crash_print("page-cache-full", &stats, stdout);
    bed_release(&b);
    assert_int_equal(bad, 0);
    assert_true(stats.nested > 100);
}

/* The same while a repair runs, which looks into the log before it opens the store. */
static void a_repair_relies_on_no_record_that_is_only_in_the_page_cache(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    begin_with_a_record_in_the_page_cache(&b);
    assert_int_equal(engine_repair(b.folder, &b.options, &b.config, NULL, NULL, NULL, &err),
                     FIRN_OK);
    crashes(&b, "page-cache-repair", CRASH_ALL, still_there);
}

/* That sync fails; close; open; the power goes any time later. */
static void a_record_whose_sync_failed_goes_into_a_new_manifest_before_it_counts(void **state)
{
    (void)state;
    bed b;
    begin(&b, true);
    bed_put(&b, "a", "value");
    simfs_mark(b.sim, 0, 5);
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO, .name = MANIFEST});
    assert_int_not_equal(firn_flush(b.db, NULL), FIRN_OK);
    simfs_heal(b.sim);
    firn *db = b.db;
    b.db = NULL;
    (void)firn_close(db, NULL);
    bed_must_open(&b);
    simfs_mark(b.sim, 1, 1); /* long since open again */
    bed_put(&b, "b", "value");
    crashes(&b, "failed-sync", CRASH_ALL, still_there);
}

static void a_manifest_of_an_earlier_life_gets_no_edit(void **state)
{
    (void)state;
    bed b;
    look l = {0};
    firn_error err = {0};
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    for (int life = 0; life < 3; life++) {
        bed_put(&b, "a", "value");
        bed_flush(&b);
        bed_must_close(&b);
        simfs_on_call(b.sim, look_at_manifests, &l);
        bed_must_open(&b);
        bed_put(&b, "b", "value");
        bed_flush(&b);
        assert_int_equal(l.in_place, 0);
    }
    bed_must_close(&b);
    l.newest = 0;
    l.no_room = true; /* now it has to be relied on as it is, but nothing is built on it */
    bed_must_open(&b);
    l.in_place = 0;
    bed_put(&b, "c", "value");
    assert_int_equal(firn_flush(b.db, &err), FIRN_NO_SPACE);
    assert_int_equal(l.in_place, 0);
    l.no_room = false;
    bed_flush(&b);
    bed_expect(&b, NULL, "c", "value");
    bed_must_close(&b);
    assert_int_equal(l.in_place, 0);
    bed_must_open(&b);
    bed_expect(&b, NULL, "a", "value");
    bed_expect(&b, NULL, "c", "value");
    simfs_on_call(b.sim, NULL, NULL);
    bed_release(&b);
}

/* A backup of hard links, then a disk that is full: the manifest serves as it is, and takes not even the mark of a close. */
static void without_room_a_backup_of_hard_links_does_not_change(void **state)
{
    (void)state;
    bed b;
    look l = {.no_room = true};
    fs_dir *store, *backup;
    fs_file *copy;
    uint64_t before = 0, after = 0;
    begin_with_a_table(&b);
    bed_put(&b, "b", "value");
    bed_must_close(&b);
    MUST(fs_dir_open(simfs_fs(b.sim), b.folder, &store, error));
    MUST(fs_dir_open_in(store, "backup", true, &backup, error));
    MUST(fs_link(store, MANIFEST, backup, "manifest", error));
    MUST(fs_open(backup, "manifest", FS_READ, &copy, error));
    MUST(fs_size(copy, &before, error));
    simfs_on_call(b.sim, look_at_manifests, &l);
    for (int i = 0; i < 3; i++) {
        bed_must_open(&b);
        bed_expect(&b, NULL, "a", "value");
        bed_expect(&b, NULL, "b", "value");
        bed_must_close(&b);
        MUST(fs_size(copy, &after, error));
        assert_int_equal(after, before);
    }
    simfs_on_call(b.sim, NULL, NULL);
    bed_must_open(&b);
    bed_flush(&b);
    bed_expect(&b, NULL, "b", "value");
    bed_must_close(&b);
    fs_close(copy);
    fs_dir_close(backup);
    fs_dir_close(store);
    bed_release(&b);
}

static void refuse_torn(void *ctx, const char *line)
{
    (void)ctx;
    if (strstr(line, "the manifest ends in a record"))
        fail_msg("%s", line);
}

/* The last record's padding never reached the disk: the next one does not begin in the middle of it. */
static void without_room_a_manifest_that_ends_in_its_padding_takes_the_mark_of_a_close(void **state)
{
    (void)state;
    for (uint64_t cut = 1; cut <= 4;
         cut++) { /* the record of a close takes 20 bytes, and 4 of padding */
        bed b;
        look l = {.no_room = true};
        size_t size;
        char path[64];
        begin_with_a_table(&b);
        bed_must_close(&b);
        snprintf(path, sizeof path, "%s/%s", b.folder, MANIFEST);
        (void)simfs_peek(b.sim, path, &size);
        simfs_cut(b.sim, path, size - cut);
        simfs_on_call(b.sim, look_at_manifests, &l);
        bed_must_open(&b);
        bed_must_close(&b);
        MUST(engine_check(simfs_fs(b.sim), b.folder, refuse_torn, NULL, NULL, error));
        end_with_the_key(&b);
    }
}

/* A damaged manifest of a higher number is in the way until a new one of a higher number still is there. */
static void without_room_a_repair_does_not_call_a_store_repaired(void **state)
{
    (void)state;
    bed b;
    look l = {.no_room = true};
    firn_error err = {0};
    char path[64];
    begin_with_a_table(&b);
    bed_must_close(&b);
    snprintf(path, sizeof path, "%s/000000000005.manifest", b.folder);
    simfs_write_file(b.sim, path, "no manifest", 11);
    simfs_on_call(b.sim, look_at_manifests, &l);
    assert_int_equal(engine_repair(b.folder, &b.options, &b.config, NULL, NULL, NULL, &err),
                     FIRN_NO_SPACE);
    simfs_on_call(b.sim, NULL, NULL);
    MUST(engine_repair(b.folder, &b.options, &b.config, NULL, NULL, NULL, error));
    end_with_the_key(&b);
}

/* Opening makes a new manifest before it knows all that it will find: what the old one insists on, the new one does. */
static void where_the_store_was_closed_outlives_an_open_that_fails(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "value");
    bed_must_close(&b);
    for (int i = 0; i < 5; i++) {
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_ALLOCATE, .at = 1, .error = EIO});
        assert_int_equal(bed_open(&b, &err), FIRN_IO); /* behind the new manifest */
        simfs_heal(b.sim);
    }
    size_t manifests = 0;
    for (int no = 1; no < 20; no++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%012d.manifest", b.folder, no);
        manifests += simfs_exists(b.sim, path);
    }
    assert_int_equal(manifests, 2); /* they do not pile up */
    char log[64];
    uint8_t none[4096] = {0};
    snprintf(log, sizeof log, "%s/000000000001.wal", b.folder);
    simfs_cut(b.sim, log,
              b.options.segment_bytes); /* nothing in the log says any more that it was closed */
    simfs_poke(b.sim, log, 4096, none, sizeof none);
    assert_int_equal(bed_open(&b, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.message, "the store was closed at"));
    bed_release(&b);
}

/* ENOSPC on the SEAL, then a write that needs a larger segment; then SIGKILL. */
static void a_segment_that_the_store_knows_is_not_replaced_by_a_larger_one(void **state)
{
    (void)state;
    bed b;
    begin(&b, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_sized(b.db, "x", 1000), FIRN_OK);
    simfs_fail(b.sim,
               (simfs_fault){.calls = SIMFS_WRITE, .at = 1, .error = ENOSPC, .name = SEGMENT1});
    assert_int_equal(put_sized(b.db, "y", 1500), FIRN_NO_SPACE);
    simfs_heal(b.sim);
    assert_int_equal(put_sized(b.db, "a", 17000), FIRN_OK); /* durable */
    simfs_mark(b.sim, 0, 17000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(put_sized(b.db, "z", 1500), FIRN_OK);
    crashes(&b, "larger-segment", CRASH_KILL, still_there);
}

/* More than 2^32 numbers; crash behind the record of a flush, before the next segment's first frame. */
static int overwrites(void *ctx, crash_state *state)
{
    bed *b = ctx;
    engine_config config = {.fs = state->fs, .inline_work = true};
    firn *db = NULL;
    firn_error err = {0};
    if (!state->marks[0])
        return 0;
    if (engine_open(b->folder, &b->options, &config, &db, &err) != FIRN_OK)
        return crash_wrong(state, "open: %s", err.message);
    (void)firn_put(db, "a", 1, "new", 3, NULL, NULL);
    (void)firn_flush(db, NULL);
    (void)firn_compact(db, NULL, 0, NULL, 0, NULL);
    size_t n = size_of(db, "a");
    firn_close(db, NULL);
    return n == 3 ? 0 : crash_wrong(state, "a was put as \"new\"; its size is %zu", n);
}

static void numbers_beyond_32_bits_keep_their_order(void **state)
{
    (void)state;
    bed b;
    fs_dir *dir;
    wal *log;
    wal_config c;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "x", "0");
    bed_must_close(&b);
    wal_config_init(&c); /* as if 5,000,000,000 operations had been written */
    c.options.segment_bytes = b.options.segment_bytes;
    c.inline_work = true;
    c.covered_seq = UINT64_C(5000000000);
    MUST(fs_dir_open(simfs_fs(b.sim), b.folder, &dir, error));
    MUST(wal_open(dir, &c, NULL, &log, error));
    MUST(firn_wal_rotate(log, error));
    MUST(firn_wal_append(log, FIRN_PUT, "y", 1, "1", 1, NULL, NULL, error));
    MUST(firn_wal_close(log, error));
    fs_dir_close(dir);
    simfs_record(b.sim);
    bed_must_open(&b);
    bed_put(&b, "a", "old value");
    simfs_mark(b.sim, 0, 1);
    bed_flush(&b);
    crashes(&b, "numbers", CRASH_ALL, overwrites);
}

/* A read-only opener finds damage in a store that opens and has lost nothing. */
static int looks(void *ctx, crash_state *state)
{
    bed *b = ctx;
    engine_config config = {.fs = state->fs, .inline_work = true};
    firn *db = NULL;
    firn_error err = {0};
    if (!state->marks[0])
        return 0;
    firn_options o = b->options;
    o.read_only = true;
    int check = engine_check(state->fs, b->folder, NULL, NULL, NULL, &err);
    int reading = engine_open(b->folder, &o, &config, &db, &err);
    firn_close(db, NULL);
    db = NULL;
    int writing = engine_open(b->folder, &b->options, &config, &db, NULL);
    firn_close(db, NULL);
    return check == writing && reading == writing
               ? 0
               : crash_wrong(state, "check %s, read_only %s, writing %s: %s",
                             firn_status_name(check), firn_status_name(reading),
                             firn_status_name(writing), err.message);
}

static void who_looks_on_finds_no_more_damage_than_who_opens(void **state)
{
    (void)state;
    bed b;
    begin(&b, true);
    bed_put(&b, "a", "1");
    simfs_mark(b.sim, 0, 1);
    bed_put(&b, "a", "1");
    bed_must_close(&b);
    bed_must_open(&b);
    bed_put(&b, "b", "2");
    bed_flush(&b);
    crashes(&b, "looks-on", CRASH_ALL, looks);
}

/* Half a rotation, a flush, no CHECKPOINT, a close (log not mapped): a clean one, or one that finds no room for its SEAL. */
static void closing_behind_half_a_rotation_keeps_the_next_segment(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        bed b;
        begin(&b, false);
        for (int i = 0; i < 3; i++)
            assert_int_equal(put_sized(b.db, "x", 1000), FIRN_OK);
        simfs_fail(
            b.sim,
            (simfs_fault){
                .calls = SIMFS_WRITE, .at = 1, .error = ENOSPC, .forever = true, .name = SEGMENT1});
        assert_int_equal(put_sized(b.db, "y", 1500), FIRN_NO_SPACE);
        MUST(firn_settle(b.db, error)); /* flushes */
        if (!full)
            simfs_heal(b.sim);
        assert_int_equal(firn_close(b.db, NULL), full ? FIRN_NO_SPACE : FIRN_OK);
        b.db = NULL;
        simfs_heal(b.sim);
        bed_must_open(&b);
        assert_int_equal(size_of(b.db, "x"), 1000);
        bed_release(&b);
    }
}

/* A last segment that was closed full; opened; flushed; no CHECKPOINT; a clean close. */
static void closing_keeps_the_empty_segment_behind_a_covered_one(void **state)
{
    (void)state;
    bed b;
    begin(&b, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_sized(b.db, "x", 1000), FIRN_OK);
    assert_int_equal(put_sized(b.db, "y", 500), FIRN_OK);
    bed_must_close(&b);
    bed_must_open(&b);
    simfs_fail(
        b.sim,
        (simfs_fault){
            .calls = SIMFS_WRITE, .at = 1, .error = ENOSPC, .forever = true, .name = SEGMENT2});
    MUST(firn_settle(b.db, error)); /* flushes */
    simfs_heal(b.sim);
    bed_must_close(&b);
    bed_must_open(&b);
    bed_release(&b);
}

/* A torn manifest; the new one is renamed, the folder's sync finds no room, its unlink fails. */
static int no_sync_no_unlink(void *ctx, unsigned call, uint64_t index, const char *name)
{
    int *step = ctx;
    (void)index;
    if (call == SIMFS_RENAME && strstr(name, "manifest"))
        *step = 1;
    if (call == SIMFS_DIR_SYNC && *step == 1)
        return *step = 2, ENOSPC;
    if (call == SIMFS_UNLINK && *step == 2 && strstr(name, "manifest") && !strstr(name, ".new"))
        return *step = 3, EIO;
    return 0;
}

static void two_manifests_are_never_both_good(void **state)
{
    (void)state;
    bed b;
    int step = 0;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "x", "value");
    bed_flush(&b);
    bed_must_close(&b);
    simfs_cut(b.sim, "/store/000000000001.manifest", 400); /* a record that was never completed */
    simfs_on_call(b.sim, no_sync_no_unlink, &step);
    firn_error err = {0};
    assert_int_equal(bed_open(&b, &err),
                     FIRN_IO); /* the new one can neither be relied on nor removed */
    assert_int_equal(step, 3);
    simfs_on_call(b.sim, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        bed_must_open(&b);
        bed_expect(&b, NULL, "x", "value");
        bed_put(&b, "a", "value");
        bed_flush(&b);
        bed_must_close(&b);
    }
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_is_only_in_the_page_cache_gives_nothing_up),
        cmocka_unit_test(without_room_a_record_in_the_page_cache_is_synced_where_it_stands),
        cmocka_unit_test(a_repair_relies_on_no_record_that_is_only_in_the_page_cache),
        cmocka_unit_test(a_record_whose_sync_failed_goes_into_a_new_manifest_before_it_counts),
        cmocka_unit_test(a_manifest_of_an_earlier_life_gets_no_edit),
        cmocka_unit_test(without_room_a_backup_of_hard_links_does_not_change),
        cmocka_unit_test(
            without_room_a_manifest_that_ends_in_its_padding_takes_the_mark_of_a_close),
        cmocka_unit_test(without_room_a_repair_does_not_call_a_store_repaired),
        cmocka_unit_test(where_the_store_was_closed_outlives_an_open_that_fails),
        cmocka_unit_test(a_segment_that_the_store_knows_is_not_replaced_by_a_larger_one),
        cmocka_unit_test(numbers_beyond_32_bits_keep_their_order),
        cmocka_unit_test(who_looks_on_finds_no_more_damage_than_who_opens),
        cmocka_unit_test(closing_behind_half_a_rotation_keeps_the_next_segment),
        cmocka_unit_test(closing_keeps_the_empty_segment_behind_a_covered_one),
        cmocka_unit_test(two_manifests_are_never_both_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
