/* Descriptors: a store of many tables in a process that may have few open files. Each kind of use is counted: no more are
 * open at once than are allowed, however many tables there are. */
#include "base/check.h"

#include <base/error.h>
#include <engine/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "support/counted_fs.h"
#include "support/simfs.h"
#include "support/tempdir.h"

enum { LIMIT = 64, KEYS = 60000, VALUE_BYTES = 100, TABLES_MIN = 100 };

static firn_error err;

static void must(int rc, const char *what)
{
    char text[1024];
    if (rc == FIRN_OK)
        return;
    firn_error_format(&err, text, sizeof text);
    fail_msg("%s: %s", what, text);
}

static firn_options many_tables(const char *compression, bool never_map)
{
    firn_options o;
    firn_options_init(&o);
    o.memory = 1 << 20;
    o.table_bytes = 32 << 10;
    o.durability = FIRN_DURABILITY_NONE;
    o.never_map = never_map;
    must(firn_options_set(&o, "compression", compression, &err), "compression");
    return o;
}

static size_t key_of(unsigned i, char out[16])
{
    return (size_t)snprintf(out, 16, "k%08u", i * 7919 % KEYS);
}

static void value_of(unsigned i, char out[VALUE_BYTES])
{
    /* Not easily compressed: so that there are many tables. */
    uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t at = 0; at < VALUE_BYTES; at++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        out[at] = (char)x;
    }
}

static void fill(firn *db)
{
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16], value[VALUE_BYTES];
        size_t n = key_of(i, key);
        value_of(i, value);
        must(firn_put(db, key, n, value, sizeof value, NULL, &err), "put");
    }
}

static void get_all(firn *db, unsigned step)
{
    for (unsigned i = 0; i < KEYS; i += step) {
        char key[16], value[VALUE_BYTES];
        size_t n = key_of(i, key);
        firn_value v;
        value_of(i, value);
        must(firn_get(db, key, n, NULL, &v, &err), "get");
        assert_int_equal(v.size, sizeof value);
        assert_memory_equal(v.data, value, sizeof value);
        firn_value_release(&v);
    }
}

static void scan_all(firn *db, bool bypass, bool backward)
{
    firn_iter_options io;
    firn_iter *it = NULL;
    firn_iter_options_init(&io);
    io.bypass_cache = bypass;
    must(firn_iter_new(db, &io, &it, &err), "iterator");
    unsigned count = 0;
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (; rc == FIRN_OK; count++)
        rc = backward ? firn_iter_prev(it) : firn_iter_next(it);
    if (rc != FIRN_END)
        must(firn_iter_status(it, &err), "scan");
    assert_int_equal(count, KEYS);
    firn_iter_free(it);
}

static uint64_t tables_of(firn *db)
{
    firn_stats s = {.size = sizeof s};
    uint64_t n = 0;
    must(firn_get_stats(db, &s, &err), "stats");
    for (unsigned l = 0; l < FIRN_LEVELS; l++)
        n += s.level_tables[l];
    return n;
}

/* Many iterators at once, each in the middle of a table of its own. */
static void walk_side_by_side(firn *db)
{
    enum { ITERATORS = 120 };
    firn_iter *its[ITERATORS];
    for (unsigned i = 0; i < ITERATORS; i++) {
        firn_iter_options io;
        firn_iter_options_init(&io);
        io.bypass_cache = i % 2;
        must(firn_iter_new(db, &io, &its[i], &err), "iterator");
        char key[16];
        int n = snprintf(key, sizeof key, "k%08u", i * (KEYS / ITERATORS));
        must(firn_iter_seek(its[i], key, (size_t)n), "seek");
    }
    for (unsigned step = 0; step < 300; step++)
        for (unsigned i = 0; i < ITERATORS; i++)
            must(firn_iter_next(its[i]) == FIRN_OK || i == ITERATORS - 1 ? FIRN_OK : FIRN_IO,
                 "next");
    for (unsigned i = 0; i < ITERATORS; i++)
        firn_iter_free(its[i]);
}

static void within_the_limit(const char *what)
{
    int64_t most = atomic_exchange(&the_counted_fs.most, 0);
    if (most > LIMIT / 2 + 8)
        fail_msg("%s: %lld descriptors at once", what, (long long)most);
}

