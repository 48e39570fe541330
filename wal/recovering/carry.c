/* carry: what is not proven durable goes into a new file (README.md, "Recovery").
 *
 * After a write or a sync that failed, Linux may leave the blocks of that place unwritten for good:
 * the same bytes written again are seen by every reader, syncing them succeeds, and a power cut
 * takes them. Which files that has happened to, a later process cannot know. So nothing is written
 * again where it stands, and no sync of an old file is trusted. A segment that holds frames which
 * the log itself does not prove durable is copied: the same bytes under the same salt, in a new
 * file that is synced and then takes the old one's name. Whichever of the two a crash leaves, the
 * log says the same.
 *
 * Start reading at wal_repair_carry.
 */
#include "repair.h"

#include <base/alloc.h>
#include <base/error.h>
#include <base/grow.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)1 << 20)

/* ---- Files that this recovery has made ---- */

bool wal_repair_has_made(const wal_repair *r, uint64_t no)
{
    for (size_t i = 0; i < r->made_count; i++)
        if (r->made[i] == no)
            return true;
    return false;
}

int wal_repair_note_made(wal_repair *r, uint64_t no)
{
    if (wal_repair_has_made(r, no))
        return FIRN_OK;
    int rc = array_grow(&r->made, &r->made_capacity, r->made_count, sizeof no, r->err);
    if (rc == FIRN_OK)
        r->made[r->made_count++] = no;
    return rc;
}

/* ---- A copy ---- */

static int write_range(wal_repair *r, fs_file *file, const uint8_t *from, uint64_t at, uint64_t end)
{
    int rc = FIRN_OK;
    for (; at < end && rc == FIRN_OK; at += CHUNK_BYTES) {
        uint64_t left = end - at;
        rc = fs_write(file, from + at, left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES, at, r->err);
    }
    return rc;
}

/* Both copies of the header. */
static int write_header(wal_repair *r, fs_file *file, const wal_scanned *p, uint64_t bytes)
{
    uint8_t page[WAL_DATA_OFFSET] = {0};
    wal_header header = p->header;
    const wal_segment *s = p->segment;
    memcpy(page, s->base, s->base_bytes < sizeof page ? (size_t)s->base_bytes : sizeof page);
    header.segment_bytes = bytes;
    wal_header_encode(&header, page);
    wal_header_encode(&header, page + WAL_HEADER_COPY_OFFSET);
    return fs_write(file, page, sizeof page, 0, r->err);
}

static int fill_copy(wal_repair *r, fs_file *file, const wal_scanned *p, const wal_copy *copy)
{
    const wal_segment *s = p->segment;
    uint64_t end = copy->end < s->base_bytes ? copy->end : s->base_bytes;
    int rc = fs_allocate(file, copy->size ? copy->size : copy->bytes, r->err);
    if (rc == FIRN_OK)
        rc = write_header(r, file, p, copy->bytes);
    if (rc == FIRN_OK)
        rc = write_range(r, file, s->base, WAL_DATA_OFFSET, end);
    if (rc == FIRN_OK && copy->filling)
        rc = wal_repair_fill(r, file, p, copy->filling);
    return rc == FIRN_OK ? fs_sync(file, r->err) : rc;
}

int wal_repair_copy(wal_repair *r, const wal_scanned *p, const wal_copy *copy, fs_file **out)
{
    const char *name = p->segment->name;
    char temporary[WAL_NAME_BYTES + 4];
    fs_file *file = NULL;
    snprintf(temporary, sizeof temporary, "%s.new", name);
    int rc = fs_remove(r->dir, temporary, r->err);
    if (rc != FIRN_OK)
        return rc;
    rc = fs_open(r->dir, temporary, FS_WRITE | FS_CREATE_NEW, &file, r->err);
    if (rc != FIRN_OK)
        return rc;
    rc = fill_copy(r, file, p, copy);
    if (rc == FIRN_OK) /* the old file goes here, and nowhere else */
        rc = fs_rename_file(r->dir, temporary, name, file, r->err);
    if (rc == FIRN_OK)
        rc = wal_repair_note_made(r, p->segment->no);
    if (rc == FIRN_OK)
        rc = fs_dir_sync(r->dir, r->err);
    if (rc == FIRN_OK && out) {
        *out = file;
        return FIRN_OK;
    }
    fs_close(file);
    if (rc != FIRN_OK) /* its room is wanted; what stays, the next opening removes */
        (void)fs_unlink(r->dir, temporary, NULL);
    return rc;
}

