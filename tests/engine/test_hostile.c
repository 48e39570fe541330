/* A folder that an attacker has prepared, or an accident: each name that a store's files have, standing for everything that a
 * name can stand for. Whatever is done with such a folder: it does not hang, it writes nothing outside of the folder, it says
 * what is wrong and what helps; and a repair makes a store of it that opens, passes the check and has what was intact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/checksum.h>
#include <base/error.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>
#include <wal/wal.h>

#include "bed.h"
#include "support/counted_fs.h"
#include "support/tempdir.h"

#define HANG_S    240                  /* a test that hangs is killed */
#define READ_MAX  (UINT64_C(64) << 20) /* of whatever size a file is */
#define HUGE_FILE (INT64_C(1) << 40)
#define OUTSIDE   "not the store's, and not to be changed"

typedef enum thing {
    A_FOLDER,
    A_PIPE,
    A_SOCKET,
    A_LINK_TO_A_FILE,
    A_DANGLING_LINK,
    A_DEVICE,
    AN_EMPTY_FILE,
    A_FILE_WITH_ANOTHER_NAME,
    AN_UNREADABLE_FILE,
    A_HUGE_FILE,
    THINGS
} thing;

static const char *const thing_names[THINGS] = {
    "a folder",           "a pipe",     "a socket",      "a link",
    "a dangling link",    "a device",   "an empty file", "a hard link",
    "an unreadable file", "a huge file"};

typedef enum role {
    MANIFEST,
    TABLE,
    SEGMENT,
    LOCK_FILE,
    LOST,
    RESERVE,
    HIGHEST_MANIFEST,
    HIGHEST_TABLE,
    HIGHEST_SEGMENT,
    UNREACHABLE_MANIFEST,
    UNREACHABLE_TABLE,
    NEW_MANIFEST,
    NEW_SEGMENT,
    FIRST_SEGMENT,
    ROLES
} role;

static const char *const fixed_names[ROLES] = {
    [LOCK_FILE] = "LOCK",
    [LOST] = "lost",
    [RESERVE] = "RESERVE",
    [HIGHEST_MANIFEST] = "000000900000.manifest",
    [HIGHEST_TABLE] = "999999999999.tbl",
    [HIGHEST_SEGMENT] = "999999999999.wal",
    [UNREACHABLE_MANIFEST] = "999999999999999999.manifest",
    [UNREACHABLE_TABLE] = "999999999999999999.tbl",
    [NEW_MANIFEST] = "000000000050.manifest.new",
    [NEW_SEGMENT] = "000000000050.wal.new",
    [FIRST_SEGMENT] = "000000000001.wal",
};

typedef struct scene {
    bed b;
    char outside[4200]; /* a file in another folder */
    char outside_text[100];
    char name[64]; /* under which the thing stands */
    thing what;
    role as;
} scene;

static char where[200]; /* for messages */

/* ---- The store, and the thing in it ---- */

static const char *in_store(const scene *s, const char *name)
{
    static char paths[4][4200];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", s->b.folder, name);
    return path;
}

/* The last name with this ending. */
static void find_name(const scene *s, const char *ending, char out[64])
{
    DIR *d = opendir(s->b.folder);
    assert_non_null(d);
    out[0] = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        const char *dot = strchr(e->d_name, '.');
        if (dot && strcmp(dot, ending) == 0 && strcmp(e->d_name, out) > 0)
            snprintf(out, 64, "%.63s", e->d_name);
    }
    closedir(d);
    assert_true(out[0] != 0);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* "table" is in a table, "log" in the log. */
static void scene_new(scene *s, role as, thing what)
{
    *s = (scene){.as = as, .what = what};
    bed_on_disk(&s->b);
    s->b.config.inline_work = true;
    snprintf(where, sizeof where, "%s as %s", thing_names[what],
             fixed_names[as]  ? fixed_names[as]
             : as == MANIFEST ? "manifest"
             : as == TABLE    ? "table"
                              : "segment");
    bed_must_open(&s->b);
    bed_put(&s->b, "table", "1");
    bed_flush(&s->b);
    bed_put(&s->b, "log", "2");
    bed_must_close(&s->b);
    snprintf(s->outside, sizeof s->outside, "%s/outside", s->b.root);
    write_text(s->outside, OUTSIDE);
    if (fixed_names[as])
        snprintf(s->name, sizeof s->name, "%s", fixed_names[as]);
    else
        find_name(s, as == MANIFEST ? ".manifest" : as == TABLE ? ".tbl" : ".wal", s->name);
}

static bool put_socket(const char *path)
{
    /* The path may be longer than an address: bound in the folder, under a short name. */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char folder[4200], *slash;
    snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    *slash = 0;
    int back = open(".", O_RDONLY | O_DIRECTORY);
    bool done = fd >= 0 && chdir(folder) == 0;
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s", slash + 1);
    done = done && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fchdir(back) != 0)
        done = false;
    close(back);
    close(fd);
    return done;
}

