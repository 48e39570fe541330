/* The real file system: what a folder may hold besides plain files of one name, and files with holes. */
#include "fs_folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct odd_names {
    char text[200];
} odd_names;

static int add_odd(void *ctx, const char *name)
{
    odd_names *o = ctx;
    assert_true(strlen(o->text) + strlen(name) + 2 < sizeof o->text);
    strcat(strcat(o->text, name), " ");
    return 0;
}

static void WhatIsNoPlainFileIsListedAndToldAndMovedUnopened(void **state)
{
    fixture *f = *state;
    fs_dir *lost = NULL;
    fs_entry entry;
    fs_close(create(f, "plain", "12345"));
    assert_int_equal(mkfifo(path_of(f, "pipe"), 0600), 0);
    assert_int_equal(symlink("plain", path_of(f, "link")), 0);
    assert_int_equal(mkdir(path_of(f, "folder"), 0700), 0);

    odd_names odd = {""};
    assert_int_equal(fs_dir_list_odd(f->dir, add_odd, &odd, &f->err), FIRN_OK);
    assert_int_equal(strlen(odd.text), strlen("pipe link folder "));
    assert_true(strstr(odd.text, "pipe ") && strstr(odd.text, "link ") &&
                strstr(odd.text, "folder "));

    static const struct {
        const char *name;
        fs_kind kind;
    } things[] = {{"plain", FS_KIND_FILE},
                  {"pipe", FS_KIND_OTHER},
                  {"link", FS_KIND_LINK},
                  {"folder", FS_KIND_FOLDER}};
    for (size_t i = 0; i < COUNT_OF(things); i++) {
        assert_int_equal(fs_look(f->dir, things[i].name, &entry, &f->err), FIRN_OK);
        assert_int_equal(entry.kind, things[i].kind);
    }
    assert_int_equal(fs_look(f->dir, "plain", &entry, &f->err), FIRN_OK);
    assert_true(entry.size == 5 && entry.links == 1);
    assert_int_equal(fs_look(f->dir, "nothing", &entry, &f->err), FIRN_NOT_FOUND);

    assert_int_equal(fs_dir_open_in(f->dir, "lost", true, &lost, &f->err), FIRN_OK);
    for (size_t i = 1; i < COUNT_OF(things); i++) {
        char moved[40];
        assert_int_equal(fs_move(f->dir, things[i].name, lost, things[i].name, &f->err), FIRN_OK);
        snprintf(moved, sizeof moved, "lost/%s", things[i].name);
        assert_false(exists(f, things[i].name));
        assert_true(exists(f, moved));
    }
    assert_int_equal(fs_move(f->dir, "nothing", lost, "x", &f->err), FIRN_NOT_FOUND);
    fs_dir_close(lost);
}

static void AFileWithASecondNameIsNotWrittenUnawares(void **state)
{
    fixture *f = *state;
    fs_entry entry;
    fs_close(create(f, "a", "x"));
    assert_int_equal(fs_link(f->dir, "a", f->dir, "b", &f->err), FIRN_OK);
    assert_int_equal(open_status(f, "a", FS_READ), FIRN_OK);
    assert_int_equal(open_status(f, "a", FS_WRITE), FIRN_INVALID);
    assert_int_equal(f->err.sys_errno, EMLINK);
    assert_non_null(strstr(f->err.message, "another name"));
    assert_int_equal(open_status(f, "a", FS_WRITE | FS_ANY_LINKS), FIRN_OK);
    assert_int_equal(fs_look(f->dir, "a", &entry, &f->err), FIRN_OK);
    assert_int_equal(entry.links, 2);
    assert_int_equal(unlink(path_of(f, "b")), 0);
    assert_int_equal(open_status(f, "a", FS_WRITE), FIRN_OK);
}

/* Not every file system knows its holes: then all of it may be data. */
static void HolesAreSkippedWhereTheSystemKnowsThem(void **state)
{
    fixture *f = *state;
    const uint64_t size = UINT64_C(1) << 40, at = UINT64_C(1) << 36;
    uint64_t start = 0, end = 0, looks = 0;
    fs_file *file = create(f, "sparse", "front");
    assert_int_equal(fs_truncate(file, size, &f->err), FIRN_OK);
    assert_int_equal(fs_write(file, "middle", 6, at, &f->err), FIRN_OK);
    bool front = false, middle = false;
    for (uint64_t from = 0; from < size; from = end, looks++) {
        assert_int_equal(fs_next_data(file, from, &start, &end, &f->err), FIRN_OK);
        assert_true(start >= from && end >= start && end <= size);
        front = front || (start == 0 && end >= 5);
        middle = middle || (start <= at && at + 6 <= end);
        if (start == size)
            break;
    }
    assert_true(front && middle && looks < 10);
    fs_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FS_TEST(WhatIsNoPlainFileIsListedAndToldAndMovedUnopened),
        FS_TEST(AFileWithASecondNameIsNotWrittenUnawares),
        FS_TEST(HolesAreSkippedWhereTheSystemKnowsThem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