/* ---- Carrying ---- */

/* Was the log closed behind this segment? Its file is cut only behind a synced SEAL. */
bool wal_repair_closed(const wal_scanned *p)
{
    return p->seal == WAL_SEAL_CLOSE && p->short_file;
}

/* Without room for a copy there is one way left: the frames are written and synced where they
 * stand, which is all that can be done unless a write into this very file has failed before. */
static int rewrite_in_place(wal_repair *r, const wal_scanned *p)
{
    const wal_segment *s = p->segment;
    uint8_t *chunk = heap_alloc(CHUNK_BYTES);
    if (!chunk)
        return error_no_memory(r->err);
    int rc = FIRN_OK;
    for (uint64_t at = WAL_DATA_OFFSET; at < s->end && rc == FIRN_OK; at += CHUNK_BYTES) {
        size_t n = s->end - at < CHUNK_BYTES ? (size_t)(s->end - at) : CHUNK_BYTES;
        memcpy(chunk, s->base + at, n); /* the source may be a mapping of the very file */
        rc = fs_write(s->file, chunk, n, at, r->err);
    }
    heap_free(chunk);
    return rc == FIRN_OK ? fs_sync(s->file, r->err) : rc;
}

/* The last segment is copied up to its end, and what its file was used for before stays behind; of
 * the others everything is. */
static int carry_one(wal_repair *r, const wal_scanned *p, bool is_last, bool mapped, bool proven)
{
    wal_segment *s = p->segment;
    fs_file *file = NULL;
    uint64_t end = p->limit_known ? p->limit : s->end;
    if (end > s->base_bytes)
        end = s->base_bytes;
    uint64_t least = wal_page_up(end) > WAL_SEGMENT_MIN ? wal_page_up(end) : WAL_SEGMENT_MIN;
    wal_copy copy = {.end = end, .size = s->bytes, .bytes = s->bytes};
    if (!is_last) { /* may have been cut shorter */
        copy.end = wal_segment_used_end(s, end, s->base_bytes);
        copy.size = s->base_bytes;
    }
    int rc = wal_repair_copy(r, p, &copy, &file);
    if (rc == FIRN_NO_SPACE) {
        copy = (wal_copy){.end = end, .size = least, .bytes = least};
        rc = wal_repair_copy(r, p, &copy, &file);
    }
    if (rc == FIRN_NO_SPACE && wal_reserve_spend(r->dir)) {
        r->tight = true;
        rc = wal_repair_copy(r, p, &copy, &file);
    }
    if (rc == FIRN_OK) {
        s->bytes = copy.bytes;
        return wal_segment_move(s, file, copy.size, copy.end, mapped, r->err);
    }
    if (rc != FIRN_NO_SPACE)
        return rc;
    error_clear(r->err);
    return proven ? FIRN_OK : rewrite_in_place(r, p);
}

int wal_repair_carry(wal_repair *r, size_t last, bool mapped)
{
    const wal_scan *scan = r->scan;
    /* W4: oldest first. Where a number was synced, or the log was closed, every segment before it
     * had been. */
    bool proven = false;
    int rc = FIRN_OK;
    for (size_t i = scan->count; i-- > 0 && rc == FIRN_OK;) {
        const wal_scanned *p = &scan->segments[i];
        if (p->part != WAL_PART_LIVE && i != last)
            continue;
        proven = proven || (i == last && wal_repair_closed(p));
        /* One intact copy of the header is not enough: the next bad sector would lose the
         * segment. */
        if (wal_repair_has_made(r, p->segment->no))
            p->segment->ours = true;
        else if (!proven || p->copies_ok != 2)
            rc = carry_one(r, p, i == last, mapped, proven);
        if (p->part == WAL_PART_LIVE && p->seq_first != 0 && p->seq_first <= scan->durable_seq)
            proven = true;
    }
    return rc;
}
