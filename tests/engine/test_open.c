/* Opening: what is refused, with which words, and what is left untouched. Mostly on the real file
 * system, because folders, locks, processes and forks are the system's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "at.h"
#include "bed.h"
#include "support/crash.h"

static int setup(void **state)
{
    bed *b = calloc(1, sizeof *b);
    assert_non_null(b);
    bed_on_disk(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bed_release(*state);
    free(*state);
    return 0;
}

/* Opening fails with this status, and the error has a message and these words. */
static void refused(bed *b, int wanted, const char *words)
{
    firn_error err = {0};
    char text[700];
    firn *db = NULL;
    int rc = engine_open(b->folder, &b->options, &b->config, &db, &err);
    firn_error_format(&err, text, sizeof text);
    if (rc != wanted || err.status != wanted || !strstr(text, words) || db)
        fail_msg("%s: \"%s\", should be %s with \"%s\"", firn_status_name(rc), text,
                 firn_status_name(wanted), words);
}

/* ---- A listing with sizes and times, to see that nothing was touched ---- */

typedef struct listing {
    char text[4096];
} listing;

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void list_folder(const char *path, listing *out)
{
    static char lines[64][128];
    size_t count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        struct stat st;
        if (strcmp(e->d_name, "..") == 0)
            continue;
        assert_int_equal(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(count < 64);
        snprintf(lines[count++], sizeof lines[0], "%.60s %lld %lld.%09ld\n", e->d_name,
                 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    }
    closedir(d);
    qsort(lines, count, sizeof lines[0], by_text);
    size_t used = 0;
    out->text[0] = 0;
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(out->text + used, sizeof out->text - used, "%s", lines[i]);
    assert_true(used < sizeof out->text);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* ---- Folders ---- */

static void a_new_folder_is_made_with_its_parents(void **state)
{
    bed *b = *state;
    char deep[4200];
    struct stat st;
    snprintf(deep, sizeof deep, "%s/a/b/store", b->root);
    free(b->folder);
    b->folder = strdup(deep);
    bed_must_open(b);
    bed_put(b, "k", "v");
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    bed_must_close(b);
    bed_must_open(b);
    bed_expect(b, NULL, "k", "v");
}

/* Made by a process that died before it synced the folder above, or by a shell. */
static void a_folder_that_was_there_is_durable_with_its_store(void **state)
{
    (void)state;
    simfs *sim = simfs_new(1);
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    firn *db = NULL;
    firn_error err = {0};
    firn_options o;
    firn_options_init(&o);
    o.segment_bytes = 65536;
    simfs_record(sim);
    assert_int_equal(config.fs->ops->dir_make(config.fs, "store"), 0);
    assert_int_equal(engine_open("store", &o, &config, &db, &err), FIRN_OK);
    assert_int_equal(firn_put(db, "k", 1, "v", 1, NULL, &err), FIRN_OK);
    assert_int_equal(firn_close(db, &err), FIRN_OK);
    simfs *left = crash_now(sim, CRASH_STRICT, 1, NULL, 0);
    o.create_if_missing = false;
    config.fs = simfs_fs(left);
    assert_int_equal(engine_open("store", &o, &config, &db, &err), FIRN_OK);
    firn_value v;
    assert_int_equal(firn_get(db, "k", 1, NULL, &v, &err), FIRN_OK);
    firn_value_release(&v);
    assert_int_equal(firn_close(db, &err), FIRN_OK);
    simfs_free(left);
    simfs_free(sim);
}

static void without_create_if_missing_a_missing_folder_stays_missing(void **state)
{
    bed *b = *state;
    struct stat st;
    b->options.create_if_missing = false;
    refused(b, FIRN_NOT_FOUND, b->folder);
    assert_int_equal(stat(b->folder, &st), -1);
    assert_int_equal(mkdir(b->folder, 0700), 0);
    refused(b, FIRN_NOT_FOUND, "no store");
    listing left;
    list_folder(b->folder, &left);
    assert_null(strchr(left.text, 'L')); /* no LOCK, no .wal */
    b->options.read_only = true;
    refused(b, FIRN_NOT_FOUND, "no store");
}

static void a_file_instead_of_a_folder_is_refused(void **state)
{
    bed *b = *state;
    write_file(b->root, "store", "I am a file");
    refused(b, FIRN_INVALID, b->folder);
    b->options.read_only = true;
    refused(b, FIRN_INVALID, b->folder);
}

static void a_folder_of_something_else_is_left_untouched(void **state)
{
    bed *b = *state;
    listing before, after;
    assert_int_equal(mkdir(b->folder, 0700), 0);
    write_file(b->folder, "holiday.jpg", "beach");
    write_file(b->folder, "7.tbl", "one digit is not our name");
    list_folder(b->folder, &before);
    refused(b, FIRN_INVALID, "holds no store but other files");
    b->options.read_only = true;
    refused(b, FIRN_INVALID, "other files");
    list_folder(b->folder, &after);
    assert_string_equal(after.text, before.text);
}

static void files_of_others_in_our_folder_are_never_touched(void **state)
{
    bed *b = *state;
    struct stat st;
    char path[4200];
    bed_must_open(b);
    bed_put(b, "k", "v");
    write_file(b->folder, "notes.txt", "mine");
    write_file(b->folder, "12.tbl", "mine too");
    bed_flush(b);
    bed_must_close(b);
    bed_must_open(b);
    bed_expect(b, NULL, "k", "v");
    snprintf(path, sizeof path, "%s/notes.txt", b->folder);
    assert_int_equal(stat(path, &st), 0);
    snprintf(path, sizeof path, "%s/12.tbl", b->folder);
    assert_int_equal(stat(path, &st), 0);
}

/* A segment that was only being made is no log. */
static void a_log_that_is_gone_is_missed_whatever_its_leftovers(void **state)
{
    bed *b = *state;
    char path[4200];
    firn_error err = {0};
    bed_must_open(b);
    bed_put(b, "table", "kept");
    bed_flush(b);
    bed_put(b, "log", "gone");
    bed_must_close(b);
    for (unsigned no = 1; no < 9; no++) {
        snprintf(path, sizeof path, "%s/%012u.wal", b->folder, no);
        (void)unlink(path); /* whichever there are */
    }
    write_file(b->folder, "000000000009.wal.new", "half a segment");
    refused(b, FIRN_DAMAGED, "log is missing");
    assert_int_equal(engine_check(NULL, b->folder, NULL, NULL, NULL, &err), FIRN_DAMAGED);
    b->options.read_only = true;
    refused(b, FIRN_DAMAGED, "log is missing");
    b->options.read_only = false;
    b->options.recovery = FIRN_RECOVERY_PREFIX; /* what the hint says */
    bed_must_open(b);
    bed_expect(b, NULL, "table", "kept");
    bed_expect(b, NULL, "log", NULL);
    bed_must_close(b);
    b->options.recovery = FIRN_RECOVERY_TAIL;
    bed_must_open(b);
    bed_expect(b, NULL, "table", "kept");
}

/* The n-th file of this ending; false: there are fewer. */
static bool find_file(const bed *b, const char *ending, unsigned n, char out[64])
{
    DIR *dir = opendir(b->folder);
    bool found = false;
    assert_non_null(dir);
    for (struct dirent *e; !found && (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        found = dot && strcmp(dot, ending) == 0 && n-- == 0;
        if (found)
            snprintf(out, 64, "%.63s", e->d_name);
    }
    closedir(dir);
    return found;
}

static void move(const char *from_folder, const char *from, const char *to_folder, const char *to)
{
    char source[4200], target[4200];
    snprintf(source, sizeof source, "%s/%s", from_folder, from);
    snprintf(target, sizeof target, "%s/%s", to_folder, to);
    assert_int_equal(rename(source, target), 0);
}

static void a_table_that_is_gone_is_missed(void **state)
{
    bed *b = *state;
    char name[64];
    bed_must_open(b);
    bed_put(b, "k", "v");
    bed_flush(b);
    bed_must_close(b);
    assert_true(find_file(b, ".tbl", 0, name));
    move(b->folder, name, b->root, name);
    for (int read_only = 0; read_only < 2; read_only++) {
        b->options.read_only = read_only;
        refused(b, FIRN_DAMAGED, "lists is missing");
    }
    b->options.read_only = false;
    move(b->root, name, b->folder, name);
    bed_must_open(b);
    bed_expect(b, NULL, "k", "v");
}

static void a_manifest_under_another_name_is_refused(void **state)
{
    bed *b = *state;
    char name[64];
    bed_must_open(b);
    bed_put(b, "k", "v");
    bed_must_close(b);
    assert_true(find_file(b, ".manifest", 0, name));
    move(b->folder, name, b->folder, "000000000077.manifest");
    refused(b, FIRN_DAMAGED, "renamed");
    move(b->folder, "000000000077.manifest", b->folder, name);
    bed_must_open(b);
    bed_expect(b, NULL, "k", "v");
}

/* A write to the manifest may be cut behind the record's checksummed bytes: at a page, by a crash or a kill. */
static void a_manifest_that_ends_in_its_padding_is_gone_on_with(void **state)
{
    bed *b = *state;
    char name[64], path[4200];
    for (off_t cut = 1; cut <= 4;
         cut++) { /* the record of a close takes 20 bytes, and 4 of padding */
        char key[16];
        struct stat st;
        bed_must_open(b);
        bed_put(b, "k", "v");
        bed_flush(b);
        bed_must_close(b);
        assert_true(find_file(b, ".manifest", 0, name));
        snprintf(path, sizeof path, "%s/%s", b->folder, name);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(truncate(path, st.st_size - cut), 0);
        snprintf(key, sizeof key, "cut %d", (int)cut);
        bed_must_open(b);
        bed_put(b, key, "v");
        bed_flush(b);
        bed_must_close(b);
        bed_must_open(b);
        bed_expect(b, NULL, "k", "v");
        bed_expect(b, NULL, key, "v");
        bed_must_close(b);
        MUST(firn_check(b->folder, NULL, NULL, NULL, error));
    }
}

/* Nothing has been flushed: all there is lies in the log. */
static void a_log_without_its_manifest_is_not_thrown_away(void **state)
{
    bed *b = *state;
    char name[64], log[64];
    bed_must_open(b);
    bed_put(b, "k", "v");
    bed_must_close(b);
    assert_false(find_file(b, ".tbl", 0, name));
    assert_true(find_file(b, ".manifest", 0, name));
    move(b->folder, name, b->root, name);
    refused(b, FIRN_DAMAGED, "no manifest");
    assert_true(find_file(b, ".wal", 0, log));
    move(b->root, name, b->folder, name);
    bed_must_open(b);
    bed_expect(b, NULL, "k", "v");
}

static void error_if_exists_refuses_a_store_and_makes_a_new_one(void **state)
{
    bed *b = *state;
    b->options.error_if_exists = true;
    bed_must_open(b);
    bed_must_close(b);
    refused(b, FIRN_INVALID, "there is a store already");
    b->options.error_if_exists = false;
    bed_must_open(b);
}

static void an_empty_store_is_opened_again_and_again(void **state)
{
    bed *b = *state;
    for (int i = 0; i < 5; i++) {
        bed_must_open(b);
        assert_int_equal(firn_last_seq(b->db), 0);
        bed_must_close(b);
        MUST(firn_check(b->folder, NULL, NULL, NULL, error));
    }
}

/* ---- Locks ---- */

static void a_second_opener_in_this_process_is_refused(void **state)
{
    bed *b = *state;
    bed_must_open(b);
    refused(b, FIRN_LOCKED, "this process has it open already");
    bed_put(b, "still", "works");
    bed_must_close(b);
    bed_must_open(b);
    bed_expect(b, NULL, "still", "works");
}

static void a_second_process_is_refused_and_told_who_has_the_store(void **state)
{
    bed *b = *state;
    int to_child[2], from_child[2];
    char byte = 0, pid_text[32];
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(from_child), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int rc = bed_open(b, NULL);
        byte = (char)rc;
        bool told = write(from_child[1], &byte, 1) == 1;
        close(to_child[1]);
        (void)!read(to_child[0], &byte, 1);
        _exit(rc == FIRN_OK && told ? 0 : 1);
    }
    assert_int_equal(read(from_child[0], &byte, 1), 1);
    assert_int_equal(byte, FIRN_OK);
    snprintf(pid_text, sizeof pid_text, "%ld", (long)pid);
    refused(b, FIRN_LOCKED, pid_text);
    assert_int_equal(write(to_child[1], "x", 1), 1);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    bed_must_open(b); /* the lock went with the process, which closed nothing */
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(from_child[i]);
    }
}

static void use_after_fork_is_refused(void **state)
{
    bed *b = *state;
    bed_must_open(b);
    bed_put(b, "k", "v");
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        firn_value v;
        firn_iter *it;
        firn_snapshot *s;
        firn_stats stats;
        firn_error err = {0};
        bool refuses = firn_put(b->db, "k", 1, "w", 1, NULL, &err) == FIRN_INVALID &&
                       strstr(err.message, "fork") &&
                       firn_get(b->db, "k", 1, NULL, &v, NULL) == FIRN_INVALID &&
                       firn_iter_new(b->db, NULL, &it, NULL) == FIRN_INVALID &&
                       firn_snapshot_new(b->db, &s, NULL) == FIRN_INVALID &&
                       firn_flush(b->db, NULL) == FIRN_INVALID &&
                       firn_sync(b->db, NULL) == FIRN_INVALID &&
                       firn_get_stats(b->db, &stats, NULL) == FIRN_INVALID &&
                       firn_close(b->db, NULL) == FIRN_INVALID;
        _exit(refuses ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    bed_put(b, "k", "x"); /* and nothing of the parent's was harmed */
    bed_must_close(b);
    bed_must_open(b);
    bed_expect(b, NULL, "k", "x");
}

/* ---- Reading only ---- */

static void a_reader_refuses_every_write(void **state)
{
    bed *b = *state;
    bed_must_open(b);
    bed_put(b, "k", "v");
    bed_must_close(b);
    b->options.read_only = true;
    bed_must_open(b);
    firn_batch *batch = NULL;
    firn_error err = {0};
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "k", 1, "x", 1), FIRN_OK);
    assert_int_equal(firn_put(b->db, "k", 1, "w", 1, NULL, &err), FIRN_READ_ONLY);
    assert_true(err.message[0] && err.hint[0]);
    assert_int_equal(firn_delete(b->db, "k", 1, NULL, NULL), FIRN_READ_ONLY);
    assert_int_equal(firn_write(b->db, batch, NULL, NULL, NULL), FIRN_READ_ONLY);
    assert_int_equal(firn_flush(b->db, NULL), FIRN_READ_ONLY);
    assert_int_equal(firn_compact(b->db, NULL, 0, NULL, 0, NULL), FIRN_READ_ONLY);
    firn_batch_free(batch);
    bed_expect(b, NULL, "k", "v");
    assert_true(bed_stats(b).read_only);
}

