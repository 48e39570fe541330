/* What callers are told: every call to the system that a script of all public calls makes fails once, with every errno that
 * may come; and every allocation. Whatever a call returns, its error is filled in when it failed and left alone when it did
 * not, and nothing is called damage that is none.
 *
 * A failure names the fault: FIRN_FAULT='<calls> <errno> <at>' of the message runs it alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include "bed.h"
#include "support/told_faults.h"

#define COUNT_OF(array) (sizeof array / sizeof((array)[0]))

typedef struct run {
    told told;
    simfs *sim;
    firn_options options;
    engine_config config;
    firn *db;
} run;

static void start(void *ctx, const char *name)
{
    run *r = ctx;
    *r = (run){.told = {.run = name}, .sim = simfs_new(5)};
    r->config = (engine_config){.fs = simfs_fs(r->sim), .inline_work = true};
    bed_small(&r->options);
}

static void finish(run *r)
{
    told_finish(&r->told, r->sim);
}

static int open_store(run *r)
{
    r->db = NULL;
    r->told.missing_is_ok = r->options.read_only;
    int rc = TOLD(&r->told, engine_open("store", &r->options, &r->config, &r->db, error));
    r->told.missing_is_ok = false;
    return rc;
}

static void write_all(run *r)
{
    static const firn_durability classes[] = {FIRN_DURABILITY_NONE, FIRN_DURABILITY_SYNC,
                                              FIRN_DURABILITY_BATCH};
    static uint8_t value[700];
    told *t = &r->told;
    firn_batch *batch = NULL;
    for (unsigned i = 0; i < 24; i++) {
        char key[8];
        firn_write_options o;
        snprintf(key, sizeof key, "k%02u", i * 7 % 24);
        firn_write_options_init(&o);
        o.durability = classes[i % 3];
        TOLD(t, firn_put(r->db, key, 3, value, i * 29 % sizeof value, &o, error));
    }
    TOLD(t, firn_delete(r->db, "k03", 3, NULL, error));
    if (firn_batch_new(&batch) == FIRN_OK && firn_batch_put(batch, "b", 1, "v", 1) == FIRN_OK)
        TOLD(t, firn_write(r->db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    TOLD(t, firn_sync(r->db, error));
    TOLD(t, firn_wait_durable(r->db, firn_last_seq(r->db), 10, error));
}

static void walk(told *t, firn_iter *it)
{
    for (firn_iter_first(it); firn_iter_valid(it); firn_iter_next(it)) {
    }
    TOLD(t, firn_iter_status(it, error));
    for (firn_iter_last(it); firn_iter_valid(it); firn_iter_prev(it)) {
    }
    TOLD(t, firn_iter_status(it, error));
    firn_iter_seek(it, "k1", 2);
    TOLD(t, firn_iter_status(it, error));
    firn_iter_free(it);
}

static void read_all(run *r)
{
    told *t = &r->told;
    firn_value v = {0};
    firn_iter *it = NULL;
    firn_snapshot *s = NULL;
    firn_stats stats = {.size = sizeof stats};
    char buffer[800];
    size_t size;
    t->looking = true;
    if (TOLD(t, firn_get(r->db, "k01", 3, NULL, &v, error)) == FIRN_OK)
        firn_value_release(&v);
    TOLD(t, firn_get(r->db, "nothing", 7, NULL, &v, error));
    TOLD(t, firn_get_into(r->db, "k05", 3, NULL, buffer, sizeof buffer, &size, error));
    t->looking = false;
    if (TOLD(t, firn_snapshot_new(r->db, &s, error)) == FIRN_OK)
        firn_snapshot_free(s);
    if (TOLD(t, firn_iter_new(r->db, NULL, &it, error)) == FIRN_OK)
        walk(t, it);
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.bypass_cache = true;
    if (TOLD(t, firn_iter_new(r->db, &o, &it, error)) == FIRN_OK)
        walk(t, it);
    TOLD(t, firn_get_stats(r->db, &stats, error));
}

static void close_store(run *r)
{
    TOLD(&r->told, firn_close(r->db, error));
    r->db = NULL;
}

static void look_from_outside(run *r)
{
    r->options.read_only = true;
    if (open_store(r) == FIRN_OK) {
        read_all(r);
        close_store(r);
    }
    r->options.read_only = false;
    r->told.missing_is_ok = true;
    TOLD(&r->told, engine_check(r->config.fs, "store", NULL, NULL, NULL, error));
    TOLD(&r->told, engine_repair("store", &r->options, &r->config, NULL, NULL, NULL, error));
    r->told.missing_is_ok = false;
}

/* All public calls, in two lives; `blocks` are compressed and so go through the cache in the second. */
static void script(void *ctx)
{
    run *r = ctx;
    for (int life = 0; life < 2; life++) {
        r->options.compression = life ? FIRN_COMPRESSION_LZ4 : FIRN_COMPRESSION_NONE;
        if (open_store(r) != FIRN_OK)
            continue;
        write_all(r);
        TOLD(&r->told, firn_flush(r->db, error));
        read_all(r);
        TOLD(&r->told, firn_compact(r->db, NULL, 0, NULL, 0, error));
        TOLD(&r->told, firn_settle(r->db, error));
        close_store(r);
        if (open_store(r) != FIRN_OK) /* so that tables are opened by reading */
            continue;
        read_all(r);
        close_store(r);
    }
    look_from_outside(r);
}

