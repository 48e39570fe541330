/* fs_folder: what tests of the real file system stand on. Each test has a fresh folder, which tear_down removes. */
#ifndef TESTS_BASE_FS_FOLDER_H
#define TESTS_BASE_FS_FOLDER_H

#include "check.h"

#include <base/error.h>
#include <base/fs.h>
#include <support/tempdir.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct fixture {
    char *path;
    fs_dir *dir; /* of that path, open */
    firn_error err;
} fixture;

static inline int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->path = tempdir_new();
    error_clear(&f->err);
    assert_int_equal(fs_dir_open(fs_posix(), f->path, &f->dir, &f->err), FIRN_OK);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    fixture *f = *state;
    fs_dir_close(f->dir);
    tempdir_remove(f->path);
    free(f);
    return 0;
}

/* Valid until the next call. */
static inline const char *path_of(const fixture *f, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return path;
}

/* A new file with these contents, open for writing. */
static inline fs_file *create(fixture *f, const char *name, const char *contents)
{
    fs_file *file = NULL;
    assert_int_equal(fs_open(f->dir, name, FS_WRITE | FS_CREATE_NEW, &file, &f->err), FIRN_OK);
    assert_int_equal(fs_write(file, contents, strlen(contents), 0, &f->err), FIRN_OK);
    return file;
}

static inline int open_status(fixture *f, const char *name, unsigned flags)
{
    fs_file *file = NULL;
    int rc = fs_open(f->dir, name, flags, &file, &f->err);
    fs_close(file);
    return rc;
}

static inline bool exists(const fixture *f, const char *name)
{
    struct stat st;
    return lstat(path_of(f, name), &st) == 0;
}

#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
