/* files: the folder lost/, and segments that are written in one piece (README.md,
 * "Recovery"). Every function leaves the folder in a state from which recovery can start again
 * (W9). */
#include "repair.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/checksum.h>
#include <base/coding.h>
#include <base/error.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 << 10)

enum { FLOOR_FRAME_BYTES = WAL_FRAME_BYTES + 8 };

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- lost/ ---- */

static void lost_beginning(uint64_t segment_no, uint64_t offset, char out[48])
{
    snprintf(out, 48, "%012llu-%llu", (unsigned long long)segment_no, (unsigned long long)offset);
}

static int next_lost_name(wal_repair *r, uint64_t segment_no, uint64_t offset,
                          char name[FS_NAME_MAX + 1])
{
    char beginning[48];
    lost_beginning(segment_no, offset, beginning);
    return lost_name(&r->lost, beginning, name, r->err);
}

int wal_repair_save_range(wal_repair *r, const wal_scanned *p, uint64_t from, uint64_t to)
{
    const wal_segment *s = p->segment;
    to = min_u64(to, s->base_bytes);
    if (from >= to)
        return FIRN_OK;
    char name[FS_NAME_MAX + 1];
    int rc = next_lost_name(r, s->no, from, name);
    if (rc != FIRN_OK)
        return rc;
    fs_file *file;
    rc = fs_open(r->lost.dir, name, FS_WRITE | FS_CREATE_NEW, &file, r->err);
    if (rc != FIRN_OK)
        return rc;
    for (uint64_t at = from; at < to && rc == FIRN_OK; at += CHUNK_BYTES)
        rc = fs_write(file, s->base + at, (size_t)min_u64(CHUNK_BYTES, to - at), at - from, r->err);
    if (rc == FIRN_OK)
        rc = fs_sync(file, r->err);
    fs_close(file);
    if (rc == FIRN_OK)
        r->cut_bytes += to - from;
    else
        (void)fs_unlink(r->lost.dir, name,
                        NULL); /* a part of a copy is none, and the room is wanted */
    return rc;
}

/* A second name for a file that is none of the log's: it may be of any size. */
static int keep_foreign(wal_repair *r, const wal_scanned *p)
{
    char beginning[48];
    if (p->file_bytes == 0)
        return FIRN_OK;
    lost_beginning(p->segment->no, 0, beginning);
    int rc = lost_keep_as(&r->lost, p->segment->name, beginning, r->err);
    if (rc == FIRN_OK)
        r->cut_bytes += p->file_bytes;
    return rc;
}

/* A copy; or, where there is no room for one, a second name for the file, since the first one is
 * about to go. (A copy is better: should this recovery be given up, the log may go on in this very
 * file.) */
int wal_repair_save_file(wal_repair *r, const wal_scanned *p)
{
    const wal_segment *s = p->segment;
    if (p->part == WAL_PART_HEADLESS || p->part == WAL_PART_WRONG)
        return keep_foreign(r, p);
    uint64_t used = wal_segment_used_end(s, 0, s->base_bytes);
    if (used == 0)
        return FIRN_OK;
    int rc = wal_repair_save_range(r, p, 0, used);
    if (rc != FIRN_NO_SPACE || !r->tight)
        return rc;
    rc = lost_keep(&r->lost, s->name, r->err);
    if (rc == FIRN_OK)
        r->cut_bytes += used;
    return rc;
}

bool wal_repair_worth_saving(const wal_scanned *p)
{
    switch (p->part) {
    case WAL_PART_LIVE:
    case WAL_PART_HEADLESS:
    case WAL_PART_WRONG:
        return true;
    case WAL_PART_UNUSED: /* may have got a first group that did not survive */
        return wal_segment_used_end(p->segment, WAL_DATA_OFFSET, p->limit) > WAL_DATA_OFFSET;
    case WAL_PART_TRUNCATED:
    case WAL_PART_SUPERSEDED:
        break;
    }
    return false;
}

int wal_repair_saved(wal_repair *r)
{
    return lost_sync(&r->lost, r->err);
}

/* ---- Frames ---- */

static uint64_t now_ms(const wal_repair *r)
{
    return fs_wall_us(r->dir->owner) / 1000;
}

static uint32_t crc_of_zeros(uint32_t crc, uint64_t size)
{
    static const uint8_t zeros[4096];
    while (size > 0) {
        uint64_t n = min_u64(size, sizeof zeros);
        crc = crc32_update(crc, zeros, (size_t)n);
        size -= n;
    }
    return crc;
}

/* Nothing that can be written would make such a log whole again. */
static int no_remedy(wal_repair *r)
{
    error_hint(r->err, "restore from a backup; this damage cannot be repaired");
    return FIRN_DAMAGED;
}

