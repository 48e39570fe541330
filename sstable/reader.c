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
 *   R3  A reader is never changed after open, but for `verified`, and for how its blocks are
 *       reached, which is asked for each block: a mapping is made at most once, and stays until
 *       close. No locks.
 */
#include "compress.h"
#include "reader.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/search.h>

enum { STORED_PAGES_MIN = 64 << 10 };

static int structure_check(const sst_reader *r, uint64_t offset, const uint8_t *data, uint32_t size,
                           firn_error *err)
{
    const char *why;
    int rc = sst_block_check(data, size, (uint32_t)r->props.key_bytes_max, &why);
    if (rc == FIRN_OK)
        return FIRN_OK;
    sst_place place = sst_reader_place(r, offset);
    return sst_refuse(&place, rc, why, err);
}

int sst_reader_changed(const sst_reader *r, uint64_t offset, firn_error *err)
{
    sst_place place = sst_reader_place(r, offset);
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
    uint8_t *scratch = heap_alloc(size);
    if (!scratch)
        return error_no_memory(err);
    int rc = fs_read(r->file, scratch, size, offset, err);
    heap_free(scratch);
    return rc;
}

int sst_reader_map_block(sst_reader *r, const sst_index *ix, uint32_t i, bool populated,
                         firn_error *err)
{
    uint64_t offset = ix->offsets[i];
    uint32_t size = sst_index_size(ix, i);
    int rc = FIRN_OK;
    if (sst_reader_verified(r, i))
        return FIRN_OK;
    if (!populated) {
        firn_error cannot;
        rc = sst_reader_populate(r, offset, (uint64_t)size + SST_TRAILER_BYTES, &cannot);
        if (rc == FIRN_UNSUPPORTED)
            rc = touch_by_reading(r, offset, (size_t)size + SST_TRAILER_BYTES, err);
        else if (rc != FIRN_OK && err)
            *err = cannot;
        if (rc != FIRN_OK)
            return rc;
    }
    sst_place place = sst_reader_place(r, offset);
    sst_trailer trailer;
    rc = sst_trailer_check(&place, r->map + offset, size, &trailer, err);
    if (rc != FIRN_OK)
        return rc;
    if (trailer.compression != SST_COMPRESSION_NONE)
        return sst_refuse(&place, FIRN_DAMAGED,
                          "a block is compressed in a table that says it has none such", err);
    rc = structure_check(r, offset, r->map + offset, size, err);
    if (rc == FIRN_OK)
        atomic_fetch_or_explicit(&r->verified[i / 64], UINT64_C(1) << (i % 64),
                                 memory_order_relaxed);
    return rc;
}

/* ---- Blocks by way of the cache ---- */

/* An entry for a block that unpacks to so many bytes. */
static int entry_for(sst_reader *r, const sst_wanted *w, uint32_t size, sst_cached **out,
                     firn_error *err)
{
    return w->use == SST_WORK ? sst_cache_take_outside(r->cache, size, out, err)
                              : sst_cache_reserve(r->cache, r->owner, w->i, size, out, err);
}

/* Fills an entry, which is let go of when that fails, with a block whose trailer was right. */
static int fill(sst_reader *r, const sst_wanted *w, const uint8_t *stored,
                const sst_trailer *trailer, sst_cached *e, firn_error *err)
{
    uint32_t size = sst_index_size(w->ix, w->i);
    sst_place place = sst_reader_place(r, w->ix->offsets[w->i]);
    int rc = FIRN_OK;
    if (trailer->compression == SST_COMPRESSION_NONE) {
        if (stored != e->data)
            memcpy(e->data, stored, size);
    } else {
        rc = sst_unpack(trailer->compression, (firn_slice){stored, size}, e->data, e->size);
        if (rc == FIRN_DAMAGED)
            sst_refuse(&place, rc, "a block does not unpack to what it says", err);
        else if (rc != FIRN_OK)
            error_no_memory(err);
    }
    memset(e->data + e->size, 0, SST_TRAILER_BYTES); /* B3: readable, and the same every time */
    if (rc == FIRN_OK)
        rc = structure_check(r, place.offset, e->data, e->size, err);
    if (rc != FIRN_OK)
        sst_cache_unpin(e);
    return rc;
}