static bool put_huge(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    bool done = fd >= 0 && ftruncate(fd, HUGE_FILE) == 0;
    close(fd);
    if (!done)
        unlink(path); /* the file system has no such sizes */
    return done;
}

/* A hard link leads to a file outside: the old one, where there was one. */
static bool put_hard_link(const scene *s, const char *path, bool there)
{
    if (there)
        return unlink(s->outside) == 0 && link(path, s->outside) == 0;
    return link(s->outside, path) == 0;
}

/* False: this system or user cannot have it. */
static bool place(const scene *s)
{
    const char *path = in_store(s, s->name);
    struct stat st;
    bool there = lstat(path, &st) == 0;
    if (there && s->what != A_FILE_WITH_ANOTHER_NAME && s->what != AN_UNREADABLE_FILE)
        assert_int_equal(remove(path), 0);
    switch (s->what) {
    case A_FOLDER:
        return s->as != LOST && mkdir(path, 0700) == 0;
    case A_PIPE:
        return mkfifo(path, 0600) == 0;
    case A_SOCKET:
        return put_socket(path);
    case A_LINK_TO_A_FILE:
        return symlink(s->outside, path) == 0;
    case A_DANGLING_LINK:
        return symlink("/nowhere/at/all", path) == 0;
    case A_DEVICE:
        return mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0;
    case AN_EMPTY_FILE:
        write_text(path, "");
        return true;
    case A_FILE_WITH_ANOTHER_NAME:
        return put_hard_link(s, path, there);
    case AN_UNREADABLE_FILE:
        if (!there)
            write_text(path, "");
        return geteuid() != 0 && chmod(path, 0) == 0;
    case A_HUGE_FILE:
        return put_huge(path);
    case THINGS:
        break;
    }
    return false;
}

/* ---- Nothing outside changes ---- */

static void note_outside(scene *s)
{
    FILE *f = fopen(s->outside, "r");
    assert_non_null(f);
    size_t n = fread(s->outside_text, 1, sizeof s->outside_text - 1, f);
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    fclose(f);
    s->outside_text[n < 60 ? n : 60] = 0;
    snprintf(s->outside_text + strlen(s->outside_text), 30, "|%lld", (long long)st.st_size);
}

static void outside_is_as_it_was(scene *s, const char *verb)
{
    char before[sizeof s->outside_text];
    memcpy(before, s->outside_text, sizeof before);
    note_outside(s);
    if (strcmp(before, s->outside_text) != 0)
        fail_msg("%s: %s changed a file outside", where, verb);
}

/* ---- The verbs ---- */

static void must_be_clear(const char *verb, int rc, const firn_error *err, const char *name)
{
    char text[800];
    if (rc == FIRN_OK)
        return;
    firn_error_format(err, text, sizeof text);
    if (err->status != rc || !err->message[0] || !err->hint[0])
        fail_msg("%s: %s says %s: \"%s\", without a remedy", where, verb, firn_status_name(rc),
                 text);
    if (!strstr(text, name))
        fail_msg("%s: %s does not say which file: \"%s\"", where, verb, text);
}

static void must_cost_little(const char *verb)
{
    if (the_counted_fs.bytes > READ_MAX)
        fail_msg("%s: %s reads %llu bytes", where, verb, (unsigned long long)the_counted_fs.bytes);
}