/* A SKIP that fills [offset, end): 40 bytes or more. Behind reason and flags, all is zero. */
static uint64_t encode_skip(const wal_repair *r, uint64_t salt, uint64_t offset, uint64_t end,
                            uint32_t flags, wal_frame *f, uint8_t out[WAL_FRAME_BYTES + 8])
{
    uint8_t reason[8];
    memset(out, 0, WAL_FRAME_BYTES + 8);
    put_u32(reason, WAL_SKIP_LOST);
    put_u32(reason + 4, flags);
    f->type = WAL_SKIP;
    f->time_ms = now_ms(r);
    f->payload_bytes = (uint32_t)(end - offset - WAL_FRAME_BYTES);
    f->payload_crc = 0;
    if (f->payload_bytes > 0) {
        memcpy(out + WAL_FRAME_BYTES, reason, sizeof reason);
        f->payload_crc =
            crc_of_zeros(crc32_update(0, reason, sizeof reason), f->payload_bytes - sizeof reason);
    }
    wal_frame_encode(f, salt, offset, out);
    return f->payload_bytes > 0 ? WAL_FRAME_BYTES + 8 : WAL_FRAME_BYTES;
}

static int fill_with_floor(wal_repair *r, fs_file *file, const wal_scanned *p, uint64_t offset,
                           uint64_t seq, uint64_t floor_seq)
{
    uint8_t bytes[FLOOR_FRAME_BYTES];
    uint8_t *payload = bytes + WAL_FRAME_BYTES;
    put_u64(payload, floor_seq);
    wal_frame f = {
        .type = WAL_FLOOR,
        .payload_bytes = 8,
        .payload_crc = crc32_update(0, payload, 8),
        .seq_first = seq,
        .durable_seq = min_u64(r->scan->durable_seq, seq - 1),
        .time_ms = now_ms(r),
    };
    wal_frame_encode(&f, p->segment->salt, offset, bytes);
    return fs_write(file, bytes, sizeof bytes, offset, r->err);
}

int wal_repair_zero(fs_file *file, uint64_t from, uint64_t to, firn_error *err)
{
    static const uint8_t zeros[4096];
    int rc = FIRN_OK;
    for (uint64_t at = from; at < to && rc == FIRN_OK; at += sizeof zeros)
        rc = fs_write(file, zeros, (size_t)min_u64(sizeof zeros, to - at), at, err);
    return rc;
}

int wal_repair_fill(wal_repair *r, fs_file *file, const wal_scanned *p, const wal_filling *filling)
{
    uint64_t offset = filling->offset;
    uint64_t end = filling->end - (filling->floor_seq ? FLOOR_FRAME_BYTES : 0);
    uint64_t count = filling->seq_next - filling->seq_first;
    assert(offset % 8 == 0 && end % 8 == 0 && end >= offset + WAL_FRAME_BYTES);
    assert(filling->seq_next >= filling->seq_first && filling->floor_seq < filling->seq_next);
    if (count > UINT32_MAX) {
        error_file(r->err, FIRN_DAMAGED, file->path, offset,
                   "%llu numbers are missing at one place, more than can be skipped",
                   (unsigned long long)count);
        return no_remedy(r);
    }
    uint8_t head[WAL_FRAME_BYTES + 8];
    wal_frame f = {
        .count = (uint32_t)count,
        .seq_first = filling->seq_first,
        .durable_seq = min_u64(r->scan->durable_seq, filling->seq_first - 1),
    };
    uint64_t used = encode_skip(r, p->segment->salt, offset, end, filling->flags, &f, head);
    int rc = FIRN_OK;
    if (filling->floor_seq)
        rc = fill_with_floor(r, file, p, end, filling->seq_next, filling->floor_seq);
    if (rc == FIRN_OK)
        rc = wal_repair_zero(file, offset + used, end, r->err);
    if (rc == FIRN_OK)
        rc = fs_write(file, head, (size_t)used, offset, r->err);
    return rc;
}

/* ---- Whole segments ---- */

typedef struct maker {
    uint8_t *page; /* of WAL_PAGE_BYTES, from WAL_DATA_OFFSET on */
    uint64_t used;
    uint64_t salt, chain, frames, seq, durable_seq, time_ms;
} maker;

static void maker_add(maker *m, uint8_t type, const void *payload, size_t size, uint32_t count)
{
    assert(m->used + wal_frame_size(size) <= WAL_PAGE_BYTES);
    wal_frame f = {
        .type = type,
        .payload_bytes = (uint32_t)size,
        .payload_crc = crc32_update(0, payload, size),
        .count = count,
        .seq_first = m->seq,
        .durable_seq = m->durable_seq,
        .time_ms = m->time_ms,
    };
    memcpy(m->page + m->used + WAL_FRAME_BYTES, payload, size);
    wal_frame_encode(&f, m->salt, WAL_DATA_OFFSET + m->used, m->page + m->used);
    m->chain = wal_chain_next(m->chain, f.header_crc);
    m->frames++;
    m->used += wal_frame_size(size);
    m->seq += count;
}

