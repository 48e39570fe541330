/* What happens to a store whose folder or lock is taken away while it is open: it stops acknowledging before the next segment
 * or record, says which file and what to do, and no second writer gets in beside it. In memory, and with real folders,
 * processes and forks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bed.h"
#include "support/tempdir.h"
#include "support/told.h"

#define COUNT_OF(array) (sizeof array / sizeof((array)[0]))

static char path_room[3][512];

static const char *beside(const bed *b, const char *name)
{
    static unsigned next;
    char *path = path_room[next++ % 3];
    snprintf(path, sizeof path_room[0], "%s/%s", b->root, name);
    return path;
}

static int put_sync(firn *db, const char *key, firn_error *err)
{
    firn_write_options o;
    firn_write_options_init(&o);
    o.durability = FIRN_DURABILITY_SYNC;
    return firn_put(db, key, strlen(key), "value", 5, &o, err);
}

/* ---- What may be done to it ---- */

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static void remove_it(const bed *b)
{
    run("rm -rf '%s'", b->folder);
}

static void rename_it(const bed *b)
{
    run("mv '%s' '%s'", b->folder, beside(b, "away"));
}

static void replace_it(const bed *b)
{
    rename_it(b);
    run("mkdir '%s'", b->folder);
}

static void replace_it_by_a_copy(const bed *b)
{
    rename_it(b);
    run("cp -a '%s' '%s'", beside(b, "away"), b->folder);
}

static void remove_the_lock(const bed *b)
{
    run("rm '%s/LOCK'", b->folder);
}

static void copy_the_lock(const bed *b)
{
    run("cp '%s/LOCK' '%s/l' && mv '%s/l' '%s/LOCK'", b->folder, b->folder, b->folder, b->folder);
}

typedef struct harm {
    const char *name;
    void (*done)(const bed *b);
    bool keeps_folder;
} harm;

static const harm harms[] = {
    {"the folder is removed", remove_it, false},
    {"the folder is renamed", rename_it, false},
    {"another folder is put in its place", replace_it, false},
    {"a copy is put in its place", replace_it_by_a_copy, false},
    {"the lock is removed", remove_the_lock, true},
    {"the lock is replaced", copy_the_lock, true},
};

/* Writes until a segment would be opened; returns the first status that is not OK. Never more than two segments are
 * acknowledged. */
static int write_until_refused(told *t, firn *db, const firn_options *o)
{
    static const char value[1000];
    for (uint64_t bytes = 0; bytes < 2 * o->segment_bytes; bytes += sizeof value) {
        int rc = TOLD(t, firn_put(db, "k", 1, value, sizeof value, NULL, error));
        if (rc != FIRN_OK)
            return rc;
    }
    fail_msg("%s: everything was acknowledged", t->run);
    return FIRN_OK;
}

static void must_have_stopped(told *t, firn *db)
{
    firn_stats stats = {.size = sizeof stats};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(TOLD(t, put_sync(db, "later", error)), FIRN_POISONED);
        if (!t->error.file[0] || !t->error.hint[0])
            fail_msg("%s: without file or hint: %s", t->run, t->error.message);
    }
    assert_int_not_equal(TOLD(t, firn_flush(db, error)), FIRN_OK);
    assert_int_equal(TOLD(t, firn_get_stats(db, &stats, error)), FIRN_OK);
    assert_true(stats.poisoned);
}

static void a_segment_is_not_opened_in_a_folder_that_is_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(harms); i++) {
        bed b;
        told t = {.run = harms[i].name};
        bed_on_disk(&b);
        bed_must_open(&b);
        bed_put(&b, "before", "1");
        harms[i].done(&b);
        int rc = write_until_refused(&t, b.db, &b.options);
        assert_true(rc == FIRN_IO || rc == FIRN_POISONED);
        if (!strstr(t.error.file, harms[i].keeps_folder ? "LOCK" : "store"))
            fail_msg("%s: %s names \"%s\"", t.run, t.error.message, t.error.file);
        must_have_stopped(&t, b.db);
        bed_expect(&b, NULL, "before", "1"); /* reading goes on */
        assert_int_not_equal(TOLD(&t, firn_close(b.db, error)), FIRN_OK);
        b.db = NULL;
        if (t.wrong[0])
            fail_msg("%s", t.wrong);
        bed_release(&b);
    }
}

