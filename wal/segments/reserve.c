/* reserve: room on the disk that is kept for opening the log (README.md, "A full disk").
 *
 * A process may die on a full disk, and the next process must be able to open the log: to
 * save and cut a torn tail, and to have a segment for what the next writer will want. For that a
 * small file is kept which nothing else uses. Opening gives it up when it finds no room, and goes
 * on with as little as it can; it is made again when there is room.
 *
 * Start reading at wal_reserve_spend's callers: settle() in recovering/recover.c,
 * choose_current() in writing/open.c.
 */
#include <base/error.h>
#include <segments/segment.h>

int wal_reserve_make(fs_dir *dir, firn_error *err)
{
    fs_file *file = NULL;
    uint64_t size = 0;
    firn_error found;
    int rc = fs_open(dir, WAL_RESERVE_NAME, FS_WRITE, &file, &found);
    if (rc == FIRN_NOT_FOUND)
        rc = fs_open(dir, WAL_RESERVE_NAME, FS_WRITE | FS_CREATE_NEW, &file, &found);
    if (rc != FIRN_OK)
        return error_give(err, rc, &found);
    if (fs_size(file, &size, NULL) == FIRN_OK && size >= WAL_RESERVE_BYTES) {
        fs_close(file);
        return FIRN_OK;
    }
    rc = fs_allocate(file, WAL_RESERVE_BYTES, err);
    if (rc == FIRN_OK)
        rc = fs_sync(file, err);
    fs_close(file);
    if (rc == FIRN_OK)
        rc = fs_dir_sync(dir, err);
    else
        (void)fs_unlink(dir, WAL_RESERVE_NAME, NULL); /* half of a reserve is none */
    return rc;
}

bool wal_reserve_spend(fs_dir *dir)
{
    fs_entry entry;
    if (fs_look(dir, WAL_RESERVE_NAME, &entry, NULL) != FIRN_OK || entry.kind != FS_KIND_FILE ||
        entry.links != 1)
        /* something else, or a file that is kept elsewhere too: no room would come of it */
        return false;
    /* The sync makes the blocks free for others: until then a journal may hold them back. */
    return fs_unlink(dir, WAL_RESERVE_NAME, NULL) == FIRN_OK && fs_dir_sync(dir, NULL) == FIRN_OK;
}
