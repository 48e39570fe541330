/* repair_folder: makes way for a repair. A store consists of plain files, each with one name. What
 * else has one of its names was put there by another program or an attacker: it is moved to lost/,
 * neither opened nor followed. A file that has another name too gets bytes of its own before
 * anything is written into it.
 */
#include <base/error.h>
#include <string.h>
#include <wal/wal.h>

#include <tree/names.h>
#include "repair.h"

static bool is_ours(const char *name)
{
    uint64_t no;
    return strcmp(name, NAME_LOST) != 0 && name_parse(name, &no) != NAME_FOREIGN;
}

static void tell_aside(void *ctx, const char *name, const char *what, const char *moved)
{
    repair_note(ctx, name, "it is %s and no file of the store; it is now %s", what, moved);
}

int repair_clear_lock(repair *r)
{
    fs_entry entry;
    char moved[LOST_MOVED_BYTES];
    /* Where it cannot be looked at, locking will say why. */
    if (fs_look(r->db->dir, NAME_LOCK, &entry, NULL) != FIRN_OK || entry.kind == FS_KIND_FILE)
        return FIRN_OK;
    int rc = lost_set_aside(&r->lost, NAME_LOCK, moved, r->err);
    if (rc == FIRN_OK)
        tell_aside(r, NAME_LOCK, fs_kind_name(entry.kind), moved);
    return rc;
}

/* ---- Files with another name ---- */

typedef struct shared_names {
    fs_dir *dir;
    buf names; /* each of NAME_BYTES bytes */
} shared_names;

static int note_shared(void *ctx, const char *name)
{
    shared_names *s = ctx;
    uint64_t no;
    fs_entry entry;
    char copy[NAME_BYTES] = {0};
    bool written = name_parse(name, &no) == NAME_MANIFEST || wal_is_segment_name(name, &no);
    if (!written || fs_look(s->dir, name, &entry, NULL) != FIRN_OK || entry.kind != FS_KIND_FILE ||
        entry.links < 2)
        return FIRN_OK;
    memcpy(copy, name, strlen(name));
    return buf_append(&s->names, copy, sizeof copy);
}

static int unshare_files(repair *r)
{
    shared_names s = {.dir = r->db->dir};
    int rc = fs_dir_list(s.dir, note_shared, &s, r->err);
    for (size_t at = 0; rc == FIRN_OK && at < s.names.size; at += NAME_BYTES) {
        const char *name = (const char *)s.names.data + at;
        rc = lost_unshare(s.dir, name, r->err);
        if (rc == FIRN_OK)
            repair_note(r, name, "the file has another name: the store goes on with a copy");
    }
    buf_release(&s.names);
    return rc;
}

/* A reserve that is another file too would give no room back. */
static int clear_reserve(repair *r)
{
    fs_entry entry;
    char moved[LOST_MOVED_BYTES];
    int rc = fs_look(r->db->dir, WAL_RESERVE_NAME, &entry, NULL);
    if (rc != FIRN_OK || entry.links < 2)
        return FIRN_OK;
    rc = lost_set_aside(&r->lost, WAL_RESERVE_NAME, moved, r->err);
    if (rc == FIRN_OK)
        tell_aside(r, WAL_RESERVE_NAME, "a file with another name", moved);
    return rc;
}

int repair_clear_folder(repair *r)
{
    int rc = lost_set_odd_aside(&r->lost, is_ours, tell_aside, r, r->err);
    if (rc == FIRN_OK)
        rc = clear_reserve(r);
    if (rc == FIRN_OK)
        rc = unshare_files(r);
    if (rc == FIRN_OK)
        rc = lost_sync(&r->lost, r->err);
    return rc;
}
