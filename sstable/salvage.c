/* salvage: what can still be read of a table that may be damaged anywhere.
 *
 * Every data block stands for itself: its trailer knows its place and its table, so that an intact
 * one is told even when the index that should name it is gone. With an intact index the blocks are
 * taken as it names them. Without, the file is walked: behind an intact block stands the next one;
 * behind damage, every place that could be a trailer is tried.
 *
 * A sector that cannot be read counts as damage, not as the end. Everything is held in memory: this
 * is for repairs. Start reading at sst_salvage.
 */
#include "block.h"
#include "compress.h"
#include "index.h"

#include <base/alloc.h>
#include <base/buf.h>
#include <base/checksum.h>

enum {
    CHUNK_BYTES = 64 << 10,                               /* read at a time ... */
    SECTOR_BYTES = 4096,                                  /* ... and where that fails */
    PAYLOAD_MIN = SST_BLOCK_HEADER_BYTES + 1 + 4 + 2 + 3, /* a block of one entry, not packed */
    PACKED_MIN = 8,
    SEARCH_BYTES = 64 << 10, /* a packed block behind damage is found when it unpacks to no more */
};

/* Checksummed at most in search of blocks: nobody's file shall keep us busy for hours. */
#define SEARCH_BUDGET (UINT64_C(16) << 30)

typedef struct salvage {
    const sst_salvage_sink *sink;
    fs_file *file;
    uint8_t *data; /* the file, and zeros behind it so that blocks may be read in place (B3) */
    uint64_t size;
    uint64_t end; /* of the data blocks, when `bounded`; else of the file */
    bool bounded;
    uint32_t salt;
    buf raw, key, last_key;
    bool any; /* last_key is meaningful */
    bool gap; /* there is damage that has not been told yet: */
    uint64_t gap_from, gap_to;
    uint64_t budget; /* may still be checksummed */
} salvage;

/* ---- The bytes ---- */

/* What cannot be read reads as zeros. */
static void load_chunk(salvage *s, uint64_t from, uint64_t to)
{
    if (fs_read(s->file, s->data + from, (size_t)(to - from), from, NULL) == FIRN_OK)
        return;
    for (uint64_t at = from; at < to; at += SECTOR_BYTES) {
        size_t size = to - at < SECTOR_BYTES ? (size_t)(to - at) : SECTOR_BYTES;
        if (fs_read(s->file, s->data + at, size, at, NULL) != FIRN_OK)
            memset(s->data + at, 0, size);
    }
}

static int load(salvage *s, firn_error *err)
{
    int status = fs_size(s->file, &s->size, err);
    if (status != FIRN_OK)
        return status;
    s->data = mem_zalloc((size_t)s->size + 2 * SST_TRAILER_BYTES);
    if (!s->data)
        return error_no_memory(err, (size_t)s->size);
    for (uint64_t at = 0; at < s->size; at += CHUNK_BYTES)
        load_chunk(s, at, s->size - at < CHUNK_BYTES ? s->size : at + CHUNK_BYTES);
    return FIRN_OK;
}

/* ---- One block ---- */

static bool trailer_passes(const salvage *s, uint64_t at, uint64_t size, sst_trailer *out)
{
    sst_place place = {s->file, s->salt, at};
    return sst_trailer_check(&place, s->data + at, (uint32_t)size, out, NULL) == FIRN_OK;
}

static int tell_gap(salvage *s, firn_slice before)
{
    if (!s->gap)
        return FIRN_OK;
    s->gap = false;
    firn_slice after = s->any ? slice_somewhere(buf_slice(&s->last_key)) : (firn_slice){0};
    return s->sink->gap(s->sink->ctx, s->gap_from, s->gap_to - s->gap_from, after, before);
}

static int pass_entries(salvage *s, const sst_block *b)
{
    int status = FIRN_OK;
    for (uint32_t i = 0; i < b->count && status == FIRN_OK; i++) {
        sst_block_entry e;
        sst_block_decode(sst_block_body(b, i), b->seq_base, &e);
        buf_clear(&s->key);
        if (buf_append(&s->key, b->prefix, b->prefix_size) != FIRN_OK ||
            buf_append(&s->key, e.suffix, e.suffix_size) != FIRN_OK)
            return FIRN_NO_MEMORY;
        firn_slice key = slice_somewhere(buf_slice(&s->key));
        status = tell_gap(s, key);
        if (status == FIRN_OK)
            status = s->sink->entry(s->sink->ctx, key, e.seq, e.kind,
                                    (firn_slice){e.value, e.value_size});
        buf keep = s->last_key;
        s->last_key = s->key;
        s->key = keep;
        s->any = true;
    }
    return status;
}

