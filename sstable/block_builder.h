/* block_builder: gathers entries in order and lays them out as one data block (block.h).
 *
 * Two passes, because the common prefix and the sequence base are known only when the last entry
 * is: add() copies key and value into one buffer; finish() writes the block. One thread.
 */
#ifndef SSTABLE_BLOCK_BUILDER_H
#define SSTABLE_BLOCK_BUILDER_H

#include <base/buf.h>
#include <firn/types.h>

typedef struct sst_pending {
    uint64_t seq;
    uint32_t key_at; /* in bytes; the value follows the key */
    uint32_t value_size;
    uint16_t key_size;
    uint8_t kind;
    uint8_t tag;
} sst_pending;

typedef struct sst_block_builder {
    buf bytes;            /* keys and values */
    sst_pending *entries; /* count, room for capacity */
    uint32_t count;
    size_t capacity;
    uint32_t prefix_size; /* common to all keys so far */
    uint64_t seq_min, seq_max;
    uint64_t fixed_bytes; /* of the bodies without their numbers */
} sst_block_builder;

void sst_block_builder_release(sst_block_builder *b);
void sst_block_builder_clear(sst_block_builder *b);
/* FIRN_NO_MEMORY leaves the builder as it was. The key is not smaller than the last one. */
int sst_block_builder_add(sst_block_builder *b, firn_slice key, firn_slice value,
                          const sst_pending *rest);
/* An upper bound of the block's size; not for an empty builder. */
uint64_t sst_block_builder_bytes(const sst_block_builder *b);
/* Likewise, if this entry were added too. */
uint64_t sst_block_builder_bytes_with(const sst_block_builder *b, firn_slice key, size_t value_size,
                                      uint64_t seq);
/* Appends the block to `out`; not for an empty builder. FIRN_NO_MEMORY. */
int sst_block_builder_finish(const sst_block_builder *b, buf *out);

static inline uint64_t sst_block_builder_memory(const sst_block_builder *b)
{
    return b->bytes.capacity + (uint64_t)b->capacity * sizeof *b->entries;
}

static inline firn_slice sst_block_builder_key(const sst_block_builder *b, uint32_t i)
{
    return (firn_slice){b->bytes.data + b->entries[i].key_at, b->entries[i].key_size};
}

#endif