static void copy_to(firn *from, const char *folder, const engine_config *config)
{
    firn_options o = many_tables("none", false);
    firn *to = NULL;
    firn_iter *it = NULL;
    must(engine_open(folder, &o, config, &to, &err), "open the copy");
    must(firn_iter_new(from, NULL, &it, &err), "iterator");
    int rc = firn_iter_first(it);
    for (; rc == FIRN_OK; rc = firn_iter_next(it)) {
        firn_slice k = firn_iter_key(it), v = firn_iter_value(it);
        must(firn_put(to, k.data, k.size, v.data, v.size, NULL, &err), "copy");
    }
    assert_int_equal(rc, FIRN_END);
    firn_iter_free(it);
    must(firn_close(to, &err), "close the copy");
}

static void ignore_line(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

/* The whole life of a store, under a real limit of the process, and counted. */
static void live(const char *compression, bool never_map)
{
    char folder[4096], copy[4096];
    char *temp = tempdir_new();
    firn *db = NULL;
    engine_config config = {.fs = counted_fs_new()};
    firn_options o = many_tables(compression, never_map);
    snprintf(folder, sizeof folder, "%s/store", temp);
    snprintf(copy, sizeof copy, "%s/copy", temp);

    must(engine_open(folder, &o, &config, &db, &err), "open");
    fill(db);
    within_the_limit("filling");
    must(firn_settle(db, &err), "settle");
    assert_true(tables_of(db) >= TABLES_MIN);
    get_all(db, 1);
    within_the_limit("getting");
    for (unsigned way = 0; way < 4; way++)
        scan_all(db, way & 1, way & 2);
    walk_side_by_side(db);
    within_the_limit("scanning");
    must(firn_compact(db, NULL, 0, NULL, 0, &err), "compact");
    get_all(db, 3);
    within_the_limit("compacting");
    copy_to(db, copy, &config);
    within_the_limit("copying");
    must(firn_close(db, &err), "close");

    firn_check_summary summary;
    must(engine_check(config.fs, folder, ignore_line, NULL, &summary, &err), "check");
    assert_true(summary.tables >= TABLES_MIN);
    within_the_limit("checking");
    firn_repair_summary repaired;
    must(engine_repair(folder, &o, &config, NULL, NULL, &repaired, &err), "repair");
    within_the_limit("repairing");
    o.read_only = true;
    must(engine_open(folder, &o, &config, &db, &err), "open to read");
    get_all(db, 1);
    scan_all(db, true, false);
    within_the_limit("reading only");
    must(firn_close(db, &err), "close");
    assert_int_equal(the_counted_fs.open, 0);
    tempdir_remove(temp);
}

static void a_store_of_mapped_tables_lives_with_few_descriptors(void **state)
{
    (void)state;
    live("none", false);
}

static void a_store_of_packed_tables_lives_with_few_descriptors(void **state)
{
    (void)state;
    live("lz4", false);
}

static void a_store_that_never_maps_lives_with_few_descriptors(void **state)
{
    (void)state;
    live("none", true);
}

/* Beside a reader, the writer removes tables that the reader has to read. */
static void a_reader_keeps_what_the_writer_removes(void **state)
{
    (void)state;
    static const char *const kinds[] = {"none", "lz4"};
    for (unsigned i = 0; i < 2; i++) {
        char folder[4096];
        char *temp = tempdir_new();
        firn *db = NULL, *reader = NULL;
        engine_config config = {.fs = counted_fs_new()};
        firn_options o = many_tables(kinds[i], false);
        snprintf(folder, sizeof folder, "%s/store", temp);
        must(engine_open(folder, &o, &config, &db, &err), "open");
        fill(db);
        must(firn_settle(db, &err), "settle");
        firn_options r = o;
        r.read_only = true;
        must(engine_open(folder, &r, &config, &reader, &err), "open to read");
        for (unsigned k = 0; k < KEYS; k++) { /* all of it anew, so that no table stays */
            char key[16];
            size_t n = key_of(k, key);
            must(firn_put(db, key, n, "new", 3, NULL, &err), "put");
        }
        must(firn_compact(db, NULL, 0, NULL, 0, &err), "compact");
        get_all(reader, 1);
        scan_all(reader, true, false);
        must(firn_close(reader, &err), "close");
        must(firn_close(db, &err), "close");
        tempdir_remove(temp);
    }
}

/* Each iterator holds a segment of the log that the store has long given up: its bytes, and no descriptor. */
static void old_iterators_hold_no_descriptor(void **state)
{
    (void)state;
    enum { ITERATORS = 100, EACH = 2000 };
    firn_iter *its[ITERATORS];
    char *temp = tempdir_new();
    char folder[4096];
    firn *db = NULL;
    engine_config config = {.fs = counted_fs_new()};
    firn_options o = many_tables("none", false);
    o.segment_bytes = 64 << 10;
    snprintf(folder, sizeof folder, "%s/store", temp);
    must(engine_open(folder, &o, &config, &db, &err), "open");
    for (unsigned i = 0; i < ITERATORS; i++) {
        for (unsigned k = i * EACH; k < (i + 1) * EACH; k++) {
            char key[16], value[VALUE_BYTES];
            size_t n = key_of(k, key);
            value_of(k % KEYS, value);
            must(firn_put(db, key, n, value, sizeof value, NULL, &err), "put");
        }
        must(firn_iter_new(db, NULL, &its[i], &err), "iterator");
        must(firn_iter_first(its[i]), "first");
    }
    within_the_limit("holding iterators");
    for (unsigned i = 0; i < ITERATORS; i++) { /* each sees what there was when it was made */
        must(firn_iter_last(its[i]), "last");
        must(firn_iter_prev(its[i]), "prev");
        firn_iter_free(its[i]);
    }
    get_all(db, 5);
    must(firn_close(db, &err), "close");
    assert_int_equal(the_counted_fs.open, 0);
    tempdir_remove(temp);
}

/* ---- What another program does to a table that is not open just now ---- */

static simfs *sim;

static int find_table(void *ctx, const char *path, uint64_t size)
{
    char *out = ctx;
    (void)size;
    if (strstr(path, ".tbl") && !out[0])
        snprintf(out, 256, "%s", path);
    return 0;
}

/* Past the cache; the status at its end, which is described in `err`. */
static int walk(firn *db)
{
    firn_iter_options io;
    firn_iter *it = NULL;
    firn_iter_options_init(&io);
    io.bypass_cache = true;
    must(firn_iter_new(db, &io, &it, &err), "iterator");
    int rc = firn_iter_first(it);
    while (rc == FIRN_OK)
        rc = firn_iter_next(it);
    if (rc != FIRN_END)
        assert_int_equal(firn_iter_status(it, &err), rc);
    firn_iter_free(it);
    return rc;
}

static void a_table_that_was_removed_or_replaced_is_told(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        char path[256] = "";
        firn *db = NULL;
        sim = simfs_new(5);
        simfs_descriptor_limit(sim, 24);
        engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
        firn_options o = many_tables("none", true);
        must(engine_open("s", &o, &config, &db, &err), "open");
        for (unsigned i = 0; i < KEYS / 6; i++) {
            char key[16], value[VALUE_BYTES];
            size_t n = key_of(i, key);
            value_of(i, value);
            must(firn_put(db, key, n, value, sizeof value, NULL, &err), "put");
        }
        must(firn_compact(db, NULL, 0, NULL, 0, &err), "compact");
        assert_int_equal(walk(db), FIRN_END); /* each has been open, and most are not any more */
        simfs_each(sim, "s", find_table, path);
        assert_true(path[0] != 0);
        size_t size;
        (void)simfs_peek(sim, path, &size);
        simfs_copy_file(sim, path, "elsewhere");
        if (how < 2)
            simfs_remove(sim, path);
        if (how == 1) /* the same bytes, but who knows that */
            simfs_copy_file(sim, "elsewhere", path);
        if (how == 2)
            simfs_cut(sim, path, size - 1);
        assert_int_equal(walk(db), FIRN_DAMAGED);
        assert_non_null(strstr(err.file, strrchr(path, '/')));
        assert_true(err.hint[0] != 0);
        must(firn_close(db, &err), "close");
        simfs_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_of_mapped_tables_lives_with_few_descriptors),
        cmocka_unit_test(a_store_of_packed_tables_lives_with_few_descriptors),
        cmocka_unit_test(a_store_that_never_maps_lives_with_few_descriptors),
        cmocka_unit_test(a_reader_keeps_what_the_writer_removes),
        cmocka_unit_test(old_iterators_hold_no_descriptor),
        cmocka_unit_test(a_table_that_was_removed_or_replaced_is_told),
    };
    /* The whole program lives under the limit, in earnest. */
    struct rlimit limit = {LIMIT, LIMIT};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1;
    tempdir_in_memory(); /* hundreds of tables are made durable, which no test here is about */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
