/* compress: one block in, one block out. LZ4 blocks, and deflate streams without zlib's own header
 * and checksum (the block's trailer has one). Working memory is allocated once per packer. */
#ifndef SSTABLE_COMPRESS_H
#define SSTABLE_COMPRESS_H

#include <base/buf.h>
#include <sstable/sstable.h>

typedef struct sst_packer {
    sst_compression method;
    void *state; /* LZ4's table or zlib's stream */
    buf out;
} sst_packer;

int sst_packer_init(sst_packer *p, sst_compression method);
void sst_packer_release(sst_packer *p);
/* FIRN_OK and *out, valid until the next call, when at least 1/8 is saved; FIRN_NOT_FOUND when the
 * block is better stored as it is; FIRN_NO_MEMORY. */
int sst_pack(sst_packer *p, firn_slice raw, firn_slice *out);

/* Fills raw[0, raw_size) exactly. FIRN_DAMAGED when the stream says otherwise, FIRN_NO_MEMORY. */
int sst_unpack(uint8_t method, firn_slice packed, uint8_t *raw, uint32_t raw_size);

#endif
