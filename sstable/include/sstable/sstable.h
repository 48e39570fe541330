/* sstable: an immutable sorted file of versions. Build it, read it, filter it, cache its blocks.
 *
 * The bytes are described in sstable/README.md. A table knows nothing of levels, versions or the
 * log. Order inside: key ascending, sequence number descending.
 */
#ifndef SSTABLE_SSTABLE_H
#define SSTABLE_SSTABLE_H

#include <base/budget.h>
#include <base/buf.h>
#include <base/fs_pool.h>
#include <base/iter.h>
#include <firn/types.h>

/* ---- What a table says of itself; stored in it, and kept in the manifest too ---- */
typedef struct sst_properties {
    uint64_t file_bytes;
    uint64_t entries;    /* versions */
    uint64_t deletes;    /* of which tombstones, range deletes among them */
    uint64_t raw_bytes;  /* keys and values before compression */
    uint64_t data_bytes; /* data blocks as stored */
    uint64_t blocks;
    uint64_t seq_min, seq_max;
    uint64_t created_us;
    uint64_t ranges; /* range deletes */
    uint16_t bucket; /* of the keys; 0: the default */
    /* The smallest key and the largest one, of entries and of what range deletes cover. Owned by
     * the code that filled this struct in. */
    firn_slice key_min, key_max;
} sst_properties;

/* A range delete: of every key in [first, end), what has a smaller number. */
typedef struct sst_range {
    firn_slice first, end;
    uint64_t seq;
} sst_range;

/* May they stand one behind the other in a table? They do not overlap, or have the same range. */
static inline bool range_may_follow(const sst_range *last, const sst_range *next)
{
    return slice_compare(last->end, next->first) <= 0 ||
           (slice_equal(last->first, next->first) && slice_equal(last->end, next->end));
}

/* The greatest key in front of the end of a range, where there is a greatest one; else the end
 * itself, in front of which lie keys as near to it as may be. */
static inline firn_slice range_last(firn_slice end)
{
    return end.size && end.data[end.size - 1] == 0 ? (firn_slice){end.data, end.size - 1} : end;
}

typedef enum sst_compression {
    SST_COMPRESSION_NONE = 0,
    SST_COMPRESSION_LZ4 = 1,
    SST_COMPRESSION_ZLIB = 2,
} sst_compression;

/* ---- Writing: streaming, memory bounded by one block, the filter's hashes and the index ---- */
typedef struct sst_writer sst_writer;

typedef struct sst_writer_options {
    uint32_t block_bytes;         /* target size of a data block before compression; 4096 */
    uint32_t filter_bits_per_key; /* 10; 0: no filter */
    sst_compression compression;  /* a block that does not shrink by 1/8 is stored as it is */
    uint64_t store_id[2];         /* written into the footer, checked on open */
    uint64_t table_no;            /* likewise: a swapped file is noticed */
    uint16_t bucket;              /* of the keys, below ENTRY_BUCKETS; 0: the default */
} sst_writer_options;

void sst_writer_options_init(sst_writer_options *o);

/* Creates `name` exclusively in `dir`. */
int sst_writer_open(fs_dir *dir, const char *name, const sst_writer_options *o, sst_writer **out,
                    firn_error *err);
/* Versions come in order (key ascending, number descending), and range deletes (FIRN_DELETE_RANGE,
 * the end for a value) do not overlap, but that several may have the same range; anything else is
 * FIRN_INVALID. Copies. */
int sst_writer_add(sst_writer *w, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value,
                   firn_error *err);
/* Of those that were added; valid until the next one is. */
firn_slice sst_writer_first_key(const sst_writer *w);
firn_slice sst_writer_last_key(const sst_writer *w);
/* What range deletes cover behind the last key that was added belongs to the next table: this one
 * ends with that key. In front of sst_writer_finish. */
void sst_writer_cut(sst_writer *w);
/* Of the blocks that have ended, as they are stored, written or buffered. The open block has less
 * than 64 KiB or than its target, and does not count: what it will pack to is not known. */
uint64_t sst_writer_file_bytes(const sst_writer *w);
uint64_t sst_writer_memory(const sst_writer *w); /* bytes it works with now */
/* Writes filter, index, properties and footer and syncs the file (not the folder). *out is valid
 * until the writer is freed. After an error only sst_writer_free is left to call. */
int sst_writer_finish(sst_writer *w, const sst_properties **out, firn_error *err);
/* Frees; a file that was not finished is removed. NULL is allowed. */
void sst_writer_free(sst_writer *w);