/* Readers beside a writer: each sees what was there when it was opened, several at once, and writes
 * nothing. */
static void readers_beside_a_writer_see_a_consistent_prefix(void **state)
{
    bed *b = *state;
    firn *readers[4] = {0};
    firn_options o = b->options;
    o.read_only = true;
    bed_must_open(b);
    for (int i = 0; i < 400; i++) {
        /* Both keys in one batch: no reader may see them apart. */
        char value[200];
        firn_batch *batch = NULL;
        snprintf(value, sizeof value, "%0190d", i);
        assert_int_equal(firn_batch_new(&batch), FIRN_OK);
        firn_batch_put(batch, "a", 1, value, strlen(value));
        firn_batch_put(batch, "z", 1, value, strlen(value));
        MUST(firn_write(b->db, batch, NULL, NULL, error));
        firn_batch_free(batch);
        if (i % 100 == 50)
            bed_flush(b);
        firn **r = &readers[i % 4];
        firn_close(*r, NULL);
        *r = NULL;
        MUST(firn_open(b->folder, &o, r, error));
        firn_value a = {0}, z = {0};
        MUST(firn_get(*r, "a", 1, NULL, &a, error));
        MUST(firn_get(*r, "z", 1, NULL, &z, error));
        assert_int_equal(a.size, z.size);
        assert_memory_equal(a.data, z.data, a.size);
        assert_memory_equal(a.data, value, a.size); /* acknowledged before the reader was opened */
        firn_value_release(&a);
        firn_value_release(&z);
    }
    for (int i = 0; i < 4; i++)
        firn_close(readers[i], NULL);
}

