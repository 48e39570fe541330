/* props: the properties block, a list of {id u16, size u16, bytes} in ascending order of id
 * (README.md, "The properties block"). Ids below 0x8000 that a reader does not know are skipped;
 * others are required and refused. */
#ifndef SSTABLE_PROPS_H
#define SSTABLE_PROPS_H

#include <base/buf.h>
#include <sstable/sstable.h>

typedef struct sst_props {
    sst_properties shown;       /* key_min and key_max point into the payload */
    uint64_t compressed_blocks; /* 0: every data block may be read in place */
    uint64_t key_bytes_max;     /* the longest key: what an iterator's buffer must hold */
    firn_slice range_blocks;    /* which blocks have range deletes (ranges.h); as the keys */
} sst_props;

int sst_props_put(const sst_props *p, buf *out); /* FIRN_NO_MEMORY */
/* FIRN_DAMAGED or FIRN_UNSUPPORTED. file_bytes is left alone. */
int sst_props_get(firn_slice payload, sst_props *out);

#endif