/* ---- Faults ---- */

static run a_run;
static told_script faults = {.run = &a_run,
                             .told = &a_run.told,
                             .sim = &a_run.sim,
                             .start = start,
                             .script = script,
                             .missing_is_damage = true, /* a table */
                             .calls_above = 300,
                             .allocs_above = 500};

static void each_failed_call_is_described(void **state)
{
    (void)state;
    faults.step = long_run() ? 1 : 3;
    told_each_call(&faults);
}

static void each_failed_allocation_is_described(void **state)
{
    (void)state;
    told_each_allocation(&faults);
}

/* ---- Descriptors and devices: what was first said stays ---- */

static void remember_line(void *ctx, const char *text)
{
    char(*lines)[4096] = ctx;
    strncat(*lines, text, sizeof *lines - strlen(*lines) - 2);
    strcat(*lines, "\n");
}

static void make_tables(run *r)
{
    assert_int_equal(open_store(r), FIRN_OK);
    write_all(r);
    assert_int_equal(TOLD(&r->told, firn_flush(r->db, error)), FIRN_OK);
    close_store(r);
}

static void without_descriptors_an_iterator_names_the_table_and_the_limit(void **state)
{
    (void)state;
    static const int errors[] = {EMFILE, ENFILE};
    for (size_t i = 0; i < 2; i++) {
        run r;
        firn_iter *it = NULL;
        firn_error err;
        start(&r, "no descriptors");
        make_tables(&r);
        assert_int_equal(open_store(&r), FIRN_OK);
        assert_int_equal(firn_iter_new(r.db, NULL, &it, NULL), FIRN_OK);
        simfs_fail(r.sim, (simfs_fault){
                              .calls = SIMFS_OPEN, .at = 1, .error = errors[i], .forever = true});
        int (*const movements[])(firn_iter *) = {firn_iter_first, firn_iter_last};
        for (size_t m = 0; m < 2; m++) {
            assert_int_equal(movements[m](it), FIRN_NO_MEMORY);
            memset(&err, TOLD_POISON, sizeof err);
            assert_int_equal(firn_iter_status(it, &err), FIRN_NO_MEMORY);
            assert_int_equal(err.sys_errno, errors[i]);
            assert_string_equal(err.message, "cannot open the file");
            assert_non_null(strstr(err.file, ".tbl"));
            assert_non_null(strstr(err.hint, i == 0 ? "ulimit -n" : "fs.file-max"));
        }
        simfs_heal(r.sim);
        assert_int_equal(firn_iter_first(it), FIRN_OK); /* and goes on when there are some */
        firn_iter_free(it);
        close_store(&r);
        finish(&r);
    }
}

/* The name of the newest file that ends in this, or NULL for NULL. */
static const char *newest(run *r, const char *ending, char name[32])
{
    bool found = false;
    for (int no = 99; ending && no > 0 && !found; no--) {
        char path[64];
        snprintf(name, 32, "%012d%s", no, ending);
        snprintf(path, sizeof path, "store/%s", name);
        found = simfs_exists(r->sim, path);
    }
    assert_true(found || !ending);
    return ending ? name : NULL;
}

/* What could not be looked at is not called damaged, and not clean either. */
static void what_cannot_be_checked_is_no_damage(void **state)
{
    (void)state;
    static const struct {
        unsigned calls;
        int error, status;
        const char *name;
    } cases[] = {{SIMFS_OPEN, EMFILE, FIRN_NO_MEMORY, NULL},
                 {SIMFS_OPEN, EMFILE, FIRN_NO_MEMORY, ".tbl"},
                 {SIMFS_OPEN, EMFILE, FIRN_NO_MEMORY, ".wal"},
                 {SIMFS_OPEN, ENFILE, FIRN_NO_MEMORY, ".manifest"},
                 {SIMFS_READ, EIO, FIRN_IO, ".manifest"},
                 {SIMFS_READ, EIO, FIRN_IO, ".tbl"},
                 {SIMFS_READ, ENOMEM, FIRN_NO_MEMORY, NULL},
                 {SIMFS_DIR_LIST, EIO, FIRN_IO, NULL}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        run r;
        char lines[4096] = "", name[32], file[32];
        firn_check_summary summary = {0};
        snprintf(name, sizeof name, "case %zu", i);
        start(&r, name);
        make_tables(&r);
        simfs_fail(r.sim, (simfs_fault){.calls = cases[i].calls,
                                        .at = 1,
                                        .error = cases[i].error,
                                        .forever = true,
                                        .name = newest(&r, cases[i].name, file)});
        int rc = TOLD(&r.told,
                      engine_check(r.config.fs, "store", remember_line, &lines, &summary, error));
        if (simfs_faults_hit(r.sim) == 0) {
            assert_int_equal(rc, FIRN_OK); /* that file is not read */
            fail_msg("case %zu met nothing", i);
        }
        assert_int_equal(rc, cases[i].status);
        assert_int_equal(r.told.error.sys_errno, cases[i].error);
        assert_int_equal(summary.findings, 0);
        assert_null(strstr(lines, "DAMAGE"));
        simfs_heal(r.sim);
        assert_int_equal(TOLD(&r.told, engine_check(r.config.fs, "store", NULL, NULL, NULL, error)),
                         FIRN_OK);
        finish(&r);
    }
}

