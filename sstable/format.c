/* format: see format.h. */
#include "format.h"

#include <base/checksum.h>

#include <assert.h>

/* Offsets of the footer's fields. */
enum {
    AT_STORE_ID = 0,
    AT_TABLE_NO = 16,
    AT_FILE_BYTES = 24,
    AT_FILTER = 32,
    AT_INDEX = 48,
    AT_PROPS = 64,
    AT_REQUIRED = 80,
    AT_OPTIONAL = 84,
    AT_SALT = 88,
    AT_ZERO = 92, /* 20 bytes kept for later */
    AT_VERSION = 112,
    AT_CHECKSUM = 116,
    AT_MAGIC = 120,
};

static void put_handle(uint8_t *p, sst_handle h)
{
    put_u64(p, h.offset);
    put_u64(p + 8, h.size);
}

static sst_handle get_handle(const uint8_t *p)
{
    return (sst_handle){get_u64(p), get_u64(p + 8)};
}

static uint32_t footer_checksum(const uint8_t *p)
{
    uint32_t crc = crc32_update(0, p, AT_CHECKSUM);
    return crc32_update(crc, p + AT_MAGIC, SST_MAGIC_BYTES);
}

void sst_footer_put(const sst_footer *f, uint8_t out[SST_FOOTER_BYTES])
{
    memset(out, 0, SST_FOOTER_BYTES);
    put_u64(out + AT_STORE_ID, f->store_id[0]);
    put_u64(out + AT_STORE_ID + 8, f->store_id[1]);
    put_u64(out + AT_TABLE_NO, f->table_no);
    put_u64(out + AT_FILE_BYTES, f->file_bytes);
    put_handle(out + AT_FILTER, f->filter);
    put_handle(out + AT_INDEX, f->index);
    put_handle(out + AT_PROPS, f->props);
    put_u32(out + AT_REQUIRED, f->features_required);
    put_u32(out + AT_OPTIONAL, f->features_optional);
    put_u32(out + AT_SALT, f->salt);
    put_u32(out + AT_VERSION, SST_FORMAT_VERSION);
    memcpy(out + AT_MAGIC, SST_MAGIC, SST_MAGIC_BYTES);
    put_u32(out + AT_CHECKSUM, footer_checksum(out));
}

/* The end of a block with its trailer, or UINT64_MAX when it does not fit before `limit`. */
static uint64_t handle_end(sst_handle h, uint64_t start, uint64_t limit)
{
    if (h.offset < start || h.offset > limit || limit - h.offset < SST_TRAILER_BYTES ||
        h.size > limit - h.offset - SST_TRAILER_BYTES)
        return UINT64_MAX;
    return h.offset + h.size + SST_TRAILER_BYTES;
}

/* Blocks stand in order and do not overlap. Without optional features they also leave no gap, so
 * that every byte of the file is under some checksum. */
static bool handles_fit(const sst_footer *f)
{
    uint64_t limit = f->file_bytes - SST_FOOTER_BYTES;
    bool gaps = f->features_optional != 0;
    uint64_t end = f->index.offset;

    if (f->filter.size != 0) {
        if (f->filter.size > SST_META_BYTES_MAX)
            return false;
        end = handle_end(f->filter, 0, limit);
        if (end == UINT64_MAX || (!gaps && f->index.offset != end))
            return false;
    } else if (f->filter.offset != 0) {
        return false;
    }
    end = handle_end(f->index, end, limit);
    if (end == UINT64_MAX || f->index.size > SST_META_BYTES_MAX ||
        (!gaps && f->props.offset != end))
        return false;
    end = handle_end(f->props, end, limit);
    return end != UINT64_MAX && f->props.size <= SST_PROPS_BYTES_MAX && (gaps || end == limit);
}

