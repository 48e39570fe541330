/* compress: see compress.h. */
#include "compress.h"

#include <base/alloc.h>

#include <assert.h>
#include <lz4.h>
#include <string.h>
#include <zlib.h>

/* Level 6: bottom tables are written once and read for long. No header, no second checksum. */
enum { ZLIB_LEVEL = 6, ZLIB_WINDOW = -15, ZLIB_MEMORY = 8 };

static void *zlib_alloc(void *ctx, unsigned count, unsigned size)
{
    (void)ctx;
    return heap_alloc((size_t)count * size);
}

static void zlib_free(void *ctx, void *p)
{
    (void)ctx;
    heap_free(p);
}

int sst_packer_init(sst_packer *p, sst_compression method)
{
    *p = (sst_packer){.method = method};
    if (method == SST_COMPRESSION_LZ4) {
        p->state = heap_alloc((size_t)LZ4_sizeofState());
        return p->state ? FIRN_OK : FIRN_NO_MEMORY;
    }
    if (method == SST_COMPRESSION_ZLIB) {
        z_stream *z = heap_zalloc(sizeof *z);
        if (!z)
            return FIRN_NO_MEMORY;
        z->zalloc = zlib_alloc;
        z->zfree = zlib_free;
        if (deflateInit2(z, ZLIB_LEVEL, Z_DEFLATED, ZLIB_WINDOW, ZLIB_MEMORY, Z_DEFAULT_STRATEGY) !=
            Z_OK) {
            heap_free(z);
            return FIRN_NO_MEMORY;
        }
        p->state = z;
    }
    return FIRN_OK;
}

void sst_packer_release(sst_packer *p)
{
    if (p->method == SST_COMPRESSION_ZLIB && p->state)
        deflateEnd(p->state);
    heap_free(p->state);
    buf_release(&p->out);
    *p = (sst_packer){.method = SST_COMPRESSION_NONE};
}

/* Both packers stop when `room` is full, which is the sign that the block is better kept raw. */
static size_t deflate_into(z_stream *z, firn_slice raw, uint8_t *out, size_t room)
{
    /* deflateReset cannot fail on a stream that deflateInit2 made. */
    int rc = deflateReset(z);
    assert(rc == Z_OK);
    z->next_in = (Bytef *)(uintptr_t)raw.data;
    z->avail_in = (uInt)raw.size;
    z->next_out = out;
    z->avail_out = (uInt)room;
    rc = deflate(z, Z_FINISH);
    return rc == Z_STREAM_END ? room - z->avail_out : 0;
}

int sst_pack(sst_packer *p, firn_slice raw, firn_slice *out)
{
    if (p->method == SST_COMPRESSION_NONE)
        return FIRN_NOT_FOUND;
    size_t room = raw.size - (raw.size + 7) / 8;
    buf_clear(&p->out);
    if (room == 0)
        return FIRN_NOT_FOUND;
    int rc = buf_reserve(&p->out, room);
    if (rc != FIRN_OK)
        return rc;
    size_t size;
    if (p->method == SST_COMPRESSION_LZ4)
        size = (size_t)LZ4_compress_fast_extState(p->state, (const char *)raw.data,
                                                  (char *)p->out.data, (int)raw.size, (int)room, 1);
    else
        size = deflate_into(p->state, raw, p->out.data, room);
    if (size == 0)
        return FIRN_NOT_FOUND;
    *out = (firn_slice){p->out.data, size};
    return FIRN_OK;
}

static int inflate_into(firn_slice packed, uint8_t *raw, uint32_t raw_size)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    z.zalloc = zlib_alloc;
    z.zfree = zlib_free;
    if (inflateInit2(&z, ZLIB_WINDOW) != Z_OK)
        return FIRN_NO_MEMORY;
    z.next_in = (Bytef *)(uintptr_t)packed.data;
    z.avail_in = (uInt)packed.size;
    z.next_out = raw;
    z.avail_out = raw_size;
    int rc = inflate(&z, Z_FINISH);
    bool exact = rc == Z_STREAM_END && z.avail_out == 0 && z.avail_in == 0;
    inflateEnd(&z);
    if (exact)
        return FIRN_OK;
    return rc == Z_MEM_ERROR ? FIRN_NO_MEMORY : FIRN_DAMAGED;
}

int sst_unpack(uint8_t method, firn_slice packed, uint8_t *raw, uint32_t raw_size)
{
    if (method == SST_COMPRESSION_ZLIB)
        return inflate_into(packed, raw, raw_size);
    assert(method == SST_COMPRESSION_LZ4);
    int size = LZ4_decompress_safe((const char *)packed.data, (char *)raw, (int)packed.size,
                                   (int)raw_size);
    return size >= 0 && (uint32_t)size == raw_size ? FIRN_OK : FIRN_DAMAGED;
}