int sst_reader_unpack(sst_reader *r, const sst_wanted *w, const uint8_t *stored, sst_cached **out,
                      firn_error *err)
{
    sst_place place = sst_reader_place(r, w->ix->offsets[w->i]);
    sst_trailer trailer;
    int rc = sst_trailer_check(&place, stored, sst_index_size(w->ix, w->i), &trailer, err);
    if (rc == FIRN_OK)
        rc = entry_for(r, w, trailer.raw_size, out, err);
    return rc == FIRN_OK ? fill(r, w, stored, &trailer, *out, err) : rc;
}

int sst_reader_stored(sst_reader *r, const sst_wanted *w, const uint8_t *stored, sst_block_ref *out,
                      firn_error *err)
{
    uint32_t size = sst_index_size(w->ix, w->i);
    sst_place place = sst_reader_place(r, w->ix->offsets[w->i]);
    sst_trailer trailer;
    if (stored[size] != SST_COMPRESSION_NONE)
        return FIRN_NOT_FOUND;
    int rc = sst_trailer_check(&place, stored, size, &trailer, err);
    if (rc == FIRN_OK)
        rc = structure_check(r, place.offset, stored, size, err);
    if (rc == FIRN_OK)
        *out = (sst_block_ref){stored, NULL, size};
    return rc;
}

/* A stored block for as long as it takes to unpack it. Large ones get pages: a heap may keep what
 * it gets back, each thread's its own. */
static uint8_t *stored_begin(memory_budget *b, size_t size, firn_error *err)
{
    uint8_t *stored = size < STORED_PAGES_MIN ? heap_alloc(size) : pages_alloc(size);
    if (stored)
        budget_charge(b, BUDGET_SCRATCH, size);
    else
        error_no_memory(err);
    return stored;
}

static void stored_end(memory_budget *b, uint8_t *stored, size_t size)
{
    budget_release(b, BUDGET_SCRATCH, size);
    if (size < STORED_PAGES_MIN)
        heap_free(stored);
    else
        pages_free(stored, size);
}

/* A large block, of which the trailer says so much. Its room is asked for before anything is read,
 * so that readers that are refused take nothing; what is stored as it is goes to where it stays. */
static int read_large(sst_reader *r, const sst_wanted *w, const sst_trailer *said, sst_cached **out,
                      firn_error *err)
{
    memory_budget *b = sst_cache_budget(r->cache);
    uint32_t size = sst_index_size(w->ix, w->i);
    size_t bytes = (size_t)size + SST_TRAILER_BYTES;
    sst_place place = sst_reader_place(r, w->ix->offsets[w->i]);
    bool packed = said->compression != SST_COMPRESSION_NONE;
    sst_trailer trailer;
    int rc = entry_for(r, w, said->raw_size, out, err);
    if (rc != FIRN_OK)
        return rc;
    uint8_t *stored = packed ? stored_begin(b, bytes, err) : (*out)->data;
    rc = stored ? fs_read(r->file, stored, bytes, place.offset, err) : FIRN_NO_MEMORY;
    if (rc == FIRN_OK)
        rc = sst_trailer_check(&place, stored, size, &trailer, err);
    if (rc == FIRN_OK &&
        (trailer.raw_size != said->raw_size || trailer.compression != said->compression))
        rc = sst_refuse(&place, FIRN_DAMAGED, "a block changes while it is read", err);
    if (rc == FIRN_OK)
        rc = fill(r, w, stored, &trailer, *out, err);
    else
        sst_cache_unpin(*out);
    if (packed && stored)
        stored_end(b, stored, bytes);
    return rc;
}

/* What the trailer of a large block says, not judged yet. False: the block is small, or that cannot
 * be read or be right, and reading all of it says why. */
static bool large_says(const sst_reader *r, const sst_wanted *w, sst_trailer *out)
{
    uint8_t bytes[SST_TRAILER_BYTES];
    const char *why;
    uint32_t size = sst_index_size(w->ix, w->i);
    return size >= STORED_PAGES_MIN &&
           fs_read(r->file, bytes, sizeof bytes, w->ix->offsets[w->i] + size, NULL) == FIRN_OK &&
           sst_trailer_get(bytes, size, out, &why) == FIRN_OK;
}

