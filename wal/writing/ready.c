/* ready: segments that are made ahead of their use, and used again after it (README.md, W3 and
 * W7).
 *
 * Making a segment:
 *     000000000007.wal.new   full size, header written twice, synced
 *     000000000007.wal       renamed, folder synced: only now may a frame go in
 * A crash in between leaves a temporary file, which recovery removes, or an empty segment, which it
 * knows.
 *
 * A truncated segment comes back as a spare when its last reference is gone: it keeps its
 * blocks and its mapping, gets a new header with a new salt, and no frame of its former life
 * passes.
 *
 * Locks: making while a segment is made, log_mu for moments, recycler_mu innermost.
 */
#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

#define TEMPORARY_NAME_BYTES (WAL_NAME_BYTES + 4)

static void temporary_name(uint64_t no, char out[TEMPORARY_NAME_BYTES])
{
    char name[WAL_NAME_BYTES];
    wal_name_format(no, name);
    snprintf(out, TEMPORARY_NAME_BYTES, "%s.new", name);
}

/* ---- After its use ---- */

/* Not one that stems from an earlier life: a write into its file may have failed then, and what is
 * written there again may never be durable. */
static bool fits_again(const wal *w, const wal_segment *s)
{
    return s->ours && s->mapped == w->mapped && s->base_bytes == s->bytes &&
           s->bytes == w->config.options.segment_bytes;
}

int wal_segment_give_up(wal *w, wal_segment *s, firn_error *err)
{
    int rc;
    uint64_t given_up;
    if (fits_again(w, s) && wal_recycler_expect(w->recycler, s, &given_up)) {
        char temporary[TEMPORARY_NAME_BYTES];
        if (given_up) {
            temporary_name(given_up, temporary);
            (void)fs_unlink(w->dir, temporary, NULL); /* best effort: recovery removes it, too */
        }
        temporary_name(s->no, temporary);
        rc = fs_rename(w->dir, s->name, temporary, err);
        if (rc == FIRN_OK) {
            /* We hold a reference, so no thread looks at `recycler` before ours is gone. */
            atomic_fetch_add_explicit(&w->recycler->refs, 1, memory_order_relaxed);
            s->recycler = w->recycler;
        } else {
            wal_recycler_forget(w->recycler, s);
        }
    } else {
        rc = fs_remove(w->dir, s->name, err);
    }
    wal_segment_unref(s);
    return rc;
}

/* ---- Making a segment ---- */

/* The first two pages: both copies of the header, and zeros over whatever a former life left there,
 * also where the first frame will stand: an empty segment must not look as if one had been torn. */
static void fill_pages(const wal_header *header, uint8_t pages[WAL_DATA_OFFSET + WAL_PAGE_BYTES])
{
    memset(pages, 0, WAL_DATA_OFFSET + WAL_PAGE_BYTES);
    wal_header_encode(header, pages);
    memcpy(pages + WAL_HEADER_COPY_OFFSET, pages, WAL_HEADER_BYTES);
}

static int header_init(wal *w, uint64_t no, uint64_t bytes, wal_header *out, firn_error *err)
{
    *out = (wal_header){
        .segment_no = no,
        .segment_bytes = bytes,
        .created_us = fs_wall_us(w->fs),
    };
    memcpy(out->store_id, w->store_id, sizeof out->store_id);
    return fs_random(w->fs, &out->salt, sizeof out->salt, err);
}

/* Gives the file its name, durably. */
static int give_name(wal *w, fs_file *file, const char *temporary, const char *name,
                     firn_error *err)
{
    int rc = fs_rename_file(w->dir, temporary, name, file, err);
    if (rc != FIRN_OK)
        return rc;
    rc = fs_dir_sync(w->dir, err);
    if (rc != FIRN_OK)
        (void)fs_unlink(w->dir, name, NULL); /* best effort: an empty segment does no harm */
    return rc;
}

static int make_from_spare(wal *w, wal_segment *s, const wal_header *header, firn_error *err)
{
    char temporary[TEMPORARY_NAME_BYTES];
    temporary_name(s->no, temporary);
    char name[WAL_NAME_BYTES];
    wal_name_format(header->segment_no, name);
    uint8_t pages[WAL_DATA_OFFSET + WAL_PAGE_BYTES];
    wal_header stale_behind = *header;
    stale_behind.optional |= WAL_OPTIONAL_RECYCLED;
    fill_pages(&stale_behind, pages);
    fs_entry entry;
    int rc = fs_look(w->dir, temporary, &entry, err);
    if (rc == FIRN_OK && entry.links != 1) /* a backup keeps it under another name, as it is */
        rc = FIRN_INVALID;
    /* The rest of the file may be what was stored in its former use and never synced: it need
     * not reach the disk. */
    if (rc == FIRN_OK)
        rc = fs_write_durable(s->file, pages, sizeof pages, 0, err);
    if (rc == FIRN_OK && !s->mapped)
        memset(s->base, 0, WAL_DATA_OFFSET + WAL_PAGE_BYTES);
    if (rc == FIRN_OK)
        rc = give_name(w, s->file, temporary, name, err);
    if (rc != FIRN_OK) {
        (void)fs_unlink(w->dir, temporary, NULL); /* best effort: recovery removes it, too */
        wal_segment_free(s);
        return rc;
    }
    atomic_store_explicit(&s->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&s->files, 1, memory_order_relaxed);
    s->no = header->segment_no;
    s->salt = header->salt;
    memcpy(s->name, name, sizeof name);
    s->chain = header->salt;
    s->end = WAL_DATA_OFFSET;
    s->frames = 0;
    s->note = 0;
    s->recycled = true;
    mutex_not_shared(&w->log_mu); /* a spare: no list of the log has it */
    s->synced = false;
    s->recycler = NULL;
    s->prewritten = s->bytes;
    atomic_store_explicit(&s->visible_end, WAL_DATA_OFFSET, memory_order_relaxed);
    atomic_store_explicit(&s->populated, 0, memory_order_relaxed);
    return FIRN_OK;
}