/* ---- Threads ---- */

static unsigned threads_left = UINT32_MAX; /* how many can be started */
static int no_thread;                      /* what the next one meets */

/* In the place of the C library's. */
int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) {
        void *found = dlsym(RTLD_NEXT, "pthread_create");
        memcpy(&real, &found, sizeof found);
    }
    if (threads_left == 0)
        return no_thread;
    threads_left--;
    return real(t, attr, fn, arg);
}

static void a_thread_that_cannot_be_started_is_a_lack_of_memory(void **state)
{
    (void)state;
    static const int errors[] = {EAGAIN, ENOMEM};
    for (unsigned i = 0; i < 6; i++) {
        run r;
        start(&r, "threads");
        r.config.inline_work = false;
        threads_left = i / 2; /* of the three that a store has */
        no_thread = errors[i % 2];
        int rc = open_store(&r);
        threads_left = UINT32_MAX;
        assert_int_equal(rc, FIRN_NO_MEMORY);
        assert_int_equal(r.told.error.sys_errno, errors[i % 2]);
        assert_non_null(strstr(r.told.error.hint, "ulimit -u"));
        assert_int_equal(simfs_open_count(r.sim), 0);
        assert_int_equal(open_store(&r), FIRN_OK);
        close_store(&r);
        finish(&r);
    }
}

/* Behind each commit, a manifest that has grown large is replaced. Without descriptors it stays, and nothing stops. */
static int no_descriptor_for_a_manifest(void *ctx, unsigned call, uint64_t index, const char *name)
{
    unsigned *refused = ctx;
    (void)index;
    if (!(call & (SIMFS_OPEN | SIMFS_CREATE)) || !name || !strstr(name, ".manifest"))
        return 0;
    ++*refused;
    return EMFILE;
}

static void a_manifest_that_cannot_be_replaced_goes_on(void **state)
{
    (void)state;
    static char key[60000]; /* each record of the manifest has such keys */
    run r;
    unsigned refused = 0;
    start(&r, "a large manifest");
    assert_int_equal(open_store(&r), FIRN_OK);
    simfs_on_call(r.sim, no_descriptor_for_a_manifest, &refused);
    for (unsigned i = 0; i < 60; i++) {
        if (i == 55)
            simfs_on_call(r.sim, NULL, NULL);
        memset(key, (int)('a' + i % 20), sizeof key);
        assert_int_equal(TOLD(&r.told, firn_put(r.db, key, sizeof key - i, "v", 1, NULL, error)),
                         FIRN_OK);
        assert_int_equal(TOLD(&r.told, firn_flush(r.db, error)), FIRN_OK);
    }
    assert_true(refused > 5);
    close_store(&r);
    assert_false(simfs_exists(r.sim, "store/000000000001.manifest")); /* replaced in the end */
    assert_int_equal(open_store(&r), FIRN_OK);
    close_store(&r);
    finish(&r);
}

/* Once a file has its real name, messages use it. */
static void messages_name_files_as_they_are_called_now(void **state)
{
    (void)state;
    static const char *const endings[] = {".wal", ".manifest"};
    for (size_t i = 0; i < COUNT_OF(endings); i++) {
        run r;
        char name[32];
        start(&r, endings[i]);
        assert_int_equal(open_store(&r), FIRN_OK);
        assert_int_equal(TOLD(&r.told, firn_put(r.db, "k", 1, "v", 1, NULL, error)), FIRN_OK);
        simfs_fail(r.sim, (simfs_fault){.calls = SIMFS_SYNC,
                                        .at = 1,
                                        .error = EIO,
                                        .forever = true,
                                        .name = newest(&r, endings[i], name)});
        (void)TOLD(&r.told, firn_put(r.db, "k", 1, "v", 1, NULL, error));
        (void)TOLD(&r.told, firn_flush(r.db, error));
        if (!strstr(r.told.error.file, name) || strstr(r.told.error.file, ".new"))
            fail_msg("%s is called %s", name, r.told.error.file);
        (void)firn_close(r.db, NULL);
        finish(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failed_call_is_described),
        cmocka_unit_test(each_failed_allocation_is_described),
        cmocka_unit_test(without_descriptors_an_iterator_names_the_table_and_the_limit),
        cmocka_unit_test(what_cannot_be_checked_is_no_damage),
        cmocka_unit_test(a_thread_that_cannot_be_started_is_a_lack_of_memory),
        cmocka_unit_test(a_manifest_that_cannot_be_replaced_goes_on),
        cmocka_unit_test(messages_name_files_as_they_are_called_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
