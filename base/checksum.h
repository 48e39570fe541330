/* checksum: the ways to compute it, and how one is chosen. Private to the room and its tests. */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t (*crc32_fn)(uint32_t crc, const void *data, size_t size);

/* What the processor at hand can run, or NULL. */
crc32_fn crc32_pclmul_if_supported(void);
crc32_fn crc32_armv8_if_supported(void);

#endif