/* ---- The cache of blocks, filters and indexes: shared by all tables of a store, bounded,
 * thread-safe ---- */
typedef struct sst_cache sst_cache;
typedef struct sst_cache_stats {
    uint64_t capacity_bytes, hits, misses; /* capacity: what the budget leaves now */
    uint64_t used_bytes;                   /* blocks, those that are only pinned among them */
    uint64_t held_bytes;                   /* what is mapped for blocks: what is charged */
    uint64_t part_bytes;                   /* filters and indexes */
    /* that were read from their files; each other use has found one in memory, and is not counted:
     * a get may make many */
    uint64_t filter_loads, index_loads;
} sst_cache_stats;

/* Waits until all callers have left that are inside sst_get now. With it, an sst_get counts on
 * filter and index staying until the caller leaves; without it, it pins them. */
typedef struct sst_grace {
    void (*wait)(void *ctx);
    void *ctx;
} sst_grace;

/* With a budget of its own: 0 keeps nothing but what is pinned. */
int sst_cache_new(size_t capacity_bytes, sst_cache **out);
/* With what a budget leaves, which must stay. A grace without `wait`: none. */
int sst_cache_new_in(memory_budget *b, sst_grace grace, sst_cache **out);
/* Where it is counted and told that a reader waits for another one, which reads the same block;
 * NULL, as at first: nowhere. Before there are readers. */
void sst_cache_watch(sst_cache *c, wait_list *w);
/* Filters and indexes have more than their room: sst_cache_trim is due, by any thread that is not
 * inside sst_get. */
bool sst_cache_excess(const sst_cache *c);
void sst_cache_trim(sst_cache *c);
/* What a reader calls to have that done, since it is to go on; NULL, as at first: the reader does
 * it. Before there are readers. `fn` may be called by any thread that may call sst_cache_trim. */
void sst_cache_set_trimmer(sst_cache *c, void (*fn)(void *ctx), void *ctx);
/* If it is due, has it done. */
void sst_cache_ask_trim(sst_cache *c);
/* Gives back what exceeds the present room; `all`: everything that no reader uses, but for filters
 * and indexes. */
void sst_cache_shrink(sst_cache *c, bool all);
void sst_cache_free(sst_cache *c); /* after every reader has been closed */
void sst_cache_get_stats(const sst_cache *c, sst_cache_stats *out);

/* ---- Reading. A reader is thread-safe; open it once, use it everywhere ---- */
typedef struct sst_reader sst_reader;

typedef struct sst_reader_options {
    sst_cache *cache;     /* not NULL */
    fs_pool *files;       /* bounds the descriptors; NULL: the reader keeps one of its own */
    bool keeps;           /* with `files`: stays readable when another process removes the file */
    bool mapped;          /* read uncompressed blocks in place through a mapping where that works */
    uint64_t store_id[2]; /* must agree with the footer */
    uint64_t table_no;
    uint64_t file_bytes; /* expected size, or 0: unknown */
} sst_reader_options;

/* Reads footer, properties, index and filter, each checked against its checksum. FIRN_DAMAGED names
 * file and offset; FIRN_UNSUPPORTED for a newer format. */
int sst_reader_open(fs_dir *dir, const char *name, const sst_reader_options *o, sst_reader **out,
                    firn_error *err);
/* From now on, reads uncompressed blocks in place through a mapping, where that works, or does not.
 * What iterators and pins hold stays valid, and so does the mapping; its pages need not stay in
 * memory. One thread at a time; others may read. */
void sst_reader_set_mapped(sst_reader *r, fs_dir *dir, bool mapped);
bool sst_reader_is_mapped(const sst_reader *r);
void sst_reader_close(sst_reader *r); /* no pins or iterators may be left; NULL is allowed */
const sst_properties *sst_reader_properties(const sst_reader *r); /* valid until close */
/* Its range deletes, ascending; two of them are disjoint or have the same range, the greatest
 * number first. None covers a key outside of key_min and key_max. Valid until close. */
const sst_range *sst_reader_ranges(const sst_reader *r, size_t *count);
/* Is its largest key only where a range delete ends, and not in it? */
bool sst_reader_ends_open(const sst_reader *r);
size_t sst_reader_memory(sst_reader *r); /* bytes; filter and index only while they are in memory */

/* Keeps the bytes of a found value in place. All-zero: nothing pinned. */
typedef struct sst_pin {
    void *block;
} sst_pin;
void sst_pin_release(sst_pin *pin); /* any thread, once; empties the pin */