static int read_and_unpack(sst_reader *r, const sst_wanted *w, sst_cached **out, firn_error *err)
{
    memory_budget *b = sst_cache_budget(r->cache);
    sst_trailer said;
    if (large_says(r, w, &said))
        return read_large(r, w, &said, out, err);
    size_t size = (size_t)sst_index_size(w->ix, w->i) + SST_TRAILER_BYTES;
    uint8_t *stored = stored_begin(b, size, err);
    if (!stored)
        return FIRN_NO_MEMORY;
    int rc = fs_read(r->file, stored, size, w->ix->offsets[w->i], err);
    if (rc == FIRN_OK)
        rc = sst_reader_unpack(r, w, stored, out, err);
    stored_end(b, stored, size);
    return rc;
}

int sst_reader_cache_block(sst_reader *r, const sst_wanted *w, sst_block_ref *out, firn_error *err)
{
    sst_load load;
    int rc = FIRN_OK;
    bool shares = w->use != SST_WORK; /* C6 */
    sst_cached *e = shares ? sst_cache_begin(r->cache, r->owner, w->i, &load) : NULL;
    if (!e) {
        rc = read_and_unpack(r, w, &e, err);
        if (rc == FIRN_OK && shares)
            e = sst_cache_insert(e, w->use == SST_FILL);
        if (shares)
            sst_cache_end(&load);
    }
    if (rc == FIRN_OK)
        *out = (sst_block_ref){e->data, e, e->size};
    return rc;
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
    const sst_part *filter = atomic_load_explicit(&r->filter, memory_order_seq_cst);
    if (filter)
        __builtin_prefetch(sst_filter_line(&filter->filter, key_hash));
}

/* The filter does not deny the key: looks for it in its block. */
static int get_in_block(sst_reader *r, const sst_index *ix, firn_slice key, uint64_t key_hash,
                        uint64_t seq_max, sst_hit *out, firn_error *err)
{
    uint32_t i = sst_index_find(ix, key, seq_max);
    if (i == ix->count)
        return FIRN_NOT_FOUND;
    sst_block_ref ref;
    int rc = sst_reader_block(r, &(sst_wanted){ix, i, SST_FILL}, &ref, err);
    if (rc != FIRN_OK)
        return rc;
    sst_block_prefetch(&ref);
    sst_block b;
    sst_block_entry e;
    uint32_t at = SST_BLOCK_CHANGED;
    if (sst_block_again(ref.data, ref.size, &b))
        at = sst_block_find(&b, key, sst_block_tag(key_hash), seq_max, &e);
    if (at >= b.count) {
        sst_block_unref(&ref);
        return at == SST_BLOCK_CHANGED ? sst_reader_changed(r, ix->offsets[i], err)
                                       : FIRN_NOT_FOUND;
    }
    *out = (sst_hit){
        .seq = e.seq,
        .value = {e.value, e.value_size},
        .kind = e.kind,
        .pin = {ref.pin},
    };
    return FIRN_OK;
}

/* The index, if it is in memory: with a grace, it needs no pin. seq_cst: behind the step by which
 * the caller entered its section (unpublish in part.c). */
static inline sst_part *index_inside(const sst_reader *r)
{
    return r->grace ? atomic_load_explicit(&r->index, memory_order_seq_cst) : NULL;
}

static int get_by_index(sst_reader *r, firn_slice key, uint64_t key_hash, uint64_t seq_max,
                        sst_hit *out, firn_error *err)
{
    sst_part *part = index_inside(r);
    sst_part *pin = NULL;
    int rc = part ? FIRN_OK : sst_reader_index(r, &pin, err);
    if (rc != FIRN_OK)
        return rc;
    if (part)
        sst_part_touch(part);
    else
        part = pin;
    rc = get_in_block(r, &part->index, key, key_hash, seq_max, out, err);
    if (pin)
        sst_reader_unpin(r, pin);
    return rc;
}

/* What the filter says, if it is in memory: most gets ask tables that do not have the key. */
typedef enum opinion { NO_OPINION, MAY_BE_THERE, NOT_THERE } opinion;

static inline opinion filter_says(const sst_reader *r, uint64_t key_hash)
{
    /* seq_cst: as in index_inside. */
    sst_part *part = r->grace ? atomic_load_explicit(&r->filter, memory_order_seq_cst) : NULL;
    if (!part)
        return NO_OPINION;
    sst_part_touch(part);
    return sst_filter_may_contain(&part->filter, key_hash) ? MAY_BE_THERE : NOT_THERE;
}