/* Little was written: the first thing that would be committed is a flush. */
static void a_flush_is_not_committed_in_a_folder_that_is_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(harms); i++) {
        bed b;
        told t = {.run = harms[i].name};
        bed_on_disk(&b);
        b.config.inline_work = i % 2;
        bed_must_open(&b);
        bed_put(&b, "before", "1");
        harms[i].done(&b);
        int rc = TOLD(&t, firn_flush(b.db, error));
        if (rc != FIRN_IO && rc != FIRN_POISONED)
            fail_msg("%s: flush says %s", t.run, firn_status_name(rc));
        must_have_stopped(&t, b.db);
        assert_int_not_equal(TOLD(&t, firn_close(b.db, error)), FIRN_OK);
        b.db = NULL;
        if (t.wrong[0])
            fail_msg("%s", t.wrong);
        bed_release(&b);
    }
}

typedef struct while_a_table_is_made {
    simfs *sim;
    bool replaced, done;
} while_a_table_is_made;

static int harm_the_lock(void *ctx, unsigned call, uint64_t index, const char *name)
{
    while_a_table_is_made *h = ctx;
    uint8_t byte = 0;
    (void)index;
    if (call == SIMFS_CREATE && name && strstr(name, ".tbl")) {
        simfs_remove(h->sim, "store/LOCK");
        if (h->replaced)
            simfs_write_file(h->sim, "store/LOCK", &byte, 0);
        h->done = true;
    }
    return 0;
}

/* The harm is done while the table is written: the manifest is what would be written next. */
static void a_record_is_not_committed_behind_a_lost_lock(void **state)
{
    (void)state;
    for (int replaced = 0; replaced < 2; replaced++) {
        bed b;
        told t = {.run = replaced ? "replaced" : "removed"};
        bed_on_simfs(&b, 3);
        bed_must_open(&b);
        bed_put(&b, "k", "1");
        MUST(firn_flush(b.db, error));
        bed_put(&b, "k", "2");
        while_a_table_is_made hands = {.sim = b.sim, .replaced = replaced};
        size_t before, after;
        (void)simfs_peek(b.sim, "store/000000000001.manifest", &before);
        simfs_on_call(b.sim, harm_the_lock, &hands);
        int rc = TOLD(&t, firn_flush(b.db, error));
        simfs_on_call(b.sim, NULL, NULL);
        assert_true(hands.done);
        assert_int_equal(rc, FIRN_IO);
        assert_non_null(strstr(t.error.file, "LOCK"));
        (void)simfs_peek(b.sim, "store/000000000001.manifest", &after);
        assert_int_equal(before, after);
        must_have_stopped(&t, b.db);
        assert_int_not_equal(TOLD(&t, firn_close(b.db, error)), FIRN_OK);
        b.db = NULL;
        if (t.wrong[0])
            fail_msg("%s", t.wrong);
        bed_must_open(&b);
        bed_expect(&b, NULL, "k", "2");
        bed_release(&b);
    }
}

/* Where folders cannot be locked, a process that removes the lock file lets a second writer in. The first one stops
 * before it opens a segment or commits anything, and leaves the files alone when it is closed. */
static void without_folder_locks_the_first_writer_stops_when_its_lock_is_gone(void **state)
{
    (void)state;
    bed b;
    told t = {.run = "no folder locks"};
    firn *second = NULL;
    bed_on_simfs(&b, 3);
    simfs_dir_locks(b.sim, false);
    bed_must_open(&b);
    bed_put(&b, "first", "1");
    assert_int_equal(engine_open("store", &b.options, &b.config, &second, NULL), FIRN_LOCKED);
    simfs_remove(b.sim, "store/LOCK");
    MUST(engine_open("store", &b.options, &b.config, &second, error));
    MUST(put_sync(second, "second", error));
    assert_int_equal(TOLD(&t, firn_flush(b.db, error)), FIRN_IO);
    must_have_stopped(&t, b.db);
    (void)firn_close(b.db, NULL);
    b.db = second;
    bed_expect(&b, NULL, "second", "value");
    MUST(firn_flush(b.db, error));
    bed_must_close(&b);
    MUST(engine_check(b.config.fs, "store", NULL, NULL, NULL, error));
    bed_must_open(&b);
    bed_expect(&b, NULL, "second", "value");
    if (t.wrong[0])
        fail_msg("%s", t.wrong);
    bed_release(&b);
}

