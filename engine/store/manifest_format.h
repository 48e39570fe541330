/* manifest_format: what the writer (manifest.c) and the reader (manifest_read.c) of a manifest
 * share. The bytes:
 *
 *   header   0   8  magic 89 'f' 'i' 'r' 'n' 'm' 'a' 'n'
 *            8   4  format version, 1
 *           12   4  required features (unknown bit: refuse)
 *           16  16  store id
 *           32   8  manifest number (equals the name)
 *           40   4  timeline
 *           44   4  optional features
 *           48   8  salt: a random number, so that no record of another manifest passes
 *           56   4  zero
 *           60   4  CRC-32 of bytes 0..59
 *   record   0   4  CRC-32 of bytes 4.. to the end of the payload, the salt (8), the file offset
 *                   (8): what another manifest or another place left on the disk does not pass
 *            4   4  payload bytes
 *            8   8  record number, from 0
 *           16   -  payload: items, each {varint tag, varint length, body}; a tag >= 128 that a
 *                   reader does not know may be skipped; then zeros to a multiple of 8
 */
#ifndef ENGINE_MANIFEST_FORMAT_H
#define ENGINE_MANIFEST_FORMAT_H

#include <base/checksum.h>
#include <base/coding.h>

#define MANIFEST_HEADER_BYTES 64
#define MANIFEST_RECORD_BYTES 16
#define MANIFEST_VERSION      1
#define MANIFEST_MAGIC                                                                             \
    "\x89"                                                                                         \
    "firnman" /* 8 bytes */
/* Far beyond any store; bounds what a damaged size can ask for. */
#define MANIFEST_BYTES_MAX (UINT64_C(1) << 30)

enum manifest_tag {
    TAG_FLUSHED_SEQ = 1,
    TAG_NEXT_FILE = 2,
    TAG_ADD_TABLE = 3,
    TAG_DROP_TABLE = 4,
    TAG_COVERED_SEGMENT = 5,
    TAG_CREATE_BUCKET =
        6,                /* number, flags (0), name, name of the order of keys (empty: bytewise) */
    TAG_DROP_BUCKET = 7,  /* number: it and its tables are gone */
    TAG_BUCKET_LIMIT = 8, /* numbers of buckets below it have been given out */
    TAG_CLOSED = 128,     /* a clean close: the log's last number */
    /* How tables of a bucket are made: number, compression and filter bits, each + 1; 0: as the
     * store was opened. Without one: 0, 0. */
    TAG_BUCKET_FORM = 129,
};

/* The checksum of a record whose bytes 4.. have the checksum `crc`. */
static inline uint32_t manifest_record_crc(uint32_t crc, uint64_t salt, uint64_t offset)
{
    uint8_t where[16];
    put_u64(where, salt);
    put_u64(where + 8, offset);
    return crc32_update(crc, where, sizeof where);
}

#endif