int sst_footer_get(const uint8_t in[SST_FOOTER_BYTES], sst_footer *out, const char **why)
{
    if (memcmp(in + AT_MAGIC, SST_MAGIC, SST_MAGIC_BYTES) != 0) {
        *why =
            "this does not end like a table: it was cut, overwritten, or is another kind of file";
        return FIRN_DAMAGED;
    }
    if (get_u32(in + AT_CHECKSUM) != footer_checksum(in)) {
        *why = "the table's footer does not match its checksum";
        return FIRN_DAMAGED;
    }
    sst_footer f = {
        .store_id = {get_u64(in + AT_STORE_ID), get_u64(in + AT_STORE_ID + 8)},
        .table_no = get_u64(in + AT_TABLE_NO),
        .file_bytes = get_u64(in + AT_FILE_BYTES),
        .filter = get_handle(in + AT_FILTER),
        .index = get_handle(in + AT_INDEX),
        .props = get_handle(in + AT_PROPS),
        .features_required = get_u32(in + AT_REQUIRED),
        .features_optional = get_u32(in + AT_OPTIONAL),
        .salt = get_u32(in + AT_SALT),
    };
    if (get_u32(in + AT_VERSION) != SST_FORMAT_VERSION) {
        *why = "the table has a format version that this version of firn does not know";
        return FIRN_UNSUPPORTED;
    }
    if (f.features_required != 0) {
        *why = "the table needs a feature that this version of firn does not have";
        return FIRN_UNSUPPORTED;
    }
    if (f.file_bytes < SST_FOOTER_BYTES || !handles_fit(&f)) {
        *why = "the table's footer names blocks that do not fit into the file";
        return FIRN_DAMAGED;
    }
    *out = f;
    return FIRN_OK;
}

uint32_t sst_salt(const uint64_t store_id[2], uint64_t table_no)
{
    uint8_t bytes[24];
    put_u64(bytes, store_id[0]);
    put_u64(bytes + 8, store_id[1]);
    put_u64(bytes + 16, table_no);
    return crc32_update(0, bytes, sizeof bytes);
}

uint32_t sst_trailer_sum(uint32_t payload_sum, const uint8_t *trailer, uint64_t offset)
{
    uint8_t tail[5 + 8];
    memcpy(tail, trailer, 5); /* compression and raw size */
    put_u64(tail + 5, offset);
    return crc32_update(payload_sum, tail, sizeof tail);
}

static uint32_t block_checksum(const uint8_t *payload, uint32_t size, uint32_t salt,
                               uint64_t offset)
{
    return sst_trailer_sum(crc32_update(salt, payload, size), payload + size, offset);
}

void sst_trailer_put(uint8_t *payload, uint32_t size, uint8_t compression, uint32_t raw_size,
                     uint32_t salt, uint64_t offset)
{
    assert(compression <= SST_COMPRESSION_ZLIB);
    payload[size] = compression;
    put_u32(payload + size + 1, raw_size);
    put_u32(payload + size + 5, block_checksum(payload, size, salt, offset));
}

int sst_refuse(const sst_place *place, int rc, const char *why, firn_error *err)
{
    error_file(err, rc, place->file->path, place->offset, "%s", why);
    error_hint(err, "%s", rc == FIRN_UNSUPPORTED ? SST_HINT_NEWER : SST_HINT_DAMAGED);
    return rc;
}

/* No stream of `size` bytes unpacks to more than this: an LZ4 byte yields at most 255, and a
 * deflate byte at most 1032. Keeps a small forged block from asking for a large buffer. */
static uint64_t unpacked_max(uint8_t compression, uint32_t size)
{
    return compression == SST_COMPRESSION_LZ4 ? (uint64_t)size * 255 + 64
                                              : (uint64_t)size * 1032 + 1024;
}

int sst_trailer_get(const uint8_t *trailer, uint32_t size, sst_trailer *out, const char **why)
{
    sst_trailer t = {trailer[0], get_u32(trailer + 1)};
    if (t.compression > SST_COMPRESSION_ZLIB) {
        *why = "a block has an unknown compression";
        return FIRN_UNSUPPORTED;
    }
    if (t.compression == SST_COMPRESSION_NONE
            ? t.raw_size != size
            : t.raw_size > SST_BLOCK_BYTES_MAX || t.raw_size > unpacked_max(t.compression, size)) {
        *why = "a block claims an impossible unpacked size";
        return FIRN_DAMAGED;
    }
    *out = t;
    return FIRN_OK;
}

int sst_trailer_check(const sst_place *place, const uint8_t *payload, uint32_t size,
                      sst_trailer *out, firn_error *err)
{
    const char *why;
    if (get_u32(payload + size + 5) != block_checksum(payload, size, place->salt, place->offset))
        return sst_refuse(place, FIRN_DAMAGED, "a block does not match its checksum", err);
    int rc = sst_trailer_get(payload + size, size, out, &why);
    return rc == FIRN_OK ? FIRN_OK : sst_refuse(place, rc, why, err);
}