/* Nor does it seal the log or note its end in files that are another writer's by now. */
static void closing_behind_a_lost_lock_leaves_the_files_alone(void **state)
{
    (void)state;
    bed b;
    told t = {.run = "close"};
    firn *second = NULL;
    bed_on_simfs(&b, 3);
    simfs_dir_locks(b.sim, false);
    bed_must_open(&b);
    bed_put(&b, "first", "1");
    simfs_remove(b.sim, "store/LOCK");
    MUST(engine_open("store", &b.options, &b.config, &second, error));
    MUST(put_sync(second, "second", error));
    assert_int_equal(TOLD(&t, firn_close(b.db, error)), FIRN_IO);
    assert_non_null(strstr(t.error.file, "LOCK"));
    b.db = second;
    MUST(put_sync(b.db, "third", error));
    bed_must_close(&b);
    bed_must_open(&b);
    bed_expect(&b, NULL, "first", "1");
    bed_expect(&b, NULL, "second", "value");
    bed_expect(&b, NULL, "third", "value");
    if (t.wrong[0])
        fail_msg("%s", t.wrong);
    bed_release(&b);
}

/* Tables that nothing refers to any more are left to the next opening. */
static void no_table_is_removed_behind_a_lost_lock(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        bed b;
        firn_iter *it = NULL;
        bed_on_simfs(&b, 3);
        bed_must_open(&b);
        bed_put(&b, "k", "1");
        bed_flush(&b);
        MUST(firn_iter_new(b.db, NULL, &it, error));
        bed_put(&b, "k", "2");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        if (lost)
            simfs_remove(b.sim, "store/LOCK");
        uint64_t before = simfs_calls(b.sim, SIMFS_CHANGING);
        firn_iter_free(it);
        assert_true((simfs_calls(b.sim, SIMFS_CHANGING) == before) == lost);
        (void)firn_close(b.db, NULL);
        b.db = NULL;
        bed_must_open(&b);
        bed_expect(&b, NULL, "k", "2");
        bed_release(&b);
    }
}

static void a_removed_or_copied_lock_lets_no_second_writer_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(harms); i++) {
        if (!harms[i].keeps_folder)
            continue;
        bed b;
        firn *second = NULL;
        firn_error err;
        bed_on_disk(&b);
        bed_must_open(&b);
        bed_put(&b, "before", "1");
        harms[i].done(&b);
        assert_int_equal(firn_open(b.folder, &b.options, &second, &err), FIRN_LOCKED);
        assert_string_equal(err.message, "this process has it open already");
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            char expected[64];
            snprintf(expected, sizeof expected, "process %ld holds the lock", (long)getppid());
            int rc = firn_open(b.folder, &b.options, &second, &err);
            _exit(rc == FIRN_LOCKED && strcmp(err.message, expected) == 0 ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        /* One who only looks is welcome. */
        firn_options looks = b.options;
        looks.read_only = true;
        MUST(firn_open(b.folder, &looks, &second, error));
        MUST(firn_close(second, error));
        (void)firn_close(b.db, NULL);
        b.db = NULL;
        bed_must_open(&b);
        bed_expect(&b, NULL, "before", "1");
        bed_release(&b);
    }
}

/* ---- Forks ---- */