static void a_reader_changes_nothing_in_the_folder(void **state)
{
    bed *b = *state;
    listing before, after;
    bed_must_open(b);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        bed_put(b, key, "some value of a few bytes");
        if (i == 60)
            bed_flush(b);
    }
    MUST(firn_settle(b->db, error));
    bed_must_close(b);
    list_folder(b->folder, &before);
    b->options.read_only = true;
    for (int i = 0; i < 3; i++) {
        bed_must_open(b);
        bed_expect(b, NULL, "k99", "some value of a few bytes");
        bed_must_close(b);
        MUST(firn_check(b->folder, NULL, NULL, NULL, error));
    }
    list_folder(b->folder, &after);
    assert_string_equal(after.text, before.text);
}

/* ---- Options ---- */

static void every_wrong_option_is_named(void **state)
{
    bed *b = *state;
    static const struct {
        const char *name;
        uint64_t low, high; /* the last values that are allowed */
        size_t at, size;    /* the field */
    } ranges[] = {{"memory", 1 << 20, UINT64_C(1) << 46, offsetof(firn_options, memory), 8},
                  {"segment_bytes", 8 << 10, 1 << 30, offsetof(firn_options, segment_bytes), 8},
                  {"table_bytes", 4 << 10, 1 << 30, offsetof(firn_options, table_bytes), 8},
                  {"filter_bits", 0, 64, offsetof(firn_options, filter_bits), 4},
                  {"batch_ms", 1, 60000, offsetof(firn_options, batch_ms), 4},
                  {"batch_writes", 1, UINT32_MAX, offsetof(firn_options, batch_writes), 4}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        for (int side = 0; side < 2; side++) {
            char text[32];
            uint64_t bad = side ? ranges[i].high + 1 : ranges[i].low - 1;
            firn_options kept = b->options;
            if (side == 0 && ranges[i].low == 0)
                continue;
            /* By name it is refused at once, and nothing is set ... */
            firn_error err = {0};
            snprintf(text, sizeof text, "%llu", (unsigned long long)bad);
            assert_int_equal(firn_options_set(&b->options, ranges[i].name, text, &err),
                             FIRN_INVALID);
            assert_non_null(strstr(err.message, ranges[i].name));
            assert_non_null(strstr(err.hint, "allowed"));
            assert_memory_equal(&b->options, &kept, sizeof kept);
            snprintf(text, sizeof text, "%llu",
                     (unsigned long long)(side ? ranges[i].high : ranges[i].low));
            MUST(firn_options_set(&b->options, ranges[i].name, text, error));
            b->options = kept;
            if (ranges[i].size == 4 && bad > UINT32_MAX)
                continue;
            /* ... and in the struct when the store is opened. */
            memcpy((uint8_t *)&b->options + ranges[i].at, &bad, ranges[i].size);
            refused(b, FIRN_INVALID, ranges[i].name);
            refused(b, FIRN_INVALID, "allowed");
            b->options = kept;
        }
    }
    b->options.size = 8;
    refused(b, FIRN_INVALID, "firn_options_init");
    b->options.size = sizeof b->options;
    b->options.durability = (firn_durability)9;
    refused(b, FIRN_INVALID, "durability");
    b->options.durability = FIRN_DURABILITY_SYNC;
    b->options.compression = (firn_compression)9;
    refused(b, FIRN_INVALID, "compression");
    b->options.compression = FIRN_COMPRESSION_NONE;
    b->options.recovery = (firn_recovery)9;
    refused(b, FIRN_INVALID, "recovery");
    struct stat st;
    assert_int_equal(stat(b->folder, &st), -1); /* refused before anything was made */
}