static void ignore_line(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

static int open_and_close(scene *s, bool read_only, firn_error *err)
{
    engine_config config = {.fs = counted_fs_new(), .inline_work = true};
    firn_options o = s->b.options;
    firn *db = NULL;
    o.read_only = read_only;
    o.create_if_missing = false;
    int rc = engine_open(s->b.folder, &o, &config, &db, err);
    if (rc == FIRN_OK && !read_only)
        rc = firn_put(db, "more", 4, "3", 1, NULL, err);
    int closed = firn_close(db, rc == FIRN_OK ? err : NULL);
    return rc == FIRN_OK ? closed : rc;
}

static int look_at_log(scene *s, firn_error *err)
{
    fs_dir *dir = NULL;
    firn_wal *w = NULL;
    wal_config config;
    wal_config_init(&config);
    config.options.read_only = true;
    config.options.recovery = FIRN_RECOVERY_INSPECT;
    int rc = fs_dir_open(counted_fs_new(), s->b.folder, &dir, err);
    if (rc == FIRN_OK) {
        (void)engine_covered(dir, &config.covered_seq, &config.covered_no, NULL);
        rc = wal_open(dir, &config, NULL, &w, err);
    }
    firn_wal_close(w, NULL);
    fs_dir_close(dir);
    return rc;
}

static void look_on(scene *s)
{
    firn_error err = {0};
    note_outside(s);
    int rc = engine_check(counted_fs_new(), s->b.folder, ignore_line, NULL, NULL, &err);
    must_be_clear("check", rc, &err, s->name);
    must_cost_little("check");
    err = (firn_error){0};
    rc = open_and_close(s, true, &err);
    must_be_clear("a reader", rc, &err, s->name);
    must_cost_little("a reader");
    err = (firn_error){0};
    rc = look_at_log(s, &err);
    must_be_clear("wal", rc, &err, s->name);
    must_cost_little("wal");
    outside_is_as_it_was(s, "looking on");
}

/* The store is repaired, has what was in the files that were left alone, and goes on. */
static void repair_and_judge(scene *s)
{
    firn_error err = {0};
    engine_config config = {.fs = counted_fs_new(), .inline_work = true};
    int rc = engine_repair(s->b.folder, &s->b.options, &config, NULL, NULL, NULL, &err);
    if (rc != FIRN_OK) {
        char text[800];
        firn_error_format(&err, text, sizeof text);
        fail_msg("%s: repair says %s: %s", where, firn_status_name(rc), text);
    }
    if (s->what == A_HUGE_FILE)
        must_cost_little("repair");
    outside_is_as_it_was(s, "repair");
    MUST(engine_check(NULL, s->b.folder, NULL, NULL, NULL, error));
    bed_must_open(&s->b);
    bool whole = s->what == A_FILE_WITH_ANOTHER_NAME; /* the file is what it was */
    if (s->as != TABLE || whole)
        bed_expect(&s->b, NULL, "table", "1");
    if (s->as != SEGMENT || whole)
        bed_expect(&s->b, NULL, "log", "2");
    bed_put(&s->b, "after", "4");
    bed_flush(&s->b);
    bed_must_close(&s->b);
    bed_must_open(&s->b);
    bed_expect(&s->b, NULL, "after", "4");
    bed_must_close(&s->b);
    outside_is_as_it_was(s, "going on");
}

/* What cannot be read may be all right: it is for its owner to say. */
static void repair_wants_permission(scene *s)
{
    firn_error err = {0};
    engine_config config = {.inline_work = true};
    int rc = engine_repair(s->b.folder, &s->b.options, &config, NULL, NULL, NULL, &err);
    if (rc != FIRN_OK) {
        must_be_clear("repair", rc, &err, s->name);
        assert_non_null(strstr(err.hint, "permission"));
        assert_int_equal(chmod(in_store(s, s->name), 0600), 0);
    }
    repair_and_judge(s);
}

static void try_it(role as, thing what, bool first_open)
{
    scene s;
    firn_error err = {0};
    scene_new(&s, as, what);
    /* What repair reads of a damaged table is for the tests of salvaging. */
    if (place(&s) && !(as == TABLE && what == A_HUGE_FILE)) {
        look_on(&s);
        if (first_open) { /* and what it has done to the folder does not keep a repair from its work */
            int rc = open_and_close(&s, false, &err);
            must_be_clear("open", rc, &err, s.name);
            must_cost_little("open");
            outside_is_as_it_was(&s, "open");
        }
        if (what == AN_UNREADABLE_FILE)
            repair_wants_permission(&s);
        else
            repair_and_judge(&s);
    }
    bed_release(&s.b);
}

static void everything_as(role as)
{
    alarm(HANG_S);
    for (thing what = 0; what < THINGS; what++) {
        try_it(as, what, false);
        try_it(as, what, true);
    }
    alarm(0);
}

#define AS(ROLE)                                                                                   \
    static void anything_as_##ROLE(void **state)                                                   \
    {                                                                                              \
        (void)state;                                                                               \
        everything_as(ROLE);                                                                       \
    }
AS(MANIFEST)
AS(TABLE)
AS(SEGMENT)
AS(LOCK_FILE)
AS(LOST)
AS(RESERVE)
AS(HIGHEST_MANIFEST)
AS(HIGHEST_TABLE)
AS(HIGHEST_SEGMENT)
AS(UNREACHABLE_MANIFEST)
AS(UNREACHABLE_TABLE)
AS(NEW_MANIFEST)
AS(NEW_SEGMENT)
AS(FIRST_SEGMENT)

/* ---- One by one ---- */

/* Before anything else is done in the folder, also of what would be read much later. */
static void what_is_no_file_is_named_when_the_store_is_opened(void **state)
{
    (void)state;
    static const role as[] = {MANIFEST, TABLE, SEGMENT, HIGHEST_TABLE, NEW_SEGMENT, LOCK_FILE};
    for (size_t i = 0; i < sizeof as / sizeof *as; i++) {
        scene s;
        firn_error err = {0};
        scene_new(&s, as[i], A_PIPE);
        assert_true(place(&s));
        assert_int_equal(open_and_close(&s, false, &err), FIRN_DAMAGED);
        assert_non_null(strstr(err.file, s.name));
        assert_non_null(strstr(err.message, "pipe"));
        assert_non_null(strstr(err.hint, "firn repair"));
        assert_int_equal(engine_check(NULL, s.b.folder, NULL, NULL, NULL, &err), FIRN_DAMAGED);
        bed_release(&s.b);
    }
}

/* The reserve is for a full disk: nothing else needs it. */
static void a_bad_reserve_blocks_nothing(void **state)
{
    (void)state;
    for (thing what = 0; what < THINGS; what++) {
        scene s;
        firn_error err = {0};
        scene_new(&s, RESERVE, what);
        if (place(&s)) {
            note_outside(&s);
            int rc = open_and_close(&s, false, &err);
            if (rc != FIRN_OK)
                fail_msg("%s: %s", where, err.message);
            outside_is_as_it_was(&s, "open");
            MUST(engine_check(NULL, s.b.folder, NULL, NULL, NULL, error));
        }
        bed_release(&s.b);
    }
}

/* What lies in lost/ is listed by name, and never read. */
static void whatever_lies_in_lost_costs_nothing(void **state)
{
    (void)state;
    scene s;
    scene_new(&s, LOST, A_HUGE_FILE);
    assert_int_equal(mkdir(in_store(&s, "lost"), 0700), 0);
    if (put_huge(in_store(&s, "lost/000000000001.tbl-1"))) {
        assert_int_equal(mkfifo(in_store(&s, "lost/pipe-18446744073709551614"), 0600), 0);
        look_on(&s);
        repair_and_judge(&s);
    }
    bed_release(&s.b);
}

/* Size and checksum of a file. */
static uint64_t fingerprint(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    assert_true(n < sizeof bytes);
    fclose(f);
    return (uint64_t)n << 32 | crc32_update(0, bytes, n);
}

/* A backup of hard links stays what it was, whatever the store does afterwards. */
static void a_backup_of_hard_links_does_not_change(void **state)
{
    (void)state;
    scene s;
    char copies[2][4300], names[2][64];
    uint64_t before[2];
    scene_new(&s, LOST, A_FOLDER);
    find_name(&s, ".wal", names[0]);
    find_name(&s, ".manifest", names[1]);
    for (int i = 0; i < 2; i++) {
        snprintf(copies[i], sizeof copies[i], "%s/%s", s.b.root, names[i]);
        assert_int_equal(link(in_store(&s, names[i]), copies[i]), 0);
        before[i] = fingerprint(copies[i]);
    }
    for (int round = 0; round < 3; round++) {
        bed_must_open(&s.b);
        for (int k = 0; k < 200; k++)
            bed_put(&s.b, "key", "value that fills the segments of the log, one after the other");
        bed_flush(&s.b);
        bed_must_close(&s.b);
        for (int i = 0; i < 2; i++)
            if (fingerprint(copies[i]) != before[i])
                fail_msg("%s has changed in round %d", names[i], round);
    }
    bed_must_open(&s.b);
    bed_expect(&s.b, NULL, "table", "1");
    bed_expect(&s.b, NULL, "log", "2");
    bed_release(&s.b);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anything_as_MANIFEST),
        cmocka_unit_test(anything_as_TABLE),
        cmocka_unit_test(anything_as_SEGMENT),
        cmocka_unit_test(anything_as_LOCK_FILE),
        cmocka_unit_test(anything_as_LOST),
        cmocka_unit_test(anything_as_RESERVE),
        cmocka_unit_test(anything_as_HIGHEST_MANIFEST),
        cmocka_unit_test(anything_as_HIGHEST_TABLE),
        cmocka_unit_test(anything_as_HIGHEST_SEGMENT),
        cmocka_unit_test(anything_as_UNREACHABLE_MANIFEST),
        cmocka_unit_test(anything_as_UNREACHABLE_TABLE),
        cmocka_unit_test(anything_as_NEW_MANIFEST),
        cmocka_unit_test(anything_as_NEW_SEGMENT),
        cmocka_unit_test(anything_as_FIRST_SEGMENT),
        cmocka_unit_test(what_is_no_file_is_named_when_the_store_is_opened),
        cmocka_unit_test(a_bad_reserve_blocks_nothing),
        cmocka_unit_test(whatever_lies_in_lost_costs_nothing),
        cmocka_unit_test(a_backup_of_hard_links_does_not_change),
        cmocka_unit_test(a_file_number_near_the_end_of_all_numbers_is_refused),
    };
    /* Several hundred stores, each synced many times: where memory is a file system, that costs nothing. */
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK | X_OK) == 0)
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