static void a_child_that_lives_on_does_not_keep_the_store_locked(void **state)
{
    (void)state;
    bed b;
    int ends[2];
    char byte;
    bed_on_disk(&b);
    bed_must_open(&b);
    bed_put(&b, "k", "1");
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        firn_error err;
        /* What it does with the handle is refused, and harms nothing. */
        int rc = firn_put(b.db, "k", 1, "2", 1, NULL, &err) == FIRN_INVALID &&
                         firn_close(b.db, &err) == FIRN_INVALID
                     ? 'k'
                     : 'x';
        byte = (char)rc;
        if (write(ends[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'k');
    firn *second = NULL;
    assert_int_equal(firn_open(b.folder, &b.options, &second, NULL), FIRN_LOCKED);
    bed_put(&b, "k", "3");
    bed_must_close(&b);
    bed_must_open(&b); /* while the child lives */
    bed_expect(&b, NULL, "k", "3");
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(firn_open(b.folder, &b.options, &second, NULL), FIRN_LOCKED); /* still ours */
    bed_release(&b);
    close(ends[0]);
    close(ends[1]);
}

/* ---- Limits of the process ---- */

static int in_child(int (*fn)(bed *b), bed *b)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn(b));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("the child was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* Opens, writes and closes with files of at most this size, and SIGXFSZ as it is by default. */
static int work_with_a_limit(bed *b)
{
    static const char value[3000];
    const rlim_t sizes[] = {0, 100, 5000, 20000, 100000, 1000000};
    signal(SIGXFSZ, SIG_DFL);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        const struct rlimit limit = {sizes[i], RLIM_INFINITY};
        told t = {.run = "a limit"};
        firn *db = NULL;
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            return 1;
        int rc = TOLD(&t, firn_open(b->folder, &b->options, &db, error));
        if (rc != FIRN_OK && rc != FIRN_NO_SPACE)
            return 2;
        for (int j = 0; rc == FIRN_OK && j < 100; j++)
            rc = TOLD(&t, firn_put(db, &j, sizeof j, value, sizeof value, NULL, error));
        if (rc != FIRN_OK && (rc != FIRN_NO_SPACE || t.error.sys_errno != EFBIG ||
                              !strstr(t.error.hint, "ulimit -f")))
            return 3;
        if (db) {
            firn_value v;
            if (TOLD(&t, firn_get(db, "k", 1, NULL, &v, error)) != FIRN_OK)
                return 4;
            firn_value_release(&v);
            TOLD(&t, firn_flush(db, error));
            TOLD(&t, firn_close(db, error));
        }
        if (TOLD(&t, firn_check(b->folder, NULL, NULL, NULL, error)) != FIRN_OK)
            return 5;
        if (t.wrong[0]) {
            fprintf(stderr, "%llu: %s\n", (unsigned long long)sizes[i], t.wrong);
            return 6;
        }
    }
    return 0;
}

static void a_limit_on_file_sizes_kills_no_process_and_leaves_the_store_readable(void **state)
{
    (void)state;
    for (int small = 0; small < 2; small++) {
        bed b;
        bed_on_disk(&b);
        if (!small)
            firn_options_init(&b.options);
        bed_must_open(&b);
        bed_put(&b, "k", "1");
        bed_must_close(&b);
        assert_int_equal(in_child(work_with_a_limit, &b), 0);
        bed_must_open(&b); /* without a limit */
        bed_expect(&b, NULL, "k", "1");
        bed_release(&b);
    }
}

/* So few descriptors that tables cannot be opened. */
static int walk_without_descriptors(bed *b)
{
    firn *db = NULL;
    firn_iter *it = NULL;
    firn_error err;
    const struct rlimit limit = {3, 4096}, none = {4096, 4096};
    if (firn_open(b->folder, &b->options, &db, NULL) != FIRN_OK ||
        firn_iter_new(db, NULL, &it, NULL) != FIRN_OK || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1;
    if (firn_iter_first(it) != FIRN_NO_MEMORY || firn_iter_status(it, &err) != FIRN_NO_MEMORY)
        return 2;
    if (err.sys_errno != EMFILE || !strstr(err.hint, "ulimit -n") || !strstr(err.file, ".tbl"))
        return 3;
    if (firn_check(b->folder, NULL, NULL, NULL, &err) != FIRN_NO_MEMORY || err.sys_errno != EMFILE)
        return 4;
    if (setrlimit(RLIMIT_NOFILE, &none) != 0 || firn_iter_first(it) != FIRN_OK)
        return 5;
    firn_iter_free(it);
    return firn_close(db, NULL) == FIRN_OK ? 0 : 6;
}

static void without_descriptors_nothing_is_called_damaged(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    bed_put(&b, "k", "1");
    MUST(firn_flush(b.db, error));
    bed_must_close(&b);
    assert_int_equal(in_child(walk_without_descriptors, &b), 0);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_is_not_opened_in_a_folder_that_is_lost),
        cmocka_unit_test(a_flush_is_not_committed_in_a_folder_that_is_lost),
        cmocka_unit_test(a_record_is_not_committed_behind_a_lost_lock),
        cmocka_unit_test(without_folder_locks_the_first_writer_stops_when_its_lock_is_gone),
        cmocka_unit_test(closing_behind_a_lost_lock_leaves_the_files_alone),
        cmocka_unit_test(no_table_is_removed_behind_a_lost_lock),
        cmocka_unit_test(a_removed_or_copied_lock_lets_no_second_writer_in),
        cmocka_unit_test(a_child_that_lives_on_does_not_keep_the_store_locked),
        cmocka_unit_test(a_limit_on_file_sizes_kills_no_process_and_leaves_the_store_readable),
        cmocka_unit_test(without_descriptors_nothing_is_called_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