static void the_smallest_and_largest_options_are_taken(void **state)
{
    bed *b = *state;
    static const char *const values[][2] = {
        {"filter_bits", "0"},    {"filter_bits", "64"}, {"batch_ms", "1"},
        {"batch_ms", "60000"},   {"memory", "1MiB"},    {"segment_bytes", "8KiB"},
        {"table_bytes", "4KiB"}, {"batch_writes", "1"}, {"batch_writes", "4294967295"},
        {"table_bytes", "1GiB"},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        MUST(firn_options_set(&b->options, values[i][0], values[i][1], error));
        bed_must_open(b);
        bed_must_close(b);
    }
}

static void options_by_name_say_what_they_take(void **state)
{
    (void)state;
    firn_options o;
    firn_error err = {0};
    firn_options_init(&o);
    MUST(firn_options_set(&o, "memory", "512MiB", error));
    assert_int_equal(o.memory, UINT64_C(512) << 20);
    MUST(firn_options_set(&o, "table_bytes", "4096", error));
    assert_int_equal(o.table_bytes, 4096);
    MUST(firn_options_set(&o, "durability", "batch", error));
    assert_int_equal(o.durability, FIRN_DURABILITY_BATCH);
    MUST(firn_options_set(&o, "read_only", "true", error));
    assert_true(o.read_only);
    static const char *const bad[][3] = {
        {"memory", "", "512MiB"},        {"memory", "-1", "512MiB"},
        {"memory", "1 apple", "512MiB"}, {"memory", "99999999999999999999TiB", "512MiB"},
        {"durability", "maybe", "sync"}, {"compression", "gzip", "lz4"},
        {"read_only", "yes", "true"},    {"recovery", "hope", "salvage"},
        {"batch_ms", "5GiB", "60000"},   {"colour", "blue", "segment_bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        firn_options before = o;
        memset(&err, 0, sizeof err);
        assert_int_equal(firn_options_set(&o, bad[i][0], bad[i][1], &err), FIRN_INVALID);
        if (!strstr(err.message, bad[i][0]) || !strstr(err.hint, bad[i][2]))
            fail_msg("%s=%s: \"%s\" (%s)", bad[i][0], bad[i][1], err.message, err.hint);
        assert_memory_equal(&o, &before, sizeof o);
    }
    assert_int_equal(firn_options_set(NULL, "memory", "1", NULL), FIRN_INVALID);
}

/* ---- Limits ---- */

static void a_key_may_have_65535_bytes_and_no_more(void **state)
{
    bed *b = *state;
    static char key[FIRN_MAX_KEY_BYTES + 1];
    memset(key, 'k', sizeof key);
    b->options.segment_bytes = 1 << 20; /* no rotation, whose checkpoint takes a number too */
    bed_must_open(b);
    for (size_t size = FIRN_MAX_KEY_BYTES - 1; size <= FIRN_MAX_KEY_BYTES + 1; size++) {
        firn_error err = {0};
        uint64_t before = firn_last_seq(b->db);
        int rc = firn_put(b->db, key, size, "v", 1, NULL, &err);
        bool fits = size <= FIRN_MAX_KEY_BYTES;
        assert_int_equal(rc, fits ? FIRN_OK : FIRN_TOO_LARGE);
        assert_true(fits || (err.status == FIRN_TOO_LARGE && err.message[0]));
        assert_int_equal(firn_last_seq(b->db), before + fits); /* refused before a number is used */
        if (!fits) {
            assert_int_equal(firn_delete(b->db, key, size, NULL, NULL), FIRN_TOO_LARGE);
            firn_value v;
            assert_int_not_equal(firn_get(b->db, key, size, NULL, &v, NULL), FIRN_OK);
        }
    }
    bed_flush(b);
    for (size_t size = FIRN_MAX_KEY_BYTES - 1; size <= FIRN_MAX_KEY_BYTES; size++) {
        firn_value v = {0};
        MUST(firn_get(b->db, key, size, NULL, &v, error));
        assert_int_equal(v.size, 1);
        firn_value_release(&v);
    }
}

/* Address space whose pages all are one: the check looks at sizes, and must not look at bytes. */
static void a_value_over_256_mib_is_refused(void **state)
{
    bed *b = *state;
    size_t size = (size_t)FIRN_MAX_VALUE_BYTES + 1;
    void *big = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(big, MAP_FAILED);
    bed_must_open(b);
    firn_error err = {0};
    assert_int_equal(firn_put(b->db, "k", 1, big, size, NULL, &err), FIRN_TOO_LARGE);
    assert_true(err.message[0] != 0);
    assert_int_equal(firn_last_seq(b->db), 0);
    bed_put(b, "k", "v");
    munmap(big, size);
}

static void empty_keys_empty_values_and_nul_bytes_are_ordinary(void **state)
{
    bed *b = *state;
    static const firn_slice keys[] = {{(const uint8_t *)"", 0},
                                      {(const uint8_t *)"\0", 1},
                                      {(const uint8_t *)"\0\0", 2},
                                      {(const uint8_t *)"a\0b", 3},
                                      {(const uint8_t *)"a\0c", 3}};
    size_t count = sizeof keys / sizeof *keys;
    bed_must_open(b);
    for (size_t i = 0; i < count; i++)
        MUST(firn_put(b->db, keys[i].data, keys[i].size, keys[i].data, keys[i].size, NULL, error));
    for (int flushed = 0; flushed < 3; flushed++) {
        firn_iter *it = NULL;
        MUST(firn_iter_new(b->db, NULL, &it, error));
        int rc = firn_iter_first(it);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(rc, FIRN_OK);
            assert_true(slice_equal(firn_iter_key(it), keys[i]));
            assert_true(slice_equal(firn_iter_value(it), keys[i]));
            rc = firn_iter_next(it);
        }
        assert_int_equal(rc, FIRN_END);
        firn_iter_free(it);
        if (flushed == 0)
            bed_flush(b);
        else
            MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    }
    MUST(firn_delete(b->db, NULL, 0, NULL, error)); /* NULL with size 0 is the empty key */
    firn_value v;
    assert_int_equal(firn_get(b->db, "", 0, NULL, &v, NULL), FIRN_NOT_FOUND);
}

