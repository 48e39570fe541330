/* crash_script: small scripts for the tests of the crash enumerator, and drawings of what they
 * leave.
 *
 * Scripts write whole sectors of one letter. A drawing shows every file with one letter a sector (0
 * for zeros, ? for what is neither zeros nor one letter repeated): "a=AB b=0". Include cmocka.h
 * first.
 */
#ifndef SUPPORT_CRASH_SCRIPT_H
#define SUPPORT_CRASH_SCRIPT_H

#include "support/crash.h"

#include <stdio.h>
#include <string.h>

#define SECTOR       512
#define DRAWING_SIZE 160

/* ---- Scripts ---- */

typedef struct script {
    simfs *sim;
    fs_dir *dir;
} script;

static inline script script_new(void)
{
    script s = {.sim = simfs_new(1)};
    assert_int_equal(fs_dir_open(simfs_fs(s.sim), "/", &s.dir, NULL), FIRN_OK);
    return s;
}

/* A file of one letter a sector that was there, durably, before the script. */
static inline void given(script *s, const char *name, const char *letters)
{
    uint8_t data[16 * SECTOR];
    for (size_t i = 0; i < strlen(letters); i++)
        memset(data + i * SECTOR, letters[i], SECTOR);
    simfs_write_file(s->sim, name, data, strlen(letters) * SECTOR);
}

static inline fs_file *create(script *s, const char *name)
{
    fs_file *f = NULL;
    assert_int_equal(fs_open(s->dir, name, FS_WRITE | FS_CREATE_NEW, &f, NULL), FIRN_OK);
    return f;
}

static inline fs_file *reopen(script *s, const char *name)
{
    fs_file *f = NULL;
    assert_int_equal(fs_open(s->dir, name, FS_WRITE, &f, NULL), FIRN_OK);
    return f;
}

static inline void write_letters(fs_file *f, size_t sector, const char *letters)
{
    uint8_t data[16 * SECTOR];
    for (size_t i = 0; i < strlen(letters); i++)
        memset(data + i * SECTOR, letters[i], SECTOR);
    assert_int_equal(fs_write(f, data, strlen(letters) * SECTOR, sector * SECTOR, NULL), FIRN_OK);
}

static inline void sync_file(fs_file *f)
{
    assert_int_equal(fs_sync(f, NULL), FIRN_OK);
}

static inline void sync_dir(script *s)
{
    assert_int_equal(fs_dir_sync(s->dir, NULL), FIRN_OK);
}

/* ---- Drawings ---- */

static inline char letter(const uint8_t *data, size_t size)
{
    for (size_t i = 1; i < size; i++) {
        if (data[i] != data[0])
            return '?';
    }
    return data[0] == 0 ? '0' : data[0] >= 'A' && data[0] <= 'Z' ? (char)data[0] : '?';
}

typedef struct drawing {
    simfs *sim;
    char *text; /* DRAWING_SIZE bytes */
} drawing;

static inline int draw_file(void *ctx, const char *path, uint64_t size)
{
    drawing *d = ctx;
    size_t used = strlen(d->text);
    used += (size_t)sprintf(d->text + used, "%s%s=", used ? " " : "", path);
    const uint8_t *data = simfs_peek(d->sim, path, &(size_t){0});
    for (uint64_t at = 0; at < size; at += SECTOR)
        d->text[used++] = letter(data + at, size - at < SECTOR ? (size_t)(size - at) : SECTOR);
    d->text[used] = '\0';
    return 0;
}

static inline void draw(simfs *sim, char text[DRAWING_SIZE])
{
    drawing d = {sim, text};
    text[0] = '\0';
    simfs_each(sim, "", draw_file, &d);
}

static inline void script_end(script *s, fs_file *f)
{
    fs_close(f);
    fs_dir_close(s->dir);
    assert_int_equal(simfs_open_count(s->sim), 0);
    simfs_free(s->sim);
}

#endif