/* The data block at [at, at + size), whose checksum was right. FIRN_DAMAGED when it is something else. */
static int view_block(salvage *s, uint64_t at, uint64_t size, const sst_trailer *trailer,
                      sst_block *out)
{
    firn_slice stored = {s->data + at, (size_t)size};
    const char *why;
    if (trailer->compression != SST_COMPRESSION_NONE) {
        buf_clear(&s->raw);
        if (buf_reserve(&s->raw, (size_t)trailer->raw_size + SST_TRAILER_BYTES) != FIRN_OK)
            return FIRN_NO_MEMORY;
        int status = sst_unpack(trailer->compression, stored, s->raw.data, trailer->raw_size);
        if (status != FIRN_OK)
            return status;
        memset(s->raw.data + trailer->raw_size, 0, SST_TRAILER_BYTES);
        stored = (firn_slice){s->raw.data, trailer->raw_size};
    }
    if (sst_block_check(stored.data, (uint32_t)stored.size, FIRN_MAX_KEY_BYTES, &why) != FIRN_OK)
        return FIRN_DAMAGED;
    *out = sst_block_view(stored.data, (uint32_t)stored.size);
    return FIRN_OK;
}

static void add_gap(salvage *s, uint64_t from, uint64_t to)
{
    if (!s->gap)
        s->gap_from = from;
    s->gap_to = to;
    s->gap = true;
}

/* ---- With the index ---- */

static bool meta_passes(const salvage *s, sst_handle h)
{
    sst_trailer trailer;
    return h.size > 0 && trailer_passes(s, h.offset, h.size, &trailer) &&
           trailer.compression == SST_COMPRESSION_NONE;
}

/* The index, if it and the footer are intact. */
static bool find_index(salvage *s, sst_index *out)
{
    sst_footer f;
    const char *why;
    if (s->size < SST_FOOTER_BYTES ||
        sst_footer_get(s->data + s->size - SST_FOOTER_BYTES, &f, &why) != FIRN_OK ||
        f.file_bytes != s->size || f.salt != s->salt)
        return false;
    s->end = f.filter.size ? f.filter.offset : f.index.offset;
    s->bounded = true;
    if (!meta_passes(s, f.index) ||
        sst_index_open((firn_slice){s->data + f.index.offset, (size_t)f.index.size}, out) !=
            FIRN_OK)
        return false;
    if (out->count > 0 && out->offsets[out->count] <= s->end)
        return true;
    sst_index_release(out);
    return false;
}

static int by_index(salvage *s, const sst_index *ix)
{
    int status = FIRN_OK;
    for (uint32_t i = 0; i < ix->count && status == FIRN_OK; i++) {
        sst_trailer trailer;
        sst_block b;
        uint64_t at = ix->offsets[i], size = sst_index_size(ix, i);
        int found = trailer_passes(s, at, size, &trailer) ? view_block(s, at, size, &trailer, &b)
                                                          : FIRN_DAMAGED;
        if (found == FIRN_OK)
            status = pass_entries(s, &b);
        else if (found == FIRN_DAMAGED)
            add_gap(s, at, ix->offsets[i + 1]);
        else
            status = found;
    }
    return status;
}

/* ---- Without ---- */

/* Could a payload of `size` bytes that unpacks to at most `most` end at `end`, by what stands there? Cheap; what passes is
 * checksummed. */
static bool trailer_plausible(const salvage *s, uint64_t end, uint64_t size, uint64_t most)
{
    uint8_t compression = s->data[end];
    uint64_t raw = get_u32(s->data + end + 1);
    if (compression == SST_COMPRESSION_NONE)
        return raw == size;
    return compression <= SST_COMPRESSION_ZLIB && raw > size && raw <= most;
}

/* The size of the block that begins at `at`, or 0. The checksum grows with the size that is tried. */
static uint64_t block_at(const salvage *s, uint64_t at, sst_trailer *trailer)
{
    uint32_t sum = s->salt;
    uint64_t summed = 0;
    for (uint64_t size = PACKED_MIN;
         size <= SST_BLOCK_BYTES_MAX && at + size + SST_TRAILER_BYTES <= s->end; size++) {
        const uint8_t *end = s->data + at + size;
        if (!trailer_plausible(s, at + size, size, SST_BLOCK_BYTES_MAX))
            continue;
        sum = crc32_update(sum, s->data + at + summed, (size_t)(size - summed));
        summed = size;
        if (sst_trailer_sum(sum, end, at) == get_u32(end + 5) &&
            trailer_passes(s, at, size, trailer))
            return size;
    }
    return 0;
}