bool sst_prefetch_index(const sst_reader *r, firn_slice key, uint64_t key_hash)
{
    if (filter_says(r, key_hash) == NOT_THERE)
        return false;
    const sst_part *part = index_inside(r);
    if (part)
        sst_index_prefetch(&part->index, key);
    return true;
}

/* The block in which a get will look, where it can be read in place, and is known to be intact. */
static bool block_in_place(const sst_reader *r, firn_slice key, uint64_t seq_max,
                           sst_block_ref *out)
{
    const sst_part *part = index_inside(r);
    if (!part || !sst_reader_in_place(r))
        return false;
    const sst_index *ix = &part->index;
    uint32_t i = sst_index_find(ix, key, seq_max);
    if (i == ix->count || !sst_reader_verified(r, i))
        return false;
    *out = (sst_block_ref){r->map + ix->offsets[i], NULL, sst_index_size(ix, i)};
    return true;
}

void sst_prefetch_block(const sst_reader *r, firn_slice key, uint64_t seq_max)
{
    sst_block_ref ref;
    if (block_in_place(r, key, seq_max, &ref))
        sst_block_prefetch(&ref);
}

void sst_prefetch_entry(const sst_reader *r, firn_slice key, uint64_t key_hash, uint64_t seq_max)
{
    sst_block_ref ref;
    sst_block b;
    if (block_in_place(r, key, seq_max, &ref) && sst_block_again(ref.data, ref.size, &b))
        sst_block_prefetch_entry(&b, key, sst_block_tag(key_hash));
}

/* The filter's opinion, which has to be read first. */
static int ask_filter(sst_reader *r, uint64_t key_hash, firn_error *err)
{
    sst_part *part;
    int rc = sst_reader_filter(r, &part, err);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_filter_may_contain(&part->filter, key_hash) ? FIRN_OK : FIRN_NOT_FOUND;
    sst_reader_unpin(r, part);
    return rc;
}

int sst_get(sst_reader *r, firn_slice key, uint64_t key_hash, uint64_t seq_max, sst_hit *out,
            firn_error *err)
{
    opinion says = filter_says(r, key_hash);
    out->filtered = SST_FILTER_DENIED;
    if (says == NOT_THERE)
        return FIRN_NOT_FOUND;
    int rc = says == NO_OPINION && r->footer.filter.size ? ask_filter(r, key_hash, err) : FIRN_OK;
    if (rc == FIRN_OK) {
        rc = get_by_index(r, key, key_hash, seq_max, out, err);
        out->filtered = r->footer.filter.size ? SST_FILTER_PASSED : SST_FILTER_NONE;
    }
    return rc;
}

int sst_approximate_offset(sst_reader *r, firn_slice key, uint64_t *offset, firn_error *err)
{
    sst_part *part;
    int rc = sst_reader_index(r, &part, err);
    if (rc != FIRN_OK)
        return rc;
    /* offsets has one element more than there are blocks: the end of the data. */
    *offset = part->index.offsets[sst_index_find(&part->index, key, FIRN_MAX_SEQ)];
    sst_reader_unpin(r, part);
    return FIRN_OK;
}

static bool ends_before(const void *offsets, size_t at, void *wanted)
{
    return ((const uint64_t *)offsets)[at] < *(const uint64_t *)wanted;
}

int sst_split_key(sst_reader *r, uint64_t part, uint64_t parts, buf *key, firn_error *err)
{
    sst_part *held;
    assert(part < parts);
    int rc = sst_reader_index(r, &held, err);
    if (rc != FIRN_OK)
        return rc;
    const sst_index *ix = &held->index;
    uint64_t before = (uint64_t)((double)ix->offsets[ix->count] / (double)parts * (double)part);
    size_t block = search_first(ix->offsets, 0, ix->count, &before, ends_before);
    buf_clear(key);
    /* Block i begins behind separator i-1. */
    if (block > 0 && sst_index_key(ix, (uint32_t)block - 1, key) != FIRN_OK)
        rc = error_no_memory(err);
    sst_reader_unpin(r, held);
    return rc;
}

const sst_properties *sst_reader_properties(const sst_reader *r)
{
    return &r->props.shown;
}