static void wrong_arguments_change_nothing(void **state)
{
    bed *b = *state;
    firn_value v;
    firn *other = NULL;
    firn_error err = {0};
    assert_int_equal(firn_open(NULL, NULL, &other, &err), FIRN_INVALID);
    assert_int_equal(firn_open(b->folder, NULL, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_put(NULL, "k", 1, "v", 1, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get(NULL, "k", 1, NULL, &v, &err), FIRN_INVALID);
    assert_int_equal(firn_close(NULL, &err), FIRN_OK);
    bed_must_open(b);
    assert_int_equal(firn_put(b->db, NULL, 1, "v", 1, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_put(b->db, "k", 1, NULL, 1, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get(b->db, NULL, 1, NULL, &v, &err), FIRN_INVALID);
    assert_int_equal(firn_write(b->db, NULL, NULL, NULL, &err), FIRN_INVALID);
    firn_write_options w;
    firn_write_options_init(&w);
    w.durability = (firn_durability)17;
    assert_int_equal(firn_put(b->db, "k", 1, "v", 1, &w, &err), FIRN_INVALID);
    assert_int_equal(firn_wait_durable(b->db, 5, 1, &err), FIRN_INVALID);
    assert_int_equal(firn_last_seq(b->db), 0);
}

/* The handle of another store is told from ours. */
static void a_snapshot_of_another_store_is_refused(void **state)
{
    bed *b = *state;
    bed other;
    firn_snapshot *s = NULL;
    firn_value v;
    firn_iter *it = NULL;
    firn_iter_options o;
    bed_must_open(b);
    bed_on_disk(&other);
    bed_must_open(&other);
    MUST(firn_snapshot_new(other.db, &s, error));
    assert_int_equal(firn_get(b->db, "k", 1, AT(s), &v, NULL), FIRN_INVALID);
    firn_iter_options_init(&o);
    o.snapshot = s;
    assert_int_equal(firn_iter_new(b->db, &o, &it, NULL), FIRN_INVALID);
    firn_snapshot_free(s);
    bed_release(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_folder_is_made_with_its_parents),
        TEST(a_folder_that_was_there_is_durable_with_its_store),
        TEST(without_create_if_missing_a_missing_folder_stays_missing),
        TEST(a_file_instead_of_a_folder_is_refused),
        TEST(a_folder_of_something_else_is_left_untouched),
        TEST(files_of_others_in_our_folder_are_never_touched),
        TEST(a_log_that_is_gone_is_missed_whatever_its_leftovers),
        TEST(a_table_that_is_gone_is_missed),
        TEST(a_manifest_under_another_name_is_refused),
        TEST(a_manifest_that_ends_in_its_padding_is_gone_on_with),
        TEST(a_log_without_its_manifest_is_not_thrown_away),
        TEST(error_if_exists_refuses_a_store_and_makes_a_new_one),
        TEST(an_empty_store_is_opened_again_and_again),
        TEST(a_second_opener_in_this_process_is_refused),
        TEST(a_second_process_is_refused_and_told_who_has_the_store),
        TEST(use_after_fork_is_refused),
        TEST(a_reader_refuses_every_write),
        TEST(readers_beside_a_writer_see_a_consistent_prefix),
        TEST(a_reader_changes_nothing_in_the_folder),
        TEST(every_wrong_option_is_named),
        TEST(the_smallest_and_largest_options_are_taken),
        TEST(options_by_name_say_what_they_take),
        TEST(a_key_may_have_65535_bytes_and_no_more),
        TEST(a_value_over_256_mib_is_refused),
        TEST(empty_keys_empty_values_and_nul_bytes_are_ordinary),
        TEST(wrong_arguments_change_nothing),
        TEST(a_snapshot_of_another_store_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