/* The page of frames. FIRN_DAMAGED when there are more numbers than its SKIPs can use up. */
static int make_frames(wal_repair *r, const wal_made *made, maker *m)
{
    uint8_t payload[WAL_LINK_BYTES];
    wal_link_encode(&made->link, payload);
    maker_add(m, WAL_LINK, payload, WAL_LINK_BYTES, 0);
    put_u32(payload, made->reason);
    while (m->seq < made->seq_next) {
        if (m->used > WAL_PAGE_BYTES / 2) {
            error_file(r->err, FIRN_DAMAGED, r->dir->path, FIRN_NO_OFFSET,
                       "numbers %llu to %llu are missing, more than can be skipped",
                       (unsigned long long)made->link.seq_first,
                       (unsigned long long)(made->seq_next - 1));
            return no_remedy(r);
        }
        maker_add(m, WAL_SKIP, payload, 4, (uint32_t)min_u64(made->seq_next - m->seq, UINT32_MAX));
    }
    if (made->sealed) {
        wal_seal seal = {.chain = m->chain, .frames = m->frames, .kind = WAL_SEAL_ROTATION};
        wal_seal_encode(&seal, payload);
        maker_add(m, WAL_SEAL, payload, WAL_SEAL_BYTES, 0);
    }
    return FIRN_OK;
}

static uint64_t full_size(const wal_repair *r)
{
    uint64_t bytes = wal_page_up(r->config->options.segment_bytes);
    if (bytes < WAL_SEGMENT_MIN || r->tight)
        return WAL_SEGMENT_MIN;
    return min_u64(bytes, WAL_SEGMENT_MAX);
}

/* The first two pages of the file: header, frames. */
static int make_pages(wal_repair *r, const wal_made *made, wal_header *header, uint8_t *pages)
{
    static const uint8_t none[16];
    *header = (wal_header){
        .segment_no = made->no,
        .segment_bytes = made->sealed ? WAL_SEGMENT_MIN : full_size(r),
        .created_us = fs_wall_us(r->dir->owner),
    };
    memcpy(header->store_id, r->scan->store_id, sizeof header->store_id);
    for (size_t i = 0; i < r->scan->count; i++)
        if (r->scan->segments[i].part == WAL_PART_LIVE)
            header->timeline = r->scan->segments[i].header.timeline;
    fs *f = r->dir->owner;
    int rc = fs_random(f, &header->salt, sizeof header->salt, r->err);
    if (rc == FIRN_OK && memcmp(header->store_id, none, sizeof none) == 0)
        rc = fs_random(f, header->store_id, sizeof header->store_id, r->err);
    if (rc != FIRN_OK)
        return rc;
    wal_header_encode(header, pages);
    wal_header_encode(header, pages + WAL_HEADER_COPY_OFFSET);
    maker m = {
        .page = pages + WAL_DATA_OFFSET,
        .salt = header->salt,
        .chain = header->salt,
        .seq = made->link.seq_first,
        .durable_seq = min_u64(r->scan->durable_seq, made->link.seq_first - 1),
        .time_ms = now_ms(r),
    };
    return make_frames(r, made, &m);
}

int wal_repair_make(wal_repair *r, const wal_made *made)
{
    char name[WAL_NAME_BYTES];
    char temporary[WAL_NAME_BYTES + 4];
    wal_name_format(made->no, name);
    if (made->no > WAL_SEGMENT_NO_MAX) {
        error_file(r->err, FIRN_DAMAGED, r->dir->path, FIRN_NO_OFFSET,
                   "segment numbers are used up: the newest file is number %llu",
                   (unsigned long long)(made->no - 1));
        return no_remedy(r);
    }
    snprintf(temporary, sizeof temporary, "%s.new", name);

    fs_file *file = NULL;
    wal_header header;
    uint8_t *pages = heap_zalloc(2 * WAL_PAGE_BYTES);
    if (!pages)
        return error_no_memory(r->err);
    int rc = make_pages(r, made, &header, pages);
    if (rc != FIRN_OK)
        goto done;
    rc = fs_remove(r->dir, temporary, r->err);
    if (rc != FIRN_OK)
        goto done;
    rc = fs_open(r->dir, temporary, FS_WRITE | FS_CREATE_NEW, &file, r->err);
    if (rc == FIRN_OK)
        rc = fs_allocate(file, header.segment_bytes, r->err);
    if (rc == FIRN_OK)
        rc = fs_write(file, pages, 2 * WAL_PAGE_BYTES, 0, r->err);
    if (rc == FIRN_OK)
        rc = fs_sync(file, r->err);
    if (rc == FIRN_OK) /* the commit point, once the folder has been synced */
        rc = fs_rename_file(r->dir, temporary, name, file, r->err);
    if (rc == FIRN_OK)
        rc = wal_repair_note_made(r, made->no);
    if (rc == FIRN_OK)
        rc = fs_dir_sync(r->dir, r->err);
done:
    fs_close(file);
    heap_free(pages);
    return rc;
}
