/* reader: an open table: how its blocks are reached, and a point lookup. Opening is in open.c.
 *
 * Start with sst_get. A table whose blocks were all stored as they are is mapped, if the caller and
 * the file system agree, and read in place; any other goes through the cache.
 *
 * Invariants
 *   R1  No byte of a block is interpreted before its checksum was found right, and no entry before
 *       its block's structure was (B1, B2). For a mapped block that is remembered in `verified`.
 *   R2  The first touch of a mapped page follows a populate or a read of it that succeeded, so that
 *       a failing disk is a status and not a signal.
 *   R3  A reader is never changed after open, but for `verified`, and for how its blocks are reached, which is asked for
 *       each block: a mapping is made at most once, and stays until close. No locks.
 */
#include "compress.h"
#include "reader.h"

#include <base/alloc.h>
#include <base/error.h>
#include <base/hash.h>

static int structure_check(const sst_reader *r, uint32_t i, const uint8_t *data, uint32_t size,
                           firn_error *err)
{
    const char *why;
    int status = sst_block_check(data, size, (uint32_t)r->props.key_bytes_max, &why);
    if (status == FIRN_OK)
        return FIRN_OK;
    sst_place place = sst_reader_place(r, r->index.offsets[i]);
    return sst_refuse(&place, status, why, err);
}

int sst_reader_changed(const sst_reader *r, uint32_t i, firn_error *err)
{
    sst_place place = sst_reader_place(r, r->index.offsets[i]);
    sst_refuse(&place, FIRN_DAMAGED, "a block has changed since it was found right", err);
    error_hint(err,
               "another program writes into the store's files: find out which, and restore the "
               "file from a backup; never_map reads such files safely");
    return FIRN_DAMAGED;
}

/* ---- Blocks read in place ---- */

int sst_reader_populate(sst_reader *r, uint64_t offset, uint64_t size, firn_error *err)
{
    if (size > r->map_bytes - offset)
        size = r->map_bytes - offset;
    /* In one request: populating alone would wait for one page after the other. */
    fs_advise(r->file, r->map + offset, (size_t)size, FS_ADVICE_WILL_NEED);
    return fs_populate(r->file, r->map + offset, (size_t)size, false, err);
}

/* Where the system cannot populate: reads the block once, which brings its pages in, or says why
 * not. */
static int touch_by_reading(sst_reader *r, uint64_t offset, size_t size, firn_error *err)
{
    uint8_t *scratch = mem_alloc(size);
    if (!scratch)
        return error_no_memory(err, size);
    int status = fs_read(r->file, scratch, size, offset, err);
    mem_free(scratch);
    return status;
}

int sst_reader_map_block(sst_reader *r, uint32_t i, bool populated, firn_error *err)
{
    uint64_t offset = r->index.offsets[i];
    uint32_t size = sst_index_size(&r->index, i);
    int status = FIRN_OK;
    if (sst_reader_verified(r, i))
        return FIRN_OK;
    if (!populated) {
        firn_error cannot;
        status = sst_reader_populate(r, offset, (uint64_t)size + SST_TRAILER_BYTES, &cannot);
        if (status == FIRN_UNSUPPORTED)
            status = touch_by_reading(r, offset, (size_t)size + SST_TRAILER_BYTES, err);
        else if (status != FIRN_OK && err)
            *err = cannot;
        if (status != FIRN_OK)
            return status;
    }
    sst_place place = sst_reader_place(r, offset);
    sst_trailer trailer;
    status = sst_trailer_check(&place, r->map + offset, size, &trailer, err);
    if (status != FIRN_OK)
        return status;
    if (trailer.compression != SST_COMPRESSION_NONE)
        return sst_refuse(&place, FIRN_DAMAGED,
                          "a block is compressed in a table that says it has none such", err);
    status = structure_check(r, i, r->map + offset, size, err);
    if (status == FIRN_OK)
        atomic_fetch_or_explicit(&r->verified[i / 64], UINT64_C(1) << (i % 64),
                                 memory_order_relaxed);
    return status;
}

/* ---- Blocks by way of the cache ---- */