static int make_new(wal *w, const wal_header *header, wal_segment **out, firn_error *err)
{
    uint8_t pages[WAL_DATA_OFFSET + WAL_PAGE_BYTES];
    char temporary[TEMPORARY_NAME_BYTES], name[WAL_NAME_BYTES];
    temporary_name(header->segment_no, temporary);
    wal_name_format(header->segment_no, name);
    fs_file *file = NULL;
    wal_segment *s = NULL;
    int rc = fs_remove(w->dir, temporary, err); /* left by an attempt that failed */
    if (rc != FIRN_OK)
        return rc;
    rc = fs_open(w->dir, temporary, FS_WRITE | FS_CREATE_NEW, &file, err);
    if (rc != FIRN_OK)
        return rc;
    rc = fs_allocate(file, header->segment_bytes, err);
    fill_pages(header, pages);
    if (rc == FIRN_OK)
        rc = fs_write(file, pages, sizeof pages, 0, err);
    if (rc == FIRN_OK)
        rc = fs_sync(file, err);
    if (rc == FIRN_OK)
        rc = wal_segment_new(file, header, w->mapped, &s, err);
    if (rc == FIRN_OK)
        rc = give_name(w, file, temporary, name, err);
    if (rc == FIRN_OK) {
        *out = s;
        return FIRN_OK;
    }
    (void)fs_unlink(w->dir, temporary, NULL); /* best effort: recovery removes it, too */
    if (s)
        wal_segment_free(s);
    else
        fs_close(file);
    return rc;
}

int wal_segment_make(wal *w, uint64_t no, uint64_t bytes, wal_segment **out, firn_error *err)
{
    wal_header header;
    if (no > WAL_SEGMENT_NO_MAX) {
        error_file(err, FIRN_TOO_LARGE, w->dir->path, FIRN_NO_OFFSET,
                   "the log has used up its segment numbers (%llu)",
                   (unsigned long long)WAL_SEGMENT_NO_MAX);
        error_hint(err, "copy what is in it to a new log");
        return FIRN_TOO_LARGE;
    }
    /* Another writer may have a segment of that name by now. */
    int rc = wal_check_held(w, err);
    if (rc == FIRN_OK)
        rc = header_init(w, no, bytes, &header, err);
    if (rc != FIRN_OK)
        return rc;
    if (bytes == w->config.options.segment_bytes) {
        wal_segment *spare = wal_recycler_pop(w->recycler);
        if (spare) {
            /* A spare that fails is gone; a new file may still do. */
            rc = make_from_spare(w, spare, &header, NULL);
            if (rc == FIRN_OK) {
                *out = spare;
                return FIRN_OK;
            }
        }
    }
    rc = make_new(w, &header, out, err);
    if (error_curable(rc)) {
        char then[128];
        snprintf(then, sizeof then,
                 ": the log needs %llu bytes for its next segment, and goes on by itself",
                 (unsigned long long)bytes);
        error_hint_curable(err, then);
    }
    return rc;
}

int wal_ready_ensure(wal *w, uint64_t no, uint64_t bytes, firn_error *err)
{
    mutex_lock(&w->log_mu);
    wal_segment *old = w->ready;
    mutex_unlock(&w->log_mu);
    if (old && old->bytes >= bytes)
        return FIRN_OK;
    wal_segment *made;
    int rc = wal_segment_make(w, no, bytes, &made, err);
    if (rc != FIRN_OK) {
        /* The new file may have taken the name of one that was too small, and be gone again: what
         * would be appended to the old one, nothing would find. */
        if (old) {
            mutex_lock(&w->log_mu);
            w->ready = NULL;
            mutex_unlock(&w->log_mu);
            wal_segment_unref(old);
        }
        return rc;
    }
    if (!w->reserved && bytes >= w->config.options.segment_bytes)
        w->reserved =
            wal_reserve_make(w->dir, NULL) == FIRN_OK; /* else the next segment tries again */
    mutex_lock(&w->log_mu);
    w->ready = made;
    mutex_unlock(&w->log_mu);
    /* One that was too small: its name belongs to the new one already. */
    wal_segment_unref(old);
    return FIRN_OK;
}

int wal_prepare_successor(wal *w, firn_error *err)
{
    int rc = wal_check_writable(w, err);
    if (rc != FIRN_OK)
        return rc;
    mutex_lock(&w->making);
    rc = wal_ready_ensure(w, w->current->no + 1, w->config.options.segment_bytes, err);
    mutex_unlock(&w->making);
    return rc;
}

int wal_ready_release(wal *w, firn_error *err)
{
    char names[2 * WAL_SPARES_MAX + 1][TEMPORARY_NAME_BYTES];
    size_t count = 0;
    mutex_lock(&w->log_mu);
    wal_segment *ready = w->ready;
    w->ready = NULL;
    mutex_unlock(&w->log_mu);
    if (ready)
        memcpy(names[count++], ready->name, sizeof ready->name);
    wal_segment_unref(ready);

    uint64_t nos[WAL_SPARES_MAX];
    unsigned spares = wal_recycler_close(w->recycler, nos);
    for (unsigned i = 0; i < spares; i++)
        temporary_name(nos[i], names[count++]);

    int rc = FIRN_OK;
    for (size_t i = 0; i < count && !atomic_load(&w->poisoned); i++) {
        int one = fs_remove(w->dir, names[i], rc == FIRN_OK ? err : NULL);
        if (rc == FIRN_OK)
            rc = one;
    }
    return rc;
}
