/* entry: how one operation is encoded. The log stores entries, the memtable points at them, batches
 * are made of them: this is the encoding that the three siblings share (base/README.md, "Entry").
 *
 *   offset  size  field
 *   0       1     bits 0 to 3    kind: firn_kind
 *                 bits 4 to 7    bits 8 to 11 of the bucket
 *   1       1     bucket         its bits 0 to 7. 0: the default one
 *   2       2     key length
 *   4       4     bits 0 to 28   value length (entry_kind_fits)
 *                 bits 29 to 31  bits 12 to 14 of the bucket
 *   8       -     key, then value, no padding
 *
 * A put has a value, a delete has none. A range delete has the first key of its range, and for its
 * value the end: the first key that is not in it, and greater. Behind the greatest key that there
 * may be, FIRN_MAX_KEY_BYTES of FF, the end is that and a 0: the only one that is longer than a
 * key.
 *
 * Fixed widths, because a memtable comparison must find the key without decoding anything. The
 * number of a bucket lies where kinds and value lengths leave room, so that it costs none.
 */
#ifndef BASE_ENTRY_H
#define BASE_ENTRY_H

#include <base/bucket.h>
#include <base/buf.h>
#include <base/coding.h>
#include <firn/types.h>

#define ENTRY_HEADER_BYTES   8
#define ENTRY_BUCKET_DEFAULT 0
#define ENTRY_VALUE_BITS     29

typedef struct entry {
    uint8_t kind;
    uint16_t bucket;
    firn_slice key;
    firn_slice value;
} entry;

/* ---- Kinds ----
 * The form of each kind, the same in the log, in memtables and in tables: that of a new kind goes
 * in here. What a kind means to readers and merges: engine/tree/include/tree/resolve.h. Reads ask
 * for each entry that they look at, so a rule is a comparison or two, with a put first. */

#define ENTRY_KIND_NONE 0 /* never a kind, in any version: zeros are not an entry */

/* Does this version of firn know the kind? */
static inline bool entry_kind_known(unsigned kind)
{
    return kind == FIRN_PUT || kind == FIRN_DELETE || kind == FIRN_DELETE_RANGE;
}

/* Is it a known kind, and may its entries have a value of so many bytes? (Limits that hold for all
 * values are not asked here.) */
static inline bool entry_kind_fits(unsigned kind, uint64_t value_size)
{
    return kind == FIRN_PUT || (kind == FIRN_DELETE && value_size == 0) ||
           (kind == FIRN_DELETE_RANGE && value_size - 1 <= FIRN_MAX_KEY_BYTES);
}

/* Is it counted as a tombstone, in memtables and in the properties of tables? (To users of the log
 * alone, firn_wal_entry_is_tombstone says the same.) */
static inline bool entry_kind_is_tombstone(unsigned kind)
{
    return kind == FIRN_DELETE || kind == FIRN_DELETE_RANGE;
}

static inline size_t entry_size(size_t key_size, size_t value_size)
{
    return ENTRY_HEADER_BYTES + key_size + value_size;
}

static inline void entry_put_header(uint8_t *p, uint8_t kind, unsigned bucket, size_t key_size,
                                    size_t value_size)
{
    uint64_t low = bucket & 0xff, middle = bucket >> 8 & 15, high = bucket >> 12;
    put_u64(p, kind | middle << 4 | low << 8 | (uint64_t)key_size << 16 |
                   (uint64_t)value_size << 32 | high << (32 + ENTRY_VALUE_BITS));
}

static inline unsigned entry_kind(const uint8_t *p)
{
    return p[0] & 15;
}

static inline uint32_t entry_value_size(const uint8_t *p)
{
    return get_u32(p + 4) & ((UINT32_C(1) << ENTRY_VALUE_BITS) - 1);
}

/* Below ENTRY_BUCKETS, whatever the bytes are. */
static inline unsigned entry_bucket(const uint8_t *p)
{
    return p[1] | (p[0] & 0xf0u) << 4 | (p[7] & 0xe0u) << 7;
}

/* All of an entry, with its header. */
static inline size_t entry_bytes(const uint8_t *p)
{
    return ENTRY_HEADER_BYTES + get_u16(p + 2) + entry_value_size(p);
}

/* For bytes whose checksum is right and that entry_decode has checked once. */
static inline firn_slice entry_key(const uint8_t *p)
{
    return (firn_slice){p + ENTRY_HEADER_BYTES, get_u16(p + 2)};
}

static inline firn_slice entry_value(const uint8_t *p)
{
    return (firn_slice){p + ENTRY_HEADER_BYTES + get_u16(p + 2), entry_value_size(p)};
}

/* May a range delete be from `first` to `end`? */
bool entry_range_fits(firn_slice first, firn_slice end);
/* Makes a key the smallest one that is greater; of the greatest one, what a range ends with behind
 * it. FIRN_NO_MEMORY. */
int entry_key_behind(buf *key);

/* Decodes the entry at p with `available` bytes behind it. FIRN_OK and *used, FIRN_DAMAGED when a
 * length does not fit or a rule is broken (a delete with a value, an empty range, kind 0),
 * FIRN_UNSUPPORTED for kinds that this version does not know. Which buckets there are, the engine
 * knows. The slices point into p. */
int entry_decode(const uint8_t *p, size_t available, entry *out, size_t *used);

/* Checks that `payload` is exactly `count` well-formed entries. */
int entries_check(firn_slice payload, uint32_t count);

/* FIRN_OK, FIRN_TOO_LARGE or FIRN_INVALID for a caller's key and value. */
int entry_check_limits(const void *key, size_t key_size, const void *value, size_t value_size);

/* The buckets of up to `count` entries, and the greatest of them. Bytes that are no entries end it.
 */
void entries_buckets(firn_slice payload, uint32_t count, bucket_set *out);
unsigned entries_bucket_most(firn_slice payload, uint32_t count);

/* As firn_batch_put and firn_batch_delete, for any bucket, and range deletes: the end is the value.
 */
int batch_add(firn_batch *batch, unsigned bucket, firn_kind kind, firn_slice key, firn_slice value);

/* The same for an operation that names its bucket, in the store of this id, and stays in it: others
 * are in the bucket that the batch is written to. FIRN_INVALID: some name one of another store. */
int batch_add_named(firn_batch *batch, const uint8_t owner[16], unsigned bucket, firn_kind kind,
                    firn_slice key, firn_slice value);
/* Are all that name their bucket of this store? */
bool batch_is_of(const firn_batch *batch, const uint8_t owner[16]);
uint32_t batch_named(const firn_batch *batch);  /* how many do */
uint32_t batch_ranges(const firn_batch *batch); /* how many are range deletes */
/* A copy in which those that name no bucket are in this one. FIRN_NO_MEMORY, and *out is NULL. */
int batch_move(const firn_batch *batch, unsigned bucket, firn_batch **out);

/* How far a batch has come, and back to that. */
typedef struct batch_mark {
    size_t bytes, in_zero;
    uint32_t count, named, ranges;
} batch_mark;
batch_mark batch_here(const firn_batch *batch);
void batch_back_to(firn_batch *batch, batch_mark mark);

/* The encoded entries of a batch; valid until the batch changes. */
firn_slice batch_payload(const firn_batch *batch);

#endif
