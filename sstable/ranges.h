/* ranges: the range deletes of a table. They stand among the entries, as versions of their first
 * keys; the properties say in which blocks, so that opening finds them without reading the others.
 */
#ifndef SSTABLE_RANGES_H
#define SSTABLE_RANGES_H

#include "reader.h"

/* The list of blocks: {first u32, how many u32}, ascending, without touching each other. */
#define SST_RANGE_BLOCKS_MOST  4096
#define SST_RANGE_BLOCKS_BYTES (SST_RANGE_BLOCKS_MOST * 8)

/* Block i, not below those before, has one. Where there are too many to tell apart, blocks between
 * them are listed, too. FIRN_NO_MEMORY. */
int sst_range_blocks_add(buf *list, uint32_t i);
/* Is it such a list, for a table of so many blocks? */
bool sst_range_blocks_fit(firn_slice list, uint64_t blocks);

/* For opening: reads them into r->ranges. FIRN_DAMAGED: they are not as W6 says, or not those that
 * the properties count. */
int sst_ranges_load(sst_reader *r, firn_error *err);

#endif
