/* checksum_armv8: CRC-32 by the instructions that ARMv8 has for exactly this polynomial, eight
 * bytes each. Written as assembly because compilers hide the intrinsics unless the whole file is
 * built for a processor that has them, and then the choice at run time would come too late. */
#include "checksum.h"

#if defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

#include <string.h>
#include <sys/auxv.h>

#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif

static inline uint32_t step_8(uint32_t crc, uint64_t v)
{
    __asm__(".arch_extension crc\n\tcrc32x %w0, %w0, %x1" : "+r"(crc) : "r"(v));
    return crc;
}

static inline uint32_t step_1(uint32_t crc, uint8_t v)
{
    __asm__(".arch_extension crc\n\tcrc32b %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)v));
    return crc;
}

static uint32_t crc32_armv8(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; size >= 8; p += 8, size -= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        crc = step_8(crc, v);
    }
    for (; size > 0; p++, size--)
        crc = step_1(crc, *p);
    return ~crc;
}

crc32_fn crc32_armv8_if_supported(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0 ? crc32_armv8 : NULL;
}

#else

crc32_fn crc32_armv8_if_supported(void)
{
    return NULL;
}

#endif