int sst_reader_unpack(sst_reader *r, uint32_t i, const uint8_t *stored, sst_cached **out,
                      firn_error *err)
{
    uint32_t size = sst_index_size(&r->index, i);
    sst_place place = sst_reader_place(r, r->index.offsets[i]);
    sst_trailer trailer;
    int status = sst_trailer_check(&place, stored, size, &trailer, err);
    if (status != FIRN_OK)
        return status;
    sst_cached *e = sst_cache_reserve(r->cache, r->owner, i, trailer.raw_size);
    if (!e)
        return error_no_memory(err, 0);
    if (trailer.compression == SST_COMPRESSION_NONE) {
        memcpy(e->data, stored, size);
    } else {
        status = sst_unpack(trailer.compression, (firn_slice){stored, size}, e->data, e->size);
        if (status == FIRN_DAMAGED)
            sst_refuse(&place, status, "a block does not unpack to what it says", err);
        else if (status != FIRN_OK)
            error_no_memory(err, 0);
    }
    memset(e->data + e->size, 0, SST_TRAILER_BYTES); /* B3: readable, and the same every time */
    if (status == FIRN_OK)
        status = structure_check(r, i, e->data, e->size, err);
    if (status != FIRN_OK) {
        sst_cache_unpin(e);
        return status;
    }
    *out = e;
    return FIRN_OK;
}

int sst_reader_cache_block(sst_reader *r, uint32_t i, sst_block_ref *out, firn_error *err)
{
    sst_cached *e = sst_cache_find(r->cache, r->owner, i);
    if (!e) {
        size_t size = (size_t)sst_index_size(&r->index, i) + SST_TRAILER_BYTES;
        uint8_t *stored = mem_alloc(size);
        if (!stored)
            return error_no_memory(err, size);
        int status = fs_read(r->file, stored, size, r->index.offsets[i], err);
        if (status == FIRN_OK)
            status = sst_reader_unpack(r, i, stored, &e, err);
        mem_free(stored);
        if (status != FIRN_OK)
            return status;
        e = sst_cache_insert(e);
    }
    *out = (sst_block_ref){e->data, e, e->size};
    return FIRN_OK;
}

void sst_pin_release(sst_pin *pin)
{
    if (pin->block)
        sst_cache_unpin(pin->block);
    pin->block = NULL;
}

/* ---- Looking up ---- */

uint64_t sst_key_hash(firn_slice key)
{
    return hash64(key.data, key.size, 0);
}

void sst_prefetch(const sst_reader *r, uint64_t key_hash)
{
    if (r->filter.lines)
        __builtin_prefetch(sst_filter_line(&r->filter, key_hash));
}

int sst_get(sst_reader *r, firn_slice key, uint64_t key_hash, uint64_t seq_max, sst_hit *out,
            firn_error *err)
{
    if (!sst_filter_may_contain(&r->filter, key_hash))
        return FIRN_NOT_FOUND;
    uint32_t i = sst_index_find(&r->index, key, seq_max);
    if (i == r->index.count)
        return FIRN_NOT_FOUND;
    sst_block_ref ref;
    int status = sst_reader_block(r, i, &ref, err);
    if (status != FIRN_OK)
        return status;
    sst_block_prefetch(&ref);
    sst_block b;
    sst_block_entry e;
    uint32_t at = SST_BLOCK_CHANGED;
    if (sst_block_again(ref.data, ref.size, &b))
        at = sst_block_find(&b, key, sst_block_tag(key_hash), seq_max, &e);
    if (at >= b.count) {
        sst_block_unref(&ref);
        return at == SST_BLOCK_CHANGED ? sst_reader_changed(r, i, err) : FIRN_NOT_FOUND;
    }
    *out = (sst_hit){
        .seq = e.seq,
        .value = {e.value, e.value_size},
        .kind = e.kind,
        .pin = {ref.pin},
    };
    return FIRN_OK;
}

uint64_t sst_approximate_offset(const sst_reader *r, firn_slice key)
{
    /* offsets has one element more than there are blocks: the end of the data. */
    return r->index.offsets[sst_index_find(&r->index, key, FIRN_MAX_SEQ)];
}

const sst_properties *sst_reader_properties(const sst_reader *r)
{
    return &r->props.shown;
}
