/* format: the bytes that frame a table: the trailer behind every block and the footer at the end of
 * the file (README.md, "The file"). Pure: bytes in, bytes out; what lies inside the blocks is the
 * business of block.h, filter.h, index.h and props.h.
 *
 *   block    payload as stored, then a trailer of 9 bytes
 *     0  1  compression       sst_compression
 *     1  4  raw size          of the payload before compression
 *     5  4  checksum          CRC-32 started with the footer's salt, over payload, compression, raw
 *                             size, and the 8 bytes of the block's offset in the file
 *
 * The salt makes a block of another table fail, the offset a block of another place.
 */
#ifndef SSTABLE_FORMAT_H
#define SSTABLE_FORMAT_H

#include <base/coding.h>
#include <base/error.h>
#include <base/fs.h>
#include <sstable/sstable.h>

#define SST_MAGIC          "firn.sst"
#define SST_MAGIC_BYTES    8
#define SST_FORMAT_VERSION 1
#define SST_FOOTER_BYTES   128
#define SST_TRAILER_BYTES  9

/* Caps on what a file may ask us to allocate; the writer keeps within them. */
#define SST_BLOCK_TARGET_MIN UINT32_C(64)
#define SST_BLOCK_TARGET_MAX (UINT32_C(1) << 20)
/* One entry of the largest key and value, with room for a header and its array elements. */
#define SST_BLOCK_BYTES_MAX (FIRN_MAX_VALUE_BYTES + 2 * FIRN_MAX_KEY_BYTES + UINT32_C(4096))
#define SST_META_BYTES_MAX  (UINT32_C(1) << 30) /* filter or index */
#define SST_PROPS_BYTES_MAX (UINT32_C(1) << 18)

#define SST_HINT_DAMAGED                                                                           \
    "restore the table from a backup, or save what is intact with `firn repair`"
#define SST_HINT_NEWER "open the store with the newer version of firn that wrote it"

/* Where a block's payload lies. A handle of size 0 means: there is none. */
typedef struct sst_handle {
    uint64_t offset;
    uint64_t size; /* as stored, without the trailer */
} sst_handle;

typedef struct sst_footer {
    uint64_t store_id[2];
    uint64_t table_no;
    uint64_t file_bytes;
    sst_handle filter, index, props;
    uint32_t features_required, features_optional;
    uint32_t salt; /* start value of the blocks' checksums */
} sst_footer;

void sst_footer_put(const sst_footer *f, uint8_t out[SST_FOOTER_BYTES]);
/* FIRN_DAMAGED or FIRN_UNSUPPORTED; then *why is a sentence. Checks the handles against
 * file_bytes. */
int sst_footer_get(const uint8_t in[SST_FOOTER_BYTES], sst_footer *out, const char **why);
/* The salt of a table: identical blocks of different tables have different checksums. */
uint32_t sst_salt(const uint64_t store_id[2], uint64_t table_no);

/* Writes the trailer behind a payload that will stand at `offset`. */
void sst_trailer_put(uint8_t *payload, uint32_t size, uint8_t compression, uint32_t raw_size,
                     uint32_t salt, uint64_t offset);

/* The checksum in a trailer, from that of the payload, crc32_update(salt, payload). */
uint32_t sst_trailer_sum(uint32_t payload_sum, const uint8_t *trailer, uint64_t offset);

typedef struct sst_trailer {
    uint8_t compression;
    uint32_t raw_size;
} sst_trailer;

/* Which bytes of which file are being judged; for checksums and messages. */
typedef struct sst_place {
    const fs_file *file;
    uint32_t salt;
    uint64_t offset; /* of the block */
} sst_place;

/* What a trailer says, if its compression is known and its raw size within the cap and within what
 * `size` bytes can possibly unpack to; else FIRN_DAMAGED or FIRN_UNSUPPORTED, and *why. */
int sst_trailer_get(const uint8_t *trailer, uint32_t size, sst_trailer *out, const char **why);

/* Checks the checksum first, then as sst_trailer_get does. `payload` has `size` bytes and a trailer
 * behind them. */
int sst_trailer_check(const sst_place *place, const uint8_t *payload, uint32_t size,
                      sst_trailer *out, firn_error *err);

/* Records damage, or a too new format, at place->offset, with the hint that belongs to it. */
int sst_refuse(const sst_place *place, int rc, const char *why, firn_error *err);

#endif