static bool try_block(salvage *s, uint64_t at, uint64_t size, sst_trailer *trailer)
{
    if (size > s->budget)
        return false;
    s->budget -= size;
    return trailer_passes(s, at, size, trailer);
}

/* The first block that begins at or behind `from`, by where it ends; false: there is none. A block that is not packed
 * says how long it is; a packed one is tried at every length. */
static bool block_behind(salvage *s, uint64_t from, uint64_t *at, uint64_t *size,
                         sst_trailer *trailer)
{
    for (uint64_t end = from + PACKED_MIN; end + SST_TRAILER_BYTES <= s->end; end++) {
        uint8_t compression = s->data[end];
        uint64_t most = end - from;
        if (compression == SST_COMPRESSION_NONE) {
            *size = get_u32(s->data + end + 1);
            *at = end - *size;
            if (*size >= PAYLOAD_MIN && *size <= most && try_block(s, *at, *size, trailer))
                return true;
        } else if (compression <= SST_COMPRESSION_ZLIB) {
            if (most > SEARCH_BYTES)
                most = SEARCH_BYTES;
            for (*size = PACKED_MIN; *size <= most; ++*size) {
                *at = end - *size;
                if (trailer_plausible(s, end, *size, SEARCH_BYTES) &&
                    try_block(s, *at, *size, trailer))
                    return true;
            }
        }
    }
    return false;
}

/* Behind the data stand blocks of other kinds, which are told by not being data. */
static int by_walking(salvage *s)
{
    uint64_t at = 0;
    bool beyond = false;
    int status = FIRN_OK;
    while (status == FIRN_OK && at < s->end) {
        sst_trailer trailer;
        sst_block b;
        uint64_t next = at, size = block_at(s, at, &trailer);
        if (size == 0 && !block_behind(s, at + 1, &next, &size, &trailer))
            break;
        if (next > at && !beyond)
            add_gap(s, at, next);
        at = next;
        int found = view_block(s, at, size, &trailer, &b);
        if (found == FIRN_OK)
            status = pass_entries(s, &b);
        else if (found == FIRN_DAMAGED)
            beyond = true;
        else
            status = found;
        at += size + SST_TRAILER_BYTES;
    }
    if (!beyond && !(s->bounded && at == s->end)) /* nothing says that the data ended here */
        add_gap(s, at, s->end);
    return status;
}

/* ---- All of it ---- */

int sst_identify(fs_dir *dir, const char *name, uint64_t store_id[2], uint64_t *table_no,
                 firn_error *err)
{
    fs_file *file = NULL;
    uint64_t size = 0;
    uint8_t bytes[SST_FOOTER_BYTES];
    sst_footer f;
    const char *why = "the file is too short to be a table";
    int status = fs_open(dir, name, FS_READ, &file, err);
    if (status == FIRN_OK)
        status = fs_size(file, &size, err);
    if (status == FIRN_OK && size >= SST_FOOTER_BYTES)
        status = fs_read(file, bytes, sizeof bytes, size - SST_FOOTER_BYTES, err);
    if (status == FIRN_OK) {
        sst_place place = {file, 0, size >= SST_FOOTER_BYTES ? size - SST_FOOTER_BYTES : 0};
        int found = size < SST_FOOTER_BYTES ? FIRN_DAMAGED : sst_footer_get(bytes, &f, &why);
        if (found != FIRN_OK)
            status = sst_refuse(&place, found, why, err);
    }
    fs_close(file);
    if (status != FIRN_OK)
        return status;
    store_id[0] = f.store_id[0];
    store_id[1] = f.store_id[1];
    *table_no = f.table_no;
    return FIRN_OK;
}

int sst_salvage(fs_dir *dir, const char *name, const uint64_t store_id[2], uint64_t table_no,
                const sst_salvage_sink *sink, firn_error *err)
{
    salvage s = {.sink = sink, .salt = sst_salt(store_id, table_no), .budget = SEARCH_BUDGET};
    sst_index ix = {0};
    int status = fs_open(dir, name, FS_READ, &s.file, err);
    if (status == FIRN_OK)
        status = load(&s, err);
    if (status == FIRN_OK) {
        s.end = s.size;
        if (find_index(&s, &ix)) {
            status = by_index(&s, &ix);
            sst_index_release(&ix);
        } else {
            status = by_walking(&s);
        }
        if (status == FIRN_OK)
            status = tell_gap(&s, (firn_slice){0});
        if (status == FIRN_NO_MEMORY)
            error_no_memory(err, s.raw.size);
    }
    fs_close(s.file);
    mem_free(s.data);
    buf_release(&s.raw);
    buf_release(&s.key);
    buf_release(&s.last_key);
    return status;
}
