/* checksum: CRC-32 as zlib defines it (reflected 0xEDB88320), so any program can verify a byte of
 * firn with zlib alone. Computed by carry-less multiplication where the processor has it (Gopal et
 * al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel 2009), by ARMv8 CRC
 * instructions, and by zlib elsewhere. Thread-safe.
 */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* crc32_update(crc32_update(0, a), b) == crc32_update(0, a followed by b). */
uint32_t crc32_update(uint32_t crc, const void *data, size_t size);

/* The portable form, for tests: zlib's. */
uint32_t crc32_portable(uint32_t crc, const void *data, size_t size);

#endif
