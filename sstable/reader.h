/* reader: an open table, and how its parts reach its blocks. */
#ifndef SSTABLE_READER_H
#define SSTABLE_READER_H

#include "block.h"
#include "cache.h"
#include "filter.h"
#include "format.h"
#include "index.h"
#include "part.h"
#include "props.h"

/* A block held in memory: in the mapping or an iterator's window (pin NULL), or in the cache.
 * All-zero: nothing held. */
typedef struct sst_block_ref {
    const uint8_t *data;
    sst_cached *pin;
    uint32_t size;
} sst_block_ref;

struct sst_reader {
    fs_file *file;
    sst_cache *cache;
    uint64_t owner; /* in the cache */
    uint32_t salt;
    sst_footer footer;
    sst_props props;
    _Atomic(sst_part *) filter, index; /* NULL: not in memory now (part.h) */
    uint8_t *props_bytes;              /* payload, with its trailer */
    sst_range *ranges;                 /* its range deletes; NULL: none */
    size_t range_count;
    bool ends_open;                /* no entry has the largest key: a range delete ends there */
    buf range_bytes, range_behind; /* their bounds; where those that are cut end */
    uint64_t charged;              /* for the open table itself */
    bool grace;                    /* gets use parts in passing */
    uint8_t *map;                  /* the whole file, or NULL: there never was a mapping */
    size_t map_bytes;
    /* blocks are read in the mapping; else they come through the cache. Release, behind `map` */
    atomic_bool in_place;
    bool cached; /* blocks may be in the cache */
    /* One bit per block: checksum and structure were found right. Only ever set, relaxed: the bytes
     * it speaks of were there before the mapping was, and setting it twice is harmless. */
    _Atomic uint64_t *verified;
};

static inline void sst_block_unref(sst_block_ref *ref)
{
    if (ref->pin)
        sst_cache_unpin(ref->pin);
    *ref = (sst_block_ref){0};
}

/* The header, tags, heads and slots of an average block, in one go. */
static inline void sst_block_prefetch(const sst_block_ref *ref)
{
    for (unsigned line = 0; line < 5; line++)
        __builtin_prefetch(ref->data + (size_t)line * 64);
    /* A block is about a page long and begins anywhere: finds the second page's translation too. */
    __builtin_prefetch(ref->data + ref->size - 1);
}

static inline sst_place sst_reader_place(const sst_reader *r, uint64_t offset)
{
    return (sst_place){r->file, r->salt, offset};
}

static inline bool sst_reader_in_place(const sst_reader *r)
{
    return atomic_load_explicit(&r->in_place, memory_order_acquire);
}

static inline bool sst_reader_verified(const sst_reader *r, uint32_t i)
{
    return atomic_load_explicit(&r->verified[i / 64], memory_order_relaxed) >> (i % 64) & 1;
}

/* The index or the filter of the table, pinned; loaded if it is not in memory. A table without a
 * filter has NULL. Errors as of opening. sst_reader_unpin takes NULL, too. */
int sst_reader_index(sst_reader *r, sst_part **out, firn_error *err);
int sst_reader_filter(sst_reader *r, sst_part **out, firn_error *err);
void sst_reader_unpin(sst_reader *r, sst_part *part);

/* Below, `ix` is the table's index, which the caller keeps in memory. */

/* Block i of a mapped table, found right before or now; `populated` when its pages have been
 * made ready. */
int sst_reader_map_block(sst_reader *r, const sst_index *ix, uint32_t i, bool populated,
                         firn_error *err);
/* FIRN_DAMAGED: the block at this offset is not any more what it was when it was found right
 * (B4). */
int sst_reader_changed(const sst_reader *r, uint64_t offset, firn_error *err);
/* Makes the pages of [offset, offset + size) ready, cut at the end of the file. FIRN_OK,
 * FIRN_UNSUPPORTED, or an I/O error. */
int sst_reader_populate(sst_reader *r, uint64_t offset, uint64_t size, firn_error *err);
/* Which block a caller wants, and for what. */
typedef struct sst_wanted {
    const sst_index *ix;
    uint32_t i;
    sst_use use;
} sst_wanted;

/* Judges and unpacks the stored bytes of a block, trailer included, into a new pinned entry that is
 * not yet a member of the cache, and with SST_WORK never will be. */
int sst_reader_unpack(sst_reader *r, const sst_wanted *w, const uint8_t *stored, sst_cached **out,
                      firn_error *err);
/* Judges the stored bytes of a block that shall be read where they are, in memory of the caller's
 * own. FIRN_NOT_FOUND: they have to be unpacked, and have not been judged. */
int sst_reader_stored(sst_reader *r, const sst_wanted *w, const uint8_t *stored, sst_block_ref *out,
                      firn_error *err);
/* A block by way of the cache, or past it with SST_WORK. */
int sst_reader_cache_block(sst_reader *r, const sst_wanted *w, sst_block_ref *out, firn_error *err);

/* A block, wherever it comes from. Every block behind a ref has been checked (B1,
 * B2). */
static inline int sst_reader_block(sst_reader *r, const sst_wanted *w, sst_block_ref *out,
                                   firn_error *err)
{
    if (!sst_reader_in_place(r))
        return sst_reader_cache_block(r, w, out, err);
    if (!sst_reader_verified(r, w->i)) {
        int rc = sst_reader_map_block(r, w->ix, w->i, false, err);
        if (rc != FIRN_OK)
            return rc;
    }
    *out = (sst_block_ref){r->map + w->ix->offsets[w->i], NULL, sst_index_size(w->ix, w->i)};
    return FIRN_OK;
}

#endif
