/* format: the log's bytes (wal/README.md, "The bytes"). Pure: bytes in, bytes out. */
#ifndef SEGMENTS_FORMAT_H
#define SEGMENTS_FORMAT_H

#include <base/hash.h>
#include <firn/types.h>

#define WAL_VERSION            1
#define WAL_HEADER_BYTES       128
#define WAL_HEADER_COPY_OFFSET 512
#define WAL_DATA_OFFSET        4096
#define WAL_FRAME_BYTES        40
#define WAL_PAGE_BYTES         4096
#define WAL_SECTOR_BYTES       512
#define WAL_SEGMENT_MIN        8192
#define WAL_SEGMENT_MAX        (UINT64_C(0x100000000) - 4096)

/* Room that appends leave at the end of a segment for its SEAL and what may stand before it. */
#define WAL_TAIL_RESERVE 256

/* A segment of this size keeps a page more, so that behind every frame there is one for a NOTE. */
#define WAL_NOTE_SEGMENT_MIN (UINT64_C(16) * WAL_PAGE_BYTES)
static inline uint64_t wal_tail_kept(uint64_t segment_bytes)
{
    return WAL_TAIL_RESERVE + (segment_bytes >= WAL_NOTE_SEGMENT_MIN ? WAL_PAGE_BYTES : 0);
}

/* Of the file WAL_RESERVE_NAME. */
#define WAL_RESERVE_BYTES (UINT64_C(64) << 10)

typedef struct wal_header {
    uint8_t store_id[16];
    uint64_t segment_no;
    uint64_t segment_bytes;
    uint64_t salt;
    uint32_t required, optional;
    uint32_t timeline;
    uint64_t created_us;
    uint8_t rest[48]; /* the bytes that this version gives no meaning: 0, and kept as they are */
} wal_header;

/* wal_header.optional: the file had an earlier use, whose bytes stand behind the frames. Its writer
 * keeps 40 zero bytes behind the newest frame, so that the end of the frames is told from a torn
 * one. */
enum { WAL_OPTIONAL_RECYCLED = 1 };

void wal_header_encode(const wal_header *h, uint8_t out[WAL_HEADER_BYTES]);
/* FIRN_OK, FIRN_DAMAGED, FIRN_UNSUPPORTED (intact, but a newer version or an unknown required
 * feature). */
int wal_header_decode(const uint8_t in[WAL_HEADER_BYTES], wal_header *out);

typedef enum wal_frame_type {
    WAL_DATA = 1,
    WAL_MARK = 2,
    WAL_CHECKPOINT = 3,
    WAL_LINK = 4,
    WAL_SEAL = 5,
    WAL_SKIP = 6,
    WAL_FLOOR = 7,
    WAL_RESTORE_POINT = 8,
    WAL_NOTE = 9, /* no part of the row of frames: see wal_note_offset */
} wal_frame_type;

enum { WAL_FLAG_OPTIONAL = 1 };

typedef struct wal_frame {
    uint8_t type;
    uint8_t flags;
    uint32_t payload_bytes;
    uint32_t payload_crc;
    uint32_t count;
    uint64_t seq_first;
    uint64_t durable_seq;
    uint64_t time_ms;
    uint32_t header_crc; /* filled in by encode and decode */
} wal_frame;

/* Bytes of a frame on disk: header, payload, padding. */
static inline uint64_t wal_frame_size(uint64_t payload_bytes)
{
    return (WAL_FRAME_BYTES + payload_bytes + 7) & ~UINT64_C(7);
}

void wal_frame_encode(wal_frame *f, uint64_t salt, uint64_t offset, uint8_t out[WAL_FRAME_BYTES]);

/* Where the NOTE of frames that end at `end` stands: in a page, and so in a sector, that holds none
 * of them, behind the zeros that mark the end. Without a page left, in the next sector of 512
 * bytes. 0: there is no room. The frames that come next take its place. */
static inline uint64_t wal_note_offset(uint64_t end, uint64_t segment_bytes)
{
    uint64_t behind = end + WAL_FRAME_BYTES;
    uint64_t page = (behind + WAL_PAGE_BYTES - 1) & ~(uint64_t)(WAL_PAGE_BYTES - 1);
    uint64_t sector = (behind + WAL_SECTOR_BYTES - 1) & ~(uint64_t)(WAL_SECTOR_BYTES - 1);
    if (page + WAL_FRAME_BYTES <= segment_bytes)
        return page;
    return sector + WAL_FRAME_BYTES <= segment_bytes ? sector : 0;
}

typedef enum wal_verdict {
    WAL_FRAME_OK,
    WAL_FRAME_EMPTY, /* 40 zero bytes, or less than that left */
    WAL_FRAME_BAD_HEADER,
    WAL_FRAME_BAD_LENGTH,  /* the header is intact, but the frame does not fit what is left */
    WAL_FRAME_BAD_PAYLOAD, /* header intact; payload or padding is not */
} wal_verdict;

/* Judges the bytes at `at`, which lie at `offset` of a segment with this salt and have `available`
 * bytes behind them. *out is filled in for every verdict but EMPTY and BAD_HEADER. */
wal_verdict wal_frame_decode(const uint8_t *at, uint64_t available, uint64_t salt, uint64_t offset,
                             wal_frame *out);

static inline uint64_t wal_chain_next(uint64_t chain, uint32_t header_crc)
{
    return mix64(chain ^ header_crc);
}

typedef struct wal_link {
    uint64_t prev_no, prev_end, prev_chain, floor_seq, life, seq_first;
    bool reopened; /* in the middle of a segment, by a later life */
    bool stand_in; /* the segment stands in for lost ones; the next LINK is not held against it */
} wal_link;
#define WAL_LINK_BYTES 56
void wal_link_encode(const wal_link *l, uint8_t out[WAL_LINK_BYTES]);
int wal_link_decode(firn_slice payload, wal_link *out); /* FIRN_OK or FIRN_DAMAGED */

enum { WAL_SEAL_ROTATION = 1, WAL_SEAL_CLOSE = 2 };
typedef struct wal_seal {
    uint64_t chain, frames;
    uint32_t kind;
} wal_seal;
#define WAL_SEAL_BYTES 24
void wal_seal_encode(const wal_seal *s, uint8_t out[WAL_SEAL_BYTES]);
int wal_seal_decode(firn_slice payload, wal_seal *out);

enum { WAL_SKIP_SEEN = 1, WAL_SKIP_LOST = 2 };
/* Flag of a SKIP in the place of a LINK: that of a segment that stands in for others. */
enum { WAL_SKIP_STAND_IN = 1 };

/* "000000000001.wal"; ".wal.new" while it is being made. */
#define WAL_NAME_BYTES 32
void wal_name_format(uint64_t segment_no, char out[WAL_NAME_BYTES]);
bool wal_name_parse(const char *name, uint64_t *segment_no); /* exactly the strict form */
bool wal_name_is_temporary(const char *name);
#define WAL_MAGIC_BYTES 8
bool wal_magic_is(const uint8_t bytes[WAL_MAGIC_BYTES]); /* those a segment begins with? */

#endif