/* What a table's filter said of a key. */
typedef enum sst_filtered {
    SST_FILTER_NONE,   /* it has none */
    SST_FILTER_DENIED, /* the key is not there */
    SST_FILTER_PASSED, /* the table was looked into */
} sst_filtered;

typedef struct sst_hit {
    uint64_t seq;
    firn_slice value; /* valid until the pin is released and while the reader is open */
    uint8_t kind;
    uint8_t filtered; /* sst_filtered; with FIRN_NOT_FOUND, too */
    sst_pin pin;
} sst_hit;

/* hash64(key, 0), computed once per lookup over all tables. */
uint64_t sst_key_hash(firn_slice key);
/* Brings the filter's cache line in, ahead of sst_get. */
void sst_prefetch(const sst_reader *r, uint64_t key_hash);
/* The further steps of a get, so that those of many keys are under way together: the index, unless
 * the filter says that the key is not there (false); the block, where that can be read in place;
 * and the entry. With a grace alone, by callers inside; else they do nothing. */
bool sst_prefetch_index(const sst_reader *r, firn_slice key, uint64_t key_hash);
void sst_prefetch_block(const sst_reader *r, firn_slice key, uint64_t seq_max);
void sst_prefetch_entry(const sst_reader *r, firn_slice key, uint64_t key_hash, uint64_t seq_max);
/* The newest version of `key` with a number <= seq_max: FIRN_OK and *out (release its pin),
 * FIRN_NOT_FOUND, or an error. Reads at most one block (several only when the versions of one key
 * span blocks). */
int sst_get(sst_reader *r, firn_slice key, uint64_t key_hash, uint64_t seq_max, sst_hit *out,
            firn_error *err);

/* What an iterator reads for. */
typedef enum sst_use {
    SST_FILL, /* a user's read: the cache keeps what it read */
    SST_PASS, /* a user's long scan: leaves the cache alone, and reads ahead */
    /* The store's own work: likewise. Its blocks lie outside of the cache. They are never refused
     * because readers hold much, and no reader is refused because of them. */
    SST_WORK,
} sst_use;
int sst_iter_new(sst_reader *r, sst_use use, iter **out);

/* Bytes of the file up to where `key` would stand; from the index alone. */
int sst_approximate_offset(sst_reader *r, firn_slice key, uint64_t *offset, firn_error *err);
/* The other way round: a key in front of which about part/parts of the bytes stand, part < parts.
 * From the index alone; replaces what *key holds. Need not be a key of the table. */
int sst_split_key(sst_reader *r, uint64_t part, uint64_t parts, buf *key, firn_error *err);

/* Reads every block from the file, not from the cache, and checks checksums, order, counts, sizes,
 * ranges, and that the filter admits every key. */
int sst_verify(sst_reader *r, firn_error *err);
/* Does the file end as a table does? What cannot be read does not. */
bool sst_has_magic(fs_dir *dir, const char *name);

/* ---- Salvage ---- */

/* Whose table this is, by its footer. FIRN_DAMAGED, FIRN_NOT_FOUND. */
int sst_identify(fs_dir *dir, const char *name, uint64_t store_id[2], uint64_t *table_no,
                 firn_error *err);

/* What `entry` may return of a version that it has no use for: the salvage goes on, but does not
 * spend much on more of the kind. */
#define SST_SALVAGE_REFUSED (-1)

/* Any other non-zero return of either stops the salvage and is returned by it. Slices are valid
 * during the call. */
typedef struct sst_salvage_sink {
    void *ctx;
    int (*entry)(void *ctx, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value);
    /* Bytes of the file that hold no intact block where there was or may have been one, between the
     * last key in front of them and the first one behind (either may have lost versions; NULL data:
     * there is none). 0 bytes: the file ends, and may have gone on. Called in the order of the
     * file. */
    int (*gap)(void *ctx, uint64_t offset, uint64_t bytes, firn_slice after, firn_slice before);
} sst_salvage_sink;

/* Passes on every version that can still be read of a table that may be damaged anywhere, also
 * without its footer or index, in the order of the file. Goes over it once, and takes time in
 * proportion to the data in it, whatever they are: what would take more to find stays in a gap.
 * Needs memory for the largest block, and for the index. */
int sst_salvage(fs_dir *dir, const char *name, const uint64_t store_id[2], uint64_t table_no,
                const sst_salvage_sink *sink, firn_error *err);

#endif
